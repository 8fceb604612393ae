//! CEL that an author wrote.

use serde_json::json;

use super::{
    super::{Condition, pattern},
    Answer::{Holds, Refused, Unknown},
    check, hold, ok,
};

#[test]
fn a_condition_says_what_it_reads_and_whether_it_is_of_failures() {
    let parsed = |cel: &str| Condition::parse(cel).expect("a condition");
    let reads = parsed("result.a == inputs.a || state.b == 1");
    assert!(reads.reads_inputs() && reads.reads_state() && !reads.is_of_failure());
    let reads = parsed("result.inputs == \"state\"");
    assert!(!reads.reads_inputs() && !reads.reads_state());
    assert!(parsed(&pattern("error").expect("a pattern")).is_of_failure());
    assert!(!parsed(&pattern("_").expect("a pattern")).is_of_failure());
    assert_eq!(reads.cel(), "result.inputs == \"state\"");
}

#[test]
fn cel_of_an_author_is_held_to_the_dialect() {
    let ended = ok(json!({"n": 5, "list": [1, 2], "text": "abc", "no": null}));
    for (cel, expected) in [
        ("result.n + 1 == 6 && result.n > 4u", Holds),
        ("has(result.n) && !has(result.m)", Holds),
        ("result.list[1] == 2 && 2 in result.list && size(result.list) == 2.0", Holds),
        ("result.text.contains('b') && result.text.startsWith('a')", Holds),
        ("result.m == 1 || true", Unknown("`m` is not a field of the output")),
        ("true || result.m == 1", Holds),
        ("result.n && true", Unknown("a number stands where true or false is needed")),
        ("true && result.n", Unknown("it is a number, not true or false")),
        ("result.n", Unknown("it is a number, not true or false")),
        ("result[result.text] == 1", Unknown("a field that it looks up")),
        ("!result.n", Unknown("`!` does not apply to a number")),
        ("-result.text == 1", Unknown("`-` does not apply to a text")),
        ("1 in result.n", Unknown("`in` needs a list or an object, not a number")),
        ("result.list.all(x, x > 0)", Refused("not supported")),
        ("result.list.map(x, x)[0] == 1", Refused("not supported")),
        ("result.list.filter(x, true) == []", Refused("not supported")),
        ("result.list.exists(x, x > 0)", Refused("not supported")),
        ("result.list.exists_one(x, x > 0)", Refused("not supported")),
        ("int(result.n) == 5", Refused("`int` is not one of")),
        ("result.text.matches('a+')", Refused("`matches` is not one of")),
        ("result.size() == 1", Refused("not called like that")),
        ("n > 5", Refused("write `result.n`")),
        ("[result.n] == [5]", Refused("of constants")),
        ("{result.n: 1} == {}", Refused("write {\"field\": 1.0}")),
        ("result.text == b'abc'", Refused("no raw, byte")),
        ("result.text == '''abc'''", Refused("triple-quoted")),
        ("result.n == 5 // five", Refused("comments")),
        ("result.größe == 5", Refused("result[\"größe\"]")),
        ("Point{x: 1} == result", Refused("messages are not supported")),
        ("result.?n == 5", Refused("not a condition in CEL")),
        ("result.n ==", Refused("not a condition in CEL")),
        ("result.text == 'abc", Refused("close it with '")),
        ("", Refused("not a condition in CEL")),
    ] {
        check(|cel| Condition::parse(cel).map(|it| it.cel().to_owned()), cel, &ended, &expected);
    }
}

#[test]
fn a_reason_says_nothing_of_the_payload() {
    let secret = ok(json!({"key": "sesame", "n": 1, "list": ["sesame"]}));
    for cel in [
        "result[result.key] == 1",
        "result.key > 1",
        "result.key - 1 == 1",
        "result.list[result.key] == 1",
        "result.key",
        "result.list.get(\"a\")",
        "size(result.n) == 1",
        "result.key in result.key",
    ] {
        let reason = hold(cel, &secret).expect_err(cel);
        assert!(!reason.contains("sesame"), "{cel}: {reason}");
    }
}
