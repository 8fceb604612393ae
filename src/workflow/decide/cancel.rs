//! Somebody ends the execution.

use super::still_open;
use crate::workflow::{
    command::Answer, draft::Draft, event::Event, rejection::Rejection, state::Status,
};

pub(super) fn decide(
    draft: &mut Draft,
    by: &str,
    request: &str,
    reason: &str,
) -> Result<Answer, Rejection> {
    let cancelled_by = match &draft.state().status {
        Status::Cancelled { request, .. } => Some(request.as_str()),
        Status::Running | Status::Completed | Status::Failed { .. } | Status::TimedOut { .. } => {
            None
        }
    };
    if cancelled_by == Some(request) {
        return Ok(Answer::Unchanged);
    }
    still_open(draft)?;
    draft.emit(Event::ExecutionCancelled {
        by: by.to_owned(),
        request: request.to_owned(),
        reason: reason.to_owned(),
    });
    Ok(Answer::Applied)
}
