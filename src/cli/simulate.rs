//! `--simulate-latency`: the flag of the commands that may be measured on a slow store.

use std::sync::Arc;

use clap::Args;

use crate::{
    env::Env,
    store::{Latency, Store},
};

/// How slow the store is made. There is no variable for it: nobody should serve so unawares.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Measuring")]
pub(super) struct SimulateArgs {
    /// Make each request to the store as slow as on a bucket: `s3`, `s3-express`, or times such as
    /// `put=25ms,get=15ms,list=50ms`. For measuring only
    ///
    /// The times are medians; 1 request in 100 takes more than `tail=3` times as long. `delete` is as
    /// slow as `put` unless it is given. The store counts as one that others share.
    #[arg(long, value_name = "PROFILE")]
    simulate_latency: Option<Latency>,
}

impl SimulateArgs {
    /// `store`, slowed as was asked; says so in the log, where it can not be overlooked.
    pub(super) fn slow(&self, store: Store, env: &Arc<dyn Env>) -> Store {
        let Some(latency) = self.simulate_latency else { return store };
        tracing::warn!(
            store = store.url(),
            "FOR MEASURING ONLY: --simulate-latency makes every request to the store wait ({latency})"
        );
        store.slowed(latency, env)
    }
}
