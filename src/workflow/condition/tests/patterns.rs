//! Diverge patterns.

use serde_json::json;

use super::{
    super::pattern,
    Answer::{Holds, Not, Refused},
    check, failed, ok,
};

#[test]
fn patterns_match_outputs_and_failures() {
    let table = [
        ("error", failed("ValueError"), Holds),
        ("error", ok(json!("error")), Not),
        (":error", failed("ValueError"), Holds),
        ("ok", ok(json!(null)), Holds),
        (":ok", ok(json!({"a": 1})), Holds),
        ("ok", failed("ValueError"), Not),
        ("_", ok(json!(1)), Holds),
        ("_", failed("ValueError"), Holds),
        // Objects.
        (r#"{"a": 1}"#, ok(json!({"a": 1.0, "b": 2})), Holds),
        (r#"{"a": 1}"#, ok(json!({"a": "1"})), Not),
        (r#"{"a": {"b": null}}"#, ok(json!({"a": {"b": null, "c": 1}})), Holds),
        (r#"{"a": {"b": null}}"#, ok(json!({"a": {"c": 1}})), Not),
        (r#"{"a": [1, 2]}"#, ok(json!({"a": [1, 2, 3]})), Not),
        (r#"{"a": 1}"#, ok(json!("a")), Not),
        (r#"{"kind": "ValueError"}"#, failed("ValueError"), Holds),
        (r#"{"kind": "KeyError"}"#, failed("ValueError"), Not),
        ("%{a: 1, \"b\" => :x}", ok(json!({"a": 1, "b": "x"})), Holds),
        ("{'a': True}", ok(json!({"a": true})), Holds),
        // Lists.
        ("[1, \"a\"]", ok(json!([1.0, "a"])), Holds),
        ("['a', None]", ok(json!(["a", null])), Holds),
        ("(1, 2)", ok(json!([1, 2])), Holds),
        ("[1]", ok(json!([1, 2])), Not),
        ("[]", failed("ValueError"), Not),
        // Booleans and null.
        ("True", ok(json!(true)), Holds),
        ("False", ok(json!(false)), Holds),
        ("true", ok(json!("true")), Not),
        ("false", ok(json!(0)), Not),
        ("None", ok(json!(null)), Holds),
        ("nil", ok(json!({})), Not),
        ("null", failed("ValueError"), Not),
        // Numbers.
        ("42", ok(json!(42.0)), Holds),
        ("42", ok(json!("42")), Holds),
        ("42", ok(json!("42.0")), Not),
        ("3.5", ok(json!(3.5)), Holds),
        ("-1", ok(json!(-1)), Holds),
        ("42", failed("42"), Not),
        // Quoted texts are str(result).
        ("\"premium\"", ok(json!("premium")), Holds),
        ("'premium'", ok(json!("premium")), Holds),
        ("\"premium\"", ok(json!({"status": "premium"})), Not),
        ("\"True\"", ok(json!(true)), Holds),
        ("\"None\"", ok(json!(null)), Holds),
        ("\"15\"", ok(json!(15.0)), Holds),
        ("\"15.0\"", ok(json!(15)), Holds),
        ("\"1e-05\"", ok(json!(0.00001)), Holds),
        ("\"1e+16\"", ok(json!(1e16)), Holds),
        ("\"say \"hi\"\"", ok(json!("say \"hi\"")), Holds),
        ("\"\"", ok(json!("")), Holds),
        ("\"ValueError\"", failed("ValueError"), Not),
        // Labels.
        ("premium", ok(json!("premium")), Holds),
        ("premium", ok(json!({"status": "premium"})), Holds),
        ("premium", ok(json!({"type": "premium"})), Holds),
        ("premium", ok(json!({"kind": "premium"})), Not),
        ("premium", ok(json!({"status": 1})), Not),
        ("premium", ok(json!(7)), Not),
        ("ValueError", failed("ValueError"), Holds),
        ("KeyError", failed("ValueError"), Not),
        ("in stock", ok(json!({"status": "in stock"})), Holds),
        (":paid", ok(json!("paid")), Holds),
        (":paid", ok(json!(":paid")), Holds),
        (":paid", ok(json!({"status": "paid"})), Holds),
        (":paid", ok(json!("due")), Not),
        (":ValueError", failed("ValueError"), Holds),
        (":true", ok(json!(true)), Holds),
        // Refused.
        ("{:ok, value}", ok(json!(1)), Refused("a tuple of Elixir never reaches the engine")),
        ("[head, tail]", ok(json!(1)), Refused("not an object or list of constants")),
        ("{a}", ok(json!(1)), Refused("as {\"field\": \"value\"}")),
        ("<function check at 0x7f>", ok(json!(1)), Refused("never reaches the engine")),
        ("<class 'ValueError'>", ok(json!(1)), Refused("{\"kind\": \"ValueError\"}")),
        ("score >= 80", ok(json!(1)), Refused("write a branch")),
        ("  ", ok(json!(1)), Refused("it is empty")),
    ];
    for (text, ended, expected) in table {
        check(pattern, text, &ended, &expected);
    }
}

#[test]
fn the_cel_of_a_pattern_is_pinned() {
    for (text, cel) in [
        ("error", r#"outcome == "error""#),
        (":ok", r#"outcome == "ok""#),
        ("_", "true"),
        ("True", r#"outcome == "ok" && result == true"#),
        ("42", r#"outcome == "ok" && (result == 42.0 || result == "42")"#),
        ("\"a \"b\"\"", r#"outcome == "ok" && spelled(result, "a \"b\"")"#),
        ("premium", r#"labelled(outcome, result, "premium")"#),
        (":x", r#"labelled(outcome, result, "x") || labelled(outcome, result, ":x")"#),
        (r#"{"a": {"b": [1, null]}}"#, r#"subset(result, {"a": {"b": [1.0, null]}})"#),
        ("[1, 'a']", r#"outcome == "ok" && result == [1.0, "a"]"#),
    ] {
        assert_eq!(pattern(text).as_deref(), Ok(cel), "{text}");
    }
}
