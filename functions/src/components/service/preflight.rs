//! Preflight checks of the services: images, secrets and parameters, vCPUs, and ECS's service-linked role.
//!
//! They run only for what the plan creates or changes. Images of public registries, or of another account or region, are not
//! checked: the functions have no credentials for these registries.

use std::collections::BTreeSet;

use aws_sdk_ecr::types::ImageIdentifier;
use futures::future::try_join_all;
use stackdrop_specs::{Service, is_parameter};

use super::content;
use super::dependencies::Dependencies;
use super::desired;
use super::fargate;
use super::observed::Observed;
use super::registry::{Caches, Private};
use super::secrets::{self, Secret, Secrets};
use crate::aws::error::unless_denied;
use crate::aws::error::{AwsResult, StepError};
use crate::contract::component::Work;
use crate::contract::quotas::{self, FARGATE_VCPUS, Need};
use crate::contract::shared_secrets::{TAG_ACCESS, name, prefix};
use crate::deployment::plan::{Plan, Verb};

/// ECS's service-linked role, one in each account.
const LINKED_ROLE: &str = "AWSServiceRoleForECS";

/// The CPU units of one vCPU.
const UNITS: f64 = 1024.0;

/// Plans the problems that would prevent the tasks from starting, and the creation of ECS's service-linked role.
pub(super) async fn plan(
    work: &Work<'_>,
    observed: &Observed,
    dependencies: &Dependencies,
    plan: &mut Plan,
) -> Result<(), StepError> {
    let (linked_role, images) = tokio::try_join!(
        lacks_linked_role(work, observed),
        missing_images(work, observed, &dependencies.caches)
    )?;
    if linked_role {
        plan.change(Verb::Create, format!("{LINKED_ROLE} (of the account)"));
    }
    for (name, why, fix) in images {
        if dependencies.caches.are_known() {
            plan.problem(fargate::logical_id(&name), why, fix);
        } else {
            let unless_cached = "unless a pull-through cache provides it: AWS denies listing the cache rules";
            plan.warn(fargate::logical_id(&name), format!("{why}, {unless_cached}"), fix);
        }
    }
    plan_secrets(work, observed, &dependencies.secrets, plan);
    check_vcpus(work, observed, plan).await
}

/// A service, its problem, and how to fix it.
type ServiceProblem = (String, String, String);

/// Whether the account lacks ECS's service-linked role. Then the first call of ECS fails, and is retried with the role.
async fn lacks_linked_role(work: &Work<'_>, observed: &Observed) -> Result<bool, StepError> {
    if observed.cluster.is_some() {
        return Ok(false);
    }
    let call = work.aws.iam().get_role().role_name(LINKED_ROLE).send().await;
    let observed = call.unless(&["NoSuchEntity"]).doing(format!("looking for IAM role {LINKED_ROLE}"));
    // If AWS denies the call, ECS reports a missing role when the cluster is created.
    Ok(unless_denied(observed)?.is_some_and(|observed| observed.is_none()))
}

/// The images that do not exist. An image that a pull-through cache provides need not exist before the first pull.
async fn missing_images(
    work: &Work<'_>,
    observed: &Observed,
    caches: &Caches,
) -> Result<Vec<ServiceProblem>, StepError> {
    let desired = work.spec.services.iter().filter_map(|(name, service)| {
        let image = content::image(work, observed, name, service);
        let is_running = observed.definitions.get(name).is_some_and(|definition| definition.image == image);
        let private = Private::parse(image).filter(|private| !is_running && private.is_here(work));
        let private = private.filter(|private| !caches.cover(work, private));
        private.map(|private| (name, image, private))
    });
    let calls = desired.map(async |(name, image, private)| {
        let problem = check_image(work, image, &private).await?;
        Ok::<_, StepError>(problem.map(|(why, fix)| (name.clone(), why, fix)))
    });
    Ok(try_join_all(calls).await?.into_iter().flatten().collect())
}

/// Why the registry does not have an image, and how to fix it.
async fn check_image(
    work: &Work<'_>,
    image: &str,
    private: &Private<'_>,
) -> Result<Option<(String, String)>, StepError> {
    let repository = private.repository;
    let id = match private.id {
        Ok(digest) => ImageIdentifier::builder().image_digest(digest),
        Err(tag) => ImageIdentifier::builder().image_tag(tag),
    };
    let call =
        work.aws.ecr().describe_images().repository_name(repository).image_ids(id.build()).send().await;
    match call.unless(&["ImageNotFoundException"]) {
        Ok(Some(_)) => Ok(None),
        Ok(None) => {
            let (kind, id) = match private.id {
                Ok(digest) => ("digest", digest),
                Err(tag) => ("tag", tag),
            };
            Ok(Some((
                format!(
                    "image {image} does not exist: repository {repository} has none with the {kind} {id}"
                ),
                "push the image first, or correct the service's `image`".into(),
            )))
        }
        Err(refusal) if refusal.aws().code == "RepositoryNotFoundException" => Ok(Some((
            format!("image {image} does not exist: this account's registry has no repository {repository}"),
            "create the repository and push the image first, or correct the service's `image`".into(),
        ))),
        Err(refusal) => Err(refusal).doing(format!("looking for image {image}")),
    }
}

/// Plans the problems of secrets and parameters that the current tasks do not use yet, and warns of those that they can no longer
/// read: running tasks still have the value.
fn plan_secrets(work: &Work<'_>, observed: &Observed, secrets: &Secrets, plan: &mut Plan) {
    for (name, service) in &work.spec.services {
        let used = observed.definitions.get(name).and_then(|definition| definition.content.as_ref());
        let used: BTreeSet<String> = used
            .iter()
            .flat_map(|content| content.secrets.values())
            .map(|value| secrets::arn(value))
            .collect();
        for (variable, from) in &service.secrets {
            let arn = secrets::arn(from);
            let field = format!("services.{name}.secrets.{variable}");
            let Some(secret) = secrets.get(&arn) else { continue };
            let problem = secret_problem(work, secret, &arn, &field);
            match (problem, used.contains(&arn), secret) {
                (Some((why, fix)), false, _) => plan.problem(fargate::logical_id(name), why, fix),
                (Some((why, fix)), true, Secret::Present { is_shared: false, .. }) => {
                    plan.warn(fargate::logical_id(name), format!("no new task can start: {why}"), fix);
                }
                _ => {}
            }
        }
    }
}

/// Why tasks cannot read a secret or parameter, and how to fix it.
fn secret_problem(work: &Work<'_>, secret: &Secret, arn: &str, field: &str) -> Option<(String, String)> {
    let is_ours = arn.split(':').nth(4) == Some(work.aws.settings.account.as_str());
    let noun = if is_parameter(arn) { "parameter" } else { "secret" };
    match secret {
        Secret::Absent => Some((
            format!("{noun} {arn} ({field}) does not exist"),
            format!("create the {noun}, or correct {field}"),
        )),
        // Source: "Specifying sensitive data" in the ECS developer guide: "must be
        // from within the same account".
        Secret::Elsewhere => Some((
            format!("parameter {arn} ({field}) is not in this account and region: no task can read it"),
            format!("create a parameter or a secret here, and correct {field}"),
        )),
        Secret::Present { is_shared: false, .. } => Some(not_shared(work, arn, noun, field)),
        Secret::ScheduledForDeletion => Some((
            format!("secret {arn} ({field}) is scheduled for deletion"),
            format!("restore the secret (`aws secretsmanager restore-secret`), or correct {field}"),
        )),
        Secret::Denied(message) => Some((
            format!(
                "the KMS key of secret {arn} ({field}) is unknown, because AWS denies describing the secret ({message})"
            ),
            format!(
                "allow secretsmanager:DescribeSecret for the role of Stackdrop's service function in the secret's \
                 policy, or correct {field}"
            ),
        )),
        // Source: "Permissions to AWS Secrets Manager secrets for users in a different account" in its user guide.
        Secret::Present { key: None, .. } if !is_ours => Some((
            format!(
                "secret {arn} ({field}) of another account is encrypted with a KMS key that only that account can use"
            ),
            format!(
                "encrypt the secret with a customer managed key that allows this account to decrypt, or correct {field}"
            ),
        )),
        Secret::Present { .. } => None,
    }
}

/// Why the stack may not use a secret or parameter, and what its owner can do.
fn not_shared(work: &Work<'_>, arn: &str, noun: &str, field: &str) -> (String, String) {
    let stack = &work.stack.name;
    let of_parameters = is_parameter(arn);
    let command = if of_parameters {
        format!("aws ssm add-tags-to-resource --resource-type Parameter --resource-id {}", name(arn))
    } else {
        format!("aws secretsmanager tag-resource --secret-id {arn}")
    };
    (
        format!("stack {stack} may not use {noun} {} ({field})", name(arn)),
        format!(
            "let its owner share it: `{command} --tags Key={TAG_ACCESS},Value={stack}`; or use a {noun} whose name begins with {}",
            prefix(stack, of_parameters)
        ),
    )
}

/// The vCPUs of a service's desired tasks. If auto scaling or another tool manages their number, the number is the actual one, or
/// the minimum to which auto scaling raises it.
fn desired_vcpus(service: &Service, active_service: Option<&aws_sdk_ecs::types::Service>) -> f64 {
    let min = service.scaling.as_ref().map_or(0, |scaling| scaling.min);
    let count = match active_service {
        Some(there) if !desired::keeps_count(service) => f64::from(there.desired_count()).max(f64::from(min)),
        _ => f64::from(service.count),
    };
    count * f64::from(service.cpu) / UNITS
}

/// Compares the vCPUs of this stack's services with the quota. Reading those of the account's other tasks would take too many
/// calls, so this finds only what can never fit.
async fn check_vcpus(work: &Work<'_>, observed: &Observed, plan: &mut Plan) -> Result<(), StepError> {
    let used = |name: &str| {
        let units = observed.definitions.get(name)?.content.as_ref()?.cpu_units()?;
        Some(f64::from(observed.active_service(work, name)?.desired_count()) * units / UNITS)
    };
    let services = work.spec.services.iter().map(|(name, service)| {
        (name, used(name).unwrap_or_default(), desired_vcpus(service, observed.active_service(work, name)))
    });
    let grown = services.clone().filter(|(_, used, desired)| desired > used);
    let Some((largest, ..)) = grown.clone().max_by(|(.., a), (.., b)| a.total_cmp(b)) else { return Ok(()) };
    let need = Need {
        resource: &fargate::logical_id(largest),
        used: services.map(|(_, used, _)| used).sum(),
        more: grown.map(|(_, used, desired)| desired - used).sum(),
        alternative: "lower `count` or `cpu` of the services",
    };
    quotas::check(work, FARGATE_VCPUS, need, plan).await
}
