//! What becomes of executions that are old enough: two instances delete them, whatever befalls them.
//!
//! Days are hours here: runs are kept for longer than anybody stays frozen, as in the real world.

use std::{sync::Arc, time::Duration};

use futures::future;
use lazarus::{
    engine::{Deletion, Engine, Error, Filter, RetentionPolicy},
    workflow::{ExecutionId, Namespace},
};

use super::{
    chance::Chance,
    cluster::{Cluster, Unanswered},
    world::World,
};

/// How long closed runs are kept: longer than anybody is frozen, or comes back with a result.
pub const KEEP: Duration = Duration::from_hours(4);
/// How long the rest of a run stays when its start is gone.
const GRACE: Duration = Duration::from_mins(30);
/// How long things go wrong.
const TROUBLE: Duration = Duration::from_hours(1);
/// After so many passes in the calm nothing may be left.
const PASSES_MAX: u32 = 40;
/// How long one pass may take.
const PATIENCE: Duration = Duration::from_mins(10);

/// Waits until everything is old enough, and sees it go: first in trouble, then in the calm.
pub async fn delete_all(cluster: &Arc<Cluster>) {
    let world = &cluster.world;
    let chance = Chance::new(world.seed, "deletion");
    world.trace.note(|| "everything grows old".to_owned());
    world.timeline.wait(chance.spread(KEEP / 2, KEEP * 2)).await;
    let places = [cluster.hire(), cluster.hire()];
    world.weather.set_calm(false);
    let ends = world.timeline.now() + TROUBLE;
    future::join_all(places.map(|place| delete_until(cluster, place, ends))).await;
    world.weather.set_calm(true);
    world.trace.note(|| "nobody who deletes is in trouble any more".to_owned());
    // What is late has landed by then, and everything is old.
    world.timeline.wait(KEEP).await;
    for _ in 0..PASSES_MAX {
        world.timeline.wait(GRACE).await;
        cluster.hire_again(places[0]);
        pass(cluster, places[0]).await;
        if left(world).is_empty() || world.trace.first_fault().is_some() {
            break;
        }
    }
    let left = left(world);
    if !left.is_empty() {
        world.trace.fault(format!("left after {PASSES_MAX} passes: {left:?}"));
        return;
    }
    ask_for_the_deleted(cluster, places[0]).await;
}

async fn delete_until(cluster: &Arc<Cluster>, place: usize, ends: Duration) {
    let world = &cluster.world;
    let chance = Chance::new(world.seed, &format!("deletion at {place}"));
    while world.timeline.now() < ends {
        pass(cluster, place).await;
        let pause = chance.spread(Duration::from_millis(100), Duration::from_mins(20));
        world.timeline.wait(pause).await;
        cluster.hire_again(place);
    }
}

async fn pass(cluster: &Arc<Cluster>, place: usize) {
    let policy = RetentionPolicy::for_tests(KEEP, GRACE);
    let trace = cluster.world.trace.clone();
    let retain = |engine: Engine| async move {
        let tell = |deletion: &Deletion| trace.note(|| format!("retention: {deletion:?}"));
        engine.retain(&policy, false, tell).await
    };
    let passed = cluster.ask(place, PATIENCE, retain).await;
    cluster.world.trace.note(|| format!("a pass of retention at {place}: {passed:?}"));
    if passed.is_ok() {
        cluster.world.trace.count("pass of retention");
    }
}

/// What is left of runs: their commits, blobs, and starts that are no tombstones.
fn left(world: &World) -> Vec<String> {
    let bucket = world.bucket();
    let below = |folder| bucket.below(folder, None).map(|(key, _)| key.clone());
    let starts = below("id").filter(|key| !world.audit.is_tombstone(key));
    // Blobs of a start that never came are a scrub's to delete.
    let blobs = below("blob").filter(|key| world.audit.is_of_a_run(key));
    below("run").chain(blobs).chain(starts).collect()
}

/// Lists leave out what is gone, and who asks for it is told.
async fn ask_for_the_deleted(cluster: &Arc<Cluster>, place: usize) {
    let world = &cluster.world;
    let list = |engine: Engine| async move {
        engine.list(&Namespace::default(), &Filter::default(), 0, usize::MAX).await
    };
    match persistently(cluster, place, list).await {
        Ok(page) if page.records.is_empty() => {}
        other => world.trace.fault(format!("what is deleted is listed: {other:?}")),
    }
    for execution in world.audit.executions() {
        let asked = ExecutionId::known(&execution).expect("an id");
        let describe = |engine: Engine| {
            let asked = asked.clone();
            async move { engine.describe(&Namespace::default(), &asked).await }
        };
        match persistently(cluster, place, describe).await {
            Err(Unanswered::No(error)) if error.is_final() => {}
            other => world.trace.fault(format!("{execution} is deleted, and is {other:?}")),
        }
    }
    world.trace.count("everything deleted");
}

/// Asks until somebody answers: whoever is there may have to have its clock set first.
async fn persistently<T, Asked>(
    cluster: &Arc<Cluster>,
    place: usize,
    ask: impl Fn(Engine) -> Asked,
) -> Result<T, Unanswered>
where
    Asked: Future<Output = Result<T, Error>>,
{
    loop {
        match cluster.ask(place, PATIENCE, &ask).await {
            Err(Unanswered::Silence) => {
                cluster.world.timeline.wait(PATIENCE).await;
                cluster.hire_again(place);
            }
            answer => return answer,
        }
    }
}
