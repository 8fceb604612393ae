//! Servers that would lose data are refused by the real binary, each time that it is started.
//!
//! Which server is up to whoever runs it: `make test-s3-refused` starts each of them.

#![allow(clippy::disallowed_methods, reason = "who waits for a process has a clock of its own")]

use std::{
    process::{Command, Stdio},
    time::{Duration, Instant},
};

/// Whether one start notices a race that a store loses is up to chance; so many in a row are not.
const STARTS: usize = 20;
/// How long a start may take to refuse. One that is still up then serves.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a start on `store` said, if it ended by itself.
fn start_on(store: &str) -> Option<(Option<i32>, String)> {
    let mut engine = Command::new(env!("CARGO_BIN_EXE_lazarus"))
        .args(["serve", "--store", store, "--grpc", "127.0.0.1:0", "--log", "error"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the engine starts");
    let begun = Instant::now();
    while engine.try_wait().expect("it is ours").is_none() {
        if begun.elapsed() > PATIENCE {
            engine.kill().expect("it is ours");
            engine.wait().expect("it has ended");
            return None;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let output = engine.wait_with_output().expect("it has ended");
    Some((output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned()))
}

#[test]
#[ignore = "needs a server that must be refused: `make test-s3-refused`"]
fn a_server_that_would_lose_data_is_refused_at_each_start_and_the_check_is_named() {
    let store = std::env::var("LAZARUS_TEST_STORE").expect("the server's URL");
    for start in 0..STARTS {
        let url = format!("{store}/{start}");
        let said = start_on(&url);
        let Some((code, message)) = said else { panic!("start {start}: it serves on {url}") };
        assert_eq!(code, Some(1), "start {start}: {message}");
        let refusal = format!("{url} would lose data: the check \"32-way race\" failed");
        assert!(message.contains(&refusal), "start {start}: {message}");
    }
}
