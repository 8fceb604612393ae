//! A run as its last commits tell it.

use super::{
    commit::Commit,
    error::Error,
    key::{Key, SEQ_MAX},
    object::{RunLog, check_chain},
    snapshot::Snapshots,
    sum::Sum,
};
use crate::workflow::{CommitFacts, Handle, Seq, State, fold};

/// The end of a run's log, and what it adds up to.
#[derive(Clone, Debug)]
pub struct Tail {
    commits: Vec<Commit>,
    state: State,
    snapshots: Snapshots,
}

impl Tail {
    /// The last commit.
    pub fn last(&self) -> &Commit {
        &self.commits[self.commits.len() - 1]
    }

    /// The sum of the last commit: `prev` of the next.
    pub fn sum(&self) -> Sum {
        self.last().sum
    }

    /// The commits that were read, oldest first and never none; the last one is the tail, and each
    /// was checked against the one before.
    pub fn commits(&self) -> &[Commit] {
        &self.commits
    }

    /// The state after the last commit.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// The state after the last commit, to go on from.
    pub fn into_state(self) -> State {
        self.state
    }

    /// The last snapshot: what the next commit is encoded with.
    pub fn snapshots(&self) -> Snapshots {
        self.snapshots
    }
}

impl RunLog {
    /// The run as commit `handle.seq` left it; none: there is no such run.
    ///
    /// Where that commit is not in the log (yet), as the last one before it left it. Does not look
    /// whether there are newer ones: putting the next commit finds that out, or
    /// [`RunLog::newest`].
    ///
    /// Costs 1 GET when the commit carries its state, else 1 GET for each commit since the one that
    /// does, in parallel: 2 round trips. From the start when that state is of another fold version.
    ///
    /// # Errors
    ///
    /// As of any read: [`Error::Unavailable`], [`Error::Throttled`], [`Error::Corrupt`],
    /// [`Error::TooNew`].
    pub async fn tail(&self, handle: &Handle) -> Result<Option<Tail>, Error> {
        let handle = &handle.at(handle.seq.min(SEQ_MAX));
        let last = match self.commit(&Key::of_commit(handle)).await? {
            Some(commit) => (commit.run == handle.run).then_some(commit),
            None => self.last_before(handle).await?,
        };
        match last {
            Some(last) => self.tail_at(handle, last).await,
            None => Ok(None),
        }
    }

    /// The run as `last` left it; none: it was deleted meanwhile.
    pub(super) async fn tail_at(
        &self,
        handle: &Handle,
        last: Commit,
    ) -> Result<Option<Tail>, Error> {
        let base = last.snapshots.seq;
        let Some(commits) = self.commits_to(handle, base, last).await? else { return Ok(None) };
        if commits[0].seq == 0 || commits[0].snapshot.is_some() {
            return folded(commits, handle).map(Some);
        }
        // A snapshot of another fold than ours: from the start, and the next commit carries ours.
        let last = commits.into_iter().next_back().expect("BUG: a tail without commits");
        let Some(commits) = self.commits_to(handle, 0, last).await? else { return Ok(None) };
        folded(commits, handle).map(Some)
    }

    /// The commits from `first` to `last`, which was read already.
    async fn commits_to(
        &self,
        handle: &Handle,
        first: Seq,
        last: Commit,
    ) -> Result<Option<Vec<Commit>>, Error> {
        if first == last.seq {
            return Ok(Some(vec![last]));
        }
        let Some(mut commits) = self.commits(handle, first, last.seq - 1).await? else {
            return Ok(None);
        };
        commits.push(last);
        Ok(Some(commits))
    }
}

/// What `commits` add up to, from the first one's snapshot or from the start.
fn folded(mut commits: Vec<Commit>, handle: &Handle) -> Result<Tail, Error> {
    check_run(&commits, handle)?;
    check_chain(&commits)?;
    let snapshots = commits[0].snapshots;
    let snapshot = commits[0].snapshot.take();
    let skip = usize::from(snapshot.is_some());
    let state = commits.iter().skip(skip).try_fold(snapshot, |state, commit| {
        let facts = CommitFacts { seq: commit.seq, time: commit.time };
        fold(state, facts, &commit.events).map(Some).map_err(|misfit| Error::Corrupt {
            key: Key::of_commit(&handle.at(commit.seq)).to_string(),
            fault: format!("its events do not follow from those before: {misfit}"),
        })
    })?;
    let state = state.expect("BUG: a tail without commits");
    Ok(Tail { commits, state, snapshots })
}

/// The start commit is found by the execution's id: it has to be of this run.
fn check_run(commits: &[Commit], handle: &Handle) -> Result<(), Error> {
    let Some(other) = commits.iter().find(|commit| commit.run != handle.run) else { return Ok(()) };
    let key = Key::of_start(handle).to_string();
    let fault = format!("it starts run {}, but run {} has commits", other.run, handle.run);
    Err(Error::Corrupt { key, fault })
}
