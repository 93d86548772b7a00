//! Finding the stack in an execution's input.

use serde_json::Value;
use stackdrop_specs::StackName;

use crate::aws::error::StepError;

/// The extensions that a spec's key may have.
pub const EXTENSIONS: [&str; 3] = ["yaml", "yml", "json"];

/// Parses an object's key: the stack's name, and whether the spec is only to plan.
pub(crate) fn parts_of(key: &str) -> Result<(StackName, bool), StepError> {
    let (plan_only, file) = match key.split_once('/') {
        Some(("specs", file)) => (false, file),
        Some(("plans", file)) => (true, file),
        _ => return Err(bad_key(key)),
    };
    let (name, extension) = file.rsplit_once('.').ok_or_else(|| bad_key(key))?;
    if !EXTENSIONS.contains(&extension) {
        return Err(bad_key(key));
    }
    let stack = StackName::try_from(name.to_owned()).map_err(StepError::InvalidEvent)?;
    Ok((stack, plan_only))
}

/// The stack's name in an execution's input, if there is one.
pub(crate) fn stack_of(event: &Value) -> Option<String> {
    let text = |pointer: &str| event.pointer(pointer).and_then(Value::as_str);
    if let Some(stack) = text("/stack") {
        return Some(stack.to_owned());
    }
    if let Some(key) = text("/detail/object/key") {
        return parts_of(key).ok().map(|(stack, _)| stack.to_string());
    }
    // The stopped execution may itself have cleaned up after another one.
    let input: Value = serde_json::from_str(text("/detail/input")?).ok()?;
    stack_of(&input)
}

/// Whether an execution with this input only plans.
pub(crate) fn is_plan(event: &Value) -> bool {
    let key = event.pointer("/detail/object/key").and_then(Value::as_str);
    event["action"] == "plan" || key.is_some_and(is_plan_key)
}

/// Whether the spec with this key is only to plan.
pub(crate) fn is_plan_key(key: &str) -> bool {
    key.starts_with("plans/")
}

fn bad_key(key: &str) -> StepError {
    StepError::InvalidEvent(format!(
        "the object {key:?} is not a spec: its key must be specs/NAME.yaml or plans/NAME.yaml (or .yml, .json)"
    ))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::stack_of;

    #[test]
    fn stack_of_finds_the_stack_in_every_kind_of_input() {
        let upload = json!({ "detail": { "object": { "key": "plans/shop.yaml" } } });
        let stopped = json!({ "detail": { "input": upload.to_string() } });
        let stopped_again = json!({ "detail": { "input": stopped.to_string() } });
        for event in [json!({ "stack": "shop", "action": "destroy" }), upload, stopped, stopped_again] {
            assert_eq!(stack_of(&event).as_deref(), Some("shop"), "{event}");
        }
        for event in
            [json!({ "detail": { "object": { "key": "shop.yaml" } } }), json!({ "detail": {} }), json!(7)]
        {
            assert_eq!(stack_of(&event), None, "{event}");
        }
    }
}
