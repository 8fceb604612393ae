//! What is to be done in a world: workflows, executions, and what each step does.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use lazarus::workflow::{Definition, Failure, RetryPolicy, Rule, Step, Submission};
use serde_json::json;

use super::chance::Chance;

/// What a step does when a worker runs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// A result of about so many bytes.
    Result(usize),
    /// It asks to sleep.
    Sleep(Duration),
    /// It asks for approval, and waits so long for it at most; zero: for ever.
    Approval(Duration),
    /// It fails.
    Failure,
    /// The worker does not have it.
    Missing,
}

impl Work {
    /// What the worker submits; rules look at `n`, the iteration.
    pub fn submission(self, iteration: u32) -> Submission {
        match self {
            Self::Result(bytes) => {
                Submission::Success(json!({"n": iteration, "text": "x".repeat(bytes)}))
            }
            Self::Sleep(time) => Submission::Sleep {
                duration_ms: i64::try_from(time.as_millis()).expect("short"),
                data: json!({"slept": true}),
            },
            Self::Approval(time) => Submission::Approval {
                approval_type: "manual".to_owned(),
                data: json!({"sum": 7}),
                timeout_ms: i64::try_from(time.as_millis()).expect("short"),
            },
            Self::Failure => failed("ValueError", "as it should"),
            Self::Missing => failed("not_found", "no such step"),
        }
    }
}

fn failed(kind: &str, message: &str) -> Submission {
    let (kind, message) = (kind.to_owned(), message.to_owned());
    Submission::Failed(Failure { kind, message, stacktrace: String::new() })
}

/// Everything that is to be done.
pub struct Workload {
    pub definitions: Vec<Definition>,
    /// Steps that take a worker longer than some leases, each time.
    long: BTreeSet<(String, String)>,
    works: BTreeMap<(String, String), Work>,
}

impl Workload {
    /// The work of `seed`.
    pub fn new(seed: u64) -> Self {
        let chance = Chance::new(seed, "workload");
        let (mut works, mut long) = (BTreeMap::new(), BTreeSet::new());
        let definitions = (0..chance.from(1, 3))
            .map(|number| {
                let name = format!("workflow{number}");
                let steps: Vec<String> =
                    (0..chance.from(1, 6)).map(|step| format!("step{step}")).collect();
                for step in &steps {
                    let work = work(&chance);
                    // Failures that come late are a rule of their own.
                    let often = if work == Work::Failure { 500 } else { 70 };
                    if chance.happens(often) {
                        long.insert((name.clone(), step.clone()));
                    }
                    works.insert((name.clone(), step.clone()), work);
                }
                let is_chain = chance.happens(600);
                let step = |(at, step): (usize, &String)| Step {
                    name: step.as_str().into(),
                    depends_on: depends_on(&chance, &steps[..at], is_chain),
                    retry: chance.happens(200).then(|| retry(&chance)),
                    ..Step::default()
                };
                Definition {
                    steps: steps.iter().enumerate().map(step).collect(),
                    rules: rule(&chance, &name, &steps, &mut works).into_iter().collect(),
                    name,
                    ..Definition::default()
                }
            })
            .collect();
        Self { definitions, long, works }
    }

    /// What there is to do, a line for each step.
    pub fn in_words(&self) -> Vec<String> {
        let line = |(workflow, step): (&Definition, &Step)| {
            let name = (workflow.name.clone(), step.name.to_string());
            let long = if self.long.contains(&name) { ", and takes long" } else { "" };
            let after = step.depends_on.join(" and ");
            let work = self.works[&name];
            format!("{} {} (after: {after}) {work:?}{long}", workflow.name, step.name)
        };
        let steps =
            self.definitions.iter().flat_map(|it| it.steps.iter().map(move |step| (it, step)));
        steps.map(line).collect()
    }

    /// How long a worker is busy with a step.
    pub fn duration(&self, workflow: &str, step: &str, chance: &Chance) -> Duration {
        let is_long = self.long.contains(&(workflow.to_owned(), step.to_owned()));
        let shortest = if is_long { Duration::from_secs(35) } else { Duration::from_millis(1) };
        chance.spread(shortest, Duration::from_mins(1))
    }

    /// What a step does.
    pub fn work(&self, workflow: &str, step: &str) -> Work {
        self.works[&(workflow.to_owned(), step.to_owned())]
    }
}

fn depends_on(
    chance: &Chance,
    before: &[String],
    is_chain: bool,
) -> Vec<lazarus::workflow::StepName> {
    if is_chain {
        return before.last().map(|step| step.as_str().into()).into_iter().collect();
    }
    before.iter().filter(|_| chance.happens(400)).map(|step| step.as_str().into()).collect()
}

/// A rule that goes back once, from a step that has a result to itself or one before it.
fn rule(
    chance: &Chance,
    workflow: &str,
    steps: &[String],
    works: &mut BTreeMap<(String, String), Work>,
) -> Option<Rule> {
    if !chance.happens(250) {
        return None;
    }
    let from = chance.index(steps.len());
    let to = chance.index(from + 1);
    works.insert((workflow.to_owned(), steps[from].clone()), Work::Result(10));
    let arm = ("n < 2".to_owned(), steps[to].as_str().into());
    Some(Rule::branch(steps[from].as_str().into(), [arm]))
}

fn retry(chance: &Chance) -> RetryPolicy {
    RetryPolicy {
        attempts_max: Some(chance.pick(&[2, 3])),
        initial_delay_ms: chance.pick(&[10, 1_000, 30_000]),
        ..RetryPolicy::default()
    }
}

fn work(chance: &Chance) -> Work {
    match chance.from(0, 100) {
        0..60 => Work::Result(chance.pick(&[1, 10, 500, 2_000, 40_000])),
        60..80 => Work::Sleep(chance.spread(Duration::from_millis(1), Duration::from_mins(3))),
        80..97 => Work::Approval(chance.pick(&[
            Duration::ZERO,
            Duration::ZERO,
            Duration::from_secs(20),
            Duration::from_mins(2),
        ])),
        _ => Work::Failure,
    }
}
