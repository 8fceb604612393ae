//! A blueprint as `get` shows it: its steps with what each waits for, its rules, its warnings.

use anstyle::Style;

use super::words::{kind, one_line, settings_line};
use crate::{
    cli::output::{BAD, BOLD, CARE, DIM, Table, painted},
    workflow::{Blueprint, END, StepName},
};

/// The lines below the heading.
pub(super) fn lines(blueprint: &Blueprint, warnings: &[String]) -> Vec<String> {
    let warnings = warnings.iter().map(|text| format!("{} {text}", painted(CARE, "warning:")));
    let mut lines: Vec<String> = warnings.collect();
    lines.extend(steps(blueprint).lines());
    if let Some(most) = blueprint.definition().iterations_max {
        lines.extend([String::new(), format!("A step runs at most {most} times.")]);
    }
    if !blueprint.definition().rules.is_empty() {
        lines.push(String::new());
        lines.extend(rules(blueprint).lines());
    }
    lines
}

/// What a step takes is data, and what else it waits for is order.
fn steps(blueprint: &Blueprint) -> Table {
    let mut table = Table::new(&["STEP", "TAKES", "AFTER", "RUNS", "SETTINGS"]);
    for (place, step) in blueprint.steps().iter().enumerate() {
        let order: Vec<&str> = order_of(blueprint, place).map(|name| &**name).collect();
        let takes: Vec<&str> = step.depends_on.iter().map(|name| &**name).collect();
        let runs = if blueprint.is_aside(place) {
            ("by choice, outside the timeline", CARE)
        } else if blueprint.is_by_choice(&step.name) {
            ("by choice", CARE)
        } else {
            ("always", DIM)
        };
        let plain = |text: String| (text, Style::new());
        table.row(vec![
            (step.name.to_string(), BOLD),
            plain(takes.join(", ")),
            plain(order.join(", ")),
            (runs.0.to_owned(), runs.1),
            plain(settings_line(step).unwrap_or_default()),
        ]);
    }
    table
}

/// The steps that the one at `place` waits for without taking their outputs.
pub(super) fn order_of(blueprint: &Blueprint, place: usize) -> impl Iterator<Item = &StepName> {
    let steps = blueprint.steps();
    let waits = blueprint.plan().waits_for(place).iter().map(|&before| &steps[before].name);
    waits.filter(move |name| !steps[place].depends_on.contains(name))
}

fn rules(blueprint: &Blueprint) -> Table {
    let mut table = Table::new(&["AFTER", "RULE", "WHEN", "TO", "NOTE"]);
    for rule in &blueprint.definition().rules {
        for arm in &rule.arms {
            let note = match &arm.cel {
                None => ("never holds", BAD),
                Some(_) if goes_back(blueprint, &rule.from, &arm.to) => ("goes back", CARE),
                Some(_) => ("", Style::new()),
            };
            let plain = |text: String| (text, Style::new());
            table.row(vec![
                (rule.from.to_string(), BOLD),
                plain(kind(rule.kind).to_owned()),
                plain(one_line(&arm.when)),
                (arm.to.to_string(), BOLD),
                (note.0.to_owned(), note.1),
            ]);
        }
    }
    table
}

/// Whether a rule of `from` to `to` leads back, so that the steps between run again.
pub(super) fn goes_back(blueprint: &Blueprint, from: &StepName, to: &StepName) -> bool {
    let place = |name: &StepName| blueprint.step(name).map(|(place, _)| place);
    &**to != END && place(to) <= place(from)
}

#[cfg(test)]
mod tests {
    use anstream::adapter::strip_str;
    use serde_json::json;

    use super::*;

    fn shown(definition: serde_json::Value, warnings: &[&str]) -> Vec<String> {
        let definition = super::super::form::read(definition).unwrap();
        let warnings: Vec<String> = warnings.iter().map(ToString::to_string).collect();
        let lines = lines(&Blueprint::new(definition).unwrap(), &warnings);
        lines.iter().map(|line| strip_str(line).to_string()).collect()
    }

    #[test]
    fn a_graph_without_rules_is_one_table() {
        let definition = json!({"name": "orders", "steps": [
            {"name": "charge"},
            {"name": "pack", "depends_on": ["charge"], "lease_ms": 60_000},
            {"name": "mail", "depends_on": ["charge"]},
            {"name": "close"},
        ]});
        assert_eq!(
            shown(definition, &[]),
            [
                "STEP    TAKES   AFTER       RUNS    SETTINGS",
                "charge                      always",
                "pack    charge              always  lease 1m",
                "mail    charge              always",
                "close           pack, mail  always",
            ]
        );
    }

    #[test]
    fn rules_say_where_they_lead_and_what_never_holds() {
        let definition = json!({
            "name": "orders",
            "steps": [
                {"name": "charge", "retry": {"attempts_max": 3, "jitter_percent": 0}},
                {"name": "review"},
                {"name": "ship"},
            ],
            "rules": [
                {"from": "charge", "kind": "diverge", "arms": [
                    {"when": "error", "cel": "outcome == \"error\"", "to": "refund"},
                    {"when": "large", "cel": "result.large == true", "to": "review"},
                ]},
                {"from": "review", "kind": "branch", "arms": [
                    {"when": "again\n  and again", "cel": "result.again == true", "to": "charge"},
                    {"when": "no", "cel": "result.no == true", "to": "END"},
                ]},
            ],
            "iterations_max": 5,
        });
        assert_eq!(
            shown(definition, &["step `refund` is not in the timeline"]),
            [
                "warning: step `refund` is not in the timeline",
                "STEP    TAKES   AFTER   RUNS                             SETTINGS",
                "charge                  always                           retry 3 attempts, after 1.0 s ×2 up to 1m",
                "review          charge  by choice",
                "ship            review  always",
                "refund  charge          by choice, outside the timeline",
                "",
                "A step runs at most 5 times.",
                "",
                "AFTER   RULE     WHEN             TO      NOTE",
                "charge  diverge  error            refund",
                "charge  diverge  large            review",
                "review  branch   again and again  charge  goes back",
                "review  branch   no               END",
            ]
        );
    }

    #[test]
    fn an_arm_without_cel_never_holds() {
        let definition = json!({"name": "n", "steps": [{"name": "a"}], "rules": [
            {"from": "a", "kind": "branch", "arms": [{"when": "?", "to": "END"}]},
        ]});
        assert_eq!(shown(definition, &[])[4], "a      branch  ?     END  never holds");
    }
}
