//! One flipped byte in a commit is found and named; nobody else suffers, and when it is mended the run
//! goes on.

use std::{sync::Arc, time::Duration};

use futures::TryStreamExt;
use lazarus::{
    engine::Engine,
    proto::{
        cerebelum::{ExecutionState as State, GetExecutionStatusRequest},
        lazarus::{HistoryRequest, ListDeadRequest, RetryDeadRequest},
    },
};
use object_store::{ObjectStore, ObjectStoreExt, PutPayload, memory::InMemory, path::Path};
use serde_json::json;
use tonic::{Code, Status};

use crate::{
    clock::Clock,
    support::{Bucket, Client, Done, Instance, Setup},
};

/// A bucket with two executions in it, each of which has done the first of its two steps, and a
/// fresh instance that remembers nothing of them.
struct World {
    objects: Arc<dyn ObjectStore>,
    clock: Arc<Clock>,
    instance: Instance,
    client: Client,
    victim: String,
    bystander: String,
}

impl World {
    async fn new() -> Self {
        let objects: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let clock = Clock::fast();
        let before = Self::instance(&objects, &clock).await;
        let mut client = before.client().await;
        client.blueprint("pair", &[("one", &[]), ("two", &["one"])]).await;
        let victim = client.execute("pair", json!({})).await;
        let bystander = client.execute("pair", json!({})).await;
        for worker in ["w1", "w2"] {
            let task = client.poll(worker, 60_000).await.expect("a task");
            let done = Done::Success(json!({"ok": 1}));
            assert!(client.submit(worker, &task, done).await.success);
        }
        before.settle().await;
        before.kill();
        let instance = Self::instance(&objects, &clock).await;
        let client = instance.client().await;
        Self { objects, clock, instance, client, victim, bystander }
    }

    /// One that does nothing by itself.
    async fn instance(objects: &Arc<dyn ObjectStore>, clock: &Arc<Clock>) -> Instance {
        let store = Bucket::over(Arc::clone(objects)).store().await;
        let setup = Setup { background: false, ..Setup::new() };
        Instance::start_in(store, &setup, clock.clone()).await
    }

    /// The keys of the victim's commits, oldest first.
    async fn commits(&self) -> Vec<Path> {
        let ids = self.objects.list(Some(&Path::from("id")));
        let ids: Vec<_> = ids.try_collect().await.expect("a list");
        let mut starts = ids.into_iter().map(|object| object.location);
        let start = starts.find(|key| key.as_ref().contains(&self.victim)).expect("its start");
        let body = self.read(&start).await;
        let body: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
        let run = body["run"].as_str().expect("a run");
        let runs = self.objects.list(Some(&Path::from("run")));
        let runs: Vec<_> = runs.try_collect().await.expect("a list");
        let commits = runs.into_iter().map(|object| object.location);
        let mut commits: Vec<Path> = commits.filter(|key| key.as_ref().contains(run)).collect();
        commits.sort_unstable();
        commits.push(start);
        commits.reverse();
        commits
    }

    async fn read(&self, key: &Path) -> Vec<u8> {
        let found = self.objects.get(key).await.expect("it is there");
        found.bytes().await.expect("its bytes").to_vec()
    }

    /// Flips one bit in the middle of an object; done twice, it is as it was.
    async fn flip(&self, key: &Path) {
        let mut bytes = self.read(key).await;
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        self.objects.put(key, PutPayload::from(bytes)).await.expect("it is written");
    }

    async fn history(&mut self, execution: &str) -> Result<usize, Status> {
        let request = HistoryRequest { execution_id: execution.to_owned(), ..Default::default() };
        let mut events = self.client.executions.history(request).await?.into_inner();
        let mut count = 0;
        while events.message().await?.is_some() {
            count += 1;
        }
        Ok(count)
    }

    async fn status(&mut self, execution: &str) -> Result<State, Status> {
        let request = GetExecutionStatusRequest { execution_id: execution.to_owned() };
        Ok(self.client.worker.get_execution_status(request).await?.into_inner().status())
    }

    /// Whatever is due within the next while is looked at, as by the schedule of a function.
    async fn time_passes(&self, by: Duration) {
        self.clock.skip(by);
        let engine: &Engine = &self.instance.engine;
        while engine.tick().await.expect("a pass").more {}
    }

    /// Does the last step of the execution, which is `execution`'s.
    async fn finish(&mut self, execution: &str) {
        let task = self.client.poll("w3", 60_000).await.expect("a task");
        assert_eq!(task.execution_id, execution);
        let done = Done::Success(json!({"ok": 2}));
        assert!(self.client.submit("w3", &task, done).await.success);
        self.client.until(execution, State::ExecutionCompleted).await;
    }
}

/// The refusal says that data is lost, and where.
fn names(refused: &Status, key: &Path) {
    assert_eq!(refused.code(), Code::DataLoss, "{refused}");
    assert!(refused.message().contains(key.as_ref()), "{key}: {refused}");
}

#[tokio::test]
async fn one_flipped_byte_in_any_commit_is_reported_with_its_key() {
    let mut world = World::new().await;
    let (victim, bystander) = (world.victim.clone(), world.bystander.clone());
    let whole = world.history(&victim).await.expect("it is whole");
    let commits = world.commits().await;
    assert!(commits.len() >= 3, "a start, a middle and a tail: {commits:?}");
    for key in &commits {
        world.flip(key).await;
        names(&world.history(&victim).await.expect_err("a byte is flipped"), key);
        let is_end = key == &commits[0] || Some(key) == commits.last();
        if is_end {
            names(&world.status(&victim).await.expect_err("a byte is flipped"), key);
        }
        assert_eq!(world.status(&bystander).await.expect("whole"), State::ExecutionRunning);
        world.flip(key).await;
        assert_eq!(world.history(&victim).await.expect("mended"), whole);
    }
}

#[tokio::test]
async fn a_run_that_stays_corrupt_is_taken_out_of_the_way_and_comes_back_when_mended() {
    let mut world = World::new().await;
    let (victim, bystander) = (world.victim.clone(), world.bystander.clone());
    let tail = world.commits().await.pop().expect("a tail");
    world.flip(&tail).await;
    // The leases of the instance that died end, and only the bystander can be looked at.
    world.time_passes(Duration::from_mins(1)).await;
    world.time_passes(Duration::from_mins(1)).await;
    world.finish(&bystander).await;
    let task = world.client.poll("w4", 3_000).await;
    assert!(task.is_none(), "a poll passes over what can not be read: {task:?}");
    let mut passes = 2;
    while world.dead().await.is_empty() {
        world.time_passes(Duration::from_secs(601)).await;
        passes += 1;
        assert!(passes <= 25, "it is looked at for ever");
    }
    assert!(passes >= 20, "it was given up after {passes} looks");
    let [(handle, reason)] = &world.dead().await[..] else { panic!("there is one") };
    assert!(reason.contains(tail.as_ref()), "{reason}");
    names(&world.status(&victim).await.expect_err("still corrupt"), &tail);

    world.flip(&tail).await;
    let request = RetryDeadRequest { handle: handle.clone() };
    world.client.executions.retry_dead(request).await.expect("it is put back");
    world.time_passes(Duration::from_secs(1)).await;
    world.time_passes(Duration::from_secs(61)).await;
    world.finish(&victim).await;
    assert!(world.dead().await.is_empty());
}

impl World {
    /// The handles of the runs that were taken out of the way, and why they were.
    async fn dead(&mut self) -> Vec<(String, String)> {
        let dead = self.client.executions.list_dead(ListDeadRequest {}).await.expect("a list");
        dead.into_inner().runs.into_iter().map(|run| (run.handle, run.reason)).collect()
    }
}
