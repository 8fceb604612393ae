//! What befalls instances: they die at any await, stand still for seconds or hours, are replaced, and
//! have their clocks set.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use super::{
    builds::Build,
    chance::Chance,
    cluster::{Cluster, Place},
};

/// How long an instance goes on that thaws where another one has taken its place.
const AFTER_THAW: Duration = Duration::from_mins(2);
/// How many instances are frozen for hours, at most.
const FORGOTTEN_MAX: usize = 3;
/// What befalls instances between two requests; what comes twice is as likely again.
const KINDS: [&str; 8] = [
    "crash",
    "crash",
    "freeze",
    "freeze for hours",
    "restart",
    "rolling restart with another build",
    "clock is set",
    "clock jumps there and back",
];

impl Cluster {
    /// Lets instances die, freeze and come back, until [`Self::heal`].
    pub fn trouble(self: &Arc<Self>) {
        self.is_troubled.store(true, Ordering::Relaxed);
        let cluster = Arc::clone(self);
        tokio::spawn(async move {
            let chance = Chance::new(cluster.world.seed, "trouble");
            let kinds: Vec<&'static str> =
                KINDS.into_iter().filter(|_| chance.happens(600)).collect();
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
            let Place { shape, build, node, .. } = &mut places[place];
            let (shape, build, node) = (*shape, *build, node.take());
            places.push(Place { shape, build, starts: 0, node, is_forgotten: true });
        }
        self.begin(place);
        self.thaw_later(self.count() - 1);
    }

    /// Lets some of the forgotten go on after ten minutes and more, when what they had read is too old
    /// to be acted on, but executions may still be open.
    fn thaw_later(self: &Arc<Self>, place: usize) {
        let chance = Chance::new(self.world.seed, &format!("thaw of {place}"));
        let is_due = chance.happens(600);
        if !(is_due && self.world.trace.befalls("thaw after ten minutes and more")) {
            return;
        }
        let Some(node) = self.node(place) else { return };
        let (cluster, min, max) =
            (Arc::clone(self), Duration::from_mins(8), Duration::from_mins(40));
        tokio::spawn(async move {
            cluster.world.timeline.wait(chance.spread(min, max)).await;
            if !node.life.is_running() && !node.life.is_dead() {
                cluster.world.trace.note(|| format!("engine{place}: thaws"));
                node.life.thaw();
                cluster.world.timeline.wait(AFTER_THAW).await;
                cluster.retire(place).await;
            }
        });
    }

    /// Installs one build everywhere, instance by instance.
    async fn roll(self: Arc<Self>, build: Build, pause: Duration) {
        for place in 0..self.count() {
            let is_over = !self.is_troubled.load(Ordering::Relaxed);
            if is_over || self.places()[place].is_forgotten {
                continue;
            }
            self.places()[place].build = build;
            self.retire(place).await;
            self.begin(place);
            self.world.timeline.wait(pause).await;
        }
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
            "rolling restart with another build" => {
                let build = chance.pick(self.world.builds);
                tokio::spawn(cluster.roll(build, back / 10));
            }
            "clock jumps there and back" if !node.life.clock.is_beyond() => {
                let clocks = self.world.clocks;
                let (there, back_to) = (clocks.offset_ms(chance), clocks.offset_ms(chance));
                node.life.clock.set(there);
                tokio::spawn(async move {
                    cluster.world.timeline.wait(back).await;
                    node.life.clock.set(back_to);
                });
            }
            // A clock that is beyond the bound is set when its instance was refused.
            _ if node.life.clock.is_beyond() => {}
            _ => node.life.clock.set(self.world.clocks.offset_ms(chance)),
        }
    }
}
