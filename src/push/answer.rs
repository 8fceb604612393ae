//! What a target's answer means.
//!
//! A worker speaks through a body of JSON, in an answer with status 200 or in a callback. Everything
//! else (another status, a page of a proxy, silence) says only that no worker was heard: the task is
//! tried again, and that is no failure of the step.

use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use crate::workflow::{Failure, Submission};

/// The longest reason that is kept.
const REASON_CHARS_MAX: usize = 300;
/// The longest message of a failure that is kept, and the longest stack trace.
const MESSAGE_CHARS_MAX: usize = 8 * 1024;
const STACKTRACE_CHARS_MAX: usize = 16 * 1024;
const KIND_CHARS_MAX: usize = 256;

/// What a target answered.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// The attempt has ended so.
    Ended(Submission),
    /// A worker has the task, and says later how it ended, by the task's id.
    Accepted,
}

/// Why a call brought no answer of a worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Undelivered {
    /// What happened, in a line, without any secret.
    pub reason: String,
    /// How long the target asks to be left alone.
    pub pause: Option<Duration>,
}

impl Undelivered {
    /// For this reason.
    pub fn because(reason: impl Into<String>) -> Self {
        Self { reason: first(&reason.into(), REASON_CHARS_MAX), pause: None }
    }
}

/// The kind of a failure of a worker whose answer can not be read.
const INVALID_ANSWER: &str = "invalid_answer";

/// How an attempt ended, as a worker writes it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    #[serde(default, deserialize_with = "some")]
    result: Option<Value>,
    error: Option<ErrorDocument>,
    sleep: Option<SleepDocument>,
    approval: Option<ApprovalDocument>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ErrorDocument {
    #[serde(default)]
    kind: String,
    #[serde(default)]
    message: String,
    #[serde(default)]
    stacktrace: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SleepDocument {
    duration_ms: u64,
    #[serde(default)]
    data: Value,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ApprovalDocument {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    data: Value,
    #[serde(default)]
    timeout_ms: u64,
}

/// `null` is a result, too.
fn some<'de, D: serde::Deserializer<'de>>(input: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(input).map(Some)
}

/// Reads how an attempt ended out of the JSON that a worker wrote: exactly one of `result`, `error`,
/// `sleep` and `approval`.
///
/// # Errors
///
/// What is wrong with it, for the worker's author.
pub fn outcome(value: Value) -> Result<Submission, String> {
    let document: Document = serde_json::from_value(value).map_err(|error| error.to_string())?;
    match document {
        Document { result: Some(result), error: None, sleep: None, approval: None } => {
            Ok(Submission::Success(result))
        }
        Document { result: None, error: Some(error), sleep: None, approval: None } => {
            Ok(Submission::Failed(failure(error)))
        }
        Document { result: None, error: None, sleep: Some(sleep), approval: None } => {
            let duration_ms = i64::try_from(sleep.duration_ms).unwrap_or(i64::MAX);
            Ok(Submission::Sleep { duration_ms, data: object(sleep.data) })
        }
        Document { result: None, error: None, sleep: None, approval: Some(asked) } => {
            let timeout_ms = i64::try_from(asked.timeout_ms).unwrap_or(i64::MAX);
            let approval_type = first(&asked.kind, KIND_CHARS_MAX);
            Ok(Submission::Approval { approval_type, data: object(asked.data), timeout_ms })
        }
        Document { .. } => {
            Err("it must have exactly one of `result`, `error`, `sleep` and `approval`".to_owned())
        }
    }
}

/// What a worker said with `value`: one that can not be read has worked, and would say the same again.
pub(super) fn ended(value: Value) -> Answer {
    let submission = outcome(value).unwrap_or_else(|fault| {
        let message = format!("the answer of the worker can not be read: {fault}");
        Submission::Failed(failure(ErrorDocument {
            kind: INVALID_ANSWER.to_owned(),
            message,
            stacktrace: String::new(),
        }))
    });
    Answer::Ended(submission)
}

fn failure(error: ErrorDocument) -> Failure {
    let kind = if error.kind.is_empty() { "failed".to_owned() } else { error.kind };
    Failure {
        kind: first(&kind, KIND_CHARS_MAX),
        message: first(&error.message, MESSAGE_CHARS_MAX),
        stacktrace: first(&error.stacktrace, STACKTRACE_CHARS_MAX),
    }
}

/// Data of a sleep or an approval is an object; none is an empty one.
fn object(data: Value) -> Value {
    if data.is_null() { Value::Object(serde_json::Map::new()) } else { data }
}

/// What a function that Lambda ran raised: a failure of the step, unless the platform itself ended it.
/// `value` is what the Invoke call answers with its header `X-Amz-Function-Error`.
pub(super) fn raised(value: &Value) -> Result<Answer, Undelivered> {
    let text = |field: &str| value.get(field).and_then(Value::as_str).unwrap_or_default();
    let (kind, message) = (text("errorType"), text("errorMessage"));
    let is_of_platform = kind.starts_with("Runtime.") || kind.starts_with("Sandbox.");
    if is_of_platform || kind.is_empty() {
        return Err(Undelivered::because(format!("did not finish: {kind} {message}")));
    }
    let lines = |trace: &Value| match trace {
        Value::Array(lines) => {
            lines.iter().filter_map(Value::as_str).collect::<Vec<_>>().join("\n")
        }
        Value::String(text) => text.clone(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => String::new(),
    };
    let trace = value.get("stackTrace").or_else(|| value.get("trace"));
    Ok(Answer::Ended(Submission::Failed(failure(ErrorDocument {
        kind: kind.to_owned(),
        message: message.to_owned(),
        stacktrace: trace.map(lines).unwrap_or_default(),
    }))))
}

/// The first `chars_max` characters of `text`.
fn first(text: &str, chars_max: usize) -> String {
    text.chars().take(chars_max).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn failed(kind: &str, message: &str) -> Submission {
        Submission::Failed(Failure {
            kind: kind.to_owned(),
            message: message.to_owned(),
            stacktrace: String::new(),
        })
    }

    #[test]
    fn each_way_an_attempt_may_end_is_read() {
        assert_eq!(outcome(json!({"result": null})), Ok(Submission::Success(Value::Null)));
        assert_eq!(outcome(json!({"result": {"a": 1}})), Ok(Submission::Success(json!({"a": 1}))));
        assert_eq!(outcome(json!({"error": {"message": "no"}})), Ok(failed("failed", "no")));
        assert_eq!(
            outcome(json!({"error": {"kind": "CardError", "message": "no"}})),
            Ok(failed("CardError", "no"))
        );
        assert_eq!(
            outcome(json!({"sleep": {"duration_ms": 5}})),
            Ok(Submission::Sleep { duration_ms: 5, data: json!({}) })
        );
        assert_eq!(
            outcome(json!({"approval": {"type": "cost", "data": {"n": 1}, "timeout_ms": 7}})),
            Ok(Submission::Approval {
                approval_type: "cost".to_owned(),
                data: json!({"n": 1}),
                timeout_ms: 7
            })
        );
    }

    #[test]
    fn what_says_nothing_two_things_or_something_unknown_is_refused() {
        let one = "it must have exactly one of `result`, `error`, `sleep` and `approval`";
        assert_eq!(outcome(json!({})), Err(one.to_owned()));
        assert_eq!(outcome(json!({"result": 1, "error": {}})), Err(one.to_owned()));
        assert!(outcome(json!({"reslut": 1})).unwrap_err().starts_with("unknown field `reslut`"));
        assert!(outcome(json!([1])).is_err());
    }

    #[test]
    fn an_answer_that_can_not_be_read_is_a_failure_of_the_step() {
        let Answer::Ended(Submission::Failed(failure)) = ended(json!({"output": 1})) else {
            panic!("it did not fail")
        };
        assert_eq!(failure.kind, "invalid_answer");
        assert!(failure.message.contains("unknown field `output`"), "{}", failure.message);
    }

    #[test]
    fn what_a_function_raised_is_its_failure_and_what_the_platform_did_is_not() {
        let raised_value = json!({
            "errorType": "ValueError", "errorMessage": "no such page", "stackTrace": ["a", "b"],
        });
        let expected = Failure {
            kind: "ValueError".to_owned(),
            message: "no such page".to_owned(),
            stacktrace: "a\nb".to_owned(),
        };
        assert_eq!(raised(&raised_value), Ok(Answer::Ended(Submission::Failed(expected))));
        let killed = json!({"errorType": "Sandbox.Timedout", "errorMessage": "after 3.00 seconds"});
        assert_eq!(
            raised(&killed),
            Err(Undelivered::because("did not finish: Sandbox.Timedout after 3.00 seconds"))
        );
        assert!(raised(&json!({"errorMessage": "RequestId: 1 Process exited"})).is_err());
    }
}
