//! `JSONPath`, as much of it as a workflow needs: `$`, dotted names, `['name']`, `[0]`; and `$$`, the context.

use std::borrow::Cow;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::context::{Context, Scope};
use crate::failure::{Failure, names};

/// A path that selects one value or none.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Path {
    text: String,
    root: Root,
    steps: Vec<Step>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Root {
    Input,
    Context,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Name(String),
    Index(usize),
}

/// What the context object holds (`…` stands for "and anything below"). Its other members (the role,
/// redrives) are refused at load.
const CONTEXT: &[&str] = &[
    "$$",
    "$$.Execution",
    "$$.Execution.Id",
    "$$.Execution.Input…",
    "$$.Execution.Name",
    "$$.Execution.StartTime",
    "$$.State",
    "$$.State.EnteredTime",
    "$$.State.Name",
    "$$.State.RetryCount",
    "$$.StateMachine",
    "$$.StateMachine.Id",
    "$$.StateMachine.Name",
    "$$.Task",
    "$$.Task.Token",
    "$$.Map",
    "$$.Map.Item",
    "$$.Map.Item.Index",
    "$$.Map.Item.Value…",
];

impl Path {
    /// The path `$`.
    pub(crate) fn whole_input() -> Self {
        Self { text: "$".to_owned(), root: Root::Input, steps: Vec::new() }
    }

    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let (root, rest) = match (text.strip_prefix("$$"), text.strip_prefix('$')) {
            (Some(rest), _) => (Root::Context, rest),
            (None, Some(rest)) => (Root::Input, rest),
            (None, None) => return Err(format!("`{text}` is not a path: a path starts with `$`")),
        };
        let steps =
            steps(rest).map_err(|problem| format!("`{text}` is not a path that is known here: {problem}"))?;
        let path = Self { text: text.to_owned(), root, steps };
        if root == Root::Context && !path.is_in_context() {
            return Err(format!("`{text}` is nothing that the context object has here"));
        }
        Ok(path)
    }

    /// As it was written.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// Whether it reads `$$.Map`, which exists inside a Map only.
    pub(crate) fn reads_map_item(&self) -> bool {
        self.root == Root::Context && self.steps.first() == Some(&Step::Name("Map".to_owned()))
    }

    /// The selected value; `None` when there is nothing.
    pub(crate) fn select<'v>(&self, scope: &Scope<'v>) -> Option<Cow<'v, Value>> {
        match self.root {
            Root::Input => select(&self.steps, scope.input).map(Cow::Borrowed),
            Root::Context => select(&self.steps, &scope.context.value()).cloned().map(Cow::Owned),
        }
    }

    /// The selected value, or the error that its lack is.
    pub(crate) fn require<'v>(&self, scope: &Scope<'v>) -> Result<Cow<'v, Value>, Failure> {
        self.select(scope).ok_or_else(|| {
            let path = self.text();
            Failure::runtime(format!("Invalid path '{path}' : No results for path: {}", self.bracketed()))
        })
    }

    /// As AWS's messages write it: `$['name'][0]`.
    fn bracketed(&self) -> String {
        let root = match self.root {
            Root::Input => "$",
            Root::Context => "$$",
        };
        self.steps.iter().fold(root.to_owned(), |text, step| match step {
            Step::Name(name) => format!("{text}['{name}']"),
            Step::Index(index) => format!("{text}[{index}]"),
        })
    }

    fn is_in_context(&self) -> bool {
        let steps = self.steps.iter().map(|step| match step {
            Step::Name(name) => format!(".{name}"),
            Step::Index(index) => format!("[{index}]"),
        });
        let written = steps.fold("$$".to_owned(), |text, step| text + &step);
        CONTEXT.iter().any(|known| match known.strip_suffix('…') {
            Some(start) => written
                .strip_prefix(start)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '['])),
            None => *known == written,
        })
    }
}

impl TryFrom<String> for Path {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Self::parse(&text)
    }
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
            dotted_name(dotted)?
        } else if let Some(bracketed) = rest.strip_prefix('[') {
            bracket(bracketed)?
        } else {
            return Err(format!("`{rest}` starts with neither `.` nor `[`"));
        };
        steps.push(step);
        rest = after;
    }
    Ok(steps)
}

fn dotted_name(text: &str) -> Result<(Step, &str), String> {
    let end = text.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(text.len());
    let (name, after) = text.split_at(end);
    if name.is_empty() {
        return Err("a name is missing after `.`".to_owned());
    }
    if !(after.is_empty() || after.starts_with(['.', '['])) {
        return Err(format!("a name like `{name}{after}` is written `['…']`"));
    }
    Ok((Step::Name(name.to_owned()), after))
}

fn bracket(text: &str) -> Result<(Step, &str), String> {
    for quote in ['\'', '"'] {
        let Some(quoted) = text.strip_prefix(quote) else { continue };
        let Some((name, after)) = quoted.split_once(quote) else {
            return Err(format!("the quote {quote} is not closed"));
        };
        let Some(after) = after.strip_prefix(']') else {
            return Err("`]` is missing after a quoted name".to_owned());
        };
        if name.is_empty() || name.contains('\\') {
            return Err(format!("`{name}` can not be a name"));
        }
        return Ok((Step::Name(name.to_owned()), after));
    }
    let Some((index, after)) = text.split_once(']') else {
        return Err("`]` is missing".to_owned());
    };
    // `parse` alone would take `+1`.
    if index.is_empty() || !index.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(format!("`[{index}]` is neither an index nor a quoted name"));
    }
    let index = index.parse().map_err(|_| format!("the index {index} is too large"))?;
    Ok((Step::Index(index), after))
}

/// `InputPath` and `OutputPath`: a path, or `null` for `{}`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(from = "Option<Path>")]
pub(crate) enum Filter {
    Nothing,
    At(Path),
}

impl From<Option<Path>> for Filter {
    fn from(path: Option<Path>) -> Self {
        path.map_or(Self::Nothing, Self::At)
    }
}

impl Default for Filter {
    fn default() -> Self {
        Self::At(Path::whole_input())
    }
}

impl Filter {
    pub(crate) fn apply(&self, value: &Arc<Value>, context: &Context<'_>) -> Result<Arc<Value>, Failure> {
        match self {
            Self::Nothing => Ok(Arc::new(Value::Object(Map::new()))),
            Self::At(path) if path.root == Root::Input && path.steps.is_empty() => Ok(Arc::clone(value)),
            Self::At(path) => {
                let selected = path.require(&Scope { input: value, context })?;
                Ok(Arc::new(selected.into_owned()))
            }
        }
    }

    pub(crate) fn path(&self) -> Option<&Path> {
        match self {
            Self::Nothing => None,
            Self::At(path) => Some(path),
        }
    }
}

/// `ResultPath`: where a result goes in the state's input.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Option<String>")]
pub(crate) enum ResultPath {
    /// `null`: the result is dropped, the input goes on.
    Discard,
    /// These names, one inside the other; none of them means that the result replaces the input.
    At(Vec<String>),
}

impl TryFrom<Option<String>> for ResultPath {
    type Error = String;

    fn try_from(text: Option<String>) -> Result<Self, String> {
        let Some(text) = text else { return Ok(Self::Discard) };
        let path = Path::parse(&text)?;
        if path.root == Root::Context {
            return Err(format!("`{text}` is not a reference path: the context can not be written to"));
        }
        let name = |step| match step {
            Step::Name(name) => Ok(name),
            Step::Index(_) => {
                Err(format!("`{text}` is not a reference path that is known here: it has an index"))
            }
        };
        path.steps.into_iter().map(name).collect::<Result<_, _>>().map(Self::At)
    }
}

impl Default for ResultPath {
    fn default() -> Self {
        Self::At(Vec::new())
    }
}

impl ResultPath {
    /// The state's input with the result put in its place.
    pub(crate) fn put(&self, input: &Arc<Value>, result: Arc<Value>) -> Result<Arc<Value>, Failure> {
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

    /// As it is written in a workflow; `None` for `null`.
    pub(crate) fn text(&self) -> Option<String> {
        let Self::At(names) = self else { return None };
        let plain = |name: &String| name.chars().all(|c| c.is_alphanumeric() || c == '_');
        let step = |name| if plain(name) { format!(".{name}") } else { format!("['{name}']") };
        Some(names.iter().map(step).fold("$".to_owned(), |text, step| text + &step))
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
