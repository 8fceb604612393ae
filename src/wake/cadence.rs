//! When the background loop of an instance that stays up scans what.

use std::time::Duration;

use crate::workflow::{Timestamp, WakeKind};

/// Between two scans of the timers, which other instances may have put.
const TIMERS: Duration = Duration::from_secs(1);
/// Between two scans of the guards, and of timers that this process remembers by itself.
const GUARDS: Duration = Duration::from_secs(15);

/// The rhythm of the scans: at most 60 of the timers and 4 of the guards a minute.
#[derive(Clone, Debug)]
pub struct Cadence {
    timers_every: Duration,
    last_timers: Option<Timestamp>,
    last_guards: Option<Timestamp>,
}

/// The next thing to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Beat {
    /// How long to wait first.
    pub wait: Duration,
    /// What to scan then.
    pub kinds: Vec<WakeKind>,
}

impl Cadence {
    /// The rhythm of an instance.
    ///
    /// `remembers_all`: the store is exclusive and near timers are on, so that every timer that this
    /// process put, or found in a scan that looks ahead, wakes from memory; then timers are scanned
    /// as rarely as guards.
    pub fn new(remembers_all: bool) -> Self {
        let timers_every = if remembers_all { GUARDS } else { TIMERS };
        Self { timers_every, last_timers: None, last_guards: None }
    }

    /// What to scan next, and when; the caller waits and does it, then asks again.
    ///
    /// Everything at once at the first call. A clock that was set back delays no scan by more than
    /// one interval.
    pub fn next(&mut self, now: Timestamp) -> Beat {
        let timers = remaining(self.last_timers, self.timers_every, now);
        let guards = remaining(self.last_guards, GUARDS, now);
        let wait = timers.min(guards);
        let (at, mut kinds) = (now.after(wait), vec![]);
        if timers == wait {
            kinds.push(WakeKind::Timer);
            self.last_timers = Some(at);
        }
        if guards == wait {
            kinds.push(WakeKind::Guard);
            self.last_guards = Some(at);
        }
        Beat { wait, kinds }
    }
}

fn remaining(last: Option<Timestamp>, every: Duration, now: Timestamp) -> Duration {
    let next = last.map(|last| last.after(every));
    next.map_or(Duration::ZERO, |next| next.since(now)).min(every)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lists_in_a_minute(mut cadence: Cadence) -> usize {
        let (mut now, mut lists) = (Timestamp::from_millis(5_000), 0);
        let end = now.after(Duration::from_mins(1));
        loop {
            let beat = cadence.next(now);
            now = now.after(beat.wait);
            if now >= end {
                return lists;
            }
            lists += beat.kinds.len();
        }
    }

    #[test]
    fn an_idle_instance_lists_64_times_a_minute() {
        assert_eq!(lists_in_a_minute(Cadence::new(false)), 64);
    }

    #[test]
    fn an_instance_that_remembers_all_timers_lists_8_times_a_minute() {
        assert_eq!(lists_in_a_minute(Cadence::new(true)), 8);
    }

    #[test]
    fn everything_is_scanned_at_once_at_first() {
        let beat = Cadence::new(false).next(Timestamp::from_millis(7));
        let kinds = vec![WakeKind::Timer, WakeKind::Guard];
        assert_eq!(beat, Beat { wait: Duration::ZERO, kinds });
    }

    #[test]
    fn a_slow_scan_is_followed_by_the_next_at_once() {
        let mut cadence = Cadence::new(false);
        let start = Timestamp::from_millis(1_000);
        cadence.next(start);
        let beat = cadence.next(start.after(Duration::from_secs(9)));
        assert_eq!(beat, Beat { wait: Duration::ZERO, kinds: vec![WakeKind::Timer] });
    }

    #[test]
    fn a_clock_set_back_delays_no_scan_by_more_than_an_interval() {
        let mut cadence = Cadence::new(false);
        cadence.next(Timestamp::from_millis(3_600_000));
        let beat = cadence.next(Timestamp::from_millis(0));
        assert_eq!(beat, Beat { wait: TIMERS, kinds: vec![WakeKind::Timer] });
    }
}
