//! Finding a run's end, what it costs, and what is refused.

use futures::executor::block_on;
use object_store::ObjectStoreExt;
use serde_json::json;

use super::support::{Writer, handle, log, seqs};
use crate::{
    log::{Error, Keeps, Key, PAYLOAD_BYTES_MAX, RunLog},
    workflow::{At, FOLD_VERSION, Payload},
};

#[test]
fn a_tail_with_its_state_is_one_get() {
    block_on(async {
        let (log, store) = log();
        let writer = Writer::write(&log, 3, |_| true).await;
        store.seen();
        let tail = log.tail(&handle().at(2)).await.unwrap().unwrap();
        assert_eq!(store.seen(), ["GET"]);
        assert_eq!((tail.state(), seqs(&tail)), (&writer.state, vec![2]));
        assert_eq!((tail.sum(), tail.snapshots()), (writer.last.sum, writer.last.snapshots));
    });
}

#[test]
fn a_tail_without_its_state_is_folded_since_the_snapshot() {
    block_on(async {
        let (log, store) = log();
        let writer = Writer::write(&log, 7, |seq| seq == 3).await;
        store.seen();
        let tail = log.tail(&handle().at(6)).await.unwrap().unwrap();
        assert_eq!(store.seen(), ["GET"; 4]);
        assert_eq!((tail.state(), seqs(&tail)), (&writer.state, vec![3, 4, 5, 6]));
        assert_eq!(tail.snapshots(), writer.last.snapshots);
        let early = log.tail(&handle().at(2)).await.unwrap().unwrap();
        assert_eq!(seqs(&early), [0, 1, 2]);
    });
}

/// Commit 2 with its state said to be of another fold.
async fn rewrite_fold_version(log: &RunLog, writer: &Writer) {
    let text = String::from_utf8(writer.last.bytes.to_vec()).unwrap();
    let text = text.replace(&format!("\"fold_v\":{FOLD_VERSION},"), "\"fold_v\":999,");
    let (body, _) = text.rsplit_once(",\"sum\":").unwrap();
    let text = format!("{body},\"sum\":\"{}\"}}", crate::log::Sum::of(body.as_bytes()));
    let path = Key::of_commit(&handle().at(2)).path();
    log.store.objects().put(&path, text.into_bytes().into()).await.unwrap();
}

#[test]
fn a_snapshot_of_another_fold_is_not_read_but_folded_anew() {
    block_on(async {
        let (log, _) = log();
        let writer = Writer::write(&log, 3, |_| true).await;
        rewrite_fold_version(&log, &writer).await;
        let tail = log.tail(&handle().at(2)).await.unwrap().unwrap();
        assert_eq!((tail.state(), seqs(&tail)), (&writer.state, vec![0, 1, 2]));
        assert!(
            tail.snapshots().is_due(3, Keeps::Nothing),
            "the next commit carries a state that we read"
        );
    });
}

#[test]
fn a_hint_past_the_end_finds_the_end() {
    block_on(async {
        let (log, store) = log();
        let writer = Writer::write(&log, 6, |_| true).await;
        store.seen();
        for hint in [6, 7, 9, 100, u64::MAX] {
            let tail = log.tail(&handle().at(hint)).await.unwrap().unwrap();
            assert_eq!(tail.state(), &writer.state, "{hint}");
            if hint == 6 {
                assert_eq!(store.seen(), ["GET", "GET"], "a guard of a commit that never came");
            }
        }
    });
}

#[test]
fn the_newest_commit_is_found_from_any_hint() {
    block_on(async {
        let (log, store) = log();
        let writer = Writer::write(&log, 40, |_| true).await;
        for (hint, asked) in [
            (39, &["GET", "GET"][..]),
            (38, &["GET", "GET"]),
            (37, &["GET", "GET", "LIST"]),
            (3, &["GET", "GET", "LIST", "GET"]),
            (40, &["GET", "GET", "GET"]),
        ] {
            store.seen();
            let tail = log.newest(&handle().at(hint)).await.unwrap().unwrap();
            assert_eq!(tail.state(), &writer.state, "{hint}");
            assert_eq!(store.seen(), asked, "{hint}");
        }
    });
}

#[test]
fn a_run_that_is_not_there_is_none() {
    block_on(async {
        let (log, _) = log();
        Writer::write(&log, 2, |_| true).await;
        let other = crate::workflow::Handle {
            run: crate::workflow::RunId::from_random(0xcd),
            ..handle().at(3)
        };
        assert!(log.tail(&other).await.unwrap().is_none());
        assert!(log.tail(&other.at(0)).await.unwrap().is_none());
        assert!(log.newest(&other).await.unwrap().is_none());
        assert!(!log.names_run(&other).await.unwrap());
        assert!(log.names_run(&handle()).await.unwrap());
        assert_eq!(log.history(&other).await.unwrap(), []);
    });
}

#[test]
fn the_newest_generation_is_found_by_one_list_and_one_get() {
    block_on(async {
        let (log, store) = log();
        let writer = Writer::write(&log, 1, |_| true).await;
        store.seen();
        let (generation, start) =
            log.head(&handle().namespace, &handle().execution).await.unwrap().unwrap();
        assert_eq!(store.seen(), ["LIST", "GET"]);
        assert_eq!((generation, start.sum), (0, writer.last.sum));
        let other = crate::workflow::ExecutionId::known("order 1").unwrap().key();
        assert!(log.head(&handle().namespace, &other).await.unwrap().is_none());
    });
}

fn corrupt_key<T: std::fmt::Debug>(outcome: Result<T, Error>) -> String {
    match outcome {
        Err(Error::Corrupt { key, .. }) => key,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_hole_is_corrupt_until_the_run_is_deleted() {
    block_on(async {
        let (log, _) = log();
        Writer::write(&log, 7, |seq| seq == 1).await;
        let hole = Key::of_commit(&handle().at(3));
        log.store.objects().delete(&hole.path()).await.unwrap();
        assert_eq!(corrupt_key(log.tail(&handle().at(6)).await), hole.to_string());
        assert_eq!(corrupt_key(log.history(&handle()).await), hole.to_string());
        assert_eq!(log.raw(&handle()).await.unwrap().len(), 6, "an incident sees the rest");
        log.store.objects().delete(&Key::of_start(&handle()).path()).await.unwrap();
        assert!(log.tail(&handle().at(6)).await.unwrap().is_none());
    });
}

#[test]
fn a_commit_of_another_history_is_corrupt() {
    block_on(async {
        let (log, _) = log();
        Writer::write(&log, 5, |seq| seq == 1).await;
        let foreign = Writer::begin(9).next(9, true).next(9, false).next(9, false);
        let key = Key::of_commit(&handle().at(3));
        log.store.objects().put(&key.path(), foreign.last.bytes.into()).await.unwrap();
        assert_eq!(corrupt_key(log.tail(&handle().at(4)).await), key.to_string());
        assert_eq!(corrupt_key(log.history(&handle()).await), key.to_string());
    });
}

#[test]
fn a_large_payload_goes_to_a_blob_and_comes_back() {
    block_on(async {
        let (log, store) = log();
        let fits = json!("x".repeat(usize::try_from(PAYLOAD_BYTES_MAX).unwrap() - 2));
        let mut small = Payload::of(fits.clone());
        log.offload(handle().run, &mut small).await.unwrap();
        assert_eq!((small, store.seen()), (Payload::of(fits), vec![]));

        let value = json!("x".repeat(usize::try_from(PAYLOAD_BYTES_MAX).unwrap() - 1));
        let mut large = Payload::of(value.clone());
        log.offload(handle().run, &mut large).await.unwrap();
        let Payload::Blob { sha256, bytes } = &large else { panic!("{large:?}") };
        assert_eq!((*bytes, store.seen()), (PAYLOAD_BYTES_MAX + 1, vec!["PUT"]));
        assert_eq!(*log.blob(handle().run, sha256).await.unwrap(), value);

        let key = Key::Blob { run: handle().run, sha256: sha256.to_string() };
        log.store.objects().put(&key.path(), b"1".to_vec().into()).await.unwrap();
        assert_eq!(corrupt_key(log.blob(handle().run, sha256).await), key.to_string());
        log.store.objects().delete(&key.path()).await.unwrap();
        assert_eq!(corrupt_key(log.blob(handle().run, sha256).await), key.to_string());
    });
}

#[test]
fn a_payload_is_read_from_the_event_that_carries_it() {
    block_on(async {
        let (log, store) = log();
        Writer::write(&log, 2, |_| true).await;
        store.seen();
        let input = log.payload(&handle().at(1), At(0, 0)).await.unwrap();
        assert_eq!((&*input, store.seen()), (&json!({"n": 1}), vec!["GET"]));
        let nothing = log.payload(&handle(), At(1, 0)).await;
        assert_eq!(corrupt_key(nothing), Key::of_commit(&handle().at(1)).to_string());
    });
}
