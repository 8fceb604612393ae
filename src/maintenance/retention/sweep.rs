//! Which objects of the feed can go, and which are written anew with what still holds in them. Pure.
//!
//! Invariant, for any number of sweeps at once: a record goes only while one of the same run with a
//! higher rank is in another object, or when everything of the run is deleted and it is the last one.
//! So no list ever shows what an older record says. Records of one rank are told apart by the keys of
//! their objects; one that is written anew stands in a later hour than where it came from.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
    time::Duration,
};

use object_store::path::Path;

use crate::{
    log::Key,
    maintenance::{Record, listing::Object},
    workflow::{RunId, Timestamp},
};

/// An object of fewer bytes than this is small.
const SMALL_BYTES: u64 = 256 << 10;
/// So many small objects are written into one.
const SMALL_MIN: usize = 16;
/// How old an object must be to be written anew: one hour later by every clock.
const SETTLED: Duration = Duration::from_hours(2);

/// What holds of each run.
struct Holding<'a> {
    /// The place of the object that holds its record, and that record.
    by_run: BTreeMap<RunId, (usize, &'a Arc<Record>)>,
    /// In how many objects it has records.
    places: BTreeMap<RunId, usize>,
    /// Runs of which nothing but records is left.
    finished: &'a HashSet<RunId>,
}

impl<'a> Holding<'a> {
    fn of(objects: &'a [Object], finished: &'a HashSet<RunId>) -> Self {
        let mut by_run: BTreeMap<RunId, (usize, &Arc<Record>)> = BTreeMap::new();
        let mut places = BTreeMap::new();
        for (place, object) in objects.iter().enumerate() {
            let mut seen = HashSet::new();
            for record in &*object.records {
                if seen.insert(record.run) {
                    *places.entry(record.run).or_default() += 1;
                }
                let known = by_run.entry(record.run).or_insert((place, record));
                let rank = |place: usize, record: &Record| (record.rank(), &objects[place].path);
                if rank(place, record) > rank(known.0, known.1) {
                    *known = (place, record);
                }
            }
        }
        Self { by_run, places, finished }
    }

    /// Whether the last record of a run of which nothing is left stands there.
    fn is_last_of_finished(&self, run: RunId) -> bool {
        self.finished.contains(&run) && self.places.get(&run) == Some(&1)
    }

    /// Whether nothing that `object` says is needed.
    fn is_removable(&self, place: usize, object: &Object) -> bool {
        let is_needless = |record: &Arc<Record>| {
            let holds = self.by_run.get(&record.run).is_some_and(|(at, _)| *at == place);
            !holds || self.is_last_of_finished(record.run)
        };
        object.is_whole && object.records.iter().all(is_needless)
    }

    /// The records of `object` that are needed.
    fn needed(&self, place: usize, object: &'a Object) -> Vec<Arc<Record>> {
        let is_needed = |record: &&Arc<Record>| {
            let holder = self.by_run.get(&record.run);
            holder.is_some_and(|(at, held)| *at == place && Arc::ptr_eq(held, record))
                && !self.is_last_of_finished(record.run)
        };
        object.records.iter().filter(is_needed).cloned().collect()
    }
}

/// Takes out of `objects` those that can go now, in any order, and gives their keys. When they are
/// gone, others may be able to: ask again.
pub(super) fn removable(objects: &mut Vec<Object>, finished: &HashSet<RunId>) -> Vec<Path> {
    let holding = Holding::of(objects, finished);
    let goes: Vec<bool> = objects
        .iter()
        .enumerate()
        .map(|(place, object)| holding.is_removable(place, object))
        .collect();
    taken(objects, &goes)
}

/// Takes out of `objects` those that are worth to be written anew; gives their keys, and the records to
/// write first.
pub(super) fn rewritten(
    objects: &mut Vec<Object>,
    finished: &HashSet<RunId>,
    now: Timestamp,
) -> (Vec<Path>, Vec<Arc<Record>>) {
    let is_settled = |object: &Object| {
        object.is_whole
            && matches!(Key::parse(&object.path), Some(Key::Feed { hour, .. }) if hour.after(SETTLED) <= now)
    };
    let is_small = |object: &Object| object.bytes < SMALL_BYTES;
    let small = objects.iter().filter(|object| is_settled(object) && is_small(object)).count();
    let is_finished = |record: &Arc<Record>| finished.contains(&record.run);
    let has_finished = |object: &Object| object.records.iter().any(is_finished);
    // Nothing else is in it: it can go as it is, when what it outranks is gone.
    let has_others = |object: &Object| !object.records.iter().all(is_finished);
    let goes: Vec<bool> = objects
        .iter()
        .map(|object| {
            let is_worth_it = has_finished(object) || (small >= SMALL_MIN && is_small(object));
            is_settled(object) && has_others(object) && is_worth_it
        })
        .collect();
    let holding = Holding::of(objects, finished);
    let places = objects.iter().enumerate().filter(|(place, _)| goes[*place]);
    let needed = places.flat_map(|(place, object)| holding.needed(place, object)).collect();
    (taken(objects, &goes), needed)
}

fn taken(objects: &mut Vec<Object>, goes: &[bool]) -> Vec<Path> {
    let mut places = goes.iter();
    let gone = objects.extract_if(.., |_| places.next().copied().unwrap_or(false));
    gone.map(|object| object.path).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::maintenance::retention::tests::{object, record};

    fn names(paths: &[Path]) -> Vec<&str> {
        paths.iter().map(|path| path.filename().expect("a name")).collect()
    }

    fn seq(run: u128, seq: u64) -> Record {
        Record { seq, ..record(&format!("e{run}"), 0, run) }
    }

    fn marked(run: u128) -> Record {
        Record { deleted: Some(Timestamp::from_millis(1)), ..seq(run, 5) }
    }

    fn run(run: u128) -> RunId {
        RunId::from_random(run)
    }

    #[test]
    fn an_object_goes_when_later_ones_say_all_of_it_again() {
        let mut objects = vec![
            object("1.0", vec![seq(1, 0), seq(2, 0)]),
            object("2.0", vec![seq(1, 5)]),
            object("3.0", vec![seq(2, 5), seq(3, 0)]),
        ];
        let none = HashSet::new();
        assert_eq!(names(&removable(&mut objects, &none)), ["1.0"]);
        assert_eq!(names(&removable(&mut objects, &none)), [""; 0]);
        assert_eq!(objects.len(), 2);
    }

    #[test]
    fn of_two_copies_the_one_under_the_later_key_stays() {
        let mut objects = vec![object("1.0", vec![seq(1, 5)]), object("2.0", vec![seq(1, 5)])];
        assert_eq!(names(&removable(&mut objects, &HashSet::new())), ["1.0"]);
        assert_eq!(objects[0].path.filename(), Some("2.0"));
    }

    #[test]
    fn the_last_record_of_a_deleted_run_goes_after_all_others_of_it() {
        let finished = HashSet::from([run(1)]);
        let mut objects = vec![
            object("1.0", vec![seq(1, 0)]),
            object("2.0", vec![seq(1, 5)]),
            object("3.0", vec![marked(1)]),
        ];
        assert_eq!(names(&removable(&mut objects, &finished)), ["1.0", "2.0"]);
        assert_eq!(names(&removable(&mut objects, &finished)), ["3.0"]);
        assert!(objects.is_empty());
    }

    #[test]
    fn an_object_with_a_line_that_can_not_be_read_stays() {
        let mut objects = vec![
            Object { is_whole: false, ..object("1.0", vec![seq(1, 0)]) },
            object("2.0", vec![seq(1, 5), seq(2, 1)]),
        ];
        assert_eq!(removable(&mut objects, &HashSet::new()), []);
        let late = Timestamp::from_millis(u64::MAX / 2);
        assert_eq!(rewritten(&mut objects, &HashSet::from([run(1)]), late).0.len(), 1);
        assert_eq!(objects[0].path.filename(), Some("1.0"));
    }

    #[test]
    fn what_still_holds_beside_a_deleted_run_is_written_anew() {
        let finished = HashSet::from([run(1)]);
        let mut objects =
            vec![object("1.0", vec![seq(1, 5), seq(2, 5)]), object("2.0", vec![seq(3, 1)])];
        let hour = Timestamp::from_millis(0);
        assert_eq!(rewritten(&mut objects, &finished, hour.after(SETTLED / 2)).0, []);
        let (gone, kept) = rewritten(&mut objects, &finished, hour.after(SETTLED));
        assert_eq!(names(&gone), ["1.0"]);
        assert_eq!(kept.iter().map(|record| record.run).collect::<Vec<_>>(), [run(2)]);
    }

    #[test]
    fn the_mark_of_a_deleted_run_goes_when_what_it_outranks_was_written_anew() {
        let finished = HashSet::from([run(1)]);
        let mut objects =
            vec![object("1.0", vec![seq(1, 5), seq(2, 5)]), object("2.0", vec![marked(1)])];
        let late = Timestamp::from_millis(u64::MAX / 2);
        let (gone, kept) = rewritten(&mut objects, &finished, late);
        assert_eq!((names(&gone), kept.len()), (vec!["1.0"], 1));
        assert_eq!(names(&removable(&mut objects, &finished)), ["2.0"]);
    }

    #[test]
    fn a_deleted_run_with_records_elsewhere_keeps_the_one_that_holds() {
        let finished = HashSet::from([run(1)]);
        let mut objects = vec![
            object("1.0", vec![marked(1), seq(2, 5)]),
            object("2.0", vec![seq(1, 5), seq(3, 1)]),
        ];
        let (gone, kept) = rewritten(&mut objects, &finished, Timestamp::from_millis(u64::MAX / 2));
        assert_eq!(gone.len(), 2);
        let kept: Vec<_> = kept.iter().map(|it| (it.run, it.deleted.is_some())).collect();
        assert_eq!(kept, [(run(1), true), (run(2), false), (run(3), false)]);
    }

    #[test]
    fn many_small_objects_become_one() {
        let object = |n: usize| object(&format!("{n}.0"), vec![seq(n as u128, 1)]);
        let mut few: Vec<Object> = (0..SMALL_MIN - 1).map(object).collect();
        let late = Timestamp::from_millis(u64::MAX / 2);
        assert_eq!(rewritten(&mut few, &HashSet::new(), late).0, []);
        let mut many: Vec<Object> = (0..SMALL_MIN).map(object).collect();
        let (gone, kept) = rewritten(&mut many, &HashSet::new(), late);
        assert_eq!((gone.len(), kept.len(), many.len()), (SMALL_MIN, SMALL_MIN, 0));
    }
}
