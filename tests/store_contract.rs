//! What the layers above rely on, tried on every kind of store: one test per store and promise.
//!
//! A bucket over the wire takes part when `LAZARUS_TEST_STORE` is its URL (with the usual variables of its
//! cloud).

mod support;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures::{
    StreamExt, TryStreamExt,
    future::{BoxFuture, join_all},
};
use lazarus::{
    env::{Env, SystemEnv},
    store::{Check, Family, Operation, ProbeError, Store, Traits, compare_clocks, layout, probe},
    workflow::Timestamp,
};
use object_store::{
    Error, GetOptions, GetRange, ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload,
    PutResult, memory::InMemory, path::Path,
};
use support::faulty::{Fault, FaultyStore, Op, Rule};
use tempfile::TempDir;

/// A bucket: others write to it too, and its clock is not ours.
const SHARED: Traits = Traits { ordered: true, ..Traits::NONE };
/// A store whose clock is ours.
const EXCLUSIVE: Traits = Traits { ordered: true, exclusive: true, ..Traits::NONE };

/// A store for one test, with nothing in it.
struct Subject {
    store: Store,
    directory: Option<TempDir>,
}

async fn open(url: &str) -> Store {
    Store::open(url, SystemEnv::shared()).await.expect("the store opens")
}

async fn open_in_directory(scheme: &str) -> Option<Subject> {
    let directory = tempfile::tempdir().expect("a directory");
    let store = open(&format!("{scheme}{}/a/b", directory.path().display())).await;
    Some(Subject { store, directory: Some(directory) })
}

async fn memory() -> Option<Subject> {
    Some(Subject { store: open("memory:").await, directory: None })
}

async fn file() -> Option<Subject> {
    open_in_directory("file://").await
}

async fn embedded() -> Option<Subject> {
    open_in_directory("embedded:").await
}

/// The bucket that the environment names, if it names one.
fn bucket() -> Option<String> {
    let variable = |name| std::env::var(name).ok().filter(|value| value.contains("://"));
    variable("LAZARUS_TEST_STORE").or_else(|| variable("LAZARUS_TEST_S3_URL"))
}

async fn wire() -> Option<Subject> {
    let bucket = bucket()?;
    let unique = SystemEnv.random();
    let store = open(&format!("{}/{unique:032x}", bucket.trim_end_matches('/'))).await;
    Some(Subject { store, directory: None })
}

/// One test per promise for each store.
macro_rules! contract {
    ($($store:ident),* keep $promises:tt) => { $(contract!(@one $store $promises);)* };
    (@one $store:ident { $($promise:ident),* $(,)? }) => {
        mod $store {
            $(
                #[tokio::test]
                async fn $promise() {
                    if let Some(subject) = super::$store().await {
                        super::$promise(&subject.store).await;
                        drop(subject.directory);
                    }
                }
            )*
        }
    };
}

contract!(memory, file, embedded, wire keep {
    the_probe_passes_and_leaves_nothing,
    one_of_64_concurrent_creates_wins,
    a_refused_create_changes_nothing,
    an_overwrite_replaces,
    what_was_put_comes_back,
    a_missing_key_is_not_found,
    every_character_of_our_keys_survives,
    deleting_twice_is_fine,
    a_prefix_counts_in_whole_segments,
    a_list_goes_on_after_an_offset,
    a_list_is_ordered_where_it_is_promised,
    a_delimited_list_names_children_only,
    the_time_of_the_last_write_is_known,
    requests_are_counted_by_kind_and_family,
    the_layout_stands_once_written,
});

fn key(text: &str) -> Path {
    Path::parse(text).expect("a key")
}

async fn create(objects: &dyn ObjectStore, at: &str, body: &str) -> Result<PutResult, Error> {
    let body = PutPayload::from(body.to_owned());
    objects.put_opts(&key(at), body, PutOptions::from(PutMode::Create)).await
}

async fn put_all(store: &Store, keys: &[&str]) {
    let puts = keys.iter().map(|at| create(store.objects().as_ref(), at, ""));
    for put in join_all(puts).await {
        put.expect("a new key is created");
    }
}

async fn body(store: &Store, at: &str) -> String {
    let found = store.objects().get(&key(at)).await.expect("the key is there");
    String::from_utf8(found.bytes().await.expect("its body").to_vec()).expect("text")
}

async fn list(store: &Store, prefix: &str, offset: Option<&str>) -> Vec<String> {
    let prefix = key(prefix);
    let entries = match offset {
        Some(offset) => store.objects().list_with_offset(Some(&prefix), &key(offset)),
        None => store.objects().list(Some(&prefix)),
    };
    let mut keys: Vec<String> =
        entries.map_ok(|entry| entry.location.to_string()).try_collect().await.expect("a list");
    if !store.is_ordered() {
        keys.sort();
    }
    keys
}

async fn the_probe_passes_and_leaves_nothing(store: &Store) {
    let report = probe(store, &SystemEnv).await.expect("the store is fit");
    assert!(!report.is_skewed(), "{report:?}");
    assert_eq!(list(store, "probe", None).await, [""; 0]);
}

async fn one_of_64_concurrent_creates_wins(store: &Store) {
    let bodies: Vec<String> = (0..64).map(|racer| format!("racer {racer}")).collect();
    let commits = store.commits().as_ref();
    let answers = join_all(bodies.iter().map(|body| create(commits, "run/a/1", body))).await;
    let mut winners = bodies.iter().zip(answers).filter(|(_, answer)| answer.is_ok());
    let (winner, _) = winners.next().expect("somebody wins");
    assert!(winners.next().is_none(), "a second one won");
    assert_eq!(&body(store, "run/a/1").await, winner);
}

async fn a_refused_create_changes_nothing(store: &Store) {
    create(store.commits().as_ref(), "run/a/1", "first").await.expect("is created");
    let error =
        create(store.commits().as_ref(), "run/a/1", "second").await.expect_err("is refused");
    assert!(matches!(error, Error::AlreadyExists { .. } | Error::Precondition { .. }), "{error}");
    assert_eq!(body(store, "run/a/1").await, "first");
}

async fn an_overwrite_replaces(store: &Store) {
    for text in ["first", "second, longer", ""] {
        store.objects().put(&key("worker/a"), text.to_owned().into()).await.expect("is put");
        assert_eq!(body(store, "worker/a").await, text);
    }
}

async fn what_was_put_comes_back(store: &Store) {
    let bytes: Vec<u8> = (0..=255).cycle().take(1 << 20).collect();
    store.objects().put(&key("blob/a"), bytes.clone().into()).await.expect("is put");
    let got = store.objects().get(&key("blob/a")).await.expect("is there");
    assert_eq!(got.meta.size, 1 << 20);
    assert!(got.bytes().await.expect("its body") == bytes, "other bytes came back");

    let range = GetOptions { range: Some(GetRange::Bounded(254..258)), ..GetOptions::default() };
    let part = store.objects().get_opts(&key("blob/a"), range).await.expect("is there");
    assert_eq!(part.range, 254..258);
    assert_eq!(part.bytes().await.expect("its body").as_ref(), [254, 255, 0, 1]);

    let e_tag = store.objects().head(&key("blob/a")).await.expect("is there").e_tag;
    let same = GetOptions { if_match: e_tag.clone(), ..GetOptions::default() };
    store.objects().get_opts(&key("blob/a"), same).await.expect("the tag matches");
    let changed = GetOptions { if_none_match: e_tag, ..GetOptions::default() };
    let error = store.objects().get_opts(&key("blob/a"), changed).await.expect_err("no change");
    assert!(matches!(error, Error::NotModified { .. }), "{error}");
}

async fn a_missing_key_is_not_found(store: &Store) {
    let error = store.objects().get(&key("run/a/1")).await.expect_err("is missing");
    assert!(matches!(error, Error::NotFound { .. }), "{error}");
    let error = store.objects().head(&key("run/a/1")).await.expect_err("is missing");
    assert!(matches!(error, Error::NotFound { .. }), "{error}");
    assert_eq!(list(store, "run", None).await, [""; 0]);
}

async fn every_character_of_our_keys_survives(store: &Store) {
    let keys = [
        "id/0a/ns-1/=53tra=c3=9fe/9999999999",
        "id/0a/ns-1/~0123456789abcdef/9999999999",
        "wake/0/guard/20251124/00/10/1764000000000.ns.a_b-c=2e.0.0123456789abcdef.7",
    ];
    put_all(store, &keys).await;
    for at in keys {
        assert_eq!(store.objects().head(&key(at)).await.expect("is there").location, key(at));
    }
    assert_eq!(list(store, "id", None).await, keys[..2]);
    assert_eq!(list(store, "wake/0/guard", None).await, keys[2..]);
}

async fn deleting_twice_is_fine(store: &Store) {
    put_all(store, &["wake/a", "wake/b"]).await;
    for _ in 0..2 {
        store.objects().delete(&key("wake/a")).await.expect("is deleted");
    }
    let keys = ["wake/a", "wake/b", "wake/c"].map(|at| Ok(key(at)));
    let deleted = store.objects().delete_stream(futures::stream::iter(keys).boxed());
    let deleted: Vec<Path> = deleted.try_collect().await.expect("all are deleted");
    assert_eq!(deleted, ["wake/a", "wake/b", "wake/c"].map(key));
    assert_eq!(list(store, "wake", None).await, [""; 0]);
    put_all(store, &["wake/a"]).await;
}

async fn a_prefix_counts_in_whole_segments(store: &Store) {
    put_all(store, &["queue/a/1", "queue/a/b/2", "queue/ab/3", "queue/a-b/4"]).await;
    assert_eq!(list(store, "queue/a", None).await, ["queue/a/1", "queue/a/b/2"]);
    assert_eq!(list(store, "queue/a/1", None).await, [""; 0], "the prefix itself is not below it");
    assert_eq!(list(store, "queu", None).await, [""; 0]);
    assert_eq!(list(store, "queue", None).await.len(), 4);
}

async fn a_list_goes_on_after_an_offset(store: &Store) {
    put_all(store, &["run/a/1", "run/a/2", "run/a/4"]).await;
    assert_eq!(list(store, "run/a", Some("run/a/1")).await, ["run/a/2", "run/a/4"]);
    assert_eq!(list(store, "run/a", Some("run/a/3")).await, ["run/a/4"]);
    assert_eq!(list(store, "run/a", Some("run/a/4")).await, [""; 0]);
    assert_eq!(list(store, "run/a", Some("run")).await.len(), 3, "an offset before the prefix");
    assert_eq!(list(store, "run/a", Some("run/b")).await, [""; 0], "an offset behind the prefix");
}

async fn a_list_is_ordered_where_it_is_promised(store: &Store) {
    let mut keys: Vec<String> = (0..70).map(|n| format!("run/a/{:04}", n * 7919 % 1009)).collect();
    put_all(store, &keys.iter().map(String::as_str).collect::<Vec<_>>()).await;
    keys.sort();
    assert_eq!(list(store, "run", None).await, keys);
    let first = store.objects().list(Some(&key("run"))).next().await;
    if store.is_ordered() {
        assert_eq!(first.expect("one").expect("a list").location.as_ref(), keys[0]);
    }
}

async fn a_delimited_list_names_children_only(store: &Store) {
    put_all(store, &["queue/0/a/1", "queue/0/a/2", "queue/0/b-c/1", "queue/0/b/1", "queue/0/d"])
        .await;
    let found = store.objects().list_with_delimiter(Some(&key("queue/0"))).await.expect("a list");
    let mut prefixes = found.common_prefixes;
    prefixes.sort();
    assert_eq!(prefixes, ["queue/0/a", "queue/0/b", "queue/0/b-c"].map(key));
    let objects: Vec<_> = found.objects.into_iter().map(|object| object.location).collect();
    assert_eq!(objects, [key("queue/0/d")]);
    let none = store.objects().list_with_delimiter(Some(&key("queue/1"))).await.expect("a list");
    assert!(none.objects.is_empty() && none.common_prefixes.is_empty(), "{none:?}");
}

async fn the_time_of_the_last_write_is_known(store: &Store) {
    let before = SystemEnv.now().as_millis();
    put_all(store, &["wake/a"]).await;
    let head = store.objects().head(&key("wake/a")).await.expect("is there");
    let stamp = head.last_modified.timestamp_millis();
    let distance = stamp.abs_diff(i64::try_from(before).expect("a time"));
    assert!(distance < 30_000, "{stamp} is not near {before}");
}

async fn requests_are_counted_by_kind_and_family(store: &Store) {
    let before = store.requests();
    create(store.commits().as_ref(), "run/a/1", "12345").await.expect("is created");
    drop(create(store.commits().as_ref(), "run/a/1", "1234").await);
    assert_eq!(body(store, "run/a/1").await, "12345");
    store.objects().get(&key("id/a")).await.expect_err("is missing");
    store.objects().head(&key("run/a/1")).await.expect("is there");
    list(store, "wake/0", None).await;
    store.objects().list_with_delimiter(Some(&key("queue"))).await.expect("a list");
    store.objects().delete(&key("run/a/1")).await.expect("is deleted");
    store.objects().put(&key("else/where"), "x".into()).await.expect("is put");
    let asked = store.requests() - before;
    assert_eq!(
        asked.to_string(),
        "put 3 (run 2, other 1), get 3 (id 1, run 2), list 2 (wake 1, queue 1), delete 1 (run 1); \
         10 B written, 5 B read"
    );
    assert_eq!(asked.in_family(Operation::Put, Family::Run), 2);
    assert_eq!(asked.bytes_written_in(Family::Run), 9);
}

async fn the_layout_stands_once_written(store: &Store) {
    assert_eq!(layout(store, Some(2)).await.expect("is written").shards, 2);
    let before = store.requests();
    assert_eq!(layout(store, None).await.expect("is read").shards, 2);
    let asked = store.requests() - before;
    assert_eq!((asked.get(), asked.put()), (1, 0), "{asked}");
    layout(store, Some(3)).await.expect_err("another number of shards is refused");
}

#[tokio::test]
async fn a_page_of_a_list_is_a_thousand_entries() {
    let store = open("memory:").await;
    let keys: Vec<String> = (0..1_001).map(|n| format!("run/{n:04}")).collect();
    put_all(&store, &keys.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let before = store.requests();
    let mut entries = store.objects().list(Some(&key("run")));
    for _ in 0..1_000 {
        entries.next().await.expect("an entry").expect("a list");
    }
    assert_eq!((store.requests() - before).list(), 1);
    entries.next().await.expect("an entry").expect("a list");
    assert_eq!((store.requests() - before).list(), 2);
}

#[tokio::test]
async fn a_url_of_no_known_form_is_told_the_forms() {
    let error = Store::open("ftp://u:secret@x/y", SystemEnv::shared()).await.expect_err("unknown");
    let message = error.to_string();
    assert!(
        message.contains("s3://BUCKET/PREFIX") && message.contains("embedded:DIR"),
        "{message}"
    );
    assert!(!message.contains("secret"), "{message}");
}

#[tokio::test]
async fn a_directory_that_can_not_be_made_is_named() {
    let file = tempfile::NamedTempFile::new().expect("a file");
    for scheme in ["embedded:", "file://"] {
        let url = format!("{scheme}{}/below", file.path().display());
        let error = Store::open(&url, SystemEnv::shared()).await.expect_err("is a file");
        assert!(error.to_string().contains("/below can not be created"), "{error}");
    }
}

#[tokio::test]
async fn a_bucket_is_opened_without_a_request() {
    for url in ["s3://orders/a", "gs://orders/a", "az://orders/a"] {
        let opened = Store::open(url, SystemEnv::shared()).await;
        // Google and Azure name the account in their variables, and say so when they are missing.
        if let Err(error) = opened {
            assert!(!url.starts_with("s3"), "{error}");
            assert!(error.to_string().contains(url), "{error}");
        }
    }
}

/// What the probe says of a store with this fault.
async fn probe_of(rule: Rule) -> (Check, String) {
    let faulty = FaultyStore::over(Arc::new(InMemory::new()));
    faulty.plan(rule);
    let store = Store::wrap(faulty.objects(), SHARED, "s3://orders/a");
    let error = probe(&store, &SystemEnv).await.expect_err("the store is refused");
    let message = error.to_string();
    let ProbeError::Unfit { check, .. } = error else { panic!("{message}") };
    let left: Vec<_> = store.objects().list(None).collect().await;
    assert!(left.is_empty(), "the probe leaves {left:?}");
    (check, message)
}

#[tokio::test]
async fn a_store_that_ignores_the_condition_is_refused_by_name() {
    let (check, message) =
        probe_of(Rule::on(Op::Put, "probe/", Fault::IgnoreCondition).always()).await;
    assert_eq!(check, Check::Race);
    assert!(message.contains("s3://orders/a would lose data"), "{message}");
    assert!(message.contains("32-way race"), "{message}");
}

#[tokio::test]
async fn a_store_that_lets_two_racers_win_is_refused() {
    let two = Rule::on(Op::Put, "probe/", Fault::IgnoreCondition).skip(1).times(2);
    let (check, message) = probe_of(two).await;
    assert_eq!(check, Check::Race);
    assert!(message.contains("2 of 32 puts-if-absent of one key won"), "{message}");
}

#[tokio::test]
async fn a_store_that_lets_two_win_only_in_the_last_race_is_refused() {
    let two = Rule::on(Op::Put, "probe/", Fault::IgnoreCondition).skip(1 + 3 * 32).times(2);
    let (check, message) = probe_of(two).await;
    assert_eq!(check, Check::Race);
    assert!(message.contains("2 of 32 puts-if-absent of one key won"), "{message}");
}

#[tokio::test]
async fn a_store_that_overwrites_only_later_is_refused() {
    let last = Rule::on(Op::Put, "probe/", Fault::IgnoreCondition).skip(1 + 4 * 32);
    let (check, message) = probe_of(last).await;
    assert_eq!(check, Check::RejectCreate, "{message}");
    assert!(message.contains("\"reject create\""), "{message}");
}

#[tokio::test]
async fn a_store_that_refuses_a_write_and_applies_it_is_refused() {
    let ignoring = FaultyStore::over(Arc::new(InMemory::new()));
    ignoring.plan(Rule::on(Op::Put, "probe/", Fault::IgnoreCondition).skip(1 + 4 * 32));
    let lying = FaultyStore::over(ignoring.objects());
    lying.plan(Rule::on(Op::Put, "probe/", Fault::OwnAlreadyExists).skip(1 + 4 * 32));
    let store = Store::wrap(lying.objects(), SHARED, "s3://orders/a");
    let error = probe(&store, &SystemEnv).await.expect_err("the store is refused");
    let ProbeError::Unfit { check: Check::RejectCreate, detail, .. } = error else {
        panic!("{error}")
    };
    assert_eq!(detail, "a refused put-if-absent replaced the object");
}

#[tokio::test]
async fn a_store_that_shows_writes_late_is_refused() {
    let (check, _) = probe_of(Rule::on(Op::Get, "probe/", Fault::ShowNothing)).await;
    assert_eq!(check, Check::Read);
    let (check, message) = probe_of(Rule::on(Op::List, "probe/", Fault::ShowNothing)).await;
    assert_eq!(check, Check::List);
    assert!(message.contains("list after put"), "{message}");
}

#[tokio::test]
async fn a_probe_outlives_short_trouble() {
    let faulty = FaultyStore::over(Arc::new(InMemory::new()));
    faulty.plan(Rule::on(Op::Put, "probe/", Fault::Fail).times(2));
    faulty.plan(Rule::on(Op::Put, "probe/", Fault::LoseReply));
    // The whole first race is answered with conflicts, as S3 may do.
    faulty.plan(Rule::on(Op::Put, "probe/", Fault::Conflict).times(32).skip(1));
    let store = Store::wrap(faulty.objects(), EXCLUSIVE, "faulty:");
    probe(&store, &OtherClock::default()).await.expect("the store is fit");
}

#[tokio::test]
async fn a_store_that_does_not_answer_is_no_unfit_one() {
    let faulty = FaultyStore::over(Arc::new(InMemory::new()));
    faulty.plan(Rule::on(Op::Put, "probe/", Fault::Fail).always());
    let store = Store::wrap(faulty.objects(), EXCLUSIVE, "s3://orders/a");
    let error = probe(&store, &OtherClock::default()).await.expect_err("does not answer");
    assert!(matches!(error, ProbeError::Unreachable { .. }), "{error}");
    assert!(error.to_string().starts_with("s3://orders/a does not answer"), "{error}");
}

/// A clock that is `ahead` of the one that stamps the objects, and waits for nothing.
#[derive(Debug, Default)]
struct OtherClock {
    ahead: Duration,
}

impl Env for OtherClock {
    fn now(&self) -> Timestamp {
        SystemEnv.now().after(self.ahead)
    }

    fn uptime(&self) -> Duration {
        SystemEnv.uptime()
    }

    fn sleep(&self, _duration: Duration) -> BoxFuture<'static, ()> {
        Box::pin(std::future::ready(()))
    }

    fn random(&self) -> u128 {
        SystemEnv.random()
    }
}

#[tokio::test]
async fn clocks_that_differ_are_reported_and_over_a_minute_refused() {
    let store = Store::wrap(Arc::new(InMemory::new()), SHARED, "s3://orders/a");
    let ten = OtherClock { ahead: Duration::from_secs(10) };
    let report = probe(&store, &ten).await.expect("ten seconds are borne");
    assert!(report.is_skewed(), "{report:?}");
    assert!((-10_000..-8_900).contains(&report.clock_ahead_millis), "{report:?}");

    let seventy = OtherClock { ahead: Duration::from_secs(70) };
    let error = probe(&store, &seventy).await.expect_err("seventy are not");
    assert!(matches!(error, ProbeError::Skew { millis: ..-60_000, .. }), "{error}");
}

#[tokio::test]
async fn comparing_the_clocks_alone_finds_the_same_for_four_requests_and_leaves_nothing() {
    let store = Store::wrap(Arc::new(InMemory::new()), SHARED, "s3://orders/a");
    let ten = OtherClock { ahead: Duration::from_secs(10) };
    let report = compare_clocks(&store, &ten).await.expect("ten seconds are borne");
    assert!(report.is_skewed(), "{report:?}");
    let seventy = OtherClock { ahead: Duration::from_secs(70) };
    let before = store.requests();
    let error = compare_clocks(&store, &seventy).await.expect_err("seventy are not");
    assert!(matches!(error, ProbeError::Skew { millis: ..-60_000, .. }), "{error}");
    let cost = store.requests() - before;
    assert_eq!((cost.put(), cost.get(), cost.list(), cost.delete()), (1, 2, 0, 1), "{cost}");
    assert_eq!(list(&store, "probe", None).await, [""; 0]);
}

/// A clock 100 s ahead, of a process that stood still for 700 s right after it first looked.
#[derive(Debug, Default)]
struct StoodStill {
    has_looked: AtomicBool,
}

impl Env for StoodStill {
    fn now(&self) -> Timestamp {
        let ahead = SystemEnv.now().after(Duration::from_secs(100));
        if self.has_looked.swap(true, Ordering::Relaxed) {
            return ahead;
        }
        Timestamp::from_millis(ahead.as_millis() - 700_000)
    }

    fn uptime(&self) -> Duration {
        SystemEnv.uptime()
    }

    fn sleep(&self, _duration: Duration) -> BoxFuture<'static, ()> {
        Box::pin(std::future::ready(()))
    }

    fn random(&self) -> u128 {
        SystemEnv.random()
    }
}

#[tokio::test]
async fn clocks_are_compared_again_when_the_process_stood_still_meanwhile() {
    let store = Store::wrap(Arc::new(InMemory::new()), SHARED, "s3://orders/a");
    let error = probe(&store, &StoodStill::default()).await.expect_err("100 s ahead");
    assert!(matches!(error, ProbeError::Skew { millis: ..-60_000, .. }), "{error}");
}

#[tokio::test]
async fn a_wrapped_store_keeps_its_traits() {
    let traits = Traits { exclusive: true, ..Traits::NONE };
    let objects = Arc::new(InMemory::new());
    let store = Store::wrap(objects, traits, "test:");
    assert_eq!((store.is_ordered(), store.is_exclusive(), store.url()), (false, true, "test:"));
}

#[tokio::test]
async fn a_bucket_that_does_not_exist_is_told() {
    let Some(bucket) = bucket() else { return };
    let (scheme, _) = bucket.split_once("://").expect("a URL");
    let store = open(&format!("{scheme}://missing-{:032x}", SystemEnv.random())).await;
    let error = probe(&store, &SystemEnv).await.expect_err("there is none");
    assert!(matches!(error, ProbeError::Missing { .. }), "{error:?}");
    assert!(error.to_string().contains("does not exist; create it"), "{error}");
}

/// A faulty store over an empty one, and what is really in it.
fn faulty() -> (Arc<InMemory>, FaultyStore) {
    let real = Arc::new(InMemory::new());
    (Arc::clone(&real), FaultyStore::over(real))
}

async fn holds(real: &InMemory, at: &str) -> bool {
    real.head(&key(at)).await.is_ok()
}

#[tokio::test]
async fn faults_apply_a_write_when_they_say() {
    let (real, faulty) = faulty();
    let cases = [
        (Fault::Fail, false, false),
        (Fault::LoseReply, true, false),
        (Fault::OwnAlreadyExists, true, true),
        (Fault::Conflict, false, true),
        (Fault::ApplyLate, false, false),
    ];
    for (fault, applied, already) in cases {
        let at = format!("run/{fault:?}");
        faulty.plan(Rule::on(Op::Put, "run/", fault));
        let error = create(&faulty, &at, "").await.expect_err("a fault");
        assert_eq!(holds(&real, &at).await, applied, "{fault:?}");
        assert_eq!(matches!(error, Error::AlreadyExists { .. }), already, "{fault:?}: {error}");
    }
    assert_eq!(faulty.held(), 1);
    faulty.release().await;
    assert!(holds(&real, "run/ApplyLate").await, "a late write is applied by release");
    create(&faulty, "run/next", "").await.expect("the rules are used up");
    faulty.plan(Rule::on(Op::Put, "run/", Fault::Hang));
    let hung = create(&faulty, "run/hung", "");
    assert!(futures::FutureExt::now_or_never(hung).is_none(), "a hanging put answers");
}

#[tokio::test]
async fn a_crash_ends_all_requests_after_the_given_one() {
    let (real, faulty) = faulty();
    faulty.crash_after(1);
    create(&faulty, "run/1", "").await.expect("is served");
    create(&faulty, "run/2", "").await.expect_err("the process is dead");
    faulty.get(&key("run/1")).await.expect_err("the process is dead");
    assert!(holds(&real, "run/1").await && !holds(&real, "run/2").await && faulty.is_crashed());

    faulty.heal();
    faulty.crash_within(1);
    create(&faulty, "run/3", "").await.expect_err("it died before it read the reply");
    create(&faulty, "run/4", "").await.expect_err("the process is dead");
    assert!(holds(&real, "run/3").await && !holds(&real, "run/4").await);

    let asked: Vec<String> =
        faulty.log().into_iter().map(|(op, at)| format!("{op:?} {at}")).collect();
    assert_eq!(asked, ["Put run/1", "Put run/2", "Get run/1", "Put run/3", "Put run/4"]);
}
