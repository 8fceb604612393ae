//! (state, command, time) -> events, or a rejection.
//!
//! Deterministic and total; one file per command. A rejection leaves the draft as it was. Whoever
//! repeats a command that was applied gets the same answer and no new event.

mod advance;
mod approve;
mod cancel;
mod extend_lease;
mod lease_step;
mod submit_result;
mod wake;

use std::time::Duration;

use super::{
    blueprint::Blueprint,
    command::{Answer, Command},
    draft::Draft,
    rejection::Rejection,
};

/// What the operator chose; the same on every instance of a store, or leases and guards only differ
/// in length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// How long a worker has a step to itself, where the step does not say.
    pub lease: Duration,
    /// The guard interval G: after how long a run that stopped moving is looked at.
    pub guard: Duration,
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
    /// Five minutes and one minute (docs/operations.md "Times").
    fn default() -> Self {
        Self { lease: Duration::from_mins(5), guard: Duration::from_mins(1) }
    }
}

/// Schedules the steps that wait for nothing: the rest of commit 0.
pub fn start(draft: &mut Draft, blueprint: &Blueprint) {
    advance::schedule_first(draft, blueprint);
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
    blueprint: &Blueprint,
    command: &Command,
    policy: &Policy,
) -> Result<Answer, Rejection> {
    let events = draft.len();
    let answer = match command {
        Command::SubmitResult { task, worker, outcome } => {
            submit_result::decide(draft, blueprint, policy, task, worker, outcome)
        }
        Command::LeaseStep { task, worker, partial } => {
            lease_step::decide(draft, blueprint, policy, task, worker, *partial)
        }
        Command::ExtendLease { task, worker } => {
            extend_lease::decide(draft, blueprint, policy, task, worker)
        }
        Command::Wake => Ok(wake::decide(draft, blueprint)),
        Command::Approve { step, by, request, response } => {
            approve::approve(draft, blueprint, step.as_ref(), by, request, response)
        }
        Command::Reject { step, by, request, reason } => {
            approve::reject(draft, step.as_ref(), by, request, reason)
        }
        Command::Cancel { by, request, reason } => cancel::decide(draft, by, request, reason),
    };
    assert!(answer.is_ok() || draft.len() == events, "BUG: a refused command wrote events");
    answer
}

/// Refuses whatever would change a closed run.
fn still_open(draft: &Draft) -> Result<(), Rejection> {
    let state = draft.state();
    if state.is_closed() {
        return Err(Rejection::Closed { status: state.status.word() });
    }
    Ok(())
}
