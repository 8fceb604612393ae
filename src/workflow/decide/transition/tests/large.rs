//! With rules that lead past or leave out thousands of steps, each is looked at once: these tests took
//! minutes when each step that waits walked back over all that was skipped.

use super::*;

fn goes_on(steps: &[String], depends_on: impl Fn(usize) -> usize, rule: Rule) {
    let on: Vec<[&str; 1]> = (1..steps.len()).map(|at| [steps[depends_on(at)].as_str()]).collect();
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
