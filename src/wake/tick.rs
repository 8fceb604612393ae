//! One bounded pass over the entries that are due.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use futures::{StreamExt, stream};

use super::{Due, Entry, NEAR, Near, Part, WakeIndex};
use crate::{
    env::Env,
    log,
    workflow::{Timestamp, WakeKind},
};

/// How often a run's look may fail before it is taken out of the way: over an hour and a half.
pub const TRIES_MAX: u32 = 20;
/// The longest pause after the first failure; each further one doubles it.
const PAUSE_FIRST_MS: u64 = 1_000;
/// The longest pause of all.
const PAUSE_MAX_MS: u64 = 600_000;

/// What became of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Woke {
    /// The run was looked at, every entry that it needs is put, and this one is gone.
    Done,
    /// It can not be judged yet (the log has not reached its seq): it stays.
    Left,
    /// The run can not be decided, or its log is corrupt: it is tried again, later each time.
    Failed {
        /// Why, in words.
        reason: String,
    },
    /// The store did not answer, or the run needs a newer version: it stays, and nothing is counted.
    Unavailable,
}

/// What a due entry leads to: the engine, in whose hands all rules are.
pub trait Resurrect: Send + Sync {
    /// Looks at the run: load, decide, commit, put every entry that it needs, delete this one.
    fn wake(&self, entry: &Entry) -> impl Future<Output = Woke> + Send;

    /// Records that the run was taken out of the way; its entry goes after the `Ok`.
    fn bury(
        &self,
        entry: &Entry,
        reason: &str,
    ) -> impl Future<Output = Result<(), log::Error>> + Send;
}

/// How much one pass does.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Entries of each shard and kind; half a page of a LIST, so that a pass reads one.
    pub entries: usize,
    /// Runs looked at at once.
    pub concurrency: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { entries: 500, concurrency: 32 }
    }
}

/// What a pass did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// How many entries it worked off.
    pub fired: usize,
    /// Whether something that is due was not looked at; the next pass begins there.
    pub more: bool,
}

/// Passes over the index, each of which goes on where the last one stopped.
#[derive(Debug)]
pub struct Ticker {
    index: WakeIndex,
    env: Arc<dyn Env>,
    limits: Limits,
    /// Where timers that are not due yet are remembered, if the scans are to look ahead.
    near: Option<Arc<Near>>,
    stopped: Mutex<HashMap<(u32, WakeKind), Entry>>,
}

impl Ticker {
    /// Passes that wake what is due.
    pub fn new(index: WakeIndex, env: Arc<dyn Env>, limits: Limits) -> Self {
        Self { index, env, limits, near: None, stopped: Mutex::default() }
    }

    /// Passes over the timers that also look [`NEAR`] ahead and arm `near` with what they find, so
    /// that a process which scans rarely (see [`super::Cadence`]) still wakes to the millisecond.
    #[must_use]
    pub fn looking_ahead(self, near: Arc<Near>) -> Self {
        Self { near: Some(near), ..self }
    }

    /// One bounded pass over `kinds` in all shards.
    ///
    /// Costs what [`WakeIndex::due`] costs for each shard and kind, and what the runs cost. Safe to
    /// drop at any await: an entry that was not worked off is found again.
    ///
    /// # Errors
    ///
    /// The first shard's that could not be listed, after all others were; try again later.
    pub async fn tick<R: Resurrect>(
        &self,
        resurrect: &R,
        kinds: &[WakeKind],
    ) -> Result<Progress, log::Error> {
        self.tick_part(resurrect, kinds, Part::WHOLE).await
    }

    /// As [`Ticker::tick`], over the entries of the runs in `part` alone; shards that can have none are
    /// not listed.
    ///
    /// # Errors
    ///
    /// As [`Ticker::tick`].
    pub async fn tick_part<R: Resurrect>(
        &self,
        resurrect: &R,
        kinds: &[WakeKind],
        part: Part,
    ) -> Result<Progress, log::Error> {
        let (mut progress, mut fault) = (Progress::default(), None);
        let shards = self.index.shards();
        for &kind in kinds {
            for shard in (0..shards).filter(|shard| part.reaches(*shard, shards)) {
                match self.pass(resurrect, shard, kind, part).await {
                    Ok(part) => {
                        progress.fired += part.fired;
                        progress.more |= part.more;
                    }
                    Err(error) => fault = fault.or(Some(error)),
                }
            }
        }
        fault.map_or(Ok(progress), Err)
    }

    async fn pass<R: Resurrect>(
        &self,
        resurrect: &R,
        shard: u32,
        kind: WakeKind,
        part: Part,
    ) -> Result<Progress, log::Error> {
        let now = self.env.now();
        let near = self.near.as_deref().filter(|_| kind == WakeKind::Timer);
        let until = if near.is_some() { now.after(NEAR) } else { now };
        let after = self.stopped().get(&(shard, kind)).cloned();
        let found = self.index.due(shard, kind, until, after.as_ref(), self.limits.entries).await?;
        let last = found.entries.last().cloned();
        let Due { mut entries, more } = found;
        entries.retain(|entry| part.has(entry.handle.run));
        let (due, ahead): (Vec<_>, Vec<_>) =
            entries.into_iter().partition(|entry| entry.due <= now);
        for entry in &ahead {
            near.inspect(|near| near.arm_no_later(&entry.handle, entry.due));
        }
        let fired = self.look_at(resurrect, due).await;
        self.stop_at(shard, kind, last.filter(|_| more));
        Ok(Progress { fired, more })
    }

    async fn look_at<R: Resurrect>(&self, resurrect: &R, due: Vec<Entry>) -> usize {
        stream::iter(due)
            .map(|entry| self.look(resurrect, entry))
            .buffer_unordered(self.limits.concurrency.max(1))
            .filter(|is_done| std::future::ready(*is_done))
            .count()
            .await
    }

    /// Whether the entry was worked off.
    async fn look<R: Resurrect>(&self, resurrect: &R, entry: Entry) -> bool {
        let reason = match resurrect.wake(&entry).await {
            Woke::Done => return true,
            Woke::Left | Woke::Unavailable => return false,
            Woke::Failed { reason } => reason,
        };
        let handled = match entry.tries.saturating_add(1) {
            TRIES_MAX.. => self.give_up(resurrect, &entry, &reason).await,
            tries => self.index.rearm(&entry, next_try(self.env.now(), tries), tries).await,
        };
        if let Err(error) = handled {
            tracing::warn!(handle = %entry.handle, %error, "an entry that failed stays as it is");
        }
        false
    }

    async fn give_up<R: Resurrect>(
        &self,
        resurrect: &R,
        entry: &Entry,
        reason: &str,
    ) -> Result<(), log::Error> {
        resurrect.bury(entry, reason).await?;
        self.index.remove(entry).await;
        tracing::error!(handle = %entry.handle, reason, "a run was taken out of the way");
        Ok(())
    }

    fn stop_at(&self, shard: u32, kind: WakeKind, last: Option<Entry>) {
        match last {
            Some(last) => self.stopped().insert((shard, kind), last),
            None => self.stopped().remove(&(shard, kind)),
        };
    }

    fn stopped(&self) -> MutexGuard<'_, HashMap<(u32, WakeKind), Entry>> {
        self.stopped.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// When a run that has failed `tries` times is looked at again.
///
/// The next multiple of the pause, so that wakers that fail in one slot write one key: else two of
/// them would make two entries of one, then four.
fn next_try(now: Timestamp, tries: u32) -> Timestamp {
    let pause = 1_u64.checked_shl(tries.saturating_sub(1)).unwrap_or(u64::MAX);
    let pause = pause.saturating_mul(PAUSE_FIRST_MS).min(PAUSE_MAX_MS);
    Timestamp::from_millis((now.as_millis() / pause + 1).saturating_mul(pause))
}
