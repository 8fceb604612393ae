//! Who the workers are: what they announce, how many tasks they run, when they last came.
//!
//! A record is a hint. It is kept in memory, and written so that other instances and a later start
//! know the worker too; losing one only makes dispatch less picky.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex},
    time::Duration,
};

use futures::TryStreamExt;
use object_store::{ObjectStoreExt, PutPayload};
use serde::{Deserialize, Serialize};

use crate::{
    log::{self, Key},
    store::Store,
    workflow::{Namespace, StepName, Timestamp},
};

/// How often a sign of life is written, at most.
const SEEN_EVERY: Duration = Duration::from_secs(10);
/// How long a worker without a record is not looked up again.
const UNKNOWN_FOR: Duration = Duration::from_secs(10);
/// How many workers are remembered in memory; the ones not seen longest go first.
const WORKERS_MAX: usize = 10_000;

/// A worker as it registered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerRecord {
    /// The namespace.
    pub namespace: Namespace,
    /// The worker's id.
    pub worker: String,
    /// The language it is written in.
    pub language: String,
    /// The version of its SDK.
    pub version: String,
    /// The steps it has, by name; empty: it did not say.
    pub steps: BTreeSet<StepName>,
    /// How many tasks it runs at once; none: it did not say, and is taken to run one.
    pub slots: Option<u32>,
    /// When it last showed a sign of life.
    pub seen: Timestamp,
}

impl WorkerRecord {
    /// Whether it has `step`, as far as it said.
    pub fn announces(&self, step: &str) -> bool {
        self.steps.is_empty() || self.steps.contains(step)
    }

    /// Whether it runs one task at a time, so that a poll means it has dropped the one before.
    pub fn is_one_slot(&self) -> bool {
        self.slots.is_none_or(|slots| slots == 1)
    }

    /// The same but for the sign of life.
    fn is_same(&self, other: &Self) -> bool {
        Self { seen: other.seen, ..self.clone() } == *other
    }
}

/// A worker's name.
type Name = (Namespace, String);

#[derive(Clone, Debug)]
struct Known {
    record: Option<Arc<WorkerRecord>>,
    /// When the record was last written, or looked for in vain.
    written: Timestamp,
}

/// The workers that this instance knows.
#[derive(Debug)]
pub struct Workers {
    store: Store,
    known: Mutex<HashMap<Name, Known>>,
}

impl Workers {
    /// Knows nobody yet.
    pub fn new(store: Store) -> Self {
        Self { store, known: Mutex::default() }
    }

    /// Remembers `record`. Costs 1 PUT when it says something new.
    ///
    /// # Errors
    ///
    /// [`log::Error::Unavailable`]: remembered, but other instances do not know the worker.
    pub async fn register(&self, record: WorkerRecord) -> Result<(), log::Error> {
        let name = (record.namespace.clone(), record.worker.clone());
        let is_same = {
            let known = self.lock();
            let before = known.get(&name).and_then(|known| known.record.clone());
            before.is_some_and(|before| before.is_same(&record))
        };
        let record = Arc::new(record);
        self.remember(name, record.clone(), record.seen);
        if is_same { Ok(()) } else { self.write(&record).await }
    }

    /// Forgets the worker. Costs 1 DELETE.
    ///
    /// # Errors
    ///
    /// [`log::Error::Unavailable`]: forgotten here, but its record is still in the store.
    pub async fn unregister(&self, namespace: &Namespace, worker: &str) -> Result<(), log::Error> {
        let name = (namespace.clone(), worker.to_owned());
        let was_known = self.lock().remove(&name).is_some_and(|known| known.record.is_some());
        if !was_known {
            return Ok(());
        }
        let key = Key::Worker { namespace: namespace.clone(), worker: worker.to_owned() };
        match self.store.objects().delete(&key.path()).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(source) => Err(log::Error::of_store("write", &key.to_string(), source)),
        }
    }

    /// The record of a worker that polls at `now`, which is its sign of life; none: it never
    /// registered, or that is not known here and can not be read now.
    ///
    /// Costs nothing while it is known, but 1 PUT each 10 s where others share the store; 1 GET when
    /// it is not.
    pub async fn polled(
        &self,
        namespace: &Namespace,
        worker: &str,
        now: Timestamp,
    ) -> Option<Arc<WorkerRecord>> {
        let name = (namespace.clone(), worker.to_owned());
        let known = self.lock().get(&name).cloned();
        let is_recent = |known: &Known, span| now.since(known.written) < span;
        match known {
            Some(known) => match known.record.clone() {
                Some(record) if is_recent(&known, SEEN_EVERY) || self.store.is_exclusive() => {
                    Some(record)
                }
                Some(record) => {
                    let record = Arc::new(WorkerRecord { seen: now, ..(*record).clone() });
                    self.remember(name, record.clone(), now);
                    if let Err(error) = Box::pin(self.write(&record)).await {
                        tracing::debug!(worker, %error, "a worker's sign of life was not written");
                    }
                    Some(record)
                }
                None if is_recent(&known, UNKNOWN_FOR) => None,
                None => Box::pin(self.look_up(name, now)).await,
            },
            None => Box::pin(self.look_up(name, now)).await,
        }
    }

    /// Every worker of the namespace that has a record. Costs 1 LIST a 1,000 workers and 1 GET each.
    ///
    /// # Errors
    ///
    /// [`log::Error::Unavailable`]: ask again later.
    pub async fn all(&self, namespace: &Namespace) -> Result<Vec<WorkerRecord>, log::Error> {
        let prefix = Key::workers_prefix(namespace);
        let objects = self.store.objects();
        let unavailable = |source| log::Error::of_store("list", prefix.as_ref(), source);
        let found: Vec<_> = objects.list(Some(&prefix)).try_collect().await.map_err(unavailable)?;
        let mut records = vec![];
        for object in found {
            match objects.get(&object.location).await {
                Ok(body) => {
                    let bytes = body.bytes().await.map_err(unavailable)?;
                    records.extend(serde_json::from_slice::<WorkerRecord>(&bytes).ok());
                }
                Err(object_store::Error::NotFound { .. }) => {}
                Err(source) => return Err(unavailable(source)),
            }
        }
        Ok(records)
    }

    async fn look_up(&self, name: Name, now: Timestamp) -> Option<Arc<WorkerRecord>> {
        let (namespace, worker) = name.clone();
        let key = Key::Worker { namespace, worker };
        let record = match self.store.objects().get(&key.path()).await {
            Ok(body) => {
                body.bytes().await.ok().and_then(|bytes| serde_json::from_slice(&bytes).ok())
            }
            Err(_) => None,
        };
        let record: Option<Arc<WorkerRecord>> = record.map(Arc::new);
        let mut known = self.lock();
        make_room(&mut known, &name);
        // A registration that came meanwhile is newer than what was read.
        let entry = known.entry(name).or_insert(Known { record: None, written: now });
        if entry.record.is_none() {
            *entry = Known { record, written: now };
        }
        entry.record.clone()
    }

    async fn write(&self, record: &WorkerRecord) -> Result<(), log::Error> {
        let (namespace, worker) = (record.namespace.clone(), record.worker.clone());
        let key = Key::Worker { namespace, worker };
        let body = serde_json::to_vec(record).expect("BUG: a worker record does not serialize");
        let put = self.store.objects().put(&key.path(), PutPayload::from(body)).await;
        put.map(|_| ()).map_err(|source| log::Error::of_store("write", &key.to_string(), source))
    }

    fn remember(&self, name: Name, record: Arc<WorkerRecord>, written: Timestamp) {
        let mut known = self.lock();
        make_room(&mut known, &name);
        known.insert(name, Known { record: Some(record), written });
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Name, Known>> {
        self.known.lock().expect("BUG: a thread panicked while it held the workers")
    }
}

/// Forgets the worker not heard of longest, if there is no room for `name`.
fn make_room(known: &mut HashMap<Name, Known>, name: &Name) {
    if known.len() < WORKERS_MAX || known.contains_key(name) {
        return;
    }
    let oldest = known.iter().min_by_key(|(_, known)| known.written);
    if let Some(oldest) = oldest.map(|(name, _)| name.clone()) {
        known.remove(&oldest);
    }
}
