//! How a deployment ends, by what its steps left in the workflow's state.

use serde_json::{Value, json};
use stackdrop_functions::handle;
use stackdrop_specs::Spec;

use crate::{MINIMAL, admitted_state, rehearsal};

/// Fields of the workflow's state, the outcome that follows from them, and a part of its message.
type Case = (Value, &'static str, &'static str);

fn failure(error: &str) -> Value {
    json!({ "Error": error, "Cause": "no" })
}

fn spec() -> Spec {
    Spec::read(MINIMAL.as_bytes()).unwrap()
}

fn baseline() -> Value {
    json!({ "deployment": "earlier", "version": "0", "spec": spec(), "outputs": {} })
}

async fn assert_ends(cases: &[Case]) {
    let rehearsal = rehearsal(MINIMAL);
    for (number, (fields, outcome, message)) in cases.iter().enumerate() {
        let mut state = admitted_state(&spec());
        state["id"] = json!(format!("deployment-{number}"));
        state["lock"] = json!("\"none\"");
        state.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        let payload = json!({ "action": "conclude", "deployment": state });
        let end = handle("conclude", payload, rehearsal.aws()).await.unwrap();
        assert_eq!(end["result"], *outcome, "{fields}: {end}");
        assert!(end["cause"].as_str().unwrap().contains(*message), "{message} is not in {end}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_failed_plan_or_review_changes_nothing() {
    let refused = || failure("Refused");
    assert_ends(&[
        (json!({ "planFailed": { "Plan": refused() } }), "Failed", "Plan failed: no\nNothing was changed."),
        (
            json!({ "planFailed": { "Review": refused() } }),
            "Failed",
            "Review failed: no\nNothing was changed.",
        ),
        (
            json!({ "destroying": true, "planFailed": { "Plan": refused() } }),
            "Failed",
            "Plan failed: no\nNothing was changed.",
        ),
    ])
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_person_can_reject_with_any_error_and_a_fault_is_no_rejection() {
    let asked = |failure: Value| json!({ "notApproved": { "AwaitApproval": failure } });
    let read = |failure: Value| json!({ "notApproved": { "ReadReply": failure } });
    assert_ends(&[
        (asked(failure("TooExpensive")), "ApprovalRejected", "the plan was rejected (no)."),
        (asked(failure("States.TaskFailed")), "ApprovalRejected", "the plan was rejected (no)."),
        (asked(json!({ "Error": "", "Cause": "" })), "ApprovalRejected", "the plan was rejected."),
        (asked(json!({})), "ApprovalRejected", "the plan was rejected."),
        (asked(failure("Superseded")), "Superseded", "no."),
        (asked(failure("States.Timeout")), "Failed", "within three days"),
        (asked(failure("Lambda.ServiceException")), "Failed", "AwaitApproval failed: no"),
        (read(failure("ApprovalRejected")), "ApprovalRejected", "no."),
        (read(failure("Superseded")), "Superseded", "no."),
        (read(failure("Refused")), "Failed", "ReadReply failed: no"),
        (read(failure("UnknownError")), "Failed", "ReadReply failed: no"),
    ])
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_failed_first_deployment_is_kept_or_deleted() {
    let failed = || json!({ "Service": failure("Refused") });
    let deletions =
        || json!({ "service": { "found": 1, "remaining": [] }, "network": { "found": 2, "remaining": [] } });
    let mut keep = json!(spec());
    keep["onFailure"] = json!("keep");
    assert_ends(&[
        (json!({ "failed": failed(), "spec": keep }), "Kept", "onFailure: keep"),
        (json!({ "failed": failed(), "deletions": deletions() }), "Failed", "was deleted (3 resources)"),
        (
            json!({
                "failed": failed(),
                "deletions": deletions(),
                "deleteFailed": { "DeleteService": failure("Refused") },
                "deletionEnds": [{ "found": 1, "remaining": [] }],
            }),
            "Failed",
            "was deleted (3 resources)",
        ),
        (
            json!({ "failed": failed(), "deletionEnds": [{ "failure": failure("Pending") }] }),
            "RollbackFailed",
            "Not everything could be deleted:\ntimed out no",
        ),
        (
            json!({ "failed": failed(), "deletionsGivenUp": { "AwaitDeletion": failure("States.Timeout") } }),
            "RollbackFailed",
            "Not everything could be deleted:\nno",
        ),
    ])
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_failed_update_is_rolled_back_or_names_what_remains() {
    let first = || json!({ "Service": failure("Refused") });
    let rolled_back = |fields: Value| {
        let mut state = json!({ "rollingBack": true, "baseline": baseline(), "firstFailure": first() });
        state.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        state
    };
    assert_ends(&[
        (
            json!({
                "baseline": baseline(),
                "failed": first(),
                "rollbackFailed": { "RollBackToBaseline": failure("Defect") },
            }),
            "RollbackFailed",
            "Service failed: no\nThe rollback could not start: no",
        ),
        (rolled_back(json!({})), "Failed", "rolled back to deployment earlier"),
        (
            rolled_back(json!({ "failed": { "Database": failure("Refused") } })),
            "RollbackFailed",
            "The rollback to the baseline failed: Database failed: no",
        ),
        (
            rolled_back(json!({ "pruneFailed": { "PruneNetwork": failure("Refused") } })),
            "RollbackFailed",
            "resources of the update remain: PruneNetwork failed: no",
        ),
        (
            json!({ "baseline": baseline(), "pruneFailed": { "Prune": failure("Refused") } }),
            "Succeeded",
            "could not be deleted: no",
        ),
    ])
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_destroy_names_what_remains() {
    let review =
        || json!({ "changes": true, "blocked": false, "prunes": true, "outdated": false, "fingerprint": "" });
    let deletions = || json!({ "network": { "found": 2, "remaining": [] } });
    assert_ends(&[
        (
            json!({ "destroying": true, "review": review(), "deletions": deletions() }),
            "Destroyed",
            "(2 resources)",
        ),
        (
            json!({
                "destroying": true,
                "review": review(),
                "deletions": deletions(),
                "deletionsGivenUp": { "DeleteNetwork": failure("Refused") },
            }),
            "DestroyFailed",
            "Not everything could be deleted:\nno",
        ),
        (
            json!({ "destroying": true, "failed": { "Interrupted": failure("Interrupted") } }),
            "DestroyFailed",
            "Interrupted: no.\nThe stack is not destroyed completely",
        ),
    ])
    .await;
}
