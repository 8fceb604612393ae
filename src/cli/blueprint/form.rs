//! The forms of a definition: JSON as people write it, the wire's, and the core's, which JSON follows.
//!
//! Invariant: whatever JSON says arrives. A field that nobody knows, or a 0, which on the wire means
//! "not given", is refused and not left out.

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::{
    cli::{exit::Failure, json},
    proto::lazarus::{
        self as wire, BlueprintRetry, BlueprintRule, BlueprintStep, PutBlueprintRequest,
    },
    workflow::{Arm, Blueprint, Definition, RetryPolicy, Rule, RuleKind, Step},
};

/// One kind of object in a definition.
#[derive(Debug)]
struct Shape {
    /// The fields that it may have.
    fields: &'static [&'static str],
    /// How it is written.
    example: &'static str,
}

const DEFINITION: Shape = Shape {
    fields: &["name", "steps", "rules", "iterations_max"],
    example: r#"{"name": "orders", "steps": [{"name": "charge"}, {"name": "ship", "depends_on": ["charge"]}], "rules": [..], "iterations_max": 10}; only the name and the steps are needed"#,
};
const STEP: Shape = Shape {
    fields: &[
        "name",
        "depends_on",
        "lease_ms",
        "retry",
        "start_to_close_ms",
        "schedule_to_start_ms",
        "heartbeat_ms",
    ],
    example: r#"{"name": "ship", "depends_on": ["charge"], "lease_ms": 60000, "retry": {"attempts_max": 3}, "start_to_close_ms": 30000, "schedule_to_start_ms": 60000, "heartbeat_ms": 10000}; only the name is needed"#,
};
const RETRY: Shape = Shape {
    fields: &[
        "attempts_max",
        "initial_delay_ms",
        "factor_percent",
        "delay_max_ms",
        "jitter_percent",
        "retryable_kinds",
        "final_kinds",
    ],
    example: r#"{"attempts_max": 3, "initial_delay_ms": 1000, "factor_percent": 200, "delay_max_ms": 60000, "jitter_percent": 20, "retryable_kinds": [], "final_kinds": ["ValueError"]}; each of them may be left out"#,
};
const RULE: Shape = Shape {
    fields: &["from", "kind", "arms"],
    example: r#"{"from": "charge", "kind": "branch", "arms": [{"when": "amount > 100", "to": "review"}]}; the kind is branch (conditions on an output) or diverge (patterns of an outcome)"#,
};
const ARM: Shape = Shape {
    fields: &["when", "cel", "to"],
    example: r#"{"when": "amount > 100", "to": "review"}, or "cel" in the place of "when"; the target is a step, or END"#,
};

/// Reads a definition as `put` takes it: [`Definition`] in JSON, but for arms that have only `cel`.
pub(super) fn read(mut json: Value) -> Result<Definition, Failure> {
    for (at, step) in items(&mut json, "steps") {
        if let Some(retry) = step.get("retry").filter(|retry| !retry.is_null()) {
            part::<RetryPolicy>(retry, &format!("the retry of step {at}"), &RETRY)?;
        }
        part::<Step>(step, &format!("step {at}"), &STEP)?;
    }
    for (at, rule) in items(&mut json, "rules") {
        for (arm_at, arm) in items(rule, "arms") {
            spell(arm);
            part::<Arm>(arm, &format!("arm {arm_at} of rule {at}"), &ARM)?;
        }
        part::<Rule>(rule, &format!("rule {at}"), &RULE)?;
    }
    part(&json, "FILE", &DEFINITION)
}

/// The objects in a list, counted from 1; whether it is a list is asked when the whole is read.
fn items<'a>(json: &'a mut Value, field: &str) -> impl Iterator<Item = (usize, &'a mut Value)> {
    let list = json.get_mut(field).and_then(Value::as_array_mut);
    (1..).zip(list.into_iter().flatten())
}

/// An arm that has only CEL is shown by it.
fn spell(arm: &mut Value) {
    if let Some(fields) = arm.as_object_mut()
        && let (None, Some(cel)) = (fields.get("when"), fields.get("cel"))
    {
        let when = cel.clone();
        fields.insert("when".to_owned(), when);
    }
}

fn part<T: DeserializeOwned>(json: &Value, place: &str, shape: &Shape) -> Result<T, Failure> {
    let refused = |reason: String| {
        Failure::usage(
            format_args!("{place} {reason}"),
            format_args!("write it as {}", shape.example),
        )
    };
    let Some(fields) = json.as_object() else {
        return Err(refused(format!("is {}, not an object", json::kind_of(json))));
    };
    for (field, value) in fields {
        if !shape.fields.contains(&field.as_str()) {
            return Err(refused(format!("has an unknown field `{field}`")));
        }
        if value.as_u64() == Some(0) && field != "jitter_percent" {
            return Err(refused(format!("has `{field}` 0; leave it out to set none")));
        }
    }
    T::deserialize(json).map_err(|error| refused(format!("can not be read: {error}")))
}

/// The request that submits `definition`.
pub(super) fn to_wire(definition: Definition, namespace: String) -> PutBlueprintRequest {
    let Definition { name, steps, rules, iterations_max } = definition;
    PutBlueprintRequest {
        namespace,
        name,
        steps: steps.into_iter().map(wire_step).collect(),
        language: "json".to_owned(),
        rules: rules.into_iter().map(wire_rule).collect(),
        max_iterations: iterations_max.unwrap_or_default(),
    }
}

fn wire_step(step: Step) -> BlueprintStep {
    BlueprintStep {
        name: step.name.to_string(),
        depends_on: step.depends_on.iter().map(ToString::to_string).collect(),
        lease_ms: step.lease_ms.unwrap_or_default(),
        retry: step.retry.map(wire_retry),
        start_to_close_timeout_ms: step.start_to_close_ms.unwrap_or_default(),
        schedule_to_start_timeout_ms: step.schedule_to_start_ms.unwrap_or_default(),
        heartbeat_timeout_ms: step.heartbeat_ms.unwrap_or_default(),
    }
}

fn wire_retry(retry: RetryPolicy) -> BlueprintRetry {
    BlueprintRetry {
        max_attempts: retry.attempts_max.unwrap_or_default(),
        initial_delay_ms: retry.initial_delay_ms,
        factor_percent: retry.factor_percent,
        max_delay_ms: retry.delay_max_ms,
        jitter_percent: retry.jitter_percent,
        retryable_kinds: retry.retryable_kinds,
        final_kinds: retry.final_kinds,
    }
}

fn wire_rule(rule: Rule) -> BlueprintRule {
    let kind = match rule.kind {
        RuleKind::Diverge => wire::RuleKind::Diverge,
        RuleKind::Branch => wire::RuleKind::Branch,
    };
    let arm = |arm: Arm| wire::RuleArm {
        when: arm.when,
        cel: arm.cel.unwrap_or_default(),
        to: arm.to.to_string(),
    };
    BlueprintRule {
        from: rule.from.to_string(),
        kind: kind.into(),
        arms: rule.arms.into_iter().map(arm).collect(),
    }
}

/// The definition of a blueprint that a server keeps.
pub(super) fn from_wire(blueprint: &wire::Blueprint) -> Result<Definition, Failure> {
    let rules: Result<Vec<Rule>, Failure> = blueprint.rules.iter().map(rule).collect();
    Ok(Definition {
        name: blueprint.name.clone(),
        steps: blueprint.steps.iter().map(step).collect(),
        rules: rules?,
        iterations_max: over_zero(blueprint.max_iterations),
    })
}

/// The same, planned.
pub(super) fn planned(blueprint: &wire::Blueprint) -> Result<Blueprint, Failure> {
    Blueprint::new(from_wire(blueprint)?).map_err(|faults| {
        let what = format!("workflow `{}` can not be read here: {faults}", blueprint.name);
        Failure::refused(what, "upgrade this command, or look at it with `blueprint get --json`")
    })
}

fn step(step: &BlueprintStep) -> Step {
    Step {
        name: step.name.as_str().into(),
        depends_on: step.depends_on.iter().map(|name| name.as_str().into()).collect(),
        lease_ms: over_zero(step.lease_ms),
        retry: step.retry.as_ref().map(retry),
        start_to_close_ms: over_zero(step.start_to_close_timeout_ms),
        schedule_to_start_ms: over_zero(step.schedule_to_start_timeout_ms),
        heartbeat_ms: over_zero(step.heartbeat_timeout_ms),
    }
}

fn retry(retry: &BlueprintRetry) -> RetryPolicy {
    RetryPolicy {
        attempts_max: over_zero(retry.max_attempts),
        initial_delay_ms: retry.initial_delay_ms,
        factor_percent: retry.factor_percent,
        delay_max_ms: retry.max_delay_ms,
        jitter_percent: retry.jitter_percent,
        retryable_kinds: retry.retryable_kinds.clone(),
        final_kinds: retry.final_kinds.clone(),
    }
}

fn rule(rule: &BlueprintRule) -> Result<Rule, Failure> {
    let kind = match rule.kind() {
        wire::RuleKind::Diverge => RuleKind::Diverge,
        wire::RuleKind::Branch => RuleKind::Branch,
        wire::RuleKind::Unspecified => {
            return Err(Failure::refused(
                format_args!("step `{}` has a rule of a kind that is not known here", rule.from),
                "upgrade this command to the version of the server",
            ));
        }
    };
    let arm = |arm: &wire::RuleArm| Arm {
        when: arm.when.clone(),
        cel: (!arm.cel.is_empty()).then(|| arm.cel.clone()),
        to: arm.to.as_str().into(),
    };
    let arms = rule.arms.iter().map(arm).collect();
    Ok(Rule { from: rule.from.as_str().into(), kind, arms })
}

/// A field in which 0 means that it is not set.
fn over_zero<N: PartialEq + From<u8>>(number: N) -> Option<N> {
    (number != N::from(0)).then_some(number)
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::BTreeSet;

    use serde_json::json;

    use super::*;
    use crate::cli::exit::Exit;

    /// Everything that a definition can say.
    pub(in crate::cli::blueprint) fn full() -> Value {
        json!({
            "name": "orders",
            "steps": [
                {"name": "charge"},
                {
                    "name": "ship",
                    "depends_on": ["charge"],
                    "lease_ms": 60_000,
                    "retry": {
                        "attempts_max": 3,
                        "initial_delay_ms": 500,
                        "factor_percent": 150,
                        "delay_max_ms": 5_000,
                        "jitter_percent": 0,
                        "retryable_kinds": ["Timeout"],
                        "final_kinds": ["ValueError"],
                    },
                    "start_to_close_ms": 30_000,
                    "schedule_to_start_ms": 20_000,
                    "heartbeat_ms": 10_000,
                },
            ],
            "rules": [
                {"from": "charge", "kind": "diverge", "arms": [
                    {"when": "error", "cel": "error", "to": "refund"},
                    {"when": "no meaning", "to": "END"},
                ]},
                {"from": "ship", "kind": "branch", "arms": [
                    {"when": "again", "cel": "again", "to": "charge"},
                ]},
            ],
            "iterations_max": 7,
        })
    }

    /// What a server that keeps `request` answers.
    fn kept(request: PutBlueprintRequest) -> wire::Blueprint {
        let PutBlueprintRequest { name, steps, rules, max_iterations, .. } = request;
        wire::Blueprint { name, steps, rules, max_iterations, ..wire::Blueprint::default() }
    }

    #[test]
    fn a_definition_comes_back_as_it_was_put() {
        let read = read(full()).unwrap();
        let back = from_wire(&kept(to_wire(read.clone(), "default".to_owned()))).unwrap();
        assert_eq!(back, read);
        assert_eq!(serde_json::to_value(back).unwrap(), full());
    }

    #[test]
    fn an_arm_is_spelled_or_in_cel() {
        let json = json!({"name": "n", "steps": [{"name": "a"}, {"name": "b"}], "rules": [
            {"from": "a", "kind": "branch", "arms": [
                {"when": "x > 1", "to": "b"}, {"cel": "x > 2", "to": "b"},
            ]},
        ]});
        let arm = |when: &str, cel: &str| wire::RuleArm {
            when: when.to_owned(),
            cel: cel.to_owned(),
            to: "b".to_owned(),
        };
        let request = to_wire(read(json).unwrap(), String::new());
        assert_eq!(request.rules[0].arms, [arm("x > 1", ""), arm("x > 2", "x > 2")]);
    }

    #[test]
    fn every_field_is_known() {
        let full = full();
        let fields = |value: &Value| -> BTreeSet<String> {
            value.as_object().unwrap().keys().cloned().collect()
        };
        let known =
            |shape: &Shape| shape.fields.iter().map(ToString::to_string).collect::<BTreeSet<_>>();
        let rule = &full["rules"][0];
        assert_eq!(known(&DEFINITION), fields(&full));
        assert_eq!(known(&STEP), fields(&full["steps"][1]));
        assert_eq!(known(&RETRY), fields(&full["steps"][1]["retry"]));
        assert_eq!(known(&RULE), fields(rule));
        assert_eq!(known(&ARM), fields(&rule["arms"][0]));
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place() {
        let refused = |json: Value| {
            let failure = read(json).unwrap_err();
            assert_eq!(failure.exit, Exit::Usage);
            failure.what
        };
        assert_eq!(refused(json!([])), "FILE is a list, not an object");
        assert_eq!(refused(json!({"steps": []})), "FILE can not be read: missing field `name`");
        assert_eq!(
            refused(json!({"name": "n", "steps": [{"name": "a"}, {"name": "b", "depend_on": []}]})),
            "step 2 has an unknown field `depend_on`"
        );
        assert_eq!(
            refused(json!({"name": "n", "steps": [{"name": "a", "retry": {"attempts_max": 0}}]})),
            "the retry of step 1 has `attempts_max` 0; leave it out to set none"
        );
        assert_eq!(
            refused(json!({"name": "n", "steps": [{"name": "a", "lease_ms": "5m"}]})),
            "step 1 can not be read: invalid type: string \"5m\", expected u64"
        );
        assert_eq!(
            refused(json!({"name": "n", "steps": [], "rules": [
                {"from": "a", "kind": "branch", "arms": [{"to": "b"}]},
            ]})),
            "arm 1 of rule 1 can not be read: missing field `when`"
        );
        assert_eq!(
            refused(json!({"name": "n", "steps": [], "rules": [
                {"from": "a", "kind": "if", "arms": []},
            ]})),
            "rule 1 can not be read: unknown variant `if`, expected `diverge` or `branch`"
        );
    }

    #[test]
    fn the_advice_shows_the_shape_of_what_was_wrong() {
        for (shape, ends) in [(DEFINITION, "; only"), (STEP, "; only"), (RETRY, "; each")] {
            let (example, _) = shape.example.split_once(ends).unwrap();
            let example: Value = serde_json::from_str(&example.replace("..", "")).unwrap();
            assert!(example.as_object().unwrap().keys().all(|it| shape.fields.contains(&&**it)));
        }
        let failure = read(json!({"name": "n", "steps": ["a"]})).unwrap_err();
        assert_eq!(failure.what, "step 1 is a text, not an object");
        assert!(failure.advice.starts_with("write it as {\"name\": \"ship\", \"depends_on\""));
    }

    #[test]
    fn a_rule_of_a_newer_server_is_refused() {
        let rule = BlueprintRule { from: "a".to_owned(), kind: 9, arms: vec![] };
        let blueprint = wire::Blueprint { rules: vec![rule], ..wire::Blueprint::default() };
        assert_eq!(
            from_wire(&blueprint).unwrap_err().what,
            "step `a` has a rule of a kind that is not known here"
        );
    }
}
