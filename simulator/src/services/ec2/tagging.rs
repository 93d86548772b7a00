//! Tags: in creations, and by the tagging calls.

use std::collections::BTreeMap;

use serde_json::json;

use super::query::{Filter, Filters, Page, one};
use super::resource::{Kind, Resource, exists, find_mut, known};
use super::{
    address::Address, endpoint::Endpoint, flow_log::FlowLog, gateway::InternetGateway, group::Group,
    instance::Instance, interface::Interface, nat::NatGateway, route_table::RouteTable, rule::Rule,
    subnet::Subnet, volume::Volume, vpc::Vpc,
};
use crate::params::{Params, Refusal};
use crate::protocol::Reply;
use crate::world::{self, Tags, World};

/// AWS's limit of tags for one resource.
const MOST_TAGS: usize = 50;

/// The tags in a creation, by kind of resource.
///
/// # Errors
/// `InvalidParameterValue` for a kind that the call does not create, `TagLimitExceeded`, and reserved keys.
pub(super) fn specified(params: &Params, makes: &[Kind]) -> Result<BTreeMap<&'static str, Tags>, Refusal> {
    let mut specified = BTreeMap::new();
    for specification in params.structs("TagSpecification") {
        let name = specification.required("ResourceType")?;
        let tags = world::tags(&specification, "Tag", "Key", "Value")?;
        let kind = makes.iter().find(|kind| kind.tag_type == name).ok_or_else(|| {
            Refusal::new(
                "InvalidParameterValue",
                format!("'{name}' is not a valid taggable resource type for this operation."),
            )
        })?;
        check(&tags)?;
        if specified.insert(kind.tag_type, tags).is_some() {
            return Err(Refusal::new(
                "InvalidParameterValue",
                format!("'{name}' is specified more than once in the tag specifications."),
            ));
        }
    }
    Ok(specified)
}

/// The tags in a creation of one resource.
///
/// # Errors
/// Those of [`specified`].
pub(super) fn for_new(params: &Params, kind: Kind) -> Result<Tags, Refusal> {
    Ok(specified(params, &[kind])?.remove(kind.tag_type).unwrap_or_default())
}

fn check(tags: &Tags) -> Result<(), Refusal> {
    if tags.len() > MOST_TAGS {
        return Err(Refusal::new("TagLimitExceeded", "More than 50 tags specified"));
    }
    Ok(())
}

/// The tags of one type of resource.
struct Tagged {
    kind: Kind,
    /// The tags of an existing resource, known to calls or not.
    of: for<'w> fn(&'w World, &str) -> Option<&'w Tags>,
    of_mut: for<'w> fn(&'w mut World, &str) -> Result<&'w mut Tags, Refusal>,
    /// Adds the tags of every resource known to calls.
    list: fn(&World, &mut Vec<TagRow>),
}

static TAGGED: [Tagged; 13] = [
    tagged::<Vpc>(),
    tagged::<Subnet>(),
    tagged::<InternetGateway>(),
    tagged::<RouteTable>(),
    tagged::<Address>(),
    tagged::<NatGateway>(),
    tagged::<Endpoint>(),
    tagged::<FlowLog>(),
    tagged::<Group>(),
    tagged::<Rule>(),
    tagged::<Interface>(),
    tagged::<Instance>(),
    tagged::<Volume>(),
];

const fn tagged<T: Resource>() -> Tagged {
    Tagged { kind: T::KIND, of: tags::<T>, of_mut: tags_mut::<T>, list: list_tags::<T> }
}

fn tags<'w, T: Resource>(world: &'w World, id: &str) -> Option<&'w Tags> {
    T::all(&world.states.ec2).get(id).filter(|resource| exists(world, *resource)).map(T::tags)
}

fn tags_mut<'w, T: Resource>(world: &'w mut World, id: &str) -> Result<&'w mut Tags, Refusal> {
    Ok(&mut find_mut::<T>(world, id)?.entity_mut().tags)
}

fn list_tags<T: Resource>(world: &World, rows: &mut Vec<TagRow>) {
    for resource in T::all(&world.states.ec2).values().filter(|resource| known(world, *resource)) {
        for (key, value) in resource.tags() {
            rows.push(TagRow {
                id: resource.id().to_owned(),
                kind: T::KIND.tag_type,
                key: key.clone(),
                value: value.clone(),
            });
        }
    }
}

/// The IDs of all resources with a tag.
pub(super) fn ids_with_tag(world: &World, key: &str, value: &str) -> Vec<String> {
    let mut rows = Vec::new();
    for tagged in &TAGGED {
        (tagged.list)(world, &mut rows);
    }
    rows.into_iter().filter(|row| row.key == key && row.value == value).map(|row| row.id).collect()
}

/// Changes the tags of a resource. Returns whether that changed something.
pub(super) fn change(world: &mut World, id: &str, change: &impl Fn(&mut Tags) -> bool) -> bool {
    tags_by_id(world, id).is_ok_and(change)
}

fn tagged_by_id(id: &str) -> Option<&'static Tagged> {
    let prefix = id.split_once('-')?.0;
    TAGGED.iter().find(|tagged| tagged.kind.prefix == prefix)
}

/// The kind of an ID, from its prefix.
pub(super) fn kind_of(id: &str) -> Option<Kind> {
    tagged_by_id(id).map(|tagged| tagged.kind)
}

/// The tags of an existing resource, known to calls or not: a resource has its tags from its creation.
pub(super) fn tags_of<'w>(world: &'w World, kind: Kind, id: &str) -> Option<&'w Tags> {
    TAGGED.iter().find(|tagged| tagged.kind == kind).and_then(|tagged| (tagged.of)(world, id))
}

fn tags_by_id<'w>(world: &'w mut World, id: &str) -> Result<&'w mut Tags, Refusal> {
    match tagged_by_id(id) {
        Some(tagged) => (tagged.of_mut)(world, id),
        None => Err(Refusal::new("InvalidID", format!("The ID '{id}' is not valid"))),
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
        let mut together = tags_by_id(world, id)?.clone();
        together.extend(tags.clone());
        if together.len() > MOST_TAGS {
            return Err(Refusal::new(
                "TagLimitExceeded",
                format!("The maximum number of Tags for '{id}' has been reached."),
            ));
        }
    }
    for id in &ids {
        tags_by_id(world, id)?.extend(tags.clone());
    }
    Ok(super::resource::done())
}

pub(super) fn delete(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let ids = some_ids(params)?;
    let mut wanted = Vec::new();
    for tag in params.structs("Tag") {
        wanted.push((tag.required("Key")?, tag.text("Value")));
    }
    params.done()?;
    for id in &ids {
        tags_by_id(world, id)?;
    }
    for id in &ids {
        // Without keys, all tags are removed. A key with a value removes the tag only if it has that value.
        tags_by_id(world, id)?.retain(|key, value| {
            !(wanted.is_empty()
                || wanted
                    .iter()
                    .any(|(name, only)| name == key && only.as_ref().is_none_or(|only| only == value)))
        });
    }
    Ok(super::resource::done())
}

fn some_ids(params: &Params) -> Result<Vec<String>, Refusal> {
    let ids = params.list("ResourceId");
    if ids.is_empty() {
        return Err(Refusal::new("MissingParameter", "The request must contain the parameter resourceIdSet"));
    }
    Ok(ids)
}

/// A tag as `DescribeTags` lists it.
struct TagRow {
    id: String,
    kind: &'static str,
    key: String,
    value: String,
}

const TAG_FILTERS: &[Filter<TagRow>] = &[
    ("key", |row, _| one(&row.key)),
    ("value", |row, _| one(&row.value)),
    ("resource-id", |row, _| one(&row.id)),
    ("resource-type", |row, _| one(row.kind)),
];

pub(super) fn describe(world: &World, params: &Params) -> Result<Reply, Refusal> {
    let filters = Filters::read(params, TAG_FILTERS)?;
    let page = Page::read(params)?;
    params.done()?;
    let mut rows = Vec::new();
    for tagged in &TAGGED {
        (tagged.list)(world, &mut rows);
    }
    let found = rows
        .into_iter()
        .filter(|row| {
            filters.match_tagged(row, &Tags::from([(row.key.clone(), row.value.clone())]), world)
        })
        .map(|TagRow { id, kind, key, value }| {
            json!({ "resourceId": id, "resourceType": kind, "key": key, "value": value })
        })
        .collect();
    Ok(page.answer("tagSet", found))
}
