//! The commit under way: events are folded as they are written, so that the commands that arrived
//! together are each decided on what the ones before them left.

use super::{
    event::{Event, Start},
    fold::{CommitFacts, Folder},
    id::Seq,
    state::{Guard, State},
    time::Timestamp,
};

/// Events decided but not committed, and the state they lead to.
#[derive(Debug)]
pub struct Draft {
    folder: Folder,
    events: Vec<Event>,
    now: Timestamp,
    random: u64,
    /// The commit before: its time, and whether it left the run active. None: this is commit 0.
    before: Option<(Timestamp, bool)>,
}

/// A finished draft.
#[derive(Debug)]
pub struct Sealed {
    /// The events of the commit, in order.
    pub events: Vec<Event>,
    /// Number and time of the commit.
    pub facts: CommitFacts,
    /// The state after it.
    pub state: State,
    /// A guard that has to be in the wake index before the commit is sent.
    pub guard_first: Option<Guard>,
}

impl Draft {
    /// The first commit of a run.
    pub fn begin(start: Start, now: Timestamp, random: u64) -> Self {
        let folder = Folder::new(None, CommitFacts { seq: 0, time: now });
        let mut draft = Self { folder, events: vec![], now, random, before: None };
        draft.emit(Event::ExecutionStarted(Box::new(start)));
        draft
    }

    /// The commit after `state`. `now` is the decider's clock, `random` what its jitter is made of.
    pub fn next(state: State, now: Timestamp, random: u64) -> Self {
        let before = Some((state.time, state.is_active()));
        let facts = CommitFacts { seq: state.seq + 1, time: now.max(state.time) };
        Self { folder: Folder::new(Some(state), facts), events: vec![], now, random, before }
    }

    /// The state as the events so far leave it.
    pub fn state(&self) -> &State {
        self.folder.state_ref()
    }

    /// The decider's clock.
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// The number that this commit will have.
    pub fn seq(&self) -> Seq {
        self.folder.facts().seq
    }

    /// A number below `bound`, for jitter; another one each time the events differ.
    pub(crate) fn jitter(&self, bound: u64) -> u64 {
        let mixed = self.random ^ (self.events.len() as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        mixed % bound.max(1)
    }

    /// Whether nothing was decided.
    pub fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// How many events were decided.
    pub fn len(&self) -> usize {
        self.events.len()
    }

    /// Writes `event` and folds it in.
    pub(crate) fn emit(&mut self, event: Event) {
        self.folder.apply(&event);
        self.events.push(event);
    }

    /// Gives the state back untouched, when nothing was decided.
    ///
    /// # Panics
    ///
    /// When there are events.
    pub fn discard(self) -> State {
        assert!(self.events.is_empty(), "BUG: decided events are thrown away");
        self.folder.into_untouched()
    }

    /// Finishes the commit: an active run gets a guard due `guard_ms` from now if this commit made
    /// it active, or if the last commit is longer ago than that.
    pub fn seal(mut self, guard_ms: u64) -> Sealed {
        let state = self.folder.state_ref();
        let guard_first = state.is_active().then(|| self.guard(state, guard_ms)).flatten();
        if let Some(Guard { epoch, due }) = guard_first {
            self.emit(Event::GuardArmed { epoch, due });
        }
        let facts = self.folder.facts();
        let state = self.folder.close(self.events.is_empty());
        Sealed { events: self.events, facts, state, guard_first }
    }

    /// Finishes an empty commit, which only takes its place in the log: what was announced for that
    /// place can no longer get there. Changes nothing, and so needs no guard.
    ///
    /// # Panics
    ///
    /// When there are events.
    pub fn settle(self) -> Sealed {
        assert!(self.events.is_empty(), "BUG: a settlement decides something");
        let facts = self.folder.facts();
        Sealed { events: vec![], facts, state: self.folder.close(true), guard_first: None }
    }

    fn guard(&self, state: &State, guard_ms: u64) -> Option<Guard> {
        let due = self.now.after_millis(guard_ms);
        match (self.before, state.guard) {
            (Some((time, true)), Some(guard)) => {
                let is_late = self.now.as_millis().saturating_sub(time.as_millis()) > guard_ms;
                is_late.then_some(Guard { epoch: guard.epoch, due })
            }
            (None | Some(_), _) => Some(Guard { epoch: self.seq(), due }),
        }
    }
}
