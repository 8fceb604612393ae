//! JSON as it is given on a command line, and `google.protobuf` values for the wire and back.

use std::{
    fs,
    io::{self, Read as _},
    time::Duration,
};

use prost_types::{ListValue, NullValue, Struct, Value as WireValue, value::Kind};
use serde_json::{Map, Number, Value};

use super::exit::Failure;

/// The largest whole number that a 64-bit float, which is what the wire has, holds exactly.
const WHOLE_MAX: u64 = 1 << 53;

/// Reads `given`: JSON itself, `@FILE`, or `-` for standard input. `option` is what an error calls
/// it.
pub(super) fn read(option: &str, given: &str) -> Result<Value, Failure> {
    let text = if given == "-" {
        let mut text = String::new();
        io::stdin().read_to_string(&mut text).map(|_| text).map_err(|e| unread(option, "-", &e))?
    } else if let Some(file) = given.strip_prefix('@') {
        fs::read_to_string(file).map_err(|error| unread(option, file, &error))?
    } else {
        given.to_owned()
    };
    parse(option, &text)
}

/// Reads the file at `path`, or standard input for `-`, as JSON.
pub(super) fn read_file(path: &str) -> Result<Value, Failure> {
    let advice = "FILE is the path of a file that holds JSON, or - for standard input";
    let text = if path == "-" {
        let mut text = String::new();
        io::stdin().read_to_string(&mut text).map(|_| text)
    } else {
        fs::read_to_string(path)
    };
    let text = text
        .map_err(|error| Failure::usage(format_args!("{path} can not be read: {error}"), advice))?;
    let value = serde_json::from_str(&text)
        .map_err(|error| Failure::usage(format_args!("{path} is not JSON: {error}"), advice))?;
    exact("FILE", value)
}

/// The object that `value` is.
pub(super) fn object(option: &str, value: Value) -> Result<Struct, Failure> {
    let Value::Object(fields) = value else {
        return Err(Failure::usage(
            format_args!("{option} is {}, not an object", kind_of(&value)),
            format_args!("give one value per name, as in {option} '{{\"order\": 7}}'"),
        ));
    };
    Ok(wire_object(fields))
}

fn unread(option: &str, file: &str, error: &io::Error) -> Failure {
    Failure::usage(
        format_args!("{option}: {file} can not be read: {error}"),
        "name a file that exists, or give the JSON itself",
    )
}

fn parse(option: &str, text: &str) -> Result<Value, Failure> {
    let value = serde_json::from_str(text).map_err(|error| {
        Failure::usage(
            format_args!("{option} is not JSON: {error}"),
            format_args!(
                "quote it for the shell, as in {option} '{{\"order\": 7}}', or use {option} @FILE"
            ),
        )
    })?;
    exact(option, value)
}

/// `value`, if all its numbers get through unchanged.
fn exact(option: &str, value: Value) -> Result<Value, Failure> {
    match too_large(&value) {
        None => Ok(value),
        Some(number) => Err(Failure::usage(
            format_args!("{option}: {number} is over 2^53 and would lose digits on the way"),
            "send it as a text, in quotes",
        )),
    }
}

fn too_large(value: &Value) -> Option<&Number> {
    match value {
        Value::Number(number) => {
            let size = number.as_u64().or_else(|| number.as_i64().map(i64::unsigned_abs));
            size.is_some_and(|size| size > WHOLE_MAX).then_some(number)
        }
        Value::Array(values) => values.iter().find_map(too_large),
        Value::Object(fields) => fields.values().find_map(too_large),
        Value::Null | Value::Bool(_) | Value::String(_) => None,
    }
}

/// What `value` is, in words.
pub(super) fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

fn wire_object(fields: Map<String, Value>) -> Struct {
    Struct { fields: fields.into_iter().map(|(name, value)| (name, to_wire(value))).collect() }
}

/// `value` for the wire.
pub(super) fn to_wire(value: Value) -> WireValue {
    let kind = match value {
        Value::Null => Kind::NullValue(NullValue::NullValue.into()),
        Value::Bool(value) => Kind::BoolValue(value),
        Value::Number(value) => Kind::NumberValue(value.as_f64().unwrap_or(f64::NAN)),
        Value::String(value) => Kind::StringValue(value),
        Value::Array(values) => {
            Kind::ListValue(ListValue { values: values.into_iter().map(to_wire).collect() })
        }
        Value::Object(fields) => Kind::StructValue(wire_object(fields)),
    };
    WireValue { kind: Some(kind) }
}

/// `value` from the wire; a whole number is shown as one again.
pub(super) fn from_wire(value: WireValue) -> Value {
    match value.kind {
        None | Some(Kind::NullValue(_)) => Value::Null,
        Some(Kind::BoolValue(value)) => Value::Bool(value),
        Some(Kind::NumberValue(value)) => number(value),
        Some(Kind::StringValue(value)) => Value::String(value),
        Some(Kind::ListValue(list)) => list.values.into_iter().map(from_wire).collect(),
        Some(Kind::StructValue(fields)) => object_from_wire(fields),
    }
}

/// `fields` from the wire.
pub(super) fn object_from_wire(fields: Struct) -> Value {
    fields.fields.into_iter().map(|(name, value)| (name, from_wire(value))).collect()
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "only where the float is a whole number of 53 bits"
)]
#[expect(clippy::cast_precision_loss, reason = "2^53 is a float")]
fn number(value: f64) -> Value {
    if value.fract() == 0.0 && value.abs() <= WHOLE_MAX as f64 {
        return Value::from(value as i64);
    }
    Number::from_f64(value).map_or(Value::Null, Value::Number)
}

/// A duration as the wire has it; 0 is "none".
pub(super) fn millis(duration: Option<Duration>) -> u64 {
    duration.map_or(0, |it| u64::try_from(it.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::cli::exit::Exit;

    #[test]
    fn json_that_is_none_is_told_with_its_place_and_a_way_out() {
        let failure = read("--input", "{order: 7}").unwrap_err();
        assert_eq!(failure.exit, Exit::Usage);
        assert_eq!(failure.what, "--input is not JSON: key must be a string at line 1 column 2");
        assert_eq!(
            failure.advice,
            "quote it for the shell, as in --input '{\"order\": 7}', or use --input @FILE"
        );
    }

    #[test]
    fn an_input_that_is_no_object_is_told_what_it_is() {
        let failure = object("--input", json!([1])).unwrap_err();
        assert_eq!(failure.what, "--input is a list, not an object");
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let failure = read("--input", "@/nowhere/input.json").unwrap_err();
        assert_eq!(
            failure.what,
            "--input: /nowhere/input.json can not be read: No such file or directory (os error 2)"
        );
    }

    #[test]
    fn a_number_that_would_lose_digits_is_refused() {
        let failure = read("--input", r#"{"a": [9007199254740993]}"#).unwrap_err();
        assert_eq!(
            failure.what,
            "--input: 9007199254740993 is over 2^53 and would lose digits on the way"
        );
        assert!(read("--input", r#"{"a": -9007199254740992}"#).is_ok());
    }

    #[test]
    fn values_come_back_from_the_wire_as_they_were_written() {
        let value = json!({"a": null, "b": true, "c": "ü", "d": [1, 2.5, {"e": {}}], "f": -3});
        assert_eq!(from_wire(to_wire(value.clone())), value);
    }
}
