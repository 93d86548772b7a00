//! After the first deployment: redeploys that refresh an image, updates, and destroys.

use serde_json::json;
use stackdrop_functions::deployment::outcome::Outcome;
use stackdrop_simulator::{Fault, FaultKind, When};

use crate::{
    SHOP, changes, deployed, object, open_the_database, refused, rehearsal, resources, run, unprotected, with,
};

#[tokio::test(start_paused = true)]
async fn refreshing_the_image_restarts_the_tasks_and_changes_nothing_else() {
    let rehearsal = rehearsal(SHOP);
    deployed(&rehearsal, SHOP).await;
    let before = resources(&rehearsal);
    let refreshed = run(&rehearsal, json!({ "stack": "shop", "refreshImage": true })).await;
    assert_eq!(refreshed.result(), Outcome::Succeeded, "{:?}", refreshed.error());
    assert_eq!(changes(&refreshed), ["ecs:UpdateService"]);
    assert_eq!(resources(&rehearsal), before);
    let plain = run(&rehearsal, json!({ "stack": "shop" })).await;
    assert_eq!(changes(&plain), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_refreshed_image_that_does_not_run_is_rolled_back_and_reported() {
    let rehearsal = rehearsal(SHOP);
    deployed(&rehearsal, SHOP).await;
    let before = resources(&rehearsal);
    rehearsal.account().arm(Fault::at("ecs", "UpdateService", When::Only(1), FaultKind::ResourceFails));
    let refreshed = run(&rehearsal, json!({ "stack": "shop", "refreshImage": true })).await;
    assert_eq!(refreshed.result(), Outcome::Failed, "{:?}", refreshed.error());
    assert!(refreshed.error().unwrap().contains("ECS service web"), "{:?}", refreshed.error());
    assert_eq!(resources(&rehearsal), before);
}

#[tokio::test(start_paused = true)]
async fn a_redeploy_repairs_a_manual_change() {
    let rehearsal = rehearsal(SHOP);
    deployed(&rehearsal, SHOP).await;
    open_the_database(&rehearsal).await;
    let repaired = run(&rehearsal, json!({ "stack": "shop" })).await;
    assert_eq!(repaired.result(), Outcome::Succeeded, "{:?}", repaired.error());
    assert_eq!(changes(&repaired), ["ec2:RevokeSecurityGroupIngress"]);
}

#[tokio::test(start_paused = true)]
async fn a_stack_with_a_protected_database_is_not_partly_destroyed() {
    let rehearsal = rehearsal(SHOP);
    deployed(&rehearsal, SHOP).await;
    let refused =
        run(&rehearsal, json!({ "stack": "shop", "action": "destroy", "deleteData": ["shop-instance"] }))
            .await;
    assert_eq!(refused.result(), Outcome::Failed);
    assert!(refused.error().unwrap().contains("deletionProtection: false"), "{:?}", refused.error());
    assert_eq!(changes(&refused), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_refused_destroy_keeps_the_schedules_and_an_incomplete_one_deletes_them() {
    let spec = unprotected();
    let rehearsal = rehearsal(&spec);
    deployed(&rehearsal, &spec).await;
    rehearsal.account().arm(Fault::at("ec2", "DeleteVpc", When::From(1), refused()));
    for (words, outcome, schedules) in [
        (json!([]), Outcome::Failed, vec!["shop", "shop.rotation"]),
        (json!(["shop-instance"]), Outcome::DestroyFailed, Vec::new()),
    ] {
        let destroy = json!({ "stack": "shop", "action": "destroy", "deleteData": words });
        let ended = run(&rehearsal, destroy).await;
        assert_eq!(ended.result(), outcome, "{:?}", ended.error());
        let (scheduler, settings) = (rehearsal.aws().scheduler(), &rehearsal.aws().settings);
        let found = scheduler.list_schedules().group_name(&settings.schedule_group).send().await.unwrap();
        let mut names: Vec<&str> = found.schedules().iter().map(|it| it.name().unwrap()).collect();
        names.sort_unstable();
        assert_eq!(names, schedules);
    }
}

#[tokio::test(start_paused = true)]
async fn a_destroyed_stack_leaves_only_its_final_snapshot() {
    let spec = unprotected();
    let rehearsal = rehearsal(&spec);
    deployed(&rehearsal, &spec).await;
    let removed =
        run(&rehearsal, json!({ "stack": "shop", "action": "destroy", "deleteData": ["shop-instance"] }))
            .await;
    assert_eq!(removed.result(), Outcome::Destroyed, "{:?}", removed.error());
    let status = object(&rehearsal, "stacks/shop/status.json").await.unwrap();
    assert_eq!(status.get("estimate"), None, "a destroyed stack costs nothing");
    assert_eq!((&status["outputs"], status.get("drift")), (&json!({}), None));
    let left = resources(&rehearsal);
    assert!(left.len() == 1 && left[0].starts_with("AWS::RDS::DBSnapshot"), "{left:?}");
    let again = deployed(&rehearsal, &spec).await;
    assert!(changes(&again).contains(&"ec2:CreateVpc".to_owned()), "it is a first deployment again");
}

#[tokio::test(start_paused = true)]
async fn deleting_the_spec_retains_or_destroys_the_stack_as_the_spec_says() {
    for (on_delete, result) in [("retain", Outcome::Retained), ("destroy", Outcome::Destroyed)] {
        let spec =
            crate::without_instance().replacen("onDelete: retain", &format!("onDelete: {on_delete}"), 1);
        let rehearsal = rehearsal(&spec);
        deployed(&rehearsal, &spec).await;
        let before = resources(&rehearsal);
        let event = rehearsal.delete("specs/shop.yaml").await.unwrap();
        let deleted = run(&rehearsal, event).await;
        assert_eq!(deleted.result(), result, "{:?}", deleted.error());
        assert!(object(&rehearsal, "stacks/shop/lock.json").await.is_none(), "{on_delete}");
        let record = object(&rehearsal, &format!("stacks/shop/history/{}.json", deleted.id)).await.unwrap();
        assert_eq!(
            (&record["result"], &record["trigger"]),
            (&json!(result.to_string()), &json!("deletion")),
            "{on_delete}"
        );
        let is_deployed = object(&rehearsal, "stacks/shop/baseline.json").await.is_some();
        if on_delete == "retain" {
            assert_eq!(resources(&rehearsal), before);
            assert!(is_deployed);
        } else {
            assert!(resources(&rehearsal).iter().all(|item| item.starts_with("AWS::RDS::DBSnapshot")));
            assert!(!is_deployed);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_unknown_stack_cannot_be_destroyed() {
    let rehearsal = rehearsal(SHOP);
    let refused = run(&rehearsal, json!({ "stack": "nobody", "action": "destroy" })).await;
    assert_eq!(refused.result(), Outcome::InvalidSpec);
    assert!(refused.error().unwrap().contains("is unknown"), "{:?}", refused.error());
}

/// The same stack with only a worker.
const WORKER: &str = "
stack: shop
region: eu-central-1
network: { cidr: 10.20.0.0/16 }
services:
  web: { image: 'public.ecr.aws/docker/library/nginx:1.29' }
";

#[tokio::test(start_paused = true)]
async fn resources_removed_from_the_spec_are_deleted_once_unused() {
    let rehearsal = rehearsal(SHOP);
    deployed(&rehearsal, &unprotected()).await;
    let dropping = rehearsal.deploy_agreeing(WORKER, &["shop-instance"], &()).await.unwrap();
    assert_eq!(dropping.result(), Outcome::Succeeded, "{:?}", dropping.error());
    let calls = changes(&dropping);
    let place = |call: &str| calls.iter().position(|made| made == call).unwrap();
    assert!(
        place("ecs:UpdateService") < place("rds:DeleteDBInstance"),
        "the service is updated before the database is deleted: {calls:?}"
    );
    let gone =
        ["DBInstance", "LoadBalancer", "TargetGroup", "EC2::Instance", "shop-database", "InstanceProfile"];
    for item in resources(&rehearsal) {
        let snapshot = item.starts_with("AWS::RDS::DBSnapshot");
        assert!(snapshot || !gone.iter().any(|gone| item.contains(gone)), "{item}");
    }
    let third = deployed(&rehearsal, WORKER).await;
    assert_eq!(changes(&third), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_failed_update_leaves_none_of_its_new_resources() {
    let rehearsal = rehearsal(SHOP);
    deployed(&rehearsal, WORKER).await;
    let before = resources(&rehearsal);
    let refused = FaultKind::Refused { code: "RefusedByTest".into(), message: "the test says no".into() };
    rehearsal.account().arm(Fault::at("ecs", "UpdateService", When::Only(1), refused));
    let failed = rehearsal.deploy(SHOP, &()).await.unwrap();
    assert_eq!(failed.result(), Outcome::Failed, "{:?}", failed.error());
    // A revision of a task definition is only a record, and the next change may use it again.
    let after: Vec<String> =
        resources(&rehearsal).into_iter().filter(|item| !item.ends_with("web:2")).collect();
    assert_eq!(after, before);
    let next = deployed(&rehearsal, WORKER).await;
    assert_eq!(changes(&next), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_failed_update_to_a_third_zone_leaves_no_third_zone() {
    let rehearsal = rehearsal(SHOP);
    deployed(&rehearsal, SHOP).await;
    let before = resources(&rehearsal);
    let wider = SHOP.replacen("zones: 2", "zones: 3", 1);
    assert_ne!(wider, SHOP);
    let refused = FaultKind::Refused { code: "RefusedByTest".into(), message: "the test says no".into() };
    rehearsal.account().arm(Fault::at("ecs", "UpdateService", When::Only(1), refused));
    let failed = rehearsal.deploy(&wider, &()).await.unwrap();
    assert_eq!(failed.result(), Outcome::Failed, "{:?}", failed.error());
    assert_eq!(resources(&rehearsal), before);
    let next = deployed(&rehearsal, SHOP).await;
    assert_eq!(changes(&next), Vec::<String>::new());
    let wide = deployed(&rehearsal, &wider).await;
    assert!(changes(&wide).contains(&"ec2:CreateSubnet".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_deleted_spec_destroys_nothing_while_the_stack_has_another_one() {
    let spec = with(&crate::without_instance(), "onDelete: retain", "onDelete: destroy");
    let rehearsal = rehearsal(&spec);
    deployed(&rehearsal, &spec).await;
    let before = resources(&rehearsal);
    rehearsal.upload("specs/shop.json", b"{}").await.unwrap();
    let event = rehearsal.delete("specs/shop.yaml").await.unwrap();
    let kept = run(&rehearsal, event).await;
    assert_eq!(kept.result(), Outcome::Superseded, "{:?}", kept.error());
    assert_eq!(resources(&rehearsal), before);
    assert!(object(&rehearsal, "stacks/shop/lock.json").await.is_none());
    let record = object(&rehearsal, &format!("stacks/shop/history/{}.json", kept.id)).await.unwrap();
    assert_eq!(record["message"], "the stack has another spec: specs/shop.json");
}

#[tokio::test(start_paused = true)]
async fn a_stack_whose_first_deployment_was_kept_can_be_destroyed() {
    let spec = with(&unprotected(), "onFailure: rollback", "onFailure: keep");
    let rehearsal = rehearsal(&spec);
    rehearsal.account().arm(Fault::at("ecs", "CreateService", When::From(1), refused()));
    let kept = rehearsal.deploy(&spec, &()).await.unwrap();
    assert_eq!(kept.result(), Outcome::Kept, "{:?}", kept.error());
    rehearsal.account().disarm();
    let destroyed =
        run(&rehearsal, json!({ "stack": "shop", "action": "destroy", "deleteData": ["shop-instance"] }))
            .await;
    assert_eq!(destroyed.result(), Outcome::Destroyed, "{:?}", destroyed.error());
    let left = resources(&rehearsal);
    assert!(left.iter().all(|item| item.starts_with("AWS::RDS::DBSnapshot")), "{left:?}");
    assert!(object(&rehearsal, "stacks/shop/lock.json").await.is_none());
    assert_eq!(object(&rehearsal, "stacks/shop/status.json").await.unwrap()["result"], "Destroyed");
}
