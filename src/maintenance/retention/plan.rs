//! What is to be deleted, from the visibility records alone. Pure.

use std::{collections::BTreeMap, sync::Arc};

use super::RetentionPolicy;
use crate::{
    maintenance::{Record, listing::Object},
    workflow::{ExecutionId, Namespace, RunId, Timestamp},
};

/// Runs of one execution that are to be deleted.
#[derive(Clone, Debug, Default)]
pub(super) struct Group {
    /// Their start went long enough ago: the rest goes. The oldest generation first.
    pub(super) begun: Vec<Arc<Record>>,
    /// They closed long enough ago, and nothing of them is deleted yet. The oldest generation first,
    /// without a generation that is kept between them.
    pub(super) due: Vec<Arc<Record>>,
    /// Whether a generation after the last of `due` is known.
    pub(super) has_newer: bool,
}

impl Group {
    /// How many runs are to be deleted.
    pub(super) fn len(&self) -> usize {
        self.begun.len() + self.due.len()
    }
}

/// What is to be deleted at `now`, by execution.
pub(super) fn plan(objects: &[Object], policy: &RetentionPolicy, now: Timestamp) -> Vec<Group> {
    let mut executions: BTreeMap<(&Namespace, &str), Vec<&Arc<Record>>> = BTreeMap::new();
    for record in newest(objects).into_values() {
        if policy.looks_at(&record.namespace) {
            let place = (&record.namespace, ExecutionId::as_str(&record.execution));
            executions.entry(place).or_default().push(record);
        }
    }
    let groups = executions.into_values().map(|records| group(records, policy, now));
    groups.filter(|group| group.len() > 0).collect()
}

/// The record of each run that holds.
fn newest(objects: &[Object]) -> BTreeMap<RunId, &Arc<Record>> {
    let mut newest: BTreeMap<RunId, &Arc<Record>> = BTreeMap::new();
    for record in objects.iter().flat_map(|object| object.records.iter()) {
        let known = newest.entry(record.run).or_insert(record);
        if record.rank() > known.rank() {
            *known = record;
        }
    }
    newest
}

fn group(mut records: Vec<&Arc<Record>>, policy: &RetentionPolicy, now: Timestamp) -> Group {
    records.sort_by_key(|record| (record.generation, record.deleted.is_none(), record.run));
    let mut group = Group::default();
    let mut is_kept = false;
    for record in records {
        let is_due = |closed| policy.is_over(&record.namespace, closed, now);
        match record.deleted {
            Some(deleted) if policy.is_grace_over(deleted, now) => {
                group.begun.push(Arc::clone(record));
            }
            Some(_) => {}
            None if !is_kept && record.closed.is_some_and(is_due) => {
                group.due.push(Arc::clone(record));
            }
            None => is_kept = true,
        }
    }
    group.has_newer = is_kept;
    group
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::maintenance::retention::tests::{object, record};

    const NOW: Timestamp = Timestamp::from_millis(1_000_000_000);

    fn policy() -> RetentionPolicy {
        RetentionPolicy::for_tests(Duration::from_hours(1), Duration::from_hours(2))
    }

    fn ago(hours: u64) -> Timestamp {
        Timestamp::from_millis(NOW.as_millis() - hours * 3_600_000)
    }

    fn planned(records: Vec<Record>) -> Vec<(Vec<u32>, Vec<u32>, bool)> {
        let generations = |records: &[Arc<Record>]| -> Vec<u32> {
            records.iter().map(|record| record.generation).collect()
        };
        plan(&[object("a", records)], &policy(), NOW)
            .iter()
            .map(|it| (generations(&it.begun), generations(&it.due), it.has_newer))
            .collect()
    }

    #[test]
    fn what_is_open_or_closed_of_late_is_kept() {
        let open = Record { closed: None, ..record("a", 0, 1) };
        let young = Record { closed: Some(ago(1)), ..record("b", 0, 2) };
        let old = Record { closed: Some(ago(2)), ..record("c", 0, 3) };
        assert_eq!(planned(vec![open, young, old]), [(vec![], vec![0], false)]);
    }

    #[test]
    fn generations_go_from_the_oldest_on_and_stop_at_one_that_is_kept() {
        let of = |generation, closed| Record {
            closed,
            ..record("a", generation, u128::from(generation) + 1)
        };
        let all = vec![of(3, Some(ago(3))), of(1, Some(ago(5))), of(0, Some(ago(6))), of(2, None)];
        assert_eq!(planned(all), [(vec![], vec![0, 1], true)]);
        assert_eq!(planned(vec![of(1, Some(ago(3))), of(0, None)]), []);
    }

    #[test]
    fn a_run_whose_deletion_began_waits_for_its_grace_and_holds_up_no_other() {
        let of = |generation, deleted| Record {
            closed: Some(ago(9)),
            deleted,
            ..record("a", generation, u128::from(generation) + 1)
        };
        let all = vec![of(0, Some(ago(3))), of(1, Some(ago(1))), of(2, None)];
        assert_eq!(planned(all), [(vec![0], vec![2], false)]);
    }

    #[test]
    fn the_record_that_says_that_a_run_is_deleted_holds() {
        let marked = Record { deleted: Some(ago(1)), closed: Some(ago(9)), ..record("a", 0, 1) };
        let again = Record { closed: Some(ago(9)), seq: 99, ..record("a", 0, 1) };
        assert_eq!(planned(vec![again, marked]), []);
    }
}
