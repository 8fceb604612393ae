//! Starting executions: whose id, which version, which payloads, and how they end early.

use std::time::Duration;

use lazarus::{
    proto::{
        cerebelum::{self as wire, ExecutionState as State},
        lazarus as v1,
    },
    store::{Family, Operation},
};
use serde_json::json;
use tonic::Code;

use crate::support::{
    Bucket, Client, Done, Instance, Setup, Worker, json, kinds, lone_instance, structure,
};

fn start_of(workflow: &str, id: &str, request: &str) -> v1::StartRequest {
    v1::StartRequest {
        workflow: workflow.to_owned(),
        execution_id: id.to_owned(),
        request_id: request.to_owned(),
        input: Some(structure(json!({}))),
        ..Default::default()
    }
}

async fn cancel(client: &mut Client, id: &str, request: &str) -> Result<(), tonic::Status> {
    let request = v1::CancelRequest {
        execution_id: id.to_owned(),
        reason: "enough".to_owned(),
        by: "ana".to_owned(),
        request_id: request.to_owned(),
        ..Default::default()
    };
    client.executions.cancel(request).await.map(|_| ())
}

async fn lone_client() -> (Instance, Client) {
    let instance = lone_instance().await;
    let mut client = instance.client().await;
    client.blueprint("one", &[("only", &[])]).await;
    (instance, client)
}

fn done() -> Done {
    Done::Success(json!({"ok": 1}))
}

#[tokio::test]
async fn an_id_in_use_answers_the_open_execution_and_a_closed_one_starts_a_next_generation() {
    let (_instance, mut client) = lone_client().await;
    let first = client.start(start_of("one", "order-1", "")).await.expect("it starts");
    let again = client.start(start_of("one", "order-1", "")).await.expect("an answer");
    assert_eq!((first.was_running, again.was_running), (false, true));
    assert_eq!((&again.run_id, again.generation), (&first.run_id, 0));
    let options =
        wire::ExecutionOptions { execution_id: "order-1".to_owned(), ..Default::default() };
    let request = wire::ExecuteRequest {
        workflow_module: "one".to_owned(),
        options: Some(options),
        ..Default::default()
    };
    let handle = client.worker.execute_workflow(request).await.expect("an answer").into_inner();
    assert_eq!(
        (handle.execution_id.as_str(), handle.status.as_str()),
        ("order-1", "already_running")
    );

    let task = client.poll("w1", 5_000).await.expect("the task");
    client.submit("w1", &task, done()).await;
    client.until("order-1", State::ExecutionCompleted).await;
    let log_of = |run: &str| v1::LogRequest { run_id: run.to_owned(), ..Default::default() };
    let old = log(&mut client, log_of(&first.run_id)).await;
    let second = client.start(start_of("one", "order-1", "")).await.expect("it starts again");
    assert_eq!((second.was_running, second.generation), (false, 1));
    assert_ne!(second.run_id, first.run_id);
    assert_eq!(client.status("order-1").await.status(), State::ExecutionRunning);
    assert_eq!(kinds(&client.events("order-1").await)[0], "execution_started");
    let stale = client.submit("w1", &task, Done::Success(json!({"ok": "of the old run"}))).await;
    assert!(stale.success, "it was applied, to the old run");
    assert_eq!(client.status("order-1").await.status(), State::ExecutionRunning);
    assert_eq!(log(&mut client, log_of(&first.run_id)).await, old, "the old log is as it was");
}

async fn log(client: &mut Client, request: v1::LogRequest) -> Vec<(String, Vec<u8>)> {
    let mut stream = client.executions.log(request).await.expect("a log").into_inner();
    let mut commits = vec![];
    while let Some(commit) = stream.message().await.expect("a commit") {
        commits.push((commit.key, commit.commit));
    }
    commits
}

#[tokio::test]
async fn a_request_that_is_sent_often_and_everywhere_starts_one_run() {
    let bucket = Bucket::new();
    let here = Instance::start(bucket.store().await, &Setup::new()).await;
    let there = Instance::start(bucket.store().await, &Setup::new()).await;
    let (mut client, mut other) = (here.client().await, there.client().await);
    client.blueprint("one", &[("only", &[])]).await;
    for id in ["", "order-7"] {
        let request = format!("request of {id:?}");
        let starts = (0..16).map(|n| {
            let mut client = if n % 2 == 0 { client.clone() } else { other.clone() };
            let request = start_of("one", id, &request);
            tokio::spawn(async move { client.start(request).await.expect("an answer") })
        });
        let mut answers = vec![];
        for start in starts.collect::<Vec<_>>() {
            answers.push(start.await.expect("asked"));
        }
        answers.push(other.start(start_of("one", id, &request)).await.expect("an answer"));
        assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:#?}");
        assert!(!answers[0].was_running);
    }
    here.settle().await;
    there.settle().await;
    assert_eq!(here.objects("id").await.len(), 2);
    assert_eq!(here.objects("queue").await.len(), 2, "each task is on offer once");
}

#[tokio::test]
async fn a_request_that_comes_again_after_its_id_was_used_again_starts_nothing() {
    let (_instance, mut client) = lone_client().await;
    let mut runs = vec![];
    for request in ["r0", "r1", "r2"] {
        let started = client.start(start_of("one", "order-1", request)).await.expect("it starts");
        cancel(&mut client, "order-1", &format!("c{request}")).await.expect("it is cancelled");
        runs.push((started.run_id, started.generation));
    }
    for (request, run) in ["r0", "r1", "r2"].into_iter().zip(runs) {
        let again = client.start(start_of("one", "order-1", request)).await.expect("an answer");
        assert_eq!((again.run_id, again.generation), run, "{request}");
    }
}

#[tokio::test]
async fn an_id_that_can_not_be_one_is_refused() {
    let (_instance, mut client) = lone_client().await;
    for (id, part) in [("lz-mine", "lz-"), (&*"x".repeat(1025), "1025 bytes")] {
        let refused = client.start(start_of("one", id, "")).await.expect_err("a refusal");
        assert_eq!(refused.code(), Code::InvalidArgument);
        assert!(refused.message().contains(part), "{refused:?}");
    }
    let request = wire::GetExecutionStatusRequest::default();
    let refused = client.worker.get_execution_status(request).await.expect_err("a refusal");
    assert_eq!(refused.code(), Code::InvalidArgument);
    let unknown = client.start(start_of("nothing", "", "")).await.expect_err("a refusal");
    assert_eq!(unknown.code(), Code::NotFound);
    assert!(unknown.message().contains("`nothing`"), "{unknown:?}");
    let request = v1::StartRequest { version: 9, ..start_of("one", "", "") };
    let unknown = client.start(request).await.expect_err("a refusal");
    assert_eq!(unknown.code(), Code::NotFound);
    assert!(unknown.message().contains("version 9"), "{unknown:?}");
}

#[tokio::test]
async fn odd_ids_work_from_start_to_end() {
    let (_instance, mut client) = lone_client().await;
    let ids = [
        "ü/.. %~=",
        ".",
        "..",
        "A",
        "a",
        "日本 \u{1f980}\n\t\"",
        &*"é/".repeat(341),
        &*"x".repeat(1024),
    ];
    for id in ids {
        let started = client.start(start_of("one", id, "")).await.expect(id);
        assert_eq!((started.execution_id.as_str(), started.was_running), (id, false));
        let task = client.poll("w1", 5_000).await.expect("the task");
        assert_eq!(task.execution_id, id);
        assert!(client.submit("w1", &task, done()).await.success);
        let status = client.until(id, State::ExecutionCompleted).await;
        assert_eq!(status.execution_id, id);
    }
}

#[tokio::test]
async fn an_execution_stays_on_the_version_it_started_with() {
    let (_instance, mut client) = lone_client().await;
    client.start(start_of("one", "old", "")).await.expect("it starts");
    assert_eq!(client.blueprint("one", &[("only", &[]), ("more", &["only"])]).await, 2);
    client.start(start_of("one", "new", "")).await.expect("it starts");
    let request = v1::StartRequest { version: 1, ..start_of("one", "pinned", "") };
    client.start(request).await.expect("it starts");
    let _worker = Worker::start(client.clone(), "w1", |_| done());
    for (id, version, steps) in [("old", 1, 1), ("new", 2, 2), ("pinned", 1, 1)] {
        client.until(id, State::ExecutionCompleted).await;
        let execution = client.describe(id).await.execution.expect("an execution");
        assert_eq!((execution.version, execution.steps_total), (version, steps), "{id}");
    }
}

#[tokio::test]
async fn the_same_blueprint_again_costs_no_put() {
    let (instance, mut client) = lone_client().await;
    let before = instance.engine.store().requests();
    assert_eq!(client.blueprint("one", &[("only", &[])]).await, 1);
    let cost = instance.engine.store().requests() - before;
    assert_eq!(cost.in_family(Operation::Put, Family::Blueprint), 0, "{cost}");
}

#[tokio::test]
async fn what_is_wrong_with_a_blueprint_is_named() {
    let (_instance, mut client) = lone_client().await;
    let cases: [(&str, &[(&str, &[&str])], &str); 7] = [
        ("", &[("a", &[])], "no name"),
        ("w", &[], "no steps"),
        ("w", &[("", &[])], "step 1 of the timeline has no name"),
        ("w", &[("a", &[]), ("a", &[])], "more than once"),
        ("w", &[("a", &["a"])], "depends on itself"),
        ("w", &[("a", &["b"])], "`b`, which is not in the timeline"),
        ("w", &[("a", &["b"]), ("b", &["a"])], "circle"),
    ];
    for (name, steps, part) in cases {
        let timeline = steps.iter().map(|(name, depends_on)| wire::Step {
            name: (*name).to_owned(),
            depends_on: depends_on.iter().map(|name| (*name).to_owned()).collect(),
            ..Default::default()
        });
        let definition =
            wire::WorkflowDefinition { timeline: timeline.collect(), ..Default::default() };
        let request = wire::Blueprint {
            workflow_module: name.to_owned(),
            language: "python".to_owned(),
            definition: Some(definition),
            ..Default::default()
        };
        let answer = client.worker.submit_blueprint(request).await.expect("an answer").into_inner();
        assert!(!answer.valid, "{part}");
        assert!(answer.errors.iter().any(|error| error.contains(part)), "{part}: {answer:?}");
    }
}

#[tokio::test]
async fn large_and_odd_payloads_pass_through_steps_and_stay_out_of_commits() {
    let instance = lone_instance().await;
    let mut client = instance.client().await;
    client.blueprint("large", &[("first", &[]), ("second", &["first"])]).await;
    let large = "é".repeat(512 * 1024);
    let odd = "\u{0} \u{2028} \"\\ 🦀 ".to_owned();
    let given = json!({"large": large, "odd": odd, "n": -1.5e300, "nested": [[{"": null}], true]});
    let _worker = Worker::start(client.clone(), "w1", |task| {
        let inputs = json(task.step_inputs.as_ref().expect("inputs"));
        Done::Success(json!({"ok": inputs.get("first").unwrap_or_else(|| &inputs["inputs"])}))
    });
    let id = client.execute("large", given.clone()).await;
    let status = client.until(&id, State::ExecutionCompleted).await;
    assert!(json(&status.step_outputs["second"])["ok"] == given, "the value changed on its way");
    assert!(json(&status.inputs.expect("inputs")) == given, "the input changed");
    instance.settle().await;
    let blobs = instance.objects("blob").await;
    assert!(!blobs.is_empty() && blobs.iter().all(|(_, size)| *size > 1 << 20), "{blobs:?}");
    for (key, size) in
        [instance.objects("run").await, instance.objects("id").await].into_iter().flatten()
    {
        assert!(size < 8 * 1024, "{key} has {size} bytes");
    }
}

#[tokio::test]
async fn an_execution_that_takes_too_long_times_out() {
    let setup = Setup::new().guard(Duration::from_millis(200));
    let instance = Instance::start(Bucket::new().store().await, &setup).await;
    instance.tick_often();
    let mut client = instance.client().await;
    client.blueprint("one", &[("only", &[])]).await;
    let request = v1::StartRequest { timeout_ms: 400, ..start_of("one", "brief", "") };
    client.start(request).await.expect("it starts");
    let task = client.poll("w1", 5_000).await.expect("the task");
    let status = client.until("brief", State::ExecutionFailed).await;
    assert!(status.error.expect("an error").kind.contains("time"), "it says so");
    let execution = client.describe("brief").await.execution.expect("an execution");
    assert_eq!(execution.status(), v1::Status::TimedOut);
    assert!(!client.submit("w1", &task, done()).await.success);
}

#[tokio::test]
async fn a_cancelled_execution_is_closed_for_good() {
    let (_instance, mut client) = lone_client().await;
    client.start(start_of("one", "order-9", "")).await.expect("it starts");
    let task = client.poll("w1", 5_000).await.expect("the task");
    cancel(&mut client, "order-9", "c1").await.expect("it is cancelled");
    cancel(&mut client, "order-9", "c1").await.expect("the same answer");
    let other = cancel(&mut client, "order-9", "c2").await.expect_err("a refusal");
    assert_eq!(other.code(), Code::FailedPrecondition);
    let execution = client.describe("order-9").await.execution.expect("an execution");
    assert_eq!(execution.status(), v1::Status::Cancelled);
    assert!(!client.submit("w1", &task, done()).await.success);
    let events = client.events("order-9").await;
    let cancelled = events.last().expect("events");
    assert_eq!(cancelled["k"], "execution_cancelled");
    assert_eq!((&cancelled["by"], &cancelled["reason"]), (&json!("ana"), &json!("enough")));
    assert_eq!(client.poll("w2", 200).await, None, "nothing of it is handed out");
    let nobody = cancel(&mut client, "nobody", "c3").await.expect_err("a refusal");
    assert_eq!(nobody.code(), Code::NotFound);
}

#[tokio::test]
async fn an_id_that_is_open_under_another_workflow_is_refused() {
    let instance = lone_instance().await;
    let mut client = instance.client().await;
    client.blueprint("one", &[("a", &[])]).await;
    client.blueprint("other", &[("a", &[])]).await;
    let request = |workflow: &str| v1::StartRequest {
        workflow: workflow.to_owned(),
        execution_id: "order-7".to_owned(),
        ..Default::default()
    };
    client.executions.start(request("one")).await.expect("it starts");
    let same = client.executions.start(request("one")).await.expect("the open one").into_inner();
    assert!(same.was_running);
    let refused = client.executions.start(request("other")).await.expect_err("a refusal");
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert!(refused.message().contains("one of workflow `one`"), "{}", refused.message());
}
