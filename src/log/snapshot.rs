//! When a commit carries the folded state.
//!
//! A choice of the writer: a reader needs only `snap_seq`, and no rule of the log depends on it.
//! Commit 0 never carries one, because its own events are the whole state.

use super::commit::Encoded;
use crate::workflow::Seq;

/// Up to this length every commit of a short run carries its state: a cold load is 1 GET.
const SHORT_RUN_BYTES_MAX: u64 = 8 * 1024;
/// The commits that count as a short run: the chain of ten steps of the cost promise, each claimed in
/// a commit of its own as functions do, and some.
const SHORT_RUN: Seq = 24;
/// Up to this length every later commit does: with its own events a commit stays under 4 KiB.
const LONG_RUN_BYTES_MAX: u64 = 2 * 1024;
/// A larger state stands in each so-manieth commit: what a cold load reads in parallel at most.
const EVERY: Seq = 32;
/// A writer that remembers the run writes a state less often the longer it is: it pays for each of them,
/// and only whoever comes after its death reads the commits since. One commit for each so many bytes:
const BYTES_FOR_ONE: u64 = 2 * 1024;
/// And each so-manieth commit at least.
const EVERY_REMEMBERED: Seq = 128;

/// What is known of a run's last snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Snapshots {
    /// The commit from which the state is folded: the last that carries it, or 0.
    pub seq: Seq,
    /// The length of that state as JSON; 0: none was measured.
    pub bytes: u64,
}

impl Snapshots {
    /// Before anything was committed.
    pub const NONE: Self = Self { seq: 0, bytes: 0 };

    /// Whether commit `seq` is to carry the state; `remembers`: its writer keeps the run in memory after
    /// it. The last snapshot's length stands for this one's, so that a large state is not serialized only
    /// to be measured.
    pub fn is_due(self, seq: Seq, remembers: bool) -> bool {
        let inline_max = if seq < SHORT_RUN { SHORT_RUN_BYTES_MAX } else { LONG_RUN_BYTES_MAX };
        let longest = if remembers { EVERY_REMEMBERED } else { EVERY };
        let every = (self.bytes / BYTES_FOR_ONE).clamp(EVERY, longest);
        seq > 0 && (self.bytes <= inline_max || seq.saturating_sub(self.seq) >= every)
    }

    /// What is known once `commit` is in the log.
    #[must_use]
    pub fn after(commit: &Encoded) -> Self {
        commit.snapshots
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn due(last: Seq, bytes: u64, seq: Seq) -> bool {
        Snapshots { seq: last, bytes }.is_due(seq, true)
    }

    #[test]
    fn a_small_state_stands_in_each_commit_after_the_first() {
        assert!(!due(0, 0, 0));
        assert!(due(0, 0, 1));
        assert!(due(22, 8192, 23));
        assert!(due(99, 2048, 100));
    }

    #[test]
    fn a_large_state_stands_in_every_32nd_commit() {
        assert_eq!((24..=200).filter(|&seq| due(23, 8193, seq)).min(), Some(55));
        assert!(!due(99, 2049, 130));
        assert!(due(99, 2049, 131));
    }

    #[test]
    fn a_writer_that_remembers_the_run_writes_a_long_state_less_often() {
        let next = |bytes, remembers| {
            let last = Snapshots { seq: 1_000, bytes };
            (1_001..2_000).find(|&seq| last.is_due(seq, remembers)).map(|seq| seq - 1_000)
        };
        for (bytes, commits) in [(65_536, 32), (67_584, 33), (262_144, 128), (10_000_000, 128)] {
            assert_eq!(next(bytes, true), Some(commits));
            assert_eq!(next(bytes, false), Some(32), "whoever forgets reads them at each request");
        }
    }
}
