//! `google.protobuf` values and JSON.
//!
//! A number on the wire is a 64-bit float, so 5 comes in as 5.0 and stays one: what a worker sent is
//! what is kept. NaN and the infinities have no JSON and are refused.

use prost_types::{ListValue, NullValue, Struct, Value as WireValue, value::Kind};
use serde_json::{Map, Number, Value};

use super::check::invalid;
use crate::{engine::Error, workflow::Timestamp};

/// The object that `fields` is; an absent one is empty. `name` is what an error calls it.
pub(super) fn object(name: &str, fields: Option<Struct>) -> Result<Value, Error> {
    let fields = fields.unwrap_or_default();
    json_object(fields).map(Value::Object).map_err(|path| not_a_number(name, &path))
}

/// The value that `value` is; an absent one is an empty object.
pub(super) fn json(name: &str, value: Option<WireValue>) -> Result<Value, Error> {
    let Some(value) = value else { return Ok(Value::Object(Map::new())) };
    json_value(value).map_err(|path| not_a_number(name, &path))
}

/// The way to a value, innermost first.
type Path = Vec<String>;

fn not_a_number(name: &str, path: &Path) -> Error {
    let way: String = path.iter().rev().map(String::as_str).collect();
    invalid(format!(
        "`{name}{way}` is NaN or infinite, which JSON can not say; send null or a text instead"
    ))
}

fn json_object(fields: Struct) -> Result<Map<String, Value>, Path> {
    let field = |(name, value): (String, WireValue)| match json_value(value) {
        Ok(value) => Ok((name, value)),
        Err(mut path) => {
            path.push(format!(".{name}"));
            Err(path)
        }
    };
    fields.fields.into_iter().map(field).collect()
}

fn json_list(values: Vec<WireValue>) -> Result<Value, Path> {
    let item = |(index, value): (usize, WireValue)| {
        json_value(value).map_err(|mut path| {
            path.push(format!("[{index}]"));
            path
        })
    };
    values.into_iter().enumerate().map(item).collect::<Result<_, _>>().map(Value::Array)
}

fn json_value(value: WireValue) -> Result<Value, Path> {
    Ok(match value.kind {
        None | Some(Kind::NullValue(_)) => Value::Null,
        Some(Kind::BoolValue(value)) => Value::Bool(value),
        Some(Kind::StringValue(value)) => Value::String(value),
        Some(Kind::NumberValue(value)) => {
            Number::from_f64(value).map(Value::Number).ok_or(vec![])?
        }
        Some(Kind::StructValue(fields)) => Value::Object(json_object(fields)?),
        Some(Kind::ListValue(list)) => json_list(list.values)?,
    })
}

/// `value` as an object: one that is not travels as the SDK sends it, in a lone `value`; null as
/// nothing.
pub(super) fn wire_object(value: &Value) -> Struct {
    match value {
        Value::Object(fields) => {
            let field = |(name, value): (&String, &Value)| (name.clone(), wire(value));
            Struct { fields: fields.iter().map(field).collect() }
        }
        Value::Null => Struct::default(),
        Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            Struct { fields: [("value".to_owned(), wire(value))].into() }
        }
    }
}

/// `value` on the wire; whole numbers over 2^53 are rounded, as a float holds no more.
pub(super) fn wire(value: &Value) -> WireValue {
    let kind = match value {
        Value::Null => Kind::NullValue(NullValue::NullValue.into()),
        Value::Bool(value) => Kind::BoolValue(*value),
        Value::Number(value) => {
            Kind::NumberValue(value.as_f64().expect("BUG: a JSON number is no float"))
        }
        Value::String(value) => Kind::StringValue(value.clone()),
        Value::Array(values) => {
            Kind::ListValue(ListValue { values: values.iter().map(wire).collect() })
        }
        Value::Object(_) => Kind::StructValue(wire_object(value)),
    };
    WireValue { kind: Some(kind) }
}

/// A point in time on the wire.
pub(super) fn timestamp(time: Timestamp) -> prost_types::Timestamp {
    let millis = time.as_millis();
    let nanos = i32::try_from(millis % 1000).expect("BUG: under 1,000") * 1_000_000;
    prost_types::Timestamp { seconds: i64::try_from(millis / 1000).unwrap_or(i64::MAX), nanos }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn number(value: f64) -> WireValue {
        WireValue { kind: Some(Kind::NumberValue(value)) }
    }

    #[test]
    fn a_whole_number_stays_the_float_it_came_as() {
        let value = json("result", Some(number(5.0))).unwrap();
        assert_eq!(value.to_string(), "5.0");
    }

    #[test]
    fn every_kind_comes_back() {
        let value = json!({"a": null, "b": true, "c": "ü", "d": [1.5, {"e": {}}], "f": -0.5});
        assert_eq!(object("inputs", Some(wire_object(&value))).unwrap(), value);
    }

    #[test]
    fn nothing_is_an_empty_object() {
        assert_eq!(object("inputs", None).unwrap(), json!({}));
        assert_eq!(json("response", None).unwrap(), json!({}));
        assert_eq!(json("response", Some(WireValue { kind: None })).unwrap(), json!(null));
    }

    #[test]
    fn a_number_that_is_none_is_named_by_its_place() {
        let list = ListValue { values: vec![number(1.0), number(f64::NAN)] };
        let value = WireValue { kind: Some(Kind::ListValue(list)) };
        let fields = Struct { fields: [("a".to_owned(), value)].into() };
        assert_eq!(
            object("result", Some(fields)).unwrap_err().to_string(),
            "`result.a[1]` is NaN or infinite, which JSON can not say; send null or a text instead"
        );
        assert!(json("response", Some(number(f64::INFINITY))).is_err());
    }

    #[test]
    fn a_bare_value_travels_in_a_lone_field() {
        assert_eq!(wire_object(&json!("yes")), wire_object(&json!({"value": "yes"})));
        assert_eq!(wire_object(&json!(null)), Struct::default());
    }

    #[test]
    fn a_time_keeps_its_milliseconds() {
        assert_eq!(
            timestamp(Timestamp::from_millis(1_764_000_000_123)),
            prost_types::Timestamp { seconds: 1_764_000_000, nanos: 123_000_000 }
        );
    }
}
