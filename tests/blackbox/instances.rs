//! Several instances on one bucket, none of which knows of the others.

use std::time::{Duration, Instant};

use lazarus::proto::cerebelum::ExecutionState as State;
use serde_json::json;

use crate::support::{Bucket, Done, Instance, PATIENCE, Setup, Worker};

fn done() -> Done {
    Done::Success(json!({"ok": 1}))
}

async fn two_instances() -> (Instance, Instance) {
    let (bucket, setup) = (Bucket::new(), Setup::new().guard(Duration::from_millis(400)));
    let first = Instance::start(bucket.store().await, &setup).await;
    (first, Instance::start(bucket.store().await, &setup).await)
}

/// Waits until no object is left under `prefix`.
async fn until_empty(instance: &Instance, prefix: &str) {
    let begun = Instant::now();
    loop {
        let left = instance.objects(prefix).await;
        if left.is_empty() {
            return;
        }
        assert!(begun.elapsed() < PATIENCE, "left under {prefix}/: {left:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_worker_of_one_instance_gets_what_was_started_on_another_and_may_move() {
    let (here, there) = two_instances().await;
    let (mut client, mut other) = (here.client().await, there.client().await);
    let steps: [(&str, &[&str]); 4] = [("a", &[]), ("b", &["a"]), ("c", &["b"]), ("d", &["c"])];
    client.blueprint("chain", &steps).await;
    let id = client.execute("chain", json!({})).await;
    for (n, name) in ["a", "b", "c", "d"].into_iter().enumerate() {
        let at = if n % 2 == 0 { &mut other } else { &mut client };
        let task = at.poll("w1", 10_000).await.expect("the next task");
        assert_eq!(task.step_name, name);
        assert!(at.submit("w1", &task, done()).await.success);
    }
    client.until(&id, State::ExecutionCompleted).await;
}

#[tokio::test]
async fn another_instance_ends_a_sleep_that_began_on_one_that_died() {
    let (here, there) = two_instances().await;
    let mut client = here.client().await;
    client.blueprint("nap", &[("nap", &[]), ("after", &["nap"])]).await;
    let id = client.execute("nap", json!({})).await;
    let nap = client.poll("w1", 5_000).await.expect("the task");
    client.submit("w1", &nap, Done::Sleep { millis: 500, data: json!({}) }).await;
    here.settle().await;
    here.kill();
    let mut other = there.client().await;
    let after = other.poll("w2", 15_000).await.expect("it woke");
    assert_eq!(after.step_name, "after");
    other.submit("w2", &after, done()).await;
    other.until(&id, State::ExecutionCompleted).await;
}

#[tokio::test]
async fn twenty_executions_over_two_instances_end_once_each_and_leave_no_entries() {
    let (here, there) = two_instances().await;
    let (mut client, other) = (here.client().await, there.client().await);
    client.blueprint("fork", &[("a", &[]), ("b", &["a"]), ("c", &["a"]), ("d", &["b", "c"])]).await;
    let workers: Vec<Worker> = (0..4)
        .map(|n| {
            let client = if n % 2 == 0 { client.clone() } else { other.clone() };
            Worker::start(client, &format!("w{n}"), |_| done())
        })
        .collect();
    let mut ids = vec![];
    for n in 0..20 {
        let mut client = if n % 2 == 0 { client.clone() } else { other.clone() };
        ids.push(client.execute("fork", json!({})).await);
    }
    for id in &ids {
        client.until(id, State::ExecutionCompleted).await;
        let events = client.events(id).await;
        let mut done: Vec<&str> = events
            .iter()
            .filter(|event| event["k"] == "step_completed")
            .map(|event| event["step"].as_str().expect("a step"))
            .collect();
        done.sort_unstable();
        assert_eq!(done, ["a", "b", "c", "d"], "each step has one result");
    }
    here.settle().await;
    there.settle().await;
    here.tick_often();
    until_empty(&here, "wake").await;
    until_empty(&here, "queue").await;
    drop(workers);
}
