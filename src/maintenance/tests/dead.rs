use crate::{
    maintenance::Dead,
    maintenance::DeadRun,
    wake::{
        WakeIndex,
        tests::{at, handle, memory},
    },
    workflow::{Attention, WakeKind},
};

#[tokio::test]
async fn dead_runs_are_listed_the_oldest_first() {
    let dead = Dead::new(memory());
    dead.put(&handle(1), "late", at(2)).await.expect("put");
    dead.put(&handle(2), "early", at(1)).await.expect("put");
    let run = |run, reason: &str, since| DeadRun {
        handle: handle(run).to_string(),
        reason: reason.to_owned(),
        since: at(since),
    };
    assert_eq!(dead.list().await.expect("listed"), [run(2, "early", 1), run(1, "late", 2)]);
}

#[tokio::test]
async fn a_retried_run_is_due_now_and_dead_no_more() {
    let store = memory();
    let (dead, index) = (Dead::new(store.clone()), WakeIndex::new(store, 1));
    dead.put(&handle(1).at(4), "broken", at(0)).await.expect("put");
    assert!(dead.retry(&index, &handle(1).at(4), at(7)).await.expect("retried"));
    assert_eq!(dead.list().await.expect("listed"), []);
    let due = index.due(0, WakeKind::Timer, at(7), None, 9).await.expect("listed").entries;
    let found: Vec<_> = due.iter().map(|it| (it.handle.run, it.attention())).collect();
    assert_eq!(found, [(handle(1).run, Attention { kind: WakeKind::Timer, due: at(7), seq: 4 })]);
}

#[tokio::test]
async fn retrying_a_run_that_is_not_dead_does_nothing() {
    let store = memory();
    let (dead, index) = (Dead::new(store.clone()), WakeIndex::new(store.clone(), 1));
    assert!(!dead.retry(&index, &handle(1), at(7)).await.expect("answered"));
    assert_eq!(store.requests().put(), 0);
}
