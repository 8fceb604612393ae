//! An instance whose clock is beyond the bound refuses to serve, until somebody has set the clock.

use std::time::Duration;

use lazarus::store::{self, ProbeError};

use super::{
    chance::Chance,
    cluster::{Cluster, Node},
};

impl Cluster {
    /// Probes the store as an instance does before it serves, until it is found fit; resolves never
    /// if the instance dies before. Its clock is set right some time after it was refused.
    pub(super) async fn until_fit(&self, Node { life, engine, .. }: &Node, chance: &Chance) {
        let (timeline, trace) = (&self.world.timeline, &self.world.trace);
        loop {
            life.gate().await;
            let was_beyond = life.clock.is_beyond();
            let probed = store::probe(engine.store(), engine.env().as_ref()).await;
            match probed {
                Ok(_) if was_beyond => {
                    trace.fault("an instance serves whose clock is beyond the bound".to_owned());
                }
                Err(ProbeError::Skew { millis, .. }) if !was_beyond => {
                    trace.fault(format!("a clock within the bound is refused: {millis} ms off"));
                }
                Ok(_) => return,
                Err(ProbeError::Skew { .. }) => {
                    trace.count("start refused as the clock is beyond the bound");
                    let pause = chance.spread(Duration::from_millis(100), Duration::from_mins(2));
                    timeline.wait(pause).await;
                    trace.note(|| "a clock beyond the bound is set".to_owned());
                    life.clock.set(self.world.clocks.offset_ms(chance));
                }
                Err(error) => {
                    trace.note(|| format!("a probe did not pass: {error}"));
                    trace.count("probe did not pass");
                    timeline.wait(Duration::from_secs(5)).await;
                }
            }
        }
    }
}
