//! The certificate: either the spec names one, or Stackdrop requests one for the domain and validates it with a DNS record.

use aws_sdk_acm::types::{
    CertificateDetail, CertificateStatus, DomainStatus, DomainValidation, FailureReason, RevocationReason,
    Tag, ValidationMethod,
};
use stackdrop_specs::LoadBalancer;

use super::certificates::{Own, Record, own_domain, own_names};
use super::dns::{self, Lookup};
use super::observed::{Observed, known_specs};
use super::{Blocker, NAME, listeners, or_tag};
use crate::aws::error::{AwsResult, StepError};
use crate::contract::component::Work;
use crate::deployment::names::{TAG_DEPLOYMENT, Tags};
use crate::deployment::plan::{Plan, Verb};

/// The certificate's logical ID.
pub(super) const LOGICAL_ID: &str = "certificate";
/// The logical ID of the DNS record by which ACM validates the domain.
pub(super) const RECORD_LOGICAL_ID: &str = "certificate/validation-record";

/// The origin of the certificate.
#[derive(Debug, Clone, Copy)]
pub(super) enum Source<'a> {
    /// The user provides it.
    Given(&'a str),
    /// Stackdrop requests it.
    Own { domain: &'a str },
}

/// The origin of a spec's certificate, if the spec has one.
pub(super) fn source(desired: &LoadBalancer) -> Option<Source<'_>> {
    match (&desired.certificate_arn, &desired.domain, &desired.hosted_zone_id) {
        (Some(arn), ..) => Some(Source::Given(arn)),
        (None, Some(domain), Some(_)) => Some(Source::Own { domain }),
        _ => None,
    }
}

/// What differs if a certificate belongs to another region or account: `region` or `account`, and the own one.
pub(super) fn elsewhere(work: &Work<'_>, arn: &str) -> Option<(&'static str, String)> {
    let here = &work.aws.settings;
    let own = [(3, "region", &here.region), (4, "account", &here.account)];
    own.into_iter().find_map(|(field, kind, own)| {
        let of = arn.split(':').nth(field).unwrap_or_default();
        (of != own).then(|| (kind, own.clone()))
    })
}

/// The certificate to use: an issued or pending one with the spec's names, preferably an issued one. The names of a
/// certificate cannot be changed: other names need another certificate.
pub(super) fn current<'a>(work: &Work<'_>, observed: &'a Observed) -> Option<&'a Own> {
    let names = own_names(work.spec)?;
    let fitting = observed.certificates.own.iter().filter(|own| own.is_live() && own.is_for(&names));
    fitting.min_by_key(|own| (!own.is(&CertificateStatus::Issued), own.arn()))
}

/// This stack's certificates that it no longer needs and that no other resource uses.
pub(super) fn obsolete<'a>(work: &Work<'_>, observed: &'a Observed) -> Vec<&'a Own> {
    let kept = current(work, observed).map(Own::arn);
    let rest = observed.certificates.own.iter().filter(|own| Some(own.arn()) != kept);
    rest.filter(|own| !own.is_used_elsewhere(observed)).collect()
}

/// The certificate that the listener will use: its ARN, or a description of one that is still to be requested.
pub(super) fn planned<'a>(work: &'a Work<'_>, observed: &'a Observed) -> Option<&'a str> {
    match source(work.spec.load_balancer.as_ref()?)? {
        Source::Given(arn) => Some(arn),
        Source::Own { .. } => Some(current(work, observed).map_or("the new certificate", Own::arn)),
    }
}

/// Whether a certificate covers a host. A wildcard covers one label; a host pattern is covered if its first label only has
/// the wildcards.
fn covers(detail: &CertificateDetail, host: &str) -> bool {
    let host = host.to_ascii_lowercase();
    let parent = host.split_once('.').map(|(_, parent)| parent);
    let names = detail.subject_alternative_names().iter().map(String::as_str).chain(detail.domain_name());
    names.map(str::to_ascii_lowercase).any(|name| match name.strip_prefix("*.") {
        Some(base) => Some(base) == parent,
        None => name == host,
    })
}

/// The hosts of the spec that a given certificate does not cover.
fn uncovered<'a>(work: &'a Work<'_>, detail: &CertificateDetail) -> Vec<&'a str> {
    work.spec.hosts().into_iter().filter(|host| !covers(detail, host)).collect()
}

/// The reasons why the certificate cannot be used.
pub(super) fn blockers(work: &Work<'_>, desired: &LoadBalancer, observed: &Observed) -> Vec<Blocker> {
    let spec = |why: String, fix: String| Blocker::Spec { resource: LOGICAL_ID.into(), why, fix };
    match source(desired) {
        None => vec![spec(
            "loadBalancer has neither certificateArn nor domain with hostedZoneId".into(),
            "set one of them: HTTPS needs a certificate".into(),
        )],
        Some(Source::Given(arn)) => {
            if let Some((kind, own)) = elsewhere(work, arn) {
                return vec![spec(
                    format!("loadBalancer.certificateArn {arn} is not in the {kind} {own}"),
                    format!(
                        "request or import the certificate in the {kind} {own}: a load balancer accepts no other"
                    ),
                )];
            }
            let Some(detail) = &observed.certificates.given else {
                return vec![spec(
                    format!("certificate {arn} does not exist"),
                    "correct loadBalancer.certificateArn".into(),
                )];
            };
            let status = detail.status().map_or("unknown", CertificateStatus::as_str);
            if status != CertificateStatus::Issued.as_str() {
                return vec![spec(format!("certificate {arn} is {status}"), fix_for(detail))];
            }
            let hosts = uncovered(work, detail);
            if hosts.is_empty() {
                return Vec::new();
            }
            let uncovered = |host: &&str| {
                let is_domain = desired.domain.as_deref() == Some(*host);
                if is_domain {
                    format!("loadBalancer.domain {host}")
                } else {
                    format!("the host {host} of a route")
                }
            };
            let listed: Vec<String> = hosts.iter().map(uncovered).collect();
            vec![spec(
                format!("certificate {arn} is not for {}: browsers would reject it", listed.join(" and ")),
                format!(
                    "set loadBalancer.certificateArn to a certificate that is also for {}",
                    hosts.join(", ")
                ),
            )]
        }
        Some(Source::Own { .. }) => {
            let records =
                current(work, observed).map(|own| own.records.as_slice()).unwrap_or_default().iter();
            let not_owned =
                records.filter(|record| matches!(record.existing, Lookup::Record(_)) && !record.is_correct());
            let not_owned = not_owned.map(|record| Blocker::NotOwned {
                resource: RECORD_LOGICAL_ID.into(),
                what: format!("DNS record {} of Route 53 zone {}", record.name, record.zone),
                fix: format!("delete the record: ACM requires a CNAME to {} there", record.value),
            });
            not_owned.chain(untagged(work, observed)).collect()
        }
    }
}

/// The certificate that the listener uses for the domain, if it lacks the stack's tag: somebody removed it. Without the tag,
/// Stackdrop would request another certificate, and never delete this one.
fn untagged(work: &Work<'_>, observed: &Observed) -> Option<Blocker> {
    let listener = observed.listeners.get(&listeners::HTTPS_PORT)?;
    let used = listener.detail.certificates().first()?.certificate_arn()?;
    // A spec that named this certificate before now lets Stackdrop request one.
    let was_given = known_specs(work).filter_map(|spec| source(spec.load_balancer.as_ref()?));
    let was_given = was_given.into_iter().any(|source| matches!(source, Source::Given(arn) if arn == used));
    let is_untagged = observed.certificates.not_owned.iter().any(|arn| arn == used);
    (is_untagged && !was_given).then(|| Blocker::NotOwned {
        resource: LOGICAL_ID.into(),
        what: format!("certificate {used}, which the listener on port {} uses,", listeners::HTTPS_PORT),
        fix: or_tag(work, "give the listener another certificate"),
    })
}

/// How to fix a certificate of the user that is not issued.
fn fix_for(detail: &CertificateDetail) -> String {
    let pending = detail.status() == Some(&CertificateStatus::PendingValidation);
    let requested = detail.domain_validation_options().iter().filter_map(|option| option.resource_record());
    let requested: Vec<String> = requested
        .map(|record| format!("{} {} {}", record.name(), record.r#type().as_str(), record.value()))
        .collect();
    if pending && !requested.is_empty() {
        return format!(
            "create the DNS record that ACM requires ({}), wait until the certificate is ISSUED, and deploy again",
            requested.join("; ")
        );
    }
    "set loadBalancer.certificateArn to a certificate that is ISSUED, or request this one again".into()
}

fn is_domain(work: &Work<'_>, name: &str) -> bool {
    own_domain(work.spec).is_some_and(|(domain, _)| domain == name)
}

fn record_logical_id(work: &Work<'_>, record: &Record) -> String {
    if is_domain(work, &record.domain) {
        RECORD_LOGICAL_ID.into()
    } else {
        format!("{RECORD_LOGICAL_ID}/{}", record.domain)
    }
}

pub(super) fn plan(work: &Work<'_>, observed: &Observed, plan: &mut Plan) {
    if own_domain(work.spec).is_some() {
        match current(work, observed) {
            None => {
                plan.change(Verb::Create, LOGICAL_ID);
                plan.change(Verb::Create, RECORD_LOGICAL_ID);
                for name in own_names(work.spec).into_iter().flatten().filter(|name| !is_domain(work, name)) {
                    plan.change(Verb::Create, format!("{RECORD_LOGICAL_ID}/{name}"));
                }
            }
            Some(own) => {
                plan.tags(&work.stack, NAME, LOGICAL_ID, &own.tags);
                for record in own.records.iter().filter(|record| matches!(record.existing, Lookup::Absent)) {
                    plan.change(Verb::Create, record_logical_id(work, record));
                }
                if !own.is(&CertificateStatus::Issued) {
                    plan.change(Verb::Wait, LOGICAL_ID);
                }
            }
        }
    }
    for own in obsolete(work, observed) {
        plan.change(Verb::Delete, format!("{LOGICAL_ID} ({})", own.domain()));
    }
}

/// The progress of the certificate.
#[derive(Debug)]
pub(super) enum Progress {
    /// Listeners can use it: its ARN.
    Issued(String),
    /// What the step waits for.
    Waiting(String),
}

pub(super) async fn apply(
    work: &Work<'_>,
    desired: &LoadBalancer,
    observed: &Observed,
) -> Result<Progress, StepError> {
    let domain = match source(desired) {
        Some(Source::Given(arn)) => return Ok(Progress::Issued(arn.to_owned())),
        Some(Source::Own { domain }) => domain,
        None => return Err(StepError::Defect("the spec has no certificate, and was not rejected".into())),
    };
    let Some(own) = current(work, observed) else { return request(work, observed, domain).await };
    let arn = own.arn();
    repair_tags(work, own).await?;
    if own.records.is_empty() {
        return Ok(Progress::Waiting(format!("ACM to report the validation records of certificate {arn}")));
    }
    for record in own.records.iter().filter(|record| matches!(record.existing, Lookup::Absent)) {
        dns::write_cname(work, &record.zone, &record.name, &record.value).await?;
    }
    if own.is(&CertificateStatus::Issued) {
        return Ok(Progress::Issued(arn.to_owned()));
    }
    Ok(Progress::Waiting(validation(own, desired)))
}

/// What ACM still validates, and what a person can check if that lasts.
fn validation(own: &Own, desired: &LoadBalancer) -> String {
    let options = own.detail.domain_validation_options().iter();
    let open = options.filter(|option| option.validation_status() != Some(&DomainStatus::Success));
    let open: Vec<&str> = open.map(DomainValidation::domain_name).collect();
    format!(
        "certificate {} to be issued: ACM reports PENDING_VALIDATION for {}. Usually this takes minutes; if it lasts, check \
         that the name servers of the domain are those of Route 53 zone {}",
        own.arn(),
        open.join(", "),
        desired.hosted_zone_id.as_deref().unwrap_or_default()
    )
}

/// How to fix what ACM reports as the reason for a failure. Source: "Troubleshoot certificate requests" in the user guide of
/// ACM.
fn advice(status: &str, reason: &str) -> &'static str {
    match (status, reason) {
        (_, "CAA_ERROR") => "; allow amazon.com in the CAA records of the domain",
        (_, "ADDITIONAL_VERIFICATION_REQUIRED") => "; contact AWS Support: ACM wants to verify the domain",
        (_, "DOMAIN_NOT_ALLOWED") => "; ask Google whether it lists the domain as unsafe",
        (_, "INVALID_PUBLIC_DOMAIN") => "; use a public domain",
        (_, "DOMAIN_VALIDATION_DENIED" | "PCA_ACCESS_DENIED") => "; request the certificate again",
        ("VALIDATION_TIMED_OUT", _) => {
            "; check that the name servers of the domain are those of the hosted zone, and deploy again"
        }
        _ => "",
    }
}

async fn request(work: &Work<'_>, observed: &Observed, domain: &str) -> Result<Progress, StepError> {
    let names = own_names(work.spec).unwrap_or_default();
    let failed = || observed.certificates.own.iter().filter(|own| own.is_for(&names) && !own.is_live());
    let is_from_this_deployment = |own: &&Own| own.tags.get(TAG_DEPLOYMENT) == Some(&work.deployment.id);
    if let Some(failed_now) = failed().find(is_from_this_deployment) {
        let status = failed_now.detail.status().map_or("unknown", CertificateStatus::as_str);
        let revoked = failed_now.detail.revocation_reason().map(RevocationReason::as_str);
        let reason = failed_now.detail.failure_reason().map(FailureReason::as_str).or(revoked);
        let reason = reason.unwrap_or("AWS gives no reason");
        return Err(StepError::Unhealthy {
            what: format!("certificate {} for {domain}", failed_now.arn()),
            why: format!("{status}: {reason}{}", advice(status, reason)),
        });
    }
    // ACM rejects a token that was used for a different request. A rollback may request another domain.
    let others: Vec<String> = names.iter().filter(|name| *name != domain).cloned().collect();
    let mut parts = vec![domain];
    parts.extend(others.iter().map(String::as_str));
    parts.extend(failed().map(Own::arn));
    if work.deployment.rolling_back {
        parts.push("rollback");
    }
    let call = work
        .aws
        .acm()
        .request_certificate()
        .domain_name(domain)
        .set_subject_alternative_names((!others.is_empty()).then_some(others.clone()))
        .validation_method(ValidationMethod::Dns)
        .idempotency_token(work.stack.token(LOGICAL_ID, &parts))
        .set_tags(Some(acm_tags(work.stack.tags(NAME, LOGICAL_ID))?));
    let response = call.send().await.doing(format!("requesting a certificate for {domain}"))?;
    let arn = response.certificate_arn().ok_or_else(|| StepError::incomplete("the certificate's ARN"))?;
    tracing::info!(arn, domain, "Certificate requested.");
    Ok(Progress::Waiting(format!("ACM to report the validation record of certificate {arn}")))
}

fn acm_tags(tags: Tags) -> Result<Vec<Tag>, StepError> {
    let tags = tags.into_iter().map(|(key, value)| Tag::builder().key(key).value(value).build());
    let tags: Result<_, _> = tags.collect();
    tags.map_err(|error| StepError::Defect(format!("writing tags: {error}")))
}

async fn repair_tags(work: &Work<'_>, own: &Own) -> Result<(), StepError> {
    let arn = own.arn();
    let (missing, stale) =
        (work.stack.tags_to_put(NAME, LOGICAL_ID, &own.tags), work.stack.stale_tags(&own.tags));
    if !missing.is_empty() {
        let call = work.aws.acm().add_tags_to_certificate().certificate_arn(arn);
        let call = call.set_tags(Some(acm_tags(missing)?)).send().await;
        call.doing(format!("tagging certificate {arn}"))?;
    }
    if !stale.is_empty() {
        let stale = stale.into_iter().filter_map(|key| Some((key.clone(), own.tags.get(&key)?.clone())));
        let call = work.aws.acm().remove_tags_from_certificate().certificate_arn(arn);
        let call = call.set_tags(Some(acm_tags(stale.collect())?)).send().await;
        call.doing(format!("removing tags from certificate {arn}"))?;
    }
    Ok(())
}
