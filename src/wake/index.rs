//! The wake index in the store: puts, finds, re-arms and deletes entries.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, future, stream::BoxStream};
use object_store::{ObjectMeta, ObjectStoreExt, PutPayload, path::Path};

use super::scan::{self, Range};
use crate::{
    log::{self, Key, shard_of},
    store::{Along, Store},
    workflow::{Attention, Handle, Timestamp, WakeKind},
};

/// How many unreadable keys are remembered, so that each is warned of once.
const WARNED_MAX: usize = 1_000;

/// The entries of a store; cheap to clone.
#[derive(Clone, Debug)]
pub struct WakeIndex {
    store: Store,
    shards: u32,
    warned: Arc<Mutex<HashSet<Path>>>,
}

/// An entry as it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The part of the index that it was found in.
    pub shard: u32,
    /// Timer or guard.
    pub kind: WakeKind,
    /// When the run is to be looked at.
    pub due: Timestamp,
    /// The run; its seq is the commit that the entry belongs to (a guard's epoch).
    pub handle: Handle,
    /// How often looking has failed.
    pub tries: u32,
    /// When it was put, by the store's clock (Last-Modified).
    pub put_at: Timestamp,
}

impl Entry {
    /// What it stands for in the run's state.
    pub fn attention(&self) -> Attention {
        Attention { kind: self.kind, due: self.due, seq: self.handle.seq }
    }

    /// Where it stands.
    pub(super) fn path(&self) -> Path {
        let Self { shard, kind, due, tries, put_at: _, handle } = self;
        let (shard, kind, due, tries) = (*shard, *kind, *due, *tries);
        Key::Wake { shard, kind, due, handle: handle.clone(), tries }.path()
    }

    fn read(object: &ObjectMeta) -> Option<Self> {
        match Key::parse(&object.location)? {
            Key::Wake { shard, kind, due, handle, tries } => {
                let put_at = u64::try_from(object.last_modified.timestamp_millis()).unwrap_or(0);
                let put_at = Timestamp::from_millis(put_at);
                Some(Self { shard, kind, due, handle, tries, put_at })
            }
            Key::Id { .. }
            | Key::Run { .. }
            | Key::Blob { .. }
            | Key::Queue { .. }
            | Key::Blueprint { .. }
            | Key::Worker { .. }
            | Key::Push { .. }
            | Key::Feed { .. }
            | Key::Dead { .. }
            | Key::Layout => None,
        }
    }
}

/// Entries that are due.
#[derive(Clone, Debug, Default)]
pub struct Due {
    /// They, the earliest first.
    pub entries: Vec<Entry>,
    /// Whether there are more that are due after these.
    pub more: bool,
}

impl WakeIndex {
    /// The index of `store`, which `sys/layout.json` says has `shards` parts.
    pub fn new(store: Store, shards: u32) -> Self {
        Self { store, shards, warned: Arc::default() }
    }

    /// How many parts it has.
    pub fn shards(&self) -> u32 {
        self.shards
    }

    /// Puts the entry of `attention` for the run of `handle` (whose own seq does not matter).
    ///
    /// Idempotent: an entry that is there already is the same. Costs 1 PUT.
    ///
    /// # Errors
    ///
    /// [`log::Error::Unavailable`], [`log::Error::Throttled`]: it may or may not be there; nothing
    /// that it was to cover may be relied on before a later call was `Ok`.
    pub async fn put(&self, handle: &Handle, attention: Attention) -> Result<(), log::Error> {
        self.put_at(&self.path(handle, attention)).await
    }

    /// The entry of `attention` for the run of `handle`, to be put along with the commit that needs it;
    /// none where the store puts one object at a time, so that it has to be there before.
    pub fn along(&self, handle: &Handle, attention: Attention) -> Option<Along> {
        let along = || Along { key: self.path(handle, attention), body: Bytes::new() };
        self.store.takes_along().then(along)
    }

    /// Deletes the entry of `attention` for the run of `handle`, if it is there.
    ///
    /// Whoever calls this has first had `Ok` for every entry that the folded state needs. An unknown
    /// outcome is repeated once and then left to the next finder, since no rule needs a delete to
    /// succeed. Costs 1 DELETE.
    pub async fn delete(&self, handle: &Handle, attention: Attention) {
        self.delete_at(&self.path(handle, attention)).await;
    }

    /// Deletes an entry that was found, its counter of failures included; else as
    /// [`WakeIndex::delete`].
    pub async fn remove(&self, entry: &Entry) {
        self.delete_at(&entry.path()).await;
    }

    /// Puts `entry` again at `due` with `tries`, then deletes it where it was.
    ///
    /// Costs 1 PUT and 1 DELETE.
    ///
    /// # Errors
    ///
    /// As [`WakeIndex::put`]; then the entry is still where it was.
    pub async fn rearm(&self, entry: &Entry, due: Timestamp, tries: u32) -> Result<(), log::Error> {
        let moved = Entry { due, tries, ..entry.clone() }.path();
        self.put_at(&moved).await?;
        if moved != entry.path() {
            self.remove(entry).await;
        }
        Ok(())
    }

    /// At most `limit` entries of one shard and kind that are due at `now`, the earliest first, from
    /// the one after `after` on.
    ///
    /// Costs 1 LIST for each 1,000 that are due where listing is ordered, however many sleep; where
    /// it is not, 1 LIST for each day, hour and minute that holds one, and at most 3 more.
    ///
    /// # Errors
    ///
    /// [`log::Error::Unavailable`], [`log::Error::Throttled`]: ask again later.
    pub async fn due(
        &self,
        shard: u32,
        kind: WakeKind,
        now: Timestamp,
        after: Option<&Entry>,
        limit: usize,
    ) -> Result<Due, log::Error> {
        let range = Range { shard, kind, after: after.map(Entry::path), until: Some(now) };
        let mut found = self.entries(range);
        let mut due = Due::default();
        while let Some(entry) = found.try_next().await? {
            if entry.due > now {
                break;
            }
            if due.entries.len() == limit {
                due.more = true;
                break;
            }
            due.entries.push(entry);
        }
        Ok(due)
    }

    /// Every entry of one shard and kind, due or not, the earliest first, read lazily.
    ///
    /// Costs 1 LIST for each 1,000 where listing is ordered, else 1 LIST for each folder. An `Err`
    /// (as of [`WakeIndex::due`]) is the last item.
    pub fn all(&self, shard: u32, kind: WakeKind) -> BoxStream<'static, Result<Entry, log::Error>> {
        self.entries(Range { shard, kind, after: None, until: None })
    }

    /// As [`WakeIndex::all`], and nothing in a minute after that of `until`.
    pub(super) fn until(
        &self,
        shard: u32,
        kind: WakeKind,
        until: Timestamp,
    ) -> BoxStream<'static, Result<Entry, log::Error>> {
        let bounded = Range { shard, kind, after: None, until: Some(until) };
        let is_due = move |entry: &Entry| future::ready(Ok(entry.due <= until));
        self.entries(bounded).try_take_while(is_due).boxed()
    }

    fn entries(&self, range: Range) -> BoxStream<'static, Result<Entry, log::Error>> {
        let warned = Arc::clone(&self.warned);
        let readable = move |object: ObjectMeta| {
            let entry = Entry::read(&object);
            if entry.is_none() {
                warn_once(&warned, &object.location);
            }
            future::ready(Ok(entry))
        };
        scan::objects(&self.store, range).try_filter_map(readable).boxed()
    }

    fn path(&self, handle: &Handle, attention: Attention) -> Path {
        let Attention { kind, due, seq } = attention;
        let shard = shard_of(handle.run, self.shards);
        Key::Wake { shard, kind, due, handle: handle.at(seq), tries: 0 }.path()
    }

    async fn put_at(&self, path: &Path) -> Result<(), log::Error> {
        let put = self.store.objects().put(path, PutPayload::new()).await;
        put.map(drop).map_err(|error| log::Error::of_store("write", path.as_ref(), error))
    }

    async fn delete_at(&self, path: &Path) {
        for is_last in [false, true] {
            match self.store.objects().delete(path).await {
                Ok(()) | Err(object_store::Error::NotFound { .. }) => return,
                Err(error) if is_last => {
                    tracing::warn!(key = %path, %error, "a wake entry is left to its next finder");
                }
                Err(_) => {}
            }
        }
    }
}

fn warn_once(warned: &Mutex<HashSet<Path>>, key: &Path) {
    let mut warned = warned.lock().unwrap_or_else(PoisonError::into_inner);
    if warned.len() < WARNED_MAX && warned.insert(key.clone()) {
        tracing::warn!(%key, "a wake entry can not be read; it is left where it is");
    }
}
