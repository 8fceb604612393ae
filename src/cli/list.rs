//! `lazarus list`

use anstyle::Style;
use clap::{Args as Arguments, ValueEnum};

use super::{
    clock,
    connect::{Session, Target},
    exit::Failure,
    output::{self, BOLD, Table},
    status::{execution_json, status_of, style, word},
};
use crate::proto::lazarus::{Execution, ListRequest, Status};

/// List executions, newest first
///
/// On a shared store the list is some seconds behind; `lazarus status` never is.
#[derive(Debug, Arguments)]
#[command(after_help = "Examples:
  lazarus list
  lazarus list --workflow orders --status failed --limit 200
  lazarus list --json | jq -r .execution_id")]
pub(super) struct Args {
    /// Only executions of this workflow
    #[arg(long, value_name = "NAME")]
    workflow: Option<String>,
    /// Only executions that stand so
    #[arg(long, value_enum)]
    status: Option<Standing>,
    /// How many, at most 1000
    #[arg(long, value_name = "COUNT", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1000))]
    limit: u32,
    /// How many of the newest to pass over
    #[arg(long, value_name = "COUNT", default_value_t = 0)]
    offset: u32,
    /// Print JSON, one execution per line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    pub(super) target: Target,
}

/// The ways to stand that a list can be asked for.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum Standing {
    Running,
    Sleeping,
    WaitingForApproval,
    Completed,
    Failed,
    Cancelled,
    TimedOut,
}

/// Prints the page.
pub(super) async fn run(session: &Session, args: &Args) -> Result<(), Failure> {
    let request = ListRequest {
        namespace: session.namespace.clone(),
        workflow: args.workflow.clone().unwrap_or_default(),
        status: args.status.map_or(Status::Unspecified, wire).into(),
        limit: args.limit,
        offset: args.offset,
    };
    let page = session
        .call(async || Ok(session.executions().list(request.clone()).await?.into_inner()))
        .await?;
    if args.json {
        return page.executions.iter().map(execution_json).try_for_each(output::line);
    }
    if page.executions.is_empty() {
        output::note("no executions; `lazarus start NAME` makes one");
        return Ok(());
    }
    let mut table = Table::new(&["ID", "WORKFLOW", "STATUS", "STEPS", "STARTED", "ERROR"]);
    for execution in &page.executions {
        table.row(row(execution));
    }
    table.print()?;
    if page.has_more {
        let shown = page.executions.len();
        output::note(format_args!("{shown} of {}; --offset and --limit show others", page.total));
    }
    Ok(())
}

fn wire(standing: Standing) -> Status {
    match standing {
        Standing::Running => Status::Running,
        Standing::Sleeping => Status::Sleeping,
        Standing::WaitingForApproval => Status::WaitingForApproval,
        Standing::Completed => Status::Completed,
        Standing::Failed => Status::Failed,
        Standing::Cancelled => Status::Cancelled,
        Standing::TimedOut => Status::TimedOut,
    }
}

fn row(execution: &Execution) -> Vec<(String, Style)> {
    let status = status_of(Some(execution));
    let started = execution.started_at.map(clock::from_wire).map(clock::date_and_time);
    let error = execution.error.as_ref().map(|error| format!("{}: {}", error.kind, error.message));
    let plain = |text: String| (text, Style::new());
    vec![
        (execution.execution_id.clone(), BOLD),
        plain(format!("{} v{}", execution.workflow, execution.version)),
        (word(status).to_owned(), style(status)),
        plain(format!("{}/{}", execution.steps_done, execution.steps_total)),
        plain(started.unwrap_or_default()),
        plain(error.unwrap_or_default().lines().next().unwrap_or_default().to_owned()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_flag_takes_is_what_the_table_shows() {
        for standing in Standing::value_variants() {
            let flag = standing.to_possible_value().unwrap();
            assert_eq!(flag.get_name(), word(wire(*standing)));
        }
    }
}
