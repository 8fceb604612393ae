//! What stands there costs, whether anything runs or not.

use super::{Requests, Workload};

/// How many scans an instance that stays up makes in an hour: 60 of the timers and 4 of the guards
/// in each minute (`wake::Cadence`).
const SCANS_AN_HOUR: u64 = 64 * 60;
/// How many looks of `lazarus wake`, a second apart, there are from one look at the guards to the next
/// (`wake::Cadence`).
const LOOKS_A_GUARD_SCAN: u64 = 15;
/// And from one look at the push queues to the next, which it makes when they are half a minute old and
/// it looks for tasks again.
const LOOKS_A_QUEUE_SCAN: u64 = 34;
/// How often an instance looks for work in an hour while a worker waits there for some.
const LOOKS_AN_HOUR: u64 = 6 * 60;
/// How often a schedule that runs each minute does so in an hour.
const WAKES_AN_HOUR: u64 = 60;
/// The most batches of records that an instance writes in an hour: one each 5 s.
const BATCHES_AN_HOUR: u64 = 720;
/// How an instance compares its clock with the store's, each hour (`store::compare_clocks`).
const CLOCK: Requests = Requests { put: 1, get: 2, list: 0, delete: 1 };
/// The hours of a month, as AWS counts them.
const MONTH: u64 = 730;

/// What stays up, or comes back on a schedule, on a store with one shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Instances that serve.
    pub instances: u64,
    /// Whether workers wait for work at each of them.
    pub has_workers: bool,
    /// How often `lazarus wake`, run each minute, looks: once, or each second, 55 times, with `--for 55s`;
    /// 0: it does not run.
    pub wake_looks: u64,
}

impl Standing {
    /// What it asks of the store in an hour in which nothing runs.
    pub fn requests_an_hour(&self) -> Requests {
        let list = |count| Requests { list: count, ..Requests::default() };
        // The layout, for the command and its engine; the timers, and now and then guards and queues.
        let guards = self.wake_looks.div_ceil(LOOKS_A_GUARD_SCAN);
        let queues = 1 + self.wake_looks / LOOKS_A_QUEUE_SCAN;
        let wake = Requests { get: 2, ..list(self.wake_looks + guards + queues) } * WAKES_AN_HOUR;
        (list(SCANS_AN_HOUR) + CLOCK) * self.instances
            + list(LOOKS_AN_HOUR) * (self.instances * u64::from(self.has_workers))
            + wake * u64::from(self.wake_looks > 0)
    }

    /// The same in a month.
    pub fn requests_a_month(&self) -> Requests {
        self.requests_an_hour() * MONTH
    }

    /// The batches of records for lists that `workload` comes to in a month, at most: each start, end and
    /// change that people filter by in a batch of its own, but no more than the instances can write.
    pub fn records_a_month(&self, workload: &Workload) -> Requests {
        let each = 2 + 2 * (workload.sleeps + workload.approvals);
        let records = workload.executions.saturating_mul(each);
        let batches = BATCHES_AN_HOUR * MONTH * self.instances.max(1);
        Requests { put: records.min(batches), ..Requests::default() }
    }
}
