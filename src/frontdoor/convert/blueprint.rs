//! Blueprints as the SDK submits them.
//!
//! What this version does not run is refused by name: a rule that is silently left out would make
//! another workflow of it.

use std::fmt::Display;

use crate::{
    engine::BlueprintPut,
    proto::cerebelum::{Blueprint as WireBlueprint, BlueprintValidation, WorkflowDefinition},
    workflow::{Blueprint, BlueprintFaults, Definition, Step},
};

/// How many faults of one blueprint are told.
const FAULTS_MAX: usize = 100;

/// Reads a blueprint, or says all that is wrong with it.
pub(in crate::frontdoor) fn definition(
    blueprint: WireBlueprint,
) -> Result<Definition, Vec<String>> {
    let WireBlueprint { workflow_module: name, definition, .. } = blueprint;
    let Some(definition) = definition else {
        return Err(vec![format!(
            "the blueprint of workflow `{name}` has no definition; send its timeline"
        )]);
    };
    let mut errors = not_supported(&definition);
    let steps = definition.timeline.into_iter().map(|step| {
        let lease_ms = (step.lease_ms > 0).then_some(step.lease_ms);
        let depends_on = step.depends_on.into_iter().map(Into::into).collect();
        Step { name: step.name.into(), depends_on, lease_ms }
    });
    let definition = Definition { name, steps: steps.collect() };
    if errors.is_empty() {
        return Ok(definition);
    }
    // Whoever has to change it should hear everything at once.
    if let Err(BlueprintFaults(faults)) = Blueprint::new(definition) {
        errors.extend(faults.iter().map(ToString::to_string));
    }
    Err(errors)
}

fn not_supported(definition: &WorkflowDefinition) -> Vec<String> {
    let rule = |step: &str, kind: &str| {
        format!(
            "step `{step}` has a {kind} rule, and this version runs no {kind} rules; take it out, \
             and decide inside the steps"
        )
    };
    let diverges = definition.diverge_rules.iter().map(|it| rule(&it.from_step, "diverge"));
    let branches = definition.branch_rules.iter().map(|it| rule(&it.from_step, "branch"));
    let mut errors: Vec<String> = diverges.chain(branches).collect();
    let mut inputs: Vec<&String> = definition.inputs.keys().collect();
    inputs.sort_unstable();
    errors.extend(inputs.into_iter().map(|input| {
        format!(
            "input `{input}` has a definition, and this version checks no inputs; take it out, and \
             check it in the first step"
        )
    }));
    errors
}

/// The answer to a blueprint that is kept.
pub(in crate::frontdoor) fn validation(put: BlueprintPut) -> BlueprintValidation {
    let BlueprintPut { hash: workflow_hash, .. } = put;
    BlueprintValidation { valid: true, errors: vec![], warnings: vec![], workflow_hash }
}

/// The answer to a blueprint that can not be one.
pub(in crate::frontdoor) fn faults<Fault: Display>(faults: &[Fault]) -> BlueprintValidation {
    let mut errors: Vec<String> = faults.iter().take(FAULTS_MAX).map(ToString::to_string).collect();
    if faults.len() > FAULTS_MAX {
        errors.push(format!("and {} more", faults.len() - FAULTS_MAX));
    }
    BlueprintValidation { valid: false, errors, warnings: vec![], workflow_hash: String::new() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::cerebelum::{self, BranchRule, DivergeRule, InputDefinition};

    fn step(name: &str, depends_on: &[&str]) -> cerebelum::Step {
        cerebelum::Step {
            name: name.to_owned(),
            depends_on: depends_on.iter().map(|&name| name.to_owned()).collect(),
            lease_ms: 0,
        }
    }

    fn wire(definition: Option<WorkflowDefinition>) -> WireBlueprint {
        let workflow_module = "orders".to_owned();
        WireBlueprint { workflow_module, definition, ..WireBlueprint::default() }
    }

    #[test]
    fn a_timeline_is_read_in_its_order() {
        let timeline = vec![
            step("charge", &[]),
            cerebelum::Step { lease_ms: 50, ..step("ship", &["charge"]) },
        ];
        let given = WorkflowDefinition { timeline, ..WorkflowDefinition::default() };
        let expected = Definition {
            name: "orders".to_owned(),
            steps: vec![
                Step { name: "charge".into(), depends_on: vec![], lease_ms: None },
                Step { name: "ship".into(), depends_on: vec!["charge".into()], lease_ms: Some(50) },
            ],
        };
        assert_eq!(definition(wire(Some(given))), Ok(expected));
    }

    #[test]
    fn what_is_not_run_is_refused_by_name_together_with_all_else() {
        let given = WorkflowDefinition {
            timeline: vec![step("a", &["x"])],
            diverge_rules: vec![DivergeRule { from_step: "a".to_owned(), patterns: vec![] }],
            branch_rules: vec![BranchRule { from_step: "a".to_owned(), branches: vec![] }],
            inputs: [("n".to_owned(), InputDefinition::default())].into(),
        };
        assert_eq!(
            definition(wire(Some(given))),
            Err(vec![
                "step `a` has a diverge rule, and this version runs no diverge rules; take it out, \
                 and decide inside the steps"
                    .to_owned(),
                "step `a` has a branch rule, and this version runs no branch rules; take it out, \
                 and decide inside the steps"
                    .to_owned(),
                "input `n` has a definition, and this version checks no inputs; take it out, and \
                 check it in the first step"
                    .to_owned(),
                "step `a` depends on `x`, which is not in the timeline".to_owned(),
            ])
        );
    }

    #[test]
    fn a_blueprint_without_a_definition_is_refused() {
        assert_eq!(
            definition(wire(None)),
            Err(vec![
                "the blueprint of workflow `orders` has no definition; send its timeline"
                    .to_owned()
            ])
        );
    }

    #[test]
    fn endless_faults_are_counted_and_not_told() {
        let validation = faults(&vec!["no"; 103]);
        assert!(!validation.valid);
        assert_eq!(validation.errors.len(), 101);
        assert_eq!(validation.errors[100], "and 3 more");
    }
}
