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

#[cfg(test)]
mod tests {
    use crate::workflow::{
        Command, Event, Rejection, Status,
        given::{ask, cancel, fail, run, succeed},
    };

    fn cancelled(request: &str) -> Event {
        let (by, reason) = ("ana".to_owned(), "no stock".to_owned());
        Event::ExecutionCancelled { by, request: request.to_owned(), reason }
    }

    #[test]
    fn a_run_is_cancelled_whatever_it_does() {
        let mut leased = run(&[("a", &[]), ("b", &["a"])]);
        leased.leased(&["a"]);
        let mut waiting = leased.clone();
        waiting.given(ask("a", 1, Some(5)));
        for mut run in [run(&[("a", &[])]), leased, waiting] {
            assert_eq!(run.when(cancel("r1")), [cancelled("r1")]);
            assert_eq!(run.state.closed, Some(run.now()));
        }
    }

    #[test]
    fn the_same_request_again_changes_nothing_and_another_is_refused() {
        let mut run = run(&[("a", &[])]);
        run.given(cancel("r1"));
        run.unchanged(cancel("r1"));
        assert_eq!(run.refused(cancel("r2")), Rejection::Closed { status: "cancelled" });
        assert!(matches!(run.state.status, Status::Cancelled { request, .. } if request == "r1"));
    }

    #[test]
    fn a_run_that_ended_otherwise_can_not_be_cancelled() {
        for end in [succeed("a", 1), fail("a", 1)] {
            let mut run = run(&[("a", &[])]);
            run.leased(&["a"]).given(end);
            let status = run.state.status.word();
            assert_eq!(run.refused(cancel("r1")), Rejection::Closed { status });
        }
    }

    #[test]
    fn what_arrives_in_the_same_commit_after_it_is_refused() {
        let mut run = run(&[("a", &[])]);
        run.leased(&["a"]);
        let (answers, events) =
            run.batch(&[cancel("r1"), succeed("a", 1), cancel("r1"), Command::Wake]);
        assert_eq!(events, [cancelled("r1")]);
        assert!(answers[1].is_err() && answers[2].is_ok() && answers[3].is_ok(), "{answers:?}");
    }
}
