//! Objects: put, get and delete, with versions and preconditions.

use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use sha2::{Digest as _, Sha256};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use time::macros::format_description;

use super::wire::{bad_digest, checksum, etag};
use super::{Bucket, Versioning, bucket_name};
use crate::clock::Clock;
use crate::events::AccountEvent;
use crate::params::{Params, Refusal};
use crate::protocol::{Body, Reply};
use crate::world::World;

/// The version ID of objects that were written without versioning.
pub(super) const NULL_VERSION: &str = "null";

/// One version of an object, or a delete marker.
#[derive(Debug, Clone)]
pub(super) struct Version {
    pub(super) id: String,
    pub(super) made_at: Duration,
    /// `None` for a delete marker.
    pub(super) content: Option<Content>,
}

#[derive(Debug, Clone)]
pub(super) struct Content {
    pub(super) body: Bytes,
    pub(super) etag: String,
    /// The type and the metadata, returned as they were given.
    headers: Vec<(String, String)>,
    /// The checksum headers, returned on request.
    checksums: Vec<(String, String)>,
}

impl Bucket {
    /// The newest version of a key, unless it is a delete marker.
    pub(super) fn current(&self, key: &str) -> Option<&Content> {
        self.objects.get(key)?.last()?.content.as_ref()
    }

    fn add(&mut self, key: &str, version: Version) {
        let versions = self.objects.entry(key.to_owned()).or_default();
        // There is at most one null version: a new one replaces it.
        versions.retain(|old| version.id != NULL_VERSION || old.id != NULL_VERSION);
        versions.push(version);
    }

    fn remove(&mut self, key: &str, id: &str) {
        if let Some(versions) = self.objects.get_mut(key) {
            versions.retain(|version| version.id != id);
            if versions.is_empty() {
                self.objects.remove(key);
            }
        }
    }

    fn next_id(&self, key: &str, number: u64) -> String {
        match self.versioning {
            // Opaque and unordered, like S3's.
            Versioning::Enabled => hex::encode(Sha256::digest(format!("{number}/{key}")))[..32].to_owned(),
            Versioning::Never | Versioning::Suspended => NULL_VERSION.to_owned(),
        }
    }

    /// The version ID in responses; `None` if versioning was never enabled.
    fn shown_id(&self, id: &str) -> Option<String> {
        (self.versioning != Versioning::Never).then(|| id.to_owned())
    }
}

pub(super) fn put(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let name = bucket_name(world, params)?;
    let key = key(params)?;
    let (if_match, if_none_match) = (params.text("if-match"), params.text("if-none-match"));
    let content = content(params)?;
    params.done()?;
    let number = world.number();
    let made_at = world.now;
    let bucket = world.states.s3.bucket(&name)?;
    match if_none_match.as_deref() {
        Some("*") if bucket.current(&key).is_some() => return Err(precondition_failed()),
        None | Some("*") => {}
        Some(_) => {
            return Err(Refusal::new(
                "NotImplemented",
                "A header you provided implies functionality that is not implemented",
            )
            .status(501));
        }
    }
    check_match(bucket, &key, if_match.as_deref())?;
    let id = bucket.next_id(&key, number);
    let event = AccountEvent::ObjectCreated {
        bucket: name,
        key: key.clone(),
        version: id.clone(),
        size: content.body.len(),
        etag: content.etag.clone(),
    };
    let mut reply = Reply::empty().header("etag", &content.etag);
    reply = encryption(reply, &content);
    for (name, value) in &content.checksums {
        reply = reply.header(name.clone(), value);
    }
    if let Some(id) = bucket.shown_id(&id) {
        reply = reply.header("x-amz-version-id", id);
    }
    bucket.add(&key, Version { id, made_at, content: Some(content) });
    world.events.push(event);
    Ok(reply)
}

fn key(params: &Params) -> Result<String, Refusal> {
    let key = params.required("Key")?;
    if key.len() > 1024 {
        return Err(Refusal::new("KeyTooLongError", "Your key is too long"));
    }
    Ok(key)
}

/// Reads the object's properties from the request.
fn content(params: &Params) -> Result<Content, Refusal> {
    let body = params.body();
    let (mut headers, mut checksums) = (Vec::new(), Vec::new());
    for name in params.keys() {
        if name.starts_with("x-amz-checksum-") {
            let given = params.text(&name).unwrap_or_default();
            if checksum(&name, &body).is_some_and(|computed| computed != given) {
                let algorithm = name.trim_start_matches("x-amz-checksum-").to_ascii_uppercase();
                return Err(bad_digest(&algorithm));
            }
            checksums.push((name, given));
        } else if name.starts_with("x-amz-meta-") || KEPT_HEADERS.contains(&name.as_str()) {
            let value = params.text(&name).unwrap_or_default();
            headers.push((name, value));
        }
    }
    if headers.iter().all(|(name, _)| name != "content-type") {
        headers.push(("content-type".into(), "binary/octet-stream".into()));
    }
    params.ignore("content-md5"); // compared with the body when the request was read
    params.ignore("x-amz-sdk-checksum-algorithm"); // the checksum itself says it too
    if let Some(class) = params.text("x-amz-storage-class").filter(|class| class != "STANDARD") {
        return Err(Refusal::new(
            "InvalidStorageClass",
            format!("The storage class you specified is not valid: {class}"),
        ));
    }
    Ok(Content { etag: etag(&body), body, headers, checksums })
}

const KEPT_HEADERS: [&str; 7] = [
    "cache-control",
    "content-disposition",
    "content-encoding",
    "content-language",
    "content-type",
    "expires",
    "x-amz-server-side-encryption",
];

/// Since 2023, S3 encrypts every object with its own keys by default.
fn encryption(reply: Reply, content: &Content) -> Reply {
    const HEADER: &str = "x-amz-server-side-encryption";
    let given = content.headers.iter().find(|(name, _)| name == HEADER);
    reply.header(HEADER, given.map_or("AES256", |(_, value)| value.as_str()))
}

/// `If-Match` on a write: the object must exist (or 404) and match (or 412).
fn check_match(bucket: &Bucket, key: &str, if_match: Option<&str>) -> Result<(), Refusal> {
    let Some(wanted) = if_match else { return Ok(()) };
    let current = bucket.current(key).ok_or_else(no_such_key)?;
    if wanted == "*" || same_etag(wanted, &current.etag) { Ok(()) } else { Err(precondition_failed()) }
}

fn same_etag(one: &str, other: &str) -> bool {
    one.trim_matches('"') == other.trim_matches('"')
}

fn precondition_failed() -> Refusal {
    Refusal::new("PreconditionFailed", "At least one of the pre-conditions you specified did not hold")
        .status(412)
}

fn no_such_key() -> Refusal {
    Refusal::new("NoSuchKey", "The specified key does not exist.").status(404)
}

pub(super) fn get(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let name = bucket_name(world, params)?;
    let key = key(params)?;
    let id = params.text("versionId");
    let (if_match, if_none_match) = (params.text("if-match"), params.text("if-none-match"));
    let with_checksums = params.text("x-amz-checksum-mode").is_some_and(|mode| mode == "ENABLED");
    params.done()?;
    let bucket = world.states.s3.bucket(&name)?;
    let versions = bucket.objects.get(&key).map(Vec::as_slice).unwrap_or_default();
    let version = match &id {
        Some(id) => versions.iter().find(|version| version.id == *id).ok_or_else(|| no_such_version(id))?,
        None => versions.last().ok_or_else(no_such_key)?,
    };
    let Some(content) = &version.content else {
        return Err(marked_deleted(version, id.is_some()));
    };
    if if_match.is_some_and(|wanted| wanted != "*" && !same_etag(&wanted, &content.etag)) {
        return Err(precondition_failed());
    }
    if if_none_match.is_some_and(|known| known == "*" || same_etag(&known, &content.etag)) {
        return Ok(Reply::empty().status(StatusCode::NOT_MODIFIED).header("etag", &content.etag));
    }
    let mut reply = Reply::empty()
        .header("etag", &content.etag)
        .header("last-modified", http_date(version.made_at))
        .header("content-length", content.body.len().to_string())
        .header("accept-ranges", "bytes");
    for (name, value) in &content.headers {
        reply = reply.header(name.clone(), value);
    }
    reply = encryption(reply, content);
    if with_checksums && !content.checksums.is_empty() {
        for (name, value) in &content.checksums {
            reply = reply.header(name.clone(), value);
        }
        reply = reply.header("x-amz-checksum-type", "FULL_OBJECT");
    }
    if let Some(id) = bucket.shown_id(&version.id) {
        reply = reply.header("x-amz-version-id", id);
    }
    reply.body = Body::Raw(content.body.clone());
    Ok(reply)
}

fn no_such_version(id: &str) -> Refusal {
    if id == NULL_VERSION || (id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit())) {
        Refusal::new("NoSuchVersion", "The specified version does not exist.").status(404)
    } else {
        Refusal::new("InvalidArgument", "Invalid version id specified")
    }
}

/// Source: "Working with delete markers": 404 without a version, 405 for the marker itself.
fn marked_deleted(marker: &Version, by_id: bool) -> Refusal {
    let refusal = if by_id {
        Refusal::new("MethodNotAllowed", "The specified method is not allowed against this resource.")
            .status(405)
            .header("allow", "DELETE")
            .header("last-modified", http_date(marker.made_at))
    } else {
        no_such_key()
    };
    refusal.header("x-amz-delete-marker", "true").header("x-amz-version-id", &marker.id)
}

pub(super) fn delete(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let name = bucket_name(world, params)?;
    let key = key(params)?;
    let id = params.text("versionId");
    let if_match = params.text("if-match");
    params.done()?;
    let number = world.number();
    let made_at = world.now;
    let bucket = world.states.s3.bucket(&name)?;
    check_match(bucket, &key, if_match.as_deref())?;
    let mut reply = Reply::empty().status(StatusCode::NO_CONTENT);
    if let Some(id) = id {
        let versions = bucket.objects.get(&key).map(Vec::as_slice).unwrap_or_default();
        let found = versions.iter().find(|version| version.id == id);
        if found.is_none() {
            // Deleting a deleted version succeeds; an ID that S3 never issued is refused.
            let refusal = no_such_version(&id);
            if refusal.code != "NoSuchVersion" {
                return Err(refusal);
            }
        }
        if found.is_some_and(|version| version.content.is_none()) {
            reply = reply.header("x-amz-delete-marker", "true");
        }
        bucket.remove(&key, &id);
        return Ok(reply.header("x-amz-version-id", id));
    }
    if bucket.versioning == Versioning::Never {
        bucket.remove(&key, NULL_VERSION);
        return Ok(reply);
    }
    let id = bucket.next_id(&key, number);
    bucket.add(&key, Version { id: id.clone(), made_at, content: None });
    world.events.push(AccountEvent::ObjectDeleted { bucket: name, key, marker: id.clone() });
    Ok(reply.header("x-amz-delete-marker", "true").header("x-amz-version-id", id))
}

/// A date in HTTP's format.
fn http_date(elapsed: Duration) -> String {
    let format = format_description!(
        "[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT"
    );
    OffsetDateTime::parse(&Clock::date(elapsed), &Rfc3339)
        .ok()
        .and_then(|date| date.format(&format).ok())
        .unwrap_or_default()
}
