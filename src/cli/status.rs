//! `lazarus status`: where an execution stands; and waiting for its end.

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
    self as wire, DescribeRequest, DescribeResponse, Execution, Status, StepState, WaitRequest,
};

/// Show where an execution stands
#[derive(Debug, Arguments)]
#[command(after_help = "Examples:
  lazarus status order-7
  lazarus status order-7 --json | jq .steps

Steps over are those that completed, those whose failure a rule caught, and those that rules skipped.")]
pub(super) struct Args {
    /// The execution's id
    id: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    pub(super) target: Target,
}

/// How long one request waits for the end of an execution; then it is asked again.
const WAIT_MS: u64 = 15_000;

/// Shows it.
pub(super) async fn run(session: &Session, args: &Args) -> Result<(), Failure> {
    let described = describe(session, &args.id).await?;
    show(described, args.json)
}

/// Waits until the execution is closed, then shows it; refused unless it completed.
pub(super) async fn wait(session: &Session, id: &str, json: bool) -> Result<(), Failure> {
    let request = WaitRequest {
        namespace: session.namespace.clone(),
        execution_id: id.to_owned(),
        timeout_ms: WAIT_MS,
        ..WaitRequest::default()
    };
    loop {
        let described = session
            .call(async || Ok(session.executions().wait(request.clone()).await?.into_inner()))
            .await?;
        let status = status_of(described.execution.as_ref());
        if is_closed(status) {
            show(described, json)?;
            return ended(id, status);
        }
    }
}

fn ended(id: &str, status: Status) -> Result<(), Failure> {
    if status == Status::Completed {
        return Ok(());
    }
    Err(Failure::refused(
        format_args!("{id} is {}", word(status)),
        format_args!(
            "see why with `lazarus history {id}`; `lazarus resume {id}` goes on where it stood"
        ),
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
    let skipped = steps.iter().filter(|step| step.phase == SKIPPED).count();
    output::line(heading(&execution, skipped))?;
    if !execution.resumed_run_id.is_empty() {
        output::line(resumes(&execution))?;
    }
    if let Some(error) = &execution.error {
        output::line(format_args!("{} {}: {}", painted(BAD, "error:"), error.kind, error.message))?;
    }
    for note in notes {
        output::line(format_args!("{} {note}", painted(CARE, "note:")))?;
    }
    let mut table = Table::new(&["STEP", "PHASE", "ATTEMPT", "WORKER", "DUE", "VALUE"]);
    for step in steps {
        table.row(step_row(step, &execution));
    }
    table.print()
}

/// The phase of a step that will not run.
const SKIPPED: &str = "skipped";

/// Steps that are skipped are over as well as those that are done.
fn heading(execution: &Execution, skipped: usize) -> String {
    let skipped = if skipped == 0 { String::new() } else { format!(" ({skipped} skipped)") };
    let status = status_of(Some(execution));
    let times = [("started", execution.started_at), ("closed", execution.closed_at)];
    let times = times.iter().filter_map(|(word, time)| {
        Some(format!(", {word} {}", clock::date_and_time(clock::from_wire((*time)?))))
    });
    format!(
        "{}  {} version {}  {}  {} of {} steps{skipped}{}",
        painted(BOLD, &execution.execution_id),
        execution.workflow,
        execution.version,
        painted(style(status), word(status)),
        execution.steps_done,
        execution.steps_total,
        times.collect::<String>(),
    )
}

fn resumes(execution: &Execution) -> String {
    let Execution { generation, resumed_run_id, .. } = execution;
    painted(DIM, format_args!("generation {generation}, resumes run {resumed_run_id}"))
}

fn step_row(step: StepState, execution: &Execution) -> Vec<(String, Style)> {
    let is_caught = is_caught(&step, execution);
    let style = match step.phase.as_str() {
        "completed" => GOOD,
        "failed" if !is_caught => BAD,
        "failed" | "sleeping" | "approval" => CARE,
        "waiting" | SKIPPED => DIM,
        _ => Style::new(),
    };
    let due = step.due_at.map(clock::from_wire).map(clock::date_and_time).unwrap_or_default();
    let attempt = match (step.attempt, step.iteration) {
        (0, _) => String::new(),
        (attempt, 0 | 1) => attempt.to_string(),
        (attempt, iteration) => format!("{attempt} of iteration {iteration}"),
    };
    let look = if step.phase == SKIPPED { DIM } else { Style::new() };
    let (name, phase, worker) = (step.name.clone(), step.phase.clone(), step.worker.clone());
    let cells = [attempt, worker, due, remark(step, is_caught)];
    [(name, BOLD), (phase, style)].into_iter().chain(cells.map(|text| (text, look))).collect()
}

/// Whether the failure of a step was caught by a rule: the execution goes on, or ended otherwise.
fn is_caught(step: &StepState, execution: &Execution) -> bool {
    step.phase == "failed" && execution.failed_step != step.name
}

/// What a step has come to: its value, its failure, or why it does not run.
fn remark(step: StepState, is_caught: bool) -> String {
    let StepState { phase, value, error, decided_by, .. } = step;
    let failure = error.map(|error| {
        let message = error.message.lines().next().unwrap_or_default();
        format!("{}: {message}", error.kind)
    });
    let value = value.map(|value| shortened(&json::from_wire(value).to_string()));
    match (phase.as_str(), failure) {
        (SKIPPED, _) if decided_by.is_empty() => "chosen by no rule".to_owned(),
        (SKIPPED, _) => format!("by {decided_by}'s rule"),
        ("failed", Some(failure)) if is_caught => format!("{failure} (a rule goes on)"),
        ("failed", Some(failure)) => failure,
        (_, Some(failure)) if value.is_none() => format!("last attempt: {failure}"),
        (_, Some(_) | None) => value.unwrap_or_default(),
    }
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
        "resumed_run_id": given(&execution.resumed_run_id),
    })
}

fn step_json(step: StepState) -> Value {
    let time =
        |time: Option<prost_types::Timestamp>| time.map(clock::from_wire).map(clock::machine);
    json!({
        "name": step.name,
        "phase": step.phase,
        "iteration": step.iteration,
        "attempt": step.attempt,
        "worker": step.worker,
        "started_at": time(step.started_at),
        "completed_at": time(step.completed_at),
        "due_at": time(step.due_at),
        "value": step.value.map(json::from_wire),
        "error": step.error.as_ref().map(failure_json),
        "approval_type": step.approval_type,
        "decided_by": given(&step.decided_by),
    })
}

/// A name that may be absent: null then, and not a name without letters.
fn given(name: &str) -> Option<&str> {
    (!name.is_empty()).then_some(name)
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
            strip_str(&heading(&execution, 0)).to_string(),
            "order-7  orders version 2  sleeping  1 of 3 steps, started 2025-11-24 16:00:00 UTC"
        );
        let over = Execution { steps_done: 3, started_at: None, ..execution.clone() };
        assert_eq!(
            strip_str(&heading(&over, 2)).to_string(),
            "order-7  orders version 2  sleeping  3 of 3 steps (2 skipped)"
        );
        assert_eq!(execution_json(&execution)["started_at"], "2025-11-24T16:00:00.000Z");
    }

    #[test]
    fn a_run_that_resumes_another_says_so() {
        let execution =
            Execution { generation: 2, resumed_run_id: "ab".to_owned(), ..Execution::default() };
        assert_eq!(strip_str(&resumes(&execution)).to_string(), "generation 2, resumes run ab");
        assert_eq!(execution_json(&execution)["resumed_run_id"], "ab");
        assert_eq!(execution_json(&Execution::default())["resumed_run_id"], Value::Null);
    }

    fn step(phase: &str) -> StepState {
        StepState {
            name: "charge".to_owned(),
            phase: phase.to_owned(),
            attempt: 1,
            iteration: 1,
            ..StepState::default()
        }
    }

    fn failure(message: &str) -> wire::Failure {
        let (kind, message) = ("ValueError".to_owned(), message.to_owned());
        wire::Failure { kind, message, stacktrace: String::new() }
    }

    /// The cells of a step that say something, without the step's name.
    fn row(step: StepState, execution: &Execution) -> Vec<String> {
        let cells = step_row(step, execution).into_iter().map(|(text, _)| text);
        cells.skip(1).filter(|text| !text.is_empty()).collect()
    }

    #[test]
    fn a_step_says_in_which_iteration_it_is_when_rules_went_back() {
        let execution = Execution::default();
        assert_eq!(row(step("leased"), &execution), ["leased", "1"]);
        let again = StepState { iteration: 3, attempt: 2, ..step("leased") };
        assert_eq!(row(again, &execution), ["leased", "2 of iteration 3"]);
    }

    #[test]
    fn a_step_that_is_skipped_says_by_which_rule() {
        let skipped = StepState { attempt: 0, iteration: 0, ..step("skipped") };
        let by = StepState { decided_by: "check".to_owned(), ..skipped.clone() };
        let execution = Execution::default();
        assert_eq!(row(skipped.clone(), &execution), ["skipped", "chosen by no rule"]);
        assert_eq!(row(by, &execution), ["skipped", "by check's rule"]);
        assert!(step_row(skipped, &execution).iter().skip(1).all(|(_, style)| *style == DIM));
    }

    #[test]
    fn a_failure_that_a_rule_caught_differs_from_the_end() {
        let failed = StepState { error: Some(failure("no card\nline 3")), ..step("failed") };
        let end = Execution {
            status: Status::Failed.into(),
            failed_step: failed.name.clone(),
            ..Execution::default()
        };
        let goes_on = Execution { status: Status::Running.into(), ..Execution::default() };
        let other = Execution { failed_step: "another".to_owned(), ..end.clone() };
        let told = ["failed", "1", "ValueError: no card"];
        let caught = ["failed", "1", "ValueError: no card (a rule goes on)"];
        assert_eq!(row(failed.clone(), &end), told);
        assert_eq!(row(failed.clone(), &goes_on), caught);
        assert_eq!(row(failed, &other), caught);
    }

    #[test]
    fn a_step_that_is_tried_again_says_why_the_last_attempt_failed() {
        let again = StepState { attempt: 2, error: Some(failure("no card")), ..step("ready") };
        let told = ["ready", "2", "last attempt: ValueError: no card"];
        assert_eq!(row(again.clone(), &Execution::default()), told);
        let value = Some(json::to_wire(json!({"until": 7})));
        let asleep = StepState { phase: "sleeping".to_owned(), value, ..again };
        assert_eq!(row(asleep, &Execution::default()), ["sleeping", "2", "{\"until\":7}"]);
    }

    #[test]
    fn a_step_as_json_has_every_field_of_the_interface() {
        let json = step_json(StepState { decided_by: "check".to_owned(), ..step("waiting") });
        let fields: Vec<&str> = json.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(
            fields,
            [
                "approval_type",
                "attempt",
                "completed_at",
                "decided_by",
                "due_at",
                "error",
                "iteration",
                "name",
                "phase",
                "started_at",
                "value",
                "worker",
            ]
        );
        assert_eq!((&json["decided_by"], &json["iteration"]), (&json!("check"), &json!(1)));
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
