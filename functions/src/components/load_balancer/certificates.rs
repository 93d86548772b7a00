//! The observed certificates: those that the stack requested, and the one that the spec names.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_acm::types::{CertificateDetail, CertificateStatus, CertificateSummary, CertificateType};
use futures::future::try_join_all;
use stackdrop_specs::Spec;

use super::certificate::{Source, elsewhere, source};
use super::dns::{self, Lookup, Zones};
use super::observed::{Balancer, Observed, Purpose, known_specs};
use crate::aws::error::{AwsResult, StepError};
use crate::contract::component::Work;
use crate::deployment::names::Tags;

/// How many certificates are read concurrently: ACM allows about ten calls a second.
const AT_ONCE: usize = 8;

/// ACM's error code for a certificate that does not exist.
pub(super) const ABSENT: [&str; 1] = ["ResourceNotFoundException"];

/// The domain and zone of a spec whose certificate Stackdrop requests.
pub(super) fn own_domain(spec: &Spec) -> Option<(&str, &str)> {
    let desired = spec.load_balancer.as_ref()?;
    match source(desired)? {
        Source::Own { domain } => Some((domain, desired.hosted_zone_id.as_deref()?)),
        Source::Given(_) => None,
    }
}

/// The names of the certificate that Stackdrop requests for a spec: the domain, and the hosts of the routes.
pub(super) fn own_names(spec: &Spec) -> Option<BTreeSet<String>> {
    own_domain(spec)?;
    Some(spec.hosts().into_iter().map(str::to_owned).collect())
}

/// The domains and zones for which this stack may have requested certificates.
fn own_domains<'a>(work: &'a Work<'_>) -> Vec<(&'a str, &'a str)> {
    known_specs(work).filter_map(own_domain).collect()
}

/// The observed certificates.
#[derive(Debug, Default)]
pub(super) struct Certificates {
    /// The certificate that the spec names, if it exists in this region.
    pub(super) given: Option<CertificateDetail>,
    /// The certificates that this stack requested, including failed ones.
    pub(super) own: Vec<Own>,
    /// The domains of all other certificates: the same DNS record may validate them.
    pub(super) others: BTreeSet<String>,
    /// The ARNs of the certificates for the stack's domains that lack its tag.
    pub(super) not_owned: Vec<String>,
}

/// A certificate that this stack requested.
#[derive(Debug)]
pub(super) struct Own {
    pub(super) detail: CertificateDetail,
    pub(super) tags: Tags,
    /// The validation records that ACM requires, each once. Empty until ACM reports them.
    pub(super) records: Vec<Record>,
}

/// A validation record: the one that ACM requires, and the existing one.
#[derive(Debug)]
pub(super) struct Record {
    /// The domain that it validates, without `*.`.
    pub(super) domain: String,
    pub(super) zone: String,
    pub(super) name: String,
    pub(super) value: String,
    pub(super) existing: Lookup,
}

impl Record {
    /// Whether the existing record is the one that ACM requires, created by Stackdrop or not.
    pub(super) fn is_correct(&self) -> bool {
        matches!(&self.existing, Lookup::Record(record) if dns::is_cname(record, &self.value))
    }

    /// Whether the existing record is the one that Stackdrop wrote.
    pub(super) fn is_ours(&self) -> bool {
        matches!(&self.existing, Lookup::Record(record)
            if dns::is_cname(record, &self.value) && record.ttl() == Some(dns::TTL))
    }
}

impl Own {
    pub(super) fn arn(&self) -> &str {
        self.detail.certificate_arn().unwrap_or_default()
    }

    pub(super) fn domain(&self) -> &str {
        self.detail.domain_name().unwrap_or_default()
    }

    /// All its names.
    pub(super) fn names(&self) -> BTreeSet<&str> {
        let others = self.detail.subject_alternative_names().iter().map(String::as_str);
        others.chain(self.detail.domain_name()).collect()
    }

    /// Whether it has exactly these names.
    pub(super) fn is_for(&self, names: &BTreeSet<String>) -> bool {
        self.names().into_iter().eq(names.iter().map(String::as_str))
    }

    pub(super) fn is(&self, status: &CertificateStatus) -> bool {
        self.detail.status() == Some(status)
    }

    pub(super) fn is_live(&self) -> bool {
        self.is(&CertificateStatus::Issued) || self.is(&CertificateStatus::PendingValidation)
    }

    pub(super) fn is_in_use(&self) -> bool {
        !self.detail.in_use_by().is_empty()
    }

    /// Whether a resource other than the stack's load balancer uses it.
    pub(super) fn is_used_elsewhere(&self, observed: &Observed) -> bool {
        let balancer = observed.balancer.as_ref().map(Balancer::arn);
        self.detail.in_use_by().iter().any(|arn| Some(arn.as_str()) != balancer)
    }

    /// The number of resources: the certificate and its records.
    pub(super) fn count(&self) -> usize {
        1 + self.records.iter().filter(|record| record.is_ours()).count()
    }
}

impl Certificates {
    pub(super) async fn read(work: &Work<'_>, zones: &Zones, purpose: Purpose) -> Result<Self, StepError> {
        let given = async {
            match work.spec.load_balancer.as_ref().and_then(source) {
                Some(Source::Given(arn)) if purpose == Purpose::Compare && elsewhere(work, arn).is_none() => {
                    describe(work, arn).await
                }
                _ => Ok(None),
            }
        };
        let own = async {
            let domains = own_domains(work);
            if domains.is_empty() {
                return Ok(Self::default());
            }
            let (candidates, others) = list(work).await?.into_iter().partition::<Vec<_>, _>(|summary| {
                let name = summary.domain_name().unwrap_or_default();
                let is_ours = domains.iter().any(|(domain, _)| {
                    name == *domain || (purpose == Purpose::Delete && is_related(name, domain))
                });
                summary.r#type() == Some(&CertificateType::AmazonIssued) && is_ours
            });
            classify(work, zones, purpose, candidates, others).await
        };
        let (given, own) = tokio::try_join!(given, own)?;
        Ok(Self { given, ..own })
    }
}

/// Whether a name is below the parent of a domain. A deletion also looks for the certificates of failed updates that had
/// another domain; it does not read the tags of all the account's certificates, which can be thousands.
fn is_related(name: &str, domain: &str) -> bool {
    let parent = domain.split_once('.').map(|(_, parent)| parent).filter(|parent| parent.contains('.'));
    dns::is_within(name, parent.unwrap_or(domain))
}

async fn list(work: &Work<'_>) -> Result<Vec<CertificateSummary>, StepError> {
    let pages = work.aws.acm().list_certificates().into_paginator().items();
    pages.send().try_collect().await.doing("listing the certificates")
}

/// Separates this stack's certificates from others, and reads them.
async fn classify(
    work: &Work<'_>,
    zones: &Zones,
    purpose: Purpose,
    candidates: Vec<CertificateSummary>,
    others: Vec<CertificateSummary>,
) -> Result<Certificates, StepError> {
    let mut all = Certificates::default();
    let names = |summary: &CertificateSummary| {
        let names = summary.subject_alternative_name_summaries().iter().map(String::as_str);
        names.chain(summary.domain_name()).map(|name| base(name).to_owned()).collect::<Vec<_>>()
    };
    all.others.extend(others.iter().flat_map(names));
    for some in candidates.chunks(AT_ONCE) {
        let read = some.iter().map(async |summary| {
            let arn = summary.certificate_arn().unwrap_or_default();
            let tags = find_tags(work, arn).await?;
            if !work.stack.owns(&tags) {
                return Ok((summary, None));
            }
            let Some(detail) = describe(work, arn).await? else { return Ok((summary, None)) };
            let records = find_records(work, zones, purpose, &detail).await?;
            Ok::<_, StepError>((summary, Some(Own { detail, tags, records })))
        });
        for (summary, read) in try_join_all(read).await? {
            if let Some(read) = read {
                all.own.push(read);
            } else {
                all.others.extend(names(summary));
                all.not_owned.extend(summary.certificate_arn().map(str::to_owned));
            }
        }
    }
    Ok(all)
}

/// The domain that is validated for a name: a wildcard is validated by its parent's record.
pub(super) fn base(name: &str) -> &str {
    name.strip_prefix("*.").unwrap_or(name)
}

async fn find_tags(work: &Work<'_>, arn: &str) -> Result<Tags, StepError> {
    let call = work.aws.acm().list_tags_for_certificate().certificate_arn(arn).send().await;
    let observed = call.unless(&ABSENT).doing(format!("reading the tags of certificate {arn}"))?;
    let tags = observed.and_then(|observed| observed.tags).unwrap_or_default().into_iter();
    Ok(tags.map(|tag| (tag.key, tag.value.unwrap_or_default())).collect())
}

async fn describe(work: &Work<'_>, arn: &str) -> Result<Option<CertificateDetail>, StepError> {
    let call = work.aws.acm().describe_certificate().certificate_arn(arn).send().await;
    let absent = [&ABSENT[..], &["InvalidArnException"]].concat();
    let observed = call.unless(&absent).doing(format!("reading certificate {arn}"))?;
    Ok(observed.and_then(|observed| observed.certificate))
}

/// Finds the validation records that ACM requires (ACM reports them some seconds after the request), and the existing ones.
async fn find_records(
    work: &Work<'_>,
    zones: &Zones,
    purpose: Purpose,
    detail: &CertificateDetail,
) -> Result<Vec<Record>, StepError> {
    let domains = own_domains(work);
    let zone = domains.iter().find(|(domain, _)| detail.domain_name() == Some(domain)).or(domains.first());
    let Some((_, zone)) = zone else { return Ok(Vec::new()) };
    let mut requested = BTreeMap::new();
    for option in detail.domain_validation_options() {
        if let Some(record) = option.resource_record() {
            requested
                .insert(record.name.clone(), (base(option.domain_name()).to_owned(), record.value.clone()));
        }
    }
    let records = requested.into_iter().map(async |(name, (domain, value))| {
        let existing = dns::find(work, zones, purpose, zone, &name, dns::CNAME).await?;
        Ok(Record { domain, zone: (*zone).to_owned(), name, value, existing })
    });
    try_join_all(records).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certificates_of_other_companies_are_not_related_to_a_domain() {
        for (name, domain, related) in [
            ("store.example.com", "shop.example.com", true),
            ("example.com", "shop.example.com", true),
            ("a.example.com", "example.com", true),
            ("other.com", "example.com", false),
            ("myexample.com", "shop.example.com", false),
        ] {
            assert_eq!(is_related(name, domain), related, "{name} to {domain}");
        }
    }
}
