//! The commit: what a writer gives, and its bytes.
//!
//! Invariant: the last field of the document is the SHA-256 of every byte before it, and `prev` is
//! that sum of the commit before; so one flipped byte anywhere, the newest commit included, and any
//! hole or foreign commit is found when the log is read.
//!
//! Source: docs/format.md "Commit".

use bytes::Bytes;
use serde::Serialize;

use super::{format::Format, snapshot::Snapshots, sum::Sum};
use crate::workflow::{Event, RunId, Seq, State, Timestamp};

/// The version of the format that is written here.
pub const FORMAT_VERSION: u32 = 1;
/// The oldest version that can read what is written here.
pub(super) const MIN_READER: u32 = 1;

/// The events of one decision, as they stand in the log; its sum was checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Commit {
    /// The run.
    pub run: RunId,
    /// Its number in the run's log.
    pub seq: Seq,
    /// 128 random bits of the writer: two commits with one number are told apart by it.
    pub cid: u128,
    /// The sum of the commit before; none: this is commit 0.
    pub prev: Option<Sum>,
    /// When it was decided; never before the commit before it.
    pub time: Timestamp,
    /// Which instance decided it, and its build: `name/version`.
    pub by: String,
    /// The requests that it applies.
    pub requests: Vec<String>,
    /// What happened, in order; empty: a settlement.
    pub events: Vec<Event>,
    /// The commit from which the state is folded, and the length of the state if it stands here.
    pub snapshots: Snapshots,
    /// The state after this commit, when it stands here in a form that we read.
    pub snapshot: Option<State>,
    /// The sum of its own bytes.
    pub sum: Sum,
}

/// A commit to be written.
#[derive(Clone, Debug)]
pub struct NewCommit<'a> {
    /// The run.
    pub run: RunId,
    /// Its number: one more than the commit before.
    pub seq: Seq,
    /// The sum of the commit before; none: this is commit 0.
    pub prev: Option<Sum>,
    /// When it was decided.
    pub time: Timestamp,
    /// Which instance decided it, and its build: `name/version`.
    pub by: &'a str,
    /// The requests that it applies.
    pub requests: &'a [String],
    /// What happened, in order; empty: a settlement.
    pub events: &'a [Event],
    /// The last snapshot before this commit.
    pub snapshots: Snapshots,
    /// The state after this commit, when [`Snapshots::is_due`] says that it is to stand here.
    pub snapshot: Option<&'a State>,
}

/// The bytes of a commit, which are sent unchanged however often they have to be.
#[derive(Clone, Debug)]
pub struct Encoded {
    /// The run.
    pub run: RunId,
    /// Its number in the run's log.
    pub seq: Seq,
    /// What tells it from another writer's commit of the same number.
    pub cid: u128,
    /// The sum of the commit before; none: this is commit 0.
    pub prev: Option<Sum>,
    /// The sum of its own bytes: `prev` of the next commit.
    pub sum: Sum,
    /// The document.
    pub bytes: Bytes,
    /// The last snapshot, once this commit is in the log.
    pub snapshots: Snapshots,
}

/// The document up to its snapshot; the order of the fields is the order in the log.
#[derive(Serialize)]
struct Body<'a> {
    v: u32,
    min_reader: u32,
    run: RunId,
    seq: Seq,
    cid: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    prev: Option<Sum>,
    t: Timestamp,
    by: &'a str,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    req: &'a [String],
    events: &'a [Event],
    snap_seq: Seq,
}

/// What a commit takes beside the state that it carries, mostly.
const COMMIT_BYTES: usize = 1536;

impl NewCommit<'_> {
    /// The bytes of the commit; `cid` are 128 random bits.
    ///
    /// # Panics
    ///
    /// When `prev` is missing from a commit after 0, or given for commit 0.
    pub fn encode(&self, cid: u128) -> Encoded {
        self.encode_as(Format::OURS, cid)
    }

    /// As [`NewCommit::encode`], by a build of `format`.
    ///
    /// # Panics
    ///
    /// As [`NewCommit::encode`].
    pub fn encode_as(&self, format: Format, cid: u128) -> Encoded {
        assert_eq!(self.prev.is_none(), self.seq == 0, "BUG: commit 0, and no other, begins a log");
        let mut snapshots = self.snapshots;
        if self.snapshot.is_some() {
            snapshots.seq = self.seq;
        }
        let body = Body {
            v: format.version,
            min_reader: format.min_reader,
            run: self.run,
            seq: self.seq,
            cid: cid_text(cid),
            prev: self.prev,
            t: self.time,
            by: self.by,
            req: self.requests,
            events: self.events,
            snap_seq: snapshots.seq,
        };
        // The state is about as long as the last one was.
        let state_bytes = self.snapshot.map_or(0, |_| self.snapshots.bytes);
        let state_bytes = usize::try_from(state_bytes).unwrap_or(0);
        let mut bytes = Vec::with_capacity(COMMIT_BYTES + state_bytes);
        serde_json::to_writer(&mut bytes, &body).expect("BUG: a commit does not serialize");
        let brace = bytes.pop();
        assert_eq!(brace, Some(b'}'), "BUG: a commit is no JSON object");
        if let Some(state) = self.snapshot {
            // Written in place: a copy of its text only to learn its length is what most of a commit's
            // bytes would be.
            let head = format!(",\"snap\":{{\"fold_v\":{},\"state\":", format.fold);
            bytes.extend_from_slice(head.as_bytes());
            let from = bytes.len();
            serde_json::to_writer(&mut bytes, state).expect("BUG: a state does not serialize");
            snapshots.bytes = (bytes.len() - from) as u64;
            bytes.push(b'}');
        }
        let sum = Sum::of(&bytes);
        bytes.extend_from_slice(format!(",\"sum\":\"{sum}\"}}").as_bytes());
        let Self { run, seq, prev, .. } = *self;
        Encoded { run, seq, cid, prev, sum, bytes: bytes.into(), snapshots }
    }
}

impl Commit {
    /// The commit as it would be written again: encoding it gives the bytes that were read, unless
    /// they hold a snapshot of another fold.
    pub fn to_new(&self) -> NewCommit<'_> {
        NewCommit {
            run: self.run,
            seq: self.seq,
            prev: self.prev,
            time: self.time,
            by: &self.by,
            requests: &self.requests,
            events: &self.events,
            snapshots: self.snapshots,
            snapshot: self.snapshot.as_ref(),
        }
    }
}

/// A commit's `cid` as it stands in the document.
pub(super) fn cid_text(cid: u128) -> String {
    format!("{cid:032x}")
}
