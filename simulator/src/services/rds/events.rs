//! RDS's events about instances, with times.

use std::time::Duration;

use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::query::{Filters, Page};
use super::{contradiction, invalid};
use crate::clock::Clock;
use crate::params::{Params, Refusal};
use crate::protocol::Reply;
use crate::world::World;

/// Source: API reference, `DescribeEvents`: "events for the past 14 days".
const KEPT_MINUTES: i64 = 14 * 24 * 60;

/// An event of an instance, past or scheduled.
#[derive(Debug, Clone)]
pub(super) struct Event {
    at: Duration,
    source: String,
    category: &'static str,
    message: &'static str,
}

/// Adds an event of an instance at a time.
pub(super) fn add(world: &mut World, id: &str, at: Duration, category: &'static str, message: &'static str) {
    world.states.rds.events.push(Event { at, source: id.to_owned(), category, message });
}

/// Removes the scheduled events of an instance, because something else happened before.
pub(super) fn forget_future(world: &mut World, id: &str) {
    let now = world.now;
    world.states.rds.events.retain(|event| event.source != id || event.at <= now);
}

pub(super) fn describe(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let source = params.text("SourceIdentifier");
    let kind = params.text("SourceType");
    let start = instant(params, "StartTime")?;
    let end = instant(params, "EndTime")?;
    let duration = params.int("Duration")?;
    let categories = params.list("EventCategories");
    Filters::read(params, &[])?; // "This parameter isn't currently supported."
    let page = Page::read(params)?;
    params.done()?;
    if source.is_some() && kind.is_none() {
        return Err(contradiction("Cannot specify source identifier without source type"));
    }
    if let Some(kind) = kind.as_ref().filter(|kind| !KINDS.contains(&kind.as_str())) {
        return Err(invalid(format!("Invalid source type: {kind}")));
    }
    if duration.is_some_and(|minutes| !(1..=KEPT_MINUTES).contains(&minutes)) {
        return Err(invalid(format!("Duration must be between 1 and {KEPT_MINUTES} minutes")));
    }
    let now = Clock::epoch_seconds(world.now);
    let end = end.unwrap_or(now).min(now);
    let minutes = duration.unwrap_or(60);
    let start = match (start, end) {
        (Some(start), _) if duration.is_some() => start.max(end - seconds(minutes)),
        (Some(start), _) => start,
        (None, end) => end - seconds(minutes),
    };
    if start > end {
        return Err(contradiction("The start time must be before the end time"));
    }
    let start = start.max(now - seconds(KEPT_MINUTES));
    let of_kind = kind.as_deref().is_none_or(|kind| kind == "db-instance");
    let mut events: Vec<&Event> = world
        .states
        .rds
        .events
        .iter()
        .filter(|event| {
            let at = Clock::epoch_seconds(event.at);
            of_kind
                && (start..=end).contains(&at)
                && source.as_ref().is_none_or(|source| source.eq_ignore_ascii_case(&event.source))
                && (categories.is_empty() || categories.iter().any(|category| category == event.category))
        })
        .collect();
    events.sort_by_key(|event| event.at);
    let (documents, marker) = page.cut(events.into_iter().map(|event| document(world, event)).collect());
    Ok(json!({ "Events/Event": documents, "Marker": marker }).into())
}

/// The source types of events.
const KINDS: [&str; 8] = [
    "db-instance",
    "db-parameter-group",
    "db-security-group",
    "db-snapshot",
    "db-cluster",
    "db-cluster-snapshot",
    "custom-engine-version",
    "db-proxy",
];

#[expect(clippy::cast_precision_loss, reason = "minutes of two weeks fit")]
fn seconds(minutes: i64) -> f64 {
    minutes as f64 * 60.0
}

/// A time, as seconds since 1970.
fn instant(params: &Params, key: &str) -> Result<Option<f64>, Refusal> {
    let parse = |text: String| {
        let date = OffsetDateTime::parse(&text, &Rfc3339)
            .map_err(|_| invalid(format!("Invalid value '{text}' for {key}: it is no time")))?;
        #[expect(clippy::cast_precision_loss, reason = "milliseconds of our time fit")]
        Ok((date.unix_timestamp_nanos() / 1_000_000) as f64 / 1000.0)
    };
    params.text(key).map(parse).transpose()
}

fn document(world: &World, event: &Event) -> Value {
    json!({
        "SourceIdentifier": event.source,
        "SourceType": "db-instance",
        "Message": event.message,
        "EventCategories/EventCategory": [event.category],
        "Date": Clock::date(event.at),
        "SourceArn": world.arn("rds", &format!("db:{}", event.source)),
    })
}
