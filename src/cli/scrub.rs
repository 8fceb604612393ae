//! `lazarus scrub`: mends the indexes of a store from its logs.

use std::sync::Arc;

use clap::Args as Arguments;
use serde_json::json;

use super::{exit::Failure, instance, output};
use crate::{
    engine::{Deed, Mended},
    env::Env,
};

/// Put back what the indexes of a store lack, and take out what is left over
///
/// Wake entries, records for lists and offers follow from the logs: they are written again where
/// they are missing, and deleted where nothing needs them. Safe beside engines and beside another
/// scrub; a second one changes nothing. Never touches a commit of an execution.
#[derive(Debug, Arguments)]
#[command(after_help = "Examples:
  lazarus scrub --store s3://my-bucket/prod --dry-run
  lazarus scrub --store s3://my-bucket/restored     after a restore; then start engines on it")]
pub(super) struct Args {
    /// The store: `s3://BUCKET/PREFIX`, `gs://..`, `az://..`, `file:///DIR`, `embedded:DIR`
    #[arg(long, env = "LAZARUS_STORE", value_name = "URL")]
    store: String,
    /// Only say what would be done
    #[arg(long)]
    dry_run: bool,
    /// Print JSON: one deed per line, and the counts on the last one
    #[arg(long)]
    json: bool,
}

/// Scrubs.
pub(super) async fn run(args: &Args, env: &Arc<dyn Env>) -> Result<(), Failure> {
    let auditor = instance::open_auditor(&args.store, env).await?;
    let mut printed = Ok(());
    let tell = |deed: &Deed| {
        if printed.is_ok() {
            let Deed { key, what } = deed;
            printed = if args.json {
                output::line(json!(deed))
            } else {
                output::line(format_args!("{key}: {what}"))
            };
        }
    };
    let mended = Box::pin(auditor.scrub(args.dry_run, tell)).await;
    printed?;
    let mended = mended.map_err(|error| instance::unfinished(&error))?;
    if args.json {
        output::line(json!({ "summary": mended }))?;
    } else {
        output::line(counts(&mended, args.dry_run))?;
    }
    match mended.faults_left {
        0 => Ok(()),
        left => Err(Failure::refused(
            format_args!("{left} faults can not be mended from the logs"),
            "see them with `lazarus audit`: what was lost comes back from a backup only",
        )),
    }
}

fn counts(mended: &Mended, dry_run: bool) -> String {
    if dry_run {
        return "nothing was changed (--dry-run)".to_owned();
    }
    let Mended { wakes_put, records_written, wakes_deleted, offers_deleted, .. } = mended;
    let Mended { runs_deleted, objects_deleted, moving, .. } = mended;
    let moving = match moving {
        0 => String::new(),
        _ => format!("; {moving} executions moved on all the time: scrub again"),
    };
    format!(
        "put {wakes_put} wake entries, wrote {records_written} records; deleted {wakes_deleted} \
         wake entries, {offers_deleted} offers, {runs_deleted} runs that nothing names \
         ({objects_deleted} objects){moving}"
    )
}
