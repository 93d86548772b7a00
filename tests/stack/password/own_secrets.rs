//! Secrets of the spec, which their owners rotate.

use std::time::Duration;

use serde_json::json;
use stackdrop_functions::deployment::outcome::Outcome;

use super::{planned, without_password};
use crate::{SHOP, cause, changes, deployed, pause, rehearsal, run};

#[tokio::test(start_paused = true)]
async fn a_secret_that_its_owner_rotates_restarts_the_services_that_read_it() {
    let rehearsal = rehearsal(SHOP);
    deployed(&rehearsal, SHOP).await;
    let rotated = cause(&rehearsal, "own-secrets-rotated");
    assert!(rotated.len() == 1 && rotated[0].contains(":secret:stackdrop/shop/payment-"), "{rotated:?}");
    pause(Duration::from_mins(1)).await;
    assert_eq!(without_password(&rehearsal).len(), 2, "both tasks have the previous value");
    run(&rehearsal, json!({ "stack": "shop", "action": "plan" })).await;
    let restart = "service: restart service/web (tasks: started before secret stackdrop/shop/payment-Ab3dEf was changed -> new ones)";
    assert_eq!(planned(&rehearsal).await, [restart]);
    let night = run(&rehearsal, json!({ "stack": "shop", "action": "redeploy", "scheduled": true })).await;
    assert_eq!(night.result(), Outcome::Succeeded, "{:?}", night.error());
    assert_eq!(changes(&night), ["ecs:UpdateService"]);
    pause(Duration::from_mins(1)).await;
    assert_eq!(without_password(&rehearsal), []);
    let next = run(&rehearsal, json!({ "stack": "shop", "action": "redeploy", "scheduled": true })).await;
    assert_eq!(changes(&next), [""; 0]);
}
