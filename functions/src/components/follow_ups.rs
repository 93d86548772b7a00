//! What follows in one component from a change in another. The components plan side by side and know only the last
//! deployment's IDs of each other: none sees that a new subnet moves the tasks, or that a new database has a new secret.

use std::collections::BTreeMap;

use stackdrop_specs::{DatabaseValue, Service, Spec};

use crate::deployment::component_names::{
    DATABASE, EGRESS, INSTANCE, LOAD_BALANCER, NETWORK, SECURITY_GROUPS, SERVICE,
};
use crate::deployment::endpoint_services::endpoint_services;
use crate::deployment::outputs::{NetworkOutputs, Outputs};
use crate::deployment::plan::{Change, ComponentPlan, DatabaseValues, FieldChange, Plan, TaskValues, Verb};
use crate::deployment::state::Deployment;

/// A plan's text for an ID that is unknown before the resource's creation.
const NEW: &str = "(new)";

/// A new resource of one component that is entered in resources of another one.
struct Rule {
    /// The component of the new resource, and the start of its logical ID.
    cause: (&'static str, &'static str),
    /// The component that follows, its resources and the field.
    follower: &'static str,
    resources: fn(&Spec) -> Vec<String>,
    field: &'static str,
    /// The field's value in the last deployment.
    before: fn(&Outputs) -> Option<String>,
}

/// Deleted subnets and groups need no rule: nothing uses them any more.
const RULES: [Rule; 9] = [
    Rule {
        cause: (NETWORK, "subnet/public/"),
        follower: LOAD_BALANCER,
        resources: balancers,
        field: "subnets",
        before: |outputs| Some(outputs.network.as_ref()?.public().join(", ")),
    },
    Rule {
        cause: (NETWORK, "subnet/database/"),
        follower: DATABASE,
        resources: |_| vec!["subnet-group".into()],
        field: "subnets",
        before: |outputs| Some(database_subnets(outputs.network.as_ref()?)),
    },
    Rule {
        cause: (NETWORK, "subnet/private/"),
        follower: EGRESS,
        resources: endpoints,
        field: "subnets",
        before: |outputs| Some(outputs.network.as_ref()?.private().join(", ")),
    },
    Rule {
        cause: (NETWORK, "subnet/private/"),
        follower: SERVICE,
        resources: services,
        field: "subnets",
        before: |outputs| Some(outputs.network.as_ref()?.private().join(", ")),
    },
    Rule {
        cause: (SECURITY_GROUPS, "load-balancer"),
        follower: LOAD_BALANCER,
        resources: balancers,
        field: "securityGroups",
        before: |outputs| outputs.security_groups.as_ref()?.load_balancer.clone(),
    },
    Rule {
        cause: (SECURITY_GROUPS, "database"),
        follower: DATABASE,
        resources: |spec| spec.database.iter().map(|_| "instance".to_owned()).collect(),
        field: "securityGroups",
        before: |outputs| outputs.security_groups.as_ref()?.database.clone(),
    },
    Rule {
        cause: (SECURITY_GROUPS, "endpoints"),
        follower: EGRESS,
        resources: endpoints,
        field: "securityGroups",
        before: |outputs| outputs.security_groups.as_ref()?.endpoints.clone(),
    },
    Rule {
        cause: (SECURITY_GROUPS, "instance"),
        follower: INSTANCE,
        resources: |spec| spec.instance.iter().map(|_| "instance".to_owned()).collect(),
        field: "securityGroups",
        before: |outputs| outputs.security_groups.as_ref()?.instance.clone(),
    },
    Rule {
        cause: (SECURITY_GROUPS, "service"),
        follower: SERVICE,
        resources: services,
        field: "securityGroups",
        before: |outputs| outputs.security_groups.as_ref()?.service.clone(),
    },
];

fn balancers(spec: &Spec) -> Vec<String> {
    spec.load_balancer.iter().map(|_| "load-balancer".to_owned()).collect()
}

fn endpoints(spec: &Spec) -> Vec<String> {
    endpoint_services(spec).into_iter().map(|service| format!("endpoint/{service}")).collect()
}

fn services(spec: &Spec) -> Vec<String> {
    spec.services.keys().map(|name| service_id(name)).collect()
}

fn service_id(name: &str) -> String {
    format!("service/{name}")
}

fn database_subnets(network: &NetworkOutputs) -> String {
    network.database_subnets.values().cloned().collect::<Vec<_>>().join(", ")
}

/// Adds what follows from the plans of other components to each component's plan.
pub(crate) fn add(plans: &mut [ComponentPlan], deployment: &Deployment) {
    let used: BTreeMap<String, TaskValues> =
        plan_of(plans, SERVICE).map(|plan| std::mem::take(&mut plan.tasks)).unwrap_or_default();
    let values = plan_of(plans, DATABASE).and_then(|plan| plan.database.take());
    if deployment.destroying {
        return;
    }
    let outputs = deployment.baseline.as_ref().map(|baseline| &baseline.outputs);
    for rule in RULES {
        let before = outputs.and_then(rule.before).unwrap_or_default();
        if creates(plans, rule.cause.0, rule.cause.1) {
            for resource in (rule.resources)(&deployment.spec) {
                follow(plans, rule.follower, &resource, FieldChange::new(rule.field, &before, NEW));
            }
        }
    }
    let groups = outputs.and_then(|outputs| outputs.load_balancer.as_ref()).map(|of| &of.target_groups);
    for name in deployment.spec.services.keys() {
        if creates(plans, LOAD_BALANCER, &format!("target-group/{name}")) {
            let before = groups.and_then(|groups| groups.get(name)).cloned().unwrap_or_default();
            follow(plans, SERVICE, &service_id(name), FieldChange::new("routes", before, NEW));
        }
    }
    if let (Some(values), Some(plan)) = (values, plan_of(plans, SERVICE)) {
        for (name, used) in used {
            if let Some(service) = deployment.spec.services.get(&name) {
                follow_database(plan, &name, service, &used, &values);
                if values.rotates && service.database.values().any(|value| *value == DatabaseValue::Password)
                {
                    restart(plan, &service_id(&name));
                }
            }
        }
    }
}

fn plan_of<'p>(plans: &'p mut [ComponentPlan], component: &str) -> Option<&'p mut Plan> {
    plans.iter_mut().find(|plan| plan.component == component).map(|plan| &mut plan.plan)
}

/// Whether a component's plan creates a resource with this logical ID, or with one that starts with it and a slash.
fn creates(plans: &[ComponentPlan], component: &str, logical_id: &str) -> bool {
    let of_component = plans.iter().filter(|plan| plan.component == component);
    let is = |change: &Change| {
        change.verb == Verb::Create
            && (change.resource == logical_id
                || logical_id.ends_with('/') && change.resource.starts_with(logical_id))
    };
    of_component.flat_map(|plan| &plan.plan.changes).any(is)
}

/// Adds a field to the update of a resource, unless the plan creates the resource or has the field already.
fn follow(plans: &mut [ComponentPlan], component: &str, logical_id: &str, field: FieldChange) {
    if let Some(plan) = plan_of(plans, component) {
        update(plan, logical_id, field);
    }
}

fn update(plan: &mut Plan, logical_id: &str, field: FieldChange) {
    let is_known = |change: &Change| {
        // A load balancer with a subnet in each zone.
        let zones = field.field == "subnets" && change.fields.iter().any(|known| known.field == "zones");
        change.verb == Verb::Create || zones || change.fields.iter().any(|known| known.field == field.field)
    };
    let mut of_resource = plan.changes.iter().filter(|change| change.resource == logical_id);
    if !of_resource.any(is_known) {
        plan.update_field(Verb::Update, logical_id, field);
    }
}

/// Adds what follows for the tasks of a service if the database's host or secret is not the one that they have: a new revision,
/// a rollout, and other access of the role that reads the secret.
fn follow_database(
    plan: &mut Plan,
    name: &str,
    service: &Service,
    used: &TaskValues,
    values: &DatabaseValues,
) {
    let definition = format!("task-definition/{name}");
    let is_new_secret = values.secret != used.secret;
    // The host's name consists of the instance's identifier, the account and the region: a new instance has the same one.
    let new_host = values.host.as_ref().filter(|host| used.host.as_ref().is_some_and(|used| used != *host));
    let mut differs = false;
    for (variable, value) in &service.database {
        let shown = |secret: &Option<String>| secret.clone().unwrap_or_else(|| NEW.to_owned());
        if value.is_secret() && is_new_secret {
            let field = format!("secrets.{variable}");
            update(plan, &definition, FieldChange::new(&field, shown(&used.secret), shown(&values.secret)));
            differs = true;
        } else if let (DatabaseValue::Host, Some(host)) = (value, new_host) {
            let (field, from) = (format!("environment.{variable}"), used.host.clone().unwrap_or_default());
            update(plan, &definition, FieldChange::new(&field, from, host));
            differs = true;
        }
    }
    if !differs {
        return;
    }
    let field = FieldChange::new("taskDefinition", &used.revision, "a new revision");
    update(plan, &service_id(name), field);
    if used.is_pruned {
        delete(plan, format!("{definition} ({})", used.revision));
    }
    if is_new_secret && service.database.values().any(|value| value.is_secret()) {
        let (from, to) = ("access to the previous secret", "access to the database's new secret");
        update(plan, "role/execution", FieldChange::new("policy", from, to));
        if let Some(secret) = &used.secret {
            delete(plan, format!("role/execution (access to {secret})"));
        }
    }
}

/// Adds the restart of a service: its tasks have a password that is being changed.
fn restart(plan: &mut Plan, logical_id: &str) {
    let starts = |change: &Change| [Verb::Create, Verb::Restart].contains(&change.verb);
    if !plan.changes.iter().any(|change| change.resource == logical_id && starts(change)) {
        let field = FieldChange::new("tasks", "with a password that is being changed", "new ones");
        plan.update_field(Verb::Restart, logical_id, field);
    }
}

fn delete(plan: &mut Plan, resource: String) {
    if !plan.changes.iter().any(|change| change.verb == Verb::Delete && change.resource == resource) {
        plan.change(Verb::Delete, resource);
    }
}
