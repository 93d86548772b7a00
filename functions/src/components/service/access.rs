//! The access of the execution role, and the policy that allows it.
//!
//! ECS reads secrets and parameters with this role when a task starts. So the policy decides then whether the stack may still use
//! them: those of other names only as long as their owners' tag allows it.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use stackdrop_specs::is_parameter;

use super::content::image;
use super::dependencies::Dependencies;
use super::observed::Observed;
use super::registry::Private;
use super::secrets::{self, Key};
use crate::contract::component::Work;
use crate::contract::shared_secrets::{ALL_STACKS, TAG_ACCESS, is_named_for};

/// The ARNs of the resources that the execution role may access, besides the stack's log groups.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Access {
    repositories: BTreeSet<String>,
    /// The repositories that a pull-through cache fills, and creates if necessary.
    cached: BTreeSet<String>,
    /// The secrets and parameters that the spec names.
    secrets: BTreeSet<String>,
    /// The secrets with the password of the stack's database.
    passwords: BTreeSet<String>,
    /// The customer managed keys, or their aliases, that encrypt the secrets and parameters.
    keys: BTreeSet<Key>,
}

/// The actions that read a secret, and a parameter.
/// Source: "Task execution IAM role" in the ECS developer guide.
const READS: [&str; 2] = ["secretsmanager:GetSecretValue", "ssm:GetParameters"];

/// The tag of RDS with the instance to which a secret belongs.
/// Source: "Password management with Amazon RDS and AWS Secrets Manager" in the RDS user guide.
const INSTANCE_TAG: &str = "aws:ResourceTag/aws:rds:primaryDBInstanceArn";

impl Access {
    /// The access that the spec's tasks need.
    pub(super) fn needed(work: &Work<'_>, observed: &Observed, dependencies: &Dependencies) -> Self {
        let services = || work.spec.services.iter();
        let images =
            || services().flat_map(|(name, service)| [image(work, observed, name, service), &service.image]);
        let private = || images().filter_map(Private::parse);
        let named = services().flat_map(|(_, service)| service.secrets.values());
        // RDS encrypts this secret with Secrets Manager's own key.
        let password = services()
            .any(|(_, service)| service.database.values().any(|value| value.is_secret()))
            .then(|| dependencies.secret().to_owned())
            .filter(|_| dependencies.has_secret());
        let cached = private().filter(|image| dependencies.caches.cover(work, image));
        Self {
            repositories: private().map(|image| image.repository_arn(work)).collect(),
            cached: cached.map(|image| image.repository_arn(work)).collect(),
            secrets: named.map(|secret| secrets::arn(secret)).collect(),
            passwords: password.into_iter().collect(),
            keys: dependencies.secrets.keys(),
        }
    }

    pub(super) fn with(mut self, other: &Self) -> Self {
        self.repositories.extend(other.repositories.iter().cloned());
        self.cached.extend(other.cached.iter().cloned());
        self.secrets.extend(other.secrets.iter().cloned());
        self.passwords.extend(other.passwords.iter().cloned());
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
        let secrets =
            self.secrets.difference(&other.secrets).chain(self.passwords.difference(&other.passwords));
        let keys = self.keys.difference(&other.keys).map(|key| key.arn.clone());
        repositories.chain(cached).chain(secrets.cloned()).chain(keys)
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
        statements.extend(self.read_statements(work));
        statements.extend(self.keys.iter().map(decrypt_statement));
        json!({ "Version": "2012-10-17", "Statement": statements })
    }

    /// The statements that allow reading the secrets and parameters: those with the stack's name, those that their owners share by
    /// a tag, and the secret of the stack's own database.
    fn read_statements(&self, work: &Work<'_>) -> Vec<Value> {
        let stack = &work.stack.name;
        let mut statements = Vec::new();
        for (action, of_parameters) in READS.into_iter().zip([false, true]) {
            let of_service = self.secrets.iter().filter(|arn| is_parameter(arn) == of_parameters);
            let (named, tagged): (Vec<_>, Vec<_>) = of_service.partition(|arn| is_named_for(stack, arn));
            if !named.is_empty() {
                statements.push(json!({ "Effect": "Allow", "Action": action, "Resource": named }));
            }
            if !tagged.is_empty() {
                let tag = format!("aws:ResourceTag/{TAG_ACCESS}");
                statements.push(json!({
                    "Effect": "Allow", "Action": action, "Resource": tagged,
                    "Condition": { "StringEquals": { tag: [stack.as_str(), ALL_STACKS] } },
                }));
            }
        }
        if !self.passwords.is_empty() {
            let instance = format!("db:{}", work.stack.resource("database"));
            let instance = work.aws.settings.arn("rds", &instance);
            statements.push(json!({
                "Effect": "Allow", "Action": READS[0], "Resource": self.passwords,
                "Condition": { "StringEquals": { INSTANCE_TAG: instance } },
            }));
        }
        statements
    }

    /// The access that a policy allows, if Stackdrop could have written the policy.
    pub(super) fn of(work: &Work<'_>, policy: &Value) -> Option<Self> {
        let mut access = Self::default();
        for statement in policy.pointer("/Statement")?.as_array()? {
            access.keys.extend(decrypt_key(statement));
            let Some(resources) = statement["Resource"].as_array() else { continue };
            let arns = resources.iter().filter_map(|arn| arn.as_str().map(str::to_owned));
            let is_of_database = !statement["Condition"]["StringEquals"][INSTANCE_TAG].is_null();
            match statement.pointer("/Action/0").and_then(Value::as_str) {
                Some("ecr:BatchCheckLayerAvailability") => access.repositories.extend(arns),
                Some("ecr:BatchImportUpstreamImage") => access.cached.extend(arns),
                _ if is_of_database => access.passwords.extend(arns),
                _ => access.secrets.extend(arns),
            }
        }
        (access.policy(work) == *policy).then_some(access)
    }
}

/// The statement that allows Secrets Manager, or Systems Manager, to decrypt with a key on behalf of the role. A policy's resource
/// cannot be an alias; a condition selects the keys that have the alias at the time of the call.
/// Source: "Using aliases to control access to KMS keys" in the KMS developer guide.
fn decrypt_statement(key: &Key) -> Value {
    let Key { arn, service } = key;
    let region = arn.split(':').nth(3).unwrap_or_default();
    let mut statement = json!({
        "Effect": "Allow",
        "Action": "kms:Decrypt",
        "Resource": arn,
        "Condition": { "StringEquals": { "kms:ViaService": format!("{service}.{region}.amazonaws.com") } },
    });
    if let Some((prefix, alias)) = arn.split_once(":alias/") {
        statement["Resource"] = json!(format!("{prefix}:key/*"));
        statement["Condition"]["ForAnyValue:StringEquals"] =
            json!({ "kms:ResourceAliases": format!("alias/{alias}") });
    }
    statement
}

/// The key, or alias, of a statement that [`decrypt_statement`] wrote.
fn decrypt_key(statement: &Value) -> Option<Key> {
    let resource = statement["Resource"].as_str().filter(|_| statement["Action"] == "kms:Decrypt")?;
    let via = statement.pointer("/Condition/StringEquals/kms:ViaService")?.as_str()?;
    let alias = statement.pointer("/Condition/ForAnyValue:StringEquals/kms:ResourceAliases");
    let arn = match alias.and_then(Value::as_str) {
        Some(alias) => resource.replace("key/*", alias),
        None => resource.to_owned(),
    };
    Some(Key { arn, service: via.split('.').next()?.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decrypt_key_reads_keys_and_aliases_from_decrypt_statement() {
        let prefix = "arn:aws:kms:eu-central-1:123456789012";
        for arn in [format!("{prefix}:key/1234abcd"), format!("{prefix}:alias/shop/keys")] {
            for service in ["secretsmanager", "ssm"] {
                let key = Key { arn: arn.clone(), service: service.into() };
                assert_eq!(decrypt_key(&decrypt_statement(&key)), Some(key));
            }
        }
    }
}
