//! What these tests, and those of `maintenance`, stand on: a clock that stands still until it is
//! moved, and a store whose puts can be held up or refused.

mod index;
mod near;
mod tick;
mod walk;

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use futures::{future::BoxFuture, stream::BoxStream};
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result, memory::InMemory, path::Path,
};
use tokio::sync::watch;

use crate::{
    env::Env,
    store::{Store, Traits},
    workflow::{ExecutionId, Handle, Namespace, RunId, Timestamp},
};

/// 2025-11-24 16:00:00 UTC, the start of an hour.
pub(crate) const START: Timestamp = Timestamp::from_millis(1_764_000_000_000);

pub(crate) fn at(seconds: u64) -> Timestamp {
    START.after(Duration::from_secs(seconds))
}

pub(crate) fn handle(run: u128) -> Handle {
    Handle {
        namespace: Namespace::default(),
        execution: ExecutionId::known(&format!("e{run}")).expect("a valid id").key(),
        generation: 0,
        run: RunId::from_random(run),
        seq: 0,
    }
}

/// A clock that stands at [`START`] until it is moved.
#[derive(Debug)]
pub(crate) struct FakeEnv {
    now: watch::Sender<u64>,
    drawn: AtomicU64,
}

impl FakeEnv {
    pub(crate) fn shared() -> Arc<Self> {
        Arc::new(Self { now: watch::Sender::new(START.as_millis()), drawn: AtomicU64::new(0) })
    }

    pub(crate) fn advance_millis(&self, millis: u64) {
        self.now.send_modify(|now| *now += millis);
    }
}

impl Env for FakeEnv {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(*self.now.borrow())
    }

    fn uptime(&self) -> Duration {
        self.now().since(START)
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        let mut now = self.now.subscribe();
        let end = self.now().after(duration).as_millis();
        Box::pin(async move {
            now.wait_for(|now| *now >= end).await.expect("the clock outlives its sleepers");
        })
    }

    fn random(&self) -> u128 {
        u128::from(self.drawn.fetch_add(1, Ordering::Relaxed))
    }
}

/// A store in memory whose puts wait while they are held, and fail while they are refused.
#[derive(Debug, Default)]
pub(crate) struct Moody {
    inner: InMemory,
    pub(crate) held: watch::Sender<bool>,
    pub(crate) refuses: AtomicBool,
}

impl fmt::Display for Moody {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("moody")
    }
}

#[async_trait]
impl ObjectStore for Moody {
    async fn put_opts(&self, key: &Path, body: PutPayload, how: PutOptions) -> Result<PutResult> {
        let mut held = self.held.subscribe();
        held.wait_for(|held| !held).await.expect("the store outlives its requests");
        if self.refuses.load(Ordering::Relaxed) {
            return Err(object_store::Error::Generic { store: "moody", source: "no".into() });
        }
        self.inner.put_opts(key, body, how).await
    }

    async fn put_multipart_opts(
        &self,
        key: &Path,
        how: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(key, how).await
    }

    async fn get_opts(&self, key: &Path, how: GetOptions) -> Result<GetResult> {
        self.inner.get_opts(key, how).await
    }

    fn delete_stream(
        &self,
        keys: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(keys)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, how: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, how).await
    }
}

/// A store that lists in order, around `objects`.
pub(crate) fn ordered(objects: Arc<dyn ObjectStore>, exclusive: bool) -> Store {
    Store::wrap(objects, Traits { ordered: true, exclusive, ..Traits::NONE }, "test")
}

pub(crate) fn memory() -> Store {
    ordered(Arc::new(InMemory::new()), true)
}

/// Files, which come in no order.
pub(crate) async fn files() -> (tempfile::TempDir, Store) {
    let directory = tempfile::tempdir().expect("a directory");
    let url = format!("file://{}", directory.path().display());
    let store = Store::open(&url, FakeEnv::shared()).await.expect("opened");
    (directory, store)
}
