//! Whether a file has the shape of a spec: known keys, right types, nothing missing. Goes by the JSON Schema, so that
//! the reader and an editor say the same.
//!
//! It goes on after a problem: what can't be read is left out, or replaced by something of the right shape, so that
//! everything else can still be checked.

use serde_json::{Map, Value as Json};

use crate::StackName;
use crate::fargate::in_words;
use crate::findings::Findings;
use crate::nearest::nearest;
use crate::path::Path;
use crate::problem::shortened;
use crate::tree::{Node, Place, Value};

/// Walks a file's tree along the schema.
pub(crate) struct Walk<'f, 'a> {
    pub(crate) findings: &'f mut Findings<'a>,
    pub(crate) root: &'a Json,
}

impl Walk<'_, '_> {
    /// The value that the schema describes; `None` if it is none, which has then been reported.
    ///
    /// `key` is where the value's key stands.
    pub(crate) fn value(&mut self, node: &Node, schema: &Json, path: &Path, key: Place) -> Option<Json> {
        let schema = self.resolve(schema);
        let answer = match &node.value {
            Value::Map(_) if has_type(&schema, "object") => Some(self.map(node, &schema, path, key)),
            Value::List(items) if has_type(&schema, "array") => {
                let item = schema.get("items").cloned().unwrap_or_default();
                Some(self.list(items, &item, path))
            }
            Value::Map(_) | Value::List(_) => {
                Err(self.wrong_type(node, &schema)).ok_or_report(self, key, path)
            }
            _ => self.scalar(node, &schema).ok_or_report(self, node.place, path),
        };
        if answer.is_none() {
            self.findings.distrust(path.clone());
        }
        answer
    }

    /// The schema that a `$ref` leads to, with what stands beside the `$ref`.
    fn resolve(&self, schema: &Json) -> Json {
        let target = schema
            .get("$ref")
            .and_then(Json::as_str)
            .and_then(|reference| self.root.pointer(reference.trim_start_matches('#')));
        match (target, schema) {
            (Some(Json::Object(target)), Json::Object(beside)) => {
                let mut merged = target.clone();
                merged.extend(beside.iter().map(|(key, value)| (key.clone(), value.clone())));
                Json::Object(merged)
            }
            _ => schema.clone(),
        }
    }

    fn list(&mut self, items: &[Node], schema: &Json, path: &Path) -> Json {
        items
            .iter()
            .enumerate()
            .map(|(index, item)| {
                let answer = self.value(item, schema, &path.child(index), item.place);
                answer.unwrap_or_else(|| self.stand_in(schema))
            })
            .collect()
    }

    fn map(&mut self, node: &Node, schema: &Json, path: &Path, own_key: Place) -> Json {
        let Value::Map(entries) = &node.value else { return Json::Null };
        let nothing = Map::new();
        let known = schema.get("properties").and_then(Json::as_object).unwrap_or(&nothing);
        let others = schema.get("additionalProperties").filter(|schema| schema.is_object());
        let required: Vec<&str> = schema
            .get("required")
            .and_then(Json::as_array)
            .into_iter()
            .flatten()
            .filter_map(Json::as_str)
            .collect();
        let mut map = Map::new();
        let mut seen: std::collections::BTreeMap<&str, Place> = std::collections::BTreeMap::new();
        for (key, value) in entries {
            let here = path.child(&key.text);
            if let Some(first) = seen.get(key.text.as_str()) {
                let line = self.findings.file.problem(*first, path, String::new(), String::new()).line;
                let message = format!("`{}` is there twice", shortened(&key.text));
                self.findings.at(
                    key.place,
                    &here,
                    message,
                    format!("one of the two; the first is in line {line}"),
                );
                continue;
            }
            seen.insert(&key.text, key.place);
            if let Some(property) = known.get(&key.text) {
                let needed = required.contains(&key.text.as_str());
                let answer = self.value(value, property, &here, key.place);
                if let Some(answer) = answer.or_else(|| needed.then(|| self.stand_in(property))) {
                    map.insert(key.text.clone(), answer);
                }
            } else if let Some(other) = others {
                let answer =
                    self.value(value, other, &here, key.place).unwrap_or_else(|| self.stand_in(other));
                map.insert(key.text.clone(), answer);
            } else {
                self.unknown_key(&key.text, key.place, path, known);
            }
        }
        for name in required.into_iter().filter(|name| !seen.contains_key(name)) {
            let property = self.resolve(known.get(name).unwrap_or(&Json::Null));
            let here = path.child(name);
            if self.findings.trusts(&here) {
                self.findings.at(own_key, &here, format!("`{name}` is missing"), self.right(&property));
            }
            self.findings.distrust(here);
            map.insert(name.to_owned(), self.stand_in(&property));
        }
        Json::Object(map)
    }

    fn unknown_key(&mut self, key: &str, place: Place, path: &Path, known: &Map<String, Json>) {
        if self.findings.is_full() {
            return self.findings.at(place, path, String::new(), String::new());
        }
        let near = nearest(key, known.keys().map(String::as_str));
        let right = if let Some(near) = near {
            // What was meant to be there is not known: its absence must not be reported too.
            self.findings.distrust(path.child(near));
            format!("`{near}`")
        } else if let Some(home) = self.home_of(key) {
            format!("`{key}` belongs in {home}")
        } else {
            format!("one of {}", known.keys().map(String::as_str).collect::<Vec<_>>().join(", "))
        };
        self.findings.at(place, &path.child(key), format!("unknown key `{}`", shortened(key)), right);
    }

    /// Where in a spec a key belongs.
    fn home_of(&self, key: &str) -> Option<String> {
        let mut maps = vec![(String::new(), self.root.clone())];
        while let Some((at, schema)) = maps.pop() {
            let schema = self.resolve(&schema);
            let properties = schema.get("properties").and_then(Json::as_object);
            if properties.is_some_and(|properties| properties.contains_key(key)) {
                return Some(if at.is_empty() { "the spec itself".into() } else { format!("`{at}`") });
            }
            let dot = if at.is_empty() { "" } else { "." };
            for (name, property) in properties.into_iter().flatten() {
                maps.insert(0, (format!("{at}{dot}{name}"), property.clone()));
            }
            for (keyword, step) in [("additionalProperties", ".NAME"), ("items", "[]")] {
                if let Some(inner) = schema.get(keyword).filter(|inner| inner.is_object()) {
                    maps.insert(0, (format!("{at}{step}"), inner.clone()));
                }
            }
        }
        None
    }

    fn scalar(&self, node: &Node, schema: &Json) -> Result<Json, (String, String)> {
        let written = self.findings.file.slice(node.written);
        let answer = match &node.value {
            Value::Text(text) if has_type(schema, "string") => Json::String(text.clone()),
            // Taken as it is written: 17.10 stays 17.10.
            Value::Bool(_) if has_type(schema, "string") && has_type(schema, "boolean") => written.into(),
            Value::Number(_) if has_type(schema, "string") && has_type(schema, "number") => written.into(),
            Value::Bool(value) if has_type(schema, "boolean") => Json::Bool(*value),
            Value::Number(number) if has_type(schema, "integer") && !number.is_f64() => {
                in_range(number, schema, || self.right(schema))?;
                Json::Number(number.clone())
            }
            _ => return Err(self.wrong_type(node, schema)),
        };
        let choices = choices(schema);
        if !choices.is_empty() && !choices.contains(&answer) {
            let near = answer
                .as_str()
                .and_then(|text| nearest(text, choices.iter().filter_map(Json::as_str)))
                .map(|near| format!("; did you mean `{near}`?"))
                .unwrap_or_default();
            return Err((
                format!("`{}` is not offered", shown(&answer)),
                format!("{}{near}", self.right(schema)),
            ));
        }
        match (schema.get("format").and_then(Json::as_str), &answer) {
            (Some("ipv4-range"), Json::String(text)) => range(text)?,
            (Some("stack-name"), Json::String(text)) => {
                StackName::try_from(text.clone()).map_err(|wrong| (wrong, StackName::RIGHT.to_owned()))?;
            }
            _ => {}
        }
        Ok(answer)
    }

    fn wrong_type(&self, node: &Node, schema: &Json) -> (String, String) {
        let found = match &node.value {
            Value::Null => {
                let free = has_type(schema, "string") && choices(schema).is_empty();
                let empty = if free { ", `\"\"` for an empty one" } else { "" };
                let right = format!("{}{empty}; or leave the key out", self.right(schema));
                return ("nothing is written here".into(), right);
            }
            Value::Bool(_) => "true or false",
            Value::Number(_) => "a number",
            Value::Text(_) => "text",
            Value::List(_) => "a list",
            Value::Map(_) => "a map",
        };
        let quotes = if has_type(schema, "string")
            && choices(schema).is_empty()
            && matches!(node.value, Value::Bool(_) | Value::Number(_))
        {
            ", in quotes"
        } else if matches!(&node.value, Value::Text(text) if text.parse::<f64>().is_ok()) {
            ", without quotes"
        } else {
            ""
        };
        (format!("{found} can't stand here"), format!("{}{quotes}", self.right(schema)))
    }

    /// What a schema allows, in words.
    fn right(&self, schema: &Json) -> String {
        let choices = choices(schema);
        if !choices.is_empty() {
            let words: Vec<String> = choices
                .iter()
                .map(|choice| if choice.is_string() { format!("`{}`", shown(choice)) } else { shown(choice) })
                .collect();
            return in_words(&words);
        }
        let limit = |keyword| schema.get(keyword).and_then(Json::as_u64);
        let kind = if has_type(schema, "object") {
            "a map: `key: value`, one a line".to_owned()
        } else if has_type(schema, "array") {
            let item = self.resolve(schema.get("items").unwrap_or(&Json::Null));
            format!("a list: `- …`, one a line, each {}", self.right(&item))
        } else if has_type(schema, "string") {
            "text".to_owned()
        } else if has_type(schema, "boolean") {
            "true or false".to_owned()
        } else {
            match (limit("minimum"), limit("maximum")) {
                (Some(least), Some(most)) => format!("a whole number from {least} to {most}"),
                _ => "a whole number".to_owned(),
            }
        };
        match schema
            .get("examples")
            .and_then(|examples| examples.get(0))
            .filter(|example| example.is_string())
        {
            Some(example) => format!("{kind}, such as {}", shown(example)),
            None => kind,
        }
    }

    /// Something of the right shape in the place of what can't be read.
    fn stand_in(&self, schema: &Json) -> Json {
        let schema = self.resolve(schema);
        let first = |keyword: &str| schema.get(keyword).and_then(|values| values.get(0)).cloned();
        if let Some(value) = first("examples").or_else(|| choices(&schema).first().cloned()) {
            return value;
        }
        if has_type(&schema, "object") {
            let required = schema.get("required").and_then(Json::as_array).into_iter().flatten();
            let properties = schema.get("properties").unwrap_or(&Json::Null);
            let entries = required.filter_map(Json::as_str).map(|name| {
                let property = properties.get(name).unwrap_or(&Json::Null);
                (name.to_owned(), self.stand_in(property))
            });
            return Json::Object(entries.collect());
        }
        if has_type(&schema, "array") {
            return Json::Array(Vec::new());
        }
        if has_type(&schema, "string") {
            return Json::String(String::new());
        }
        if has_type(&schema, "boolean") {
            Json::Bool(false)
        } else {
            schema.get("minimum").cloned().unwrap_or(0.into())
        }
    }
}

trait OrReport {
    fn ok_or_report(self, walk: &mut Walk<'_, '_>, place: Place, path: &Path) -> Option<Json>;
}

impl OrReport for Result<Json, (String, String)> {
    fn ok_or_report(self, walk: &mut Walk<'_, '_>, place: Place, path: &Path) -> Option<Json> {
        self.map_err(|(message, right)| walk.findings.at(place, path, message, right)).ok()
    }
}

fn has_type(schema: &Json, name: &str) -> bool {
    match schema.get("type") {
        Some(Json::String(only)) => only == name,
        Some(Json::Array(several)) => several.iter().any(|one| one == name),
        // A choice between texts has no type of its own.
        _ => name == "string" && schema.get("oneOf").is_some(),
    }
}

/// The values to choose from; none if the choice is free.
fn choices(schema: &Json) -> Vec<Json> {
    if let Some(Json::Array(values)) = schema.get("enum") {
        return values.clone();
    }
    let variants = schema.get("oneOf").and_then(Json::as_array).into_iter().flatten();
    variants.filter_map(|variant| variant.get("const")).cloned().collect()
}

fn in_range(
    number: &serde_json::Number,
    schema: &Json,
    right: impl FnOnce() -> String,
) -> Result<(), (String, String)> {
    let limit = |keyword| schema.get(keyword).and_then(Json::as_i64).map(i128::from);
    let value = number.as_i128().unwrap_or(i128::MAX);
    if limit("minimum").is_some_and(|least| value < least) {
        Err((format!("{number} is too little"), right()))
    } else if limit("maximum").is_some_and(|most| value > most) {
        Err((format!("{number} is too much"), right()))
    } else {
        Ok(())
    }
}

fn range(text: &str) -> Result<(), (String, String)> {
    if text.parse::<ipnet::Ipv4Net>().is_ok() {
        return Ok(());
    }
    let right = if text.parse::<std::net::Ipv4Addr>().is_ok() {
        format!("{text}/32 for this address alone; a smaller number behind the slash for a range")
    } else {
        "an address and the prefix's length, such as 10.0.0.0/16".to_owned()
    };
    Err((format!("`{}` is no IPv4 range", shortened(text)), right))
}

fn shown(value: &Json) -> String {
    value.as_str().map_or_else(|| value.to_string(), shortened)
}
