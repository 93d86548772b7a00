//! RDS's service-linked role, which a fresh account does not have. RDS creates it with the first subnet group, but refuses
//! calls until it sees the role. The role belongs to the account, and stays when the stack is destroyed.

use super::observed::Observed;
use crate::aws::aws_error::AwsError;
use crate::aws::error::{AwsResult, StepError, unless_denied};
use crate::contract::component::Work;
use crate::deployment::plan::{Plan, Verb};

/// The role's logical ID in plans.
const LOGICAL_ID: &str = "service-linked-role";
const ROLE: &str = "AWSServiceRoleForRDS";
const SERVICE: &str = "rds.amazonaws.com";

/// Plans the role's creation, if the account lacks the role.
pub(super) async fn plan(work: &Work<'_>, observed: &Observed, plan: &mut Plan) -> Result<(), StepError> {
    if observed.instance.is_some() || observed.subnet_group.is_some() {
        return Ok(());
    }
    let call = work.aws.iam().get_role().role_name(ROLE).send().await;
    let role = call.unless(&["NoSuchEntity"]).doing(format!("looking for IAM role {ROLE}"));
    // If AWS denies the call, RDS reports a missing role when the subnet group is created.
    if unless_denied(role)?.is_some_and(|role| role.is_none()) {
        plan.change(Verb::Create, LOGICAL_ID);
    }
    Ok(())
}

/// `Stalled` if RDS refused a call because it does not see the role, which is created if necessary.
///
/// RDS uses one code, `InvalidParameterValue`, for many errors, so the message decides. Source of the messages:
/// aws-samples/eks-workshop-v2#1609 and crossplane-contrib/provider-aws#479.
pub(super) async fn check(work: &Work<'_>, error: &AwsError) -> Result<(), StepError> {
    let about_role =
        ["service linked role", "ServiceLinkedRoles"].iter().any(|text| error.message.contains(text));
    if error.code != "InvalidParameterValue" || !about_role {
        return Ok(());
    }
    let call = work.aws.iam().create_service_linked_role().aws_service_name(SERVICE);
    // `InvalidInput`: the role exists already.
    call.send().await.unless(&["InvalidInput"]).doing("creating RDS's service-linked role")?;
    Err(StepError::stalled("RDS to see its service-linked role"))
}
