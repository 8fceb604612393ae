//! The embedded store against crashes: kill -9, torn journals, changed bytes, a second owner.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    os::unix::fs::FileExt,
    path::{Path as FilePath, PathBuf},
    process::{Command, Stdio},
};

use futures::{TryStreamExt, future::join_all};
use lazarus::{
    env::SystemEnv,
    store::{OpenError, Store},
};
use object_store::{ObjectStoreExt, PutMode, PutOptions, path::Path};

/// Set for the test binary when it is started as the process that gets killed.
const CHILD: &str = "LAZARUS_TEST_EMBEDDED_CHILD";

async fn try_open(directory: &FilePath) -> Result<Store, OpenError> {
    Store::open(&format!("embedded:{}", directory.display()), SystemEnv::shared()).await
}

async fn open(directory: &FilePath) -> Store {
    try_open(directory).await.expect("the store opens")
}

fn key(number: usize) -> Path {
    Path::parse(format!("run/{number:06}")).expect("a key")
}

fn body(number: usize) -> String {
    format!("body {number} ").repeat(20)
}

async fn create(store: &Store, number: usize) {
    let only_new = PutOptions::from(PutMode::Create);
    let put = store.commits().put_opts(&key(number), body(number).into(), only_new).await;
    put.expect("is created");
}

async fn keys(store: &Store) -> Vec<Path> {
    let entries = store.objects().list(None);
    entries.map_ok(|entry| entry.location).try_collect().await.expect("a list")
}

/// The part of a new journal that the tests fill; 64 MiB of zeros follow.
fn head(journal: &FilePath) -> Vec<u8> {
    let mut bytes = Vec::new();
    let file = fs::File::open(journal).expect("the journal");
    file.take(64 << 10).read_to_end(&mut bytes).expect("is read");
    bytes
}

/// Writes `bytes` into the journal, as the disk may after a power cut.
fn overwrite(journal: &FilePath, at: usize, bytes: &[u8]) {
    let file = fs::OpenOptions::new().write(true).open(journal).expect("the journal");
    file.write_all_at(bytes, at as u64).expect("is written");
}

/// The newest journal, and where its data ends.
fn journal(directory: &FilePath) -> (PathBuf, usize) {
    let files = fs::read_dir(directory.join("objects")).expect("a directory");
    let paths = files.map(|file| file.expect("an entry").path());
    let journals = paths.filter(|path| path.extension().is_some_and(|end| end == "jnl"));
    let newest = journals.max().expect("a journal");
    let bytes = head(&newest);
    let end = bytes.iter().rposition(|byte| *byte != 0).expect("some data") + 1;
    (newest, end)
}

/// A store with ten objects, each its own batch; closed.
async fn ten_objects() -> tempfile::TempDir {
    let directory = tempfile::tempdir().expect("a directory");
    let store = open(directory.path()).await;
    for number in 0..10 {
        create(&store, number).await;
    }
    directory
}

async fn expect_objects(directory: &FilePath, count: usize) {
    let store = open(directory).await;
    assert_eq!(keys(&store).await, (0..count).map(key).collect::<Vec<_>>());
    for number in 0..count {
        let found = store.objects().get(&key(number)).await.expect("is there");
        assert_eq!(found.bytes().await.expect("its body"), body(number));
    }
    // What was cut off can be written again, and survives in its turn.
    create(&store, count).await;
    drop(store);
    assert_eq!(keys(&open(directory).await).await.len(), count + 1);
}

#[tokio::test]
async fn everything_is_there_after_a_reopen() {
    let directory = ten_objects().await;
    expect_objects(directory.path(), 10).await;
}

#[tokio::test]
async fn a_tail_cut_short_loses_the_last_batch_only() {
    for cut in [1, 5, 40, 200] {
        let directory = ten_objects().await;
        let (journal, end) = journal(directory.path());
        let file = fs::OpenOptions::new().write(true).open(journal).expect("the journal");
        file.set_len((end - cut) as u64).expect("is cut");
        expect_objects(directory.path(), 9).await;
    }
}

#[tokio::test]
async fn a_page_lost_within_the_last_batch_loses_that_batch_only() {
    // The end of the batch reached the disk, an earlier part did not: zeros, or what was there.
    for (from_end, garbage) in
        [(60, &[0; 30][..]), (120, b"garbage of a previous life"), (203, &[255])]
    {
        let directory = ten_objects().await;
        let (journal, end) = journal(directory.path());
        overwrite(&journal, end - from_end, garbage);
        expect_objects(directory.path(), 9).await;
    }
}

#[tokio::test]
async fn garbage_behind_the_last_batch_loses_nothing() {
    for garbage in
        [&[1; 64][..], &[2, 0, 0, 0xff, 0xff, 0xff], b"\x01\x01\x00\x00\x00 a start without an end"]
    {
        let directory = ten_objects().await;
        let (journal, end) = journal(directory.path());
        overwrite(&journal, end, garbage);
        expect_objects(directory.path(), 10).await;
    }
}

#[tokio::test]
async fn a_byte_changed_in_synced_data_is_reported_and_not_cut_off() {
    let directory = ten_objects().await;
    let (journal, end) = journal(directory.path());
    let changed = head(&journal)[end / 2] ^ 1;
    overwrite(&journal, end / 2, &[changed]);
    let bytes = head(&journal);
    let error = try_open(directory.path()).await.expect_err("is refused");
    assert!(matches!(error, OpenError::Damaged { .. }), "{error}");
    assert!(error.to_string().contains("0.jnl is broken at byte"), "{error}");
    assert!(head(&journal) == bytes, "the journal was changed");
}

#[tokio::test]
async fn a_store_whose_creation_was_killed_is_begun_anew() {
    let directory = tempfile::tempdir().expect("a directory");
    drop(open(directory.path()).await);
    // As after a kill between the engine's first files and our mark.
    fs::remove_file(directory.path().join("format")).expect("the mark is there");
    fs::remove_file(directory.path().join("objects/version")).expect("the engine's mark is there");
    create(&open(directory.path()).await, 0).await;
    expect_objects(directory.path(), 1).await;
}

#[tokio::test]
async fn a_store_with_objects_is_never_begun_anew() {
    let directory = ten_objects().await;
    fs::remove_file(directory.path().join("format")).expect("the mark is there");
    let error = try_open(directory.path()).await.expect_err("is refused");
    assert!(error.to_string().contains("`format` is gone"), "{error}");
    fs::write(directory.path().join("format"), "lazarus embedded store 1\n").expect("is written");
    expect_objects(directory.path(), 10).await;
}

#[tokio::test]
async fn a_newer_format_is_refused() {
    let directory = ten_objects().await;
    fs::write(directory.path().join("format"), "lazarus embedded store 2\n").expect("is written");
    let error = try_open(directory.path()).await.expect_err("is refused");
    assert!(error.to_string().contains("embedded store 2"), "{error}");
}

#[tokio::test]
async fn a_second_owner_is_refused_until_the_first_has_left() {
    let directory = tempfile::tempdir().expect("a directory");
    let first = open(directory.path()).await;
    let error = try_open(directory.path()).await.expect_err("is refused").to_string();
    let pid = std::process::id().to_string();
    assert!(error.contains(&format!("in use by the process {pid};")), "{error}");
    drop(first);
    drop(open(directory.path()).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tables_and_journals_are_replaced_under_load() {
    // Three memtables' worth: journals are sealed and tables written in the background.
    let directory = tempfile::tempdir().expect("a directory");
    let store = open(directory.path()).await;
    let chunk = "x".repeat(64 << 10);
    for round in 0..12 {
        let puts = (0..32).map(|n| {
            let body = format!("{round} {n} {chunk}");
            let at = key(round * 32 + n);
            let store = &store;
            async move { store.objects().put(&at, body.into()).await }
        });
        join_all(puts).await.into_iter().for_each(|put| drop(put.expect("is put")));
    }
    let deleted: Vec<Path> = {
        let every_third = (0..384).step_by(3).map(|number| Ok(key(number)));
        let keys = Box::pin(futures::stream::iter(every_third.collect::<Vec<_>>()));
        store.objects().delete_stream(keys).try_collect().await.expect("are deleted")
    };
    drop(store);
    let store = open(directory.path()).await;
    assert_eq!(keys(&store).await.len(), 384 - deleted.len());
    let found = store.objects().get(&key(383)).await.expect("is there");
    assert!(found.bytes().await.expect("its body").starts_with(b"11 31 xxx"));
}

/// Writes until it is killed, and prints each number once it is acknowledged.
#[tokio::test]
async fn child_that_writes_until_it_is_killed() {
    let Some(directory) = std::env::var_os(CHILD) else { return };
    let store = open(FilePath::new(&directory)).await;
    let first = keys(&store).await.len();
    for number in first.. {
        create(&store, number).await;
        writeln!(std::io::stdout(), "acknowledged {number}").expect("the parent reads");
    }
}

#[tokio::test]
async fn nothing_acknowledged_is_lost_by_kill_9() {
    let directory = tempfile::tempdir().expect("a directory");
    for round in 1..=3 {
        let mut child = Command::new(std::env::current_exe().expect("this binary"))
            .args(["--exact", "child_that_writes_until_it_is_killed", "--nocapture"])
            .env(CHILD, directory.path())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the child starts");
        let mut lines = BufReader::new(child.stdout.take().expect("its output")).lines();
        let mut last = None;
        for line in lines.by_ref() {
            let line = line.expect("a line");
            let Some(number) = line.rsplit_once("acknowledged ").map(|(_, number)| number) else {
                continue;
            };
            last = number.parse::<usize>().ok();
            if last.is_some_and(|last| last >= round * 20) {
                break;
            }
        }
        let error = try_open(directory.path()).await.expect_err("the child owns it").to_string();
        assert!(error.contains(&format!("the process {};", child.id())), "{error}");
        child.kill().expect("is killed");
        child.wait().expect("is gone");

        let store = open(directory.path()).await;
        let found = keys(&store).await;
        assert!(found.len() > last.expect("something was acknowledged"), "lost: {found:?}");
        assert_eq!(found, (0..found.len()).map(key).collect::<Vec<_>>());
    }
}
