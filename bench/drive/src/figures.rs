//! Times into figures.

use std::time::Duration;

use serde_json::{Value, json};

/// What clients saw.
#[derive(Debug, Default)]
pub struct Ended {
    /// How long each took that counts.
    pub times: Vec<Duration>,
    /// How many ended at all, those of the warm-up and the tail too: what the server has done.
    pub all: usize,
    /// How many were refused or broke.
    pub errors: usize,
    /// The words of the first that was.
    pub first_error: Option<String>,
}

impl Ended {
    pub(crate) fn refused(&mut self, error: &anyhow::Error) {
        self.errors += 1;
        self.first_error.get_or_insert_with(|| format!("{error:#}"));
    }

    pub(crate) fn add(&mut self, other: Self) {
        self.times.extend(other.times);
        self.all += other.all;
        self.errors += other.errors;
        self.first_error = self.first_error.take().or(other.first_error);
    }
}

/// What came of many of the same: their number, rate and percentiles in milliseconds.
pub fn of(ended: Ended, span: Duration) -> Value {
    let Ended { mut times, all, errors, first_error } = ended;
    times.sort_unstable();
    let at = |share: f64| {
        let rank = (share * times.len() as f64).ceil() as usize;
        times.get(rank.saturating_sub(1)).map(|time| time.as_secs_f64() * 1e3)
    };
    json!({
        "count": times.len(),
        "ended": all,
        "errors": errors,
        "first_error": first_error,
        "seconds": span.as_secs_f64(),
        "rate": times.len() as f64 / span.as_secs_f64(),
        "p50_ms": at(0.5), "p99_ms": at(0.99), "p999_ms": at(0.999), "max_ms": at(1.0),
    })
}
