//! Compares what a deployment did with its plan: a plan must name every change (invariant 9 of ARCHITECTURE.md).

use std::time::Duration;

use serde::Deserialize;
use stackdrop_functions::deployment::effect::{Effect, EffectKind};
use stackdrop_functions::deployment::plan::{Change, ComponentPlan, Verb};
use stackdrop_simulator::{Call, Ending};
use stackdrop_statemachine::{Outcome, Step};

use super::announces;

/// The calls of a component that change one kind of its resources. A kind is the start of a logical ID.
struct Writes {
    component: &'static str,
    kinds: &'static [&'static str],
    operations: &'static [&'static str],
}

const fn writes(
    component: &'static str,
    kinds: &'static [&'static str],
    operations: &'static [&'static str],
) -> Writes {
    Writes { component, kinds, operations }
}

/// Every writing call of the components, except those that change tags.
const WRITES: [Writes; 35] = [
    writes("network", &["vpc"], &["CreateVpc", "ModifyVpcAttribute", "DeleteVpc"]),
    // A new VPC has a default security group, whose rules are deleted.
    writes(
        "network",
        &["default-security-group", "vpc"],
        &["RevokeSecurityGroupIngress", "RevokeSecurityGroupEgress"],
    ),
    writes("network", &["subnet"], &["CreateSubnet", "ModifySubnetAttribute", "DeleteSubnet"]),
    writes("network", &["flow-log"], &["CreateFlowLogs", "DeleteFlowLogs"]),
    writes(
        "network",
        &["internet-gateway"],
        &["CreateInternetGateway", "AttachInternetGateway", "DetachInternetGateway", "DeleteInternetGateway"],
    ),
    writes("network", &["route-table"], &["CreateRouteTable", "CreateRoute", "ReplaceRoute"]),
    writes("network", &["route-table"], &["DeleteRoute", "DeleteRouteTable"]),
    // The association of a subnet is a field of the subnet.
    writes(
        "network",
        &["route-table", "subnet"],
        &["AssociateRouteTable", "ReplaceRouteTableAssociation", "DisassociateRouteTable"],
    ),
    writes("network", &["endpoint"], &["CreateVpcEndpoint", "DeleteVpcEndpoints"]),
    // A route table that is deleted leaves its endpoint before.
    writes("network", &["endpoint", "route-table"], &["ModifyVpcEndpoint"]),
    writes("security-groups", &[""], &["CreateSecurityGroup", "DeleteSecurityGroup"]),
    writes("security-groups", &[""], &["AuthorizeSecurityGroupIngress", "AuthorizeSecurityGroupEgress"]),
    writes("security-groups", &[""], &["RevokeSecurityGroupIngress", "RevokeSecurityGroupEgress"]),
    writes(
        "database",
        &["instance"],
        &[
            "CreateDBInstance",
            "RestoreDBInstanceFromDBSnapshot",
            "ModifyDBInstance",
            "StartDBInstance",
            "RebootDBInstance",
            "DeleteDBInstance",
        ],
    ),
    // A new instance has a new secret.
    writes("database", &["secret", "instance"], &["RotateSecret"]),
    writes(
        "database",
        &["parameter-group"],
        &["CreateDBParameterGroup", "ModifyDBParameterGroup", "DeleteDBParameterGroup"],
    ),
    writes(
        "database",
        &["subnet-group"],
        &["CreateDBSubnetGroup", "ModifyDBSubnetGroup", "DeleteDBSubnetGroup"],
    ),
    writes(
        "load-balancer",
        &["load-balancer"],
        &["CreateLoadBalancer", "ModifyLoadBalancerAttributes", "SetSubnets", "SetSecurityGroups"],
    ),
    writes("load-balancer", &["load-balancer"], &["AssociateWebACL", "DisassociateWebACL"]),
    writes("load-balancer", &["load-balancer"], &["DeleteLoadBalancer"]),
    writes(
        "load-balancer",
        &["target-group"],
        &["CreateTargetGroup", "ModifyTargetGroup", "ModifyTargetGroupAttributes", "DeleteTargetGroup"],
    ),
    writes("load-balancer", &["listener"], &["CreateListener", "ModifyListener", "DeleteListener"]),
    writes("load-balancer", &["rule"], &["CreateRule", "ModifyRule", "SetRulePriorities", "DeleteRule"]),
    writes("load-balancer", &["certificate"], &["RequestCertificate", "DeleteCertificate"]),
    writes("load-balancer", &["certificate", "alias-record"], &["ChangeResourceRecordSets"]),
    writes("egress", &["address"], &["AllocateAddress", "ReleaseAddress"]),
    writes("egress", &["nat"], &["CreateNatGateway", "DeleteNatGateway"]),
    writes("egress", &["route"], &["CreateRoute", "ReplaceRoute", "DeleteRoute"]),
    writes("egress", &["endpoint"], &["CreateVpcEndpoint", "ModifyVpcEndpoint", "DeleteVpcEndpoints"]),
    writes(
        "instance",
        &["instance"],
        &["RunInstances", "StartInstances", "StopInstances", "TerminateInstances", "ModifyVolume"],
    ),
    // An instance that started without its profile has it attached later; the profile is attached to the instance.
    writes(
        "instance",
        &["instance", "profile"],
        &[
            "ModifyInstanceAttribute",
            "ModifyInstanceMetadataOptions",
            "DisassociateAddress",
            "ModifyNetworkInterfaceAttribute",
            "AssociateIamInstanceProfile",
            "ReplaceIamInstanceProfileAssociation",
            "CreateInstanceProfile",
            "AddRoleToInstanceProfile",
            "RemoveRoleFromInstanceProfile",
            "DeleteInstanceProfile",
        ],
    ),
    writes(
        "",
        &["role", "AWSServiceRoleFor", "service-linked-role"],
        &[
            "CreateRole",
            "PutRolePolicy",
            "PutRolePermissionsBoundary",
            "AttachRolePolicy",
            "UpdateAssumeRolePolicy",
            "DeleteRolePolicy",
            "DetachRolePolicy",
            "DeleteRole",
            "CreateServiceLinkedRole",
        ],
    ),
    writes(
        "service",
        &["cluster", "log-group"],
        &["CreateCluster", "DeleteCluster", "CreateLogGroup", "PutRetentionPolicy", "DeleteLogGroup"],
    ),
    writes(
        "service",
        &["service", "task-definition"],
        &[
            "RegisterTaskDefinition",
            "DeregisterTaskDefinition",
            "DeleteTaskDefinitions",
            "CreateService",
            "UpdateService",
            "DeleteService",
        ],
    ),
    writes(
        "service",
        &["scalable-target", "scaling-policy"],
        &["RegisterScalableTarget", "DeregisterScalableTarget", "PutScalingPolicy", "DeleteScalingPolicy"],
    ),
];

/// Whether a call by others changes something that the plan of a running deployment could not know.
pub(super) fn disturbs(call: &Call) -> bool {
    let by_execution = call.caller.contains('/');
    let irrelevant = ["s3", "states", "scheduler"].contains(&call.service.as_str()) || announces(call);
    !by_execution && !irrelevant && took_effect(call)
}

fn took_effect(call: &Call) -> bool {
    call.writes && !matches!(call.ending, Ending::Refused(_) | Ending::LostBefore)
}

/// The writing calls of a deployment that its plan hides, each with the reason. What follows a failure, the rollback, is not
/// planned; nor is the destruction of a stack, which deletes everything.
pub(super) fn calls(outcome: &Outcome, calls: &[Call], started_at: Duration) -> Vec<String> {
    let Some(state) = planned_state(outcome) else { return Vec::new() };
    let plans = state.get("plan").map(Vec::<ComponentPlan>::deserialize);
    let Some(Ok(plans)) = plans else { return Vec::new() };
    if plans.is_empty() {
        return Vec::new();
    }
    if state["destroying"] == true {
        return unannounced(state, &plans, calls.iter().filter(|call| took_effect(call)));
    }
    let only_plans = state["source"]["planOnly"] == true
        || state["reportOnly"] == true
        || state["review"]["blocked"] == true;
    let until = started_at + Duration::from_secs_f64(rolled_back_at(outcome).unwrap_or(f64::from(u32::MAX)));
    let restarts = restarts(outcome);
    let of_restart = |call: &Call| {
        restarts.iter().any(|(from, to)| (started_at + *from..=started_at + *to).contains(&call.at))
    };
    let done = calls.iter().filter(|call| took_effect(call) && call.at <= until && !of_restart(call));
    let mut hidden: Vec<String> = done
        .clone()
        .filter_map(|call| {
            let component = component_of(call)?;
            let name = call.name();
            let why = if only_plans {
                "although the deployment was only planned".to_owned()
            } else {
                hidden(call, &plans.iter().find(|plan| plan.component == component)?.plan.changes, component)?
            };
            Some(format!("{component}: {name} {why}"))
        })
        .collect();
    hidden.extend(unannounced(state, &plans, done));
    hidden.sort();
    hidden.dedup();
    hidden
}

/// The calls that delete a database or an instance, with its disk, though no effect of the plan says so. What a deployment
/// without a baseline deletes has no data.
fn unannounced<'c>(
    state: &serde_json::Value,
    plans: &[ComponentPlan],
    done: impl Iterator<Item = &'c Call>,
) -> Vec<String> {
    let says_so = |component: &str| {
        let effects = plans.iter().filter(|of| of.component == component).flat_map(|of| &of.plan.effects);
        let is_loss = |effect: &Effect| {
            matches!(effect.kind, EffectKind::DeletesData | EffectKind::CannotBeUndone)
                && effect.resource == "instance"
        };
        effects.into_iter().any(is_loss)
    };
    let deletes = |call: &&Call| match (call.operation.as_str(), component_of(call)) {
        ("DeleteDBInstance", Some("database")) => true,
        // A second copy of an instance that the deployment itself started is terminated too.
        ("TerminateInstances", Some("instance")) => {
            state["destroying"] == true || state["spec"]["instance"].is_null()
        }
        _ => false,
    };
    let has_data = !state["baseline"].is_null();
    let losses =
        done.filter(deletes).filter(|call| has_data && component_of(call).is_some_and(|of| !says_so(of)));
    losses.map(|call| format!("{} deletes data, and no effect of the plan says so", call.name())).collect()
}

/// The last state of the deployment that has its plan.
fn planned_state(outcome: &Outcome) -> Option<&serde_json::Value> {
    let inputs = outcome.history.iter().rev().filter_map(|event| event.detail.input());
    inputs.into_iter().find(|input| input["plan"].as_array().is_some_and(|plan| !plan.is_empty()))
}

/// When services were restarted first, because a secret had changed: that was in the plan before, not in the last one.
fn restarts(outcome: &Outcome) -> Vec<(Duration, Duration)> {
    let steps = outcome.steps.iter().filter(|step| step.name == "RestartServices");
    steps.map(|step| (Duration::from_secs_f64(step.start), Duration::from_secs_f64(step.end))).collect()
}

/// When the rollback began, in seconds since the execution's start.
fn rolled_back_at(outcome: &Outcome) -> Option<f64> {
    let deletes = |step: &&Step| step.name == "RollBack" || step.name.starts_with("Delete");
    outcome.steps.iter().find(deletes).map(|step| step.start)
}

/// The component whose resource a call changes; `None` for records and announcements, and for the stack's schedule, which
/// belongs to no component.
fn component_of(call: &Call) -> Option<&str> {
    if announces(call) || ["s3", "states", "scheduler"].contains(&call.service.as_str()) {
        return None;
    }
    match call.caller.split('/').nth(1) {
        // Conclude turns on the deletion protection of the database and of the load balancer.
        Some("conclude") if call.service == "elasticloadbalancing" => Some("load-balancer"),
        Some("conclude") => Some("database"),
        component => component,
    }
}

/// Why the plan of a component hides a call; `None` if it names the change.
fn hidden(call: &Call, changes: &[Change], component: &str) -> Option<String> {
    if changes.is_empty() {
        return Some("although the component's plan is empty".into());
    }
    let operation = call.operation.as_str();
    if changes_tags(operation) {
        let tags = |change: &Change| change.verb != Verb::Wait;
        return (!changes.iter().any(tags)).then(|| "without a planned change".into());
    }
    let known: Vec<&Writes> = WRITES
        .iter()
        .filter(|writes| {
            ["", component].contains(&writes.component) && writes.operations.contains(&operation)
        })
        .collect();
    if known.is_empty() {
        return Some("which the table in src/rehearsal/unplanned.rs lacks".into());
    }
    let kinds: Vec<&str> = known.iter().flat_map(|writes| writes.kinds).copied().collect();
    let of_kind = |change: &&Change| kinds.iter().any(|kind| change.resource.starts_with(kind));
    if changes.iter().filter(of_kind).any(|change| allows(change.verb, operation)) {
        return None;
    }
    let planned: Vec<String> =
        changes.iter().map(|change| format!("{:?} {}", change.verb, change.resource)).collect();
    Some(format!("without a planned change of {}; planned: {}", kinds.join(" or "), planned.join(", ")))
}

/// Whether a planned change of a resource includes a call. Updates may replace the resource.
fn allows(verb: Verb, operation: &str) -> bool {
    let creates =
        ["Create", "Restore", "Run", "Allocate", "Request"].iter().any(|verb| operation.starts_with(verb));
    match verb {
        Verb::Create | Verb::Update | Verb::Restart => true,
        Verb::Delete => !creates,
        Verb::Wait => false,
    }
}

fn changes_tags(operation: &str) -> bool {
    let tags = ["Tag", "Untag", "CreateTags", "DeleteTags", "AddTags", "RemoveTags"];
    tags.iter().any(|start| operation.starts_with(start))
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use stackdrop_functions::deployment::plan::Plan;

    use super::*;

    fn call(component: &str, service: &str, operation: &str) -> Call {
        Call {
            number: 0,
            at: Duration::ZERO,
            caller: format!("deployment-1/{component}/delete"),
            service: service.into(),
            operation: operation.into(),
            occurrence: 1,
            writes: true,
            named: Vec::new(),
            ending: Ending::Done,
        }
    }

    fn plans(kind: Option<EffectKind>) -> Vec<ComponentPlan> {
        let effect =
            |kind| Effect { kind, resource: "instance".into(), what: "deletes it".into(), word: None };
        let plan = Plan { effects: kind.map(effect).into_iter().collect(), ..Plan::default() };
        ["database", "instance"]
            .map(|component| ComponentPlan { component: component.into(), plan: plan.clone() })
            .into()
    }

    #[test]
    fn a_deletion_of_data_that_no_effect_announced_is_found() {
        let deletions =
            [call("database", "rds", "DeleteDBInstance"), call("instance", "ec2", "TerminateInstances")];
        let found =
            |state: &serde_json::Value, kind| unannounced(state, &plans(kind), deletions.iter()).len();
        let update =
            |instance| json!({ "baseline": {}, "destroying": false, "spec": { "instance": instance } });
        assert_eq!(found(&update(json!(null)), None), 2);
        assert_eq!(found(&update(json!(null)), Some(EffectKind::Interrupts)), 2);
        assert_eq!(found(&update(json!(null)), Some(EffectKind::DeletesData)), 0);
        assert_eq!(found(&update(json!({})), None), 1, "a copy of the instance is terminated");
        let destroy = json!({ "baseline": {}, "destroying": true, "spec": { "instance": {} } });
        assert_eq!(found(&destroy, None), 2);
        assert_eq!(found(&destroy, Some(EffectKind::CannotBeUndone)), 0);
        let first = json!({ "baseline": null, "destroying": true, "spec": { "instance": {} } });
        assert_eq!(found(&first, None), 0, "no deployment has succeeded");
    }
}
