//! What an execution came to: the outputs that no later step took up.

use std::collections::HashSet;

use super::{blueprint::Blueprint, id::StepName, payload::Stored, state::State};

/// The outputs of the steps that completed and after which no other ran, in the order of the blueprint.
///
/// After a step come those that wait for it, and past one that did not run, those that wait for that. A
/// failure that a rule caught is no output.
pub fn last_outputs(blueprint: &Blueprint, state: &State) -> Vec<(StepName, Stored)> {
    let mut barren = HashSet::new();
    let mut is_last = |place: &usize| !is_followed(blueprint, state, *place, &mut barren);
    let steps = blueprint.steps();
    let completed = (0..steps.len()).filter_map(|place| {
        let name = &steps[place].name;
        let output = state.output(name).filter(|_| !state.caught.contains_key(name))?;
        Some((place, (name.clone(), output)))
    });
    completed.filter(|(place, _)| is_last(place)).map(|(_, output)| output).collect()
}

/// Whether a step ran after the one at `place`. `barren`: places that did not run, and after which
/// nothing did; grows by what is found.
fn is_followed(
    blueprint: &Blueprint,
    state: &State,
    place: usize,
    barren: &mut HashSet<usize>,
) -> bool {
    let ran = |place: usize| {
        let name = &blueprint.steps()[place].name;
        state.done.contains_key(name) || state.open.contains_key(name)
    };
    let (mut seen, mut ahead) = (HashSet::new(), vec![place]);
    while let Some(place) = ahead.pop() {
        for &next in blueprint.plan().awaited_by(place) {
            if ran(next) {
                return true;
            }
            if !barren.contains(&next) && seen.insert(next) {
                ahead.push(next);
            }
        }
    }
    barren.extend(seen);
    false
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::workflow::{
        Rule,
        given::{self, Run, branch, diverge},
    };

    fn run(steps: &[(&str, &[&str])], rules: &[Rule]) -> Run {
        given::begun(given::ruled(steps, rules), None).0
    }

    fn last(run: &Run) -> Vec<String> {
        let outputs = last_outputs(&run.blueprint, &run.state);
        outputs.into_iter().map(|(step, _)| step.to_string()).collect()
    }

    #[test]
    fn what_nothing_waits_for_is_last_and_of_an_open_run_what_came_furthest() {
        let mut run = run(&[("a", &[]), ("left", &["a"]), ("right", &["a"])], &[]);
        assert_eq!(last(&run), Vec::<String>::new());
        run.gives("a", json!(1));
        assert_eq!(last(&run), Vec::<String>::new(), "both others are ready");
        run.gives("left", json!(1));
        assert_eq!(last(&run), ["left"]);
        run.gives("right", json!(1));
        assert_eq!(last(&run), ["left", "right"]);
    }

    #[test]
    fn a_handler_that_was_not_needed_takes_nothing_from_the_step_before_it() {
        let rules = [diverge("b", &[("error", "sorry")])];
        let line: &[(&str, &[&str])] = &[("a", &[]), ("b", &["a"])];
        let mut well = run(line, &rules);
        well.gives("a", json!(1));
        well.gives("b", json!(1));
        assert_eq!(last(&well), ["b"]);
        let mut badly = run(line, &rules);
        badly.gives("a", json!(1));
        badly.breaks("b");
        badly.gives("sorry", json!(1));
        assert_eq!(last(&badly), ["sorry"], "a failure is no output");
    }

    #[test]
    fn of_two_ways_the_one_that_was_taken_ends() {
        let rules = [branch("which", &[("result == 1", "yes"), ("result == 2", "no")])];
        for (value, taken) in [(1, "yes"), (2, "no")] {
            let mut run = run(&[("which", &[]), ("yes", &[]), ("no", &[])], &rules);
            run.gives("which", json!(value));
            for step in run.open().into_iter().map(str::to_owned).collect::<Vec<_>>() {
                run.gives(&step, json!(1));
            }
            assert!(run.state.is_closed(), "{:?}", run.state);
            assert_eq!(last(&run), [taken]);
        }
    }

    #[test]
    fn where_a_rule_leads_to_the_end_the_step_before_it_is_last() {
        let rules = [diverge("b", &[("enough", "END"), ("_", "c")])];
        let mut run = run(&[("a", &[]), ("b", &["a"]), ("c", &["b"])], &rules);
        run.gives("a", json!(1));
        run.gives("b", json!("enough"));
        assert!(run.state.is_closed());
        assert_eq!(last(&run), ["b"]);
    }
}
