//! An execution as the SDK sees it: one status with everything in it.
//!
//! The SDK has no state for "cancelled" and "timed out": both are FAILED, told apart by the kind of
//! the error. What it shows as progress is `current_step_index` of `total_steps`.

use std::collections::HashMap;

use super::{
    check::{self, invalid},
    fit::fit,
    value::{timestamp, wire_object},
};
use crate::{
    engine::{Description, Error, Filter, Page, Record, Standing},
    proto::cerebelum::{
        ApprovalInfo, ErrorInfo, ExecutionState, ExecutionStatus, ListExecutionsRequest,
        ListExecutionsResponse, SleepInfo, StepStatus,
    },
    workflow::{Done, Failure, Json, OpenStep, Phase, State, Status, StepName, Timestamp},
};

/// How many executions a page has, when the request does not say and at most.
const LIMIT_DEFAULT: usize = 50;
const LIMIT_MAX: usize = 100;

/// The status of one execution, small enough for the SDK to receive.
pub(in crate::frontdoor) fn execution_status(description: &Description) -> ExecutionStatus {
    let Description { state, blueprint, .. } = description;
    let outputs = description.outputs.iter();
    fit(ExecutionStatus {
        execution_id: state.execution.to_string(),
        workflow_name: state.blueprint.name.clone(),
        status: execution_state(Standing::of(state)).into(),
        started_at: Some(timestamp(state.started)),
        completed_at: state.closed.map(timestamp),
        current_step_index: count(state.steps_over(blueprint.steps().len())),
        total_steps: count(blueprint.steps().len()),
        current_step_name: current_step(description).map(|it| it.to_string()).unwrap_or_default(),
        completed_steps: steps(description),
        inputs: Some(wire_object(&description.input)),
        step_outputs: outputs
            .map(|(step, output)| (step.to_string(), wire_object(output)))
            .collect(),
        error: state.status.ending().as_ref().map(error_info),
        sleep_info: sleep_info(description),
        approval_info: approval_info(description),
    })
}

fn execution_state(standing: Standing) -> ExecutionState {
    match standing {
        Standing::Running => ExecutionState::ExecutionRunning,
        Standing::Sleeping => ExecutionState::ExecutionSleeping,
        Standing::WaitingForApproval => ExecutionState::ExecutionWaitingForApproval,
        Standing::Completed => ExecutionState::ExecutionCompleted,
        Standing::Failed | Standing::Cancelled | Standing::TimedOut => {
            ExecutionState::ExecutionFailed
        }
    }
}

fn error_info(failure: &Failure) -> ErrorInfo {
    let Failure { kind, message, stacktrace } = failure.clone();
    ErrorInfo { kind, message, stacktrace }
}

/// The step that a person would call the current one: the one that failed, else the first in the
/// timeline that is open.
fn current_step(description: &Description) -> Option<StepName> {
    let Description { state, blueprint, .. } = description;
    if let Some(step) = state.status.failed_step() {
        return Some(step.clone());
    }
    let open = |step: &StepName| !state.is_closed() && state.open.contains_key(step);
    blueprint.steps().iter().map(|step| &step.name).find(|step| open(step)).cloned()
}

/// Every step that began: the completed ones in the order in which they did, so that the last is the
/// result; then the others in the order of the timeline.
fn steps(description: &Description) -> Vec<StepStatus> {
    let Description { state, blueprint, .. } = description;
    let mut completed = vec![];
    let mut others = vec![];
    for (place, step) in blueprint.steps().iter().enumerate() {
        if let Some(done) = state.done.get(&step.name) {
            completed
                .push((state.times(done).1, completed_step(description, &step.name, place, done)));
        } else if let Some(open) = state.open.get(&step.name) {
            others.extend(open_step(state, &step.name, place, open));
        }
    }
    completed.sort_by_key(|(ended, _)| *ended);
    completed.into_iter().map(|(_, step)| step).chain(others).collect()
}

fn completed_step(
    description: &Description,
    step: &StepName,
    place: usize,
    done: &Done,
) -> StepStatus {
    let (began, ended) = description.state.times(done);
    let caught = description.state.caught.get(step);
    StepStatus {
        step_name: step.to_string(),
        step_index: count(place),
        status: if caught.is_some() { "failed" } else { "completed" }.to_owned(),
        started_at: Some(timestamp(began)),
        completed_at: Some(timestamp(ended)),
        duration_seconds: i32::try_from(ended.since(began).as_secs()).unwrap_or(i32::MAX),
        output: description.outputs.get(step).map(|output| wire_object(output)),
        error: caught.map(error_info),
    }
}

/// A step that is under way, or that ended the execution; none: it did not begin, or the execution
/// ended without it.
fn open_step(state: &State, step: &StepName, place: usize, open: &OpenStep) -> Option<StepStatus> {
    let started = open.started?;
    let error = match &state.status {
        Status::Running => None,
        Status::Failed { step: failed, error } if failed == step => Some(error),
        Status::Failed { .. }
        | Status::Completed
        | Status::Cancelled { .. }
        | Status::TimedOut { .. } => return None,
    };
    let ended = state.closed.filter(|_| error.is_some());
    let duration = ended.map_or(0, |ended| ended.since(started).as_secs());
    Some(StepStatus {
        step_name: step.to_string(),
        step_index: count(place),
        status: if error.is_some() { "failed" } else { "running" }.to_owned(),
        started_at: Some(timestamp(started)),
        completed_at: ended.map(timestamp),
        duration_seconds: i32::try_from(duration).unwrap_or(i32::MAX),
        output: None,
        error: error.map(error_info),
    })
}

fn data(description: &Description, step: &StepName) -> Option<prost_types::Struct> {
    description.data.get(step).map(|data: &Json| wire_object(data))
}

fn millis_left(until: Timestamp, now: Timestamp) -> i64 {
    i64::try_from(until.since(now).as_millis()).unwrap_or(i64::MAX)
}

/// The sleep that ends first.
fn sleep_info(description: &Description) -> Option<SleepInfo> {
    let Description { state, now, .. } = description;
    if state.is_closed() {
        return None;
    }
    let sleeps = state.open.iter().filter_map(|(step, open)| match open.phase {
        Phase::Sleeping { from, until, duration_ms, .. } => Some((until, from, duration_ms, step)),
        Phase::Ready { .. } | Phase::Leased { .. } | Phase::Approval { .. } => None,
    });
    let (until, from, duration_ms, step) = sleeps.min()?;
    Some(SleepInfo {
        duration_ms: i64::try_from(duration_ms).unwrap_or(i64::MAX),
        sleep_started_at: Some(timestamp(from)),
        remaining_ms: millis_left(until, *now),
        data: data(description, step),
    })
}

/// The approval that was asked for first.
fn approval_info(description: &Description) -> Option<ApprovalInfo> {
    let Description { state, now, .. } = description;
    if state.is_closed() {
        return None;
    }
    let approvals = state.open.iter().filter_map(|(step, open)| match &open.phase {
        Phase::Approval { from, approval_type, timeout_ms, due, .. } => {
            Some((*from, step, approval_type, *timeout_ms, *due))
        }
        Phase::Ready { .. } | Phase::Leased { .. } | Phase::Sleeping { .. } => None,
    });
    let (from, step, approval_type, timeout_ms, due) = approvals.min()?;
    Some(ApprovalInfo {
        approval_type: approval_type.clone(),
        data: data(description, step),
        timeout_ms: timeout_ms.map_or(0, |millis| i64::try_from(millis).unwrap_or(i64::MAX)),
        requested_at: Some(timestamp(from)),
        remaining_timeout_ms: due.map_or(0, |due| millis_left(due, *now)),
    })
}

fn count(number: usize) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

/// What the SDK asks to list.
#[derive(Debug)]
pub(in crate::frontdoor) struct Query {
    /// Which executions; none: none can be like that.
    pub filter: Option<Filter>,
    /// How many to pass over.
    pub offset: usize,
    /// How many to list.
    pub limit: usize,
}

/// Reads what to list. A filter that is there but empty is none: that is how the SDK says so.
pub(in crate::frontdoor) fn query(request: ListExecutionsRequest) -> Result<Query, Error> {
    let offset = usize::try_from(request.offset)
        .map_err(|_| invalid(format!("`offset` is {}; it starts at 0", request.offset)))?;
    let limit = match usize::try_from(request.limit) {
        Ok(0) | Err(_) => LIMIT_DEFAULT,
        Ok(limit) => limit.min(LIMIT_MAX),
    };
    let workflow = match request.workflow_name.filter(|name| !name.is_empty()) {
        Some(name) => Some(check::workflow("workflow_name", name)?),
        None => None,
    };
    let standings = standings(request.status.unwrap_or_default())?;
    let filter = standings.map(|standings| Filter { workflow, standings });
    Ok(Query { filter, offset, limit })
}

/// Where executions stand that the SDK calls `status`; none: no execution is ever called that.
fn standings(status: i32) -> Result<Option<Vec<Standing>>, Error> {
    let state = ExecutionState::try_from(status)
        .map_err(|_| invalid(format!("`status` {status} is none of ExecutionState")))?;
    Ok(match state {
        ExecutionState::Unspecified => Some(vec![]),
        ExecutionState::ExecutionRunning => Some(vec![Standing::Running]),
        ExecutionState::ExecutionCompleted => Some(vec![Standing::Completed]),
        ExecutionState::ExecutionFailed => {
            Some(vec![Standing::Failed, Standing::Cancelled, Standing::TimedOut])
        }
        ExecutionState::ExecutionSleeping => Some(vec![Standing::Sleeping]),
        ExecutionState::ExecutionWaitingForApproval => Some(vec![Standing::WaitingForApproval]),
        ExecutionState::ExecutionPaused => None,
    })
}

/// One page of a list; none: nothing was asked for that can be.
pub(in crate::frontdoor) fn listing(page: Option<Page>) -> ListExecutionsResponse {
    let Some(Page { records, total, has_more }) = page else {
        return ListExecutionsResponse::default();
    };
    let executions = records.into_iter().map(listed).collect();
    ListExecutionsResponse { executions, total_count: count(total), has_more }
}

fn listed(record: Record) -> ExecutionStatus {
    let number = |number: u32| i32::try_from(number).unwrap_or(i32::MAX);
    ExecutionStatus {
        execution_id: record.execution.to_string(),
        workflow_name: record.workflow,
        status: execution_state(record.status).into(),
        started_at: Some(timestamp(record.started)),
        completed_at: record.closed.map(timestamp),
        current_step_index: number(record.steps.1),
        total_steps: number(record.steps.0),
        current_step_name: String::new(),
        completed_steps: vec![],
        inputs: None,
        step_outputs: HashMap::new(),
        error: record.error.as_ref().map(error_info).or_else(|| unsaid(record.status)),
        sleep_info: None,
        approval_info: None,
    }
}

/// The error of an execution whose record names none although the SDK has to call it failed.
fn unsaid(standing: Standing) -> Option<ErrorInfo> {
    let kind = match standing {
        Standing::Cancelled => "cancelled",
        Standing::TimedOut => "timeout",
        Standing::Running
        | Standing::Sleeping
        | Standing::WaitingForApproval
        | Standing::Completed
        | Standing::Failed => return None,
    };
    Some(ErrorInfo { kind: kind.to_owned(), ..ErrorInfo::default() })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{super::given, *};
    use crate::workflow::{Event, ExecutionId, Namespace, RunId};

    #[expect(clippy::unnecessary_wraps, reason = "the form that the message's field has")]
    fn seconds(seconds: i64) -> Option<prost_types::Timestamp> {
        Some(prost_types::Timestamp { seconds, nanos: 0 })
    }

    fn charged() -> Vec<Event> {
        let mut events = vec![given::completed("charge", &json!({"ok": 5.0}))];
        events.extend(given::leased("ship"));
        events
    }

    #[test]
    fn a_completed_execution_is_all_the_way_and_its_last_step_is_the_result() {
        let shipped = [given::completed("ship", &json!({})), Event::ExecutionCompleted];
        let mut run = given::run(&[&given::leased("charge"), &charged(), &shipped]);
        run.outputs.insert("charge".into(), Json::new(json!({"ok": 5.0})));
        run.outputs.insert("ship".into(), Json::new(json!({})));
        let step = |name: &str, index, began, ended, output| StepStatus {
            step_name: name.to_owned(),
            step_index: index,
            status: "completed".to_owned(),
            started_at: seconds(began),
            completed_at: seconds(ended),
            duration_seconds: 1,
            output: Some(wire_object(&output)),
            error: None,
        };
        assert_eq!(
            execution_status(&run),
            ExecutionStatus {
                execution_id: "order-1".to_owned(),
                workflow_name: "orders".to_owned(),
                status: ExecutionState::ExecutionCompleted.into(),
                started_at: seconds(1000),
                completed_at: seconds(1003),
                current_step_index: 2,
                total_steps: 2,
                current_step_name: String::new(),
                completed_steps: vec![
                    step("charge", 0, 1001, 1002, json!({"ok": 5.0})),
                    step("ship", 1, 1002, 1003, json!({})),
                ],
                inputs: Some(wire_object(&json!({"order": 1.0}))),
                step_outputs: [
                    ("charge".to_owned(), wire_object(&json!({"ok": 5.0}))),
                    ("ship".to_owned(), wire_object(&json!({}))),
                ]
                .into(),
                error: None,
                sleep_info: None,
                approval_info: None,
            }
        );
    }

    #[test]
    fn a_step_under_way_is_listed_as_running() {
        let status = execution_status(&given::run(&[&given::leased("charge"), &charged()]));
        assert_eq!(status.status(), ExecutionState::ExecutionRunning);
        assert_eq!((status.current_step_index, status.total_steps), (1, 2));
        assert_eq!(status.current_step_name, "ship");
        let ship = &status.completed_steps[1];
        assert_eq!((ship.step_name.as_str(), ship.status.as_str()), ("ship", "running"));
        assert_eq!((ship.started_at, ship.completed_at), (seconds(1002), None));
    }

    #[test]
    fn a_sleep_says_how_much_of_it_is_left() {
        let mut run = given::run(&[&given::leased("charge"), &[given::sleeping("charge")]]);
        run.data.insert("charge".into(), Json::new(json!({"n": 1.0})));
        let status = execution_status(&run);
        assert_eq!(status.status(), ExecutionState::ExecutionSleeping);
        let expected = SleepInfo {
            duration_ms: 10_000,
            sleep_started_at: seconds(1002),
            remaining_ms: 9_500,
            data: Some(wire_object(&json!({"n": 1.0}))),
        };
        assert_eq!(status.sleep_info, Some(expected));
        assert_eq!(status.approval_info, None);
    }

    #[test]
    fn an_approval_says_what_is_asked_and_how_long() {
        let mut run = given::run(&[&given::leased("charge"), &[given::asking("charge")]]);
        run.data.insert("charge".into(), Json::new(json!({"sum": 7.0})));
        let status = execution_status(&run);
        assert_eq!(status.status(), ExecutionState::ExecutionWaitingForApproval);
        let expected = ApprovalInfo {
            approval_type: "legal".to_owned(),
            data: Some(wire_object(&json!({"sum": 7.0}))),
            timeout_ms: 60_000,
            requested_at: seconds(1002),
            remaining_timeout_ms: 59_500,
        };
        assert_eq!(status.approval_info, Some(expected));
    }

    #[test]
    fn who_has_to_approve_is_not_hidden_by_a_sleep_beside_it() {
        let both = [given::sleeping("charge"), given::asking("ship")];
        let mut leased = given::leased("charge").to_vec();
        leased.extend(given::leased("ship"));
        let run = given::run(&[&leased, &both]);
        assert_eq!(Standing::of(&run.state), Standing::WaitingForApproval);
    }

    #[test]
    fn a_failed_step_carries_its_error() {
        let run = given::run(&[&given::leased("charge"), &given::failed("charge")]);
        let status = execution_status(&run);
        let error = Some(error_info(&given::failure()));
        assert_eq!(status.status(), ExecutionState::ExecutionFailed);
        assert_eq!(status.error, error);
        assert_eq!(status.current_step_name, "charge");
        assert_eq!(
            status.completed_steps,
            [StepStatus {
                step_name: "charge".to_owned(),
                step_index: 0,
                status: "failed".to_owned(),
                started_at: seconds(1001),
                completed_at: seconds(1002),
                duration_seconds: 1,
                output: None,
                error,
            }]
        );
    }

    #[test]
    fn cancelled_and_out_of_time_are_failures_of_their_own_kind() {
        let error = |event: Event| {
            let run = given::run(&[&given::leased("charge"), &[event]]);
            let status = execution_status(&run);
            assert_eq!(status.status(), ExecutionState::ExecutionFailed);
            assert_eq!(status.completed_steps, []);
            let ErrorInfo { kind, message, .. } = status.error.unwrap();
            (kind, message)
        };
        let said = |kind: &str, message: &str| (kind.to_owned(), message.to_owned());
        assert_eq!(
            error(given::cancelled("wrong order")),
            said("cancelled", "cancelled by ann: wrong order")
        );
        assert_eq!(error(given::cancelled("")), said("cancelled", "cancelled by ann"));
        assert_eq!(
            error(Event::ExecutionTimedOut { timeout_ms: 500 }),
            said("timeout", "the execution did not end within its 500 ms")
        );
    }

    #[test]
    fn a_filter_that_is_there_but_empty_is_none() {
        let request = ListExecutionsRequest {
            workflow_name: Some(String::new()),
            status: Some(ExecutionState::Unspecified.into()),
            limit: 0,
            offset: 0,
        };
        let Query { filter, offset, limit } = query(request).unwrap();
        let filter = filter.unwrap();
        assert_eq!((filter.workflow, filter.standings), (None, vec![]));
        assert_eq!((offset, limit), (0, 50));
    }

    #[test]
    fn failed_finds_all_that_the_sdk_calls_so_and_paused_nothing() {
        let filter = |state: ExecutionState| {
            let status = Some(state.into());
            let request = ListExecutionsRequest { status, limit: 500, ..Default::default() };
            let query = query(request).unwrap();
            assert_eq!(query.limit, 100);
            query.filter.map(|filter| filter.standings)
        };
        assert_eq!(
            filter(ExecutionState::ExecutionFailed),
            Some(vec![Standing::Failed, Standing::Cancelled, Standing::TimedOut])
        );
        assert_eq!(filter(ExecutionState::ExecutionPaused), None);
        assert_eq!(listing(None), ListExecutionsResponse::default());
    }

    #[test]
    fn a_listed_execution_shows_how_far_it_is() {
        let record = Record {
            namespace: Namespace::default(),
            execution: ExecutionId::known("order-1").unwrap(),
            generation: 0,
            run: RunId::from_random(0xaa),
            seq: 3,
            workflow: "orders".to_owned(),
            version: 3,
            status: Standing::Cancelled,
            started: Timestamp::from_millis(1_000_000),
            closed: Some(Timestamp::from_millis(1_003_000)),
            deleted: None,
            may_have_blobs: true,
            steps: (2, 1),
            error: None,
            resumes: None,
            correlation_id: String::new(),
            tags: vec![],
        };
        let page = Page { records: vec![record], total: 7, has_more: true };
        let listing = listing(Some(page));
        assert_eq!((listing.total_count, listing.has_more), (7, true));
        assert_eq!(
            listing.executions,
            [ExecutionStatus {
                execution_id: "order-1".to_owned(),
                workflow_name: "orders".to_owned(),
                status: ExecutionState::ExecutionFailed.into(),
                started_at: seconds(1000),
                completed_at: seconds(1003),
                current_step_index: 1,
                total_steps: 2,
                error: Some(ErrorInfo { kind: "cancelled".to_owned(), ..ErrorInfo::default() }),
                ..ExecutionStatus::default()
            }]
        );
    }
}
