//! The alias records: the names under which users reach the load balancer. One for the domain, and one for each host of a
//! route.

use std::collections::BTreeSet;

use aws_sdk_route53::types::{AliasTarget, ChangeAction, ResourceRecordSet, RrType};
use futures::future::try_join_all;
use stackdrop_specs::{Spec, is_dns_name};

use super::Blocker;
use super::balancer::Handle;
use super::certificate::{Source, source};
use super::dns::{self, Lookup, Zones, batch, is_within, malformed, normalized};
use super::observed::{Observed, Purpose, known_specs};
use super::other_records::{alias_target, leads_to};
use crate::aws::denied;
use crate::aws::error::{AwsResult, StepError};
use crate::contract::component::Work;
use crate::deployment::outputs::Outputs;
use crate::deployment::plan::{Plan, Verb};

/// The logical ID of the domain's alias record.
pub(super) const LOGICAL_ID: &str = "alias-record";

/// The types of records that can lead clients elsewhere, although an alias record exists beside them or instead of them.
const CONFLICTING: [RrType; 5] = [RrType::Cname, RrType::Aaaa, RrType::Https, RrType::Svcb, RrType::Ns];

/// The observed alias records.
#[derive(Debug, Default)]
pub(super) struct Aliases {
    /// The spec's alias records, the domain's first.
    desired: Vec<Alias>,
    /// Other alias records, of the baseline's spec and of a failed one.
    previous: Vec<Alias>,
    /// The zone's name, and whether it is private. Read only if a desired alias record does not exist.
    zone: Option<(String, bool)>,
}

/// A name, its zone and the existing records.
#[derive(Debug)]
pub(super) struct Alias {
    zone: String,
    pub(super) domain: String,
    existing: Lookup,
    /// Other records with this name that can lead clients elsewhere.
    others: Vec<ResourceRecordSet>,
}

impl Alias {
    async fn find(
        work: &Work<'_>,
        zones: &Zones,
        purpose: Purpose,
        zone: &str,
        domain: &str,
    ) -> Result<Self, StepError> {
        let mut alias = Self {
            zone: zone.to_owned(),
            domain: domain.to_owned(),
            existing: Lookup::Absent,
            others: Vec::new(),
        };
        let records = match dns::read_name(work, zones, zone, domain).await {
            Err(StepError::Refused { source, .. }) if purpose == Purpose::Compare && denied::is(&source) => {
                alias.existing = Lookup::Denied(source.to_string());
                return Ok(alias);
            }
            Ok(None) => {
                alias.existing = Lookup::NoZone;
                return Ok(alias);
            }
            read => read?.unwrap_or_default(),
        };
        // At the zone's apex, NS records belong to the zone itself.
        let is_apex = records.iter().any(|record| record.r#type == RrType::Soa);
        let leads = |record: &&ResourceRecordSet| {
            CONFLICTING.contains(&record.r#type) && !(is_apex && record.r#type == RrType::Ns)
        };
        alias.others = records.iter().filter(leads).cloned().collect();
        if let Some(record) = records.into_iter().find(|record| record.r#type == RrType::A) {
            alias.existing = Lookup::Record(Box::new(record));
        }
        Ok(alias)
    }

    /// The DNS name of the record's load balancer, if it is a simple alias.
    fn target(&self) -> Option<String> {
        let Lookup::Record(record) = &self.existing else { return None };
        alias_target(record)
    }

    /// The types of the other records that lead clients elsewhere, or (`to_us`) to the stack's load balancer.
    fn types(&self, observed: &Observed, to_us: bool) -> Vec<&str> {
        let balancer = actual_name(observed);
        let leads = |record: &ResourceRecordSet| balancer.as_ref().is_some_and(|name| leads_to(name, record));
        let chosen = self.others.iter().filter(|record| leads(record) == to_us);
        chosen.map(|record| record.r#type.as_str()).collect()
    }

    /// Whether a CNAME record of others leads to the stack's load balancer, instead of the alias record.
    fn has_own_cname(&self, observed: &Observed) -> bool {
        self.types(observed, true).contains(&RrType::Cname.as_str())
    }

    /// Its logical ID in a stack whose load balancer has this domain.
    fn logical_id(&self, domain: Option<&str>) -> String {
        if domain == Some(&self.domain) { LOGICAL_ID.into() } else { format!("{LOGICAL_ID}/{}", self.domain) }
    }
}

/// The zone of a spec's alias records, if it has one.
pub(super) fn zone_of(spec: &Spec) -> Option<&str> {
    let desired = spec.load_balancer.as_ref()?;
    desired.domain.as_ref()?;
    desired.hosted_zone_id.as_deref()
}

/// The IDs of the zones in which the stack may have records.
pub(super) fn zone_ids<'a>(work: &'a Work<'_>) -> BTreeSet<&'a str> {
    known_specs(work).filter_map(zone_of).collect()
}

/// The zones and names of a spec's alias records.
fn zones_and_names(spec: &Spec) -> Vec<(&str, &str)> {
    let names = zone_of(spec).map(|zone| spec.hosts().into_iter().map(move |host| (zone, host)));
    names.into_iter().flatten().filter(|(_, host)| is_dns_name(host)).collect()
}

fn domain_of(spec: &Spec) -> Option<&str> {
    spec.load_balancer.as_ref()?.domain.as_deref()
}

impl Aliases {
    pub(super) async fn read(work: &Work<'_>, zones: &Zones, purpose: Purpose) -> Result<Self, StepError> {
        let desired = zones_and_names(work.spec);
        let previous: BTreeSet<(&str, &str)> = known_specs(work)
            .flat_map(zones_and_names)
            .filter(|previous| !desired.contains(previous))
            .collect();
        let desired =
            desired.into_iter().map(|(zone, domain)| Alias::find(work, zones, purpose, zone, domain));
        let previous =
            previous.into_iter().map(|(zone, domain)| Alias::find(work, zones, Purpose::Prune, zone, domain));
        let (mut desired, previous) = tokio::try_join!(try_join_all(desired), try_join_all(previous))?;
        let absent = desired.iter().find(|alias| matches!(alias.existing, Lookup::Absent));
        let zone = match absent {
            Some(alias) if purpose == Purpose::Compare => dns::find_zone(work, &alias.zone).await?,
            _ => None,
        };
        if let (Some((name, _)), true) = (&zone, has_given_certificate(work)) {
            // People can point hosts of other zones to the load balancer; the domain must be in the zone.
            let domain = domain_of(work.spec);
            desired.retain(|alias| domain == Some(&alias.domain) || is_within(&alias.domain, name));
        }
        Ok(Self { desired, previous, zone })
    }

    /// Also reads the alias records of these domains, in the known zones.
    pub(super) async fn read_more(
        &mut self,
        work: &Work<'_>,
        zones: &Zones,
        mut domains: BTreeSet<String>,
    ) -> Result<(), StepError> {
        for known in self.desired.iter().chain(&self.previous) {
            domains.remove(&known.domain);
        }
        let ids = zone_ids(work);
        let pairs = domains.iter().flat_map(|domain| ids.iter().map(move |zone| (zone, domain)));
        self.previous.extend(
            try_join_all(pairs.map(|(zone, domain)| Alias::find(work, zones, Purpose::Delete, zone, domain)))
                .await?,
        );
        Ok(())
    }

    /// The names of the spec's alias records.
    pub(super) fn desired_names(&self) -> impl Iterator<Item = &str> {
        self.desired.iter().map(|alias| alias.domain.as_str())
    }

    /// The alias records to the stack's load balancer.
    pub(super) fn ours<'a>(
        &'a self,
        work: &'a Work<'_>,
        observed: &'a Observed,
    ) -> impl Iterator<Item = &'a Alias> {
        let names = our_names(work, observed);
        let all = self.desired.iter().chain(&self.previous);
        all.filter(move |alias| alias.target().is_some_and(|target| names.contains(&target)))
    }
}

/// The DNS name of the stack's load balancer.
fn actual_name(observed: &Observed) -> Option<String> {
    observed.balancer.as_ref().and_then(|balancer| balancer.detail.dns_name()).map(normalized)
}

fn has_given_certificate(work: &Work<'_>) -> bool {
    let source = work.spec.load_balancer.as_ref().and_then(source);
    matches!(source, Some(Source::Given(_)))
}

/// The DNS names that the stack's load balancer has, or had in the last outputs.
fn our_names(work: &Work<'_>, observed: &Observed) -> Vec<String> {
    let reported = |outputs: &Outputs| outputs.load_balancer.as_ref()?.dns_name.clone();
    let baseline = work.deployment.baseline.as_ref().and_then(|baseline| reported(&baseline.outputs));
    let actual =
        observed.balancer.as_ref().and_then(|balancer| balancer.detail.dns_name().map(str::to_owned));
    [actual, reported(work.outputs), baseline].into_iter().flatten().map(|name| normalized(&name)).collect()
}

/// The state of a desired alias record.
enum AliasState {
    Correct,
    /// A CNAME record of others does the same.
    NotNeeded,
    Missing,
    /// It points to a deleted load balancer of the stack.
    Outdated,
    NotOwned,
}

fn alias_state(work: &Work<'_>, observed: &Observed, alias: &Alias) -> AliasState {
    let actual = actual_name(observed);
    match (&alias.existing, alias.target()) {
        (Lookup::Absent, _) if alias.has_own_cname(observed) => AliasState::NotNeeded,
        (Lookup::Absent | Lookup::NoZone | Lookup::Denied(_), _) => AliasState::Missing,
        (_, Some(target)) if Some(&target) == actual.as_ref() => AliasState::Correct,
        (_, Some(target)) if our_names(work, observed).contains(&target) => AliasState::Outdated,
        _ => AliasState::NotOwned,
    }
}

/// The reasons why an alias record cannot be created.
pub(super) fn blockers(work: &Work<'_>, observed: &Observed) -> Vec<Blocker> {
    observed.aliases.desired.iter().filter_map(|alias| blocker(work, observed, alias)).collect()
}

fn blocker(work: &Work<'_>, observed: &Observed, alias: &Alias) -> Option<Blocker> {
    let Alias { zone, domain, .. } = alias;
    let resource = alias.logical_id(domain_of(work.spec));
    let spec =
        |why: String, fix: &str| Some(Blocker::Spec { resource: resource.clone(), why, fix: fix.into() });
    if matches!(alias.existing, Lookup::NoZone) {
        return spec(format!("Route 53 zone {zone} does not exist"), "correct loadBalancer.hostedZoneId");
    }
    if let Lookup::Denied(message) = &alias.existing {
        return spec(
            format!(
                "Route 53 zone {zone} cannot be read: it belongs to another account, or a policy denies it ({message})"
            ),
            "set loadBalancer.hostedZoneId to a zone of this account; or remove hostedZoneId, set \
             loadBalancer.certificateArn, and point the domain to the load balancer yourself",
        );
    }
    let is_domain = domain_of(work.spec) == Some(domain);
    match &observed.aliases.zone {
        Some((name, _)) if !is_within(domain, name) && is_domain => {
            return spec(
                format!("loadBalancer.domain {domain} is not in Route 53 zone {zone}, which is {name}"),
                "correct loadBalancer.domain or loadBalancer.hostedZoneId",
            );
        }
        Some((name, _)) if !is_within(domain, name) => {
            return spec(
                format!(
                    "the host {domain} of a route is not in Route 53 zone {zone}, which is {name}: the certificate \
                     cannot be validated for it"
                ),
                "correct the host, or set loadBalancer.certificateArn to a certificate for all hosts",
            );
        }
        Some((name, true)) => {
            return spec(
                format!("Route 53 zone {zone} ({name}) is private: the internet cannot resolve {domain}"),
                "set loadBalancer.hostedZoneId to a public zone",
            );
        }
        _ => {}
    }
    let mut kinds = alias.types(observed, false);
    if matches!(alias_state(work, observed, alias), AliasState::NotOwned) {
        kinds.push("A");
    }
    let by_hand = if has_given_certificate(work) { "" } else { "set loadBalancer.certificateArn, " };
    (!kinds.is_empty()).then(|| Blocker::NotOwned {
        resource,
        what: format!("DNS record {domain} ({}) of Route 53 zone {zone}", kinds.join(", ")),
        fix: format!(
            "delete the record; or {by_hand}remove loadBalancer.hostedZoneId and point the domain to the load \
             balancer yourself"
        ),
    })
}

/// The previous alias records that still point to the stack's load balancer.
pub(super) fn obsolete<'a>(work: &Work<'_>, observed: &'a Observed) -> Vec<&'a Alias> {
    let names = our_names(work, observed);
    let previous = observed.aliases.previous.iter();
    previous.filter(|alias| alias.target().is_some_and(|target| names.contains(&target))).collect()
}

pub(super) fn plan(work: &Work<'_>, observed: &Observed, plan: &mut Plan) {
    for alias in &observed.aliases.desired {
        let logical_id = alias.logical_id(domain_of(work.spec));
        match alias_state(work, observed, alias) {
            AliasState::Missing => plan.change(Verb::Create, logical_id),
            AliasState::Outdated => {
                plan.update(&logical_id, "target", alias.target().unwrap_or_default(), "the load balancer");
            }
            AliasState::Correct | AliasState::NotNeeded | AliasState::NotOwned => {}
        }
        let others = alias.types(observed, true).join(", ");
        if !others.is_empty() {
            let domain = &alias.domain;
            plan.warn(
                alias.logical_id(domain_of(work.spec)),
                format!("DNS record {domain} ({others}) also leads to the load balancer; Stackdrop did not create it and leaves it"),
                "delete it before you destroy the stack",
            );
        }
    }
    for alias in obsolete(work, observed) {
        plan.change(Verb::Delete, format!("{LOGICAL_ID} ({})", alias.domain));
    }
    if zone_of(work.spec).is_some() {
        let known = |host: &&str| observed.aliases.desired.iter().any(|alias| alias.domain == **host);
        for host in work.spec.hosts().into_iter().filter(|host| !known(host)) {
            plan.warn(
                format!("{LOGICAL_ID}/{host}"),
                format!("Stackdrop creates no DNS record for the host {host}: it is not a name in loadBalancer.hostedZoneId"),
                "point the host to the load balancer yourself",
            );
        }
    }
}

/// Creates or updates the alias records.
pub(super) async fn apply(work: &Work<'_>, observed: &Observed, handle: &Handle) -> Result<(), StepError> {
    let differs = |alias: &&Alias| {
        matches!(alias_state(work, observed, alias), AliasState::Missing | AliasState::Outdated)
    };
    let written = observed.aliases.desired.iter().filter(differs).map(|alias| write(work, handle, alias));
    try_join_all(written).await.map(drop)
}

async fn write(work: &Work<'_>, handle: &Handle, alias: &Alias) -> Result<(), StepError> {
    let target = AliasTarget::builder()
        .hosted_zone_id(&handle.zone)
        .dns_name(&handle.dns_name)
        .evaluate_target_health(false)
        .build()
        .map_err(malformed)?;
    let record = ResourceRecordSet::builder().name(&alias.domain).r#type(RrType::A).alias_target(target);
    let batch = batch(ChangeAction::Upsert, record.build().map_err(malformed)?)?;
    let call = work.aws.route53().change_resource_record_sets();
    let call = call.hosted_zone_id(&alias.zone).change_batch(batch).send().await;
    call.doing(format!("writing alias record {}", alias.domain))?;
    tracing::info!(domain = alias.domain, "Alias record written.");
    Ok(())
}

/// Deletes an alias record. Returns whether it is deleted.
pub(super) async fn delete(work: &Work<'_>, alias: &Alias) -> Result<bool, StepError> {
    match &alias.existing {
        Lookup::Record(record) => dns::delete(work, &alias.zone, record).await,
        Lookup::Absent | Lookup::NoZone | Lookup::Denied(_) => Ok(true),
    }
}
