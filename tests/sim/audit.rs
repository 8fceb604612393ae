//! Watches every write to the bucket, and every promise that is made to somebody outside.
//!
//! Checked at each write: a log is a gapless hash chain that never changes; closed is final; time in
//! it does not go back; a step has one result; an id has one live run, a request one run; nothing
//! ends before it is due; a snapshot equals the fold; a run that needs attention has the wake entries
//! that bring it back. Checked when somebody is told something: it is in the log.

use std::{
    collections::BTreeSet,
    sync::{Mutex, MutexGuard},
    time::Duration,
};

use bytes::Bytes;
use lazarus::{
    engine::{Record, Standing, Started},
    log::Key,
    workflow::{Attention, Phase, RunId, Seq, State, Status, TaskToken, Timestamp},
};
use object_store::path::Path;

use super::{
    builds,
    rules::{Check, Known, Run, holds},
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
            Some(Key::Id { .. } | Key::Run { .. }) => Err(format!("{key} was deleted")),
            Some(Key::Blob { run, .. }) if self.known().runs.contains_key(&run) => {
                Err(format!("{key} was deleted"))
            }
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

    /// The first run of the id of `run`.
    pub fn first_generation(&self, run: RunId) -> Option<RunId> {
        let known = self.known();
        known.ids.values().find(|runs| runs.contains(&run))?.first().copied()
    }

    /// A caller was told that its start is this run.
    pub fn started(&self, intent: &str, started: &Started) {
        let run = started.run;
        let mut known = self.known();
        let is_there = known.runs.contains_key(&run);
        // Somebody else's run, where one was running: of that an answer may be told each time.
        let first = if started.was_running {
            run
        } else {
            *known.starts.entry(intent.to_owned()).or_insert(run)
        };
        drop(known);
        self.blame(holds(is_there, || format!("the start {intent} is not in the log")));
        self.blame(holds(first == run, || {
            format!("the start {intent} came to run {first} and to run {run}")
        }));
    }

    /// Whether the newest run of an id is closed, and did not complete.
    pub fn has_failed(&self, execution: &str) -> bool {
        let known = self.known();
        let newest = known.ids.get(execution).and_then(|runs| known.runs.get(runs.last()?));
        newest.is_some_and(|run| run.state.is_closed() && run.state.status != Status::Completed)
    }

    /// A caller was told that an execution can not be resumed: some run of it completed.
    pub fn nothing_to_resume(&self, execution: &str, why: &str) {
        let known = self.known();
        let runs = known.ids.get(execution).cloned().unwrap_or_default();
        let is_so = runs.iter().any(|run| known.runs[run].state.status == Status::Completed);
        drop(known);
        self.blame(holds(is_so, || format!("{execution} was not resumed: {why}")));
    }

    /// A worker was handed a task.
    pub fn delivered(&self, token: &TaskToken, worker: &str) {
        let lease = (token.task.clone(), worker.to_owned());
        let is_there = self.known().runs.get_mut(&token.handle.run).is_some_and(|run| {
            if run.waiting.get(&token.task.step).is_some_and(|waits| waits.0 == token.task) {
                run.waiting.remove(&token.task.step);
            }
            run.leases.contains(&lease)
        });
        self.blame(holds(is_there, || format!("{worker} got {token} without a lease in the log")));
    }

    /// A worker was told that its result counts.
    pub fn acknowledged(&self, token: &TaskToken, is_success: bool) {
        let step = (token.task.step.clone(), token.task.iteration);
        let is_there = self.known().runs.get(&token.handle.run).is_some_and(|run| {
            if is_success { run.done.contains(&step) } else { run.answered.contains(&step) }
        });
        self.blame(holds(is_there, || format!("the result of {token} is not in the log")));
    }

    /// A worker was told that its result comes too late.
    pub fn refused(&self, token: &TaskToken, why: &str) {
        let step = (token.task.step.clone(), token.task.iteration);
        let is_so = self.known().runs.get(&token.handle.run).is_some_and(|run| {
            let is_over = run.state.open.get(&step.0).is_none_or(|open| {
                open.iteration > step.1
                    || matches!(open.phase, Phase::Sleeping { .. } | Phase::Approval { .. })
            });
            run.state.is_closed() || (is_over && run.answered.contains(&step))
        });
        self.blame(holds(is_so, || format!("the result of {token} was refused: {why}")));
    }

    /// A person was told that a request is applied.
    pub fn applied(&self, request: &str) {
        let is_there = self.known().runs.values().any(|run| run.requests.contains(request));
        self.blame(holds(is_there, || format!("the request {request} is not in the log")));
    }

    /// A person was told that a step of a run does not wait for an answer.
    pub fn does_not_wait(&self, run: RunId, (step, iteration): (&str, u32), why: &str) {
        let waits = self.known().runs.get(&run).is_some_and(|run| {
            let open = run.state.open.get(step).filter(|_| !run.state.is_closed());
            open.is_some_and(|open| {
                open.iteration == iteration && matches!(open.phase, Phase::Approval { .. })
            })
        });
        self.blame(holds(!waits, || format!("step {step} of run {run} waits, but: {why}")));
    }

    /// The last commit of the newest run of an id.
    pub fn newest(&self, execution: &str) -> Option<(RunId, Seq)> {
        let known = self.known();
        let run = known.ids.get(execution)?.last()?;
        Some((*run, known.runs.get(run)?.state.seq))
    }

    /// Somebody was told how a run stands; `before` is what [`Self::newest`] said when it was asked.
    pub fn described(&self, state: &State, before: Option<(RunId, Seq)>) {
        let known = self.known();
        let checked = known.runs.get(&state.run).map_or_else(
            || Err(format!("run {} was described and is not in the log", state.run)),
            |run| {
                if before.is_some_and(|(newest, seq)| newest == state.run && state.seq < seq) {
                    return Err(format!("run {} was described as it had been before", state.run));
                }
                let is_same = run.state.seq != state.seq || run.state == *state;
                holds(is_same, || format!("run {} was described as it never was", state.run))
            },
        );
        drop(known);
        self.blame(checked);
    }

    /// Somebody listed all executions after everything had ended.
    pub fn listed(&self, records: &[Record]) {
        let known = self.known();
        // A run that was resumed gives its place in lists to the one that goes on with it.
        let resumed: BTreeSet<RunId> = known
            .runs
            .values()
            .filter_map(|run| run.state.resumed.as_ref())
            .map(|it| it.run)
            .collect();
        let shown = || known.runs.values().filter(|run| !resumed.contains(&run.state.run));
        let missing = shown().find(|run| {
            let standing = Standing::of(&run.state);
            !records.iter().any(|record| {
                record.run == run.state.run
                    && record.status == standing
                    && record.closed == run.state.closed
            })
        });
        let checked = match missing {
            None => holds(records.len() == shown().count(), || "runs are listed twice".to_owned()),
            Some(run) => Err(format!("run {} is not listed as it stands", run.state.run)),
        };
        drop(known);
        self.blame(checked);
    }

    /// What is open, for the liveness check.
    pub fn open_runs(&self) -> Vec<String> {
        let known = self.known();
        let open = known.runs.values().filter(|run| !run.state.is_closed());
        open.map(|run| format!("run {} at {}: {:?}", run.state.run, run.state.seq, run.state.open))
            .collect()
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

    fn blame(&self, checked: Check) {
        if let Err(fault) = checked {
            self.trace.fault(fault);
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().expect("one thread")
    }
}
