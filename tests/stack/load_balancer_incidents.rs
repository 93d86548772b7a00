//! What AWS and people do to load balancers, certificates and DNS records between deployments: a deployment repairs it,
//! leaves it alone, or changes nothing and says what to do.

use std::time::Duration;

use serde_json::json;
use stackdrop::Rehearsal;
use stackdrop_functions::deployment::outcome::Outcome;

use crate::{cause, changes, deployed, object, pause, redeploy, rehearsal, resources, run};

/// Two services behind a domain, whose certificate Stackdrop requests.
const DOMAIN: &str = "
stack: shop
loadBalancer: { domain: shop.example.com, hostedZoneId: Z0123456789ABCDEFGHIJ }
services:
  web: { image: 'public.ecr.aws/docker/library/nginx:1.29', port: 80, routes: [{ path: /* }] }
  api: { image: 'public.ecr.aws/docker/library/nginx:1.29', port: 80, routes: [{ path: /api/* }] }
";

/// Fails unless the next deployment changes nothing.
async fn assert_nothing_to_do(rehearsal: &Rehearsal, after: &str) {
    let next = redeploy(rehearsal).await;
    assert_eq!(
        (next.result(), changes(&next)),
        (Outcome::Succeeded, Vec::new()),
        "after {after}: {:?}",
        next.error()
    );
}

#[tokio::test(start_paused = true)]
async fn what_people_change_or_delete_is_repaired() {
    let rehearsal = rehearsal(DOMAIN);
    deployed(&rehearsal, DOMAIN).await;
    for name in [
        "load-balancer-unnamed",
        "tls-policy-weakened",
        "target-group-drains-longer",
        "alias-records-deleted",
        "validation-records-deleted",
        "certificate-revoked",
        "listener-rules-deleted",
        "target-groups-deleted",
        "listener-deleted",
        "load-balancer-deleted",
    ] {
        cause(&rehearsal, name);
        let repair = redeploy(&rehearsal).await;
        assert_eq!(repair.result(), Outcome::Succeeded, "{name}: {:?}", repair.error());
        assert_ne!(changes(&repair), Vec::<String>::new(), "{name}");
        assert_nothing_to_do(&rehearsal, name).await;
        pause(Duration::from_hours(1)).await;
    }
    let destroyed = run(&rehearsal, json!({ "stack": "shop", "action": "destroy" })).await;
    assert_eq!(destroyed.result(), Outcome::Destroyed, "{:?}", destroyed.error());
    assert_eq!(resources(&rehearsal), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn what_is_stricter_or_harmless_is_left_alone_and_does_not_outlive_the_stack() {
    let rehearsal = rehearsal(DOMAIN);
    deployed(&rehearsal, DOMAIN).await;
    for name in ["tls-policy-strengthened", "load-balancer-impaired", "target-registered-by-hand"] {
        cause(&rehearsal, name);
        assert_nothing_to_do(&rehearsal, name).await;
    }
    let destroyed = run(&rehearsal, json!({ "stack": "shop", "action": "destroy" })).await;
    assert_eq!(destroyed.result(), Outcome::Destroyed, "{:?}", destroyed.error());
    assert_eq!(resources(&rehearsal), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn what_is_no_longer_the_stacks_is_named_and_nothing_is_changed() {
    for (name, wanted) in [
        ("load-balancer-untagged", "restore its tag stackdrop:stack = shop"),
        ("target-groups-untagged", "restore its tag stackdrop:stack = shop"),
        ("listeners-untagged", "restore its tag stackdrop:stack = shop"),
        ("listener-rules-untagged", "restore its tag stackdrop:stack = shop"),
        ("certificate-untagged", "restore its tag stackdrop:stack = shop"),
        ("alias-records-replaced", "DNS record shop.example.com (A)"),
    ] {
        let rehearsal = rehearsal(DOMAIN);
        deployed(&rehearsal, DOMAIN).await;
        let before = resources(&rehearsal);
        cause(&rehearsal, name);
        let stopped = redeploy(&rehearsal).await;
        assert_eq!(
            (stopped.result(), changes(&stopped)),
            (Outcome::Failed, Vec::new()),
            "{name}: {:?}",
            stopped.error()
        );
        let record = object(&rehearsal, "stacks/shop/status.json").await.unwrap().to_string();
        assert!(record.contains(wanted), "{name}: {record}");
        assert_eq!(resources(&rehearsal), before, "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_protected_load_balancer_is_told_before_anything_is_destroyed() {
    let rehearsal = rehearsal(DOMAIN);
    deployed(&rehearsal, DOMAIN).await;
    cause(&rehearsal, "load-balancer-protected");
    assert_nothing_to_do(&rehearsal, "load-balancer-protected").await;
    let before = resources(&rehearsal);
    let refused = run(&rehearsal, json!({ "stack": "shop", "action": "destroy" })).await;
    assert_eq!((refused.result(), changes(&refused)), (Outcome::Failed, Vec::new()), "{:?}", refused.error());
    assert!(refused.error().unwrap_or_default().contains("deletion protection"), "{:?}", refused.error());
    assert_eq!(resources(&rehearsal), before);
}
