//! The dependencies of the services: subnets, security group, target groups and database of other components, and the
//! account's secrets and images.

use std::collections::BTreeMap;

use stackdrop_specs::{DatabaseValue, Service};

use super::definition::revision;
use super::observed::Observed;
use super::outdated;
use super::registry::Caches;
use super::secrets::Secrets;
use crate::aws::error::StepError;
use crate::contract::component::Work;
use crate::deployment::plan::TaskValues;

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
    /// In a plan: what the tasks of each service have of the database.
    pub(super) tasks: BTreeMap<String, TaskValues>,
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
            tasks: BTreeMap::new(),
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
            tasks: BTreeMap::new(),
            host: database.host.unwrap_or_else(|| UNKNOWN.into()),
            secret: database.secret.unwrap_or_else(|| UNKNOWN.into()),
            placement: None,
        })
    }

    /// The dependencies that a plan knows: the values in the existing task definitions, and where the last deployment placed
    /// the tasks. The review of all plans compares those values with the database's (`components/follow_ups.rs`).
    pub(super) async fn observed(work: &Work<'_>, observed: &Observed) -> Result<Self, StepError> {
        let (secrets, caches) = tokio::try_join!(Secrets::read(work), Caches::read(work))?;
        let services = work.spec.services.iter();
        let tasks: BTreeMap<String, TaskValues> =
            services.filter_map(|(name, service)| task_values(work, observed, name, service)).collect();
        let database = work.outputs.database.clone().unwrap_or_default();
        // Somebody may have changed a task definition by hand: then the last deployment's value is the right one.
        let chosen = |reported: Option<String>, values: Vec<&String>| {
            let reported = reported.filter(|value| values.is_empty() || values.contains(&value));
            reported.or_else(|| values.last().copied().cloned()).unwrap_or_else(|| UNKNOWN.to_owned())
        };
        let host = chosen(database.host, tasks.values().filter_map(|values| values.host.as_ref()).collect());
        let secret =
            chosen(database.secret, tasks.values().filter_map(|values| values.secret.as_ref()).collect());
        let placement = Placement::reported(work);
        let mut dependencies =
            Self { host, secret, is_early: false, password: None, secrets, caches, tasks, placement };
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

    /// The database's host name; in a plan, the one that the service's tasks have.
    pub(super) fn host(&self, service: &str) -> &str {
        self.tasks.get(service).and_then(|values| values.host.as_ref()).unwrap_or(&self.host)
    }

    /// Whether the role of the tasks can already allow reading the database's secret.
    pub(super) fn has_secret(&self) -> bool {
        !self.is_early || self.secret != UNKNOWN
    }

    /// The ARN of the secret with the database's user name and password.
    pub(super) fn secret(&self) -> &str {
        &self.secret
    }

    /// The same; in a plan, the one that the service's tasks read.
    pub(super) fn secret_of(&self, service: &str) -> &str {
        self.tasks.get(service).and_then(|values| values.secret.as_ref()).unwrap_or(&self.secret)
    }
}

/// What the tasks of a service have of the database, by their task definition.
fn task_values(
    work: &Work<'_>,
    observed: &Observed,
    name: &str,
    service: &Service,
) -> Option<(String, TaskValues)> {
    let definition = observed.definitions.get(name).filter(|_| service.uses_database())?;
    let content = definition.content.as_ref()?;
    let mut values = TaskValues {
        revision: revision(&definition.arn).to_owned(),
        is_pruned: definition.is_pruned(work, service),
        ..TaskValues::default()
    };
    for (variable, value) in &service.database {
        if *value == DatabaseValue::Host {
            values.host = content.environment.get(variable).cloned().or(values.host);
        } else if value.is_secret() {
            let from =
                content.secrets.get(variable).and_then(|from| from.strip_suffix("::")?.rsplit_once(':'));
            values.secret = from.map(|(secret, _)| secret.to_owned()).or(values.secret);
        }
    }
    Some((name.to_owned(), values))
}
