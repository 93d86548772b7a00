//! NAT gateways and their elastic addresses: one for all zones, or one in each.

use aws_sdk_ec2::types::{Address, DomainType, NatGateway, NatGatewayState, ResourceType};
use stackdrop_specs::Nat;

use super::NAME;
use super::observed::Found;
use crate::aws::once;
use crate::contract::component::Work;
use crate::deployment::deletion::Removal;
use crate::deployment::plan::{Plan, Verb};
use crate::aws::error::{Answer, StepError};
use crate::contract::quotas::{self, ELASTIC_ADDRESSES, Need};
use crate::deployment::names::TAG_DEPLOYMENT;
use crate::contract::tagging;
use crate::aws::join;

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

/// The role of a zone's NAT gateway.
pub(super) fn role(zone: &str) -> String {
    format!("nat/{zone}")
}

/// The role of the elastic address of a zone's NAT gateway.
pub(super) fn address_role(zone: &str) -> String {
    format!("address/{zone}")
}

/// Whether the spec asks for a NAT gateway, or an address, with this role.
pub(super) fn is_wanted(work: &Work<'_>, of_role: &str) -> bool {
    zones(work).iter().any(|zone| role(zone) == of_role || address_role(zone) == of_role)
}

pub(super) fn plan(work: &Work<'_>, found: &Found, plan: &mut Plan) {
    for zone in zones(work) {
        let (address_role, role) = (address_role(&zone), role(&zone));
        match found.addresses.get(&address_role).and_then(|same| same.first()) {
            None => plan.change(Verb::Create, &address_role),
            Some(address) => plan.tags(&work.stack, NAME, &address_role, &tagging::read(address.tags())),
        }
        match found.gateways.get(&role) {
            None => plan.change(Verb::Create, &role),
            Some(gateway) => {
                plan.tags(&work.stack, NAME, &role, &tagging::read(gateway.tags()));
                if gateway.state() != Some(&NatGatewayState::Available) {
                    plan.change(Verb::Settle, &role);
                }
            }
        }
    }
    for role in found.gateways.keys().filter(|role| !is_wanted(work, role)) {
        plan.change(Verb::Remove, role);
    }
    for (role, same) in &found.addresses {
        let kept = usize::from(is_wanted(work, role));
        for address in same.iter().skip(kept) {
            plan.change(Verb::Remove, format!("{role} ({})", address.public_ip().unwrap_or_default()));
        }
    }
}

/// Notes a problem when the account may not have the missing addresses. What the spec no longer wants goes only when
/// the new ones work, so it makes no room for them.
pub(super) async fn check_quota(work: &Work<'_>, found: &Found, plan: &mut Plan) -> Result<(), StepError> {
    let zones = zones(work);
    let missing: Vec<String> = zones
        .iter()
        .map(|zone| address_role(zone))
        .filter(|role| !found.addresses.contains_key(role))
        .collect();
    let Some(first) = missing.first() else { return Ok(()) };
    let all = work.aws.ec2().describe_addresses().send().await;
    let all = all.doing("counting the elastic addresses of the region")?;
    let fewer = match work.spec.network.nat {
        Nat::PerZone => "set network.nat to single or none",
        Nat::Single | Nat::None => "set network.nat to none",
    };
    let need = Need {
        resource: first,
        used: quotas::count(all.addresses().len()),
        more: quotas::count(missing.len()),
        instead: &format!("release addresses that nobody uses, or {fewer}"),
    };
    quotas::check(work, ELASTIC_ADDRESSES, need, plan).await
}

/// Allocates the missing addresses.
pub(super) async fn ensure_addresses(work: &Work<'_>, found: &mut Found) -> Result<(), StepError> {
    let zones = zones(work);
    let missing =
        zones.iter().map(|zone| address_role(zone)).filter(|role| !found.addresses.contains_key(role));
    let made = join::all(missing.map(async |role| {
        let call = work
            .aws
            .ec2()
            .allocate_address()
            .domain(DomainType::Vpc)
            .tag_specifications(tagging::specification(ResourceType::ElasticIp, work.stack.tags(NAME, &role)))
            .customize()
            .config_override(aws_sdk_ec2::Config::builder().retry_config(once()));
        let answer = call.send().await.doing(format!("allocating the {role}"))?;
        let address = Address::builder()
            .set_allocation_id(answer.allocation_id)
            .set_public_ip(answer.public_ip)
            .set_tags(Some(tagging::ec2_tags(work.stack.tags(NAME, &role))))
            .build();
        tracing::info!(id = address.allocation_id(), role, "Elastic address allocated.");
        Ok::<_, StepError>((role, vec![address]))
    }));
    found.addresses.extend(made.await?);
    Ok(())
}

/// Creates the missing NAT gateways.
pub(super) async fn ensure(work: &Work<'_>, found: &mut Found) -> Result<(), StepError> {
    for (role, same) in &found.addresses {
        let Some(address) = same.first() else { continue };
        let id = address.allocation_id().unwrap_or_default();
        tagging::keep(work, NAME, role, id, &tagging::read(address.tags())).await?;
    }
    for (role, gateway) in &found.gateways {
        let id = gateway.nat_gateway_id().unwrap_or_default();
        tagging::keep(work, NAME, role, id, &tagging::read(gateway.tags())).await?;
    }
    let missing: Vec<String> =
        zones(work).into_iter().filter(|zone| !found.gateways.contains_key(&role(zone))).collect();
    if missing.is_empty() {
        return Ok(());
    }
    for zone in &missing {
        failed(work, found, &role(zone))?;
    }
    let made = join::all(missing.iter().map(|zone| create(work, found, zone))).await?;
    found.gateways.extend(missing.iter().map(|zone| role(zone)).zip(made));
    Ok(())
}

async fn create(work: &Work<'_>, found: &Found, zone: &str) -> Result<NatGateway, StepError> {
    let (role, network) = (role(zone), work.network()?);
    let address = found.addresses.get(&address_role(zone)).and_then(|same| same.first()?.allocation_id());
    let subnet = network.public_subnets.get(zone);
    // The id of a dead predecessor goes into the token: EC2 would hand out that gateway again.
    let dead: Vec<&str> = found
        .dead
        .iter()
        .chain(&found.leaving)
        .filter(|gateway| tagging::role(gateway.tags()) == role)
        .filter_map(NatGateway::nat_gateway_id)
        .collect();
    let call = work
        .aws
        .ec2()
        .create_nat_gateway()
        .set_allocation_id(address.map(str::to_owned))
        .set_subnet_id(subnet.cloned())
        .client_token(work.stack.token(&role, &dead))
        .tag_specifications(tagging::specification(ResourceType::Natgateway, work.stack.tags(NAME, &role)));
    let late = ["InvalidSubnetID.NotFound", "InvalidAllocationID.NotFound", "InvalidElasticIpID.NotFound"];
    let waits_for = "the subnet and the elastic address to be visible";
    let held = "its former NAT gateway to let go of the elastic address";
    let answer = call
        .send()
        .await
        .unless(&["Resource.AlreadyAssociated"])
        .pending_on(&late, waits_for, format!("creating the {role}"))?
        .ok_or_else(|| StepError::pending(format!("{role}: {held}")))?;
    let gateway = answer.nat_gateway.ok_or_else(|| StepError::lacking("the NAT gateway"))?;
    tracing::info!(id = gateway.nat_gateway_id(), role, "NAT gateway created.");
    Ok(gateway)
}

/// An error if this deployment has made this NAT gateway already, and it failed: another would fail alike.
fn failed(work: &Work<'_>, found: &Found, role: &str) -> Result<(), StepError> {
    let mine = |gateway: &&NatGateway| {
        let tags = tagging::read(gateway.tags());
        gateway.state() == Some(&NatGatewayState::Failed)
            && tagging::role(gateway.tags()) == role
            && tags.get(TAG_DEPLOYMENT) == Some(&work.deployment.id)
    };
    match found.dead.iter().find(mine) {
        Some(gateway) if !work.deployment.restoring => Err(StepError::Unhealthy {
            what: format!("the {role} {}", gateway.nat_gateway_id().unwrap_or_default()),
            why: format!(
                "{}: {}",
                gateway.failure_code().unwrap_or("no code"),
                gateway.failure_message().unwrap_or("no message")
            ),
        }),
        _ => Ok(()),
    }
}

/// `Pending` until every NAT gateway that the spec asks for is available.
pub(super) fn settle(work: &Work<'_>, found: &Found) -> Result<(), StepError> {
    for zone in zones(work) {
        let role = role(&zone);
        match found.gateways.get(&role) {
            None => {
                failed(work, found, &role)?;
                return Err(StepError::pending(format!("the {role} to be visible")));
            }
            Some(gateway) if gateway.state() != Some(&NatGatewayState::Available) => {
                let id = gateway.nat_gateway_id().unwrap_or_default();
                return Err(StepError::pending(format!("the {role} {id} to be available")));
            }
            Some(_) => {}
        }
    }
    Ok(())
}

/// Releases the addresses that a lost answer has doubled, once the gateway tells which of them it uses.
pub(super) async fn release_doubles(work: &Work<'_>, found: &Found) -> Result<Removal, StepError> {
    let mut removal = Removal::default();
    let wanted = found.addresses.iter().filter(|(role, _)| is_wanted(work, role));
    let doubles: Vec<(&String, &Address)> =
        wanted.flat_map(|(role, same)| same.iter().skip(1).map(move |address| (role, address))).collect();
    if doubles.is_empty() {
        return Ok(removal);
    }
    settle(work, found)?;
    for (role, address) in doubles {
        removal.found += 1;
        release(work, role, address, &mut removal).await?;
    }
    Ok(removal)
}

/// Deletes the NAT gateways with these roles, and releases their addresses once they are gone.
pub(super) async fn remove(
    work: &Work<'_>,
    found: &Found,
    which: impl Fn(&str) -> bool,
) -> Result<Removal, StepError> {
    let gateways: Vec<(&String, &NatGateway)> =
        found.gateways.iter().filter(|(role, _)| which(role)).collect();
    let mut removal = Removal { found: gateways.len() + found.leaving.len(), left: Vec::new() };
    join::all(gateways.iter().map(|(role, gateway)| delete(work, role, gateway))).await?;
    let leaving = found.leaving.iter().map(|gateway| (tagging::role(gateway.tags()), gateway));
    for (role, gateway) in gateways.iter().map(|(role, gateway)| (role.as_str(), *gateway)).chain(leaving) {
        removal.leave(role, gateway.nat_gateway_id().unwrap_or_default(), "is being deleted");
    }
    for (role, same) in &found.addresses {
        let superfluous = usize::from(!which(role));
        for address in same.iter().skip(superfluous) {
            removal.found += 1;
            release(work, role, address, &mut removal).await?;
        }
    }
    Ok(removal)
}

async fn delete(work: &Work<'_>, role: &str, gateway: &NatGateway) -> Result<(), StepError> {
    let id = gateway.nat_gateway_id().unwrap_or_default();
    let call = work.aws.ec2().delete_nat_gateway().nat_gateway_id(id).send().await;
    // The one not-found code of EC2 without a dot.
    call.unless(&["NatGatewayNotFound"]).doing(format!("deleting the {role} {id}"))?;
    tracing::info!(id, role, "NAT gateway deleted.");
    Ok(())
}

/// Releases an address, unless a NAT gateway still holds it.
async fn release(
    work: &Work<'_>,
    role: &str,
    address: &Address,
    removal: &mut Removal,
) -> Result<(), StepError> {
    let id = address.allocation_id().unwrap_or_default();
    if address.association_id().is_some() {
        removal.leave(role, id, "its NAT gateway holds it");
        return Ok(());
    }
    let call = work.aws.ec2().release_address().allocation_id(id).send().await;
    let absent = ["InvalidAllocationID.NotFound"];
    if call.gone(&absent, &["InvalidIPAddress.InUse", "AuthFailure"], format!("releasing the {role} {id}"))? {
        tracing::info!(id, role, "Elastic address released.");
    } else {
        removal.leave(role, id, "EC2 says that it is in use");
    }
    Ok(())
}
