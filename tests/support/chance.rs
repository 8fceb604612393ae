//! Chance that can be replayed: one number begins it, and everything else follows.

use std::{sync::Mutex, time::Duration};

/// A stream of numbers that follows from its seed (`SplitMix64`).
#[derive(Debug)]
pub struct Chance(Mutex<u64>);

impl Chance {
    /// The stream of `seed`; `purpose` keeps streams of one seed apart.
    pub fn new(seed: u64, purpose: &str) -> Self {
        let mixed = purpose.bytes().fold(seed ^ 0x9e37_79b9_7f4a_7c15, |mixed, byte| {
            (mixed ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3).rotate_left(23)
        });
        Self(Mutex::new(mixed))
    }

    /// 64 random bits.
    pub fn bits(&self) -> u64 {
        let mut state = self.0.lock().expect("one thread");
        *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = *state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// 128 random bits.
    pub fn bits_128(&self) -> u128 {
        (u128::from(self.bits()) << 64) | u128::from(self.bits())
    }

    /// A number from `low` up to and without `high`.
    pub fn from(&self, low: u64, high: u64) -> u64 {
        low + self.bits() % (high - low).max(1)
    }

    /// An index below `count`.
    pub fn index(&self, count: usize) -> usize {
        usize::try_from(self.bits() % count.max(1) as u64).expect("an index")
    }

    /// One of `things`.
    pub fn pick<T: Copy>(&self, things: &[T]) -> T {
        things[self.index(things.len())]
    }

    /// True `per_mille` times in a thousand.
    pub fn happens(&self, per_mille: u64) -> bool {
        self.bits() % 1_000 < per_mille
    }

    /// A time from `low` up to `high`, to the microsecond, as often short as long: each doubling is as
    /// likely as the next.
    pub fn spread(&self, low: Duration, high: Duration) -> Duration {
        let doublings = u64::from((micros(high) / micros(low).max(1)).max(1).ilog2()) + 1;
        let low = micros(low) << self.from(0, doublings);
        Duration::from_micros(self.from(low, low * 2).min(micros(high)))
    }
}

/// A duration in whole microseconds.
pub fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).expect("not that long")
}
