//! What follows for the services from changes of other components: a new subnet, security group or target group moves the tasks,
//! although the service's own plan, which knows only the last deployment's IDs, is empty.

use std::collections::BTreeMap;

use super::{NAME, fargate};
use crate::deployment::component_names::{LOAD_BALANCER, NETWORK, SECURITY_GROUPS};
use crate::deployment::outputs::NetworkOutputs;
use crate::deployment::plan::{Change, ComponentPlan, FieldChange, Plan, Verb};
use crate::deployment::state::Deployment;

/// A plan's text for an ID that is unknown before the resource's creation.
const NEW: &str = "(new)";

/// Adds to the plan of the services what follows from the plans of the other components.
pub(crate) fn add(plans: &mut [ComponentPlan], deployment: &Deployment) {
    if deployment.destroying {
        return;
    }
    let outputs = deployment.baseline.as_ref().map(|baseline| &baseline.outputs);
    let changes = |component: &str| -> Vec<Change> {
        let of = plans.iter().find(|plan| plan.component == component);
        of.map(|of| of.plan.changes.clone()).unwrap_or_default()
    };
    let is =
        |change: &Change, verb: Verb, logical_id: &str| change.verb == verb && change.resource == logical_id;
    // Services keep their subnets when others are deleted: those of a failed update, which no service uses.
    let moves = changes(NETWORK)
        .iter()
        .any(|change| change.verb == Verb::Create && change.resource.starts_with("subnet/private/"));
    let regroups = changes(SECURITY_GROUPS).iter().any(|change| is(change, Verb::Create, "service"));
    let balancer = changes(LOAD_BALANCER);
    let mut followed: BTreeMap<&String, Vec<FieldChange>> = BTreeMap::new();
    for name in deployment.spec.services.keys() {
        let fields = followed.entry(name).or_default();
        if moves {
            let subnets = outputs.and_then(|outputs| outputs.network.as_ref()).map(NetworkOutputs::private);
            fields.push(FieldChange::new("subnets", subnets.unwrap_or_default().join(", "), NEW));
        }
        if regroups {
            let group = outputs.and_then(|outputs| outputs.security_groups.as_ref()?.service.clone());
            fields.push(FieldChange::new("securityGroups", group.unwrap_or_default(), NEW));
        }
        if balancer.iter().any(|change| is(change, Verb::Create, &format!("target-group/{name}"))) {
            let groups =
                outputs.and_then(|outputs| outputs.load_balancer.as_ref()).map(|of| &of.target_groups);
            let group = groups.and_then(|groups| groups.get(name)).cloned();
            fields.push(FieldChange::new("routes", group.unwrap_or_default(), NEW));
        }
    }
    if let Some(services) = plans.iter_mut().find(|plan| plan.component == NAME) {
        for (name, fields) in followed {
            follow(&mut services.plan, &fargate::logical_id(name), fields);
        }
    }
}

/// Adds the fields to the update of a service, unless the plan creates the service or has them already.
fn follow(plan: &mut Plan, logical_id: &str, fields: Vec<FieldChange>) {
    let mut of_service = plan.changes.iter().filter(|change| change.resource == logical_id);
    if of_service.any(|change| change.verb == Verb::Create) {
        return;
    }
    for field in fields {
        let of_service = plan.changes.iter().filter(|change| change.resource == logical_id);
        let is_known = of_service.flat_map(|change| &change.fields).any(|known| known.field == field.field);
        if !is_known {
            plan.update_field(Verb::Update, logical_id, field);
        }
    }
}
