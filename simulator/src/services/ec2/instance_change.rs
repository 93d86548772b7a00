//! Terminating, stopping, starting and changing instances.

use serde_json::{Value, json};
use stackdrop_figures::changes::INSTANCE_STOP;

use super::catalogue;
use super::group;
use super::instance::{Ending, Instance, InstanceState, Power};
use super::interface;
use super::launch::{check_shutdown_behaviour, check_user_data, end, named};
use super::resource::{done, find, find_mut, invalid};
use super::vpc::ATTRIBUTE_SECONDS;
use crate::params::{Params, Refusal};
use crate::protocol::Reply;
use crate::world::World;

/// The response of calls that change the power state: the state of each instance before and now.
fn changes(world: &World, before: Vec<(String, InstanceState)>) -> Result<Reply, Refusal> {
    let set = before
        .into_iter()
        .map(|(id, previous)| {
            let current = find::<Instance>(world, &id)?.state(world.now);
            Ok(json!({
                "instanceId": id,
                "currentState": current.document(),
                "previousState": previous.document(),
            }))
        })
        .collect::<Result<Vec<Value>, Refusal>>()?;
    Ok(json!({ "instancesSet": set }).into())
}

/// The state of each instance of a call, or the first refusal: these calls change all instances or none.
fn states(
    world: &World,
    ids: Vec<String>,
    check: impl Fn(&Instance, InstanceState) -> Result<(), Refusal>,
) -> Result<Vec<(String, InstanceState)>, Refusal> {
    ids.into_iter()
        .map(|id| {
            let instance = find::<Instance>(world, &id)?;
            let state = instance.state(world.now);
            check(instance, state)?;
            Ok((id, state))
        })
        .collect()
}

pub(super) fn terminate(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let ids = named(params)?;
    // No operating system is simulated, so there is nothing to force.
    params.ignore("Force");
    params.ignore("SkipOsShutdown");
    params.done()?;
    let now = world.now;
    let before = states(world, ids, |instance, _| {
        if instance.is_protected.shown(now) && !instance.is_terminated(now) {
            return Err(Refusal::new(
                "OperationNotPermitted",
                format!(
                    "The instance '{}' may not be terminated. Modify its 'disableApiTermination' instance attribute and try again.",
                    instance.entity.id
                ),
            ));
        }
        Ok(())
    })?;
    for (id, state) in &before {
        if matches!(*state, InstanceState::SHUTTING_DOWN | InstanceState::TERMINATED) {
            continue;
        }
        let ending = Ending {
            begins: now,
            done: world.gone("ec2_instance_running"),
            reason: "Client.UserInitiatedShutdown",
            message: "Client.UserInitiatedShutdown: User initiated shutdown",
        };
        end(world, id, ending);
    }
    changes(world, before)
}

fn wrong_state(id: &str, from: &str) -> Refusal {
    Refusal::new(
        "IncorrectInstanceState",
        format!("The instance '{id}' is not in a state from which it can be {from}."),
    )
}

pub(super) fn stop(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let ids = named(params)?;
    params.ignore("Force");
    params.ignore("SkipOsShutdown");
    params.done()?;
    let before = states(world, ids, |instance, state| match state {
        InstanceState::RUNNING | InstanceState::STOPPING | InstanceState::STOPPED => Ok(()),
        _ => Err(wrong_state(&instance.entity.id, "stopped")),
    })?;
    let stopped = world.now + world.latency.seconds(INSTANCE_STOP);
    for (id, state) in &before {
        if *state == InstanceState::RUNNING {
            let instance = find_mut::<Instance>(world, id)?;
            instance.power = Power::Stopping(stopped);
            let interface = instance.interface.clone();
            // An automatic public address is released by a stop.
            interface::unmap_public(world, &interface, stopped);
        }
    }
    changes(world, before)
}

pub(super) fn start(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let ids = named(params)?;
    params.done()?;
    let before = states(world, ids, |instance, state| match state {
        InstanceState::STOPPED | InstanceState::PENDING | InstanceState::RUNNING => Ok(()),
        _ => Err(wrong_state(&instance.entity.id, "started")),
    })?;
    for (id, state) in &before {
        if *state == InstanceState::STOPPED {
            let running = world.ready("ec2_instance_running");
            let instance = find_mut::<Instance>(world, id)?;
            instance.power = Power::Starting(running);
            let (interface, public) = (instance.interface.clone(), instance.wants_public_address);
            if public {
                interface::map_public(world, &interface, None);
            }
        }
    }
    changes(world, before)
}

/// The attribute that `ModifyInstanceAttribute` changes.
enum Change {
    Type(String),
    Groups(Vec<String>),
    Protection(bool),
    SourceCheck(bool),
    UserData(String),
    ShutdownBehaviour(String),
    EbsOptimized(bool),
}

impl Change {
    fn read(params: &Params) -> Result<Self, Refusal> {
        let text = |name| params.section(name).and_then(|section| section.text("Value"));
        let flag = |name| params.section(name).map(|section| section.flag("Value")).transpose();
        let groups = params.list("GroupId");
        let asked = [
            text("InstanceType").map(Self::Type),
            (!groups.is_empty()).then_some(Self::Groups(groups)),
            flag("DisableApiTermination")?.flatten().map(Self::Protection),
            flag("SourceDestCheck")?.flatten().map(Self::SourceCheck),
            text("UserData").map(Self::UserData),
            text("InstanceInitiatedShutdownBehavior").map(Self::ShutdownBehaviour),
            flag("EbsOptimized")?.flatten().map(Self::EbsOptimized),
        ];
        params.done()?;
        let mut asked = asked.into_iter().flatten();
        match (asked.next(), asked.next()) {
            (Some(change), None) => Ok(change),
            (None, _) => Err(Refusal::new(
                "MissingParameter",
                "The request must contain exactly one attribute of the instance",
            )),
            (Some(_), Some(_)) => Err(Refusal::new(
                "InvalidParameterCombination",
                "Fields for multiple attribute types specified",
            )),
        }
    }

    /// Whether the instance must be stopped for the change.
    fn needs_a_stop(&self) -> bool {
        matches!(self, Self::Type(_) | Self::UserData(_) | Self::EbsOptimized(_))
    }

    fn check(&self, world: &World, instance: &Instance) -> Result<(), Refusal> {
        match instance.state(world.now) {
            InstanceState::SHUTTING_DOWN | InstanceState::TERMINATED => {
                return Err(Refusal::new(
                    "IncorrectInstanceState",
                    format!("The instance '{}' is being terminated or is terminated.", instance.entity.id),
                ));
            }
            InstanceState::STOPPED => {}
            _ if self.needs_a_stop() => {
                return Err(Refusal::new(
                    "IncorrectInstanceState",
                    format!("The instance '{}' is not in the 'stopped' state.", instance.entity.id),
                ));
            }
            _ => {}
        }
        match self {
            Self::Type(name) => {
                let kind = catalogue::instance_type(name)?;
                catalogue::check_offered(world, name, &instance.zone)?;
                catalogue::check_architectures(&instance.image, instance.architecture, &kind)
            }
            Self::Groups(groups) => interface::check_groups(world, &instance.vpc, groups),
            Self::UserData(data) => check_user_data(data),
            Self::ShutdownBehaviour(behaviour) => check_shutdown_behaviour(behaviour),
            _ => Ok(()),
        }
    }
}

pub(super) fn modify_attribute(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let id = params.required("InstanceId")?;
    let change = Change::read(params)?;
    change.check(world, find::<Instance>(world, &id)?)?;
    let (now, shows) = (world.now, world.now + world.latency.seconds(ATTRIBUTE_SECONDS));
    let instance = find_mut::<Instance>(world, &id)?;
    match change {
        Change::Type(kind) => instance.kind = kind,
        Change::Protection(on) => instance.is_protected.set(on, now, shows),
        Change::SourceCheck(on) => instance.settings.checks_source = on,
        Change::UserData(data) => instance.settings.user_data = Some(data),
        Change::ShutdownBehaviour(behaviour) => instance.settings.shutdown_behaviour = behaviour,
        Change::EbsOptimized(on) => instance.settings.ebs_optimized = on,
        Change::Groups(groups) => {
            let interface = instance.interface.clone();
            interface::set_groups(world, &interface, &groups);
        }
    }
    Ok(done())
}

pub(super) fn describe_attribute(world: &World, params: &Params) -> Result<Reply, Refusal> {
    let id = params.required("InstanceId")?;
    let attribute = params.required("Attribute")?;
    params.done()?;
    let instance = find::<Instance>(world, &id)?;
    let value = match attribute.as_str() {
        "instanceType" => json!({ "value": instance.kind }),
        "disableApiTermination" => json!({ "value": instance.is_protected.shown(world.now) }),
        "sourceDestCheck" => json!({ "value": instance.settings.checks_source }),
        "userData" => json!({ "value": instance.settings.user_data }),
        "instanceInitiatedShutdownBehavior" => json!({ "value": instance.settings.shutdown_behaviour }),
        "ebsOptimized" => json!({ "value": instance.settings.ebs_optimized }),
        "groupSet" => instance
            .attached(world)
            .map_or_else(|| json!([]), |interface| group::identifiers(world, &interface.groups)),
        _ => return Err(invalid(&attribute, "attribute", "Unknown attribute.")),
    };
    Ok(json!({ "instanceId": id, attribute: value }).into())
}

pub(super) fn modify_metadata(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let id = params.required("InstanceId")?;
    let instance = find::<Instance>(world, &id);
    let settings = match &instance {
        Ok(instance) => instance.metadata.clone(),
        Err(_) => super::instance::Metadata::default_settings(),
    };
    let mut settings = settings.with(params)?;
    params.done()?;
    let state = instance?.state(world.now);
    if matches!(state, InstanceState::SHUTTING_DOWN | InstanceState::TERMINATED) {
        return Err(Refusal::new(
            "IncorrectInstanceState",
            format!("The instance '{id}' is not in a valid state for this operation."),
        ));
    }
    let now = world.now;
    settings.applied = now + world.latency.seconds(ATTRIBUTE_SECONDS);
    let document = settings.document(now);
    find_mut::<Instance>(world, &id)?.metadata = settings;
    Ok(json!({ "instanceId": id, "instanceMetadataOptions": document }).into())
}
