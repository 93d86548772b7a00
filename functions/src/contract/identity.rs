//! Which resources are the stack's, also after somebody removed or changed one of their tags.
//!
//! A resource with the stack's own tag is the stack's if one more of its tags, or the baseline, says so: the next deployment
//! repairs its other tags. A resource of the baseline that lacks the stack's tag is never changed, and never created a second
//! time: the plan has a problem that says how to put the tag back.

use std::collections::BTreeSet;

use aws_sdk_ec2::types::{Filter, Tag};

use crate::aws::error::StepError;
use crate::contract::component::Work;
use crate::contract::tagging::{filter, logical_id, read};
use crate::deployment::deletion::Deletion;
use crate::deployment::names::{TAG_COMPONENT, TAG_DEPLOYMENT, TAG_LOGICAL_ID, TAG_STACK};
use crate::deployment::plan::Plan;

/// The filter for the resources with the stack's tag: each type of resource belongs to one component.
pub(crate) fn of_stack(work: &Work<'_>) -> Vec<Filter> {
    vec![filter(&format!("tag:{TAG_STACK}"), work.stack.name.as_str())]
}

/// Whether a resource with the stack's tag is one that a component created: people may add the stack's tag to a resource of
/// their own, for its costs.
pub(crate) fn is_ours(work: &Work<'_>, component: &str, tags: &[Tag], id: Option<&str>) -> bool {
    let tags = read(tags);
    let is_known = || id.is_some_and(|id| baseline_ids(work).contains(id));
    work.stack.owns(&tags)
        && (tags.get(TAG_COMPONENT).is_some_and(|actual| actual == component)
            || tags.contains_key(TAG_LOGICAL_ID)
            || tags.contains_key(TAG_DEPLOYMENT)
            || is_known())
}

/// The IDs in the outputs of the last good deployment.
fn baseline_ids<'w>(work: &'w Work<'_>) -> BTreeSet<&'w str> {
    let Some(outputs) = work.deployment.baseline.as_ref().map(|baseline| &baseline.outputs) else {
        return BTreeSet::new();
    };
    let network = outputs.network.iter().flat_map(|network| {
        let maps = [
            &network.public_subnets,
            &network.private_subnets,
            &network.database_subnets,
            &network.private_tables,
        ];
        maps.into_iter().flat_map(|map| map.values()).chain([&network.vpc])
    });
    let egress = outputs.egress.iter().flat_map(|egress| {
        egress.nat_gateways.values().chain(egress.endpoints.values()).chain(&egress.addresses)
    });
    let instance = outputs.instance.iter().filter_map(|instance| instance.id.as_ref());
    network.chain(egress).chain(instance).map(String::as_str).collect()
}

/// Finds the logical ID of each resource of one type: from its tags, or if somebody changed them, from what it is used for.
/// A resource without any of them gets an ID that no spec has.
pub(crate) fn identify<T>(
    work: &Work<'_>,
    all: Vec<T>,
    tags: impl Fn(&T) -> &[Tag],
    known: &[String],
    used_as: impl Fn(&T) -> Option<String>,
) -> Vec<(String, T)> {
    let by_tag = |one: &T| known.iter().find(|known| *known == logical_id(tags(one)));
    let by_name = |one: &T| {
        let name = read(tags(one)).remove("Name")?;
        known.iter().find(|known| work.stack.resource(known) == name)
    };
    let (certain, doubtful): (Vec<T>, Vec<T>) =
        all.into_iter().partition(|one| by_tag(one).is_some() && by_tag(one) == by_name(one));
    let mut identified: Vec<(String, T)> =
        certain.into_iter().map(|one| (logical_id(tags(&one)).to_owned(), one)).collect();
    for one in doubtful {
        let is_free = |id: &&String| !identified.iter().any(|(taken, _)| taken == *id);
        let candidates = [by_name(&one).cloned(), by_tag(&one).cloned(), used_as(&one)];
        let found = candidates.into_iter().flatten().find(|id| is_free(&id));
        let found = found.or_else(|| by_tag(&one).cloned());
        identified.push((found.unwrap_or_else(|| logical_id(tags(&one)).to_owned()), one));
    }
    identified
}

/// A resource of the baseline that lacks the stack's tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Lost {
    pub(crate) logical_id: String,
    pub(crate) id: String,
}

impl Lost {
    pub(crate) fn new(logical_id: impl Into<String>, id: impl Into<String>) -> Self {
        Self { logical_id: logical_id.into(), id: id.into() }
    }

    fn what(&self) -> String {
        format!("{} ({})", self.logical_id, self.id)
    }
}

/// The advice about a resource of others; it may be the stack's, and only have lost the tag by which Stackdrop recognizes it.
pub(crate) fn or_tag(work: &Work<'_>, fix: &str) -> String {
    format!("{fix}; if it belongs to this stack, restore its tag {TAG_STACK} = {}", work.stack.name)
}

/// How to put the stack's tag on a resource of EC2 or Elastic Load Balancing back.
pub(crate) fn fix(work: &Work<'_>, id: &str) -> String {
    let stack = &work.stack.name;
    if id.contains(":elasticloadbalancing:") {
        return format!("run `aws elbv2 add-tags --resource-arns {id} --tags Key={TAG_STACK},Value={stack}`");
    }
    format!("run `aws ec2 create-tags --resources {id} --tags Key={TAG_STACK},Value={stack}`")
}

/// Adds a problem for each resource that lacks the stack's tag.
pub(crate) fn plan(work: &Work<'_>, lost: &[Lost], plan: &mut Plan) {
    for one in lost {
        plan.problem(
            &one.logical_id,
            format!("{} is part of the stack, but somebody removed or changed its tag {TAG_STACK}", one.id),
            fix(work, &one.id),
        );
    }
}

/// Fails if a resource lacks the stack's tag: a step must not create a second one.
pub(crate) fn refuse(work: &Work<'_>, lost: &[Lost]) -> Result<(), StepError> {
    match lost.first() {
        None => Ok(()),
        Some(one) => Err(StepError::NotOwned {
            what: format!("{}, which lacks the tag {TAG_STACK},", one.what()),
            fix: fix(work, &one.id),
        }),
    }
}

/// Adds each resource that lacks the stack's tag as remaining.
pub(crate) fn keep(work: &Work<'_>, lost: &[Lost], deletion: &mut Deletion) {
    for one in lost {
        let why = format!("somebody removed or changed its tag {TAG_STACK}: {}", fix(work, &one.id));
        deletion.held(&one.logical_id, &one.id, why);
    }
}
