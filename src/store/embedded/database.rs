//! The key-value engine in the directory: how it is opened and sized, single reads, one batch.

use std::{
    collections::HashMap,
    fmt,
    path::{Path as FilePath, PathBuf},
    sync::Arc,
};

use fjall::{
    CompressionType, Keyspace, KeyspaceCreateOptions, KvSeparationOptions, PersistMode,
    compaction::Leveled, config::PartitioningPolicy,
};
use object_store::{Result, path::Path};

use super::{
    directory::Directory,
    generic,
    health::Health,
    record::Record,
    space::{Full, Space},
};
use crate::store::OpenError;

/// Blocks read from disk that are kept in memory.
const CACHE_BYTES: u64 = 4 << 20;
/// Writes kept in memory before they become a table; also bounds what a reopen replays.
const MEMTABLE_BYTES: u64 = 8 << 20;
/// How long a table of keys gets. It stands for all levels: the first one after the fresh tables holds
/// [`FRESH_TABLES`] of these, and is rewritten whenever those are merged into it, as keys of runs come in
/// no order. With tables of 64 MiB, the default, that was a third of all time after 100,000 executions.
const TABLE_BYTES: u64 = 4 << 20;
/// How many fresh tables are merged at once. A put-if-absent looks into the filter of each.
const FRESH_TABLES: u8 = 8;
/// Open table files.
const FILES_MAX: usize = 256;
/// From this length on a body is written once more, into a file of bodies, and merges of tables carry
/// only its place. Bodies of commits are never changed, and were written seven times over.
const APART_BYTES: u32 = 256;
/// The engine's threads. It keeps the first for flushes, so that none waits for a merge of tables; but
/// that one spins for as long as a merge is asked for and all others are at one. With one other, that
/// was half of the time under load; with two, the second finds nothing left to merge and takes it.
const THREADS: usize = 3;
/// The one table space that we use.
const KEYSPACE: &str = "objects";

/// The engine, open, with its directory locked.
pub(super) struct Database {
    // In the order of drop: the lock goes last.
    objects: Keyspace,
    engine: fjall::Database,
    directory: Directory,
    space: Space,
    health: Health,
}

/// Why a batch was not written.
#[derive(Clone, Debug)]
pub(super) enum Unwritten {
    /// Nothing of it was begun.
    Full(Full),
    /// It may be on the disk, and is not to be seen before the store is opened again.
    Failed(String),
}

impl From<Unwritten> for object_store::Error {
    fn from(unwritten: Unwritten) -> Self {
        match unwritten {
            Unwritten::Full(full) => generic(full.into()),
            Unwritten::Failed(cause) => generic(cause.into()),
        }
    }
}

impl fmt::Debug for Database {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Database").field("directory", &self.directory).finish_non_exhaustive()
    }
}

impl Database {
    /// Locks and opens; blocks on the disk.
    pub(super) fn open(path: &FilePath) -> Result<Self, OpenError> {
        let directory = Directory::lock(path)?;
        let (engine, objects) = directory.open(open_engine)?;
        let space = Space::of(directory.path());
        Ok(Self { objects, engine, directory, space, health: Health::default() })
    }

    pub(super) fn health(&self) -> &Health {
        &self.health
    }

    /// Asks the engine whether it takes writes still; a failure in its background shows nowhere else
    /// until the next write. May wait for a write under way.
    pub(super) fn check(&self) {
        if let Err(error) = self.engine.persist(PersistMode::Buffer) {
            self.health.breaks(&told(&error));
        }
    }

    pub(super) fn directory(&self) -> &FilePath {
        self.directory.path()
    }

    pub(super) fn get(&self, key: &Path) -> Result<Option<Record>> {
        let value = self.objects.get(key.as_ref()).map_err(failed)?;
        value.map(|value| Record::decode(&value)).transpose()
    }

    pub(super) fn contains(&self, key: &Path) -> Result<bool> {
        self.objects.contains_key(key.as_ref()).map_err(failed)
    }

    /// The keys in `range`, in order, read as they are taken.
    pub(super) fn range(
        &self,
        range: (std::ops::Bound<String>, std::ops::Bound<String>),
    ) -> impl Iterator<Item = Result<(Path, Record)>> {
        self.objects.range(range).map(|entry| {
            let (key, value) = entry.into_inner().map_err(failed)?;
            let key = str::from_utf8(&key).map_err(|error| generic(error.into()))?;
            Ok((Path::parse(key)?, Record::decode(&value)?))
        })
    }

    /// Writes and removes, all or nothing, and returns when it is on the disk.
    ///
    /// On a disk that is nearly full nothing is begun, and a later write may succeed. After any other
    /// failure the engine takes no more writes: what reached the disk is unknown, and only opening it
    /// again can tell.
    pub(super) fn write(&self, changes: HashMap<Path, Option<Record>>) -> Result<(), Unwritten> {
        if changes.is_empty() {
            return Ok(());
        }
        self.space.check().map_err(Unwritten::Full)?;
        let mut batch = self.engine.batch().durability(Some(PersistMode::SyncData));
        for (key, change) in changes {
            match change {
                Some(record) => batch.insert(&self.objects, key.as_ref(), record.encode()),
                None => batch.remove(&self.objects, key.as_ref()),
            }
        }
        batch.commit().map_err(|error| {
            self.health.breaks(&told(&error));
            let cause = self.health.cause();
            Unwritten::Failed(format!(
                "{cause}; no more is written until the store is opened again"
            ))
        })
    }
}

fn open_engine(path: &PathBuf) -> fjall::Result<(fjall::Database, Keyspace)> {
    let engine = fjall::Database::builder(path)
        .cache_size(CACHE_BYTES)
        .max_cached_files(Some(FILES_MAX))
        .worker_threads(THREADS)
        .manual_journal_persist(true)
        // The journal module checks what it reads back, and needs no codec for it.
        .journal_compression(CompressionType::None)
        .open()?;
    let merges =
        Leveled::default().with_l0_threshold(FRESH_TABLES).with_table_target_size(TABLE_BYTES);
    let apart = KvSeparationOptions::default().separation_threshold(APART_BYTES);
    let options = KeyspaceCreateOptions::default()
        .max_memtable_size(MEMTABLE_BYTES)
        // In parts that the cache can hold: what asks whether a key is there must not read the filter of
        // a whole table for it.
        .filter_block_partitioning_policy(PartitioningPolicy::new([false, true]))
        .index_block_partitioning_policy(PartitioningPolicy::new([false, false, true]))
        .compaction_strategy(Arc::new(merges))
        .with_kv_separation(Some(apart.compression(CompressionType::None)));
    let objects = engine.keyspace(KEYSPACE, || options)?;
    Ok((engine, objects))
}

/// What went wrong, in the words of the system where it was the system.
fn told(error: &fjall::Error) -> String {
    if let fjall::Error::Io(error) = error {
        return error.to_string();
    }
    if matches!(error, fjall::Error::Poisoned) {
        return "writing tables failed in the background, as it does on a full disk".to_owned();
    }
    error.to_string()
}

fn failed(error: fjall::Error) -> object_store::Error {
    generic(error.into())
}
