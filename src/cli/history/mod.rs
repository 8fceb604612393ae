//! `lazarus history`: everything that happened in an execution, as a timeline.

mod timeline;
mod words;

use std::time::Duration;

use clap::Args as Arguments;
use serde_json::json;
use tonic::Status;

use self::timeline::{Entry, Timeline, closes};
use super::{
    clock,
    connect::{Session, Target},
    exit::Failure,
    output,
};
use crate::proto::lazarus::{HistoryRequest, HistoryResponse};

/// Show everything that happened in an execution, as a timeline
///
/// One line per event, with its time (UTC) and the time since the start. Lines that begin with ...
/// say what it waited for, and when another engine went on with it.
#[derive(Debug, Arguments)]
#[command(after_help = "Examples:
  lazarus history order-7
  lazarus history order-7 --follow
  lazarus history order-7 --json | jq -r .event.k")]
pub(super) struct Args {
    /// The execution's id
    id: String,
    /// Go on printing until the execution is closed
    #[arg(long, short)]
    follow: bool,
    /// Print JSON, one event per line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    pub(super) target: Target,
}

/// The pause between two looks of `--follow`; each reads the history again.
const LOOK: Duration = Duration::from_secs(1);

/// Prints it, and what is added to it if asked to.
pub(super) async fn run(session: &Session, args: &Args) -> Result<(), Failure> {
    let mut timeline = Timeline::default();
    let mut printed = 0;
    loop {
        let entries = entries(session, &args.id).await?;
        for entry in entries.iter().skip(printed) {
            print(&mut timeline, entry, args.json)?;
        }
        printed = printed.max(entries.len());
        if !args.follow || entries.last().is_some_and(closes) {
            return Ok(());
        }
        session.env.sleep(LOOK).await;
    }
}

fn print(timeline: &mut Timeline, entry: &Entry, json: bool) -> Result<(), Failure> {
    if json {
        return output::line(json!({
            "seq": entry.seq,
            "time": clock::machine(entry.time),
            "by": entry.by,
            "event": entry.json,
        }));
    }
    timeline.lines(entry).iter().try_for_each(output::line)
}

async fn entries(session: &Session, id: &str) -> Result<Vec<Entry>, Failure> {
    let request =
        HistoryRequest { namespace: session.namespace.clone(), execution_id: id.to_owned() };
    session
        .call(async || {
            let mut stream = session.executions().history(request.clone()).await?.into_inner();
            let mut entries = vec![];
            while let Some(message) = stream.message().await? {
                entries.push(entry(message)?);
            }
            Ok(entries)
        })
        .await
}

fn entry(message: HistoryResponse) -> Result<Entry, Status> {
    let json = serde_json::from_str(&message.event_json)
        .map_err(|error| Status::internal(format!("the server sent no JSON: {error}")))?;
    let time = message.time.map(clock::from_wire).unwrap_or_default();
    Ok(Entry { seq: message.seq, time, by: message.by, json })
}
