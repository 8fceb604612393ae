//! What lists show of a run, and what is asked of them.

use serde::{Deserialize, Serialize};

use crate::workflow::{
    ExecutionId, Failure, Generation, Namespace, OpenStep, Phase, RunId, State, Status, Timestamp,
    Version,
};

/// What to list.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Only executions of this workflow.
    pub workflow: Option<String>,
    /// Only executions that stand in one of these ways; empty: in any.
    pub standings: Vec<Standing>,
}

/// Where an execution stands, as lists show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// Steps are ready or under way.
    Running,
    /// Nothing but sleeps is open.
    Sleeping,
    /// Nothing moves until somebody approves.
    WaitingForApproval,
    /// Closed: every step is over.
    Completed,
    /// Closed: a step failed for good.
    Failed,
    /// Closed: cancelled.
    Cancelled,
    /// Closed: its own time was over.
    TimedOut,
}

impl Standing {
    /// Where the run of `state` stands. A step that waits for a person shows, also beside a sleep:
    /// it is what somebody has to act on.
    pub fn of(state: &State) -> Self {
        let waits = |step: &OpenStep| matches!(step.phase, Phase::Approval { .. });
        match state.status {
            Status::Completed => Self::Completed,
            Status::Failed { .. } => Self::Failed,
            Status::Cancelled { .. } => Self::Cancelled,
            Status::TimedOut { .. } => Self::TimedOut,
            Status::Running if state.is_active() => Self::Running,
            Status::Running if state.open.values().any(waits) => Self::WaitingForApproval,
            Status::Running => Self::Sleeping,
        }
    }
}

/// An execution in a list.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// The namespace.
    #[serde(rename = "ns")]
    pub namespace: Namespace,
    /// The execution's id.
    #[serde(rename = "eid")]
    pub execution: ExecutionId,
    /// Which use of the id.
    #[serde(rename = "gen")]
    pub generation: Generation,
    /// The run.
    pub run: RunId,
    /// The last commit that this record knows: of two records of a run, the higher wins.
    pub seq: u64,
    /// The workflow's name.
    pub workflow: String,
    /// The version it is pinned to.
    pub version: Version,
    /// Where it stands.
    pub status: Standing,
    /// When it started.
    pub started: Timestamp,
    /// When it closed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closed: Option<Timestamp>,
    /// How many steps it has, and how many of them are over.
    pub steps: (u32, u32),
    /// Why it did not complete.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Failure>,
    /// The run of the same execution that this one resumes, and in lists stands for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resumes: Option<RunId>,
    /// The caller's own id for what this belongs to.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub correlation_id: String,
    /// The caller's own labels.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
}

/// One page of a list, newest first.
#[derive(Clone, Debug)]
pub struct Page {
    /// The executions of this page.
    pub records: Vec<Record>,
    /// How many there are on all pages.
    pub total: usize,
    /// Whether there are more after this page.
    pub has_more: bool,
}

/// A run that was taken out of the way because it can not be decided.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadRun {
    /// Where it is found.
    pub handle: String,
    /// Why, in words.
    pub reason: String,
    /// Since when.
    pub since: Timestamp,
}

impl Record {
    /// What lists show of `state`, whose blueprint has `steps`.
    pub fn of(state: &State, steps: usize) -> Self {
        let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        Self {
            namespace: state.namespace.clone(),
            execution: state.execution.clone(),
            generation: state.generation,
            run: state.run,
            seq: state.seq,
            workflow: state.blueprint.name.clone(),
            version: state.blueprint.version,
            status: Standing::of(state),
            started: state.started,
            closed: state.closed,
            steps: (count(steps), count(state.steps_over(steps))),
            error: state.status.ending(),
            resumes: state.resumed.as_ref().map(|resumed| resumed.run),
            correlation_id: state.correlation_id.clone(),
            tags: state.tags.clone(),
        }
    }
}
