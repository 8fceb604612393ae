//! Watches what people and workers are told: each answer was true at some instant of its call.
//!
//! That is linearizability, and no search for an order is needed, as the log gives one: what changes
//! a run is at the instant at which its commit is applied. So an answer to a change must be in the log
//! by now; a refusal by what stays so for ever (a step that is over, a run that is closed) must be so
//! by now; a description must be how the run stood after some commit, and no earlier one than the
//! newest when it was asked for, which holds all that anybody had been told of by then; and whoever
//! found an execution running must have asked before it closed.

use std::collections::BTreeSet;

use lazarus::{
    engine::{Record, Standing, Started},
    workflow::{ExecutionId, Generation, Phase, RunId, Seq, State, Status, TaskToken},
};

use super::{audit::Audit, rules::holds};

impl Audit {
    /// A caller that asked at `asked_ms` was told that its start is this run.
    pub fn started(&self, intent: &str, started: &Started, asked_ms: u64) {
        let run = started.run;
        let mut known = self.known();
        let is_there = known.runs.contains_key(&run);
        let closed_ms = known.runs.get(&run).and_then(|run| run.closed_ms);
        let was_open = !started.was_running || closed_ms.is_none_or(|closed| closed >= asked_ms);
        // Somebody else's run, where one was running: of that an answer may be told each time.
        let first = if started.was_running {
            run
        } else {
            *known.starts.entry(intent.to_owned()).or_insert(run)
        };
        drop(known);
        self.blame(holds(is_there, || format!("the start {intent} is not in the log")));
        self.blame(holds(was_open, || {
            format!("the start {intent} found run {run} open, which had closed before it was sent")
        }));
        self.blame(holds(first == run, || {
            format!("the start {intent} came to run {first} and to run {run}")
        }));
    }

    /// A caller that asked at `asked_ms` was told that its id is in use.
    pub fn not_started(&self, execution: Option<&ExecutionId>, asked_ms: u64, why: &str) {
        let known = self.known();
        let runs = execution.and_then(|it| known.ids.get(it.as_str())).cloned().unwrap_or_default();
        let was_open =
            runs.iter().any(|run| known.runs[run].closed_ms.is_none_or(|it| it >= asked_ms));
        drop(known);
        self.blame(holds(was_open, || format!("{execution:?} was not started: {why}")));
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
            let runs_again =
                run.again_from.get(&step).is_some_and(|from| token.task.attempt < *from);
            run.state.is_closed() || runs_again || (is_over && run.answered.contains(&step))
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

    /// A person was told that an execution can not be cancelled.
    pub fn not_cancelled(&self, run: RunId, why: &str) {
        let is_open = self.known().runs.get(&run).is_some_and(|run| !run.state.is_closed());
        self.blame(holds(!is_open, || format!("run {run} was not cancelled: {why}")));
    }

    /// The newest run of an id, by its generation, and its last commit.
    pub fn newest(&self, execution: &str) -> Option<(Generation, Seq)> {
        let known = self.known();
        let state = &known.runs.get(known.ids.get(execution)?.last()?)?.state;
        Some((state.generation, state.seq))
    }

    /// Somebody was told how an execution stands; `before` is what [`Self::newest`] said when it was
    /// asked.
    pub fn described(&self, state: &State, before: Option<(Generation, Seq)>) {
        let known = self.known();
        let Some(run) = known.runs.get(&state.run) else {
            drop(known);
            let fault = format!("run {} was described and is not in the log", state.run);
            return self.blame(Err(fault));
        };
        let is_old = before.is_some_and(|before| (state.generation, state.seq) < before);
        let was_so = run.at(state.seq).is_some_and(|was| was == state);
        drop(known);
        let run = state.run;
        self.blame(holds(!is_old, || format!("run {run} was described as it had been before")));
        self.blame(holds(was_so, || format!("run {run} was described as it never was")));
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
}
