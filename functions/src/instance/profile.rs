//! The instance profile: what hands the role to the instance.

use aws_sdk_iam::types::InstanceProfile;

use super::found::Found;
use super::{NAME, ROLE as IAM_ROLE};
use crate::component::{Plan, Removal, Verb, Work};
use crate::error::{Answer, StepError};
use crate::roles::{self, iam_tags, read_tags};

/// The instance profile's role in the stack.
pub(super) const ROLE: &str = "profile/instance";

pub(super) fn is_ours(work: &Work<'_>, profile: &InstanceProfile) -> bool {
    work.stack.owns(&read_tags(profile.tags()))
}

fn has_role(work: &Work<'_>, profile: &InstanceProfile) -> bool {
    profile.roles().iter().any(|role| role.role_name() == IAM_ROLE.name(work))
}

pub(super) fn plan(work: &Work<'_>, found: &Found, plan: &mut Plan) {
    let Some(profile) = &found.profile else { return plan.change(Verb::Create, ROLE) };
    if !is_ours(work, profile) {
        let name = profile.instance_profile_name();
        plan.problem(ROLE, format!("the instance profile {name} is not of this stack"), "delete it");
    } else if !has_role(work, profile) {
        plan.update(ROLE, "role", "(none)", IAM_ROLE.name(work));
    }
}

/// Creates the profile and puts the role into it. Both may be late to be seen.
pub(super) async fn ensure(work: &Work<'_>, found: &Found) -> Result<(), StepError> {
    let name = roles::name(work, ROLE);
    match &found.profile {
        Some(profile) if !is_ours(work, profile) => {
            return Err(StepError::Foreign {
                what: format!("the instance profile {name}"),
                fix: "delete it".into(),
            });
        }
        Some(profile) if has_role(work, profile) => return Ok(()),
        Some(_) => {}
        None => {
            let call = work.aws.iam.create_instance_profile().instance_profile_name(&name).path(roles::PATH);
            let call = call.set_tags(Some(iam_tags(work.stack.tags(NAME, ROLE))?)).send().await;
            let waits_for = format!("the instance profile {name} to be visible");
            call.pending_on(&["EntityAlreadyExists"], &waits_for, format!("creating {name}"))?;
            tracing::info!(name, "Instance profile created.");
        }
    }
    let role = IAM_ROLE.name(work);
    let call = work.aws.iam.add_role_to_instance_profile().instance_profile_name(&name).role_name(&role);
    // `LimitExceeded`: a role is in it already, ours by a lost answer; the next attempt sees which.
    let late = ["NoSuchEntity", "LimitExceeded"];
    let waits_for = format!("the role {role} to be visible");
    call.send().await.pending_on(&late, &waits_for, format!("putting {role} into {name}")).map(drop)
}

/// Deletes a profile of ours, its role taken out first.
pub(super) async fn remove(work: &Work<'_>, found: &Found) -> Result<Removal, StepError> {
    let mut removal = Removal::default();
    let Some(profile) = found.profile.as_ref().filter(|profile| is_ours(work, profile)) else {
        return Ok(removal);
    };
    removal.found = 1;
    let name = profile.instance_profile_name();
    for role in profile.roles() {
        let call = work.aws.iam.remove_role_from_instance_profile().instance_profile_name(name);
        let call = call.role_name(role.role_name()).send().await;
        call.unless(&["NoSuchEntity"]).doing(format!("taking {} out of {name}", role.role_name()))?;
    }
    let call = work.aws.iam.delete_instance_profile().instance_profile_name(name).send().await;
    if call.gone(&["NoSuchEntity"], &["DeleteConflict"], format!("deleting {name}"))? {
        tracing::info!(name, "Instance profile deleted.");
    } else {
        removal.leave(ROLE, name, "IAM says that something still uses it");
    }
    Ok(removal)
}
