//! What the simulation found once, told again without chance: seeds change their meaning with every
//! change of the simulation, these stories do not.

use std::{sync::Arc, time::Duration};

use lazarus::{
    engine::{Engine, Filter, PollRequest, StartRequest, TaskForWorker},
    workflow::{Definition, ExecutionId, Namespace, Step},
};
use serde_json::json;

use super::{
    cluster::Cluster,
    history::{left_over, live_through},
    mercy::Mercy,
    workload::Work,
    world::World,
};

const PATIENCE: Duration = Duration::from_mins(1);

fn quiet(seed: u64) -> Arc<World> {
    World::new(seed, None, false, Mercy::full())
}

/// A quiet world with a workflow of one step that nobody works on.
async fn prepared(world: &Arc<World>) -> Arc<Cluster> {
    let cluster = Cluster::start(Arc::clone(world));
    let step = Step { name: "only".into(), ..Step::default() };
    let definition =
        Definition { name: "one".to_owned(), steps: vec![step], ..Definition::default() };
    let put = |engine: Engine| async move {
        engine.put_blueprint(&Namespace::default(), definition, "python", false).await
    };
    cluster.ask(0, PATIENCE, put).await.expect("a blueprint");
    cluster
}

/// The same, begun under the id `it`.
async fn begun(world: &Arc<World>) -> Arc<Cluster> {
    let cluster = prepared(world).await;
    start(&cluster).await;
    cluster
}

async fn start(cluster: &Cluster) {
    let request = StartRequest {
        execution: Some(it()),
        request: "start".to_owned(),
        ..StartRequest::of("one")
    };
    let start = |engine: Engine| async move { engine.start(request).await };
    cluster.ask(0, PATIENCE, start).await.expect("it starts");
}

/// Polls the first instance once; whether a task came.
async fn poll(cluster: &Cluster, wait: Duration) -> Option<TaskForWorker> {
    let poll = PollRequest::of("w", wait);
    let poll = |engine: Engine| async move { engine.poll(poll).await };
    cluster.ask(0, PATIENCE, poll).await.expect("an answer")
}

fn it() -> ExecutionId {
    ExecutionId::chosen("it").expect("an id")
}

/// A run that waits for a person has no wake entry. Approved as the last thing that it waited for, on
/// an instance that died before it wrote the record for lists, it was listed as waiting for ever.
#[test]
fn an_execution_whose_last_approver_dies_is_listed_as_completed() {
    for seed in 1..=3 {
        let outcome = live_through(&quiet(seed), |world| async move {
            let cluster = begun(&world).await;
            let task = poll(&cluster, Duration::from_secs(30)).await.expect("a task");
            let token = task.token;
            let waits = Work::Approval(Duration::ZERO).submission(1);
            let submit = |engine: Engine| async move { engine.submit(&token, "w", waits).await };
            cluster.ask(0, PATIENCE, submit).await.expect("it waits");
            world.timeline.wait(Duration::from_mins(30)).await;
            assert_eq!(left_over(&world), [""; 0], "nothing brings it back but the approval");
            let approve = |engine: Engine| async move {
                let (namespace, yes) = (Namespace::default(), (json!({}), false));
                engine.approve(&namespace, &it(), None, "ann", "approve", yes).await
            };
            cluster.ask(0, PATIENCE, approve).await.expect("it is approved");
            cluster.kill(0);
            cluster.begin(0);
            world.timeline.wait(Duration::from_mins(30)).await;
            let list = |engine: Engine| async move {
                engine.list(&Namespace::default(), &Filter::default(), 0, 10).await
            };
            let listed = cluster.ask(0, PATIENCE, list).await.expect("a list");
            world.audit.listed(&listed.records);
            assert_eq!(left_over(&world), [""; 0]);
        });
        assert_eq!(outcome.fault, None, "seed {seed}");
    }
}

/// A guard had climbed its ladder and was found after the end; its waker then offered the steps of the
/// closed run, and whoever claimed one put a new guard, for ever.
#[test]
fn a_guard_that_is_found_after_the_end_offers_nothing() {
    for seed in 1..=3 {
        let outcome = live_through(&quiet(seed), |world| async move {
            let cluster = begun(&world).await;
            world.timeline.wait(Duration::from_mins(10)).await;
            let cancel = |engine: Engine| async move {
                engine.cancel(&Namespace::default(), &it(), "bob", "cancel", "enough").await
            };
            cluster.ask(0, PATIENCE, cancel).await.expect("it is cancelled");
            world.timeline.wait(Duration::from_hours(2)).await;
            let left = left_over(&world);
            if !left.is_empty() {
                world.trace.fault(format!("left over: {left:?}"));
            }
        });
        assert_eq!(outcome.fault, None, "seed {seed}");
    }
}

/// A poll ended while a commit gave it a task, and a function watches no reservation: the task waited
/// for the end of its lease.
#[test]
fn a_task_whose_poll_ends_while_its_lease_is_written_waits_for_no_lease() {
    for seed in 1..=60 {
        let outcome = live_through(&quiet(seed), |world| async move {
            let cluster = prepared(&world).await;
            let polls = Arc::clone(&cluster);
            let wait = Duration::from_millis(4 * world.seed);
            let polled = tokio::spawn(async move { poll(&polls, wait).await });
            start(&cluster).await;
            let mut task = polled.await.expect("no panic");
            if task.is_none() {
                // The worker's next poll reaches another instance.
                world.timeline.wait(Duration::from_secs(3)).await;
                cluster.kill(0);
                cluster.begin(0);
                task = poll(&cluster, Duration::from_secs(6)).await;
            }
            if task.is_none() {
                world.trace.fault("nobody gets the task".to_owned());
            }
        });
        assert_eq!(outcome.fault, None, "seed {seed}");
    }
}
