//! The events that S3 sends by EventBridge when an object is created or deleted.

use std::time::SystemTime;

use serde_json::{Value, json};
use stackdrop_functions::Settings;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// The event of an upload (Amazon S3 User Guide, "EventBridge event message structure").
pub(super) fn created(
    settings: &Settings,
    key: &str,
    version: &str,
    size: usize,
    etag: Option<&str>,
    now: SystemTime,
) -> Value {
    let mut event = event(settings, "Object Created", key, version, now);
    event["detail"]["object"]["size"] = json!(size);
    event["detail"]["object"]["etag"] = json!(etag.unwrap_or_default().trim_matches('"'));
    event["detail"]["reason"] = json!("PutObject");
    event
}

/// The event of a deletion in a versioned bucket: the version is that of the delete marker.
pub(super) fn deleted(settings: &Settings, key: &str, marker: &str, now: SystemTime) -> Value {
    let mut event = event(settings, "Object Deleted", key, marker, now);
    event["detail"]["reason"] = json!("DeleteObject");
    event["detail"]["deletion-type"] = json!("Delete Marker Created");
    event
}

fn event(settings: &Settings, kind: &str, key: &str, version: &str, now: SystemTime) -> Value {
    json!({
        "version": "0",
        "id": "17793124-05d4-b198-2fde-7ededc63b103",
        "detail-type": kind,
        "source": "aws.s3",
        "account": settings.account,
        "time": OffsetDateTime::from(now).format(&Rfc3339).unwrap_or_default(),
        "region": settings.region,
        "resources": [format!("arn:aws:s3:::{}", settings.bucket)],
        "detail": {
            "version": "0",
            "bucket": { "name": settings.bucket },
            "object": { "key": key, "version-id": version, "sequencer": "00617F08299329D189" },
            "request-id": "N4N7GDK58NMKJ12R",
            "requester": settings.account,
            "source-ip-address": "192.0.2.1",
        },
    })
}
