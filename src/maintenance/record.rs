//! What lists show of a run, and what is asked of them.

use serde::{Deserialize, Serialize};

use crate::log::PAYLOAD_BYTES_MAX;
use crate::workflow::{
    ExecutionId, Failure, Generation, Handle, Namespace, OpenStep, Phase, RunId, State, Status,
    Timestamp, Version,
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
    /// Since when retention deletes it: lists leave it out. Set on a copy of the last record, before
    /// anything of the run goes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deleted: Option<Timestamp>,
    /// Whether the run may have blobs; only where it surely names none does the line say so.
    #[serde(rename = "blobs", default = "yes", skip_serializing_if = "is_yes")]
    pub may_have_blobs: bool,
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
            deleted: None,
            may_have_blobs: !names_no_blob(state),
            steps: (count(steps), count(state.steps_over(steps))),
            error: state.status.ending(),
            resumes: state.resumed.as_ref().map(|resumed| resumed.run),
            correlation_id: state.correlation_id.clone(),
            tags: state.tags.clone(),
        }
    }

    /// The run, at the commit that the record knows.
    pub fn handle(&self) -> Handle {
        Handle {
            namespace: self.namespace.clone(),
            execution: self.execution.key(),
            generation: self.generation,
            run: self.run,
            seq: self.seq,
        }
    }

    /// Of two records of a run the one with the higher rank holds: one that says that the run is
    /// deleted before any other, then the one that knows more commits.
    pub(in crate::maintenance) fn rank(&self) -> (Option<Timestamp>, u64) {
        (self.deleted, self.seq)
    }
}

/// Whether no commit of a closed run can name a blob: each of its payloads became an output, and all
/// outputs still stand in the state with their lengths. Else it is not known.
fn names_no_blob(state: &State) -> bool {
    let is_plain = state.iterations.is_empty()
        && state.requests.is_empty()
        && state.skipped.is_empty()
        && state.chosen.is_empty()
        && state.caught.is_empty()
        && state.resumed.is_none();
    let outputs = state.done.keys().filter_map(|step| state.output(step));
    let mut lengths = outputs.map(|output| output.bytes).chain([state.input.bytes]);
    state.status == Status::Completed && is_plain && lengths.all(|bytes| bytes <= PAYLOAD_BYTES_MAX)
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the form that serde calls")]
fn is_yes(may: &bool) -> bool {
    *may
}

fn yes() -> bool {
    true
}
