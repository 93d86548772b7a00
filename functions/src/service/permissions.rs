//! What ECS may do to start a task (the execution role), and what the task itself may do (the task role).

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::NAME;
use super::surroundings::Surroundings;
use crate::component::Work;
use crate::roles::{self, Role};

/// Who assumes both roles.
const PRINCIPAL: &str = "ecs-tasks.amazonaws.com";

/// The role that ECS starts tasks with: it may pull the spec's images, write to this stack's log groups and read
/// exactly the secrets that tasks are given.
pub(super) fn execution(work: &Work<'_>, around: &Surroundings) -> Role {
    role("role/execution", execution_policy(work, around))
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

fn execution_policy(work: &Work<'_>, around: &Surroundings) -> Value {
    let (region, account) = (&work.aws.settings.region, &work.aws.settings.account);
    let groups = format!("arn:aws:logs:{region}:{account}:log-group:/stackdrop/{}/*", work.stack.name);
    let mut statements = vec![json!({
        "Effect": "Allow",
        "Action": ["logs:CreateLogStream", "logs:PutLogEvents"],
        "Resource": groups,
    })];
    let repositories: BTreeSet<String> =
        work.spec.services.values().filter_map(|service| repository(&service.image)).collect();
    if !repositories.is_empty() {
        statements.push(json!({
            "Effect": "Allow", "Action": "ecr:GetAuthorizationToken", "Resource": "*",
        }));
        statements.push(json!({
            "Effect": "Allow",
            "Action": ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"],
            "Resource": repositories,
        }));
    }
    let secrets = secrets(work, around);
    if !secrets.is_empty() {
        statements.push(json!({
            "Effect": "Allow", "Action": "secretsmanager:GetSecretValue", "Resource": secrets,
        }));
    }
    json!({ "Version": "2012-10-17", "Statement": statements })
}

/// The ARNs of all secrets that tasks are given, without the key that may stand behind one.
fn secrets(work: &Work<'_>, around: &Surroundings) -> BTreeSet<String> {
    let services = || work.spec.services.values();
    let named = services().flat_map(|service| service.secrets.values()).map(|secret| secret_arn(secret));
    let database = services()
        .any(|service| service.database.values().any(|value| value.is_secret()))
        .then(|| around.secret().to_owned());
    named.chain(database).collect()
}

/// A secret's ARN has seven fields; ECS takes a key, a stage and a version behind it.
fn secret_arn(value_from: &str) -> String {
    value_from.splitn(8, ':').take(7).collect::<Vec<_>>().join(":")
}

/// The ARN of an image's repository, if a registry of ECR has it.
fn repository(image: &str) -> Option<String> {
    let (host, path) = image.split_once('/')?;
    let [account, "dkr", "ecr", region, "amazonaws", "com"] = host.split('.').collect::<Vec<_>>()[..] else {
        return None;
    };
    let name = path.split(['@', ':']).next()?;
    Some(format!("arn:aws:ecr:{region}:{account}:repository/{name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_images_in_ecr_have_a_repository_to_be_allowed() {
        for (image, expected) in [
            ("nginx", None),
            ("public.ecr.aws/nginx/nginx:1.27", None),
            (
                "123456789012.dkr.ecr.eu-central-1.amazonaws.com/shop/web:v1",
                Some("arn:aws:ecr:eu-central-1:123456789012:repository/shop/web"),
            ),
            (
                "123456789012.dkr.ecr.eu-central-1.amazonaws.com/web@sha256:abc",
                Some("arn:aws:ecr:eu-central-1:123456789012:repository/web"),
            ),
        ] {
            assert_eq!(repository(image).as_deref(), expected, "{image}");
        }
    }

    #[test]
    fn a_secret_is_allowed_without_the_key_behind_it() {
        let arn = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:shop/key-AbCdEf";
        assert_eq!(secret_arn(arn), arn);
        assert_eq!(secret_arn(&format!("{arn}:token::")), arn);
    }
}
