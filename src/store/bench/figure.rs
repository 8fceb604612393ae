//! How long many requests took: what a few numbers say about them.

use std::time::Duration;

use super::Measured;

/// What one measurement came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Figure {
    /// What was measured.
    pub measured: Measured,
    /// How many clients sent requests at once.
    pub clients: u32,
    /// From the first request to the last answer.
    pub elapsed: Duration,
    /// How many requests failed; their times count for nothing.
    pub failed: usize,
    /// How long each other request took, the shortest first.
    latencies: Vec<Duration>,
}

impl Figure {
    pub(super) fn new(
        measured: Measured,
        clients: u32,
        elapsed: Duration,
        failed: usize,
        mut latencies: Vec<Duration>,
    ) -> Self {
        latencies.sort_unstable();
        Self { measured, clients, elapsed, failed, latencies }
    }

    /// How many requests did what they should.
    pub fn requests(&self) -> usize {
        self.latencies.len()
    }

    /// How many of them came to their end in a second.
    #[expect(clippy::cast_precision_loss, reason = "far fewer than 2^52 requests")]
    pub fn per_second(&self) -> f64 {
        let seconds = self.elapsed.as_secs_f64();
        if seconds > 0.0 { self.requests() as f64 / seconds } else { 0.0 }
    }

    /// The mean time of a request; zero where there was none.
    pub fn mean(&self) -> Duration {
        let count = u32::try_from(self.requests()).unwrap_or(u32::MAX);
        let sum: Duration = self.latencies.iter().sum();
        sum.checked_div(count).unwrap_or_default()
    }

    /// The time under which half of the requests stayed.
    pub fn p50(&self) -> Option<Duration> {
        self.percentile(500)
    }

    /// The time under which 99 of 100 stayed; none with fewer than 100 requests, of which none would
    /// tell it.
    pub fn p99(&self) -> Option<Duration> {
        self.percentile(990)
    }

    /// The time under which 999 of 1,000 stayed; none with fewer than 1,000 requests.
    pub fn p999(&self) -> Option<Duration> {
        self.percentile(999)
    }

    /// The nearest rank: the shortest time that at least so many of 1,000 requests did not exceed.
    /// None unless a request may lie beyond it.
    fn percentile(&self, per_mille: usize) -> Option<Duration> {
        let count = self.latencies.len();
        if count * (1_000 - per_mille) < 1_000 {
            return None;
        }
        let rank = (count * per_mille).div_ceil(1_000);
        self.latencies.get(rank - 1).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figure(millis: impl IntoIterator<Item = u64>) -> Figure {
        let latencies = millis.into_iter().map(Duration::from_millis).collect();
        Figure::new(Measured::GetHit, 8, Duration::from_secs(4), 0, latencies)
    }

    /// The median, p99 and p99.9, in milliseconds.
    fn told(figure: &Figure) -> [Option<u128>; 3] {
        [figure.p50(), figure.p99(), figure.p999()].map(|time| time.map(|time| time.as_millis()))
    }

    #[test]
    fn percentiles_are_the_nearest_ranks_of_what_was_measured() {
        // 1 to 1,000 ms, in an order that is not theirs.
        let all = figure((1..=1_000).map(|n| n * 3 % 1_001));
        assert_eq!(told(&all), [Some(500), Some(990), Some(999)]);
        assert_eq!(told(&figure(1..=100)), [Some(50), Some(99), None]);
        assert_eq!(told(&figure([9, 1, 5])), [Some(5), None, None]);
        assert_eq!(told(&figure([8, 7])), [Some(7), None, None]);
        assert_eq!(told(&figure([7])), [None; 3]);
        assert_eq!(told(&figure([])), [None; 3]);
    }

    #[test]
    fn one_slow_request_in_a_hundred_is_seen_beyond_p99_and_more_at_it() {
        let slow = |slow: usize| told(&figure((0..200).map(|n| if n < slow { 900 } else { 10 })));
        assert_eq!([slow(2)[1], slow(3)[1]], [Some(10), Some(900)]);
    }

    #[test]
    fn rates_are_of_what_succeeded() {
        let all = figure((0..100).map(|_| 20));
        assert_eq!((all.requests(), all.mean()), (100, Duration::from_millis(20)));
        assert!((all.per_second() - 25.0).abs() < 1e-9);
        assert_eq!((figure([]).mean(), figure([]).requests()), (Duration::ZERO, 0));
    }
}
