//! Inbound connections from the internet: certificate, load balancer, target groups, listeners, listener rules and DNS
//! records.

mod aliases;
mod balancer;
mod certificate;
mod certificate_deletion;
mod certificates;
mod deletion;
mod dns;
mod domains;
mod groups;
mod listeners;
mod observed;
mod other_records;
mod preflight;
mod protection;
mod rule_calls;
mod rules;
mod targets;
mod web_acl;

use std::collections::BTreeMap;

use crate::aws::error::StepError;
use crate::contract::component::{Component, Work};
use crate::contract::handler::{Function, act};
use crate::contract::identity::or_tag;
use crate::deployment::component_names;
use crate::deployment::deletion::Deletion;
use crate::deployment::outputs::LoadBalancerOutputs;
use crate::deployment::plan::Plan;
use balancer::Handle;
use certificate::Progress;
use observed::{Observed, Purpose};

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
        let Some(desired) = &work.spec.load_balancer else { return deletion::plan(work).await };
        let mut plan = Plan::default();
        if plan_blockers(domains::closed_zones(work), &mut plan) {
            return Ok(plan);
        }
        let observed = Observed::read(work, Purpose::Compare).await?;
        plan_blockers(blockers(work, desired, &observed), &mut plan);
        certificate::plan(work, &observed, &mut plan);
        balancer::plan(work, &observed, &mut plan);
        groups::plan(work, &observed, &mut plan);
        listeners::plan(work, &observed, certificate::planned(work, &observed), &mut plan);
        rules::plan(work, &observed, &mut plan);
        groups::plan_obsolete(&observed, &mut plan);
        aliases::plan(work, &observed, &mut plan);
        preflight::plan(work, desired, &observed, &mut plan).await?;
        web_acl::check(work, &observed, &mut plan).await?;
        Ok(plan)
    }

    async fn plan_destroy(&self, work: &Work<'_>) -> Result<Plan, StepError> {
        deletion::plan_destroy(work).await
    }

    async fn apply(&self, work: &Work<'_>) -> Result<LoadBalancerOutputs, StepError> {
        let Some(desired) = &work.spec.load_balancer else {
            return Ok(LoadBalancerOutputs::default());
        };
        let observed = Observed::read(work, Purpose::Compare).await?;
        refuse(blockers(work, desired, &observed))?;
        let (handle, groups, certificate) = tokio::join!(
            balancer::apply(work, &observed),
            groups::apply(work, &observed),
            certificate::apply(work, desired, &observed),
        );
        let (handle, groups, certificate) = (handle?, groups?, certificate?);
        // No listener before that: requests reach the services only through the web ACL.
        web_acl::apply(work, &observed).await?;
        let issued = match &certificate {
            Progress::Issued(arn) => Some(arn.as_str()),
            Progress::Waiting(_) => None,
        };
        let (configured, listener, alias) = tokio::join!(
            balancer::configure(work, &observed, &handle),
            listeners::apply(work, &observed, &handle, issued),
            aliases::apply(work, &observed, &handle),
        );
        configured.and(alias)?;
        // Target groups are used last: it takes a moment after their creation until they are visible everywhere.
        let route = async {
            match listener? {
                Some(listener) => rules::apply(work, &observed, &listener, &groups).await,
                None => Ok(false),
            }
        };
        let (routed, configured) = tokio::join!(route, groups::configure(work, &observed, &groups));
        let staged = routed?;
        configured?;
        if let Progress::Waiting(waiting_for) = certificate {
            return Err(StepError::pending(waiting_for));
        }
        Ok(outputs(work, handle, groups, staged))
    }

    async fn wait_until_stable(&self, work: &Work<'_>) -> Result<LoadBalancerOutputs, StepError> {
        if work.spec.load_balancer.is_none() {
            return Ok(LoadBalancerOutputs::default());
        }
        let Some(detail) = observed::find_balancer(work).await? else {
            return Err(StepError::stalled(format!("load balancer {} to become visible", work.stack.name)));
        };
        balancer::check_active(work, &detail)?;
        let applied = work.outputs.load_balancer.clone().ok_or_else(|| {
            StepError::Defect("the workflow waits for the load balancer before it was created".into())
        })?;
        // Only the workflow reads this field, and only after `apply`.
        Ok(LoadBalancerOutputs { staged: false, ..applied })
    }

    async fn prune(&self, work: &Work<'_>) -> Result<Deletion, StepError> {
        if work.spec.load_balancer.is_some() {
            let observed = Observed::read(work, Purpose::Compare).await?;
            return deletion::delete_obsolete(work, &observed).await;
        }
        let observed = Observed::read(work, Purpose::Prune).await?;
        deletion::delete(work, &observed).await
    }

    async fn delete(&self, work: &Work<'_>) -> Result<Deletion, StepError> {
        let observed = Observed::read(work, Purpose::Delete).await?;
        deletion::delete(work, &observed).await
    }
}

/// Turns on deletion protection if the spec has it. Runs after the deployment has succeeded.
pub(crate) async fn protect(work: &Work<'_>) -> Result<(), StepError> {
    protection::turn_on(work).await
}

/// A reason why the load balancer cannot be created or updated.
#[derive(Debug)]
enum Blocker {
    /// A resource that this stack does not manage has a name, port or priority that the stack needs.
    NotOwned { resource: String, what: String, fix: String },
    /// AWS does not support what the spec has.
    Spec { resource: String, why: String, fix: String },
}

/// Plans the problems, and returns whether there are any.
fn plan_blockers(blockers: Vec<Blocker>, plan: &mut Plan) -> bool {
    let has_any = !blockers.is_empty();
    for blocker in blockers {
        match blocker {
            Blocker::NotOwned { resource, what, fix } => {
                plan.problem(resource, format!("{what} exists but is not managed by this stack"), fix);
            }
            Blocker::Spec { resource, why, fix } => plan.problem(resource, why, fix),
        }
    }
    has_any
}

fn blockers(work: &Work<'_>, desired: &stackdrop_specs::LoadBalancer, observed: &Observed) -> Vec<Blocker> {
    let mut blockers = Vec::new();
    if let Some(arn) = &observed.not_owned_balancer {
        blockers.push(Blocker::NotOwned {
            resource: balancer::LOGICAL_ID.into(),
            what: format!("load balancer {arn}"),
            fix: or_tag(work, "delete the load balancer, or deploy a stack with another name"),
        });
    }
    for (service, _) in work.spec.routed_services() {
        let vpc = work.outputs.network.as_ref().map(|network| groups::name(work, service, &network.vpc));
        if let Some(name) = vpc.filter(|name| observed.not_owned_groups.contains_key(name)) {
            blockers.push(Blocker::NotOwned {
                resource: groups::logical_id(service),
                what: format!("target group {name}"),
                fix: or_tag(work, "delete the target group, or give the service another name"),
            });
        }
    }
    let redirects = desired.redirect_http;
    let ports = [
        (listeners::HTTPS_PORT, listeners::HTTPS_LOGICAL_ID, true),
        (listeners::HTTP_PORT, listeners::HTTP_LOGICAL_ID, redirects),
    ];
    for (port, logical_id, _) in
        ports.into_iter().filter(|(port, _, needed)| *needed && observed.not_owned_ports.contains(port))
    {
        blockers.push(Blocker::NotOwned {
            resource: logical_id.into(),
            what: format!("the listener on port {port} of load balancer {}", work.stack.name),
            fix: or_tag(work, "delete the listener"),
        });
    }
    blockers.extend(rules::blockers(work, observed));
    blockers.extend(certificate::blockers(work, desired, observed));
    blockers.extend(domains::closed_names(work, observed));
    blockers.extend(web_acl::blocker(work));
    blockers.extend(aliases::blockers(work, observed));
    blockers
}

fn refuse(blockers: Vec<Blocker>) -> Result<(), StepError> {
    let mut in_the_spec = Vec::new();
    for blocker in blockers {
        match blocker {
            Blocker::NotOwned { what, fix, .. } => return Err(StepError::NotOwned { what, fix }),
            Blocker::Spec { why, fix, .. } => in_the_spec.push(format!("{why}: {fix}")),
        }
    }
    if in_the_spec.is_empty() { Ok(()) } else { Err(StepError::InvalidSpec(in_the_spec.join("; "))) }
}

fn outputs(
    work: &Work<'_>,
    handle: Handle,
    target_groups: BTreeMap<String, String>,
    staged: bool,
) -> LoadBalancerOutputs {
    let domain = work.spec.load_balancer.as_ref().and_then(|desired| desired.domain.as_ref());
    LoadBalancerOutputs {
        url: Some(format!("https://{}", domain.unwrap_or(&handle.dns_name))),
        arn: Some(handle.arn),
        dns_name: Some(handle.dns_name),
        target_groups,
        staged,
    }
}
