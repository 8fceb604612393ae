//! Who keeps the bucket beside the engines: audits it, and mends it.
//!
//! What an audit finds beside working engines is a false alarm, or a promise that is broken: either
//! ends the history. Whoever deletes old executions will come in here too, as a [`Chore`].

use std::{sync::Arc, time::Duration};

use futures::future;
use lazarus::{
    engine::{Auditor, Finding},
    env::Env,
    store::Store,
};

use super::{
    builds::Build,
    chance::Chance,
    clock::Clock,
    life::{Life, ProcessEnv},
    store::Way,
    world::World,
};

/// Something that a keeper does.
#[derive(Clone, Copy, Debug)]
enum Chore {
    Audit,
    Scrub,
}

/// How long a scrub leaves alone what no start names: beyond what a start, a frozen instance and a late write
/// take together, and short enough that a history lives to see it go.
const GONE_AFTER: Duration = Duration::from_hours(1);

/// Keeps the bucket until the history is over, where anybody does: often while there is trouble, then
/// now and then.
pub async fn keep(world: &Arc<World>) {
    if !world.is_kept {
        return future::pending().await;
    }
    let chance = Chance::new(world.seed, "keepers");
    let auditor = auditor(world, "auditor");
    let scrubber = self::auditor(world, "scrubber").gone_after(GONE_AFTER);
    loop {
        let (least, most) = if world.weather.is_calm() {
            (Duration::from_mins(10), Duration::from_mins(80))
        } else {
            (Duration::from_secs(20), Duration::from_mins(3))
        };
        world.timeline.wait(chance.spread(least, most)).await;
        match chance.pick(&[Chore::Audit, Chore::Audit, Chore::Scrub]) {
            Chore::Audit => {
                if audit(world, &auditor).await {
                    world.trace.count("audit beside the engines");
                }
            }
            Chore::Scrub => scrub(world, &scrubber).await,
        }
    }
}

async fn scrub(world: &Arc<World>, auditor: &Auditor) {
    let tell = |deed: &_| world.trace.note(|| format!("a scrub: {deed:?}"));
    if let Ok(mended) = auditor.scrub(false, tell).await {
        world.trace.count("scrub beside the engines");
        if mended.runs_deleted > 0 {
            world.trace.count("scrub deletes what no start names");
        }
    }
}

/// Audits the bucket when everything is over, where anybody does; nothing goes wrong any more. What a
/// start that never came left behind has to be deleted first.
pub async fn audit_at_the_end(world: &Arc<World>) {
    if !world.is_audited {
        return;
    }
    let last = auditor(world, "last auditor").gone_after(GONE_AFTER);
    scrub(world, &last).await;
    if !audit(world, &last).await {
        world.trace.fault("the last audit did not come to its end".to_owned());
    }
}

/// Whether an audit came to its end.
async fn audit(world: &Arc<World>, auditor: &Auditor) -> bool {
    let tell = |finding: &Finding| {
        if finding.is_fault() {
            world.trace.fault(format!("an audit finds {}: {}", finding.key, finding.what));
        }
    };
    let audited = auditor.audit(tell).await;
    world.trace.note(|| format!("an audit: {audited:?}"));
    audited.is_ok()
}

/// A process of its own that audits, with a true clock.
fn auditor(world: &Arc<World>, name: &str) -> Auditor {
    let life = Life::begin(Clock::right());
    let chance = Chance::new(world.seed, name);
    let timeline = world.timeline.clone();
    let env: Arc<dyn Env> = Arc::new(ProcessEnv { timeline, life: Arc::clone(&life), chance });
    let traits = world.traits();
    let (world, shards) = (Arc::clone(world), world.shards);
    let way = Way { world, life, name: name.into(), build: Build::Usual };
    let store = Store::wrap(Arc::new(way), traits, "sim:");
    Auditor::new(store, env, shards)
}
