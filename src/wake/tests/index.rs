use object_store::{ObjectStoreExt, PutPayload, path::Path};

use super::{at, files, handle, memory};
use crate::{
    store::Store,
    wake::{Due, Entry, WakeIndex},
    workflow::{Attention, Timestamp, WakeKind},
};

fn timer(due: Timestamp) -> Attention {
    Attention { kind: WakeKind::Timer, due, seq: 3 }
}

async fn due(index: &WakeIndex, now: Timestamp) -> Due {
    index.due(0, WakeKind::Timer, now, None, 100).await.expect("listed")
}

fn runs(due: &Due) -> Vec<crate::workflow::RunId> {
    due.entries.iter().map(|entry| entry.handle.run).collect()
}

/// Timers of runs 1 to 5, across a minute, an hour, a day and a year; not in their order.
async fn spread_out(store: Store) -> (WakeIndex, [Timestamp; 5]) {
    let times = [at(0), at(61), at(3_700), at(90_000), at(31_000_000)];
    let index = WakeIndex::new(store, 1);
    for run in [4_usize, 1, 5, 3, 2] {
        index.put(&handle(run as u128), timer(times[run - 1])).await.expect("put");
    }
    (index, times)
}

async fn each_time_finds_what_is_due(store: Store) {
    let (index, times) = spread_out(store).await;
    for (count, time) in (1..).zip(times) {
        let found = due(&index, time).await;
        let expected: Vec<_> = (1..=count).map(|run| handle(run).run).collect();
        assert_eq!((runs(&found), found.more), (expected, false));
        let before = due(&index, Timestamp::from_millis(time.as_millis() - 1)).await;
        assert_eq!(before.entries.len() as u128, count - 1);
    }
}

#[tokio::test]
async fn what_is_due_is_found_the_earliest_first_in_an_ordered_store() {
    each_time_finds_what_is_due(memory()).await;
}

#[tokio::test]
async fn what_is_due_is_found_the_earliest_first_among_files() {
    let (_directory, store) = files().await;
    each_time_finds_what_is_due(store).await;
}

async fn parts_make_the_whole(store: Store) {
    let (index, times) = spread_out(store).await;
    let (mut seen, mut after): (Vec<Entry>, _) = (vec![], None);
    loop {
        let kind = WakeKind::Timer;
        let part = index.due(0, kind, times[4], after.as_ref(), 2).await.expect("listed");
        seen.extend(part.entries);
        after = seen.last().cloned();
        if !part.more {
            break;
        }
    }
    assert_eq!(seen, due(&index, times[4]).await.entries);
    assert_eq!(seen.len(), 5);
}

#[tokio::test]
async fn a_scan_in_parts_sees_everything_once() {
    parts_make_the_whole(memory()).await;
}

#[tokio::test]
async fn a_scan_of_files_in_parts_sees_everything_once() {
    let (_directory, store) = files().await;
    parts_make_the_whole(store).await;
}

#[tokio::test]
async fn ten_thousand_sleeping_runs_cost_one_list() {
    let store = memory();
    let index = WakeIndex::new(store.clone(), 1);
    for run in 0..10_000_u64 {
        index.put(&handle(run.into()), timer(at(3_600 + run))).await.expect("put");
    }
    index.put(&handle(10_001), timer(at(1))).await.expect("put");
    let before = store.requests();
    assert_eq!(runs(&due(&index, at(2)).await), [handle(10_001).run]);
    let spent = store.requests() - before;
    assert_eq!((spent.list(), spent.get(), spent.put()), (1, 0, 0), "{spent}");
}

#[tokio::test]
async fn a_scan_of_files_opens_no_folder_beyond_now() {
    let (_directory, store) = files().await;
    let index = WakeIndex::new(store.clone(), 1);
    index.put(&handle(1), timer(at(1))).await.expect("put");
    for hour in 1..20 {
        index.put(&handle(1 + u128::from(hour)), timer(at(hour * 3_600))).await.expect("put");
    }
    let before = store.requests();
    assert_eq!(runs(&due(&index, at(2)).await), [handle(1).run]);
    let spent = store.requests() - before;
    assert_eq!(spent.list(), 4, "the root, a day, an hour, a minute: {spent}");
}

#[tokio::test]
async fn folders_of_files_that_have_emptied_cost_nothing() {
    let (_directory, store) = files().await;
    let index = WakeIndex::new(store.clone(), 1);
    for minute in 0..5 {
        index.put(&handle(1), timer(at(minute * 60))).await.expect("put");
        index.delete(&handle(1), timer(at(minute * 60))).await;
    }
    let before = store.requests();
    assert!(due(&index, at(3_600)).await.entries.is_empty());
    assert_eq!((store.requests() - before).list(), 1);
}

#[tokio::test]
async fn an_entry_says_what_was_put() {
    let index = WakeIndex::new(memory(), 4);
    let guard = Attention { kind: WakeKind::Guard, due: at(9), seq: 12 };
    index.put(&handle(7), guard).await.expect("put");
    let mut found = vec![];
    for shard in 0..4 {
        found.extend(index.due(shard, WakeKind::Guard, at(9), None, 9).await.expect("ok").entries);
    }
    let [entry] = &found[..] else { panic!("one entry, not {found:?}") };
    assert_eq!((entry.attention(), &entry.handle, entry.tries), (guard, &handle(7).at(12), 0));
    assert!(entry.put_at > Timestamp::default());
}

#[tokio::test]
async fn a_rearmed_entry_stands_once_and_is_removed_with_its_counter() {
    let index = WakeIndex::new(memory(), 1);
    index.put(&handle(1), timer(at(1))).await.expect("put");
    let entry = due(&index, at(1)).await.entries.remove(0);
    index.rearm(&entry, at(5), 2).await.expect("rearmed");
    let found = due(&index, at(100)).await.entries;
    assert_eq!(found.iter().map(|it| (it.due, it.tries)).collect::<Vec<_>>(), [(at(5), 2)]);
    index.remove(&found[0]).await;
    assert!(due(&index, at(100)).await.entries.is_empty());
}

#[tokio::test]
async fn rearming_an_entry_where_it_is_leaves_it_there() {
    let index = WakeIndex::new(memory(), 1);
    index.put(&handle(1), timer(at(1))).await.expect("put");
    let entry = due(&index, at(1)).await.entries.remove(0);
    index.rearm(&entry, at(1), 0).await.expect("rearmed");
    let found = due(&index, at(1)).await.entries;
    let here = |it: &Entry| (it.due, it.tries, it.handle.clone());
    assert_eq!(found.iter().map(here).collect::<Vec<_>>(), [here(&entry)]);
}

#[tokio::test]
async fn a_deleted_entry_is_gone_and_deleting_it_again_is_fine() {
    let index = WakeIndex::new(memory(), 1);
    index.put(&handle(1), timer(at(1))).await.expect("put");
    index.delete(&handle(1), timer(at(1))).await;
    index.delete(&handle(1), timer(at(1))).await;
    assert!(due(&index, at(1)).await.entries.is_empty());
}

#[tokio::test]
async fn a_key_that_can_not_be_read_is_passed_over_and_stays() {
    let store = memory();
    let index = WakeIndex::new(store.clone(), 1);
    index.put(&handle(1), timer(at(1))).await.expect("put");
    let strange = Path::from("wake/0/timer/20200101/00/00/strange");
    store.objects().put(&strange, PutPayload::new()).await.expect("put");
    assert_eq!(runs(&due(&index, at(1)).await), [handle(1).run]);
    store.objects().head(&strange).await.expect("it is still there");
}
