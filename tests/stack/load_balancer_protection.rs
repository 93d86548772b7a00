//! The deletion protection of a load balancer: `loadBalancer.deletionProtection`.

use serde_json::json;
use stackdrop::Rehearsal;
use stackdrop_functions::deployment::outcome::Outcome;
use stackdrop_simulator::{Fault, Seed, When};

use crate::{
    changes, deployed, object, redeploy, refused, rehearsal, resources, resources_but_logs, run, with,
};

const PROTECTED: &str = "
stack: shop
loadBalancer: { certificateArn: 'arn:aws:acm:eu-central-1:123456789012:certificate/6d4b1c2e-8f3a-4f0e-9a51-2b7c9d0e1f23', deletionProtection: true }
services:
  web: { image: 'public.ecr.aws/docker/library/nginx:1.29', port: 80, routes: [{ path: /* }] }
";

fn unprotected() -> String {
    with(PROTECTED, "deletionProtection: true", "deletionProtection: false")
}

/// The ARN of the only load balancer, and whether it is protected.
async fn protection(rehearsal: &Rehearsal) -> (String, bool) {
    let elb = rehearsal.aws().elb();
    let found = elb.describe_load_balancers().send().await.unwrap();
    let arn = found.load_balancers()[0].load_balancer_arn().unwrap().to_owned();
    let attributes = elb.describe_load_balancer_attributes().load_balancer_arn(&arn).send().await.unwrap();
    let on = attributes.attributes().iter().any(|attribute| {
        attribute.key() == Some("deletion_protection.enabled") && attribute.value() == Some("true")
    });
    (arn, on)
}

async fn is_protected(rehearsal: &Rehearsal) -> bool {
    protection(rehearsal).await.1
}

/// The plan of the last deployment, as text.
async fn plan(rehearsal: &Rehearsal) -> String {
    object(rehearsal, "stacks/shop/status.json").await.unwrap()["plan"].to_string()
}

#[tokio::test(start_paused = true)]
async fn protection_is_turned_on_once_a_deployment_has_succeeded() {
    let rehearsal = rehearsal(PROTECTED);
    rehearsal.account().arm(Fault::at("ecs", "CreateService", When::From(1), refused()));
    let failed = rehearsal.deploy(PROTECTED, &()).await.unwrap();
    assert_eq!(failed.result(), Outcome::Failed, "{:?}", failed.error());
    assert_eq!(resources_but_logs(&rehearsal), Vec::<String>::new(), "it could be rolled back");
    rehearsal.account().disarm();
    deployed(&rehearsal, PROTECTED).await;
    assert!(is_protected(&rehearsal).await);
    assert_eq!(changes(&redeploy(&rehearsal).await), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_protected_load_balancer_is_not_partly_destroyed() {
    let rehearsal = rehearsal(PROTECTED);
    deployed(&rehearsal, PROTECTED).await;
    let before = resources(&rehearsal);
    let destroy = || run(&rehearsal, json!({ "stack": "shop", "action": "destroy" }));
    let without = "stack: shop\nservices: { web: { image: 'public.ecr.aws/docker/library/nginx:1.29' } }\n";
    for refused in [destroy().await, rehearsal.deploy(without, &()).await.unwrap()] {
        assert_eq!((refused.result(), changes(&refused)), (Outcome::Failed, Vec::new()));
        let error = refused.error().unwrap();
        assert!(error.contains("set loadBalancer.deletionProtection: false"), "{error}");
        assert_eq!(resources(&rehearsal), before);
    }
    deployed(&rehearsal, &unprotected()).await;
    assert!(plan(&rehearsal).await.contains("deletion_protection.enabled"), "{}", plan(&rehearsal).await);
    assert!(!is_protected(&rehearsal).await);
    let destroyed = destroy().await;
    assert_eq!(destroyed.result(), Outcome::Destroyed, "{:?}", destroyed.error());
    assert_eq!(resources(&rehearsal), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn protection_that_somebody_turned_off_is_in_the_plan_and_repaired() {
    let rehearsal = rehearsal(PROTECTED);
    deployed(&rehearsal, PROTECTED).await;
    let (arn, _) = protection(&rehearsal).await;
    let off = aws_sdk_elasticloadbalancingv2::types::LoadBalancerAttribute::builder();
    let off = off.key("deletion_protection.enabled").value("false").build();
    let call = rehearsal.aws().elb().modify_load_balancer_attributes().load_balancer_arn(arn);
    call.attributes(off).send().await.unwrap();
    let repair = redeploy(&rehearsal).await;
    assert_eq!(changes(&repair), ["elasticloadbalancing:ModifyLoadBalancerAttributes"]);
    assert!(plan(&rehearsal).await.contains("deletion_protection.enabled"), "{}", plan(&rehearsal).await);
    assert!(is_protected(&rehearsal).await);
}

#[tokio::test(start_paused = true)]
async fn a_failed_update_leaves_the_protection_as_it_was() {
    for (before, after) in [(PROTECTED.to_owned(), unprotected()), (unprotected(), PROTECTED.to_owned())] {
        let rehearsal = rehearsal(&before);
        deployed(&rehearsal, &before).await;
        let image = "public.ecr.aws/docker/library/broken:1";
        rehearsal.account().seed(&Seed::CrashingImage { image: image.into(), exit_code: 1 });
        let broken = with(&after, "public.ecr.aws/docker/library/nginx:1.29", image);
        let failed = rehearsal.deploy(&broken, &()).await.unwrap();
        assert_eq!(failed.result(), Outcome::Failed, "{:?}", failed.error());
        assert_eq!(is_protected(&rehearsal).await, before == PROTECTED);
        assert_eq!(changes(&deployed(&rehearsal, &before).await), Vec::<String>::new());
    }
}
