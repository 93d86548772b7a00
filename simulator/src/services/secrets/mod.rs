//! Secrets Manager: secrets without their values.

mod access;
mod rotation;

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use stackdrop_figures::prices::SECRET_MONTHLY;

use super::{Service, unknown};
use crate::clock::Clock;
use crate::inventory::Item;
use crate::params::{Params, Refusal};
use crate::protocol::Reply;
use crate::world::{self, Tags, World};

pub(crate) use access::denied_value;

pub(crate) use rotation::{changed_after, impair, next_due, rotate_now, rotated_by_owner, status};

pub(crate) static SERVICE: Service = Service {
    inventory,
    advance: rotation::advance,
    causes_events: true,
    incidents: &rotation::incidents::ALL,
    ..Service::json("secretsmanager", "1.1", "secretsmanager", act, access::access)
};

/// The state of this service.
#[derive(Debug, Clone, Default)]
pub(crate) struct State {
    /// By ARN.
    secrets: BTreeMap<String, Secret>,
}

#[derive(Debug, Clone)]
struct Secret {
    name: String,
    created: Duration,
    origin: Origin,
    description: Option<String>,
    /// The customer key that encrypts it, if any.
    key: Option<String>,
    /// The token of its creation, and a digest of its value. The value itself is not kept.
    version: Option<(String, String)>,
    tags: Tags,
    /// Its rotation, if a service manages it.
    rotation: Option<rotation::Rotation>,
    /// When its owner rotated it last, if no service manages it.
    rotated: Option<Duration>,
    /// When its deletion was requested, and when it will be deleted.
    deleted: Option<(Duration, Duration)>,
}

/// The origin of a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Origin {
    /// It existed from the start.
    Seeded,
    /// A call created it.
    Created,
    /// A service manages it for one of its resources.
    Managed(&'static str),
}

const DAY_SECONDS: u64 = 86_400;
/// The most bytes of a value (quota).
const LONGEST_VALUE: usize = 65_536;

fn act(world: &mut World, operation: &str, params: &Params) -> Result<Reply, Refusal> {
    match operation {
        "CreateSecret" => create(world, params),
        "DescribeSecret" => describe(world, params),
        "ListSecrets" => list(world, params),
        "DeleteSecret" => delete(world, params),
        "RotateSecret" => rotation::rotate(world, params),
        "TagResource" => tag(world, params),
        "UntagResource" => untag(world, params),
        // A deployment has no right to read a value: the value could end up in a log or a state.
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

/// Lists secrets that calls created. Seeded ones are not ours; managed ones are deleted with their resource.
fn inventory(world: &World, items: &mut Vec<Item>) {
    for (arn, secret) in &world.states.secrets.secrets {
        if secret.origin == Origin::Created && secret.deleted.is_none() {
            let item = Item::new("AWS::SecretsManager::Secret", arn, &secret.tags);
            items.push(item.named(&secret.name).monthly(SECRET_MONTHLY));
        }
    }
}

/// Creates the secret that a service (`rds`) manages for the resource with the ARN `owner`, and returns its ARN.
pub(crate) fn create_managed(world: &mut World, service: &'static str, owner: &str, name: &str) -> String {
    let secret = Secret {
        name: name.into(),
        created: world.now,
        origin: Origin::Managed(service),
        description: Some(format!("Secret associated with primary RDS DB instance: {owner}")),
        key: None,
        version: None,
        tags: Tags::from([
            ("aws:rds:primaryDBInstanceArn".into(), owner.into()),
            ("aws:secretsmanager:owningService".into(), service.into()),
        ]),
        rotation: None,
        rotated: None,
        deleted: None,
    };
    let arn = add(world, secret);
    if let Some(secret) = world.states.secrets.secrets.get_mut(&arn) {
        secret.rotation = Some(rotation::Rotation::of_new(secret.created, version(&arn)));
    }
    arn
}

/// Deletes a secret that a service manages, at once.
pub(crate) fn delete_managed(world: &mut World, arn: &str) {
    world.states.secrets.secrets.remove(arn);
}

/// Whether a secret exists (an ARN, with or without `:key:stage:version` after it).
pub(crate) fn exists(world: &World, arn: &str) -> bool {
    let arn: Vec<&str> = arn.splitn(8, ':').take(7).collect();
    world.states.secrets.secrets.get(&arn.join(":")).is_some_and(|secret| secret.deleted.is_none())
}

/// Adds a seeded secret, encrypted with a customer key if there is one.
pub(crate) fn seed(world: &mut World, arn: &str, tags: &Tags, key: Option<&str>) {
    let full_name = arn.rsplit(':').next().unwrap_or(arn);
    // AWS appends a hyphen and six characters to the name.
    let name = full_name.rsplit_once('-').map_or(full_name, |(name, _)| name);
    let secret = Secret {
        name: name.into(),
        created: world.now,
        origin: Origin::Seeded,
        description: None,
        key: key.map(str::to_owned),
        version: None,
        tags: tags.clone(),
        rotation: None,
        rotated: None,
        deleted: None,
    };
    world.states.secrets.secrets.insert(arn.into(), secret);
}

fn create(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let name = needed(params, "Name")?;
    let description = params.text("Description");
    let tags = tags_of(params)?;
    let key = params.text("KmsKeyId");
    let version = version_of(params)?;
    params.done()?;
    check_name(&name)?;
    purge(world);
    if let Some((arn, taken)) = world.states.secrets.secrets.iter().find(|(_, secret)| secret.name == name) {
        // A repeated creation with the same token returns the first one's response.
        if taken.deleted.is_none() && version.is_some() && taken.version == version {
            return Ok(json!({ "ARN": arn, "Name": name, "VersionId": version_id(arn, taken) }).into());
        }
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
        key,
        version,
        tags,
        rotation: None,
        rotated: None,
        deleted: None,
    };
    let arn = add(world, secret);
    let id = world
        .states
        .secrets
        .secrets
        .get(&arn)
        .and_then(|secret| secret.version.is_some().then(|| version_id(&arn, secret)));
    Ok(json!({ "ARN": arn, "Name": name, "VersionId": id }).into())
}

fn describe(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let id = needed(params, "SecretId")?;
    params.done()?;
    purge(world);
    let arn = find(world, &id)?;
    let secret = world.states.secrets.secrets.get(&arn).ok_or_else(not_found)?;
    Ok(document(&arn, secret, "VersionIdsToStages").into())
}

/// A secret as both descriptions show it. They name the list of its versions differently.
fn document(arn: &str, secret: &Secret, versions: &str) -> Value {
    let is_empty = secret.origin == Origin::Created && secret.version.is_none();
    let stages = if is_empty { json!({}) } else { json!({ version_id(arn, secret): ["AWSCURRENT"] }) };
    let mut document = json!({
        "ARN": arn,
        "Name": secret.name,
        "CreatedDate": Clock::epoch_seconds(secret.created),
        "LastChangedDate": Clock::epoch_seconds(secret.created),
        versions: stages,
        "Tags": tag_list(&secret.tags),
    });
    if let Some(key) = &secret.key {
        document["KmsKeyId"] = json!(key);
    }
    if let Some(description) = &secret.description {
        document["Description"] = json!(description);
    }
    if let Some((deleted, _)) = secret.deleted {
        document["DeletedDate"] = json!(Clock::epoch_seconds(deleted));
    }
    if let Origin::Managed(owner) = &secret.origin {
        document["OwningService"] = json!(owner);
    }
    if let Some(rotated) = secret.rotated {
        document["RotationEnabled"] = json!(true);
        document["LastRotatedDate"] = json!(Clock::epoch_seconds(rotated));
        document["LastChangedDate"] = json!(Clock::epoch_seconds(rotated));
    }
    if let Some(rotation) = &secret.rotation {
        rotation.describe(&mut document, versions);
    }
    document
}

/// The most secrets of one page (API reference).
const PAGE: usize = 100;

fn list(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let mut filters = Vec::new();
    for filter in params.structs("Filters") {
        let key = needed(&filter, "Key")?;
        if !["name", "description", "tag-key", "tag-value", "owning-service"].contains(&key.as_str()) {
            return Err(invalid(format!("Invalid filter key: {key}")));
        }
        filters.push((key, filter.list("Values")));
    }
    let with_deleted = params.flag("IncludePlannedDeletion")?.unwrap_or(false);
    let newest_first = match params.text("SortOrder").as_deref() {
        None | Some("desc") => true,
        Some("asc") => false,
        Some(other) => return Err(invalid(format!("Invalid SortOrder: {other}"))),
    };
    let size = params.int("MaxResults")?.map_or(Ok(PAGE), |size| {
        usize::try_from(size)
            .ok()
            .filter(|size| (1..=PAGE).contains(size))
            .ok_or_else(|| invalid(format!("MaxResults must be between 1 and {PAGE}.")))
    })?;
    let from: usize = match params.text("NextToken") {
        None => 0,
        Some(token) => token
            .parse()
            .map_err(|_| Refusal::new("InvalidNextTokenException", "The NextToken value is invalid."))?,
    };
    params.done()?;
    purge(world);
    let mut found: Vec<(&String, &Secret)> = world
        .states
        .secrets
        .secrets
        .iter()
        .filter(|(_, secret)| with_deleted || secret.deleted.is_none())
        .filter(|(_, secret)| filters.iter().all(|(key, wanted)| secret.passes(key, wanted)))
        .collect();
    found.sort_by_key(|(_, secret)| secret.created);
    if newest_first {
        found.reverse();
    }
    let end = from.saturating_add(size);
    let next = (end < found.len()).then(|| end.to_string());
    let page = found.into_iter().skip(from).take(size);
    let page: Vec<Value> =
        page.map(|(arn, secret)| document(arn, secret, "SecretVersionsToStages")).collect();
    let mut answer = json!({ "SecretList": page });
    if let Some(next) = next {
        answer["NextToken"] = json!(next);
    }
    Ok(answer.into())
}

impl Secret {
    /// Whether a secret matches a filter. A filter compares the start of a text; a leading `!` negates it.
    fn passes(&self, key: &str, wanted: &[String]) -> bool {
        let texts: Vec<&str> = match key {
            "name" => vec![&self.name],
            "description" => self.description.as_deref().into_iter().collect(),
            "tag-key" => self.tags.keys().map(String::as_str).collect(),
            "tag-value" => self.tags.values().map(String::as_str).collect(),
            _ => match self.origin {
                Origin::Managed(service) => vec![service],
                Origin::Seeded | Origin::Created => Vec::new(),
            },
        };
        let begins = |start: &str| texts.iter().any(|text| text.starts_with(start));
        wanted
            .iter()
            .any(|text| text.strip_prefix('!').map_or_else(|| begins(text), |absent| !begins(absent)))
    }
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

/// Removes deleted secrets whose recovery window has ended.
fn purge(world: &mut World) {
    let now = world.now;
    world.states.secrets.secrets.retain(|_, secret| secret.deleted.is_none_or(|(_, gone)| gone > now));
}

/// Adds a secret under a new ARN: AWS appends a hyphen and six characters to the name.
fn add(world: &mut World, secret: Secret) -> String {
    let number = world.number();
    let arn = world.arn("secretsmanager", &format!("secret:{}-{number:06X}", secret.name));
    world.states.secrets.secrets.insert(arn.clone(), secret);
    arn
}

/// The ARN of the secret with this ARN or name.
fn find(world: &World, id: &str) -> Result<String, Refusal> {
    world
        .states
        .secrets
        .secrets
        .iter()
        .find(|(arn, secret)| arn.as_str() == id || secret.name == id)
        .map(|(arn, _)| arn.clone())
        .ok_or_else(not_found)
}

fn changeable<'a>(world: &'a mut World, arn: &str) -> Result<&'a mut Secret, Refusal> {
    let secret = world.states.secrets.secrets.get_mut(arn).ok_or_else(not_found)?;
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

/// The token and a digest of the value of a creation, if it has a value.
fn version_of(params: &Params) -> Result<Option<(String, String)>, Refusal> {
    let (text, bytes) = (params.text("SecretString"), params.text("SecretBinary"));
    let token = params.text("ClientRequestToken");
    if token.as_ref().is_some_and(|token| !(32..=64).contains(&token.len())) {
        return Err(invalid("The ClientRequestToken must have between 32 and 64 characters."));
    }
    let value = match (text, bytes) {
        (Some(_), Some(_)) => {
            return Err(invalid("You can't specify both a binary secret value and a string secret value."));
        }
        (None, None) => return Ok(None),
        (Some(value), None) | (None, Some(value)) => value,
    };
    if value.len() > LONGEST_VALUE {
        return Err(invalid(format!("The secret value can't be longer than {LONGEST_VALUE} bytes.")));
    }
    let token = token.ok_or_else(|| invalid("You must provide a ClientRequestToken value."))?;
    Ok(Some((token, hex::encode(Sha256::digest(value)))))
}

/// Source: `Name` of `CreateSecret` in the API reference.
fn check_name(name: &str) -> Result<(), Refusal> {
    let legal = |character: char| character.is_ascii_alphanumeric() || "/_+=.@-!".contains(character);
    if name.len() <= 512 && name.chars().all(legal) {
        return Ok(());
    }
    Err(Refusal::new(
        "ValidationException",
        "Invalid name. Must be a valid name containing alphanumeric characters, or any of the following: -/_+=.@!",
    ))
}

/// The ID of its only version: the token of its creation.
fn version_id(arn: &str, secret: &Secret) -> String {
    secret.version.as_ref().map_or_else(|| version(arn), |(token, _)| token.clone())
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

fn invalid(message: impl Into<String>) -> Refusal {
    Refusal::new("InvalidParameterException", message)
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
