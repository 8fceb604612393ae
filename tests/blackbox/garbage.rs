//! A bucket full of garbage objects panics nothing and blocks nothing; a run whose own log is garbage
//! is reported with its key, and harms nobody else.

use std::{
    sync::{Arc, Mutex, Once, PoisonError},
    time::Duration,
};

use futures::TryStreamExt;
use lazarus::{
    engine::{Auditor, Finding},
    env::Env,
    log::{Key, Sum},
    proto::{
        cerebelum::{ExecutionState as State, GetExecutionStatusRequest, ListExecutionsRequest},
        lazarus::{
            DescribeRequest, GetBlueprintRequest, HistoryRequest, ListBlueprintsRequest,
            ListDeadRequest, ListRequest, LogRequest, StartRequest,
        },
    },
    store::{Store, Traits},
    workflow::{ExecutionId, Handle, Namespace, RunId, Timestamp, WakeKind},
};
use object_store::{ObjectStore, ObjectStoreExt, memory::InMemory, path::Path};
use serde_json::{Value, json};
use tonic::{Code, Status};

use crate::{
    clock::Clock,
    support::{Bucket, Client, Done, Instance, PATIENCE, Setup, Worker},
};

/// How many passes of a waker, and of an audit, may be needed at most.
const PASSES_MAX: usize = 50;
/// The beginnings of keys.
const FAMILIES: [&str; 9] =
    ["id/", "run/", "wake/", "queue/", "blueprint/", "worker/", "feed/", "dead/", "nobody"];
/// The workflow of honest executions.
const STEPS: &[(&str, &[&str])] = &[("one", &[]), ("two", &["one"]), ("three", &["two"])];

/// Panics of the engine since the first call; those of tests are their own affair.
fn engine_panics() -> Vec<String> {
    static ONCE: Once = Once::new();
    static SEEN: Mutex<Vec<String>> = Mutex::new(vec![]);
    ONCE.call_once(|| {
        let print = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            // An instance that a test kills is cut off in whatever it waits for.
            let text = panic.to_string();
            let is_cut_off = text.contains("work was aborted");
            let is_engine = panic.location().is_some_and(|it| it.file().starts_with("src/"));
            if is_engine && !is_cut_off {
                SEEN.lock().unwrap_or_else(PoisonError::into_inner).push(text);
            }
            print(panic);
        }));
    });
    SEEN.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

/// Bodies that are no object of ours, wherever they stand.
fn bodies(commit: &[u8]) -> Vec<Vec<u8>> {
    let nested = |open: &str, close: &str, depth: usize| {
        [open.repeat(depth), "1".to_owned(), close.repeat(depth)].concat().into_bytes()
    };
    let mut noise = 7_u32;
    let noise = std::iter::repeat_with(|| {
        noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        noise.to_be_bytes()[0]
    });
    let mut flipped = commit.to_vec();
    flipped[commit.len() / 3] ^= 4;
    let sealed =
        |body: &str| format!("{body},\"sum\":\"{}\"}}", Sum::of(body.as_bytes())).into_bytes();
    vec![
        vec![],
        noise.take(300).collect(),
        vec![0xff; 64],
        b"{".to_vec(),
        b"null".to_vec(),
        b"[]\n{}\n{\"v\":1}\n{\"v\":9}\n\xff\n".to_vec(),
        commit.to_vec(),
        flipped,
        commit[..commit.len() / 2].to_vec(),
        nested("[", "]", 100_000),
        nested("{\"a\":", "}", 20_000),
        sealed(&String::from_utf8(nested("{\"v\":", "}", 200)).expect("text")),
        sealed("{\"v\":1,\"min_reader\":9"),
        sealed("{\"v\":1,\"min_reader\":1"),
        vec![b'x'; 2 << 20],
        format!("\"{}\"", "\\ud800".repeat(10)).into_bytes(),
    ]
}

fn execution(id: &str) -> lazarus::workflow::ExecutionKey {
    ExecutionId::known(id).expect("a valid id").key()
}

fn handle(id: &str, run: u128, seq: u64) -> Handle {
    Handle {
        namespace: Namespace::default(),
        execution: execution(id),
        generation: 0,
        run: RunId::from_random(run),
        seq,
    }
}

/// Keys that we would write, of things that are not there; `at` makes them different.
fn our_keys(at: usize, now: Timestamp) -> Vec<Key> {
    let number = u32::try_from(at).expect("few");
    let id = format!("garbage-{at}");
    let lost = handle(&id, 1_000 + at as u128, 0);
    let later = lost.at(5);
    let (namespace, run) = (Namespace::default(), lost.run);
    let past = Timestamp::from_millis(now.as_millis() - 60_000 * (1 + at as u64));
    let wake = |kind, due, handle: &Handle, tries| Key::Wake {
        shard: 0,
        kind,
        due,
        handle: handle.clone(),
        tries,
    };
    let offer = |step: &str, task| Key::Queue {
        shard: 0,
        queue: "default".to_owned(),
        step: step.into(),
        handle: lost.clone(),
        task,
    };
    let blueprint = |name: &str, version| Key::Blueprint {
        namespace: Namespace::default(),
        name: name.to_owned(),
        version,
    };
    vec![
        Key::Id { namespace: namespace.clone(), execution: execution(&id), generation: 0 },
        Key::Id {
            namespace: namespace.clone(),
            execution: execution(&id),
            generation: u32::MAX - number,
        },
        Key::Run { run, seq: 1 },
        Key::Run { run, seq: 9_999_999_999 },
        Key::Blob { run, sha256: "5f".repeat(32) },
        wake(WakeKind::Timer, past, &lost, 0),
        wake(WakeKind::Guard, past, &later, 19),
        wake(WakeKind::Guard, past, &lost, u32::MAX),
        wake(WakeKind::Timer, Timestamp::default(), &later, u32::MAX - 1),
        wake(WakeKind::Timer, Timestamp::from_millis(u64::MAX), &lost, 1),
        offer("one", (1, 1)),
        offer("two", (u32::MAX, u32::MAX)),
        offer(&id, (0, 0)),
        blueprint("garbage", number),
        blueprint(&id, u32::MAX),
        Key::Push { namespace: namespace.clone(), queue: id.clone() },
        Key::Push { namespace: namespace.clone(), queue: format!("q{number}") },
        Key::Worker { namespace, worker: id.clone() },
        Key::Feed { hour: now, instance: id.clone(), n: at as u64 },
        Key::Feed { hour: Timestamp::default(), instance: id, n: u64::MAX },
        Key::Dead { handle: later },
    ]
}

/// Keys that nobody of us would write.
fn odd_keys() -> Vec<String> {
    let names = [
        "x",
        "%2e%2e",
        "é",
        "\u{202e}\u{1f600}",
        " ",
        "a b",
        "~",
        "=",
        "=4A",
        "0",
        "-1",
        "9999999999",
        "null",
    ];
    let long = "l".repeat(200);
    let folders = [
        "id",
        "id/00",
        "id/00/default",
        "id/00/default/a",
        "run",
        "run/00",
        "run/00/0",
        "blob/ff",
        "wake",
        "wake/0",
        "wake/0/timer",
        "wake/0/timer/20260101",
        "wake/0/timer/20260101/00/00",
        "wake/0/guard/00000000/99/99",
        "wake/0/other",
        "wake/x/timer",
        "wake/77/guard",
        "queue",
        "queue/0",
        "queue/0/default",
        "queue/0/default/one",
        "queue/0/=4a/=4a",
        "queue/x/default/one",
        "blueprint",
        "blueprint/default",
        "blueprint/default/pair",
        "blueprint/UPPER/a",
        "push",
        "push/default",
        "push/UPPER",
        "worker",
        "worker/default",
        "worker/UPPER",
        "feed",
        "feed/2026010100",
        "feed/9999999999",
        "dead",
        "dead/a",
        "sys",
        "probe",
        "nobody",
        "nobody/at/all",
    ];
    let all = folders.iter().flat_map(|folder| {
        names.iter().copied().chain([&*long]).map(move |name| format!("{folder}/{name}"))
    });
    all.collect()
}

/// A bucket with honest executions in it and garbage everywhere.
struct World {
    objects: Arc<dyn ObjectStore>,
    clock: Arc<Clock>,
    instance: Instance,
    client: Client,
    /// Executions whose first step is done, by what is to become of them.
    open: Vec<String>,
}

impl World {
    /// An engine that remembers nothing, on a bucket where every prefix is full of garbage and in
    /// which `open` executions stand between their first step and their second.
    async fn new(open: usize) -> Self {
        engine_panics();
        let objects: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let clock = Clock::fast();
        let before = Self::serve(&objects, &clock, true).await;
        let mut client = before.client().await;
        client.blueprint("chain", STEPS).await;
        let mut ids = vec![];
        for _ in 0..open {
            ids.push(client.execute("chain", json!({})).await);
        }
        for number in 0..open {
            // What follows is kept for this worker, so that the next one gets another's first step.
            let worker = format!("early-{number}");
            let task = client.poll(&worker, 60_000).await.expect("a task");
            assert_eq!(task.step_name, "one");
            assert!(client.submit(&worker, &task, Done::Success(json!({"ok": 1}))).await.success);
        }
        before.settle().await;
        before.kill();
        let mut world = {
            let instance = Self::serve(&objects, &clock, false).await;
            let client = instance.client().await;
            Self { objects, clock, instance, client, open: ids }
        };
        world.litter().await;
        world
    }

    async fn serve(
        objects: &Arc<dyn ObjectStore>,
        clock: &Arc<Clock>,
        background: bool,
    ) -> Instance {
        let store = Bucket::over(Arc::clone(objects)).store().await;
        let setup = Setup { background, ..Setup::new() };
        Instance::start_in(store, &setup, clock.clone()).await
    }

    async fn litter(&mut self) {
        let commit = self.commits(&self.open[0]).await[0].clone();
        let bodies = bodies(&self.read(&commit).await);
        let mut objects: Vec<(Path, Vec<u8>)> = vec![];
        for (at, body) in bodies.iter().enumerate() {
            let keys = our_keys(at, self.clock.now());
            objects.extend(keys.iter().map(|key| (key.path(), body.clone())));
        }
        for (at, key) in odd_keys().iter().enumerate() {
            // What the store itself refuses as a key can not be found in it.
            if let Ok(path) = Path::parse(key) {
                objects.push((path, bodies[at % 9].clone()));
            }
        }
        assert!(objects.len() > 700, "{} are too few", objects.len());
        for (key, body) in objects {
            self.objects.put(&key, body.into()).await.expect("it is written");
        }
    }

    /// The keys of an execution's commits, oldest first.
    async fn commits(&self, id: &str) -> Vec<Path> {
        let starts = self.list("id").await;
        let start = starts.into_iter().find(|key| key.as_ref().contains(id)).expect("its start");
        let document: Value = serde_json::from_slice(&self.read(&start).await).expect("JSON");
        let run = document["run"].as_str().expect("a run").to_owned();
        let mut commits = self.list("run").await;
        commits.retain(|key| key.as_ref().contains(&run));
        commits.sort_unstable();
        commits.push(start);
        commits.reverse();
        commits
    }

    async fn list(&self, prefix: &str) -> Vec<Path> {
        let listed = self.objects.list(Some(&Path::from(prefix)));
        listed.map_ok(|object| object.location).try_collect().await.expect("a list")
    }

    async fn read(&self, key: &Path) -> Vec<u8> {
        self.objects.get(key).await.expect("it is there").bytes().await.expect("bytes").to_vec()
    }

    async fn put(&self, key: &Path, body: impl Into<object_store::PutPayload>) {
        self.objects.put(key, body.into()).await.expect("it is written");
    }

    /// Ticks until nothing is due, as a schedule does.
    async fn tick(&self) {
        for _ in 0..PASSES_MAX {
            let pass = tokio::time::timeout(PATIENCE, self.instance.engine.tick());
            if !pass.await.expect("a pass ends").expect("a pass").more {
                return;
            }
        }
        panic!("there is always more to do");
    }

    /// Ticks, as a schedule goes on to do, until the execution is completed: what was ready as the
    /// clock was set forward is brought back by its guard.
    async fn tick_until_completed(&mut self, id: &str) {
        let ended = async {
            while self.client.status(id).await.status() != State::ExecutionCompleted {
                self.tick().await;
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(PATIENCE, ended).await.expect("it is completed in time");
    }

    fn auditor(&self) -> Auditor {
        let traits = Traits { ordered: true, ..Traits::NONE };
        let store = Store::wrap(Arc::clone(&self.objects), traits, "memory (shared)");
        Auditor::new(store, self.clock.clone(), 1)
    }
}

fn nothing_panicked() {
    assert_eq!(engine_panics(), Vec::<String>::new());
}

#[tokio::test]
async fn honest_executions_run_to_their_end_beside_garbage() {
    let mut world = World::new(2).await;
    world.instance.kill();
    world.instance = World::serve(&world.objects, &world.clock, true).await;
    world.client = world.instance.client().await;
    let _workers: Vec<Worker> = ["w1", "w2"]
        .map(|name| Worker::start(world.client.clone(), name, |_| Done::Success(json!({"ok": 1}))))
        .into();
    let mut ids = world.open.clone();
    for _ in 0..5 {
        ids.push(world.client.execute("chain", json!({})).await);
    }
    for id in &ids {
        world.client.until(id, State::ExecutionCompleted).await;
    }
    world.tick().await;
    nothing_panicked();
}

#[tokio::test]
async fn ticks_and_lists_come_to_an_end_among_garbage() {
    let mut world = World::new(1).await;
    world.clock.skip(Duration::from_mins(61));
    for _ in 0..25 {
        world.tick().await;
        world.clock.skip(Duration::from_secs(601));
    }
    let page = world.client.executions.list(ListRequest::default()).await.expect("a list");
    assert!(!page.into_inner().executions.is_empty(), "the honest one is listed");
    let listed = world.client.worker.list_executions(ListExecutionsRequest::default()).await;
    assert!(listed.expect("a list").into_inner().total_count > 0);
    let dead = world.client.executions.list_dead(ListDeadRequest {}).await.expect("a list");
    assert!(dead.into_inner().runs.len() > 10, "what can not be read is put aside");
    let blueprints = world.client.blueprints.list(ListBlueprintsRequest::default()).await;
    names(&blueprints.expect_err("some can not be read"), "blueprint/default/");
    let get = GetBlueprintRequest { name: "chain".to_owned(), ..Default::default() };
    world.client.blueprints.get(get).await.expect("the honest one is answered");
    nothing_panicked();
}

#[tokio::test]
async fn audits_and_scrubs_end_and_report_among_garbage() {
    let world = World::new(1).await;
    let guards = world.list("wake").await.into_iter();
    for guard in guards.filter(|key| key.as_ref().contains(&world.open[0])) {
        world.objects.delete(&guard).await.expect("the honest one has lost its guard");
    }
    let (mut findings, mut deeds, mut again) = (vec![], vec![], vec![]);
    let auditor = world.auditor();
    let audit = auditor.audit(|finding| findings.push(finding.clone()));
    tokio::time::timeout(PATIENCE, audit).await.expect("it ends").expect("it is read");
    for family in FAMILIES {
        let told = findings.iter().filter(|it| it.key.starts_with(family)).count();
        assert!(told > 0, "nothing is said of {family}");
    }
    assert!(findings.iter().any(Finding::is_fault));
    let scrub = auditor.scrub(false, |deed| deeds.push(deed.clone()));
    tokio::time::timeout(PATIENCE, scrub).await.expect("it ends").expect("it is read");
    let is_mended = deeds.iter().any(|deed| deed.key.contains(&world.open[0]));
    assert!(is_mended, "what can be mended is mended: {deeds:#?}");
    let scrub = auditor.scrub(false, |deed| again.push(deed.clone()));
    tokio::time::timeout(PATIENCE, scrub).await.expect("it ends").expect("it is read");
    assert_eq!(again, [], "a second pass finds nothing to do");
    nothing_panicked();
}

#[tokio::test]
async fn an_entry_that_names_a_commit_far_beyond_the_end_does_not_lengthen_the_log() {
    let world = World::new(1).await;
    let id = &world.open[0];
    let before = world.commits(id).await.len();
    let document: Value =
        serde_json::from_slice(&world.read(&world.commits(id).await[0]).await).expect("JSON");
    let run: RunId = document["run"].as_str().expect("a run").parse().expect("an id");
    for (kind, seq) in [(WakeKind::Timer, 9_000_000_000), (WakeKind::Guard, u64::MAX)] {
        let handle = Handle { run, seq, ..handle(id, 0, 0) };
        let due = world.clock.now();
        let key = Key::Wake { shard: 0, kind, due, handle, tries: 0 };
        world.put(&key.path(), vec![]).await;
    }
    world.clock.skip(Duration::from_mins(61));
    for _ in 0..20 {
        world.tick().await;
        world.clock.skip(Duration::from_secs(20));
    }
    let after = world.commits(id).await.len();
    assert!(after < before + 8, "{} commits were written for nothing", after - before);
    nothing_panicked();
}

#[tokio::test]
async fn a_blueprint_under_another_ones_key_is_reported_and_not_looked_for_for_ever() {
    let mut world = World::new(1).await;
    let honest = world.list("blueprint/default/chain").await.remove(0);
    let copy = world.read(&honest).await;
    let (namespace, name) = (Namespace::default(), "chain".to_owned());
    let wrong = Key::Blueprint { namespace, name, version: 2 };
    world.put(&wrong.path(), copy).await;
    // An instance that has read none of them before.
    world.instance.kill();
    world.instance = World::serve(&world.objects, &world.clock, false).await;
    world.client = world.instance.client().await;
    let start = StartRequest { workflow: "chain".to_owned(), ..Default::default() };
    let started = tokio::time::timeout(PATIENCE, world.client.start(start.clone())).await;
    names(&started.expect("it is answered").expect_err("a copy"), &wrong.to_string());
    let pinned = StartRequest { version: 1, ..start };
    world.client.start(pinned).await.expect("the honest version is there");
    nothing_panicked();
}

/// The refusal says that data is lost, and where.
fn names(refused: &Status, key: &str) {
    assert_eq!(refused.code(), Code::DataLoss, "{refused}");
    assert!(refused.message().contains(key), "{key}: {refused}");
}

/// A commit after `last`, whose bytes are sound, and whose events nobody can have written.
fn nonsense(last: &[u8], events: &Value) -> Vec<u8> {
    let before: Value = serde_json::from_slice(last).expect("JSON");
    let seq = before["seq"].as_u64().expect("a number") + 1;
    let document = json!({
        "v": 1, "min_reader": 1, "run": before["run"], "seq": seq, "cid": "0".repeat(32),
        "prev": before["sum"], "t": before["t"], "by": "nobody/0", "events": events, "snap_seq": 0,
    });
    let body = document.to_string();
    let body = body.trim_end_matches('}');
    format!("{body},\"sum\":\"{}\"}}", Sum::of(body.as_bytes())).into_bytes()
}

impl World {
    /// Puts an object after the last commit of an execution; its key.
    async fn put_after(&self, id: &str, seqs: u64, make: impl FnOnce(&[u8]) -> Vec<u8>) -> String {
        let commits = self.commits(id).await;
        let last = commits.last().expect("a commit");
        let Some(Key::Run { run, seq }) = Key::parse(last) else { panic!("{last} is no commit") };
        let key = Key::Run { run, seq: seq + seqs };
        self.put(&key.path(), make(&self.read(last).await)).await;
        key.to_string()
    }

    /// Every question about an execution whose log can not be read is answered, by its key.
    async fn all_name(&mut self, id: &str, key: &str) {
        let execution_id = || id.to_owned();
        let asked = async {
            let describe = DescribeRequest { execution_id: execution_id(), ..Default::default() };
            names(&self.client.executions.describe(describe).await.expect_err("garbage"), key);
            let status = GetExecutionStatusRequest { execution_id: execution_id() };
            let status = self.client.worker.get_execution_status(status).await;
            names(&status.expect_err("garbage"), key);
            let history = HistoryRequest { execution_id: execution_id(), ..Default::default() };
            let history = match self.client.executions.history(history).await {
                Ok(stream) => stream.into_inner().message().await.map(drop),
                Err(refused) => Err(refused),
            };
            if let Err(refused) = history {
                names(&refused, key);
            }
            // For an incident: the bytes as they stand.
            let log = LogRequest { execution_id: execution_id(), ..Default::default() };
            let log = self.client.executions.log(log).await;
            drop(log);
        };
        tokio::time::timeout(PATIENCE, asked).await.expect("each is answered");
    }
}

#[tokio::test]
async fn a_run_whose_own_log_is_garbage_is_reported_with_its_key_and_harms_nobody() {
    let mut world = World::new(6).await;
    let [noise, foreign, misfit, far, start, honest] =
        <[String; 6]>::try_from(world.open.clone()).expect("six");
    let other = world.read(&world.commits(&honest).await[1]).await;
    let events = json!([{"k": "step_completed", "step": "nobody", "iteration": 1, "attempt": 1, "result": {"json": 1}}]);
    let own_start = world.commits(&start).await[0].to_string();
    world.put(&Path::parse(&own_start).expect("a key"), vec![0xfe; 99]).await;
    let victims = [
        (noise.clone(), world.put_after(&noise, 1, |_| b"\xffgarbage".to_vec()).await),
        (foreign.clone(), world.put_after(&foreign, 1, |_| other).await),
        (misfit.clone(), world.put_after(&misfit, 1, |last| nonsense(last, &events)).await),
        (start, own_start),
    ];
    for (id, key) in &victims {
        world.all_name(id, key).await;
    }
    // A number far beyond the end is a hole of ten milliards: found without reading each.
    let hole = world.put_after(&far, 1_000_000_000, <[u8]>::to_vec).await;
    let history = HistoryRequest { execution_id: far.clone(), ..Default::default() };
    let history = world.client.executions.history(history);
    let refused = tokio::time::timeout(PATIENCE, history).await.expect("it is answered");
    assert_eq!(refused.expect_err("a hole").code(), Code::DataLoss, "{hole}");

    let _worker = Worker::start(world.client.clone(), "w1", |_| Done::Success(json!({"ok": 2})));
    let fresh = world.client.execute("chain", json!({})).await;
    // The leases of the instance that died end, and whoever can go on does.
    for _ in 0..25 {
        world.clock.skip(Duration::from_secs(601));
        world.tick().await;
    }
    for id in [&fresh, &honest] {
        world.tick_until_completed(id).await;
    }
    let dead = world.client.executions.list_dead(ListDeadRequest {}).await.expect("a list");
    let dead = dead.into_inner().runs;
    for (id, key) in &victims[..3] {
        let reasons: Vec<&str> =
            dead.iter().filter(|run| run.handle.contains(id)).map(|run| &*run.reason).collect();
        assert!(reasons.iter().any(|reason| reason.contains(key)), "{key}: {reasons:?}");
        world.all_name(id, key).await;
    }
    nothing_panicked();
}
