//! Back: what begins anew, what stays decided, and the bound.

use super::*;
use crate::workflow::given::fail;

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
fn a_success_that_comes_after_the_failure_that_led_back_is_superseded() {
    let mut run = run(&[("a", &[]), ("b", &["a"])], &[diverge("b", &[("error", "a")])]);
    run.gives("a", json!(1));
    run.breaks("b");
    run.unchanged(fail("b", 1));
    assert_eq!(run.refused(succeed("b", 1)), Rejection::Superseded { step: "b".into() });
    assert_eq!(run.open(), ["a"]);
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
    let steps: &[(&str, &[&str])] = &[("a", &[]), ("b", &[]), ("c", &[]), ("d", &[]), ("e", &[])];
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
    let rules =
        [diverge("a", &[("x", "b"), ("y", "c")]), diverge("d", &[("again", "c"), ("other", "b")])];
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
    let steps: &[(&str, &[&str])] = &[("a", &[]), ("b", &["a"]), ("c", &["a"]), ("d", &["b", "c"])];
    let mut run = run(steps, &[diverge("b", &[("error", "a")])]);
    run.gives("a", json!(1));
    run.take("b");
    run.take("c");
    let fails = submit("b", 1, Outcome::Failed(failure("boom")));
    let (answers, _) = run.batch(&[fails, succeed("c", 1)]);
    assert_eq!(answers[1], Err(Rejection::Superseded { step: "c".into() }));
}
