//! The observed state of a stack's egress.

use std::collections::BTreeMap;

use aws_sdk_ec2::types::{Address, NatGateway, NatGatewayState, RouteTable, VpcEndpoint};
use stackdrop_specs::Nat;

use super::{NAME, endpoints, nat};
use crate::aws::error::{AwsResult, StepError};
use crate::contract::component::Work;
use crate::contract::tagging::{self, filter, logical_id, ours};
use crate::deployment::component_names;
use crate::deployment::endpoint_services::endpoint_services;
use crate::deployment::names::TAG_LOGICAL_ID;
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
    /// The network's private route tables by zone.
    pub(super) tables: BTreeMap<String, RouteTable>,
}

impl Observed {
    pub(super) async fn read(work: &Work<'_>) -> Result<Self, StepError> {
        let (addresses, gateways, endpoints, tables) = tokio::try_join!(
            find_addresses(work),
            find_gateways(work),
            find_endpoints(work),
            find_tables(work)
        )?;
        Ok(Self { addresses, tables, ..Self::classify(gateways, endpoints) })
    }

    /// Reads only what must become available, since `wait_until_stable` runs often.
    pub(super) async fn read_desired(work: &Work<'_>) -> Result<Self, StepError> {
        Ok(match work.spec.network.nat {
            Nat::None => Self::classify(Vec::new(), find_endpoints(work).await?),
            Nat::Single | Nat::PerZone => Self::classify(find_gateways(work).await?, Vec::new()),
        })
    }

    fn classify(gateways: Vec<NatGateway>, endpoints: Vec<VpcEndpoint>) -> Self {
        let mut observed = Self::default();
        for gateway in gateways {
            match gateway.state() {
                Some(NatGatewayState::Available | NatGatewayState::Pending) => {
                    observed.gateways.insert(logical_id(gateway.tags()).to_owned(), gateway);
                }
                Some(NatGatewayState::Deleting) => observed.deleting.push(gateway),
                _ => observed.unusable.push(gateway),
            }
        }
        for endpoint in endpoints {
            match endpoints::state(&endpoint).as_str() {
                "deleted" => {}
                "deleting" => observed.deleting_endpoints.push(endpoint),
                "failed" | "rejected" | "expired" => observed.failed_endpoints.push(endpoint),
                _ => {
                    observed.endpoints.insert(logical_id(endpoint.tags()).to_owned(), endpoint);
                }
            }
        }
        observed
    }

    pub(super) fn outputs(&self, work: &Work<'_>) -> Result<EgressOutputs, StepError> {
        let mut outputs = EgressOutputs::default();
        for zone in nat::zones(work) {
            let logical_id = nat::logical_id(&zone);
            let gateway = self.gateways.get(&logical_id).and_then(NatGateway::nat_gateway_id);
            let gateway = gateway
                .ok_or_else(|| StepError::pending(format!("NAT gateway {logical_id} to become visible")))?;
            let address =
                self.addresses.get(&nat::address_logical_id(&zone)).and_then(|all| all.first()?.public_ip());
            outputs.nat_gateways.insert(zone, gateway.to_owned());
            outputs.addresses.extend(address.map(str::to_owned));
        }
        for service in endpoint_services(work.spec) {
            let logical_id = endpoints::logical_id(service);
            let endpoint = self.endpoints.get(&logical_id).and_then(VpcEndpoint::vpc_endpoint_id);
            let endpoint = endpoint.ok_or_else(|| {
                StepError::pending(format!("interface endpoint {logical_id} to become visible"))
            })?;
            outputs.endpoints.insert(service.to_owned(), endpoint.to_owned());
        }
        Ok(outputs)
    }
}

async fn find_addresses(work: &Work<'_>) -> Result<BTreeMap<String, Vec<Address>>, StepError> {
    let call = work.aws.ec2().describe_addresses().set_filters(Some(ours(work, NAME)));
    let response = call.send().await.doing("looking for the Elastic IP addresses")?;
    let mut addresses: BTreeMap<String, Vec<Address>> = BTreeMap::new();
    for address in response.addresses.unwrap_or_default() {
        addresses.entry(logical_id(address.tags()).to_owned()).or_default().push(address);
    }
    for same in addresses.values_mut() {
        // EC2 does not report which one is older; keep the one in use.
        same.sort_by_key(|address| {
            (address.association_id().is_none(), address.allocation_id().map(str::to_owned))
        });
    }
    Ok(addresses)
}

async fn find_gateways(work: &Work<'_>) -> Result<Vec<NatGateway>, StepError> {
    let call = work.aws.ec2().describe_nat_gateways().set_filter(Some(ours(work, NAME)));
    call.into_paginator().items().send().try_collect().await.doing("looking for the NAT gateways")
}

async fn find_endpoints(work: &Work<'_>) -> Result<Vec<VpcEndpoint>, StepError> {
    let call = work.aws.ec2().describe_vpc_endpoints().set_filters(Some(ours(work, NAME)));
    call.into_paginator().items().send().try_collect().await.doing("looking for the interface endpoints")
}

/// The private route tables of `network`, to which this component adds routes.
async fn find_tables(work: &Work<'_>) -> Result<BTreeMap<String, RouteTable>, StepError> {
    let mut filters = ours(work, component_names::NETWORK);
    filters.push(filter(&format!("tag:{TAG_LOGICAL_ID}"), "route-table/private/*"));
    let call = work.aws.ec2().describe_route_tables().set_filters(Some(filters));
    let tables: Vec<RouteTable> = call
        .into_paginator()
        .items()
        .send()
        .try_collect()
        .await
        .doing("looking for the private route tables")?;
    let zone = |table: &RouteTable| tagging::logical_id(table.tags()).rsplit('/').next().map(str::to_owned);
    Ok(tables.into_iter().filter_map(|table| Some((zone(&table)?, table))).collect())
}
