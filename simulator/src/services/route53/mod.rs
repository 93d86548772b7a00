//! Route 53: hosted zones that exist from the start, and their records.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::{Service, unknown};
use crate::clock::Clock;
use crate::inventory::Item;
use crate::params::{Params, Refusal};
use crate::protocol::{Body, Reply};
use crate::rates::Rate;
use crate::world::{Tags, World};

mod access;
mod changes;
mod incidents;
mod records;
mod wire;

use records::{Name, Record, RecordKey};

pub(crate) static SERVICE: Service = Service {
    inventory,
    rate: |_| Rate::new("all", 5.0, 5.0),
    is_global: true,
    incidents: &incidents::INCIDENTS,
    severe_incidents: &incidents::SEVERE_INCIDENTS,
    ..Service::rest_xml(
        "route53",
        "https://route53.amazonaws.com/doc/2013-04-01/",
        wire::route,
        act,
        access::access,
    )
};

/// The state of this service.
#[derive(Debug, Clone, Default)]
pub(crate) struct State {
    /// Zones by id.
    zones: BTreeMap<String, Zone>,
    /// Changes by id.
    changes: BTreeMap<String, Change>,
}

#[derive(Debug, Clone)]
struct Zone {
    id: String,
    name: Name,
    records: BTreeMap<RecordKey, Record>,
}

#[derive(Debug, Clone)]
struct Change {
    submitted: Duration,
    in_sync_at: Duration,
    comment: Option<String>,
}

/// The most record sets, and the most zones, of one page.
const RECORDS: usize = 300;
const ZONES: usize = 100;

const NAME_SERVERS: [&str; 4] =
    ["ns-1.awsdns-00.com", "ns-1025.awsdns-00.org", "ns-1537.awsdns-00.co.uk", "ns-513.awsdns-00.net"];

fn act(world: &mut World, operation: &str, params: &Params) -> Result<Reply, Refusal> {
    match operation {
        "GetHostedZone" => get_hosted_zone(world, params),
        "ListHostedZones" => list_hosted_zones(world, params),
        "ListHostedZonesByName" => list_hosted_zones_by_name(world, params),
        "ListResourceRecordSets" => list_resource_record_sets(world, params),
        "ChangeResourceRecordSets" => changes::change(world, params),
        "GetChange" => get_change(world, params),
        _ => Err(unknown("route53", operation)),
    }
}

/// Lists record sets that calls created, without the zone's own NS and SOA. Record sets have no tags, so their owner
/// is not known.
fn inventory(world: &World, items: &mut Vec<Item>) {
    for zone in world.states.route53.zones.values() {
        for (key, _) in zone.records.iter().filter(|(_, record)| !record.seeded) {
            let (name, kind) = (key.name.shown(), &key.kind);
            items.push(
                Item::new("AWS::Route53::RecordSet", &format!("{}/{name}/{kind}", zone.id), &Tags::new())
                    .named(&format!("{name} {kind}")),
            );
        }
    }
}

/// Since when a record with this name, type and value has been in sync on Route 53's servers, if it is.
pub(crate) fn in_sync_since(world: &World, name: &str, kind: &str, value: &str) -> Option<Duration> {
    let key = RecordKey { name: Name::read(name), kind: kind.to_owned() };
    let zone = responsible(world, &key.name)?;
    let record = zone.records.get(&key)?;
    (record.in_sync_at <= world.now && record.has_value(kind, value)).then_some(record.in_sync_at)
}

/// The zone that answers for a name: the one with the longest matching suffix.
fn responsible<'a>(world: &'a World, name: &Name) -> Option<&'a Zone> {
    world
        .states
        .route53
        .zones
        .values()
        .filter(|zone| name.is_within(&zone.name))
        .max_by_key(|zone| zone.name.label_count())
}

/// Adds a delegated public zone.
pub(crate) fn seed_zone(world: &mut World, id: &str, name: &str) {
    let id = id.trim_start_matches("/hostedzone/").to_owned();
    let name = Name::read(name);
    let servers: Vec<String> = NAME_SERVERS.iter().map(|server| format!("{server}.")).collect();
    let authority = format!(
        "{} awsdns-hostmaster.amazon.com. 1 7200 900 1209600 86400",
        servers.first().map_or("", String::as_str)
    );
    let own = |kind: &str, ttl: i64, values: Vec<String>| {
        (RecordKey { name: name.clone(), kind: kind.into() }, Record::of_zone(ttl, values))
    };
    let records = [own("NS", 172_800, servers), own("SOA", 900, vec![authority])].into_iter().collect();
    world.states.route53.zones.insert(id.clone(), Zone { id, name, records });
}

fn find<'a>(world: &'a World, id: &str) -> Result<&'a Zone, Refusal> {
    world.states.route53.zones.get(id).ok_or_else(|| {
        Refusal::new("NoSuchHostedZone", format!("No hosted zone found with ID: {id}")).status(404)
    })
}

fn invalid(message: impl Into<String>) -> Refusal {
    Refusal::new("InvalidInput", message)
}

/// A response with the root element `root`.
fn rooted(root: &'static str, document: Value) -> Reply {
    Reply { body: Body::Rooted(root, document), ..Reply::empty() }
}

impl Zone {
    fn document(&self) -> Value {
        json!({
            "Id": format!("/hostedzone/{}", self.id),
            "Name": self.name.shown(),
            "CallerReference": format!("seed-{}", self.id),
            "Config": { "PrivateZone": false },
            "ResourceRecordSetCount": self.records.len(),
        })
    }
}

impl Change {
    fn document(&self, id: &str, now: Duration) -> Value {
        json!({
            "Id": format!("/change/{id}"),
            "Status": if now < self.in_sync_at { "PENDING" } else { "INSYNC" },
            "SubmittedAt": Clock::date(self.submitted),
            "Comment": self.comment,
        })
    }
}

fn get_hosted_zone(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let id = params.required("Id")?;
    params.done()?;
    let zone = find(world, &id)?;
    Ok(rooted(
        "GetHostedZoneResponse",
        json!({
            "HostedZone": zone.document(),
            "DelegationSet": { "NameServers/NameServer": NAME_SERVERS },
        }),
    ))
}

/// The page size of a request.
fn max_items(params: &Params, most: usize) -> Result<usize, Refusal> {
    match params.int("MaxItems")?.map(usize::try_from) {
        None => Ok(most),
        Some(Ok(number)) if number > 0 => Ok(number.min(most)),
        Some(_) => Err(invalid("The maximum number of items must be positive")),
    }
}

/// Lists zones in the order of their ids.
fn list_hosted_zones(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let marker = params.text("Marker");
    let most = max_items(params, ZONES)?;
    params.done()?;
    let mut zones = world
        .states
        .route53
        .zones
        .values()
        .filter(|zone| marker.as_ref().is_none_or(|first| zone.id >= *first));
    let page: Vec<Value> = zones.by_ref().take(most).map(Zone::document).collect();
    let next = zones.next().map(|zone| zone.id.clone());
    Ok(rooted(
        "ListHostedZonesResponse",
        json!({
            "HostedZones/HostedZone": page,
            "Marker": marker,
            "IsTruncated": next.is_some(),
            "NextMarker": next,
            "MaxItems": most.to_string(),
        }),
    ))
}

/// Lists zones in the order of their names, starting at a name that need not exist.
fn list_hosted_zones_by_name(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let name = params.text("DNSName");
    let id = params.text("HostedZoneId");
    let most = max_items(params, ZONES)?;
    params.done()?;
    if id.is_some() && name.is_none() {
        return Err(invalid("A hosted zone ID can only be specified together with a DNS name"));
    }
    let start = (name.as_deref().map(Name::read), id.clone().unwrap_or_default());
    let mut zones: Vec<&Zone> = world.states.route53.zones.values().collect();
    zones.sort_by(|one, other| (&one.name, &one.id).cmp(&(&other.name, &other.id)));
    zones.retain(|zone| match &start.0 {
        Some(first) => (&zone.name, &zone.id) >= (first, &start.1),
        None => true,
    });
    let next = zones.get(most).copied();
    let mut document = Map::new();
    let page: Vec<Value> = zones.iter().take(most).map(|zone| zone.document()).collect();
    document.insert("HostedZones/HostedZone".into(), page.into());
    if let Some(name) = name {
        document.insert("DNSName".into(), name.into());
    }
    if let Some(id) = id {
        document.insert("HostedZoneId".into(), id.into());
    }
    document.insert("IsTruncated".into(), next.is_some().into());
    if let Some(next) = next {
        document.insert("NextDNSName".into(), next.name.shown().into());
        document.insert("NextHostedZoneId".into(), next.id.clone().into());
    }
    document.insert("MaxItems".into(), most.to_string().into());
    Ok(rooted("ListHostedZonesByNameResponse", document.into()))
}

/// Lists record sets in Route 53's order, starting at a name and type.
fn list_resource_record_sets(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let id = params.required("HostedZoneId")?;
    let name = params.text("StartRecordName");
    let kind = params.text("StartRecordType");
    let most = max_items(params, RECORDS)?;
    params.done()?;
    let zone = find(world, &id)?;
    let start = match (name, kind) {
        (None, None) => None,
        (None, Some(_)) => {
            return Err(invalid("The input is not valid: a record type was specified without a record name"));
        }
        (Some(name), kind) => Some(RecordKey { name: Name::read(&name), kind: kind.unwrap_or_default() }),
    };
    let mut found: Vec<(&RecordKey, &Record)> =
        zone.records.iter().filter(|(key, _)| start.as_ref().is_none_or(|start| *key >= start)).collect();
    let next = found.get(most).map(|(key, _)| (*key).clone());
    found.truncate(most);
    let page: Vec<Value> = found.into_iter().map(|(key, record)| record.document(key)).collect();
    let mut document = Map::new();
    document.insert("ResourceRecordSets/ResourceRecordSet".into(), page.into());
    document.insert("IsTruncated".into(), next.is_some().into());
    if let Some(next) = next {
        document.insert("NextRecordName".into(), next.name.shown().into());
        document.insert("NextRecordType".into(), next.kind.into());
    }
    document.insert("MaxItems".into(), most.to_string().into());
    Ok(rooted("ListResourceRecordSetsResponse", document.into()))
}

fn get_change(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let id = params.required("Id")?;
    params.done()?;
    let change = world.states.route53.changes.get(&id).ok_or_else(|| {
        Refusal::new("NoSuchChange", format!("Could not find resource with ID: {id}")).status(404)
    })?;
    Ok(rooted("GetChangeResponse", json!({ "ChangeInfo": change.document(&id, world.now) })))
}
