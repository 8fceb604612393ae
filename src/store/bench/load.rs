//! Some clients that send one kind of request, one after the other each, and how long each took.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures::TryStreamExt;
use object_store::{
    Error as StoreError, ObjectStoreExt, PutMode, PutOptions, Result as Answer, path::Path,
};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::{
    Figure,
    plan::{LISTED, Measured, Plan},
};
use crate::{env::Env, store::Store};

/// How many requests of a measurement may fail before it is given up.
const FAILED_MAX: usize = 20;

/// The keys that [`Measured::List`] shows.
pub(super) fn listed_keys(folder: &Path) -> impl Iterator<Item = Path> {
    let folder = listed_folder(folder);
    (0..LISTED).map(move |n| folder.clone().join(format!("{n:02}")))
}

fn listed_folder(folder: &Path) -> Path {
    folder.clone().join("list")
}

/// The measurements with one number of clients.
#[derive(Debug)]
pub(super) struct Load {
    store: Store,
    env: Arc<dyn Env>,
    folder: Path,
    level: usize,
    body: Bytes,
    count: u64,
    within: Duration,
    /// What was put, for the reads.
    put: Mutex<Vec<Path>>,
    /// Set once a put failed that may still land.
    late: Arc<AtomicBool>,
}

/// What the clients of one measurement share.
#[derive(Debug)]
struct Shared {
    measured: Measured,
    next: AtomicU64,
    end: Duration,
    stop: CancellationToken,
    outcomes: Mutex<Outcomes>,
}

#[derive(Debug, Default)]
struct Outcomes {
    latencies: Vec<Duration>,
    failed: usize,
    /// The last one.
    failure: Option<StoreError>,
}

impl Load {
    pub(super) fn new(
        store: &Store,
        env: &Arc<dyn Env>,
        plan: &Plan,
        folder: &Path,
        level: usize,
        late: &Arc<AtomicBool>,
    ) -> Self {
        Self {
            store: store.clone(),
            env: Arc::clone(env),
            folder: folder.clone(),
            level,
            body: plan.body(),
            count: plan.count,
            within: plan.within,
            put: Mutex::default(),
            late: Arc::clone(late),
        }
    }

    /// Lets `clients` send requests until enough were sent, the time is over, or `stop`.
    ///
    /// # Errors
    ///
    /// The last failure, if too many failed, or all.
    pub(super) async fn measure(
        self: &Arc<Self>,
        measured: Measured,
        clients: u32,
        stop: &CancellationToken,
    ) -> Answer<Figure> {
        let begun = self.env.uptime();
        let shared = Arc::new(Shared {
            measured,
            next: AtomicU64::new(0),
            end: begun.saturating_add(self.within),
            stop: stop.clone(),
            outcomes: Mutex::default(),
        });
        let mut working = JoinSet::new();
        for _ in 0..clients {
            working.spawn(Arc::clone(self).client(Arc::clone(&shared)));
        }
        working.join_all().await;
        let elapsed = self.env.uptime().saturating_sub(begun);
        let Outcomes { latencies, failed, failure } = std::mem::take(&mut *lock(&shared.outcomes));
        match failure {
            Some(failure) if latencies.is_empty() || failed > FAILED_MAX => Err(failure),
            Some(_) | None => Ok(Figure::new(measured, clients, elapsed, failed, latencies)),
        }
    }

    /// One client: the next request when the last was answered.
    async fn client(self: Arc<Self>, shared: Arc<Shared>) {
        while !shared.stop.is_cancelled() && self.env.uptime() < shared.end {
            let n = shared.next.fetch_add(1, Ordering::Relaxed);
            if n >= self.count {
                return;
            }
            let begun = self.env.uptime();
            let outcome = self.send(shared.measured, n).await;
            let took = self.env.uptime().saturating_sub(begun);
            let mut outcomes = lock(&shared.outcomes);
            match outcome {
                Ok(()) => outcomes.latencies.push(took),
                Err(error) => {
                    (outcomes.failed, outcomes.failure) = (outcomes.failed + 1, Some(error));
                    if outcomes.failed > FAILED_MAX {
                        return;
                    }
                }
            }
        }
    }

    /// Sends the `n`th request through the client that an engine sends it through.
    async fn send(&self, measured: Measured, n: u64) -> Answer<()> {
        match measured {
            Measured::PutIfAbsent => self.put(n).await,
            Measured::GetHit => self.get(n).await,
            Measured::GetMiss => self.miss(n).await,
            Measured::List => self.list().await,
        }
    }

    async fn put(&self, n: u64) -> Answer<()> {
        let key = self.folder.clone().join(format!("{}-{n:08}", self.level));
        let only_new = PutOptions::from(PutMode::Create);
        let put = self.store.commits().put_opts(&key, self.body.clone().into(), only_new).await;
        self.late.fetch_or(put.is_err(), Ordering::Relaxed);
        lock(&self.put).push(put.map(|_| key)?);
        Ok(())
    }

    async fn get(&self, n: u64) -> Answer<()> {
        let key = {
            let put = lock(&self.put);
            let index = usize::try_from(n).unwrap_or_default() % put.len();
            put[index].clone()
        };
        let found = self.store.objects().get(&key).await?.bytes().await?;
        if found == self.body { Ok(()) } else { Err(wrong("a GET gave other bytes than were put")) }
    }

    async fn miss(&self, n: u64) -> Answer<()> {
        let key = self.folder.clone().join(format!("never-{n:08}"));
        match self.store.objects().get(&key).await {
            Err(StoreError::NotFound { .. }) => Ok(()),
            Err(error) => Err(error),
            Ok(_) => Err(wrong("a GET found what was never put")),
        }
    }

    async fn list(&self) -> Answer<()> {
        let listed = self.store.objects().list(Some(&listed_folder(&self.folder)));
        let listed: u64 = listed.try_fold(0, async |seen, _| Ok(seen + 1)).await?;
        if listed == LISTED { Ok(()) } else { Err(wrong("a LIST did not show what was put")) }
    }
}

fn wrong(what: &str) -> StoreError {
    StoreError::Generic { store: "lazarus", source: what.into() }
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}
