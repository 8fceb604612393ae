//! The walk over parsed CEL that holds it to the dialect.
//!
//! The parser knows neither which variables and functions there are, nor what the dialect means
//! otherwise than CEL: nodes that mean the same are let be, the others replaced or refused.

use cel::{
    IdedExpr,
    common::{
        ast::{CallExpr, EntryExpr, Expr, LiteralValue, operators},
        types::{CelBool, CelDouble},
    },
};
use serde_json::Value as Json;

use super::{
    NESTING_MAX,
    functions::{FUNCTIONS, Function, OPERATORS},
};

/// How high the tree may be. Measured: a level takes the evaluator 50 KiB of stack, optimized or
/// not, and a worker of the runtime has 2 MiB.
const HEIGHT_MAX: usize = 16;
/// Ends every complaint about CEL that does not parse.
pub(super) const EXAMPLE: &str = "write a condition such as `result.score >= 80.0`";

/// The variables of payloads that a program names.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Reads {
    pub result: bool,
    pub inputs: bool,
    pub state: bool,
}

/// The variable that a constant is bound to; it cannot be written in CEL.
pub(super) fn constant_name(place: usize) -> String {
    format!("@{place}")
}

/// Checks a tree and gives its nodes the meaning that they have in the dialect.
#[derive(Default)]
pub(super) struct Preparation {
    /// The lists and objects that stand in the text, taken out of the tree: they may be high.
    pub constants: Vec<Json>,
    pub reads: Reads,
}

impl Preparation {
    /// Prepares the tree under `root`; the error says what to write instead.
    pub(super) fn of(root: &mut IdedExpr) -> Result<Self, String> {
        let mut preparation = Self::default();
        preparation.prepare(root, HEIGHT_MAX)?;
        Ok(preparation)
    }

    fn prepare(&mut self, node: &mut IdedExpr, levels: usize) -> Result<(), String> {
        if let Some(variable) = path_root(node) {
            return self.reads.note(variable);
        }
        let Some(levels) = levels.checked_sub(1) else { return Err(too_nested()) };
        match &mut node.expr {
            Expr::Literal(literal) => prepare_literal(literal),
            Expr::Ident(name) => self.reads.note(name),
            Expr::Select(select) => self.prepare(&mut select.operand, levels),
            Expr::Call(call) => {
                for part in call.target.as_deref_mut().into_iter().chain(&mut call.args) {
                    self.prepare(part, levels)?;
                }
                prepare_call(call)
            }
            Expr::List(_) | Expr::Map(_) => {
                let constant = constant(node, NESTING_MAX)?;
                node.expr = Expr::Ident(constant_name(self.constants.len()));
                self.constants.push(constant);
                Ok(())
            }
            Expr::Comprehension(_) => Err("`map`, `filter`, `all`, `exists` and `exists_one` are \
                                           not supported: let the step compute it and return a \
                                           field"
                .to_owned()),
            Expr::Struct(_) => Err(format!("messages are not supported: {EXAMPLE}")),
            Expr::Unspecified => Err(format!("a part is missing: {EXAMPLE}")),
        }
    }
}

/// The variable whose fields `node` looks up, if it does nothing else; that takes no recursion.
fn path_root(node: &IdedExpr) -> Option<&str> {
    let mut node = node;
    loop {
        match &node.expr {
            Expr::Ident(name) => return Some(name),
            Expr::Select(select) => node = &select.operand,
            Expr::Call(_)
            | Expr::Comprehension(_)
            | Expr::List(_)
            | Expr::Literal(_)
            | Expr::Map(_)
            | Expr::Struct(_)
            | Expr::Unspecified => return None,
        }
    }
}

impl Reads {
    fn note(&mut self, name: &str) -> Result<(), String> {
        let read = match name {
            "result" => &mut self.result,
            "outcome" => return Ok(()),
            "inputs" => &mut self.inputs,
            "state" => &mut self.state,
            _ => {
                return Err(format!(
                    "`{name}` is none of result, outcome, inputs, state: for a field of the output \
                     write `result.{name}`"
                ));
            }
        };
        *read = true;
        Ok(())
    }
}

fn prepare_literal(literal: &mut LiteralValue) -> Result<(), String> {
    if matches!(literal, LiteralValue::Int(_) | LiteralValue::UInt(_) | LiteralValue::Bytes(_)) {
        *literal = LiteralValue::Double(CelDouble::from(number(literal)?));
    }
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "JSON numbers are doubles, so is what they meet")]
fn number(literal: &LiteralValue) -> Result<f64, String> {
    match literal {
        LiteralValue::Int(number) => Ok(*number.inner() as f64),
        LiteralValue::UInt(number) => Ok(*number.inner() as f64),
        LiteralValue::Double(number) => Ok(*number.inner()),
        LiteralValue::Boolean(_)
        | LiteralValue::Bytes(_)
        | LiteralValue::Null
        | LiteralValue::String(_) => Err("bytes are not supported: write a \"text\"".to_owned()),
    }
}

/// A list or an object; of constants, so that no text can copy a payload many times.
fn constant(node: &IdedExpr, levels: usize) -> Result<Json, String> {
    let Some(levels) = levels.checked_sub(1) else { return Err(too_nested()) };
    match &node.expr {
        Expr::Literal(LiteralValue::Null) => Ok(Json::Null),
        Expr::Literal(LiteralValue::Boolean(value)) => Ok(Json::from(*value.inner())),
        Expr::Literal(LiteralValue::String(text)) => Ok(Json::from(text.inner())),
        Expr::Literal(literal) => Ok(Json::from(number(literal)?)),
        Expr::List(list) => list.elements.iter().map(|element| constant(element, levels)).collect(),
        Expr::Map(map) => map.entries.iter().map(|entry| field(&entry.expr, levels)).collect(),
        Expr::Ident(_)
        | Expr::Select(_)
        | Expr::Call(_)
        | Expr::Comprehension(_)
        | Expr::Struct(_)
        | Expr::Unspecified => {
            Err("lists and objects are of constants: compare the parts with `==` and `||`"
                .to_owned())
        }
    }
}

fn field(entry: &EntryExpr, levels: usize) -> Result<(String, Json), String> {
    if let EntryExpr::MapEntry(entry) = entry
        && let Expr::Literal(LiteralValue::String(name)) = &entry.key.expr
    {
        return Ok((name.inner().to_owned(), constant(&entry.value, levels)?));
    }
    Err("the name of a field is a text: write {\"field\": 1.0}".to_owned())
}

fn prepare_call(call: &mut CallExpr) -> Result<(), String> {
    match call.func_name.as_str() {
        operators::LOGICAL_AND => choose(call, |left, right| [left, right, literal(false)]),
        operators::LOGICAL_OR => choose(call, |left, right| [left, literal(true), right]),
        operators::CONDITIONAL
        | operators::EQUALS
        | operators::NOT_EQUALS
        | operators::LESS
        | operators::LESS_EQUALS
        | operators::GREATER
        | operators::GREATER_EQUALS
        | operators::IN
        | operators::INDEX
        | operators::LOGICAL_NOT
        | operators::NEGATE => {}
        name => match OPERATORS.iter().find(|(operator, _)| *operator == name) {
            Some((_, function)) => function.name.clone_into(&mut call.func_name),
            None => check_function(call)?,
        },
    }
    Ok(())
}

/// Makes `&&` or `||` the choice that it is an abbreviation of: CEL's own would let the right side
/// make up for an error on the left.
fn choose(call: &mut CallExpr, choice: impl FnOnce(IdedExpr, IdedExpr) -> [IdedExpr; 3]) {
    let mut sides = std::mem::take(&mut call.args);
    if let (Some(right), Some(left)) = (sides.pop(), sides.pop()) {
        call.args = choice(left, right).into();
    }
    operators::CONDITIONAL.clone_into(&mut call.func_name);
}

fn literal(value: bool) -> IdedExpr {
    IdedExpr { id: 0, expr: Expr::Literal(LiteralValue::Boolean(CelBool::from(value))) }
}

fn check_function(call: &CallExpr) -> Result<(), String> {
    let name = &call.func_name;
    let arguments = call.args.len() + usize::from(call.target.is_some());
    let fits = |function: &&Function| {
        function.member == call.target.is_some() && function.arguments.contains(&arguments)
    };
    let mut named = FUNCTIONS.iter().filter(|function| function.name == name).peekable();
    if named.peek().is_none() {
        let known: Vec<&str> = FUNCTIONS.iter().map(|function| function.name).collect();
        return Err(format!(
            "`{name}` is not one of has, {}: let the step compute it",
            known.join(", ")
        ));
    }
    match named.find(fits) {
        Some(_) => Ok(()),
        None => Err(format!("`{name}` is not called like that: see its form in the documentation")),
    }
}

/// Says that the text has an end.
pub(super) fn too_nested() -> String {
    "it is nested too deeply or too long: let a step compute a part of it".to_owned()
}
