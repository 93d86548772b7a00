//! Turns the text of a workflow file into JSON: replaces `${Name}` placeholders and refuses duplicate keys.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use crate::problem::{Problem, pointer_of};

/// Replaces each `${Name}` by its value, as `DefinitionSubstitutions` of a SAM template does. A placeholder without a
/// value is a problem, and so is a value without a placeholder.
pub(crate) fn substitute(text: &str, values: &BTreeMap<String, String>) -> Result<String, Vec<Problem>> {
    let mut problems = Vec::new();
    let mut unused: BTreeSet<&str> = values.keys().map(String::as_str).collect();
    let mut result = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        result.push_str(before);
        let line = 1 + text[..text.len() - after.len()].matches('\n').count();
        let (name, after) = after.split_once('}').unwrap_or((after, ""));
        match values.get(name) {
            Some(value) => {
                unused.remove(name);
                result.push_str(value);
            }
            None if name.is_empty()
                || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') =>
            {
                problems.push(Problem::new("", format!("line {line}: expected a name and `}}` after `${{`")));
            }
            None => {
                problems.push(Problem::new("", format!("line {line}: no substitution for `${{{name}}}`")));
            }
        }
        rest = after;
    }
    result.push_str(rest);
    problems.extend(unused.iter().map(|name| Problem::new("", format!("unused substitution `{name}`"))));
    if problems.is_empty() { Ok(result) } else { Err(problems) }
}

/// Parses JSON and refuses duplicate keys: of two states with the same name, serde would drop one silently.
pub(crate) fn parse(text: &str) -> Result<Value, Problem> {
    let mut json = serde_json::Deserializer::from_str(text);
    let Strict(value) = serde_path_to_error::deserialize(&mut json)
        .map_err(|error| Problem::new(&pointer_of(error.path()), error.inner().to_string()))?;
    json.end().map_err(|error| Problem::new("", error.to_string()))?;
    Ok(value)
}

struct Strict(Value);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        json.deserialize_any(StrictVisitor).map(Self)
    }
}

struct StrictVisitor;

impl<'de> Visitor<'de> for StrictVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut array = Vec::new();
        while let Some(Strict(item)) = items.next_element()? {
            array.push(item);
        }
        Ok(array.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(key) = members.next_key::<String>()? {
            if object.contains_key(&key) {
                return Err(A::Error::custom(format!("duplicate key `{key}`")));
            }
            let Strict(value) = members.next_value()?;
            object.insert(key, value);
        }
        Ok(object.into())
    }
}
