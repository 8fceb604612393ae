//! What a step is called with.
//!
//! The keys are exactly the parameters of the step: a worker splats them into the call, where one too
//! many is as wrong as one too few. A blueprint does not say whether a step takes the workflow's
//! `inputs`: it is guessed (steps without dependencies do) and corrected by the first call that
//! fails for it.
//!
//! Source: docs/cerebelum.md "Arguments".

use serde_json::Value;

use super::{
    blueprint::Blueprint,
    id::StepName,
    payload::{Json, Stored},
    state::State,
};

/// The parameter under which a step takes the workflow's inputs.
pub const INPUTS: &str = "inputs";

/// Where the arguments of a call are found.
#[derive(Clone, Debug, PartialEq)]
pub struct Arguments {
    /// The outputs of the steps it depends on, by name.
    pub outputs: Vec<(StepName, Stored)>,
    /// The workflow's inputs, when the step takes them.
    pub inputs: Option<Stored>,
}

/// Where the arguments of `step` are found.
pub fn arguments(blueprint: &Blueprint, state: &State, step: &str) -> Arguments {
    let depends_on = blueprint.step(step).map_or(&[][..], |(_, step)| &step.depends_on);
    let output = |name: &StepName| Some((name.clone(), state.output(name)?));
    Arguments {
        outputs: depends_on.iter().filter_map(output).collect(),
        inputs: with_inputs(blueprint, state, step).then(|| state.input.clone()),
    }
}

/// Whether `step` is sent the workflow's inputs.
pub fn with_inputs(blueprint: &Blueprint, state: &State, step: &str) -> bool {
    if let Some(corrected) = state.with_inputs.get(step) {
        return *corrected;
    }
    blueprint.step(step).is_some_and(|(_, step)| step.depends_on.is_empty())
}

/// An output as the steps that depend on it see it: out of its `ok` envelope, or out of the lone
/// `value` in which a bare value travels.
pub fn unwrapped(output: &Json) -> Value {
    let Value::Object(fields) = &**output else { return (**output).clone() };
    match (fields.get("ok"), fields.get("value")) {
        (Some(ok), _) => ok.clone(),
        (None, Some(value)) if fields.len() == 1 => value.clone(),
        _ => (**output).clone(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn envelopes_are_taken_off() {
        for (output, seen) in [
            (json!({"ok": "text"}), json!("text")),
            (json!({"ok": {"a": 1}}), json!({"a": 1})),
            (json!({"value": 15.0}), json!(15.0)),
            (json!({"value": 1, "more": 2}), json!({"value": 1, "more": 2})),
            (json!({"a": 1}), json!({"a": 1})),
            (json!({}), json!({})),
        ] {
            assert_eq!(unwrapped(&Json::new(output)), seen);
        }
    }
}
