//! The state machine of a run: what a workflow means, and nothing else.
//!
//! Owns every rule of semantics. Never does I/O, reads a clock or draws a random number: time and
//! ids come in as arguments, so that everything here is tested without a runtime and replayed from
//! a log years later. Knows no storage, no wire format and no worker.
//!
//! The way through: a [`Command`] is decided ([`decide`]) on a [`Draft`], which folds each [`Event`]
//! into the [`State`] as it is written; [`Draft::seal`] makes the events of one commit of it.

mod attention;
mod blueprint;
mod command;
mod condition;
mod decide;
mod draft;
mod ending;
mod event;
mod fold;
#[cfg(test)]
pub(crate) mod given;
mod id;
mod inputs;
mod outcome;
mod payload;
#[cfg(test)]
mod properties;
mod rejection;
mod retry;
mod state;
mod time;
mod tombstone;
mod values;

pub use attention::{Attention, WakeKind};
pub use blueprint::{
    Arm, Blueprint, BlueprintFault, BlueprintFaults, Definition, END, RetryPolicy, Rule, RuleKind,
    Step, Version,
};
pub use command::{Answer, Command};
pub use condition::{Condition, View, caution, condition, pattern};
pub use decide::{Policy, Setting, decide, start};
pub use draft::{Draft, Sealed};
pub use ending::last_outputs;
pub use event::{BlueprintRef, Event, Failure, LossReason, Resumed, Start};
pub use fold::{CommitFacts, Misfit, fold, payload_at};
pub use id::{
    ExecutionId, ExecutionKey, Generation, Handle, ID_BYTES_MAX, MADE_ID_PREFIX, Namespace, RunId,
    Seq, StepName, Task, TaskToken, escape, spread, unescape,
};
pub use inputs::{Arguments, Call, INPUTS, arguments, call, unwrapped, with_inputs};
pub use outcome::{Mismatch, Outcome, Submission};
pub use payload::{At, INLINE_BYTES_MAX, Json, Payload, Stored};
pub use rejection::{InvalidId, Rejection};
pub use state::{Deadline, Done, FOLD_VERSION, Guard, Iteration, OpenStep, Phase, State, Status};
pub use time::Timestamp;
pub use tombstone::{Tombstone, deleted_by};
pub use values::{Values, reads};
