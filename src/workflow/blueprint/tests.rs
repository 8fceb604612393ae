//! What is a blueprint and what is not, and what its hash depends on.

use super::*;

/// The most steps of a timeline that need not be in order.
const UNORDERED_STEPS_MAX: usize = 1_000;

/// A valid blueprint of `(step, depends_on)` pairs.
pub(crate) fn blueprint(steps: &[(&str, &[&str])]) -> Blueprint {
    Blueprint::new(definition(steps)).expect("a valid blueprint")
}

fn definition(steps: &[(&str, &[&str])]) -> Definition {
    let step = |(name, depends_on): &(&str, &[&str])| Step {
        name: (*name).into(),
        depends_on: depends_on.iter().map(|name| (*name).into()).collect(),
        ..Step::default()
    };
    let steps = steps.iter().map(step).collect();
    Definition { name: "orders".to_owned(), steps, ..Definition::default() }
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
    assert_eq!(text, r#"{"name":"orders","steps":[{"name":"a"},{"name":"b","depends_on":["a"]}]}"#);
    assert!(serde_json::from_str::<Blueprint>(&text.replace("\"a\"]", "\"x\"]")).is_err());
}

fn faults_of_rules(rules: Vec<Rule>) -> String {
    let definition = Definition { rules, ..definition(&[("a", &[]), ("b", &["a"])]) };
    Blueprint::new(definition).expect_err("an invalid blueprint").to_string()
}

fn rule(from: &str, when: &str, to: &str) -> Rule {
    Rule::diverge(from.into(), [(when.to_owned(), to.into())])
}

#[test]
fn every_fault_of_a_rule_is_named() {
    assert_eq!(
        faults_of_rules(vec![rule("x", "_", "b")]),
        "a rule belongs to step `x`, which is neither in the timeline nor the target of a rule"
    );
    assert_eq!(
        faults_of_rules(vec![Rule::diverge("a".into(), [])]),
        "a rule of step `a` has no arms; give it one, or take the rule out"
    );
    assert_eq!(
        faults_of_rules(vec![rule("a", "_", "")]),
        "a rule of step `a` has a target without a name; name a step, or END"
    );
    assert_eq!(
        faults_of_rules(vec![rule("a", &"x".repeat(2_001), "b")]),
        "a rule of step `a` to `b` has a text of 2001 bytes; at most 2000 are allowed; let the \
         step compute it, and ask for its result"
    );
    let arm = Arm { when: "?".to_owned(), cel: Some("result.".to_owned()), to: "b".into() };
    let raw = Rule { from: "a".into(), kind: RuleKind::Branch, arms: vec![arm] };
    let unreadable = faults_of_rules(vec![raw]);
    assert!(unreadable.starts_with("the rule of step `a` to `b` can not be read: "));
    assert!(unreadable.ends_with("; it says `result.`"), "{unreadable}");
}

#[test]
fn with_rules_the_timeline_must_be_in_order_and_no_step_be_called_the_end() {
    let rules = vec![rule("a", "_", "END")];
    let steps = definition(&[("a", &["b"]), ("b", &[])]);
    let out_of_order = Blueprint::new(Definition { rules: rules.clone(), ..steps });
    let faults = out_of_order.expect_err("a fault").to_string();
    assert!(faults.contains("with rules, the timeline must be in order"), "{faults}");
    let steps = definition(&[("a", &[]), ("END", &["a"])]);
    let faults = Blueprint::new(Definition { rules, ..steps }).expect_err("a fault");
    assert_eq!(faults.0, [BlueprintFault::StepCalledEnd]);
}

#[test]
fn retries_and_times_that_can_not_be_are_named() {
    let of = |step: Step| {
        let definition = Definition { steps: vec![step], ..definition(&[]) };
        Blueprint::new(definition).expect_err("a fault").to_string()
    };
    let named = Step { name: "a".into(), ..Step::default() };
    assert_eq!(
        of(Step { heartbeat_ms: Some(0), ..named.clone() }),
        "step `a` has a heartbeat timeout of 0 ms; give it the time that it needs, or leave it out"
    );
    let retry = Some(RetryPolicy { factor_percent: 99, ..RetryPolicy::default() });
    assert_eq!(
        of(Step { retry, ..named }),
        "the retries of step `a` can not be so: a factor under 100 percent makes the waits shorter \
         each time"
    );
}

#[test]
fn warnings_name_what_never_holds_and_what_nothing_follows() {
    let rules = vec![
        Rule::branch("a".into(), [("<lambda>==true".to_owned(), "b".into())]),
        rule("a", "error", "sorry"),
    ];
    let warnings = Definition { rules, ..definition(&[("a", &[]), ("b", &["a"])]) }.warnings();
    let [lambda, aside] = &warnings[..] else { panic!("{warnings:?}") };
    assert!(lambda.starts_with("the rule of step `a` never goes to `b`: `<lambda>==true`"));
    assert!(aside.starts_with("step `sorry` is not in the timeline"), "{aside}");
}

#[test]
fn rules_are_part_of_the_hash_and_a_blueprint_without_any_keeps_the_one_it_had() {
    let plain = blueprint(&[("a", &[]), ("b", &["a"])]);
    assert_eq!(
        plain.hash(),
        "7f58c79905cf7d11205ba3c50fdf7f76c29d685d4f5159abc15305726a68213f",
        "pinned by runs since version 1"
    );
    let ruled = |when: &str| {
        let rules = vec![rule("a", when, "b")];
        Blueprint::new(Definition { rules, ..plain.definition().clone() }).expect("valid")
    };
    assert_ne!(ruled("x").hash(), plain.hash());
    assert_ne!(ruled("x").hash(), ruled("y").hash());
}
