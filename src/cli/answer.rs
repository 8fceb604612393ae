//! `lazarus approve`, `reject` and `cancel`: what people decide about an execution.

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
        long,
        env = "USER",
        hide_env_values = true,
        value_name = "NAME",
        default_value = "cli",
        hide_default_value = true
    )]
    by: String,
}

/// Approve the step that waits for it
#[derive(Debug, Arguments)]
#[command(after_help = "Examples:
  lazarus approve order-7
  lazarus approve order-7 --step check --data '{\"limit\": 500}'")]
pub(super) struct Approve {
    /// The execution's id
    id: String,
    /// The step; needed only where several wait
    #[arg(long)]
    step: Option<String>,
    /// What the step gives as its output: JSON, @FILE, or - for standard input
    #[arg(long, value_name = "JSON", default_value = "{}")]
    data: String,
    #[command(flatten)]
    by: By,
    #[command(flatten)]
    pub(super) target: Target,
}

/// Reject the step that waits for approval: it fails, and with it the execution
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
        by: args.by.by.clone(),
        request_id: session.request_id(),
        run_again: false,
    };
    session.call(async || session.executions().approve(request.clone()).await).await?;
    output::line(format_args!("{} approved", args.id))
}

/// Rejects.
pub(super) async fn reject(session: &Session, args: &Reject) -> Result<(), Failure> {
    let request = RejectRequest {
        namespace: session.namespace.clone(),
        execution_id: args.id.clone(),
        step: args.step.clone().unwrap_or_default(),
        reason: args.reason.clone(),
        by: args.by.by.clone(),
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
        by: args.by.by.clone(),
        request_id: session.request_id(),
    };
    session.call(async || session.executions().cancel(request.clone()).await).await?;
    output::line(format_args!("{} cancelled", args.id))
}
