//! `lazarus dead list|retry`: runs that were taken out of the way.

use anstyle::Style;
use clap::{Args as Arguments, Subcommand};
use serde_json::json;

use super::{
    clock,
    connect::{Session, Target},
    exit::Failure,
    output::{self, BAD, BOLD, Table},
};
use crate::proto::lazarus::{ListDeadRequest, RetryDeadRequest};

/// Look at runs that can not go on, and put them back
///
/// A run whose log is corrupt, or on which the engine fails again and again, is put aside after 20
/// tries, so that it costs nothing and hides nothing.
#[derive(Debug, Arguments)]
#[command(after_help = "Examples:
  lazarus dead list
  lazarus dead retry HANDLE")]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    pub(super) target: Target,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List them
    List {
        /// Print JSON, one run per line
        #[arg(long)]
        json: bool,
    },
    /// Put one back to be tried again
    Retry {
        /// Its handle, from `lazarus dead list`
        handle: String,
    },
}

/// Does it.
pub(super) async fn run(session: &Session, args: &Args) -> Result<(), Failure> {
    match &args.command {
        Command::List { json } => list(session, *json).await,
        Command::Retry { handle } => retry(session, handle).await,
    }
}

async fn list(session: &Session, json: bool) -> Result<(), Failure> {
    let answer = session
        .call(async || Ok(session.executions().list_dead(ListDeadRequest {}).await?.into_inner()))
        .await?;
    if !json && answer.runs.is_empty() {
        output::note("none");
        return Ok(());
    }
    let mut table = Table::new(&["HANDLE", "SINCE", "REASON"]);
    for run in answer.runs {
        let since = run.since.map(clock::from_wire);
        if json {
            let since = since.map(clock::machine);
            output::line(json!({"handle": run.handle, "since": since, "reason": run.reason}))?;
            continue;
        }
        let since = since.map(clock::date_and_time).unwrap_or_default();
        table.row(vec![(run.handle, BOLD), (since, Style::new()), (run.reason, BAD)]);
    }
    if json { Ok(()) } else { table.print() }
}

async fn retry(session: &Session, handle: &str) -> Result<(), Failure> {
    let request = RetryDeadRequest { handle: handle.to_owned() };
    session.call(async || session.executions().retry_dead(request.clone()).await).await?;
    output::line(format_args!("{handle} is tried again"))
}
