//! What this instance knows of the queues that it serves: calls under way, breakers.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::{
    dispatch::{Poller, Scope},
    push::{Breaker, Caller, Pass, PushQueue, SetQueue, worker_name},
    workflow::{Namespace, Timestamp},
};

/// One queue, as this instance serves it.
#[derive(Debug)]
pub(super) struct Lane {
    pub(super) queue: Arc<PushQueue>,
    /// What the board knows it as.
    pub(super) poller: Poller,
    /// One for each call that may be under way; a poll for its task has it already.
    pub(super) permits: Arc<Semaphore>,
    /// Why its target can not be called from here, and what to do; none: it can.
    pub(super) hindrance: Option<String>,
    /// Cancelled when the queue was changed or deleted.
    pub(super) stop: CancellationToken,
    in_flight: AtomicU32,
    health: Mutex<Health>,
}

/// A call under way; over when it is dropped.
pub(super) struct InFlight<'a>(&'a AtomicU32);

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[derive(Debug)]
struct Health {
    breaker: Breaker,
    last_failure: Option<String>,
}

/// How a queue stands in one instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueStatus {
    /// Whether its target is called.
    pub calling: Calling,
    /// How many calls are under way.
    pub in_flight: u32,
    /// Calls in a row that brought no answer.
    pub failures: u32,
    /// Why the last of them did not.
    pub last_failure: Option<String>,
}

/// Whether the target of a queue is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Calling {
    /// This instance serves no push queues, or does not know this one yet.
    NotHere,
    /// It can not, for this reason.
    Hindered(String),
    /// It is: the breaker is closed.
    Yes,
    /// Not before then: the breaker is open.
    NotBefore(Timestamp),
    /// One call finds out whether it is back.
    Probing,
}

/// The lanes of one instance, by namespace and name.
#[derive(Debug)]
pub(in crate::engine) struct Lanes {
    /// What tells this engine's calls from those of others.
    engine: u32,
    by_name: Mutex<BTreeMap<Name, Arc<Lane>>>,
    /// Who calls targets here; empty while nobody does.
    caller: OnceLock<Arc<dyn Caller>>,
}

type Name = (Namespace, String);

impl Lane {
    fn new(
        queue: Arc<PushQueue>,
        engine: u32,
        hindrance: Option<String>,
        before: Option<&Self>,
    ) -> Self {
        let scope = {
            let queue = Arc::clone(&queue);
            Scope::new(move |workflow, step| queue.takes(workflow, step))
        };
        let poller = Poller {
            namespace: queue.namespace.clone(),
            worker: worker_name(&queue.name, engine),
            record: None,
            scope: Some(scope),
            connection: None,
        };
        // Calls of the queue as it was before go on, and count for its limit.
        let kept = before.filter(|before| before.queue.concurrency == queue.concurrency);
        let limit = usize::try_from(queue.concurrency).unwrap_or(usize::MAX);
        let permits = kept.map_or_else(|| Arc::new(Semaphore::new(limit)), |it| it.permits.clone());
        let breaker = Breaker::new(queue.breaker_failures);
        Self {
            queue,
            poller,
            permits,
            hindrance,
            stop: CancellationToken::new(),
            in_flight: AtomicU32::new(0),
            health: Mutex::new(Health { breaker, last_failure: None }),
        }
    }

    /// Counts a call for as long as it lasts.
    pub(super) fn begin(&self) -> InFlight<'_> {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        InFlight(&self.in_flight)
    }

    pub(super) fn pass(&self, now: Timestamp) -> Pass {
        self.health().breaker.pass(now)
    }

    /// Whether a task may be taken with `pass`.
    pub(super) fn is_wanted(&self, pass: Pass) -> bool {
        let goes_through = pass == Pass::Probe || self.health().breaker.is_closed();
        goes_through && !self.stop.is_cancelled()
    }

    /// There was no task to use `pass` for.
    pub(super) fn unused(&self, pass: Pass, now: Timestamp) {
        if pass == Pass::Probe {
            self.health().breaker.unused(now);
        }
    }

    /// A worker of the target was heard.
    pub(super) fn succeeded(&self) {
        let mut health = self.health();
        health.last_failure = None;
        if health.breaker.succeeded() {
            let PushQueue { namespace, name, .. } = &*self.queue;
            tracing::info!(%namespace, queue = name, "a push target answers again");
            self.show(false);
        }
    }

    /// None was, for `reason`; `asked`: how long the target wants to be left alone.
    pub(super) fn failed(
        &self,
        now: Timestamp,
        reason: &str,
        asked: Option<Duration>,
        jitter: impl Fn(u64) -> u64,
    ) {
        let PushQueue { namespace, name, .. } = &*self.queue;
        let mut health = self.health();
        health.last_failure = Some(reason.to_owned());
        let opened = health.breaker.failed(now, asked, jitter);
        let failures = health.breaker.failures();
        drop(health);
        // What follows may be meant for the target alone.
        let target = self.queue.target_text().split('?').next();
        match opened {
            Some(until) => {
                let pause = until.since(now);
                tracing::warn!(%namespace, queue = name, target, failures, reason, ?pause,
                    "a push target does not answer; it is left alone, its tasks wait");
                self.show(true);
            }
            None => {
                tracing::warn!(%namespace, queue = name, target, failures, reason,
                    "a push target did not take a task; it is tried again");
            }
        }
    }

    pub(super) fn status(&self) -> QueueStatus {
        let health = self.health();
        let calling = match (&self.hindrance, health.breaker.open_until()) {
            (Some(why), _) => Calling::Hindered(why.clone()),
            (None, Some(until)) => Calling::NotBefore(until),
            (None, None) if health.breaker.is_closed() => Calling::Yes,
            (None, None) => Calling::Probing,
        };
        QueueStatus {
            calling,
            in_flight: self.in_flight.load(Ordering::Relaxed),
            failures: health.breaker.failures(),
            last_failure: health.last_failure.clone(),
        }
    }

    fn show(&self, is_open: bool) {
        let PushQueue { namespace, name, .. } = &*self.queue;
        let labels = [("namespace", namespace.to_string()), ("queue", name.clone())];
        metrics::gauge!("lazarus_push_breaker_open", &labels).set(if is_open { 1.0 } else { 0.0 });
    }

    fn health(&self) -> MutexGuard<'_, Health> {
        self.health.lock().expect("BUG: a thread panicked while it held a lane")
    }
}

impl Lanes {
    /// None yet.
    #[expect(clippy::cast_possible_truncation, reason = "a quarter of the random bits will do")]
    pub(in crate::engine) fn new(random: u128) -> Self {
        Self { engine: random as u32, by_name: Mutex::default(), caller: OnceLock::new() }
    }

    /// Makes the lanes those of `queues`: gives all of them, which of them are new, and those that are
    /// over. A queue that was changed is a new one, with a closed breaker: its operator has mended it.
    pub(super) fn set(&self, queues: &[SetQueue], caller: &Arc<dyn Caller>) -> Change {
        self.caller.get_or_init(|| Arc::clone(caller));
        let mut lanes = self.lock();
        let mut before = std::mem::take(&mut *lanes);
        let mut change = Change::default();
        for (queue, _) in queues {
            let name = (queue.namespace.clone(), queue.name.clone());
            let hindrance = caller.hindrance(queue);
            let old = before.remove(&name);
            let is_same = |old: &Arc<Lane>| old.queue == *queue && old.hindrance == hindrance;
            let lane = match old {
                Some(old) if is_same(&old) => old,
                old => {
                    let lane = Arc::new(Lane::new(
                        Arc::clone(queue),
                        self.engine,
                        hindrance,
                        old.as_deref(),
                    ));
                    change.over.extend(old);
                    change.new.push(Arc::clone(&lane));
                    lane
                }
            };
            change.all.push(Arc::clone(&lane));
            lanes.insert(name, lane);
        }
        change.over.extend(before.into_values());
        for lane in &change.over {
            lane.stop.cancel();
        }
        change
    }

    /// Why `queue` will not be served from here, and what to do; none: it will, or nothing is.
    pub(super) fn hindrance(&self, queue: &PushQueue) -> Option<String> {
        self.caller.get()?.hindrance(queue)
    }

    /// How a queue stands here.
    pub(super) fn status(&self, namespace: &Namespace, queue: &str) -> QueueStatus {
        let lane = self.lock().get(&(namespace.clone(), queue.to_owned())).cloned();
        let nothing = QueueStatus {
            calling: Calling::NotHere,
            in_flight: 0,
            failures: 0,
            last_failure: None,
        };
        lane.map_or(nothing, |lane| lane.status())
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Name, Arc<Lane>>> {
        self.by_name.lock().expect("BUG: a thread panicked while it held the lanes")
    }
}

/// What became of the lanes.
#[derive(Debug, Default)]
pub(super) struct Change {
    pub(super) all: Vec<Arc<Lane>>,
    pub(super) new: Vec<Arc<Lane>>,
    pub(super) over: Vec<Arc<Lane>>,
}
