//! What ECS may do to start a task (the execution role), and what the task itself may do (the task role).

use serde_json::{Value, json};

use super::NAME;
use super::access::Access;
use super::observed::Found;
use super::dependencies::Surroundings;
use crate::contract::component::Work;
use crate::deployment::plan::{Plan, Verb};
use crate::contract::roles::{self, Role};

/// Who assumes both roles.
const PRINCIPAL: &str = "ecs-tasks.amazonaws.com";

/// The role that ECS starts tasks with: it may pull the spec's images, write to this stack's log groups and read
/// exactly the secrets that tasks are given.
///
/// Until a deployment has settled it may also do what it could before: tasks from before may be started anew, by ECS
/// itself or on the way back. What is too much then is taken away by `tidy`.
pub(super) fn execution(work: &Work<'_>, found: &Found, around: &Surroundings) -> Role {
    let needs = Access::needed(work, found, around);
    let access = held(work, found).map_or(needs.clone(), |held| needs.with(&held));
    role("role/execution", Some(access.policy(work)))
}

/// The same role with nothing that the tasks of the spec do not need.
pub(super) fn narrow_execution(work: &Work<'_>, found: &Found, around: &Surroundings) -> Role {
    role("role/execution", Some(narrowed(work, found, around).policy(work)))
}

fn narrowed(work: &Work<'_>, found: &Found, around: &Surroundings) -> Access {
    let needs = Access::needed(work, found, around);
    held(work, found).map_or(needs.clone(), |held| needs.with_unknown(&held, around))
}

/// Notes what the execution role may still do and need not.
pub(super) fn plan_narrowing(work: &Work<'_>, found: &Found, around: &Surroundings, plan: &mut Plan) {
    let Some(held) = held(work, found) else { return };
    for superfluous in held.beyond(&narrowed(work, found, around)) {
        plan.change(Verb::Remove, format!("role/execution (access to {superfluous})"));
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

/// A role by which [`crate::contract::roles::find`] and [`crate::contract::roles::remove`] work, whatever its policy.
pub(super) fn by_name(role_in_stack: &'static str) -> Role {
    role(role_in_stack, None)
}

fn role(role: &'static str, policy: Option<Value>) -> Role {
    Role { component: NAME, role, principal: PRINCIPAL, policy }
}

/// The ARN of a role, which follows from its name.
pub(super) fn arn(work: &Work<'_>, role: &str) -> String {
    let settings = &work.aws.settings;
    let (partition, account, path) = (&settings.partition, &settings.account, roles::PATH);
    format!("arn:{partition}:iam::{account}:role{path}{}", roles::name(work, role))
}

/// What the execution role has access to; `None` if there is no role of ours, or somebody has rewritten its policy.
fn held(work: &Work<'_>, found: &Found) -> Option<Access> {
    let role = found.execution.as_ref().filter(|role| role.is_ours(work))?;
    Access::of(work, role.policy()?)
}
