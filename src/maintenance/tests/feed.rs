use std::{
    pin::pin,
    sync::{Arc, atomic::Ordering},
};

use futures::{future::join_all, poll};
use object_store::{ObjectStoreExt, PutPayload, path::Path};

use crate::{
    maintenance::Feed,
    maintenance::{Filter, Page, Record, Standing},
    store::Store,
    wake::tests::{FakeEnv, Moody, at, files, handle, memory, ordered},
    workflow::{ExecutionId, Namespace},
};

const CACHE: u64 = 1 << 20;

fn record(run: u128, seq: u64, status: Standing) -> Record {
    Record {
        namespace: Namespace::default(),
        execution: ExecutionId::known(&format!("e{run}")).expect("a valid id"),
        generation: 0,
        run: handle(run).run,
        seq,
        workflow: if run.is_multiple_of(2) { "even" } else { "odd" }.to_owned(),
        version: 1,
        status,
        started: at(u64::try_from(run).expect("small")),
        closed: None,
        deleted: None,
        may_have_blobs: true,
        steps: (3, 0),
        error: None,
        resumes: None,
        correlation_id: String::new(),
        tags: vec![],
    }
}

fn running(run: u128) -> Record {
    record(run, 0, Standing::Running)
}

fn shared(objects: &Arc<Moody>) -> Store {
    ordered(objects.clone(), false)
}

fn exclusive(objects: &Arc<Moody>) -> Store {
    ordered(objects.clone(), true)
}

async fn page(feed: &Feed, filter: Filter, offset: usize, limit: usize) -> Page {
    feed.list(&Namespace::default(), &filter, offset, limit).await.expect("listed")
}

async fn listed(feed: &Feed) -> Vec<Record> {
    page(feed, Filter::default(), 0, 100).await.records
}

#[tokio::test]
async fn records_of_one_window_cost_one_put() {
    let (env, store) = (FakeEnv::shared(), shared(&Arc::default()));
    let feed = Feed::new(store.clone(), env.clone(), CACHE);
    let records: Vec<_> = (0..100).map(running).collect();
    let mut written = pin!(join_all(records.iter().map(|record| feed.record(record))));
    env.advance_millis(4_999);
    assert!(poll!(&mut written).is_pending());
    assert_eq!(store.requests().put(), 0);
    env.advance_millis(1);
    assert!(written.await.iter().all(Result::is_ok));
    assert_eq!(store.requests().put(), 1);
    assert_eq!(listed(&feed).await.len(), 100);
}

#[tokio::test]
async fn an_exclusive_store_does_not_wait_but_collects_during_a_write() {
    let objects = Arc::<Moody>::default();
    let store = exclusive(&objects);
    let feed = Feed::new(store.clone(), FakeEnv::shared(), CACHE);
    objects.held.send_replace(true);
    let (one, two, three) = (running(1), running(2), running(3));
    let mut first = pin!(feed.record(&one));
    assert!(poll!(&mut first).is_pending());
    let mut rest = pin!(join_all([feed.record(&two), feed.record(&three)]));
    assert!(poll!(&mut rest).is_pending());
    objects.held.send_replace(false);
    first.await.expect("written");
    assert!(rest.await.iter().all(Result::is_ok));
    assert_eq!(store.requests().put(), 2);
}

#[tokio::test]
async fn flushing_ends_the_window() {
    let store = shared(&Arc::default());
    let feed = Feed::new(store.clone(), FakeEnv::shared(), CACHE);
    let one = running(1);
    let mut written = pin!(feed.record(&one));
    assert!(poll!(&mut written).is_pending());
    let (flushed, written) = tokio::join!(feed.flush_now(), written);
    flushed.expect("flushed");
    written.expect("written");
    assert_eq!(store.requests().put(), 1);
    feed.flush_now().await.expect("nothing to do");
    assert_eq!(store.requests().put(), 1);
}

#[tokio::test]
async fn a_batch_that_is_large_enough_waits_for_no_more() {
    let feed = Feed::new(shared(&Arc::default()), FakeEnv::shared(), CACHE);
    let large = |run| Record { correlation_id: "x".repeat(3 << 20), ..running(run) };
    let (one, two, three) = (large(1), large(2), running(3));
    let mut first = pin!(feed.record(&one));
    assert!(poll!(&mut first).is_pending());
    let second = feed.record(&two);
    let mut third = pin!(feed.record(&three));
    let (first, second) = tokio::join!(first, second);
    first.and(second).expect("written");
    assert!(poll!(&mut third).is_pending(), "it is in a window of its own");
}

#[tokio::test]
async fn a_record_that_nobody_polls_is_flushed_all_the_same() {
    let feed = Feed::new(shared(&Arc::default()), FakeEnv::shared(), CACHE);
    drop(feed.record(&running(1)));
    feed.flush_now().await.expect("flushed");
    assert_eq!(listed(&feed).await, [running(1)]);
}

#[tokio::test]
async fn another_waiter_takes_over_from_a_leader_cancelled_in_the_window() {
    let env = FakeEnv::shared();
    let feed = Feed::new(shared(&Arc::default()), env.clone(), CACHE);
    let (one, two) = (running(1), running(2));
    let mut leader = Box::pin(feed.record(&one));
    let mut follower = pin!(feed.record(&two));
    assert!(poll!(&mut leader).is_pending() && poll!(&mut follower).is_pending());
    drop(leader);
    assert!(poll!(&mut follower).is_pending());
    env.advance_millis(5_000);
    follower.await.expect("written");
    assert_eq!(listed(&feed).await, [two, one]);
}

#[tokio::test]
async fn another_waiter_takes_over_from_a_leader_cancelled_in_the_write() {
    let objects = Arc::<Moody>::default();
    let feed = Feed::new(exclusive(&objects), FakeEnv::shared(), CACHE);
    objects.held.send_replace(true);
    let (one, two, three) = (running(1), running(2), running(3));
    // Both are added before the leader closes the batch.
    let (leader, follower) = (feed.record(&one), feed.record(&two));
    let (mut leader, mut follower) = (Box::pin(leader), pin!(follower));
    assert!(poll!(&mut leader).is_pending() && poll!(&mut follower).is_pending());
    let later = feed.record(&three);
    drop(leader);
    objects.held.send_replace(false);
    follower.await.expect("written");
    later.await.expect("written");
    assert_eq!(listed(&feed).await, [three, two, one]);
}

#[tokio::test]
async fn a_failed_write_is_told_to_all_who_wait_and_costs_one_try() {
    let objects = Arc::<Moody>::default();
    let store = exclusive(&objects);
    let feed = Feed::new(store.clone(), FakeEnv::shared(), CACHE);
    objects.refuses.store(true, Ordering::Relaxed);
    let records: Vec<_> = (1..=3).map(running).collect();
    let outcomes = join_all(records.iter().map(|record| feed.record(record))).await;
    assert!(outcomes.iter().all(Result::is_err));
    assert_eq!(store.requests().put(), 1);
    objects.refuses.store(false, Ordering::Relaxed);
    feed.record(&running(9)).await.expect("the next batch is another try");
    assert_eq!(listed(&feed).await, [running(9)]);
}

#[tokio::test]
async fn the_newest_record_of_a_run_wins_whoever_wrote_it_last() {
    let store = memory();
    let env = FakeEnv::shared();
    let (a, b) = (Feed::new(store.clone(), env.clone(), CACHE), Feed::new(store, env, CACHE));
    let completed = record(1, 5, Standing::Completed);
    a.record(&completed).await.expect("written");
    b.record(&running(1)).await.expect("written");
    for feed in [a, b] {
        let [found] = &listed(&feed).await[..] else { panic!("one run") };
        assert_eq!(found, &completed);
    }
}

#[tokio::test]
async fn a_status_that_is_over_does_not_match() {
    let feed = Feed::new(memory(), FakeEnv::shared(), CACHE);
    feed.record(&running(1)).await.expect("written");
    feed.record(&record(1, 5, Standing::Completed)).await.expect("written");
    let filter = Filter { workflow: None, standings: vec![Standing::Running] };
    assert_eq!(page(&feed, filter, 0, 9).await.total, 0);
}

async fn pages_are_cut(store: Store) {
    let feed = Feed::new(store, FakeEnv::shared(), CACHE);
    let records: Vec<_> = (1..=10).map(running).collect();
    let written = join_all(records.iter().map(|record| feed.record(record)));
    let (written, flushed) = tokio::join!(written, feed.flush_now());
    flushed.expect("flushed");
    assert!(written.iter().all(Result::is_ok));
    let filter = Filter { workflow: Some("even".to_owned()), standings: vec![] };
    let first = page(&feed, filter.clone(), 0, 3).await;
    assert_eq!(first.records, [running(10), running(8), running(6)]);
    assert_eq!((first.total, first.has_more), (5, true));
    let last = page(&feed, filter.clone(), 3, 3).await;
    assert_eq!(last.records, [running(4), running(2)]);
    assert_eq!((last.total, last.has_more), (5, false));
    let beyond = page(&feed, filter, 9, 3).await;
    assert_eq!((beyond.records, beyond.has_more), (vec![], false));
}

#[tokio::test]
async fn a_list_is_cut_into_pages_the_newest_first() {
    pages_are_cut(memory()).await;
}

#[tokio::test]
async fn a_list_is_cut_into_pages_among_files() {
    let (_directory, store) = files().await;
    pages_are_cut(store).await;
}

#[tokio::test]
async fn other_namespaces_are_not_listed() {
    let feed = Feed::new(memory(), FakeEnv::shared(), CACHE);
    feed.record(&running(1)).await.expect("written");
    let other = Namespace::new("other").expect("a valid name");
    let page = feed.list(&other, &Filter::default(), 0, 9).await.expect("listed");
    assert_eq!(page.total, 0);
}

async fn gets_of_the_second_list(cache_bytes: u64) -> u64 {
    let store = memory();
    let feed = Feed::new(store.clone(), FakeEnv::shared(), cache_bytes);
    feed.record(&running(1)).await.expect("written");
    feed.record(&running(2)).await.expect("written");
    assert_eq!(listed(&feed).await.len(), 2);
    feed.record(&running(3)).await.expect("written");
    let before = store.requests();
    assert_eq!(listed(&feed).await.len(), 3);
    let spent = store.requests() - before;
    assert_eq!(spent.list(), 1);
    spent.get()
}

#[tokio::test]
async fn a_second_list_reads_only_what_is_new() {
    assert_eq!(gets_of_the_second_list(CACHE).await, 1);
}

#[tokio::test]
async fn a_list_without_a_cache_reads_everything() {
    assert_eq!(gets_of_the_second_list(0).await, 3);
}

#[tokio::test]
async fn lines_that_can_not_be_read_are_passed_over() {
    let store = memory();
    let feed = Feed::new(store.clone(), FakeEnv::shared(), CACHE);
    feed.record(&running(1)).await.expect("written");
    let body = "not json\n{\"v\":2,\"new\":true}\n{\"v\":1}\n\n";
    let key = Path::from("feed/2025112416/other.0");
    store.objects().put(&key, PutPayload::from(body)).await.expect("put");
    assert_eq!(listed(&feed).await, [running(1)]);
}
