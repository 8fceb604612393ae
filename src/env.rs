//! The seam through which time and randomness enter; the only file that reads a clock or entropy.
//!
//! Everything else takes an [`Env`], so a test or a simulation that replaces it (and the store) owns
//! every source of non-determinism. Therefore each `select!` of the layers below the front door is
//! `biased` (tokio would draw lots), and nothing is done in the order of a `HashMap`.

use std::{
    fmt,
    sync::{Arc, LazyLock},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use futures::future::BoxFuture;

use crate::workflow::Timestamp;

/// Time and chance, as the engine sees them.
pub trait Env: fmt::Debug + Send + Sync + 'static {
    /// The wall clock of this process, in milliseconds since the Unix epoch.
    fn now(&self) -> Timestamp;

    /// How long ago some fixed moment of this process was: to measure how long something took. Never
    /// goes back, whoever sets the clock meanwhile.
    fn uptime(&self) -> Duration;

    /// Resolves once `duration` has passed. Cancel-safe: dropping the future has no effect.
    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()>;

    /// 128 random bits, unpredictable enough that two processes never draw the same.
    fn random(&self) -> u128;
}

/// The clock and the entropy of the operating system.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemEnv;

impl SystemEnv {
    /// The environment of a real process, ready to share.
    pub fn shared() -> Arc<dyn Env> {
        Arc::new(Self)
    }
}

#[expect(clippy::disallowed_methods, reason = "this is the one file that may read them")]
impl Env for SystemEnv {
    fn now(&self) -> Timestamp {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp::from_millis(u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX))
    }

    fn uptime(&self) -> Duration {
        static FIRST_ASKED: LazyLock<Instant> = LazyLock::new(Instant::now);
        FIRST_ASKED.elapsed()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(duration))
    }

    fn random(&self) -> u128 {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes).expect("the operating system gives entropy");
        u128::from_le_bytes(bytes)
    }
}

/// An environment in which nobody waits: a sleep is over as soon as it is asked for.
#[cfg(test)]
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hurried;

#[cfg(test)]
impl Env for Hurried {
    fn now(&self) -> Timestamp {
        SystemEnv.now()
    }

    fn uptime(&self) -> Duration {
        SystemEnv.uptime()
    }

    fn sleep(&self, _: Duration) -> BoxFuture<'static, ()> {
        Box::pin(std::future::ready(()))
    }

    fn random(&self) -> u128 {
        SystemEnv.random()
    }
}
