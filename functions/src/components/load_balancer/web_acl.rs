//! The web ACL of AWS WAF that filters the load balancer's requests. It belongs to the user: only its association with the load
//! balancer is the stack's.
//!
//! A load balancer has at most one web ACL. Source: "Associating or disassociating a web ACL with an AWS resource" in the AWS WAF
//! Developer Guide.

use aws_sdk_wafv2::types::Scope;
use stackdrop_specs::Spec;

use super::Blocker;
use super::balancer::{self, LOGICAL_ID};
use super::observed::{Balancer, Observed, known_specs};
use crate::aws::Settings;
use crate::aws::error::{AwsResult, StepError};
use crate::contract::component::Work;
use crate::deployment::names::TAG_DEPLOYMENT;
use crate::deployment::plan::Plan;

/// The field of the load balancer in plans.
const FIELD: &str = "webAcl";
/// No web ACL, in plans.
const NONE: &str = "(none)";

/// AWS WAF's code for a web ACL or load balancer that does not exist, or is not visible yet.
const ABSENT: &str = "WAFNonexistentItemException";
/// AWS WAF's code for a web ACL that was created or changed a moment ago ("Temporary inconsistencies during updates" at
/// `AssociateWebACL` in its API reference).
const UNAVAILABLE: &str = "WAFUnavailableEntityException";

fn named(spec: &Spec) -> Option<&str> {
    spec.load_balancer.as_ref()?.web_acl_arn.as_deref()
}

/// Whether the load balancer may have a web ACL by a spec. Before the first deployment succeeds, only the load balancer of a failed
/// one may have the web ACL of a spec that nothing records.
fn may_have_one(work: &Work<'_>, balancer: &Balancer) -> bool {
    let is_older = balancer.tags.get(TAG_DEPLOYMENT) != Some(&work.deployment.id);
    let is_of_unknown_spec = work.deployment.baseline.is_none() && is_older;
    is_of_unknown_spec || known_specs(work).any(|spec| named(spec).is_some())
}

/// Finds the ARN of the load balancer's web ACL. Most stacks never have one: AWS WAF is not asked for it. Before the load
/// balancer is active, it has none: [`apply`] waits for that.
pub(super) async fn find(work: &Work<'_>, balancer: Option<&Balancer>) -> Result<Option<String>, StepError> {
    let Some(balancer) = balancer.filter(|found| balancer::serves(&found.detail)) else { return Ok(None) };
    if !may_have_one(work, balancer) {
        return Ok(None);
    }
    let arn = balancer.arn();
    let call = work.aws.waf().get_web_acl_for_resource().resource_arn(arn).send().await;
    let found = call.stalled_on(
        &[ABSENT, UNAVAILABLE],
        "the load balancer to become visible to AWS WAF",
        format!("looking for the web ACL of load balancer {arn}"),
    )?;
    Ok(found.web_acl().map(|web_acl| web_acl.arn().to_owned()))
}

/// What differs from the spec.
enum Change<'a> {
    /// The web ACL of the spec is not the load balancer's.
    Attach(&'a str),
    /// The spec no longer has the web ACL that an earlier one attached.
    Detach,
}

fn change<'a>(work: &Work<'a>, observed: &Observed) -> Option<Change<'a>> {
    match (named(work.spec), observed.web_acl.as_deref()) {
        (Some(desired), actual) if actual != Some(desired) => Some(Change::Attach(desired)),
        (None, Some(actual)) if is_of_a_spec(work, actual) => Some(Change::Detach),
        _ => None,
    }
}

fn is_of_a_spec(work: &Work<'_>, web_acl: &str) -> bool {
    known_specs(work).any(|spec| named(spec) == Some(web_acl))
}

/// Plans the association of an existing load balancer.
pub(super) fn plan(work: &Work<'_>, observed: &Observed, plan: &mut Plan) {
    let actual = observed.web_acl.as_deref();
    match (change(work, observed), actual) {
        (Some(Change::Attach(desired)), _) => plan.update(LOGICAL_ID, FIELD, actual.unwrap_or(NONE), desired),
        (Some(Change::Detach), _) => plan.update(LOGICAL_ID, FIELD, actual.unwrap_or(NONE), NONE),
        (None, Some(actual)) if named(work.spec).is_none() => plan.warn(
            LOGICAL_ID,
            format!("somebody attached web ACL {actual} to the load balancer: Stackdrop leaves it alone"),
            "name it in loadBalancer.webAclArn to keep it attached, or detach it in AWS WAF",
        ),
        (None, _) => {}
    }
}

/// Whether AWS WAF can attach a web ACL to the load balancer: it must be in the same account and region. In an organization,
/// Firewall Manager creates web ACLs in each account.
fn is_here(work: &Work<'_>, web_acl: &str) -> bool {
    web_acl.starts_with(&work.aws.settings.arn("wafv2", "regional/webacl/"))
}

/// A web ACL of the spec in another account or region.
pub(super) fn blocker(work: &Work<'_>) -> Option<Blocker> {
    let web_acl = named(work.spec).filter(|web_acl| !is_here(work, web_acl))?;
    let Settings { region, account, .. } = &work.aws.settings;
    Some(Blocker::Spec {
        resource: LOGICAL_ID.into(),
        why: format!(
            "web ACL {web_acl} (loadBalancer.webAclArn) is not in the account {account} and the region {region}"
        ),
        fix: "set it to a web ACL there: AWS WAF attaches no other one".into(),
    })
}

/// Plans the problem that a web ACL which is not attached yet does not exist.
pub(super) async fn check(work: &Work<'_>, observed: &Observed, plan: &mut Plan) -> Result<(), StepError> {
    let Some(Change::Attach(web_acl)) = change(work, observed) else { return Ok(()) };
    if !is_here(work, web_acl) {
        return Ok(());
    }
    let mut parts = web_acl.rsplit('/');
    let (id, name) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let call = work.aws.waf().get_web_acl().scope(Scope::Regional).name(name).id(id).send().await;
    if call.unless(&[ABSENT]).doing(format!("looking for web ACL {web_acl}"))?.is_none() {
        plan.problem(
            LOGICAL_ID,
            format!("web ACL {web_acl} (loadBalancer.webAclArn) does not exist"),
            "create the web ACL, set loadBalancer.webAclArn to an existing one, or remove it",
        );
    }
    Ok(())
}

/// Attaches or detaches the web ACL, once the load balancer is active. Before that, AWS WAF may not know it.
pub(super) async fn apply(work: &Work<'_>, observed: &Observed) -> Result<(), StepError> {
    let Some(change) = change(work, observed) else { return Ok(()) };
    let Some(balancer) = &observed.balancer else {
        return Err(StepError::pending(format!(
            "load balancer {} to become active, so that AWS WAF can protect it",
            work.stack.name
        )));
    };
    balancer::check_active(work, &balancer.detail)?;
    match change {
        Change::Attach(web_acl) => attach(work, web_acl, balancer.arn()).await,
        Change::Detach => detach(work, balancer.arn()).await,
    }
}

async fn attach(work: &Work<'_>, web_acl: &str, arn: &str) -> Result<(), StepError> {
    let call = work.aws.waf().associate_web_acl().web_acl_arn(web_acl).resource_arn(arn).send().await;
    let attached =
        call.unless(&[UNAVAILABLE]).doing(format!("attaching web ACL {web_acl} to load balancer {arn}"))?;
    if attached.is_none() {
        let why = "AWS WAF needs up to some minutes until a new web ACL can be attached: deploy again.";
        return Err(StepError::stalled_because(format!("web ACL {web_acl} to become available"), why));
    }
    tracing::info!(arn, web_acl, "Web ACL attached.");
    Ok(())
}

async fn detach(work: &Work<'_>, arn: &str) -> Result<(), StepError> {
    let call = work.aws.waf().disassociate_web_acl().resource_arn(arn).send().await;
    call.stalled_on(
        &[ABSENT],
        "the load balancer to become visible to AWS WAF",
        format!("detaching the web ACL from load balancer {arn}"),
    )?;
    tracing::info!(arn, "Web ACL detached.");
    Ok(())
}
