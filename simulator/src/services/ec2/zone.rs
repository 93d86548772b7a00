//! Availability zones: a, b and c of the region.

use serde_json::json;

use super::query::{Filter, Filters, one};
use crate::params::{Params, Refusal};
use crate::protocol::Reply;
use crate::world::World;

/// The region's zones, by name.
pub(super) fn names(world: &World) -> [String; 3] {
    ["a", "b", "c"].map(|letter| format!("{}{letter}", world.region))
}

/// A zone's ID, such as `euc1-az1` for `eu-central-1a`.
pub(super) fn id_of(world: &World, name: &str) -> String {
    let number = match name.chars().last() {
        Some('a') => 1,
        Some('b') => 2,
        _ => 3,
    };
    format!("{}-az{number}", short(&world.region))
}

/// The short form of a region in zone IDs: `eu-central-1` is `euc1`, `ap-southeast-2` is `apse2`.
fn short(region: &str) -> String {
    region
        .split('-')
        .enumerate()
        .map(|(place, part)| match (place, part) {
            (0, _) => part.to_owned(),
            (_, "northeast" | "northwest" | "southeast" | "southwest") => {
                format!("{}{}", &part[..1], &part[5..6])
            }
            (1, _) => part[..1].to_owned(),
            _ => part.to_owned(),
        })
        .collect()
}

struct Zone {
    id: String,
    name: String,
}

const FILTERS: &[Filter<Zone>] = &[
    ("zone-name", |zone, _| one(&zone.name)),
    ("zone-id", |zone, _| one(&zone.id)),
    ("state", |_, _| one("available")),
    ("region-name", |_, world| one(&world.region)),
    ("zone-type", |_, _| one("availability-zone")),
    ("opt-in-status", |_, _| one("opt-in-not-required")),
    ("group-name", |_, world| one(group(world))),
];

fn group(world: &World) -> String {
    format!("{}-zg-1", world.region)
}

pub(super) fn describe(world: &World, params: &Params) -> Result<Reply, Refusal> {
    let wanted_names = params.list("ZoneName");
    let wanted_ids = params.list("ZoneId");
    // This parameter adds local and wavelength zones, which are not simulated.
    params.ignore("AllAvailabilityZones");
    let filters = Filters::read(params, FILTERS)?;
    params.done()?;
    let zones = names(world).map(|name| Zone { id: id_of(world, &name), name });
    if let Some(unknown) = wanted_names.iter().find(|wanted| zones.iter().all(|zone| zone.name != **wanted)) {
        return Err(Refusal::new("InvalidParameterValue", format!("Invalid availability zone: [{unknown}]")));
    }
    if let Some(unknown) = wanted_ids.iter().find(|wanted| zones.iter().all(|zone| zone.id != **wanted)) {
        return Err(Refusal::new(
            "InvalidParameterValue",
            format!("Invalid availability zone-id: [{unknown}]"),
        ));
    }
    let shown: Vec<_> = zones
        .iter()
        .filter(|zone| {
            (wanted_names.is_empty() || wanted_names.contains(&zone.name))
                && (wanted_ids.is_empty() || wanted_ids.contains(&zone.id))
                && filters.match_untagged(zone, world)
        })
        .map(|Zone { id, name }| {
            json!({
                "zoneName": name,
                "zoneId": id,
                "zoneState": "available",
                "regionName": world.region,
                "zoneType": "availability-zone",
                "optInStatus": "opt-in-not-required",
                "groupName": group(world),
                "networkBorderGroup": world.region,
                "messageSet": [],
            })
        })
        .collect();
    Ok(json!({ "availabilityZoneInfo": shown }).into())
}

#[cfg(test)]
mod tests {
    use super::short;

    #[test]
    fn regions_have_the_short_forms_of_zone_ids() {
        for (region, expected) in [
            ("eu-central-1", "euc1"),
            ("us-east-1", "use1"),
            ("ap-southeast-2", "apse2"),
            ("ap-northeast-1", "apne1"),
        ] {
            assert_eq!(short(region), expected);
        }
    }
}
