//! Which wake entries a run needs: a function of its state, so that whoever deletes one can first
//! put all the others.

use std::{collections::BTreeSet, time::Duration};

use super::{
    id::Seq,
    state::{Guard, Phase, State},
    time::Timestamp,
};

/// A place in the wake index at which a run is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Attention {
    /// Coarse or exact.
    pub kind: WakeKind,
    /// When.
    pub due: Timestamp,
    /// The commit it belongs to: a guard's epoch, or the commit that made the timer.
    pub seq: Seq,
}

/// The two kinds of wake entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum WakeKind {
    /// Something is due at exactly this time.
    Timer,
    /// Look whether the run still moves.
    Guard,
}

impl WakeKind {
    /// The kind as it stands in keys.
    pub fn word(self) -> &'static str {
        match self {
            Self::Timer => "timer",
            Self::Guard => "guard",
        }
    }
}

/// The longest interval of a guard on a run that does not move.
const LADDER_TOP: Duration = Duration::from_hours(1);

impl State {
    /// The entries that the run needs right after its last commit.
    ///
    /// Sleeps and approvals with a timeout have an entry of their own; the execution's deadline has
    /// one from the first commit that left the run parked; everything else is covered by the guard.
    pub fn attention(&self) -> BTreeSet<Attention> {
        let mut entries = BTreeSet::new();
        if self.is_closed() {
            return entries;
        }
        let timer = |due, seq| Attention { kind: WakeKind::Timer, due, seq };
        for step in self.open.values() {
            match &step.phase {
                Phase::Sleeping { since, until, .. } => entries.insert(timer(*until, *since)),
                Phase::Approval { since, due: Some(due), .. } => {
                    entries.insert(timer(*due, *since))
                }
                Phase::Approval { due: None, .. } | Phase::Ready { .. } | Phase::Leased { .. } => {
                    false
                }
            };
        }
        if let Some((deadline, seq)) = self.deadline.and_then(|it| Some((it, it.entry?))) {
            entries.insert(timer(deadline.due, seq));
        }
        if let Some(Guard { epoch, due }) = self.guard {
            entries.insert(Attention { kind: WakeKind::Guard, due, seq: epoch });
        }
        entries
    }

    /// The entries that the run needs at `now`, for whoever found one that is due: as
    /// [`State::attention`], but a guard whose time has come has moved on.
    ///
    /// It moves to the next multiple of an interval that grows with the time since the last commit
    /// (so that wakers in one slot write one key), or to the earliest due time if that is sooner.
    pub fn attention_at(&self, now: Timestamp, guard: Duration) -> BTreeSet<Attention> {
        let moved = |entry: Attention| match entry.kind {
            WakeKind::Guard if entry.due <= now => {
                Attention { due: self.next_look(now, guard), ..entry }
            }
            WakeKind::Guard | WakeKind::Timer => entry,
        };
        self.attention().into_iter().map(moved).collect()
    }

    fn next_look(&self, now: Timestamp, guard: Duration) -> Timestamp {
        let guard_ms = u64::try_from(guard.as_millis()).unwrap_or(u64::MAX).max(1);
        let top_ms = u64::try_from(LADDER_TOP.as_millis()).unwrap_or(u64::MAX).max(guard_ms);
        let still_ms = u64::try_from(now.since(self.moved).as_millis()).unwrap_or(u64::MAX);
        let mut interval_ms = guard_ms;
        while interval_ms < still_ms && interval_ms < top_ms {
            interval_ms = interval_ms.saturating_mul(2).min(top_ms);
        }
        let slot = (now.as_millis() / interval_ms + 1).saturating_mul(interval_ms);
        let slot = Timestamp::from_millis(slot);
        self.next_due(now).map_or(slot, |due| due.min(slot))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workflow::given::{
        GUARD_MS, LEASE_MS, Run, after, approve, ask, cancel, fail, lease, run, run_for, sleep,
        succeed,
    };

    const HOUR_MS: u64 = 3_600_000;

    fn guard(due: u64, seq: Seq) -> Attention {
        Attention { kind: WakeKind::Guard, due: after(due), seq }
    }

    fn timer(due: u64, seq: Seq) -> Attention {
        Attention { kind: WakeKind::Timer, due: after(due), seq }
    }

    fn needs(run: &Run) -> Vec<Attention> {
        run.state.attention().into_iter().collect()
    }

    fn needs_at(run: &Run, ms: u64) -> Vec<Attention> {
        run.state.attention_at(after(ms), Duration::from_millis(GUARD_MS)).into_iter().collect()
    }

    #[test]
    fn an_active_run_needs_its_guard_and_nothing_else() {
        let mut run = run_for(&[("a", &[])], HOUR_MS);
        assert_eq!(needs(&run), [guard(GUARD_MS, 0)]);
        run.leased(&["a"]);
        assert_eq!(needs(&run), [guard(GUARD_MS, 0)], "a lease has no entry of its own");
    }

    #[test]
    fn a_sleeping_run_needs_its_timer() {
        let mut run = run(&[("a", &[])]);
        run.leased(&["a"]).at(10).given(sleep("a", 1, 5_000));
        assert_eq!(needs(&run), [timer(5_010, 2)]);
    }

    #[test]
    fn an_approval_needs_a_timer_only_if_its_time_ends() {
        let mut patient = run(&[("a", &[])]);
        patient.leased(&["a"]).given(ask("a", 1, None));
        assert_eq!(needs(&patient), []);
        let mut limited = run(&[("a", &[])]);
        limited.leased(&["a"]).given(ask("a", 1, Some(70)));
        assert_eq!(needs(&limited), [timer(70, 2)]);
    }

    #[test]
    fn the_deadline_has_an_entry_from_the_first_commit_that_parked_the_run() {
        let mut run = run_for(&[("a", &[]), ("b", &["a"])], HOUR_MS);
        run.leased(&["a"]).given(ask("a", 1, None));
        assert_eq!(needs(&run), [timer(HOUR_MS, 2)]);
        run.given(approve(None, "r1"));
        assert_eq!(needs(&run), [timer(HOUR_MS, 2), guard(GUARD_MS, 3)]);
        run.leased(&["b"]).given(ask("b", 1, None));
        assert_eq!(needs(&run), [timer(HOUR_MS, 2)], "parked again, the entry is the same");
    }

    #[test]
    fn a_closed_run_needs_nothing() {
        for end in [succeed("a", 1), fail("a", 1), cancel("r1")] {
            let mut run = run_for(&[("a", &[])], HOUR_MS);
            run.leased(&["a"]).given(end);
            assert_eq!(needs(&run), []);
            assert_eq!(needs_at(&run, 2 * HOUR_MS), []);
            assert_eq!(run.state.next_due(run.now()), None);
        }
    }

    #[test]
    fn a_guard_that_is_not_due_stays_where_it_is() {
        let run = run(&[("a", &[])]);
        assert_eq!(needs_at(&run, GUARD_MS - 1), [guard(GUARD_MS, 0)]);
    }

    #[test]
    fn wakers_in_one_slot_write_one_key() {
        let run = run(&[("a", &[])]);
        let slots = [60_000, 60_001, 119_999].map(|ms| needs_at(&run, ms));
        assert_eq!(
            slots,
            [vec![guard(120_000, 0)], vec![guard(120_000, 0)], vec![guard(120_000, 0)]]
        );
    }

    #[test]
    fn a_guard_looks_less_often_the_longer_a_run_stands_still() {
        let run = run(&[("a", &[])]);
        // Slots are multiples of the interval since 1970; the start is on the hour.
        let next = |seconds: u64| needs_at(&run, seconds * 1_000)[0].due.since(after(0)).as_secs();
        let looks = [60, 61, 120, 121, 600, 3_600, 40_000].map(next);
        assert_eq!(looks, [120, 120, 240, 240, 960, 7_200, 43_200]);
    }

    #[test]
    fn a_guard_never_passes_the_earliest_due_time() {
        let mut run = run_for(&[("a", &[]), ("b", &["a"]), ("c", &["a"])], 90_000);
        run.leased(&["a"]).given(succeed("a", 1));
        assert_eq!(needs_at(&run, 60_000), [guard(90_000, 0)], "the deadline");
        run.at(10).leased(&["b"]).leased(&["c"]).given(sleep("b", 1, 75_000));
        assert_eq!(
            needs_at(&run, 60_000),
            [timer(75_010, 5), guard(75_010, 0)],
            "the end of the sleep"
        );
    }

    #[test]
    fn a_back_off_that_is_over_hides_no_later_due_time() {
        let mut run = run_for(&[("a", &[]), ("b", &["a"]), ("c", &["a"])], 10 * HOUR_MS);
        run.leased(&["a"]).given(succeed("a", 1)).leased(&["b"]);
        run.at(LEASE_MS).given(crate::workflow::Command::Wake);
        assert_eq!(run.state.next_due(run.now()), Some(after(LEASE_MS + 1_000)), "the back-off");
        assert_eq!(run.state.next_due(after(LEASE_MS + 1_000)), Some(after(10 * HOUR_MS)));
        run.at(9 * HOUR_MS + 1_000).given(lease("c", 1, "w1"));
        let due = 9 * HOUR_MS + 1_000 + LEASE_MS;
        assert_eq!(run.state.next_due(run.now()), Some(after(due)), "the lease of the other step");
    }

    #[test]
    fn a_settlement_does_not_make_a_run_look_younger() {
        let mut run = run(&[("a", &[])]);
        let before = needs_at(&run, 8 * HOUR_MS);
        run.at(8 * HOUR_MS - 1).settle();
        assert_eq!(needs_at(&run, 8 * HOUR_MS), before);
    }
}
