//! Listings of a bucket: current objects, and all versions.

use std::collections::BTreeSet;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use super::bucket_name;
use super::buckets::rooted;
use super::objects::Version;
use crate::clock::Clock;
use crate::params::{Params, Refusal};
use crate::protocol::Reply;
use crate::world::World;

/// The characters that `encoding-type=url` does not encode.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'*').remove(b'/');

/// The parameters of both listings.
struct Question {
    bucket: String,
    prefix: String,
    limit: usize,
    encoded: bool,
}

impl Question {
    fn read(world: &World, params: &Params) -> Result<Self, Refusal> {
        let limit = params.int("max-keys")?.unwrap_or(1000);
        let encoding = params.text("encoding-type");
        if encoding.as_deref().is_some_and(|encoding| encoding != "url") {
            return Err(Refusal::new("InvalidArgument", "Invalid Encoding Method specified in Request"));
        }
        let bad_limit = |_| {
            Refusal::new("InvalidArgument", "Argument maxKeys must be an integer between 0 and 2147483647")
        };
        Ok(Self {
            bucket: bucket_name(world, params)?,
            prefix: params.text("prefix").unwrap_or_default(),
            limit: usize::try_from(limit).map_err(bad_limit)?.min(1000),
            encoded: encoding.is_some(),
        })
    }

    /// A key in the encoding of this response.
    fn shown(&self, key: &str) -> String {
        if self.encoded { utf8_percent_encode(key, PLAIN).to_string() } else { key.to_owned() }
    }

    fn encoding(&self) -> Option<&'static str> {
        self.encoded.then_some("url")
    }
}

pub(super) fn objects(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let question = Question::read(world, params)?;
    let delimiter = params.text("delimiter").filter(|delimiter| !delimiter.is_empty());
    let token = params.text("continuation-token");
    let start_after = params.text("start-after");
    params.ignore("list-type");
    params.ignore("fetch-owner"); // every object has the account as its owner
    params.done()?;
    let bad_token = |_| Refusal::new("InvalidArgument", "The continuation token provided is incorrect");
    let after = match &token {
        Some(token) => hex::decode(token).map_err(bad_token)?,
        None => start_after.clone().unwrap_or_default().into_bytes(),
    };
    let bucket = world.states.s3.bucket(&question.bucket)?;
    let (mut contents, mut prefixes) = (Vec::new(), BTreeSet::new());
    let mut next = None;
    let mut last = Vec::new();
    for (key, versions) in &bucket.objects {
        let Some((version, content)) = versions.last().and_then(|v| Some((v, v.content.as_ref()?))) else {
            continue;
        };
        let Some(rest) = key.strip_prefix(&question.prefix) else { continue };
        let common = delimiter
            .as_ref()
            .and_then(|delimiter| rest.find(delimiter.as_str()).map(|at| at + delimiter.len()))
            .map(|end| key[..question.prefix.len() + end].to_owned());
        let shown = common.as_ref().unwrap_or(key);
        if shown.as_bytes() <= after.as_slice() || prefixes.contains(shown) {
            continue;
        }
        if contents.len() + prefixes.len() >= question.limit {
            next = Some(hex::encode(&last)).filter(|_| question.limit > 0);
            break;
        }
        last = shown.as_bytes().to_vec();
        match common {
            Some(common) => {
                prefixes.insert(common);
            }
            None => contents.push(json!({
                "Key": question.shown(key),
                "LastModified": Clock::date(version.made_at),
                "ETag": content.etag,
                "Size": content.body.len(),
                "StorageClass": "STANDARD",
            })),
        }
    }
    let common: Vec<Value> = prefixes.iter().map(|p| json!({ "Prefix": question.shown(p) })).collect();
    Ok(rooted(
        "ListBucketResult",
        json!({
            "Name": question.bucket,
            "Prefix": question.shown(&question.prefix),
            "Delimiter": delimiter.map(|delimiter| question.shown(&delimiter)),
            "MaxKeys": question.limit,
            "EncodingType": question.encoding(),
            "KeyCount": contents.len() + common.len(),
            "IsTruncated": next.is_some(),
            "ContinuationToken": token,
            "NextContinuationToken": next,
            "StartAfter": start_after.map(|key| question.shown(&key)),
            "*Contents": contents,
            "*CommonPrefixes": common,
        }),
    ))
}

fn version_entry(question: &Question, key: &str, latest: bool, version: &Version) -> Value {
    let mut entry = json!({
        "Key": question.shown(key),
        "VersionId": version.id,
        "IsLatest": latest,
        "LastModified": Clock::date(version.made_at),
    });
    if let Some(content) = &version.content {
        entry["ETag"] = json!(content.etag);
        entry["Size"] = json!(content.body.len());
        entry["StorageClass"] = json!("STANDARD");
    }
    entry
}

pub(super) fn versions(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let question = Question::read(world, params)?;
    let key_marker = params.text("key-marker").filter(|marker| !marker.is_empty());
    let id_marker = params.text("version-id-marker").filter(|marker| !marker.is_empty());
    params.ignore("versions");
    params.done()?;
    if id_marker.is_some() && key_marker.is_none() {
        return Err(Refusal::new(
            "InvalidArgument",
            "A version-id marker cannot be specified without a key marker.",
        ));
    }
    let bucket = world.states.s3.bucket(&question.bucket)?;
    // Sorted by key, the newest version of each key first.
    let all = bucket.objects.iter().flat_map(|(key, versions)| {
        versions.iter().rev().enumerate().map(move |(place, version)| (key, place == 0, version))
    });
    let mut passed_marker = false;
    let mut page = all
        .filter(|(key, ..)| key.starts_with(&question.prefix))
        .filter(|(key, _, version)| match (&key_marker, &id_marker) {
            (Some(marker), Some(id)) if *key == marker => {
                let behind = passed_marker;
                passed_marker |= version.id == *id;
                behind
            }
            (Some(marker), _) => *key > marker,
            (None, _) => true,
        })
        .peekable();
    let (mut objects, mut markers) = (Vec::new(), Vec::new());
    let mut last = None;
    while objects.len() + markers.len() < question.limit
        && let Some((key, latest, version)) = page.next()
    {
        let entry = version_entry(&question, key, latest, version);
        if version.content.is_some() {
            objects.push(entry);
        } else {
            markers.push(entry);
        }
        last = Some((question.shown(key), version.id.clone()));
    }
    let truncated = page.peek().is_some() && question.limit > 0;
    let (next_key, next_id) = last.filter(|_| truncated).unzip();
    Ok(rooted(
        "ListVersionsResult",
        json!({
            "Name": question.bucket,
            "Prefix": question.shown(&question.prefix),
            "KeyMarker": key_marker.map(|key| question.shown(&key)).unwrap_or_default(),
            "VersionIdMarker": id_marker.unwrap_or_default(),
            "NextKeyMarker": next_key,
            "NextVersionIdMarker": next_id,
            "MaxKeys": question.limit,
            "EncodingType": question.encoding(),
            "IsTruncated": truncated,
            "*Version": objects,
            "*DeleteMarker": markers,
        }),
    ))
}
