//! What other components need of the instance: its host and its secret.

use aws_sdk_rds::types::DbInstance;

use super::instance::identifier;
use super::settings::{Difference, Setting};
use crate::contract::component::Work;
use crate::deployment::outputs::DatabaseOutputs;
use crate::deployment::plan::DatabaseValues;

/// The secret's ARN, once RDS has created the secret. Tasks can also read one that RDS rotates, or can no longer rotate
/// (API reference, `MasterUserSecret`).
pub(super) fn secret(db: &DbInstance) -> Option<&str> {
    let status = db.master_user_secret()?.secret_status().unwrap_or_default();
    secret_arn(db).filter(|_| !["", "creating"].contains(&status))
}

/// The secret's ARN, which RDS reports from the creation of the instance on.
pub(super) fn secret_arn(db: &DbInstance) -> Option<&str> {
    db.master_user_secret()?.secret_arn()
}

pub(super) fn host(db: &DbInstance) -> Option<&str> {
    db.endpoint()?.address()
}

/// The known outputs. The endpoint exists some minutes after the creation. The secret's ARN is known before the secret exists:
/// the role of the tasks can be allowed to read it early.
pub(super) fn outputs(work: &Work<'_>, db: Option<&DbInstance>) -> DatabaseOutputs {
    DatabaseOutputs {
        identifier: Some(identifier(work)),
        host: db.and_then(host).map(str::to_owned),
        secret: db.and_then(secret_arn).map(str::to_owned),
        awaited: work.spec.services.values().any(stackdrop_specs::Service::uses_database),
        restoring: db.is_some_and(|db| db.master_user_secret().is_none()),
    }
}

/// What services need of the instance. If RDS is to manage the password again, it creates another secret.
pub(super) fn values(db: &DbInstance, differences: &[Difference]) -> DatabaseValues {
    let renews = differences.iter().any(|difference| difference.setting == Setting::ManagedPassword);
    let secret = secret_arn(db).filter(|_| !renews);
    let status = db.master_user_secret().and_then(|secret| secret.secret_status());
    DatabaseValues {
        host: host(db).map(str::to_owned),
        secret: secret.map(str::to_owned),
        rotates: status == Some("rotating"),
    }
}
