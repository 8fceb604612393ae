//! What things cost, in requests: the exact counts that the README promises.

use lazarus::{
    proto::{cerebelum::ExecutionState as State, lazarus as v1},
    store::{Family, Operation, Requests},
};
use serde_json::json;

use crate::support::{Bucket, Client, Done, Instance, Setup, structure};

/// Requests that belong to an execution's own way: no lists for people, no signs of life.
fn on_the_way(all: Requests) -> (u64, u64, u64) {
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
        .map(|(name, depends_on)| v1::BlueprintStep { name, depends_on, lease_ms: 0 })
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
    until_polling(&instance).await;
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

/// Waits until the poll that was just sent waits at the engine.
async fn until_polling(instance: &Instance) {
    let begun = std::time::Instant::now();
    while !instance.engine.has_waiting_poll() {
        assert!(begun.elapsed() < crate::support::PATIENCE, "the poll did not arrive");
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
    }
}
