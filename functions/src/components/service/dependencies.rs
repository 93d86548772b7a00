//! The dependencies of the services: subnets, security group, target groups and database of other components, and the
//! account's secrets and images.

use std::collections::BTreeMap;

use stackdrop_specs::DatabaseValue;

use super::observed::Observed;
use super::outdated;
use super::registry::Caches;
use super::secrets::Secrets;
use crate::aws::error::StepError;
use crate::contract::component::Work;

/// A plan's placeholder for a value that is unknown before the database's creation.
const UNKNOWN: &str = "(of the database)";

/// The known values of the dependencies.
#[derive(Debug)]
pub(super) struct Dependencies {
    host: String,
    secret: String,
    /// Whether the database may still be unknown, because nothing but the roles is applied.
    is_early: bool,
    /// The ARN of the secret with the database's password, if a service uses it.
    password: Option<String>,
    /// The secrets that the spec refers to.
    pub(super) secrets: Secrets,
    /// The pull-through caches of the account's registry.
    pub(super) caches: Caches,
    /// Where the tasks run; unknown in a plan without a baseline.
    pub(super) placement: Option<Placement>,
}

/// Where tasks run, and the target groups that send them requests.
#[derive(Debug)]
pub(super) struct Placement {
    pub(super) subnets: Vec<String>,
    pub(super) group: String,
    /// The ARNs of the target groups by service.
    pub(super) target_groups: BTreeMap<String, String>,
}

impl Placement {
    /// Where the tasks run according to the other components' outputs: those of this deployment or, in a plan, of the baseline.
    fn reported(work: &Work<'_>) -> Option<Self> {
        let groups = work.outputs.security_groups.as_ref()?;
        let target_groups = work.outputs.load_balancer.as_ref().map(|outputs| outputs.target_groups.clone());
        Some(Self {
            subnets: work.outputs.network.as_ref()?.private(),
            group: groups.service.clone()?,
            target_groups: target_groups.unwrap_or_default(),
        })
    }
}

impl Dependencies {
    /// The dependencies according to the other components' outputs.
    pub(super) async fn reported(work: &Work<'_>) -> Result<Self, StepError> {
        let database = work.outputs.database.clone().unwrap_or_default();
        let uses = |desired: fn(DatabaseValue) -> bool| {
            work.spec.services.values().any(|service| service.database.values().any(|value| desired(*value)))
        };
        let known = |needed: bool, value: Option<String>, what: &str| match value {
            Some(value) => Ok(value),
            None if needed => Err(StepError::stalled(format!("the RDS instance to have a {what}"))),
            None => Ok(UNKNOWN.to_owned()),
        };
        work.network()?;
        let placement = Placement::reported(work)
            .ok_or_else(|| StepError::Defect("the security groups have no group for the services".into()))?;
        let (mut secrets, caches) = tokio::try_join!(Secrets::read(work), Caches::read(work))?;
        let password = database.secret.clone().filter(|_| uses(DatabaseValue::is_secret));
        if let Some(arn) = &password {
            secrets.read_rotation(work, arn).await?;
        }
        Ok(Self {
            secrets,
            caches,
            password,
            is_early: false,
            host: known(uses(|value| value == DatabaseValue::Host), database.host, "host name")?,
            secret: known(uses(DatabaseValue::is_secret), database.secret, "secret")?,
            placement: Some(placement),
        })
    }

    /// The dependencies that are known before the database is available.
    pub(super) async fn early(work: &Work<'_>) -> Result<Self, StepError> {
        let database = work.outputs.database.clone().unwrap_or_default();
        let (secrets, caches) = tokio::try_join!(Secrets::read(work), Caches::read(work))?;
        Ok(Self {
            secrets,
            caches,
            password: None,
            is_early: true,
            host: database.host.unwrap_or_else(|| UNKNOWN.into()),
            secret: database.secret.unwrap_or_else(|| UNKNOWN.into()),
            placement: None,
        })
    }

    /// The dependencies that a plan knows: the values in the existing task definitions, and where the last deployment placed
    /// the tasks. The plan of `database` shows whether the database changes.
    pub(super) async fn observed(work: &Work<'_>, observed: &Observed) -> Result<Self, StepError> {
        let (secrets, caches) = tokio::try_join!(Secrets::read(work), Caches::read(work))?;
        let (host, secret) = (UNKNOWN.to_owned(), UNKNOWN.to_owned());
        let placement = Placement::reported(work);
        let mut dependencies =
            Self { host, secret, is_early: false, password: None, secrets, caches, placement };
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
                    dependencies.host.clone_from(host);
                }
                if value.is_secret()
                    && let Some((secret, _)) = content
                        .secrets
                        .get(variable)
                        .and_then(|from| from.strip_suffix("::")?.rsplit_once(':'))
                {
                    secret.clone_into(&mut dependencies.secret);
                }
            }
        }
        dependencies.find_password(work).await?;
        Ok(dependencies)
    }

    /// Finds the secret that existing tasks read: in a task definition or, if the spec no longer has that service's variables,
    /// in the outputs of the last deployment.
    async fn find_password(&mut self, work: &Work<'_>) -> Result<(), StepError> {
        let baseline = work.deployment.baseline.as_ref();
        let specs = [Some(work.spec), baseline.map(|baseline| &baseline.spec)].into_iter().flatten();
        if !specs.flat_map(|spec| spec.services.values()).any(outdated::uses_password) {
            return Ok(());
        }
        let earlier = baseline.and_then(|baseline| baseline.outputs.database.as_ref()?.secret.clone());
        self.password = if self.secret == UNKNOWN { earlier } else { Some(self.secret.clone()) };
        match &self.password {
            Some(arn) => self.secrets.read_rotation(work, arn).await,
            None => Ok(()),
        }
    }

    /// The ARN of the secret with the database's password, if a service uses it and the secret exists.
    pub(super) fn password(&self) -> Option<&str> {
        self.password.as_deref()
    }

    /// The database's host name.
    pub(super) fn host(&self) -> &str {
        &self.host
    }

    /// Whether the role of the tasks can already allow reading the database's secret.
    pub(super) fn has_secret(&self) -> bool {
        !self.is_early || self.secret != UNKNOWN
    }

    /// The ARN of the secret with the database's user name and password.
    pub(super) fn secret(&self) -> &str {
        &self.secret
    }
}
