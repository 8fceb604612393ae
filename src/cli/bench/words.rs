//! What the figures of a store say: as a table, as JSON, and in words.

use std::{fmt, time::Duration};

use anstyle::Style;
use serde_json::json;

use crate::{
    cli::output::{BAD, BOLD, Table},
    cost::{Prices, Requests, StorePrices},
    store::{Figure, Measured, Plan, RequestsMax},
};

/// Whose prices are taken.
pub(super) struct Basis<'a> {
    prices: &'a StorePrices,
    dated: &'a str,
}

impl<'a> Basis<'a> {
    pub(super) fn of(url: &str, prices: &'a Prices) -> Self {
        let is_express = url.starts_with("s3://")
            && url.split('/').nth(2).is_some_and(|bucket| bucket.ends_with("--x-s3"));
        let name = if is_express { "S3 Express One Zone" } else { "S3 Standard" };
        Self {
            prices: prices.store(name).expect("BUG: the built-in prices have S3"),
            dated: prices.dated(),
        }
    }

    /// What is said before anything is sent.
    pub(super) fn announcement(&self, url: &str, plan: &Plan) -> String {
        let RequestsMax { put, get, list, delete } = plan.requests_max();
        let most = Requests { put, get, list, delete };
        let usd = self.prices.requests(&most);
        format!(
            "measuring {url} with at most {put} PUT, {get} GET, {list} LIST and {delete} DELETE: \
             {usd:.2} USD at the prices of {self}"
        )
    }

    fn per_million_steps(&self) -> f64 {
        self.prices.requests(&Requests { put: 1_000_000, ..Requests::default() })
    }
}

impl fmt::Display for Basis<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} ({})", self.prices.name(), self.dated)
    }
}

pub(super) fn clients(figure: &Figure) -> String {
    match figure.clients {
        1 => "1 client".to_owned(),
        clients => format!("{clients} clients"),
    }
}

pub(super) fn table(figures: &[Figure]) -> Table {
    let mut table =
        Table::new(&["REQUEST", "CLIENTS", "SENT", "FAILED", "PER SECOND", "P50", "P99", "P99.9"]);
    for figure in figures {
        let plain = |text: String| (text, Style::new());
        let failed = if figure.failed == 0 { Style::new() } else { BAD };
        table.row(vec![
            (figure.measured.name().to_owned(), BOLD),
            plain(figure.clients.to_string()),
            plain((figure.requests() + figure.failed).to_string()),
            (figure.failed.to_string(), failed),
            plain(rate(figure.per_second())),
            plain(figure.p50().map_or_else(unknown, millis)),
            plain(figure.p99().map_or_else(unknown, millis)),
            plain(figure.p999().map_or_else(unknown, millis)),
        ]);
    }
    table
}

/// Too few requests to tell.
fn unknown() -> String {
    "-".to_owned()
}

/// `25.1 ms`, and `21 µs` where it is that fast.
fn millis(duration: Duration) -> String {
    let millis = duration.as_secs_f64() * 1_000.0;
    if millis < 1.0 { format!("{:.0} µs", millis * 1_000.0) } else { format!("{millis:.1} ms") }
}

fn rate(per_second: f64) -> String {
    if per_second < 100.0 { format!("{per_second:.1}") } else { format!("{per_second:.0}") }
}

pub(super) fn of_figure(figure: &Figure) -> serde_json::Value {
    let millis = |time: Option<Duration>| time.map(|time| time.as_secs_f64() * 1_000.0);
    json!({
        "measured": figure.measured.name(),
        "clients": figure.clients,
        "sent": figure.requests() + figure.failed,
        "failed": figure.failed,
        "seconds": figure.elapsed.as_secs_f64(),
        "per_second": figure.per_second(),
        "p50_ms": millis(figure.p50()),
        "p99_ms": millis(figure.p99()),
        "p99_9_ms": millis(figure.p999()),
    })
}

/// What the puts say about steps: the fewest clients about one run, the most about the store.
pub(super) struct StepFigures<'a> {
    one: &'a Figure,
    most: &'a Figure,
}

impl<'a> StepFigures<'a> {
    pub(super) fn of(figures: &'a [Figure]) -> Option<Self> {
        let puts = || figures.iter().filter(|it| it.measured == Measured::PutIfAbsent);
        let one = puts().min_by_key(|figure| figure.clients)?;
        let most = puts().max_by_key(|figure| figure.clients)?;
        Some(Self { one, most })
    }

    /// How many steps in a row one run commits in a second.
    fn in_a_row(&self) -> f64 {
        let mean = self.one.mean().as_secs_f64();
        if mean > 0.0 { 1.0 / mean } else { 0.0 }
    }

    pub(super) fn words(&self, prices: &Basis<'_>) -> Vec<String> {
        let p99 = self.one.p99().map(|time| format!(", 1 in 100 over {}", millis(time)));
        let median = self.one.p50().map_or_else(|| millis(self.one.mean()), millis);
        vec![
            format!(
                "A step of a chain costs one put-if-absent: here it takes {median} (median){}, beside \
                 the time of the worker.",
                p99.unwrap_or_default()
            ),
            format!(
                "One execution commits {} steps a second, one after the other; {} at once put {} a \
                 second.",
                rate(self.in_a_row()),
                clients(self.most),
                rate(self.most.per_second()),
            ),
            format!(
                "A million steps cost {:.2} USD, at the price of a PUT of {prices}. `lazarus cost` reckons a whole \
                 workload.",
                prices.per_million_steps()
            ),
        ]
    }

    pub(super) fn json(&self, prices: &Basis<'_>) -> serde_json::Value {
        let millis = |time: Option<Duration>| time.map(|time| time.as_secs_f64() * 1_000.0);
        json!({ "step": {
            "p50_ms": millis(self.one.p50()),
            "p99_ms": millis(self.one.p99()),
            "in_a_row_per_second": self.in_a_row(),
            "per_second": self.most.per_second(),
            "clients": self.most.clients,
            "usd_per_million": prices.per_million_steps(),
            "prices": prices.prices.name(),
            "prices_dated": prices.dated,
        } })
    }
}
