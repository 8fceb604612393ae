//! What a step is called with, and what it may come to.

use std::{pin::Pin, time::Duration};

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::proto::lazarus::{
    ApprovalWish, Failure, Report, SleepWish, StepMissing, WorkTask, report,
};

/// One call of a step.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    /// The execution that it is for.
    pub execution: String,
    /// The workflow.
    pub workflow: String,
    /// The step.
    pub step: String,
    /// Which attempt this is, from 1.
    pub attempt: u32,
    /// The same in every attempt: with it a step can make its own effect happen once.
    pub idempotency_key: String,
    /// By parameter: the outputs of earlier steps by their names, and the workflow's own inputs under
    /// `inputs`, as the blueprint says.
    pub inputs: Map<String, Value>,
}

impl Call {
    /// The call that `task` asks for.
    pub(super) fn of(task: &WorkTask) -> Result<Self, Failed> {
        let inputs = serde_json::from_slice(&task.inputs_json).map_err(|error| {
            Failed::of("inputs", format!("the inputs can not be read: {error}"))
        })?;
        Ok(Self {
            execution: task.execution_id.clone(),
            workflow: task.workflow.clone(),
            step: task.step.clone(),
            attempt: task.attempt,
            idempotency_key: task.idempotency_key.clone(),
            inputs,
        })
    }

    /// The input called `name`, as a `T`.
    ///
    /// # Errors
    ///
    /// A failure of kind `inputs`: there is none of that name, or it is no `T`.
    pub fn input<T: DeserializeOwned>(&self, name: &str) -> Result<T, Failed> {
        let value = self
            .inputs
            .get(name)
            .ok_or_else(|| Failed::of("inputs", format!("there is no input `{name}`")))?;
        T::deserialize(value)
            .map_err(|error| Failed::of("inputs", format!("the input `{name}`: {error}")))
    }
}

/// How a step ended well.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// With an output.
    Value(Value),
    /// The step is over after a sleep, of which no process knows meanwhile.
    Sleep {
        /// How long.
        duration: Duration,
        /// The step's output then.
        data: Value,
    },
    /// The step is over once a person approves it.
    Approval {
        /// The kind, in the step's own words.
        approval_type: String,
        /// What the person needs to know.
        data: Value,
        /// How long to wait; none: without bound.
        timeout: Option<Duration>,
    },
}

impl Output {
    /// With an output.
    pub fn value(value: impl Into<Value>) -> Self {
        Self::Value(value.into())
    }

    /// The step is over after `duration`, with an empty object.
    pub fn sleep(duration: Duration) -> Self {
        Self::Sleep { duration, data: Value::Object(Map::new()) }
    }
}

impl From<Value> for Output {
    fn from(value: Value) -> Self {
        Self::Value(value)
    }
}

/// Why a step failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failed {
    /// What rules and retries match; a short word.
    pub kind: String,
    /// For people.
    pub message: String,
}

impl Failed {
    /// A failure of a kind.
    pub fn of(kind: impl Into<String>, message: impl Into<String>) -> Self {
        Self { kind: kind.into(), message: message.into() }
    }
}

impl<E: std::error::Error> From<E> for Failed {
    fn from(error: E) -> Self {
        Self::of("failed", error.to_string())
    }
}

/// What a worker calls.
pub(super) trait Step: Send + Sync {
    fn call(&self, call: Call) -> Pin<Box<dyn Future<Output = Result<Output, Failed>> + Send>>;
}

impl<F, R> Step for F
where
    F: Fn(Call) -> R + Send + Sync,
    R: Future<Output = Result<Output, Failed>> + Send + 'static,
{
    fn call(&self, call: Call) -> Pin<Box<dyn Future<Output = Result<Output, Failed>> + Send>> {
        Box::pin(self(call))
    }
}

/// The report of how an attempt ended.
pub(super) fn report(token: String, outcome: Result<Output, Failed>) -> Report {
    use report::Outcome;
    let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let outcome = match outcome {
        Ok(Output::Value(value)) => Outcome::OutputJson(value.to_string().into_bytes()),
        Ok(Output::Sleep { duration, data }) => Outcome::Sleep(SleepWish {
            duration_ms: millis(duration),
            data_json: data.to_string().into_bytes(),
        }),
        Ok(Output::Approval { approval_type, data, timeout }) => Outcome::Approval(ApprovalWish {
            approval_type,
            data_json: data.to_string().into_bytes(),
            timeout_ms: timeout.map_or(0, millis),
        }),
        Err(Failed { kind, message }) => {
            Outcome::Failure(Failure { kind, message, stacktrace: String::new() })
        }
    };
    Report { token, outcome: Some(outcome) }
}

/// The report of a worker that does not have the step.
pub(super) fn missing(token: String) -> Report {
    Report { token, outcome: Some(report::Outcome::Missing(StepMissing {})) }
}
