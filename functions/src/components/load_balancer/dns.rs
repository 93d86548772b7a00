//! Records in Route 53: the alias that leads a domain to the load balancer, and what certificates are validated by.
//!
//! Records carry no tags. So only a record whose value is exactly what we would write counts as ours.

use std::collections::BTreeSet;

use aws_sdk_route53::types::{
    AliasTarget, Change, ChangeAction, ChangeBatch, HostedZoneConfig, ResourceRecord, ResourceRecordSet,
    RrType,
};
use futures::future::try_join_all;
use stackdrop_specs::Spec;

use super::Obstacle;
use super::balancer::Handle;
use super::observed::{Observed, Purpose, known_specs};
use crate::contract::component::Work;
use crate::deployment::outputs::Outputs;

use crate::aws::denied;
use crate::aws::error::{Answer, StepError};
use crate::deployment::plan::{Plan, Verb};

/// The alias record's logical ID.
pub(super) const LOGICAL_ID: &str = "alias-record";

pub(super) const CNAME: RrType = RrType::Cname;
/// How long validation records are cached, in seconds: a number that nobody else writes, so that our records are
/// known among those that users (300, 60) and other tools (1800) have made for the same certificate.
pub(super) const TTL: i64 = 299;

/// What stands under a name.
#[derive(Debug)]
pub(super) enum Lookup {
    /// There is no such zone.
    NoZone,
    /// The zone can't be read, in AWS's words: it is another account's, or a policy denies it.
    Denied(String),
    /// The zone has no such record.
    Absent,
    /// This.
    Record(Box<ResourceRecordSet>),
}

/// Reads one record. A zone that can't be read is an answer where the spec's is compared with what stands; where
/// something is to be deleted, it is an error.
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
    // Records are listed in order, beginning with the one asked for if it exists.
    let call = work.aws.route53().list_resource_record_sets().hosted_zone_id(zone);
    let call = call.start_record_name(name).start_record_type(kind.clone()).max_items(1).send().await;
    let observed =
        call.unless(&["NoSuchHostedZone"]).doing(format!("looking for {name} in the zone {zone}"))?;
    let Some(observed) = observed else { return Ok(Lookup::NoZone) };
    let first = observed.resource_record_sets.into_iter().next();
    let first = first.filter(|record| plain(&record.name) == plain(name) && record.r#type == kind);
    Ok(first.map_or(Lookup::Absent, |record| Lookup::Record(Box::new(record))))
}

/// A domain name in the one form that names are compared in.
fn plain(name: &str) -> String {
    name.trim_end_matches('.').replace("\\052", "*").to_ascii_lowercase()
}

/// Whether a record is a CNAME with just this value.
pub(super) fn is_cname(record: &ResourceRecordSet, value: &str) -> bool {
    let [only] = record.resource_records() else { return false };
    record.r#type == CNAME && record.set_identifier().is_none() && plain(only.value()) == plain(value)
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
    call.send().await.doing(format!("writing the record {name} into the zone {zone}"))?;
    tracing::info!(zone, name, "DNS record written.");
    Ok(())
}

/// Deletes a record as it was found. Not if it has been changed since.
pub(super) async fn delete(
    work: &Work<'_>,
    zone: &str,
    record: &ResourceRecordSet,
) -> Result<bool, StepError> {
    let name = record.name();
    let batch = batch(ChangeAction::Delete, record.clone())?;
    let call = work.aws.route53().change_resource_record_sets().hosted_zone_id(zone).change_batch(batch);
    let doing = format!("deleting the record {name} of the zone {zone}");
    let gone = call.send().await.gone(&["NoSuchHostedZone"], &["InvalidChangeBatch"], doing)?;
    if gone {
        tracing::info!(zone, name, "DNS record deleted.");
    }
    Ok(gone)
}

fn batch(action: ChangeAction, record: ResourceRecordSet) -> Result<ChangeBatch, StepError> {
    let change = Change::builder().action(action).resource_record_set(record).build().map_err(malformed)?;
    ChangeBatch::builder().changes(change).build().map_err(malformed)
}

fn malformed(error: impl std::fmt::Display) -> StepError {
    StepError::Defect(format!("writing a DNS record: {error}"))
}

/// The aliases that matter.
#[derive(Debug, Default)]
pub(super) struct Aliases {
    /// That of the spec.
    desired: Option<Alias>,
    /// Those of the last good spec, and of one that has failed, where they were others.
    former: Vec<Alias>,
    /// The zone's name and whether it is private; read only where the wanted alias is not there.
    zone: Option<(String, bool)>,
}

/// A domain in its zone, and what stands there.
#[derive(Debug)]
pub(super) struct Alias {
    zone: String,
    pub(super) domain: String,
    standing: Lookup,
}

impl Alias {
    async fn find(work: &Work<'_>, purpose: Purpose, zone: &str, domain: &str) -> Result<Self, StepError> {
        let standing = find(work, purpose, zone, domain, RrType::A).await?;
        Ok(Self { zone: zone.to_owned(), domain: domain.to_owned(), standing })
    }

    /// The load balancer that the record leads to, if it is a plain alias.
    fn target(&self) -> Option<String> {
        let Lookup::Record(record) = &self.standing else { return None };
        let target = record.alias_target().filter(|_| record.set_identifier().is_none())?;
        let name = plain(target.dns_name());
        Some(name.strip_prefix("dualstack.").unwrap_or(&name).to_owned())
    }
}

fn place(spec: &Spec) -> Option<(&str, &str)> {
    let desired = spec.load_balancer.as_ref()?;
    Some((desired.hosted_zone_id.as_deref()?, desired.domain.as_deref()?))
}

impl Aliases {
    pub(super) async fn read(work: &Work<'_>, purpose: Purpose) -> Result<Self, StepError> {
        let desired = place(work.spec);
        let former: BTreeSet<(&str, &str)> =
            known_specs(work).filter_map(place).filter(|former| Some(*former) != desired).collect();
        let desired = async {
            match desired {
                Some((zone, domain)) => Alias::find(work, purpose, zone, domain).await.map(Some),
                None => Ok(None),
            }
        };
        let former = former.into_iter().map(|(zone, domain)| Alias::find(work, Purpose::Drop, zone, domain));
        let (desired, former) = tokio::try_join!(desired, try_join_all(former))?;
        let zone = match &desired {
            Some(Alias { zone, standing: Lookup::Absent, .. }) if purpose == Purpose::Compare => {
                find_zone(work, zone).await?
            }
            _ => None,
        };
        Ok(Self { desired, former, zone })
    }

    /// Looks for these domains too, in the zones that are known.
    pub(super) async fn read_more(
        &mut self,
        work: &Work<'_>,
        mut domains: BTreeSet<String>,
    ) -> Result<(), StepError> {
        for known in self.desired.iter().chain(&self.former) {
            domains.remove(&known.domain);
        }
        let zones: BTreeSet<&str> = known_specs(work).filter_map(place).map(|(zone, _)| zone).collect();
        let pairs = domains.iter().flat_map(|domain| zones.iter().map(move |zone| (zone, domain)));
        self.former.extend(
            try_join_all(pairs.map(|(zone, domain)| Alias::find(work, Purpose::Remove, zone, domain)))
                .await?,
        );
        Ok(())
    }

    /// The aliases that lead to our load balancer.
    pub(super) fn ours<'a>(
        &'a self,
        work: &'a Work<'_>,
        observed: &'a Observed,
    ) -> impl Iterator<Item = &'a Alias> {
        let names = our_names(work, observed);
        let all = self.desired.iter().chain(&self.former);
        all.filter(move |alias| alias.target().is_some_and(|target| names.contains(&target)))
    }
}

async fn find_zone(work: &Work<'_>, zone: &str) -> Result<Option<(String, bool)>, StepError> {
    let call = work.aws.route53().get_hosted_zone().id(zone).send().await;
    let observed = call.unless(&["NoSuchHostedZone"]).doing(format!("reading the zone {zone}"))?;
    Ok(observed.and_then(|observed| observed.hosted_zone).map(|zone| {
        let private = zone.config().is_some_and(HostedZoneConfig::private_zone);
        (plain(zone.name()), private)
    }))
}

/// The DNS names that our load balancer has, or had when it was last reported.
fn our_names(work: &Work<'_>, observed: &Observed) -> Vec<String> {
    let reported = |outputs: &Outputs| outputs.load_balancer.as_ref()?.dns_name.clone();
    let baseline = work.deployment.baseline.as_ref().and_then(|baseline| reported(&baseline.outputs));
    let now = observed.balancer.as_ref().and_then(|balancer| balancer.detail.dns_name().map(str::to_owned));
    [now, reported(work.outputs), baseline].into_iter().flatten().map(|name| plain(&name)).collect()
}

/// What the wanted alias is now.
enum Standing {
    Right,
    Missing,
    /// It leads to a load balancer of ours that is no more.
    Outdated,
    NotOwned,
}

fn standing(work: &Work<'_>, observed: &Observed, alias: &Alias) -> Standing {
    let now = observed.balancer.as_ref().and_then(|balancer| balancer.detail.dns_name()).map(plain);
    match (&alias.standing, alias.target()) {
        (Lookup::Absent | Lookup::NoZone | Lookup::Denied(_), _) => Standing::Missing,
        (_, Some(target)) if Some(&target) == now.as_ref() => Standing::Right,
        (_, Some(target)) if our_names(work, observed).contains(&target) => Standing::Outdated,
        _ => Standing::NotOwned,
    }
}

/// What makes it impossible to have the records.
pub(super) fn obstacles(work: &Work<'_>, observed: &Observed) -> Vec<Obstacle> {
    let Some(alias) = &observed.aliases.desired else { return Vec::new() };
    let Alias { zone, domain, .. } = alias;
    let spec =
        |why: String, fix: &str| vec![Obstacle::Spec { resource: LOGICAL_ID.into(), why, fix: fix.into() }];
    if matches!(alias.standing, Lookup::NoZone) {
        return spec(format!("there is no Route 53 zone {zone}"), "correct loadBalancer.hostedZoneId");
    }
    if let Lookup::Denied(said) = &alias.standing {
        return spec(
            format!(
                "the Route 53 zone {zone} can't be read: it is another account's, or a policy denies it ({said})"
            ),
            "name a zone of this account in loadBalancer.hostedZoneId; or leave hostedZoneId out, name a certificate \
             in loadBalancer.certificateArn, and lead the domain to the load balancer yourself",
        );
    }
    match &observed.aliases.zone {
        Some((name, _)) if plain(domain) != *name && !plain(domain).ends_with(&format!(".{name}")) => {
            return spec(
                format!("loadBalancer.domain {domain} does not lie in the zone {zone}, which is {name}"),
                "correct loadBalancer.domain or loadBalancer.hostedZoneId",
            );
        }
        Some((name, true)) => {
            return spec(
                format!("the zone {zone} ({name}) is private: nobody outside can look {domain} up"),
                "name a public zone in loadBalancer.hostedZoneId",
            );
        }
        _ => {}
    }
    if matches!(standing(work, observed, alias), Standing::NotOwned) {
        return vec![Obstacle::NotOwned {
            resource: LOGICAL_ID.into(),
            what: format!("the DNS record {domain} (A) of the zone {zone}"),
            fix:
                "delete it, or leave loadBalancer.hostedZoneId out and lead the domain to the load balancer \
                  yourself"
                    .into(),
        }];
    }
    Vec::new()
}

/// The former aliases that still lead to our load balancer.
pub(super) fn superfluous<'a>(work: &Work<'_>, observed: &'a Observed) -> Vec<&'a Alias> {
    let names = our_names(work, observed);
    let former = observed.aliases.former.iter();
    former.filter(|alias| alias.target().is_some_and(|target| names.contains(&target))).collect()
}

pub(super) fn plan(work: &Work<'_>, observed: &Observed, plan: &mut Plan) {
    if let Some(alias) = &observed.aliases.desired {
        match standing(work, observed, alias) {
            Standing::Missing => {
                plan.change(Verb::Create, LOGICAL_ID);
            }
            Standing::Outdated => {
                plan.update(LOGICAL_ID, "target", alias.target().unwrap_or_default(), "the load balancer");
            }
            Standing::Right | Standing::NotOwned => {}
        }
    }
    for alias in superfluous(work, observed) {
        plan.change(Verb::Delete, format!("{LOGICAL_ID} ({})", alias.domain));
    }
}

/// Leads the domain to the load balancer.
pub(super) async fn apply(work: &Work<'_>, observed: &Observed, handle: &Handle) -> Result<(), StepError> {
    let Some(alias) = &observed.aliases.desired else { return Ok(()) };
    if !matches!(standing(work, observed, alias), Standing::Missing | Standing::Outdated) {
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
    call.doing(format!("leading {} to the load balancer", alias.domain))?;
    tracing::info!(domain = alias.domain, "Alias record written.");
    Ok(())
}

/// Whether it is gone.
pub(super) async fn delete_alias(work: &Work<'_>, alias: &Alias) -> Result<bool, StepError> {
    match &alias.standing {
        Lookup::Record(record) => delete(work, &alias.zone, record).await,
        Lookup::Absent | Lookup::NoZone | Lookup::Denied(_) => Ok(true),
    }
}
