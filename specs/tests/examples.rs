//! The example specs are valid, match the schema, and survive a round trip through JSON.

#![expect(clippy::unwrap_used, reason = "helpers of tests can panic like the tests")]

use std::collections::BTreeMap;

use serde_json::Value;
use stackdrop_specs::{Spec, schema};

fn examples() -> BTreeMap<String, String> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"));
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let examples: BTreeMap<_, _> = files
        .filter(|path| path.extension().is_some_and(|extension| extension == "yaml"))
        .map(|path| {
            (
                path.file_name().unwrap().to_string_lossy().into_owned(),
                std::fs::read_to_string(&path).unwrap(),
            )
        })
        .collect();
    assert!(["minimal.yaml", "private.yaml", "shop.yaml"].iter().all(|name| examples.contains_key(*name)));
    examples
}

#[test]
fn every_example_is_valid() {
    for (name, text) in examples() {
        if let Err(errors) = Spec::read(text.as_bytes()) {
            panic!("{}", errors.render(&name));
        }
    }
}

#[test]
fn every_example_refers_to_the_schema_and_matches_it() {
    let validator = jsonschema::validator_for(&schema()).unwrap();
    for (name, text) in examples() {
        assert_eq!(text.lines().next(), Some("# yaml-language-server: $schema=stack.schema.json"), "{name}");
        let written: Value = serde_saphyr::from_str(&text).unwrap();
        let normalised = serde_json::to_value(Spec::read(text.as_bytes()).unwrap()).unwrap();
        for value in [written, normalised] {
            let errors: Vec<String> = validator
                .iter_errors(&value)
                .map(|error| format!("{}: {error}", error.instance_path))
                .collect();
            assert!(errors.is_empty(), "{name}: {errors:#?}");
        }
    }
}

#[test]
fn a_spec_survives_a_round_trip_through_json() {
    for (name, text) in examples() {
        let spec = Spec::read(text.as_bytes()).unwrap();
        let json = serde_json::to_vec(&spec).unwrap();
        assert_eq!(serde_json::from_slice::<Spec>(&json).unwrap(), spec, "{name}");
        assert_eq!(Spec::read(&json).unwrap(), spec, "{name}");
        let indented = serde_json::to_string_pretty(&spec).unwrap().replace("  ", "\t");
        assert_eq!(Spec::read(indented.as_bytes()).unwrap(), spec, "{name} with tabs");
    }
}
