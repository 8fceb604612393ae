//! Messages between protobuf and its JSON, by the descriptors that reflection serves.
//!
//! The canonical mapping of proto3: names in lowerCamelCase (the proto's own are read too), 64-bit
//! numbers as text, times as RFC 3339, `Struct` and `Value` as the JSON that they stand for. A field
//! that nobody knows is refused.

use std::{collections::HashSet, fmt, io, sync::LazyLock};

use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor, MethodDescriptor};
use serde::{
    Deserialize, Serialize as _,
    de::{self, IgnoredAny, MapAccess, Visitor},
};
use serde_json::{
    Deserializer, Serializer,
    ser::{CompactFormatter, Formatter},
};

use crate::proto::DESCRIPTORS;

static POOL: LazyLock<DescriptorPool> = LazyLock::new(|| {
    DescriptorPool::decode(DESCRIPTORS).expect("BUG: the descriptors are those of the build")
});

/// The call at `path`, which is `/package.Service/Method`.
pub(super) fn method(path: &str) -> Option<MethodDescriptor> {
    let (service, method) = path.strip_prefix('/')?.split_once('/')?;
    POOL.get_service_by_name(service)?.methods().find(|it| it.name() == method)
}

/// The message that `json` says; `part` of a request is where it stands.
///
/// # Errors
///
/// What is wrong with it, for whoever sent it.
pub(super) fn read(
    part: &str,
    kind: &MessageDescriptor,
    json: &[u8],
) -> Result<DynamicMessage, String> {
    let refused =
        |error: serde_json::Error| format!("{part} is no {} in JSON: {error}", kind.name());
    let mut input = Deserializer::from_slice(json);
    let message = DynamicMessage::deserialize(kind.clone(), &mut input).map_err(refused)?;
    input.end().map_err(refused)?;
    let Names(names) = serde_json::from_slice(json).map_err(refused)?;
    let mut given = HashSet::new();
    for name in &names {
        let field = kind.get_field_by_json_name(name).or_else(|| kind.get_field_by_name(name));
        if field.is_some_and(|field| !given.insert(field.number())) {
            return Err(format!("`{name}` is given twice in {part}"));
        }
    }
    Ok(message)
}

/// The names in an object, each as often as it stands there: JSON lets the last one win, and so does
/// the mapping of protobuf for the two spellings of a name.
struct Names(Vec<String>);

impl<'de> Deserialize<'de> for Names {
    fn deserialize<D: de::Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        input.deserialize_map(Self(vec![]))
    }
}

impl<'de> Visitor<'de> for Names {
    type Value = Self;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<Self, A::Error> {
        while let Some((name, IgnoredAny)) = map.next_entry()? {
            self.0.push(name);
        }
        Ok(self)
    }
}

/// The JSON of an encoded message.
///
/// # Errors
///
/// What is wrong with it: it is none of `kind`, or says what JSON can not.
pub(super) fn written(kind: MessageDescriptor, message: &[u8]) -> Result<Vec<u8>, String> {
    let message = DynamicMessage::decode(kind, message).map_err(|error| error.to_string())?;
    let mut json = vec![];
    let mut output = Serializer::with_formatter(&mut json, WholeNumbers(CompactFormatter));
    message.serialize(&mut output).map_err(|error| error.to_string())?;
    Ok(json)
}

/// Writes whole numbers as such: a `Struct` has only floats, and who sent 7 expects no 7.0.
struct WholeNumbers(CompactFormatter);

/// Up to where a float holds every whole number.
const WHOLE_MAX: f64 = 9_007_199_254_740_992.0;

impl Formatter for WholeNumbers {
    fn write_f64<W: ?Sized + io::Write>(&mut self, out: &mut W, value: f64) -> io::Result<()> {
        if value.fract() == 0.0 && value.abs() <= WHOLE_MAX {
            return write!(out, "{value:.0}");
        }
        self.0.write_f64(out, value)
    }
}

#[cfg(test)]
mod tests {
    use prost::Message as _;

    use super::*;

    const START: &str = "/lazarus.v1.ExecutionService/Start";

    fn input(path: &str) -> MessageDescriptor {
        method(path).unwrap().input()
    }

    fn again(json: &str) -> String {
        let message = read("the body", &input(START), json.as_bytes()).unwrap().encode_to_vec();
        String::from_utf8(written(input(START), &message).unwrap()).unwrap()
    }

    #[test]
    fn both_spellings_are_read_and_one_is_written() {
        assert_eq!(again(r#"{"execution_id":"a"}"#), r#"{"executionId":"a"}"#);
        assert_eq!(again(r#"{"executionId":"a"}"#), r#"{"executionId":"a"}"#);
    }

    #[test]
    fn numbers_keep_their_form() {
        assert_eq!(
            again(r#"{"input":{"a":7,"b":7.5,"c":-0.0,"d":1e+300,"e":[1.0]},"timeoutMs":"90000"}"#),
            r#"{"input":{"a":7,"b":7.5,"c":-0,"d":1e+300,"e":[1]},"timeoutMs":"90000"}"#
        );
        assert_eq!(
            again(r#"{"timeoutMs":90000,"version":2}"#),
            r#"{"version":2,"timeoutMs":"90000"}"#
        );
    }

    #[test]
    fn what_is_no_message_is_told_so() {
        let fault = |json: &str| read("the body", &input(START), json.as_bytes()).unwrap_err();
        assert!(fault(r#"{"workflw":"a"}"#).contains("workflw"), "{}", fault(r#"{"workflw":"a"}"#));
        assert!(fault("[]").starts_with("the body is no StartRequest in JSON: "));
        assert!(fault("{} {}").contains("trailing"));
    }

    #[test]
    fn a_field_that_is_given_twice_is_refused_in_either_spelling() {
        for (json, name) in [
            (r#"{"executionId":"a","executionId":"a"}"#, "executionId"),
            (r#"{"executionId":"a","execution_id":"b"}"#, "execution_id"),
            (r#"{"workflow":"w","input":{},"input":{"a":1}}"#, "input"),
        ] {
            let fault = read("the body", &input(START), json.as_bytes()).unwrap_err();
            assert_eq!(fault, format!("`{name}` is given twice in the body"));
        }
        // What is in an input is the sender's own.
        assert_eq!(again(r#"{"input":{"a":1,"a":2}}"#), r#"{"input":{"a":2}}"#);
    }

    #[test]
    fn a_method_is_found_by_its_path_alone() {
        assert_eq!(method(START).unwrap().name(), "Start");
        assert!(method("/cerebelum.worker.WorkerService/PollForTask").is_some());
        for path in ["", "/", "/lazarus.v1.ExecutionService", "/lazarus.v1.ExecutionService/None"] {
            assert!(method(path).is_none(), "{path}");
        }
    }
}
