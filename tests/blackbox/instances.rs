//! Several instances on one bucket, none of which knows of the others.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use lazarus::proto::cerebelum::ExecutionState as State;
use object_store::{ObjectStore, ObjectStoreExt, memory::InMemory, path::Path};
use serde_json::json;

use crate::{
    faulty::{Fault, FaultyStore, Op, Rule},
    support::{Bucket, Done, Instance, PATIENCE, Setup, Worker},
};

fn done() -> Done {
    Done::Success(json!({"ok": 1}))
}

async fn two_instances() -> (Instance, Instance) {
    let (bucket, setup) = (Bucket::new(), Setup::new().guard(Duration::from_millis(400)));
    let first = Instance::start(bucket.store().await, &setup).await;
    (first, Instance::start(bucket.store().await, &setup).await)
}

/// Waits until no object is left under `prefix`. What a list names and nobody can get is none: Ceph may
/// list a key for ever that was put and deleted at the same time.
async fn until_empty(instance: &Instance, prefix: &str) {
    let begun = Instant::now();
    let objects = instance.engine.store().objects();
    loop {
        let mut left = vec![];
        for (listed, _) in instance.objects(prefix).await {
            if objects.head(&Path::from(listed.as_str())).await.is_ok() {
                left.push(listed);
            }
        }
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

/// Each guard of a run that is over costs a record, which waits for its window of 5 s.
#[tokio::test]
async fn runs_that_are_over_do_not_hold_up_one_that_is_not() {
    const OVER: usize = 100;
    let memory: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let faulty = FaultyStore::over(Arc::clone(&memory));
    let mut setup = Setup::counted().guard(Duration::from_millis(500));
    setup.policy.lease = Duration::from_millis(100);
    // Its records can not be written, so its guards stay, as they do when it dies in time.
    faulty.plan(Rule::on(Op::Put, "feed", Fault::Fail).always());
    let here = Instance::start(Bucket::over(faulty.objects()).store().await, &setup).await;
    let mut client = here.client().await;
    client.blueprint("single", &[("only", &[])]).await;
    for _ in 0..OVER {
        client.execute("single", json!({})).await;
        let task = client.poll("w1", 5_000).await.expect("the task");
        client.submit("w1", &task, done()).await;
    }
    let open = client.execute("single", json!({})).await;
    let lost = client.poll("w1", 5_000).await.expect("the task");
    assert_eq!(lost.execution_id, open);
    here.kill();

    let there = Instance::start(Bucket::over(memory).store().await, &setup).await;
    assert!(there.objects("wake/0/guard").await.len() > OVER, "the guards of the dead stand");
    tokio::time::sleep(Duration::from_millis(600)).await;
    let begun = Instant::now();
    while there.engine.tick().await.expect("a pass").more {}
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(4), "a pass over runs that are over took {took:?}");
    let woken = there.client().await.events(&open).await;
    assert!(woken.iter().any(|event| event["k"] == "attempt_lost"), "{woken:#?}");
    there.settle().await;
    let left = there.objects("wake/0/guard").await;
    assert_eq!(left.len(), 1, "all went but the one of the run that is open: {left:?}");
}

#[tokio::test]
async fn the_walk_at_start_takes_the_guards_of_what_is_over() {
    let memory: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let faulty = FaultyStore::over(Arc::clone(&memory));
    // Not due for as long as this takes.
    let mut setup = Setup::new().guard(Duration::from_mins(10));
    faulty.plan(Rule::on(Op::Put, "feed", Fault::Fail).always());
    let here = Instance::start(Bucket::over(faulty.objects()).store().await, &setup).await;
    let mut client = here.client().await;
    client.blueprint("single", &[("only", &[])]).await;
    let id = client.execute("single", json!({})).await;
    let task = client.poll("w1", 5_000).await.expect("the task");
    client.submit("w1", &task, done()).await;
    here.settle().await;
    here.kill();

    setup.background = true;
    let there = Instance::start(Bucket::over(memory).store().await, &setup).await;
    until_empty(&there, "wake").await;
    let listed = there.objects("feed").await;
    assert!(!listed.is_empty(), "the record of {id} was written first");
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
