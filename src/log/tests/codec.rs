//! Commits to bytes and back.

use proptest::prelude::*;
use serde_json::json;

use super::support::{Writer, handle, start};
use crate::{
    log::{Commit, Error, Format, Key, NewCommit, Snapshots, Sum},
    workflow::{Event, Failure, Payload, Timestamp},
};

fn key(seq: u64) -> Key {
    Key::of_commit(&handle().at(seq))
}

/// Any JSON value that a worker can send.
fn json_value() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(json!(null)),
        any::<bool>().prop_map(|it| json!(it)),
        any::<i64>().prop_map(|it| json!(it)),
        any::<u64>().prop_map(|it| json!(it)),
        any::<f64>().prop_map(|it| json!(it)),
        any::<String>().prop_map(|it| json!(it)),
    ];
    leaf.prop_recursive(3, 20, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(|it| json!(it)),
            prop::collection::btree_map(any::<String>(), inner, 0..5).prop_map(|it| json!(it)),
        ]
    })
}

fn event() -> impl Strategy<Value = Event> {
    let step = "\\PC{1,9}";
    prop_oneof![
        (step, json_value(), any::<u32>()).prop_map(|(step, value, attempt)| {
            let (step, result) = (step.as_str().into(), Payload::of(value));
            Event::StepCompleted { step, iteration: 1, attempt, result }
        }),
        (step, any::<String>(), any::<String>()).prop_map(|(step, kind, message)| {
            let error = Failure { kind, message, stacktrace: String::new() };
            Event::ExecutionFailed { step: step.as_str().into(), error }
        }),
        (any::<u64>(), any::<u64>()).prop_map(|(epoch, due)| {
            Event::GuardArmed { epoch, due: Timestamp::from_millis(due) }
        }),
        Just(Event::ExecutionCompleted),
    ]
}

proptest! {
    #[test]
    fn a_commit_comes_back_from_its_bytes(
        events in prop::collection::vec(event(), 0..6),
        requests in prop::collection::vec("\\PC{0,20}", 0..4),
        by: String, cid: u128, time: u64, seq in 1..10_000_u64, before: u64,
    ) {
        let new = NewCommit {
            run: handle().run,
            seq,
            prev: Some(Sum::of(&before.to_le_bytes())),
            time: Timestamp::from_millis(time),
            by: &by,
            requests: &requests,
            events: &events,
            snapshots: Snapshots { seq: seq / 2, bytes: 0 },
            snapshot: None,
        };
        let encoded = new.encode(cid);
        let commit = Commit::decode(&key(seq), &encoded.bytes).unwrap();
        prop_assert_eq!(&commit.events, &events);
        prop_assert_eq!(&commit.requests, &requests);
        prop_assert_eq!((&commit.by, commit.cid, commit.seq), (&by, cid, seq));
        prop_assert_eq!((commit.sum, commit.prev), (encoded.sum, encoded.prev));
        prop_assert_eq!(commit.to_new().encode(cid).bytes, encoded.bytes);
    }
}

#[test]
fn a_commit_with_its_state_comes_back_from_its_bytes() {
    let writer = Writer::begin(1).next(2, true);
    let commit = Commit::decode(&key(1), &writer.last.bytes).unwrap();
    assert_eq!(commit.snapshot.as_ref(), Some(&writer.state));
    assert_eq!(commit.snapshots, writer.last.snapshots);
    assert_eq!(commit.to_new().encode(2).bytes, writer.last.bytes);
}

#[test]
fn every_flipped_byte_is_refused() {
    for (seq, writer) in [(0, Writer::begin(1)), (1, Writer::begin(1).next(2, true))] {
        let bytes = writer.last.bytes;
        for at in 0..bytes.len() {
            for bit in [0x01, 0x20, 0x80] {
                let mut flipped = bytes.to_vec();
                flipped[at] ^= bit;
                let outcome = Commit::decode(&key(seq), &flipped);
                assert!(matches!(outcome, Err(Error::Corrupt { .. })), "byte {at}: {outcome:?}");
            }
        }
        for length in 0..bytes.len() {
            let outcome = Commit::decode(&key(seq), &bytes[..length]);
            assert!(matches!(outcome, Err(Error::Corrupt { .. })), "{length} bytes: {outcome:?}");
        }
    }
}

/// Decodes commit 0 with `from` replaced by `to`, under a right sum.
fn decode_edited(from: &str, to: &str) -> Result<Commit, Error> {
    let text = String::from_utf8(Writer::begin(1).last.bytes.to_vec()).unwrap();
    assert!(text.contains(from), "{text}");
    let text = text.replace(from, to);
    let (body, _) = text.rsplit_once(",\"sum\":").unwrap();
    let text = format!("{body},\"sum\":\"{}\"}}", Sum::of(body.as_bytes()));
    Commit::decode(&key(0), text.as_bytes())
}

#[test]
fn what_a_newer_version_wrote_is_too_new_and_not_corrupt() {
    for (from, to) in [
        ("\"min_reader\":1", "\"min_reader\":2"),
        ("\"k\":\"execution_started\"", "\"k\":\"execution_teleported\""),
        ("\"k\":\"execution_started\"", "\"k\":\"execution_started\",\"colour\":1"),
        ("\"seq\":0", "\"seq\":0,\"colour\":1"),
    ] {
        let outcome = decode_edited(from, to);
        assert!(matches!(outcome, Err(Error::TooNew { .. })), "{to}: {outcome:?}");
    }
    assert!(decode_edited("{\"v\":1", "{\"v\":2").is_ok(), "a newer writer that we can read");
}

#[test]
fn each_build_reads_what_it_may() {
    let ours = Format::OURS;
    let newer = Format { version: ours.version + 1, ..ours };
    let closed = Format { min_reader: newer.version, ..newer };
    let encoded = |format| {
        let events = start(json!({}));
        let new = NewCommit {
            run: handle().run,
            seq: 0,
            prev: None,
            time: Timestamp::from_millis(1),
            by: "a/0.1.0",
            requests: &[],
            events: &events,
            snapshots: Snapshots::NONE,
            snapshot: None,
        };
        new.encode_as(format, 1).bytes
    };
    assert!(Commit::decode_as(ours, &key(0), &encoded(newer)).is_ok());
    let refused = Commit::decode_as(ours, &key(0), &encoded(closed));
    assert!(matches!(refused, Err(Error::TooNew { .. })), "{refused:?}");
    for format in [ours, newer, closed] {
        assert!(Commit::decode_as(closed, &key(0), &encoded(format)).is_ok(), "{format:?}");
    }
    let bytes = Writer::begin(1).next(1, true).last.bytes;
    let snapshot = |fold| Commit::decode_as(Format { fold, ..ours }, &key(1), &bytes);
    assert!(snapshot(ours.fold).expect("a commit").snapshot.is_some());
    assert_eq!(snapshot(ours.fold + 1).expect("the same commit").snapshot, None);
}

#[test]
fn what_no_writer_can_mean_is_corrupt() {
    for (from, to) in [
        ("\"seq\":0", "\"seq\":1"),
        ("\"generation\":0", "\"generation\":1"),
        ("\"snap_seq\":0", "\"snap_seq\":1"),
        ("\"order 17\"", "\"order 18\""),
        ("{\"v\":1", "{\"v\":01"),
    ] {
        let outcome = decode_edited(from, to);
        assert!(matches!(outcome, Err(Error::Corrupt { .. })), "{to}: {outcome:?}");
    }
}

#[test]
fn a_commit_at_another_key_is_corrupt() {
    let other = Key::Run { run: crate::workflow::RunId::from_random(1), seq: 1 };
    let bytes = Writer::begin(1).next(2, true).last.bytes;
    for key in [key(0), key(2), other] {
        let outcome = Commit::decode(&key, &bytes);
        assert!(matches!(outcome, Err(Error::Corrupt { .. })), "{key}: {outcome:?}");
    }
}

#[test]
fn the_document_is_pinned() {
    let events = start(json!({"n": 1}));
    let new = NewCommit {
        run: handle().run,
        seq: 0,
        prev: None,
        time: Timestamp::from_millis(1_764_000_000_000),
        by: "a/0.1.0",
        requests: &["r1".to_owned()],
        events: &events,
        snapshots: Snapshots::NONE,
        snapshot: None,
    };
    let text = String::from_utf8(new.encode(0xc1d).bytes.to_vec()).unwrap();
    let hash = "00".repeat(32);
    let body = format!(
        "{{\"v\":1,\"min_reader\":1,\"run\":\"000000000000000000000000000000ab\",\"seq\":0,\
         \"cid\":\"00000000000000000000000000000c1d\",\"t\":1764000000000,\"by\":\"a/0.1.0\",\
         \"req\":[\"r1\"],\"events\":[{{\"k\":\"execution_started\",\"namespace\":\"default\",\
         \"execution\":\"order 17\",\"generation\":0,\"run\":\"000000000000000000000000000000ab\",\
         \"blueprint\":{{\"name\":\"orders\",\"version\":1,\"hash\":\"{hash}\"}},\
         \"input\":{{\"json\":{{\"n\":1}}}},\"request\":\"r1\",\"with_inputs\":{{\"a\":true}}}}],\
         \"snap_seq\":0"
    );
    assert_eq!(text, format!("{body},\"sum\":\"{}\"}}", Sum::of(body.as_bytes())));
}
