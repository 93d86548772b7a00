//! The way in from the internet: certificate, load balancer, target groups, listeners with their rules, DNS records.

mod balancer;
mod certificate;
mod dns;
mod observed;
mod groups;
mod listeners;
mod preflight;
mod rules;

use std::collections::BTreeMap;

use futures::future::join_all;

use crate::deployment::outputs::LoadBalancerOutputs;
use crate::deployment::component_names;
use crate::contract::component::{Component, Work};
use crate::deployment::deletion::Removal;
use crate::deployment::plan::{Plan, Verb};
use crate::aws::error::StepError;
use crate::contract::handler::{Function, act};
use balancer::Handle;
use certificate::Progress;
use observed::{Found, Group, Purpose};

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
        let Some(wanted) = &work.spec.load_balancer else { return plan_removal(work).await };
        let found = Found::read(work, Purpose::Compare).await?;
        let mut plan = Plan::default();
        for obstacle in obstacles(work, wanted, &found) {
            match obstacle {
                Obstacle::Foreign { resource, what, fix } => {
                    plan.problem(resource, format!("{what} is not of this stack and stands in the way"), fix);
                }
                Obstacle::Spec { resource, why, fix } => {
                    plan.problem(resource, why, fix);
                }
            }
        }
        certificate::plan(work, &found, &mut plan);
        balancer::plan(work, &found, &mut plan);
        groups::plan(work, &found, &mut plan);
        listeners::plan(work, &found, certificate::ready(work, &found), &mut plan);
        rules::plan(work, &found, &mut plan);
        groups::plan_superfluous(&found, &mut plan);
        dns::plan(work, &found, &mut plan);
        preflight::plan(work, wanted, &found, &mut plan).await?;
        Ok(plan)
    }

    async fn ensure(&self, work: &Work<'_>) -> Result<LoadBalancerOutputs, StepError> {
        let Some(wanted) = &work.spec.load_balancer else {
            return Ok(LoadBalancerOutputs::default());
        };
        let found = Found::read(work, Purpose::Compare).await?;
        refuse(obstacles(work, wanted, &found))?;
        let (handle, groups, certificate) = tokio::join!(
            balancer::ensure(work, &found),
            groups::ensure(work, &found),
            certificate::ensure(work, wanted, &found),
        );
        let (handle, groups, certificate) = (handle?, groups?, certificate?);
        let issued = match &certificate {
            Progress::Issued(arn) => Some(arn.as_str()),
            Progress::Waiting(_) => None,
        };
        let (configured, listener, alias) = tokio::join!(
            balancer::configure(work, &found, &handle),
            listeners::ensure(work, &found, &handle, issued),
            dns::ensure(work, &found, &handle),
        );
        configured.and(alias)?;
        // Target groups come last: a moment after their creation, when AWS knows them everywhere.
        let lead = async {
            match listener? {
                Some(listener) => rules::ensure(work, &found, &listener, &groups).await,
                None => Ok(()),
            }
        };
        let (routed, configured) = tokio::join!(lead, groups::configure(work, &found, &groups));
        routed.and(configured)?;
        if let Progress::Waiting(waits_for) = certificate {
            return Err(StepError::Pending(waits_for));
        }
        Ok(outputs(work, handle, groups))
    }

    async fn settle(&self, work: &Work<'_>) -> Result<LoadBalancerOutputs, StepError> {
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

    async fn tidy(&self, work: &Work<'_>) -> Result<Removal, StepError> {
        if work.spec.load_balancer.is_some() {
            let found = Found::read(work, Purpose::Compare).await?;
            return remove_superfluous(work, &found).await;
        }
        let found = Found::read(work, Purpose::Drop).await?;
        remove(work, &found).await
    }

    async fn remove(&self, work: &Work<'_>) -> Result<Removal, StepError> {
        let found = Found::read(work, Purpose::Remove).await?;
        remove(work, &found).await
    }
}

/// Something that no call of ours can get past.
#[derive(Debug)]
enum Obstacle {
    /// Something of somebody else has a name or a place that we need.
    Foreign { resource: String, what: String, fix: String },
    /// The spec asks for what AWS cannot give.
    Spec { resource: String, why: String, fix: String },
}

fn obstacles(work: &Work<'_>, wanted: &stackdrop_specs::LoadBalancer, found: &Found) -> Vec<Obstacle> {
    let mut obstacles = Vec::new();
    if let Some(arn) = &found.foreign_balancer {
        obstacles.push(Obstacle::Foreign {
            resource: balancer::ROLE.into(),
            what: format!("the load balancer {arn}"),
            fix: "delete it, or give the stack another name".into(),
        });
    }
    for (service, _) in work.spec.routed_services() {
        let vpc = work.outputs.network.as_ref().map(|network| groups::name(work, service, &network.vpc));
        if let Some(name) = vpc.filter(|name| found.foreign_groups.contains(name)) {
            obstacles.push(Obstacle::Foreign {
                resource: groups::role(service),
                what: format!("the target group {name}"),
                fix: "delete it, or give the service another name".into(),
            });
        }
    }
    let redirects = wanted.redirect_http;
    let ports = [
        (listeners::HTTPS_PORT, listeners::HTTPS_ROLE, true),
        (listeners::HTTP_PORT, listeners::HTTP_ROLE, redirects),
    ];
    for (port, role, _) in
        ports.into_iter().filter(|(port, _, needed)| *needed && found.foreign_ports.contains(port))
    {
        obstacles.push(Obstacle::Foreign {
            resource: role.into(),
            what: format!("the listener on port {port} of the load balancer {}", work.stack.name),
            fix: "delete it".into(),
        });
    }
    obstacles.extend(rules::obstacles(work, found));
    obstacles.extend(certificate::obstacles(work, wanted, found));
    obstacles.extend(dns::obstacles(work, found));
    obstacles
}

fn refuse(obstacles: Vec<Obstacle>) -> Result<(), StepError> {
    let mut of_the_spec = Vec::new();
    for obstacle in obstacles {
        match obstacle {
            Obstacle::Foreign { what, fix, .. } => return Err(StepError::Foreign { what, fix }),
            Obstacle::Spec { why, fix, .. } => of_the_spec.push(format!("{why}: {fix}")),
        }
    }
    if of_the_spec.is_empty() { Ok(()) } else { Err(StepError::InvalidSpec(of_the_spec.join("; "))) }
}

fn outputs(work: &Work<'_>, handle: Handle, target_groups: BTreeMap<String, String>) -> LoadBalancerOutputs {
    let domain = work.spec.load_balancer.as_ref().and_then(|wanted| wanted.domain.as_ref());
    LoadBalancerOutputs {
        url: Some(format!("https://{}", domain.unwrap_or(&handle.dns_name))),
        arn: Some(handle.arn),
        dns_name: Some(handle.dns_name),
        target_groups,
    }
}

/// What `ensure` would remove of a load balancer that the spec does not have any more.
async fn plan_removal(work: &Work<'_>) -> Result<Plan, StepError> {
    let found = Found::read(work, Purpose::Drop).await?;
    let mut plan = Plan::default();
    if found.balancer.is_some() || !found.interfaces.is_empty() {
        plan.change(Verb::Remove, balancer::ROLE);
    }
    for alias in found.aliases.ours(work, &found) {
        plan.change(Verb::Remove, format!("{} ({})", dns::ROLE, alias.domain));
    }
    for group in &found.groups {
        plan.change(Verb::Remove, group.role());
    }
    for _ in &found.certificates.own {
        plan.change(Verb::Remove, certificate::ROLE);
    }
    Ok(plan)
}

/// Deletes what the load balancer that stays has no use for any more: aliases and certificates of an earlier domain,
/// target groups of services that have gone.
async fn remove_superfluous(work: &Work<'_>, found: &Found) -> Result<Removal, StepError> {
    let mut removal = Removal::default();
    for alias in dns::superfluous(work, found) {
        removal.found += 1;
        if !dns::delete_alias(work, alias).await? {
            removal.leave(dns::ROLE, &alias.domain, "it has just been changed");
        }
    }
    let (groups, certificates) = tokio::join!(
        remove_groups(work, groups::superfluous(found)),
        remove_certificates(work, found, certificate::superfluous(work, found)),
    );
    removal.join(groups?);
    removal.join(certificates?);
    Ok(removal)
}

/// Deletes what can go. The alias goes before the load balancer: only while that stands can its name be read.
async fn remove(work: &Work<'_>, found: &Found) -> Result<Removal, StepError> {
    let mut removal = Removal::default();
    for alias in found.aliases.ours(work, found) {
        removal.found += 1;
        if !dns::delete_alias(work, alias).await? {
            removal.leave(dns::ROLE, &alias.domain, "it has just been changed");
        }
    }
    if !removal.left.is_empty() {
        // Without the load balancer nothing would tell any more that the alias is ours.
        return Ok(removal);
    }
    if let Some(balancer) = &found.balancer {
        removal.found += 1;
        let why = if balancer::delete(work, balancer.arn()).await? {
            "being deleted"
        } else {
            "its deletion protection, which Stackdrop never turns on, is on"
        };
        removal.leave(balancer::ROLE, balancer.arn(), why);
    } else if !found.interfaces.is_empty() {
        let why = "deleted; its network interfaces are still being released";
        removal.leave(balancer::ROLE, found.interfaces.join(", "), why);
    }
    let (groups, certificates) = tokio::join!(
        remove_groups(work, found.groups.iter().collect()),
        remove_certificates(work, found, found.certificates.own.iter().collect()),
    );
    removal.join(groups?);
    removal.join(certificates?);
    Ok(removal)
}

/// A group outlives the tasks that are registered in it: ECS takes them out while it stops them.
async fn remove_groups(work: &Work<'_>, all: Vec<&Group>) -> Result<Removal, StepError> {
    let mut removal = Removal { found: all.len(), left: Vec::new() };
    let deletions = join_all(all.into_iter().map(async |group| {
        Ok::<_, StepError>((group, group.targets.is_empty() && groups::delete(work, group).await?))
    }));
    for deletion in deletions.await {
        let (group, gone) = deletion?;
        if !group.targets.is_empty() {
            let why = format!("still registered in it: {}", group.targets.join(", "));
            removal.leave(group.role(), group.arn(), why);
        } else if !gone {
            removal.leave(group.role(), group.arn(), "a listener or a rule still refers to it");
        }
    }
    Ok(removal)
}

async fn remove_certificates(
    work: &Work<'_>,
    found: &Found,
    own: Vec<&certificate::Own>,
) -> Result<Removal, StepError> {
    let count = own.iter().map(|own| own.count()).sum();
    let mut removal = Removal { found: count, left: Vec::new() };
    let deletions =
        join_all(own.into_iter().map(async |own| (own, certificate::delete(work, found, own).await)));
    for (own, left) in deletions.await {
        if let Some(why) = left? {
            removal.leave(certificate::ROLE, own.arn(), why);
        }
    }
    Ok(removal)
}
