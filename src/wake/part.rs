//! Shares of all runs, for wakers that divide a backlog among them.

use crate::{log::shard_of, workflow::RunId};

/// One of so many shares, disjoint and together everything.
///
/// By the same hash as shards are, whatever their number; so where the two divide each other, a share
/// is some whole shards, and its waker lists no others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    index: u32,
    of: u32,
}

impl Part {
    /// All runs.
    pub const WHOLE: Self = Self { index: 0, of: 1 };

    /// Share `index`, counted from 0, of `of`; none: there is no such share.
    pub fn new(index: u32, of: u32) -> Option<Self> {
        (index < of).then_some(Self { index, of })
    }

    /// Whether `run` is in it.
    pub fn has(self, run: RunId) -> bool {
        shard_of(run, self.of) == self.index
    }

    /// Whether a run of it may be in `shard`, one of `shards`.
    pub fn reaches(self, shard: u32, shards: u32) -> bool {
        let common = common_divisor(shards.max(1), self.of);
        shard % common == self.index % common
    }
}

fn common_divisor(one: u32, other: u32) -> u32 {
    if other == 0 { one } else { common_divisor(other, one % other) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn each_run_is_in_one_share_which_reaches_its_shard(
            random: u128, shards in 1_u32..=256, of in 1_u32..=64,
        ) {
            let run = RunId::from_random(random);
            let parts = (0..of).filter_map(|index| Part::new(index, of));
            let having: Vec<Part> = parts.filter(|part| part.has(run)).collect();
            prop_assert_eq!(having.len(), 1);
            prop_assert!(having[0].reaches(shard_of(run, shards), shards));
        }
    }

    #[test]
    fn a_share_lists_only_the_shards_that_it_needs() {
        let reached = |index, of, shards| {
            let part = Part::new(index, of).unwrap();
            (0..shards).filter(|shard| part.reaches(*shard, shards)).collect::<Vec<u32>>()
        };
        assert_eq!(reached(1, 4, 8), [1, 5]);
        assert_eq!(reached(3, 4, 2), [1]);
        assert_eq!(reached(3, 4, 1), [0]);
        assert_eq!(reached(1, 2, 3), [0, 1, 2]);
        assert_eq!(reached(0, 1, 3), [0, 1, 2]);
    }

    #[test]
    fn there_is_no_share_beyond_the_last() {
        assert_eq!(Part::new(4, 4), None);
        assert_eq!(Part::new(0, 0), None);
        assert_eq!(Part::new(0, 1), Some(Part::WHOLE));
    }
}
