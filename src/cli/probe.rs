//! `lazarus probe`: tries a store before anything is trusted to it.

use std::sync::Arc;

use clap::Args as Arguments;

use super::{exit::Failure, instance, output};
use crate::env::Env;

/// Try whether a store is fit, before functions work on it
///
/// What `serve` does at each start: puts that must be refused, a race of 32 puts, lists, clocks. A
/// store that would lose data is refused. One that is fit is marked, so that a function, which starts
/// too often to try it, need not. Also sets up a new store.
#[derive(Debug, Arguments)]
#[command(after_help = "Examples:
  lazarus probe --store s3://my-bucket/prod
  lazarus probe --store s3://my-bucket/prod --shards 4        (a new store, in four parts)")]
pub(super) struct Args {
    /// The store: `s3://BUCKET/PREFIX`, `gs://..`, `az://..`, `file:///DIR`
    #[arg(long, env = "LAZARUS_STORE", value_name = "URL")]
    store: String,
    /// Over how many parts the indexes of a new store are spread (1 to 256) [default: 1]
    #[arg(long, env = "LAZARUS_SHARDS", value_name = "COUNT")]
    shards: Option<u32>,
}

/// Tries, and says what it cost.
pub(super) async fn run(args: &Args, env: &Arc<dyn Env>) -> Result<(), Failure> {
    let store = instance::open_store(&args.store, args.shards, env).await?;
    instance::probe(&store, env).await?;
    output::line(format_args!("{} is fit; {}", store.url(), store.requests()))
}
