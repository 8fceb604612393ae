//! Closed executions go when they are old enough, and nothing else does: whatever is cut off, late,
//! sent twice or done at the same time.

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

use futures::TryStreamExt;
use lazarus::{
    engine::{
        Auditor, Config, Deletion, Engine, Error, Fate, Filter, Finding, PollRequest,
        ResumeRequest, Retained, RetentionPolicy, StartRequest, Started,
    },
    proto::{cerebelum::ExecutionState as State, lazarus as v1},
    store::{Family, Operation, Store, Traits},
    workflow::{ExecutionId, Namespace, Submission},
};
use object_store::{ObjectStore, ObjectStoreExt, PutPayload, memory::InMemory, path::Path};
use serde_json::json;

use crate::{
    clock::Clock,
    faulty::{Fault, FaultyStore, Op, Rule},
    support::{Bucket, Client, Done, Instance, PATIENCE, Setup, Worker, structure},
};

const DAY: Duration = Duration::from_hours(24);
/// Longer than closed executions are kept by default.
const MONTH: Duration = Duration::from_hours(24 * 31);

const TRAITS: Traits = Traits { ordered: true, ..Traits::NONE };

/// A bucket, a clock, and what happened in it.
#[derive(Clone)]
struct World {
    objects: Arc<InMemory>,
    clock: Arc<Clock>,
}

/// An engine that does nothing by itself.
fn engine(objects: Arc<dyn ObjectStore>, clock: &Arc<Clock>) -> Engine {
    let config = Config {
        cache_bytes: 0,
        near_timers: false,
        reservations: false,
        ..Config::of("retention/test")
    };
    Engine::new(Store::wrap(objects, TRAITS, "memory (shared)"), clock.clone(), 1, config)
}

async fn begin(
    client: &mut Client,
    workflow: &str,
    id: &str,
    request: &str,
    text: usize,
) -> String {
    let request = v1::StartRequest {
        workflow: workflow.to_owned(),
        execution_id: id.to_owned(),
        request_id: request.to_owned(),
        input: Some(structure(json!({"text": "x".repeat(text)}))),
        ..Default::default()
    };
    client.start(request).await.expect("it starts").execution_id
}

fn id(text: &str) -> ExecutionId {
    ExecutionId::known(text).expect("an id")
}

impl World {
    /// An empty one, in which workflows are known.
    async fn new() -> (Self, Instance, Client, Worker) {
        let world = Self { objects: Arc::new(InMemory::new()), clock: Clock::fast() };
        let setup = Setup { background: false, ..Setup::new() };
        let store = Bucket::over(world.objects.clone()).store().await;
        let instance = Instance::start_in(store, &setup, world.clock.clone()).await;
        let mut client = instance.client().await;
        client.blueprint("chain", &[("one", &[]), ("two", &["one"])]).await;
        client.blueprint("ask", &[("approve", &[])]).await;
        client.blueprint("breaks", &[("breaks", &[])]).await;
        let worker = Worker::start(client.clone(), "w1", |task| match task.step_name.as_str() {
            "approve" => Done::Approval { timeout_ms: 0 },
            "breaks" => Done::Failure("a bug"),
            _ => Done::Success(json!({"ok": 1})),
        });
        (world, instance, client, worker)
    }

    /// Executions of every kind of id: made, made from a request, chosen and used twice, with blobs,
    /// failed; and one that is open.
    async fn full() -> Self {
        let (world, instance, mut client, worker) = Self::new().await;
        let mut done = vec![
            begin(&mut client, "chain", "", "", 1).await,
            begin(&mut client, "chain", "", "a request", 1).await,
            begin(&mut client, "chain", "large", "", 40_000).await,
        ];
        for _ in 0..2 {
            let twice = begin(&mut client, "chain", "twice", "", 1).await;
            client.until(&twice, State::ExecutionCompleted).await;
        }
        done.push("twice".to_owned());
        for execution in done {
            client.until(&execution, State::ExecutionCompleted).await;
        }
        let failed = begin(&mut client, "breaks", "failed", "", 1).await;
        client.until(&failed, State::ExecutionFailed).await;
        let open = begin(&mut client, "ask", "open", "", 1).await;
        client.until(&open, State::ExecutionWaitingForApproval).await;
        instance.settle().await;
        drop(worker);
        instance.kill();
        world
    }

    /// The same bucket, on its own from now on.
    fn fork(&self) -> Self {
        Self { objects: Arc::new(self.objects.fork()), clock: self.clock.clone() }
    }

    fn engine(&self) -> Engine {
        engine(self.objects.clone(), &self.clock)
    }

    fn faulty(&self) -> (FaultyStore, Engine) {
        let faulty = FaultyStore::over(self.objects.clone());
        let engine = engine(faulty.objects(), &self.clock);
        (faulty, engine)
    }

    async fn retain(&self) -> Retained {
        retain(&self.engine()).await.expect("a whole pass")
    }

    /// Both steps of a deletion, with the day between them.
    async fn retain_all(&self) {
        self.retain().await;
        self.clock.skip(DAY + Duration::from_hours(3));
        self.retain().await;
    }

    /// The keys under `prefix`, in order.
    async fn keys(&self, prefix: &str) -> Vec<String> {
        let listed = self.objects.list(Some(&Path::from(prefix)));
        let listed: Vec<_> = listed.try_collect().await.expect("a list");
        let keys: BTreeSet<String> = listed.into_iter().map(|it| it.location.to_string()).collect();
        keys.into_iter().collect()
    }

    async fn findings(&self) -> Vec<Finding> {
        let store = Store::wrap(self.objects.clone(), TRAITS, "memory (shared)");
        let auditor = Auditor::new(store, self.clock.clone(), 1);
        let mut findings = vec![];
        auditor.audit(|finding| findings.push(finding.clone())).await.expect("it is read");
        findings
    }

    async fn no_faults(&self, what: &str) {
        let mut findings = self.findings().await;
        findings.retain(Finding::is_fault);
        assert!(findings.is_empty(), "{what}: {findings:#?}");
    }

    /// What lists show.
    async fn listed(&self) -> Vec<String> {
        let page = self.engine().list(&Namespace::default(), &Filter::default(), 0, 100).await;
        let records = page.expect("a page").records;
        records.into_iter().map(|record| record.execution.to_string()).collect()
    }

    /// Nothing is left of what was deleted: the open execution, and a tombstone for each chosen id.
    async fn only_the_open_one_is_left(&self, what: &str) {
        let ids = self.keys("id").await;
        let of = |key: &'_ String| key.split_once("/default/").expect("a key").1.to_owned();
        let mut left: Vec<String> = ids.iter().map(of).collect();
        left.sort_unstable();
        let expected =
            ["failed/9999999998", "large/9999999998", "open/9999999999", "twice/9999999997"];
        assert_eq!(left, expected, "{what}");
        let open = self.engine().history(&Namespace::default(), &id("open")).await;
        let open = open.expect("a history");
        assert_eq!(self.keys("run").await.len(), open.len() - 1, "{what}");
        assert_eq!(self.keys("blob").await, [""; 0], "{what}");
        assert_eq!(self.listed().await, ["open"], "{what}");
        let lines = self.lines().await;
        assert!(lines.iter().all(|line| line.contains("\"eid\":\"open\"")), "{what}: {lines:#?}");
        let findings = self.findings().await;
        assert!(findings.is_empty(), "{what}: {findings:#?}");
    }

    /// Every line of the feed.
    async fn lines(&self) -> Vec<String> {
        let mut lines = vec![];
        for key in self.keys("feed").await {
            let body = self.objects.get(&Path::from(key)).await.expect("found").bytes().await;
            let body = String::from_utf8(body.expect("bytes").to_vec()).expect("text");
            lines.extend(body.lines().map(str::to_owned));
        }
        lines
    }

    /// Starts an execution of its own id, without a worker.
    async fn start(&self, engine: &Engine, execution: &str) -> Result<Started, Error> {
        let request = StartRequest {
            execution: Some(id(execution)),
            request: "another".to_owned(),
            ..StartRequest::of("chain")
        };
        let started = engine.start(request).await;
        engine.drain(PATIENCE).await;
        started
    }

    /// Starts an execution of that id and cancels it.
    async fn start_and_close(&self, execution: &str) -> Started {
        let engine = self.engine();
        let started = self.start(&engine, execution).await.expect("it starts");
        let (namespace, execution) = (Namespace::default(), id(execution));
        engine.cancel(&namespace, &execution, "ana", "a request", "").await.expect("cancelled");
        engine.drain(PATIENCE).await;
        started
    }
}

async fn retain(engine: &Engine) -> Result<Retained, Error> {
    engine.retain(&RetentionPolicy::default(), false, |_| {}).await
}

fn is_not_found<T: std::fmt::Debug>(answer: Result<T, Error>) -> String {
    let error = answer.expect_err("nothing is found");
    match error.whole() {
        Error::NotFound { what } => what.clone(),
        other => panic!("failed otherwise: {other}"),
    }
}

#[tokio::test]
async fn closed_executions_go_when_they_are_old_enough_and_open_ones_stay() {
    let world = World::full().await;
    world.clock.skip(DAY * 29);
    assert_eq!(world.retain().await, Retained::default(), "nothing is old enough");
    world.clock.skip(2 * DAY);
    let begun = world.retain().await;
    assert_eq!((begun.begun, begun.finished, begun.refused), (6, 0, 0), "{begun:?}");
    assert_eq!(world.listed().await, ["open"]);
    world.no_faults("their starts are gone").await;
    // Six starts are gone; the rest is kept for whoever copies the bucket just now.
    let runs = world.keys("run").await.len();
    let early = world.retain().await;
    assert_eq!((early.begun, early.finished, early.objects_deleted), (0, 0, 0));
    assert_eq!(world.keys("run").await.len(), runs);
    world.clock.skip(DAY + Duration::from_hours(3));
    let finished = world.retain().await;
    assert_eq!((finished.begun, finished.finished, finished.refused), (0, 6, 0), "{finished:?}");
    world.only_the_open_one_is_left("after both steps").await;
    let again = world.retain().await;
    assert_eq!(again, Retained::default(), "a third pass has nothing to do");
}

#[tokio::test]
async fn a_deleted_execution_is_not_found_and_the_answer_says_why() {
    let world = World::full().await;
    world.clock.skip(MONTH);
    world.retain().await;
    let (engine, namespace) = (world.engine(), Namespace::default());
    let what = is_not_found(engine.describe(&namespace, &id("twice")).await);
    assert!(what.contains("`twice`") && what.contains("was deleted by retention on "), "{what}");
    is_not_found(engine.history(&namespace, &id("twice")).await);
    let (by, request) = ("ana".to_owned(), "r".to_owned());
    is_not_found(engine.cancel(&namespace, &id("twice"), &by, &request, "").await);
    let execution = id("failed");
    let resume =
        ResumeRequest { namespace: namespace.clone(), execution, keeps_results: true, by, request };
    is_not_found(engine.resume(resume).await);
    let raw = engine.raw_log(&namespace, &id("twice")).await.expect("the tombstone");
    assert!(String::from_utf8_lossy(&raw[0].1).contains("execution_deleted"));
    assert_eq!(raw.len(), 1);
}

#[tokio::test]
async fn an_id_is_used_again_under_the_next_number_and_one_tombstone_is_left() {
    let world = World::full().await;
    world.clock.skip(MONTH);
    world.retain().await;
    let started = world.start_and_close("twice").await;
    assert_eq!((started.generation, started.was_running), (3, false));
    world.no_faults("used again while the rest of older ones is there").await;
    world.clock.skip(MONTH);
    world.retain_all().await;
    let ids: Vec<String> = world.keys("id").await;
    let ids: Vec<&String> = ids.iter().filter(|key| key.contains("/twice/")).collect();
    assert_eq!(ids.len(), 1, "{ids:?}");
    assert!(ids[0].ends_with("/twice/9999999995"), "generation 4: {ids:?}");
    assert_eq!(world.listed().await, ["open"]);
    assert_eq!(world.findings().await, []);
    assert_eq!(world.start_and_close("twice").await.generation, 5);
}

#[tokio::test]
async fn a_dry_run_names_what_would_go_and_changes_nothing() {
    let world = World::full().await;
    world.clock.skip(MONTH);
    let before = world.keys("").await;
    let mut told = vec![];
    let tell =
        |deletion: &Deletion| told.push((deletion.execution.to_string(), deletion.what.clone()));
    let engine = world.engine();
    let retained = engine.retain(&RetentionPolicy::default(), true, tell).await.expect("a pass");
    assert_eq!((retained.begun, told.len()), (6, 6));
    assert!(told.iter().all(|(execution, what)| *what == Fate::Begun && execution != "open"));
    assert_eq!(world.keys("").await, before);
    let cost = engine.store().requests();
    assert_eq!((cost.put(), cost.delete()), (0, 0), "{cost}");
}

#[tokio::test]
async fn only_the_namespace_that_is_named_is_looked_at() {
    let world = World::full().await;
    world.clock.skip(MONTH);
    let other = RetentionPolicy::default().only(Namespace::new("other").expect("a namespace"));
    let retained = world.engine().retain(&other, false, |_| {}).await.expect("a pass");
    assert_eq!(retained.begun, 0);
    let own = RetentionPolicy::default().only(Namespace::default());
    let retained = world.engine().retain(&own, false, |_| {}).await.expect("a pass");
    assert_eq!(retained.begun, 6);
}

#[tokio::test]
async fn deleting_a_plain_execution_costs_two_get_and_its_deletes_and_no_list() {
    let (world, instance, mut client, _worker) = World::new().await;
    let made = begin(&mut client, "chain", "", "", 1).await;
    client.until(&made, State::ExecutionCompleted).await;
    instance.settle().await;
    world.clock.skip(MONTH);
    // Two claims, two results, or both in one: the numbers follow from the log.
    let commits = world.keys("run").await.len() as u64;
    let engine = world.engine();
    retain(&engine).await.expect("a pass");
    let cost = engine.store().requests();
    let of = |cost: lazarus::store::Requests, operation, family| cost.in_family(operation, family);
    assert_eq!(of(cost, Operation::Get, Family::Run), 1, "{cost}");
    assert_eq!(of(cost, Operation::Delete, Family::Id), 1, "{cost}");
    assert_eq!(of(cost, Operation::Put, Family::Feed), 1, "{cost}");
    assert_eq!(of(cost, Operation::List, Family::Feed), 1, "{cost}");
    assert_eq!(of(cost, Operation::List, Family::Dead), 1, "{cost}");
    assert_eq!((cost.put(), cost.list()), (1, 2), "{cost}");
    world.clock.skip(DAY + Duration::from_hours(3));
    let engine = world.engine();
    retain(&engine).await.expect("a pass");
    let cost = engine.store().requests();
    assert_eq!(of(cost, Operation::Get, Family::Id), 1, "{cost}");
    assert_eq!(of(cost, Operation::Delete, Family::Run), commits, "{cost}");
    assert_eq!((cost.put(), cost.list()), (0, 1), "{cost}");
    assert_eq!(world.keys("feed").await, [""; 0]);
}

#[tokio::test]
async fn a_chosen_id_costs_a_tombstone_more_and_blobs_a_list() {
    let (world, instance, mut client, _worker) = World::new().await;
    let large = begin(&mut client, "chain", "large", "", 40_000).await;
    client.until(&large, State::ExecutionCompleted).await;
    instance.settle().await;
    world.clock.skip(MONTH);
    let engine = world.engine();
    retain(&engine).await.expect("a pass");
    let cost = engine.store().requests();
    assert_eq!(cost.in_family(Operation::Put, Family::Id), 1, "{cost}");
    assert_eq!(cost.in_family(Operation::Get, Family::Id), 0, "{cost}");
    world.clock.skip(DAY + Duration::from_hours(3));
    let engine = world.engine();
    retain(&engine).await.expect("a pass");
    let cost = engine.store().requests();
    assert_eq!(cost.in_family(Operation::List, Family::Blob), 1, "{cost}");
    assert_eq!(cost.in_family(Operation::Delete, Family::Blob), 1, "{cost}");
}

/// Each request of a pass may be its last, or be applied without an answer: no fault then, and the next
/// pass finishes.
async fn every_cut(world: &World, is_second_step: bool) -> usize {
    let mut cuts = 0;
    for is_within in [false, true] {
        for count in usize::from(is_within).. {
            let world = world.fork();
            let (faulty, engine) = world.faulty();
            if is_within {
                faulty.crash_within(count);
            } else {
                faulty.crash_after(count);
            }
            let cut = retain(&engine).await;
            let what = format!("second step {is_second_step}, within {is_within}, {count}");
            world.no_faults(&what).await;
            if cut.is_ok() {
                break;
            }
            cuts += 1;
            let healthy = world.engine();
            retain(&healthy).await.expect("a whole pass");
            world.no_faults(&format!("{what}, after another pass")).await;
            let clock = Clock::fast_from(lazarus::env::Env::now(&*world.clock));
            let later = World { clock, ..world.fork() };
            // A start that the cut left goes a day later, and the day begins anew.
            later.clock.skip(DAY + Duration::from_hours(3));
            later.retain_all().await;
            later.only_the_open_one_is_left(&what).await;
        }
    }
    cuts
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_cut_between_two_requests_leaves_no_fault_and_the_next_pass_finishes() {
    let world = World::full().await;
    world.clock.skip(MONTH);
    let cuts = every_cut(&world, false).await;
    assert!(cuts > 30, "only {cuts} cuts");
    world.retain().await;
    world.clock.skip(DAY + Duration::from_hours(3));
    let cuts = every_cut(&world, true).await;
    assert!(cuts > 30, "only {cuts} cuts");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_passes_at_once_do_what_one_does() {
    let world = World::full().await;
    world.clock.skip(MONTH);
    for _ in 0..2 {
        let passes = (0..4).map(|_| {
            let engine = world.engine();
            tokio::spawn(async move { retain(&engine).await })
        });
        for pass in futures::future::join_all(passes).await {
            pass.expect("no panic").expect("a whole pass");
        }
        world.no_faults("after four passes at once").await;
        world.clock.skip(DAY + Duration::from_hours(3));
    }
    world.retain().await;
    world.only_the_open_one_is_left("after four passes at once, twice").await;
}

#[tokio::test]
async fn a_pass_that_was_frozen_harms_nothing_that_was_started_since() {
    let world = World::full().await;
    world.clock.skip(MONTH);
    let (faulty, frozen) = world.faulty();
    // It has looked at every closing commit but the last, whose answer comes a day late.
    faulty.plan(Rule::on(Op::Get, "run/", Fault::AnswerLate).skip(5));
    let pass = tokio::spawn(async move { retain(&frozen).await });
    until(|| faulty.waiting() == 1).await;
    world.retain_all().await;
    for execution in ["twice", "large", "failed"] {
        world.start_and_close(execution).await;
    }
    let before = world.keys("id").await;
    world.clock.skip(Duration::from_mins(11));
    faulty.open();
    let pass = pass.await.expect("no panic").expect("a whole pass");
    assert_eq!(pass.objects_deleted, 0, "{pass:?}");
    assert_eq!(world.keys("id").await, before);
    world.no_faults("after a frozen pass").await;
}

#[tokio::test]
async fn a_delete_that_comes_late_hits_nothing_that_lives() {
    let world = World::full().await;
    world.clock.skip(MONTH);
    let (faulty, engine) = world.faulty();
    faulty.plan(Rule::on(Op::Delete, "id/", Fault::ApplyLate).always());
    retain(&engine).await.expect_err("deletes are not answered");
    assert!(faulty.held() > 0);
    world.clock.skip(DAY + Duration::from_hours(3));
    world.retain_all().await;
    for execution in ["twice", "large", "failed"] {
        world.start_and_close(execution).await;
    }
    let before = world.keys("id").await;
    faulty.release().await;
    assert_eq!(world.keys("id").await, before);
    world.no_faults("after late deletes").await;
}

/// Commits go one after the other: for a moment the log seems to end where a task was handed out.
#[tokio::test]
async fn a_late_result_is_not_put_where_what_followed_was_just_deleted() {
    let (world, instance, mut client, worker) = World::new().await;
    drop(worker);
    begin(&mut client, "chain", "late", "", 1).await;
    instance.settle().await;
    instance.kill();
    let engine = world.engine();
    let poll = PollRequest::of("w1", Duration::from_secs(10));
    let task = engine.poll(poll).await.expect("a poll").expect("a task");
    engine.drain(PATIENCE).await;
    engine
        .cancel(&Namespace::default(), &id("late"), "ana", "no more", "")
        .await
        .expect("cancelled");
    engine.drain(PATIENCE).await;
    world.clock.skip(MONTH);
    // The newest comes first.
    let gone = world.keys("run").await.swap_remove(0);
    for key in world.keys("id").await.into_iter().chain([gone.clone()]) {
        world.objects.delete(&Path::from(key)).await.expect("it was there");
    }

    let submission = Submission::Success(json!({"ok": 1}));
    let answer = world.engine().submit(&task.token, "w1", submission).await;
    assert!(is_not_found(answer).contains("may be deleted"));
    assert!(!world.keys("run").await.contains(&gone), "the run goes on");
}

#[tokio::test]
async fn a_start_that_meets_a_tombstone_begins_over() {
    let world = World::full().await;
    world.clock.skip(MONTH);
    let (faulty, slow) = world.faulty();
    // The last thing that a start reads: what its request may have started earlier.
    let oldest = world.keys("id").await.into_iter().find(|key| key.ends_with("/twice/9999999999"));
    faulty.plan(Rule::on(Op::Get, &oldest.expect("generation 0"), Fault::AnswerLate));
    let other = world.clone();
    let started = tokio::spawn(async move { other.start(&slow, "twice").await });
    until(|| faulty.waiting() == 1).await;
    world.retain().await;
    faulty.open();
    let started = started.await.expect("no panic").expect("it starts");
    assert_eq!((started.generation, started.was_running), (3, false));
    world.no_faults("the start came after the tombstone").await;
}

#[tokio::test]
async fn a_start_that_was_frozen_since_it_looked_begins_over() {
    let world = World::full().await;
    world.clock.skip(MONTH);
    let (faulty, slow) = world.faulty();
    let oldest = world.keys("id").await.into_iter().find(|key| key.ends_with("/twice/9999999999"));
    faulty.plan(Rule::on(Op::Get, &oldest.expect("generation 0"), Fault::AnswerLate));
    let other = world.clone();
    let started = tokio::spawn(async move { other.start(&slow, "twice").await });
    until(|| faulty.waiting() == 1).await;
    // Meanwhile the id is deleted, used again, and deleted again: nothing stands where it looked.
    world.retain_all().await;
    world.start_and_close("twice").await;
    world.clock.skip(MONTH);
    world.retain_all().await;
    faulty.open();
    let started = started.await.expect("no panic").expect("it starts");
    assert_eq!(started.generation, 5);
    world.no_faults("nothing stands below a tombstone").await;
}

#[tokio::test]
async fn a_reader_of_what_is_being_deleted_hears_that_it_is_not_there() {
    let world = World::full().await;
    world.clock.skip(MONTH);
    let commits = world.engine().history(&Namespace::default(), &id("large")).await;
    let run = commits.expect("a history")[0].run.to_string();
    let prefix = format!(
        "run/{}",
        &world.keys("run").await.iter().find(|it| it.contains(&run)).expect("a commit")[4..7]
    );
    for skipped in 0..3 {
        let world = world.fork();
        let (faulty, reader) = world.faulty();
        faulty.plan(Rule::on(Op::Get, &prefix, Fault::AnswerLate).skip(skipped));
        let read = tokio::spawn(async move {
            reader.describe(&Namespace::default(), &id("large")).await.map(|_| ())
        });
        until(|| faulty.waiting() == 1 || read.is_finished()).await;
        world.retain().await;
        world.objects_of_gone_runs_go().await;
        faulty.open();
        match read.await.expect("no panic") {
            Ok(()) | Err(Error::NotFound { .. }) => {}
            Err(other) => panic!("after {skipped} reads: {other:?}"),
        }
    }
}

impl World {
    /// The second step at once, by a policy without the day between.
    async fn objects_of_gone_runs_go(&self) {
        let policy = RetentionPolicy::for_tests(MONTH, Duration::ZERO);
        self.clock.skip(Duration::from_secs(1));
        let retained = self.engine().retain(&policy, false, |_| {}).await.expect("a pass");
        assert_eq!(retained.finished, 6, "{retained:?}");
    }
}

#[tokio::test]
async fn what_the_log_denies_is_kept() {
    let world = World::full().await;
    // A record says that the open execution closed.
    let engine = world.engine();
    let open =
        engine.list(&Namespace::default(), &Filter::default(), 0, 100).await.expect("a page");
    let mut open = open.records.into_iter().find(|it| it.execution == id("open")).expect("listed");
    open.closed = Some(open.started);
    let mut line = serde_json::to_value(&open).expect("JSON");
    line["v"] = json!(1);
    line["seq"] = json!(open.seq + 1);
    let forged = Path::from("feed/2025010100/forged.0");
    let body = PutPayload::from(format!("{line}\n"));
    world.objects.put(&forged, body).await.expect("written");
    // A byte of the last commit of a closed one is flipped.
    let history = engine.history(&Namespace::default(), &id("failed")).await.expect("a history");
    let last = history.last().expect("a commit");
    let key = world.keys("run").await.into_iter().find(|key| key.contains(&last.run.to_string()));
    let key = Path::from(key.expect("the newest commit"));
    let mut bytes =
        world.objects.get(&key).await.expect("found").bytes().await.expect("bytes").to_vec();
    bytes[40] ^= 1;
    world.objects.put(&key, PutPayload::from(bytes)).await.expect("written");
    world.clock.skip(MONTH);
    let mut refused = vec![];
    let tell = |deletion: &Deletion| {
        if let Fate::Refused { why } = &deletion.what {
            refused.push((deletion.execution.to_string(), why.clone()));
        }
    };
    let retained = engine.retain(&RetentionPolicy::default(), false, tell).await.expect("a pass");
    assert_eq!((retained.begun, retained.refused), (5, 2), "{refused:?}");
    refused.sort();
    assert!(
        refused[0].0 == "failed" && refused[0].1.contains("its sum does not match"),
        "{refused:?}"
    );
    assert!(refused[1].0 == "open", "{refused:?}");
    let ids = world.keys("id").await;
    assert!(ids.iter().any(|key| key.ends_with("/failed/9999999999")), "{ids:?}");
    assert!(ids.iter().any(|key| key.ends_with("/open/9999999999")), "{ids:?}");
}

#[tokio::test]
async fn a_copy_made_while_retention_deletes_is_whole() {
    let world = World::full().await;
    world.clock.skip(MONTH);
    let copy = World { objects: Arc::new(InMemory::new()), clock: world.clock.clone() };
    let layout = json!({"v": 1, "shards": 1}).to_string();
    copy.objects.put(&"sys/layout.json".into(), layout.into()).await.expect("written");
    // In the documented order; a pass comes after each part, and nearly a day goes by.
    for part in ["id", "run", "blob", "blueprint"] {
        for key in world.keys(part).await {
            let key = Path::from(key);
            let bytes = world.objects.get(&key).await.expect("found").bytes().await.expect("bytes");
            copy.objects.put(&key, bytes.into()).await.expect("copied");
        }
        world.retain().await;
        world.clock.skip(Duration::from_hours(5));
    }
    let store = Store::wrap(copy.objects.clone(), TRAITS, "the copy");
    let auditor = Auditor::new(store, copy.clock.clone(), 1);
    let mended = auditor.scrub(false, |_| {}).await.expect("it is read");
    assert_eq!(mended.faults_left, 0, "{mended:?}");
    copy.no_faults("the copy").await;
    let mut listed = copy.listed().await;
    listed.retain(|execution| !execution.starts_with("lz-"));
    listed.sort_unstable();
    assert_eq!(listed, ["failed", "large", "open", "twice", "twice"]);
    let state =
        copy.engine().describe(&Namespace::default(), &id("large")).await.expect("it is there");
    assert!(state.state.is_closed(), "it does not begin anew");
    // And retention goes on with it.
    copy.retain_all().await;
    copy.clock.skip(Duration::from_hours(3));
    copy.retain().await;
    copy.only_the_open_one_is_left("the copy").await;
}

#[tokio::test]
async fn a_scrub_takes_what_a_pass_left_that_never_came_back() {
    let world = World::full().await;
    world.clock.skip(MONTH);
    world.retain().await;
    let scrub = async || {
        let store = Store::wrap(world.objects.clone(), TRAITS, "memory (shared)");
        let auditor = Auditor::new(store, world.clock.clone(), 1);
        auditor.scrub(false, |_| {}).await.expect("it is read")
    };
    assert_eq!(scrub().await.runs_deleted, 0, "a backup may need them");
    world.clock.skip(DAY + Duration::from_hours(1));
    assert_eq!(scrub().await.runs_deleted, 6);
    assert_eq!(scrub().await.objects_deleted, 0, "a second one has nothing to do");
    assert_eq!(world.keys("blob").await, [""; 0]);
    world.no_faults("after the scrub").await;
    world.clock.skip(Duration::from_hours(2));
    world.retain().await;
    world.only_the_open_one_is_left("a pass drops the records").await;
}

#[tokio::test]
async fn the_feed_shrinks_and_lists_stay_as_they_are() {
    let (world, instance, mut client, _worker) = World::new().await;
    let mut ids = vec![];
    for n in 0..20 {
        ids.push(begin(&mut client, "chain", &format!("e{n}"), "", 1).await);
        client.until(&ids[n], State::ExecutionCompleted).await;
        instance.settle().await;
    }
    assert!(world.keys("feed").await.len() >= 20);
    let listed = world.listed().await;
    assert_eq!(listed.len(), 20);
    world.clock.skip(Duration::from_hours(4));
    let retained = world.retain().await;
    assert_eq!((retained.begun, retained.batches_written), (0, 1), "{retained:?}");
    assert_eq!(world.keys("feed").await.len(), 1);
    assert_eq!(world.listed().await, listed);
    assert_eq!(world.lines().await.len(), 20, "one record of each");
    assert_eq!(world.retain().await, Retained::default());
}

async fn until(is_so: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < PATIENCE, "not in time");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
