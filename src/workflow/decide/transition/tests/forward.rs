//! Ahead: what is jumped over, what runs only by choice, what holds up what; and the end.

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
        [gave("score", json!("odd")), left_out(&["low"]), left_out(&["high"]), scheduled("done")]
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
    let steps: &[(&str, &[&str])] =
        &[("check", &[]), ("fraud", &["check"]), ("charge", &["check"]), ("reject", &["fraud"])];
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
