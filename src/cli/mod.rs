//! The command line: translates arguments into requests, and answers into text and exit codes.
//!
//! Holds no rule of the workflow. Every command that asks for something is written once, against the
//! gRPC interface, and works on a server and on a bucket alike (`connect`).
//!
//! Invariants:
//! * results go to standard output, everything else to standard error (`output`);
//! * the exit code says what the caller does next (`exit`);
//! * a request that changes something carries an id, so that sending it again is safe.

mod answer;
mod audit;
mod bench;
mod blueprint;
mod clock;
mod connect;
mod cost;
mod dead;
mod dev;
mod dev_certs;
mod exit;
mod history;
mod instance;
mod json;
mod lambda;
mod list;
mod log;
mod output;
mod probe;
mod queue;
mod resume;
mod retention;
mod scrub;
mod serve;
mod serving;
mod simulate;
mod start;
mod status;
mod tls;
mod wake;

use std::sync::Arc;

use clap::{Parser, Subcommand};

pub use exit::{Exit, Failure};
pub use lambda::words;

use self::connect::{Session, Target};
use crate::{env::Env, telemetry};

/// Durable workflows whose only state is a bucket
///
/// A workflow's steps run on workers in any language; what they did is kept in a store, so that
/// any engine, started at any time, goes on where another one died.
#[derive(Debug, Parser)]
#[command(
    name = "lazarus",
    version,
    propagate_version = false,
    max_term_width = 100,
    after_help = "To begin:
  lazarus dev                             an engine on this machine
  lazarus start NAME --input '{}'         start an execution (needs a worker that has its steps)
  lazarus history ID                      see what happened

Exit codes: 0 done, 1 refused, 2 wrong usage, 3 nobody answered (try again)."
)]
pub struct Cli {
    #[command(flatten)]
    log: telemetry::Options,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Dev(dev::Args),
    Serve(serve::Args),
    DevCerts(dev_certs::Args),
    Lambda(lambda::Args),
    Probe(probe::Args),
    Wake(wake::Args),
    Start(start::Args),
    Status(status::Args),
    History(history::Args),
    List(list::Args),
    Approve(answer::Approve),
    Reject(answer::Reject),
    Cancel(answer::Cancel),
    Resume(resume::Args),
    Blueprint(blueprint::Args),
    Queue(queue::Args),
    Log(log::Args),
    Dead(dead::Args),
    Audit(audit::Args),
    Scrub(scrub::Args),
    Retention(retention::Args),
    Bench(bench::Args),
    Cost(cost::Args),
}

/// Does what the command line says, and tells the person why not.
pub async fn run(cli: Cli, env: Arc<dyn Env>) -> Exit {
    let outcome = match start_log(&cli) {
        Ok(()) => dispatch(cli.command, env).await,
        Err(failure) => Err(failure),
    };
    match outcome {
        Ok(()) => Exit::Ok,
        Err(failure) => {
            output::failure(&failure);
            failure.exit
        }
    }
}

fn start_log(cli: &Cli) -> Result<(), Failure> {
    let works_unseen =
        matches!(cli.command, Command::Serve(_) | Command::Wake(_) | Command::Lambda(_));
    let default = if works_unseen { "info" } else { "warn" };
    telemetry::start_log(&cli.log, default).map_err(|error| {
        Failure::usage(
            format_args!("--log {error}"),
            "write a level (info) or parts with levels (info,lazarus::wake=debug)",
        )
    })
}

async fn dispatch(command: Command, env: Arc<dyn Env>) -> Result<(), Failure> {
    match command {
        Command::Dev(args) => dev::run(args, env).await,
        Command::Serve(args) => serve::run(args, env).await,
        Command::DevCerts(args) => dev_certs::run(&args, env.as_ref()),
        Command::Lambda(args) => lambda::run(args, env).await,
        Command::Probe(args) => probe::run(&args, &env).await,
        Command::Wake(args) => wake::run(args, env).await,
        Command::Start(args) => {
            ask(&args.target, env, async |it| start::run(it, &args).await).await
        }
        Command::Status(args) => {
            ask(&args.target, env, async |it| status::run(it, &args).await).await
        }
        Command::History(args) => {
            ask(&args.target, env, async |it| history::run(it, &args).await).await
        }
        Command::List(args) => ask(&args.target, env, async |it| list::run(it, &args).await).await,
        Command::Approve(args) => {
            ask(&args.target, env, async |it| answer::approve(it, &args).await).await
        }
        Command::Reject(args) => {
            ask(&args.target, env, async |it| answer::reject(it, &args).await).await
        }
        Command::Cancel(args) => {
            ask(&args.target, env, async |it| answer::cancel(it, &args).await).await
        }
        Command::Resume(args) => {
            ask(&args.target, env, async |it| resume::run(it, &args).await).await
        }
        Command::Blueprint(args) => {
            ask(&args.target, env, async |it| blueprint::run(it, &args).await).await
        }
        Command::Queue(args) => {
            ask(&args.target, env, async |it| queue::run(it, &args).await).await
        }
        Command::Log(args) => ask(&args.target, env, async |it| log::run(it, &args).await).await,
        Command::Dead(args) => ask(&args.target, env, async |it| dead::run(it, &args).await).await,
        Command::Audit(args) => audit::run(&args, &env).await,
        Command::Scrub(args) => scrub::run(&args, &env).await,
        Command::Retention(args) => retention::run(&args, &env).await,
        Command::Bench(args) => bench::run(args, &env).await,
        Command::Cost(args) => cost::run(&args),
    }
}

/// Runs a client command; what it began on a store is finished before its outcome is told.
async fn ask(
    target: &Target,
    env: Arc<dyn Env>,
    command: impl AsyncFnOnce(&Session) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let session = Session::open(target, env).await?;
    let outcome = command(&session).await;
    outcome.and(session.close().await)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_explains_itself() {
        for command in Cli::command().get_subcommands() {
            assert!(command.get_about().is_some(), "{}", command.get_name());
            assert!(
                command.get_name() == "dead" || command.get_after_help().is_some(),
                "{}",
                command.get_name()
            );
        }
    }

    #[test]
    fn the_documented_lines_are_understood() {
        for line in [
            "dev --dir x --grpc 127.0.0.1:1 --grpc 127.0.0.1:2 --http 127.0.0.1:3",
            "serve --store memory: --grpc 0.0.0.0:1 --cache 0 --no-near-timers --guard-interval 2s",
            "dev --grpc-tls 127.0.0.1:1 --tls-cert a --tls-key b --tls-client-ca c",
            "serve --store memory: --grpc-tls [::]:1 --tls-cert a --tls-key b --tls-client-ca c",
            "dev-certs certs --host a.example --host 10.0.0.1 --days 30 --force",
            "wake --store memory: --for 55s",
            "lambda --store memory: --wake-parts 8 --retention 90d --lease 1m",
            "probe --store memory: --shards 4",
            "start orders --input {} --id a --version 2 --timeout 1h --wait --store memory:",
            "status a --json -n team-a",
            "history a --follow --server http://127.0.0.1:1",
            "list --workflow orders --status waiting-for-approval --limit 1000",
            "approve a --step b --data {}",
            "approve a --run-again --by ana",
            "reject a --reason no",
            "cancel a --reason no --log debug",
            "resume a --from-start --by ana --store memory:",
            "blueprint put -",
            "blueprint get orders --version 2",
            "blueprint list --store memory:",
            "blueprint diff orders --from 1 --to 2 -n team-a",
            "blueprint graph orders --version 2",
            "queue set pdf --url https://a.example/ --hmac-secret PDF --step render --workflow orders",
            "queue set pdf --url https://a.example/ --sigv4 lambda --region eu-central-1",
            "queue set pdf --lambda pdf --callback --concurrency 5 --timeout 2m --breaker-failures 3",
            "queue get pdf --json -n team-a",
            "queue list --store memory:",
            "queue delete pdf",
            "serve --store memory: --push-secrets /run/secrets",
            "wake --store memory: --for 55s --push-secrets /run/secrets",
            "log cat a --keys",
            "dead list --json",
            "dead retry h",
            "audit --store memory: --json",
            "scrub --store memory: --dry-run --json",
            "retention --store memory: --older-than 30d -n team-a --dry-run --json",
            "retention --store memory: --retention forever --namespace-retention a=36h",
            "serve --store memory: --retention 90d --namespace-retention a=36h,b=forever",
            "dev --retention forever",
            "dev --simulate-latency s3",
            "serve --store memory: --simulate-latency put=25ms,get=15ms,list=50ms,tail=2",
            "bench store --store memory: --clients 1,8 --seconds 1 --count 10 --size 4KiB --json",
            "bench store --store file:///x --simulate-latency s3-express",
            "cost --executions 5 --steps 2 --sleeps 1 --fan-out 3 --payload 1KB --prices p.json",
            "cost --approvals 1 --failures 1 --own-ids --kept 90d --instances 0 --wake-looks 1 --json",
        ] {
            let words = std::iter::once("lazarus").chain(line.split(' '));
            assert!(Cli::try_parse_from(words).is_ok(), "{line}");
        }
        assert!(Cli::try_parse_from(["lazarus", "list", "--limit", "0"]).is_err());
        for unclear in [
            "queue set pdf --step a",
            "queue set pdf --lambda a --url https://a.example/ --hmac-secret A",
            "queue set pdf --url https://a.example/ --hmac-secret A --sigv4 lambda",
            "queue set pdf --url https://a.example/ --hmac-secret A --callback",
            "queue set pdf --lambda a --hmac-secret A",
            "queue set pdf --lambda a --sigv4 lambda",
        ] {
            let words = std::iter::once("lazarus").chain(unclear.split(' '));
            assert!(Cli::try_parse_from(words).is_err(), "{unclear}");
        }
        for short in ["--retention 23h", "--namespace-retention a=1s", "--namespace-retention 30d"]
        {
            let words = "lazarus serve --store memory:".split(' ').chain(short.split(' '));
            assert!(Cli::try_parse_from(words).is_err(), "{short}");
        }
    }
}
