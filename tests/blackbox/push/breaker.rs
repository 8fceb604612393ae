//! Targets that do not answer: how often they are called, and what is lost with it (nothing).

use std::time::Duration;

use lazarus::proto::{cerebelum::ExecutionState as State, lazarus as v1};
use serde_json::{Value, json};

use super::{
    Calling, get, hasty, queue, serving, set,
    target::{Reply, Target, secret},
};
use crate::support::{Client, Instance, PATIENCE};

async fn start_one(instance: &Instance) -> (Client, String) {
    let mut client = instance.client().await;
    client.blueprint("one", &[("a", &[])]).await;
    let id = client.execute("one", json!({})).await;
    (client, id)
}

fn reasons(events: &[Value]) -> Vec<String> {
    let failed = events.iter().filter(|event| event["k"] == "delivery_failed");
    failed.map(|event| event["reason"].as_str().unwrap_or_default().to_owned()).collect()
}

#[tokio::test]
async fn a_target_that_is_down_is_left_alone_and_recovers_and_no_attempt_has_failed() {
    let target = Target::start(|n, _| match n {
        0..3 => Reply::Status(500),
        _ => Reply::Json(json!({"result": {"ok": 1}})),
    })
    .await;
    let calling = Calling::new();
    let two = v1::PushQueue { breaker_failures: 2, ..queue(&target) };
    let instance = serving(&hasty(), &calling, two).await;
    let mut client = instance.client().await;
    client.blueprint("one", &[("a", &[])]).await;
    let mut ids = vec![];
    for _ in 0..4 {
        ids.push(client.execute("one", json!({})).await);
    }
    for id in &ids {
        client.until(id, State::ExecutionCompleted).await;
    }
    let closed = get(&instance).await;
    assert_eq!((closed.calling(), closed.failures), (v1::Calling::Yes, 0));
    assert_eq!(closed.last_failure, "");
    let mut all = vec![];
    for id in &ids {
        let events = client.events(id).await;
        assert!(events.iter().all(|event| event["k"] != "step_retried"), "{events:#?}");
        all.extend(reasons(&events));
    }
    let called = all.iter().filter(|reason| reason.starts_with("answered 500")).count();
    assert_eq!(called, 3, "{all:?}");
    assert_eq!(target.count(), 7, "four results, and three failures");
}

#[tokio::test]
async fn while_the_breaker_is_open_requests_are_bounded_whatever_waits() {
    let target = Target::start(|_, _| Reply::Status(502)).await;
    let calling = Calling::new();
    let three = v1::PushQueue { breaker_failures: 3, concurrency: 2, ..queue(&target) };
    let instance = serving(&hasty(), &calling, three).await;
    let mut client = instance.client().await;
    client.blueprint("one", &[("a", &[])]).await;
    for _ in 0..30 {
        client.execute("one", json!({})).await;
    }
    target.until(3).await;
    tokio::time::sleep(Duration::from_secs(6)).await;
    // Three or four open it; probes after 1, 2 and 4 s, a fifth less by chance.
    let calls = target.count();
    assert!((5..=7).contains(&calls), "{calls} calls");
    let state = get(&instance).await;
    assert!(state.failures >= 5, "{state:?}");
    assert_eq!(state.last_failure, "answered 502 Bad Gateway");
}

#[tokio::test]
async fn a_target_that_asks_for_a_pause_gets_it() {
    let target = Target::start(|n, _| match n {
        0 => Reply::With(429, "retry-after", "3"),
        _ => Reply::Json(json!({"result": null})),
    })
    .await;
    let calling = Calling::new();
    let instance = serving(&hasty(), &calling, queue(&target)).await;
    let (mut client, id) = start_one(&instance).await;
    client.until(&id, State::ExecutionCompleted).await;
    let seen = target.seen();
    assert!(seen[1].at - seen[0].at >= Duration::from_millis(2_900), "it was left alone for 3 s");
}

#[tokio::test]
async fn another_secret_is_refused_by_the_target_and_named_until_it_is_the_right_one() {
    let target = Target::start(|_, _| Reply::Json(json!({"result": {"ok": 1}}))).await;
    let calling = Calling::new();
    calling.replace("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
    let two = v1::PushQueue { breaker_failures: 2, ..queue(&target) };
    let instance = serving(&hasty(), &calling, two).await;
    let (mut client, id) = start_one(&instance).await;
    target.until(2).await;
    let begun = std::time::Instant::now();
    let state = loop {
        let state = get(&instance).await;
        if state.calling() == v1::Calling::NotBefore {
            break state;
        }
        assert!(begun.elapsed() < PATIENCE, "{state:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    assert_eq!(
        state.last_failure,
        "answered 401 Unauthorized; check that both sides have the same secret, and their clocks"
    );
    calling.replace(&secret());
    client.until(&id, State::ExecutionCompleted).await;
    assert!(target.count() <= 4, "{} calls", target.count());
}

#[tokio::test]
async fn who_lacks_the_secret_takes_no_task_and_says_so() {
    let target = Target::start(|_, _| Reply::Json(json!({"result": {"ok": 1}}))).await;
    let calling = Calling::new();
    let mut other = queue(&target);
    if let Some(v1::push_queue::Target::Http(http)) = &mut other.target {
        http.auth = Some(v1::http_target::Auth::HmacSecret("OTHER".to_owned()));
    }
    let instance = serving(&hasty(), &calling, other.clone()).await;
    let (mut client, id) = start_one(&instance).await;
    let warnings = set(&instance, other).await.expect("a valid queue");
    let begun = std::time::Instant::now();
    while get(&instance).await.calling() != v1::Calling::Hindered {
        assert!(begun.elapsed() < PATIENCE, "it is not hindered");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let missing = "this process has no secret `OTHER`";
    assert!(warnings.iter().all(|warning| warning.starts_with(missing)), "{warnings:?}");
    let state = get(&instance).await;
    assert!(state.hindrance.starts_with(missing), "{state:?}");
    let notes = client.describe(&id).await.notes;
    assert!(notes[0].contains(missing), "{notes:?}");
    let events = client.events(&id).await;
    assert!(events.iter().all(|event| event["k"] != "step_started"), "{events:#?}");
    // Told of the right one, it goes on at once.
    set(&instance, queue(&target)).await.expect("a valid queue");
    client.until(&id, State::ExecutionCompleted).await;
}

#[tokio::test]
async fn no_redirect_is_followed_and_no_page_is_taken_for_an_answer() {
    let target = Target::start(|n, seen| {
        assert_eq!(seen.path, "/task", "a redirect was followed");
        match n {
            0 => Reply::With(307, "location", "/elsewhere"),
            1 => Reply::Page("<html>\n  please log in </html>"),
            _ => Reply::Json(json!({"result": null})),
        }
    })
    .await;
    let calling = Calling::new();
    let instance = serving(&hasty(), &calling, queue(&target)).await;
    let (mut client, id) = start_one(&instance).await;
    client.until(&id, State::ExecutionCompleted).await;
    let reasons = reasons(&client.events(&id).await);
    assert_eq!(reasons.len(), 2, "{reasons:?}");
    let redirect =
        "answered 307 Temporary Redirect; redirects are not followed, name the final URL";
    assert!(reasons[0].starts_with(redirect), "{}", reasons[0]);
    let page = "answered 200 with what is no JSON (text/html): <html> please log in </html>";
    assert_eq!(reasons[1], page);
}
