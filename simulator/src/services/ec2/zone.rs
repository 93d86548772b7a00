//! Availability zones: a, b and c of the region.

use serde_json::json;

use super::query::Filters;
use crate::params::{Params, Refusal};
use crate::protocol::Reply;
use crate::world::{Tags, World};

/// The region's zones, by name.
pub(super) fn names(world: &World) -> [String; 3] {
    ["a", "b", "c"].map(|letter| format!("{}{letter}", world.region))
}

/// A zone's id, such as `euc1-az1` for `eu-central-1a`.
pub(super) fn id_of(world: &World, name: &str) -> String {
    let number = match name.chars().last() {
        Some('a') => 1,
        Some('b') => 2,
        _ => 3,
    };
    format!("{}-az{number}", short(&world.region))
}

/// A region's short form in zone ids: `eu-central-1` is `euc1`, `ap-southeast-2` is `apse2`.
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

pub(super) fn describe(world: &World, params: &Params) -> Result<Reply, Refusal> {
    let wanted_names = params.list("ZoneName");
    let wanted_ids = params.list("ZoneId");
    // Local and wavelength zones, which this adds, are not simulated.
    params.ignore("AllAvailabilityZones");
    let filters = Filters::read(
        params,
        &["zone-name", "zone-id", "state", "region-name", "zone-type", "opt-in-status", "group-name"],
    )?;
    params.done()?;
    let zones = names(world).map(|name| (id_of(world, &name), name));
    if let Some(unknown) = wanted_names.iter().find(|wanted| zones.iter().all(|(_, name)| name != *wanted)) {
        return Err(Refusal::new("InvalidParameterValue", format!("Invalid availability zone: [{unknown}]")));
    }
    if let Some(unknown) = wanted_ids.iter().find(|wanted| zones.iter().all(|(id, _)| id != *wanted)) {
        return Err(Refusal::new(
            "InvalidParameterValue",
            format!("Invalid availability zone-id: [{unknown}]"),
        ));
    }
    let shown: Vec<_> = zones
        .iter()
        .filter(|(id, name)| {
            (wanted_names.is_empty() || wanted_names.contains(name))
                && (wanted_ids.is_empty() || wanted_ids.contains(id))
                && filters.pass(&Tags::new(), |filter| {
                    vec![match filter {
                        "zone-name" => name.clone(),
                        "zone-id" => id.clone(),
                        "state" => "available".into(),
                        "region-name" => world.region.clone(),
                        "zone-type" => "availability-zone".into(),
                        "opt-in-status" => "opt-in-not-required".into(),
                        _ => format!("{}-zg-1", world.region),
                    }]
                })
        })
        .map(|(id, name)| {
            json!({
                "zoneName": name,
                "zoneId": id,
                "zoneState": "available",
                "regionName": world.region,
                "zoneType": "availability-zone",
                "optInStatus": "opt-in-not-required",
                "groupName": format!("{}-zg-1", world.region),
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
