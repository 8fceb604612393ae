//! What a run's log adds up to.
//!
//! Invariants:
//! * a state is a function of its events and nothing else; a snapshot equals the fold;
//! * it holds no payload over [`INLINE_BYTES_MAX`](super::payload::INLINE_BYTES_MAX), so that it
//!   stays small however large results are: a payload stands as a reference to its event;
//! * a closed state never changes.

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};

use super::{
    event::{BlueprintRef, Event, Failure, Resumed},
    id::{ExecutionId, Generation, Handle, Namespace, RunId, Seq, StepName},
    payload::{At, Json, Stored},
    time::Timestamp,
};

/// The version of this layout and of [`fold`](super::fold) together: a snapshot of another one is
/// not read; the state is folded anew from the events.
pub const FOLD_VERSION: u32 = 3;

/// Where an execution stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Not closed yet.
    Running,
    /// Every step is over.
    Completed,
    /// A step failed for good.
    Failed {
        /// The step whose failure it was.
        step: StepName,
        /// Why.
        error: Failure,
    },
    /// Somebody cancelled it.
    Cancelled {
        /// Who.
        by: String,
        /// The request that did.
        request: String,
        /// Why.
        reason: String,
    },
    /// Its own time was over.
    TimedOut {
        /// How long it was given, in milliseconds.
        timeout_ms: u64,
    },
}

impl Status {
    /// Why the execution ended, when it did not complete; of a kind of its own where no step failed.
    pub fn ending(&self) -> Option<Failure> {
        let failure = |kind: &str, message: String| {
            Some(Failure { kind: kind.to_owned(), message, stacktrace: String::new() })
        };
        match self {
            Self::Running | Self::Completed => None,
            Self::Failed { error, .. } => Some(error.clone()),
            Self::Cancelled { by, reason, .. } if reason.is_empty() => {
                failure("cancelled", format!("cancelled by {by}"))
            }
            Self::Cancelled { by, reason, .. } => {
                failure("cancelled", format!("cancelled by {by}: {reason}"))
            }
            Self::TimedOut { timeout_ms } => {
                failure("timeout", format!("the execution did not end within its {timeout_ms} ms"))
            }
        }
    }

    /// The step that ended the execution by its failure.
    pub fn failed_step(&self) -> Option<&StepName> {
        match self {
            Self::Failed { step, .. } => Some(step),
            Self::Running | Self::Completed | Self::Cancelled { .. } | Self::TimedOut { .. } => {
                None
            }
        }
    }

    /// The status in one word, for messages and lists.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Completed => "completed",
            Self::Failed { .. } => "failed",
            Self::Cancelled { .. } => "cancelled",
            Self::TimedOut { .. } => "timed out",
        }
    }
}

/// A run, folded up to commit `seq`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// The namespace.
    #[serde(rename = "ns")]
    pub namespace: Namespace,
    /// The execution's id, in full.
    #[serde(rename = "eid")]
    pub execution: ExecutionId,
    /// Which use of the id.
    #[serde(rename = "gen")]
    pub generation: Generation,
    /// The run.
    pub run: RunId,
    /// The workflow, pinned.
    pub blueprint: BlueprintRef,
    /// The request that started it.
    pub request: String,
    /// The workflow's inputs.
    pub input: Stored,
    /// When it started.
    pub started: Timestamp,
    /// When it closed; none: it is open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closed: Option<Timestamp>,
    /// Where it stands.
    pub status: Status,
    /// When the execution's own time is over, and how long that was; none: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Deadline>,
    /// The caller's own id for what this belongs to.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub correlation_id: String,
    /// The caller's own labels.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// The last commit that is folded in.
    pub seq: Seq,
    /// The time of that commit.
    #[serde(rename = "t")]
    pub time: Timestamp,
    /// The time of the last commit that was no settlement: what the guard's ladder counts from.
    pub moved: Timestamp,
    /// The guard that the log names; only while the run is active.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guard: Option<Guard>,
    /// Steps that are neither waiting for others nor over.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub open: BTreeMap<StepName, OpenStep>,
    /// Steps that completed.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub done: BTreeMap<StepName, Done>,
    /// The outputs of the steps that completed last, oldest first, while they fit.
    #[serde(default, skip_serializing_if = "VecDeque::is_empty")]
    pub kept: VecDeque<(StepName, Json)>,
    /// The length of all of `kept`.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub kept_bytes: u64,
    /// Steps whose guessed call was corrected: whether they are sent `inputs`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub with_inputs: BTreeMap<StepName, bool>,
    /// What steps of which only the name is known are sent, where the guess was corrected.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub arguments: BTreeMap<StepName, Vec<StepName>>,
    /// Steps that were jumped over or not chosen, and by the rule of which step; none: not chosen.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub skipped: BTreeMap<StepName, Option<StepName>>,
    /// Steps that a rule chose, and the step whose rule it was.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub chosen: BTreeMap<StepName, StepName>,
    /// The failures of steps that are done because a rule caught them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub caught: BTreeMap<StepName, Failure>,
    /// The iteration of each step that rules went back over.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub iterations: BTreeMap<StepName, Iteration>,
    /// The run that this one resumes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resumed: Option<Resumed>,
    /// Approvals that were given, by request, newest last: what a repetition is answered from.
    #[serde(default, skip_serializing_if = "VecDeque::is_empty")]
    pub requests: VecDeque<String>,
}

/// How many request ids of approvals a state remembers.
pub(crate) const REQUESTS_MAX: usize = 1000;

/// The most bytes of outputs that a state carries itself.
pub(crate) const KEPT_BYTES_MAX: u64 = 4096;

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the form that serde calls")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// The end of an execution's own time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deadline {
    /// When.
    pub due: Timestamp,
    /// How long the execution was given, in milliseconds.
    pub timeout_ms: u64,
    /// The commit that first left the run parked, and so gave the deadline an entry of its own;
    /// none: a guard has covered it so far.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entry: Option<Seq>,
}

/// The iteration of a step, the attempt that ended the one before (0: it was cut short), and whether
/// that attempt failed and was caught.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Iteration(
    pub u32,
    pub u32,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")] pub bool,
);

/// The wake entry that covers a run while it is active.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Guard {
    /// The commit that made the run active.
    pub epoch: Seq,
    /// When a waker looks.
    pub due: Timestamp,
}

/// A step that is under way.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OpenStep {
    /// Which iteration.
    #[serde(rename = "i")]
    pub iteration: u32,
    /// The newest attempt; of a step that sleeps or waits for a person, the one that asked to.
    #[serde(rename = "a")]
    pub attempt: u32,
    /// What it is waiting for.
    pub phase: Phase,
    /// When its first attempt was handed to a worker.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started: Option<Timestamp>,
    /// The newest attempts whose work was lost, in a row: what the back-off counts.
    #[serde(default, skip_serializing_if = "is_none")]
    pub losses: u32,
    /// How many attempts failed and counted: what the retry policy counts.
    #[serde(default, skip_serializing_if = "is_none")]
    pub failures: u32,
    /// The newest attempt that ended so that the step went on to another: it failed and was tried
    /// again, or its question was answered. Saying so again changes nothing.
    #[serde(default, skip_serializing_if = "is_none")]
    pub counted: u32,
    /// The newest attempt that was handed out before an older one asked for a wait; 0: none.
    #[serde(default, skip_serializing_if = "is_none")]
    pub newest: u32,
    /// Why the last of them failed, without its stack trace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_failure: Option<Failure>,
    /// A person's answer, with which the step runs again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<Stored>,
    /// A failure of an attempt that did not count yet, and which attempt it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<(u32, Failure)>,
    /// The attempt whose call was corrected (at most one in an iteration); handed out again since,
    /// or about to be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adapted: Option<u32>,
    /// How often its call was corrected.
    #[serde(default, skip_serializing_if = "is_none")]
    pub adaptations: u32,
    /// Workers that do not have the step, and until when they are not asked.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub without: Vec<(String, Timestamp)>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the form that serde calls")]
fn is_none(count: &u32) -> bool {
    *count == 0
}

/// What an open step is waiting for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// A worker that takes it.
    Ready {
        /// The commit that made it ready: in the key of its offer.
        since: Seq,
        /// Not before this time; none: at once.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        not_before: Option<Timestamp>,
        /// Fails unless a worker has it by then; none: it waits for as long as it takes.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        start_by: Option<Timestamp>,
    },
    /// The worker that has it.
    Leased {
        /// The worker's id.
        worker: String,
        /// When others may try.
        until: Timestamp,
        /// The attempt fails unless it ends by then; none: only the lease bounds it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        close_by: Option<Timestamp>,
    },
    /// The end of its sleep.
    Sleeping {
        /// The commit that began it: in the key of its timer.
        since: Seq,
        /// When it began.
        from: Timestamp,
        /// When it ends.
        until: Timestamp,
        /// How long it asked for, in milliseconds.
        duration_ms: u64,
        /// What becomes its output.
        data: Stored,
    },
    /// A person's answer.
    Approval {
        /// The commit that asked: in the key of its timer.
        since: Seq,
        /// When it asked.
        from: Timestamp,
        /// The kind of approval.
        approval_type: String,
        /// What the person needs to know.
        data: Stored,
        /// How long it asked to wait, in milliseconds; none: for ever.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        timeout_ms: Option<u64>,
        /// When waiting ends; none: never.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        due: Option<Timestamp>,
    },
}

/// A step that is done: iteration, attempt, start and end (milliseconds after the run's start; below
/// zero where an earlier run had the result), the event that carries its output, and that output's
/// length.
///
/// A plain row of numbers, because a run of a thousand steps has a thousand of them in each snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done(pub u32, pub u32, pub i64, pub i64, pub Seq, pub u32, pub u64);

impl Done {
    /// Which iteration.
    pub fn iteration(&self) -> u32 {
        self.0
    }

    /// The attempt that gave the result.
    pub fn attempt(&self) -> u32 {
        self.1
    }

    /// The event that carries the output.
    pub fn at(&self) -> At {
        At(self.4, self.5)
    }
}

impl OpenStep {
    /// The newest attempt that was ever made ready: the next one's number is free.
    pub(super) fn last_attempt(&self) -> u32 {
        self.attempt.max(self.newest)
    }
}

impl State {
    /// Where this run is found; the hint is the last folded commit.
    pub fn handle(&self) -> Handle {
        Handle {
            namespace: self.namespace.clone(),
            execution: self.execution.key(),
            generation: self.generation,
            run: self.run,
            seq: self.seq,
        }
    }

    /// Whether nothing can change the run any more.
    pub fn is_closed(&self) -> bool {
        self.closed.is_some()
    }

    /// Whether a step is ready or leased, so that a guard must cover the run.
    pub fn is_active(&self) -> bool {
        !self.is_closed()
            && self.open.values().any(|step| match step.phase {
                Phase::Ready { .. } | Phase::Leased { .. } => true,
                Phase::Sleeping { .. } | Phase::Approval { .. } => false,
            })
    }

    /// The way that the run took, as the event by which another run keeps it; none: along the timeline.
    ///
    /// Of a step that was cut short, or failed, the next run begins the same iteration anew.
    pub fn way(&self) -> Option<Event> {
        let Self { skipped, chosen, iterations, .. } = self;
        if skipped.is_empty() && chosen.is_empty() && iterations.is_empty() {
            return None;
        }
        Some(Event::WayKept {
            skipped: skipped.clone(),
            chosen: chosen.clone(),
            iterations: iterations.iter().map(|(step, it)| (step.clone(), it.0)).collect(),
        })
    }

    /// The output of a completed step: where it is, and the value when the state carries it.
    pub fn output(&self, step: &str) -> Option<Stored> {
        let done = self.done.get(step)?;
        let kept = self.kept.iter().find(|(name, _)| &**name == step);
        Some(Stored { at: done.at(), bytes: done.6, value: kept.map(|(_, value)| value.clone()) })
    }

    /// When the step completed by `done` started and ended.
    pub fn times(&self, done: &Done) -> (Timestamp, Timestamp) {
        let at = |offset: i64| {
            let started = self.started.as_millis();
            Timestamp::from_millis(started.saturating_add_signed(offset))
        };
        (at(done.2), at(done.3))
    }

    /// How many of the workflow's `steps` are over; all of them once the execution completed.
    pub fn steps_over(&self, steps: usize) -> usize {
        if self.status == Status::Completed { steps } else { self.done.len() + self.skipped.len() }
    }

    /// Which iteration `step` is in, or will be when it begins.
    pub fn iteration(&self, step: &str) -> u32 {
        self.iterations.get(step).map_or(1, |iteration| iteration.0)
    }

    /// The earliest time at which time alone changes the run; none: it waits for somebody.
    ///
    /// May lie before `now`, until a wake has decided what is due. A back-off that is over changes
    /// nothing any more: it would hide every later due time for as long as the step waits.
    pub fn next_due(&self, now: Timestamp) -> Option<Timestamp> {
        if self.is_closed() {
            return None;
        }
        let steps = self.open.values().filter_map(|step| match &step.phase {
            Phase::Ready { not_before, start_by, .. } => {
                not_before.filter(|&due| due > now).into_iter().chain(*start_by).min()
            }
            Phase::Leased { until, close_by, .. } => close_by.iter().chain([until]).min().copied(),
            Phase::Sleeping { until, .. } => Some(*until),
            Phase::Approval { due, .. } => *due,
        });
        steps.chain(self.deadline.map(|deadline| deadline.due)).min()
    }
}
