//! Reads a whole store and tells what is wrong with it; changes nothing.
//!
//! Works on the bucket itself, also while engines serve it. The indexes are read first and the logs
//! after, so that whatever an index says of a commit is in the log by then. What looks wrong is read
//! again, index and log, and counts only if the log stood still in between.
//!
//! Invariants:
//! * every request is a GET or a LIST;
//! * what a key or a body holds never makes it fail: that is a finding;
//! * memory: the indexes, 16 bytes for each run, and a few commits of a few executions at a time.
//!
//! Source: docs/format.md, docs/fencing.md; docs/operations.md "Audit and scrub" has what it costs.

mod chain;
mod execution;
mod finding;
mod index;
mod judge;
mod orphans;
mod shelf;
#[cfg(test)]
mod tests;
mod verdict;

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use futures::{StreamExt, TryStreamExt, stream};
use object_store::path::Path;

use self::{
    execution::{Group, Groups, Looked, Mark},
    index::{Indexes, Listed, OfRun, listed},
    judge::judge_unnamed,
    orphans::{GONE_FOR, Named},
    shelf::Shelf,
};
use crate::{
    env::Env,
    log::{self, Commit, Key},
    store::Store,
    wake::WakeIndex,
    workflow::{Policy, RunId, Timestamp},
};

pub use finding::{Finding, Severity, Summary};
pub(in crate::maintenance) use verdict::{Mend, Verdict};

/// How many executions are read at once.
const EXECUTIONS: usize = 16;
/// How many are held before what came of them is given on.
const BATCH: usize = 256;
/// How often an execution that looks wrong is read again while it changes.
const ROUNDS: usize = 3;

/// The first part of every key there is.
const FAMILIES: [&str; 12] = [
    "blob",
    "blueprint",
    "dead",
    "feed",
    "id",
    "probe",
    "push",
    "queue",
    "run",
    "sys",
    "wake",
    "worker",
];

/// Audits a store.
#[derive(Debug)]
pub struct Auditor {
    pub(in crate::maintenance) store: Store,
    pub(in crate::maintenance) env: Arc<dyn Env>,
    pub(in crate::maintenance) wakes: WakeIndex,
    shards: u32,
    guard: Duration,
    /// How long a run must have been without a start commit before it is deleted.
    gone_after: Duration,
    shelf: Shelf,
}

/// An execution that looks wrong, as it stood then.
#[derive(Debug)]
struct Suspect {
    group: Group,
    marks: Vec<Mark>,
}

/// What a pass has to keep until its end.
#[derive(Debug)]
struct Pass {
    began: Timestamp,
    summary: Summary,
    named: Named,
    suspects: Vec<Suspect>,
    /// Runs that lists knew and no start commit names.
    missing: HashSet<RunId>,
}

impl Auditor {
    /// An auditor of `store`, which `sys/layout.json` says has `shards` parts.
    pub fn new(store: Store, env: Arc<dyn Env>, shards: u32) -> Self {
        let wakes = WakeIndex::new(store.clone(), shards);
        let shelf = Shelf::new(store.clone());
        let guard = Policy::default().guard;
        Self { store, env, wakes, shards, guard, gone_after: GONE_FOR, shelf }
    }

    /// The same, for which what no start commit names is gone after `age` already, instead of after a
    /// day: for tests. Shorter than half an hour it could delete what a slow start is about to name.
    #[must_use]
    pub fn gone_after(self, age: Duration) -> Self {
        Self { gone_after: age, ..self }
    }

    /// The store, and its request counts.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Reads everything, and gives each finding to `tell`.
    ///
    /// Costs 1 LIST for each 1,000 keys of each index and of `id/`; for each run 1 LIST and 1 GET for
    /// each commit, blob and pinned blueprint; up to 512 LISTs for what no start commit names. What
    /// looks wrong is read twice, or up to four times while it changes.
    ///
    /// # Errors
    ///
    /// [`log::Error::Unavailable`], [`log::Error::Throttled`]: it is not finished; begin again.
    pub async fn audit(&self, mut tell: impl FnMut(&Finding)) -> Result<Summary, log::Error> {
        self.pass(async |verdicts: Vec<Verdict>| {
            verdicts.iter().flat_map(|verdict| &verdict.findings).for_each(&mut tell);
            Ok(())
        })
        .await
    }

    /// One pass over everything; whatever came of a few executions goes to `take` together.
    pub(in crate::maintenance) async fn pass(
        &self,
        mut take: impl AsyncFnMut(Vec<Verdict>) -> Result<(), log::Error>,
    ) -> Result<Summary, log::Error> {
        let mut pass = Pass {
            began: self.env.now(),
            summary: Summary::default(),
            named: Named::default(),
            suspects: vec![],
            missing: HashSet::new(),
        };
        let mut told = HashSet::new();
        let mut give = async |pass: &mut Pass, mut verdicts: Vec<Verdict>| {
            for verdict in &mut verdicts {
                // Every run of a blueprint finds the same of it.
                verdict.findings.retain(|finding| told.insert(finding.clone()));
                verdict.findings.iter().for_each(|finding| pass.summary.count(finding));
            }
            if verdicts.is_empty() { Ok(()) } else { take(verdicts).await }
        };
        let mut indexes = Indexes::read(&self.store, None, &mut pass.summary).await?;
        let strays = std::mem::take(&mut indexes.findings);
        give(&mut pass, vec![Verdict::of(strays)]).await?;
        let strays = self.executions(&mut pass, &mut indexes).await?;
        give(&mut pass, vec![Verdict::of(strays)]).await?;
        let unnamed = self.unnamed(&mut pass, indexes.runs).await?;
        give(&mut pass, unnamed).await?;
        for _ in 0..ROUNDS {
            let mut suspects = std::mem::take(&mut pass.suspects);
            let indexes = self.indexes_of(&suspects).await?;
            while !suspects.is_empty() {
                let some = suspects.split_off(suspects.len().saturating_sub(BATCH));
                let settled = self.look_again(&mut pass, some, &indexes).await?;
                give(&mut pass, settled).await?;
            }
        }
        pass.summary.moving = pass.suspects.len() as u64;
        let missing = self.missing(&mut pass).await?;
        give(&mut pass, missing).await?;
        let rest = vec![self.blueprints(&mut pass).await?, self.strays().await?];
        give(&mut pass, rest).await?;
        let orphans = self.orphans(&pass.named, pass.began).await?;
        give(&mut pass, orphans).await?;
        Ok(pass.summary)
    }

    /// Reads every execution once. Those that look wrong become suspects; the indexes keep what
    /// leads to no run.
    async fn executions(
        &self,
        pass: &mut Pass,
        indexes: &mut Indexes,
    ) -> Result<Vec<Finding>, log::Error> {
        let mut groups = Groups::default();
        let (folders, strays) = if self.store.is_ordered() {
            (vec![Path::from("id")], vec![])
        } else {
            self.folders(&Path::from("id")).await?
        };
        let mut batch = vec![];
        for folder in folders {
            let mut objects = listed(&self.store, &folder);
            if !self.store.is_ordered() {
                let mut all: Vec<_> = objects.try_collect().await?;
                all.sort_unstable_by(|a, b| a.location.cmp(&b.location));
                objects = stream::iter(all.into_iter().map(Ok)).boxed();
            }
            while let Some(object) = objects.try_next().await? {
                batch.extend(groups.add(&object));
                if batch.len() == BATCH {
                    self.look_at(pass, std::mem::take(&mut batch), indexes).await?;
                }
            }
        }
        batch.extend(groups.finish());
        self.look_at(pass, batch, indexes).await?;
        Ok(strays.into_iter().chain(groups.findings).collect())
    }

    async fn look_at(
        &self,
        pass: &mut Pass,
        groups: Vec<Group>,
        indexes: &mut Indexes,
    ) -> Result<(), log::Error> {
        for looked in self.look_at_all(groups, indexes).await? {
            pass.learn(&looked);
            for run in looked.runs() {
                indexes.runs.remove(&run);
            }
            if looked.is_suspect() {
                let Looked { group, marks, .. } = looked;
                pass.suspects.push(Suspect { group, marks });
            }
        }
        Ok(())
    }

    async fn look_at_all(
        &self,
        groups: Vec<Group>,
        indexes: &Indexes,
    ) -> Result<Vec<Looked>, log::Error> {
        let looks = groups.into_iter().map(|group| self.look(group, indexes));
        stream::iter(looks).buffer_unordered(EXECUTIONS).try_collect().await
    }

    /// What the indexes say of runs that were not among the executions.
    async fn unnamed(
        &self,
        pass: &mut Pass,
        runs: HashMap<RunId, OfRun>,
    ) -> Result<Vec<Verdict>, log::Error> {
        let mut verdicts = vec![];
        for (run, of) in runs {
            let Some(handle) = of.handle() else { continue };
            let key = Key::of_start(handle);
            let start = self.get(&key).await?;
            match start.map(|bytes| Commit::decode(&key, &bytes)) {
                Some(Ok(start)) if start.run == run => {
                    // It was started since; it is looked at with the suspects.
                    let group = Group {
                        namespace: handle.namespace.clone(),
                        execution: handle.execution.clone(),
                        generations: vec![],
                    };
                    pass.named.runs.insert(run);
                    pass.suspects.push(Suspect { group, marks: vec![] });
                }
                // It was told of already, and any run may be the one that it starts.
                Some(Err(_)) => {}
                Some(Ok(_)) | None if of.listed.is_some() => {
                    pass.missing.insert(run);
                }
                Some(Ok(_)) | None => {
                    let (findings, mend) = judge_unnamed(&of, pass.began);
                    verdicts.push(Verdict { handle: Some(handle.clone()), findings, mend });
                }
            }
        }
        Ok(verdicts)
    }

    /// Runs that lists knew and no start commit names: lost, unless lists have learnt meanwhile that
    /// retention deletes them.
    async fn missing(&self, pass: &mut Pass) -> Result<Vec<Verdict>, log::Error> {
        if pass.missing.is_empty() {
            return Ok(vec![]);
        }
        let mut again = Summary::default();
        let indexes = Indexes::read(&self.store, Some(&pass.missing), &mut again).await?;
        let mut verdicts = vec![];
        for (run, of) in indexes.runs {
            match &of.listed {
                Some(Listed { deleted: Some(deleted), .. }) => {
                    pass.named.deleted.insert(run, *deleted);
                }
                Some(_) => {
                    pass.named.lost.insert(run);
                }
                None => {}
            }
            let (findings, mend) = judge_unnamed(&of, pass.began);
            verdicts.push(Verdict { handle: of.handle().cloned(), findings, mend });
        }
        Ok(verdicts)
    }

    /// What the indexes say of the suspects now.
    async fn indexes_of(&self, suspects: &[Suspect]) -> Result<Indexes, log::Error> {
        if suspects.is_empty() {
            return Ok(Indexes::default());
        }
        let marks = suspects.iter().flat_map(|suspect| &suspect.marks);
        let runs: HashSet<RunId> = marks.filter_map(|(_, run, _)| *run).collect();
        Indexes::read(&self.store, Some(&runs), &mut Summary::default()).await
    }

    /// Reads suspects again. What still looks wrong counts if the log stood still since it was read
    /// before `indexes` were; else it stays a suspect.
    async fn look_again(
        &self,
        pass: &mut Pass,
        suspects: Vec<Suspect>,
        indexes: &Indexes,
    ) -> Result<Vec<Verdict>, log::Error> {
        let again = suspects.into_iter().map(|suspect| self.look_at_suspect(suspect, indexes));
        let mut again = stream::iter(again).buffer_unordered(EXECUTIONS);
        let mut settled = vec![];
        while let Some((before, looked)) = again.try_next().await? {
            pass.named.runs.extend(looked.runs());
            if !looked.is_suspect() {
                continue;
            }
            let Looked { group, marks, verdicts, .. } = looked;
            if marks == before {
                settled.extend(verdicts);
            } else {
                pass.suspects.push(Suspect { group, marks });
            }
        }
        Ok(settled)
    }

    async fn look_at_suspect(
        &self,
        suspect: Suspect,
        indexes: &Indexes,
    ) -> Result<(Vec<Mark>, Looked), log::Error> {
        let Suspect { mut group, marks } = suspect;
        let prefix = Key::id_prefix(&group.namespace, &group.execution);
        let objects: Vec<_> = listed(&self.store, &prefix).try_collect().await?;
        let keys = objects.iter().filter_map(|object| Key::parse(&object.location));
        group.generations = keys
            .filter_map(
                |key| if let Key::Id { generation, .. } = key { Some(generation) } else { None },
            )
            .collect();
        Ok((marks, self.look(group, indexes).await?))
    }

    /// Keys that belong to no family, and those of workers and push queues that are nobody's. 1 LIST,
    /// and 1 for each 1,000 of each.
    async fn strays(&self) -> Result<Verdict, log::Error> {
        let listed_root = self.store.objects().list_with_delimiter(None).await;
        let root = listed_root.map_err(|source| log::Error::of_store("list", "", source))?;
        let folders = root.common_prefixes.into_iter();
        let unknown = folders.filter(|folder| !FAMILIES.contains(&folder.as_ref()));
        let mut findings: Vec<Finding> = unknown.map(Finding::nobodys).collect();
        findings.extend(root.objects.into_iter().map(|object| Finding::nobodys(object.location)));
        for family in ["worker", "push"] {
            let mut objects = listed(&self.store, &Path::from(family));
            while let Some(object) = objects.try_next().await? {
                if Key::parse(&object.location).is_none() {
                    findings.push(Finding::nobodys(object.location));
                }
            }
        }
        Ok(Verdict::of(findings))
    }

    /// Every blueprint can be read, no version is missing.
    async fn blueprints(&self, pass: &mut Pass) -> Result<Verdict, log::Error> {
        let (mut keys, mut findings) = (vec![], vec![]);
        let mut objects = listed(&self.store, &Path::from("blueprint"));
        while let Some(object) = objects.try_next().await? {
            match Key::parse(&object.location) {
                Some(key @ Key::Blueprint { .. }) => keys.push(key),
                Some(_) | None => findings.push(Finding::nobodys(&object.location)),
            }
        }
        for key in &keys {
            findings.extend(self.shelf.hash(key).await?.err());
        }
        findings.extend(shelf::gaps(&keys));
        pass.summary.blueprints = self.shelf.len().await;
        Ok(Verdict::of(findings))
    }
}

impl Pass {
    /// Takes in what was read of an execution.
    fn learn(&mut self, looked: &Looked) {
        let (sum, new) = (&mut self.summary, &looked.counts);
        sum.executions += new.executions;
        sum.runs += new.runs;
        sum.open += new.open;
        sum.commits += new.commits;
        sum.snapshots += new.snapshots;
        sum.blobs += new.blobs;
        self.named.runs.extend(looked.runs());
        self.named.unreadable +=
            looked.marks.iter().filter(|(_, run, _)| run.is_none()).count() as u64;
    }
}
