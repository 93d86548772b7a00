//! The way in from the internet: certificate, load balancer, target groups, listeners with their rules, DNS records.

mod balancer;
mod certificate;
mod dns;
mod groups;
mod listeners;
mod observed;
mod preflight;
mod rules;

use std::collections::BTreeMap;

use futures::future::join_all;

use crate::aws::error::StepError;
use crate::contract::component::{Component, Work};
use crate::contract::handler::{Function, act};
use crate::deployment::component_names;
use crate::deployment::deletion::Deletion;
use crate::deployment::outputs::LoadBalancerOutputs;
use crate::deployment::plan::{Plan, Verb};
use balancer::Handle;
use certificate::Progress;
use observed::{Group, Observed, Purpose};

/// The component's name.
pub const NAME: &str = component_names::LOAD_BALANCER;

/// The function.
pub const FUNCTION: Function =
    Function::new(NAME, |payload, aws| Box::pin(act(&LoadBalancer, NAME, payload, aws)));

/// The load balancer of a stack.
#[derive(Debug)]
pub struct LoadBalancer;

impl Component for LoadBalancer {
    type Outputs = LoadBalancerOutputs;

    async fn plan(&self, work: &Work<'_>) -> Result<Plan, StepError> {
        let Some(desired) = &work.spec.load_balancer else { return plan_deletion(work).await };
        let observed = Observed::read(work, Purpose::Compare).await?;
        let mut plan = Plan::default();
        for obstacle in obstacles(work, desired, &observed) {
            match obstacle {
                Obstacle::NotOwned { resource, what, fix } => {
                    plan.problem(resource, format!("{what} is not of this stack and stands in the way"), fix);
                }
                Obstacle::Spec { resource, why, fix } => {
                    plan.problem(resource, why, fix);
                }
            }
        }
        certificate::plan(work, &observed, &mut plan);
        balancer::plan(work, &observed, &mut plan);
        groups::plan(work, &observed, &mut plan);
        listeners::plan(work, &observed, certificate::ready(work, &observed), &mut plan);
        rules::plan(work, &observed, &mut plan);
        groups::plan_superfluous(&observed, &mut plan);
        dns::plan(work, &observed, &mut plan);
        preflight::plan(work, desired, &observed, &mut plan).await?;
        Ok(plan)
    }

    async fn apply(&self, work: &Work<'_>) -> Result<LoadBalancerOutputs, StepError> {
        let Some(desired) = &work.spec.load_balancer else {
            return Ok(LoadBalancerOutputs::default());
        };
        let observed = Observed::read(work, Purpose::Compare).await?;
        refuse(obstacles(work, desired, &observed))?;
        let (handle, groups, certificate) = tokio::join!(
            balancer::apply(work, &observed),
            groups::apply(work, &observed),
            certificate::apply(work, desired, &observed),
        );
        let (handle, groups, certificate) = (handle?, groups?, certificate?);
        let issued = match &certificate {
            Progress::Issued(arn) => Some(arn.as_str()),
            Progress::Waiting(_) => None,
        };
        let (configured, listener, alias) = tokio::join!(
            balancer::configure(work, &observed, &handle),
            listeners::apply(work, &observed, &handle, issued),
            dns::apply(work, &observed, &handle),
        );
        configured.and(alias)?;
        // Target groups come last: a moment after their creation, when AWS knows them everywhere.
        let lead = async {
            match listener? {
                Some(listener) => rules::apply(work, &observed, &listener, &groups).await,
                None => Ok(()),
            }
        };
        let (routed, configured) = tokio::join!(lead, groups::configure(work, &observed, &groups));
        routed.and(configured)?;
        if let Progress::Waiting(waits_for) = certificate {
            return Err(StepError::Pending(waits_for));
        }
        Ok(outputs(work, handle, groups))
    }

    async fn wait_until_stable(&self, work: &Work<'_>) -> Result<LoadBalancerOutputs, StepError> {
        if work.spec.load_balancer.is_none() {
            return Ok(LoadBalancerOutputs::default());
        }
        let Some(detail) = observed::find_balancer(work).await? else {
            return Err(StepError::pending(format!("the load balancer {} to be visible", work.stack.name)));
        };
        balancer::settled(work, &detail)?;
        work.outputs.load_balancer.clone().ok_or_else(|| {
            StepError::Defect("the workflow asked to settle the load balancer before it was made".into())
        })
    }

    async fn prune(&self, work: &Work<'_>) -> Result<Deletion, StepError> {
        if work.spec.load_balancer.is_some() {
            let observed = Observed::read(work, Purpose::Compare).await?;
            return delete_superfluous(work, &observed).await;
        }
        let observed = Observed::read(work, Purpose::Drop).await?;
        delete(work, &observed).await
    }

    async fn delete(&self, work: &Work<'_>) -> Result<Deletion, StepError> {
        let observed = Observed::read(work, Purpose::Remove).await?;
        delete(work, &observed).await
    }
}

/// Something that no call of ours can get past.
#[derive(Debug)]
enum Obstacle {
    /// Something of somebody else has a name or a place that we need.
    NotOwned { resource: String, what: String, fix: String },
    /// The spec asks for what AWS cannot give.
    Spec { resource: String, why: String, fix: String },
}

fn obstacles(work: &Work<'_>, desired: &stackdrop_specs::LoadBalancer, observed: &Observed) -> Vec<Obstacle> {
    let mut obstacles = Vec::new();
    if let Some(arn) = &observed.not_owned_balancer {
        obstacles.push(Obstacle::NotOwned {
            resource: balancer::LOGICAL_ID.into(),
            what: format!("the load balancer {arn}"),
            fix: "delete it, or give the stack another name".into(),
        });
    }
    for (service, _) in work.spec.routed_services() {
        let vpc = work.outputs.network.as_ref().map(|network| groups::name(work, service, &network.vpc));
        if let Some(name) = vpc.filter(|name| observed.not_owned_groups.contains(name)) {
            obstacles.push(Obstacle::NotOwned {
                resource: groups::logical_id(service),
                what: format!("the target group {name}"),
                fix: "delete it, or give the service another name".into(),
            });
        }
    }
    let redirects = desired.redirect_http;
    let ports = [
        (listeners::HTTPS_PORT, listeners::HTTPS_ROLE, true),
        (listeners::HTTP_PORT, listeners::HTTP_ROLE, redirects),
    ];
    for (port, logical_id, _) in
        ports.into_iter().filter(|(port, _, needed)| *needed && observed.not_owned_ports.contains(port))
    {
        obstacles.push(Obstacle::NotOwned {
            resource: logical_id.into(),
            what: format!("the listener on port {port} of the load balancer {}", work.stack.name),
            fix: "delete it".into(),
        });
    }
    obstacles.extend(rules::obstacles(work, observed));
    obstacles.extend(certificate::obstacles(work, desired, observed));
    obstacles.extend(dns::obstacles(work, observed));
    obstacles
}

fn refuse(obstacles: Vec<Obstacle>) -> Result<(), StepError> {
    let mut of_the_spec = Vec::new();
    for obstacle in obstacles {
        match obstacle {
            Obstacle::NotOwned { what, fix, .. } => return Err(StepError::NotOwned { what, fix }),
            Obstacle::Spec { why, fix, .. } => of_the_spec.push(format!("{why}: {fix}")),
        }
    }
    if of_the_spec.is_empty() { Ok(()) } else { Err(StepError::InvalidSpec(of_the_spec.join("; "))) }
}

fn outputs(work: &Work<'_>, handle: Handle, target_groups: BTreeMap<String, String>) -> LoadBalancerOutputs {
    let domain = work.spec.load_balancer.as_ref().and_then(|desired| desired.domain.as_ref());
    LoadBalancerOutputs {
        url: Some(format!("https://{}", domain.unwrap_or(&handle.dns_name))),
        arn: Some(handle.arn),
        dns_name: Some(handle.dns_name),
        target_groups,
    }
}

/// What `apply` would remove of a load balancer that the spec does not have any more.
async fn plan_deletion(work: &Work<'_>) -> Result<Plan, StepError> {
    let observed = Observed::read(work, Purpose::Drop).await?;
    let mut plan = Plan::default();
    if observed.balancer.is_some() || !observed.interfaces.is_empty() {
        plan.change(Verb::Delete, balancer::LOGICAL_ID);
    }
    for alias in observed.aliases.ours(work, &observed) {
        plan.change(Verb::Delete, format!("{} ({})", dns::LOGICAL_ID, alias.domain));
    }
    for group in &observed.groups {
        plan.change(Verb::Delete, group.logical_id());
    }
    for _ in &observed.certificates.own {
        plan.change(Verb::Delete, certificate::LOGICAL_ID);
    }
    Ok(plan)
}

/// Deletes what the load balancer that stays has no use for any more: aliases and certificates of an earlier domain,
/// target groups of services that have gone.
async fn delete_superfluous(work: &Work<'_>, observed: &Observed) -> Result<Deletion, StepError> {
    let mut deletion = Deletion::default();
    for alias in dns::superfluous(work, observed) {
        deletion.found += 1;
        if !dns::delete_alias(work, alias).await? {
            deletion.remains(dns::LOGICAL_ID, &alias.domain, "it has just been changed");
        }
    }
    let (groups, certificates) = tokio::join!(
        delete_groups(work, groups::superfluous(observed)),
        delete_certificates(work, observed, certificate::superfluous(work, observed)),
    );
    deletion.join(groups?);
    deletion.join(certificates?);
    Ok(deletion)
}

/// Deletes what can go. The alias goes before the load balancer: only while that stands can its name be read.
async fn delete(work: &Work<'_>, observed: &Observed) -> Result<Deletion, StepError> {
    let mut deletion = Deletion::default();
    for alias in observed.aliases.ours(work, observed) {
        deletion.found += 1;
        if !dns::delete_alias(work, alias).await? {
            deletion.remains(dns::LOGICAL_ID, &alias.domain, "it has just been changed");
        }
    }
    if !deletion.remaining.is_empty() {
        // Without the load balancer nothing would tell any more that the alias is ours.
        return Ok(deletion);
    }
    if let Some(balancer) = &observed.balancer {
        deletion.found += 1;
        let why = if balancer::delete(work, balancer.arn()).await? {
            "being deleted"
        } else {
            "its deletion protection, which Stackdrop never turns on, is on"
        };
        deletion.remains(balancer::LOGICAL_ID, balancer.arn(), why);
    } else if !observed.interfaces.is_empty() {
        let why = "deleted; its network interfaces are still being released";
        deletion.remains(balancer::LOGICAL_ID, observed.interfaces.join(", "), why);
    }
    let (groups, certificates) = tokio::join!(
        delete_groups(work, observed.groups.iter().collect()),
        delete_certificates(work, observed, observed.certificates.own.iter().collect()),
    );
    deletion.join(groups?);
    deletion.join(certificates?);
    Ok(deletion)
}

/// A group outlives the tasks that are registered in it: ECS takes them out while it stops them.
async fn delete_groups(work: &Work<'_>, all: Vec<&Group>) -> Result<Deletion, StepError> {
    let mut deletion = Deletion { found: all.len(), remaining: Vec::new() };
    let deletions = join_all(all.into_iter().map(async |group| {
        Ok::<_, StepError>((group, group.targets.is_empty() && groups::delete(work, group).await?))
    }));
    for ended in deletions.await {
        let (group, gone) = ended?;
        if !group.targets.is_empty() {
            let why = format!("still registered in it: {}", group.targets.join(", "));
            deletion.remains(group.logical_id(), group.arn(), why);
        } else if !gone {
            deletion.remains(group.logical_id(), group.arn(), "a listener or a rule still refers to it");
        }
    }
    Ok(deletion)
}

async fn delete_certificates(
    work: &Work<'_>,
    observed: &Observed,
    own: Vec<&certificate::Own>,
) -> Result<Deletion, StepError> {
    let count = own.iter().map(|own| own.count()).sum();
    let mut deletion = Deletion { found: count, remaining: Vec::new() };
    let deletions =
        join_all(own.into_iter().map(async |own| (own, certificate::delete(work, observed, own).await)));
    for (own, remaining) in deletions.await {
        if let Some(why) = remaining? {
            deletion.remains(certificate::LOGICAL_ID, own.arn(), why);
        }
    }
    Ok(deletion)
}
