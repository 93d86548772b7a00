//! The workflow file follows from the table of the workflow.

use std::path::Path;

use stackdrop::rehearsal::WORKFLOW;
use stackdrop_functions::workflow::table::PARTS;
use stackdrop_functions::workflow::{definition, text_of};

#[test]
fn workflow_file_is_the_one_generated_from_the_table() {
    let generated = text_of(&definition(&PARTS)).unwrap();
    if std::env::var_os("UPDATE").is_some() {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("statemachine/deploy.asl.json");
        std::fs::write(file, &generated).unwrap();
        return;
    }
    assert!(
        generated == WORKFLOW,
        "statemachine/deploy.asl.json is not what functions/src/workflow/table.rs generates: \
         `UPDATE=1 cargo test workflow` rewrites it"
    );
}
