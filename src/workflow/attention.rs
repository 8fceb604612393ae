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
const LADDER_TOP: Duration = Duration::from_secs(3600);

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
        match self.next_due() {
            Some(due) if due > now => due.min(slot),
            Some(_) | None => slot,
        }
    }
}
