//! What stands of a stack's way out: the only reader of it.

use std::collections::BTreeMap;

use aws_sdk_ec2::types::{Address, NatGateway, NatGatewayState, RouteTable, VpcEndpoint};

use stackdrop_specs::Nat;

use super::{NAME, endpoints, nat};
use crate::aws::error::{Answer, StepError};
use crate::contract::component::Work;
use crate::contract::tagging::{self, filter, logical_id, ours};
use crate::deployment::endpoint_services::endpoint_services;
use crate::deployment::outputs::EgressOutputs;

/// Everything of this stack's way out.
#[derive(Debug, Default)]
pub(super) struct Observed {
    /// Elastic addresses by logical ID; more than one of a logical ID only after a lost answer.
    pub(super) addresses: BTreeMap<String, Vec<Address>>,
    /// The NAT gateways that stand, by logical ID.
    pub(super) gateways: BTreeMap<String, NatGateway>,
    /// Those on their way out: they still hold their address and their subnet.
    pub(super) leaving: Vec<NatGateway>,
    /// Those that EC2 still describes although they are gone.
    pub(super) dead: Vec<NatGateway>,
    /// The interface endpoints that stand, by logical ID.
    pub(super) endpoints: BTreeMap<String, VpcEndpoint>,
    /// Those on their way out: their interfaces still hold subnets and groups.
    pub(super) leaving_endpoints: Vec<VpcEndpoint>,
    /// Those that failed.
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
        Ok(Self { addresses, tables, ..Self::sort(gateways, endpoints) })
    }

    /// Only what has to become available, since it is asked for again and again.
    pub(super) async fn read_desired(work: &Work<'_>) -> Result<Self, StepError> {
        Ok(match work.spec.network.nat {
            Nat::None => Self::sort(Vec::new(), find_endpoints(work).await?),
            Nat::Single | Nat::PerZone => Self::sort(find_gateways(work).await?, Vec::new()),
        })
    }

    fn sort(gateways: Vec<NatGateway>, endpoints: Vec<VpcEndpoint>) -> Self {
        let mut observed = Self::default();
        for gateway in gateways {
            match gateway.state() {
                Some(NatGatewayState::Available | NatGatewayState::Pending) => {
                    observed.gateways.insert(logical_id(gateway.tags()).to_owned(), gateway);
                }
                Some(NatGatewayState::Deleting) => observed.leaving.push(gateway),
                _ => observed.dead.push(gateway),
            }
        }
        for endpoint in endpoints {
            match endpoints::state(&endpoint).as_str() {
                "deleted" => {}
                "deleting" => observed.leaving_endpoints.push(endpoint),
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
            let gateway =
                gateway.ok_or_else(|| StepError::pending(format!("the {logical_id} to be visible")))?;
            let address =
                self.addresses.get(&nat::address_role(&zone)).and_then(|all| all.first()?.public_ip());
            outputs.nat_gateways.insert(zone, gateway.to_owned());
            outputs.addresses.extend(address.map(str::to_owned));
        }
        for service in endpoint_services(work.spec) {
            let logical_id = endpoints::logical_id(service);
            let endpoint = self.endpoints.get(&logical_id).and_then(VpcEndpoint::vpc_endpoint_id);
            let endpoint =
                endpoint.ok_or_else(|| StepError::pending(format!("the {logical_id} to be visible")))?;
            outputs.endpoints.insert(service.to_owned(), endpoint.to_owned());
        }
        Ok(outputs)
    }
}

async fn find_addresses(work: &Work<'_>) -> Result<BTreeMap<String, Vec<Address>>, StepError> {
    let call = work.aws.ec2().describe_addresses().set_filters(Some(ours(work, NAME)));
    let answer = call.send().await.doing("looking for the elastic addresses")?;
    let mut addresses: BTreeMap<String, Vec<Address>> = BTreeMap::new();
    for address in answer.addresses.unwrap_or_default() {
        addresses.entry(logical_id(address.tags()).to_owned()).or_default().push(address);
    }
    for same in addresses.values_mut() {
        // EC2 does not say which is older; the one in use is kept.
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

/// The network's private route tables: this component adds routes to them.
async fn find_tables(work: &Work<'_>) -> Result<BTreeMap<String, RouteTable>, StepError> {
    let mut filters = ours(work, crate::deployment::component_names::NETWORK);
    filters
        .push(filter(&format!("tag:{}", crate::deployment::names::TAG_LOGICAL_ID), "route-table/private/*"));
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
