//! NAT gateways and their Elastic IP addresses: one for all zones, or one in each.

use aws_sdk_ec2::types::{Address, NatGateway, NatGatewayState, ResourceType};
use stackdrop_specs::Nat;

use super::NAME;
use super::observed::Observed;
use crate::aws::error::{AwsResult, Refusal, StepError};
use crate::aws::join;
use crate::aws::no_retries;
use crate::contract::component::Work;
use crate::contract::quotas::{self, ELASTIC_ADDRESSES, Need};
use crate::contract::tagging;
use crate::deployment::deletion::Deletion;
use crate::deployment::names::TAG_DEPLOYMENT;
use crate::deployment::plan::{Plan, Verb};

/// The zones that have a NAT gateway of their own.
pub(super) fn zones(work: &Work<'_>) -> Vec<String> {
    let letters = work.spec.network.zone_letters();
    let count = match work.spec.network.nat {
        Nat::None => 0,
        Nat::Single => 1,
        Nat::PerZone => letters.len(),
    };
    letters.into_iter().take(count).map(String::from).collect()
}

/// The logical ID of a zone's NAT gateway.
pub(super) fn logical_id(zone: &str) -> String {
    format!("nat/{zone}")
}

/// The logical ID of the Elastic IP address of a zone's NAT gateway.
pub(super) fn address_logical_id(zone: &str) -> String {
    format!("address/{zone}")
}

/// Whether the spec has a NAT gateway, or an Elastic IP address, with this logical ID.
pub(super) fn is_desired(work: &Work<'_>, id: &str) -> bool {
    zones(work).iter().any(|zone| logical_id(zone) == id || address_logical_id(zone) == id)
}

pub(super) fn plan(work: &Work<'_>, observed: &Observed, plan: &mut Plan) {
    for zone in zones(work) {
        let (address_logical_id, logical_id) = (address_logical_id(&zone), logical_id(&zone));
        match observed.addresses.get(&address_logical_id).and_then(|same| same.first()) {
            None => plan.change(Verb::Create, &address_logical_id),
            Some(address) => {
                plan.tags(&work.stack, NAME, &address_logical_id, &tagging::read(address.tags()));
                plan_user(observed, &address_logical_id, address, plan);
            }
        }
        match observed.gateways.get(&logical_id) {
            None => plan.change(Verb::Create, &logical_id),
            Some(gateway) => {
                plan.tags(&work.stack, NAME, &logical_id, &tagging::read(gateway.tags()));
                if gateway.state() != Some(&NatGatewayState::Available) {
                    plan.change(Verb::Wait, &logical_id);
                }
            }
        }
    }
    // Somebody may have removed the tag with the logical ID.
    let or_kind = |logical_id: &str, kind: &str| {
        if logical_id.is_empty() { kind.to_owned() } else { logical_id.to_owned() }
    };
    for logical_id in observed.gateways.keys().filter(|logical_id| !is_desired(work, logical_id)) {
        plan.change(Verb::Delete, or_kind(logical_id, "nat"));
    }
    for (logical_id, same) in &observed.addresses {
        let kept = usize::from(is_desired(work, logical_id));
        for address in same.iter().skip(kept) {
            let public = address.public_ip().unwrap_or_default();
            plan.change(Verb::Delete, format!("{} ({public})", or_kind(logical_id, "address")));
        }
    }
}

/// Plans a problem if something else than a NAT gateway of the stack uses an address.
fn plan_user(observed: &Observed, logical_id: &str, address: &Address, plan: &mut Plan) {
    let id = address.allocation_id().unwrap_or_default();
    let mut gateways = observed.gateways.values().chain(&observed.deleting).chain(&observed.unusable);
    if let Some(user) = user(address).filter(|_| !gateways.any(|gateway| uses(gateway, id))) {
        let public = address.public_ip().unwrap_or_default();
        plan.problem(
            logical_id,
            format!("Elastic IP address {public} ({id}) belongs to a NAT gateway, but somebody associated it with {user}"),
            format!("disassociate {public} from {user}"),
        );
    }
}

/// Whether an address counts against the account's quota: those from a range that the account brought, and those that AWS
/// manages for a service, do not.
/// Source: Amazon EC2 API reference, `Address` (`publicIpv4Pool`, `serviceManaged`).
fn counts(address: &Address) -> bool {
    address.public_ipv4_pool().is_none_or(|pool| pool == "amazon") && address.service_managed().is_none()
}

/// Plans a problem if the quota is too small for the missing addresses. Addresses that the spec no longer has do not
/// count as free: they are released only once the new ones work.
pub(super) async fn check_quota(
    work: &Work<'_>,
    observed: &Observed,
    plan: &mut Plan,
) -> Result<(), StepError> {
    let zones = zones(work);
    let missing: Vec<String> = zones
        .iter()
        .map(|zone| address_logical_id(zone))
        .filter(|logical_id| !observed.addresses.contains_key(logical_id))
        .collect();
    let Some(first) = missing.first() else { return Ok(()) };
    let all = work.aws.ec2().describe_addresses().send().await;
    let all = all.doing("counting the Elastic IP addresses of the region")?;
    let fewer = match work.spec.network.nat {
        Nat::PerZone => "set network.nat to single or none",
        Nat::Single | Nat::None => "set network.nat to none",
    };
    let need = Need {
        resource: first,
        used: quotas::count(all.addresses().iter().filter(|address| counts(address)).count()),
        more: quotas::count(missing.len()),
        alternative: &format!("release unused addresses, or {fewer}"),
    };
    quotas::check(work, ELASTIC_ADDRESSES, need, plan).await
}

/// Allocates the missing Elastic IP addresses.
pub(super) async fn apply_addresses(work: &Work<'_>, observed: &mut Observed) -> Result<(), StepError> {
    let zones = zones(work);
    let missing = zones
        .iter()
        .map(|zone| address_logical_id(zone))
        .filter(|logical_id| !observed.addresses.contains_key(logical_id));
    let allocated = join::all(missing.map(async |logical_id| {
        let call = work
            .aws
            .ec2()
            .allocate_address()
            .tag_specifications(tagging::specification(
                ResourceType::ElasticIp,
                work.stack.tags(NAME, &logical_id),
            ))
            .customize()
            .config_override(aws_sdk_ec2::Config::builder().retry_config(no_retries()));
        let response = call.send().await.doing(format!("allocating Elastic IP address {logical_id}"))?;
        let address = Address::builder()
            .set_allocation_id(response.allocation_id)
            .set_public_ip(response.public_ip)
            .set_tags(Some(tagging::ec2_tags(work.stack.tags(NAME, &logical_id))))
            .build();
        tracing::info!(id = address.allocation_id(), logical_id, "Elastic IP address allocated.");
        Ok::<_, StepError>((logical_id, vec![address]))
    }));
    observed.addresses.extend(allocated.await?);
    Ok(())
}

/// Creates the missing NAT gateways.
pub(super) async fn apply(work: &Work<'_>, observed: &mut Observed) -> Result<(), StepError> {
    for (logical_id, same) in &observed.addresses {
        let Some(address) = same.first() else { continue };
        let id = address.allocation_id().unwrap_or_default();
        tagging::repair(work, NAME, logical_id, id, &tagging::read(address.tags())).await?;
    }
    for (logical_id, gateway) in &observed.gateways {
        let id = gateway.nat_gateway_id().unwrap_or_default();
        tagging::repair(work, NAME, logical_id, id, &tagging::read(gateway.tags())).await?;
    }
    let missing: Vec<String> =
        zones(work).into_iter().filter(|zone| !observed.gateways.contains_key(&logical_id(zone))).collect();
    if missing.is_empty() {
        return Ok(());
    }
    for zone in &missing {
        check_not_failed(work, observed, &logical_id(zone))?;
    }
    let created = join::all(missing.iter().map(|zone| create(work, observed, zone))).await?;
    observed.gateways.extend(missing.iter().map(|zone| logical_id(zone)).zip(created));
    Ok(())
}

/// EC2's refusal of a NAT gateway in a zone that has none.
/// Source: sysdiglabs/terraform-aws-secure-for-cloud#52.
const NO_SUCH_ZONE: &str = "NotAvailableInZone";

async fn create(work: &Work<'_>, observed: &Observed, zone: &str) -> Result<NatGateway, StepError> {
    let (logical_id, network) = (logical_id(zone), work.network()?);
    let address =
        observed.addresses.get(&address_logical_id(zone)).and_then(|same| same.first()?.allocation_id());
    let subnet = network.public_subnets.get(zone);
    // The token contains the IDs of failed or deleted predecessors: otherwise EC2 would return such a gateway.
    let predecessors: Vec<&str> = observed
        .unusable
        .iter()
        .chain(&observed.deleting)
        .filter(|gateway| tagging::logical_id(gateway.tags()) == logical_id)
        .filter_map(NatGateway::nat_gateway_id)
        .collect();
    let call = work
        .aws
        .ec2()
        .create_nat_gateway()
        .set_allocation_id(address.map(str::to_owned))
        .set_subnet_id(subnet.cloned())
        .client_token(work.stack.token(&logical_id, &predecessors))
        .tag_specifications(tagging::specification(
            ResourceType::Natgateway,
            work.stack.tags(NAME, &logical_id),
        ));
    let not_visible =
        ["InvalidSubnetID.NotFound", "InvalidAllocationID.NotFound", "InvalidElasticIpID.NotFound"];
    let waiting_for = "the subnet and the Elastic IP address to become visible";
    let sent = call.send().await;
    if let Some(error) = sent.as_ref().err().map(Refusal::aws).filter(|error| error.code == NO_SUCH_ZONE) {
        return Err(StepError::Unhealthy {
            what: format!("NAT gateway {logical_id}"),
            why: format!(
                "{error}; a new stack can use other zones: set network.excludeZones to the zone of subnet {}",
                subnet.map_or("(unknown)", String::as_str)
            ),
        });
    }
    let response = sent
        .unless(&["Resource.AlreadyAssociated"])
        .stalled_on(&not_visible, waiting_for, format!("creating NAT gateway {logical_id}"))?
        .ok_or_else(|| not_released(observed, &logical_id, address.unwrap_or_default()))?;
    let gateway = response.nat_gateway.ok_or_else(|| StepError::incomplete("the NAT gateway"))?;
    tracing::info!(id = gateway.nat_gateway_id(), logical_id, "NAT gateway created.");
    Ok(gateway)
}

/// The error while something else uses an address that a new NAT gateway needs.
fn not_released(observed: &Observed, logical_id: &str, address: &str) -> StepError {
    let waiting_for = format!("Elastic IP address {address} to be free for NAT gateway {logical_id}");
    if observed.deleting.iter().any(|gateway| uses(gateway, address)) {
        return StepError::pending(waiting_for);
    }
    let all = observed.addresses.values().flatten();
    let user = all.filter(|one| one.allocation_id() == Some(address)).find_map(user);
    let why = user.map(|user| format!("Somebody associated it with {user}: disassociate it."));
    StepError::stalled_because(waiting_for, why.unwrap_or_default())
}

/// What an address is associated with.
fn user(address: &Address) -> Option<String> {
    address.association_id()?;
    let interface = address.network_interface_id().unwrap_or("(unknown)");
    Some(match address.instance_id().filter(|id| !id.is_empty()) {
        Some(instance) => format!("EC2 instance {instance}"),
        None => format!("network interface {interface}"),
    })
}

/// Whether a NAT gateway has, or had, an address.
pub(super) fn uses(gateway: &NatGateway, allocation: &str) -> bool {
    gateway.nat_gateway_addresses().iter().any(|address| address.allocation_id() == Some(allocation))
}

/// Fails if a NAT gateway that this deployment created has failed: another one would fail too.
fn check_not_failed(work: &Work<'_>, observed: &Observed, logical_id: &str) -> Result<(), StepError> {
    let is_from_this_deployment = |gateway: &&NatGateway| {
        let tags = tagging::read(gateway.tags());
        gateway.state() == Some(&NatGatewayState::Failed)
            && tagging::logical_id(gateway.tags()) == logical_id
            && tags.get(TAG_DEPLOYMENT) == Some(&work.deployment.id)
    };
    match observed.unusable.iter().find(is_from_this_deployment) {
        Some(gateway) if !work.deployment.rolling_back => Err(StepError::Unhealthy {
            what: format!("NAT gateway {logical_id} ({})", gateway.nat_gateway_id().unwrap_or_default()),
            why: format!(
                "{}: {}",
                gateway.failure_code().unwrap_or("no code"),
                gateway.failure_message().unwrap_or("no message")
            ),
        }),
        _ => Ok(()),
    }
}

/// `Pending` until every desired NAT gateway is available.
pub(super) fn wait_until_stable(work: &Work<'_>, observed: &Observed) -> Result<(), StepError> {
    for zone in zones(work) {
        let logical_id = logical_id(&zone);
        match observed.gateways.get(&logical_id) {
            None => {
                check_not_failed(work, observed, &logical_id)?;
                return Err(StepError::stalled(format!("NAT gateway {logical_id} to become visible")));
            }
            Some(gateway) if gateway.state() != Some(&NatGatewayState::Available) => {
                let id = gateway.nat_gateway_id().unwrap_or_default();
                return Err(StepError::pending(format!(
                    "NAT gateway {logical_id} ({id}) to become available"
                )));
            }
            Some(_) => {}
        }
    }
    Ok(())
}

/// Releases duplicate addresses, which a lost response may leave, once the gateway shows which address it uses.
pub(super) async fn release_duplicates(work: &Work<'_>, observed: &Observed) -> Result<Deletion, StepError> {
    let mut deletion = Deletion::default();
    let desired = observed.addresses.iter().filter(|(logical_id, _)| is_desired(work, logical_id));
    let duplicates: Vec<(&String, &Address)> = desired
        .flat_map(|(logical_id, same)| same.iter().skip(1).map(move |address| (logical_id, address)))
        .collect();
    if duplicates.is_empty() {
        return Ok(deletion);
    }
    wait_until_stable(work, observed)?;
    for (logical_id, address) in duplicates {
        deletion.found += 1;
        release(work, observed, logical_id, address, &mut deletion).await?;
    }
    Ok(deletion)
}

/// Deletes the NAT gateways whose logical IDs `which` selects, and releases their addresses once they are deleted.
pub(super) async fn delete(
    work: &Work<'_>,
    observed: &Observed,
    which: impl Fn(&str) -> bool,
) -> Result<Deletion, StepError> {
    let gateways: Vec<(&String, &NatGateway)> =
        observed.gateways.iter().filter(|(logical_id, _)| which(logical_id)).collect();
    let mut deletion = Deletion { found: gateways.len() + observed.deleting.len(), remaining: Vec::new() };
    join::all(gateways.iter().map(|(logical_id, gateway)| delete_one(work, logical_id, gateway))).await?;
    let deleting = observed.deleting.iter().map(|gateway| (tagging::logical_id(gateway.tags()), gateway));
    for (logical_id, gateway) in
        gateways.iter().map(|(logical_id, gateway)| (logical_id.as_str(), *gateway)).chain(deleting)
    {
        deletion.leaving(logical_id, gateway.nat_gateway_id().unwrap_or_default(), "is being deleted");
    }
    for (logical_id, same) in &observed.addresses {
        let kept = usize::from(!which(logical_id));
        for address in same.iter().skip(kept) {
            deletion.found += 1;
            release(work, observed, logical_id, address, &mut deletion).await?;
        }
    }
    Ok(deletion)
}

async fn delete_one(work: &Work<'_>, logical_id: &str, gateway: &NatGateway) -> Result<(), StepError> {
    let id = gateway.nat_gateway_id().unwrap_or_default();
    let call = work.aws.ec2().delete_nat_gateway().nat_gateway_id(id).send().await;
    // EC2's only not-found code without a dot.
    call.unless(&["NatGatewayNotFound"]).doing(format!("deleting NAT gateway {logical_id} ({id})"))?;
    tracing::info!(id, logical_id, "NAT gateway deleted.");
    Ok(())
}

/// EC2's refusals while an address is in use. It frees the address of a deleted NAT gateway some seconds late: until then the
/// refusal names the gateway's former network interface.
/// Source: hashicorp/terraform-provider-aws#49299; eformat/sno-for-100#9 (`AuthFailure`).
const IN_USE: [&str; 3] = ["InvalidIPAddress.InUse", "AuthFailure", "InvalidNetworkInterfaceID.NotFound"];

/// Releases an address, unless a NAT gateway still uses it.
async fn release(
    work: &Work<'_>,
    observed: &Observed,
    logical_id: &str,
    address: &Address,
    deletion: &mut Deletion,
) -> Result<(), StepError> {
    let id = address.allocation_id().unwrap_or_default();
    let gateways = || observed.gateways.values().chain(&observed.deleting);
    if let Some(user) = user(address) {
        if gateways().any(|gateway| uses(gateway, id)) {
            deletion.leaving(logical_id, id, "its NAT gateway still uses it");
        } else {
            let why = format!("somebody associated it with {user}: disassociate it");
            deletion.held(logical_id, id, why);
        }
        return Ok(());
    }
    let call = work.aws.ec2().release_address().allocation_id(id).send().await;
    let absent = ["InvalidAllocationID.NotFound"];
    if call.deleted(&absent, &IN_USE, format!("releasing Elastic IP address {logical_id} ({id})"))? {
        tracing::info!(id, logical_id, "Elastic IP address released.");
    } else {
        // EC2 returns a deleted gateway for an hour.
        let was_used = gateways().chain(&observed.unusable).any(|gateway| uses(gateway, id));
        if was_used {
            deletion.leaving(logical_id, id, "EC2 still frees it from its deleted NAT gateway");
        } else {
            deletion.held(logical_id, id, "EC2 reports that it is in use, but not by what");
        }
    }
    Ok(())
}
