//! How a deployment ends, by what its steps left in the workflow's state.

use serde_json::{Value, json};
use stackdrop::Rehearsal;
use stackdrop_functions::handle;
use stackdrop_specs::Spec;

use crate::{MINIMAL, admitted_state, object, rehearsal};

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

/// Concludes a deployment with these fields of the workflow's state.
async fn concluded(rehearsal: &Rehearsal, id: &str, fields: &Value) -> Value {
    let mut state = admitted_state(&spec());
    state["id"] = json!(id);
    state["lock"] = json!("\"none\"");
    state.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    let payload = json!({ "action": "conclude", "deployment": state });
    handle("conclude", payload, rehearsal.aws()).await.unwrap()
}

async fn assert_ends(cases: &[Case]) {
    let rehearsal = rehearsal(MINIMAL);
    for (number, (fields, outcome, message)) in cases.iter().enumerate() {
        let end = concluded(&rehearsal, &format!("deployment-{number}"), fields).await;
        assert_eq!(end["result"], *outcome, "{fields}: {end}");
        assert!(end["cause"].as_str().unwrap().contains(*message), "{message} is not in {end}");
    }
}

/// The plan of the network with a problem.
fn blocked_plan() -> Value {
    let problem = json!({ "resource": "vpc", "why": "no room", "fix": "make room" });
    json!([{ "component": "network", "changes": [], "problems": [problem] }])
}

/// The outputs of a deployment that ran these services, and restarted them or not.
fn running(names: &[&str], restarted: bool) -> Value {
    let running = json!({ "arn": "arn", "taskDefinition": "web:1", "rollout": "1", "restarted": restarted });
    let services: serde_json::Map<String, Value> =
        names.iter().map(|name| ((*name).to_owned(), running.clone())).collect();
    json!({ "service": { "services": services } })
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
        (asked(failure("Runtime.ExitError")), "Failed", "AwaitApproval failed: no"),
        (asked(failure("Sandbox.Timedout")), "Failed", "AwaitApproval failed: no"),
        (asked(failure("States.Permissions")), "Failed", "AwaitApproval failed: no"),
        (asked(failure("Denied")), "Failed", "AwaitApproval failed: no"),
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
        (rolled_back(json!({})), "Failed", "rolled back to deployment earlier."),
        (
            rolled_back(json!({ "outputs": { "leftAlone": { "database": "it is gone" } } })),
            "Failed",
            "rolled back to deployment earlier, except what was left as it is:\n- it is gone",
        ),
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

#[tokio::test(start_paused = true)]
async fn a_rotation_names_the_services_that_have_the_new_password_or_why_they_do_not() {
    let rotating = |fields: Value| {
        let mut state = json!({ "verdict": "rotating" });
        state.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        state
    };
    let not = |step: &str| json!({ "rotationFailed": { step: failure("Refused") } });
    assert_ends(&[
        (rotating(json!({})), "Succeeded", "was changed; no service uses it."),
        (rotating(json!({ "outputs": running(&["api"], false) })), "Succeeded", "service api runs with the new"),
        (
            rotating(json!({ "outputs": running(&["api", "web"], false) })),
            "Succeeded",
            "services api, web run with the new one.",
        ),
        (
            rotating(not("RotatePassword")),
            "Failed",
            "RotatePassword failed: no\nThe services were not restarted, because their tasks still have the current",
        ),
        (
            rotating(not("RestartServices")),
            "Failed",
            "RestartServices failed: no\nTasks that started before the database's password was changed cannot",
        ),
    ])
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_deployment_that_ends_with_its_plan_says_what_it_restarted_or_why_it_could_not() {
    let not = || json!({ "RestartServices": failure("Refused") });
    let drift = json!([{
        "component": "network", "changes": [{ "verb": "update", "resource": "vpc" }], "problems": [],
    }]);
    assert_ends(&[
        (json!({ "plan": blocked_plan() }), "Failed", "Nothing was changed. vpc: no room; make room"),
        (
            json!({ "plan": blocked_plan(), "outputs": running(&["web"], true) }),
            "Failed",
            "service/web.\nNothing else was changed. vpc: no room; make room",
        ),
        (
            json!({ "plan": drift, "reportOnly": true }),
            "Drifted",
            "The drift was only reported (drift: report); nothing was changed.",
        ),
        (
            json!({ "plan": drift, "reportOnly": true, "madeBy": "0.0.9" }),
            "Drifted",
            ", because Stackdrop 0.0.9 made the stack: they wait for an upload or a request; nothing was changed.",
        ),
        (
            json!({ "plan": drift, "reportOnly": true, "madeBy": "" }),
            "Drifted",
            ", because an earlier version made the stack",
        ),
        (
            json!({ "plan": drift, "reportOnly": true, "outputs": running(&["web"], true) }),
            "Drifted",
            "service/web.\nThe drift was only reported (drift: report); nothing else was changed.",
        ),
        (
            json!({ "planFailed": { "Plan": failure("Refused") }, "rotationFailed": not() }),
            "Failed",
            "Plan failed: no\nNothing was changed.\nRestartServices failed: no\n",
        ),
        (
            json!({ "plan": drift, "reportOnly": true, "rotationFailed": not() }),
            "Failed",
            "The next deployment restarts them.\nThe drift was only reported",
        ),
    ])
    .await;
}

#[tokio::test(start_paused = true)]
async fn the_next_step_follows_from_the_error() {
    let rehearsal = rehearsal(MINIMAL);
    let failed = |error: &str| json!({ "failed": { "Service": failure(error) } });
    let asked = |error: &str| json!({ "notApproved": { "AwaitApproval": failure(error) } });
    let drift = json!([{
        "component": "network", "changes": [{ "verb": "update", "resource": "vpc" }], "problems": [],
    }]);
    let mut keep = json!(spec());
    keep["onFailure"] = json!("keep");
    let rolled_back = json!({
        "rollingBack": true, "baseline": baseline(), "firstFailure": { "Service": failure("Refused") },
        "failed": { "Database": failure("Refused") },
    });
    let cases = [
        (failed("Denied"), "Allow the call to the role in AWS's message"),
        (failed("Unhealthy"), "`stackdrop logs hello` shows the containers' logs"),
        (failed("NotOwned"), "choose another name for the stack"),
        (failed("Pending"), "AWS still reports progress after the step's time limit"),
        (failed("Stalled"), "Fix what keeps AWS from finishing, then start { \"stack\": \"hello\" }"),
        (failed("Transient"), "failed repeatedly. Later, start"),
        (failed("Defect"), "Report this bug"),
        (failed("Interrupted"), "Check why the execution was stopped"),
        (failed("Refused"), "Fix the rejected request"),
        (failed("States.Timeout"), "Fix the cause, then start"),
        (asked("States.Timeout"), "To request approval again, start"),
        (json!({ "plan": blocked_plan() }), "Fix each of the problems"),
        (json!({ "failed": { "Service": failure("Refused") }, "spec": keep }), "Fix the rejected request"),
        (
            json!({ "plan": drift, "reportOnly": true }),
            "To repair the drift, start { \"stack\": \"hello\" }; to keep it",
        ),
        (
            rolled_back,
            "Delete what depends on each remaining resource, then start { \"stack\": \"hello\" }, or upload",
        ),
        (
            json!({ "destroying": true, "failed": { "DeleteNetwork": failure("Refused") } }),
            "then start { \"stack\": \"hello\", \"action\": \"destroy\" } again",
        ),
    ];
    for (number, (fields, expected)) in cases.iter().enumerate() {
        concluded(&rehearsal, &format!("deployment-{number}"), fields).await;
        let status = object(&rehearsal, "stacks/hello/status.json").await.unwrap();
        let next = status["next"].as_str().unwrap();
        assert!(next.contains(expected), "{fields}: {expected:?} is not in {next:?}");
    }
    concluded(&rehearsal, "rejected", &asked("No")).await;
    let status = object(&rehearsal, "stacks/hello/status.json").await.unwrap();
    assert_eq!((&status["result"], status.get("next")), (&json!("ApprovalRejected"), None));
}

#[tokio::test(start_paused = true)]
async fn a_failed_rollback_leaves_it_to_the_next_deployment_to_prune_what_the_update_added() {
    let rehearsal = rehearsal(MINIMAL);
    let mut attempted = json!(spec());
    attempted["tags"] = json!({ "team": "books" });
    let state = json!({
        "rollingBack": true, "baseline": baseline(), "attempted": attempted,
        "firstFailure": { "Service": failure("Refused") }, "failed": { "Database": failure("Refused") },
    });
    let end = concluded(&rehearsal, "update", &state).await;
    assert_eq!(end["remaining"], json!(["Database: no"]));
    let kept = object(&rehearsal, "stacks/hello/baseline.json").await.unwrap();
    assert_eq!((&kept["deployment"], &kept["unpruned"]), (&json!("earlier"), &json!(true)));
    assert_eq!(kept["unprunedSpec"]["tags"], attempted["tags"]);
}

#[tokio::test(start_paused = true)]
async fn what_a_failed_update_added_is_pruned_later_unless_its_rollback_was_complete() {
    let tags = json!({ "team": "books" });
    let mut attempted = json!(spec());
    attempted["tags"] = tags.clone();
    let mut keep = attempted.clone();
    keep["onFailure"] = json!("keep");
    let failed = || json!({ "Service": failure("Refused") });
    let rolled_back = json!({
        "rollingBack": true, "baseline": baseline(), "attempted": attempted, "firstFailure": failed(),
    });
    let mut left_alone = rolled_back.clone();
    left_alone["outputs"] = json!({ "leftAlone": { "database": "it is gone" } });
    for (name, state, unpruned) in [
        ("kept", json!({ "baseline": baseline(), "failed": failed(), "spec": keep }), true),
        ("left alone", left_alone, true),
        ("rolled back", rolled_back, false),
    ] {
        let rehearsal = rehearsal(MINIMAL);
        concluded(&rehearsal, "update", &state).await;
        let baseline = object(&rehearsal, "stacks/hello/baseline.json").await;
        let baseline = baseline.filter(|baseline| baseline["unpruned"] == true);
        assert_eq!(baseline.is_some(), unpruned, "{name}");
        assert!(baseline.is_none_or(|baseline| baseline["unprunedSpec"]["tags"] == tags), "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_report_of_what_is_only_restarted_or_awaited_finds_no_drift() {
    let rehearsal = rehearsal(MINIMAL);
    for verb in ["restart", "wait"] {
        let changes = json!([{ "verb": verb, "resource": "service/web" }]);
        let plan = json!([{ "component": "service", "changes": changes, "problems": [] }]);
        let end = concluded(&rehearsal, verb, &json!({ "plan": plan, "reportOnly": true })).await;
        assert_eq!(end["result"], "Succeeded", "{verb}: {end}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_outputs_of_a_failed_deployment_are_those_of_what_is_still_there() {
    let rehearsal = rehearsal(MINIMAL);
    let network = |vpc: &str| {
        json!({
            "vpc": vpc, "publicSubnets": {}, "privateSubnets": {}, "databaseSubnets": {}, "privateTables": {},
        })
    };
    let mut before = baseline();
    before["outputs"] = json!({ "network": network("vpc-before") });
    let mut keep = json!(spec());
    keep["onFailure"] = json!("keep");
    let state = |more: Value| {
        let failed = json!({ "Service": failure("Refused") });
        let mut state = json!({ "failed": failed, "outputs": { "network": network("vpc-new") } });
        state.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        state
    };
    let cases = [
        ("first", state(json!({})), json!(null)),
        ("kept", state(json!({ "spec": keep })), json!("vpc-new")),
        (
            "plan",
            json!({ "baseline": before, "planFailed": { "Plan": failure("Refused") } }),
            json!("vpc-before"),
        ),
        (
            "rolled-back",
            json!({
                "rollingBack": true, "baseline": before, "firstFailure": { "Service": failure("Refused") },
                "outputs": { "network": network("vpc-new") },
            }),
            json!("vpc-before"),
        ),
    ];
    for (id, state, vpc) in cases {
        let end = concluded(&rehearsal, id, &state).await;
        assert_eq!(end["outputs"]["network"]["vpc"], vpc, "{id}: {end}");
    }
}
