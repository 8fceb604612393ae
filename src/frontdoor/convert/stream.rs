//! What a worker on a stream says, and what it is told.

use serde_json::{Map, Value};

use super::{
    check::invalid,
    submission::{capped_failure, is_too_late},
    value::timestamp,
    worker::worker_record,
};
use crate::{
    engine::{Error, TaskForWorker, WorkerRecord},
    frontdoor::status::capped,
    proto::{
        cerebelum::RegisterRequest,
        lazarus::{Ack, Hello, Report, Verdict, WorkResponse, WorkTask, report, work_response},
    },
    workflow::{Answer, Outcome, Payload, TaskToken, Timestamp},
};

/// How many tasks one worker may run at once.
const SLOTS_MAX: u32 = 1_024;
/// The longest kind of an approval.
const KIND_BYTES_MAX: usize = 256;
/// The longest message of an ack.
const MESSAGE_BYTES_MAX: usize = 2_048;

/// A worker that comes, and the tasks that it is still at.
pub(in crate::frontdoor) fn hello(
    hello: Hello,
    now: Timestamp,
) -> Result<(WorkerRecord, Vec<TaskToken>), Error> {
    let Hello { namespace, worker_id, steps, slots, language, version, running } = hello;
    if slots > SLOTS_MAX {
        return Err(invalid(format!("`slots` is {slots}; at most {SLOTS_MAX} are allowed")));
    }
    let request = RegisterRequest {
        worker_id,
        language,
        capabilities: steps,
        version,
        slots: Some(slots.max(1)),
        ..RegisterRequest::default()
    };
    let record = worker_record(super::namespace(&namespace)?, request, now)?;
    let running = running.iter().map(|token| token.parse()).collect::<Result<_, _>>()?;
    Ok((record, running))
}

/// Reads how an attempt ended.
pub(in crate::frontdoor) fn report(report: Report) -> Result<(TaskToken, Outcome), Error> {
    use report::Outcome as Given;
    let token = report.token.parse()?;
    let outcome = match report.outcome {
        Some(Given::OutputJson(bytes)) => {
            Outcome::Succeeded(Payload::of(json("output_json", &bytes)?))
        }
        Some(Given::Failure(failure)) => {
            Outcome::Failed(capped_failure(failure.kind, failure.message, failure.stacktrace))
        }
        Some(Given::Sleep(wish)) => Outcome::Sleep {
            duration_ms: wish.duration_ms,
            data: data("sleep.data_json", &wish.data_json)?,
        },
        Some(Given::Approval(wish)) => Outcome::Approval {
            approval_type: capped(wish.approval_type, KIND_BYTES_MAX),
            data: data("approval.data_json", &wish.data_json)?,
            timeout_ms: (wish.timeout_ms > 0).then_some(wish.timeout_ms),
        },
        Some(Given::Missing(_)) => Outcome::NotFound,
        None => {
            let what = "a report without `output_json`, `failure`, `sleep`, `approval` or `missing` \
                        says nothing; send one of them";
            return Err(invalid(what));
        }
    };
    Ok((token, outcome))
}

fn data(field: &str, bytes: &[u8]) -> Result<Payload, Error> {
    let value = if bytes.is_empty() { Value::Object(Map::new()) } else { json(field, bytes)? };
    Ok(Payload::of(value))
}

fn json(field: &str, bytes: &[u8]) -> Result<Value, Error> {
    serde_json::from_slice(bytes)
        .map_err(|error| invalid(format!("`{field}` is not JSON: {error}; send one JSON value")))
}

/// The token of a task that a worker is still at.
pub(in crate::frontdoor) fn token(token: &str) -> Result<TaskToken, Error> {
    Ok(token.parse()?)
}

/// A task as it is sent; `token`: its token as text.
pub(in crate::frontdoor) fn work_task(task: TaskForWorker, token: String) -> WorkResponse {
    let idempotency_key = task.token.idempotency_key();
    let inputs = Value::Object(task.inputs.into_iter().collect());
    let task = WorkTask {
        execution_id: task.execution.to_string(),
        workflow: task.workflow,
        step: task.token.task.step.to_string(),
        attempt: task.token.task.attempt,
        inputs_json: inputs.to_string().into_bytes(),
        lease_until: Some(timestamp(task.lease_until)),
        token,
        idempotency_key,
    };
    WorkResponse { message: Some(work_response::Message::Task(task)) }
}

/// What a worker hears about its report.
pub(in crate::frontdoor) fn work_ack(
    token: String,
    outcome: Result<Answer, Error>,
) -> WorkResponse {
    let (verdict, message) = match outcome {
        Ok(_) => (Verdict::Recorded, String::new()),
        Err(error) if is_too_late(&error) => (Verdict::TooLate, error.to_string()),
        Err(error) if error.is_final() => (Verdict::Refused, error.to_string()),
        Err(error) => (Verdict::TryAgain, error.to_string()),
    };
    let message = capped(message, MESSAGE_BYTES_MAX);
    let ack = Ack { token, verdict: verdict.into(), message };
    WorkResponse { message: Some(work_response::Message::Ack(ack)) }
}

/// The first message of a stream, which must say who comes.
pub(in crate::frontdoor) fn no_hello() -> Error {
    invalid("the first message of a stream must be a `hello`; it says who the worker is")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        proto::lazarus::{Failure, SleepWish},
        workflow::Rejection,
    };

    const TOKEN: &str = "default.order-1.0.000000000000000000000000000000aa.3.ship.1.2";

    fn read(outcome: Option<report::Outcome>) -> Result<Outcome, String> {
        let sent = Report { token: TOKEN.to_owned(), outcome };
        report(sent).map(|(_, outcome)| outcome).map_err(|error| error.to_string())
    }

    #[test]
    fn an_output_is_what_it_is_whatever_the_sdk_would_make_of_it() {
        let given = report::Outcome::OutputJson(br#"{"error": "no error at all"}"#.to_vec());
        let value = serde_json::json!({"error": "no error at all"});
        assert_eq!(read(Some(given)), Ok(Outcome::Succeeded(Payload::of(value))));
    }

    #[test]
    fn what_is_no_json_is_named() {
        let given = report::Outcome::OutputJson(b"{".to_vec());
        let error = read(Some(given)).unwrap_err();
        assert!(error.starts_with("`output_json` is not JSON: "), "{error}");
        let wish = SleepWish { duration_ms: 5, data_json: b"x".to_vec() };
        let error = read(Some(report::Outcome::Sleep(wish))).unwrap_err();
        assert!(error.starts_with("`sleep.data_json` is not JSON: "), "{error}");
        assert!(read(None).unwrap_err().contains("says nothing"));
    }

    #[test]
    fn a_sleep_without_data_carries_an_empty_object() {
        let wish = SleepWish { duration_ms: 5, data_json: vec![] };
        let data = Payload::of(serde_json::json!({}));
        assert_eq!(
            read(Some(report::Outcome::Sleep(wish))),
            Ok(Outcome::Sleep { duration_ms: 5, data })
        );
    }

    #[test]
    fn a_failure_without_a_kind_has_one() {
        let given = Failure { message: "no".to_owned(), ..Failure::default() };
        let Ok(Outcome::Failed(failure)) = read(Some(report::Outcome::Failure(given))) else {
            panic!("a failure")
        };
        assert_eq!((failure.kind.as_str(), failure.message.as_str()), ("failed", "no"));
    }

    #[test]
    fn a_worker_has_at_least_one_slot_and_not_too_many() {
        let come = |slots| {
            let sent = Hello { worker_id: "w1".to_owned(), slots, ..Hello::default() };
            hello(sent, Timestamp::from_millis(7)).map(|(record, _)| record.slots)
        };
        assert_eq!(come(0).unwrap(), Some(1));
        assert_eq!(come(64).unwrap(), Some(64));
        assert!(come(1_025).is_err());
    }

    #[test]
    fn a_verdict_says_what_the_worker_must_do() {
        let verdict = |outcome| match work_ack(TOKEN.to_owned(), outcome).message {
            Some(work_response::Message::Ack(ack)) => ack.verdict(),
            other => panic!("{other:?}"),
        };
        assert_eq!(verdict(Ok(Answer::Applied)), Verdict::Recorded);
        let late = Rejection::Superseded { step: "ship".into() };
        assert_eq!(verdict(Err(late.into())), Verdict::TooLate);
        assert_eq!(verdict(Err(invalid("no"))), Verdict::Refused);
        assert_eq!(verdict(Err(Error::ShuttingDown)), Verdict::TryAgain);
    }
}
