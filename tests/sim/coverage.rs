//! What many histories covered, and how much they must: a simulation in which nothing happens any
//! more would keep every promise.

use std::{collections::BTreeMap, time::Duration};

use super::history::Outcome;

/// Everything that may go wrong, by the name under which it is counted.
const FAULTS: [&str; 39] = [
    "request fails",
    "reply lost",
    "applied late",
    "applied twice",
    "own write answered AlreadyExists",
    "conflict without an object",
    "slow",
    "429 in bursts",
    "500 in bursts",
    "503 in bursts",
    "delete fails",
    "reply to a delete lost",
    "delete applied late",
    "delete applied twice",
    "late delete of a key that was put again",
    "list in no order",
    "list in pages of two or three",
    "page of a list from another moment",
    "write of a payload fails, is lost or late",
    "crash",
    "crash before a request",
    "crash within a request",
    "freeze",
    "freeze before a request",
    "freeze for hours",
    "thaw after ten minutes and more",
    "restart",
    "rolling restart with another build",
    "request refused as its run is too new",
    "clock is set",
    "clock jumps there and back",
    "clock beyond the bound",
    "request or answer of a client lost",
    "start sent twice at once",
    "start beside a resumption",
    "poller gone before its answer",
    "worker dead before its work",
    "worker dead after its work",
    "result comes hours later",
];
/// What is repeated, and what else must come up.
const WORK: [&str; 31] = [
    "start refused as the clock is beyond the bound",
    "answer to an approval sent twice at once",
    "resumption sent twice at once",
    "resumption answered",
    "result sent twice at once",
    "audit beside the engines",
    "scrub beside the engines",
    "step_scheduled",
    "step_started",
    "lease_extended",
    "step_completed",
    "step_retried",
    "step_failed",
    "failure_caught",
    "transition_taken",
    "steps_skipped",
    "condition_not_evaluated",
    "attempt_lost",
    "step_rerouted",
    "sleep_started",
    "sleep_ended",
    "approval_requested",
    "approval_granted",
    "approval_answered",
    "approval_rejected",
    "approval_timed_out",
    "result_kept",
    "way_kept",
    "execution_failed",
    "execution_cancelled",
    "execution_timed_out",
];

/// What needs several things to come together.
const RARE: [&str; 2] = ["attempt_failed", "scrub deletes what no start names"];

/// So often each of them comes in 20,000 histories at least, and what is rare.
const LEAST: u64 = 1_000;
const LEAST_OF_RARE: u64 = 50;
/// Below so many histories chance has too much to say.
const ENOUGH: u64 = 500;
/// The least medians of a history.
const RUNS: u64 = 3;
const COMMITS: u64 = 30;
const FAULTS_OF_ONE: u64 = 10;

/// The sums over many histories.
#[derive(Debug, Default)]
pub struct Coverage {
    runs: Vec<u64>,
    commits: Vec<u64>,
    faults: Vec<u64>,
    covered: Duration,
    counts: BTreeMap<&'static str, u64>,
}

impl Coverage {
    /// One more history.
    pub fn add(&mut self, outcome: &Outcome) {
        self.runs.push(outcome.runs);
        self.commits.push(outcome.commits);
        self.faults.push(outcome.misfortunes.values().sum());
        self.covered += outcome.covered;
        for (what, count) in outcome.misfortunes.iter().chain(&outcome.counts) {
            *self.counts.entry(what).or_default() += count;
        }
    }

    fn histories(&self) -> u64 {
        self.runs.len() as u64
    }

    /// Prints what was covered, after so long.
    pub fn print(&self, took: Duration) {
        let (runs, commits) = (self.runs.iter().sum::<u64>(), self.commits.iter().sum::<u64>());
        let years = self.covered.as_secs_f64() / 86_400.0 / 365.25;
        let (histories, took) = (self.histories(), took.as_secs_f64());
        println!(
            "{histories} histories in {took:.1} s: {runs} runs, {commits} commits, {years:.2} years"
        );
        println!(
            "half of them had at least {} runs, {} commits, {} faults",
            median(&self.runs),
            median(&self.commits),
            median(&self.faults)
        );
        for (what, count) in &self.counts {
            println!("{count:>9} {what}");
        }
    }

    /// What came up too rarely.
    pub fn gaps(&self) -> Vec<String> {
        if self.histories() < ENOUGH {
            return vec![];
        }
        let common = FAULTS.iter().chain(&WORK).map(|what| (what, LEAST));
        let all = common.chain(RARE.iter().map(|what| (what, LEAST_OF_RARE)));
        let rare = all.filter_map(|(what, least)| {
            let count = self.counts.get(what).copied().unwrap_or_default();
            let least = self.histories() * least / 20_000;
            (count < least).then(|| format!("{what}: {count} of {least}"))
        });
        let medians = [
            ("runs", median(&self.runs), RUNS),
            ("commits", median(&self.commits), COMMITS),
            ("faults", median(&self.faults), FAULTS_OF_ONE),
        ];
        let small = medians.into_iter().filter(|(_, median, least)| median < least);
        let small =
            small.map(|(what, median, least)| format!("{what}: median {median} of {least}"));
        rare.chain(small).collect()
    }
}

/// The value that half of them reach.
fn median(values: &[u64]) -> u64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    sorted.get(sorted.len() / 2).copied().unwrap_or_default()
}

#[test]
fn a_simulation_in_which_nothing_happens_is_noticed() {
    let mut coverage = Coverage::default();
    for _ in 0..ENOUGH {
        coverage.add(&Outcome { runs: 3, commits: 29, ..Outcome::default() });
    }
    let gaps = coverage.gaps();
    assert_eq!(gaps.len(), FAULTS.len() + WORK.len() + RARE.len() + 2, "{gaps:?}");
    assert!(gaps.contains(&"commits: median 29 of 30".to_owned()), "{gaps:?}");
    assert!(gaps.contains(&"slow: 0 of 25".to_owned()), "{gaps:?}");
}
