//! A worker is to have a step to itself for a while.

use super::{Policy, still_open};
use crate::workflow::{
    blueprint::Blueprint,
    command::Answer,
    draft::Draft,
    event::{Event, LossReason},
    id::Task,
    rejection::Rejection,
    state::Phase,
};

/// Leases the ready attempt; or, where a reservation was not fetched, the attempt after it.
pub(super) fn decide(
    draft: &mut Draft,
    blueprint: &Blueprint,
    policy: &Policy,
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
            if open.attempt != attempt || !is_due {
                return Err(not_ready());
            }
            false
        }
        Phase::Leased { .. } if attempt == open.attempt + 1 => true,
        Phase::Leased { worker: holder, until } if attempt == open.attempt && holder == worker => {
            return Ok(Answer::Leased { until: *until });
        }
        Phase::Leased { .. } | Phase::Sleeping { .. } | Phase::Approval { .. } => {
            return Err(not_ready());
        }
    };
    if is_unfetched {
        let reason = LossReason::NotFetched;
        draft.emit(Event::AttemptLost { step: step.clone(), attempt: attempt - 1, reason });
    }
    let lease_until = lease_end(draft, blueprint, policy, task);
    let worker = worker.to_owned();
    draft.emit(Event::StepStarted { step, iteration, attempt, worker, lease_until, partial });
    Ok(Answer::Leased { until: lease_until })
}

/// When a lease of `task` that begins now ends.
pub(super) fn lease_end(
    draft: &Draft,
    blueprint: &Blueprint,
    policy: &Policy,
    task: &Task,
) -> crate::workflow::Timestamp {
    let own = blueprint.step(&task.step).and_then(|(_, step)| step.lease_ms);
    draft.now().after_millis(own.unwrap_or_else(|| policy.lease_ms()))
}
