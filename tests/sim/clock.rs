//! The clock of one process: how far it is off, how fast it runs, and when somebody sets it.

use std::{
    sync::atomic::{AtomicI64, Ordering},
    time::Duration,
};

use super::{
    chance::{Chance, micros},
    life::EPOCH_MS,
};

/// A clock that drifts is set right so often, as NTP does.
const SET_EVERY_US: i64 = 3_600_000_000;
/// How far clocks may be apart from the store's: beyond it an instance refuses to serve.
pub const BOUND_MS: i64 = 60_000;
/// How far a clock is off at most that is beyond the bound.
const BEYOND_MAX_MS: u64 = 16 * 60_000;

/// How the clocks of a world are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clocks {
    /// How far one is off at most, in milliseconds, by how it was set.
    pub set_ms: u64,
    /// How much one runs fast or slow at most, in millionths.
    pub drift_ppm: u64,
    /// How often, in a thousand, an instance starts with one that is beyond the bound.
    pub beyond: u64,
}

impl Clocks {
    /// All of them are right.
    pub const TRUE: Self = Self { set_ms: 0, drift_ppm: 0, beyond: 0 };

    /// The clocks that follow from `chance`; those of a process that owns its store are the store's.
    pub fn of_world(chance: &Chance, is_exclusive: bool) -> Self {
        Self {
            set_ms: chance.pick(&[0, 500, 30_000, 59_000]),
            drift_ppm: chance.pick(&[0, 100]),
            beyond: if is_exclusive { 0 } else { chance.pick(&[0, 0, 0, 0, 0, 300]) },
        }
    }

    /// How far a clock within the bound is off at most, in milliseconds.
    pub fn skew_ms(self) -> u64 {
        let drift_us = self.drift_ppm * SET_EVERY_US.unsigned_abs() / 1_000_000;
        self.set_ms + drift_us.div_ceil(1_000)
    }

    /// Where a clock that somebody sets is set to.
    pub fn offset_ms(self, chance: &Chance) -> i64 {
        let offset = i64::try_from(chance.from(0, 2 * self.set_ms + 1)).expect("small");
        offset - i64::try_from(self.set_ms).expect("small")
    }

    /// A clock of this world.
    pub fn clock(self, chance: &Chance) -> Clock {
        let drift = i64::try_from(self.drift_ppm).expect("small");
        let drift_ppm = chance.pick(&[-drift, 0, drift]);
        Clock { offset_ms: AtomicI64::new(self.offset_ms(chance)), drift_ppm }
    }
}

/// How far a clock is off that is beyond the bound.
pub fn beyond(chance: &Chance) -> i64 {
    let bound = BOUND_MS.unsigned_abs();
    let off = i64::try_from(chance.from(bound + 2_000, BEYOND_MAX_MS)).expect("small");
    chance.pick(&[off, -off])
}

/// One clock.
#[derive(Debug)]
pub struct Clock {
    offset_ms: AtomicI64,
    drift_ppm: i64,
}

impl Clock {
    /// A clock that is right.
    pub fn right() -> Self {
        Self { offset_ms: AtomicI64::new(0), drift_ppm: 0 }
    }

    /// The time that it shows `since` the beginning of the world, in milliseconds since the Unix
    /// epoch.
    pub fn shows(&self, since: Duration) -> u64 {
        let true_us = i64::try_from(micros(since)).expect("not that long");
        let drift_us = true_us % SET_EVERY_US * self.drift_ppm / 1_000_000;
        let counted_ms =
            u64::try_from((true_us + drift_us).max(0) / 1_000).expect("not below zero");
        (EPOCH_MS + counted_ms).saturating_add_signed(self.offset_ms.load(Ordering::Relaxed))
    }

    /// How long it truly takes until it has counted `duration`.
    pub fn takes(&self, duration: Duration) -> Duration {
        let counted = i64::try_from(micros(duration)).unwrap_or(i64::MAX);
        let true_us = counted - counted / 1_000_000 * self.drift_ppm;
        Duration::from_micros(u64::try_from(true_us).expect("not below zero"))
    }

    /// Sets it: off by so much.
    pub fn set(&self, offset_ms: i64) {
        self.offset_ms.store(offset_ms, Ordering::Relaxed);
    }

    /// Moves it by so much.
    pub fn move_by(&self, offset_ms: i64) {
        self.offset_ms.fetch_add(offset_ms, Ordering::Relaxed);
    }

    /// Whether it is beyond the bound.
    pub fn is_beyond(&self) -> bool {
        self.offset_ms.load(Ordering::Relaxed).abs() > BOUND_MS
    }
}
