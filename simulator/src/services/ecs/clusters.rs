//! Clusters.

use std::time::Duration;

use serde_json::{Value, json};

use super::{UNSEEN_SECONDS, includes_tags, invalid, missing, page, part, tag_list, tags_of};
use crate::params::{Params, Refusal};
use crate::protocol::Reply;
use crate::services::iam;
use crate::world::{Tags, World};

#[derive(Debug, Clone)]
pub(super) struct Cluster {
    pub(super) name: String,
    pub(super) arn: String,
    pub(super) tags: Tags,
    settings: Value,
    seen_at: Duration,
    active_at: Duration,
    /// When it was, or will be, `INACTIVE`.
    inactive_at: Option<Duration>,
}

/// How long a new cluster is `PROVISIONING`. The model's value is mostly the provider's own first delay.
const PROVISIONING_SECONDS: f64 = 2.0;

impl Cluster {
    pub(super) fn is_inactive(&self, now: Duration) -> bool {
        self.inactive_at.is_some_and(|at| at <= now)
    }

    pub(super) fn is_active(&self, now: Duration) -> bool {
        self.inactive_at.is_none() && self.active_at <= now
    }

    fn status(&self, now: Duration) -> &'static str {
        match self.inactive_at {
            Some(at) if at <= now => "INACTIVE",
            Some(_) => "DEPROVISIONING",
            None if self.active_at <= now => "ACTIVE",
            None => "PROVISIONING",
        }
    }
}

pub(super) fn create(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let name = params.text("clusterName").unwrap_or_else(|| "default".into());
    let tags = tags_of(params)?;
    let settings = settings(params)?;
    params.done()?;
    let legal = |character: char| character.is_ascii_alphanumeric() || "-_".contains(character);
    if name.is_empty() || name.len() > 255 || !name.chars().all(legal) {
        return Err(invalid(
            "Identifier was not valid: a cluster's name has up to 255 letters, numbers, hyphens and underscores.",
        ));
    }
    service_linked_role(world)?;
    let now = world.now;
    if let Some(cluster) =
        world.states.ecs.clusters.get(&name).filter(|cluster| cluster.inactive_at.is_none())
    {
        return Ok(json!({ "cluster": document(world, cluster, true) }).into());
    }
    let cluster = Cluster {
        arn: world.arn("ecs", &format!("cluster/{name}")),
        name: name.clone(),
        tags,
        settings,
        seen_at: now + world.latency.seconds(UNSEEN_SECONDS),
        active_at: now + world.latency.seconds(PROVISIONING_SECONDS),
        inactive_at: None,
    };
    let answer = json!({ "cluster": document(world, &cluster, true) });
    world.states.ecs.clusters.insert(name, cluster);
    Ok(answer.into())
}

/// The first call of a new account finds no service-linked role: it fails, but creates the role, so a call some seconds later
/// succeeds. Source: `retryClusterCreate` in `internal/service/ecs/cluster.go` of terraform-provider-aws.
pub(super) fn service_linked_role(world: &mut World) -> Result<(), Refusal> {
    if !iam::ensure_service_linked(world, "ecs.amazonaws.com") {
        world.states.ecs.linked_at = world.ready("iam_role_assumable_by_service");
    }
    if world.states.ecs.linked_at <= world.now {
        return Ok(());
    }
    Err(invalid(
        "Unable to assume the service linked role. Please verify that the ECS service linked role exists.",
    ))
}

pub(super) fn describe(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let mut names = params.list("clusters");
    let with_tags = includes_tags(params, &["SETTINGS", "STATISTICS", "CONFIGURATIONS", "ATTACHMENTS"])?;
    params.done()?;
    if names.len() > 100 {
        return Err(invalid("Clusters cannot have more than 100 elements."));
    }
    if names.is_empty() {
        names.push("default".into());
    }
    let (mut clusters, mut failures) = (Vec::new(), Vec::new());
    for name in names {
        match seen(world, &name) {
            Some(cluster) => clusters.push(document(world, cluster, with_tags)),
            None => failures.push(missing(&arn_of(world, &name))),
        }
    }
    Ok(json!({ "clusters": clusters, "failures": failures }).into())
}

pub(super) fn list(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let now = world.now;
    let clusters = world.states.ecs.clusters.values();
    let live = clusters.filter(|cluster| cluster.seen_at <= now && !cluster.is_inactive(now));
    page(params, "clusterArns", live.map(|cluster| json!(cluster.arn)).collect(), 100)
}

pub(super) fn delete(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let name = params.text("cluster").unwrap_or_default();
    params.done()?;
    let cluster = seen(world, &name).ok_or_else(not_found)?.name.clone();
    if world.states.ecs.services.values().any(|service| service.cluster == cluster && !service.is_inactive())
    {
        return Err(Refusal::new(
            "ClusterContainsServicesException",
            "The Cluster cannot be deleted while Services are active.",
        ));
    }
    if world.states.ecs.tasks.values().any(|task| task.cluster == cluster && !task.ended) {
        return Err(Refusal::new(
            "ClusterContainsTasksException",
            "The Cluster cannot be deleted while Tasks are active.",
        ));
    }
    begin_deletion(world, &cluster);
    let document = world.states.ecs.clusters.get(&cluster).map(|cluster| document(world, cluster, true));
    Ok(json!({ "cluster": document }).into())
}

/// Begins the deletion of a cluster. Returns its ARN if it exists.
pub(super) fn begin_deletion(world: &mut World, name: &str) -> Option<String> {
    let (now, gone) = (world.now, world.gone("ecs_cluster"));
    let cluster = world.states.ecs.clusters.get_mut(name).filter(|cluster| !cluster.is_inactive(now))?;
    cluster.inactive_at.get_or_insert(gone);
    Some(cluster.arn.clone())
}

/// The name of the request's cluster (`default` if there is none), which must be usable.
///
/// # Errors
/// `ClusterNotFoundException`, also for a cluster that is not `ACTIVE`.
pub(super) fn usable(world: &World, named: Option<&str>) -> Result<String, Refusal> {
    let cluster = seen(world, named.unwrap_or("default")).ok_or_else(not_found)?;
    if cluster.is_active(world.now) { Ok(cluster.name.clone()) } else { Err(not_found()) }
}

/// The name of the request's cluster, which must exist.
///
/// # Errors
/// `ClusterNotFoundException`.
pub(super) fn known(world: &World, named: Option<&str>) -> Result<String, Refusal> {
    seen(world, named.unwrap_or("default")).map(|cluster| cluster.name.clone()).ok_or_else(not_found)
}

fn seen<'a>(world: &'a World, named: &str) -> Option<&'a Cluster> {
    let cluster = world.states.ecs.clusters.get(named.rsplit('/').next().unwrap_or(named))?;
    let is_it = !named.starts_with("arn:") || cluster.arn == named;
    (is_it && cluster.seen_at <= world.now).then_some(cluster)
}

fn arn_of(world: &World, named: &str) -> String {
    if named.starts_with("arn:") { named.into() } else { world.arn("ecs", &format!("cluster/{named}")) }
}

fn not_found() -> Refusal {
    Refusal::new("ClusterNotFoundException", "Cluster not found.")
}

/// The only cluster setting of ECS: Container Insights.
fn settings(params: &Params) -> Result<Value, Refusal> {
    let settings: Option<Vec<Value>> = part(params, "settings")?;
    for setting in settings.iter().flatten() {
        let legal = matches!(setting["value"].as_str(), Some("enabled" | "disabled" | "enhanced"));
        if setting["name"] != "containerInsights" || !legal {
            return Err(invalid("Invalid cluster setting."));
        }
    }
    Ok(json!(settings.unwrap_or_default()))
}

fn document(world: &World, cluster: &Cluster, with_tags: bool) -> Value {
    let tasks = || world.states.ecs.tasks.values().filter(|task| task.cluster == cluster.name);
    let running = tasks().filter(|task| task.status(world.now) == "RUNNING").count();
    let pending = tasks().filter(|task| matches!(task.status(world.now), "PROVISIONING" | "PENDING")).count();
    let services = world.states.ecs.services.values();
    let active = services.filter(|service| service.cluster == cluster.name && service.is_active()).count();
    json!({
        "clusterArn": cluster.arn,
        "clusterName": cluster.name,
        "status": cluster.status(world.now),
        "registeredContainerInstancesCount": 0,
        "runningTasksCount": running,
        "pendingTasksCount": pending,
        "activeServicesCount": active,
        "statistics": [],
        "tags": if with_tags { tag_list(&cluster.tags) } else { json!([]) },
        "settings": cluster.settings,
        "capacityProviders": [],
        "defaultCapacityProviderStrategy": [],
    })
}
