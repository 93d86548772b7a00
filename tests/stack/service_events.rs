//! What AWS and people do to services: it is explained within minutes, repaired, or rolled back.

use std::time::Duration;

use serde_json::{Value, json};
use stackdrop::{Deployed, Rehearsal, Setting};
use stackdrop_functions::deployment::outcome::Outcome;
use stackdrop_simulator::Seed;
use stackdrop_specs::Spec;

use crate::{SHOP, cause, changes, deployed, object, rehearsal, resources, run, unprotected, with};

/// A worker, and the same service behind a load balancer.
const WORKER: &str = "
stack: shop
region: eu-central-1
services:
  web: { image: 'IMAGE', count: 1 }
";
const WEB: &str = "
stack: shop
region: eu-central-1
loadBalancer:
  certificateArn: arn:aws:acm:eu-central-1:123456789012:certificate/6d4b1c2e-8f3a-4f0e-9a51-2b7c9d0e1f23
services:
  web: { image: 'IMAGE', port: 80, routes: [{ path: /* }] }
";

fn seeded(spec: &str, seeds: Vec<Seed>) -> Rehearsal {
    let spec = Spec::read(spec.as_bytes()).unwrap();
    Rehearsal::open(&Setting { seeds, ..Setting::default() }, &[&spec]).unwrap()
}

/// The changes that a deployment has planned, as lines such as `update service/web subnets`.
fn planned(deployed: &Deployed) -> Vec<String> {
    let Some(state) = deployed.outcome.input_of("NeedsApproval") else { return Vec::new() };
    let components = state["plan"].as_array().unwrap().iter();
    let changes = components.flat_map(|component| component["changes"].as_array().unwrap());
    let line = |change: &Value| {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let fields = change["fields"].as_array().into_iter().flatten();
        let fields = fields.map(|field| text(&field["field"]));
        let words = [text(&change["verb"]), text(&change["resource"])].into_iter().chain(fields);
        words.collect::<Vec<_>>().join(" ")
    };
    changes.map(line).collect()
}

/// How long a deployment took.
fn seconds(deployed: &Deployed) -> f64 {
    deployed.outcome.seconds
}

#[tokio::test(start_paused = true)]
async fn containers_that_exit_after_they_have_run_fail_the_deployment_with_their_last_lines() {
    for (kind, spec) in [("worker", WORKER), ("web", WEB)] {
        let good = spec.replace("IMAGE", "good");
        let base = rehearsal(&good);
        let well = seconds(&deployed(&base, &good).await);
        for ran in [10, 25, 45] {
            let seeds =
                vec![Seed::ImageCrashingAfter { image: "leaking".into(), exit_code: 3, seconds: ran }];
            let spec = spec.replace("IMAGE", "leaking");
            let rehearsal = seeded(&spec, seeds);
            let failed = rehearsal.deploy(&spec, &()).await.unwrap();
            if kind == "web" && ran > 30 {
                continue; // it passes its health checks and runs for long enough
            }
            assert_eq!(failed.result(), Outcome::Failed, "{kind} {ran}: {:?}", failed.error());
            let error = failed.error().unwrap();
            for text in ["ECS service web", "exit code 3", "exiting with code 3", "/stackdrop/shop/web"] {
                assert!(error.contains(text), "{kind} {ran}: {text:?} is not in {error}");
            }
            println!("{kind} that runs {ran} s: {:.0} s against {well:.0} s: {error}", seconds(&failed));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_update_to_containers_that_exit_later_is_rolled_back_without_new_tasks() {
    let (good, bad) = (WEB.replace("IMAGE", "good"), WEB.replace("IMAGE", "leaking"));
    let seeds = vec![Seed::ImageCrashingAfter { image: "leaking".into(), exit_code: 3, seconds: 10 }];
    let rehearsal = seeded(&good, seeds);
    deployed(&rehearsal, &good).await;
    let failed = rehearsal.deploy(&bad, &()).await.unwrap();
    assert_eq!(failed.result(), Outcome::Failed, "{:?}", failed.error());
    assert!(failed.error().unwrap().contains("exit code 3"));
    let calls = changes(&failed);
    assert!(calls.contains(&"ecs:StopServiceDeployment".into()), "{calls:?}");
    assert_eq!(calls.iter().filter(|call| *call == "ecs:UpdateService").count(), 1, "{calls:?}");
    let again = run(&rehearsal, json!({ "stack": "shop", "action": "redeploy" })).await;
    assert_eq!(planned(&again), [] as [String; 0], "the stack is as its last good version");
}

#[tokio::test(start_paused = true)]
async fn a_rollout_without_fargate_capacity_fails_with_ecss_reason_and_is_rolled_back() {
    let (first, second) = (WEB.replace("IMAGE", "first"), WEB.replace("IMAGE", "second"));
    let rehearsal = rehearsal(&first);
    deployed(&rehearsal, &first).await;
    assert_eq!(cause(&rehearsal, "no-fargate-capacity"), ["shop"]);
    let failed = rehearsal.deploy(&second, &()).await.unwrap();
    assert_eq!(failed.result(), Outcome::Failed, "{:?}", failed.error());
    let error = failed.error().unwrap();
    assert!(error.contains("Capacity is unavailable") && error.contains("deploy again later"), "{error}");
    println!("no capacity: {:.0} s: {error}", seconds(&failed));
    crate::pause(Duration::from_mins(5)).await;
    assert!(rehearsal.deploy(&second, &()).await.unwrap().succeeded());
}

#[tokio::test(start_paused = true)]
async fn an_image_for_another_architecture_is_explained() {
    let spec = WORKER.replace("IMAGE", "arm");
    let rehearsal = seeded(&spec, vec![Seed::ImageOfOtherArchitecture { image: "arm".into() }]);
    let error = rehearsal.deploy(&spec, &()).await.unwrap().error().unwrap();
    assert!(error.contains("exec format error") && error.contains("linux/amd64"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn guardduty_does_not_hide_the_container_that_failed() {
    let (good, bad) = (WORKER.replace("IMAGE", "good"), WORKER.replace("IMAGE", "crashing"));
    let rehearsal = seeded(&good, vec![Seed::CrashingImage { image: "crashing".into(), exit_code: 3 }]);
    deployed(&rehearsal, &good).await;
    cause(&rehearsal, "guardduty-monitors-tasks");
    let error = rehearsal.deploy(&bad, &()).await.unwrap().error().unwrap();
    assert!(error.contains("exiting with code 3") && !error.contains("guardduty"), "{error}");
}

/// The incidents that a deployment repairs, with what its plan says and which calls it makes.
const REPAIRED: [(&str, &[&str], &[&str]); 10] = [
    ("service-moved", &["update service/web subnets securityGroups"], &["ecs:UpdateService"]),
    ("service-deleted", &["create service/web"], &[]),
    ("service-tags-removed", &[], &["ecs:TagResource"]),
    ("task-definition-deregistered", &[], &["ecs:RegisterTaskDefinition", "ecs:UpdateService"]),
    ("log-group-deleted", &["create log-group/web"], &["logs:CreateLogGroup", "logs:PutRetentionPolicy"]),
    ("log-retention-removed", &["update log-group/web logDays"], &["logs:PutRetentionPolicy"]),
    ("scaling-deregistered", &["create scalable-target/web", "create scaling-policy/web"], &[]),
    ("scaling-policy-deleted", &["create scaling-policy/web"], &["application-autoscaling:PutScalingPolicy"]),
    ("containers-crashed", &[], &[]),
    ("tasks-stopped", &[], &[]),
];

#[tokio::test(start_paused = true)]
async fn a_redeploy_repairs_what_people_and_aws_do_to_services() {
    let rehearsal = rehearsal(SHOP);
    deployed(&rehearsal, SHOP).await;
    for (incident, plan, calls) in REPAIRED {
        let before = resources(&rehearsal);
        cause(&rehearsal, incident);
        let repaired = run(&rehearsal, json!({ "stack": "shop" })).await;
        assert!(repaired.succeeded(), "{incident}: {} {:?}", repaired.result(), repaired.error());
        let (lines, made) = (planned(&repaired), changes(&repaired));
        for line in plan {
            assert!(lines.iter().any(|one| one == line), "{incident}: {line} is not in {lines:?}");
        }
        for call in calls {
            assert!(made.iter().any(|one| one == call), "{incident}: {call} is not in {made:?}");
        }
        crate::pause(Duration::from_mins(10)).await;
        let names =
            |all: Vec<String>| all.into_iter().filter(|name| !name.contains("TaskDefinition")).collect();
        let (now, then): (Vec<String>, Vec<String>) = (names(resources(&rehearsal)), names(before));
        assert_eq!(now, then, "{incident}");
        let again = run(&rehearsal, json!({ "stack": "shop" })).await;
        assert_eq!(planned(&again), [] as [String; 0], "{incident}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_number_of_tasks_that_somebody_changes_is_restored_unless_the_service_scales() {
    let fixed = WORKER.replace("IMAGE", "good");
    for (spec, plan) in [(fixed.as_str(), vec!["update service/web count"]), (SHOP, Vec::new())] {
        let rehearsal = rehearsal(spec);
        deployed(&rehearsal, spec).await;
        cause(&rehearsal, "service-scaled");
        crate::pause(Duration::from_mins(5)).await;
        let repaired = run(&rehearsal, json!({ "stack": "shop" })).await;
        assert!(repaired.succeeded(), "{:?}", repaired.error());
        assert_eq!(planned(&repaired), plan);
        let again = run(&rehearsal, json!({ "stack": "shop" })).await;
        assert_eq!(planned(&again), [] as [String; 0]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_cluster_that_somebody_is_deleting_is_created_again() {
    let spec = WORKER.replace("IMAGE", "good");
    let rehearsal = rehearsal(&spec);
    deployed(&rehearsal, &spec).await;
    let before = resources(&rehearsal);
    cause(&rehearsal, "service-deleted");
    crate::pause(Duration::from_mins(10)).await;
    cause(&rehearsal, "empty-cluster-deleted");
    let repaired = run(&rehearsal, json!({ "stack": "shop" })).await;
    assert!(repaired.succeeded(), "{:?}", repaired.error());
    let lines = planned(&repaired);
    for line in ["create cluster", "create service/web"] {
        assert!(lines.iter().any(|one| one == line), "{line} is not in {lines:?}");
    }
    assert_eq!(resources(&rehearsal), before);
    let again = run(&rehearsal, json!({ "stack": "shop" })).await;
    assert_eq!(planned(&again), [] as [String; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_service_without_its_stacks_tag_is_left_alone_and_the_plan_says_how_to_restore_it() {
    let rehearsal = rehearsal(SHOP);
    deployed(&rehearsal, SHOP).await;
    let ecs = aws_sdk_ecs::Client::new(rehearsal.sdk());
    let found = ecs.describe_services().cluster("shop").services("web").send().await.unwrap();
    let arn = found.services()[0].service_arn().unwrap().to_owned();
    ecs.untag_resource().resource_arn(&arn).tag_keys("stackdrop:stack").send().await.unwrap();
    let stopped = run(&rehearsal, json!({ "stack": "shop" })).await;
    assert!(changes(&stopped).is_empty());
    let error = stopped.error().unwrap();
    assert!(error.contains("restore its tag stackdrop:stack = shop"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_plan_says_that_tasks_move_when_their_subnets_are_new() {
    let spec = unprotected();
    let rehearsal = rehearsal(&spec);
    deployed(&rehearsal, &spec).await;
    let wider = if spec.contains("zones: 2") {
        with(&spec, "zones: 2", "zones: 3")
    } else {
        with(&spec, "network:", "network:\n  zones: 3")
    };
    let updated = rehearsal.deploy(&wider, &()).await.unwrap();
    assert!(updated.succeeded(), "{:?}", updated.error());
    let lines = planned(&updated);
    assert!(lines.iter().any(|line| line == "update service/web subnets"), "{lines:?}");
    assert!(changes(&updated).contains(&"ecs:UpdateService".into()));
}

#[tokio::test(start_paused = true)]
async fn the_log_that_a_failure_points_to_is_kept_until_the_stack_is_destroyed() {
    let crashing = vec![Seed::CrashingImage { image: "crashing".into(), exit_code: 3 }];
    let (good, bad) = (WORKER.replace("IMAGE", "good"), WORKER.replace("IMAGE", "crashing"));
    let rehearsal = seeded(&good, crashing);
    let failed = rehearsal.deploy(&bad, &()).await.unwrap();
    assert!(failed.error().unwrap().contains("/stackdrop/shop/web"));
    assert_eq!(resources(&rehearsal), ["AWS::Logs::LogGroup /stackdrop/shop/web"]);
    // The next deployment uses it, and one that renames the service keeps it.
    deployed(&rehearsal, &good).await;
    let renamed = good.replace("web:", "site:");
    deployed(&rehearsal, &renamed).await;
    let again = run(&rehearsal, json!({ "stack": "shop" })).await;
    assert_eq!(planned(&again), [] as [String; 0]);
    let kept =
        |name: &str| resources(&rehearsal).contains(&format!("AWS::Logs::LogGroup /stackdrop/shop/{name}"));
    assert!(kept("web") && kept("site"));
    let destroyed =
        run(&rehearsal, json!({ "stack": "shop", "action": "destroy", "deleteData": ["shop-instance"] }))
            .await;
    assert!(destroyed.succeeded(), "{:?}", destroyed.error());
    assert_eq!(resources(&rehearsal), [] as [String; 0]);
    assert!(object(&rehearsal, "stacks/shop/baseline.json").await.is_none());
}

#[tokio::test(start_paused = true)]
async fn tasks_start_only_when_ecs_sees_their_roles() {
    let spec = WORKER.replace("IMAGE", "good").replace("count: 1", "count: 5");
    let rehearsal = rehearsal(&spec);
    let deployed = deployed(&rehearsal, &spec).await;
    let ecs = aws_sdk_ecs::Client::new(rehearsal.sdk());
    let found = ecs.describe_services().cluster("shop").services("web").send().await.unwrap();
    let refused = |text: &str| text.contains("unable to assume");
    let events = found.services()[0].events();
    assert!(!events.iter().filter_map(|event| event.message()).any(refused), "{events:?}");
    let at = |step: &str| deployed.outcome.steps.iter().position(|one| one.name == step).unwrap();
    assert!(at("PrepareService") < at("LoadBalancer"), "the roles are made minutes before the service");
}
