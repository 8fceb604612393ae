//! The one thread that writes: decides put-if-absent, and syncs all writes that wait as one batch.
//!
//! Invariant: an answer, also a refusal, is sent after the batch in which it was decided is synced;
//! otherwise `AlreadyExists` could name an object that a crash takes away.

use std::{
    collections::HashMap,
    sync::{Arc, mpsc},
    thread::{self, JoinHandle},
};

use bytes::Bytes;
use object_store::{Error, PutMode, Result, path::Path};
use tokio::sync::oneshot;

use super::{Along, database::Database, generic, record::Record};
use crate::env::Env;

/// A batch is closed at this many bytes of bodies, so that none holds gigabytes in memory.
const BATCH_BYTES_MAX: usize = 8 << 20;

/// What a write does to its key.
#[derive(Debug)]
pub(super) enum Change {
    /// `along` is overwritten in the same batch, and only if the put is not refused.
    Put {
        body: Bytes,
        mode: PutMode,
        along: Option<Along>,
    },
    Delete,
}

/// The answer to a write: the new entity tag; none after a delete.
type Answer = Result<Option<String>>;

#[derive(Debug)]
struct Write {
    key: Path,
    change: Change,
    answer: oneshot::Sender<Answer>,
}

impl Write {
    fn bytes(&self) -> usize {
        match &self.change {
            Change::Put { body, along, .. } => {
                body.len() + along.as_ref().map_or(0, |along| along.body.len())
            }
            Change::Delete => 0,
        }
    }
}

/// What the thread is told.
#[derive(Debug)]
enum Message {
    Write(Write),
    Stop,
}

/// Where writes are handed in.
#[derive(Clone, Debug)]
pub(super) struct Sender(mpsc::Sender<Message>);

impl Sender {
    /// Writes, and returns when the write is on the disk or refused.
    ///
    /// Dropping the future does not take the write back.
    pub(super) async fn commit(&self, key: Path, change: Change) -> Answer {
        let (answer, answered) = oneshot::channel();
        let gone = || generic("the embedded store is closed".into());
        self.0.send(Message::Write(Write { key, change, answer })).map_err(|_| gone())?;
        answered.await.map_err(|_| gone())?
    }
}

/// The running thread; dropping it waits for the writes handed in so far, but not on a broken store,
/// whose engine may hold up a write for ever.
#[derive(Debug)]
pub(super) struct Committer {
    database: Arc<Database>,
    sender: Sender,
    thread: Option<JoinHandle<()>>,
}

impl Committer {
    pub(super) fn start(database: Arc<Database>, env: Arc<dyn Env>) -> Self {
        let (sender, messages) = mpsc::channel();
        let written = Arc::clone(&database);
        let thread = thread::Builder::new()
            .name("embedded-commit".to_owned())
            .spawn(move || run(&written, &*env, &messages))
            .expect("a thread can be started");
        Self { database, sender: Sender(sender), thread: Some(thread) }
    }

    pub(super) fn sender(&self) -> Sender {
        self.sender.clone()
    }

    pub(super) async fn commit(&self, key: Path, change: Change) -> Answer {
        self.sender.commit(key, change).await
    }
}

impl Drop for Committer {
    fn drop(&mut self) {
        // A message and not a closed channel: a delete stream that is still held has a sender too.
        let stopped = self.sender.0.send(Message::Stop).is_err();
        if self.database.health().is_broken() {
            return;
        }
        let joined = self.thread.take().map(JoinHandle::join);
        if stopped || joined.is_some_and(|joined| joined.is_err()) {
            tracing::error!("the committer of the embedded store had ended before its time");
        }
    }
}

fn run(database: &Database, env: &dyn Env, messages: &mpsc::Receiver<Message>) {
    while let Ok(Message::Write(first)) = messages.recv() {
        let mut bytes = first.bytes();
        let mut batch = vec![first];
        let mut stop = false;
        while bytes < BATCH_BYTES_MAX && !stop {
            match messages.try_recv() {
                Ok(Message::Write(next)) => {
                    bytes += next.bytes();
                    batch.push(next);
                }
                Ok(Message::Stop) => stop = true,
                Err(_) => break,
            }
        }
        apply(database, env, batch);
        if stop {
            return;
        }
    }
}

/// Decides, syncs and answers one batch.
fn apply(database: &Database, env: &dyn Env, batch: Vec<Write>) {
    let mut staged = Staged { database, changed: HashMap::new() };
    let decided: Vec<_> = batch
        .into_iter()
        .map(|write| {
            let decision = staged.decide(&write.key, write.change, env);
            (write.answer, decision)
        })
        .collect();
    let synced = database.write(staged.changed);
    for (answer, decision) in decided {
        let outcome = match &synced {
            Ok(()) => decision,
            Err(unwritten) => Err(unwritten.clone().into()),
        };
        // Whoever gave up waiting does not need the answer.
        drop(answer.send(outcome));
    }
}

/// The store as it will be after the batch.
struct Staged<'a> {
    database: &'a Database,
    changed: HashMap<Path, Option<Record>>,
}

impl Staged<'_> {
    fn decide(&mut self, key: &Path, change: Change, env: &dyn Env) -> Answer {
        match change {
            Change::Put { body, mode, along } => {
                self.check(key, mode)?;
                let modified = env.now();
                if let Some(Along { key, body }) = along {
                    self.changed.insert(key, Some(Record { modified, body }));
                }
                let record = Record { modified, body };
                let e_tag = record.e_tag();
                self.changed.insert(key.clone(), Some(record));
                Ok(Some(e_tag))
            }
            Change::Delete => {
                // No tombstone for what is not there.
                if self.exists(key)? {
                    self.changed.insert(key.clone(), None);
                }
                Ok(None)
            }
        }
    }

    fn check(&self, key: &Path, mode: PutMode) -> Result<()> {
        let path = || key.to_string();
        match mode {
            PutMode::Overwrite => Ok(()),
            PutMode::Create if !self.exists(key)? => Ok(()),
            PutMode::Create => {
                Err(Error::AlreadyExists { path: path(), source: "put-if-absent".into() })
            }
            PutMode::Update(expected) => {
                let found = match self.changed.get(key) {
                    Some(staged) => staged.clone(),
                    None => self.database.get(key)?,
                };
                let found = found.map(|record| record.e_tag());
                if found.is_some() && found == expected.e_tag {
                    return Ok(());
                }
                Err(Error::Precondition { path: path(), source: "another entity tag".into() })
            }
        }
    }

    fn exists(&self, key: &Path) -> Result<bool> {
        match self.changed.get(key) {
            Some(staged) => Ok(staged.is_some()),
            None => self.database.contains(key),
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::future::join_all;
    use object_store::UpdateVersion;

    use super::*;
    use crate::{env::SystemEnv, store::embedded::journal};

    fn put(body: &'static str, mode: PutMode) -> Change {
        Change::Put { body: Bytes::from_static(body.as_bytes()), mode, along: None }
    }

    fn staged(database: &Database) -> Staged<'_> {
        Staged { database, changed: HashMap::new() }
    }

    #[test]
    fn writes_of_one_batch_see_each_other() {
        let directory = tempfile::tempdir().expect("a directory");
        let database = Database::open(directory.path()).expect("opens");
        let key = Path::from("run/1");
        let mut batch = staged(&database);
        let mut decide = |change| batch.decide(&key, change, &SystemEnv);

        let first = decide(put("first", PutMode::Create)).expect("is new");
        let refused = decide(put("second", PutMode::Create)).expect_err("exists in the batch");
        assert!(matches!(refused, Error::AlreadyExists { .. }), "{refused}");
        let known = PutMode::Update(UpdateVersion { e_tag: first, version: None });
        decide(put("third", known.clone())).expect("is the one that was read");
        let refused = decide(put("fourth", known)).expect_err("has changed since");
        assert!(matches!(refused, Error::Precondition { .. }), "{refused}");
        decide(Change::Delete).expect("is deleted");
        decide(put("fifth", PutMode::Create)).expect("is new again");

        database.write(batch.changed).expect("is written");
        let stored = database.get(&key).expect("is read").expect("is there");
        assert_eq!(stored.body, "fifth");
    }

    #[test]
    fn a_delete_of_nothing_writes_nothing() {
        let directory = tempfile::tempdir().expect("a directory");
        let database = Database::open(directory.path()).expect("opens");
        let mut batch = staged(&database);
        batch.decide(&Path::from("run/1"), Change::Delete, &SystemEnv).expect("is deleted");
        assert!(batch.changed.is_empty());
    }

    #[test]
    fn what_goes_along_is_there_with_its_object_and_never_without_it() {
        let directory = tempfile::tempdir().expect("a directory");
        let database = Database::open(directory.path()).expect("opens");
        let mut batch = staged(&database);
        let mut start = |along: &str| {
            let along = Along { key: Path::from(along), body: Bytes::new() };
            let (body, mode) = (Bytes::from_static(b"start"), PutMode::Create);
            let put = Change::Put { body, mode, along: Some(along) };
            batch.decide(&Path::from("id/1"), put, &SystemEnv)
        };
        start("wake/1").expect("is new");
        start("wake/2").expect_err("the object exists");
        let mut changed: Vec<_> = batch.changed.keys().map(Path::to_string).collect();
        changed.sort_unstable();
        assert_eq!(changed, ["id/1", "wake/1"]);
    }

    #[tokio::test]
    async fn writes_that_wait_together_share_a_sync() {
        let directory = tempfile::tempdir().expect("a directory");
        let database = Arc::new(Database::open(directory.path()).expect("opens"));
        let committer = Committer::start(Arc::clone(&database), SystemEnv::shared());
        let puts = (0..400).map(|number| {
            committer.commit(Path::from(format!("run/{number}")), put("", PutMode::Create))
        });
        join_all(puts).await.into_iter().for_each(|put| drop(put.expect("is created")));
        drop((committer, database));

        let batches = journal::cut_torn_tail(&directory.path().join("objects"));
        let batches = batches.expect("is sound");
        assert!((1..100).contains(&batches), "400 writes took {batches} syncs");
    }
}
