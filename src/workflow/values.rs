//! The values that conditions look at, where the state holds only where they are.
//!
//! A state carries small payloads itself. Whoever decides fetches the larger ones first: [`reads`]
//! says which a command may need, and [`Values`] holds them; the small ones too, because the commands
//! before it in one commit may push them out of the state.

use std::{collections::HashMap, sync::Arc};

use super::{
    blueprint::{Blueprint, Route, Step},
    command::Command,
    condition::Condition,
    id::StepName,
    payload::{At, Json, Payload, Stored},
    state::{OpenStep, Phase, State},
};

/// Payloads that were fetched for a decision.
#[derive(Clone, Debug, Default)]
pub struct Values {
    stored: HashMap<At, Json>,
    blobs: HashMap<Arc<str>, Json>,
}

impl Values {
    /// Adds what the event at `at` carries.
    pub fn put_stored(&mut self, at: At, value: Json) {
        self.stored.insert(at, value);
    }

    /// Adds what stands in the blob `sha256`, which the command under way names.
    pub fn put_blob(&mut self, sha256: Arc<str>, value: Json) {
        self.blobs.insert(sha256, value);
    }

    /// The value of a payload that the state knows.
    ///
    /// # Panics
    ///
    /// When it was not fetched although [`reads`] names it.
    pub(super) fn of_stored(&self, stored: &Stored) -> Json {
        let value = stored.value.as_ref().or_else(|| self.stored.get(&stored.at));
        value.cloned().expect("BUG: a condition looks at a value that was not fetched")
    }

    /// The value of a payload that the command under way carries.
    ///
    /// # Panics
    ///
    /// When it is a blob that was not put.
    pub(super) fn of_payload(&self, payload: &Payload) -> Json {
        match payload {
            Payload::Json(value) => value.clone(),
            Payload::Blob { sha256, .. } => {
                let value = self.blobs.get(sha256).cloned();
                value.expect("BUG: a condition looks at a blob whose value was not kept")
            }
        }
    }
}

/// What conditions may look at when `command` is decided on `state`, or on what other commands of the
/// same commit make of it.
pub fn reads(blueprint: &Blueprint, state: &State, command: &Command) -> Vec<Stored> {
    let steps: Vec<(&StepName, &OpenStep)> = match command {
        // One that comes back lets a failure that was kept count.
        Command::SubmitResult { task, .. } | Command::ReturnTask { task, .. } => {
            state.open.get_key_value(&task.step).into_iter().collect()
        }
        Command::Wake | Command::Approve { .. } | Command::Reject { .. } => {
            state.open.iter().collect()
        }
        Command::LeaseStep { .. } | Command::ExtendLease { .. } | Command::Cancel { .. } => vec![],
    };
    let mut needed: Vec<Stored> =
        steps.into_iter().flat_map(|(step, open)| read_by(blueprint, state, step, open)).collect();
    needed.sort_by_key(|stored| (stored.at.0, stored.at.1));
    needed.dedup_by_key(|stored| stored.at);
    needed
}

fn read_by(blueprint: &Blueprint, state: &State, name: &StepName, open: &OpenStep) -> Vec<Stored> {
    let Some((place, step)) = blueprint.step(name) else { return vec![] };
    let routes = blueprint.routes(place);
    if routes.is_empty() {
        return vec![];
    }
    let conditions = || routes.iter().filter_map(|route: &Route| route.condition.as_ref().ok());
    let mut read = vec![];
    if let Phase::Sleeping { data, .. } = &open.phase {
        read.push(data.clone());
    }
    if conditions().any(Condition::reads_inputs) {
        read.push(state.input.clone());
    }
    if conditions().any(Condition::reads_state) {
        read.extend(called_with(state, step).into_iter().map(|(_, stored)| stored));
    }
    read
}

/// What `step` was called with: the outputs that it depends on, or, without any, the workflow's
/// inputs under an empty name.
pub(super) fn called_with(state: &State, step: &Step) -> Vec<(StepName, Stored)> {
    if step.depends_on.is_empty() {
        return vec![("".into(), state.input.clone())];
    }
    let output = |name: &StepName| Some((name.clone(), state.output(name)?));
    step.depends_on.iter().filter_map(output).collect()
}
