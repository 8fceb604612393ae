//! Steps outside the timeline: what leads to them, and what follows.

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
    let Event::TransitionTaken { cleared, taken_up, .. } = &events[1] else { panic!("{events:?}") };
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
