//! Reading a commit back, and what is refused.
//!
//! The sum is checked before anything is parsed: when it is right, some writer meant these bytes, and
//! what cannot be read is newer than this version; when it is wrong, the bytes are corrupt.

use serde::Deserialize;
use serde_json::{error::Category, value::RawValue};

use super::{
    commit::{Commit, cid_text},
    error::Error,
    format::Format,
    key::Key,
    snapshot::Snapshots,
    sum::Sum,
};
use crate::workflow::{Event, RunId, Seq, State, Timestamp};

/// `,"sum":"` and what follows it.
const SUM_FIELD: &str = ",\"sum\":\"";
const SUM_BYTES: usize = SUM_FIELD.len() + 64 + 2;

#[derive(Deserialize)]
struct Versions {
    v: u32,
    min_reader: u32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    #[serde(rename = "v")]
    _version: u32,
    #[serde(rename = "min_reader")]
    _min_reader: u32,
    run: RunId,
    seq: Seq,
    cid: String,
    #[serde(default)]
    prev: Option<Sum>,
    t: Timestamp,
    by: String,
    #[serde(default)]
    req: Vec<String>,
    events: Vec<Event>,
    snap_seq: Seq,
    #[serde(default)]
    snap: Option<Snap>,
    #[serde(rename = "sum")]
    _sum: Sum,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Snap {
    fold_v: u32,
    state: Box<RawValue>,
}

/// Why bytes are no commit, before it is said where they stood.
enum Fault {
    Corrupt(String),
    TooNew(String),
}

impl Commit {
    /// Reads the commit that stood at `key`.
    ///
    /// A snapshot of another fold version is left out: the state is then folded from the events.
    ///
    /// # Errors
    ///
    /// * [`Error::Corrupt`]: the sum is wrong, or the commit belongs somewhere else.
    /// * [`Error::TooNew`]: the sum is right, but this version does not know what stands there.
    pub fn decode(key: &Key, bytes: &[u8]) -> Result<Self, Error> {
        Self::decode_as(Format::OURS, key, bytes)
    }

    /// As [`Commit::decode`], by a build of `format`.
    ///
    /// # Errors
    ///
    /// As [`Commit::decode`].
    pub fn decode_as(format: Format, key: &Key, bytes: &[u8]) -> Result<Self, Error> {
        let at = |fault| match fault {
            Fault::Corrupt(fault) => Error::Corrupt { key: key.to_string(), fault },
            Fault::TooNew(fault) => Error::TooNew { key: key.to_string(), fault },
        };
        let commit = checked(format, bytes).map_err(at)?;
        commit.belongs_at(key).map_err(Fault::Corrupt).map_err(at)?;
        Ok(commit)
    }

    /// What is wrong with finding this commit at `key`, if anything is.
    fn belongs_at(&self, key: &Key) -> Result<(), String> {
        let start = match self.events.first() {
            Some(Event::ExecutionStarted(start)) => Some(start),
            Some(_) | None => None,
        };
        let is_right = match key {
            Key::Id { namespace, execution, generation } => start.is_some_and(|start| {
                self.seq == 0
                    && start.run == self.run
                    && start.namespace == *namespace
                    && start.execution.key() == *execution
                    && start.generation == *generation
            }),
            Key::Run { run, seq } => *run == self.run && *seq == self.seq && start.is_none(),
            Key::Blob { .. }
            | Key::Wake { .. }
            | Key::Queue { .. }
            | Key::Blueprint { .. }
            | Key::Worker { .. }
            | Key::Push { .. }
            | Key::Feed { .. }
            | Key::Dead { .. }
            | Key::Layout => false,
        };
        if is_right {
            return Ok(());
        }
        Err(format!("commit {} of run {} does not belong here", self.seq, self.run))
    }

    /// Whether this commit comes right after the one with the sum `before`.
    ///
    /// # Errors
    ///
    /// [`Error::Corrupt`] with the key of this commit.
    pub fn check_follows(&self, before: &Sum) -> Result<(), Error> {
        if self.prev == Some(*before) {
            return Ok(());
        }
        let key = Key::Run { run: self.run, seq: self.seq }.to_string();
        let prev = self.prev.map_or_else(|| "nothing".to_owned(), |sum| sum.to_string());
        let fault = format!("it follows {prev}, but the commit before it is {before}");
        Err(Error::Corrupt { key, fault })
    }
}

fn checked(format: Format, bytes: &[u8]) -> Result<Commit, Fault> {
    let sum = checked_sum(bytes).map_err(|fault| Fault::Corrupt(fault.to_owned()))?;
    let versions: Versions = parsed(bytes)?;
    if versions.min_reader > format.version {
        let Versions { v, min_reader } = versions;
        let ours = format.version;
        return Err(Fault::TooNew(format!(
            "it has format {v} and needs a reader of format {min_reader}; this one reads \
             {ours}"
        )));
    }
    commit(format, parsed(bytes)?, sum).map_err(Fault::Corrupt)
}

/// The sum of the document, which it must end with.
fn checked_sum(bytes: &[u8]) -> Result<Sum, &'static str> {
    let cut = bytes.len().checked_sub(SUM_BYTES).ok_or("it is too short for a commit")?;
    let (body, end) = bytes.split_at(cut);
    let sum = Sum::of(body);
    if end == format!("{SUM_FIELD}{sum}\"}}").as_bytes() {
        return Ok(sum);
    }
    Err("its sum does not match its bytes")
}

fn parsed<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, Fault> {
    serde_json::from_slice(bytes).map_err(|error| match error.classify() {
        Category::Data => Fault::TooNew(error.to_string()),
        Category::Syntax | Category::Eof | Category::Io => {
            Fault::Corrupt(format!("it is no JSON document: {error}"))
        }
    })
}

fn commit(format: Format, document: Document, sum: Sum) -> Result<Commit, String> {
    let Document { run, seq, cid, prev, t: time, by, req, events, snap_seq, snap, .. } = document;
    let cid = u128::from_str_radix(&cid, 16)
        .ok()
        .filter(|bits| cid_text(*bits) == cid)
        .ok_or("its cid is not 32 lower-case hex digits")?;
    if prev.is_none() != (seq == 0) {
        return Err("it lacks the sum of the commit before".to_owned());
    }
    if snap_seq > seq || (snap.is_some() && snap_seq != seq) {
        return Err(format!("its snapshot is said to stand in commit {snap_seq}"));
    }
    let bytes = snap.as_ref().map_or(0, |snap| snap.state.get().len() as u64);
    let snapshot = snap.and_then(|snap| state(format, &snap));
    if snapshot.as_ref().is_some_and(|state| state.run != run || state.seq != seq) {
        return Err("its snapshot is of another run or commit".to_owned());
    }
    let snapshots = Snapshots { seq: snap_seq, bytes };
    Ok(Commit { run, seq, cid, prev, time, by, requests: req, events, snapshots, snapshot, sum })
}

/// The state, when this version folds as its writer did; else it is folded from the events.
fn state(format: Format, snap: &Snap) -> Option<State> {
    if snap.fold_v != format.fold {
        return None;
    }
    serde_json::from_str(snap.state.get()).ok()
}
