//! `lazarus log cat`: the commits of a run as they are stored, for an incident.

use clap::{Args as Arguments, Subcommand};
use tonic::{Code, Status};

use super::{
    connect::{Session, Target},
    exit::Failure,
    output,
};
use crate::{
    proto::lazarus::{LogRequest, LogResponse},
    workflow::RunId,
};

/// Look at what is stored
#[derive(Debug, Arguments)]
#[command(after_help = "Examples:
  lazarus log cat order-7 | jq '.events[].k'
  lazarus log cat 0123456789abcdef0123456789abcdef --keys
  lazarus log cat order-7 --store s3://my-bucket/prod")]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    pub(super) target: Target,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Print the commits of a run, unchecked, oldest first, one per line
    Cat {
        /// A run (32 hex digits), or an execution's id for its newest run
        run: String,
        /// Begin each line with the commit's key and a tab
        #[arg(long)]
        keys: bool,
    },
}

/// Prints it.
pub(super) async fn run(session: &Session, args: &Args) -> Result<(), Failure> {
    let Command::Cat { run, keys } = &args.command;
    let commits = commits(session, run).await.map_err(|status| session.failure(&status))?;
    for LogResponse { key, commit } in commits {
        if *keys {
            let line = [key.as_bytes(), b"\t", &commit].concat();
            output::bytes(&line)?;
        } else {
            output::bytes(&commit)?;
        }
    }
    Ok(())
}

/// 32 hex digits name a run; if there is none, they may still be an id that a user chose.
async fn commits(session: &Session, name: &str) -> Result<Vec<LogResponse>, Status> {
    let mut request = LogRequest {
        namespace: session.namespace.clone(),
        execution_id: name.to_owned(),
        run_id: String::new(),
    };
    if name.parse::<RunId>().is_err() {
        return read(session, &request).await;
    }
    std::mem::swap(&mut request.execution_id, &mut request.run_id);
    match read(session, &request).await {
        Err(status) if status.code() == Code::NotFound => {
            std::mem::swap(&mut request.execution_id, &mut request.run_id);
            read(session, &request).await
        }
        found => found,
    }
}

async fn read(session: &Session, request: &LogRequest) -> Result<Vec<LogResponse>, Status> {
    session
        .attempt(async || {
            let mut stream = session.executions().log(request.clone()).await?.into_inner();
            let mut commits = vec![];
            while let Some(commit) = stream.message().await? {
                commits.push(commit);
            }
            Ok(commits)
        })
        .await
}
