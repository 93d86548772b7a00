//! The route tables: a public one that leads to the internet gateway, a private one in each zone (to which `egress`
//! adds its routes), and one without a way out for the database.

use aws_sdk_ec2::types::{ResourceType, RouteTable, Subnet};
use stackdrop_specs::Tier;

use super::found::Found;
use super::{NAME, gateway, plan_missing, subnet_role};
use crate::component::{Plan, Removal, Verb, Work};
use crate::error::{Answer, StepError};
use crate::tagging;
use crate::together;

const PUBLIC: &str = "route-table/public";
const DATABASE: &str = "route-table/database";
/// Everything outside the VPC.
const ANYWHERE: &str = "0.0.0.0/0";

/// The role of a zone's private route table.
pub(super) fn private_role(zone: char) -> String {
    format!("route-table/private/{zone}")
}

/// The roles of all route tables.
fn wanted(work: &Work<'_>) -> Vec<String> {
    let private = work.spec.network.zone_letters().into_iter().map(private_role);
    [PUBLIC.to_owned(), DATABASE.to_owned()].into_iter().chain(private).collect()
}

/// Whether the spec asks for a table with this role.
pub(super) fn is_wanted(work: &Work<'_>, role: &str) -> bool {
    wanted(work).iter().any(|wanted| wanted == role)
}

/// Each subnet's role with the role of its route table.
fn pairs(work: &Work<'_>) -> Vec<(String, String)> {
    let subnets = work.spec.network.subnets().into_iter();
    subnets
        .map(|subnet| {
            let table = match subnet.tier {
                Tier::Public => PUBLIC.to_owned(),
                Tier::Private => private_role(subnet.zone),
                Tier::Database => DATABASE.to_owned(),
            };
            (subnet_role(subnet.tier, subnet.zone), table)
        })
        .collect()
}

fn is_associated(table: &RouteTable, subnet: &Subnet) -> bool {
    table.associations().iter().any(|association| association.subnet_id() == subnet.subnet_id())
}

/// Whether the public table leads to the internet gateway.
fn leads_out(table: &RouteTable, gateway: &str) -> bool {
    let mut routes = table.routes().iter();
    routes
        .any(|route| route.destination_cidr_block() == Some(ANYWHERE) && route.gateway_id() == Some(gateway))
}

pub(super) fn plan(work: &Work<'_>, found: &Found, plan: &mut Plan) {
    for role in wanted(work) {
        match found.tables.get(&role) {
            None => plan_missing(&role, plan),
            Some(table) => plan.tags(work, NAME, &role, &tagging::read(table.tags())),
        }
    }
    for role in found.tables.keys().filter(|role| !is_wanted(work, role)) {
        plan.change(Verb::Remove, role);
    }
    for (subnet_role, table_role) in pairs(work) {
        if let (Some(subnet), Some(table)) = (found.subnets.get(&subnet_role), found.tables.get(&table_role))
            && !is_associated(table, subnet)
        {
            plan.update(&table_role, "associations", "(none)", &subnet_role);
        }
    }
    if let (Some(table), Some((gateway, true))) = (found.tables.get(PUBLIC), gateway::attached(found))
        && !leads_out(table, gateway)
    {
        plan.update(PUBLIC, "routes.0.0.0.0/0", "(none)", gateway);
    }
}

/// Creates the missing ones. Whether there were any.
pub(super) async fn ensure(work: &Work<'_>, found: &Found, vpc: &str) -> Result<bool, StepError> {
    for (role, table) in &found.tables {
        let id = table.route_table_id().unwrap_or_default();
        tagging::keep(work, NAME, role, id, &tagging::read(table.tags())).await?;
    }
    let missing: Vec<String> =
        wanted(work).into_iter().filter(|role| !found.tables.contains_key(role)).collect();
    together::all(missing.iter().map(|role| create(work, vpc, role))).await?;
    Ok(!missing.is_empty())
}

async fn create(work: &Work<'_>, vpc: &str, role: &str) -> Result<(), StepError> {
    let call = work
        .aws
        .ec2
        .create_route_table()
        .vpc_id(vpc)
        .client_token(work.stack.token(role, &[]))
        .tag_specifications(tagging::specification(ResourceType::RouteTable, work.stack.tags(NAME, role)));
    let answer = call.send().await.doing(format!("creating the {role}"))?;
    let id = answer.route_table().and_then(RouteTable::route_table_id);
    tracing::info!(id, role, "Route table created.");
    Ok(())
}

/// Gives each subnet its route table.
pub(super) async fn associate(work: &Work<'_>, found: &Found) -> Result<(), StepError> {
    let pairs = pairs(work);
    let missing = pairs.iter().filter_map(|(subnet, table)| {
        let (subnet, table) = (found.subnets.get(subnet)?, found.tables.get(table)?);
        (!is_associated(table, subnet)).then_some((subnet, table))
    });
    together::all(missing.map(async |(subnet, table)| {
        let (subnet, table) =
            (subnet.subnet_id().unwrap_or_default(), table.route_table_id().unwrap_or_default());
        let call = work.aws.ec2.associate_route_table().subnet_id(subnet).route_table_id(table).send().await;
        // `Resource.AlreadyAssociated`: a lost answer has done it, which the next look shows; or somebody gave the
        // subnet another table, which is not ours to undo.
        call.pending_on(
            &["InvalidSubnetID.NotFound", "InvalidRouteTableID.NotFound", "Resource.AlreadyAssociated"],
            &format!("{subnet} to have the route table {table}, and no other that was given to it by hand"),
            format!("giving {subnet} the route table {table}"),
        )
    }))
    .await
    .map(drop)
}

/// Leads the public table to the internet gateway.
pub(super) async fn lead_out(work: &Work<'_>, found: &Found) -> Result<(), StepError> {
    let (Some(table), Some((gateway, true))) = (found.tables.get(PUBLIC), gateway::attached(found)) else {
        return Err(StepError::pending("the internet gateway to be attached"));
    };
    if leads_out(table, gateway) {
        return Ok(());
    }
    let id = table.route_table_id().unwrap_or_default();
    let late =
        ["InvalidGatewayID.NotFound", "InvalidRouteTableID.NotFound", "InvalidInternetGatewayID.NotFound"];
    let doing = format!("leading {id} to {gateway}");
    let there = table.routes().iter().any(|route| route.destination_cidr_block() == Some(ANYWHERE));
    if there {
        let call = work.aws.ec2.replace_route().route_table_id(id);
        let call = call.destination_cidr_block(ANYWHERE).gateway_id(gateway).send().await;
        call.pending_on(&late, "the internet gateway to be visible", doing).map(drop)
    } else {
        let call = work.aws.ec2.create_route().route_table_id(id);
        let call = call.destination_cidr_block(ANYWHERE).gateway_id(gateway).send().await;
        call.unless(&["RouteAlreadyExists"])
            .pending_on(&late, "the internet gateway to be visible", doing)
            .map(drop)
    }
}

/// Deletes the tables with these roles. Their associations went with the subnets; what is left of them is taken off first.
pub(super) async fn remove(
    work: &Work<'_>,
    found: &Found,
    removal: &mut Removal,
    which: impl Fn(&str) -> bool,
) -> Result<(), StepError> {
    let removals = found.tables.iter().filter(|(role, _)| which(role)).map(async |(role, table)| {
        let id = table.route_table_id().unwrap_or_default();
        for association in table.associations().iter().filter(|association| association.main() != Some(true))
        {
            let association = association.route_table_association_id().unwrap_or_default();
            let call = work.aws.ec2.disassociate_route_table().association_id(association).send().await;
            call.unless(&["InvalidAssociationID.NotFound"])
                .doing(format!("taking {association} off {id}"))?;
        }
        let call = work.aws.ec2.delete_route_table().route_table_id(id).send().await;
        let doing = format!("deleting {id}");
        Ok::<_, StepError>((
            role,
            id,
            call.gone(&["InvalidRouteTableID.NotFound"], &["DependencyViolation"], doing)?,
        ))
    });
    for (role, id, gone) in together::all(removals).await? {
        if gone {
            tracing::info!(id, role, "Route table deleted.");
        } else {
            removal.leave(role, id, "a subnet or an endpoint that is not of this stack uses it");
        }
    }
    Ok(())
}
