//! `lazarus status`: where an execution stands; and waiting for its end.

use std::time::Duration;

use anstyle::Style;
use clap::Args as Arguments;
use serde_json::{Value, json};

use super::{
    clock,
    connect::{Session, Target},
    exit::Failure,
    json,
    output::{self, BAD, BOLD, CARE, DIM, GOOD, Table, painted},
};
use crate::proto::lazarus::{
    self as wire, DescribeRequest, DescribeResponse, Execution, Status, StepState,
};

/// Show where an execution stands
#[derive(Debug, Arguments)]
#[command(after_help = "Examples:
  lazarus status order-7
  lazarus status order-7 --json | jq .steps")]
pub(super) struct Args {
    /// The execution's id
    id: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    pub(super) target: Target,
}

/// The pause between two looks at an execution that is waited for; doubled up to the longest.
const FIRST_LOOK: Duration = Duration::from_millis(100);
const LOOK_MAX: Duration = Duration::from_secs(2);

/// Shows it.
pub(super) async fn run(session: &Session, args: &Args) -> Result<(), Failure> {
    let described = describe(session, &args.id).await?;
    show(described, args.json)
}

/// Waits until the execution is closed, then shows it; refused unless it completed.
pub(super) async fn wait(session: &Session, id: &str, json: bool) -> Result<(), Failure> {
    let mut pause = FIRST_LOOK;
    loop {
        let described = describe(session, id).await?;
        let status = status_of(described.execution.as_ref());
        if is_closed(status) {
            show(described, json)?;
            return ended(id, status);
        }
        session.env.sleep(pause).await;
        pause = (pause * 2).min(LOOK_MAX);
    }
}

fn ended(id: &str, status: Status) -> Result<(), Failure> {
    if status == Status::Completed {
        return Ok(());
    }
    Err(Failure::refused(
        format_args!("{id} is {}", word(status)),
        format_args!("see why with `lazarus history {id}`"),
    ))
}

async fn describe(session: &Session, id: &str) -> Result<DescribeResponse, Failure> {
    let request =
        DescribeRequest { namespace: session.namespace.clone(), execution_id: id.to_owned() };
    session
        .call(async || Ok(session.executions().describe(request.clone()).await?.into_inner()))
        .await
}

fn show(described: DescribeResponse, json: bool) -> Result<(), Failure> {
    let DescribeResponse { execution, input, steps, notes } = described;
    let execution = execution.unwrap_or_default();
    if json {
        let mut object = execution_json(&execution);
        object["input"] = input.map_or(Value::Null, json::object_from_wire);
        object["steps"] = steps.into_iter().map(step_json).collect();
        object["notes"] = notes.into();
        return output::line(object);
    }
    output::line(heading(&execution))?;
    if let Some(error) = &execution.error {
        output::line(format_args!("{} {}: {}", painted(BAD, "error:"), error.kind, error.message))?;
    }
    for note in notes {
        output::line(format_args!("{} {note}", painted(CARE, "note:")))?;
    }
    let mut table = Table::new(&["STEP", "PHASE", "ATTEMPT", "WORKER", "DUE", "VALUE"]);
    for step in steps {
        table.row(step_row(step));
    }
    table.print()
}

fn heading(execution: &Execution) -> String {
    let status = status_of(Some(execution));
    let times = [("started", execution.started_at), ("closed", execution.closed_at)];
    let times = times.iter().filter_map(|(word, time)| {
        Some(format!(", {word} {}", clock::date_and_time(clock::from_wire((*time)?))))
    });
    format!(
        "{}  {} version {}  {}  {} of {} steps{}",
        painted(BOLD, &execution.execution_id),
        execution.workflow,
        execution.version,
        painted(style(status), word(status)),
        execution.steps_done,
        execution.steps_total,
        times.collect::<String>(),
    )
}

fn step_row(step: StepState) -> Vec<(String, Style)> {
    let style = match step.phase.as_str() {
        "completed" => GOOD,
        "failed" => BAD,
        "sleeping" | "approval" => CARE,
        "waiting" => DIM,
        _ => Style::new(),
    };
    let due = step.due_at.map(clock::from_wire).map(clock::date_and_time).unwrap_or_default();
    let value = match (&step.error, step.value) {
        (Some(error), _) => format!("{}: {}", error.kind, error.message),
        (None, Some(value)) => shortened(&json::from_wire(value).to_string()),
        (None, None) => String::new(),
    };
    let attempt = if step.attempt == 0 { String::new() } else { step.attempt.to_string() };
    [(step.name, BOLD), (step.phase, style)]
        .into_iter()
        .chain([attempt, step.worker, due, value].map(|text| (text, Style::new())))
        .collect()
}

/// Enough of a value to recognise it; `--json` has all of it.
fn shortened(text: &str) -> String {
    const LETTERS: usize = 60;
    match text.char_indices().nth(LETTERS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// An execution as JSON: the fields of `lazarus.v1.Execution`.
pub(super) fn execution_json(execution: &Execution) -> Value {
    let time =
        |time: Option<prost_types::Timestamp>| time.map(clock::from_wire).map(clock::machine);
    json!({
        "execution_id": execution.execution_id,
        "generation": execution.generation,
        "run_id": execution.run_id,
        "workflow": execution.workflow,
        "version": execution.version,
        "status": word(status_of(Some(execution))),
        "started_at": time(execution.started_at),
        "closed_at": time(execution.closed_at),
        "steps_total": execution.steps_total,
        "steps_done": execution.steps_done,
        "error": execution.error.as_ref().map(failure_json),
        "correlation_id": execution.correlation_id,
        "tags": execution.tags,
    })
}

fn step_json(step: StepState) -> Value {
    let time =
        |time: Option<prost_types::Timestamp>| time.map(clock::from_wire).map(clock::machine);
    json!({
        "name": step.name,
        "phase": step.phase,
        "attempt": step.attempt,
        "worker": step.worker,
        "started_at": time(step.started_at),
        "completed_at": time(step.completed_at),
        "due_at": time(step.due_at),
        "value": step.value.map(json::from_wire),
        "error": step.error.as_ref().map(failure_json),
        "approval_type": step.approval_type,
    })
}

fn failure_json(failure: &wire::Failure) -> Value {
    json!({"kind": failure.kind, "message": failure.message, "stacktrace": failure.stacktrace})
}

/// A status of a server that knows more of them than this version counts as none.
pub(super) fn status_of(execution: Option<&Execution>) -> Status {
    execution.map_or(Status::Unspecified, Execution::status)
}

/// The word for a status, which is also what `list --status` takes.
pub(super) fn word(status: Status) -> &'static str {
    match status {
        Status::Unspecified => "unknown",
        Status::Running => "running",
        Status::Sleeping => "sleeping",
        Status::WaitingForApproval => "waiting-for-approval",
        Status::Completed => "completed",
        Status::Failed => "failed",
        Status::Cancelled => "cancelled",
        Status::TimedOut => "timed-out",
    }
}

/// How a status looks.
pub(super) fn style(status: Status) -> Style {
    match status {
        Status::Completed => GOOD,
        Status::Failed | Status::Cancelled | Status::TimedOut => BAD,
        Status::Sleeping | Status::WaitingForApproval => CARE,
        Status::Unspecified | Status::Running => Style::new(),
    }
}

fn is_closed(status: Status) -> bool {
    match status {
        Status::Completed | Status::Failed | Status::Cancelled | Status::TimedOut => true,
        Status::Unspecified | Status::Running | Status::Sleeping | Status::WaitingForApproval => {
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use anstream::adapter::strip_str;

    use super::*;

    #[test]
    fn an_execution_is_headed_by_what_one_asks_first() {
        let execution = Execution {
            execution_id: "order-7".to_owned(),
            workflow: "orders".to_owned(),
            version: 2,
            status: Status::Sleeping.into(),
            started_at: Some(prost_types::Timestamp { seconds: 1_764_000_000, nanos: 0 }),
            steps_total: 3,
            steps_done: 1,
            ..Execution::default()
        };
        assert_eq!(
            strip_str(&heading(&execution)).to_string(),
            "order-7  orders version 2  sleeping  1 of 3 steps, started 2025-11-24 16:00:00 UTC"
        );
        assert_eq!(execution_json(&execution)["started_at"], "2025-11-24T16:00:00.000Z");
    }

    #[test]
    fn a_long_value_is_cut_between_letters() {
        let long = "ü".repeat(61);
        assert_eq!(shortened(&long), format!("{}…", "ü".repeat(60)));
        assert_eq!(shortened("{}"), "{}");
    }

    #[test]
    fn only_a_completed_execution_ends_well() {
        assert!(ended("x", Status::Completed).is_ok());
        let failure = ended("x", Status::TimedOut).unwrap_err();
        assert_eq!((failure.exit.code(), failure.what.as_str()), (1, "x is timed-out"));
    }
}
