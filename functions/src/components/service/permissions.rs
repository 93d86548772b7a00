//! The execution role, with which ECS starts tasks, and the task role, which the tasks assume.

use serde_json::{Value, json};

use super::NAME;
use super::access::Access;
use super::dependencies::Dependencies;
use super::observed::Observed;
use crate::contract::component::Work;
use crate::contract::roles::{self, Role};
use crate::deployment::plan::{Plan, Verb};

/// The service that assumes both roles.
const PRINCIPAL: &str = "ecs-tasks.amazonaws.com";

/// The execution role: it allows pulling the spec's images, writing to the stack's log groups, and reading exactly the secrets
/// that tasks use.
///
/// During a deployment it also keeps its previous access: ECS or a rollback may start tasks of the previous revision. `prune`
/// removes the access that is no longer needed.
pub(super) fn execution(work: &Work<'_>, observed: &Observed, dependencies: &Dependencies) -> Role {
    let needs = Access::needed(work, observed, dependencies);
    let access = actual_access(work, observed).map_or(needs.clone(), |actual| needs.with(&actual));
    role("role/execution", Some(access.policy(work)))
}

/// The execution role with only the access that the spec's tasks need.
pub(super) fn narrow_execution(work: &Work<'_>, observed: &Observed, dependencies: &Dependencies) -> Role {
    role("role/execution", Some(narrowed(work, observed, dependencies).policy(work)))
}

fn narrowed(work: &Work<'_>, observed: &Observed, dependencies: &Dependencies) -> Access {
    let needs = Access::needed(work, observed, dependencies);
    actual_access(work, observed).map_or(needs.clone(), |actual| needs.with_unknown(&actual, dependencies))
}

/// Plans the removal of access that the execution role no longer needs.
pub(super) fn plan_narrowing(
    work: &Work<'_>,
    observed: &Observed,
    dependencies: &Dependencies,
    plan: &mut Plan,
) {
    let Some(actual) = actual_access(work, observed) else { return };
    for extra in actual.beyond(&narrowed(work, observed, dependencies)) {
        plan.change(Verb::Delete, format!("role/execution (access to {extra})"));
    }
}

/// The task role: it allows nothing, except what ECS exec needs.
pub(super) fn task(work: &Work<'_>) -> Role {
    let exec = work.spec.services.values().any(|service| service.exec);
    // Source: "Using ECS exec", IAM permissions required, in the ECS developer guide.
    let policy = json!({
        "Version": "2012-10-17",
        "Statement": [{
            "Effect": "Allow",
            "Action": [
                "ssmmessages:CreateControlChannel",
                "ssmmessages:CreateDataChannel",
                "ssmmessages:OpenControlChannel",
                "ssmmessages:OpenDataChannel",
            ],
            "Resource": "*",
        }],
    });
    role("role/task", exec.then_some(policy))
}

/// A role for [`roles::find`] and [`roles::delete`], which do not use its policy.
pub(super) fn by_logical_id(logical_id: &'static str) -> Role {
    role(logical_id, None)
}

fn role(logical_id: &'static str, policy: Option<Value>) -> Role {
    Role { component: NAME, logical_id, principal: PRINCIPAL, policy }
}

/// The ARN of a role.
pub(super) fn arn(work: &Work<'_>, logical_id: &str) -> String {
    let settings = &work.aws.settings;
    let (partition, account, path) = (&settings.partition, &settings.account, roles::PATH);
    format!("arn:{partition}:iam::{account}:role{path}{}", roles::name(work, logical_id))
}

/// The actual access of the execution role; `None` if the stack has no such role, or somebody changed its policy.
fn actual_access(work: &Work<'_>, observed: &Observed) -> Option<Access> {
    let role = observed.execution.as_ref().filter(|role| role.is_ours(work))?;
    Access::of(work, role.policy()?)
}
