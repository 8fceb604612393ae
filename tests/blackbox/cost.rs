//! What things cost, in requests: the exact counts that the README promises.

use std::{sync::Arc, time::Duration};

use lazarus::{
    env::SystemEnv,
    proto::{cerebelum::ExecutionState as State, lazarus as v1},
    store::{Family, Operation, Requests, Store},
};
use object_store::ObjectStoreExt;
use serde_json::json;

use crate::{
    clock::Clock,
    support::{Bucket, Client, Done, Instance, Setup, structure},
};

/// Requests that belong to an execution's own way: no lists for people, no signs of life.
pub fn on_the_way(all: Requests) -> (u64, u64, u64) {
    let beside = [Family::Feed, Family::Worker];
    let count = |operation| {
        let aside: u64 = beside.iter().map(|family| all.in_family(operation, *family)).sum();
        all.of(operation) - aside
    };
    (count(Operation::Put), count(Operation::Get), count(Operation::List))
}

async fn start_by_version(client: &mut Client, workflow: &str, version: u32) -> String {
    let request = v1::StartRequest {
        workflow: workflow.to_owned(),
        version,
        input: Some(structure(json!({"n": 1}))),
        ..Default::default()
    };
    client.executions.start(request).await.expect("it starts").into_inner().execution_id
}

fn chain(steps: usize) -> Vec<(String, Vec<String>)> {
    let name = |n: usize| format!("step{n}");
    (0..steps).map(|n| (name(n), if n == 0 { vec![] } else { vec![name(n - 1)] })).collect()
}

async fn put_chain(client: &mut Client, workflow: &str, steps: usize) -> u32 {
    let steps = chain(steps)
        .into_iter()
        .map(|(name, depends_on)| v1::BlueprintStep { name, depends_on, ..Default::default() })
        .collect();
    let request =
        v1::PutBlueprintRequest { name: workflow.to_owned(), steps, ..Default::default() };
    client.blueprints.put(request).await.expect("a valid blueprint").into_inner().version
}

#[tokio::test]
async fn a_warm_chain_of_ten_steps_costs_12_put_and_no_get_or_list() {
    let instance = Instance::start(Bucket::new().store().await, &Setup::counted()).await;
    let mut client = instance.client().await;
    let version = put_chain(&mut client, "chain", 10).await;
    client.register("w1", &[]).await;
    let mut polling = client.clone();
    let first = tokio::spawn(async move { polling.poll("w1", 10_000).await });
    instance.until_polling(1).await;
    let before = instance.engine.store().requests();
    let id = start_by_version(&mut client, "chain", version).await;
    let mut task = first.await.expect("polled").expect("the first task");
    let payload = "x".repeat(1000);
    for step in 0..10 {
        assert_eq!(task.step_name, format!("step{step}"));
        client.submit("w1", &task, Done::Success(json!({"ok": payload}))).await;
        if step < 9 {
            task = client.poll("w1", 10_000).await.expect("the next task");
        }
    }
    instance.settle().await;
    let cost = instance.engine.store().requests() - before;
    assert_eq!(on_the_way(cost), (12, 0, 0), "{cost}");
    client.until(&id, State::ExecutionCompleted).await;
}

#[tokio::test]
async fn a_cold_start_by_version_costs_one_get_more_and_no_list() {
    let bucket = Bucket::new();
    let first = Instance::start(bucket.store().await, &Setup::counted()).await;
    let version = put_chain(&mut first.client().await, "chain", 3).await;
    let cold = Instance::start(bucket.store().await, &Setup::counted()).await;
    let before = cold.engine.store().requests();
    start_by_version(&mut cold.client().await, "chain", version).await;
    cold.settle().await;
    let cost = cold.engine.store().requests() - before;
    // Guard and start commit; the offer, as nobody polls; the blueprint.
    assert_eq!(on_the_way(cost), (3, 1, 0), "{cost}");
    assert_eq!(cost.in_family(Operation::Put, Family::Queue), 1, "{cost}");
}

#[tokio::test]
async fn a_start_by_name_costs_one_get_more_on_a_store_that_others_share() {
    let instance = Instance::start(Bucket::new().store().await, &Setup::counted()).await;
    let mut client = instance.client().await;
    put_chain(&mut client, "chain", 3).await;
    let before = instance.engine.store().requests();
    client.execute("chain", json!({})).await;
    instance.settle().await;
    let cost = instance.engine.store().requests() - before;
    assert_eq!(on_the_way(cost), (3, 1, 0), "{cost}");
}

#[tokio::test]
async fn a_cold_submit_costs_two_get_more_and_no_list() {
    let bucket = Bucket::new();
    let first = Instance::start(bucket.store().await, &Setup::counted()).await;
    let mut client = first.client().await;
    let version = put_chain(&mut client, "chain", 10).await;
    start_by_version(&mut client, "chain", version).await;
    for step in 0..9 {
        let task = client.poll("w1", 10_000).await.expect("a task");
        assert_eq!(task.step_name, format!("step{step}"));
        let cold = Instance::start(bucket.store().await, &Setup::counted()).await;
        let before = cold.engine.store().requests();
        let done = Done::Success(json!({"ok": "x".repeat(1000)}));
        let ack = cold.client().await.submit("w1", &task, done).await;
        assert!(ack.success, "{}", ack.message);
        cold.settle().await;
        let cost = cold.engine.store().requests() - before;
        // The commit, and the offer of the next step, as nobody polls there; tail and blueprint.
        assert_eq!(on_the_way(cost), (2, 2, 0), "step {step}: {cost}");
    }
}

#[tokio::test]
async fn the_thousandth_step_costs_what_the_tenth_does() {
    const STEPS: usize = 1000;
    let instance = Instance::start(Bucket::new().store().await, &Setup::counted()).await;
    let mut client = instance.client().await;
    let version = put_chain(&mut client, "long", STEPS).await;
    client.register("w1", &[]).await;
    start_by_version(&mut client, "long", version).await;
    instance.settle().await;
    let mut costs = vec![];
    let mut stored = vec![];
    let result = "x".repeat(92);
    let mut task = client.poll("w1", 10_000).await.expect("the first task");
    for step in 0..STEPS {
        let before = instance.engine.store().requests();
        client.submit("w1", &task, Done::Success(json!({"ok": result}))).await;
        if step + 1 < STEPS {
            task = client.poll("w1", 10_000).await.expect("the next task");
            let cost = instance.engine.store().requests() - before;
            costs.push(on_the_way(cost));
            stored.push(cost.bytes_written_in(Family::Run));
        }
    }
    assert_eq!((costs[9], costs[STEPS - 2]), ((1, 0, 0), (1, 0, 0)));
    assert!(costs.iter().all(|cost| *cost == (1, 0, 0)), "{costs:?}");
    let worst = stored.windows(32).map(|window| window.iter().sum::<u64>() / 32).max();
    assert!(worst.is_some_and(|mean| mean <= 4096), "a mean of {worst:?} bytes a commit");
}

#[tokio::test]
async fn the_leases_of_a_fan_out_ride_in_one_commit() {
    const WIDTH: usize = 20;
    let instance = Instance::start(Bucket::new().store().await, &Setup::counted()).await;
    let mut client = instance.client().await;
    let names: Vec<String> = (0..WIDTH).map(|n| format!("part{n}")).collect();
    let mut steps: Vec<(&str, &[&str])> = vec![("split", &[])];
    steps.extend(names.iter().map(|name| (name.as_str(), &["split"] as &[&str])));
    client.blueprint("fan", &steps).await;
    client.execute("fan", json!({})).await;
    let split = client.poll("w0", 10_000).await.expect("split");
    // One of the parts is reserved for the next poll of whoever submits.
    let polls: Vec<_> = (1..WIDTH)
        .map(|n| {
            let mut client = client.clone();
            tokio::spawn(async move { client.poll(&format!("p{n}"), 10_000).await })
        })
        .collect();
    instance.until_polling(WIDTH - 1).await;
    instance.settle().await;
    let before = instance.engine.store().requests();
    client.submit("w0", &split, Done::Success(json!({"ok": 1}))).await;
    for poll in polls {
        assert!(poll.await.expect("polled").is_some());
    }
    assert!(client.poll("w0", 10_000).await.is_some());
    instance.settle().await;
    let cost = instance.engine.store().requests() - before;
    assert_eq!(cost.in_family(Operation::Put, Family::Run), 1, "{cost}");
    assert_eq!(cost.in_family(Operation::Put, Family::Queue), 0, "{cost}");
    assert_eq!(cost.get(), 0, "{cost}");
}

#[tokio::test]
async fn a_warm_instance_reads_no_result_back_however_large() {
    let instance = Instance::start(Bucket::new().store().await, &Setup::counted()).await;
    let mut client = instance.client().await;
    let version = put_chain(&mut client, "chain", 3).await;
    client.register("w1", &[]).await;
    start_by_version(&mut client, "chain", version).await;
    let before = instance.engine.store().requests();
    for step in 0..3 {
        let task = client.poll("w1", 10_000).await.expect("a task");
        let payload = format!("{step}").repeat(40_000);
        client.submit("w1", &task, Done::Success(json!({"ok": payload}))).await;
    }
    instance.settle().await;
    let cost = instance.engine.store().requests() - before;
    assert_eq!(cost.in_family(Operation::Put, Family::Blob), 3, "{cost}");
    assert_eq!(cost.get(), 0, "{cost}");
}

#[tokio::test]
async fn a_join_of_more_results_than_a_state_carries_reads_none_back() {
    const WIDTH: usize = 20;
    let instance = Instance::start(Bucket::new().store().await, &Setup::counted()).await;
    let mut client = instance.client().await;
    let names: Vec<String> = (0..WIDTH).map(|n| format!("part{n}")).collect();
    let parts: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut steps: Vec<(&str, &[&str])> =
        parts.iter().map(|name| (*name, &[] as &[&str])).collect();
    steps.push(("join", &parts));
    client.blueprint("join", &steps).await;
    client.register("w1", &[]).await;
    client.execute("join", json!({})).await;
    instance.settle().await;
    let before = instance.engine.store().requests();
    for _ in 0..WIDTH {
        let task = client.poll("w1", 10_000).await.expect("a part");
        let payload = task.step_name.repeat(120);
        client.submit("w1", &task, Done::Success(json!({"ok": payload}))).await;
    }
    let join = client.poll("w1", 10_000).await.expect("the step after them");
    assert_eq!(join.step_inputs.expect("inputs").fields.len(), WIDTH);
    instance.settle().await;
    let cost = instance.engine.store().requests() - before;
    assert_eq!(cost.in_family(Operation::Get, Family::Run), 0, "{cost}");
}

#[tokio::test]
async fn a_sleep_costs_a_timer_a_guard_and_a_commit() {
    let setup = Setup { background: true, ..Setup::counted() };
    let instance = Instance::start(Bucket::new().store().await, &setup).await;
    let mut client = instance.client().await;
    client.register("w1", &[]).await;
    client.blueprint("nap", &[("nap", &[]), ("after", &["nap"])]).await;
    let id = client.execute("nap", json!({})).await;
    let nap = client.poll("w1", 10_000).await.expect("nap");
    instance.settle().await;
    let before = instance.engine.store().requests();
    // Long enough that the worker polls again before it is over, also on a store that is slow: else its
    // next task has a commit of its own.
    let sleep = Done::Sleep { millis: 2_000, data: json!({}) };
    client.submit("w1", &nap, sleep).await;
    let after = client.poll("w1", 10_000).await.expect("the step after the sleep");
    assert_eq!(after.step_name, "after");
    instance.settle().await;
    let cost = instance.engine.store().requests() - before;
    // Going to sleep: a commit and a timer. Waking: a guard and a commit. Each deletes what it ends.
    assert_eq!(cost.in_family(Operation::Put, Family::Run), 2, "{cost}");
    assert_eq!(cost.in_family(Operation::Put, Family::Wake), 2, "{cost}");
    assert_eq!(cost.in_family(Operation::Delete, Family::Wake), 2, "{cost}");
    client.submit("w1", &after, Done::Success(json!({}))).await;
    client.until(&id, State::ExecutionCompleted).await;
}

/// An embedded store as a process has it that is alone on it.
async fn embedded() -> (tempfile::TempDir, Store) {
    let directory = tempfile::tempdir().expect("a directory");
    let url = format!("embedded:{}", directory.path().display());
    let store = Store::open(&url, SystemEnv::shared()).await.expect("the store opens");
    (directory, store)
}

#[tokio::test]
async fn on_an_embedded_store_a_wake_reads_its_run_once() {
    let (_directory, store) = embedded().await;
    let setup = Setup { background: true, ..Setup::counted() };
    let instance = Instance::start(store, &setup).await;
    let mut client = instance.client().await;
    client.blueprint("nap", &[("nap", &[]), ("after", &["nap"])]).await;
    client.execute("nap", json!({})).await;
    let nap = client.poll("w1", 10_000).await.expect("nap");
    instance.settle().await;
    let before = instance.engine.store().requests();
    client.submit("w1", &nap, Done::Sleep { millis: 500, data: json!({}) }).await;
    client.poll("w1", 10_000).await.expect("the step after the sleep");
    instance.settle().await;
    let cost = instance.engine.store().requests() - before;
    assert_eq!(cost.in_family(Operation::Get, Family::Run), 1, "{cost}");
    // The timer; and the guard, in one batch with its commit.
    assert_eq!(cost.in_family(Operation::Put, Family::Wake), 2, "{cost}");
    assert_eq!(cost.in_family(Operation::Delete, Family::Wake), 2, "{cost}");
}

/// Two sleeps of one run, of which the short one is over; its entry names the commit before the newest.
async fn an_old_entry() -> (tempfile::TempDir, Arc<Clock>, Store, String) {
    let ((directory, store), clock) = (embedded().await, Clock::fast());
    let instance = Instance::start_in(store.clone(), &alone(), clock.clone()).await;
    let mut client = instance.client().await;
    let begin: &[&str] = &["begin"];
    let steps =
        [("begin", &[] as &[&str]), ("short", begin), ("long", begin), ("after", &["short"])];
    client.blueprint("naps", &steps).await;
    let id = client.execute("naps", json!({})).await;
    let task = client.poll("w1", 10_000).await.expect("the first step");
    client.submit("w1", &task, Done::Success(json!({}))).await;
    let mut naps = vec![];
    for worker in ["w1", "w2"] {
        naps.push((worker, client.poll(worker, 10_000).await.expect("a nap")));
    }
    naps.sort_by_key(|(_, nap)| nap.step_name == "long");
    for ((worker, nap), millis) in naps.iter().zip([60_000, 3_600_000]) {
        let sleep = Done::Sleep { millis, data: json!({}) };
        assert!(client.submit(worker, nap, sleep).await.success);
    }
    instance.settle().await;
    instance.kill();
    clock.skip(Duration::from_mins(2));
    (directory, clock, store, id)
}

fn alone() -> Setup {
    Setup { reservations: false, near_timers: false, ..Setup::counted() }
}

#[tokio::test]
async fn a_wake_that_begins_with_an_old_commit_is_decided_on_the_newest_and_leaves_no_guard() {
    let (_directory, clock, store, id) = an_old_entry().await;
    let instance = Instance::start_in(store, &alone(), clock).await;
    let mut client = instance.client().await;
    instance.engine.tick().await.expect("a pass");
    let after = client.poll("w1", 10_000).await.expect("the step after the short sleep");
    assert_eq!(after.step_name, "after");
    instance.settle().await;
    let ended = client.events(&id).await;
    let ended: Vec<_> = ended.iter().filter(|event| event["k"] == "sleep_ended").collect();
    assert_eq!(ended.len(), 1, "{ended:?}");
    let entries = instance.objects("wake").await;
    assert_eq!(entries.len(), 2, "a guard, and the timer of the long sleep: {entries:#?}");
}

#[tokio::test]
async fn a_wake_that_begins_with_a_commit_that_can_not_be_read_is_decided_on_the_newest() {
    let (_directory, clock, store, _) = an_old_entry().await;
    let instance = Instance::start_in(store.clone(), &alone(), clock).await;
    // The newest comes first, and carries the state of the run.
    let (old, _) = instance.objects("run").await.swap_remove(1);
    store.objects().put(&old.into(), "not a commit".into()).await.expect("it is written");
    instance.engine.tick().await.expect("a pass");
    let mut client = instance.client().await;
    let after = client.poll("w1", 10_000).await.expect("the step after the short sleep");
    assert_eq!(after.step_name, "after");
}

#[tokio::test]
async fn a_resumption_costs_two_put_two_list_and_the_reading_of_the_old_run() {
    let instance = Instance::start(Bucket::new().store().await, &Setup::counted()).await;
    let mut client = instance.client().await;
    let version = put_chain(&mut client, "chain", 3).await;
    client.register("w1", &[]).await;
    let id = start_by_version(&mut client, "chain", version).await;
    for done in [Done::Success(json!({"ok": 1})), Done::Failure("no")] {
        let task = client.poll("w1", 10_000).await.expect("a task");
        client.submit("w1", &task, done).await;
    }
    client.until(&id, State::ExecutionFailed).await;
    instance.settle().await;
    let before = instance.engine.store().requests();
    let request = v1::ResumeRequest { execution_id: id, ..Default::default() };
    client.executions.resume(request).await.expect("resumed");
    instance.settle().await;
    let cost = instance.engine.store().requests() - before;
    // Guard, start commit, the offer of the step that failed; the newest generation and the newest
    // commit; both, what follows the start, and none after the newest. Without an order the newest
    // commit is looked for by its number.
    let is_ordered = instance.engine.store().is_ordered();
    assert_eq!(on_the_way(cost), if is_ordered { (3, 4, 2) } else { (3, 5, 1) }, "{cost}");
}
