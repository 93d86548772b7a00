//! The creation of the RDS instance: empty, or from a snapshot.

use aws_sdk_rds::types::DbInstance;
use stackdrop_specs::{DATABASE_PORT, Database};

use super::instance::{LOGICAL_ID, MASTER_USER, identifier};
use super::settings::size;
use super::storage::STORAGE_TYPE;
use super::version::{NO_EXTENDED_SUPPORT, POSTGRES};
use super::{NAME, linked_role, parameter_group, rds_tags, restore, subnet_group};
use crate::aws::error::{AwsResult, Refusal, StepError};
use crate::contract::component::Work;

/// Starts the creation. Returns what RDS answers, if it does.
pub(super) async fn create(work: &Work<'_>, spec: &Database) -> Result<Option<DbInstance>, StepError> {
    let group = work.groups()?.database.clone();
    let group = group
        .ok_or_else(|| StepError::Defect("the security groups have no group for the database".into()))?;
    match &spec.restore_from {
        Some(snapshot) => restore::restore(work, spec, group, snapshot).await,
        None => create_empty(work, spec, group).await,
    }
}

async fn create_empty(
    work: &Work<'_>,
    spec: &Database,
    group: String,
) -> Result<Option<DbInstance>, StepError> {
    let id = identifier(work);
    let call = work
        .aws
        .rds()
        .create_db_instance()
        .db_instance_identifier(&id)
        .engine(POSTGRES)
        .engine_version(&spec.version)
        .db_instance_class(&spec.class)
        .allocated_storage(size(spec.storage))
        .set_max_allocated_storage(spec.max_storage.map(size))
        .storage_type(STORAGE_TYPE)
        // After the end of standard support, RDS would charge more for the support than for a small instance.
        .engine_lifecycle_support(NO_EXTENDED_SUPPORT)
        // Encryption cannot be turned on later.
        .storage_encrypted(true)
        .publicly_accessible(false)
        .manage_master_user_password(true)
        .master_username(MASTER_USER)
        .db_name(&spec.name)
        .port(DATABASE_PORT.into())
        .vpc_security_group_ids(group)
        .db_subnet_group_name(subnet_group::name(work))
        .db_parameter_group_name(parameter_group::name(work, spec))
        .backup_retention_period(spec.backup_days.into())
        .multi_az(spec.multi_az)
        .copy_tags_to_snapshot(true)
        .auto_minor_version_upgrade(true)
        // Protection is turned on after the deployment has succeeded: this one may have to roll back.
        .deletion_protection(false)
        .set_tags(Some(rds_tags(work.stack.tags(NAME, LOGICAL_ID))));
    match call.send().await.unless(&[]) {
        Ok(response) => {
            tracing::info!(id, "RDS instance created.");
            Ok(response.and_then(|response| response.db_instance))
        }
        Err(refusal) => not_created(work, refusal, format!("creating RDS instance {id}")).await,
    }
}

/// Why RDS has not created the instance: it does not see something yet, or refuses for good.
pub(super) async fn not_created<T>(
    work: &Work<'_>,
    refusal: Box<dyn Refusal>,
    doing: String,
) -> Result<T, StepError> {
    linked_role::check(work, &refusal.aws()).await?;
    // The groups are new, or a lost response created the instance: both become visible soon. RDS has no code of its own for
    // a security group that it does not see yet.
    let not_visible = ["DBInstanceAlreadyExists", "DBParameterGroupNotFound", "DBSubnetGroupNotFoundFault"];
    let waiting_for = "the RDS instance and its groups to become visible";
    if refusal.aws().message.contains("Invalid security group") {
        return Err(StepError::stalled(waiting_for));
    }
    let refused: Result<T, _> = Err(refusal);
    match refused.unless(&["InvalidDBParameterGroupState"]) {
        Ok(_) => Err(StepError::pending("RDS to create the DB parameter group")),
        Err(refusal) => Err(refusal).stalled_on(&not_visible, waiting_for, doing),
    }
}
