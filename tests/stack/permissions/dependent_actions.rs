//! What AWS's reference says that an action depends on is asked for by some rehearsal, or there is a reason why not.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use stackdrop_simulator::Principal;

use super::evidence::EVIDENCE;

/// A dependent action, of which action (`SERVICE:*` for any of a service), and why no call here asks for it.
const NOT_ASKED: &[(&str, &str, &str)] = &[
    ("route53:AssociateVPCWithHostedZone", "ec2:CreateVpcEndpoint", "a gateway endpoint has no private name"),
    ("ssm:GetParameters", "ec2:RunInstances", "the image is named by its id"),
    ("iam:PassRole", "rds:*", "no database has a role for monitoring or a domain"),
    ("kms:*", "rds:*", "the keys are AWS's own: their policies let everybody in who may use RDS"),
    ("rds:CreateTenantDatabase", "rds:*", "PostgreSQL has no tenant databases"),
    ("rds:DeleteTenantDatabase", "rds:*", "PostgreSQL has no tenant databases"),
    ("rds:AddTagsToResource", "rds:ModifyDBInstance", "the call carries no tags"),
    ("secretsmanager:*", "rds:ModifyDBInstance", "RDS manages the password from the creation on"),
    ("*", "servicequotas:GetServiceQuota", "for quotas of those services; none of them is asked for here"),
];

#[test]
fn dependent_actions_are_requested() {
    let reference: Value =
        serde_json::from_str(include_str!("../../../simulator/reference/actions.json")).unwrap();
    let mut asked: BTreeMap<&Principal, BTreeSet<&str>> = BTreeMap::new();
    for (principal, request) in &EVIDENCE.allowed {
        asked.entry(principal).or_default().insert(&request.action);
    }
    let mut missing = BTreeSet::new();
    let mut excused = BTreeSet::new();
    for (principal, actions) in &asked {
        for action in actions {
            let (service, operation) = action.split_once(':').unwrap();
            let dependents = &reference["services"][service]["actions"][operation]["also"];
            let dependents = dependents.as_array().into_iter().flatten().filter_map(Value::as_str);
            for dependent in dependents.filter(|dependent| !asked[principal].contains(dependent)) {
                match NOT_ASKED.iter().position(|entry| is_about(entry, action, dependent)) {
                    Some(entry) => _ = excused.insert(entry),
                    None => _ = missing.insert(format!("{action} depends on {dependent}")),
                }
            }
        }
    }
    let missing: Vec<String> = missing.into_iter().collect();
    assert!(missing.is_empty(), "ask for these, or say why not:\n{}", missing.join("\n"));
    let idle = NOT_ASKED.iter().enumerate().filter(|(at, _)| !excused.contains(at)).map(|(_, entry)| entry.0);
    assert_eq!(idle.collect::<Vec<_>>(), Vec::<&str>::new(), "listed for nothing");
}

fn is_about((dependents, of, _): &(&str, &str, &str), action: &str, dependent: &str) -> bool {
    let is = |pattern: &str, name: &str| match pattern.strip_suffix('*') {
        Some(start) => name.starts_with(start),
        None => pattern == name,
    };
    is(dependents, dependent) && is(of, action)
}
