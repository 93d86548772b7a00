//! The history and the result of an execution, as the simulation of the installation reports them.
//!
//! Source: API reference, `GetExecutionHistory` and `HistoryEvent`.

use std::time::Duration;

use serde_json::{Value, json};

use super::{Page, find, needed};
use crate::clock::Clock;
use crate::params::{Params, Refusal};
use crate::protocol::Reply;
use crate::world::World;

/// One event of an execution's history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryEvent {
    /// From 1, without gaps.
    pub id: u64,
    /// The ID of the event that caused it; 0 for the first.
    pub previous: u64,
    /// AWS's type of the event, such as `TaskStateEntered`.
    pub kind: String,
    /// The name of the details' member, such as `stateEnteredEventDetails`, and the details.
    pub details: Option<(String, Value)>,
}

/// The result of an execution.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExecutionEnd {
    /// The output, a JSON text.
    pub output: Option<String>,
    /// The name of the error, if it failed.
    pub error: Option<String>,
    /// The error's cause.
    pub cause: Option<String>,
}

fn shown(at: Duration, event: &HistoryEvent, with_data: bool) -> Value {
    let mut document = json!({
        "timestamp": Clock::epoch_seconds(at),
        "type": event.kind,
        "id": event.id,
        "previousEventId": event.previous,
    });
    if let Some((member, details)) = &event.details {
        let mut details = details.clone();
        if let (false, Value::Object(fields)) = (with_data, &mut details) {
            fields.retain(|name, _| !["input", "output", "parameters"].contains(&name.as_str()));
        }
        document[member] = details;
    }
    document
}

pub(super) fn get(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let arn = needed(params, "executionArn")?;
    let backwards = params.flag("reverseOrder")?.unwrap_or(false);
    let with_data = params.flag("includeExecutionData")?.unwrap_or(true);
    let page = Page::read(params)?;
    params.done()?;
    find(world, &arn)?;
    let events = world.states.sfn.histories.get(&arn).map(Vec::as_slice).unwrap_or_default();
    let in_order: Vec<&(Duration, HistoryEvent)> =
        if backwards { events.iter().rev().collect() } else { events.iter().collect() };
    Ok(page.cut("events", &in_order, |(at, event)| shown(*at, event, with_data)).into())
}
