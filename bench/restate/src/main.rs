//! The same workloads for Restate, with its own Rust SDK: steps are `ctx.run`, sleeps `ctx.sleep`.
//! Prints one JSON object, as `load` does.

mod clients;
mod services;

use std::time::Duration;

use clap::{Parser, Subcommand};

use self::clients::Ingress;

#[derive(Debug, Parser)]
struct Cli {
    /// Where the server takes requests
    #[arg(long, default_value = "http://127.0.0.1:8080")]
    ingress: String,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve the handlers of every workload until killed
    Worker {
        #[arg(long)]
        address: std::net::SocketAddr,
    },
    /// Executions one after the other, from so many clients at once
    Closed {
        /// chain10, fan100, payload
        workload: String,
        #[arg(long)]
        clients: usize,
        #[arg(long, default_value_t = 5.0)]
        seconds: f64,
        #[arg(long, default_value_t = 1.0)]
        warm_up: f64,
    },
    /// So many executions, each sent again until it has ended
    Batch {
        workload: String,
        #[arg(long)]
        clients: usize,
        #[arg(long)]
        count: usize,
        #[arg(long)]
        prefix: String,
    },
    /// Start sleepers
    Start {
        #[arg(long)]
        prefix: String,
        #[arg(long)]
        count: usize,
        /// So many a second; 0: as fast as the server takes them
        #[arg(long, default_value_t = 0)]
        per_second: u32,
    },
    /// Wait for sleepers, and say how late they were
    Wait {
        #[arg(long)]
        prefix: String,
        #[arg(long)]
        count: usize,
    },
    /// One execution of so many steps
    Long { steps: u64 },
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let Cli { ingress, command } = Cli::parse();
    // Nothing here speaks TLS, and reqwest wants to know who would do it.
    drop(rustls::crypto::ring::default_provider().install_default());
    let ingress = Ingress::new(ingress)?;
    let figures = match command {
        Command::Worker { address } => {
            services::serve(address).await;
            return Ok(());
        }
        Command::Closed { workload, clients, seconds, warm_up } => {
            let [seconds, warm_up] = [seconds, warm_up].map(Duration::from_secs_f64);
            drive::closed(vec![ingress; clients], &workload, warm_up, seconds).await?
        }
        Command::Batch { workload, clients, count, prefix } => {
            drive::batch(vec![ingress; clients], &workload, &prefix, count).await?
        }
        Command::Start { prefix, count, per_second } => {
            clients::start(&ingress, &prefix, count, per_second).await?
        }
        Command::Wait { prefix, count } => clients::wait(&ingress, &prefix, count).await?,
        Command::Long { steps } => clients::long(&ingress, steps).await?,
    };
    println!("{figures}");
    Ok(())
}
