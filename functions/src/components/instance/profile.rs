//! The instance profile: what hands the role to the instance.

use aws_sdk_iam::types::InstanceProfile;

use super::observed::Observed;
use super::{NAME, ROLE};
use crate::aws::error::{Answer, StepError};
use crate::contract::component::Work;
use crate::contract::roles::{self, iam_tags, read_tags};
use crate::deployment::deletion::Deletion;
use crate::deployment::plan::{Plan, Verb};

/// The logical ID of the instance profile.
pub(super) const LOGICAL_ID: &str = "profile/instance";

pub(super) fn is_ours(work: &Work<'_>, profile: &InstanceProfile) -> bool {
    work.stack.owns(&read_tags(profile.tags()))
}

fn has_role(work: &Work<'_>, profile: &InstanceProfile) -> bool {
    profile.roles().iter().any(|role| role.role_name() == roles::name(work, ROLE))
}

pub(super) fn plan(work: &Work<'_>, observed: &Observed, plan: &mut Plan) {
    let Some(profile) = &observed.profile else { return plan.change(Verb::Create, LOGICAL_ID) };
    if !is_ours(work, profile) {
        let name = profile.instance_profile_name();
        plan.problem(LOGICAL_ID, format!("the instance profile {name} is not of this stack"), "delete it");
        return;
    }
    if !has_role(work, profile) {
        let held = profile.roles().first().map_or("(none)", |role| role.role_name());
        plan.update(LOGICAL_ID, "role", held, roles::name(work, ROLE));
    }
    plan.tags(&work.stack, NAME, LOGICAL_ID, &read_tags(profile.tags()));
}

/// Creates the profile and puts the role into it. Both may be late to be seen.
pub(super) async fn apply(work: &Work<'_>, observed: &Observed) -> Result<(), StepError> {
    let name = roles::name(work, LOGICAL_ID);
    match &observed.profile {
        Some(profile) if !is_ours(work, profile) => {
            return Err(StepError::NotOwned {
                what: format!("the instance profile {name}"),
                fix: "delete it".into(),
            });
        }
        Some(profile) => {
            keep_tags(work, profile, &name).await?;
            if has_role(work, profile) {
                return Ok(());
            }
            // It holds one role: another that was put in by hand makes room.
            empty(work, profile).await?;
        }
        None => {
            let call =
                work.aws.iam().create_instance_profile().instance_profile_name(&name).path(roles::PATH);
            let call = call.set_tags(Some(iam_tags(work.stack.tags(NAME, LOGICAL_ID))?)).send().await;
            let waits_for = format!("the instance profile {name} to be visible");
            call.pending_on(&["EntityAlreadyExists"], &waits_for, format!("creating {name}"))?;
            tracing::info!(name, "Instance profile created.");
        }
    }
    let role = roles::name(work, ROLE);
    let call = work.aws.iam().add_role_to_instance_profile().instance_profile_name(&name).role_name(&role);
    // `LimitExceeded`: a role is in it already, ours by a lost answer; the next attempt sees which.
    let late = ["NoSuchEntity", "LimitExceeded"];
    let waits_for = format!("the role {role} to be visible");
    call.send().await.pending_on(&late, &waits_for, format!("putting {role} into {name}")).map(drop)
}

async fn keep_tags(work: &Work<'_>, profile: &InstanceProfile, name: &str) -> Result<(), StepError> {
    let observed = read_tags(profile.tags());
    let (missing, stale) =
        (work.stack.tags_to_put(NAME, LOGICAL_ID, &observed), work.stack.stale_tags(&observed));
    if !missing.is_empty() {
        let call = work.aws.iam().tag_instance_profile().instance_profile_name(name);
        let call = call.set_tags(Some(iam_tags(missing)?)).send().await;
        call.doing(format!("tagging {name}"))?;
    }
    if !stale.is_empty() {
        let call = work.aws.iam().untag_instance_profile().instance_profile_name(name);
        call.set_tag_keys(Some(stale)).send().await.doing(format!("taking tags from {name}"))?;
    }
    Ok(())
}

/// Takes whatever role it holds out of a profile.
async fn empty(work: &Work<'_>, profile: &InstanceProfile) -> Result<(), StepError> {
    let name = profile.instance_profile_name();
    for role in profile.roles() {
        let call = work.aws.iam().remove_role_from_instance_profile().instance_profile_name(name);
        let call = call.role_name(role.role_name()).send().await;
        call.unless(&["NoSuchEntity"]).doing(format!("taking {} out of {name}", role.role_name()))?;
    }
    Ok(())
}

/// Deletes a profile of ours, its role taken out first.
pub(super) async fn delete(work: &Work<'_>, observed: &Observed) -> Result<Deletion, StepError> {
    let mut deletion = Deletion::default();
    let Some(profile) = observed.profile.as_ref().filter(|profile| is_ours(work, profile)) else {
        return Ok(deletion);
    };
    deletion.found = 1;
    let name = profile.instance_profile_name();
    empty(work, profile).await?;
    let call = work.aws.iam().delete_instance_profile().instance_profile_name(name).send().await;
    if call.gone(&["NoSuchEntity"], &["DeleteConflict"], format!("deleting {name}"))? {
        tracing::info!(name, "Instance profile deleted.");
    } else {
        deletion.remains(LOGICAL_ID, name, "IAM says that something still uses it");
    }
    Ok(deletion)
}
