//! Web ACLs of AWS WAF: `loadBalancer.webAclArn`.

use serde_json::json;
use stackdrop::{Deployed, Rehearsal};
use stackdrop_functions::deployment::outcome::Outcome;
use stackdrop_simulator::{Fault, FaultKind, Incident, Seed, When};

use crate::updates_network::{assert_planned, planned};
use crate::{changes, deployed, object, redeploy, rehearsal, resources, run, with};

/// A service behind a load balancer whose requests are filtered.
pub(crate) const FILTERED: &str = "
stack: shop
loadBalancer: { certificateArn: 'arn:aws:acm:eu-central-1:123456789012:certificate/6d4b1c2e-8f3a-4f0e-9a51-2b7c9d0e1f23', webAclArn: 'arn:aws:wafv2:eu-central-1:123456789012:regional/webacl/shop/3f2504e0-4f89-41d3-9a0c-0305e82c3301' }
services:
  web: { image: 'public.ecr.aws/docker/library/nginx:1.29', port: 80, routes: [{ path: /* }] }
";

const WEB_ACL: &str =
    "arn:aws:wafv2:eu-central-1:123456789012:regional/webacl/shop/3f2504e0-4f89-41d3-9a0c-0305e82c3301";

/// A web ACL that exists too.
const OTHER: &str =
    "arn:aws:wafv2:eu-central-1:123456789012:regional/webacl/other/9a1e0a5c-2c1f-4f3b-8d57-6f2b7f0c9e44";

/// The same stack without a web ACL.
pub(crate) fn unfiltered() -> String {
    with(FILTERED, &format!(", webAclArn: '{WEB_ACL}'"), "")
}

/// An account with both web ACLs.
fn account() -> Rehearsal {
    let rehearsal = rehearsal(FILTERED);
    rehearsal.account().seed(&Seed::WebAcl { arn: OTHER.into() });
    rehearsal
}

/// The ARN of the only load balancer.
async fn load_balancer(rehearsal: &Rehearsal) -> String {
    let found = rehearsal.aws().elb().describe_load_balancers().send().await.unwrap();
    found.load_balancers()[0].load_balancer_arn().unwrap().to_owned()
}

/// The ARN of the load balancer's web ACL.
async fn attached(rehearsal: &Rehearsal) -> Option<String> {
    let arn = load_balancer(rehearsal).await;
    let found = rehearsal.aws().waf().get_web_acl_for_resource().resource_arn(arn).send().await.unwrap();
    found.web_acl().map(|web_acl| web_acl.arn().to_owned())
}

/// Attaches the other web ACL as a person does.
async fn attach_other(rehearsal: &Rehearsal) {
    let arn = load_balancer(rehearsal).await;
    let call = rehearsal.aws().waf().associate_web_acl().resource_arn(arn).web_acl_arn(OTHER);
    call.send().await.unwrap();
}

/// The record of the last deployment, as text.
async fn record(rehearsal: &Rehearsal) -> String {
    object(rehearsal, "stacks/shop/status.json").await.unwrap().to_string()
}

/// Fails unless a deployment was refused before it changed anything, for this reason.
fn assert_refused(refused: &Deployed, reason: &str) {
    assert_eq!((refused.result(), changes(refused)), (Outcome::Failed, Vec::new()));
    let error = refused.error().unwrap();
    assert!(error.contains(reason), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_web_acl_filters_the_first_request_of_a_new_stack() {
    let rehearsal = account();
    let first = deployed(&rehearsal, FILTERED).await;
    assert_eq!(attached(&rehearsal).await.as_deref(), Some(WEB_ACL));
    let calls = changes(&first);
    let place = |name: &str| calls.iter().position(|call| call == name).unwrap();
    let attaches = place("wafv2:AssociateWebACL");
    assert!(attaches < place("elasticloadbalancing:CreateListener"), "{calls:#?}");
    assert_eq!(changes(&redeploy(&rehearsal).await), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_web_acl_is_added_to_an_existing_stack_changed_and_removed() {
    let rehearsal = account();
    deployed(&rehearsal, &unfiltered()).await;
    let added = deployed(&rehearsal, FILTERED).await;
    let line = format!("load-balancer webAcl (none) -> {WEB_ACL}");
    assert_planned(&planned(&rehearsal, &added).await, &[&line]);
    assert_eq!(changes(&added), ["wafv2:AssociateWebACL"]);
    let changed = deployed(&rehearsal, &with(FILTERED, WEB_ACL, OTHER)).await;
    let line = format!("load-balancer webAcl {WEB_ACL} -> {OTHER}");
    assert_planned(&planned(&rehearsal, &changed).await, &[&line]);
    assert_eq!(changes(&changed), ["wafv2:AssociateWebACL"]);
    assert_eq!(attached(&rehearsal).await.as_deref(), Some(OTHER));
    let removed = deployed(&rehearsal, &unfiltered()).await;
    let line = format!("load-balancer webAcl {OTHER} -> (none)");
    assert_planned(&planned(&rehearsal, &removed).await, &[&line]);
    assert_eq!(changes(&removed), ["wafv2:DisassociateWebACL"]);
    let record = record(&rehearsal).await;
    assert!(record.contains("no web ACL filters its requests any more"), "{record}");
    assert_eq!(attached(&rehearsal).await, None);
    assert_eq!(changes(&redeploy(&rehearsal).await), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_web_acl_that_somebody_detaches_or_replaces_is_attached_again() {
    let rehearsal = account();
    deployed(&rehearsal, FILTERED).await;
    let incident = Incident::named("web-acl-detached").unwrap();
    assert_eq!(rehearsal.account().cause(incident, "shop").len(), 1);
    let repair = redeploy(&rehearsal).await;
    assert_eq!(changes(&repair), ["wafv2:AssociateWebACL"]);
    attach_other(&rehearsal).await;
    let repair = redeploy(&rehearsal).await;
    assert_planned(
        &planned(&rehearsal, &repair).await,
        &[&format!("load-balancer webAcl {OTHER} -> {WEB_ACL}")],
    );
    assert_eq!(attached(&rehearsal).await.as_deref(), Some(WEB_ACL));
}

#[tokio::test(start_paused = true)]
async fn a_web_acl_of_another_owner_stays_if_no_spec_names_one() {
    let rehearsal = account();
    deployed(&rehearsal, &unfiltered()).await;
    attach_other(&rehearsal).await;
    assert_eq!(changes(&redeploy(&rehearsal).await), Vec::<String>::new());
    assert_eq!(attached(&rehearsal).await.as_deref(), Some(OTHER));
}

#[tokio::test(start_paused = true)]
async fn a_web_acl_that_another_owner_attached_instead_stays_with_a_warning() {
    let rehearsal = account();
    deployed(&rehearsal, FILTERED).await;
    attach_other(&rehearsal).await;
    let update = deployed(&rehearsal, &unfiltered()).await;
    assert_eq!(changes(&update), Vec::<String>::new());
    let record = record(&rehearsal).await;
    assert!(record.contains(&format!("somebody attached web ACL {OTHER}")), "{record}");
    assert_eq!(attached(&rehearsal).await.as_deref(), Some(OTHER));
}

#[tokio::test(start_paused = true)]
async fn a_web_acl_that_cannot_be_attached_is_refused_before_any_change() {
    let rehearsal = account();
    let missing = with(FILTERED, "3f2504e0", "00000000");
    let of_others =
        with(FILTERED, "eu-central-1:123456789012:regional", "eu-central-1:999999999999:regional");
    let elsewhere = with(FILTERED, "wafv2:eu-central-1", "wafv2:eu-west-1");
    for (spec, reason) in [
        (&missing, "does not exist"),
        (&of_others, "is not in the account 123456789012"),
        (&elsewhere, "and the region eu-central-1"),
    ] {
        assert_refused(&rehearsal.deploy(spec, &()).await.unwrap(), reason);
        assert_eq!(resources(&rehearsal), Vec::<String>::new());
    }
    deployed(&rehearsal, &unfiltered()).await;
    assert_refused(&rehearsal.deploy(&missing, &()).await.unwrap(), "does not exist");
}

#[tokio::test(start_paused = true)]
async fn a_new_web_acl_is_attached_once_it_is_available() {
    let unavailable = || FaultKind::Refused {
        code: "WAFUnavailableEntityException".into(),
        message: "AWS WAF couldn’t retrieve the resource that you requested. Retry your request.".into(),
    };
    for (when, outcome) in [(When::Span(1, 3), Outcome::Succeeded), (When::From(1), Outcome::Failed)] {
        let rehearsal = account();
        deployed(&rehearsal, &unfiltered()).await;
        rehearsal.account().arm(Fault::at("wafv2", "AssociateWebACL", when, unavailable()));
        let update = rehearsal.deploy(FILTERED, &()).await.unwrap();
        assert_eq!(update.result(), outcome, "{:?}", update.error());
        let expected = (outcome == Outcome::Succeeded).then_some(WEB_ACL);
        assert_eq!(attached(&rehearsal).await.as_deref(), expected);
        if let Some(error) = update.error() {
            assert!(error.contains("until a new web ACL can be attached: deploy again"), "{error}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_failed_update_leaves_the_web_acl_as_it_was() {
    for (before, after) in [(FILTERED.to_owned(), unfiltered()), (unfiltered(), FILTERED.to_owned())] {
        let rehearsal = account();
        deployed(&rehearsal, &before).await;
        let was = attached(&rehearsal).await;
        let image = "public.ecr.aws/docker/library/broken:1";
        rehearsal.account().seed(&Seed::CrashingImage { image: image.into(), exit_code: 1 });
        let broken = with(&after, "public.ecr.aws/docker/library/nginx:1.29", image);
        let failed = rehearsal.deploy(&broken, &()).await.unwrap();
        assert_eq!(failed.result(), Outcome::Failed, "{:?}", failed.error());
        assert!(changes(&failed).iter().any(|call| call.starts_with("wafv2:")), "{:#?}", changes(&failed));
        assert_eq!(attached(&rehearsal).await, was);
        assert_eq!(changes(&deployed(&rehearsal, &before).await), Vec::<String>::new());
    }
}

#[tokio::test(start_paused = true)]
async fn a_destroy_leaves_the_web_acl_to_its_owner() {
    let rehearsal = account();
    deployed(&rehearsal, FILTERED).await;
    let destroyed = run(&rehearsal, json!({ "stack": "shop", "action": "destroy" })).await;
    assert_eq!(destroyed.result(), Outcome::Destroyed, "{:?}", destroyed.error());
    assert_eq!(resources(&rehearsal), Vec::<String>::new());
    // It exists as before: another deployment attaches it again.
    deployed(&rehearsal, FILTERED).await;
    assert_eq!(attached(&rehearsal).await.as_deref(), Some(WEB_ACL));
}
