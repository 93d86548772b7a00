//! Deleting services: first the scaling, then the service, and after its last task has stopped everything that it needs.

use std::collections::BTreeSet;

use futures::future::{BoxFuture, try_join_all};

use super::observed::Observed;
use super::{cluster, definition, family, fargate, logs, permissions, read_tags, scaling};
use crate::aws::error::StepError;
use crate::contract::component::Work;
use crate::contract::roles;
use crate::deployment::deletion::Deletion;
use crate::deployment::plan::{Plan, Verb};

/// What happens to the log groups of deleted services. A failure's message points to the log, and a log group whose lines have
/// expired costs nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Logs {
    /// An update keeps them, for `logDays`.
    Keep,
    /// The rollback of a first deployment deletes those that no task has written to.
    DeleteEmpty,
    /// A destroy deletes them.
    Delete,
}

/// The names of all services of which this stack has resources.
fn names(work: &Work<'_>, observed: &Observed) -> BTreeSet<String> {
    let services =
        observed.services.iter().filter(|(_, service)| work.stack.owns(&read_tags(service.tags())));
    let groups = observed.groups.iter().filter(|(_, group)| group.is_ours(work));
    // A target's ID contains the cluster, so it belongs to the stack if the cluster does.
    let targets = observed.targets.keys().filter(|_| !cluster_is_not_ours(work, observed));
    services.map(|(name, _)| name).chain(groups.map(|(name, _)| name)).chain(targets).cloned().collect()
}

fn cluster_is_not_ours(work: &Work<'_>, observed: &Observed) -> bool {
    observed.cluster.as_ref().is_some_and(|observed| !cluster::is_ours(work, observed))
}

/// The names of the services that the spec no longer has, without those of which only the log group is left.
fn stale(work: &Work<'_>, observed: &Observed) -> Vec<String> {
    let left = |name: &String| {
        let service = observed.services.get(name);
        observed.targets.contains_key(name)
            || service.is_some_and(|service| work.stack.owns(&read_tags(service.tags())))
    };
    let names = names(work, observed).into_iter();
    names.filter(|name| !work.spec.services.contains_key(name) && left(name)).collect()
}

/// Plans the deletion of services that the spec no longer has.
pub(super) fn plan_stale(work: &Work<'_>, observed: &Observed, plan: &mut Plan) {
    for name in stale(work, observed) {
        plan_service(work, observed, &name, plan);
    }
}

fn plan_service(work: &Work<'_>, observed: &Observed, name: &str, plan: &mut Plan) {
    if observed.targets.contains_key(name) {
        plan.change(Verb::Delete, scaling::target_logical_id(name));
    }
    if observed.services.get(name).is_some_and(|service| work.stack.owns(&read_tags(service.tags()))) {
        plan.change(Verb::Delete, fargate::logical_id(name));
    }
}

/// Plans the deletion of everything, for a spec without services.
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
    for (role, observed) in owned_roles(work, observed) {
        if observed {
            plan.change(Verb::Delete, role);
        }
    }
    Ok(())
}

/// The logical IDs of both roles, and whether the stack has the role.
fn owned_roles(work: &Work<'_>, observed: &Observed) -> [(&'static str, bool); 2] {
    let ours = |role: &Option<roles::Observed>| role.as_ref().is_some_and(|role| role.is_ours(work));
    [("role/execution", ours(&observed.execution)), ("role/task", ours(&observed.task))]
}

/// Deletes the services that the spec no longer has. Their revisions are deleted with the other unused ones, after them.
pub(super) async fn delete_stale(work: &Work<'_>, observed: &Observed) -> Result<Deletion, StepError> {
    let stale = stale(work, observed);
    let deletions = stale.iter().map(async |name| {
        let mut deletion = scaling::delete(work, observed, name).await?;
        deletion.join(fargate::delete(work, observed, name).await?);
        Ok::<_, StepError>(deletion)
    });
    let mut all = Deletion::default();
    for deletion in try_join_all(deletions).await? {
        all.join(deletion);
    }
    Ok(all)
}

/// Deletes the revisions that no service uses.
pub(super) async fn delete_unused(work: &Work<'_>, observed: &Observed) -> Result<Deletion, StepError> {
    let mut unused = definition::find_unused(work, observed).await?;
    // A log group shows that a service existed, whose deletion may have been interrupted.
    for name in names(work, observed) {
        if !work.spec.services.contains_key(&name) && !observed.services.contains_key(&name) {
            unused.extend(definition::find_revisions(work, &family(work, &name)).await?);
        }
    }
    let mut deletion = Deletion { found: unused.len(), remaining: Vec::new() };
    leave_revisions(&mut deletion, &unused, definition::delete(work, &unused).await?);
    Ok(deletion)
}

fn leave_revisions(deletion: &mut Deletion, revisions: &[String], remaining: usize) {
    for arn in revisions.iter().rev().take(remaining) {
        deletion.leaving("task-definition", definition::revision(arn), "one run cannot delete all revisions");
    }
}

/// Deletes everything of this component. Boxed like [`Observed::read`].
pub(super) fn delete_all<'w>(
    work: &'w Work<'w>,
    observed: &'w Observed,
    logs: Logs,
) -> BoxFuture<'w, Result<Deletion, StepError>> {
    Box::pin(delete_all_unboxed(work, observed, logs))
}

async fn delete_all_unboxed(work: &Work<'_>, observed: &Observed, logs: Logs) -> Result<Deletion, StepError> {
    let names = names(work, observed);
    let mut known = names.clone();
    known.extend(work.spec.services.keys().cloned());
    let revisions = definition::find_all(work, &known).await?;
    let mut deletion = Deletion { found: count(work, observed, &revisions, logs), remaining: Vec::new() };
    let services = names.iter().map(async |name| {
        let mut deletion = scaling::delete(work, observed, name).await?;
        deletion.join(fargate::delete(work, observed, name).await?);
        Ok::<_, StepError>(deletion)
    });
    for service in try_join_all(services).await? {
        deletion.join(service);
    }
    if !deletion.remaining.is_empty() {
        // ECS needs the roles to stop the tasks: without them a service drains forever.
        // Source: issue 3414 of hashicorp/terraform.
        leave_rest(work, observed, &revisions, logs, &mut deletion);
        return Ok(deletion);
    }
    let groups = names.iter().map(|name| logs::delete(work, observed, name, logs));
    let (cluster, _, remaining) = tokio::try_join!(
        cluster::delete(work, observed),
        try_join_all(groups),
        definition::delete(work, &revisions),
    )?;
    leave_revisions(&mut deletion, &revisions, remaining);
    let cluster_remains = !cluster.remaining.is_empty();
    deletion.remaining.extend(cluster.remaining); // already counted
    if cluster_remains {
        // Tasks that prevent the cluster's deletion may use the roles.
        leave_roles(work, observed, "waits for the deletion of the cluster", &mut deletion);
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

fn count(work: &Work<'_>, observed: &Observed, revisions: &[String], logs: Logs) -> usize {
    let targets = if cluster_is_not_ours(work, observed) {
        0
    } else {
        observed.targets.len() + observed.policies.len()
    };
    let services = observed.services.values().filter(|service| work.stack.owns(&read_tags(service.tags())));
    let groups = observed.groups.values().filter(|group| logs == Logs::Delete && group.is_ours(work));
    let cluster = observed.cluster.as_ref().is_some_and(|observed| cluster::is_ours(work, observed));
    let roles = owned_roles(work, observed).into_iter().filter(|(_, observed)| *observed);
    services.count() + groups.count() + usize::from(cluster) + roles.count() + targets + revisions.len()
}

fn leave_rest(
    work: &Work<'_>,
    observed: &Observed,
    revisions: &[String],
    logs: Logs,
    deletion: &mut Deletion,
) {
    let why = "waits for the deletion of the services";
    if observed.cluster.as_ref().is_some_and(|observed| cluster::is_ours(work, observed)) {
        deletion.waits(cluster::LOGICAL_ID, work.stack.name.as_str(), why);
    }
    let deleted = observed.groups.iter().filter(|(_, group)| logs == Logs::Delete && group.is_ours(work));
    for (name, _) in deleted {
        deletion.waits(logs::logical_id(name), logs::group_name(work, name), why);
    }
    for arn in revisions {
        deletion.waits("task-definition", definition::revision(arn), why);
    }
    leave_roles(work, observed, why, deletion);
}

fn leave_roles(work: &Work<'_>, observed: &Observed, why: &str, deletion: &mut Deletion) {
    for (role, _) in owned_roles(work, observed).into_iter().filter(|(_, observed)| *observed) {
        deletion.waits(role, roles::name(work, role), why);
    }
}
