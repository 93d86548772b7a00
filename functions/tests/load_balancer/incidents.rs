//! What people and AWS do to the load balancer between deployments: a plan names it, and a deployment puts it right, leaves it
//! alone, or says what to do.

use std::time::Duration;

use serde_json::json;
use stackdrop_functions::aws::error::StepError;
use stackdrop_simulator::{Account, Incident};

use crate::common::{act, until_done};
use crate::{DOMAIN, GIVEN, NAME, assert_nothing_to_do, changes, deployed, problems, stable};

fn cause(account: &Account, name: &str) {
    let changed = account.cause(Incident::named(name).unwrap(), "shop");
    assert!(!changed.is_empty(), "{name} changed nothing");
}

#[tokio::test(start_paused = true)]
async fn what_lost_the_stacks_tag_is_named_and_not_created_twice() {
    for (name, resource) in [
        ("load-balancer-untagged", "load balancer arn:"),
        ("target-groups-untagged", "target group shop-"),
        ("listeners-untagged", "the listener on port 443"),
        ("listener-rules-untagged", "listener rule arn:"),
        ("certificate-untagged", "certificate arn:"),
    ] {
        let (account, aws, deployment) = deployed(DOMAIN).await;
        cause(&account, name);
        let found = problems(&aws, &deployment).await;
        assert!(
            found.contains(resource) && found.contains("restore its tag stackdrop:stack = shop"),
            "{name}: {found}"
        );
        let refused = act(&aws, NAME, "apply", &deployment).await.unwrap_err();
        assert!(matches!(refused, StepError::NotOwned { .. }), "{name}: {refused:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_somebody_changed_or_deleted_is_put_right() {
    for (name, change) in [
        ("load-balancer-unnamed", "update listener/https tags.Name"),
        ("load-balancer-deleted", "create load-balancer"),
        ("listener-deleted", "create listener/https"),
        ("listener-rules-deleted", "create rule/any-host/_"),
        ("tls-policy-weakened", "update listener/https sslPolicy"),
        ("target-group-drains-longer", "update target-group/web deregistration_delay.timeout_seconds"),
    ] {
        let (account, aws, deployment) = deployed(GIVEN).await;
        cause(&account, name);
        let planned = changes(&aws, &deployment).await;
        assert!(planned.iter().any(|line| line == change), "{name}: {planned:?}");
        let mut deployment = stable(deployment);
        let outputs = until_done(&aws, NAME, "apply", &deployment).await.unwrap();
        deployment["outputs"]["loadBalancer"] = outputs;
        until_done(&aws, NAME, "wait-until-stable", &deployment).await.unwrap();
        tokio::time::advance(Duration::from_secs(5)).await;
        assert_nothing_to_do(&account, &aws, &deployment).await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_stricter_or_harmless_is_left_alone() {
    let (account, aws, deployment) = deployed(GIVEN).await;
    for name in ["tls-policy-strengthened", "load-balancer-impaired", "load-balancer-protected"] {
        cause(&account, name);
        assert_nothing_to_do(&account, &aws, &deployment).await;
    }
    let plan = act(&aws, NAME, "plan", &deployment).await.unwrap();
    assert!(plan["warnings"].to_string().contains("cannot scale"), "{}", plan["warnings"]);
}

#[tokio::test(start_paused = true)]
async fn a_protected_load_balancer_is_a_problem_before_a_stack_is_destroyed() {
    for spec in [GIVEN, DOMAIN] {
        let (account, aws, mut deployment) = deployed(spec).await;
        cause(&account, "load-balancer-protected");
        deployment["destroying"] = json!(true);
        let found = problems(&aws, &deployment).await;
        assert!(found.contains("turned on the deletion protection"), "{found}");
        let stalled = act(&aws, NAME, "await-deletion", &deployment).await.unwrap_err();
        // ACM would release the requested certificate only after the load balancer.
        assert_eq!(stalled.name(), "Stalled", "AWS is not working on it: {stalled}");
        assert!(stalled.to_string().contains("deletion protection"), "{stalled}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_revoked_certificate_is_replaced() {
    let (account, aws, mut deployment) = deployed(DOMAIN).await;
    deployment["id"] = json!("second");
    cause(&account, "certificate-revoked");
    assert!(changes(&aws, &deployment).await.contains(&"create certificate".to_owned()));
    until_done(&aws, NAME, "apply", &deployment).await.unwrap();
    until_done(&aws, NAME, "prune", &deployment).await.unwrap();
    tokio::time::advance(Duration::from_secs(5)).await;
    assert_nothing_to_do(&account, &aws, &deployment).await;
}
