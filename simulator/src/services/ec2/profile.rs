//! Instance profiles of instances.

use std::time::Duration;

use serde_json::{Value, json};

use super::instance::Instance;
use super::query::{Filter, Filters, Page, one};
use super::resource::find;
use crate::clock::Clock;
use crate::params::{Params, Refusal};
use crate::protocol::Reply;
use crate::services::iam::{self, ProfileView};
use crate::world::World;

/// How many seconds a change of the profile of a running instance takes.
const CHANGE_SECONDS: f64 = 2.0;

/// The association of an instance profile with an instance.
#[derive(Debug, Clone)]
pub(crate) struct Association {
    id: String,
    instance: String,
    arn: String,
    created: Duration,
    /// When it becomes `associated`.
    ready: Duration,
    /// When it ends, if that is known.
    gone: Option<Duration>,
}

impl Association {
    fn state(&self, now: Duration) -> &'static str {
        match self.gone {
            Some(gone) if now >= gone => "disassociated",
            Some(_) => "disassociating",
            None if now < self.ready => "associating",
            None => "associated",
        }
    }

    fn document(&self, now: Duration) -> Value {
        json!({
            "associationId": self.id,
            "instanceId": self.instance,
            "iamInstanceProfile": { "arn": self.arn, "id": profile_id(&self.arn) },
            "state": self.state(now),
            "timestamp": Clock::date(self.created),
        })
    }

    pub(super) fn is_gone(&self, now: Duration) -> bool {
        self.gone.is_some_and(|gone| gone <= now)
    }
}

/// A profile's ID, derived from its ARN: EC2 does not know IAM's own IDs here.
fn profile_id(arn: &str) -> String {
    let sum = arn.bytes().fold(7_u64, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
    format!("AIPA{sum:017X}")
}

/// The profile in a request, by name or ARN.
#[derive(Debug, Clone)]
pub(super) struct Named {
    name: Option<String>,
    arn: Option<String>,
}

impl Named {
    /// The structure `IamInstanceProfile`, if it was sent.
    pub(super) fn read(params: &Params) -> Option<Self> {
        let section = params.section("IamInstanceProfile")?;
        Some(Self { name: section.text("Name"), arn: section.text("Arn") })
    }

    /// The ARN of the profile's role, if EC2 can use it.
    pub(super) fn role(&self, world: &World) -> Option<String> {
        match iam::profile_view(world, self.name.as_ref().or(self.arn.as_ref())?) {
            ProfileView::Ready { role, .. } => Some(role),
            _ => None,
        }
    }

    /// The profile's ARN, if EC2 can use it.
    ///
    /// # Errors
    /// `InvalidParameterValue`: AWS does not distinguish a missing profile from one that EC2 does not see yet.
    pub(super) fn resolve(&self, world: &World) -> Result<String, Refusal> {
        let (field, given) = match (&self.name, &self.arn) {
            (Some(name), None) => ("name", name),
            (None, Some(arn)) => ("arn", arn),
            _ => {
                return Err(Refusal::new(
                    "InvalidParameterCombination",
                    "An instance profile is given by exactly one of its name and its ARN",
                ));
            }
        };
        match iam::profile_view(world, given) {
            ProfileView::Ready { arn, .. } => Ok(arn),
            ProfileView::NoRole => Err(Refusal::new(
                "InvalidParameterValue",
                format!("IAM Instance Profile \"{given}\" has no associated IAM Roles"),
            )),
            ProfileView::Absent | ProfileView::Propagating => {
                let what = if field == "name" { "name" } else { "ARN" };
                Err(Refusal::new(
                    "InvalidParameterValue",
                    format!(
                        "Value ({given}) for parameter iamInstanceProfile.{field} is invalid. Invalid IAM Instance Profile {what}"
                    ),
                ))
            }
        }
    }
}

/// Associates a profile with an instance: `associating` until `ready`.
pub(super) fn make(world: &mut World, instance: &str, arn: String, ready: Duration) -> Value {
    let association = Association {
        id: world.id("iip-assoc"),
        instance: instance.into(),
        arn,
        created: world.now,
        ready,
        gone: None,
    };
    let document = association.document(world.now);
    world.states.ec2.profiles.insert(association.id.clone(), association);
    document
}

/// The current association of an instance.
fn of<'w>(world: &'w World, instance: &str) -> Option<&'w Association> {
    world
        .states
        .ec2
        .profiles
        .values()
        .find(|association| association.instance == instance && !association.is_gone(world.now))
}

/// The instance's `iamInstanceProfile`.
pub(super) fn shown(world: &World, instance: &str) -> Option<Value> {
    let association = of(world, instance)?;
    Some(json!({ "arn": association.arn, "id": profile_id(&association.arn) }))
}

/// The ARN of the instance's profile, even while it is `associating`.
pub(super) fn arn_of(world: &World, instance: &str) -> Option<String> {
    of(world, instance).map(|association| association.arn.clone())
}

/// The ARN of the profile that the instance can use.
pub(super) fn associated(world: &World, instance: &str) -> Option<String> {
    of(world, instance)
        .filter(|association| association.state(world.now) == "associated")
        .map(|association| association.arn.clone())
}

/// The instance of a current association.
pub(super) fn instance_of<'w>(world: &'w World, association: &str) -> Option<&'w str> {
    let found = world.states.ec2.profiles.get(association).filter(|found| !found.is_gone(world.now))?;
    Some(&found.instance)
}

/// Ends the association of an instance that is terminated at a time.
pub(super) fn release_from(world: &mut World, instance: &str, at: Duration) {
    for association in world.states.ec2.profiles.values_mut().filter(|one| one.instance == instance) {
        association.gone = Some(association.gone.map_or(at, |gone| gone.min(at)));
    }
}

/// Checks that the state of an instance allows a change of its profile.
fn check_changeable(world: &World, instance: &str) -> Result<(), Refusal> {
    let instance_state = find::<Instance>(world, instance)?.state(world.now);
    if matches!(instance_state.name(), "running" | "stopped") {
        return Ok(());
    }
    Err(Refusal::new(
        "IncorrectInstanceState",
        format!("The instance {instance} is not in the 'running' or 'stopped' states."),
    ))
}

pub(super) fn associate(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let instance = params.required("InstanceId")?;
    let profile = Named::read(params).ok_or_else(missing_profile)?;
    params.done()?;
    check_changeable(world, &instance)?;
    let arn = profile.resolve(world)?;
    if of(world, &instance).is_some() {
        return Err(Refusal::new(
            "IncorrectState",
            format!("There is an existing association for instance {instance}"),
        ));
    }
    let ready = world.now + world.latency.seconds(CHANGE_SECONDS);
    let document = make(world, &instance, arn, ready);
    Ok(json!({ "iamInstanceProfileAssociation": document }).into())
}

fn missing_profile() -> Refusal {
    Refusal::new("MissingParameter", "The request must contain the parameter IamInstanceProfile")
}

/// A current association whose profile can be changed.
fn changeable<'w>(world: &'w World, id: &str) -> Result<&'w Association, Refusal> {
    let association = world
        .states
        .ec2
        .profiles
        .get(id)
        .filter(|association| !association.is_gone(world.now))
        .ok_or_else(|| not_found(id))?;
    check_changeable(world, &association.instance)?;
    match association.state(world.now) {
        "associated" => Ok(association),
        state => Err(Refusal::new(
            "IncorrectState",
            format!("The association {id} is in the state '{state}', not 'associated'."),
        )),
    }
}

fn not_found(id: &str) -> Refusal {
    Refusal::new("InvalidAssociationID.NotFound", format!("An invalid association-id of '{id}' was given"))
}

pub(super) fn disassociate(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let id = params.required("AssociationId")?;
    params.done()?;
    changeable(world, &id)?;
    let now = world.now;
    let gone = now + world.latency.seconds(CHANGE_SECONDS);
    let association = world.states.ec2.profiles.get_mut(&id).ok_or_else(|| not_found(&id))?;
    association.gone = Some(gone);
    Ok(json!({ "iamInstanceProfileAssociation": association.document(now) }).into())
}

pub(super) fn replace(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let id = params.required("AssociationId")?;
    let profile = Named::read(params).ok_or_else(missing_profile)?;
    params.done()?;
    let instance = changeable(world, &id)?.instance.clone();
    let arn = profile.resolve(world)?;
    let now = world.now;
    if let Some(old) = world.states.ec2.profiles.get_mut(&id) {
        old.gone = Some(now);
    }
    let ready = now + world.latency.seconds(CHANGE_SECONDS);
    let document = make(world, &instance, arn, ready);
    Ok(json!({ "iamInstanceProfileAssociation": document }).into())
}

const FILTERS: &[Filter<Association>] = &[
    ("instance-id", |association, _| one(&association.instance)),
    ("state", |association, world| one(association.state(world.now))),
];

pub(super) fn describe(world: &World, params: &Params) -> Result<Reply, Refusal> {
    let ids = params.list("AssociationId");
    let filters = Filters::read(params, FILTERS)?;
    let page = Page::read(params)?;
    params.done()?;
    let all = || world.states.ec2.profiles.values().filter(|association| !association.is_gone(world.now));
    if let Some(unknown) = ids.iter().find(|id| all().all(|association| association.id != **id)) {
        return Err(not_found(unknown));
    }
    let found = all()
        .filter(|association| ids.is_empty() || ids.contains(&association.id))
        .filter(|association| filters.match_untagged(*association, world))
        .map(|association| association.document(world.now))
        .collect();
    Ok(page.answer("iamInstanceProfileAssociationSet", found))
}
