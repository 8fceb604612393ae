//! Time has passed: do whatever is due. Idempotent; on a run with nothing due it decides nothing.

use super::advance;
use crate::workflow::{
    blueprint::Blueprint,
    command::Answer,
    draft::Draft,
    event::{Event, LossReason},
    fold::approval_timed_out,
    id::StepName,
    retry,
    state::{OpenStep, Phase},
};

pub(super) fn decide(draft: &mut Draft, blueprint: &Blueprint) -> Answer {
    let before = draft.len();
    if !draft.state().is_closed() {
        end_of_execution(draft);
    }
    for step in due_steps(draft) {
        if draft.state().is_closed() {
            break;
        }
        wake_step(draft, blueprint, &step);
    }
    if draft.len() == before { Answer::Unchanged } else { Answer::Applied }
}

fn end_of_execution(draft: &mut Draft) {
    let over = draft.state().deadline.filter(|deadline| deadline.due <= draft.now());
    if let Some(deadline) = over {
        draft.emit(Event::ExecutionTimedOut { timeout_ms: deadline.timeout_ms });
    }
}

/// The open steps whose time has come.
fn due_steps(draft: &Draft) -> Vec<StepName> {
    let now = draft.now();
    let is_due = |step: &OpenStep| match &step.phase {
        Phase::Leased { until, .. } | Phase::Sleeping { until, .. } => *until <= now,
        Phase::Approval { due, .. } => due.is_some_and(|due| due <= now),
        Phase::Ready { .. } => false,
    };
    let open = draft.state().open.iter();
    open.filter(|(_, step)| is_due(step)).map(|(name, _)| name.clone()).collect()
}

fn wake_step(draft: &mut Draft, blueprint: &Blueprint, step: &StepName) {
    let Some(open) = draft.state().open.get(step).cloned() else { return };
    match &open.phase {
        Phase::Sleeping { .. } => {
            draft.emit(Event::SleepEnded { step: step.clone() });
            advance::after_completion(draft, blueprint, step);
        }
        Phase::Approval { .. } => {
            draft.emit(Event::ApprovalTimedOut { step: step.clone() });
            advance::fail(draft, step, approval_timed_out());
        }
        Phase::Leased { .. } => end_lease(draft, step, &open),
        Phase::Ready { .. } => {}
    }
}

/// A lease ended without a result: a failure of an older attempt now counts; else the work is lost
/// and tried again, later each time.
fn end_lease(draft: &mut Draft, step: &StepName, open: &OpenStep) {
    let (step, iteration) = (step.clone(), open.iteration);
    if let Some((attempt, error)) = open.failure.clone() {
        let failed = step.clone();
        draft.emit(Event::StepFailed { step, iteration, attempt, error: error.clone() });
        advance::fail(draft, &failed, error);
        return;
    }
    let reason = LossReason::LeaseEnded;
    draft.emit(Event::AttemptLost { step: step.clone(), attempt: open.attempt, reason });
    let delay_ms = retry::lost_work_delay_ms(open.losses, |bound| draft.jitter(bound));
    let not_before = Some(draft.now().after_millis(delay_ms));
    draft.emit(Event::StepScheduled { step, iteration, attempt: open.attempt + 1, not_before });
}
