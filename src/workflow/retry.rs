//! How long to wait before a step is tried again.

use super::{blueprint::RetryPolicy, event::Failure};

/// The wait after work was first lost with its worker.
const FIRST_MS: u64 = 1_000;
/// The longest wait.
const LONGEST_MS: u64 = 60_000;

/// The wait before the next attempt of a step whose work was lost `losses` times before in a row:
/// 1 s doubling to 60 s, shortened by up to a fifth so that the steps of a dead worker do not all
/// come back at once. `jitter(bound)` gives a number below `bound`.
pub(crate) fn lost_work_delay_ms(losses: u32, jitter: impl Fn(u64) -> u64) -> u64 {
    let doubled = FIRST_MS.checked_shl(losses.min(16)).unwrap_or(LONGEST_MS);
    let whole = doubled.min(LONGEST_MS);
    whole - jitter(whole / 5 + 1)
}

/// The wait before a step is tried again whose attempts failed `failures` times before this one;
/// none: the policy says that this failure is for good.
pub(crate) fn failed_delay_ms(
    policy: &RetryPolicy,
    failures: u32,
    failure: &Failure,
    jitter: impl Fn(u64) -> u64,
) -> Option<u64> {
    let is_in = |kinds: &[String]| kinds.contains(&failure.kind);
    let is_retryable = policy.retryable_kinds.is_empty() || is_in(&policy.retryable_kinds);
    let is_last = policy.attempts_max.is_some_and(|most| failures + 1 >= most);
    if !is_retryable || is_in(&policy.final_kinds) || is_last {
        return None;
    }
    let whole = grown_ms(policy, failures);
    let most_off = whole / 100 * u64::from(policy.jitter_percent)
        + whole % 100 * u64::from(policy.jitter_percent) / 100;
    Some(whole - jitter(most_off.saturating_add(1)))
}

/// The first delay, grown `times` times, in whole milliseconds and without ever overflowing.
fn grown_ms(policy: &RetryPolicy, times: u32) -> u64 {
    let mut delay_ms = policy.initial_delay_ms;
    for _ in 0..times {
        if delay_ms >= policy.delay_max_ms || policy.factor_percent == 100 {
            break;
        }
        let grown = u128::from(delay_ms) * u128::from(policy.factor_percent) / 100;
        let grown = u64::try_from(grown).unwrap_or(u64::MAX);
        if grown == delay_ms {
            // A delay this short never grows in whole milliseconds.
            break;
        }
        delay_ms = grown;
    }
    delay_ms.min(policy.delay_max_ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_doubles_up_to_a_minute() {
        let waits: Vec<u64> = [0, 1, 2, 5, 6, 40].map(|n| lost_work_delay_ms(n, |_| 0)).to_vec();
        assert_eq!(waits, [1_000, 2_000, 4_000, 32_000, 60_000, 60_000]);
    }

    #[test]
    fn jitter_only_shortens_and_by_a_fifth_at_most() {
        assert_eq!(lost_work_delay_ms(0, |bound| bound - 1), 800);
    }

    fn boom(kind: &str) -> Failure {
        Failure { kind: kind.to_owned(), message: String::new(), stacktrace: String::new() }
    }

    #[test]
    fn the_wait_after_a_failure_grows_by_its_factor_up_to_its_cap() {
        let policy = RetryPolicy {
            initial_delay_ms: 100,
            factor_percent: 150,
            delay_max_ms: 400,
            jitter_percent: 0,
            ..RetryPolicy::default()
        };
        let waits = [0, 1, 2, 3, 4, u32::MAX - 1]
            .map(|n| failed_delay_ms(&policy, n, &boom("X"), |_| 0).expect("a retry"));
        assert_eq!(waits, [100, 150, 225, 337, 400, 400]);
    }

    #[test]
    fn jitter_shortens_by_its_percentage_at_most() {
        let policy = RetryPolicy { jitter_percent: 50, ..RetryPolicy::default() };
        assert_eq!(failed_delay_ms(&policy, 0, &boom("X"), |bound| bound - 1), Some(500));
        assert_eq!(failed_delay_ms(&policy, 0, &boom("X"), |_| 0), Some(1_000));
        let longest = RetryPolicy {
            initial_delay_ms: u64::MAX,
            delay_max_ms: u64::MAX,
            jitter_percent: 100,
            ..RetryPolicy::default()
        };
        assert_eq!(failed_delay_ms(&longest, 0, &boom("X"), |_| 0), Some(u64::MAX));
    }

    #[test]
    fn attempts_and_kinds_bound_it() {
        let policy = RetryPolicy {
            attempts_max: Some(3),
            retryable_kinds: vec!["Timeout".to_owned(), "Busy".to_owned()],
            final_kinds: vec!["Busy".to_owned()],
            ..RetryPolicy::default()
        };
        let is_tried =
            |failures, kind| failed_delay_ms(&policy, failures, &boom(kind), |_| 0).is_some();
        assert!(is_tried(0, "Timeout") && is_tried(1, "Timeout"));
        assert!(!is_tried(2, "Timeout"), "the third attempt was the last");
        assert!(!is_tried(0, "ValueError") && !is_tried(0, "Busy"));
    }
}
