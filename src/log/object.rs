//! The log of runs on an object store: the store, the reads that everything else here is made of,
//! and the log as an incident needs it.

use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use object_store::{ObjectStoreExt, path::Path};

use super::{commit::Commit, error::Error, format::Format, key::Key};
use crate::{
    env::Env,
    store::Store,
    workflow::{Handle, RunId, Seq},
};

/// How many commits of one run are read at once.
const READS_AT_ONCE: usize = 32;

/// The logs of all runs in one store; cheap to clone.
#[derive(Clone, Debug)]
pub struct RunLog {
    pub(super) store: Store,
    pub(super) env: Arc<dyn Env>,
    format: Format,
}

impl RunLog {
    /// The logs in `store`.
    pub fn new(store: Store, env: Arc<dyn Env>) -> Self {
        Self { store, env, format: Format::OURS }
    }

    /// The same logs, as a build of `format` reads them.
    #[must_use]
    pub fn read_as(self, format: Format) -> Self {
        Self { format, ..self }
    }

    /// Whether the start commit still names this run. 1 GET.
    ///
    /// # Errors
    ///
    /// As of any read: [`Error::Unavailable`], [`Error::Throttled`], [`Error::Corrupt`],
    /// [`Error::TooNew`].
    pub async fn names_run(&self, handle: &Handle) -> Result<bool, Error> {
        let start = self.commit(&Key::of_start(handle)).await?;
        Ok(start.is_some_and(|start| start.run == handle.run))
    }

    /// The start commit of this generation of the id; none: nobody has started it (yet). 1 GET.
    ///
    /// # Errors
    ///
    /// As of any read; see [`RunLog::tail`].
    pub async fn start_of(&self, handle: &Handle) -> Result<Option<Commit>, Error> {
        self.commit(&Key::of_start(handle)).await
    }

    /// Commit `handle.seq` of the run, alone and not compared with others; none: it is not there.
    /// 1 GET.
    ///
    /// # Errors
    ///
    /// As of any read; see [`RunLog::tail`].
    pub async fn commit_of(&self, handle: &Handle) -> Result<Option<Commit>, Error> {
        self.commit(&Key::of_commit(handle)).await
    }

    /// The run that this generation of the id names; none: nobody has started it (yet). 1 GET.
    ///
    /// # Errors
    ///
    /// As of any read; see [`RunLog::tail`].
    pub async fn run_of(&self, handle: &Handle) -> Result<Option<RunId>, Error> {
        Ok(self.commit(&Key::of_start(handle)).await?.map(|start| start.run))
    }

    /// Every commit of the run, oldest first, each checked against the one before; empty: no such
    /// run. 1 LIST per 1,000 commits and 1 GET each.
    ///
    /// # Errors
    ///
    /// As of any read; [`Error::Corrupt`] also when a commit is missing.
    pub async fn history(&self, handle: &Handle) -> Result<Vec<Commit>, Error> {
        let last = self.seqs(handle.run).await?.last().copied().unwrap_or(0);
        let commits = self.commits(handle, 0, last).await?.unwrap_or_default();
        if commits.first().is_none_or(|start| start.run != handle.run) {
            return Ok(vec![]);
        }
        check_chain(&commits)?;
        Ok(commits)
    }

    /// Key and bytes of every commit as they are stored, oldest first, unchecked: for an incident.
    /// Costs as [`RunLog::history`].
    ///
    /// # Errors
    ///
    /// [`Error::Unavailable`], [`Error::Throttled`].
    pub async fn raw(&self, handle: &Handle) -> Result<Vec<(String, Bytes)>, Error> {
        let start = Key::of_start(handle);
        let mut found = vec![];
        if let Some(bytes) = self.get(&start).await? {
            found.push((start.to_string(), bytes));
        }
        found.extend(self.raw_of_run(handle.run).await?);
        Ok(found)
    }

    /// As [`RunLog::raw`] from commit 1, for a run of which nothing but its own id is known.
    ///
    /// # Errors
    ///
    /// [`Error::Unavailable`], [`Error::Throttled`].
    pub async fn raw_of_run(&self, run: RunId) -> Result<Vec<(String, Bytes)>, Error> {
        let keys = self.seqs(run).await?.into_iter().map(|seq| Key::Run { run, seq });
        let reads = keys.map(|key| async move { Ok((key.to_string(), self.get(&key).await?)) });
        let found: Vec<(String, Option<Bytes>)> =
            stream::iter(reads).buffered(READS_AT_ONCE).try_collect().await?;
        Ok(found.into_iter().filter_map(|(key, bytes)| Some((key, bytes?))).collect())
    }

    /// The commit at `key`; none when nothing stands there. 1 GET.
    pub(super) async fn commit(&self, key: &Key) -> Result<Option<Commit>, Error> {
        self.get(key).await?.map(|bytes| Commit::decode_as(self.format, key, &bytes)).transpose()
    }

    /// The commits `first` to `last` of the run, in that order; none: the run was deleted meanwhile.
    /// 1 GET each, up to 32 at once.
    pub(super) async fn commits(
        &self,
        handle: &Handle,
        first: Seq,
        last: Seq,
    ) -> Result<Option<Vec<Commit>>, Error> {
        let reads = (first..=last).map(|seq| async move {
            let key = Key::of_commit(&handle.at(seq));
            Ok((self.commit(&key).await?, key))
        });
        let mut reads = stream::iter(reads).buffered(READS_AT_ONCE);
        let mut found = vec![];
        let missing = loop {
            match reads.try_next().await? {
                Some((Some(commit), _)) => found.push(commit),
                // The numbers after it are not read: a stray one may be far beyond the end.
                Some((None, key)) => break key,
                None => return Ok(Some(found)),
            }
        };
        // Deletion begins with the start commit: while that names the run, nothing may be missing.
        if !self.names_run(handle).await? {
            return Ok(None);
        }
        let fault = "it is missing, though later commits are there".to_owned();
        Err(Error::Corrupt { key: missing.to_string(), fault })
    }

    /// The bytes at `key`; none when nothing stands there. 1 GET.
    pub(super) async fn get(&self, key: &Key) -> Result<Option<Bytes>, Error> {
        let read = async { self.store.objects().get(&key.path()).await?.bytes().await };
        match read.await {
            Ok(bytes) => Ok(Some(bytes)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(Error::of_store("read", &key.to_string(), error)),
        }
    }

    /// The numbers of the commits that stand under `run/`, ascending.
    async fn seqs(&self, run: RunId) -> Result<Vec<Seq>, Error> {
        let keys = self.listed(&Key::run_prefix(run)).await?;
        let seq = |key: Key| match key {
            Key::Run { seq, .. } => Some(seq),
            Key::Id { .. }
            | Key::Blob { .. }
            | Key::Wake { .. }
            | Key::Queue { .. }
            | Key::Blueprint { .. }
            | Key::Worker { .. }
            | Key::Push { .. }
            | Key::Feed { .. }
            | Key::Dead { .. }
            | Key::Layout => None,
        };
        let mut seqs: Vec<Seq> = keys.into_iter().filter_map(seq).collect();
        seqs.sort_unstable();
        Ok(seqs)
    }

    /// All keys of ours under `prefix`. 1 LIST per 1,000.
    async fn listed(&self, prefix: &Path) -> Result<Vec<Key>, Error> {
        let found: Result<Vec<_>, _> = self.store.objects().list(Some(prefix)).try_collect().await;
        let found = found.map_err(|error| Error::of_store("list", prefix.as_ref(), error))?;
        Ok(found.iter().filter_map(|object| Key::parse(&object.location)).collect())
    }

    /// The key of ours under `prefix` that sorts first. 1 LIST where listing is ordered; else 1 per
    /// 1,000.
    pub(super) async fn first_listed(&self, prefix: &Path) -> Result<Option<Key>, Error> {
        if !self.store.is_ordered() {
            return Ok(self.listed(prefix).await?.into_iter().min_by_key(ToString::to_string));
        }
        let mut found = self.store.objects().list(Some(prefix));
        while let Some(object) = found.next().await {
            let object = object.map_err(|error| Error::of_store("list", prefix.as_ref(), error))?;
            if let Some(key) = Key::parse(&object.location) {
                return Ok(Some(key));
            }
        }
        Ok(None)
    }
}

/// Checks that each commit names the one before it.
pub(super) fn check_chain(commits: &[Commit]) -> Result<(), Error> {
    commits.windows(2).try_for_each(|pair| pair[1].check_follows(&pair[0].sum))
}
