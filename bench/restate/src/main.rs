//! The same workloads for Restate, with its own Rust SDK: steps are `ctx.run`, sleeps `ctx.sleep`.
//! Prints one JSON object, as `load` does.

mod clients;
mod services;

use clap::{Parser, Subcommand};
use drive::{Batch, Closed, Named, Paced};

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
    Closed(Closed),
    /// So many executions, each sent again until it has ended
    Batch(Batch),
    /// Start sleepers
    Start(Paced),
    /// Wait for sleepers, and say how late they were
    Wait(Named),
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
        Command::Closed(asked) => drive::closed(vec![ingress; asked.clients], &asked).await?,
        Command::Batch(asked) => drive::batch(vec![ingress; asked.clients], &asked).await?,
        Command::Start(Paced { named, per_second }) => {
            clients::start(&ingress, &named.prefix, named.count, per_second).await?
        }
        Command::Wait(named) => clients::wait(&ingress, &named.prefix, named.count).await?,
        Command::Long { steps } => clients::long(&ingress, steps).await?,
    };
    println!("{figures}");
    Ok(())
}
