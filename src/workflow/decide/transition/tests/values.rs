//! Values that conditions look at, wherever they stand.

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
