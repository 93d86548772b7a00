//! The S3 gateway endpoint: it costs nothing, and image layers and packages come through it.

use aws_sdk_ec2::types::{ResourceType, VpcEndpoint, VpcEndpointType};

use super::found::Found;
use super::tables::private_role;
use super::{NAME, plan_missing};
use crate::aws::unless_empty;
use crate::component::{Plan, Removal, Work};
use crate::egress::gives_full_access;
use crate::error::{Answer, StepError};
use crate::tagging;

/// The S3 endpoint's role.
pub(super) const ROLE: &str = "endpoint/s3";

/// Whether an endpoint is there and will last. EC2 shows deleted ones for a while, its states in either case.
pub(super) fn stands(endpoint: &VpcEndpoint) -> bool {
    endpoint.state().is_some_and(|state| {
        !["deleting", "deleted", "failed"].iter().any(|gone| state.as_str().eq_ignore_ascii_case(gone))
    })
}

/// Whether an endpoint is being deleted or has failed: it still holds its route tables.
pub(super) fn is_leaving(endpoint: &VpcEndpoint) -> bool {
    has_failed(endpoint)
        || endpoint.state().is_some_and(|state| state.as_str().eq_ignore_ascii_case("deleting"))
}

fn has_failed(endpoint: &VpcEndpoint) -> bool {
    endpoint.state().is_some_and(|state| state.as_str().eq_ignore_ascii_case("failed"))
}

/// The private route tables that do not lead to it yet.
fn missing_tables(work: &Work<'_>, found: &Found, endpoint: Option<&VpcEndpoint>) -> Vec<String> {
    let has =
        |id: &str| endpoint.is_some_and(|endpoint| endpoint.route_table_ids().iter().any(|has| has == id));
    let zones = work.spec.network.zone_letters().into_iter();
    let tables = zones.filter_map(|zone| found.tables.get(&private_role(zone))?.route_table_id());
    tables.filter(|id| !has(id)).map(str::to_owned).collect()
}

/// The tables that somebody has let lead to it.
fn foreign_tables(found: &Found, endpoint: &VpcEndpoint) -> Vec<String> {
    let ours = |id: &str| found.tables.values().any(|table| table.route_table_id() == Some(id));
    endpoint.route_table_ids().iter().filter(|id| !ours(id)).cloned().collect()
}

pub(super) fn plan(work: &Work<'_>, found: &Found, plan: &mut Plan) {
    let Some(endpoint) = &found.endpoint else { return plan_missing(ROLE, plan) };
    plan.tags(work, NAME, ROLE, &tagging::read(endpoint.tags()));
    for table in missing_tables(work, found, Some(endpoint)) {
        plan.update(ROLE, "routeTables", "(none)", table);
    }
    for table in foreign_tables(found, endpoint) {
        plan.update(ROLE, "routeTables", table, "(none)");
    }
    if !gives_full_access(endpoint) {
        plan.update(ROLE, "policy", endpoint.policy_document().unwrap_or_default(), "full access");
    }
}

pub(super) async fn ensure(work: &Work<'_>, found: &Found, vpc: &str) -> Result<(), StepError> {
    let missing = missing_tables(work, found, found.endpoint.as_ref());
    let late = ["InvalidRouteTableId.NotFound", "InvalidRouteTableID.NotFound"];
    let Some(endpoint) = &found.endpoint else {
        if let Some(former) = &found.leaving_endpoint {
            if has_failed(former) {
                let id = former.vpc_endpoint_id().unwrap_or_default().to_owned();
                crate::egress::delete_endpoints(work, &[id]).await?;
            }
            // Its route to S3 is in the tables until it is deleted.
            return Err(StepError::pending("the former S3 gateway endpoint to be deleted"));
        }
        let call = work
            .aws
            .ec2()
            .create_vpc_endpoint()
            .vpc_id(vpc)
            .vpc_endpoint_type(VpcEndpointType::Gateway)
            .service_name(format!("com.amazonaws.{}.s3", work.aws.settings.region))
            .set_route_table_ids(Some(missing))
            .client_token(work.stack.token(ROLE, &[]))
            .tag_specifications(tagging::specification(
                ResourceType::VpcEndpoint,
                work.stack.tags(NAME, ROLE),
            ));
        let call = call.send().await;
        call.pending_on(&late, "the route tables to be visible", "creating the S3 gateway endpoint")?;
        return Ok(());
    };
    let id = endpoint.vpc_endpoint_id().unwrap_or_default();
    tagging::keep(work, NAME, ROLE, id, &tagging::read(endpoint.tags())).await?;
    let (foreign, resets) = (foreign_tables(found, endpoint), !gives_full_access(endpoint));
    if missing.is_empty() && foreign.is_empty() && !resets {
        return Ok(());
    }
    let call = work
        .aws
        .ec2()
        .modify_vpc_endpoint()
        .vpc_endpoint_id(id)
        .set_add_route_table_ids(unless_empty(missing))
        .set_remove_route_table_ids(unless_empty(foreign))
        .set_reset_policy(resets.then_some(true));
    call.send()
        .await
        // `RouteAlreadyExists`: looked at again, as the answer to the same change may have been lost.
        .unless(&["IncorrectState", "RouteAlreadyExists"])
        .pending_on(&late, "the route tables to be visible", format!("changing {id}"))?
        .map(drop)
        .ok_or_else(|| StepError::pending(format!("{id} to be available")))
}

/// Takes the endpoint off the private tables that the spec has no longer: it would hold them.
pub(super) async fn let_go(work: &Work<'_>, found: &Found) -> Result<(), StepError> {
    let Some(endpoint) = &found.endpoint else { return Ok(()) };
    let tables = found.tables.iter().filter(|(role, _)| !super::tables::is_wanted(work, role));
    let held: Vec<String> = tables
        .filter_map(|(_, table)| table.route_table_id().map(str::to_owned))
        .filter(|id| endpoint.route_table_ids().contains(id))
        .collect();
    if held.is_empty() {
        return Ok(());
    }
    let id = endpoint.vpc_endpoint_id().unwrap_or_default();
    let call =
        work.aws.ec2().modify_vpc_endpoint().vpc_endpoint_id(id).set_remove_route_table_ids(Some(held));
    call.send().await.doing(format!("taking {id} off route tables that are no longer needed")).map(drop)
}

pub(super) async fn remove(work: &Work<'_>, found: &Found, removal: &mut Removal) -> Result<(), StepError> {
    let id = |endpoint: &VpcEndpoint| endpoint.vpc_endpoint_id().unwrap_or_default().to_owned();
    let failed = found.leaving_endpoint.as_ref().filter(|endpoint| has_failed(endpoint));
    for endpoint in found.endpoint.iter().chain(failed) {
        let refused = crate::egress::delete_endpoints(work, &[id(endpoint)]).await?;
        let why = refused.into_iter().next().map_or_else(|| "is being deleted".into(), |(_, why)| why);
        removal.leave(ROLE, id(endpoint), why);
    }
    if let Some(endpoint) = found.leaving_endpoint.as_ref().filter(|endpoint| !has_failed(endpoint)) {
        removal.leave(ROLE, id(endpoint), "is being deleted");
    }
    Ok(())
}
