//! Time has passed: do whatever is due. Idempotent; on a run with nothing due it decides nothing.

use super::{
    Setting, approve, failure, schedule,
    transition::{self, Ended},
};
use crate::workflow::{
    command::Answer,
    draft::Draft,
    event::{Event, Failure, LossReason},
    fold::approval_timed_out,
    id::StepName,
    retry,
    state::{OpenStep, Phase},
    time::Timestamp,
};

pub(super) fn decide(draft: &mut Draft, setting: &Setting<'_>) -> Answer {
    let before = draft.len();
    if !draft.state().is_closed() {
        end_of_execution(draft);
    }
    for (step, since) in due_steps(draft) {
        if draft.state().is_closed() {
            break;
        }
        // What came before may have led past the step, or back over it.
        let is_as_it_was =
            |open: &&OpenStep| (open.iteration, open.attempt) == since && is_due(open, draft.now());
        let open = draft.state().open.get(&step).filter(is_as_it_was).cloned();
        if let Some(open) = open {
            wake_step(draft, setting, &step, &open);
        }
    }
    if draft.len() == before { Answer::Unchanged } else { Answer::Applied }
}

fn end_of_execution(draft: &mut Draft) {
    let over = draft.state().deadline.filter(|deadline| deadline.due <= draft.now());
    if let Some(deadline) = over {
        draft.emit(Event::ExecutionTimedOut { timeout_ms: deadline.timeout_ms });
    }
}

/// The open steps whose time has come, with their iteration and attempt.
fn due_steps(draft: &Draft) -> Vec<(StepName, (u32, u32))> {
    let open = draft.state().open.iter().filter(|(_, open)| is_due(open, draft.now()));
    open.map(|(name, open)| (name.clone(), (open.iteration, open.attempt))).collect()
}

fn is_due(open: &OpenStep, now: Timestamp) -> bool {
    let is_past = |due: &Option<Timestamp>| due.is_some_and(|due| due <= now);
    match &open.phase {
        Phase::Leased { until, close_by, .. } => *until <= now || is_past(close_by),
        Phase::Sleeping { until, .. } => *until <= now,
        Phase::Approval { due, .. } => is_past(due),
        Phase::Ready { start_by, .. } => is_past(start_by),
    }
}

fn wake_step(draft: &mut Draft, setting: &Setting<'_>, step: &StepName, open: &OpenStep) {
    match &open.phase {
        Phase::Sleeping { data, .. } => {
            let choice = transition::choose(draft, setting, step, Ended::Stored(data));
            draft.emit(Event::SleepEnded { step: step.clone() });
            transition::go_on(draft, setting, &choice);
        }
        Phase::Approval { .. } => {
            let event = Event::ApprovalTimedOut { step: step.clone() };
            approve::not_given(draft, setting, step, event, approval_timed_out());
        }
        Phase::Leased { close_by, .. } if close_by.is_some_and(|due| due <= draft.now()) => {
            let error = too_late("start_to_close_timeout", "the attempt took longer than it may");
            failure::count(draft, setting, step, open.attempt, error);
        }
        Phase::Leased { .. } => end_lease(draft, setting, step, open),
        Phase::Ready { .. } => {
            let error = too_late("schedule_to_start_timeout", "no worker took the step in time");
            failure::finally(draft, setting, step, open.attempt, error);
        }
    }
}

fn too_late(kind: &str, message: &str) -> Failure {
    Failure { kind: kind.to_owned(), message: message.to_owned(), stacktrace: String::new() }
}

/// A lease ended without a result: a failure of an older attempt now counts; else the work is lost
/// and tried again, later each time.
fn end_lease(draft: &mut Draft, setting: &Setting<'_>, step: &StepName, open: &OpenStep) {
    if failure::count_kept(draft, setting, step) {
        return;
    }
    let reason = LossReason::LeaseEnded;
    draft.emit(Event::AttemptLost { step: step.clone(), attempt: open.attempt, reason });
    let delay_ms = retry::lost_work_delay_ms(open.losses, |bound| draft.jitter(bound));
    schedule(draft, setting, step, open.iteration, open.attempt + 1, delay_ms);
}

#[cfg(test)]
mod tests {
    use crate::workflow::{
        Command, Event, Failure, LossReason, Rejection, Status,
        given::{
            LEASE_MS, NO_JITTER, Run, again, approve, ask, failure, lease, lost, run, run_for,
            scheduled, sleep, succeed,
        },
    };

    fn leased() -> Run {
        run(&[("a", &[])]).leased(&["a"]).clone()
    }

    #[test]
    fn with_nothing_due_it_decides_nothing() {
        let mut run = run_for(&[("a", &[])], 10 * LEASE_MS);
        run.at(LEASE_MS).unchanged(Command::Wake);
        run.leased(&["a"]).at(2 * LEASE_MS - 1).unchanged(Command::Wake);
        run.given(ask("a", 1, None)).at(9 * LEASE_MS).unchanged(Command::Wake);
    }

    #[test]
    fn a_lease_that_ended_is_lost_and_tried_again_a_second_later() {
        let mut run = leased();
        run.at(LEASE_MS);
        assert_eq!(
            run.when(Command::Wake),
            [lost("a", 1, LossReason::LeaseEnded), again("a", 2, Some(LEASE_MS + 1_000))]
        );
        run.unchanged(Command::Wake);
        run.at(10 * LEASE_MS).unchanged(Command::Wake);
    }

    #[test]
    fn each_loss_in_a_row_doubles_the_wait_and_jitter_shortens_it() {
        let mut run = leased();
        let mut now = 0;
        for (attempt, wait) in
            (1..).zip([1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000])
        {
            now += LEASE_MS;
            run.random = NO_JITTER;
            let events = run.clone().at(now).when(Command::Wake);
            let scheduled = again("a", attempt + 1, Some(now + wait));
            assert_eq!(events, [lost("a", attempt, LossReason::LeaseEnded), scheduled]);
            // Whatever the random number is, at most a fifth goes off.
            run.random = NO_JITTER ^ (wait / 5);
            let jittered = run.clone().at(now).when(Command::Wake);
            assert_eq!(jittered[1], again("a", attempt + 1, Some(now + wait - wait / 5)));
            run.at(now).given(Command::Wake);
            now += wait;
            run.at(now).given(lease("a", attempt + 1, "w1"));
        }
    }

    #[test]
    fn everything_that_is_due_happens_in_one_commit() {
        let mut run = run(&[("a", &[]), ("b", &["a"]), ("c", &["a"]), ("d", &["c"])]);
        run.leased(&["a"]).given(succeed("a", 1)).leased(&["b", "c"]);
        run.given(sleep("c", 1, 5)).at(LEASE_MS);
        let [gone, next, ended, ready] = &run.when(Command::Wake)[..] else { panic!("4 events") };
        assert_eq!(gone, &lost("b", 1, LossReason::LeaseEnded));
        assert_eq!(next, &again("b", 2, Some(LEASE_MS + 1_000)));
        assert_eq!(ended, &Event::SleepEnded { step: "c".into() });
        assert_eq!(ready, &scheduled("d"));
    }

    #[test]
    fn an_approval_that_nobody_gave_in_time_fails() {
        let mut run = leased();
        run.given(ask("a", 1, Some(70))).at(69).unchanged(Command::Wake);
        let error = Failure {
            kind: "approval_timeout".to_owned(),
            ..failure("nobody answered the approval in time")
        };
        run.at(70);
        assert_eq!(
            run.when(Command::Wake),
            [
                Event::ApprovalTimedOut { step: "a".into() },
                Event::ExecutionFailed { step: "a".into(), error },
            ]
        );
        run.unchanged(Command::Wake);
        run.unchanged(ask("a", 1, Some(70)));
        assert_eq!(run.refused(approve(None, "r1")), Rejection::Closed { status: "failed" });
    }

    #[test]
    fn after_a_failure_in_the_same_wake_nothing_follows() {
        let mut run = run(&[("a", &[]), ("b", &["a"]), ("c", &["a"])]);
        run.leased(&["a"]).given(succeed("a", 1)).leased(&["b", "c"]);
        run.given(ask("b", 1, Some(70))).given(sleep("c", 1, 70)).at(70);
        assert_eq!(run.when(Command::Wake).len(), 2);
        assert!(matches!(&run.state.status, Status::Failed { step, .. } if &**step == "b"));
    }

    #[test]
    fn an_execution_whose_time_is_over_is_closed_whatever_it_does() {
        for leased in [false, true] {
            let mut run = run_for(&[("a", &[]), ("b", &["a"])], 50);
            if leased {
                run.leased(&["a"]);
            }
            run.at(49).unchanged(Command::Wake);
            run.at(50);
            let over = Event::ExecutionTimedOut { timeout_ms: 50 };
            assert_eq!(run.when(Command::Wake), [over]);
            run.unchanged(Command::Wake);
            assert_eq!(run.refused(succeed("a", 1)), Rejection::Closed { status: "timed out" });
        }
    }
}
