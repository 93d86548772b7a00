//! Route tables and their associations.

use std::time::Duration;

use serde_json::{Value, json};

use super::endpoint::Endpoint;
use super::query::{Filter, one};
use super::resource::{
    Entity, Kind, Resource, done, every, find, find_mut, has_dependencies, lag, stored_in, tag_set,
};
use super::route::{self, Route};
use super::{subnet, tagging, token, vpc};
use crate::params::{Params, Refusal};
use crate::protocol::Reply;
use crate::world::{Tags, World};

/// AWS's default quota of route tables in a VPC.
const MOST_TABLES: usize = 200;

#[derive(Debug, Clone)]
pub(crate) struct RouteTable {
    pub(super) entity: Entity,
    pub(super) vpc: String,
    /// Whether it is the VPC's main table, for subnets without a table of their own.
    pub(super) main: bool,
    pub(super) routes: Vec<Route>,
    /// The interface that the local route leads to, if somebody changed it.
    pub(super) diverted: Option<String>,
    associations: Vec<Association>,
}

/// The association of a table with a subnet; the main table has one without a subnet.
#[derive(Debug, Clone)]
struct Association {
    id: String,
    subnet: Option<String>,
    created: Duration,
}

impl RouteTable {
    fn of_associations(&self, value: impl Fn(&Association) -> String) -> Vec<String> {
        self.associations.iter().map(value).collect()
    }

    fn of_routes(&self, world: &World, field: &str) -> Vec<String> {
        route::documents(world, self)
            .iter()
            .filter_map(|route| Some(route.get(field)?.as_str()?.to_owned()))
            .collect()
    }

    pub(super) fn forget_subnet(&mut self, subnet: &str) {
        self.associations.retain(|association| association.subnet.as_deref() != Some(subnet));
    }

    fn subnets(&self) -> impl Iterator<Item = &str> {
        self.associations.iter().filter_map(|association| association.subnet.as_deref())
    }

    fn association_documents(&self, world: &World) -> Value {
        self.associations
            .iter()
            .map(|association| {
                json!({
                    "routeTableAssociationId": association.id,
                    "routeTableId": self.entity.id,
                    "subnetId": association.subnet,
                    "main": association.subnet.is_none(),
                    "associationState": { "state": association.state(world) },
                })
            })
            .collect()
    }
}

impl Association {
    fn state(&self, world: &World) -> &'static str {
        if world.now < self.created + lag(world) { "associating" } else { "associated" }
    }
}

impl Resource for RouteTable {
    const KIND: Kind = Kind {
        prefix: "rtb",
        tag_type: "route-table",
        not_found: ("InvalidRouteTableID.NotFound", "The routeTable ID '{id}' does not exist"),
        malformed: "InvalidRouteTableId.Malformed",
    };
    const IDS: &'static str = "RouteTableId";
    const SET: &'static str = "routeTableSet";
    const FILTERS: &'static [Filter<Self>] = &[
        ("route-table-id", |table, _| one(table.id())),
        ("vpc-id", |table, _| one(&table.vpc)),
        ("owner-id", |_, world| one(&world.account)),
        ("association.main", |table, _| table.of_associations(|one| one.subnet.is_none().to_string())),
        ("association.subnet-id", |table, _| table.subnets().map(str::to_owned).collect()),
        ("association.route-table-id", |table, _| table.of_associations(|_| table.id().to_owned())),
        ("association.route-table-association-id", |table, _| table.of_associations(|one| one.id.clone())),
        ("route.destination-cidr-block", |table, world| table.of_routes(world, "destinationCidrBlock")),
        ("route.destination-prefix-list-id", |table, world| {
            table.of_routes(world, "destinationPrefixListId")
        }),
        ("route.gateway-id", |table, world| table.of_routes(world, "gatewayId")),
        ("route.nat-gateway-id", |table, world| table.of_routes(world, "natGatewayId")),
        ("route.origin", |table, world| table.of_routes(world, "origin")),
        ("route.state", |table, world| table.of_routes(world, "state")),
    ];

    stored_in!(tables);

    fn document(&self, world: &World) -> Value {
        json!({
            "routeTableId": self.entity.id,
            "vpcId": self.vpc,
            "ownerId": world.account,
            "routeSet": route::documents(world, self),
            "associationSet": self.association_documents(world),
            "propagatingVgwSet": [],
            "tagSet": tag_set(&self.entity.tags),
        })
    }
}

/// The table of a subnet: its own, or the VPC's main table.
pub(super) fn of_subnet<'w>(world: &'w World, vpc: &str, subnet: &str) -> Option<&'w RouteTable> {
    let own = every::<RouteTable>(world).find(|table| table.subnets().any(|each| each == subnet));
    own.or_else(|| every::<RouteTable>(world).find(|table| table.main && table.vpc == vpc))
}

/// The table of an association, and its subnet, unless it is that of a main table.
pub(super) fn of_association<'w>(world: &'w World, id: &str) -> Option<(&'w str, Option<&'w str>)> {
    every::<RouteTable>(world).find_map(|table| {
        let association = table.associations.iter().find(|association| association.id == id)?;
        Some((table.id(), association.subnet.as_deref()))
    })
}

/// Creates the main table of a VPC.
pub(super) fn make_main(world: &mut World, vpc: &str) {
    let id = world.id(RouteTable::KIND.prefix);
    let association = Association { id: world.id("rtbassoc"), subnet: None, created: world.now };
    let table = RouteTable {
        entity: Entity::new(id.clone(), Tags::new(), world.now),
        vpc: vpc.into(),
        main: true,
        routes: Vec::new(),
        diverted: None,
        associations: vec![association],
    };
    world.states.ec2.tables.insert(id, table);
}

pub(super) fn create(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let vpc = params.required("VpcId")?;
    let client_token = params.text("ClientToken");
    let tags = tagging::for_new(params, RouteTable::KIND)?;
    params.done()?;
    let request = (vpc, tags);
    let token = client_token.as_deref();
    let before = token::used(world, "CreateRouteTable", token, &request)?;
    if let Some(table) = before.and_then(|ids| world.states.ec2.tables.get(ids.first()?)) {
        return Ok(json!({ "routeTable": table.document(world), "clientToken": client_token }).into());
    }
    vpc::usable(world, &request.0)?;
    if every::<RouteTable>(world).filter(|table| table.vpc == request.0).count() >= MOST_TABLES {
        return Err(Refusal::new(
            "RouteTableLimitExceeded",
            "The maximum number of route tables has been reached.",
        ));
    }
    let id = world.id(RouteTable::KIND.prefix);
    token::remember(world, "CreateRouteTable", token, &request, vec![id.clone()]);
    let table = RouteTable {
        entity: Entity::new(id.clone(), request.1, world.now),
        vpc: request.0,
        main: false,
        routes: Vec::new(),
        diverted: None,
        associations: Vec::new(),
    };
    let document = table.document(world);
    world.states.ec2.tables.insert(id, table);
    Ok(json!({ "routeTable": document, "clientToken": client_token }).into())
}

pub(super) fn delete(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let id = params.required("RouteTableId")?;
    params.done()?;
    let table = find::<RouteTable>(world, &id)?;
    // AWS does not document whether a table with a gateway endpoint's route can be deleted: refused.
    let has_endpoint =
        every::<Endpoint>(world).any(|endpoint| endpoint.is_present(world.now) && endpoint.routes_in(&id));
    if table.main || !table.associations.is_empty() || has_endpoint {
        return Err(has_dependencies("routeTable", &id));
    }
    world.states.ec2.tables.remove(&id);
    Ok(done())
}

pub(super) fn associate(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let id = params.required("RouteTableId")?;
    let subnet_id = params.required("SubnetId")?;
    params.done()?;
    let table = find::<RouteTable>(world, &id)?;
    let subnet = subnet::usable(world, &subnet_id)?;
    if table.vpc != subnet.vpc {
        return Err(Refusal::new(
            "InvalidParameterValue",
            format!("Route table {id} and subnet {subnet_id} belong to different networks"),
        ));
    }
    if every::<RouteTable>(world).any(|other| other.subnets().any(|each| each == subnet_id)) {
        return Err(Refusal::new(
            "Resource.AlreadyAssociated",
            format!("the specified association for route table {id} conflicts with an existing association"),
        ));
    }
    let association = Association { id: world.id("rtbassoc"), subnet: Some(subnet_id), created: world.now };
    let answer = json!({
        "associationId": association.id,
        "associationState": { "state": association.state(world) },
    });
    find_mut::<RouteTable>(world, &id)?.associations.push(association);
    Ok(answer.into())
}

/// Moves the association of a subnet, or a VPC's main association, to another table.
pub(super) fn replace_association(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let id = params.required("AssociationId")?;
    let table_id = params.required("RouteTableId")?;
    params.done()?;
    let table = find::<RouteTable>(world, &table_id)?;
    let Some(from) =
        every::<RouteTable>(world).find(|table| table.associations.iter().any(|one| one.id == id))
    else {
        return Err(Refusal::new(
            "InvalidAssociationID.NotFound",
            format!("The association ID '{id}' does not exist"),
        ));
    };
    if table.vpc != from.vpc {
        return Err(Refusal::new(
            "InvalidParameterValue",
            format!("Route table {table_id} and association {id} belong to different networks"),
        ));
    }
    let from = from.entity.id.clone();
    let mut moved = Vec::new();
    if let Some(from) = world.states.ec2.tables.get_mut(&from) {
        moved = from.associations.extract_if(.., |one| one.id == id).collect();
        from.main &= moved.iter().all(|one| one.subnet.is_some());
    }
    let (new, created) = (world.id("rtbassoc"), world.now);
    let table = find_mut::<RouteTable>(world, &table_id)?;
    for mut one in moved {
        table.main |= one.subnet.is_none();
        (one.id, one.created) = (new.clone(), created);
        table.associations.push(one);
    }
    Ok(json!({ "newAssociationId": new, "associationState": { "state": "associating" } }).into())
}

pub(super) fn disassociate(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let id = params.required("AssociationId")?;
    params.done()?;
    let not_found =
        || Refusal::new("InvalidAssociationID.NotFound", format!("The association ID '{id}' does not exist"));
    let table = world
        .states
        .ec2
        .tables
        .values_mut()
        .find(|table| table.associations.iter().any(|association| association.id == id))
        .ok_or_else(not_found)?;
    let is_main = table.associations.iter().any(|one| one.id == id && one.subnet.is_none());
    if is_main {
        return Err(Refusal::new(
            "InvalidParameterValue",
            format!("cannot disassociate the main route table association {id}"),
        ));
    }
    table.associations.retain(|association| association.id != id);
    Ok(done())
}
