//! Commits: what is decoded is what was written; what is not is refused by a typed error that names
//! the key; and what a decoded commit's events come to is a state or a refusal, whoever wrote them.

use lazarus::{
    log::{Commit, Error, Key, Sum},
    workflow::{CommitFacts, ExecutionId, RunId, State, Timestamp, fold},
};
use serde_json::Value;

use super::Verdict;

/// `data` as it is, and under the sum that belongs to it: as if some writer had meant it.
pub fn commit(data: &[u8]) -> Verdict {
    let sealed = resealed(data);
    // Both are looked at, whatever the first one is.
    let found = [data, &sealed].map(read);
    Verdict::of(found.contains(&true))
}

/// The document in `data` with the right sum at its end.
fn resealed(data: &[u8]) -> Vec<u8> {
    let field = b",\"sum\":\"";
    let cut = data.windows(field.len()).rposition(|window| window == field);
    let body = match cut {
        Some(cut) => &data[..cut],
        None => data.strip_suffix(b"}").unwrap_or(data),
    };
    let mut bytes = body.to_vec();
    bytes.extend_from_slice(format!(",\"sum\":\"{}\"}}", Sum::of(body)).as_bytes());
    bytes
}

fn read(bytes: &[u8]) -> bool {
    let keys = keys(bytes);
    let found = keys.iter().filter(|key| match Commit::decode(key, bytes) {
        Ok(commit) => {
            check(key, &commit);
            true
        }
        Err(Error::Corrupt { key: named, .. } | Error::TooNew { key: named, .. }) => {
            assert_eq!(named, key.to_string(), "the refusal names the key");
            false
        }
        Err(other) => panic!("bytes in hand can not be {other}"),
    });
    let found = found.count();
    assert!(found <= 1, "one commit, two places: {keys:?}");
    found == 1
}

/// Where the document says that it stands, and where it never does.
fn keys(bytes: &[u8]) -> Vec<Key> {
    let mut keys = vec![Key::Layout];
    let Ok(document) = serde_json::from_slice::<Value>(bytes) else { return keys };
    let Some(run) = document["run"].as_str().and_then(|run| run.parse::<RunId>().ok()) else {
        return keys;
    };
    keys.extend(document["seq"].as_u64().map(|seq| Key::Run { run, seq }));
    let start = &document["events"][0];
    let id = || {
        Some(Key::Id {
            namespace: serde_json::from_value(start["namespace"].clone()).ok()?,
            execution: ExecutionId::known(start["execution"].as_str()?).ok()?.key(),
            generation: u32::try_from(start["generation"].as_u64()?).ok()?,
        })
    };
    keys.extend(id());
    keys
}

fn check(key: &Key, commit: &Commit) {
    let encoded = commit.to_new().encode(commit.cid);
    let again = Commit::decode(key, &encoded.bytes).expect("what is written can be read");
    let (mut once, mut twice) = (commit.clone(), again);
    // They are of the bytes, which need not have been written by us: blanks, the order of fields.
    (once.sum, twice.sum) = (encoded.sum, encoded.sum);
    (once.snapshots, twice.snapshots) = (encoded.snapshots, encoded.snapshots);
    assert_eq!(once, twice);

    let facts = CommitFacts { seq: commit.seq, time: commit.time };
    let states =
        [fold(None, facts, &commit.events), fold(commit.snapshot.clone(), facts, &commit.events)];
    for state in states.into_iter().flatten().chain(commit.snapshot.clone()) {
        look_at(&state);
    }
}

/// Whatever a log adds up to can be asked all that a waker and a list ask, and stands in a snapshot.
fn look_at(state: &State) {
    let text = serde_json::to_string(state).expect("a state is JSON");
    assert_eq!(serde_json::from_str::<State>(&text).expect("and is read back"), *state);
    for now in [0, state.time.as_millis(), u64::MAX].map(Timestamp::from_millis) {
        let _due = state.next_due(now);
        let _entries = state.attention_at(now, std::time::Duration::from_mins(1));
    }
    for done in state.done.values() {
        let _times = state.times(done);
    }
    let _record = lazarus::engine::Record::of(state, state.done.len());
    let _key = Key::of_start(&state.handle()).path();
}
