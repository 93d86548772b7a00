//! Change batches: all changes of a batch are applied, or none.

use std::collections::BTreeMap;

use serde_json::json;

use super::records::{Content, KINDS, Name, Record, RecordKey, fault_of};
use super::{Change, Zone, find, invalid, rooted};
use crate::params::{Params, Refusal};
use crate::protocol::Reply;
use crate::services::elb;
use crate::world::World;

/// The most changes of one batch (AWS's quota; an `UPSERT` counts twice).
const BATCH: usize = 1000;
/// The most values of one record set (AWS's quota).
const VALUES: usize = 400;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    Create,
    Upsert,
    Delete,
}

impl Action {
    fn name(self) -> &'static str {
        match self {
            Self::Create => "CREATE",
            Self::Upsert => "UPSERT",
            Self::Delete => "DELETE",
        }
    }
}

struct Wanted {
    action: Action,
    key: RecordKey,
    content: Content,
}

pub(super) fn change(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let id = params.required("HostedZoneId")?;
    let batch = params.section("ChangeBatch").ok_or_else(|| invalid("A change batch is required"))?;
    let comment = batch.text("Comment");
    let mut wanted = Vec::new();
    for sent in batch.structs("Changes") {
        wanted.push(read(&sent)?);
    }
    params.done()?;
    let zone = find(world, &id)?.clone();
    if wanted.is_empty() {
        return Err(invalid("The change batch contains no changes"));
    }
    let weight = |each: &Wanted| if each.action == Action::Upsert { 2 } else { 1 };
    if wanted.iter().map(weight).sum::<usize>() > BATCH {
        return Err(refused(&[format!("Number of records limit of {BATCH} exceeded.")]));
    }
    let in_sync_at = world.ready("route53_record_insync");
    let records = apply(world, &zone, &wanted, in_sync_at).map_err(|faults| refused(&faults))?;
    if let Some(zone) = world.states.route53.zones.get_mut(&id) {
        zone.records = records;
    }
    let change_id = format!("C{:020X}", world.number());
    let change = Change { submitted: world.now, in_sync_at, comment };
    let reply = rooted(
        "ChangeResourceRecordSetsResponse",
        json!({ "ChangeInfo": change.document(&change_id, world.now) }),
    );
    world.states.route53.changes.insert(change_id, change);
    Ok(reply)
}

/// Route 53 lists all problems, in brackets.
fn refused(faults: &[String]) -> Refusal {
    Refusal::new("InvalidChangeBatch", format!("[{}]", faults.join(", ")))
}

fn read(sent: &Params) -> Result<Wanted, Refusal> {
    let action = match sent.required("Action")?.as_str() {
        "CREATE" => Action::Create,
        "UPSERT" => Action::Upsert,
        "DELETE" => Action::Delete,
        other => return Err(invalid(format!("Invalid request: '{other}' is not an action"))),
    };
    let record = sent
        .section("ResourceRecordSet")
        .ok_or_else(|| invalid("Invalid request: a change has no record set"))?;
    let shown_name = record.required("Name")?;
    let kind = record.required("Type")?;
    let name = Name::read(&shown_name);
    if !KINDS.contains(&kind.as_str()) {
        return Err(invalid(format!("Invalid request: the simulator has no records of type '{kind}'")));
    }
    if !name.is_legal() {
        return Err(refused(&[format!("FATAL problem: InvalidDomainName encountered with '{shown_name}'")]));
    }
    let ttl = record.int("TTL")?;
    let mut values = Vec::new();
    for value in record.structs("ResourceRecords") {
        values.push(value.required("Value")?);
    }
    let alias = record.section("AliasTarget").map(|alias| read_alias(&alias)).transpose()?;
    let content = match (alias, ttl, values.is_empty()) {
        (Some(alias), None, true) => alias,
        (None, Some(ttl), false) => Content::Values { ttl, values },
        (alias, _, _) => {
            let found = if alias.is_some() { "more than one" } else { "none" };
            return Err(invalid(format!(
                "Invalid request: Expected exactly one of [AliasTarget, all of [TTL, and ResourceRecords], or \
                 TrafficPolicyInstanceId], but found {found} in Change with [Action={}, Name={shown_name}, \
                 Type={kind}, SetIdentifier=null]",
                action.name()
            )));
        }
    };
    if let Content::Values { ttl, .. } = &content
        && !(0..=i64::from(i32::MAX)).contains(ttl)
    {
        return Err(invalid(format!("Invalid request: the TTL {ttl} is not within 0 and 2147483647")));
    }
    Ok(Wanted { action, key: RecordKey { name, kind }, content })
}

fn read_alias(alias: &Params) -> Result<Content, Refusal> {
    Ok(Content::Alias {
        zone: alias.required("HostedZoneId")?,
        target: Name::read(&alias.required("DNSName")?),
        evaluate: alias
            .flag("EvaluateTargetHealth")?
            .ok_or_else(|| invalid("Invalid request: EvaluateTargetHealth is required"))?,
    })
}

type Records = BTreeMap<RecordKey, Record>;

/// The zone's records after all changes, or the problems with the changes.
fn apply(
    world: &World,
    zone: &Zone,
    wanted: &[Wanted],
    in_sync_at: std::time::Duration,
) -> Result<Records, Vec<String>> {
    let mut records = zone.records.clone();
    let mut faults = Vec::new();
    let mut met: BTreeMap<&RecordKey, Action> = BTreeMap::new();
    for each in wanted {
        // Only a deletion can be followed by another change of the same record set.
        if met.insert(&each.key, each.action).is_some_and(|earlier| earlier != Action::Delete) {
            faults.push(format!(
                "The request contains an invalid set of changes for a resource record set '{} {}'",
                each.key.kind,
                each.key.name.plain()
            ));
            continue;
        }
        if let Some(fault) = fault(world, zone, &records, each) {
            faults.push(fault);
            continue;
        }
        if each.action == Action::Delete {
            records.remove(&each.key);
        } else {
            put(&mut records, each, in_sync_at);
        }
    }
    for each in wanted {
        faults.extend(conflict(zone, &records, each));
    }
    if faults.is_empty() { Ok(records) } else { Err(faults) }
}

/// An `UPSERT` without a difference leaves a record set in sync.
fn put(records: &mut Records, wanted: &Wanted, in_sync_at: std::time::Duration) {
    let old = records.get(&wanted.key);
    let same = old.filter(|old| is_same(&old.content, &wanted.content)).map(|old| old.in_sync_at);
    let record = Record {
        content: wanted.content.clone(),
        in_sync_at: same.unwrap_or(in_sync_at),
        seeded: old.is_some_and(|old| old.seeded),
    };
    records.insert(wanted.key.clone(), record);
}

/// Whether two record sets are equal, ignoring the order of values.
fn is_same(one: &Content, other: &Content) -> bool {
    match (one, other) {
        (Content::Values { ttl, values }, Content::Values { ttl: other_ttl, values: other_values }) => {
            let sorted = |values: &Vec<String>| {
                let mut values = values.clone();
                values.sort();
                values
            };
            ttl == other_ttl && sorted(values) == sorted(other_values)
        }
        _ => one == other,
    }
}

/// The problems with one change, given the records after the changes before it.
fn fault(world: &World, zone: &Zone, records: &Records, wanted: &Wanted) -> Option<String> {
    let Wanted { action, key, content } = wanted;
    let (name, kind) = (key.name.plain(), &key.kind);
    let existing = records.get(key);
    if !key.name.is_within(&zone.name) {
        return Some(format!("RRSet with DNS name {name} is not permitted in zone {}", zone.name.plain()));
    }
    match (action, existing) {
        (Action::Delete, None) => {
            return Some(format!(
                "Tried to delete resource record set [name='{name}', type='{kind}'] but it was not found"
            ));
        }
        (Action::Delete, Some(existing)) if !is_same(&existing.content, content) => {
            return Some(format!(
                "Tried to delete resource record set [name='{name}', type='{kind}'] but the values provided do not \
                 match the current values"
            ));
        }
        (Action::Delete, Some(_)) if key.name == zone.name && ["NS", "SOA"].contains(&kind.as_str()) => {
            return Some(if kind == "SOA" {
                "A HostedZone must contain exactly one SOA record.".into()
            } else {
                "A HostedZone must contain at least one NS record for the zone itself.".into()
            });
        }
        (Action::Create, Some(_)) => {
            return Some(format!(
                "Tried to create resource record set [name='{name}', type='{kind}'] but it already exists"
            ));
        }
        (Action::Delete, Some(_)) => return None,
        _ => {}
    }
    match content {
        Content::Values { values, .. } => fault_of_values(kind, values),
        Content::Alias { zone: target_zone, target, .. } => {
            fault_of_alias(world, zone, records, kind, target_zone, target)
        }
    }
}

fn fault_of_values(kind: &str, values: &[String]) -> Option<String> {
    if values.len() > VALUES {
        return Some(format!("A record set can have at most {VALUES} values"));
    }
    if kind == "CNAME" && values.len() > 1 {
        return Some("CNAME record sets can have only one value".into());
    }
    let mut sorted = values.to_vec();
    sorted.sort();
    if sorted.windows(2).any(|pair| pair.first() == pair.last()) {
        return Some(format!("Duplicate Resource Record: '{}'", values.join(", ")));
    }
    values.iter().find_map(|value| {
        let fault = fault_of(kind, value)?;
        Some(format!("Invalid Resource Record: 'FATAL problem: {fault} encountered with '{value}''"))
    })
}

/// An alias must point to a load balancer of this account, or to a record of its own type in its own zone.
fn fault_of_alias(
    world: &World,
    zone: &Zone,
    records: &Records,
    kind: &str,
    target_zone: &str,
    target: &Name,
) -> Option<String> {
    let shown = target.plain();
    let tried =
        format!("Tried to create an alias that targets {shown}, type {kind} in zone {target_zone}, but ");
    if target_zone == zone.id {
        let there = records.contains_key(&RecordKey { name: target.clone(), kind: kind.to_owned() });
        return (!there).then(|| tried + "that target was not found");
    }
    if !["A", "AAAA"].contains(&kind) || !elb::is_load_balancer_name(world, &shown) {
        return Some(tried + "the alias target name does not lie within the target zone");
    }
    (target_zone != elb::hosted_zone(world))
        .then(|| tried + "the alias target name does not lie within the target zone")
}

/// Conflicts between a record set and the others of its name: a `CNAME` must be alone and not at the zone's apex.
fn conflict(zone: &Zone, records: &Records, wanted: &Wanted) -> Option<String> {
    let key = &wanted.key;
    records.get(key)?;
    let (kind, name, zone_name) = (&key.kind, key.name.plain(), zone.name.plain());
    if kind == "CNAME" && key.name == zone.name {
        return Some(format!(
            "RRSet of type CNAME with DNS name {name} is not permitted at apex in zone {zone_name}"
        ));
    }
    let clashes = |other: &&RecordKey| {
        other.name == key.name && other.kind != *kind && (other.kind == "CNAME" || kind == "CNAME")
    };
    records.keys().any(|other| clashes(&other)).then(|| {
        format!(
            "RRSet of type {kind} with DNS name {name} is not permitted as it conflicts with other records with the \
             same DNS name in zone {zone_name}"
        )
    })
}
