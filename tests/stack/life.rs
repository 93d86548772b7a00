//! What comes after the first deployment: redeploys that follow an image's tag, drift, removal.

use serde_json::json;
use stackdrop_functions::deployment::outcome::Outcome;

use crate::{SHOP, asked, changes, deployed, open_the_database, rehearsal, standing, unprotected};

#[tokio::test(start_paused = true)]
async fn a_redeploy_that_follows_the_image_starts_the_tasks_anew_and_nothing_else() {
    let rehearsal = rehearsal(SHOP);
    deployed(&rehearsal, SHOP).await;
    let before = standing(&rehearsal);
    let refreshed = asked(&rehearsal, json!({ "stack": "shop", "refreshImage": true })).await;
    assert_eq!(refreshed.result(), Outcome::Succeeded, "{:?}", refreshed.error());
    assert_eq!(changes(&refreshed), ["ecs:UpdateService"]);
    assert_eq!(standing(&rehearsal), before);
    let plain = asked(&rehearsal, json!({ "stack": "shop" })).await;
    assert_eq!(changes(&plain), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_newer_image_that_does_not_run_is_taken_back_and_told() {
    use stackdrop_simulator::{Fault, FaultKind, When};
    let rehearsal = rehearsal(SHOP);
    deployed(&rehearsal, SHOP).await;
    let before = standing(&rehearsal);
    rehearsal.account().arm(Fault::at("ecs", "UpdateService", When::Only(1), FaultKind::ResourceFails));
    let refreshed = asked(&rehearsal, json!({ "stack": "shop", "refreshImage": true })).await;
    assert_eq!(refreshed.result(), Outcome::Failed, "{:?}", refreshed.error());
    assert!(refreshed.error().unwrap().contains("ECS service web"), "{:?}", refreshed.error());
    assert_eq!(standing(&rehearsal), before);
}

#[tokio::test(start_paused = true)]
async fn what_was_changed_by_hand_is_put_right_by_the_next_redeploy() {
    let rehearsal = rehearsal(SHOP);
    deployed(&rehearsal, SHOP).await;
    open_the_database(&rehearsal).await;
    let repaired = asked(&rehearsal, json!({ "stack": "shop" })).await;
    assert_eq!(repaired.result(), Outcome::Succeeded, "{:?}", repaired.error());
    assert_eq!(changes(&repaired), ["ec2:RevokeSecurityGroupIngress"]);
}

#[tokio::test(start_paused = true)]
async fn a_stack_with_a_protected_database_is_not_removed_by_half() {
    let rehearsal = rehearsal(SHOP);
    deployed(&rehearsal, SHOP).await;
    let refused = asked(&rehearsal, json!({ "stack": "shop", "action": "destroy" })).await;
    assert_eq!(refused.result(), Outcome::Failed);
    assert!(refused.error().unwrap().contains("deletionProtection: false"), "{:?}", refused.error());
    assert_eq!(changes(&refused), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_removed_stack_leaves_its_final_snapshot_and_nothing_else() {
    let spec = unprotected();
    let rehearsal = rehearsal(&spec);
    deployed(&rehearsal, &spec).await;
    let removed = asked(&rehearsal, json!({ "stack": "shop", "action": "destroy" })).await;
    assert_eq!(removed.result(), Outcome::Destroyed, "{:?}", removed.error());
    let left = standing(&rehearsal);
    assert!(left.len() == 1 && left[0].starts_with("AWS::RDS::DBSnapshot"), "{left:?}");
    let again = deployed(&rehearsal, &spec).await;
    assert!(changes(&again).contains(&"ec2:CreateVpc".to_owned()), "it is a first deployment again");
}

#[tokio::test(start_paused = true)]
async fn deleting_the_spec_keeps_the_stack_unless_it_says_otherwise() {
    for (on_delete, result) in [("retain", Outcome::Retained), ("destroy", Outcome::Destroyed)] {
        let spec = unprotected().replacen("onDelete: retain", &format!("onDelete: {on_delete}"), 1);
        let rehearsal = rehearsal(&spec);
        deployed(&rehearsal, &spec).await;
        let before = standing(&rehearsal);
        let event = rehearsal.delete("specs/shop.yaml").await.unwrap();
        let deleted = asked(&rehearsal, event).await;
        assert_eq!(deleted.result(), result, "{:?}", deleted.error());
        if on_delete == "retain" {
            assert_eq!(standing(&rehearsal), before);
        } else {
            assert!(standing(&rehearsal).iter().all(|item| item.starts_with("AWS::RDS::DBSnapshot")));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_stack_that_nobody_knows_cannot_be_removed() {
    let rehearsal = rehearsal(SHOP);
    let refused = asked(&rehearsal, json!({ "stack": "nobody", "action": "destroy" })).await;
    assert_eq!(refused.result(), Outcome::InvalidSpec);
    assert!(refused.error().unwrap().contains("is unknown"), "{:?}", refused.error());
}

/// The same stack with nothing but a worker.
const WORKER: &str = "
stack: shop
region: eu-central-1
network: { cidr: 10.20.0.0/16 }
services:
  web: { image: 'public.ecr.aws/docker/library/nginx:1.29' }
";

#[tokio::test(start_paused = true)]
async fn what_the_spec_drops_goes_when_nothing_uses_it_any_more() {
    let rehearsal = rehearsal(SHOP);
    deployed(&rehearsal, &unprotected()).await;
    let dropping = deployed(&rehearsal, WORKER).await;
    let calls = changes(&dropping);
    let place = |call: &str| calls.iter().position(|made| made == call).unwrap();
    assert!(
        place("ecs:UpdateService") < place("rds:DeleteDBInstance"),
        "the service lets go first: {calls:?}"
    );
    let gone =
        ["DBInstance", "LoadBalancer", "TargetGroup", "EC2::Instance", "shop-database", "InstanceProfile"];
    for item in standing(&rehearsal) {
        let snapshot = item.starts_with("AWS::RDS::DBSnapshot");
        assert!(snapshot || !gone.iter().any(|gone| item.contains(gone)), "{item}");
    }
    let third = deployed(&rehearsal, WORKER).await;
    assert_eq!(changes(&third), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn an_update_that_fails_leaves_nothing_of_what_it_added() {
    use stackdrop_simulator::{Fault, FaultKind, When};
    let rehearsal = rehearsal(SHOP);
    deployed(&rehearsal, WORKER).await;
    let before = standing(&rehearsal);
    let refused = FaultKind::Refused { code: "RefusedByTest".into(), message: "the test says no".into() };
    rehearsal.account().arm(Fault::at("ecs", "UpdateService", When::Only(1), refused));
    let failed = rehearsal.deploy(SHOP, &()).await.unwrap();
    assert_eq!(failed.result(), Outcome::Failed, "{:?}", failed.error());
    // A revision of a task definition is a record, not a thing that runs: the next change may use it again.
    let after: Vec<String> =
        standing(&rehearsal).into_iter().filter(|item| !item.ends_with("web:2")).collect();
    assert_eq!(after, before);
    let next = deployed(&rehearsal, WORKER).await;
    assert_eq!(changes(&next), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn an_update_to_a_third_zone_that_fails_leaves_no_third_zone() {
    use stackdrop_simulator::{Fault, FaultKind, When};
    let rehearsal = rehearsal(SHOP);
    deployed(&rehearsal, SHOP).await;
    let before = standing(&rehearsal);
    let wider = SHOP.replacen("zones: 2", "zones: 3", 1);
    assert_ne!(wider, SHOP);
    let refused = FaultKind::Refused { code: "RefusedByTest".into(), message: "the test says no".into() };
    rehearsal.account().arm(Fault::at("ecs", "UpdateService", When::Only(1), refused));
    let failed = rehearsal.deploy(&wider, &()).await.unwrap();
    assert_eq!(failed.result(), Outcome::Failed, "{:?}", failed.error());
    assert_eq!(standing(&rehearsal), before);
    let next = deployed(&rehearsal, SHOP).await;
    assert_eq!(changes(&next), Vec::<String>::new());
    let wide = deployed(&rehearsal, &wider).await;
    assert!(changes(&wide).contains(&"ec2:CreateSubnet".to_owned()));
}
