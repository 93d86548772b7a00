//! The observed state of a stack's network.

use std::collections::BTreeMap;

use aws_sdk_ec2::types::{
    AttributeBooleanValue, InternetGateway, RouteTable, RouteTableAssociation, SecurityGroup, Subnet, Vpc,
    VpcAttributeName, VpcEndpoint,
};
use stackdrop_specs::Tier;

use super::{NAME, endpoint, gateway, subnet_logical_id, tables, vpc};
use crate::aws::error::{AwsResult, StepError};
use crate::contract::component::Work;
use crate::contract::tagging::{filter, filter_any, logical_id, ours};
use crate::contract::zones::find_subnets;
use crate::deployment::deletion::Deletion;
use crate::deployment::outputs::NetworkOutputs;

/// The observed state of this stack's network.
#[derive(Debug)]
pub(super) struct Observed {
    /// All VPCs of this stack, the one to keep first. There can be several after a lost response.
    pub(super) vpcs: Vec<Vpc>,
    pub(super) dns_support: bool,
    pub(super) dns_hostnames: bool,
    /// The VPC's default security group, which AWS creates.
    pub(super) default_group: Option<SecurityGroup>,
    pub(super) subnets: BTreeMap<String, Subnet>,
    /// All internet gateways of this stack, the one to keep first.
    pub(super) gateways: Vec<InternetGateway>,
    pub(super) tables: BTreeMap<String, RouteTable>,
    pub(super) endpoint: Option<VpcEndpoint>,
    /// An S3 endpoint that is being deleted or has failed: until its deletion it uses the route tables.
    pub(super) previous_endpoint: Option<VpcEndpoint>,
}

impl Observed {
    pub(super) async fn read(work: &Work<'_>) -> Result<Self, StepError> {
        let (mut vpcs, subnets, mut gateways, tables, endpoints) = tokio::try_join!(
            find_vpcs(work),
            find_subnets(work),
            find_gateways(work),
            find_tables(work),
            find_endpoints(work),
        )?;
        let (endpoint, previous_endpoint) = endpoints;
        // EC2 does not report which one is older; keep the one in use.
        vpcs.sort_by_key(|vpc| {
            (!subnets.iter().any(|subnet| subnet.vpc_id() == vpc.vpc_id()), vpc.vpc_id().map(str::to_owned))
        });
        gateways.sort_by_key(|gateway| {
            (gateway.attachments().is_empty(), gateway.internet_gateway_id().map(str::to_owned))
        });
        let kept = vpcs.first().and_then(Vpc::vpc_id);
        let (default_group, dns_support, dns_hostnames) = match kept {
            Some(vpc) => tokio::try_join!(
                find_default_group(work, vpc),
                find_attribute(work, vpc, VpcAttributeName::EnableDnsSupport),
                find_attribute(work, vpc, VpcAttributeName::EnableDnsHostnames),
            )?,
            None => (None, false, false),
        };
        let inside = |vpc: Option<&str>| kept.is_some() && vpc == kept;
        let subnets = subnets.into_iter().filter(|subnet| inside(subnet.vpc_id()));
        let tables = tables.into_iter().filter(|table| inside(table.vpc_id()));
        let subnets = subnets.map(|subnet| (logical_id(subnet.tags()).to_owned(), subnet)).collect();
        let tables = tables.map(|table| (logical_id(table.tags()).to_owned(), table)).collect();
        Ok(Self {
            vpcs,
            dns_support,
            dns_hostnames,
            default_group,
            subnets,
            gateways,
            tables,
            endpoint,
            previous_endpoint,
        })
    }

    /// The VPC to keep.
    pub(super) fn vpc(&self) -> Option<&Vpc> {
        self.vpcs.first()
    }

    /// The number of resources.
    pub(super) fn count(&self) -> usize {
        self.vpcs.len()
            + self.subnets.len()
            + self.gateways.len()
            + self.tables.len()
            + usize::from(self.endpoint.is_some())
    }

    /// Adds all other resources as remaining: they can only be deleted after the ones that were added before.
    pub(super) fn leave_rest(&self, deletion: &mut Deletion) {
        let why = "waits for the deletion of the internet gateway and the S3 endpoint";
        for (logical_id, subnet) in &self.subnets {
            deletion.remains(logical_id, subnet.subnet_id().unwrap_or_default(), why);
        }
        for (logical_id, table) in &self.tables {
            deletion.remains(logical_id, table.route_table_id().unwrap_or_default(), why);
        }
        for observed in &self.vpcs {
            deletion.remains(vpc::LOGICAL_ID, observed.vpc_id().unwrap_or_default(), why);
        }
    }

    /// The outputs, once everything exists.
    pub(super) fn outputs(&self, work: &Work<'_>) -> Result<NetworkOutputs, StepError> {
        let tier = |tier: Tier| -> Result<BTreeMap<String, String>, StepError> {
            let zones = work.spec.network.zone_letters();
            zones
                .into_iter()
                .map(|zone| {
                    let subnet = self.subnets.get(&subnet_logical_id(tier, zone));
                    let id = subnet.and_then(Subnet::subnet_id).ok_or_else(|| missing("a subnet"))?;
                    Ok((zone.to_string(), id.to_owned()))
                })
                .collect()
        };
        let private_tables = work.spec.network.zone_letters().into_iter().map(|zone| {
            let table = self.tables.get(&tables::private_table_logical_id(zone));
            let id = table.and_then(RouteTable::route_table_id).ok_or_else(|| missing("a route table"))?;
            Ok((zone.to_string(), id.to_owned()))
        });
        Ok(NetworkOutputs {
            vpc: self.vpc().and_then(Vpc::vpc_id).ok_or_else(|| missing("the VPC"))?.to_owned(),
            public_subnets: tier(Tier::Public)?,
            private_subnets: tier(Tier::Private)?,
            database_subnets: tier(Tier::Database)?,
            private_tables: private_tables.collect::<Result<_, StepError>>()?,
        })
    }
}

/// AWS shows new resources late: a missing one is awaited, not created again.
fn missing(what: &str) -> StepError {
    StepError::pending(format!("{what} to become visible"))
}

async fn find_vpcs(work: &Work<'_>) -> Result<Vec<Vpc>, StepError> {
    let pages = work.aws.ec2().describe_vpcs().set_filters(Some(ours(work, NAME))).into_paginator().items();
    pages.send().try_collect().await.doing("looking for the VPC")
}

async fn find_gateways(work: &Work<'_>) -> Result<Vec<InternetGateway>, StepError> {
    let call = work.aws.ec2().describe_internet_gateways().set_filters(Some(ours(work, NAME)));
    let mut observed: Vec<InternetGateway> =
        call.into_paginator().items().send().try_collect().await.doing("looking for the internet gateway")?;
    observed.retain(|observed| logical_id(observed.tags()) == gateway::LOGICAL_ID);
    Ok(observed)
}

async fn find_tables(work: &Work<'_>) -> Result<Vec<RouteTable>, StepError> {
    let pages =
        work.aws.ec2().describe_route_tables().set_filters(Some(ours(work, NAME))).into_paginator().items();
    pages.send().try_collect().await.doing("looking for the route tables")
}

/// The live S3 endpoint, and one that is being deleted or has failed.
async fn find_endpoints(work: &Work<'_>) -> Result<(Option<VpcEndpoint>, Option<VpcEndpoint>), StepError> {
    let call = work.aws.ec2().describe_vpc_endpoints().set_filters(Some(ours(work, NAME)));
    let observed: Vec<VpcEndpoint> =
        call.into_paginator().items().send().try_collect().await.doing("looking for the S3 endpoint")?;
    let observed =
        observed.into_iter().filter(|endpoint| logical_id(endpoint.tags()) == endpoint::LOGICAL_ID);
    let (live, others): (Vec<_>, Vec<_>) = observed.partition(endpoint::is_live);
    Ok((live.into_iter().next(), others.into_iter().find(endpoint::is_deleting_or_failed)))
}

/// The current association of each of these subnets, with the ID of its route table.
pub(super) async fn find_associations(
    work: &Work<'_>,
    subnets: &[&str],
) -> Result<Vec<(RouteTableAssociation, String)>, StepError> {
    let call = work.aws.ec2().describe_route_tables().filters(filter_any("association.subnet-id", subnets));
    let tables: Vec<RouteTable> = call
        .into_paginator()
        .items()
        .send()
        .try_collect()
        .await
        .doing("looking for the route tables of the subnets")?;
    let associations = tables.into_iter().flat_map(|table| {
        let id = table.route_table_id.unwrap_or_default();
        table.associations.unwrap_or_default().into_iter().map(move |association| (association, id.clone()))
    });
    Ok(associations
        .filter(|(association, _)| association.subnet_id().is_some_and(|id| subnets.contains(&id)))
        .collect())
}

async fn find_default_group(work: &Work<'_>, vpc: &str) -> Result<Option<SecurityGroup>, StepError> {
    let filters = vec![filter("vpc-id", vpc), filter("group-name", "default")];
    let call = work.aws.ec2().describe_security_groups().set_filters(Some(filters));
    let observed = call.send().await.doing("looking for the VPC's default security group")?;
    Ok(observed.security_groups.unwrap_or_default().into_iter().next())
}

async fn find_attribute(work: &Work<'_>, vpc: &str, name: VpcAttributeName) -> Result<bool, StepError> {
    let call = work.aws.ec2().describe_vpc_attribute().vpc_id(vpc).attribute(name);
    let response = call.send().await.pending_on(
        &["InvalidVpcID.NotFound"],
        "the VPC to become visible",
        format!("reading the DNS attributes of VPC {vpc}"),
    )?;
    let value = response.enable_dns_support.or(response.enable_dns_hostnames);
    Ok(value.as_ref().and_then(AttributeBooleanValue::value).unwrap_or_default())
}
