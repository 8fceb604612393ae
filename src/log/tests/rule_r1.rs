//! Rule R1 as transcripts: what the store does, what it was asked, what the writer hears.

use std::time::Duration;

use futures::executor::block_on;

use super::support::{Act, Act::*, Writer, handle, log};
use crate::log::{Append, Commit, Error, Key};

const PATIENCE: Duration = Duration::from_secs(10);

/// Appends commit 1 under a script; gives what the writer hears and what the store was asked.
fn append(puts: &[Act], gets: &[Act]) -> (Result<Append, Error>, Vec<&'static str>) {
    block_on(async {
        let (log, store) = log();
        let writer = Writer::write(&log, 1, |_| true).await.next(2, true);
        store.seen();
        store.script(puts, gets);
        let heard = log.append(handle().run, &writer.last, None, PATIENCE).await;
        let seen = store.seen();
        store.script(&[], &[]);
        // Whatever was heard: what stands there, if anything, is our commit and nothing else.
        let stands = log.probe_next(&handle()).await.unwrap();
        assert!(stands.as_ref().is_none_or(|commit| commit.cid == 2));
        if matches!(heard, Ok(Append::Committed)) {
            assert!(stands.is_some(), "committed, but not in the log");
        }
        assert!(!matches!(heard, Ok(Append::Lost(_))), "nobody else wrote");
        (heard, seen)
    })
}

fn is_committed(puts: &[Act], gets: &[Act], seen: &[&str]) {
    let (heard, asked) = append(puts, gets);
    assert_eq!(heard.unwrap(), Append::Committed);
    assert_eq!(asked, seen);
}

#[test]
fn an_append_is_one_put() {
    is_committed(&[], &[], &["PUT"]);
}

#[test]
fn a_lost_reply_is_found_in_the_log() {
    is_committed(&[LoseReply], &[], &["PUT", "PUT", "GET"]);
}

#[test]
fn a_write_applied_twice_is_one_commit() {
    is_committed(&[WriteTwice], &[], &["PUT", "GET"]);
}

#[test]
fn a_write_applied_late_is_ours() {
    // The second put fails; the first one's write lands after it; the third finds it.
    is_committed(&[WriteLate, Fail], &[], &["PUT", "PUT", "PUT", "GET"]);
    // The second put succeeds; the first one's write comes too late and is refused by the store.
    is_committed(&[WriteLate], &[], &["PUT", "PUT"]);
    // The second is told of a conflict while the first lands, which the read after it finds.
    is_committed(&[WriteLate, Conflict], &[], &["PUT", "PUT", "GET"]);
}

#[test]
fn a_conflict_without_an_object_is_sent_again() {
    is_committed(&[Conflict], &[], &["PUT", "GET", "PUT"]);
}

#[test]
fn an_error_and_then_our_own_object_is_committed() {
    is_committed(&[Fail, LoseReply, Fail], &[], &["PUT", "PUT", "PUT", "PUT", "GET"]);
}

#[test]
fn a_read_that_fails_decides_nothing() {
    is_committed(&[LoseReply], &[Fail, Deny], &["PUT", "PUT", "GET", "PUT", "GET", "PUT", "GET"]);
}

#[test]
fn at_the_deadline_the_outcome_is_unknown() {
    for last in [Fail, Conflict, WriteLate, LoseReply] {
        let gets = [Fail; 1000];
        let (heard, _) = append(&[last; 1000], &gets);
        assert!(matches!(heard, Err(Error::Unknown { .. })), "{last:?}: {heard:?}");
    }
}

#[test]
fn a_refusal_is_told_at_once() {
    let (heard, asked) = append(&[Deny; 1000], &[]);
    assert!(matches!(heard, Err(Error::Unavailable { .. })), "{heard:?}");
    assert_eq!(asked, ["PUT"]);
}

#[test]
fn a_full_disk_is_waited_for_and_told_at_the_deadline() {
    is_committed(&[Full, Full], &[], &["PUT", "PUT", "PUT"]);
    let (heard, asked) = append(&[Full; 1000], &[]);
    let Err(Error::Unavailable { what, .. }) = heard else { panic!("{heard:?}") };
    assert!(what.contains("the embedded store in /srv is full"), "{what}");
    assert!(asked.len() > 1);
}

#[test]
fn a_full_disk_after_an_ambiguous_put_does_not_make_that_one_definite() {
    let mut puts = vec![WriteLate];
    puts.extend([Full; 1000]);
    let (heard, _) = append(&puts, &[]);
    let Err(unknown @ Error::Unknown { .. }) = heard else { panic!("{heard:?}") };
    assert!(unknown.to_string().contains("is full"), "{unknown}");
}

#[test]
fn a_refusal_after_an_ambiguous_put_does_not_make_that_one_definite() {
    let mut puts = vec![WriteLate];
    puts.extend([Deny; 1000]);
    let (heard, _) = append(&puts, &[]);
    assert!(matches!(heard, Err(Error::Unknown { .. })), "{heard:?}");
    is_committed(&[LoseReply, Deny], &[], &["PUT", "PUT", "PUT", "GET"]);
}

#[test]
fn the_loser_of_a_race_hears_who_won() {
    block_on(async {
        let (log, store) = log();
        let begin = Writer::write(&log, 1, |_| true).await;
        let (ours, theirs) = (begin.next(2, true), begin.next(3, true));
        log.append(handle().run, &theirs.last, None, PATIENCE).await.unwrap();
        let theirs = Commit::decode(&Key::of_commit(&handle().at(1)), &theirs.last.bytes).unwrap();
        for puts in [&[][..], &[Fail], &[WriteLate, Fail], &[Conflict]] {
            store.seen();
            store.script(puts, &[]);
            let heard = log.append(handle().run, &ours.last, None, PATIENCE).await.unwrap();
            assert_eq!(heard, Append::Lost(Box::new(theirs.clone())), "{puts:?}");
            let put_and_get = puts.iter().filter(|act| !matches!(act, Conflict)).count() + 2;
            assert_eq!(store.seen().len(), put_and_get, "{puts:?}");
        }
    });
}

#[test]
fn the_loser_of_a_start_hears_who_won() {
    block_on(async {
        let (log, _) = log();
        Writer::write(&log, 1, |_| true).await;
        let handle = handle();
        let late = Writer::begin(9);
        let place = (&handle.namespace, &handle.execution, 0);
        let heard = log.create(place, &late.last, None, PATIENCE).await;
        let Ok(Append::Lost(winner)) = heard else { panic!("{heard:?}") };
        assert_eq!(winner.cid, 1);
    });
}

#[test]
fn a_winner_that_continues_another_log_is_corrupt() {
    block_on(async {
        let (log, _) = log();
        Writer::write(&log, 1, |_| true).await;
        let foreign = Writer::begin(8).next(3, true);
        log.append(handle().run, &foreign.last, None, PATIENCE).await.unwrap();
        let ours = Writer::begin(1).next(2, true);
        let heard = log.append(handle().run, &ours.last, None, PATIENCE).await;
        assert!(matches!(heard, Err(Error::Corrupt { .. })), "{heard:?}");
    });
}
