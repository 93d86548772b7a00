//! The attributes of load balancers and target groups: tables of names, defaults and allowed values.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::misconfigured;
use crate::params::{Params, Refusal};
use crate::protocol::Reply;

/// An attribute: its name, its default, its allowed values.
#[derive(Debug, Clone)]
pub(super) struct Attribute(pub(super) &'static str, pub(super) &'static str, pub(super) Values);

/// The allowed values of an attribute.
#[derive(Debug, Clone)]
pub(super) enum Values {
    /// `true` or `false`.
    Flag,
    /// A whole number from the first to the second.
    Range(u32, u32),
    /// One word, or else a whole number from the first to the second.
    WordOrRange(&'static str, u32, u32),
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// Any text of at most 1024 characters.
    Text,
}

impl Values {
    fn allow(&self, value: &str) -> bool {
        let within = |low: u32, high: u32| value.parse().is_ok_and(|number| (low..=high).contains(&number));
        match self {
            Self::Flag => ["true", "false"].contains(&value),
            Self::Range(low, high) => within(*low, *high),
            Self::WordOrRange(word, low, high) => value == *word || within(*low, *high),
            Self::OneOf(words) => words.contains(&value),
            Self::Text => value.len() <= 1024,
        }
    }
}

/// The attributes of a new resource.
pub(super) fn defaults(table: &[Attribute]) -> BTreeMap<String, String> {
    table.iter().map(|Attribute(key, value, _)| ((*key).to_owned(), (*value).to_owned())).collect()
}

/// Reads the list `Attributes` of a request.
pub(super) fn read(params: &Params) -> Result<BTreeMap<String, String>, Refusal> {
    let mut sent = BTreeMap::new();
    for attribute in params.structs("Attributes") {
        let key = attribute.required("Key")?;
        let value = attribute.text("Value").unwrap_or_default();
        if sent.insert(key.clone(), value).is_some() {
            return Err(misconfigured(format!("The attribute key '{key}' is specified more than once")));
        }
    }
    if sent.is_empty() {
        return Err(super::invalid("At least one attribute must be specified"));
    }
    if sent.len() > 20 {
        return Err(super::invalid("At most 20 attributes can be modified in one call"));
    }
    Ok(sent)
}

/// Changes the attributes that were sent; the others stay. `what` starts AWS's message.
pub(super) fn change(
    what: &str,
    table: &[Attribute],
    attributes: &mut BTreeMap<String, String>,
    sent: &BTreeMap<String, String>,
) -> Result<(), Refusal> {
    for (key, value) in sent {
        let Attribute(_, _, values) = table
            .iter()
            .find(|Attribute(known, ..)| known == key)
            .ok_or_else(|| misconfigured(format!("{what} attribute key '{key}' is not recognized")))?;
        if !values.allow(value) {
            return Err(misconfigured(format!("{what} attribute value '{value}' is not valid for '{key}'")));
        }
        attributes.insert(key.clone(), value.clone());
    }
    Ok(())
}

/// The response with the attributes, in the table's order.
pub(super) fn document(table: &[Attribute], attributes: &BTreeMap<String, String>) -> Reply {
    let list: Value = table
        .iter()
        .filter_map(|Attribute(key, ..)| Some(json!({ "Key": key, "Value": attributes.get(*key)? })))
        .collect();
    json!({ "Attributes": list }).into()
}
