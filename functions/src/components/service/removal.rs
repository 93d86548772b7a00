//! Taking services away: scaling first, then the service, and what it needs until its last task has ended only then.

use std::collections::BTreeSet;

use futures::future::{BoxFuture, try_join_all};

use super::observed::Observed;
use super::{cluster, definition, family, fargate, logs, permissions, read_tags, scaling};
use crate::aws::error::StepError;
use crate::contract::component::Work;
use crate::contract::roles;
use crate::deployment::deletion::Deletion;
use crate::deployment::plan::{Plan, Verb};

/// The names of all services of which something of ours is there.
fn names(work: &Work<'_>, observed: &Observed) -> BTreeSet<String> {
    let services =
        observed.services.iter().filter(|(_, service)| work.stack.owns(&read_tags(service.tags())));
    let groups = observed.groups.iter().filter(|(_, group)| group.is_ours(work));
    // A target is named by the stack's cluster, so it is ours if that is.
    let targets = observed.targets.keys().filter(|_| !has_foreign_cluster(work, observed));
    services.map(|(name, _)| name).chain(groups.map(|(name, _)| name)).chain(targets).cloned().collect()
}

fn has_foreign_cluster(work: &Work<'_>, observed: &Observed) -> bool {
    observed.cluster.as_ref().is_some_and(|observed| !cluster::is_ours(work, observed))
}

fn stale(work: &Work<'_>, observed: &Observed) -> Vec<String> {
    names(work, observed).into_iter().filter(|name| !work.spec.services.contains_key(name)).collect()
}

/// Notes what goes because the spec does not have it any more.
pub(super) fn plan_stale(work: &Work<'_>, observed: &Observed, plan: &mut Plan) {
    for name in stale(work, observed) {
        plan_service(work, observed, &name, plan);
    }
}

fn plan_service(work: &Work<'_>, observed: &Observed, name: &str, plan: &mut Plan) {
    if observed.targets.contains_key(name) {
        plan.change(Verb::Delete, scaling::target_role(name));
    }
    if observed.services.get(name).is_some_and(|service| work.stack.owns(&read_tags(service.tags()))) {
        plan.change(Verb::Delete, fargate::logical_id(name));
    }
    if observed.groups.get(name).is_some_and(|group| group.is_ours(work)) {
        plan.change(Verb::Delete, logs::logical_id(name));
    }
}

/// Notes everything that is there, for a spec without services.
pub(super) async fn plan_all(work: &Work<'_>, observed: &Observed, plan: &mut Plan) -> Result<(), StepError> {
    let names = names(work, observed);
    for name in &names {
        plan_service(work, observed, name, plan);
    }
    if observed.cluster.as_ref().is_some_and(|observed| cluster::is_ours(work, observed)) {
        plan.change(Verb::Delete, cluster::LOGICAL_ID);
    }
    for arn in definition::find_all(work, &names).await? {
        plan.change(Verb::Delete, format!("task-definition ({})", definition::revision(&arn)));
    }
    for (role, observed) in roles_found(work, observed) {
        if observed {
            plan.change(Verb::Delete, role);
        }
    }
    Ok(())
}

/// The two roles, and whether each is there and ours.
fn roles_found(work: &Work<'_>, observed: &Observed) -> [(&'static str, bool); 2] {
    let ours = |role: &Option<roles::Observed>| role.as_ref().is_some_and(|role| role.is_ours(work));
    [("role/execution", ours(&observed.execution)), ("role/task", ours(&observed.task))]
}

/// Removes the services that the spec does not have any more.
pub(super) async fn delete_stale(work: &Work<'_>, observed: &Observed) -> Result<Deletion, StepError> {
    let stale = stale(work, observed);
    let removals = stale.iter().map(async |name| {
        let mut deletion = scaling::delete(work, observed, name).await?;
        deletion.join(fargate::delete(work, observed, name).await?);
        if !deletion.remaining.is_empty() {
            return Ok(deletion);
        }
        let revisions = definition::find_revisions(work, &family(work, name)).await?;
        leave_revisions(&mut deletion, &revisions, definition::delete(work, &revisions).await?);
        if deletion.remaining.is_empty() {
            // The log group goes last: it is what tells that this service ever was.
            deletion.join(logs::delete(work, observed, name).await?);
        }
        Ok::<_, StepError>(deletion)
    });
    let mut all = Deletion::default();
    for deletion in try_join_all(removals).await? {
        all.join(deletion);
    }
    Ok(all)
}

/// Removes the revisions that no service uses any more.
pub(super) async fn delete_unused(work: &Work<'_>, observed: &Observed) -> Result<Deletion, StepError> {
    let unused = definition::find_unused(work, observed).await?;
    let mut deletion = Deletion { found: unused.len(), remaining: Vec::new() };
    leave_revisions(&mut deletion, &unused, definition::delete(work, &unused).await?);
    Ok(deletion)
}

fn leave_revisions(deletion: &mut Deletion, revisions: &[String], remaining: usize) {
    for arn in revisions.iter().rev().take(remaining) {
        deletion.remains("task-definition", definition::revision(arn), "there are more than one run deletes");
    }
}

/// Removes everything of this component. Boxed, as [`Observed::read`] is.
pub(super) fn delete_all<'w>(
    work: &'w Work<'w>,
    observed: &'w Observed,
) -> BoxFuture<'w, Result<Deletion, StepError>> {
    Box::pin(delete_in_order(work, observed))
}

async fn delete_in_order(work: &Work<'_>, observed: &Observed) -> Result<Deletion, StepError> {
    let names = names(work, observed);
    let mut known = names.clone();
    known.extend(work.spec.services.keys().cloned());
    let revisions = definition::find_all(work, &known).await?;
    let mut deletion = Deletion { found: count(work, observed, &revisions), remaining: Vec::new() };
    let services = names.iter().map(async |name| {
        let mut deletion = scaling::delete(work, observed, name).await?;
        deletion.join(fargate::delete(work, observed, name).await?);
        Ok::<_, StepError>(deletion)
    });
    for service in try_join_all(services).await? {
        deletion.join(service);
    }
    if !deletion.remaining.is_empty() {
        // ECS needs the roles to stop the tasks: without them a service drains for ever.
        // Source: issue 3414 of hashicorp/terraform.
        leave_the_rest(work, observed, &revisions, &mut deletion);
        return Ok(deletion);
    }
    let groups = names.iter().map(|name| logs::delete(work, observed, name));
    let (cluster, _, remaining) = tokio::try_join!(
        cluster::delete(work, observed),
        try_join_all(groups),
        definition::delete(work, &revisions),
    )?;
    leave_revisions(&mut deletion, &revisions, remaining);
    let held = !cluster.remaining.is_empty();
    deletion.remaining.extend(cluster.remaining); // all of it has been counted
    if held {
        // What keeps the cluster may run with our roles.
        leave_roles(work, observed, "waits until the cluster is gone", &mut deletion);
        return Ok(deletion);
    }
    let (execution, task) =
        (permissions::by_logical_id("role/execution"), permissions::by_logical_id("role/task"));
    let (execution, task) = tokio::try_join!(
        delete_role(work, &execution, observed.execution.is_some()),
        delete_role(work, &task, observed.task.is_some()),
    )?;
    for role in [execution, task] {
        deletion.remaining.extend(role.remaining);
    }
    Ok(deletion)
}

async fn delete_role(work: &Work<'_>, role: &roles::Role, observed: bool) -> Result<Deletion, StepError> {
    if observed { roles::delete(work, role).await } else { Ok(Deletion::default()) }
}

fn count(work: &Work<'_>, observed: &Observed, revisions: &[String]) -> usize {
    let targets = if has_foreign_cluster(work, observed) {
        0
    } else {
        observed.targets.len() + observed.policies.len()
    };
    let services = observed.services.values().filter(|service| work.stack.owns(&read_tags(service.tags())));
    let groups = observed.groups.values().filter(|group| group.is_ours(work));
    let cluster = observed.cluster.as_ref().is_some_and(|observed| cluster::is_ours(work, observed));
    let roles = roles_found(work, observed).into_iter().filter(|(_, observed)| *observed);
    services.count() + groups.count() + usize::from(cluster) + roles.count() + targets + revisions.len()
}

fn leave_the_rest(work: &Work<'_>, observed: &Observed, revisions: &[String], deletion: &mut Deletion) {
    let why = "waits until the services are gone";
    if observed.cluster.as_ref().is_some_and(|observed| cluster::is_ours(work, observed)) {
        deletion.remains(cluster::LOGICAL_ID, work.stack.name.as_str(), why);
    }
    for (name, _) in observed.groups.iter().filter(|(_, group)| group.is_ours(work)) {
        deletion.remains(logs::logical_id(name), logs::group_name(work, name), why);
    }
    for arn in revisions {
        deletion.remains("task-definition", definition::revision(arn), why);
    }
    leave_roles(work, observed, why, deletion);
}

fn leave_roles(work: &Work<'_>, observed: &Observed, why: &str, deletion: &mut Deletion) {
    for (role, _) in roles_found(work, observed).into_iter().filter(|(_, observed)| *observed) {
        deletion.remains(role, roles::name(work, role), why);
    }
}
