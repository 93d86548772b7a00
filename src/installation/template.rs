//! Reads `template.yaml` into JSON, as CloudFormation does: `!Ref X` becomes `{ "Ref": "X" }`.

use std::fmt;
use std::sync::LazyLock;

use anyhow::{Context, Result, anyhow};
use serde::de::{Error, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value, json};
use serde_saphyr::Tagged;

use super::order;
use super::scope::{Place, Scope};

/// The text of the template.
pub const TEMPLATE: &str = include_str!("../../template.yaml");

/// The functions whose short form is the long form without `Fn::` (CloudFormation's intrinsic function reference).
const FUNCTIONS: [&str; 9] = ["Sub", "If", "Equals", "Not", "And", "Or", "Join", "Select", "Split"];

/// A template, read but not resolved.
#[derive(Debug, Clone, PartialEq)]
pub struct Template(Value);

impl Template {
    /// Reads a template's text.
    ///
    /// # Errors
    /// If the text is not YAML, has an unsupported tag or a circular dependency.
    pub fn read(text: &str) -> Result<Self> {
        let Node(mut document) = serde_saphyr::from_str(text).context("cannot parse the template")?;
        apply_globals(&mut document);
        let template = Self(document);
        order::check(&template)?;
        Ok(template)
    }

    /// The template of this repository, read once.
    ///
    /// # Errors
    /// As [`Template::read`].
    pub fn built_in() -> Result<&'static Self> {
        static READ: LazyLock<Result<Template, String>> =
            LazyLock::new(|| Template::read(TEMPLATE).map_err(|error| format!("{error:#}")));
        READ.as_ref().map_err(|error| anyhow!("{error}"))
    }

    /// The properties of a resource, resolved at a place.
    ///
    /// # Errors
    /// If the resource does not exist there, or cannot be resolved.
    pub fn properties(&self, place: Place<'_>, resource: &str) -> Result<Value> {
        Scope::new(self, place)?.properties(resource)
    }

    /// The entries of a section such as `Parameters`; empty if the template does not have it.
    pub(super) fn section(&self, name: &str) -> impl Iterator<Item = (&str, &Value)> {
        let entries = self.0.get(name).and_then(Value::as_object);
        entries.into_iter().flatten().map(|(key, value)| (key.as_str(), value))
    }

    /// One entry of a section.
    pub(super) fn entry(&self, section: &str, name: &str) -> Option<&Value> {
        self.0.get(section)?.get(name)
    }
}

/// Adds the properties of SAM's `Globals` section to every function.
fn apply_globals(document: &mut Value) {
    let Some(shared) = document.get("Globals").and_then(|globals| globals.get("Function")).cloned() else {
        return;
    };
    let resources = document.get_mut("Resources").and_then(Value::as_object_mut);
    let resources = resources.into_iter().flat_map(Map::values_mut);
    for function in resources.filter(|resource| resource["Type"] == "AWS::Serverless::Function") {
        let own = function.get_mut("Properties").map_or_else(|| Map::new().into(), Value::take);
        function["Properties"] = merged(&shared, own);
    }
}

/// Merges the global properties with a function's own: maps are merged, lists concatenated, and the function's own
/// values replace others (AWS SAM developer guide, "Globals section of the AWS SAM template", Overridable globals).
fn merged(shared: &Value, own: Value) -> Value {
    match (shared, own) {
        (Value::Object(shared), Value::Object(mut own)) => {
            for (key, value) in shared {
                let mine = own.remove(key);
                let both = mine.map_or_else(|| value.clone(), |mine| merged(value, mine));
                own.insert(key.clone(), both);
            }
            own.into()
        }
        (Value::Array(shared), Value::Array(own)) => shared.iter().cloned().chain(own).collect(),
        (_, own) => own,
    }
}

/// A node with its short forms expanded.
struct Node(Value);

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Tagged(Bare(value), tag) = Tagged::deserialize(deserializer)?;
        let Some(tag) = tag else { return Ok(Self(value)) };
        expanded(&tag, value).map(Self).map_err(D::Error::custom)
    }
}

/// Expands a short form.
fn expanded(tag: &str, value: Value) -> Result<Value, String> {
    match (tag.strip_prefix('!'), value) {
        (Some(name @ ("Ref" | "Condition")), value @ Value::String(_)) => Ok(json!({ name: value })),
        (Some("GetAtt"), Value::String(text)) => match text.split_once('.') {
            Some((resource, attribute)) => Ok(json!({ "Fn::GetAtt": [resource, attribute] })),
            None => Err(format!("!GetAtt {text} does not name an attribute")),
        },
        (Some(name), value) if FUNCTIONS.contains(&name) => Ok(json!({ format!("Fn::{name}"): value })),
        (_, value) => Err(format!("the tag {tag} is not supported, before {value}")),
    }
}

/// A node without its tag.
struct Bare(Value);

impl<'de> Deserialize<'de> for Bare {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyNode).map(Self)
    }
}

struct AnyNode;

impl<'de> Visitor<'de> for AnyNode {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a node of a template")
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

    fn visit_seq<A: SeqAccess<'de>>(self, mut nodes: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(Node(value)) = nodes.next_element()? {
            list.push(value);
        }
        Ok(list.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some((key, Node(value))) = entries.next_entry::<String, Node>()? {
            map.insert(key, value);
        }
        Ok(map.into())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed setup fails the test")]
mod tests {
    use super::*;

    #[test]
    fn short_forms_are_expanded_everywhere() {
        for (short, long) in [
            ("!Ref Bucket", json!({ "Ref": "Bucket" })),
            ("!GetAtt Bucket.Arn", json!({ "Fn::GetAtt": ["Bucket", "Arn"] })),
            ("!Sub '${Bucket.Arn}/*'", json!({ "Fn::Sub": "${Bucket.Arn}/*" })),
            ("[!Ref A, b, 3, true]", json!([{ "Ref": "A" }, "b", 3, true])),
            ("!Not [!Equals [!Ref A, '']]", json!({ "Fn::Not": [{ "Fn::Equals": [{ "Ref": "A" }, ""] }] })),
            (
                "{a: !If [Has, !Ref A, !Ref AWS::NoValue]}",
                json!({ "a": { "Fn::If": ["Has", { "Ref": "A" }, { "Ref": "AWS::NoValue" }] } }),
            ),
            ("!Sub |\n  {\"a\": 1}\n", json!({ "Fn::Sub": "{\"a\": 1}\n" })),
        ] {
            assert_eq!(Template::read(short).unwrap().0, long, "{short}");
        }
    }

    #[test]
    fn an_unsupported_tag_is_an_error() {
        for text in ["!FindInMap [A, b, c]", "!GetAtt Bucket", "!Ref [a]"] {
            assert!(Template::read(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_built_in_template_is_read_completely() {
        let template = Template::built_in().unwrap();
        assert!(template.section("Resources").count() > 40);
        assert_eq!(template.entry("Conditions", "HasEmail").unwrap()["Fn::Not"][0]["Fn::Equals"][1], "");
    }
}
