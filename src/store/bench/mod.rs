//! Measures what the requests of an engine take on a store.
//!
//! Owns: which requests are measured, and by how many clients at once; the keys of a measurement, all
//! under `probe/bench-{random}/`, and their deletion. Must never touch any other key, and leaves none of
//! its own: also when it is stopped, or a request fails.
//!
//! Invariants:
//! * it sends at most what [`Plan::requests_max`] says;
//! * no request is cut off: whoever stops it waits for what is under way, so that no put lands later.

mod figure;
mod load;
mod plan;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures::{StreamExt, TryStreamExt, stream};
use object_store::{Error as StoreError, ObjectStoreExt, path::Path};
use thiserror::Error;
use tokio_util::sync::CancellationToken;

use self::load::Load;
use super::Store;
use crate::env::Env;

pub use figure::Figure;
pub use plan::{Measured, Plan, RequestsMax};

/// How long a put whose answer was lost may be on its way: as long as the client of commits waits.
const LATE: Duration = Duration::from_secs(5);

/// Why there are no figures, or not all.
#[derive(Debug, Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum BenchError {
    #[error(
        "{url} can not be measured, as {what} failed; check the endpoint and the network, or the disk"
    )]
    Failing {
        url: String,
        what: &'static str,
        #[source]
        source: Arc<StoreError>,
    },
    #[error(
        "{url} can not be measured, as {what} was refused; check that the bucket exists, and that the \
         credentials allow get, put, list and delete under probe/"
    )]
    Refused {
        url: String,
        what: &'static str,
        #[source]
        source: Arc<StoreError>,
    },
    #[error("objects below {folder} are left in {url}; delete what is there, nobody needs it")]
    Left {
        url: String,
        folder: Path,
        #[source]
        source: Option<Arc<StoreError>>,
    },
}

/// Measures `store` as `plan` says, telling each figure as soon as it is known; the figures in that
/// order. After `stop` it finishes what is under way, cleans up, and returns what it has.
///
/// # Errors
///
/// [`BenchError::Refused`]: a person must change something. [`BenchError::Failing`]: the store answers
/// some request again and again with an error. What was put is deleted; [`BenchError::Left`]: some of it
/// could not be.
pub async fn bench(
    store: &Store,
    env: &Arc<dyn Env>,
    plan: &Plan,
    stop: &CancellationToken,
    tell: impl FnMut(&Figure),
) -> Result<Vec<Figure>, BenchError> {
    let folder = Path::from(format!("probe/bench-{:032x}", env.random()));
    let late = Arc::default();
    let bench = Bench { store, env, plan, stop, folder, late };
    if let Err(error) = bench.prepare().await {
        // A store that refuses puts may well refuse to list: the first error is the one to mend.
        drop(bench.clean_up().await);
        return Err(error);
    }
    let measured = bench.measure(tell).await;
    // Figures are of no use to whoever has to clean up first.
    bench.clean_up().await?;
    measured
}

/// One measurement of one store.
struct Bench<'a> {
    store: &'a Store,
    env: &'a Arc<dyn Env>,
    plan: &'a Plan,
    stop: &'a CancellationToken,
    folder: Path,
    /// Whether a put failed that may still land.
    late: Arc<AtomicBool>,
}

impl Bench<'_> {
    async fn measure(&self, mut tell: impl FnMut(&Figure)) -> Result<Vec<Figure>, BenchError> {
        let mut figures = vec![];
        for (level, &clients) in self.plan.clients.iter().enumerate() {
            let Self { store, env, plan, folder, late, .. } = self;
            let load = Arc::new(Load::new(store, env, plan, folder, level, late));
            for measured in Measured::ALL {
                let figure = load.measure(measured, clients, self.stop).await;
                if self.stop.is_cancelled() {
                    return Ok(figures);
                }
                let figure = figure.map_err(|source| self.failing(measured.name(), source))?;
                tell(&figure);
                figures.push(figure);
            }
        }
        Ok(figures)
    }

    /// Puts what the lists show.
    async fn prepare(&self) -> Result<(), BenchError> {
        for key in load::listed_keys(&self.folder) {
            let put = self.store.objects().put(&key, self.plan.body().into()).await;
            let may_land = put.as_ref().is_err_and(|error| !is_refusal(error));
            self.late.fetch_or(may_land, Ordering::Relaxed);
            put.map_err(|source| self.failing("the first put", source))?;
        }
        Ok(())
    }

    /// Deletes everything below the folder, and looks whether it is gone.
    async fn clean_up(&self) -> Result<(), BenchError> {
        if self.late.load(Ordering::Relaxed) {
            self.env.sleep(LATE).await;
        }
        for _ in 0..plan::CLEAN_UPS_MAX {
            let keys = self.list().await.map_err(|source| self.left(Some(source)))?;
            if keys.is_empty() {
                return Ok(());
            }
            let keys = stream::iter(keys).map(Ok).boxed();
            let deleted = self.store.objects().delete_stream(keys);
            let deleted: Result<(), _> = deleted.try_for_each(async |_| Ok(())).await;
            deleted.map_err(|source| self.left(Some(source)))?;
        }
        Err(self.left(None))
    }

    async fn list(&self) -> Result<Vec<Path>, StoreError> {
        let listed = self.store.objects().list(Some(&self.folder));
        listed.map_ok(|object| object.location).try_collect().await
    }

    fn failing(&self, what: &'static str, source: StoreError) -> BenchError {
        let (url, refused) = (self.store.url().to_owned(), is_refusal(&source));
        let source = Arc::new(source);
        if refused {
            BenchError::Refused { url, what, source }
        } else {
            BenchError::Failing { url, what, source }
        }
    }

    fn left(&self, source: Option<StoreError>) -> BenchError {
        let source = source.map(Arc::new);
        BenchError::Left { url: self.store.url().to_owned(), folder: self.folder.clone(), source }
    }
}

/// Whether the store said no, rather than nothing.
fn is_refusal(error: &StoreError) -> bool {
    matches!(
        error,
        StoreError::NotFound { .. }
            | StoreError::PermissionDenied { .. }
            | StoreError::Unauthenticated { .. }
    )
}
