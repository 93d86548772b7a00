//! The observed state of a stack's egress.

use std::collections::BTreeMap;

use aws_sdk_ec2::types::{Address, NatGateway, NatGatewayState, RouteTable, VpcEndpoint, VpcEndpointType};
use stackdrop_specs::Nat;

use super::{NAME, endpoints, nat};
use crate::aws::error::{AwsResult, StepError};
use crate::contract::component::Work;
use crate::contract::identity::{Lost, identify, is_ours, of_stack};
use crate::contract::tagging::{self, filter_any};
use crate::deployment::endpoint_services::endpoint_services;
use crate::deployment::outputs::EgressOutputs;

/// The observed state of this stack's egress.
#[derive(Debug, Default)]
pub(super) struct Observed {
    /// Elastic IP addresses by logical ID. A logical ID can have several after a lost response.
    pub(super) addresses: BTreeMap<String, Vec<Address>>,
    /// The available and pending NAT gateways by logical ID.
    pub(super) gateways: BTreeMap<String, NatGateway>,
    /// NAT gateways that are being deleted: they still use their address and subnet.
    pub(super) deleting: Vec<NatGateway>,
    /// NAT gateways that have failed or were deleted, which EC2 returns for about an hour.
    pub(super) unusable: Vec<NatGateway>,
    /// The interface endpoints by logical ID.
    pub(super) endpoints: BTreeMap<String, VpcEndpoint>,
    /// Endpoints that are being deleted: their network interfaces still use subnets and security groups.
    pub(super) deleting_endpoints: Vec<VpcEndpoint>,
    /// Endpoints that have failed.
    pub(super) failed_endpoints: Vec<VpcEndpoint>,
    /// The interface endpoints that were deleted, while EC2 still shows them.
    pub(super) deleted_endpoints: Vec<VpcEndpoint>,
    /// The network's private route tables by zone.
    pub(super) tables: BTreeMap<String, RouteTable>,
    /// The resources of the baseline that lack the stack's tag.
    pub(super) lost: Vec<Lost>,
}

impl Observed {
    pub(super) async fn read(work: &Work<'_>) -> Result<Self, StepError> {
        let (addresses, gateways, endpoints, tables) = tokio::try_join!(
            find_addresses(work),
            find_gateways(work),
            find_endpoints(work),
            find_tables(work)
        )?;
        let mut observed = Self { tables, ..Self::classify(work, gateways, endpoints) };
        observed.addresses = observed.by_logical_id(work, addresses);
        observed.lost = find_lost(work, &observed).await?;
        Ok(observed)
    }

    /// Reads only what must become available, since `wait_until_stable` runs often.
    pub(super) async fn read_desired(work: &Work<'_>) -> Result<Self, StepError> {
        Ok(match work.spec.network.nat {
            Nat::None => Self::classify(work, Vec::new(), find_endpoints(work).await?),
            Nat::Single | Nat::PerZone => Self::classify(work, find_gateways(work).await?, Vec::new()),
        })
    }

    fn classify(work: &Work<'_>, gateways: Vec<NatGateway>, endpoints: Vec<VpcEndpoint>) -> Self {
        let mut observed = Self::default();
        let mut live = Vec::new();
        for gateway in gateways {
            match gateway.state() {
                Some(NatGatewayState::Available | NatGatewayState::Pending) => live.push(gateway),
                Some(NatGatewayState::Deleting) => observed.deleting.push(gateway),
                _ => observed.unusable.push(gateway),
            }
        }
        let known: Vec<String> = ZONES.map(nat::logical_id).into();
        let zone_of = |gateway: &NatGateway| {
            let subnets = &work.outputs.network.as_ref()?.public_subnets;
            let (zone, _) = subnets.iter().find(|(_, id)| gateway.subnet_id() == Some(id))?;
            Some(nat::logical_id(zone))
        };
        observed.gateways = identify(work, live, NatGateway::tags, &known, zone_of).into_iter().collect();
        for endpoint in endpoints {
            match endpoints::state(&endpoint).as_str() {
                "deleting" => observed.deleting_endpoints.push(endpoint),
                "deleted" => observed.deleted_endpoints.push(endpoint),
                "failed" | "rejected" | "expired" => observed.failed_endpoints.push(endpoint),
                _ => {
                    observed.endpoints.insert(endpoints::logical_id_of(&endpoint), endpoint);
                }
            }
        }
        observed
    }

    /// The addresses by logical ID. One whose tags do not say what it is for is that of the NAT gateway that uses it.
    fn by_logical_id(&self, work: &Work<'_>, all: Vec<Address>) -> BTreeMap<String, Vec<Address>> {
        let known: Vec<String> = ZONES.map(nat::address_logical_id).into();
        let used_as = |address: &Address| {
            let id = address.allocation_id()?;
            let (gateway, _) = self.gateways.iter().find(|(_, gateway)| nat::uses(gateway, id))?;
            Some(nat::address_logical_id(gateway.rsplit('/').next()?))
        };
        let mut addresses: BTreeMap<String, Vec<Address>> = BTreeMap::new();
        for (logical_id, address) in identify(work, all, Address::tags, &known, used_as) {
            addresses.entry(logical_id).or_default().push(address);
        }
        for same in addresses.values_mut() {
            // EC2 does not report which one is older; keep the one in use.
            same.sort_by_key(|address| {
                (address.association_id().is_none(), address.allocation_id().map(str::to_owned))
            });
        }
        addresses
    }

    pub(super) fn outputs(&self, work: &Work<'_>) -> Result<EgressOutputs, StepError> {
        let mut outputs = EgressOutputs::default();
        for zone in nat::zones(work) {
            let logical_id = nat::logical_id(&zone);
            let gateway = self.gateways.get(&logical_id).and_then(NatGateway::nat_gateway_id);
            let gateway = gateway
                .ok_or_else(|| StepError::stalled(format!("NAT gateway {logical_id} to become visible")))?;
            let address =
                self.addresses.get(&nat::address_logical_id(&zone)).and_then(|all| all.first()?.public_ip());
            outputs.nat_gateways.insert(zone, gateway.to_owned());
            outputs.addresses.extend(address.map(str::to_owned));
        }
        for service in endpoint_services(work.spec) {
            let logical_id = endpoints::logical_id(service);
            let endpoint = self.endpoints.get(&logical_id).and_then(VpcEndpoint::vpc_endpoint_id);
            let endpoint = endpoint.ok_or_else(|| {
                StepError::stalled(format!("interface endpoint {logical_id} to become visible"))
            })?;
            outputs.endpoints.insert(service.to_owned(), endpoint.to_owned());
        }
        Ok(outputs)
    }
}

async fn find_addresses(work: &Work<'_>) -> Result<Vec<Address>, StepError> {
    let call = work.aws.ec2().describe_addresses().set_filters(Some(of_stack(work)));
    let response = call.send().await.doing("looking for the Elastic IP addresses")?;
    let mut all = response.addresses.unwrap_or_default();
    all.retain(|address| is_ours(work, NAME, address.tags(), address.public_ip()));
    Ok(all)
}

async fn find_gateways(work: &Work<'_>) -> Result<Vec<NatGateway>, StepError> {
    let call = work.aws.ec2().describe_nat_gateways().set_filter(Some(of_stack(work)));
    let mut all: Vec<NatGateway> =
        call.into_paginator().items().send().try_collect().await.doing("looking for the NAT gateways")?;
    all.retain(|gateway| is_ours(work, NAME, gateway.tags(), gateway.nat_gateway_id()));
    Ok(all)
}

async fn find_endpoints(work: &Work<'_>) -> Result<Vec<VpcEndpoint>, StepError> {
    let call = work.aws.ec2().describe_vpc_endpoints().set_filters(Some(of_stack(work)));
    let mut all: Vec<VpcEndpoint> = call
        .into_paginator()
        .items()
        .send()
        .try_collect()
        .await
        .doing("looking for the interface endpoints")?;
    all.retain(|endpoint| {
        endpoint.vpc_endpoint_type() == Some(&VpcEndpointType::Interface)
            && is_ours(work, NAME, endpoint.tags(), endpoint.vpc_endpoint_id())
    });
    Ok(all)
}

/// The letters of the zones that a stack can have.
const ZONES: [&str; 3] = ["a", "b", "c"];

/// Finds the resources of the baseline that exist, but were not found by the stack's tag. The baseline does not have the IDs
/// of the addresses: their NAT gateways do.
async fn find_lost(work: &Work<'_>, observed: &Observed) -> Result<Vec<Lost>, StepError> {
    let baseline = work.deployment.baseline.as_ref();
    let Some(baseline) = baseline.and_then(|baseline| baseline.outputs.egress.as_ref()) else {
        return Ok(Vec::new());
    };
    let mut lost = Vec::new();
    let dead = || observed.deleting.iter().chain(&observed.unusable);
    let has_gateway = |id: &str| {
        observed.gateways.values().chain(dead()).any(|gateway| gateway.nat_gateway_id() == Some(id))
    };
    let missing = baseline.nat_gateways.iter().filter(|(_, id)| !has_gateway(id));
    let missing: Vec<(&String, &str)> = missing.map(|(zone, id)| (zone, id.as_str())).collect();
    if !missing.is_empty() {
        let ids: Vec<&str> = missing.iter().map(|(_, id)| *id).collect();
        let call = work.aws.ec2().describe_nat_gateways().filter(filter_any("nat-gateway-id", &ids));
        let found = call.send().await.doing("looking for the NAT gateways of the last deployment")?;
        for gateway in found.nat_gateways().iter().filter(|gateway| is_live(gateway)) {
            let id = gateway.nat_gateway_id().unwrap_or_default();
            let zone = missing.iter().find(|(_, missing)| *missing == id);
            lost.extend(zone.map(|(zone, _)| Lost::new(nat::logical_id(zone), id)));
        }
    }
    let has_endpoint = |id: &str| {
        let all = observed.endpoints.values().chain(&observed.deleting_endpoints);
        all.chain(&observed.failed_endpoints).any(|endpoint| endpoint.vpc_endpoint_id() == Some(id))
    };
    let missing: Vec<&str> =
        baseline.endpoints.values().map(String::as_str).filter(|id| !has_endpoint(id)).collect();
    if !missing.is_empty() {
        let call = work.aws.ec2().describe_vpc_endpoints().filters(filter_any("vpc-endpoint-id", &missing));
        let found = call.send().await.doing("looking for the endpoints of the last deployment")?;
        let live = found
            .vpc_endpoints()
            .iter()
            .filter(|endpoint| !["deleting", "deleted"].contains(&endpoints::state(endpoint).as_str()));
        lost.extend(live.filter_map(|endpoint| {
            Some(Lost::new(endpoints::logical_id_of(endpoint), endpoint.vpc_endpoint_id()?))
        }));
    }
    let addresses = observed.addresses.values().flatten();
    let ours: Vec<&str> = addresses.filter_map(Address::allocation_id).collect();
    for (logical_id, gateway) in &observed.gateways {
        let held = gateway.nat_gateway_addresses().iter().filter_map(|address| address.allocation_id());
        let zone = logical_id.rsplit('/').next().unwrap_or_default();
        let id = nat::address_logical_id(zone);
        lost.extend(held.filter(|held| !ours.contains(held)).map(|held| Lost::new(&id, held)));
    }
    Ok(lost)
}

fn is_live(gateway: &NatGateway) -> bool {
    matches!(gateway.state(), Some(NatGatewayState::Available | NatGatewayState::Pending))
}

/// The private route tables of `network`, to which this component adds routes.
async fn find_tables(work: &Work<'_>) -> Result<BTreeMap<String, RouteTable>, StepError> {
    // Without a baseline, a plan knows no IDs: an interrupted deployment may have left tables.
    let Some(network) = &work.outputs.network else { return find_tables_by_tag(work).await };
    let ids: Vec<&str> = network.private_tables.values().map(String::as_str).collect();
    let call = work.aws.ec2().describe_route_tables().filters(filter_any("route-table-id", &ids));
    let tables: Vec<RouteTable> = call
        .into_paginator()
        .items()
        .send()
        .try_collect()
        .await
        .doing("looking for the private route tables")?;
    let zone_of = |table: &RouteTable| {
        let (zone, _) = network.private_tables.iter().find(|(_, id)| table.route_table_id() == Some(id))?;
        Some(zone.clone())
    };
    Ok(tables.into_iter().filter_map(|table| Some((zone_of(&table)?, table))).collect())
}

async fn find_tables_by_tag(work: &Work<'_>) -> Result<BTreeMap<String, RouteTable>, StepError> {
    let call = work.aws.ec2().describe_route_tables().set_filters(Some(of_stack(work))).into_paginator();
    let tables: Vec<RouteTable> =
        call.items().send().try_collect().await.doing("looking for the private route tables by tag")?;
    let zone_of = |table: &RouteTable| {
        let zone = tagging::logical_id(table.tags()).strip_prefix("route-table/private/")?;
        Some(zone.to_owned())
    };
    Ok(tables.into_iter().filter_map(|table| Some((zone_of(&table)?, table))).collect())
}
