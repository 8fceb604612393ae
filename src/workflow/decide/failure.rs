//! A failure of a step that counts: the step is tried again, a rule catches it, or the execution fails.

use super::{
    Setting, schedule,
    transition::{self, Ended},
};
use crate::workflow::{
    draft::Draft,
    event::{Event, Failure},
    id::StepName,
    retry,
};

/// The failure `error` of `attempt` counts.
pub(super) fn count(
    draft: &mut Draft,
    setting: &Setting<'_>,
    step: &StepName,
    attempt: u32,
    error: Failure,
) {
    let Some(open) = draft.state().open.get(step) else { return };
    let (iteration, next, failures) = (open.iteration, open.attempt + 1, open.failures);
    let policy = setting.blueprint.step(step).and_then(|(_, step)| step.retry.as_ref());
    let delay_ms = policy.and_then(|policy| {
        retry::failed_delay_ms(policy, failures, &error, |bound| draft.jitter(bound))
    });
    let step = step.clone();
    if let Some(delay_ms) = delay_ms {
        draft.emit(Event::StepRetried { step: step.clone(), iteration, attempt, error });
        schedule(draft, setting, &step, iteration, next, delay_ms);
        return;
    }
    finally(draft, setting, &step, attempt, error);
}

/// The failure `error` of `attempt` is for good, whatever the step's retry policy says.
pub(super) fn finally(
    draft: &mut Draft,
    setting: &Setting<'_>,
    step: &StepName,
    attempt: u32,
    error: Failure,
) {
    let choice = transition::choose(draft, setting, step, Ended::Failed(&error));
    let iteration = draft.state().iteration(step);
    let failed = step.clone();
    draft.emit(Event::StepFailed { step: failed, iteration, attempt, error: error.clone() });
    transition::go_on_failed(draft, setting, &choice, (attempt, error));
}

/// The lease of `step` ended without a result: a failure of an older attempt that was kept counts
/// now. Whether there was one.
pub(super) fn count_kept(draft: &mut Draft, setting: &Setting<'_>, step: &StepName) -> bool {
    let kept = draft.state().open.get(step).and_then(|open| open.failure.clone());
    let Some((attempt, error)) = kept else { return false };
    count(draft, setting, step, attempt, error);
    true
}
