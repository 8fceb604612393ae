//! Checks the commits of one run, one after the other: place, sum, chain, time, fold, snapshots.
//!
//! Pure: bytes come in as arguments. Keeps the folded state and nothing of the commits.

use serde::Deserialize;

use super::finding::{Finding, LOST, RESTORE};
use crate::{
    log::{self, Commit, Key, Sum},
    workflow::{
        BlueprintRef, CommitFacts, Event, FOLD_VERSION, Payload, RunId, Seq, State, Timestamp,
        deleted_by, fold,
    },
};

/// A run's log as far as it was looked at.
#[derive(Debug, Default)]
pub(super) struct Chain {
    /// What is wrong with it.
    pub(super) findings: Vec<Finding>,
    /// The state after the last commit; none: it can not be told.
    pub(super) state: Option<State>,
    /// The run, as the start commit names it; none: that could not be read.
    pub(super) run: Option<RunId>,
    /// The blueprint that the start commit pins; a tombstone pins none.
    pub(super) blueprint: Option<BlueprintRef>,
    /// It is the tombstone of a generation that was deleted.
    pub(super) is_tombstone: bool,
    /// Blobs that the commits since the last [`Chain::take_blobs`] name, and how long they are.
    blobs: Vec<(String, u64)>,
    last: Option<Last>,
    /// Something can not be read or does not follow: later commits are not folded.
    is_broken: bool,
    /// How many commits could be read.
    pub(super) commits: u64,
    /// How many snapshots were compared.
    pub(super) snapshots: u64,
}

/// What the next commit is checked against.
#[derive(Clone, Copy, Debug)]
struct Last {
    seq: Seq,
    sum: Sum,
    time: Timestamp,
}

impl Chain {
    /// Looks at the bytes of commit `seq`, which stood at `key`. Commits come in order.
    ///
    /// # Errors
    ///
    /// None of the log's that say something about the bytes: those are findings.
    pub(super) fn add(&mut self, key: &Key, seq: Seq, bytes: &[u8]) -> Result<(), log::Error> {
        self.expect(key, seq);
        let commit = match Commit::decode(key, bytes) {
            Ok(commit) => commit,
            Err(error) => {
                self.findings.push(Finding::of_read(error)?);
                self.breaks();
                return Ok(());
            }
        };
        self.commits += 1;
        if let Some(last) = self.last.filter(|last| last.seq + 1 == seq) {
            if let Err(error) = commit.check_follows(&last.sum) {
                self.findings.push(Finding::of_read(error)?);
                self.is_broken = true;
            }
            if commit.time < last.time {
                let what = format!("its time is before that of commit {}", last.seq);
                self.fault(key, what);
            }
        }
        self.last = Some(Last { seq, sum: commit.sum, time: commit.time });
        if let Some(Event::ExecutionStarted(start)) = commit.events.first() {
            self.run = Some(commit.run);
            self.is_tombstone = deleted_by(&commit.events).is_some();
            self.blueprint = Some(start.blueprint.clone()).filter(|_| !self.is_tombstone);
        }
        self.blobs.extend(commit.events.iter().filter_map(Event::payload).filter_map(blob));
        self.fold(key, &commit, bytes);
        Ok(())
    }

    /// What stood at `key` when it was listed is not there any more.
    pub(super) fn vanished(&mut self, key: &Key, seq: Seq) {
        self.expect(key, seq);
        self.findings.push(Finding::fault(key, "it was there a moment ago and is gone", LOST));
        self.breaks();
    }

    /// The blobs that were named since this was asked last.
    pub(super) fn take_blobs(&mut self) -> Vec<(String, u64)> {
        std::mem::take(&mut self.blobs)
    }

    /// Numbers have no gaps.
    fn expect(&mut self, key: &Key, seq: Seq) {
        let next = self.last.map_or(0, |last| last.seq + 1);
        if self.is_broken || next == seq {
            return;
        }
        let what = format!("commits {next} to {} before it are missing", seq.saturating_sub(1));
        self.findings.push(Finding::fault(key, what, LOST));
        self.is_broken = true;
    }

    fn fold(&mut self, key: &Key, commit: &Commit, bytes: &[u8]) {
        if self.is_broken {
            self.state = None;
            return;
        }
        let facts = CommitFacts { seq: commit.seq, time: commit.time };
        let before = self.state.take();
        match fold(before, facts, &commit.events) {
            Ok(state) => {
                self.check_snapshot(key, commit, &state, bytes);
                self.state = Some(state);
            }
            Err(misfit) => {
                self.fault(key, format!("its events do not follow from those before: {misfit}"));
                self.is_broken = true;
            }
        }
    }

    fn check_snapshot(&mut self, key: &Key, commit: &Commit, folded: &State, bytes: &[u8]) {
        if commit.snapshots.bytes == 0 {
            return;
        }
        match &commit.snapshot {
            Some(snapshot) => {
                self.snapshots += 1;
                if snapshot != folded {
                    self.fault(key, "its snapshot is not what its events add up to".to_owned());
                }
            }
            // Of another fold, which is no fault; or of ours, and passed over.
            None if fold_version(bytes) == Some(FOLD_VERSION) => {
                self.fault(key, "its snapshot can not be read".to_owned());
            }
            None => {}
        }
    }

    fn fault(&mut self, key: &Key, what: String) {
        self.findings.push(Finding::fault(key, what, RESTORE));
    }

    fn breaks(&mut self) {
        (self.is_broken, self.state, self.last) = (true, None, None);
    }
}

fn blob(payload: &Payload) -> Option<(String, u64)> {
    match payload {
        Payload::Json(_) => None,
        Payload::Blob { sha256, bytes } => Some((sha256.to_string(), *bytes)),
    }
}

fn fold_version(bytes: &[u8]) -> Option<u32> {
    #[derive(Deserialize)]
    struct Document {
        snap: Option<Snap>,
    }
    #[derive(Deserialize)]
    struct Snap {
        fold_v: u32,
    }
    Some(serde_json::from_slice::<Document>(bytes).ok()?.snap?.fold_v)
}
