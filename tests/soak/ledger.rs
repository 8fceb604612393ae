//! What the engines acknowledged to clients and workers, to be held against the bucket at the end.

use std::{
    collections::HashMap,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

/// A start that was answered with a run of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Started {
    pub execution: String,
    pub request: String,
    pub generation: u32,
    pub run: String,
}

/// Something that must stand in the history of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// A result, a sleep or an approval that was asked for, under a task's token.
    Report { run: String, step: String, token: String },
    /// A failure. One that waited for the end of a lease stands there twice: as it came, and as it
    /// counted.
    Failure { run: String, step: String, token: String },
    /// An answer to an approval.
    Approval { execution: String, request: String },
}

/// What was sent for each attempt, each with a mark of its own in its data. A task whose poll was cut
/// off is handed out again as the same attempt: of two results the first counts, and the other's worker
/// is told the same.
pub type Marks = HashMap<String, Vec<String>>;

/// Which attempt a task's token names, however long the log was when it was handed out.
pub fn attempt(token: &str) -> String {
    let parts: Vec<&str> = token.rsplitn(5, '.').collect();
    let [attempt, iteration, step, _seq, run] = parts.as_slice() else {
        panic!("{token:?} is no token")
    };
    [*run, *step, *iteration, *attempt].join(".")
}

/// All of it.
#[derive(Debug, Default)]
pub struct Ledger {
    started: Mutex<Vec<Started>>,
    told: Mutex<Vec<Told>>,
    marks: Mutex<Marks>,
    refused: Mutex<Vec<String>>,
    /// Requests that were sent again.
    pub retries: AtomicU64,
    /// Steps that workers ran.
    pub steps: AtomicU64,
    /// Results that came too late.
    pub superseded: AtomicU64,
}

impl Ledger {
    pub fn start(&self, started: Started) {
        locked(&self.started).push(started);
    }

    pub fn tell(&self, told: Told) {
        locked(&self.told).push(told);
    }

    /// What a worker is about to send.
    pub fn send(&self, token: &str, mark: &str) {
        locked(&self.marks).entry(attempt(token)).or_default().push(mark.to_owned());
    }

    pub fn marks(&self) -> Marks {
        locked(&self.marks).clone()
    }

    /// Something that no engine may answer to what the soak asks.
    pub fn refuse(&self, what: String) {
        locked(&self.refused).push(what);
    }

    pub fn started(&self) -> Vec<Started> {
        locked(&self.started).clone()
    }

    pub fn told(&self) -> Vec<Told> {
        locked(&self.told).clone()
    }

    pub fn refused(&self) -> Vec<String> {
        locked(&self.refused).clone()
    }
}

/// Adds one.
pub fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
