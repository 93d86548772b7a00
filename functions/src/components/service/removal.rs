//! Taking services away: scaling first, then the service, and what it needs until its last task has ended only then.

use std::collections::BTreeSet;

use futures::future::{BoxFuture, try_join_all};

use super::observed::Found;
use super::{cluster, definition, family, fargate, logs, permissions, read_tags, scaling};
use crate::contract::component::Work;
use crate::deployment::deletion::Removal;
use crate::deployment::plan::{Plan, Verb};
use crate::aws::error::StepError;
use crate::contract::roles;

/// The names of all services of which something of ours is there.
fn names(work: &Work<'_>, found: &Found) -> BTreeSet<String> {
    let services = found.services.iter().filter(|(_, service)| work.stack.owns(&read_tags(service.tags())));
    let groups = found.groups.iter().filter(|(_, group)| group.is_ours(work));
    // A target is named by the stack's cluster, so it is ours if that is.
    let targets = found.targets.keys().filter(|_| !has_foreign_cluster(work, found));
    services.map(|(name, _)| name).chain(groups.map(|(name, _)| name)).chain(targets).cloned().collect()
}

fn has_foreign_cluster(work: &Work<'_>, found: &Found) -> bool {
    found.cluster.as_ref().is_some_and(|found| !cluster::is_ours(work, found))
}

fn stale(work: &Work<'_>, found: &Found) -> Vec<String> {
    names(work, found).into_iter().filter(|name| !work.spec.services.contains_key(name)).collect()
}

/// Notes what goes because the spec does not have it any more.
pub(super) fn plan_stale(work: &Work<'_>, found: &Found, plan: &mut Plan) {
    for name in stale(work, found) {
        plan_service(work, found, &name, plan);
    }
}

fn plan_service(work: &Work<'_>, found: &Found, name: &str, plan: &mut Plan) {
    if found.targets.contains_key(name) {
        plan.change(Verb::Remove, scaling::target_role(name));
    }
    if found.services.get(name).is_some_and(|service| work.stack.owns(&read_tags(service.tags()))) {
        plan.change(Verb::Remove, fargate::role(name));
    }
    if found.groups.get(name).is_some_and(|group| group.is_ours(work)) {
        plan.change(Verb::Remove, logs::role(name));
    }
}

/// Notes everything that is there, for a spec without services.
pub(super) async fn plan_all(work: &Work<'_>, found: &Found, plan: &mut Plan) -> Result<(), StepError> {
    let names = names(work, found);
    for name in &names {
        plan_service(work, found, name, plan);
    }
    if found.cluster.as_ref().is_some_and(|found| cluster::is_ours(work, found)) {
        plan.change(Verb::Remove, cluster::ROLE);
    }
    for arn in definition::find_all(work, &names).await? {
        plan.change(Verb::Remove, format!("task-definition ({})", definition::revision(&arn)));
    }
    for (role, found) in roles_found(work, found) {
        if found {
            plan.change(Verb::Remove, role);
        }
    }
    Ok(())
}

/// The two roles, and whether each is there and ours.
fn roles_found(work: &Work<'_>, found: &Found) -> [(&'static str, bool); 2] {
    let ours = |role: &Option<roles::Found>| role.as_ref().is_some_and(|role| role.is_ours(work));
    [("role/execution", ours(&found.execution)), ("role/task", ours(&found.task))]
}

/// Removes the services that the spec does not have any more.
pub(super) async fn remove_stale(work: &Work<'_>, found: &Found) -> Result<Removal, StepError> {
    let stale = stale(work, found);
    let removals = stale.iter().map(async |name| {
        let mut removal = scaling::remove(work, found, name).await?;
        removal.join(fargate::remove(work, found, name).await?);
        if !removal.left.is_empty() {
            return Ok(removal);
        }
        let revisions = definition::find_revisions(work, &family(work, name)).await?;
        leave_revisions(&mut removal, &revisions, definition::remove(work, &revisions).await?);
        if removal.left.is_empty() {
            // The log group goes last: it is what tells that this service ever was.
            removal.join(logs::remove(work, found, name).await?);
        }
        Ok::<_, StepError>(removal)
    });
    let mut all = Removal::default();
    for removal in try_join_all(removals).await? {
        all.join(removal);
    }
    Ok(all)
}

/// Removes the revisions that no service uses any more.
pub(super) async fn remove_unused(work: &Work<'_>, found: &Found) -> Result<Removal, StepError> {
    let unused = definition::find_unused(work, found).await?;
    let mut removal = Removal { found: unused.len(), left: Vec::new() };
    leave_revisions(&mut removal, &unused, definition::remove(work, &unused).await?);
    Ok(removal)
}

fn leave_revisions(removal: &mut Removal, revisions: &[String], left: usize) {
    for arn in revisions.iter().rev().take(left) {
        removal.leave("task-definition", definition::revision(arn), "there are more than one run deletes");
    }
}

/// Removes everything of this component. Boxed, as [`Found::read`] is.
pub(super) fn remove_all<'w>(
    work: &'w Work<'w>,
    found: &'w Found,
) -> BoxFuture<'w, Result<Removal, StepError>> {
    Box::pin(remove_in_order(work, found))
}

async fn remove_in_order(work: &Work<'_>, found: &Found) -> Result<Removal, StepError> {
    let names = names(work, found);
    let mut known = names.clone();
    known.extend(work.spec.services.keys().cloned());
    let revisions = definition::find_all(work, &known).await?;
    let mut removal = Removal { found: count(work, found, &revisions), left: Vec::new() };
    let services = names.iter().map(async |name| {
        let mut removal = scaling::remove(work, found, name).await?;
        removal.join(fargate::remove(work, found, name).await?);
        Ok::<_, StepError>(removal)
    });
    for service in try_join_all(services).await? {
        removal.join(service);
    }
    if !removal.left.is_empty() {
        // ECS needs the roles to stop the tasks: without them a service drains for ever.
        // Source: issue 3414 of hashicorp/terraform.
        leave_the_rest(work, found, &revisions, &mut removal);
        return Ok(removal);
    }
    let groups = names.iter().map(|name| logs::remove(work, found, name));
    let (cluster, _, left) = tokio::try_join!(
        cluster::remove(work, found),
        try_join_all(groups),
        definition::remove(work, &revisions),
    )?;
    leave_revisions(&mut removal, &revisions, left);
    let held = !cluster.left.is_empty();
    removal.left.extend(cluster.left); // all of it has been counted
    if held {
        // What keeps the cluster may run with our roles.
        leave_roles(work, found, "waits until the cluster is gone", &mut removal);
        return Ok(removal);
    }
    let (execution, task) = (permissions::by_name("role/execution"), permissions::by_name("role/task"));
    let (execution, task) = tokio::try_join!(
        remove_role(work, &execution, found.execution.is_some()),
        remove_role(work, &task, found.task.is_some()),
    )?;
    for role in [execution, task] {
        removal.left.extend(role.left);
    }
    Ok(removal)
}

async fn remove_role(work: &Work<'_>, role: &roles::Role, found: bool) -> Result<Removal, StepError> {
    if found { roles::remove(work, role).await } else { Ok(Removal::default()) }
}

fn count(work: &Work<'_>, found: &Found, revisions: &[String]) -> usize {
    let targets =
        if has_foreign_cluster(work, found) { 0 } else { found.targets.len() + found.policies.len() };
    let services = found.services.values().filter(|service| work.stack.owns(&read_tags(service.tags())));
    let groups = found.groups.values().filter(|group| group.is_ours(work));
    let cluster = found.cluster.as_ref().is_some_and(|found| cluster::is_ours(work, found));
    let roles = roles_found(work, found).into_iter().filter(|(_, found)| *found);
    services.count() + groups.count() + usize::from(cluster) + roles.count() + targets + revisions.len()
}

fn leave_the_rest(work: &Work<'_>, found: &Found, revisions: &[String], removal: &mut Removal) {
    let why = "waits until the services are gone";
    if found.cluster.as_ref().is_some_and(|found| cluster::is_ours(work, found)) {
        removal.leave(cluster::ROLE, work.stack.name.as_str(), why);
    }
    for (name, _) in found.groups.iter().filter(|(_, group)| group.is_ours(work)) {
        removal.leave(logs::role(name), logs::group_name(work, name), why);
    }
    for arn in revisions {
        removal.leave("task-definition", definition::revision(arn), why);
    }
    leave_roles(work, found, why, removal);
}

fn leave_roles(work: &Work<'_>, found: &Found, why: &str, removal: &mut Removal) {
    for (role, _) in roles_found(work, found).into_iter().filter(|(_, found)| *found) {
        removal.leave(role, roles::name(work, role), why);
    }
}
