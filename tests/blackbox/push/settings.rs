//! What operators set, and how it gets about.

use std::time::{Duration, Instant};

use lazarus::proto::{cerebelum::ExecutionState as State, lazarus as v1};
use serde_json::json;

use super::{
    Calling, get, hasty, queue, queues, serving, set,
    target::{Reply, Target},
};
use crate::support::{Bucket, Instance, PATIENCE, Setup, lone_instance};

#[tokio::test]
async fn what_can_be_wrong_with_a_queue_is_said_when_it_is_set() {
    let target = Target::start(|_, _| Reply::Status(500)).await;
    let instance = lone_instance().await;
    let with_url = |url: &str| {
        let auth = Some(v1::http_target::Auth::HmacSecret("PDF".to_owned()));
        let http = v1::HttpTarget { url: url.to_owned(), auth };
        v1::PushQueue { target: Some(v1::push_queue::Target::Http(http)), ..queue(&target) }
    };
    for (queue, expected) in [
        (with_url("http://pdf.example/"), "is not encrypted; use https"),
        (with_url("ftp://pdf.example/"), "is neither https nor http"),
        (v1::PushQueue { concurrency: 1_001, ..queue(&target) }, "concurrency 1001 is not between"),
        (v1::PushQueue { timeout_ms: 1, ..queue(&target) }, "timeout 1 ms is not between"),
        (v1::PushQueue { name: "a/b".to_owned(), ..queue(&target) }, "queue name \"a/b\" is not"),
        (v1::PushQueue { target: None, ..queue(&target) }, "a queue needs a target"),
    ] {
        let refused = set(&instance, queue).await.expect_err("a refusal");
        assert_eq!(refused.code(), tonic::Code::InvalidArgument);
        assert!(refused.message().contains(expected), "{}", refused.message());
    }
    assert_eq!(instance.objects("push").await, []);
}

#[tokio::test]
async fn a_queue_is_set_shown_listed_and_deleted() {
    let target = Target::start(|_, _| Reply::Status(500)).await;
    let instance = lone_instance().await;
    let missing = v1::GetQueueRequest { name: "pdf".to_owned(), ..Default::default() };
    let refused = queues(&instance).get(missing).await.expect_err("a refusal");
    assert_eq!(refused.code(), tonic::Code::NotFound);
    assert_eq!(refused.message(), "there is no push queue `pdf` in namespace `default`");
    for name in ["", "a/../b", &"x".repeat(500)] {
        let request = v1::DeleteQueueRequest { name: name.to_owned(), ..Default::default() };
        let refused = queues(&instance).delete(request).await.expect_err("a refusal");
        assert_eq!(refused.code(), tonic::Code::NotFound);
    }
    set(&instance, queue(&target)).await.expect("a valid queue");
    let state = get(&instance).await;
    assert_eq!(state.calling(), v1::Calling::NotHere, "nobody serves it");
    let (concurrency, timeout_ms, breaker_failures) = (10, 30_000, 5);
    let whole = v1::PushQueue { concurrency, timeout_ms, breaker_failures, ..queue(&target) };
    assert_eq!(state.queue, Some(whole.clone()));
    let list = async |namespace: &str| {
        let request = v1::ListQueuesRequest { namespace: namespace.to_owned() };
        queues(&instance).list(request).await.expect("a list").into_inner().queues
    };
    assert_eq!(list("").await.iter().map(|it| it.queue.clone()).collect::<Vec<_>>(), [Some(whole)]);
    assert_eq!(list("team-a").await, []);
    let request = v1::DeleteQueueRequest { name: "pdf".to_owned(), ..Default::default() };
    queues(&instance).delete(request.clone()).await.expect("it is deleted");
    let again = queues(&instance).delete(request).await.expect_err("a refusal");
    assert_eq!(again.code(), tonic::Code::NotFound);
    assert_eq!(list("").await, []);
}

#[tokio::test]
async fn a_queue_that_is_changed_or_deleted_is_so_at_once_where_it_was_said() {
    let (one, two) = (answering("one").await, answering("two").await);
    let calling = Calling::new();
    let instance = serving(&hasty(), &calling, queue(&one)).await;
    let mut client = instance.client().await;
    client.blueprint("one", &[("a", &[])]).await;
    let id = client.execute("one", json!({})).await;
    client.until(&id, State::ExecutionCompleted).await;
    set(&instance, queue(&two)).await.expect("a valid queue");
    let begun = Instant::now();
    while two.count() == 0 {
        assert!(begun.elapsed() < PATIENCE, "the change is not known");
        let id = client.execute("one", json!({})).await;
        client.until(&id, State::ExecutionCompleted).await;
    }
    let before = one.count() + two.count();
    let request = v1::DeleteQueueRequest { name: "pdf".to_owned(), ..Default::default() };
    queues(&instance).delete(request).await.expect("it is deleted");
    while get_status(&instance).await != tonic::Code::NotFound
        || instance.engine.waiting_polls() > 0
    {
        assert!(begun.elapsed() < PATIENCE, "it is polled for");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let id = client.execute("one", json!({})).await;
    let task = client.poll("w1", 5_000).await.expect("it waits for workers that poll");
    assert_eq!((task.execution_id, one.count() + two.count()), (id, before));
}

async fn get_status(instance: &Instance) -> tonic::Code {
    let request = v1::GetQueueRequest { name: "pdf".to_owned(), ..Default::default() };
    queues(instance).get(request).await.map_or_else(|status| status.code(), |_| tonic::Code::Ok)
}

async fn answering(name: &'static str) -> Target {
    Target::start(move |_, _| Reply::Json(json!({"result": {"by": name}}))).await
}

#[tokio::test]
async fn instances_that_share_a_bucket_share_its_queues_and_no_step_has_two_results() {
    let target = answering("target").await;
    let calling = Calling::new();
    let bucket = Bucket::new();
    let one = Instance::start(bucket.store().await, &Setup::new()).await;
    set(&one, queue(&target)).await.expect("a valid queue");
    let two = Instance::start(bucket.store().await, &Setup::new()).await;
    one.push_through(calling.caller());
    two.push_through(calling.caller());
    let mut client = one.client().await;
    client.blueprint("chain", &[("a", &[]), ("b", &["a"]), ("c", &["b"])]).await;
    let mut ids = vec![];
    for _ in 0..10 {
        ids.push(client.execute("chain", json!({})).await);
    }
    for id in ids {
        client.until(&id, State::ExecutionCompleted).await;
        let events = client.events(&id).await;
        let results = events.iter().filter(|event| event["k"] == "step_completed").count();
        assert_eq!(results, 3, "{events:#?}");
    }
}
