//! How long a function takes from the start of its process to its first answer.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::{process::Process, stage::Stage};

/// What this test tolerates of an unoptimised build on a busy machine. `make cold-start` measures the
/// binary that is released.
const TOLERATED: Duration = Duration::from_secs(1);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cold_start_is_short() {
    let stage = Stage::new().await;
    let mut took = vec![];
    for round in 0..=20 {
        let mut command = stage.bootstrap();
        // Over the wire, with TLS set up, where the variable names a bucket.
        if let Ok(url) = std::env::var("LAZARUS_TEST_STORE") {
            command.env("LAZARUS_STORE", format!("{url}/cold"));
        }
        let begun = Instant::now();
        let mut process = Process::start(&mut command);
        let (status, listed) = stage.lambda.json("GET", "/v1/executions", Value::Null).await;
        assert_eq!(status, 200, "{listed}");
        // The first one finds a store that nobody has probed.
        if round > 0 {
            took.push(begun.elapsed());
        }
        stage.end(&mut process).await;
    }
    took.sort_unstable();
    let median = took[took.len() / 2];
    println!("cold start, median of {}: {median:?} ({:?} to {:?})", took.len(), took[0], took[19]);
    let limit = std::env::var("LAZARUS_COLD_START_MS").ok().and_then(|text| text.parse().ok());
    let limit = limit.map_or(TOLERATED, Duration::from_millis);
    assert!(median < limit, "{median:?} is over {limit:?}");
}
