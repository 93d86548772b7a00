//! The permissions that a call needs.

use super::definitions::{self, Definition};
use super::tags_of;
use crate::authorization::AccessRequests;
use crate::params::Params;
use crate::world::{Tags, World};

/// The service that assumes the roles of a task definition.
const TASKS: &str = "ecs-tasks.amazonaws.com";

pub(super) fn access(world: &World, operation: &str, params: &Params, requests: &mut AccessRequests<'_>) {
    match operation {
        "CreateCluster" => create_cluster(world, params, requests),
        "DescribeClusters" => describe_clusters(world, params, requests),
        "DeleteCluster" => on_cluster(world, requests, params.text("cluster").as_deref()),
        "RegisterTaskDefinition" => register(world, params, requests),
        "DeleteTaskDefinitions" => delete_definitions(world, params, requests),
        "CreateService" => create_service(world, params, requests),
        "UpdateService" => update_service(world, params, requests),
        "DeleteService" | "ListServiceDeployments" => {
            on_services(world, params, requests, &[params.text("service").unwrap_or_default()]);
        }
        "DescribeServices" => on_services(world, params, requests, &params.list("services")),
        "DescribeServiceDeployments" => {
            on_parts_of_services(
                world,
                requests,
                "service-deployment",
                &params.list("serviceDeploymentArns"),
            );
        }
        "DescribeServiceRevisions" => {
            on_parts_of_services(world, requests, "service-revision", &params.list("serviceRevisionArns"));
        }
        "DescribeTasks" => on_tasks(world, params, requests, params.list("tasks")),
        "StopTask" => on_tasks(world, params, requests, params.text("task").into_iter().collect()),
        "StopServiceDeployment" => {
            let arn = params.text("serviceDeploymentArn").unwrap_or_default();
            on_parts_of_services(world, requests, "service-deployment", &[arn]);
        }
        "ListServices" | "ListTasks" => {
            requests.no_resource().key("ecs:cluster", cluster_arn(world, params.text("cluster").as_deref()));
        }
        "TagResource" | "UntagResource" | "ListTagsForResource" => by_arn(world, params, requests),
        _ => {
            requests.no_resource();
        }
    }
}

/// The name at the end of an ARN, or a name.
fn name(named: &str) -> &str {
    named.rsplit('/').next().unwrap_or(named)
}

fn cluster_arn(world: &World, named: Option<&str>) -> String {
    match named {
        Some(arn) if arn.starts_with("arn:") => arn.to_owned(),
        named => world.arn("ecs", &format!("cluster/{}", named.unwrap_or("default"))),
    }
}

/// The tags of the resource with this ARN, if it exists.
fn tags_at<'w>(world: &'w World, arn: &str) -> Option<&'w Tags> {
    let (kind, key) = arn.splitn(6, ':').nth(5)?.split_once('/')?;
    let ecs = &world.states.ecs;
    match kind {
        "cluster" => ecs.clusters.get(key).filter(|it| !it.is_inactive(world.now)).map(|it| &it.tags),
        "service" => ecs.services.get(key).filter(|it| !it.is_inactive()).map(|it| &it.tags),
        "task" => ecs.tasks.get(arn).map(|it| &it.tags),
        "task-definition" => definitions::find(world, arn).map(|it| &it.tags),
        _ => None,
    }
}

fn on_cluster(world: &World, requests: &mut AccessRequests<'_>, named: Option<&str>) {
    let arn = cluster_arn(world, named);
    requests.resource("cluster", &arn, tags_at(world, &arn));
}

fn describe_clusters(world: &World, params: &Params, requests: &mut AccessRequests<'_>) {
    let named = params.list("clusters");
    if named.is_empty() {
        on_cluster(world, requests, None);
    }
    for named in &named {
        on_cluster(world, requests, Some(named));
    }
}

fn create_cluster(world: &World, params: &Params, requests: &mut AccessRequests<'_>) {
    on_cluster(world, requests, params.text("clusterName").as_deref());
    let arn = cluster_arn(world, params.text("clusterName").as_deref());
    with_tags(params, requests, "CreateCluster", "cluster", &arn);
    requests.linked_role("ecs.amazonaws.com");
}

/// A creation with tags also needs the permission to tag. Source: "Grant permission to tag resources on creation" in
/// the ECS developer guide.
fn with_tags(params: &Params, requests: &mut AccessRequests<'_>, action: &str, kind: &str, arn: &str) {
    let tags = tags_of(params).unwrap_or_default();
    if tags.is_empty() {
        return;
    }
    requests.request_tags(&tags);
    requests
        .other_action("ecs:TagResource", kind, arn, None)
        .key("ecs:CreateAction", action)
        .request_tags(&tags);
}

/// The number of a new revision is not known yet: the request is for all revisions of the family.
fn register(world: &World, params: &Params, requests: &mut AccessRequests<'_>) {
    let arn = world.arn("ecs", &format!("task-definition/{}:*", params.text("family").unwrap_or_default()));
    requests.resource("task-definition", &arn, None);
    with_tags(params, requests, "RegisterTaskDefinition", "task-definition", &arn);
    for role in ["executionRoleArn", "taskRoleArn"].into_iter().filter_map(|key| params.text(key)) {
        requests.pass_role(&role, TASKS);
    }
}

fn delete_definitions(world: &World, params: &Params, requests: &mut AccessRequests<'_>) {
    for named in or_all(params.list("taskDefinitions")) {
        let arn = definitions::find(world, &named).map_or_else(
            || world.arn("ecs", &format!("task-definition/{}", name(&named))),
            |definition| definition.arn.clone(),
        );
        requests.resource("task-definition", &arn, tags_at(world, &arn));
    }
}

/// ECS refuses a call that names no resource, whatever IAM decides.
fn or_all(named: Vec<String>) -> Vec<String> {
    if named.is_empty() { vec!["*".into()] } else { named }
}

fn on_services(world: &World, params: &Params, requests: &mut AccessRequests<'_>, named: &[String]) {
    let cluster = cluster_arn(world, params.text("cluster").as_deref());
    for named in or_all(named.to_vec()) {
        let arn = service_arn(world, &cluster, &named);
        requests.resource("service", &arn, tags_at(world, &arn)).key("ecs:cluster", &cluster);
    }
}

fn service_arn(world: &World, cluster: &str, named: &str) -> String {
    if named.starts_with("arn:") {
        return named.to_owned();
    }
    world.arn("ecs", &format!("service/{}/{named}", name(cluster)))
}

fn create_service(world: &World, params: &Params, requests: &mut AccessRequests<'_>) {
    let named = params.text("serviceName").unwrap_or_default();
    let cluster = cluster_arn(world, params.text("cluster").as_deref());
    on_services(world, params, requests, std::slice::from_ref(&named));
    with_tags(params, requests, "CreateService", "service", &service_arn(world, &cluster, &named));
    pass_roles(world, params, requests);
    requests.linked_role("ecs.amazonaws.com");
}

fn update_service(world: &World, params: &Params, requests: &mut AccessRequests<'_>) {
    on_services(world, params, requests, &[params.text("service").unwrap_or_default()]);
    pass_roles(world, params, requests);
}

/// Unverified: ECS requires the permission to pass the roles of a task definition not only at its registration and
/// when a task is run (both seen in AWS's messages), but also when a service starts to use it.
fn pass_roles(world: &World, params: &Params, requests: &mut AccessRequests<'_>) {
    let named = params.text("taskDefinition");
    let definition = named.and_then(|named| definitions::find(world, &named));
    for role in definition.into_iter().flat_map(Definition::roles) {
        requests.pass_role(role, TASKS);
    }
}

/// Requests access to deployments or revisions (`service-deployment/CLUSTER/SERVICE/ID`) and to their services.
fn on_parts_of_services(world: &World, requests: &mut AccessRequests<'_>, kind: &str, arns: &[String]) {
    for arn in or_all(arns.to_vec()) {
        let key = arn.splitn(6, ':').nth(5).unwrap_or_default();
        let mut parts = key.split('/').skip(1);
        let (cluster, service) = (parts.next().unwrap_or("*"), parts.next().unwrap_or("*"));
        let cluster_arn = world.arn("ecs", &format!("cluster/{cluster}"));
        let service = world.arn("ecs", &format!("service/{cluster}/{service}"));
        requests.resource("service", &service, tags_at(world, &service)).key("ecs:cluster", &cluster_arn);
        requests.resource(kind, arn, None).key("ecs:cluster", cluster_arn).key("ecs:service", service);
    }
}

fn on_tasks(world: &World, params: &Params, requests: &mut AccessRequests<'_>, named: Vec<String>) {
    let cluster = cluster_arn(world, params.text("cluster").as_deref());
    for named in or_all(named) {
        let arn = world.arn("ecs", &format!("task/{}/{}", name(&cluster), name(&named)));
        requests.resource("task", &arn, tags_at(world, &arn)).key("ecs:cluster", &cluster);
    }
}

fn by_arn(world: &World, params: &Params, requests: &mut AccessRequests<'_>) {
    let arn = params.text("resourceArn").unwrap_or_default();
    let kind =
        arn.splitn(6, ':').nth(5).and_then(|resource| Some(resource.split_once('/')?.0)).unwrap_or_default();
    let kind = if ["cluster", "service", "task", "task-definition"].contains(&kind) { kind } else { "" };
    requests
        .resource(kind, &arn, tags_at(world, &arn))
        .request_tags(&tags_of(params).unwrap_or_default())
        .tag_keys(params.list("tagKeys"));
}

/// Requests the permissions that Application Auto Scaling checks before it scales a service, given as
/// `service/CLUSTER/SERVICE`.
pub(super) fn scaling(world: &World, resource: &str, requests: &mut AccessRequests<'_>) {
    let arn = world.arn("ecs", resource);
    let cluster = world.arn("ecs", &format!("cluster/{}", resource.split('/').nth(1).unwrap_or_default()));
    for action in ["ecs:DescribeServices", "ecs:UpdateService"] {
        requests.other_action(action, "service", &arn, tags_at(world, &arn)).key("ecs:cluster", &cluster);
    }
}
