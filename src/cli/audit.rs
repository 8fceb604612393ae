//! `lazarus audit`: reads a store from end to end and tells what is wrong with it.

use std::sync::Arc;

use clap::Args as Arguments;
use serde_json::json;

use super::{
    exit::Failure,
    instance,
    output::{self, BAD, CARE, DIM, GOOD, painted},
};
use crate::{
    engine::{Finding, Summary},
    env::Env,
};

/// Check everything in a store, and say what is wrong; changes nothing
///
/// Reads each commit, blob and blueprint once, folds every execution from its start, and compares
/// the indexes with what it came to. Works beside engines that serve the store. Faults end it with
/// exit code 1; notes do not.
#[derive(Debug, Arguments)]
#[command(after_help = "Examples:
  lazarus audit --store s3://my-bucket/prod
  lazarus audit --store s3://my-bucket/prod --json | jq 'select(.severity == \"fault\")'

Costs about one GET for each commit and one LIST for each execution. What the indexes lack is put
back by `lazarus scrub`; what the logs lack only by a backup.")]
pub(super) struct Args {
    /// The store: `s3://BUCKET/PREFIX`, `gs://..`, `az://..`, `file:///DIR`, `embedded:DIR`
    #[arg(long, env = "LAZARUS_STORE", value_name = "URL")]
    store: String,
    /// Print JSON: one finding per line, and the counts on the last one
    #[arg(long)]
    json: bool,
}

/// Audits.
pub(super) async fn run(args: &Args, env: &Arc<dyn Env>) -> Result<(), Failure> {
    let auditor = instance::open_auditor(&args.store, env).await?;
    let mut printed = Ok(());
    let tell = |finding: &Finding| {
        if printed.is_ok() {
            printed = print(finding, args.json);
        }
    };
    // Boxed: it holds what it reads.
    let summary = Box::pin(auditor.audit(tell)).await;
    printed?;
    let summary = summary.map_err(|error| instance::unfinished(&error))?;
    if args.json {
        output::line(json!({ "summary": summary }))?;
    } else {
        output::line(counts(&summary))?;
    }
    if summary.faults == 0 {
        return Ok(());
    }
    Err(Failure::refused(
        format_args!("{} faults in {}", summary.faults, auditor.store().url()),
        "each line above says what to do; what `lazarus scrub` can mend, it mends while engines serve",
    ))
}

fn print(finding: &Finding, json: bool) -> Result<(), Failure> {
    if json {
        return output::line(json!(finding));
    }
    let word = if finding.is_fault() { painted(BAD, "fault") } else { painted(CARE, "note ") };
    let Finding { key, what, advice, .. } = finding;
    output::line(format_args!("{word} {key}: {what}; {}", painted(DIM, advice)))
}

fn counts(summary: &Summary) -> String {
    let Summary { executions, runs, open, commits, snapshots, blobs, blueprints, .. } = summary;
    let Summary { wakes, offers, records, dead, moving, faults, notes, .. } = summary;
    let verdict = if *faults == 0 {
        painted(GOOD, "0 faults")
    } else {
        painted(BAD, format_args!("{faults} faults"))
    };
    let moving = match moving {
        0 => String::new(),
        _ => format!("; {moving} executions moved on all the time and are not judged: audit again"),
    };
    format!(
        "{verdict}, {notes} notes; {executions} executions, {runs} runs ({open} open), {commits} \
         commits, {snapshots} snapshots, {blobs} blobs, {blueprints} blueprints, {wakes} wake \
         entries, {offers} offers, {records} records, {dead} put aside{moving}"
    )
}
