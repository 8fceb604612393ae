//! What a wake entry leads to: the run is brought back, does what is due, and the entry goes.
//!
//! The rule for every entry: it is deleted only after everything that the folded state needs was put
//! with `Ok`, and after the log was seen to have reached the entry's commit. A guard is put before
//! its commit, so an entry may be found whose commit is not there: while it is young its writer may
//! still send it, and it is left alone; once it is old, the slot is settled with an empty commit, so
//! that whatever is still under way loses.
//!
//! Source: docs/fencing.md "Wake entries".

use std::{
    collections::HashSet,
    panic::AssertUnwindSafe,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::FutureExt;

use super::{
    Engine, Error, Record,
    cache::Loaded,
    commit::{DEADLINE, Rest},
    effects::Which,
};
use crate::{
    log::{self, Append},
    wake::{Entry, Resurrect, Woke},
    workflow::{Attention, Command, Draft, Handle},
};

/// How old an entry must be, by the store's clock, before a commit that it announces and that is
/// not there counts as given up: three times what any writer may take.
const UNDECIDED_FOR: Duration = Duration::from_mins(30);

/// Entries that go as soon as a record is written, so that no later pass looks at their runs again.
#[derive(Debug, Default)]
pub(super) struct Leaving(Mutex<HashSet<(Handle, Attention)>>);

impl Leaving {
    /// Whether the entry was not among them.
    fn begin(&self, entry: &Entry) -> bool {
        self.entries().insert((entry.handle.clone(), entry.attention()))
    }

    fn end(&self, entry: &Entry) {
        self.entries().remove(&(entry.handle.clone(), entry.attention()));
    }

    fn has(&self, entry: &Entry) -> bool {
        self.entries().contains(&(entry.handle.clone(), entry.attention()))
    }

    fn entries(&self) -> MutexGuard<'_, HashSet<(Handle, Attention)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Resurrect for Engine {
    async fn wake(&self, entry: &Entry) -> Woke {
        if self.inner.leaving.has(entry) {
            return Woke::Left;
        }
        // A decision that panics is a bug of ours; it must not stop the others from waking.
        let woken = AssertUnwindSafe(self.wake_entry(entry)).catch_unwind().await;
        match woken {
            Ok(Ok(woke)) => woke,
            Ok(Err(error)) => failed(entry, &error),
            Err(panic) => {
                Woke::Failed { reason: format!("deciding panicked: {}", text_of(&*panic)) }
            }
        }
    }

    async fn bury(&self, entry: &Entry, reason: &str) -> Result<(), log::Error> {
        self.inner.dead.put(&entry.handle, reason, self.inner.env.now()).await
    }
}

impl Engine {
    async fn wake_entry(&self, entry: &Entry) -> Result<Woke, Error> {
        let woken = match self.handle(&entry.handle, Command::Wake).await {
            Ok((_, handle)) => handle,
            Err(error) if matches!(error.whole(), Error::NotFound { .. }) => {
                return self.wake_without_run(entry).await;
            }
            Err(error) => return Err(Error::Shared(error)),
        };
        // The entry's own handle is as old as the entry: a state read by it may be one that still needs
        // the entry, though the run has long gone on.
        let loaded = if woken.seq >= entry.handle.seq {
            self.look_at(&woken, Loaded::clone).await?
        } else if self.reach(entry).await? {
            self.look_at_newest(&entry.handle, Loaded::clone).await?
        } else {
            return Ok(Woke::Left);
        };
        self.settle_entry(entry, &loaded).await
    }

    /// Puts what the run needs, writes its record if it stopped, and deletes the entry.
    async fn settle_entry(&self, entry: &Entry, loaded: &Loaded) -> Result<Woke, Error> {
        // Its time had come when it was found. With a clock that was set back since, an older guard
        // would be put in its place, and be deleted meanwhile by whoever's clock was not.
        let now = self.inner.env.now().max(entry.due);
        let needed = self.put_needed(loaded, now, entry.attention()).await?;
        let goes = !needed.contains(&entry.attention());
        if !loaded.state.is_active() {
            self.record_and_remove(entry, loaded, goes);
        } else if goes {
            self.inner.wakes.remove(entry).await;
        }
        Ok(Woke::Done)
    }

    /// Writes the record of a run that stopped, then deletes the entry, beside the pass that found it.
    ///
    /// The batch with the record may have been cut off with its instance. A new one waits for its
    /// window; a pass that waited too would look at a few runs in each window, and after a storm of
    /// deaths the runs that need it would stand behind hundreds that are over.
    fn record_and_remove(&self, entry: &Entry, loaded: &Loaded, goes: bool) {
        let record = Record::of(&loaded.state, loaded.blueprint.blueprint.steps().len());
        let (engine, entry) = (self.clone(), entry.clone());
        if !self.inner.leaving.begin(&entry) {
            return;
        }
        self.inner.tasks.spawn(async move {
            match engine.inner.feed.record(&record).await {
                Ok(()) if goes => engine.inner.wakes.remove(&entry).await,
                Ok(()) => {}
                Err(error) => {
                    tracing::warn!(handle = %entry.handle, %error, "a record was not written; the entry stays");
                }
            }
            engine.inner.leaving.end(&entry);
        });
    }

    /// The start commit that the entry announces is not there.
    async fn wake_without_run(&self, entry: &Entry) -> Result<Woke, Error> {
        let is_decided = match self.inner.log.run_of(&entry.handle).await? {
            // It came meanwhile.
            Some(run) if run == entry.handle.run => return Ok(Woke::Left),
            // Another run has this generation of the id: ours can never start.
            Some(_) => true,
            None => self.is_old(entry),
        };
        if !is_decided {
            return Ok(Woke::Left);
        }
        self.inner.wakes.remove(entry).await;
        Ok(Woke::Done)
    }

    /// Whether the log has reached the entry's commit, or was made to by settling its slot.
    async fn reach(&self, entry: &Entry) -> Result<bool, Error> {
        if !self.is_old(entry) {
            return Ok(false);
        }
        let desk = self.inner.slots.of(entry.handle.run);
        let _turn = desk.turn.lock().await;
        let (loaded, _) = self.rehydrate(&entry.handle, true).await?;
        let (tail, seq) = (loaded.state.seq, entry.handle.seq);
        if tail >= seq {
            self.inner.memory.put(loaded);
            return Ok(true);
        }
        if tail.saturating_add(1) < seq {
            // Commit n is only announced by who has read n - 1, so this is no entry of ours, or the log
            // has lost its end. Settling would lengthen the log at each pass: an audit tells of it.
            tracing::debug!(handle = %entry.handle, tail, "an entry names a commit far beyond the tail");
            self.inner.memory.put(loaded);
            return Ok(false);
        }
        let now = self.inner.env.now();
        let rest = Rest::of(&loaded, false);
        let sealed = Draft::next(loaded.state, now, 0).settle();
        let encoded = self.encode((&sealed, self.inner.env.random()), &[], Some(&rest));
        let settled = self.inner.log.append(entry.handle.run, &encoded, None, DEADLINE).await?;
        if settled == Append::Committed {
            self.inner.memory.put(Loaded::after(sealed.state, loaded.blueprint, &encoded, now));
        }
        // Lost: somebody wrote that commit, and the slot is decided just as well.
        Ok(encoded.seq >= entry.handle.seq)
    }

    fn is_old(&self, entry: &Entry) -> bool {
        self.inner.env.now().since(entry.put_at) >= UNDECIDED_FOR
    }

    /// Brings a run back into this instance's memory without changing it: its deadlines to the timers,
    /// its ready tasks to the polls, its leases to the workers that come back for them. The entry of one
    /// that is over goes.
    pub(super) async fn visit(&self, entry: &Entry) -> Result<(), Error> {
        // Noted while nobody else decides: a lease that is reported meanwhile would be found again.
        let noted = self.look_at_newest(&entry.handle, |loaded| {
            self.find_leases(loaded);
            loaded.clone()
        });
        let loaded = noted.await?;
        if loaded.state.is_closed() {
            // Else it would stand until it is due, and each start would read its run again.
            if loaded.state.seq >= entry.handle.seq {
                self.record_and_remove(entry, &loaded, true);
            }
            return Ok(());
        }
        let stored = self.take_care_of(&loaded, Which::All);
        self.offer_in_store(stored);
        Ok(())
    }

    /// Notes who has the tasks of a run, by its log. What a worker was given that came since, on a
    /// stream, and is not at it, got lost on its way: it is handed out once more.
    fn find_leases(&self, loaded: &Loaded) {
        if loaded.state.is_closed() {
            return;
        }
        let namespace = &loaded.state.namespace;
        for (worker, token) in loaded.leased() {
            if !self.inner.board.hold_found(namespace, &worker, &token) {
                self.keep_for_next_poll(namespace, &worker, token, self.inner.env.now());
            }
        }
    }
}

fn failed(entry: &Entry, error: &Error) -> Woke {
    match error.whole() {
        Error::Log(
            log::Error::Unknown { .. }
            | log::Error::Unavailable { .. }
            | log::Error::Throttled { .. }
            | log::Error::TooNew { .. },
        )
        | Error::ShuttingDown => {
            tracing::debug!(run = %entry.handle.run, %error, "a run could not be woken now");
            Woke::Unavailable
        }
        Error::Log(log::Error::Corrupt { .. })
        | Error::Rejected(_)
        | Error::InvalidId(_)
        | Error::InvalidBlueprint(_)
        | Error::NotFound { .. }
        | Error::InvalidInput { .. }
        | Error::Shared(_) => Woke::Failed { reason: error.to_string() },
    }
}

fn text_of(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no message".to_owned())
}
