//! What the tests of this folder share.

use std::sync::Arc;

use object_store::path::Path;

use crate::{
    maintenance::{Record, Standing, listing::Object},
    workflow::{ExecutionId, Namespace, RunId, Timestamp},
};

/// A record of run `run`, which completed.
pub(super) fn record(execution: &str, generation: u32, run: u128) -> Record {
    Record {
        namespace: Namespace::default(),
        execution: ExecutionId::known(execution).expect("a valid id"),
        generation,
        run: RunId::from_random(run),
        seq: 3,
        workflow: "w".to_owned(),
        version: 1,
        status: Standing::Completed,
        started: Timestamp::from_millis(1),
        closed: None,
        deleted: None,
        may_have_blobs: true,
        steps: (1, 1),
        error: None,
        resumes: None,
        correlation_id: String::new(),
        tags: vec![],
    }
}

/// An object of the feed, written in the first hour there was.
pub(super) fn object(name: &str, records: Vec<Record>) -> Object {
    Object {
        path: Path::from(format!("feed/1970010100/{name}")),
        bytes: 1_000,
        is_whole: true,
        records: records.into_iter().map(Arc::new).collect(),
    }
}
