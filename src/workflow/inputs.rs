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
    id::{ExecutionId, StepName, Task},
    payload::{Json, Stored},
    state::{Phase, State},
    time::Timestamp,
};

/// The parameter under which a step takes the workflow's inputs.
pub const INPUTS: &str = "inputs";

/// Where the arguments of a call are found.
#[derive(Clone, Debug, PartialEq)]
pub struct Arguments {
    /// The outputs of the steps it depends on, by name; none: the step was skipped, and `null` is
    /// sent, because leaving the argument out would break the call.
    pub outputs: Vec<(StepName, Option<Stored>)>,
    /// The workflow's inputs, when the step takes them, or a person's answer in their place.
    pub inputs: Option<Stored>,
}

/// A call of a step, as far as the state knows it.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    /// The execution.
    pub execution: ExecutionId,
    /// Its workflow.
    pub workflow: String,
    /// Where the arguments are found.
    pub arguments: Arguments,
    /// When the lease of whoever is to run it ends.
    pub until: Timestamp,
}

/// The call of `task`, if it is leased to `worker`.
pub fn call(blueprint: &Blueprint, state: &State, task: &Task, worker: &str) -> Option<Call> {
    let open = state.open.get(&task.step)?;
    let until = match &open.phase {
        Phase::Leased { worker: holder, until, .. } if holder == worker => *until,
        Phase::Leased { .. }
        | Phase::Ready { .. }
        | Phase::Sleeping { .. }
        | Phase::Approval { .. } => return None,
    };
    let is_it = (open.iteration, open.attempt) == (task.iteration, task.attempt);
    is_it.then(|| Call {
        execution: state.execution.clone(),
        workflow: blueprint.name().to_owned(),
        arguments: arguments(blueprint, state, &task.step),
        until,
    })
}

/// Where the arguments of `step` are found.
pub fn arguments(blueprint: &Blueprint, state: &State, step: &str) -> Arguments {
    let names = argument_names(blueprint, state, step);
    let output = |name: &StepName| (name.clone(), state.output(name));
    let answer = state.open.get(step).and_then(|open| open.answer.clone());
    let takes_inputs = with_inputs(blueprint, state, step);
    Arguments {
        outputs: names.iter().filter(|name| &***name != INPUTS).map(output).collect(),
        inputs: answer.or_else(|| takes_inputs.then(|| state.input.clone())),
    }
}

/// The names under which `step` is sent something, as far as that is known or guessed.
///
/// Of an aside nothing is known but who leads to it: it is guessed that it takes what those gave.
pub(super) fn argument_names(blueprint: &Blueprint, state: &State, step: &str) -> Vec<StepName> {
    if let Some(corrected) = state.arguments.get(step) {
        return corrected.clone();
    }
    let Some((place, step)) = blueprint.step(step) else { return vec![] };
    let is_sent = |name: &&StepName| !blueprint.is_aside(place) || state.done.contains_key(*name);
    step.depends_on.iter().filter(is_sent).cloned().collect()
}

/// Whether `step` is sent the workflow's inputs.
pub fn with_inputs(blueprint: &Blueprint, state: &State, step: &str) -> bool {
    if let Some(arguments) = state.arguments.get(step) {
        return arguments.iter().any(|name| &**name == INPUTS);
    }
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
