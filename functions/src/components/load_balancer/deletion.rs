//! What is pruned and deleted, in which order, and what remains.

use futures::future::join_all;

use super::observed::{self, Balancer, Group, Observed, Purpose};
use super::targets::Target;
use super::{
    aliases, balancer, certificate, certificate_deletion, certificates, domains, groups, plan_blockers,
    protection,
};
use crate::aws::error::StepError;
use crate::contract::component::Work;
use crate::contract::identity::{self, Lost};
use crate::deployment::deletion::{Deletion, Remaining};
use crate::deployment::plan::{Plan, Verb};

/// Plans the deletion of a load balancer that the spec no longer has.
pub(super) async fn plan(work: &Work<'_>) -> Result<Plan, StepError> {
    let mut plan = Plan::default();
    if plan_blockers(domains::closed_zones(work), &mut plan) {
        return Ok(plan);
    }
    let observed = Observed::read(work, Purpose::Prune).await?;
    if observed.balancer.is_some() || !observed.interfaces.is_empty() {
        plan.change(Verb::Delete, balancer::LOGICAL_ID);
    }
    if let Some(balancer) = &observed.balancer {
        protection::plan_deletion(work, balancer, &mut plan).await?;
    }
    for alias in observed.aliases.ours(work, &observed) {
        plan.change(Verb::Delete, format!("{} ({})", aliases::LOGICAL_ID, alias.domain));
    }
    for group in &observed.groups {
        plan.change(Verb::Delete, group.logical_id());
    }
    for _ in &observed.certificates.own {
        plan.change(Verb::Delete, certificate::LOGICAL_ID);
    }
    Ok(plan)
}

/// Plans what would prevent the deletion of the stack.
pub(super) async fn plan_destroy(work: &Work<'_>) -> Result<Plan, StepError> {
    let mut plan = Plan::default();
    if plan_blockers(domains::closed_zones(work), &mut plan) {
        return Ok(plan);
    }
    let observed = Observed::read(work, Purpose::Prune).await?;
    identity::plan(work, &lost(work, &observed).await?, &mut plan);
    if let Some(balancer) = &observed.balancer {
        protection::plan_deletion(work, balancer, &mut plan).await?;
    }
    Ok(plan)
}

/// The stack's load balancer and target groups that have lost its tag: they are not deleted, and the load balancer keeps the
/// network from being deleted. The baseline names them; a load balancer without a baseline uses the stack's security group.
async fn lost(work: &Work<'_>, observed: &Observed) -> Result<Vec<Lost>, StepError> {
    let baseline = work.deployment.baseline.as_ref().map(|baseline| &baseline.outputs);
    let known = baseline.and_then(|outputs| outputs.load_balancer.clone()).unwrap_or_default();
    let mut lost = Vec::new();
    if let Some(arn) = &observed.not_owned_balancer
        && (known.arn.as_ref() == Some(arn)
            || (observed.is_untagged && observed::uses_own_group(work).await?))
    {
        lost.push(Lost::new(balancer::LOGICAL_ID, arn));
    }
    let is_lost = |arn: &String| observed.not_owned_groups.values().any(|lost| lost == arn);
    let groups = known.target_groups.iter().filter(|(_, arn)| is_lost(arn));
    lost.extend(groups.map(|(service, arn)| Lost::new(groups::logical_id(service), arn)));
    Ok(lost)
}

/// Deletes what the load balancer no longer needs: alias records and certificates of an earlier domain, and target groups of
/// deleted services.
pub(super) async fn delete_obsolete(work: &Work<'_>, observed: &Observed) -> Result<Deletion, StepError> {
    let mut deletion = delete_aliases(work, aliases::obsolete(work, observed)).await?;
    let (groups, certificates) = tokio::join!(
        delete_groups(work, groups::obsolete(observed)),
        delete_certificates(work, observed, certificate::obsolete(work, observed)),
    );
    deletion.join(groups?);
    deletion.join(certificates?);
    Ok(deletion)
}

/// Deletes what can be deleted now. The alias records are deleted before the load balancer, because ownership of a record is
/// recognized by the load balancer's name.
pub(super) async fn delete(work: &Work<'_>, observed: &Observed) -> Result<Deletion, StepError> {
    let mut deletion = delete_aliases(work, observed.aliases.ours(work, observed).collect()).await?;
    if !deletion.remaining.is_empty() {
        // Without the load balancer, the alias record could no longer be recognized as the stack's.
        return Ok(deletion);
    }
    identity::keep(work, &lost(work, observed).await?, &mut deletion);
    if let Some(balancer) = &observed.balancer {
        deletion.found += 1;
        delete_balancer(work, balancer, &mut deletion).await?;
    } else if !observed.interfaces.is_empty() {
        let why = "it is deleted, but its network interfaces are still being released";
        deletion.leaving(balancer::LOGICAL_ID, observed.interfaces.join(", "), why);
    }
    let (groups, certificates) = tokio::join!(
        delete_groups(work, observed.groups.iter().collect()),
        delete_certificates(work, observed, observed.certificates.own.iter().collect()),
    );
    deletion.join(groups?);
    deletion.join(certificates?);
    let stays = |remaining: &Remaining| remaining.resource == balancer::LOGICAL_ID && !remaining.in_progress;
    if deletion.remaining.iter().any(stays) {
        // Its certificate is in use until the load balancer is deleted.
        let of_certificate = |remaining: &&mut Remaining| remaining.resource == certificate::LOGICAL_ID;
        deletion
            .remaining
            .iter_mut()
            .filter(of_certificate)
            .for_each(|remaining| remaining.in_progress = false);
    }
    Ok(deletion)
}

async fn delete_balancer(
    work: &Work<'_>,
    balancer: &Balancer,
    deletion: &mut Deletion,
) -> Result<(), StepError> {
    let arn = balancer.arn();
    if balancer::delete(work, arn).await? {
        deletion.leaving(balancer::LOGICAL_ID, arn, "is being deleted");
    } else {
        let (why, fix) = protection::explanation(work);
        deletion.held(balancer::LOGICAL_ID, arn, format!("{why}: {fix}"));
    }
    Ok(())
}

async fn delete_aliases(work: &Work<'_>, all: Vec<&aliases::Alias>) -> Result<Deletion, StepError> {
    let mut deletion = Deletion { found: all.len(), remaining: Vec::new() };
    for alias in all {
        if !aliases::delete(work, alias).await? {
            deletion.held(aliases::LOGICAL_ID, &alias.domain, "it was changed during the deletion");
        }
    }
    Ok(deletion)
}

/// Deletes target groups. A group with tasks is not deleted: ECS deregisters tasks while it stops them, and they still
/// answer requests. Other targets do not matter: AWS deletes any group that no action refers to (`DeleteTargetGroup` in the
/// API reference of Elastic Load Balancing).
async fn delete_groups(work: &Work<'_>, all: Vec<&Group>) -> Result<Deletion, StepError> {
    let mut deletion = Deletion { found: all.len(), remaining: Vec::new() };
    let deletions = join_all(all.into_iter().map(async |group| {
        let serving = group.targets.iter().filter(|target| target.is_task || target.is_draining());
        let serving: Vec<String> = serving.map(Target::described).collect();
        Ok::<_, StepError>((group, serving.is_empty() && groups::delete(work, group).await?, serving))
    }));
    for ended in deletions.await {
        let (group, deleted, serving) = ended?;
        if !serving.is_empty() {
            let why = format!("its targets are not deregistered yet: {}", serving.join(", "));
            deletion.leaving(group.logical_id(), group.arn(), why);
        } else if !deleted {
            let why = "a listener or a listener rule still refers to it: delete the rule, or give it another target";
            deletion.held(group.logical_id(), group.arn(), why);
        }
    }
    Ok(deletion)
}

async fn delete_certificates(
    work: &Work<'_>,
    observed: &Observed,
    own: Vec<&certificates::Own>,
) -> Result<Deletion, StepError> {
    let count = own.iter().map(|own| own.count()).sum();
    let mut deletion = Deletion { found: count, remaining: Vec::new() };
    let deletions = join_all(
        own.into_iter().map(async |own| (own, certificate_deletion::delete(work, observed, own).await)),
    );
    for (own, remaining) in deletions.await {
        match remaining? {
            Some(certificate_deletion::Remaining { why, in_progress: true }) => {
                deletion.leaving(certificate::LOGICAL_ID, own.arn(), why);
            }
            Some(certificate_deletion::Remaining { why, in_progress: false }) => {
                deletion.held(certificate::LOGICAL_ID, own.arn(), why);
            }
            None => {}
        }
    }
    Ok(deletion)
}
