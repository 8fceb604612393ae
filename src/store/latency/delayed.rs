//! A client whose requests take as long as a [`Latency`] says.

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use futures::{StreamExt, stream, stream::BoxStream};
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result, path::Path,
};

use super::Latency;
use crate::{env::Env, store::Operation};

/// How many keys one request for deletion names on S3, and how many such requests are sent at once.
const DELETE_KEYS: usize = 1_000;
const DELETES_AT_ONCE: usize = 20;
/// How many entries a page of a list holds on every network store.
const PAGE_ENTRIES: usize = 1_000;

/// `inner`, as slow as `latency` says.
pub(in crate::store) fn delayed(
    inner: Arc<dyn ObjectStore>,
    latency: Latency,
    env: Arc<dyn Env>,
) -> Arc<dyn ObjectStore> {
    Arc::new(Delayed { inner, pace: Pace { latency, env } })
}

#[derive(Debug)]
struct Delayed {
    inner: Arc<dyn ObjectStore>,
    pace: Pace,
}

/// How long to wait.
#[derive(Clone, Debug)]
struct Pace {
    latency: Latency,
    env: Arc<dyn Env>,
}

impl Pace {
    /// `request`, sent after half of its time and answered after the other half. What the store
    /// itself needs is part of that time: a slower one is not made slower still.
    async fn take<T>(&self, operation: Operation, request: impl Future<Output = T>) -> T {
        let (begun, whole) = (self.env.uptime(), self.draw(operation));
        self.wait(whole / 2).await;
        let answer = request.await;
        let passed = self.env.uptime().saturating_sub(begun);
        self.wait(whole.saturating_sub(passed)).await;
        answer
    }

    fn draw(&self, operation: Operation) -> Duration {
        self.latency.draw(operation, self.env.random())
    }

    async fn wait(&self, duration: Duration) {
        if !duration.is_zero() {
            self.env.sleep(duration).await;
        }
    }
}

impl Delayed {
    /// The entries of a list, each page of which takes its time.
    fn pages(
        &self,
        list: impl FnOnce(&dyn ObjectStore) -> BoxStream<'static, Result<ObjectMeta>> + Send + 'static,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        let (inner, pace) = (Arc::clone(&self.inner), self.pace.clone());
        let first = async move {
            let entries = pace.take(Operation::List, async { list(inner.as_ref()) }).await;
            entries.enumerate().then(move |(index, entry)| {
                let pace = pace.clone();
                async move {
                    if index > 0 && index.is_multiple_of(PAGE_ENTRIES) {
                        pace.wait(pace.draw(Operation::List)).await;
                    }
                    entry
                }
            })
        };
        stream::once(first).flatten().boxed()
    }
}

impl fmt::Display for Delayed {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(out)
    }
}

#[async_trait]
impl ObjectStore for Delayed {
    async fn put_opts(&self, key: &Path, body: PutPayload, how: PutOptions) -> Result<PutResult> {
        self.pace.take(Operation::Put, self.inner.put_opts(key, body, how)).await
    }

    async fn put_multipart_opts(
        &self,
        key: &Path,
        how: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(key, how).await
    }

    async fn get_opts(&self, key: &Path, how: GetOptions) -> Result<GetResult> {
        self.pace.take(Operation::Get, self.inner.get_opts(key, how)).await
    }

    /// One wait for each 1,000 keys, as S3 takes so many in one request.
    fn delete_stream(
        &self,
        keys: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        let (inner, pace) = (Arc::clone(&self.inner), self.pace.clone());
        keys.chunks(DELETE_KEYS)
            .map(move |keys| {
                let (inner, pace) = (Arc::clone(&inner), pace.clone());
                async move {
                    let answers = inner.delete_stream(stream::iter(keys).boxed());
                    pace.take(Operation::Delete, answers.collect::<Vec<_>>()).await
                }
            })
            .buffered(DELETES_AT_ONCE)
            .flat_map(stream::iter)
            .boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let prefix = prefix.cloned();
        self.pages(move |inner| inner.list(prefix.as_ref()))
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        let (prefix, offset) = (prefix.cloned(), offset.clone());
        self.pages(move |inner| inner.list_with_offset(prefix.as_ref(), &offset))
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.pace.take(Operation::List, self.inner.list_with_delimiter(prefix)).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, how: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, how).await
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use futures::{TryStreamExt, future::BoxFuture};
    use object_store::{ObjectStoreExt, memory::InMemory};

    use super::*;
    use crate::workflow::Timestamp;

    /// A clock that jumps to the end of each sleep, and counts them.
    #[derive(Debug, Default)]
    struct Jumping {
        micros: Arc<AtomicU64>,
        sleeps: Arc<AtomicU64>,
    }

    impl Env for Jumping {
        fn now(&self) -> Timestamp {
            Timestamp::from_millis(self.micros.load(Ordering::Relaxed) / 1_000)
        }

        fn uptime(&self) -> Duration {
            Duration::from_micros(self.micros.load(Ordering::Relaxed))
        }

        fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
            let (micros, sleeps) = (Arc::clone(&self.micros), Arc::clone(&self.sleeps));
            Box::pin(async move {
                sleeps.fetch_add(1, Ordering::Relaxed);
                let slept = u64::try_from(duration.as_micros()).unwrap();
                micros.fetch_add(slept, Ordering::Relaxed);
            })
        }

        fn random(&self) -> u128 {
            7
        }
    }

    fn slow(latency: &str) -> (Arc<dyn ObjectStore>, Arc<Jumping>) {
        let env = Arc::new(Jumping::default());
        let inner = Arc::new(InMemory::new());
        (delayed(inner, latency.parse().unwrap(), env.clone()), env)
    }

    /// How long `request` took.
    async fn time_of<T>(env: &Jumping, request: impl Future<Output = T>) -> (T, Duration) {
        let begun = env.uptime();
        let answer = request.await;
        (answer, env.uptime().checked_sub(begun).unwrap())
    }

    const MS: Duration = Duration::from_millis(1);

    #[tokio::test]
    async fn each_request_takes_its_time_and_does_what_it_did() {
        let (store, env) = slow("put=25ms,get=15ms,list=50ms,delete=8ms,tail=1");
        let key = Path::from("a/b");
        let (put, took) = time_of(&env, store.put(&key, "x".into())).await;
        assert!(put.is_ok());
        assert_eq!(took, 25 * MS);
        let (got, took) = time_of(&env, store.get(&key)).await;
        assert_eq!((got.unwrap().bytes().await.unwrap(), took), ("x".into(), 15 * MS));
        let (miss, took) = time_of(&env, store.get(&Path::from("c"))).await;
        assert!(matches!(miss, Err(object_store::Error::NotFound { .. })));
        assert_eq!(took, 15 * MS);
        let (folder, took) = time_of(&env, store.list_with_delimiter(None)).await;
        assert_eq!((folder.unwrap().common_prefixes.len(), took), (1, 50 * MS));
        let (deleted, took) = time_of(&env, store.delete(&key)).await;
        assert!(deleted.is_ok());
        assert_eq!(took, 8 * MS);
        assert!(store.get(&key).await.is_err());
    }

    #[tokio::test]
    async fn each_page_of_a_list_and_each_thousand_deletions_take_their_time() {
        let (store, env) = slow("list=50ms,delete=8ms,tail=1");
        for n in 0..2_500 {
            store.put(&Path::from(format!("a/{n:04}")), "x".into()).await.unwrap();
        }
        let listed = store.list(Some(&Path::from("a"))).try_collect::<Vec<_>>();
        let (listed, took) = time_of(&env, listed).await;
        let keys: Vec<Path> = listed.unwrap().into_iter().map(|it| it.location).collect();
        assert_eq!((keys.len(), took), (2_500, 150 * MS));
        let offset = Path::from("a/0999");
        let rest = store.list_with_offset(None, &offset).try_collect::<Vec<_>>();
        let (rest, took) = time_of(&env, rest).await;
        assert_eq!((rest.unwrap().len(), took), (1_500, 100 * MS));
        let keys = stream::iter(keys).map(Ok).boxed();
        let (deleted, took) =
            time_of(&env, store.delete_stream(keys).try_collect::<Vec<_>>()).await;
        assert_eq!((deleted.unwrap().len(), took), (2_500, 24 * MS));
    }

    #[tokio::test]
    async fn a_put_is_applied_in_the_middle_of_its_time() {
        let (store, _env) = slow("put=25ms,tail=1");
        let key = Path::from("a");
        let put = store.put(&key, "x".into());
        futures::pin_mut!(put);
        // Whoever gives up after the first half can not tell that it was applied.
        assert!(store.get(&key).await.is_err());
        assert!(put.as_mut().await.is_ok());
        assert!(store.get(&key).await.is_ok());
    }

    #[tokio::test]
    async fn what_takes_no_time_is_not_waited_for() {
        let (store, env) = slow("get=15ms,tail=1");
        store.put(&Path::from("a"), "x".into()).await.unwrap();
        assert_eq!(env.sleeps.load(Ordering::Relaxed), 0);
    }
}
