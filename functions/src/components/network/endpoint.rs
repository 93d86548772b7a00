//! The S3 gateway endpoint: it is free, and carries the traffic for image layers and packages.

use aws_sdk_ec2::types::{ResourceType, VpcEndpoint, VpcEndpointType};

use super::observed::Observed;
use super::tables::private_table_logical_id;
use super::{NAME, plan_missing};
use crate::aws::error::{AwsResult, StepError};
use crate::aws::unless_empty;
use crate::contract::component::Work;
use crate::contract::endpoints::{delete_endpoints, failure, gives_full_access};
use crate::contract::identity;
use crate::contract::tagging::{self, filter_any};
use crate::deployment::deletion::Deletion;
use crate::deployment::names::TAG_DEPLOYMENT;
use crate::deployment::plan::{Plan, Verb};

/// The S3 endpoint's logical ID.
pub(super) const LOGICAL_ID: &str = "endpoint/s3";

/// Whether an endpoint is a gateway endpoint for S3.
pub(super) fn is_s3_gateway(work: &Work<'_>, endpoint: &VpcEndpoint) -> bool {
    endpoint.vpc_endpoint_type() == Some(&VpcEndpointType::Gateway)
        && endpoint.service_name() == Some(service(work).as_str())
}

fn service(work: &Work<'_>) -> String {
    format!("com.amazonaws.{}.s3", work.aws.settings.region)
}

fn has_state(endpoint: &VpcEndpoint, state: &str) -> bool {
    endpoint.state().is_some_and(|actual| actual.as_str().eq_ignore_ascii_case(state))
}

/// Whether an endpoint is deleted: EC2 returns it for a while.
pub(super) fn is_deleted(endpoint: &VpcEndpoint) -> bool {
    has_state(endpoint, "deleted")
}

/// Whether an endpoint is neither deleted nor failed. EC2 returns deleted endpoints for a while, and writes states in upper
/// or lower case.
pub(super) fn is_live(endpoint: &VpcEndpoint) -> bool {
    endpoint.state().is_some_and(|state| {
        !["deleting", "deleted", "failed"]
            .iter()
            .any(|state_name| state.as_str().eq_ignore_ascii_case(state_name))
    })
}

/// Whether an endpoint is being deleted or has failed: until its deletion it uses its route tables.
pub(super) fn is_deleting_or_failed(endpoint: &VpcEndpoint) -> bool {
    has_failed(endpoint) || has_state(endpoint, "deleting")
}

fn has_failed(endpoint: &VpcEndpoint) -> bool {
    has_state(endpoint, "failed")
}

/// The private route tables that the endpoint lacks.
fn missing_tables(work: &Work<'_>, observed: &Observed, endpoint: Option<&VpcEndpoint>) -> Vec<String> {
    let has =
        |id: &str| endpoint.is_some_and(|endpoint| endpoint.route_table_ids().iter().any(|has| has == id));
    let zones = work.spec.network.zone_letters().into_iter();
    let tables =
        zones.filter_map(|zone| observed.tables.get(&private_table_logical_id(zone))?.route_table_id());
    tables.filter(|id| !has(id)).map(str::to_owned).collect()
}

/// The route tables of others that somebody added to the endpoint.
fn not_owned_tables(observed: &Observed, endpoint: &VpcEndpoint) -> Vec<String> {
    let ours = |id: &str| observed.tables.values().any(|table| table.route_table_id() == Some(id));
    endpoint.route_table_ids().iter().filter(|id| !ours(id)).cloned().collect()
}

pub(super) async fn plan(work: &Work<'_>, observed: &Observed, plan: &mut Plan) -> Result<(), StepError> {
    if let Some(other) = find_other(work, observed).await? {
        plan.problem(
            LOGICAL_ID,
            format!("S3 gateway endpoint {other}, which is not managed by this stack, uses the stack's route tables"),
            fix(work, &other),
        );
        return Ok(());
    }
    let Some(endpoint) = &observed.endpoint else {
        plan_missing(LOGICAL_ID, plan);
        return Ok(());
    };
    if !has_state(endpoint, "available") {
        plan.change(Verb::Wait, LOGICAL_ID);
    }
    plan.tags(&work.stack, NAME, LOGICAL_ID, &tagging::read(endpoint.tags()));
    for table in missing_tables(work, observed, Some(endpoint)) {
        plan.update(LOGICAL_ID, "routeTables", "(none)", table);
    }
    // The tables that this deployment creates are added too.
    let zones = work.spec.network.zone_letters().into_iter().map(private_table_logical_id);
    for table in zones.filter(|logical_id| !observed.tables.contains_key(logical_id)) {
        plan.update(LOGICAL_ID, "routeTables", "(none)", format!("{table} (new)"));
    }
    for table in not_owned_tables(observed, endpoint) {
        plan.update(LOGICAL_ID, "routeTables", table, "(none)");
    }
    if !gives_full_access(endpoint) {
        plan.update(LOGICAL_ID, "policy", endpoint.policy_document().unwrap_or_default(), "full access");
    }
    Ok(())
}

/// How to resolve that another endpoint has the stack's route tables: a table has at most one route to S3.
fn fix(work: &Work<'_>, other: &str) -> String {
    format!(
        "remove the stack's route tables from {other}; if it is the stack's own, {} instead",
        identity::fix(work, other)
    )
}

/// Finds another endpoint for S3 in the private route tables that lack the stack's. Their routes name its ID.
async fn find_other(work: &Work<'_>, observed: &Observed) -> Result<Option<String>, StepError> {
    let missing = missing_tables(work, observed, observed.endpoint.as_ref());
    let ours = [&observed.endpoint, &observed.previous_endpoint]
        .map(|endpoint| endpoint.as_ref().and_then(VpcEndpoint::vpc_endpoint_id));
    let tables = observed.tables.values();
    let tables = tables.filter(|table| missing.iter().any(|id| table.route_table_id() == Some(id)));
    let gateways = tables.flat_map(|table| table.routes().iter().filter_map(|route| route.gateway_id()));
    let mut others: Vec<&str> =
        gateways.filter(|id| id.starts_with("vpce-") && !ours.contains(&Some(*id))).collect();
    others.sort_unstable();
    others.dedup();
    if others.is_empty() {
        return Ok(None);
    }
    let call = work.aws.ec2().describe_vpc_endpoints().filters(filter_any("vpc-endpoint-id", &others));
    let found = call.send().await.doing("reading the endpoints in the stack's route tables")?;
    let mut found = found.vpc_endpoints().iter();
    Ok(found.find(|endpoint| is_s3_gateway(work, endpoint)).and_then(|other| other.vpc_endpoint_id.clone()))
}

pub(super) async fn apply(work: &Work<'_>, observed: &Observed, vpc: &str) -> Result<(), StepError> {
    let missing = missing_tables(work, observed, observed.endpoint.as_ref());
    let not_visible = [
        "InvalidRouteTableId.NotFound",
        "InvalidRouteTableID.NotFound",
        "InvalidVpcID.NotFound",
        "InvalidVpcId.NotFound",
    ];
    let Some(endpoint) = &observed.endpoint else {
        if let Some(previous) = &observed.previous_endpoint {
            if has_failed(previous) {
                check_not_failed(work, previous)?;
                let id = previous.vpc_endpoint_id().unwrap_or_default().to_owned();
                delete_endpoints(work, &[id]).await?;
            }
            // Until its deletion, its routes to S3 stay in the route tables.
            return Err(StepError::pending("the deletion of the previous S3 gateway endpoint"));
        }
        // EC2 returns the endpoint of an earlier call with the same token, even a deleted one.
        let deleted: Vec<&str> = observed.deleted_endpoints.iter().map(String::as_str).collect();
        let call = work
            .aws
            .ec2()
            .create_vpc_endpoint()
            .vpc_id(vpc)
            .vpc_endpoint_type(VpcEndpointType::Gateway)
            .service_name(service(work))
            .set_route_table_ids(Some(missing))
            .client_token(work.stack.token(LOGICAL_ID, &deleted))
            .tag_specifications(tagging::specification(
                ResourceType::VpcEndpoint,
                work.stack.tags(NAME, LOGICAL_ID),
            ));
        let created = call.send().await.unless(&["RouteAlreadyExists"]).stalled_on(
            &not_visible,
            "the VPC and the route tables to become visible",
            "creating S3 gateway endpoint endpoint/s3",
        )?;
        if created.is_some() {
            return Err(StepError::pending("S3 gateway endpoint endpoint/s3 to become available"));
        }
        return Err(match find_other(work, observed).await? {
            Some(other) => StepError::NotOwned {
                what: format!("S3 gateway endpoint {other}, which uses the stack's route tables,"),
                fix: fix(work, &other),
            },
            // An earlier response was lost, or another endpoint is not visible yet.
            None => StepError::stalled("the endpoint that has the routes to S3 to become visible"),
        });
    };
    let id = endpoint.vpc_endpoint_id().unwrap_or_default();
    tagging::repair(work, NAME, LOGICAL_ID, id, &tagging::read(endpoint.tags())).await?;
    let (not_owned, resets) = (not_owned_tables(observed, endpoint), !gives_full_access(endpoint));
    if !has_state(endpoint, "available") {
        return Err(StepError::pending(format!("S3 gateway endpoint {id} to become available")));
    }
    if missing.is_empty() && not_owned.is_empty() && !resets {
        return Ok(());
    }
    let call = work
        .aws
        .ec2()
        .modify_vpc_endpoint()
        .vpc_endpoint_id(id)
        .set_add_route_table_ids(unless_empty(missing))
        .set_remove_route_table_ids(unless_empty(not_owned))
        .set_reset_policy(resets.then_some(true));
    call.send()
        .await
        // `RouteAlreadyExists`: the response to the same change may have been lost, so the next attempt reads again.
        .unless(&["IncorrectState", "RouteAlreadyExists"])
        .stalled_on(
            &not_visible,
            "the route tables to become visible",
            format!("updating S3 gateway endpoint {id}"),
        )?
        .map(drop)
        .ok_or_else(|| StepError::stalled(format!("S3 gateway endpoint {id} to accept its route tables")))
}

/// Fails if this deployment created the failed endpoint: another one would fail too.
fn check_not_failed(work: &Work<'_>, endpoint: &VpcEndpoint) -> Result<(), StepError> {
    let is_from_this_deployment =
        tagging::read(endpoint.tags()).get(TAG_DEPLOYMENT) == Some(&work.deployment.id);
    if work.deployment.rolling_back || !is_from_this_deployment {
        return Ok(());
    }
    Err(StepError::Unhealthy {
        what: format!("S3 gateway endpoint {}", endpoint.vpc_endpoint_id().unwrap_or_default()),
        why: failure(endpoint),
    })
}

/// Removes the route tables that the spec no longer has from the endpoint, which would prevent their deletion.
pub(super) async fn detach_undesired_tables(work: &Work<'_>, observed: &Observed) -> Result<(), StepError> {
    let Some(endpoint) = &observed.endpoint else { return Ok(()) };
    let tables =
        observed.tables.iter().filter(|(logical_id, _)| !super::tables::is_desired(work, logical_id));
    let attached: Vec<String> = tables
        .filter_map(|(_, table)| table.route_table_id().map(str::to_owned))
        .filter(|id| endpoint.route_table_ids().contains(id))
        .collect();
    if attached.is_empty() {
        return Ok(());
    }
    let id = endpoint.vpc_endpoint_id().unwrap_or_default();
    let call =
        work.aws.ec2().modify_vpc_endpoint().vpc_endpoint_id(id).set_remove_route_table_ids(Some(attached));
    call.send().await.doing(format!("removing route tables from S3 gateway endpoint {id}")).map(drop)
}

pub(super) async fn delete(
    work: &Work<'_>,
    observed: &Observed,
    deletion: &mut Deletion,
) -> Result<(), StepError> {
    let id = |endpoint: &VpcEndpoint| endpoint.vpc_endpoint_id().unwrap_or_default().to_owned();
    let failed = observed.previous_endpoint.as_ref().filter(|endpoint| has_failed(endpoint));
    for endpoint in observed.endpoint.iter().chain(failed) {
        let refused = delete_endpoints(work, &[id(endpoint)]).await?;
        match refused.into_iter().next() {
            Some((_, why)) => deletion.held(LOGICAL_ID, id(endpoint), why),
            None => deletion.leaving(LOGICAL_ID, id(endpoint), "is being deleted"),
        }
    }
    if let Some(endpoint) = observed.previous_endpoint.as_ref().filter(|endpoint| !has_failed(endpoint)) {
        deletion.leaving(LOGICAL_ID, id(endpoint), "is being deleted");
    }
    Ok(())
}
