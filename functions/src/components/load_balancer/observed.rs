//! The observed state of a stack's load balancer.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_ec2::types::Filter;
use aws_sdk_elasticloadbalancingv2::types::{Listener, LoadBalancer, Rule, TargetGroup};
use futures::future::try_join_all;
use stackdrop_specs::Spec;

use super::aliases::{self, Aliases};
use super::certificates::Certificates;
use super::dns::Zones;
use super::targets::{self, Target};
use super::{NAME, domains, groups, listeners, web_acl};
use crate::aws::error::{AwsResult, StepError};
use crate::contract::component::Work;
use crate::contract::tagging::filter;
use crate::deployment::names::{TAG_LOGICAL_ID, TAG_STACK, Tags};

/// Elastic Load Balancing's error codes for a resource that does not exist, or is not visible yet.
pub(super) const ABSENT: [&str; 4] =
    ["ListenerNotFound", "LoadBalancerNotFound", "RuleNotFound", "TargetGroupNotFound"];

/// What the state is read for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// To compare it with the spec.
    Compare,
    /// To delete it because the spec no longer has a load balancer.
    Prune,
    /// To delete all of it, wherever it comes from.
    Delete,
}

/// The specs with which this stack may have created resources: the current one, the baseline's, during a rollback the failed
/// one, and the one whose resources could not be pruned.
pub(super) fn known_specs<'a>(work: &'a Work<'_>) -> impl Iterator<Item = &'a Spec> {
    let baseline = work.deployment.baseline.as_ref();
    let unpruned = baseline.and_then(|baseline| baseline.unpruned_spec.as_deref());
    let baseline = baseline.map(|baseline| &baseline.spec);
    [Some(work.spec), baseline, work.deployment.attempted.as_ref(), unpruned].into_iter().flatten()
}

/// The observed state of this stack's load balancer. Only resources with the stack's tag, except in the fields `not_owned_…`.
#[derive(Debug)]
pub(super) struct Observed {
    pub(super) balancer: Option<Balancer>,
    /// The ARN of the load balancer's web ACL. Read only if a spec may have attached one.
    pub(super) web_acl: Option<String>,
    /// The ARN of a load balancer with the stack's name, but without its tag.
    pub(super) not_owned_balancer: Option<String>,
    /// Whether that load balancer has no stack's tag at all.
    pub(super) is_untagged: bool,
    pub(super) groups: Vec<Group>,
    /// The ARNs of target groups with the stack's prefix, but without its tag, by name.
    pub(super) not_owned_groups: BTreeMap<String, String>,
    /// The listeners by port.
    pub(super) listeners: BTreeMap<i32, Tagged<Listener>>,
    /// The ports of listeners that others added to the load balancer.
    pub(super) not_owned_ports: BTreeSet<i32>,
    /// The rules of the HTTPS listener, without the default rule.
    pub(super) rules: Vec<Tagged<Rule>>,
    /// The rules that others added to the HTTPS listener.
    pub(super) not_owned_rules: Vec<Rule>,
    pub(super) certificates: Certificates,
    pub(super) aliases: Aliases,
    /// The network interfaces that remain for a while after the load balancer's deletion.
    pub(super) interfaces: Vec<String>,
}

/// The load balancer.
#[derive(Debug)]
pub(super) struct Balancer {
    pub(super) detail: LoadBalancer,
    pub(super) tags: Tags,
    pub(super) attributes: BTreeMap<String, String>,
}

impl Balancer {
    pub(super) fn arn(&self) -> &str {
        self.detail.load_balancer_arn().unwrap_or_default()
    }
}

/// A target group.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) detail: TargetGroup,
    pub(super) tags: Tags,
    /// The spec's service that the group is for. A group without one is obsolete.
    pub(super) service: Option<String>,
    pub(super) attributes: BTreeMap<String, String>,
    /// The registered targets.
    pub(super) targets: Vec<Target>,
}

impl Group {
    pub(super) fn arn(&self) -> &str {
        self.detail.target_group_arn().unwrap_or_default()
    }

    /// Whether a request that is sent to it is answered.
    pub(super) fn has_healthy_target(&self) -> bool {
        self.targets.iter().any(Target::is_healthy)
    }

    /// The logical ID that it was created for.
    pub(super) fn logical_id(&self) -> &str {
        self.tags.get(TAG_LOGICAL_ID).map_or("target-group", String::as_str)
    }
}

/// A listener or a rule, with its tags.
#[derive(Debug)]
pub(super) struct Tagged<T> {
    pub(super) detail: T,
    pub(super) tags: Tags,
}

impl Observed {
    /// Reads it, unless one of the stack's zones is not open: then AWS would deny it.
    pub(super) async fn read(work: &Work<'_>, purpose: Purpose) -> Result<Self, StepError> {
        domains::check_zones(work)?;
        // The future of this many calls is too large for the stack.
        Box::pin(Self::read_all(work, purpose)).await
    }

    async fn read_all(work: &Work<'_>, purpose: Purpose) -> Result<Self, StepError> {
        let names = async {
            let zones = Zones::read(work, aliases::zone_ids(work)).await?;
            let read = tokio::try_join!(
                Certificates::read(work, &zones, purpose),
                Aliases::read(work, &zones, purpose),
            );
            read.map(|(certificates, aliases)| (zones, certificates, aliases))
        };
        let (balancer, all_groups, (zones, certificates, aliases)) =
            tokio::try_join!(find_balancer(work), find_groups(work), Box::pin(names))?;
        let arn = balancer.as_ref().and_then(|observed| observed.load_balancer_arn()).unwrap_or_default();
        let compares = purpose == Purpose::Compare;
        let (attributes, group_attributes, (all_listeners, all_rules)) = tokio::try_join!(
            async { if compares { find_attributes(work, arn).await } else { Ok(BTreeMap::new()) } },
            async { if compares { find_group_attributes(work, &all_groups).await } else { Ok(Vec::new()) } },
            async { if compares { find_listeners(work, arn).await } else { Ok((Vec::new(), Vec::new())) } },
        )?;
        let arns: Vec<&str> = balancer
            .iter()
            .filter_map(LoadBalancer::load_balancer_arn)
            .chain(all_groups.iter().filter_map(TargetGroup::target_group_arn))
            .chain(all_listeners.iter().filter_map(Listener::listener_arn))
            .chain(all_rules.iter().filter_map(Rule::rule_arn))
            .collect();
        let interfaces = async {
            // While a load balancer with this name exists, the interfaces belong to it.
            if compares || balancer.is_some() { Ok(Vec::new()) } else { find_interfaces(work).await }
        };
        let (mut tags, targets, interfaces) =
            tokio::try_join!(find_tags(work, &arns), targets::find_all(work, &all_groups), interfaces)?;
        let mut observed = Self {
            balancer: None,
            web_acl: None,
            not_owned_balancer: None,
            is_untagged: false,
            groups: Vec::new(),
            not_owned_groups: BTreeMap::new(),
            listeners: BTreeMap::new(),
            not_owned_ports: BTreeSet::new(),
            rules: Vec::new(),
            not_owned_rules: Vec::new(),
            certificates,
            aliases,
            interfaces,
        };
        observed.add_balancer(work, balancer, &mut tags, attributes);
        observed.add_groups(work, all_groups, &mut tags, group_attributes, targets);
        observed.add_listeners(work, all_listeners, &mut tags);
        observed.add_rules(work, all_rules, &mut tags);
        if compares {
            observed.web_acl = web_acl::find(work, observed.balancer.as_ref()).await?;
        }
        if purpose == Purpose::Delete {
            // The domain of a failed update is known only from its certificate.
            let own = observed.certificates.own.iter();
            let domains = own.flat_map(|own| own.names().into_iter().map(str::to_owned)).collect();
            observed.aliases.read_more(work, &zones, domains).await?;
        }
        Ok(observed)
    }

    fn add_balancer(
        &mut self,
        work: &Work<'_>,
        balancer: Option<LoadBalancer>,
        tags: &mut BTreeMap<String, Tags>,
        attributes: BTreeMap<String, String>,
    ) {
        let Some(detail) = balancer else { return };
        let arn = detail.load_balancer_arn().unwrap_or_default().to_owned();
        let tags = tags.remove(&arn).unwrap_or_default();
        if work.stack.owns(&tags) {
            self.balancer = Some(Balancer { detail, tags, attributes });
        } else {
            self.not_owned_balancer = Some(arn);
            self.is_untagged = !tags.contains_key(TAG_STACK);
        }
    }

    fn add_groups(
        &mut self,
        work: &Work<'_>,
        all: Vec<TargetGroup>,
        tags: &mut BTreeMap<String, Tags>,
        mut attributes: Vec<(String, BTreeMap<String, String>)>,
        mut targets: BTreeMap<String, Vec<Target>>,
    ) {
        for detail in all {
            let arn = detail.target_group_arn().unwrap_or_default();
            let tags = tags.remove(arn).unwrap_or_default();
            if !work.stack.owns(&tags) {
                let name = detail.target_group_name().unwrap_or_default().to_owned();
                self.not_owned_groups.insert(name, arn.to_owned());
                continue;
            }
            let attributes = attributes.iter_mut().find(|(of, _)| of == arn);
            let attributes = attributes.map(|(_, attributes)| std::mem::take(attributes)).unwrap_or_default();
            let service = groups::service_of(work, &detail);
            let targets = targets.remove(arn).unwrap_or_default();
            self.groups.push(Group { detail, tags, service, attributes, targets });
        }
    }

    fn add_listeners(&mut self, work: &Work<'_>, all: Vec<Listener>, tags: &mut BTreeMap<String, Tags>) {
        for detail in all {
            let port = detail.port().unwrap_or_default();
            let tags = tags.remove(detail.listener_arn().unwrap_or_default()).unwrap_or_default();
            if work.stack.owns(&tags) {
                self.listeners.insert(port, Tagged { detail, tags });
            } else {
                self.not_owned_ports.insert(port);
            }
        }
    }

    fn add_rules(&mut self, work: &Work<'_>, all: Vec<Rule>, tags: &mut BTreeMap<String, Tags>) {
        for detail in all {
            let tags = tags.remove(detail.rule_arn().unwrap_or_default()).unwrap_or_default();
            if work.stack.owns(&tags) {
                self.rules.push(Tagged { detail, tags });
            } else {
                self.not_owned_rules.push(detail);
            }
        }
    }

    /// The spec's service that a target group is for.
    pub(super) fn service_of(&self, arn: &str) -> Option<&str> {
        self.groups.iter().find(|group| group.arn() == arn)?.service.as_deref()
    }

    /// The target group of a service.
    pub(super) fn group(&self, service: &str) -> Option<&Group> {
        self.groups.iter().find(|group| group.service.as_deref() == Some(service))
    }
}

/// Finds the load balancer with the stack's name, managed by this stack or not.
pub(super) async fn find_balancer(work: &Work<'_>) -> Result<Option<LoadBalancer>, StepError> {
    let call = work.aws.elb().describe_load_balancers().names(work.stack.name.as_str()).send().await;
    let observed = call.unless(&["LoadBalancerNotFound"]).doing("looking for the load balancer")?;
    Ok(observed.and_then(|observed| observed.load_balancers).and_then(|observed| observed.into_iter().next()))
}

/// Finds the target groups with the stack's prefix. Another stack's groups may have it too; their tags differ.
async fn find_groups(work: &Work<'_>) -> Result<Vec<TargetGroup>, StepError> {
    let pages = work.aws.elb().describe_target_groups().into_paginator().items();
    let mut observed: Vec<TargetGroup> =
        pages.send().try_collect().await.doing("looking for the target groups")?;
    let prefix = format!("{}-", work.stack.name);
    observed.retain(|group| group.target_group_name().is_some_and(|name| name.starts_with(&prefix)));
    Ok(observed)
}

pub(super) async fn find_attributes(
    work: &Work<'_>,
    arn: &str,
) -> Result<BTreeMap<String, String>, StepError> {
    if arn.is_empty() {
        return Ok(BTreeMap::new());
    }
    let call = work.aws.elb().describe_load_balancer_attributes().load_balancer_arn(arn).send().await;
    let observed = call.stalled_on(
        &ABSENT,
        "the load balancer to become visible",
        format!("reading the attributes of load balancer {arn}"),
    )?;
    let pairs = observed.attributes.unwrap_or_default().into_iter();
    Ok(pairs.filter_map(|pair| Some((pair.key?, pair.value.unwrap_or_default()))).collect())
}

/// Reads the attributes of the desired groups, by ARN.
async fn find_group_attributes(
    work: &Work<'_>,
    groups: &[TargetGroup],
) -> Result<Vec<(String, BTreeMap<String, String>)>, StepError> {
    let desired = groups.iter().filter(|group| groups::service_of(work, group).is_some());
    try_join_all(desired.map(async |group| {
        let arn = group.target_group_arn().unwrap_or_default();
        let call = work.aws.elb().describe_target_group_attributes().target_group_arn(arn).send().await;
        let observed = call.stalled_on(
            &ABSENT,
            "the target group to become visible",
            format!("reading the attributes of target group {arn}"),
        )?;
        let pairs = observed.attributes.unwrap_or_default().into_iter();
        let pairs = pairs.filter_map(|pair| Some((pair.key?, pair.value.unwrap_or_default())));
        Ok::<_, StepError>((arn.to_owned(), pairs.collect()))
    }))
    .await
}

/// Reads the listeners, and the HTTPS listener's rules without the default rule.
async fn find_listeners(work: &Work<'_>, arn: &str) -> Result<(Vec<Listener>, Vec<Rule>), StepError> {
    if arn.is_empty() {
        return Ok(Default::default());
    }
    let pages = work.aws.elb().describe_listeners().load_balancer_arn(arn).into_paginator().items();
    let listeners: Result<Vec<Listener>, _> = pages.send().try_collect().await;
    let listeners =
        listeners.stalled_on(&ABSENT, "the load balancer to become visible", "reading the listeners")?;
    let https = listeners.iter().find(|listener| listener.port() == Some(listeners::HTTPS_PORT));
    let Some(https) = https.and_then(Listener::listener_arn) else { return Ok((listeners, Vec::new())) };
    let pages = work.aws.elb().describe_rules().listener_arn(https).into_paginator().items();
    let rules: Result<Vec<Rule>, _> = pages.send().try_collect().await;
    let mut rules =
        rules.stalled_on(&ABSENT, "the listener to become visible", "reading the listener rules")?;
    rules.retain(|rule| rule.is_default() != Some(true));
    Ok((listeners, rules))
}

/// Reads tags by ARN. A call accepts at most 20 ARNs.
async fn find_tags(work: &Work<'_>, arns: &[&str]) -> Result<BTreeMap<String, Tags>, StepError> {
    let calls = arns.chunks(20).map(async |arns| {
        let arns = arns.iter().map(ToString::to_string).collect();
        let call = work.aws.elb().describe_tags().set_resource_arns(Some(arns)).send().await;
        // A listed resource was deleted, or is not visible everywhere yet: the next attempt reads again.
        call.stalled_on(&ABSENT, "the resources of Elastic Load Balancing to become visible", "reading tags")
    });
    let responses = try_join_all(calls).await?;
    let described = responses.into_iter().flat_map(|response| response.tag_descriptions.unwrap_or_default());
    Ok(described
        .filter_map(|described| {
            let tags = described.tags.unwrap_or_default().into_iter();
            let tags = tags.filter_map(|tag| Some((tag.key?, tag.value.unwrap_or_default()))).collect();
            Some((described.resource_arn?, tags))
        })
        .collect())
}

/// Finds a load balancer's network interfaces by their description `ELB app/NAME/ID`: they have no tags.
pub(super) async fn find_interfaces(work: &Work<'_>) -> Result<Vec<String>, StepError> {
    interfaces(work, Vec::new()).await
}

/// Whether a load balancer with the stack's name uses the stack's security group, so that it is in the stack's network.
pub(super) async fn uses_own_group(work: &Work<'_>) -> Result<bool, StepError> {
    let own = filter("group-name", &work.stack.resource("load-balancer"));
    Ok(!interfaces(work, vec![own]).await?.is_empty())
}

async fn interfaces(work: &Work<'_>, more: Vec<Filter>) -> Result<Vec<String>, StepError> {
    let described = filter("description", &format!("ELB app/{}/*", work.stack.name));
    let filters = more.into_iter().chain([described]).collect();
    let call = work.aws.ec2().describe_network_interfaces().set_filters(Some(filters)).send().await;
    let observed = call.doing("looking for the network interfaces of the load balancer")?;
    let interfaces = observed.network_interfaces().iter();
    Ok(interfaces.filter_map(|interface| interface.network_interface_id().map(str::to_owned)).collect())
}

/// Converts tags to Elastic Load Balancing's type.
pub(super) fn elb_tags(tags: Tags) -> Vec<aws_sdk_elasticloadbalancingv2::types::Tag> {
    let tag =
        |(key, value)| aws_sdk_elasticloadbalancingv2::types::Tag::builder().key(key).value(value).build();
    tags.into_iter().map(tag).collect()
}

/// Adds missing tags to one of the stack's resources, and removes tags that the spec no longer has.
pub(super) async fn repair_tags(
    work: &Work<'_>,
    arn: &str,
    logical_id: &str,
    tags: &Tags,
) -> Result<(), StepError> {
    let (missing, stale) = (work.stack.tags_to_put(NAME, logical_id, tags), work.stack.stale_tags(tags));
    if !missing.is_empty() {
        let call = work.aws.elb().add_tags().resource_arns(arn).set_tags(Some(elb_tags(missing)));
        call.send().await.doing(format!("tagging {arn}"))?;
    }
    if !stale.is_empty() {
        let call = work.aws.elb().remove_tags().resource_arns(arn).set_tag_keys(Some(stale));
        call.send().await.doing(format!("removing tags from {arn}"))?;
    }
    Ok(())
}
