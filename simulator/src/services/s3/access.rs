//! What a call asks IAM for. Source: "Required permissions for Amazon S3 API operations" in the S3 user guide.

use crate::authorization::Asks;
use crate::params::Params;
use crate::world::World;

pub(super) fn access(world: &World, operation: &str, params: &Params, asks: &mut Asks<'_>) {
    let bucket = format!("arn:aws:s3:::{}", params.text("Bucket").unwrap_or_default());
    let object = format!("{bucket}/{}", params.text("Key").unwrap_or_default());
    let versioned = params.has("versionId");
    match operation {
        "GetObject" | "HeadObject" => {
            let action = if versioned { "s3:GetObjectVersion" } else { "s3:GetObject" };
            asks.action(action).on("object", object, None);
            // Without s3:ListBucket, S3 answers for an object that is not there that access is denied (GetObject in the
            // API reference).
            if !versioned && !exists(world, params) {
                asks.also("s3:ListBucket", "bucket", bucket, None);
            }
        }
        "PutObject" | "DeleteObject" => {
            let deletes_a_version = versioned && operation == "DeleteObject";
            let action =
                if deletes_a_version { "s3:DeleteObjectVersion" } else { &format!("s3:{operation}") };
            asks.action(action).on("object", object.clone(), None);
            // "How to prevent object overwrites with conditional writes": who says If-Match must be allowed to read.
            if params.has("if-match") {
                asks.also("s3:GetObject", "object", object, None);
                if !exists(world, params) {
                    asks.also("s3:ListBucket", "bucket", bucket, None);
                }
            }
        }
        "HeadBucket" | "ListObjectsV2" => {
            asks.action("s3:ListBucket").on("bucket", bucket, None);
        }
        "ListObjectVersions" => {
            asks.action("s3:ListBucketVersions").on("bucket", bucket, None);
        }
        "ListBuckets" => {
            asks.action("s3:ListAllMyBuckets").whole();
        }
        _ => {
            asks.on("bucket", bucket, None);
        }
    }
}

/// Whether the object has a version that is no delete marker.
fn exists(world: &World, params: &Params) -> bool {
    let part = |name: &str| params.text(name).unwrap_or_default();
    world.s3.buckets.get(&part("Bucket")).is_some_and(|bucket| bucket.current(&part("Key")).is_some())
}
