//! What a worker says about itself.

use std::collections::BTreeSet;

use super::check;
use crate::{
    engine::{Error, WorkerRecord},
    proto::cerebelum::{HeartbeatRequest, HeartbeatResponse, RegisterRequest},
    workflow::{Namespace, TaskToken, Timestamp},
};

/// How many steps one worker may announce: as many as a blueprint may have.
const STEPS_MAX: usize = 10_000;

/// A worker's id, which it may choose freely but must have.
pub(in crate::frontdoor) fn worker_id(value: String) -> Result<String, Error> {
    if value.is_empty() {
        return Err(check::invalid("`worker_id` is empty; give each worker an id of its own"));
    }
    check::name("worker_id", value)
}

/// Before the ids under which the log knows the targets of push queues.
const OF_QUEUES: &str = "push:";

/// The id of a worker that registers or polls, which is none of a push queue's.
pub(super) fn polling_worker_id(value: String) -> Result<String, Error> {
    if value.starts_with(OF_QUEUES) {
        return Err(check::invalid(format!(
            "`worker_id` {value:?} starts with {OF_QUEUES:?}, which is kept for push queues; choose \
             another"
        )));
    }
    worker_id(value)
}

/// The record of a worker that registers.
pub(in crate::frontdoor) fn worker_record(
    namespace: Namespace,
    request: RegisterRequest,
    now: Timestamp,
) -> Result<WorkerRecord, Error> {
    let announced = request.capabilities.len();
    if announced > STEPS_MAX {
        let what =
            format!("{announced} capabilities are too many; at most {STEPS_MAX} are allowed");
        return Err(check::invalid(what));
    }
    if request.slots == Some(0) {
        return Err(check::invalid("`slots` is 0; say how many tasks the worker runs at once"));
    }
    let mut steps = BTreeSet::new();
    for name in request.capabilities {
        steps.extend(check::step(name)?);
    }
    Ok(WorkerRecord {
        namespace,
        worker: polling_worker_id(request.worker_id)?,
        language: check::language(request.language)?,
        version: check::name("version", request.version)?,
        steps,
        slots: request.slots,
        seen: now,
    })
}

/// Whose sign of life it is, and for which task; none: for all that the worker holds.
pub(in crate::frontdoor) fn heartbeat(
    request: HeartbeatRequest,
) -> Result<(String, Option<TaskToken>), Error> {
    let task = match request.task_id.as_str() {
        "" => None,
        token => Some(token.parse()?),
    };
    Ok((worker_id(request.worker_id)?, task))
}

/// What a worker hears about its sign of life: one that no longer holds what it says is told so, and
/// not that its call failed, which would make the SDK give up its channel.
pub(in crate::frontdoor) fn heard(outcome: Result<(), Error>) -> Result<HeartbeatResponse, Error> {
    let acknowledged = match outcome {
        Ok(()) => true,
        Err(error) if matches!(error.whole(), Error::Rejected(_) | Error::NotFound { .. }) => false,
        Err(error) => return Err(error),
    };
    Ok(HeartbeatResponse { acknowledged, commands: vec![] })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workflow::Rejection;

    fn request(capabilities: &[&str]) -> RegisterRequest {
        RegisterRequest {
            worker_id: "w1".to_owned(),
            language: "python".to_owned(),
            capabilities: capabilities.iter().map(|&name| name.to_owned()).collect(),
            version: "0.1.0".to_owned(),
            ..RegisterRequest::default()
        }
    }

    fn record(request: RegisterRequest) -> Result<WorkerRecord, String> {
        worker_record(Namespace::default(), request, Timestamp::from_millis(7))
            .map_err(|error| error.to_string())
    }

    #[test]
    fn capabilities_are_steps_each_once() {
        assert_eq!(
            record(request(&["ship", "charge", "ship", ""])),
            Ok(WorkerRecord {
                namespace: Namespace::default(),
                worker: "w1".to_owned(),
                language: "python".to_owned(),
                version: "0.1.0".to_owned(),
                steps: ["charge".into(), "ship".into()].into(),
                slots: None,
                seen: Timestamp::from_millis(7),
            })
        );
    }

    #[test]
    fn a_worker_has_an_id_and_a_slot() {
        let nameless = RegisterRequest { worker_id: String::new(), ..request(&[]) };
        assert_eq!(
            record(nameless),
            Err("`worker_id` is empty; give each worker an id of its own".to_owned())
        );
        let idle = RegisterRequest { slots: Some(0), ..request(&[]) };
        assert_eq!(
            record(idle),
            Err("`slots` is 0; say how many tasks the worker runs at once".to_owned())
        );
    }

    #[test]
    fn a_heartbeat_for_a_lost_lease_is_heard_but_not_acknowledged() {
        let lost = Rejection::NoLease { step: "ship".into(), worker: "w1".to_owned() };
        assert!(!heard(Err(lost.into())).unwrap().acknowledged);
        assert!(heard(Ok(())).unwrap().acknowledged);
        assert!(heard(Err(Error::ShuttingDown)).is_err());
    }
}
