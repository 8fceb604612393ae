//! The tombstone: a start commit that is closed from the start.
//!
//! The newest generation of an id that a user chose is never deleted, so that a generation number
//! never comes back; retention puts a tombstone behind the last generation before it deletes that.

use std::collections::BTreeMap;

use super::{
    event::{BlueprintRef, Event, Start},
    id::{ExecutionId, Generation, Namespace, RunId},
    payload::Payload,
    time::Timestamp,
};

/// What a tombstone says.
#[derive(Clone, Debug)]
pub struct Tombstone {
    /// The namespace.
    pub namespace: Namespace,
    /// The execution's id.
    pub execution: ExecutionId,
    /// Its own generation: one more than the deleted one.
    pub generation: Generation,
    /// Its own run, of random bits as any other.
    pub run: RunId,
    /// The workflow of the deleted run, and its version; a tombstone is pinned to no hash.
    pub workflow: (String, u32),
    /// The deleted run, and when it had closed.
    pub deleted: (RunId, Timestamp),
}

impl Tombstone {
    /// The events of its only commit. Nothing of the deleted run's data is in them.
    pub fn events(self) -> Vec<Event> {
        let Self { namespace, execution, generation, run, workflow: (name, version), deleted } =
            self;
        let start = Start {
            namespace,
            execution,
            generation,
            run,
            blueprint: BlueprintRef { name, version, hash: String::new() },
            input: Payload::of(serde_json::Value::Object(serde_json::Map::new())),
            request: String::new(),
            timeout_ms: None,
            deadline: None,
            correlation_id: String::new(),
            tags: vec![],
            with_inputs: BTreeMap::new(),
            arguments: BTreeMap::new(),
            resumed: None,
        };
        let (run, closed) = deleted;
        vec![Event::ExecutionStarted(Box::new(start)), Event::ExecutionDeleted { run, closed }]
    }
}

/// What the tombstone with these events stands for: the deleted run, and when it had closed; none:
/// they are of another commit.
pub fn deleted_by(events: &[Event]) -> Option<(RunId, Timestamp)> {
    match events {
        [Event::ExecutionStarted(_), Event::ExecutionDeleted { run, closed }] => {
            Some((*run, *closed))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workflow::{CommitFacts, fold};

    #[test]
    fn a_tombstone_is_closed_from_the_start_and_needs_nothing() {
        let closed = Timestamp::from_millis(5);
        let deleted = RunId::from_random(1);
        let events = Tombstone {
            namespace: Namespace::default(),
            execution: ExecutionId::known("order").expect("an id"),
            generation: 4,
            run: RunId::from_random(2),
            workflow: ("orders".to_owned(), 3),
            deleted: (deleted, closed),
        }
        .events();
        assert_eq!(deleted_by(&events), Some((deleted, closed)));
        assert_eq!(deleted_by(&events[..1]), None);
        let time = Timestamp::from_millis(9);
        let state = fold(None, CommitFacts { seq: 0, time }, &events).expect("a state");
        assert_eq!((state.closed, state.generation, state.open.len()), (Some(time), 4, 0));
        assert!(state.attention().is_empty());
    }
}
