//! The events that EventBridge delivers: those of S3 when an object is created or deleted, and those of Step Functions
//! when an execution failed, was stopped or timed out.

use std::time::{Duration, SystemTime};

use serde_json::{Value, json};
use stackdrop_functions::Settings;
use stackdrop_simulator::{Clock, ExecutionEnd, ExecutionView};
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

/// The event of a deletion in a versioned bucket. The version is that of the delete marker.
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
        "time": text(now),
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

fn text(moment: SystemTime) -> String {
    OffsetDateTime::from(moment).format(&Rfc3339).unwrap_or_default()
}

/// The event of an execution that ended (Step Functions Developer Guide, "Automating Step Functions event
/// delivery with EventBridge").
pub(super) fn ended(execution: &ExecutionView, end: &ExecutionEnd, now: SystemTime, input: &Value) -> Value {
    #[expect(clippy::cast_possible_truncation, reason = "milliseconds since 1970 fit")]
    let millis = |at: Duration| (Clock::epoch_seconds(at) * 1000.0) as i64;
    json!({
        "version": "0",
        "id": format!("{}-status", execution.name),
        "detail-type": "Step Functions Execution Status Change",
        "source": "aws.states",
        "account": execution.arn.split(':').nth(4),
        "time": text(now),
        "region": execution.arn.split(':').nth(3),
        "resources": [execution.arn],
        "detail": {
            "executionArn": execution.arn,
            "stateMachineArn": execution.state_machine,
            "name": execution.name,
            "status": execution.status,
            "startDate": millis(execution.started_at),
            "stopDate": execution.ended_at.map(millis),
            "input": input.to_string(),
            "inputDetails": { "included": true },
            "output": null,
            "outputDetails": null,
            "error": end.error,
            "cause": end.cause,
        },
    })
}
