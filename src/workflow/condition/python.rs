//! The grammar of an author's condition: Python's, with Elixir's signs for the same things.
//!
//! Binding, from loose to tight: `or ||`, `and &&`, `not`, comparisons (chained as in Python),
//! `+ -`, `* / %`, `- !`, then look-ups and calls.

use super::{
    NESTING_MAX,
    lexer::{self, Placed, Word},
    term::{Comparison, Constant, Kind, Logic, Term, too_nested},
};

/// Ends complaints about things that only the step can do.
const LET_THE_STEP: &str = "compute it in the step and compare the field that it returns, such as \
                            `score >= 80`";

/// Names that begin something that is not an expression of this grammar.
const STATEMENTS: &[&str] = &[
    "lambda", "import", "if", "else", "for", "while", "def", "return", "yield", "await", "async",
    "del", "assert", "fn", "when", "case", "cond", "do",
];

/// The term that `text` is.
pub(super) fn parse(text: &str) -> Result<Term, String> {
    let words = lexer::words(text)?;
    let mut parser = Parser { text, words: &words, at: 0, depth: 0 };
    let term = parser.either()?;
    parser.end_with(term)
}

/// The constant, list or object that `text` is.
pub(super) fn parse_constant(text: &str) -> Result<Term, String> {
    let words = lexer::words(text)?;
    let mut parser = Parser { text, words: &words, at: 0, depth: 0 };
    let term = parser.constant()?;
    parser.end_with(term)
}

struct Parser<'a> {
    text: &'a str,
    words: &'a [Placed],
    at: usize,
    /// How many brackets and prefixes are open: bounds the recursion.
    depth: usize,
}

impl Parser<'_> {
    /// `term`, when nothing follows it.
    fn end_with(&self, term: Term) -> Result<Term, String> {
        if self.at < self.words.len() { Err(self.unexpected()) } else { Ok(term) }
    }

    /// `a or b`.
    fn either(&mut self) -> Result<Term, String> {
        self.logic(Logic::Or, &["or", "||"], Self::both)
    }

    /// `a and b`.
    fn both(&mut self) -> Result<Term, String> {
        self.logic(Logic::And, &["and", "&&"], Self::negation)
    }

    fn logic(
        &mut self,
        logic: Logic,
        spellings: &[&str],
        side: fn(&mut Self) -> Result<Term, String>,
    ) -> Result<Term, String> {
        let mut sides = vec![side(self)?];
        while spellings.iter().any(|spelling| self.take(spelling)) {
            sides.push(side(self)?);
        }
        match sides.len() {
            1 => Ok(sides.remove(0)),
            _ => Term::of(Kind::Logic(logic, sides)),
        }
    }

    fn negation(&mut self) -> Result<Term, String> {
        if !self.take("not") {
            return self.comparison();
        }
        let term = self.deeper(Self::negation)?;
        Term::of(Kind::Not(Box::new(term)))
    }

    fn comparison(&mut self) -> Result<Term, String> {
        let first = self.sum()?;
        let mut rest = vec![];
        while let Some(comparison) = self.comparison_sign()? {
            rest.push((comparison, self.sum()?));
        }
        if rest.is_empty() { Ok(first) } else { Term::of(Kind::Compare(Box::new(first), rest)) }
    }

    fn comparison_sign(&mut self) -> Result<Option<Comparison>, String> {
        const SIGNS: &[(&str, Comparison)] = &[
            ("==", Comparison::Equal),
            ("!=", Comparison::NotEqual),
            ("<", Comparison::Order("<")),
            ("<=", Comparison::Order("<=")),
            (">", Comparison::Order(">")),
            (">=", Comparison::Order(">=")),
            ("in", Comparison::In),
        ];
        if let Some((_, comparison)) = SIGNS.iter().find(|(sign, _)| self.take(sign)) {
            return Ok(Some(*comparison));
        }
        if self.is("not") && self.is_at(1, "in") {
            self.at += 2;
            return Ok(Some(Comparison::NotIn));
        }
        if !self.take("is") {
            return Ok(None);
        }
        let comparison = if self.take("not") { Comparison::NotEqual } else { Comparison::Equal };
        let singletons = ["None", "True", "False", "nil", "null", "true", "false"];
        if singletons.iter().any(|name| self.is(name)) {
            return Ok(Some(comparison));
        }
        Err("`is` compares with None, True and False only: write `==`".to_owned())
    }

    fn sum(&mut self) -> Result<Term, String> {
        self.arithmetic(&["+", "-"], Self::product)
    }

    fn product(&mut self) -> Result<Term, String> {
        self.arithmetic(&["*", "/", "%"], Self::prefixed)
    }

    fn arithmetic(
        &mut self,
        signs: &[&'static str],
        side: fn(&mut Self) -> Result<Term, String>,
    ) -> Result<Term, String> {
        let mut term = side(self)?;
        while let Some(sign) = signs.iter().find(|sign| self.take(sign)) {
            term = Term::of(Kind::Arithmetic(sign, Box::new(term), Box::new(side(self)?)))?;
        }
        Ok(term)
    }

    fn prefixed(&mut self) -> Result<Term, String> {
        if self.take("-") {
            let term = self.deeper(Self::prefixed)?;
            if let Kind::Constant(Constant::Number(number)) = term.kind {
                return Ok(Term::constant(Constant::Number(-number)));
            }
            return Term::of(Kind::Negative(Box::new(term)));
        }
        if self.take("!") {
            let term = self.deeper(Self::prefixed)?;
            return Term::of(Kind::Not(Box::new(term)));
        }
        let mut term = self.primary()?;
        loop {
            if self.take(".") {
                term = self.member(term)?;
            } else if self.take("[") {
                term = self.item(term)?;
            } else {
                return Ok(term);
            }
        }
    }

    /// What follows the point of `x.field` or `x.method(...)`.
    fn member(&mut self, of: Term) -> Result<Term, String> {
        let Some(Word::Name(name)) = self.next() else {
            self.at = self.at.saturating_sub(1);
            return Err(self.unexpected());
        };
        if !self.take("(") {
            return Term::of(Kind::Field(Box::new(of), name));
        }
        let (function, arguments) = match name.as_str() {
            "get" => ("get", 1..=2),
            "startswith" => ("startsWith", 1..=1),
            "endswith" => ("endsWith", 1..=1),
            _ => {
                let name = lexer::place(&name);
                return Err(format!(
                    "`.{name}(...)` is not one of .get, .startswith, .endswith: {LET_THE_STEP}"
                ));
            }
        };
        let given = self.deeper(|parser| parser.listed(")"))?;
        if !arguments.contains(&given.len()) {
            return Err(format!(
                "`.{name}` is given {} arguments: write x.{name}('text')",
                given.len()
            ));
        }
        Term::of(Kind::Call(function, [vec![of], given].concat()))
    }

    /// What follows the bracket of `x[...]`.
    fn item(&mut self, of: Term) -> Result<Term, String> {
        let index = self.deeper(Self::either)?;
        self.expect("]")?;
        if let Kind::Constant(Constant::Text(name) | Constant::Atom(name)) = index.kind {
            return Term::of(Kind::Field(Box::new(of), name));
        }
        if matches!(index.kind, Kind::Constant(Constant::Number(number)) if number < 0.0) {
            return Err(format!("an index from the end is not supported: {LET_THE_STEP}"));
        }
        Term::of(Kind::Item(Box::new(of), Box::new(index)))
    }

    fn primary(&mut self) -> Result<Term, String> {
        if self.take("(") {
            return self.deeper(Self::parenthesized);
        }
        if self.take("[") {
            let terms = self.deeper(|parser| parser.listed("]"))?;
            return Term::of(Kind::List(terms));
        }
        if let Some(constant) = self.constant_word() {
            return Ok(Term::constant(constant));
        }
        if let Some(Word::Name(name)) = self.next() {
            return self.named(name);
        }
        self.at = self.at.saturating_sub(1);
        Err(self.unexpected())
    }

    /// A term in parentheses, or a tuple.
    fn parenthesized(&mut self) -> Result<Term, String> {
        if self.take(")") {
            return Term::of(Kind::List(vec![]));
        }
        let first = self.either()?;
        if self.take(")") {
            return Ok(first);
        }
        self.expect(",")?;
        let rest = self.listed(")")?;
        Term::of(Kind::List([vec![first], rest].concat()))
    }

    /// Terms separated by commas, up to and with `end`.
    fn listed(&mut self, end: &str) -> Result<Vec<Term>, String> {
        let mut terms = vec![];
        while !self.take(end) {
            terms.push(self.either()?);
            if !self.is(end) {
                self.expect(",")?;
            }
        }
        Ok(terms)
    }

    fn named(&mut self, name: String) -> Result<Term, String> {
        if STATEMENTS.contains(&name.as_str()) {
            return Err(format!(
                "`{name}` is code, which never reaches the engine: {LET_THE_STEP}"
            ));
        }
        if self.take("(") {
            if name != "len" {
                let name = lexer::place(&name);
                return Err(format!(
                    "`{name}(...)` cannot be called here, only len: {LET_THE_STEP}"
                ));
            }
            let given = self.deeper(|parser| parser.listed(")"))?;
            return match given.len() {
                1 => Term::of(Kind::Call("size", given)),
                count => Err(format!("`len` is given {count} arguments: write len(items)")),
            };
        }
        match ["result", "inputs", "state"].into_iter().find(|variable| *variable == name) {
            Some(variable) => Term::of(Kind::Variable(variable)),
            None => Term::of(Kind::Field(Box::new(Term::of(Kind::Variable("result"))?), name)),
        }
    }

    /// Takes the next word when it is a constant.
    fn constant_word(&mut self) -> Option<Constant> {
        let constant = match self.peek()? {
            Word::Name(name) => named_constant(name)?,
            Word::Atom(name) => {
                named_constant(name).unwrap_or_else(|| Constant::Atom(name.clone()))
            }
            Word::Text(text) => Constant::Text(text.clone()),
            Word::Number(number) => Constant::Number(*number),
            Word::Sign(_) => return None,
        };
        self.at += 1;
        Some(constant)
    }

    /// A constant, or a list or object of them; as a pattern may be written.
    fn constant(&mut self) -> Result<Term, String> {
        if let Some(constant) = self.constant_word() {
            return Ok(Term::constant(constant));
        }
        if self.take("-") {
            return match self.constant_word() {
                Some(Constant::Number(number)) => Ok(Term::constant(Constant::Number(-number))),
                _ => Err(self.unexpected()),
            };
        }
        if self.take("[") {
            return self.deeper(|parser| parser.constants("]"));
        }
        if self.take("(") {
            return self.deeper(|parser| parser.constants(")"));
        }
        if self.take("%{") || self.take("{") {
            return self.deeper(Self::object);
        }
        Err(self.unexpected())
    }

    fn constants(&mut self, end: &str) -> Result<Term, String> {
        let mut terms = vec![];
        while !self.take(end) {
            terms.push(self.constant()?);
            if !self.is(end) {
                self.expect(",")?;
            }
        }
        Term::of(Kind::List(terms))
    }

    /// The fields of `{'a': 1}`, `%{a: 1}` or `%{"a" => 1}`.
    fn object(&mut self) -> Result<Term, String> {
        let mut fields = vec![];
        while !self.take("}") {
            let (Some(Word::Name(name) | Word::Text(name) | Word::Atom(name)), true) =
                (self.next(), self.take(":") || self.take("=>"))
            else {
                self.at = self.at.saturating_sub(1);
                return Err(self.unexpected());
            };
            fields.push((name, self.constant()?));
            if !self.is("}") {
                self.expect(",")?;
            }
        }
        Term::of(Kind::Object(fields))
    }

    fn deeper<T>(
        &mut self,
        part: impl FnOnce(&mut Self) -> Result<T, String>,
    ) -> Result<T, String> {
        if self.depth == NESTING_MAX {
            return Err(too_nested());
        }
        self.depth += 1;
        let parsed = part(self)?;
        self.depth -= 1;
        Ok(parsed)
    }

    fn peek(&self) -> Option<&Word> {
        self.words.get(self.at).map(|(_, word)| word)
    }

    fn next(&mut self) -> Option<Word> {
        let word = self.peek().cloned();
        self.at += 1;
        word
    }

    fn is(&self, spelling: &str) -> bool {
        self.is_at(0, spelling)
    }

    fn is_at(&self, ahead: usize, spelling: &str) -> bool {
        match self.words.get(self.at + ahead) {
            Some((_, Word::Name(name))) => name == spelling,
            Some((_, Word::Sign(sign))) => *sign == spelling,
            _ => false,
        }
    }

    fn take(&mut self, spelling: &str) -> bool {
        let found = self.is(spelling);
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, spelling: &str) -> Result<(), String> {
        if self.take(spelling) { Ok(()) } else { Err(self.unexpected()) }
    }

    fn unexpected(&self) -> String {
        let Some((start, word)) = self.words.get(self.at) else {
            return "it ends too early: finish it, such as `score >= 80`".to_owned();
        };
        let place = lexer::place(&self.text[*start..]);
        let instead = match word {
            Word::Sign("=" | "===") => "to compare, write `==`",
            Word::Sign("!==") => "to compare, write `!=`",
            Word::Sign("//" | "**") => LET_THE_STEP,
            Word::Name(name) if STATEMENTS.contains(&name.as_str()) => LET_THE_STEP,
            Word::Name(_) | Word::Atom(_) | Word::Text(_) | Word::Number(_) | Word::Sign(_) => {
                "write a comparison of fields of the output, such as `score >= 80 and status == \
                 'open'`"
            }
        };
        format!("`{place}` is not expected here: {instead}")
    }
}

fn named_constant(name: &str) -> Option<Constant> {
    match name {
        "true" | "True" => Some(Constant::Bool(true)),
        "false" | "False" => Some(Constant::Bool(false)),
        "None" | "null" | "nil" => Some(Constant::Null),
        _ => None,
    }
}
