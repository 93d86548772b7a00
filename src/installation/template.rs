//! `template.yaml` as the JSON that CloudFormation makes of it: `!Ref X` becomes `{ "Ref": "X" }`.

use std::fmt;
use std::sync::LazyLock;

use anyhow::{Context, Result, anyhow};
use serde::de::{Error, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value, json};
use serde_saphyr::Tagged;

/// The text of the template that is installed in accounts.
pub const TEMPLATE: &str = include_str!("../../template.yaml");

/// The functions whose short form is the long one without `Fn::` (CloudFormation's reference of intrinsic functions).
const FUNCTIONS: [&str; 8] = ["Sub", "If", "Equals", "Not", "And", "Or", "Join", "Select"];

/// A template, read but not resolved.
#[derive(Debug, Clone, PartialEq)]
pub struct Template(Value);

impl Template {
    /// Reads a template's text.
    ///
    /// # Errors
    /// When it is no YAML, or has a tag that is not known here.
    pub fn read(text: &str) -> Result<Self> {
        let Node(document) = serde_saphyr::from_str(text).context("reading the template")?;
        Ok(Self(document))
    }

    /// The template that is installed in accounts, read once.
    ///
    /// # Errors
    /// As [`Template::read`].
    pub fn built_in() -> Result<&'static Self> {
        static READ: LazyLock<Result<Template, String>> =
            LazyLock::new(|| Template::read(TEMPLATE).map_err(|error| format!("{error:#}")));
        READ.as_ref().map_err(|error| anyhow!("{error}"))
    }

    /// A section such as `Parameters`; empty where the template has none.
    pub(super) fn section(&self, name: &str) -> impl Iterator<Item = (&str, &Value)> {
        let entries = self.0.get(name).and_then(Value::as_object);
        entries.into_iter().flatten().map(|(key, value)| (key.as_str(), value))
    }

    /// One entry of a section.
    pub(super) fn entry(&self, section: &str, name: &str) -> Option<&Value> {
        self.0.get(section)?.get(name)
    }
}

/// A node with its short forms written out.
struct Node(Value);

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Tagged(Bare(value), tag) = Tagged::deserialize(deserializer)?;
        let Some(tag) = tag else { return Ok(Self(value)) };
        written_out(&tag, value).map(Self).map_err(D::Error::custom)
    }
}

/// A short form, written out.
fn written_out(tag: &str, value: Value) -> Result<Value, String> {
    match (tag.strip_prefix('!'), value) {
        (Some(name @ ("Ref" | "Condition")), value @ Value::String(_)) => Ok(json!({ name: value })),
        (Some("GetAtt"), Value::String(text)) => match text.split_once('.') {
            Some((resource, attribute)) => Ok(json!({ "Fn::GetAtt": [resource, attribute] })),
            None => Err(format!("!GetAtt {text} names no attribute")),
        },
        (Some(name), value) if FUNCTIONS.contains(&name) => Ok(json!({ format!("Fn::{name}"): value })),
        (_, value) => Err(format!("the tag {tag} is not known here, before {value}")),
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
#[allow(clippy::unwrap_used, reason = "a test that cannot go on shall end")]
mod tests {
    use super::*;

    #[test]
    fn short_forms_are_written_out_wherever_they_stand() {
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
    fn a_tag_that_is_not_known_is_an_error() {
        for text in ["!FindInMap [A, b, c]", "!GetAtt Bucket", "!Ref [a]"] {
            assert!(Template::read(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_installed_template_is_read_whole() {
        let template = Template::built_in().unwrap();
        assert!(template.section("Resources").count() > 40);
        assert_eq!(template.entry("Conditions", "HasEmail").unwrap()["Fn::Not"][0]["Fn::Equals"][1], "");
    }
}
