//! The EC2 instance, its instance profile and its IAM role. People reach it only through Systems Manager.

mod association;
mod capacity;
mod disk;
mod observed;
mod offers;
mod offline;
mod profile;
mod server;
mod wait;

use serde_json::json;

use crate::aws::error::StepError;
use crate::contract::component::{Component, Work};
use crate::contract::handler::{Function, act};
use crate::contract::identity;
use crate::contract::roles::{self, Role};
use crate::deployment::component_names;
use crate::deployment::deletion::Deletion;
use crate::deployment::outputs::InstanceOutputs;
use crate::deployment::plan::Plan;
use observed::Observed;

/// The component's name.
pub const NAME: &str = component_names::INSTANCE;

/// The function.
pub const FUNCTION: Function =
    Function::new(NAME, |payload, aws| Box::pin(act(&Instance, NAME, payload, aws)));

/// The EC2 instance of a stack.
#[derive(Debug)]
pub struct Instance;

/// The logical ID of the instance's role.
const ROLE: &str = "role/instance";

/// The instance's role: it allows what Session Manager's agent needs, and nothing else. AWS's managed policy
/// `AmazonSSMManagedInstanceCore` would allow everybody with a shell to read every parameter of the account.
///
/// Sources: "Create an IAM role with minimal Session Manager permissions" in the Systems Manager user guide, and the
/// managed policy `AWSCloud9SSMInstanceProfile`, which has these five actions. `ec2messages` is not needed: since 3.3.40.0 the agent
/// uses `ssmmessages` instead ("Reference: ec2messages, ssmmessages, and other API operations").
fn role() -> Role {
    let policy = json!({
        "Version": "2012-10-17",
        "Statement": [{
            "Effect": "Allow",
            "Action": [
                "ssm:UpdateInstanceInformation",
                "ssmmessages:CreateControlChannel",
                "ssmmessages:CreateDataChannel",
                "ssmmessages:OpenControlChannel",
                "ssmmessages:OpenDataChannel",
            ],
            "Resource": "*",
        }],
    });
    Role { component: NAME, logical_id: ROLE, principal: "ec2.amazonaws.com", policy: Some(policy) }
}

impl Component for Instance {
    type Outputs = InstanceOutputs;

    async fn plan(&self, work: &Work<'_>) -> Result<Plan, StepError> {
        let mut plan = Plan::default();
        if !work.deployment.may_have(|spec| spec.instance.is_some()) {
            return Ok(plan);
        }
        let observed = Observed::read(work).await?;
        identity::plan(work, &observed.lost, &mut plan);
        if !plan.problems.is_empty() {
            return Ok(plan);
        }
        let Some(spec) = &work.spec.instance else {
            observed.plan_deletion(work, &mut plan);
            return Ok(plan);
        };
        roles::plan(work, &role(), observed.role.as_ref(), &mut plan);
        profile::plan(work, &observed, &mut plan);
        server::plan(work, spec, &observed, &mut plan).await?;
        Ok(plan)
    }

    async fn plan_destroy(&self, work: &Work<'_>) -> Result<Plan, StepError> {
        let observed = Observed::read(work).await?;
        let mut plan = Plan::default();
        observed.plan_loss(work, &mut plan);
        identity::plan(work, &observed.lost, &mut plan);
        Ok(plan)
    }

    async fn apply(&self, work: &Work<'_>) -> Result<InstanceOutputs, StepError> {
        let Some(spec) = &work.spec.instance else {
            return Ok(InstanceOutputs::default());
        };
        let observed = Observed::read(work).await?;
        identity::refuse(work, &observed.lost)?;
        roles::apply(work, &role(), observed.role.as_ref()).await?;
        profile::apply(work, &observed).await?;
        let id = server::apply(work, spec, &observed).await?;
        Ok(outputs(work, &id))
    }

    async fn wait_until_stable(&self, work: &Work<'_>) -> Result<InstanceOutputs, StepError> {
        if work.spec.instance.is_none() {
            return Ok(InstanceOutputs::default());
        }
        let id = wait::wait_until_stable(work).await?;
        Ok(outputs(work, &id))
    }

    async fn prune(&self, work: &Work<'_>) -> Result<Deletion, StepError> {
        if work.spec.instance.is_some() { Ok(Deletion::default()) } else { self.delete(work).await }
    }

    async fn delete(&self, work: &Work<'_>) -> Result<Deletion, StepError> {
        let observed = Observed::read(work).await?;
        let mut deletion = server::delete(work, &observed).await?;
        identity::keep(work, &observed.lost, &mut deletion);
        if deletion.remaining.is_empty() {
            deletion.join(profile::delete(work, &observed).await?);
            deletion.join(roles::delete(work, &role()).await?);
        } else {
            // They can be deleted once the instance is.
            deletion.found += usize::from(observed.role.is_some()) + usize::from(observed.profile.is_some());
        }
        Ok(deletion)
    }
}

fn outputs(work: &Work<'_>, id: &str) -> InstanceOutputs {
    let region = &work.aws.settings.region;
    let connect = format!("aws ssm start-session --target {id} --region {region}");
    InstanceOutputs { id: Some(id.to_owned()), connect: Some(connect) }
}
