//! What a workload costs: counts of requests, times a dated table of prices.
//!
//! Owns: how many requests and bytes a workload comes to, the prices (`prices.json`, with who says so and
//! since when), how others would charge for the same. Must never ask a store, a clock or a network.
//!
//! Invariants:
//! * the counts of a workload are those of a real engine (`tests/blackbox/cost_model.rs` holds them
//!   together, request by request);
//! * where a count depends on luck (results that share a commit), the dearest one is taken; where an
//!   other system's rules leave room, the cheapest;
//! * the tables of docs/cost.md are made from here, and a test compares them.

mod bill;
mod bytes;
#[cfg(test)]
mod documentation;
mod idle;
mod peers;
mod prices;
mod requests;
mod workload;

pub use bill::{Bill, bill};
pub use idle::Standing;
pub use prices::{Prices, PricesError, StorePrices};
pub use requests::Requests;
pub use workload::Workload;

/// What vendors call a GB.
const GB: f64 = float(1 << 30);
/// The hours of a month, as AWS counts them.
const MONTH_HOURS: f64 = 730.0;
/// A million, in which requests are priced.
const MILLION: f64 = 1_000_000.0;

/// `count` as a factor.
#[expect(clippy::cast_precision_loss, reason = "16 digits of a price are enough")]
const fn float(count: u64) -> f64 {
    count as f64
}
