//! Services whose tasks read a secret or parameter before it changed. ECS reads them only when a task starts (ECS developer guide,
//! "Pass Secrets Manager secrets through Amazon ECS environment variables"), so these tasks have a password that no longer works.

use std::collections::BTreeMap;

use aws_sdk_ecs::types::{Deployment, Service};
use aws_smithy_types::DateTime;
use stackdrop_specs::{DatabaseValue, Service as Spec, is_parameter};

use super::dependencies::Dependencies;
use super::fargate::primary;
use super::observed::Observed;
use super::{secrets, spec_of};
use crate::contract::component::Work;
use crate::contract::shared_secrets::name;

/// The services with such tasks: for each, what changed.
///
/// During a rollback it is empty: restarting tasks must not make a rollback fail. The next deployment restarts them.
pub(super) fn services(
    work: &Work<'_>,
    observed: &Observed,
    dependencies: &Dependencies,
) -> BTreeMap<String, String> {
    if work.deployment.rolling_back || work.deployment.destroying {
        return BTreeMap::new();
    }
    let active = observed.services.keys().filter_map(|name| {
        let service = observed.active_service(work, name)?;
        let changed = changed(work, spec_of(work, name)?, service, dependencies)?;
        Some((name.clone(), changed))
    });
    active.collect()
}

/// What changed after the service's newest rollout had started; `None` if nothing did.
///
/// A task reads its secrets some time after the start of its rollout. So tasks have the current value if their rollout started
/// when the secret changed, or later. A rollout that ECS rolls back to keeps its old start, and so do its tasks.
fn changed(work: &Work<'_>, spec: &Spec, service: &Service, dependencies: &Dependencies) -> Option<String> {
    let started = primary(service).and_then(Deployment::created_at)?;
    let before =
        |changed: Option<DateTime>| changed.is_some_and(|changed| started.as_nanos() < changed.as_nanos());
    if uses_password(spec) {
        let rotated = dependencies.password().and_then(|arn| dependencies.secrets.changed(arn)).copied();
        let announced = work.deployment.password_changed.map(DateTime::from_secs);
        if before(rotated) || before(announced) {
            return Some("the database's password".into());
        }
    }
    let mut named = spec.secrets.values().map(|named| secrets::arn(named));
    let changed = named.find(|arn| before(dependencies.secrets.changed(arn).copied()))?;
    Some(if is_parameter(&changed) {
        format!("parameter {}", name(&changed))
    } else {
        format!("secret {}", changed.rsplit(':').next().unwrap_or_default())
    })
}

/// Whether a service's tasks read the database's password.
pub(super) fn uses_password(spec: &Spec) -> bool {
    spec.database.values().any(|value| *value == DatabaseValue::Password)
}
