//! Texts as authors send them, and what they hold for; the CEL that is stored of them.

mod bounds;
mod conditions;
mod dialect;
mod patterns;
mod properties;

use serde_json::{Value, json};

use super::{Condition, View};

/// What a rule does with a step.
#[derive(Debug, PartialEq)]
enum Answer {
    Holds,
    Not,
    /// It cannot be evaluated for this step; the reason contains this.
    Unknown(&'static str),
    /// It is refused when the blueprint is submitted; the advice contains this.
    Refused(&'static str),
}

use Answer::{Holds, Not, Refused, Unknown};

/// A step that ended.
#[derive(Clone, Debug)]
struct Ended {
    failed: bool,
    result: Value,
    inputs: Value,
    state: Value,
}

fn ok(result: Value) -> Ended {
    Ended {
        failed: false,
        result,
        inputs: json!({"limit": 100, "tier": "gold"}),
        state: json!({"fetch": {"n": 3}, "order": "o-1"}),
    }
}

fn failed(kind: &str) -> Ended {
    Ended { failed: true, ..ok(json!({"error": "no stock", "kind": kind})) }
}

fn hold(cel: &str, ended: &Ended) -> Result<bool, String> {
    let condition = Condition::parse(cel)?;
    condition.holds(&View {
        failed: ended.failed,
        result: &ended.result,
        inputs: condition.reads_inputs().then_some(&ended.inputs),
        state: condition.reads_state().then_some(&ended.state),
    })
}

fn check(
    translate: fn(&str) -> Result<String, String>,
    text: &str,
    ended: &Ended,
    expected: &Answer,
) {
    let shown = format!("{text} for {}", ended.result);
    let cel = match (translate(text), expected) {
        (Ok(cel), Holds | Not | Unknown(_)) => cel,
        (Err(advice), Refused(part)) => {
            assert!(advice.contains(part), "{shown}: {advice}");
            assert!(advice.contains(": "), "{shown}: does not say what to write: {advice}");
            return;
        }
        (other, expected) => panic!("{shown}: {other:?} instead of {expected:?}"),
    };
    match (hold(&cel, ended), expected) {
        (Ok(true), Holds) | (Ok(false), Not) => {}
        (Err(reason), Unknown(part)) => assert!(reason.contains(part), "{shown}: {reason}"),
        (other, expected) => panic!("{shown}, as {cel}: {other:?} instead of {expected:?}"),
    }
}
