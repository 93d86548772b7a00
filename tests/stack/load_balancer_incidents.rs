//! What AWS and people do to load balancers, certificates and DNS records between deployments: a deployment repairs it,
//! leaves it alone, or changes nothing and says what to do.

use std::time::Duration;

use aws_sdk_route53::types::builders::ResourceRecordSetBuilder;
use aws_sdk_route53::types::{
    AliasTarget, Change, ChangeAction, ChangeBatch, ResourceRecord, ResourceRecordSet, RrType,
};
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
    let destroyed =
        run(&rehearsal, json!({ "stack": "shop", "action": "destroy", "deleteData": ["shop-instance"] }))
            .await;
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
    let destroyed =
        run(&rehearsal, json!({ "stack": "shop", "action": "destroy", "deleteData": ["shop-instance"] }))
            .await;
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
async fn a_load_balancer_without_the_stacks_tag_is_told_before_anything_is_destroyed() {
    for (incident, logical_id) in
        [("load-balancer-untagged", "load-balancer"), ("target-groups-untagged", "target-group/web")]
    {
        let rehearsal = rehearsal(DOMAIN);
        deployed(&rehearsal, DOMAIN).await;
        let before = resources(&rehearsal);
        let untagged = cause(&rehearsal, incident);
        let refused =
            run(&rehearsal, json!({ "stack": "shop", "action": "destroy", "deleteData": ["shop-instance"] }))
                .await;
        assert_eq!(
            (refused.result(), changes(&refused)),
            (Outcome::Failed, Vec::new()),
            "{:?}",
            refused.error()
        );
        let record = object(&rehearsal, "stacks/shop/status.json").await.unwrap().to_string();
        for text in [logical_id, &format!("aws elbv2 add-tags --resource-arns {}", untagged[0])] {
            assert!(record.contains(text), "{incident}: {text:?} is not in {record}");
        }
        assert_eq!(resources(&rehearsal), before, "{incident}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_load_balancer_that_loses_its_tag_during_a_destroy_is_told_within_minutes() {
    let rehearsal = rehearsal(DOMAIN);
    deployed(&rehearsal, DOMAIN).await;
    let (_, checkpoints) = rehearsal
        .run_with_checkpoints(
            json!({ "stack": "shop", "action": "destroy", "deleteData": ["shop-instance"] }),
        )
        .await;
    let from = checkpoints.iter().find(|moment| moment.step() == Some("DeleteLoadBalancer")).unwrap();
    let rehearsal = Rehearsal::resume(from);
    let untagged = cause(&rehearsal, "load-balancer-untagged");
    let began = rehearsal.account().clock().elapsed();
    let failed = rehearsal.go_on(from).await.unwrap();
    let took = rehearsal.account().clock().elapsed().saturating_sub(began);
    assert_eq!(failed.result(), Outcome::DestroyFailed, "{:?}", failed.error());
    let error = failed.error().unwrap();
    assert!(error.contains(&format!("aws elbv2 add-tags --resource-arns {}", untagged[0])), "{error}");
    assert!(took < Duration::from_mins(15), "{took:?}: {error}");
}

#[tokio::test(start_paused = true)]
async fn a_protected_load_balancer_is_told_before_anything_is_destroyed() {
    let rehearsal = rehearsal(DOMAIN);
    deployed(&rehearsal, DOMAIN).await;
    cause(&rehearsal, "load-balancer-protected");
    assert_nothing_to_do(&rehearsal, "load-balancer-protected").await;
    let before = resources(&rehearsal);
    let refused =
        run(&rehearsal, json!({ "stack": "shop", "action": "destroy", "deleteData": ["shop-instance"] }))
            .await;
    assert_eq!((refused.result(), changes(&refused)), (Outcome::Failed, Vec::new()), "{:?}", refused.error());
    assert!(refused.error().unwrap_or_default().contains("deletion protection"), "{:?}", refused.error());
    assert_eq!(resources(&rehearsal), before);
}

/// Changes one DNS record of the domain.
async fn change_record(rehearsal: &Rehearsal, action: ChangeAction, record: ResourceRecordSetBuilder) {
    let record = record.name("shop.example.com").build().unwrap();
    let change = Change::builder().action(action).resource_record_set(record).build().unwrap();
    let batch = ChangeBatch::builder().changes(change).build().unwrap();
    let call =
        rehearsal.aws().route53().change_resource_record_sets().hosted_zone_id("Z0123456789ABCDEFGHIJ");
    call.change_batch(batch).send().await.unwrap();
}

/// A CNAME record.
fn cname(value: &str) -> ResourceRecordSetBuilder {
    let value = ResourceRecord::builder().value(value).build().unwrap();
    ResourceRecordSet::builder().r#type(RrType::Cname).ttl(60).resource_records(value)
}

#[tokio::test(start_paused = true)]
async fn records_of_others_that_lead_to_the_load_balancer_are_left_alone_and_told() {
    let rehearsal = rehearsal(DOMAIN);
    deployed(&rehearsal, DOMAIN).await;
    let found = rehearsal.aws().elb().describe_load_balancers().names("shop").send().await.unwrap();
    let balancer = &found.load_balancers()[0];
    let name = balancer.dns_name().unwrap();
    let alias = |kind: RrType, name: &str| {
        let target = AliasTarget::builder().hosted_zone_id(balancer.canonical_hosted_zone_id().unwrap());
        let target = target.dns_name(name).evaluate_target_health(false).build().unwrap();
        ResourceRecordSet::builder().r#type(kind).alias_target(target)
    };
    let dual = format!("dualstack.{name}");
    change_record(&rehearsal, ChangeAction::Create, alias(RrType::Aaaa, &dual)).await;
    assert_nothing_to_do(&rehearsal, "an alias record for IPv6").await;
    let status = object(&rehearsal, "stacks/shop/status.json").await.unwrap();
    assert!(
        status["message"].as_str().unwrap().contains("(AAAA) also leads to the load balancer"),
        "{status}"
    );
    change_record(&rehearsal, ChangeAction::Delete, alias(RrType::Aaaa, &dual)).await;
    cause(&rehearsal, "alias-records-deleted");
    change_record(&rehearsal, ChangeAction::Create, cname(name)).await;
    assert_nothing_to_do(&rehearsal, "a CNAME record to the load balancer").await;
    let status = object(&rehearsal, "stacks/shop/status.json").await.unwrap();
    assert!(
        status["message"].as_str().unwrap().contains("(CNAME) also leads to the load balancer"),
        "{status}"
    );
    change_record(&rehearsal, ChangeAction::Upsert, cname("elsewhere.example.com")).await;
    let refused = redeploy(&rehearsal).await;
    assert_eq!((refused.result(), changes(&refused)), (Outcome::Failed, Vec::new()));
    let error = refused.error().unwrap();
    assert!(error.contains("shop.example.com (CNAME)") && error.contains("delete the record"), "{error}");
}
