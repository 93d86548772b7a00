//! What ECS may do to start a task (the execution role), and what the task itself may do (the task role).

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::NAME;
use super::definition::image;
use super::found::Found;
use super::registry::Private;
use super::surroundings::Surroundings;
use crate::component::{Plan, Verb, Work};
use crate::roles::{self, Role};

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
    role("role/execution", access.policy(work))
}

/// The same role with nothing that the tasks of the spec do not need.
pub(super) fn narrow_execution(work: &Work<'_>, found: &Found, around: &Surroundings) -> Role {
    role("role/execution", Access::needed(work, found, around).policy(work))
}

/// Notes what the execution role may still do and need not.
pub(super) fn plan_narrowing(work: &Work<'_>, found: &Found, around: &Surroundings, plan: &mut Plan) {
    let Some(held) = held(work, found) else { return };
    let needs = Access::needed(work, found, around);
    for superfluous in
        held.repositories.difference(&needs.repositories).chain(held.secrets.difference(&needs.secrets))
    {
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
    role("role/task", if exec { policy } else { Value::Null })
}

/// A role by which [`crate::roles::find`] and [`crate::roles::remove`] work, whatever its policy.
pub(super) fn by_name(role_in_stack: &'static str) -> Role {
    role(role_in_stack, Value::Null)
}

fn role(role: &'static str, policy: Value) -> Role {
    Role { component: NAME, role, principal: PRINCIPAL, managed: None, policy: Some(policy) }
}

/// The ARN of a role, which follows from its name.
pub(super) fn arn(work: &Work<'_>, role: &str) -> String {
    let (account, path) = (&work.aws.settings.account, roles::PATH);
    format!("arn:aws:iam::{account}:role{path}{}", roles::name(work, role))
}

/// What the execution role may reach, besides the stack's log groups: ARNs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Access {
    repositories: BTreeSet<String>,
    secrets: BTreeSet<String>,
}

impl Access {
    fn needed(work: &Work<'_>, found: &Found, around: &Surroundings) -> Self {
        let services = || work.spec.services.iter();
        let images =
            services().flat_map(|(name, service)| [image(work, found, name, service), &service.image]);
        let named = services().flat_map(|(_, service)| service.secrets.values());
        let database = services()
            .any(|(_, service)| service.database.values().any(|value| value.is_secret()))
            .then(|| around.secret().to_owned());
        Self {
            repositories: images.filter_map(Private::read).map(|image| image.repository_arn()).collect(),
            secrets: named.map(|secret| secret_arn(secret)).chain(database).collect(),
        }
    }

    fn with(mut self, other: &Self) -> Self {
        self.repositories.extend(other.repositories.iter().cloned());
        self.secrets.extend(other.secrets.iter().cloned());
        self
    }

    fn policy(&self, work: &Work<'_>) -> Value {
        let (region, account) = (&work.aws.settings.region, &work.aws.settings.account);
        let groups = format!("arn:aws:logs:{region}:{account}:log-group:/stackdrop/{}/*", work.stack.name);
        let mut statements = vec![json!({
            "Effect": "Allow",
            "Action": ["logs:CreateLogStream", "logs:PutLogEvents"],
            "Resource": groups,
        })];
        if !self.repositories.is_empty() {
            statements.push(json!({
                "Effect": "Allow", "Action": "ecr:GetAuthorizationToken", "Resource": "*",
            }));
            statements.push(json!({
                "Effect": "Allow",
                "Action": ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"],
                "Resource": self.repositories,
            }));
        }
        if !self.secrets.is_empty() {
            statements.push(json!({
                "Effect": "Allow", "Action": "secretsmanager:GetSecretValue", "Resource": self.secrets,
            }));
        }
        json!({ "Version": "2012-10-17", "Statement": statements })
    }

    /// What a policy gives access to, if it is one that we would write.
    fn of(work: &Work<'_>, policy: &Value) -> Option<Self> {
        let mut access = Self::default();
        for arn in
            policy.pointer("/Statement")?.as_array()?.iter().filter_map(|one| one.get("Resource")?.as_array())
        {
            for arn in arn.iter().filter_map(Value::as_str) {
                if arn.starts_with("arn:aws:ecr:") {
                    access.repositories.insert(arn.to_owned());
                } else {
                    access.secrets.insert(arn.to_owned());
                }
            }
        }
        (access.policy(work) == *policy).then_some(access)
    }
}

/// What the execution role has access to; `None` if there is no role of ours, or somebody has rewritten its policy.
fn held(work: &Work<'_>, found: &Found) -> Option<Access> {
    let role = found.execution.as_ref().filter(|role| role.is_ours(work))?;
    Access::of(work, role.policy()?)
}

/// A secret's ARN has seven fields; ECS takes a key, a stage and a version behind it.
pub(super) fn secret_arn(value_from: &str) -> String {
    value_from.splitn(8, ':').take(7).collect::<Vec<_>>().join(":")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_allowed_without_the_key_behind_it() {
        let arn = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:shop/key-AbCdEf";
        assert_eq!(secret_arn(arn), arn);
        assert_eq!(secret_arn(&format!("{arn}:token::")), arn);
    }
}
