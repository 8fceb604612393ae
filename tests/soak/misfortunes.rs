//! What goes wrong, and when: all of it follows from a seed and is known before anything begins.

use std::{fmt, time::Duration};

use crate::{chance::Chance, proxy::Weather};

/// One kill each so often; 200 and more in the default run.
const KILL_EVERY: Duration = Duration::from_millis(1_250);
/// Of a thousand kills, how many meet the first half of the engines: these die every few seconds. The
/// others live long enough to write the records of lists, for which they wait five.
const UNLUCKY_PER_MILLE: u64 = 750;
const STOP_EVERY: Duration = Duration::from_secs(6);
const CUT_EVERY: Duration = Duration::from_secs(3);
/// How many engines stand still at once, at most.
const STOPPED_MAX: usize = 2;
const STOP_MIN: Duration = Duration::from_millis(500);
const STOP_MAX: Duration = Duration::from_mins(1);
const CUT_MIN: Duration = Duration::from_millis(100);
const CUT_MAX: Duration = Duration::from_secs(8);

/// Something that goes wrong with one engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Misfortune {
    /// Its process is killed with SIGKILL, and started again after so long.
    Kill { down: Duration },
    /// Its process stands still (SIGSTOP), and goes on after so long (SIGCONT).
    Stop { during: Duration },
    /// Its connections to the store meet such weather.
    CutStore { weather: Weather, during: Duration },
    /// The connections of its clients do.
    CutClients { weather: Weather, during: Duration },
}

/// A misfortune, its time and its victim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Blow {
    /// Since the beginning.
    pub at: Duration,
    pub engine: usize,
    pub what: Misfortune,
}

impl fmt::Display for Blow {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:>9.3} s engine {} {:?}", self.at.as_secs_f64(), self.engine, self.what)
    }
}

/// Everything that goes wrong within `span`, in order.
pub fn schedule(seed: u64, span: Duration, engines: usize) -> Vec<Blow> {
    let mut blows = stops(&Chance::new(seed, "stops"), span, engines);
    let kills = kills(&Chance::new(seed, "kills"), span, engines, &blows);
    blows.extend(kills);
    blows.extend(cuts(&Chance::new(seed, "cuts"), span, engines));
    blows.sort_by_key(|blow| (blow.at, blow.engine));
    blows
}

/// Times about `every` apart, one in each such part of `span`.
fn times(chance: &Chance, span: Duration, every: Duration) -> Vec<Duration> {
    let parts = u32::try_from(span.as_millis() / every.as_millis()).expect("not that long");
    (0..parts)
        .map(|part| every * part + every.mul_f64(chance.from(0, 1_000) as f64 / 1_000.0))
        .collect()
}

fn stops(chance: &Chance, span: Duration, engines: usize) -> Vec<Blow> {
    let mut blows: Vec<Blow> = vec![];
    for at in times(chance, span, STOP_EVERY) {
        let stopped: Vec<usize> = stopped_at(&blows, at);
        let engine = chance.index(engines);
        let during = chance.spread(STOP_MIN, STOP_MAX).min(span.saturating_sub(at));
        if stopped.len() < STOPPED_MAX && !stopped.contains(&engine) {
            blows.push(Blow { at, engine, what: Misfortune::Stop { during } });
        }
    }
    blows
}

/// Which engines stand still then.
fn stopped_at(blows: &[Blow], at: Duration) -> Vec<usize> {
    let is_stopped = |blow: &&Blow| {
        let during = match blow.what {
            Misfortune::Stop { during } => during,
            _ => Duration::ZERO,
        };
        (blow.at..blow.at + during).contains(&at)
    };
    blows.iter().filter(is_stopped).map(|blow| blow.engine).collect()
}

/// Mostly of engines that run: a kill would end most long stops early.
fn kills(chance: &Chance, span: Duration, engines: usize, stops: &[Blow]) -> Vec<Blow> {
    let kill = |at| {
        let stopped = stopped_at(stops, at);
        let unlucky = if chance.happens(UNLUCKY_PER_MILLE) { 0 } else { engines / 2 };
        let half = unlucky..(unlucky + engines.div_ceil(2)).min(engines);
        let running: Vec<usize> = half.filter(|engine| !stopped.contains(engine)).collect();
        let engine = if chance.happens(50) { chance.index(engines) } else { chance.pick(&running) };
        let down = chance.spread(Duration::from_millis(10), Duration::from_secs(2));
        Blow { at, engine, what: Misfortune::Kill { down } }
    };
    times(chance, span, KILL_EVERY).into_iter().map(kill).collect()
}

fn cuts(chance: &Chance, span: Duration, engines: usize) -> Vec<Blow> {
    let cut = |at| {
        let engine = chance.index(engines);
        let weather = match chance.from(0, 5) {
            0 => Weather::Refused,
            1 => Weather::Reset,
            2 => Weather::Silent,
            3 => Weather::Slow(chance.spread(Duration::from_millis(5), Duration::from_millis(500))),
            _ => Weather::Truncated(chance.index(2_000)),
        };
        let during = chance.spread(CUT_MIN, CUT_MAX).min(span.saturating_sub(at));
        let what = if chance.happens(500) {
            Misfortune::CutStore { weather, during }
        } else {
            Misfortune::CutClients { weather, during }
        };
        Blow { at, engine, what }
    };
    times(chance, span, CUT_EVERY).into_iter().map(cut).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPAN: Duration = Duration::from_secs(255);
    const ENGINES: usize = 8;

    #[test]
    fn a_seed_is_one_schedule_and_another_seed_another() {
        assert_eq!(schedule(7, SPAN, ENGINES), schedule(7, SPAN, ENGINES));
        assert_ne!(schedule(7, SPAN, ENGINES), schedule(8, SPAN, ENGINES));
    }

    #[test]
    fn the_default_run_kills_200_times_and_every_misfortune_comes() {
        for seed in 0..50 {
            let blows = schedule(seed, SPAN, ENGINES);
            let count =
                |is: fn(&Misfortune) -> bool| blows.iter().filter(|it| is(&it.what)).count();
            assert!(count(|it| matches!(it, Misfortune::Kill { .. })) >= 200);
            assert!(count(|it| matches!(it, Misfortune::Stop { .. })) >= 10);
            assert!(count(|it| matches!(it, Misfortune::CutStore { .. })) >= 10);
            assert!(count(|it| matches!(it, Misfortune::CutClients { .. })) >= 10);
            assert!(blows.iter().all(|blow| blow.at < SPAN && blow.engine < ENGINES));
        }
    }

    #[test]
    fn never_do_more_than_two_engines_stand_still() {
        for seed in 0..50 {
            let blows = schedule(seed, SPAN, ENGINES);
            assert!(blows.iter().all(|blow| stopped_at(&blows, blow.at).len() <= STOPPED_MAX));
        }
    }
}
