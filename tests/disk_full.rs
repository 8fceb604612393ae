//! A disk that is full, under the real binary: nothing acknowledged is lost, who asks is told what is
//! full and what to do, nothing spins, and it goes on when there is room again.
//!
//! Two methods. A small tmpfs of the test's own is filled to the last byte: that needs the right to
//! mount, and where it is not given the tests that need it say so and pass. A limit on the length of
//! files (`ulimit -f`) lets writes fail halfway inside the key-value engine, anywhere.

#![allow(
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "a client outside the engine has a clock and a terminal of its own"
)]

#[path = "support/client.rs"]
#[allow(dead_code, unreachable_pub, reason = "each test binary uses its own part")]
mod client;
#[path = "support/process.rs"]
#[allow(dead_code, reason = "each test binary uses its own part")]
mod process;

use std::{
    error::Error as _,
    fs::{self, File},
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use lazarus::proto::{cerebelum as wire, lazarus as v1};
use serde_json::json;
use tempfile::TempDir;
use tonic::{Code, Status};

use self::{
    client::{Client, Done, PATIENCE, structure},
    process::Process,
};

const LAZARUS: &str = env!("CARGO_BIN_EXE_lazarus");
/// Room for the store's reserve (64 MiB) and for what the test writes.
const DISK_MIB: u32 = 128;
const GUARD_INTERVAL: Duration = Duration::from_secs(2);

/// A file system of its own in memory; gone with the value.
struct Disk {
    at: TempDir,
}

impl Disk {
    /// None, and a word about it, where mounting is not allowed.
    fn mount() -> Option<Self> {
        let at = tempfile::tempdir().expect("a directory");
        let size = format!("size={DISK_MIB}m");
        let mut mount = Command::new("mount");
        match mount.args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(at.path()).output() {
            Ok(done) if done.status.success() => Some(Self { at }),
            other => {
                let why = match other {
                    Ok(done) => String::from_utf8_lossy(&done.stderr).trim().to_owned(),
                    Err(error) => error.to_string(),
                };
                eprintln!(
                    "SKIPPED: no file system can be mounted here ({why}), so none is filled; a limit \
                     on the length of files stands in for it in \
                     a_write_that_fails_halfway_ends_the_process_and_the_next_one_has_everything"
                );
                None
            }
        }
    }

    fn store(&self) -> PathBuf {
        self.at.path().join("store")
    }

    /// Takes all room that is left.
    fn fill(&self) {
        let mut ballast = File::create(self.at.path().join("ballast")).expect("a file");
        let chunk = vec![1; 1 << 16];
        let mut length = chunk.len();
        while length > 0 {
            if ballast.write_all(&chunk[..length]).is_err() {
                length /= 2;
            }
        }
    }

    fn make_room(&self) {
        fs::remove_file(self.at.path().join("ballast")).expect("it is there");
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily: an engine that a failed test leaves may be about to end still.
        let unmounted = Command::new("umount").arg("-l").arg(self.at.path()).status();
        assert!(unmounted.is_ok_and(|status| status.success()), "{:?} stays mounted", self.at);
    }
}

/// An engine on the store at `url`.
async fn serving(url: &str) -> (Process, Client) {
    let mut command = Command::new(LAZARUS);
    command.args(["serve", "--store", url, "--grpc", "127.0.0.1:0", "--log", "error"]);
    let guard_interval = format!("{}s", GUARD_INTERVAL.as_secs());
    command.args(["--lease", "30s", "--guard-interval", &guard_interval]);
    let (process, address) = Process::serving(&mut command);
    let address =
        tokio::time::timeout(PATIENCE, address).await.expect("in time").expect("it serves");
    (process, Client::connect(address))
}

fn start(id: &str, payload_bytes: usize) -> v1::StartRequest {
    v1::StartRequest {
        workflow: "pair".to_owned(),
        execution_id: id.to_owned(),
        request_id: format!("start-{id}"),
        input: Some(structure(json!({ "payload": "x".repeat(payload_bytes) }))),
        ..Default::default()
    }
}

/// Asks until it is answered otherwise than with `UNAVAILABLE`.
async fn persistently<T>(ask: impl AsyncFn() -> Result<T, Status>) -> T {
    let begun = Instant::now();
    loop {
        match ask().await {
            Ok(answer) => return answer,
            Err(status) => assert_eq!(status.code(), Code::Unavailable, "{status}"),
        }
        assert!(begun.elapsed() < PATIENCE, "not answered in time");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// The processor time that a process has used, in hundredths of a second.
fn processor_time(process: &Process) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{}/stat", process.id())).expect("it runs");
    let after_name = stat.rsplit_once(')').expect("a name").1;
    let fields: Vec<&str> = after_name.split_whitespace().collect();
    // utime and stime, the 14th and 15th field of all.
    [fields[11], fields[12]].iter().map(|ticks| ticks.parse::<u64>().expect("a number")).sum()
}

/// Works on a store whose disk fills up under it and is emptied again.
async fn a_disk_that_fills_up(disk: &Disk, url: &str, full: &str) {
    let (mut process, mut client) = serving(url).await;
    client.blueprint("pair", &[("first", &[]), ("second", &["first"])]).await;
    client.start(start("before", 10)).await.expect("there is room");
    let task = client.poll("w1", 5_000).await.expect("a task");
    client.start(start("idle", 10)).await.expect("there is room");
    // A result after the guard interval needs another guard, and a long one needs its payload written:
    // there is no room for these either.
    tokio::time::sleep(GUARD_INTERVAL).await;

    disk.fill();
    let refused = client.start(start("during", 10)).await.expect_err("there is no room");
    assert_eq!(refused.code(), Code::Unavailable, "{refused}");
    assert!(refused.message().contains(full), "{refused}");
    assert!(refused.message().contains("free some space there"), "{refused}");
    // A result is tried for a minute, as its worker would not send it again.
    let (mut worker, done, long) = (client.clone(), task.clone(), "x".repeat(50_000));
    let submitted = tokio::spawn(async move {
        worker.submit("w1", &done, Done::Success(json!({"long": long}))).await
    });
    let before = processor_time(&process);
    tokio::time::sleep(Duration::from_secs(3)).await;
    let used = processor_time(&process) - before;
    assert!(used < 60, "it used {used} of 300 ticks of a processor while it could do nothing");
    // What was acknowledged can be read.
    assert_eq!(client.status("idle").await.status(), wire::ExecutionState::ExecutionRunning);
    assert!(!submitted.is_finished(), "a result was answered though it can not be written");

    disk.make_room();
    assert!(submitted.await.expect("no panic").success, "the result is taken, late");
    persistently(async || client.clone().start(start("during", 10)).await).await;
    assert_eq!(process.ended(), None, "it is the same process still");
    let ids = ["before", "idle", "during"];
    let begun = Instant::now();
    for id in ids {
        while client.status(id).await.status() != wire::ExecutionState::ExecutionCompleted {
            assert!(begun.elapsed() < PATIENCE, "{id} does not go on");
            if let Some(task) = client.poll("w1", 1_000).await {
                client.submit("w1", &task, Done::Success(json!({"n": 2}))).await;
            }
        }
    }
    process.kill();

    let (_process, mut client) = serving(url).await;
    for id in ids {
        client.until(id, wire::ExecutionState::ExecutionCompleted).await;
    }
    let done = client.events("before").await;
    let results = done.iter().filter(|event| event["k"] == "step_completed");
    assert_eq!(results.count(), 2, "{done:#?}");
}

#[tokio::test]
async fn an_embedded_store_on_a_full_disk_says_so_and_goes_on_when_there_is_room() {
    let Some(disk) = Disk::mount() else { return };
    let url = format!("embedded:{}", disk.store().display());
    let full = format!("the disk of the embedded store in {} is full", disk.store().display());
    a_disk_that_fills_up(&disk, &url, &full).await;
}

#[tokio::test]
async fn a_store_of_files_on_a_full_disk_says_so_and_goes_on_when_there_is_room() {
    let Some(disk) = Disk::mount() else { return };
    let url = format!("file://{}", disk.store().display());
    a_disk_that_fills_up(&disk, &url, "its disk is full (No space left on device").await;
}

/// A `serve` whose files may not grow over `blocks` of 512 bytes, with its errors in `log`.
fn limited(url: &str, blocks: u32, log: &Path) -> Command {
    let mut command = Command::new("sh");
    // Ignored signals stay ignored in what is executed: a write over the limit is an error then.
    let script = format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$0\" \"$@\"");
    command.args(["-c", &script, LAZARUS, "serve", "--store", url, "--grpc", "127.0.0.1:0"]);
    command.args(["--log", "error"]).stderr(File::create(log).expect("a log"));
    command
}

/// Waits for the end of a process; its exit code and its last two lines.
async fn the_end(process: &mut Process, log: &Path) -> (Option<i32>, String) {
    let begun = Instant::now();
    loop {
        if let Some(status) = process.ended() {
            let log = fs::read_to_string(log).expect("its log");
            let lines: Vec<&str> = log.lines().collect();
            return (status.code(), lines[lines.len().saturating_sub(2)..].join("\n"));
        }
        assert!(
            begun.elapsed() < PATIENCE,
            "it stays, and does nothing: {:?}",
            fs::read_to_string(log)
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_write_that_fails_halfway_ends_the_process_and_the_next_one_has_everything() {
    let directory = tempfile::tempdir().expect("a directory");
    let (store, log) = (directory.path().join("store"), directory.path().join("log"));
    let url = format!("embedded:{}", store.display());
    // A new journal has 64 MiB of zeros; opened again, it ends where its data does.
    let (mut process, mut client) = serving(&url).await;
    client.blueprint("pair", &[("first", &[]), ("second", &["first"])]).await;
    process.kill();

    let (mut process, address) = Process::serving(&mut limited(&url, 4096, &log));
    let address =
        tokio::time::timeout(PATIENCE, address).await.expect("in time").expect("it serves");
    let mut client = Client::connect(address);
    let mut acknowledged = vec![];
    while process.ended().is_none() {
        let id = format!("e{}", acknowledged.len());
        match client.start(start(&id, 20_000)).await {
            Ok(_) => acknowledged.push(id),
            // The process may end under the request; only a broken connection has a source.
            Err(status) if status.source().is_some() => {}
            Err(status) => assert_eq!(status.code(), Code::Unavailable, "{status}"),
        }
        assert!(acknowledged.len() < 200, "the limit of 2 MiB holds nothing up");
    }
    assert!(!acknowledged.is_empty());
    let (code, said) = the_end(&mut process, &log).await;
    assert_eq!(code, Some(3), "{said}");
    assert!(said.contains("takes no more writes: File too large"), "{said}");
    assert!(said.contains("start it again: nothing acknowledged is lost"), "{said}");

    // Where there is no room at all, it does not serve, and says why.
    let (mut process, _) = Process::serving(&mut limited(&url, 64, &log));
    let (code, said) = the_end(&mut process, &log).await;
    assert_eq!(code, Some(3), "{said}");
    assert!(said.contains("File too large"), "{said}");

    let (mut process, mut client) = serving(&url).await;
    for id in &acknowledged {
        assert_eq!(
            client.status(id).await.status(),
            wire::ExecutionState::ExecutionRunning,
            "{id}"
        );
    }
    client.start(start("after", 10)).await.expect("there is room again");
    process.kill();
    let mut audit = Command::new(LAZARUS);
    let audited = audit.args(["audit", "--store", &url]).stdin(Stdio::null()).output();
    let audited = audited.expect("the audit runs");
    assert!(audited.status.success(), "{}", String::from_utf8_lossy(&audited.stdout));
}
