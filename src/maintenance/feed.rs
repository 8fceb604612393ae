//! Writes visibility records in batches.
//!
//! There is no task behind it: whoever waits for a record may have to write the batch, and the one
//! who does is the *leader*, the holder of `turn`. So it works the same in a function, and a leader
//! that is cancelled hands the turn to another who waits.
//!
//! Invariants:
//! * a batch takes records only while it is the open one; then its bytes never change;
//! * every try to write a batch puts the same bytes under the same key;
//! * a record is in the store, or everybody who waits for it is told that it is not.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures::{StreamExt, TryStreamExt, stream};
use object_store::{ObjectStoreExt, PutPayload, path::Path};
use tokio_util::sync::CancellationToken;

use super::{
    batch,
    listing::{Listing, Object},
};
use crate::{
    env::Env,
    log::{self, Key},
    maintenance::{Filter, Page, Record},
    store::Store,
    workflow::{Namespace, Timestamp},
};

/// How long a batch collects on a store that many instances share: one PUT each that long.
const WINDOW: Duration = Duration::from_secs(5);

/// A batch of more bytes than this is written at once.
const BATCH_BYTES_MAX: usize = 4 << 20;

/// The visibility feed of one process.
#[derive(Debug)]
pub struct Feed {
    store: Store,
    env: Arc<dyn Env>,
    /// Drawn at random, so that no two processes ever write one key.
    instance: String,
    window: Duration,
    written: AtomicU64,
    open: Mutex<Option<Arc<Batch>>>,
    turn: tokio::sync::Mutex<()>,
    listing: Listing,
}

/// Records that go into one object.
#[derive(Debug)]
struct Batch {
    n: u64,
    opened: Timestamp,
    body: Mutex<Vec<u8>>,
    /// Ends its window early.
    hurry: CancellationToken,
    outcome: OnceLock<Outcome>,
    /// Wakes whoever waits in the order in which they came (a `watch` draws lots).
    over: CancellationToken,
}

/// What became of a batch, for everybody who waits for it.
#[derive(Clone, Debug)]
enum Outcome {
    Written,
    Throttled { after: Duration },
    Failed { what: String, cause: String },
}

impl Feed {
    /// The feed of `store`, which keeps up to `cache_bytes` of what it has read for the next listing
    /// (0: nothing).
    ///
    /// Batches collect for 5 s on a shared store. On an exclusive one they do not wait, but what
    /// arrives during a write goes into the next together.
    pub fn new(store: Store, env: Arc<dyn Env>, cache_bytes: u64) -> Self {
        let window = if store.is_exclusive() { Duration::ZERO } else { WINDOW };
        Self {
            listing: Listing::new(store.clone(), cache_bytes),
            instance: format!("{:032x}", env.random()),
            store,
            env,
            window,
            written: AtomicU64::new(0),
            open: Mutex::default(),
            turn: tokio::sync::Mutex::default(),
        }
    }

    /// Adds `record` to the open batch at once, and resolves when that is in the store.
    ///
    /// Costs 1 PUT for each batch, for any number of records. Dropping the future gives the record
    /// up only if nobody else waits for its batch. Once polled it may hold the turn, so poll it to
    /// its end or drop it: everybody waits behind one that is kept without being polled.
    ///
    /// # Errors
    ///
    /// [`log::Error::Unavailable`], [`log::Error::Throttled`]: the record may not be in the store;
    /// keep whatever leads to it being written again (the run's guard).
    pub fn record<'a>(
        &'a self,
        record: &Record,
    ) -> impl Future<Output = Result<(), log::Error>> + Send + use<'a> {
        let batch = self.add(record);
        self.settled(batch)
    }

    /// Ends the window of the open batch, and resolves when it and every batch under way are over.
    ///
    /// For a drain, a shutdown, and the end of a function. Costs at most 1 PUT of its own.
    ///
    /// # Errors
    ///
    /// As [`Feed::record`], about the open batch.
    pub async fn flush_now(&self) -> Result<(), log::Error> {
        let open = self.open().clone();
        let Some(batch) = open else {
            drop(self.turn.lock().await);
            return Ok(());
        };
        batch.hurry.cancel();
        self.settled(batch).await
    }

    /// The executions of `namespace` that `filter` lets through, the newest start first, from
    /// `offset` on, at most `limit`.
    ///
    /// Eventually consistent: what has happened in the last window of any instance may be missing.
    /// Reads the whole feed (this is its first form, without compaction): 1 LIST for each 1,000
    /// batches and 1 GET for each that is not cached, and memory for one record of each run.
    ///
    /// # Errors
    ///
    /// [`log::Error::Unavailable`], [`log::Error::Throttled`]: ask again later.
    pub async fn list(
        &self,
        namespace: &Namespace,
        filter: &Filter,
        offset: usize,
        limit: usize,
    ) -> Result<Page, log::Error> {
        self.listing.page(namespace, filter, offset, limit).await
    }

    /// Every object of the feed. Costs 1 LIST for each 1,000, and 1 GET for each that is not cached.
    ///
    /// # Errors
    ///
    /// [`log::Error::Unavailable`], [`log::Error::Throttled`]: ask again later.
    pub(super) async fn objects(&self) -> Result<Vec<Object>, log::Error> {
        self.listing.objects().await
    }

    /// Writes `records` into objects of their own, at once, and gives these. Costs 1 PUT for each
    /// 4 MiB of them.
    ///
    /// # Errors
    ///
    /// [`log::Error::Unavailable`], [`log::Error::Throttled`]: some may be in the store.
    pub(super) async fn write_apart(
        &self,
        records: Vec<Arc<Record>>,
    ) -> Result<Vec<Object>, log::Error> {
        let mut objects = vec![];
        let mut rest = &records[..];
        while !rest.is_empty() {
            let n = self.written.fetch_add(1, Ordering::Relaxed);
            let batch = Batch::new(n, self.env.now());
            let mut body = vec![];
            let mut count = 0;
            while count < rest.len() && body.len() <= BATCH_BYTES_MAX {
                batch::write(&rest[count], &mut body);
                count += 1;
            }
            let (records, left) = rest.split_at(count);
            rest = left;
            let (path, bytes) = (self.key(&batch).path(), body.len() as u64);
            *batch.body.lock().unwrap_or_else(PoisonError::into_inner) = body;
            self.write(&batch).await.into_result()?;
            objects.push(Object { path, bytes, is_whole: true, records: records.into() });
        }
        Ok(objects)
    }

    /// Deletes objects of the feed. Costs 1 DELETE each.
    ///
    /// # Errors
    ///
    /// [`log::Error::Unavailable`], [`log::Error::Throttled`]: some may be there still.
    pub(super) async fn delete(&self, paths: Vec<Path>) -> Result<(), log::Error> {
        let paths = stream::iter(paths.into_iter().map(Ok)).boxed();
        let deleted = self.store.objects().delete_stream(paths);
        let deleted = deleted.try_for_each(|_| std::future::ready(Ok(())));
        deleted.await.map_err(|error| log::Error::of_store("delete", "feed", error))
    }

    fn key(&self, batch: &Batch) -> Key {
        Key::Feed { hour: batch.opened, instance: self.instance.clone(), n: batch.n }
    }

    fn open(&self) -> MutexGuard<'_, Option<Arc<Batch>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, record: &Record) -> Arc<Batch> {
        let mut open = self.open();
        let batch = Arc::clone(open.get_or_insert_with(|| {
            let n = self.written.fetch_add(1, Ordering::Relaxed);
            Arc::new(Batch::new(n, self.env.now()))
        }));
        let mut body = batch.body.lock().unwrap_or_else(PoisonError::into_inner);
        batch::write(record, &mut body);
        if body.len() > BATCH_BYTES_MAX {
            batch.hurry.cancel();
            *open = None;
        }
        drop(body);
        batch
    }

    /// Resolves when the batch is over; writes it if it is this caller's turn.
    async fn settled(&self, batch: Arc<Batch>) -> Result<(), log::Error> {
        let turn = tokio::select! {
            biased;
            () = batch.over() => None,
            turn = self.turn.lock() => Some(turn),
        };
        if turn.is_some() && !batch.is_over() {
            self.lead(&batch).await;
        }
        drop(turn);
        let outcome = batch.outcome.get().cloned();
        outcome.expect("BUG: a batch is over without an outcome").into_result()
    }

    /// Waits for the window, closes the batch and writes it. Cancel-safe: the next leader of the
    /// same batch goes on where this one was.
    async fn lead(&self, batch: &Arc<Batch>) {
        let rest = batch.opened.after(self.window).since(self.env.now()).min(self.window);
        if !rest.is_zero() && !batch.hurry.is_cancelled() {
            tokio::select! {
                biased;
                () = self.env.sleep(rest) => {}
                () = batch.hurry.cancelled() => {}
            }
        }
        self.open().take_if(|open| Arc::ptr_eq(open, batch));
        let outcome = self.write(batch).await;
        batch.outcome.get_or_init(|| outcome);
        batch.over.cancel();
    }

    async fn write(&self, batch: &Batch) -> Outcome {
        let key = self.key(batch).path();
        let body = batch.body.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match self.store.objects().put(&key, PutPayload::from(body)).await {
            Ok(_) => Outcome::Written,
            Err(error) => Outcome::of(log::Error::of_store("write", key.as_ref(), error)),
        }
    }
}

impl Batch {
    fn new(n: u64, opened: Timestamp) -> Self {
        Self {
            n,
            opened,
            body: Mutex::default(),
            hurry: CancellationToken::new(),
            outcome: OnceLock::new(),
            over: CancellationToken::new(),
        }
    }

    async fn over(&self) {
        self.over.cancelled().await;
    }

    fn is_over(&self) -> bool {
        self.outcome.get().is_some()
    }
}

impl Outcome {
    fn of(error: log::Error) -> Self {
        match error {
            log::Error::Throttled { after } => Self::Throttled { after },
            log::Error::Unavailable { what, source } => {
                Self::Failed { what, cause: source.to_string() }
            }
            other @ (log::Error::Unknown { .. }
            | log::Error::Corrupt { .. }
            | log::Error::TooNew { .. }) => {
                Self::Failed { what: other.to_string(), cause: String::new() }
            }
        }
    }

    fn into_result(self) -> Result<(), log::Error> {
        match self {
            Self::Written => Ok(()),
            Self::Throttled { after } => Err(log::Error::Throttled { after }),
            Self::Failed { what, cause } => {
                Err(log::Error::Unavailable { what, source: cause.into() })
            }
        }
    }
}
