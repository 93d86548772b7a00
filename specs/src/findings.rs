//! Collects the problems of a spec, with their places in the file.

use crate::path::{Path, Step};
use crate::problem::{Problem, SpecErrors, shortened};
use crate::tree::{Key, Node, Place, Value};

/// The largest number of problems that are listed.
const PROBLEMS_MAX: usize = 100;
/// The longest part of a line that is shown.
const LINE_MAX: usize = 120;
/// The part of a long line that is shown before the offending text.
const BEFORE: usize = 40;

/// The file's text.
#[derive(Clone, Copy)]
pub(crate) struct File<'a>(pub(crate) &'a str);

impl<'a> File<'a> {
    /// The text at a place.
    pub(crate) fn slice(self, place: Place) -> &'a str {
        // A block's place can include the line breaks after it.
        self.0.get(place.start..place.end.min(self.0.len())).unwrap_or("").trim_end()
    }

    /// A problem with the text at a place.
    pub(crate) fn problem(self, place: Place, path: &Path, message: String, expected: String) -> Problem {
        let mut start = place.start.min(self.0.len());
        while !self.0.is_char_boundary(start) {
            start -= 1;
        }
        let line_start = self.0[..start].rfind('\n').map_or(0, |newline| newline + 1);
        let column = self.0[line_start..start].chars().count();
        let line = self.0[line_start..].lines().next().unwrap_or("");
        // Of a line that is too long (a JSON spec can have a single line), only the part around the text is shown.
        let skipped = if line.len() <= LINE_MAX { 0 } else { column.saturating_sub(BEFORE) };
        Problem {
            line: self.0[..line_start].matches('\n').count() + 1,
            column: column + 1,
            path: path.to_string(),
            text: shortened(self.slice(place)),
            message,
            expected,
            source: line.chars().skip(skipped).take(LINE_MAX).collect(),
            before: column - skipped,
            steps: path.clone(),
        }
    }
}

/// The problems of one spec.
pub(crate) struct Findings<'a> {
    pub(crate) file: File<'a>,
    tree: &'a Node,
    problems: Vec<Problem>,
    more: usize,
    /// The values that could not be read. Each was replaced by a placeholder, which must not cause further problems.
    broken: Vec<Path>,
}

impl<'a> Findings<'a> {
    pub(crate) fn new(text: &'a str, tree: &'a Node) -> Self {
        Self { file: File(text), tree, problems: Vec::new(), more: 0, broken: Vec::new() }
    }

    /// The spec, if it has no problems.
    pub(crate) fn conclude<T>(self, spec: T) -> Result<T, SpecErrors> {
        if self.problems.is_empty() { Ok(spec) } else { Err(SpecErrors::new(self.problems, self.more)) }
    }

    /// Marks the value at this path as unreadable: nothing that depends on it is reported.
    pub(crate) fn distrust(&mut self, path: Path) {
        self.broken.push(path);
    }

    /// Whether further problems are only counted.
    pub(crate) fn is_full(&self) -> bool {
        self.problems.len() >= PROBLEMS_MAX
    }

    /// Reports the text at a place of the file.
    pub(crate) fn at(&mut self, place: Place, path: &Path, message: String, expected: String) {
        if self.is_full() {
            self.more += 1;
        } else {
            self.problems.push(self.file.problem(place, path, message, expected));
        }
    }

    /// Reports a value. `needs` are the other values that the problem depends on.
    pub(crate) fn value(
        &mut self,
        path: &Path,
        needs: &[Path],
        message: impl Into<String>,
        expected: impl Into<String>,
    ) {
        if self.trusts(path) && needs.iter().all(|path| self.trusts(path)) {
            let place = self.locate(path, false);
            self.at(place, path, message.into(), expected.into());
        }
    }

    /// Reports a key.
    pub(crate) fn key(&mut self, path: &Path, message: impl Into<String>, expected: impl Into<String>) {
        if self.trusts(path) {
            let place = self.locate(path, true);
            self.at(place, path, message.into(), expected.into());
        }
    }

    pub(crate) fn trusts(&self, path: &Path) -> bool {
        !self.broken.iter().any(|broken| path.is_in(broken))
    }

    /// The place of the value at a path. For a block or a missing value: the place of the nearest key.
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
                // An item of a list is shown itself, not the key of the list.
                key = None;
            }
            node = next;
        }
        let scalar = !matches!(node.value, Value::Map(_) | Value::List(_));
        match key {
            Some(key) if key_only || !found || !scalar => key.place,
            // The root has no key: its first character is shown.
            None if path.0.is_empty() || (!found && std::ptr::eq(node, self.tree)) => Place::default(),
            _ => node.place,
        }
    }
}
