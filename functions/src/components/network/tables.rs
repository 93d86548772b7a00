//! The route tables: a public one with a default route to the internet gateway, a private one in each zone (to which
//! `egress` adds routes), and one without a default route for the database.

use std::collections::BTreeMap;

use aws_sdk_ec2::types::{
    ResourceType, Route, RouteState, RouteTable, RouteTableAssociation, RouteTableAssociationStateCode,
    Subnet,
};
use stackdrop_specs::Tier;

use super::observed::{Observed, find_associations};
use super::{NAME, gateway, plan_missing, routes, subnet_logical_id};
use crate::aws::error::{AwsResult, StepError};
use crate::aws::join;
use crate::contract::component::Work;
use crate::contract::identity::{self, Lost};
use crate::contract::routes::target;
use crate::contract::tagging;
use crate::deployment::deletion::Deletion;
use crate::deployment::plan::{Plan, Verb};

const PUBLIC: &str = "route-table/public";
pub(super) const DATABASE: &str = "route-table/database";
/// The destination of a default route.
pub(super) const ANYWHERE: &str = "0.0.0.0/0";

/// The logical ID of a zone's private route table.
pub(super) fn private_table_logical_id(zone: char) -> String {
    format!("route-table/private/{zone}")
}

/// The logical IDs of all route tables that a spec can have.
pub(super) fn known() -> Vec<String> {
    [PUBLIC.to_owned(), DATABASE.to_owned()]
        .into_iter()
        .chain(['a', 'b', 'c'].map(private_table_logical_id))
        .collect()
}

/// The logical ID of the route table that the subnets of a table should have.
pub(super) fn used_as(table: &RouteTable, subnets: &BTreeMap<String, Subnet>) -> Option<String> {
    let mut used = table.associations().iter().filter_map(|association| {
        subnets.iter().find(|(_, subnet)| subnet.subnet_id() == association.subnet_id())
    });
    let (logical_id, _) = used.next()?;
    match logical_id.split('/').collect::<Vec<_>>()[..] {
        ["subnet", "public", _] => Some(PUBLIC.to_owned()),
        ["subnet", "database", _] => Some(DATABASE.to_owned()),
        ["subnet", "private", zone] => Some(format!("route-table/private/{zone}")),
        _ => None,
    }
}

/// The logical IDs of all desired route tables.
pub(super) fn desired(work: &Work<'_>) -> Vec<String> {
    let private = work.spec.network.zone_letters().into_iter().map(private_table_logical_id);
    [PUBLIC.to_owned(), DATABASE.to_owned()].into_iter().chain(private).collect()
}

/// Whether the spec has a route table with this logical ID.
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

fn is_live(association: &RouteTableAssociation) -> bool {
    use RouteTableAssociationStateCode::{Associated, Associating};
    let state = association.association_state().and_then(|state| state.state());
    state.is_none_or(|state| matches!(state, Associated | Associating))
}

fn is_associated(table: &RouteTable, subnet: &Subnet) -> bool {
    let mut associations = table.associations().iter();
    associations.any(|association| is_live(association) && association.subnet_id() == subnet.subnet_id())
}

/// The subnets that are not associated with their route tables: the table's logical ID, the subnet and the table.
fn missing_associations<'f>(
    work: &Work<'_>,
    observed: &'f Observed,
) -> Vec<(String, &'f Subnet, &'f RouteTable)> {
    let pairs = pairs(work).into_iter().filter_map(|(subnet, table)| {
        Some((table.clone(), observed.subnets.get(&subnet)?, observed.tables.get(&table)?))
    });
    pairs.filter(|(_, subnet, table)| !is_associated(table, subnet)).collect()
}

/// The associations that somebody else added to one of the stack's tables: with another subnet, or with a gateway.
fn extra_associations<'f>(
    observed: &Observed,
    table: &'f RouteTable,
) -> impl Iterator<Item = &'f RouteTableAssociation> {
    let ours: Vec<String> = observed.subnets.values().filter_map(|subnet| subnet.subnet_id.clone()).collect();
    table.associations().iter().filter(move |association| {
        let is_ours = association.subnet_id().is_some_and(|id| ours.iter().any(|ours| ours == id));
        is_live(association) && association.main() != Some(true) && !is_ours
    })
}

/// The default route of a table.
fn default_route(table: &RouteTable) -> Option<&Route> {
    table.routes().iter().find(|route| route.destination_cidr_block() == Some(ANYWHERE))
}

/// Whether the table's default route leads to the internet gateway.
fn is_default_route_to(table: &RouteTable, gateway: &str) -> bool {
    default_route(table).is_some_and(|route| {
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
    for Lost { logical_id, id } in find_untagged(work, observed).await? {
        plan.problem(
            &logical_id,
            format!("route table {id}, which the subnets of {logical_id} use, is not managed by this stack"),
            format!(
                "{} if the table is the stack's own; otherwise associate the subnets with the main route table",
                identity::fix(work, &id)
            ),
        );
    }
    plan_associations(work, observed, plan).await?;
    routes::plan(work, observed, plan);
    let gateway = gateway::attached(observed).map(|(gateway, _)| gateway);
    if let Some(table) = observed.tables.get(PUBLIC)
        && !gateway.is_some_and(|gateway| is_default_route_to(table, gateway))
    {
        let actual = default_route(table).map_or_else(|| "(none)".into(), target);
        plan.update(PUBLIC, "routes.0.0.0.0/0", actual, gateway.unwrap_or("(new)"));
    }
    Ok(())
}

/// The route tables without the stack's tag that subnets of a missing table use. The baseline does not know the IDs of all
/// tables, so such a table may be the stack's own.
async fn find_untagged(work: &Work<'_>, observed: &Observed) -> Result<Vec<Lost>, StepError> {
    let missing: Vec<(String, &Subnet)> = pairs(work)
        .into_iter()
        .filter(|(_, table)| !observed.tables.contains_key(table))
        .filter_map(|(subnet, table)| Some((table, observed.subnets.get(&subnet)?)))
        .collect();
    let ids: Vec<&str> = missing.iter().filter_map(|(_, subnet)| subnet.subnet_id()).collect();
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let ours = |id: &str| observed.tables.values().any(|table| table.route_table_id() == Some(id));
    let mut untagged: Vec<Lost> = Vec::new();
    for (association, table) in find_associations(work, &ids).await? {
        let of = missing.iter().find(|(_, subnet)| subnet.subnet_id() == association.subnet_id());
        if let Some((logical_id, _)) = of.filter(|_| !ours(&table)) {
            let lost = Lost::new(logical_id, table);
            if !untagged.contains(&lost) {
                untagged.push(lost);
            }
        }
    }
    Ok(untagged)
}

async fn plan_associations(work: &Work<'_>, observed: &Observed, plan: &mut Plan) -> Result<(), StepError> {
    let missing_associations = missing_associations(work, observed);
    if !missing_associations.is_empty() {
        let subnets: Vec<&str> =
            missing_associations.iter().filter_map(|(_, subnet, _)| subnet.subnet_id()).collect();
        let actual = find_associations(work, &subnets).await?;
        for (logical_id, subnet, _) in missing_associations {
            let actual = actual.iter().find(|(association, _)| association.subnet_id() == subnet.subnet_id());
            let actual = actual.map_or("(the main route table)", |(_, table)| table);
            let name = observed.subnets.iter().find(|(_, other)| other.subnet_id() == subnet.subnet_id());
            let name = name.map_or("subnet", |(logical_id, _)| logical_id);
            plan.update(name, "routeTable", actual, logical_id);
        }
    }
    for logical_id in desired(work) {
        let Some(table) = observed.tables.get(&logical_id) else { continue };
        for association in extra_associations(observed, table) {
            let who = association.subnet_id().or(association.gateway_id()).unwrap_or("(unknown)");
            plan.update(&logical_id, "associations", who, "(none)");
        }
    }
    Ok(())
}

/// Creates the missing route tables. Returns whether any were missing.
pub(super) async fn apply(work: &Work<'_>, observed: &Observed, vpc: &str) -> Result<bool, StepError> {
    for (logical_id, table) in &observed.tables {
        let id = table.route_table_id().unwrap_or_default();
        tagging::repair(work, NAME, logical_id, id, &tagging::read(table.tags())).await?;
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
    let response = call.send().await.stalled_on(
        &["InvalidVpcID.NotFound"],
        "the VPC to become visible",
        format!("creating route table {logical_id}"),
    )?;
    let id = response.route_table().and_then(RouteTable::route_table_id);
    tracing::info!(id, logical_id, "Route table created.");
    Ok(())
}

/// Associates each subnet with its route table, and removes the associations that somebody else added.
pub(super) async fn associate(work: &Work<'_>, observed: &Observed) -> Result<(), StepError> {
    let missing_associations = missing_associations(work, observed);
    join::all(missing_associations.iter().map(|(_, subnet, table)| associate_one(work, subnet, table)))
        .await?;
    let tables = desired(work).into_iter().filter_map(|logical_id| observed.tables.get(&logical_id));
    let extra_associations: Vec<_> = tables.flat_map(|table| extra_associations(observed, table)).collect();
    join::all(extra_associations.into_iter().map(|association| disassociate(work, association)))
        .await
        .map(drop)
}

async fn associate_one(work: &Work<'_>, subnet: &Subnet, table: &RouteTable) -> Result<(), StepError> {
    let (subnet, table) =
        (subnet.subnet_id().unwrap_or_default(), table.route_table_id().unwrap_or_default());
    let doing = format!("associating subnet {subnet} with route table {table}");
    let not_visible = ["InvalidSubnetID.NotFound", "InvalidRouteTableID.NotFound"];
    let waiting_for = format!("subnet {subnet} and route table {table} to become visible");
    let call = work.aws.ec2().associate_route_table().subnet_id(subnet).route_table_id(table).send().await;
    let created =
        call.unless(&["Resource.AlreadyAssociated"]).stalled_on(&not_visible, &waiting_for, &doing)?;
    if created.is_some() {
        return Ok(());
    }
    // An earlier response was lost, or somebody associated the subnet with another table. Replacing causes no gap.
    let actual = find_associations(work, &[subnet]).await?.into_iter().next();
    match actual {
        Some((_, actual)) if actual == table => Ok(()),
        Some((association, _)) => {
            let id = association.route_table_association_id().unwrap_or_default();
            let call = work.aws.ec2().replace_route_table_association().association_id(id);
            let call = call.route_table_id(table).send().await;
            tracing::info!(subnet, table, "Subnet associated with its route table again.");
            call.stalled_on(&["InvalidAssociationID.NotFound"], &waiting_for, doing).map(drop)
        }
        None => Err(StepError::stalled(waiting_for)),
    }
}

async fn disassociate(work: &Work<'_>, association: &RouteTableAssociation) -> Result<(), StepError> {
    let id = association.route_table_association_id().unwrap_or_default();
    let call = work.aws.ec2().disassociate_route_table().association_id(id).send().await;
    let table = association.route_table_id().unwrap_or_default();
    call.unless(&["InvalidAssociationID.NotFound"])
        .doing(format!("removing association {id} from route table {table}"))
        .map(drop)
}

/// Creates or replaces the public table's default route to the internet gateway.
pub(super) async fn apply_default_route(work: &Work<'_>, observed: &Observed) -> Result<(), StepError> {
    let (Some(table), Some((gateway, true))) = (observed.tables.get(PUBLIC), gateway::attached(observed))
    else {
        return Err(StepError::stalled("the internet gateway to become attached"));
    };
    if is_default_route_to(table, gateway) {
        return Ok(());
    }
    let id = table.route_table_id().unwrap_or_default();
    let not_visible =
        ["InvalidGatewayID.NotFound", "InvalidRouteTableID.NotFound", "InvalidInternetGatewayID.NotFound"];
    let doing = format!("routing route table {id} to internet gateway {gateway}");
    if default_route(table).is_some() {
        let call = work.aws.ec2().replace_route().route_table_id(id);
        let call = call.destination_cidr_block(ANYWHERE).gateway_id(gateway).send().await;
        call.stalled_on(&not_visible, "the internet gateway to become visible", doing).map(drop)
    } else {
        let call = work.aws.ec2().create_route().route_table_id(id);
        let call = call.destination_cidr_block(ANYWHERE).gateway_id(gateway).send().await;
        call.unless(&["RouteAlreadyExists"])
            .stalled_on(&not_visible, "the internet gateway to become visible", doing)
            .map(drop)
    }
}

/// Deletes the route tables whose logical IDs `which` selects, after the subnets. The associations of deleted subnets are
/// already gone: they have no table by whose tag IAM could allow a call. The other associations are removed first.
pub(super) async fn delete(
    work: &Work<'_>,
    observed: &Observed,
    deletion: &mut Deletion,
    which: impl Fn(&str) -> bool,
) -> Result<(), StepError> {
    let deleted_subnets: Vec<&str> = observed
        .subnets
        .iter()
        .filter(|(logical_id, _)| {
            !deletion.remaining.iter().any(|remaining| remaining.resource == **logical_id)
        })
        .filter_map(|(_, subnet)| subnet.subnet_id())
        .collect();
    let is_live = |association: &&RouteTableAssociation| {
        association.main() != Some(true)
            && association.subnet_id().is_none_or(|id| !deleted_subnets.contains(&id))
    };
    let deletions = observed.tables.iter().filter(|(logical_id, _)| which(logical_id)).map(
        async |(logical_id, table)| {
            let id = table.route_table_id().unwrap_or_default();
            for association in table.associations().iter().filter(is_live) {
                disassociate(work, association).await?;
            }
            let call = work.aws.ec2().delete_route_table().route_table_id(id).send().await;
            let doing = format!("deleting route table {logical_id} ({id})");
            Ok::<_, StepError>((
                logical_id,
                id,
                call.deleted(&["InvalidRouteTableID.NotFound"], &["DependencyViolation"], doing)?,
            ))
        },
    );
    for (logical_id, id, deleted) in join::all(deletions).await? {
        if deleted {
            tracing::info!(id, logical_id, "Route table deleted.");
        } else {
            deletion.waits(
                logical_id,
                id,
                "a subnet or an endpoint uses it that is not managed by this stack, or is still being deleted",
            );
        }
    }
    Ok(())
}
