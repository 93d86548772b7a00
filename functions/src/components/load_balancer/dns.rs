//! Reading and writing DNS records in Route 53.
//!
//! DNS records have no tags. So a record counts as the stack's only if its value is exactly what Stackdrop would write.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_route53::types::{
    Change, ChangeAction, ChangeBatch, HostedZoneConfig, ResourceRecord, ResourceRecordSet, RrType,
};

use super::observed::Purpose;
use crate::aws::denied;
use crate::aws::error::{AwsResult, StepError};
use crate::contract::component::Work;

pub(super) const CNAME: RrType = RrType::Cname;
/// The TTL of validation records, in seconds. No other tool uses this value, so it identifies Stackdrop's records: users (300,
/// 60) and other tools (1800) may have created records for the same certificate.
pub(super) const TTL: i64 = 299;
/// How many records of one name are read.
const RECORDS_OF_NAME: i32 = 20;
/// How many records of a zone are read at once.
const RECORDS_OF_ZONE: i32 = 100;
/// Route 53's error code for a zone that does not exist.
const ABSENT: [&str; 1] = ["NoSuchHostedZone"];

/// All records of small zones, each read in one call instead of one for each name. In other zones, each name is read alone.
#[derive(Debug, Default)]
pub(super) struct Zones(BTreeMap<String, Vec<ResourceRecordSet>>);

impl Zones {
    /// Reads the zones with these IDs. One that cannot be read is left out: the reader of a name says why.
    pub(super) async fn read(work: &Work<'_>, ids: BTreeSet<&str>) -> Result<Self, StepError> {
        let mut zones = Self::default();
        for id in ids {
            let call = work.aws.route53().list_resource_record_sets().hosted_zone_id(id);
            let sent = call.max_items(RECORDS_OF_ZONE).send().await;
            let answer =
                match sent.unless(&ABSENT).doing(format!("reading the records of Route 53 zone {id}")) {
                    Err(StepError::Refused { source, .. }) if denied::is(&source) => None,
                    answer => answer?,
                };
            if let Some(answer) = answer.filter(|answer| !answer.is_truncated()) {
                zones.0.insert(id.to_owned(), answer.resource_record_sets);
            }
        }
        Ok(zones)
    }

    /// The records of a name; `None` if its zone was not read.
    fn of_name(&self, zone: &str, name: &str) -> Option<Vec<ResourceRecordSet>> {
        let records = self.0.get(zone)?.iter();
        Some(records.filter(|record| normalized(&record.name) == normalized(name)).cloned().collect())
    }
}

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
    zones: &Zones,
    purpose: Purpose,
    zone: &str,
    name: &str,
    kind: RrType,
) -> Result<Lookup, StepError> {
    if let Some(records) = zones.of_name(zone, name) {
        let record = records.into_iter().find(|record| record.r#type == kind);
        return Ok(record.map_or(Lookup::Absent, |record| Lookup::Record(Box::new(record))));
    }
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
    let observed =
        call.unless(&ABSENT).doing(format!("looking for DNS record {name} in Route 53 zone {zone}"))?;
    let Some(observed) = observed else { return Ok(Lookup::NoZone) };
    let first = observed.resource_record_sets.into_iter().next();
    let first = first.filter(|record| normalized(&record.name) == normalized(name) && record.r#type == kind);
    Ok(first.map_or(Lookup::Absent, |record| Lookup::Record(Box::new(record))))
}

/// Reads all records of a name; `None` if the zone does not exist.
pub(super) async fn read_name(
    work: &Work<'_>,
    zones: &Zones,
    zone: &str,
    name: &str,
) -> Result<Option<Vec<ResourceRecordSet>>, StepError> {
    if let Some(records) = zones.of_name(zone, name) {
        return Ok(Some(records));
    }
    // Route 53 lists records in order of their names. A name has few records, unless it has routing policies.
    let call = work.aws.route53().list_resource_record_sets().hosted_zone_id(zone);
    let observed = call
        .start_record_name(name)
        .max_items(RECORDS_OF_NAME)
        .send()
        .await
        .unless(&ABSENT)
        .doing(format!("looking for DNS record {name} in Route 53 zone {zone}"))?;
    let of_name = |record: &ResourceRecordSet| normalized(&record.name) == normalized(name);
    Ok(observed.map(|observed| observed.resource_record_sets.into_iter().filter(of_name).collect()))
}

/// The name of a zone, and whether it is private; `None` if the zone does not exist.
pub(super) async fn find_zone(work: &Work<'_>, zone: &str) -> Result<Option<(String, bool)>, StepError> {
    let call = work.aws.route53().get_hosted_zone().id(zone).send().await;
    let observed = call.unless(&ABSENT).doing(format!("reading Route 53 zone {zone}"))?;
    Ok(observed.and_then(|observed| observed.hosted_zone).map(|zone| {
        let private = zone.config().is_some_and(HostedZoneConfig::private_zone);
        (normalized(zone.name()), private)
    }))
}

/// Whether a domain is a zone's name or below it.
pub(super) fn is_within(domain: &str, zone: &str) -> bool {
    let domain = normalized(domain);
    domain == zone || domain.ends_with(&format!(".{zone}"))
}

/// Normalizes a domain name for comparisons.
pub(super) fn normalized(name: &str) -> String {
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
    let deleted = call.send().await.deleted(&ABSENT, &["InvalidChangeBatch"], doing)?;
    if deleted {
        tracing::info!(zone, name, "DNS record deleted.");
    }
    Ok(deleted)
}

pub(super) fn batch(action: ChangeAction, record: ResourceRecordSet) -> Result<ChangeBatch, StepError> {
    let change = Change::builder().action(action).resource_record_set(record).build().map_err(malformed)?;
    ChangeBatch::builder().changes(change).build().map_err(malformed)
}

pub(super) fn malformed(error: impl std::fmt::Display) -> StepError {
    StepError::Defect(format!("writing a DNS record: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(kind: RrType, values: &[&str]) -> ResourceRecordSet {
        let values = values.iter().map(|value| ResourceRecord::builder().value(*value).build().unwrap());
        let record = ResourceRecordSet::builder().name("_a.shop.example.com.").r#type(kind).ttl(TTL);
        record.set_resource_records(Some(values.collect())).build().unwrap()
    }

    #[test]
    fn a_validation_record_is_a_cname_with_exactly_the_value_that_acm_requires() {
        const VALUE: &str = "_b.acm-validations.aws.";
        let mut record_of_acm = record(CNAME, &[VALUE]);
        assert!(is_cname(&record_of_acm, "_B.acm-validations.aws"));
        // With a routing policy, ACM may get another answer.
        record_of_acm.set_identifier = Some("blue".into());
        assert!(!is_cname(&record_of_acm, VALUE));
        for (kind, values) in [
            (RrType::Txt, vec![VALUE]),
            (CNAME, vec!["_c.acm-validations.aws."]),
            (CNAME, vec![VALUE, "_c.acm-validations.aws."]),
        ] {
            assert!(!is_cname(&record(kind.clone(), &values), VALUE), "{kind:?} {values:?}");
        }
    }

    #[test]
    fn a_domain_is_within_a_zone_by_whole_labels() {
        for (domain, zone, is) in [
            ("shop.example.com", "example.com", true),
            ("Example.com.", "example.com", true),
            ("myexample.com", "example.com", false),
            ("example.com", "shop.example.com", false),
        ] {
            assert_eq!(is_within(domain, zone), is, "{domain} in {zone}");
        }
    }
}
