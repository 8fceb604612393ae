//! Runs for the tests of what clients are shown.

use std::{collections::BTreeMap, sync::Arc};

use serde_json::{Value, json};

use crate::{
    engine::Description,
    workflow::{
        Blueprint, BlueprintRef, CommitFacts, Definition, Event, ExecutionId, Failure, Json,
        Namespace, Payload, RunId, Start, Step, StepName, Timestamp, fold,
    },
};

/// The run `order-1` of `orders`: `charge`, then `ship`, as commit after commit left it, one second
/// apart from second 1,000 on; described half a second after the last.
pub(super) fn run(commits: &[&[Event]]) -> Description {
    let step = |name: &str, depends_on: &[&str]| Step {
        name: name.into(),
        depends_on: depends_on.iter().map(|&name| name.into()).collect(),
        ..Step::default()
    };
    let steps = vec![step("charge", &[]), step("ship", &["charge"])];
    let definition = Definition { name: "orders".to_owned(), steps, ..Definition::default() };
    let blueprint = Blueprint::new(definition).unwrap();
    let started = [Event::ExecutionStarted(Box::new(start(&blueprint)))];
    let mut state = None;
    let mut time = Timestamp::from_millis(1_000_000);
    for (seq, events) in (0..).zip([&started[..]].iter().chain(commits)) {
        state = Some(fold(state, CommitFacts { seq, time }, events).expect("it follows"));
        time = time.after_millis(1000);
    }
    Description {
        state: state.unwrap(),
        blueprint: Arc::new(blueprint),
        input: Json::new(json!({"order": 1.0})),
        outputs: BTreeMap::new(),
        data: BTreeMap::new(),
        now: Timestamp::from_millis(time.as_millis() - 500),
        notes: vec![],
    }
}

fn start(blueprint: &Blueprint) -> Start {
    Start {
        namespace: Namespace::default(),
        execution: ExecutionId::known("order-1").unwrap(),
        generation: 0,
        run: RunId::from_random(0xaa),
        blueprint: BlueprintRef {
            name: "orders".to_owned(),
            version: 3,
            hash: blueprint.hash().to_owned(),
        },
        input: Payload::of(json!({"order": 1.0})),
        request: String::new(),
        timeout_ms: None,
        deadline: None,
        correlation_id: String::new(),
        tags: vec![],
        with_inputs: BTreeMap::new(),
        arguments: BTreeMap::new(),
        resumed: None,
    }
}

/// Worker `w1` has the step until second 1,300.
pub(super) fn leased(step: &str) -> [Event; 1] {
    let (step, worker) = (step.into(), "w1".to_owned());
    let lease_until = Timestamp::from_millis(1_300_000);
    [Event::StepStarted {
        step,
        iteration: 1,
        attempt: 1,
        worker,
        lease_until,
        partial: false,
        close_by: None,
    }]
}

pub(super) fn completed(step: &str, result: &Value) -> Event {
    let result = Payload::of(result.clone());
    Event::StepCompleted { step: step.into(), iteration: 1, attempt: 1, result }
}

/// The step sleeps for ten seconds from the second commit on.
pub(super) fn sleeping(step: &str) -> Event {
    Event::SleepStarted {
        step: step.into(),
        iteration: 1,
        attempt: 1,
        duration_ms: 10_000,
        until: Timestamp::from_millis(1_012_000),
        data: Payload::of(json!({"n": 1.0})),
    }
}

/// The step asks for an approval, for a minute from the second commit on.
pub(super) fn asking(step: &str) -> Event {
    Event::ApprovalRequested {
        step: step.into(),
        iteration: 1,
        attempt: 1,
        approval_type: "legal".to_owned(),
        data: Payload::of(json!({"sum": 7.0})),
        timeout_ms: Some(60_000),
        due: Some(Timestamp::from_millis(1_062_000)),
    }
}

pub(super) fn failure() -> Failure {
    let (kind, message) = ("step_error".to_owned(), "boom".to_owned());
    Failure { kind, message, stacktrace: String::new() }
}

/// The step failed, and the execution with it.
pub(super) fn failed(step: &str) -> [Event; 2] {
    let step: StepName = step.into();
    [
        Event::StepFailed { step: step.clone(), iteration: 1, attempt: 1, error: failure() },
        Event::ExecutionFailed { step, error: failure() },
    ]
}

pub(super) fn cancelled(reason: &str) -> Event {
    let (by, request, reason) = ("ann".to_owned(), "r1".to_owned(), reason.to_owned());
    Event::ExecutionCancelled { by, request, reason }
}
