//! Requests to change a run; each may be refused, and each may be sent twice.

use super::{
    id::{StepName, Task},
    outcome::Outcome,
    payload::Payload,
    time::Timestamp,
};

/// A request to change a run that has started.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// A worker says how its attempt ended.
    SubmitResult {
        /// The attempt, from its token.
        task: Task,
        /// The worker's id.
        worker: String,
        /// How it ended.
        outcome: Outcome,
    },
    /// A worker is to have a step that is ready, or one that was reserved and never fetched.
    LeaseStep {
        /// The attempt to begin: the ready one, or the one after the attempt nobody fetched.
        task: Task,
        /// The worker that gets it.
        worker: String,
        /// Whether the worker announces the step, but not every step of the workflow.
        partial: bool,
    },
    /// A worker shows that it still works on an attempt.
    ExtendLease {
        /// The attempt, from its token.
        task: Task,
        /// The worker's id.
        worker: String,
    },
    /// A target that was to have a step could not be called, or did not answer as a worker does.
    ReturnTask {
        /// The attempt, from its token.
        task: Task,
        /// The worker under whose name the target holds the lease.
        worker: String,
        /// What happened, in a line.
        reason: String,
    },
    /// Time has passed: do whatever is due.
    Wake,
    /// A person approves; the response becomes the step's output, or its `inputs`.
    Approve {
        /// The step; none: the only one that waits.
        step: Option<StepName>,
        /// Who, in the caller's words.
        by: String,
        /// The request's id; a repetition changes nothing.
        request: String,
        /// The answer.
        response: Payload,
        /// Whether the step runs again with the answer as its `inputs`, instead of having it as its
        /// output.
        again: bool,
    },
    /// A person rejects; the step fails.
    Reject {
        /// The step; none: the only one that waits.
        step: Option<StepName>,
        /// Who, in the caller's words.
        by: String,
        /// The request's id; a repetition changes nothing.
        request: String,
        /// Why.
        reason: String,
    },
    /// Somebody ends the execution.
    Cancel {
        /// Who, in the caller's words.
        by: String,
        /// The request's id; a repetition changes nothing.
        request: String,
        /// Why.
        reason: String,
    },
}

impl Command {
    /// The payload that the command carries, to be kept as a blob when it is large.
    pub fn payload_mut(&mut self) -> Option<&mut Payload> {
        match self {
            Self::SubmitResult { outcome, .. } => outcome.payload_mut(),
            Self::Approve { response, .. } => Some(response),
            Self::LeaseStep { .. }
            | Self::ExtendLease { .. }
            | Self::ReturnTask { .. }
            | Self::Wake
            | Self::Reject { .. }
            | Self::Cancel { .. } => None,
        }
    }

    /// The request's id, which the commit that applies it names; none: the state of a step, or the
    /// clock, makes a repetition harmless.
    pub fn request(&self) -> Option<&str> {
        match self {
            Self::Approve { request, .. }
            | Self::Reject { request, .. }
            | Self::Cancel { request, .. } => Some(request),
            Self::SubmitResult { .. }
            | Self::LeaseStep { .. }
            | Self::ExtendLease { .. }
            | Self::ReturnTask { .. }
            | Self::Wake => None,
        }
    }
}

/// What the caller of an accepted command is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It is applied.
    Applied,
    /// It was applied before, or nothing was left to do.
    Unchanged,
    /// The worker has the step to itself, from this command on.
    Leased {
        /// The end of the lease.
        until: Timestamp,
    },
    /// The worker has had the step to itself before.
    Holds {
        /// The end of the lease.
        until: Timestamp,
    },
}
