//! Updates of databases, load balancers and services: each field alone, in place, without a gap in service.

use std::time::Duration;

use serde_json::Value;
use stackdrop::{Deployed, Rehearsal, Setting};
use stackdrop_simulator::Seed;
use stackdrop_specs::Spec;

use crate::{SHOP, changes, deployed};

const OTHER_CERTIFICATE: &str =
    "arn:aws:acm:eu-central-1:123456789012:certificate/aaaaaaaa-2222-3333-4444-555555555555";

/// An account with the resources that the updates refer to.
fn shop() -> Rehearsal {
    let certificate = Seed::Certificate { arn: OTHER_CERTIFICATE.into(), domain: "example.com".into() };
    let bucket = Seed::Bucket { name: "shop-access-logs".into() };
    let setting = Setting { seeds: vec![certificate, bucket], ..Setting::default() };
    Rehearsal::open(&setting, &[&Spec::read(SHOP.as_bytes()).unwrap()]).unwrap()
}

/// The plan in the record of the last deployment: a line `resource field: from -> to` for each changed field, and a line
/// `verb resource` for each resource that is created or deleted.
async fn planned(rehearsal: &Rehearsal) -> Vec<String> {
    let s3 = aws_sdk_s3::Client::new(rehearsal.sdk());
    let bucket = &rehearsal.aws().settings.bucket;
    let status = s3.get_object().bucket(bucket).key("stacks/shop/status.json").send().await.unwrap();
    let bytes = status.body.collect().await.unwrap().into_bytes();
    let record: Value = serde_json::from_slice(&bytes).unwrap();
    let text = |value: &Value, key: &str| value[key].as_str().unwrap_or_default().to_owned();
    let mut lines = Vec::new();
    let parts = record["plan"].as_array().into_iter().flatten();
    for change in parts.flat_map(|part| part["changes"].as_array().unwrap()) {
        let resource = text(change, "resource");
        match change["fields"].as_array() {
            Some(fields) => lines.extend(fields.iter().map(|field| {
                format!(
                    "{resource} {}: {} -> {}",
                    text(field, "field"),
                    text(field, "from"),
                    text(field, "to")
                )
            })),
            None => lines.push(format!("{} {resource}", text(change, "verb"))),
        }
    }
    lines
}

/// Deploys a spec, counts the healthy targets every five seconds, and returns the lowest count.
async fn watched(rehearsal: &Rehearsal, spec: &str) -> (Deployed, usize) {
    let elb = &rehearsal.aws().elb();
    let mut fewest = usize::MAX;
    let mut clock = tokio::time::interval(Duration::from_secs(5));
    let mut deployment = Box::pin(deployed(rehearsal, spec));
    loop {
        tokio::select! {
            biased;
            done = &mut deployment => return (done, fewest),
            _ = clock.tick() => {}
        }
        let look = async {
            let groups = elb.describe_target_groups().send().await.unwrap();
            let group = groups
                .target_groups()
                .iter()
                .find(|group| group.target_group_name().is_some_and(|name| name.starts_with("shop-web-")));
            let group = group.and_then(|group| group.target_group_arn()).unwrap();
            let targets = elb.describe_target_health().target_group_arn(group).send().await.unwrap();
            let targets = targets.target_health_descriptions.unwrap_or_default();
            let healthy = targets.iter().filter(|target| {
                target
                    .target_health()
                    .and_then(|health| health.state())
                    .is_some_and(|state| state.as_str() == "healthy")
            });
            healthy.count()
        };
        tokio::select! {
            biased;
            done = &mut deployment => return (done, fewest),
            healthy = look => fewest = fewest.min(healthy),
        }
    }
}

/// The text that is replaced in the spec, its replacement, and what the plan must say.
const UPDATES: [(&str, &str, &str); 33] = [
    (
        "nginx:1.29",
        "nginx:1.30",
        "task-definition/web image: public.ecr.aws/docker/library/nginx:1.29 -> public.ecr.aws/docker/library/nginx:1.30",
    ),
    ("memory: 1024", "memory: 2048", "task-definition/web memory: 1024 -> 2048"),
    ("cpu: 512", "cpu: 1024", "task-definition/web cpu: 512 -> 1024"),
    (
        "    port: 80 #",
        "    command: [nginx, -g, daemon off]\n    port: 80 #",
        "task-definition/web command: (none) -> nginx -g daemon off",
    ),
    ("max: 6", "max: 8", "scalable-target/web max: 6 -> 8"),
    ("cpuPercent: 70", "cpuPercent: 60", "scaling-policy/web cpuPercent: 70 -> 60"),
    ("LOG_LEVEL: info", "LOG_LEVEL: debug", "task-definition/web environment.LOG_LEVEL: info -> debug"),
    ("payment-Ab3dEf:key::", "payment-Ab3dEf:newer::", "task-definition/web secrets.PAYMENT_KEY: arn:aws:"),
    ("      path: /\n", "      path: /health\n", "target-group/web healthCheck.path: / -> /health"),
    ("interval: 10", "interval: 15", "target-group/web healthCheck.interval: 10 -> 15"),
    ("grace: 60", "grace: 90", "service/web healthCheck.grace: 60 -> 90"),
    ("exec: true", "exec: false", "service/web exec: true -> false"),
    (
        "readOnlyRootFilesystem: false",
        "readOnlyRootFilesystem: true",
        "task-definition/web readOnlyRootFilesystem: false -> true",
    ),
    (
        "exec: false",
        "exec: false\n    writablePaths: [/var/cache/nginx, /tmp]",
        "task-definition/web writablePaths: (none) -> /tmp, /var/cache/nginx",
    ),
    ("logDays: 30", "logDays: 14", "log-group/web logDays: 30 -> 14"),
    ("- path: /*", "- path: /shop/*", "create rule/any-host/shop/_"),
    ("- path: /shop/*", "- path: /shop/*\n        priority: 7", "rule/any-host/shop/_ priority: "),
    ("redirectHttp: true", "redirectHttp: false", "delete listener/http"),
    ("redirectHttp: false", "redirectHttp: true", "create listener/http"),
    ("idleTimeout: 60", "idleTimeout: 120", "load-balancer idle_timeout.timeout_seconds: 60 -> 120"),
    (
        "idleTimeout: 120",
        "accessLogs: { bucket: shop-access-logs }\n  idleTimeout: 120",
        "load-balancer access_logs.s3.enabled: false -> true",
    ),
    (
        "deletionProtection: false",
        "deletionProtection: true",
        "load-balancer deletion_protection.enabled: false -> true",
    ),
    (
        "deletionProtection: true",
        "deletionProtection: false",
        "load-balancer deletion_protection.enabled: true -> false",
    ),
    (
        "certificate/6d4b1c2e-8f3a-4f0e-9a51-2b7c9d0e1f23",
        "certificate/aaaaaaaa-2222-3333-4444-555555555555",
        "listener/https certificate: ",
    ),
    ("0.0.0.0/0", "192.0.2.0/24", "192.0.2.0/24"),
    ("class: db.t4g.micro", "class: db.t4g.small", "instance class: db.t4g.micro -> db.t4g.small"),
    ("storage: 20", "storage: 30", "instance storage: 20 -> 30"),
    ("maxStorage: 100", "maxStorage: 200", "instance maxStorage: 100 -> 200"),
    ("multiAz: false", "multiAz: true", "instance multiAz: false -> true"),
    ("backupDays: 7", "backupDays: 14", "instance backupDays: 7 -> 14"),
    ("deletionProtection: true", "deletionProtection: false", "instance deletionProtection: true -> false"),
    ("allow: [services, instance]", "allow: [services]", "database"),
    ("version: \"17\"", "version: \"18\"", "instance version: 17.7 -> 18"),
];

#[tokio::test(start_paused = true)]
async fn each_field_is_updated_in_place_without_a_gap_in_service() {
    let rehearsal = shop();
    let mut spec = SHOP.to_owned();
    deployed(&rehearsal, &spec).await;
    for (from, to, expected) in UPDATES {
        let changed = spec.replacen(from, to, 1);
        assert_ne!(changed, spec, "{from}");
        spec = changed;
        let (update, fewest) = watched(&rehearsal, &spec).await;
        let plan = planned(&rehearsal).await;
        assert!(plan.iter().any(|line| line.contains(expected)), "{expected}: {plan:#?}");
        assert!((2..usize::MAX).contains(&fewest), "{from} -> {to}: only {fewest} tasks got requests");
        assert!(!changes(&update).is_empty(), "{from} -> {to} changed nothing");
        let again = deployed(&rehearsal, &spec).await;
        let after = planned(&rehearsal).await;
        assert_eq!(changes(&again), Vec::<String>::new(), "after {from} -> {to}: {after:#?}");
        assert_eq!(after, Vec::<String>::new(), "after {from} -> {to}");
    }
}

/// The seconds of simulated time from the first call of this name to the last call of the deployment.
fn seconds(deployed: &Deployed, from: &str) -> f64 {
    let start = deployed.calls.iter().find(|call| call.name() == from).unwrap().at;
    let end = deployed.calls.last().unwrap().at;
    (end.saturating_sub(start)).as_secs_f64()
}

#[tokio::test(start_paused = true)]
async fn a_new_image_takes_little_longer_than_the_ecs_rollout() {
    let rehearsal = shop();
    deployed(&rehearsal, SHOP).await;
    let update = deployed(&rehearsal, &SHOP.replacen("nginx:1.29", "nginx:1.30", 1)).await;
    let ecs = &rehearsal.aws().ecs();
    let rollouts = ecs.list_service_deployments().cluster("shop").service("web").send().await.unwrap();
    let rollout =
        rollouts.service_deployments().iter().max_by_key(|one| one.created_at().unwrap().secs()).unwrap();
    let (began, ended) = (rollout.created_at().unwrap(), rollout.finished_at().unwrap());
    let ecs_seconds = ended.as_secs_f64() - began.as_secs_f64();
    let whole = seconds(&update, "s3:GetObject");
    println!("The update took {whole:.1} s, of which ECS took {ecs_seconds:.1} s.");
    assert!(whole <= 1.1 * ecs_seconds, "{whole:.1} s, but ECS took {ecs_seconds:.1} s");
}
