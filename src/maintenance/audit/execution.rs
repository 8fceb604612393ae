//! Reads one execution: every generation of its id, with all that each run's log names.

use std::collections::{BTreeSet, HashSet};

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use object_store::{ObjectMeta, ObjectStoreExt, path::Path};

use super::{
    Auditor,
    chain::Chain,
    finding::{Finding, LOST, RESTORE, Summary},
    index::{Indexes, OfRun, listed},
    judge::{Setting, judge},
    verdict::Verdict,
};
use crate::{
    log::{self, Key, Sum},
    workflow::{ExecutionKey, Generation, Handle, Namespace, RunId, Seq, State},
};

/// How many objects of one run are read at once.
const READS: usize = 8;

/// All keys under one execution's `id/` folder.
#[derive(Clone, Debug)]
pub(super) struct Group {
    /// The namespace.
    pub(super) namespace: Namespace,
    /// The execution's id.
    pub(super) execution: ExecutionKey,
    /// Its generations, the newest first.
    pub(super) generations: Vec<Generation>,
}

/// A generation, its run if that could be told, and the last commit that was listed.
pub(super) type Mark = (Generation, Option<RunId>, Seq);

/// What was found of one execution.
#[derive(Debug)]
pub(super) struct Looked {
    /// The execution.
    pub(super) group: Group,
    /// Of each run; they change when the execution goes on.
    pub(super) marks: Vec<Mark>,
    /// Of each run.
    pub(super) verdicts: Vec<Verdict>,
    /// What was read.
    pub(super) counts: Summary,
}

impl Looked {
    /// Whether anything is wrong.
    pub(super) fn is_suspect(&self) -> bool {
        self.verdicts.iter().any(|verdict| !verdict.findings.is_empty())
    }

    /// The runs that could be told.
    pub(super) fn runs(&self) -> impl Iterator<Item = RunId> {
        self.marks.iter().filter_map(|(_, run, _)| *run)
    }
}

/// Collects keys under `id/` that come in order into executions.
#[derive(Debug, Default)]
pub(super) struct Groups {
    current: Option<Group>,
    /// Keys that are nobody's.
    pub(super) findings: Vec<Finding>,
}

impl Groups {
    /// Takes the next key; gives the execution that is complete.
    pub(super) fn add(&mut self, object: &ObjectMeta) -> Option<Group> {
        let Some(Key::Id { namespace, execution, generation }) = Key::parse(&object.location)
        else {
            self.findings.push(Finding::nobodys(&object.location));
            return None;
        };
        if let Some(current) = &mut self.current
            && (&current.namespace, &current.execution) == (&namespace, &execution)
        {
            current.generations.push(generation);
            return None;
        }
        self.current.replace(Group { namespace, execution, generations: vec![generation] })
    }

    /// The last one.
    pub(super) fn finish(&mut self) -> Option<Group> {
        self.current.take()
    }
}

impl Auditor {
    /// Reads an execution and judges each of its runs by `indexes`.
    ///
    /// Costs for each run 1 GET, 1 LIST for each 1,000 commits, 1 GET for each commit and for each
    /// blob that they name.
    pub(super) async fn look(
        &self,
        mut group: Group,
        indexes: &Indexes,
    ) -> Result<Looked, log::Error> {
        group.generations.sort_unstable_by(|a, b| b.cmp(a));
        let newest = group.generations.first().copied();
        let mut looked = Looked {
            marks: vec![],
            verdicts: vec![gaps(&group)],
            counts: Summary { executions: 1, ..Summary::default() },
            group,
        };
        for generation in looked.group.generations.clone() {
            let is_newest = Some(generation) == newest;
            self.look_at_run(&mut looked, generation, is_newest, indexes).await?;
        }
        Ok(looked)
    }

    async fn look_at_run(
        &self,
        looked: &mut Looked,
        generation: Generation,
        is_newest: bool,
        indexes: &Indexes,
    ) -> Result<(), log::Error> {
        let Group { namespace, execution, .. } = looked.group.clone();
        let key =
            Key::Id { namespace: namespace.clone(), execution: execution.clone(), generation };
        // Deleted since it was listed: deletion begins here.
        let Some(start) = self.get(&key).await? else { return Ok(()) };
        let mut chain = Chain::default();
        chain.add(&key, 0, &start)?;
        looked.counts.runs += 1;
        let Some(run) = chain.run else {
            looked.marks.push((generation, None, 0));
            looked.verdicts.push(Verdict::of(chain.findings));
            return Ok(());
        };
        let handle = Handle { namespace, execution, generation, run, seq: 0 };
        let tail = self.read_commits(&mut chain, run, &mut looked.counts).await?;
        let steps = self.check_blueprint(&handle, &mut chain).await?;
        looked.marks.push((generation, Some(run), tail));
        looked.counts.commits += chain.commits;
        looked.counts.snapshots += chain.snapshots;
        let mut verdict = Verdict {
            handle: Some(handle.at(tail)),
            findings: chain.findings,
            ..Verdict::default()
        };
        // No index knows of a tombstone.
        if let Some(state) = chain.state.as_ref().filter(|_| !chain.is_tombstone) {
            looked.counts.open += u64::from(!state.is_closed());
            verdict.findings.extend(second_open(&key, state, is_newest));
            let (now, shards, guard) = (self.env.now(), self.shards, self.guard);
            let setting = Setting { now, shards, guard, steps };
            let nothing = OfRun::default();
            let of = indexes.runs.get(&run).unwrap_or(&nothing);
            let (findings, mend) = judge(state, of, setting);
            verdict.findings.extend(findings);
            verdict.mend = mend;
        }
        looked.verdicts.push(verdict);
        Ok(())
    }

    /// Reads the commits from 1 on, and the blobs that they name; gives the last one's number.
    async fn read_commits(
        &self,
        chain: &mut Chain,
        run: RunId,
        counts: &mut Summary,
    ) -> Result<Seq, log::Error> {
        let mut named = HashSet::new();
        self.check_blobs(chain, run, &mut named, counts).await?;
        let seqs = self.seqs(chain, run).await?;
        let tail = seqs.last().copied().unwrap_or(0);
        let reads = seqs.into_iter().map(|seq| async move {
            let key = Key::Run { run, seq };
            Ok((seq, self.get(&key).await?, key))
        });
        let mut commits = stream::iter(reads).buffered(READS);
        while let Some((seq, bytes, key)) = commits.try_next().await? {
            match bytes {
                Some(bytes) => chain.add(&key, seq, &bytes)?,
                None => chain.vanished(&key, seq),
            }
            self.check_blobs(chain, run, &mut named, counts).await?;
        }
        Ok(tail)
    }

    /// The numbers of the commits under `run/`.
    async fn seqs(&self, chain: &mut Chain, run: RunId) -> Result<BTreeSet<Seq>, log::Error> {
        let mut seqs = BTreeSet::new();
        let mut objects = listed(&self.store, &Key::run_prefix(run));
        while let Some(object) = objects.try_next().await? {
            match Key::parse(&object.location) {
                Some(Key::Run { seq, .. }) if seq > 0 => {
                    seqs.insert(seq);
                }
                Some(_) | None => chain.findings.push(Finding::nobodys(&object.location)),
            }
        }
        Ok(seqs)
    }

    /// Whether the blobs that the last commits name are there, and what they are named by.
    async fn check_blobs(
        &self,
        chain: &mut Chain,
        run: RunId,
        named: &mut HashSet<String>,
        counts: &mut Summary,
    ) -> Result<(), log::Error> {
        for (sha256, bytes) in chain.take_blobs() {
            if !named.insert(sha256.clone()) {
                continue;
            }
            counts.blobs += 1;
            let key = Key::Blob { run, sha256 };
            let Some(found) = self.get(&key).await? else {
                let what = "a commit names it, and it is missing";
                chain.findings.push(Finding::fault(&key, what, RESTORE));
                continue;
            };
            let Key::Blob { sha256, .. } = &key else { continue };
            if found.len() as u64 != bytes || Sum::of(&found).to_string() != *sha256 {
                let what = "its hash does not match its bytes";
                chain.findings.push(Finding::fault(&key, what, RESTORE));
            }
        }
        Ok(())
    }

    /// Whether the blueprint that the run is pinned to is there; how many steps it has.
    async fn check_blueprint(
        &self,
        handle: &Handle,
        chain: &mut Chain,
    ) -> Result<Option<usize>, log::Error> {
        let Some(pinned) = chain.blueprint.clone() else { return Ok(None) };
        let (namespace, name) = (handle.namespace.clone(), pinned.name.clone());
        let key = Key::Blueprint { namespace, name, version: pinned.version };
        match self.shelf.hash(&key).await? {
            Ok(Some((hash, steps))) if hash == pinned.hash => return Ok(Some(steps)),
            Ok(Some(_)) => {
                let what = "it is not the one that runs are pinned to: its hash differs";
                chain.findings.push(Finding::fault(key, what, RESTORE));
            }
            Ok(None) => {
                let what = "runs are pinned to it, and it is missing";
                chain.findings.push(Finding::fault(key, what, RESTORE));
            }
            Err(finding) => chain.findings.push(finding),
        }
        Ok(None)
    }

    /// The bytes at `key`; none when nothing stands there. 1 GET.
    pub(super) async fn get(&self, key: &Key) -> Result<Option<Bytes>, log::Error> {
        self.get_path(&key.path()).await
    }

    async fn get_path(&self, path: &Path) -> Result<Option<Bytes>, log::Error> {
        let read = async { self.store.objects().get(path).await?.bytes().await };
        match read.await {
            Ok(bytes) => Ok(Some(bytes)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(source) => Err(log::Error::of_store("read", path.as_ref(), source)),
        }
    }
}

/// Deletion takes the oldest generation first: only below the oldest may numbers be missing.
fn gaps(group: &Group) -> Verdict {
    let pairs = group.generations.windows(2);
    let gap = |pair: &[Generation]| {
        let (newer, older) = (pair[0], pair[1]);
        (newer > older + 1).then(|| {
            let Group { namespace, execution, .. } = group.clone();
            let key = Key::Id { namespace, execution, generation: newer };
            let what = format!("generations {} to {} before it are missing", older + 1, newer - 1);
            Finding::fault(key, what, LOST)
        })
    };
    Verdict::of(pairs.filter_map(gap).collect())
}

fn second_open(key: &Key, state: &State, is_newest: bool) -> Option<Finding> {
    (!is_newest && !state.is_closed()).then(|| {
        let what = "it is open, though a later generation of its id was started";
        let advice = "cancel one of the two; a person must look how both came to be";
        Finding::fault(key, what, advice)
    })
}
