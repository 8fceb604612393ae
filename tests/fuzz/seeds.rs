//! The seeds that nobody writes by hand: requests in protobuf, choices in bytes, a journal.
//!
//! `cargo test --test fuzz -- --ignored` writes those that are missing; nothing here changes one that
//! is kept.

use std::{collections::BTreeSet, fs};

use lazarus::{
    log::Key,
    proto::{cerebelum as wire, lazarus as v1},
    workflow::{ExecutionId, Handle, Namespace, RunId, Task, TaskToken, Timestamp, WakeKind},
};
use prost::Message;
use prost_types::{ListValue, Struct, Value, value::Kind};

use super::{
    bodies::{self, METHODS},
    corpus::{kept, root},
};

/// The task of the execution that the front door's body has under way; the body puts its run's id in.
const TOKEN: &str = "default.order-17.0.00000000000000000000000000000000.1.charge.1.1";
const EXECUTION: &str = "order-17";

fn value(kind: Kind) -> Value {
    Value { kind: Some(kind) }
}

fn object(fields: &[(&str, Value)]) -> Struct {
    let field = |(name, value): &(&str, Value)| ((*name).to_owned(), value.clone());
    Struct { fields: fields.iter().map(field).collect() }
}

fn object_of_all() -> Struct {
    let list = ListValue { values: vec![value(Kind::NumberValue(1.5)), value(Kind::NullValue(0))] };
    let list = value(Kind::ListValue(list));
    object(&[("ok", value(Kind::StringValue("x".to_owned()))), ("list", list)])
}

/// One request: the place of its method, its length, its bytes.
fn frame(name: &str, request: &impl Message) -> Vec<u8> {
    let place = METHODS.iter().position(|method| method.path.ends_with(name)).expect("a method");
    let body = request.encode_to_vec();
    let mut frame = vec![u8::try_from(place).expect("few methods")];
    frame.extend(u16::try_from(body.len()).expect("a short request").to_be_bytes());
    frame.extend(body);
    frame
}

fn worker_requests() -> Vec<(&'static str, Vec<u8>)> {
    let worker_id = || "w1".to_owned();
    let register = wire::RegisterRequest {
        worker_id: worker_id(),
        language: "python".to_owned(),
        capabilities: vec!["charge".to_owned(), "ship".to_owned()],
        version: "0.3.1".to_owned(),
        slots: Some(2),
        ..Default::default()
    };
    let heartbeat =
        wire::HeartbeatRequest { worker_id: worker_id(), status: 1, task_id: TOKEN.to_owned() };
    let unregister = wire::UnregisterRequest { worker_id: worker_id(), reason: "over".to_owned() };
    let poll = wire::PollRequest { worker_id: worker_id(), timeout_ms: 1_000 };
    let result = wire::TaskResult {
        task_id: TOKEN.to_owned(),
        execution_id: EXECUTION.to_owned(),
        worker_id: worker_id(),
        ..Default::default()
    };
    let success = wire::TaskResult { status: 1, result: Some(object_of_all()), ..result.clone() };
    let sleep = wire::SleepRequest { duration_ms: 60_000, data: Some(object_of_all()) };
    let sleep = wire::TaskResult { status: 4, sleep_request: Some(sleep), ..result.clone() };
    let ask = wire::ApprovalRequest {
        approval_type: "legal".to_owned(),
        data: Some(object_of_all()),
        timeout_ms: 90_000,
    };
    let ask = wire::TaskResult { status: 5, approval_request: Some(ask), ..result.clone() };
    let error = wire::ErrorInfo {
        kind: "TypeError".to_owned(),
        message: "charge() got an unexpected keyword argument 'inputs'".to_owned(),
        stacktrace: "line 1".to_owned(),
    };
    let failure = wire::TaskResult { status: 2, error: Some(error), ..result };
    vec![
        ("register", frame("/Register", &register)),
        ("heartbeat", frame("/Heartbeat", &heartbeat)),
        ("unregister", frame("/Unregister", &unregister)),
        ("poll", frame("/PollForTask", &poll)),
        (
            "submit-success",
            [frame("/SubmitResult", &success), frame("/PollForTask", &poll)].concat(),
        ),
        ("submit-sleep", frame("/SubmitResult", &sleep)),
        ("submit-approval", frame("/SubmitResult", &ask)),
        ("submit-failure", frame("/SubmitResult", &failure)),
    ]
}

fn submitted_blueprint() -> wire::Blueprint {
    let step = |name: &str, on: &[&str]| wire::Step {
        name: name.to_owned(),
        depends_on: on.iter().map(|&name| name.to_owned()).collect(),
        lease_ms: 60_000,
        retry: Some(wire::RetryPolicy {
            max_attempts: 3,
            initial_delay_ms: 100,
            backoff_factor: 2.0,
            max_delay_ms: 5_000,
            jitter: Some(0.1),
            ..Default::default()
        }),
        ..Default::default()
    };
    let pattern = wire::PatternMatch { pattern: "{error, _}".to_owned(), target: "b".to_owned() };
    let branch =
        wire::ConditionBranch { condition: "result['n'] > 3".to_owned(), target: "a".to_owned() };
    let definition = wire::WorkflowDefinition {
        timeline: vec![step("a", &[]), step("b", &["a"])],
        diverge_rules: vec![wire::DivergeRule {
            from_step: "a".to_owned(),
            patterns: vec![pattern],
        }],
        branch_rules: vec![wire::BranchRule { from_step: "b".to_owned(), branches: vec![branch] }],
        max_iterations: 5,
        ..Default::default()
    };
    wire::Blueprint {
        workflow_module: "loops".to_owned(),
        language: "python".to_owned(),
        definition: Some(definition),
        ..Default::default()
    }
}

fn execution_requests() -> Vec<(&'static str, Vec<u8>)> {
    let id = |id: &str| id.to_owned();
    let options = wire::ExecutionOptions {
        execution_id: id("order-20"),
        correlation_id: "cart".to_owned(),
        tags: vec!["vip".to_owned()],
        timeout_ms: 60_000,
    };
    let execute = wire::ExecuteRequest {
        workflow_module: "orders".to_owned(),
        inputs: Some(object_of_all()),
        options: Some(options),
        request_id: "r1".to_owned(),
        version: 1,
    };
    let approve = wire::ApproveStepRequest {
        execution_id: id("order-18"),
        step_name: "charge".to_owned(),
        response: Some(object_of_all()),
        approved_by: "ana".to_owned(),
        request_id: "r2".to_owned(),
        run_again: true,
    };
    let reject = wire::RejectStepRequest {
        execution_id: id("order-18"),
        reason: "no".to_owned(),
        ..Default::default()
    };
    let resume =
        wire::ResumeExecutionRequest { execution_id: id("order-19"), skip_completed_steps: true };
    let list = wire::ListExecutionsRequest {
        workflow_name: Some("orders".to_owned()),
        status: Some(1),
        limit: 10,
        offset: 0,
    };
    let status = wire::GetExecutionStatusRequest { execution_id: id(EXECUTION) };
    let blueprint = [
        frame("/SubmitBlueprint", &submitted_blueprint()),
        frame(
            "/ExecuteWorkflow",
            &wire::ExecuteRequest { workflow_module: "loops".to_owned(), ..Default::default() },
        ),
    ];
    vec![
        ("submit-blueprint", blueprint.concat()),
        ("execute", frame("/ExecuteWorkflow", &execute)),
        ("approve-step", frame("/ApproveStep", &approve)),
        ("reject-step", frame("/RejectStep", &reject)),
        ("resume-execution", frame("/ResumeExecution", &resume)),
        ("list-executions", frame("/ListExecutions", &list)),
        ("get-execution-status", frame("/GetExecutionStatus", &status)),
    ]
}

fn own_requests() -> Vec<(&'static str, Vec<u8>)> {
    let namespace = || "default".to_owned();
    let execution_id = || EXECUTION.to_owned();
    let start = v1::StartRequest {
        namespace: namespace(),
        workflow: "orders".to_owned(),
        version: 1,
        execution_id: "order-21".to_owned(),
        input: Some(object_of_all()),
        request_id: "r3".to_owned(),
        timeout_ms: 5_000,
        correlation_id: "cart".to_owned(),
        tags: vec!["vip".to_owned()],
    };
    let describe = v1::DescribeRequest { namespace: namespace(), execution_id: execution_id() };
    let history = v1::HistoryRequest { namespace: namespace(), execution_id: execution_id() };
    let log = v1::LogRequest {
        namespace: namespace(),
        execution_id: execution_id(),
        run_id: String::new(),
    };
    let log_of_run = v1::LogRequest { run_id: "0".repeat(32), ..Default::default() };
    let list = v1::ListRequest {
        namespace: namespace(),
        workflow: "orders".to_owned(),
        status: 3,
        limit: 5,
        offset: 1,
    };
    let approve = v1::ApproveRequest {
        execution_id: "order-18".to_owned(),
        step: "charge".to_owned(),
        response: Some(value(Kind::StructValue(object_of_all()))),
        by: "ana".to_owned(),
        request_id: "r4".to_owned(),
        run_again: false,
        ..Default::default()
    };
    let reject = v1::RejectRequest {
        execution_id: "order-18".to_owned(),
        reason: "no".to_owned(),
        ..Default::default()
    };
    let resume = v1::ResumeRequest {
        execution_id: "order-19".to_owned(),
        by: "ana".to_owned(),
        request_id: "r5".to_owned(),
        ..Default::default()
    };
    let cancel = v1::CancelRequest {
        execution_id: execution_id(),
        reason: "stock".to_owned(),
        ..Default::default()
    };
    let retry = v1::RetryDeadRequest {
        handle: "default.order-17.0.00000000000000000000000000000000.2".to_owned(),
    };
    let get =
        v1::GetBlueprintRequest { name: "orders".to_owned(), version: 1, ..Default::default() };
    vec![
        ("start", frame("ExecutionService/Start", &start)),
        ("describe", frame("/Describe", &describe)),
        ("history", frame("/History", &history)),
        ("log", [frame("/Log", &log), frame("/Log", &log_of_run)].concat()),
        ("list", frame("ExecutionService/List", &list)),
        ("approve", frame("/Approve", &approve)),
        ("reject", frame("/Reject", &reject)),
        ("resume", frame("/Resume", &resume)),
        ("cancel", frame("/Cancel", &cancel)),
        ("list-dead", frame("/ListDead", &v1::ListDeadRequest {})),
        ("retry-dead", frame("/RetryDead", &retry)),
        ("put", frame("BlueprintService/Put", &put())),
        ("get", frame("BlueprintService/Get", &get)),
        ("list-blueprints", frame("BlueprintService/List", &v1::ListBlueprintsRequest::default())),
        ("wait", frame("ExecutionService/Wait", &wait())),
        (
            "execute-and-wait",
            frame("/Execute", &v1::ExecuteRequest { start: Some(start), timeout_ms: 10 }),
        ),
        ("stream-report", stream(v1::work_request::Message::Report(report()))),
        (
            "stream-beat",
            stream(v1::work_request::Message::Beat(v1::Beat { token: TOKEN.to_owned() })),
        ),
        ("stream-drain", stream(v1::work_request::Message::Drain(v1::Drain {}))),
        ("queues", queue_requests()),
        ("queue-get", frame("QueueService/Get", &get_queue())),
        ("queue-list", frame("QueueService/List", &v1::ListQueuesRequest::default())),
        ("queue-delete", frame("QueueService/Delete", &delete_queue())),
    ]
}

fn wait() -> v1::WaitRequest {
    v1::WaitRequest {
        execution_id: EXECUTION.to_owned(),
        timeout_ms: 10,
        ..v1::WaitRequest::default()
    }
}

/// What a worker says after its hello.
fn stream(message: v1::work_request::Message) -> Vec<u8> {
    frame("TaskService/Work", &v1::WorkRequest { message: Some(message) })
}

fn report() -> v1::Report {
    let outcome = Some(v1::report::Outcome::OutputJson(br#"{"charged": 40}"#.to_vec()));
    v1::Report { token: TOKEN.to_owned(), outcome }
}

/// A push queue is set, shown, listed and deleted.
fn queue_requests() -> Vec<u8> {
    let auth = Some(v1::http_target::Auth::HmacSecret("PDF".to_owned()));
    let url = "https://pdf.example/".to_owned();
    let queue = v1::PushQueue {
        name: "pdf".to_owned(),
        target: Some(v1::push_queue::Target::Http(v1::HttpTarget { url, auth })),
        steps: vec!["ship".to_owned()],
        ..Default::default()
    };
    let set = v1::SetQueueRequest { queue: Some(queue), ..Default::default() };
    [
        frame("QueueService/Set", &set),
        frame("QueueService/Get", &get_queue()),
        frame("QueueService/List", &v1::ListQueuesRequest::default()),
        frame("QueueService/Delete", &delete_queue()),
    ]
    .concat()
}

fn get_queue() -> v1::GetQueueRequest {
    v1::GetQueueRequest { name: "pdf".to_owned(), ..Default::default() }
}

fn delete_queue() -> v1::DeleteQueueRequest {
    v1::DeleteQueueRequest { name: "pdf".to_owned(), ..Default::default() }
}

fn put() -> v1::PutBlueprintRequest {
    let step = |name: &str, on: &[&str]| v1::BlueprintStep {
        name: name.to_owned(),
        depends_on: on.iter().map(|&name| name.to_owned()).collect(),
        lease_ms: 1_000,
        retry: Some(v1::BlueprintRetry {
            max_attempts: 2,
            factor_percent: 200,
            ..Default::default()
        }),
        start_to_close_timeout_ms: 5_000,
        schedule_to_start_timeout_ms: 7_000,
        heartbeat_timeout_ms: 900,
    };
    let arm = |when: &str, cel: &str, to: &str| v1::RuleArm {
        when: when.to_owned(),
        cel: cel.to_owned(),
        to: to.to_owned(),
    };
    let rule = v1::BlueprintRule {
        from: "a".to_owned(),
        kind: v1::RuleKind::Branch.into(),
        arms: vec![arm("n > 3", "", "b"), arm("else", "true", "aside")],
    };
    v1::PutBlueprintRequest {
        name: "own".to_owned(),
        steps: vec![step("a", &[]), step("b", &["a"])],
        language: "go".to_owned(),
        rules: vec![rule],
        max_iterations: 9,
        ..Default::default()
    }
}

/// Long stretches of choices: each a workflow, and a story of it.
fn stories() -> Vec<(String, Vec<u8>)> {
    let story = |workflow: u8| {
        let mut bytes = vec![workflow, workflow.wrapping_mul(90)];
        let mut drawn = u32::from(workflow) + 1;
        for _ in 0..400 {
            drawn = drawn.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            bytes.push(drawn.to_be_bytes()[0]);
        }
        (format!("story-{workflow}"), bytes)
    };
    (0..8).map(story).collect()
}

/// A key of each kind, and the texts that lead to runs.
fn keys() -> Vec<(&'static str, String)> {
    let (namespace, run) = (Namespace::default, RunId::from_random(0x0a0b_0c0d));
    let execution = ExecutionId::known("Order 17").expect("a valid id").key();
    let handle =
        Handle { namespace: namespace(), execution: execution.clone(), generation: 2, run, seq: 7 };
    let due = Timestamp::from_millis(1_764_000_000_123);
    let wake = |kind, tries| Key::Wake { shard: 3, kind, due, handle: handle.clone(), tries };
    let (queue, step) = ("default".to_owned(), "Prüfe".into());
    let task = Task { step: "charge".into(), iteration: 2, attempt: 9 };
    let token = TaskToken { handle: handle.clone(), task };
    vec![
        ("id", Key::Id { namespace: namespace(), execution, generation: 2 }.to_string()),
        ("run", Key::Run { run, seq: 7 }.to_string()),
        ("blob", Key::Blob { run, sha256: "5f".repeat(32) }.to_string()),
        ("wake-timer", wake(WakeKind::Timer, 0).to_string()),
        ("wake-guard-tried", wake(WakeKind::Guard, 19).to_string()),
        (
            "queue",
            Key::Queue { shard: 0, queue, step, handle: handle.clone(), task: (1, 4) }.to_string(),
        ),
        (
            "blueprint",
            Key::Blueprint { namespace: namespace(), name: "Pay out".to_owned(), version: 3 }
                .to_string(),
        ),
        (
            "worker",
            Key::Worker { namespace: namespace(), worker: "w1@host:5".to_owned() }.to_string(),
        ),
        ("push", Key::Push { namespace: namespace(), queue: "pdf_2".to_owned() }.to_string()),
        ("feed", Key::Feed { hour: due, instance: "a1b2".to_owned(), n: 12 }.to_string()),
        ("dead", Key::Dead { handle: handle.clone() }.to_string()),
        ("layout", Key::Layout.to_string()),
        ("handle", handle.to_string()),
        ("token", token.to_string()),
    ]
}

fn seeds() -> Vec<(&'static str, String, Vec<u8>)> {
    let requests = [worker_requests(), execution_requests(), own_requests()].concat();
    let requests = requests.into_iter().map(|(name, bytes)| ("frontdoor", name.to_owned(), bytes));
    let stories = stories().into_iter().map(|(name, bytes)| ("run", name, bytes));
    let journal = ("journal", "four-objects".to_owned(), bodies::honest_journal());
    let keys = keys().into_iter().map(|(name, key)| ("key", name.to_owned(), key.into_bytes()));
    requests.chain(stories).chain(keys).chain([journal]).collect()
}

#[test]
#[ignore = "writes into the project"]
fn write_the_seeds_that_are_missing() {
    for (target, name, bytes) in seeds() {
        let folder = root().join("fuzz/corpus").join(target);
        fs::create_dir_all(&folder).expect("a folder");
        let file = folder.join(name);
        if !file.exists() {
            fs::write(&file, bytes).expect("it is written");
        }
    }
}

#[test]
fn every_call_has_a_kept_request() {
    let kept = kept("frontdoor");
    let called: BTreeSet<usize> = kept.iter().map(|(_, bytes)| usize::from(bytes[0])).collect();
    let missing: Vec<&str> = (0..METHODS.len())
        .filter(|place| !called.contains(place))
        .map(|at| METHODS[at].path)
        .collect();
    assert!(missing.is_empty(), "no request of {missing:?} is kept");
}

/// A call that is new is fuzzed from its first day.
#[test]
fn every_call_of_the_interfaces_is_fuzzed() {
    let set = prost_types::FileDescriptorSet::decode(lazarus::proto::DESCRIPTORS).expect("a set");
    let mut calls = BTreeSet::new();
    for file in &set.file {
        for service in &file.service {
            let path = |call: &str| format!("/{}.{}/{call}", file.package(), service.name());
            calls.extend(service.method.iter().map(|method| path(method.name())));
        }
    }
    let fuzzed: BTreeSet<String> = METHODS.iter().map(|method| method.path.to_owned()).collect();
    assert_eq!(calls, fuzzed);
}
