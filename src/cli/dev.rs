//! `lazarus dev`: a whole engine on one machine, with nothing to install.

use std::{path::PathBuf, sync::Arc};

use clap::Args as Arguments;
use tokio::net::TcpListener;

use super::{
    exit::Failure,
    instance,
    output::{self, BOLD, CARE, GOOD, painted},
    serving::{self, address, listen},
    simulate::SimulateArgs,
    tls::TlsArgs,
};
use crate::{
    config::{PushArgs, RetentionArgs, Tunables},
    env::Env,
    frontdoor::{Listeners, TlsListener},
};

/// The port that every command asks unless it is told otherwise.
const DEFAULT_SERVER: &str = "127.0.0.1:50051";

/// Run an engine on this machine: a store in a directory, a server, nothing else needed
///
/// Kill it whenever you like: the next `lazarus dev` in the same directory goes on where it was.
#[derive(Debug, Arguments)]
#[command(after_help = "Examples:
  lazarus dev
  lazarus dev --dir /tmp/try --grpc 127.0.0.1:6000 --http 127.0.0.1:6001
  lazarus dev --simulate-latency s3                    (what a step takes on a bucket)
  lazarus dev-certs certs && lazarus dev --grpc-tls 127.0.0.1:50053 \\
      --tls-cert certs/server.crt --tls-key certs/server.key --tls-client-ca certs/ca.crt")]
pub(super) struct Args {
    /// Where the store is kept; one process owns it at a time
    #[arg(long, env = "LAZARUS_DIR", default_value = ".lazarus")]
    dir: PathBuf,
    /// Where to serve gRPC; may be given several times
    ///
    /// The first must be free. 9090 is there because parts of the Cerebelum SDK call it by default.
    #[arg(long, value_name = "ADDRESS", default_values = [DEFAULT_SERVER, "127.0.0.1:9090"])]
    grpc: Vec<String>,
    /// Where to serve health (/healthz, /readyz), /metrics, and results of pushed tasks (/v1/tasks)
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:50052")]
    http: String,
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
    let listeners = listeners(&args).await?;
    // The path as it was given: `embedded:` takes the rest of the URL for the directory.
    let url = format!("embedded:{}", args.dir.display());
    let store = instance::open_store(&url, args.tunables.shards, &env).await?;
    let store = args.simulate.slow(store, &env);
    let config = args.tunables.engine("dev", env.as_ref());
    let engine = instance::open_engine(store, &env, config).await?;
    banner(&args, &listeners).iter().try_for_each(output::line)?;
    serving::serve(engine, listeners, metrics, &args.retention.policy(), caller, env).await
}

/// The first address must be free, and that with TLS, which somebody asked for; the others are
/// conveniences.
async fn listeners(args: &Args) -> Result<Listeners, Failure> {
    let grpc_tls = args.tls.listen().await?;
    let mut grpc = vec![];
    for at in &args.grpc {
        match listen(at, "--grpc").await {
            Ok(listener) => grpc.push(listener),
            Err(failure) if grpc.is_empty() => return Err(failure),
            Err(failure) => {
                go_on_without(&failure, "clients that call it will not find this engine");
            }
        }
    }
    let http = match listen(&args.http, "--http").await {
        Ok(listener) => Some(listener),
        Err(failure) => {
            go_on_without(&failure, "no health and no metrics; --http takes another address");
            None
        }
    };
    Ok(Listeners { grpc, grpc_tls, http })
}

fn go_on_without(failure: &Failure, meaning: &str) {
    output::note(format_args!("{} {}: {meaning}", painted(CARE, "warning:"), failure.what));
}

/// What it is, and what to do next.
fn banner(args: &Args, listeners: &Listeners) -> Vec<String> {
    let grpc: Vec<String> = listeners.grpc.iter().map(address).collect();
    let first = grpc.first().map_or(DEFAULT_SERVER, String::as_str);
    let option =
        if first == DEFAULT_SERVER { String::new() } else { format!(" --server http://{first}") };
    let secured = listeners.grpc_tls.as_ref().map(tls_address).unwrap_or_default();
    let http = listeners.http.as_ref().map(http_address).unwrap_or_default();
    let next =
        |word: &str, text: String| format!("  {}{text}", painted(BOLD, format!("{word:<14}")));
    vec![
        format!(
            "{} gRPC on {}{secured}{http}, store in {}",
            painted(GOOD, "lazarus is ready:"),
            grpc.join(" and "),
            args.dir.display()
        ),
        next("run a worker", format!("pip install cerebelum-sdk, and connect it to {first}")),
        next("start", format!("lazarus start NAME --input '{{}}'{option}")),
        next("watch", format!("lazarus history ID --follow{option}   (lazarus list, status ID)")),
        next("stop", "Ctrl-C, or kill -9: the next start goes on where this one was".to_owned()),
    ]
}

fn tls_address(secured: &TlsListener) -> String {
    format!(", with TLS on {}", address(&secured.listener))
}

fn http_address(listener: &TcpListener) -> String {
    format!(", http://{}/metrics", address(listener))
}

#[cfg(test)]
mod tests {
    use anstream::adapter::strip_str;
    use clap::Parser as _;

    use super::*;

    #[derive(Debug, clap::Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    fn args(line: &[&str]) -> Args {
        Line::try_parse_from([&["dev"], line].concat()).unwrap().args
    }

    #[tokio::test]
    async fn a_second_port_that_is_taken_stops_nothing() {
        let taken = listen("127.0.0.1:0", "--grpc").await.unwrap();
        let taken = (address(&taken), taken);
        let flags = ["--grpc", "127.0.0.1:0", "--grpc", &taken.0, "--http", &taken.0];
        let listeners = listeners(&args(&flags)).await.unwrap();
        assert_eq!((listeners.grpc.len(), listeners.http.is_some()), (1, false));
    }

    #[tokio::test]
    async fn a_first_port_that_is_taken_stops_it() {
        let taken = listen("127.0.0.1:0", "--grpc").await.unwrap();
        let taken = (address(&taken), taken);
        let failure = listeners(&args(&["--grpc", &taken.0])).await.unwrap_err();
        assert!(failure.what.starts_with(&taken.0));
    }

    #[tokio::test]
    async fn the_banner_gives_commands_that_reach_this_server() {
        let args = args(&["--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0"]);
        let listeners = listeners(&args).await.unwrap();
        let server = address(&listeners.grpc[0]);
        let lines: Vec<String> =
            banner(&args, &listeners).iter().map(|line| strip_str(line).to_string()).collect();
        assert_eq!(
            lines[2],
            format!("  start         lazarus start NAME --input '{{}}' --server http://{server}")
        );
        assert!(lines[0].ends_with("store in .lazarus"), "{}", lines[0]);
    }
}
