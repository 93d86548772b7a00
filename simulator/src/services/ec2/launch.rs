//! `RunInstances`.

use super::interface::Interface;
use super::volume::Volume;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::catalogue::{self, InstanceType};
use super::instance::{Ending, Instance, Metadata, Power, Settings, reservations};
use super::interface::{self, Holder, Wanted};
use super::profile::{self, Named};
use super::resource::{Entity, Kind, Late, Resource, every, invalid};
use super::volume::{self, Disk};
use super::{group, offers, subnet, tagging, token};
use crate::params::{Params, Refusal};
use crate::protocol::Reply;
use crate::services::quotas;
use crate::world::{Tags, World};

/// How many seconds after the start of an instance its profile is associated.
const PROFILE_SECONDS: f64 = 1.0;

/// The parameters of a launch.
#[derive(Debug, Clone)]
struct Launch {
    image: String,
    kind: String,
    least: i64,
    most: i64,
    network: Network,
    profile: Option<Named>,
    metadata: Metadata,
    disks: Vec<Disk>,
    is_protected: bool,
    settings: Settings,
    zone: Option<String>,
    instance_tags: Tags,
    volume_tags: Tags,
    interface_tags: Tags,
}

/// The network of a launch.
#[derive(Debug, Clone)]
struct Network {
    subnet: Option<String>,
    groups: Vec<String>,
    /// Whether it gets a public address; `None` leaves the decision to the subnet.
    public: Option<bool>,
    address: Option<String>,
    description: String,
}

impl Network {
    fn read(params: &Params) -> Result<Self, Refusal> {
        let subnet = params.text("SubnetId");
        let groups = params.list("SecurityGroupId");
        let address = params.text("PrivateIpAddress");
        let interfaces = params.structs("NetworkInterface");
        let Some(interface) = interfaces.first() else {
            return Ok(Self { subnet, groups, public: None, address, description: String::new() });
        };
        if subnet.is_some() || !groups.is_empty() || address.is_some() {
            return Err(Refusal::new(
                "InvalidParameterCombination",
                "Network interfaces and an instance-level subnet ID or security groups may not be specified on the same request",
            ));
        }
        if interfaces.len() > 1 || interface.int("DeviceIndex")? != Some(0) {
            return Err(Refusal::new(
                "InvalidParameterValue",
                "The simulated instances have exactly one network interface, with the device index 0.",
            ));
        }
        // An interface that is created by a launch is deleted with the instance; keeping it is not supported.
        if interface.flag("DeleteOnTermination")? == Some(false) {
            return Err(invalid(
                "false",
                "deleteOnTermination",
                "The simulated interface goes with its instance.",
            ));
        }
        Ok(Self {
            subnet: interface.text("SubnetId"),
            groups: interface.list("SecurityGroupId"),
            public: interface.flag("AssociatePublicIpAddress")?,
            address: interface.text("PrivateIpAddress"),
            description: interface.text("Description").unwrap_or_default(),
        })
    }
}

impl Launch {
    fn read(params: &Params) -> Result<Self, Refusal> {
        let mut tags = tagging::specified(params, &[Instance::KIND, Volume::KIND, Interface::KIND])?;
        let mut tags_of = |kind: Kind| tags.remove(kind.tag_type).unwrap_or_default();
        let metadata = match params.section("MetadataOptions") {
            Some(options) => Metadata::default_settings().with(&options)?,
            None => Metadata::default_settings(),
        };
        let placement = params.section("Placement");
        if let Some(placement) = &placement {
            check_tenancy(placement)?;
        }
        // CPU credits change only the price, which is an estimate here.
        let credits = params.section("CreditSpecification").and_then(|section| section.text("CpuCredits"));
        let monitoring = params.section("Monitoring").map(|section| section.flag("Enabled")).transpose()?;
        let launch = Self {
            image: params.required("ImageId")?,
            kind: params.required("InstanceType")?,
            least: params.int("MinCount")?.unwrap_or_default(),
            most: params.int("MaxCount")?.unwrap_or_default(),
            network: Network::read(params)?,
            profile: Named::read(params),
            metadata,
            disks: Disk::read_all(params)?,
            is_protected: params.flag("DisableApiTermination")?.unwrap_or_default(),
            settings: Settings {
                checks_source: true,
                monitoring: monitoring.flatten().unwrap_or_default(),
                ebs_optimized: params.flag("EbsOptimized")?.unwrap_or_default(),
                shutdown_behaviour: params
                    .text("InstanceInitiatedShutdownBehavior")
                    .unwrap_or_else(|| "stop".into()),
                user_data: params.text("UserData"),
            },
            zone: placement.and_then(|placement| placement.text("AvailabilityZone")),
            instance_tags: tags_of(Instance::KIND),
            volume_tags: tags_of(Volume::KIND),
            interface_tags: tags_of(Interface::KIND),
        };
        let key = params.text("KeyName");
        params.done()?;
        if let Some(key) = key {
            // Key pairs are not simulated.
            return Err(Refusal::new(
                "InvalidKeyPair.NotFound",
                format!("The key pair '{key}' does not exist"),
            ));
        }
        launch.check_values()?;
        check_credits(credits.as_deref(), &launch.kind)?;
        Ok(launch)
    }

    fn check_values(&self) -> Result<(), Refusal> {
        if self.least < 1 || self.most < self.least {
            return Err(Refusal::new(
                "InvalidParameterValue",
                format!("Invalid value '{}' for maxCount or minCount '{}'.", self.most, self.least),
            ));
        }
        if self.network.address.is_some() && self.most > 1 {
            return Err(Refusal::new(
                "InvalidParameterCombination",
                "A private address may be given for one instance only",
            ));
        }
        check_shutdown_behaviour(&self.settings.shutdown_behaviour)?;
        self.settings.user_data.as_deref().map_or(Ok(()), check_user_data)
    }
}

/// # Errors
/// `InvalidParameterValue` for unknown credits, `InvalidParameterCombination` for a type without credits.
fn check_credits(credits: Option<&str>, kind: &str) -> Result<(), Refusal> {
    let Some(credits) = credits else { return Ok(()) };
    if !matches!(credits, "standard" | "unlimited") {
        return Err(invalid(credits, "cpuCredits", "It is 'standard' or 'unlimited'."));
    }
    if catalogue::instance_type(kind)?.burstable {
        return Ok(());
    }
    Err(Refusal::new(
        "InvalidParameterCombination",
        format!("The instance type {kind} does not support CPU credits."),
    ))
}

fn check_tenancy(placement: &Params) -> Result<(), Refusal> {
    match placement.text("Tenancy").as_deref() {
        None | Some("default") => Ok(()),
        Some(other) => Err(invalid(other, "tenancy", "The simulated instances have the default tenancy.")),
    }
}

/// # Errors
/// `InvalidParameterValue` for an unknown behaviour.
pub(super) fn check_shutdown_behaviour(behaviour: &str) -> Result<(), Refusal> {
    if matches!(behaviour, "stop" | "terminate") {
        return Ok(());
    }
    Err(invalid(behaviour, "instanceInitiatedShutdownBehavior", "It is 'stop' or 'terminate'."))
}

/// # Errors
/// `InvalidUserData.Malformed` if it is not BASE64, `InvalidParameterValue` if it is longer than 16 KiB.
pub(super) fn check_user_data(data: &str) -> Result<(), Refusal> {
    let decoded = STANDARD
        .decode(data)
        .map_err(|_| Refusal::new("InvalidUserData.Malformed", "Invalid BASE64 encoding of user data."))?;
    if decoded.len() > 16 * 1024 {
        return Err(Refusal::new("InvalidParameterValue", "User data is limited to 16384 bytes"));
    }
    Ok(())
}

/// The results of a launch's checks.
struct Checked {
    kind: InstanceType,
    subnet: String,
    vpc: String,
    zone: String,
    groups: Vec<String>,
    public: bool,
    profile: Option<String>,
}

fn check(world: &World, launch: &Launch) -> Result<Checked, Refusal> {
    let of_image = catalogue::architecture_of(&launch.image)?;
    let kind = catalogue::instance_type(&launch.kind)?;
    catalogue::check_architectures(&launch.image, of_image, &kind)?;
    // The simulated account has no default VPC.
    let subnet_id = launch
        .network
        .subnet
        .clone()
        .ok_or_else(|| Refusal::new("VPCIdNotSpecified", "No default VPC for this user"))?;
    let subnet = subnet::usable(world, &subnet_id)?;
    catalogue::check_offered(world, &kind.name, &subnet.zone)?;
    if let Some(zone) = launch.zone.as_ref().filter(|zone| **zone != subnet.zone) {
        return Err(Refusal::new(
            "InvalidParameterValue",
            format!("The subnet {subnet_id} is not in the availability zone {zone}"),
        ));
    }
    let groups = if launch.network.groups.is_empty() {
        group::default_of(world, &subnet.vpc)
    } else {
        launch.network.groups.clone()
    };
    interface::check_groups(world, &subnet.vpc, &groups)?;
    match &launch.network.address {
        Some(address) => subnet.claim(world, address)?,
        None => subnet.free_address(world)?,
    };
    let profile = launch.profile.as_ref().map(|profile| profile.resolve(world)).transpose()?;
    check_quota(world, &kind, launch.most)?;
    offers::check_capacity(world, &kind.name, &subnet.zone)?;
    Ok(Checked {
        kind,
        vpc: subnet.vpc.clone(),
        zone: subnet.zone.clone(),
        public: launch.network.public.unwrap_or_else(|| subnet.maps_public_addresses(world.now)),
        subnet: subnet_id,
        groups,
        profile,
    })
}

fn check_quota(world: &World, kind: &InstanceType, count: i64) -> Result<(), Refusal> {
    let used: u32 = every::<Instance>(world)
        .filter(|instance| !instance.is_terminated(world.now))
        .filter_map(|instance| catalogue::instance_type(&instance.kind).ok())
        .map(|kind| kind.vcpus)
        .sum();
    let asked = u32::try_from(count).unwrap_or(u32::MAX).saturating_mul(kind.vcpus);
    let most = quotas::limit(world, quotas::STANDARD_VCPUS);
    if f64::from(used.saturating_add(asked)) > most {
        return Err(Refusal::new(
            "VcpuLimitExceeded",
            format!(
                "You have requested more vCPU capacity than your current vCPU limit of {most} allows for the instance bucket that the specified instance type belongs to. Please visit http://aws.amazon.com/contact-us/ec2-request to request an adjustment to this limit."
            ),
        ));
    }
    Ok(())
}

pub(super) fn run(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let client_token = params.text("ClientToken");
    let launch = Launch::read(params)?;
    let token = client_token.as_deref();
    // AWS returns the original instances for the token, even terminated ones.
    let before = token::used(world, "RunInstances", token, &launch)?.unwrap_or_default();
    let originals: Vec<&Instance> =
        before.iter().filter_map(|id| world.states.ec2.instances.get(id)).collect();
    if !originals.is_empty() {
        return Ok(answer(world, originals));
    }
    let checked = check(world, &launch)?;
    let reservation = world.id("r");
    let mut ids = Vec::new();
    for _ in 0..launch.most {
        match start(world, &launch, &checked, &reservation, client_token.as_ref()) {
            Ok(id) => ids.push(id),
            // AWS launches as many instances as possible between the minimum and the maximum of the request.
            Err(_) if i64::try_from(ids.len()).is_ok_and(|count| count >= launch.least) => break,
            Err(refusal) => {
                for id in &ids {
                    forget(world, id);
                }
                return Err(refusal);
            }
        }
    }
    token::remember(world, "RunInstances", token, &launch, ids.clone());
    let made = ids.iter().filter_map(|id| world.states.ec2.instances.get(id)).collect();
    Ok(answer(world, made))
}

/// Removes an instance of a launch that was refused.
fn forget(world: &mut World, id: &str) {
    if let Some(instance) = world.states.ec2.instances.remove(id) {
        world.states.ec2.interfaces.remove(&instance.interface);
    }
    world.states.ec2.volumes.retain(|_, volume| volume.instance != id);
    profile::release_from(world, id, Duration::ZERO);
}

fn answer(world: &World, instances: Vec<&Instance>) -> Reply {
    reservations(world, instances).into_iter().next().unwrap_or_default().into()
}

fn start(
    world: &mut World,
    launch: &Launch,
    checked: &Checked,
    reservation: &str,
    client_token: Option<&String>,
) -> Result<String, Refusal> {
    let id = world.id(Instance::KIND.prefix);
    let interface = interface::make(
        world,
        Wanted {
            subnet: checked.subnet.clone(),
            groups: checked.groups.clone(),
            description: launch.network.description.clone(),
            kind: "interface".into(),
            holder: Holder::Instance(id.clone()),
            address: launch.network.address.clone(),
            tags: launch.interface_tags.clone(),
        },
    )?;
    if checked.public {
        interface::map_public(world, &interface, None);
    }
    for disk in &launch.disks {
        volume::make(world, &id, &checked.zone, disk.clone(), launch.volume_tags.clone());
    }
    let running = world.ready("ec2_instance_running");
    if let Some(arn) = &checked.profile {
        profile::make(world, &id, arn.clone(), running + world.latency.seconds(PROFILE_SECONDS));
    }
    let instance = Instance {
        entity: Entity::new(id.clone(), launch.instance_tags.clone(), world.now),
        reservation: reservation.into(),
        image: launch.image.clone(),
        architecture: checked.kind.architecture,
        kind: launch.kind.clone(),
        vpc: checked.vpc.clone(),
        subnet: checked.subnet.clone(),
        zone: checked.zone.clone(),
        interface: interface.clone(),
        wants_public_address: checked.public,
        power: Power::Starting(running),
        ending: None,
        client_token: client_token.cloned(),
        metadata: launch.metadata.clone(),
        is_protected: Late::new(launch.is_protected),
        settings: launch.settings.clone(),
    };
    world.states.ec2.instances.insert(id.clone(), instance);
    if world.fail_creation {
        let ending = Ending {
            begins: running,
            done: running,
            reason: "Server.InsufficientInstanceCapacity",
            message: "Server.InsufficientInstanceCapacity: Insufficient capacity to satisfy instance request",
        };
        end(world, &id, ending);
    }
    Ok(id)
}

/// Sets how an instance ends, and releases what it uses.
pub(super) fn end(world: &mut World, id: &str, ending: Ending) {
    let at = ending.done;
    let Some(instance) = world.states.ec2.instances.get_mut(id) else { return };
    instance.ending = Some(ending);
    let interface = instance.interface.clone();
    interface::release(world, &interface, at);
    volume::release_from(world, id, at);
    profile::release_from(world, id, at);
}

/// The IDs of the instances in a request.
///
/// # Errors
/// `MissingParameter` if there are none.
pub(super) fn named(params: &Params) -> Result<Vec<String>, Refusal> {
    let ids = params.list(Instance::IDS);
    if ids.is_empty() {
        return Err(Refusal::new("MissingParameter", "The request must contain the parameter InstanceId"));
    }
    Ok(ids)
}
