//! The account's own parameters, without their values.

use std::time::Duration;

use serde_json::{Value, json};

use super::validation;
use crate::authorization::{AccessRequests, denied_to_role};
use crate::clock::Clock;
use crate::params::{Params, Refusal};
use crate::protocol::Reply;
use crate::world::{self, Tags, World};

/// A parameter. The state holds it by name.
#[derive(Debug, Clone)]
pub(super) struct Parameter {
    /// The customer key that encrypts it, if any; a parameter without one is a plain text.
    key: Option<String>,
    tags: Tags,
    /// When each version was written.
    versions: Vec<Duration>,
}

/// The most parameters of one page, and names of one filter (API reference).
const MOST: usize = 50;

/// Adds a seeded parameter.
pub(crate) fn seed(world: &mut World, arn: &str, tags: &Tags, key: Option<&str>) {
    let path = arn.split_once(":parameter/").map_or(arn, |(_, path)| path);
    // A name with several parts begins with a slash, which its ARN lacks.
    let name = if path.contains('/') { format!("/{path}") } else { path.to_owned() };
    let parameter = Parameter { key: key.map(str::to_owned), tags: tags.clone(), versions: vec![world.now] };
    world.states.ssm.parameters.insert(name, parameter);
}

fn arn(world: &World, name: &str) -> String {
    world.arn("ssm", &format!("parameter/{}", name.strip_prefix('/').unwrap_or(name)))
}

/// The name of the parameter with this ARN, if it exists.
fn name_of(world: &World, wanted: &str) -> Option<String> {
    world.states.ssm.parameters.keys().find(|name| arn(world, name) == wanted).cloned()
}

fn by_arn<'w>(world: &'w World, wanted: &str) -> Option<&'w Parameter> {
    world.states.ssm.parameters.get(&name_of(world, wanted)?)
}

/// The permissions that the calls on parameters need.
pub(super) fn access(world: &World, operation: &str, params: &Params, requests: &mut AccessRequests<'_>) {
    if operation == "DescribeParameters" {
        requests.no_resource();
        return;
    }
    let name = params.text("ResourceId").unwrap_or_default();
    let tags = world.states.ssm.parameters.get(&name).map(|parameter| &parameter.tags);
    let sent = world::tags(params, "Tags", "Key", "Value").unwrap_or_default();
    requests
        .resource("parameter", arn(world, &name), tags)
        .request_tags(&sent)
        .tag_keys(params.list("TagKeys"));
}

pub(super) fn describe(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let filters = filters(params)?;
    let size = params.int("MaxResults")?.map_or(Ok(MOST), |size| {
        usize::try_from(size)
            .ok()
            .filter(|size| (1..=MOST).contains(size))
            .ok_or_else(|| validation("maxResults must be between 1 and 50."))
    })?;
    let start: usize = match params.text("NextToken") {
        None => 0,
        Some(token) => token
            .parse()
            .map_err(|_| Refusal::new("InvalidNextToken", "The specified token is not valid."))?,
    };
    params.done()?;
    let known = world.states.ssm.parameters.iter();
    let known: Vec<Value> = known
        .filter(|(name, _)| filters.iter().all(|filter| filter.holds(name)))
        .map(|(name, parameter)| document(world, name, parameter))
        .collect();
    let end = start.saturating_add(size);
    let next = (end < known.len()).then(|| end.to_string());
    let page: Vec<Value> = known.into_iter().skip(start).take(size).collect();
    let mut answer = json!({ "Parameters": page });
    if let Some(next) = next {
        answer["NextToken"] = json!(next);
    }
    Ok(answer.into())
}

/// A filter by name.
struct Filter {
    begins_with: bool,
    values: Vec<String>,
}

impl Filter {
    fn holds(&self, name: &str) -> bool {
        self.values.iter().any(|value| if self.begins_with { name.starts_with(value) } else { name == value })
    }
}

fn filters(params: &Params) -> Result<Vec<Filter>, Refusal> {
    let mut filters = Vec::new();
    for filter in params.structs("ParameterFilters") {
        let (key, option) = (filter.required("Key")?, filter.text("Option"));
        let values = filter.list("Values");
        if key != "Name" {
            return Err(Refusal::new("InvalidFilterKey", format!("The simulator holds no filter by {key}.")));
        }
        let begins_with = match option.as_deref() {
            None | Some("Equals") => false,
            Some("BeginsWith") => true,
            Some(other) => {
                return Err(Refusal::new(
                    "InvalidFilterOption",
                    format!("The following filter option is not valid: {other}."),
                ));
            }
        };
        if values.is_empty() || values.len() > MOST {
            return Err(Refusal::new("InvalidFilterValue", "A filter must have 1 to 50 values."));
        }
        filters.push(Filter { begins_with, values });
    }
    Ok(filters)
}

/// A parameter as `DescribeParameters` shows it.
fn document(world: &World, name: &str, parameter: &Parameter) -> Value {
    let mut document = json!({
        "Name": name,
        "ARN": arn(world, name),
        "Type": if parameter.key.is_some() { "SecureString" } else { "String" },
        "LastModifiedDate": Clock::epoch_seconds(parameter.versions.last().copied().unwrap_or_default()),
        "LastModifiedUser": format!("arn:aws:iam::{}:root", world.account),
        "Version": parameter.versions.len(),
        "Tier": "Standard",
        "Policies": [],
        "DataType": "text",
    });
    if let Some(key) = &parameter.key {
        document["KeyId"] = json!(key);
    }
    document
}

pub(super) fn list_tags(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let tags = &tagged(world, params)?.tags;
    let list: Vec<Value> = tags.iter().map(|(key, value)| json!({ "Key": key, "Value": value })).collect();
    params.done()?;
    Ok(json!({ "TagList": list }).into())
}

pub(super) fn add_tags(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let more = world::tags(params, "Tags", "Key", "Value").map_err(|refusal| validation(&refusal.message))?;
    let parameter = tagged(world, params)?;
    params.done()?;
    parameter.tags.extend(more);
    Ok(Reply::empty())
}

pub(super) fn remove_tags(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let keys = params.list("TagKeys");
    let parameter = tagged(world, params)?;
    params.done()?;
    parameter.tags.retain(|key, _| !keys.contains(key));
    Ok(Reply::empty())
}

/// The parameter that a call reads or changes the tags of.
fn tagged<'w>(world: &'w mut World, params: &Params) -> Result<&'w mut Parameter, Refusal> {
    let (kind, id) = (params.text("ResourceType"), params.text("ResourceId").unwrap_or_default());
    if kind.as_deref() != Some("Parameter") {
        return Err(Refusal::new("InvalidResourceType", "The simulator holds tags of parameters only."));
    }
    world.states.ssm.parameters.get_mut(&id).ok_or_else(|| {
        let message = "The resource ID isn't valid. Verify that you entered the correct ID and try again.";
        Refusal::new("InvalidResourceId", message)
    })
}

/// Whether a parameter (an ARN) exists.
pub(crate) fn has_parameter(world: &World, arn: &str) -> bool {
    by_arn(world, arn).is_some()
}

/// Writes a new version of a parameter (an ARN), as its owner would. Whether it exists.
pub(crate) fn rewritten_by_owner(world: &mut World, arn: &str) -> bool {
    let now = world.now;
    let Some(name) = name_of(world, arn) else { return false };
    let Some(parameter) = world.states.ssm.parameters.get_mut(&name) else { return false };
    parameter.versions.push(now);
    true
}

/// When the value of a parameter (an ARN) changed first after this moment.
pub(crate) fn parameter_changed_after(world: &World, arn: &str, moment: Duration) -> Option<Duration> {
    by_arn(world, arn)?.versions.iter().copied().find(|at| *at > moment)
}

/// The message of Systems Manager if a role cannot read the value of a parameter (an ARN).
pub(crate) fn denied_parameter(world: &World, role: &str, session: &str, arn: &str) -> Option<String> {
    let parameter = by_arn(world, arn);
    let mut requests = AccessRequests::new(world, "ssm", "GetParameters");
    requests.resource("parameter", arn, parameter.map(|parameter| &parameter.tags));
    let denial = denied_to_role(role, session, requests);
    if denial.is_some() {
        return denial;
    }
    // With the key of Systems Manager itself, a caller that can read the parameter can decrypt it.
    let key = parameter?.key.as_deref().filter(|key| !key.ends_with("alias/aws/ssm"))?;
    let mut requests = AccessRequests::new(world, "kms", "Decrypt");
    requests.key_use("kms:Decrypt", key, "ssm");
    // The message in public reports of tasks that failed.
    denied_to_role(role, session, requests).map(|_| {
        "The ciphertext refers to a customer master key that does not exist, does not exist in this region, or you are not \
         allowed to access."
            .into()
    })
}
