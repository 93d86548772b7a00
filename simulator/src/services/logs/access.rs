//! What a call asks IAM for.

use super::{group_arn, stream_arn};
use crate::authorization::{Asks, denied_to_role};
use crate::params::Params;
use crate::world::World;

pub(super) fn access(world: &World, operation: &str, params: &Params, asks: &mut Asks<'_>) {
    let name = params.text("logGroupName").unwrap_or_default();
    let tags = |name: &str| world.logs.groups.get(name).map(|group| &group.tags);
    match operation {
        "DescribeLogGroups" => {
            asks.whole();
        }
        "GetLogEvents" => {
            let stream = params.text("logStreamName").unwrap_or_default();
            asks.on("log-stream", stream_arn(world, &name, &stream), None);
        }
        "TagResource" | "UntagResource" | "ListTagsForResource" => {
            let arn = params.text("resourceArn").unwrap_or_default();
            let name = arn.strip_prefix(&group_arn(world, "")).unwrap_or_default();
            asks.on("log-group", &arn, tags(name))
                .request_tags(&params.map("tags"))
                .tag_keys(params.list("tagKeys"));
        }
        "CreateLogGroup" => create_access(world, params, &name, asks),
        _ => {
            asks.on("log-group", stream_arn(world, &name, ""), tags(&name));
        }
    }
}

/// A group with tags needs `logs:TagResource`, whose resource has no `:*`. Source: `logGroupArn` of `LogGroup` in the
/// API reference, and AWS's message "not authorized to perform `CreateLogGroup` with Tags".
fn create_access(world: &World, params: &Params, name: &str, asks: &mut Asks<'_>) {
    let tags = params.map("tags");
    asks.on("log-group", stream_arn(world, name, ""), None).request_tags(&tags);
    if !tags.is_empty() {
        asks.also("logs:TagResource", "log-group", group_arn(world, name), None).request_tags(&tags);
    }
}

/// What keeps a role from writing into a stream of its own: nothing, or AWS's message.
pub(crate) fn denied_writing(
    world: &World,
    role: &str,
    session: &str,
    group: &str,
    stream: &str,
) -> Option<String> {
    ["CreateLogStream", "PutLogEvents"].into_iter().find_map(|operation| {
        let mut asks = Asks::new(world, "logs", operation);
        asks.on("log-stream", stream_arn(world, group, stream), None);
        denied_to_role(role, session, asks)
    })
}
