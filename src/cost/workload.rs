//! A workload, and what one execution of it asks of a store.

use std::time::Duration;

use super::{MONTH_HOURS, Requests};

/// A result over this is a blob of its own (docs/format.md).
const INLINE_BYTES_MAX: u64 = 32 << 10;
/// Up to so many commits a run is read again with one GET; later with up to the second (docs/adr/0002).
const SHORT_RUN: u64 = 23;
const READS_MAX: u64 = 32;

/// What runs in a month, and how it is kept.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Workload {
    /// How many executions begin, and end, in a month.
    pub executions: u64,
    /// The steps of each, one after the other; at least one.
    pub steps: u64,
    /// Steps beside each other, after the first of those; each with a worker that waits for it.
    pub fan_out: u64,
    /// Sleeps, each a step of its own, and not the last one.
    pub sleeps: u64,
    /// Waits for a person, each a step of its own, and not the last one; without a timeout.
    pub approvals: u64,
    /// Attempts that fail and are tried again, by a retry policy.
    pub failures: u64,
    /// The size of the input, and of the result of each step, in bytes.
    pub payload_bytes: u64,
    /// Whether the caller names the execution.
    pub has_chosen_id: bool,
    /// How long a step runs: under a minute, or the guard moves, for 1 PUT each time it doubles.
    pub step_time: Duration,
    /// How long a sleep, and a wait for a person, lasts.
    pub wait_time: Duration,
    /// How long a closed execution is kept.
    pub kept: Duration,
}

impl Workload {
    /// What one execution asks of a store that others share, from its start by name to its end, on a warm
    /// instance whose workers wait for work.
    pub fn requests(&self) -> Requests {
        // The guard and the start commit; the newest version of the blueprint; the guard's end.
        let start = Requests { put: 2, get: 1, list: 0, delete: 1 };
        // Who has the id.
        let chosen_id = Requests { list: u64::from(self.has_chosen_id), ..Requests::default() };
        // Its result, in whose commit the next step is leased.
        let step = Requests { put: 1, ..Requests::default() };
        let blob = Requests { put: 1, ..Requests::default() };
        start
            + chosen_id
            + step * (self.steps + self.fan_out)
            + self.sleep() * self.sleeps
            + self.approval() * self.approvals
            + FAILURE * self.failures
            + blob * self.blobs()
    }

    /// Its request and a timer; when it is over a guard and a commit, after a look at the run, which was
    /// not kept in memory.
    fn sleep(&self) -> Requests {
        Requests { put: 4, get: 1 + self.reads(), list: 0, delete: 2 }
    }

    /// Its request; when it is answered, the run is found by its execution's id, and then a guard and a
    /// commit.
    fn approval(&self) -> Requests {
        Requests { put: 3, get: 5 + self.reads(), list: 2, delete: 1 }
    }

    /// How many commits it takes at most to know a run that was not kept in memory.
    fn reads(&self) -> u64 {
        if self.commits() > SHORT_RUN { READS_MAX } else { 1 }
    }

    /// The commits of one execution after its start.
    fn commits(&self) -> u64 {
        self.steps + self.fan_out + 2 * (self.sleeps + self.approvals + self.failures)
    }

    /// The input and the results that are too large for a commit.
    pub(super) fn blobs(&self) -> u64 {
        if self.payload_bytes > INLINE_BYTES_MAX { 1 + self.steps + self.fan_out } else { 0 }
    }

    /// What it asks of the store to delete one execution that was kept long enough.
    pub fn deletion(&self) -> Requests {
        Requests {
            // The mark that an id which somebody chose keeps.
            put: u64::from(self.has_chosen_id),
            get: 2,
            list: u64::from(self.blobs() > 0),
            delete: 1 + self.commits() + self.blobs(),
        }
    }

    /// How long one execution is open.
    pub(super) fn open_hours(&self) -> f64 {
        let steps = super::float(self.steps + self.failures + u64::from(self.fan_out > 0));
        let waits = super::float(self.sleeps + self.approvals);
        (steps * self.step_time.as_secs_f64() + waits * self.wait_time.as_secs_f64()) / 3_600.0
    }

    /// How long one execution is stored, in months.
    pub(super) fn stored_months(&self) -> f64 {
        (self.open_hours() + self.kept.as_secs_f64() / 3_600.0) / MONTH_HOURS
    }
}

/// The failure; when the pause is over the step is offered, and leased in a commit of its own.
const FAILURE: Requests = Requests { put: 3, get: 1, list: 0, delete: 1 };
