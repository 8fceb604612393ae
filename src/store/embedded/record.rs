//! One stored object as bytes: a version byte, the time of its last write, its body.

use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use object_store::{Error, ObjectMeta, Result, path::Path};
use xxhash_rust::xxh3::xxh3_64;

use super::generic;
use crate::workflow::Timestamp;

/// The first byte of every value; another one was written by a newer version.
const FORMAT: u8 = 1;
/// The format byte and the time.
const HEADER_BYTES: usize = 9;

/// An object: what a key stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) modified: Timestamp,
    pub(super) body: Bytes,
}

impl Record {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut value = Vec::with_capacity(HEADER_BYTES + self.body.len());
        value.push(FORMAT);
        value.extend(self.modified.as_millis().to_be_bytes());
        value.extend(&self.body);
        value
    }

    pub(super) fn decode(value: &[u8]) -> Result<Self> {
        match value.split_first_chunk::<HEADER_BYTES>() {
            Some(([FORMAT, millis @ ..], body)) => Ok(Self {
                modified: Timestamp::from_millis(u64::from_be_bytes(*millis)),
                body: Bytes::copy_from_slice(body),
            }),
            Some(([newer, ..], _)) => Err(unreadable(format!(
                "a value has format {newer}; this version reads {FORMAT}: upgrade"
            ))),
            None => Err(unreadable(format!("a value of {} bytes is none of ours", value.len()))),
        }
    }

    /// The entity tag: another one whenever the body changes, also back to an older body.
    pub(super) fn e_tag(&self) -> String {
        format!("\"{:x}-{:016x}\"", self.modified.as_millis(), xxh3_64(&self.body))
    }

    pub(super) fn meta(&self, location: Path) -> ObjectMeta {
        ObjectMeta {
            location,
            last_modified: (UNIX_EPOCH + Duration::from_millis(self.modified.as_millis())).into(),
            size: self.body.len() as u64,
            e_tag: Some(self.e_tag()),
            version: None,
        }
    }
}

fn unreadable(detail: String) -> Error {
    generic(detail.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_comes_back_from_its_bytes() {
        let record = Record {
            modified: Timestamp::from_millis(1_764_000_000_123),
            body: Bytes::from_static(b"{}"),
        };
        assert_eq!(record.encode(), b"\x01\x00\x00\x01\x9a\xb6\x97\xe8\x7b{}");
        assert_eq!(Record::decode(&record.encode()).expect("decodes"), record);
    }

    #[test]
    fn a_newer_format_is_refused() {
        let error = Record::decode(&[2; 20]).expect_err("is refused");
        assert!(error.to_string().contains("upgrade"), "{error}");
    }
}
