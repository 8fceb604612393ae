//! Runs that were taken out of the way: nothing looks at them until somebody says so.

use std::collections::HashSet;

use futures::{StreamExt, TryStreamExt};
use object_store::{ObjectStoreExt, PutPayload, path::Path};

use crate::{
    log::{self, Key},
    maintenance::DeadRun,
    store::Store,
    wake::WakeIndex,
    workflow::{Attention, Handle, RunId, Timestamp, WakeKind},
};

/// How many objects are read at once.
const READS: usize = 16;

/// The runs under `dead/`; cheap to clone.
#[derive(Clone, Debug)]
pub struct Dead {
    store: Store,
}

impl Dead {
    /// Those of `store`.
    pub fn new(store: Store) -> Self {
        Self { store }
    }

    /// Records that the run of `handle` can not be decided. Idempotent; costs 1 PUT.
    ///
    /// # Errors
    ///
    /// [`log::Error::Unavailable`], [`log::Error::Throttled`]: keep what leads to the run.
    pub async fn put(
        &self,
        handle: &Handle,
        reason: &str,
        now: Timestamp,
    ) -> Result<(), log::Error> {
        let body =
            written(&DeadRun { handle: handle.to_string(), reason: reason.to_owned(), since: now });
        let key = Key::Dead { handle: handle.clone() }.path();
        let put = self.store.objects().put(&key, PutPayload::from(body)).await;
        put.map(drop).map_err(|error| log::Error::of_store("write", key.as_ref(), error))
    }

    /// All of them, the oldest first. Costs 1 LIST for each 1,000 and 1 GET each.
    ///
    /// # Errors
    ///
    /// [`log::Error::Unavailable`], [`log::Error::Throttled`]: ask again later.
    pub async fn list(&self) -> Result<Vec<DeadRun>, log::Error> {
        let prefix = Key::dead_prefix();
        let objects = self.store.objects().list(Some(&prefix));
        let mut runs: Vec<DeadRun> = objects
            .map_err(|error| log::Error::of_store("list", prefix.as_ref(), error))
            .map_ok(|object| self.read(object.location))
            .try_buffer_unordered(READS)
            .filter_map(|run| std::future::ready(run.transpose()))
            .try_collect()
            .await?;
        runs.sort_by(|a, b| (a.since, &a.handle).cmp(&(b.since, &b.handle)));
        Ok(runs)
    }

    /// Which runs they are. Costs 1 LIST for each 1,000.
    pub(super) async fn runs(&self) -> Result<HashSet<RunId>, log::Error> {
        let prefix = Key::dead_prefix();
        let objects = self.store.objects().list(Some(&prefix));
        let keys = objects.map_ok(|object| Key::parse(&object.location));
        let runs = keys.try_filter_map(async |key| {
            Ok(if let Some(Key::Dead { handle }) = key { Some(handle.run) } else { None })
        });
        runs.try_collect()
            .await
            .map_err(|error| log::Error::of_store("list", prefix.as_ref(), error))
    }

    /// Has the run looked at again: puts a timer that is due at `now`, then deletes the record.
    ///
    /// Whether there was one. Costs 1 GET, 1 PUT and 1 DELETE.
    ///
    /// # Errors
    ///
    /// [`log::Error::Unavailable`], [`log::Error::Throttled`]: repeat it; nothing is lost.
    pub async fn retry(
        &self,
        index: &WakeIndex,
        handle: &Handle,
        now: Timestamp,
    ) -> Result<bool, log::Error> {
        let key = Key::Dead { handle: handle.clone() }.path();
        match self.store.objects().head(&key).await {
            Ok(_) => {}
            Err(object_store::Error::NotFound { .. }) => return Ok(false),
            Err(error) => return Err(log::Error::of_store("read", key.as_ref(), error)),
        }
        let timer = Attention { kind: WakeKind::Timer, due: now, seq: handle.seq };
        index.put(handle, timer).await?;
        match self.store.objects().delete(&key).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(true),
            Err(error) => Err(log::Error::of_store("delete", key.as_ref(), error)),
        }
    }

    /// One record; none when somebody retried it meanwhile. What can not be read is still told of.
    async fn read(&self, key: Path) -> Result<Option<DeadRun>, log::Error> {
        let body = match self.store.objects().get(&key).await {
            Ok(found) => found.bytes().await,
            Err(error) => Err(error),
        };
        match body {
            Ok(body) => {
                Ok(Some(serde_json::from_slice(&body).unwrap_or_else(|_| unreadable(&key))))
            }
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(log::Error::of_store("read", key.as_ref(), error)),
        }
    }
}

fn written(run: &DeadRun) -> Vec<u8> {
    serde_json::to_vec(run).expect("BUG: a dead run is no JSON")
}

fn unreadable(key: &Path) -> DeadRun {
    DeadRun {
        handle: key.filename().unwrap_or_default().to_owned(),
        reason: "its record can not be read".to_owned(),
        since: Timestamp::default(),
    }
}
