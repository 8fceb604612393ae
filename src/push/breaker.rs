//! When a target is left alone: a circuit breaker, told the time.
//!
//! Closed, every call goes through. After so many failures in a row it opens: no call for a second,
//! then one, the probe. If that fails too, the pause doubles, up to a minute; if it succeeds, the
//! breaker closes. In memory, per queue and instance: what is not called stays an offer, so nothing
//! is lost with it.

use std::time::Duration;

use crate::workflow::Timestamp;

/// The first pause.
const FIRST_MS: u64 = 1_000;
/// The longest that the breaker chooses by itself.
const LONGEST_MS: u64 = 60_000;
/// The longest that a target may ask for.
const ASKED_MAX: Duration = Duration::from_mins(5);

/// The breaker of one queue.
#[derive(Clone, Debug)]
pub struct Breaker {
    /// How many failures in a row open it.
    threshold: u32,
    failures: u32,
    /// How often it opened since the last success.
    opened: u32,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Closed,
    Open { until: Timestamp },
    Probing,
}

/// Whether a call may be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pass {
    /// As any other.
    Call,
    /// As the one that finds out whether the target is back.
    Probe,
    /// Not before then.
    Wait(Timestamp),
}

impl Breaker {
    /// A closed one, which `threshold` failures in a row open.
    pub fn new(threshold: u32) -> Self {
        Self { threshold, failures: 0, opened: 0, state: State::Closed }
    }

    /// Whether a call may be made at `now`. Who gets [`Pass::Probe`] must say what became of it.
    pub fn pass(&mut self, now: Timestamp) -> Pass {
        match self.state {
            State::Closed => Pass::Call,
            State::Open { until } if until > now => Pass::Wait(until),
            State::Open { .. } => {
                self.state = State::Probing;
                Pass::Probe
            }
            State::Probing => Pass::Wait(now.after(Duration::from_millis(FIRST_MS))),
        }
    }

    /// Whether calls go through.
    pub fn is_closed(&self) -> bool {
        self.state == State::Closed
    }

    /// Until when no call is made; none: calls go through, or the probe is under way.
    pub fn open_until(&self) -> Option<Timestamp> {
        match self.state {
            State::Open { until } => Some(until),
            State::Closed | State::Probing => None,
        }
    }

    /// Failures in a row.
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// The probe found nothing to call with: the next pass is one again.
    pub fn unused(&mut self, now: Timestamp) {
        if self.state == State::Probing {
            self.state = State::Open { until: now };
        }
    }

    /// A call was answered. Whether that closed the breaker.
    pub fn succeeded(&mut self) -> bool {
        let was_open = !self.is_closed();
        *self = Self::new(self.threshold);
        was_open
    }

    /// A call was not answered as it should; `asked`: how long the target wants to be left alone.
    /// Until when it is, if this opened the breaker. `jitter(bound)` gives a number below `bound`.
    pub fn failed(
        &mut self,
        now: Timestamp,
        asked: Option<Duration>,
        jitter: impl Fn(u64) -> u64,
    ) -> Option<Timestamp> {
        self.failures = self.failures.saturating_add(1);
        let opens = match self.state {
            State::Closed => self.failures >= self.threshold || asked.is_some(),
            State::Probing => true,
            // A call that began before it opened says nothing new.
            State::Open { .. } => false,
        };
        if !opens {
            return None;
        }
        let doubled = FIRST_MS.checked_shl(self.opened.min(16)).unwrap_or(LONGEST_MS);
        let whole = doubled.min(LONGEST_MS);
        let own = Duration::from_millis(whole - jitter(whole / 5 + 1));
        let pause = own.max(asked.unwrap_or_default().min(ASKED_MAX));
        self.opened = self.opened.saturating_add(1);
        let until = now.after(pause);
        self.state = State::Open { until };
        Some(until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    fn no_jitter(_: u64) -> u64 {
        0
    }

    /// Open since 0, after three failures.
    fn open() -> Breaker {
        let mut breaker = Breaker::new(3);
        assert_eq!(breaker.failed(at(0), None, no_jitter), None);
        assert_eq!(breaker.failed(at(0), None, no_jitter), None);
        assert_eq!(breaker.failed(at(0), None, no_jitter), Some(at(1_000)));
        breaker
    }

    #[test]
    fn so_many_failures_in_a_row_open_it_and_a_success_between_them_does_not() {
        let mut breaker = Breaker::new(2);
        for _ in 0..5 {
            assert_eq!(breaker.failed(at(0), None, no_jitter), None);
            assert!(!breaker.succeeded());
        }
        assert_eq!(breaker.pass(at(0)), Pass::Call);
        assert!(!open().is_closed());
    }

    #[test]
    fn when_its_pause_is_over_one_call_probes_and_the_others_wait() {
        let mut breaker = open();
        assert_eq!(breaker.pass(at(999)), Pass::Wait(at(1_000)));
        assert_eq!(breaker.pass(at(1_000)), Pass::Probe);
        assert_eq!(breaker.pass(at(1_000)), Pass::Wait(at(2_000)));
        breaker.unused(at(1_500));
        assert_eq!(breaker.pass(at(1_500)), Pass::Probe);
        assert!(breaker.succeeded());
        assert_eq!((breaker.pass(at(1_600)), breaker.failures()), (Pass::Call, 0));
    }

    #[test]
    fn each_probe_that_fails_doubles_the_pause_up_to_a_minute() {
        let mut breaker = open();
        let mut now = 1_000;
        for pause in [2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000] {
            assert_eq!(breaker.pass(at(now)), Pass::Probe);
            assert_eq!(breaker.failed(at(now), None, no_jitter), Some(at(now + pause)));
            now += pause;
        }
    }

    #[test]
    fn calls_that_began_before_it_opened_do_not_lengthen_its_pause() {
        let mut breaker = open();
        assert_eq!(breaker.failed(at(500), None, no_jitter), None);
        assert_eq!(breaker.open_until(), Some(at(1_000)));
        assert!(breaker.succeeded(), "but one that is answered shows that the target is back");
    }

    #[test]
    fn a_target_may_ask_to_be_left_alone_for_five_minutes_at_most() {
        let mut breaker = Breaker::new(3);
        let asked = Some(Duration::from_secs(30));
        assert_eq!(breaker.failed(at(0), asked, no_jitter), Some(at(30_000)));
        assert_eq!(breaker.pass(at(30_000)), Pass::Probe);
        let asked = Some(Duration::from_hours(9));
        assert_eq!(breaker.failed(at(30_000), asked, no_jitter), Some(at(330_000)));
    }

    #[test]
    fn chance_shortens_a_pause_by_a_fifth_at_most() {
        let mut breaker = Breaker::new(1);
        assert_eq!(breaker.failed(at(0), None, |bound| bound - 1), Some(at(800)));
    }
}
