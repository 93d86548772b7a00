//! The EC2 instance, reached through Systems Manager only, with the role that lets its agent report.

mod observed;
mod offers;
mod profile;
mod server;

use serde_json::json;

use crate::deployment::outputs::InstanceOutputs;
use crate::deployment::component_names;
use crate::contract::component::{Component, Work};
use crate::deployment::deletion::Removal;
use crate::deployment::plan::Plan;
use crate::aws::error::StepError;
use crate::contract::handler::{Function, act};
use crate::contract::roles::{self, Role};
use observed::Found;

/// The component's name.
pub const NAME: &str = component_names::INSTANCE;

/// The function.
pub const FUNCTION: Function =
    Function::new(NAME, |payload, aws| Box::pin(act(&Instance, NAME, payload, aws)));

/// The EC2 instance of a stack.
#[derive(Debug)]
pub struct Instance;

/// The role of the role that the instance acts as.
const ROLE: &str = "role/instance";

/// The role that the instance acts as: what Session Manager needs of Systems Manager's agent, and nothing else. AWS's own
/// `AmazonSSMManagedInstanceCore` would let everybody who opens a shell read every parameter of the account.
///
/// Sources: "Create an IAM role with minimal Session Manager permissions" in the Systems Manager user guide, and the
/// managed policy `AWSCloud9SSMInstanceProfile`, which has these five actions. None of `ec2messages` is among them: the agent
/// uses `ssmmessages` in its place from 3.3.40.0 on ("Reference: ec2messages, ssmmessages, and other API operations").
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
    Role { component: NAME, role: ROLE, principal: "ec2.amazonaws.com", policy: Some(policy) }
}

impl Component for Instance {
    type Outputs = InstanceOutputs;

    async fn plan(&self, work: &Work<'_>) -> Result<Plan, StepError> {
        let found = Found::read(work).await?;
        let mut plan = Plan::default();
        let Some(spec) = &work.spec.instance else {
            found.plan_removal(work, &mut plan);
            return Ok(plan);
        };
        roles::plan(work, &role(), found.role.as_ref(), &mut plan);
        profile::plan(work, &found, &mut plan);
        server::plan(work, spec, &found, &mut plan).await?;
        Ok(plan)
    }

    async fn ensure(&self, work: &Work<'_>) -> Result<InstanceOutputs, StepError> {
        let Some(spec) = &work.spec.instance else {
            return Ok(InstanceOutputs::default());
        };
        let found = Found::read(work).await?;
        roles::ensure(work, &role(), found.role.as_ref()).await?;
        profile::ensure(work, &found).await?;
        let id = server::ensure(work, spec, &found).await?;
        Ok(outputs(work, &id))
    }

    async fn settle(&self, work: &Work<'_>) -> Result<InstanceOutputs, StepError> {
        if work.spec.instance.is_none() {
            return Ok(InstanceOutputs::default());
        }
        let id = server::settle(work).await?;
        Ok(outputs(work, &id))
    }

    async fn tidy(&self, work: &Work<'_>) -> Result<Removal, StepError> {
        if work.spec.instance.is_some() { Ok(Removal::default()) } else { self.remove(work).await }
    }

    async fn remove(&self, work: &Work<'_>) -> Result<Removal, StepError> {
        let found = Found::read(work).await?;
        let mut removal = server::remove(work, &found).await?;
        if removal.left.is_empty() {
            removal.join(profile::remove(work, &found).await?);
            removal.join(roles::remove(work, &role()).await?);
        } else {
            // They go when the instance is gone.
            removal.found += usize::from(found.role.is_some()) + usize::from(found.profile.is_some());
        }
        Ok(removal)
    }
}

fn outputs(work: &Work<'_>, id: &str) -> InstanceOutputs {
    let region = &work.aws.settings.region;
    let connect = format!("aws ssm start-session --target {id} --region {region}");
    InstanceOutputs { id: Some(id.to_owned()), connect: Some(connect) }
}
