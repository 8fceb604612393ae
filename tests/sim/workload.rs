//! What is to be done in a world: workflows, executions, and what each step does.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use lazarus::workflow::{Definition, Failure, Step, Submission};
use serde_json::json;

use super::{
    chance::Chance,
    graphs::{self, ASIDE},
};

/// What results say of themselves.
const STATUSES: [&str; 3] = ["gold", "plain", "odd"];

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
    /// What the worker submits; rules look at `n`, the iteration, and at `status`.
    pub fn submission(self, iteration: u32) -> Submission {
        match self {
            Self::Result(bytes) => {
                let status = STATUSES[(bytes + iteration as usize) % STATUSES.len()];
                let made = json!({"kind": "made", "text": "x".repeat(bytes)});
                Submission::Success(json!({"n": iteration, "status": status, "of": made}))
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
    /// Whether somebody has mended the steps that fail.
    is_mended: AtomicBool,
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
                    let often = if work == Work::Failure { 700 } else { 70 };
                    if chance.happens(often) {
                        long.insert((name.clone(), step.clone()));
                    }
                    works.insert((name.clone(), step.clone()), work);
                }
                works.insert((name.clone(), ASIDE.to_owned()), work(&chance));
                graphs::draw(&chance, name, &steps)
            })
            .collect();
        Self { definitions, long, works, is_mended: AtomicBool::new(false) }
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
        let rules = self.definitions.iter().flat_map(|it| {
            let arms =
                it.rules.iter().flat_map(|rule| rule.arms.iter().map(move |arm| (rule, arm)));
            arms.map(|(rule, arm)| {
                let (kind, from) = (rule.kind, &rule.from);
                format!("{} {from} {kind:?} on {} to {}", it.name, arm.when, arm.to)
            })
        });
        steps.map(line).chain(rules).collect()
    }

    /// How long a worker is busy with a step.
    pub fn duration(&self, workflow: &str, step: &str, chance: &Chance) -> Duration {
        let is_long = self.long.contains(&(workflow.to_owned(), step.to_owned()));
        let shortest = if is_long { Duration::from_secs(35) } else { Duration::from_millis(1) };
        chance.spread(shortest, Duration::from_mins(1))
    }

    /// What a step does.
    pub fn work(&self, workflow: &str, step: &str) -> Work {
        match self.works[&(workflow.to_owned(), step.to_owned())] {
            Work::Failure if self.is_mended.load(Ordering::Relaxed) => Work::Result(1),
            work => work,
        }
    }

    /// From now on no step fails by itself.
    pub fn mend(&self) {
        self.is_mended.store(true, Ordering::Relaxed);
    }
}

fn work(chance: &Chance) -> Work {
    match chance.from(0, 100) {
        0..60 => Work::Result(chance.pick(&[1, 10, 500, 2_000, 40_000])),
        60..78 => Work::Sleep(chance.spread(Duration::from_millis(1), Duration::from_mins(3))),
        78..92 => Work::Approval(chance.pick(&[
            Duration::ZERO,
            Duration::ZERO,
            Duration::from_secs(20),
            Duration::from_mins(2),
        ])),
        _ => Work::Failure,
    }
}
