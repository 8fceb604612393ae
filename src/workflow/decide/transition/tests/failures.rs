//! Failures that a rule catches, and those that none does.

use super::*;

const LINE: &[(&str, &[&str])] = &[("a", &[]), ("b", &["a"]), ("c", &["b"])];

fn caught(step: &str) -> [Event; 2] {
    let error = failure("boom");
    let output = Payload::of(json!({"error": "boom", "kind": "Boom"}));
    [
        Event::StepFailed { step: step.into(), iteration: 1, attempt: 1, error },
        Event::FailureCaught { step: step.into(), iteration: 1, attempt: 1, output },
    ]
}

#[test]
fn a_rule_catches_a_failure_and_its_target_gets_the_envelope() {
    let mut run = run(LINE, &[diverge("a", &[("error", "c")])]);
    let [failed, caught] = caught("a");
    assert_eq!(
        run.breaks("a"),
        [failed, caught, taken(Diverge, "a", "error", "c", &["b"]), scheduled("c")]
    );
    let output = run.state.output("a").and_then(|stored| stored.value);
    assert_eq!(output, Some(json!({"error": "boom", "kind": "Boom"}).into()));
    assert_eq!(run.state.caught["a"], failure("boom"));
}

#[test]
fn a_failure_that_no_rule_catches_fails_the_execution() {
    let mut run = run(LINE, &[diverge("a", &[("premium", "c")]), branch("a", &[("else", "b")])]);
    assert_eq!(run.breaks("a"), given::failed("a", 1, failure("boom")));
}

#[test]
fn a_handler_in_the_timeline_is_left_out_when_nothing_failed() {
    let steps: &[(&str, &[&str])] =
        &[("a", &[]), ("b", &["a"]), ("sorry", &["a"]), ("end", &["b"])];
    let mut run = run(steps, &[diverge("a", &[("error", "sorry")])]);
    run.gives("a", json!(1));
    run.gives("b", json!(1));
    assert_eq!((run.open(), run.skipped()), (vec!["end"], vec!["sorry"]));
}

#[test]
fn a_rejected_and_an_unanswered_approval_are_caught_like_any_failure() {
    for unanswered in [false, true] {
        let mut run = run(LINE, &[diverge("a", &[("error", "c")])]);
        run.leased(&["a"]).given(ask("a", 1, Some(50))).at(50);
        let command = if unanswered { Command::Wake } else { reject(None, "r1", "no") };
        let events = run.when(command);
        let kinds: Vec<&str> = events.iter().map(Event::kind).collect();
        let first = if unanswered { "approval_timed_out" } else { "approval_rejected" };
        assert_eq!(kinds, [first, "failure_caught", "transition_taken", "step_scheduled"]);
    }
}

#[test]
fn an_approvals_answer_and_a_sleeps_data_are_routed_on_like_any_output() {
    let line: &[(&str, &[&str])] = &[("a", &[]), ("b", &["a"]), ("c", &[])];
    let mut answered = run(line, &[diverge("a", &[("_", "c")])]);
    answered.leased(&["a"]).given(ask("a", 1, None));
    assert_eq!(answered.when(approve(None, "r1")).len(), 3);
    assert_eq!(answered.open(), ["c"]);
    let mut slept = run(line, &[diverge("a", &[("a/1", "c")])]);
    slept.leased(&["a"]).given(sleep("a", 1, 5)).at(5);
    slept.given(Command::Wake);
    assert_eq!(slept.open(), ["c"]);
}

#[test]
fn a_condition_that_can_not_be_evaluated_counts_as_false_and_is_told() {
    let steps: &[(&str, &[&str])] = &[("a", &[]), ("b", &["a"]), ("c", &["b"])];
    let mut run = run(steps, &[branch("a", &[("missing > 3", "c")])]);
    let events = run.gives("a", json!({"n": 1}));
    let [_, Event::ConditionNotEvaluated { step, when, reason, .. }, next] = &events[..] else {
        panic!("{events:?}")
    };
    assert_eq!((&**step, when.as_str()), ("a", "missing > 3"));
    assert!(reason.contains("missing"), "{reason}");
    assert_eq!(next, &scheduled("b"));
}
