//! The template and the workflow file of a mutant. `just mutants` adds this file to a copy of the project.

use std::sync::LazyLock;

fn read(variable: &str, original: &'static str) -> &'static str {
    match std::env::var(variable) {
        Ok(file) => std::fs::read_to_string(file).expect("the mutant's file exists").leak(),
        Err(_) => original,
    }
}

/// The text of the template.
pub static TEMPLATE: LazyLock<&'static str> =
    LazyLock::new(|| read("MUTANT_TEMPLATE", include_str!("../template.yaml")));

/// The text of the workflow file.
pub static WORKFLOW: LazyLock<&'static str> =
    LazyLock::new(|| read("MUTANT_WORKFLOW", include_str!("../statemachine/deploy.asl.json")));
