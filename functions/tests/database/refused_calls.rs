//! Calls that RDS refuses for a while: they are made again, and nothing is created twice.

use serde_json::json;
use stackdrop_functions::aws::error::StepError;
use stackdrop_simulator::{Account, Fault, FaultKind, When};

use crate::common::{act, apply, until_done};
use crate::{
    NAME, SPEC, deployed, existing, instance, later, next, prepared, wait_until_stable, writes_since,
};

/// Makes RDS refuse the next call of an operation, once.
fn refuse_once(account: &Account, operation: &str, (code, message): (&str, &str)) {
    let kind = FaultKind::Refused { code: code.into(), message: message.into() };
    account.arm(Fault::at("rds", operation, When::Only(1), kind));
}

/// RDS's messages about its service-linked role.
const NO_ROLE: (&str, &str) = (
    "InvalidParameterValue",
    "Unable to create the resource. Verify that you have permission to create service linked role. Otherwise wait and try again later",
);
const NO_ROLE_EITHER: (&str, &str) =
    ("InvalidParameterValue", "RDS could not assume the role: see USER_SERVICE.ServiceLinkedRoles.html");

#[tokio::test(start_paused = true)]
async fn a_creation_that_rds_refuses_for_a_while_is_tried_again() {
    let of_rds = ["AWS::RDS::DBInstance", "AWS::RDS::DBParameterGroup", "AWS::RDS::DBSubnetGroup"];
    for (operation, refusal) in [
        ("CreateDBSubnetGroup", ("InvalidSubnet", "Some input subnets are invalid.")),
        ("CreateDBSubnetGroup", ("DBSubnetGroupAlreadyExists", "The DB subnet group already exists.")),
        ("CreateDBSubnetGroup", NO_ROLE),
        ("CreateDBSubnetGroup", NO_ROLE_EITHER),
        ("CreateDBParameterGroup", ("DBParameterGroupAlreadyExists", "The parameter group already exists.")),
        ("ModifyDBParameterGroup", ("DBParameterGroupNotFound", "The parameter group was not found.")),
        ("ModifyDBParameterGroup", ("InvalidDBParameterGroupState", "The parameter group is being changed.")),
        ("CreateDBInstance", ("DBInstanceAlreadyExists", "DB instance already exists")),
        ("CreateDBInstance", ("DBParameterGroupNotFound", "The parameter group was not found.")),
        ("CreateDBInstance", ("DBSubnetGroupNotFoundFault", "The DB subnet group was not found.")),
        ("CreateDBInstance", ("InvalidDBParameterGroupState", "The parameter group is being created.")),
        (
            "CreateDBInstance",
            ("InvalidParameterValue", "Invalid security group , groupId= sg-1, groupName=."),
        ),
        ("CreateDBInstance", NO_ROLE),
    ] {
        let (account, aws, mut deployment) = prepared(SPEC).await;
        refuse_once(&account, operation, refusal);
        apply(&aws, &[NAME], &mut deployment).await;
        wait_until_stable(&aws, &mut deployment).await;
        assert_eq!(account.strikes().len(), 1, "{operation} {refusal:?}");
        assert_eq!(existing(&account), of_rds, "{operation} {refusal:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_creation_that_rds_refuses_for_another_reason_fails_at_once() {
    let (account, aws, deployment) = prepared(SPEC).await;
    refuse_once(
        &account,
        "CreateDBInstance",
        ("InvalidParameterValue", "MasterUsername is a reserved word."),
    );
    let error = until_done(&aws, NAME, "apply", &deployment).await.unwrap_err();
    assert!(matches!(&error, StepError::Refused { .. }), "{error}");
    assert!(instance(&aws).await.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_change_that_rds_refuses_for_a_while_is_made_again() {
    let (account, aws, mut deployment) = deployed(SPEC).await;
    next(&mut deployment);
    deployment["spec"]["database"]["deletionProtection"] = false.into();
    let busy = ("InvalidDBInstanceState", "Database instance shop-database is not in available state.");
    for (days, refusal) in
        [(8, busy), (9, ("DBParameterGroupNotFound", "The parameter group was not found."))]
    {
        deployment["spec"]["database"]["backupDays"] = days.into();
        refuse_once(&account, "ModifyDBInstance", refusal);
        until_done(&aws, NAME, "apply", &deployment).await.unwrap();
        wait_until_stable(&aws, &mut deployment).await;
        assert_eq!(instance(&aws).await.unwrap().backup_retention_period(), Some(days), "{refusal:?}");
    }
    let db = instance(&aws).await.unwrap();
    let untag = aws.rds().remove_tags_from_resource().resource_name(db.db_instance_arn().unwrap());
    untag.tag_keys("Name").send().await.unwrap();
    refuse_once(&account, "AddTagsToResource", busy);
    until_done(&aws, NAME, "apply", &deployment).await.unwrap();
    let tags = instance(&aws).await.unwrap().tag_list.unwrap();
    assert!(tags.iter().any(|tag| tag.key() == Some("Name")), "{tags:?}");
    aws.rds().stop_db_instance().db_instance_identifier("shop-database").send().await.unwrap();
    later(1200).await;
    refuse_once(&account, "StartDBInstance", busy);
    until_done(&aws, NAME, "apply", &deployment).await.unwrap();
    wait_until_stable(&aws, &mut deployment).await;
    refuse_once(&account, "DescribeDBParameters", ("DBParameterGroupNotFound", "It was not found."));
    until_done(&aws, NAME, "apply", &deployment).await.unwrap();
    assert_eq!(account.strikes().len(), 5);
}

#[tokio::test(start_paused = true)]
async fn a_deletion_that_rds_refuses_for_a_while_is_tried_again() {
    for (operation, code) in [
        ("DeleteDBInstance", "InvalidDBInstanceState"),
        ("DeleteDBInstance", "DBSnapshotAlreadyExists"),
        ("DeleteDBSubnetGroup", "InvalidDBSubnetGroupStateFault"),
        ("DeleteDBSubnetGroup", "InvalidDBSubnetStateFault"),
        ("DeleteDBParameterGroup", "InvalidDBParameterGroupState"),
    ] {
        let (account, aws, deployment) = deployed(SPEC).await;
        refuse_once(&account, operation, (code, "not now"));
        until_done(&aws, NAME, "await-deletion", &deployment).await.unwrap();
        assert_eq!(account.strikes().len(), 1, "{operation} {code}");
        assert_eq!(existing(&account), Vec::<String>::new(), "{operation} {code}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_rds_refuses_to_delete_is_named_with_rds_s_reason() {
    for (operation, code, resource, why) in [
        (
            "DeleteDBInstance",
            "InvalidDBInstanceState",
            "instance",
            "RDS refuses to delete it: it is available. RDS",
        ),
        ("DeleteDBInstance", "DBSnapshotAlreadyExists", "instance", "delete that snapshot"),
    ] {
        let (account, aws, deployment) = deployed(SPEC).await;
        refuse_once(&account, operation, (code, "not now"));
        let before = account.calls();
        let deletion = act(&aws, NAME, "delete", &deployment).await.unwrap();
        let remaining = &deletion["remaining"][0];
        assert_eq!(remaining["resource"], resource, "{deletion}");
        assert!(remaining["why"].as_str().unwrap().contains(why), "{deletion}");
        // The groups wait for the instance.
        assert_eq!(writes_since(&account, before), ["rds:DeleteDBInstance"], "{code}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_disappears_while_it_is_read_or_deleted_is_no_failure() {
    for (action, operation, code) in [
        ("plan", "ListTagsForResource", "DBSubnetGroupNotFoundFault"),
        ("plan", "ListTagsForResource", "DBParameterGroupNotFound"),
        ("await-deletion", "DeleteDBInstance", "DBInstanceNotFound"),
        ("await-deletion", "DeleteDBSubnetGroup", "DBSubnetGroupNotFoundFault"),
        ("await-deletion", "DeleteDBParameterGroup", "DBParameterGroupNotFound"),
    ] {
        let (account, aws, deployment) = deployed(SPEC).await;
        refuse_once(&account, operation, (code, "It was not found."));
        let done = until_done(&aws, NAME, action, &deployment).await;
        assert!(done.is_ok(), "{operation} {code}: {done:?}");
        assert_eq!(account.strikes().len(), 1, "{operation} {code}");
    }
}

#[tokio::test(start_paused = true)]
async fn only_a_change_of_the_storage_that_rds_refuses_is_explained_by_its_lock() {
    for (field, value, is_locked) in [("storage", json!(40), true), ("class", json!("db.t4g.medium"), false)]
    {
        let (account, aws, mut deployment) = deployed(SPEC).await;
        next(&mut deployment);
        deployment["spec"]["database"][field] = value;
        refuse_once(&account, "ModifyDBInstance", ("InvalidParameterCombination", "not now"));
        let told = until_done(&aws, NAME, "apply", &deployment).await.unwrap_err().chain();
        assert!(told.contains(&format!("updating {field} of RDS instance shop-database")), "{told}");
        assert_eq!(told.contains("six hours after the last one"), is_locked, "{told}");
    }
}
