//! Buckets and their versioning.

use http::StatusCode;
use serde_json::json;

use super::wire::element_text;
use super::{Bucket, Versioning, bucket_name};
use crate::clock::Clock;
use crate::params::{Params, Refusal};
use crate::protocol::{Body, Reply};
use crate::world::World;

pub(super) fn list(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    params.done()?;
    let buckets: Vec<_> = world
        .states
        .s3
        .buckets
        .iter()
        .map(|(name, bucket)| json!({ "Name": name, "CreationDate": Clock::date(bucket.made_at) }))
        .collect();
    Ok(rooted(
        "ListAllMyBucketsResult",
        json!({ "Owner": { "ID": world.account }, "Buckets/Bucket": buckets }),
    ))
}

pub(super) fn create(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let name = params.required("Bucket")?;
    params.ignore("content-type");
    params.done()?;
    check_name(&name)?;
    let place = element_text(&params.body(), "LocationConstraint")?.filter(|place| !place.is_empty());
    // us-east-1 is represented by omission.
    let wanted = Some(world.region.clone()).filter(|region| region != "us-east-1");
    if place != wanted {
        let place = place.as_deref().unwrap_or("unspecified");
        return Err(Refusal::new(
            "IllegalLocationConstraintException",
            format!(
                "The {place} location constraint is incompatible for the region specific endpoint this request was \
                 sent to."
            ),
        ));
    }
    if world.states.s3.buckets.contains_key(&name) {
        return Err(Refusal::new(
            "BucketAlreadyOwnedByYou",
            "Your previous request to create the named bucket succeeded and you already own it.",
        )
        .status(409));
    }
    let location = format!("/{name}");
    world.states.s3.buckets.insert(name, Bucket::new(world.now, Versioning::Never));
    Ok(Reply::empty().header("location", location))
}

/// Source: "General purpose bucket naming rules".
fn check_name(name: &str) -> Result<(), Refusal> {
    let ends = |byte: Option<&u8>| byte.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    let bytes = name.as_bytes();
    let legal = (3..=63).contains(&bytes.len())
        && bytes.iter().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b".-".contains(b))
        && ends(bytes.first())
        && ends(bytes.last())
        && !name.contains("..")
        && name.parse::<std::net::Ipv4Addr>().is_err()
        && !["xn--", "sthree-", "amzn-s3-demo-"].iter().any(|start| name.starts_with(start));
    if legal { Ok(()) } else { Err(Refusal::new("InvalidBucketName", "The specified bucket is not valid.")) }
}

pub(super) fn delete(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let name = bucket_name(world, params)?;
    params.done()?;
    if !world.states.s3.bucket(&name)?.objects.is_empty() {
        return Err(Refusal::new("BucketNotEmpty", "The bucket you tried to delete is not empty").status(409));
    }
    world.states.s3.buckets.remove(&name);
    Ok(Reply::empty().status(StatusCode::NO_CONTENT))
}

pub(super) fn head(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let name = bucket_name(world, params)?;
    params.done()?;
    world.states.s3.bucket(&name)?;
    Ok(Reply::empty().header("x-amz-bucket-region", &world.region))
}

pub(super) fn location(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let name = bucket_name(world, params)?;
    params.ignore("location");
    params.done()?;
    world.states.s3.bucket(&name)?;
    let place = if world.region == "us-east-1" { "" } else { &world.region };
    Ok(rooted("LocationConstraint", json!(place)))
}

pub(super) fn put_versioning(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let name = bucket_name(world, params)?;
    params.ignore("versioning");
    params.ignore("content-type");
    params.ignore("content-md5"); // compared with the body when the request was read
    params.ignore("x-amz-sdk-checksum-algorithm");
    params.ignore("x-amz-checksum-crc32");
    params.done()?;
    let versioning = match element_text(&params.body(), "Status")?.as_deref() {
        Some("Enabled") => Versioning::Enabled,
        Some("Suspended") => Versioning::Suspended,
        _ => {
            return Err(Refusal::new(
                "IllegalVersioningConfigurationException",
                "The Versioning element must be specified",
            ));
        }
    };
    world.states.s3.bucket(&name)?.versioning = versioning;
    Ok(Reply::empty())
}

pub(super) fn get_versioning(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let name = bucket_name(world, params)?;
    params.ignore("versioning");
    params.done()?;
    let status = match world.states.s3.bucket(&name)?.versioning {
        Versioning::Never => json!({}),
        Versioning::Enabled => json!({ "Status": "Enabled" }),
        Versioning::Suspended => json!({ "Status": "Suspended" }),
    };
    Ok(rooted("VersioningConfiguration", status))
}

pub(super) fn rooted(root: &'static str, document: serde_json::Value) -> Reply {
    let mut reply = Reply::empty();
    reply.body = Body::Rooted(root, document);
    reply
}
