//! What the services are given by others: subnets, security group, target groups and database by other components, secrets
//! and images by whoever made those.

use std::collections::BTreeMap;

use stackdrop_specs::DatabaseValue;

use super::observed::Observed;
use super::registry::Caches;
use super::secrets::Secrets;
use crate::aws::error::StepError;
use crate::contract::component::Work;

/// PostgreSQL's port, which the database component leaves at its default.
pub(super) const DATABASE_PORT: u16 = 5432;

/// What stands in a plan for a value that only the database's creation brings.
const UNKNOWN: &str = "(of the database)";

/// What other components have made, as far as it is known.
#[derive(Debug)]
pub(super) struct Dependencies {
    host: String,
    secret: String,
    /// The secrets that the spec names.
    pub(super) secrets: Secrets,
    /// What the account's registry pulls through.
    pub(super) caches: Caches,
    /// The place of the tasks; a plan does not know it.
    pub(super) place: Option<Place>,
}

/// Where tasks run and what sends them requests.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) subnets: Vec<String>,
    pub(super) group: String,
    /// The ARNs of the target groups by service.
    pub(super) target_groups: BTreeMap<String, String>,
}

impl Dependencies {
    /// What the steps before have reported.
    pub(super) async fn reported(work: &Work<'_>) -> Result<Self, StepError> {
        let database = work.outputs.database.clone().unwrap_or_default();
        let gives = |desired: fn(DatabaseValue) -> bool| {
            work.spec.services.values().any(|service| service.database.values().any(|value| desired(*value)))
        };
        let known = |needed: bool, value: Option<String>, what: &str| match value {
            Some(value) => Ok(value),
            None if needed => Err(StepError::pending(format!("the database's {what}"))),
            None => Ok(UNKNOWN.to_owned()),
        };
        let group = work.groups()?.service.clone();
        let group = group.ok_or_else(|| {
            StepError::Defect("the security groups were reported without the services' one".into())
        })?;
        let target_groups = work.outputs.load_balancer.as_ref().map(|outputs| outputs.target_groups.clone());
        let (secrets, caches) = tokio::try_join!(Secrets::read(work), Caches::read(work))?;
        Ok(Self {
            secrets,
            caches,
            host: known(gives(|value| value == DatabaseValue::Host), database.host, "host name")?,
            secret: known(gives(DatabaseValue::is_secret), database.secret, "secret")?,
            place: Some(Place {
                subnets: work.network()?.private(),
                group,
                target_groups: target_groups.unwrap_or_default(),
            }),
        })
    }

    /// What a plan knows of it: what the task definitions that stand were given. If the database is changed, its own
    /// plan says so.
    pub(super) async fn observed(work: &Work<'_>, observed: &Observed) -> Result<Self, StepError> {
        let (secrets, caches) = tokio::try_join!(Secrets::read(work), Caches::read(work))?;
        let mut around = Self { host: UNKNOWN.into(), secret: UNKNOWN.into(), secrets, caches, place: None };
        for (name, service) in &work.spec.services {
            let Some(content) =
                observed.definitions.get(name).and_then(|definition| definition.content.as_ref())
            else {
                continue;
            };
            for (variable, value) in &service.database {
                if *value == DatabaseValue::Host
                    && let Some(host) = content.environment.get(variable)
                {
                    around.host.clone_from(host);
                }
                if value.is_secret()
                    && let Some((secret, _)) = content
                        .secrets
                        .get(variable)
                        .and_then(|from| from.strip_suffix("::")?.rsplit_once(':'))
                {
                    secret.clone_into(&mut around.secret);
                }
            }
        }
        Ok(around)
    }

    /// The database's host name.
    pub(super) fn host(&self) -> &str {
        &self.host
    }

    /// The ARN of the secret with the database's user and password.
    pub(super) fn secret(&self) -> &str {
        &self.secret
    }
}
