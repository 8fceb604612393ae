//! Requests to start or resume an execution.

use std::time::Duration;

use super::{
    check::{self, invalid},
    value::{object, timestamp},
};
use crate::{
    engine::{Error, ResumeRequest, StartRequest, Started},
    proto::cerebelum::{ExecuteRequest, ExecutionHandle, ExecutionOptions, ResumeExecutionRequest},
    workflow::{ExecutionId, Namespace, Version},
};

/// Reads a request of the SDK, or of a client that also sends our fields.
pub(in crate::frontdoor) fn start(
    namespace: Namespace,
    request: ExecuteRequest,
) -> Result<StartRequest, Error> {
    let options = request.options.unwrap_or_default();
    let timeout = timeout(&options)?;
    let ExecutionOptions { execution_id, correlation_id, tags, timeout_ms: _ } = options;
    Ok(StartRequest {
        namespace,
        workflow: check::workflow("workflow_module", request.workflow_module)?,
        version: newest_unless(request.version),
        execution: chosen(&execution_id)?,
        input: object("inputs", request.inputs)?,
        request: check::request_id(request.request_id)?,
        timeout,
        correlation_id: check::correlation_id(correlation_id)?,
        tags: check::tags(tags)?,
    })
}

fn timeout(options: &ExecutionOptions) -> Result<Option<Duration>, Error> {
    let millis = u64::try_from(options.timeout_ms).map_err(|_| {
        let given = options.timeout_ms;
        invalid(format!("`timeout_ms` is {given}; give milliseconds, or 0 for no timeout"))
    })?;
    Ok((millis > 0).then(|| Duration::from_millis(millis)))
}

/// The version that a request names; 0 is the newest.
pub(super) fn newest_unless(version: u32) -> Option<Version> {
    (version > 0).then_some(version)
}

/// The id that a user chose; none: one is made.
pub(super) fn chosen(id: &str) -> Result<Option<ExecutionId>, Error> {
    Ok(if id.is_empty() { None } else { Some(ExecutionId::chosen(id)?) })
}

/// What the SDK hears about a start.
pub(in crate::frontdoor) fn handle(started: &Started) -> ExecutionHandle {
    let status = if started.was_running { "already_running" } else { "running" };
    ExecutionHandle {
        execution_id: started.execution.to_string(),
        status: status.to_owned(),
        started_at: Some(timestamp(started.began)),
        message: String::new(),
    }
}

/// Reads a request of the SDK to resume.
pub(in crate::frontdoor) fn resume(
    namespace: Namespace,
    request: &ResumeExecutionRequest,
) -> Result<ResumeRequest, Error> {
    Ok(ResumeRequest {
        namespace,
        execution: check::execution_id(&request.execution_id)?,
        keeps_results: request.skip_completed_steps,
        by: "somebody".to_owned(),
        request: String::new(),
    })
}

/// What the SDK hears about a request to resume: an open execution goes on by itself, one that
/// completed stays so.
///
/// The status is one of the three words that the SDK documents; the reason has a field of its own.
pub(in crate::frontdoor) fn resumed(
    execution: &str,
    outcome: Result<Started, Error>,
) -> Result<ExecutionHandle, Error> {
    let (status, started, message) = match outcome {
        Ok(started) if started.was_running => ("already_running", Some(started), String::new()),
        Ok(started) => ("resumed", Some(started), String::new()),
        Err(error) if matches!(error.whole(), Error::Rejected(_)) => {
            ("failed_to_resume", None, error.to_string())
        }
        Err(error) => return Err(error),
    };
    Ok(ExecutionHandle {
        execution_id: execution.to_owned(),
        status: status.to_owned(),
        started_at: started.map(|started| timestamp(started.began)),
        message,
    })
}

/// What a person answered, which becomes a step's output; none is an empty object.
pub(in crate::frontdoor) fn response(
    fields: Option<prost_types::Struct>,
) -> Result<serde_json::Value, Error> {
    object("response", fields)
}

/// What a client hears about an answer to a step that waited for one.
pub(in crate::frontdoor) fn answered(execution: &str, status: &str) -> ExecutionHandle {
    ExecutionHandle {
        execution_id: execution.to_owned(),
        status: status.to_owned(),
        started_at: None,
        message: String::new(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{super::value::wire_object, *};
    use crate::workflow::{Rejection, RunId, Timestamp};

    fn read(request: ExecuteRequest) -> Result<StartRequest, String> {
        start(Namespace::default(), request).map_err(|error| error.to_string())
    }

    #[test]
    fn what_the_sdk_sends_is_enough() {
        let request = ExecuteRequest {
            workflow_module: "orders".to_owned(),
            inputs: Some(wire_object(&json!({"n": 5}))),
            ..ExecuteRequest::default()
        };
        let start = read(request).unwrap();
        assert_eq!(start.workflow, "orders");
        assert_eq!(start.input, json!({"n": 5.0}));
        assert_eq!((start.version, start.execution, start.timeout), (None, None, None));
        assert_eq!((start.request.as_str(), start.correlation_id.as_str()), ("", ""));
        assert_eq!(start.tags, Vec::<String>::new());
    }

    #[test]
    fn options_are_taken() {
        let request = ExecuteRequest {
            workflow_module: "orders".to_owned(),
            inputs: None,
            options: Some(ExecutionOptions {
                execution_id: "order-17".to_owned(),
                correlation_id: "cart-3".to_owned(),
                tags: vec!["eu".to_owned()],
                timeout_ms: 1500,
            }),
            request_id: "r1".to_owned(),
            version: 2,
        };
        let start = read(request).unwrap();
        assert_eq!(start.execution.unwrap().as_str(), "order-17");
        assert_eq!(start.correlation_id, "cart-3");
        assert_eq!(start.tags, ["eu"]);
        assert_eq!(start.timeout, Some(Duration::from_millis(1500)));
        assert_eq!((start.request.as_str(), start.version), ("r1", Some(2)));
    }

    #[test]
    fn options_that_can_not_be_are_refused() {
        let with = |options| {
            let workflow_module = "orders".to_owned();
            let options = Some(options);
            read(ExecuteRequest { workflow_module, options, ..ExecuteRequest::default() })
                .map(|_| ())
        };
        assert_eq!(
            with(ExecutionOptions { timeout_ms: -1, ..ExecutionOptions::default() }),
            Err("`timeout_ms` is -1; give milliseconds, or 0 for no timeout".to_owned())
        );
        let reserved =
            ExecutionOptions { execution_id: "lz-1".to_owned(), ..ExecutionOptions::default() };
        assert_eq!(
            with(reserved),
            Err(
                "execution id \"lz-1\" starts with \"lz-\", which is kept for ids that the engine \
                 makes"
                    .to_owned()
            )
        );
    }

    fn started(was_running: bool) -> Started {
        Started {
            execution: ExecutionId::known("order-17").unwrap(),
            generation: 0,
            run: RunId::from_random(1),
            began: Timestamp::from_millis(2_000),
            was_running,
        }
    }

    #[test]
    fn an_id_that_was_open_is_told_from_a_new_one() {
        assert_eq!(
            handle(&started(false)),
            ExecutionHandle {
                execution_id: "order-17".to_owned(),
                status: "running".to_owned(),
                started_at: Some(prost_types::Timestamp { seconds: 2, nanos: 0 }),
                message: String::new(),
            }
        );
        assert_eq!(handle(&started(true)).status, "already_running");
    }

    #[test]
    fn a_resumption_is_one_of_three_words() {
        let word = |outcome| resumed("order-17", outcome).map(|handle| handle.status);
        assert_eq!(word(Ok(started(false))).unwrap(), "resumed");
        assert_eq!(word(Ok(started(true))).unwrap(), "already_running");
        let done = resumed("order-17", Err(Rejection::NothingToResume.into())).unwrap();
        assert_eq!(done.status, "failed_to_resume");
        assert!(done.message.starts_with("the execution completed"), "{}", done.message);
        assert!(word(Err(Error::ShuttingDown)).is_err(), "the caller may ask again");
    }
}
