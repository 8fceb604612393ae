//! The words of an author's condition, Python's and Elixir's alike.

/// One word.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Word {
    Name(String),
    /// `:name` of Elixir, without the colon.
    Atom(String),
    Text(String),
    Number(f64),
    Sign(&'static str),
}

/// A word and the byte at which it starts.
pub(super) type Placed = (usize, Word);

/// All signs, a longer one before its beginnings. Those that no grammar takes are here to be named
/// in full by the complaint.
const SIGNS: &[&str] = &[
    "===", "!==", "**", "//", "==", "!=", "<=", ">=", "&&", "||", "=>", ":=", "->", "|>", "<>",
    "=~", "%{", "<", ">", "+", "-", "*", "/", "%", "!", "(", ")", "[", "]", "{", "}", ",", ".",
    ":", "=", "?", "|", "&", "^", "~", "@",
];

/// The words of `text`; the error names the place that has none.
pub(super) fn words(text: &str) -> Result<Vec<Placed>, String> {
    let mut words = vec![];
    let mut rest = text.trim_start();
    while let Some(letter) = rest.chars().next() {
        let (word, length) = word(rest, letter)?;
        words.push((text.len() - rest.len(), word));
        rest = rest[length..].trim_start();
    }
    Ok(words)
}

/// The word with which `rest` begins, and its length in bytes.
fn word(rest: &str, letter: char) -> Result<(Word, usize), String> {
    if is_name_start(letter) {
        let length = name_length(rest);
        let name = &rest[..length];
        if rest[length..].starts_with(['"', '\'']) {
            return Err(format!(
                "`{}` is a text with a prefix: write it out in plain quotes",
                place(rest)
            ));
        }
        return Ok((Word::Name(name.to_owned()), length));
    }
    if matches!(letter, '"' | '\'') {
        return quoted(rest, letter);
    }
    let second = rest[letter.len_utf8()..].chars().next().unwrap_or(' ');
    if letter.is_ascii_digit() || (letter == '.' && second.is_ascii_digit()) {
        return number(rest);
    }
    if letter == ':' && is_name_start(second) {
        let length = 1 + name_length(&rest[1..]);
        return Ok((Word::Atom(rest[1..length].to_owned()), length));
    }
    match SIGNS.iter().find(|sign| rest.starts_with(**sign)) {
        Some(sign) => Ok((Word::Sign(sign), sign.len())),
        None => Err(format!("`{}` is not understood: take it out", place(rest))),
    }
}

fn is_name_start(letter: char) -> bool {
    letter.is_alphabetic() || letter == '_'
}

fn name_length(rest: &str) -> usize {
    rest.find(|letter: char| !(letter.is_alphanumeric() || letter == '_')).unwrap_or(rest.len())
}

fn number(rest: &str) -> Result<(Word, usize), String> {
    let mut length = digits(rest);
    if rest[length..].starts_with('.') {
        length += 1 + digits(&rest[length + 1..]);
    }
    let power = rest[length..].strip_prefix(['e', 'E']).map(|power| {
        let unsigned = power.strip_prefix(['+', '-']).unwrap_or(power);
        (1 + power.len() - unsigned.len(), digits(unsigned))
    });
    if let Some((mark, power)) = power.filter(|(_, power)| *power > 0) {
        length += mark + power;
    }
    let spelled: String = rest[..length].chars().filter(|letter| *letter != '_').collect();
    let number = spelled.parse().ok().filter(|number: &f64| number.is_finite());
    match number {
        Some(number) if !rest[length..].starts_with(is_name_start) => {
            Ok((Word::Number(number), length))
        }
        _ => {
            Err(format!("`{}` is not a number: write it in digits, such as 80 or 0.5", place(rest)))
        }
    }
}

fn digits(rest: &str) -> usize {
    rest.find(|letter: char| !(letter.is_ascii_digit() || letter == '_')).unwrap_or(rest.len())
}

fn quoted(rest: &str, quote: char) -> Result<(Word, usize), String> {
    let mut text = String::new();
    let mut letters = rest.char_indices().skip(1);
    while let Some((at, letter)) = letters.next() {
        match letter {
            '\\' => escape(&mut text, &mut letters)?,
            _ if letter == quote => return Ok((Word::Text(text), at + 1)),
            _ => text.push(letter),
        }
    }
    Err(format!("the text `{}` is not ended: close it with {quote}", place(rest)))
}

/// Adds the letter that follows a backslash; one that escapes nothing keeps its backslash, as in
/// Python.
fn escape(
    text: &mut String,
    letters: &mut impl Iterator<Item = (usize, char)>,
) -> Result<(), String> {
    let Some((_, letter)) = letters.next() else { return Ok(()) };
    let digits = match letter {
        'n' => return push(text, "\n"),
        't' => return push(text, "\t"),
        'r' => return push(text, "\r"),
        '0' => return push(text, "\0"),
        '\\' | '"' | '\'' => {
            text.push(letter);
            return Ok(());
        }
        'x' => 2,
        'u' => 4,
        'U' => 8,
        _ => {
            text.extend(['\\', letter]);
            return Ok(());
        }
    };
    let code: String = letters.take(digits).map(|(_, digit)| digit).collect();
    let letter = u32::from_str_radix(&code, 16).ok().and_then(char::from_u32);
    text.push(letter.ok_or_else(|| format!("`\\{code}` is not a letter: write it out"))?);
    Ok(())
}

#[expect(clippy::unnecessary_wraps, reason = "ends the escape that it belongs to")]
fn push(text: &mut String, letter: &str) -> Result<(), String> {
    text.push_str(letter);
    Ok(())
}

/// The beginning of `rest`, to show where a fault is.
pub(super) fn place(rest: &str) -> String {
    const LETTERS_MAX: usize = 24;
    let mut shown: String = rest.chars().take(LETTERS_MAX).collect();
    if rest.chars().nth(LETTERS_MAX).is_some() {
        shown.push_str("...");
    }
    shown
}
