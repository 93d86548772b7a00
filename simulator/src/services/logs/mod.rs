//! `CloudWatch` Logs: log groups, their retention, and the lines that containers write.

mod access;

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use super::{Service, unknown};
use crate::clock::Clock;
use crate::incident::Incident;
use crate::inventory::Item;
use crate::latency::Timing;
use crate::params::{Params, Refusal};
use crate::protocol::Reply;
use crate::world::{Tags, World};

pub(crate) use access::denied_writing;

pub(crate) static SERVICE: Service = Service {
    inventory,
    incidents: &[
        Incident { name: "log-group-deleted", what: "Somebody deletes a log group", cause: delete_by_hand },
        Incident {
            name: "log-retention-removed",
            what: "Somebody keeps the lines of a log group for ever",
            cause: keep_for_ever,
        },
    ],
    timings: &[
        ("CreateLogGroup", Timing::Create("cloudwatch_log_group")),
        ("DeleteLogGroup", Timing::Delete("cloudwatch_log_group")),
    ],
    ..Service::json("logs", "1.1", "Logs_20140328", act, access::access)
};

/// The state of this service.
#[derive(Debug, Clone, Default)]
pub(crate) struct State {
    groups: BTreeMap<String, Group>,
}

#[derive(Debug, Clone)]
struct Group {
    created: Duration,
    class: String,
    retention_days: Option<i64>,
    tags: Tags,
    streams: BTreeMap<String, Stream>,
}

#[derive(Debug, Clone)]
struct Stream {
    created: Duration,
    lines: Vec<(Duration, String)>,
}

/// The values that `PutRetentionPolicy` accepts. Source: `retentionInDays` in the `CloudWatch` Logs API reference.
const RETENTIONS: [i64; 22] =
    [1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653];

fn act(world: &mut World, operation: &str, params: &Params) -> Result<Reply, Refusal> {
    match operation {
        "CreateLogGroup" => create_group(world, params),
        "DescribeLogGroups" => describe_groups(world, params),
        "DeleteLogGroup" => delete_group(world, params),
        "PutRetentionPolicy" => put_retention(world, params),
        "DeleteRetentionPolicy" => delete_retention(world, params),
        "TagResource" => tag(world, params),
        "UntagResource" => untag(world, params),
        "ListTagsForResource" => list_tags(world, params),
        "DescribeLogStreams" => describe_streams(world, params),
        "GetLogEvents" => get_events(world, params),
        "FilterLogEvents" => filter_events(world, params),
        _ => Err(unknown("logs", operation)),
    }
}

fn inventory(world: &World, items: &mut Vec<Item>) {
    for (name, group) in &world.states.logs.groups {
        items.push(Item::new("AWS::Logs::LogGroup", name, &group.tags).named(name));
    }
}

/// Whether a log group exists.
pub(crate) fn exists(world: &World, name: &str) -> bool {
    world.states.logs.groups.contains_key(name)
}

/// Creates a group for a service that writes to it, unless it exists. The group has neither tags nor a retention, and
/// outlives the resource that writes to it.
pub(crate) fn ensure(world: &mut World, name: &str, at: Duration) {
    world.states.logs.groups.entry(name.into()).or_insert_with(|| Group {
        created: at,
        class: "STANDARD".into(),
        retention_days: None,
        tags: Tags::new(),
        streams: BTreeMap::new(),
    });
}

/// Writes a line to a stream, which is created if it does not exist. Without the group the line is lost, as on AWS.
pub(crate) fn write(world: &mut World, group: &str, stream: &str, at: Duration, line: &str) {
    if let Some(group) = world.states.logs.groups.get_mut(group) {
        let stream =
            group.streams.entry(stream.into()).or_insert_with(|| Stream { created: at, lines: Vec::new() });
        stream.lines.push((at, line.into()));
    }
}

fn create_group(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let name = group_name(params)?;
    let class = params.text("logGroupClass").unwrap_or_else(|| "STANDARD".into());
    let tags = checked(params.map("tags"))?;
    params.done()?;
    if !["STANDARD", "INFREQUENT_ACCESS", "DELIVERY"].contains(&class.as_str()) {
        return Err(invalid(format!(
            "1 validation error detected: Value '{class}' at 'logGroupClass' failed to satisfy constraint: Member must satisfy enum value set: [STANDARD, INFREQUENT_ACCESS, DELIVERY]"
        )));
    }
    if exists(world, &name) {
        return Err(Refusal::new("ResourceAlreadyExistsException", "The specified log group already exists"));
    }
    let group = Group { created: world.now, class, retention_days: None, tags, streams: BTreeMap::new() };
    world.states.logs.groups.insert(name, group);
    Ok(Reply::empty())
}

fn describe_groups(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let prefix = params.text("logGroupNamePrefix");
    let pattern = params.text("logGroupNamePattern");
    if prefix.is_some() && pattern.is_some() {
        return Err(invalid(
            "LogGroup name prefix and LogGroup name pattern are mutually exclusive parameters.",
        ));
    }
    let groups = world.states.logs.groups.iter().filter(|(name, _)| {
        prefix.as_ref().is_none_or(|prefix| name.starts_with(prefix))
            && pattern.as_ref().is_none_or(|pattern| name.to_lowercase().contains(&pattern.to_lowercase()))
    });
    let documents = groups.map(|(name, group)| group_document(world, name, group)).collect();
    page(params, "logGroups", documents)
}

/// The name of a stack's first log group.
fn first_group(world: &World, stack: &str) -> Option<String> {
    let start = format!("/stackdrop/{stack}/");
    world.states.logs.groups.keys().find(|name| name.starts_with(&start)).cloned()
}

fn delete_by_hand(world: &mut World, stack: &str) -> Vec<String> {
    let deleted = first_group(world, stack);
    if let Some(name) = &deleted {
        world.states.logs.groups.remove(name);
    }
    deleted.into_iter().collect()
}

fn keep_for_ever(world: &mut World, stack: &str) -> Vec<String> {
    let changed = first_group(world, stack);
    if let Some(group) = changed.as_ref().and_then(|name| world.states.logs.groups.get_mut(name)) {
        group.retention_days = None;
    }
    changed.into_iter().collect()
}

fn delete_group(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let name = group_name(params)?;
    params.done()?;
    world.states.logs.groups.remove(&name).map(|_| Reply::empty()).ok_or_else(no_group)
}

fn put_retention(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let name = group_name(params)?;
    let days = params.int("retentionInDays")?;
    params.done()?;
    let group = world.states.logs.groups.get_mut(&name).ok_or_else(no_group)?;
    let days = days.filter(|days| RETENTIONS.contains(days)).ok_or_else(|| {
        invalid("1 validation error detected: Value at 'retentionInDays' failed to satisfy constraint: Member must satisfy enum value set: [1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653]")
    })?;
    group.retention_days = Some(days);
    Ok(Reply::empty())
}

fn delete_retention(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let name = group_name(params)?;
    params.done()?;
    world.states.logs.groups.get_mut(&name).ok_or_else(no_group)?.retention_days = None;
    Ok(Reply::empty())
}

fn tag(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let arn = needed(params, "resourceArn")?;
    let more = checked(params.map("tags"))?;
    params.done()?;
    let group = group_by_arn(world, &arn)?;
    let mut tags = group.tags.clone();
    tags.extend(more);
    if tags.len() > 50 {
        return Err(Refusal::new("TooManyTagsException", "A resource can have no more than 50 tags."));
    }
    group.tags = tags;
    Ok(Reply::empty())
}

fn untag(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let arn = needed(params, "resourceArn")?;
    let keys = params.list("tagKeys");
    params.done()?;
    group_by_arn(world, &arn)?.tags.retain(|key, _| !keys.contains(key));
    Ok(Reply::empty())
}

fn list_tags(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let arn = needed(params, "resourceArn")?;
    params.done()?;
    let group = group_by_arn(world, &arn)?;
    Ok(json!({ "tags": group.tags }).into())
}

fn describe_streams(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let name = group_name(params)?;
    let prefix = params.text("logStreamNamePrefix").unwrap_or_default();
    let by_time = match params.text("orderBy").as_deref() {
        None | Some("LogStreamName") => false,
        Some("LastEventTime") => true,
        Some(other) => {
            return Err(invalid(format!(
                "1 validation error detected: Value '{other}' at 'orderBy' failed to satisfy constraint: Member must satisfy enum value set: [LogStreamName, LastEventTime]"
            )));
        }
    };
    let descending = params.flag("descending")?.unwrap_or(false);
    if by_time && !prefix.is_empty() {
        return Err(invalid("Cannot order by LastEventTime with a logStreamNamePrefix."));
    }
    let group = world.states.logs.groups.get(&name).ok_or_else(no_group)?;
    let mut streams: Vec<(&String, &Stream)> =
        group.streams.iter().filter(|(stream, _)| stream.starts_with(&prefix)).collect();
    if by_time {
        streams.sort_by_key(|(_, stream)| stream.lines.last().map(|(at, _)| *at));
    }
    if descending {
        streams.reverse();
    }
    let documents = streams
        .iter()
        .map(|(stream, state)| {
            json!({
                "logStreamName": stream,
                "creationTime": millis(state.created),
                "firstEventTimestamp": state.lines.first().map(|(at, _)| millis(*at)),
                "lastEventTimestamp": state.lines.last().map(|(at, _)| millis(*at)),
                "arn": stream_arn(world, &name, stream),
                "storedBytes": 0,
            })
        })
        .collect();
    page(params, "logStreams", documents)
}

fn get_events(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let name = group_name(params)?;
    let stream = needed(params, "logStreamName")?;
    let within = Span::read(params)?;
    let limit = limit(params, 10_000)?;
    let from_head = params.flag("startFromHead")?.unwrap_or(false);
    let token = params.text("nextToken");
    params.done()?;
    let group = world.states.logs.groups.get(&name).ok_or_else(no_group)?;
    let lines = &group.streams.get(&stream).ok_or_else(no_stream)?.lines;
    let lines: Vec<&(Duration, String)> = lines.iter().filter(|(at, _)| within.holds(*at)).collect();
    let start = match token.as_deref().map(|token| token.trim_start_matches(['f', 'b', '/']).parse::<usize>())
    {
        Some(Ok(start)) => start.min(lines.len()),
        Some(Err(_)) => return Err(invalid("The specified nextToken is invalid.")),
        None if from_head => 0,
        None => lines.len().saturating_sub(limit),
    };
    let events: Vec<Value> = lines
        .iter()
        .skip(start)
        .take(limit)
        .map(|(at, line)| json!({ "timestamp": millis(*at), "ingestionTime": millis(*at), "message": line }))
        .collect();
    Ok(json!({
        "nextForwardToken": format!("f/{}", start + events.len()),
        "nextBackwardToken": format!("b/{}", start.saturating_sub(limit)),
        "events": events,
    })
    .into())
}

fn filter_events(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let name = group_name(params)?;
    let names = params.list("logStreamNames");
    let prefix = params.text("logStreamNamePrefix").unwrap_or_default();
    let pattern = params.text("filterPattern").unwrap_or_default();
    let within = Span::read(params)?;
    params.ignore("interleaved"); // AWS itself ignores it: all answers are interleaved
    if !names.is_empty() && !prefix.is_empty() {
        return Err(invalid("logStreamNamePrefix and logStreamNames are mutually exclusive."));
    }
    let group = world.states.logs.groups.get(&name).ok_or_else(no_group)?;
    if names.iter().any(|stream| !group.streams.contains_key(stream)) {
        return Err(no_stream());
    }
    let wanted =
        |stream: &String| (names.is_empty() || names.contains(stream)) && stream.starts_with(&prefix);
    let terms: Vec<&str> = pattern.split_whitespace().map(|term| term.trim_matches('"')).collect();
    let mut found: Vec<(Duration, &String, &String)> = group
        .streams
        .iter()
        .filter(|(stream, _)| wanted(stream))
        .flat_map(|(stream, state)| state.lines.iter().map(move |(at, line)| (*at, stream, line)))
        .filter(|(at, _, line)| within.holds(*at) && terms.iter().all(|term| line.contains(term)))
        .collect();
    found.sort_by_key(|(at, _, _)| *at);
    let events = found
        .iter()
        .enumerate()
        .map(|(number, (at, stream, line))| {
            json!({
                "logStreamName": stream,
                "timestamp": millis(*at),
                "ingestionTime": millis(*at),
                "message": line,
                "eventId": format!("{}{number:08}", millis(*at)),
            })
        })
        .collect();
    page(params, "events", events)
}

/// The requested span of time, in milliseconds since 1970.
struct Span {
    start: Option<i64>,
    end: Option<i64>,
}

impl Span {
    fn read(params: &Params) -> Result<Self, Refusal> {
        Ok(Self { start: params.int("startTime")?, end: params.int("endTime")? })
    }

    /// The span includes its start, but not its end.
    fn holds(&self, at: Duration) -> bool {
        let at = millis(at);
        self.start.is_none_or(|start| at >= start) && self.end.is_none_or(|end| at < end)
    }
}

/// One page of a list by `nextToken`; `DescribeLogGroups` and `DescribeLogStreams` return at most 50 items.
fn page(params: &Params, name: &str, all: Vec<Value>) -> Result<Reply, Refusal> {
    let most = if name == "events" { 10_000 } else { 50 };
    let limit = limit(params, most)?;
    let start = match params.text("nextToken") {
        Some(token) => token.parse().map_err(|_| invalid("The specified nextToken is invalid."))?,
        None => 0,
    };
    params.done()?;
    let total = all.len();
    let items: Vec<Value> = all.into_iter().skip(start).take(limit).collect();
    let end = start + items.len();
    let mut document = json!({ name: items });
    if end < total {
        document["nextToken"] = json!(end.to_string());
    }
    Ok(document.into())
}

fn limit(params: &Params, most: usize) -> Result<usize, Refusal> {
    match params.int("limit")? {
        None => Ok(most),
        Some(limit) => usize::try_from(limit).ok().filter(|limit| (1..=most).contains(limit)).ok_or_else(|| {
            invalid(format!("1 validation error detected: Value '{limit}' at 'limit' failed to satisfy constraint: Member must have value less than or equal to {most}"))
        }),
    }
}

fn group_document(world: &World, name: &str, group: &Group) -> Value {
    let arn = group_arn(world, name);
    let mut document = json!({
        "logGroupName": name,
        "creationTime": millis(group.created),
        "metricFilterCount": 0,
        "arn": format!("{arn}:*"),
        "logGroupArn": arn,
        "storedBytes": 0,
        "logGroupClass": group.class,
    });
    if let Some(days) = group.retention_days {
        document["retentionInDays"] = json!(days);
    }
    document
}

fn group_arn(world: &World, name: &str) -> String {
    world.arn("logs", &format!("log-group:{name}"))
}

/// The ARN of a stream. For the group itself, most actions use an empty stream name: AWS's messages say "not
/// authorized to perform: logs:PutRetentionPolicy on resource: arn:aws:logs:…:log-group:NAME:log-stream:".
fn stream_arn(world: &World, group: &str, stream: &str) -> String {
    format!("{}:log-stream:{stream}", group_arn(world, group))
}

/// A group by its ARN, which must not end in `:*`. Source: `resourceArn` of `TagResource` in the API reference.
fn group_by_arn<'a>(world: &'a mut World, arn: &str) -> Result<&'a mut Group, Refusal> {
    let start = group_arn(world, "");
    if arn.ends_with(":*") {
        return Err(invalid("Invalid resourceArn: the ARN of a log group must not end in :*"));
    }
    let group = arn.strip_prefix(&start).and_then(|name| world.states.logs.groups.get_mut(name));
    group.ok_or_else(no_group)
}

fn group_name(params: &Params) -> Result<String, Refusal> {
    let name = needed(params, "logGroupName")?;
    let legal = |character: char| character.is_ascii_alphanumeric() || "_-/.#".contains(character);
    if name.len() > 512 || !name.chars().all(legal) {
        return Err(invalid(format!(
            "1 validation error detected: Value '{name}' at 'logGroupName' failed to satisfy constraint: Member must satisfy regular expression pattern: [\\.\\-_/#A-Za-z0-9]+"
        )));
    }
    Ok(name)
}

fn checked(tags: Tags) -> Result<Tags, Refusal> {
    if let Some(key) = tags.keys().find(|key| key.starts_with("aws:")) {
        return Err(invalid(format!("Tag keys starting with 'aws:' are reserved for internal use: {key}")));
    }
    let unfit = |(key, value): (&String, &String)| {
        !(1..=128).contains(&key.chars().count()) || value.chars().count() > 256
    };
    if tags.len() > 50 || tags.iter().any(unfit) {
        return Err(invalid("A resource can have no more than 50 tags, of 128 and 256 characters."));
    }
    Ok(tags)
}

fn needed(params: &Params, key: &str) -> Result<String, Refusal> {
    params.text(key).filter(|text| !text.is_empty()).ok_or_else(|| {
        invalid(format!("1 validation error detected: Value null at '{key}' failed to satisfy constraint: Member must not be null"))
    })
}

fn invalid(message: impl Into<String>) -> Refusal {
    Refusal::new("InvalidParameterException", message)
}

fn no_group() -> Refusal {
    Refusal::new("ResourceNotFoundException", "The specified log group does not exist.")
}

fn no_stream() -> Refusal {
    Refusal::new("ResourceNotFoundException", "The specified log stream does not exist.")
}

/// Milliseconds since 1970, the form of this service's times.
#[expect(clippy::cast_possible_truncation, reason = "whole milliseconds of this century fit")]
fn millis(at: Duration) -> i64 {
    (Clock::epoch_seconds(at) * 1000.0).round() as i64
}
