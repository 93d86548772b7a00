//! What stands of a stack's load balancer: the only reader of it.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_elasticloadbalancingv2::types::{Listener, LoadBalancer, Rule, TargetGroup};
use futures::future::try_join_all;
use stackdrop_specs::Spec;

use super::certificate::Certificates;
use super::dns::Aliases;
use super::{NAME, groups, listeners};
use crate::aws::error::{Answer, StepError};
use crate::contract::component::Work;
use crate::contract::tagging::filter;
use crate::deployment::names::{TAG_LOGICAL_ID, Tags};

/// How AWS says that something of Elastic Load Balancing is not there, or not there yet.
pub(super) const ABSENT: [&str; 4] =
    ["ListenerNotFound", "LoadBalancerNotFound", "RuleNotFound", "TargetGroupNotFound"];

/// What is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// All that is compared with the spec.
    Compare,
    /// What is removed because the spec does not have a load balancer any more.
    Drop,
    /// What is removed, wherever it came from: all certificates of the account are asked for their tags.
    Remove,
}

/// The specs by which this stack may have made something: what is wanted, the last good one, and while returning to
/// that the one that failed.
pub(super) fn known_specs<'a>(work: &'a Work<'_>) -> impl Iterator<Item = &'a Spec> {
    let baseline = work.deployment.baseline.as_ref().map(|baseline| &baseline.spec);
    [Some(work.spec), baseline, work.deployment.attempted.as_ref()].into_iter().flatten()
}

/// Everything of this stack's load balancer. Only what carries the stack's tag, unless a field's name says so.
#[derive(Debug)]
pub(super) struct Observed {
    pub(super) balancer: Option<Balancer>,
    /// The ARN of a load balancer that has our name but not our tag.
    pub(super) not_owned_balancer: Option<String>,
    pub(super) groups: Vec<Group>,
    /// The names of target groups that begin like ours but do not have our tag.
    pub(super) not_owned_groups: BTreeSet<String>,
    /// By port.
    pub(super) listeners: BTreeMap<i32, Tagged<Listener>>,
    /// The ports of our load balancer on which somebody else listens.
    pub(super) not_owned_ports: BTreeSet<i32>,
    /// The rules of the HTTPS listener, its default one aside.
    pub(super) rules: Vec<Tagged<Rule>>,
    /// Rules that somebody else has put there.
    pub(super) not_owned_rules: Vec<Rule>,
    pub(super) certificates: Certificates,
    pub(super) aliases: Aliases,
    /// The network interfaces that a deleted load balancer leaves behind for a while.
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
    /// The service that it is for, by the spec. Without one it is superfluous.
    pub(super) service: Option<String>,
    pub(super) attributes: BTreeMap<String, String>,
    /// The targets in it. They are read only where they decide whether it can be deleted.
    pub(super) targets: Vec<String>,
}

impl Group {
    pub(super) fn arn(&self) -> &str {
        self.detail.target_group_arn().unwrap_or_default()
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
    pub(super) async fn read(work: &Work<'_>, purpose: Purpose) -> Result<Self, StepError> {
        // So many calls at once make a future that is too large for the stack.
        Box::pin(Self::read_all(work, purpose)).await
    }

    async fn read_all(work: &Work<'_>, purpose: Purpose) -> Result<Self, StepError> {
        let (balancer, all_groups, certificates, aliases) = tokio::try_join!(
            find_balancer(work),
            find_groups(work),
            Certificates::read(work, purpose),
            Aliases::read(work, purpose),
        )?;
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
        let mut tags = find_tags(work, &arns).await?;
        let mut observed = Self {
            balancer: None,
            not_owned_balancer: None,
            groups: Vec::new(),
            not_owned_groups: BTreeSet::new(),
            listeners: BTreeMap::new(),
            not_owned_ports: BTreeSet::new(),
            rules: Vec::new(),
            not_owned_rules: Vec::new(),
            certificates,
            aliases,
            interfaces: Vec::new(),
        };
        observed.sort_balancer(work, balancer, &mut tags, attributes);
        observed.sort_groups(work, all_groups, &mut tags, group_attributes);
        observed.sort_listeners(work, all_listeners, &mut tags);
        observed.sort_rules(work, all_rules, &mut tags);
        observed.read_users(work, purpose).await?;
        if purpose == Purpose::Remove {
            // What a failed update had led to us is known by its certificate only.
            let domains = observed.certificates.own.iter().map(|own| own.domain().to_owned()).collect();
            observed.aliases.read_more(work, domains).await?;
        }
        Ok(observed)
    }

    /// What decides whether something can go: targets of groups, interfaces of a deleted load balancer.
    async fn read_users(&mut self, work: &Work<'_>, purpose: Purpose) -> Result<(), StepError> {
        let compares = purpose == Purpose::Compare;
        let groups = self.groups.iter_mut().filter(|group| !compares || group.service.is_none());
        let groups = try_join_all(groups.map(async |group| {
            group.targets = find_targets(work, group.arn()).await?;
            Ok::<_, StepError>(())
        }));
        let interfaces = async {
            // While a load balancer has the name, the interfaces are its own.
            if compares || self.balancer.is_some() || self.not_owned_balancer.is_some() {
                Ok(Vec::new())
            } else {
                find_interfaces(work).await
            }
        };
        let (_, interfaces) = tokio::try_join!(groups, interfaces)?;
        self.interfaces = interfaces;
        Ok(())
    }

    fn sort_balancer(
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
        }
    }

    fn sort_groups(
        &mut self,
        work: &Work<'_>,
        all: Vec<TargetGroup>,
        tags: &mut BTreeMap<String, Tags>,
        mut attributes: Vec<(String, BTreeMap<String, String>)>,
    ) {
        for detail in all {
            let arn = detail.target_group_arn().unwrap_or_default();
            let tags = tags.remove(arn).unwrap_or_default();
            if !work.stack.owns(&tags) {
                self.not_owned_groups.insert(detail.target_group_name().unwrap_or_default().to_owned());
                continue;
            }
            let attributes = attributes.iter_mut().find(|(of, _)| of == arn);
            let attributes = attributes.map(|(_, attributes)| std::mem::take(attributes)).unwrap_or_default();
            let service = groups::service_of(work, &detail);
            self.groups.push(Group { detail, tags, service, attributes, targets: Vec::new() });
        }
    }

    fn sort_listeners(&mut self, work: &Work<'_>, all: Vec<Listener>, tags: &mut BTreeMap<String, Tags>) {
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

    fn sort_rules(&mut self, work: &Work<'_>, all: Vec<Rule>, tags: &mut BTreeMap<String, Tags>) {
        for detail in all {
            let tags = tags.remove(detail.rule_arn().unwrap_or_default()).unwrap_or_default();
            if work.stack.owns(&tags) {
                self.rules.push(Tagged { detail, tags });
            } else {
                self.not_owned_rules.push(detail);
            }
        }
    }

    /// The target group of a service.
    pub(super) fn group(&self, service: &str) -> Option<&Group> {
        self.groups.iter().find(|group| group.service.as_deref() == Some(service))
    }
}

/// The load balancer with our name, whosever it is.
pub(super) async fn find_balancer(work: &Work<'_>) -> Result<Option<LoadBalancer>, StepError> {
    let call = work.aws.elb().describe_load_balancers().names(work.stack.name.as_str()).send().await;
    let observed = call.unless(&["LoadBalancerNotFound"]).doing("looking for the load balancer")?;
    Ok(observed.and_then(|observed| observed.load_balancers).and_then(|observed| observed.into_iter().next()))
}

/// All target groups whose names begin like ours. (Another stack's may, too: the tags tell them apart.)
async fn find_groups(work: &Work<'_>) -> Result<Vec<TargetGroup>, StepError> {
    let pages = work.aws.elb().describe_target_groups().into_paginator().items();
    let mut observed: Vec<TargetGroup> =
        pages.send().try_collect().await.doing("looking for the target groups")?;
    let prefix = format!("{}-", work.stack.name);
    observed.retain(|group| group.target_group_name().is_some_and(|name| name.starts_with(&prefix)));
    Ok(observed)
}

async fn find_attributes(work: &Work<'_>, arn: &str) -> Result<BTreeMap<String, String>, StepError> {
    if arn.is_empty() {
        return Ok(BTreeMap::new());
    }
    let call = work.aws.elb().describe_load_balancer_attributes().load_balancer_arn(arn).send().await;
    let observed = call.pending_on(&ABSENT, "the load balancer to be visible", format!("reading {arn}"))?;
    let pairs = observed.attributes.unwrap_or_default().into_iter();
    Ok(pairs.filter_map(|pair| Some((pair.key?, pair.value.unwrap_or_default()))).collect())
}

/// The attributes of the groups that the spec needs, by ARN.
async fn find_group_attributes(
    work: &Work<'_>,
    groups: &[TargetGroup],
) -> Result<Vec<(String, BTreeMap<String, String>)>, StepError> {
    let desired = groups.iter().filter(|group| groups::service_of(work, group).is_some());
    try_join_all(desired.map(async |group| {
        let arn = group.target_group_arn().unwrap_or_default();
        let call = work.aws.elb().describe_target_group_attributes().target_group_arn(arn).send().await;
        let observed =
            call.pending_on(&ABSENT, "the target group to be visible", format!("reading {arn}"))?;
        let pairs = observed.attributes.unwrap_or_default().into_iter();
        let pairs = pairs.filter_map(|pair| Some((pair.key?, pair.value.unwrap_or_default())));
        Ok::<_, StepError>((arn.to_owned(), pairs.collect()))
    }))
    .await
}

/// The listeners, and the HTTPS listener's rules but the default one.
async fn find_listeners(work: &Work<'_>, arn: &str) -> Result<(Vec<Listener>, Vec<Rule>), StepError> {
    if arn.is_empty() {
        return Ok(Default::default());
    }
    let pages = work.aws.elb().describe_listeners().load_balancer_arn(arn).into_paginator().items();
    let listeners: Result<Vec<Listener>, _> = pages.send().try_collect().await;
    let listeners =
        listeners.pending_on(&ABSENT, "the load balancer to be visible", "reading its listeners")?;
    let https = listeners.iter().find(|listener| listener.port() == Some(listeners::HTTPS_PORT));
    let Some(https) = https.and_then(Listener::listener_arn) else { return Ok((listeners, Vec::new())) };
    let pages = work.aws.elb().describe_rules().listener_arn(https).into_paginator().items();
    let rules: Result<Vec<Rule>, _> = pages.send().try_collect().await;
    let mut rules = rules.pending_on(&ABSENT, "the listener to be visible", "reading its rules")?;
    rules.retain(|rule| rule.is_default() != Some(true));
    Ok((listeners, rules))
}

/// Tags by ARN. A call takes 20 ARNs at most.
async fn find_tags(work: &Work<'_>, arns: &[&str]) -> Result<BTreeMap<String, Tags>, StepError> {
    let calls = arns.chunks(20).map(async |arns| {
        let arns = arns.iter().map(ToString::to_string).collect();
        let call = work.aws.elb().describe_tags().set_resource_arns(Some(arns)).send().await;
        // Something has gone, or is not everywhere yet, since it was listed: the next look tells.
        call.pending_on(&ABSENT, "Elastic Load Balancing to agree on what exists", "reading tags")
    });
    let answers = try_join_all(calls).await?;
    let described = answers.into_iter().flat_map(|answer| answer.tag_descriptions.unwrap_or_default());
    Ok(described
        .filter_map(|described| {
            let tags = described.tags.unwrap_or_default().into_iter();
            let tags = tags.filter_map(|tag| Some((tag.key?, tag.value.unwrap_or_default()))).collect();
            Some((described.resource_arn?, tags))
        })
        .collect())
}

async fn find_targets(work: &Work<'_>, arn: &str) -> Result<Vec<String>, StepError> {
    let call = work.aws.elb().describe_target_health().target_group_arn(arn).send().await;
    let observed = call.unless(&ABSENT).doing(format!("reading the targets of {arn}"))?;
    let described = observed.and_then(|observed| observed.target_health_descriptions).unwrap_or_default();
    let targets = described.iter().filter_map(|described| described.target());
    Ok(targets
        .map(|target| format!("{}:{}", target.id().unwrap_or_default(), target.port().unwrap_or_default()))
        .collect())
}

/// An application load balancer's interfaces carry no tag, but its name: `ELB app/NAME/ID`.
async fn find_interfaces(work: &Work<'_>) -> Result<Vec<String>, StepError> {
    let described = filter("description", &format!("ELB app/{}/*", work.stack.name));
    let call = work.aws.ec2().describe_network_interfaces().filters(described).send().await;
    let observed = call.doing("looking for network interfaces of the load balancer")?;
    let interfaces = observed.network_interfaces().iter();
    Ok(interfaces.filter_map(|interface| interface.network_interface_id().map(str::to_owned)).collect())
}

/// Tags in Elastic Load Balancing's shape.
pub(super) fn elb_tags(tags: Tags) -> Vec<aws_sdk_elasticloadbalancingv2::types::Tag> {
    let tag =
        |(key, value)| aws_sdk_elasticloadbalancingv2::types::Tag::builder().key(key).value(value).build();
    tags.into_iter().map(tag).collect()
}

/// Puts missing tags on something of ours, and takes off those that the spec has dropped.
pub(super) async fn keep_tags(
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
        call.send().await.doing(format!("taking tags off {arn}"))?;
    }
    Ok(())
}
