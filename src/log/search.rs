//! Finding a run's last commit when the hint is not it.
//!
//! Commit n is only written by who has read n - 1, so the numbers in a log have no gaps and its end
//! can be bisected.

use super::{commit::Commit, error::Error, key::Key, object::RunLog, tail::Tail};
use crate::workflow::{ExecutionKey, Generation, Handle, Namespace, Seq};

impl RunLog {
    /// The commit after `handle.seq`; none: that one was the last just now. 1 GET.
    ///
    /// # Errors
    ///
    /// As of any read; see [`RunLog::tail`].
    pub async fn probe_next(&self, handle: &Handle) -> Result<Option<Commit>, Error> {
        self.commit(&Key::of_commit(&handle.at(handle.seq + 1))).await
    }

    /// The run as its newest commit left it; none: there is no such run.
    ///
    /// `handle.seq` is where to begin: 1 GET more than [`RunLog::tail`] when it is the last commit
    /// already; else 1 LIST more where listing is ordered, and elsewhere 2 GET for each doubling of
    /// the distance.
    ///
    /// # Errors
    ///
    /// As of any read; see [`RunLog::tail`].
    pub async fn newest(&self, handle: &Handle) -> Result<Option<Tail>, Error> {
        let Some(next) = self.probe_next(handle).await? else { return self.tail(handle).await };
        let last = self.last_from(handle, next).await?;
        Ok(Some(self.tail_at(handle, last).await?))
    }

    /// The newest generation of an execution and its start commit; none: the id was never used.
    /// 1 LIST (per 1,000 generations where listing is not ordered) and 1 GET.
    ///
    /// # Errors
    ///
    /// As of any read; see [`RunLog::tail`].
    pub async fn head(
        &self,
        namespace: &Namespace,
        execution: &ExecutionKey,
    ) -> Result<Option<(Generation, Commit)>, Error> {
        let newest = self.first_listed(&Key::id_prefix(namespace, execution)).await?;
        let Some(key @ Key::Id { generation, .. }) = newest else { return Ok(None) };
        Ok(self.commit(&key).await?.map(|start| (generation, start)))
    }

    /// The last commit of the run, of which `known` is one.
    async fn last_from(&self, handle: &Handle, known: Commit) -> Result<Commit, Error> {
        if self.store.is_ordered() {
            let first = self.first_listed(&Key::run_prefix(handle.run)).await?;
            let Some(key @ Key::Run { seq, .. }) = first else { return Ok(known) };
            if seq <= known.seq {
                return Ok(known);
            }
            return Ok(self.commit(&key).await?.unwrap_or(known));
        }
        let mut known = known;
        let mut step = 1;
        let missing = loop {
            match self.commit(&Key::of_commit(&handle.at(known.seq + step))).await? {
                Some(found) => known = found,
                None => break known.seq + step,
            }
            step *= 2;
        };
        self.last_between(handle, known, missing).await
    }

    /// The last commit before `handle.seq`, which is not in the log: a guard is put before its
    /// commit, which then may never come.
    pub(super) async fn last_before(&self, handle: &Handle) -> Result<Option<Commit>, Error> {
        let mut missing = handle.seq;
        let mut step = 1;
        while missing > 0 {
            let seq = missing.saturating_sub(step);
            match self.commit(&Key::of_commit(&handle.at(seq))).await? {
                Some(found) if found.run != handle.run => return Ok(None),
                Some(found) => return self.last_between(handle, found, missing).await.map(Some),
                None => missing = seq,
            }
            step *= 2;
        }
        Ok(None)
    }

    /// The last commit, which is `known` or between it and `missing`, which is not in the log.
    async fn last_between(
        &self,
        handle: &Handle,
        mut known: Commit,
        mut missing: Seq,
    ) -> Result<Commit, Error> {
        while known.seq + 1 < missing {
            let middle = known.seq.midpoint(missing);
            match self.commit(&Key::of_commit(&handle.at(middle))).await? {
                Some(found) => known = found,
                None => missing = middle,
            }
        }
        Ok(known)
    }
}
