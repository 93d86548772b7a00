//! What the execution role may reach, as the policy that allows it.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::definition::image;
use super::dependencies::Dependencies;
use super::observed::Observed;
use super::registry::Private;
use super::secrets;
use crate::contract::component::Work;

/// What the execution role may reach, besides the stack's log groups: ARNs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Access {
    repositories: BTreeSet<String>,
    /// Those of the repositories that a pull-through cache fills, and makes if need be.
    cached: BTreeSet<String>,
    secrets: BTreeSet<String>,
    /// The keys of the customer's, or their aliases, that the secrets are encrypted with.
    keys: BTreeSet<String>,
}

impl Access {
    /// What the tasks of the spec need.
    pub(super) fn needed(work: &Work<'_>, observed: &Observed, around: &Dependencies) -> Self {
        let services = || work.spec.services.iter();
        let images =
            || services().flat_map(|(name, service)| [image(work, observed, name, service), &service.image]);
        let private = || images().filter_map(Private::read);
        let named = services().flat_map(|(_, service)| service.secrets.values());
        // RDS encrypts it with the key of Secrets Manager's own, unless it is told another.
        let database = services()
            .any(|(_, service)| service.database.values().any(|value| value.is_secret()))
            .then(|| around.secret().to_owned());
        let cached = private().filter(|image| around.caches.cover(work, image));
        Self {
            repositories: private().map(|image| image.repository_arn(work)).collect(),
            cached: cached.map(|image| image.repository_arn(work)).collect(),
            secrets: named.map(|secret| secrets::arn(secret)).chain(database).collect(),
            keys: around.secrets.keys(),
        }
    }

    pub(super) fn with(mut self, other: &Self) -> Self {
        self.repositories.extend(other.repositories.iter().cloned());
        self.cached.extend(other.cached.iter().cloned());
        self.secrets.extend(other.secrets.iter().cloned());
        self.keys.extend(other.keys.iter().cloned());
        self
    }

    /// The same with what was held before for what can't be known now.
    pub(super) fn with_unknown(mut self, held: &Self, around: &Dependencies) -> Self {
        if !around.secrets.are_known() {
            self.keys.extend(held.keys.iter().cloned());
        }
        if !around.caches.are_known() {
            self.cached.extend(held.cached.intersection(&self.repositories).cloned());
        }
        self
    }

    /// What this gives access to and another does not.
    pub(super) fn beyond<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = String> + 'a {
        let repositories = self.repositories.difference(&other.repositories).cloned();
        let kept = self.cached.intersection(&other.repositories).filter(|arn| !other.cached.contains(*arn));
        let cached = kept.map(|arn| format!("the upstream of {arn}"));
        let secrets = self.secrets.difference(&other.secrets).cloned();
        repositories.chain(cached).chain(secrets).chain(self.keys.difference(&other.keys).cloned())
    }

    /// The policy that gives this access.
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
        statements.extend(self.keys.iter().map(|key| decrypts(key)));
        json!({ "Version": "2012-10-17", "Statement": statements })
    }

    /// What a policy gives access to, if it is one that we would write.
    pub(super) fn of(work: &Work<'_>, policy: &Value) -> Option<Self> {
        let mut access = Self::default();
        for statement in policy.pointer("/Statement")?.as_array()? {
            access.keys.extend(decrypted(statement));
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

/// The statement that lets Secrets Manager decrypt with a key in the role's name. A policy can't name an alias as its
/// resource; it names the keys that have it at the moment of the call.
/// Source: "Using aliases to control access to KMS keys" in the KMS developer guide.
fn decrypts(key: &str) -> Value {
    let region = key.split(':').nth(3).unwrap_or_default();
    let mut statement = json!({
        "Effect": "Allow",
        "Action": "kms:Decrypt",
        "Resource": key,
        "Condition": { "StringEquals": { "kms:ViaService": format!("secretsmanager.{region}.amazonaws.com") } },
    });
    if let Some((place, alias)) = key.split_once(":alias/") {
        statement["Resource"] = json!(format!("{place}:key/*"));
        statement["Condition"]["ForAnyValue:StringEquals"] =
            json!({ "kms:ResourceAliases": format!("alias/{alias}") });
    }
    statement
}

/// The key, or alias, that a statement of ours lets decrypt.
fn decrypted(statement: &Value) -> Option<String> {
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
    fn a_key_and_an_alias_are_read_from_the_statement_that_was_written_for_them() {
        let place = "arn:aws:kms:eu-central-1:123456789012";
        for key in [format!("{place}:key/1234abcd"), format!("{place}:alias/shop/keys")] {
            assert_eq!(decrypted(&decrypts(&key)), Some(key));
        }
    }
}
