//! EventBridge: the events on the default bus. Rules are not simulated here.
//!
//! Limits and messages: API reference, `PutEvents`; "Amazon EventBridge quotas".

use std::time::Duration;

use serde_json::{Value, json};

use super::{Service, unknown};
use crate::authorization::AccessRequests;
use crate::params::{Params, Refusal};
use crate::protocol::Reply;
use crate::world::World;

/// The most entries of one request.
const MOST_ENTRIES: usize = 10;
/// The most bytes of one entry: 256 KiB.
const LONGEST_ENTRY: usize = 262_144;

pub(crate) static SERVICE: Service = Service::json("events", "1.1", "AWSEvents", act, access);

/// The state of this service.
#[derive(Debug, Clone, Default)]
pub(crate) struct State {
    put: Vec<EventView>,
}

/// An event that was put on the default bus.
#[derive(Debug, Clone, PartialEq)]
pub struct EventView {
    /// When, since the account was opened.
    pub at: Duration,
    /// The source.
    pub source: String,
    /// The detail type.
    pub detail_type: String,
    /// The detail.
    pub detail: Value,
}

/// Every event that was put on the default bus, in order.
pub(crate) fn put_so_far(world: &World) -> Vec<EventView> {
    world.states.events.put.clone()
}

/// The permissions that a call needs.
fn access(world: &World, _: &str, params: &Params, requests: &mut AccessRequests<'_>) {
    for entry in params.structs("Entries") {
        let bus = entry.text("EventBusName").unwrap_or_else(|| "default".into());
        let arn =
            if bus.starts_with("arn:") { bus } else { world.arn("events", &format!("event-bus/{bus}")) };
        requests
            .resource("event-bus", arn, None)
            .key("events:source", entry.text("Source").unwrap_or_default());
    }
}

fn act(world: &mut World, operation: &str, params: &Params) -> Result<Reply, Refusal> {
    match operation {
        "PutEvents" => put(world, params),
        _ => Err(unknown("events", operation)),
    }
}

fn put(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let mut entries = Vec::new();
    for entry in params.structs("Entries") {
        let source = entry.text("Source").unwrap_or_default();
        let detail_type = entry.text("DetailType").unwrap_or_default();
        let detail = entry.text("Detail").unwrap_or_default();
        let bus = entry.text("EventBusName").unwrap_or_else(|| "default".into());
        let resources = entry.list("Resources");
        entries.push((source, detail_type, detail, bus, resources));
    }
    params.done()?;
    if entries.is_empty() || entries.len() > MOST_ENTRIES {
        return Err(Refusal::new(
            "ValidationException",
            format!(
                "1 validation error detected: Value at 'entries' failed to satisfy constraint: Member must have length between 1 and {MOST_ENTRIES}"
            ),
        ));
    }
    let mut failed = 0;
    let mut answers = Vec::new();
    for (source, detail_type, detail, bus, resources) in entries {
        match accepted(world, &source, &detail_type, &detail, &bus, &resources) {
            Ok(event) => {
                world.states.events.put.push(event);
                let number = world.number();
                answers.push(json!({ "EventId": format!("00000000-0000-4000-8000-{number:012x}") }));
            }
            // A refused entry fails alone: the call succeeds.
            Err((code, message)) => {
                failed += 1;
                answers.push(json!({ "ErrorCode": code, "ErrorMessage": message }));
            }
        }
    }
    Ok(json!({ "FailedEntryCount": failed, "Entries": answers }).into())
}

fn accepted(
    world: &World,
    source: &str,
    detail_type: &str,
    detail: &str,
    bus: &str,
    resources: &[String],
) -> Result<EventView, (&'static str, String)> {
    let missing = |what: &str| {
        Err((
            "InvalidArgument",
            format!("Parameter {what} is not valid. Reason: {what} is a required argument."),
        ))
    };
    if source.is_empty() {
        return missing("Source");
    }
    if detail_type.is_empty() {
        return missing("DetailType");
    }
    if detail.is_empty() {
        return missing("Detail");
    }
    if source.starts_with("aws.") {
        return Err(("NotAuthorizedForSourceException", "Not authorized for the source.".into()));
    }
    if bus != "default" && bus != world.arn("events", "event-bus/default") {
        return Err(("ResourceNotFoundException", format!("Event bus {bus} does not exist.")));
    }
    let size =
        source.len() + detail_type.len() + detail.len() + resources.iter().map(String::len).sum::<usize>();
    if size > LONGEST_ENTRY {
        return Err(("InvalidArgument", "Total size of the entry is over the limit.".into()));
    }
    let parsed: Result<Value, _> = serde_json::from_str(detail);
    match parsed {
        Ok(detail @ Value::Object(_)) => {
            Ok(EventView { at: world.now, source: source.into(), detail_type: detail_type.into(), detail })
        }
        _ => Err(("MalformedDetail", "Detail is malformed.".into())),
    }
}
