//! A worker is to have a step to itself for a while.

use super::{Setting, still_open};
use crate::workflow::{
    command::Answer,
    draft::Draft,
    event::{Event, LossReason},
    id::Task,
    rejection::Rejection,
    state::Phase,
};

/// Leases the ready attempt; or, where a reservation was not fetched, the attempt after it.
///
/// A worker that lacks the step is refused, whoever matched them: it would only send it back.
pub(super) fn decide(
    draft: &mut Draft,
    setting: &Setting<'_>,
    task: &Task,
    worker: &str,
    partial: bool,
) -> Result<Answer, Rejection> {
    still_open(draft)?;
    let Task { step, iteration, attempt } = task.clone();
    let not_ready = || Rejection::NotReady { step: step.clone() };
    let open = draft.state().open.get(&step).ok_or_else(not_ready)?;
    if open.iteration != iteration {
        return Err(not_ready());
    }
    let is_unfetched = match &open.phase {
        Phase::Ready { not_before, .. } => {
            let is_due = not_before.is_none_or(|due| due <= draft.now());
            if open.attempt != attempt {
                return Err(not_ready());
            }
            if !is_due {
                return Err(Rejection::NotYet { step });
            }
            false
        }
        // With a failure that counts by now, the lease's end goes first.
        Phase::Leased { until, .. }
            if attempt == open.attempt + 1 && (open.failure.is_none() || *until > draft.now()) =>
        {
            true
        }
        Phase::Leased { worker: holder, until, .. }
            if attempt == open.attempt && holder == worker =>
        {
            return Ok(Answer::Holds { until: *until });
        }
        Phase::Leased { .. } | Phase::Sleeping { .. } | Phase::Approval { .. } => {
            return Err(not_ready());
        }
    };
    let lacks = open.without.iter().find(|(name, end)| name == worker && *end > draft.now());
    if let Some((_, until)) = lacks {
        let worker = worker.to_owned();
        return Err(Rejection::LacksStep { step, worker, until: *until });
    }
    if is_unfetched {
        let reason = LossReason::NotFetched;
        draft.emit(Event::AttemptLost { step: step.clone(), attempt: attempt - 1, reason });
    }
    let lease_until = lease_end(draft, setting, task);
    let close_ms = setting.blueprint.step(&step).and_then(|(_, step)| step.start_to_close_ms);
    draft.emit(Event::StepStarted {
        step,
        iteration,
        attempt,
        worker: worker.to_owned(),
        lease_until,
        partial,
        close_by: close_ms.map(|close_ms| draft.now().after_millis(close_ms)),
    });
    Ok(Answer::Leased { until: lease_until })
}

/// When a lease of `task` that begins now ends. With a heartbeat timeout each sign of life gives only
/// so long: then the work counts as lost with its worker.
pub(super) fn lease_end(
    draft: &Draft,
    setting: &Setting<'_>,
    task: &Task,
) -> crate::workflow::Timestamp {
    let step = setting.blueprint.step(&task.step).map(|(_, step)| step);
    let own = step.and_then(|step| step.heartbeat_ms.or(step.lease_ms));
    draft.now().after_millis(own.unwrap_or_else(|| setting.policy.lease_ms()))
}

#[cfg(test)]
mod tests {
    use crate::workflow::{
        Answer, Command, LossReason, Phase, Rejection,
        given::{
            LEASE_MS, after, again, begun_by, fail, failed, failure, lease, lost, run, sleep,
            succeed, task,
        },
    };

    fn not_ready(step: &str) -> Rejection {
        Rejection::NotReady { step: step.into() }
    }

    #[test]
    fn a_ready_step_is_leased_to_one_worker() {
        let mut run = run(&[("a", &[])]);
        run.at(40);
        assert_eq!(run.when(lease("a", 1, "w1")), [begun_by("a", 1, "w1", LEASE_MS + 40)]);
        assert_eq!(run.refused(lease("a", 1, "w2")), not_ready("a"));
    }

    #[test]
    fn who_asks_again_has_the_lease_already() {
        let mut run = run(&[("a", &[])]);
        run.leased(&["a"]).at(9);
        let answer = Answer::Holds { until: after(LEASE_MS) };
        assert_eq!(run.batch(&[lease("a", 1, "w1")]), (vec![Ok(answer)], vec![]));
    }

    #[test]
    fn of_two_workers_in_one_commit_the_first_gets_it() {
        let mut run = run(&[("a", &[])]);
        let (answers, events) = run.batch(&[lease("a", 1, "w1"), lease("a", 1, "w2")]);
        let until = after(LEASE_MS);
        assert_eq!(answers, [Ok(Answer::Leased { until }), Err(not_ready("a"))]);
        assert_eq!(events, [begun_by("a", 1, "w1", LEASE_MS)]);
    }

    #[test]
    fn a_partial_match_stands_in_the_log() {
        let mut run = run(&[("a", &[])]);
        let command =
            Command::LeaseStep { task: task("a", 1), worker: "w1".to_owned(), partial: true };
        let mut begun = begun_by("a", 1, "w1", LEASE_MS);
        if let crate::workflow::Event::StepStarted { partial, .. } = &mut begun {
            *partial = true;
        }
        assert_eq!(run.when(command), [begun]);
    }

    #[test]
    fn a_reservation_that_nobody_fetched_goes_to_another_as_a_new_attempt() {
        let mut run = run(&[("a", &[]), ("b", &["a"])]);
        run.leased(&["a"]).at(1_000);
        assert_eq!(
            run.when(lease("a", 2, "w2")),
            [lost("a", 1, LossReason::NotFetched), begun_by("a", 2, "w2", LEASE_MS + 1_000)]
        );
        assert_eq!(run.state.open["a"].losses, 0, "no back-off: nothing was lost");
        let until = after(LEASE_MS + 1_000);
        assert_eq!(run.batch(&[lease("a", 2, "w2")]).0, [Ok(Answer::Holds { until })]);
        run.given(succeed("a", 1));
    }

    #[test]
    fn a_kept_failure_goes_before_a_new_attempt_once_the_lease_is_over() {
        let mut run = run(&[("a", &[])]);
        run.leased(&["a"]).given(lease("a", 2, "w2")).given(fail("a", 1));
        run.clone().at(LEASE_MS - 1).given(lease("a", 3, "w3"));
        assert_eq!(run.at(LEASE_MS).refused(lease("a", 3, "w3")), not_ready("a"));
        assert_eq!(run.when(Command::Wake), failed("a", 1, failure("a/1")));
    }

    #[test]
    fn what_is_not_ready_is_refused() {
        let mut run = run(&[("a", &[]), ("b", &["a"])]);
        assert_eq!(run.refused(lease("b", 1, "w1")), not_ready("b"), "waits for another");
        assert_eq!(run.refused(lease("x", 1, "w1")), not_ready("x"), "no such step");
        assert_eq!(run.refused(lease("a", 2, "w1")), not_ready("a"), "another attempt");
        assert_eq!(run.refused(lease("a", 0, "w1")), not_ready("a"));
        run.leased(&["a"]);
        assert_eq!(run.refused(lease("a", 3, "w1")), not_ready("a"), "beyond the next");
        run.given(sleep("a", 1, 50));
        assert_eq!(run.refused(lease("a", 1, "w1")), not_ready("a"), "sleeps");
        assert_eq!(run.refused(lease("a", 2, "w1")), not_ready("a"));
        run.at(50).given(Command::Wake);
        assert_eq!(run.refused(lease("a", 1, "w1")), not_ready("a"), "over");
    }

    #[test]
    fn another_iteration_is_refused() {
        let mut run = run(&[("a", &[])]);
        let mut other = task("a", 1);
        other.iteration = 2;
        let command = Command::LeaseStep { task: other, worker: "w1".to_owned(), partial: false };
        assert_eq!(run.refused(command), not_ready("a"));
    }

    #[test]
    fn a_step_is_not_given_before_its_back_off_is_over() {
        let mut run = run(&[("a", &[])]);
        run.leased(&["a"]).at(LEASE_MS).given(Command::Wake);
        assert_eq!(
            run.at(LEASE_MS + 999).refused(lease("a", 2, "w2")),
            Rejection::NotYet { step: "a".into() }
        );
        let until = 2 * LEASE_MS + 1_000;
        assert_eq!(
            run.at(LEASE_MS + 1_000).when(lease("a", 2, "w2")),
            [begun_by("a", 2, "w2", until)]
        );
    }

    #[test]
    fn a_step_may_have_a_lease_of_its_own() {
        let mut definition = crate::workflow::Definition::from(run(&[("a", &[])]).blueprint);
        definition.steps[0].lease_ms = Some(u64::MAX);
        let blueprint = crate::workflow::Blueprint::new(definition).expect("a valid blueprint");
        let (mut run, events) = crate::workflow::given::begun(blueprint, None);
        assert_eq!(events, [again("a", 1, None)]);
        run.given(lease("a", 1, "w1"));
        let Phase::Leased { until, .. } = run.state.open["a"].phase else { panic!("no lease") };
        assert_eq!(until.as_millis(), u64::MAX, "saturates");
    }
}
