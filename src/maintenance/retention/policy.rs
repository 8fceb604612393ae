//! How long closed executions are kept.

use std::{collections::BTreeMap, str::FromStr, time::Duration};

use crate::workflow::{Namespace, Timestamp};

/// The least that is kept: no writer that was frozen, and no request that comes again, is older
/// (docs/fencing.md "The freshness bracket").
const KEEP_MIN: Duration = Duration::from_hours(24);

/// How long the commits and blobs of a run stay when its start is gone: a backup copies `id/` before
/// `run/`, and what it has the start of it must find the rest of.
const GRACE: Duration = Duration::from_hours(24);

/// By how much the clocks of whoever closed a run and of whoever deletes it may differ.
const SKEW: Duration = Duration::from_mins(2);

/// How long an execution is kept once it is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// So long; 24 h at least.
    For(Duration),
    /// Nothing is ever deleted.
    Forever,
}

impl FromStr for Keep {
    type Err = String;

    /// Reads `30d`, `36h`, `forever`.
    fn from_str(text: &str) -> Result<Self, String> {
        if text == "forever" {
            return Ok(Self::Forever);
        }
        let keep = humantime::parse_duration(text)
            .map_err(|error| format!("{error}; write it as 30d, 36h or forever"))?;
        if keep < KEEP_MIN {
            return Err(
                "closed executions are kept for 24h at least; write 24h or more, or forever"
                    .to_owned(),
            );
        }
        Ok(Self::For(keep))
    }
}

/// How long closed executions are kept, by namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetentionPolicy {
    default: Keep,
    namespaces: BTreeMap<Namespace, Keep>,
    only: Option<Namespace>,
    grace: Duration,
}

impl RetentionPolicy {
    /// `default`, but what `namespaces` says of those that it names.
    pub fn new(default: Keep, namespaces: BTreeMap<Namespace, Keep>) -> Self {
        Self { default, namespaces, only: None, grace: GRACE }
    }

    /// Executions of `namespace` only; no others are looked at.
    #[must_use]
    pub fn only(self, namespace: Namespace) -> Self {
        Self { only: Some(namespace), ..self }
    }

    /// For tests and simulations, in which days would be long: closed executions are kept for `keep`,
    /// however short, and the rest of a run for `grace` after its start.
    ///
    /// Safe only while no writer, and no request that is sent again, is older than `keep`.
    pub fn for_tests(keep: Duration, grace: Duration) -> Self {
        Self { grace, ..Self::new(Keep::For(keep), BTreeMap::new()) }
    }

    /// Whether nothing can ever be deleted.
    pub fn keeps_all(&self) -> bool {
        let mut all = self.namespaces.values().chain([&self.default]);
        all.all(|keep| *keep == Keep::Forever)
    }

    /// Whether executions of `namespace` are looked at.
    pub(super) fn looks_at(&self, namespace: &Namespace) -> bool {
        self.only.as_ref().is_none_or(|only| only == namespace)
    }

    /// Whether a run of `namespace` that closed then is deleted at `now`.
    pub fn is_over(&self, namespace: &Namespace, closed: Timestamp, now: Timestamp) -> bool {
        match self.namespaces.get(namespace).unwrap_or(&self.default) {
            Keep::For(keep) => now.since(closed) > keep.saturating_add(SKEW),
            Keep::Forever => false,
        }
    }

    /// Whether what is left of a run goes at `now`, when its start went at `deleted`.
    pub(super) fn is_grace_over(&self, deleted: Timestamp, now: Timestamp) -> bool {
        now.since(deleted) > self.grace
    }
}

impl Default for RetentionPolicy {
    /// 30 days.
    fn default() -> Self {
        Self::new(Keep::For(Duration::from_hours(24 * 30)), BTreeMap::new())
    }
}

/// Whether what is left of a run may go at `now` by whoever does not know the policy.
pub(in crate::maintenance) fn is_grace_surely_over(deleted: Timestamp, now: Timestamp) -> bool {
    now.since(deleted) > GRACE
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_hours(24);

    fn after(duration: Duration) -> Timestamp {
        Timestamp::from_millis(0).after(duration)
    }

    #[test]
    fn it_is_read_as_people_write_it_and_never_under_a_day() {
        assert_eq!("30d".parse(), Ok(Keep::For(30 * DAY)));
        assert_eq!("forever".parse(), Ok(Keep::Forever));
        for short in ["23h 59m", "1s", "0s"] {
            let fault = short.parse::<Keep>().expect_err("refused");
            assert!(fault.starts_with("closed executions are kept for 24h at least"), "{fault}");
        }
        assert!("soon".parse::<Keep>().expect_err("refused").ends_with("30d, 36h or forever"));
    }

    #[test]
    fn a_namespace_of_its_own_word_is_kept_by_it() {
        let team = |name: &str| Namespace::new(name).expect("a namespace");
        let own = BTreeMap::from([(team("long"), Keep::Forever), (team("short"), Keep::For(DAY))]);
        let policy = RetentionPolicy::new(Keep::For(2 * DAY), own);
        let over =
            |name, days: u32| policy.is_over(&team(name), after(DAY), after(DAY * (1 + days)));
        assert!(!over("default", 2) && over("default", 3));
        assert!(!over("short", 1) && over("short", 2));
        assert!(!over("long", 9_999));
        assert!(!policy.keeps_all());
        assert!(RetentionPolicy::new(Keep::Forever, BTreeMap::new()).keeps_all());
    }

    #[test]
    fn clocks_that_differ_delete_nothing_too_early() {
        let policy = RetentionPolicy::new(Keep::For(DAY), BTreeMap::new());
        let is_over = |age| policy.is_over(&Namespace::default(), after(DAY), after(DAY + age));
        assert!(!is_over(DAY + SKEW));
        assert!(is_over(DAY + SKEW + Duration::from_millis(1)));
    }
}
