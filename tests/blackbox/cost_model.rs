//! The cost model against a real engine: what `lazarus cost` reckons is what is counted.

use std::{sync::Arc, time::Duration};

use futures::future::BoxFuture;
use lazarus::{
    cost::{Requests, Standing, Workload},
    engine::{Config, Engine, PollRequest, RetentionPolicy},
    env::{Env, SystemEnv},
    proto::{
        cerebelum::{ExecutionState as State, ListExecutionsRequest, Task},
        lazarus as v1,
    },
    store::{self, Family, Operation, Store, Traits},
    workflow::Timestamp,
};
use object_store::memory::InMemory;
use serde_json::{Value, json};
use tokio::{sync::watch, task::JoinSet};

use crate::support::{Bucket, Client, Done, Instance, Setup, structure};

/// One execution of one step; what else a test needs it adds.
const PLAIN: Workload = Workload {
    executions: 1,
    steps: 1,
    fan_out: 0,
    sleeps: 0,
    approvals: 0,
    failures: 0,
    payload_bytes: 100,
    has_chosen_id: false,
    step_time: Duration::from_millis(100),
    wait_time: Duration::from_millis(300),
    kept: Duration::from_hours(720),
};

/// What belongs to the execution: not the records for lists, the signs of life, and the scans, which
/// an instance makes once for all executions.
fn of_execution(all: store::Requests) -> Requests {
    let beside = [
        (Operation::Put, Family::Feed),
        (Operation::Put, Family::Worker),
        (Operation::List, Family::Wake),
        (Operation::List, Family::Queue),
    ];
    let count = |operation| {
        let of_it =
            |(it, family): (_, _)| if it == operation { all.in_family(it, family) } else { 0 };
        all.of(operation) - beside.into_iter().map(of_it).sum::<u64>()
    };
    Requests {
        put: count(Operation::Put),
        get: count(Operation::Get),
        list: count(Operation::List),
        delete: count(Operation::Delete),
    }
}

/// The steps of `workload` in the order in which they run: sleeps and approvals before the last one.
fn steps(workload: &Workload) -> Vec<v1::BlueprintStep> {
    let step = |name: String, depends_on: Vec<String>| v1::BlueprintStep {
        name,
        depends_on,
        ..Default::default()
    };
    let names = |word: &'static str, count| (0..count).map(move |n| format!("{word}{n}"));
    let mut steps: Vec<v1::BlueprintStep> = vec![];
    let mut before: Vec<String> = vec![];
    let mut add = |name: String, parts: Vec<String>| {
        steps.push(step(name.clone(), std::mem::replace(&mut before, vec![name])));
        if !parts.is_empty() {
            steps.extend(parts.iter().map(|name| step(name.clone(), before.clone())));
            before = parts;
        }
    };
    let last = workload.steps - 1;
    let parts: Vec<String> = names("part", workload.fan_out).collect();
    for (n, name) in (0..).zip(names("step", workload.steps)) {
        if n == last {
            names("nap", workload.sleeps).for_each(|name| add(name, vec![]));
            names("ask", workload.approvals).for_each(|name| add(name, vec![]));
        }
        add(name, if n == 0 { parts.clone() } else { vec![] });
    }
    if workload.failures > 0 {
        steps.last_mut().expect("a step").retry = Some(v1::BlueprintRetry {
            max_attempts: u32::try_from(workload.failures).expect("few") + 1,
            initial_delay_ms: 50,
            ..Default::default()
        });
    }
    steps
}

/// A payload that takes so many bytes in the log, and is the `name`'s own.
fn payload(workload: &Workload, name: &str) -> Value {
    let braces = json!({ "ok": name }).to_string().len();
    json!({"ok": format!("{name}{}", "x".repeat(workload.payload_bytes as usize - braces))})
}

/// What one execution of a workload came to.
struct Played {
    requests: Requests,
    all: store::Requests,
    stored_bytes: u64,
}

/// Plays one execution of `workload` on a warm instance whose workers wait for work.
async fn play(workload: &Workload) -> Played {
    let setup = Setup { background: true, ..Setup::counted() };
    let instance = Instance::start(Bucket::in_memory().store().await, &setup).await;
    let mut client = instance.client().await;
    let steps = steps(workload);
    let last = steps.last().expect("a step").name.clone();
    let put = v1::PutBlueprintRequest { name: "played".to_owned(), steps, ..Default::default() };
    client.blueprints.put(put).await.expect("a valid blueprint");
    for n in 0..workload.fan_out.max(1) {
        client.register(&format!("w{n}"), &[]).await;
    }
    instance.settle().await;
    let first = poll(&client, "w0");
    instance.until_polling(1).await;
    let before = instance.engine.store().requests();
    let start = v1::StartRequest {
        workflow: "played".to_owned(),
        execution_id: if workload.has_chosen_id { "mine".to_owned() } else { String::new() },
        input: Some(structure(payload(workload, "input"))),
        ..Default::default()
    };
    let id = client.start(start).await.expect("it starts").execution_id;
    let mut task = first.await.expect("polled").expect("a task");
    let mut failures = workload.failures;
    loop {
        let step = task.step_name.clone();
        let done = match &step {
            step if step.starts_with("nap") => {
                Done::Sleep { millis: workload.wait_time.as_millis() as i64, data: json!({}) }
            }
            step if step.starts_with("ask") => Done::Approval { timeout_ms: 0 },
            step if *step == last && failures > 0 => {
                failures -= 1;
                Done::Failure("not yet")
            }
            step => Done::Success(payload(workload, step)),
        };
        let fails = matches!(done, Done::Failure(_));
        let parts = if step == "step0" && workload.fan_out > 0 { workload.fan_out } else { 0 };
        let others: Vec<_> = (1..parts).map(|n| poll(&client, &format!("w{n}"))).collect();
        instance.until_polling(others.len()).await;
        client.submit("w0", &task, done).await;
        if step.starts_with("ask") {
            let next = poll(&client, "w0");
            instance.until_polling(1).await;
            approve(&mut client, &id, &step).await;
            task = next.await.expect("polled").expect("the step after");
            continue;
        }
        if parts > 0 {
            let mut leased = vec![client.poll("w0", 10_000).await.expect("a part")];
            for other in others {
                leased.push(other.await.expect("polled").expect("a part"));
            }
            assert_eq!(leased.len() as u64, parts);
            for (n, part) in leased.iter().enumerate().rev() {
                let done = Done::Success(payload(workload, &part.step_name));
                client.submit(&format!("w{n}"), part, done).await;
            }
        }
        if !fails && (step == last || (parts > 0 && workload.steps == 1)) {
            break;
        }
        task = client.poll("w0", 10_000).await.expect("the next task");
    }
    instance.settle().await;
    let all = instance.engine.store().requests() - before;
    // Afterwards, as looking costs requests too.
    client.until(&id, State::ExecutionCompleted).await;
    let mut stored_bytes = 0;
    for family in ["id", "run", "blob"] {
        stored_bytes += instance.objects(family).await.iter().map(|(_, size)| size).sum::<u64>();
    }
    Played { requests: of_execution(all), all, stored_bytes }
}

fn poll(client: &Client, worker: &str) -> tokio::task::JoinHandle<Option<Task>> {
    let (mut client, worker) = (client.clone(), worker.to_owned());
    tokio::spawn(async move { client.poll(&worker, 10_000).await })
}

async fn approve(client: &mut Client, id: &str, step: &str) {
    let response = prost_types::value::Kind::StructValue(structure(json!({"limit": 7})));
    let request = v1::ApproveRequest {
        execution_id: id.to_owned(),
        response: Some(prost_types::Value { kind: Some(response) }),
        by: "ana".to_owned(),
        request_id: step.to_owned(),
        ..Default::default()
    };
    client.executions.approve(request).await.expect("it is approved");
}

fn with(change: impl FnOnce(&mut Workload)) -> Workload {
    let mut workload = PLAIN;
    change(&mut workload);
    workload
}

/// Plays `workload` and holds the model to what was counted.
async fn assert_exact(workload: Workload) {
    let Played { requests, all, stored_bytes } = play(&workload).await;
    assert_eq!(workload.requests(), requests, "{workload:?}: {all}");
    let reckoned = workload.stored_bytes();
    let off = reckoned.abs_diff(stored_bytes) * 100 / stored_bytes;
    assert!(off <= 15, "{workload:?}: {reckoned} reckoned, {stored_bytes} stored");
}

#[tokio::test]
async fn a_chain_costs_what_is_reckoned_whatever_its_payloads() {
    assert_exact(PLAIN).await;
    for (steps, payload_bytes) in [(10, 100), (10, 1000), (12, 2000), (40, 100)] {
        assert_exact(with(|it| (it.steps, it.payload_bytes) = (steps, payload_bytes))).await;
    }
    assert_exact(with(|it| it.has_chosen_id = true)).await;
}

#[tokio::test]
async fn payloads_over_32_kib_cost_a_put_each_and_are_not_read_back() {
    let workload = with(|it| (it.steps, it.payload_bytes) = (3, 40_000));
    assert_eq!(workload.requests(), Requests { put: 9, get: 1, list: 0, delete: 1 });
    assert_exact(workload).await;
}

#[tokio::test]
async fn sleeps_cost_what_is_reckoned() {
    assert_exact(with(|it| it.sleeps = 1)).await;
    assert_exact(with(|it| (it.steps, it.sleeps) = (3, 3))).await;
    assert_exact(with(|it| (it.steps, it.sleeps, it.payload_bytes) = (3, 1, 40_000))).await;
}

#[tokio::test]
async fn approvals_cost_what_is_reckoned() {
    // From the fourth commit on the newest is found by a list: earlier ones cost a little less.
    assert_exact(with(|it| (it.steps, it.approvals) = (5, 1))).await;
    assert_exact(with(|it| (it.steps, it.approvals, it.sleeps) = (5, 2, 1))).await;
}

#[tokio::test]
async fn failures_that_are_tried_again_cost_what_is_reckoned() {
    assert_exact(with(|it| it.failures = 1)).await;
    assert_exact(with(|it| (it.steps, it.failures) = (3, 3))).await;
}

#[tokio::test]
async fn a_fan_out_of_a_hundred_costs_a_put_each_and_its_results_are_not_read_back() {
    let workload = with(|it| (it.steps, it.fan_out, it.payload_bytes) = (2, 100, 1000));
    assert_eq!(workload.requests(), Requests { put: 104, get: 1, list: 0, delete: 1 });
    assert_exact(workload).await;
    assert_exact(with(|it| it.fan_out = 20)).await;
}

#[tokio::test]
async fn in_a_long_run_a_sleep_costs_at_most_what_is_reckoned() {
    let workload = with(|it| (it.steps, it.sleeps) = (40, 1));
    let counted = play(&workload).await.requests;
    let reckoned = workload.requests();
    assert_eq!(Requests { get: reckoned.get, ..counted }, reckoned);
    assert!((4..=reckoned.get).contains(&counted.get), "{counted:?}, {reckoned:?}");
}

/// A clock that stands still until it is moved, on one thread.
#[derive(Debug)]
struct Stepped(watch::Sender<u64>);

impl Env for Stepped {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(1_764_000_000_000 + *self.0.borrow())
    }

    fn uptime(&self) -> Duration {
        Duration::from_millis(*self.0.borrow())
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        let mut now = self.0.subscribe();
        let end = *self.0.borrow() + duration.as_millis() as u64;
        Box::pin(async move {
            now.wait_for(|now| *now >= end).await.expect("the clock outlives its sleepers");
        })
    }

    fn random(&self) -> u128 {
        u128::from(*self.0.borrow())
    }
}

impl Stepped {
    /// Lets `count` seconds go by, and everything happen that is due in each.
    async fn seconds(&self, count: u64) {
        for _ in 0..count {
            self.0.send_modify(|now| *now += 1_000);
            for _ in 0..20 {
                tokio::task::yield_now().await;
            }
        }
    }
}

fn in_all(cost: store::Requests) -> Requests {
    let (put, get) = (cost.put(), cost.get());
    Requests { put, get, list: cost.list(), delete: cost.delete() }
}

const NOTHING: Standing = Standing { instances: 0, has_workers: false, wake_looks: 0 };

/// What an idle hour of one instance costs, with or without a worker that polls; the first one, which
/// holds the walk at start, is not counted.
async fn idle_hour(has_worker: bool) -> Requests {
    let env = Arc::new(Stepped(watch::Sender::new(0)));
    let traits = Traits { ordered: true, ..Traits::NONE };
    let store = Store::wrap(Arc::new(InMemory::new()), traits, "memory (shared)");
    let engine = Engine::new(store.clone(), env.clone(), 1, Config::of("idle/test"));
    let mut working = JoinSet::new();
    let background = engine.clone();
    working.spawn(async move { background.run_background().await });
    let background = engine.clone();
    let policy = RetentionPolicy::default();
    working.spawn(async move { background.run_retention(&policy).await });
    if has_worker {
        let polled = engine.clone();
        working.spawn(async move {
            let poll = PollRequest::of("w1", Duration::from_hours(10));
            let task = polled.poll(poll).await.expect("a poll");
            assert!(task.is_none());
        });
    }
    env.seconds(3_600).await;
    let before = store.requests();
    env.seconds(3_600).await;
    let cost = store.requests() - before;
    engine.begin_shutdown();
    in_all(cost)
}

/// What the comparison of the clocks costs, which an instance makes each hour.
async fn clocks() -> Requests {
    let store = Bucket::in_memory().store().await;
    store::compare_clocks(&store, &SystemEnv).await.expect("one clock");
    in_all(store.requests())
}

#[tokio::test]
async fn an_idle_hour_costs_what_is_reckoned() {
    let (clocks, one) = (clocks().await, Standing { instances: 1, ..NOTHING });
    assert_eq!(one.requests_an_hour(), idle_hour(false).await + clocks);
    let with_workers = Standing { has_workers: true, ..one };
    assert_eq!(with_workers.requests_an_hour(), idle_hour(true).await + clocks);
}

/// A question or an order of a person, and what it costs.
async fn costs(instance: &Instance, ask: impl AsyncFnOnce(Client)) -> Requests {
    instance.settle().await;
    let before = instance.engine.store().requests();
    ask(instance.client().await).await;
    instance.settle().await;
    of_execution(instance.engine.store().requests() - before)
}

#[tokio::test]
async fn what_people_ask_costs_what_the_documentation_says() {
    let instance = Instance::start(Bucket::in_memory().store().await, &Setup::counted()).await;
    let mut client = instance.client().await;
    client.blueprint("ask", &[("ask", &[]), ("after", &["ask"])]).await;
    client.register("w0", &[]).await;
    let id = client.execute("ask", json!({})).await;
    let task = client.poll("w0", 10_000).await.expect("a task");
    client.submit("w0", &task, Done::Approval { timeout_ms: 0 }).await;
    let status = costs(&instance, async |mut client| {
        client.status(&id).await;
    });
    assert_eq!(status.await, Requests { put: 0, get: 3, list: 2, delete: 0 });
    let list = costs(&instance, async |mut client| {
        let request = ListExecutionsRequest { limit: 10, ..Default::default() };
        let listed = client.worker.list_executions(request).await.expect("a list").into_inner();
        assert_eq!(listed.executions.len(), 1);
    });
    // The batch with its record.
    assert_eq!(list.await, Requests { put: 0, get: 1, list: 1, delete: 0 });
    let cancel = costs(&instance, async |mut client| {
        let request = v1::CancelRequest { execution_id: id.clone(), ..Default::default() };
        client.executions.cancel(request).await.expect("it is cancelled");
    });
    // A guard, as the run was parked; a commit after the start, which the id leads to, and which loses;
    // the commit.
    assert_eq!(cancel.await, Requests { put: 3, get: 5, list: 1, delete: 1 });
}
