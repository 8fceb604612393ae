//! What must hold of a log at each commit, and of the wake index at each change.

use std::collections::{BTreeMap, BTreeSet};

use super::resumed::resumes;

use lazarus::{
    log::{Commit, Key, Sum},
    workflow::{
        Attention, CommitFacts, Event, LossReason, Phase, RunId, Seq, State, StepName, Task,
        Timestamp, WakeKind, deleted_by, fold,
    },
};

/// What a write breaks, in words.
pub(super) type Check = Result<(), String>;

/// So many wake entries a run may have in the worst of times; if wakers did not agree on keys, each pass
/// would double them. A commit that is decided on an old hint and loses leaves the guard that it put
/// until that fires; where wakers are throttled for minutes and polls go on, those come to a hundred.
const ENTRIES_MAX: usize = 150;
/// A commit that lands so long after it was decided lands late.
const LANDS_SOON_MS: u64 = 1_000;

/// A run as its log has it.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) state: State,
    pub(super) sum: Sum,
    /// Steps that are done, and in which iteration.
    pub(super) done: BTreeSet<(StepName, u32)>,
    /// Steps of which some attempt was answered.
    pub(super) answered: BTreeSet<(StepName, u32)>,
    /// Attempts that the log gives to a worker.
    pub(super) leases: BTreeSet<(Task, String)>,
    /// The newest attempt of each step, if no worker has it yet, and since when it waits.
    pub(super) waiting: BTreeMap<StepName, (Task, u64)>,
    /// How it stood after each commit but the newest.
    pub(super) past: Vec<State>,
    /// When the commit that closed it was applied, by the true clock.
    pub(super) closed_ms: Option<u64>,
    /// Whether it only stands for one that was deleted.
    pub(super) is_tombstone: bool,
    /// Steps that a person lets run again, until their next attempt is scheduled.
    again: BTreeSet<StepName>,
    /// The first attempt after that of each step; those before it have been asked for, and are over.
    pub(super) again_from: BTreeMap<(StepName, u32), u32>,
    /// Requests of people that are applied.
    pub(super) requests: BTreeSet<String>,
}

#[derive(Debug, Default)]
pub(super) struct Known {
    pub(super) runs: BTreeMap<RunId, Run>,
    /// The generations of each id.
    pub(super) ids: BTreeMap<String, Vec<RunId>>,
    /// Which run each start request came to.
    pub(super) starts: BTreeMap<String, RunId>,
    /// The wake entries that stand in the bucket.
    pub(super) entries: BTreeMap<RunId, BTreeSet<(Attention, u32)>>,
    pub(super) commits: u64,
    /// The guard interval of all instances, and how far clocks are off at most.
    pub(super) bounds: Option<(u64, u64)>,
    /// The start commits that stand in the bucket.
    pub(super) standing: BTreeMap<String, RunId>,
    /// How long closed runs are kept; none: for ever.
    pub(super) keep_ms: Option<u64>,
    /// When a worker that takes everything was last given nothing.
    pub(super) idle_at: u64,
    /// Since when everything is healed.
    pub(super) calm_since: Option<u64>,
}

impl Known {
    /// A commit comes after what is known.
    pub(super) fn append(
        &mut self,
        place: &Key,
        commit: &Commit,
        now_ms: u64,
        skew_ms: u64,
    ) -> Check {
        let facts = CommitFacts { seq: commit.seq, time: commit.time };
        if matches!(place, Key::Id { .. }) {
            let state = fold(None, facts, &commit.events).expect("it follows");
            // Who deletes by a list that lacks the newest generations may put a tombstone where one of
            // them has gone since; it stands below the newest one, and nobody looks at it.
            let is_below = deleted_by(&commit.events).is_some() && self.has_newer(&state);
            if !is_below {
                self.begin(&state)?;
            }
            resumes(&self.runs, commit)?;
            let mut run = Run {
                state,
                sum: commit.sum,
                done: BTreeSet::new(),
                answered: BTreeSet::new(),
                leases: BTreeSet::new(),
                waiting: BTreeMap::new(),
                past: vec![],
                closed_ms: None,
                again: BTreeSet::new(),
                again_from: BTreeMap::new(),
                is_tombstone: deleted_by(&commit.events).is_some(),
                requests: BTreeSet::new(),
            };
            for event in &commit.events {
                run.note(event)?;
            }
            run.is_as_in_snapshot(commit)?;
            run.closed_ms = run.state.is_closed().then_some(now_ms);
            self.standing.insert(place.to_string(), commit.run);
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
            // Whose poll was cut in trouble may be given a lease a little later.
            let is_calm =
                self.calm_since.is_some_and(|from| from + skew_ms < commit.time.as_millis());
            run.wait_for_worker(event, is_calm.then_some(now_ms));
        }
        let state = fold(Some(run.state.clone()), facts, &commit.events).expect("it follows");
        run.past.push(std::mem::replace(&mut run.state, state));
        run.sum = commit.sum;
        if run.state.is_closed() {
            run.closed_ms.get_or_insert(now_ms);
        }
        run.is_as_in_snapshot(commit)
    }

    /// Whether a newer generation of the id stands in the bucket.
    fn has_newer(&self, state: &State) -> bool {
        let is_newer = |run: &RunId| {
            let other = &self.runs[run].state;
            other.execution == state.execution && other.generation > state.generation
        };
        self.standing.values().any(is_newer)
    }

    /// A start commit was deleted: its run closed long ago, a generation comes after it if a user chose
    /// the id, and none before it is left.
    pub(super) fn start_goes(&mut self, key: &str, now_ms: u64) -> Check {
        let run = self.standing.remove(key).ok_or("no start stood there")?;
        let run = self.runs.get(&run).ok_or("its run never started")?;
        let is_old = self
            .keep_ms
            .zip(run.closed_ms)
            .is_some_and(|(keep_ms, closed_ms)| closed_ms + keep_ms <= now_ms);
        // Nobody looks at a tombstone below a newer generation (see `append`), and a delete that was sent
        // before it was put there may be applied late.
        let is_below = run.is_tombstone && self.has_newer(&run.state);
        holds(is_old || is_below, || "it is not old enough".to_owned())?;
        let State { execution, generation, .. } = &run.state;
        let of_id = self.ids.get(execution.as_str()).map(Vec::as_slice).unwrap_or_default();
        let at = usize::try_from(*generation).expect("few");
        let is_newest = at + 1 == of_id.len();
        holds(!is_newest || execution.is_made(), || {
            "it is the newest generation of an id that a user chose".to_owned()
        })?;
        let is_left = |run: &RunId| self.standing.values().any(|standing| standing == run);
        let older = of_id.iter().take(at).find(|run| is_left(run));
        holds(older.is_none(), || format!("an older generation is left: run {older:?}"))
    }

    /// A commit or a blob of a run was deleted: its start went before.
    pub(super) fn rest_goes(&self, run: RunId) -> Check {
        let has_start = self.standing.values().any(|standing| *standing == run);
        holds(!has_start, || format!("its run {run} still has its start"))
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

    /// Whether a guard is due soon after a commit, be it that the run had stood still before and its
    /// guard had climbed. A waker that came between the decision and the commit, or whose clock is
    /// ahead, saw the run stand still for a little longer than an interval: hence the next rung. (The
    /// guard of a commit that lands late has climbed for good.)
    pub(super) fn guarded_soon(&self, commit: &Commit, now_ms: u64) -> Check {
        let Some((guard_ms, skew_ms)) = self.bounds else { return Ok(()) };
        let Some(Run { state, .. }) = self.runs.get(&commit.run) else { return Ok(()) };
        let slack_ms = 2 * skew_ms + LANDS_SOON_MS;
        let is_late = now_ms > commit.time.as_millis() + slack_ms;
        if slack_ms > guard_ms || is_late || commit.events.is_empty() || !state.is_active() {
            return Ok(());
        }
        let latest = commit.time.as_millis() + slack_ms + 2 * guard_ms;
        let none = BTreeSet::new();
        let entries = self.entries.get(&commit.run).unwrap_or(&none);
        let is_soon = |(entry, _): &(Attention, u32)| {
            entry.kind == WakeKind::Guard && entry.due.as_millis() <= latest
        };
        holds(entries.iter().any(is_soon), || {
            format!("no guard of run {} is due by {latest}: {entries:?}", commit.run)
        })
    }

    /// Whether what stands in the wake index brings the run back.
    pub(super) fn covered(&self, run: RunId, now_ms: u64) -> Check {
        let Some(Run { state, .. }) = self.runs.get(&run) else { return Ok(()) };
        let needed = state.attention();
        let none = BTreeSet::new();
        let entries = self.entries.get(&run).unwrap_or(&none);
        holds(entries.len() <= ENTRIES_MAX, || {
            format!("{} entries bring run {run} back", entries.len())
        })?;
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
    /// How it stood after commit `seq`.
    pub(super) fn at(&self, seq: Seq) -> Option<&State> {
        let at = usize::try_from(seq).expect("few");
        if at == self.past.len() { Some(&self.state) } else { self.past.get(at) }
    }

    fn note(&mut self, event: &Event) -> Check {
        if let Event::ApprovalAnswered { step, .. } = event {
            self.again.insert(step.clone());
        }
        let open = |step: &StepName| self.state.open.get(step).map_or(1, |open| open.iteration);
        match event {
            Event::StepScheduled { step, iteration, attempt, .. } if self.again.remove(step) => {
                self.again_from.insert((step.clone(), *iteration), *attempt);
            }
            Event::StepStarted { step, iteration, attempt, worker, .. } => {
                let (step, iteration, attempt) = (step.clone(), *iteration, *attempt);
                let task = Task { step, iteration, attempt };
                self.leases.insert((task, worker.clone()));
            }
            Event::StepCompleted { step, iteration, .. }
            | Event::ResultKept { step, iteration, .. } => {
                return self.complete(step.clone(), *iteration);
            }
            Event::SleepEnded { step } => return self.complete(step.clone(), open(step)),
            Event::ApprovalGranted { step, request, .. } => {
                let iteration = open(step);
                let is_new = self.requests.insert(request.clone());
                holds(is_new, || format!("request {request} was applied twice"))?;
                return self.complete(step.clone(), iteration);
            }
            Event::ApprovalAnswered { request, .. }
            | Event::ApprovalRejected { request, .. }
            | Event::ExecutionCancelled { request, .. } => {
                let is_new = self.requests.insert(request.clone());
                return holds(is_new, || format!("request {request} was applied twice"));
            }
            Event::SleepStarted { step, iteration, .. }
            | Event::ApprovalRequested { step, iteration, .. }
            | Event::StepRetried { step, iteration, .. }
            | Event::FailureCaught { step, iteration, .. }
            | Event::StepFailed { step, iteration, .. } => {
                self.answered.insert((step.clone(), *iteration));
            }
            Event::AttemptFailed { step, .. }
            | Event::InputsAdapted { step, .. }
            | Event::StepRerouted { step, .. } => {
                let iteration = open(step);
                self.answered.insert((step.clone(), iteration));
            }
            // A rule decides for steps that are in workers' hands, too.
            Event::TransitionTaken { skipped, cleared, .. } => {
                for step in skipped.iter().chain(cleared) {
                    let iteration = open(step);
                    self.answered.insert((step.clone(), iteration));
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn wait_for_worker(&mut self, event: &Event, since: Option<u64>) {
        match event {
            Event::StepScheduled { step, iteration, attempt, .. }
            | Event::StepStarted { step, iteration, attempt, .. } => {
                let (iteration, attempt) = (*iteration, *attempt);
                let task = Task { step: step.clone(), iteration, attempt };
                match since {
                    Some(since) => drop(self.waiting.insert(step.clone(), (task, since))),
                    None => drop(self.waiting.remove(step)),
                }
            }
            _ => {}
        }
    }

    /// A task that could have been in a worker's hands since `since`, and is not.
    pub(super) fn waits_since(&self, since: u64) -> Option<&Task> {
        let could = |(step, (task, landed)): &(&StepName, &(Task, u64))| {
            let open = self.state.open.get(*step);
            let is_free = open.is_some_and(|open| match &open.phase {
                // A pause before another attempt ends with a guard.
                Phase::Ready { not_before, .. } => not_before.is_none(),
                Phase::Leased { .. } => open.attempt == task.attempt,
                _ => false,
            });
            is_free && *landed < since && !self.state.is_closed()
        };
        self.waiting.iter().find(could).map(|(_, (task, _))| task)
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
            Event::AttemptLost { step, reason: LossReason::LeaseEnded, .. } => match phase(step) {
                Some(Phase::Leased { until, .. }) => Some(*until),
                _ => return Err(format!("step {step} lost a lease that it did not have")),
            },
            Event::StepRetried { step, error, .. } | Event::StepFailed { step, error, .. } => {
                match (error.kind.as_str(), phase(step)) {
                    ("start_to_close_timeout", Some(Phase::Leased { close_by, .. })) => *close_by,
                    ("schedule_to_start_timeout", Some(Phase::Ready { start_by, .. })) => *start_by,
                    ("start_to_close_timeout" | "schedule_to_start_timeout", _) => None,
                    _ => return Ok(()),
                }
            }
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

/// `words` unless it is so.
pub(super) fn holds(is_so: bool, words: impl FnOnce() -> String) -> Check {
    if is_so { Ok(()) } else { Err(words()) }
}
