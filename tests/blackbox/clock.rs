//! Clocks of a test's own: the engine's minutes pass in moments, and nothing else changes.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use futures::future::BoxFuture;
use lazarus::{
    env::{Env, SystemEnv},
    workflow::Timestamp,
};

/// How many times faster a fast clock runs than the wall's.
pub const FACTOR: u32 = 20;

/// A clock that runs [`FACTOR`] times as fast as the wall's, and can be set forward besides.
#[derive(Debug)]
pub struct Clock {
    begun: Instant,
    base: Timestamp,
    skipped_ms: AtomicU64,
}

impl Clock {
    /// One that shows the wall's time now. All instances of a test share one.
    pub fn fast() -> Arc<Self> {
        Self::fast_from(SystemEnv.now())
    }

    /// One that shows `base` now.
    pub fn fast_from(base: Timestamp) -> Arc<Self> {
        Arc::new(Self { begun: Instant::now(), base, skipped_ms: AtomicU64::new(0) })
    }

    /// Sets it forward; nothing that sleeps ends earlier for that.
    pub fn skip(&self, duration: Duration) {
        let millis = u64::try_from(duration.as_millis()).expect("not so far");
        self.skipped_ms.fetch_add(millis, Ordering::Relaxed);
    }
}

impl Env for Clock {
    fn now(&self) -> Timestamp {
        let skipped = Duration::from_millis(self.skipped_ms.load(Ordering::Relaxed));
        self.base.after(self.begun.elapsed() * FACTOR).after(skipped)
    }

    fn uptime(&self) -> Duration {
        self.begun.elapsed() * FACTOR
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(duration / FACTOR))
    }

    fn random(&self) -> u128 {
        SystemEnv.random()
    }
}
