//! Blueprints as the SDK submits them.
//!
//! What this version does not run is refused by name: what is silently left out would make another
//! workflow of it.

use std::fmt::Display;

use crate::{
    engine::BlueprintPut,
    proto::cerebelum::{self, Blueprint as WireBlueprint, BlueprintValidation, WorkflowDefinition},
    workflow::{Blueprint, BlueprintFaults, Definition, RetryPolicy, Rule, Step},
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
    let WorkflowDefinition { timeline, diverge_rules, branch_rules, max_iterations, .. } =
        definition;
    let diverges = diverge_rules.into_iter().map(|rule| {
        let arms = rule.patterns.into_iter().map(|arm| (arm.pattern, arm.target.into()));
        Rule::diverge(rule.from_step.into(), arms)
    });
    let branches = branch_rules.into_iter().map(|rule| {
        let arms = rule.branches.into_iter().map(|arm| (arm.condition, arm.target.into()));
        Rule::branch(rule.from_step.into(), arms)
    });
    let definition = Definition {
        name,
        steps: timeline.into_iter().map(step).collect(),
        rules: diverges.chain(branches).collect(),
        iterations_max: over_zero(max_iterations),
    };
    if errors.is_empty() {
        return Ok(definition);
    }
    // Whoever has to change it should hear everything at once.
    if let Err(BlueprintFaults(faults)) = Blueprint::new(definition) {
        errors.extend(faults.iter().map(ToString::to_string));
    }
    Err(errors)
}

fn step(step: cerebelum::Step) -> Step {
    Step {
        name: step.name.into(),
        depends_on: step.depends_on.into_iter().map(Into::into).collect(),
        lease_ms: over_zero(step.lease_ms),
        retry: step.retry.map(retry),
        start_to_close_ms: over_zero(step.start_to_close_timeout_ms),
        schedule_to_start_ms: over_zero(step.schedule_to_start_timeout_ms),
        heartbeat_ms: over_zero(step.heartbeat_timeout_ms),
    }
}

/// What is 0 or absent has its default.
fn retry(retry: cerebelum::RetryPolicy) -> RetryPolicy {
    let default = RetryPolicy::default();
    let (initial_delay_ms, delay_max_ms) = delays(retry.initial_delay_ms, retry.max_delay_ms);
    RetryPolicy {
        attempts_max: over_zero(retry.max_attempts),
        initial_delay_ms,
        factor_percent: percent(retry.backoff_factor, default.factor_percent),
        delay_max_ms,
        jitter_percent: retry.jitter.map_or(default.jitter_percent, |jitter| percent(jitter, 0)),
        retryable_kinds: retry.retryable_kinds,
        final_kinds: retry.non_retryable_kinds,
    }
}

/// The first and the longest wait, where 0 means the default: for the longest, at least the first.
pub(super) fn delays(initial_ms: u64, most_ms: u64) -> (u64, u64) {
    let default = RetryPolicy::default();
    let initial_ms = over_zero(initial_ms).unwrap_or(default.initial_delay_ms);
    let most_ms = over_zero(most_ms).unwrap_or_else(|| default.delay_max_ms.max(initial_ms));
    (initial_ms, most_ms)
}

/// A factor in percent; `absent` for 0. What can not be one becomes what the check refuses.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a float is cut to the range of the number"
)]
fn percent(factor: f64, absent: u32) -> u32 {
    if factor == 0.0 { absent } else { (factor * 100.0).round() as u32 }
}

/// A field in which 0 means that it is not set.
pub(super) fn over_zero<N: PartialEq + From<u8>>(number: N) -> Option<N> {
    (number != N::from(0)).then_some(number)
}

fn not_supported(definition: &WorkflowDefinition) -> Vec<String> {
    let mut inputs: Vec<&String> = definition.inputs.keys().collect();
    inputs.sort_unstable();
    let fault = |input: &String| {
        format!(
            "input `{input}` has a definition, and this version checks no inputs; take it out, and \
             check it in the first step"
        )
    };
    inputs.into_iter().map(fault).collect()
}

/// The answer to a blueprint that is kept.
pub(in crate::frontdoor) fn validation(put: BlueprintPut) -> BlueprintValidation {
    let BlueprintPut { hash: workflow_hash, warnings, .. } = put;
    BlueprintValidation { valid: true, errors: vec![], warnings, workflow_hash }
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
    use crate::{
        proto::cerebelum::{
            BranchRule, ConditionBranch, DivergeRule, InputDefinition, PatternMatch,
        },
        workflow::{Arm, RuleKind},
    };

    fn step(name: &str, depends_on: &[&str]) -> cerebelum::Step {
        cerebelum::Step {
            name: name.to_owned(),
            depends_on: depends_on.iter().map(|&name| name.to_owned()).collect(),
            ..cerebelum::Step::default()
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
                Step { name: "charge".into(), ..Step::default() },
                Step {
                    name: "ship".into(),
                    depends_on: vec!["charge".into()],
                    lease_ms: Some(50),
                    ..Step::default()
                },
            ],
            ..Definition::default()
        };
        assert_eq!(definition(wire(Some(given))), Ok(expected));
    }

    #[test]
    fn rules_are_read_as_the_language_spells_them_and_diverge_comes_first() {
        let pattern = PatternMatch { pattern: "error".to_owned(), target: "b".to_owned() };
        let condition = ConditionBranch { condition: "n > 1".to_owned(), target: "END".to_owned() };
        let given = WorkflowDefinition {
            timeline: vec![step("a", &[])],
            branch_rules: vec![BranchRule { from_step: "a".to_owned(), branches: vec![condition] }],
            diverge_rules: vec![DivergeRule { from_step: "a".to_owned(), patterns: vec![pattern] }],
            max_iterations: 7,
            ..WorkflowDefinition::default()
        };
        let definition = definition(wire(Some(given))).unwrap();
        assert_eq!(definition.iterations_max, Some(7));
        let read: Vec<(RuleKind, &Arm)> =
            definition.rules.iter().map(|rule| (rule.kind, &rule.arms[0])).collect();
        let [(RuleKind::Diverge, caught), (RuleKind::Branch, more)] = read[..] else {
            panic!("{read:?}")
        };
        assert_eq!((caught.when.as_str(), &*caught.to), ("error", "b"));
        assert_eq!((more.when.as_str(), &*more.to), ("n > 1", "END"));
        assert!(caught.cel.is_some() && more.cel.is_some());
    }

    #[test]
    fn what_a_retry_leaves_out_has_its_default() {
        let given = |retry| super::retry(retry);
        assert_eq!(given(cerebelum::RetryPolicy::default()), RetryPolicy::default());
        let slow = cerebelum::RetryPolicy {
            max_attempts: 3,
            initial_delay_ms: 90_000,
            backoff_factor: 1.5,
            jitter: Some(0.0),
            non_retryable_kinds: vec!["ValueError".to_owned()],
            ..cerebelum::RetryPolicy::default()
        };
        let expected = RetryPolicy {
            attempts_max: Some(3),
            initial_delay_ms: 90_000,
            factor_percent: 150,
            delay_max_ms: 90_000,
            jitter_percent: 0,
            retryable_kinds: vec![],
            final_kinds: vec!["ValueError".to_owned()],
        };
        assert_eq!(given(slow), expected);
        let wrong = cerebelum::RetryPolicy { backoff_factor: -2.0, ..Default::default() };
        assert_eq!(given(wrong).factor_percent, 0, "which the check refuses");
    }

    #[test]
    fn what_is_not_run_is_refused_by_name_together_with_all_else() {
        let given = WorkflowDefinition {
            timeline: vec![step("a", &["x"])],
            diverge_rules: vec![DivergeRule { from_step: "a".to_owned(), patterns: vec![] }],
            inputs: [("n".to_owned(), InputDefinition::default())].into(),
            ..WorkflowDefinition::default()
        };
        assert_eq!(
            definition(wire(Some(given))),
            Err(vec![
                "input `n` has a definition, and this version checks no inputs; take it out, and \
                 check it in the first step"
                    .to_owned(),
                "step `a` depends on `x`, which is not in the timeline".to_owned(),
                "a rule of step `a` has no arms; give it one, or take the rule out".to_owned(),
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
