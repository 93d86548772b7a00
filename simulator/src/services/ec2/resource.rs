//! What all EC2 resources have in common: an ID, tags, and the times of creation and deletion.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use super::State;
use super::query::Filter;
use crate::params::Refusal;
use crate::world::{Tags, World};

/// For how many seconds after its creation a resource is unknown to Describe calls and to calls that refer to it. EC2 is
/// eventually consistent: AWS says only that "it can take seconds". Half a second is enough to detect code that reads
/// or uses an ID at once.
const LAG_SECONDS: f64 = 0.5;

/// How long a deleted or terminated resource is still described ("about an hour" for instances and NAT gateways).
pub(super) const DESCRIBED_AFTERWARDS: Duration = Duration::from_hours(1);

/// A kind of resource, as EC2 names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Kind {
    /// The start of its IDs.
    pub(super) prefix: &'static str,
    /// Its name in tag specifications and in `DescribeTags`.
    pub(super) tag_type: &'static str,
    /// The code and the message for an unknown ID; `{id}` in the message stands for it (codes: EC2 API reference,
    /// "Error codes").
    pub(super) not_found: (&'static str, &'static str),
    /// The code for a malformed ID.
    pub(super) malformed: &'static str,
}

impl Kind {
    /// AWS's refusal of an unknown ID.
    pub(super) fn not_found(&self, id: &str) -> Refusal {
        let (code, message) = self.not_found;
        Refusal::new(code, message.replace("{id}", id))
    }

    /// AWS's refusal of a malformed ID.
    pub(super) fn malformed(&self, id: &str) -> Refusal {
        Refusal::new(self.malformed, format!("Invalid id: \"{id}\" (expecting \"{}-...\")", self.prefix))
    }

    fn check(&self, id: &str) -> Result<(), Refusal> {
        let hex =
            |text: &str| matches!(text.len(), 8 | 17) && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        match id.split_once('-') {
            Some((prefix, rest)) if prefix == self.prefix && hex(rest) => Ok(()),
            _ => Err(self.malformed(id)),
        }
    }
}

/// What every resource has.
#[derive(Debug, Clone)]
pub(super) struct Entity {
    pub(super) id: String,
    pub(super) tags: Tags,
    pub(super) created: Duration,
    /// When it stops being described, if that is known.
    pub(super) gone: Option<Duration>,
}

impl Entity {
    pub(super) fn new(id: String, tags: Tags, created: Duration) -> Self {
        Self { id, tags, created, gone: None }
    }
}

/// A type of resource: what it takes to find, describe, filter and tag it.
pub(super) trait Resource: Sized + 'static {
    const KIND: Kind;
    /// The list of IDs in the request of the Describe call.
    const IDS: &'static str;
    /// The list of resources in the response of the Describe call.
    const SET: &'static str;
    /// The filters of the Describe call, without those for tags.
    const FILTERS: &'static [Filter<Self>];

    fn all(state: &State) -> &BTreeMap<String, Self>;
    fn all_mut(state: &mut State) -> &mut BTreeMap<String, Self>;
    fn entity(&self) -> &Entity;
    fn entity_mut(&mut self) -> &mut Entity;
    /// The resource as Describe shows it.
    fn document(&self, world: &World) -> Value;
    /// When it stops being described, if that is known.
    fn gone(&self) -> Option<Duration> {
        self.entity().gone
    }
    fn id(&self) -> &str {
        &self.entity().id
    }
    fn tags(&self) -> &Tags {
        &self.entity().tags
    }
}

/// The accessors of a [`Resource`] that has a field `entity` and is stored in this field of [`State`].
macro_rules! stored_in {
    ($field:ident) => {
        fn all(state: &$crate::services::ec2::State) -> &std::collections::BTreeMap<String, Self> {
            &state.$field
        }
        fn all_mut(
            state: &mut $crate::services::ec2::State,
        ) -> &mut std::collections::BTreeMap<String, Self> {
            &mut state.$field
        }
        fn entity(&self) -> &$crate::services::ec2::resource::Entity {
            &self.entity
        }
        fn entity_mut(&mut self) -> &mut $crate::services::ec2::resource::Entity {
            &mut self.entity
        }
    };
}
pub(super) use stored_in;

/// For how long a changed value is still read as it was before.
pub(super) fn lag(world: &World) -> Duration {
    world.latency.seconds(LAG_SECONDS)
}

/// Whether a resource exists, known to calls or not: for its dependencies and its dependents.
pub(super) fn exists<T: Resource>(world: &World, resource: &T) -> bool {
    resource.gone().is_none_or(|gone| world.now < gone)
}

/// Whether a resource is known to calls.
pub(super) fn known<T: Resource>(world: &World, resource: &T) -> bool {
    exists(world, resource) && resource.entity().created + lag(world) <= world.now
}

/// Every existing resource of a type, known to calls or not.
pub(super) fn every<T: Resource>(world: &World) -> impl Iterator<Item = &T> {
    T::all(&world.states.ec2).values().filter(|resource| exists(world, *resource))
}

/// The resource with an ID that a caller sent.
///
/// # Errors
/// The kind's `Malformed` or `NotFound`.
pub(super) fn find<'w, T: Resource>(world: &'w World, id: &str) -> Result<&'w T, Refusal> {
    T::KIND.check(id)?;
    T::all(&world.states.ec2)
        .get(id)
        .filter(|resource| known(world, *resource))
        .ok_or_else(|| T::KIND.not_found(id))
}

/// The same as [`find`], for changing the resource.
///
/// # Errors
/// The kind's `Malformed` or `NotFound`.
pub(super) fn find_mut<'w, T: Resource>(world: &'w mut World, id: &str) -> Result<&'w mut T, Refusal> {
    find::<T>(world, id)?;
    T::all_mut(&mut world.states.ec2).get_mut(id).ok_or_else(|| T::KIND.not_found(id))
}

/// A value that is still read as it was before for a moment after a change.
#[derive(Debug, Clone)]
pub(super) struct Late<T> {
    before: T,
    value: T,
    shows: Duration,
}

impl<T: Clone> Late<T> {
    pub(super) fn new(value: T) -> Self {
        Self { before: value.clone(), value, shows: Duration::ZERO }
    }

    /// The value that is read at a time.
    pub(super) fn shown(&self, now: Duration) -> T {
        if now < self.shows { self.before.clone() } else { self.value.clone() }
    }

    /// Changes the value at `now`; reads show it from `shows` on.
    pub(super) fn set(&mut self, value: T, now: Duration, shows: Duration) {
        self.before = self.shown(now);
        self.value = value;
        self.shows = shows;
    }
}

/// Tags as EC2 shows them.
pub(super) fn tag_set(tags: &Tags) -> Value {
    tags.iter().map(|(key, value)| json!({ "key": key, "value": value })).collect()
}

/// `DependencyViolation`, as most deletions word it.
pub(super) fn has_dependencies(noun: &str, id: &str) -> Refusal {
    Refusal::new("DependencyViolation", format!("The {noun} '{id}' has dependencies and cannot be deleted."))
}

/// `InvalidParameterValue`, as EC2 words it.
pub(super) fn invalid(value: &str, parameter: &str, why: &str) -> Refusal {
    Refusal::new(
        "InvalidParameterValue",
        format!("Value ({value}) for parameter {parameter} is invalid. {why}"),
    )
}

/// The response of operations that report only success.
pub(super) fn done() -> crate::protocol::Reply {
    json!({ "return": true }).into()
}
