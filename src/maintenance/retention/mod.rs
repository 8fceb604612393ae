//! Deletes closed executions when they are old enough.
//!
//! Works from the visibility records, and asks the log once about each run before it believes them.
//! A pass may be cut off anywhere, may run beside others and beside engines, and its requests may come
//! late or twice: what it says of a run stands in the feed before anything of the run goes, and goes
//! last.
//!
//! A run goes in two steps. First, when it is old enough: the tombstone, if a user chose its id and it
//! is the newest generation; its record again, with the time (lists leave it out from then on); its
//! start commit. Then, a day later, so that a backup which has the start finds the rest: its commits,
//! its blobs, and at last its records.
//!
//! Invariants:
//! * nothing goes of a run that is open, that closed of late, that was put aside, or whose log can not
//!   be read, whatever its record says;
//! * the newest generation of a chosen id is never deleted, and older ones from the oldest on: a
//!   generation number never comes back;
//! * a start commit goes before everything else of its run, and at most 10 minutes after it was
//!   decided that it may.
//!
//! Source: docs/fencing.md "Deletion".

mod check;
mod erase;
mod plan;
mod policy;
mod sweep;
#[cfg(test)]
mod tests;

use std::{collections::HashSet, sync::Arc, time::Duration};

use futures::{StreamExt, TryStreamExt, stream};
use serde::Serialize;

use self::{check::Checked, plan::Group};
use super::{Dead, Feed, Record};
use crate::{
    env::Env,
    log::{self, RunLog},
    store::Store,
    workflow::{ExecutionId, Generation, Namespace, RunId, Timestamp, Tombstone},
};

pub(in crate::maintenance) use policy::is_grace_surely_over;
pub use policy::{Keep, RetentionPolicy};

/// How many executions are deleted at once.
const AT_ONCE: usize = 8;
/// How many are checked before what was found is written down and done.
const BATCH: usize = 128;
/// How many executions one pass deletes at most.
const EXECUTIONS_MAX: usize = 10_000;
/// What was looked at longer ago is looked at again before anything is deleted for it.
const FRESH: Duration = Duration::from_mins(10);

/// Who writes tombstones: the only part of a deletion that writes history.
pub trait Gravedigger: Sync {
    /// Creates `tombstone`, put-if-absent, unless `looked` is over 10 minutes ago; whether that
    /// generation exists now, whoever has it. Costs 1 PUT, and 1 GET where somebody has.
    ///
    /// # Errors
    ///
    /// By what the log says must be done; the tombstone may be there.
    fn bury(
        &self,
        tombstone: Tombstone,
        looked: Timestamp,
    ) -> impl Future<Output = Result<bool, log::Error>> + Send;

    /// Whether no more is to be begun.
    fn is_closing(&self) -> bool;
}

/// What a pass did, or would do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Retained {
    /// Runs whose deletion began: their start is gone.
    pub begun: u64,
    /// Runs of which nothing is left.
    pub finished: u64,
    /// Runs that are kept although their record says that they are old enough.
    pub refused: u64,
    /// Objects of runs that were deleted.
    pub objects_deleted: u64,
    /// Objects of the feed that were deleted.
    pub batches_deleted: u64,
    /// Objects of the feed that were written: what was begun, and what holds of older ones.
    pub batches_written: u64,
    /// Whether there is more to delete than one pass does.
    pub has_more: bool,
}

/// What becomes of one run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Deletion {
    /// The namespace.
    pub namespace: Namespace,
    /// The execution's id.
    pub execution: ExecutionId,
    /// Which use of the id.
    pub generation: Generation,
    /// The run.
    pub run: RunId,
    /// When it closed.
    pub closed: Option<Timestamp>,
    /// What is done.
    #[serde(flatten)]
    pub what: Fate,
}

/// What becomes of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum Fate {
    /// Its start goes, and lists leave it out; the rest goes a day later.
    Begun,
    /// Everything that is left of it goes.
    Finished,
    /// It stays.
    Refused {
        /// Why.
        why: String,
    },
}

impl Deletion {
    fn of(record: &Record, what: Fate) -> Self {
        let Record { namespace, execution, generation, run, closed, .. } = record.clone();
        Self { namespace, execution, generation, run, closed, what }
    }
}

/// Deletes closed executions of one store.
#[derive(Debug)]
pub struct Retention {
    store: Store,
    log: RunLog,
    dead: Dead,
    env: Arc<dyn Env>,
}

impl Retention {
    /// That of `store`.
    pub fn new(log: RunLog, store: Store, env: Arc<dyn Env>) -> Self {
        Self { dead: Dead::new(store.clone()), log, store, env }
    }

    /// One bounded pass: deletes what `policy` says, and gives each run to `tell`. With `dry_run` only
    /// reads and tells.
    ///
    /// Costs 1 LIST for each 1,000 objects of the feed and 1 GET for each that `feed` has not in
    /// memory, and nothing more while nothing is to be deleted. For each run: docs/operations.md
    /// "Retention".
    ///
    /// # Errors
    ///
    /// [`log::Error::Unavailable`], [`log::Error::Throttled`]: it is not finished; the next pass goes
    /// on where this one stopped.
    pub async fn pass(
        &self,
        feed: &Feed,
        gravedigger: &impl Gravedigger,
        policy: &RetentionPolicy,
        dry_run: bool,
        mut tell: impl FnMut(&Deletion),
    ) -> Result<Retained, log::Error> {
        let mut retained = Retained::default();
        let mut objects = feed.objects().await?;
        let mut groups = plan::plan(&objects, policy, self.env.now());
        retained.has_more = groups.len() > EXECUTIONS_MAX;
        groups.truncate(EXECUTIONS_MAX);
        let is_due = groups.iter().any(|group| !group.due.is_empty());
        let aside = if is_due { self.dead.runs().await? } else { HashSet::new() };
        let mut finished = HashSet::new();
        for batch in groups.chunks(BATCH) {
            if gravedigger.is_closing() {
                retained.has_more = true;
                break;
            }
            let looked = self.env.now();
            // Collected, as all such: a stream that holds a closure over borrows can not be spawned.
            let checks: Vec<_> =
                batch.iter().map(|group| self.check(group, policy, &aside, looked)).collect();
            let mut checked: Vec<Checked> =
                stream::iter(checks).buffered(AT_ONCE).try_collect().await?;
            if !dry_run {
                self.bury_all(gravedigger, &mut checked, looked).await?;
            }
            let deletions = checked.iter().flat_map(Checked::deletions);
            deletions.for_each(|deletion| retained.count(&deletion, &mut tell));
            if !dry_run {
                let marks = checked.iter().flat_map(|it| it.marks(looked)).collect();
                let marks = feed.write_apart(marks).await?;
                retained.batches_written += marks.len() as u64;
                objects.extend(marks);
                retained.objects_deleted += self.erase(&checked, looked).await?;
                finished.extend(checked.iter().flat_map(Checked::finished));
            }
        }
        if !dry_run {
            self.sweep(feed, objects, &finished, &mut retained).await?;
        }
        Ok(retained)
    }

    /// Puts the tombstones; whatever lacks its own is refused.
    async fn bury_all(
        &self,
        gravedigger: &impl Gravedigger,
        checked: &mut [Checked],
        looked: Timestamp,
    ) -> Result<(), log::Error> {
        let buried: Vec<_> =
            checked.iter_mut().map(|it| self.bury(gravedigger, it, looked)).collect();
        stream::iter(buried).buffered(AT_ONCE).try_collect().await
    }

    async fn bury(
        &self,
        gravedigger: &impl Gravedigger,
        checked: &mut Checked,
        looked: Timestamp,
    ) -> Result<(), log::Error> {
        let run = RunId::from_random(self.env.random());
        let Some(tombstone) = checked.tombstone(run) else { return Ok(()) };
        if !gravedigger.bury(tombstone, looked).await? {
            checked.refuse_starts("it took too long to write its tombstone; the next pass does");
        }
        Ok(())
    }

    /// Deletes and writes anew what the feed needs no more.
    async fn sweep(
        &self,
        feed: &Feed,
        mut objects: Vec<super::listing::Object>,
        finished: &HashSet<RunId>,
        retained: &mut Retained,
    ) -> Result<(), log::Error> {
        let looked = self.env.now();
        for is_second in [false, true] {
            loop {
                let paths = sweep::removable(&mut objects, finished);
                if paths.is_empty() {
                    break;
                }
                retained.batches_deleted += paths.len() as u64;
                feed.delete(paths).await?;
            }
            if is_second || self.env.now().since(looked) > FRESH {
                return Ok(());
            }
            let (paths, needed) = sweep::rewritten(&mut objects, finished, self.env.now());
            let written = feed.write_apart(needed).await?;
            retained.batches_written += written.len() as u64;
            retained.batches_deleted += paths.len() as u64;
            objects.extend(written);
            feed.delete(paths).await?;
        }
        Ok(())
    }
}

impl Retained {
    /// What this pass and the `next` one did together.
    #[must_use]
    pub fn with(self, next: Self) -> Self {
        Self {
            begun: self.begun + next.begun,
            finished: self.finished + next.finished,
            refused: next.refused,
            objects_deleted: self.objects_deleted + next.objects_deleted,
            batches_deleted: self.batches_deleted + next.batches_deleted,
            batches_written: self.batches_written + next.batches_written,
            has_more: next.has_more,
        }
    }

    fn count(&mut self, deletion: &Deletion, tell: &mut impl FnMut(&Deletion)) {
        match deletion.what {
            Fate::Begun => self.begun += 1,
            Fate::Finished => self.finished += 1,
            Fate::Refused { .. } => self.refused += 1,
        }
        tell(deletion);
    }
}
