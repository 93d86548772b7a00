//! IAM roles that a stack's resources act as: created with their tags, under a path of Stackdrop's own.

use serde_json::{Value, json};

use crate::component::{Plan, Removal, Verb, Work};
use crate::error::{Answer, StepError};
use crate::stack::Tags;

/// The path of every role and profile that Stackdrop makes, so that a policy can name them all.
pub(crate) const PATH: &str = "/stackdrop/";

/// The name of the one inline policy of a role.
const POLICY: &str = "stackdrop";

/// A role as it shall be.
#[derive(Debug)]
#[expect(clippy::struct_field_names, reason = "the design's word for a place in the stack meets IAM's")]
pub(crate) struct Role {
    /// The component that it belongs to.
    pub(crate) component: &'static str,
    /// Its role in the stack, such as `role/task`.
    pub(crate) role: &'static str,
    /// Who acts as it, such as `ec2.amazonaws.com`.
    pub(crate) principal: &'static str,
    /// The ARN of the managed policy attached to it.
    pub(crate) managed: Option<&'static str>,
    /// Its inline policy: `null` for one that has none, so that one which is there is deleted; `None` for one that
    /// never has any, so that none is looked for.
    pub(crate) policy: Option<Value>,
}

/// A role as it stands.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) arn: String,
    tags: Tags,
    /// The ARNs of the managed policies attached to it; none for a role that never has any.
    attached: Vec<String>,
    policy: Option<Value>,
    /// Who may act as it.
    trust: Option<Value>,
}

impl Found {
    /// What its inline policy says.
    pub(crate) fn policy(&self) -> Option<&Value> {
        self.policy.as_ref()
    }

    /// Whether the role is this stack's.
    pub(crate) fn is_ours(&self, work: &Work<'_>) -> bool {
        work.stack.owns(&self.tags)
    }
}

impl Role {
    /// Its name. IAM's names are the account's, whatever the region, so the region is part of it.
    pub(crate) fn name(&self, work: &Work<'_>) -> String {
        name(work, self.role)
    }

    /// The managed policies that somebody has attached.
    fn added<'f>(&self, found: &'f Found) -> impl Iterator<Item = &'f str> {
        let wanted = self.managed;
        found.attached.iter().map(String::as_str).filter(move |arn| Some(*arn) != wanted)
    }

    /// The managed policy that it lacks.
    fn lacking(&self, found: Option<&Found>) -> Option<&'static str> {
        let has =
            |arn: &str| found.is_some_and(|found| found.attached.iter().any(|attached| attached == arn));
        self.managed.filter(|arn| !has(arn))
    }

    fn trust(&self) -> Value {
        json!({
            "Version": "2012-10-17",
            "Statement": [{
                "Effect": "Allow",
                "Principal": { "Service": self.principal },
                "Action": "sts:AssumeRole",
            }],
        })
    }

    /// The inline policy that it shall have, if any.
    fn document(&self) -> Option<&Value> {
        self.policy.as_ref().filter(|policy| !policy.is_null())
    }
}

/// The name of an IAM thing with this role in the stack: at most 64 characters, which is IAM's limit for roles.
pub(crate) fn name(work: &Work<'_>, role: &str) -> String {
    let last = role.rsplit('/').next().unwrap_or(role);
    format!("stackdrop-{}-{last}-{}", work.stack.name, work.aws.settings.region)
}

/// Tags in IAM's shape.
pub(crate) fn iam_tags(tags: Tags) -> Result<Vec<aws_sdk_iam::types::Tag>, StepError> {
    let tag = |(key, value)| aws_sdk_iam::types::Tag::builder().key(key).value(value).build();
    tags.into_iter()
        .map(|pair| tag(pair).map_err(|error| StepError::Defect(format!("writing a tag: {error}"))))
        .collect()
}

/// Tags from IAM's shape.
pub(crate) fn read_tags(tags: &[aws_sdk_iam::types::Tag]) -> Tags {
    tags.iter().map(|tag| (tag.key().to_owned(), tag.value().to_owned())).collect()
}

/// The role, if it is there: ours, or somebody else's with the same name.
pub(crate) async fn find(work: &Work<'_>, wanted: &Role) -> Result<Option<Found>, StepError> {
    let name = wanted.name(work);
    let (role, attached, policy) = tokio::try_join!(
        find_role(work, &name),
        find_managed(work, &name, wanted.managed),
        find_policy(work, &name, wanted.policy.is_some())
    )?;
    Ok(role.map(|role| Found {
        arn: role.arn().to_owned(),
        tags: read_tags(role.tags()),
        attached,
        policy,
        trust: role.assume_role_policy_document().and_then(document),
    }))
}

async fn find_role(work: &Work<'_>, name: &str) -> Result<Option<aws_sdk_iam::types::Role>, StepError> {
    let call = work.aws.iam().get_role().role_name(name).send().await;
    let answer = call.unless(&["NoSuchEntity"]).doing(format!("looking for the role {name}"))?;
    Ok(answer.and_then(|answer| answer.role))
}

async fn find_managed(work: &Work<'_>, name: &str, wanted: Option<&str>) -> Result<Vec<String>, StepError> {
    if wanted.is_none() {
        return Ok(Vec::new());
    }
    let call = work.aws.iam().list_attached_role_policies().role_name(name).send().await;
    let answer = call.unless(&["NoSuchEntity"]).doing(format!("listing the policies of {name}"))?;
    let policies = answer.and_then(|answer| answer.attached_policies).unwrap_or_default();
    Ok(policies.into_iter().filter_map(|policy| policy.policy_arn).collect())
}

async fn find_policy(work: &Work<'_>, name: &str, wanted: bool) -> Result<Option<Value>, StepError> {
    if !wanted {
        return Ok(None);
    }
    let call = work.aws.iam().get_role_policy().role_name(name).policy_name(POLICY).send().await;
    let answer = call.unless(&["NoSuchEntity"]).doing(format!("reading the policy of {name}"))?;
    Ok(answer.and_then(|answer| document(&answer.policy_document)))
}

/// A document as IAM answers with it: URL-encoded.
fn document(encoded: &str) -> Option<Value> {
    let text = percent_encoding::percent_decode_str(encoded).decode_utf8().ok()?;
    serde_json::from_str(&text).ok()
}

/// Notes what `ensure` would do.
pub(crate) fn plan(work: &Work<'_>, wanted: &Role, found: Option<&Found>, plan: &mut Plan) {
    let Some(found) = found else { return plan.change(Verb::Create, wanted.role) };
    if !found.is_ours(work) {
        plan.problem(
            wanted.role,
            format!("the role {} is not of this stack", wanted.name(work)),
            "delete it",
        );
        return;
    }
    plan.tags(work, wanted.component, wanted.role, &found.tags);
    if let Some(arn) = wanted.lacking(Some(found)) {
        plan.update(wanted.role, "policies", "(none)", arn);
    }
    for arn in wanted.added(found) {
        plan.update(wanted.role, "policies", arn, "(none)");
    }
    if found.trust.as_ref() != Some(&wanted.trust()) {
        let now = found.trust.as_ref().map_or("(none)".into(), Value::to_string);
        plan.update(wanted.role, "trust", now, wanted.trust());
    }
    if wanted.policy.is_some() && wanted.document() != found.policy.as_ref() {
        let shown = |policy: Option<&Value>| policy.map_or("(none)".into(), Value::to_string);
        plan.update(wanted.role, "policy", shown(found.policy.as_ref()), shown(wanted.document()));
    }
}

/// Creates or changes the role, and returns its ARN.
pub(crate) async fn ensure(
    work: &Work<'_>,
    wanted: &Role,
    found: Option<&Found>,
) -> Result<String, StepError> {
    let name = wanted.name(work);
    let arn = match found {
        Some(found) => {
            keep_tags(work, wanted, found, &name).await?;
            take_back(work, wanted, found, &name).await?;
            found.arn.clone()
        }
        None => create(work, wanted, &name).await?,
    };
    if let Some(policy) = wanted.lacking(found) {
        let call = work.aws.iam().attach_role_policy().role_name(&name).policy_arn(policy).send().await;
        let waits_for = format!("the role {name} to be visible");
        call.pending_on(&["NoSuchEntity"], &waits_for, format!("attaching {policy} to {name}"))?;
    }
    match (wanted.document(), found.and_then(|found| found.policy.as_ref())) {
        (Some(policy), held) if held != Some(policy) => {
            let call = work.aws.iam().put_role_policy().role_name(&name).policy_name(POLICY);
            let call = call.policy_document(policy.to_string()).send().await;
            let waits_for = format!("the role {name} to be visible");
            call.pending_on(&["NoSuchEntity"], &waits_for, format!("giving {name} its policy"))?;
        }
        (None, Some(_)) if wanted.policy.is_some() => {
            let call = work.aws.iam().delete_role_policy().role_name(&name).policy_name(POLICY).send().await;
            call.unless(&["NoSuchEntity"]).doing(format!("taking its policy from {name}"))?;
        }
        _ => {}
    }
    Ok(arn)
}

async fn keep_tags(work: &Work<'_>, wanted: &Role, found: &Found, name: &str) -> Result<(), StepError> {
    if !found.is_ours(work) {
        return Err(StepError::Foreign { what: format!("the role {name}"), fix: "delete it".into() });
    }
    let missing = work.stack.missing_tags(wanted.component, wanted.role, &found.tags);
    if !missing.is_empty() {
        let call = work.aws.iam().tag_role().role_name(name).set_tags(Some(iam_tags(missing)?)).send().await;
        call.doing(format!("tagging {name}"))?;
    }
    let stale = work.stack.stale_tags(&found.tags);
    if !stale.is_empty() {
        let call = work.aws.iam().untag_role().role_name(name).set_tag_keys(Some(stale)).send().await;
        call.doing(format!("taking tags from {name}"))?;
    }
    Ok(())
}

/// Takes back what somebody has let the role do, and whom act as it.
async fn take_back(work: &Work<'_>, wanted: &Role, found: &Found, name: &str) -> Result<(), StepError> {
    let iam = work.aws.iam();
    if found.trust.as_ref() != Some(&wanted.trust()) {
        let call = iam.update_assume_role_policy().role_name(name);
        let call = call.policy_document(wanted.trust().to_string()).send().await;
        call.doing(format!("setting who may act as {name}"))?;
    }
    for arn in wanted.added(found) {
        let call = iam.detach_role_policy().role_name(name).policy_arn(arn).send().await;
        call.unless(&["NoSuchEntity"]).doing(format!("detaching {arn} from {name}"))?;
    }
    Ok(())
}

async fn create(work: &Work<'_>, wanted: &Role, name: &str) -> Result<String, StepError> {
    let call = work
        .aws
        .iam()
        .create_role()
        .role_name(name)
        .path(PATH)
        .assume_role_policy_document(wanted.trust().to_string())
        .description(format!("What the {} of the stack {} acts as", wanted.component, work.stack.name))
        .set_tags(Some(iam_tags(work.stack.tags(wanted.component, wanted.role))?));
    // A lost answer has made it: the next attempt sees whose it is.
    let waits_for = format!("the role {name} to be visible");
    let answer =
        call.send().await.pending_on(&["EntityAlreadyExists"], &waits_for, format!("creating {name}"))?;
    tracing::info!(name, "Role created.");
    answer.role.map(|role| role.arn).ok_or_else(|| StepError::lacking("the role"))
}

/// Deletes a role of ours with its policies.
pub(crate) async fn remove(work: &Work<'_>, wanted: &Role) -> Result<Removal, StepError> {
    let name = wanted.name(work);
    let mut removal = Removal::default();
    let found = find_role(work, &name).await?;
    if !found.is_some_and(|role| work.stack.owns(&read_tags(role.tags()))) {
        return Ok(removal);
    }
    removal.found = 1;
    let gone = ["NoSuchEntity"];
    if let Some(policy) = wanted.managed {
        let call = work.aws.iam().detach_role_policy().role_name(&name).policy_arn(policy).send().await;
        call.unless(&gone).doing(format!("detaching {policy} from {name}"))?;
    }
    let call = work.aws.iam().delete_role_policy().role_name(&name).policy_name(POLICY).send().await;
    call.unless(&gone).doing(format!("deleting the policy of {name}"))?;
    let call = work.aws.iam().delete_role().role_name(&name).send().await;
    if call.gone(&gone, &["DeleteConflict"], format!("deleting the role {name}"))? {
        tracing::info!(name, "Role deleted.");
    } else {
        removal.leave(wanted.role, name, "a policy or an instance profile that was added by hand holds it");
    }
    Ok(removal)
}
