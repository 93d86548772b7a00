//! Reads the machine, its branches and their states.

use indexmap::IndexMap;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::conditions;
use super::reader::{Object, Read, Reader, Reported};
use super::tasks;
use crate::definition::{Chain, Machine, State, StateKind, Work};
use crate::path::{Path, ResultPath};
use crate::problem::{member, not_supported};
use crate::retry::{Catcher, Retrier};
use crate::template::{Template, Text};

const KINDS: &[(&str, StateKind)] = &[
    ("Task", StateKind::Task),
    ("Parallel", StateKind::Parallel),
    ("Choice", StateKind::Choice),
    ("Pass", StateKind::Pass),
    ("Succeed", StateKind::Succeed),
    ("Fail", StateKind::Fail),
];

/// The supported fields of a kind of state, besides `Type`.
fn fields(kind: StateKind) -> &'static [&'static str] {
    match kind {
        StateKind::Task => &[
            "Comment",
            "Resource",
            "Parameters",
            "TimeoutSeconds",
            "ResultSelector",
            "ResultPath",
            "OutputPath",
            "Retry",
            "Catch",
            "Next",
            "End",
        ],
        StateKind::Parallel => &[
            "Comment",
            "Branches",
            "ResultSelector",
            "ResultPath",
            "OutputPath",
            "Retry",
            "Catch",
            "Next",
            "End",
        ],
        StateKind::Choice => &["Comment", "Choices", "Default"],
        StateKind::Pass => &["Comment", "Parameters", "ResultPath", "OutputPath", "Next", "End"],
        StateKind::Succeed => &["Comment"],
        StateKind::Fail => &["Comment", "Error", "ErrorPath", "Cause", "CausePath"],
    }
}

const RETRIER: &[&str] =
    &["ErrorEquals", "IntervalSeconds", "BackoffRate", "MaxAttempts", "MaxDelaySeconds", "JitterStrategy"];
const CATCHER: &[&str] = &["ErrorEquals", "ResultPath", "Next"];

pub(super) fn machine(reader: &mut Reader, json: Value) -> Read<Machine> {
    let mut object = reader.object(json, "the workflow", "")?;
    reader.supported(&mut object, &["Comment", "StartAt", "TimeoutSeconds", "States"]);
    let timeout_seconds = reader.timeout_seconds(&mut object);
    let chain = chain(reader, object);
    Ok(Machine { chain: chain?, timeout_seconds: timeout_seconds? })
}

/// `StartAt` and `States`, of the machine or of a branch.
fn chain(reader: &mut Reader, mut object: Object) -> Read<Chain> {
    let comment = reader.comment(&mut object);
    let start_at = reader.required(&mut object, "StartAt");
    let written: Map<String, Value> = reader.required(&mut object, "States")?;
    let count = written.len();
    let place = object.place("States");
    let mut states = IndexMap::new();
    for (name, value) in written {
        if let Ok(state) = state(reader, &name, value, &member(&place, &name)) {
            states.insert(name, state);
        }
    }
    comment?;
    let start_at = start_at?;
    if states.len() == count { Ok(Chain { start_at, states }) } else { Err(Reported) }
}

fn state(reader: &mut Reader, name: &str, value: Value, pointer: &str) -> Read<State> {
    let mut object = reader.object(value, &format!("the state `{name}`"), pointer)?;
    let kind = kind(reader, &mut object, name)?;
    object.what = format!("the {kind} state `{name}`");
    reader.supported(&mut object, fields(kind));
    tasks::check_tokens(reader, &object);
    let comment = reader.comment(&mut object);
    let result_selector = template(reader, &mut object, "ResultSelector");
    let result_path = result_path(reader, &mut object);
    let output_path = reader.optional::<Path>(&mut object, "OutputPath");
    let retry = list::<Retrier>(reader, &mut object, "Retry", RETRIER);
    let catch = list::<Catcher>(reader, &mut object, "Catch", CATCHER);
    let next = next(reader, kind, &mut object);
    let work = work(reader, kind, &mut object);
    comment?;
    Ok(State {
        name: name.to_owned(),
        work: work?,
        result_selector: result_selector?,
        result_path: result_path?,
        output_path: output_path?,
        retry: retry?,
        catch: catch?,
        next: next?,
    })
}

fn kind(reader: &mut Reader, object: &mut Object, name: &str) -> Read<StateKind> {
    let written: String = reader.required(object, "Type")?;
    if let Some((_, kind)) = KINDS.iter().find(|(kind, _)| *kind == written) {
        return Ok(*kind);
    }
    let supported: Vec<&str> = KINDS.iter().map(|(kind, _)| *kind).collect();
    let what = format!("the type `{written}` of the state `{name}`");
    reader.refuse(&object.place("Type"), not_supported(&what, &supported))
}

fn work(reader: &mut Reader, kind: StateKind, object: &mut Object) -> Read<Work> {
    match kind {
        StateKind::Task => tasks::task(reader, object).map(Work::Task),
        StateKind::Choice => choice(reader, object),
        StateKind::Pass => template(reader, object, "Parameters").map(|parameters| Work::Pass { parameters }),
        StateKind::Parallel => parallel(reader, object),
        StateKind::Succeed => Ok(Work::Succeed),
        StateKind::Fail => fail(reader, object),
    }
}

fn choice(reader: &mut Reader, object: &mut Object) -> Read<Work> {
    let (place, what) = (object.place("Choices"), object.what.clone());
    let rules = reader.array(object, "Choices").and_then(|written| {
        reader.each(written, &place, |reader, rule, pointer| conditions::rule(reader, rule, &what, pointer))
    });
    // Without it, an execution could end with States.NoChoiceMatched.
    let default = reader.required(object, "Default");
    Ok(Work::Choice { rules: rules?, default: default? })
}

fn parallel(reader: &mut Reader, object: &mut Object) -> Read<Work> {
    let (place, what) = (object.place("Branches"), format!("a branch of {}", object.what));
    let written = reader.array(object, "Branches")?;
    let branches = reader.each(written, &place, |reader, branch, pointer| {
        let mut object = reader.object(branch, &what, pointer)?;
        reader.supported(&mut object, &["Comment", "StartAt", "States"]);
        chain(reader, object)
    })?;
    Ok(Work::Parallel { branches })
}

fn fail(reader: &mut Reader, object: &mut Object) -> Read<Work> {
    if !object.members.contains_key("Error") && !object.members.contains_key("ErrorPath") {
        reader.report(&object.pointer, format!("{} must have `Error` or `ErrorPath`", object.what));
    }
    let error = text(reader, object, "Error", "ErrorPath");
    let cause = text(reader, object, "Cause", "CausePath");
    Ok(Work::Fail { error: error?, cause: cause? })
}

/// One of the two fields; the text is empty if both are absent.
fn text(reader: &mut Reader, object: &mut Object, name: &str, path_name: &'static str) -> Read<Text> {
    let fixed = reader.optional::<String>(object, name);
    let path = reader.optional::<Path>(object, path_name);
    match (fixed?, path?) {
        (fixed, None) => Ok(Text::Fixed(fixed.unwrap_or_default())),
        (None, Some(path)) => Ok(Text::Path(path_name, path)),
        (Some(_), Some(_)) => {
            let message = format!("{} must not have both `{name}` and `{path_name}`", object.what);
            reader.refuse(&object.pointer, message)
        }
    }
}

/// `Next` or `End`, of the kinds that have them.
fn next(reader: &mut Reader, kind: StateKind, object: &mut Object) -> Read<Option<String>> {
    if matches!(kind, StateKind::Choice | StateKind::Succeed | StateKind::Fail) {
        return Ok(None);
    }
    let next = reader.optional::<String>(object, "Next");
    let end = reader.optional::<bool>(object, "End");
    match (next?, end?) {
        (Some(next), None) => Ok(Some(next)),
        (None, Some(true)) => Ok(None),
        _ => {
            let message = format!("{} must have either `Next` or `\"End\": true`", object.what);
            reader.refuse(&object.pointer, message)
        }
    }
}

fn template(reader: &mut Reader, object: &mut Object, field: &str) -> Read<Option<Template>> {
    let Some(written) = object.members.remove(field) else { return Ok(None) };
    let place = object.place(field);
    if !written.is_object() {
        return reader.refuse(&place, format!("`{field}` must be an object"));
    }
    reader.keep(Template::read(&written, &place)).map(Some)
}

/// The one field whose `null` has a meaning.
fn result_path(reader: &mut Reader, object: &mut Object) -> Read<ResultPath> {
    match object.members.remove("ResultPath") {
        None => Ok(ResultPath::default()),
        Some(written) => reader.value(written, &object.place("ResultPath")),
    }
}

/// The objects of `Retry` or `Catch`.
fn list<T: DeserializeOwned>(
    reader: &mut Reader,
    object: &mut Object,
    field: &str,
    supported: &[&str],
) -> Read<Vec<T>> {
    let what = format!("`{field}` of {}", object.what);
    let written = reader.optional::<Vec<Value>>(object, field)?.unwrap_or_default();
    reader.each(written, &object.place(field), |reader, value, pointer| {
        let mut object = reader.object(value, &what, pointer)?;
        let before = reader.problems.len();
        reader.supported(&mut object, supported);
        for (field, value) in &object.members {
            // serde would read it as an absent field. `ResultPath` has a meaning for it.
            if value.is_null() && field != "ResultPath" {
                reader.report(&object.place(field), format!("`{field}` must not be null"));
            }
        }
        if reader.problems.len() > before {
            return Err(Reported);
        }
        reader.value(Value::Object(object.members), pointer)
    })
}
