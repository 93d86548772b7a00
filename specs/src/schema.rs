//! The spec's JSON Schema, for editors and for the reader itself.

use std::sync::LazyLock;

use schemars::generate::SchemaSettings;
use serde_json::{Map, Value};

use crate::Spec;

static SCHEMA: LazyLock<Value> = LazyLock::new(|| {
    let mut schema =
        SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<Spec>().to_value();
    if let Value::Object(root) = &mut schema {
        root.insert("title".into(), "A Stackdrop spec".into());
    }
    refine(&mut schema);
    schema
});

/// The spec's JSON Schema (draft 2020-12), the content of `specs/stack.schema.json`.
#[must_use]
pub fn schema() -> Value {
    SCHEMA.clone()
}

pub(crate) fn schema_ref() -> &'static Value {
    &SCHEMA
}

/// Removes `null`, which Rust's types allow and a user must not write.
///
/// `instance:` without a value could mean an instance with all defaults, or none; so it is an error.
fn refine(schema: &mut Value) {
    match schema {
        Value::Array(items) => items.iter_mut().for_each(refine),
        Value::Object(object) => {
            if object.get("default") == Some(&Value::Null) {
                object.remove("default");
            }
            if let Some(Value::Array(types)) = object.get_mut("type") {
                types.retain(|name| name != "null");
                if let [only] = &mut types[..] {
                    let only = only.take();
                    object.insert("type".into(), only);
                }
            }
            flatten_option(object);
            // The sizes of Rust's integers do not matter to an editor; `minimum` and `maximum` do.
            if object.get("format").and_then(Value::as_str).is_some_and(|format| format.starts_with("uint")) {
                object.remove("format");
            }
            object.values_mut().for_each(refine);
        }
        _ => {}
    }
}

/// `anyOf: [X, null]` becomes X.
fn flatten_option(object: &mut Map<String, Value>) {
    let Some(Value::Array(variants)) = object.get_mut("anyOf") else { return };
    variants.retain(|variant| variant.get("type").is_none_or(|name| name != "null"));
    if let [Value::Object(only)] = &mut variants[..] {
        let only = std::mem::take(only);
        object.remove("anyOf");
        object.extend(only);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path() -> std::path::PathBuf {
        concat!(env!("CARGO_MANIFEST_DIR"), "/stack.schema.json").into()
    }

    #[test]
    fn the_schema_file_is_current() {
        let current = format!("{}\n", serde_json::to_string_pretty(&schema()).unwrap());
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(path(), &current).unwrap();
        }
        let file = std::fs::read_to_string(path()).unwrap_or_default();
        assert!(
            file == current,
            "specs/stack.schema.json is not up to date: `UPDATE=1 cargo test schema` updates it"
        );
    }
}
