//! The permissions that a call needs. Source: "Required permissions for Amazon S3 API operations" in the S3 user guide.

use crate::authorization::AccessRequests;
use crate::params::Params;
use crate::world::World;

pub(super) fn access(world: &World, operation: &str, params: &Params, requests: &mut AccessRequests<'_>) {
    let bucket = format!("arn:aws:s3:::{}", params.text("Bucket").unwrap_or_default());
    let object = format!("{bucket}/{}", params.text("Key").unwrap_or_default());
    let versioned = params.has("versionId");
    match operation {
        "GetObject" | "HeadObject" => {
            let action = if versioned { "s3:GetObjectVersion" } else { "s3:GetObject" };
            requests.action(action).resource("object", object, None);
            // Without s3:ListBucket, S3 reports a missing object as access denied (GetObject in the API reference).
            if !versioned && !exists(world, params) {
                requests.other_action("s3:ListBucket", "bucket", bucket, None);
            }
        }
        "PutObject" | "DeleteObject" => {
            let deletes_a_version = versioned && operation == "DeleteObject";
            let action =
                if deletes_a_version { "s3:DeleteObjectVersion" } else { &format!("s3:{operation}") };
            requests.action(action).resource("object", object.clone(), None);
            // "How to prevent object overwrites with conditional writes": a caller that sends If-Match needs the
            // permission to read.
            if params.has("if-match") {
                requests.other_action("s3:GetObject", "object", object, None);
                if !exists(world, params) {
                    requests.other_action("s3:ListBucket", "bucket", bucket, None);
                }
            }
        }
        "HeadBucket" | "ListObjectsV2" => {
            requests.action("s3:ListBucket").resource("bucket", bucket, None);
        }
        "ListObjectVersions" => {
            requests.action("s3:ListBucketVersions").resource("bucket", bucket, None);
        }
        "ListBuckets" => {
            requests.action("s3:ListAllMyBuckets").no_resource();
        }
        _ => {
            requests.resource("bucket", bucket, None);
        }
    }
}

/// Whether the object has a version that is not a delete marker.
fn exists(world: &World, params: &Params) -> bool {
    let part = |name: &str| params.text(name).unwrap_or_default();
    world.states.s3.buckets.get(&part("Bucket")).is_some_and(|bucket| bucket.current(&part("Key")).is_some())
}
