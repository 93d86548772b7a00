//! The ECS cluster.

use aws_sdk_ecs::types::{Cluster, ClusterSetting, ClusterSettingName, DesiredStatus};

use super::observed::Observed;
use super::{
    NAME, cluster_name, ecs_tags, not_owned, plan_not_owned, read_tags, repair_tags, wait_if_transient,
};
use crate::aws::error::{AwsResult, Refusal, StepError};
use crate::contract::component::Work;
use crate::deployment::deletion::Deletion;
use crate::deployment::plan::{Plan, Verb};

/// The cluster's logical ID.
pub(super) const LOGICAL_ID: &str = "cluster";

/// A cluster that services can use.
#[derive(Debug)]
pub(super) struct Usable {
    pub(super) arn: String,
    pub(super) is_active: bool,
}

pub(super) fn is_ours(work: &Work<'_>, cluster: &Cluster) -> bool {
    work.stack.owns(&read_tags(cluster.tags()))
}

fn is_deprovisioning(cluster: &Cluster) -> bool {
    cluster.status() == Some("DEPROVISIONING")
}

pub(super) fn plan(work: &Work<'_>, observed: &Observed, plan: &mut Plan) {
    match &observed.cluster {
        None => {
            plan.change(Verb::Create, LOGICAL_ID);
        }
        Some(cluster) if !is_ours(work, cluster) => {
            plan_not_owned(work, LOGICAL_ID, "ECS cluster", cluster_name(work), plan);
        }
        Some(cluster) if is_deprovisioning(cluster) => {
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
        return Err(not_owned(work, "ECS cluster", name));
    }
    if is_deprovisioning(cluster) {
        return Err(StepError::pending(format!("the deletion of the previous ECS cluster {name}")));
    }
    let arn = cluster.cluster_arn().ok_or_else(|| StepError::incomplete("the cluster's ARN"))?;
    repair_tags(work, LOGICAL_ID, arn, &read_tags(cluster.tags())).await?;
    Ok(usable(cluster))
}

fn usable(cluster: &Cluster) -> Usable {
    Usable {
        arn: cluster.cluster_arn().unwrap_or_default().to_owned(),
        is_active: cluster.status() == Some("ACTIVE"),
    }
}

/// A repeated call returns the existing cluster, so the SDK may retry it.
async fn create(work: &Work<'_>) -> Result<Usable, StepError> {
    let name = cluster_name(work);
    // Explicit, because the account's default may turn it on, which costs money.
    let insights =
        ClusterSetting::builder().name(ClusterSettingName::ContainerInsights).value("disabled").build();
    let call = work
        .aws
        .ecs()
        .create_cluster()
        .cluster_name(name)
        .settings(insights)
        .set_tags(Some(ecs_tags(work.stack.tags(NAME, LOGICAL_ID))));
    let response = call.send().await;
    if let Err(error) = &response {
        wait_if_transient(work, &error.aws()).await?;
    }
    let response = response.doing(format!("creating ECS cluster {name}"))?;
    tracing::info!(name, "Cluster created.");
    response.cluster.as_ref().map(usable).ok_or_else(|| StepError::incomplete("the cluster"))
}

/// Deletes the cluster if this stack manages it, after its services.
pub(super) async fn delete(work: &Work<'_>, observed: &Observed) -> Result<Deletion, StepError> {
    let mut deletion = Deletion::default();
    let Some(cluster) = observed.cluster.as_ref().filter(|cluster| is_ours(work, cluster)) else {
        return Ok(deletion);
    };
    let name = cluster_name(work);
    if is_deprovisioning(cluster) {
        deletion.leaving(LOGICAL_ID, name, "is being deleted");
        return Ok(deletion);
    }
    match work.aws.ecs().delete_cluster().cluster(name).send().await {
        Ok(response) => {
            tracing::info!(name, "Cluster deleted.");
            if response.cluster().is_some_and(|cluster| cluster.status() != Some("INACTIVE")) {
                deletion.leaving(LOGICAL_ID, name, "is being deleted");
            }
        }
        Err(failure) => {
            let error = failure.aws();
            match error.code.as_str() {
                "ClusterContainsContainerInstancesException" | "ClusterContainsServicesException" => {
                    deletion.held(LOGICAL_ID, name, held_by(work, observed, &error.to_string()));
                }
                "ClusterContainsTasksException" => match running_tasks(work).await? {
                    0 => deletion.leaving(LOGICAL_ID, name, "its last tasks are stopping"),
                    tasks => {
                        let why = format!(
                            "it contains running tasks that no service of this stack started: {tasks}. Stop them"
                        );
                        deletion.held(LOGICAL_ID, name, why);
                    }
                },
                "UpdateInProgressException" => deletion.leaving(LOGICAL_ID, name, error.to_string()),
                "ClusterNotFoundException" => {}
                _ => return Err(failure).doing(format!("deleting ECS cluster {name}")),
            }
        }
    }
    Ok(deletion)
}

/// The number of tasks in the cluster that nobody is stopping.
async fn running_tasks(work: &Work<'_>) -> Result<usize, StepError> {
    let call = work.aws.ecs().list_tasks().cluster(cluster_name(work)).desired_status(DesiredStatus::Running);
    let response = call.send().await.unless(&["ClusterNotFoundException"]);
    let response = response.doing("listing the tasks in the cluster")?;
    Ok(response.map_or(0, |response| response.task_arns().len()))
}

/// AWS's message, with the services in the cluster that this stack does not manage.
fn held_by(work: &Work<'_>, observed: &Observed, message: &str) -> String {
    let not_owned: Vec<&str> = observed
        .services
        .iter()
        .filter(|(_, service)| !work.stack.owns(&read_tags(service.tags())))
        .map(|(name, _)| name.as_str())
        .collect();
    if not_owned.is_empty() {
        message.to_owned()
    } else {
        format!("{message} It contains services that are not managed by this stack: {}", not_owned.join(", "))
    }
}
