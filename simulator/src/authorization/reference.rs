//! AWS's Service Authorization Reference for the actions that Stackdrop uses: `simulator/reference/`.

use std::collections::HashMap;
use std::sync::LazyLock;

use serde::Deserialize;

use super::request::Request;
use crate::params::Refusal;

static REFERENCE: LazyLock<HashMap<String, Service>> = LazyLock::new(|| {
    #[derive(Deserialize)]
    struct Table {
        services: HashMap<String, Service>,
    }
    let table: Result<Table, _> = serde_json::from_str(include_str!("../../reference/actions.json"));
    // A table that cannot be parsed has no actions, so every call is refused.
    table.map(|table| table.services).unwrap_or_default()
});

#[derive(Debug, Deserialize)]
struct Service {
    actions: HashMap<String, Action>,
    resources: HashMap<String, Resource>,
    /// The keys with many values.
    lists: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Action {
    /// The condition keys that apply to every resource.
    #[serde(default)]
    keys: Vec<String>,
    /// The resource types of the action, with the keys that each supports. A `!` after a type marks it as required.
    #[serde(default)]
    on: HashMap<String, Vec<String>>,
}

#[derive(Debug, Deserialize)]
struct Resource {
    keys: Vec<String>,
}

/// The keys that a request can have whatever its action. Source: "AWS global condition context keys" in the IAM user
/// guide.
const GLOBAL: [&str; 7] = [
    "aws:PrincipalAccount",
    "aws:PrincipalArn",
    "aws:RequestedRegion",
    "aws:ResourceAccount",
    "aws:SecureTransport",
    "aws:SourceAccount",
    "aws:SourceArn",
];

/// The global keys that only some actions support: the reference lists them.
const GLOBAL_OF_TAGS: [&str; 3] = ["aws:RequestTag/", "aws:ResourceTag/", "aws:TagKeys"];

/// The keys that the services' files set. A policy that tests another key that its action supports cannot be
/// evaluated.
const MODELED: &[&str] = &[
    "acm:DomainNames",
    "acm:ValidationMethod",
    "application-autoscaling:service-namespace",
    "aws:PrincipalAccount",
    "aws:PrincipalArn",
    "aws:PrincipalTag/",
    "aws:RequestTag/",
    "aws:RequestedRegion",
    "aws:ResourceAccount",
    "aws:ResourceTag/",
    "aws:SecureTransport",
    "aws:SourceAccount",
    "aws:SourceArn",
    "aws:TagKeys",
    "ec2:CreateAction",
    "ec2:Owner",
    "ec2:ResourceTag/",
    "ecs:CreateAction",
    "ecs:ResourceTag/",
    "ecs:cluster",
    "ecs:service",
    "elasticloadbalancing:CreateAction",
    "elasticloadbalancing:ResourceTag/",
    "events:source",
    "iam:AWSServiceName",
    "iam:PassedToService",
    "iam:PermissionsBoundary",
    "iam:PolicyARN",
    "iam:ResourceTag/",
    "kms:ResourceAliases",
    "kms:GrantIsForAWSResource",
    "kms:ViaService",
    "route53:ChangeResourceRecordSetsActions",
    "route53:ChangeResourceRecordSetsNormalizedRecordNames",
    "route53:ChangeResourceRecordSetsRecordTypes",
    "secretsmanager:ModifyRotationRules",
    "secretsmanager:ResourceTag/",
    "secretsmanager:RotateImmediately",
    "ssm:ResourceTag/",
];

/// Resource types that the reference marks as required, although AWS also decides without them.
///
/// An execution belongs to a standard or an express workflow; executions are listed by state machine or by map run.
/// `ecs:ListTasks` is authorized for `*` unless it lists the tasks of one container instance: AWS's message "not
/// authorized to perform: ecs:ListTasks on resource: *", in public reports.
const NOT_REQUIRED: [(&str, &str); 3] = [
    ("ecs:ListTasks", "container-instance"),
    ("states:DescribeExecution", "express"),
    ("states:ListExecutions", "maprun"),
];

fn action(name: &str) -> Option<(&'static Service, &'static Action)> {
    let (service, operation) = name.split_once(':')?;
    let service = REFERENCE.get(service)?;
    Some((service, service.actions.get(operation)?))
}

/// Whether a key such as `aws:RequestTag/team` is an instance of the reference's key, such as
/// `aws:RequestTag/${TagKey}`, which some services write as `secretsmanager:ResourceTag/tag-key`.
fn is(key: &str, known: &str) -> bool {
    let name = known.find("${").or_else(|| Some(known.strip_suffix("tag-key")?.len()));
    match name {
        Some(start) => key.get(..start).is_some_and(|head| head.eq_ignore_ascii_case(&known[..start])),
        None => key.eq_ignore_ascii_case(known),
    }
}

/// Whether AWS supports a condition key for an action on a resource type: in the action's own rows, or for the type.
///
/// The list of a resource type also has the tags of requests, for the actions that create it. For those, only the
/// action's rows count. Otherwise a call that creates a subnet would set the new subnet's tags on the VPC.
pub(super) fn supports(name: &str, kind: &str, key: &str) -> bool {
    if GLOBAL.contains(&key) {
        return true;
    }
    let Some((service, action)) = action(name) else { return false };
    let row = action.on.get(kind).or_else(|| action.on.get(&format!("{kind}!")));
    let by_action = action.keys.iter().chain(row.into_iter().flatten()).any(|known| is(key, known));
    let is_of_requests = key == "aws:TagKeys" || key.starts_with("aws:RequestTag/");
    let resource = service.resources.get(kind).filter(|_| row.is_some() && !is_of_requests);
    by_action || resource.is_some_and(|resource| resource.keys.iter().any(|known| is(key, known)))
}

/// Whether a policy's test of a key applies to an action on a resource type: AWS supports the key there, or every
/// request can have it.
pub(super) fn counts(name: &str, kind: &str, key: &str) -> bool {
    let lower = key.to_ascii_lowercase();
    let is_of_tags = GLOBAL_OF_TAGS.iter().any(|tags| lower.starts_with(&tags.to_ascii_lowercase()));
    (lower.starts_with("aws:") && !is_of_tags) || supports(name, kind, key)
}

/// Whether a key has many values for an action. A policy must then test it with `ForAllValues` or `ForAnyValue`
/// ("Multivalued context keys" in the IAM user guide).
pub(super) fn is_list(name: &str, key: &str) -> bool {
    let listed = |(service, _): (&'static Service, _)| service.lists.iter().any(|known| is(key, known));
    action(name).is_some_and(listed)
}

/// Whether the services' files set a key.
pub(super) fn models(key: &str) -> bool {
    MODELED.iter().any(|known| match known.strip_suffix('/') {
        Some(head) => key.split_once('/').is_some_and(|(start, _)| start.eq_ignore_ascii_case(head)),
        None => known.eq_ignore_ascii_case(key),
    })
}

/// The part of a resource type that its variants share: `listener` of `listener/app` and `listener/net`. If the
/// reference marks several variants as required, a call needs one of them, since a load balancer has one type.
/// Source: "Elastic Load Balancing resource types" in the Service Authorization Reference, where each variant's ARN
/// contains that type.
fn family(kind: &str) -> &str {
    kind.split('/').next().unwrap_or(kind)
}

/// Checks a call's requests against the reference.
///
/// # Errors
/// If the reference does not have the action or its resource type, or a required resource type is missing.
pub(super) fn check(own: &str, requests: &[Request]) -> Result<(), Refusal> {
    let wrong =
        |what: String| Err(Refusal::new("InternalFailure", format!("the simulator asks wrongly: {what}")));
    if !requests.iter().any(|request| request.action == own) {
        return wrong(format!("nothing says what a call of {own} asks IAM for"));
    }
    for request in requests {
        let (name, kind) = (&request.action, &request.kind);
        let Some((_, action)) = action(name) else {
            return wrong(format!("simulator/reference/used.txt lacks {name}: add it, and run make.py"));
        };
        let takes = |kind: &str| action.on.contains_key(kind) || action.on.contains_key(&format!("{kind}!"));
        if !kind.is_empty() && !takes(kind) {
            return wrong(format!("{name} takes no resource of the type {kind}"));
        }
        let required = action.on.keys().filter_map(|kind| kind.strip_suffix('!'));
        for required in required.filter(|kind| !NOT_REQUIRED.contains(&(name.as_str(), kind))) {
            if !requests.iter().any(|other| other.action == *name && family(&other.kind) == family(required))
            {
                return wrong(format!("{name} requires a resource of the type {required}"));
            }
        }
    }
    Ok(())
}
