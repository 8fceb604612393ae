//! `lazarus approve`, `reject` and `cancel`: what people decide about an execution that is open.

use clap::Args as Arguments;

use super::{
    connect::{Session, Target},
    exit::Failure,
    json, output,
};
use crate::proto::lazarus::{ApproveRequest, CancelRequest, RejectRequest};

/// Who decides, as the history names them.
#[derive(Debug, Arguments)]
pub(super) struct By {
    /// Who decides, for the history [default: cli]
    #[arg(
        long = "by",
        env = "USER",
        hide_env_values = true,
        id = "by",
        value_name = "NAME",
        default_value = "cli",
        hide_default_value = true
    )]
    pub(super) name: String,
}

/// Approve the step that waits for it
///
/// The answer becomes the output of the step, which is then over; with --run-again the step runs once
/// more and has the answer as its `inputs`, in the place of the workflow's.
#[derive(Debug, Arguments)]
#[command(after_help = "Examples:
  lazarus approve order-7
  lazarus approve order-7 --step check --data '{\"limit\": 500}'
  lazarus approve order-7 --data '{\"approved\": true}' --run-again

With --run-again, write the step so that it looks into its `inputs` first, and asks only where no answer
is there: one that always asks asks again.")]
pub(super) struct Approve {
    /// The execution's id
    id: String,
    /// The step; needed only where several wait
    #[arg(long)]
    step: Option<String>,
    /// The answer, which is the step's output: JSON, @FILE, or - for standard input
    #[arg(long, value_name = "JSON", default_value = "{}")]
    data: String,
    /// Run the step again with the answer as its `inputs`, instead of taking it as the output
    #[arg(long)]
    run_again: bool,
    #[command(flatten)]
    by: By,
    #[command(flatten)]
    pub(super) target: Target,
}

/// Reject the step that waits for approval: it fails, and with it the execution unless a rule goes on
#[derive(Debug, Arguments)]
#[command(after_help = "Example:
  lazarus reject order-7 --reason 'over the limit'")]
pub(super) struct Reject {
    /// The execution's id
    id: String,
    /// The step; needed only where several wait
    #[arg(long)]
    step: Option<String>,
    /// Why
    #[arg(long, default_value = "")]
    reason: String,
    #[command(flatten)]
    by: By,
    #[command(flatten)]
    pub(super) target: Target,
}

/// Cancel an execution: it is closed at once
///
/// A worker that is at one of its steps keeps working; its result is refused.
#[derive(Debug, Arguments)]
#[command(after_help = "Example:
  lazarus cancel order-7 --reason 'ordered twice'")]
pub(super) struct Cancel {
    /// The execution's id
    id: String,
    /// Why
    #[arg(long, default_value = "")]
    reason: String,
    #[command(flatten)]
    by: By,
    #[command(flatten)]
    pub(super) target: Target,
}

/// Approves.
pub(super) async fn approve(session: &Session, args: &Approve) -> Result<(), Failure> {
    let request = ApproveRequest {
        namespace: session.namespace.clone(),
        execution_id: args.id.clone(),
        step: args.step.clone().unwrap_or_default(),
        response: Some(json::to_wire(json::read("--data", &args.data)?)),
        by: args.by.name.clone(),
        request_id: session.request_id(),
        run_again: args.run_again,
    };
    session.call(async || session.executions().approve(request.clone()).await).await?;
    let how = if args.run_again { "answered; the step runs again" } else { "approved" };
    output::line(format_args!("{} {how}", args.id))
}

/// Rejects.
pub(super) async fn reject(session: &Session, args: &Reject) -> Result<(), Failure> {
    let request = RejectRequest {
        namespace: session.namespace.clone(),
        execution_id: args.id.clone(),
        step: args.step.clone().unwrap_or_default(),
        reason: args.reason.clone(),
        by: args.by.name.clone(),
        request_id: session.request_id(),
    };
    session.call(async || session.executions().reject(request.clone()).await).await?;
    output::line(format_args!("{} rejected", args.id))
}

/// Cancels.
pub(super) async fn cancel(session: &Session, args: &Cancel) -> Result<(), Failure> {
    let request = CancelRequest {
        namespace: session.namespace.clone(),
        execution_id: args.id.clone(),
        reason: args.reason.clone(),
        by: args.by.name.clone(),
        request_id: session.request_id(),
    };
    session.call(async || session.executions().cancel(request.clone()).await).await?;
    output::line(format_args!("{} cancelled", args.id))
}
