//! Interface endpoints: with `nat: none` the only way to AWS's services.

use aws_sdk_ec2::types::{ResourceType, VpcEndpoint, VpcEndpointType};

use super::NAME;
use super::observed::Found;
use crate::aws::unless_empty;
use crate::deployment::endpoint_services::endpoint_services;
use crate::contract::endpoints::{delete, gives_full_access};
use crate::contract::component::Work;
use crate::deployment::deletion::Removal;
use crate::deployment::plan::{Plan, Verb};
use crate::aws::error::{Answer, StepError};
use crate::deployment::names::TAG_DEPLOYMENT;
use crate::contract::tagging;
use crate::aws::join;

/// How many are asked for in one run: EC2 allows a burst of four (Amazon EC2 API, "request throttling").
const AT_ONCE: usize = 3;

/// The role of a service's endpoint.
pub(super) fn role(service: &str) -> String {
    format!("endpoint/{service}")
}

/// Whether the spec asks for an endpoint with this role.
pub(super) fn is_wanted(work: &Work<'_>, of_role: &str) -> bool {
    endpoint_services(work.spec).iter().any(|service| role(service) == of_role)
}

/// The state in lower case: EC2 gives it in either.
pub(super) fn state(endpoint: &VpcEndpoint) -> String {
    endpoint.state().map(|state| state.as_str().to_ascii_lowercase()).unwrap_or_default()
}

pub(super) fn plan(work: &Work<'_>, found: &Found, plan: &mut Plan) {
    for role in endpoint_services(work.spec).into_iter().map(role) {
        match found.endpoints.get(&role) {
            None => plan.change(Verb::Create, role),
            Some(endpoint) => {
                plan.tags(&work.stack, NAME, &role, &tagging::read(endpoint.tags()));
                Difference::of(work, endpoint).plan(endpoint, &role, plan);
                if state(endpoint) != "available" {
                    plan.change(Verb::Settle, role);
                }
            }
        }
    }
    for endpoint in removable(found, |role| !is_wanted(work, role)) {
        plan.change(Verb::Remove, tagging::role(endpoint.tags()));
    }
}

/// Creates the missing ones, a few a run, and changes what differs: subnets of zones that were added, and drift.
pub(super) async fn ensure(work: &Work<'_>, found: &mut Found) -> Result<(), StepError> {
    for (role, endpoint) in &found.endpoints {
        let id = endpoint.vpc_endpoint_id().unwrap_or_default();
        tagging::keep(work, NAME, role, id, &tagging::read(endpoint.tags())).await?;
        if is_wanted(work, role) {
            Difference::of(work, endpoint).repair(work, role, id).await?;
        }
    }
    let missing: Vec<&str> =
        endpoint_services(work.spec).into_iter().filter(|service| !found.endpoints.contains_key(&role(service))).collect();
    for service in &missing {
        failed(work, found, &role(service))?;
    }
    let now = missing.iter().take(AT_ONCE);
    let made = join::all(now.map(|service| create(work, found, service))).await?;
    found.endpoints.extend(made);
    if missing.len() > AT_ONCE {
        return Err(StepError::pending(format!(
            "{} more interface endpoints to be asked for",
            missing.len() - AT_ONCE
        )));
    }
    Ok(())
}

async fn create(work: &Work<'_>, found: &Found, service: &str) -> Result<(String, VpcEndpoint), StepError> {
    let (role, network) = (role(service), work.network()?);
    let former = |endpoint: &&VpcEndpoint| tagging::role(endpoint.tags()) == role;
    let failed: Vec<String> = found
        .failed_endpoints
        .iter()
        .filter(former)
        .filter_map(|failed| failed.vpc_endpoint_id.clone())
        .collect();
    if !failed.is_empty() {
        delete(work, &failed).await?;
    }
    if !failed.is_empty() || found.leaving_endpoints.iter().any(|leaving| former(&leaving)) {
        // Its private name is taken until it is gone.
        return Err(StepError::pending(format!("the former {role} to be gone")));
    }
    let call = work
        .aws
        .ec2()
        .create_vpc_endpoint()
        .vpc_id(&network.vpc)
        .vpc_endpoint_type(VpcEndpointType::Interface)
        .service_name(format!("com.amazonaws.{}.{service}", work.aws.settings.region))
        .set_subnet_ids(Some(network.private()))
        .set_security_group_ids(work.groups()?.endpoints.clone().map(|group| vec![group]))
        .private_dns_enabled(true)
        .client_token(work.stack.token(&role, &[]))
        .tag_specifications(tagging::specification(ResourceType::VpcEndpoint, work.stack.tags(NAME, &role)));
    let late = [
        "InvalidSubnetId.NotFound",
        "InvalidSubnetID.NotFound",
        "InvalidGroup.NotFound",
        "InvalidSecurityGroupId.NotFound",
    ];
    let waits_for = "the subnets and the security group to be visible";
    let answer = call.send().await.pending_on(&late, waits_for, format!("creating the {role}"))?;
    let endpoint = answer.vpc_endpoint.ok_or_else(|| StepError::lacking("the endpoint"))?;
    tracing::info!(id = endpoint.vpc_endpoint_id(), role, "Interface endpoint created.");
    Ok((role, endpoint))
}

/// In what an endpoint differs from what it shall be. What this component stands in is known from the outputs of the
/// steps before it; while planning, from those of the baseline.
#[derive(Debug, Default)]
struct Difference {
    missing_subnets: Vec<String>,
    extra_subnets: Vec<String>,
    missing_groups: Vec<String>,
    extra_groups: Vec<String>,
    lacks_private_names: bool,
    has_policy: bool,
}

impl Difference {
    fn of(work: &Work<'_>, endpoint: &VpcEndpoint) -> Self {
        let without = |all: &[String], these: &[String]| -> Vec<String> {
            all.iter().filter(|id| !these.contains(id)).cloned().collect()
        };
        let mut difference = Self {
            lacks_private_names: endpoint.private_dns_enabled() == Some(false),
            has_policy: !gives_full_access(endpoint),
            ..Self::default()
        };
        if let Some(network) = &work.outputs.network {
            let (there, wanted) = (endpoint.subnet_ids(), network.private());
            difference.missing_subnets = without(&wanted, there);
            difference.extra_subnets = without(there, &wanted);
        }
        if let Some(wanted) =
            work.outputs.security_groups.as_ref().and_then(|groups| groups.endpoints.clone())
        {
            let there: Vec<String> =
                endpoint.groups().iter().filter_map(|group| group.group_id.clone()).collect();
            let wanted = [wanted];
            difference.missing_groups = without(&wanted, &there);
            difference.extra_groups = without(&there, &wanted);
        }
        difference
    }

    fn plan(&self, endpoint: &VpcEndpoint, role: &str, plan: &mut Plan) {
        for (field, missing, extra) in [
            ("subnets", &self.missing_subnets, &self.extra_subnets),
            ("securityGroups", &self.missing_groups, &self.extra_groups),
        ] {
            for id in missing {
                plan.update(role, field, "(none)", id);
            }
            for id in extra {
                plan.update(role, field, id, "(none)");
            }
        }
        if self.lacks_private_names {
            plan.update(role, "privateDnsEnabled", false, true);
        }
        if self.has_policy {
            plan.update(role, "policy", endpoint.policy_document().unwrap_or_default(), "full access");
        }
    }

    fn is_empty(&self) -> bool {
        let lists = [&self.missing_subnets, &self.extra_subnets, &self.missing_groups, &self.extra_groups];
        lists.into_iter().all(Vec::is_empty) && !self.lacks_private_names && !self.has_policy
    }

    /// Changes all of it in one call, which an endpoint takes while it is available.
    async fn repair(self, work: &Work<'_>, role: &str, id: &str) -> Result<(), StepError> {
        if self.is_empty() {
            return Ok(());
        }
        let call = work
            .aws
            .ec2()
            .modify_vpc_endpoint()
            .vpc_endpoint_id(id)
            .set_add_subnet_ids(unless_empty(self.missing_subnets))
            .set_remove_subnet_ids(unless_empty(self.extra_subnets))
            .set_add_security_group_ids(unless_empty(self.missing_groups))
            .set_remove_security_group_ids(unless_empty(self.extra_groups))
            .set_private_dns_enabled(self.lacks_private_names.then_some(true))
            .set_reset_policy(self.has_policy.then_some(true));
        let waits_for = format!("the {role} {id} to be available");
        call.send().await.pending_on(&["IncorrectState"], &waits_for, format!("changing the {role} {id}"))?;
        tracing::info!(id, role, "Interface endpoint changed.");
        Ok(())
    }
}

/// An error if this deployment has made this endpoint already, and it failed: another would fail alike.
fn failed(work: &Work<'_>, found: &Found, of_role: &str) -> Result<(), StepError> {
    let mine = |endpoint: &&VpcEndpoint| {
        tagging::role(endpoint.tags()) == of_role
            && tagging::read(endpoint.tags()).get(TAG_DEPLOYMENT) == Some(&work.deployment.id)
    };
    match found.failed_endpoints.iter().find(mine) {
        Some(endpoint) if !work.deployment.restoring => Err(StepError::Unhealthy {
            what: format!("the {of_role} {}", endpoint.vpc_endpoint_id().unwrap_or_default()),
            why: endpoint
                .last_error()
                .and_then(|error| error.message())
                .unwrap_or("no reason given")
                .to_owned(),
        }),
        _ => Ok(()),
    }
}

/// `Pending` until every endpoint that the spec asks for is available.
pub(super) fn settle(work: &Work<'_>, found: &Found) -> Result<(), StepError> {
    for role in endpoint_services(work.spec).into_iter().map(role) {
        failed(work, found, &role)?;
        if found.endpoints.get(&role).map(state).as_deref() != Some("available") {
            return Err(StepError::pending(format!("the {role} to be available")));
        }
    }
    Ok(())
}

/// The endpoints with these roles that are not on their way out. One that failed stays until it is deleted.
fn removable(found: &Found, which: impl Fn(&str) -> bool) -> Vec<&VpcEndpoint> {
    let standing = found.endpoints.values().chain(&found.failed_endpoints);
    standing.filter(|endpoint| which(tagging::role(endpoint.tags()))).collect()
}

/// Deletes the endpoints with these roles.
pub(super) async fn remove(
    work: &Work<'_>,
    found: &Found,
    which: impl Fn(&str) -> bool,
) -> Result<Removal, StepError> {
    let going = removable(found, which);
    let ids: Vec<String> =
        going.iter().filter_map(|endpoint| endpoint.vpc_endpoint_id().map(str::to_owned)).collect();
    let mut removal = Removal { found: going.len() + found.leaving_endpoints.len(), left: Vec::new() };
    let refused = if ids.is_empty() { Vec::new() } else { delete(work, &ids).await? };
    for endpoint in going.into_iter().chain(&found.leaving_endpoints) {
        let id = endpoint.vpc_endpoint_id().unwrap_or_default();
        let why = refused.iter().find(|(refused, _)| refused == id).map(|(_, why)| why.as_str());
        removal.leave(tagging::role(endpoint.tags()), id, why.unwrap_or("is being deleted"));
    }
    Ok(removal)
}

