//! The real binary: the command line, and functions of Lambda (a stand-in of the test's own).

use std::{path::Path, process::Command, time::Duration};

use lazarus::proto::cerebelum::ExecutionState as State;
use serde_json::{Value, json};

use super::target::{Reply, Target, secret};
use crate::{process::Process, support::Client};

fn lazarus(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lazarus"));
    command.args(arguments).env_remove("LAZARUS_STORE").env_remove("LAZARUS_SERVER");
    command
}

/// Runs a command to its end: its exit code, and what it said on both streams.
async fn run(mut command: Command) -> (i32, String, String) {
    let ended = tokio::task::spawn_blocking(move || command.output().expect("it runs"));
    let output = ended.await.expect("it ran");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().expect("an exit code"), text(&output.stdout), text(&output.stderr))
}

fn store_at(directory: &Path) -> String {
    format!("file://{}", directory.display())
}

/// Puts a workflow of one step, and starts it, on the store itself.
async fn started(store: &str) -> String {
    let file = tempfile::NamedTempFile::new().expect("a file");
    let text = json!({"name": "one", "steps": [{"name": "render"}]});
    std::fs::write(file.path(), text.to_string()).expect("written");
    let path = file.path().display().to_string();
    let (code, _, said) = run(lazarus(&["blueprint", "put", &path, "--store", store])).await;
    assert_eq!(code, 0, "{said}");
    let start = ["start", "one", "--input", r#"{"n": 1}"#, "--store", store];
    let (code, id, said) = run(lazarus(&start)).await;
    assert_eq!(code, 0, "{said}");
    id.trim().to_owned()
}

async fn status(store: &str, id: &str) -> Value {
    let (_, out, said) = run(lazarus(&["status", id, "--json", "--store", store])).await;
    serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out} {said}"))
}

#[tokio::test]
async fn wake_calls_targets_with_no_server_anywhere() {
    let target = Target::start(|_, _| Reply::Json(json!({"result": {"pages": 3}}))).await;
    let directory = tempfile::tempdir().expect("a directory");
    let store = store_at(directory.path());
    let url = target.url();
    let set = ["queue", "set", "pdf", "--step", "render", "--url", &url, "--hmac-secret", "PDF"];
    let (code, out, said) = run(lazarus(&[&set[..], &["--store", &store]].concat())).await;
    assert_eq!(
        (code, out.as_str()),
        (0, "pdf is set; every engine serves it within 30 s\n"),
        "{said}"
    );
    let id = started(&store).await;
    let (code, out, said) = run(lazarus(&["wake", "--store", &store])).await;
    assert_eq!(code, 0, "{said}");
    assert!(!out.contains("calls of push targets"), "it has no secret: {out}");
    assert!(said.contains("this process has no secret `PDF`"), "{said}");
    let mut wake = lazarus(&["wake", "--store", &store]);
    wake.env("LAZARUS_PUSH_SECRET_PDF", secret());
    let (code, out, said) = run(wake).await;
    assert_eq!(code, 0, "{said}");
    assert!(out.contains("1 calls of push targets"), "{out} {said}");
    let status = status(&store, &id).await;
    assert_eq!(status["status"], "completed", "{status:#}");
    assert!(!said.contains(&secret()), "a secret in the log");
}

#[tokio::test]
async fn the_command_line_shows_lists_and_deletes_and_says_what_is_wrong() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = store_at(directory.path());
    let on = |arguments: &[&str]| lazarus(&[arguments, &["--store", &store]].concat());
    let set = ["queue", "set", "pdf", "--lambda", "pdf-render", "--region", "eu-central-1"];
    assert_eq!(run(on(&set)).await.0, 0);
    let (_, out, _) = run(on(&["queue", "get", "pdf"])).await;
    assert!(out.contains("target      lambda:pdf-render\n"), "{out}");
    assert!(out.contains("signed      SigV4, eu-central-1; answers\n"), "{out}");
    let (_, out, _) = run(on(&["queue", "list", "--json"])).await;
    let listed: Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!(listed["target"]["lambda"], "pdf-render");
    assert_eq!((&listed["concurrency"], &listed["calling"]), (&json!(10), &json!("not_here")));
    let bad = ["queue", "set", "pdf", "--url", "http://a.example/", "--hmac-secret", "PDF"];
    let (code, _, said) = run(on(&bad)).await;
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("is not encrypted; use https"), "{said}");
    let (code, out, _) = run(on(&["queue", "delete", "pdf"])).await;
    assert_eq!((code, out.as_str()), (0, "pdf is deleted; its tasks wait for workers that poll\n"));
    assert_eq!(run(on(&["queue", "get", "pdf"])).await.0, 1);
}

/// A server on `store` that believes itself on AWS, where Lambda is `target`.
async fn serving_on_aws(store: &str, target: &Target) -> (Process, Client) {
    let mut serve = lazarus(&["serve", "--store", store, "--grpc", "127.0.0.1:0"]);
    serve
        .args(["--guard-interval", "200ms", "--log", "error"])
        .env("AWS_ENDPOINT_URL_LAMBDA", format!("http://{}", target.address))
        .env("AWS_REGION", "eu-central-1")
        .env("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
        .env("AWS_SECRET_ACCESS_KEY", "a secret of nobody's");
    let (process, address) = Process::serving(&mut serve);
    let address = tokio::time::timeout(Duration::from_secs(30), address).await;
    (process, Client::connect(address.expect("in time").expect("it serves")))
}

#[tokio::test]
async fn a_function_is_invoked_as_aws_wants_it_and_what_it_raises_is_its_failure() {
    let target = Target::start(|n, _| match n {
        // Ended by the platform: nothing that the step did.
        0 => Reply::With(200, "x-amz-function-error", "Unhandled"),
        _ => Reply::Json(json!({"result": {"pages": 3}})),
    })
    .await;
    let directory = tempfile::tempdir().expect("a directory");
    let store = store_at(directory.path());
    let set = ["queue", "set", "pdf", "--lambda", "pdf-render", "--store", &store];
    assert_eq!(run(lazarus(&set)).await.0, 0);
    let id = started(&store).await;
    let (_process, mut client) = serving_on_aws(&store, &target).await;
    client.until(&id, State::ExecutionCompleted).await;
    let seen = target.seen();
    assert_eq!(seen.len(), 2);
    assert_eq!(seen[0].path, "/2015-03-31/functions/pdf-render/invocations");
    assert_eq!(seen[0].header("x-amz-invocation-type"), "RequestResponse");
    let scope = "/eu-central-1/lambda/aws4_request";
    assert!(seen[0].header("authorization").contains(scope), "{:?}", seen[0].headers);
    assert_eq!(seen[1].task["attempt"], 2);
    let events = client.events(&id).await;
    let failed: Vec<&Value> =
        events.iter().filter(|event| event["k"] == "delivery_failed").collect();
    assert_eq!(failed.len(), 1, "{events:#?}");
    assert!(events.iter().all(|event| event["k"] != "step_failed"), "{events:#?}");
}
