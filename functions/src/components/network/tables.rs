//! The route tables: a public one that leads to the internet gateway, a private one in each zone (to which `egress`
//! adds its routes), and one without a way out for the database.

use aws_sdk_ec2::types::{
    ResourceType, Route, RouteState, RouteTable, RouteTableAssociation, RouteTableAssociationStateCode,
    Subnet,
};
use stackdrop_specs::Tier;

use super::observed::{Observed, find_associations};
use super::{NAME, gateway, plan_missing, routes, subnet_logical_id};
use crate::aws::error::{Answer, StepError};
use crate::aws::join;
use crate::contract::component::Work;
use crate::contract::routes::target;
use crate::contract::tagging;
use crate::deployment::deletion::Deletion;
use crate::deployment::plan::{Plan, Verb};

const PUBLIC: &str = "route-table/public";
pub(super) const DATABASE: &str = "route-table/database";
/// Everything outside the VPC.
pub(super) const ANYWHERE: &str = "0.0.0.0/0";

/// The logical ID of a zone's private route table.
pub(super) fn private_table_logical_id(zone: char) -> String {
    format!("route-table/private/{zone}")
}

/// The roles of all route tables.
pub(super) fn desired(work: &Work<'_>) -> Vec<String> {
    let private = work.spec.network.zone_letters().into_iter().map(private_table_logical_id);
    [PUBLIC.to_owned(), DATABASE.to_owned()].into_iter().chain(private).collect()
}

/// Whether the spec asks for a table with this logical ID.
pub(super) fn is_desired(work: &Work<'_>, logical_id: &str) -> bool {
    desired(work).iter().any(|desired| desired == logical_id)
}

/// Each subnet's logical ID with the logical ID of its route table.
fn pairs(work: &Work<'_>) -> Vec<(String, String)> {
    let subnets = work.spec.network.subnets().into_iter();
    subnets
        .map(|subnet| {
            let table = match subnet.tier {
                Tier::Public => PUBLIC.to_owned(),
                Tier::Private => private_table_logical_id(subnet.zone),
                Tier::Database => DATABASE.to_owned(),
            };
            (subnet_logical_id(subnet.tier, subnet.zone), table)
        })
        .collect()
}

fn stands(association: &RouteTableAssociation) -> bool {
    use RouteTableAssociationStateCode::{Associated, Associating};
    let state = association.association_state().and_then(|state| state.state());
    state.is_none_or(|state| matches!(state, Associated | Associating))
}

fn is_associated(table: &RouteTable, subnet: &Subnet) -> bool {
    let mut associations = table.associations().iter();
    associations.any(|association| stands(association) && association.subnet_id() == subnet.subnet_id())
}

/// The subnets, with their tables, that do not use them.
fn astray<'f>(work: &Work<'_>, observed: &'f Observed) -> Vec<(String, &'f Subnet, &'f RouteTable)> {
    let pairs = pairs(work).into_iter().filter_map(|(subnet, table)| {
        Some((table.clone(), observed.subnets.get(&subnet)?, observed.tables.get(&table)?))
    });
    pairs.filter(|(_, subnet, table)| !is_associated(table, subnet)).collect()
}

/// What somebody has given one of our tables: a subnet of their own, or a gateway.
fn strangers<'f>(
    observed: &Observed,
    table: &'f RouteTable,
) -> impl Iterator<Item = &'f RouteTableAssociation> {
    let ours: Vec<String> = observed.subnets.values().filter_map(|subnet| subnet.subnet_id.clone()).collect();
    table.associations().iter().filter(move |association| {
        let is_ours = association.subnet_id().is_some_and(|id| ours.iter().any(|ours| ours == id));
        stands(association) && association.main() != Some(true) && !is_ours
    })
}

/// The route of the public table that leads out.
fn way_out(table: &RouteTable) -> Option<&Route> {
    table.routes().iter().find(|route| route.destination_cidr_block() == Some(ANYWHERE))
}

/// Whether the public table leads to the internet gateway.
fn leads_out(table: &RouteTable, gateway: &str) -> bool {
    way_out(table).is_some_and(|route| {
        route.gateway_id() == Some(gateway) && route.state() != Some(&RouteState::Blackhole)
    })
}

pub(super) async fn plan(work: &Work<'_>, observed: &Observed, plan: &mut Plan) -> Result<(), StepError> {
    for logical_id in desired(work) {
        match observed.tables.get(&logical_id) {
            None => plan_missing(&logical_id, plan),
            Some(table) => plan.tags(&work.stack, NAME, &logical_id, &tagging::read(table.tags())),
        }
    }
    for logical_id in observed.tables.keys().filter(|logical_id| !is_desired(work, logical_id)) {
        plan.change(Verb::Delete, logical_id);
    }
    plan_associations(work, observed, plan).await?;
    routes::plan(work, observed, plan);
    if let (Some(table), Some((gateway, true))) = (observed.tables.get(PUBLIC), gateway::attached(observed))
        && !leads_out(table, gateway)
    {
        let now = way_out(table).map_or_else(|| "(none)".into(), target);
        plan.update(PUBLIC, "routes.0.0.0.0/0", now, gateway);
    }
    Ok(())
}

async fn plan_associations(work: &Work<'_>, observed: &Observed, plan: &mut Plan) -> Result<(), StepError> {
    let astray = astray(work, observed);
    if !astray.is_empty() {
        let subnets: Vec<&str> = astray.iter().filter_map(|(_, subnet, _)| subnet.subnet_id()).collect();
        let now = find_associations(work, &subnets).await?;
        for (logical_id, subnet, _) in astray {
            let now = now.iter().find(|(association, _)| association.subnet_id() == subnet.subnet_id());
            let now = now.map_or("(the main one)", |(_, table)| table);
            plan.update(tagging::logical_id(subnet.tags()), "routeTable", now, logical_id);
        }
    }
    for logical_id in desired(work) {
        let Some(table) = observed.tables.get(&logical_id) else { continue };
        for stranger in strangers(observed, table) {
            let who = stranger.subnet_id().or(stranger.gateway_id()).unwrap_or("(unknown)");
            plan.update(&logical_id, "associations", who, "(none)");
        }
    }
    Ok(())
}

/// Creates the missing ones. Whether there were any.
pub(super) async fn apply(work: &Work<'_>, observed: &Observed, vpc: &str) -> Result<bool, StepError> {
    for (logical_id, table) in &observed.tables {
        let id = table.route_table_id().unwrap_or_default();
        tagging::keep(work, NAME, logical_id, id, &tagging::read(table.tags())).await?;
    }
    let missing: Vec<String> =
        desired(work).into_iter().filter(|logical_id| !observed.tables.contains_key(logical_id)).collect();
    join::all(missing.iter().map(|logical_id| create(work, vpc, logical_id))).await?;
    Ok(!missing.is_empty())
}

async fn create(work: &Work<'_>, vpc: &str, logical_id: &str) -> Result<(), StepError> {
    let call = work
        .aws
        .ec2()
        .create_route_table()
        .vpc_id(vpc)
        .client_token(work.stack.token(logical_id, &[]))
        .tag_specifications(tagging::specification(
            ResourceType::RouteTable,
            work.stack.tags(NAME, logical_id),
        ));
    let answer = call.send().await.doing(format!("creating the {logical_id}"))?;
    let id = answer.route_table().and_then(RouteTable::route_table_id);
    tracing::info!(id, logical_id, "Route table created.");
    Ok(())
}

/// Gives each subnet its route table, and takes from each table what somebody else has given it.
pub(super) async fn associate(work: &Work<'_>, observed: &Observed) -> Result<(), StepError> {
    let astray = astray(work, observed);
    join::all(astray.iter().map(|(_, subnet, table)| associate_one(work, subnet, table))).await?;
    let tables = desired(work).into_iter().filter_map(|logical_id| observed.tables.get(&logical_id));
    let strangers: Vec<_> = tables.flat_map(|table| strangers(observed, table)).collect();
    join::all(strangers.into_iter().map(|stranger| disassociate(work, stranger))).await.map(drop)
}

async fn associate_one(work: &Work<'_>, subnet: &Subnet, table: &RouteTable) -> Result<(), StepError> {
    let (subnet, table) =
        (subnet.subnet_id().unwrap_or_default(), table.route_table_id().unwrap_or_default());
    let doing = format!("giving {subnet} the route table {table}");
    let late = ["InvalidSubnetID.NotFound", "InvalidRouteTableID.NotFound"];
    let waits_for = format!("{subnet} and the route table {table} to be visible");
    let call = work.aws.ec2().associate_route_table().subnet_id(subnet).route_table_id(table).send().await;
    let made = call.unless(&["Resource.AlreadyAssociated"]).pending_on(&late, &waits_for, &doing)?;
    if made.is_some() {
        return Ok(());
    }
    // A lost answer has done it; or somebody gave the subnet another table: then it changes over without a gap.
    let now = find_associations(work, &[subnet]).await?.into_iter().next();
    match now {
        Some((_, now)) if now == table => Ok(()),
        Some((association, _)) => {
            let id = association.route_table_association_id().unwrap_or_default();
            let call = work.aws.ec2().replace_route_table_association().association_id(id);
            let call = call.route_table_id(table).send().await;
            tracing::info!(subnet, table, "Subnet given its route table again.");
            call.pending_on(&["InvalidAssociationID.NotFound"], &waits_for, doing).map(drop)
        }
        None => Err(StepError::pending(waits_for)),
    }
}

async fn disassociate(work: &Work<'_>, association: &RouteTableAssociation) -> Result<(), StepError> {
    let id = association.route_table_association_id().unwrap_or_default();
    let call = work.aws.ec2().disassociate_route_table().association_id(id).send().await;
    let table = association.route_table_id().unwrap_or_default();
    call.unless(&["InvalidAssociationID.NotFound"]).doing(format!("taking {id} off {table}")).map(drop)
}

/// Leads the public table to the internet gateway.
pub(super) async fn lead_out(work: &Work<'_>, observed: &Observed) -> Result<(), StepError> {
    let (Some(table), Some((gateway, true))) = (observed.tables.get(PUBLIC), gateway::attached(observed))
    else {
        return Err(StepError::pending("the internet gateway to be attached"));
    };
    if leads_out(table, gateway) {
        return Ok(());
    }
    let id = table.route_table_id().unwrap_or_default();
    let late =
        ["InvalidGatewayID.NotFound", "InvalidRouteTableID.NotFound", "InvalidInternetGatewayID.NotFound"];
    let doing = format!("leading {id} to {gateway}");
    if way_out(table).is_some() {
        let call = work.aws.ec2().replace_route().route_table_id(id);
        let call = call.destination_cidr_block(ANYWHERE).gateway_id(gateway).send().await;
        call.pending_on(&late, "the internet gateway to be visible", doing).map(drop)
    } else {
        let call = work.aws.ec2().create_route().route_table_id(id);
        let call = call.destination_cidr_block(ANYWHERE).gateway_id(gateway).send().await;
        call.unless(&["RouteAlreadyExists"])
            .pending_on(&late, "the internet gateway to be visible", doing)
            .map(drop)
    }
}

/// Deletes the tables with these roles, after the subnets: the associations of deleted subnets went with them. The others
/// are taken off first. (An association that is gone has no table by whose tag IAM could allow the call.)
pub(super) async fn delete(
    work: &Work<'_>,
    observed: &Observed,
    deletion: &mut Deletion,
    which: impl Fn(&str) -> bool,
) -> Result<(), StepError> {
    let deleted: Vec<&str> = observed
        .subnets
        .iter()
        .filter(|(logical_id, _)| {
            !deletion.remaining.iter().any(|remaining| remaining.resource == **logical_id)
        })
        .filter_map(|(_, subnet)| subnet.subnet_id())
        .collect();
    let stands = |association: &&RouteTableAssociation| {
        association.main() != Some(true) && association.subnet_id().is_none_or(|id| !deleted.contains(&id))
    };
    let removals = observed.tables.iter().filter(|(logical_id, _)| which(logical_id)).map(
        async |(logical_id, table)| {
            let id = table.route_table_id().unwrap_or_default();
            for association in table.associations().iter().filter(stands) {
                disassociate(work, association).await?;
            }
            let call = work.aws.ec2().delete_route_table().route_table_id(id).send().await;
            let doing = format!("deleting {id}");
            Ok::<_, StepError>((
                logical_id,
                id,
                call.gone(&["InvalidRouteTableID.NotFound"], &["DependencyViolation"], doing)?,
            ))
        },
    );
    for (logical_id, id, gone) in join::all(removals).await? {
        if gone {
            tracing::info!(id, logical_id, "Route table deleted.");
        } else {
            deletion.remains(logical_id, id, "a subnet or an endpoint that is not of this stack uses it");
        }
    }
    Ok(())
}
