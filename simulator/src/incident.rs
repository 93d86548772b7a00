//! Incidents: what AWS or a person does to a stack's resources, between deployments or during one, without the stack's
//! functions.

use crate::services;
use crate::world::World;

/// Something that AWS or a person does to the resources of a stack. Each service's file lists its own in
/// `SERVICE.incidents`; cause one with [`Account::cause`](crate::Account::cause).
#[derive(Debug, Clone, Copy)]
pub struct Incident {
    /// Its name, in kebab-case: `database-stopped`.
    pub name: &'static str,
    /// What happens, as a sentence without a full stop: "Somebody stops the database".
    pub what: &'static str,
    /// Changes the stack's resources. Returns the IDs of those that it changed; none if the stack has no such resource.
    pub(crate) cause: fn(&mut World, &str) -> Vec<String>,
}

impl Incident {
    /// All incidents of all services that may happen at any moment: the next deployment repairs what they change.
    pub fn all() -> impl Iterator<Item = &'static Self> {
        services::SERVICES.iter().flat_map(|service| service.incidents)
    }

    /// The incidents for between deployments: a running deployment may fail after them, or only a person can repair what
    /// they change.
    pub fn severe() -> impl Iterator<Item = &'static Self> {
        services::SERVICES.iter().flat_map(|service| service.severe_incidents)
    }

    /// The incident with a name.
    #[must_use]
    pub fn named(name: &str) -> Option<&'static Self> {
        Self::all().chain(Self::severe()).find(|incident| incident.name == name)
    }
}
