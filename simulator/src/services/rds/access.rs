//! What a call asks IAM for.
//!
//! Source, beside the Service Authorization Reference: "Permissions required for Secrets Manager integration" in the RDS
//! user guide for managed passwords; the permissions that AWS's own `CloudFormation` handlers for RDS ask for (their
//! repository aws-cloudformation-resource-providers-rds) for what RDS looks up in EC2.

use super::parameter_groups::default_name;
use super::{catalogue, create, tagging};
use crate::authorization::Asks;
use crate::params::Params;
use crate::world::{Tags, World};

pub(super) fn access(world: &World, operation: &str, params: &Params, asks: &mut Asks<'_>) {
    match operation {
        "CreateDBInstance" => create_instance(world, params, asks),
        "ModifyDBInstance" => modify_instance(world, params, asks),
        "DeleteDBInstance" => delete_instance(world, params, asks),
        "CreateDBSubnetGroup" => {
            on_new(world, params, asks, "subgrp", "DBSubnetGroupName");
            asks.linked_role("rds.amazonaws.com");
        }
        "CreateDBParameterGroup" => on_new(world, params, asks, "pg", "DBParameterGroupName"),
        "RebootDBInstance" | "DescribeDBInstances" => on(world, params, asks, "db", "DBInstanceIdentifier"),
        "ModifyDBSubnetGroup" | "DeleteDBSubnetGroup" | "DescribeDBSubnetGroups" => {
            on(world, params, asks, "subgrp", "DBSubnetGroupName");
        }
        "ModifyDBParameterGroup"
        | "ResetDBParameterGroup"
        | "DeleteDBParameterGroup"
        | "DescribeDBParameterGroups"
        | "DescribeDBParameters" => on(world, params, asks, "pg", "DBParameterGroupName"),
        "DeleteDBSnapshot" => on(world, params, asks, "snapshot", "DBSnapshotIdentifier"),
        "DescribeDBSnapshots" => {
            on(world, params, asks, "snapshot", "DBSnapshotIdentifier");
            if params.has("DBInstanceIdentifier") {
                on(world, params, asks, "db", "DBInstanceIdentifier");
            }
        }
        "AddTagsToResource" | "RemoveTagsFromResource" | "ListTagsForResource" => by_arn(world, params, asks),
        _ => {
            asks.whole();
        }
    }
}

/// Asks for what a parameter names, or for all where it names none: then AWS's message says `db:*`.
/// Source: awslabs/pireporter#8.
fn on(world: &World, params: &Params, asks: &mut Asks<'_>, kind: &str, key: &str) {
    let name = name(params, key).unwrap_or_else(|| "*".into());
    asks.on(kind, arn(world, kind, &name), tags(world, kind, &name));
}

/// What a parameter names, as RDS keeps names.
fn name(params: &Params, key: &str) -> Option<String> {
    params.text(key).map(|name| name.to_ascii_lowercase())
}

fn arn(world: &World, kind: &str, name: &str) -> String {
    world.arn("rds", &format!("{kind}:{name}"))
}

fn tags<'w>(world: &'w World, kind: &str, name: &str) -> Option<&'w Tags> {
    let rds = &world.rds;
    match kind {
        "db" => rds.instances.get(name).map(|it| &it.tags),
        "subgrp" => rds.subnet_groups.get(name).map(|it| &it.tags),
        "pg" => rds.parameter_groups.get(name).map(|it| &it.tags),
        "snapshot" => rds.snapshots.get(name).map(|it| &it.tags),
        _ => None,
    }
}

fn by_arn(world: &World, params: &Params, asks: &mut Asks<'_>) {
    let arn = params.text("ResourceName").unwrap_or_default();
    let known = ["db", "subgrp", "pg", "og", "snapshot"];
    let mut parts = arn.split(':').skip(5);
    let (kind, name) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let kind = if known.contains(&kind) { kind } else { "" };
    let request = asks.on(kind, &arn, tags(world, kind, name));
    request.request_tags(&tagging::read(params).unwrap_or_default()).tag_keys(params.list("TagKeys"));
}

/// Asks for the creation of one thing with its tags.
fn on_new(world: &World, params: &Params, asks: &mut Asks<'_>, kind: &str, key: &str) {
    on(world, params, asks, kind, key);
    with_tags(world, params, asks, kind, key);
}

/// The tags of a creation are facts of each of its requests, and need a permission of their own.
fn with_tags(world: &World, params: &Params, asks: &mut Asks<'_>, kind: &str, key: &str) {
    let tags = tagging::read(params).unwrap_or_default();
    if tags.is_empty() {
        return;
    }
    asks.request_tags(&tags);
    let arn = arn(world, kind, &name(params, key).unwrap_or_default());
    asks.also("rds:AddTagsToResource", kind, arn, None).request_tags(&tags);
}

fn create_instance(world: &World, params: &Params, asks: &mut Asks<'_>) {
    on(world, params, asks, "db", "DBInstanceIdentifier");
    let subnet_group = name(params, "DBSubnetGroupName");
    if subnet_group.is_some() {
        on(world, params, asks, "subgrp", "DBSubnetGroupName");
    }
    let major = catalogue::resolve(params.text("EngineVersion").as_deref()).map(catalogue::major);
    let parameter_group =
        name(params, "DBParameterGroupName").or(major.as_ref().ok().copied().map(default_name));
    if let Some(group) = parameter_group {
        asks.on("pg", arn(world, "pg", &group), tags(world, "pg", &group));
    }
    if let Ok(major) = major {
        asks.on("og", option_group(world, major), None);
    }
    with_tags(world, params, asks, "db", "DBInstanceIdentifier");
    secret(world, params, asks);
    storage_key(world, params, asks);
    network(world, subnet_group.as_deref().unwrap_or_default(), asks);
    asks.linked_role("rds.amazonaws.com");
}

/// The option group that RDS takes by itself.
fn option_group(world: &World, major: u32) -> String {
    arn(world, "og", &format!("default:postgres-{major}"))
}

fn modify_instance(world: &World, params: &Params, asks: &mut Asks<'_>) {
    on(world, params, asks, "db", "DBInstanceIdentifier");
    if params.has("DBParameterGroupName") {
        on(world, params, asks, "pg", "DBParameterGroupName");
    }
    let instance = name(params, "DBInstanceIdentifier").and_then(|id| world.rds.instances.get(&id));
    let Some(instance) = instance else { return };
    // Unverified: another major version brings another option group, which a creation asks for.
    let version = params.text("EngineVersion");
    let major = version.and_then(|version| catalogue::resolve(Some(&version)).ok()).map(catalogue::major);
    if let Some(major) = major.filter(|major| *major != catalogue::major(instance.settings.version)) {
        asks.on("og", option_group(world, major), None);
    }
    secret(world, params, asks);
    if let Some(secret) = instance.secret.as_ref().filter(|_| params.has("RotateMasterUserPassword")) {
        asks.also("secretsmanager:RotateSecret", "Secret", &secret.arn, None);
    }
    if params.has("VpcSecurityGroupIds") {
        network(world, &instance.subnet_group, asks);
    }
}

/// A final snapshot needs the permission for a snapshot, and for the tags that it takes over. Which facts tell of these
/// tags is not documented: none is the strictest.
fn delete_instance(world: &World, params: &Params, asks: &mut Asks<'_>) {
    on(world, params, asks, "db", "DBInstanceIdentifier");
    let (Some(id), Some(snapshot)) =
        (name(params, "DBInstanceIdentifier"), name(params, "FinalDBSnapshotIdentifier"))
    else {
        return;
    };
    let snapshot = arn(world, "snapshot", &snapshot);
    asks.also("rds:CreateDBSnapshot", "db", arn(world, "db", &id), tags(world, "db", &id));
    asks.also("rds:CreateDBSnapshot", "snapshot", &snapshot, None);
    let copies = |id| world.rds.instances.get(id).is_some_and(|it| it.copies_tags && !it.tags.is_empty());
    if copies(&id) {
        asks.also("rds:AddTagsToResource", "snapshot", snapshot, None);
    }
}

/// RDS makes the secret of a master password in the caller's name.
fn secret(world: &World, params: &Params, asks: &mut Asks<'_>) {
    if !matches!(params.flag("ManageMasterUserPassword"), Ok(Some(true))) {
        return;
    }
    let secret = world.arn("secretsmanager", "secret:rds!db-*");
    asks.also("secretsmanager:CreateSecret", "Secret", &secret, None);
    asks.also("secretsmanager:TagResource", "Secret", secret, None);
    let Some(named) = params.text("MasterUserSecretKmsKeyId") else {
        asks.also("kms:DescribeKey", "key", create::default_key(world, "aws/secretsmanager"), None);
        return;
    };
    let needs = ["kms:DescribeKey", "kms:Decrypt", "kms:GenerateDataKey", "kms:CreateGrant"];
    customer_key(world, asks, &needs, &named, "secretsmanager");
}

/// A customer's key for the storage. Source: "Encrypting Amazon RDS resources" in the RDS user guide.
fn storage_key(world: &World, params: &Params, asks: &mut Asks<'_>) {
    if let Some(named) = params.text("KmsKeyId") {
        customer_key(world, asks, &["kms:DescribeKey", "kms:CreateGrant"], &named, "rds");
    }
}

fn customer_key(world: &World, asks: &mut Asks<'_>, needs: &[&str], named: &str, via: &str) {
    let key =
        if named.starts_with("arn:") { named.to_owned() } else { world.arn("kms", &format!("key/{named}")) };
    for action in needs {
        asks.also(action, "key", &key, None)
            .key("kms:ViaService", format!("{via}.{}.amazonaws.com", world.region));
    }
}

/// RDS looks at the network in the caller's name.
fn network(world: &World, subnet_group: &str, asks: &mut Asks<'_>) {
    for operation in [
        "DescribeAccountAttributes",
        "DescribeAvailabilityZones",
        "DescribeInternetGateways",
        "DescribeSecurityGroups",
        "DescribeSubnets",
        "DescribeVpcs",
    ] {
        asks.also(&format!("ec2:{operation}"), "", "*", None);
    }
    let vpc = world.rds.subnet_groups.get(subnet_group).map_or("*", |group| &group.vpc);
    asks.also("ec2:DescribeVpcAttribute", "vpc", world.arn("ec2", &format!("vpc/{vpc}")), None);
}
