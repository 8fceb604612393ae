//! Whole clusters in one thread, from one number: real engines over a simulated bucket, with clocks,
//! networks, workers, clients and misfortunes that all follow from the seed.
//!
//! `SEED=7 make sim` lives through seed 7 and prints what happened, in words. Without a seed the
//! first [`HISTORIES`] are lived through.

#![allow(unreachable_pub, reason = "a test binary has no one to reach")]
#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::wildcard_enum_match_arm,
    reason = "the simulated world has tasks, a terminal and a stopwatch of its own"
)]

mod answers;
mod audit;
mod broken;
mod bucket;
mod builds;
#[path = "../support/chance.rs"]
mod chance;
mod clients;
mod clock;
mod cluster;
mod coverage;
mod deletion;
mod exhaustive;
mod fitness;
mod found;
mod graphs;
mod history;
mod keepers;
mod life;
mod mercy;
mod resumed;
mod resumes;
mod rules;
mod store;
mod timeline;
mod trace;
mod trouble;
mod weather;
mod words;
mod workers;
mod workload;
mod world;

use std::{
    env,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use broken::Broken;
use coverage::Coverage;
use history::{Outcome, live};
use mercy::{Mercy, Shrunk, shrink};
use trace::MARK;

/// So many histories are lived through when nobody says how many.
const HISTORIES: u64 = 400;
/// Within so many seeds each broken engine must be noticed.
const NOTICED_WITHIN: u64 = 1_000;
/// So much of a shrunk history is printed.
const LINES_MAX: usize = 80;

fn number(variable: &str) -> Option<u64> {
    let text = env::var(variable).ok().filter(|text| !text.is_empty())?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable}={text} is no number")))
}

/// What came of many histories.
#[derive(Debug, Default)]
struct Sums {
    coverage: Coverage,
    faults: Vec<(u64, String)>,
}

impl Sums {
    fn add(&mut self, seed: u64, outcome: Outcome) {
        self.coverage.add(&outcome);
        self.faults.extend(outcome.fault.map(|fault| (seed, fault)));
    }
}

/// Lives through `most` seeds from `first` on.
fn live_many(first: u64, most: u64) -> (Sums, Duration) {
    let begun = Instant::now();
    let (next, sums) = (AtomicU64::new(first), Mutex::new(Sums::default()));
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    let has_failed = !sums.lock().expect("sums").faults.is_empty();
                    if seed >= first + most || has_failed {
                        return;
                    }
                    let outcome = live(seed, None, false);
                    sums.lock().expect("sums").add(seed, outcome);
                }
            });
        }
    });
    (sums.into_inner().expect("sums"), begun.elapsed())
}

/// Prints the least history that goes wrong as that of `seed` does: its misfortunes, and what concerned
/// the run at fault, if there is one.
fn print_shrunk(seed: u64, broken: Option<Broken>) {
    let Some(Shrunk { outcome, tries, .. }) = shrink(seed, broken) else { return };
    let fault = outcome.fault.unwrap_or_default();
    let words = fault.split(|letter: char| !letter.is_ascii_hexdigit());
    let run = words.into_iter().find(|word| word.len() == 32);
    let concerns = |line: &&str| run.is_none_or(|run| line.contains(run)) || line.contains(MARK);
    let lines: Vec<&str> = outcome.trace.lines().filter(concerns).collect();
    for line in &lines[lines.len().saturating_sub(LINES_MAX)..] {
        println!("{line}");
    }
    let kinds: Vec<String> =
        outcome.misfortunes.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
    let left =
        if kinds.is_empty() { "nothing else went wrong".to_owned() } else { kinds.join(", ") };
    println!("the least of seed {seed}, after {tries} histories: {left}; {fault}");
}

#[test]
fn every_history_keeps_every_promise() {
    if let Some(seed) = number("SEED") {
        let outcome = live(seed, None, true);
        println!("{}", outcome.trace);
        println!("seed {seed}: {}", outcome.fault.as_deref().unwrap_or("every promise was kept"));
        print_shrunk(seed, None);
        assert_eq!(outcome.fault, None, "SEED={seed} make sim");
        return;
    }
    let first = number("FROM").unwrap_or(1);
    let (sums, took) = live_many(first, number("SEEDS").unwrap_or(HISTORIES));
    sums.coverage.print(took);
    for (seed, fault) in &sums.faults {
        print_shrunk(*seed, None);
        println!("SEED={seed} make sim: {fault}");
    }
    assert!(sums.faults.is_empty(), "replay with the seed: {:?}", sums.faults);
    let gaps = sums.coverage.gaps();
    assert!(gaps.is_empty(), "too rarely for the promises to mean much: {gaps:?}");
}

#[test]
fn the_same_seed_twice_is_the_same_history_to_the_byte() {
    for seed in [1, 2, 3, 5, 8, 13, 21, 34] {
        let (one, other) = (live(seed, None, true).trace, live(seed, None, true).trace);
        let differs = one.lines().zip(other.lines()).find(|(one, other)| one != other);
        assert!(one == other, "seed {seed} differs, first at {differs:?}");
    }
}

#[test]
fn every_broken_engine_is_noticed() {
    let mut missed = vec![];
    for broken in Broken::ALL {
        let caught = (1..=NOTICED_WITHIN)
            .find_map(|seed| Some((seed, live(seed, Some(broken), false).fault?)));
        match caught {
            Some((seed, fault)) => println!("{broken:?}: seed {seed}: {fault:.200}"),
            None => missed.push(broken),
        }
    }
    assert!(missed.is_empty(), "not noticed within {NOTICED_WITHIN} seeds: {missed:?}");
}

#[test]
fn a_history_that_goes_wrong_is_shrunk_to_a_few_misfortunes() {
    for broken in [Broken::TimerMissing, Broken::OwnWriteReadAsLost, Broken::LateResultRefused] {
        let goes_wrong = |seed: &u64| live(*seed, Some(broken), false).fault.is_some();
        let seed = (1..=NOTICED_WITHIN).find(goes_wrong).expect("a seed");
        let whole = live(seed, Some(broken), false);
        let Shrunk { mercy, outcome, tries } = shrink(seed, Some(broken)).expect("it goes wrong");
        let left: u64 = outcome.misfortunes.values().sum();
        println!("{broken:?}, seed {seed}: {left} left of {} in {tries}: {mercy:?}", whole.due);
        assert!(outcome.fault.is_some(), "it still goes wrong");
        assert!(left <= 5, "{left} are left: {:?}", outcome.misfortunes);
        assert!(mercy != Mercy::default(), "nothing was spared");
    }
}
