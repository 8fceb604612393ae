//! What holds for every text and payload.

use proptest::prelude::*;
use serde_json::Value;

use super::{
    super::{Condition, caution, condition, pattern},
    Ended, hold, ok,
};

fn json_values() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "[a-c]{0,3}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[a-c]|status|kind", inner, 0..4)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

/// Texts that are made of the words of the grammars, and so get far into them.
fn phrases() -> impl Strategy<Value = String> {
    let words = prop::sample::select(vec![
        "a",
        "b",
        "c",
        "result",
        "inputs",
        "state",
        "outcome",
        "and",
        "or",
        "not",
        "in",
        "is",
        "None",
        "True",
        "false",
        "nil",
        ":atom",
        "'t'",
        "\"a\"",
        "1",
        "2.5",
        "-",
        "+",
        "*",
        "/",
        "%",
        "(",
        ")",
        "[",
        "]",
        "{",
        "}",
        "%{",
        ",",
        ".",
        ".get(",
        ".startswith(",
        "len(",
        "==",
        "!=",
        "<",
        "<=",
        ">",
        "&&",
        "||",
        "!",
        "?",
        ":",
        "=>",
        "=",
        "has(",
        "size(",
        ".map(",
        "truthy(",
        "<lambda>",
        "ö",
        "\\",
        "'",
        "\"",
        "r",
        "b'",
        "//",
        "\0",
        "1e9",
        "0x1",
        "9u",
    ]);
    prop::collection::vec((words, prop::bool::ANY), 0..24).prop_map(|words| {
        words.into_iter().flat_map(|(word, space)| [word, if space { " " } else { "" }]).collect()
    })
}

/// Conditions that are well-formed.
fn sentences() -> impl Strategy<Value = String> {
    let leaf = prop::sample::select(vec![
        "a",
        "b",
        "result",
        "state.a",
        "inputs['b']",
        "1",
        "2.5",
        "'a'",
        "None",
        "true",
        ":a",
        "result.get('a')",
        "result.get('c', 1)",
        "[1, 'a']",
        "(1, :b)",
    ])
    .prop_map(str::to_owned);
    leaf.prop_recursive(5, 32, 2, |inner| {
        let binary = prop::sample::select(vec![
            "and", "or", "==", "!=", "<", ">=", "in", "not in", "+", "-", "*", "/", "%", "&&", "||",
        ]);
        prop_oneof![
            (inner.clone(), binary, inner.clone())
                .prop_map(|(a, sign, b)| format!("({a} {sign} {b})")),
            inner.clone().prop_map(|a| format!("not {a}")),
            inner.clone().prop_map(|a| format!("-({a})")),
            inner.prop_map(|a| format!("len({a})")),
        ]
    })
}

proptest! {
    #[test]
    fn no_text_panics_and_all_cel_parses(text in prop_oneof![any::<String>(), phrases(), sentences()]) {
        for cel in [pattern(&text), condition(&text)].into_iter().flatten() {
            prop_assert!(Condition::parse(&cel).is_ok(), "{}: {}", text, cel);
        }
        drop((Condition::parse(&text), caution(&text)));
    }

    #[test]
    fn holding_never_panics_and_always_answers_the_same(
        text in prop_oneof![phrases(), sentences()],
        result in json_values(),
        other in json_values(),
        failed in any::<bool>(),
    ) {
        let ended = Ended { failed, result, inputs: other.clone(), state: other };
        for cel in [pattern(&text), condition(&text)].into_iter().flatten() {
            let answer = hold(&cel, &ended);
            prop_assert_eq!(&answer, &hold(&cel, &ended));
            prop_assert!(answer.err().is_none_or(|reason| reason.chars().count() <= 200));
        }
    }

    #[test]
    fn a_json_pattern_matches_itself(value in json_values()) {
        if value.is_object() || value.is_array() {
            let cel = pattern(&value.to_string()).expect("a JSON pattern");
            prop_assert_eq!(hold(&cel, &ok(value)), Ok(true));
        }
    }
}
