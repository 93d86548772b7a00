//! The access of the execution role, and the policy that allows it.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::content::image;
use super::dependencies::Dependencies;
use super::observed::Observed;
use super::registry::Private;
use super::secrets;
use crate::contract::component::Work;

/// The ARNs of the resources that the execution role may access, besides the stack's log groups.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Access {
    repositories: BTreeSet<String>,
    /// The repositories that a pull-through cache fills, and creates if necessary.
    cached: BTreeSet<String>,
    secrets: BTreeSet<String>,
    /// The customer managed keys, or their aliases, that encrypt the secrets.
    keys: BTreeSet<String>,
}

impl Access {
    /// The access that the spec's tasks need.
    pub(super) fn needed(work: &Work<'_>, observed: &Observed, dependencies: &Dependencies) -> Self {
        let services = || work.spec.services.iter();
        let images =
            || services().flat_map(|(name, service)| [image(work, observed, name, service), &service.image]);
        let private = || images().filter_map(Private::parse);
        let named = services().flat_map(|(_, service)| service.secrets.values());
        // RDS encrypts this secret with Secrets Manager's own key.
        let database = services()
            .any(|(_, service)| service.database.values().any(|value| value.is_secret()))
            .then(|| dependencies.secret().to_owned())
            .filter(|_| dependencies.has_secret());
        let cached = private().filter(|image| dependencies.caches.cover(work, image));
        Self {
            repositories: private().map(|image| image.repository_arn(work)).collect(),
            cached: cached.map(|image| image.repository_arn(work)).collect(),
            secrets: named.map(|secret| secrets::arn(secret)).chain(database).collect(),
            keys: dependencies.secrets.keys(),
        }
    }

    pub(super) fn with(mut self, other: &Self) -> Self {
        self.repositories.extend(other.repositories.iter().cloned());
        self.cached.extend(other.cached.iter().cloned());
        self.secrets.extend(other.secrets.iter().cloned());
        self.keys.extend(other.keys.iter().cloned());
        self
    }

    /// Adds the actual access to keys and caches that cannot be read at the moment.
    pub(super) fn with_unknown(mut self, actual: &Self, dependencies: &Dependencies) -> Self {
        if !dependencies.secrets.are_known() {
            self.keys.extend(actual.keys.iter().cloned());
        }
        if !dependencies.caches.are_known() {
            self.cached.extend(actual.cached.intersection(&self.repositories).cloned());
        }
        self
    }

    /// The access that this has and the other does not have.
    pub(super) fn beyond<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = String> + 'a {
        let repositories = self.repositories.difference(&other.repositories).cloned();
        let kept = self.cached.intersection(&other.repositories).filter(|arn| !other.cached.contains(*arn));
        let cached = kept.map(|arn| format!("the upstream of {arn}"));
        let secrets = self.secrets.difference(&other.secrets).cloned();
        repositories.chain(cached).chain(secrets).chain(self.keys.difference(&other.keys).cloned())
    }

    /// The policy that allows this access.
    pub(super) fn policy(&self, work: &Work<'_>) -> Value {
        let groups = work.aws.settings.arn("logs", &format!("log-group:/stackdrop/{}/*", work.stack.name));
        let mut statements = vec![json!({
            "Effect": "Allow",
            "Action": ["logs:CreateLogStream", "logs:PutLogEvents"],
            "Resource": groups,
        })];
        if !self.repositories.is_empty() {
            statements.push(json!({
                "Effect": "Allow", "Action": "ecr:GetAuthorizationToken", "Resource": "*",
            }));
            statements.push(json!({
                "Effect": "Allow",
                "Action": ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"],
                "Resource": self.repositories,
            }));
        }
        if !self.cached.is_empty() {
            // Source: "IAM permissions required to sync an upstream registry" in the ECR user guide.
            statements.push(json!({
                "Effect": "Allow",
                "Action": ["ecr:BatchImportUpstreamImage", "ecr:CreateRepository"],
                "Resource": self.cached,
            }));
        }
        if !self.secrets.is_empty() {
            statements.push(json!({
                "Effect": "Allow", "Action": "secretsmanager:GetSecretValue", "Resource": self.secrets,
            }));
        }
        statements.extend(self.keys.iter().map(|key| decrypt_statement(key)));
        json!({ "Version": "2012-10-17", "Statement": statements })
    }

    /// The access that a policy allows, if Stackdrop could have written the policy.
    pub(super) fn of(work: &Work<'_>, policy: &Value) -> Option<Self> {
        let mut access = Self::default();
        for statement in policy.pointer("/Statement")?.as_array()? {
            access.keys.extend(decrypt_key(statement));
            let Some(resources) = statement["Resource"].as_array() else { continue };
            let arns = resources.iter().filter_map(|arn| arn.as_str().map(str::to_owned));
            match statement.pointer("/Action/0").and_then(Value::as_str) {
                Some("ecr:BatchCheckLayerAvailability") => access.repositories.extend(arns),
                Some("ecr:BatchImportUpstreamImage") => access.cached.extend(arns),
                _ => access.secrets.extend(arns),
            }
        }
        (access.policy(work) == *policy).then_some(access)
    }
}

/// The statement that allows Secrets Manager to decrypt with a key on behalf of the role. A policy's resource cannot be an
/// alias; a condition selects the keys that have the alias at the time of the call.
/// Source: "Using aliases to control access to KMS keys" in the KMS developer guide.
fn decrypt_statement(key: &str) -> Value {
    let region = key.split(':').nth(3).unwrap_or_default();
    let mut statement = json!({
        "Effect": "Allow",
        "Action": "kms:Decrypt",
        "Resource": key,
        "Condition": { "StringEquals": { "kms:ViaService": format!("secretsmanager.{region}.amazonaws.com") } },
    });
    if let Some((prefix, alias)) = key.split_once(":alias/") {
        statement["Resource"] = json!(format!("{prefix}:key/*"));
        statement["Condition"]["ForAnyValue:StringEquals"] =
            json!({ "kms:ResourceAliases": format!("alias/{alias}") });
    }
    statement
}

/// The key, or alias, of a statement that [`decrypt_statement`] wrote.
fn decrypt_key(statement: &Value) -> Option<String> {
    let resource = statement["Resource"].as_str().filter(|_| statement["Action"] == "kms:Decrypt")?;
    let alias = statement.pointer("/Condition/ForAnyValue:StringEquals/kms:ResourceAliases");
    Some(match alias.and_then(Value::as_str) {
        Some(alias) => resource.replace("key/*", alias),
        None => resource.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decrypt_key_reads_keys_and_aliases_from_decrypt_statement() {
        let prefix = "arn:aws:kms:eu-central-1:123456789012";
        for key in [format!("{prefix}:key/1234abcd"), format!("{prefix}:alias/shop/keys")] {
            assert_eq!(decrypt_key(&decrypt_statement(&key)), Some(key));
        }
    }
}
