//! IAM roles that a stack's resources assume: created with their tags, under Stackdrop's own path.
//!
//! Stackdrop manages a role's trust policy, its permissions boundary and its inline policy `stackdrop`, and repairs them.
//! The functions may change only roles that have the installation's boundary. Other policies are not Stackdrop's: security
//! tools and Systems Manager Quick Setup attach some to every role. The plan warns of them, and Stackdrop leaves them alone
//! until it deletes the role.

mod observed;

use serde_json::{Value, json};

use crate::aws::error::{AwsResult, StepError};
use crate::contract::component::Work;
use crate::contract::identity::or_tag;
use crate::deployment::deletion::Deletion;
use crate::deployment::names::Tags;
use crate::deployment::plan::{Plan, Verb};

pub(crate) use observed::{Expected, Observed, find};

/// The path of every role and instance profile that Stackdrop creates, so that a policy can name them all.
pub(crate) const PATH: &str = "/stackdrop/";

/// The name of the inline policy that Stackdrop manages.
const POLICY: &str = "stackdrop";

/// How long IAM may take to show a new role, or new access, to other services, in seconds. Most roles are visible after ten.
const VISIBLE_SECONDS: i64 = 30;

/// IAM's error code for a resource that does not exist.
const ABSENT: [&str; 1] = ["NoSuchEntity"];

/// The desired state of a role.
#[derive(Debug)]
pub(crate) struct Role {
    /// The component that the role belongs to.
    pub(crate) component: &'static str,
    /// The role's logical ID, such as `role/task`.
    pub(crate) logical_id: &'static str,
    /// The service that assumes the role, such as `ec2.amazonaws.com`.
    pub(crate) principal: &'static str,
    /// The inline policy, if the role needs one.
    pub(crate) policy: Option<Value>,
}

/// Whether other services may not see yet what IAM changed then (seconds since 1970).
pub(crate) fn may_be_invisible(work: &Work<'_>, since: i64) -> bool {
    let age = work.aws.now_seconds().saturating_sub(since);
    // Not below: a clock that is far behind IAM's must not make the change new for ever.
    (-VISIBLE_SECONDS..VISIBLE_SECONDS).contains(&age)
}

/// The ARN of the permissions boundary of every role that Stackdrop creates.
fn boundary<'a>(work: &Work<'a>) -> &'a str {
    &work.aws.settings.rules.boundary
}

impl Role {
    /// The role's name. IAM names are unique in the account across regions, so the name contains the region.
    pub(crate) fn name(&self, work: &Work<'_>) -> String {
        name(work, self.logical_id)
    }

    /// The trust policy. ECS may assume a role only for tasks of this account and region. It documents that it names this
    /// source for the roles of tasks ("Amazon ECS task IAM role" in the ECS developer guide), not for execution roles: hence
    /// `IfExists`. EC2 names no source; a role of another account cannot be passed to an instance.
    fn trust(&self, work: &Work<'_>) -> Value {
        let mut trust = json!({
            "Version": "2012-10-17",
            "Statement": [{
                "Effect": "Allow",
                "Principal": { "Service": self.principal },
                "Action": "sts:AssumeRole",
            }],
        });
        if self.principal == "ecs-tasks.amazonaws.com" {
            trust["Statement"][0]["Condition"] = json!({
                "StringEqualsIfExists": { "aws:SourceAccount": work.aws.settings.account },
                "ArnLikeIfExists": { "aws:SourceArn": work.aws.settings.arn("ecs", "*") },
            });
        }
        trust
    }
}

/// The name of an IAM resource with this logical ID: at most 64 characters, which is IAM's limit for roles.
pub(crate) fn name(work: &Work<'_>, logical_id: &str) -> String {
    let last = logical_id.rsplit('/').next().unwrap_or(logical_id);
    format!("stackdrop-{}-{last}-{}", work.stack.name, work.aws.settings.region)
}

/// Converts tags to IAM's type.
pub(crate) fn iam_tags(tags: Tags) -> Result<Vec<aws_sdk_iam::types::Tag>, StepError> {
    let tag = |(key, value)| aws_sdk_iam::types::Tag::builder().key(key).value(value).build();
    tags.into_iter()
        .map(|pair| tag(pair).map_err(|error| StepError::Defect(format!("writing a tag: {error}"))))
        .collect()
}

/// Converts tags from IAM's type.
pub(crate) fn read_tags(tags: &[aws_sdk_iam::types::Tag]) -> Tags {
    tags.iter().map(|tag| (tag.key().to_owned(), tag.value().to_owned())).collect()
}

/// Plans what `apply` would change, and warns of policies that Stackdrop did not add.
pub(crate) fn plan(work: &Work<'_>, desired: &Role, observed: Option<&Observed>, plan: &mut Plan) {
    let Some(observed) = observed else { return plan.change(Verb::Create, desired.logical_id) };
    let name = desired.name(work);
    if !observed.is_ours(work) {
        plan.problem(
            desired.logical_id,
            format!("IAM role {name} exists but is not managed by this stack"),
            fix(work, "role"),
        );
        return;
    }
    plan.tags(&work.stack, desired.component, desired.logical_id, &observed.tags);
    let shown = |policy: Option<&Value>| policy.map_or("(none)".into(), Value::to_string);
    if !observed.is_bounded(work) {
        let actual = observed.boundary.as_deref().unwrap_or("(none)");
        plan.update(desired.logical_id, "boundary", actual, boundary(work));
    }
    let trust = desired.trust(work);
    if observed.trust.as_ref() != Some(&trust) {
        plan.update(desired.logical_id, "trust", shown(observed.trust.as_ref()), trust);
    }
    if desired.policy != observed.policy {
        plan.update(
            desired.logical_id,
            "policy",
            shown(observed.policy.as_ref()),
            shown(desired.policy.as_ref()),
        );
    }
    for policy in observed.others.attached.iter().chain(&observed.others.inline) {
        plan.warn(
            desired.logical_id,
            format!(
                "IAM role {name} also has the policy {policy}, which Stackdrop did not add and does not change"
            ),
            "remove the policy if nobody needs it",
        );
    }
}

/// Creates or updates the role, and returns its ARN.
pub(crate) async fn apply(
    work: &Work<'_>,
    desired: &Role,
    observed: Option<&Observed>,
) -> Result<String, StepError> {
    let name = desired.name(work);
    let arn = match observed {
        Some(observed) => {
            repair_tags(work, desired, observed, &name).await?;
            repair_boundary(work, observed, &name).await?;
            repair_trust(work, desired, observed, &name).await?;
            observed.arn.clone()
        }
        None => create(work, desired, &name).await?,
    };
    match (&desired.policy, observed.and_then(|observed| observed.policy.as_ref())) {
        (Some(policy), actual) if actual != Some(policy) => {
            let call = work.aws.iam().put_role_policy().role_name(&name).policy_name(POLICY);
            let call = call.policy_document(policy.to_string()).send().await;
            let waiting_for = format!("IAM role {name} to become visible");
            let doing = format!("writing the policy of IAM role {name}");
            call.stalled_on(unseen(work, observed), &waiting_for, doing)?;
        }
        (None, Some(_)) => delete_policy(work, &name, POLICY).await?,
        _ => {}
    }
    Ok(arn)
}

/// How to resolve that a role or an instance profile with the required name lacks the stack's tag.
pub(crate) fn fix(work: &Work<'_>, noun: &str) -> String {
    or_tag(work, &format!("delete the {noun}"))
}

async fn repair_tags(
    work: &Work<'_>,
    desired: &Role,
    observed: &Observed,
    name: &str,
) -> Result<(), StepError> {
    if !observed.is_ours(work) {
        return Err(StepError::NotOwned { what: format!("IAM role {name}"), fix: fix(work, "role") });
    }
    let missing = work.stack.tags_to_put(desired.component, desired.logical_id, &observed.tags);
    if !missing.is_empty() {
        let call = work.aws.iam().tag_role().role_name(name).set_tags(Some(iam_tags(missing)?)).send().await;
        call.doing(format!("tagging IAM role {name}"))?;
    }
    let stale = work.stack.stale_tags(&observed.tags);
    if !stale.is_empty() {
        let call = work.aws.iam().untag_role().role_name(name).set_tag_keys(Some(stale)).send().await;
        call.doing(format!("removing tags from IAM role {name}"))?;
    }
    Ok(())
}

/// Repairs the trust policy if somebody changed it.
async fn repair_trust(
    work: &Work<'_>,
    desired: &Role,
    observed: &Observed,
    name: &str,
) -> Result<(), StepError> {
    let trust = desired.trust(work);
    if observed.trust.as_ref() == Some(&trust) {
        return Ok(());
    }
    let call = work.aws.iam().update_assume_role_policy().role_name(name);
    let call = call.policy_document(trust.to_string()).send().await;
    let waiting_for = format!("the permissions boundary of IAM role {name} to become visible");
    let doing = format!("updating the trust policy of IAM role {name}");
    call.stalled_on(unseen(work, Some(observed)), &waiting_for, doing).map(drop)
}

/// Gives the role the installation's boundary. Until then, IAM refuses every other change of the role.
async fn repair_boundary(work: &Work<'_>, observed: &Observed, name: &str) -> Result<(), StepError> {
    if observed.is_bounded(work) {
        return Ok(());
    }
    let call = work.aws.iam().put_role_permissions_boundary().role_name(name);
    let call = call.permissions_boundary(boundary(work)).send().await;
    call.doing(format!("setting the permissions boundary of IAM role {name}")).map(drop)
}

/// The error codes of a change that IAM refuses because it does not see the role, or the role's boundary, yet. Changes are
/// visible after a while: "Troubleshooting IAM" in the IAM user guide.
fn unseen(work: &Work<'_>, observed: Option<&Observed>) -> &'static [&'static str] {
    match observed {
        Some(observed) if observed.is_bounded(work) && !observed.is_new(work) => &ABSENT,
        _ => &["NoSuchEntity", "AccessDenied"],
    }
}

async fn create(work: &Work<'_>, desired: &Role, name: &str) -> Result<String, StepError> {
    let call = work
        .aws
        .iam()
        .create_role()
        .role_name(name)
        .path(PATH)
        .permissions_boundary(boundary(work))
        .assume_role_policy_document(desired.trust(work).to_string())
        .description(format!("Assumed by the {} of the stack {}", desired.component, work.stack.name))
        .set_tags(Some(iam_tags(work.stack.tags(desired.component, desired.logical_id))?));
    // The role exists if an earlier response was lost: the next attempt reads its tags.
    let waiting_for = format!("IAM role {name} to become visible");
    let response = call.send().await.stalled_on(
        &["EntityAlreadyExists"],
        &waiting_for,
        format!("creating IAM role {name} with the permissions boundary {}", boundary(work)),
    )?;
    tracing::info!(name, "Role created.");
    response.role.map(|role| role.arn).ok_or_else(|| StepError::incomplete("the role"))
}

async fn delete_policy(work: &Work<'_>, name: &str, policy: &str) -> Result<(), StepError> {
    let call = work.aws.iam().delete_role_policy().role_name(name).policy_name(policy).send().await;
    call.unless(&ABSENT).doing(format!("deleting the policy {policy} of IAM role {name}")).map(drop)
}

async fn detach(work: &Work<'_>, name: &str, policy: &str) -> Result<(), StepError> {
    let call = work.aws.iam().detach_role_policy().role_name(name).policy_arn(policy).send().await;
    call.unless(&ABSENT).doing(format!("detaching {policy} from IAM role {name}")).map(drop)
}

/// Deletes the role if this stack manages it, with all its policies.
pub(crate) async fn delete(work: &Work<'_>, desired: &Role) -> Result<Deletion, StepError> {
    let name = desired.name(work);
    let mut deletion = Deletion::default();
    // Read again: policies may have been added in the meantime.
    let Some(observed) =
        find(work, desired, Expected::Nothing).await?.filter(|observed| observed.is_ours(work))
    else {
        return Ok(deletion);
    };
    if !observed.is_bounded(work) {
        repair_boundary(work, &observed, &name).await?;
        return Err(StepError::stalled(format!(
            "the permissions boundary of IAM role {name} to become visible"
        )));
    }
    deletion.found = 1;
    for policy in &observed.others.attached {
        detach(work, &name, policy).await?;
    }
    for policy in
        observed.others.inline.iter().map(String::as_str).chain(observed.policy.is_some().then_some(POLICY))
    {
        delete_policy(work, &name, policy).await?;
    }
    let call = work.aws.iam().delete_role().role_name(&name).send().await;
    if call.deleted(&ABSENT, &["DeleteConflict"], format!("deleting IAM role {name}"))? {
        tracing::info!(name, "Role deleted.");
    } else {
        deletion.held(
            desired.logical_id,
            name,
            "an instance profile that was added by hand contains it: remove the role from the profile",
        );
    }
    Ok(deletion)
}
