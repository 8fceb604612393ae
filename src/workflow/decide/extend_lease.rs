//! A worker shows that it still works on an attempt.

use super::{Policy, lease_step::lease_end, still_open};
use crate::workflow::{
    blueprint::Blueprint, command::Answer, draft::Draft, event::Event, id::Task,
    rejection::Rejection, state::Phase,
};

/// Extends the lease when under half of it is left, so that a heartbeat rarely costs a commit.
pub(super) fn decide(
    draft: &mut Draft,
    blueprint: &Blueprint,
    policy: &Policy,
    task: &Task,
    worker: &str,
) -> Result<Answer, Rejection> {
    still_open(draft)?;
    let Task { step, iteration, attempt } = task.clone();
    let no_lease = || Rejection::NoLease { step: step.clone(), worker: worker.to_owned() };
    let open = draft.state().open.get(&step).ok_or_else(no_lease)?;
    let until = match &open.phase {
        Phase::Leased { worker: holder, until }
            if holder == worker && open.iteration == iteration && open.attempt == attempt =>
        {
            *until
        }
        Phase::Leased { .. }
        | Phase::Ready { .. }
        | Phase::Sleeping { .. }
        | Phase::Approval { .. } => return Err(no_lease()),
    };
    let lease_until = lease_end(draft, blueprint, policy, task);
    let (left, whole) = (until.since(draft.now()), lease_until.since(draft.now()));
    if left > whole / 2 {
        return Ok(Answer::Unchanged);
    }
    draft.emit(Event::LeaseExtended { step, attempt, lease_until });
    Ok(Answer::Leased { until: lease_until })
}
