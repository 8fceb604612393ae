//! Offers: durable notes that a run has a task for a queue, for pollers on other instances.
//!
//! An offer is a hint and its body is empty. Whoever claims the task deletes it after the commit;
//! whoever finds one whose task is not open (the log's tail at or past the offer's commit) deletes
//! it too. One listing covers every queue, so that idle cost does not grow with their number.

use std::{collections::HashSet, sync::Mutex, time::Duration};

use futures::{StreamExt, TryStreamExt};
use object_store::{ObjectStoreExt, PutPayload};
use sha2::{Digest, Sha256};

use crate::{
    log::{self, Key},
    store::Store,
    workflow::{Handle, Namespace, Task, Timestamp},
};

/// The shortest time between two listings while pollers wait.
const SCAN_FAST: Duration = Duration::from_millis(100);
/// The longest.
const SCAN_SLOW: Duration = Duration::from_secs(10);
/// How many offers one listing takes, at most: one page.
const SCAN_MAX: usize = 1000;

/// A task on offer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// The run; its seq is the commit that made the task ready.
    pub handle: Handle,
    /// The attempt to begin.
    pub task: Task,
}

impl Offer {
    fn key(&self, shards: u32) -> Key {
        Key::Queue {
            shard: log::shard_of(self.handle.run, shards),
            queue: self.handle.namespace.to_string(),
            step: self.task.step.clone(),
            handle: self.handle.clone(),
            task: (self.task.iteration, self.task.attempt),
        }
    }
}

/// When the next listing is due, how long the pause before it was, and what the last one found.
#[derive(Clone, Debug)]
pub struct Scan {
    next: Timestamp,
    pause: Duration,
    /// By [`Offers::order`].
    seen: HashSet<Vec<u8>>,
}

/// The offers of a store.
#[derive(Debug)]
pub struct Offers {
    store: Store,
    shards: u32,
    /// This instance's own order of claiming, so that instances do not all run at the first offer.
    instance: String,
    scan: Mutex<Scan>,
}

impl Offers {
    /// The offers of `store`, seen from `instance`.
    pub fn new(store: Store, shards: u32, instance: &str) -> Self {
        let scan = Scan { next: Timestamp::default(), pause: SCAN_FAST, seen: HashSet::new() };
        Self { store, shards, instance: instance.to_owned(), scan: Mutex::new(scan) }
    }

    /// Puts `offer`. Costs 1 PUT; repeating it changes nothing.
    ///
    /// # Errors
    ///
    /// [`log::Error::Unavailable`]: may be in; the run's guard offers the task again.
    pub async fn put(&self, offer: &Offer) -> Result<(), log::Error> {
        let key = offer.key(self.shards);
        let put = self.store.objects().put(&key.path(), PutPayload::default()).await;
        put.map(|_| ()).map_err(|source| log::Error::of_store("write", &key.to_string(), source))
    }

    /// Deletes `offer`. Costs 1 DELETE; a failure is left to whoever finds the offer next.
    pub async fn delete(&self, offer: &Offer) {
        let key = offer.key(self.shards);
        if let Err(error) = self.store.objects().delete(&key.path()).await {
            tracing::debug!(%key, %error, "an offer was not deleted");
        }
    }

    /// How long until the next listing is due; zero when it is.
    pub fn pause(&self, now: Timestamp) -> Duration {
        self.lock().next.since(now)
    }

    /// Makes the next listing due at once: something was offered by this instance.
    pub fn hurry(&self) {
        let mut scan = self.lock();
        (scan.next, scan.pause) = (Timestamp::default(), SCAN_FAST);
    }

    /// Makes the next listing due at once, and leaves the pauses after it as they are: somebody begins
    /// to wait who does not know what the last listing found.
    pub fn look_now(&self) {
        self.lock().next = Timestamp::default();
    }

    /// Lists what is on offer in the namespaces that are `wanted`, if a listing is due: of several
    /// callers one lists, for all of them. Costs 1 LIST a shard; the pause before the next doubles
    /// from 100 ms to 10 s while nothing new is found: a task that no poller here can run must not
    /// be listed ten times a second for as long as it waits.
    ///
    /// # Errors
    ///
    /// [`log::Error::Unavailable`]: ask again at the next pause.
    pub async fn scan(
        &self,
        wanted: impl Fn(&Namespace) -> bool,
        now: Timestamp,
    ) -> Result<Vec<Offer>, log::Error> {
        {
            let mut scan = self.lock();
            if scan.next > now {
                return Ok(vec![]);
            }
            scan.next = now.after(scan.pause);
        }
        let mut found = vec![];
        for shard in 0..self.shards {
            found.extend(self.list(shard).await?);
        }
        found.retain(|offer| wanted(&offer.handle.namespace));
        let mut found: Vec<(Vec<u8>, Offer)> =
            found.into_iter().map(|offer| (self.order(&offer), offer)).collect();
        found.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        let mut scan = self.lock();
        let has_new = found.iter().any(|(order, _)| !scan.seen.contains(order));
        scan.seen = found.iter().map(|(order, _)| order.clone()).collect();
        scan.pause = if has_new { SCAN_FAST } else { (scan.pause * 2).min(SCAN_SLOW) };
        scan.next = now.after(scan.pause);
        Ok(found.into_iter().map(|(_, offer)| offer).collect())
    }

    async fn list(&self, shard: u32) -> Result<Vec<Offer>, log::Error> {
        let prefix = Key::queues_prefix(shard);
        let listed = self.store.objects().list(Some(&prefix)).take(SCAN_MAX);
        let found: Vec<_> = listed
            .try_collect()
            .await
            .map_err(|source| log::Error::of_store("list", prefix.as_ref(), source))?;
        let offer = |object: object_store::ObjectMeta| {
            if let Some(Key::Queue { step, handle, task: (iteration, attempt), .. }) =
                Key::parse(&object.location)
            {
                Some(Offer { handle, task: Task { step, iteration, attempt } })
            } else {
                tracing::warn!(key = %object.location, "a key under queue/ can not be read; left alone");
                None
            }
        };
        Ok(found.into_iter().filter_map(offer).collect())
    }

    fn order(&self, offer: &Offer) -> Vec<u8> {
        let text = format!("{} {} {}", self.instance, offer.handle, offer.task);
        Sha256::digest(text.as_bytes()).to_vec()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Scan> {
        self.scan.lock().expect("BUG: a thread panicked while it held the scan")
    }
}
