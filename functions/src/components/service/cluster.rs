//! The cluster: a name that services stand under.

use aws_sdk_ecs::types::{Cluster, ClusterSetting, ClusterSettingName};

use super::observed::Observed;
use super::{
    NAME, cluster_name, ecs_tags, keep_tags, not_owned, pending_if_passing, plan_not_owned, read_tags,
};
use crate::aws::error::{Answer, Refusal, StepError};
use crate::contract::component::Work;
use crate::deployment::deletion::Deletion;
use crate::deployment::plan::{Plan, Verb};

/// The cluster's logical ID.
pub(super) const LOGICAL_ID: &str = "cluster";

/// The cluster that is there to be used.
#[derive(Debug)]
pub(super) struct Usable {
    pub(super) arn: String,
    pub(super) is_active: bool,
}

pub(super) fn is_ours(work: &Work<'_>, cluster: &Cluster) -> bool {
    work.stack.owns(&read_tags(cluster.tags()))
}

fn is_going(cluster: &Cluster) -> bool {
    cluster.status() == Some("DEPROVISIONING")
}

pub(super) fn plan(work: &Work<'_>, observed: &Observed, plan: &mut Plan) {
    match &observed.cluster {
        None => {
            plan.change(Verb::Create, LOGICAL_ID);
        }
        Some(cluster) if !is_ours(work, cluster) => {
            plan_not_owned(LOGICAL_ID, "cluster", cluster_name(work), plan)
        }
        Some(cluster) if is_going(cluster) => {
            plan.change(Verb::Create, LOGICAL_ID);
        }
        Some(cluster) => {
            if cluster.status() != Some("ACTIVE") {
                plan.change(Verb::Wait, LOGICAL_ID);
            }
            plan.tags(&work.stack, NAME, LOGICAL_ID, &read_tags(cluster.tags()));
        }
    }
}

pub(super) async fn apply(work: &Work<'_>, observed: &Observed) -> Result<Usable, StepError> {
    let name = cluster_name(work);
    let Some(cluster) = &observed.cluster else { return create(work).await };
    if !is_ours(work, cluster) {
        return Err(not_owned("cluster", name));
    }
    if is_going(cluster) {
        return Err(StepError::pending(format!(
            "the old cluster {name}, which is being deleted, to be gone"
        )));
    }
    let arn = cluster.cluster_arn().ok_or_else(|| StepError::lacking("the cluster's ARN"))?;
    keep_tags(work, LOGICAL_ID, arn, &read_tags(cluster.tags())).await?;
    Ok(usable(cluster))
}

fn usable(cluster: &Cluster) -> Usable {
    Usable {
        arn: cluster.cluster_arn().unwrap_or_default().to_owned(),
        is_active: cluster.status() == Some("ACTIVE"),
    }
}

/// A repeated call answers with the cluster that is there, so the SDK may repeat it by itself.
async fn create(work: &Work<'_>) -> Result<Usable, StepError> {
    let name = cluster_name(work);
    // Said explicitly: an account's own default may be to turn it on, which costs money.
    let insights =
        ClusterSetting::builder().name(ClusterSettingName::ContainerInsights).value("disabled").build();
    let call = work
        .aws
        .ecs()
        .create_cluster()
        .cluster_name(name)
        .settings(insights)
        .set_tags(Some(ecs_tags(work.stack.tags(NAME, LOGICAL_ID))));
    let answer = call.send().await;
    if let Err(error) = &answer {
        pending_if_passing(work, &error.aws()).await?;
    }
    let answer = answer.doing(format!("creating the cluster {name}"))?;
    tracing::info!(name, "Cluster created.");
    answer.cluster.as_ref().map(usable).ok_or_else(|| StepError::lacking("the cluster"))
}

/// Deletes a cluster of ours, in which no service of ours is left.
pub(super) async fn delete(work: &Work<'_>, observed: &Observed) -> Result<Deletion, StepError> {
    let mut deletion = Deletion::default();
    let Some(cluster) = observed.cluster.as_ref().filter(|cluster| is_ours(work, cluster)) else {
        return Ok(deletion);
    };
    let name = cluster_name(work);
    if is_going(cluster) {
        deletion.remains(LOGICAL_ID, name, "being deleted");
        return Ok(deletion);
    }
    match work.aws.ecs().delete_cluster().cluster(name).send().await {
        Ok(answer) => {
            tracing::info!(name, "Cluster deleted.");
            if answer.cluster().is_some_and(|cluster| cluster.status() != Some("INACTIVE")) {
                deletion.remains(LOGICAL_ID, name, "being deleted");
            }
        }
        Err(error) => {
            let said = error.aws();
            let held = [
                "ClusterContainsContainerInstancesException",
                "ClusterContainsServicesException",
                "ClusterContainsTasksException",
                "UpdateInProgressException",
            ];
            if held.contains(&said.code.as_str()) {
                deletion.remains(LOGICAL_ID, name, held_by(work, observed, &said.to_string()));
            } else if said.code != "ClusterNotFoundException" {
                return Err(error).doing(format!("deleting the cluster {name}"));
            }
        }
    }
    Ok(deletion)
}

/// AWS's statement, with the services in the cluster that are not ours, if that is why.
fn held_by(work: &Work<'_>, observed: &Observed, said: &str) -> String {
    let strangers: Vec<&str> = observed
        .services
        .iter()
        .filter(|(_, service)| !work.stack.owns(&read_tags(service.tags())))
        .map(|(name, _)| name.as_str())
        .collect();
    if strangers.is_empty() {
        said.to_owned()
    } else {
        format!("{said} In it stand, not of this stack: {}", strangers.join(", "))
    }
}
