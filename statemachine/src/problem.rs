//! Why a workflow file was refused, and where in the file.

/// Why a workflow file was refused. Problems of one kind are reported together: those of the file's text, or those of
/// its fields, or, once every state could be read, those of how the states are connected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot load the workflow:{}", lines(.problems))]
pub struct LoadError {
    /// At least one.
    pub problems: Vec<Problem>,
}

fn lines(problems: &[Problem]) -> String {
    problems.iter().fold(String::new(), |lines, problem| format!("{lines}\n  {problem}"))
}

/// One problem of a workflow file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: {message}", if .pointer.is_empty() { "the file" } else { .pointer.as_str() })]
pub struct Problem {
    /// The JSON pointer (RFC 6901) of the place; empty for the whole file.
    pub pointer: String,
    /// What is wrong there.
    pub message: String,
}

impl Problem {
    pub(crate) fn new(pointer: &str, message: impl Into<String>) -> Self {
        Self { pointer: pointer.to_owned(), message: message.into() }
    }
}

/// The JSON pointer of a member of the object or array at `pointer`.
pub(crate) fn member(pointer: &str, name: &str) -> String {
    format!("{pointer}/{}", name.replace('~', "~0").replace('/', "~1"))
}

/// A path of serde's as a JSON pointer.
pub(crate) fn pointer_of(path: &serde_path_to_error::Path) -> String {
    use serde_path_to_error::Segment;
    path.iter().fold(String::new(), |pointer, segment| match segment {
        Segment::Seq { index } => member(&pointer, &index.to_string()),
        Segment::Map { key } => member(&pointer, key),
        Segment::Enum { .. } | Segment::Unknown => pointer,
    })
}

/// The message about a part of the language that the interpreter does not have.
pub(crate) fn not_supported(what: &str, supported: &[&str]) -> String {
    format!("{what} is not supported by this interpreter (supported: {})", supported.join(", "))
}
