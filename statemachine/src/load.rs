//! Reads a workflow file into a [`Machine`] and refuses what is not known, saying where.

use std::collections::BTreeMap;
use std::time::Duration;

use indexmap::IndexMap;
use serde::de::DeserializeOwned;
use serde_json::{Map as Object, Value};

use crate::check;
use crate::definition::{Chain, Delay, Machine, Map, State, StateKind, Task, Text, Work};
use crate::path::Path;
use crate::raw::{Common, RawChain, RawChoice, RawFail, RawMachine, RawMap, RawTask, RawWait};
use crate::template::{Query, Template};
use crate::text;

/// Why a workflow file was refused: everything that is wrong with it, as far as it could be read.
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

/// The longest `Seconds` and `TimeoutSeconds` (States Language specification).
const SECONDS_MAX: u32 = 99_999_999;

/// How many iterations of an inline Map run at a time at most (Developer Guide, "Map state").
const MAP_ITERATIONS_MAX: usize = 40;

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
        let mut loader = Loader { problems: Vec::new() };
        nulls(&json, "", &mut loader.problems);
        if !loader.problems.is_empty() {
            return Err(LoadError { problems: loader.problems });
        }
        let machine = loader.machine(json);
        match machine {
            Some(machine) if loader.problems.is_empty() => {
                let problems = check::problems(&machine);
                if problems.is_empty() { Ok(machine) } else { Err(LoadError { problems }) }
            }
            _ => Err(LoadError { problems: loader.problems }),
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

const COMMON: &[&str] =
    &["Comment", "InputPath", "OutputPath", "ResultPath", "Retry", "Catch", "Next", "End"];

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

/// The fields in which `null` means something, alone or inside.
const NULLABLE: &[&str] =
    &["InputPath", "OutputPath", "ResultPath", "Result", "Parameters", "ResultSelector", "ItemSelector"];

/// Every other `null`: serde would take it for an absent field.
fn nulls(value: &Value, pointer: &str, problems: &mut Vec<Problem>) {
    match value {
        Value::Null => problems.push(Problem::new(pointer, "it can not be null")),
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                nulls(item, &member(pointer, &index.to_string()), problems);
            }
        }
        Value::Object(members) => {
            for (name, value) in members.iter().filter(|(name, _)| !NULLABLE.contains(&name.as_str())) {
                nulls(value, &member(pointer, name), problems);
            }
        }
        Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Reads on after a problem wherever it can, so that all problems are told at once.
struct Loader {
    problems: Vec<Problem>,
}

impl Loader {
    fn refuse<T>(&mut self, pointer: &str, message: impl Into<String>) -> Option<T> {
        self.problems.push(Problem::new(pointer, message));
        None
    }

    fn keep<T>(&mut self, result: Result<T, Problem>) -> Option<T> {
        result.map_err(|problem| self.problems.push(problem)).ok()
    }

    /// Reads JSON into a type; a problem inside it is told with its own pointer.
    fn read<T: DeserializeOwned>(&mut self, value: Value, pointer: &str) -> Option<T> {
        let result = serde_path_to_error::deserialize(value).map_err(|error| {
            let place = format!("{pointer}{}", pointer_of(error.path()));
            Problem::new(&place, error.inner().to_string())
        });
        self.keep(result)
    }

    fn machine(&mut self, json: Value) -> Option<Machine> {
        let raw: RawMachine = self.read(json, "")?;
        self.seconds(raw.timeout_seconds, 1, "/TimeoutSeconds");
        let chain = self.chain(raw.start_at, raw.states, "")?;
        Some(Machine { chain, timeout_seconds: raw.timeout_seconds })
    }

    fn seconds(&mut self, seconds: Option<u32>, least: u32, pointer: &str) {
        if seconds.is_some_and(|seconds| !(least..=SECONDS_MAX).contains(&seconds)) {
            self.problems.push(Problem::new(pointer, format!("it is between {least} and {SECONDS_MAX}")));
        }
    }

    fn chain(&mut self, start_at: String, states: Object<String, Value>, pointer: &str) -> Option<Chain> {
        let place = member(pointer, "States");
        let mut read = IndexMap::new();
        let written = states.len();
        for (name, value) in states {
            if let Some(state) = self.state(&name, value, &member(&place, &name)) {
                read.insert(name, state);
            }
        }
        (read.len() == written).then_some(Chain { start_at, states: read })
    }

    fn inner_chain(&mut self, value: Value, pointer: &str, is_map: bool) -> Option<Chain> {
        let raw: RawChain = self.read(value, pointer)?;
        if raw.processor_config.is_some() && !is_map {
            return self.refuse(&member(pointer, "ProcessorConfig"), "a branch has none");
        }
        self.chain(raw.start_at, raw.states, pointer)
    }

    fn state(&mut self, name: &str, value: Value, pointer: &str) -> Option<State> {
        let Value::Object(mut object) = value else {
            return self.refuse(pointer, "a state is an object");
        };
        let kind = object.remove("Type").unwrap_or_default();
        let kind: StateKind = self.read(kind, &member(pointer, "Type"))?;
        self.known_fields(kind, &object, pointer)?;
        let mut common = Object::new();
        for name in COMMON {
            common.extend(object.remove(*name).map(|value| ((*name).to_owned(), value)));
        }
        let parameters = self.template(&mut object, "Parameters", pointer);
        let result_selector = self.template(&mut object, "ResultSelector", pointer);
        let (parameters, parameters_text) = parameters?;
        let (result_selector, _) = result_selector?;
        let work = self.work(kind, object, (parameters.as_ref(), parameters_text), pointer);
        let common: Common = self.read(Value::Object(common), pointer)?;
        let work = work?;
        let goes_on = !matches!(kind, StateKind::Choice | StateKind::Succeed | StateKind::Fail);
        if goes_on && (common.next.is_some() == common.end.is_some() || common.end == Some(false)) {
            return self.refuse(pointer, "it needs either `Next` or `\"End\": true`");
        }
        Some(State {
            name: name.to_owned(),
            input: common.input_path,
            // A task's parameters became the function's name and payload.
            parameters: parameters.filter(|_| kind != StateKind::Task),
            work,
            result_selector,
            result_path: common.result_path,
            output: common.output_path,
            retry: common.retry,
            catch: common.catch,
            next: common.next,
        })
    }

    fn known_fields(&mut self, kind: StateKind, object: &Object<String, Value>, pointer: &str) -> Option<()> {
        let before = self.problems.len();
        let (common, own) = fields(kind);
        for name in object.keys() {
            let place = member(pointer, name);
            if name != "Comment" && !common.contains(&name.as_str()) && !own.contains(&name.as_str()) {
                let known = [own, common].concat().join("`, `");
                self.problems.push(Problem::new(&place, format!("a {kind} state may have only `{known}`")));
            }
        }
        (self.problems.len() == before).then_some(())
    }

    /// A template and its text. The outer `None` is a problem, the inner one an absent field.
    fn template(
        &mut self,
        object: &mut Object<String, Value>,
        name: &str,
        pointer: &str,
    ) -> Option<(Option<Template>, Value)> {
        let Some(text) = object.remove(name) else { return Some((None, Value::Null)) };
        let place = member(pointer, name);
        if !text.is_object() {
            return self.refuse(&place, "it is an object");
        }
        let template = self.keep(Template::read(&text, &place))?;
        Some((Some(template), text))
    }

    fn work(
        &mut self,
        kind: StateKind,
        mut object: Object<String, Value>,
        parameters: (Option<&Template>, Value),
        pointer: &str,
    ) -> Option<Work> {
        match kind {
            StateKind::Task => self.task(object, parameters, pointer),
            StateKind::Choice => self.choice(object, pointer),
            StateKind::Pass => Some(Work::Pass { result: object.remove("Result") }),
            StateKind::Parallel => self.parallel(&mut object, pointer),
            StateKind::Map => self.map(object, pointer),
            StateKind::Wait => self.wait(object, pointer),
            StateKind::Succeed => Some(Work::Succeed),
            StateKind::Fail => self.fail(object, pointer),
        }
    }

    fn task(
        &mut self,
        object: Object<String, Value>,
        (parameters, text): (Option<&Template>, Value),
        pointer: &str,
    ) -> Option<Work> {
        let raw: RawTask = self.read(Value::Object(object), pointer)?;
        self.seconds(raw.timeout_seconds, 1, &member(pointer, "TimeoutSeconds"));
        let place = member(pointer, "Parameters");
        let Some(Template::Object(members)) = parameters else {
            return self.refuse(pointer, "it needs `Parameters` with `FunctionName` and `Payload`");
        };
        let (mut function, mut payload) = (None, None);
        for (name, template) in members {
            match (name.as_str(), template) {
                ("FunctionName", Template::Literal(Value::String(name))) if !name.is_empty() => {
                    function = Some(name);
                }
                ("Payload", template) => payload = Some(template),
                ("FunctionName", _) => {
                    return self.refuse(&member(&place, name), "it is a text, the same for every run");
                }
                (other, _) => {
                    return self.refuse(&place, format!("`{other}` is neither `FunctionName` nor `Payload`"));
                }
            }
        }
        let (Some(function), Some(payload)) = (function, payload) else {
            return self.refuse(&place, "it needs `FunctionName` and `Payload`");
        };
        let payload_text = ["Payload", "Payload.$"].iter().find_map(|name| text.get(*name)).cloned();
        Some(Work::Task(Task {
            function: function.clone(),
            payload: payload.clone(),
            payload_text: payload_text.unwrap_or_default(),
            timeout_seconds: raw.timeout_seconds,
        }))
    }

    fn choice(&mut self, object: Object<String, Value>, pointer: &str) -> Option<Work> {
        if !object.contains_key("Default") {
            return self.refuse(
                pointer,
                "a Choice needs `Default`: without it, an execution could end in no choice",
            );
        }
        let raw: RawChoice = self.read(Value::Object(object), pointer)?;
        if raw.choices.is_empty() {
            return self.refuse(&member(pointer, "Choices"), "it is empty");
        }
        Some(Work::Choice { rules: raw.choices, default: raw.default })
    }

    fn parallel(&mut self, object: &mut Object<String, Value>, pointer: &str) -> Option<Work> {
        let place = member(pointer, "Branches");
        let branches: Vec<Value> = self.read(object.remove("Branches").unwrap_or_default(), &place)?;
        if branches.is_empty() {
            return self.refuse(&place, "it is empty");
        }
        let written = branches.len();
        let mut read = Vec::new();
        for (index, branch) in branches.into_iter().enumerate() {
            read.extend(self.inner_chain(branch, &member(&place, &index.to_string()), false));
        }
        (read.len() == written).then_some(Work::Parallel { branches: read })
    }

    fn map(&mut self, mut object: Object<String, Value>, pointer: &str) -> Option<Work> {
        let selector = self.template(&mut object, "ItemSelector", pointer);
        let processor = object.remove("ItemProcessor");
        let raw: Option<RawMap> = self.read(Value::Object(object), pointer);
        let Some(processor) = processor else {
            return self.refuse(pointer, "a Map needs `ItemProcessor`");
        };
        let chain = self.inner_chain(processor, &member(pointer, "ItemProcessor"), true)?;
        let (raw, (selector, _)) = (raw?, selector?);
        if raw.max_concurrency > MAP_ITERATIONS_MAX {
            let message = format!("an inline Map runs at most {MAP_ITERATIONS_MAX} iterations at a time");
            return self.refuse(&member(pointer, "MaxConcurrency"), message);
        }
        let at_once = if raw.max_concurrency == 0 { MAP_ITERATIONS_MAX } else { raw.max_concurrency };
        let items = raw.items_path.unwrap_or_else(Path::whole_input);
        Some(Work::Map(Box::new(Map { items, selector, at_once, chain })))
    }

    fn wait(&mut self, object: Object<String, Value>, pointer: &str) -> Option<Work> {
        let raw: RawWait = self.read(Value::Object(object), pointer)?;
        self.seconds(raw.seconds, 0, &member(pointer, "Seconds"));
        match (raw.seconds, raw.seconds_path) {
            (Some(seconds), None) => Some(Work::Wait(Delay::Fixed(Duration::from_secs(seconds.into())))),
            (None, Some(path)) => Some(Work::Wait(Delay::Selected(path))),
            _ => self.refuse(pointer, "a Wait needs either `Seconds` or `SecondsPath`"),
        }
    }

    fn fail(&mut self, object: Object<String, Value>, pointer: &str) -> Option<Work> {
        let raw: RawFail = self.read(Value::Object(object), pointer)?;
        if raw.error.is_none() && raw.error_path.is_none() {
            return self
                .refuse(pointer, "a Fail needs `Error` or `ErrorPath`, or nobody can tell it from another");
        }
        let error = self.text(raw.error, raw.error_path, "Error", pointer)?;
        let cause = self.text(raw.cause, raw.cause_path, "Cause", pointer)?;
        Some(Work::Fail { error, cause })
    }

    /// One of the two fields; neither is the empty text.
    fn text(
        &mut self,
        fixed: Option<String>,
        selected: Option<String>,
        name: &str,
        pointer: &str,
    ) -> Option<Text> {
        match (fixed, selected) {
            (fixed, None) => Some(Text::Fixed(fixed.unwrap_or_default())),
            (None, Some(query)) => {
                let place = member(pointer, &format!("{name}Path"));
                let query = Query::parse(&query).map_err(|message| Problem::new(&place, message));
                self.keep(query).map(Text::Selected)
            }
            (Some(_), Some(_)) => self.refuse(pointer, format!("it has both `{name}` and `{name}Path`")),
        }
    }
}
