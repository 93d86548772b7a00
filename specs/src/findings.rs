//! What has been found wrong so far, and where in the file it stands.

use crate::path::{Path, Step};
use crate::problem::{Problem, SpecErrors, shortened};
use crate::tree::{Key, Node, Place, Value};

/// As many problems are told as anyone reads at once.
const MOST: usize = 100;
/// How much of a line is shown.
const LONGEST_LINE: usize = 120;
/// How much of a long line is shown before the offending text.
const BEFORE: usize = 40;

/// The file's text.
#[derive(Clone, Copy)]
pub(crate) struct File<'a>(pub(crate) &'a str);

impl<'a> File<'a> {
    /// The text at a place.
    pub(crate) fn slice(self, place: Place) -> &'a str {
        // A block's place may end with the line breaks behind it.
        self.0.get(place.start..place.end.min(self.0.len())).unwrap_or("").trim_end()
    }

    /// A problem with what stands at a place.
    pub(crate) fn problem(self, place: Place, path: &Path, message: String, right: String) -> Problem {
        let mut start = place.start.min(self.0.len());
        while !self.0.is_char_boundary(start) {
            start -= 1;
        }
        let line_start = self.0[..start].rfind('\n').map_or(0, |newline| newline + 1);
        let column = self.0[line_start..start].chars().count();
        let line = self.0[line_start..].lines().next().unwrap_or("");
        // Of a line too long to show (a JSON spec may have but one) the part around the text is shown.
        let skipped = if line.len() <= LONGEST_LINE { 0 } else { column.saturating_sub(BEFORE) };
        Problem {
            line: self.0[..line_start].matches('\n').count() + 1,
            column: column + 1,
            path: path.to_string(),
            text: shortened(self.slice(place)),
            message,
            right,
            source: line.chars().skip(skipped).take(LONGEST_LINE).collect(),
            before: column - skipped,
        }
    }
}

/// The problems of one spec.
pub(crate) struct Findings<'a> {
    pub(crate) file: File<'a>,
    tree: &'a Node,
    problems: Vec<Problem>,
    more: usize,
    /// What could not be read. A value stands in for each, about which nothing must be said.
    broken: Vec<Path>,
}

impl<'a> Findings<'a> {
    pub(crate) fn new(text: &'a str, tree: &'a Node) -> Self {
        Self { file: File(text), tree, problems: Vec::new(), more: 0, broken: Vec::new() }
    }

    /// The spec, if nothing is wrong with it.
    pub(crate) fn conclude<T>(self, spec: T) -> Result<T, SpecErrors> {
        if self.problems.is_empty() { Ok(spec) } else { Err(SpecErrors::new(self.problems, self.more)) }
    }

    /// Says that nothing that follows from the value at this path is to be trusted.
    pub(crate) fn distrust(&mut self, path: Path) {
        self.broken.push(path);
    }

    /// Whether further problems are only counted.
    pub(crate) fn is_full(&self) -> bool {
        self.problems.len() >= MOST
    }

    /// Reports what stands at a place of the file.
    pub(crate) fn at(&mut self, place: Place, path: &Path, message: String, right: String) {
        if self.is_full() {
            self.more += 1;
        } else {
            self.problems.push(self.file.problem(place, path, message, right));
        }
    }

    /// Reports a value. `needs` are the other values that the judgement rests on.
    pub(crate) fn value(
        &mut self,
        path: &Path,
        needs: &[Path],
        message: impl Into<String>,
        right: impl Into<String>,
    ) {
        if self.trusts(path) && needs.iter().all(|path| self.trusts(path)) {
            let place = self.locate(path, false);
            self.at(place, path, message.into(), right.into());
        }
    }

    /// Reports a key.
    pub(crate) fn key(&mut self, path: &Path, message: impl Into<String>, right: impl Into<String>) {
        if self.trusts(path) {
            let place = self.locate(path, true);
            self.at(place, path, message.into(), right.into());
        }
    }

    pub(crate) fn trusts(&self, path: &Path) -> bool {
        !self.broken.iter().any(|broken| path.is_in(broken))
    }

    /// The place of the value at a path; for one that fills a block, or isn't there, of the key nearest to it.
    fn locate(&self, path: &Path, key_only: bool) -> Place {
        let mut node = self.tree;
        let mut key: Option<&Key> = None;
        let mut found = true;
        for step in &path.0 {
            let next = match (step, &node.value) {
                (Step::Key(name), Value::Map(_)) => node.get(name).map(|(key, node)| (Some(key), node)),
                (Step::Index(index), Value::List(items)) => items.get(*index).map(|node| (None, node)),
                _ => None,
            };
            let Some((next_key, next)) = next else {
                found = false;
                break;
            };
            key = next_key.or(key);
            if next_key.is_none() && matches!(next.value, Value::Map(_)) {
                // An item of a list is its own landmark.
                key = None;
            }
            node = next;
        }
        let scalar = !matches!(node.value, Value::Map(_) | Value::List(_));
        match key {
            Some(key) if key_only || !found || !scalar => key.place,
            // The root has no key: its first character stands for it.
            None if path.0.is_empty() || (!found && std::ptr::eq(node, self.tree)) => Place::default(),
            _ => node.place,
        }
    }
}
