//! Lists executions from the feed: the newest record of each run, filtered, sorted, cut into pages.

use std::{
    cmp::Reverse,
    collections::{HashMap, hash_map},
    sync::Arc,
};

use futures::{TryStreamExt, future};
use object_store::{ObjectMeta, ObjectStoreExt, path::Path};
use quick_cache::{Weighter, sync::Cache};

use super::batch::{self, Lines};
use crate::{
    log::{self, Key},
    maintenance::{Filter, Page, Record},
    store::Store,
    workflow::{Namespace, RunId},
};

/// How many batches are read at once.
const READS: usize = 16;

/// What a batch typically holds, from which the cache's number of places is estimated.
const BATCH_BYTES: u64 = 4 << 10;

/// Reads the feed of a store.
#[derive(Debug)]
pub(super) struct Listing {
    store: Store,
    /// Batches by key; they never change. None when nothing is to be kept.
    read: Option<Cache<Path, Batch, Bytes>>,
}

/// A batch as it was read, and its size in the store.
#[derive(Clone, Debug)]
struct Batch {
    records: Arc<[Arc<Record>]>,
    bytes: u64,
    /// Each of its lines could be read.
    is_whole: bool,
}

/// One object of the feed.
#[derive(Clone, Debug)]
pub(super) struct Object {
    /// Where it stands.
    pub(super) path: Path,
    /// Its length.
    pub(super) bytes: u64,
    /// Each of its lines could be read: else it may hold what this build knows nothing of.
    pub(super) is_whole: bool,
    /// What it holds.
    pub(super) records: Arc<[Arc<Record>]>,
}

/// Weighs a batch by twice its size in the store, which is about its size in memory.
#[derive(Clone, Debug)]
struct Bytes;

impl Weighter<Path, Batch> for Bytes {
    fn weight(&self, key: &Path, batch: &Batch) -> u64 {
        batch.bytes * 2 + key.as_ref().len() as u64
    }
}

impl Listing {
    pub(super) fn new(store: Store, cache_bytes: u64) -> Self {
        let places = usize::try_from(cache_bytes / BATCH_BYTES).unwrap_or(usize::MAX).max(16);
        let read = (cache_bytes > 0).then(|| Cache::with_weighter(places, cache_bytes, Bytes));
        Self { store, read }
    }

    pub(super) async fn page(
        &self,
        namespace: &Namespace,
        filter: &Filter,
        offset: usize,
        limit: usize,
    ) -> Result<Page, log::Error> {
        let mut newest = self.newest(namespace).await?;
        let resumed: Vec<RunId> = newest.values().filter_map(|record| record.resumes).collect();
        for run in resumed {
            newest.remove(&run);
        }
        let is_wanted = |it: &Arc<Record>| it.deleted.is_none() && passes(it, filter);
        let mut wanted: Vec<_> = newest.into_values().filter(is_wanted).collect();
        wanted.sort_by(|a, b| order(a).cmp(&order(b)));
        let total = wanted.len();
        let records: Vec<Record> =
            wanted.into_iter().skip(offset).take(limit).map(Arc::unwrap_or_clone).collect();
        let has_more = offset.saturating_add(records.len()) < total;
        Ok(Page { records, total, has_more })
    }

    /// Every object of the feed, in the order of their keys.
    pub(super) async fn objects(&self) -> Result<Vec<Object>, log::Error> {
        let prefix = Key::feed_prefix();
        let listed = self.store.objects().list(Some(&prefix));
        let mut objects: Vec<Object> = listed
            .map_err(|error| log::Error::of_store("list", prefix.as_ref(), error))
            .try_filter(|object| future::ready(Key::parse(&object.location).is_some()))
            .map_ok(async |object| {
                let path = object.location.clone();
                let Batch { records, bytes, is_whole } = self.batch(object).await?;
                Ok(Object { path, bytes, is_whole, records })
            })
            .try_buffer_unordered(READS)
            .try_collect()
            .await?;
        objects.sort_unstable_by(|a, b| a.path.cmp(&b.path));
        Ok(objects)
    }

    /// The newest record of each run of the namespace.
    async fn newest(
        &self,
        namespace: &Namespace,
    ) -> Result<HashMap<RunId, Arc<Record>>, log::Error> {
        let prefix = Key::feed_prefix();
        let objects = self.store.objects().list(Some(&prefix));
        objects
            .map_err(|error| log::Error::of_store("list", prefix.as_ref(), error))
            .map_ok(|object| self.batch(object))
            .try_buffer_unordered(READS)
            .try_fold(HashMap::new(), |mut newest, batch| {
                let ours = batch.records.iter().filter(|it| it.namespace == *namespace);
                ours.for_each(|record| keep_newest(&mut newest, record));
                future::ready(Ok(newest))
            })
            .await
    }

    /// The records of one object. Costs 1 GET unless it is cached.
    async fn batch(&self, object: ObjectMeta) -> Result<Batch, log::Error> {
        let (key, bytes) = (object.location, object.size);
        if let Some(known) = self.read.as_ref().and_then(|read| read.get(&key)) {
            return Ok(known);
        }
        let body = match self.store.objects().get(&key).await {
            Ok(found) => found.bytes().await,
            Err(error) => Err(error),
        };
        let lines = match body {
            Ok(body) => batch::read(&body),
            // Retention took it between the LIST and the GET.
            Err(object_store::Error::NotFound { .. }) => Lines::default(),
            Err(error) => return Err(log::Error::of_store("read", key.as_ref(), error)),
        };
        report(&key, &lines);
        let is_whole = lines.newer + lines.unreadable == 0;
        let records = lines.records.into_iter().map(Arc::new).collect();
        let batch = Batch { records, bytes, is_whole };
        if let Some(read) = &self.read {
            read.insert(key, batch.clone());
        }
        Ok(batch)
    }
}

/// Says once for each object what was skipped.
fn report(key: &Path, lines: &Lines) {
    if lines.unreadable > 0 {
        tracing::warn!(%key, lines = lines.unreadable, "skipped visibility records, unreadable");
    }
    if lines.newer > 0 {
        tracing::info!(%key, lines = lines.newer, "skipped visibility records of a newer version");
    }
}

fn keep_newest(newest: &mut HashMap<RunId, Arc<Record>>, record: &Arc<Record>) {
    match newest.entry(record.run) {
        hash_map::Entry::Vacant(place) => {
            place.insert(Arc::clone(record));
        }
        hash_map::Entry::Occupied(mut place) => {
            if record.rank() > place.get().rank() {
                place.insert(Arc::clone(record));
            }
        }
    }
}

fn passes(record: &Record, filter: &Filter) -> bool {
    let named = filter.workflow.as_ref().is_none_or(|workflow| record.workflow == *workflow);
    named && (filter.standings.is_empty() || filter.standings.contains(&record.status))
}

/// The newest start first; runs of one moment by id, so that pages do not overlap.
fn order(record: &Record) -> impl Ord + use<'_> {
    (Reverse(record.started), &record.execution, Reverse(record.generation))
}
