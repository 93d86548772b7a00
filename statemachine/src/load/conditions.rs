//! Reads the rules of Choice states.

use serde_json::Value;

use super::reader::{Object, Read, Reader, Reported};
use crate::choice::{Comparison, Condition, Rule};
use crate::problem::not_supported;

const OPERATORS: &[&str] = &[
    "Variable",
    "And",
    "Or",
    "Not",
    "IsPresent",
    "IsNull",
    "StringEquals",
    "StringEqualsPath",
    "StringMatches",
    "BooleanEquals",
];

/// One of `Choices`: a condition and `Next`. `state` is what messages call the Choice state.
pub(super) fn rule(reader: &mut Reader, value: Value, state: &str, pointer: &str) -> Read<Rule> {
    let mut object = reader.object(value, &format!("a rule of {state}"), pointer)?;
    let next = reader.required(&mut object, "Next");
    object.what = format!("a condition of {state}");
    let condition = condition(reader, object);
    Ok(Rule { condition: condition?, next: next? })
}

/// An object with exactly one operator.
fn condition(reader: &mut Reader, mut object: Object) -> Read<Condition> {
    let before = reader.problems.len();
    reader.supported(&mut object, OPERATORS);
    if reader.problems.len() > before {
        return Err(Reported);
    }
    let variable = reader.optional(&mut object, "Variable")?;
    let mut operators = object.members.keys();
    let (Some(operator), None) = (operators.next().cloned(), operators.next()) else {
        return reader.refuse(&object.pointer, format!("{} must have exactly one operator", object.what));
    };
    match (operator.as_str(), variable) {
        ("And", None) => Ok(Condition::And(conditions(reader, &mut object, "And")?)),
        ("Or", None) => Ok(Condition::Or(conditions(reader, &mut object, "Or")?)),
        ("Not", None) => Ok(Condition::Not(Box::new(negated(reader, &mut object)?))),
        ("And" | "Or" | "Not", Some(_)) => {
            let message = format!("{} must not have `Variable` beside `{operator}`", object.what);
            reader.refuse(&object.pointer, message)
        }
        (_, Some(variable)) => Ok(Condition::Compare(variable, comparison(reader, &mut object, &operator)?)),
        (_, None) => {
            let message = format!("{} must have `Variable` beside `{operator}`", object.what);
            reader.refuse(&object.pointer, message)
        }
    }
}

fn conditions(reader: &mut Reader, object: &mut Object, operator: &str) -> Read<Vec<Condition>> {
    let (what, place) = (object.what.clone(), object.place(operator));
    let written = reader.array(object, operator)?;
    reader.each(written, &place, |reader, value, pointer| {
        let object = reader.object(value, &what, pointer)?;
        condition(reader, object)
    })
}

fn negated(reader: &mut Reader, object: &mut Object) -> Read<Condition> {
    let written: Value = reader.required(object, "Not")?;
    let object = reader.object(written, &object.what, &object.place("Not"))?;
    condition(reader, object)
}

fn comparison(reader: &mut Reader, object: &mut Object, operator: &str) -> Read<Comparison> {
    match operator {
        "IsPresent" => reader.required(object, operator).map(Comparison::IsPresent),
        "IsNull" => reader.required(object, operator).map(Comparison::IsNull),
        "StringEquals" => reader.required(object, operator).map(Comparison::StringEquals),
        "StringEqualsPath" => reader.required(object, operator).map(Comparison::StringEqualsPath),
        "StringMatches" => reader.required(object, operator).map(Comparison::StringMatches),
        "BooleanEquals" => reader.required(object, operator).map(Comparison::BooleanEquals),
        other => {
            let what = format!("`{other}` of {}", object.what);
            reader.refuse(&object.place(other), not_supported(&what, OPERATORS))
        }
    }
}
