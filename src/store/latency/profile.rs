//! How long each kind of request takes: by a name with a source, or as given.

use std::{fmt, str::FromStr, time::Duration};

use thiserror::Error;

use crate::store::Operation;

/// How much longer than the median the 99th percentile is, where nobody says.
///
/// Source: Quickwit on S3 Standard, 2023: up to 30 ms to the first byte of a GET, "80 ms is rather
/// common" (<https://quickwit.io/blog/s3-express-speculations>).
const TAIL: f64 = 3.0;
/// Beyond this factor a median says nothing.
const TAIL_MAX: f64 = 100.0;
/// The longest median: a put of a commit is given up after 5 s.
const MEDIAN_MAX: Duration = Duration::from_secs(10);
/// Where the 99th percentile of the normal distribution is, in standard deviations.
const NORMAL_P99: f64 = 2.326_347_874;

/// How long requests take: a median for each kind, with a tail above it.
///
/// A single time is drawn from the log-normal distribution with that median and a 99th percentile of
/// `tail` times as much: what is seen of object stores, but for outages and throttling.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Latency {
    /// In the order of [`Operation`].
    medians: [Duration; 4],
    /// The 99th percentile, as a multiple of the median.
    tail: f64,
    /// Whether the store that this stands for lists in the order of keys.
    ordered: bool,
}

impl Latency {
    /// S3 Standard from a machine in its region, as of November 2026.
    ///
    /// Chosen, not measured by us: the fast end of what is published. Sources: Quickwit (as above);
    /// `SlateDB`, 50 to 100 ms a request (<https://slatedb.io/blog/introducing-slatedb>); AWS, 100 to
    /// 200 ms to the first byte (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/optimizing-performance.html>).
    const S3: Self = Self { medians: millis(15, 25, 50, 25), tail: TAIL, ordered: true };

    /// S3 Express One Zone from a machine in its zone, as of November 2026.
    ///
    /// Chosen from what AWS promises, "consistent single-digit millisecond"
    /// (<https://aws.amazon.com/s3/storage-classes/express-one-zone/>), which is why its tail is short.
    const S3_EXPRESS: Self = Self { medians: millis(4, 6, 9, 6), tail: 1.5, ordered: false };

    /// How long a request takes for which `chance` was drawn.
    pub(super) fn draw(&self, operation: Operation, chance: u128) -> Duration {
        let median = self.medians[operation as usize];
        median.mul_f64(self.tail.powf(normal(chance) / NORMAL_P99))
    }

    /// Whether the store that this stands for lists in the order of keys.
    pub(in crate::store) fn is_ordered(&self) -> bool {
        self.ordered
    }
}

/// The medians in the order of [`Operation`].
const fn millis(get: u64, put: u64, list: u64, delete: u64) -> [Duration; 4] {
    [
        Duration::from_millis(get),
        Duration::from_millis(put),
        Duration::from_millis(list),
        Duration::from_millis(delete),
    ]
}

/// A draw of the standard normal distribution (Box and Muller) from uniform bits.
#[expect(clippy::cast_precision_loss, reason = "53 bits are a float")]
#[expect(clippy::cast_possible_truncation, reason = "the halves of 128 bits are taken one by one")]
fn normal(chance: u128) -> f64 {
    let uniform = |bits: u64| ((bits >> 11) as f64 + 0.5) / (1_u64 << 53) as f64;
    let (radius, angle) = (uniform((chance >> 64) as u64), uniform(chance as u64));
    (-2.0 * radius.ln()).sqrt() * (std::f64::consts::TAU * angle).cos()
}

/// Why a text names no latency; the messages say what would.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum LatencyError {
    #[error(
        "{text:?} is no profile; give s3, s3-express, or times such as put=25ms,get=15ms,list=50ms"
    )]
    Profile { text: String },
    #[error(
        "{name:?} is no request; the times are put, get, list and delete, and tail is a factor"
    )]
    Name { name: String },
    #[error("{name} is given twice")]
    Twice { name: String },
    #[error("{name}={value}: {reason}; write it as 25ms or 1.5s, at most 10s")]
    Time { name: String, value: String, reason: String },
    #[error(
        "tail={value}: give a factor from 1 (each request takes the same) to 100: the 99th \
         percentile over the median"
    )]
    Tail { value: String },
}

impl FromStr for Latency {
    type Err = LatencyError;

    /// Reads `s3`, `s3-express`, or `put=25ms,get=15ms,list=50ms,delete=25ms,tail=3`: what is not named
    /// takes no time, but a delete as long as a put.
    fn from_str(text: &str) -> Result<Self, LatencyError> {
        match text {
            "s3" => Ok(Self::S3),
            "s3-express" => Ok(Self::S3_EXPRESS),
            _ if text.contains('=') => given(text),
            _ => Err(LatencyError::Profile { text: text.to_owned() }),
        }
    }
}

fn given(text: &str) -> Result<Latency, LatencyError> {
    let mut times: [Option<Duration>; 4] = [None; 4];
    let mut tail = None;
    for part in text.split(',') {
        let (name, value) =
            part.split_once('=').ok_or_else(|| LatencyError::Profile { text: text.to_owned() })?;
        let (name, value) = (name.trim(), value.trim());
        let twice = match operation(name) {
            Some(operation) => times[operation as usize].replace(time(name, value)?).is_some(),
            None if name == "tail" => tail.replace(factor(value)?).is_some(),
            None => return Err(LatencyError::Name { name: name.to_owned() }),
        };
        if twice {
            return Err(LatencyError::Twice { name: name.to_owned() });
        }
    }
    let (put, delete) = (Operation::Put as usize, Operation::Delete as usize);
    times[delete] = times[delete].or(times[put]);
    let medians = times.map(Option::unwrap_or_default);
    Ok(Latency { medians, tail: tail.unwrap_or(TAIL), ordered: true })
}

fn operation(name: &str) -> Option<Operation> {
    Operation::ALL.into_iter().find(|operation| operation.name() == name)
}

fn time(name: &str, value: &str) -> Result<Duration, LatencyError> {
    let fault = |reason: String| LatencyError::Time {
        name: name.to_owned(),
        value: value.to_owned(),
        reason,
    };
    let time = humantime::parse_duration(value).map_err(|error| fault(error.to_string()))?;
    if time > MEDIAN_MAX {
        return Err(fault("no store is so slow".to_owned()));
    }
    Ok(time)
}

fn factor(value: &str) -> Result<f64, LatencyError> {
    value
        .parse()
        .ok()
        .filter(|factor| (1.0..=TAIL_MAX).contains(factor))
        .ok_or_else(|| LatencyError::Tail { value: value.to_owned() })
}

impl fmt::Display for Latency {
    /// `get 15ms, put 25ms, list 50ms, delete 25ms, 1 in 100 over 3 times that`
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (operation, median) in Operation::ALL.into_iter().zip(self.medians) {
            write!(out, "{} {}, ", operation.name(), humantime::format_duration(median))?;
        }
        write!(out, "1 in 100 over {} times that", self.tail)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `splitmix64`, twice: uniform bits, the same in each run.
    fn draws(count: u64) -> impl Iterator<Item = u128> {
        let mix = |n: u64| {
            let mixed = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            u128::from(mixed ^ (mixed >> 31))
        };
        (0..count).map(move |n| mix(2 * n + 1) << 64 | mix(2 * n + 2))
    }

    #[test]
    fn half_of_the_draws_are_over_the_median_and_one_in_a_hundred_over_the_tail() {
        let latency: Latency = "s3".parse().unwrap();
        let over = |millis: u64| {
            let times = draws(100_000).map(|chance| latency.draw(Operation::Put, chance));
            times.filter(|time| *time > Duration::from_millis(millis)).count()
        };
        let (half, tail) = (over(25), over(75));
        assert!((49_000..=51_000).contains(&half), "{half} over the median");
        assert!((900..=1_100).contains(&tail), "{tail} over the 99th percentile");
    }

    #[test]
    fn without_a_tail_each_request_takes_the_same() {
        let latency: Latency = "put=25ms,list=1.5s,tail=1".parse().unwrap();
        let times = |operation| draws(10).map(move |chance| latency.draw(operation, chance));
        assert!(times(Operation::Put).all(|time| time == Duration::from_millis(25)));
        assert!(times(Operation::Delete).all(|time| time == Duration::from_millis(25)));
        assert!(times(Operation::List).all(|time| time == Duration::from_millis(1500)));
        assert!(times(Operation::Get).all(|time| time.is_zero()));
    }

    #[test]
    fn it_is_told_as_it_is() {
        let told = |text: &str| text.parse::<Latency>().unwrap().to_string();
        assert_eq!(
            told("s3"),
            "get 15ms, put 25ms, list 50ms, delete 25ms, 1 in 100 over 3 times that"
        );
        assert_eq!(
            told("get=1ms, delete=2ms, tail=2"),
            "get 1ms, put 0s, list 0s, delete 2ms, 1 in 100 over 2 times that"
        );
    }

    #[test]
    fn what_is_no_latency_is_told_how_to_write_one() {
        let fault = |text: &str| text.parse::<Latency>().unwrap_err().to_string();
        assert_eq!(
            fault("s4"),
            "\"s4\" is no profile; give s3, s3-express, or times such as put=25ms,get=15ms,list=50ms"
        );
        assert_eq!(
            fault("head=1ms"),
            "\"head\" is no request; the times are put, get, list and delete, and tail is a factor"
        );
        assert_eq!(fault("put=1ms,put=2ms"), "put is given twice");
        assert_eq!(
            fault("put=25"),
            "put=25: time unit needed, for example 25sec or 25ms; write it as 25ms or 1.5s, at most 10s"
        );
        assert_eq!(
            fault("get=1m"),
            "get=1m: no store is so slow; write it as 25ms or 1.5s, at most 10s"
        );
        for value in ["0.5", "101", "x", "NaN"] {
            assert!(fault(&format!("tail={value}")).starts_with(&format!("tail={value}: give a")));
        }
        assert!(fault("put=25ms,15ms").starts_with("\"put=25ms,15ms\" is no profile"));
    }
}
