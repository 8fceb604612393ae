//! Whether a process lives. A dead one never hears of anything again; a frozen one hears of it once
//! it is thawed. What it has sent is under way either way.

use std::sync::{
    Arc, Mutex, MutexGuard,
    atomic::{AtomicBool, Ordering},
};

use futures::future::BoxFuture;
use lazarus::{env::Env, workflow::Timestamp};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::{
    chance::Chance,
    clock::Clock,
    timeline::{Job, Timeline},
};

/// The beginning of every world, in milliseconds since the Unix epoch: a moment in 2026.
pub const EPOCH_MS: u64 = 1_780_000_000_000;

enum Pulse {
    Beats,
    Frozen(Vec<Job>),
    Dead,
}

/// The life of one process, from its start to its death.
pub struct Life {
    pulse: Mutex<Pulse>,
    ended: CancellationToken,
    pub clock: Clock,
    /// Whether it takes requests.
    serves: AtomicBool,
}

impl Life {
    /// Begins the life of a process with this clock, which does not take requests yet.
    pub fn begin(clock: Clock) -> Arc<Self> {
        Arc::new(Self {
            pulse: Mutex::new(Pulse::Beats),
            ended: CancellationToken::new(),
            clock,
            serves: AtomicBool::new(false),
        })
    }

    /// From now on it takes requests.
    pub fn serve(&self) {
        self.serves.store(true, Ordering::Relaxed);
    }

    /// Whether it takes requests.
    pub fn serves(&self) -> bool {
        self.serves.load(Ordering::Relaxed)
    }

    /// Lets the process hear of `news`: now, once it is thawed, or never.
    pub fn deliver(&self, news: Job) {
        match &mut *self.pulse() {
            Pulse::Frozen(held) => return held.push(news),
            Pulse::Dead => return,
            Pulse::Beats => {}
        }
        news();
    }

    /// Passes while the process runs.
    pub async fn gate(self: &Arc<Self>) {
        let waits = {
            match &mut *self.pulse() {
                Pulse::Beats => return,
                Pulse::Dead => None,
                Pulse::Frozen(held) => {
                    let (thawed, wait) = oneshot::channel();
                    held.push(Box::new(move || _ = thawed.send(())));
                    Some(wait)
                }
            }
        };
        if let Some(wait) = waits
            && wait.await.is_ok()
        {
            return;
        }
        futures::future::pending::<()>().await;
    }

    /// Ends it at whatever await each of its tasks has come to.
    pub fn die(&self) {
        let held = std::mem::replace(&mut *self.pulse(), Pulse::Dead);
        drop(held);
        self.ended.cancel();
    }

    /// Stops it until [`Self::thaw`].
    pub fn freeze(&self) {
        let mut pulse = self.pulse();
        if matches!(*pulse, Pulse::Beats) {
            *pulse = Pulse::Frozen(vec![]);
        }
    }

    /// Lets it go on, and hear of all that came meanwhile.
    pub fn thaw(&self) {
        let held = {
            let mut pulse = self.pulse();
            let Pulse::Frozen(held) = &mut *pulse else { return };
            let held = std::mem::take(held);
            *pulse = Pulse::Beats;
            held
        };
        for news in held {
            news();
        }
    }

    /// Whether it neither died nor stands still.
    pub fn is_running(&self) -> bool {
        matches!(*self.pulse(), Pulse::Beats)
    }

    /// Whether it died.
    pub fn is_dead(&self) -> bool {
        matches!(*self.pulse(), Pulse::Dead)
    }

    /// Resolves once it died.
    pub async fn ended(&self) {
        self.ended.cancelled().await;
    }

    fn pulse(&self) -> MutexGuard<'_, Pulse> {
        self.pulse.lock().expect("one thread")
    }
}

/// The clock and the entropy of one process.
pub struct ProcessEnv {
    pub timeline: Timeline,
    pub life: Arc<Life>,
    pub chance: Chance,
}

impl std::fmt::Debug for ProcessEnv {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("a simulated process")
    }
}

impl Env for ProcessEnv {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.life.clock.shows(self.timeline.now()))
    }

    fn uptime(&self) -> std::time::Duration {
        self.timeline.now()
    }

    fn sleep(&self, duration: std::time::Duration) -> BoxFuture<'static, ()> {
        let life = Arc::clone(&self.life);
        let takes = life.clock.takes(duration);
        Box::pin(self.timeline.sleep(takes, move |tell| life.deliver(tell)))
    }

    fn random(&self) -> u128 {
        self.chance.bits_128()
    }
}
