//! One batch of visibility records: the bytes of one object of the feed.
//!
//! JSON lines, each with the version of its format: `{"v":1,"ns":"default","eid":"a",...}`.
//! Source: docs/format.md "Feed".

use serde::{Deserialize, Serialize};

use crate::maintenance::Record;

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

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = concat!(
        r#"{"v":1,"ns":"default","eid":"a","gen":0,"run":"00000000000000000000000000000007","#,
        r#""seq":4,"workflow":"ship","version":2,"status":"waiting_for_approval","#,
        r#""started":1764000000000,"steps":[3,1]}"#,
        "\n"
    );

    #[test]
    fn a_line_is_written_as_it_was_always_written() {
        let lines = read(LINE.as_bytes());
        assert_eq!((lines.records.len(), lines.newer, lines.unreadable), (1, 0, 0));
        let mut again = vec![];
        write(&lines.records[0], &mut again);
        assert_eq!(String::from_utf8(again).expect("text"), LINE);
    }

    #[test]
    fn what_can_not_be_read_is_counted() {
        let body = format!("torn{LINE}{{\"v\":2}}\n{{\"v\":1}}\n{LINE}");
        let lines = read(body.as_bytes());
        assert_eq!((lines.records.len(), lines.newer, lines.unreadable), (1, 1, 2));
    }
}
