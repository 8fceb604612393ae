//! Ten thousand executions that sleep: what they cost while they do, and what waking some costs.

use std::{path::Path, process::Command, time::Duration};

use futures::{StreamExt, stream};
use lazarus::{
    engine::{Config, Engine, PollRequest, StartRequest},
    env::SystemEnv,
    store::{Family, Operation, Store},
    workflow::{Definition, Namespace, Step, Submission},
};
use serde_json::json;

/// How many sleep for an hour.
const SLEEPERS: usize = 9_900;
/// The size of the embedded store's write buffer, which a start may fill from its journal: allowed for
/// beside the sleepers, since the process's memory does not tell the two apart.
const STORE_BUFFER_KIB: u64 = 8 * 1024;
/// How many are due by the time that all of them sleep.
const DUE: usize = 100;

async fn engine(directory: &Path) -> Engine {
    let url = format!("embedded:{}", directory.display());
    let env = SystemEnv::shared();
    let store = Store::open(&url, env.clone()).await.expect("the store opens");
    let config = Config { near_timers: false, reservations: false, ..Config::of("sleepers/test") };
    Engine::open(store, env, config).await.expect("the engine opens")
}

/// Starts an execution of one step and takes whichever task is ready to bed.
async fn put_to_sleep(engine: &Engine, duration_ms: i64) {
    engine.start(StartRequest::of("nap")).await.expect("it starts");
    let poll = PollRequest::of("w1", Duration::from_secs(20));
    let task = engine.poll(poll).await.expect("a poll").expect("a task");
    let token = task.token;
    let sleep = Submission::Sleep { duration_ms, data: json!({}) };
    engine.submit(&token, "w1", sleep).await.expect("it sleeps");
}

async fn many(engine: &Engine, count: usize, duration_ms: i64) {
    stream::iter(0..count).for_each_concurrent(64, |_| put_to_sleep(engine, duration_ms)).await;
}

/// The resident memory of the real binary on `directory`, in KiB, once it has looked at all there is.
async fn resident_kib(directory: &Path) -> u64 {
    let mut child = Command::new(env!("CARGO_BIN_EXE_lazarus"))
        .args(["serve", "--grpc", "127.0.0.1:0", "--log", "error"])
        .args(["--store", &format!("embedded:{}", directory.display())])
        .stdout(std::process::Stdio::null())
        .spawn()
        .expect("the engine starts");
    tokio::time::sleep(Duration::from_secs(2)).await;
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id()));
    child.kill().expect("it is killed");
    child.wait().expect("it has ended");
    let status = status.expect("it still runs");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("a size");
    line.split_whitespace().nth(1).and_then(|size| size.parse().ok()).expect("a number")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_sleepers_cost_no_request_and_under_a_kibibyte_each() {
    let directory = tempfile::tempdir().expect("a directory");
    let (filled, empty) = (directory.path().join("filled"), directory.path().join("empty"));
    let first = engine(&filled).await;
    let step = Step { name: "nap".into(), ..Step::default() };
    let nap = Definition { name: "nap".to_owned(), steps: vec![step], ..Definition::default() };
    first.put_blueprint(&Namespace::default(), nap, "", false).await.expect("a valid blueprint");
    many(&first, SLEEPERS, 3_600_000).await;
    assert!(first.drain(Duration::from_mins(1)).await, "effects did not come to an end");

    // Nothing is due: a pass lists the timers and the guards once each, whatever sleeps.
    let before = first.store().requests();
    let progress = first.tick().await.expect("a pass");
    let cost = first.store().requests() - before;
    assert_eq!((progress.fired, progress.more), (0, false));
    assert_eq!((cost.list(), cost.get(), cost.put(), cost.delete()), (2, 0, 0, 0), "{cost}");
    drop(first);

    // A process that has them all in its store takes hardly more memory than one that has none.
    let (with, without) = (resident_kib(&filled).await, resident_kib(&empty).await);
    let each = with.saturating_sub(without + STORE_BUFFER_KIB) * 1024 / SLEEPERS as u64;
    println!("{with} KiB with the sleepers, {without} KiB without: {each} bytes each");
    assert!(each < 1024, "{each} bytes for each sleeper");

    // Waking those that are due costs so many requests for each of them, and none for the others.
    let second = engine(&filled).await;
    many(&second, DUE, 1).await;
    assert!(second.drain(Duration::from_mins(1)).await, "effects did not come to an end");
    let before = second.store().requests();
    let mut fired = 0;
    loop {
        let progress = second.tick().await.expect("a pass");
        fired += progress.fired;
        if !progress.more {
            break;
        }
    }
    assert!(second.drain(Duration::from_mins(1)).await, "effects did not come to an end");
    let cost = second.store().requests() - before;
    println!("waking {DUE} of {SLEEPERS}: {cost}");
    assert_eq!(fired, DUE);
    let due = DUE as u64;
    assert_eq!(cost.in_family(Operation::Put, Family::Run), due, "{cost}");
    // Its last step was the sleep: a run that closes is read again before its entry goes.
    assert_eq!(cost.in_family(Operation::Get, Family::Run), 2 * due, "{cost}");
    assert!(cost.list() <= 4, "{cost}");
}
