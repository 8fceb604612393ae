//! State and command: whatever is asked of a run in whatever order, it is decided or refused; never a
//! panic, and `decide`, `fold`, snapshot and commit agree.

use std::sync::OnceLock;

use lazarus::workflow::{
    Arm, Blueprint, Command, Definition, Failure, Json, Mismatch, Outcome, Payload, RetryPolicy,
    Rule, RuleKind, Step, StepName, Submission, Task,
};
use serde_json::{Value, json};

use super::{Verdict, input::Input, world::World};

/// How many commits one input makes at most.
const MOVES_MAX: usize = 64;

/// `data` as the choice of a workflow, and of what is asked of a run of it, when.
pub fn run(data: &[u8]) -> Verdict {
    let mut input = Input::new(data);
    let blueprint = blueprints()[input.below(blueprints().len())].clone();
    let timeout_ms = match input.byte() {
        0..=127 => None,
        _ => Some(input.number()),
    };
    let mut world = World::begin(blueprint, timeout_ms);
    let mut applied = false;
    for _ in 0..MOVES_MAX {
        if input.is_empty() {
            break;
        }
        world.wait(match input.byte() {
            0..=159 => 0,
            160..=199 => 1_000,
            200..=239 => 300_000,
            240.. => input.number(),
        });
        if input.byte() < 96 {
            world.help(usize::from(input.byte()));
            continue;
        }
        let commands: Vec<Command> =
            (0..=input.below(3)).map(|_| command(&mut input, &mut world)).collect();
        applied |= world.batch(&commands);
    }
    Verdict::of(applied)
}

fn command(input: &mut Input<'_>, world: &mut World) -> Command {
    let worker = input.one_of(&["w1", "w2", "", "\u{0}"]).to_owned();
    let request = input.one_of(&["r1", "r2", "start-1", ""]).to_owned();
    let by = input.one_of(&["ana", ""]).to_owned();
    match input.byte() % 16 {
        0..=5 => {
            let task = task(input, world);
            let outcome = outcome(input, world, &task.step);
            Command::SubmitResult { task, worker, outcome }
        }
        6..=9 => {
            let partial = input.byte() % 2 == 1;
            Command::LeaseStep { task: task(input, world), worker, partial }
        }
        10 if input.byte().is_multiple_of(2) => {
            let (task, reason) = (task(input, world), input.text());
            Command::ReturnTask { task, worker, reason }
        }
        10 => Command::ExtendLease { task: task(input, world), worker },
        11 => Command::Wake,
        12 | 13 => {
            let (step, response) = (step(input, world), payload(input, world));
            Command::Approve { step, by, request, response, again: input.byte() % 2 == 1 }
        }
        14 => Command::Reject { step: step(input, world), by, request, reason: input.text() },
        _ => match input.byte() {
            // It ends everything, so it comes rarely.
            0..=25 => Command::Cancel { by, request, reason: input.text() },
            26.. => Command::Wake,
        },
    }
}

fn step(input: &mut Input<'_>, world: &World) -> Option<StepName> {
    match input.byte() {
        0..=99 => None,
        100..=199 => world.open(input.below(8)).map(|task| task.step),
        200.. => Some(named(input)),
    }
}

fn named(input: &mut Input<'_>) -> StepName {
    match input.byte() {
        0..=9 => input.text().into(),
        10.. => input.one_of(&["a", "b", "c", "d", "e", "aside", "END", ""]).into(),
    }
}

/// An attempt that stands, or any.
fn task(input: &mut Input<'_>, world: &World) -> Task {
    let choice = input.byte();
    let open = world.open(usize::from(choice));
    match (choice, open) {
        (0..=149, Some(task)) => task,
        (150..=199, Some(task)) => {
            let number = input.number_32();
            if choice.is_multiple_of(2) {
                Task { attempt: number, ..task }
            } else {
                Task { iteration: number, ..task }
            }
        }
        (_, _) => {
            Task { step: named(input), iteration: input.number_32(), attempt: input.number_32() }
        }
    }
}

fn outcome(input: &mut Input<'_>, world: &mut World, step: &str) -> Outcome {
    match input.byte() % 12 {
        0..=3 => Outcome::Succeeded(payload(input, world)),
        4 => Outcome::Failed(failure(input, step)),
        5 => Outcome::Sleep { duration_ms: input.number(), data: payload(input, world) },
        6 => Outcome::Approval {
            approval_type: input.text(),
            data: payload(input, world),
            timeout_ms: (input.byte() % 2 == 1).then(|| input.number()),
        },
        7 => Outcome::NotFound,
        8 => {
            let missing = (0..input.below(3)).map(|_| input.text()).collect();
            let unexpected = (input.byte() % 2 == 1).then(|| named(input).to_string());
            let mismatch = Mismatch { unexpected, missing };
            Outcome::CallMismatch { mismatch, failure: failure(input, step) }
        }
        9 => Outcome::of(Submission::Failed(failure(input, step)), step),
        10 => Outcome::of(Submission::Success((*value(input)).clone()), step),
        _ => {
            let (duration_ms, data) = (input.number().cast_signed(), (*value(input)).clone());
            Outcome::of(Submission::Sleep { duration_ms, data }, step)
        }
    }
}

fn failure(input: &mut Input<'_>, step: &str) -> Failure {
    let message = match input.byte() % 6 {
        0 => format!("{step}() got an unexpected keyword argument 'inputs'"),
        1 => format!("x.{step}() missing 1 required positional argument: 'a'"),
        2 => format!("{step}() missing 1 required keyword-only argument: 'inputs' and 'b'"),
        3 => format!("Sleep requested for {}ms", input.number()),
        4 => "Approval requested: legal".to_owned(),
        _ => input.text(),
    };
    let kinds =
        ["Boom", "TypeError", "step_error", "not_found", "SleepMarker", "ApprovalMarker", ""];
    let stacktrace = input.text();
    Failure { kind: input.one_of(&kinds).to_owned(), message, stacktrace }
}

fn payload(input: &mut Input<'_>, world: &mut World) -> Payload {
    let value = value(input);
    if input.byte() < 32 { world.blob(&value) } else { Payload::Json(value) }
}

fn value(input: &mut Input<'_>) -> Json {
    let nested = |depth: usize| (0..depth).fold(json!("y"), |inner, _| json!([inner]));
    Json::new(match input.byte() % 14 {
        0 => Value::Null,
        1 => json!("x"),
        2 => json!({"ok": "x"}),
        3 => json!({"status": "y"}),
        4 => json!({"error": "boom"}),
        5 => json!({"ok": {"n": input.number()}}),
        6 => json!({"n": f64::MAX, "m": -0.0, "status": []}),
        // What the wire allows: a message may be nested a hundred times.
        7 => nested(50),
        8 => json!({"ok": "z".repeat(1_500)}),
        9 => json!({"__cerebelum_sleep_request__": true, "duration_ms": input.number()}),
        10 => json!({"__cerebelum_approval_request__": true, "timeout_ms": 1e300}),
        11 => json!(input.number()),
        12 => json!([input.text(), {"type": input.text()}]),
        _ => json!({ input.text(): input.text() }),
    })
}

/// Workflows of all shapes, with the times at which arithmetic goes wrong.
fn blueprints() -> &'static [Blueprint] {
    static BLUEPRINTS: OnceLock<Vec<Blueprint>> = OnceLock::new();
    BLUEPRINTS.get_or_init(|| {
        let definitions = [plain(), ruled(), timed(), hasty()];
        definitions.map(|it| Blueprint::new(it).expect("a graph in order")).into()
    })
}

fn steps(steps: &[(&str, &[&str])]) -> Vec<Step> {
    let step = |(name, depends_on): &(&str, &[&str])| Step {
        name: (*name).into(),
        depends_on: depends_on.iter().map(|name| (*name).into()).collect(),
        ..Step::default()
    };
    steps.iter().map(step).collect()
}

/// A diamond.
fn plain() -> Definition {
    let steps = steps(&[("a", &[]), ("b", &["a"]), ("c", &["a"]), ("d", &["b", "c"])]);
    Definition { name: "plain".to_owned(), steps, ..Definition::default() }
}

fn arms(arms: &[(&str, &str)]) -> Vec<(String, StepName)> {
    arms.iter().map(|(when, to)| ((*when).to_owned(), (*to).into())).collect()
}

/// Forward, back, to the end, aside, and conditions that read all there is or can not be evaluated.
fn ruled() -> Definition {
    let steps = steps(&[("a", &[]), ("b", &["a"]), ("c", &["b"]), ("d", &["c"]), ("e", &[])]);
    let never = Arm { when: "lambda".to_owned(), cel: None, to: "d".into() };
    let own = Rule { from: "d".into(), kind: RuleKind::Branch, arms: vec![never] };
    let rules = vec![
        Rule::diverge("a".into(), arms(&[(":x", "b"), ("error", "aside"), ("_", "c")])),
        Rule::diverge("b".into(), arms(&[("y", "d"), ("z", "END")])),
        Rule::branch("c".into(), arms(&[("result.n > 3", "a"), ("inputs['total'] == 5", "b")])),
        Rule::branch("e".into(), arms(&[("state.get('total') == 5 and n / 0 == 1", "d")])),
        own,
    ];
    Definition { name: "ruled".to_owned(), steps, rules, iterations_max: Some(4) }
}

/// Times and bounds that are as large as they can be.
fn timed() -> Definition {
    let mut steps = steps(&[("a", &[]), ("b", &["a"]), ("c", &[])]);
    let retry = RetryPolicy {
        attempts_max: Some(u32::MAX),
        initial_delay_ms: u64::MAX,
        factor_percent: u32::MAX,
        delay_max_ms: u64::MAX,
        jitter_percent: 100,
        ..RetryPolicy::default()
    };
    for step in &mut steps {
        step.retry = Some(retry.clone());
        step.lease_ms = Some(u64::MAX);
        step.start_to_close_ms = Some(u64::MAX);
        step.schedule_to_start_ms = Some(u64::MAX);
        step.heartbeat_ms = Some(u64::MAX);
    }
    Definition {
        name: "timed".to_owned(),
        steps,
        iterations_max: Some(u32::MAX),
        ..Definition::default()
    }
}

/// Times and bounds that are as small as they can be.
fn hasty() -> Definition {
    let mut steps = steps(&[("a", &[]), ("b", &["a"]), ("c", &[])]);
    let retry = RetryPolicy {
        attempts_max: Some(3),
        initial_delay_ms: 0,
        factor_percent: 100,
        delay_max_ms: 0,
        jitter_percent: 0,
        retryable_kinds: vec!["Boom".to_owned()],
        final_kinds: vec!["TypeError".to_owned()],
    };
    for step in &mut steps {
        step.retry = Some(retry.clone());
        step.lease_ms = Some(1);
        step.start_to_close_ms = Some(1);
        step.schedule_to_start_ms = Some(1);
        step.heartbeat_ms = Some(1);
    }
    Definition { name: "hasty".to_owned(), steps, iterations_max: Some(1), ..Definition::default() }
}
