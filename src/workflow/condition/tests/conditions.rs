//! Branch conditions.

use serde_json::json;

use super::{
    super::{caution, condition},
    Answer::{self, Holds, Not, Refused, Unknown},
    Ended, check, failed, ok,
};

/// The step that most conditions are held against.
fn order() -> Ended {
    ok(json!({
        "score": 80, "status": "open", "approved": true, "tags": ["new", "eu"], "items": [],
        "user": {"name": "Ada", "age": 36.5}, "note": null, "größe": 4, "in": 1, "max-age": 2,
        "list": [1, [2.0]], "atom": ":open", "empty": "", "zero": 0, "ratio": 0.25,
    }))
}

fn check_order(table: &[(&str, Answer)]) {
    for (text, expected) in table {
        check(condition, text, &order(), expected);
    }
}

#[test]
fn fields_are_compared() {
    check_order(&[
        ("score >= 80", Holds),
        ("score > 80", Not),
        ("score < 80.5", Holds),
        ("score == 80.0", Holds),
        ("score != 80", Not),
        ("score <= 1e2", Holds),
        ("status == 'open'", Holds),
        ("status == \"closed\"", Not),
        ("status < 'p'", Holds),
        ("score == '80'", Not),
        ("score != '80'", Holds),
        ("status > 3", Unknown("`>` does not compare a text with a number")),
        ("user.name == 'Ada'", Holds),
        ("user.age > 36 and user.age < 37", Holds),
        ("result.score >= 80", Holds),
        ("result['score'] >= 80", Holds),
        ("result[\"status\"] == \"open\" and result['score'] > 10", Holds),
        ("result['user']['name'] == 'Ada'", Holds),
        ("tags[1] == 'eu'", Holds),
        ("tags[2] == 'eu'", Unknown("no such element")),
        ("größe == 4", Holds),
        ("result['in'] == 1 and result['max-age'] == 2", Holds),
    ]);
}

#[test]
fn what_is_missing_is_never_true() {
    check_order(&[
        ("missing > 1", Unknown("`missing` is not a field of the output")),
        ("user.missing == 1", Unknown("`missing` is not a field of the output")),
        ("status.length == 4", Unknown("a text has no fields")),
        ("missing > 1 or score > 1", Unknown("`missing`")),
        ("score > 1 or missing > 1", Holds),
        ("score > 100 and missing > 1", Not),
        ("result.get('missing') is None", Holds),
        ("result.get('missing', 5) > 4", Holds),
        ("result.get('score', 5) == 80", Holds),
        ("user.get('name') == 'Ada'", Holds),
        ("status.get('x')", Unknown("`get` needs an object, not a text")),
        ("(result.get('missing') or 7) == 7", Holds),
        ("(score and status) == 'open'", Holds),
    ]);
}

#[test]
fn truth_is_pythons() {
    check_order(&[
        ("approved", Holds),
        ("not approved", Not),
        ("!approved", Not),
        ("result", Holds),
        ("not items", Holds),
        ("items or tags", Holds),
        ("note or empty or zero or items", Not),
        ("not note and not empty and not zero", Holds),
        ("approved == true && score > 1", Holds),
        ("approved is True", Holds),
        ("note is None", Holds),
        ("note == nil || false", Holds),
        ("score is not None", Holds),
    ]);
}

#[test]
fn chains_membership_and_arithmetic() {
    check_order(&[
        ("0 < score <= 80", Holds),
        ("0 < score < 80", Not),
        ("status in ['open', 'held']", Holds),
        ("status in ('held',)", Not),
        ("status not in ['open']", Not),
        ("score in [1, 80]", Holds),
        ("'eu' in tags", Holds),
        ("'score' in result", Holds),
        ("'nope' not in result", Holds),
        ("'pe' in status", Holds),
        ("'x' in score", Unknown("`in` needs a list, object or text, not a number")),
        ("score in tags", Not),
        ("status in [inputs.tier, 'open']", Holds),
        ("list == [1.0, [2]]", Holds),
        ("len(tags) == 2 and len(status) == 4", Holds),
        ("len(score) == 2", Unknown("a size needs a text, list or object, not a number")),
        ("score + 1 == 81 and score - 1 == 79", Holds),
        ("score * 2 / 4 == 40", Holds),
        ("-score == -80", Holds),
        ("-7 % 3 == 2", Holds),
        ("score / zero > 1", Unknown("divides by zero")),
        ("score + status == 1", Unknown("`+` needs two numbers or two texts, not a text")),
        ("status + '!' == 'open!'", Holds),
        ("2 + 3 * (1 + 1) == 8", Holds),
        ("status.startswith('op') and status.endswith('en')", Holds),
        ("score.startswith('op')", Unknown("`startsWith` needs a text, not a number")),
    ]);
}

#[test]
fn elixir_is_understood_too() {
    check_order(&[
        ("status == :open", Holds),
        ("atom == :open", Holds),
        ("status != :open", Not),
        ("status in [:open, :held]", Holds),
        ("result[:score] >= 80", Holds),
        ("approved == :true", Holds),
    ]);
}

#[test]
fn inputs_and_state_are_looked_at() {
    check_order(&[
        ("score < inputs.limit and inputs['tier'] == 'gold'", Holds),
        ("state.fetch.n == 3 and state['order'].startswith('o-')", Holds),
        ("state.missing", Unknown("`missing` is not a field of what it is looked up in")),
    ]);
}

#[test]
fn the_branch_for_everything_else() {
    check_order(&[
        ("else", Holds),
        ("otherwise", Holds),
        ("_", Holds),
        ("true", Holds),
        ("True", Holds),
        ("False", Not),
    ]);
}

#[test]
fn what_cannot_be_evaluated_is_refused_with_advice() {
    check_order(&[
        ("<lambda>==true", Refused("if_(\"score >= 80\"")),
        ("<lambda>==false", Refused("never reaches the engine")),
        ("main.<locals>.check==true", Refused("never reaches the engine")),
        ("anonymous_condition==true", Refused("never reaches the engine")),
        ("lambda r: r > 1", Refused("`lambda` is code")),
        ("import os", Refused("`import` is code")),
        ("score = 80", Refused("`= 80` is not expected here: to compare, write `==`")),
        ("score === 80", Refused("write `==`")),
        ("score >=", Refused("ends too early")),
        ("(score > 1", Refused("ends too early")),
        ("score > 1)", Refused("`)` is not expected here")),
        ("score 80", Refused("`80` is not expected here")),
        ("isinstance(score, int)", Refused("`isinstance(...)` cannot be called")),
        ("status.lower() == 'x'", Refused("`.lower(...)` is not one of")),
        ("score // 2 == 1", Refused("`// 2 == 1` is not expected here")),
        ("tags[-1] == 'eu'", Refused("from the end")),
        ("tags is []", Refused("write `==`")),
        ("status == 'open", Refused("close it with '")),
        ("f'{score}' == '1'", Refused("plain quotes")),
        ("score == 0x50", Refused("is not a number")),
        ("a if b else c", Refused("`if b else c` is not expected here")),
        ("$score > 1", Refused("`$score > 1` is not understood")),
        ("", Refused("it is empty")),
    ]);
}

#[test]
fn an_output_need_not_be_an_object() {
    check(condition, "result > 10", &ok(json!(15.0)), &Holds);
    check(condition, "result", &ok(json!("")), &Not);
    check(condition, "result == 'done'", &ok(json!("done")), &Holds);
    check(condition, "is_ok==true", &ok(json!({"is_ok": true})), &Holds);
    check(condition, "is_ok==false", &ok(json!({"is_ok": true})), &Not);
    check(condition, "is_ok==true", &ok(json!(true)), &Unknown("a boolean has no fields"));
    check(condition, "score >= 80", &failed("ValueError"), &Unknown("`score` is not a field"));
}

#[test]
fn the_cel_of_a_condition_is_pinned() {
    for (text, cel) in [
        ("else", "true"),
        ("score >= 80", "result.score >= 80.0"),
        ("is_ok==true", "result.is_ok == true"),
        ("not items", "!truthy(result.items)"),
        ("a and b == 1 or not c", "truthy(result.a) && result.b == 1.0 || !truthy(result.c)"),
        ("0 < x <= 10", "0.0 < result.x && result.x <= 10.0"),
        ("result['größe'] in ('a', :b)", r#"result["größe"] in ["a", "b", ":b"]"#),
        ("'a' not in state.tags", r#"!within("a", state.tags)"#),
        ("status == :open", r#"result.status == "open" || result.status == ":open""#),
        ("status != :open", r#"!(result.status == "open" || result.status == ":open")"#),
        (
            "(result.get('n') or 2) * -x > len(inputs.list)",
            r#"(truthy(result.get("n")) ? result.get("n") : 2.0) * -result.x > size(inputs.list)"#,
        ),
        ("note is not None", "result.note != null"),
        ("x - (y - 1) == 'a\\n'", r#"result.x - (result.y - 1.0) == "a\n""#),
        ("x.startswith('p')", r#"result.x.startsWith("p")"#),
        ("result.package[0]", "truthy(result[\"package\"][0.0])"),
    ] {
        assert_eq!(condition(text).as_deref(), Ok(cel), "{text}");
    }
}

#[test]
fn a_named_function_is_cautioned_about() {
    assert!(caution("is_ok==true").expect("a caution").contains("the field `is_ok`"));
    assert!(caution("is_ok==false").is_some());
    for text in [
        "is_ok == true",
        "a.b==true",
        "score>=80",
        "<lambda>==true",
        "==true",
        "else",
        "true==true",
    ] {
        assert_eq!(caution(text), None, "{text}");
    }
}
