//! A crash between any two requests to the store loses nothing: every cut of a small execution, one
//! by one.
//!
//! The execution is a chain of three steps of which the second sleeps; or a graph in which a rule
//! leads back over the sleep once, and another catches the failure of the last step. All of the
//! store's requests fail from the n-th on (the process died before it), or the n-th is applied and not answered (it
//! died within it); then the instance is killed, and another one on the same bucket has to finish.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use futures::{StreamExt, TryStreamExt, stream};
use lazarus::{
    engine::{Auditor, Filter, Finding, Standing},
    proto::{
        cerebelum::{ExecutionState, PollRequest, Task, WorkflowDefinition},
        lazarus::StartRequest,
    },
    workflow::{Event, ExecutionId, Namespace, Policy, Timestamp},
};
use object_store::{ObjectStore, memory::InMemory, path::Path};
use serde_json::json;

use crate::{
    clock::Clock,
    faulty::{Fault, FaultyStore, Op, Rule},
    support::{
        Bucket, Client, Done, Instance, PATIENCE, Setup, Steps, branch, diverge, structure,
        timeline,
    },
};

/// How many cuts are made at once.
const CUTS_AT_ONCE: usize = 12;
/// The engine's clock runs fast: this is 150 ms.
const NAP_MS: i64 = 3_000;
/// An instance that sends nothing for this long has nothing left to do; longer than the sleep, and
/// than the window of the feed.
const QUIET: Duration = Duration::from_millis(500);

/// What is executed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Story {
    Chain,
    Graph,
}

impl Story {
    async fn submit(self, client: &mut Client) {
        let chain: Steps<'_> = &[("before", &[]), ("nap", &["before"]), ("after", &["nap"])];
        let graph: Steps<'_> =
            &[("before", &[]), ("nap", &["before"]), ("check", &["nap"]), ("pay", &["check"])];
        let definition = match self {
            Self::Chain => WorkflowDefinition { timeline: timeline(chain), ..Default::default() },
            Self::Graph => WorkflowDefinition {
                timeline: timeline(graph),
                branch_rules: vec![branch("check", &[("again", "nap")])],
                diverge_rules: vec![diverge("pay", &[("error", "sorry")])],
                ..Default::default()
            },
        };
        let put = client.submit_blueprint("story", definition).await;
        assert!(put.valid, "{put:?}");
    }

    /// What stands in the log once, each.
    fn outline(self) -> BTreeMap<String, usize> {
        let chain: &[&str] =
            &["after/1 completed", "before/1 completed", "nap/1 fell asleep", "nap woke"];
        let graph: &[&str] = &[
            "before/1 completed",
            "check/1 completed",
            "check/2 completed",
            "nap/1 fell asleep",
            "nap/2 fell asleep",
            "nap woke",
            "pay/1 caught",
            "sorry/1 completed",
        ];
        let (events, naps) = match self {
            Self::Chain => (chain, 1),
            Self::Graph => (graph, 2),
        };
        let count = |it: &&str| if **it == *"nap woke" { naps } else { 1 };
        events.iter().map(|it| ((*it).to_owned(), count(it))).collect()
    }
}

/// How the attempt at `task` ends; nothing is remembered of others.
fn done(task: &Task) -> Done {
    // The token of a task ends in step, iteration and attempt.
    let is_first = task.task_id.rsplit('.').nth(1) == Some("1");
    match task.step_name.as_str() {
        "nap" => Done::Sleep { millis: NAP_MS, data: json!({"slept": true}) },
        "check" => Done::Success(json!({"ok": {"again": is_first}})),
        "pay" => Done::Failure("no funds"),
        step => Done::Success(json!({"ok": step})),
    }
}

/// Where the process dies.
#[derive(Clone, Copy, Debug)]
enum Cut {
    /// It does not.
    Never,
    /// Before the request after this many.
    After(usize),
    /// Within the last of this many: applied, but never answered.
    Within(usize),
}

/// Who else serves the bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Others {
    /// Nobody; an instance is started once the first one died.
    Later,
    /// A second instance, from the beginning.
    FromTheBeginning,
}

fn setup() -> Setup {
    let policy = Policy {
        lease: Duration::from_secs(10),
        guard: Duration::from_secs(6),
        ..Policy::default()
    };
    Setup { policy, ..Setup::new() }
}

/// Where engines can be reached just now; clients try one after the other.
#[derive(Clone, Debug, Default)]
struct Places(Arc<Mutex<Vec<SocketAddr>>>);

impl Places {
    fn set(&self, places: Vec<SocketAddr>) {
        *self.0.lock().expect("places") = places;
    }

    async fn client(&self, turn: usize) -> Client {
        let address = {
            let places = self.0.lock().expect("places");
            places[turn % places.len()]
        };
        Client::connect(address)
    }
}

/// Starts the execution, with one request sent until it is answered.
async fn start(places: &Places) -> String {
    let request = StartRequest {
        workflow: "story".to_owned(),
        input: Some(structure(json!({}))),
        request_id: "the start".to_owned(),
        ..Default::default()
    };
    for turn in 0.. {
        let mut client = places.client(turn).await;
        if let Ok(started) = client.executions.start(request.clone()).await {
            return started.into_inner().execution_id;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    unreachable!()
}

/// Works for ever, wherever an engine answers; sends each result until it is answered.
async fn work(places: Places, worker: &'static str, first: usize) {
    let mut turn = first;
    let mut client = places.client(turn).await;
    loop {
        let request = PollRequest { worker_id: worker.to_owned(), timeout_ms: 10_000 };
        match client.worker.poll_for_task(request).await {
            Ok(task) => {
                let task = task.into_inner();
                if !task.task_id.is_empty() {
                    submit(&places, &mut client, &mut turn, worker, &task).await;
                }
            }
            Err(_) => change(&places, &mut client, &mut turn).await,
        }
    }
}

async fn submit(places: &Places, client: &mut Client, turn: &mut usize, worker: &str, task: &Task) {
    let result = done(task).result(worker, task);
    while client.worker.submit_result(result.clone()).await.is_err() {
        change(places, client, turn).await;
    }
}

async fn change(places: &Places, client: &mut Client, turn: &mut usize) {
    tokio::time::sleep(Duration::from_millis(5)).await;
    *turn += 1;
    *client = places.client(*turn).await;
}

/// Runs the execution with one cut, and checks what is left; how many requests the first instance
/// had sent when it was over.
async fn run(story: Story, cut: Cut, others: Others) -> usize {
    let objects: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let faulty = FaultyStore::over(Arc::clone(&objects));
    let clock = Clock::fast();
    let healthy = Bucket::over(Arc::clone(&objects));
    let setup = setup();
    let bucket = Bucket::over(faulty.objects());
    let first = Instance::start_in(bucket.store().await, &setup, clock.clone()).await;
    let mut client = first.client().await;
    story.submit(&mut client).await;
    let places = Places::default();
    let mut second = None;
    match others {
        Others::Later => places.set(vec![first.address]),
        Others::FromTheBeginning => {
            let other = Instance::start_in(healthy.store().await, &setup, clock.clone()).await;
            places.set(vec![first.address, other.address]);
            second = Some(other);
        }
    }
    let before = counted(&faulty);
    match cut {
        Cut::Never => {}
        Cut::After(count) => faulty.crash_after(count),
        Cut::Within(count) => faulty.crash_within(count),
    }
    let workers = [("w1", 0), ("w2", 1)]
        .map(|(worker, turn)| tokio::spawn(work(places.clone(), worker, turn)));
    let started = tokio::spawn({
        let places = places.clone();
        async move { start(&places).await }
    });
    let mut first = Some(first);
    if !matches!(cut, Cut::Never) {
        until_crashed(&faulty).await;
        first.take().expect("it runs").kill();
        check_audit(&healthy, &clock, &format!("{story:?}, {cut:?}, {others:?}, just now")).await;
        let survivor = match second.take() {
            Some(second) => second,
            None => Instance::start_in(healthy.store().await, &setup, clock.clone()).await,
        };
        places.set(vec![survivor.address]);
        drop(second.replace(survivor));
    }
    let id = tokio::time::timeout(PATIENCE, started).await.expect("it starts in time");
    let id = id.expect("it starts");
    // Through an engine that does nothing by itself, so that the others' requests are their own.
    let observer = Setup { background: false, ..setup };
    let observer = Instance::start_in(healthy.store().await, &observer, clock.clone()).await;
    observer.client().await.until(&id, ExecutionState::ExecutionCompleted).await;
    let requests = counted(&faulty) - before;
    let what = format!("{story:?}, {cut:?}, {others:?}");
    check_log(story, &observer, &id, &what).await;
    check_indexes(&observer, &objects, &id, &what).await;
    check_audit(&healthy, &clock, &what).await;
    for worker in workers {
        worker.abort();
    }
    requests
}

/// Waits for the crash; or, where this run does with fewer requests than that one, until nothing
/// goes on any more.
async fn until_crashed(faulty: &FaultyStore) {
    let (mut count, mut since) = (counted(faulty), Instant::now());
    while !faulty.is_crashed() && since.elapsed() < QUIET {
        tokio::time::sleep(Duration::from_millis(2)).await;
        if counted(faulty) > count {
            (count, since) = (counted(faulty), Instant::now());
        }
    }
}

/// How many requests were sent that a crash counts.
fn counted(faulty: &FaultyStore) -> usize {
    faulty.log().iter().filter(|(op, _)| *op != Op::List).count()
}

/// One recorded result of each step, and a sleep that ended when it was due.
async fn check_log(story: Story, instance: &Instance, id: &str, what: &str) {
    let id = ExecutionId::known(id).expect("an id");
    let history = instance.engine.history(&Namespace::default(), &id).await.expect("a history");
    let mut results: BTreeMap<String, usize> = BTreeMap::new();
    let (mut starts, mut due): (usize, Option<Timestamp>) = (0, None);
    for commit in &history {
        for event in &commit.events {
            match event {
                Event::ExecutionStarted(_) => starts += 1,
                Event::StepCompleted { step, iteration, .. } => {
                    *results.entry(format!("{step}/{iteration} completed")).or_default() += 1;
                }
                Event::FailureCaught { step, iteration, .. } => {
                    *results.entry(format!("{step}/{iteration} caught")).or_default() += 1;
                }
                Event::SleepStarted { step, iteration, until, .. } => {
                    due = Some(*until);
                    *results.entry(format!("{step}/{iteration} fell asleep")).or_default() += 1;
                }
                Event::SleepEnded { step } => {
                    assert!(
                        Some(commit.time) >= due,
                        "{what}: the sleep ended early: {history:#?}"
                    );
                    *results.entry(format!("{step} woke")).or_default() += 1;
                }
                _ => {}
            }
        }
    }
    assert_eq!((starts, results), (1, story.outline()), "{what}: {history:#?}");
}

/// Nothing is lost, and whatever an open run needs is there, at whatever moment.
async fn check_audit(bucket: &Bucket, clock: &Arc<Clock>, what: &str) {
    let auditor = Auditor::new(bucket.store().await, clock.clone(), 1);
    let mut findings = vec![];
    auditor.audit(|finding| findings.push(finding.clone())).await.expect("it is read");
    findings.retain(Finding::is_fault);
    assert!(findings.is_empty(), "{what}: {findings:#?}");
}

/// The lists show it, and nothing in the store asks for it any more.
async fn check_indexes(instance: &Instance, objects: &Arc<dyn ObjectStore>, id: &str, what: &str) {
    let namespace = Namespace::default();
    let execution = ExecutionId::known(id).expect("an id");
    let history = instance.engine.history(&namespace, &execution).await.expect("a history");
    let run = history[0].run.to_string();
    let begun = Instant::now();
    loop {
        let mut left = vec![];
        for prefix in ["wake", "queue"] {
            let listed = objects.list(Some(&Path::from(prefix)));
            let listed: Vec<_> = listed.try_collect().await.expect("a list");
            left.extend(listed.into_iter().map(|object| object.location.to_string()));
        }
        left.retain(|key| key.contains(&run));
        if left.is_empty() {
            break;
        }
        assert!(begun.elapsed() < PATIENCE, "{what}: left over: {left:#?}; {history:#?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    until(&format!("{what}: the list shows it"), async || {
        let page = instance.engine.list(&namespace, &Filter::default(), 0, 10).await;
        let page = page.expect("a page");
        page.records
            .iter()
            .any(|record| record.execution == execution && record.status == Standing::Completed)
    })
    .await;
}

async fn until(what: &str, is_so: impl AsyncFn() -> bool) {
    let begun = Instant::now();
    while !is_so().await {
        assert!(begun.elapsed() < PATIENCE, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn every_cut_recovers(story: Story, others: Others) {
    // One after the other: on a busy machine leases end early, and a run has more requests.
    static TURN: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
    let _turn = TURN.lock().await;
    let undisturbed = || run(story, Cut::Never, Others::Later);
    let whole = undisturbed().await.min(undisturbed().await);
    assert!(whole > 10, "only {whole} requests: the cuts would show nothing");
    let cuts = (0..=whole).map(Cut::After).chain((1..=whole).map(Cut::Within));
    stream::iter(cuts)
        .map(|cut| run(story, cut, others))
        .buffer_unordered(CUTS_AT_ONCE)
        .collect::<Vec<usize>>()
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_cut_between_two_requests_recovers_on_one_instance() {
    every_cut_recovers(Story::Chain, Others::Later).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_cut_of_a_graph_with_a_loop_and_a_caught_failure_recovers() {
    every_cut_recovers(Story::Graph, Others::Later).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_cut_between_two_requests_recovers_on_two_instances() {
    every_cut_recovers(Story::Chain, Others::FromTheBeginning).await;
}

#[tokio::test]
async fn a_guard_stays_until_every_timer_that_it_stood_in_for_is_written() {
    let faulty = FaultyStore::over(Arc::new(InMemory::new()));
    let setup = Setup { background: false, ..Setup::counted() };
    let store = Bucket::over(faulty.objects()).store().await;
    let instance = Instance::start(store, &setup).await;
    let mut client = instance.client().await;
    client.blueprint("fork", &[("a", &[]), ("b", &["a"]), ("c", &["a"])]).await;
    client.execute("fork", serde_json::json!({})).await;
    let a = client.poll("w1", 5_000).await.expect("a");
    client.submit("w1", &a, Done::Success(serde_json::json!({"ok": 1}))).await;
    let b = client.poll("w1", 5_000).await.expect("b or c");
    let c = client.poll("w2", 5_000).await.expect("the other");
    instance.settle().await;

    // The first goes to sleep, and its timer is never written: whoever should have is gone.
    faulty.plan(Rule::on(Op::Put, "wake/0/timer", Fault::Fail).always());
    let sleep = || Done::Sleep { millis: 3_600_000, data: serde_json::json!({}) };
    client.submit("w1", &b, sleep()).await;
    instance.settle().await;
    assert_eq!(instance.objects("wake/0/timer").await.len(), 0);
    assert_eq!(instance.objects("wake/0/guard").await.len(), 1);

    // The second parks the run: its guard goes, so both timers have to be there.
    faulty.heal();
    client.submit("w2", &c, sleep()).await;
    instance.settle().await;
    assert_eq!(instance.objects("wake/0/guard").await.len(), 0);
    assert_eq!(instance.objects("wake/0/timer").await.len(), 2);
}
