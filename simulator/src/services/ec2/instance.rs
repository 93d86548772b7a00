//! Instances: their state and their description.

use std::time::Duration;

use indexmap::IndexMap;
use serde_json::{Value, json};

use super::catalogue::ROOT_DEVICE;
use super::interface::Interface;
use super::query::{Filter, Filters, Page, one, optional, select};
use super::resource::{DESCRIBED_AFTERWARDS, Entity, Kind, Late, Resource, stored_in, tag_set};
use super::{profile, token, volume};
use crate::clock::Clock;
use crate::params::{Params, Refusal};
use crate::protocol::Reply;
use crate::world::World;

#[derive(Debug, Clone)]
pub(crate) struct Instance {
    pub(super) entity: Entity,
    pub(super) reservation: String,
    pub(super) image: String,
    pub(super) architecture: &'static str,
    pub(super) kind: String,
    pub(super) vpc: String,
    pub(super) subnet: String,
    pub(super) zone: String,
    pub(super) interface: String,
    /// Whether it gets an automatic public address at each start.
    pub(super) wants_public_address: bool,
    pub(super) power: Power,
    pub(super) ending: Option<Ending>,
    pub(super) client_token: Option<String>,
    pub(super) metadata: Metadata,
    pub(super) is_protected: Late<bool>,
    pub(super) settings: Settings,
}

/// Settings that are stored and shown, but have no effect.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    pub(super) checks_source: bool,
    pub(super) monitoring: bool,
    pub(super) ebs_optimized: bool,
    pub(super) shutdown_behaviour: String,
    pub(super) user_data: Option<String>,
}

/// The power state of an instance until its termination.
#[derive(Debug, Clone, Copy)]
pub(super) enum Power {
    /// `pending` until this time, then `running`.
    Starting(Duration),
    /// `stopping` until this time, then `stopped`.
    Stopping(Duration),
}

/// The termination of an instance.
#[derive(Debug, Clone)]
pub(super) struct Ending {
    /// When it becomes `shutting-down`.
    pub(super) begins: Duration,
    /// When it becomes `terminated`.
    pub(super) done: Duration,
    pub(super) reason: &'static str,
    pub(super) message: &'static str,
}

/// An instance's state, by AWS's code and name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct InstanceState(u8, &'static str);

impl InstanceState {
    pub(super) const PENDING: Self = Self(0, "pending");
    pub(super) const RUNNING: Self = Self(16, "running");
    pub(super) const SHUTTING_DOWN: Self = Self(32, "shutting-down");
    pub(super) const TERMINATED: Self = Self(48, "terminated");
    pub(super) const STOPPING: Self = Self(64, "stopping");
    pub(super) const STOPPED: Self = Self(80, "stopped");

    pub(super) fn name(self) -> &'static str {
        self.1
    }

    pub(super) fn document(self) -> Value {
        json!({ "code": self.0, "name": self.1 })
    }
}

/// The settings of the instance metadata service.
#[derive(Debug, Clone)]
pub(super) struct Metadata {
    pub(super) tokens: String,
    pub(super) hop_limit: i64,
    pub(super) endpoint: String,
    pub(super) ipv6: String,
    pub(super) tags: String,
    /// When the settings become `applied`.
    pub(super) applied: Duration,
}

impl Metadata {
    /// The less secure of two defaults, so that a request that needs more must say so: the tokens as in the API, the hop limit as
    /// with an image of Amazon Linux 2023. Source: "Configure instance metadata options for new instances" in the EC2 user guide.
    pub(super) fn default_settings() -> Self {
        Self {
            tokens: "optional".into(),
            hop_limit: 2,
            endpoint: "enabled".into(),
            ipv6: "disabled".into(),
            tags: "disabled".into(),
            applied: Duration::ZERO,
        }
    }

    /// The same settings, changed by the parameters that were sent.
    ///
    /// # Errors
    /// `InvalidParameterValue` for a value that AWS does not have.
    pub(super) fn with(mut self, params: &Params) -> Result<Self, Refusal> {
        let choice = |name: &str, current: &mut String, values: [&str; 2]| {
            let Some(value) = params.text(name) else { return Ok(()) };
            if !values.contains(&value.as_str()) {
                return Err(super::resource::invalid(&value, name, "Unknown value."));
            }
            *current = value;
            Ok(())
        };
        choice("HttpTokens", &mut self.tokens, ["optional", "required"])?;
        choice("HttpEndpoint", &mut self.endpoint, ["enabled", "disabled"])?;
        choice("HttpProtocolIpv6", &mut self.ipv6, ["enabled", "disabled"])?;
        choice("InstanceMetadataTags", &mut self.tags, ["enabled", "disabled"])?;
        if let Some(limit) = params.int("HttpPutResponseHopLimit")? {
            if !(1..=64).contains(&limit) {
                return Err(super::resource::invalid(
                    &limit.to_string(),
                    "HttpPutResponseHopLimit",
                    "It is from 1 to 64.",
                ));
            }
            self.hop_limit = limit;
        }
        Ok(self)
    }

    pub(super) fn document(&self, now: Duration) -> Value {
        json!({
            "state": if now < self.applied { "pending" } else { "applied" },
            "httpTokens": self.tokens,
            "httpPutResponseHopLimit": self.hop_limit,
            "httpEndpoint": self.endpoint,
            "httpProtocolIpv6": self.ipv6,
            "instanceMetadataTags": self.tags,
        })
    }
}

impl Instance {
    pub(super) fn state(&self, now: Duration) -> InstanceState {
        match (&self.ending, self.power) {
            (Some(ending), _) if now >= ending.done => InstanceState::TERMINATED,
            (Some(ending), _) if now >= ending.begins => InstanceState::SHUTTING_DOWN,
            (_, Power::Starting(running)) if now < running => InstanceState::PENDING,
            (_, Power::Starting(_)) => InstanceState::RUNNING,
            (_, Power::Stopping(stopped)) if now < stopped => InstanceState::STOPPING,
            (_, Power::Stopping(_)) => InstanceState::STOPPED,
        }
    }

    pub(super) fn is_terminated(&self, now: Duration) -> bool {
        self.state(now) == InstanceState::TERMINATED
    }

    /// Since when it has been running, if it is.
    pub(super) fn running_since(&self, now: Duration) -> Option<Duration> {
        match self.power {
            Power::Starting(running) if self.state(now) == InstanceState::RUNNING => Some(running),
            _ => None,
        }
    }

    /// Its interface, until it is terminated.
    pub(super) fn attached<'w>(&self, world: &'w World) -> Option<&'w Interface> {
        world.states.ec2.interfaces.get(&self.interface).filter(|_| !self.is_terminated(world.now))
    }

    /// When its client token is forgotten.
    pub(super) fn forget_at(&self) -> Option<Duration> {
        self.ending.as_ref().map(|ending| ending.done + token::OUTLIVES)
    }

    fn interface_documents(&self, world: &World, interface: &Interface) -> Value {
        // `InstanceNetworkInterfaceAssociation` in AWS's model has no IDs.
        let association = interface.association(world).map(|mut association| {
            for absent in ["allocationId", "associationId"] {
                association[absent] = Value::Null;
            }
            association
        });
        json!([{
            "networkInterfaceId": interface.id(),
            "subnetId": interface.subnet,
            "vpcId": interface.vpc,
            "description": interface.description,
            "ownerId": world.account,
            "status": "in-use",
            "interfaceType": "interface",
            "privateIpAddress": interface.address.to_string(),
            "sourceDestCheck": self.settings.checks_source,
            "groupSet": interface.group_set(world),
            "association": association,
            "attachment": {
                "attachmentId": interface.id().replace("eni-", "eni-attach-"),
                "deviceIndex": 0,
                "status": "attached",
                "attachTime": Clock::date(self.entity.created),
                "deleteOnTermination": true,
            },
        }])
    }
}

impl Resource for Instance {
    const KIND: Kind = Kind {
        prefix: "i",
        tag_type: "instance",
        not_found: ("InvalidInstanceID.NotFound", "The instance ID '{id}' does not exist"),
        malformed: "InvalidInstanceID.Malformed",
    };
    const IDS: &'static str = "InstanceId";
    const SET: &'static str = "reservationSet";
    const FILTERS: &'static [Filter<Self>] = &[
        ("instance-id", |instance, _| one(instance.id())),
        ("image-id", |instance, _| one(&instance.image)),
        ("instance-type", |instance, _| one(&instance.kind)),
        ("instance-state-name", |instance, world| one(instance.state(world.now).name())),
        ("instance-state-code", |instance, world| one(instance.state(world.now).0.to_string())),
        ("architecture", |instance, _| one(instance.architecture)),
        ("availability-zone", |instance, _| one(&instance.zone)),
        ("client-token", |instance, _| optional(instance.client_token.as_ref())),
        ("iam-instance-profile.arn", |instance, world| optional(profile::arn_of(world, instance.id()))),
        ("instance.group-id", |instance, world| {
            instance.attached(world).map(|interface| interface.groups.clone()).unwrap_or_default()
        }),
        ("ip-address", |instance, world| {
            let public = instance.attached(world).and_then(|interface| interface.public(world.now));
            optional(public.map(|public| public.address.to_string()))
        }),
        ("metadata-options.http-tokens", |instance, _| one(&instance.metadata.tokens)),
        ("network-interface.network-interface-id", |instance, world| {
            optional(instance.attached(world).map(Interface::id))
        }),
        ("owner-id", |_, world| one(&world.account)),
        ("private-ip-address", |instance, world| {
            optional(instance.attached(world).map(|interface| interface.address.to_string()))
        }),
        ("reservation-id", |instance, _| one(&instance.reservation)),
        ("subnet-id", |instance, world| {
            optional(instance.attached(world).map(|interface| &interface.subnet))
        }),
        ("vpc-id", |instance, world| optional(instance.attached(world).map(|interface| &interface.vpc))),
    ];

    stored_in!(instances);

    fn gone(&self) -> Option<Duration> {
        self.ending.as_ref().map(|ending| ending.done + DESCRIBED_AFTERWARDS)
    }

    fn document(&self, world: &World) -> Value {
        let state = self.state(world.now);
        // A terminated instance has no network: AWS shows neither its subnet and VPC nor its addresses and groups.
        let interface = self.attached(world);
        let ending = self.ending.as_ref().filter(|ending| world.now >= ending.begins);
        let public = interface.and_then(|one| one.public(world.now)).map(|public| public.address.to_string());
        json!({
            "instanceId": self.entity.id,
            "imageId": self.image,
            "instanceState": state.document(),
            "privateDnsName": interface.map(|one| format!("ip-{}.{}.compute.internal", one.address.to_string().replace('.', "-"), world.region)),
            "reason": ending.map(|ending| ending.message),
            "amiLaunchIndex": 0,
            "instanceType": self.kind,
            "launchTime": Clock::date(self.entity.created),
            "placement": { "availabilityZone": self.zone, "tenancy": "default" },
            "monitoring": { "state": if self.settings.monitoring { "enabled" } else { "disabled" } },
            "subnetId": interface.map(|one| &one.subnet),
            "vpcId": interface.map(|one| &one.vpc),
            "privateIpAddress": interface.map(|one| one.address.to_string()),
            "ipAddress": public,
            "sourceDestCheck": interface.map(|_| self.settings.checks_source),
            "groupSet": interface.map_or_else(|| json!([]), |one| one.group_set(world)),
            "stateReason": ending.map(|ending| json!({ "code": ending.reason, "message": ending.message })),
            "architecture": self.architecture,
            "rootDeviceType": "ebs",
            "rootDeviceName": ROOT_DEVICE,
            "blockDeviceMapping": volume::mappings(world, &self.entity.id),
            "virtualizationType": "hvm",
            "clientToken": self.client_token,
            "tagSet": tag_set(&self.entity.tags),
            "hypervisor": "xen",
            "networkInterfaceSet": interface.map_or_else(|| json!([]), |one| self.interface_documents(world, one)),
            "iamInstanceProfile": profile::shown(world, &self.entity.id),
            "ebsOptimized": self.settings.ebs_optimized,
            "enaSupport": true,
            "metadataOptions": self.metadata.document(world.now),
        })
    }
}

/// Instances, grouped by reservation.
pub(super) fn reservations(world: &World, instances: Vec<&Instance>) -> Vec<Value> {
    let mut reservations: IndexMap<&str, Vec<Value>> = IndexMap::new();
    for instance in instances {
        reservations.entry(&instance.reservation).or_default().push(instance.document(world));
    }
    reservations
        .into_iter()
        .map(|(id, instances)| {
            json!({
                "reservationId": id,
                "ownerId": world.account,
                "groupSet": [],
                "instancesSet": instances,
            })
        })
        .collect()
}

pub(super) fn describe(world: &World, params: &Params) -> Result<Reply, Refusal> {
    let ids = params.list(Instance::IDS);
    let filters = Filters::read(params, Instance::FILTERS)?;
    let page = Page::read(params)?;
    params.done()?;
    if page.is_limited() && !ids.is_empty() {
        return Err(Refusal::new(
            "InvalidParameterCombination",
            "The parameter instancesSet cannot be used with the parameter maxResults",
        ));
    }
    let found = select::<Instance>(world, &ids, &filters)?;
    Ok(page.answer(Instance::SET, reservations(world, found)))
}

/// For how many seconds after the start of an instance AWS's status checks are `initializing` ("a few minutes").
const CHECK_SECONDS: f64 = 180.0;

const STATUS_FILTERS: &[Filter<Instance>] = &[
    ("availability-zone", |instance, _| one(&instance.zone)),
    ("instance-state-name", |instance, world| one(instance.state(world.now).name())),
];

/// The status checks of running instances.
pub(super) fn describe_status(world: &World, params: &Params) -> Result<Reply, Refusal> {
    let ids = params.list(Instance::IDS);
    let filters = Filters::read(params, STATUS_FILTERS)?;
    params.done()?;
    let statuses: Vec<Value> = select::<Instance>(world, &ids, &filters)?
        .into_iter()
        .filter_map(|instance| {
            let since = instance.running_since(world.now)?;
            let checked = since + world.latency.seconds(CHECK_SECONDS);
            let status = if world.now < checked { "initializing" } else { "ok" };
            Some(json!({
                "instanceId": instance.entity.id,
                "availabilityZone": instance.zone,
                "instanceState": instance.state(world.now).document(),
                "instanceStatus": { "status": status },
                "systemStatus": { "status": status },
            }))
        })
        .collect();
    Ok(json!({ "instanceStatusSet": statuses }).into())
}
