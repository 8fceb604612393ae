//! What the end of a step leads to: the steps that became ready, or the end of the execution.

use crate::workflow::{
    blueprint::Blueprint,
    draft::Draft,
    event::{Event, Failure},
    id::StepName,
};

/// Schedules the steps that wait for nothing.
pub(super) fn schedule_first(draft: &mut Draft, blueprint: &Blueprint) {
    for place in blueprint.plan().first() {
        schedule(draft, blueprint, place);
    }
}

/// Goes on after `step` completed: schedules what it was the last to hold up, or completes the
/// execution when it was the last of all.
pub(super) fn after_completion(draft: &mut Draft, blueprint: &Blueprint, step: &StepName) {
    let Some((place, _)) = blueprint.step(step) else { return };
    for &next in blueprint.plan().awaited_by(place) {
        let waits_for = blueprint.plan().waits_for(next);
        let state = draft.state();
        let is_done = |&before: &usize| state.done.contains_key(&blueprint.steps()[before].name);
        if waits_for.iter().all(is_done) {
            schedule(draft, blueprint, next);
        }
    }
    if draft.state().done.len() == blueprint.steps().len() {
        draft.emit(Event::ExecutionCompleted);
    }
}

/// Ends the execution because `step` failed for good.
pub(super) fn fail(draft: &mut Draft, step: &StepName, error: Failure) {
    draft.emit(Event::ExecutionFailed { step: step.clone(), error });
}

/// The lease of `step` ended without a result: a failure of an older attempt that was kept counts
/// now. Whether there was one.
pub(super) fn count_kept_failure(draft: &mut Draft, step: &StepName) -> bool {
    let Some(open) = draft.state().open.get(step) else { return false };
    let Some((attempt, error)) = open.failure.clone() else { return false };
    let iteration = open.iteration;
    let failed = step.clone();
    draft.emit(Event::StepFailed { step: failed, iteration, attempt, error: error.clone() });
    fail(draft, step, error);
    true
}

fn schedule(draft: &mut Draft, blueprint: &Blueprint, place: usize) {
    let step = blueprint.steps()[place].name.clone();
    draft.emit(Event::StepScheduled { step, iteration: 1, attempt: 1, not_before: None });
}
