//! CEL text, checked and made ready to be evaluated.
//!
//! Invariants of a [`Program`], which [`scan`](super::scan) and [`prepare`](super::prepare) uphold:
//! * it names known variables and functions only, so that evaluation finds them;
//! * it has no loop and no node that the evaluator panics on;
//! * its height is bounded, so that evaluation cannot exhaust the stack.

use cel::{
    Context, IdedExpr, Value,
    common::types::{CelBool, CelString},
    parser::PrattParser,
};
use serde_json::Value as Json;

use super::{
    View,
    functions::ENVIRONMENT,
    prepare::{EXAMPLE, Preparation, Reads, constant_name, too_nested},
    reason,
    scan::scan,
    value,
};

/// A condition, ready to be evaluated.
#[derive(Debug)]
pub(super) struct Program {
    cel: String,
    expression: IdedExpr,
    /// The lists and objects that stand in the text, taken out of the tree: they may be high.
    constants: Vec<Json>,
    pub(super) reads: Reads,
}

impl Program {
    /// Parses and checks `cel`; the error says what to write instead.
    pub(super) fn parse(cel: &str) -> Result<Self, String> {
        scan(cel)?;
        let mut expression = PrattParser::new().parse(cel).map_err(|errors| {
            let what = errors.errors.first().map_or("", |error| error.msg.as_str());
            format!("not a condition in CEL ({what}): {EXAMPLE}")
        })?;
        let Preparation { constants, reads } = Preparation::of(&mut expression)?;
        Ok(Self { cel: cel.to_owned(), expression, constants, reads })
    }

    /// Whether it holds for `view`; the error says why that cannot be told.
    pub(super) fn holds(&self, view: &View<'_>) -> Result<bool, String> {
        let mut context = Context::with_env(ENVIRONMENT.clone());
        let variables = [
            ("result", self.reads.result, Some(view.result)),
            ("inputs", self.reads.inputs, view.inputs),
            ("state", self.reads.state, view.state),
        ];
        for (name, _, json) in variables.into_iter().filter(|(_, read, _)| *read) {
            let json = json.ok_or_else(|| format!("`{name}` was not at hand"))?;
            let value = value::of(json).ok_or_else(|| format!("`{name}` is nested too deeply"))?;
            context.add_variable_as_val(name, value);
        }
        for (place, json) in self.constants.iter().enumerate() {
            let value = value::of(json).ok_or_else(too_nested)?;
            context.add_variable_as_val(constant_name(place), value);
        }
        let outcome = if view.failed { "error" } else { "ok" };
        context.add_variable_as_val("outcome", Box::new(CelString::from(outcome)));
        let answer = Value::resolve_val(&self.expression, &context)
            .map_err(|error| reason::of(&error, &self.cel, self.reads_output_alone()))?;
        match answer.downcast_ref::<CelBool>() {
            Some(holds) => Ok(*holds.inner()),
            None => {
                Err(format!("it is {}, not true or false", reason::kind(answer.get_type().name())))
            }
        }
    }

    fn reads_output_alone(&self) -> bool {
        !self.reads.inputs && !self.reads.state
    }
}
