//! What an author's condition says, between its text and its CEL.

use super::NESTING_MAX;

/// A part of a condition, with how high the parts under it are stacked.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Term {
    pub kind: Kind,
    height: usize,
}

/// What a part is.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Kind {
    Constant(Constant),
    /// A list or a tuple.
    List(Vec<Term>),
    /// An object, of a pattern only.
    Object(Vec<(String, Term)>),
    /// `result`, `inputs` or `state`.
    Variable(&'static str),
    /// A field by its name.
    Field(Box<Term>, String),
    /// An element by its number, or a field by a computed name.
    Item(Box<Term>, Box<Term>),
    /// A function of the dialect, called on its first argument when it is a member.
    Call(&'static str, Vec<Term>),
    Negative(Box<Term>),
    Not(Box<Term>),
    /// `+ - * / %`, in CEL's spelling.
    Arithmetic(&'static str, Box<Term>, Box<Term>),
    /// The first term, and each next one with how it compares to the one before.
    Compare(Box<Term>, Vec<(Comparison, Term)>),
    /// Python's `and`, `or`: their value is one of the sides.
    Logic(Logic, Vec<Term>),
}

/// A value that stands in the text.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Constant {
    Null,
    Bool(bool),
    Number(f64),
    Text(String),
    /// Of Elixir; reaches the engine as its name, with or without the colon.
    Atom(String),
}

/// How two values compare.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Comparison {
    Equal,
    NotEqual,
    /// `< <= > >=`, in CEL's spelling.
    Order(&'static str),
    In,
    NotIn,
}

/// How truths combine.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Logic {
    And,
    Or,
}

impl Term {
    /// The part that is `kind`, unless the parts are stacked too high.
    pub(super) fn of(kind: Kind) -> Result<Self, String> {
        let height = 1 + parts(&kind).into_iter().map(|part| part.height).max().unwrap_or(0);
        if height > NESTING_MAX {
            return Err(too_nested());
        }
        Ok(Self { kind, height })
    }

    /// The part that is a value in the text.
    pub(super) fn constant(constant: Constant) -> Self {
        Self { kind: Kind::Constant(constant), height: 1 }
    }
}

/// Says that the nesting has an end.
pub(super) fn too_nested() -> String {
    format!("it is nested over {NESTING_MAX} levels deep: let a step compute a part of it")
}

fn parts(kind: &Kind) -> Vec<&Term> {
    match kind {
        Kind::Constant(_) | Kind::Variable(_) => vec![],
        Kind::List(terms) | Kind::Call(_, terms) | Kind::Logic(_, terms) => terms.iter().collect(),
        Kind::Object(fields) => fields.iter().map(|(_, term)| term).collect(),
        Kind::Field(term, _) | Kind::Negative(term) | Kind::Not(term) => vec![term],
        Kind::Item(left, right) | Kind::Arithmetic(_, left, right) => vec![left, right],
        Kind::Compare(first, rest) => {
            std::iter::once(&**first).chain(rest.iter().map(|(_, term)| term)).collect()
        }
    }
}
