//! The push queues of a store: `push/{ns}/{queue}`, one small object each.
//!
//! What is in memory is at most [`AGE`] old, and is looked at in its stead; nothing on the way of a
//! commit reads one. Where one process owns the store, what it remembers is the truth.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use futures::TryStreamExt;
use object_store::{ObjectMeta, ObjectStoreExt, PutPayload, path::Path};
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use super::PushQueue;
use crate::{
    log::{self, Key},
    store::Store,
    workflow::{Namespace, Timestamp},
};

/// How old what is remembered may be.
pub const AGE: Duration = Duration::from_secs(30);
/// The version of the document.
const VERSION: u32 = 1;

/// The object of one queue.
#[derive(Debug, Serialize, Deserialize)]
struct Document {
    v: u32,
    /// When it was last set.
    changed: Timestamp,
    /// All other fields: no other version's may be among them.
    #[serde(flatten)]
    queue: serde_json::Value,
}

/// What is read of any version of it.
#[derive(Debug, Deserialize)]
struct Head {
    v: u32,
}

/// What tells one version of an object from another.
type Tag = (Option<String>, Timestamp, u64);

#[derive(Debug, Default)]
struct Known {
    read: Option<Timestamp>,
    /// By key, so that queues are served in one order; none: an object that is no queue.
    queues: BTreeMap<Path, (Tag, Option<SetQueue>)>,
}

/// A queue, and when it was set.
pub type SetQueue = (Arc<PushQueue>, Timestamp);

/// The push queues of a store.
#[derive(Debug)]
pub struct Queues {
    store: Store,
    known: Mutex<Known>,
    changed: Notify,
}

impl Queues {
    /// Knows none yet.
    pub fn new(store: Store) -> Self {
        Self { store, known: Mutex::default(), changed: Notify::new() }
    }

    /// Every queue of every namespace, as it was at most [`AGE`] ago. Costs nothing while it is known,
    /// else 1 LIST and 1 GET for each object that has changed.
    ///
    /// # Errors
    ///
    /// [`log::Error::Unavailable`]: ask again; what was known stays known.
    pub async fn all(&self, now: Timestamp) -> Result<Vec<SetQueue>, log::Error> {
        if self.is_due(now) {
            self.read(now).await?;
        }
        let known = self.lock();
        Ok(known.queues.values().filter_map(|(_, queue)| queue.clone()).collect())
    }

    /// Whether [`Queues::all`] would ask the store now.
    pub fn is_due(&self, now: Timestamp) -> bool {
        self.lock().read.is_none_or(|read| !self.store.is_exclusive() && now.since(read) >= AGE)
    }

    /// One queue as it is in the store, and when it was set. Costs 1 GET.
    ///
    /// # Errors
    ///
    /// * [`log::Error::Unavailable`]: ask again.
    /// * [`log::Error::TooNew`], [`log::Error::Corrupt`]: the object is not one of this version.
    pub async fn get(
        &self,
        namespace: &Namespace,
        name: &str,
    ) -> Result<Option<SetQueue>, log::Error> {
        self.fetch(&key(namespace, name).path()).await
    }

    /// Sets a queue, which must have been checked; whoever comes last counts. Costs 1 PUT.
    ///
    /// # Errors
    ///
    /// [`log::Error::Unavailable`]: it may be set; set it again.
    pub async fn put(&self, queue: &PushQueue, now: Timestamp) -> Result<(), log::Error> {
        let key = key(&queue.namespace, &queue.name);
        let put = self.store.objects().put(&key.path(), PutPayload::from(encode(queue, now))).await;
        put.map_err(|source| log::Error::of_store("write", &key.to_string(), source))?;
        self.look_anew();
        Ok(())
    }

    /// Deletes a queue; what its target has begun goes on. Costs 1 DELETE.
    ///
    /// # Errors
    ///
    /// [`log::Error::Unavailable`]: it may be deleted; delete it again.
    pub async fn delete(&self, namespace: &Namespace, name: &str) -> Result<(), log::Error> {
        let key = key(namespace, name);
        match self.store.objects().delete(&key.path()).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => {
                self.look_anew();
                Ok(())
            }
            Err(source) => Err(log::Error::of_store("write", &key.to_string(), source)),
        }
    }

    /// Resolves once this process has set or deleted a queue since it was last asked.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    /// What was known counts no more: the next look asks the store.
    pub fn forget(&self) {
        self.lock().read = None;
    }

    fn look_anew(&self) {
        self.forget();
        self.changed.notify_one();
    }

    async fn read(&self, now: Timestamp) -> Result<(), log::Error> {
        let prefix = Key::push_prefix();
        let listed = self.store.objects().list(Some(&prefix));
        let listed: Vec<ObjectMeta> = listed
            .try_collect()
            .await
            .map_err(|source| log::Error::of_store("list", prefix.as_ref(), source))?;
        let mut queues = BTreeMap::new();
        for object in listed {
            let (path, tag) = (object.location.clone(), tag(&object));
            let known = self.lock().queues.get(&path).filter(|(known, _)| *known == tag).cloned();
            let entry = match known {
                Some(known) => known,
                None => (tag, self.fetch_or_report(&path).await?),
            };
            queues.insert(path, entry);
        }
        let mut known = self.lock();
        known.queues = queues;
        known.read = Some(now);
        Ok(())
    }

    /// The queue at `path`; none, and a word to the operator, where there is none that can be read.
    async fn fetch_or_report(&self, path: &Path) -> Result<Option<SetQueue>, log::Error> {
        match self.fetch(path).await {
            Ok(found) => Ok(found),
            Err(error @ (log::Error::TooNew { .. } | log::Error::Corrupt { .. })) => {
                tracing::error!(%error, "a push queue can not be read; it is not served");
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    async fn fetch(&self, path: &Path) -> Result<Option<SetQueue>, log::Error> {
        let unread = |source| log::Error::of_store("read", path.as_ref(), source);
        let body = match self.store.objects().get(path).await {
            Ok(body) => body.bytes().await.map_err(unread)?,
            Err(object_store::Error::NotFound { .. }) => return Ok(None),
            Err(source) => return Err(unread(source)),
        };
        decode(path, &body).map(Some)
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().expect("BUG: a thread panicked while it held the push queues")
    }
}

fn key(namespace: &Namespace, name: &str) -> Key {
    Key::Push { namespace: namespace.clone(), queue: name.to_owned() }
}

fn tag(object: &ObjectMeta) -> Tag {
    let modified = u64::try_from(object.last_modified.timestamp_millis()).unwrap_or_default();
    (object.e_tag.clone(), Timestamp::from_millis(modified), object.size)
}

fn encode(queue: &PushQueue, changed: Timestamp) -> Vec<u8> {
    let queue = serde_json::to_value(queue).expect("BUG: a queue does not serialize");
    let document = Document { v: VERSION, changed, queue };
    serde_json::to_vec(&document).expect("BUG: a queue does not serialize")
}

/// Reads an object, which may hold anything.
fn decode(path: &Path, body: &[u8]) -> Result<SetQueue, log::Error> {
    let key = path.to_string();
    let corrupt = |fault: String| log::Error::Corrupt { key: key.clone(), fault };
    let head: Head = serde_json::from_slice(body).map_err(|error| corrupt(error.to_string()))?;
    if head.v > VERSION {
        let fault = format!("version {} of a push queue", head.v);
        return Err(log::Error::TooNew { key, fault });
    }
    let document: Document =
        serde_json::from_slice(body).map_err(|error| corrupt(error.to_string()))?;
    let queue: PushQueue =
        serde_json::from_value(document.queue).map_err(|error| corrupt(error.to_string()))?;
    queue.check().map_err(|fault| corrupt(fault.to_string()))?;
    if self::key(&queue.namespace, &queue.name).path() != *path {
        return Err(corrupt(format!("it is queue {} of {}", queue.name, queue.namespace)));
    }
    Ok((Arc::new(queue), document.changed))
}

#[cfg(test)]
mod tests {
    use object_store::memory::InMemory;

    use super::*;
    use crate::{
        push::queue::tests::queue,
        store::{Operation, Requests, Traits},
    };

    fn shared() -> Store {
        let traits = Traits { ordered: true, ..Traits::NONE };
        Store::wrap(Arc::new(InMemory::new()), traits, "memory")
    }

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_millis(1_764_000_000_000 + 1000 * seconds)
    }

    fn cost(store: &Store, before: &Requests) -> (u64, u64, u64) {
        let cost = store.requests() - *before;
        (cost.of(Operation::List), cost.of(Operation::Get), cost.of(Operation::Put))
    }

    #[tokio::test]
    async fn what_is_known_costs_nothing_for_half_a_minute_and_then_one_list() {
        let store = shared();
        let (here, there) = (Queues::new(store.clone()), Queues::new(store.clone()));
        let pdf = queue("https://pdf.example/");
        there.put(&pdf, at(0)).await.unwrap();
        let before = store.requests();
        assert_eq!(here.all(at(0)).await.unwrap(), [(Arc::new(pdf.clone()), at(0))]);
        assert_eq!(cost(&store, &before), (1, 1, 0));
        let before = store.requests();
        for second in 0..30 {
            here.all(at(second)).await.unwrap();
        }
        assert_eq!(cost(&store, &before), (0, 0, 0));
        here.all(at(30)).await.unwrap();
        assert_eq!(cost(&store, &before), (1, 0, 0), "nothing has changed");
        there.put(&PushQueue { concurrency: 3, ..pdf }, at(31)).await.unwrap();
        let before = store.requests();
        assert_eq!(here.all(at(60)).await.unwrap()[0].0.concurrency, 3);
        assert_eq!(cost(&store, &before), (1, 1, 0));
        there.delete(&Namespace::default(), "pdf").await.unwrap();
        assert_eq!(here.all(at(90)).await.unwrap(), []);
    }

    #[tokio::test]
    async fn who_sets_a_queue_knows_it_at_once() {
        let queues = Queues::new(shared());
        assert_eq!(queues.all(at(0)).await.unwrap(), []);
        let pdf = queue("https://pdf.example/");
        queues.put(&pdf, at(1)).await.unwrap();
        queues.changed().await;
        assert_eq!(queues.all(at(1)).await.unwrap(), [(Arc::new(pdf.clone()), at(1))]);
        let found = queues.get(&Namespace::default(), "pdf").await.unwrap();
        assert_eq!(found, Some((Arc::new(pdf), at(1))));
        assert_eq!(queues.get(&Namespace::default(), "other").await.unwrap(), None);
    }

    #[tokio::test]
    async fn what_is_no_queue_is_passed_over_and_read_once() {
        let store = shared();
        let put = async |key: &str, body: &'static str| {
            store.objects().put(&Path::from(key), body.into()).await.unwrap();
        };
        put("push/default/new", r#"{"v":2,"changed":0,"wings":4}"#).await;
        put("push/default/bad", "{").await;
        put("push/default/moved", r#"{"v":1,"changed":0,"namespace":"default","name":"pdf","target":{"http":{"url":"https://pdf.example/","auth":{"hmac":{"secret":"PDF"}}}},"concurrency":10,"timeout_ms":30000,"breaker_failures":5}"#).await;
        put("push/default/unsafe", r#"{"v":1,"changed":0,"namespace":"default","name":"unsafe","target":{"http":{"url":"http://169.254.169.254/","auth":{"hmac":{"secret":"PDF"}}}},"concurrency":10,"timeout_ms":30000,"breaker_failures":5}"#).await;
        let queues = Queues::new(store.clone());
        let before = store.requests();
        assert_eq!(queues.all(at(0)).await.unwrap(), []);
        assert_eq!(cost(&store, &before), (1, 4, 0));
        assert_eq!(queues.all(at(40)).await.unwrap(), []);
        assert_eq!(cost(&store, &before), (2, 4, 0));
        let namespace = Namespace::default();
        assert!(matches!(
            queues.get(&namespace, "new").await.unwrap_err(),
            log::Error::TooNew { .. }
        ));
        let unsafe_one = queues.get(&namespace, "unsafe").await.unwrap_err().to_string();
        assert!(unsafe_one.contains("is not encrypted"), "{unsafe_one}");
    }
}
