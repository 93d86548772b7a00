//! Reference paths (`$`, `$.name`, `$.name[0]`), four fields of the context object `$$`, and `ResultPath`.

use std::borrow::Cow;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::context::Scope;
use crate::failure::{Failure, names};
use crate::problem::not_supported;

/// A path that selects one value or none.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Path {
    text: String,
    source: Source,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Source {
    Input(Vec<Step>),
    /// Within the execution's input.
    ExecutionInput(Vec<Step>),
    Context(ContextField),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Name(String),
    Index(usize),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ContextField {
    ExecutionId,
    ExecutionName,
    TaskToken,
}

/// The path of a task's token.
pub(crate) const TASK_TOKEN: &str = "$$.Task.Token";

const EXECUTION_ID: &str = "$$.Execution.Id";
const EXECUTION_NAME: &str = "$$.Execution.Name";
const EXECUTION_INPUT: &str = "$$.Execution.Input";

impl Path {
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let source = match text {
            EXECUTION_ID => Source::Context(ContextField::ExecutionId),
            EXECUTION_NAME => Source::Context(ContextField::ExecutionName),
            TASK_TOKEN => Source::Context(ContextField::TaskToken),
            other if other.starts_with("$$") => match other.strip_prefix(EXECUTION_INPUT) {
                Some(rest) if rest.is_empty() || rest.starts_with(['.', '[']) => {
                    Source::ExecutionInput(parsed(text, rest)?)
                }
                _ => {
                    let supported = [EXECUTION_ID, EXECUTION_NAME, EXECUTION_INPUT, TASK_TOKEN];
                    return Err(not_supported(&format!("the context path `{text}`"), &supported));
                }
            },
            other if other.starts_with("States.") => {
                return Err(not_supported(&format!("the intrinsic function `{text}`"), &["paths"]));
            }
            other => {
                let Some(rest) = other.strip_prefix('$') else {
                    return Err(format!("`{text}` is not a path: a path starts with `$`"));
                };
                Source::Input(parsed(text, rest)?)
            }
        };
        Ok(Self { text: text.to_owned(), source })
    }

    /// The path as it is written.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// The selected value; `None` if the path selects nothing.
    pub(crate) fn select<'v>(&self, scope: Scope<'v>) -> Option<Cow<'v, Value>> {
        let text = |text: &str| Some(Cow::Owned(Value::from(text)));
        match &self.source {
            Source::Input(steps) => select(steps, scope.input).map(Cow::Borrowed),
            Source::ExecutionInput(steps) => select(steps, &scope.context.execution.input).map(Cow::Borrowed),
            Source::Context(ContextField::ExecutionId) => text(&scope.context.execution.arn),
            Source::Context(ContextField::ExecutionName) => text(&scope.context.execution.name),
            Source::Context(ContextField::TaskToken) => scope.context.token.and_then(text),
        }
    }

    /// The value that `OutputPath` selects. The message is AWS's.
    pub(crate) fn output<'v>(&self, scope: Scope<'v>) -> Result<Cow<'v, Value>, Failure> {
        self.select(scope).ok_or_else(|| {
            let path = self.text();
            Failure::runtime(format!("Invalid path '{path}' : No results for path: {}", self.bracketed()))
        })
    }

    /// The value for a field whose value is a path. The message is AWS's.
    pub(crate) fn field_value<'v>(&self, field: &str, scope: Scope<'v>) -> Result<Cow<'v, Value>, Failure> {
        self.select(scope).ok_or_else(|| {
            let (path, input) = (self.text(), scope.input);
            Failure::runtime(format!(
                "The JSONPath '{path}' specified for the field '{field}' could not be found in the input \
                 '{input}'"
            ))
        })
    }

    /// The path as AWS's messages write it: `$['name'][0]`.
    fn bracketed(&self) -> String {
        let Source::Input(steps) = &self.source else { return self.text.clone() };
        steps.iter().fold("$".to_owned(), |text, step| match step {
            Step::Name(name) => format!("{text}['{name}']"),
            Step::Index(index) => format!("{text}[{index}]"),
        })
    }
}

impl TryFrom<String> for Path {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Self::parse(&text)
    }
}

/// The steps of a path, after its beginning.
fn parsed(path: &str, rest: &str) -> Result<Vec<Step>, String> {
    steps(rest).map_err(|reason| format!("the path `{path}` is not supported by this interpreter: {reason}"))
}

fn select<'v>(steps: &[Step], value: &'v Value) -> Option<&'v Value> {
    steps.iter().try_fold(value, |value, step| match step {
        Step::Name(name) => value.get(name),
        Step::Index(index) => value.get(index),
    })
}

fn steps(mut rest: &str) -> Result<Vec<Step>, String> {
    let mut steps = Vec::new();
    while !rest.is_empty() {
        let (step, after) = if let Some(dotted) = rest.strip_prefix('.') {
            name(dotted)?
        } else if let Some(bracketed) = rest.strip_prefix('[') {
            index(bracketed)?
        } else {
            return Err(format!("expected `.` or `[`, found `{rest}`"));
        };
        steps.push(step);
        rest = after;
    }
    Ok(steps)
}

fn name(text: &str) -> Result<(Step, &str), String> {
    let end = text.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(text.len());
    let (name, after) = text.split_at(end);
    if name.is_empty() {
        return Err(format!("expected a name after `.`, found `{text}`"));
    }
    Ok((Step::Name(name.to_owned()), after))
}

fn index(text: &str) -> Result<(Step, &str), String> {
    let Some((index, after)) = text.split_once(']') else {
        return Err("`]` is missing".to_owned());
    };
    // `parse` alone would accept `+1`.
    if index.is_empty() || !index.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(format!("expected an index, found `[{index}]`"));
    }
    let index = index.parse().map_err(|_| format!("the index {index} is out of range"))?;
    Ok((Step::Index(index), after))
}

/// `ResultPath`: the place of a result in the state's input.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Option<String>")]
pub(crate) enum ResultPath {
    /// `null`: the result is discarded, and the input is the output.
    Discard,
    /// Nested names. Without any name, the result replaces the input.
    At(Vec<String>),
}

impl TryFrom<Option<String>> for ResultPath {
    type Error = String;

    fn try_from(text: Option<String>) -> Result<Self, String> {
        let Some(text) = text else { return Ok(Self::Discard) };
        let Source::Input(steps) = Path::parse(&text)?.source else {
            return Err(format!("`{text}` cannot be written to: the context object is read-only"));
        };
        let name = |step| match step {
            Step::Name(name) => Ok(name),
            Step::Index(_) => Err(format!(
                "the path `{text}` is not supported by this interpreter: `ResultPath` must not have an index"
            )),
        };
        steps.into_iter().map(name).collect::<Result<_, _>>().map(Self::At)
    }
}

impl Default for ResultPath {
    fn default() -> Self {
        Self::At(Vec::new())
    }
}

impl ResultPath {
    /// The state's input with the result at its place.
    pub(crate) fn insert(&self, input: &Arc<Value>, result: Arc<Value>) -> Result<Arc<Value>, Failure> {
        let Self::At(names) = self else { return Ok(Arc::clone(input)) };
        let Some((last, parents)) = names.split_last() else { return Ok(result) };
        let mut output = Value::clone(input);
        let mut place = &mut output;
        for name in parents {
            place = object(place, name)?.entry(name.as_str()).or_insert_with(|| Value::Object(Map::new()));
        }
        object(place, last)?.insert(last.clone(), Arc::unwrap_or_clone(result));
        Ok(Arc::new(output))
    }

    /// The path as it is written in a workflow; `None` for `null`.
    pub(crate) fn text(&self) -> Option<String> {
        let Self::At(names) = self else { return None };
        Some(names.iter().fold("$".to_owned(), |text, name| format!("{text}.{name}")))
    }
}

fn object<'v>(value: &'v mut Value, name: &str) -> Result<&'v mut Map<String, Value>, Failure> {
    match value {
        Value::Object(object) => Ok(object),
        other => Err(Failure::new(
            names::RESULT_PATH_MATCH_FAILURE,
            format!("Unable to apply step '{name}' of ResultPath to input '{other}'"),
        )),
    }
}
