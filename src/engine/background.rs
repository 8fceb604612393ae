//! What an instance that stays up does by itself: walk once, scan, wake to the millisecond, give up
//! reservations. A function does none of it; a schedule ticks for it.

use std::sync::{Arc, atomic::Ordering};

use futures::StreamExt;

use super::{Engine, Error};
use crate::{
    wake::{Cadence, Part, Progress, walk},
    workflow::{Command, WakeKind},
};

/// How many runs are looked at at once by the walk at start.
const WALK_AT_ONCE: usize = 16;

impl Engine {
    /// One bounded pass over everything that is due: the wake function. Costs 1 LIST for timers and
    /// 1 for guards, for each shard, and what the due runs cost.
    ///
    /// # Errors
    ///
    /// [`Error::Log`]: a part of the index could not be listed; the rest was worked off.
    pub async fn tick(&self) -> Result<Progress, Error> {
        Ok(self.inner.ticker.tick(self, &[WakeKind::Timer, WakeKind::Guard]).await?)
    }

    /// One bounded pass over what is due of `kinds` in `part`, for a waker that keeps a rhythm
    /// ([`Cadence`]) or shares the work with others. Costs 1 LIST for each kind and each shard that
    /// `part` reaches, and what the due runs cost.
    ///
    /// # Errors
    ///
    /// As [`Engine::tick`].
    pub async fn tick_part(&self, kinds: &[WakeKind], part: Part) -> Result<Progress, Error> {
        Ok(self.inner.ticker.tick_part(self, kinds, part).await?)
    }

    /// The background loop of an instance that stays up. Returns after [`Engine::begin_shutdown`].
    pub async fn run_background(&self) {
        let all = async {
            tokio::join!(
                self.walk_once(),
                self.scan(),
                self.wake_near(),
                self.watch_reservations()
            );
        };
        tokio::select! {
            biased;
            () = self.inner.closing.cancelled() => {}
            () = all => {}
        }
    }

    /// Looks at every run that has a guard or a due timer, once.
    async fn walk_once(&self) {
        let entries = walk(&self.inner.wakes, self.inner.env.now());
        let visits = entries.for_each_concurrent(WALK_AT_ONCE, |entry| async move {
            match entry {
                Ok(entry) => match self.visit(&entry).await {
                    Ok(()) => {}
                    Err(error) => {
                        tracing::debug!(run = %entry.handle.run, %error, "a run was not visited at start");
                    }
                },
                Err(error) => tracing::warn!(%error, "the walk at start could not list a shard"),
            }
        });
        visits.await;
    }

    async fn scan(&self) {
        let remembers_all = self.inner.store.is_exclusive() && self.inner.config.near_timers;
        let mut cadence = Cadence::new(remembers_all);
        loop {
            let beat = cadence.next(self.inner.env.now());
            self.inner.env.sleep(beat.wait).await;
            if beat.kinds == [WakeKind::Timer] && self.stands_back() {
                continue;
            }
            loop {
                match self.inner.ticker.tick(self, &beat.kinds).await {
                    Ok(progress) if progress.more => {}
                    Ok(_) => break,
                    Err(error) => {
                        tracing::warn!(%error, "a scan of the wake index failed; it is tried again");
                        break;
                    }
                }
            }
        }
    }

    /// Whether a scan is left out for a LIST that retention made, once an hour, or that looked for push
    /// queues, each half minute: so an idle instance makes no more of them in any minute than its scans do.
    fn stands_back(&self) -> bool {
        let owed = &self.inner.lists_owed;
        owed.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |it| it.checked_sub(1)).is_ok()
    }

    /// Wakes the runs whose due times this process remembers.
    async fn wake_near(&self) {
        if !self.inner.config.near_timers {
            return;
        }
        loop {
            for handle in self.inner.near.next().await {
                let engine = self.clone();
                self.inner.tasks.spawn(async move {
                    if let Err(error) = engine.handle(&handle, Command::Wake).await {
                        tracing::debug!(run = %handle.run, %error, "a due run was not woken; its entry stands");
                    }
                });
            }
        }
    }

    async fn watch_reservations(&self) {
        loop {
            let now = self.inner.env.now();
            self.give_up_reservations(now);
            match self.inner.board.next_expiry() {
                Some(until) => {
                    let wait = self.inner.env.sleep(until.since(now));
                    tokio::select! { biased; () = wait => {} () = self.inner.board.reserved() => {} }
                }
                None => self.inner.board.reserved().await,
            }
        }
    }
}

impl Engine {
    /// Finishes `work` even if the caller is cut off meanwhile.
    ///
    /// # Panics
    ///
    /// When `work` panics.
    pub async fn finish<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> T {
        let running = self.inner.tasks.spawn(work);
        match running.await {
            Ok(done) => done,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(error) => panic!("BUG: work was aborted: {error}"),
            },
        }
    }

    /// A handle on the same engine, for whoever drives it in the background.
    pub fn shared(&self) -> Arc<Self> {
        Arc::new(self.clone())
    }
}
