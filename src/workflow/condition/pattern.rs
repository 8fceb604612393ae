//! The text of a diverge pattern.

use serde_json::Value;

use super::{
    Condition, FAILED, SUCCEEDED, emit, python,
    rule::refuse_beyond_help,
    term::{Constant, Kind, Term},
};

/// The CEL of a diverge pattern.
///
/// Only `error`, `_`, a label and an object can hold for a failed step.
///
/// # Errors
///
/// Why it cannot be evaluated and what to write instead; for its author.
pub fn pattern(text: &str) -> Result<String, String> {
    let text = text.trim();
    refuse_beyond_help(text)?;
    let cel = translated(text)?;
    Condition::parse(&cel)?;
    Ok(cel)
}

fn translated(text: &str) -> Result<String, String> {
    match text {
        "error" | ":error" => return Ok(FAILED.to_owned()),
        "ok" | ":ok" => return Ok(SUCCEEDED.to_owned()),
        "_" => return Ok("true".to_owned()),
        _ => {}
    }
    if let Some(inner) = unquoted(text) {
        return Ok(format!("{SUCCEEDED} && spelled(result, {})", emit::quoted(inner)));
    }
    if text.starts_with(['{', '[', '(', '%']) {
        return structured(text);
    }
    if text.starts_with('<') {
        return Err(
            "a class or function cannot be matched: write the name of the label, or of the \
                    error as {\"kind\": \"ValueError\"}"
                .to_owned(),
        );
    }
    if ["==", "!=", ">=", "<=", " > ", " < "].iter().any(|sign| text.contains(sign)) {
        return Err(
            "a pattern is a value, not a comparison: write a branch with this condition, or \
                    the value that the output equals"
                .to_owned(),
        );
    }
    match python::parse_constant(text) {
        Ok(Term { kind: Kind::Constant(constant), .. }) => constant_cel(&constant, text),
        _ => Ok(label(text)),
    }
}

/// What stands between the quotes; the SDK puts them around a text without escaping it.
fn unquoted(text: &str) -> Option<&str> {
    ['"', '\''].iter().find_map(|quote| text.strip_prefix(*quote)?.strip_suffix(*quote))
}

fn label(text: &str) -> String {
    format!("labelled(outcome, result, {})", emit::quoted(text))
}

fn constant_cel(constant: &Constant, text: &str) -> Result<String, String> {
    let value = emit::value_of(&Term::constant(constant.clone()))?;
    Ok(match constant {
        Constant::Number(_) => {
            let spelling = emit::quoted(text);
            format!("{SUCCEEDED} && (result == {value} || result == {spelling})")
        }
        Constant::Null | Constant::Bool(_) => format!("{SUCCEEDED} && result == {value}"),
        Constant::Text(text) => label(text),
        Constant::Atom(name) => format!("{} || {}", label(name), label(&format!(":{name}"))),
    })
}

/// An object, of which the output must have the fields, or a list, which it must equal.
fn structured(text: &str) -> Result<String, String> {
    let term = match serde_json::from_str::<Value>(text) {
        Ok(json) => of_json(json)?,
        Err(_) => python::parse_constant(text).map_err(|_| advice(text))?,
    };
    let value = emit::value_of(&term)?;
    Ok(if matches!(term.kind, Kind::Object(_)) {
        format!("subset(result, {value})")
    } else {
        format!("{SUCCEEDED} && result == {value}")
    })
}

fn advice(text: &str) -> String {
    let what = if text.starts_with("{:") {
        "a tuple of Elixir never reaches the engine: write `ok`, `error`, or"
    } else {
        "not an object or list of constants: write"
    };
    format!("{what} the fields of the output as {{\"field\": \"value\"}}")
}

fn of_json(json: Value) -> Result<Term, String> {
    match json {
        Value::Null => Ok(Term::constant(Constant::Null)),
        Value::Bool(value) => Ok(Term::constant(Constant::Bool(value))),
        Value::Number(number) => {
            let number = number.as_f64().ok_or("a number is too large: write it as a text")?;
            Ok(Term::constant(Constant::Number(number)))
        }
        Value::String(text) => Ok(Term::constant(Constant::Text(text))),
        Value::Array(items) => {
            Term::of(Kind::List(items.into_iter().map(of_json).collect::<Result<_, _>>()?))
        }
        Value::Object(fields) => {
            let field = |(name, value)| Ok((name, of_json(value)?));
            Term::of(Kind::Object(fields.into_iter().map(field).collect::<Result<_, String>>()?))
        }
    }
}
