//! What a worker's submission means, before any state is looked at.
//!
//! Workers of the Cerebelum SDK say more than their status field: a step that raised reports
//! SUCCESS with an `error` envelope, older ones ask for a sleep by a marker in the result, the
//! generic one reports it as a failure, and a wrongly guessed call comes back as Python's message.
//! Decided here once, for every caller.
//!
//! Source: docs/cerebelum.md "Results" and "The generic worker".

use serde_json::{Map, Value};

use super::{event::Failure, inputs::INPUTS, payload::Payload};

/// How an attempt ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// With a result.
    Succeeded(Payload),
    /// With a failure that its author meant.
    Failed(Failure),
    /// It asks to sleep; its output will be `data`.
    Sleep {
        /// How long, in milliseconds.
        duration_ms: u64,
        /// What becomes its output.
        data: Payload,
    },
    /// It asks for a person's approval.
    Approval {
        /// The kind, in the step's own words.
        approval_type: String,
        /// What the person needs to know.
        data: Payload,
        /// How long to wait, in milliseconds; none: for ever.
        timeout_ms: Option<u64>,
    },
    /// The worker does not have the step.
    NotFound,
    /// The step's function could not be called with the arguments it was sent; nothing ran.
    CallMismatch {
        /// What was wrong with the call.
        mismatch: Mismatch,
        /// What it counts as when the call can not be corrected.
        failure: Failure,
    },
}

/// Which arguments of a call were wrong.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mismatch {
    /// The argument that the function does not take.
    pub unexpected: Option<String>,
    /// The arguments that it takes and was not sent.
    pub missing: Vec<String>,
}

impl Mismatch {
    /// Whether the workflow's `inputs` have to be sent; none: it is about other arguments.
    pub(super) fn with_inputs(&self) -> Option<bool> {
        if self.unexpected.as_deref() == Some(INPUTS) {
            return Some(false);
        }
        self.missing.iter().any(|name| name == INPUTS).then_some(true)
    }
}

/// What a worker submitted, field by field.
#[derive(Clone, Debug, PartialEq)]
pub enum Submission {
    /// Status SUCCESS with this result.
    Success(Value),
    /// Status FAILED, TIMEOUT or CANCELLED with this error.
    Failed(Failure),
    /// Status SLEEP.
    Sleep {
        /// How long, in milliseconds; below zero counts as zero.
        duration_ms: i64,
        /// The data it carries.
        data: Value,
    },
    /// Status APPROVAL.
    Approval {
        /// The kind.
        approval_type: String,
        /// The data it carries.
        data: Value,
        /// How long to wait, in milliseconds; zero or below: for ever.
        timeout_ms: i64,
    },
}

/// The kind under which a worker reports that it lacks a step.
const NOT_FOUND: &str = "not_found";
/// The kind of a failure that a step reported by its `error` envelope.
pub(crate) const STEP_ERROR: &str = "step_error";
const SLEEP_MARKER: &str = "__cerebelum_sleep_request__";
const APPROVAL_MARKER: &str = "__cerebelum_approval_request__";
/// The kinds under which the generic worker reports what the SDK raises to ask for a wait.
const SLEEP_RAISED: &str = "SleepMarker";
const APPROVAL_RAISED: &str = "ApprovalMarker";

impl Outcome {
    /// What `submission` means for a step called `step`.
    pub fn of(submission: Submission, step: &str) -> Self {
        match submission {
            Submission::Success(Value::Object(fields)) => of_result(fields, step),
            Submission::Success(value) => Self::Succeeded(Payload::of(value)),
            Submission::Failed(failure) => of_failure(failure, step),
            Submission::Sleep { duration_ms, data } => Self::Sleep {
                duration_ms: duration_ms.max(0).unsigned_abs(),
                data: Payload::of(data),
            },
            Submission::Approval { approval_type, data, timeout_ms } => {
                let timeout_ms = u64::try_from(timeout_ms).ok().filter(|&millis| millis > 0);
                Self::Approval { approval_type, data: Payload::of(data), timeout_ms }
            }
        }
    }

    /// The payload that it carries.
    pub(crate) fn payload_mut(&mut self) -> Option<&mut Payload> {
        match self {
            Self::Succeeded(payload)
            | Self::Sleep { data: payload, .. }
            | Self::Approval { data: payload, .. } => Some(payload),
            Self::Failed(_) | Self::NotFound | Self::CallMismatch { .. } => None,
        }
    }
}

fn of_result(fields: Map<String, Value>, step: &str) -> Outcome {
    if fields.get(SLEEP_MARKER) == Some(&Value::Bool(true)) {
        return of_sleep_marker(fields);
    }
    if fields.get(APPROVAL_MARKER) == Some(&Value::Bool(true)) {
        return of_approval_marker(fields);
    }
    match fields.get("error") {
        Some(error) if !fields.contains_key("ok") => {
            let message = error.as_str().map_or_else(|| error.to_string(), str::to_owned);
            of_failure(
                Failure { kind: STEP_ERROR.to_owned(), message, stacktrace: String::new() },
                step,
            )
        }
        _ => Outcome::Succeeded(Payload::of(Value::Object(fields))),
    }
}

fn of_failure(failure: Failure, step: &str) -> Outcome {
    if failure.kind == NOT_FOUND {
        return Outcome::NotFound;
    }
    if let Some(asked) = raised_wait(&failure) {
        return asked;
    }
    let may_be_call = failure.kind == STEP_ERROR || failure.kind == "TypeError";
    match call_mismatch(&failure.message, step) {
        Some(mismatch) if may_be_call => Outcome::CallMismatch { mismatch, failure },
        _ => Outcome::Failed(failure),
    }
}

/// The wait that a failure of the generic worker asks for; the message is all that it sends of it.
fn raised_wait(failure: &Failure) -> Option<Outcome> {
    let data = Payload::of(Value::Object(Map::new()));
    match failure.kind.as_str() {
        SLEEP_RAISED => {
            let text = failure.message.strip_prefix("Sleep requested for ")?.strip_suffix("ms")?;
            let duration_ms: i64 = text.parse().ok()?;
            // Only as Python writes a number: without a plus or zeros before it.
            (duration_ms.to_string() == text)
                .then(|| Outcome::Sleep { duration_ms: duration_ms.max(0).unsigned_abs(), data })
        }
        APPROVAL_RAISED => {
            let approval_type = failure.message.strip_prefix("Approval requested: ")?.to_owned();
            Some(Outcome::Approval { approval_type, data, timeout_ms: None })
        }
        _ => None,
    }
}

/// Which arguments were wrongly sent or wrongly left out, as Python's message says.
///
/// The function stands in the message by its qualified name, so only its end is compared.
fn call_mismatch(message: &str, step: &str) -> Option<Mismatch> {
    let (function, problem) = message.split_once("() ")?;
    if !(function == step || function.ends_with(&format!(".{step}"))) {
        return None;
    }
    if let Some(unexpected) = problem.strip_prefix("got an unexpected keyword argument ") {
        let unexpected = quoted(unexpected).into_iter().next()?;
        return Some(Mismatch { unexpected: Some(unexpected), missing: vec![] });
    }
    let missing = problem.strip_prefix("missing ")?;
    let is_argument = missing.contains("required positional argument")
        || missing.contains("required keyword-only argument");
    let missing = quoted(missing);
    (is_argument && !missing.is_empty()).then_some(Mismatch { unexpected: None, missing })
}

/// The names that stand in single quotes in `text`.
fn quoted(text: &str) -> Vec<String> {
    text.split('\'').skip(1).step_by(2).map(str::to_owned).collect()
}

fn of_sleep_marker(mut fields: Map<String, Value>) -> Outcome {
    let duration_ms = whole(fields.get("duration_ms")).unwrap_or(0);
    Outcome::Sleep { duration_ms, data: data_of(&mut fields) }
}

fn of_approval_marker(mut fields: Map<String, Value>) -> Outcome {
    let approval_type =
        fields.get("approval_type").and_then(Value::as_str).unwrap_or("manual").to_owned();
    let timeout_ms = whole(fields.get("timeout_ms")).filter(|&millis| millis > 0);
    Outcome::Approval { approval_type, data: data_of(&mut fields), timeout_ms }
}

fn data_of(fields: &mut Map<String, Value>) -> Payload {
    let data = fields.remove("data").filter(|data| !data.is_null());
    Payload::of(data.unwrap_or_else(|| Value::Object(Map::new())))
}

/// A number of milliseconds; on the wire every number is a float.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "checked: finite and not below zero"
)]
fn whole(value: Option<&Value>) -> Option<u64> {
    value?
        .as_f64()
        .filter(|number| number.is_finite() && *number >= 0.0)
        .map(|number| number as u64)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn failure(kind: &str, message: &str) -> Failure {
        Failure { kind: kind.to_owned(), message: message.to_owned(), stacktrace: String::new() }
    }

    fn of_success(value: Value) -> Outcome {
        Outcome::of(Submission::Success(value), "ship")
    }

    #[test]
    fn an_error_envelope_is_a_failure_although_it_says_success() {
        assert_eq!(
            of_success(json!({"error": "boom"})),
            Outcome::Failed(failure("step_error", "boom"))
        );
        assert_eq!(
            of_success(json!({"error": {"code": 7}})),
            Outcome::Failed(failure("step_error", "{\"code\":7}"))
        );
    }

    #[test]
    fn an_error_beside_ok_is_a_result() {
        let value = json!({"ok": 1, "error": "none"});
        assert_eq!(of_success(value.clone()), Outcome::Succeeded(Payload::of(value)));
    }

    #[test]
    fn a_wrongly_guessed_call_is_told_from_a_failure() {
        let mismatch = |message: &str, with_inputs| {
            let Outcome::CallMismatch { mismatch, failure } = of_success(json!({"error": message}))
            else {
                panic!("no mismatch: {message}")
            };
            assert_eq!((failure.kind.as_str(), failure.message.as_str()), ("step_error", message));
            assert_eq!(mismatch.with_inputs(), with_inputs, "{message}");
        };
        let unexpected = "ship() got an unexpected keyword argument 'inputs'";
        let missing = "main.<locals>.ship() missing 1 required positional argument: 'inputs'";
        mismatch(unexpected, Some(false));
        mismatch(missing, Some(true));
        mismatch("ship() got an unexpected keyword argument 'order'", None);
        for other in [
            "other() got an unexpected keyword argument 'inputs'",
            "starship() missing 1 required positional argument: 'inputs'",
        ] {
            assert_eq!(
                of_success(json!({"error": other})),
                Outcome::Failed(failure("step_error", other)),
                "{other}"
            );
        }
    }

    #[test]
    fn a_plain_function_reports_the_same_mismatch_as_a_type_error() {
        let message = "ship() missing 2 required positional arguments: 'inputs' and 'x'";
        let submission = Submission::Failed(failure("TypeError", message));
        let missing = vec!["inputs".to_owned(), "x".to_owned()];
        let mismatch = Mismatch { unexpected: None, missing };
        let failure = failure("TypeError", message);
        assert_eq!(Outcome::of(submission, "ship"), Outcome::CallMismatch { mismatch, failure });
    }

    #[test]
    fn old_markers_are_sleep_and_approval() {
        assert_eq!(
            of_success(
                json!({"__cerebelum_sleep_request__": true, "duration_ms": 1500.0, "data": {"a": 1}})
            ),
            Outcome::Sleep { duration_ms: 1500, data: Payload::of(json!({"a": 1})) }
        );
        assert_eq!(
            of_success(json!({
                "__cerebelum_approval_request__": true, "approval_type": "legal", "data": null, "timeout_ms": null
            })),
            Outcome::Approval {
                approval_type: "legal".to_owned(),
                data: Payload::of(json!({})),
                timeout_ms: None
            }
        );
    }

    #[test]
    fn what_the_generic_worker_reports_as_raised_is_sleep_and_approval() {
        let of = |kind: &str, message: &str| {
            Outcome::of(Submission::Failed(failure(kind, message)), "ship")
        };
        let sleep = |duration_ms| Outcome::Sleep { duration_ms, data: Payload::of(json!({})) };
        assert_eq!(of("SleepMarker", "Sleep requested for 10000ms"), sleep(10_000));
        assert_eq!(of("SleepMarker", "Sleep requested for 0ms"), sleep(0));
        assert_eq!(of("SleepMarker", "Sleep requested for -5ms"), sleep(0));
        for approval_type in ["manual", "legal: two people"] {
            let message = format!("Approval requested: {approval_type}");
            assert_eq!(
                of("ApprovalMarker", &message),
                Outcome::Approval {
                    approval_type: approval_type.to_owned(),
                    data: Payload::of(json!({})),
                    timeout_ms: None
                }
            );
        }
    }

    #[test]
    fn what_only_resembles_a_raised_wait_stays_a_failure() {
        for (kind, message) in [
            ("SleepMarker", "Sleep requested for 1.5ms"),
            ("SleepMarker", "Sleep requested for +5ms"),
            ("SleepMarker", "Sleep requested for 007ms"),
            ("SleepMarker", "Sleep requested for ms"),
            ("SleepMarker", "Sleep requested for 99999999999999999999ms"),
            ("SleepMarker", "Sleep requested for 5ms "),
            ("SleepMarker", "Approval requested: manual"),
            ("SleepMarker", ""),
            ("ApprovalMarker", "Approval requested"),
            ("ApprovalMarker", "Sleep requested for 5ms"),
            ("step_error", "Sleep requested for 5ms"),
            ("sleepmarker", "Sleep requested for 5ms"),
            ("ValueError", "Approval requested: manual"),
        ] {
            assert_eq!(
                Outcome::of(Submission::Failed(failure(kind, message)), "ship"),
                Outcome::Failed(failure(kind, message)),
                "{kind}: {message}"
            );
        }
    }

    #[test]
    fn an_approval_timeout_of_zero_is_none() {
        let submission = Submission::Approval {
            approval_type: "manual".to_owned(),
            data: json!({}),
            timeout_ms: 0,
        };
        let Outcome::Approval { timeout_ms, .. } = Outcome::of(submission, "ship") else {
            panic!("not an approval")
        };
        assert_eq!(timeout_ms, None);
    }
}
