//! What may be done to the world after a commit, and in which order.
//!
//! Timers are put before the guard that covered them goes, and the record for lists is written
//! before the guard of a run that closed or parked goes: whatever is cut off in between, an entry is
//! left that brings the run back. All of it runs beside the answer, and none of it is needed for
//! correctness.

use std::{collections::BTreeSet, time::Duration};

use super::{Engine, Record, Standing, cache::Loaded, commit::Before};
use crate::{
    dispatch::{Offer, Ready},
    workflow::{Attention, Handle, State, Task, Timestamp, WakeKind},
};

/// The wake entries that one commit calls for, and what else has to be written before any goes.
#[derive(Debug)]
struct Errands {
    handle: Handle,
    put: Vec<Attention>,
    delete: Vec<Attention>,
    record: Option<Record>,
    offer: Vec<Offer>,
    retract: Vec<Offer>,
}

/// Which ready tasks are made known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Which {
    /// Those that the last commit made ready: the others are known.
    New,
    /// All of them.
    All,
}

impl Engine {
    /// Releases the effects of the commit that led from `before` to `loaded`.
    pub(super) fn after_commit(&self, before: &Before, loaded: &Loaded, which: Which) {
        let state = &loaded.state;
        let attention = state.attention();
        let delete = before.attention.difference(&attention);
        // A guard stands in for timers that were never put, as whoever should have may have died: it
        // only goes after all of them are surely there.
        let guard_goes = delete.clone().any(|entry| entry.kind == WakeKind::Guard);
        let is_new = |entry: &&Attention| guard_goes || !before.attention.contains(entry);
        // A guard was put before the commit that names it.
        let put = attention.iter().filter(is_new).filter(|entry| entry.kind == WakeKind::Timer);
        let standing = Standing::of(state);
        let has_changed = before.standing != Some(standing);
        let offer = self.take_care_of(loaded, which);
        let errands = Errands {
            handle: state.handle(),
            put: put.copied().collect(),
            delete: delete.copied().collect(),
            record: has_changed
                .then(|| Record::of(state, loaded.blueprint.blueprint.steps().len())),
            retract: self.retracted(before, state),
            offer,
        };
        if state.is_closed() {
            self.inner.board.forget(state.run);
            self.inner.closings.tell(loaded);
        }
        if !state.is_active() {
            self.inner.memory.forget_kept(state);
        }
        if !errands.is_empty() {
            let engine = self.clone();
            self.inner.tasks.spawn(async move { engine.run_errands(errands).await });
        }
    }

    /// Makes known what the run needs next: its next due time to the timers of this process, its
    /// ready tasks to the polls that wait here. Gives the offers that belong into the store.
    #[must_use]
    pub(super) fn take_care_of(&self, loaded: &Loaded, which: Which) -> Vec<Offer> {
        let state = &loaded.state;
        let now = self.inner.env.now();
        self.arm_near(state, now);
        let mut stored = vec![];
        for ready in self.ready_tasks(state, &loaded.blueprint, now) {
            let is_old = ready.offer.handle.seq < state.seq;
            let is_known = which == Which::New && is_old;
            if is_known || self.inner.board.is_held(state.run, &ready.offer.task) {
                continue;
            }
            stored.extend(self.put_up(ready, now));
        }
        stored
    }

    /// Puts a task up for the polls of this instance; gives its offer if it belongs into the store.
    pub(super) fn put_up(&self, ready: Ready, now: Timestamp) -> Option<Offer> {
        let stored = self.stores_offers().then(|| ready.offer.clone());
        if self.inner.memory.is_on() {
            self.inner.board.offer(ready, now);
        }
        stored
    }

    fn arm_near(&self, state: &State, now: Timestamp) {
        if !self.inner.config.near_timers {
            return;
        }
        match state.next_due(now) {
            Some(due) => self.inner.near.arm(&state.handle(), due),
            None => self.inner.near.disarm(state.run),
        }
    }

    /// Offers of tasks that ended without being claimed through them.
    fn retracted(&self, before: &Before, state: &State) -> Vec<Offer> {
        if !self.stores_offers() {
            return vec![];
        }
        // Who claims a task deletes its offer itself.
        let is_open = |task: &Task| {
            let open = state.open.get(&task.step).filter(|_| !state.is_closed());
            open.is_some_and(|it| (it.iteration, it.attempt) == (task.iteration, task.attempt))
        };
        let over = before.ready.iter().filter(|offer| !is_open(&offer.task));
        over.cloned().collect()
    }

    async fn run_errands(&self, errands: Errands) {
        let Errands { handle, put, delete, record, offer, retract } = errands;
        let puts = futures::future::join_all(
            put.iter().map(|entry| self.inner.wakes.put(&handle, *entry)),
        );
        let offers =
            futures::future::join_all(offer.iter().map(|offer| self.inner.offers.put(offer)));
        let (puts, offers) = tokio::join!(puts, offers);
        if !offer.is_empty() {
            self.inner.offers.hurry();
            self.inner.board.look();
        }
        let mut failures: Vec<_> = puts.into_iter().chain(offers).filter_map(Result::err).collect();
        if let Some(record) = record {
            failures.extend(self.inner.feed.record(&record).await.err());
        }
        if let Some(error) = failures.first() {
            // What was to be deleted stays, and brings the run back.
            tracing::warn!(run = %handle.run, %error, "an index was not written; the run's guard will mend it");
            return;
        }
        for entry in delete {
            self.inner.wakes.delete(&handle, entry).await;
        }
        for offer in retract {
            self.inner.offers.delete(&offer).await;
        }
    }

    /// Puts offers into the store, beside whatever else goes on.
    pub(super) fn offer_in_store(&self, offers: Vec<Offer>) {
        if offers.is_empty() {
            return;
        }
        let engine = self.clone();
        self.inner.tasks.spawn(async move {
            for offer in offers {
                if let Err(error) = engine.inner.offers.put(&offer).await {
                    tracing::warn!(run = %offer.handle.run, %error, "a task was not offered");
                }
            }
            engine.inner.offers.hurry();
            engine.inner.board.look();
        });
    }

    /// Puts every entry that the run needs at `now`, for whoever is about to delete one.
    pub(super) async fn put_needed(
        &self,
        loaded: &Loaded,
        now: Timestamp,
        except: Attention,
    ) -> Result<BTreeSet<Attention>, crate::log::Error> {
        let guard = self.inner.config.policy.guard;
        let needed = loaded.state.attention_at(now, guard);
        let handle = loaded.state.handle();
        for entry in needed.iter().filter(|entry| **entry != except) {
            self.inner.wakes.put(&handle, *entry).await?;
        }
        Ok(needed)
    }
}

impl Errands {
    fn is_empty(&self) -> bool {
        let Self { handle: _, put, delete, record, offer, retract } = self;
        put.is_empty()
            && delete.is_empty()
            && record.is_none()
            && offer.is_empty()
            && retract.is_empty()
    }
}

/// The pause between two looks at whether everything in flight is finished.
pub(super) const DRAIN_STEP: Duration = Duration::from_millis(5);
