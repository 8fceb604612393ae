//! `lazarus start`

use std::time::Duration;

use clap::Args as Arguments;
use serde_json::json;

use super::{
    clock,
    connect::{Session, Target},
    exit::Failure,
    json, output, status,
};
use crate::{
    config::duration,
    proto::lazarus::{StartRequest, StartResponse},
};

/// Start an execution of a workflow
///
/// With --id, starting an id that is open answers the open execution and starts nothing. Without,
/// an id is made.
#[derive(Debug, Arguments)]
#[command(after_help = "Examples:
  lazarus start orders --input '{\"order\": 7}'
  lazarus start orders --input @order.json --id order-7 --wait
  lazarus start orders --store s3://my-bucket/prod     (no server needed)")]
pub(super) struct Args {
    /// The workflow's name
    name: String,
    /// The workflow's inputs: a JSON object, @FILE, or - for standard input
    #[arg(long, value_name = "JSON", default_value = "{}")]
    input: String,
    /// The execution's id, unique among those that are open
    #[arg(long)]
    id: Option<String>,
    /// The version of the workflow [default: the newest]
    #[arg(long = "version", value_name = "N")]
    number: Option<u32>,
    /// How long the execution may take [default: for ever]
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    timeout: Option<Duration>,
    /// A label; may be given several times
    #[arg(long = "tag", value_name = "LABEL")]
    tags: Vec<String>,
    /// Wait until it is closed, then show it; exit code 1 unless it completed
    #[arg(long)]
    wait: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    pub(super) target: Target,
}

/// Starts it, and waits if asked to.
pub(super) async fn run(session: &Session, args: &Args) -> Result<(), Failure> {
    let request = request(session, args)?;
    let started = session
        .call(async || Ok(session.executions().start(request.clone()).await?.into_inner()))
        .await?;
    if !args.wait {
        return show(args, &started);
    }
    if !args.json {
        output::note(format_args!("{} is under way ...", started.execution_id));
    }
    status::wait(session, &started.execution_id, args.json).await
}

fn request(session: &Session, args: &Args) -> Result<StartRequest, Failure> {
    let input = json::object("--input", json::read("--input", &args.input)?)?;
    if args.id.as_deref() == Some("") {
        return Err(Failure::usage(
            "--id is empty",
            "name the execution, or leave --id out to have an id made",
        ));
    }
    Ok(StartRequest {
        namespace: session.namespace.clone(),
        workflow: args.name.clone(),
        version: args.number.unwrap_or_default(),
        execution_id: args.id.clone().unwrap_or_default(),
        input: Some(input),
        request_id: session.request_id(),
        timeout_ms: json::millis(args.timeout),
        correlation_id: String::new(),
        tags: args.tags.clone(),
    })
}

fn show(args: &Args, started: &StartResponse) -> Result<(), Failure> {
    let StartResponse { execution_id, generation, run_id, started_at, was_running } = started;
    if args.json {
        return output::line(json!({
            "execution_id": execution_id,
            "generation": generation,
            "run_id": run_id,
            "started_at": started_at.map(clock::from_wire).map(clock::machine),
            "was_running": was_running,
        }));
    }
    // The id alone on standard output: `ID=$(lazarus start ...)`.
    output::line(execution_id)?;
    if *was_running {
        output::note("this id was open already: nothing was started");
    }
    output::note(format_args!("watch it: lazarus history --follow {execution_id}"));
    Ok(())
}
