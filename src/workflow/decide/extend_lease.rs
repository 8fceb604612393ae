//! A worker shows that it still works on an attempt.

use super::{Setting, lease_step::lease_end, still_open};
use crate::workflow::{
    command::Answer, draft::Draft, event::Event, id::Task, rejection::Rejection, state::Phase,
};

/// Extends the lease when under half of it is left, so that a heartbeat rarely costs a commit.
pub(super) fn decide(
    draft: &mut Draft,
    setting: &Setting<'_>,
    task: &Task,
    worker: &str,
) -> Result<Answer, Rejection> {
    still_open(draft)?;
    let Task { step, iteration, attempt } = task.clone();
    let no_lease = || Rejection::NoLease { step: step.clone(), worker: worker.to_owned() };
    let open = draft.state().open.get(&step).ok_or_else(no_lease)?;
    let until = match &open.phase {
        Phase::Leased { worker: holder, until, .. }
            if holder == worker && open.iteration == iteration && open.attempt == attempt =>
        {
            *until
        }
        Phase::Leased { .. }
        | Phase::Ready { .. }
        | Phase::Sleeping { .. }
        | Phase::Approval { .. } => return Err(no_lease()),
    };
    let lease_until = lease_end(draft, setting, task);
    let (left, whole) = (until.since(draft.now()), lease_until.since(draft.now()));
    if left > whole / 2 {
        return Ok(Answer::Unchanged);
    }
    draft.emit(Event::LeaseExtended { step, attempt, lease_until });
    Ok(Answer::Holds { until: lease_until })
}

#[cfg(test)]
mod tests {
    use crate::workflow::{
        Answer, Command, Event, Rejection,
        given::{LEASE_MS, Run, after, extend, lease, run, sleep},
    };

    fn leased() -> Run {
        run(&[("a", &[])]).leased(&["a"]).clone()
    }

    fn no_lease(worker: &str) -> Rejection {
        Rejection::NoLease { step: "a".into(), worker: worker.to_owned() }
    }

    #[test]
    fn a_lease_of_which_half_is_left_is_not_extended() {
        let mut run = leased();
        run.at(LEASE_MS / 2 - 1).unchanged(extend("a", 1, "w1"));
    }

    #[test]
    fn a_lease_of_which_less_is_left_begins_anew() {
        let mut run = leased();
        run.at(LEASE_MS / 2 + 1);
        let until = LEASE_MS / 2 + 1 + LEASE_MS;
        let (answers, events) = run.batch(&[extend("a", 1, "w1")]);
        assert_eq!(answers, [Ok(Answer::Holds { until: after(until) })]);
        let lease_until = after(until);
        assert_eq!(events, [Event::LeaseExtended { step: "a".into(), attempt: 1, lease_until }]);
        run.at(until - 1).unchanged(Command::Wake);
    }

    #[test]
    fn only_who_holds_the_lease_extends_it() {
        let mut run = leased();
        run.at(LEASE_MS - 1);
        assert_eq!(run.refused(extend("a", 1, "w2")), no_lease("w2"));
        assert_eq!(run.refused(extend("a", 2, "w1")), no_lease("w1"));
        run.at(LEASE_MS).given(Command::Wake);
        assert_eq!(run.refused(extend("a", 1, "w1")), no_lease("w1"), "lost");
        run.at(LEASE_MS + 1_000).given(lease("a", 2, "w2"));
        assert_eq!(run.refused(extend("a", 1, "w1")), no_lease("w1"), "taken over");
        run.given(sleep("a", 2, 50));
        assert_eq!(run.refused(extend("a", 2, "w2")), no_lease("w2"), "sleeps");
        run.at(LEASE_MS + 1_050).given(Command::Wake);
        assert_eq!(run.refused(extend("a", 2, "w2")), Rejection::Closed { status: "completed" });
    }
}
