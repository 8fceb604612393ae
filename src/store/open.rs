//! Opens the store that a URL names.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use object_store::{ObjectStore, local::LocalFileSystem, memory::InMemory};
use thiserror::Error;

use super::{
    Store, Traits,
    embedded::{self, Embedded},
    remote,
    target::{self, Target},
};
use crate::env::Env;

/// Why a store can not be opened.
#[derive(Debug, Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum OpenError {
    #[error(
        "{url:?} names no store; give one of s3://BUCKET/PREFIX, gs://BUCKET/PREFIX, \
         az://CONTAINER/PREFIX, file:///DIR, embedded:DIR or memory:"
    )]
    Form { url: String },
    #[error(
        "the store directory {} can not be created or written; check its owner, its \
         permissions and the free space, or name another directory", directory.display()
    )]
    Directory {
        directory: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error(
        "the store directory {} is in use by the process {pid}; stop that one, or name \
         another directory (one process owns an embedded store; to share one, use s3:// or file://)",
        directory.display()
    )]
    Owned { directory: PathBuf, pid: String },
    #[error(
        "the embedded store in {} is damaged: {detail}; restore the directory from a \
         backup, or name another one", directory.display()
    )]
    Damaged { directory: PathBuf, detail: String },
    #[error(
        "the client for {url} can not be set up; check the variables of its credentials and endpoint"
    )]
    Client {
        url: String,
        #[source]
        source: object_store::Error,
    },
    #[error("no TLS client can be set up for {url}; check that this system has root certificates")]
    Tls {
        url: String,
        #[source]
        source: reqwest::Error,
    },
}

/// The store of `url`; see [`Store::open`].
pub(super) async fn open(url: &str, env: Arc<dyn Env>) -> Result<Store, OpenError> {
    let shown = target::shown(url);
    match target::parse(url).ok_or_else(|| OpenError::Form { url: shown.clone() })? {
        Target::Memory => Ok(Store::wrap(Arc::new(InMemory::new()), embedded::TRAITS, &shown)),
        Target::Embedded { directory } => {
            let objects = Embedded::open(&directory, env).await?;
            Ok(Store::own(objects, &shown))
        }
        Target::File { directory } => {
            let objects = open_directory(&directory)
                .map_err(|source| OpenError::Directory { directory, source })?;
            Ok(Store::wrap(objects, Traits::NONE, &shown))
        }
        Target::Bucket { cloud, bucket, prefix } => {
            let clients = remote::connect(cloud, &bucket, &prefix, &shown)?;
            Ok(Store::assemble(clients.objects, clients.commits, clients.traits, &shown))
        }
    }
}

/// Objects as files that are on the disk when their put returns.
fn open_directory(directory: &Path) -> io::Result<Arc<dyn ObjectStore>> {
    std::fs::create_dir_all(directory)?;
    // So that a read-only directory is told now. The name is one that no list shows (`#` and digits
    // mark unfinished puts).
    let trial = directory.join(format!("lazarus#{}", std::process::id()));
    std::fs::write(&trial, b"")?;
    std::fs::remove_file(&trial)?;
    let files = LocalFileSystem::new_with_prefix(directory).map_err(io::Error::other)?;
    // A folder goes with its last file: else a scan of the wake index would open every minute that
    // ever had an entry.
    Ok(Arc::new(files.with_fsync(true).with_automatic_cleanup(true)))
}
