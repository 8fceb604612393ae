//! The real binary, killed with SIGKILL again and again while it works.
//!
//! 50 executions of three steps, the second of which sleeps; the engine on an embedded store is killed
//! and started again at random moments. Its workers and clients only do what any would: send a request
//! again until it is answered.

use std::{
    net::{SocketAddr, TcpListener},
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use lazarus::{
    env::{Env, SystemEnv},
    proto::{cerebelum as wire, lazarus as v1},
};
use serde_json::{Value, json};

use crate::{
    process::Process,
    support::{Client, Done, Worker, structure},
};

const EXECUTIONS: usize = 50;
const KILLS: usize = 20;
const WORKERS: usize = 4;
const SLEEP_MS: i64 = 400;
/// What a sleep may be late beside the time that no engine ran: the walk at start and the scan of the
/// timers bring it back within a second or two; 24 ms was the latest of four runs.
const TICK_MS: u64 = 5_000;

/// The engine's directory and address, and its process while there is one.
struct Engine<'a> {
    directory: &'a Path,
    address: SocketAddr,
    process: Option<Process>,
    /// When each stood still, from the kill until it answered again.
    pauses: Vec<(u64, u64)>,
}

impl Engine<'_> {
    fn start(&mut self) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lazarus"));
        command
            .arg("serve")
            .args(["--store", &format!("embedded:{}", self.directory.display())])
            .args(["--grpc", &self.address.to_string()])
            .args(["--lease", "2s", "--guard-interval", "1s", "--log", "error"])
            .stdout(Stdio::null());
        self.process = Some(Process::start(&mut command));
    }

    async fn wait_until_ready(&self, client: &Client) {
        let request = wire::ListExecutionsRequest { limit: 1, ..Default::default() };
        until_answered(async || client.worker.clone().list_executions(request.clone()).await).await;
    }

    fn kill(&mut self) {
        self.process.take().expect("it runs").kill();
    }
}

/// Sends a request until it is answered; a refusal is a fault of the engine here.
async fn until_answered<T>(send: impl AsyncFn() -> Result<tonic::Response<T>, tonic::Status>) -> T {
    let begun = SystemEnv.now();
    loop {
        match send().await {
            Ok(answer) => return answer.into_inner(),
            Err(status) if status.code() == tonic::Code::Unavailable => {}
            // A connection that breaks under a request.
            Err(status) if status.code() == tonic::Code::Unknown => {}
            Err(status) if status.code() == tonic::Code::Cancelled => {}
            Err(status) => panic!("refused: {status}"),
        }
        assert!(SystemEnv.now().since(begun) < Duration::from_secs(90), "not answered in time");
        pause(10).await;
    }
}

async fn pause(millis: u64) {
    SystemEnv.sleep(Duration::from_millis(millis)).await;
}

fn work(task: &wire::Task) -> Done {
    match task.step_name.as_str() {
        "nap" => Done::Sleep { millis: SLEEP_MS, data: json!({"slept": true}) },
        step => Done::Success(json!({ "ok": step })),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_executions_survive_twenty_kills() {
    let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok());
    let mut random = seed.unwrap_or_else(|| SystemEnv.random() as u64 | 1);
    println!("SEED={random}");
    let directory = tempfile::tempdir().expect("a directory");
    let port = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = port.local_addr().expect("an address");
    drop(port);
    let mut engine = Engine { directory: directory.path(), address, process: None, pauses: vec![] };
    engine.start();
    let client = Client::connect(address);
    engine.wait_until_ready(&client).await;
    client
        .clone()
        .blueprint("nap", &[("before", &[]), ("nap", &["before"]), ("after", &["nap"])])
        .await;
    let _workers: Vec<Worker> =
        (0..WORKERS).map(|n| Worker::start(client.clone(), &format!("w{n}"), work)).collect();

    let kills = async {
        for _ in 0..KILLS {
            random = xorshift(random);
            pause(20 + random % 400).await;
            let killed = SystemEnv.now().as_millis();
            engine.kill();
            random = xorshift(random);
            pause(random % 60).await;
            engine.start();
            engine.wait_until_ready(&client).await;
            engine.pauses.push((killed, SystemEnv.now().as_millis()));
        }
    };
    let (ids, ()) = tokio::join!(start_all(&client), kills);
    let mut latest = 0;
    for id in ids {
        let events = closed_history(&client, &id).await;
        latest = latest.max(check(&id, &events, &engine.pauses));
    }
    println!("the latest sleep ended {latest} ms late, the engine's absence not counted");
}

/// Starts all executions, each sent until it is answered, under a request id of its own.
async fn start_all(client: &Client) -> Vec<String> {
    let mut ids = vec![];
    for n in 0..EXECUTIONS {
        let request = v1::StartRequest {
            workflow: "nap".to_owned(),
            execution_id: format!("nap-{n}"),
            request_id: format!("start-{n}"),
            input: Some(structure(json!({"n": n}))),
            ..Default::default()
        };
        let started =
            until_answered(async || client.executions.clone().start(request.clone()).await).await;
        ids.push(started.execution_id);
        pause(60).await;
    }
    ids
}

/// The events of an execution with their times, once it is closed.
async fn closed_history(client: &Client, id: &str) -> Vec<(u64, Value)> {
    let request = wire::GetExecutionStatusRequest { execution_id: id.to_owned() };
    let begun = SystemEnv.now();
    loop {
        let status = until_answered(async || {
            client.worker.clone().get_execution_status(request.clone()).await
        })
        .await;
        if status.status() == wire::ExecutionState::ExecutionCompleted {
            break;
        }
        assert!(SystemEnv.now().since(begun) < Duration::from_mins(1), "stuck: {status:#?}");
        pause(20).await;
    }
    let request = v1::HistoryRequest { execution_id: id.to_owned(), ..Default::default() };
    let mut stream =
        until_answered(async || client.executions.clone().history(request.clone()).await).await;
    let mut events = vec![];
    while let Some(event) = stream.message().await.expect("an event") {
        let time = event.time.expect("a time");
        let millis = u64::try_from(time.seconds * 1000 + i64::from(time.nanos) / 1_000_000);
        let value = serde_json::from_str(&event.event_json).expect("JSON");
        events.push((millis.expect("after the epoch"), value));
    }
    events
}

/// Each step has one result, and the sleep ended neither early nor later than the engine's absence
/// explains; how late beside that.
fn check(id: &str, events: &[(u64, Value)], pauses: &[(u64, u64)]) -> u64 {
    let of = |kind: &str, step: &str| -> Vec<&(u64, Value)> {
        let is_it = |(_, event): &&(u64, Value)| event["k"] == kind && event["step"] == step;
        events.iter().filter(is_it).collect()
    };
    for step in ["before", "after"] {
        assert_eq!(of("step_completed", step).len(), 1, "{id}: results of {step}: {events:#?}");
    }
    let (slept, ended) = (of("sleep_started", "nap"), of("sleep_ended", "nap"));
    assert_eq!((slept.len(), ended.len()), (1, 1), "{id}: {events:#?}");
    let due = slept[0].1["until"].as_u64().expect("a due time");
    let woke = ended[0].0;
    assert!(woke >= due, "{id} woke {} ms early", due - woke);
    let absent: u64 =
        pauses.iter().map(|&(from, to)| to.min(woke).saturating_sub(from.max(due))).sum();
    let late = (woke - due).saturating_sub(absent);
    assert!(late <= TICK_MS, "{id} woke {late} ms late, and {absent} ms while the engine was down");
    late
}

fn xorshift(mut state: u64) -> u64 {
    state ^= state << 13;
    state ^= state >> 7;
    state ^ (state << 17)
}
