//! DNS records in Route 53: the alias record from the domain to the load balancer, and certificates' validation records.
//!
//! DNS records have no tags. So a record counts as the stack's only if its value is exactly what Stackdrop would write.

use std::collections::BTreeSet;

use aws_sdk_route53::types::{
    AliasTarget, Change, ChangeAction, ChangeBatch, HostedZoneConfig, ResourceRecord, ResourceRecordSet,
    RrType,
};
use futures::future::try_join_all;
use stackdrop_specs::Spec;

use super::Blocker;
use super::balancer::Handle;
use super::observed::{Observed, Purpose, known_specs};
use crate::aws::denied;
use crate::aws::error::{AwsResult, StepError};
use crate::contract::component::Work;
use crate::deployment::outputs::Outputs;
use crate::deployment::plan::{Plan, Verb};

/// The alias record's logical ID.
pub(super) const LOGICAL_ID: &str = "alias-record";

pub(super) const CNAME: RrType = RrType::Cname;
/// The TTL of validation records, in seconds. No other tool uses this value, so it identifies Stackdrop's records: users (300,
/// 60) and other tools (1800) may have created records for the same certificate.
pub(super) const TTL: i64 = 299;

/// The result of reading a DNS record.
#[derive(Debug)]
pub(super) enum Lookup {
    /// The zone does not exist.
    NoZone,
    /// The zone cannot be read, with AWS's message: it belongs to another account, or a policy denies it.
    Denied(String),
    /// The record does not exist.
    Absent,
    /// The record.
    Record(Box<ResourceRecordSet>),
}

/// Reads one record. A zone that cannot be read is an error, except when the spec is compared with the account.
pub(super) async fn find(
    work: &Work<'_>,
    purpose: Purpose,
    zone: &str,
    name: &str,
    kind: RrType,
) -> Result<Lookup, StepError> {
    match read(work, zone, name, kind).await {
        Err(StepError::Refused { source, .. }) if purpose == Purpose::Compare && denied::is(&source) => {
            Ok(Lookup::Denied(source.to_string()))
        }
        read => read,
    }
}

async fn read(work: &Work<'_>, zone: &str, name: &str, kind: RrType) -> Result<Lookup, StepError> {
    // Route 53 lists records in order, starting with the requested one if it exists.
    let call = work.aws.route53().list_resource_record_sets().hosted_zone_id(zone);
    let call = call.start_record_name(name).start_record_type(kind.clone()).max_items(1).send().await;
    let observed = call
        .unless(&["NoSuchHostedZone"])
        .doing(format!("looking for DNS record {name} in Route 53 zone {zone}"))?;
    let Some(observed) = observed else { return Ok(Lookup::NoZone) };
    let first = observed.resource_record_sets.into_iter().next();
    let first = first.filter(|record| normalized(&record.name) == normalized(name) && record.r#type == kind);
    Ok(first.map_or(Lookup::Absent, |record| Lookup::Record(Box::new(record))))
}

/// Normalizes a domain name for comparisons.
fn normalized(name: &str) -> String {
    name.trim_end_matches('.').replace("\\052", "*").to_ascii_lowercase()
}

/// Whether a record is a CNAME with exactly this value.
pub(super) fn is_cname(record: &ResourceRecordSet, value: &str) -> bool {
    let [only] = record.resource_records() else { return false };
    record.r#type == CNAME
        && record.set_identifier().is_none()
        && normalized(only.value()) == normalized(value)
}

pub(super) async fn write_cname(
    work: &Work<'_>,
    zone: &str,
    name: &str,
    value: &str,
) -> Result<(), StepError> {
    let value = ResourceRecord::builder().value(value).build().map_err(malformed)?;
    let record = ResourceRecordSet::builder().name(name).r#type(CNAME).ttl(TTL).resource_records(value);
    let record = record.build().map_err(malformed)?;
    let batch = batch(ChangeAction::Upsert, record)?;
    let call = work.aws.route53().change_resource_record_sets().hosted_zone_id(zone).change_batch(batch);
    call.send().await.doing(format!("writing DNS record {name} in Route 53 zone {zone}"))?;
    tracing::info!(zone, name, "DNS record written.");
    Ok(())
}

/// Deletes a record, unless it was changed after it was read. Returns whether it is deleted.
pub(super) async fn delete(
    work: &Work<'_>,
    zone: &str,
    record: &ResourceRecordSet,
) -> Result<bool, StepError> {
    let name = record.name();
    let batch = batch(ChangeAction::Delete, record.clone())?;
    let call = work.aws.route53().change_resource_record_sets().hosted_zone_id(zone).change_batch(batch);
    let doing = format!("deleting DNS record {name} of Route 53 zone {zone}");
    let deleted = call.send().await.deleted(&["NoSuchHostedZone"], &["InvalidChangeBatch"], doing)?;
    if deleted {
        tracing::info!(zone, name, "DNS record deleted.");
    }
    Ok(deleted)
}

fn batch(action: ChangeAction, record: ResourceRecordSet) -> Result<ChangeBatch, StepError> {
    let change = Change::builder().action(action).resource_record_set(record).build().map_err(malformed)?;
    ChangeBatch::builder().changes(change).build().map_err(malformed)
}

fn malformed(error: impl std::fmt::Display) -> StepError {
    StepError::Defect(format!("writing a DNS record: {error}"))
}

/// The observed alias records.
#[derive(Debug, Default)]
pub(super) struct Aliases {
    /// The spec's alias record.
    desired: Option<Alias>,
    /// Other alias records, of the baseline's spec and of a failed one.
    previous: Vec<Alias>,
    /// The zone's name, and whether it is private. Read only if the desired alias record does not exist.
    zone: Option<(String, bool)>,
}

/// A domain, its zone and the existing record.
#[derive(Debug)]
pub(super) struct Alias {
    zone: String,
    pub(super) domain: String,
    existing: Lookup,
}

impl Alias {
    async fn find(work: &Work<'_>, purpose: Purpose, zone: &str, domain: &str) -> Result<Self, StepError> {
        let existing = find(work, purpose, zone, domain, RrType::A).await?;
        Ok(Self { zone: zone.to_owned(), domain: domain.to_owned(), existing })
    }

    /// The DNS name of the record's load balancer, if it is a simple alias.
    fn target(&self) -> Option<String> {
        let Lookup::Record(record) = &self.existing else { return None };
        let target = record.alias_target().filter(|_| record.set_identifier().is_none())?;
        let name = normalized(target.dns_name());
        Some(name.strip_prefix("dualstack.").unwrap_or(&name).to_owned())
    }
}

fn zone_and_domain(spec: &Spec) -> Option<(&str, &str)> {
    let desired = spec.load_balancer.as_ref()?;
    Some((desired.hosted_zone_id.as_deref()?, desired.domain.as_deref()?))
}

impl Aliases {
    pub(super) async fn read(work: &Work<'_>, purpose: Purpose) -> Result<Self, StepError> {
        let desired = zone_and_domain(work.spec);
        let previous: BTreeSet<(&str, &str)> = known_specs(work)
            .filter_map(zone_and_domain)
            .filter(|previous| Some(*previous) != desired)
            .collect();
        let desired = async {
            match desired {
                Some((zone, domain)) => Alias::find(work, purpose, zone, domain).await.map(Some),
                None => Ok(None),
            }
        };
        let previous =
            previous.into_iter().map(|(zone, domain)| Alias::find(work, Purpose::Prune, zone, domain));
        let (desired, previous) = tokio::try_join!(desired, try_join_all(previous))?;
        let zone = match &desired {
            Some(Alias { zone, existing: Lookup::Absent, .. }) if purpose == Purpose::Compare => {
                find_zone(work, zone).await?
            }
            _ => None,
        };
        Ok(Self { desired, previous, zone })
    }

    /// Also reads the alias records of these domains, in the known zones.
    pub(super) async fn read_more(
        &mut self,
        work: &Work<'_>,
        mut domains: BTreeSet<String>,
    ) -> Result<(), StepError> {
        for known in self.desired.iter().chain(&self.previous) {
            domains.remove(&known.domain);
        }
        let zones: BTreeSet<&str> =
            known_specs(work).filter_map(zone_and_domain).map(|(zone, _)| zone).collect();
        let pairs = domains.iter().flat_map(|domain| zones.iter().map(move |zone| (zone, domain)));
        self.previous.extend(
            try_join_all(pairs.map(|(zone, domain)| Alias::find(work, Purpose::Delete, zone, domain)))
                .await?,
        );
        Ok(())
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

async fn find_zone(work: &Work<'_>, zone: &str) -> Result<Option<(String, bool)>, StepError> {
    let call = work.aws.route53().get_hosted_zone().id(zone).send().await;
    let observed = call.unless(&["NoSuchHostedZone"]).doing(format!("reading Route 53 zone {zone}"))?;
    Ok(observed.and_then(|observed| observed.hosted_zone).map(|zone| {
        let private = zone.config().is_some_and(HostedZoneConfig::private_zone);
        (normalized(zone.name()), private)
    }))
}

/// The DNS names that the stack's load balancer has, or had in the last outputs.
fn our_names(work: &Work<'_>, observed: &Observed) -> Vec<String> {
    let reported = |outputs: &Outputs| outputs.load_balancer.as_ref()?.dns_name.clone();
    let baseline = work.deployment.baseline.as_ref().and_then(|baseline| reported(&baseline.outputs));
    let actual =
        observed.balancer.as_ref().and_then(|balancer| balancer.detail.dns_name().map(str::to_owned));
    [actual, reported(work.outputs), baseline].into_iter().flatten().map(|name| normalized(&name)).collect()
}

/// The state of the desired alias record.
enum AliasState {
    Correct,
    Missing,
    /// It points to a deleted load balancer of the stack.
    Outdated,
    NotOwned,
}

fn alias_state(work: &Work<'_>, observed: &Observed, alias: &Alias) -> AliasState {
    let actual = observed.balancer.as_ref().and_then(|balancer| balancer.detail.dns_name()).map(normalized);
    match (&alias.existing, alias.target()) {
        (Lookup::Absent | Lookup::NoZone | Lookup::Denied(_), _) => AliasState::Missing,
        (_, Some(target)) if Some(&target) == actual.as_ref() => AliasState::Correct,
        (_, Some(target)) if our_names(work, observed).contains(&target) => AliasState::Outdated,
        _ => AliasState::NotOwned,
    }
}

/// The reasons why the alias record cannot be created.
pub(super) fn blockers(work: &Work<'_>, observed: &Observed) -> Vec<Blocker> {
    let Some(alias) = &observed.aliases.desired else { return Vec::new() };
    let Alias { zone, domain, .. } = alias;
    let spec =
        |why: String, fix: &str| vec![Blocker::Spec { resource: LOGICAL_ID.into(), why, fix: fix.into() }];
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
    match &observed.aliases.zone {
        Some((name, _))
            if normalized(domain) != *name && !normalized(domain).ends_with(&format!(".{name}")) =>
        {
            return spec(
                format!("loadBalancer.domain {domain} is not in Route 53 zone {zone}, which is {name}"),
                "correct loadBalancer.domain or loadBalancer.hostedZoneId",
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
    if matches!(alias_state(work, observed, alias), AliasState::NotOwned) {
        return vec![Blocker::NotOwned {
            resource: LOGICAL_ID.into(),
            what: format!("DNS record {domain} (A) of Route 53 zone {zone}"),
            fix:
                "delete the record, or remove loadBalancer.hostedZoneId and point the domain to the load balancer \
                  yourself"
                    .into(),
        }];
    }
    Vec::new()
}

/// The previous alias records that still point to the stack's load balancer.
pub(super) fn obsolete<'a>(work: &Work<'_>, observed: &'a Observed) -> Vec<&'a Alias> {
    let names = our_names(work, observed);
    let previous = observed.aliases.previous.iter();
    previous.filter(|alias| alias.target().is_some_and(|target| names.contains(&target))).collect()
}

pub(super) fn plan(work: &Work<'_>, observed: &Observed, plan: &mut Plan) {
    if let Some(alias) = &observed.aliases.desired {
        match alias_state(work, observed, alias) {
            AliasState::Missing => {
                plan.change(Verb::Create, LOGICAL_ID);
            }
            AliasState::Outdated => {
                plan.update(LOGICAL_ID, "target", alias.target().unwrap_or_default(), "the load balancer");
            }
            AliasState::Correct | AliasState::NotOwned => {}
        }
    }
    for alias in obsolete(work, observed) {
        plan.change(Verb::Delete, format!("{LOGICAL_ID} ({})", alias.domain));
    }
}

/// Creates or updates the alias record.
pub(super) async fn apply(work: &Work<'_>, observed: &Observed, handle: &Handle) -> Result<(), StepError> {
    let Some(alias) = &observed.aliases.desired else { return Ok(()) };
    if !matches!(alias_state(work, observed, alias), AliasState::Missing | AliasState::Outdated) {
        return Ok(());
    }
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
pub(super) async fn delete_alias(work: &Work<'_>, alias: &Alias) -> Result<bool, StepError> {
    match &alias.existing {
        Lookup::Record(record) => delete(work, &alias.zone, record).await,
        Lookup::Absent | Lookup::NoZone | Lookup::Denied(_) => Ok(true),
    }
}
