//! A person answers a step that asked for approval.

use super::{
    Setting, schedule, still_open,
    transition::{self, Ended},
};
use crate::workflow::{
    command::Answer,
    draft::Draft,
    event::{Event, Failure},
    fold::approval_rejected,
    id::StepName,
    payload::Payload,
    rejection::Rejection,
    state::{Phase, State},
};

/// A person's answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Given<'a> {
    pub(super) by: &'a str,
    pub(super) request: &'a str,
    pub(super) response: &'a Payload,
    /// Whether the step runs again with it.
    pub(super) again: bool,
}

pub(super) fn approve(
    draft: &mut Draft,
    setting: &Setting<'_>,
    step: Option<&StepName>,
    given: &Given<'_>,
) -> Result<Answer, Rejection> {
    let Some(step) = to_answer(draft, step, given.request)? else { return Ok(Answer::Unchanged) };
    let (by, request) = (given.by.to_owned(), given.request.to_owned());
    let response = given.response.clone();
    if given.again {
        let open = &draft.state().open[&step];
        let (iteration, attempt) = (open.iteration, open.last_attempt() + 1);
        draft.emit(Event::ApprovalAnswered { step: step.clone(), by, request, response });
        schedule(draft, setting, &step, iteration, attempt, 0);
    } else {
        let choice = transition::choose(draft, setting, &step, Ended::Given(&response));
        draft.emit(Event::ApprovalGranted { step, by, request, response });
        transition::go_on(draft, setting, &choice);
    }
    Ok(Answer::Applied)
}

pub(super) fn reject(
    draft: &mut Draft,
    setting: &Setting<'_>,
    step: Option<&StepName>,
    by: &str,
    request: &str,
    reason: &str,
) -> Result<Answer, Rejection> {
    let Some(step) = to_answer(draft, step, request)? else { return Ok(Answer::Unchanged) };
    let rejected = Event::ApprovalRejected {
        step: step.clone(),
        by: by.to_owned(),
        request: request.to_owned(),
        reason: reason.to_owned(),
    };
    not_given(draft, setting, &step, rejected, approval_rejected(by, reason));
    Ok(Answer::Applied)
}

/// The step fails because nobody approved, of which `event` says how; asking again is up to its rules.
pub(super) fn not_given(
    draft: &mut Draft,
    setting: &Setting<'_>,
    step: &StepName,
    event: Event,
    error: Failure,
) {
    let attempt = draft.state().open[step].attempt;
    let choice = transition::choose(draft, setting, step, Ended::Failed(&error));
    draft.emit(event);
    transition::go_on_failed(draft, setting, &choice, (attempt, error));
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::workflow::{
        Answer, Command, Event, Failure, LossReason, Payload, Rejection,
        given::{
            LEASE_MS, Run, again, approve, ask, begun_by, cancel, completed, fail, failure, lease,
            lost, reject, run, scheduled, sleep, succeed,
        },
    };

    /// `a` waits for an approval, `b` for `a`.
    fn waiting() -> Run {
        run(&[("a", &[]), ("b", &["a"])]).leased(&["a"]).given(ask("a", 1, None)).clone()
    }

    /// `b` and `c` wait for an approval each.
    fn two_waiting() -> Run {
        let mut run = run(&[("a", &[]), ("b", &["a"]), ("c", &["a"])]);
        run.leased(&["a"]).given(succeed("a", 1)).leased(&["b", "c"]);
        run.given(ask("b", 1, None)).given(ask("c", 1, None)).clone()
    }

    fn granted(step: &str, request: &str) -> Event {
        let (by, response) = ("ana".to_owned(), Payload::of(json!({"limit": 7})));
        Event::ApprovalGranted { step: step.into(), by, request: request.to_owned(), response }
    }

    fn rejected(step: &str, request: &str, reason: &str, message: &str) -> [Event; 2] {
        let error = Failure { kind: "approval_rejected".to_owned(), ..failure(message) };
        let (by, request, reason) = ("ana".to_owned(), request.to_owned(), reason.to_owned());
        [
            Event::ApprovalRejected { step: step.into(), by, request, reason },
            Event::ExecutionFailed { step: step.into(), error },
        ]
    }

    #[test]
    fn the_answer_is_the_steps_output_and_the_run_goes_on() {
        let mut run = waiting();
        assert_eq!(run.when(approve(None, "r1")), [granted("a", "r1"), scheduled("b")]);
        let output = run.state.output("a").expect("an output");
        assert_eq!(output.value, Some(json!({"limit": 7}).into()));
    }

    #[test]
    fn the_last_answer_completes_the_execution() {
        let mut run = run(&[("a", &[])]);
        run.leased(&["a"]).given(ask("a", 1, Some(10)));
        assert_eq!(
            run.when(approve(Some("a"), "r1")),
            [granted("a", "r1"), Event::ExecutionCompleted]
        );
        run.unchanged(approve(Some("a"), "r1"));
        run.unchanged(ask("a", 1, Some(10)));
    }

    #[test]
    fn a_repeated_request_changes_nothing_even_where_another_step_waits() {
        let mut run = two_waiting();
        run.given(approve(Some("b"), "r1"));
        run.unchanged(approve(Some("b"), "r1"));
        run.unchanged(approve(None, "r1"));
        run.unchanged(reject(None, "r1", ""));
        assert_eq!(run.when(approve(None, "r2")), [granted("c", "r2"), Event::ExecutionCompleted]);
        run.unchanged(approve(Some("b"), "r1"));
    }

    #[test]
    fn a_rejection_fails_the_step() {
        assert_eq!(
            waiting().when(reject(None, "r1", "too much")),
            rejected("a", "r1", "too much", "too much")
        );
        let mut run = waiting();
        assert_eq!(
            run.when(reject(Some("a"), "r1", "")),
            rejected("a", "r1", "", "rejected by ana")
        );
        run.unchanged(reject(Some("a"), "r1", ""));
        assert_eq!(run.refused(approve(None, "r2")), Rejection::Closed { status: "failed" });
    }

    #[test]
    fn of_two_answers_in_one_commit_the_first_counts() {
        let (answers, events) =
            waiting().batch(&[reject(None, "r1", ""), approve(None, "r2"), reject(None, "r1", "")]);
        let closed = Err(Rejection::Closed { status: "failed" });
        assert_eq!(answers, [Ok(Answer::Applied), closed, Ok(Answer::Unchanged)]);
        assert_eq!(events, rejected("a", "r1", "", "rejected by ana"));
    }

    #[test]
    fn where_several_steps_wait_one_must_be_named() {
        let mut run = two_waiting();
        let steps = "b, c".to_owned();
        assert_eq!(
            run.refused(approve(None, "r1")),
            Rejection::AmbiguousApproval { count: 2, steps }
        );
        assert_eq!(run.when(approve(Some("c"), "r1")), [granted("c", "r1")]);
        assert_eq!(run.when(approve(None, "r2")), [granted("b", "r2"), Event::ExecutionCompleted]);
    }

    #[test]
    fn a_step_that_does_not_wait_can_not_be_answered() {
        let mut run = run(&[("a", &[]), ("b", &["a"])]);
        let not_waiting = |step: &str| Rejection::NotWaiting { step: step.into() };
        assert_eq!(run.refused(approve(None, "r1")), Rejection::NothingToApprove, "ready");
        assert_eq!(run.refused(approve(Some("a"), "r1")), not_waiting("a"));
        assert_eq!(run.refused(approve(Some("x"), "r1")), not_waiting("x"));
        run.leased(&["a"]);
        assert_eq!(run.refused(reject(None, "r1", "")), Rejection::NothingToApprove, "leased");
        run.given(sleep("a", 1, 5));
        assert_eq!(run.refused(reject(Some("a"), "r1", "")), not_waiting("a"), "sleeps");
        run.at(5).given(Command::Wake);
        assert_eq!(run.refused(approve(Some("a"), "r1")), not_waiting("a"), "over");
    }

    #[test]
    fn a_cancelled_run_takes_no_answer() {
        let mut run = waiting();
        run.given(cancel("r1"));
        let closed = Rejection::Closed { status: "cancelled" };
        assert_eq!(run.refused(approve(None, "r2")), closed);
    }

    fn run_again(request: &str) -> Command {
        Command::Approve {
            step: None,
            by: "ana".to_owned(),
            request: request.to_owned(),
            response: Payload::of(json!({"limit": 7})),
            again: true,
        }
    }

    #[test]
    fn a_failure_that_was_kept_before_the_answer_does_not_count_after_it() {
        let mut run = run(&[("a", &[])]);
        run.given(lease("a", 1, "w1")).at(LEASE_MS).given(Command::Wake);
        run.at(LEASE_MS + 1_000).given(lease("a", 2, "w2")).given(fail("a", 1));
        run.given(ask("a", 2, None)).given(run_again("r1")).given(lease("a", 3, "w3"));
        run.at(2 * LEASE_MS + 1_000);
        assert_eq!(run.when(Command::Wake)[0], lost("a", 3, LossReason::LeaseEnded));
    }

    #[test]
    fn a_step_that_runs_again_gets_an_attempt_of_its_own_where_an_older_one_had_asked() {
        let mut run = run(&[("a", &[]), ("b", &["a"])]);
        run.given(lease("a", 1, "w1")).at(LEASE_MS).given(Command::Wake);
        run.at(LEASE_MS + 1_000).given(lease("a", 2, "w2")).given(ask("a", 1, None));
        assert_eq!(run.when(run_again("r1"))[1], again("a", 3, None), "`w2` has attempt 2");
        run.given(lease("a", 3, "w3"));
        run.unchanged(ask("a", 2, None));
        assert_eq!(run.when(succeed("a", 3)), [completed("a", 3), scheduled("b")]);
    }

    #[test]
    fn an_answer_that_comes_before_anyone_noticed_that_time_is_up_counts() {
        let mut run = run(&[("a", &[])]);
        run.leased(&["a"]).given(ask("a", 1, Some(10))).at(11);
        run.given(approve(None, "r1")).unchanged(Command::Wake);
    }

    #[test]
    fn a_state_remembers_a_thousand_requests() {
        let mut run = waiting();
        run.state.requests = (0..1_000).map(|n| format!("old{n}")).collect();
        run.given(approve(None, "r1"));
        assert_eq!(run.state.requests.len(), 1_000);
        assert_eq!(run.state.requests.front().map(String::as_str), Some("old1"));
        assert_eq!(run.when(lease("b", 1, "w1")), [begun_by("b", 1, "w1", 300_000)]);
    }
}
