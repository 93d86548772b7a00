//! What is wrong with a spec, for people (`Display`) and for programs (`Serialize`).

use std::fmt;

use serde::Serialize;

/// How much of an offending text is repeated in a message.
const LONGEST_TEXT: usize = 80;
/// How much of the line that it stands in is shown.
const LONGEST_LINE: usize = 120;

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Problem {
    /// The line in the file, from 1.
    pub line: usize,
    /// The character in that line, from 1.
    pub column: usize,
    /// Where in the spec, such as `services.web.cpu`; empty for the file as a whole.
    pub path: String,
    /// The offending text as it stands in the file.
    pub text: String,
    /// What is wrong with it.
    pub message: String,
    /// What would be right.
    pub right: String,
    /// The line that it stands in.
    pub source: String,
}

/// Everything that is wrong with a spec, in the order of the file. Never empty.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SpecErrors {
    problems: Vec<Problem>,
}

impl SpecErrors {
    /// Puts the problems in the order of the file.
    pub(crate) fn new(mut problems: Vec<Problem>) -> Self {
        problems.sort();
        problems.dedup();
        Self { problems }
    }

    /// The problems in the order of the file.
    #[must_use]
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// All problems as a compiler shows them, with `file` in each place.
    #[must_use]
    pub fn render(&self, file: &str) -> String {
        self.problems
            .iter()
            .map(|problem| problem.block(&format!("{file}:{}:{}", problem.line, problem.column)))
            .collect::<Vec<_>>()
            .join("\n")
    }
}

impl fmt::Display for SpecErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for SpecErrors {}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.block(&format!("line {}, column {}", self.line, self.column)))
    }
}

impl Problem {
    /// The message, the place, the line with the offending text marked, and what would be right.
    fn block(&self, place: &str) -> String {
        let number = self.line.to_string();
        let margin = " ".repeat(number.len());
        let colon = if self.path.is_empty() { "" } else { ": " };
        let mut block = format!("error: {}{colon}{}\n{margin}--> {place}\n", self.path, self.message);
        if !self.source.is_empty() {
            let (source, before) = self.shown_line();
            let width = self.text.lines().next().unwrap_or("").chars().count();
            let marks = "^".repeat(width.clamp(1, source.chars().count().saturating_sub(before).max(1)));
            let indent: String =
                source.chars().take(before).map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
            block += &format!("{margin} |\n{number} | {source}\n{margin} | {indent}{marks}\n");
        }
        if !self.right.is_empty() {
            block += &format!("{margin} = right: {}\n", self.right);
        }
        block
    }

    /// The part of the line that is shown, and how many characters of it stand before the offending text.
    fn shown_line(&self) -> (String, usize) {
        let before = self.column.saturating_sub(1);
        // In a line too long to show (a JSON spec may have but one) the part around the text is shown.
        let skipped = if self.source.chars().count() <= LONGEST_LINE { 0 } else { before.saturating_sub(40) };
        let shown = self.source.chars().skip(skipped).take(LONGEST_LINE).collect();
        (shown, before - skipped)
    }
}

/// A text as it is repeated in a message: its first line, cut where it gets too long.
pub(crate) fn shortened(text: &str) -> String {
    let first = text.lines().next().unwrap_or("");
    let mut short: String = first.chars().take(LONGEST_TEXT).collect();
    if short.len() < text.trim_end().len() {
        short.push('…');
    }
    short
}
