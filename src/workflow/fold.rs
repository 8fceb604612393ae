//! State = fold(events): how each event changes a run.
//!
//! Total and deterministic: an event that could be written can be folded. What can not follow from
//! the state is refused ([`Misfit`]), never guessed at: its bytes may be sound, and still nobody of us
//! has written it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use thiserror::Error;

use super::{
    blueprint::END,
    event::{Event, Failure, LossReason, Start},
    id::{Seq, StepName},
    payload::{At, Json, Payload, Stored},
    state::{
        Deadline, Done, Guard, Iteration, KEPT_BYTES_MAX, OpenStep, Phase, REQUESTS_MAX, State,
        Status,
    },
    time::Timestamp,
};

/// The facts of one commit that the fold needs beside its events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CommitFacts {
    /// Its number.
    pub seq: Seq,
    /// Its time, which never goes back within a run.
    pub time: Timestamp,
}

/// An event that no [`decide`](super::decide) can have written after the state before it.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum Misfit {
    #[error("an event stands before the start of its run")]
    NotStarted,
    #[error("a run starts that has started")]
    StartedTwice,
    #[error("an event names a step that is not open")]
    NotOpen,
    #[error("a failure is caught that nobody saw")]
    NoFailure,
    #[error("a sleep ends that did not begin")]
    NotAsleep,
}

/// Folds the events of one commit into `state`; none before commit 0.
///
/// # Errors
///
/// [`Misfit`]: the events do not follow from the state. The log that they stand in is corrupt.
pub fn fold(state: Option<State>, commit: CommitFacts, events: &[Event]) -> Result<State, Misfit> {
    let mut folder = Folder::new(state.map(Box::new), commit);
    for event in events {
        folder.apply(event)?;
    }
    folder.close(events.is_empty()).map(|state| *state)
}

/// Folds the events of one commit one by one.
#[derive(Debug)]
pub(crate) struct Folder {
    state: Option<Box<State>>,
    commit: CommitFacts,
    index: u32,
}

impl Folder {
    /// Begins the commit `commit` after `state`.
    pub(crate) fn new(state: Option<Box<State>>, commit: CommitFacts) -> Self {
        Self { state, commit, index: 0 }
    }

    /// The state so far.
    pub(crate) fn state_ref(&self) -> &State {
        self.state.as_deref().expect("BUG: an event stands before the start of its run")
    }

    /// The commit under way.
    pub(crate) fn facts(&self) -> CommitFacts {
        self.commit
    }

    /// The state, to which nothing was applied.
    pub(crate) fn into_untouched(self) -> Box<State> {
        self.state.expect("BUG: a run begins without its start")
    }

    fn at(&self) -> At {
        At(self.commit.seq, self.index)
    }

    fn state(&mut self) -> Result<&mut State, Misfit> {
        self.state.as_deref_mut().ok_or(Misfit::NotStarted)
    }

    fn step(&mut self, step: &StepName) -> Result<&mut OpenStep, Misfit> {
        self.state()?.open.get_mut(step).ok_or(Misfit::NotOpen)
    }

    /// What holds after every commit, whatever its events.
    pub(crate) fn close(self, is_settlement: bool) -> Result<Box<State>, Misfit> {
        let CommitFacts { seq, time } = self.commit;
        let mut state = self.state.ok_or(Misfit::NotStarted)?;
        state.seq = seq;
        state.time = time;
        if !is_settlement {
            state.moved = time;
        }
        if !state.is_active() {
            state.guard = None;
            if let (false, Some(deadline)) = (state.is_closed(), &mut state.deadline) {
                deadline.entry.get_or_insert(seq);
            }
        }
        Ok(state)
    }

    /// Folds in the next event of the commit.
    #[expect(clippy::too_many_lines, reason = "one arm a kind: none can be forgotten")]
    pub(crate) fn apply(&mut self, event: &Event) -> Result<(), Misfit> {
        let CommitFacts { seq, time } = self.commit;
        let at = self.at();
        self.index += 1;
        match event {
            Event::ExecutionStarted(start) => {
                if self.state.replace(Box::new(started(start, at, time))).is_some() {
                    return Err(Misfit::StartedTwice);
                }
            }
            Event::GuardArmed { epoch, due } => {
                self.state()?.guard = Some(Guard { epoch: *epoch, due: *due });
            }
            Event::StepScheduled { step, iteration, attempt, not_before, start_by } => {
                let (not_before, start_by) = (*not_before, *start_by);
                let phase = Phase::Ready { since: seq, not_before, start_by };
                self.open(step, (*iteration, *attempt), phase)?;
            }
            Event::StepStarted {
                step, iteration, attempt, worker, lease_until, close_by, ..
            } => {
                let (worker, until, close_by) = (worker.clone(), *lease_until, *close_by);
                let phase = Phase::Leased { worker, until, close_by };
                self.open(step, (*iteration, *attempt), phase)?.started.get_or_insert(time);
            }
            Event::LeaseExtended { step, lease_until, .. } => {
                if let Phase::Leased { until, .. } = &mut self.step(step)?.phase {
                    *until = *lease_until;
                }
            }
            Event::StepCompleted { step, attempt, result, .. } => {
                self.complete(step, *attempt, &Stored::new(at, result))?;
            }
            Event::AttemptFailed { step, attempt, error }
            | Event::StepFailed { step, error, attempt, .. } => {
                self.step(step)?.failure = Some((*attempt, error.clone()));
            }
            Event::StepRetried { step, attempt, error, .. } => self.retry(step, *attempt, error)?,
            Event::FailureCaught { step, attempt, output, .. } => {
                self.catch(step, *attempt, &Stored::new(at, output))?;
            }
            Event::TransitionTaken { step, to, skipped, cleared, taken_up, .. } => {
                self.clear(cleared)?;
                self.take_up(taken_up)?;
                self.skip(skipped, Some(step))?;
                self.choose(step, to)?;
            }
            Event::StepsSkipped { steps } => self.skip(steps, None)?,
            Event::ConditionNotEvaluated { .. }
            | Event::AttemptLost { reason: LossReason::NotFetched, .. } => {}
            Event::AttemptLost { step, reason: LossReason::LeaseEnded, .. }
            | Event::DeliveryFailed { step, .. } => {
                let losses = &mut self.step(step)?.losses;
                *losses = losses.saturating_add(1);
            }
            Event::StepRerouted { step, worker, until, .. } => {
                let without = &mut self.step(step)?.without;
                without.retain(|(name, end)| name != worker && *end > time);
                without.push((worker.clone(), *until));
            }
            Event::InputsAdapted { step, attempt, with_inputs } => {
                self.adapt(step, *attempt)?;
                self.state()?.with_inputs.insert(step.clone(), *with_inputs);
            }
            Event::ArgumentsAdapted { step, attempt, arguments } => {
                self.adapt(step, *attempt)?;
                self.state()?.arguments.insert(step.clone(), arguments.clone());
            }
            Event::SleepStarted { step, attempt, duration_ms, until, data, .. } => {
                let (since, from, data) = (seq, time, Stored::new(at, data));
                let (until, duration_ms) = (*until, *duration_ms);
                self.wait(
                    step,
                    *attempt,
                    Phase::Sleeping { since, from, until, duration_ms, data },
                )?;
            }
            Event::SleepEnded { step } => self.end_sleep(step)?,
            Event::ApprovalRequested {
                step,
                attempt,
                approval_type,
                data,
                timeout_ms,
                due,
                ..
            } => {
                let (approval_type, data) = (approval_type.clone(), Stored::new(at, data));
                let (since, from, timeout_ms, due) = (seq, time, *timeout_ms, *due);
                let phase = Phase::Approval { since, from, approval_type, data, timeout_ms, due };
                self.wait(step, *attempt, phase)?;
            }
            Event::ApprovalGranted { step, request, response, .. } => {
                let attempt = self.step(step)?.attempt;
                self.complete(step, attempt, &Stored::new(at, response))?;
                self.remember(request)?;
            }
            Event::ApprovalAnswered { step, request, response, .. } => {
                let open = self.step(step)?;
                open.answer = Some(Stored::new(at, response));
                open.counted = open.last_attempt();
                // What failed before the answer has nothing to say about the attempt that gets it.
                open.failure = None;
                self.remember(request)?;
            }
            Event::ApprovalRejected { step, request, reason, by } => {
                self.fail(step, approval_rejected(by, reason))?;
                self.remember(request)?;
            }
            Event::ApprovalTimedOut { step } => self.fail(step, approval_timed_out())?,
            Event::ResultKept { step, iteration, attempt, started, ended, result, error } => {
                let times = (*started, *ended);
                self.done(step, (*iteration, *attempt), times, &Stored::new(at, result))?;
                let caught = error.iter().map(|error| (step.clone(), error.clone()));
                self.state()?.caught.extend(caught);
            }
            Event::WayKept { skipped, chosen, iterations } => {
                self.keep_way(skipped, chosen, iterations)?;
            }
            Event::ExecutionCompleted => self.end(Status::Completed)?,
            Event::ExecutionFailed { step, error } => {
                self.end(Status::Failed { step: step.clone(), error: error.clone() })?;
            }
            Event::ExecutionCancelled { by, request, reason } => {
                let (by, request, reason) = (by.clone(), request.clone(), reason.clone());
                self.end(Status::Cancelled { by, request, reason })?;
            }
            Event::ExecutionTimedOut { timeout_ms } => {
                self.end(Status::TimedOut { timeout_ms: *timeout_ms })?;
            }
            Event::ExecutionDeleted { run, .. } => self.end(Status::Cancelled {
                by: "retention".to_owned(),
                request: String::new(),
                reason: format!("run {run}, the generation before, is deleted"),
            })?,
        }
        Ok(())
    }

    /// The open step, in `phase`; made when this is the first event of its iteration.
    fn open(
        &mut self,
        step: &StepName,
        (iteration, attempt): (u32, u32),
        phase: Phase,
    ) -> Result<&mut OpenStep, Misfit> {
        let fresh = OpenStep {
            iteration,
            attempt,
            phase: phase.clone(),
            started: None,
            losses: 0,
            failures: 0,
            counted: 0,
            newest: 0,
            last_failure: None,
            answer: None,
            failure: None,
            adapted: None,
            adaptations: 0,
            without: vec![],
        };
        let open = self.state()?.open.entry(step.clone()).or_insert(fresh);
        (open.attempt, open.phase) = (attempt, phase);
        Ok(open)
    }

    /// An attempt sleeps, or waits for a person.
    fn wait(&mut self, step: &StepName, attempt: u32, phase: Phase) -> Result<(), Misfit> {
        let open = self.step(step)?;
        open.newest = if open.attempt > attempt { open.attempt } else { open.newest };
        (open.attempt, open.phase) = (attempt, phase);
        Ok(())
    }

    fn adapt(&mut self, step: &StepName, attempt: u32) -> Result<(), Misfit> {
        let open = self.step(step)?;
        open.adapted = Some(attempt);
        open.adaptations = open.adaptations.saturating_add(1);
        Ok(())
    }

    fn retry(&mut self, step: &StepName, attempt: u32, error: &Failure) -> Result<(), Misfit> {
        let open = self.step(step)?;
        open.failures = open.failures.saturating_add(1);
        open.counted = open.counted.max(attempt);
        open.failure = None;
        open.last_failure = Some(Failure { stacktrace: String::new(), ..error.clone() });
        Ok(())
    }

    fn fail(&mut self, step: &StepName, error: Failure) -> Result<(), Misfit> {
        let open = self.step(step)?;
        open.failure = Some((open.attempt, error));
        Ok(())
    }

    fn catch(&mut self, step: &StepName, attempt: u32, output: &Stored) -> Result<(), Misfit> {
        let failure = self.step(step)?.failure.take();
        let (_, failure) = failure.ok_or(Misfit::NoFailure)?;
        self.complete(step, attempt, output)?;
        self.state()?.caught.insert(step.clone(), failure);
        Ok(())
    }

    /// What a step decided before stays decided: it outlasts a later step that leads to the same.
    fn choose(&mut self, step: &StepName, to: &StepName) -> Result<(), Misfit> {
        if &**to != END {
            self.state()?.skipped.remove(to);
            self.state()?.chosen.entry(to.clone()).or_insert_with(|| step.clone());
        }
        Ok(())
    }

    fn keep_way(
        &mut self,
        skipped: &BTreeMap<StepName, Option<StepName>>,
        chosen: &BTreeMap<StepName, StepName>,
        iterations: &BTreeMap<StepName, u32>,
    ) -> Result<(), Misfit> {
        let begun =
            |(step, iteration): (&StepName, &u32)| (step.clone(), Iteration(*iteration, 0, false));
        let state = self.state()?;
        (state.skipped, state.chosen) = (skipped.clone(), chosen.clone());
        state.iterations = iterations.iter().map(begun).collect();
        Ok(())
    }

    fn complete(&mut self, step: &StepName, attempt: u32, output: &Stored) -> Result<(), Misfit> {
        let time = self.commit.time;
        let open = self.state()?.open.remove(step);
        let open = open.ok_or(Misfit::NotOpen)?;
        let times = (open.started.unwrap_or(time), time);
        self.done(step, (open.iteration, attempt), times, output)
    }

    fn done(
        &mut self,
        step: &StepName,
        (iteration, attempt): (u32, u32),
        (began, ended): (Timestamp, Timestamp),
        output: &Stored,
    ) -> Result<(), Misfit> {
        let state = self.state()?;
        let started = state.started.as_millis();
        let offset =
            |at: Timestamp| at.as_millis().cast_signed().wrapping_sub(started.cast_signed());
        let At(seq, index) = output.at;
        let done = Done(iteration, attempt, offset(began), offset(ended), seq, index, output.bytes);
        state.done.insert(step.clone(), done);
        keep(state, step, output.value.as_ref(), output.bytes);
        Ok(())
    }

    fn skip(&mut self, steps: &[StepName], by: Option<&StepName>) -> Result<(), Misfit> {
        let skipped = steps.iter().map(|step| (step.clone(), by.cloned()));
        self.state()?.skipped.extend(skipped);
        Ok(())
    }

    fn take_up(&mut self, steps: &[StepName]) -> Result<(), Misfit> {
        for step in steps {
            self.state()?.skipped.remove(step);
        }
        Ok(())
    }

    /// Forgets what the steps have come to: each begins its next iteration when it is ready again.
    /// What a step that is not among them has decided stays decided; but what a step led back to, and
    /// has not come to again since, was led to for that once.
    fn clear(&mut self, steps: &[StepName]) -> Result<(), Misfit> {
        let cleared: BTreeSet<&StepName> = steps.iter().collect();
        let state = self.state()?;
        for step in steps {
            let open = state.open.remove(step).map(|open| Iteration(open.iteration, 0, false));
            let done = state.done.remove(step);
            if let Some(done) = done {
                forget(state, step, done.6);
            }
            let is_caught = state.caught.remove(step).is_some();
            let done = done.map(|done| Iteration(done.iteration(), done.attempt(), is_caught));
            let before = open.or(done);
            if let Some(Iteration(iteration, attempt, is_caught)) = before {
                let next = Iteration(iteration.saturating_add(1), attempt, is_caught);
                state.iterations.insert(step.clone(), next);
            }
        }
        let done = &state.done;
        state.chosen.retain(|step, by| {
            !cleared.contains(by) && (!cleared.contains(step) || done.contains_key(by))
        });
        state.skipped.retain(|step, by| {
            !cleared.contains(step) || by.as_ref().is_some_and(|by| !cleared.contains(by))
        });
        Ok(())
    }

    fn end_sleep(&mut self, step: &StepName) -> Result<(), Misfit> {
        let open = self.step(step)?;
        let attempt = open.attempt;
        let Phase::Sleeping { data, .. } = open.phase.clone() else {
            return Err(Misfit::NotAsleep);
        };
        self.complete(step, attempt, &data)
    }

    fn remember(&mut self, request: &str) -> Result<(), Misfit> {
        let requests = &mut self.state()?.requests;
        requests.push_back(request.to_owned());
        if requests.len() > REQUESTS_MAX {
            requests.pop_front();
        }
        Ok(())
    }

    fn end(&mut self, status: Status) -> Result<(), Misfit> {
        let time = self.commit.time;
        let state = self.state()?;
        state.status = status;
        state.closed = Some(time);
        Ok(())
    }
}

/// The failure of a step whose approval was rejected.
pub(crate) fn approval_rejected(by: &str, reason: &str) -> Failure {
    let message = if reason.is_empty() { format!("rejected by {by}") } else { reason.to_owned() };
    Failure { kind: "approval_rejected".to_owned(), message, stacktrace: String::new() }
}

/// The failure of a step whose approval nobody gave in time.
pub(crate) fn approval_timed_out() -> Failure {
    let message = "nobody answered the approval in time".to_owned();
    Failure { kind: "approval_timeout".to_owned(), message, stacktrace: String::new() }
}

/// Keeps a small output in the state, in place of the oldest ones where it would not fit.
fn keep(state: &mut State, step: &StepName, value: Option<&Json>, bytes: u64) {
    let Some(value) = value else { return };
    state.kept.push_back((step.clone(), value.clone()));
    state.kept_bytes = state.kept_bytes.saturating_add(bytes);
    while state.kept_bytes > KEPT_BYTES_MAX {
        let Some((oldest, _)) = state.kept.pop_front() else { break };
        let bytes = state.done.get(&oldest).map_or(0, |done| done.6);
        state.kept_bytes = state.kept_bytes.saturating_sub(bytes);
    }
}

/// Takes the output of a step that is done no more out of what the state carries.
fn forget(state: &mut State, step: &StepName, bytes: u64) {
    if let Some(at) = state.kept.iter().position(|(name, _)| name == step) {
        state.kept.remove(at);
        state.kept_bytes = state.kept_bytes.saturating_sub(bytes);
    }
}

fn started(start: &Start, at: At, time: Timestamp) -> State {
    let deadline = start.deadline.map(|due| Deadline {
        due,
        timeout_ms: start.timeout_ms.unwrap_or_default(),
        entry: None,
    });
    State {
        namespace: start.namespace.clone(),
        execution: start.execution.clone(),
        generation: start.generation,
        run: start.run,
        blueprint: start.blueprint.clone(),
        request: start.request.clone(),
        input: Stored::new(at, &start.input),
        started: time,
        closed: None,
        status: Status::Running,
        deadline,
        correlation_id: start.correlation_id.clone(),
        tags: start.tags.clone(),
        seq: at.0,
        time,
        moved: time,
        guard: None,
        open: BTreeMap::new(),
        done: BTreeMap::new(),
        kept: VecDeque::new(),
        kept_bytes: 0,
        with_inputs: start.with_inputs.clone(),
        arguments: start.arguments.clone(),
        skipped: BTreeMap::new(),
        chosen: BTreeMap::new(),
        caught: BTreeMap::new(),
        iterations: BTreeMap::new(),
        resumed: start.resumed.clone(),
        requests: VecDeque::new(),
    }
}

/// The payload that the event at `at` of `events` carries.
pub fn payload_at(events: &[Event], at: At) -> Option<&Payload> {
    events.get(usize::try_from(at.1).ok()?)?.payload()
}

#[cfg(test)]
mod tests {
    use crate::workflow::{
        Outcome, Payload,
        given::{run, submit},
    };

    #[test]
    fn a_state_carries_the_newest_small_outputs_while_they_fit() {
        let mut run =
            run(&[("a", &[]), ("b", &[]), ("c", &[]), ("d", &[]), ("e", &[]), ("f", &[])]);
        for (step, bytes) in
            [("a", 1_000), ("b", 1_000), ("c", 1_025), ("d", 1_024), ("e", 1_000), ("f", 1_000)]
        {
            // With its two quotes.
            let value = Payload::of("x".repeat(bytes - 2).into());
            run.leased(&[step]).given(submit(step, 1, Outcome::Succeeded(value)));
        }
        let kept: Vec<&str> = run.state.kept.iter().map(|(step, _)| &**step).collect();
        assert_eq!(kept, ["b", "d", "e", "f"], "`c` is too large, `a` the oldest");
        assert_eq!(run.state.kept_bytes, 4_024);
        let is_here = |step| run.state.output(step).expect("an output").value.is_some();
        assert_eq!(["a", "b", "c"].map(is_here), [false, true, false]);
    }
}
