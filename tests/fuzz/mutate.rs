//! Mutations: what is done to kept inputs so that they are no longer what a careful writer makes.

use proptest::{
    prelude::*,
    sample::{Index, select},
};

/// Tokens at which parsers and arithmetic go wrong.
const TOKENS: [&str; 36] = [
    "0",
    "-1",
    "1",
    "4294967295",
    "4294967296",
    "9999999999",
    "18446744073709551615",
    "18446744073709551616",
    "1e400",
    "-0.0",
    "null",
    "true",
    "\"\"",
    "[]",
    "{}",
    "\"END\"",
    "[",
    "]",
    "{",
    "}",
    "(",
    ")",
    "\"",
    "\\",
    "\\u0000",
    "\\ud800",
    "..",
    "/",
    "%2f",
    "~",
    "=",
    "\u{0}",
    "é",
    "\u{1f600}",
    "\u{202e}",
    "not ",
];
/// The most bytes of an input.
const BYTES_MAX: usize = 200_000;

/// One change of an input; places are relative to its length.
#[derive(Clone, Debug)]
pub enum Mutation {
    /// One bit is another.
    Flip(Index, u8),
    /// A part is gone.
    Delete(Index, Index),
    /// A part stands there twice.
    Duplicate(Index, Index),
    /// A part of another kept input stands in place of a part.
    Splice(Index, Index, Index, Index, Index),
    /// The number at or after a place is another.
    Number(Index, &'static str),
    /// A token stands between.
    Token(Index, &'static str),
    /// A part is wrapped so many times.
    Nest(Index, Index, &'static str, &'static str, usize),
    /// A letter stands there so many times.
    Long(Index, u8, usize),
    /// Bytes that nobody wrote.
    Noise(Index, Vec<u8>),
    /// The end is gone.
    Cut(Index),
}

pub fn mutations() -> impl Strategy<Value = Vec<Mutation>> {
    let at = any::<Index>;
    let wraps = vec![("[", "]"), ("{\"a\":", "}"), ("(", ")"), ("not ", ""), ("-", ""), ("{", "}")];
    let one = prop_oneof![
        3 => (at(), 0..8_u8).prop_map(|(at, bit)| Mutation::Flip(at, bit)),
        2 => (at(), at()).prop_map(|(from, to)| Mutation::Delete(from, to)),
        2 => (at(), at()).prop_map(|(from, to)| Mutation::Duplicate(from, to)),
        3 => (at(), at(), at(), at(), at()).prop_map(|(a, b, c, d, e)| Mutation::Splice(a, b, c, d, e)),
        4 => (at(), select(&TOKENS[..11])).prop_map(|(at, text)| Mutation::Number(at, text)),
        3 => (at(), select(&TOKENS[..])).prop_map(|(at, text)| Mutation::Token(at, text)),
        1 => (at(), at(), select(wraps), 1..400_usize)
            .prop_map(|(from, to, (open, close), depth)| Mutation::Nest(from, to, open, close, depth)),
        1 => (at(), any::<u8>(), 1..5_000_usize).prop_map(|(at, byte, n)| Mutation::Long(at, byte, n)),
        1 => (at(), prop::collection::vec(any::<u8>(), 1..40))
            .prop_map(|(at, bytes)| Mutation::Noise(at, bytes)),
        1 => at().prop_map(Mutation::Cut),
    ];
    prop::collection::vec(one, 0..5)
}

impl Mutation {
    /// `input` with this change; `kept` are the inputs that parts are taken from.
    pub fn apply(&self, input: &mut Vec<u8>, kept: &[Vec<u8>]) {
        match self {
            Self::Flip(at, bit) => {
                if !input.is_empty() {
                    let at = at.index(input.len());
                    input[at] ^= 1 << bit;
                }
            }
            Self::Delete(from, to) => drop(input.drain(part(input, *from, *to))),
            Self::Duplicate(from, to) => {
                let part = part(input, *from, *to);
                let (end, copy) = (part.end, input[part].to_vec());
                insert(input, end, &copy);
            }
            Self::Splice(other, from, to, into, upto) => {
                let other = &kept[other.index(kept.len())];
                let copy = other[part(other, *from, *to)].to_vec();
                let place = part(input, *into, *upto);
                input.splice(place, copy);
            }
            Self::Number(at, text) => {
                if let Some(number) = number_from(input, at.index(input.len() + 1)) {
                    input.splice(number, text.bytes());
                }
            }
            Self::Token(at, text) => insert(input, at.index(input.len() + 1), text.as_bytes()),
            Self::Nest(from, to, open, close, depth) => {
                let part = part(input, *from, *to);
                insert(input, part.end, close.repeat(*depth).as_bytes());
                insert(input, part.start, open.repeat(*depth).as_bytes());
            }
            Self::Long(at, byte, n) => {
                insert(input, at.index(input.len() + 1), &vec![*byte; *n]);
            }
            Self::Noise(at, bytes) => insert(input, at.index(input.len() + 1), bytes),
            Self::Cut(at) => input.truncate(at.index(input.len() + 1)),
        }
        input.truncate(BYTES_MAX);
    }
}

fn part(input: &[u8], from: Index, to: Index) -> std::ops::Range<usize> {
    let (a, b) = (from.index(input.len() + 1), to.index(input.len() + 1));
    a.min(b)..a.max(b)
}

fn insert(input: &mut Vec<u8>, at: usize, bytes: &[u8]) {
    input.splice(at..at, bytes.iter().copied());
}

/// The digits at or after `at`.
fn number_from(input: &[u8], at: usize) -> Option<std::ops::Range<usize>> {
    let start = at + input[at..].iter().position(u8::is_ascii_digit)?;
    let length = input[start..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    Some(start..start + length)
}
