//! Watches every write to the bucket, and whether the world goes on.
//!
//! Checked at each write: a log is a gapless hash chain that never changes; closed is final; time in
//! it does not go back; a step has one result; an id has one live run, a request one run; nothing
//! ends before it is due; a snapshot equals the fold; a run that needs attention has the wake entries
//! that bring it back. What people and workers are told is looked at in [`super::answers`].

use std::{
    sync::{Mutex, MutexGuard},
    time::Duration,
};

use bytes::Bytes;
use lazarus::{
    log::Key,
    workflow::{Attention, RunId, Timestamp},
};
use object_store::path::Path;

use super::{
    builds,
    rules::{Check, Known, Run},
    trace::Trace,
    words::in_words,
};

/// In the calm a task that waits reaches a worker that waits within this.
const IDLE_MAX_MS: u64 = 40_000;

/// The watch over one world.
pub struct Audit {
    trace: Trace,
    skew_ms: u64,
    known: Mutex<Known>,
}

impl Audit {
    /// Has seen nothing yet; clocks are off by at most `skew_ms`.
    pub fn new(trace: Trace, skew_ms: u64) -> Self {
        Self { trace, skew_ms, known: Mutex::default() }
    }

    /// An object was written; `before` is what it replaced.
    pub fn written(&self, key: &str, bytes: &Bytes, before: Option<Bytes>, now_ms: u64) {
        let parsed = Key::parse(&Path::from(key));
        let checked = match parsed {
            Some(place @ (Key::Id { .. } | Key::Run { .. })) => match before {
                Some(before) if before != *bytes => Err(format!("{key} changed its content")),
                Some(_) => Ok(()),
                None => self.commit(&place, bytes, now_ms),
            },
            Some(Key::Wake { kind, due, handle, tries, .. }) => {
                let entry = (Attention { kind, due, seq: handle.seq }, tries);
                self.known().entries.entry(handle.run).or_default().insert(entry);
                Ok(())
            }
            Some(Key::Dead { handle }) => Err(format!("run {} was given up", handle.run)),
            Some(_) => Ok(()),
            None if key.starts_with("probe/") => Ok(()),
            None => Err(format!("{key} is no key of ours")),
        };
        self.blame(checked);
    }

    /// An object that was there was deleted.
    pub fn deleted(&self, key: &str, now_ms: u64) {
        let checked = match Key::parse(&Path::from(key)) {
            Some(Key::Id { .. }) => self.known().start_goes(key, now_ms),
            Some(Key::Run { run, .. } | Key::Blob { run, .. }) => self.known().rest_goes(run),
            Some(Key::Wake { kind, due, handle, tries, .. }) => {
                let mut known = self.known();
                let entry = (Attention { kind, due, seq: handle.seq }, tries);
                known.entries.entry(handle.run).or_default().remove(&entry);
                known.covered(handle.run, now_ms)
            }
            Some(_) | None => Ok(()),
        };
        self.blame(checked.map_err(|fault| format!("after the deletion of {key}: {fault}")));
    }

    fn commit(&self, place: &Key, bytes: &Bytes, now_ms: u64) -> Check {
        let commit = builds::decode(place, bytes).map_err(|error| error.to_string())?;
        self.trace.note(|| {
            let events: Vec<String> = commit.events.iter().map(in_words).collect();
            format!("    run {} {}: {}", commit.run, commit.seq, events.join(", "))
        });
        for event in &commit.events {
            self.trace.count(event.kind());
        }
        let mut known = self.known();
        known.commits += 1;
        let at = |fault| format!("run {} commit {}: {fault}", commit.run, commit.seq);
        known.append(place, &commit, now_ms, self.skew_ms).map_err(at)?;
        known.guarded_soon(&commit, now_ms).map_err(at)?;
        known.covered(commit.run, now_ms).map_err(at)
    }

    /// From now on a guard is due within `guard` of each commit.
    pub fn expect_guards(&self, guard: Duration) {
        let guard_ms = u64::try_from(guard.as_millis()).expect("short");
        self.known().bounds = Some((guard_ms, self.skew_ms));
    }

    /// From now on nobody dies and nothing is lost.
    pub fn expect_calm(&self, now_ms: u64) {
        self.known().calm_since = Some(now_ms);
    }

    /// A worker that takes everything has polled without a pause since `since` and was given nothing.
    pub fn idled(&self, worker: &str, since: u64, now_ms: u64) {
        let mut known = self.known();
        known.idle_at = now_ms;
        let since = since.max(now_ms.saturating_sub(IDLE_MAX_MS));
        let waits = |run: &Run| Some((run.state.run, run.waits_since(since)?.clone()));
        let found = known.runs.values().find_map(waits).filter(|_| since + IDLE_MAX_MS <= now_ms);
        drop(known);
        if let Some((run, task)) = found {
            let fault = format!("{worker} is given nothing while {task:?} of run {run} waits");
            self.trace.fault(fault);
        }
    }

    /// From now on runs that closed longer than `keep` ago may go.
    pub fn expect_deletions(&self, keep: Duration) {
        self.known().keep_ms = u64::try_from(keep.as_millis()).ok();
    }

    /// Whether the blob at `key` is of a run that started.
    pub fn is_of_a_run(&self, key: &str) -> bool {
        match Key::parse(&Path::from(key)) {
            Some(Key::Blob { run, .. }) => self.known().runs.contains_key(&run),
            _ => false,
        }
    }

    /// Whether the start commit at `key` is a tombstone.
    pub fn is_tombstone(&self, key: &str) -> bool {
        let known = self.known();
        let run = known.standing.get(key).and_then(|run| known.runs.get(run));
        run.is_some_and(|run| run.is_tombstone)
    }

    /// The first run of the id of `run`.
    pub fn first_generation(&self, run: RunId) -> Option<RunId> {
        let known = self.known();
        known.ids.values().find(|runs| runs.contains(&run))?.first().copied()
    }

    /// What is open, for the liveness check.
    pub fn open_runs(&self) -> Vec<String> {
        let known = self.known();
        let open = known.runs.values().filter(|run| !run.state.is_closed());
        open.map(|run| format!("run {} at {}: {:?}", run.state.run, run.state.seq, run.state.open))
            .collect()
    }

    /// The ids of what is open.
    pub fn open_executions(&self) -> Vec<String> {
        let known = self.known();
        let open = known.runs.values().filter(|run| !run.state.is_closed());
        open.map(|run| run.state.execution.as_str().to_owned()).collect()
    }

    /// A run that has stood still since before `latest` although something in it was to be done: a
    /// step that is ready or leased while a worker idled, a sleep or a wait that was to end.
    pub fn stands_still(&self, latest: Timestamp) -> Option<String> {
        let known = self.known();
        let stands = |run: &&Run| {
            let next = run.state.next_due(latest);
            let is_active = run.state.is_active() && known.idle_at > latest.as_millis();
            let is_due = is_active || next.is_some_and(|due| due < latest);
            !run.state.is_closed() && run.state.time < latest && is_due
        };
        let run = known.runs.values().find(stands)?;
        Some(format!(
            "run {} stands still at {}: {:?}",
            run.state.run, run.state.seq, run.state.open
        ))
    }

    /// All runs, and how many commits they have together.
    pub fn totals(&self) -> (u64, u64) {
        let known = self.known();
        (known.runs.len() as u64, known.commits)
    }

    /// The namespace's execution ids of all runs.
    pub fn executions(&self) -> Vec<String> {
        self.known().ids.keys().cloned().collect()
    }

    pub(super) fn blame(&self, checked: Check) {
        if let Err(fault) = checked {
            self.trace.fault(fault);
        }
    }

    pub(super) fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().expect("one thread")
    }
}
