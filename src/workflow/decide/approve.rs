//! A person answers a step that asked for approval.

use super::{advance, still_open};
use crate::workflow::{
    blueprint::Blueprint,
    command::Answer,
    draft::Draft,
    event::Event,
    fold::approval_rejected,
    id::StepName,
    payload::Payload,
    rejection::Rejection,
    state::{Phase, State},
};

pub(super) fn approve(
    draft: &mut Draft,
    blueprint: &Blueprint,
    step: Option<&StepName>,
    by: &str,
    request: &str,
    response: &Payload,
) -> Result<Answer, Rejection> {
    let Some(step) = to_answer(draft, step, request)? else { return Ok(Answer::Unchanged) };
    draft.emit(Event::ApprovalGranted {
        step: step.clone(),
        by: by.to_owned(),
        request: request.to_owned(),
        response: response.clone(),
    });
    advance::after_completion(draft, blueprint, &step);
    Ok(Answer::Applied)
}

pub(super) fn reject(
    draft: &mut Draft,
    step: Option<&StepName>,
    by: &str,
    request: &str,
    reason: &str,
) -> Result<Answer, Rejection> {
    let Some(step) = to_answer(draft, step, request)? else { return Ok(Answer::Unchanged) };
    draft.emit(Event::ApprovalRejected {
        step: step.clone(),
        by: by.to_owned(),
        request: request.to_owned(),
        reason: reason.to_owned(),
    });
    advance::fail(draft, &step, approval_rejected(by, reason));
    Ok(Answer::Applied)
}

/// The step that the answer is for; none when the request was applied before.
fn to_answer(
    draft: &Draft,
    step: Option<&StepName>,
    request: &str,
) -> Result<Option<StepName>, Rejection> {
    if draft.state().requests.iter().any(|applied| applied == request) {
        return Ok(None);
    }
    still_open(draft)?;
    let waiting = waiting(draft.state());
    match (step, waiting.as_slice()) {
        (Some(step), waiting) if waiting.contains(&step) => Ok(Some(step.clone())),
        (Some(step), _) => Err(Rejection::NotWaiting { step: step.clone() }),
        (None, [only]) => Ok(Some((*only).clone())),
        (None, []) => Err(Rejection::NothingToApprove),
        (None, several) => {
            let steps = several.iter().map(|step| &***step).collect::<Vec<_>>().join(", ");
            Err(Rejection::AmbiguousApproval { count: several.len(), steps })
        }
    }
}

fn waiting(state: &State) -> Vec<&StepName> {
    let waits = |phase: &Phase| match phase {
        Phase::Approval { .. } => true,
        Phase::Ready { .. } | Phase::Leased { .. } | Phase::Sleeping { .. } => false,
    };
    state.open.iter().filter(|(_, open)| waits(&open.phase)).map(|(step, _)| step).collect()
}
