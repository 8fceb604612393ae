//! The due times that this process remembers, so that it wakes its own runs to the millisecond.
//!
//! A cache of the wake index and nothing more: forgetting everything here makes a run wake later, by
//! at most one scan, and never changes what it does.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::Notify;

use crate::{
    env::Env,
    workflow::{Handle, RunId, Timestamp},
};

/// How far ahead due times are remembered; the wake index holds all others alone.
pub const NEAR: Duration = Duration::from_mins(2);

/// How many runs are remembered at most, about 300 bytes each.
const RUNS_MAX: usize = 100_000;

/// The earliest due time of each run that has one within [`NEAR`].
#[derive(Debug)]
pub struct Near {
    env: Arc<dyn Env>,
    times: Mutex<Times>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct Times {
    by_run: HashMap<RunId, (Timestamp, Handle)>,
    by_time: BTreeSet<(Timestamp, RunId)>,
}

impl Near {
    /// Remembers nothing yet.
    pub fn new(env: Arc<dyn Env>) -> Self {
        Self { env, times: Mutex::default(), changed: Notify::new() }
    }

    /// Sets the time at which the run is next due, whatever it was before.
    ///
    /// `due` is the earliest due time of the run's folded state. Beyond [`NEAR`], and when 100,000
    /// runs are remembered already, the run is forgotten: its entry in the index stands.
    pub fn arm(&self, handle: &Handle, due: Timestamp) {
        let horizon = self.env.now().after(NEAR);
        let mut times = self.times();
        times.remove(handle.run);
        if due <= horizon && times.by_run.len() < RUNS_MAX {
            times.insert(handle, due);
            drop(times);
            self.changed.notify_one();
        }
    }

    /// As [`Near::arm`] for who has not folded the run: an earlier time that is set already stays.
    pub fn arm_no_later(&self, handle: &Handle, due: Timestamp) {
        let earlier = self.times().by_run.get(&handle.run).is_some_and(|(set, _)| *set <= due);
        if !earlier {
            self.arm(handle, due);
        }
    }

    /// Forgets the run: it is closed, or parked with nothing due.
    pub fn disarm(&self, run: RunId) {
        self.times().remove(run);
    }

    /// How many runs are remembered.
    pub fn len(&self) -> usize {
        self.times().by_run.len()
    }

    /// Whether no run is remembered.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Waits until a run is due, and takes all that are, the earliest first.
    ///
    /// Cancel-safe: nothing is taken before it returns. For one caller at a time.
    pub async fn next(&self) -> Vec<Handle> {
        loop {
            let now = self.env.now();
            let earliest = {
                let mut times = self.times();
                let due = times.take_due(now);
                if !due.is_empty() {
                    return due;
                }
                times.by_time.first().map(|(due, _)| *due)
            };
            let Some(earliest) = earliest else {
                self.changed.notified().await;
                continue;
            };
            tokio::select! {
                biased;
                () = self.env.sleep(earliest.since(now)) => {}
                () = self.changed.notified() => {}
            }
        }
    }

    fn times(&self) -> MutexGuard<'_, Times> {
        self.times.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Times {
    fn insert(&mut self, handle: &Handle, due: Timestamp) {
        self.by_run.insert(handle.run, (due, handle.clone()));
        self.by_time.insert((due, handle.run));
    }

    fn remove(&mut self, run: RunId) -> Option<Handle> {
        let (due, handle) = self.by_run.remove(&run)?;
        self.by_time.remove(&(due, run));
        Some(handle)
    }

    fn take_due(&mut self, now: Timestamp) -> Vec<Handle> {
        let mut due = vec![];
        while let Some((_, run)) = self.by_time.first().copied().filter(|(at, _)| *at <= now) {
            due.extend(self.remove(run));
        }
        due
    }
}
