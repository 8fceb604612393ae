//! Builds: versions of the engine that serve one store beside each other.
//!
//! They are one engine, told to read and write as another version would. What an older one can not
//! know, it sees under a name that it does not know.

use bytes::Bytes;
use lazarus::{
    engine::Format,
    log::{Commit, Error, Key, Sum},
};

use serde_json::{Map, Value};

use super::chance::Chance;

/// A version of the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Build {
    /// The one that is built here.
    Usual,
    /// It folds by other rules, and so can not use the others' snapshots.
    OtherFold,
    /// It knows nothing of resumptions, nor of approvals after which the step runs again.
    Older,
    /// It knows both, and folds by other rules than the older one.
    Newer,
    /// The same, and nothing that it writes may be read by an older one.
    NewerOnly,
}

/// The kinds of events that [`Build::Older`] does not know, and names as long that nobody knows.
const UNKNOWN: [(&str, &str); 3] = [
    ("\"k\":\"result_kept\"", "\"k\":\"rezult_kept\""),
    ("\"k\":\"way_kept\"", "\"k\":\"vay_kept\""),
    ("\"k\":\"approval_answered\"", "\"k\":\"approval_anzwered\""),
];

impl Build {
    /// What it writes and reads.
    pub fn format(self) -> Format {
        let Format { version, fold, .. } = Format::OURS;
        match self {
            Self::Usual | Self::Older => Format::OURS,
            Self::OtherFold => Format { fold: fold + 1, ..Format::OURS },
            Self::Newer => Format { version: version + 1, fold: fold + 1, ..Format::OURS },
            Self::NewerOnly => {
                Format { version: version + 1, min_reader: version + 1, fold: fold + 1 }
            }
        }
    }

    /// Whether it can read all that any build of its world writes.
    pub fn reads_all(self) -> bool {
        self != Self::Older
    }

    /// The bytes of an object as it sees them.
    pub fn sees(self, bytes: Bytes) -> Bytes {
        if self.reads_all() {
            return bytes;
        }
        let Ok(text) = std::str::from_utf8(&bytes) else { return bytes };
        let Some((body, _)) = text.rsplit_once(",\"sum\":\"") else { return bytes };
        if !UNKNOWN.iter().any(|(known, _)| body.contains(known)) {
            return bytes;
        }
        let seen = UNKNOWN
            .iter()
            .fold(body.to_owned(), |seen, (known, unknown)| seen.replace(known, unknown));
        format!("{seen},\"sum\":\"{}\"}}", Sum::of(seen.as_bytes())).into()
    }
}

/// The bytes of a commit as an engine sees them that passes over events that it does not know, and over
/// what says that it must not.
pub fn without_unknown(bytes: &Bytes) -> Option<Bytes> {
    let mut commit: Map<String, Value> = serde_json::from_slice(bytes).ok()?;
    let is_known = |event: &Value| !UNKNOWN.iter().any(|kind| kind.0 == kind_of(event));
    let events = commit.get_mut("events")?.as_array_mut()?;
    events.retain(is_known);
    commit.insert("min_reader".to_owned(), 1.into());
    commit.remove("sum")?;
    let body = serde_json::to_string(&commit).ok()?;
    let body = body.strip_suffix('}')?;
    Some(format!("{body},\"sum\":\"{}\"}}", Sum::of(body.as_bytes())).into())
}

fn kind_of(event: &Value) -> String {
    format!("\"k\":{}", event["k"])
}

/// Which builds a world has, the last of which reads all that any of them writes.
pub fn of_world(chance: &Chance) -> &'static [Build] {
    match chance.from(0, 100) {
        0..70 => &[Build::Usual],
        70..80 => &[Build::Usual, Build::OtherFold],
        80..92 => &[Build::Older, Build::Newer],
        _ => &[Build::Older, Build::NewerOnly],
    }
}

/// Reads a commit with its snapshot, whichever build wrote it.
///
/// # Errors
///
/// It is none.
pub fn decode(key: &Key, bytes: &[u8]) -> Result<Commit, Error> {
    let of_newer = Commit::decode_as(Build::Newer.format(), key, bytes)?;
    let is_complete = of_newer.snapshot.is_some() || of_newer.snapshots.seq != of_newer.seq;
    if is_complete {
        return Ok(of_newer);
    }
    let Format { fold, .. } = Format::OURS;
    Commit::decode_as(Format { fold, ..Build::Newer.format() }, key, bytes)
}
