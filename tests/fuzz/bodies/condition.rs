//! Patterns, conditions and CEL: any text is read or refused in bounded time and stack, all that is
//! translated can be parsed, and what is parsed answers the same each time.

use lazarus::workflow::{Condition, View, caution, condition as of_condition, pattern};
use serde_json::{Value, json};

use super::Verdict;

/// The longest reason that a history records.
const REASON_CHARS_MAX: usize = 200;

/// The text up to the first zero byte; what follows is JSON that it is held against, if it is any.
pub fn condition(data: &[u8]) -> Verdict {
    let cut = data.iter().position(|byte| *byte == 0).unwrap_or(data.len());
    let (text, payload) = data.split_at(cut);
    let text = String::from_utf8_lossy(text);
    let payload = serde_json::from_slice(payload.strip_prefix(&[0]).unwrap_or_default());
    let payloads = [payload.unwrap_or(Value::Null), json!({"a": [1, "b", {"c": null}], "n": 0.5})];

    let _caution = caution(&text);
    let mut accepted = vec![];
    for cel in [pattern(&text), of_condition(&text)].into_iter().flatten() {
        let parsed = Condition::parse(&cel);
        accepted.push(parsed.unwrap_or_else(|error| panic!("{text:?} became {cel:?}: {error}")));
    }
    accepted.extend(Condition::parse(&text));
    for condition in &accepted {
        let again = Condition::parse(condition.cel()).expect("its own text");
        assert_eq!(condition.reads_inputs(), again.reads_inputs());
        assert_eq!(condition.reads_state(), again.reads_state());
        for payload in &payloads {
            hold(condition, payload);
        }
    }
    Verdict::of(!accepted.is_empty())
}

fn hold(condition: &Condition, payload: &Value) {
    for failed in [false, true] {
        let view = View { failed, result: payload, inputs: Some(payload), state: Some(payload) };
        let answer = condition.holds(&view);
        assert_eq!(answer, condition.holds(&view), "another answer: {}", condition.cel());
        if let Err(reason) = &answer {
            assert!(reason.chars().count() <= REASON_CHARS_MAX, "{reason}");
        }
        if condition.is_always() {
            assert_eq!(answer, Ok(true));
        }
        if condition.is_of_failure() {
            assert_eq!(answer, Ok(failed));
        }
    }
}
