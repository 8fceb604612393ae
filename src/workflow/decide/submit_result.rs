//! A worker says how its attempt ended.
//!
//! The first success of any attempt that was handed out counts while the step is open; the others
//! are superseded. A failure counts at once when it is the current attempt's, or when no lease runs;
//! any other is kept and counts if the running lease ends without a result. Were it otherwise, a step
//! that outlasts its lease and is silent until it submits would be superseded for ever.

use super::{
    Setting, adapt, failure, schedule, still_open,
    transition::{self, Ended},
};
use crate::workflow::{
    blueprint::Blueprint,
    command::Answer,
    draft::Draft,
    event::{Event, Failure},
    id::Task,
    outcome::Outcome,
    payload::Payload,
    rejection::Rejection,
    state::{Iteration, OpenStep, Phase},
};

pub(super) fn decide(
    draft: &mut Draft,
    setting: &Setting<'_>,
    task: &Task,
    worker: &str,
    outcome: &Outcome,
) -> Result<Answer, Rejection> {
    if is_repetition(draft, task, outcome) {
        return Ok(Answer::Unchanged);
    }
    still_open(draft)?;
    let open = open_step(draft, setting.blueprint, task)?.clone();
    let has_ended = task.attempt <= open.counted;
    match &outcome {
        Outcome::Succeeded(result) => complete(draft, setting, task, result),
        // Said before; the step has gone on to another attempt since.
        Outcome::Sleep { .. }
        | Outcome::Approval { .. }
        | Outcome::Failed(_)
        | Outcome::NotFound
        | Outcome::CallMismatch { .. }
            if has_ended =>
        {
            return Ok(Answer::Unchanged);
        }
        Outcome::Sleep { duration_ms, data } => sleep(draft, task, *duration_ms, data),
        Outcome::Approval { approval_type, data, timeout_ms } => {
            ask(draft, task, approval_type, data, *timeout_ms);
        }
        Outcome::Failed(failure) => return Ok(fail(draft, setting, task, &open, failure)),
        Outcome::NotFound => return Ok(reroute(draft, setting, task, worker, &open)),
        Outcome::CallMismatch { mismatch, failure } => {
            let corrected = adapt::decide(draft, setting, task, &open, mismatch);
            return Ok(corrected.unwrap_or_else(|| fail(draft, setting, task, &open, failure)));
        }
    }
    Ok(Answer::Applied)
}

/// Whether this very attempt's end stands in the log already.
fn is_repetition(draft: &Draft, task: &Task, outcome: &Outcome) -> bool {
    let state = draft.state();
    let is_success = matches!(outcome, Outcome::Succeeded(_));
    let is_last_of_iteration_before = |Iteration(iteration, attempt, is_caught): &Iteration| {
        let is_too_late = *is_caught && is_success;
        let is_before = task.iteration.checked_add(1) == Some(*iteration);
        !is_too_late && is_before && task.attempt == *attempt
    };
    if state.iterations.get(&task.step).is_some_and(is_last_of_iteration_before) {
        return true;
    }
    if let Some(done) = state.done.get(&task.step) {
        // An attempt whose failure was caught may have been given up, and succeed too late.
        let is_too_late = state.caught.contains_key(&task.step) && is_success;
        return !is_too_late
            && done.iteration() == task.iteration
            && done.attempt() == task.attempt;
    }
    let Some(open) = state.open.get(&task.step) else { return false };
    if open.iteration != task.iteration {
        return false;
    }
    let has_failed = open.failure.as_ref().is_some_and(|(attempt, _)| *attempt == task.attempt);
    match open.phase {
        Phase::Sleeping { .. } | Phase::Approval { .. } => open.attempt == task.attempt,
        // A later success of an attempt whose failure was kept still counts, so that only a
        // closed run answers from the failure; and only its repetition: an attempt that took longer
        // than it may has failed without its worker's word, and a success that comes then is lost.
        Phase::Ready { .. } | Phase::Leased { .. } => {
            has_failed && state.is_closed() && !is_success
        }
    }
}

/// The open step that a result of `task` can still count for.
fn open_step<'a>(
    draft: &'a Draft,
    blueprint: &Blueprint,
    task: &Task,
) -> Result<&'a OpenStep, Rejection> {
    let state = draft.state();
    let step = task.step.clone();
    let never_handed_out =
        || Rejection::UnknownAttempt { step: step.clone(), attempt: task.attempt };
    if blueprint.step(&task.step).is_none() {
        return Err(Rejection::UnknownStep { step, workflow: blueprint.name().to_owned() });
    }
    if task.iteration < state.iteration(&task.step) {
        return Err(Rejection::Superseded { step });
    }
    let Some(open) = state.open.get(&task.step) else {
        let is_done = state.done.contains_key(&task.step);
        return Err(if is_done { Rejection::Superseded { step } } else { never_handed_out() });
    };
    let is_given = match open.phase {
        Phase::Leased { .. } => task.attempt <= open.attempt,
        // Only an attempt whose call was corrected is ready after it was handed out.
        Phase::Ready { .. } => task.attempt < open.attempt || open.adapted == Some(task.attempt),
        // An older attempt may have ended it, and the newer ones are not counted any more.
        Phase::Sleeping { .. } | Phase::Approval { .. } => {
            return Err(Rejection::Superseded { step });
        }
    };
    if !is_given || task.attempt == 0 || task.iteration > open.iteration {
        return Err(never_handed_out());
    }
    Ok(open)
}

fn complete(draft: &mut Draft, setting: &Setting<'_>, task: &Task, result: &Payload) {
    let choice = transition::choose(draft, setting, &task.step, Ended::Given(result));
    let Task { step, iteration, attempt } = task.clone();
    let result = result.clone();
    draft.emit(Event::StepCompleted { step, iteration, attempt, result });
    transition::go_on(draft, setting, &choice);
}

fn sleep(draft: &mut Draft, task: &Task, duration_ms: u64, data: &Payload) {
    let Task { step, iteration, attempt } = task.clone();
    let until = draft.now().after_millis(duration_ms);
    let data = data.clone();
    draft.emit(Event::SleepStarted { step, iteration, attempt, duration_ms, until, data });
}

fn ask(
    draft: &mut Draft,
    task: &Task,
    approval_type: &str,
    data: &Payload,
    timeout_ms: Option<u64>,
) {
    let Task { step, iteration, attempt } = task.clone();
    let due = timeout_ms.map(|millis| draft.now().after_millis(millis));
    draft.emit(Event::ApprovalRequested {
        step,
        iteration,
        attempt,
        approval_type: approval_type.to_owned(),
        data: data.clone(),
        timeout_ms,
        due,
    });
}

fn fail(
    draft: &mut Draft,
    setting: &Setting<'_>,
    task: &Task,
    open: &OpenStep,
    failure: &Failure,
) -> Answer {
    let Task { step, attempt, .. } = task.clone();
    let error = failure.clone();
    if attempt < open.attempt && has_running_lease(draft, open) {
        // One failure is enough to count; of several, the newest attempt's is kept.
        if open.failure.as_ref().is_some_and(|(failed, _)| *failed >= attempt) {
            return Answer::Unchanged;
        }
        draft.emit(Event::AttemptFailed { step, attempt, error });
    } else {
        failure::count(draft, setting, &step, attempt, error);
    }
    Answer::Applied
}

fn has_running_lease(draft: &Draft, open: &OpenStep) -> bool {
    match &open.phase {
        Phase::Leased { until, .. } => *until > draft.now(),
        Phase::Ready { .. } | Phase::Sleeping { .. } | Phase::Approval { .. } => false,
    }
}

/// The worker lacks the step: another one is asked, and this one not again for the time of a lease.
fn reroute(
    draft: &mut Draft,
    setting: &Setting<'_>,
    task: &Task,
    worker: &str,
    open: &OpenStep,
) -> Answer {
    if !is_leased(open, task.attempt) {
        // Said before, or of an attempt that was given up since.
        return Answer::Unchanged;
    }
    let Task { step, iteration, attempt } = task.clone();
    let until = draft.now().after(setting.policy.lease);
    draft.emit(Event::StepRerouted {
        step: step.clone(),
        attempt,
        worker: worker.to_owned(),
        until,
    });
    if !failure::count_kept(draft, setting, &task.step) {
        schedule(draft, setting, &step, iteration, attempt + 1, 0);
    }
    Answer::Applied
}

/// Whether `attempt` is the one that a worker has.
pub(super) fn is_leased(open: &OpenStep, attempt: u32) -> bool {
    match &open.phase {
        Phase::Leased { .. } => attempt == open.attempt,
        Phase::Ready { .. } | Phase::Sleeping { .. } | Phase::Approval { .. } => false,
    }
}

#[cfg(test)]
mod tests {
    use crate::workflow::Outcome;
    use crate::workflow::{
        Answer, Command, Event, LossReason, Phase, Rejection, arguments,
        given::{
            LEASE_MS, Run, after, again, approve, ask, begun_by, cancel, completed, extend, fail,
            failed, failure, lease, lost, mismatch, not_found, output, run, run_for, scheduled,
            sleep, started, submit, succeed, task,
        },
    };

    /// One step, given to `w1` at 0.
    fn leased() -> Run {
        run(&[("a", &[])]).leased(&["a"]).clone()
    }

    /// One step whose first attempt was lost at the end of its lease; the second waits.
    fn lost_once() -> Run {
        leased().at(LEASE_MS).given(Command::Wake).clone()
    }

    /// One step whose first attempt was lost; `w2` has the second until 302 s + lease.
    fn retried() -> Run {
        lost_once().at(LEASE_MS + 2_000).given(lease("a", 2, "w2")).clone()
    }

    fn superseded(step: &str) -> Rejection {
        Rejection::Superseded { step: step.into() }
    }

    fn unknown(step: &str, attempt: u32) -> Rejection {
        Rejection::UnknownAttempt { step: step.into(), attempt }
    }

    fn kept(step: &str, attempt: u32) -> Event {
        let error = failure(&format!("{step}/{attempt}"));
        Event::AttemptFailed { step: step.into(), attempt, error }
    }

    mod order {
        use super::*;

        #[test]
        fn the_last_step_completes_the_execution() {
            assert_eq!(
                leased().when(succeed("a", 1)),
                [completed("a", 1), Event::ExecutionCompleted]
            );
        }

        #[test]
        fn parallel_steps_meet() {
            let mut run = run(&[("a", &[]), ("b", &["a"]), ("c", &["a"]), ("d", &["b", "c"])]);
            run.leased(&["a"]);
            assert_eq!(
                run.when(succeed("a", 1)),
                [completed("a", 1), scheduled("b"), scheduled("c")]
            );
            run.leased(&["b", "c"]);
            assert_eq!(run.when(succeed("c", 1)), [completed("c", 1)]);
            assert_eq!(run.when(succeed("b", 1)), [completed("b", 1), scheduled("d")]);
            run.leased(&["d"]);
            assert_eq!(run.when(succeed("d", 1)), [completed("d", 1), Event::ExecutionCompleted]);
        }

        #[test]
        fn results_that_arrive_together_meet_in_one_commit() {
            let mut run = run(&[("a", &[]), ("b", &["a"]), ("c", &["a"]), ("d", &["b", "c"])]);
            run.leased(&["a"]).given(succeed("a", 1)).leased(&["b", "c"]);
            let (answers, events) = run.batch(&[succeed("c", 1), succeed("b", 1), succeed("c", 1)]);
            assert_eq!(answers, [Ok(Answer::Applied), Ok(Answer::Applied), Ok(Answer::Unchanged)]);
            assert_eq!(events, [completed("c", 1), completed("b", 1), scheduled("d")]);
        }

        #[test]
        fn without_data_flow_the_timeline_is_the_order() {
            let (mut run, events) = started(&[("a", &[]), ("b", &[]), ("c", &[])], None);
            assert_eq!(events, [scheduled("a")]);
            run.leased(&["a"]);
            assert_eq!(run.when(succeed("a", 1)), [completed("a", 1), scheduled("b")]);
            run.leased(&["b"]);
            assert_eq!(run.when(succeed("b", 1)), [completed("b", 1), scheduled("c")]);
        }

        #[test]
        fn a_step_without_data_flow_waits_for_the_whole_group_before_it() {
            let mut run = run(&[("a", &[]), ("b", &["a"]), ("c", &["a"]), ("d", &[])]);
            run.leased(&["a"]).given(succeed("a", 1)).leased(&["b", "c"]);
            assert_eq!(run.when(succeed("b", 1)), [completed("b", 1)]);
            assert_eq!(run.when(succeed("c", 1)), [completed("c", 1), scheduled("d")]);
        }

        #[test]
        fn steps_before_which_nothing_stands_start_together() {
            let (_, events) = started(&[("a", &["c"]), ("b", &["c"]), ("c", &[])], None);
            assert_eq!(events, [scheduled("c")]);
        }
    }

    mod success {
        use super::*;

        #[test]
        fn a_repeated_submit_changes_nothing() {
            let mut run = run(&[("a", &[]), ("b", &["a"])]);
            run.leased(&["a"]).given(succeed("a", 1));
            run.unchanged(succeed("a", 1));
            run.leased(&["b"]).given(succeed("b", 1));
            run.unchanged(succeed("a", 1));
            run.unchanged(succeed("b", 1));
        }

        #[test]
        fn a_result_counts_although_its_lease_is_over() {
            let mut run = leased();
            run.at(10 * LEASE_MS);
            assert_eq!(run.when(succeed("a", 1)), [completed("a", 1), Event::ExecutionCompleted]);
        }

        #[test]
        fn a_late_result_counts_while_the_next_attempt_waits() {
            assert_eq!(
                lost_once().when(succeed("a", 1)),
                [completed("a", 1), Event::ExecutionCompleted]
            );
        }

        #[test]
        fn a_late_result_counts_while_the_next_attempt_runs() {
            let mut run = retried();
            assert_eq!(run.when(succeed("a", 1)), [completed("a", 1), Event::ExecutionCompleted]);
            assert_eq!(run.refused(succeed("a", 2)), Rejection::Closed { status: "completed" });
        }

        #[test]
        fn second_result_of_a_task_changes_nothing() {
            let mut run = run(&[("a", &[]), ("b", &["a"])]);
            run.leased(&["a"]).at(LEASE_MS).given(Command::Wake);
            run.at(LEASE_MS + 2_000).given(lease("a", 2, "w2")).given(succeed("a", 2));
            assert_eq!(run.refused(succeed("a", 1)), superseded("a"));
            assert_eq!(run.refused(fail("a", 1)), superseded("a"));
            run.unchanged(succeed("a", 2));
        }

        #[test]
        fn a_success_counts_although_another_attempt_has_failed() {
            let mut run = retried();
            run.given(fail("a", 1));
            assert_eq!(run.when(succeed("a", 2)), [completed("a", 2), Event::ExecutionCompleted]);
        }

        #[test]
        fn an_attempt_that_failed_can_still_succeed() {
            let mut run = retried();
            run.given(fail("a", 1));
            assert_eq!(run.when(succeed("a", 1)), [completed("a", 1), Event::ExecutionCompleted]);
        }
    }

    mod failure {
        use super::*;

        #[test]
        fn the_failure_of_the_current_attempt_counts_at_once() {
            let mut run = leased();
            assert_eq!(run.when(fail("a", 1)), failed("a", 1, failure("a/1")));
            run.unchanged(fail("a", 1));
        }

        #[test]
        fn a_failure_ends_the_execution_whatever_runs_beside_it() {
            let mut run = run(&[("a", &[]), ("b", &["a"]), ("c", &["a"])]);
            run.leased(&["a"]).given(succeed("a", 1)).leased(&["b", "c"]);
            assert_eq!(run.when(fail("b", 1)), failed("b", 1, failure("b/1")));
            assert_eq!(run.refused(succeed("c", 1)), Rejection::Closed { status: "failed" });
            assert_eq!(run.refused(fail("c", 1)), Rejection::Closed { status: "failed" });
        }

        #[test]
        fn a_success_that_comes_after_its_attempt_ended_the_execution_is_refused() {
            let mut run = leased();
            run.given(fail("a", 1));
            run.unchanged(fail("a", 1));
            assert_eq!(run.refused(succeed("a", 1)), Rejection::Closed { status: "failed" });
        }

        #[test]
        fn of_a_failure_and_a_result_in_one_commit_the_first_counts() {
            let mut run = run(&[("a", &[]), ("b", &["a"]), ("c", &["a"])]);
            run.leased(&["a"]).given(succeed("a", 1)).leased(&["b", "c"]);
            let (answers, events) = run.batch(&[fail("b", 1), succeed("c", 1), Command::Wake]);
            let closed = Err(Rejection::Closed { status: "failed" });
            assert_eq!(answers, [Ok(Answer::Applied), closed, Ok(Answer::Unchanged)]);
            assert_eq!(events, failed("b", 1, failure("b/1")));
        }

        #[test]
        fn the_failure_of_an_older_attempt_counts_at_once_while_no_lease_runs() {
            assert_eq!(lost_once().when(fail("a", 1)), failed("a", 1, failure("a/1")), "ready");
            let mut over = retried();
            over.at(2 * LEASE_MS + 2_000);
            assert_eq!(over.when(fail("a", 1)), failed("a", 1, failure("a/1")), "lease over");
        }

        #[test]
        fn the_failure_of_an_older_attempt_waits_while_a_lease_runs() {
            let mut run = retried();
            assert_eq!(run.when(fail("a", 1)), [kept("a", 1)]);
            run.unchanged(fail("a", 1));
            run.at(2 * LEASE_MS + 2_000);
            assert_eq!(run.when(Command::Wake), failed("a", 1, failure("a/1")));
        }

        #[test]
        fn of_several_failures_that_wait_the_newest_is_kept() {
            let mut run = retried();
            run.at(3 * LEASE_MS).given(Command::Wake);
            run.at(3 * LEASE_MS + 2_000).given(lease("a", 3, "w3"));
            assert_eq!(run.when(fail("a", 1)), [kept("a", 1)]);
            assert_eq!(run.when(fail("a", 2)), [kept("a", 2)]);
            run.unchanged(fail("a", 1));
            run.unchanged(fail("a", 2));
            assert_eq!(run.when(fail("a", 3)), failed("a", 3, failure("a/3")), "its own counts");
        }

        #[test]
        fn a_kept_failure_counts_when_the_worker_turns_out_to_lack_the_step() {
            let mut run = retried();
            run.given(fail("a", 1));
            let until = after(LEASE_MS + 2_000 + LEASE_MS);
            let (step, worker) = ("a".into(), "w2".to_owned());
            let mut events = vec![Event::StepRerouted { step, attempt: 2, worker, until }];
            events.extend(failed("a", 1, failure("a/1")));
            assert_eq!(run.when(not_found("a", 2, "w2")), events);
        }

        #[test]
        fn a_kept_failure_counts_when_the_call_was_guessed_wrongly() {
            let mut run = retried();
            run.given(fail("a", 1));
            let step = "a".into();
            let mut events = vec![Event::InputsAdapted { step, attempt: 2, with_inputs: false }];
            events.extend(failed("a", 1, failure("a/1")));
            assert_eq!(run.when(mismatch("a", 2, false)), events);
        }
    }

    mod refused {
        use super::*;

        #[test]
        fn attempts_that_nobody_was_given() {
            let mut run = run(&[("a", &[]), ("b", &["a"])]);
            assert_eq!(run.refused(succeed("a", 1)), unknown("a", 1), "ready, but not given");
            assert_eq!(run.refused(fail("a", 1)), unknown("a", 1));
            assert_eq!(run.refused(succeed("b", 1)), unknown("b", 1), "not even ready");
            run.leased(&["a"]);
            assert_eq!(run.refused(succeed("a", 0)), unknown("a", 0));
            assert_eq!(run.refused(succeed("a", 2)), unknown("a", 2));
            assert_eq!(lost_once().refused(succeed("a", 2)), unknown("a", 2), "waits to be given");
        }

        #[test]
        fn another_iteration() {
            let mut other = task("a", 1);
            other.iteration = 2;
            let (worker, outcome) = ("w1".to_owned(), Outcome::Succeeded(output("a", 1)));
            let command = Command::SubmitResult { task: other, worker, outcome };
            assert_eq!(leased().refused(command), unknown("a", 1));
        }

        #[test]
        fn a_step_that_is_in_another_workflow() {
            let (step, workflow) = ("x".into(), "orders".to_owned());
            let rejection = Rejection::UnknownStep { step, workflow };
            assert_eq!(leased().refused(succeed("x", 1)), rejection);
        }

        #[test]
        fn everything_once_the_run_is_closed() {
            for (end, status) in
                [(fail("b", 1), "failed"), (cancel("r1"), "cancelled"), (succeed("b", 1), "")]
            {
                let mut run = run(&[("a", &[]), ("b", &["a"]), ("c", &["a"])]);
                run.leased(&["a"]).given(succeed("a", 1)).leased(&["b", "c"]);
                if status.is_empty() {
                    run.given(succeed("c", 1));
                }
                run.given(end);
                let status = run.state.status.word();
                let closed = Rejection::Closed { status };
                run.at(10 * LEASE_MS);
                assert_eq!(run.refused(cancel("r9")), closed);
                assert_eq!(run.refused(lease("c", 1, "w9")), closed);
                assert_eq!(run.refused(extend("c", 1, "w1")), closed);
                assert_eq!(run.refused(approve(None, "r8")), closed);
                if status != "completed" {
                    assert_eq!(run.refused(succeed("c", 1)), closed);
                    assert_eq!(run.refused(not_found("c", 1, "w1")), closed);
                    assert_eq!(run.refused(mismatch("c", 1, true)), closed);
                }
                run.unchanged(Command::Wake);
            }
        }
    }

    mod sleeping {
        use super::*;

        fn sleeps(step: &str, duration_ms: u64, until: u64) -> Event {
            Event::SleepStarted {
                step: step.into(),
                iteration: 1,
                attempt: 1,
                duration_ms,
                until: after(until),
                data: output(step, 1),
            }
        }

        #[test]
        fn a_sleep_ends_with_its_data_and_the_step_does_not_run_again() {
            let mut run = run(&[("a", &[]), ("b", &["a"])]);
            run.leased(&["a"]).at(100);
            assert_eq!(run.when(sleep("a", 1, 5_000)), [sleeps("a", 5_000, 5_100)]);
            run.at(5_099).unchanged(Command::Wake);
            run.at(5_100);
            let ended = Event::SleepEnded { step: "a".into() };
            assert_eq!(run.when(Command::Wake), [ended, scheduled("b")]);
            let stored = run.state.output("a").expect("an output");
            assert_eq!(stored.value, Some(serde_json::json!({"ok": "a/1"}).into()));
            assert_eq!(stored.at.0, 2, "where the sleep began");
        }

        #[test]
        fn its_repetition_changes_nothing_and_others_are_superseded() {
            let mut run = retried();
            run.given(sleep("a", 2, 5_000));
            run.unchanged(sleep("a", 2, 5_000));
            assert_eq!(run.refused(succeed("a", 1)), superseded("a"));
            assert_eq!(run.refused(fail("a", 1)), superseded("a"));
            assert_eq!(run.refused(not_found("a", 1, "w1")), superseded("a"));
            run.at(LEASE_MS + 7_000).given(Command::Wake);
            run.unchanged(sleep("a", 2, 5_000));
        }

        #[test]
        fn a_late_attempt_can_sleep_too() {
            let mut run = retried();
            let until = LEASE_MS + 2_000 + 50;
            assert_eq!(run.when(sleep("a", 1, 50)), [sleeps("a", 50, until)]);
            assert_eq!(run.refused(succeed("a", 2)), superseded("a"));
        }

        #[test]
        fn a_sleep_of_no_time_is_over_at_the_next_wake() {
            let mut run = leased();
            assert_eq!(run.when(sleep("a", 1, 0)), [sleeps("a", 0, 0)]);
            let ended = Event::SleepEnded { step: "a".into() };
            assert_eq!(run.when(Command::Wake), [ended, Event::ExecutionCompleted]);
        }

        #[test]
        fn a_sleep_longer_than_time_itself_saturates() {
            let mut run = leased();
            run.given(sleep("a", 1, u64::MAX));
            run.at(1_000_000 * LEASE_MS).unchanged(Command::Wake);
        }

        #[test]
        fn a_sleep_ends_with_its_execution() {
            let mut run = run_for(&[("a", &[])], 1_000);
            run.leased(&["a"]).given(sleep("a", 1, 5_000)).at(1_000);
            assert_eq!(run.when(Command::Wake), [Event::ExecutionTimedOut { timeout_ms: 1_000 }]);
            run.unchanged(sleep("a", 1, 5_000));
        }
    }

    #[test]
    fn an_approval_is_asked_for_once() {
        let mut run = retried();
        let asked = Event::ApprovalRequested {
            step: "a".into(),
            iteration: 1,
            attempt: 2,
            approval_type: "manager".to_owned(),
            data: output("a", 2),
            timeout_ms: Some(900),
            due: Some(after(LEASE_MS + 2_900)),
        };
        assert_eq!(run.when(ask("a", 2, Some(900))), [asked]);
        run.unchanged(ask("a", 2, Some(900)));
        assert_eq!(run.refused(succeed("a", 1)), superseded("a"));
    }

    mod not_found {
        use super::*;

        fn rerouted(attempt: u32, worker: &str, until: u64) -> Event {
            let (step, worker, until) = ("a".into(), worker.to_owned(), after(until));
            Event::StepRerouted { step, attempt, worker, until }
        }

        #[test]
        fn the_step_goes_to_another_worker_at_once() {
            let mut run = leased();
            run.at(50);
            assert_eq!(
                run.when(not_found("a", 1, "w1")),
                [rerouted(1, "w1", LEASE_MS + 50), again("a", 2, None)]
            );
            run.unchanged(not_found("a", 1, "w1"));
            assert_eq!(run.state.open["a"].losses, 0, "no work was lost");
        }

        #[test]
        fn the_worker_is_not_asked_again_for_a_lease() {
            let mut run = leased();
            run.given(not_found("a", 1, "w1"));
            let lacks = Rejection::LacksStep {
                step: "a".into(),
                worker: "w1".to_owned(),
                until: after(LEASE_MS),
            };
            run.at(LEASE_MS - 1);
            assert_eq!(run.refused(lease("a", 2, "w1")), lacks);
            run.clone().given(lease("a", 2, "w2"));
            run.at(LEASE_MS);
            assert_eq!(run.when(lease("a", 2, "w1")), [begun_by("a", 2, "w1", 2 * LEASE_MS)]);
        }

        #[test]
        fn it_says_so_again_when_it_is_asked_again() {
            let mut run = leased();
            run.given(not_found("a", 1, "w1")).at(LEASE_MS).given(lease("a", 2, "w1"));
            assert_eq!(
                run.when(not_found("a", 2, "w1")),
                [rerouted(2, "w1", 2 * LEASE_MS), again("a", 3, None)]
            );
            assert_eq!(run.state.open["a"].without.len(), 1);
        }

        #[test]
        fn of_an_attempt_that_was_given_up_it_changes_nothing() {
            lost_once().unchanged(not_found("a", 1, "w1"));
            retried().unchanged(not_found("a", 1, "w1"));
        }

        #[test]
        fn everybody_may_lack_it() {
            let mut run = leased();
            run.given(not_found("a", 1, "w1")).given(lease("a", 2, "w2"));
            run.given(not_found("a", 2, "w2"));
            let without =
                vec![("w1".to_owned(), after(LEASE_MS)), ("w2".to_owned(), after(LEASE_MS))];
            assert_eq!(run.state.open["a"].without, without);
        }
    }

    mod call_mismatch {
        use super::*;

        fn adapted(step: &str, attempt: u32, with_inputs: bool) -> Vec<Event> {
            let scheduled = again(step, attempt, None);
            vec![Event::InputsAdapted { step: step.into(), attempt, with_inputs }, scheduled]
        }

        fn sends_inputs(run: &Run, step: &str) -> bool {
            arguments(&run.blueprint, &run.state, step).inputs.is_some()
        }

        #[test]
        fn inputs_are_left_out_for_a_first_step_that_does_not_take_them() {
            let mut run = leased();
            assert!(sends_inputs(&run, "a"));
            assert_eq!(run.when(mismatch("a", 1, false)), adapted("a", 1, false));
            assert!(!sends_inputs(&run, "a"));
            assert_eq!(run.when(lease("a", 1, "w1")), [begun_by("a", 1, "w1", LEASE_MS)]);
            assert_eq!(run.when(succeed("a", 1)), [completed("a", 1), Event::ExecutionCompleted]);
        }

        #[test]
        fn inputs_are_sent_to_a_later_step_that_takes_them() {
            let mut run = run(&[("a", &[]), ("b", &["a"])]);
            run.leased(&["a"]).given(succeed("a", 1)).leased(&["b"]);
            assert!(!sends_inputs(&run, "b"));
            assert_eq!(run.when(mismatch("b", 1, true)), adapted("b", 1, true));
            assert!(sends_inputs(&run, "b"));
        }

        #[test]
        fn its_repetition_changes_nothing_before_and_after_the_next_hand_out() {
            let mut run = leased();
            run.given(mismatch("a", 1, false));
            run.unchanged(mismatch("a", 1, false));
            run.leased(&["a"]).unchanged(mismatch("a", 1, false));
        }

        #[test]
        fn a_second_mismatch_is_a_failure() {
            let mut run = leased();
            run.given(mismatch("a", 1, false)).leased(&["a"]);
            let error = failure("a/1 called wrongly");
            assert_eq!(run.when(mismatch("a", 1, true)), failed("a", 1, error));
        }

        #[test]
        fn the_same_mismatch_of_a_later_attempt_is_a_failure() {
            let mut run = leased();
            run.given(mismatch("a", 1, false)).leased(&["a"]);
            run.at(LEASE_MS).given(Command::Wake).at(LEASE_MS + 1_000).leased(&["a"]);
            let error = failure("a/2 called wrongly");
            assert_eq!(run.when(mismatch("a", 2, false)), failed("a", 2, error));
        }

        #[test]
        fn a_mismatch_that_contradicts_the_call_is_a_failure() {
            let error = failure("a/1 called wrongly");
            assert_eq!(leased().when(mismatch("a", 1, true)), failed("a", 1, error));
        }

        #[test]
        fn of_an_older_attempt_it_counts_as_nothing() {
            lost_once().unchanged(mismatch("a", 1, false));
            let mut run = retried();
            run.unchanged(mismatch("a", 1, false));
            assert_eq!(run.when(mismatch("a", 2, false)), adapted("a", 2, false));
            run.unchanged(mismatch("a", 1, false));
        }

        #[test]
        fn what_a_run_learnt_counts_for_its_other_attempts() {
            let mut run = leased();
            run.given(mismatch("a", 1, false)).leased(&["a"]).at(LEASE_MS);
            assert_eq!(
                run.when(Command::Wake),
                [lost("a", 1, LossReason::LeaseEnded), again("a", 2, Some(LEASE_MS + 1_000))]
            );
            assert!(!sends_inputs(&run, "a"));
            assert_eq!(run.refused(succeed("a", 2)), unknown("a", 2));
        }

        #[test]
        fn a_result_may_still_come_while_the_corrected_call_waits() {
            let mut run = leased();
            run.given(mismatch("a", 1, false));
            assert!(matches!(run.state.open["a"].phase, Phase::Ready { .. }));
            assert_eq!(run.when(succeed("a", 1)), [completed("a", 1), Event::ExecutionCompleted]);
        }
    }

    #[test]
    fn of_two_outcomes_of_one_attempt_the_first_counts() {
        let mut run = leased();
        let sleep_then_fail = [sleep("a", 1, 5), submit("a", 1, Outcome::Failed(failure("late")))];
        let (answers, events) = run.batch(&sleep_then_fail);
        assert_eq!(answers, [Ok(Answer::Applied), Ok(Answer::Unchanged)]);
        assert_eq!(events.len(), 1);
    }
}
