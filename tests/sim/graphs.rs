//! Blueprints: steps that depend on each other, rules that lead anywhere, times that bound a step.

use lazarus::workflow::{Definition, END, RetryPolicy, Rule, Step, StepName};

use super::chance::Chance;

/// What arms of diverge rules ask for. Results are objects with `n`, the iteration, and `status`, one of
/// `gold`, `plain` and `odd`.
const PATTERNS: [&str; 9] = [
    "error",
    "ok",
    "_",
    "gold",
    "plain",
    "{\"status\": \"odd\"}",
    "{\"n\": 1, \"of\": {\"kind\": \"made\"}}",
    "{\"slept\": true}",
    "{\"error\": \"as it should\"}",
];
/// What arms of branch rules ask for.
const CONDITIONS: [&str; 8] = [
    "n < 2",
    "n < 3",
    "status == 'gold'",
    "status in ['plain', 'odd'] and n == 1",
    "approved",
    "inputs.order > 2",
    "missing > 1",
    "else",
];
/// How often a step may run because of rules, where they may go back for ever.
const ITERATIONS: [u32; 3] = [2, 3, 4];

/// A blueprint called `name`, whose steps are called so.
pub fn draw(chance: &Chance, name: String, steps: &[String]) -> Definition {
    let is_chain = chance.happens(600);
    let step = |(at, step): (usize, &String)| {
        let depends_on = depends_on(chance, &steps[..at], is_chain);
        drawn_step(chance, step, depends_on)
    };
    let drawn: Vec<Step> = steps.iter().enumerate().map(step).collect();
    let count = if chance.happens(450) { chance.from(1, 4) } else { 0 };
    let rules: Vec<Rule> = (0..count).map(|_| rule(chance, steps)).collect();
    let iterations_max = (!rules.is_empty()).then(|| chance.pick(&ITERATIONS));
    Definition { name, steps: drawn, rules, iterations_max }
}

fn drawn_step(chance: &Chance, name: &str, depends_on: Vec<StepName>) -> Step {
    let sometimes = |per_mille, choices: &[u64]| {
        let drawn = chance.pick(choices);
        chance.happens(per_mille).then_some(drawn)
    };
    Step {
        name: name.into(),
        depends_on,
        retry: chance.happens(200).then(|| retry(chance)),
        lease_ms: sometimes(100, &[8_000, 60_000]),
        start_to_close_ms: sometimes(100, &[10_000, 45_000]),
        schedule_to_start_ms: sometimes(50, &[20_000, 120_000]),
        heartbeat_ms: sometimes(50, &[5_000, 40_000]),
    }
}

fn depends_on(chance: &Chance, before: &[String], is_chain: bool) -> Vec<StepName> {
    if is_chain {
        return before.last().map(|step| step.as_str().into()).into_iter().collect();
    }
    before.iter().filter(|_| chance.happens(400)).map(|step| step.as_str().into()).collect()
}

fn rule(chance: &Chance, steps: &[String]) -> Rule {
    let from = steps[chance.index(steps.len())].as_str().into();
    let arms = chance.from(1, 4);
    let is_diverge = chance.happens(500);
    let asked = if is_diverge { &PATTERNS[..] } else { &CONDITIONS[..] };
    let arms: Vec<(String, StepName)> =
        (0..arms).map(|_| (chance.pick(asked).to_owned(), target(chance, steps))).collect();
    if is_diverge { Rule::diverge(from, arms) } else { Rule::branch(from, arms) }
}

/// A step of the timeline, before or after; one outside of it; or the end.
fn target(chance: &Chance, steps: &[String]) -> StepName {
    match chance.from(0, 10) {
        0 => END.into(),
        1 => ASIDE.into(),
        _ => steps[chance.index(steps.len())].as_str().into(),
    }
}

/// A step that stands in no timeline.
pub const ASIDE: &str = "aside";

fn retry(chance: &Chance) -> RetryPolicy {
    RetryPolicy {
        attempts_max: Some(chance.pick(&[2, 3])),
        initial_delay_ms: chance.pick(&[10, 1_000, 30_000]),
        ..RetryPolicy::default()
    }
}
