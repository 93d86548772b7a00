//! The restore of a snapshot: checks before it, and the call that creates the RDS instance from it.
//!
//! The restore takes everything but the password, which stays that of the snapshot: `ManageMasterUserPassword` "applies to RDS
//! for Oracle only" (API reference, `RestoreDBInstanceFromDBSnapshot`). Once the instance is available, the step runs again and
//! lets RDS manage the password, as Terraform does (hashicorp/terraform-provider-aws#33699). The size and type of the storage
//! are the snapshot's until then.

use aws_sdk_rds::types::{DbInstance, DbSnapshot};
use stackdrop_specs::{DATABASE_PORT, Database};

use super::creation::not_created;
use super::instance::{LOGICAL_ID, identifier};
use super::settings::size;
use super::version::{NO_EXTENDED_SUPPORT, POSTGRES, major};
use super::{NAME, observed, parameter_group, rds_tags, subnet_group};
use crate::aws::error::{AwsResult, StepError};
use crate::contract::component::Work;
use crate::deployment::names::{TAG_STACK, Tags};
use crate::deployment::plan::{FieldChange, Plan, Verb};

/// The tag with which the owner of a snapshot lets a stack use it: the stack's name, or `*` for every stack.
const TAG_ACCESS: &str = "stackdrop-access";

/// Plans the restore, or the problems for which it would fail.
pub(super) async fn plan(
    work: &Work<'_>,
    spec: &Database,
    name: &str,
    plan: &mut Plan,
) -> Result<(), StepError> {
    plan.update_field(Verb::Create, LOGICAL_ID, FieldChange::new("restoreFrom", "(none)", name));
    for (why, fix) in problems(work, spec, name, find(work, name).await?.as_ref()) {
        plan.problem(LOGICAL_ID, why, fix);
    }
    Ok(())
}

/// Starts the restore. Returns what RDS answers, if it does.
pub(super) async fn restore(
    work: &Work<'_>,
    spec: &Database,
    group: String,
    name: &str,
) -> Result<Option<DbInstance>, StepError> {
    let problems = problems(work, spec, name, find(work, name).await?.as_ref());
    if !problems.is_empty() {
        let text: Vec<String> = problems.iter().map(|(why, fix)| format!("{why}; {fix}")).collect();
        return Err(StepError::InvalidSpec(text.join("; ")));
    }
    let id = identifier(work);
    let call = work
        .aws
        .rds()
        .restore_db_instance_from_db_snapshot()
        .db_instance_identifier(&id)
        .db_snapshot_identifier(name)
        .db_instance_class(&spec.class)
        .engine_lifecycle_support(NO_EXTENDED_SUPPORT)
        .publicly_accessible(false)
        .port(DATABASE_PORT.into())
        .vpc_security_group_ids(group)
        .db_subnet_group_name(subnet_group::name(work))
        .db_parameter_group_name(parameter_group::name(work, spec))
        .backup_retention_period(spec.backup_days.into())
        .multi_az(spec.multi_az)
        .copy_tags_to_snapshot(true)
        .auto_minor_version_upgrade(true)
        // As for a new instance.
        .deletion_protection(false)
        .set_tags(Some(rds_tags(work.stack.tags(NAME, LOGICAL_ID))));
    match call.send().await.unless(&[]) {
        Ok(response) => {
            tracing::info!(id, name, "RDS instance is being restored.");
            Ok(response.and_then(|response| response.db_instance))
        }
        Err(refusal) => not_created(work, refusal, format!("restoring {name} to RDS instance {id}")).await,
    }
}

/// Finds a snapshot of this account. "If this identifier is for an automated snapshot, the `SnapshotType` parameter must also be
/// specified" (API reference, `DescribeDBSnapshots`).
async fn find(work: &Work<'_>, name: &str) -> Result<Option<DbSnapshot>, StepError> {
    let automated = name.starts_with("rds:").then_some("automated");
    let call = work.aws.rds().describe_db_snapshots().db_snapshot_identifier(name);
    let call = call.set_snapshot_type(automated.map(str::to_owned)).send().await;
    let response = call.unless(&["DBSnapshotNotFound"]).doing(format!("looking for snapshot {name}"))?;
    Ok(response.and_then(|response| response.db_snapshots.unwrap_or_default().into_iter().next()))
}

/// Why the snapshot cannot be restored, each with how to fix it.
fn problems(
    work: &Work<'_>,
    spec: &Database,
    name: &str,
    snapshot: Option<&DbSnapshot>,
) -> Vec<(String, String)> {
    let Some(snapshot) = snapshot else {
        return vec![(
            format!("RDS has no snapshot {name} (database.restoreFrom) in this account and region"),
            "set database.restoreFrom to one that `aws rds describe-db-snapshots` lists, or remove it"
                .to_owned(),
        )];
    };
    let stack = work.stack.name.as_str();
    if !is_shared(stack, &observed::tags(snapshot.tag_list())) {
        let arn = snapshot.db_snapshot_arn().unwrap_or_default();
        // Its other properties are not shared with this stack either.
        return vec![(
            format!("stack {stack} may not restore snapshot {name} (database.restoreFrom)"),
            format!(
                "let its owner tag it: aws rds add-tags-to-resource --resource-name {arn} --tags \
                 Key={TAG_ACCESS},Value={stack}"
            ),
        )];
    }
    misfits(spec, name, snapshot)
}

/// Why RDS would refuse the restore, or the database would not be as the spec has it, each with how to fix it.
fn misfits(spec: &Database, name: &str, snapshot: &DbSnapshot) -> Vec<(String, String)> {
    let mut all = Vec::new();
    let status = snapshot.status().unwrap_or_default();
    if status != "available" {
        let why = format!("snapshot {name} (database.restoreFrom) cannot be restored: it is {status}");
        all.push((why, "deploy again once it is available".to_owned()));
    }
    let engine = snapshot.engine().unwrap_or_default();
    if engine != POSTGRES {
        let why = format!("snapshot {name} (database.restoreFrom) is one of {engine}, not of PostgreSQL");
        all.push((why, "set database.restoreFrom to a snapshot of a PostgreSQL database".to_owned()));
        return all;
    }
    if snapshot.encrypted() != Some(true) {
        all.push((
            format!("snapshot {name} (database.restoreFrom) is not encrypted, and RDS cannot encrypt the database later"),
            format!(
                "copy it with a key first, and restore the copy: aws rds copy-db-snapshot \
                 --source-db-snapshot-identifier {name} --target-db-snapshot-identifier {name}-encrypted \
                 --kms-key-id alias/aws/rds --copy-tags"
            ),
        ));
    }
    let version = snapshot.engine_version().unwrap_or_default();
    if major(version) != major(&spec.version) {
        all.push((
            format!(
                "snapshot {name} (database.restoreFrom) has PostgreSQL {version}, not database.version {}",
                spec.version
            ),
            format!("set database.version to {}; change it once the database is restored", major(version)),
        ));
    }
    let storage = snapshot.allocated_storage().unwrap_or_default();
    if size(spec.storage) < storage {
        all.push((
            format!(
                "snapshot {name} (database.restoreFrom) needs {storage} GiB, more than database.storage {}",
                spec.storage
            ),
            format!("set database.storage to {storage} or more"),
        ));
    }
    all
}

/// Whether a stack may restore a snapshot: one of its own databases, whose tags RDS copies to their snapshots, or one that its
/// owner shares with the stack. Otherwise a spec could read the data of every other stack.
fn is_shared(stack: &str, tags: &Tags) -> bool {
    let tag = |key: &str| tags.get(key).map(String::as_str);
    tag(TAG_STACK) == Some(stack) || tag(TAG_ACCESS).is_some_and(|shared| [stack, "*"].contains(&shared))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_keeps_a_snapshot_from_being_restored_is_named_alone() {
        let text = "stack: shop\ndatabase: { version: '16', class: db.t4g.small, storage: 20, name: orders }";
        let spec = stackdrop_specs::Spec::read(text.as_bytes()).unwrap().database.unwrap();
        let fitting = || {
            let snapshot = DbSnapshot::builder().status("available").engine(POSTGRES).engine_version("16.9");
            snapshot.encrypted(true).allocated_storage(20)
        };
        for (snapshot, expected) in [
            (fitting(), None),
            (fitting().allocated_storage(19), None),
            (fitting().allocated_storage(21), Some("needs 21 GiB, more than database.storage 20")),
            (fitting().status("failed"), Some("cannot be restored: it is failed")),
            (fitting().encrypted(false), Some("is not encrypted")),
            (fitting().engine_version("17.2"), Some("has PostgreSQL 17.2, not database.version 16")),
            // Nothing else counts then.
            (
                fitting().engine("mysql").engine_version("8.0").encrypted(false),
                Some("is one of mysql, not of PostgreSQL"),
            ),
        ] {
            let found = misfits(&spec, "last", &snapshot.build());
            assert_eq!(found.len(), usize::from(expected.is_some()), "{expected:?}: {found:?}");
            let is_named = expected.is_none_or(|expected| found[0].0.contains(expected));
            assert!(is_named, "{expected:?}: {found:?}");
        }
    }

    #[test]
    fn a_snapshot_is_shared_by_the_tag_of_its_stack_or_by_that_of_its_owner() {
        let shared = |key: &str, value: &str| is_shared("shop", &Tags::from([(key.into(), value.into())]));
        assert!(shared("stackdrop:stack", "shop"));
        assert!(shared("stackdrop-access", "shop"));
        assert!(shared("stackdrop-access", "*"));
        assert!(!shared("stackdrop:stack", "shop-two"));
        assert!(!shared("stackdrop:stack", "*"));
        assert!(!shared("stackdrop-access", "shop-two"));
        assert!(!is_shared("shop", &Tags::new()));
    }
}
