//! Which documents a build writes, and which it reads.

use super::commit::{FORMAT_VERSION, MIN_READER};
use crate::workflow::FOLD_VERSION;

/// What a build writes into the log and reads there. This build's is [`Format::OURS`]; a test that has
/// builds of several versions beside each other on one store gives some of them another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Format {
    /// The version of the documents that it writes, and the newest that it reads.
    pub version: u32,
    /// The oldest version that can read what it writes.
    pub min_reader: u32,
    /// By which rules it folds: a snapshot of another fold is left out.
    pub fold: u32,
}

impl Format {
    /// What this build writes and reads.
    pub const OURS: Self =
        Self { version: FORMAT_VERSION, min_reader: MIN_READER, fold: FOLD_VERSION };
}
