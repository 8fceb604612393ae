//! JSON as CEL sees it, and CEL values as the functions see them.

use std::collections::HashMap;

use cel::common::{
    traits::Indexer,
    types::{CelBool, CelDouble, CelList, CelMap, CelMapKey, CelNull, CelString},
    value::{CowVal, Val},
};
use serde_json::Value;

/// How deeply a payload may be nested: what JSON parsers accept, so that evaluation cannot exhaust
/// the stack.
const PAYLOAD_NESTING_MAX: usize = 128;

/// `json` as a CEL value: every number a double, texts borrowed; none when it is nested too deeply.
pub(super) fn of(json: &Value) -> Option<Box<dyn Val + '_>> {
    nested(json, PAYLOAD_NESTING_MAX)
}

fn nested(json: &Value, levels: usize) -> Option<Box<dyn Val + '_>> {
    let inner = levels.checked_sub(1)?;
    Some(match json {
        Value::Null => Box::new(CelNull),
        Value::Bool(value) => Box::new(CelBool::from(*value)),
        Value::Number(number) => Box::new(CelDouble::from(number.as_f64()?)),
        Value::String(text) => Box::new(CelString::from(text.as_str())),
        Value::Array(items) => {
            let items = items.iter().map(|item| nested(item, inner)).collect::<Option<Vec<_>>>()?;
            Box::new(CelList::from(items))
        }
        Value::Object(fields) => {
            let fields = fields
                .iter()
                .map(|(name, value)| Some((key(name), nested(value, inner)?)))
                .collect::<Option<HashMap<_, _>>>()?;
            Box::new(CelMap::from(fields))
        }
    })
}

fn key(name: &str) -> CelMapKey<'_> {
    CelMapKey::String(CelString::from(name))
}

/// A CEL value by its type.
pub(super) enum Seen<'b, 'v> {
    Null,
    Bool(bool),
    Number(f64),
    Text(&'b str),
    List(&'b CelList<'v>),
    Object(&'b CelMap<'v>),
}

/// What `value` is; none for a type that the dialect has no values of.
pub(super) fn seen<'b, 'v>(value: &'b (dyn Val + 'v)) -> Option<Seen<'b, 'v>> {
    if let Some(text) = value.downcast_ref::<CelString<'_>>() {
        return Some(Seen::Text(text.inner()));
    }
    if let Some(fields) = value.downcast_ref::<CelMap<'_>>() {
        return Some(Seen::Object(fields));
    }
    if let Some(items) = value.downcast_ref::<CelList<'_>>() {
        return Some(Seen::List(items));
    }
    if let Some(number) = value.downcast_ref::<CelDouble>() {
        return Some(Seen::Number(*number.inner()));
    }
    if let Some(value) = value.downcast_ref::<CelBool>() {
        return Some(Seen::Bool(*value.inner()));
    }
    value.downcast_ref::<CelNull>().map(|_| Seen::Null)
}

/// The field `name` of `fields`.
pub(super) fn field<'b, 'v>(fields: &'b CelMap<'v>, name: &str) -> Option<CowVal<'b, 'v>> {
    fields.get(&CelString::from(name)).ok()
}
