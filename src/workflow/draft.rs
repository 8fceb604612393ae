//! The commit under way: events are folded as they are written, so that the commands that arrived
//! together are each decided on what the ones before them left.

use super::{
    event::{Event, Start},
    fold::{CommitFacts, Folder, payload_at},
    id::Seq,
    payload::{At, Payload},
    state::{Guard, State},
    time::Timestamp,
};

/// What a decision writes follows from the state that it was made on.
const FITS: &str = "BUG: a decision wrote an event that does not follow";

/// Events decided but not committed, and the state they lead to.
#[derive(Debug)]
pub struct Draft {
    folder: Folder,
    events: Vec<Event>,
    now: Timestamp,
    random: u64,
    /// The time of the last commit that was no settlement, and whether the run is active since.
    /// None: this is commit 0.
    before: Option<(Timestamp, bool)>,
}

/// A finished draft.
#[derive(Debug)]
pub struct Sealed {
    /// The events of the commit, in order.
    pub events: Vec<Event>,
    /// Number and time of the commit.
    pub facts: CommitFacts,
    /// The state after it; boxed, as it goes through many hands.
    pub state: Box<State>,
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
    pub fn next(state: impl Into<Box<State>>, now: Timestamp, random: u64) -> Self {
        let state = state.into();
        let before = Some((state.moved, state.is_active()));
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

    /// The payload that an event of this very commit carries; none: it stands in another commit.
    pub(crate) fn payload(&self, at: At) -> Option<&Payload> {
        payload_at(&self.events, at).filter(|_| at.0 == self.seq())
    }

    /// Writes `event` and folds it in.
    pub(crate) fn emit(&mut self, event: Event) {
        self.folder.apply(&event).expect(FITS);
        self.events.push(event);
    }

    /// Gives the state back untouched, when nothing was decided.
    ///
    /// # Panics
    ///
    /// When there are events.
    pub fn discard(self) -> Box<State> {
        assert!(self.events.is_empty(), "BUG: decided events are thrown away");
        self.folder.into_untouched()
    }

    /// Finishes the commit: an active run gets a guard due `guard_ms` from now if this commit made
    /// it active, or if the last commit is longer ago than that (a settlement does not count: it put
    /// no guard, and the one that stands may have moved up to an hour away by then).
    ///
    /// # Panics
    ///
    /// When a decision wrote an event that does not follow, which is a bug.
    pub fn seal(mut self, guard_ms: u64) -> Sealed {
        let state = self.folder.state_ref();
        let guard_first = state.is_active().then(|| self.guard(state, guard_ms)).flatten();
        if let Some(Guard { epoch, due }) = guard_first {
            self.emit(Event::GuardArmed { epoch, due });
        }
        let facts = self.folder.facts();
        let state = self.folder.close(self.events.is_empty()).expect(FITS);
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
        let state = self.folder.close(true).expect(FITS);
        Sealed { events: vec![], facts, state, guard_first: None }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workflow::{
        Command,
        given::{
            GUARD_MS, LEASE_MS, after, approve, ask, cancel, extend, lease, run, scheduled, sleep,
            started, succeed,
        },
    };

    #[expect(clippy::unnecessary_wraps, reason = "the form that a sealed draft has")]
    fn guard(epoch: Seq, due: u64) -> Option<Guard> {
        Some(Guard { epoch, due: after(due) })
    }

    #[test]
    fn a_start_puts_its_guard_first() {
        let (run, events) = started(&[("a", &[])], None);
        assert_eq!(run.guard_first, guard(0, GUARD_MS));
        assert_eq!(run.state.guard, guard(0, GUARD_MS));
        assert_eq!(events, [scheduled("a")]);
    }

    #[test]
    fn a_chain_that_moves_on_pays_for_one_guard() {
        let mut run = run(&[("a", &[]), ("b", &["a"]), ("c", &["b"])]);
        for (at, step) in [(30_000, "a"), (90_000, "b"), (150_000, "c")] {
            run.at(at).given(lease(step, 1, "w1"));
            assert_eq!(run.guard_first, None, "{step} is leased");
            run.given(succeed(step, 1));
            assert_eq!(run.guard_first, None, "{step} is over");
        }
        assert_eq!(run.state.guard, None, "closed");
    }

    #[test]
    fn a_commit_more_than_a_guard_interval_after_the_last_moves_the_guard() {
        let mut run = run(&[("a", &[]), ("b", &["a"])]);
        run.at(GUARD_MS).given(lease("a", 1, "w1"));
        assert_eq!(run.guard_first, None, "exactly one interval is not more");
        run.at(2 * GUARD_MS + 1).given(succeed("a", 1));
        assert_eq!(run.guard_first, guard(0, 3 * GUARD_MS + 1), "the same epoch");
        assert_eq!(run.state.guard, guard(0, 3 * GUARD_MS + 1));
    }

    #[test]
    fn a_settlement_is_no_commit_that_a_guard_counts_from() {
        let mut run = run(&[("a", &[])]);
        run.at(10 * GUARD_MS).settle();
        assert_eq!(run.state.guard, guard(0, GUARD_MS), "a settlement names no guard");
        run.at(10 * GUARD_MS + 1).given(lease("a", 1, "w1"));
        assert_eq!(run.guard_first, guard(0, 11 * GUARD_MS + 1));
    }

    #[test]
    fn each_time_a_parked_run_becomes_active_an_epoch_begins() {
        let mut run = run(&[("a", &[]), ("b", &["a"]), ("c", &["b"])]);
        run.leased(&["a"]).given(ask("a", 1, None));
        assert_eq!((run.guard_first, run.state.guard), (None, None), "parked");
        run.given(approve(None, "r1"));
        assert_eq!(run.guard_first, guard(3, GUARD_MS), "by an answer, however soon");
        run.leased(&["b"]).given(sleep("b", 1, 500));
        assert_eq!((run.guard_first, run.state.guard), (None, None), "parked again");
        run.at(500).given(Command::Wake);
        assert_eq!(run.guard_first, guard(6, GUARD_MS + 500), "by a wake");
    }

    #[test]
    fn a_run_that_parks_and_goes_on_in_one_commit_keeps_its_epoch() {
        let mut run = run(&[("a", &[]), ("b", &["a"])]);
        run.leased(&["a"]).batch(&[sleep("a", 1, 0), Command::Wake]);
        assert_eq!((run.guard_first, run.state.guard), (None, guard(0, GUARD_MS)));
    }

    #[test]
    fn a_heartbeat_moves_the_guard_too() {
        let mut run = run(&[("a", &[])]);
        run.leased(&["a"]).at(LEASE_MS - 1).given(extend("a", 1, "w1"));
        assert_eq!(run.guard_first, guard(0, LEASE_MS - 1 + GUARD_MS));
    }

    #[test]
    fn the_end_of_a_run_needs_no_guard_however_late() {
        let mut run = run(&[("a", &[])]);
        run.at(10 * GUARD_MS).given(cancel("r1"));
        assert_eq!((run.guard_first, run.state.guard), (None, None));
    }

    #[test]
    fn the_time_of_a_commit_never_goes_back_but_due_times_are_the_deciders() {
        let mut run = run(&[("a", &[])]);
        run.at(5_000).given(lease("a", 1, "w1"));
        run.at(3_000).given(sleep("a", 1, 1_000));
        assert_eq!(run.state.time, after(5_000));
        assert_eq!(run.state.next_due(run.now()), Some(after(4_000)));
    }
}
