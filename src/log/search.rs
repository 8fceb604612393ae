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
        self.commit(&Key::of_commit(&handle.at(handle.seq.saturating_add(1)))).await
    }

    /// The run as its newest commit left it; none: there is no such run.
    ///
    /// `handle.seq` is where to begin: 1 GET more than [`RunLog::tail`] when that is the last commit
    /// or the one before it. Else 1 LIST and 2 GET more where listing is ordered; elsewhere up to 2
    /// GET for each doubling of the distance.
    ///
    /// # Errors
    ///
    /// As of any read; see [`RunLog::tail`].
    pub async fn newest(&self, handle: &Handle) -> Result<Option<Tail>, Error> {
        let Some(next) = self.probe_next(handle).await? else { return self.tail(handle).await };
        let last = self.last_from(handle, next).await?;
        self.tail_at(handle, last).await
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
    async fn last_from(&self, handle: &Handle, mut known: Commit) -> Result<Commit, Error> {
        let mut step = 1;
        loop {
            let seq = known.seq + step;
            match self.commit(&Key::of_commit(&handle.at(seq))).await? {
                Some(found) => known = found,
                None => return self.last_between(handle, known, seq).await,
            }
            if self.store.is_ordered() {
                return self.last_listed(handle, known).await;
            }
            step *= 2;
        }
    }

    /// The last commit of the run, of which `known` is one, where the newest is listed first.
    async fn last_listed(&self, handle: &Handle, known: Commit) -> Result<Commit, Error> {
        match self.first_listed(&Key::run_prefix(handle.run)).await? {
            Some(key @ Key::Run { seq, .. }) if seq > known.seq => {
                Ok(self.commit(&key).await?.unwrap_or(known))
            }
            Some(_) | None => Ok(known),
        }
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
