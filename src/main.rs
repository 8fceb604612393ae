//! The `lazarus` command: parses, runs, and ends with the exit code that scripts rely on.

use std::{env, process::ExitCode};

use clap::Parser as _;
use lazarus::{
    cli::{self, Cli},
    env::SystemEnv,
};

/// The system's takes a fifth of all cycles under load: blocks are freed by other threads than the ones
/// that took them. Its own thread gives back what is not used any more, also of an engine that rests.
#[cfg(all(unix, not(target_env = "musl")))]
#[global_allocator]
static MEMORY: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// How many threads wait at once for what a thread has to wait for: names of hosts, and the disk of a store
/// of files. When thousands of sleepers are due in one moment there would be 512, of which each keeps
/// some hundred KiB, and two cores get no more done with them.
const BLOCKED_MAX: usize = 32;

fn main() -> anyhow::Result<ExitCode> {
    // Clap prints help, versions and faults of usage itself, and ends with 0 or 2.
    let by_lambda = env::var_os("AWS_LAMBDA_RUNTIME_API").is_some();
    let cli = Cli::parse_from(cli::words(env::args_os(), by_lambda));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .max_blocking_threads(BLOCKED_MAX)
        .enable_all()
        .build()?;
    let exit = runtime.block_on(Box::pin(cli::run(cli, SystemEnv::shared())));
    // Whatever is still open after a second signal, or after the time for an end was over, is cut
    // off: it is found again.
    runtime.shutdown_background();
    Ok(exit.into())
}
