//! Mends, from the logs, whatever an audit finds that can be mended: the indexes, and what a deletion
//! left behind.
//!
//! Acts by the rules for wakers (docs/fencing.md "Wake entries"), so that it may run beside engines
//! and beside itself. Never writes or deletes a commit of a run that a start commit names.
//!
//! Invariants:
//! * nothing of a run is removed before everything that its state needs was put with `Ok`, and, where
//!   it is closed or parked, its record for lists was written;
//! * a second pass over a store that stands still writes and deletes nothing.

mod act;

use serde::Serialize;

use super::audit::{Auditor, Finding, Summary, Verdict};
use crate::{log, maintenance::Feed};

/// What a scrub did, or would do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Mended {
    /// Wake entries that were missing and were put.
    pub wakes_put: u64,
    /// Records for lists that were written again.
    pub records_written: u64,
    /// Wake entries that nothing needs, deleted.
    pub wakes_deleted: u64,
    /// Offers of tasks that are over, deleted.
    pub offers_deleted: u64,
    /// Runs that no start commit names, deleted.
    pub runs_deleted: u64,
    /// Their objects.
    pub objects_deleted: u64,
    /// Faults that can not be mended from the logs: a person must look; `lazarus audit` names them.
    pub faults_left: u64,
    /// Executions that changed each time they were looked at.
    pub moving: u64,
}

/// One thing that a scrub did, or would do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Deed {
    /// The key that was written or deleted.
    pub key: String,
    /// What was done.
    pub what: &'static str,
}

impl Auditor {
    /// Mends what can be mended, and gives each deed to `tell`; with `dry_run` only tells.
    ///
    /// Costs an audit, and what it tells of: 1 PUT or DELETE each, records in batches; before a
    /// deletion 1 PUT for each entry that the run needs.
    ///
    /// # Errors
    ///
    /// [`log::Error::Unavailable`], [`log::Error::Throttled`]: it is not finished; begin again.
    pub async fn scrub(
        &self,
        dry_run: bool,
        mut tell: impl FnMut(&Deed),
    ) -> Result<Mended, log::Error> {
        // Keeps nothing of what it reads, and waits for nobody: it is flushed after each batch.
        let feed = Feed::new(self.store.clone(), self.env.clone(), 0);
        let mut mended = Mended::default();
        let Summary { moving, .. } = self
            .pass(async |verdicts: Vec<Verdict>| {
                for verdict in &verdicts {
                    mended.faults_left += faults_left(verdict);
                }
                let deeds = verdicts.iter().flat_map(act::deeds);
                deeds.for_each(|deed| tell(&deed));
                if !dry_run {
                    self.act(&feed, &verdicts, &mut mended).await?;
                }
                Ok(())
            })
            .await?;
        mended.moving = moving;
        Ok(mended)
    }
}

/// Faults of a run beyond those that its mending ends.
fn faults_left(verdict: &Verdict) -> u64 {
    let is_left = |finding: &&Finding| finding.is_fault() && !finding.is_mended_by_scrub();
    verdict.findings.iter().filter(is_left).count() as u64
}
