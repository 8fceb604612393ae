//! What a worker says about a task it was handed.

use serde_json::{Map, Value};

use super::{
    check::{self, invalid},
    value::object,
};
use crate::{
    engine::Error,
    frontdoor::status::capped,
    proto::cerebelum::{Ack, ErrorInfo, TaskResult, TaskStatus},
    workflow::{Answer, Failure, Rejection, Submission, TaskToken},
};

/// The longest message of a failure; it is kept in the state of its run.
const MESSAGE_BYTES_MAX: usize = 8 * 1024;
/// The longest stack trace.
const STACKTRACE_BYTES_MAX: usize = 16 * 1024;
/// The longest kind of a failure or of an approval.
const KIND_BYTES_MAX: usize = 256;

/// A result as it is submitted to the engine.
#[derive(Debug, PartialEq)]
pub(in crate::frontdoor) struct Submitted {
    /// The attempt.
    pub token: TaskToken,
    /// The worker's id.
    pub worker: String,
    /// What it says.
    pub submission: Submission,
}

/// Reads a result. Texts that are too long are cut and not refused: a refused result is lost, and
/// its step would run again for ever.
pub(in crate::frontdoor) fn submitted(result: TaskResult) -> Result<Submitted, Error> {
    Ok(Submitted {
        token: result.task_id.parse()?,
        worker: check::name("worker_id", result.worker_id.clone())?,
        submission: submission(result)?,
    })
}

fn submission(result: TaskResult) -> Result<Submission, Error> {
    let status = TaskStatus::try_from(result.status).unwrap_or(TaskStatus::Unspecified);
    let failed = |kind| Ok(Submission::Failed(failure(kind, result.error.clone())));
    match status {
        TaskStatus::Success => {
            let value = object("result", result.result)?;
            Ok(Submission::Success(with_capped_error(value)))
        }
        TaskStatus::Failed => failed("failed"),
        TaskStatus::Timeout => failed("timeout"),
        TaskStatus::Cancelled => failed("cancelled"),
        TaskStatus::Sleep => {
            let asked = result.sleep_request.ok_or_else(|| lacks("SLEEP", "sleep_request"))?;
            let data = object("sleep_request.data", asked.data)?;
            Ok(Submission::Sleep { duration_ms: asked.duration_ms, data })
        }
        TaskStatus::Approval => {
            let asked =
                result.approval_request.ok_or_else(|| lacks("APPROVAL", "approval_request"))?;
            let data = object("approval_request.data", asked.data)?;
            let approval_type = capped(asked.approval_type, KIND_BYTES_MAX);
            Ok(Submission::Approval { approval_type, data, timeout_ms: asked.timeout_ms })
        }
        TaskStatus::Unspecified => {
            let given = result.status;
            Err(invalid(format!("`status` {given} says nothing; send SUCCESS, FAILED, SLEEP, ...")))
        }
    }
}

fn lacks(status: &str, field: &str) -> Error {
    invalid(format!("a result of status {status} needs `{field}`"))
}

/// The failure that `error` tells of; `kind` where it tells of none.
fn failure(kind: &str, error: Option<ErrorInfo>) -> Failure {
    let error = error.unwrap_or_default();
    let kind = if error.kind.is_empty() { kind.to_owned() } else { error.kind };
    capped_failure(kind, error.message, error.stacktrace)
}

/// A failure as it is kept; `failed` is the kind of one that names none.
pub(super) fn capped_failure(kind: String, message: String, stacktrace: String) -> Failure {
    let kind = if kind.is_empty() { "failed".to_owned() } else { kind };
    Failure {
        kind: capped(kind, KIND_BYTES_MAX),
        message: capped(message, MESSAGE_BYTES_MAX),
        stacktrace: end_of(stacktrace, STACKTRACE_BYTES_MAX),
    }
}

/// The end of `text`: the innermost calls stand last in a trace of Python.
fn end_of(text: String, bytes_max: usize) -> String {
    if text.len() <= bytes_max {
        return text;
    }
    let from = text.ceil_char_boundary(text.len() - bytes_max);
    format!("({from} bytes before) ...{}", &text[from..])
}

/// `value` with the message of an error envelope cut like that of any failure.
fn with_capped_error(value: Value) -> Value {
    let Value::Object(mut fields) = value else { return value };
    if let Some(message) = long_error(&fields) {
        fields.insert("error".to_owned(), Value::String(capped(message, MESSAGE_BYTES_MAX)));
    }
    Value::Object(fields)
}

fn long_error(fields: &Map<String, Value>) -> Option<String> {
    let error = fields.get("error").filter(|_| !fields.contains_key("ok"))?;
    let text = error.as_str().map_or_else(|| error.to_string(), str::to_owned);
    (text.len() > MESSAGE_BYTES_MAX).then_some(text)
}

/// What a worker hears about its result. The SDK counts errors and gives up its channel after three,
/// so a result that comes too late is no error: there is nothing that the worker could do better.
pub(in crate::frontdoor) fn ack(outcome: Result<Answer, Error>) -> Result<Ack, Error> {
    let Err(error) = outcome else {
        return Ok(Ack { success: true, message: String::new() });
    };
    if !is_too_late(&error) {
        return Err(error);
    }
    Ok(Ack { success: false, message: error.to_string() })
}

/// Whether a result does not count any more, which is nobody's fault.
pub(super) fn is_too_late(error: &Error) -> bool {
    matches!(
        error.whole(),
        Error::NotFound { .. }
            | Error::Rejected(
                Rejection::Closed { .. }
                    | Rejection::Superseded { .. }
                    | Rejection::NotReady { .. }
                    | Rejection::LacksStep { .. }
                    | Rejection::NoLease { .. },
            )
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{super::value::wire_object, *};
    use crate::proto::cerebelum::{ApprovalRequest, SleepRequest};

    const TOKEN: &str = "default.order-1.0.000000000000000000000000000000aa.3.ship.1.2";

    fn result(status: TaskStatus) -> TaskResult {
        TaskResult {
            task_id: TOKEN.to_owned(),
            worker_id: "w1".to_owned(),
            status: status.into(),
            ..TaskResult::default()
        }
    }

    fn read(result: TaskResult) -> Result<Submission, String> {
        submitted(result).map(|it| it.submission).map_err(|error| error.to_string())
    }

    fn failed(kind: &str, message: &str, stacktrace: &str) -> Submission {
        let (kind, message) = (kind.to_owned(), message.to_owned());
        Submission::Failed(Failure { kind, message, stacktrace: stacktrace.to_owned() })
    }

    #[test]
    fn a_result_names_its_attempt_and_its_worker() {
        let submitted = submitted(result(TaskStatus::Success)).unwrap();
        assert_eq!(submitted.token.to_string(), TOKEN);
        assert_eq!(submitted.worker, "w1");
        assert_eq!(submitted.submission, Submission::Success(json!({})));
    }

    #[test]
    fn a_task_id_that_is_none_is_refused() {
        let result = TaskResult { task_id: "nonsense".to_owned(), ..result(TaskStatus::Success) };
        assert_eq!(
            read(result),
            Err("\"nonsense\" is not a task id that this engine handed out; send the one from \
                 PollForTask unchanged"
                .to_owned())
        );
    }

    #[test]
    fn each_status_is_read() {
        let fields = wire_object(&json!({"ok": 1.0}));
        assert_eq!(
            read(TaskResult { result: Some(fields.clone()), ..result(TaskStatus::Success) }),
            Ok(Submission::Success(json!({"ok": 1.0})))
        );
        let error = ErrorInfo {
            kind: "ValueError".to_owned(),
            message: "boom".to_owned(),
            stacktrace: "line 1".to_owned(),
        };
        assert_eq!(
            read(TaskResult { error: Some(error), ..result(TaskStatus::Failed) }),
            Ok(failed("ValueError", "boom", "line 1"))
        );
        assert_eq!(read(result(TaskStatus::Timeout)), Ok(failed("timeout", "", "")));
        assert_eq!(read(result(TaskStatus::Cancelled)), Ok(failed("cancelled", "", "")));
        let sleep = SleepRequest { duration_ms: 10_000, data: Some(fields) };
        assert_eq!(
            read(TaskResult { sleep_request: Some(sleep), ..result(TaskStatus::Sleep) }),
            Ok(Submission::Sleep { duration_ms: 10_000, data: json!({"ok": 1.0}) })
        );
        let approval =
            ApprovalRequest { approval_type: "legal".to_owned(), data: None, timeout_ms: 0 };
        assert_eq!(
            read(TaskResult { approval_request: Some(approval), ..result(TaskStatus::Approval) }),
            Ok(Submission::Approval {
                approval_type: "legal".to_owned(),
                data: json!({}),
                timeout_ms: 0
            })
        );
    }

    #[test]
    fn a_status_without_what_it_promises_is_refused() {
        assert_eq!(
            read(result(TaskStatus::Sleep)),
            Err("a result of status SLEEP needs `sleep_request`".to_owned())
        );
        assert_eq!(
            read(TaskResult { status: 99, ..result(TaskStatus::Success) }),
            Err("`status` 99 says nothing; send SUCCESS, FAILED, SLEEP, ...".to_owned())
        );
    }

    #[test]
    fn long_texts_of_a_failure_are_cut() {
        let error = ErrorInfo {
            kind: "E".to_owned(),
            message: "m".repeat(8193),
            stacktrace: format!("{}end", "s".repeat(16 * 1024)),
        };
        let Ok(Submission::Failed(failure)) =
            read(TaskResult { error: Some(error), ..result(TaskStatus::Failed) })
        else {
            panic!("not a failure")
        };
        assert_eq!(failure.message, format!("{}... (1 bytes more)", "m".repeat(8192)));
        assert!(failure.stacktrace.starts_with("(3 bytes before) ...sss"));
        assert!(failure.stacktrace.ends_with("end"));
        let envelope = wire_object(&json!({"error": "m".repeat(8193)}));
        assert_eq!(
            read(TaskResult { result: Some(envelope), ..result(TaskStatus::Success) }),
            Ok(Submission::Success(
                json!({"error": format!("{}... (1 bytes more)", "m".repeat(8192))})
            ))
        );
    }

    #[test]
    fn a_result_that_comes_too_late_is_no_error_of_the_call() {
        let late = Error::Rejected(Rejection::Closed { status: "cancelled" });
        let message = "the execution is cancelled; nothing can change it any more".to_owned();
        assert_eq!(ack(Err(late)).unwrap(), Ack { success: false, message });
        assert_eq!(
            ack(Ok(Answer::Unchanged)).unwrap(),
            Ack { success: true, message: String::new() }
        );
        let forged = Rejection::UnknownAttempt { step: "ship".into(), attempt: 9 };
        assert!(ack(Err(forged.into())).is_err());
        assert!(ack(Err(Error::ShuttingDown)).is_err());
    }
}
