//! Sleeps that end though no engine stays up: a schedule calls the function.

use std::time::{Duration, Instant};

use axum::Router;
use base64::prelude::{BASE64_STANDARD, Engine as _};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::{emulator::TIMEOUT, process::Process, stage::Stage};

/// What a rule of `EventBridge` sends.
fn scheduled() -> Value {
    json!({"version": "0", "id": "1", "detail-type": "Scheduled Event", "source": "aws.events",
           "account": "000000000000", "time": "2026-11-24T00:22:00Z", "region": "us-east-1",
           "resources": ["arn:aws:events:us-east-1:000000000000:rule/wake"], "detail": {}})
}

/// By how much each sleep of the execution was late, in milliseconds.
async fn lateness(stage: &Stage, id: &str) -> Vec<u64> {
    let events = stage.events(id).await;
    let of = |kind: &str, what: fn(&Value) -> u64| -> Vec<u64> {
        events.iter().filter(|it| it["event"]["k"] == kind).map(what).collect()
    };
    let until = of("sleep_started", |it| it["event"]["until"].as_u64().expect("a due time"));
    let ended = of("sleep_ended", |it| millis(it["time"].as_str().expect("a time")));
    assert_eq!(until.len(), ended.len(), "{events:?}");
    let late = |(until, ended): (&u64, &u64)| {
        ended.checked_sub(*until).unwrap_or_else(|| panic!("too early: {events:?}"))
    };
    until.iter().zip(&ended).map(late).collect()
}

fn millis(time: &str) -> u64 {
    let time: jiff::Timestamp = time.parse().expect("RFC 3339");
    u64::try_from(time.as_millisecond()).expect("after 1970")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sleep_ends_though_nothing_is_up_but_a_function_that_a_schedule_calls() {
    let stage = Stage::new().await;
    let mut front_door = stage.environment();
    stage.blueprint("naps", &["nap", "rise"]).await;
    stage.start("naps", "a").await;
    stage.put_to_sleep(1_500).await;
    stage.end(&mut front_door).await;

    let mut waker = stage.environment();
    // A limit of 13 s leaves it 3 s to look.
    let woken = stage.lambda.ask(scheduled(), Duration::from_secs(13)).await.expect("a waker");
    assert_eq!(woken["fired"], 1, "{woken}");
    stage.end(&mut waker).await;

    let _front_door = stage.environment();
    let task = stage.task().await;
    assert_eq!(task["stepName"], "rise");
    stage.submit(&task, json!({"status": "SUCCESS", "result": {}})).await;
    assert_eq!(stage.status("a").await, "STATUS_COMPLETED");
    let late = lateness(&stage, "a").await;
    println!("late by {late:?} ms");
    assert!(late[0] < 1_500, "{late:?}");
    stage.audit();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn timers_fire_within_a_second_and_a_half_while_a_waker_is_up() {
    const SLEEPS: u64 = 30;
    let stage = Stage::new().await;
    let processes = [stage.environment(), stage.environment()];
    stage.blueprint("naps", &["nap"]).await;
    let begun = Instant::now();
    let waking = stage.wake(20);
    let sleeping = async {
        for number in 0..SLEEPS {
            stage.start("naps", &format!("nap-{number}")).await;
            // From half a second to three and a half, at uneven moments.
            stage.put_to_sleep(500 + number * 127 % 3_000).await;
        }
        assert!(begun.elapsed() < Duration::from_secs(15), "the sleeps began too late to be woken");
    };
    let (woken, ()) = tokio::join!(waking, sleeping);
    assert!(woken["passes"].as_u64() >= Some(20), "{woken}");
    let mut late = vec![];
    for number in 0..SLEEPS {
        late.extend(lateness(&stage, &format!("nap-{number}")).await);
    }
    late.sort_unstable();
    assert_eq!(late.len() as u64, SLEEPS, "{woken}");
    let p99 = late[late.len() * 99 / 100];
    println!("lateness of {SLEEPS} timers: median {} ms, p99 {p99} ms", late[late.len() / 2]);
    assert!(p99 < 1_500, "{late:?}");
    drop(processes);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_wakers_at_once_end_each_sleep_once() {
    let stage = Stage::new().await;
    let processes = [stage.environment(), stage.environment()];
    stage.blueprint("naps", &["nap"]).await;
    for number in 0..20 {
        stage.start("naps", &format!("nap-{number}")).await;
        stage.put_to_sleep(1).await;
    }
    let (one, other) = tokio::join!(stage.wake(2), stage.wake(2));
    let fired = one["fired"].as_u64().max(other["fired"].as_u64());
    assert!(fired >= Some(10), "{one} {other}");
    for number in 0..20 {
        // One end for each sleep, or this panics.
        assert_eq!(lateness(&stage, &format!("nap-{number}")).await.len(), 1);
        assert_eq!(stage.status(&format!("nap-{number}")).await, "STATUS_COMPLETED");
    }
    stage.audit();
    drop(processes);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_waker_ends_when_nothing_more_is_due_if_it_is_given_no_time() {
    let stage = Stage::new().await;
    let _process = stage.environment();
    let begun = Instant::now();
    let woken = stage.wake(0).await;
    assert_eq!(woken, json!({"fired": 0, "passes": 1, "called": 0, "pushed": 0, "more": false}));
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_waker_calls_the_targets_of_push_queues() {
    let stage = Stage::new().await;
    let answer =
        || async { ([("content-type", "application/json")], r#"{"result": {"pages": 3}}"#) };
    let target = Router::new().fallback(answer);
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}/task", listener.local_addr().expect("an address"));
    tokio::spawn(async move { axum::serve(listener, target).await });
    let mut command = stage.bootstrap();
    command.env("LAZARUS_PUSH_SECRET_PDF", format!("whsec_{}", BASE64_STANDARD.encode([7; 32])));
    let _process = Process::start(&mut command);
    stage.blueprint("reports", &["render", "send"]).await;
    let http = json!({"url": url, "hmacSecret": "PDF"});
    let queue = json!({"name": "pdf", "http": http, "timeoutMs": 5_000});
    let path = "/lazarus.v1.QueueService/Set";
    let (status, set) = stage.lambda.json("POST", path, json!({"queue": queue})).await;
    assert_eq!(status, 200, "{set}");
    stage.start("reports", "a").await;
    let woken = stage.wake(0).await;
    // The second task is ready because the first call gave a result.
    assert_eq!(woken["pushed"], 2, "{woken}");
    assert_eq!(stage.status("a").await, "STATUS_COMPLETED", "{woken}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_deletes_what_is_old_enough() {
    let stage = Stage::new().await;
    let _process = stage.environment();
    let deleted = stage.lambda.ask(json!({"lazarus": "retention"}), TIMEOUT).await;
    assert_eq!(deleted.expect("a pass")["begun"], 0);
}
