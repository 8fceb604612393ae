//! One batch of visibility records: the bytes of one object of the feed.
//!
//! JSON lines, each with the version of its format: `{"v":1,"ns":"default","eid":"a",...}`.
//! Source: docs/format.md "Feed".

use serde::{Deserialize, Serialize};

use super::Record;

/// The version of a line that this build writes, and the newest that it reads.
const LINE_VERSION: u32 = 1;

#[derive(Serialize)]
struct Line<'a> {
    v: u32,
    #[serde(flatten)]
    record: &'a Record,
}

#[derive(Deserialize)]
struct LineVersion {
    v: u32,
}

/// The records that could be read from an object, and how many could not.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Lines {
    /// They, in the order they were written.
    pub(super) records: Vec<Record>,
    /// Lines of a newer version.
    pub(super) newer: usize,
    /// Lines that are none of ours.
    pub(super) unreadable: usize,
}

/// Appends the line of `record` to `body`.
pub(super) fn write(record: &Record, body: &mut Vec<u8>) {
    serde_json::to_writer(&mut *body, &Line { v: LINE_VERSION, record })
        .expect("BUG: a record is no JSON");
    body.push(b'\n');
}

/// Reads the lines of an object; what can not be read is counted and skipped.
pub(super) fn read(body: &[u8]) -> Lines {
    let mut lines = Lines::default();
    for line in body.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        match serde_json::from_slice::<LineVersion>(line) {
            Ok(LineVersion { v }) if v > LINE_VERSION => lines.newer += 1,
            Ok(_) => match serde_json::from_slice(line) {
                Ok(record) => lines.records.push(record),
                Err(_) => lines.unreadable += 1,
            },
            Err(_) => lines.unreadable += 1,
        }
    }
    lines
}
