//! What a target is sent, and what becomes of its answer.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use futures::future::BoxFuture;
use lazarus::{
    engine::{Caller, PushQueue},
    proto::{cerebelum::ExecutionState as State, lazarus as v1},
    push::{Answer, Delivery, Undelivered},
    store::{Family, Operation},
    workflow::Timestamp,
};
use serde_json::{Value, json};

use super::{
    Calling, hasty, queue, serving,
    target::{Reply, Target},
};
use crate::support::{Bucket, Client, Done, Instance, PATIENCE, Setup, Worker, kinds};

fn named<'a>(events: &'a [Value], kind: &str) -> Vec<&'a Value> {
    events.iter().filter(|event| event["k"] == kind).collect()
}

fn result(value: &Value) -> Reply {
    Reply::Json(json!({ "result": value }))
}

/// Posts `body` to the instance's HTTP listener: the status, and the answer.
async fn post(instance: &Instance, path: &str, body: &Value) -> (u16, Value) {
    let url = format!("http://{}{path}", instance.http_address);
    let request = reqwest::Client::new().post(url).body(body.to_string());
    let answer = request.send().await.expect("an answer");
    let status = answer.status().as_u16();
    let text = answer.text().await.expect("a body");
    (status, serde_json::from_str(&text).expect("JSON"))
}

#[tokio::test]
async fn a_target_that_answers_at_once_carries_a_chain_to_its_end() {
    let target = Target::start(|_, seen| {
        let step = seen.text("step");
        Reply::After(Duration::from_millis(300), Box::new(result(&json!({ "did": step }))))
    })
    .await;
    let calling = Calling::new();
    let instance = serving(&Setup::new(), &calling, queue(&target)).await;
    let mut client = instance.client().await;
    client.blueprint("chain", &[("a", &[]), ("b", &["a"])]).await;
    let id = client.execute("chain", json!({"order": 7})).await;
    let first = target.until(1).await.remove(0);
    let under_way = super::get(&instance).await.in_flight;
    let step = client.describe(&id).await.steps.remove(0);
    assert_eq!((step.phase.as_str(), step.worker), ("leased", first.text("worker_id")));
    client.until(&id, State::ExecutionCompleted).await;
    let seen = target.seen();
    assert_eq!(seen.len(), 2);
    assert_eq!(under_way, 1, "the polls that wait are none");
    assert_eq!(first.path, "/task");
    assert_eq!(first.header("content-type"), "application/json");
    assert_eq!(first.header("lazarus-task-id"), first.text("task_id"));
    assert_eq!(first.header("lazarus-worker-id"), first.text("worker_id"));
    assert!(first.text("worker_id").starts_with("push:pdf@"), "{:?}", first.task);
    assert_eq!(first.header("lazarus-execution-id"), id);
    assert_eq!(first.header("lazarus-attempt"), "1");
    assert_eq!(first.header("idempotency-key"), first.text("idempotency_key"));
    assert!(first.text("idempotency_key").ends_with("/a/1"), "{:?}", first.task);
    assert_eq!(first.task["inputs"], json!({"inputs": {"order": 7.0}}));
    assert_eq!(seen[1].task["inputs"], json!({"a": {"did": "a"}}));
    let events = client.events(&id).await;
    assert_eq!(named(&events, "step_started").len(), 2, "{events:#?}");
    assert_eq!(named(&events, "delivery_failed").len(), 0, "{events:#?}");
}

#[tokio::test]
async fn a_worker_that_accepted_a_task_reports_by_the_tasks_id() {
    let target = Target::start(|_, _| Reply::Status(202)).await;
    let calling = Calling::new();
    let instance = serving(&Setup::new(), &calling, queue(&target)).await;
    let mut client = instance.client().await;
    client.blueprint("chain", &[("a", &[]), ("b", &["a"])]).await;
    let id = client.execute("chain", json!({})).await;
    let a = target.until(1).await.remove(0);
    let body = |extra: Value| {
        let mut body = json!({"task_id": a.text("task_id"), "worker_id": a.text("worker_id")});
        body.as_object_mut()
            .expect("an object")
            .extend(extra.as_object().cloned().unwrap_or_default());
        body
    };
    let alive = post(&instance, "/v1/tasks/heartbeat", &body(json!({}))).await;
    assert_eq!(alive, (200, json!({})));
    let (status, fault) = post(&instance, "/v1/tasks/result", &body(json!({"output": 1}))).await;
    assert_eq!(status, 400);
    assert!(fault["error"].as_str().is_some_and(|it| it.contains("unknown field `output`")));
    let long = body(json!({"result": "a".repeat(8 << 20)}));
    let (status, fault) = post(&instance, "/v1/tasks/result", &long).await;
    assert_eq!(status, 413);
    assert!(fault["error"].as_str().is_some_and(|it| it.contains("length limit")), "{fault}");
    for _ in 0..2 {
        let done = post(&instance, "/v1/tasks/result", &body(json!({"result": {"n": 1}}))).await;
        assert_eq!(done, (200, json!({"accepted": true, "message": ""})));
    }
    // The second one as any worker does.
    let b = target.until(2).await.remove(1);
    let task = lazarus::proto::cerebelum::Task { task_id: b.text("task_id"), ..Default::default() };
    assert!(client.submit("push:pdf", &task, Done::Success(json!({"ok": 2}))).await.success);
    let status = client.until(&id, State::ExecutionCompleted).await;
    assert_eq!(crate::support::json(&status.step_outputs["a"]), json!({"n": 1.0}));
    assert_eq!(target.count(), 2);
}

#[tokio::test]
async fn a_failure_that_a_worker_reports_is_a_failure_of_the_step() {
    let target = Target::start(|n, _| match n {
        0 => Reply::Json(json!({"error": {"kind": "Busy", "message": "no paper"}})),
        _ => Reply::Json(json!({"error": {"kind": "PaperJam", "message": "tray 2"}})),
    })
    .await;
    let calling = Calling::new();
    let instance = serving(&hasty(), &calling, queue(&target)).await;
    let mut client = instance.client().await;
    let retry = v1::BlueprintRetry {
        max_attempts: 9,
        initial_delay_ms: 10,
        factor_percent: 100,
        max_delay_ms: 10,
        retryable_kinds: vec!["Busy".to_owned()],
        ..Default::default()
    };
    let step =
        v1::BlueprintStep { name: "print".to_owned(), retry: Some(retry), ..Default::default() };
    let request = v1::PutBlueprintRequest {
        name: "print".to_owned(),
        steps: vec![step],
        ..Default::default()
    };
    client.blueprints.put(request).await.expect("a valid blueprint");
    let id = client.execute("print", json!({})).await;
    client.until(&id, State::ExecutionFailed).await;
    let error = client.describe(&id).await.execution.expect("one").error.expect("an error");
    assert_eq!((error.kind.as_str(), error.message.as_str()), ("PaperJam", "tray 2"));
    assert_eq!(target.count(), 2, "one retry, as its policy says");
    let state = super::get(&instance).await;
    assert_eq!((state.failures, state.calling()), (0, v1::Calling::Yes));
}

#[tokio::test]
async fn sleeps_and_approvals_and_answers_that_say_nothing_are_understood() {
    let target = Target::start(|_, seen| match seen.text("step").as_str() {
        "nap" => Reply::Json(json!({"sleep": {"duration_ms": 50, "data": {"slept": true}}})),
        "ask" => Reply::Json(json!({"approval": {"type": "cost", "data": {"sum": 9}}})),
        "quiet" => Reply::Status(204),
        _ => Reply::Json(json!({"reslut": 1})),
    })
    .await;
    let calling = Calling::new();
    let instance = serving(&hasty(), &calling, queue(&target)).await;
    let mut client = instance.client().await;
    let steps: &[(&str, &[&str])] =
        &[("nap", &[]), ("ask", &["nap"]), ("quiet", &["ask"]), ("typo", &["quiet"])];
    client.blueprint("all", steps).await;
    let id = client.execute("all", json!({})).await;
    let begun = Instant::now();
    while client.describe(&id).await.steps[1].approval_type != "cost" {
        assert!(begun.elapsed() < PATIENCE, "nobody is asked");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let request = v1::ApproveRequest { execution_id: id.clone(), ..Default::default() };
    client.executions.approve(request).await.expect("approved");
    client.until(&id, State::ExecutionFailed).await;
    let error = client.describe(&id).await.execution.expect("one").error.expect("an error");
    assert_eq!(error.kind, "invalid_answer");
    assert!(error.message.contains("unknown field `reslut`"), "{}", error.message);
    let steps = kinds(&client.events(&id).await);
    assert_eq!(steps.iter().filter(|kind| *kind == "step_completed").count(), 1, "quiet");
}

#[tokio::test]
async fn a_call_that_takes_too_long_is_given_up_and_its_late_result_still_counts() {
    let target = Target::start(|n, _| match n {
        0 => Reply::After(Duration::from_mins(1), Box::new(Reply::Status(200))),
        _ => Reply::Status(202),
    })
    .await;
    let calling = Calling::new();
    let instance =
        serving(&hasty(), &calling, v1::PushQueue { timeout_ms: 200, ..queue(&target) }).await;
    let mut client = instance.client().await;
    client.blueprint("one", &[("a", &[])]).await;
    let id = client.execute("one", json!({})).await;
    let seen = target.until(2).await;
    assert!(
        seen[1].at - seen[0].at >= Duration::from_millis(900),
        "a pause before it is tried again"
    );
    assert_eq!(
        (seen[0].task["attempt"].clone(), seen[1].task["attempt"].clone()),
        (json!(1), json!(2))
    );
    assert_eq!(seen[0].text("idempotency_key"), seen[1].text("idempotency_key"));
    assert_ne!(seen[0].header("webhook-id"), seen[1].header("webhook-id"));
    // Two deliveries of one step are at work: the first success counts, the other is superseded.
    let report = |n: usize| json!({"task_id": seen[n].text("task_id"), "worker_id": "push:pdf", "result": {"by": n}});
    let first = post(&instance, "/v1/tasks/result", &report(0)).await;
    assert_eq!(first.1["accepted"], json!(true), "{first:?}");
    let second = post(&instance, "/v1/tasks/result", &report(1)).await;
    assert_eq!(second.1["accepted"], json!(false), "{second:?}");
    let status = client.until(&id, State::ExecutionCompleted).await;
    assert_eq!(crate::support::json(&status.step_outputs["a"]), json!({"by": 0.0}));
    let events = client.events(&id).await;
    let failed = named(&events, "delivery_failed");
    assert_eq!(failed.len(), 1, "{events:#?}");
    assert_eq!(failed[0]["reason"], "did not answer within 200ms");
    assert_eq!(named(&events, "step_completed").len(), 1);
}

#[tokio::test]
async fn a_call_that_outlasts_its_lease_keeps_it() {
    let target = Target::start(|_, _| {
        Reply::After(Duration::from_millis(2_500), Box::new(result(&json!({"ok": 1}))))
    })
    .await;
    let calling = Calling::new();
    let setup = hasty().lease(Duration::from_millis(800));
    let instance = serving(&setup, &calling, queue(&target)).await;
    let mut client = instance.client().await;
    client.blueprint("one", &[("a", &[])]).await;
    let id = client.execute("one", json!({})).await;
    client.until(&id, State::ExecutionCompleted).await;
    let events = client.events(&id).await;
    assert_eq!(target.count(), 1, "{events:#?}");
    assert!(named(&events, "lease_extended").len() >= 2, "{events:#?}");
    assert_eq!(named(&events, "attempt_lost").len(), 0, "{events:#?}");
}

/// Takes calls, and never answers.
#[derive(Debug, Default)]
struct Silent {
    calls: AtomicUsize,
}

impl Caller for Silent {
    fn call<'a>(
        &'a self,
        _: &'a PushQueue,
        _: &'a Delivery,
        _: Timestamp,
        _: Duration,
    ) -> BoxFuture<'a, Result<Answer, Undelivered>> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        Box::pin(std::future::pending())
    }

    fn hindrance(&self, _: &PushQueue) -> Option<String> {
        None
    }
}

#[tokio::test]
async fn a_task_whose_engine_dies_between_the_lease_and_the_call_is_sent_when_the_lease_ends() {
    let target = Target::start(|_, _| result(&json!({"ok": 1}))).await;
    let calling = Calling::new();
    let bucket = Bucket::new();
    let setup = hasty().lease(Duration::from_millis(700));
    let first = Instance::start(bucket.store().await, &setup).await;
    super::set(&first, queue(&target)).await.expect("a valid queue");
    let silent = Arc::new(Silent::default());
    first.push_through(silent.clone());
    let mut client = first.client().await;
    client.blueprint("one", &[("a", &[])]).await;
    let id = client.execute("one", json!({})).await;
    let begun = Instant::now();
    while silent.calls.load(Ordering::SeqCst) == 0 {
        assert!(begun.elapsed() < PATIENCE, "nobody is called");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    first.kill();
    let second = Instance::start(bucket.store().await, &setup).await;
    second.push_through(calling.caller());
    second.tick_often();
    let mut client = second.client().await;
    client.until(&id, State::ExecutionCompleted).await;
    assert_eq!(
        target.seen().iter().map(|seen| seen.task["attempt"].clone()).collect::<Vec<_>>(),
        [2]
    );
    let events = client.events(&id).await;
    assert_eq!(named(&events, "attempt_lost")[0]["reason"], "lease_ended");
}

#[tokio::test]
async fn no_more_calls_are_under_way_than_the_queue_allows() {
    let target = Target::start(|_, _| {
        Reply::After(Duration::from_millis(100), Box::new(result(&json!({"ok": 1}))))
    })
    .await;
    let calling = Calling::new();
    let instance =
        serving(&Setup::new(), &calling, v1::PushQueue { concurrency: 3, ..queue(&target) }).await;
    let mut client = instance.client().await;
    let names: Vec<String> = (0..12).map(|n| format!("s{n}")).collect();
    let mut steps: Vec<(&str, &[&str])> = vec![("root", &[])];
    steps.extend(names.iter().map(|name| (name.as_str(), &["root"][..])));
    client.blueprint("wide", &steps).await;
    let id = client.execute("wide", json!({})).await;
    client.until(&id, State::ExecutionCompleted).await;
    assert_eq!((target.count(), target.most_at_once()), (13, 3));
}

#[tokio::test]
async fn a_queue_takes_the_steps_that_it_names_and_workers_the_others() {
    let target = Target::start(|_, _| result(&json!({"by": "target"}))).await;
    let calling = Calling::new();
    let only = v1::PushQueue {
        steps: vec!["render".to_owned()],
        workflows: vec!["orders".to_owned()],
        ..queue(&target)
    };
    let instance = serving(&hasty(), &calling, only).await;
    let mut client = instance.client().await;
    let steps: &[(&str, &[&str])] = &[("a", &[]), ("render", &["a"]), ("z", &["render"])];
    client.blueprint("orders", steps).await;
    client.blueprint("bills", steps).await;
    client.register("w1", &["a", "z"]).await;
    client.register("w2", &["render"]).await;
    let work = |_: &_| Done::Success(json!({"by": "worker"}));
    let _w1 = Worker::start(client.clone(), "w1", work);
    let orders = client.execute("orders", json!({})).await;
    let status = client.until(&orders, State::ExecutionCompleted).await;
    let by = |step: &str| crate::support::json(&status.step_outputs[step])["by"].clone();
    assert_eq!([by("a"), by("render"), by("z")], ["worker", "target", "worker"]);
    let bills = client.execute("bills", json!({})).await;
    let _w2 = Worker::start(client.clone(), "w2", work);
    let status = client.until(&bills, State::ExecutionCompleted).await;
    assert_eq!(crate::support::json(&status.step_outputs["render"])["by"], "worker");
    assert_eq!(target.count(), 1);
}

#[tokio::test]
async fn a_pass_calls_all_that_waits_and_begins_nothing_that_it_could_not_finish() {
    let target = Target::start(|_, seen| result(&json!({ "did": seen.text("step") }))).await;
    let calling = Calling::new();
    let setup = Setup { background: false, ..Setup::new() };
    let instance = Instance::start(Bucket::new().store().await, &setup).await;
    super::set(&instance, queue(&target)).await.expect("a valid queue");
    let mut client = instance.client().await;
    client.blueprint("chain", &[("a", &[]), ("b", &["a"]), ("c", &["b"])]).await;
    let id = client.execute("chain", json!({})).await;
    instance.settle().await;
    let caller = calling.caller();
    let too_short = instance.engine.env().now().after(Duration::from_secs(29));
    let made = instance.engine.push_pass(&caller, Some(too_short)).await.expect("a pass");
    assert_eq!((made, target.count()), (0, 0), "its timeout is 30 s");
    let made = instance.engine.push_pass(&caller, None).await.expect("a pass");
    assert_eq!((made, target.count()), (3, 3));
    client.until(&id, State::ExecutionCompleted).await;
    instance.settle().await;
    assert_eq!(instance.objects("queue").await, [], "no offer is left");
    let before = instance.engine.store().requests();
    assert_eq!(instance.engine.push_pass(&caller, None).await.expect("a pass"), 0);
    let cost = instance.engine.store().requests() - before;
    assert_eq!((cost.of(Operation::List), cost.of(Operation::Put)), (1, 0), "{cost}");
}

#[tokio::test]
async fn a_chain_of_ten_pushed_steps_costs_what_one_of_polled_steps_does() {
    let target = Target::start(|_, _| result(&json!({"ok": "x".repeat(900)}))).await;
    let calling = Calling::new();
    let instance = Instance::start(Bucket::new().store().await, &Setup::counted()).await;
    let one = v1::PushQueue { concurrency: 1, ..queue(&target) };
    super::set(&instance, one).await.expect("a valid queue");
    let mut client = instance.client().await;
    let names: Vec<String> = (0..10).map(|n| format!("s{n}")).collect();
    let before: Vec<Vec<&str>> =
        (0..10).map(|n| if n == 0 { vec![] } else { vec![names[n - 1].as_str()] }).collect();
    let steps: Vec<(&str, &[&str])> =
        names.iter().zip(&before).map(|(name, before)| (name.as_str(), &before[..])).collect();
    let version = client.blueprint("chain", &steps).await;
    instance.push_through(calling.caller());
    // The polls of a queue look for offers as any worker's: after 3.1 s only each 3.2 s.
    until_waiting(&instance).await;
    tokio::time::sleep(Duration::from_millis(3_300)).await;
    let before = instance.engine.store().requests();
    let request = v1::StartRequest { workflow: "chain".to_owned(), version, ..Default::default() };
    let id = client.start(request).await.expect("it starts").execution_id;
    client_until_closed(&instance, &target).await;
    instance.settle().await;
    let cost = instance.engine.store().requests() - before;
    let puts = cost.of(Operation::Put) - cost.in_family(Operation::Put, Family::Feed);
    assert_eq!((puts, cost.of(Operation::Get)), (12, 0), "{cost}");
    assert_eq!(cost.in_family(Operation::List, Family::Push), 0, "{cost}");
    client.until(&id, State::ExecutionCompleted).await;
}

async fn until_waiting(instance: &Instance) {
    let begun = Instant::now();
    while instance.engine.waiting_polls() == 0 {
        assert!(begun.elapsed() < PATIENCE, "the queue is not polled");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn client_until_closed(instance: &Instance, target: &Target) {
    target.until(10).await;
    until_waiting(instance).await;
}

#[tokio::test]
async fn a_worker_that_is_no_push_queue_can_not_pass_for_one() {
    let instance = crate::support::lone_instance().await;
    let mut client: Client = instance.client().await;
    let request = lazarus::proto::cerebelum::PollRequest {
        worker_id: "push:pdf".to_owned(),
        timeout_ms: 100,
    };
    let refused = client.worker.poll_for_task(request).await.expect_err("a refusal");
    assert_eq!(refused.code(), tonic::Code::InvalidArgument);
    assert!(refused.message().contains("kept for push queues"), "{}", refused.message());
}
