//! Checks the shape of a spec: known keys, correct types, no missing keys. It uses the JSON Schema, so that the reader and
//! an editor report the same problems.
//!
//! It continues after a problem: a value that cannot be read is omitted, or replaced by a placeholder of the correct
//! shape, so that everything else can still be checked.

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
    /// The value that the schema describes; `None` if it does not match the schema, which was then reported.
    ///
    /// `key` is the place of the value's key.
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

    fn resolve(&self, schema: &Json) -> Json {
        resolve(self.root, schema)
    }

    fn list(&mut self, items: &[Node], schema: &Json, path: &Path) -> Json {
        items
            .iter()
            .enumerate()
            .map(|(index, item)| {
                let answer = self.value(item, schema, &path.child(index), item.place);
                answer.unwrap_or_else(|| self.placeholder(schema))
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
                let message = format!("duplicate key `{}`", shortened(&key.text));
                self.findings.at(
                    key.place,
                    &here,
                    message,
                    format!("each key once; the first is on line {line}"),
                );
                continue;
            }
            seen.insert(&key.text, key.place);
            if let Some(property) = known.get(&key.text) {
                let needed = required.contains(&key.text.as_str());
                let answer = self.value(value, property, &here, key.place);
                if let Some(answer) = answer.or_else(|| needed.then(|| self.placeholder(property))) {
                    map.insert(key.text.clone(), answer);
                }
            } else if let Some(other) = others {
                let answer =
                    self.value(value, other, &here, key.place).unwrap_or_else(|| self.placeholder(other));
                map.insert(key.text.clone(), answer);
            } else {
                self.unknown_key(&key.text, key.place, path, known);
            }
        }
        for name in required.into_iter().filter(|name| !seen.contains_key(name)) {
            let property = self.resolve(known.get(name).unwrap_or(&Json::Null));
            let here = path.child(name);
            if self.findings.trusts(&here) {
                self.findings.at(own_key, &here, format!("missing key `{name}`"), self.expected(&property));
            }
            self.findings.distrust(here);
            map.insert(name.to_owned(), self.placeholder(&property));
        }
        Json::Object(map)
    }

    fn unknown_key(&mut self, key: &str, place: Place, path: &Path, known: &Map<String, Json>) {
        if self.findings.is_full() {
            return self.findings.at(place, path, String::new(), String::new());
        }
        let near = nearest(key, known.keys().map(String::as_str));
        let expected = if let Some(near) = near {
            // The key was probably meant: it must not be reported as missing too.
            self.findings.distrust(path.child(near));
            format!("`{near}`")
        } else if let Some(home) = self.home_of(key) {
            format!("`{key}` in {home}")
        } else {
            format!("one of {}", known.keys().map(String::as_str).collect::<Vec<_>>().join(", "))
        };
        self.findings.at(place, &path.child(key), format!("unknown key `{}`", shortened(key)), expected);
    }

    /// The part of a spec that has a key.
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
            // The text of the file is used: 17.10 stays 17.10.
            Value::Bool(_) if has_type(schema, "string") && has_type(schema, "boolean") => written.into(),
            Value::Number(_) if has_type(schema, "string") && has_type(schema, "number") => written.into(),
            Value::Bool(value) if has_type(schema, "boolean") => Json::Bool(*value),
            Value::Number(number) if has_type(schema, "integer") && !number.is_f64() => {
                in_range(number, schema, || self.expected(schema))?;
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
                format!("invalid value `{}`", shown(&answer)),
                format!("{}{near}", self.expected(schema)),
            ));
        }
        match (schema.get("format").and_then(Json::as_str), &answer) {
            (Some("ipv4-range"), Json::String(text)) => range(text)?,
            (Some("stack-name"), Json::String(text)) => {
                StackName::try_from(text.clone())
                    .map_err(|message| (message, StackName::EXPECTED.to_owned()))?;
            }
            _ => {}
        }
        Ok(answer)
    }

    fn wrong_type(&self, node: &Node, schema: &Json) -> (String, String) {
        let found = match &node.value {
            Value::Null => {
                let free = has_type(schema, "string") && choices(schema).is_empty();
                let empty = if free { ", or `\"\"` for empty text" } else { "" };
                let expected = format!("{}{empty}; or omit the key", self.expected(schema));
                return (format!("expected {}, found nothing", kind(schema)), expected);
            }
            Value::Bool(_) => "a boolean",
            Value::Number(number) if number.is_f64() && !has_type(schema, "string") => "a decimal number",
            Value::Number(_) => "a number",
            Value::Text(_) => "text",
            Value::List(_) => "a list",
            Value::Map(_) => "a map",
        };
        // Quotes do not help where the text must match a pattern.
        let quotes = if has_type(schema, "string")
            && choices(schema).is_empty()
            && schema.get("pattern").is_none()
            && matches!(node.value, Value::Bool(_) | Value::Number(_))
        {
            ", in quotes"
        } else if matches!(&node.value, Value::Text(text) if text.parse::<f64>().is_ok()) {
            ", without quotes"
        } else {
            ""
        };
        (format!("expected {}, found {found}", kind(schema)), format!("{}{quotes}", self.expected(schema)))
    }

    /// What a schema allows, in words.
    fn expected(&self, schema: &Json) -> String {
        let choices = choices(schema);
        if !choices.is_empty() {
            let words: Vec<String> = choices
                .iter()
                .map(|choice| if choice.is_string() { format!("`{}`", shown(choice)) } else { shown(choice) })
                .collect();
            return in_words(&words);
        }
        let limit = |keyword| schema.get(keyword).and_then(Json::as_u64);
        let words = if has_type(schema, "object") {
            "a map: one `key: value` per line".to_owned()
        } else if has_type(schema, "array") {
            let item = self.resolve(schema.get("items").unwrap_or(&Json::Null));
            format!("a list: one `- …` per line, each {}", self.expected(&item))
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
            Some(example) => format!("{words}, such as {}", shown(example)),
            None => words,
        }
    }

    /// A value of the correct shape, in place of one that cannot be read.
    fn placeholder(&self, schema: &Json) -> Json {
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
                (name.to_owned(), self.placeholder(property))
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

/// The schema that a `$ref` refers to, with the members beside the `$ref`.
pub(crate) fn resolve(root: &Json, schema: &Json) -> Json {
    let reference = schema.get("$ref").and_then(Json::as_str);
    let target = reference.and_then(|reference| root.pointer(reference.trim_start_matches('#')));
    match (target, schema) {
        (Some(Json::Object(target)), Json::Object(beside)) => {
            let mut merged = target.clone();
            merged.extend(beside.iter().map(|(key, value)| (key.clone(), value.clone())));
            Json::Object(merged)
        }
        _ => schema.clone(),
    }
}

trait OrReport {
    fn ok_or_report(self, walk: &mut Walk<'_, '_>, place: Place, path: &Path) -> Option<Json>;
}

impl OrReport for Result<Json, (String, String)> {
    fn ok_or_report(self, walk: &mut Walk<'_, '_>, place: Place, path: &Path) -> Option<Json> {
        self.map_err(|(message, expected)| walk.findings.at(place, path, message, expected)).ok()
    }
}

/// The kind of value that a schema describes, in words.
fn kind(schema: &Json) -> &'static str {
    let kinds = [("object", "a map"), ("array", "a list"), ("string", "text"), ("boolean", "true or false")];
    kinds.into_iter().find(|(name, _)| has_type(schema, name)).map_or("a whole number", |(_, kind)| kind)
}

fn has_type(schema: &Json, name: &str) -> bool {
    match schema.get("type") {
        Some(Json::String(only)) => only == name,
        Some(Json::Array(several)) => several.iter().any(|one| one == name),
        // The schema of an enum of texts has no type.
        _ => name == "string" && schema.get("oneOf").is_some(),
    }
}

/// The allowed values; none if every value of the type is allowed.
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
    expected: impl FnOnce() -> String,
) -> Result<(), (String, String)> {
    let limit = |keyword| schema.get(keyword).and_then(Json::as_i64).map(i128::from);
    let value = number.as_i128().unwrap_or(i128::MAX);
    let is_below = limit("minimum").is_some_and(|least| value < least);
    let is_above = limit("maximum").is_some_and(|most| value > most);
    if is_below || is_above { Err((format!("{number} is out of range"), expected())) } else { Ok(()) }
}

fn range(text: &str) -> Result<(), (String, String)> {
    if text.parse::<ipnet::Ipv4Net>().is_ok() {
        return Ok(());
    }
    let expected = if text.parse::<std::net::Ipv4Addr>().is_ok() {
        format!("{text}/32 for a single address, or a shorter prefix for a range")
    } else {
        "an address and a prefix length, such as 10.0.0.0/16".to_owned()
    };
    Err((format!("invalid IPv4 range `{}`", shortened(text)), expected))
}

fn shown(value: &Json) -> String {
    value.as_str().map_or_else(|| value.to_string(), shortened)
}
