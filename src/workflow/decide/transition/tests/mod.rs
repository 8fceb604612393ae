//! Transcripts of ways through a graph: given these rules, when a step ends so, exactly these events.

mod asides;
mod failures;
mod forward;
mod large;
mod loops;
mod values;

use serde_json::json;

use crate::workflow::{
    Command, Event, Outcome, Payload, Policy, Rejection, Rule, RuleKind, Status, StepName, Task,
    given::{
        self, Run, approve, ask, begun, completed, diverge, failure, output, reject, ruled,
        scheduled, sleep, submit, succeed,
    },
};

use RuleKind::{Branch, Diverge};

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
