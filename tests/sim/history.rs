//! One history: a world from its beginning to the moment at which nothing is left to do.
//!
//! Setting up; trouble; then everything heals and all executions must close; then one instance is
//! left, late writes land, zombies come back, and nothing may be left over.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    panic::{AssertUnwindSafe, UnwindSafe},
    sync::{Arc, Once},
    time::Duration,
};

use futures::{FutureExt, future};
use lazarus::{
    engine::{Engine, Filter},
    workflow::{ExecutionId, Namespace, Timestamp},
};
use tokio::runtime::Builder;

use super::{
    broken::Broken,
    chance::Chance,
    clients::Clients,
    cluster::{Cluster, Unanswered},
    deletion::{KEEP, delete_all},
    keepers,
    mercy::Mercy,
    weather::LATE_MAX,
    workers::Workers,
    workload::Workload,
    world::World,
};

/// What came of a seed.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// What must not have happened, and did.
    pub fault: Option<String>,
    pub counts: BTreeMap<&'static str, u64>,
    /// Those that happened, by kind.
    pub misfortunes: BTreeMap<&'static str, u64>,
    /// How many were due, with those that it was spared.
    pub due: u64,
    pub runs: u64,
    pub commits: u64,
    /// Virtual time.
    pub covered: Duration,
    pub trace: String,
}

thread_local! {
    /// The first panic of this thread, as nobody may hear of one in a task.
    static PANIC: RefCell<Option<String>> = const { RefCell::new(None) };
    /// Whether this thread lives through a history.
    static IS_LIVING: Cell<bool> = const { Cell::new(false) };
}

/// Notes panics within a history instead of printing them; once for the process.
fn hear_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let print = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if !IS_LIVING.get() {
                return print(panic);
            }
            let words = panic.to_string();
            PANIC.with_borrow_mut(|first| _ = first.get_or_insert(words));
        }));
    });
}

/// Does `work` and hears of every panic in it, in whichever task; the first one.
pub(super) fn heed(work: impl FnOnce() + UnwindSafe) -> Option<String> {
    hear_panics();
    PANIC.set(None);
    IS_LIVING.set(true);
    let worked = std::panic::catch_unwind(work);
    IS_LIVING.set(false);
    PANIC.take().or_else(|| worked.err().map(|_| "the driver panicked".to_owned()))
}

/// Whether anything has panicked within [`heed`].
pub(super) fn has_panicked() -> bool {
    PANIC.with_borrow(Option::is_some)
}

/// How long a run in which something is to be done may stand still once everything is healed: trouble
/// is over within 6 minutes, so a guard has climbed to 8 at most; then a lease must end, and a pause.
const STILL_MAX_MS: u64 = 20 * 60_000;
/// How long all executions have to close once everything is healed: a guard that has climbed to the
/// top of its ladder, and some leases and sleeps after it.
const TO_CLOSE: Duration = Duration::from_hours(3);
/// How long requests may be under way that were sent in trouble: claims for polls that are gone.
const STILL_UNDER_WAY_MS: u64 = 60_000;
/// The most steps that a history takes; an ordinary one takes some ten thousand.
const STEPS_MAX: u32 = 1_000_000;
/// How long what is left over has to go after that: zombies come back for three hours.
const TO_SETTLE: Duration = Duration::from_hours(6);
/// How long some instances stay frozen.
const DAYS: Duration = Duration::from_hours(72);
/// How often somebody looks meanwhile.
const LOOK_EVERY: Duration = Duration::from_mins(5);

/// Lives through the history of `seed`.
pub fn live(seed: u64, broken: Option<Broken>, is_read: bool) -> Outcome {
    live_with(seed, broken, is_read, Mercy::default())
}

/// Lives through the history of `seed` that is spared something.
pub fn live_with(seed: u64, broken: Option<Broken>, is_read: bool, mercy: Mercy) -> Outcome {
    live_through(&World::new(seed, broken, is_read, mercy), story)
}

/// Lives through what `story` makes of a world.
pub fn live_through<Story>(world: &Arc<World>, story: impl FnOnce(Arc<World>) -> Story) -> Outcome
where
    Story: Future<Output = ()> + Send + 'static,
{
    // Everything that can run is run before time goes on; see `drive`.
    let runtime =
        Builder::new_current_thread().event_interval(u32::MAX).build().expect("a runtime");
    let panicked = heed(AssertUnwindSafe(|| {
        runtime.block_on(async {
            let story = tokio::spawn(story(Arc::clone(world)));
            // Whoever keeps the bucket can not be a task of its own: an audit is not to be sent.
            tokio::select! {
                biased;
                () = keepers::keep(world) => {}
                () = drive(world, || story.is_finished()) => {}
            }
            let is_audited = Cell::new(false);
            let audit = async {
                keepers::audit_at_the_end(world).await;
                is_audited.set(true);
                future::pending::<()>().await;
            };
            tokio::select! {
                biased;
                () = audit => {}
                () = drive(world, || is_audited.get()) => {}
            }
        });
    }));
    drop(runtime);
    let (runs, commits) = world.audit.totals();
    let (due, misfortunes) = world.trace.misfortunes();
    Outcome {
        misfortunes,
        due,
        fault: world.trace.first_fault().or(panicked),
        counts: world.trace.counts(),
        runs,
        commits,
        covered: world.timeline.now(),
        trace: world.trace.text(),
    }
}

/// Lets time go on whenever nothing can run, until `is_over`, or something is wrong.
///
/// With an event interval without end, the runtime comes back to a task that yielded only after its
/// queue ran empty.
async fn drive(world: &World, is_over: impl Fn() -> bool) {
    for _ in 0..STEPS_MAX {
        tokio::task::yield_now().await;
        let is_wrong = world.trace.first_fault().is_some() || has_panicked();
        if is_over() || is_wrong {
            return;
        }
        if !world.timeline.step() {
            world.trace.fault("nothing will ever happen again".to_owned());
            return;
        }
    }
    world.trace.fault(format!("after {STEPS_MAX} steps it is not over"));
}

async fn story(world: Arc<World>) {
    let chance = Chance::new(world.seed, "story");
    let cluster = Cluster::start(Arc::clone(&world));
    let workload = Arc::new(Workload::new(world.seed));
    world.trace.note(|| cluster.in_words());
    world.trace.note(|| world.weather.in_words());
    for line in workload.in_words() {
        world.trace.note(|| line);
    }
    put_blueprints(&cluster, &workload).await;

    world.weather.set_calm(false);
    let clients = Clients::start(Arc::clone(&cluster), Arc::clone(&workload));
    let workers = Workers::start(Arc::clone(&cluster), workload);
    cluster.trouble();
    world.timeline.wait(chance.spread(Duration::from_secs(40), Duration::from_mins(6))).await;

    world.trace.note(|| "everything heals".to_owned());
    world.weather.set_calm(true);
    cluster.heal();
    clients.heal();
    workers.heal();
    world.audit.expect_calm(world.now_ms() + STILL_UNDER_WAY_MS);
    let healed = world.timeline.now();
    let healed_ms = world.now_ms();
    while clients.open() > 0 {
        world.timeline.wait(Duration::from_secs(1)).await;
        let latest = Timestamp::from_millis(world.now_ms() - STILL_MAX_MS);
        if latest.as_millis() > healed_ms
            && let Some(fault) = world.audit.stands_still(latest)
        {
            world.trace.fault(fault);
            return;
        }
        if world.timeline.now() > healed + TO_CLOSE {
            let open = world.audit.open_runs();
            world.trace.fault(format!("{} clients still wait; open: {open:?}", clients.open()));
            return;
        }
    }

    world.trace.note(|| "all executions are seen closed; one instance is left".to_owned());
    workers.end();
    settle(&cluster, &workers, &chance).await;
    if world.trace.first_fault().is_none() {
        read_again(&cluster).await;
    }
    if world.is_retained && world.trace.first_fault().is_none() {
        world.audit.expect_deletions(KEEP);
        delete_all(&cluster).await;
    }
}

/// Submits the blueprints; an instance whose clock is beyond the bound serves only once it is set.
async fn put_blueprints(cluster: &Cluster, workload: &Workload) {
    for definition in &workload.definitions {
        loop {
            let put = |engine: Engine| async move {
                let (namespace, definition) = (Namespace::default(), definition.clone());
                engine.put_blueprint(&namespace, definition, "python", false).await
            };
            match cluster.ask(cluster.any(), Duration::from_mins(1), put).await {
                Ok(_) => break,
                Err(Unanswered::Silence) => {
                    cluster.world.timeline.wait(Duration::from_secs(1)).await;
                }
                Err(error) => panic!("no trouble yet: {error:?}"),
            }
        }
    }
}

/// Waits until nothing is left over and nothing more will come.
async fn settle(cluster: &Arc<Cluster>, workers: &Arc<Workers>, chance: &Chance) {
    let world = &cluster.world;
    let place = cluster.retire_to_one_command().await;
    let begun = world.timeline.now();
    let latest = if world.lasts_days { DAYS } else { Duration::from_hours(3) };
    let thaw_at = begun + chance.spread(LOOK_EVERY, latest);
    while world.timeline.now() < thaw_at.max(begun) + TO_SETTLE {
        let is_idle = world.lasts_days && cluster.has_forgotten() && left_over(world).is_empty();
        // Within the two hours after which an audit calls what nobody needs a fault.
        let wait = if is_idle { LOOK_EVERY * 12 } else { LOOK_EVERY };
        world.timeline.wait(wait).await;
        // Whoever keeps a bucket for days ticks meanwhile: what lands late is seen before it grows old.
        let may_land = world.is_retained && world.timeline.now() < begun + LATE_MAX;
        if world.timeline.now() > thaw_at {
            cluster.remember_forgotten(Duration::from_mins(1)).await;
        }
        let tick = |engine: Engine| async move {
            while engine.tick().await?.more {}
            Ok(())
        };
        let _done = cluster.ask(place, Duration::from_mins(5), tick).await;
        // A start that was answered with a run that it found may begin one of its own when a frozen copy
        // of it goes on: nobody looks after that one.
        for execution in world.audit.open_executions() {
            let execution = ExecutionId::known(&execution).expect("an id");
            let cancel = |engine: Engine| async move {
                engine.cancel(&Namespace::default(), &execution, "ann", "tidy", "nobody's").await
            };
            let _done = cluster.ask(place, Duration::from_mins(5), cancel).await;
        }
        // Whoever polls takes away the offers that nobody needs.
        let _task = workers.poll(place, "sweeper").await;
        let may_come = may_land || workers.zombies() > 0 || cluster.has_forgotten();
        if !may_come && left_over(world).is_empty() && world.audit.open_runs().is_empty() {
            return;
        }
    }
    let (left, open) = (left_over(world), world.audit.open_runs());
    world.trace.fault(format!("left over: {left:?}; open: {open:?}"));
}

/// The wake entries and offers that stand in the bucket.
pub fn left_over(world: &World) -> Vec<String> {
    let bucket = world.bucket();
    let below = |folder| bucket.below(folder, None).map(|(key, _)| key.clone());
    below("wake").chain(below("queue")).collect()
}

/// Reads every execution from its log once more, and all of them from the list.
async fn read_again(cluster: &Arc<Cluster>) {
    let world = &cluster.world;
    let list = |engine: Engine| async move {
        engine.list(&Namespace::default(), &Filter::default(), 0, usize::MAX).await
    };
    match cluster.ask(cluster.count() - 1, Duration::from_mins(5), list).await {
        Ok(page) => world.audit.listed(&page.records),
        Err(error) => world.trace.fault(format!("executions can not be listed: {error:?}")),
    }
    for execution in world.audit.executions() {
        let asked = ExecutionId::known(&execution).expect("an id");
        let before = world.audit.newest(&execution);
        let read = |engine: Engine| async move {
            let seen = engine.describe(&Namespace::default(), &asked).await?;
            engine.history(&Namespace::default(), &asked).await?;
            Ok(seen)
        };
        let place = cluster.count() - 1;
        let read = AssertUnwindSafe(cluster.ask(place, Duration::from_mins(5), read));
        match read.catch_unwind().await {
            Ok(Ok(seen)) => world.audit.described(&seen.state, before),
            Ok(Err(error)) => world.trace.fault(format!("{execution} can not be read: {error:?}")),
            Err(_) => return,
        }
    }
}
