//! Rehearsals that make every call of the functions: each action of each component, in normal operation and after errors.

mod manual_changes;
mod password;
mod stopped;

use serde_json::{Value, json};
use stackdrop::{Rehearsal, Setting};
use stackdrop_functions::deployment::outcome::Outcome;
use stackdrop_simulator::{Fault, FaultKind, Incident, Seed, When};
use stackdrop_specs::Spec;
use stackdrop_statemachine::{Abort, StepEvent, Watch};

use crate::{MINIMAL, PRIVATE, SHOP, deployed, drift_network, object, with};

/// All rehearsals.
pub(super) async fn all() -> Vec<Rehearsal> {
    let mut all = vec![
        shop_is_updated_and_destroyed().await,
        manual_changes::shop_is_changed_manually().await,
        manual_changes::shop_loses_its_database_and_load_balancer().await,
        manual_changes::shop_is_restored_from_a_shared_snapshot().await,
        private_gets_nat_and_is_destroyed().await,
        minimal_is_deployed().await,
        a_web_acl_is_attached_and_detached().await,
        too_many_ranges_are_refused().await,
        a_request_meets_a_waiting_deployment().await,
        a_plan_is_approved().await,
        password::a_password_changes().await,
        shop_is_planned_reverted_and_deleted().await,
        a_failed_update_is_rolled_back().await,
        stopped::a_rollback_is_stopped().await,
    ];
    all.extend(failed_deployments_are_rolled_back().await);
    for batch in drift_network::BATCHES {
        let rehearsal = rehearsal(drift_network::SPEC);
        drift_network::apply_and_repair(&rehearsal, batch).await;
        all.push(rehearsal);
    }
    all
}

/// An account that keeps the decisions of IAM.
fn rehearsal(spec: &str) -> Rehearsal {
    // Disks are encrypted with a customer-managed key by default.
    let key = "arn:aws:kms:eu-central-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab";
    let seeds = vec![Seed::DefaultEbsKey { arn: key.into() }];
    opened(&Setting { seeds, ..Setting::default() }, &[&Spec::read(spec.as_bytes()).unwrap()])
}

fn opened(setting: &Setting, specs: &[&Spec]) -> Rehearsal {
    Rehearsal::open(&Setting { keep_decisions: true, keep_exchanges: true, ..setting.clone() }, specs)
        .unwrap()
}

fn unprotected(spec: &str) -> String {
    if spec.contains("deletionProtection: true") {
        with(spec, "deletionProtection: true", "deletionProtection: false")
    } else {
        with(spec, "multiAz: true", "multiAz: true\n  deletionProtection: false")
    }
}

/// A second service behind the load balancer, whose routes have priorities before and after the first service's.
const API: &str = "
services:
  api:
    image: public.ecr.aws/docker/library/nginx:1.29
    port: 81
    scaling: { min: 1, max: 2, cpuPercent: 50 }
    routes:
      - path: /api/*
      - path: /v2/*
        priority: 20";

/// The new ranges are added before the old ones are deleted, and the quota does not suffice for both.
async fn too_many_ranges_are_refused() -> Rehearsal {
    let open_to = |block: &str| {
        let ranges: Vec<String> = (0..30).map(|number| format!("- {block}.{number}/32 ")).collect();
        with(SHOP, "- 0.0.0.0/0 ", &ranges.join("\n    "))
    };
    let rehearsal = rehearsal(SHOP);
    deployed(&rehearsal, &open_to("203.0.113")).await;
    let refused = rehearsal.deploy(&open_to("192.0.2"), &()).await.unwrap();
    assert!(refused.error().unwrap().contains("L-0EA8095F"), "{:?}", refused.error());
    rehearsal
}

async fn shop_is_updated_and_destroyed() -> Rehearsal {
    let first = with(&unprotected(SHOP), "version: \"17\"", "version: \"16\"");
    let second = with(&first, "\nservices:", API);
    let mut third = second.clone();
    for (from, to) in [
        ("  team: shop\n", "  owner: anna\n"),
        (
            "    secrets:\n",
            "    secrets:\n      TOKEN: arn:aws:ssm:eu-central-1:123456789012:parameter/platform/token\n",
        ),
        ("zones: 2", "zones: 3"),
        ("nat: single", "nat: per-zone"),
        ("6d4b1c2e-8f3a-4f0e-9a51-2b7c9d0e1f23", "00000000-8f3a-4f0e-9a51-2b7c9d0e1f23"),
        ("redirectHttp: true", "redirectHttp: false"),
        ("deletionProtection: false # true", "deletionProtection: true # true"),
        ("interval: 10", "interval: 15"),
        ("path: /v2/*\n        priority: 20", "path: /v3/*\n        priority: 30"),
        ("scaling: { min: 1, max: 2, cpuPercent: 50 }", "count: 1"),
        ("type: t3.micro", "type: t3.small"),
        ("disk: 20", "disk: 30"),
        ("class: db.t4g.micro", "class: db.t4g.small"),
        ("version: \"16\"", "version: \"17\""),
        ("cron(0 3 * * ? *)", "cron(0 4 * * ? *)"),
    ] {
        third = with(&third, from, to);
    }
    let mut fourth = with(&with(&first, "zones: 2", "zones: 3"), "disk: 20", "disk: 30");
    fourth = with(&fourth, "version: \"16\"", "version: \"17\"");
    let specs = [&first, &third].map(|spec| Spec::read(spec.as_bytes()).unwrap());
    let rehearsal = opened(&Setting::default(), &[&specs[0], &specs[1]]);
    // A route moves from one service to the other.
    let moved = "      - path: /v2/*\n        priority: 20";
    let swapped = with(
        &with(&second, &format!("\n{moved}"), ""),
        "      - path: /*",
        &format!("      - path: /*\n{moved}"),
    );
    for spec in [&first, &second, &swapped, &third, &fourth] {
        deployed(&rehearsal, spec).await;
    }
    for input in [
        json!({ "stack": "shop", "action": "redeploy" }),
        json!({ "stack": "shop", "refreshImage": true }),
        json!({ "stack": "shop", "action": "plan" }),
    ] {
        succeeds(&rehearsal, input).await;
    }
    // Others attach policies to the roles, let another service assume them, and remove their boundary.
    for role in crate::roles::ROLES {
        crate::roles::remove_boundary(&rehearsal, role).await;
        crate::roles::attach_policies(&rehearsal, role).await;
        crate::roles::trust_another_service(&rehearsal, role).await;
    }
    succeeds(&rehearsal, json!({ "stack": "shop" })).await;
    succeeds(&rehearsal, json!({ "stack": "shop", "action": "destroy", "deleteData": ["shop-instance"] }))
        .await;
    rehearsal
}

async fn succeeds(rehearsal: &Rehearsal, input: Value) {
    let ended = rehearsal.run(input.clone(), &(), &Abort::default()).await;
    assert!(ended.succeeded(), "{input}: {}: {:?}", ended.result(), ended.error());
}

async fn private_gets_nat_and_is_destroyed() -> Rehearsal {
    let first = unprotected(&with(
        PRIVATE,
        "region: eu-central-1\n",
        "region: eu-central-1\ntags: { team: office }\n",
    ));
    let second = with(&with(&first, "nat: none", "nat: single"), "team: office", "owner: anna");
    let rehearsal = rehearsal(&first);
    deployed(&rehearsal, &first).await;
    // A manual change removes a subnet from an endpoint, and adds an unowned security group.
    let ec2 = aws_sdk_ec2::Client::new(rehearsal.sdk());
    let endpoints = ec2.describe_vpc_endpoints().send().await.unwrap();
    let endpoint =
        endpoints.vpc_endpoints().iter().find(|endpoint| !endpoint.subnet_ids().is_empty()).unwrap();
    let modify = ec2.modify_vpc_endpoint().vpc_endpoint_id(endpoint.vpc_endpoint_id().unwrap());
    let vpc = endpoint.vpc_id().unwrap();
    let group = ec2.create_security_group().vpc_id(vpc).group_name("manual").description("manual");
    let group = group.send().await.unwrap().group_id.unwrap();
    wait(10).await;
    let modify = modify.remove_subnet_ids(&endpoint.subnet_ids()[0]).add_security_group_ids(&group);
    modify.send().await.unwrap();
    for spec in [&first, &second, &first] {
        deployed(&rehearsal, spec).await;
    }
    ec2.delete_security_group().group_id(group).send().await.unwrap();
    let guard_duty = Incident::named("guard-duty-added").unwrap();
    assert_eq!(rehearsal.account().cause(guard_duty, "intranet").len(), 2);
    succeeds(&rehearsal, json!({ "stack": "intranet", "action": "destroy" })).await;
    rehearsal
}

/// A second stack, in an account that already has the service-linked roles. Its lock is deleted during its deployment.
async fn minimal_is_deployed() -> Rehearsal {
    let rehearsal = rehearsal(MINIMAL);
    deployed(&rehearsal, MINIMAL).await;
    let other = with(MINIMAL, "stack: hello", "stack: other");
    let person = async {
        wait(60).await;
        rehearsal.delete("stacks/other/lock.json").await.unwrap();
    };
    let (other, ()) = tokio::join!(rehearsal.deploy(&other, &()), person);
    assert_eq!(other.unwrap().result(), Outcome::Succeeded);
    rehearsal
}

/// The load balancer gets a web ACL and loses it again.
async fn a_web_acl_is_attached_and_detached() -> Rehearsal {
    let rehearsal = rehearsal(crate::web_acl::FILTERED);
    for spec in [crate::web_acl::FILTERED, &crate::web_acl::unfiltered()] {
        deployed(&rehearsal, spec).await;
    }
    rehearsal
}

/// A manual request to destroy a stack whose deployment waits for approval.
async fn a_request_meets_a_waiting_deployment() -> Rehearsal {
    let cautious = with(SHOP, "approval: none", "approval: required");
    let rehearsal = rehearsal(&cautious);
    let event = rehearsal.upload("specs/shop.yaml", cautious.as_bytes()).await.unwrap();
    let destroy = json!({ "stack": "shop", "action": "destroy", "deleteData": ["shop-instance"] });
    let (nothing, abort) = ((), Abort::default());
    let waiting = rehearsal.run(event, &nothing, &abort);
    let requested = async {
        wait(120).await;
        rehearsal.run(destroy, &nothing, &abort).await
    };
    tokio::join!(waiting, requested);
    rehearsal
}

#[expect(clippy::disallowed_methods, reason = "the test waits in simulated time; no function does")]
async fn wait(seconds: u64) {
    tokio::time::sleep(std::time::Duration::from_secs(seconds)).await;
}

/// A person approves a plan.
async fn a_plan_is_approved() -> Rehearsal {
    let cautious = with(SHOP, "approval: none", "approval: required");
    let rehearsal = rehearsal(&cautious);
    let person = async {
        wait(120).await;
        let question = object(&rehearsal, "stacks/shop/approval.json").await.unwrap();
        let answer = json!({ "approved": true, "plan": question["plan"], "by": "anna" }).to_string();
        let call = rehearsal.aws().sfn().send_task_success().task_token(question["token"].as_str().unwrap());
        call.output(answer).send().await.unwrap();
    };
    let (deployed, ()) = tokio::join!(rehearsal.deploy(&cautious, &()), person);
    assert_eq!(deployed.unwrap().result(), Outcome::Succeeded);
    rehearsal
}

/// An upload for a plan, a drift report, a deployment of an earlier version, and the deletion of a spec.
async fn shop_is_planned_reverted_and_deleted() -> Rehearsal {
    let spec = with(&crate::without_instance(), "onDelete: retain", "onDelete: destroy");
    let rehearsal = rehearsal(&spec);
    let plan = rehearsal.upload("plans/shop.yaml", spec.as_bytes()).await.unwrap();
    succeeds(&rehearsal, plan).await;
    deployed(&rehearsal, &spec).await;
    let good = object(&rehearsal, "stacks/shop/baseline.json").await.unwrap()["version"].clone();
    deployed(&rehearsal, &with(&spec, "LOG_LEVEL: info", "LOG_LEVEL: trace")).await;
    crate::open_the_database(&rehearsal).await;
    for input in [
        json!({ "stack": "shop", "action": "redeploy", "drift": "report" }),
        json!({ "stack": "shop", "action": "deploy", "version": good }),
    ] {
        succeeds(&rehearsal, input).await;
    }
    let deletion = rehearsal.delete("specs/shop.yaml").await.unwrap();
    succeeds(&rehearsal, deletion).await;
    rehearsal
}

/// Causes that GuardDuty adds its endpoint when a rollback begins, so that it is in subnets which the rollback deletes.
struct GuardDutyAdded<'r>(&'r Rehearsal);

impl Watch for GuardDutyAdded<'_> {
    fn entered(&self, step: &StepEvent<'_>) {
        if step.name == "RollBackToBaseline" {
            let added = self.0.account().cause(Incident::named("guard-duty-added").unwrap(), "shop");
            assert_eq!(added.len(), 2, "an endpoint and a security group");
        }
    }
}

/// An update that fails and is rolled back.
async fn a_failed_update_is_rolled_back() -> Rehearsal {
    let rehearsal = rehearsal(SHOP);
    deployed(&rehearsal, SHOP).await;
    let mut update = with(SHOP, "zones: 2", "zones: 3");
    for (from, to) in [("nat: single", "nat: per-zone"), ("disk: 20", "disk: 30"), ("\nservices:", API)] {
        update = with(&update, from, to);
    }
    rehearsal.account().arm(Fault::at("ecs", "CreateService", When::From(1), FaultKind::AccessDenied));
    let failed = rehearsal.deploy(&update, &GuardDutyAdded(&rehearsal)).await.unwrap();
    assert_eq!(failed.result(), Outcome::Failed, "{:?}", failed.error());
    // The rollback keeps the larger disk. AWS allows only one change of a disk in six hours.
    let refused = rehearsal.deploy(&with(SHOP, "disk: 20", "disk: 40"), &()).await.unwrap();
    assert_eq!(refused.result(), Outcome::Failed, "{:?}", refused.error());
    rehearsal
}

/// An update to containers that exit before they are healthy, again and again: ECS's rollout is stopped.
async fn a_rollout_is_stopped(image: &str) -> Rehearsal {
    let spec = Spec::read(SHOP.as_bytes()).unwrap();
    let image = image.replace("1.29", "1.30");
    let seeds = vec![Seed::ImageCrashingAfter { image, exit_code: 3, seconds: 10 }];
    let rehearsal = opened(&Setting { seeds, ..Setting::default() }, &[&spec]);
    rehearsal.deploy(SHOP, &()).await.unwrap();
    let failed = rehearsal.deploy(&with(SHOP, "nginx:1.29", "nginx:1.30"), &()).await.unwrap();
    assert_eq!(failed.result(), Outcome::Failed, "{:?}", failed.error());
    rehearsal
}

/// Deployments that fail: the functions read the cause, and what blocks a deletion.
async fn failed_deployments_are_rolled_back() -> Vec<Rehearsal> {
    let spec = Spec::read(SHOP.as_bytes()).unwrap();
    let image = spec.services["web"].image.clone();
    let mut rehearsals = Vec::new();
    rehearsals.push(a_rollout_is_stopped(&image).await);
    let seeds = vec![Seed::CrashingImage { image, exit_code: 3 }];
    let crashing = opened(&Setting { seeds, ..Setting::default() }, &[&spec]);
    crashing.deploy(SHOP, &()).await.unwrap();
    rehearsals.push(crashing);
    let database = rehearsal(SHOP);
    database.account().arm(Fault::at("rds", "CreateDBInstance", When::From(1), FaultKind::ResourceFails));
    database.deploy(SHOP, &()).await.unwrap();
    rehearsals.push(database);
    rehearsals.push(stopped::a_deployment_is_stopped().await);
    rehearsals
}
