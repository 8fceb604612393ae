//! The validated definition of a workflow: named steps, what each depends on, and the rules by which
//! an execution leaves the order of its timeline.
//!
//! Invariants:
//! * a [`Blueprint`] that exists is valid; [`Blueprint::new`] is the only way to one, also when it is
//!   read back from a store;
//! * the places of the steps are those of the timeline, then those of the *asides*: targets of rules
//!   that are not in the timeline, each after the steps that lead to it as far as that is possible.
//!   So a rule goes *back* exactly where its target has not a higher place than its step.

mod definition;
mod fault;
mod plan;
mod rules;
#[cfg(test)]
pub(crate) mod tests;

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::id::StepName;

pub use definition::{Arm, Definition, END, RetryPolicy, Rule, RuleKind, Step};
pub use fault::{BlueprintFault, BlueprintFaults};
pub(crate) use plan::Plan;
pub(crate) use rules::{Route, Target};

/// The version of a blueprint within its name; the first is 1.
pub type Version = u32;

/// The graph of a workflow, checked.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(try_from = "Definition", into = "Definition")]
pub struct Blueprint {
    definition: Definition,
    /// Those of the timeline, then the asides.
    steps: Vec<Step>,
    hash: String,
    index: HashMap<StepName, usize>,
    /// For each place, where rules may lead from there, in the order in which they are looked at.
    routes: Vec<Vec<Route>>,
    plan: Plan,
}

impl PartialEq for Blueprint {
    /// All the rest follows from the definition.
    fn eq(&self, other: &Self) -> bool {
        self.definition == other.definition
    }
}

impl Eq for Blueprint {}

impl Blueprint {
    /// Checks `definition` and plans it.
    ///
    /// # Errors
    ///
    /// Every fault that stands on its own, in the order of the timeline; a circle, or a condition
    /// that can not be read, only when nothing else is wrong.
    pub fn new(definition: Definition) -> Result<Self, BlueprintFaults> {
        let faults = fault::faults_of(&definition);
        if !faults.is_empty() {
            return Err(BlueprintFaults(faults));
        }
        let mut steps = definition.steps.clone();
        steps.extend(rules::asides(&definition));
        let index: HashMap<StepName, usize> =
            steps.iter().enumerate().map(|(at, step)| (step.name.clone(), at)).collect();
        let routes = rules::routes(&definition, &index, steps.len()).map_err(BlueprintFaults)?;
        let plan = Plan::new(&steps, definition.steps.len(), &index, &routes)
            .map_err(|circle| BlueprintFaults(vec![BlueprintFault::Cycle { circle }]))?;
        let hash = hash_of(&definition);
        Ok(Self { definition, steps, hash, index, routes, plan })
    }

    /// The workflow's name.
    pub fn name(&self) -> &str {
        &self.definition.name
    }

    /// Every step by place: those of the timeline in its order, then the asides.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// What its author wrote.
    pub fn definition(&self) -> &Definition {
        &self.definition
    }

    /// Whether the step at `place` is an aside: a target that is not in the timeline, of which only
    /// the name is known.
    pub fn is_aside(&self, place: usize) -> bool {
        place >= self.definition.steps.len()
    }

    /// SHA-256 over name, order, dependencies and rules, in lower-case hex: two blueprints with one
    /// hash behave alike.
    pub fn hash(&self) -> &str {
        &self.hash
    }

    /// Which step waits for which.
    pub(crate) fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Where rules may lead from the step at `place`, in the order in which they are looked at.
    pub(crate) fn routes(&self, place: usize) -> &[Route] {
        &self.routes[place]
    }

    /// Whether the step called `name` runs only when a rule chooses it.
    pub fn is_by_choice(&self, name: &str) -> bool {
        self.index.get(name).is_some_and(|&place| self.plan.is_by_choice(place))
    }

    /// The step called `name`, and its place.
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
        blueprint.definition
    }
}

/// A definition without rules has the hash that it had before there were any.
fn hash_of(definition: &Definition) -> String {
    let Definition { name, steps, rules, iterations_max } = definition;
    let text = if rules.is_empty() && iterations_max.is_none() {
        serde_json::to_vec(&(name, steps))
    } else {
        serde_json::to_vec(&(name, steps, rules, iterations_max))
    };
    hex::encode(Sha256::digest(text.expect("BUG: a definition does not serialize")))
}
