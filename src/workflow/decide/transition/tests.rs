//! Transcripts of ways through a graph: given these rules, when a step ends so, exactly these events.

use serde_json::json;

use crate::workflow::{
    Command, Event, Outcome, Payload, Policy, Rejection, Rule, RuleKind, Status, StepName, Task,
    given::{
        self, Run, approve, ask, begun, completed, diverge, failure, output, reject, ruled,
        scheduled, sleep, submit, succeed,
    },
};

fn run(steps: &[(&str, &[&str])], rules: &[Rule]) -> Run {
    begun(ruled(steps, rules), None).0
}

/// Where `from` leads by the words that it gives.
fn branch(from: &str, arms: &[(&str, &str)]) -> Rule {
    let arms: Vec<(String, &str)> = arms.iter().map(|(word, to)| (is(word), *to)).collect();
    let arms: Vec<(&str, &str)> = arms.iter().map(|(when, to)| (when.as_str(), *to)).collect();
    given::branch(from, &arms)
}

/// The condition that a step gave `word`.
fn is(word: &str) -> String {
    let is_condition = word == "else" || word.contains(' ');
    if is_condition { word.to_owned() } else { format!("result == '{word}'") }
}

fn as_written(rule: RuleKind, when: &str) -> String {
    match rule {
        Diverge => when.to_owned(),
        Branch => is(when),
    }
}

/// `from` went to `to` because `when` held.
fn taken(rule: RuleKind, from: &str, when: &str, to: &str, skipped: &[&str]) -> Event {
    Event::TransitionTaken {
        step: from.into(),
        iteration: 1,
        rule,
        when: as_written(rule, when),
        to: to.into(),
        skipped: names(skipped),
        cleared: vec![],
        taken_up: vec![],
    }
}

fn back(
    rule: RuleKind,
    from: &str,
    iteration: u32,
    when: &str,
    to: &str,
    cleared: &[&str],
) -> Event {
    Event::TransitionTaken {
        step: from.into(),
        iteration,
        rule,
        when: as_written(rule, when),
        to: to.into(),
        skipped: vec![],
        cleared: names(cleared),
        taken_up: vec![],
    }
}

fn names(steps: &[&str]) -> Vec<StepName> {
    steps.iter().map(|&step| step.into()).collect()
}

fn left_out(steps: &[&str]) -> Event {
    Event::StepsSkipped { steps: names(steps) }
}

fn gave(step: &str, value: serde_json::Value) -> Event {
    let result = Payload::of(value);
    Event::StepCompleted { step: step.into(), iteration: 1, attempt: 1, result }
}

fn in_iteration(step: &str, iteration: u32) -> Event {
    Event::StepScheduled {
        step: step.into(),
        iteration,
        attempt: 1,
        not_before: None,
        start_by: None,
    }
}

use RuleKind::{Branch, Diverge};

mod forward {
    use super::*;

    /// `a`, then `b` or straight to `c`, then `d`.
    const LINE: &[(&str, &[&str])] = &[("a", &[]), ("b", &["a"]), ("c", &["b"]), ("d", &["c"])];

    #[test]
    fn what_lies_between_is_skipped_and_the_target_goes_on() {
        let mut run = run(LINE, &[diverge("a", &[("premium", "c")])]);
        assert_eq!(
            run.gives("a", json!({"ok": "premium"})),
            [
                gave("a", json!({"ok": "premium"})),
                taken(Diverge, "a", "premium", "c", &["b"]),
                scheduled("c"),
            ]
        );
        run.leased(&["c"]);
        assert_eq!(run.when(succeed("c", 1)), [completed("c", 1), scheduled("d")]);
        run.leased(&["d"]);
        assert_eq!(run.when(succeed("d", 1)), [completed("d", 1), Event::ExecutionCompleted]);
    }

    #[test]
    fn a_target_on_the_way_runs_also_when_nothing_holds() {
        let mut run = run(LINE, &[diverge("a", &[("premium", "c")])]);
        assert_eq!(
            run.gives("a", json!({"ok": "basic"})),
            [gave("a", json!({"ok": "basic"})), scheduled("b")]
        );
        run.leased(&["b"]);
        assert_eq!(
            run.when(succeed("b", 1)),
            [completed("b", 1), scheduled("c")],
            "it takes what `b` gave, which ran after the choice"
        );
    }

    #[test]
    fn dependants_of_a_skipped_step_do_not_wait_for_it() {
        let steps: &[(&str, &[&str])] =
            &[("a", &[]), ("b", &["a"]), ("c", &["a"]), ("d", &["b", "c"]), ("e", &["b"])];
        let mut run = run(steps, &[branch("a", &[("skip", "c")])]);
        run.gives("a", json!("skip"));
        assert_eq!((run.open(), run.skipped()), (vec!["c", "e"], vec!["b"]));
        run.gives("c", json!(1));
        assert_eq!(run.open(), ["d", "e"], "`d` runs without what `b` would have given");
    }

    #[test]
    fn alternatives_that_are_not_chosen_are_skipped() {
        let steps: &[(&str, &[&str])] =
            &[("score", &[]), ("low", &[]), ("high", &[]), ("done", &["high"])];
        let rules = [branch("score", &[("big", "high"), ("small", "low")])];
        let mut low = run(steps, &rules);
        assert_eq!(
            low.gives("score", json!("small")),
            [
                gave("score", json!("small")),
                taken(Branch, "score", "small", "low", &[]),
                scheduled("low")
            ]
        );
        low.leased(&["low"]);
        assert_eq!(
            low.when(succeed("low", 1)),
            [completed("low", 1), left_out(&["high"]), scheduled("done")]
        );
        let mut high = run(steps, &rules);
        assert_eq!(
            high.gives("score", json!("big")),
            [
                gave("score", json!("big")),
                taken(Branch, "score", "big", "high", &["low"]),
                scheduled("high")
            ]
        );
        let mut neither = run(steps, &rules);
        assert_eq!(
            neither.gives("score", json!("odd")),
            [
                gave("score", json!("odd")),
                left_out(&["low"]),
                left_out(&["high"]),
                scheduled("done")
            ]
        );
    }

    #[test]
    fn a_lone_condition_forward_is_a_short_cut_and_its_target_stays_on_the_way() {
        let steps: &[(&str, &[&str])] = &[("score", &[]), ("review", &["score"]), ("ship", &[])];
        let rules = [branch("score", &[("high", "ship")])];
        let mut slow = run(steps, &rules);
        slow.gives("score", json!("low"));
        assert_eq!(slow.open(), ["review"]);
        slow.gives("review", json!(1));
        assert_eq!(slow.open(), ["ship"]);
        let mut quick = run(steps, &rules);
        quick.gives("score", json!("high"));
        assert_eq!((quick.open(), quick.skipped()), (vec!["ship"], vec!["review"]));
    }

    #[test]
    fn a_jump_ends_the_way_of_one_alternative_and_its_target_is_on_the_way_of_all() {
        let steps: &[(&str, &[&str])] = &[
            ("score", &[]),
            ("low", &[]),
            ("low2", &[]),
            ("high", &[]),
            ("high2", &[]),
            ("tell", &[]),
        ];
        let rules =
            [branch("score", &[("x", "low"), ("y", "high")]), diverge("low2", &[("_", "tell")])];
        let ways = [("x", vec!["low", "low2", "tell"]), ("y", vec!["high", "high2", "tell"])];
        for (word, way) in ways {
            let mut run = run(steps, &rules);
            run.gives("score", json!(word));
            for step in way {
                assert_eq!(run.open(), [step], "the way of {word}");
                run.gives(step, json!(1));
            }
            assert!(run.state.is_closed());
        }
    }

    #[test]
    fn else_holds_when_nothing_before_it_does() {
        let steps: &[(&str, &[&str])] = &[("a", &[]), ("b", &[]), ("c", &[]), ("d", &[])];
        let mut run = run(steps, &[branch("a", &[("x", "b"), ("else", "c")])]);
        run.gives("a", json!("y"));
        assert_eq!((run.open(), run.skipped()), (vec!["c"], vec!["b"]));
        run.gives("c", json!(1));
        assert_eq!(run.open(), ["d"]);
    }

    #[test]
    fn the_first_arm_that_holds_wins_and_diverge_is_looked_at_before_branch() {
        let steps: &[(&str, &[&str])] = &[("a", &[]), ("b", &[]), ("c", &[]), ("d", &[])];
        let rules = [branch("a", &[("x", "b")]), diverge("a", &[("x", "c"), ("x", "d")])];
        let mut run = run(steps, &rules);
        assert_eq!(
            run.gives("a", json!("x")),
            [gave("a", json!("x")), taken(Diverge, "a", "x", "c", &["b"]), scheduled("c")]
        );
    }

    #[test]
    fn the_end_ends_whatever_is_under_way() {
        let steps: &[(&str, &[&str])] = &[("a", &[]), ("b", &["a"]), ("c", &["a"]), ("d", &["c"])];
        let mut run = run(steps, &[diverge("c", &[("error", "END")])]);
        run.gives("a", json!(1));
        run.take("b");
        let events = run.breaks("c");
        assert_eq!(
            events[2..],
            [taken(Diverge, "c", "error", "END", &["d"]), Event::ExecutionCompleted]
        );
        assert_eq!(run.refused(succeed("b", 1)), Rejection::Closed { status: "completed" });
    }

    #[test]
    fn a_step_that_routes_on_its_output_holds_up_what_it_may_jump_over() {
        // `charge` only takes what `check` gave, and must not run beside `fraud`.
        let steps: &[(&str, &[&str])] = &[
            ("check", &[]),
            ("fraud", &["check"]),
            ("charge", &["check"]),
            ("reject", &["fraud"]),
        ];
        let mut run = run(steps, &[diverge("fraud", &[("yes", "reject")])]);
        run.gives("check", json!(1));
        assert_eq!(run.open(), ["fraud"]);
        run.gives("fraud", json!("yes"));
        assert_eq!((run.open(), run.skipped()), (vec!["reject"], vec!["charge"]));
    }

    #[test]
    fn steps_that_only_catch_failures_run_beside_each_other() {
        let steps: &[(&str, &[&str])] =
            &[("a", &[]), ("b", &["a"]), ("c", &["a"]), ("join", &["b", "c"])];
        let rules = [diverge("b", &[("error", "mend")]), diverge("c", &[("error", "mend")])];
        let mut run = run(steps, &rules);
        run.gives("a", json!(1));
        assert_eq!(run.open(), ["b", "c"]);
        run.breaks("b");
        assert_eq!((run.open(), run.skipped()), (vec!["c"], vec!["join"]), "`mend` waits for `c`");
        run.gives("c", json!(2));
        assert_eq!(run.open(), ["mend"]);
        assert_eq!(run.gives("mend", json!(3)).last(), Some(&Event::ExecutionCompleted));
    }
}

/// With rules that lead past or leave out thousands of steps, each is looked at once: these tests took
/// minutes when each step that waits walked back over all that was skipped.
mod large {
    use super::*;

    fn goes_on(steps: &[String], depends_on: impl Fn(usize) -> usize, rule: Rule) {
        let on: Vec<[&str; 1]> =
            (1..steps.len()).map(|at| [steps[depends_on(at)].as_str()]).collect();
        let rest = steps[1..].iter().zip(&on).map(|(step, on)| (step.as_str(), &on[..]));
        let steps: Vec<(&str, &[&str])> =
            [(steps[0].as_str(), &[][..])].into_iter().chain(rest).collect();
        let mut run = run(&steps, &[rule]);
        run.gives("s0", json!("x"));
        let chosen = run.open()[0].to_owned();
        run.gives(&chosen, json!(1));
    }

    fn names(count: usize) -> Vec<String> {
        (0..count).map(|at| format!("s{at}")).collect()
    }

    #[test]
    fn many_steps_wait_for_a_long_chain_that_is_skipped() {
        let depends_on = |at: usize| if at < 5_000 { at - 1 } else { 4_999 };
        goes_on(&names(10_000), depends_on, diverge("s0", &[("x", "s5000")]));
    }

    #[test]
    fn a_step_chooses_one_of_thousands() {
        let names = names(10_000);
        let arms: Vec<(String, &str)> =
            names[1..].iter().map(|name| (name.replace("s1", "x"), name.as_str())).collect();
        let arms: Vec<(&str, &str)> = arms.iter().map(|(when, to)| (when.as_str(), *to)).collect();
        goes_on(&names, |_| 0, diverge("s0", &arms));
    }
}

mod failures {
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
        let mut run =
            run(LINE, &[diverge("a", &[("premium", "c")]), branch("a", &[("else", "b")])]);
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
}

mod asides {
    use super::*;

    const LINE: &[(&str, &[&str])] = &[("a", &[]), ("b", &["a"]), ("c", &["b"])];

    #[test]
    fn nothing_follows_a_target_outside_the_timeline() {
        let mut run = run(LINE, &[diverge("a", &[("error", "sorry")])]);
        let events = run.breaks("a");
        assert_eq!(
            events[2..],
            [taken(Diverge, "a", "error", "sorry", &["b", "c"]), scheduled("sorry")]
        );
        assert_eq!(
            run.gives("sorry", json!({})),
            [gave("sorry", json!({})), Event::ExecutionCompleted]
        );
    }

    #[test]
    fn it_is_left_out_when_nobody_chose_it() {
        let mut run = run(LINE, &[diverge("a", &[("error", "sorry")])]);
        assert_eq!(
            run.gives("a", json!(1)),
            [gave("a", json!(1)), scheduled("b"), left_out(&["sorry"])]
        );
    }

    #[test]
    fn it_may_lead_back_into_the_timeline() {
        let rules = [diverge("b", &[("error", "mend")]), diverge("mend", &[("again", "b")])];
        let mut run = run(LINE, &rules);
        run.gives("a", json!(1));
        run.breaks("b");
        assert_eq!(run.skipped(), ["c"]);
        assert_eq!(
            run.gives("mend", json!("again"))[1..],
            [back(Diverge, "mend", 1, "again", "b", &["b", "c", "mend"]), in_iteration("b", 2),]
        );
        assert_eq!(run.skipped(), Vec::<&str>::new());
        run.gives("b", json!(1));
        assert_eq!((run.open(), run.skipped()), (vec!["c"], vec!["mend"]));
    }

    #[test]
    fn it_may_lead_on_into_the_timeline_past_the_step_that_led_to_it() {
        let rules = [diverge("b", &[("error", "mend")]), diverge("mend", &[("_", "c")])];
        let mut run = run(LINE, &rules);
        run.gives("a", json!(1));
        run.breaks("b");
        assert_eq!(
            run.gives("mend", json!(1))[1..],
            [back(Diverge, "mend", 1, "_", "c", &["c"]), scheduled("c")],
            "`b` still leads to `mend`, which is done"
        );
        assert_eq!(run.gives("c", json!(1)).last(), Some(&Event::ExecutionCompleted));
    }

    #[test]
    fn what_it_might_have_led_to_instead_of_on_is_left_out() {
        let rules =
            [diverge("b", &[("error", "mend")]), diverge("mend", &[("bad", "sorry"), ("_", "c")])];
        let mut run = run(LINE, &rules);
        run.gives("a", json!(1));
        run.breaks("b");
        assert_eq!(
            run.gives("mend", json!("good"))[1..],
            [back(Diverge, "mend", 1, "_", "c", &["c"]), scheduled("c"), left_out(&["sorry"]),]
        );
        assert_eq!(run.gives("c", json!(1)).last(), Some(&Event::ExecutionCompleted));
    }

    #[test]
    fn what_follows_its_target_is_on_the_way_again_and_what_lies_before_stays_skipped() {
        let line: &[(&str, &[&str])] =
            &[("a", &[]), ("b", &["a"]), ("c", &["b"]), ("d", &["c"]), ("e", &["d"])];
        let rules = [diverge("b", &[("error", "mend")]), diverge("mend", &[("_", "d")])];
        let mut run = run(line, &rules);
        run.gives("a", json!(1));
        run.breaks("b");
        assert_eq!(run.skipped(), ["c", "d", "e"]);
        let events = run.gives("mend", json!(1));
        let Event::TransitionTaken { cleared, taken_up, .. } = &events[1] else {
            panic!("{events:?}")
        };
        assert_eq!((cleared, taken_up), (&names(&["d"]), &names(&["e"])));
        assert_eq!((run.open(), run.skipped()), (vec!["d"], vec!["c"]));
        run.gives("d", json!(1));
        assert_eq!(run.gives("e", json!(1)).last(), Some(&Event::ExecutionCompleted));
    }

    #[test]
    fn it_may_lead_to_another() {
        let rules = [diverge("a", &[("error", "x")]), diverge("x", &[("_", "y")])];
        let mut run = run(LINE, &rules);
        run.breaks("a");
        run.gives("x", json!(1));
        assert_eq!(run.open(), ["y"]);
        assert_eq!(run.gives("y", json!(1)).last(), Some(&Event::ExecutionCompleted));
    }

    #[test]
    fn its_call_is_guessed_and_corrected_by_what_its_messages_ask_for() {
        use crate::workflow::{Mismatch, arguments, with_inputs};
        let mut run = run(LINE, &[diverge("b", &[("error", "sorry")])]);
        run.gives("a", json!(1));
        run.breaks("b");
        let sent = |run: &Run| -> (Vec<String>, bool) {
            let arguments = arguments(&run.blueprint, &run.state, "sorry");
            let names = arguments.outputs.iter().map(|(name, _)| name.to_string()).collect();
            (names, with_inputs(&run.blueprint, &run.state, "sorry"))
        };
        assert_eq!(sent(&run), (vec!["b".to_owned()], false), "what led there");
        let wrong = |unexpected: Option<&str>, missing: &[&str]| Outcome::CallMismatch {
            mismatch: Mismatch {
                unexpected: unexpected.map(str::to_owned),
                missing: missing.iter().map(|&name| name.to_owned()).collect(),
            },
            failure: failure("called wrongly"),
        };
        assert_eq!(run.ends("sorry", wrong(Some("b"), &[])).len(), 2);
        assert_eq!(sent(&run), (vec![], false));
        run.ends("sorry", wrong(None, &["a", "inputs"]));
        assert_eq!(sent(&run), (vec!["a".to_owned()], true));
        let events = run.ends("sorry", wrong(None, &["nowhere"]));
        assert_eq!(events[0].kind(), "step_failed", "no step of that name: its own fault");
    }
}

mod loops {
    use super::*;

    const WORK: &[(&str, &[&str])] =
        &[("a", &[]), ("work", &["a"]), ("check", &["work"]), ("end", &["check"])];

    fn looping() -> Run {
        run(WORK, &[branch("check", &[("again", "work")])])
    }

    #[test]
    fn everything_from_the_target_on_begins_anew() {
        let mut run = looping();
        run.gives("a", json!(0));
        run.gives("work", json!(1));
        assert_eq!(
            run.gives("check", json!("again")),
            [
                gave("check", json!("again")),
                back(Branch, "check", 1, "again", "work", &["work", "check"]),
                in_iteration("work", 2),
            ]
        );
        assert!(run.state.output("work").is_none() && run.state.output("a").is_some());
        run.gives("work", json!(2));
        let open = &run.state.open["check"];
        assert_eq!((open.iteration, open.attempt), (2, 1));
        run.gives("check", json!("enough"));
        assert_eq!(run.gives("end", json!(1)).last(), Some(&Event::ExecutionCompleted));
    }

    #[test]
    fn a_result_of_an_earlier_iteration_is_superseded_and_its_repetition_is_not() {
        let mut run = looping();
        run.gives("a", json!(0));
        run.gives("work", json!(1));
        run.gives("check", json!("again"));
        let of = |step: &str, iteration, attempt| {
            let task = Task { step: step.into(), iteration, attempt };
            let (worker, outcome) = ("w1".to_owned(), Outcome::Succeeded(output(step, 1)));
            Command::SubmitResult { task, worker, outcome }
        };
        run.unchanged(of("check", 1, 1));
        run.unchanged(of("work", 1, 1));
        let superseded = |step: &str| Rejection::Superseded { step: step.into() };
        assert_eq!(run.refused(of("work", 1, 2)), superseded("work"));
        run.gives("work", json!(2));
        run.gives("check", json!("again"));
        assert_eq!(run.refused(of("check", 1, 1)), superseded("check"), "two iterations ago");
    }

    #[test]
    fn what_is_under_way_beside_the_loop_begins_anew_with_it() {
        let steps: &[(&str, &[&str])] = &[("a", &[]), ("b", &["a"]), ("c", &["a"]), ("d", &["b"])];
        let mut run = run(steps, &[diverge("b", &[("error", "a")])]);
        run.gives("a", json!(1));
        run.take("c");
        run.breaks("b");
        assert_eq!(run.open(), ["a"], "`c` waits for `a` again");
        assert_eq!(run.refused(succeed("c", 1)), Rejection::Superseded { step: "c".into() });
        run.gives("a", json!(2));
        assert_eq!(run.state.open["c"].iteration, 2);
    }

    #[test]
    fn a_step_may_lead_back_to_itself() {
        let mut run = run(WORK, &[diverge("work", &[("error", "work")])]);
        run.gives("a", json!(1));
        let events = run.breaks("work");
        assert_eq!(
            events[2..],
            [back(Diverge, "work", 1, "error", "work", &["work"]), in_iteration("work", 2)]
        );
    }

    #[test]
    fn what_an_earlier_step_decided_stays_decided() {
        let steps: &[(&str, &[&str])] =
            &[("a", &[]), ("b", &[]), ("c", &[]), ("d", &[]), ("e", &[])];
        let rules = [branch("a", &[("skip", "d")]), branch("e", &[("again", "b")])];
        let mut run = run(steps, &rules);
        run.gives("a", json!("skip"));
        assert_eq!(run.skipped(), ["b", "c"]);
        run.gives("d", json!(1));
        run.gives("e", json!("again"));
        assert_eq!((run.open(), run.skipped()), (vec!["b"], vec!["c"]), "`b` is asked for by name");
        run.gives("b", json!(1));
        assert_eq!(run.open(), ["d"]);
    }

    #[test]
    fn a_choice_outlasts_a_later_step_that_leads_back_to_what_was_chosen() {
        let steps: &[(&str, &[&str])] = &[("a", &[]), ("b", &[]), ("c", &[]), ("d", &[])];
        let rules = [
            diverge("a", &[("x", "b"), ("y", "c")]),
            diverge("d", &[("again", "c"), ("other", "b")]),
        ];
        let mut run = run(steps, &rules);
        run.gives("a", json!("y"));
        run.gives("c", json!(1));
        run.gives("d", json!("again"));
        run.gives("c", json!(1));
        run.gives("d", json!("other"));
        assert_eq!(run.open(), ["b"]);
        run.gives("b", json!(1));
        assert_eq!(run.open(), ["c"], "`a` chose it, and was not asked again");
    }

    #[test]
    fn what_was_led_back_to_once_is_not_chosen_when_it_begins_anew_from_before_the_choice() {
        let steps: &[(&str, &[&str])] =
            &[("a", &[]), ("b", &[]), ("c", &[]), ("check", &[]), ("end", &[])];
        let rules = [
            diverge("a", &[("x", "b"), ("y", "c")]),
            diverge("check", &[("back", "a")]),
            diverge("end", &[("again", "c")]),
        ];
        let mut run = run(steps, &rules);
        run.gives("a", json!("y"));
        run.gives("c", json!(1));
        run.gives("check", json!(1));
        run.gives("end", json!("again"));
        run.gives("c", json!(1));
        run.gives("check", json!("back"));
        run.gives("a", json!("x"));
        run.gives("b", json!(1));
        assert_eq!(run.open(), ["check"], "nobody chose `c`");
    }

    #[test]
    fn a_loop_that_never_ends_fails_with_a_kind_of_its_own() {
        let mut run = looping();
        run.gives("a", json!(0));
        let most = Policy::default().iterations_max;
        let mut events = vec![];
        for iteration in 1..=most {
            assert_eq!(run.state.open["work"].iteration, iteration);
            run.gives("work", json!(1));
            events = run.gives("check", json!("again"));
        }
        let [_, Event::ExecutionFailed { step, error }] = &events[..] else { panic!("{events:?}") };
        assert_eq!((&**step, error.kind.as_str()), ("check", "loop_limit"));
        assert!(error.message.contains("1000 times"), "{}", error.message);
        assert!(matches!(&run.state.status, Status::Failed { .. }));
    }

    #[test]
    fn two_results_at_once_of_which_one_leads_back_are_decided_one_after_the_other() {
        let steps: &[(&str, &[&str])] =
            &[("a", &[]), ("b", &["a"]), ("c", &["a"]), ("d", &["b", "c"])];
        let mut run = run(steps, &[diverge("b", &[("error", "a")])]);
        run.gives("a", json!(1));
        run.take("b");
        run.take("c");
        let fails = submit("b", 1, Outcome::Failed(failure("boom")));
        let (answers, _) = run.batch(&[fails, succeed("c", 1)]);
        assert_eq!(answers[1], Err(Rejection::Superseded { step: "c".into() }));
    }
}

mod values {
    use super::*;

    fn large(bytes: usize) -> serde_json::Value {
        json!({"x": "y".repeat(bytes)})
    }

    #[test]
    fn what_the_commands_before_it_push_out_of_the_state_is_still_seen() {
        let beside = ["b", "c", "d", "e"];
        let steps: Vec<(&str, &[&str])> = [("a", &[][..])]
            .into_iter()
            .chain(beside.iter().chain(&["asks"]).map(|step| (*step, &["a"][..])))
            .collect();
        let mut run = run(&steps, &[given::branch("asks", &[("len(state.x) == 900", "END")])]);
        run.gives("a", large(900));
        let results: Vec<Command> = beside
            .iter()
            .chain(&["asks"])
            .map(|step| {
                run.take(step);
                submit(step, 1, Outcome::Succeeded(Payload::of(large(900))))
            })
            .collect();
        let (_, events) = run.batch(&results);
        assert_eq!(run.state.output("a").expect("an output").value, None, "pushed out");
        assert_eq!(events.last(), Some(&Event::ExecutionCompleted));
    }

    #[test]
    fn a_sleep_of_no_time_that_ends_in_its_own_commit_is_led_on_by_its_data() {
        let mut run =
            run(&[("a", &[]), ("b", &["a"])], &[diverge("a", &[(r#"{"kind": "quick"}"#, "END")])]);
        run.take("a");
        let data = Payload::of(json!({"kind": "quick", "x": "y".repeat(2_000)}));
        let (_, events) =
            run.batch(&[submit("a", 1, Outcome::Sleep { duration_ms: 0, data }), Command::Wake]);
        assert_eq!(events.last(), Some(&Event::ExecutionCompleted));
    }
}
