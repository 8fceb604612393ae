//! The history of runs: one object per commit, written with put-if-absent and nothing else.
//!
//! Owns the commit's format, every key, and rule R1 (what an ambiguous answer of the store means).
//! Promises per run a linearizable conditional append, and nothing else: no order among runs, no
//! listing that is ever needed for correctness. Never decides, never retries a decision, never
//! writes over or deletes a commit.
//!
//! Invariants:
//! * of all writers of one (run, seq) exactly one hears [`Append::Committed`], and a writer whose
//!   commit is in the log never hears [`Append::Lost`];
//! * what is read was checked: sum, chain, place; otherwise [`Error::Corrupt`] or [`Error::TooNew`];
//! * log numbers have no gaps: commit n is written by someone who has read n - 1.
//!
//! Source: docs/format.md, docs/fencing.md.

mod blob;
mod blueprints;
mod commit;
mod decode;
mod error;
mod format;
mod key;
mod key_parse;
mod object;
mod put;
mod search;
mod snapshot;
mod sum;
mod tail;

#[cfg(test)]
mod tests;

pub use blob::PAYLOAD_BYTES_MAX;
pub use blueprints::{Blueprints, StoredBlueprint};
pub use commit::{Commit, Encoded, FORMAT_VERSION, NewCommit};
pub use error::Error;
pub use format::Format;
pub use key::{DUE_MAX, Key, shard_of};
pub use object::RunLog;
pub use put::Append;
pub use snapshot::{Keeps, Snapshots};
pub use sum::Sum;
pub use tail::Tail;
