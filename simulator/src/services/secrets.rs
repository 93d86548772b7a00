//! Secrets Manager: that secrets exist. Their values are nobody's business here.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use super::unknown;
use crate::clock::Clock;
use crate::inventory::Item;
use crate::params::{Params, Refusal};
use crate::protocol::Reply;
use crate::world::{self, Tags, World};

/// What stands of this service.
#[derive(Debug, Default)]
pub(crate) struct State {
    /// By ARN.
    secrets: BTreeMap<String, Secret>,
}

#[derive(Debug)]
struct Secret {
    name: String,
    created: Duration,
    origin: Origin,
    description: Option<String>,
    tags: Tags,
    /// When it was asked to be deleted, and when it will be gone.
    deleted: Option<(Duration, Duration)>,
}

/// Who made a secret.
#[derive(Debug, PartialEq, Eq)]
enum Origin {
    /// It was there before anything was deployed.
    Seeded,
    /// A call made it.
    Created,
    /// A service manages it for a resource of its own.
    Managed(String),
}

const DAY_SECONDS: u64 = 86_400;

pub(crate) fn act(world: &mut World, operation: &str, params: &Params) -> Result<Reply, Refusal> {
    match operation {
        "CreateSecret" => create(world, params),
        "DescribeSecret" => describe(world, params),
        "DeleteSecret" => delete(world, params),
        "TagResource" => tag(world, params),
        "UntagResource" => untag(world, params),
        // Whoever deploys has no right to read a value: it would end up in a log or a state.
        "GetSecretValue" => {
            let id = params.text("SecretId").unwrap_or_default();
            Err(Refusal::new(
                "AccessDeniedException",
                format!(
                    "User: arn:aws:sts::{}:assumed-role/stackdrop/simulated is not authorized to perform: secretsmanager:GetSecretValue on resource: {id} because no identity-based policy allows the secretsmanager:GetSecretValue action",
                    world.account
                ),
            ))
        }
        _ => Err(unknown("secretsmanager", operation)),
    }
}

/// What calls made. Seeded secrets are somebody else's; managed ones go with the resource that they belong to.
pub(crate) fn inventory(world: &World, items: &mut Vec<Item>) {
    for (arn, secret) in &world.secrets.secrets {
        if secret.origin == Origin::Created && secret.deleted.is_none() {
            let item = Item::new("AWS::SecretsManager::Secret", arn, &secret.tags);
            items.push(item.named(&secret.name).monthly(0.40));
        }
    }
}

/// Makes the secret that a service manages for a resource, and returns its ARN.
pub(crate) fn create_managed(world: &mut World, owner: &str, name: &str) -> String {
    let secret = Secret {
        name: name.into(),
        created: world.now,
        origin: Origin::Managed(owner.into()),
        description: None,
        tags: Tags::new(),
        deleted: None,
    };
    add(world, secret)
}

/// Deletes a secret that a service manages, at once.
pub(crate) fn delete_managed(world: &mut World, arn: &str) {
    world.secrets.secrets.remove(arn);
}

/// Whether a secret exists (its ARN, with or without `:key:stage:version` behind it).
pub(crate) fn exists(world: &World, arn: &str) -> bool {
    let arn: Vec<&str> = arn.splitn(8, ':').take(7).collect();
    world.secrets.secrets.get(&arn.join(":")).is_some_and(|secret| secret.deleted.is_none())
}

/// Puts a secret of somebody else into the account.
pub(crate) fn seed(world: &mut World, arn: &str) {
    let full_name = arn.rsplit(':').next().unwrap_or(arn);
    // AWS adds a hyphen and six characters to the name.
    let name = full_name.rsplit_once('-').map_or(full_name, |(name, _)| name);
    let secret = Secret {
        name: name.into(),
        created: world.now,
        origin: Origin::Seeded,
        description: None,
        tags: Tags::new(),
        deleted: None,
    };
    world.secrets.secrets.insert(arn.into(), secret);
}

fn create(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let name = needed(params, "Name")?;
    let description = params.text("Description");
    let tags = tags_of(params)?;
    // The value, its key and the retry token: the token makes a retry find its own secret, which the name does too.
    for meaningless in ["SecretString", "SecretBinary", "KmsKeyId", "ClientRequestToken"] {
        params.ignore(meaningless);
    }
    params.done()?;
    purge(world);
    if let Some(taken) = world.secrets.secrets.values().find(|secret| secret.name == name) {
        return Err(if taken.deleted.is_some() {
            Refusal::new(
                "InvalidRequestException",
                "You can't create this secret because a secret with this name is already scheduled for deletion.",
            )
        } else {
            Refusal::new(
                "ResourceExistsException",
                format!("The operation failed because the secret {name} already exists."),
            )
        });
    }
    let secret = Secret {
        name: name.clone(),
        created: world.now,
        origin: Origin::Created,
        description,
        tags,
        deleted: None,
    };
    let arn = add(world, secret);
    Ok(json!({ "ARN": arn, "Name": name, "VersionId": version(&arn) }).into())
}

fn describe(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let id = needed(params, "SecretId")?;
    params.done()?;
    purge(world);
    let arn = find(world, &id)?;
    let secret = world.secrets.secrets.get(&arn).ok_or_else(not_found)?;
    let mut document = json!({
        "ARN": arn,
        "Name": secret.name,
        "CreatedDate": Clock::epoch_seconds(secret.created),
        "LastChangedDate": Clock::epoch_seconds(secret.created),
        "VersionIdsToStages": { version(&arn): ["AWSCURRENT"] },
        "Tags": tag_list(&secret.tags),
    });
    if let Some(description) = &secret.description {
        document["Description"] = json!(description);
    }
    if let Some((deleted, _)) = secret.deleted {
        document["DeletedDate"] = json!(Clock::epoch_seconds(deleted));
    }
    if let Origin::Managed(owner) = &secret.origin {
        document["OwningService"] = json!(owner);
        document["RotationEnabled"] = json!(true);
        // Source: "Password management with Amazon RDS and AWS Secrets Manager": every seven days.
        document["RotationRules"] = json!({ "AutomaticallyAfterDays": 7 });
    }
    Ok(document.into())
}

fn delete(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let id = needed(params, "SecretId")?;
    let days = params.int("RecoveryWindowInDays")?;
    let force = params.flag("ForceDeleteWithoutRecovery")?.unwrap_or(false);
    params.done()?;
    if force && days.is_some() {
        return Err(Refusal::new(
            "InvalidParameterException",
            "You can't use ForceDeleteWithoutRecovery in conjunction with RecoveryWindowInDays.",
        ));
    }
    let days =
        u64::try_from(days.unwrap_or(30)).ok().filter(|days| (7..=30).contains(days)).ok_or_else(|| {
            Refusal::new(
                "InvalidParameterException",
                "The RecoveryWindowInDays value must be between 7 and 30 days (inclusive).",
            )
        })?;
    purge(world);
    let arn = find(world, &id)?;
    let now = world.now;
    let secret = changeable(world, &arn)?;
    let gone = if force { now } else { now + Duration::from_secs(days * DAY_SECONDS) };
    secret.deleted = Some((now, gone));
    Ok(json!({ "ARN": arn, "Name": secret.name, "DeletionDate": Clock::epoch_seconds(gone) }).into())
}

fn tag(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let id = needed(params, "SecretId")?;
    let more = tags_of(params)?;
    params.done()?;
    purge(world);
    let arn = find(world, &id)?;
    let secret = changeable(world, &arn)?;
    let mut tags = secret.tags.clone();
    tags.extend(more);
    within_limit(&tags)?;
    secret.tags = tags;
    Ok(Reply::empty())
}

fn untag(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let id = needed(params, "SecretId")?;
    let keys = params.list("TagKeys");
    params.done()?;
    purge(world);
    let arn = find(world, &id)?;
    changeable(world, &arn)?.tags.retain(|key, _| !keys.contains(key));
    Ok(Reply::empty())
}

/// Takes away what was deleted and whose recovery window is over.
fn purge(world: &mut World) {
    let now = world.now;
    world.secrets.secrets.retain(|_, secret| secret.deleted.is_none_or(|(_, gone)| gone > now));
}

/// Adds a secret under a new ARN: AWS puts a hyphen and six characters behind the name.
fn add(world: &mut World, secret: Secret) -> String {
    let number = world.number();
    let arn = world.arn("secretsmanager", &format!("secret:{}-{number:06X}", secret.name));
    world.secrets.secrets.insert(arn.clone(), secret);
    arn
}

/// The ARN of the secret with this ARN or name.
fn find(world: &World, id: &str) -> Result<String, Refusal> {
    world
        .secrets
        .secrets
        .iter()
        .find(|(arn, secret)| arn.as_str() == id || secret.name == id)
        .map(|(arn, _)| arn.clone())
        .ok_or_else(not_found)
}

fn changeable<'a>(world: &'a mut World, arn: &str) -> Result<&'a mut Secret, Refusal> {
    let secret = world.secrets.secrets.get_mut(arn).ok_or_else(not_found)?;
    if secret.deleted.is_some() {
        return Err(Refusal::new(
            "InvalidRequestException",
            "You can't perform this operation on the secret because it was marked for deletion.",
        ));
    }
    match &secret.origin {
        Origin::Managed(owner) => Err(Refusal::new(
            "InvalidRequestException",
            format!("You can't change this secret because it is managed by {owner}."),
        )),
        Origin::Created | Origin::Seeded => Ok(secret),
    }
}

fn version(arn: &str) -> String {
    let number = arn.rsplit('-').next().unwrap_or_default();
    format!("00000000-0000-4000-9000-{number:0>12}").to_lowercase()
}

fn tag_list(tags: &Tags) -> Value {
    tags.iter().map(|(key, value)| json!({ "Key": key, "Value": value })).collect()
}

fn tags_of(params: &Params) -> Result<Tags, Refusal> {
    let tags = world::tags(params, "Tags", "Key", "Value")
        .map_err(|refusal| Refusal::new("InvalidParameterException", refusal.message))?;
    within_limit(&tags)?;
    Ok(tags)
}

fn within_limit(tags: &Tags) -> Result<(), Refusal> {
    if tags.len() > 50 {
        return Err(Refusal::new("InvalidParameterException", "A secret can have no more than 50 tags."));
    }
    Ok(())
}

fn needed(params: &Params, key: &str) -> Result<String, Refusal> {
    params.text(key).filter(|text| !text.is_empty()).ok_or_else(|| {
        Refusal::new(
            "InvalidParameterException",
            format!("You must provide a value for the {key} parameter."),
        )
    })
}

fn not_found() -> Refusal {
    Refusal::new("ResourceNotFoundException", "Secrets Manager can't find the specified secret.")
}
