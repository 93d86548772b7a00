//! Rollbacks of the database to its baseline: what RDS can change back is changed back, and the rest is left as it is.

use serde_json::{Value, json};
use stackdrop_functions::Aws;

use crate::common::{act, until_done};
use crate::{NAME, SPEC, deployed, instance, next, wait_until_stable, writes_since};

/// Applies an update of the database's fields and then rolls back to the baseline, as the workflow does.
async fn rolled_back(aws: &Aws, deployment: &mut Value, update: &Value) {
    deployment["spec"]["database"]["deletionProtection"] = json!(false);
    next(deployment);
    let baseline = deployment["spec"].clone();
    for (field, value) in update.as_object().unwrap() {
        deployment["spec"]["database"][field.as_str()] = value.clone();
    }
    until_done(aws, NAME, "apply", deployment).await.unwrap();
    wait_until_stable(aws, deployment).await;
    deployment["spec"] = baseline;
    deployment["rollingBack"] = json!(true);
    until_done(aws, NAME, "apply", deployment).await.unwrap();
    wait_until_stable(aws, deployment).await;
}

#[tokio::test(start_paused = true)]
async fn a_rollback_changes_everything_back_but_the_size_of_the_storage() {
    let (_account, aws, mut deployment) = deployed(SPEC).await;
    let update = json!({ "class": "db.t4g.medium", "storage": 40, "maxStorage": 200, "backupDays": 8, "multiAz": true });
    rolled_back(&aws, &mut deployment, &update).await;
    let db = instance(&aws).await.unwrap();
    assert_eq!((db.db_instance_class(), db.multi_az()), (Some("db.t4g.small"), Some(false)));
    assert_eq!((db.max_allocated_storage(), db.backup_retention_period()), (Some(100), Some(7)));
    assert_eq!(db.allocated_storage(), Some(40));
}

#[tokio::test(start_paused = true)]
async fn a_rollback_leaves_a_limit_that_rds_no_longer_accepts() {
    let small = SPEC.replace("maxStorage: 100", "maxStorage: 40");
    let (_account, aws, mut deployment) = deployed(&small).await;
    rolled_back(&aws, &mut deployment, &json!({ "storage": 40, "maxStorage": 200 })).await;
    let db = instance(&aws).await.unwrap();
    assert_eq!((db.allocated_storage(), db.max_allocated_storage()), (Some(40), Some(200)));
}

#[tokio::test(start_paused = true)]
async fn a_rollback_leaves_a_new_major_version_with_its_parameter_group() {
    let (account, aws, mut deployment) = deployed(SPEC).await;
    rolled_back(&aws, &mut deployment, &json!({ "version": "17" })).await;
    let before = account.calls();
    let pruned = act(&aws, NAME, "prune", &deployment).await.unwrap();
    assert_eq!(pruned["remaining"], json!([]));
    assert_eq!(writes_since(&account, before), Vec::<String>::new());
    let db = instance(&aws).await.unwrap();
    assert!(db.engine_version().unwrap().starts_with("17."), "{db:?}");
    assert_eq!(db.db_parameter_groups()[0].db_parameter_group_name(), Some("shop-postgres17"));
}
