//! The workflow file follows from the table of the workflow.

use std::path::Path;
use std::time::Duration;

use stackdrop::rehearsal::WORKFLOW;
use stackdrop_functions::workflow::table::{
    ADMIT, APPROVAL, CONCLUDE, DEPLOYMENT, PARTS, PLAN, READ_REPLY, Removal, Wait,
};
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

/// Every wait of the table.
fn waits() -> Vec<Wait> {
    let mut waits = vec![ADMIT, PLAN, READ_REPLY, CONCLUDE];
    for part in PARTS {
        let (Removal::Parallel(removal) | Removal::Last(removal)) = part.removal;
        waits.extend([part.apply, removal]);
        waits.extend(part.stable);
        waits.extend(part.needs.iter().map(|need| need.wait));
    }
    waits
}

#[test]
fn every_limit_is_a_multiple_of_its_interval() {
    for Wait { every, at_most } in waits() {
        assert_eq!(at_most.as_secs() % every.as_secs(), 0, "{at_most:?} is no multiple of {every:?}");
    }
}

#[test]
fn an_approval_and_all_waits_of_a_deployment_and_its_rollback_fit_into_the_limit() {
    let once: Duration = waits().iter().map(|wait| wait.at_most).sum();
    assert!(APPROVAL + once * 2 <= DEPLOYMENT, "{APPROVAL:?} and twice {once:?}");
}

#[test]
fn no_two_components_wait_for_the_same_one() {
    let mut awaited: Vec<&str> =
        PARTS.iter().flat_map(|part| part.needs).map(|need| need.component).collect();
    awaited.sort_unstable();
    let count = awaited.len();
    awaited.dedup();
    assert_eq!(
        awaited.len(),
        count,
        "two states would have the name Await…: name them after both components"
    );
}
