//! EC2's tags: filters for the stack's resources, and tags for create calls.

use aws_sdk_ec2::types::{Filter, ResourceType, Tag, TagSpecification};

use crate::aws::error::{AwsResult, StepError};
use crate::contract::component::Work;
use crate::deployment::names::{TAG_LOGICAL_ID, Tags};

/// A filter by one value.
pub(crate) fn filter(name: &str, value: &str) -> Filter {
    Filter::builder().name(name).values(value).build()
}

/// A filter by any of several values.
pub(crate) fn filter_any(name: &str, values: &[&str]) -> Filter {
    Filter::builder().name(name).set_values(Some(values.iter().map(ToString::to_string).collect())).build()
}

/// The tags of a new resource, for its create call.
pub(crate) fn specification(kind: ResourceType, tags: Tags) -> TagSpecification {
    TagSpecification::builder().resource_type(kind).set_tags(Some(ec2_tags(tags))).build()
}

/// Converts tags to EC2's type.
pub(crate) fn ec2_tags(tags: Tags) -> Vec<Tag> {
    tags.into_iter().map(|(key, value)| Tag::builder().key(key).value(value).build()).collect()
}

/// Converts tags from EC2's type.
pub(crate) fn read(tags: &[Tag]) -> Tags {
    tags.iter()
        .filter_map(|tag| Some((tag.key()?.to_owned(), tag.value().unwrap_or_default().to_owned())))
        .collect()
}

/// The logical ID in a resource's tags; empty if there is none.
pub(crate) fn logical_id(tags: &[Tag]) -> &str {
    tags.iter().find(|tag| tag.key() == Some(TAG_LOGICAL_ID)).and_then(Tag::value).unwrap_or_default()
}

/// Adds missing tags to one of the stack's EC2 resources, and removes tags that the spec no longer has.
pub(crate) async fn repair(
    work: &Work<'_>,
    component: &str,
    logical_id: &str,
    id: &str,
    observed: &Tags,
) -> Result<(), StepError> {
    add(work, &[id], work.stack.tags_to_put(component, logical_id, observed)).await?;
    remove(work, &[id], &work.stack.stale_tags(observed)).await
}

/// Adds tags to the stack's EC2 resources.
pub(crate) async fn add(work: &Work<'_>, ids: &[&str], tags: Tags) -> Result<(), StepError> {
    if tags.is_empty() {
        return Ok(());
    }
    let call = work.aws.ec2().create_tags().set_resources(Some(owned(ids))).set_tags(Some(ec2_tags(tags)));
    call.send().await.doing(format!("tagging {}", ids.join(", "))).map(drop)
}

/// Removes tags from the stack's EC2 resources, whatever their values are.
pub(crate) async fn remove(work: &Work<'_>, ids: &[&str], keys: &[String]) -> Result<(), StepError> {
    if keys.is_empty() {
        return Ok(());
    }
    let tags = keys.iter().map(|key| Tag::builder().key(key).build()).collect();
    let call = work.aws.ec2().delete_tags().set_resources(Some(owned(ids))).set_tags(Some(tags));
    call.send().await.doing(format!("removing tags from {}", ids.join(", "))).map(drop)
}

fn owned(ids: &[&str]) -> Vec<String> {
    ids.iter().map(ToString::to_string).collect()
}
