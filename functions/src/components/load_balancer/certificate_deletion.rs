//! Deleting certificates and their validation records.

use super::certificate::current;
use super::certificates::{ABSENT, Own, Record};
use super::dns::{self, Lookup};
use super::observed::Observed;
use crate::aws::error::{AwsResult, StepError};
use crate::contract::component::Work;

/// Why a certificate cannot be deleted now.
#[derive(Debug)]
pub(super) struct Remaining {
    pub(super) why: String,
    /// Whether AWS will release it by itself.
    pub(super) in_progress: bool,
}

impl Remaining {
    fn leaving(why: impl Into<String>) -> Self {
        Self { why: why.into(), in_progress: true }
    }

    fn held(why: impl Into<String>) -> Self {
        Self { why: why.into(), in_progress: false }
    }
}

/// Deletes a certificate and its validation record. Returns why, if it cannot be deleted.
pub(super) async fn delete(
    work: &Work<'_>,
    observed: &Observed,
    own: &Own,
) -> Result<Option<Remaining>, StepError> {
    if own.is_in_use() {
        let users = own.detail.in_use_by().join(", ");
        // ACM notices some time later that a listener or the whole load balancer no longer uses a certificate.
        let path = format!(":loadbalancer/app/{}/", work.stack.name);
        let others = own.detail.in_use_by().iter().any(|arn| !arn.contains(&path));
        return Ok(Some(if others {
            Remaining::held(format!("in use by {users}: remove the certificate there"))
        } else {
            Remaining::leaving(format!("ACM still reports that {users} uses it"))
        }));
    }
    // The records are deleted first: only the certificate contains their names.
    for record in &own.records {
        let remaining = delete_record(work, observed, own, record).await?;
        if remaining.is_some() {
            return Ok(remaining);
        }
    }
    let arn = own.arn();
    let call = work.aws.acm().delete_certificate().certificate_arn(arn).send().await;
    if call.deleted(&ABSENT, &["ResourceInUseException"], format!("deleting certificate {arn}"))? {
        tracing::info!(arn, "Certificate deleted.");
        return Ok(None);
    }
    Ok(Some(Remaining::leaving("ACM still reports that it is in use")))
}

/// Deletes a validation record, unless others created it or another certificate needs it. Returns why, if it cannot be deleted.
async fn delete_record(
    work: &Work<'_>,
    observed: &Observed,
    own: &Own,
    record: &Record,
) -> Result<Option<Remaining>, StepError> {
    let Record { name, zone, .. } = record;
    let existing = match &record.existing {
        Lookup::Denied(message) => {
            return Ok(Some(Remaining::held(format!(
                "its validation record {name} in Route 53 zone {zone} cannot be read: {message}"
            ))));
        }
        Lookup::Record(existing) if record.is_ours() && !is_shared(work, observed, own, record) => existing,
        _ => return Ok(None),
    };
    let deleted = dns::delete(work, zone, existing).await?;
    let why = || format!("its validation record {name} was changed during the deletion");
    Ok((!deleted).then(|| Remaining::held(why())))
}

/// Whether the same record validates another certificate: the record depends only on the account and the domain.
fn is_shared(work: &Work<'_>, observed: &Observed, own: &Own, record: &Record) -> bool {
    let is_kept = current(work, observed).is_some_and(|kept| {
        let mut records = kept.records.iter();
        work.spec.load_balancer.is_some()
            && kept.arn() != own.arn()
            && records.any(|other| other.name == record.name)
    });
    is_kept || observed.certificates.others.contains(&record.domain)
}
