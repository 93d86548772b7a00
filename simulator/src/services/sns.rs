//! SNS: topics, and the messages published to them.
//!
//! Source of limits and messages: API reference, `Publish` and `CreateTopic`. Topics are not in the inventory: they
//! belong to the installation and have no fixed cost.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::json;

use super::{ErrorForm, Service, unknown};
use crate::authorization::AccessRequests;
use crate::params::{Params, Refusal};
use crate::protocol::Reply;
use crate::world::{self, Tags, World};

/// The most bytes of a message: 256 KiB.
const LONGEST: usize = 262_144;
const LONGEST_SUBJECT: usize = 100;

pub(crate) static SERVICE: Service = Service {
    denial: ErrorForm::new("AuthorizationError", "", 403),
    ..Service::query("sns", "http://sns.amazonaws.com/doc/2010-03-31/", act, access)
};

/// The state of this service.
#[derive(Debug, Clone, Default)]
pub(crate) struct State {
    /// By ARN.
    topics: BTreeMap<String, Topic>,
    published: Vec<MessageView>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Topic {
    attributes: BTreeMap<String, String>,
    tags: Tags,
}

/// A message that was published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageView {
    /// When, since the account was opened.
    pub at: Duration,
    /// The topic's ARN.
    pub topic: String,
    /// The subject, if it has one.
    pub subject: Option<String>,
    /// The message itself.
    pub message: String,
}

/// Every published message, in order.
pub(crate) fn published(world: &World) -> Vec<MessageView> {
    world.states.sns.published.clone()
}

/// The permissions that a call needs.
fn access(world: &World, operation: &str, params: &Params, requests: &mut AccessRequests<'_>) {
    if operation == "ListTopics" {
        requests.no_resource();
        return;
    }
    let name = params.text("Name").map(|name| world.arn("sns", &name));
    let arn = params.text("TopicArn").or_else(|| params.text("TargetArn")).or(name).unwrap_or_default();
    requests.resource("topic", &arn, None);
    let topic = world.states.sns.topics.get(&arn);
    let key = topic.and_then(|topic| topic.attributes.get("KmsMasterKeyId"));
    // "Configuring AWS KMS permissions" in the SNS developer guide: a publisher needs both.
    if let (Some(key), "Publish") = (key, operation) {
        let via = format!("sns.{}.amazonaws.com", world.region);
        for action in ["kms:GenerateDataKey", "kms:Decrypt"] {
            requests.other_action(action, "key", key, None).key("kms:ViaService", &via);
        }
    }
}

fn act(world: &mut World, operation: &str, params: &Params) -> Result<Reply, Refusal> {
    match operation {
        "Publish" => publish(world, params),
        "CreateTopic" => create(world, params),
        "GetTopicAttributes" => attributes(world, params),
        "ListTopics" => list(world, params),
        _ => Err(unknown("sns", operation)),
    }
}

/// Adds a topic, encrypted with a key (an ARN) if there is one.
pub(crate) fn seed_topic(world: &mut World, arn: &str, key: Option<&str>) {
    let topic = world.states.sns.topics.entry(arn.to_owned()).or_default();
    topic.attributes.extend(key.map(|key| ("KmsMasterKeyId".to_owned(), key.to_owned())));
}

fn invalid(what: &str) -> Refusal {
    Refusal::new("InvalidParameter", format!("Invalid parameter: {what}"))
}

/// The topic with that ARN.
fn find<'w>(world: &'w World, arn: &str) -> Result<&'w Topic, Refusal> {
    if !arn.starts_with("arn:aws:sns:") || arn.split(':').count() != 6 {
        return Err(invalid("TopicArn"));
    }
    world
        .states
        .sns
        .topics
        .get(arn)
        .ok_or_else(|| Refusal::new("NotFound", "Topic does not exist").status(404))
}

fn publish(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let topic = params.text("TopicArn").or_else(|| params.text("TargetArn"));
    let message = params.text("Message").unwrap_or_default();
    let subject = params.text("Subject");
    let structure = params.text("MessageStructure");
    params.ignore("MessageAttributes"); // for subscriptions, which are not simulated
    params.done()?;
    let topic =
        topic.ok_or_else(|| invalid("TopicArn or TargetArn Reason: no value for required parameter"))?;
    if message.is_empty() {
        return Err(invalid("Empty message"));
    }
    if message.len() > LONGEST {
        return Err(invalid("Message too long"));
    }
    if subject.as_ref().is_some_and(|subject| !is_subject(subject)) {
        return Err(invalid("Subject"));
    }
    match structure.as_deref() {
        None => {}
        Some("json") => check_json(&message)?,
        Some(_) => return Err(invalid("MessageStructure")),
    }
    find(world, &topic)?;
    let number = world.number();
    world.states.sns.published.push(MessageView { at: world.now, topic, subject, message });
    Ok(json!({ "MessageId": format!("00000000-0000-5000-8000-{number:012x}") }).into())
}

/// ASCII text that starts with a letter, a number or a punctuation mark, without line breaks or control characters.
fn is_subject(subject: &str) -> bool {
    (1..=LONGEST_SUBJECT).contains(&subject.len())
        && subject.starts_with(|first: char| first.is_ascii_graphic())
        && subject.bytes().all(|byte| (b' '..=b'~').contains(&byte))
}

/// With `json` as its structure, a message has a text for each protocol and a default one.
fn check_json(message: &str) -> Result<(), Refusal> {
    let parsed: serde_json::Value = serde_json::from_str(message)
        .map_err(|_| invalid("Message Structure - JSON message body failed to parse"))?;
    if parsed.get("default").is_some_and(serde_json::Value::is_string) {
        Ok(())
    } else {
        Err(invalid("Message Structure - No default entry in JSON message body"))
    }
}

fn create(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let name = params.required("Name")?;
    let tags = world::tags(params, "Tags", "Key", "Value").map_err(|refusal| invalid(&refusal.message))?;
    let mut attributes = BTreeMap::new();
    for entry in params.structs("Attributes") {
        let key = entry.required("key")?;
        if !["DisplayName", "KmsMasterKeyId"].contains(&key.as_str()) {
            return Err(invalid(&format!("AttributeName: the simulator does not know {key}")));
        }
        attributes.insert(key, entry.text("value").unwrap_or_default());
    }
    params.done()?;
    if tags.len() > 50 {
        return Err(Refusal::new(
            "TagLimitExceeded",
            "Could not complete request: tag quota of per resource exceeded",
        ));
    }
    let legal = (1..=256).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
    if !legal {
        return Err(invalid("Topic Name"));
    }
    let arn = world.arn("sns", &name);
    let topic = Topic { attributes, tags };
    match world.states.sns.topics.get(&arn) {
        Some(there) if *there != topic => {
            return Err(invalid("Attributes Reason: Topic already exists with different attributes"));
        }
        Some(_) => {}
        None => {
            world.states.sns.topics.insert(arn.clone(), topic);
        }
    }
    Ok(json!({ "TopicArn": arn }).into())
}

/// The most topics of one page (API reference).
const PAGE: usize = 100;

fn list(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let token = params.text("NextToken");
    params.done()?;
    let from: usize = match token {
        None => 0,
        Some(token) => token.parse().map_err(|_| invalid("NextToken"))?,
    };
    let arns = world.states.sns.topics.keys().skip(from).take(PAGE);
    let topics: Vec<_> = arns.map(|arn| json!({ "TopicArn": arn })).collect();
    let next = (world.states.sns.topics.len() > from + PAGE).then(|| (from + PAGE).to_string());
    Ok(json!({ "Topics": topics, "NextToken": next }).into())
}

fn attributes(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let arn = params.required("TopicArn")?;
    params.done()?;
    let topic = find(world, &arn)?;
    let mut all = topic.attributes.clone();
    all.entry("DisplayName".into()).or_default();
    let owner = arn.split(':').nth(4).unwrap_or_default().to_owned();
    for (key, value) in [
        ("TopicArn", arn.clone()),
        ("Owner", owner),
        ("SubscriptionsPending", "0".into()),
        ("SubscriptionsConfirmed", "0".into()),
        ("SubscriptionsDeleted", "0".into()),
    ] {
        all.insert(key.into(), value);
    }
    let entries: Vec<_> = all.iter().map(|(key, value)| json!({ "key": key, "value": value })).collect();
    Ok(json!({ "Attributes/entry": entries }).into())
}
