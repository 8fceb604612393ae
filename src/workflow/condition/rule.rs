//! The text of a branch's condition.

use super::{Condition, TEXT_BYTES_MAX, emit, lexer, python, term::Kind};

/// Conditions of the branch that takes what no other took.
const ALWAYS: &[&str] = &["else", "otherwise", "_", "true", "True"];

/// What a function that has no name of its own looks like once it is text.
const CODE: &[&str] =
    &["<lambda>", "<locals>", "<function", "<bound method", "<built-in", "anonymous_condition"];

/// The CEL of a branch condition, written in Python's or Elixir's way.
///
/// # Errors
///
/// Why it cannot be evaluated, where, and what to write instead; for its author.
pub fn condition(text: &str) -> Result<String, String> {
    let text = text.trim();
    refuse_beyond_help(text)?;
    if ALWAYS.contains(&text) {
        return Ok("true".to_owned());
    }
    let cel = emit::truth_of(&python::parse(text)?)?;
    Condition::parse(&cel)?;
    Ok(cel)
}

/// What the author of an evaluable condition should know, because it may not mean what they think.
///
/// The DSL sends a function that it is given by its name, as `is_ok==true` and `is_ok==false`.
pub fn caution(text: &str) -> Option<String> {
    let name = text.strip_suffix("==true").or_else(|| text.strip_suffix("==false"))?;
    let of_output = Kind::Variable("result");
    let is_field = matches!(
        python::parse(name).ok()?.kind,
        Kind::Field(of, field) if of.kind == of_output && field == name
    );
    (is_field && condition(text).is_ok()).then(|| {
        let name = lexer::place(name);
        format!(
            "it is read as the field `{name}` of the step's output: a function of that name \
             never reaches the engine. Return the field from the step, or write a comparison, such \
             as `score >= 80`"
        )
    })
}

/// Refuses a text that no grammar could help.
pub(super) fn refuse_beyond_help(text: &str) -> Result<(), String> {
    if text.len() > TEXT_BYTES_MAX {
        return Err(format!(
            "it is over {TEXT_BYTES_MAX} bytes: let a step compute it and return a field"
        ));
    }
    if text.is_empty() {
        return Err("it is empty: write a condition such as `score >= 80`, or `else`".to_owned());
    }
    if CODE.iter().any(|code| text.contains(code)) {
        return Err("the code of a lambda or function never reaches the engine: return the field \
                    from the step and write \"field == true\", write \
                    WorkflowBuilder.branch(..).if_(\"score >= 80\", skip_to=..), or diverge on the \
                    step's output"
            .to_owned());
    }
    Ok(())
}
