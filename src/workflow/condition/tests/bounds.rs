//! Texts that are too long, too deep or too productive.

use serde_json::json;

use super::{
    super::{Condition, condition, pattern},
    hold, ok,
};

#[test]
fn long_and_deep_texts_are_refused() {
    let nested =
        |open: &str, close: &str, times| format!("{}x{}", open.repeat(times), close.repeat(times));
    let deep = [
        nested("(", ")", 900),
        nested("not ", "", 400),
        nested("-", "", 1900),
        nested("!", "", 1900),
        nested("[", "]", 900),
        nested("len(", ")", 300),
        nested("x[", "]", 500),
        nested("{\"a\":", "}", 300),
        nested("(x or ", ")", 200),
        nested("(0 < ", " < x)", 90),
        nested("x + ", "", 400),
        nested("x.", "", 900),
        "(".repeat(1900),
        "!(".repeat(900),
        "!!(!!!!!!(!!!!(((((!!(!!(!!!!((".repeat(60),
        "x ".repeat(1500),
    ];
    for text in &deep {
        assert!(condition(text).is_err(), "{text}");
        assert!(Condition::parse(text).is_err(), "{text}");
        assert!(!text.starts_with('{') || pattern(text).is_err(), "{text}");
    }
    for cel in [
        nested("true ? x : ", "", 300),
        nested("{\"a\": ", "}", 200),
        nested("[", "]", 400),
        "1 == 1 && ".repeat(390) + "true",
    ] {
        assert!(Condition::parse(&cel).is_err(), "{cel}");
    }
}

#[test]
fn what_is_allowed_is_evaluated_without_exhausting_the_stack() {
    let ended = ok(json!({"x": 1.0}));
    let sums = format!("{} > 1.0", vec!["result.x"; 14].join(" + "));
    let both = vec!["result.x == 1.0"; 90].join(" && ");
    let choices = format!("{}true", "result.x == 2.0 ? false : ".repeat(14));
    let parens = format!("{}result.x{} == 15.0", "(1.0 + ".repeat(14), ")".repeat(14));
    let object = format!("!subset(result, {}1.0{})", "{\"x\": ".repeat(48), "}".repeat(48));
    for cel in [sums, both, choices, parens, object] {
        assert_eq!(hold(&cel, &ended), Ok(true), "{cel}");
    }
}

#[test]
fn texts_cannot_be_multiplied() {
    let ended = ok(json!({"text": "x".repeat(40_000)}));
    assert_eq!(
        hold("result.text + result.text == \"\"", &ended),
        Err("`+` would make a text of over 64 KiB".to_owned())
    );
}
