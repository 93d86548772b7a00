//! Rehearsals in which the database's password changes.

use serde_json::json;
use stackdrop::Rehearsal;
use stackdrop_simulator::Incident;
use stackdrop_statemachine::Abort;

use super::{rehearsal, succeeds, wait};
use crate::{SHOP, deployed, with};

/// The password changes as planned, then by hand, then while a plan awaits approval.
pub(super) async fn a_password_changes() -> Rehearsal {
    let rehearsal = rehearsal(SHOP);
    deployed(&rehearsal, SHOP).await;
    succeeds(&rehearsal, json!({ "stack": "shop", "action": "rotate" })).await;
    rotate(&rehearsal).await;
    let cautious = with(SHOP, "approval: none", "approval: required");
    let cautious = with(&cautious, "LOG_LEVEL: info", "LOG_LEVEL: debug");
    let event = rehearsal.upload("specs/shop.yaml", cautious.as_bytes()).await.unwrap();
    let (nothing, abort) = ((), Abort::default());
    let person = async {
        wait(120).await;
        rotate(&rehearsal).await;
        wait(300).await;
        abort.stop("Stopped", "by the test");
    };
    tokio::join!(rehearsal.run(event, &nothing, &abort), person);
    rehearsal
}

/// Somebody rotates the password; its event starts an execution.
async fn rotate(rehearsal: &Rehearsal) {
    let seen = rehearsal.account().account_events(0).len();
    let changed = rehearsal.account().cause(Incident::named("secret-rotated").unwrap(), "shop");
    assert_eq!(changed.len(), 1);
    wait(60).await;
    rehearsal.run(rehearsal.secret_events(seen).remove(0), &(), &Abort::default()).await;
}
