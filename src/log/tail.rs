//! A run as its last commits tell it.

use super::{
    commit::Commit,
    error::Error,
    key::Key,
    object::{RunLog, check_chain},
    snapshot::Snapshots,
};
use crate::workflow::{CommitFacts, Handle, State, fold};

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
        self.commits.last().expect("BUG: a tail without commits")
    }

    /// The commits that were read, oldest first, the last one included; each checked against the
    /// one before.
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
    /// does, in parallel: 2 round trips.
    ///
    /// # Errors
    ///
    /// As of any read: [`Error::Unavailable`], [`Error::Throttled`], [`Error::Corrupt`],
    /// [`Error::TooNew`].
    pub async fn tail(&self, handle: &Handle) -> Result<Option<Tail>, Error> {
        let last = match self.commit(&Key::of_commit(handle)).await? {
            Some(commit) => (commit.run == handle.run).then_some(commit),
            None => self.last_before(handle).await?,
        };
        match last {
            Some(last) => Ok(Some(self.tail_at(handle, last).await?)),
            None => Ok(None),
        }
    }

    /// The run as `last` left it.
    pub(super) async fn tail_at(&self, handle: &Handle, mut last: Commit) -> Result<Tail, Error> {
        let from = last.snapshots.seq;
        let mut commits = vec![];
        if from < last.seq {
            commits = self.commits(handle, from, last.seq - 1).await?;
        }
        // Snapshots of another fold than ours: from the start, and the next commit carries ours.
        let is_ours = |base: &Commit| base.seq == 0 || base.snapshot.is_some();
        if !is_ours(commits.first().unwrap_or(&last)) {
            let earlier = self.commits(handle, 0, from.max(1) - 1).await?;
            commits = earlier.into_iter().chain(commits).collect();
        }
        if commits.is_empty()
            && let Some(state) = last.snapshot.take()
        {
            let snapshots = last.snapshots;
            return Ok(Tail { commits: vec![last], state, snapshots });
        }
        commits.push(last);
        check_run(&commits, handle)?;
        check_chain(&commits)?;
        let snapshots = commits[0].snapshots;
        Ok(Tail { state: folded(&mut commits), snapshots, commits })
    }
}

/// The start commit is found by the execution's id: it has to be of this run.
fn check_run(commits: &[Commit], handle: &Handle) -> Result<(), Error> {
    let Some(other) = commits.iter().find(|commit| commit.run != handle.run) else { return Ok(()) };
    let key = Key::of_start(handle).to_string();
    let fault = format!("it starts run {}, but run {} has commits", other.run, handle.run);
    Err(Error::Corrupt { key, fault })
}

/// What `commits` add up to, from the first one's snapshot or from the start.
fn folded(commits: &mut [Commit]) -> State {
    let (base, later) = commits.split_first_mut().expect("BUG: a tail without commits");
    let facts = |commit: &Commit| CommitFacts { seq: commit.seq, time: commit.time };
    let state = base.snapshot.take();
    let state = state.unwrap_or_else(|| fold(None, facts(base), &base.events));
    later.iter().fold(state, |state, commit| fold(Some(state), facts(commit), &commit.events))
}
