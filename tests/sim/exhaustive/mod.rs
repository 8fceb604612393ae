//! Small worlds, seen whole: two instances, three requests, one death or one other misfortune, and
//! every order in which their requests to the bucket can be applied.
//!
//! The systematic counterpart of the histories that are drawn by chance: the same real engines, the
//! same bucket, the same audit at each write and each answer, but nothing is left to chance. Each
//! request to the bucket is held until somebody chooses what happens next, and [`search`] goes through
//! all choices.
//!
//! `make sim-exhaustive` allows two misfortunes and takes minutes to hours; `SCENARIO=2 SCHEDULE=0.0.3`
//! plays one schedule, in words.

mod choice;
mod ending;
mod operation;
mod play;
mod scenario;
pub mod schedule;
mod search;
mod stage;

use std::{
    env,
    fmt::Write,
    sync::atomic::{AtomicUsize, Ordering},
};

use super::{broken::Broken, number};
use scenario::{SCENARIOS, Scenario};
use schedule::Bounds;
use search::{Failure, Figures, Limits, replay, search};

/// How many misfortunes a schedule has at most when nobody says how many.
const MISFORTUNES: u64 = 1;
/// How many schedules of a scenario are played at most when nobody says how many.
const SCHEDULES: u64 = 8_500;

/// One death, one fault and one leap of time at most, and not more than so many of them together.
fn bounds(misfortunes: u64) -> Bounds {
    Bounds {
        misfortunes: u32::try_from(misfortunes).expect("few"),
        deaths: 1,
        faults: 1,
        leaps: 1,
        lands_anywhere: misfortunes > MISFORTUNES,
    }
}

fn limits() -> Limits {
    Limits {
        bounds: bounds(number("MISFORTUNES").unwrap_or(MISFORTUNES)),
        schedules: number("SCHEDULES").unwrap_or(SCHEDULES),
        spares: true,
    }
}

/// Searches all of `scenarios` at once, on as many threads as there are cores; in their order.
fn search_all(scenarios: &[Scenario], limits: Limits) -> Vec<Figures> {
    let next = AtomicUsize::new(0);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let mut found: Vec<(usize, Figures)> = std::thread::scope(|scope| {
        let work = || {
            let mut found = vec![];
            loop {
                let at = next.fetch_add(1, Ordering::Relaxed);
                let Some(scenario) = scenarios.get(at) else { return found };
                let figures = search(scenario, limits, None);
                println!("{at}, {}: {}", scenario.name, figures.in_words());
                found.push((at, figures));
            }
        };
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        workers.into_iter().flat_map(|it| it.join().expect("a search does not panic")).collect()
    });
    found.sort_by_key(|(at, _)| *at);
    found.into_iter().map(|(_, figures)| figures).collect()
}

impl Figures {
    fn in_words(&self) -> String {
        let Self { schedules, whole, worlds, known, left, longest, took, .. } = self;
        let mut words = format!(
            "{schedules} schedules ({whole} to the end), {worlds} worlds, {known} times known, at most \
             {longest} choices, {:.1} s",
            took.as_secs_f64()
        );
        let bound = if *left == 0 { "; complete".to_owned() } else { format!("; {left} left") };
        words.write_str(&bound).expect("text grows");
        words
    }
}

/// Plays the schedule that `SCENARIO` and `SCHEDULE` name.
fn replay_one(scenario: u64, schedule: &str) {
    let scenario = &SCENARIOS[usize::try_from(scenario).expect("few")];
    let choices: Vec<u8> =
        schedule.split('.').map(|at| at.parse().expect("numbers and dots")).collect();
    let played = replay(scenario, limits().bounds, None, &choices);
    println!("{}", played.trace);
    assert_eq!(played.fault, None, "{}", scenario.name);
}

#[test]
fn every_schedule_of_a_small_world_keeps_every_promise() {
    let one = number("SCENARIO");
    if let (Some(scenario), Ok(schedule)) = (one, env::var("SCHEDULE")) {
        return replay_one(scenario, &schedule);
    }
    let wanted: Vec<Scenario> = match one {
        Some(at) => vec![SCENARIOS[usize::try_from(at).expect("few")]],
        None => SCENARIOS.to_vec(),
    };
    let limits = limits();
    println!("{:?}", limits.bounds);
    let mut faults = vec![];
    for (scenario, figures) in wanted.iter().zip(search_all(&wanted, limits)) {
        if let Some(Failure { fault, words, schedule }) = figures.failure {
            println!("{}:\n{words}", scenario.name);
            faults.push(format!("{}, SCHEDULE={schedule}: {fault}", scenario.name));
        }
    }
    assert!(faults.is_empty(), "{faults:?}");
}

/// Which broken engines show in small worlds, and how many misfortunes that takes.
const BROKEN: [(Broken, u64); 12] = [
    (Broken::GuardMissing, 0),
    (Broken::OldGuardReliedOn, 0),
    (Broken::TimerMissing, 0),
    (Broken::EntryDeletedEarly, 0),
    (Broken::OffersStay, 0),
    (Broken::EntriesStay, 0),
    (Broken::EffectsBeforeCommit, 0),
    (Broken::PutsReplace, 0),
    (Broken::StaleReads, 0),
    (Broken::EpochsMissing, 0),
    (Broken::OwnWriteReadAsLost, 1),
    (Broken::RequestsForgotten, 1),
];

/// Scenarios of which every single schedule can be played, and with how many misfortunes.
const PLAYED_IN_FULL: [(usize, u64); 2] = [(0, 0), (1, 0)];

#[test]
fn every_broken_engine_that_fits_a_small_world_is_found() {
    let mut missed = vec![];
    for (broken, misfortunes) in BROKEN {
        let limits = Limits { bounds: bounds(misfortunes), schedules: 1_000, spares: true };
        let found = SCENARIOS.iter().find_map(|scenario| {
            let figures = search(scenario, limits, Some(broken));
            Some((scenario.name, figures.schedules, figures.failure?))
        });
        match found {
            Some((scenario, schedules, Failure { fault, words, .. })) => {
                println!("{broken:?}: {scenario}, schedule {schedules}: {fault}\n{words}\n");
            }
            None => missed.push(broken),
        }
    }
    assert!(missed.is_empty(), "not found: {missed:?}");
}

/// The search leaves out what it may leave out: without sparing anything it comes to the same ends.
#[test]
fn what_a_search_spares_leads_nowhere_else() {
    for (at, misfortunes) in PLAYED_IN_FULL {
        let (scenario, bounds) = (&SCENARIOS[at], bounds(misfortunes));
        let limits = Limits { bounds, schedules: u64::MAX, spares: false };
        let all = search(scenario, limits, None);
        let spared = search(scenario, Limits { spares: true, ..limits }, None);
        println!("{}: {} of {} schedules", scenario.name, spared.schedules, all.schedules);
        assert!(spared.schedules < all.schedules, "{} spares nothing", scenario.name);
        assert_eq!(spared.ends, all.ends, "{}", scenario.name);
    }
}
