//! What the CEL parser must not see.
//!
//! It recurses without bound on chains of operators, and may cut letters outside of ASCII apart. The
//! scan refuses those, and the texts in which it could not tell where a text ends.

use super::{CEL_BYTES_MAX, NESTING_MAX, prepare::too_nested};

/// How many operators, calls and look-ups may stand in one text: each may be a level of the tree,
/// and parsing and dropping it recurse.
const LINKS_MAX: usize = 400;
/// How many `?` may stand in one text: the parser recurses for each.
const CHOICES_MAX: usize = 64;

/// Refuses `cel` when it could harm the parser; the error says what to write instead.
pub(super) fn scan(cel: &str) -> Result<(), String> {
    if cel.len() > CEL_BYTES_MAX {
        return Err(format!(
            "it is over {CEL_BYTES_MAX} bytes of CEL: let a step compute a part of it"
        ));
    }
    let (mut depth, mut links, mut choices) = (0_usize, 0_usize, 0_usize);
    let mut letters = cel.chars().peekable();
    let mut before = ' ';
    while let Some(letter) = letters.next() {
        let next = letters.peek().copied().unwrap_or(' ');
        match letter {
            '"' | '\'' => {
                if before.is_ascii_alphanumeric() || before == letter {
                    return Err(
                        "texts are written as \"text\": no raw, byte or triple-quoted texts"
                            .to_owned(),
                    );
                }
                skip_text(letter, &mut letters)?;
            }
            '(' | '[' | '{' => (depth, links) = (depth + 1, links + 1),
            ')' | ']' | '}' => depth = depth.saturating_sub(1),
            '/' if next == '/' => {
                return Err("comments are not part of a condition: leave it out".to_owned());
            }
            '.' if next.is_ascii_digit() => {}
            // The second letter of `==`, `<=`, `&&` and the like.
            '=' | '&' | '|' if "=!<>&|".contains(before) => {}
            '?' => choices += 1,
            '.' | '+' | '-' | '*' | '/' | '%' | '<' | '>' | '!' | '=' | '&' | '|' => {
                links += 1;
            }
            _ if !letter.is_ascii() => {
                return Err(
                    "a letter outside of ASCII must stand in quotes: write result[\"größe\"]"
                        .to_owned(),
                );
            }
            _ => {}
        }
        if depth > NESTING_MAX || links > LINKS_MAX || choices > CHOICES_MAX {
            return Err(too_nested());
        }
        before = letter;
    }
    Ok(())
}

fn skip_text(quote: char, letters: &mut impl Iterator<Item = char>) -> Result<(), String> {
    while let Some(letter) = letters.next() {
        match letter {
            '\\' => drop(letters.next()),
            letter if letter == quote => return Ok(()),
            _ => {}
        }
    }
    Err(format!("a text is not ended: close it with {quote}"))
}
