//! EventBridge Scheduler: schedules in groups, and what happens when they fire.
//!
//! Source of rules and messages: API reference, and the user guide's "Schedule types".

mod access;
mod expression;
mod firing;
mod schedules;

use std::collections::BTreeMap;
use std::time::Duration;

use http::Method;
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};

use super::{Service, unknown};
use crate::clock::Clock;
use crate::incident::Incident;
use crate::inventory::Item;
use crate::params::{Params, Refusal, flatten};
use crate::protocol::{Reply, Request};
use crate::world::{self, Tags, World};

use schedules::Schedule;

/// The group that every account has.
const DEFAULT_GROUP: &str = "default";
/// How long the deletion of a group and its schedules takes.
const DELETION_SECONDS: f64 = 10.0;

pub(crate) static SERVICE: Service = Service {
    advance,
    inventory,
    causes_events: true,
    incidents: &[
        Incident {
            name: "schedule-disabled",
            what: "Somebody disables the stack's schedule",
            cause: schedules::disable,
        },
        Incident {
            name: "schedule-deleted",
            what: "Somebody deletes the stack's schedule",
            cause: schedules::delete_of_stack,
        },
    ],
    ..Service::rest_json("scheduler", route, act, access::access)
};

/// The state of this service.
#[derive(Debug, Clone, Default)]
pub(crate) struct State {
    /// By name; without the default group.
    groups: BTreeMap<String, Group>,
    /// By group and name.
    schedules: BTreeMap<(String, String), Schedule>,
    /// The first request of each client token, by operation and token.
    tokens: BTreeMap<(String, String), Value>,
}

#[derive(Debug, Clone)]
struct Group {
    made_at: Duration,
    tags: Tags,
    seeded: bool,
    /// When its deletion completes.
    gone_at: Option<Duration>,
}

/// Finds the operation of a request; its parameters are the body's fields, the query's, and `Name` from the path.
fn route(request: &Request) -> Result<(String, Params), Refusal> {
    let mut leaves = BTreeMap::new();
    if !request.body.is_empty() {
        let document: Value = serde_json::from_slice(&request.body)
            .map_err(|error| Refusal::new("SerializationException", error.to_string()))?;
        flatten(&document, "", &mut leaves);
    }
    for (name, value) in &request.query {
        // Query parameters start in lower case in some operations.
        let name = match name.as_str() {
            "groupName" => "GroupName",
            "clientToken" => "ClientToken",
            other => other,
        };
        leaves.insert(name.to_owned(), Value::String(value.clone()));
    }
    let mut parts = request.path.trim_matches('/').split('/');
    let (kind, name) = (parts.next().unwrap_or_default(), parts.next());
    let operation = match (&request.method, kind, name.is_some(), parts.next()) {
        (&Method::POST, "schedules", true, None) => "CreateSchedule",
        (&Method::GET, "schedules", true, None) => "GetSchedule",
        (&Method::PUT, "schedules", true, None) => "UpdateSchedule",
        (&Method::DELETE, "schedules", true, None) => "DeleteSchedule",
        (&Method::GET, "schedules", false, None) => "ListSchedules",
        (&Method::POST, "schedule-groups", true, None) => "CreateScheduleGroup",
        (&Method::GET, "schedule-groups", true, None) => "GetScheduleGroup",
        (&Method::DELETE, "schedule-groups", true, None) => "DeleteScheduleGroup",
        (&Method::GET, "schedule-groups", false, None) => "ListScheduleGroups",
        _ => return Err(unknown("scheduler", &format!("{} {}", request.method, request.path))),
    };
    if let Some(name) = name {
        let name = percent_decode_str(name).decode_utf8_lossy().into_owned();
        leaves.insert("Name".into(), Value::String(name));
    }
    Ok((operation.to_owned(), Params::new(leaves, request.body.clone())))
}

fn act(world: &mut World, operation: &str, params: &Params) -> Result<Reply, Refusal> {
    purge(world);
    match operation {
        "CreateSchedule" => schedules::create(world, params),
        "GetSchedule" => schedules::get(world, params),
        "UpdateSchedule" => schedules::update(world, params),
        "DeleteSchedule" => schedules::delete(world, params),
        "ListSchedules" => schedules::list(world, params),
        "CreateScheduleGroup" => create_group(world, params),
        "GetScheduleGroup" => get_group(world, params),
        "DeleteScheduleGroup" => delete_group(world, params),
        "ListScheduleGroups" => list_groups(world, params),
        _ => Err(unknown("scheduler", operation)),
    }
}

/// Fires the schedules that are due.
fn advance(world: &mut World) {
    purge(world);
    schedules::fire(world);
}

/// When the next schedule is due.
pub(crate) fn next_due(world: &World) -> Option<Duration> {
    world.states.scheduler.schedules.values().filter_map(|schedule| schedule.next_at).min()
}

/// Removes groups whose deletion is complete, with their schedules.
fn purge(world: &mut World) {
    let now = world.now;
    let State { groups, schedules, .. } = &mut world.states.scheduler;
    groups.retain(|_, group| group.gone_at.is_none_or(|at| now < at));
    schedules.retain(|(group, _), _| group == DEFAULT_GROUP || groups.contains_key(group));
}

/// Lists schedules, and the groups that calls created; seeded groups belong to the installation.
fn inventory(world: &World, items: &mut Vec<Item>) {
    let there = |name: &str| {
        name == DEFAULT_GROUP
            || world
                .states
                .scheduler
                .groups
                .get(name)
                .is_some_and(|group| group.gone_at.is_none_or(|at| world.now < at))
    };
    for (name, group) in
        world.states.scheduler.groups.iter().filter(|(name, group)| !group.seeded && there(name))
    {
        items.push(Item::new("AWS::Scheduler::ScheduleGroup", name, &group.tags).named(name));
    }
    for (group, name) in world.states.scheduler.schedules.keys().filter(|(group, _)| there(group)) {
        let id = format!("{group}/{name}");
        items.push(Item::new("AWS::Scheduler::Schedule", &id, &Tags::new()).named(name));
    }
}

/// Adds a schedule group.
pub(crate) fn seed_group(world: &mut World, name: &str) {
    let group = Group { made_at: world.now, tags: Tags::new(), seeded: true, gone_at: None };
    world.states.scheduler.groups.entry(name.to_owned()).or_insert(group);
}

fn invalid(message: impl Into<String>) -> Refusal {
    Refusal::new("ValidationException", message)
}

fn absent(what: &str, name: &str) -> Refusal {
    Refusal::new("ResourceNotFoundException", format!("{what} {name} does not exist.")).status(404)
}

fn conflict(message: impl Into<String>) -> Refusal {
    Refusal::new("ConflictException", message).status(409)
}

/// A required text.
fn needed(params: &Params, key: &str) -> Result<String, Refusal> {
    params
        .text(key)
        .filter(|text| !text.is_empty())
        .ok_or_else(|| invalid(format!("1 validation error detected: Value at '{key}' failed to satisfy constraint: Member must not be null")))
}

/// A schedule's or a group's name.
fn name(params: &Params, key: &str) -> Result<String, Refusal> {
    let name = needed(params, key)?;
    let legal =
        name.len() <= 64 && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    if legal {
        Ok(name)
    } else {
        Err(invalid(format!(
            "1 validation error detected: Value '{name}' at '{key}' failed to satisfy constraint: Member must satisfy \
             regular expression pattern: ^[0-9a-zA-Z-_.]+$ and have length less than or equal to 64"
        )))
    }
}

/// The result of looking up a client token.
enum Seen {
    /// The first request with this token, which is kept if the request succeeds.
    First,
    /// The same request succeeded before.
    Again,
}

/// Compares a request with the earlier one with the same token.
fn seen(world: &World, operation: &str, token: Option<&str>, request: &Value) -> Result<Seen, Refusal> {
    let Some(token) = token else { return Ok(Seen::First) };
    match world.states.scheduler.tokens.get(&(operation.to_owned(), token.to_owned())) {
        None => Ok(Seen::First),
        Some(before) if before == request => Ok(Seen::Again),
        Some(_) => Err(conflict(format!("The client token {token} was used before with other parameters."))),
    }
}

fn keep_token(world: &mut World, operation: &str, token: Option<String>, request: Value) {
    if let Some(token) = token {
        world.states.scheduler.tokens.insert((operation.to_owned(), token), request);
    }
}

/// Checks the group of a schedule.
fn check_group(world: &World, group: &str) -> Result<(), Refusal> {
    match world.states.scheduler.groups.get(group) {
        None if group == DEFAULT_GROUP => Ok(()),
        None => Err(absent("Schedule group", group)),
        Some(there) if there.gone_at.is_some() => {
            Err(conflict(format!("Schedule group {group} is being deleted.")))
        }
        Some(_) => Ok(()),
    }
}

fn create_group(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let name = name(params, "Name")?;
    let token = params.text("ClientToken");
    let tags = world::tags(params, "Tags", "Key", "Value").map_err(|refusal| invalid(refusal.message))?;
    params.done()?;
    if tags.len() > 50 {
        return Err(invalid("A schedule group can have at most 50 tags"));
    }
    let arn = world.arn("scheduler", &format!("schedule-group/{name}"));
    let request = json!([name, tags]);
    let reply = Reply::from(json!({ "ScheduleGroupArn": arn }));
    if matches!(seen(world, "CreateScheduleGroup", token.as_deref(), &request)?, Seen::Again)
        && world.states.scheduler.groups.contains_key(&name)
    {
        return Ok(reply);
    }
    if name == DEFAULT_GROUP || world.states.scheduler.groups.contains_key(&name) {
        return Err(conflict(format!("Schedule group {name} already exists.")));
    }
    let group = Group { made_at: world.now, tags, seeded: false, gone_at: None };
    world.states.scheduler.groups.insert(name, group);
    keep_token(world, "CreateScheduleGroup", token, request);
    Ok(reply)
}

fn group_document(world: &World, name: &str, group: Option<&Group>) -> Value {
    let made_at = Clock::epoch_seconds(group.map_or(Duration::ZERO, |group| group.made_at));
    let deleting = group.is_some_and(|group| group.gone_at.is_some());
    json!({
        "Arn": world.arn("scheduler", &format!("schedule-group/{name}")),
        "Name": name,
        "State": if deleting { "DELETING" } else { "ACTIVE" },
        "CreationDate": made_at,
        "LastModificationDate": made_at,
    })
}

fn get_group(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let name = name(params, "Name")?;
    params.done()?;
    let group = world.states.scheduler.groups.get(&name);
    if group.is_none() && name != DEFAULT_GROUP {
        return Err(absent("Schedule group", &name));
    }
    Ok(group_document(world, &name, group).into())
}

fn list_groups(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let prefix = params.text("NamePrefix").unwrap_or_default();
    let page = Page::read(params)?;
    params.done()?;
    let default = (DEFAULT_GROUP.to_owned(), None);
    let groups = world.states.scheduler.groups.iter().map(|(name, group)| (name.clone(), Some(group)));
    let mut all: Vec<(String, Option<&Group>)> = groups.chain([default]).collect();
    all.retain(|(name, _)| name.starts_with(&prefix));
    all.sort_by(|a, b| a.0.cmp(&b.0));
    let documents = all.iter().map(|(name, group)| group_document(world, name, *group)).collect();
    Ok(page.cut("ScheduleGroups", documents).into())
}

fn delete_group(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let name = name(params, "Name")?;
    params.ignore("ClientToken"); // a deletion that is repeated finds the group going, or gone
    params.done()?;
    if name == DEFAULT_GROUP {
        return Err(invalid("The default schedule group can't be deleted."));
    }
    check_group(world, &name)?;
    let gone_at = world.now + world.latency.seconds(DELETION_SECONDS);
    if let Some(group) = world.states.scheduler.groups.get_mut(&name) {
        group.gone_at = Some(gone_at);
    }
    Ok(Reply::empty())
}

/// The requested page of a list.
struct Page {
    size: usize,
    after: usize,
}

impl Page {
    fn read(params: &Params) -> Result<Self, Refusal> {
        let size = params.int("MaxResults")?.unwrap_or(100);
        let size = usize::try_from(size).ok().filter(|size| (1..=100).contains(size));
        let size = size.ok_or_else(|| invalid("MaxResults must be between 1 and 100"))?;
        let after = params.text("NextToken").map(|token| token.parse()).transpose();
        Ok(Self { size, after: after.map_err(|_| invalid("Invalid NextToken"))?.unwrap_or(0) })
    }

    fn cut(&self, name: &str, all: Vec<Value>) -> Value {
        let end = self.after + self.size;
        let next = (all.len() > end).then(|| end.to_string());
        let page: Vec<Value> = all.into_iter().skip(self.after).take(self.size).collect();
        let mut document = json!({ name: page });
        if let Some(next) = next {
            document["NextToken"] = json!(next);
        }
        document
    }
}
