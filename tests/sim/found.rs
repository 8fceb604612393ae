//! What the simulation found once, told again without chance: seeds change their meaning with every
//! change of the simulation, these stories do not.

use std::{sync::Arc, time::Duration};

use lazarus::{
    engine::{Engine, Filter, PollRequest, StartRequest},
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
    World::new(seed, None, false, Mercy::default())
}

/// A quiet world with a workflow of one step that nobody works on, begun under the id `it`.
async fn begun(world: &Arc<World>) -> Arc<Cluster> {
    let cluster = Cluster::start(Arc::clone(world));
    let step = Step { name: "only".into(), ..Step::default() };
    let definition =
        Definition { name: "one".to_owned(), steps: vec![step], ..Definition::default() };
    let put = |engine: Engine| async move {
        engine.put_blueprint(&Namespace::default(), definition, "python", false).await
    };
    cluster.ask(0, PATIENCE, put).await.expect("a blueprint");
    let request = StartRequest {
        namespace: Namespace::default(),
        workflow: "one".to_owned(),
        version: None,
        execution: Some(it()),
        input: json!({}),
        request: "start".to_owned(),
        timeout: None,
        correlation_id: String::new(),
        tags: vec![],
    };
    let start = |engine: Engine| async move { engine.start(request).await };
    cluster.ask(0, PATIENCE, start).await.expect("it starts");
    cluster
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
            let poll = PollRequest {
                namespace: Namespace::default(),
                worker: "w".to_owned(),
                wait: Duration::from_secs(30),
                connection: None,
            };
            let poll = |engine: Engine| async move { engine.poll(poll).await };
            let task = cluster.ask(0, PATIENCE, poll).await.expect("an answer").expect("a task");
            let token = task.token.parse().expect("a token");
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
