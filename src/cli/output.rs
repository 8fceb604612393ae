//! The only module that prints: results to standard output, complaints to standard error.
//!
//! Text is built with colours; they are taken out again when it does not go to a terminal (or with
//! `NO_COLOR`, `CLICOLOR=0`).

use std::{
    fmt,
    io::{self, Write as _},
};

use anstyle::{AnsiColor, Style};

use super::exit::Failure;

/// What is said first: names, headings.
pub(super) const BOLD: Style = Style::new().bold();
/// What is there for completeness.
pub(super) const DIM: Style = Style::new().dimmed();
/// What went well.
pub(super) const GOOD: Style = AnsiColor::Green.on_default();
/// What went wrong.
pub(super) const BAD: Style = AnsiColor::Red.on_default().bold();
/// What waits, or needs a look.
pub(super) const CARE: Style = AnsiColor::Yellow.on_default();
/// What the reader looks for in a history: that another engine went on.
pub(super) const NOTE: Style = AnsiColor::Cyan.on_default();

/// `text` in `style`.
pub(super) fn painted(style: Style, text: impl fmt::Display) -> String {
    format!("{style}{text}{style:#}")
}

/// Prints one result line.
pub(super) fn line(text: impl fmt::Display) -> Result<(), Failure> {
    Ok(writeln!(anstream::stdout(), "{text}")?)
}

/// Prints one result line of bytes, unchanged.
pub(super) fn bytes(bytes: &[u8]) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    out.write_all(bytes)?;
    Ok(out.write_all(b"\n")?)
}

/// Prints one line for a person, beside the results; a closed standard error is nobody's problem.
pub(super) fn note(text: impl fmt::Display) {
    writeln!(anstream::stderr(), "{text}").ok();
}

/// Says why a command failed and what to do.
pub(super) fn failure(failure: &Failure) {
    if !failure.what.is_empty() {
        note(format_args!("{} {}", painted(BAD, "error:"), failure.what));
    }
    if !failure.advice.is_empty() {
        note(format_args!("{} {}", painted(BOLD, "what to do:"), failure.advice));
    }
}

/// Rows in columns as wide as their widest cell, the first row as the heading.
#[derive(Debug)]
pub(super) struct Table {
    rows: Vec<Vec<(String, Style)>>,
}

impl Table {
    /// A table with these headings.
    pub(super) fn new(headings: &[&str]) -> Self {
        let heading = |text: &&str| ((*text).to_owned(), BOLD);
        Self { rows: vec![headings.iter().map(heading).collect()] }
    }

    /// Adds a row; cells beyond the headings are a bug.
    pub(super) fn row(&mut self, cells: Vec<(String, Style)>) {
        debug_assert_eq!(cells.len(), self.rows[0].len(), "BUG: a row of another table");
        self.rows.push(cells);
    }

    /// The lines of the table, without spaces at their ends.
    pub(super) fn lines(&self) -> Vec<String> {
        let columns = self.rows[0].len();
        let width = |column: usize| {
            self.rows.iter().map(|row| row[column].0.chars().count()).max().unwrap_or_default()
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        self.rows.iter().map(|row| table_line(row, &widths)).collect()
    }

    /// Prints it.
    pub(super) fn print(&self) -> Result<(), Failure> {
        self.lines().iter().try_for_each(line)
    }
}

fn table_line(row: &[(String, Style)], widths: &[usize]) -> String {
    let last = row.iter().rposition(|(text, _)| !text.is_empty()).unwrap_or_default();
    let mut line = String::new();
    for (column, (text, style)) in row.iter().enumerate().take(last + 1) {
        line.push_str(&painted(*style, text));
        if column < last {
            let gap = widths[column].saturating_sub(text.chars().count()) + 2;
            line.extend(std::iter::repeat_n(' ', gap));
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use anstream::adapter::strip_str;

    use super::*;

    fn cell(text: &str) -> (String, Style) {
        (text.to_owned(), Style::new())
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut table = Table::new(&["ID", "STATUS", "NOTE"]);
        table.row(vec![cell("überweisung-1"), cell("ok"), cell("")]);
        table.row(vec![cell("b"), cell("failed"), cell("x")]);
        let lines: Vec<String> =
            table.lines().iter().map(|line| strip_str(line).to_string()).collect();
        assert_eq!(
            lines,
            ["ID             STATUS  NOTE", "überweisung-1  ok", "b              failed  x"]
        );
    }

    #[test]
    fn text_without_a_style_carries_no_escapes() {
        assert_eq!(painted(Style::new(), "a"), "a");
        assert_eq!(strip_str(&painted(BAD, "a")).to_string(), "a");
    }
}
