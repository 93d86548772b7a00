//! The instance profile, which attaches the role to the instance.

use aws_sdk_iam::types::InstanceProfile;

use super::observed::Observed;
use super::{NAME, ROLE};
use crate::aws::error::{AwsResult, StepError};
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
        plan.problem(
            LOGICAL_ID,
            format!("instance profile {name} exists but is not managed by this stack"),
            roles::fix(work, "instance profile"),
        );
        return;
    }
    if !has_role(work, profile) {
        let current = profile.roles().first().map_or("(none)", |role| role.role_name());
        plan.update(LOGICAL_ID, "role", current, roles::name(work, ROLE));
    }
    plan.tags(&work.stack, NAME, LOGICAL_ID, &read_tags(profile.tags()));
}

/// Creates the profile and adds the role to it. Both can take a while to become visible.
pub(super) async fn apply(work: &Work<'_>, observed: &Observed) -> Result<(), StepError> {
    let name = roles::name(work, LOGICAL_ID);
    match &observed.profile {
        Some(profile) if !is_ours(work, profile) => {
            return Err(StepError::NotOwned {
                what: format!("instance profile {name}"),
                fix: roles::fix(work, "instance profile"),
            });
        }
        Some(profile) => {
            repair_tags(work, profile, &name).await?;
            if has_role(work, profile) {
                return Ok(());
            }
            // A profile has at most one role: remove the one that was added by hand.
            remove_roles(work, profile).await?;
        }
        None => {
            let call =
                work.aws.iam().create_instance_profile().instance_profile_name(&name).path(roles::PATH);
            let call = call.set_tags(Some(iam_tags(work.stack.tags(NAME, LOGICAL_ID))?)).send().await;
            let waiting_for = format!("instance profile {name} to become visible");
            call.stalled_on(
                &["EntityAlreadyExists"],
                &waiting_for,
                format!("creating instance profile {name}"),
            )?;
            tracing::info!(name, "Instance profile created.");
        }
    }
    let role = roles::name(work, ROLE);
    let call = work.aws.iam().add_role_to_instance_profile().instance_profile_name(&name).role_name(&role);
    // `LimitExceeded`: the profile already has a role, maybe ours after a lost response; the next attempt reads it.
    // `AccessDenied`: IAM allows the call by the profile's tag, and shows a new profile after a while.
    let created = observed.profile.as_ref().map(|profile| profile.create_date().secs());
    let is_new = created.is_none_or(|created| roles::may_be_invisible(work, created));
    let not_visible: &[&str] = if is_new {
        &["NoSuchEntity", "LimitExceeded", "AccessDenied"]
    } else {
        &["NoSuchEntity", "LimitExceeded"]
    };
    let waiting_for = format!("IAM role {role} to become visible");
    call.send()
        .await
        .stalled_on(not_visible, &waiting_for, format!("adding IAM role {role} to instance profile {name}"))
        .map(drop)
}

async fn repair_tags(work: &Work<'_>, profile: &InstanceProfile, name: &str) -> Result<(), StepError> {
    let observed = read_tags(profile.tags());
    let (missing, stale) =
        (work.stack.tags_to_put(NAME, LOGICAL_ID, &observed), work.stack.stale_tags(&observed));
    if !missing.is_empty() {
        let call = work.aws.iam().tag_instance_profile().instance_profile_name(name);
        let call = call.set_tags(Some(iam_tags(missing)?)).send().await;
        call.doing(format!("tagging instance profile {name}"))?;
    }
    if !stale.is_empty() {
        let call = work.aws.iam().untag_instance_profile().instance_profile_name(name);
        call.set_tag_keys(Some(stale))
            .send()
            .await
            .doing(format!("removing tags from instance profile {name}"))?;
    }
    Ok(())
}

/// Removes all roles from a profile.
async fn remove_roles(work: &Work<'_>, profile: &InstanceProfile) -> Result<(), StepError> {
    let name = profile.instance_profile_name();
    for role in profile.roles() {
        let call = work.aws.iam().remove_role_from_instance_profile().instance_profile_name(name);
        let call = call.role_name(role.role_name()).send().await;
        call.unless(&["NoSuchEntity"])
            .doing(format!("removing IAM role {} from instance profile {name}", role.role_name()))?;
    }
    Ok(())
}

/// Deletes the profile if this stack manages it, after removing its role.
pub(super) async fn delete(work: &Work<'_>, observed: &Observed) -> Result<Deletion, StepError> {
    let mut deletion = Deletion::default();
    let Some(profile) = observed.profile.as_ref().filter(|profile| is_ours(work, profile)) else {
        return Ok(deletion);
    };
    deletion.found = 1;
    let name = profile.instance_profile_name();
    remove_roles(work, profile).await?;
    let call = work.aws.iam().delete_instance_profile().instance_profile_name(name).send().await;
    if call.deleted(&["NoSuchEntity"], &["DeleteConflict"], format!("deleting instance profile {name}"))? {
        tracing::info!(name, "Instance profile deleted.");
    } else {
        deletion.held(LOGICAL_ID, name, "IAM reports that it is in use");
    }
    Ok(deletion)
}
