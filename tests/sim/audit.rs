//! Watches every write to the bucket, and every promise that is made to somebody outside.
//!
//! Checked at each write: a log is a gapless hash chain that never changes; closed is final; time in
//! it does not go back; a step has one result; an id has one live run, a request one run; nothing
//! ends before it is due; a snapshot equals the fold; a run that needs attention has the wake entries
//! that bring it back. Checked when somebody is told something: it is in the log.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, MutexGuard},
};

use bytes::Bytes;
use lazarus::{
    log::{Commit, Key, Sum},
    workflow::{
        Attention, CommitFacts, Event, Phase, RunId, Seq, State, StepName, Task, TaskToken,
        Timestamp, WakeKind, fold,
    },
};
use object_store::path::Path;

use super::trace::Trace;

/// A run as its log has it.
#[derive(Debug)]
struct Run {
    state: State,
    sum: Sum,
    /// Steps that are done, and in which iteration.
    done: BTreeSet<(StepName, u32)>,
    /// Steps of which some attempt was answered.
    answered: BTreeSet<(StepName, u32)>,
    /// Attempts that the log gives to a worker.
    leases: BTreeSet<(Task, String)>,
    /// Requests of people that are applied.
    requests: BTreeSet<String>,
}

#[derive(Debug, Default)]
struct Known {
    runs: BTreeMap<RunId, Run>,
    /// The generations of each id.
    ids: BTreeMap<String, Vec<RunId>>,
    /// Which run each start request came to.
    starts: BTreeMap<String, RunId>,
    /// The wake entries that stand in the bucket.
    entries: BTreeMap<RunId, BTreeSet<(Attention, u32)>>,
    commits: u64,
}

/// The watch over one world.
pub struct Audit {
    trace: Trace,
    skew_ms: u64,
    known: Mutex<Known>,
}

/// What a write breaks, in words.
type Check = Result<(), String>;

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
        let commit = Commit::decode(place, bytes).map_err(|error| error.to_string())?;
        self.trace.note(|| {
            let events: Vec<String> = commit.events.iter().map(in_words).collect();
            format!("    run {} {}: {}", commit.run, commit.seq, events.join(", "))
        });
        self.trace.count("commits");
        let mut known = self.known();
        known.commits += 1;
        let at = |fault| format!("run {} commit {}: {fault}", commit.run, commit.seq);
        known.append(place, &commit, now_ms, self.skew_ms).map_err(at)?;
        known.covered(commit.run, now_ms).map_err(at)
    }

    /// A caller was told that its start is this run.
    pub fn started(&self, intent: &str, run: RunId) {
        let mut known = self.known();
        let is_there = known.runs.contains_key(&run);
        let first = *known.starts.entry(intent.to_owned()).or_insert(run);
        drop(known);
        self.blame(holds(is_there, || format!("the start {intent} is not in the log")));
        self.blame(holds(first == run, || {
            format!("the start {intent} came to run {first} and to run {run}")
        }));
    }

    /// A worker was handed a task.
    pub fn delivered(&self, token: &TaskToken, worker: &str) {
        let lease = (token.task.clone(), worker.to_owned());
        let is_there =
            self.known().runs.get(&token.handle.run).is_some_and(|run| run.leases.contains(&lease));
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

    /// A person was told that a request is applied.
    pub fn applied(&self, run: RunId, request: &str) {
        let is_there =
            self.known().runs.get(&run).is_some_and(|run| run.requests.contains(request));
        self.blame(holds(is_there, || format!("the request {request} is not in the log")));
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

    /// What is open, for the liveness check.
    pub fn open_runs(&self) -> Vec<String> {
        let known = self.known();
        let open = known.runs.values().filter(|run| !run.state.is_closed());
        open.map(|run| format!("run {} at {}: {:?}", run.state.run, run.state.seq, run.state.open))
            .collect()
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

impl Known {
    fn append(&mut self, place: &Key, commit: &Commit, now_ms: u64, skew_ms: u64) -> Check {
        let facts = CommitFacts { seq: commit.seq, time: commit.time };
        if matches!(place, Key::Id { .. }) {
            let state = fold(None, facts, &commit.events);
            self.begin(&state)?;
            let (done, answered, leases) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
            let sum = commit.sum;
            let mut run = Run { state, sum, done, answered, leases, requests: BTreeSet::new() };
            for event in &commit.events {
                run.note(event)?;
            }
            run.is_as_in_snapshot(commit)?;
            self.runs.insert(commit.run, run);
            return Ok(());
        }
        let run = self.runs.get_mut(&commit.run).ok_or("its run never started")?;
        holds(commit.seq == run.state.seq + 1, || format!("commit {} was last", run.state.seq))?;
        holds(commit.prev == Some(run.sum), || "it follows another commit".to_owned())?;
        holds(commit.time >= run.state.time, || "time goes back".to_owned())?;
        let is_final = !run.state.is_closed() || commit.events.is_empty();
        holds(is_final, || "something happened after the end".to_owned())?;
        for event in &commit.events {
            run.is_due(event, commit.time, now_ms, skew_ms)?;
            run.note(event)?;
        }
        run.state = fold(Some(run.state.clone()), facts, &commit.events);
        run.sum = commit.sum;
        run.is_as_in_snapshot(commit)
    }

    /// A generation begins: the one before has ended, and no request begins two.
    fn begin(&mut self, state: &State) -> Check {
        let runs = self.ids.entry(state.execution.as_str().to_owned()).or_default();
        let generation = usize::try_from(state.generation).expect("few");
        holds(runs.len() == generation, || format!("generation {generation} out of order"))?;
        let before = runs.last().copied();
        runs.push(state.run);
        let has_ended = before.is_none_or(|before| self.runs[&before].state.is_closed());
        holds(has_ended, || "the id has another live run".to_owned())?;
        if state.request.is_empty() {
            return Ok(());
        }
        let same = self.runs.values().find(|run| run.state.request == state.request);
        holds(same.is_none(), || format!("request {} started two runs", state.request))
    }

    /// Whether what stands in the wake index brings the run back.
    fn covered(&self, run: RunId, now_ms: u64) -> Check {
        let Some(Run { state, .. }) = self.runs.get(&run) else { return Ok(()) };
        let needed = state.attention();
        let none = BTreeSet::new();
        let entries = self.entries.get(&run).unwrap_or(&none);
        let latest = now_ms + 2 * 3_600_000;
        let guards = |entry: &&(Attention, u32)| {
            entry.0.kind == WakeKind::Guard && entry.0.due.as_millis() <= latest
        };
        if state.is_active() {
            let epoch = state.guard.map(|guard| guard.epoch);
            let is_guarded =
                entries.iter().filter(guards).any(|(entry, _)| Some(entry.seq) == epoch);
            return holds(is_guarded, || format!("run {run} is active and has no guard"));
        }
        // A guard of any epoch stands in for timers that are still to be put.
        let has = |timer: &Attention| entries.iter().any(|(entry, _)| entry == timer);
        let is_there = entries.iter().any(|entry| guards(&entry))
            || needed.iter().filter(|entry| entry.kind == WakeKind::Timer).all(has);
        holds(is_there, || format!("run {run} sleeps and nothing wakes it: needs {needed:?}"))
    }
}

impl Run {
    fn note(&mut self, event: &Event) -> Check {
        let open = |step: &StepName| self.state.open.get(step).map_or(1, |open| open.iteration);
        match event {
            Event::StepStarted { step, iteration, attempt, worker, .. } => {
                let (step, iteration, attempt) = (step.clone(), *iteration, *attempt);
                let task = Task { step, iteration, attempt };
                self.leases.insert((task, worker.clone()));
            }
            Event::StepCompleted { step, iteration, .. } => {
                return self.complete(step.clone(), *iteration);
            }
            Event::SleepEnded { step } => return self.complete(step.clone(), open(step)),
            Event::ApprovalGranted { step, request, .. } => {
                let iteration = open(step);
                let is_new = self.requests.insert(request.clone());
                holds(is_new, || format!("request {request} was applied twice"))?;
                return self.complete(step.clone(), iteration);
            }
            Event::ApprovalRejected { request, .. } | Event::ExecutionCancelled { request, .. } => {
                let is_new = self.requests.insert(request.clone());
                return holds(is_new, || format!("request {request} was applied twice"));
            }
            Event::SleepStarted { step, iteration, .. }
            | Event::ApprovalRequested { step, iteration, .. }
            | Event::StepFailed { step, iteration, .. } => {
                self.answered.insert((step.clone(), *iteration));
            }
            Event::AttemptFailed { step, .. }
            | Event::InputsAdapted { step, .. }
            | Event::StepRerouted { step, .. } => {
                let iteration = open(step);
                self.answered.insert((step.clone(), iteration));
            }
            _ => {}
        }
        Ok(())
    }

    fn complete(&mut self, step: StepName, iteration: u32) -> Check {
        self.answered.insert((step.clone(), iteration));
        let words = format!("step {step} has two results");
        holds(self.done.insert((step, iteration)), || words)
    }

    /// Nothing that ends by time ends before its time, by the decider's clock and by the true one.
    fn is_due(&self, event: &Event, time: Timestamp, now_ms: u64, skew_ms: u64) -> Check {
        let phase = |step: &StepName| self.state.open.get(step).map(|open| &open.phase);
        let due = match event {
            Event::SleepEnded { step } => match phase(step) {
                Some(Phase::Sleeping { until, .. }) => Some(*until),
                _ => return Err(format!("step {step} woke and did not sleep")),
            },
            Event::ApprovalTimedOut { step } => match phase(step) {
                Some(Phase::Approval { due, .. }) => *due,
                _ => return Err(format!("step {step} timed out and did not wait")),
            },
            Event::ExecutionTimedOut { .. } => self.state.deadline.map(|deadline| deadline.due),
            _ => return Ok(()),
        };
        let Some(due) = due else { return Err("it ended by a time it does not have".to_owned()) };
        holds(due <= time && due.as_millis() <= now_ms + skew_ms, || {
            format!("{} at {now_ms} (by its clock {time}), due only at {due}", event.kind())
        })
    }

    fn is_as_in_snapshot(&self, commit: &Commit) -> Check {
        let is_same = commit.snapshot.as_ref().is_none_or(|snapshot| *snapshot == self.state);
        holds(is_same, || "its snapshot is not what its events add up to".to_owned())
    }
}

fn holds(is_so: bool, words: impl FnOnce() -> String) -> Check {
    if is_so { Ok(()) } else { Err(words()) }
}

fn in_words(event: &Event) -> String {
    let kind = event.kind();
    match event {
        Event::StepScheduled { step, attempt, .. } => format!("{kind} {step} #{attempt}"),
        Event::StepStarted { step, attempt, worker, .. } => {
            format!("{kind} {step} #{attempt} by {worker}")
        }
        Event::StepCompleted { step, attempt, .. }
        | Event::AttemptFailed { step, attempt, .. }
        | Event::StepFailed { step, attempt, .. }
        | Event::AttemptLost { step, attempt, .. } => format!("{kind} {step} #{attempt}"),
        Event::SleepStarted { step, duration_ms, .. } => {
            format!("{kind} {step} for {duration_ms} ms")
        }
        Event::SleepEnded { step } | Event::ApprovalTimedOut { step } => format!("{kind} {step}"),
        Event::ApprovalRequested { step, .. } => format!("{kind} {step}"),
        Event::ApprovalGranted { step, request, .. } => format!("{kind} {step} by {request}"),
        Event::GuardArmed { epoch, due } => format!("{kind} {epoch} due {due}"),
        Event::ExecutionStarted(start) => format!("{kind} {} {}", start.execution, start.generation),
        _ => kind.to_owned(),
    }
}
