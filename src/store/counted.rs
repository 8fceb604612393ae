//! The layer through which every request goes: counts it, and makes deletes idempotent.

use std::{
    collections::VecDeque,
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;
use futures::{StreamExt, stream::BoxStream};
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result, path::Path,
};

use super::{
    Along,
    counters::{Counters, Family, Operation},
};

/// How many entries a page of a list holds on every network store.
const PAGE_ENTRIES: u64 = 1_000;

/// A client whose requests are counted when they are sent.
#[derive(Debug)]
pub(super) struct Counted {
    inner: Arc<dyn ObjectStore>,
    counters: Arc<Counters>,
}

impl Counted {
    pub(super) fn new(inner: Arc<dyn ObjectStore>, counters: Arc<Counters>) -> Self {
        Self { inner, counters }
    }

    /// Counts the first page at once, and one more for each further page that is read into.
    fn count_pages(
        &self,
        prefix: Option<&Path>,
        entries: BoxStream<'static, Result<ObjectMeta>>,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        let counters = Arc::clone(&self.counters);
        let family = family_of(prefix);
        counters.request(Operation::List, family);
        let mut seen = 0_u64;
        entries
            .inspect(move |_| {
                if seen > 0 && seen.is_multiple_of(PAGE_ENTRIES) {
                    counters.request(Operation::List, family);
                }
                seen += 1;
            })
            .boxed()
    }
}

fn family_of(prefix: Option<&Path>) -> Family {
    prefix.map_or(Family::Other, Family::of)
}

impl fmt::Display for Counted {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(out)
    }
}

#[async_trait]
impl ObjectStore for Counted {
    async fn put_opts(&self, key: &Path, body: PutPayload, how: PutOptions) -> Result<PutResult> {
        let family = Family::of(key);
        self.counters.request(Operation::Put, family);
        self.counters.bytes_written(family, body.content_length() as u64);
        if let Some(Along { key, body }) = how.extensions.get() {
            let family = Family::of(key);
            self.counters.request(Operation::Put, family);
            self.counters.bytes_written(family, body.len() as u64);
        }
        self.inner.put_opts(key, body, how).await
    }

    /// Not offered: nothing here is large enough, and its requests would go uncounted.
    async fn put_multipart_opts(
        &self,
        _key: &Path,
        _how: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        Err(not_implemented("put_multipart_opts"))
    }

    async fn get_opts(&self, key: &Path, how: GetOptions) -> Result<GetResult> {
        let family = Family::of(key);
        self.counters.request(Operation::Get, family);
        let head = how.head;
        let found = self.inner.get_opts(key, how).await?;
        if !head {
            self.counters.bytes_read(family, found.range.end - found.range.start);
        }
        Ok(found)
    }

    /// One DELETE for each key; a key that is not there counts as deleted.
    ///
    /// Stores answer in the order of the keys, so an answer's key is the oldest one unanswered.
    fn delete_stream(
        &self,
        keys: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        let counters = Arc::clone(&self.counters);
        let sent = Arc::new(Mutex::new(VecDeque::new()));
        let unanswered = Arc::clone(&sent);
        let keys = keys.inspect(move |key| {
            if let Ok(key) = key {
                counters.request(Operation::Delete, Family::of(key));
            }
            let mut sent = sent.lock().unwrap_or_else(PoisonError::into_inner);
            sent.push_back(key.as_ref().ok().cloned());
        });
        let answers = self.inner.delete_stream(keys.boxed());
        answers
            .map(move |answer| {
                let mut keys = unanswered.lock().unwrap_or_else(PoisonError::into_inner);
                match (answer, keys.pop_front().flatten()) {
                    (Err(Error::NotFound { .. }), Some(key)) => Ok(key),
                    (answer, _) => answer,
                }
            })
            .boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.count_pages(prefix, self.inner.list(prefix))
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        self.count_pages(prefix, self.inner.list_with_offset(prefix, offset))
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.counters.request(Operation::List, family_of(prefix));
        self.inner.list_with_delimiter(prefix).await
    }

    /// Not offered: no layer copies, and a copy is no put-if-absent on every store.
    async fn copy_opts(&self, _from: &Path, _to: &Path, _how: CopyOptions) -> Result<()> {
        Err(not_implemented("copy_opts"))
    }
}

fn not_implemented(operation: &str) -> Error {
    Error::NotImplemented { operation: operation.to_owned(), implementer: "lazarus".to_owned() }
}
