//! Does what a verdict asks for, in the order that keeps every run found.

use futures::{StreamExt, TryStreamExt, future, stream};
use object_store::{ObjectStoreExt, path::Path};

use super::{Deed, Mended};
use crate::{
    log::{self, Key},
    maintenance::{
        Feed,
        audit::{Auditor, Mend, Verdict},
    },
    workflow::{Attention, Handle, RunId},
};

/// How many runs are mended at once.
const RUNS: usize = 16;

/// What mending `verdict` comes to.
pub(super) fn deeds(verdict: &Verdict) -> Vec<Deed> {
    let Mend { put, first: _, record, remove, retract, delete } = &verdict.mend;
    let deed = |key: String, what| Deed { key, what };
    let wakes = put.iter().zip(verdict.handle.iter().cycle());
    let wakes = wakes.map(|(entry, handle)| deed(told(handle, *entry), "a wake entry is put"));
    let records = record.iter().map(|record| {
        deed(format!("feed/ of run {}", record.run), "its record for lists is written again")
    });
    let removed = remove.iter().map(|entry| {
        let attention = entry.attention();
        deed(told(&entry.handle, attention), "a wake entry that nothing needs is deleted")
    });
    let offers = retract.iter();
    let offers = offers.map(|path| deed(path.to_string(), "an offer of no open task is deleted"));
    let runs = delete.iter();
    let runs = runs
        .map(|run| deed(Key::run_prefix(*run).to_string(), "a run that nothing names is deleted"));
    wakes.chain(records).chain(removed).chain(offers).chain(runs).collect()
}

/// An entry in words: where in the index it stands follows from the run.
fn told(handle: &Handle, attention: Attention) -> String {
    let Attention { kind, due, seq } = attention;
    format!("wake/ {} due {} of {}", kind.word(), due.as_millis(), handle.at(seq))
}

impl Auditor {
    /// Mends all of `verdicts`: entries and records first, and deletions only after all of them.
    pub(super) async fn act(
        &self,
        feed: &Feed,
        verdicts: &[Verdict],
        mended: &mut Mended,
    ) -> Result<(), log::Error> {
        let puts = verdicts.iter().map(|verdict| self.put(verdict));
        let puts: Vec<u64> = stream::iter(puts).buffer_unordered(RUNS).try_collect().await?;
        mended.wakes_put += puts.iter().sum::<u64>();
        let records = verdicts.iter().filter_map(|verdict| verdict.mend.record.as_deref());
        let records: Vec<_> = records.map(|record| feed.record(record)).collect();
        let count = records.len() as u64;
        if count > 0 {
            let (written, flushed) =
                future::join(future::join_all(records), feed.flush_now()).await;
            flushed?;
            written.into_iter().collect::<Result<(), _>>()?;
            mended.records_written += count;
        }
        let deletes = verdicts.iter().map(|verdict| self.delete(verdict));
        let counts: Vec<u64> = stream::iter(deletes).buffer_unordered(RUNS).try_collect().await?;
        mended.objects_deleted += counts.iter().sum::<u64>();
        for Mend { remove, retract, delete, .. } in verdicts.iter().map(|it| &it.mend) {
            mended.wakes_deleted += remove.len() as u64;
            mended.offers_deleted += retract.len() as u64;
            mended.runs_deleted += u64::from(delete.is_some());
        }
        Ok(())
    }

    async fn put(&self, verdict: &Verdict) -> Result<u64, log::Error> {
        let Some(handle) = &verdict.handle else { return Ok(0) };
        let Mend { put, first, .. } = &verdict.mend;
        for entry in put.iter().chain(first) {
            self.wakes.put(handle, *entry).await?;
        }
        Ok(put.len() as u64)
    }

    /// Deletes what nothing needs; gives how many objects of a run that nothing names went.
    async fn delete(&self, verdict: &Verdict) -> Result<u64, log::Error> {
        let Mend { remove, retract, delete, .. } = &verdict.mend;
        for entry in remove {
            self.wakes.remove(entry).await;
        }
        for path in retract {
            self.delete_at(path).await?;
        }
        match delete {
            Some(run) => self.delete_run(*run).await,
            None => Ok(0),
        }
    }

    async fn delete_run(&self, run: RunId) -> Result<u64, log::Error> {
        let mut count = 0;
        for prefix in [Key::run_prefix(run), Key::blob_prefix(run)] {
            let objects = self.store.objects().list(Some(&prefix));
            let paths: Vec<Path> = objects
                .map_ok(|object| object.location)
                .try_collect()
                .await
                .map_err(|source| log::Error::of_store("list", prefix.as_ref(), source))?;
            for path in paths {
                self.delete_at(&path).await?;
                count += 1;
            }
        }
        Ok(count)
    }

    async fn delete_at(&self, path: &Path) -> Result<(), log::Error> {
        match self.store.objects().delete(path).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(source) => Err(log::Error::of_store("delete", path.as_ref(), source)),
        }
    }
}
