//! (state, command, time) -> events, or a rejection.
//!
//! Deterministic and total; one file per command. A rejection leaves the draft as it was. Whoever
//! repeats a command that was applied gets the same answer and no new event.

mod adapt;
mod approve;
mod cancel;
mod extend_lease;
mod failure;
mod lease_step;
mod return_task;
mod submit_result;
mod transition;
mod wake;

use std::time::Duration;

use super::{
    blueprint::{Blueprint, Route},
    command::{Answer, Command},
    draft::Draft,
    event::Event,
    id::StepName,
    rejection::Rejection,
    values::Values,
};

/// What the operator chose; the same on every instance of a store, or leases and guards only differ
/// in length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// How long a worker has a step to itself, where the step does not say.
    pub lease: Duration,
    /// The guard interval G: after how long a run that stopped moving is looked at.
    pub guard: Duration,
    /// How often a step may run in one execution because rules go back, where the blueprint does not
    /// say.
    pub iterations_max: u32,
}

impl Policy {
    /// The guard interval in milliseconds.
    pub fn guard_ms(&self) -> u64 {
        u64::try_from(self.guard.as_millis()).unwrap_or(u64::MAX)
    }

    fn lease_ms(&self) -> u64 {
        u64::try_from(self.lease.as_millis()).unwrap_or(u64::MAX)
    }
}

impl Default for Policy {
    /// Five minutes, one minute (docs/operations.md "Times"), and a thousand iterations.
    fn default() -> Self {
        Self { lease: Duration::from_mins(5), guard: Duration::from_mins(1), iterations_max: 1_000 }
    }
}

/// What a decision depends on beside the state.
#[derive(Clone, Copy, Debug)]
pub struct Setting<'a> {
    /// The workflow, as the run is pinned to it.
    pub blueprint: &'a Blueprint,
    /// What the operator chose.
    pub policy: &'a Policy,
    /// What [`reads`](super::reads) asked for.
    pub values: &'a Values,
}

impl<'a> Setting<'a> {
    fn routes(&self, step: &str) -> &'a [Route] {
        let place = self.blueprint.step(step).map(|(place, _)| place);
        place.map_or(&[], |place| self.blueprint.routes(place))
    }

    fn iterations_max(&self) -> u32 {
        self.blueprint.definition().iterations_max.unwrap_or(self.policy.iterations_max)
    }
}

/// Writes down what a run keeps of the one that it resumes, and schedules what is ready then: the rest
/// of commit 0.
pub fn start(draft: &mut Draft, setting: &Setting<'_>, kept: Vec<Event>) {
    for event in kept {
        draft.emit(event);
    }
    transition::begin(draft, setting);
}

/// Decides `command` on what `draft` has come to.
///
/// # Errors
///
/// A [`Rejection`]; nothing was written to the draft.
///
/// # Panics
///
/// When a refused command wrote events, which is a bug.
pub fn decide(
    draft: &mut Draft,
    setting: &Setting<'_>,
    command: &Command,
) -> Result<Answer, Rejection> {
    let events = draft.len();
    let answer = match command {
        Command::SubmitResult { task, worker, outcome } => {
            submit_result::decide(draft, setting, task, worker, outcome)
        }
        Command::LeaseStep { task, worker, partial } => {
            lease_step::decide(draft, setting, task, worker, *partial)
        }
        Command::ExtendLease { task, worker } => extend_lease::decide(draft, setting, task, worker),
        Command::ReturnTask { task, worker, reason } => {
            return_task::decide(draft, setting, task, worker, reason)
        }
        Command::Wake => Ok(wake::decide(draft, setting)),
        Command::Approve { step, by, request, response, again } => {
            let answer = approve::Given { by, request, response, again: *again };
            approve::approve(draft, setting, step.as_ref(), &answer)
        }
        Command::Reject { step, by, request, reason } => {
            approve::reject(draft, setting, step.as_ref(), by, request, reason)
        }
        Command::Cancel { by, request, reason } => cancel::decide(draft, by, request, reason),
    };
    assert!(answer.is_ok() || draft.len() == events, "BUG: a refused command wrote events");
    answer
}

/// Makes an attempt ready for a worker, `delay_ms` from now.
fn schedule(
    draft: &mut Draft,
    setting: &Setting<'_>,
    step: &StepName,
    iteration: u32,
    attempt: u32,
    delay_ms: u64,
) {
    let begins = draft.now().after_millis(delay_ms);
    let wait_ms = setting.blueprint.step(step).and_then(|(_, step)| step.schedule_to_start_ms);
    draft.emit(Event::StepScheduled {
        step: step.clone(),
        iteration,
        attempt,
        not_before: (delay_ms > 0).then_some(begins),
        start_by: wait_ms.map(|wait_ms| begins.after_millis(wait_ms)),
    });
}

/// Refuses whatever would change a closed run.
fn still_open(draft: &Draft) -> Result<(), Rejection> {
    let state = draft.state();
    if state.is_closed() {
        return Err(Rejection::Closed { status: state.status.word() });
    }
    Ok(())
}
