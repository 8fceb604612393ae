//! `lazarus resume`: goes on with an execution that closed without completing.

use clap::Args as Arguments;

use super::{
    answer::By,
    connect::{Session, Target},
    exit::Failure,
    output,
};
use crate::proto::lazarus::{ResumeRequest, ResumeResponse};

/// Go on with an execution that failed, was cancelled or ran out of time
///
/// It goes on as a new run under the same id, its next generation, with the same version of the
/// workflow, inputs, timeout and labels; the time of its timeout begins anew. What is written of the
/// run before stays as it is.
#[derive(Debug, Arguments)]
#[command(
    after_help = "Kept are the results of the steps that completed, the failures that a rule caught, and the way that
rules have taken: what was chosen, skipped or gone back to. Whatever was under way begins again: the
step that failed with all its attempts, sleeps with their full time, approvals by asking once more.

Examples:
  lazarus resume order-7                  the steps that completed do not run again
  lazarus resume order-7 --from-start     nothing is kept but the inputs; everything runs again
  lazarus resume order-7 --by ana         who did it, for the history"
)]
pub(super) struct Args {
    /// The execution's id
    id: String,
    /// Run everything again, instead of keeping the results of the steps that completed
    #[arg(long)]
    from_start: bool,
    #[command(flatten)]
    by: By,
    #[command(flatten)]
    pub(super) target: Target,
}

/// Resumes it.
pub(super) async fn run(session: &Session, args: &Args) -> Result<(), Failure> {
    let request = ResumeRequest {
        namespace: session.namespace.clone(),
        execution_id: args.id.clone(),
        from_start: args.from_start,
        by: args.by.name.clone(),
        request_id: session.request_id(),
    };
    let resumed = session
        .call(async || Ok(session.executions().resume(request.clone()).await?.into_inner()))
        .await?;
    output::line(outcome(&args.id, &resumed))?;
    if !resumed.was_running {
        output::note(format_args!("watch it: lazarus history --follow {}", args.id));
    }
    Ok(())
}

fn outcome(id: &str, resumed: &ResumeResponse) -> String {
    let ResumeResponse { generation, run_id, was_running, .. } = resumed;
    if *was_running {
        return format!("{id} is still running; nothing to do");
    }
    format!("{id} resumed as generation {generation}, run {run_id}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_became_of_it_is_one_line() {
        let resumed =
            ResumeResponse { generation: 2, run_id: "ab".to_owned(), ..ResumeResponse::default() };
        assert_eq!(outcome("order-7", &resumed), "order-7 resumed as generation 2, run ab");
        let resumed = ResumeResponse { was_running: true, ..resumed };
        assert_eq!(outcome("order-7", &resumed), "order-7 is still running; nothing to do");
    }
}
