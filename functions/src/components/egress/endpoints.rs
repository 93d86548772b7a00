//! Interface endpoints: with `nat: none`, the only connection to AWS services.

use aws_sdk_ec2::types::{ResourceType, VpcEndpoint, VpcEndpointType};

use super::NAME;
use super::observed::Observed;
use crate::aws::error::{AwsResult, StepError};
use crate::aws::join;
use crate::aws::unless_empty;
use crate::contract::component::Work;
use crate::contract::endpoints::{delete_endpoints, failure, gives_full_access};
use crate::contract::tagging;
use crate::deployment::deletion::Deletion;
use crate::deployment::endpoint_services::endpoint_services;
use crate::deployment::names::TAG_DEPLOYMENT;
use crate::deployment::plan::{Plan, Verb};

/// How many endpoints one run creates: EC2 allows a burst of four (Amazon EC2 API, "request throttling").
const AT_ONCE: usize = 3;

/// The logical ID of an AWS service's endpoint.
pub(super) fn logical_id(service: &str) -> String {
    format!("endpoint/{service}")
}

/// The name of the endpoint service of an AWS service.
pub(super) fn service_name(work: &Work<'_>, service: &str) -> String {
    format!("com.amazonaws.{}.{service}", work.aws.settings.region)
}

/// The logical ID of an existing endpoint: its service tells it, also after somebody changed its tags.
pub(super) fn logical_id_of(endpoint: &VpcEndpoint) -> String {
    // com.amazonaws.REGION.SERVICE
    let service = endpoint.service_name().unwrap_or_default().splitn(4, '.').nth(3);
    logical_id(service.unwrap_or_default())
}

/// Whether the stack needs an endpoint with this logical ID.
pub(super) fn is_desired(work: &Work<'_>, id: &str) -> bool {
    endpoint_services(work.spec).iter().any(|service| logical_id(service) == id)
}

/// The state in lower case: EC2 writes it in upper or lower case.
pub(super) fn state(endpoint: &VpcEndpoint) -> String {
    endpoint.state().map(|state| state.as_str().to_ascii_lowercase()).unwrap_or_default()
}

pub(super) fn plan(work: &Work<'_>, observed: &Observed, plan: &mut Plan) {
    for logical_id in endpoint_services(work.spec).into_iter().map(logical_id) {
        match observed.endpoints.get(&logical_id) {
            None => plan.change(Verb::Create, logical_id),
            Some(endpoint) => {
                plan.tags(&work.stack, NAME, &logical_id, &tagging::read(endpoint.tags()));
                Difference::of(work, endpoint).plan(endpoint, &logical_id, plan);
                if state(endpoint) != "available" {
                    plan.change(Verb::Wait, logical_id);
                }
            }
        }
    }
    for endpoint in removable(observed, |logical_id| !is_desired(work, logical_id)) {
        plan.change(Verb::Delete, logical_id_of(endpoint));
    }
}

/// Creates the missing endpoints, a few in each run, and updates those that differ.
pub(super) async fn apply(work: &Work<'_>, observed: &mut Observed) -> Result<(), StepError> {
    for (logical_id, endpoint) in &observed.endpoints {
        let id = endpoint.vpc_endpoint_id().unwrap_or_default();
        tagging::repair(work, NAME, logical_id, id, &tagging::read(endpoint.tags())).await?;
        if is_desired(work, logical_id) {
            Difference::of(work, endpoint).repair(work, logical_id, id).await?;
        }
    }
    let missing: Vec<&str> = endpoint_services(work.spec)
        .into_iter()
        .filter(|service| !observed.endpoints.contains_key(&logical_id(service)))
        .collect();
    for service in &missing {
        check_not_failed(work, observed, &logical_id(service))?;
    }
    let first = missing.iter().take(AT_ONCE);
    let made = join::all(first.map(|service| create(work, observed, service))).await?;
    observed.endpoints.extend(made);
    if missing.len() > AT_ONCE {
        return Err(StepError::pending(format!(
            "the creation of {} more interface endpoints",
            missing.len() - AT_ONCE
        )));
    }
    Ok(())
}

async fn create(
    work: &Work<'_>,
    observed: &Observed,
    service: &str,
) -> Result<(String, VpcEndpoint), StepError> {
    let (logical_id, network) = (logical_id(service), work.network()?);
    let is_predecessor = |endpoint: &&VpcEndpoint| logical_id_of(endpoint) == logical_id;
    let failed: Vec<String> = observed
        .failed_endpoints
        .iter()
        .filter(is_predecessor)
        .filter_map(|failed| failed.vpc_endpoint_id.clone())
        .collect();
    if !failed.is_empty() {
        delete_endpoints(work, &failed).await?;
    }
    if !failed.is_empty() || observed.deleting_endpoints.iter().any(|deleting| is_predecessor(&deleting)) {
        // The predecessor has the private DNS name until it is deleted.
        return Err(StepError::pending(format!(
            "the deletion of the previous interface endpoint {logical_id}"
        )));
    }
    let deleted = observed.deleted_endpoints.iter().filter(is_predecessor);
    let deleted: Vec<&str> = deleted.filter_map(VpcEndpoint::vpc_endpoint_id).collect();
    let call = work
        .aws
        .ec2()
        .create_vpc_endpoint()
        .vpc_id(&network.vpc)
        .vpc_endpoint_type(VpcEndpointType::Interface)
        .service_name(service_name(work, service))
        .set_subnet_ids(Some(network.private()))
        .set_security_group_ids(work.groups()?.endpoints.clone().map(|group| vec![group]))
        .private_dns_enabled(true)
        // EC2 returns the endpoint of an earlier call with the same token, even a deleted one.
        .client_token(work.stack.token(&logical_id, &deleted))
        .tag_specifications(tagging::specification(
            ResourceType::VpcEndpoint,
            work.stack.tags(NAME, &logical_id),
        ));
    let not_visible = [
        "InvalidSubnetId.NotFound",
        "InvalidSubnetID.NotFound",
        "InvalidGroup.NotFound",
        "InvalidSecurityGroupId.NotFound",
    ];
    let waiting_for = "the subnets and the security group to become visible";
    let response = call.send().await.stalled_on(
        &not_visible,
        waiting_for,
        format!("creating interface endpoint {logical_id}"),
    )?;
    let endpoint = response.vpc_endpoint.ok_or_else(|| StepError::incomplete("the endpoint"))?;
    tracing::info!(id = endpoint.vpc_endpoint_id(), logical_id, "Interface endpoint created.");
    Ok((logical_id, endpoint))
}

/// The differences between an endpoint and its desired state. The subnets and security groups come from the outputs of
/// other components; in a plan, from those of the baseline.
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
            let (actual, desired) = (endpoint.subnet_ids(), network.private());
            difference.missing_subnets = without(&desired, actual);
            difference.extra_subnets = without(actual, &desired);
        }
        if let Some(desired) =
            work.outputs.security_groups.as_ref().and_then(|groups| groups.endpoints.clone())
        {
            let actual: Vec<String> =
                endpoint.groups().iter().filter_map(|group| group.group_id.clone()).collect();
            let desired = [desired];
            difference.missing_groups = without(&desired, &actual);
            difference.extra_groups = without(&actual, &desired);
        }
        difference
    }

    fn plan(&self, endpoint: &VpcEndpoint, logical_id: &str, plan: &mut Plan) {
        for (field, missing, extra) in [
            ("subnets", &self.missing_subnets, &self.extra_subnets),
            ("securityGroups", &self.missing_groups, &self.extra_groups),
        ] {
            for id in missing {
                plan.update(logical_id, field, "(none)", id);
            }
            for id in extra {
                plan.update(logical_id, field, id, "(none)");
            }
        }
        if self.lacks_private_names {
            plan.update(logical_id, "privateDnsEnabled", false, true);
        }
        if self.has_policy {
            plan.update(logical_id, "policy", endpoint.policy_document().unwrap_or_default(), "full access");
        }
    }

    fn is_empty(&self) -> bool {
        let lists = [&self.missing_subnets, &self.extra_subnets, &self.missing_groups, &self.extra_groups];
        lists.into_iter().all(Vec::is_empty) && !self.lacks_private_names && !self.has_policy
    }

    /// Repairs all differences in one call, which EC2 accepts only while the endpoint is available.
    async fn repair(self, work: &Work<'_>, logical_id: &str, id: &str) -> Result<(), StepError> {
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
        let waiting_for = format!("interface endpoint {logical_id} ({id}) to become available");
        call.send().await.pending_on(
            &["IncorrectState"],
            &waiting_for,
            format!("updating interface endpoint {logical_id} ({id})"),
        )?;
        tracing::info!(id, logical_id, "Interface endpoint updated.");
        Ok(())
    }
}

/// Fails if an endpoint that this deployment created has failed: another one would fail too.
fn check_not_failed(work: &Work<'_>, observed: &Observed, logical_id: &str) -> Result<(), StepError> {
    let is_from_this_deployment = |endpoint: &&VpcEndpoint| {
        logical_id_of(endpoint) == logical_id
            && tagging::read(endpoint.tags()).get(TAG_DEPLOYMENT) == Some(&work.deployment.id)
    };
    match observed.failed_endpoints.iter().find(is_from_this_deployment) {
        Some(endpoint) if !work.deployment.rolling_back => Err(StepError::Unhealthy {
            what: format!(
                "interface endpoint {logical_id} ({})",
                endpoint.vpc_endpoint_id().unwrap_or_default()
            ),
            why: failure(endpoint),
        }),
        _ => Ok(()),
    }
}

/// `Pending` until every desired endpoint is available.
pub(super) fn wait_until_stable(work: &Work<'_>, observed: &Observed) -> Result<(), StepError> {
    for logical_id in endpoint_services(work.spec).into_iter().map(logical_id) {
        check_not_failed(work, observed, &logical_id)?;
        let waiting_for = format!("interface endpoint {logical_id} to become available");
        match observed.endpoints.get(&logical_id).map(state).as_deref() {
            Some("available") => {}
            Some("pending") => return Err(StepError::pending(waiting_for)),
            Some(other) => {
                let why = format!("Its state is {other}.");
                return Err(StepError::stalled_because(waiting_for, why));
            }
            None => return Err(StepError::stalled(waiting_for)),
        }
    }
    Ok(())
}

/// The selected endpoints that are not being deleted yet. A failed one exists until it is deleted.
fn removable(observed: &Observed, which: impl Fn(&str) -> bool) -> Vec<&VpcEndpoint> {
    let live = observed.endpoints.values().chain(&observed.failed_endpoints);
    live.filter(|endpoint| which(&logical_id_of(endpoint))).collect()
}

/// Deletes the endpoints whose logical IDs `which` selects.
pub(super) async fn delete(
    work: &Work<'_>,
    observed: &Observed,
    which: impl Fn(&str) -> bool,
) -> Result<Deletion, StepError> {
    let to_delete = removable(observed, which);
    let ids: Vec<String> =
        to_delete.iter().filter_map(|endpoint| endpoint.vpc_endpoint_id().map(str::to_owned)).collect();
    let mut deletion =
        Deletion { found: to_delete.len() + observed.deleting_endpoints.len(), remaining: Vec::new() };
    let refused = if ids.is_empty() { Vec::new() } else { delete_endpoints(work, &ids).await? };
    for endpoint in to_delete.into_iter().chain(&observed.deleting_endpoints) {
        let id = endpoint.vpc_endpoint_id().unwrap_or_default();
        match refused.iter().find(|(refused, _)| refused == id) {
            Some((_, why)) => deletion.held(logical_id_of(endpoint), id, why),
            None => deletion.leaving(logical_id_of(endpoint), id, "is being deleted"),
        }
    }
    Ok(deletion)
}
