//! `lazarus serve`: one of any number of instances on a shared store.

use std::sync::Arc;

use clap::Args as Arguments;

use super::{
    exit::Failure,
    instance, output,
    serving::{self, address, listen},
    simulate::SimulateArgs,
    tls::TlsArgs,
};
use crate::{
    config::{PushArgs, RetentionArgs, Tunables},
    env::Env,
    frontdoor::Listeners,
};

/// Run one of any number of engines on a shared store
///
/// Instances need not know of each other, may come and go, and may be of different versions. At
/// start the store is tried: one that would lose data is refused.
#[derive(Debug, Arguments)]
#[command(after_help = "Examples:
  lazarus serve --store s3://my-bucket/prod --grpc 0.0.0.0:50051 --http 0.0.0.0:50052
  lazarus serve --store file:///srv/lazarus --lease 10m
  lazarus serve --store s3://my-bucket/prod --grpc-tls 0.0.0.0:50053 \\
      --tls-cert server.crt --tls-key server.key --tls-client-ca ca.crt
                                                       (see lazarus dev-certs)
  lazarus serve --store s3://my-bucket/prod --cache 0 --no-near-timers --no-reservations
                                                       (the shape of a function)")]
pub(super) struct Args {
    /// The store: `s3://BUCKET/PREFIX`, `gs://..`, `az://..`, `file:///DIR`, `embedded:DIR`
    #[arg(long, env = "LAZARUS_STORE", value_name = "URL")]
    store: String,
    /// Where to serve gRPC; may be given several times. There is no authentication: keep it private
    #[arg(
        long,
        env = "LAZARUS_GRPC",
        value_name = "ADDRESS",
        value_delimiter = ',',
        default_value = "127.0.0.1:50051"
    )]
    grpc: Vec<String>,
    /// Where to serve health (/healthz, /readyz), /metrics, and results of pushed tasks (/v1/tasks)
    /// [default: nowhere]
    #[arg(long, env = "LAZARUS_HTTP", value_name = "ADDRESS")]
    http: Option<String>,
    #[command(flatten)]
    tls: TlsArgs,
    #[command(flatten)]
    tunables: Tunables,
    #[command(flatten)]
    push: PushArgs,
    #[command(flatten)]
    retention: RetentionArgs,
    #[command(flatten)]
    simulate: SimulateArgs,
}

/// Serves until it is stopped.
pub(super) async fn run(args: Args, env: Arc<dyn Env>) -> Result<(), Failure> {
    let metrics = serving::metrics()?;
    let caller = serving::caller(&args.push)?;
    let mut listeners = Listeners { grpc: vec![], grpc_tls: args.tls.listen().await?, http: None };
    for at in &args.grpc {
        listeners.grpc.push(listen(at, "--grpc").await?);
    }
    if let Some(at) = &args.http {
        listeners.http = Some(listen(at, "--http").await?);
    }
    let engine =
        instance::open_fit(&args.store, "serve", &args.tunables, &args.simulate, &env).await?;
    announce(&listeners)?;
    tracing::info!(store = engine.store().url(), "serving");
    serving::serve(engine, listeners, metrics, &args.retention.policy(), caller, env).await
}

/// One line per listener, for whoever asked for port 0.
fn announce(listeners: &Listeners) -> Result<(), Failure> {
    for listener in &listeners.grpc {
        output::line(format_args!("listening grpc {}", address(listener)))?;
    }
    if let Some(secured) = &listeners.grpc_tls {
        output::line(format_args!("listening grpc-tls {}", address(&secured.listener)))?;
    }
    if let Some(listener) = &listeners.http {
        output::line(format_args!("listening http {}", address(listener)))?;
    }
    Ok(())
}
