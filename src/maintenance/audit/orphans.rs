//! Objects under `run/` and `blob/` whose run no start commit names.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use futures::TryStreamExt;
use object_store::path::Path;

use super::{
    Auditor,
    finding::{Finding, LOST, SCRUB},
    index::{listed, modified},
    verdict::{Mend, Verdict},
};
use crate::{
    log::{self, Key},
    maintenance::retention::is_grace_surely_over,
    workflow::{RunId, Timestamp},
};

/// How long a run must have been without a start commit before it is a fault, and is deleted: far
/// beyond what any start, and any writer that was frozen, may take.
pub(super) const GONE_FOR: Duration = Duration::from_hours(24);

/// What is known of the runs that are named.
#[derive(Debug, Default)]
pub(super) struct Named {
    /// Each run that a start commit names.
    pub(super) runs: HashSet<RunId>,
    /// Runs that no start commit names, but lists know: their start was lost, and they are kept.
    pub(super) lost: HashSet<RunId>,
    /// Runs that retention deletes, and since when: their start is gone, and the rest goes when it is
    /// sure that no backup needs it.
    pub(super) deleted: HashMap<RunId, Timestamp>,
    /// Start commits that could not be read: any run may be theirs, and nothing is deleted.
    pub(super) unreadable: u64,
}

impl Auditor {
    /// Looks at every run's folder under `run/` and `blob/`.
    ///
    /// Costs 1 LIST for each of the 256 spreads that holds one, for each 1,000 runs, and for each
    /// orphan.
    pub(super) async fn orphans(
        &self,
        named: &Named,
        began: Timestamp,
    ) -> Result<Vec<Verdict>, log::Error> {
        let mut verdicts = vec![];
        let mut seen = HashSet::new();
        for family in ["run", "blob"] {
            let (spreads, strays) = self.folders(&Path::from(family)).await?;
            verdicts.push(Verdict::of(strays));
            for spread in spreads {
                let (folders, strays) = self.folders(&spread).await?;
                verdicts.push(Verdict::of(strays));
                for folder in folders {
                    let run = run_at(&folder);
                    if run.is_some_and(|run| named.runs.contains(&run) || !seen.insert(run)) {
                        continue;
                    }
                    verdicts.push(match run {
                        Some(run) => self.orphan(run, named, began).await?,
                        None => Verdict::of(vec![Finding::nobodys(folder)]),
                    });
                }
            }
        }
        Ok(verdicts)
    }

    async fn orphan(
        &self,
        run: RunId,
        named: &Named,
        began: Timestamp,
    ) -> Result<Verdict, log::Error> {
        let (mut newest, mut count) = (Timestamp::default(), 0_u64);
        let mut has_commits = false;
        for prefix in [Key::run_prefix(run), Key::blob_prefix(run)] {
            let mut objects = listed(&self.store, &prefix);
            while let Some(object) = objects.try_next().await? {
                newest = newest.max(modified(&object));
                count += 1;
                has_commits |= prefix == Key::run_prefix(run);
            }
        }
        let key = if has_commits { Key::run_prefix(run) } else { Key::blob_prefix(run) };
        if count == 0 {
            return Ok(Verdict::default());
        }
        if let Some(deleted) = named.deleted.get(&run) {
            let what = format!("{count} objects of a run that retention deletes");
            let advice = "nothing: a pass of retention takes them a day after its start";
            let delete = is_grace_surely_over(*deleted, began).then_some(run);
            return Ok(Verdict {
                handle: None,
                findings: vec![Finding::note(key, what, advice)],
                mend: Mend { delete, ..Mend::default() },
            });
        }
        if named.lost.contains(&run) {
            let what = format!("{count} objects of a run whose start commit is missing");
            return Ok(Verdict::of(vec![Finding::fault(key, what, LOST)]));
        }
        let what = format!("{count} objects of a run that no start commit names");
        if began.since(newest) <= self.gone_after {
            let advice =
                "nothing: a start may be under way; after 24 h `lazarus scrub` deletes them";
            return Ok(Verdict::of(vec![Finding::note(key, what, advice)]));
        }
        if named.unreadable > 0 {
            // Which are told of by themselves: as faults, or, where a newer build wrote them, as notes.
            let advice = "first see to the start commits that can not be read: it may be theirs";
            return Ok(Verdict::of(vec![Finding::note(key, what, advice)]));
        }
        let mend = Mend { delete: Some(run), ..Mend::default() };
        // A blob is written before the commit that names it, which then may never come.
        let tell = if has_commits { Finding::fault } else { Finding::note };
        let findings = vec![tell(key, what, SCRUB)];
        Ok(Verdict { handle: None, findings, mend })
    }

    /// The folders in `prefix`, in order, and the keys of objects that stand beside them. 1 LIST.
    pub(super) async fn folders(
        &self,
        prefix: &Path,
    ) -> Result<(Vec<Path>, Vec<Finding>), log::Error> {
        let listed = match self.store.objects().list_with_delimiter(Some(prefix)).await {
            Ok(listed) => listed,
            Err(object_store::Error::NotFound { .. }) => return Ok((vec![], vec![])),
            Err(source) => return Err(log::Error::of_store("list", prefix.as_ref(), source)),
        };
        let mut folders = listed.common_prefixes;
        folders.sort_unstable();
        let strays = listed.objects.into_iter().map(|object| Finding::nobodys(object.location));
        Ok((folders, strays.collect()))
    }
}

/// The run whose folder this is.
fn run_at(folder: &Path) -> Option<RunId> {
    let run: RunId = folder.filename()?.parse().ok()?;
    [Key::run_prefix(run), Key::blob_prefix(run)].contains(folder).then_some(run)
}
