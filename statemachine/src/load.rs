//! Reads a workflow file into a [`Machine`] and refuses what is not known, saying where.

use std::collections::BTreeMap;

use indexmap::IndexMap;
use serde::de::DeserializeOwned;
use serde_json::{Map as Object, Value};

use crate::check;
use crate::definition::{Chain, Machine, State, StateKind};
use crate::path::{Filter, ResultPath};
use crate::raw::{ProcessorConfig, QueryLanguage, Version};
use crate::template::Template;
use crate::text;
use crate::value::SECONDS_MAX;

/// Why a workflow file was refused. All problems of a kind come at once: first those of its text, then those of
/// what is written, and when each state could be read, those of how the states hang together.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the workflow can not be loaded:{}", lines(.problems))]
pub struct LoadError {
    /// At least one.
    pub problems: Vec<Problem>,
}

fn lines(problems: &[Problem]) -> String {
    problems.iter().fold(String::new(), |lines, problem| format!("{lines}\n  {problem}"))
}

/// One thing that is wrong with a workflow file.
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

/// The largest definition that Step Functions takes (Developer Guide, "quotas"), bytes.
const DEFINITION_BYTES_MAX: usize = 1024 * 1024;

impl Machine {
    /// Reads a workflow file, with values for its `${Name}` places.
    ///
    /// # Errors
    /// Whatever this interpreter does not know, and whatever could not run.
    pub fn load(text: &str, substitutions: &BTreeMap<String, String>) -> Result<Self, LoadError> {
        let text = text::substitute(text, substitutions).map_err(|problems| LoadError { problems })?;
        if text.len() > DEFINITION_BYTES_MAX {
            let message =
                format!("{} bytes are more than the {DEFINITION_BYTES_MAX} that are allowed", text.len());
            return Err(LoadError { problems: vec![Problem::new("", message)] });
        }
        let json = text::parse(&text).map_err(|problem| LoadError { problems: vec![problem] })?;
        let mut nulls = Vec::new();
        find_nulls(&json, "", &mut nulls);
        let mut loader = Loader { problems: Vec::new() };
        let machine = loader.machine(json);
        // What is wrong with a null has been said.
        loader.problems.retain(|problem| nulls.iter().all(|null| null.pointer != problem.pointer));
        loader.problems.splice(0..0, nulls);
        let problems = match &machine {
            Ok(machine) if loader.problems.is_empty() => check::problems(machine),
            _ => loader.problems,
        };
        match machine {
            Ok(machine) if problems.is_empty() => Ok(machine),
            _ => Err(LoadError { problems }),
        }
    }
}

/// The pointer of a member of what `pointer` points to.
pub(crate) fn member(pointer: &str, name: &str) -> String {
    format!("{pointer}/{}", name.replace('~', "~0").replace('/', "~1"))
}

/// The pointer that serde's path amounts to.
pub(crate) fn pointer_of(path: &serde_path_to_error::Path) -> String {
    use serde_path_to_error::Segment;
    path.iter().fold(String::new(), |pointer, segment| match segment {
        Segment::Seq { index } => member(&pointer, &index.to_string()),
        Segment::Map { key } => member(&pointer, key),
        Segment::Enum { .. } | Segment::Unknown => pointer,
    })
}

/// The fields that a kind of state may have (States Language specification, "State fields", as far as they
/// are known here), after `Type` and `Comment`.
fn fields(kind: StateKind) -> (&'static [&'static str], &'static [&'static str]) {
    const PATHS: &[&str] = &["InputPath", "OutputPath"];
    const FLOW: &[&str] = &["InputPath", "OutputPath", "Next", "End"];
    const RESULT: &[&str] = &["InputPath", "OutputPath", "Next", "End", "ResultPath"];
    const WORK: &[&str] =
        &["InputPath", "OutputPath", "Next", "End", "ResultPath", "ResultSelector", "Retry", "Catch"];
    match kind {
        StateKind::Task => (WORK, &["Resource", "Parameters", "TimeoutSeconds"]),
        StateKind::Choice => (PATHS, &["Choices", "Default"]),
        StateKind::Pass => (RESULT, &["Parameters", "Result"]),
        StateKind::Parallel => (WORK, &["Parameters", "Branches"]),
        StateKind::Map => (WORK, &["ItemsPath", "ItemSelector", "MaxConcurrency", "ItemProcessor"]),
        StateKind::Wait => (FLOW, &["Seconds", "SecondsPath"]),
        StateKind::Succeed => (PATHS, &[]),
        StateKind::Fail => (&[], &["Error", "ErrorPath", "Cause", "CausePath"]),
    }
}

/// Whether a Task with this `Resource` is answered with its token.
fn waits_for_token(resource: &Value) -> bool {
    resource.as_str().is_some_and(|resource| resource.ends_with(".waitForTaskToken"))
}

/// The fields in which `null` means something, alone or inside.
const NULLABLE: &[&str] =
    &["InputPath", "OutputPath", "ResultPath", "Result", "Parameters", "ResultSelector", "ItemSelector"];

/// Every other `null`: serde would take it for an absent field.
fn find_nulls(value: &Value, pointer: &str, problems: &mut Vec<Problem>) {
    match value {
        Value::Null => problems.push(Problem::new(pointer, "it can not be null")),
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                find_nulls(item, &member(pointer, &index.to_string()), problems);
            }
        }
        Value::Object(members) => {
            for (name, value) in members.iter().filter(|(name, _)| !NULLABLE.contains(&name.as_str())) {
                find_nulls(value, &member(pointer, name), problems);
            }
        }
        Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// In place of what could not be read: why not is among the problems already.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Told;

pub(crate) type Read<T> = Result<T, Told>;

/// Reads on after a problem wherever it can, so that all problems are told at once.
pub(crate) struct Loader {
    pub(crate) problems: Vec<Problem>,
}

impl Loader {
    pub(crate) fn complain(&mut self, pointer: &str, message: impl Into<String>) {
        self.problems.push(Problem::new(pointer, message));
    }

    pub(crate) fn refuse<T>(&mut self, pointer: &str, message: impl Into<String>) -> Read<T> {
        self.complain(pointer, message);
        Err(Told)
    }

    pub(crate) fn keep<T>(&mut self, result: Result<T, Problem>) -> Read<T> {
        result.map_err(|problem| {
            self.problems.push(problem);
            Told
        })
    }

    /// Reads JSON into a type; a problem inside it is told with its own pointer.
    pub(crate) fn read<T: DeserializeOwned>(&mut self, value: Value, pointer: &str) -> Read<T> {
        let result = serde_path_to_error::deserialize(value).map_err(|error| {
            let place = format!("{pointer}{}", pointer_of(error.path()));
            Problem::new(&place, error.inner().to_string())
        });
        self.keep(result)
    }

    /// Takes a field out of an object; its default when it is absent.
    pub(crate) fn field<T: DeserializeOwned + Default>(
        &mut self,
        object: &mut Object<String, Value>,
        name: &str,
        pointer: &str,
    ) -> Read<T> {
        match object.remove(name) {
            None => Ok(T::default()),
            Some(value) => self.read(value, &member(pointer, name)),
        }
    }

    /// Takes a field out of an object that must have it.
    pub(crate) fn required<T: DeserializeOwned>(
        &mut self,
        object: &mut Object<String, Value>,
        name: &str,
        pointer: &str,
    ) -> Read<T> {
        match object.remove(name) {
            None => self.refuse(pointer, format!("it needs `{name}`")),
            Some(value) => self.read(value, &member(pointer, name)),
        }
    }

    /// Reads each of the values in a field, so that each tells its own problem.
    pub(crate) fn each<T: DeserializeOwned>(&mut self, values: Vec<Value>, pointer: &str) -> Read<Vec<T>> {
        let written = values.len();
        let mut read = Vec::new();
        for (index, value) in values.into_iter().enumerate() {
            read.extend(self.read(value, &member(pointer, &index.to_string())));
        }
        if read.len() == written { Ok(read) } else { Err(Told) }
    }

    fn list<T: DeserializeOwned>(
        &mut self,
        object: &mut Object<String, Value>,
        name: &str,
        pointer: &str,
    ) -> Read<Vec<T>> {
        let values = self.field(object, name, pointer)?;
        self.each(values, &member(pointer, name))
    }

    /// A whole number of seconds within AWS's range; `None` is an absent field.
    pub(crate) fn seconds(
        &mut self,
        object: &mut Object<String, Value>,
        name: &str,
        least: u32,
        pointer: &str,
    ) -> Read<Option<u32>> {
        let seconds: Option<u32> = self.field(object, name, pointer)?;
        if seconds.is_some_and(|seconds| !(least..=SECONDS_MAX).contains(&seconds)) {
            let message = format!("it is between {least} and {SECONDS_MAX}");
            return self.refuse(&member(pointer, name), message);
        }
        Ok(seconds)
    }

    /// Refuses every field that is not known, and takes it out.
    fn known(&mut self, object: &mut Object<String, Value>, what: &str, known: &[&str], pointer: &str) {
        object.retain(|name, _| {
            let is_known = known.contains(&name.as_str());
            if !is_known {
                let message = format!("{what} may have only `{}`", known.join("`, `"));
                self.complain(&member(pointer, name), message);
            }
            is_known
        });
    }

    fn object(&mut self, value: Value, what: &str, pointer: &str) -> Read<Object<String, Value>> {
        match value {
            Value::Object(object) => Ok(object),
            _ => self.refuse(pointer, format!("{what} is an object")),
        }
    }

    fn machine(&mut self, json: Value) -> Read<Machine> {
        let mut object = self.object(json, "a workflow", "")?;
        let known = ["Comment", "Version", "QueryLanguage", "StartAt", "TimeoutSeconds", "States"];
        self.known(&mut object, "a workflow", &known, "");
        let version = self.field::<Option<Version>>(&mut object, "Version", "");
        let language = self.field::<Option<QueryLanguage>>(&mut object, "QueryLanguage", "");
        let timeout_seconds = self.seconds(&mut object, "TimeoutSeconds", 1, "");
        let chain = self.chain(object, "");
        version?;
        language?;
        Ok(Machine { chain: chain?, timeout_seconds: timeout_seconds? })
    }

    /// `StartAt` and `States`, of the machine, a branch or a Map's processor.
    fn chain(&mut self, mut object: Object<String, Value>, pointer: &str) -> Read<Chain> {
        let comment = self.field::<Option<String>>(&mut object, "Comment", pointer);
        let start_at = self.required(&mut object, "StartAt", pointer);
        let states: Object<String, Value> = self.required(&mut object, "States", pointer)?;
        let place = member(pointer, "States");
        let mut read = IndexMap::new();
        let written = states.len();
        for (name, value) in states {
            if let Ok(state) = self.state(&name, value, &member(&place, &name)) {
                read.insert(name, state);
            }
        }
        comment?;
        let start_at = start_at?;
        if read.len() == written { Ok(Chain { start_at, states: read }) } else { Err(Told) }
    }

    /// A branch of a Parallel.
    pub(crate) fn branch(&mut self, value: Value, pointer: &str) -> Read<Chain> {
        let mut object = self.object(value, "a branch", pointer)?;
        self.known(&mut object, "a branch", &["Comment", "StartAt", "States"], pointer);
        self.chain(object, pointer)
    }

    /// What a Map does with each item.
    pub(crate) fn processor(&mut self, value: Value, pointer: &str) -> Read<Chain> {
        let mut object = self.object(value, "an `ItemProcessor`", pointer)?;
        let known = ["Comment", "ProcessorConfig", "StartAt", "States"];
        self.known(&mut object, "an `ItemProcessor`", &known, pointer);
        let config = self.field::<Option<ProcessorConfig>>(&mut object, "ProcessorConfig", pointer);
        let chain = self.chain(object, pointer);
        config?;
        chain
    }

    /// Every use of a token in a state that has none.
    fn find_tokens(&mut self, value: &Value, pointer: &str) {
        match value {
            Value::String(text) if text.contains("$$.Task") => {
                self.complain(pointer, "only a task whose `Resource` waits for it has a token");
            }
            Value::Array(items) => {
                let items = items.iter().enumerate();
                items.for_each(|(index, item)| self.find_tokens(item, &member(pointer, &index.to_string())));
            }
            Value::Object(members) if !members.contains_key("States") => {
                members.iter().for_each(|(name, value)| self.find_tokens(value, &member(pointer, name)));
            }
            _ => {}
        }
    }

    fn state(&mut self, name: &str, value: Value, pointer: &str) -> Read<State> {
        let mut object = self.object(value, "a state", pointer)?;
        let kind: StateKind = self.required(&mut object, "Type", pointer)?;
        let (common, own) = fields(kind);
        self.known(&mut object, &format!("a {kind} state"), &[&["Comment"], own, common].concat(), pointer);
        if !object.get("Resource").is_some_and(waits_for_token) {
            self.find_tokens(&Value::Object(object.clone()), pointer);
        }
        let comment = self.field::<Option<String>>(&mut object, "Comment", pointer);
        let input = self.field::<Filter>(&mut object, "InputPath", pointer);
        let output = self.field::<Filter>(&mut object, "OutputPath", pointer);
        let result_path = self.field::<ResultPath>(&mut object, "ResultPath", pointer);
        let retry = self.list(&mut object, "Retry", pointer);
        let catch = self.list(&mut object, "Catch", pointer);
        let next = self.next(kind, &mut object, pointer);
        let parameters = self.template(&mut object, "Parameters", pointer);
        let result_selector = self.template(&mut object, "ResultSelector", pointer);
        let work = match &parameters {
            Ok(written) => self.work(kind, object, written.as_ref(), pointer),
            Err(Told) => Err(Told),
        };
        comment?;
        Ok(State {
            name: name.to_owned(),
            input: input?,
            // A task's parameters became the function's name and payload.
            parameters: parameters?.map(|(template, _)| template).filter(|_| kind != StateKind::Task),
            work: work?,
            result_selector: result_selector?.map(|(template, _)| template),
            result_path: result_path?,
            output: output?,
            retry: retry?,
            catch: catch?,
            next: next?,
        })
    }

    /// `Next` and `End`, of the kinds that have them.
    fn next(
        &mut self,
        kind: StateKind,
        object: &mut Object<String, Value>,
        pointer: &str,
    ) -> Read<Option<String>> {
        let next = self.field::<Option<String>>(object, "Next", pointer);
        let end = self.field::<Option<bool>>(object, "End", pointer);
        let (next, end) = (next?, end?);
        match (kind, &next, end) {
            (StateKind::Choice | StateKind::Succeed | StateKind::Fail, _, _) => Ok(None),
            (_, Some(_), None) | (_, None, Some(true)) => Ok(next),
            _ => self.refuse(pointer, "it needs either `Next` or `\"End\": true`"),
        }
    }

    /// A template and how it is written; `None` is an absent field.
    pub(crate) fn template(
        &mut self,
        object: &mut Object<String, Value>,
        name: &str,
        pointer: &str,
    ) -> Read<Option<(Template, Value)>> {
        let Some(written) = object.remove(name) else { return Ok(None) };
        let place = member(pointer, name);
        if !written.is_object() {
            return self.refuse(&place, "it is an object");
        }
        let template = self.keep(Template::read(&written, &place))?;
        Ok(Some((template, written)))
    }
}
