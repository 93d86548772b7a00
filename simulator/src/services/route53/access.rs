//! The permissions that a call needs.

use super::records::Name;
use crate::authorization::AccessRequests;
use crate::params::Params;
use crate::world::World;

pub(super) fn access(_world: &World, operation: &str, params: &Params, requests: &mut AccessRequests<'_>) {
    match operation {
        "ListHostedZones" | "ListHostedZonesByName" => {
            requests.no_resource();
        }
        "GetChange" => {
            requests.resource("change", arn("change", params, "Id"), None);
        }
        "GetHostedZone" => {
            requests.resource("hostedzone", arn("hostedzone", params, "Id"), None);
        }
        "ChangeResourceRecordSets" => change_records(params, requests),
        _ => {
            requests.resource("hostedzone", arn("hostedzone", params, "HostedZoneId"), None);
        }
    }
}

/// Zones and changes have no region, and their ARNs have no account.
fn arn(kind: &str, params: &Params, key: &str) -> String {
    format!("arn:aws:route53:::{kind}/{}", params.text(key).unwrap_or_default())
}

/// Each key has the values of all changes of the batch. Source: "Using IAM policy conditions for fine-grained access
/// control" in the Route 53 developer guide. A normalised name has lower case, no trailing dot, and `*` as `\052`.
fn change_records(params: &Params, requests: &mut AccessRequests<'_>) {
    let changes = params.section("ChangeBatch").map(|batch| batch.structs("Changes")).unwrap_or_default();
    let of_records = |key: &str| -> Vec<String> {
        let records = changes.iter().filter_map(|change| change.section("ResourceRecordSet"));
        records.filter_map(|record| record.text(key)).collect()
    };
    let normalised = |name: &String| Name::read(name).shown().trim_end_matches('.').to_owned();
    let names: Vec<String> = of_records("Name").iter().map(normalised).collect();
    requests
        .resource("hostedzone", arn("hostedzone", params, "HostedZoneId"), None)
        .keys("route53:ChangeResourceRecordSetsNormalizedRecordNames", names)
        .keys("route53:ChangeResourceRecordSetsRecordTypes", of_records("Type"))
        .keys(
            "route53:ChangeResourceRecordSetsActions",
            changes.iter().filter_map(|change| change.text("Action")),
        );
}
