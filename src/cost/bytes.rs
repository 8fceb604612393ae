//! How many bytes the log of one execution takes: a rough sum, for storage is a small part of the price.
//!
//! The constants are what commits of a real engine measure (`tests/blackbox/cost_model.rs` holds them to
//! 15 percent); which commits carry the state follows docs/adr/0002.

use super::Workload;

/// The start commit without its input.
const START: u64 = 790;
/// A commit without its payload, its leases and its state.
const COMMIT: u64 = 440;
/// A step that is scheduled and leased in a commit.
const LEASE: u64 = 155;
/// A state in which nothing is done yet.
const STATE: u64 = 550;
/// A step in a state: that is done, and that is open.
const DONE: u64 = 36;
const OPEN: u64 = 105;
/// What a commit says of a payload that is a blob.
const BLOB: u64 = 91;
/// A payload up to this stands in the state, as long as all of them come to no more than the second.
const IN_STATE_MAX: u64 = 1024;
const IN_STATE_SUM_MAX: u64 = 4096;
/// A commit carries the state while that is not larger than this, and after so many commits than the
/// second; else each so-manieth does.
const SHORT_RUN: u64 = 24;
const SHORT_RUN_STATE_MAX: u64 = 8 * 1024;
const LONG_RUN_STATE_MAX: u64 = 2 * 1024;
const EVERY: u64 = 32;

/// A log that grows.
struct Log<'a> {
    workload: &'a Workload,
    bytes: u64,
    seq: u64,
    done: u64,
    open: u64,
    /// The last state that was written: by which commit, and how large.
    snapshot: (u64, u64),
}

impl Workload {
    /// How many bytes one execution takes in the store, roughly.
    pub fn stored_bytes(&self) -> u64 {
        let mut log =
            Log { workload: self, bytes: START, seq: 0, done: 0, open: 0, snapshot: (0, 0) };
        log.bytes += log.payload();
        let first_is_last = self.steps == 1;
        log.commit(
            log.payload(),
            if self.fan_out > 0 { self.fan_out } else { u64::from(!first_is_last) },
        );
        log.open = self.fan_out;
        for left in (0..self.fan_out).rev() {
            log.open = left;
            log.commit(log.payload(), u64::from(left == 0 && !first_is_last));
        }
        for _ in 0..2 * (self.sleeps + self.approvals + self.failures) {
            log.commit(0, 1);
        }
        for left in (0..self.steps - 1).rev() {
            log.commit(log.payload(), u64::from(left > 0));
        }
        log.bytes + self.blobs() * self.payload_bytes
    }
}

impl Log<'_> {
    fn payload(&self) -> u64 {
        if self.workload.blobs() > 0 { BLOB } else { self.workload.payload_bytes }
    }

    fn commit(&mut self, payload: u64, leases: u64) {
        self.seq += 1;
        self.done += u64::from(payload > 0);
        self.bytes += COMMIT + payload + LEASE * leases;
        let (last, bytes) = self.snapshot;
        let most = if self.seq < SHORT_RUN { SHORT_RUN_STATE_MAX } else { LONG_RUN_STATE_MAX };
        if bytes <= most || self.seq - last >= EVERY {
            let state = self.state(leases);
            self.bytes += state;
            self.snapshot = (self.seq, state);
        }
    }

    fn state(&self, leases: u64) -> u64 {
        let each = self.workload.payload_bytes;
        // The input, and the newest results.
        let inline = if each > IN_STATE_MAX {
            0
        } else {
            each + each * self.done.min(IN_STATE_SUM_MAX / each.max(1))
        };
        STATE + DONE * self.done + OPEN * self.open.max(leases) + inline
    }
}
