//! Reads the roles of a stack.

use serde_json::Value;

use super::{ABSENT, POLICY, Role, read_tags};
use crate::aws::error::{AwsResult, StepError};
use crate::contract::component::Work;
use crate::deployment::names::Tags;

/// The observed state of a role.
#[derive(Debug)]
pub(crate) struct Observed {
    pub(crate) arn: String,
    /// When it was created (seconds since 1970).
    pub(super) created: i64,
    pub(super) tags: Tags,
    /// The inline policy that Stackdrop manages.
    pub(super) policy: Option<Value>,
    /// The trust policy.
    pub(super) trust: Option<Value>,
    /// The ARN of the permissions boundary.
    pub(super) boundary: Option<String>,
    pub(super) others: Others,
}

/// A role's policies that Stackdrop did not add.
#[derive(Debug, Default)]
pub(super) struct Others {
    /// The ARNs of managed policies.
    pub(super) attached: Vec<String>,
    /// The names of inline policies.
    pub(super) inline: Vec<String>,
}

impl Observed {
    /// The inline policy that Stackdrop manages.
    pub(crate) fn policy(&self) -> Option<&Value> {
        self.policy.as_ref()
    }

    /// Whether the role is so new that other services may not see it yet.
    pub(crate) fn is_new(&self, work: &Work<'_>) -> bool {
        super::may_be_invisible(work, self.created)
    }

    /// Whether the role has the boundary of the installation.
    pub(super) fn is_bounded(&self, work: &Work<'_>) -> bool {
        self.boundary.as_deref() == Some(super::boundary(work))
    }

    /// Whether this stack manages the role.
    pub(crate) fn is_ours(&self, work: &Work<'_>) -> bool {
        work.stack.owns(&self.tags)
    }
}

/// What probably exists: what is expected is read at once, and the rest only if it is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Expected {
    /// Not even the role.
    Nothing,
    /// The role, without a policy of Stackdrop's.
    Role,
    /// The role with its policy.
    Policy,
}

/// Finds the role by its name, managed by this stack or not.
pub(crate) async fn find(
    work: &Work<'_>,
    desired: &Role,
    expected: Expected,
) -> Result<Option<Observed>, StepError> {
    let name = desired.name(work);
    if expected == Expected::Nothing && find_role(work, &name).await?.is_none() {
        return Ok(None);
    }
    let (role, attached, (policy, inline)) = tokio::try_join!(
        find_role(work, &name),
        find_attached(work, &name),
        find_inline(work, &name, expected)
    )?;
    Ok(role.map(|role| Observed {
        arn: role.arn().to_owned(),
        created: role.create_date().secs(),
        tags: read_tags(role.tags()),
        policy,
        trust: role.assume_role_policy_document().and_then(document),
        boundary: role.permissions_boundary().and_then(|it| it.permissions_boundary_arn()).map(str::to_owned),
        others: Others { attached, inline },
    }))
}

async fn find_role(work: &Work<'_>, name: &str) -> Result<Option<aws_sdk_iam::types::Role>, StepError> {
    let call = work.aws.iam().get_role().role_name(name).send().await;
    let response = call.unless(&ABSENT).doing(format!("looking for IAM role {name}"))?;
    Ok(response.and_then(|response| response.role))
}

async fn find_policy(work: &Work<'_>, name: &str) -> Result<Option<Value>, StepError> {
    let call = work.aws.iam().get_role_policy().role_name(name).policy_name(POLICY).send().await;
    let response = call.unless(&ABSENT).doing(format!("reading the policy of IAM role {name}"))?;
    Ok(response.and_then(|response| document(&response.policy_document)))
}

/// The ARNs of the managed policies that are attached to a role.
async fn find_attached(work: &Work<'_>, name: &str) -> Result<Vec<String>, StepError> {
    let pages = work.aws.iam().list_attached_role_policies().role_name(name).into_paginator().items();
    let observed: Result<Vec<_>, _> = pages.send().try_collect().await;
    let observed = observed.unless(&ABSENT).doing(format!("listing the policies of IAM role {name}"))?;
    Ok(observed.unwrap_or_default().into_iter().filter_map(|policy| policy.policy_arn).collect())
}

/// The inline policies of a role: Stackdrop's own, and the names of the others.
async fn find_inline(
    work: &Work<'_>,
    name: &str,
    expected: Expected,
) -> Result<(Option<Value>, Vec<String>), StepError> {
    let listed = async {
        let pages = work.aws.iam().list_role_policies().role_name(name).into_paginator().items();
        let observed: Result<Vec<String>, _> = pages.send().try_collect().await;
        let observed = observed.unless(&ABSENT).doing(format!("listing the policies of IAM role {name}"))?;
        Ok::<_, StepError>(observed.unwrap_or_default())
    };
    let (policy, mut listed) = if expected == Expected::Policy {
        tokio::try_join!(find_policy(work, name), listed)?
    } else {
        let listed = listed.await?;
        let has_own = listed.iter().any(|policy| policy == POLICY);
        (if has_own { find_policy(work, name).await? } else { None }, listed)
    };
    listed.retain(|policy| policy != POLICY);
    Ok((policy, listed))
}

/// Decodes a policy document, which IAM returns URL-encoded.
fn document(encoded: &str) -> Option<Value> {
    let text = percent_encoding::percent_decode_str(encoded).decode_utf8().ok()?;
    serde_json::from_str(&text).ok()
}
