//! A function with its store: processes of the real binary, and a worker that speaks JSON to them.

use std::{path::Path, process::Command, time::Duration};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    emulator::{Emulator, TIMEOUT},
    process::Process,
};

/// A function on a store of its own.
#[derive(Debug)]
pub struct Stage {
    pub lambda: Emulator,
    directory: TempDir,
}

const WORKER: &str = "/cerebelum.worker.WorkerService";

impl Stage {
    pub async fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        Self { lambda: Emulator::start().await, directory }
    }

    pub fn store(&self) -> String {
        format!("file://{}", self.directory.path().display())
    }

    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// The command that starts the binary as Lambda does: no words, everything in its environment.
    pub fn bootstrap(&self) -> Command {
        // `make cold-start` names the binary that is released.
        let binary = std::env::var("LAZARUS_BOOTSTRAP");
        let mut command = Command::new(binary.as_deref().unwrap_or(env!("CARGO_BIN_EXE_lazarus")));
        let address = self.lambda.address;
        command
            .env("AWS_LAMBDA_RUNTIME_API", address.to_string())
            .env("AWS_LAMBDA_FUNCTION_NAME", "lazarus")
            .env("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST")
            .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256")
            .env("AWS_ENDPOINT_URL_LAMBDA", format!("http://{address}"))
            .env("AWS_ACCESS_KEY_ID", "test")
            .env("AWS_SECRET_ACCESS_KEY", "test")
            .env("AWS_REGION", "us-east-1")
            .env("LAZARUS_STORE", self.store())
            .env("RUST_LOG", "error");
        command
    }

    /// One more process.
    pub fn environment(&self) -> Process {
        Process::start(&mut self.bootstrap())
    }

    /// Ends the only process there is, as Lambda may at any time.
    pub async fn end(&self, process: &mut Process) {
        process.kill();
        self.lambda.until_nobody_polls().await;
    }

    /// Puts a workflow of such steps, one after the other.
    pub async fn blueprint(&self, name: &str, steps: &[&str]) {
        let after = |at: usize| at.checked_sub(1).map(|before| steps[before]).into_iter();
        let steps: Vec<Value> = (0..steps.len())
            .map(|at| json!({"name": steps[at], "dependsOn": after(at).collect::<Vec<_>>()}))
            .collect();
        let path = format!("/v1/blueprints/{name}");
        let (status, put) = self.lambda.json("PUT", &path, json!({"steps": steps})).await;
        assert_eq!(status, 200, "{put}");
    }

    pub async fn start(&self, workflow: &str, id: &str) {
        let start = json!({"workflow": workflow, "executionId": id, "requestId": id});
        let (status, started) = self.lambda.json("POST", "/v1/executions", start).await;
        assert_eq!(status, 200, "{started}");
    }

    /// Polls until there is a task.
    pub async fn task(&self) -> Value {
        for _ in 0..20 {
            let poll = json!({"workerId": "w1", "timeoutMs": 4000});
            let path = format!("{WORKER}/PollForTask");
            let (status, task) = self.lambda.json("POST", &path, poll).await;
            assert_eq!(status, 200, "{task}");
            if task["taskId"].is_string() {
                return task;
            }
        }
        panic!("no task came");
    }

    /// Polls once, for so long, of a function that has so much time.
    pub async fn poll_within(&self, wait: Duration, timeout: Duration) -> (u64, Value) {
        let poll =
            json!({"workerId": "w1", "timeoutMs": u64::try_from(wait.as_millis()).expect("short")});
        let path = format!("{WORKER}/PollForTask");
        self.lambda.json_within("POST", &path, poll, timeout).await
    }

    pub async fn submit(&self, task: &Value, mut result: Value) {
        result["taskId"] = task["taskId"].clone();
        result["workerId"] = "w1".into();
        let (status, ack) =
            self.lambda.json("POST", &format!("{WORKER}/SubmitResult"), result).await;
        assert_eq!((status, &ack["success"]), (200, &json!(true)), "{ack}");
    }

    /// The next task sleeps for `millis`.
    pub async fn put_to_sleep(&self, millis: u64) {
        let task = self.task().await;
        let sleep = json!({"status": "SLEEP", "sleepRequest": {"durationMs": millis}});
        self.submit(&task, sleep).await;
    }

    pub async fn events(&self, id: &str) -> Vec<Value> {
        let path = format!("/v1/executions/{id}/history");
        let (status, history) = self.lambda.json("GET", &path, Value::Null).await;
        assert_eq!(status, 200, "{history}");
        history["events"].as_array().expect("events").clone()
    }

    pub async fn status(&self, id: &str) -> Value {
        let path = format!("/v1/executions/{id}");
        let (status, described) = self.lambda.json("GET", &path, Value::Null).await;
        assert_eq!(status, 200, "{described}");
        described["execution"]["status"].clone()
    }

    /// Asks for so much waking; what was done.
    pub async fn wake(&self, seconds: u64) -> Value {
        let order = json!({"lazarus": "wake", "seconds": seconds});
        self.lambda.ask(order, TIMEOUT + Duration::from_secs(seconds)).await.expect("a waker")
    }

    /// Reads the whole store, as `lazarus audit` does.
    pub fn audit(&self) {
        let audit = Command::new(env!("CARGO_BIN_EXE_lazarus"))
            .args(["audit", "--store", &self.store()])
            .output()
            .expect("an audit");
        let said = String::from_utf8_lossy(&audit.stdout);
        assert!(audit.status.success(), "{said}{}", String::from_utf8_lossy(&audit.stderr));
    }
}
