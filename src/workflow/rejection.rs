//! Why a request is refused: the caller is wrong, and the same request will be refused again.

use thiserror::Error;

use super::{
    id::{ID_BYTES_MAX, MADE_ID_PREFIX, StepName},
    time::Timestamp,
};

/// A name that can not be one.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum InvalidId {
    #[error("namespace {given:?} is not 1 to 40 of a-z, 0-9 and '-'")]
    Namespace { given: String },
    #[error("an execution id is empty; leave it out to have one made, or give a name")]
    Empty,
    #[error("an execution id has {bytes} bytes; at most {ID_BYTES_MAX} are allowed")]
    TooLong { bytes: usize },
    #[error(
        "execution id {given:?} starts with {MADE_ID_PREFIX:?}, which is kept for ids that the engine makes"
    )]
    Reserved { given: String },
    #[error("{given:?} is not a run id: 32 lower-case hex digits")]
    Run { given: String },
    #[error("{given:?} is not a handle of a run")]
    Handle { given: String },
    #[error(
        "{given:?} is not a task id that this engine handed out; send the one from PollForTask unchanged"
    )]
    Token { given: String },
}

/// A command that the run can not take.
///
/// The same state and command always give the same rejection. Only [`Rejection::is_final`] ones may
/// be answered from a state that was not just checked against the log.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum Rejection {
    #[error("the execution is {status}; nothing can change it any more")]
    Closed { status: &'static str },
    #[error("step `{step}` has its result from another attempt; this one is superseded")]
    Superseded { step: StepName },
    #[error("step `{step}` is not ready for a worker")]
    NotReady { step: StepName },
    #[error(
        "worker `{worker}` said that it does not have step `{step}`; it is not asked again yet"
    )]
    LacksStep { step: StepName, worker: String, until: Timestamp },
    #[error("step `{step}` is tried again later; its pause is not over")]
    NotYet { step: StepName },
    #[error("step `{step}` is not in the workflow `{workflow}`")]
    UnknownStep { step: StepName, workflow: String },
    #[error("attempt {attempt} of step `{step}` was never handed out")]
    UnknownAttempt { step: StepName, attempt: u32 },
    #[error("no step waits for an approval")]
    NothingToApprove,
    #[error("step `{step}` does not wait for an approval")]
    NotWaiting { step: StepName },
    #[error("{count} steps wait for an approval; name one of them: {steps}")]
    AmbiguousApproval { count: usize, steps: String },
    #[error("worker `{worker}` holds no lease on step `{step}`")]
    NoLease { step: StepName, worker: String },
    #[error(
        "the execution completed; there is nothing to resume (start it again under another id, or under the same one)"
    )]
    NothingToResume,
}

impl Rejection {
    /// Whether no later commit of the run can turn this answer into another.
    pub fn is_final(&self) -> bool {
        match self {
            Self::Closed { .. }
            | Self::Superseded { .. }
            | Self::UnknownStep { .. }
            | Self::NothingToResume => true,
            Self::NotReady { .. }
            | Self::NotYet { .. }
            | Self::LacksStep { .. }
            | Self::UnknownAttempt { .. }
            | Self::NothingToApprove
            | Self::NotWaiting { .. }
            | Self::AmbiguousApproval { .. }
            | Self::NoLease { .. } => false,
        }
    }
}
