//! The permissions that a call needs.

use super::{group_arn, stream_arn};
use crate::authorization::{AccessRequests, denied_to_role};
use crate::params::Params;
use crate::world::World;

pub(super) fn access(world: &World, operation: &str, params: &Params, requests: &mut AccessRequests<'_>) {
    let name = params.text("logGroupName").unwrap_or_default();
    let tags = |name: &str| world.states.logs.groups.get(name).map(|group| &group.tags);
    match operation {
        "DescribeLogGroups" => {
            requests.no_resource();
        }
        "GetLogEvents" => {
            let stream = params.text("logStreamName").unwrap_or_default();
            requests.resource("log-stream", stream_arn(world, &name, &stream), None);
        }
        "TagResource" | "UntagResource" | "ListTagsForResource" => {
            let arn = params.text("resourceArn").unwrap_or_default();
            let name = arn.strip_prefix(&group_arn(world, "")).unwrap_or_default();
            requests
                .resource("log-group", &arn, tags(name))
                .request_tags(&params.map("tags"))
                .tag_keys(params.list("tagKeys"));
        }
        "CreateLogGroup" => create_access(world, params, &name, requests),
        _ => {
            requests.resource("log-group", stream_arn(world, &name, ""), tags(&name));
        }
    }
}

/// Creating a group with tags needs `logs:TagResource`, whose resource has no `:*`. Source: `logGroupArn` of
/// `LogGroup` in the API reference, and AWS's message "not authorized to perform `CreateLogGroup` with Tags".
fn create_access(world: &World, params: &Params, name: &str, requests: &mut AccessRequests<'_>) {
    let tags = params.map("tags");
    requests.resource("log-group", stream_arn(world, name, ""), None).request_tags(&tags);
    if !tags.is_empty() {
        requests
            .other_action("logs:TagResource", "log-group", group_arn(world, name), None)
            .request_tags(&tags);
    }
}

/// AWS's message if a role cannot write to its stream.
pub(crate) fn denied_writing(
    world: &World,
    role: &str,
    session: &str,
    group: &str,
    stream: &str,
) -> Option<String> {
    ["CreateLogStream", "PutLogEvents"].into_iter().find_map(|operation| {
        let mut requests = AccessRequests::new(world, "logs", operation);
        requests.resource("log-stream", stream_arn(world, group, stream), None);
        denied_to_role(role, session, requests)
    })
}
