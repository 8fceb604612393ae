//! When a rule of a blueprint applies: its text, once, into CEL; the CEL, at every step, into yes or no.
//!
//! Owns the translation of what authors write ([`pattern()`], [`condition()`]) and the CEL dialect
//! that is stored in its place. Never runs an author's code, and never runs for long: the dialect has no
//! loops, and texts, nesting and made-up strings are bounded.
//!
//! The CEL text is part of the blueprint and kept for ever, so what it means is public API:
//!
//! | variable | is |
//! |---|---|
//! | `result` | the step's output, out of its envelope; of a failed step `{"error": message, "kind": kind}` |
//! | `outcome` | `"ok"`, or `"error"` for a failed step |
//! | `inputs` | the inputs of the workflow |
//! | `state` | what the step was called with |
//!
//! | function | is |
//! |---|---|
//! | `has(x.k)` | `x` has the field `k` |
//! | `size(x)` | how many characters, elements or fields |
//! | `x.get("k")`, `x.get("k", d)` | the field `k` of the object `x`; without it `null`, or `d` |
//! | `x.startsWith("p")`, `x.endsWith("s")`, `x.contains("m")` | of texts, letter by letter |
//! | `truthy(x)` | Python's truth: not `null`, `false`, zero or empty |
//! | `within(a, x)` | an element of a list, a field of an object, or a part of a text |
//! | `labelled(outcome, result, "x")` | the output is `"x"`, or its field `status` or `type` is; of a failed step, its `kind` is |
//! | `spelled(x, "t")` | Python's `str(x)` is `t`, for a text, number, boolean or null |
//! | `subset(x, {...})` | `x` has these fields: an object with a subset again, anything else equal |
//!
//! Where it differs from CEL:
//! * Every number is a double, of literals too: `5`, `5u` and `5.0` are one value.
//! * `a && b` is `a ? b : false` and `a || b` is `a ? true : b`: an error on the left is an error of
//!   the whole.
//! * `+` adds numbers or joins texts; a zero after `/` or `%` is an error; `%` takes the sign of its
//!   right side, as in Python.
//! * Lists and objects are written of constants only.
//! * There is nothing else: no macros but `has`, no conversions, types, bytes, raw or triple-quoted
//!   texts, or comments.
//!
//! `==` between different types is false, an order between them an error, a missing field an error.
//! An error is never true: [`Condition::holds`] gives its reason, free of payload data.

mod emit;
mod functions;
mod lexer;
mod pattern;
mod prepare;
mod program;
mod python;
mod reason;
mod rule;
mod scan;
mod term;
#[cfg(test)]
mod tests;
mod value;

use std::sync::Arc;

use serde_json::Value;

pub use self::{
    pattern::pattern,
    rule::{caution, condition},
};

/// The longest text that an author may write for one rule.
const TEXT_BYTES_MAX: usize = 2_000;
/// The longest CEL: a translation is longer than what it was made of.
const CEL_BYTES_MAX: usize = 2 * TEXT_BYTES_MAX;
/// How deeply anything may be nested.
const NESTING_MAX: usize = 50;
/// The CEL of a failure, and of nothing else.
const FAILED: &str = r#"outcome == "error""#;
/// The CEL of whatever happens.
const ALWAYS: &str = "true";
/// The CEL of a success, and of nothing else.
const SUCCEEDED: &str = r#"outcome == "ok""#;

/// A condition of a rule, parsed once.
#[derive(Clone, Debug)]
pub struct Condition {
    cel: Arc<str>,
    program: Arc<program::Program>,
}

/// What a condition is held against: one step that ended.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// Whether the step failed; `result` is then `{"error": message, "kind": kind}`.
    pub failed: bool,
    /// Its output, out of the `ok` or `value` envelope.
    pub result: &'a Value,
    /// The workflow's inputs; needed by a condition that [reads](Condition::reads_inputs) them.
    pub inputs: Option<&'a Value>,
    /// What the step was called with; needed by a condition that [reads](Condition::reads_state) it.
    pub state: Option<&'a Value>,
}

impl Condition {
    /// Parses CEL of the dialect that this module documents.
    ///
    /// # Errors
    ///
    /// What is wrong with `cel` and what to write instead, for its author.
    pub fn parse(cel: &str) -> Result<Self, String> {
        let program = program::Program::parse(cel).map_err(|reason| reason::capped(&reason))?;
        Ok(Self { cel: cel.into(), program: Arc::new(program) })
    }

    /// The text that it was parsed from.
    pub fn cel(&self) -> &str {
        &self.cel
    }

    /// Whether it names the workflow's inputs.
    pub fn reads_inputs(&self) -> bool {
        self.program.reads.inputs
    }

    /// Whether it names what the step was called with.
    pub fn reads_state(&self) -> bool {
        self.program.reads.state
    }

    /// Whether it is exactly the pattern `error`, and so can only hold for a failed step.
    ///
    /// False does not mean that it cannot hold for one: `_`, a kind or an object may.
    pub fn is_of_failure(&self) -> bool {
        self.cel.trim() == FAILED
    }

    /// Whether it holds for every step, as the pattern `_` and the condition `else` do.
    pub fn is_always(&self) -> bool {
        self.cel.trim() == ALWAYS
    }

    /// Whether it holds for the step of `view`.
    ///
    /// Deterministic. Costs a copy of the structure (not the texts) of what it reads.
    ///
    /// # Errors
    ///
    /// Why it could not be evaluated, in at most 200 characters and without payload data: take it
    /// as false, and record the reason.
    pub fn holds(&self, view: &View<'_>) -> Result<bool, String> {
        self.program.holds(view).map_err(|reason| reason::capped(&reason))
    }
}
