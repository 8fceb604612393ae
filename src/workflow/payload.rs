//! Data that users pass through a workflow, and where it is kept.

use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize};

use super::id::Seq;

/// A JSON value, shared rather than copied.
pub type Json = Arc<serde_json::Value>;

/// A payload as an event carries it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Payload {
    /// The value itself; at most 32 KiB of it as JSON.
    Json(Json),
    /// The value stands in a `blob/` object, written before the commit that carries this.
    Blob {
        /// SHA-256 of the blob's bytes, in lower-case hex; the last part of its key.
        sha256: Arc<str>,
        /// The blob's length.
        bytes: u64,
    },
}

impl Payload {
    /// A payload that carries `value` itself.
    pub fn of(value: serde_json::Value) -> Self {
        Self::Json(Arc::new(value))
    }

    /// How many bytes the value has as JSON.
    pub fn bytes(&self) -> u64 {
        match self {
            Self::Json(value) => json_bytes(value),
            Self::Blob { bytes, .. } => *bytes,
        }
    }
}

/// The event that first carried a payload: where to read it again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct At(
    /// The commit.
    pub Seq,
    /// The index of the event in that commit.
    pub u32,
);

/// A payload as the state knows it: always where it is, and the value itself when it is small.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Stored {
    /// The event that carries it.
    pub at: At,
    /// Its length as JSON.
    pub bytes: u64,
    /// The value, when it has at most [`INLINE_BYTES_MAX`].
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    pub value: Option<Json>,
}

/// A value that stands there, also when it is `null`: a null is a value that is carried, not one that
/// has to be fetched.
fn present<'de, D: Deserializer<'de>>(input: D) -> Result<Option<Json>, D::Error> {
    Json::deserialize(input).map(Some)
}

/// The largest value that a state carries itself; a larger one stands as a reference.
pub const INLINE_BYTES_MAX: u64 = 1024;

impl Stored {
    /// What the state keeps of `payload`, which the event at `at` carries.
    pub fn new(at: At, payload: &Payload) -> Self {
        let bytes = payload.bytes();
        let value = match payload {
            Payload::Json(value) if bytes <= INLINE_BYTES_MAX => Some(value.clone()),
            Payload::Json(_) | Payload::Blob { .. } => None,
        };
        Self { at, bytes, value }
    }
}

/// Counts the bytes of `value` as JSON without building the text.
pub(crate) fn json_bytes(value: &serde_json::Value) -> u64 {
    struct Count(u64);
    impl std::io::Write for Count {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0 += bytes.len() as u64;
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let mut count = Count(0);
    serde_json::to_writer(&mut count, value).expect("BUG: a JSON value does not serialize");
    count.0
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_null_that_a_state_carries_is_read_back() {
        let stored = Stored::new(At(3, 1), &Payload::of(json!(null)));
        let text = serde_json::to_string(&stored).unwrap();
        assert_eq!(text, r#"{"at":[3,1],"bytes":4,"value":null}"#);
        assert_eq!(serde_json::from_str::<Stored>(&text).unwrap(), stored);
    }
}
