//! An audit finds each kind of damage and nothing else; a scrub mends what the logs can mend, also
//! in a bucket that was restored without its indexes.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use futures::TryStreamExt;
use lazarus::{
    engine::{Auditor, Deed, Finding, Mended, Summary},
    proto::{
        cerebelum::{ExecutionState as State, ResumeExecutionRequest, WorkflowDefinition},
        lazarus as v1,
    },
    store::{Operation, Store, Traits},
};
use object_store::{
    ObjectStore, ObjectStoreExt, PutPayload,
    memory::InMemory,
    path::Path,
    throttle::{ThrottleConfig, ThrottledStore},
};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::{
    clock::Clock,
    faulty::{Fault, FaultyStore, Op, Rule},
    support::{Bucket, Client, Done, Instance, PATIENCE, Setup, Worker, branch, json, timeline},
};

/// A bucket with executions that stand in every way.
struct World {
    objects: Arc<InMemory>,
    clock: Arc<Clock>,
    /// Sleeps for an hour, after a step with a large result.
    sleeper: String,
    /// Waits for a person, without an end.
    asker: String,
    /// Has a step that is ready.
    ready: String,
}

fn store(objects: &Arc<InMemory>) -> Store {
    let objects: Arc<dyn ObjectStore> = objects.clone();
    Store::wrap(objects, Traits { ordered: true, ..Traits::NONE }, "memory (shared)")
}

async fn instance(objects: &Arc<InMemory>, clock: &Arc<Clock>, background: bool) -> Instance {
    let setup = Setup { background, ..Setup::new() };
    let store = Bucket::over(objects.clone()).store().await;
    Instance::start_in(store, &setup, clock.clone()).await
}

async fn blueprints(client: &mut Client) {
    client.blueprint("chain", &[("one", &[]), ("two", &["one"]), ("three", &["two"])]).await;
    client.blueprint("nap", &[("big", &[]), ("sleep", &["big"]), ("after", &["sleep"])]).await;
    client.blueprint("ask", &[("one", &[]), ("approve", &["one"])]).await;
    client.blueprint("mend", &[("one", &[]), ("breaks", &["one"])]).await;
    let definition = WorkflowDefinition {
        timeline: timeline(&[("work", &[]), ("check", &["work"]), ("end", &["check"])]),
        branch_rules: vec![branch("check", &[("n < 3", "work")])],
        ..Default::default()
    };
    assert!(client.submit_blueprint("loop", definition).await.valid);
}

fn worker(client: &Client, is_fixed: Arc<AtomicBool>) -> Worker {
    let mut rounds = 0;
    let rounds = move || {
        rounds += 1;
        rounds
    };
    let rounds = std::sync::Mutex::new(rounds);
    Worker::start(client.clone(), "w1", move |task| match task.step_name.as_str() {
        "big" => Done::Success(json!({"ok": {"text": "x".repeat(40_000)}})),
        "sleep" => Done::Sleep { millis: 3_600_000, data: json!({"slept": true}) },
        "approve" => Done::Approval { timeout_ms: 0 },
        "breaks" if !is_fixed.load(Ordering::SeqCst) => Done::Failure("a bug"),
        "check" => {
            let mut rounds = rounds.lock().expect("no panic");
            Done::Success(json!({"ok": {"n": rounds()}}))
        }
        _ => Done::Success(json!({"ok": 1})),
    })
}

impl World {
    async fn new() -> Self {
        let (objects, clock) = (Arc::new(InMemory::new()), Clock::fast());
        let layout = json!({"v": 1, "shards": 1}).to_string();
        objects.put(&"sys/layout.json".into(), layout.into()).await.expect("written");
        let instance = instance(&objects, &clock, true).await;
        let mut client = instance.client().await;
        blueprints(&mut client).await;
        let is_fixed = Arc::new(AtomicBool::new(false));
        let working = worker(&client, is_fixed.clone());
        let broken = client.execute("mend", json!({})).await;
        let mut done = vec![];
        for workflow in ["chain", "loop", "chain", "chain"] {
            done.push(client.execute(workflow, json!({"text": "y".repeat(35_000)})).await);
        }
        let sleeper = client.execute("nap", json!({})).await;
        let asker = client.execute("ask", json!({})).await;
        client.until(&broken, State::ExecutionFailed).await;
        is_fixed.store(true, Ordering::SeqCst);
        let execution_id = broken.clone();
        let request = ResumeExecutionRequest { execution_id, skip_completed_steps: true };
        client.worker.resume_execution(request).await.expect("it is resumed");
        for id in done.iter().chain([&broken]) {
            client.until(id, State::ExecutionCompleted).await;
        }
        client.until(&sleeper, State::ExecutionSleeping).await;
        client.until(&asker, State::ExecutionWaitingForApproval).await;
        drop(working);
        let ready = client.execute("chain", json!({})).await;
        instance.settle().await;
        instance.kill();
        Self { objects, clock, sleeper, asker, ready }
    }

    fn auditor(&self) -> Auditor {
        Auditor::new(store(&self.objects), self.clock.clone(), 1)
    }

    async fn audit(&self) -> (Vec<Finding>, Summary) {
        let mut findings = vec![];
        let told = self.auditor().audit(|finding| findings.push(finding.clone())).await;
        (findings, told.expect("it is read to its end"))
    }

    /// The faults, as `key: what`.
    async fn faults(&self) -> Vec<String> {
        let (findings, summary) = self.audit().await;
        let faults = findings.into_iter().filter(Finding::is_fault);
        let faults: Vec<String> = faults.map(|it| format!("{}: {}", it.key, it.what)).collect();
        assert_eq!(faults.len() as u64, summary.faults, "{faults:#?}");
        faults
    }

    /// What a scrub did, and how many writes it cost.
    async fn scrub(&self) -> (Mended, Vec<Deed>, u64) {
        let (store, mut deeds) = (store(&self.objects), vec![]);
        let auditor = Auditor::new(store.clone(), self.clock.clone(), 1);
        let mended = auditor.scrub(false, |deed| deeds.push(deed.clone())).await;
        let cost = store.requests();
        let writes = cost.of(Operation::Put) + cost.of(Operation::Delete);
        (mended.expect("it is read to its end"), deeds, writes)
    }

    async fn keys(&self, prefix: &str) -> Vec<Path> {
        let listed: Vec<_> =
            self.objects.list(Some(&Path::from(prefix))).try_collect().await.expect("a list");
        let mut keys: Vec<Path> = listed.into_iter().map(|object| object.location).collect();
        keys.sort_unstable();
        keys
    }

    /// The commits of an execution's only run, oldest first.
    async fn commits(&self, execution: &str) -> Vec<Path> {
        let ids = self.keys("id").await;
        let start = ids.into_iter().find(|key| key.as_ref().contains(execution)).expect("a start");
        let run = self.document(&start).await["run"].as_str().expect("a run").to_owned();
        let runs = self.keys("run").await.into_iter().rev();
        let rest = runs.filter(|key| key.as_ref().contains(&run));
        std::iter::once(start).chain(rest).collect()
    }

    async fn bytes(&self, key: &Path) -> Vec<u8> {
        self.objects.get(key).await.expect("found").bytes().await.expect("bytes").to_vec()
    }

    async fn document(&self, key: &Path) -> Value {
        serde_json::from_slice(&self.bytes(key).await).expect("JSON")
    }

    async fn put(&self, key: &Path, bytes: Vec<u8>) {
        self.objects.put(key, PutPayload::from(bytes)).await.expect("written");
    }

    /// Takes an object away; gives what it was.
    async fn take(&self, key: &Path) -> Vec<u8> {
        let bytes = self.bytes(key).await;
        self.objects.delete(key).await.expect("deleted");
        bytes
    }

    /// Copies all objects but those under `without` into another store.
    async fn restored(&self, without: &[&str]) -> Self {
        let objects = Arc::new(InMemory::new());
        for key in self.keys("").await {
            if !without.iter().any(|prefix| key.as_ref().starts_with(prefix)) {
                objects.put(&key, self.bytes(&key).await.into()).await.expect("copied");
            }
        }
        let (sleeper, asker, ready) =
            (self.sleeper.clone(), self.asker.clone(), self.ready.clone());
        Self { objects, clock: self.clock.clone(), sleeper, asker, ready }
    }
}

impl World {
    /// Waits for the end of an execution that may fall asleep for an hour meanwhile.
    async fn until_completed(&self, client: &mut Client, execution: &str) {
        let begun = Instant::now();
        loop {
            match client.status(execution).await.status() {
                State::ExecutionCompleted => return,
                State::ExecutionSleeping => self.clock.skip(Duration::from_hours(1)),
                _ => {}
            }
            assert!(begun.elapsed() < PATIENCE, "{execution} is not completed in time");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// One of the faults names `key` and says `what`.
fn names(faults: &[String], key: impl AsRef<str>, what: &str) {
    let found = faults.iter().any(|it| it.contains(key.as_ref()) && it.contains(what));
    assert!(found, "no fault of {}: {what}: {faults:#?}", key.as_ref());
}

#[tokio::test]
async fn a_bucket_after_executions_of_all_kinds_is_clean_and_an_audit_writes_nothing() {
    let world = World::new().await;
    world.clock.skip(Duration::from_mins(10));
    assert_eq!(world.faults().await, [""; 0]);
    let (_, summary) = world.audit().await;
    assert_eq!((summary.executions, summary.runs, summary.open, summary.moving), (8, 9, 3, 0));
    // A guard that moved on may be left of a run that closed: that is a note, and read twice.
    world.scrub().await;
    let ordered = store(&world.objects);
    let auditor = Auditor::new(ordered.clone(), world.clock.clone(), 1);
    let mut notes = vec![];
    auditor.audit(|finding| notes.push(finding.clone())).await.expect("it is read");
    assert_eq!(notes, [], "nothing is read twice");
    let cost = ordered.requests();
    let batches = world.keys("feed").await.len() as u64;
    let read = summary.commits + summary.blobs + summary.blueprints + batches;
    assert_eq!(cost.get(), read, "each object once: {cost}");
    // The indexes and `id/`, `blueprint/`, `worker/`, the root; then folders by two digits.
    let folders = world.keys("run").await.len() + world.keys("blob").await.len();
    let lists = summary.runs + 4 + 1 + 3 + 2 + folders as u64;
    assert!(cost.list() <= lists, "{cost}");
    assert!(summary.commits > 30 && summary.snapshots > 20 && summary.blobs >= 5, "{summary:?}");
    // Where listing is not ordered, as on files.
    let objects: Arc<dyn ObjectStore> = world.objects.clone();
    let store = Store::wrap(objects, Traits::NONE, "unordered");
    let auditor = Auditor::new(store.clone(), world.clock.clone(), 1);
    assert_eq!(auditor.audit(|_| {}).await.expect("it is read"), summary);
    let cost = store.requests();
    assert_eq!((cost.put(), cost.delete()), (0, 0), "{cost}");
}

#[tokio::test]
async fn an_audit_beside_engines_at_work_finds_nothing() {
    let (objects, clock) = (Arc::new(InMemory::new()), Clock::fast());
    let instance = instance(&objects, &clock, true).await;
    let mut client = instance.client().await;
    blueprints(&mut client).await;
    let _workers = ["w1", "w2"].map(|name| {
        Worker::start(client.clone(), name, |task| match task.step_name.as_str() {
            "sleep" => Done::Sleep { millis: 2_000, data: json!({}) },
            _ => Done::Success(json!({"ok": {"n": 7}})),
        })
    });
    let world = World {
        objects,
        clock,
        sleeper: String::new(),
        asker: String::new(),
        ready: String::new(),
    };
    // Executions begin, go on and end all the while; each request of an audit takes its time.
    let started = tokio::spawn({
        let mut client = client.clone();
        async move {
            let mut ids = vec![];
            for _ in 0..40 {
                for workflow in ["chain", "nap", "loop"] {
                    ids.push(client.execute(workflow, json!({})).await);
                }
                tokio::time::sleep(Duration::from_millis(30)).await;
            }
            ids
        }
    });
    let slow = ThrottleConfig {
        wait_get_per_call: Duration::from_millis(2),
        wait_list_per_call: Duration::from_millis(1),
        ..ThrottleConfig::default()
    };
    let slow: Arc<dyn ObjectStore> = Arc::new(ThrottledStore::new(world.objects.clone(), slow));
    let traits = Traits { ordered: true, ..Traits::NONE };
    let slow = Store::wrap(slow, traits, "slow");
    let mut audits = 0;
    while !started.is_finished() {
        let auditor = Auditor::new(slow.clone(), world.clock.clone(), 1);
        let mut faults = vec![];
        let tell = |finding: &Finding| faults.extend(finding.is_fault().then(|| finding.clone()));
        auditor.audit(tell).await.expect("it is read");
        assert_eq!(faults, []);
        let mut deeds = vec![];
        let mended = auditor.scrub(false, |deed| deeds.push(deed.clone())).await;
        let mended = mended.expect("it is read");
        assert_eq!((mended.wakes_put, mended.faults_left), (0, 0), "{deeds:#?}");
        audits += 1;
    }
    assert!(audits > 1, "{audits} audits");
    for id in started.await.expect("all are started") {
        client.until(&id, State::ExecutionCompleted).await;
    }
    instance.settle().await;
    assert_eq!(world.faults().await, [""; 0]);
}

#[tokio::test]
async fn a_flipped_byte_a_missing_commit_and_a_swapped_one_are_named() {
    let world = World::new().await;
    let commits = world.commits(&world.sleeper).await;
    let last = commits.len() - 1;
    assert!(last >= 3, "{commits:?}");
    for at in [0, 2, last] {
        let before = world.bytes(&commits[at]).await;
        let mut flipped = before.clone();
        let middle = flipped.len() / 2;
        flipped[middle] ^= 1;
        world.put(&commits[at], flipped).await;
        names(&world.faults().await, &commits[at], "its sum does not match its bytes");
        world.put(&commits[at], before).await;
    }
    let taken = world.take(&commits[2]).await;
    names(&world.faults().await, &commits[3], "commits 2 to 2 before it are missing");
    world.put(&commits[2], taken).await;

    let (two, three) = (world.bytes(&commits[2]).await, world.bytes(&commits[3]).await);
    world.put(&commits[2], three).await;
    names(&world.faults().await, &commits[2], "does not belong here");
    world.put(&commits[2], two).await;
    assert_eq!(world.faults().await, [""; 0]);

    // The newest commit gone: the chain is whole, but the entry that its timer is tells of it.
    world.take(&commits[last]).await;
    names(&world.faults().await, "wake/0/timer", "but the log ends at");
}

#[tokio::test]
async fn a_wrong_snapshot_with_a_right_sum_is_named() {
    let world = World::new().await;
    let commits = world.commits(&world.asker).await;
    let newest = commits.last().expect("a tail");
    let text = String::from_utf8(world.bytes(newest).await).expect("text");
    let (body, _) = text.rsplit_once(",\"sum\":").expect("a sum");
    let moved = body.rfind("\"moved\":1").expect("a snapshot");
    let forged = format!("{}\"moved\":2{}", &body[..moved], &body[moved + 9..]);
    let sum = hex::encode(Sha256::digest(forged.as_bytes()));
    world.put(newest, format!("{forged},\"sum\":\"{sum}\"}}").into_bytes()).await;
    let faults = world.faults().await;
    names(&faults, newest, "its snapshot is not what its events add up to");
    assert_eq!(faults.len(), 1, "{faults:#?}");
}

#[tokio::test]
async fn a_blob_or_a_blueprint_that_is_gone_is_named() {
    let world = World::new().await;
    let blobs = world.keys("blob").await;
    let taken = world.take(&blobs[0]).await;
    names(&world.faults().await, &blobs[0], "it is missing");
    let mut other = taken.clone();
    other[5] ^= 1;
    world.put(&blobs[0], other).await;
    names(&world.faults().await, &blobs[0], "its hash does not match");
    world.put(&blobs[0], taken).await;

    let chain = world.keys("blueprint/default/chain").await;
    let taken = world.take(&chain[0]).await;
    let faults = world.faults().await;
    names(&faults, &chain[0], "runs are pinned to it, and it is missing");
    assert_eq!(faults.len(), 1, "it is told once: {faults:#?}");
    let other = String::from_utf8(taken).expect("text").replace("three", "thr33");
    world.put(&chain[0], other.into_bytes()).await;
    names(&world.faults().await, &chain[0], "its hash differs");
}

#[tokio::test]
async fn a_missing_timer_or_guard_is_named_put_back_and_wakes_its_run() {
    let world = World::new().await;
    for timer in world.keys("wake").await {
        world.take(&timer).await;
    }
    let faults = world.faults().await;
    names(&faults, "/timer/", "no entry would wake it");
    names(&faults, "/guard/", "no guard of its epoch");
    assert_eq!(faults.len(), 2, "{faults:#?}");
    let (mended, deeds, writes) = world.scrub().await;
    assert_eq!((mended.wakes_put, mended.faults_left, writes), (2, 0, 2), "{deeds:#?}");
    assert_eq!(world.faults().await, [""; 0]);
    assert_eq!(world.scrub().await.2, 0, "a second scrub writes nothing");
}

#[tokio::test]
async fn nothing_of_a_run_goes_before_all_that_it_needs_is_there() {
    let world = World::new().await;
    let wakes = world.keys("wake").await;
    let timer = wakes.iter().find(|key| key.as_ref().contains("/timer/")).expect("the sleeper's");
    // Its timer was never put, and the guard of the epoch before, which covers that, is still there.
    world.take(timer).await;
    let (handle, _) = timer.as_ref().rsplit_once('.').expect("a number");
    let guard = Path::from(format!("{}.0", handle.replace("/timer/", "/guard/")));
    world.put(&guard, vec![]).await;
    assert_eq!(world.faults().await, [""; 0]);

    let faulty = FaultyStore::over(world.objects.clone());
    let traits = Traits { ordered: true, ..Traits::NONE };
    let auditor =
        || Auditor::new(Store::wrap(faulty.objects(), traits, "faulty"), world.clock.clone(), 1);
    for prefix in ["wake/", "feed/"] {
        faulty.plan(Rule::on(Op::Put, prefix, Fault::Fail));
        auditor().scrub(false, |_| {}).await.expect_err("it is not finished");
        assert!(faulty.log().iter().all(|(op, _)| *op != Op::Delete), "{prefix}");
    }
    let mended = auditor().scrub(false, |_| {}).await.expect("it is finished");
    assert_eq!((mended.wakes_deleted, mended.records_written), (1, 1), "{mended:?}");
    let log = faulty.log();
    let at = |op: Op, key: &str| log.iter().rposition(|(it, of)| *it == op && of.starts_with(key));
    let deleted = at(Op::Delete, guard.as_ref()).expect("it goes");
    assert!(at(Op::Put, timer.as_ref()).expect("it is put") < deleted);
    assert!(at(Op::Put, "feed/").expect("it is written") < deleted);
    assert_eq!(world.keys("wake").await, wakes);
}

#[tokio::test]
async fn a_second_open_generation_and_a_gap_between_generations_are_named() {
    let world = World::new().await;
    let start = world.commits(&world.ready).await[0].clone();
    let text = String::from_utf8(world.bytes(&start).await).expect("text");
    let run = world.document(&start).await["run"].as_str().expect("a run").to_owned();
    let (body, _) = text.rsplit_once(",\"sum\":").expect("a sum");
    let forged = body.replace(&run, "00000000000000000000000000000007");
    for generation in [1, 3] {
        let forged = forged.replace("\"generation\":0", &format!("\"generation\":{generation}"));
        let sum = hex::encode(Sha256::digest(forged.as_bytes()));
        let newer =
            start.as_ref().replace("9999999999", &format!("{}", 9_999_999_999_u64 - generation));
        world.put(&newer.into(), format!("{forged},\"sum\":\"{sum}\"}}").into_bytes()).await;
    }
    let faults = world.faults().await;
    names(&faults, &start, "though a later generation of its id was started");
    names(&faults, "9999999996", "generations 2 to 2 before it are missing");
}

#[tokio::test]
async fn keys_that_are_nobodys_are_noted_and_left_alone() {
    let world = World::new().await;
    let mut strange = vec![];
    for family in ["id", "run", "blob", "wake", "queue", "blueprint", "feed", "dead"] {
        for rest in [
            "x",
            "00/x",
            "00/default/x/y",
            "0/timer/2025/x",
            "ü/.../%00",
            "00/zz/+1",
            "99999999999/a.b.c",
        ] {
            strange.push(Path::from(format!("{family}/{rest}")));
        }
    }
    let commits = world.commits(&world.sleeper).await;
    strange.push(Path::from(format!("{}x", commits[1])));
    for key in &strange {
        world.put(key, b"\xff{not json".to_vec()).await;
    }
    let (findings, summary) = world.audit().await;
    assert_eq!(summary.faults, 0, "{findings:#?}");
    let told = |key: &Path| {
        findings.iter().any(|finding| {
            finding.key == key.as_ref() || key.as_ref().starts_with(&format!("{}/", finding.key))
        })
    };
    let silent: Vec<&Path> = strange.iter().filter(|key| !told(key)).collect();
    assert!(silent.is_empty(), "{silent:#?}");
    world.scrub().await;
    for key in &strange {
        assert_eq!(world.bytes(key).await, b"\xff{not json", "{key}");
    }
}

#[tokio::test]
async fn what_no_start_names_is_deleted_after_a_day_unless_somebody_knows_it() {
    let world = World::new().await;
    let orphan = "run/ab/000000000000000000000000000000ff/9999999998";
    let spread = hex::encode(Sha256::digest(b"000000000000000000000000000000ff"));
    let orphan = Path::from(orphan.replace("ab", &spread[..2]));
    world.put(&orphan, b"a commit behind a deletion".to_vec()).await;
    assert_eq!(world.faults().await, [""; 0], "it is young");
    assert_eq!(world.scrub().await.0.runs_deleted, 0);
    // The start of an execution that lists know is lost: its commits are kept for whoever restores it.
    let known = world.commits(&world.asker).await;
    let start = world.take(&known[0]).await;
    world.clock.skip(Duration::from_hours(25));
    let faults = world.faults().await;
    names(
        &faults,
        orphan
            .prefix_match(&"run".into())
            .map(|_| orphan.as_ref().rsplit_once('/').expect("a folder").0)
            .expect("a run"),
        "that no start commit names",
    );
    names(&faults, "feed/", "lists know run");
    names(&faults, "run/", "whose start commit is missing");
    let (mended, deeds, _) = world.scrub().await;
    assert_eq!((mended.runs_deleted, mended.objects_deleted), (1, 1), "{deeds:#?}");
    assert!(world.objects.head(&orphan).await.is_err());
    world.put(&known[0], start).await;
    let faults = world.faults().await;
    assert!(!faults.iter().any(|it| it.contains(&world.asker)), "{faults:#?}");
}

#[tokio::test]
async fn what_may_be_of_a_start_that_a_newer_build_wrote_is_no_fault_and_stays() {
    let world = World::new().await;
    let commits = world.commits(&world.asker).await;
    let text = String::from_utf8(world.bytes(&commits[0]).await).expect("text");
    let (body, _) = text.rsplit_once(",\"sum\":").expect("a sum");
    let newer = body.replacen("\"min_reader\":1", "\"min_reader\":2", 1);
    let sum = hex::encode(Sha256::digest(newer.as_bytes()));
    world.put(&commits[0], format!("{newer},\"sum\":\"{sum}\"}}").into_bytes()).await;
    world.clock.skip(Duration::from_hours(25));
    let faults = world.faults().await;
    assert!(!faults.iter().any(|it| it.contains("no start commit names")), "{faults:#?}");
    assert_eq!(world.scrub().await.0.runs_deleted, 0);
    assert_eq!(world.commits(&world.asker).await, commits);
}

#[tokio::test]
async fn a_copy_of_the_bucket_goes_on_after_a_scrub_even_without_its_indexes() {
    for without in [&[][..], &["wake/", "queue/", "feed/"][..]] {
        let world = World::new().await;
        world.clock.skip(Duration::from_mins(10));
        let copy = world.restored(without).await;
        let (mended, deeds, _) = copy.scrub().await;
        let expected = if without.is_empty() { (0, 0) } else { (2, 9) };
        assert_eq!((mended.wakes_put, mended.records_written), expected, "{deeds:#?}");
        assert_eq!(copy.faults().await, [""; 0]);
        let (again, deeds, writes) = copy.scrub().await;
        assert_eq!((again, writes), (Mended::default(), 0), "{deeds:#?}");

        let instance = instance(&copy.objects, &copy.clock, true).await;
        let mut client = instance.client().await;
        let _working = worker(&client, Arc::new(AtomicBool::new(true)));
        client.until(&copy.ready, State::ExecutionCompleted).await;
        client.until(&copy.sleeper, State::ExecutionSleeping).await;
        copy.clock.skip(Duration::from_hours(1));
        let slept = client.until(&copy.sleeper, State::ExecutionCompleted).await;
        assert_eq!(json(&slept.step_outputs["sleep"]), json!({"slept": true}));
        let approve = v1::ApproveRequest { execution_id: copy.asker.clone(), ..Default::default() };
        client.executions.approve(approve).await.expect("it is approved");
        client.until(&copy.asker, State::ExecutionCompleted).await;
        instance.settle().await;
        let list = client.executions.list(v1::ListRequest::default()).await.expect("a list");
        let list = list.into_inner().executions;
        assert_eq!(list.len(), 8, "{list:#?}");
        assert!(list.iter().all(|it| it.status() == v1::Status::Completed), "{list:#?}");
        assert_eq!(copy.faults().await, [""; 0]);
    }
}

#[tokio::test]
async fn a_copy_made_while_engines_work_is_whole_after_a_scrub_and_goes_on() {
    let world = World::new().await;
    let first = instance(&world.objects, &world.clock, true).await;
    let mut client = first.client().await;
    let working = worker(&client, Arc::new(AtomicBool::new(true)));
    let objects = Arc::new(InMemory::new());
    for part in ["id", "run", "blob", "blueprint", "dead", "sys"] {
        for _ in 0..6 {
            client.execute("nap", json!({"text": "z".repeat(40_000)})).await;
            client.execute("chain", json!({})).await;
        }
        for key in world.keys(part).await {
            objects.put(&key, world.bytes(&key).await.into()).await.expect("copied");
        }
    }
    drop(working);
    first.kill();
    let ids = (String::new(), String::new(), String::new());
    let copy =
        World { objects, clock: world.clock.clone(), sleeper: ids.0, asker: ids.1, ready: ids.2 };
    copy.clock.skip(Duration::from_mins(10));
    let (mended, deeds, _) = copy.scrub().await;
    assert!(mended.wakes_put > 0 && mended.faults_left == 0, "{mended:?} {deeds:#?}");
    assert_eq!(copy.faults().await, [""; 0]);
    assert_eq!(copy.scrub().await.2, 0);

    let second = instance(&copy.objects, &copy.clock, true).await;
    let mut client = second.client().await;
    let _working = worker(&client, Arc::new(AtomicBool::new(true)));
    copy.clock.skip(Duration::from_hours(1));
    let request = v1::ListRequest { limit: 1_000, ..Default::default() };
    let list = client.executions.list(request).await.expect("a list").into_inner().executions;
    let starts = copy.keys("id").await.len();
    assert_eq!(list.len() + 1, starts, "all but the run that was resumed");
    for execution in list.iter().filter(|it| it.execution_id != world.asker) {
        copy.until_completed(&mut client, &execution.execution_id).await;
    }
}

/// A generator of numbers by chance that can be had again (splitmix64).
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((bits ^ (bits >> 31)) % bound as u64) as usize
    }
}

#[tokio::test]
async fn any_damage_to_any_object_is_survived_and_to_a_log_is_found_and_a_scrub_deletes_no_commit()
{
    let world = World::new().await;
    // So that whatever nothing names is old enough to be deleted.
    world.clock.skip(Duration::from_hours(25));
    let whole = world.keys("").await;
    let tails: Vec<Path> = {
        let runs = world.keys("run").await;
        let folder = |key: &Path| key.as_ref().rsplit_once('/').expect("a folder").0.to_owned();
        let mut tails: Vec<Path> = vec![];
        for key in runs {
            if tails.last().is_none_or(|tail| folder(tail) != folder(&key)) {
                tails.push(key);
            }
        }
        tails
    };
    for seed in 0..300 {
        let mut dice = Dice(seed);
        let copy = world.restored(&[]).await;
        let key = whole[dice.below(whole.len())].clone();
        let mut bytes = copy.bytes(&key).await;
        let is_deleted = bytes.is_empty() || dice.below(3) == 0;
        if is_deleted {
            copy.take(&key).await;
        } else {
            let at = dice.below(bytes.len());
            match dice.below(3) {
                0 => bytes.truncate(at),
                1 => bytes[at] ^= 1 << dice.below(8),
                _ => bytes.insert(at, b'7'),
            }
            copy.put(&key, bytes).await;
        }
        let what = format!("seed {seed}: {key} {}", if is_deleted { "deleted" } else { "changed" });
        let faults = copy.faults().await;
        let family = key.as_ref().split('/').next().expect("a family");
        // Where the newest commit is taken, only what was written after it can tell.
        let may_be_silent = is_deleted && tails.contains(&key);
        if ["id", "run", "blob"].contains(&family) && !may_be_silent {
            assert!(!faults.is_empty(), "{what}");
        }
        let kept = |keys: Vec<Path>| -> Vec<Path> {
            let is_log =
                |key: &Path| ["id/", "run/", "blob/"].iter().any(|it| key.as_ref().starts_with(it));
            keys.into_iter().filter(is_log).collect()
        };
        let before = kept(copy.keys("").await);
        copy.scrub().await;
        assert_eq!(kept(copy.keys("").await), before, "{what}");
        let (again, deeds, writes) = copy.scrub().await;
        assert_eq!(writes, 0, "{what}: {again:?} {deeds:#?}");
    }
}
