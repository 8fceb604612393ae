//! More is due than one function can do: it calls itself.

use std::time::Duration;

use futures::{StreamExt as _, stream};
use lazarus::{
    engine::{Config, Engine, PollRequest, StartRequest},
    env::SystemEnv,
    store::Store,
    workflow::{Definition, Namespace, Step, Submission},
};
use serde_json::{Value, json};

use crate::stage::Stage;

/// More than a pass takes.
const SLEEPERS: usize = 600;

/// So many executions whose sleep is over.
async fn put_to_sleep(stage: &Stage) {
    let store = Store::open(&stage.store(), SystemEnv::shared()).await.expect("a store");
    let config = Config { near_timers: false, reservations: false, ..Config::of("sleepers/test") };
    let engine = Engine::open(store, SystemEnv::shared(), config).await.expect("an engine");
    let step = Step { name: "nap".into(), ..Step::default() };
    let nap = Definition { name: "nap".to_owned(), steps: vec![step], ..Definition::default() };
    engine.put_blueprint(&Namespace::default(), nap, "", false).await.expect("a blueprint");
    let one = |_| async {
        engine.start(StartRequest::of("nap")).await.expect("it starts");
        let poll = PollRequest::of("w1", Duration::from_secs(20));
        let task = engine.poll(poll).await.expect("a poll").expect("a task");
        let token = task.token;
        let sleep = Submission::Sleep { duration_ms: 1, data: json!({}) };
        engine.submit(&token, "w1", sleep).await.expect("it sleeps");
    };
    stream::iter(0..SLEEPERS).for_each_concurrent(32, one).await;
    assert!(engine.drain(Duration::from_mins(1)).await, "effects did not come to an end");
}

/// Until no execution sleeps any more.
async fn until_all_are_over(stage: &Stage) {
    for _ in 0..120 {
        let path = "/v1/executions?status=STATUS_COMPLETED&limit=1000";
        let (_, listed) = stage.lambda.json("GET", path, Value::Null).await;
        if listed["total"].as_u64() == Some(SLEEPERS as u64) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    panic!("not every sleep came to its end");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backlog_is_shared_among_functions_that_the_waker_calls() {
    let stage = Stage::new().await;
    put_to_sleep(&stage).await;
    let processes = [stage.environment(), stage.environment()];
    let woken = stage.wake(0).await;
    assert_eq!((&woken["called"], &woken["more"]), (&json!(3), &json!(false)), "{woken}");
    let mut sent = stage.lambda.sent();
    sent.sort_by_key(|event| event["part"].as_u64());
    let share = |part| json!({"lazarus": "wake", "seconds": 0, "part": part, "of": 4});
    assert_eq!(sent, [share(1), share(2), share(3)]);
    until_all_are_over(&stage).await;
    assert_eq!(stage.lambda.sent().len(), 3, "a share is not divided again");
    drop(processes);
    stage.audit();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_waker_that_may_call_nobody_does_it_all() {
    let stage = Stage::new().await;
    put_to_sleep(&stage).await;
    stage.lambda.answer_invokes_with(403);
    let _process = stage.environment();
    let woken = stage.wake(0).await;
    assert_eq!((&woken["called"], &woken["more"]), (&json!(0), &json!(false)), "{woken}");
    assert!(woken["fired"].as_u64() >= Some(SLEEPERS as u64), "{woken}");
    until_all_are_over(&stage).await;
}
