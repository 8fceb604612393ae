//! What changed between two versions of a workflow.
//!
//! Pure: two definitions in, lines out. Rules are compared as they are looked at: for each step and
//! kind all arms in a row, however they were grouped.

use std::collections::HashMap;

use super::words;
use crate::{
    cli::output::{BAD, CARE, GOOD, painted},
    workflow::{Arm, Definition, RuleKind, Step, StepName},
};

/// One thing that changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Difference {
    /// It is only in the newer version.
    Added(String),
    /// It is only in the older version.
    Removed(String),
    /// It is another in the newer version.
    Changed(String),
}

impl Difference {
    /// Its line.
    pub(super) fn line(&self) -> String {
        let (style, mark, text) = match self {
            Self::Added(text) => (GOOD, '+', text),
            Self::Removed(text) => (BAD, '-', text),
            Self::Changed(text) => (CARE, '~', text),
        };
        format!("{} {text}", painted(style, mark))
    }
}

/// What changed from `old` to `new`: steps in the order of the timeline, then rules, then the rest.
pub(super) fn differences(old: &Definition, new: &Definition) -> Vec<Difference> {
    let mut all = of_steps(&old.steps, &new.steps);
    all.extend(of_rules(old, new));
    if old.iterations_max != new.iterations_max {
        let [before, after] = [old, new].map(|it| match it.iterations_max {
            None => "default".to_owned(),
            Some(most) => most.to_string(),
        });
        all.push(Difference::Changed(format!("iterations at most: {before} → {after}")));
    }
    all
}

fn of_steps(old: &[Step], new: &[Step]) -> Vec<Difference> {
    let [in_old, in_new] = [old, new].map(places);
    let old_places: Vec<Option<usize>> =
        new.iter().map(|step| in_old.get(&step.name).copied()).collect();
    let removed = old.iter().filter(|step| !in_new.contains_key(&step.name));
    let mut all: Vec<Difference> =
        removed.map(|step| Difference::Removed(format!("step {}", step.name))).collect();
    let stays = in_order(&old_places);
    for (at, (step, before)) in new.iter().zip(&old_places).enumerate() {
        let position = match at.checked_sub(1) {
            None => "first".to_owned(),
            Some(before) => format!("after {}", new[before].name),
        };
        match before {
            None => all.push(Difference::Added(added(step, &position))),
            Some(before) => {
                if !stays[at] {
                    all.push(Difference::Changed(format!("step {} moved: {position}", step.name)));
                }
                all.extend(of_step(&old[*before], step));
            }
        }
    }
    all
}

fn places(steps: &[Step]) -> HashMap<&StepName, usize> {
    steps.iter().zip(0..).map(|(step, at)| (&step.name, at)).collect()
}

fn added(step: &Step, position: &str) -> String {
    let mut parts = vec![format!("step {}, {position}", step.name)];
    if !step.depends_on.is_empty() {
        parts.push(format!("takes {}", step.depends_on.join(", ")));
    }
    parts.extend(words::settings_line(step));
    parts.join("; ")
}

fn of_step(old: &Step, new: &Step) -> Vec<Difference> {
    let name = &new.name;
    let mut all = vec![];
    if old.depends_on != new.depends_on {
        let [before, after] = [old, new].map(|step| match step.depends_on.as_slice() {
            [] => "nothing".to_owned(),
            takes => takes.join(", "),
        });
        all.push(Difference::Changed(format!("step {name} takes: {before} → {after}")));
    }
    for ((what, before), (_, after)) in words::settings(old).into_iter().zip(words::settings(new)) {
        if before != after {
            let [before, after] =
                [before, after].map(|it| it.unwrap_or_else(|| "not set".to_owned()));
            all.push(Difference::Changed(format!("step {name} {what}: {before} → {after}")));
        }
    }
    all
}

/// Whose rules, and which.
type Place<'a> = (&'a StepName, RuleKind);

fn of_rules(old: &Definition, new: &Definition) -> Vec<Difference> {
    let mut places: Vec<Place<'_>> = vec![];
    for rule in new.rules.iter().chain(&old.rules) {
        let place = (&rule.from, rule.kind);
        if !places.contains(&place) {
            places.push(place);
        }
    }
    let compared = |place| of_arms(place, &arms_at(old, place), &arms_at(new, place));
    places.into_iter().flat_map(compared).collect()
}

fn arms_at<'a>(definition: &'a Definition, (from, kind): Place<'_>) -> Vec<&'a Arm> {
    let rules = definition.rules.iter().filter(|rule| rule.from == *from && rule.kind == kind);
    rules.flat_map(|rule| &rule.arms).collect()
}

fn of_arms((from, kind): Place<'_>, old: &[&Arm], new: &[&Arm]) -> Vec<Difference> {
    let rule = format!("{} of {from}:", words::kind(kind));
    let partners = partners(old, new);
    let is_gone = |at: &usize| !partners.contains(&Some(*at));
    let mut all: Vec<Difference> = (0..old.len())
        .filter(is_gone)
        .map(|at| Difference::Removed(format!("{rule} {}", words::arm(old[at]))))
        .collect();
    let stays = in_order(&partners);
    for (at, (arm, partner)) in new.iter().zip(&partners).enumerate() {
        let Some(before) = *partner else {
            all.push(Difference::Added(format!("{rule} {}", words::arm(arm))));
            continue;
        };
        if let Some(how) = of_arm(old[before], arm) {
            all.push(Difference::Changed(format!("{rule} {how}")));
        }
        if !stays[at] {
            let (arm, before, at) = (words::arm(arm), before + 1, at + 1);
            let how = format!("{rule} {arm} is looked at as number {at}, was {before}");
            all.push(Difference::Changed(how));
        }
    }
    all
}

fn of_arm(old: &Arm, new: &Arm) -> Option<String> {
    if (&old.when, &old.to) != (&new.when, &new.to) {
        return Some(format!("{} is now {}", words::arm(old), words::arm(new)));
    }
    let arm = words::arm(new);
    match (&old.cel, &new.cel) {
        (old, new) if old == new => None,
        (None, _) => Some(format!("{arm} never held, and can be evaluated now")),
        (_, None) => Some(format!("{arm} never holds any more")),
        (Some(old), Some(new)) => Some(format!("{arm} means `{new}` in CEL, and meant `{old}`")),
    }
}

/// For each new arm, the place of the old one that it was: the same one, or else one that is alike in
/// its condition, or else in its target.
fn partners(old: &[&Arm], new: &[&Arm]) -> Vec<Option<usize>> {
    let alike: [fn(&Arm, &Arm) -> bool; 4] = [
        |old, new| old == new,
        |old, new| old.when == new.when && old.to == new.to,
        |old, new| old.when == new.when,
        |old, new| old.to == new.to,
    ];
    let mut partners: Vec<Option<usize>> = vec![None; new.len()];
    let mut is_taken = vec![false; old.len()];
    for is_alike in alike {
        for (partner, arm) in partners.iter_mut().zip(new).filter(|(partner, _)| partner.is_none())
        {
            *partner = (0..old.len()).find(|&at| !is_taken[at] && is_alike(old[at], arm));
            if let Some(at) = *partner {
                is_taken[at] = true;
            }
        }
    }
    partners
}

/// Which of `places` have kept their order: as many as possible, so that what is said to have moved
/// is as little as possible. One without a place has no order to keep.
fn in_order(places: &[Option<usize>]) -> Vec<bool> {
    // For each length, where the rising row of that length ends that ends lowest.
    let mut ends: Vec<usize> = vec![];
    let mut before: Vec<Option<usize>> = vec![None; places.len()];
    for (at, place) in places.iter().enumerate().filter(|(_, place)| place.is_some()) {
        let length = ends.partition_point(|&end| places[end] < *place);
        before[at] = length.checked_sub(1).map(|last| ends[last]);
        match ends.get_mut(length) {
            Some(end) => *end = at,
            None => ends.push(at),
        }
    }
    let mut stays = vec![false; places.len()];
    let mut next = ends.last().copied();
    while let Some(at) = next {
        stays[at] = true;
        next = before[at];
    }
    stays
}

#[cfg(test)]
mod tests {
    use anstream::adapter::strip_str;
    use serde_json::{Value, json};

    use super::{super::form, *};

    fn lines(old: Value, new: Value) -> Vec<String> {
        let [old, new] = [old, new].map(|json| form::read(json).unwrap());
        let all = differences(&old, &new);
        all.iter().map(|it| strip_str(&it.line()).to_string()).collect()
    }

    fn steps(steps: &Value) -> Value {
        json!({"name": "orders", "steps": steps})
    }

    fn rules(rules: &Value) -> Value {
        json!({"name": "orders", "steps": [{"name": "a"}], "rules": rules})
    }

    #[test]
    fn a_definition_does_not_differ_from_itself() {
        assert_eq!(lines(form::tests::full(), form::tests::full()), Vec::<String>::new());
    }

    #[test]
    fn steps_come_go_and_move() {
        let old = steps(&json!([{"name": "a"}, {"name": "b"}, {"name": "c"}, {"name": "d"}]));
        let new = steps(&json!([
            {"name": "d"},
            {"name": "a"},
            {"name": "x", "depends_on": ["a"], "lease_ms": 1000},
            {"name": "c"},
        ]));
        assert_eq!(
            lines(old, new),
            ["- step b", "~ step d moved: first", "+ step x, after a; takes a; lease 1.0 s"]
        );
    }

    #[test]
    fn dependencies_times_and_retries_are_told_with_what_they_were() {
        let old = steps(&json!([
            {"name": "a"},
            {"name": "b", "depends_on": ["a"], "lease_ms": 60_000},
            {"name": "c", "retry": {"attempts_max": 3, "jitter_percent": 0}},
        ]));
        let new = steps(&json!([
            {"name": "a", "heartbeat_ms": 5_000},
            {"name": "b"},
            {"name": "c", "depends_on": ["a", "b"],
                "retry": {"attempts_max": 5, "jitter_percent": 0}},
        ]));
        assert_eq!(
            lines(old, new),
            [
                "~ step a heartbeat: not set → 5.0 s",
                "~ step b takes: a → nothing",
                "~ step b lease: 1m → not set",
                "~ step c takes: nothing → a, b",
                "~ step c retry: 3 attempts, after 1.0 s ×2 up to 1m → \
                 5 attempts, after 1.0 s ×2 up to 1m",
            ]
        );
    }

    #[test]
    fn rules_come_go_change_and_move() {
        let old = rules(&json!([
            {"from": "a", "kind": "branch", "arms": [
                {"cel": "x", "to": "b"},
                {"cel": "y", "to": "c"},
                {"when": "z", "to": "d"},
                {"cel": "gone", "to": "e"},
            ]},
            {"from": "a", "kind": "diverge", "arms": [{"cel": "error", "to": "END"}]},
        ]));
        let new = rules(&json!([
            {"from": "a", "kind": "branch", "arms": [
                {"cel": "y", "to": "c"},
                {"cel": "x", "to": "END"},
                {"when": "z", "cel": "zz", "to": "d"},
                {"cel": "new", "to": "f"},
            ]},
        ]));
        assert_eq!(
            lines(old, new),
            [
                "- branch of a: `gone` → e",
                "~ branch of a: `y` → c is looked at as number 1, was 2",
                "~ branch of a: `x` → b is now `x` → END",
                "~ branch of a: `z` → d never held, and can be evaluated now",
                "+ branch of a: `new` → f",
                "- diverge of a: `error` → END",
            ]
        );
    }

    #[test]
    fn a_condition_that_is_mended_is_a_change() {
        let rule = |cel: &str| {
            rules(&json!([{"from": "a", "kind": "branch", "arms": [{"cel": cel, "to": "END"}]}]))
        };
        assert_eq!(
            lines(rule("x > 1"), rule("x > 2")),
            ["~ branch of a: `x > 1` → END is now `x > 2` → END"]
        );
    }

    #[test]
    fn arms_in_one_rule_or_in_two_are_the_same() {
        let [x, y] = ["x", "y"].map(|cel| json!({"cel": cel, "to": "END"}));
        let one = rules(&json!([{"from": "a", "kind": "branch", "arms": [x, y]}]));
        let two = rules(&json!([
            {"from": "a", "kind": "branch", "arms": [x]},
            {"from": "a", "kind": "branch", "arms": [y]},
        ]));
        assert_eq!(lines(one, two), Vec::<String>::new());
    }

    #[test]
    fn the_most_iterations_are_compared() {
        let of = |most: Value| json!({"name": "n", "steps": [], "iterations_max": most});
        assert_eq!(lines(of(Value::Null), of(json!(5))), ["~ iterations at most: default → 5"]);
    }

    #[test]
    fn as_little_as_possible_has_moved() {
        let places = [3, 0, 1, 2].map(Some);
        assert_eq!(in_order(&places), [false, true, true, true]);
        assert_eq!(in_order(&[Some(1), None, Some(0), Some(2)]), [false, false, true, true]);
    }
}
