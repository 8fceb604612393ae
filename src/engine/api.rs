//! What callers say to the engine and hear from it.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use thiserror::Error;

use crate::{
    log,
    workflow::{
        Blueprint, BlueprintFaults, ExecutionId, Generation, InvalidId, Json, Namespace, Rejection,
        RunId, State, StepName, TaskToken, Timestamp, Version,
    },
};

/// A request to start an execution.
#[derive(Clone, Debug)]
pub struct StartRequest {
    /// The namespace.
    pub namespace: Namespace,
    /// The workflow's name.
    pub workflow: String,
    /// Which version of it; none: the newest.
    pub version: Option<Version>,
    /// The id that the user chose; none: one is made.
    pub execution: Option<ExecutionId>,
    /// The workflow's inputs; an object.
    pub input: serde_json::Value,
    /// The request's own id, under which a repetition gives the same execution; empty: none.
    pub request: String,
    /// How long the execution may take; none: for ever.
    pub timeout: Option<Duration>,
    /// The caller's own id for what this belongs to.
    pub correlation_id: String,
    /// The caller's own labels.
    pub tags: Vec<String>,
}

impl StartRequest {
    /// The newest version of `workflow`, in the default namespace, with no input and no name; its fields
    /// say what is to be otherwise.
    pub fn of(workflow: impl Into<String>) -> Self {
        Self {
            namespace: Namespace::default(),
            workflow: workflow.into(),
            version: None,
            execution: None,
            input: serde_json::Value::Object(serde_json::Map::new()),
            request: String::new(),
            timeout: None,
            correlation_id: String::new(),
            tags: vec![],
        }
    }
}

/// A request to go on with an execution that closed without completing.
#[derive(Clone, Debug)]
pub struct ResumeRequest {
    /// The namespace.
    pub namespace: Namespace,
    /// The execution's id.
    pub execution: ExecutionId,
    /// Whether the results of its completed steps are kept; else everything runs again.
    pub keeps_results: bool,
    /// Who, in the caller's words.
    pub by: String,
    /// The request's own id, under which a repetition gives the same run; empty: none.
    pub request: String,
}

/// What became of a start.
#[derive(Clone, Debug)]
pub struct Started {
    /// The execution's id.
    pub execution: ExecutionId,
    /// Which use of the id.
    pub generation: Generation,
    /// The run.
    pub run: RunId,
    /// When it began.
    pub began: Timestamp,
    /// Whether another request had started it: the id was in use by an open execution.
    pub was_running: bool,
}

/// A worker's poll.
#[derive(Clone, Debug)]
pub struct PollRequest {
    /// The namespace.
    pub namespace: Namespace,
    /// The worker's id.
    pub worker: String,
    /// How long to wait for a task.
    pub wait: Duration,
    /// The connection it came on, where there is one: a heartbeat without a task id only counts on
    /// the connection on which its worker polls.
    pub connection: Option<String>,
}

impl PollRequest {
    /// Of `worker` in the default namespace, on no connection.
    pub fn of(worker: impl Into<String>, wait: Duration) -> Self {
        let (namespace, worker) = (Namespace::default(), worker.into());
        Self { namespace, worker, wait, connection: None }
    }
}

/// A task in a worker's hands.
#[derive(Clone, Debug)]
pub struct TaskForWorker {
    /// The attempt; a result is submitted with it.
    pub token: TaskToken,
    /// The execution's id.
    pub execution: ExecutionId,
    /// The workflow's name.
    pub workflow: String,
    /// What to call the step with, by parameter.
    pub inputs: BTreeMap<String, serde_json::Value>,
    /// When the lease ends.
    pub lease_until: Timestamp,
    /// When the attempt was handed out.
    pub created: Timestamp,
}

/// A run as it stands, with what its state refers to.
#[derive(Clone, Debug)]
pub struct Description {
    /// The state, checked against the log.
    pub state: State,
    /// The pinned blueprint.
    pub blueprint: Arc<Blueprint>,
    /// The workflow's inputs.
    pub input: Json,
    /// The outputs of the completed steps, as they were submitted.
    pub outputs: BTreeMap<StepName, Json>,
    /// The data of steps that sleep or wait for approval.
    pub data: BTreeMap<StepName, Json>,
    /// The engine's clock when it was described: what remaining times are measured from.
    pub now: Timestamp,
    /// What holds the run up, in words for a person: "no worker announces step `x`", ...
    pub notes: Vec<String>,
}

/// How a run ended, in short.
#[derive(Clone, Debug)]
pub struct Ending {
    /// The state; one that is open still was waited for in vain.
    pub state: State,
    /// The pinned blueprint.
    pub blueprint: Arc<Blueprint>,
    /// What the last steps returned, as far as they completed.
    pub outputs: BTreeMap<StepName, Json>,
}

/// What became of a submitted blueprint.
#[derive(Clone, Debug)]
pub struct BlueprintPut {
    /// Its version.
    pub version: Version,
    /// Its content hash.
    pub hash: String,
    /// Whether this made a new version; else the newest one was the same.
    pub is_new: bool,
    /// What its author should know although nothing forbids it.
    pub warnings: Vec<String>,
}

/// Why the engine did not do as it was asked.
#[derive(Debug, Error)]
pub enum Error {
    /// The caller is wrong; the same request will be refused again.
    #[error(transparent)]
    Rejected(#[from] Rejection),
    /// A name that can not be one.
    #[error(transparent)]
    InvalidId(#[from] InvalidId),
    /// A blueprint that can not be one.
    #[error(transparent)]
    InvalidBlueprint(#[from] BlueprintFaults),
    /// Nothing by that name; `what` says what was looked for.
    #[error("{what}")]
    NotFound {
        /// What was looked for, and what to do.
        what: String,
    },
    /// The input can not be used; `what` says why.
    #[error("{what}")]
    InvalidInput {
        /// What is wrong with it, and what to do.
        what: String,
    },
    /// The store did not do as it should.
    #[error(transparent)]
    Log(#[from] log::Error),
    /// This instance is going down; ask another, or again later.
    #[error("this instance is shutting down; try again")]
    ShuttingDown,
    /// The error of a commit that several commands shared.
    #[error(transparent)]
    Shared(Arc<Error>),
}

impl Error {
    /// The error itself, out of what is shared.
    pub fn whole(&self) -> &Self {
        let mut error = self;
        while let Self::Shared(shared) = error {
            error = shared;
        }
        error
    }

    /// Whether the log of one run is at fault, so that whoever asks for any run's work is served from
    /// the others.
    pub fn is_of_one_run(&self) -> bool {
        matches!(self.whole(), Self::Log(log::Error::Corrupt { .. } | log::Error::TooNew { .. }))
    }

    /// Whether nothing was done, for a reason of the store's that can be over soon.
    pub(super) fn may_pass(&self) -> bool {
        matches!(self.whole(), Self::Log(error) if error.may_pass())
    }

    /// Whether asking the same again gets the same answer.
    pub fn is_final(&self) -> bool {
        match self.whole() {
            Self::Rejected(_)
            | Self::InvalidId(_)
            | Self::InvalidBlueprint(_)
            | Self::NotFound { .. }
            | Self::InvalidInput { .. } => true,
            Self::Log(_) | Self::ShuttingDown | Self::Shared(_) => false,
        }
    }
}
