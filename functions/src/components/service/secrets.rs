//! The secrets that the spec refers to: whether they exist, and which KMS keys encrypt them.

use std::collections::{BTreeMap, BTreeSet};

use futures::future::try_join_all;

use crate::aws::denied;
use crate::aws::error::{AwsResult, StepError};
use crate::contract::component::Work;

/// The secrets of the spec by ARN.
#[derive(Debug, Default)]
pub(super) struct Secrets(BTreeMap<String, Secret>);

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
        let observed = try_join_all(calls).await?;
        Ok(Self(observed.into_iter().map(|(secret, arn)| (arn, secret)).collect()))
    }

    pub(super) fn get(&self, arn: &str) -> Option<&Secret> {
        self.0.get(arn)
    }

    /// The customer managed keys that encrypt them: ARNs of keys or aliases.
    pub(super) fn keys(&self) -> BTreeSet<String> {
        let under = |secret: &Secret| match secret {
            Secret::UnderKey(key) => Some(key.clone()),
            _ => None,
        };
        self.0.values().filter_map(under).collect()
    }

    /// Whether the keys of all of them are known.
    pub(super) fn are_known(&self) -> bool {
        self.0.values().all(|secret| matches!(secret, Secret::UnderAwsKey | Secret::UnderKey(_)))
    }
}

async fn describe(work: &Work<'_>, arn: &str) -> Result<Secret, StepError> {
    let call = work.aws.secrets().describe_secret().secret_id(arn).send().await;
    let response = call.unless(&["ResourceNotFoundException"]).doing(format!("looking for secret {arn}"));
    Ok(match response {
        Err(StepError::Refused { source, .. }) if denied::is(&source) => Secret::Denied(source.to_string()),
        Err(error) => return Err(error),
        Ok(None) => Secret::Absent,
        Ok(Some(secret)) if secret.deleted_date().is_some() => Secret::ScheduledForDeletion,
        Ok(Some(secret)) => match secret.kms_key_id() {
            None => Secret::UnderAwsKey,
            Some(key) if key.ends_with("alias/aws/secretsmanager") => Secret::UnderAwsKey,
            Some(key) => Secret::UnderKey(key_arn(arn, key)),
        },
    })
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
