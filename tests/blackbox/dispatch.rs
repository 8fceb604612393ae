//! Who gets which task, and what becomes of it when its worker does not do as it should.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use lazarus::{
    proto::cerebelum::{self as wire, ExecutionState as State},
    store::{Family, Operation},
};
use serde_json::{Value, json};

use object_store::{ObjectStoreExt, memory::InMemory};

use crate::{
    faulty::{Fault, FaultyStore, Op, Rule},
    support::{Bucket, Client, Done, Instance, Setup, Worker, lone_instance},
};

fn done() -> Done {
    Done::Success(json!({"ok": 1}))
}

/// An instance whose leases and guards are short, and which is woken often, whatever its shape.
async fn hasty(lease_ms: u64) -> Instance {
    let setup =
        Setup::new().lease(Duration::from_millis(lease_ms)).guard(Duration::from_millis(200));
    let instance = Instance::start(Bucket::new().store().await, &setup).await;
    instance.tick_often();
    instance
}

fn count(events: &[Value], kind: &str) -> usize {
    events.iter().filter(|event| event["k"] == kind).count()
}

async fn heartbeat(client: &mut Client, worker: &str, task: &str) {
    let request = wire::HeartbeatRequest {
        worker_id: worker.to_owned(),
        task_id: task.to_owned(),
        ..Default::default()
    };
    client.worker.heartbeat(request).await.expect("an answer");
}

#[tokio::test]
async fn a_one_slot_worker_that_polls_again_gets_the_same_attempt_and_no_commit() {
    let instance = lone_instance().await;
    let mut client = instance.client().await;
    client.blueprint("one", &[("only", &[])]).await;
    client.register("w1", &[]).await;
    let id = client.execute("one", json!({})).await;
    let first = client.poll("w1", 5_000).await.expect("the task");
    let before = instance.engine.store().requests();
    let again = client.poll("w1", 5_000).await.expect("the same task");
    let cost = instance.engine.store().requests() - before;
    assert_eq!((again.task_id, again.attempt), (first.task_id.clone(), 1));
    assert_eq!(cost.in_family(Operation::Put, Family::Run), 0, "{cost}");
    client.submit("w1", &first, done()).await;
    client.until(&id, State::ExecutionCompleted).await;
}

#[tokio::test]
async fn a_worker_that_never_registered_may_hold_several_tasks() {
    let instance = lone_instance().await;
    let mut client = instance.client().await;
    client.blueprint("one", &[("only", &[])]).await;
    client.execute("one", json!({})).await;
    client.poll("w1", 5_000).await.expect("the task");
    assert_eq!(client.poll("w1", 300).await, None, "its first task is not taken from it");
}

#[tokio::test]
async fn a_worker_that_may_hold_several_tasks_gets_none_twice_while_its_offer_is_still_there() {
    let faulty = FaultyStore::over(Arc::new(InMemory::new()));
    faulty.plan(Rule::on(Op::Delete, "queue/", Fault::Fail));
    let store = Bucket::over(faulty.objects()).store().await;
    let instance = Instance::start(store, &Setup::new()).await;
    let mut client = instance.client().await;
    client.blueprint("one", &[("only", &[])]).await;
    client.execute("one", json!({})).await;
    client.poll("w1", 5_000).await.expect("the task");
    instance.settle().await;
    assert_eq!(instance.objects("queue").await.len(), 1, "the offer was not deleted");
    assert_eq!(client.poll("w1", 1_000).await, None, "it has the task");
    instance.settle().await;
    assert_eq!(instance.objects("queue").await, [], "who found the offer deletes it");
}

#[tokio::test]
async fn an_offer_with_an_old_hint_costs_no_guard_each_time_that_it_is_tried() {
    let bucket = Bucket::new();
    let setup = || Setup::counted().guard(Duration::from_millis(200));
    let here = Instance::start(bucket.store().await, &setup()).await;
    let mut client = here.client().await;
    client.blueprint("one", &[("only", &[])]).await;
    client.execute("one", json!({})).await;
    here.settle().await;
    let offer = here.objects("queue").await.pop().expect("an offer").0;
    let task = client.poll("w1", 5_000).await.expect("the task");
    client.submit("w1", &task, done()).await;
    here.settle().await;
    here.end().await;
    // Longer than the guard interval: a claim on the state of the hint needs a guard.
    tokio::time::sleep(Duration::from_millis(400)).await;

    let there = Instance::start(bucket.store().await, &setup()).await;
    let mut client = there.client().await;
    let before = there.engine.store().requests();
    for _ in 0..3 {
        // As a put that arrives late.
        let late = there.engine.store().objects().put(&offer.as_str().into(), vec![].into()).await;
        late.expect("it is put");
        assert_eq!(client.poll("w1", 1_500).await, None, "the step is long done");
        there.settle().await;
    }
    let cost = there.engine.store().requests() - before;
    assert_eq!(there.objects("queue").await, [], "who found it has deleted it: {cost}");
    assert_eq!(cost.in_family(Operation::Put, Family::Wake), 0, "{cost}");
}

#[tokio::test]
async fn when_a_lease_ends_another_worker_gets_the_step_and_the_first_success_counts() {
    let instance = hasty(300).await;
    let mut client = instance.client().await;
    client.blueprint("two", &[("only", &[]), ("then", &["only"])]).await;
    let id = client.execute("two", json!({})).await;
    let slow = client.poll("slow", 5_000).await.expect("the task");
    let second = client.poll("quick", 15_000).await.expect("the next attempt");
    assert_eq!((slow.attempt, second.attempt), (1, 2));
    let late = Done::Success(json!({"ok": "late"}));
    assert!(client.submit("slow", &slow, late).await.success);
    let refused = client.submit("quick", &second, done()).await;
    assert!(!refused.success, "{refused:?}");
    assert!(refused.message.contains("superseded"), "{refused:?}");
    let events = client.events(&id).await;
    assert_eq!(count(&events, "step_completed"), 1);
    assert_eq!(count(&events, "attempt_lost"), 1);
    let status = client.status(&id).await;
    let output = crate::support::json(&status.step_outputs["only"]);
    assert_eq!(output, json!({"ok": "late"}));
}

#[tokio::test]
async fn a_reservation_that_is_not_fetched_within_a_second_goes_to_another_worker() {
    let setup = Setup { cache_bytes: 64 << 20, reservations: true, ..Setup::new() };
    let instance = Instance::start(Bucket::new().store().await, &setup).await;
    let mut client = instance.client().await;
    client.blueprint("two", &[("a", &[]), ("b", &["a"])]).await;
    let id = client.execute("two", json!({})).await;
    let a = client.poll("w1", 5_000).await.expect("a");
    client.submit("w1", &a, done()).await;
    let begun = Instant::now();
    let b = client.poll("w2", 10_000).await.expect("b");
    assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
    assert_eq!((b.step_name.as_str(), b.attempt), ("b", 2));
    assert_eq!(client.poll("w1", 200).await, None, "what it did not fetch is not its own");
    assert!(client.submit("w2", &b, done()).await.success);
    client.until(&id, State::ExecutionCompleted).await;
    let events = client.events(&id).await;
    let lost: Vec<&Value> = events.iter().filter(|event| event["k"] == "attempt_lost").collect();
    assert_eq!(lost.len(), 1);
    assert_eq!(lost[0]["reason"], "not_fetched");
}

#[tokio::test]
async fn a_reserved_task_goes_to_one_of_its_workers_waiting_polls_and_at_once() {
    let setup = Setup { cache_bytes: 64 << 20, reservations: true, ..Setup::new() };
    let instance = Instance::start(Bucket::new().store().await, &setup).await;
    let mut client = instance.client().await;
    client.blueprint("two", &[("a", &[]), ("b", &["a"])]).await;
    let request =
        wire::RegisterRequest { worker_id: "w1".to_owned(), slots: Some(9), ..Default::default() };
    client.worker.register(request).await.expect("an answer");
    // What waits for a second and more looks for itself only each second.
    for _ in 0..5 {
        client.execute("two", json!({})).await;
        let a = client.poll("w1", 5_000).await.expect("a");
        let polls: Vec<_> = (0..8)
            .map(|_| {
                let mut client = client.clone();
                tokio::spawn(async move { (client.poll("w1", 2_000).await, Instant::now()) })
            })
            .collect();
        tokio::time::sleep(Duration::from_millis(1_200)).await;
        let submitted = Instant::now();
        client.submit("w1", &a, done()).await;
        let mut waits = vec![];
        for poll in polls {
            let (task, at) = poll.await.expect("polled");
            if let Some(task) = task {
                waits.push(at - submitted);
                client.submit("w1", &task, done()).await;
            }
        }
        assert_eq!(waits.len(), 1, "b was handed out so often");
        assert!(waits[0] < Duration::from_millis(300), "{waits:?}");
    }
}

#[tokio::test]
async fn a_heartbeat_with_the_task_id_keeps_the_lease() {
    let instance = hasty(900).await;
    let mut client = instance.client().await;
    client.blueprint("one", &[("only", &[])]).await;
    let id = client.execute("one", json!({})).await;
    let task = client.poll("w1", 5_000).await.expect("the task");
    let mut other = instance.client().await;
    let envious = tokio::spawn(async move { other.poll("w2", 2_500).await });
    while !envious.is_finished() {
        heartbeat(&mut client, "w1", &task.task_id).await;
        tokio::time::sleep(Duration::from_millis(60)).await;
    }
    assert_eq!(envious.await.expect("polled"), None, "the lease did not end");
    assert!(client.submit("w1", &task, done()).await.success);
    let events = client.events(&id).await;
    assert!(count(&events, "lease_extended") >= 3, "{events:?}");
    assert!(count(&events, "lease_extended") <= 8, "not each heartbeat costs a commit");
}

#[tokio::test]
async fn a_heartbeat_without_a_task_id_counts_on_the_connection_of_the_polls_only() {
    let instance = hasty(900).await;
    let mut client = instance.client().await;
    client.register("w1", &[]).await;
    client.blueprint("one", &[("only", &[])]).await;
    let id = client.execute("one", json!({})).await;
    client.poll("w1", 5_000).await.expect("the task");
    for _ in 0..12 {
        heartbeat(&mut client, "w1", "").await;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let events = client.events(&id).await;
    assert!(count(&events, "lease_extended") >= 1, "{events:?}");
    assert_eq!(count(&events, "attempt_lost"), 0, "{events:?}");
    let mut elsewhere = instance.client().await;
    let extended = count(&client.events(&id).await, "lease_extended");
    for _ in 0..14 {
        heartbeat(&mut elsewhere, "w1", "").await;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let events = client.events(&id).await;
    assert_eq!(count(&events, "lease_extended"), extended, "{events:?}");
    assert_eq!(count(&events, "attempt_lost"), 1, "{events:?}");
}

#[tokio::test]
async fn a_worker_is_offered_the_steps_that_it_announces_only() {
    let instance = lone_instance().await;
    let mut client = instance.client().await;
    client.blueprint("two", &[("a", &[]), ("b", &["a"])]).await;
    client.register("w1", &["a"]).await;
    client.register("w2", &["b"]).await;
    let id = client.execute("two", json!({})).await;
    assert_eq!(client.poll("w2", 200).await, None, "w2 does not have a");
    let a = client.poll("w1", 5_000).await.expect("a");
    client.submit("w1", &a, done()).await;
    assert_eq!(client.poll("w1", 200).await, None, "w1 does not have b");
    let b = client.poll("w2", 5_000).await.expect("b");
    client.submit("w2", &b, done()).await;
    client.until(&id, State::ExecutionCompleted).await;
}

#[tokio::test]
async fn a_worker_without_the_step_says_so_and_another_one_gets_it() {
    let bucket = Bucket::new();
    let here = Instance::start(bucket.store().await, &Setup::new()).await;
    let there = Instance::start(bucket.store().await, &Setup::new()).await;
    let (mut client, mut other) = (here.client().await, there.client().await);
    client.blueprint("one", &[("only", &[])]).await;
    let id = client.execute("one", json!({})).await;
    let task = client.poll("w1", 5_000).await.expect("the task");
    assert!(client.submit("w1", &task, Done::NotFound).await.success);
    assert_eq!(client.poll("w1", 300).await, None, "w1 is not asked again");
    assert_eq!(other.poll("w1", 500).await, None, "nor by another instance");
    let task = other.poll("w2", 5_000).await.expect("the next attempt");
    assert_eq!(task.attempt, 2);
    assert!(other.submit("w2", &task, done()).await.success);
    client.until(&id, State::ExecutionCompleted).await;
}

#[tokio::test]
async fn a_description_says_that_no_worker_has_the_step() {
    let instance = lone_instance().await;
    let mut client = instance.client().await;
    client.blueprint("one", &[("x", &[])]).await;
    client.register("w1", &["y"]).await;
    let id = client.execute("one", json!({})).await;
    let notes = client.describe(&id).await.notes;
    assert_eq!(notes, ["no worker announces step `x`; start one that has it"]);
    client.register("w2", &["x"]).await;
    assert_eq!(client.describe(&id).await.notes, ["step `x` waits for a free worker"]);
}

#[tokio::test]
async fn a_worker_that_has_the_whole_workflow_is_preferred() {
    let instance = lone_instance().await;
    let mut client = instance.client().await;
    client.blueprint("both", &[("a", &[]), ("b", &["a"])]).await;
    client.register("partial", &["a"]).await;
    let id = client.execute("both", json!({})).await;
    let task = client.poll("partial", 5_000).await.expect("none is there that has all");
    client.submit("partial", &task, done()).await;
    let started = client.events(&id).await;
    let started = started.iter().find(|event| event["k"] == "step_started").expect("a start");
    assert_eq!(started["partial"], true, "the history says so");

    client.register("full", &["a", "b"]).await;
    let b = client.poll("full", 5_000).await.expect("b");
    client.submit("full", &b, done()).await;
    client.execute("both", json!({})).await;
    assert_eq!(client.poll("partial", 300).await, None, "one that has all polled of late");
    assert_eq!(client.poll("full", 5_000).await.expect("a").step_name, "a");
}

#[tokio::test]
async fn twenty_parallel_steps_are_spread_over_five_workers() {
    let instance = lone_instance().await;
    let mut client = instance.client().await;
    let names: Vec<String> = (0..20).map(|n| format!("part{n}")).collect();
    let parts: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut steps: Vec<(&str, &[&str])> = vec![("root", &[])];
    steps.extend(parts.iter().map(|part| (*part, &["root"][..])));
    steps.push(("join", &parts));
    client.blueprint("fan", &steps).await;
    let ran = Arc::new(Mutex::new(vec![]));
    let worker = |name: String| {
        let ran = ran.clone();
        Worker::start(client.clone(), &name.clone(), move |task| {
            ran.lock().expect("a list").push((task.step_name.clone(), name.clone()));
            done()
        })
    };
    let _workers: Vec<Worker> = (0..5).map(|n| worker(format!("w{n}"))).collect();
    let id = client.execute("fan", json!({})).await;
    client.until(&id, State::ExecutionCompleted).await;
    let mut steps: Vec<String> =
        ran.lock().expect("a list").iter().map(|(step, _)| step.clone()).collect();
    steps.sort();
    steps.dedup();
    assert_eq!(steps.len(), 22, "every step ran");
    assert_eq!(count(&client.events(&id).await, "step_completed"), 22);
}

#[tokio::test]
async fn a_poll_without_a_task_ends_empty_in_its_time() {
    let instance = lone_instance().await;
    let mut client = instance.client().await;
    let begun = Instant::now();
    assert_eq!(client.poll("w1", 250).await, None);
    assert!(begun.elapsed() >= Duration::from_millis(250));
    assert!(begun.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn polls_end_empty_when_the_instance_goes_down() {
    let instance = lone_instance().await;
    let mut client = instance.client().await;
    let poll = tokio::spawn(async move { client.poll("w1", 60_000).await });
    instance.until_polling(1).await;
    let begun = Instant::now();
    instance.engine.begin_shutdown();
    assert_eq!(poll.await.expect("polled"), None);
    assert!(begun.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn a_poll_that_is_cut_off_at_the_hand_over_loses_no_task() {
    let instance = lone_instance().await;
    let mut client = instance.client().await;
    client.blueprint("one", &[("only", &[])]).await;
    client.register("w1", &[]).await;
    let mut ids = vec![];
    for round in 0..40_u64 {
        let mut polling = client.clone();
        let poll = tokio::spawn(async move { polling.poll("w1", 5_000).await });
        if round % 2 == 0 {
            tokio::time::sleep(Duration::from_millis(3)).await;
        }
        let mut starting = client.clone();
        let start = tokio::spawn(async move { starting.execute("one", json!({})).await });
        tokio::time::sleep(Duration::from_micros(round * 150)).await;
        poll.abort();
        ids.push(start.await.expect("it starts"));
    }
    for _ in &ids {
        let task = client.poll("w1", 10_000).await.expect("no task is lost");
        assert!(client.submit("w1", &task, done()).await.success);
    }
    for id in &ids {
        client.until(id, State::ExecutionCompleted).await;
    }
}

#[tokio::test]
async fn a_result_that_is_sent_many_times_counts_once() {
    let instance = lone_instance().await;
    let mut client = instance.client().await;
    client.blueprint("two", &[("a", &[]), ("b", &["a"])]).await;
    let id = client.execute("two", json!({})).await;
    let a = client.poll("w1", 5_000).await.expect("a");
    let submits = (0..8).map(|_| {
        let (mut client, a) = (client.clone(), a.clone());
        tokio::spawn(async move { client.submit("w1", &a, done()).await })
    });
    for submit in submits.collect::<Vec<_>>() {
        assert!(submit.await.expect("submitted").success);
    }
    let b = client.poll("w1", 5_000).await.expect("b");
    client.submit("w1", &b, done()).await;
    assert!(client.submit("w1", &a, done()).await.success, "also when all is over");
    let events = client.events(&id).await;
    assert_eq!(count(&events, "step_completed"), 2, "{events:?}");
    assert_eq!(count(&events, "step_scheduled"), 2, "{events:?}");
}

#[tokio::test]
async fn a_task_that_no_poller_here_can_run_is_listed_ever_more_rarely() {
    let instance = Instance::start(Bucket::new().store().await, &Setup::new()).await;
    let mut client = instance.client().await;
    client.blueprint("one", &[("x", &[])]).await;
    client.register("w1", &["y"]).await;
    client.execute("one", json!({})).await;
    client.poll("w1", 300).await;
    let before = instance.engine.store().requests();
    assert_eq!(client.poll("w1", 2_500).await, None);
    let cost = instance.engine.store().requests() - before;
    let lists = cost.in_family(Operation::List, Family::Queue);
    assert!(lists <= 8, "{lists} lists in 2.5 s: {cost}");
}

#[tokio::test]
async fn what_a_wake_made_ready_before_it_ended_the_execution_is_given_to_nobody() {
    let setup = Setup { background: false, near_timers: false, ..Setup::new() };
    let instance = Instance::start(Bucket::new().store().await, &setup).await;
    let mut client = instance.client().await;
    let steps: &[(&str, &[&str])] =
        &[("root", &[]), ("nap", &["root"]), ("wait", &["root"]), ("after", &["nap"])];
    client.blueprint("two", steps).await;
    let _workers = ["w1", "w2", "w3"].map(|worker| {
        Worker::start(client.clone(), worker, |task| match task.step_name.as_str() {
            "nap" => Done::Sleep { millis: 300, data: json!({}) },
            "wait" => Done::Approval { timeout_ms: 300 },
            _ => done(),
        })
    });
    let id = client.execute("two", json!({})).await;
    let begun = Instant::now();
    loop {
        let steps = client.describe(&id).await.steps;
        let is_in = |phase: &str| steps.iter().any(|step| step.phase == phase);
        if is_in("sleeping") && is_in("approval") {
            break;
        }
        assert!(begun.elapsed() < crate::support::PATIENCE, "{steps:?}");
    }
    // Both are due when somebody looks: `after` becomes ready while polls wait, and then all is over.
    tokio::time::sleep(Duration::from_millis(500)).await;
    let _progress = instance.engine.tick().await;
    let status = client.status(&id).await;
    assert_eq!(status.error.expect("it failed").kind, "approval_timeout");
    assert_eq!(count(&client.events(&id).await, "step_started"), 3);
}
