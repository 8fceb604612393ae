//! Rule R1 from outside: whatever the store answers to the write of a commit, no result is recorded
//! twice, none is refused that was recorded, and the same request again gets the same answer.

use std::{collections::BTreeMap, sync::Arc};

use futures::future::join_all;
use lazarus::proto::{
    cerebelum::{ExecutionState as State, Task},
    lazarus::{ApproveRequest, StartRequest, StartResponse},
};
use object_store::memory::InMemory;
use serde_json::json;
use tonic::{Code, Status};

use crate::{
    clock::Clock,
    faulty::{Fault, FaultyStore, Op, Rule},
    support::{Bucket, Client, Done, Instance, Setup, structure},
};

/// What the store does to the puts of one commit, in order; after that it is well.
const AMBIGUITIES: &[(&str, &[Fault])] = &[
    ("the reply is lost", &[Fault::LoseReply]),
    ("applied twice", &[Fault::OwnAlreadyExists]),
    ("applied late", &[Fault::ApplyLate]),
    ("a conflict, and no object", &[Fault::Conflict]),
    ("an error, then its own write", &[Fault::Fail, Fault::OwnAlreadyExists]),
    ("a lost reply, then a conflict", &[Fault::LoseReply, Fault::Conflict]),
    ("late, then a conflict, then lost", &[Fault::ApplyLate, Fault::Conflict, Fault::LoseReply]),
];

/// An instance on a store that can be told to misbehave, and what is asked of it.
struct World {
    faulty: FaultyStore,
    clock: Arc<Clock>,
    instance: Instance,
    client: Client,
}

impl World {
    async fn new() -> Self {
        let faulty = FaultyStore::over(Arc::new(InMemory::new()));
        let store = Bucket::over(faulty.objects()).store().await;
        // Alone with the requests: no scan takes a fault that was meant for them.
        let setup = Setup { background: false, ..Setup::new() };
        let clock = Clock::fast();
        let instance = Instance::start_in(store, &setup, clock.clone()).await;
        let mut client = instance.client().await;
        client.blueprint("sign", &[("ask", &[]), ("last", &["ask"])]).await;
        Self { faulty, clock, instance, client }
    }

    /// Each put under `prefix` meets the next of `faults`.
    fn plan(&self, prefix: &str, faults: &[Fault]) {
        for fault in faults {
            self.faulty.plan(Rule::on(Op::Put, prefix, *fault));
        }
    }

    /// The faults are over; what was held up lands now.
    async fn clear(&self) {
        self.faulty.heal();
        self.faulty.release().await;
    }

    /// What was cut off between a commit and its effects is brought back by the run's guard.
    async fn guards_fire(&self) {
        self.clock.skip(Setup::new().policy.guard);
        let engine = self.instance.engine.clone();
        engine.tick().await.expect("a pass");
    }

    async fn start(&mut self) -> Result<StartResponse, Status> {
        let request = StartRequest {
            workflow: "sign".to_owned(),
            input: Some(structure(json!({}))),
            request_id: "one start".to_owned(),
            ..Default::default()
        };
        Ok(self.client.executions.start(request).await?.into_inner())
    }

    async fn submit(&mut self, task: &Task, done: Done) -> Result<bool, Status> {
        let result = done.result("w1", task);
        Ok(self.client.worker.submit_result(result).await?.into_inner().success)
    }

    async fn approve(&mut self, execution: &str) -> Result<(), Status> {
        let request = ApproveRequest {
            execution_id: execution.to_owned(),
            by: "eve".to_owned(),
            request_id: "one approval".to_owned(),
            ..Default::default()
        };
        self.client.executions.approve(request).await.map(drop)
    }

    async fn task(&mut self) -> Task {
        self.client.poll("w1", 60_000).await.expect("a task")
    }

    /// It completed, and each thing that happened stands in the log once.
    async fn check(&mut self, execution: &str, what: &str) {
        let status = self.client.status(execution).await;
        assert_eq!(status.status(), State::ExecutionCompleted, "{what}: {status:#?}");
        let events = self.client.events(execution).await;
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for event in &events {
            *counts.entry(event["k"].as_str().expect("a kind")).or_default() += 1;
        }
        let told = [
            ("execution_started", 1),
            ("approval_requested", 1),
            ("approval_granted", 1),
            ("step_completed", 1),
            ("step_failed", 0),
            ("attempt_failed", 0),
            ("attempt_lost", 0),
            ("execution_failed", 0),
        ];
        for (kind, count) in told {
            let found = counts.get(kind).copied().unwrap_or_default();
            assert_eq!(found, count, "{what}: {kind}: {events:#?}");
        }
        self.instance.settle().await;
    }
}

fn approval() -> Done {
    Done::Approval { timeout_ms: 0 }
}

fn done() -> Done {
    Done::Success(json!({"ok": 7}))
}

#[tokio::test]
async fn an_ambiguous_answer_to_a_start_starts_one_run() {
    join_all(AMBIGUITIES.iter().map(async |(what, faults)| {
        let mut world = World::new().await;
        world.plan("id/", faults);
        let started = world.start().await.expect(what);
        assert_eq!(world.start().await.expect(what), started, "{what}");
        world.clear().await;
        assert_eq!(world.start().await.expect(what), started, "{what}");
        assert!(!started.was_running, "{what}: a repetition is not another's execution");
        finish(&mut world, &started.execution_id, what).await;
    }))
    .await;
}

#[tokio::test]
async fn an_ambiguous_answer_to_a_result_records_it_once() {
    join_all(AMBIGUITIES.iter().map(async |(what, faults)| {
        let mut world = World::new().await;
        let id = world.start().await.expect("it starts").execution_id;
        let task = world.task().await;
        world.plan("run/", faults);
        assert!(world.submit(&task, approval()).await.expect(what), "{what}");
        assert!(world.submit(&task, approval()).await.expect(what), "{what}: again");
        world.clear().await;
        assert!(world.submit(&task, approval()).await.expect(what), "{what}: once more");
        world.approve(&id).await.expect("it is approved");
        let task = world.task().await;
        world.plan("run/", faults);
        assert!(world.submit(&task, done()).await.expect(what), "{what}: the last");
        world.clear().await;
        assert!(world.submit(&task, done()).await.expect(what), "{what}: the last again");
        world.check(&id, what).await;
    }))
    .await;
}

#[tokio::test]
async fn an_ambiguous_answer_to_an_approval_approves_once() {
    join_all(AMBIGUITIES.iter().map(async |(what, faults)| {
        let mut world = World::new().await;
        let id = world.start().await.expect("it starts").execution_id;
        let task = world.task().await;
        assert!(world.submit(&task, approval()).await.expect("an answer"));
        world.plan("run/", faults);
        world.approve(&id).await.expect(what);
        world.approve(&id).await.expect(what);
        world.clear().await;
        world.approve(&id).await.expect(what);
        let task = world.task().await;
        assert!(world.submit(&task, done()).await.expect("an answer"), "{what}");
        world.check(&id, what).await;
    }))
    .await;
}

/// Runs what was started to its end.
async fn finish(world: &mut World, id: &str, what: &str) {
    let task = world.task().await;
    assert!(world.submit(&task, approval()).await.expect("an answer"), "{what}");
    world.approve(id).await.expect("it is approved");
    let task = world.task().await;
    assert!(world.submit(&task, done()).await.expect("an answer"), "{what}");
    world.check(id, what).await;
}

/// What a store that does not come back within the deadline may have done with the write.
const SILENCES: &[Fault] = &[Fault::Fail, Fault::LoseReply, Fault::ApplyLate, Fault::Hang];

/// A store that answers nothing of use until told otherwise; reads too, so that nobody can find out.
fn silence(world: &World, prefix: &str, fault: Fault) {
    world.faulty.plan(Rule::on(Op::Put, prefix, fault).always());
    world.faulty.plan(Rule::on(Op::Get, prefix, Fault::Fail).always());
}

#[tokio::test]
async fn a_start_that_is_unknown_at_the_deadline_is_sent_again() {
    join_all(SILENCES.iter().map(async |silent| {
        let mut world = World::new().await;
        silence(&world, "id/", *silent);
        let refused = world.start().await.expect_err("nobody knows");
        assert_eq!(refused.code(), Code::Unavailable, "{silent:?}: {refused}");
        world.clear().await;
        let started = world.start().await.expect("the same request again");
        assert_eq!(world.start().await.expect("and again"), started, "{silent:?}");
        // The start that was sent first may have won: its first task was given to nobody, and the
        // guard offers it.
        world.guards_fire().await;
        finish(&mut world, &started.execution_id, &format!("{silent:?}")).await;
    }))
    .await;
}

#[tokio::test]
async fn a_result_that_is_unknown_at_the_deadline_is_sent_again() {
    join_all(SILENCES.iter().map(async |silent| {
        let mut world = World::new().await;
        let id = world.start().await.expect("it starts").execution_id;
        let task = world.task().await;
        silence(&world, "run/", *silent);
        let refused = world.submit(&task, approval()).await.expect_err("nobody knows");
        assert_eq!(refused.code(), Code::Unavailable, "{silent:?}: {refused}");
        world.clear().await;
        assert!(world.submit(&task, approval()).await.expect("an answer"), "{silent:?}");
        assert!(world.submit(&task, approval()).await.expect("an answer"), "{silent:?}: again");
        world.approve(&id).await.expect("it is approved");
        let task = world.task().await;
        assert!(world.submit(&task, done()).await.expect("an answer"), "{silent:?}");
        world.check(&id, &format!("{silent:?}")).await;
    }))
    .await;
}

#[tokio::test]
async fn an_approval_that_is_unknown_at_the_deadline_is_sent_again() {
    join_all(SILENCES.iter().map(async |silent| {
        let mut world = World::new().await;
        let id = world.start().await.expect("it starts").execution_id;
        let task = world.task().await;
        assert!(world.submit(&task, approval()).await.expect("an answer"));
        silence(&world, "run/", *silent);
        let refused = world.approve(&id).await.expect_err("nobody knows");
        assert_eq!(refused.code(), Code::Unavailable, "{silent:?}: {refused}");
        world.clear().await;
        world.approve(&id).await.expect("the same request again");
        world.approve(&id).await.expect("and again");
        world.guards_fire().await;
        let task = world.task().await;
        assert!(world.submit(&task, done()).await.expect("an answer"), "{silent:?}");
        world.check(&id, &format!("{silent:?}")).await;
    }))
    .await;
}
