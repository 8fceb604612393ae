//! A function that stood still goes on.

use std::time::Duration;

use serde_json::json;

use crate::stage::Stage;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_function_that_was_frozen_between_two_requests_answers_the_next() {
    let stage = Stage::new().await;
    let process = stage.environment();
    stage.blueprint("orders", &["charge"]).await;
    stage.start("orders", "a").await;
    process.stop();
    let asking = stage.task();
    let thawing = async {
        tokio::time::sleep(Duration::from_secs(3)).await;
        process.go_on();
    };
    let (task, ()) = tokio::join!(asking, thawing);
    stage.submit(&task, json!({"status": "SUCCESS", "result": {}})).await;
    assert_eq!(stage.status("a").await, "STATUS_COMPLETED");
    stage.audit();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_function_that_was_frozen_in_the_middle_of_a_request_ends_it() {
    let stage = Stage::new().await;
    let process = stage.environment();
    stage.blueprint("orders", &["charge"]).await;
    let limit = Duration::from_secs(8);
    let polling = stage.poll_within(Duration::from_mins(1), limit);
    let freezing = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        process.stop();
        // Beyond the limit of the request.
        tokio::time::sleep(limit).await;
        process.go_on();
    };
    let ((status, answer), ()) = tokio::join!(polling, freezing);
    // The wait ended, and so did the time for the whole request, whichever is seen first: then it is
    // cut off, and the next one begins with a new engine.
    let is_empty = (status, &answer) == (200, &json!({}));
    assert!(is_empty || (status == 503 && answer["code"] == "unavailable"), "{status} {answer}");
    stage.start("orders", "a").await;
    let task = stage.task().await;
    stage.submit(&task, json!({"status": "SUCCESS", "result": {}})).await;
    assert_eq!(stage.status("a").await, "STATUS_COMPLETED");
}
