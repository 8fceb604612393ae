//! Points in time and durations, in words for a person and as text for a machine.
//!
//! Always UTC: whoever compares a history with the log of another machine should not have to know
//! where it was printed.

use std::time::Duration;

use crate::workflow::Timestamp;

/// A point in time from the wire.
pub(super) fn from_wire(time: prost_types::Timestamp) -> Timestamp {
    let seconds = u64::try_from(time.seconds).unwrap_or_default();
    let millis = u64::try_from(time.nanos).unwrap_or_default() / 1_000_000;
    Timestamp::from_millis(seconds.saturating_mul(1000).saturating_add(millis))
}

/// `2026-11-24 00:22:32 UTC`
pub(super) fn date_and_time(time: Timestamp) -> String {
    formatted(time, "%Y-%m-%d %H:%M:%S UTC")
}

/// `00:22:32.123`
pub(super) fn time_of_day(time: Timestamp) -> String {
    formatted(time, "%H:%M:%S%.3f")
}

/// `2026-11-24T00:22:32.123Z`: what machines read.
pub(super) fn machine(time: Timestamp) -> String {
    formatted(time, "%Y-%m-%dT%H:%M:%S%.3fZ")
}

fn formatted(time: Timestamp, format: &str) -> String {
    let millis = i64::try_from(time.as_millis()).ok();
    match millis.and_then(|millis| jiff::Timestamp::from_millisecond(millis).ok()) {
        Some(time) => time.strftime(format).to_string(),
        // Beyond the calendar: the plain number says at least that.
        None => format!("{time} ms"),
    }
}

/// A length of time as short as it stays meaningful: `12 ms`, `10.0 s`, `5m`, `1h 30m`.
pub(super) fn length(duration: Duration) -> String {
    let millis = duration.as_millis();
    if millis < 1000 {
        return format!("{millis} ms");
    }
    if millis < 60_000 {
        return format!("{:.1} s", duration.as_secs_f64());
    }
    let seconds = duration.as_secs() + u64::from(duration.subsec_millis() >= 500);
    humantime::format_duration(Duration::from_secs(seconds)).to_string()
}

/// The time since the beginning: `+0.012s`, `+75.300s`.
pub(super) fn offset(duration: Duration) -> String {
    format!("+{:.3}s", duration.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_written_in_three_ways() {
        let time = from_wire(prost_types::Timestamp { seconds: 1_764_000_000, nanos: 7_000_000 });
        assert_eq!(time, Timestamp::from_millis(1_764_000_000_007));
        assert_eq!(date_and_time(time), "2025-11-24 16:00:00 UTC");
        assert_eq!(time_of_day(time), "16:00:00.007");
        assert_eq!(machine(time), "2025-11-24T16:00:00.007Z");
    }

    #[test]
    fn a_time_beyond_the_calendar_is_still_shown() {
        let end = Timestamp::from_millis(u64::MAX);
        assert_eq!(machine(end), "18446744073709551615 ms");
    }

    #[test]
    fn a_length_is_short() {
        let lengths = [0, 12, 1000, 9_960, 59_900, 60_000, 299_998, 5_400_000];
        assert_eq!(
            lengths.map(|millis| length(Duration::from_millis(millis))),
            ["0 ms", "12 ms", "1.0 s", "10.0 s", "59.9 s", "1m", "5m", "1h 30m"]
        );
        assert_eq!(offset(Duration::from_millis(75_300)), "+75.300s");
    }
}
