//! Asks the log whether what the records say of an execution is true, before anything of it goes.

use std::{collections::HashSet, sync::Arc};

use super::{Deletion, Fate, Group, Retention, RetentionPolicy};
use crate::{
    log::{self, Commit},
    maintenance::Record,
    workflow::{Event, Handle, RunId, Timestamp, Tombstone, deleted_by},
};

/// An execution of which something goes.
#[derive(Debug, Default)]
pub(super) struct Checked {
    /// An older tombstone, which goes first.
    pub(super) below: Option<Handle>,
    /// Runs whose start goes, the oldest generation first.
    pub(super) starts: Vec<Record>,
    /// Runs of which everything that is left goes.
    pub(super) rests: Vec<Arc<Record>>,
    /// Whether the last of `starts` is the newest generation of an id that somebody may use again.
    needs_tombstone: bool,
    /// What stays, and why.
    refused: Vec<(Record, String)>,
}

/// What the log says of a run whose record says that it closed.
enum Found {
    /// It closed then; its last commit.
    Closed(Timestamp, u64),
    /// There is no such run any more.
    Gone,
    /// It is to be kept.
    Kept(String),
}

impl Checked {
    /// What becomes of each run.
    pub(super) fn deletions(&self) -> impl Iterator<Item = Deletion> {
        let rests = self.rests.iter().map(|record| Deletion::of(record, Fate::Finished));
        let starts = self.starts.iter().map(|record| Deletion::of(record, Fate::Begun));
        let refused = self.refused.iter();
        let refused =
            refused.map(|(record, why)| Deletion::of(record, Fate::Refused { why: why.clone() }));
        rests.chain(starts).chain(refused)
    }

    /// The records which say that a deletion begins.
    pub(super) fn marks(&self, now: Timestamp) -> impl Iterator<Item = Arc<Record>> {
        let mark = move |record: &Record| Record { deleted: Some(now), ..record.clone() };
        self.starts.iter().map(mark).map(Arc::new)
    }

    /// Runs of which nothing is left when everything is done.
    pub(super) fn finished(&self) -> impl Iterator<Item = RunId> {
        self.rests.iter().map(|record| record.run)
    }

    /// The tombstone, of `run`, that has to be there first.
    pub(super) fn tombstone(&self, run: RunId) -> Option<Tombstone> {
        let last = self.starts.last().filter(|_| self.needs_tombstone)?;
        Some(Tombstone {
            namespace: last.namespace.clone(),
            execution: last.execution.clone(),
            generation: last.generation + 1,
            run,
            workflow: (last.workflow.clone(), last.version),
            deleted: (last.run, last.closed.unwrap_or(last.started)),
        })
    }

    /// Keeps all of `starts`.
    pub(super) fn refuse_starts(&mut self, why: &str) {
        self.below = None;
        self.needs_tombstone = false;
        let starts = std::mem::take(&mut self.starts).into_iter();
        self.refused.extend(starts.map(|record| (record, why.to_owned())));
    }
}

impl Retention {
    /// What of `group` goes. `aside`: runs that were put aside.
    ///
    /// Costs 1 GET for each run (more where its record does not name the commit that closed it), and 1
    /// where there may be a tombstone below it.
    pub(super) async fn check(
        &self,
        group: &Group,
        policy: &RetentionPolicy,
        aside: &HashSet<RunId>,
        now: Timestamp,
    ) -> Result<Checked, log::Error> {
        let mut checked = Checked::default();
        for record in &group.begun {
            match told(self.log.names_run(&record.handle()).await)? {
                // Whoever began was cut off.
                Ok(true) => checked.starts.push(Record::clone(record)),
                Ok(false) => checked.rests.push(Arc::clone(record)),
                Err(why) => checked.refused.push((Record::clone(record), why)),
            }
        }
        let mut has_newer = group.has_newer;
        for record in &group.due {
            let found = match told(self.found(record).await)? {
                Ok(_) if aside.contains(&record.run) => {
                    Found::Kept("it was put aside: see `lazarus dead list`".to_owned())
                }
                Ok(found) => found,
                Err(why) => Found::Kept(why),
            };
            let record = Record::clone(record);
            match found {
                Found::Closed(closed, seq) if policy.is_over(&record.namespace, closed, now) => {
                    checked.starts.push(Record { closed: Some(closed), seq, ..record });
                }
                Found::Gone => checked.starts.push(record),
                Found::Closed(..) => {
                    let why = "it closed later than its record says".to_owned();
                    checked.refused.push((record, why));
                    has_newer = true;
                    break;
                }
                Found::Kept(why) => {
                    checked.refused.push((record, why));
                    has_newer = true;
                    break;
                }
            }
        }
        let is_last_due = group
            .due
            .last()
            .is_some_and(|last| checked.starts.last().is_some_and(|start| start.run == last.run));
        checked.needs_tombstone =
            is_last_due && !has_newer && !checked.starts.iter().any(|it| it.execution.is_made());
        self.look_below(&mut checked).await?;
        Ok(checked)
    }

    /// Whether the run of `record` closed, and when.
    async fn found(&self, record: &Record) -> Result<Found, log::Error> {
        let handle = record.handle();
        match self.log.commit_of(&handle).await? {
            Some(commit) if commit.run != record.run => Ok(Found::Gone),
            Some(commit) if commit.events.iter().any(Event::closes) => {
                Ok(Found::Closed(commit.time, commit.seq))
            }
            Some(_) => self.found_at_tail(&handle).await,
            None if self.log.names_run(&handle).await? => {
                Ok(Found::Kept("its commits are missing: see `lazarus audit`".to_owned()))
            }
            None => Ok(Found::Gone),
        }
    }

    /// As [`Self::found`], where the record does not name the commit that closed the run.
    async fn found_at_tail(&self, handle: &Handle) -> Result<Found, log::Error> {
        let Some(tail) = self.log.newest(handle).await? else { return Ok(Found::Gone) };
        let state = tail.state();
        Ok(match state.closed {
            Some(closed) => Found::Closed(closed, state.seq),
            None => Found::Kept("it is open: its record is wrong; run `lazarus scrub`".to_owned()),
        })
    }

    /// Looks what stands below the oldest generation that goes: nothing, or a tombstone.
    async fn look_below(&self, checked: &mut Checked) -> Result<(), log::Error> {
        let Some(oldest) = checked.starts.first() else { return Ok(()) };
        let Some(generation) = oldest.generation.checked_sub(1) else { return Ok(()) };
        let below = Handle { generation, seq: 0, ..oldest.handle() };
        match told(self.log.start_of(&below).await)? {
            Ok(None) => {}
            Ok(Some(Commit { events, run, .. })) if deleted_by(&events).is_some() => {
                checked.below = Some(Handle { run, ..below });
            }
            Ok(Some(_)) => checked.refuse_starts(
                "the generation before it is still there; if lists do not know that, run `lazarus scrub`",
            ),
            Err(why) => checked.refuse_starts(&why),
        }
        Ok(())
    }
}

/// What a read came to; why not, where the bytes are at fault; the error itself, where the store is.
fn told<T>(read: Result<T, log::Error>) -> Result<Result<T, String>, log::Error> {
    match read {
        Ok(found) => Ok(Ok(found)),
        Err(error @ (log::Error::Corrupt { .. } | log::Error::TooNew { .. })) => {
            Ok(Err(error.to_string()))
        }
        Err(error) => Err(error),
    }
}
