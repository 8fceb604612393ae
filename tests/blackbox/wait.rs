//! Waiting for an execution to close.

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
    let alone = Traits { ordered: true, exclusive: true };
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
