//! The CEL of a condition.
//!
//! Its text is stored: a change of it changes no meaning, but the tests that pin it say so.

use std::fmt::Write as _;

use super::{
    CEL_BYTES_MAX,
    term::{Comparison, Constant, Kind, Logic, Term, too_nested},
};

/// How tightly a piece of CEL binds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Binding {
    Choice,
    Or,
    And,
    Relation,
    Sum,
    Product,
    Prefix,
    Whole,
}

/// A piece of CEL.
struct Piece {
    text: String,
    binding: Binding,
}

impl Piece {
    /// Bounded, because a term that stands twice in CEL may itself contain one that does.
    fn of(text: String, binding: Binding) -> Result<Self, String> {
        if text.len() > CEL_BYTES_MAX { Err(too_nested()) } else { Ok(Self { text, binding }) }
    }

    fn whole(text: String) -> Result<Self, String> {
        Self::of(text, Binding::Whole)
    }

    /// Its text, in parentheses unless it binds at least as tightly as `least`.
    fn at_least(self, least: Binding) -> String {
        if self.binding < least { format!("({})", self.text) } else { self.text }
    }
}

/// The CEL that is true when `term` is, in Python's sense.
pub(super) fn truth_of(term: &Term) -> Result<String, String> {
    Ok(truth(term)?.text)
}

/// The CEL that has the value of `term`.
pub(super) fn value_of(term: &Term) -> Result<String, String> {
    Ok(value(term)?.text)
}

/// `text` as a literal.
pub(super) fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for letter in text.chars() {
        match letter {
            '"' | '\\' => quoted.extend(['\\', letter]),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            letter if letter.is_control() => {
                write!(quoted, "\\u{:04x}", u32::from(letter)).expect("a String takes any text");
            }
            letter => quoted.push(letter),
        }
    }
    quoted.push('"');
    quoted
}

/// `number` as a literal: always a double.
pub(super) fn number(number: f64) -> String {
    format!("{number:?}")
}

fn truth(term: &Term) -> Result<Piece, String> {
    if let Kind::Logic(logic, sides) = &term.kind {
        return joined(*logic, sides.iter().map(truth));
    }
    if let Kind::Not(inner) = &term.kind {
        return negated(truth(inner)?);
    }
    if is_boolean(term) {
        return value(term);
    }
    Piece::whole(format!("truthy({})", value(term)?.text))
}

/// Whether the value is a boolean whatever the payload.
fn is_boolean(term: &Term) -> bool {
    match &term.kind {
        Kind::Constant(Constant::Bool(_)) | Kind::Not(_) | Kind::Compare(..) => true,
        Kind::Call(function, _) => ["startsWith", "endsWith"].contains(function),
        Kind::Logic(_, sides) => sides.iter().all(is_boolean),
        Kind::Constant(_)
        | Kind::List(_)
        | Kind::Object(_)
        | Kind::Variable(_)
        | Kind::Field(..)
        | Kind::Item(..)
        | Kind::Negative(_)
        | Kind::Arithmetic(..) => false,
    }
}

fn value(term: &Term) -> Result<Piece, String> {
    match &term.kind {
        Kind::Constant(constant) => Piece::whole(constant_value(constant)),
        Kind::List(terms) => Piece::whole(list(terms)?),
        Kind::Object(fields) => Piece::whole(object(fields)?),
        Kind::Variable(name) => Piece::whole((*name).to_owned()),
        Kind::Field(of, name) => {
            let of = value(of)?.at_least(Binding::Whole);
            Piece::whole(if is_plain(name) {
                format!("{of}.{name}")
            } else {
                format!("{of}[{}]", quoted(name))
            })
        }
        Kind::Item(of, index) => {
            let of = value(of)?.at_least(Binding::Whole);
            Piece::whole(format!("{of}[{}]", value(index)?.text))
        }
        Kind::Call(function, arguments) => call(function, arguments),
        Kind::Negative(inner) => {
            Piece::of(format!("-{}", value(inner)?.at_least(Binding::Whole)), Binding::Prefix)
        }
        Kind::Not(_) => truth(term),
        Kind::Arithmetic(sign, left, right) => {
            let (binding, tighter) = match *sign {
                "+" | "-" => (Binding::Sum, Binding::Product),
                _ => (Binding::Product, Binding::Prefix),
            };
            let (left, right) = (value(left)?.at_least(binding), value(right)?.at_least(tighter));
            Piece::of(format!("{left} {sign} {right}"), binding)
        }
        Kind::Compare(first, rest) => compare(first, rest),
        Kind::Logic(..) if is_boolean(term) => truth(term),
        Kind::Logic(logic, sides) => chosen(*logic, sides),
    }
}

/// The side that decides, as a value.
fn chosen(logic: Logic, sides: &[Term]) -> Result<Piece, String> {
    let Some((first, rest)) = sides.split_first() else { return Err(too_nested()) };
    if rest.is_empty() {
        return value(first);
    }
    let decides = truth(first)?.at_least(Binding::Or);
    let this = value(first)?.at_least(Binding::Or);
    let next = chosen(logic, rest)?;
    let text = match logic {
        Logic::Or => format!("{decides} ? {this} : {}", next.at_least(Binding::Choice)),
        Logic::And => format!("{decides} ? {} : {this}", next.at_least(Binding::Or)),
    };
    Piece::of(text, Binding::Choice)
}

fn joined(
    logic: Logic,
    sides: impl Iterator<Item = Result<Piece, String>>,
) -> Result<Piece, String> {
    let (sign, binding, tighter) = match logic {
        Logic::And => (" && ", Binding::And, Binding::Relation),
        Logic::Or => (" || ", Binding::Or, Binding::And),
    };
    let sides: Vec<String> =
        sides.map(|side| Ok(side?.at_least(tighter))).collect::<Result<_, String>>()?;
    Piece::of(sides.join(sign), binding)
}

fn call(function: &str, arguments: &[Term]) -> Result<Piece, String> {
    let arguments = arguments.iter().map(value).collect::<Result<Vec<_>, _>>()?;
    if function == "size" {
        let arguments: Vec<String> = arguments.into_iter().map(|piece| piece.text).collect();
        return Piece::whole(format!("size({})", arguments.join(", ")));
    }
    let mut arguments = arguments.into_iter();
    let of = arguments.next().map_or_else(String::new, |of| of.at_least(Binding::Whole));
    let rest: Vec<String> = arguments.map(|piece| piece.text).collect();
    Piece::whole(format!("{of}.{function}({})", rest.join(", ")))
}

fn compare(first: &Term, rest: &[(Comparison, Term)]) -> Result<Piece, String> {
    let mut left = first;
    let mut pairs = vec![];
    for (comparison, right) in rest {
        pairs.push(pair(left, *comparison, right));
        left = right;
    }
    match pairs.len() {
        1 => pairs.remove(0),
        _ => joined(Logic::And, pairs.into_iter()),
    }
}

fn pair(left: &Term, comparison: Comparison, right: &Term) -> Result<Piece, String> {
    let sign = match comparison {
        Comparison::Equal => return equal(left, right),
        Comparison::In => return within(left, right),
        Comparison::NotEqual => match (atom(left), atom(right)) {
            (None, None) => "!=",
            _ => return negated(equal(left, right)?),
        },
        Comparison::NotIn => return negated(within(left, right)?),
        Comparison::Order(sign) => sign,
    };
    relation(left, sign, right)
}

fn relation(left: &Term, sign: &str, right: &Term) -> Result<Piece, String> {
    let (left, right) = (value(left)?.at_least(Binding::Sum), value(right)?.at_least(Binding::Sum));
    Piece::of(format!("{left} {sign} {right}"), Binding::Relation)
}

fn negated(piece: Piece) -> Result<Piece, String> {
    Piece::of(format!("!{}", piece.at_least(Binding::Whole)), Binding::Prefix)
}

/// An atom equals its name with and without the colon.
fn equal(left: &Term, right: &Term) -> Result<Piece, String> {
    let (other, name) = match (atom(left), atom(right)) {
        (_, Some(name)) => (left, name),
        (Some(name), None) => (right, name),
        (None, None) => return relation(left, "==", right),
    };
    let sides = spellings(name).map(|name| {
        let name = Term::constant(Constant::Text(name));
        relation(other, "==", &name)
    });
    joined(Logic::Or, sides.into_iter())
}

fn within(part: &Term, whole: &Term) -> Result<Piece, String> {
    if let Kind::List(terms) = &whole.kind {
        if !terms.iter().all(is_constant) {
            return joined(Logic::Or, terms.iter().map(|term| equal(part, term)));
        }
        let part = value(part)?.at_least(Binding::Sum);
        let terms: Vec<Term> = terms.iter().flat_map(respelled).collect();
        return Piece::of(format!("{part} in {}", list(&terms)?), Binding::Relation);
    }
    let calls = |part: &str, whole: &str| Piece::whole(format!("within({part}, {whole})"));
    let whole = value(whole)?.text;
    match atom(part) {
        None => calls(&value(part)?.text, &whole),
        Some(name) => {
            let sides = spellings(name).map(|name| calls(&quoted(&name), &whole));
            joined(Logic::Or, sides.into_iter())
        }
    }
}

fn is_constant(term: &Term) -> bool {
    match &term.kind {
        Kind::Constant(_) => true,
        Kind::List(terms) => terms.iter().all(is_constant),
        Kind::Object(fields) => fields.iter().all(|(_, term)| is_constant(term)),
        Kind::Variable(_)
        | Kind::Field(..)
        | Kind::Item(..)
        | Kind::Call(..)
        | Kind::Negative(_)
        | Kind::Not(_)
        | Kind::Arithmetic(..)
        | Kind::Compare(..)
        | Kind::Logic(..) => false,
    }
}

fn atom(term: &Term) -> Option<&str> {
    let Kind::Constant(Constant::Atom(name)) = &term.kind else { return None };
    Some(name)
}

fn spellings(atom: &str) -> [String; 2] {
    [atom.to_owned(), format!(":{atom}")]
}

/// The term, or the two texts that an atom may be.
fn respelled(term: &Term) -> Vec<Term> {
    match atom(term) {
        None => vec![term.clone()],
        Some(name) => spellings(name).map(|name| Term::constant(Constant::Text(name))).into(),
    }
}

fn constant_value(constant: &Constant) -> String {
    match constant {
        Constant::Null => "null".to_owned(),
        Constant::Bool(value) => value.to_string(),
        Constant::Number(value) => number(*value),
        Constant::Text(text) | Constant::Atom(text) => quoted(text),
    }
}

fn list(terms: &[Term]) -> Result<String, String> {
    if !terms.iter().all(is_constant) {
        return Err(
            "a list here is of constants: compare its parts, such as `x == 1 or x == y`".to_owned()
        );
    }
    let elements = terms.iter().map(|term| Ok(value(term)?.text));
    Ok(format!("[{}]", elements.collect::<Result<Vec<_>, String>>()?.join(", ")))
}

fn object(fields: &[(String, Term)]) -> Result<String, String> {
    let field =
        |(name, term): &(String, Term)| Ok(format!("{}: {}", quoted(name), value(term)?.text));
    let fields = fields.iter().map(field).collect::<Result<Vec<_>, String>>()?;
    Ok(format!("{{{}}}", fields.join(", ")))
}

/// Whether `name` may follow a point in CEL.
fn is_plain(name: &str) -> bool {
    const RESERVED: &[&str] = &[
        "in",
        "true",
        "false",
        "null",
        "as",
        "break",
        "const",
        "continue",
        "else",
        "for",
        "function",
        "if",
        "import",
        "let",
        "loop",
        "package",
        "namespace",
        "return",
        "var",
        "void",
        "while",
    ];
    let mut letters = name.chars();
    letters.next().is_some_and(|letter| letter.is_ascii_alphabetic() || letter == '_')
        && letters.all(|letter| letter.is_ascii_alphanumeric() || letter == '_')
        && !RESERVED.contains(&name)
}
