//! The secrets that the spec refers to: whether they exist, and which KMS keys encrypt them. Also when they were rotated: a task
//! reads a secret only when it starts.

use std::collections::{BTreeMap, BTreeSet};

use aws_smithy_types::DateTime;
use futures::future::try_join_all;

use crate::aws::denied;
use crate::aws::error::{AwsResult, StepError};
use crate::contract::component::Work;

/// The secrets of the spec, and that of the database.
#[derive(Debug, Default)]
pub(super) struct Secrets {
    /// Those that the spec names, by ARN.
    named: BTreeMap<String, Secret>,
    /// When each was rotated last, by ARN.
    rotated: BTreeMap<String, DateTime>,
}

/// The observed state of a secret.
#[derive(Debug)]
pub(super) enum Secret {
    /// It does not exist.
    Absent,
    /// It is scheduled for deletion.
    ScheduledForDeletion,
    /// It cannot be read, with AWS's message.
    Denied(String),
    /// It exists, encrypted with the account's AWS managed key for Secrets Manager.
    UnderAwsKey,
    /// It exists, encrypted with this key: the ARN of the key or of its alias.
    UnderKey(String),
}

impl Secrets {
    /// Reads all secrets that the spec refers to.
    pub(super) async fn read(work: &Work<'_>) -> Result<Self, StepError> {
        let services = work.spec.services.values();
        let named: BTreeSet<String> =
            services.flat_map(|service| service.secrets.values()).map(|named| arn(named)).collect();
        let calls = named.into_iter().map(async |arn| Ok::<_, StepError>((describe(work, &arn).await?, arn)));
        let mut secrets = Self::default();
        for ((secret, rotated), arn) in try_join_all(calls).await? {
            secrets.rotated.extend(rotated.map(|rotated| (arn.clone(), rotated)));
            secrets.named.insert(arn, secret);
        }
        Ok(secrets)
    }

    /// Reads when the secret with the database's password was rotated.
    pub(super) async fn read_rotation(&mut self, work: &Work<'_>, arn: &str) -> Result<(), StepError> {
        let (_, rotated) = describe(work, arn).await?;
        self.rotated.extend(rotated.map(|rotated| (arn.to_owned(), rotated)));
        Ok(())
    }

    pub(super) fn get(&self, arn: &str) -> Option<&Secret> {
        self.named.get(arn)
    }

    /// When a secret was rotated last, if it ever was.
    pub(super) fn rotated(&self, arn: &str) -> Option<&DateTime> {
        self.rotated.get(arn)
    }

    /// The customer managed keys that encrypt them: ARNs of keys or aliases.
    pub(super) fn keys(&self) -> BTreeSet<String> {
        let under = |secret: &Secret| match secret {
            Secret::UnderKey(key) => Some(key.clone()),
            _ => None,
        };
        self.named.values().filter_map(under).collect()
    }

    /// Whether the keys of all of them are known.
    pub(super) fn are_known(&self) -> bool {
        self.named.values().all(|secret| matches!(secret, Secret::UnderAwsKey | Secret::UnderKey(_)))
    }
}

/// A secret, and when it was rotated last.
///
/// The date is that of the rotation's end, which is never before the moment from which tasks read the new value. The date of the
/// last change would not do: it also changes with a tag.
async fn describe(work: &Work<'_>, arn: &str) -> Result<(Secret, Option<DateTime>), StepError> {
    let call = work.aws.secrets().describe_secret().secret_id(arn).send().await;
    let response = call.unless(&["ResourceNotFoundException"]).doing(format!("looking for secret {arn}"));
    let rotated = match &response {
        Ok(Some(secret)) => secret.last_rotated_date().copied(),
        _ => None,
    };
    let secret = match response {
        Err(StepError::Refused { source, .. }) if denied::is(&source) => Secret::Denied(source.to_string()),
        Err(error) => return Err(error),
        Ok(None) => Secret::Absent,
        Ok(Some(secret)) if secret.deleted_date().is_some() => Secret::ScheduledForDeletion,
        Ok(Some(secret)) => match secret.kms_key_id() {
            None => Secret::UnderAwsKey,
            Some(key) if key.ends_with("alias/aws/secretsmanager") => Secret::UnderAwsKey,
            Some(key) => Secret::UnderKey(key_arn(arn, key)),
        },
    };
    Ok((secret, rotated))
}

/// The ARN of a key or an alias. `DescribeSecret` returns an ARN, a key ID or an alias name; the latter two are in the
/// secret's account and region.
fn key_arn(secret: &str, key: &str) -> String {
    if key.starts_with("arn:") {
        return key.to_owned();
    }
    let mut fields = secret.split(':').skip(1);
    let partition = fields.next().unwrap_or_default();
    let region_and_account: Vec<&str> = fields.skip(1).take(2).collect();
    let kind = if key.starts_with("alias/") { "" } else { "key/" };
    format!("arn:{partition}:kms:{}:{kind}{key}", region_and_account.join(":"))
}

/// The ARN in a task definition's reference to a secret. The ARN has seven fields; ECS accepts a JSON key, a version stage and
/// a version ID after it.
pub(super) fn arn(value_from: &str) -> String {
    value_from.splitn(8, ':').take(7).collect::<Vec<_>>().join(":")
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:shop/key-AbCdEf";

    #[test]
    fn arn_omits_the_json_key_after_it() {
        assert_eq!(arn(SECRET), SECRET);
        assert_eq!(arn(&format!("{SECRET}:token::")), SECRET);
    }

    #[test]
    fn key_arn_accepts_arns_ids_and_aliases() {
        let own = "arn:aws:kms:eu-central-1:123456789012";
        let not_owned = "arn:aws:kms:eu-central-1:210987654321:key/1234abcd";
        for (named, expected) in [
            ("1234abcd", format!("{own}:key/1234abcd")),
            ("alias/shop", format!("{own}:alias/shop")),
            (not_owned, not_owned.to_owned()),
        ] {
            assert_eq!(key_arn(SECRET, named), expected);
        }
    }
}
