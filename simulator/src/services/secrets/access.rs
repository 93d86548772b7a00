//! What a call asks IAM for.

use super::{find, tags_of};
use crate::authorization::{Asks, denied_to_role};
use crate::params::Params;
use crate::world::World;

pub(super) fn access(world: &World, operation: &str, params: &Params, asks: &mut Asks<'_>) {
    match operation {
        "ListSecrets" => {
            asks.whole();
        }
        "CreateSecret" => create_access(world, params, asks),
        _ => on_secret(world, operation, params, asks),
    }
}

/// Source: `CreateSecret` in the API reference: tags need `secretsmanager:TagResource`, a customer's key
/// `kms:GenerateDataKey` and `kms:Decrypt`.
fn create_access(world: &World, params: &Params, asks: &mut Asks<'_>) {
    let arn = unknown_arn(world, &params.text("Name").unwrap_or_default());
    let tags = tags_of(params).unwrap_or_default();
    asks.on("Secret", &arn, None).request_tags(&tags);
    if !tags.is_empty() {
        asks.also("secretsmanager:TagResource", "Secret", arn, None).request_tags(&tags);
    }
    if let Some(key) = params.text("KmsKeyId") {
        decrypts(world, &key, "kms:GenerateDataKey", asks);
        decrypts(world, &key, "kms:Decrypt", asks);
    }
}

fn on_secret(world: &World, operation: &str, params: &Params, asks: &mut Asks<'_>) {
    let id = params.text("SecretId").unwrap_or_default();
    let found = find(world, &id).ok();
    let secret = found.as_ref().and_then(|arn| world.secrets.secrets.get(arn));
    let arn = match &found {
        Some(arn) => arn.clone(),
        None if id.starts_with("arn:") => id,
        None => unknown_arn(world, &id),
    };
    asks.on("Secret", arn, secret.map(|secret| &secret.tags))
        .request_tags(&tags_of(params).unwrap_or_default())
        .tag_keys(params.list("TagKeys"));
    if let Some(key) = secret.and_then(|secret| secret.key.as_ref()).filter(|_| operation == "GetSecretValue")
    {
        decrypts(world, key, "kms:Decrypt", asks);
    }
}

/// The ARN of a secret that is not there: nobody knows the six characters behind its name yet.
fn unknown_arn(world: &World, name: &str) -> String {
    world.arn("secretsmanager", &format!("secret:{name}-??????"))
}

/// Asks for the use of a customer's key through Secrets Manager. IAM decides on the key, not on its alias: the key behind
/// `alias/shop` is called `key/shop` here.
fn decrypts(world: &World, key: &str, action: &str, asks: &mut Asks<'_>) {
    let arn = match key {
        arn if arn.starts_with("arn:") => arn.to_owned(),
        alias if alias.starts_with("alias/") => world.arn("kms", alias),
        id => world.arn("kms", &format!("key/{id}")),
    };
    let alias = arn.split_once(":alias/").map(|(_, name)| format!("alias/{name}"));
    let request = asks.also(action, "key", arn.replace(":alias/", ":key/"), None);
    request.key("kms:ViaService", format!("secretsmanager.{}.amazonaws.com", world.region));
    if let Some(alias) = alias {
        request.keys("kms:ResourceAliases", [alias]);
    }
}

/// What keeps a role from the value of a secret (its ARN): nothing, or Secrets Manager's answer.
pub(crate) fn denied_value(world: &World, role: &str, session: &str, arn: &str) -> Option<String> {
    let secret = world.secrets.secrets.get(arn);
    let mut asks = Asks::new(world, "secretsmanager", "GetSecretValue");
    asks.on("Secret", arn, secret.map(|secret| &secret.tags));
    let denial = denied_to_role(role, session, asks);
    if denial.is_some() {
        return denial;
    }
    let key = secret.and_then(|secret| secret.key.as_ref())?;
    let mut asks = Asks::new(world, "kms", "Decrypt");
    decrypts(world, key, "kms:Decrypt", &mut asks);
    // Source: AWS's message in aws/aws-cdk#7677 and external-secrets/external-secrets#390.
    denied_to_role(role, session, asks).map(|_| "Access to KMS is not allowed".into())
}
