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

/// What a writer keeps of a run after its commit, and so who has to read it from the log, how often.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keeps {
    /// Nothing, as the run is parked or closed, or the writer has no memory: whoever has its next request.
    Nothing,
    /// The state: whoever comes after this writer's death.
    State,
    /// The state, and the store is its own: whoever comes after its death, and then a read is no request.
    StateAndStore,
}

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

    /// Whether commit `seq` is to carry the state. The last snapshot's length stands for this one's, so
    /// that a large state is not serialized only to be measured.
    pub fn is_due(self, seq: Seq, keeps: Keeps) -> bool {
        let inline_max = match keeps {
            Keeps::Nothing | Keeps::State if seq < SHORT_RUN => Some(SHORT_RUN_BYTES_MAX),
            Keeps::Nothing | Keeps::State => Some(LONG_RUN_BYTES_MAX),
            Keeps::StateAndStore => None,
        };
        let longest = if keeps == Keeps::Nothing { EVERY } else { EVERY_REMEMBERED };
        let every = (self.bytes / BYTES_FOR_ONE).clamp(EVERY, longest);
        let is_short = inline_max.is_some_and(|most| self.bytes <= most);
        seq > 0 && (is_short || seq.saturating_sub(self.seq) >= every)
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
        Snapshots { seq: last, bytes }.is_due(seq, Keeps::State)
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
        for (bytes, commits) in [(65_536, 32), (67_584, 33), (262_144, 128), (10_000_000, 128)] {
            assert_eq!(next(bytes, Keeps::State), Some(commits));
            assert_eq!(next(bytes, Keeps::StateAndStore), Some(commits));
            let forgetful = next(bytes, Keeps::Nothing);
            assert_eq!(forgetful, Some(32), "whoever forgets reads them at each request");
        }
    }

    #[test]
    fn where_a_read_is_no_request_a_small_state_stands_in_every_32nd_commit_too() {
        for bytes in [0, 600, 8_192] {
            assert_eq!(next(bytes, Keeps::State), Some(if bytes > 2_048 { 32 } else { 1 }));
            assert_eq!(next(bytes, Keeps::StateAndStore), Some(32));
        }
        let parked = Snapshots { seq: 2, bytes: 600 }.is_due(3, Keeps::Nothing);
        assert!(parked, "what is parked is read again by whoever wakes it");
    }

    /// After how many commits the next state of a long run follows one of `bytes`.
    fn next(bytes: u64, keeps: Keeps) -> Option<Seq> {
        let last = Snapshots { seq: 1_000, bytes };
        (1_001..2_000).find(|&seq| last.is_due(seq, keeps)).map(|seq| seq - 1_000)
    }
}
