//! Tags of clusters, services, tasks and task definitions, by ARN.

use serde_json::json;

use super::{definitions, invalid, needed, tag_list, tags_of, within_limit};
use crate::params::{Params, Refusal};
use crate::protocol::Reply;
use crate::world::{Tags, World};

pub(super) fn tag(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let arn = needed(params, "resourceArn", "resourceArn cannot be blank.")?;
    let more = tags_of(params)?;
    params.done()?;
    let tags = tags_at(world, &arn)?;
    let mut all = tags.clone();
    all.extend(more);
    within_limit(&all)?;
    *tags = all;
    Ok(Reply::empty())
}

pub(super) fn untag(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let arn = needed(params, "resourceArn", "resourceArn cannot be blank.")?;
    let keys = params.list("tagKeys");
    params.done()?;
    tags_at(world, &arn)?.retain(|key, _| !keys.contains(key));
    Ok(Reply::empty())
}

pub(super) fn list(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let arn = needed(params, "resourceArn", "resourceArn cannot be blank.")?;
    params.done()?;
    Ok(json!({ "tags": tag_list(tags_at(world, &arn)?) }).into())
}

/// The tags of the resource with this ARN. Inactive services and stopped tasks can no longer be tagged.
fn tags_at<'a>(world: &'a mut World, arn: &str) -> Result<&'a mut Tags, Refusal> {
    let now = world.now;
    let resource = arn.splitn(6, ':').nth(5).unwrap_or_default().to_owned();
    match resource.split_once('/') {
        Some(("cluster", name)) => world
            .states
            .ecs
            .clusters
            .get_mut(name)
            .filter(|cluster| !cluster.is_inactive(now) && cluster.arn == arn)
            .map(|cluster| &mut cluster.tags)
            .ok_or_else(|| Refusal::new("ClusterNotFoundException", "Cluster not found.")),
        Some(("service", key)) => world
            .states
            .ecs
            .services
            .get_mut(key)
            .filter(|service| !service.is_inactive() && service.arn == arn)
            .map(|service| &mut service.tags)
            .ok_or_else(|| invalid("The specified service is inactive or does not exist.")),
        Some(("task", _)) => world
            .states
            .ecs
            .tasks
            .get_mut(arn)
            .filter(|task| !task.ended)
            .map(|task| &mut task.tags)
            .ok_or_else(|| invalid("The specified task is stopped or does not exist.")),
        Some(("task-definition", _)) => definitions::find_mut(world, arn)
            .map(|definition| &mut definition.tags)
            .ok_or_else(|| invalid("The specified task definition does not exist.")),
        _ => Err(invalid(format!("Invalid ARN: {arn}"))),
    }
}
