//! A rehearsal requests every dependent action in AWS's Service Authorization Reference, or there is a reason why not.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use stackdrop_simulator::Principal;

use super::evidence::EVIDENCE;

/// Exceptions: the dependent action, the action that depends on it (`SERVICE:*` for all), and why no call requests it.
const NOT_REQUESTED: &[(&str, &str, &str)] = &[
    ("route53:AssociateVPCWithHostedZone", "ec2:CreateVpcEndpoint", "a gateway endpoint has no private name"),
    ("ecs:*", "ec2:CreateFlowLogs", "the records have no fields of ECS"),
    ("iam:PassRole", "ec2:CreateFlowLogs", "a flow log to S3 needs no role"),
    ("ssm:GetParameters", "ec2:RunInstances", "the call names the image by its ID"),
    ("iam:PassRole", "rds:*", "no database has a role for monitoring or a domain"),
    ("kms:*", "rds:*", "the keys are AWS's own: their policies allow everyone who is allowed to use RDS"),
    ("rds:CreateTenantDatabase", "rds:*", "PostgreSQL has no tenant databases"),
    ("rds:DeleteTenantDatabase", "rds:*", "PostgreSQL has no tenant databases"),
    ("rds:AddTagsToResource", "rds:ModifyDBInstance", "the call carries no tags"),
    ("secretsmanager:*", "rds:ModifyDBInstance", "RDS has managed the password since the creation"),
    ("amplify:*", "wafv2:*", OTHERS_OF_WAF),
    ("apigateway:*", "wafv2:*", OTHERS_OF_WAF),
    ("apprunner:*", "wafv2:*", OTHERS_OF_WAF),
    ("appsync:*", "wafv2:*", OTHERS_OF_WAF),
    ("cognito-idp:*", "wafv2:*", OTHERS_OF_WAF),
    ("ec2:*", "wafv2:*", OTHERS_OF_WAF),
    (
        "elasticloadbalancing:SetWebAcl",
        "wafv2:*",
        "the older permission, instead of CreateWebACLAssociation and DeleteWebACLAssociation",
    ),
    ("wafv2:GetPermissionPolicy", "wafv2:*", "no rule group of another account is used"),
    ("wafv2:PutPermissionPolicy", "wafv2:*", "no rule group of another account is used"),
    ("*", "servicequotas:GetServiceQuota", "only for quotas of services that Stackdrop does not use"),
];

const OTHERS_OF_WAF: &str = "the web ACL protects a load balancer, and nothing of this service";

#[test]
fn dependent_actions_are_requested() {
    let reference: Value =
        serde_json::from_str(include_str!("../../../simulator/reference/actions.json")).unwrap();
    let mut requested: BTreeMap<&Principal, BTreeSet<&str>> = BTreeMap::new();
    for (principal, request) in &EVIDENCE.allowed {
        requested.entry(principal).or_default().insert(&request.action);
    }
    let mut missing = BTreeSet::new();
    let mut excused = BTreeSet::new();
    for (principal, actions) in &requested {
        for action in actions {
            let (service, operation) = action.split_once(':').unwrap();
            let dependents = &reference["services"][service]["actions"][operation]["also"];
            let dependents = dependents.as_array().into_iter().flatten().filter_map(Value::as_str);
            for dependent in dependents.filter(|dependent| !requested[principal].contains(dependent)) {
                match NOT_REQUESTED.iter().position(|entry| is_about(entry, action, dependent)) {
                    Some(entry) => _ = excused.insert(entry),
                    None => _ = missing.insert(format!("{action} depends on {dependent}")),
                }
            }
        }
    }
    let missing: Vec<String> = missing.into_iter().collect();
    assert!(
        missing.is_empty(),
        "request these in a rehearsal, or list them in NOT_REQUESTED with a reason:\n{}",
        missing.join("\n")
    );
    let unused =
        NOT_REQUESTED.iter().enumerate().filter(|(at, _)| !excused.contains(at)).map(|(_, entry)| entry.0);
    assert_eq!(unused.collect::<Vec<_>>(), Vec::<&str>::new(), "these exceptions are not needed");
}

fn is_about((dependents, of, _): &(&str, &str, &str), action: &str, dependent: &str) -> bool {
    let is = |pattern: &str, name: &str| match pattern.strip_suffix('*') {
        Some(start) => name.starts_with(start),
        None => pattern == name,
    };
    is(dependents, dependent) && is(of, action)
}
