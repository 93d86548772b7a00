//! The problems of a spec, for people (`Display`) and for programs (`Serialize`).

use std::fmt;

use serde::Serialize;

use crate::path::Path;
use crate::schema::schema_ref;

/// The longest excerpt of the offending text in a message, in characters.
const EXCERPT_MAX: usize = 120;

/// One problem of a spec.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Problem {
    /// The line in the file, starting at 1.
    pub line: usize,
    /// The character in that line, starting at 1.
    pub column: usize,
    /// The path in the spec, such as `services.web.cpu`; empty for the whole file.
    pub path: String,
    /// The offending text of the file; only its first line.
    pub text: String,
    /// What is wrong.
    pub message: String,
    /// What is expected instead.
    pub expected: String,
    /// The line of the offending text; of a very long line, the part around the text.
    pub source: String,
    /// The number of characters of `source` before the offending text.
    #[serde(skip)]
    pub(crate) before: usize,
    /// The path's steps.
    #[serde(skip)]
    pub(crate) steps: Path,
}

/// All problems of a spec, in the order of the file. Never empty.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SpecErrors {
    problems: Vec<Problem>,
    /// The number of further problems, which are not listed.
    more: usize,
}

impl SpecErrors {
    /// Sorts the problems by their place in the file.
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

    /// The number of further problems, which are not listed.
    #[must_use]
    pub fn more(&self) -> usize {
        self.more
    }

    /// All problems in the format of a compiler, with `file` in each place.
    #[must_use]
    pub fn render(&self, file: &str) -> String {
        self.blocks(|problem| format!("{file}:{}:{}", problem.line, problem.column))
    }

    /// The places of all problems, one line each, with nothing of the file's text: a secret that was written to a wrong place
    /// must not be shown to everybody who may read records. In the paths, `*` stands for keys that a spec's author chooses.
    #[must_use]
    pub fn places(&self, file: &str) -> String {
        let mut places: Vec<String> = self.problems.iter().map(|problem| problem.known_place(file)).collect();
        places.dedup();
        if self.more > 0 {
            places.push(format!("and {} more", self.more));
        }
        places.join("\n")
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

    fn known_place(&self, file: &str) -> String {
        let place = format!("{file}:{}:{}", self.line, self.column);
        match self.steps.known(schema_ref()) {
            path if path.is_empty() => place,
            path => format!("{place}: {path}"),
        }
    }

    /// The message, the place, the line with the offending text marked, and what is expected.
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
        if !self.expected.is_empty() {
            lines.push(format!("{margin} = expected: {}", self.expected));
        }
        lines.push(String::new());
        lines.join("\n")
    }
}

/// An excerpt of a text for a message: its first line, cut to the maximum length.
pub(crate) fn shortened(text: &str) -> String {
    let first = text.lines().next().unwrap_or("");
    let mut short: String = first.chars().take(EXCERPT_MAX).collect();
    if short.len() < text.trim_end().len() {
        short.push('…');
    }
    short
}
