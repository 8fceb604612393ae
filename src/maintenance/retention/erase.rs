//! Sends the deletes of a batch: starts first, the oldest generation of an id before the next.

use futures::{StreamExt, TryStreamExt, stream};
use object_store::path::Path;

use super::{AT_ONCE, FRESH, Retention, check::Checked};
use crate::{
    log::{self, Key},
    maintenance::Record,
    workflow::{Handle, Timestamp},
};

impl Retention {
    /// Deletes what goes of all of `checked`, which was looked at at `looked`; gives how many objects
    /// went.
    pub(super) async fn erase(
        &self,
        checked: &[Checked],
        looked: Timestamp,
    ) -> Result<u64, log::Error> {
        let starts: Vec<_> = checked.iter().map(|it| self.erase_starts(it, looked)).collect();
        let starts: Vec<u64> = stream::iter(starts).buffered(AT_ONCE).try_collect().await?;
        let rests = checked.iter().flat_map(|checked| &checked.rests);
        let rests: Vec<_> = rests.map(|record| self.erase_rest(record)).collect();
        let rests: Vec<u64> = stream::iter(rests).buffered(AT_ONCE).try_collect().await?;
        Ok(starts.iter().chain(&rests).sum())
    }

    /// 1 DELETE for each start, and before it 1 GET where the same request may have made the id again.
    async fn erase_starts(&self, checked: &Checked, looked: Timestamp) -> Result<u64, log::Error> {
        let mut count = 0;
        let starts = checked.starts.iter().map(|record| (record.handle(), Some(record)));
        let below = checked.below.iter().map(|handle| (handle.clone(), None));
        let goes: Vec<(Handle, Option<&Record>)> = below.chain(starts).collect();
        for (handle, record) in goes {
            if !self.may_go(&handle, record).await? {
                continue;
            }
            // From here to the sending there is no await.
            if self.env.now().since(looked) > FRESH {
                break;
            }
            self.delete(vec![Key::of_start(&handle).path()]).await?;
            count += 1;
        }
        Ok(count)
    }

    async fn may_go(&self, handle: &Handle, record: Option<&Record>) -> Result<bool, log::Error> {
        if record.is_some_and(|record| record.execution.is_of_request()) {
            return self.log.names_run(handle).await;
        }
        Ok(true)
    }

    /// 1 DELETE for each commit and blob, and 1 LIST where there may be blobs.
    async fn erase_rest(&self, record: &Record) -> Result<u64, log::Error> {
        let run = record.run;
        let mut keys: Vec<Path> =
            (1..=record.seq).map(|seq| Key::Run { run, seq }.path()).collect();
        if record.may_have_blobs {
            let prefix = Key::blob_prefix(run);
            let blobs = self.store.objects().list(Some(&prefix)).map_ok(|object| object.location);
            let blobs: Vec<Path> = blobs
                .try_collect()
                .await
                .map_err(|error| log::Error::of_store("list", prefix.as_ref(), error))?;
            keys.extend(blobs);
        }
        let count = keys.len() as u64;
        self.delete(keys).await?;
        Ok(count)
    }

    async fn delete(&self, keys: Vec<Path>) -> Result<(), log::Error> {
        let first = keys.first().map(ToString::to_string).unwrap_or_default();
        let keys = stream::iter(keys.into_iter().map(Ok)).boxed();
        let deleted = self.store.objects().delete_stream(keys);
        let deleted = deleted.try_for_each(|_| std::future::ready(Ok(())));
        deleted.await.map_err(|error| log::Error::of_store("delete", &first, error))
    }
}
