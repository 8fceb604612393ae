//! Steps that wait for a person.

use lazarus::proto::{cerebelum::ExecutionState as State, lazarus as v1};
use serde_json::json;
use tonic::Code;

use crate::support::{
    Bucket, Client, Done, Instance, Setup, Worker, json, lone_instance, structure,
};

async fn approve(
    client: &mut Client,
    id: &str,
    step: &str,
    request: &str,
) -> Result<(), tonic::Status> {
    let response = prost_types::value::Kind::StructValue(structure(json!({"limit": 7})));
    let request = v1::ApproveRequest {
        execution_id: id.to_owned(),
        step: step.to_owned(),
        response: Some(prost_types::Value { kind: Some(response) }),
        by: "ana".to_owned(),
        request_id: request.to_owned(),
        ..Default::default()
    };
    client.executions.approve(request).await.map(|_| ())
}

fn worker(client: &Client, timeout_ms: i64) -> Worker {
    Worker::start(client.clone(), "w1", move |task| {
        if task.step_name.starts_with("ask") {
            return Done::Approval { timeout_ms };
        }
        Done::Success(json!({"ok": json(task.step_inputs.as_ref().expect("inputs"))}))
    })
}

/// An execution that waits for `ask`, which `after` follows.
async fn waiting(client: &mut Client, timeout_ms: i64) -> (String, Worker) {
    client.blueprint("approve", &[("ask", &[]), ("after", &["ask"])]).await;
    let worker = worker(client, timeout_ms);
    let id = client.execute("approve", json!({})).await;
    client.until(&id, State::ExecutionWaitingForApproval).await;
    (id, worker)
}

#[tokio::test]
async fn an_approval_is_seen_and_its_answer_is_the_output_and_the_next_input() {
    let instance = lone_instance().await;
    let mut client = instance.client().await;
    let (id, _worker) = waiting(&mut client, 60_000).await;
    let info = client.status(&id).await.approval_info.expect("what is asked");
    assert_eq!(info.approval_type, "manual");
    assert_eq!(info.timeout_ms, 60_000);
    assert!((50_000..=60_000).contains(&info.remaining_timeout_ms), "{info:?}");
    assert_eq!(json(&info.data.expect("data")), json!({"sum": 7.0}));
    approve(&mut client, &id, "", "r1").await.expect("it is approved");
    let status = client.until(&id, State::ExecutionCompleted).await;
    assert_eq!(json(&status.step_outputs["ask"]), json!({"limit": 7.0}));
    assert_eq!(json(&status.step_outputs["after"]), json!({"ok": {"ask": {"limit": 7.0}}}));
    approve(&mut client, &id, "", "r1").await.expect("the same request has the same answer");
    let other = approve(&mut client, &id, "", "r2").await.expect_err("a refusal");
    assert_eq!(other.code(), Code::FailedPrecondition);
    let events = client.events(&id).await;
    let granted: Vec<_> = events.iter().filter(|event| event["k"] == "approval_granted").collect();
    assert_eq!(granted.len(), 1);
    assert_eq!((&granted[0]["by"], &granted[0]["request"]), (&json!("ana"), &json!("r1")));
}

#[tokio::test]
async fn a_rejection_fails_the_execution_with_its_reason() {
    let instance = lone_instance().await;
    let mut client = instance.client().await;
    let (id, _worker) = waiting(&mut client, 0).await;
    let request = v1::RejectRequest {
        execution_id: id.clone(),
        reason: "too dear".to_owned(),
        by: "ana".to_owned(),
        request_id: "r1".to_owned(),
        ..Default::default()
    };
    client.executions.reject(request.clone()).await.expect("it is rejected");
    client.executions.reject(request).await.expect("the same answer");
    let error = client.until(&id, State::ExecutionFailed).await.error.expect("an error");
    assert_eq!(error.kind, "approval_rejected");
    assert!(error.message.contains("too dear"), "{error:?}");
}

#[tokio::test]
async fn an_approval_that_nobody_gives_times_out() {
    let instance = lone_instance().await;
    instance.tick_often();
    let mut client = instance.client().await;
    client.blueprint("approve", &[("ask", &[])]).await;
    let _worker = worker(&client, 300);
    let id = client.execute("approve", json!({})).await;
    let error = client.until(&id, State::ExecutionFailed).await.error.expect("an error");
    assert_eq!(error.kind, "approval_timeout");
}

#[tokio::test]
async fn of_two_steps_that_wait_one_must_be_named() {
    let instance = lone_instance().await;
    let mut client = instance.client().await;
    client.blueprint("two", &[("root", &[]), ("ask1", &["root"]), ("ask2", &["root"])]).await;
    let _worker = worker(&client, 0);
    let id = client.execute("two", json!({})).await;
    let begun = std::time::Instant::now();
    while client.describe(&id).await.steps.iter().filter(|it| it.phase == "approval").count() < 2 {
        assert!(begun.elapsed() < crate::support::PATIENCE, "two steps do not wait");
    }
    let unclear = approve(&mut client, &id, "", "r1").await.expect_err("a refusal");
    assert_eq!(unclear.code(), Code::InvalidArgument);
    assert!(unclear.message().contains("ask1, ask2"), "{unclear:?}");
    approve(&mut client, &id, "ask2", "r2").await.expect("it is approved");
    let other = approve(&mut client, &id, "root", "r3").await.expect_err("a refusal");
    assert_eq!(other.code(), Code::FailedPrecondition);
    approve(&mut client, &id, "", "r4").await.expect("only one waits now");
    client.until(&id, State::ExecutionCompleted).await;
}

#[tokio::test]
async fn nothing_can_be_approved_where_nothing_waits() {
    let instance = lone_instance().await;
    let mut client = instance.client().await;
    client.blueprint("one", &[("only", &[])]).await;
    let id = client.execute("one", json!({})).await;
    let refused = approve(&mut client, &id, "", "r1").await.expect_err("a refusal");
    assert_eq!(refused.code(), Code::FailedPrecondition);
}

#[tokio::test]
async fn an_approval_outlives_every_instance() {
    let bucket = Bucket::new();
    let first = Instance::start(bucket.store().await, &Setup::new()).await;
    let mut client = first.client().await;
    let (id, old_worker) = waiting(&mut client, 0).await;
    drop(old_worker);
    first.kill();
    let second = Instance::start(bucket.store().await, &Setup::new()).await;
    let mut client = second.client().await;
    approve(&mut client, &id, "", "r1").await.expect("it is approved");
    let _worker = worker(&client, 0);
    client.until(&id, State::ExecutionCompleted).await;
}
