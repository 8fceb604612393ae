//! Plays every schedule of a scenario, but each world that it comes to only once.
//!
//! Nothing can be put back to where it was, so each branch is played again from the beginning; what
//! follows from a list of choices is always the same. Two things spare schedules and leave nothing
//! out:
//!
//! * a world that was reached before (the same bucket, the same clock, every process told the same) is
//!   not played on: it goes on in the same ways;
//! * where two choices commute, only one order of them is played (sleep sets: a choice sleeps while it
//!   was or will be played from an earlier world, and nothing that happened since depends on it). A
//!   world is remembered with what slept in it, and what slept the first time and not the second is
//!   played then (Godefroid, "Partial-Order Methods for the Verification of Concurrent Systems", 1996,
//!   section 6.3).
//!
//! Schedules with few misfortunes and few changes from one process to another come first: what is
//! found is found in its simplest form, and a search that is cut off has seen the simple ones.

use std::{
    cmp::Reverse,
    collections::{BTreeSet, BinaryHeap, HashMap},
    time::{Duration, Instant},
};

use super::{
    super::broken::Broken,
    choice::Choice,
    play::{Played, play},
    scenario::Scenario,
    schedule::Bounds,
    stage::BEGINS,
};

/// What to look for, and how far.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub bounds: Bounds,
    /// So many schedules are played at most.
    pub schedules: u64,
    /// Whether commuting choices are played in one order only, and worlds only once. Without it every
    /// schedule is played: that is how the search itself is tested.
    pub spares: bool,
}

/// What a search came to.
#[derive(Debug, Default)]
pub struct Figures {
    /// How many schedules were played, from the beginning to where they were known.
    pub schedules: u64,
    /// Of these, to the very end.
    pub whole: u64,
    /// Different worlds.
    pub worlds: u64,
    /// Schedules that ended in a world that had been reached before.
    pub known: u64,
    /// Schedules that are left to play.
    pub left: u64,
    /// The most choices of a schedule.
    pub longest: usize,
    pub took: Duration,
    /// What went wrong.
    pub failure: Option<Failure>,
    /// The worlds in which the scenario ended.
    pub ends: BTreeSet<u64>,
}

/// A schedule that went wrong.
#[derive(Debug)]
pub struct Failure {
    pub fault: String,
    /// What happened from the beginning of the scenario on.
    pub words: String,
    /// What was chosen, for `SCHEDULE`.
    pub schedule: String,
}

impl Failure {
    fn of(fault: String, trace: &str, choices: &[u8]) -> Self {
        let words = trace.split_once(BEGINS).map_or(trace, |(_, words)| words).trim();
        let numbers: Vec<String> = choices.iter().map(ToString::to_string).collect();
        Self { fault, words: words.to_owned(), schedule: numbers.join(".") }
    }
}

/// A schedule to play: choices by their place, and what sleeps after the last of them.
#[derive(Debug)]
struct Branch {
    misfortunes: u32,
    changes: u32,
    serial: u64,
    choices: Vec<u8>,
    asleep: Vec<Choice>,
}

impl Branch {
    fn rank(&self) -> (u32, u32, Reverse<u64>) {
        (self.misfortunes + self.changes, self.misfortunes, Reverse(self.serial))
    }
}

impl PartialEq for Branch {
    fn eq(&self, other: &Self) -> bool {
        self.serial == other.serial
    }
}

impl Eq for Branch {}

impl PartialOrd for Branch {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Branch {
    /// The simplest is the greatest, as a heap wants it; among equals the newest.
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        other.rank().cmp(&self.rank())
    }
}

/// A search under way.
struct Search {
    limits: Limits,
    open: BinaryHeap<Branch>,
    /// Each world that was reached, with what slept there every time.
    worlds: HashMap<u64, Vec<Choice>>,
    serial: u64,
    figures: Figures,
}

/// Plays `scenario` in every way within `limits`, or until something goes wrong.
pub fn search(scenario: &Scenario, limits: Limits, broken: Option<Broken>) -> Figures {
    let begun = Instant::now();
    let mut search = Search {
        limits,
        open: BinaryHeap::new(),
        worlds: HashMap::new(),
        serial: 0,
        figures: Figures::default(),
    };
    search.push(Branch { misfortunes: 0, changes: 0, serial: 0, choices: vec![], asleep: vec![] });
    while let Some(branch) = search.next() {
        let (played, choices) = search.follow(scenario, broken, branch);
        search.figures.schedules += 1;
        search.figures.whole += u64::from(played.is_whole);
        search.figures.longest = search.figures.longest.max(choices.len());
        if let Some(fault) = played.fault {
            let trace = replay(scenario, limits.bounds, broken, &choices).trace;
            search.figures.failure = Some(Failure::of(fault, &trace, &choices));
            break;
        }
    }
    let Search { open, worlds, mut figures, .. } = search;
    (figures.left, figures.worlds) = (open.len() as u64, worlds.len() as u64);
    figures.took = begun.elapsed();
    figures
}

/// Plays the schedule of `choices` again, in words; what comes after the last of them goes as usual.
pub fn replay(
    scenario: &Scenario,
    bounds: Bounds,
    broken: Option<Broken>,
    choices: &[u8],
) -> Played {
    let mut choices = choices.iter();
    play(scenario, bounds, broken, true, &mut |_, _, _| {
        Some(choices.next().map_or(0, |at| usize::from(*at)))
    })
}

impl Search {
    fn next(&mut self) -> Option<Branch> {
        let may_go_on = self.figures.schedules < self.limits.schedules;
        if may_go_on { self.open.pop() } else { None }
    }

    fn push(&mut self, branch: Branch) {
        self.serial += 1;
        self.open.push(Branch { serial: self.serial, ..branch });
    }

    /// Plays a branch to its end or to a world that is known, and notes every other way to go.
    fn follow(
        &mut self,
        scenario: &Scenario,
        broken: Option<Broken>,
        branch: Branch,
    ) -> (Played, Vec<u8>) {
        let Branch { mut misfortunes, mut changes, choices: given, mut asleep, .. } = branch;
        let mut made: Vec<u8> = vec![];
        let mut last = None;
        let bounds = self.limits.bounds;
        let played = play(scenario, bounds, broken, false, &mut |schedule, world, choices| {
            if let Some(at) = given.get(made.len()) {
                made.push(*at);
                let choice = &choices[usize::from(*at)];
                last = choice.mover().or(last);
                return Some(usize::from(*at));
            }
            let todo = self.todo(schedule.state(world), choices, &asleep);
            let (first, others) = todo.split_first()?;
            let mut before = asleep.clone();
            before.push(choices[*first].clone());
            let cost = |choice: &Choice| {
                let changes =
                    choice.mover().is_some_and(|mover| last.is_some_and(|it| it != mover));
                (u32::from(choice.is_misfortune()), u32::from(changes))
            };
            for at in others {
                let choice = &choices[*at];
                let mut branch = made.clone();
                branch.push(u8::try_from(*at).expect("few choices"));
                let asleep = self.sleeping(&before, choice);
                let (more_misfortunes, more_changes) = cost(choice);
                self.push(Branch {
                    misfortunes: misfortunes + more_misfortunes,
                    changes: changes + more_changes,
                    serial: 0,
                    choices: branch,
                    asleep,
                });
                before.push(choice.clone());
            }
            let choice = &choices[*first];
            let (more_misfortunes, more_changes) = cost(choice);
            (misfortunes, changes) = (misfortunes + more_misfortunes, changes + more_changes);
            asleep = self.sleeping(&asleep, choice);
            last = choice.mover().or(last);
            if *choice == Choice::Ends {
                self.figures.ends.insert(schedule.state(world));
            }
            made.push(u8::try_from(*first).expect("few choices"));
            Some(*first)
        });
        (played, made)
    }

    /// Which of `choices` are to be played from this world, where `asleep` are not.
    fn todo(&mut self, world: u64, choices: &[Choice], asleep: &[Choice]) -> Vec<usize> {
        let places = 0..choices.len();
        if !self.limits.spares {
            return places.collect();
        }
        let slept = |asleep: &[Choice], at: usize| asleep.contains(&choices[at]);
        let Some(known) = self.worlds.get_mut(&world) else {
            let sleeps = places.clone().filter(|at| slept(asleep, *at));
            let sleeps = sleeps.map(|at| choices[at].clone()).collect();
            self.worlds.insert(world, sleeps);
            return places.filter(|at| !slept(asleep, *at)).collect();
        };
        let todo: Vec<usize> =
            places.filter(|at| slept(known, *at) && !slept(asleep, *at)).collect();
        known.retain(|choice| asleep.contains(choice));
        self.figures.known += u64::from(todo.is_empty());
        todo
    }

    /// What sleeps after `choice`, of what sleeps before.
    fn sleeping(&self, before: &[Choice], choice: &Choice) -> Vec<Choice> {
        if !self.limits.spares {
            return vec![];
        }
        before.iter().filter(|it| it.commutes(choice)).cloned().collect()
    }
}
