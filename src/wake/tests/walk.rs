use futures::TryStreamExt;

use super::{at, files, handle, memory};
use crate::{
    store::Store,
    wake::{WakeIndex, walk},
    workflow::{Attention, WakeKind},
};

/// Run 1: a guard and a due timer. 2: a guard not due. 3: two due timers. 4: sleeps on.
async fn walk_gives_each_run_once(store: Store) {
    let index = WakeIndex::new(store, 3);
    let (guard, timer) = (WakeKind::Guard, WakeKind::Timer);
    let all = [(1, guard, 5), (1, timer, 1), (2, guard, 99), (3, timer, 1), (3, timer, 2)];
    for (run, kind, due) in all.into_iter().chain([(4, timer, 99)]) {
        let attention = Attention { kind, due: at(due), seq: due };
        index.put(&handle(run), attention).await.expect("put");
    }
    let found: Vec<_> = walk(&index, at(10)).try_collect().await.expect("walked");
    let mut found: Vec<_> = found.iter().map(|it| (it.handle.run, it.kind, it.due)).collect();
    found.sort();
    let run = |number| handle(number).run;
    assert_eq!(found, [(run(1), guard, at(5)), (run(2), guard, at(99)), (run(3), timer, at(1))]);
}

#[tokio::test]
async fn the_walk_gives_each_run_with_a_guard_or_a_due_timer_once() {
    walk_gives_each_run_once(memory()).await;
}

#[tokio::test]
async fn the_walk_gives_each_run_once_among_files() {
    let (_directory, store) = files().await;
    walk_gives_each_run_once(store).await;
}
