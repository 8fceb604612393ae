//! Data that users pass through a workflow, and where it is kept.

use std::{
    fmt,
    ops::Deref,
    sync::{Arc, OnceLock},
};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::{RawValue, Value, to_raw_value};

use super::id::Seq;

/// A JSON value, shared rather than copied; so is its text, once somebody asked for it: it is the same
/// in the event that carries the value, and in each snapshot after that.
#[derive(Clone)]
pub struct Json(Arc<Shared>);

struct Shared {
    value: Value,
    text: OnceLock<Box<RawValue>>,
}

impl Json {
    /// To be shared from here on.
    pub fn new(value: Value) -> Self {
        Self(Arc::new(Shared { value, text: OnceLock::new() }))
    }

    /// Its text, as short as JSON can be.
    pub fn text(&self) -> &str {
        self.raw().get()
    }

    fn raw(&self) -> &RawValue {
        let Shared { value, text } = &*self.0;
        text.get_or_init(|| to_raw_value(value).expect("BUG: a JSON value does not serialize"))
    }
}

impl Deref for Json {
    type Target = Value;

    fn deref(&self) -> &Value {
        &self.0.value
    }
}

impl From<Value> for Json {
    fn from(value: Value) -> Self {
        Self::new(value)
    }
}

impl PartialEq for Json {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl fmt::Debug for Json {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, out)
    }
}

impl Serialize for Json {
    fn serialize<S: Serializer>(&self, output: S) -> Result<S::Ok, S::Error> {
        self.raw().serialize(output)
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        Value::deserialize(input).map(Self::new)
    }
}

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
    pub fn of(value: Value) -> Self {
        Self::Json(Json::new(value))
    }

    /// How many bytes the value has as JSON.
    pub fn bytes(&self) -> u64 {
        match self {
            Self::Json(value) => value.text().len() as u64,
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
