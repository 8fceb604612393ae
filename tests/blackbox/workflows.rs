//! What a workflow does, seen from outside.

use std::time::Duration;

use lazarus::proto::cerebelum::ExecutionState as State;
use serde_json::json;

use crate::support::{Done, Worker, json, lone_instance};

#[tokio::test]
async fn a_chain_passes_data_from_step_to_step() {
    let instance = lone_instance().await;
    let mut client = instance.client().await;
    client
        .blueprint("orders", &[("price", &[]), ("tax", &["price"]), ("total", &["price", "tax"])])
        .await;
    let _worker = Worker::start(client.clone(), "w1", |task| {
        let inputs = json(task.step_inputs.as_ref().expect("inputs"));
        let number = |name: &str| inputs[name].as_f64().expect("a number");
        Done::Success(match task.step_name.as_str() {
            "price" => json!({"ok": inputs["inputs"]["price"]}),
            "tax" => json!({"ok": number("price") / 10.0}),
            _ => json!({"ok": number("price") + number("tax")}),
        })
    });
    let id = client.execute("orders", json!({"price": 50})).await;
    let status = client.until(&id, State::ExecutionCompleted).await;
    assert_eq!(json(&status.step_outputs["total"]), json!({"ok": 55.0}));
    assert_eq!((status.current_step_index, status.total_steps), (3, 3));
}

#[tokio::test]
async fn a_sleep_ends_when_it_is_due_and_its_data_is_the_output() {
    let instance = lone_instance().await;
    let mut client = instance.client().await;
    client.blueprint("nap", &[("before", &[]), ("nap", &["before"]), ("after", &["nap"])]).await;
    let _worker = Worker::start(client.clone(), "w1", |task| match task.step_name.as_str() {
        "nap" => Done::Sleep { millis: 300, data: json!({"slept": true}) },
        "after" => Done::Success(json(task.step_inputs.as_ref().expect("inputs"))),
        _ => Done::Success(json!({"ok": 1})),
    });
    let id = client.execute("nap", json!({})).await;
    let sleeping = client.until(&id, State::ExecutionSleeping).await;
    assert!(sleeping.sleep_info.expect("a sleep").remaining_ms <= 300);
    let status = client.until(&id, State::ExecutionCompleted).await;
    assert_eq!(json(&status.step_outputs["after"]), json!({"nap": {"slept": true}}));
    let events = client.events(&id).await;
    let find = |kind: &str| events.iter().position(|event| event["k"] == kind).expect(kind);
    assert!(find("sleep_started") < find("sleep_ended"));
}

#[tokio::test]
async fn a_failing_step_fails_the_execution_and_says_why() {
    let instance = lone_instance().await;
    let mut client = instance.client().await;
    client.blueprint("bad", &[("only", &[])]).await;
    let _worker = Worker::start(client.clone(), "w1", |_| Done::Failure("no stock"));
    let id = client.execute("bad", json!({})).await;
    let status = client.until(&id, State::ExecutionFailed).await;
    let error = status.error.expect("an error");
    assert_eq!((error.kind.as_str(), error.message.as_str()), ("ValueError", "no stock"));
}

#[tokio::test]
async fn parallel_steps_are_held_by_two_workers_at_once() {
    let instance = lone_instance().await;
    let mut client = instance.client().await;
    client.blueprint("fork", &[("a", &[]), ("b", &["a"]), ("c", &["a"]), ("d", &["b", "c"])]).await;
    let id = client.execute("fork", json!({})).await;
    let a = client.poll("w1", 5_000).await.expect("a");
    client.submit("w1", &a, Done::Success(json!({"ok": 1}))).await;
    let first = client.poll("w1", 5_000).await.expect("one of b and c");
    let second = client.poll("w2", 5_000).await.expect("the other");
    let mut both = [first.step_name.clone(), second.step_name.clone()];
    both.sort();
    assert_eq!(both, ["b", "c"]);
    client.submit("w2", &second, Done::Success(json!({"ok": 3}))).await;
    client.submit("w1", &first, Done::Success(json!({"ok": 2}))).await;
    let d = client.poll("w1", 5_000).await.expect("d");
    assert_eq!(d.step_name, "d");
    client.submit("w1", &d, Done::Success(json!({"ok": 4}))).await;
    client.until(&id, State::ExecutionCompleted).await;
}

#[tokio::test]
async fn a_started_execution_waits_for_its_first_worker() {
    let instance = lone_instance().await;
    let mut client = instance.client().await;
    client.blueprint("early", &[("only", &[])]).await;
    let id = client.execute("early", json!({})).await;
    assert_eq!(client.status(&id).await.status(), State::ExecutionRunning);
    tokio::time::sleep(Duration::from_millis(50)).await;
    let task = client.poll("late", 5_000).await.expect("the task");
    client.submit("late", &task, Done::Success(json!({}))).await;
    client.until(&id, State::ExecutionCompleted).await;
}
