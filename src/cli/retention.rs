//! `lazarus retention`: deletes closed executions that are old enough.

use std::sync::Arc;

use clap::Args as Arguments;
use serde_json::json;

use super::{
    clock,
    exit::Failure,
    instance,
    output::{self, CARE, painted},
};
use crate::{
    config::{self, RetentionArgs},
    engine::{Deletion, Fate, Keep, Retained},
    env::Env,
    store::Requests,
    workflow::Namespace,
};

/// Delete closed executions that are old enough
///
/// What `serve` and `dev` do each hour, at once, for stores that no server stays up on. Executions go in
/// two steps: first from all lists and by their id, and a day later with everything they had, so that
/// a backup copy that is made meanwhile is whole. Never touches what is open. Safe beside engines, and
/// beside another one.
#[derive(Debug, Arguments)]
#[command(after_help = "Examples:
  lazarus retention --store s3://my-bucket/prod --dry-run
  lazarus retention --store s3://my-bucket/prod --older-than 90d
  lazarus retention --store s3://my-bucket/prod --older-than 36h --namespace staging
  0 3 * * *  lazarus retention --store s3://my-bucket/prod       (crontab)")]
pub(super) struct Args {
    /// The store: `s3://BUCKET/PREFIX`, `gs://..`, `az://..`, `file:///DIR`, `embedded:DIR`
    #[arg(long, env = "LAZARUS_STORE", value_name = "URL")]
    store: String,
    /// Delete what closed longer ago than this, whatever --retention and --namespace-retention say;
    /// 24h at least
    #[arg(long, value_name = "DURATION")]
    older_than: Option<Keep>,
    /// Look at this namespace only [default: at all]
    #[arg(long, short, value_name = "NAME", value_parser = Namespace::new)]
    namespace: Option<Namespace>,
    /// Only say what would be done
    #[arg(long)]
    dry_run: bool,
    /// Print JSON: one run per line, and the counts on the last one
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    retention: RetentionArgs,
}

/// How many passes one command makes at most: each deletes up to 10,000 executions.
const PASSES_MAX: u32 = 1_000;

/// Deletes.
pub(super) async fn run(args: &Args, env: &Arc<dyn Env>) -> Result<(), Failure> {
    let (store, _) = instance::open_used(&args.store, env).await?;
    let engine = instance::open_engine(store, env, config::for_one_command(env.as_ref())).await?;
    let before = engine.store().requests();
    let policy = args.retention.policy_or(args.older_than);
    let policy = match &args.namespace {
        Some(namespace) => policy.only(namespace.clone()),
        None => policy,
    };
    let mut printed = Ok(());
    let mut all = Retained::default();
    for _ in 0..PASSES_MAX {
        let tell = |deletion: &Deletion| {
            if printed.is_ok() {
                printed = print(deletion, args);
            }
        };
        let pass = Box::pin(engine.retain(&policy, args.dry_run, tell)).await;
        let pass = pass.map_err(|error| {
            Failure::unavailable(
                format_args!("not everything was deleted: {error}"),
                "give the same command again: it goes on where this one stopped",
            )
        })?;
        all = all.with(pass);
        if args.dry_run || !pass.has_more {
            break;
        }
    }
    printed?;
    let requests = engine.store().requests() - before;
    output::line(if args.json {
        json!({ "summary": all, "requests": requests.to_string() }).to_string()
    } else {
        counts(&all, &requests, args.dry_run)
    })?;
    Ok(())
}

fn print(deletion: &Deletion, args: &Args) -> Result<(), Failure> {
    if args.json {
        return output::line(json!(deletion));
    }
    let Deletion { namespace, execution, generation, run, closed, what } = deletion;
    let closed = closed.map(clock::date_and_time).unwrap_or_default();
    let begun = if args.dry_run { "would be deleted" } else { "deleted; its commits go in a day" };
    let what = match what {
        Fate::Begun => begun.to_owned(),
        Fate::Finished if args.dry_run => "its commits would be deleted".to_owned(),
        Fate::Finished => "its commits are deleted".to_owned(),
        Fate::Refused { why } => format!("{}: {why}", painted(CARE, "kept")),
    };
    output::line(format_args!(
        "{namespace}/{execution} generation {generation}, run {run}, closed {closed}: {what}"
    ))
}

fn counts(all: &Retained, requests: &Requests, dry_run: bool) -> String {
    let Retained { begun, finished, refused, objects_deleted, batches_deleted, .. } = all;
    let more = if dry_run && all.has_more { "; more of them are not shown" } else { "" };
    if dry_run {
        return format!(
            "nothing was changed (--dry-run): {begun} runs would be deleted, and the rest of \
             {finished} that were; {refused} are kept{more}"
        );
    }
    format!(
        "deleted {begun} runs, and the rest of {finished} deleted earlier ({objects_deleted} objects, \
         {batches_deleted} batches of records); {refused} are kept; {requests}"
    )
}
