//! Each action of each function's role, tried on resources that are not Stackdrop's: denied, or listed with what limits it.
//!
//! The resources are of each type that the action takes by AWS's Service Authorization Reference: one with a name of its own, and
//! one for each pattern of names in the policy. They have no stack's tag. The attacker chooses everything that a caller can
//! choose, so that all other conditions are met.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use serde_json::Value;
use stackdrop_simulator::{AccessRequest, Grants, Principal};

use super::boundary::INSTALLATION;
use super::forbidden::writes;
use super::policies::{delegate_to_account, read_document, statements};
use super::unavoidable::UNAVOIDABLE;
use super::variants::resource_type;
use crate::template::many;

static REFERENCE: LazyLock<Value> = LazyLock::new(|| {
    serde_json::from_str(include_str!("../../../simulator/reference/actions.json")).unwrap()
});

/// Reads of contents, which must be denied like changes. Other reads show settings only.
const CONTENTS: [&str; 6] = [
    "logs:GetLogEvents",
    "s3:GetObject",
    "s3:GetObjectVersion",
    "secretsmanager:GetSecretValue",
    "ssm:GetParameter",
    "ssm:GetParameters",
];

/// Parts of patterns that match only resources of the installation itself.
const OWN: [&str; 6] = [
    ":::stackdrop-123456789012-",
    ":function:stackdrop-",
    ":execution:stackdrop-deploy:",
    ":log-group:/aws/lambda/stackdrop-",
    ":schedule/stackdrop/",
    ":stateMachine:stackdrop-",
];

/// A name that the attacked resources have where a pattern allows any.
const OTHERS: &str = "other-owner";

#[test]
fn every_action_on_a_foreign_resource_is_denied_or_listed() {
    let mut tried = BTreeSet::new();
    let mut allowed: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for (role, statement, action) in actions() {
        for attack in attacks(statement, action) {
            let name = format!("{action} on {}", resource_type(&attack));
            if is_allowed(role, &attack) {
                allowed.entry(role).or_default().insert(name);
            }
            tried.insert((role, attack));
        }
    }
    let listed: BTreeSet<String> = UNAVOIDABLE
        .iter()
        .flat_map(|(role, requests, _)| requests.iter().map(move |request| format!("{role}: {request}")))
        .collect();
    let found: BTreeSet<String> = allowed
        .iter()
        .flat_map(|(role, requests)| requests.iter().map(move |request| format!("{role}: {request}")))
        .collect();
    println!("attacks: {} tried, {} kinds allowed (see unavoidable.rs)", tried.len(), found.len());
    let open: Vec<&String> = found.difference(&listed).collect();
    assert!(open.is_empty(), "deny these in template.yaml, or list them in unavoidable.rs: {open:#?}");
    let superfluous: Vec<&String> = listed.difference(&found).collect();
    assert!(superfluous.is_empty(), "these are denied: remove them from unavoidable.rs: {superfluous:#?}");
}

/// Each action that a statement of a function's role allows, if it changes something or reads contents.
fn actions() -> Vec<(&'static str, &'static Value, &'static str)> {
    let is_of_function = |arn: &str| INSTALLATION.functions.values().any(|function| function.role == arn);
    let mut actions = Vec::new();
    for (id, role) in INSTALLATION.roles.iter().filter(|(_, role)| is_of_function(&role.arn)) {
        for statement in role.policies.iter().flat_map(|(_, document)| statements(document)) {
            let each = many(&statement["Action"]).into_iter();
            let relevant = each.filter(|action| writes(action) || CONTENTS.contains(action));
            actions.extend(relevant.map(|action| (id.as_str(), statement, action)));
        }
    }
    actions
}

/// The requests for an action that would meet a statement's conditions, but for the resource's tag.
fn attacks(statement: &Value, action: &str) -> Vec<AccessRequest> {
    let mut attacks = Vec::new();
    for kind in kinds(action) {
        for arn in foreign(statement, action, &kind) {
            let mut request = AccessRequest::new(action, &kind, &arn);
            choose_keys(statement, &mut request);
            request.keys.retain(|key| supports(action, &kind, key));
            if !creates(&request) {
                attacks.push(request);
            }
        }
    }
    attacks
}

fn service_of(action: &str) -> (&'static Value, &'static Value) {
    let (service, operation) = action.split_once(':').unwrap();
    let service = &REFERENCE["services"][service];
    let known = &service["actions"][operation];
    assert!(known.is_object(), "simulator/reference/used.txt lacks {action}");
    (service, known)
}

/// The types of resources that an action takes; one without a name if it takes none.
fn kinds(action: &str) -> Vec<String> {
    let (_, known) = service_of(action);
    let kinds: Vec<String> = known["on"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(kind, _)| kind.trim_end_matches('!').into())
        .collect();
    if kinds.is_empty() { vec![String::new()] } else { kinds }
}

/// The ARNs of foreign resources of a type: one with a name of its own, and those whose names a statement allows.
fn foreign(statement: &Value, action: &str, kind: &str) -> BTreeSet<String> {
    let (service, _) = service_of(action);
    let Some(template) = service["resources"][kind]["arn"].as_str() else { return ["*".to_owned()].into() };
    let mut named = template.to_owned();
    for (variable, value) in
        [("${Partition}", "aws"), ("${Region}", "eu-central-1"), ("${Account}", "123456789012")]
    {
        named = named.replace(variable, value);
    }
    while let Some((before, after)) = named.split_once("${") {
        named = format!("{before}{OTHERS}{}", after.split_once('}').unwrap().1);
    }
    // What precedes the name, such as `db:`.
    let prefix = |arn: &str| arn.splitn(6, ':').last().unwrap().to_owned();
    let kind = prefix(template).split("${").next().unwrap().to_owned();
    let of_kind = |pattern: &&str| {
        let is_own = OWN.iter().any(|own| pattern.contains(own));
        pattern.contains('*') && *pattern != "*" && !is_own && prefix(pattern).starts_with(&kind)
    };
    let patterns = many(&statement["Resource"]).into_iter().filter(of_kind);
    patterns.map(|pattern| pattern.replace('*', OTHERS)).chain([named]).collect()
}

/// Sets the condition keys that a caller can choose, and those that depend on what belongs to others.
fn choose_keys(statement: &Value, request: &mut AccessRequest) {
    request.key("aws:RequestTag/stackdrop:stack", "shop");
    request.keys("aws:TagKeys", ["team".to_owned()]);
    for (operator, keys) in statement["Condition"].as_object().into_iter().flatten() {
        for (key, values) in keys.as_object().unwrap() {
            let of_our_resources = key == "aws:ResourceTag/stackdrop:stack" || key.ends_with(":CreateAction");
            let values = many(values);
            let first = values[0];
            if of_our_resources || operator == "Null" || operator.contains("Not") || first.contains("${") {
                continue;
            }
            let value = if first == "?*" { "shop".to_owned() } else { first.replace('*', OTHERS) };
            request.key(key, value);
        }
    }
}

/// Whether AWS sets a condition key for an action on a resource type.
fn supports(action: &str, kind: &str, key: &str) -> bool {
    let (service, known) = service_of(action);
    let texts = |value: &'static Value| value.as_array().into_iter().flatten().filter_map(Value::as_str);
    let row = [kind.to_owned(), format!("{kind}!")];
    let row = row.iter().flat_map(|kind| texts(&known["on"][kind.as_str()]));
    let of_requests = key == "aws:TagKeys" || key.starts_with("aws:RequestTag/");
    let of_resource = texts(&service["resources"][kind]["keys"]).filter(|_| !of_requests);
    texts(&known["keys"]).chain(row).chain(of_resource).any(|known| {
        let tag = known.find("${").or_else(|| Some(known.strip_suffix("tag-key")?.len()));
        tag.map_or(known == key, |start| key.starts_with(&known[..start]))
    })
}

/// Whether the call creates the resource, so that it belongs to nobody else.
fn creates(request: &AccessRequest) -> bool {
    /// What a call creates, if its name does not say so.
    const CREATED: [(&str, &str); 12] = [
        ("acm:RequestCertificate", ""),
        ("ec2:AllocateAddress", "elastic-ip"),
        ("ec2:AuthorizeSecurityGroupEgress", "security-group-rule"),
        ("ec2:AuthorizeSecurityGroupIngress", "security-group-rule"),
        ("ec2:CreateFlowLogs", "vpc-flow-log"),
        ("ec2:RunInstances", "network-interface"),
        ("ec2:RunInstances", "volume"),
        ("logs:CreateLogStream", "log-stream"),
        ("rds:CreateDBParameterGroup", "pg"),
        ("rds:CreateDBSnapshot", "snapshot"),
        ("rds:CreateDBSubnetGroup", "subgrp"),
        ("rds:RestoreDBInstanceFromDBSnapshot", "db"),
    ];
    let AccessRequest { action, kind, keys, .. } = request;
    let letters = |text: &str| text.to_lowercase().replace('-', "");
    let named = letters(kind.split('/').next().unwrap());
    let operation = letters(action.split(':').nth(1).unwrap());
    let is_new = operation.strip_prefix("create").or_else(|| operation.strip_prefix("register"));
    let is_new = is_new.or_else(|| operation.strip_prefix("run")).is_some_and(|what| what.contains(&named));
    let is_tagged = keys.get("aws:RequestTag/stackdrop:stack").is_some();
    CREATED.contains(&(action.as_str(), kind.as_str())) || (is_new && is_tagged && !named.is_empty())
}

fn is_allowed(role: &str, request: &AccessRequest) -> bool {
    let role = &INSTALLATION.roles[role];
    let is_of_others = request.resource.starts_with("arn:aws:kms:");
    let grants = Grants {
        identity: role.policies.iter().map(|(_, document)| read_document(document)).collect(),
        boundary: None,
        resource: is_of_others.then(|| read_document(&delegate_to_account())),
    };
    let principal = Principal::Role { arn: role.arn.clone(), session: "function".into() };
    grants.decide(&principal, request).is_ok()
}
