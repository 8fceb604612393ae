//! The validated definition of a workflow: named steps and what each depends on.
//!
//! Invariant: a [`Blueprint`] that exists is valid; [`Blueprint::new`] is the only way to one, also
//! when it is read back from a store.

use std::collections::{HashMap, HashSet};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use thiserror::Error;

use super::{
    id::{StepName, escape, unescape},
    plan::Plan,
};

/// The version of a blueprint within its name; the first is 1.
pub type Version = u32;

/// The most steps of one workflow: a status of that many still fits into one gRPC message.
const STEPS_MAX: usize = 10_000;

/// The most steps of a workflow in which one may depend on a later one: planning such a timeline takes
/// time in proportion to steps times edges.
const UNORDERED_STEPS_MAX: usize = 1_000;

/// One step, as the author wrote it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// Unique in the blueprint.
    pub name: StepName,
    /// The steps whose outputs it takes, by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub depends_on: Vec<StepName>,
    /// How long a worker has the step to itself, in milliseconds; none: the engine's default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease_ms: Option<u64>,
}

/// The graph of a workflow, checked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Definition", into = "Definition")]
pub struct Blueprint {
    name: String,
    steps: Vec<Step>,
    hash: String,
    index: HashMap<StepName, usize>,
    plan: Plan,
}

/// A blueprint as it is written down, unchecked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Definition {
    /// The workflow's name, unique in its namespace.
    pub name: String,
    /// In the order of the timeline.
    pub steps: Vec<Step>,
}

/// What is wrong with a definition; the message names the step and says what to change.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum BlueprintFault {
    #[error("the workflow has no name")]
    NoName,
    #[error(
        "the workflow's name {name:?} is too long; keep it under 40 letters, or 120 of a-z, 0-9, '-' and '_'"
    )]
    NameTooLong { name: String },
    #[error("workflow `{name}` has no steps; its timeline is empty")]
    NoSteps { name: String },
    #[error("workflow `{name}` has {steps} steps; at most {STEPS_MAX} are allowed")]
    TooManySteps { name: String, steps: usize },
    #[error("step {position} of the timeline has no name")]
    UnnamedStep { position: usize },
    #[error(
        "step `{step}` has a name that is too long; keep it under 40 letters, or 120 of a-z, 0-9, '-' and '_'"
    )]
    StepNameTooLong { step: StepName },
    #[error(
        "step `{step}` stands in the timeline more than once; give each step a name of its own"
    )]
    Duplicate { step: StepName },
    #[error("step `{step}` depends on itself")]
    DependsOnItself { step: StepName },
    #[error("step `{step}` depends on `{missing}`, which is not in the timeline")]
    MissingDependency { step: StepName, missing: StepName },
    #[error(
        "step `{step}` depends on `{later}`, which comes later in the timeline; with over {UNORDERED_STEPS_MAX} steps the timeline must be in order"
    )]
    OutOfOrder { step: StepName, later: StepName },
    #[error("the steps depend on each other in a circle: {circle}")]
    Cycle { circle: String },
    #[error("step `{step}` has a lease of 0 ms; give it the time that its worker needs")]
    NoLease { step: StepName },
}

/// All that is wrong with one definition.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
pub struct BlueprintFaults(pub Vec<BlueprintFault>);

impl Blueprint {
    /// Checks `definition` and plans it.
    ///
    /// # Errors
    ///
    /// Every fault that stands on its own, in the order of the timeline; a circle only when nothing
    /// else is wrong.
    pub fn new(definition: Definition) -> Result<Self, BlueprintFaults> {
        let mut faults = faults_of_names(&definition);
        faults.extend(faults_of_dependencies(&definition));
        if !faults.is_empty() {
            return Err(BlueprintFaults(faults));
        }
        let Definition { name, steps } = definition;
        let index = steps.iter().enumerate().map(|(at, step)| (step.name.clone(), at)).collect();
        let plan = Plan::new(&steps, &index)
            .map_err(|circle| BlueprintFaults(vec![BlueprintFault::Cycle { circle }]))?;
        let hash = hash_of(&name, &steps);
        Ok(Self { name, steps, hash, index, plan })
    }

    /// The workflow's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The steps, in the order of the timeline.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// SHA-256 over name, order and dependencies, in lower-case hex: two blueprints with one hash
    /// behave alike.
    pub fn hash(&self) -> &str {
        &self.hash
    }

    /// Which step waits for which.
    pub(crate) fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The step called `name`, and its place in the timeline.
    pub fn step(&self, name: &str) -> Option<(usize, &Step)> {
        let at = *self.index.get(name)?;
        Some((at, &self.steps[at]))
    }
}

impl TryFrom<Definition> for Blueprint {
    type Error = BlueprintFaults;

    fn try_from(definition: Definition) -> Result<Self, BlueprintFaults> {
        Self::new(definition)
    }
}

impl From<Blueprint> for Definition {
    fn from(blueprint: Blueprint) -> Self {
        Self { name: blueprint.name, steps: blueprint.steps }
    }
}

fn hash_of(name: &str, steps: &[Step]) -> String {
    let text = serde_json::to_vec(&(name, steps)).expect("BUG: steps do not serialize");
    hex::encode(Sha256::digest(text))
}

fn faults_of_names(definition: &Definition) -> Vec<BlueprintFault> {
    let Definition { name, steps } = definition;
    let mut faults = vec![];
    if name.is_empty() {
        faults.push(BlueprintFault::NoName);
    }
    if unescape(&escape(name)).is_none() {
        faults.push(BlueprintFault::NameTooLong { name: name.clone() });
    }
    if steps.is_empty() {
        faults.push(BlueprintFault::NoSteps { name: name.clone() });
    }
    if steps.len() > STEPS_MAX {
        faults.push(BlueprintFault::TooManySteps { name: name.clone(), steps: steps.len() });
    }
    let mut seen = HashSet::new();
    for (position, step) in steps.iter().enumerate() {
        if step.name.is_empty() {
            faults.push(BlueprintFault::UnnamedStep { position: position + 1 });
        } else if unescape(&escape(&step.name)).is_none() {
            faults.push(BlueprintFault::StepNameTooLong { step: step.name.clone() });
        } else if !seen.insert(&step.name) {
            faults.push(BlueprintFault::Duplicate { step: step.name.clone() });
        }
        if step.lease_ms == Some(0) {
            faults.push(BlueprintFault::NoLease { step: step.name.clone() });
        }
    }
    faults
}

fn faults_of_dependencies(definition: &Definition) -> Vec<BlueprintFault> {
    let steps = definition.steps.iter();
    let places: HashMap<&StepName, usize> = steps.zip(0..).map(|(it, at)| (&it.name, at)).collect();
    let must_be_in_order = definition.steps.len() > UNORDERED_STEPS_MAX;
    let mut faults = vec![];
    for (place, Step { name, depends_on, .. }) in definition.steps.iter().enumerate() {
        for dependency in depends_on {
            let (step, other) = (name.clone(), dependency.clone());
            match places.get(dependency) {
                _ if dependency == name => faults.push(BlueprintFault::DependsOnItself { step }),
                None => faults.push(BlueprintFault::MissingDependency { step, missing: other }),
                Some(&at) if at > place && must_be_in_order => {
                    faults.push(BlueprintFault::OutOfOrder { step, later: other });
                }
                Some(_) => {}
            }
        }
    }
    faults
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A valid blueprint of `(step, depends_on)` pairs.
    pub(crate) fn blueprint(steps: &[(&str, &[&str])]) -> Blueprint {
        Blueprint::new(definition(steps)).expect("a valid blueprint")
    }

    fn definition(steps: &[(&str, &[&str])]) -> Definition {
        let step = |(name, depends_on): &(&str, &[&str])| Step {
            name: (*name).into(),
            depends_on: depends_on.iter().map(|name| (*name).into()).collect(),
            lease_ms: None,
        };
        Definition { name: "orders".to_owned(), steps: steps.iter().map(step).collect() }
    }

    fn faults(steps: &[(&str, &[&str])]) -> String {
        Blueprint::new(definition(steps)).expect_err("an invalid blueprint").to_string()
    }

    #[test]
    fn every_fault_is_named() {
        assert_eq!(faults(&[]), "workflow `orders` has no steps; its timeline is empty");
        assert_eq!(faults(&[("", &[])]), "step 1 of the timeline has no name");
        assert_eq!(faults(&[("a", &["a"])]), "step `a` depends on itself");
        assert_eq!(
            faults(&[("a", &[]), ("b", &["x"]), ("a", &[])]),
            "step `a` stands in the timeline more than once; give each step a name of its own; \
             step `b` depends on `x`, which is not in the timeline"
        );
        assert_eq!(
            faults(&[("a", &["c"]), ("b", &["a"]), ("c", &["b"])]),
            "the steps depend on each other in a circle: a -> c -> b -> a"
        );
    }

    #[test]
    fn a_long_timeline_must_be_in_order() {
        let names: Vec<String> = (0..=UNORDERED_STEPS_MAX).map(|n| format!("s{n}")).collect();
        let mut steps: Vec<(&str, &[&str])> = names.iter().map(|name| (&**name, &[][..])).collect();
        steps[0].1 = &["s7"];
        assert!(faults(&steps).starts_with("step `s0` depends on `s7`, which comes later"));
        steps.pop();
        assert!(Blueprint::new(definition(&steps)).is_ok());
    }

    #[test]
    fn the_hash_follows_order_and_dependencies() {
        let first = blueprint(&[("a", &[]), ("b", &["a"])]);
        assert_eq!(first.hash(), blueprint(&[("a", &[]), ("b", &["a"])]).hash());
        assert_ne!(first.hash(), blueprint(&[("a", &[]), ("b", &[])]).hash());
        assert_ne!(first.hash(), blueprint(&[("b", &["a"]), ("a", &[])]).hash());
    }

    #[test]
    fn a_blueprint_read_back_is_checked_again() {
        let text = serde_json::to_string(&blueprint(&[("a", &[]), ("b", &["a"])])).expect("json");
        assert_eq!(
            text,
            r#"{"name":"orders","steps":[{"name":"a"},{"name":"b","depends_on":["a"]}]}"#
        );
        assert!(serde_json::from_str::<Blueprint>(&text.replace("\"a\"]", "\"x\"]")).is_err());
    }
}
