//! Every way in through one function.

use lazarus::proto::lazarus as v1;
use prost::Message as _;
use serde_json::{Value, json};

use crate::{emulator::TIMEOUT, stage::Stage};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_execution_runs_through_a_function_alone() {
    let stage = Stage::new().await;
    let _process = stage.environment();
    stage.blueprint("orders", &["charge", "ship"]).await;
    stage.start("orders", "order-7").await;
    for step in ["charge", "ship"] {
        let task = stage.task().await;
        assert_eq!(task["stepName"], step);
        stage.submit(&task, json!({"status": "SUCCESS", "result": {"of": step}})).await;
    }
    assert_eq!(stage.status("order-7").await, "STATUS_COMPLETED");

    // In the bytes of gRPC-Web, which come as Base64.
    let request = v1::DescribeRequest { execution_id: "order-7".to_owned(), ..Default::default() };
    let message = request.encode_to_vec();
    let length = u32::try_from(message.len()).expect("short").to_be_bytes();
    let frame = [&[0], &length[..], &message].concat();
    let headers = [("content-type", "application/grpc-web+proto")];
    let path = "/lazarus.v1.ExecutionService/Describe";
    let (status, headers, body) = stage.lambda.http("POST", path, &headers, &frame, TIMEOUT).await;
    assert_eq!((status, &headers["content-type"]), (200, &json!("application/grpc-web+proto")));
    let length = u32::from_be_bytes([body[1], body[2], body[3], body[4]]) as usize;
    let described = v1::DescribeResponse::decode(&body[5..5 + length]).expect("a message");
    assert_eq!(described.execution.expect("an execution").steps_done, 2);
    let trailers = String::from_utf8_lossy(&body[5 + length..]).into_owned();
    assert!(trailers.contains("grpc-status:0"), "{trailers}");
    stage.audit();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_a_request_is_answered_everything_of_it_is_in_the_store() {
    let stage = Stage::new().await;
    let mut process = stage.environment();
    stage.blueprint("naps", &["nap"]).await;
    stage.start("naps", "a").await;
    stage.put_to_sleep(3_600_000).await;
    // As a function that is never thawed: what it began and did not finish is lost.
    stage.end(&mut process).await;
    let names = |folder: &str| files(&stage.path().join(folder));
    assert_eq!(names("wake/0/timer").len(), 1, "the timer of the sleep");
    assert_eq!(names("wake/0/guard"), [] as [String; 0], "the guard that covered it");
    assert_eq!(names("queue"), [] as [String; 0], "the offer of the task that was taken");
    let _next = stage.environment();
    let (_, listed) = stage.lambda.json("GET", "/v1/executions", Value::Null).await;
    assert_eq!(listed["executions"][0]["status"], "STATUS_SLEEPING", "{listed}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_event_of_ours_is_an_error_with_words() {
    let stage = Stage::new().await;
    let _process = stage.environment();
    let error = stage.lambda.ask(json!({"Records": []}), TIMEOUT).await.expect_err("no event");
    assert_eq!(error["errorType"], "BadEvent");
    let said = error["errorMessage"].as_str().expect("a message");
    assert!(said.contains("nothing is known of such an event"), "{said}");
    // And plain gRPC, which Lambda does not carry.
    let headers = [("content-type", "application/grpc")];
    let path = "/lazarus.v1.ExecutionService/List";
    let (_, headers, _) = stage.lambda.http("POST", path, &headers, b"\0\0\0\0\0", TIMEOUT).await;
    assert_eq!(headers["grpc-status"], "12", "{headers}");
}

/// The files somewhere under `folder`.
fn files(folder: &std::path::Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(folder) else { return vec![] };
    let inside = |entry: std::io::Result<std::fs::DirEntry>| {
        let path = entry.expect("an entry").path();
        if path.is_dir() { files(&path) } else { vec![path.display().to_string()] }
    };
    entries.flat_map(inside).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_lambda_did_not_start_says_so() {
    let stage = Stage::new().await;
    for lacks in ["AWS_LAMBDA_RUNTIME_API", "AWS_LAMBDA_FUNCTION_NAME"] {
        let mut command = stage.bootstrap();
        let ended = command.arg("lambda").env_remove(lacks).output().expect("it ends");
        let said = String::from_utf8_lossy(&ended.stderr).into_owned();
        assert_eq!(ended.status.code(), Some(2), "{said}");
        assert!(
            said.contains(&format!("did not start this process: {lacks} is not set")),
            "{said}"
        );
    }
}
