//! The observed state of a stack's network.

use std::collections::BTreeMap;

use aws_sdk_ec2::types::{
    AttributeBooleanValue, FlowLog, InternetGateway, RouteTable, RouteTableAssociation, SecurityGroup,
    Subnet, Vpc, VpcAttributeName, VpcEndpoint,
};
use stackdrop_specs::Tier;

use super::{NAME, endpoint, flow_logs, subnet_logical_id, tables, vpc};
use crate::aws::error::{AwsResult, StepError};
use crate::contract::component::Work;
use crate::contract::identity::{Lost, identify, is_ours, of_stack};
use crate::contract::tagging::{filter, filter_any};
use crate::contract::zones::{self, find_subnets};
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
    /// The IDs of the deleted S3 endpoints, which EC2 returns for a while.
    pub(super) deleted_endpoints: Vec<String>,
    pub(super) flow_logs: Vec<FlowLog>,
    /// The resources of the baseline that lack the stack's tag.
    pub(super) lost: Vec<Lost>,
}

impl Observed {
    pub(super) async fn read(work: &Work<'_>) -> Result<Self, StepError> {
        let (mut vpcs, subnets, mut gateways, tables, endpoints, flow_logs) = tokio::try_join!(
            find_vpcs(work),
            find_subnets(work),
            find_gateways(work),
            find_tables(work),
            find_endpoints(work),
            flow_logs::find_all(work),
        )?;
        let Endpoints { live: endpoint, previous: previous_endpoint, deleted: deleted_endpoints } = endpoints;
        let lost = find_lost(work, &vpcs, &subnets, &tables).await?;
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
        let subnets: BTreeMap<String, Subnet> =
            subnets.map(|subnet| (zones::subnet_logical_id(work, &subnet), subnet)).collect();
        let tables = identify(work, tables.collect(), RouteTable::tags, &tables::known(), |table| {
            tables::used_as(table, &subnets)
        });
        let tables = tables.into_iter().collect();
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
            deleted_endpoints,
            flow_logs,
            lost,
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
            + self.flow_logs.len()
    }

    /// Adds all other resources as remaining: they can only be deleted after the ones that were added before.
    pub(super) fn leave_rest(&self, deletion: &mut Deletion) {
        let why = "waits for the deletion of the internet gateway and the S3 endpoint";
        for (logical_id, subnet) in &self.subnets {
            deletion.waits(logical_id, subnet.subnet_id().unwrap_or_default(), why);
        }
        for (logical_id, table) in &self.tables {
            deletion.waits(logical_id, table.route_table_id().unwrap_or_default(), why);
        }
        for observed in &self.vpcs {
            deletion.waits(vpc::LOGICAL_ID, observed.vpc_id().unwrap_or_default(), why);
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
    StepError::stalled(format!("{what} to become visible"))
}

async fn find_vpcs(work: &Work<'_>) -> Result<Vec<Vpc>, StepError> {
    let pages = work.aws.ec2().describe_vpcs().set_filters(Some(of_stack(work))).into_paginator().items();
    let mut all: Vec<Vpc> = pages.send().try_collect().await.doing("looking for the VPC")?;
    all.retain(|vpc| is_ours(work, NAME, vpc.tags(), vpc.vpc_id()));
    Ok(all)
}

/// Finds the resources of the baseline that exist, but were not found by the stack's tag.
async fn find_lost(
    work: &Work<'_>,
    vpcs: &[Vpc],
    subnets: &[Subnet],
    tables: &[RouteTable],
) -> Result<Vec<Lost>, StepError> {
    let baseline = work.deployment.baseline.as_ref();
    let Some(baseline) = baseline.and_then(|baseline| baseline.outputs.network.as_ref()) else {
        return Ok(Vec::new());
    };
    let (ec2, mut lost) = (work.aws.ec2(), Vec::new());
    if !vpcs.iter().any(|vpc| vpc.vpc_id() == Some(&baseline.vpc)) {
        let call = ec2.describe_vpcs().filters(filter("vpc-id", &baseline.vpc)).send().await;
        let found = call.doing("looking for the VPC of the last deployment")?.vpcs.unwrap_or_default();
        lost.extend(found.iter().filter_map(|vpc| Some(Lost::new(vpc::LOGICAL_ID, vpc.vpc_id()?))));
    }
    let all = [&baseline.public_subnets, &baseline.private_subnets, &baseline.database_subnets];
    let all = all.into_iter().flat_map(|tier| tier.values());
    let missing: Vec<&str> = all
        .map(String::as_str)
        .filter(|id| !subnets.iter().any(|subnet| subnet.subnet_id() == Some(id)))
        .collect();
    if !missing.is_empty() {
        let call = ec2.describe_subnets().filters(filter_any("subnet-id", &missing)).send().await;
        let found = call.doing("looking for the subnets of the last deployment")?.subnets.unwrap_or_default();
        lost.extend(found.iter().filter_map(|subnet| {
            Some(Lost::new(zones::subnet_logical_id(work, subnet), subnet.subnet_id()?))
        }));
    }
    let all = baseline.private_tables.iter();
    let missing: Vec<(&String, &str)> = all
        .map(|(zone, id)| (zone, id.as_str()))
        .filter(|(_, id)| !tables.iter().any(|table| table.route_table_id() == Some(id)))
        .collect();
    if !missing.is_empty() {
        let ids: Vec<&str> = missing.iter().map(|(_, id)| *id).collect();
        let call = ec2.describe_route_tables().filters(filter_any("route-table-id", &ids)).send().await;
        let found = call.doing("looking for the route tables of the last deployment")?;
        let exists = |id: &str| found.route_tables().iter().any(|table| table.route_table_id() == Some(id));
        let found = missing.into_iter().filter(|(_, id)| exists(id));
        lost.extend(found.map(|(zone, id)| Lost::new(format!("route-table/private/{zone}"), id)));
    }
    Ok(lost)
}

async fn find_gateways(work: &Work<'_>) -> Result<Vec<InternetGateway>, StepError> {
    let call = work.aws.ec2().describe_internet_gateways().set_filters(Some(of_stack(work)));
    let mut observed: Vec<InternetGateway> =
        call.into_paginator().items().send().try_collect().await.doing("looking for the internet gateway")?;
    observed.retain(|observed| is_ours(work, NAME, observed.tags(), observed.internet_gateway_id()));
    Ok(observed)
}

async fn find_tables(work: &Work<'_>) -> Result<Vec<RouteTable>, StepError> {
    let call = work.aws.ec2().describe_route_tables().set_filters(Some(of_stack(work)));
    let mut all: Vec<RouteTable> =
        call.into_paginator().items().send().try_collect().await.doing("looking for the route tables")?;
    all.retain(|table| is_ours(work, NAME, table.tags(), table.route_table_id()));
    Ok(all)
}

/// The stack's S3 endpoints.
struct Endpoints {
    live: Option<VpcEndpoint>,
    /// One that is being deleted or has failed.
    previous: Option<VpcEndpoint>,
    deleted: Vec<String>,
}

async fn find_endpoints(work: &Work<'_>) -> Result<Endpoints, StepError> {
    let call = work.aws.ec2().describe_vpc_endpoints().set_filters(Some(of_stack(work)));
    let observed: Vec<VpcEndpoint> =
        call.into_paginator().items().send().try_collect().await.doing("looking for the S3 endpoint")?;
    let observed = observed.into_iter().filter(|observed| {
        endpoint::is_s3_gateway(work, observed)
            && is_ours(work, NAME, observed.tags(), observed.vpc_endpoint_id())
    });
    let (live, others): (Vec<_>, Vec<_>) = observed.partition(endpoint::is_live);
    let (deleted, others): (Vec<_>, Vec<_>) = others.into_iter().partition(endpoint::is_deleted);
    Ok(Endpoints {
        live: live.into_iter().next(),
        previous: others.into_iter().find(endpoint::is_deleting_or_failed),
        deleted: deleted.into_iter().filter_map(|endpoint| endpoint.vpc_endpoint_id).collect(),
    })
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
    let response = call.send().await.stalled_on(
        &["InvalidVpcID.NotFound"],
        "the VPC to become visible",
        format!("reading the DNS attributes of VPC {vpc}"),
    )?;
    let value = response.enable_dns_support.or(response.enable_dns_hostnames);
    Ok(value.as_ref().and_then(AttributeBooleanValue::value).unwrap_or_default())
}
