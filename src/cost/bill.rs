//! What a month of a workload costs on a store, and elsewhere.

use serde::Serialize;

use super::{MILLION, Prices, Standing, StorePrices, Workload, float, peers};

/// What one system charges for a month, in USD.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Bill {
    /// Whose it is: `Lazarus on S3 Standard`.
    pub system: String,
    /// What is counted for one execution: `12 PUT, 1 GET`.
    pub counted: String,
    /// What is charged for that.
    pub requests: f64,
    /// What is charged for data: written, and kept.
    pub data: f64,
    /// What is charged whatever runs.
    pub standing: f64,
}

impl Bill {
    /// All of it.
    pub fn total(&self) -> f64 {
        self.requests + self.data + self.standing
    }

    /// All of it for a million executions of `workload`, of which it is the bill; none where none ran.
    pub fn per_million(&self, workload: &Workload) -> Option<f64> {
        let millions = float(workload.executions) / MILLION;
        (millions > 0.0).then(|| self.total() / millions)
    }
}

/// What a month of `workload` costs: on each store of `prices`, then elsewhere where it can run there.
pub fn bill(workload: &Workload, standing: &Standing, prices: &Prices) -> Vec<Bill> {
    let mut bills: Vec<Bill> =
        prices.stores().iter().map(|store| ours(workload, standing, store)).collect();
    bills.extend(peers::bills(workload, prices));
    bills
}

fn ours(workload: &Workload, standing: &Standing, store: &StorePrices) -> Bill {
    let one = workload.requests();
    let all = (one + workload.deletion()) * workload.executions;
    let bytes = float(workload.stored_bytes()) * float(workload.executions);
    let beside = standing.requests_a_month() + standing.records_a_month(workload);
    Bill {
        system: format!("Lazarus on {}", store.name()),
        counted: one.to_string(),
        requests: store.requests(&all),
        data: store.written(bytes) + store.kept(bytes, workload.stored_months()),
        standing: store.requests(&beside),
    }
}
