//! Blueprints as people and tools see them.

use super::{
    blueprint::{delays, over_zero},
    check::invalid,
    value::timestamp,
};
use crate::{
    engine::{BlueprintPut, Error, StoredBlueprint},
    proto::lazarus::{self as wire_types, PutBlueprintRequest},
    workflow::{Arm, Definition, RetryPolicy, Rule, RuleKind, Step},
};

/// Reads a blueprint; its faults are found by whoever keeps it.
pub(in crate::frontdoor) fn blueprint_definition(
    request: PutBlueprintRequest,
) -> Result<Definition, Error> {
    let rules: Result<Vec<Rule>, Error> = request.rules.into_iter().map(rule).collect();
    Ok(Definition {
        name: request.name,
        steps: request.steps.into_iter().map(step).collect(),
        rules: rules?,
        iterations_max: over_zero(request.max_iterations),
    })
}

fn step(step: wire_types::BlueprintStep) -> Step {
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

fn retry(retry: wire_types::BlueprintRetry) -> RetryPolicy {
    let default = RetryPolicy::default();
    let (initial_delay_ms, delay_max_ms) = delays(retry.initial_delay_ms, retry.max_delay_ms);
    RetryPolicy {
        attempts_max: over_zero(retry.max_attempts),
        initial_delay_ms,
        factor_percent: over_zero(retry.factor_percent).unwrap_or(default.factor_percent),
        delay_max_ms,
        jitter_percent: retry.jitter_percent,
        retryable_kinds: retry.retryable_kinds,
        final_kinds: retry.final_kinds,
    }
}

/// An arm whose CEL is given means that; another one is read as a worker's language spells it.
fn rule(rule: wire_types::BlueprintRule) -> Result<Rule, Error> {
    let from = rule.from.as_str();
    let of = match rule.kind() {
        wire_types::RuleKind::Diverge => Rule::diverge,
        wire_types::RuleKind::Branch => Rule::branch,
        wire_types::RuleKind::Unspecified => {
            return Err(invalid(format!(
                "the rule of step `{from}` has no kind; name RULE_KIND_DIVERGE or RULE_KIND_BRANCH"
            )));
        }
    };
    let arms = rule.arms.iter().map(|arm| (arm.when.clone(), arm.to.as_str().into()));
    let mut read = of(from.into(), arms);
    for (read, given) in read.arms.iter_mut().zip(rule.arms) {
        let means_another = !given.when.is_empty()
            && given.when != given.cel
            && read.cel.as_ref() != Some(&given.cel);
        if !given.cel.is_empty() && means_another {
            return Err(invalid(format!(
                "the rule of step `{from}` to `{}` has the `when` {:?}, and a `cel` that is not what \
                 that means; take one of them out",
                given.to, given.when
            )));
        }
        if !given.cel.is_empty() {
            let when = if given.when.is_empty() { given.cel.clone() } else { given.when };
            *read = Arm { when, cel: Some(given.cel), to: given.to.into() };
        }
    }
    Ok(read)
}

/// What became of a blueprint that was put.
pub(in crate::frontdoor) fn blueprint_put(put: BlueprintPut) -> wire_types::PutBlueprintResponse {
    let BlueprintPut { version, hash, is_new, warnings } = put;
    wire_types::PutBlueprintResponse { version, hash, is_new, warnings }
}

/// A blueprint as it is kept.
pub(in crate::frontdoor) fn blueprint(stored: &StoredBlueprint) -> wire_types::Blueprint {
    let blueprint = &stored.blueprint;
    let definition = blueprint.definition();
    let asides = blueprint.steps().iter().skip(definition.steps.len());
    wire_types::Blueprint {
        name: blueprint.name().to_owned(),
        version: stored.version,
        hash: blueprint.hash().to_owned(),
        created_at: Some(timestamp(stored.created)),
        language: stored.language.clone(),
        steps: definition.steps.iter().map(wire_step).collect(),
        rules: definition.rules.iter().map(wire_rule).collect(),
        max_iterations: definition.iterations_max.unwrap_or_default(),
        asides: asides.map(|step| step.name.to_string()).collect(),
        warnings: definition.warnings(),
    }
}

fn wire_step(step: &Step) -> wire_types::BlueprintStep {
    wire_types::BlueprintStep {
        name: step.name.to_string(),
        depends_on: step.depends_on.iter().map(ToString::to_string).collect(),
        lease_ms: step.lease_ms.unwrap_or_default(),
        retry: step.retry.clone().map(wire_retry),
        start_to_close_timeout_ms: step.start_to_close_ms.unwrap_or_default(),
        schedule_to_start_timeout_ms: step.schedule_to_start_ms.unwrap_or_default(),
        heartbeat_timeout_ms: step.heartbeat_ms.unwrap_or_default(),
    }
}

fn wire_retry(retry: RetryPolicy) -> wire_types::BlueprintRetry {
    wire_types::BlueprintRetry {
        max_attempts: retry.attempts_max.unwrap_or_default(),
        initial_delay_ms: retry.initial_delay_ms,
        factor_percent: retry.factor_percent,
        max_delay_ms: retry.delay_max_ms,
        jitter_percent: retry.jitter_percent,
        retryable_kinds: retry.retryable_kinds,
        final_kinds: retry.final_kinds,
    }
}

fn wire_rule(rule: &Rule) -> wire_types::BlueprintRule {
    let kind = match rule.kind {
        RuleKind::Diverge => wire_types::RuleKind::Diverge,
        RuleKind::Branch => wire_types::RuleKind::Branch,
    };
    let arm = |arm: &Arm| wire_types::RuleArm {
        when: arm.when.clone(),
        cel: arm.cel.clone().unwrap_or_default(),
        to: arm.to.to_string(),
    };
    wire_types::BlueprintRule {
        from: rule.from.to_string(),
        kind: kind.into(),
        arms: rule.arms.iter().map(arm).collect(),
    }
}
