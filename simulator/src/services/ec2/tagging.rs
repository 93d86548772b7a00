//! Tags: on creation, and by the calls of their own.

use std::collections::BTreeMap;

use serde_json::json;

use super::query::{Filters, Page};
use super::thing::{Kind, Thing, exists, find_mut, known};
use super::{
    address::Address, endpoint::Endpoint, gateway::InternetGateway, group::Group, instance::Instance,
    interface::Interface, nat::NatGateway, route_table::RouteTable, rule::Rule, subnet::Subnet,
    volume::Volume, vpc::Vpc,
};
use crate::params::{Params, Refusal};
use crate::protocol::Reply;
use crate::world::{self, Tags, World};

/// AWS's limit of tags for one resource.
const MOST_TAGS: usize = 50;

/// The tags that a call wants on what it makes, by kind.
///
/// # Errors
/// `InvalidParameterValue` for a kind that the call does not make, `TagLimitExceeded`, and reserved keys.
pub(super) fn specified(params: &Params, makes: &[Kind]) -> Result<BTreeMap<&'static str, Tags>, Refusal> {
    let mut specified = BTreeMap::new();
    for specification in params.structs("TagSpecification") {
        let name = specification.required("ResourceType")?;
        let tags = world::tags(&specification, "Tag", "Key", "Value")?;
        let kind = makes.iter().find(|kind| kind.tag_type() == name).ok_or_else(|| {
            Refusal::new(
                "InvalidParameterValue",
                format!("'{name}' is not a valid taggable resource type for this operation."),
            )
        })?;
        check(&tags)?;
        if specified.insert(kind.tag_type(), tags).is_some() {
            return Err(Refusal::new(
                "InvalidParameterValue",
                format!("'{name}' is specified more than once in the tag specifications."),
            ));
        }
    }
    Ok(specified)
}

/// The tags for the one thing that a call makes.
///
/// # Errors
/// Those of [`specified`].
pub(super) fn for_new(params: &Params, kind: Kind) -> Result<Tags, Refusal> {
    Ok(specified(params, &[kind])?.remove(kind.tag_type()).unwrap_or_default())
}

fn check(tags: &Tags) -> Result<(), Refusal> {
    if tags.len() > MOST_TAGS {
        return Err(Refusal::new("TagLimitExceeded", "More than 50 tags specified"));
    }
    Ok(())
}

fn tags_mut<'w>(world: &'w mut World, id: &str) -> Result<&'w mut Tags, Refusal> {
    fn of<'w, T: Thing>(world: &'w mut World, id: &str) -> Result<&'w mut Tags, Refusal> {
        Ok(find_mut::<T>(world, id)?.tags_mut())
    }
    match Kind::of(id) {
        Some(Kind::Vpc) => of::<Vpc>(world, id),
        Some(Kind::Subnet) => of::<Subnet>(world, id),
        Some(Kind::InternetGateway) => of::<InternetGateway>(world, id),
        Some(Kind::RouteTable) => of::<RouteTable>(world, id),
        Some(Kind::Address) => of::<Address>(world, id),
        Some(Kind::NatGateway) => of::<NatGateway>(world, id),
        Some(Kind::Endpoint) => of::<Endpoint>(world, id),
        Some(Kind::Group) => of::<Group>(world, id),
        Some(Kind::Rule) => of::<Rule>(world, id),
        Some(Kind::Interface) => of::<Interface>(world, id),
        Some(Kind::Instance) => of::<Instance>(world, id),
        Some(Kind::Volume) => of::<Volume>(world, id),
        None => Err(Refusal::new("InvalidID", format!("The ID '{id}' is not valid"))),
    }
}

/// The tags of a resource that exists, seen or not: a resource has them from the call that creates it.
pub(super) fn tags_of<'w>(world: &'w World, kind: Kind, id: &str) -> Option<&'w Tags> {
    fn of<'w, T: Thing>(world: &'w World, id: &str) -> Option<&'w Tags> {
        T::all(&world.ec2).get(id).filter(|thing| exists(world, *thing)).map(T::tags)
    }
    match kind {
        Kind::Vpc => of::<Vpc>(world, id),
        Kind::Subnet => of::<Subnet>(world, id),
        Kind::InternetGateway => of::<InternetGateway>(world, id),
        Kind::RouteTable => of::<RouteTable>(world, id),
        Kind::Address => of::<Address>(world, id),
        Kind::NatGateway => of::<NatGateway>(world, id),
        Kind::Endpoint => of::<Endpoint>(world, id),
        Kind::Group => of::<Group>(world, id),
        Kind::Rule => of::<Rule>(world, id),
        Kind::Interface => of::<Interface>(world, id),
        Kind::Instance => of::<Instance>(world, id),
        Kind::Volume => of::<Volume>(world, id),
    }
}

pub(super) fn create(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let ids = some_ids(params)?;
    let tags = world::tags(params, "Tag", "Key", "Value")?;
    params.done()?;
    if tags.is_empty() {
        return Err(Refusal::new("MissingParameter", "The request must contain the parameter tagSet"));
    }
    check(&tags)?;
    for id in &ids {
        let mut together = tags_mut(world, id)?.clone();
        together.extend(tags.clone());
        if together.len() > MOST_TAGS {
            return Err(Refusal::new(
                "TagLimitExceeded",
                format!("The maximum number of Tags for '{id}' has been reached."),
            ));
        }
    }
    for id in &ids {
        tags_mut(world, id)?.extend(tags.clone());
    }
    Ok(super::thing::done())
}

pub(super) fn delete(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let ids = some_ids(params)?;
    let mut wanted = Vec::new();
    for tag in params.structs("Tag") {
        wanted.push((tag.required("Key")?, tag.text("Value")));
    }
    params.done()?;
    for id in &ids {
        tags_mut(world, id)?;
    }
    for id in &ids {
        // Without keys, all go; with a value, only a tag that has that value.
        tags_mut(world, id)?.retain(|key, value| {
            !(wanted.is_empty()
                || wanted
                    .iter()
                    .any(|(name, only)| name == key && only.as_ref().is_none_or(|only| only == value)))
        });
    }
    Ok(super::thing::done())
}

fn some_ids(params: &Params) -> Result<Vec<String>, Refusal> {
    let ids = params.list("ResourceId");
    if ids.is_empty() {
        return Err(Refusal::new("MissingParameter", "The request must contain the parameter resourceIdSet"));
    }
    Ok(ids)
}

/// A tag as `DescribeTags` lists it: the resource, its kind, key and value.
type Row = (String, &'static str, String, String);

fn rows<T: Thing>(world: &World, rows: &mut Vec<Row>) {
    for thing in T::all(&world.ec2).values().filter(|thing| known(world, *thing)) {
        for (key, value) in thing.tags() {
            rows.push((thing.id().to_owned(), T::KIND.tag_type(), key.clone(), value.clone()));
        }
    }
}

pub(super) fn describe(world: &World, params: &Params) -> Result<Reply, Refusal> {
    let filters = Filters::read(params, &["key", "value", "resource-id", "resource-type"])?;
    let page = Page::read(params)?;
    params.done()?;
    let mut all = Vec::new();
    rows::<Vpc>(world, &mut all);
    rows::<Subnet>(world, &mut all);
    rows::<InternetGateway>(world, &mut all);
    rows::<RouteTable>(world, &mut all);
    rows::<Address>(world, &mut all);
    rows::<NatGateway>(world, &mut all);
    rows::<Endpoint>(world, &mut all);
    rows::<Group>(world, &mut all);
    rows::<Rule>(world, &mut all);
    rows::<Interface>(world, &mut all);
    rows::<Instance>(world, &mut all);
    rows::<Volume>(world, &mut all);
    let found = all
        .into_iter()
        .filter(|(id, kind, key, value)| {
            let tag = Tags::from([(key.clone(), value.clone())]);
            filters.pass(&tag, |name| match name {
                "key" => vec![key.clone()],
                "value" => vec![value.clone()],
                "resource-id" => vec![id.clone()],
                "resource-type" => vec![(*kind).to_owned()],
                _ => Vec::new(),
            })
        })
        .map(|(id, kind, key, value)| {
            json!({ "resourceId": id, "resourceType": kind, "key": key, "value": value })
        })
        .collect();
    Ok(page.answer("tagSet", found))
}
