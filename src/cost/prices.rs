//! The table of prices: what is charged for a request, a GB and a month, by whom, and since when.

use serde::Deserialize;
use thiserror::Error;

use super::{GB, MILLION, Requests, float};

/// The table of this build.
const BUILT_IN: &str = include_str!("prices.json");

/// What vendors charge, in USD. `prices.json` is the table of this build, and the form of any other.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Prices {
    /// When the table was last gone through.
    dated: String,
    stores: Vec<StorePrices>,
    pub(super) step_functions_standard: StepFunctionsStandard,
    pub(super) step_functions_express: StepFunctionsExpress,
    pub(super) lambda_durable: LambdaDurable,
    pub(super) temporal_cloud: TemporalCloud,
    pub(super) cloudflare_workflows: CloudflareWorkflows,
}

/// What a store charges.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StorePrices {
    name: String,
    put_million: f64,
    get_million: f64,
    list_million: f64,
    delete_million: f64,
    written_gb: f64,
    stored_gb_month: f64,
    source: String,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StepFunctionsStandard {
    pub(super) transition_million: f64,
    source: String,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StepFunctionsExpress {
    pub(super) request_million: f64,
    pub(super) gb_second: f64,
    source: String,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LambdaDurable {
    pub(super) operation_million: f64,
    pub(super) written_gb: f64,
    pub(super) stored_gb_month: f64,
    source: String,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TemporalCloud {
    /// The smallest first; the last one without a bound.
    pub(super) action_million: Vec<Tier>,
    pub(super) business_month: f64,
    pub(super) business_actions_million: f64,
    pub(super) business_active_gb: f64,
    pub(super) business_retained_gb: f64,
    pub(super) plan_share: f64,
    pub(super) active_gb_hour: f64,
    pub(super) retained_gb_hour: f64,
    source: String,
}

/// What each million costs up to a bound.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Tier {
    pub(super) up_to_million: Option<f64>,
    pub(super) usd: f64,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CloudflareWorkflows {
    pub(super) step_million: f64,
    pub(super) stored_gb_month: f64,
    source: String,
}

/// Why a text is no table of prices.
#[derive(Debug, Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum PricesError {
    #[error("it is no table of prices")]
    Form {
        #[source]
        source: serde_json::Error,
    },
    #[error("{what} is {price}; a price is 0 or more")]
    Price { what: String, price: f64 },
    #[error("it names no store")]
    NoStore,
    #[error("the tiers of temporal_cloud do not rise, or the last one has a bound")]
    Tiers,
}

impl Prices {
    /// The table of this build.
    ///
    /// # Panics
    ///
    /// Never: a test reads it.
    pub fn built_in() -> Self {
        Self::read(BUILT_IN).expect("BUG: the built-in prices can not be read")
    }

    /// The table of this build, as a text to begin another one with.
    pub fn built_in_text() -> &'static str {
        BUILT_IN.trim_end()
    }

    /// Reads a table.
    ///
    /// # Errors
    ///
    /// [`PricesError`]: what is wrong with it.
    pub fn read(text: &str) -> Result<Self, PricesError> {
        let prices: Self =
            serde_json::from_str(text).map_err(|source| PricesError::Form { source })?;
        if prices.stores.is_empty() {
            return Err(PricesError::NoStore);
        }
        if !prices.temporal_cloud.has_rising_tiers() {
            return Err(PricesError::Tiers);
        }
        let value = serde_json::from_str(text).map_err(|source| PricesError::Form { source })?;
        match below_zero("", &value) {
            Some((what, price)) => Err(PricesError::Price { what, price }),
            None => Ok(prices),
        }
    }

    /// When the table was last gone through: `2026-11-26`.
    pub fn dated(&self) -> &str {
        &self.dated
    }

    /// What each store charges.
    pub fn stores(&self) -> &[StorePrices] {
        &self.stores
    }

    /// What the store of this name charges.
    pub fn store(&self, name: &str) -> Option<&StorePrices> {
        self.stores.iter().find(|store| store.name == name)
    }

    /// Whose prices these are, and who says so.
    pub fn sources(&self) -> Vec<(&str, &str)> {
        let stores = self.stores.iter().map(|store| (store.name.as_str(), store.source.as_str()));
        let others = [
            ("Step Functions Standard", &self.step_functions_standard.source),
            ("Step Functions Express", &self.step_functions_express.source),
            ("Lambda durable functions", &self.lambda_durable.source),
            ("Temporal Cloud", &self.temporal_cloud.source),
            ("Cloudflare Workflows", &self.cloudflare_workflows.source),
        ];
        stores.chain(others.map(|(name, source)| (name, source.as_str()))).collect()
    }
}

/// The first number below zero, and where it stands.
fn below_zero(place: &str, value: &serde_json::Value) -> Option<(String, f64)> {
    use serde_json::Value;
    match value {
        Value::Number(number) => {
            let price = number.as_f64()?;
            (price < 0.0).then(|| (place.trim_start_matches('.').to_owned(), price))
        }
        Value::Array(values) => values
            .iter()
            .enumerate()
            .find_map(|(n, value)| below_zero(&format!("{place}.{n}"), value)),
        Value::Object(fields) => {
            fields.iter().find_map(|(name, value)| below_zero(&format!("{place}.{name}"), value))
        }
        Value::Null | Value::Bool(_) | Value::String(_) => None,
    }
}

impl StorePrices {
    /// Who charges them.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What so many requests cost.
    pub fn requests(&self, requests: &Requests) -> f64 {
        let Requests { put, get, list, delete } = *requests;
        let dear = float(put) * self.put_million + float(list) * self.list_million;
        let cheap = float(get) * self.get_million + float(delete) * self.delete_million;
        (dear + cheap) / MILLION
    }

    /// What it costs to write so many bytes, beside the requests.
    pub fn written(&self, bytes: f64) -> f64 {
        bytes / GB * self.written_gb
    }

    /// What it costs to keep so many bytes for so many months.
    pub fn kept(&self, bytes: f64, months: f64) -> f64 {
        bytes / GB * months * self.stored_gb_month
    }
}

impl TemporalCloud {
    /// What so many million actions cost, each at the price of its tier.
    pub(super) fn actions(&self, millions: f64) -> f64 {
        let (mut usd, mut from) = (0.0, 0.0);
        for tier in &self.action_million {
            let upto = tier.up_to_million.unwrap_or(f64::INFINITY).min(millions);
            usd += (upto - from).max(0.0) * tier.usd;
            from = upto.max(from);
        }
        usd
    }

    fn has_rising_tiers(&self) -> bool {
        let bounds: Vec<f64> = self
            .action_million
            .iter()
            .map(|it| it.up_to_million.unwrap_or(f64::INFINITY))
            .collect();
        bounds.last() == Some(&f64::INFINITY) && bounds.is_sorted_by(|one, next| one < next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_this_build_is_read_and_each_price_has_a_source() {
        let prices = Prices::built_in();
        assert_eq!(prices.stores().len(), 3);
        for (name, source) in prices.sources() {
            assert!(source.contains("https://") && source.contains("202"), "{name}: {source}");
        }
    }

    #[test]
    fn requests_cost_what_the_vendors_own_example_says() {
        // The first example of the S3 FAQ: 10 GB for a month, 1,000,000 writes and 9,000,000 reads of
        // 10 KB: 1.10 + 1.13 + 0.27 + 0.03 USD, and 0.05 for the bytes that are read.
        let prices = Prices::built_in();
        let express = prices.store("S3 Express One Zone").expect("it is there");
        let requests = Requests { put: 1_000_000, get: 9_000_000, list: 0, delete: 1_000_000 };
        let body = 10.0 * 1024.0;
        let whole = express.kept(10.0 * GB, 1.0)
            + express.requests(&requests)
            + express.written(body * 1_000_000.0);
        assert!((whole - 2.53).abs() < 0.005, "{whole}");
    }

    #[test]
    fn actions_cost_what_the_vendors_own_example_says() {
        // 11.25 million in excess of the plan: 250 + 225 + 50 USD.
        let temporal = Prices::built_in().temporal_cloud;
        assert!((temporal.actions(11.25) - 525.0).abs() < 1e-9);
        assert!((temporal.actions(300.0) - 8_425.0).abs() < 1e-9, "{}", temporal.actions(300.0));
        assert!(temporal.actions(0.0).abs() < 1e-9);
    }

    #[test]
    fn what_is_no_table_is_told_why() {
        let fault = |text: &str| Prices::read(text).unwrap_err().to_string();
        let other = |from: &str, to: &str| fault(&BUILT_IN.replace(from, to));
        assert_eq!(fault("{}"), "it is no table of prices");
        assert_eq!(other("\"put_million\": 5.00", "\"put\": 5.00"), "it is no table of prices");
        assert_eq!(
            other("\"put_million\": 5.00", "\"put_million\": -5"),
            "stores.0.put_million is -5; a price is 0 or more"
        );
        assert_eq!(
            other("\"up_to_million\": 5,", "\"up_to_million\": 15,"),
            "the tiers of temporal_cloud do not rise, or the last one has a bound"
        );
        assert_eq!(
            other("\"up_to_million\": null", "\"up_to_million\": 500"),
            "the tiers of temporal_cloud do not rise, or the last one has a bound"
        );
    }
}
