//! Executions that failed and go on: always a new run, with what the old one had.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use lazarus::proto::{
    cerebelum::{self as wire, ExecutionState as State, WorkflowDefinition},
    lazarus as v1,
};
use object_store::{ObjectStore, memory::InMemory};
use serde_json::json;

use crate::{
    faulty::FaultyStore,
    support::{
        Bucket, Client, Done, Instance, Setup, Worker, branch, diverge, json, lone_instance,
        timeline,
    },
};

/// A worker whose step `b` fails until the bug is fixed.
fn worker_of(client: &Client, is_fixed: &Arc<AtomicBool>) -> Worker {
    let is_fixed = is_fixed.clone();
    Worker::start(client.clone(), "w1", move |task| {
        let inputs = json(task.step_inputs.as_ref().expect("inputs"));
        match task.step_name.as_str() {
            "b" if !is_fixed.load(Ordering::SeqCst) => Done::Failure("a bug"),
            "a" => Done::Success(json!({"ok": {"text": "x".repeat(40_000)}})),
            _ => Done::Success(json!({"ok": inputs})),
        }
    })
}

async fn resume(client: &mut Client, id: &str, keeps_results: bool) -> wire::ExecutionHandle {
    let request = wire::ResumeExecutionRequest {
        execution_id: id.to_owned(),
        skip_completed_steps: keeps_results,
    };
    client.worker.resume_execution(request).await.expect("an answer").into_inner()
}

async fn failed(client: &mut Client) -> (String, Arc<AtomicBool>, Worker) {
    client.blueprint("mend", &[("a", &[]), ("b", &["a"]), ("c", &["a", "b"])]).await;
    let is_fixed = Arc::new(AtomicBool::new(false));
    let worker = worker_of(client, &is_fixed);
    let id = client.execute("mend", json!({"n": 1})).await;
    client.until(&id, State::ExecutionFailed).await;
    (id, is_fixed, worker)
}

async fn listed(client: &mut Client, id: &str) -> Vec<v1::Execution> {
    let list = client.executions.list(v1::ListRequest::default()).await.expect("a list");
    list.into_inner().executions.into_iter().filter(|it| it.execution_id == id).collect()
}

#[tokio::test]
async fn a_failed_execution_goes_on_from_the_step_that_failed() {
    let instance = lone_instance().await;
    let mut client = instance.client().await;
    let (id, is_fixed, _worker) = failed(&mut client).await;
    let first_run = client.describe(&id).await.execution.expect("an execution").run_id;
    is_fixed.store(true, Ordering::SeqCst);
    assert_eq!(resume(&mut client, &id, true).await.status, "resumed");
    let status = client.until(&id, State::ExecutionCompleted).await;
    let text = json(&status.step_outputs["a"])["ok"]["text"].as_str().map(str::len);
    assert_eq!(text, Some(40_000), "a blob of the old run is one of the new run");
    let execution = client.describe(&id).await.execution.expect("an execution");
    assert_eq!((execution.generation, &execution.resumed_run_id), (1, &first_run));
    let events = client.events(&id).await;
    let begun: Vec<&str> = events
        .iter()
        .filter(|event| event["k"] == "step_started")
        .filter_map(|event| event["step"].as_str())
        .collect();
    assert_eq!(begun, ["b", "c"], "`a` is not run again");
    assert_eq!(events[0]["resumed"]["run"], json!(first_run));
    let again = resume(&mut client, &id, true).await;
    assert_eq!(again.status, "failed_to_resume");
    assert!(again.message.contains("completed"), "{}", again.message);
    instance.settle().await;
    let listed = listed(&mut client, &id).await;
    assert_eq!(listed.len(), 1, "the run that was resumed is not listed beside it: {listed:#?}");
    assert_eq!(listed[0].status(), v1::Status::Completed);
}

#[tokio::test]
async fn on_demand_everything_runs_again() {
    let instance = lone_instance().await;
    let mut client = instance.client().await;
    let (id, is_fixed, _worker) = failed(&mut client).await;
    is_fixed.store(true, Ordering::SeqCst);
    assert_eq!(resume(&mut client, &id, false).await.status, "resumed");
    client.until(&id, State::ExecutionCompleted).await;
    let events = client.events(&id).await;
    let begun = events.iter().filter(|event| event["k"] == "step_started").count();
    assert_eq!(begun, 3);
}

#[tokio::test]
async fn an_open_execution_is_left_as_it_is_and_a_request_resumes_once() {
    let instance = lone_instance().await;
    let mut client = instance.client().await;
    let (id, _, worker) = failed(&mut client).await;
    drop(worker);
    let request = v1::ResumeRequest {
        execution_id: id.clone(),
        by: "ana".to_owned(),
        request_id: "r1".to_owned(),
        ..Default::default()
    };
    let first = client.executions.resume(request.clone()).await.expect("resumed").into_inner();
    assert!(!first.was_running);
    let again = client.executions.resume(request.clone()).await.expect("the same").into_inner();
    assert_eq!((again.run_id, again.generation), (first.run_id.clone(), 1));
    assert!(!again.was_running, "the same answer");
    let other = v1::ResumeRequest { request_id: "r2".to_owned(), ..request };
    let other = client.executions.resume(other).await.expect("an answer").into_inner();
    assert!(other.was_running && other.run_id == first.run_id);
    assert_eq!(resume(&mut client, &id, true).await.status, "already_running");
}

#[tokio::test]
async fn a_request_that_comes_again_after_its_run_was_resumed_too_resumes_nothing() {
    let instance = lone_instance().await;
    let mut client = instance.client().await;
    let (id, is_fixed, _worker) = failed(&mut client).await;
    let request = |request: &str| v1::ResumeRequest {
        execution_id: id.clone(),
        request_id: request.to_owned(),
        ..Default::default()
    };
    let first = client.executions.resume(request("r1")).await.expect("resumed").into_inner();
    client.until(&id, State::ExecutionFailed).await;
    let second = client.executions.resume(request("r2")).await.expect("resumed").into_inner();
    assert_eq!((first.generation, second.generation), (1, 2));
    client.until(&id, State::ExecutionFailed).await;
    let again = client.executions.resume(request("r1")).await.expect("the same").into_inner();
    assert_eq!((again.generation, again.run_id), (1, first.run_id));
    is_fixed.store(true, Ordering::SeqCst);
    client.executions.resume(request("r3")).await.expect("resumed");
    client.until(&id, State::ExecutionCompleted).await;
    let again = client.executions.resume(request("r2")).await.expect("the same").into_inner();
    assert_eq!((again.generation, again.run_id), (2, second.run_id), "also of one that completed");
}

#[tokio::test]
async fn of_many_who_resume_at_once_through_two_instances_one_does() {
    let bucket = Bucket::new();
    let one = Instance::start(bucket.store().await, &Setup::new()).await;
    let two = Instance::start(bucket.store().await, &Setup::new()).await;
    let mut client = one.client().await;
    let (id, is_fixed, _worker) = failed(&mut client).await;
    is_fixed.store(true, Ordering::SeqCst);
    let mut clients = vec![];
    for n in 0..8 {
        clients.push(if n % 2 == 0 { one.client().await } else { two.client().await });
    }
    let asked = clients.iter_mut().map(|client| resume(client, &id, true));
    let answers = futures::future::join_all(asked).await;
    let resumed = answers.iter().filter(|it| it.status == "resumed").count();
    assert_eq!(resumed, 1, "{answers:#?}");
    client.until(&id, State::ExecutionCompleted).await;
    let execution = client.describe(&id).await.execution.expect("an execution");
    assert_eq!(execution.generation, 1);
}

#[tokio::test]
async fn the_way_that_was_taken_is_kept_too() {
    let instance = lone_instance().await;
    let mut client = instance.client().await;
    let definition = WorkflowDefinition {
        timeline: timeline(&[("a", &[]), ("skipped", &["a"]), ("b", &[]), ("c", &["b"])]),
        diverge_rules: vec![diverge("a", &[("_", "b")])],
        ..Default::default()
    };
    client.submit_blueprint("way", definition).await;
    let is_fixed = Arc::new(AtomicBool::new(false));
    let _worker = worker_of(&client, &is_fixed);
    let id = client.execute("way", json!({})).await;
    client.until(&id, State::ExecutionFailed).await;
    is_fixed.store(true, Ordering::SeqCst);
    resume(&mut client, &id, true).await;
    let status = client.until(&id, State::ExecutionCompleted).await;
    assert!(!status.step_outputs.contains_key("skipped"));
    let described = client.describe(&id).await;
    let skipped = described.steps.iter().find(|step| step.name == "skipped").expect("the step");
    assert_eq!((skipped.phase.as_str(), skipped.decided_by.as_str()), ("skipped", "a"));
}

#[tokio::test]
async fn a_loop_that_ran_into_its_bound_is_decided_upon_again() {
    let bucket = Bucket::new();
    let mut setup = Setup::new();
    setup.policy.iterations_max = 3;
    let strict = Instance::start(bucket.store().await, &setup).await;
    let mut client = strict.client().await;
    let definition = WorkflowDefinition {
        timeline: timeline(&[("work", &[]), ("check", &["work"]), ("end", &["check"])]),
        branch_rules: vec![branch("check", &[("n < 5", "work")])],
        ..Default::default()
    };
    client.submit_blueprint("loop", definition).await;
    // The iteration stands in the token of the task, before the attempt.
    let work = |task: &wire::Task| {
        let iteration: f64 = task.task_id.rsplit('.').nth(1).expect("a token").parse().expect("n");
        Done::Success(json!({"ok": {"n": iteration}}))
    };
    let worker = Worker::start(client.clone(), "w1", work);
    let id = client.execute("loop", json!({})).await;
    let status = client.until(&id, State::ExecutionFailed).await;
    assert_eq!(status.error.expect("an error").kind, "loop_limit");
    drop(worker);
    strict.kill();
    let patient = Instance::start(bucket.store().await, &Setup::new()).await;
    let mut client = patient.client().await;
    let _worker = Worker::start(client.clone(), "w1", work);
    assert_eq!(resume(&mut client, &id, true).await.status, "resumed");
    let status = client.until(&id, State::ExecutionCompleted).await;
    assert_eq!(json(&status.step_outputs["check"]), json!({"ok": {"n": 5.0}}));
}

#[tokio::test]
async fn a_late_result_of_the_old_run_changes_nothing_in_the_new_one() {
    let instance = lone_instance().await;
    let mut client = instance.client().await;
    client.blueprint("late", &[("a", &[]), ("b", &["a"]), ("c", &["a"])]).await;
    let id = client.execute("late", json!({})).await;
    let a = client.poll("w1", 5_000).await.expect("a");
    client.submit("w1", &a, Done::Success(json!({"ok": 1}))).await;
    let b = client.poll("w1", 5_000).await.expect("b");
    let c = client.poll("w2", 5_000).await.expect("c");
    client.submit("w1", &b, Done::Failure("no")).await;
    client.until(&id, State::ExecutionFailed).await;
    assert_eq!(resume(&mut client, &id, true).await.status, "resumed");
    let ack = client.submit("w2", &c, Done::Success(json!({"ok": "old"}))).await;
    assert!(!ack.success, "the old run is closed: {}", ack.message);
    for _ in 0..2 {
        let task = client.poll("w3", 5_000).await.expect("b or c");
        client.submit("w3", &task, Done::Success(json!({"ok": "new"}))).await;
    }
    let status = client.until(&id, State::ExecutionCompleted).await;
    assert_eq!(json(&status.step_outputs["c"]), json!({"ok": "new"}));
}

#[tokio::test]
async fn what_was_cancelled_or_never_was_is_told_apart() {
    let instance = lone_instance().await;
    let mut client = instance.client().await;
    client.blueprint("late", &[("a", &[])]).await;
    let id = client.execute("late", json!({})).await;
    let cancel = v1::CancelRequest { execution_id: id.clone(), ..Default::default() };
    client.executions.cancel(cancel).await.expect("cancelled");
    assert_eq!(resume(&mut client, &id, true).await.status, "resumed");
    let nobody = wire::ResumeExecutionRequest {
        execution_id: "nobody".to_owned(),
        skip_completed_steps: true,
    };
    let unknown = client.worker.resume_execution(nobody).await.expect_err("an error");
    assert_eq!(unknown.code(), tonic::Code::NotFound);
}

/// Resumes with one request id; the instance dies around the `count`-th request that this sends.
/// Whether it sent so many.
async fn resume_cut_short(count: usize, is_applied: bool) -> bool {
    let objects: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let faulty = FaultyStore::over(Arc::clone(&objects));
    let setup = Setup::new();
    let first = Instance::start(Bucket::over(faulty.objects()).store().await, &setup).await;
    let mut client = first.client().await;
    let (id, is_fixed, worker) = failed(&mut client).await;
    drop(worker);
    first.settle().await;
    if is_applied {
        faulty.crash_within(count);
    } else {
        faulty.crash_after(count);
    }
    let request = v1::ResumeRequest {
        execution_id: id.clone(),
        request_id: "r1".to_owned(),
        ..Default::default()
    };
    let died = async {
        while !faulty.is_crashed() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        // What was sent before it died has arrived by then.
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    tokio::select! {
        biased;
        _answer = client.executions.resume(request.clone()) => {}
        () = died => {}
    }
    let was_cut = faulty.is_crashed();
    first.kill();
    faulty.heal();
    let second = Instance::start(Bucket::over(objects).store().await, &setup).await;
    second.tick_often();
    let mut client = second.client().await;
    let again = client.executions.resume(request).await.expect("an answer").into_inner();
    assert!(!again.was_running, "the request is recognised");
    is_fixed.store(true, Ordering::SeqCst);
    let _worker = worker_of(&client, &is_fixed);
    client.until(&id, State::ExecutionCompleted).await;
    let execution = client.describe(&id).await.execution.expect("an execution");
    assert_eq!(execution.generation, 1, "resumed once, cut at {count}, applied {is_applied}");
    let events = client.events(&id).await;
    let results = events.iter().filter(|event| event["k"] == "step_completed").count();
    assert_eq!(results, 2, "`b` and `c` once each");
    was_cut
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_at_any_request_of_a_resumption_resumes_once() {
    for is_applied in [false, true] {
        let mut cuts = 0;
        for count in usize::from(is_applied).. {
            if !resume_cut_short(count, is_applied).await {
                break;
            }
            cuts += 1;
        }
        assert!(cuts > 5, "only {cuts} requests: the cuts show nothing");
    }
}
