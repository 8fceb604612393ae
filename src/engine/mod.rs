//! Rehydrate, decide, arm, append, fold, effects: the one loop that changes a run, and what callers
//! ask of it.
//!
//! Owns the order in which a change reaches the world (docs/fencing.md), and the memory of an
//! instance. Never holds a rule of the workflow: what a run does is decided in `workflow`. The whole
//! of an engine's memory may be lost at any time.

mod api;
mod assign;
mod background;
mod blueprints;
mod cache;
mod commit;
mod cut_off;
mod describe;
mod effects;
mod payloads;
mod poll;
mod push;
mod report;
mod resume;
mod resurrect;
mod retain;
mod seat;
mod start;
mod task;
mod wait;

pub use api::{
    BlueprintPut, Description, Ending, Error, PollRequest, ResumeRequest, StartRequest, Started,
    TaskForWorker,
};

pub use push::{Calling, QueueStatus, QueueView};
pub use seat::Seat;

pub use crate::{
    dispatch::WorkerRecord,
    log::{Format, StoredBlueprint},
    maintenance::{
        Auditor, DeadRun, Deed, Deletion, Fate, Filter, Finding, Keep, Mended, Page, Record,
        Retained, RetentionPolicy, Severity, Standing, Summary,
    },
    push::{Auth, Caller, HttpCaller, PushQueue, Secrets, Target, outcome},
    wake::{Beat, Cadence, Part, Progress},
};

use std::{
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    dispatch::{Board, Offers, RESERVATION, Workers},
    env::Env,
    log::{Blueprints, RunLog},
    maintenance::{Dead, Feed, Retention},
    push::Queues,
    store::{self, Layout, LayoutError, Store},
    wake::{Limits, Near, Ticker, WakeIndex},
    workflow::{Handle, Policy},
};

/// How an instance is set up.
#[derive(Clone, Debug)]
pub struct Config {
    /// Leases and guards.
    pub policy: Policy,
    /// How many bytes of folded states and payloads are kept in memory; 0: nothing is, every request
    /// rehydrates its run, and tasks are offered through the store.
    pub cache_bytes: u64,
    /// Whether due times of the next two minutes are also kept in memory.
    pub near_timers: bool,
    /// Whether the next task of a chain is reserved for the next poll of the worker that just
    /// submitted; never in a function.
    pub reservations: bool,
    /// This process, in the `by` of its commits: `name/version`.
    pub instance: String,
}

impl Config {
    /// Of a process that stays, with 64 MiB for states.
    pub fn of(instance: impl Into<String>) -> Self {
        Self {
            policy: Policy::default(),
            cache_bytes: 64 << 20,
            near_timers: true,
            reservations: true,
            instance: instance.into(),
        }
    }
}

/// The engine of one process; cheap to clone.
#[derive(Clone, Debug)]
pub struct Engine {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    config: Config,
    /// What it writes into the log.
    format: Format,
    env: Arc<dyn Env>,
    store: Store,
    log: RunLog,
    blueprints: Blueprints,
    wakes: WakeIndex,
    near: Arc<Near>,
    ticker: Ticker,
    board: Board,
    offers: Offers,
    workers: Workers,
    feed: Feed,
    leaving: resurrect::Leaving,
    dead: Dead,
    queues: Queues,
    lanes: push::Lanes,
    retention: Retention,
    /// LISTs of retention and of push queues that a scan of the timers makes up for.
    lists_owed: AtomicU64,
    slots: cache::Slots,
    memory: cache::Memory,
    shelf: blueprints::Shelf,
    /// Effects and shielded requests in flight.
    tasks: TaskTracker,
    closings: wait::Closings,
    closing: CancellationToken,
}

impl Engine {
    /// An engine on `store`, with the layout that the store has or now gets. Costs 1 GET.
    ///
    /// # Errors
    ///
    /// [`LayoutError`]: this build can not work on the store; the message says what to do.
    pub async fn open(
        store: Store,
        env: Arc<dyn Env>,
        config: Config,
    ) -> Result<Self, LayoutError> {
        let Layout { shards, .. } = store::layout(&store, None).await?;
        Ok(Self::new(store, env, shards, config))
    }

    /// An engine on `store`, whose indexes are spread over `shards` parts. Reads nothing.
    pub fn new(store: Store, env: Arc<dyn Env>, shards: u32, config: Config) -> Self {
        Self::of_build(store, env, shards, config, Format::OURS)
    }

    /// As [`Engine::new`], as a build of `format` would work: for tests with several builds on one
    /// store.
    pub fn of_build(
        store: Store,
        env: Arc<dyn Env>,
        shards: u32,
        config: Config,
        format: Format,
    ) -> Self {
        let wakes = WakeIndex::new(store.clone(), shards);
        let near = Arc::new(Near::new(env.clone()));
        let ticker = Ticker::new(wakes.clone(), env.clone(), Limits::default());
        let remembers = config.near_timers && store.is_exclusive();
        let ticker = if remembers { ticker.looking_ahead(near.clone()) } else { ticker };
        let random = env.random();
        let instance_id = format!("{} {random:032x}", config.instance);
        let log = RunLog::new(store.clone(), env.clone()).read_as(format);
        let inner = Inner {
            retention: Retention::new(log.clone(), store.clone(), env.clone()),
            log,
            blueprints: Blueprints::new(store.clone()),
            ticker,
            near,
            board: Board::new(config.policy.lease),
            offers: Offers::new(store.clone(), shards, &instance_id),
            workers: Workers::new(store.clone()),
            feed: Feed::new(store.clone(), env.clone(), config.cache_bytes / 8),
            leaving: resurrect::Leaving::default(),
            dead: Dead::new(store.clone()),
            queues: Queues::new(store.clone()),
            lanes: push::Lanes::new(random),
            lists_owed: AtomicU64::new(0),
            slots: cache::Slots::default(),
            memory: cache::Memory::new(config.cache_bytes),
            shelf: blueprints::Shelf::default(),
            tasks: TaskTracker::new(),
            closings: wait::Closings::default(),
            closing: CancellationToken::new(),
            wakes,
            store,
            env,
            config,
            format,
        };
        Self { inner: Arc::new(inner) }
    }

    /// The store, and its request counts.
    pub fn store(&self) -> &Store {
        &self.inner.store
    }

    /// The clock and the entropy of this engine.
    pub fn env(&self) -> &Arc<dyn Env> {
        &self.inner.env
    }

    /// Runs that were taken out of the way because they can not be decided. Costs 1 LIST and 1 GET
    /// each.
    ///
    /// # Errors
    ///
    /// [`Error::Log`]: ask again later.
    pub async fn dead(&self) -> Result<Vec<DeadRun>, Error> {
        Ok(self.inner.dead.list().await?)
    }

    /// Puts such a run back, to be looked at at once.
    ///
    /// # Errors
    ///
    /// * [`Error::InvalidId`]: `handle` is none; `dead list` shows them.
    /// * [`Error::NotFound`]: there is no such run among the dead.
    /// * [`Error::Log`]: by what the log says must be done.
    pub async fn retry_dead(&self, handle: &str) -> Result<(), Error> {
        let parsed: Handle = handle.parse()?;
        if self.inner.dead.retry(&self.inner.wakes, &parsed, self.inner.env.now()).await? {
            return Ok(());
        }
        Err(Error::NotFound { what: format!("{handle} is not among the dead runs") })
    }

    /// From now on polls are answered empty and new requests refused with [`Error::ShuttingDown`].
    pub fn begin_shutdown(&self) {
        self.inner.closing.cancel();
        self.inner.board.close();
        // Whoever they are reserved for polls another instance next.
        self.give_up_reservations(self.inner.env.now().after(RESERVATION));
    }

    /// Resolves when every commit and effect in flight is finished; false when `within` passed first.
    pub async fn drain(&self, within: Duration) -> bool {
        let flush = async || {
            if let Err(error) = self.inner.feed.flush_now().await {
                tracing::warn!(%error, "records for lists were not written; the runs' guards will mend it");
            }
        };
        let idle = async {
            while !self.inner.tasks.is_empty() {
                flush().await;
                self.inner.env.sleep(effects::DRAIN_STEP).await;
            }
            flush().await;
        };
        tokio::select! {
            biased;
            () = idle => true,
            () = self.inner.env.sleep(within) => false,
        }
    }

    fn refuse_when_closing(&self) -> Result<(), Error> {
        if self.inner.closing.is_cancelled() {
            return Err(Error::ShuttingDown);
        }
        Ok(())
    }

    fn random_u64(&self) -> u64 {
        half_of(self.inner.env.random())
    }
}

/// Half of the random bits, which are as random.
#[expect(clippy::cast_possible_truncation, reason = "that is what is asked for")]
fn half_of(random: u128) -> u64 {
    random as u64
}
