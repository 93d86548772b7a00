//! The secrets and parameters that the spec refers to: whether they exist, whether the stack may use them, and which KMS keys
//! encrypt them. Also when their values changed: a task reads them only when it starts.

use std::collections::{BTreeMap, BTreeSet};

use aws_smithy_types::DateTime;
use futures::future::try_join_all;
use stackdrop_specs::is_parameter;

use super::parameters;
use crate::aws::denied;
use crate::aws::error::{AwsResult, StepError};
use crate::contract::component::Work;
use crate::contract::shared_secrets::{Access, access};
use crate::deployment::names::Tags;

/// The secrets and parameters of the spec, and the secret of the database.
#[derive(Debug, Default)]
pub(super) struct Secrets {
    /// Those that the spec names, by ARN.
    named: BTreeMap<String, Secret>,
    /// When the value of each changed last, by ARN.
    changed: BTreeMap<String, DateTime>,
}

/// The observed state of a secret or a parameter.
#[derive(Debug)]
pub(super) enum Secret {
    /// It does not exist.
    Absent,
    /// A parameter of another account or region: tasks cannot read it.
    Elsewhere,
    /// It is scheduled for deletion.
    ScheduledForDeletion,
    /// It cannot be described, with AWS's message.
    Denied(String),
    /// It exists.
    Present {
        /// The customer managed key that encrypts it, if any: the ARN of the key or of its alias.
        key: Option<String>,
        /// Whether the stack may use it, by its name or its tag.
        is_shared: bool,
    },
}

/// A customer managed key that encrypts a secret or a parameter.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    /// The ARN of the key or of its alias.
    pub(super) arn: String,
    /// The service that decrypts with it on behalf of the role: `secretsmanager` or `ssm`.
    pub(super) service: String,
}

/// What AWS describes: the state, and when the value changed last.
pub(super) type Described = (Secret, Option<DateTime>);

impl Secrets {
    /// Reads all secrets and parameters that the spec refers to.
    pub(super) async fn read(work: &Work<'_>) -> Result<Self, StepError> {
        let services = work.spec.services.values();
        let named: BTreeSet<String> =
            services.flat_map(|service| service.secrets.values()).map(|named| arn(named)).collect();
        let (of_ssm, own): (Vec<String>, Vec<String>) = named.into_iter().partition(|arn| is_parameter(arn));
        let calls = own.into_iter().map(async |arn| {
            let described = describe(work, &arn).await?;
            Ok::<_, StepError>((arn, described))
        });
        let (described, of_ssm) = tokio::try_join!(try_join_all(calls), parameters::read(work, of_ssm))?;
        let mut secrets = Self::default();
        for (arn, (secret, changed)) in described.into_iter().chain(of_ssm) {
            secrets.changed.extend(changed.map(|changed| (arn.clone(), changed)));
            secrets.named.insert(arn, secret);
        }
        Ok(secrets)
    }

    /// Reads when the secret with the database's password was rotated.
    pub(super) async fn read_rotation(&mut self, work: &Work<'_>, arn: &str) -> Result<(), StepError> {
        let (_, rotated) = describe(work, arn).await?;
        self.changed.extend(rotated.map(|rotated| (arn.to_owned(), rotated)));
        Ok(())
    }

    pub(super) fn get(&self, arn: &str) -> Option<&Secret> {
        self.named.get(arn)
    }

    /// When the value of a secret or parameter changed last, if it ever did.
    pub(super) fn changed(&self, arn: &str) -> Option<&DateTime> {
        self.changed.get(arn)
    }

    /// The customer managed keys that encrypt them.
    pub(super) fn keys(&self) -> BTreeSet<Key> {
        let under = |(arn, secret): (&String, &Secret)| match secret {
            Secret::Present { key: Some(key), .. } => {
                let service = arn.split(':').nth(2).unwrap_or_default().to_owned();
                Some(Key { arn: key.clone(), service })
            }
            _ => None,
        };
        self.named.iter().filter_map(under).collect()
    }

    /// Whether the keys of all of them are known.
    pub(super) fn are_known(&self) -> bool {
        self.named.values().all(|secret| matches!(secret, Secret::Present { .. }))
    }
}

/// A secret, and when it was rotated last.
///
/// The date is that of the rotation's end, which is never before the moment from which tasks read the new value. The date of the
/// last change would not do: it also changes with a tag.
async fn describe(work: &Work<'_>, arn: &str) -> Result<Described, StepError> {
    let call = work.aws.secrets().describe_secret().secret_id(arn).send().await;
    let response = call.unless(&["ResourceNotFoundException"]).doing(format!("looking for secret {arn}"));
    let secret = match response {
        Err(StepError::Refused { source, .. }) if denied::is(&source) => {
            return Ok((Secret::Denied(source.to_string()), None));
        }
        Err(error) => return Err(error),
        Ok(None) => return Ok((Secret::Absent, None)),
        Ok(Some(secret)) => secret,
    };
    let rotated = secret.last_rotated_date().copied();
    if secret.deleted_date().is_some() {
        return Ok((Secret::ScheduledForDeletion, rotated));
    }
    let tags = secret.tags().iter();
    let tags: Tags = tags.filter_map(|tag| Some((tag.key.clone()?, tag.value.clone()?))).collect();
    let is_shared = access(&work.stack.name, arn, &tags) != Access::No;
    let key = secret.kms_key_id().and_then(|key| customer_key(arn, key));
    Ok((Secret::Present { key, is_shared }, rotated))
}

/// The ARN of the customer managed key, or its alias, that encrypts a secret or a parameter; `None` for the account's AWS managed
/// key. AWS returns an ARN, a key ID or an alias name; the latter two are in the account and region of the secret.
pub(super) fn customer_key(encrypted: &str, key: &str) -> Option<String> {
    let is_of_aws = ["alias/aws/secretsmanager", "alias/aws/ssm"].iter().any(|alias| key.ends_with(alias));
    if is_of_aws {
        return None;
    }
    if key.starts_with("arn:") {
        return Some(key.to_owned());
    }
    let mut fields = encrypted.split(':').skip(1);
    let partition = fields.next().unwrap_or_default();
    let region_and_account: Vec<&str> = fields.skip(1).take(2).collect();
    let kind = if key.starts_with("alias/") { "" } else { "key/" };
    Some(format!("arn:{partition}:kms:{}:{kind}{key}", region_and_account.join(":")))
}

/// The ARN in a task definition's reference to a secret. The ARN has seven fields; ECS accepts a JSON key, a version stage and
/// a version ID after it. The ARN of a parameter has six, and nothing follows.
pub(super) fn arn(value_from: &str) -> String {
    value_from.splitn(8, ':').take(7).collect::<Vec<_>>().join(":")
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:shop/key-AbCdEf";
    const PARAMETER: &str = "arn:aws:ssm:eu-central-1:123456789012:parameter/shop/key";

    #[test]
    fn arn_omits_the_json_key_after_it() {
        assert_eq!(arn(SECRET), SECRET);
        assert_eq!(arn(&format!("{SECRET}:token::")), SECRET);
        assert_eq!(arn(PARAMETER), PARAMETER);
    }

    #[test]
    fn customer_key_accepts_arns_ids_and_aliases() {
        let own = "arn:aws:kms:eu-central-1:123456789012";
        let not_owned = "arn:aws:kms:eu-central-1:210987654321:key/1234abcd";
        for encrypted in [SECRET, PARAMETER] {
            for (named, expected) in [
                ("1234abcd", format!("{own}:key/1234abcd")),
                ("alias/shop", format!("{own}:alias/shop")),
                (not_owned, not_owned.to_owned()),
            ] {
                assert_eq!(customer_key(encrypted, named), Some(expected));
            }
        }
        assert_eq!(customer_key(PARAMETER, "alias/aws/ssm"), None);
        assert_eq!(customer_key(SECRET, &format!("{own}:alias/aws/secretsmanager")), None);
    }
}
