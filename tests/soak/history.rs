//! The histories, read from the bucket itself: no engine stands between them and the verdict.

use std::collections::BTreeMap;

use futures::{StreamExt, TryStreamExt, stream};
use lazarus::store::Store;
use object_store::{ObjectStore, ObjectStoreExt, path::Path};
use serde_json::Value;

/// How many commits are read at once.
const READS_AT_ONCE: usize = 48;

/// One run, as its commits tell it.
#[derive(Clone, Debug, Default)]
pub struct Run {
    /// Its numbers, in order.
    pub seqs: Vec<u64>,
    /// Its events, oldest first, each with the time of its commit.
    pub events: Vec<(u64, Value)>,
}

impl Run {
    pub fn of_kind<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a (u64, Value)> {
        self.events.iter().filter(move |(_, event)| event["k"] == kind)
    }

    /// A field of its first event.
    pub fn fact(&self, field: &str) -> &str {
        self.events.first().and_then(|(_, event)| event[field].as_str()).unwrap_or_default()
    }
}

/// Every run in the bucket, by its id.
pub async fn runs(store: &Store) -> BTreeMap<String, Run> {
    let mut keys: Vec<Path> = vec![];
    for prefix in ["id", "run"] {
        let prefix = Path::from(prefix);
        let listed = store.objects().list(Some(&prefix)).map_ok(|object| object.location);
        keys.extend(listed.try_collect::<Vec<_>>().await.expect("the bucket is listed"));
    }
    let read = |key: Path| async move {
        let found = store.objects().get(&key).await.expect("a commit is read");
        let bytes = found.bytes().await.expect("a commit is read");
        serde_json::from_slice::<Value>(&bytes).unwrap_or_else(|error| panic!("{key}: {error}"))
    };
    let mut commits: Vec<Value> =
        stream::iter(keys).map(read).buffer_unordered(READS_AT_ONCE).collect().await;
    commits.sort_by_key(|commit| commit["seq"].as_u64());
    let mut runs: BTreeMap<String, Run> = BTreeMap::new();
    for commit in commits {
        let run = runs.entry(commit["run"].as_str().expect("a run").to_owned()).or_default();
        run.seqs.push(commit["seq"].as_u64().expect("a number"));
        let time = commit["t"].as_u64().expect("a time");
        let events = commit["events"].as_array().expect("events");
        run.events.extend(events.iter().map(|event| (time, event.clone())));
    }
    runs
}

/// What was put aside because no engine could decide it.
pub async fn dead(store: &Store) -> Vec<String> {
    let prefix = Path::from("dead");
    let listed = store.objects().list(Some(&prefix)).map_ok(|object| object.location.to_string());
    listed.try_collect().await.expect("the bucket is listed")
}
