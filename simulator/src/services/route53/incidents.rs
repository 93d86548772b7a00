//! What people do to the DNS records of a stack.

use super::records::{Content, Name, Record, RecordKey};
use crate::incident::Incident;
use crate::services::{acm, elb};
use crate::world::World;

pub(super) static INCIDENTS: [Incident; 2] = [
    Incident {
        name: "alias-records-deleted",
        what: "Somebody deletes the DNS records that lead to the load balancer",
        cause: |world, stack| {
            let keys = alias_records(world, stack);
            remove(world, &keys)
        },
    },
    Incident {
        name: "validation-records-deleted",
        what: "Somebody deletes the DNS records by which ACM validates the certificate",
        cause: |world, stack| {
            let names = acm::validation_names(world, stack);
            let names: Vec<Name> = names.iter().map(|name| Name::read(name)).collect();
            let keys = keys(world, |key, _| key.kind == "CNAME" && names.contains(&key.name));
            remove(world, &keys)
        },
    },
];

pub(super) static SEVERE_INCIDENTS: [Incident; 1] = [Incident {
    name: "alias-records-replaced",
    what: "Somebody lets the DNS records of the load balancer lead to another address",
    cause: replace_alias_records,
}];

/// The IDs of the zones and the keys of all records that fit.
fn keys(world: &World, fits: impl Fn(&RecordKey, &Record) -> bool) -> Vec<(String, RecordKey)> {
    let zones = world.states.route53.zones.values();
    let all = zones.flat_map(|zone| zone.records.iter().map(move |(key, record)| (zone, key, record)));
    let fitting = all.filter(|(_, key, record)| fits(key, record));
    fitting.map(|(zone, key, _)| (zone.id.clone(), key.clone())).collect()
}

/// The alias records of the stack's load balancer.
fn alias_records(world: &World, stack: &str) -> Vec<(String, RecordKey)> {
    let Some(own) = elb::dns_name_of(world, stack) else { return Vec::new() };
    let is_own = |record: &Record| match &record.content {
        Content::Alias { target, .. } => {
            let name = target.plain();
            Name::read(name.strip_prefix("dualstack.").unwrap_or(&name)) == Name::read(own)
        }
        Content::Values { .. } => false,
    };
    keys(world, |_, record| is_own(record))
}

fn remove(world: &mut World, keys: &[(String, RecordKey)]) -> Vec<String> {
    for (zone, key) in keys {
        if let Some(zone) = world.states.route53.zones.get_mut(zone) {
            zone.records.remove(key);
        }
    }
    names(keys)
}

fn names(keys: &[(String, RecordKey)]) -> Vec<String> {
    keys.iter().map(|(_, key)| key.name.shown()).collect()
}

fn replace_alias_records(world: &mut World, stack: &str) -> Vec<String> {
    let keys = alias_records(world, stack);
    let now = world.now;
    for (zone, key) in &keys {
        let elsewhere = Content::Values { ttl: 300, values: vec!["203.0.113.9".into()] };
        if let Some(zone) = world.states.route53.zones.get_mut(zone) {
            zone.records.insert(key.clone(), Record { content: elsewhere, in_sync_at: now, seeded: false });
        }
    }
    names(&keys)
}
