//! What happened in a run: past tense, stored for ever.
//!
//! An event is never changed once it was released: a new fact is a new kind. Kinds and fields are
//! the log's format; docs/format.md lists them, `tests/golden` pins them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{
    blueprint::{RuleKind, Version},
    id::{ExecutionId, Generation, Namespace, RunId, Seq, StepName},
    payload::Payload,
    time::Timestamp,
};

/// One fact about a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "k", rename_all = "snake_case", deny_unknown_fields)]
pub enum Event {
    /// The run began. Always the first event of commit 0, and nowhere else.
    ExecutionStarted(Box<Start>),
    /// The wake index holds a guard for this run: put before this commit, due at `due`.
    GuardArmed {
        /// The commit that made the run active; an older epoch's guard is never relied on.
        epoch: Seq,
        /// When a waker looks at the run.
        due: Timestamp,
    },
    /// An attempt of a step may be handed to a worker.
    StepScheduled {
        /// The step.
        step: StepName,
        /// Which iteration of it.
        iteration: u32,
        /// Which attempt of this iteration.
        attempt: u32,
        /// Not before this time (back-off); none: at once.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        not_before: Option<Timestamp>,
        /// A worker must have it by then, or the step fails; none: it waits for as long as it takes.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        start_by: Option<Timestamp>,
    },
    /// A worker has the step to itself until `lease_until`; it got its task only after this.
    StepStarted {
        /// The step.
        step: StepName,
        /// Which iteration of it.
        iteration: u32,
        /// Which attempt of this iteration.
        attempt: u32,
        /// The worker's id, as it polled.
        worker: String,
        /// When others may try the step.
        lease_until: Timestamp,
        /// A warning: the worker announces this step, but not every step of the workflow, so that
        /// it may mean another step of the same name.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        partial: bool,
        /// The attempt must end by then, or it failed; none: it may take as long as its lease.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        close_by: Option<Timestamp>,
    },
    /// The worker showed that it still works on the step.
    LeaseExtended {
        /// The step.
        step: StepName,
        /// The attempt whose lease it is.
        attempt: u32,
        /// The new end of the lease.
        lease_until: Timestamp,
    },
    /// The step has its result; every other attempt is superseded.
    StepCompleted {
        /// The step.
        step: StepName,
        /// Which iteration of it.
        iteration: u32,
        /// The attempt that gave the result.
        attempt: u32,
        /// The result as it was submitted.
        result: Payload,
    },
    /// An attempt failed while another holds the lease; counts if that one ends without a result.
    AttemptFailed {
        /// The step.
        step: StepName,
        /// The attempt that failed.
        attempt: u32,
        /// Why.
        error: Failure,
    },
    /// An attempt failed, and that counts; the step is tried again as its retry policy says.
    StepRetried {
        /// The step.
        step: StepName,
        /// Which iteration of it.
        iteration: u32,
        /// The attempt whose failure counted.
        attempt: u32,
        /// Why.
        error: Failure,
    },
    /// The step failed for good.
    StepFailed {
        /// The step.
        step: StepName,
        /// Which iteration of it.
        iteration: u32,
        /// The attempt whose failure counted.
        attempt: u32,
        /// Why.
        error: Failure,
    },
    /// A rule goes on from the step that failed: the failure is its output.
    FailureCaught {
        /// The step.
        step: StepName,
        /// Which iteration of it.
        iteration: u32,
        /// The attempt whose failure it was.
        attempt: u32,
        /// What becomes the step's output: `{"error": message}`, and the kind where it says more.
        output: Payload,
    },
    /// A rule of the step held: the execution goes on at `to`, and not along the timeline.
    TransitionTaken {
        /// The step whose rule it is; it is over.
        step: StepName,
        /// Which iteration of it.
        iteration: u32,
        /// The kind of the rule.
        rule: RuleKind,
        /// The pattern or condition that held, as its author wrote it.
        when: String,
        /// The step to go on at, or `END`.
        to: StepName,
        /// The steps that are jumped over; they count as over.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        skipped: Vec<StepName>,
        /// The steps, from `to` on, that begin anew: what they had come to counts no more.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        cleared: Vec<StepName>,
        /// The steps, after `to`, that are on the way again although they had been jumped over: a
        /// step outside the timeline leads back into it.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        taken_up: Vec<StepName>,
    },
    /// Steps that run only when a rule chooses them were not chosen; they count as over.
    StepsSkipped {
        /// The steps.
        steps: Vec<StepName>,
    },
    /// A condition of a rule could not be evaluated, and counts as false.
    ConditionNotEvaluated {
        /// The step whose rule it is.
        step: StepName,
        /// Which iteration of it.
        iteration: u32,
        /// The pattern or condition, as its author wrote it.
        when: String,
        /// Why not.
        reason: String,
    },
    /// A lease ended without a result: the work is lost with its worker and will be tried again.
    AttemptLost {
        /// The step.
        step: StepName,
        /// The attempt that is lost.
        attempt: u32,
        /// Why it counts as lost.
        reason: LossReason,
    },
    /// The target of a push queue could not be called with the step, or did not answer as a worker
    /// does: the work is lost, and will be tried again.
    DeliveryFailed {
        /// The step.
        step: StepName,
        /// The attempt that is lost.
        attempt: u32,
        /// What happened, in a line.
        reason: String,
    },
    /// The worker does not have the step's code; the step goes to another.
    StepRerouted {
        /// The step.
        step: StepName,
        /// The attempt that came back.
        attempt: u32,
        /// The worker that is not asked again until `until`.
        worker: String,
        /// When it may be asked again.
        until: Timestamp,
    },
    /// The step's function could not be called as guessed: from now on it is sent the workflow's
    /// `inputs`, or no longer. Nothing ran; the same attempt is handed out again.
    InputsAdapted {
        /// The step.
        step: StepName,
        /// The attempt whose call failed.
        attempt: u32,
        /// Whether `inputs` is sent from now on.
        with_inputs: bool,
    },
    /// The function of a step of which only the name is known could not be called as guessed: from
    /// now on it is sent exactly these. Nothing ran; the same attempt is handed out again.
    ArgumentsAdapted {
        /// The step.
        step: StepName,
        /// The attempt whose call failed.
        attempt: u32,
        /// Names of steps whose outputs are sent, and `inputs` where the workflow's are.
        arguments: Vec<StepName>,
    },
    /// The step asked to sleep; its output will be `data`.
    SleepStarted {
        /// The step.
        step: StepName,
        /// Which iteration of it.
        iteration: u32,
        /// The attempt that asked.
        attempt: u32,
        /// How long it asked for, in milliseconds.
        duration_ms: u64,
        /// When the sleep ends.
        until: Timestamp,
        /// What becomes the step's output.
        data: Payload,
    },
    /// The sleep is over and the step completed; it does not run again.
    SleepEnded {
        /// The step.
        step: StepName,
    },
    /// The step waits for a person.
    ApprovalRequested {
        /// The step.
        step: StepName,
        /// Which iteration of it.
        iteration: u32,
        /// The attempt that asked.
        attempt: u32,
        /// The kind of approval, in the step's own words.
        approval_type: String,
        /// What the person needs to know.
        data: Payload,
        /// How long it asked to wait, in milliseconds; none: for ever.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        timeout_ms: Option<u64>,
        /// When waiting ends without an answer; none: never.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        due: Option<Timestamp>,
    },
    /// Somebody approved; the response is the step's output.
    ApprovalGranted {
        /// The step.
        step: StepName,
        /// Who, in the caller's words.
        by: String,
        /// The request, so that a repetition is recognised.
        request: String,
        /// What they answered.
        response: Payload,
    },
    /// Somebody answered, and the step runs again with the answer as its `inputs`.
    ApprovalAnswered {
        /// The step.
        step: StepName,
        /// Who, in the caller's words.
        by: String,
        /// The request, so that a repetition is recognised.
        request: String,
        /// What they answered.
        response: Payload,
    },
    /// Somebody rejected; the step failed.
    ApprovalRejected {
        /// The step.
        step: StepName,
        /// Who, in the caller's words.
        by: String,
        /// The request, so that a repetition is recognised.
        request: String,
        /// Why.
        reason: String,
    },
    /// Nobody answered in time; the step failed.
    ApprovalTimedOut {
        /// The step.
        step: StepName,
    },
    /// A step need not run: an earlier run of the execution, which this one resumes, had its result.
    ResultKept {
        /// The step.
        step: StepName,
        /// Which iteration of it.
        iteration: u32,
        /// The attempt that gave the result.
        attempt: u32,
        /// When its first attempt was handed to a worker.
        started: Timestamp,
        /// When it ended.
        ended: Timestamp,
        /// Its output.
        result: Payload,
        /// The failure that a rule had caught.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        error: Option<Failure>,
    },
    /// The way that an earlier run of the execution, which this one resumes, had taken.
    WayKept {
        /// The steps that were skipped, and by the rule of which step; none: they were not chosen.
        skipped: BTreeMap<StepName, Option<StepName>>,
        /// The steps that rules chose, and the step whose rule did.
        chosen: BTreeMap<StepName, StepName>,
        /// The iteration that each step is in, where that is not the first.
        iterations: BTreeMap<StepName, u32>,
    },
    /// Every step is over, or a rule led to the end; the run is closed.
    ExecutionCompleted,
    /// A step failed for good; the run is closed.
    ExecutionFailed {
        /// The step whose failure it was.
        step: StepName,
        /// Why.
        error: Failure,
    },
    /// Somebody cancelled it; the run is closed.
    ExecutionCancelled {
        /// Who, in the caller's words.
        by: String,
        /// The request, so that a repetition is recognised.
        request: String,
        /// Why.
        reason: String,
    },
    /// The execution's own time was over; the run is closed.
    ExecutionTimedOut {
        /// How long it was given, in milliseconds.
        timeout_ms: u64,
    },
    /// Retention deletes the generation before this one. Only in commit 0, which is then a
    /// *tombstone*: closed from the start, it keeps the number of that generation from being used
    /// again.
    ExecutionDeleted {
        /// The run that is deleted.
        run: RunId,
        /// When that had closed.
        closed: Timestamp,
    },
}

/// All that is known when a run begins.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Start {
    /// The namespace.
    pub namespace: Namespace,
    /// The execution's id in full; keys may hold only its hash.
    pub execution: ExecutionId,
    /// Which use of the id this is.
    pub generation: Generation,
    /// The run.
    pub run: RunId,
    /// The workflow, pinned for the whole run.
    pub blueprint: BlueprintRef,
    /// What the caller passed in.
    pub input: Payload,
    /// The request that started it, so that a repetition is recognised.
    pub request: String,
    /// How long the execution may take, in milliseconds; none: for ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
    /// When that is over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Timestamp>,
    /// The caller's own id for what this belongs to.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub correlation_id: String,
    /// The caller's own labels.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// What earlier runs of the same blueprint taught about the calls of its steps: whether each is
    /// sent `inputs`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub with_inputs: BTreeMap<StepName, bool>,
    /// The same of steps of which only the name is known: what each is sent.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub arguments: BTreeMap<StepName, Vec<StepName>>,
    /// The run of the same execution that this one resumes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resumed: Option<Resumed>,
}

/// Where a resumed run came from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Resumed {
    /// The generation before.
    pub generation: Generation,
    /// Its run.
    pub run: RunId,
    /// Who resumed it, in the caller's words.
    pub by: String,
    /// Whether the results of its completed steps are kept.
    pub keeps_results: bool,
}

/// A blueprint by name, and which of its versions.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct BlueprintRef {
    /// The workflow's name.
    pub name: String,
    /// Its version; the first is 1.
    pub version: Version,
    /// The blueprint's content hash.
    pub hash: String,
}

/// Why a step or an execution failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The kind: an exception's class, or one of ours (`approval_timeout`, ...).
    pub kind: String,
    /// What happened, for a person.
    pub message: String,
    /// Where, when the worker said so.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub stacktrace: String,
}

/// Why an attempt counts as lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LossReason {
    /// Its lease ended without a result.
    LeaseEnded,
    /// It was reserved for a worker that did not come for it.
    NotFetched,
}

impl Event {
    /// The event's kind, as it stands in the log.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::ExecutionStarted(_) => "execution_started",
            Self::GuardArmed { .. } => "guard_armed",
            Self::StepScheduled { .. } => "step_scheduled",
            Self::StepStarted { .. } => "step_started",
            Self::LeaseExtended { .. } => "lease_extended",
            Self::StepCompleted { .. } => "step_completed",
            Self::AttemptFailed { .. } => "attempt_failed",
            Self::StepRetried { .. } => "step_retried",
            Self::StepFailed { .. } => "step_failed",
            Self::FailureCaught { .. } => "failure_caught",
            Self::TransitionTaken { .. } => "transition_taken",
            Self::StepsSkipped { .. } => "steps_skipped",
            Self::ConditionNotEvaluated { .. } => "condition_not_evaluated",
            Self::AttemptLost { .. } => "attempt_lost",
            Self::DeliveryFailed { .. } => "delivery_failed",
            Self::StepRerouted { .. } => "step_rerouted",
            Self::InputsAdapted { .. } => "inputs_adapted",
            Self::ArgumentsAdapted { .. } => "arguments_adapted",
            Self::SleepStarted { .. } => "sleep_started",
            Self::SleepEnded { .. } => "sleep_ended",
            Self::ApprovalRequested { .. } => "approval_requested",
            Self::ApprovalGranted { .. } => "approval_granted",
            Self::ApprovalAnswered { .. } => "approval_answered",
            Self::ApprovalRejected { .. } => "approval_rejected",
            Self::ApprovalTimedOut { .. } => "approval_timed_out",
            Self::ResultKept { .. } => "result_kept",
            Self::WayKept { .. } => "way_kept",
            Self::ExecutionCompleted => "execution_completed",
            Self::ExecutionFailed { .. } => "execution_failed",
            Self::ExecutionCancelled { .. } => "execution_cancelled",
            Self::ExecutionTimedOut { .. } => "execution_timed_out",
            Self::ExecutionDeleted { .. } => "execution_deleted",
        }
    }

    /// The payload that the event carries, wherever it is kept.
    pub fn payload(&self) -> Option<&Payload> {
        match self {
            Self::ExecutionStarted(start) => Some(&start.input),
            Self::StepCompleted { result: payload, .. }
            | Self::SleepStarted { data: payload, .. }
            | Self::ApprovalRequested { data: payload, .. }
            | Self::ApprovalGranted { response: payload, .. }
            | Self::ApprovalAnswered { response: payload, .. }
            | Self::FailureCaught { output: payload, .. }
            | Self::ResultKept { result: payload, .. } => Some(payload),
            Self::GuardArmed { .. }
            | Self::StepScheduled { .. }
            | Self::StepStarted { .. }
            | Self::LeaseExtended { .. }
            | Self::AttemptFailed { .. }
            | Self::StepRetried { .. }
            | Self::StepFailed { .. }
            | Self::TransitionTaken { .. }
            | Self::StepsSkipped { .. }
            | Self::ConditionNotEvaluated { .. }
            | Self::AttemptLost { .. }
            | Self::DeliveryFailed { .. }
            | Self::StepRerouted { .. }
            | Self::InputsAdapted { .. }
            | Self::ArgumentsAdapted { .. }
            | Self::WayKept { .. }
            | Self::SleepEnded { .. }
            | Self::ApprovalRejected { .. }
            | Self::ApprovalTimedOut { .. }
            | Self::ExecutionCompleted
            | Self::ExecutionFailed { .. }
            | Self::ExecutionCancelled { .. }
            | Self::ExecutionTimedOut { .. }
            | Self::ExecutionDeleted { .. } => None,
        }
    }

    /// Whether the run is closed from this event on.
    pub fn closes(&self) -> bool {
        matches!(
            self,
            Self::ExecutionCompleted
                | Self::ExecutionFailed { .. }
                | Self::ExecutionCancelled { .. }
                | Self::ExecutionTimedOut { .. }
                | Self::ExecutionDeleted { .. }
        )
    }
}
