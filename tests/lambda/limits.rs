//! No event outlives its time.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::{emulator::TIMEOUT, process::Process, stage::Stage};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_poll_is_answered_before_the_function_is_cut_off() {
    let stage = Stage::new().await;
    let _process = stage.environment();
    stage.blueprint("orders", &["charge"]).await;
    let begun = Instant::now();
    let (status, task) = stage.poll_within(Duration::from_mins(1), Duration::from_secs(8)).await;
    let took = begun.elapsed();
    assert_eq!((status, task), (200, json!({})));
    assert!((Duration::from_secs(3)..Duration::from_secs(8)).contains(&took), "{took:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_waits_for_an_execution_is_answered_before_the_function_is_cut_off() {
    let stage = Stage::new().await;
    let _process = stage.environment();
    stage.blueprint("orders", &["charge"]).await;
    stage.start("orders", "a").await;
    let (path, limit) = ("/lazarus.v1.ExecutionService/Wait", Duration::from_secs(8));
    let wait = json!({"executionId": "a", "timeoutMs": 60_000});
    let begun = Instant::now();
    let (status, described) = stage.lambda.json_within("POST", path, wait, limit).await;
    let took = begun.elapsed();
    assert_eq!(status, 200, "{described}");
    assert_eq!(described["execution"]["status"], "STATUS_RUNNING", "{described}");
    assert!((Duration::from_secs(3)..limit).contains(&took), "{took:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_does_not_answer_is_told_of_in_time() {
    let stage = Stage::new().await;
    // It takes connections, and says nothing.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let endpoint = format!("http://{}", silent.local_addr().expect("an address"));
    let mut command = stage.bootstrap();
    command.env("LAZARUS_STORE", "s3://nowhere/x").env("AWS_ENDPOINT_URL_S3", endpoint);
    let _process = Process::start(&mut command);
    let limit = Duration::from_secs(8);
    let begun = Instant::now();
    let (status, error) =
        stage.lambda.json_within("GET", "/v1/executions", Value::Null, limit).await;
    // Its start waits 5 s for the store, before it asks for events.
    assert!(begun.elapsed() < limit + Duration::from_secs(5), "{:?}", begun.elapsed());
    assert_eq!((status, &error["code"]), (503, &json!("unavailable")), "{error}");
    let failed = stage.lambda.ask(json!({"lazarus": "wake"}), limit).await.expect_err("no store");
    assert_eq!(failed["errorType"], "Store", "{failed}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_is_wrong_does_nothing() {
    let stage = Stage::new().await;
    let _process = stage.environment();
    let event = |behind_ms: u64| {
        let now = lazarus::env::Env::now(&lazarus::env::SystemEnv).as_millis();
        json!({"version": "2.0", "rawPath": "/v1/executions", "rawQueryString": "", "headers": {},
               "isBase64Encoded": false, "requestContext": {"stage": "$default",
               "timeEpoch": now - behind_ms,
               "http": {"method": "GET", "path": "/v1/executions", "protocol": "HTTP/1.1",
                        "sourceIp": "127.0.0.1", "userAgent": "test"}}})
    };
    let refused = stage.lambda.ask(event(90_000), TIMEOUT).await.expect("an answer");
    assert_eq!(refused["statusCode"], 503);
    assert!(refused["body"].as_str().expect("text").contains("90 s apart"), "{refused}");
    let answered = stage.lambda.ask(event(2_000), TIMEOUT).await.expect("an answer");
    assert_eq!(answered["statusCode"], 200, "{answered}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_lambda_does_not_take_is_an_error_with_words() {
    let stage = Stage::new().await;
    let _process = stage.environment();
    stage.blueprint("orders", &["charge"]).await;
    let start = json!({"workflow": "orders", "executionId": "big",
                       "input": {"text": "x".repeat(7 << 20)}});
    assert_eq!(stage.lambda.json("POST", "/v1/executions", start).await.0, 200);
    let (status, error) = stage.lambda.json("GET", "/v1/executions/big", Value::Null).await;
    assert_eq!((status, &error["code"]), (400, &json!("out_of_range")), "{error}");
}
