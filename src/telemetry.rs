//! What an instance tells about itself: its log on standard error, its metrics for `/metrics`.
//!
//! Never prints results: those are the command line's.

use std::io::{self, IsTerminal as _};

use clap::Args;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::EnvFilter;

/// How the log is written; the same for every command.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Log (on standard error)")]
pub struct Options {
    /// What to log: error, warn, info, debug, trace, or a filter such as `lazarus::wake=debug`
    /// [default: info for serve, wake and lambda, else warn]
    #[arg(long, global = true, env = "RUST_LOG", value_name = "FILTER")]
    pub log: Option<String>,

    /// Write the log as JSON, one object per line
    #[arg(long, global = true, env = "LAZARUS_LOG_JSON")]
    pub log_json: bool,
}

/// Starts logging; `default` is what is logged unless the options say otherwise. Once per process.
///
/// # Errors
///
/// What is wrong with the filter, for a person.
pub fn start_log(options: &Options, default: &str) -> Result<(), String> {
    let text = options.log.as_deref().unwrap_or(default);
    let filter = EnvFilter::try_new(text).map_err(|error| format!("{text:?}: {error}"))?;
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal());
    let started =
        if options.log_json { log.json().try_init() } else { log.with_target(false).try_init() };
    started.map_err(|error| error.to_string())
}

/// Collects metrics from now on: call it before a store is opened. Once per process; the front door
/// folds what nobody reads.
///
/// # Errors
///
/// Why there will be none, for a person.
pub fn start_metrics() -> Result<PrometheusHandle, String> {
    PrometheusBuilder::new().install_recorder().map_err(|error| error.to_string())
}
