//! The numbers of tasks in a rollback.
//!
//! An update that adds tasks and fails, for example because Fargate has no capacity, leaves ECS with the larger number also for
//! the previous revision, to which its circuit breaker returns: ECS would need new tasks to return, although the previous ones
//! are still running. So a rollback takes the number back before anything else.

use aws_sdk_ecs::types::{Deployment, Service};
use stackdrop_specs::Service as Spec;

use super::desired::keeps_count;
use super::observed::Observed;
use super::{cluster_name, scaling};
use crate::aws::error::{AwsResult, StepError};
use crate::aws::join;
use crate::contract::component::Work;

/// Takes back the numbers that the failed update raised.
pub(super) async fn take_back(work: &Work<'_>, observed: &Observed) -> Result<(), StepError> {
    let raised = work.spec.services.iter().filter_map(|(name, spec)| {
        let service = observed.active_service(work, name)?;
        let attempted = work.deployment.attempted.as_ref()?.services.get(name)?;
        let count = previous(work, name, service, spec, attempted)?;
        Some((name, spec, service.desired_count(), count))
    });
    let calls = raised.map(async |(name, spec, from, count)| {
        // First its range: auto scaling keeps to that of the update until then.
        scaling::apply(work, observed, name, spec).await?;
        let call = work.aws.ecs().update_service().cluster(cluster_name(work)).service(name);
        let call = call.desired_count(count).send().await;
        // A service without its load balancer is repaired by its own step, with the number.
        let call = call.unless(&["InvalidParameterException"]);
        let taken = call.doing(format!("taking back the number of tasks of ECS service {name}"))?.is_some();
        tracing::info!(name, from, count, taken, "The number of tasks that the update raised is taken back.");
        Ok::<_, StepError>(())
    });
    join::all(calls).await.map(drop)
}

/// The number of tasks before the update, if the update raised it.
fn previous(work: &Work<'_>, name: &str, service: &Service, spec: &Spec, attempted: &Spec) -> Option<i32> {
    let number = |count: u32| i32::try_from(count).unwrap_or(i32::MAX);
    let least = |spec: &Spec| number(spec.scaling.as_ref().map_or(spec.count, |scaling| scaling.min));
    let raises = least(attempted) > least(spec) && service.desired_count() <= least(attempted);
    if !raises {
        return None;
    }
    let count = if keeps_count(spec) {
        number(spec.count)
    } else if spec.scaling.is_some() {
        // Auto scaling chose a number from its range; the tasks that still run show which.
        running_before(work, name, service).max(least(spec))
    } else {
        return None;
    };
    (count < service.desired_count()).then_some(count)
}

/// How many tasks of the baseline's revision are running.
fn running_before(work: &Work<'_>, name: &str, service: &Service) -> i32 {
    let outputs = work.deployment.baseline.as_ref().and_then(|baseline| baseline.outputs.service.as_ref());
    let revision =
        outputs.and_then(|outputs| outputs.services.get(name)).map(|of| of.task_definition.as_str());
    let rollouts = service.deployments().iter();
    rollouts.filter(|rollout| rollout.task_definition() == revision).map(Deployment::running_count).sum()
}
