//! Changes of an endpoint.

use serde_json::Value;

use super::endpoint::{self, Endpoint, FULL_ACCESS};
use super::interface;
use super::resource::{done, find, find_mut};
use crate::params::{Params, Refusal};
use crate::protocol::Reply;
use crate::world::World;

/// The parameters of `ModifyVpcEndpoint`.
#[derive(Debug, Clone)]
struct Change {
    id: String,
    add_tables: Vec<String>,
    remove_tables: Vec<String>,
    add_subnets: Vec<String>,
    remove_subnets: Vec<String>,
    add_groups: Vec<String>,
    remove_groups: Vec<String>,
    private_dns: Option<bool>,
    policy: Option<String>,
}

impl Change {
    fn read(params: &Params) -> Result<Self, Refusal> {
        let resets = params.flag("ResetPolicy")?.unwrap_or_default();
        let policy = params.text("PolicyDocument");
        let change = Self {
            id: params.required("VpcEndpointId")?,
            add_tables: params.list("AddRouteTableId"),
            remove_tables: params.list("RemoveRouteTableId"),
            add_subnets: params.list("AddSubnetId"),
            remove_subnets: params.list("RemoveSubnetId"),
            add_groups: params.list("AddSecurityGroupId"),
            remove_groups: params.list("RemoveSecurityGroupId"),
            private_dns: params.flag("PrivateDnsEnabled")?,
            policy: policy.or_else(|| resets.then(|| FULL_ACCESS.into())),
        };
        params.done()?;
        if change.policy.as_ref().is_some_and(|text| serde_json::from_str::<Value>(text).is_err()) {
            return Err(Refusal::new("InvalidPolicyDocument", "The policy document is no valid JSON."));
        }
        Ok(change)
    }

    /// Checks everything before anything is changed.
    fn check(&self, world: &World) -> Result<(), Refusal> {
        let endpoint = find::<Endpoint>(world, &self.id)?;
        if !endpoint.is_available(world.now) {
            return Err(Refusal::new(
                "IncorrectState",
                format!(
                    "The VPC endpoint {} is in the state '{}'; it can be modified while it is 'available'.",
                    self.id,
                    endpoint.state(world.now)
                ),
            ));
        }
        let misplaced = if endpoint.is_gateway {
            self.private_dns == Some(true)
                || !(self.add_subnets.is_empty()
                    && self.remove_subnets.is_empty()
                    && self.add_groups.is_empty()
                    && self.remove_groups.is_empty())
        } else {
            !(self.add_tables.is_empty() && self.remove_tables.is_empty())
        };
        if misplaced {
            return Err(Refusal::new(
                "InvalidParameter",
                format!("The type of the VPC endpoint {} does not support this change.", self.id),
            ));
        }
        endpoint::check_tables(world, &endpoint.vpc, &endpoint.service, &self.add_tables)?;
        interface::check_groups(world, &endpoint.vpc, &self.groups(endpoint))?;
        if !endpoint.is_gateway && self.groups(endpoint).is_empty() {
            return Err(Refusal::new(
                "InvalidParameter",
                format!("The VPC endpoint {} needs at least one security group.", self.id),
            ));
        }
        // AWS: the rule of one subnet per zone applies to the result. A remaining subnet has its interface already,
        // so only the set of zones matters.
        let kept = endpoint.interfaces.keys().filter(|id| !self.remove_subnets.contains(id));
        let result: Vec<String> = kept.chain(&self.add_subnets).cloned().collect();
        endpoint::check_subnets(world, &endpoint.vpc, &result)?;
        if self.private_dns == Some(true) {
            endpoint::check_private_dns(world, &endpoint.vpc, &endpoint.service, Some(&self.id))?;
        }
        Ok(())
    }

    fn groups(&self, endpoint: &Endpoint) -> Vec<String> {
        let mut groups: Vec<String> =
            endpoint.groups.iter().filter(|id| !self.remove_groups.contains(id)).cloned().collect();
        for id in &self.add_groups {
            if !groups.contains(id) {
                groups.push(id.clone());
            }
        }
        groups
    }
}

pub(super) fn modify(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let change = Change::read(params)?;
    change.check(world)?;
    let groups = change.groups(find::<Endpoint>(world, &change.id)?);
    let mut added = Vec::new();
    for subnet in &change.add_subnets {
        added.push((subnet.clone(), endpoint::make_interface(world, &change.id, subnet, &groups)?));
    }
    // Only changes of interfaces take time; the other settings change at once.
    let ready = if added.is_empty() { world.now } else { world.ready("vpc_endpoint_interface") };
    let gone = world.gone("vpc_endpoint_interface");
    let endpoint = find_mut::<Endpoint>(world, &change.id)?;
    endpoint.tables.retain(|id| !change.remove_tables.contains(id));
    endpoint.tables.extend(change.add_tables);
    let mut removed = Vec::new();
    for subnet in &change.remove_subnets {
        removed.extend(endpoint.interfaces.remove(subnet));
    }
    endpoint.interfaces.extend(added);
    endpoint.groups.clone_from(&groups);
    endpoint.private_dns = change.private_dns.unwrap_or(endpoint.private_dns);
    if let Some(policy) = change.policy {
        endpoint.policy = policy;
    }
    endpoint.ready = ready;
    let staying: Vec<String> = endpoint.interfaces.values().cloned().collect();
    for id in removed {
        interface::release(world, &id, gone);
    }
    for id in staying {
        interface::set_groups(world, &id, &groups);
    }
    Ok(done())
}
