//! Systems Manager: the public parameters with image IDs, the account's own parameters, and the instances whose agent has
//! registered.

mod parameters;

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use super::ec2::{self, InstanceFacts};
use super::{Service, iam, unknown};
use crate::authorization::{AccessRequests, denied_to_role};
use crate::clock::Clock;
use crate::params::{Params, Refusal};
use crate::protocol::Reply;
use crate::world::{Tags, World};
use parameters::Parameter;

pub(crate) use parameters::{
    denied_parameter, has_parameter, parameter_changed_after, rewritten_by_owner, seed,
};

pub(crate) static SERVICE: Service =
    Service { advance, ..Service::json("ssm", "1.1", "AmazonSSM", act, access) };

/// The state of this service.
#[derive(Debug, Clone, Default)]
pub(crate) struct State {
    /// The agent on each instance that ever ran.
    agents: BTreeMap<String, Agent>,
    /// The account's own parameters, by name.
    parameters: BTreeMap<String, Parameter>,
}

#[derive(Debug, Clone)]
struct Agent {
    /// When the instance last started: each start is a new boot.
    booted: Duration,
    /// When the agent next looks for the services, until it has found them.
    next_attempt: Duration,
    /// When the agent found them.
    reached: Option<Duration>,
    /// When the agent had a role that lets it register.
    allowed: Option<Duration>,
    /// How long registration takes.
    registers_within: Duration,
    address: String,
    role: String,
    registered: Option<Duration>,
    /// Whether the agent has been checked since its boot.
    looked: bool,
    /// When its instance stopped running.
    lost: Option<Duration>,
}

/// How long an agent without a route at boot waits before it tries again. Unverified: it backs off for up to about
/// half an hour; this is the longest.
const RETRY_SECONDS: f64 = 1800.0;

/// The services that an agent uses. Since version 3.3.40.0 it does not need `ec2messages` if it reaches
/// `ssmmessages`.
/// Source: "Reference: ec2messages, ssmmessages, and other API operations" in the Systems Manager user guide.
const SERVICES: [&str; 2] = ["ssm", "ssmmessages"];

/// The public parameters with the newest Amazon Linux 2023 images.
const IMAGES: &str = "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-";

/// The permissions that a call needs.
fn access(world: &World, operation: &str, params: &Params, requests: &mut AccessRequests<'_>) {
    let name = params.text("Name").unwrap_or_default();
    match (operation, name.strip_prefix("/aws/")) {
        // A parameter that AWS publishes belongs to no account.
        ("GetParameter", Some(_)) => {
            requests.resource("parameter", format!("arn:aws:ssm:{}::parameter{name}", world.region), None);
        }
        ("GetParameter", None) => {
            let path = name.strip_prefix('/').unwrap_or(&name);
            requests.resource("parameter", world.arn("ssm", &format!("parameter/{path}")), None);
        }
        ("DescribeInstanceInformation", _) => {
            requests.no_resource();
        }
        _ => parameters::access(world, operation, params, requests),
    }
}

fn act(world: &mut World, operation: &str, params: &Params) -> Result<Reply, Refusal> {
    match operation {
        "GetParameter" => get_parameter(world, params),
        "DescribeInstanceInformation" => describe_instances(world, params),
        "DescribeParameters" => parameters::describe(world, params),
        "ListTagsForResource" => parameters::list_tags(world, params),
        "AddTagsToResource" => parameters::add_tags(world, params),
        "RemoveTagsFromResource" => parameters::remove_tags(world, params),
        _ => Err(unknown("ssm", operation)),
    }
}

/// Has the agents of running instances look for their services and register.
fn advance(world: &mut World) {
    let instances = ec2::instances(world);
    let now = world.now;
    for (id, agent) in &mut world.states.ssm.agents {
        let runs = instances.iter().any(|instance| instance.id == *id && instance.running_since.is_some());
        if !runs {
            agent.lost = agent.lost.or(Some(now));
        }
    }
    for instance in instances {
        if let Some(since) = instance.running_since {
            boot(world, &instance, since);
            look(world, &instance);
        }
    }
}

fn boot(world: &mut World, instance: &InstanceFacts, since: Duration) {
    if world.states.ssm.agents.get(&instance.id).is_some_and(|agent| agent.booted == since) {
        return;
    }
    let agent = Agent {
        booted: since,
        next_attempt: since,
        reached: None,
        allowed: None,
        registers_within: world.latency.create("ssm_agent_online_after_running"),
        address: instance.address.to_string(),
        role: String::new(),
        registered: None,
        looked: false,
        lost: None,
    };
    world.states.ssm.agents.insert(instance.id.clone(), agent);
}

/// Brings the agent of a running instance up to the current time.
fn look(world: &mut World, instance: &InstanceFacts) {
    let now = world.now;
    let retry = world.latency.seconds(RETRY_SECONDS).max(Duration::from_millis(1));
    let Some(mut agent) = world.states.ssm.agents.remove(&instance.id) else { return };
    while agent.reached.is_none() && agent.next_attempt <= now {
        // The state when the agent looked, not the current one.
        world.now = agent.next_attempt;
        if SERVICES.iter().all(|service| ec2::reaches(world, &instance.subnet, &instance.groups, service)) {
            agent.reached = Some(agent.next_attempt);
        }
        agent.next_attempt += retry;
    }
    world.now = now;
    if agent.allowed.is_none()
        && let Some(role) = role_that_registers(world, instance)
    {
        // A role that exists at the first check existed at boot: instances are checked before every call.
        agent.allowed = Some(if agent.looked { now } else { agent.booted });
        agent.role = role;
    }
    agent.looked = true;
    if let (None, Some(reached), Some(allowed)) = (agent.registered, agent.reached, agent.allowed) {
        agent.registered = Some(reached.max(allowed) + agent.registers_within);
    }
    world.states.ssm.agents.insert(instance.id.clone(), agent);
}

/// The name of the instance's role, if it lets the agent register.
fn role_that_registers(world: &World, instance: &InstanceFacts) -> Option<String> {
    let iam::ProfileView::Ready { role, .. } = iam::profile_view(world, instance.profile.as_deref()?) else {
        return None;
    };
    let arn = world.arn("ec2", &format!("instance/{}", instance.id));
    let may = iam::role_view(world, &role, "ec2.amazonaws.com", &arn) == iam::RoleView::Ready
        && allows_agent(world, &role, &instance.id, &arn);
    may.then(|| role.rsplit('/').next().unwrap_or_default().to_owned())
}

/// Whether a role lets the agent register and open its channels; `ec2messages` is for older agents. The instance's
/// tags are not set, so a policy that requires one does not match.
fn allows_agent(world: &World, role: &str, id: &str, instance: &str) -> bool {
    const CHANNELS: [&str; 4] =
        ["CreateControlChannel", "CreateDataChannel", "OpenControlChannel", "OpenDataChannel"];
    let mut registration = AccessRequests::new(world, "ssm", "UpdateInstanceInformation");
    registration.resource("instance", instance, None);
    denied_to_role(role, id, registration).is_none()
        && CHANNELS.into_iter().all(|operation| {
            let mut channel = AccessRequests::new(world, "ssmmessages", operation);
            channel.no_resource();
            denied_to_role(role, id, channel).is_none()
        })
}

fn get_parameter(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let name = params.text("Name").filter(|name| !name.is_empty()).ok_or_else(|| {
        validation("1 validation error detected: Value null at 'name' failed to satisfy constraint: Member must not be null")
    })?;
    params.flag("WithDecryption")?; // of no effect on a text that is not encrypted
    params.done()?;
    let image = match name.strip_prefix(IMAGES) {
        Some("x86_64") => ec2::AMI_X86_64,
        Some("arm64") => ec2::AMI_ARM64,
        _ => return Err(Refusal::new("ParameterNotFound", format!("Parameter {name} not found."))),
    };
    Ok(json!({
        "Parameter": {
            "Name": name,
            "Type": "String",
            "Value": image,
            "Version": 1,
            "LastModifiedDate": Clock::epoch_seconds(Duration::ZERO),
            "ARN": format!("arn:aws:ssm:{}::parameter{name}", world.region),
            "DataType": "aws:ec2:image",
        }
    })
    .into())
}

fn describe_instances(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let filters = filters(params)?;
    let most = params.int("MaxResults")?;
    let size = match most {
        None => 50,
        Some(most) => usize::try_from(most).ok().filter(|most| (5..=50).contains(most)).ok_or_else(|| {
            validation("1 validation error detected: Value at 'maxResults' failed to satisfy constraint: Member must have value between 5 and 50")
        })?,
    };
    let start = match params.text("NextToken") {
        Some(token) => token
            .parse()
            .map_err(|_| Refusal::new("InvalidNextToken", "The specified token is not valid."))?,
        None => 0,
    };
    params.done()?;
    let tags = instance_tags(world);
    let known: Vec<Value> = world
        .states
        .ssm
        .agents
        .iter()
        .filter(|(_, agent)| agent.registered.is_some_and(|registered| registered <= world.now))
        .filter(|(id, agent)| filters.iter().all(|filter| filter.holds(id, agent, tags.get(*id))))
        .map(|(id, agent)| document(world, id, agent))
        .collect();
    let total = known.len();
    let shown: Vec<Value> = known.into_iter().skip(start).take(size).collect();
    let end = start + shown.len();
    let mut answer = json!({ "InstanceInformationList": shown });
    if end < total {
        answer["NextToken"] = json!(end.to_string());
    }
    Ok(answer.into())
}

/// A filter for instances.
struct Filter {
    key: String,
    values: Vec<String>,
}

impl Filter {
    fn holds(&self, id: &str, agent: &Agent, tags: Option<&Tags>) -> bool {
        let is = |value: &str| self.values.iter().any(|wanted| wanted == value);
        match self.key.as_str() {
            "InstanceIds" => is(id),
            "PingStatus" | "PingStatuses" => is(ping(agent)),
            "PlatformTypes" => is("Linux"),
            "ResourceType" | "ResourceTypes" => is("EC2Instance"),
            "IamRole" => is(&agent.role),
            key => key.strip_prefix("tag:").and_then(|tag| tags?.get(tag)).is_some_and(|value| is(value)),
        }
    }
}

/// Reads both forms of filters of the operation; AWS refuses a combination of them.
fn filters(params: &Params) -> Result<Vec<Filter>, Refusal> {
    const KEYS: [&str; 7] = [
        "InstanceIds",
        "PingStatus",
        "PingStatuses",
        "PlatformTypes",
        "ResourceType",
        "ResourceTypes",
        "IamRole",
    ];
    let both = params.has("Filters") && params.has("InstanceInformationFilterList");
    let mut filters = Vec::new();
    for (list, key, values) in
        [("Filters", "Key", "Values"), ("InstanceInformationFilterList", "key", "valueSet")]
    {
        for filter in params.structs(list) {
            let key = filter.text(key).unwrap_or_default();
            let values = filter.list(values);
            if !KEYS.contains(&key.as_str()) && !key.starts_with("tag:") {
                return Err(Refusal::new(
                    "InvalidFilterKey",
                    format!("The specified key isn't valid: {key}"),
                ));
            }
            if values.is_empty() || values.len() > 100 {
                return Err(Refusal::new(
                    "InvalidInstanceInformationFilterValue",
                    format!("The specified filter value isn't valid for {key}."),
                ));
            }
            if key == "InstanceIds"
                && let Some(id) = values.iter().find(|id| !id.starts_with("i-") && !id.starts_with("mi-"))
            {
                return Err(Refusal::new(
                    "InvalidInstanceInformationFilterValue",
                    format!("The instance id {id} isn't valid."),
                ));
            }
            filters.push(Filter { key, values });
        }
    }
    if both {
        return Err(validation("Filters and InstanceInformationFilterList can't be used together."));
    }
    Ok(filters)
}

/// The tags of instances, by ID.
fn instance_tags(world: &World) -> BTreeMap<String, Tags> {
    let mut items = Vec::new();
    (ec2::SERVICE.inventory)(world, &mut items);
    items
        .into_iter()
        .filter(|item| item.kind == "AWS::EC2::Instance")
        .map(|item| (item.id, item.tags))
        .collect()
}

fn ping(agent: &Agent) -> &'static str {
    if agent.lost.is_some() { "ConnectionLost" } else { "Online" }
}

fn document(world: &World, id: &str, agent: &Agent) -> Value {
    json!({
        "InstanceId": id,
        "PingStatus": ping(agent),
        "LastPingDateTime": Clock::epoch_seconds(agent.lost.unwrap_or(world.now)),
        "AgentVersion": "3.3.3050.0",
        "IsLatestVersion": true,
        "PlatformType": "Linux",
        "PlatformName": "Amazon Linux",
        "PlatformVersion": "2023",
        "ResourceType": "EC2Instance",
        "IPAddress": agent.address,
        "ComputerName": format!("ip-{}.{}.compute.internal", agent.address.replace('.', "-"), world.region),
        "SourceId": id,
        "SourceType": "AWS::EC2::Instance",
    })
}

fn validation(message: &str) -> Refusal {
    Refusal::new("ValidationException", message)
}
