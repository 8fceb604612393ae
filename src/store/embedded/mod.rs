//! `embedded:DIR`: an object store in one directory, owned by one process.
//!
//! Owns the directory, its lock and its format. Must never acknowledge a write before it is on the
//! disk, and never show one to a reader before that either.
//!
//! Invariants:
//! * every write goes through one committer thread, which decides put-if-absent; all writes that
//!   wait when it comes round are one batch with one `fdatasync`;
//! * an open directory is locked; the lock goes with its process, however that ends;
//! * a batch that a crash tore off was never acknowledged, and is cut off at the next open;
//! * a list reads in small chunks, so that reading its first key does not cost the whole;
//! * a disk that is nearly full is not written to; a store whose engine takes no more writes says so.
//!
//! Reads may touch the disk, so they run on threads of their own (`reader.rs`). Multipart uploads are
//! not implemented: an object is one put.

mod committer;
mod database;
mod directory;
mod health;
mod journal;
mod reader;
mod record;
mod scan;
mod space;

use std::{fmt, io, path::Path as FilePath, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt, stream::BoxStream};
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload,
    ObjectMeta, ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
    path::Path,
};

pub use self::space::Full;
use self::{
    committer::{Change, Committer},
    database::Database,
    reader::{Reader, Readers},
    record::Record,
};
use super::{OpenError, Traits};
use crate::env::Env;

pub(super) const TRAITS: Traits = Traits { ordered: true, exclusive: true, along: true };

/// How many deletes of one stream may wait for their shared `fdatasync` at once.
const DELETES_IN_FLIGHT: usize = 256;

/// A second object, which an embedded store puts in one batch with the first: never one without the
/// other, and none of them if the first is refused. It stands in [`PutOptions::extensions`].
#[derive(Clone, Debug)]
pub struct Along {
    /// Its key; whatever stands there is replaced.
    pub key: Path,
    /// What is put there.
    pub body: Bytes,
}

/// An open embedded store. Dropping it finishes the writes in flight and unlocks the directory.
#[derive(Debug)]
pub struct Embedded {
    // Before `database`: its thread must end first.
    committer: Committer,
    reader: Reader,
    database: Arc<Database>,
    env: Arc<dyn Env>,
    /// What `reader` reads on.
    _readers: Readers,
}

impl Embedded {
    /// Opens `directory`, created if missing, and locks it for this process.
    ///
    /// Takes some milliseconds, and one pass over the journal (at most tens of MiB) after a crash.
    ///
    /// # Errors
    ///
    /// [`OpenError::Owned`] while another process has it open, [`OpenError::Directory`] when it can
    /// not be written, [`OpenError::Damaged`] when bytes in it changed that were synced before.
    pub async fn open(directory: &FilePath, env: Arc<dyn Env>) -> Result<Self, OpenError> {
        let path = directory.to_owned();
        let opened = tokio::task::spawn_blocking(move || Database::open(&path)).await;
        let failed = |source| OpenError::Directory { directory: directory.to_owned(), source };
        let database = Arc::new(opened.map_err(|error| failed(io::Error::other(error)))??);
        let readers = Readers::new().map_err(failed)?;
        let committer = Committer::start(Arc::clone(&database), Arc::clone(&env));
        Ok(Self { committer, reader: readers.of(&database), database, env, _readers: readers })
    }

    /// Resolves, with the cause, when no write succeeds any more until the store is opened again.
    pub(super) async fn broken(&self) -> String {
        let watch = async {
            loop {
                self.env.sleep(health::CHECK_EVERY).await;
                let database = Arc::clone(&self.database);
                // Left to itself: it may wait for a write that is never finished.
                drop(tokio::task::spawn_blocking(move || database.check()));
            }
        };
        tokio::select! {
            biased;
            cause = self.database.health().broken() => cause.to_owned(),
            () = watch => unreachable!("BUG: a loop without an end has ended"),
        }
    }
}

impl fmt::Display for Embedded {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "embedded:{}", self.database.directory().display())
    }
}

#[async_trait]
impl ObjectStore for Embedded {
    async fn put_opts(&self, key: &Path, body: PutPayload, how: PutOptions) -> Result<PutResult> {
        if !how.attributes.is_empty() {
            return Err(Error::NotSupported {
                source: "an embedded object has no attributes".into(),
            });
        }
        let along = how.extensions.get().cloned();
        let change = Change::Put { body: body.into(), mode: how.mode, along };
        let e_tag = self.committer.commit(key.clone(), change).await?;
        Ok(PutResult { e_tag, version: None, extensions: http::Extensions::default() })
    }

    async fn put_multipart_opts(
        &self,
        _key: &Path,
        _how: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        Err(not_implemented("put_multipart_opts"))
    }

    async fn get_opts(&self, key: &Path, how: GetOptions) -> Result<GetResult> {
        let wanted = key.clone();
        let record = self.reader.read(move |database| database.get(&wanted)).await?;
        answer(key, &record.ok_or_else(|| not_found(key))?, &how)
    }

    fn delete_stream(
        &self,
        keys: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        let commits = self.committer.sender();
        keys.map(move |key| {
            let commits = commits.clone();
            async move {
                let key = key?;
                commits.commit(key.clone(), Change::Delete).await?;
                Ok(key)
            }
        })
        .buffered(DELETES_IN_FLIGHT)
        .boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        scan::entries(self.reader.clone(), prefix, None)
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        scan::entries(self.reader.clone(), prefix, Some(offset))
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let prefix = prefix.cloned().unwrap_or_default();
        self.reader.read(move |database| scan::children(database, &prefix)).await
    }

    async fn copy_opts(&self, _from: &Path, _to: &Path, _how: CopyOptions) -> Result<()> {
        Err(not_implemented("copy_opts"))
    }
}

/// The part of `record` that `how` asks for.
fn answer(key: &Path, record: &Record, how: &GetOptions) -> Result<GetResult> {
    let meta = record.meta(key.clone());
    how.check_preconditions(&meta)?;
    let range = match &how.range {
        Some(range) => range.as_range(meta.size).map_err(|source| generic(source.into()))?,
        None => 0..meta.size,
    };
    let bounds = usize::try_from(range.start).ok().zip(usize::try_from(range.end).ok());
    let (start, end) = bounds.expect("BUG: a range within an object in memory");
    let body = record.body.slice(start..end);
    Ok(GetResult {
        payload: GetResultPayload::Stream(futures::stream::iter([Ok(body)]).boxed()),
        meta,
        range,
        attributes: object_store::Attributes::default(),
        extensions: http::Extensions::default(),
    })
}

fn generic(source: Box<dyn std::error::Error + Send + Sync>) -> Error {
    Error::Generic { store: "embedded", source }
}

fn not_found(key: &Path) -> Error {
    Error::NotFound { path: key.to_string(), source: "no such object".into() }
}

fn not_implemented(operation: &str) -> Error {
    Error::NotImplemented { operation: operation.to_owned(), implementer: "embedded".to_owned() }
}
