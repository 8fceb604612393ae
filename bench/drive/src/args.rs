//! What the programs of both systems are asked, so that both are asked the same.

use clap::Args;

/// Executions one after the other.
#[derive(Debug, Args)]
pub struct Closed {
    /// chain10, fan100, payload; for Lazarus also long
    pub workload: String,
    /// How many clients at once
    #[arg(long)]
    pub clients: usize,
    #[arg(long, default_value_t = 5.0)]
    pub seconds: f64,
    /// Seconds before those that count
    #[arg(long, default_value_t = 1.0)]
    pub warm_up: f64,
}

/// Executions with names, each sent again until it has ended.
#[derive(Debug, Args)]
pub struct Batch {
    pub workload: String,
    /// How many clients at once
    #[arg(long)]
    pub clients: usize,
    #[command(flatten)]
    pub named: Named,
}

/// Executions with names.
#[derive(Debug, Args)]
pub struct Named {
    /// Their ids are PREFIX-0, PREFIX-1, and so on
    #[arg(long)]
    pub prefix: String,
    #[arg(long)]
    pub count: usize,
}

/// Executions with names that are started, and not waited for.
#[derive(Debug, Args)]
pub struct Paced {
    #[command(flatten)]
    pub named: Named,
    /// So many a second; 0: as fast as the server takes them
    #[arg(long, default_value_t = 0)]
    pub per_second: u32,
}
