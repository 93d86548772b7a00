//! The permissions that a call needs.
//!
//! Source, besides the Service Authorization Reference: for managed passwords "Permissions required for Secrets
//! Manager integration" in the RDS user guide; for what RDS reads from EC2 the permissions of AWS's own
//! `CloudFormation` handlers for RDS (repository aws-cloudformation-resource-providers-rds).

use super::parameter_groups::default_name;
use super::{catalogue, create, tagging};
use crate::authorization::AccessRequests;
use crate::params::Params;
use crate::world::{Tags, World};

pub(super) fn access(world: &World, operation: &str, params: &Params, requests: &mut AccessRequests<'_>) {
    match operation {
        "CreateDBInstance" => create_instance(world, params, requests),
        "RestoreDBInstanceFromDBSnapshot" => restore_instance(world, params, requests),
        "ModifyDBInstance" => modify_instance(world, params, requests),
        "DeleteDBInstance" => delete_instance(world, params, requests),
        "CreateDBSubnetGroup" => {
            on_new(world, params, requests, "subgrp", "DBSubnetGroupName");
            requests.linked_role("rds.amazonaws.com");
        }
        "CreateDBParameterGroup" => on_new(world, params, requests, "pg", "DBParameterGroupName"),
        "RebootDBInstance" | "StartDBInstance" | "StopDBInstance" | "DescribeDBInstances" => {
            on(world, params, requests, "db", "DBInstanceIdentifier");
        }
        "ModifyDBSubnetGroup" | "DeleteDBSubnetGroup" | "DescribeDBSubnetGroups" => {
            on(world, params, requests, "subgrp", "DBSubnetGroupName");
        }
        "ModifyDBParameterGroup"
        | "ResetDBParameterGroup"
        | "DeleteDBParameterGroup"
        | "DescribeDBParameterGroups"
        | "DescribeDBParameters" => on(world, params, requests, "pg", "DBParameterGroupName"),
        "DeleteDBSnapshot" => on(world, params, requests, "snapshot", "DBSnapshotIdentifier"),
        "DescribeDBSnapshots" => {
            on(world, params, requests, "snapshot", "DBSnapshotIdentifier");
            if params.has("DBInstanceIdentifier") {
                on(world, params, requests, "db", "DBInstanceIdentifier");
            }
        }
        "DescribeDBInstanceAutomatedBackups" => {
            on(world, params, requests, "db", "DBInstanceIdentifier");
            requests.resource("auto-backup", arn(world, "auto-backup", "*"), None);
        }
        "AddTagsToResource" | "RemoveTagsFromResource" | "ListTagsForResource" => {
            by_arn(world, params, requests);
        }
        _ => {
            requests.no_resource();
        }
    }
}

/// Requests access to the resource that a parameter names, or to all if it names none: AWS's message then says
/// `db:*`.
fn on(world: &World, params: &Params, requests: &mut AccessRequests<'_>, kind: &str, key: &str) {
    let name = name(params, key).unwrap_or_else(|| "*".into());
    requests.resource(kind, arn(world, kind, &name), tags(world, kind, &name));
}

/// The name in a parameter, in the form in which RDS stores names.
fn name(params: &Params, key: &str) -> Option<String> {
    params.text(key).map(|name| name.to_ascii_lowercase())
}

fn arn(world: &World, kind: &str, name: &str) -> String {
    world.arn("rds", &format!("{kind}:{name}"))
}

fn tags<'w>(world: &'w World, kind: &str, name: &str) -> Option<&'w Tags> {
    let rds = &world.states.rds;
    match kind {
        "db" => rds.instances.get(name).map(|it| &it.tags),
        "subgrp" => rds.subnet_groups.get(name).map(|it| &it.tags),
        "pg" => rds.parameter_groups.get(name).map(|it| &it.tags),
        "snapshot" => rds.snapshots.get(name).map(|it| &it.tags),
        _ => None,
    }
}

fn by_arn(world: &World, params: &Params, requests: &mut AccessRequests<'_>) {
    let arn = params.text("ResourceName").unwrap_or_default();
    let known = ["db", "subgrp", "pg", "og", "snapshot"];
    // The name of an automated snapshot has a colon.
    let mut parts = arn.splitn(7, ':').skip(5);
    let (kind, name) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let kind = if known.contains(&kind) { kind } else { "" };
    let request = requests.resource(kind, &arn, tags(world, kind, name));
    request.request_tags(&tagging::read(params).unwrap_or_default()).tag_keys(params.list("TagKeys"));
}

/// Requests the creation of a resource with its tags.
fn on_new(world: &World, params: &Params, requests: &mut AccessRequests<'_>, kind: &str, key: &str) {
    on(world, params, requests, kind, key);
    with_tags(world, params, requests, kind, key);
}

/// The tags of a creation are condition keys of each of its requests, and need a permission of their own.
fn with_tags(world: &World, params: &Params, requests: &mut AccessRequests<'_>, kind: &str, key: &str) {
    let tags = tagging::read(params).unwrap_or_default();
    if tags.is_empty() {
        return;
    }
    requests.request_tags(&tags);
    let arn = arn(world, kind, &name(params, key).unwrap_or_default());
    requests.other_action("rds:AddTagsToResource", kind, arn, None).request_tags(&tags);
}

fn create_instance(world: &World, params: &Params, requests: &mut AccessRequests<'_>) {
    on(world, params, requests, "db", "DBInstanceIdentifier");
    let subnet_group = name(params, "DBSubnetGroupName");
    if subnet_group.is_some() {
        on(world, params, requests, "subgrp", "DBSubnetGroupName");
    }
    let major = catalogue::resolve(world, params.text("EngineVersion").as_deref()).map(catalogue::major);
    let parameter_group =
        name(params, "DBParameterGroupName").or(major.as_ref().ok().copied().map(default_name));
    if let Some(group) = parameter_group {
        requests.resource("pg", arn(world, "pg", &group), tags(world, "pg", &group));
    }
    if let Ok(major) = major {
        requests.resource("og", option_group(world, major), None);
    }
    with_tags(world, params, requests, "db", "DBInstanceIdentifier");
    secret(world, params, requests);
    storage_key(params, requests);
    network(world, subnet_group.as_deref().unwrap_or_default(), requests);
    requests.linked_role("rds.amazonaws.com");
}

/// A restore takes the permission for the snapshot too. Unverified: for a snapshot with a customer key, RDS uses the key with
/// the caller's permissions, as for a new instance.
fn restore_instance(world: &World, params: &Params, requests: &mut AccessRequests<'_>) {
    on(world, params, requests, "db", "DBInstanceIdentifier");
    on(world, params, requests, "subgrp", "DBSubnetGroupName");
    on(world, params, requests, "snapshot", "DBSnapshotIdentifier");
    let snapshot = name(params, "DBSnapshotIdentifier").and_then(|id| world.states.rds.snapshots.get(&id));
    let version = snapshot.map(|snapshot| snapshot.engine_version);
    let major = catalogue::resolve(world, version).map(catalogue::major).unwrap_or_default();
    let group = name(params, "DBParameterGroupName").unwrap_or_else(|| default_name(major));
    requests.resource("pg", arn(world, "pg", &group), tags(world, "pg", &group));
    requests.resource("og", option_group(world, major), None);
    with_tags(world, params, requests, "db", "DBInstanceIdentifier");
    let key = snapshot.and_then(|snapshot| snapshot.kms_key.as_ref());
    if let Some(key) = key.filter(|key| **key != create::default_key(world, "aws/rds")) {
        requests.key_use("kms:DescribeKey", key, "rds");
        requests.key_use("kms:CreateGrant", key, "rds");
    }
    network(world, &name(params, "DBSubnetGroupName").unwrap_or_default(), requests);
    requests.linked_role("rds.amazonaws.com");
}

/// RDS's default option group.
fn option_group(world: &World, major: u32) -> String {
    arn(world, "og", &format!("default:postgres-{major}"))
}

fn modify_instance(world: &World, params: &Params, requests: &mut AccessRequests<'_>) {
    on(world, params, requests, "db", "DBInstanceIdentifier");
    if params.has("DBParameterGroupName") {
        on(world, params, requests, "pg", "DBParameterGroupName");
    }
    let instance = name(params, "DBInstanceIdentifier").and_then(|id| world.states.rds.instances.get(&id));
    let Some(instance) = instance else { return };
    // Unverified: another major version uses another option group, which must be created.
    let version = params.text("EngineVersion");
    let major =
        version.and_then(|version| catalogue::resolve(world, Some(&version)).ok()).map(catalogue::major);
    if let Some(major) = major.filter(|major| *major != catalogue::major(instance.settings.version)) {
        requests.resource("og", option_group(world, major), None);
    }
    secret(world, params, requests);
    if let Some(secret) = instance.secret.as_ref().filter(|_| params.has("RotateMasterUserPassword")) {
        requests.other_action("secretsmanager:RotateSecret", "Secret", &secret.arn, None);
    }
    if params.has("VpcSecurityGroupIds") {
        network(world, &instance.subnet_group, requests);
    }
}

/// A final snapshot needs the permission for a snapshot and for the tags that it copies. AWS does not document which
/// condition keys have these tags: none is the strictest assumption.
fn delete_instance(world: &World, params: &Params, requests: &mut AccessRequests<'_>) {
    on(world, params, requests, "db", "DBInstanceIdentifier");
    let (Some(id), Some(snapshot)) =
        (name(params, "DBInstanceIdentifier"), name(params, "FinalDBSnapshotIdentifier"))
    else {
        return;
    };
    let snapshot = arn(world, "snapshot", &snapshot);
    requests.other_action("rds:CreateDBSnapshot", "db", arn(world, "db", &id), tags(world, "db", &id));
    requests.other_action("rds:CreateDBSnapshot", "snapshot", &snapshot, None);
    let copies =
        |id| world.states.rds.instances.get(id).is_some_and(|it| it.copies_tags && !it.tags.is_empty());
    if copies(&id) {
        requests.other_action("rds:AddTagsToResource", "snapshot", snapshot, None);
    }
}

/// RDS creates the secret of a master password with the caller's permissions.
fn secret(world: &World, params: &Params, requests: &mut AccessRequests<'_>) {
    if !matches!(params.flag("ManageMasterUserPassword"), Ok(Some(true))) {
        return;
    }
    let secret = world.arn("secretsmanager", "secret:rds!db-*");
    requests.other_action("secretsmanager:CreateSecret", "Secret", &secret, None);
    requests.other_action("secretsmanager:TagResource", "Secret", secret, None);
    let Some(named) = params.text("MasterUserSecretKmsKeyId") else {
        requests.other_action(
            "kms:DescribeKey",
            "key",
            create::default_key(world, "aws/secretsmanager"),
            None,
        );
        return;
    };
    for action in ["kms:DescribeKey", "kms:Decrypt", "kms:GenerateDataKey", "kms:CreateGrant"] {
        requests.key_use(action, &named, "secretsmanager");
    }
}

/// A customer key for the storage. Source: "Encrypting Amazon RDS resources" in the RDS user guide.
fn storage_key(params: &Params, requests: &mut AccessRequests<'_>) {
    if let Some(named) = params.text("KmsKeyId") {
        requests.key_use("kms:DescribeKey", &named, "rds");
        requests.key_use("kms:CreateGrant", &named, "rds");
    }
}

/// RDS reads the network with the caller's permissions.
fn network(world: &World, subnet_group: &str, requests: &mut AccessRequests<'_>) {
    for operation in [
        "DescribeAccountAttributes",
        "DescribeAvailabilityZones",
        "DescribeInternetGateways",
        "DescribeSecurityGroups",
        "DescribeSubnets",
        "DescribeVpcs",
    ] {
        requests.other_action(&format!("ec2:{operation}"), "", "*", None);
    }
    let vpc = world.states.rds.subnet_groups.get(subnet_group).map_or("*", |group| &group.vpc);
    requests.other_action("ec2:DescribeVpcAttribute", "vpc", world.arn("ec2", &format!("vpc/{vpc}")), None);
}
