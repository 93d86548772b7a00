//! What would keep tasks from starting, found out before anything is touched: images, secrets, vCPUs, and the role that
//! ECS itself needs.
//!
//! Read only for what is to be created or changed. Not everything can be asked: an image of a public registry, or of
//! another account's or region's, is answered for only with credentials that no function has; then the first task tells.

use std::collections::BTreeSet;

use aws_sdk_ecr::types::ImageIdentifier;
use futures::future::try_join_all;
use stackdrop_specs::Service;

use super::definition;
use super::dependencies::Dependencies;
use super::fargate;
use super::observed::Observed;
use super::registry::{Caches, Private};
use super::secrets::{self, Secret, Secrets};
use crate::aws::denied::unless_denied;
use crate::aws::error::{Answer, StepError};
use crate::contract::component::Work;
use crate::contract::quotas::{self, FARGATE_VCPUS, Need};
use crate::deployment::plan::{Plan, Verb};

/// The role that ECS has in each account, for all its clusters.
const LINKED_ROLE: &str = "AWSServiceRoleForECS";

/// CPU units of one vCPU.
const UNITS: f64 = 1024.0;

/// Notes what would keep the spec's services from coming up, and what ECS needs besides.
pub(super) async fn plan(
    work: &Work<'_>,
    observed: &Observed,
    around: &Dependencies,
    plan: &mut Plan,
) -> Result<(), StepError> {
    let (linked_role, images) =
        tokio::try_join!(lacks_linked_role(work, observed), missing_images(work, observed, &around.caches))?;
    if linked_role {
        plan.change(Verb::Create, format!("{LINKED_ROLE} (of the account)"));
    }
    for (name, why, fix) in images {
        if around.caches.are_known() {
            plan.problem(fargate::logical_id(&name), why, fix);
        } else {
            let unsure = "unless it comes through a pull-through cache: AWS denies listing their rules";
            plan.warn(fargate::logical_id(&name), format!("{why}, {unsure}"), fix);
        }
    }
    for (name, why, fix) in bad_secrets(work, observed, &around.secrets) {
        plan.problem(fargate::logical_id(&name), why, fix);
    }
    check_vcpus(work, observed, plan).await
}

/// A service, what is wrong with it, and the way out.
type Wrong = (String, String, String);

/// Whether the account has never used ECS. Its first call then fails, and is made again once the role is there.
async fn lacks_linked_role(work: &Work<'_>, observed: &Observed) -> Result<bool, StepError> {
    if observed.cluster.is_some() {
        return Ok(false);
    }
    let call = work.aws.iam().get_role().role_name(LINKED_ROLE).send().await;
    let observed = call.unless(&["NoSuchEntity"]).doing(format!("looking for the role {LINKED_ROLE}"));
    // Where that may not be asked, ECS itself tells while the cluster is made.
    Ok(unless_denied(observed)?.is_some_and(|observed| observed.is_none()))
}

/// Images that are not there. One that a pull-through cache gets on the first pull need not be.
async fn missing_images(
    work: &Work<'_>,
    observed: &Observed,
    caches: &Caches,
) -> Result<Vec<Wrong>, StepError> {
    let desired = work.spec.services.iter().filter_map(|(name, service)| {
        let image = definition::image(work, observed, name, service);
        let stands = observed.definitions.get(name).is_some_and(|definition| definition.image == image);
        let private = Private::read(image).filter(|private| !stands && private.is_here(work));
        let private = private.filter(|private| !caches.cover(work, private));
        private.map(|private| (name, image, private))
    });
    let asked = desired.map(async |(name, image, private)| {
        let problem = ask_registry(work, image, &private).await?;
        Ok::<_, StepError>(problem.map(|(why, fix)| (name.clone(), why, fix)))
    });
    Ok(try_join_all(asked).await?.into_iter().flatten().collect())
}

/// Why the registry has no such image, and the way out.
async fn ask_registry(
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
                    "there is no image {image}: the repository {repository} has none with the {kind} {id}"
                ),
                "push it first, or correct the service's `image`".into(),
            )))
        }
        Err(refusal) if refusal.aws().code == "RepositoryNotFoundException" => Ok(Some((
            format!("there is no image {image}: this account's registry has no repository {repository}"),
            "create the repository and push the image first, or correct the service's `image`".into(),
        ))),
        Err(refusal) => Err(refusal).doing(format!("looking for the image {image}")),
    }
}

/// Secrets that tasks of today are not given yet, and that they could not be given.
fn bad_secrets(work: &Work<'_>, observed: &Observed, secrets: &Secrets) -> Vec<Wrong> {
    let mut wrong = Vec::new();
    for (name, service) in &work.spec.services {
        let held = observed.definitions.get(name).and_then(|definition| definition.content.as_ref());
        let held: BTreeSet<String> =
            held.iter().flat_map(|content| content.secrets.values()).map(|held| secrets::arn(held)).collect();
        for (variable, from) in &service.secrets {
            let arn = secrets::arn(from);
            let field = format!("services.{name}.secrets.{variable}");
            let problem = secrets.get(&arn).filter(|_| !held.contains(&arn));
            if let Some((why, fix)) = problem.and_then(|secret| bad_secret(work, secret, &arn, &field)) {
                wrong.push((name.clone(), why, fix));
            }
        }
    }
    wrong
}

/// Why tasks could not read a secret, and the way out.
fn bad_secret(work: &Work<'_>, secret: &Secret, arn: &str, field: &str) -> Option<(String, String)> {
    let is_ours = arn.split(':').nth(4) == Some(work.aws.settings.account.as_str());
    match secret {
        Secret::Absent => {
            Some((format!("there is no secret {arn} ({field})"), format!("create it, or correct {field}")))
        }
        Secret::Leaving => Some((
            format!("the secret {arn} ({field}) is about to be deleted"),
            format!("restore it (`aws secretsmanager restore-secret`), or correct {field}"),
        )),
        Secret::Denied(said) => Some((
            format!(
                "the key of the secret {arn} ({field}) is not known, since AWS denies describing it ({said})"
            ),
            format!(
                "allow secretsmanager:DescribeSecret in the secret's own policy to the role of Stackdrop's function \
                 for services, or correct {field}"
            ),
        )),
        // Source: "Permissions to AWS Secrets Manager secrets for users in a different account" in its user guide.
        Secret::UnderAwsKey if !is_ours => Some((
            format!(
                "the secret {arn} ({field}) of another account is encrypted with a key that only that account can use"
            ),
            format!(
                "encrypt it with a key of its account's own that lets this account decrypt, or correct {field}"
            ),
        )),
        Secret::UnderAwsKey | Secret::UnderKey(_) => None,
    }
}

/// How many vCPUs the tasks of a service shall take. Where something else looks after their number, that stays.
fn desired_vcpus(service: &Service, standing: Option<&aws_sdk_ecs::types::Service>) -> f64 {
    let count = match standing {
        Some(there) if !fargate::keeps_count(service) => f64::from(there.desired_count()),
        _ => f64::from(
            service.scaling.as_ref().map_or(service.count, |scaling| service.count.max(scaling.min)),
        ),
    };
    count * f64::from(service.cpu) / UNITS
}

/// Compares what the services of this stack take, and will take, with the quota. What other stacks take can't be read at
/// a bearable price, so this finds only what can never fit.
async fn check_vcpus(work: &Work<'_>, observed: &Observed, plan: &mut Plan) -> Result<(), StepError> {
    let used = |name: &str| {
        let units = observed.definitions.get(name)?.content.as_ref()?.cpu_units()?;
        Some(f64::from(observed.standing(work, name)?.desired_count()) * units / UNITS)
    };
    let services = work.spec.services.iter().map(|(name, service)| {
        (name, used(name).unwrap_or_default(), desired_vcpus(service, observed.standing(work, name)))
    });
    let grown = services.clone().filter(|(_, used, desired)| desired > used);
    let Some((largest, ..)) = grown.clone().max_by(|(.., a), (.., b)| a.total_cmp(b)) else { return Ok(()) };
    let need = Need {
        resource: &fargate::logical_id(largest),
        used: services.map(|(_, used, _)| used).sum(),
        more: grown.map(|(_, used, desired)| desired - used).sum(),
        instead: "lower `count` or `cpu` of the services",
    };
    quotas::check(work, FARGATE_VCPUS, need, plan).await
}
