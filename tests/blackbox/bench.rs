//! `bench store`: it sends no more than it said, and leaves nothing, however it ends.

use std::{
    path::Path,
    process::{Command, Output, Stdio},
    sync::Arc,
    time::Duration,
};

use futures::TryStreamExt;
use lazarus::{
    env::SystemEnv,
    store::{self, BenchError, Measured, Plan, Store, Traits},
};
use object_store::{ObjectStore, memory::InMemory};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::{
    faulty::{Fault, FaultyStore, Op, Rule},
    process::Process,
};

fn plan() -> Plan {
    Plan { clients: vec![1, 4], count: 150, within: Duration::from_secs(30), object_bytes: 700 }
}

fn over(objects: Arc<dyn ObjectStore>) -> Store {
    Store::wrap(objects, Traits { ordered: true, ..Traits::NONE }, "memory (shared)")
}

/// Every key in the store.
async fn keys(store: &Store) -> Vec<String> {
    let all: Vec<_> = store.objects().list(None).try_collect().await.expect("a list");
    all.into_iter().map(|object| object.location.to_string()).collect()
}

#[tokio::test]
async fn it_sends_what_it_said_and_leaves_nothing() {
    let (store, env) = (over(Arc::new(InMemory::new())), SystemEnv::shared());
    let (plan, mut told) = (plan(), vec![]);
    let tell = |figure: &store::Figure| told.push((figure.measured, figure.clients));
    let figures = store::bench(&store, &env, &plan, &CancellationToken::new(), tell).await;
    let figures = figures.expect("it is measured");
    let (sent, most) = (store.requests(), plan.requests_max());
    // Nothing failed and nothing was slow, so that all of it was sent; one list sees the end.
    assert_eq!((sent.put(), sent.get(), sent.delete()), (most.put, most.get, most.delete));
    assert_eq!(sent.list(), 2 * 150 + 2, "{sent}");
    assert!(sent.list() <= most.list, "{sent}");
    assert_eq!(keys(&store).await, [""; 0]);
    let measured = [Measured::PutIfAbsent, Measured::GetHit, Measured::GetMiss, Measured::List];
    let expected: Vec<_> =
        [1, 4].into_iter().flat_map(|clients| measured.map(|it| (it, clients))).collect();
    assert_eq!(told, expected);
    for figure in figures {
        assert_eq!((figure.requests(), figure.failed), (150, 0), "{:?}", figure.measured);
        assert!(figure.p50() <= figure.p99() && figure.p999().is_none());
    }
}

#[tokio::test]
async fn each_measurement_ends_when_its_time_is_over() {
    let slow = "put=20ms,get=20ms,list=20ms,tail=1".parse().expect("times");
    let env = SystemEnv::shared();
    let store = over(Arc::new(InMemory::new())).slowed(slow, &env);
    let plan = Plan { within: Duration::from_millis(200), clients: vec![1], ..plan() };
    let begun = std::time::Instant::now();
    let figures = store::bench(&store, &env, &plan, &CancellationToken::new(), |_| {}).await;
    for figure in figures.expect("it is measured") {
        assert!((2..=10).contains(&figure.requests()), "{figure:?}");
        assert!(figure.p50().expect("two requests") >= Duration::from_millis(20), "{figure:?}");
    }
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    assert_eq!(keys(&store).await, [""; 0]);
}

#[tokio::test]
async fn whoever_stops_it_has_what_was_measured_and_a_clean_store() {
    let (store, env) = (over(Arc::new(InMemory::new())), SystemEnv::shared());
    let stop = CancellationToken::new();
    let tell = |figure: &store::Figure| {
        if figure.measured == Measured::GetHit {
            stop.cancel();
        }
    };
    let figures = store::bench(&store, &env, &plan(), &stop, tell).await.expect("it stops");
    let measured: Vec<_> = figures.iter().map(|figure| figure.measured).collect();
    assert_eq!(measured, [Measured::PutIfAbsent, Measured::GetHit]);
    assert_eq!(keys(&store).await, [""; 0]);
}

#[tokio::test]
async fn a_request_that_always_fails_is_named_and_nothing_is_left() {
    let faulty = FaultyStore::over(Arc::new(InMemory::new()));
    faulty.plan(Rule::on(Op::Get, "probe/bench-", Fault::Fail).always());
    let (store, env) = (over(faulty.objects()), SystemEnv::shared());
    let outcome = store::bench(&store, &env, &plan(), &CancellationToken::new(), |_| {}).await;
    let error = outcome.expect_err("it fails");
    assert!(matches!(&error, BenchError::Failing { what: "GET hit", .. }), "{error}");
    assert_eq!(keys(&store).await, [""; 0]);
    let (sent, most) = (store.requests(), plan().requests_max());
    assert!(sent.put() <= most.put && sent.get() <= 30, "given up late: {sent}");
}

fn bench(store: &str, more: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lazarus"));
    command.args(["bench", "store", "--store", store]).args(more);
    command
}

fn run(store: &str, more: &[&str]) -> Output {
    bench(store, more).output().expect("it runs")
}

/// The JSON lines on standard output.
fn lines(output: &Output) -> Vec<Value> {
    let text = String::from_utf8(output.stdout.clone()).expect("UTF-8");
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

fn complaint(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The files below `folder`.
fn files(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut found = vec![];
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found
}

const QUICK: &[&str] = &["--clients", "1,4", "--count", "100", "--seconds", "20", "--json"];

fn assert_whole(output: &Output) {
    assert!(output.status.success(), "{}", complaint(output));
    let lines = lines(output);
    assert_eq!(lines.len(), 9, "{lines:#?}");
    for line in &lines[..8] {
        assert_eq!((&line["sent"], &line["failed"]), (&100.into(), &0.into()), "{line}");
    }
    let step = &lines[8]["step"];
    assert_eq!((&step["clients"], &step["usd_per_million"]), (&4.into(), &5.0.into()), "{step}");
    assert!(step["in_a_row_per_second"].as_f64() > Some(0.0), "{step}");
    let announced = "with at most 210 PUT, 400 GET, 203 LIST and 210 DELETE: 0.00 USD";
    assert!(complaint(output).contains(announced), "{}", complaint(output));
}

#[tokio::test]
async fn the_command_leaves_nothing_on_the_stores_of_one_machine() {
    assert_whole(&run("memory:", QUICK));
    let directory = tempfile::tempdir().expect("a directory");
    assert_whole(&run(&format!("file://{}", directory.path().display()), QUICK));
    assert_eq!(files(directory.path()), [""; 0].map(std::path::PathBuf::from));
    let directory = tempfile::tempdir().expect("a directory");
    let url = format!("embedded:{}", directory.path().display());
    assert_whole(&run(&url, QUICK));
    let store = Store::open(&url, SystemEnv::shared()).await.expect("it opens");
    assert_eq!(keys(&store).await, [""; 0]);
}

#[test]
fn an_interrupted_command_cleans_up_and_says_so() {
    let directory = tempfile::tempdir().expect("a directory");
    let url = format!("file://{}", directory.path().display());
    let mut command = bench(&url, &["--seconds", "60", "--count", "1000000", "--clients", "2"]);
    command.args(["--simulate-latency", "put=2ms"]).stderr(Stdio::null()).stdout(Stdio::null());
    let mut process = Process::start(&mut command);
    let begun = std::time::Instant::now();
    while files(directory.path()).len() < 20 {
        assert!(begun.elapsed() < Duration::from_secs(20), "nothing is measured");
        std::thread::sleep(Duration::from_millis(5));
    }
    process.interrupt();
    let ended = loop {
        if let Some(ended) = process.ended() {
            break ended;
        }
        assert!(begun.elapsed() < Duration::from_secs(40), "it does not end");
        std::thread::sleep(Duration::from_millis(5));
    };
    assert_eq!(ended.code(), Some(130));
    assert_eq!(files(directory.path()), [""; 0].map(std::path::PathBuf::from));
}

#[test]
fn what_can_not_be_meant_is_told_how_to_be_written() {
    let fault = |more: &[&str]| {
        let output = run("memory:", more);
        assert_eq!(output.status.code(), Some(2), "{more:?}");
        complaint(&output)
    };
    assert!(fault(&["--clients", "0"]).contains("0 is not in 1..=1024"));
    assert!(fault(&["--clients", "1;8"]).contains("invalid digit found in string"));
    assert!(fault(&["--seconds", "0"]).contains("0 is not in 1..=3600"));
    assert!(fault(&["--count", "0"]).contains("0 is not in 1..=1000000"));
    assert!(fault(&["--size", "2MiB"]).contains("give a size from 1 byte to 1MiB"));
    assert!(fault(&["--simulate-latency", "s4"]).contains("give s3, s3-express, or times such as"));
    assert!(fault(&["--simulate-latency", "put=25"]).contains("write it as 25ms or 1.5s"));
    let output = run("orders", &[]);
    assert_eq!(output.status.code(), Some(2));
    assert!(complaint(&output).contains("\"orders\" names no store"), "{}", complaint(&output));
}

#[test]
fn a_simulated_latency_is_warned_about_and_told() {
    let more = ["--simulate-latency", "s3", "--clients", "1", "--count", "3", "--json"];
    let output = run("memory:", &more);
    let complaint = complaint(&output);
    assert!(complaint.contains("FOR MEASURING ONLY: --simulate-latency"), "{complaint}");
    assert!(complaint.contains("get 15ms, put 25ms, list 50ms, delete 25ms"), "{complaint}");
    // A put in a thousand takes less than a quarter of the median: 6 ms.
    let p50 = lines(&output)[0]["p50_ms"].as_f64().expect("a time");
    assert!(p50 > 5.0, "{p50} ms");
}
