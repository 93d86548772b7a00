//! What is wrong with a spec, for people (`Display`) and for programs (`Serialize`).

use std::fmt;

use serde::Serialize;

/// How much of an offending text is repeated in a message.
const LONGEST_TEXT: usize = 120;

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Problem {
    /// The line in the file, from 1.
    pub line: usize,
    /// The character in that line, from 1.
    pub column: usize,
    /// Where in the spec, such as `services.web.cpu`; empty for the file as a whole.
    pub path: String,
    /// The offending text as it stands in the file: its first line, if it has more.
    pub text: String,
    /// What is wrong.
    pub message: String,
    /// What would be right.
    pub right: String,
    /// The line that it stands in; of a very long line, the part around it.
    pub source: String,
    /// How many characters of `source` stand before it.
    #[serde(skip)]
    pub(crate) before: usize,
}

/// Everything that is wrong with a spec, in the order of the file. Never empty.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SpecErrors {
    problems: Vec<Problem>,
    /// How many more there are than are told.
    more: usize,
}

impl SpecErrors {
    /// Puts the problems in the order of the file.
    pub(crate) fn new(mut problems: Vec<Problem>, more: usize) -> Self {
        problems.sort();
        problems.dedup();
        Self { problems, more }
    }

    /// The problems in the order of the file.
    #[must_use]
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// How many more problems there are, in a file that is wrong from end to end.
    #[must_use]
    pub fn more(&self) -> usize {
        self.more
    }

    /// All problems as a compiler shows them, with `file` in each place.
    #[must_use]
    pub fn render(&self, file: &str) -> String {
        self.blocks(|problem| format!("{file}:{}:{}", problem.line, problem.column))
    }

    fn blocks(&self, place: impl Fn(&Problem) -> String) -> String {
        let mut blocks: Vec<String> =
            self.problems.iter().map(|problem| problem.block(&place(problem))).collect();
        if self.more > 0 {
            blocks.push(format!("and {} more\n", self.more));
        }
        blocks.join("\n")
    }
}

impl fmt::Display for SpecErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.blocks(Problem::place))
    }
}

impl std::error::Error for SpecErrors {}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.block(&self.place()))
    }
}

impl Problem {
    fn place(&self) -> String {
        format!("line {}, column {}", self.line, self.column)
    }

    /// The message, the place, the line with the offending text marked, and what would be right.
    fn block(&self, place: &str) -> String {
        let number = self.line.to_string();
        let margin = " ".repeat(number.len());
        let colon = if self.path.is_empty() { "" } else { ": " };
        let mut lines =
            vec![format!("error: {}{colon}{}", self.path, self.message), format!("{margin}--> {place}")];
        if !self.source.trim().is_empty() {
            let room = self.source.chars().count().saturating_sub(self.before).max(1);
            let marks = "^".repeat(self.text.chars().count().clamp(1, room));
            let blank = |c: char| if c == '\t' { '\t' } else { ' ' };
            let indent: String = self.source.chars().take(self.before).map(blank).collect();
            lines.push(format!("{margin} |"));
            lines.push(format!("{number} | {}", self.source));
            lines.push(format!("{margin} | {indent}{marks}"));
        }
        if !self.right.is_empty() {
            lines.push(format!("{margin} = right: {}", self.right));
        }
        lines.push(String::new());
        lines.join("\n")
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
