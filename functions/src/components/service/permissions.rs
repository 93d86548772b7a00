//! What ECS may do to start a task (the execution role), and what the task itself may do (the task role).

use serde_json::{Value, json};

use super::NAME;
use super::access::Access;
use super::dependencies::Dependencies;
use super::observed::Observed;
use crate::contract::component::Work;
use crate::contract::roles::{self, Role};
use crate::deployment::plan::{Plan, Verb};

/// Who assumes both roles.
const PRINCIPAL: &str = "ecs-tasks.amazonaws.com";

/// The role that ECS starts tasks with: it may pull the spec's images, write to this stack's log groups and read
/// exactly the secrets that tasks are given.
///
/// Until a deployment has settled it may also do what it could before: tasks from before may be started anew, by ECS
/// itself or on the way back. What is too much then is taken away by `prune`.
pub(super) fn execution(work: &Work<'_>, observed: &Observed, around: &Dependencies) -> Role {
    let needs = Access::needed(work, observed, around);
    let access = held(work, observed).map_or(needs.clone(), |held| needs.with(&held));
    role("role/execution", Some(access.policy(work)))
}

/// The same role with nothing that the tasks of the spec do not need.
pub(super) fn narrow_execution(work: &Work<'_>, observed: &Observed, around: &Dependencies) -> Role {
    role("role/execution", Some(narrowed(work, observed, around).policy(work)))
}

fn narrowed(work: &Work<'_>, observed: &Observed, around: &Dependencies) -> Access {
    let needs = Access::needed(work, observed, around);
    held(work, observed).map_or(needs.clone(), |held| needs.with_unknown(&held, around))
}

/// Notes what the execution role may still do and need not.
pub(super) fn plan_narrowing(work: &Work<'_>, observed: &Observed, around: &Dependencies, plan: &mut Plan) {
    let Some(held) = held(work, observed) else { return };
    for superfluous in held.beyond(&narrowed(work, observed, around)) {
        plan.change(Verb::Delete, format!("role/execution (access to {superfluous})"));
    }
}

/// The role of the tasks themselves: it may do nothing, save what ECS exec needs.
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

/// A role by which [`crate::contract::roles::find`] and [`crate::contract::roles::delete`] work, whatever its policy.
pub(super) fn by_logical_id(logical_id: &'static str) -> Role {
    role(logical_id, None)
}

fn role(logical_id: &'static str, policy: Option<Value>) -> Role {
    Role { component: NAME, logical_id, principal: PRINCIPAL, policy }
}

/// The ARN of a role, which follows from its name.
pub(super) fn arn(work: &Work<'_>, logical_id: &str) -> String {
    let settings = &work.aws.settings;
    let (partition, account, path) = (&settings.partition, &settings.account, roles::PATH);
    format!("arn:{partition}:iam::{account}:role{path}{}", roles::name(work, logical_id))
}

/// What the execution role has access to; `None` if there is no role of ours, or somebody has rewritten its policy.
fn held(work: &Work<'_>, observed: &Observed) -> Option<Access> {
    let role = observed.execution.as_ref().filter(|role| role.is_ours(work))?;
    Access::of(work, role.policy()?)
}
