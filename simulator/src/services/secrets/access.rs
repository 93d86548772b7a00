//! The permissions that a call needs.

use super::{Secret, find, tags_of};
use crate::authorization::{AccessRequests, denied_to_role};
use crate::params::Params;
use crate::world::World;

const SERVICE: &str = "secretsmanager";

pub(super) fn access(world: &World, operation: &str, params: &Params, requests: &mut AccessRequests<'_>) {
    match operation {
        "ListSecrets" => {
            requests.no_resource();
        }
        "CreateSecret" => create_access(world, params, requests),
        _ => on_secret(world, operation, params, requests),
    }
}

/// Source: `CreateSecret` in the API reference: tags need `secretsmanager:TagResource`, a customer's key
/// `kms:GenerateDataKey` and `kms:Decrypt`.
fn create_access(world: &World, params: &Params, requests: &mut AccessRequests<'_>) {
    let arn = unknown_arn(world, &params.text("Name").unwrap_or_default());
    let tags = tags_of(params).unwrap_or_default();
    requests.resource("Secret", &arn, None).request_tags(&tags);
    if !tags.is_empty() {
        requests.other_action("secretsmanager:TagResource", "Secret", arn, None).request_tags(&tags);
    }
    if let Some(key) = params.text("KmsKeyId").filter(|key| !is_own(key)) {
        requests.key_use("kms:GenerateDataKey", &key, SERVICE);
        requests.key_use("kms:Decrypt", &key, SERVICE);
    }
}

fn on_secret(world: &World, operation: &str, params: &Params, requests: &mut AccessRequests<'_>) {
    let id = params.text("SecretId").unwrap_or_default();
    let found = find(world, &id).ok();
    let secret = found.as_ref().and_then(|arn| world.states.secrets.secrets.get(arn));
    let arn = match &found {
        Some(arn) => arn.clone(),
        None if id.starts_with("arn:") => id,
        None => unknown_arn(world, &id),
    };
    requests
        .resource("Secret", arn, secret.map(|secret| &secret.tags))
        .request_tags(&tags_of(params).unwrap_or_default())
        .tag_keys(params.list("TagKeys"));
    if operation == "RotateSecret" {
        let immediately = !matches!(params.text("RotateImmediately").as_deref(), Some("false"));
        let rules = params.section("RotationRules").is_some();
        requests.key("secretsmanager:RotateImmediately", &immediately.to_string());
        requests.key("secretsmanager:ModifyRotationRules", &rules.to_string());
    }
    if let Some(key) = secret.and_then(customer_key).filter(|_| operation == "GetSecretValue") {
        requests.key_use("kms:Decrypt", key, SERVICE);
    }
}

/// The ARN of a secret that does not exist: the six characters after its name are not known yet.
fn unknown_arn(world: &World, name: &str) -> String {
    world.arn("secretsmanager", &format!("secret:{name}-??????"))
}

/// The customer key of a secret, if it has one. With Secrets Manager's own key, a caller that can read the secret can
/// decrypt it. Source: "Secret encryption and decryption" in the Secrets Manager user guide.
fn customer_key(secret: &Secret) -> Option<&str> {
    secret.key.as_deref().filter(|key| !is_own(key))
}

fn is_own(key: &str) -> bool {
    key.ends_with("alias/aws/secretsmanager")
}

/// Secrets Manager's message if a role cannot read the value of a secret (an ARN).
pub(crate) fn denied_value(world: &World, role: &str, session: &str, arn: &str) -> Option<String> {
    let secret = world.states.secrets.secrets.get(arn);
    let mut requests = AccessRequests::new(world, "secretsmanager", "GetSecretValue");
    requests.resource("Secret", arn, secret.map(|secret| &secret.tags));
    let denial = denied_to_role(role, session, requests);
    if denial.is_some() {
        return denial;
    }
    let key = secret.and_then(customer_key)?;
    let mut requests = AccessRequests::new(world, "kms", "Decrypt");
    requests.key_use("kms:Decrypt", key, SERVICE);
    // Secrets Manager's own message, in public reports of tasks that failed.
    denied_to_role(role, session, requests).map(|_| "Access to KMS is not allowed".into())
}
