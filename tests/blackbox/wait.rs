//! Waiting for an execution to close, also one that the same call starts.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use lazarus::{
    proto::lazarus::{self as v1, Status},
    store::{Store, Traits},
};
use object_store::{ObjectStore, memory::InMemory};
use serde_json::json;
use tonic::Code;

use crate::support::{Bucket, Client, Done, Instance, Setup, lone_instance};

async fn put_single(client: &mut Client) {
    client.blueprint("single", &[("only", &[])]).await;
}

async fn start(client: &mut Client) -> v1::StartResponse {
    let request = v1::StartRequest { workflow: "single".to_owned(), ..Default::default() };
    client.start(request).await.expect("it starts")
}

fn until_closed(started: &v1::StartResponse, timeout_ms: u64) -> v1::WaitRequest {
    v1::WaitRequest {
        execution_id: started.execution_id.clone(),
        run_id: started.run_id.clone(),
        generation: started.generation,
        timeout_ms,
        ..Default::default()
    }
}

async fn wait(
    client: &mut Client,
    request: v1::WaitRequest,
) -> Result<v1::DescribeResponse, tonic::Status> {
    Ok(client.executions.wait(request).await?.into_inner())
}

fn status(described: &v1::DescribeResponse) -> Status {
    described.execution.as_ref().expect("an execution").status()
}

#[tokio::test]
async fn who_waits_hears_of_the_end_with_its_outputs_and_without_a_request_to_the_bucket() {
    let instance = Instance::start(Bucket::new().store().await, &Setup::counted()).await;
    let mut client = instance.client().await;
    put_single(&mut client).await;
    let started = start(&mut client).await;
    let task = client.poll("w1", 10_000).await.expect("the task");
    instance.settle().await;
    let before = instance.engine.store().requests();
    let (mut other, request) = (client.clone(), until_closed(&started, 20_000));
    let waits = tokio::spawn(async move { wait(&mut other, request).await });
    // It may come before the submission, or after it.
    tokio::time::sleep(Duration::from_millis(50)).await;
    client.submit("w1", &task, Done::Success(json!({"n": 7}))).await;
    let described = waits.await.expect("no panic").expect("an answer");
    assert_eq!(status(&described), Status::Completed);
    assert!(format!("{:?}", described.steps[0].value).contains("7.0"), "{described:?}");
    instance.settle().await;
    let cost = instance.engine.store().requests() - before;
    if std::env::var("LAZARUS_TEST_SHAPE").is_err() {
        assert_eq!(crate::cost::on_the_way(cost), (1, 0, 0), "{cost}");
    }
    // Who comes late hears the same.
    let again = wait(&mut client, until_closed(&started, 20_000)).await.expect("an answer");
    assert_eq!(status(&again), Status::Completed);
}

#[tokio::test]
async fn the_end_on_another_instance_is_seen_within_seconds() {
    let bucket = Bucket::new();
    let here = Instance::start(bucket.store().await, &Setup::new()).await;
    let there = Instance::start(bucket.store().await, &Setup::new()).await;
    let (mut client, mut other) = (here.client().await, there.client().await);
    put_single(&mut client).await;
    let started = start(&mut client).await;
    let (mut waiting, request) = (client.clone(), until_closed(&started, 30_000));
    let waits = tokio::spawn(async move { wait(&mut waiting, request).await });
    let task = other.poll("w1", 10_000).await.expect("the task");
    other.submit("w1", &task, Done::Success(json!({}))).await;
    let done = Instant::now();
    let described = waits.await.expect("no panic").expect("an answer");
    assert_eq!(status(&described), Status::Completed);
    assert!(done.elapsed() < Duration::from_secs(15), "{:?}", done.elapsed());
}

#[tokio::test]
async fn who_asks_after_a_restart_hears_at_once_of_an_end_before_it() {
    // Nobody else closes it meanwhile, so this is the only look before the time is over.
    let objects: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let alone = Traits { ordered: true, exclusive: true, ..Traits::NONE };
    let store = || Store::wrap(Arc::clone(&objects), alone, "memory (own)");
    let first = Instance::start(store(), &Setup::new()).await;
    let mut client = first.client().await;
    put_single(&mut client).await;
    let started = start(&mut client).await;
    let task = client.poll("w1", 10_000).await.expect("the task");
    client.submit("w1", &task, Done::Success(json!({}))).await;
    first.end().await;
    let second = Instance::start(store(), &Setup::new()).await;
    let mut client = second.client().await;
    let begun = Instant::now();
    let described = wait(&mut client, until_closed(&started, 20_000)).await.expect("an answer");
    assert_eq!(status(&described), Status::Completed);
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn when_its_time_is_over_it_says_where_the_execution_stands() {
    let instance = lone_instance().await;
    let mut client = instance.client().await;
    put_single(&mut client).await;
    let started = start(&mut client).await;
    let described = wait(&mut client, until_closed(&started, 200)).await.expect("an answer");
    assert_eq!(status(&described), Status::Running);
    let by_id = v1::WaitRequest {
        execution_id: started.execution_id.clone(),
        timeout_ms: 200,
        ..Default::default()
    };
    assert_eq!(status(&wait(&mut client, by_id).await.expect("an answer")), Status::Running);
}

#[tokio::test]
async fn what_is_not_there_is_said_at_once() {
    let instance = lone_instance().await;
    let mut client = instance.client().await;
    let nobody = v1::WaitRequest { execution_id: "nobody".to_owned(), ..Default::default() };
    assert_eq!(wait(&mut client, nobody.clone()).await.unwrap_err().code(), Code::NotFound);
    let no_run = v1::WaitRequest { run_id: "7".repeat(32), ..nobody.clone() };
    assert_eq!(wait(&mut client, no_run).await.unwrap_err().code(), Code::NotFound);
    let bad = v1::WaitRequest { run_id: "x".to_owned(), ..nobody };
    assert_eq!(wait(&mut client, bad).await.unwrap_err().code(), Code::InvalidArgument);
}

#[tokio::test]
async fn an_instance_that_goes_down_sends_its_waiters_elsewhere() {
    let instance = lone_instance().await;
    let mut client = instance.client().await;
    put_single(&mut client).await;
    let started = start(&mut client).await;
    let (mut waiting, request) = (client.clone(), until_closed(&started, 30_000));
    let waits = tokio::spawn(async move { wait(&mut waiting, request).await });
    tokio::time::sleep(Duration::from_millis(100)).await;
    instance.end().await;
    let status = waits.await.expect("no panic").unwrap_err();
    assert_eq!(status.code(), Code::Unavailable, "{status}");
}

fn of_two(timeout_ms: u64) -> v1::ExecuteRequest {
    let start = v1::StartRequest {
        workflow: "two".to_owned(),
        request_id: "r1".to_owned(),
        ..Default::default()
    };
    v1::ExecuteRequest { start: Some(start), timeout_ms }
}

/// A first step, and two that take its output.
async fn put_two(client: &mut Client) {
    client.blueprint("two", &[("first", &[]), ("left", &["first"]), ("right", &["first"])]).await;
}

async fn execute(client: &mut Client, timeout_ms: u64) -> v1::ExecuteResponse {
    client.executions.execute(of_two(timeout_ms)).await.expect("an answer").into_inner()
}

/// Runs the next steps for `execution`, each with its own name as its output; `fails` fails.
async fn work(client: &mut Client, steps: usize, fails: &str) {
    for _ in 0..steps {
        let task = client.poll("w1", 10_000).await.expect("a task");
        let done = if task.step_name == fails {
            Done::Failure("broken")
        } else {
            Done::Success(json!({ "by": task.step_name }))
        };
        client.submit("w1", &task, done).await;
    }
}

#[tokio::test]
async fn one_call_starts_waits_and_answers_with_what_the_last_steps_returned() {
    let instance = lone_instance().await;
    let mut client = instance.client().await;
    put_two(&mut client).await;
    let (mut worker, mut caller) = (client.clone(), client.clone());
    let (answer, ()) = tokio::join!(execute(&mut caller, 20_000), work(&mut worker, 3, ""));
    let execution = answer.execution.expect("an execution");
    assert_eq!(execution.status(), Status::Completed);
    assert!(execution.closed_at.is_some());
    let outputs = answer.outputs.expect("outputs").fields;
    assert_eq!(outputs.keys().collect::<Vec<_>>(), ["left", "right"], "and not the first");
    assert!(format!("{:?}", outputs["left"]).contains("left"), "{outputs:?}");
}

#[tokio::test]
async fn the_same_call_again_waits_for_the_same_execution() {
    let instance = lone_instance().await;
    let mut client = instance.client().await;
    put_two(&mut client).await;
    let first = execute(&mut client, 100).await;
    let open = first.execution.expect("an execution");
    assert_eq!((open.status(), open.closed_at), (Status::Running, None));
    assert!(first.outputs.expect("outputs").fields.is_empty());

    let (mut worker, mut caller) = (client.clone(), client.clone());
    let (second, ()) = tokio::join!(execute(&mut caller, 20_000), work(&mut worker, 3, ""));
    let third = execute(&mut client, 20_000).await;
    for answer in [second, third] {
        let execution = answer.execution.expect("an execution");
        assert_eq!(execution.run_id, open.run_id);
        assert_eq!(execution.status(), Status::Completed);
        assert_eq!(answer.outputs.expect("outputs").fields.len(), 2);
    }
}

#[tokio::test]
async fn the_call_says_why_an_execution_failed() {
    let instance = lone_instance().await;
    let mut client = instance.client().await;
    put_two(&mut client).await;
    let (mut worker, mut caller) = (client.clone(), client.clone());
    let (answer, ()) = tokio::join!(execute(&mut caller, 20_000), work(&mut worker, 1, "first"));
    let execution = answer.execution.expect("an execution");
    assert_eq!(execution.status(), Status::Failed);
    assert_eq!(execution.failed_step, "first");
    assert_eq!(execution.error.expect("why").message, "broken");
}

#[tokio::test]
async fn the_call_tells_of_an_execution_that_somebody_else_began() {
    let instance = lone_instance().await;
    let mut client = instance.client().await;
    put_two(&mut client).await;
    for (request_id, is_anothers) in [("r1", false), ("r2", true)] {
        let mut request = of_two(100);
        let start = request.start.as_mut().expect("a start");
        (start.execution_id, start.request_id) = ("mine".to_owned(), request_id.to_owned());
        let answer = client.executions.execute(request).await.expect("an answer").into_inner();
        assert_eq!(answer.was_running, is_anothers);
    }
}

#[tokio::test]
async fn an_instance_that_goes_down_answers_with_what_it_has_started() {
    let instance = lone_instance().await;
    let mut client = instance.client().await;
    put_two(&mut client).await;
    let mut caller = client.clone();
    let waits = tokio::spawn(async move { execute(&mut caller, 30_000).await });
    client.poll("w1", 10_000).await.expect("it has started");
    instance.end().await;
    let execution = waits.await.expect("an answer").execution.expect("an execution");
    assert_eq!((execution.status(), execution.closed_at), (Status::Running, None));
    assert_eq!((execution.workflow.as_str(), execution.run_id.len()), ("two", 32));
}

#[tokio::test]
async fn a_short_wait_says_how_it_ended_also_where_it_was_not_seen() {
    let bucket = Bucket::new();
    let first = Instance::start(bucket.store().await, &Setup::new()).await;
    let mut client = first.client().await;
    put_two(&mut client).await;
    let (mut worker, mut caller) = (client.clone(), client.clone());
    let (_, ()) = tokio::join!(execute(&mut caller, 20_000), work(&mut worker, 3, ""));
    first.end().await;
    let second = Instance::start(bucket.store().await, &Setup::new()).await;
    let answer = execute(&mut second.client().await, 1).await;
    assert_eq!(answer.execution.expect("an execution").status(), Status::Completed);
    assert_eq!(answer.outputs.expect("outputs").fields.len(), 2);
}

#[tokio::test]
async fn a_call_without_a_workflow_is_told_what_is_missing() {
    let instance = lone_instance().await;
    let mut client = instance.client().await;
    let nothing = client.executions.execute(v1::ExecuteRequest::default()).await.unwrap_err();
    assert_eq!(nothing.code(), Code::InvalidArgument);
    assert!(nothing.message().contains("workflow"), "{nothing}");
}
