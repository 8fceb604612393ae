//! What befalls instances: they die at any await, stand still for seconds or hours, are replaced, and
//! have their clocks set.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use super::{
    chance::Chance,
    cluster::{Cluster, Place},
};

/// How many instances are frozen for hours, at most.
const FORGOTTEN_MAX: usize = 3;

impl Cluster {
    /// Lets instances die, freeze and come back, until [`Self::heal`].
    pub fn trouble(self: &Arc<Self>) {
        self.is_troubled.store(true, Ordering::Relaxed);
        let cluster = Arc::clone(self);
        tokio::spawn(async move {
            let chance = Chance::new(cluster.world.seed, "trouble");
            let kinds = ["crash", "crash", "freeze", "freeze for hours", "restart", "clock is set"];
            let kinds: Vec<&'static str> =
                kinds.into_iter().filter(|_| chance.happens(600)).collect();
            let pause = chance.spread(Duration::from_secs(2), Duration::from_mins(2));
            while !kinds.is_empty() {
                let pause = chance.spread(Duration::from_millis(10), pause);
                cluster.world.timeline.wait(pause).await;
                if !cluster.is_troubled.load(Ordering::Relaxed) {
                    return;
                }
                cluster.befall(chance.pick(&kinds), &chance);
            }
        });
        tokio::spawn(Arc::clone(self).see_to_the_struck());
    }

    /// Brings back those that died or froze at a request; some of the frozen only after hours.
    async fn see_to_the_struck(self: Arc<Self>) {
        let chance = Chance::new(self.world.seed, "struck");
        while self.is_troubled.load(Ordering::Relaxed) {
            let pause = chance.spread(Duration::from_millis(500), Duration::from_secs(30));
            self.world.timeline.wait(pause).await;
            let place = self.any();
            let Some(node) = self.node(place) else { continue };
            if node.life.is_dead() {
                self.begin(place);
            } else if !node.life.is_running()
                && chance.happens(100)
                && self.may_forget()
                && self.world.trace.befalls("freeze for hours")
            {
                self.forget(place);
            } else {
                node.life.thaw();
            }
        }
    }

    /// Whether one more may be frozen for hours: another one takes its place, so not where one owns
    /// the store.
    fn may_forget(&self) -> bool {
        let forgotten = self.places().iter().filter(|place| place.is_forgotten).count();
        forgotten < FORGOTTEN_MAX && !self.world.is_exclusive
    }

    /// Leaves the frozen instance at `place` for hours, and starts another one there.
    fn forget(self: &Arc<Self>, place: usize) {
        {
            let mut places = self.places();
            let (shape, node) = (places[place].shape, places[place].node.take());
            places.push(Place { shape, starts: 0, node, is_forgotten: true });
        }
        self.begin(place);
    }

    /// Ends the instance at `place` where it stands.
    pub fn kill(&self, place: usize) {
        if let Some(node) = self.node(place) {
            node.life.die();
        }
    }

    fn befall(self: &Arc<Self>, kind: &'static str, chance: &Chance) {
        let place = self.any();
        if kind == "freeze for hours" && !self.may_forget() {
            return;
        }
        let Some(node) = self.node(place).filter(|node| node.life.is_running()) else { return };
        if !self.world.trace.befalls(kind) {
            return;
        }
        self.world.trace.note(|| format!("engine{place}: {kind}"));
        let cluster = Arc::clone(self);
        let back = chance.spread(Duration::from_millis(100), Duration::from_mins(2));
        match kind {
            "crash" => {
                self.kill(place);
                tokio::spawn(async move {
                    cluster.world.timeline.wait(back).await;
                    cluster.begin(place);
                });
            }
            "freeze" => {
                node.life.freeze();
                tokio::spawn(async move {
                    cluster.world.timeline.wait(back).await;
                    node.life.thaw();
                });
            }
            "freeze for hours" => {
                node.life.freeze();
                self.forget(place);
            }
            "restart" => {
                tokio::spawn(async move {
                    cluster.retire(place).await;
                    cluster.begin(place);
                });
            }
            _ => {
                let skew = self.world.skew_ms;
                let offset = i64::try_from(chance.from(0, 2 * skew + 1)).expect("small");
                let offset = offset - i64::try_from(skew).expect("small");
                node.life.offset_ms.store(offset, Ordering::Relaxed);
            }
        }
    }
}
