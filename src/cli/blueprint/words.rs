//! The parts of a definition in words, as `get` and `diff` say them.

use std::time::Duration;

use crate::{
    cli::clock::length,
    workflow::{Arm, RetryPolicy, RuleKind, Step},
};

/// A step's times and its retries, each with what it is called; none: the engine's default.
pub(super) fn settings(step: &Step) -> [(&'static str, Option<String>); 5] {
    [
        ("lease", time(step.lease_ms)),
        ("starts within", time(step.schedule_to_start_ms)),
        ("ends within", time(step.start_to_close_ms)),
        ("heartbeat", time(step.heartbeat_ms)),
        ("retry", step.retry.as_ref().map(retry)),
    ]
}

/// The settings that are not the engine's, in one line; none: all are.
pub(super) fn settings_line(step: &Step) -> Option<String> {
    let given = |(what, how): (&str, Option<String>)| how.map(|how| format!("{what} {how}"));
    let given: Vec<String> = settings(step).into_iter().filter_map(given).collect();
    (!given.is_empty()).then(|| given.join("; "))
}

fn time(ms: Option<u64>) -> Option<String> {
    ms.map(|ms| length(Duration::from_millis(ms)))
}

fn retry(policy: &RetryPolicy) -> String {
    let RetryPolicy {
        attempts_max,
        initial_delay_ms,
        factor_percent,
        delay_max_ms,
        jitter_percent,
        retryable_kinds,
        final_kinds,
    } = policy;
    let most = match attempts_max {
        Some(most) => format!("{most} attempts"),
        None => "without limit".to_owned(),
    };
    let [first, last] =
        [initial_delay_ms, delay_max_ms].map(|ms| length(Duration::from_millis(*ms)));
    let factor = f64::from(*factor_percent) / 100.0;
    let mut parts = vec![most, format!("after {first} ×{factor} up to {last}")];
    if *jitter_percent > 0 {
        parts.push(format!("jitter {jitter_percent} %"));
    }
    if !retryable_kinds.is_empty() {
        parts.push(format!("only {}", retryable_kinds.join(" or ")));
    }
    if !final_kinds.is_empty() {
        parts.push(format!("never {}", final_kinds.join(" or ")));
    }
    parts.join(", ")
}

/// What a kind of rule is called.
pub(super) fn kind(kind: RuleKind) -> &'static str {
    match kind {
        RuleKind::Diverge => "diverge",
        RuleKind::Branch => "branch",
    }
}

/// When an arm holds and where it leads.
pub(super) fn arm(arm: &Arm) -> String {
    format!("`{}` → {}", one_line(&arm.when), arm.to)
}

/// A text of its author's, without line ends.
pub(super) fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_say_only_what_was_set() {
        let step = Step { name: "a".into(), ..Step::default() };
        assert_eq!(settings_line(&step), None);
        let step = Step { lease_ms: Some(300_000), retry: Some(RetryPolicy::default()), ..step };
        assert_eq!(
            settings_line(&step).unwrap(),
            "lease 5m; retry without limit, after 1.0 s ×2 up to 1m, jitter 20 %"
        );
        let retry = RetryPolicy {
            attempts_max: Some(3),
            factor_percent: 150,
            jitter_percent: 0,
            retryable_kinds: vec!["Timeout".to_owned(), "IOError".to_owned()],
            final_kinds: vec!["ValueError".to_owned()],
            ..RetryPolicy::default()
        };
        let step = Step {
            start_to_close_ms: Some(500),
            schedule_to_start_ms: Some(60_000),
            heartbeat_ms: Some(10_000),
            lease_ms: None,
            retry: Some(retry),
            ..step
        };
        assert_eq!(
            settings_line(&step).unwrap(),
            "starts within 1m; ends within 500 ms; heartbeat 10.0 s; retry 3 attempts, \
             after 1.0 s ×1.5 up to 1m, only Timeout or IOError, never ValueError"
        );
    }
}
