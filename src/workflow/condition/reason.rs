//! Why a condition could not be evaluated, in the words of the one who wrote it.
//!
//! Never passes on what CEL itself says: its messages quote values, and values are payload.

use cel::ExecutionError;

/// The longest reason: it is recorded in the history of a run.
const REASON_CHARS_MAX: usize = 200;

/// `reason`, cut to the length that is recorded.
pub(super) fn capped(reason: &str) -> String {
    if reason.chars().count() <= REASON_CHARS_MAX {
        return reason.to_owned();
    }
    let cut: String = reason.chars().take(REASON_CHARS_MAX - 3).collect();
    cut + "..."
}

/// What went wrong in `cel`, which reads the output alone when `of_output`.
pub(super) fn of(error: &ExecutionError, cel: &str, of_output: bool) -> String {
    #[expect(clippy::wildcard_enum_match_arm, reason = "the enum is open, most cannot happen here")]
    match error {
        ExecutionError::NoSuchKey(name) => missing(name, cel, of_output),
        ExecutionError::NoSuchOverload(error) => unfit(
            error.function(),
            &error.argument_types().iter().map(|name| kind(name)).collect::<Vec<_>>(),
        ),
        ExecutionError::UnexpectedType { got, .. } => {
            format!("{} stands where true or false is needed", kind(got))
        }
        ExecutionError::IndexOutOfBounds(_) => "the list has no such element".to_owned(),
        ExecutionError::FunctionError { message, .. } => message.clone(),
        _ => "it could not be evaluated".to_owned(),
    }
}

/// A name that does not stand in the text was computed from a payload and is not repeated.
fn missing(name: &str, cel: &str, of_output: bool) -> String {
    let owner = if of_output { "the output" } else { "what it is looked up in" };
    if cel.contains(name) {
        format!("`{name}` is not a field of {owner}")
    } else {
        format!("a field that it looks up is not one of {owner}")
    }
}

fn unfit(operator: &str, kinds: &[&str]) -> String {
    match (operator.trim_matches(['_', '@']), kinds) {
        ("." | "[_]", [of, ..]) => format!("{of} has no fields to look up"),
        ("in", [.., list]) => format!("`in` needs a list or an object, not {list}"),
        ("!" | "-", [one]) => format!("`{}` does not apply to {one}", operator.trim_matches('_')),
        (operator, [left, right]) => format!("`{operator}` does not compare {left} with {right}"),
        (operator, _) => format!("`{operator}` does not apply to that"),
    }
}

/// A CEL type, as authors call it.
pub(super) fn kind(cel: &str) -> &'static str {
    match cel {
        "bool" => "a boolean",
        "double" | "int" | "uint" => "a number",
        "string" => "a text",
        "list" => "a list",
        "map" => "an object",
        "null_type" => "null",
        _ => "a value",
    }
}
