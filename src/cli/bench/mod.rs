//! `lazarus bench store`: what the requests of an engine take on a store, and what follows from it.

mod words;

use std::{sync::Arc, time::Duration};

use clap::{Args as Arguments, Subcommand};
use tokio_util::sync::CancellationToken;

use self::words::{Basis, StepFigures, clients, of_figure, table};
use super::{
    exit::{Exit, Failure},
    instance, output,
    serving::Signals,
    simulate::SimulateArgs,
};
use crate::{
    config::Size,
    cost::Prices,
    env::Env,
    store::{self, BenchError, Figure, Plan, Store},
};

/// The largest object that is measured: a commit is hardly ever larger.
const OBJECT_MAX: u64 = 1 << 20;

/// Measure what the parts of an engine take
#[derive(Debug, Arguments)]
#[command(after_help = "Examples:
  lazarus bench store --store s3://my-bucket/bench
  lazarus bench store --store memory: --simulate-latency s3")]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Store(StoreArgs),
}

/// Measure a store: put-if-absent, GET, LIST, and what a step takes and costs on it
///
/// Says first how many requests it sends at most and what they cost. Its objects are below
/// `probe/bench-...`; all are deleted, also on Ctrl-C and after an error. Safe beside engines, which
/// it slows down. An `embedded:` store has one owner: stop its engine first.
#[derive(Debug, Arguments)]
#[command(after_help = "Examples:
  lazarus bench store --store s3://my-bucket/bench
  lazarus bench store --store s3://my-bucket/bench --clients 1,8,64,256 --seconds 30 --count 20000
  lazarus bench store --store file:///srv/lazarus --json | jq 'select(.measured == \"LIST\")'
  lazarus bench store --store memory: --simulate-latency s3      (what a user of S3 sees)")]
struct StoreArgs {
    /// The store: `s3://BUCKET/PREFIX`, `gs://..`, `az://..`, `file:///DIR`, `embedded:DIR`
    #[arg(long, env = "LAZARUS_STORE", value_name = "URL")]
    store: String,
    /// How many clients send requests at once; each number is measured by itself (1 to 1024)
    #[arg(long, value_name = "NUMBERS", value_delimiter = ',', default_values_t = [1, 8, 64], value_parser = clap::value_parser!(u32).range(1..=1024))]
    clients: Vec<u32>,
    /// How long each of the measurements takes at most (1 to 3600)
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=3_600))]
    seconds: u64,
    /// How many requests each of the measurements sends at most (1 to 1000000)
    #[arg(long, value_name = "REQUESTS", default_value_t = 2_000, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    count: u64,
    /// How large an object is; a commit with a small result takes about 700 bytes (up to 1MiB)
    #[arg(long, value_name = "SIZE", default_value = "700", value_parser = object_size)]
    size: Size,
    /// Print JSON: one measurement per line, and what follows from them on the last one
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    simulate: SimulateArgs,
}

fn object_size(text: &str) -> Result<Size, String> {
    let size: Size = text.parse()?;
    if (1..=OBJECT_MAX).contains(&size.0) {
        return Ok(size);
    }
    Err("give a size from 1 byte to 1MiB".to_owned())
}

/// Measures.
pub(super) async fn run(args: Args, env: &Arc<dyn Env>) -> Result<(), Failure> {
    let Command::Store(args) = args.command;
    let store = instance::open_bare(&args.store, env).await?;
    let store = args.simulate.slow(store, env);
    let plan = args.plan();
    let prices = Prices::built_in();
    let basis = Basis::of(store.url(), &prices);
    output::note(basis.announcement(store.url(), &plan));
    let (figures, interrupted) = measure(&store, env, &plan, args.json).await?;
    let Some(step) = StepFigures::of(&figures) else { return Err(stopped(&store)) };
    if args.json {
        output::line(step.json(&basis))?;
    } else {
        table(&figures).print()?;
        output::line("")?;
        step.words(&basis).iter().try_for_each(output::line)?;
    }
    if interrupted { Err(stopped(&store)) } else { Ok(()) }
}

impl StoreArgs {
    fn plan(&self) -> Plan {
        Plan {
            clients: self.clients.clone(),
            count: self.count,
            within: Duration::from_secs(self.seconds),
            object_bytes: usize::try_from(self.size.0).unwrap_or(usize::MAX),
        }
    }
}

/// The figures, and whether somebody stopped it. A second signal ends the process.
async fn measure(
    store: &Store,
    env: &Arc<dyn Env>,
    plan: &Plan,
    json: bool,
) -> Result<(Vec<Figure>, bool), Failure> {
    let mut signals = Signals::new()?;
    let stop = CancellationToken::new();
    let mut printed = Ok(());
    let tell = |figure: &Figure| {
        if !json {
            output::note(format_args!("{} by {}: done", figure.measured.name(), clients(figure)));
        } else if printed.is_ok() {
            printed = output::line(of_figure(figure));
        }
    };
    let outcome = {
        let mut bench = Box::pin(store::bench(store, env, plan, &stop, tell));
        tokio::select! {
            outcome = &mut bench => outcome,
            () = signals.next() => {
                output::note("stopping: what was put is deleted; a second signal leaves it there");
                stop.cancel();
                tokio::select! {
                    outcome = bench => outcome,
                    () = signals.next() => return Err(left(store)),
                }
            }
        }
    };
    printed?;
    let figures = outcome.map_err(|error| of_bench(&error))?;
    Ok((figures, stop.is_cancelled()))
}

fn of_bench(error: &BenchError) -> Failure {
    match error {
        BenchError::Refused { .. } => instance::in_two(Failure::refused, error),
        BenchError::Failing { .. } | BenchError::Left { .. } => {
            instance::in_two(Failure::unavailable, error)
        }
    }
}

fn stopped(store: &Store) -> Failure {
    Failure {
        exit: Exit::Interrupted,
        what: "stopped before all was measured".to_owned(),
        advice: format!("nothing is left in {}: what was put is deleted", store.url()),
    }
}

fn left(store: &Store) -> Failure {
    Failure {
        exit: Exit::Interrupted,
        what: "ended at once, on a second signal".to_owned(),
        advice: format!("delete what is below probe/ in {}, nobody needs it", store.url()),
    }
}
