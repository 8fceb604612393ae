//! The messages of our own services (`lazarus.v1`).

use std::time::Duration;

use bytes::Bytes;

use super::{
    check::{self, invalid},
    start::{chosen, newest_unless},
    value::{json, object, timestamp, wire, wire_object},
};
use crate::{
    engine::{
        DeadRun, Description, Ending, Error, Filter, Page, Record, ResumeRequest, Standing,
        StartRequest, Started,
    },
    log::Commit,
    proto::lazarus as wire_types,
    proto::lazarus::WaitRequest,
    workflow::{
        Blueprint, Failure, Generation, Json, Namespace, Phase, RunId, State, Status, StepName,
        Version,
    },
};

/// How many executions a page has, when the request does not say and at most.
const LIMIT_DEFAULT: usize = 50;
const LIMIT_MAX: usize = 1000;

/// The namespace that a request names; an empty one is `default`.
pub(in crate::frontdoor) fn namespace(name: &str) -> Result<Namespace, Error> {
    Ok(if name.is_empty() { Namespace::default() } else { Namespace::new(name)? })
}

/// The version that a request names; 0 is the newest.
pub(in crate::frontdoor) fn version(version: u32) -> Option<Version> {
    newest_unless(version)
}

/// Reads a request to start an execution.
pub(in crate::frontdoor) fn start_of(
    request: wire_types::StartRequest,
) -> Result<StartRequest, Error> {
    Ok(StartRequest {
        namespace: namespace(&request.namespace)?,
        workflow: check::workflow("workflow", request.workflow)?,
        version: newest_unless(request.version),
        execution: chosen(&request.execution_id)?,
        input: object("input", request.input)?,
        request: check::request_id(request.request_id)?,
        timeout: (request.timeout_ms > 0).then(|| Duration::from_millis(request.timeout_ms)),
        correlation_id: check::correlation_id(request.correlation_id)?,
        tags: check::tags(request.tags)?,
    })
}

/// What became of a start.
pub(in crate::frontdoor) fn started(started: &Started) -> wire_types::StartResponse {
    wire_types::StartResponse {
        execution_id: started.execution.to_string(),
        generation: started.generation,
        run_id: started.run.to_string(),
        started_at: Some(timestamp(started.began)),
        was_running: started.was_running,
    }
}

/// What a person answered; none is an empty object.
pub(in crate::frontdoor) fn answer(
    response: Option<prost_types::Value>,
) -> Result<serde_json::Value, Error> {
    json("response", response)
}

/// An execution with all its steps.
pub(in crate::frontdoor) fn description(it: &Description) -> wire_types::DescribeResponse {
    let steps = it.blueprint.steps().iter().map(|step| step_state(it, &step.name));
    wire_types::DescribeResponse {
        execution: Some(execution(&it.state, &it.blueprint)),
        input: Some(wire_object(&it.input)),
        steps: steps.collect(),
        notes: it.notes.clone(),
    }
}

/// How an execution ended.
pub(in crate::frontdoor) fn ending(it: &Ending, started: &Started) -> wire_types::ExecuteResponse {
    let output = |(step, value): (&StepName, &Json)| (step.to_string(), wire(value));
    let fields = it.outputs.iter().map(output).collect();
    wire_types::ExecuteResponse {
        execution: Some(execution(&it.state, &it.blueprint)),
        outputs: Some(prost_types::Struct { fields }),
        was_running: started.was_running,
    }
}

/// An execution that was started, and of whose end nothing is known.
pub(in crate::frontdoor) fn begun(
    started: &Started,
    workflow: String,
) -> wire_types::ExecuteResponse {
    let execution = wire_types::Execution {
        execution_id: started.execution.to_string(),
        generation: started.generation,
        run_id: started.run.to_string(),
        workflow,
        status: wire_types::Status::Running.into(),
        started_at: Some(timestamp(started.began)),
        ..wire_types::Execution::default()
    };
    wire_types::ExecuteResponse {
        execution: Some(execution),
        outputs: Some(prost_types::Struct::default()),
        was_running: started.was_running,
    }
}

fn execution(state: &State, blueprint: &Blueprint) -> wire_types::Execution {
    let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    wire_types::Execution {
        execution_id: state.execution.to_string(),
        generation: state.generation,
        run_id: state.run.to_string(),
        workflow: state.blueprint.name.clone(),
        version: state.blueprint.version,
        status: wire_status(Standing::of(state)).into(),
        started_at: Some(timestamp(state.started)),
        closed_at: state.closed.map(timestamp),
        steps_total: number(blueprint.steps().len()),
        steps_done: number(state.steps_over(blueprint.steps().len())),
        error: state.status.ending().map(failure),
        correlation_id: state.correlation_id.clone(),
        tags: state.tags.clone(),
        resumed_run_id: state.resumed.as_ref().map(|it| it.run.to_string()).unwrap_or_default(),
        failed_step: state.status.failed_step().map(ToString::to_string).unwrap_or_default(),
    }
}

fn listed(record: Record) -> wire_types::Execution {
    wire_types::Execution {
        execution_id: record.execution.to_string(),
        generation: record.generation,
        run_id: record.run.to_string(),
        workflow: record.workflow,
        version: record.version,
        status: wire_status(record.status).into(),
        started_at: Some(timestamp(record.started)),
        closed_at: record.closed.map(timestamp),
        steps_total: record.steps.0,
        steps_done: record.steps.1,
        error: record.error.map(failure),
        correlation_id: record.correlation_id,
        tags: record.tags,
        resumed_run_id: record.resumes.map(|run| run.to_string()).unwrap_or_default(),
        failed_step: String::new(),
    }
}

fn wire_status(standing: Standing) -> wire_types::Status {
    match standing {
        Standing::Running => wire_types::Status::Running,
        Standing::Sleeping => wire_types::Status::Sleeping,
        Standing::WaitingForApproval => wire_types::Status::WaitingForApproval,
        Standing::Completed => wire_types::Status::Completed,
        Standing::Failed => wire_types::Status::Failed,
        Standing::Cancelled => wire_types::Status::Cancelled,
        Standing::TimedOut => wire_types::Status::TimedOut,
    }
}

fn failure(failure: Failure) -> wire_types::Failure {
    let Failure { kind, message, stacktrace } = failure;
    wire_types::Failure { kind, message, stacktrace }
}

fn step_state(it: &Description, step: &StepName) -> wire_types::StepState {
    let Description { state, outputs, data, .. } = it;
    let decided_by = state.chosen.get(step).or_else(|| state.skipped.get(step)?.as_ref());
    let named = wire_types::StepState {
        name: step.to_string(),
        decided_by: decided_by.map(ToString::to_string).unwrap_or_default(),
        ..Default::default()
    };
    if let Some(done) = state.done.get(step) {
        let (began, ended) = state.times(done);
        let caught = state.caught.get(step);
        return wire_types::StepState {
            phase: if caught.is_some() { "failed" } else { "completed" }.to_owned(),
            attempt: done.attempt(),
            iteration: done.iteration(),
            started_at: Some(timestamp(began)),
            completed_at: Some(timestamp(ended)),
            value: outputs.get(step).map(|output| wire(output)),
            error: caught.cloned().map(failure),
            ..named
        };
    }
    let Some(open) = state.open.get(step) else {
        let is_skipped = state.skipped.contains_key(step);
        let phase = if is_skipped { "skipped" } else { "waiting" }.to_owned();
        return wire_types::StepState { phase, ..named };
    };
    let named = wire_types::StepState {
        attempt: open.attempt,
        iteration: open.iteration,
        started_at: open.started.map(timestamp),
        value: data.get(step).map(|data| wire(data)),
        error: open.last_failure.clone().map(failure),
        ..named
    };
    if state.is_closed() { ended_open(state, step, named) } else { under_way(&open.phase, named) }
}

/// A step that was open when its execution closed: the one that failed, or one that was cut short.
fn ended_open(
    state: &State,
    step: &StepName,
    named: wire_types::StepState,
) -> wire_types::StepState {
    let (phase, error) = match &state.status {
        Status::Failed { step: failed, error } if failed == step => ("failed", Some(error.clone())),
        Status::Failed { .. }
        | Status::Running
        | Status::Completed
        | Status::Cancelled { .. }
        | Status::TimedOut { .. } => ("cancelled", None),
    };
    let completed_at = state.closed.map(timestamp);
    wire_types::StepState {
        phase: phase.to_owned(),
        completed_at,
        error: error.map(failure),
        ..named
    }
}

fn under_way(phase: &Phase, named: wire_types::StepState) -> wire_types::StepState {
    match phase {
        Phase::Ready { not_before, start_by, .. } => wire_types::StepState {
            phase: "ready".to_owned(),
            due_at: not_before.or(*start_by).map(timestamp),
            ..named
        },
        Phase::Leased { worker, until, .. } => wire_types::StepState {
            phase: "leased".to_owned(),
            worker: worker.clone(),
            due_at: Some(timestamp(*until)),
            ..named
        },
        Phase::Sleeping { until, .. } => wire_types::StepState {
            phase: "sleeping".to_owned(),
            due_at: Some(timestamp(*until)),
            ..named
        },
        Phase::Approval { approval_type, due, .. } => wire_types::StepState {
            phase: "approval".to_owned(),
            approval_type: approval_type.clone(),
            due_at: due.map(timestamp),
            ..named
        },
    }
}

/// The events of one commit, as the log holds them.
pub(in crate::frontdoor) fn history(commit: &Commit) -> Vec<wire_types::HistoryResponse> {
    let entry = |event| wire_types::HistoryResponse {
        seq: commit.seq,
        time: Some(timestamp(commit.time)),
        by: commit.by.clone(),
        event_json: serde_json::to_string(event).expect("BUG: an event does not serialize"),
    };
    commit.events.iter().map(entry).collect()
}

/// One object of a log.
pub(in crate::frontdoor) fn log_entry((key, commit): (String, Bytes)) -> wire_types::LogResponse {
    wire_types::LogResponse { key, commit: commit.into() }
}

/// Reads which executions to list, from where, and how many.
pub(in crate::frontdoor) fn filter(
    request: wire_types::ListRequest,
) -> Result<(Filter, usize, usize), Error> {
    let given = request.status;
    let status = wire_types::Status::try_from(given)
        .map_err(|_| invalid(format!("`status` {given} is none of lazarus.v1.Status")))?;
    let workflow = match request.workflow {
        name if name.is_empty() => None,
        name => Some(check::workflow("workflow", name)?),
    };
    let limit = match usize::try_from(request.limit) {
        Ok(0) => LIMIT_DEFAULT,
        Ok(limit) => limit.min(LIMIT_MAX),
        Err(_) => LIMIT_MAX,
    };
    let standings = standing(status).into_iter().collect();
    let offset = usize::try_from(request.offset).unwrap_or(usize::MAX);
    Ok((Filter { workflow, standings }, offset, limit))
}

fn standing(status: wire_types::Status) -> Option<Standing> {
    match status {
        wire_types::Status::Unspecified => None,
        wire_types::Status::Running => Some(Standing::Running),
        wire_types::Status::Sleeping => Some(Standing::Sleeping),
        wire_types::Status::WaitingForApproval => Some(Standing::WaitingForApproval),
        wire_types::Status::Completed => Some(Standing::Completed),
        wire_types::Status::Failed => Some(Standing::Failed),
        wire_types::Status::Cancelled => Some(Standing::Cancelled),
        wire_types::Status::TimedOut => Some(Standing::TimedOut),
    }
}

/// One page of a list.
pub(in crate::frontdoor) fn page(page: Page) -> wire_types::ListResponse {
    wire_types::ListResponse {
        executions: page.records.into_iter().map(listed).collect(),
        total: u32::try_from(page.total).unwrap_or(u32::MAX),
        has_more: page.has_more,
    }
}

/// A run that was taken out of the way.
pub(in crate::frontdoor) fn dead_run(run: DeadRun) -> wire_types::DeadRun {
    let DeadRun { handle, reason, since } = run;
    wire_types::DeadRun { handle, reason, since: Some(timestamp(since)) }
}

/// Reads a request to resume.
pub(in crate::frontdoor) fn resume_of(
    request: wire_types::ResumeRequest,
) -> Result<ResumeRequest, Error> {
    Ok(ResumeRequest {
        namespace: namespace(&request.namespace)?,
        execution: check::execution_id(&request.execution_id)?,
        keeps_results: !request.from_start,
        by: check::who(request.by)?,
        request: check::request_id(request.request_id)?,
    })
}

/// What became of a request to resume.
pub(in crate::frontdoor) fn resumed_as(started: &Started) -> wire_types::ResumeResponse {
    wire_types::ResumeResponse {
        generation: started.generation,
        run_id: started.run.to_string(),
        started_at: Some(timestamp(started.began)),
        was_running: started.was_running,
    }
}

/// How long a request that does not say waits for an execution.
const WAIT_DEFAULT: Duration = Duration::from_secs(30);
/// How long it waits at most: proxies cut off calls that are silent for longer.
const WAIT_MAX: Duration = Duration::from_mins(1);

/// How long a request waits.
pub(in crate::frontdoor) fn how_long(timeout_ms: u64) -> Duration {
    if timeout_ms == 0 { WAIT_DEFAULT } else { Duration::from_millis(timeout_ms).min(WAIT_MAX) }
}

/// The run that a request waits for; none: the newest.
pub(in crate::frontdoor) fn run_waited_for(
    request: &WaitRequest,
) -> Result<Option<(Generation, RunId)>, Error> {
    if request.run_id.is_empty() {
        return Ok(None);
    }
    Ok(Some((request.generation, check::run_id(&request.run_id)?)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{super::given, *};
    use crate::workflow::Event;

    fn phases(commits: &[&[Event]]) -> Vec<String> {
        let described = description(&given::run(commits));
        described.steps.into_iter().map(|step| format!("{} {}", step.name, step.phase)).collect()
    }

    #[expect(clippy::unnecessary_wraps, reason = "the form that the message's field has")]
    fn seconds(seconds: i64) -> Option<prost_types::Timestamp> {
        Some(prost_types::Timestamp { seconds, nanos: 0 })
    }

    #[test]
    fn every_step_says_what_it_is_waiting_for() {
        let leased = given::leased("charge");
        let ready = Event::StepScheduled {
            step: "charge".into(),
            iteration: 1,
            attempt: 1,
            not_before: None,
            start_by: None,
        };
        assert_eq!(phases(&[]), ["charge waiting", "ship waiting"]);
        assert_eq!(phases(&[&[ready]]), ["charge ready", "ship waiting"]);
        assert_eq!(phases(&[&leased]), ["charge leased", "ship waiting"]);
        let sleeping = given::sleeping("charge");
        assert_eq!(phases(&[&leased, &[sleeping]]), ["charge sleeping", "ship waiting"]);
        let asking = given::asking("charge");
        assert_eq!(phases(&[&leased, &[asking]]), ["charge approval", "ship waiting"]);
        let failed = given::failed("charge");
        assert_eq!(phases(&[&leased, &failed]), ["charge failed", "ship waiting"]);
        let cancelled = given::cancelled("");
        assert_eq!(phases(&[&leased, &[cancelled]]), ["charge cancelled", "ship waiting"]);
        let completed = given::completed("charge", &json!(1));
        assert_eq!(phases(&[&leased, &[completed]]), ["charge completed", "ship waiting"]);
    }

    #[test]
    fn a_description_tells_all_there_is() {
        let mut run = given::run(&[&given::leased("charge"), &[given::asking("charge")]]);
        run.data.insert("charge".into(), Json::new(json!({"sum": 7.0})));
        run.notes.push("approve step `charge`".to_owned());
        let described = description(&run);
        assert_eq!(described.notes, ["approve step `charge`"]);
        assert_eq!(
            described.steps[0],
            wire_types::StepState {
                name: "charge".to_owned(),
                phase: "approval".to_owned(),
                attempt: 1,
                worker: String::new(),
                started_at: seconds(1001),
                completed_at: None,
                due_at: seconds(1062),
                value: Some(wire(&json!({"sum": 7.0}))),
                error: None,
                approval_type: "legal".to_owned(),
                iteration: 1,
                decided_by: String::new(),
            }
        );
        let execution = described.execution.unwrap();
        assert_eq!(execution.status(), wire_types::Status::WaitingForApproval);
        assert_eq!(execution.run_id, "000000000000000000000000000000aa");
        assert_eq!((execution.version, execution.steps_total, execution.steps_done), (3, 2, 0));
    }

    #[test]
    fn an_event_is_told_as_the_log_holds_it() {
        let commit = Commit {
            run: RunId::from_random(0xaa),
            seq: 4,
            cid: 1,
            prev: None,
            time: crate::workflow::Timestamp::from_millis(2_000),
            by: "a/1".to_owned(),
            requests: vec![],
            events: vec![Event::ExecutionCompleted],
            snapshots: crate::log::Snapshots::NONE,
            snapshot: None,
            sum: crate::log::Sum::of(b""),
        };
        assert_eq!(
            history(&commit),
            [wire_types::HistoryResponse {
                seq: 4,
                time: seconds(2),
                by: "a/1".to_owned(),
                event_json: "{\"k\":\"execution_completed\"}".to_owned(),
            }]
        );
    }

    #[test]
    fn a_list_has_a_limit_and_an_empty_filter_is_none() {
        let (asked, offset, limit) = filter(wire_types::ListRequest::default()).unwrap();
        assert_eq!((asked.workflow, asked.standings), (None, vec![]));
        assert_eq!((offset, limit), (0, 50));
        let greedy = wire_types::ListRequest { limit: 5000, offset: 3, ..Default::default() };
        let (_, offset, limit) = filter(greedy).unwrap();
        assert_eq!((offset, limit), (3, 1000));
        let unknown = wire_types::ListRequest { status: 99, ..Default::default() };
        assert_eq!(
            filter(unknown).unwrap_err().to_string(),
            "`status` 99 is none of lazarus.v1.Status"
        );
    }
}
