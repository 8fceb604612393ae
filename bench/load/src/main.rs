//! The workers and the clients of the measurements, for Lazarus. Prints one JSON object; `bench/run.py`
//! starts it beside an engine and reads that.

mod clients;
mod history;
mod workers;
mod workloads;

use std::time::Duration;

use clap::{Parser, Subcommand};
use drive::{Batch, Closed, Named, Paced};

/// How tasks come to the worker.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Way {
    /// One stream.
    Stream,
    /// A poll and a submission for each task, as the Python SDK does.
    Poll,
}

#[derive(Debug, Parser)]
struct Cli {
    /// The engine's address
    #[arg(long, default_value = "http://127.0.0.1:50051")]
    engine: String,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the steps of every workload but `long` until killed
    Worker {
        #[arg(long, value_enum, default_value = "stream")]
        way: Way,
        #[arg(long, default_value_t = 256)]
        slots: u32,
        /// Only those of a long run of so many steps
        #[arg(long)]
        long: Option<usize>,
    },
    /// Put the blueprints of every workload
    Define,
    /// Executions one after the other, from so many clients at once
    Closed(Closed),
    /// So many executions, each sent again until it has ended
    Batch(Batch),
    /// Start executions
    Start {
        workload: String,
        #[command(flatten)]
        paced: Paced,
    },
    /// Wait until executions have ended
    Wait(Named),
    /// Say how late the sleeps of executions ended
    Late(Named),
    /// Fail unless executions have completed, and each step exactly once
    Once {
        workload: String,
        #[command(flatten)]
        named: Named,
    },
    /// One execution of so many steps
    Long { steps: usize },
    /// Bare gRPC calls that do nothing, from so many clients
    Echo {
        #[arg(long)]
        clients: usize,
        #[arg(long, default_value_t = 3.0)]
        seconds: f64,
    },
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let Cli { engine, command } = Cli::parse();
    let figures = match command {
        Command::Worker { way: Way::Stream, slots, long } => {
            return workers::stream(&engine, slots, long).await;
        }
        Command::Worker { way: Way::Poll, slots, .. } => {
            return workers::poll(&engine, slots).await;
        }
        Command::Define => return clients::define(&engine).await,
        Command::Closed(asked) => {
            drive::closed(clients::clients(&engine, asked.clients).await?, &asked).await?
        }
        Command::Batch(asked) => {
            drive::batch(clients::clients(&engine, asked.clients).await?, &asked).await?
        }
        Command::Start { workload, paced: Paced { named, per_second } } => {
            clients::start(&engine, &workload, &named.prefix, named.count, per_second).await?
        }
        Command::Wait(Named { prefix, count }) => clients::wait(&engine, &prefix, count).await?,
        Command::Late(Named { prefix, count }) => clients::late(&engine, &prefix, count).await?,
        Command::Once { workload, named: Named { prefix, count } } => {
            clients::once(&engine, &workload, &prefix, count).await?
        }
        Command::Long { steps } => clients::long(&engine, steps).await?,
        Command::Echo { clients, seconds } => {
            clients::echo(&engine, clients, Duration::from_secs_f64(seconds)).await?
        }
    };
    println!("{figures}");
    Ok(())
}
