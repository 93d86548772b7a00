//! What AWS offers for the interface endpoints: not every service has one, and not in every zone.

use std::collections::BTreeMap;

use aws_sdk_ec2::types::ServiceDetail;

use super::endpoints::{logical_id, service_name};
use super::observed::Observed;
use crate::aws::error::{AwsResult, StepError};
use crate::contract::component::Work;
use crate::contract::tagging::filter_any;
use crate::contract::zones::zone_names;
use crate::deployment::endpoint_services::endpoint_services;
use crate::deployment::plan::Plan;

/// Plans a problem for each missing endpoint that AWS would refuse to create in the stack's zones.
pub(super) async fn plan(work: &Work<'_>, observed: &Observed, plan: &mut Plan) -> Result<(), StepError> {
    let missing: Vec<&str> = endpoint_services(work.spec)
        .into_iter()
        .filter(|service| !observed.endpoints.contains_key(&logical_id(service)))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let names: Vec<String> = missing.iter().map(|service| service_name(work, service)).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    // Filters, not names: AWS refuses the whole call if it does not know a name.
    let call = work.aws.ec2().describe_vpc_endpoint_services().filters(filter_any("service-name", &names));
    let call = call.filters(filter_any("service-type", &["Interface"]));
    let response = call.send().await.doing("reading the zones of the endpoint services")?;
    let offered: BTreeMap<&str, &ServiceDetail> = response
        .service_details()
        .iter()
        .filter_map(|detail| Some((detail.service_name()?, detail)))
        .collect();
    let zones = zone_names(work).await?;
    for (service, name) in missing.into_iter().zip(names) {
        let Some(detail) = offered.get(name) else {
            plan.problem(
                logical_id(service),
                format!("{} has no interface endpoints for {name}", work.aws.settings.region),
                "set network.nat to single or per-zone",
            );
            continue;
        };
        let lacking: Vec<&str> = zones
            .iter()
            .map(String::as_str)
            .filter(|zone| !detail.availability_zones().iter().any(|offered| offered == zone))
            .collect();
        if !lacking.is_empty() {
            let fix = if observed_stack(work) {
                "set network.nat to single or per-zone".to_owned()
            } else {
                format!("set network.excludeZones to [{}], or network.nat to single", lacking.join(", "))
            };
            let why = format!("AWS has no interface endpoints for {name} in {}", lacking.join(", "));
            plan.problem(logical_id(service), why, fix);
        }
    }
    Ok(())
}

/// Whether the stack has subnets already, which keep their zones.
fn observed_stack(work: &Work<'_>) -> bool {
    work.deployment.baseline.is_some()
}
