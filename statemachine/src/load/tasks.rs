//! Reads what is particular to Task states.

use serde_json::{Map, Value};

use super::reader::{Object, Read, Reader, Reported};
use crate::definition::Task;
use crate::path::TASK_TOKEN;
use crate::problem::{member, not_supported};
use crate::template::Template;

const INVOKE: &str = "arn:aws:states:::lambda:invoke";

/// The task ends when its token is answered, not when the function returns.
const INVOKE_AND_WAIT_FOR_TOKEN: &str = "arn:aws:states:::lambda:invoke.waitForTaskToken";

pub(super) fn task(reader: &mut Reader, object: &mut Object) -> Read<Task> {
    let waits_for_token = resource(reader, object);
    let timeout_seconds = reader.timeout_seconds(object);
    let call = call(reader, object);
    let (waits_for_token, timeout_seconds) = (waits_for_token?, timeout_seconds?);
    let (function, payload, payload_source) = call?;
    if waits_for_token && !payload_source.to_string().contains(TASK_TOKEN) {
        let message =
            format!("{} must have `{TASK_TOKEN}` in its payload: nobody could answer it", object.what);
        return reader.refuse(&object.pointer, message);
    }
    if waits_for_token && timeout_seconds.is_none() {
        let message = format!("{} must have `TimeoutSeconds`: it could wait forever", object.what);
        return reader.refuse(&object.pointer, message);
    }
    Ok(Task { function, payload, payload_source, timeout_seconds, waits_for_token })
}

/// Whether the task waits for its token.
fn resource(reader: &mut Reader, object: &mut Object) -> Read<bool> {
    let resource: String = reader.required(object, "Resource")?;
    match resource.as_str() {
        INVOKE => Ok(false),
        INVOKE_AND_WAIT_FOR_TOKEN => Ok(true),
        other => {
            let what = format!("the `Resource` `{other}` of {}", object.what);
            let message = not_supported(&what, &[INVOKE, INVOKE_AND_WAIT_FOR_TOKEN]);
            reader.refuse(&object.place("Resource"), message)
        }
    }
}

/// The function, its payload, and the payload as it is written.
fn call(reader: &mut Reader, object: &mut Object) -> Read<(String, Template, Value)> {
    let what = format!("`Parameters` of {}", object.what);
    let written: Map<String, Value> = reader.required(object, "Parameters")?;
    let place = object.place("Parameters");
    let mut parameters = Object { what, pointer: place.clone(), members: written };
    let before = reader.problems.len();
    reader.supported(&mut parameters, &["FunctionName", "Payload", "Payload.$"]);
    let function = reader.required::<String>(&mut parameters, "FunctionName");
    if function.as_deref() == Ok("") {
        reader.report(&parameters.place("FunctionName"), "`FunctionName` must not be empty");
    }
    let source = ["Payload", "Payload.$"].iter().find_map(|name| parameters.members.get(*name)).cloned();
    let payload = reader.keep(Template::read(&Value::Object(parameters.members), &place));
    if reader.problems.len() > before {
        return Err(Reported);
    }
    let Template::Object(members) = payload? else { return Err(Reported) };
    let payload = members.into_iter().find_map(|(name, template)| (name == "Payload").then_some(template));
    match (payload, source) {
        (Some(payload), Some(source)) => Ok((function?, payload, source)),
        _ => reader.refuse(&place, format!("{} must have `Payload`", parameters.what)),
    }
}

/// Reports every use of a token in a state that has none.
pub(super) fn check_tokens(reader: &mut Reader, state: &Object) {
    if state.members.get("Resource").and_then(Value::as_str) != Some(INVOKE_AND_WAIT_FOR_TOKEN) {
        for (field, value) in &state.members {
            find_tokens(reader, value, &state.place(field));
        }
    }
}

/// The states of branches are checked by themselves.
fn find_tokens(reader: &mut Reader, value: &Value, pointer: &str) {
    match value {
        Value::String(text) if text == TASK_TOKEN => {
            let message = format!(
                "`{TASK_TOKEN}` exists only in a Task state whose `Resource` is `{INVOKE_AND_WAIT_FOR_TOKEN}`"
            );
            reader.report(pointer, message);
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                find_tokens(reader, item, &member(pointer, &index.to_string()));
            }
        }
        Value::Object(members) if !members.contains_key("States") => {
            for (name, value) in members {
                find_tokens(reader, value, &member(pointer, name));
            }
        }
        _ => {}
    }
}
