//! What the indexes say of each run.
//!
//! The one part of an audit that is held in memory whole: about 200 bytes for each wake entry, offer
//! and listed run. Read before the logs: whatever an entry was written after is in the log by then.

use std::collections::{HashMap, HashSet};

use futures::{StreamExt, TryStreamExt, stream};
use object_store::{ObjectMeta, ObjectStoreExt, path::Path};

use super::finding::{Finding, Summary, UPGRADE};
use crate::{
    log::{self, Key},
    maintenance::{Record, Standing, batch},
    store::Store,
    wake::Entry,
    workflow::{Handle, RunId, Seq, Task, Timestamp},
};

/// How many batches of the feed are read at once.
const READS: usize = 16;

/// What the indexes say of one run.
#[derive(Clone, Debug, Default)]
pub(super) struct OfRun {
    /// Its wake entries.
    pub(super) wakes: Vec<Entry>,
    /// Its offers.
    pub(super) offers: Vec<Offered>,
    /// Its newest record for lists.
    pub(super) listed: Option<Listed>,
    /// Its handle under `dead/`, if it was put aside.
    pub(super) dead: Option<Handle>,
}

/// An offer as it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Offered {
    /// Where it stands.
    pub(super) path: Path,
    /// The run; its seq is the commit that made the step ready.
    pub(super) handle: Handle,
    /// The attempt to begin.
    pub(super) task: Task,
}

/// What lists show of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Listed {
    /// The run; its seq is the last commit that the record knows.
    pub(super) handle: Handle,
    /// Where it stands.
    pub(super) standing: Standing,
    /// Since when retention deletes it.
    pub(super) deleted: Option<Timestamp>,
    /// The batch that says so.
    pub(super) path: Path,
}

impl Listed {
    /// Which of two records holds.
    fn rank(&self) -> (Option<Timestamp>, Seq) {
        (self.deleted, self.handle.seq)
    }
}

impl OfRun {
    /// Any way to the run.
    pub(super) fn handle(&self) -> Option<&Handle> {
        let wakes = self.wakes.iter().map(|entry| &entry.handle);
        let offers = self.offers.iter().map(|offer| &offer.handle);
        let listed = self.listed.iter().map(|listed| &listed.handle);
        wakes.chain(offers).chain(listed).chain(&self.dead).next()
    }
}

/// What the indexes of a store say.
#[derive(Debug, Default)]
pub(super) struct Indexes {
    /// By run.
    pub(super) runs: HashMap<RunId, OfRun>,
    /// Keys and lines that are nobody's.
    pub(super) findings: Vec<Finding>,
}

impl Indexes {
    /// Reads the indexes; with `only`, what they say of these runs.
    ///
    /// Costs 1 LIST for each 1,000 keys under `wake/`, `queue/`, `dead/` and `feed/`, and 1 GET for
    /// each batch of the feed.
    pub(super) async fn read(
        store: &Store,
        only: Option<&HashSet<RunId>>,
        summary: &mut Summary,
    ) -> Result<Self, log::Error> {
        let mut indexes = Self::default();
        for prefix in ["wake", "queue", "dead"] {
            let prefix = Path::from(prefix);
            let mut objects = store.objects().list(Some(&prefix));
            while let Some(object) = objects.next().await {
                let object = object
                    .map_err(|source| log::Error::of_store("list", prefix.as_ref(), source))?;
                indexes.add(&object, only, summary);
            }
        }
        indexes.add_feed(store, only, summary).await?;
        Ok(indexes)
    }

    fn add(&mut self, object: &ObjectMeta, only: Option<&HashSet<RunId>>, summary: &mut Summary) {
        let is_wanted = |run: &RunId| only.is_none_or(|only| only.contains(run));
        match Key::parse(&object.location) {
            Some(Key::Wake { shard, kind, due, handle, tries }) => {
                summary.wakes += 1;
                if is_wanted(&handle.run) {
                    let put_at = modified(object);
                    let entry = Entry { shard, kind, due, handle, tries, put_at };
                    self.runs.entry(entry.handle.run).or_default().wakes.push(entry);
                }
            }
            Some(Key::Queue { step, handle, task: (iteration, attempt), .. }) => {
                summary.offers += 1;
                if is_wanted(&handle.run) {
                    let task = Task { step, iteration, attempt };
                    let offer = Offered { path: object.location.clone(), handle, task };
                    self.runs.entry(offer.handle.run).or_default().offers.push(offer);
                }
            }
            Some(Key::Dead { handle }) => {
                summary.dead += 1;
                if is_wanted(&handle.run) {
                    let run = handle.run;
                    self.runs.entry(run).or_default().dead = Some(handle);
                }
            }
            Some(
                Key::Id { .. }
                | Key::Run { .. }
                | Key::Blob { .. }
                | Key::Blueprint { .. }
                | Key::Worker { .. }
                | Key::Push { .. }
                | Key::Feed { .. }
                | Key::Layout,
            )
            | None => self.findings.push(Finding::nobodys(&object.location)),
        }
    }

    async fn add_feed(
        &mut self,
        store: &Store,
        only: Option<&HashSet<RunId>>,
        summary: &mut Summary,
    ) -> Result<(), log::Error> {
        let prefix = Key::feed_prefix();
        let objects = store.objects().list(Some(&prefix));
        let mut batches = objects
            .map_err(|source| log::Error::of_store("list", prefix.as_ref(), source))
            .map_ok(|object| body(store, object.location))
            .try_buffer_unordered(READS);
        while let Some((path, lines)) = batches.try_next().await? {
            let Some(lines) = lines else {
                self.findings.push(Finding::nobodys(&path));
                continue;
            };
            if lines.unreadable > 0 {
                let what = format!("{} lines of it can not be read", lines.unreadable);
                self.findings.push(Finding::note(&path, what, super::finding::NOBODYS));
            }
            if lines.newer > 0 {
                let what = format!("{} lines of it are of a newer version", lines.newer);
                self.findings.push(Finding::note(&path, what, UPGRADE));
            }
            for record in lines.records {
                summary.records += 1;
                if only.is_none_or(|only| only.contains(&record.run)) {
                    self.add_record(&record, &path);
                }
            }
        }
        Ok(())
    }

    fn add_record(&mut self, record: &Record, path: &Path) {
        let place = &mut self.runs.entry(record.run).or_default().listed;
        if place.as_ref().is_none_or(|known| known.rank() < record.rank()) {
            *place = Some(Listed {
                handle: record.handle(),
                standing: record.status,
                deleted: record.deleted,
                path: path.clone(),
            });
        }
    }
}

/// The lines of a batch; none: the key is nobody's.
async fn body(store: &Store, path: Path) -> Result<(Path, Option<batch::Lines>), log::Error> {
    let Some(Key::Feed { .. }) = Key::parse(&path) else { return Ok((path, None)) };
    let read = async { store.objects().get(&path).await?.bytes().await };
    let lines = match read.await {
        Ok(body) => batch::read(&body),
        Err(object_store::Error::NotFound { .. }) => batch::Lines::default(),
        Err(source) => return Err(log::Error::of_store("read", path.as_ref(), source)),
    };
    Ok((path, Some(lines)))
}

/// When an object was written, by the store's clock.
pub(super) fn modified(object: &ObjectMeta) -> Timestamp {
    Timestamp::from_millis(u64::try_from(object.last_modified.timestamp_millis()).unwrap_or(0))
}

/// Everything under `prefix`, in the order of keys where the store lists so.
pub(super) fn listed<'a>(
    store: &'a Store,
    prefix: &Path,
) -> stream::BoxStream<'a, Result<ObjectMeta, log::Error>> {
    let name = prefix.to_string();
    let objects = store.objects().list(Some(prefix));
    objects.map_err(move |source| log::Error::of_store("list", &name, source)).boxed()
}
