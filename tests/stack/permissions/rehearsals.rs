//! Rehearsals that show what the functions call: every action of every component, also where something is wrong.

mod by_hand;
mod stopped;

use serde_json::{Value, json};
use stackdrop::{Rehearsal, Setting};
use stackdrop_functions::deployment::outcome::Outcome;
use stackdrop_simulator::{Fault, FaultKind, Seed, When};
use stackdrop_specs::Spec;
use stackdrop_statemachine::Abort;

use crate::{MINIMAL, PRIVATE, SHOP, deployed, drifts_network, object, with};

/// Everything that rehearsals show of what the functions ask for.
pub(super) async fn all() -> Vec<Rehearsal> {
    let mut all = vec![
        shop_changes_and_goes().await,
        by_hand::shop_is_changed_by_hand().await,
        by_hand::shop_loses_its_database().await,
        private_gets_a_way_out_and_goes().await,
        minimal_stands().await,
        more_ranges_than_a_group_has_rules_for().await,
        somebody_is_asked().await,
        somebody_agrees().await,
        plans_go_back_and_are_deleted().await,
        an_update_fails_and_is_restored().await,
        stopped::an_undo_is_stopped().await,
    ];
    all.extend(fails_and_is_undone().await);
    for hands in drifts_network::AT_ONCE {
        let rehearsal = rehearsal(drifts_network::SPEC);
        drifts_network::repaired_at_once(&rehearsal, hands).await;
        all.push(rehearsal);
    }
    all
}

/// An account that keeps what IAM decides.
fn rehearsal(spec: &str) -> Rehearsal {
    // With a default key for disks of the customer's own.
    let key = "arn:aws:kms:eu-central-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab";
    let seeds = vec![Seed::DefaultEbsKey { arn: key.into() }];
    opened(&Setting { seeds, ..Setting::default() }, &[&Spec::read(spec.as_bytes()).unwrap()])
}

fn opened(setting: &Setting, specs: &[&Spec]) -> Rehearsal {
    Rehearsal::open(&Setting { keep_decisions: true, ..setting.clone() }, specs).unwrap()
}

fn unprotected(spec: &str) -> String {
    if spec.contains("deletionProtection: true") {
        with(spec, "deletionProtection: true", "deletionProtection: false")
    } else {
        with(spec, "multiAz: true", "multiAz: true\n  deletionProtection: false")
    }
}

/// A second service behind the load balancer, with routes before and after the first one's.
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

/// What is added comes before what is taken away, and there is no room for both.
async fn more_ranges_than_a_group_has_rules_for() -> Rehearsal {
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

async fn shop_changes_and_goes() -> Rehearsal {
    let first = with(&unprotected(SHOP), "version: \"17\"", "version: \"16\"");
    let second = with(&first, "\nservices:", API);
    let mut third = second.clone();
    for (from, to) in [
        ("  team: shop\n", "  owner: anna\n"),
        ("zones: 2", "zones: 3"),
        ("nat: single", "nat: per-zone"),
        ("6d4b1c2e-8f3a-4f0e-9a51-2b7c9d0e1f23", "00000000-8f3a-4f0e-9a51-2b7c9d0e1f23"),
        ("redirectHttp: true", "redirectHttp: false"),
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
    // A route goes from one service to the other.
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
    // Others have given the roles policies, and let others act as them.
    for role in crate::roles::ROLES {
        crate::roles::give_policies(&rehearsal, role).await;
        crate::roles::let_act(&rehearsal, role).await;
    }
    succeeds(&rehearsal, json!({ "stack": "shop" })).await;
    succeeds(&rehearsal, json!({ "stack": "shop", "action": "destroy" })).await;
    rehearsal
}

async fn succeeds(rehearsal: &Rehearsal, input: Value) {
    let ended = rehearsal.run(input.clone(), &(), &Abort::default()).await;
    assert!(ended.succeeded(), "{input}: {}: {:?}", ended.result(), ended.error());
}

async fn private_gets_a_way_out_and_goes() -> Rehearsal {
    let first = unprotected(&with(
        PRIVATE,
        "region: eu-central-1\n",
        "region: eu-central-1\ntags: { team: office }\n",
    ));
    let second = with(&with(&first, "nat: none", "nat: single"), "team: office", "owner: anna");
    let rehearsal = rehearsal(&first);
    deployed(&rehearsal, &first).await;
    // Somebody takes an endpoint out of a subnet, and gives it a security group of their own.
    let ec2 = aws_sdk_ec2::Client::new(rehearsal.sdk());
    let endpoints = ec2.describe_vpc_endpoints().send().await.unwrap();
    let endpoint =
        endpoints.vpc_endpoints().iter().find(|endpoint| !endpoint.subnet_ids().is_empty()).unwrap();
    let modify = ec2.modify_vpc_endpoint().vpc_endpoint_id(endpoint.vpc_endpoint_id().unwrap());
    let vpc = endpoint.vpc_id().unwrap();
    let group = ec2.create_security_group().vpc_id(vpc).group_name("by-hand").description("by hand");
    let group = group.send().await.unwrap().group_id.unwrap();
    wait(10).await;
    let modify = modify.remove_subnet_ids(&endpoint.subnet_ids()[0]).add_security_group_ids(&group);
    modify.send().await.unwrap();
    for spec in [&first, &second, &first] {
        deployed(&rehearsal, spec).await;
    }
    ec2.delete_security_group().group_id(group).send().await.unwrap();
    succeeds(&rehearsal, json!({ "stack": "intranet", "action": "destroy" })).await;
    rehearsal
}

/// A stack in an account that has the services' linked roles already; its lock is deleted by hand while it is deployed.
async fn minimal_stands() -> Rehearsal {
    let rehearsal = rehearsal(MINIMAL);
    deployed(&rehearsal, MINIMAL).await;
    let other = with(MINIMAL, "stack: hello", "stack: other");
    let somebody = async {
        wait(60).await;
        rehearsal.delete("stacks/other/lock.json").await.unwrap();
    };
    let (other, ()) = tokio::join!(rehearsal.deploy(&other, &()), somebody);
    assert_eq!(other.unwrap().result(), Outcome::Succeeded);
    rehearsal
}

/// Two deployments of which the second finds the first waiting for an answer.
async fn somebody_is_asked() -> Rehearsal {
    let cautious = with(SHOP, "approval: none", "approval: required");
    let rehearsal = rehearsal(&cautious);
    let event = rehearsal.upload("specs/shop.yaml", cautious.as_bytes()).await.unwrap();
    let destroy = json!({ "stack": "shop", "action": "destroy" });
    let (nothing, abort) = ((), Abort::default());
    let waiting = rehearsal.run(event, &nothing, &abort);
    let insisting = async {
        wait(120).await;
        rehearsal.run(destroy, &nothing, &abort).await
    };
    tokio::join!(waiting, insisting);
    rehearsal
}

#[expect(clippy::disallowed_methods, reason = "a person takes their time")]
async fn wait(seconds: u64) {
    tokio::time::sleep(std::time::Duration::from_secs(seconds)).await;
}

/// Somebody agrees to the plan that they were asked about.
async fn somebody_agrees() -> Rehearsal {
    let cautious = with(SHOP, "approval: none", "approval: required");
    let rehearsal = rehearsal(&cautious);
    let person = async {
        wait(120).await;
        let question = object(&rehearsal, "stacks/shop/approval.json").await.unwrap();
        let answer = json!({ "approved": true, "by": "anna" }).to_string();
        let call = rehearsal.aws().sfn().send_task_success().task_token(question["token"].as_str().unwrap());
        call.output(answer).send().await.unwrap();
    };
    let (deployed, ()) = tokio::join!(rehearsal.deploy(&cautious, &()), person);
    assert_eq!(deployed.unwrap().result(), Outcome::Succeeded);
    rehearsal
}

/// What an upload for a plan, a report of drift, an earlier version, and the deletion of a spec call.
async fn plans_go_back_and_are_deleted() -> Rehearsal {
    let spec = with(&unprotected(SHOP), "onDelete: retain", "onDelete: destroy");
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

/// An update that comes to nothing, whose beginnings are taken back.
async fn an_update_fails_and_is_restored() -> Rehearsal {
    let rehearsal = rehearsal(SHOP);
    deployed(&rehearsal, SHOP).await;
    let mut update = with(SHOP, "zones: 2", "zones: 3");
    for (from, to) in [("nat: single", "nat: per-zone"), ("disk: 20", "disk: 30"), ("\nservices:", API)] {
        update = with(&update, from, to);
    }
    rehearsal.account().arm(Fault::at("ecs", "CreateService", When::From(1), FaultKind::AccessDenied));
    let failed = rehearsal.deploy(&update, &()).await.unwrap();
    assert_eq!(failed.result(), Outcome::Failed, "{:?}", failed.error());
    // The disk has grown all the same, and AWS grows it once in six hours.
    let refused = rehearsal.deploy(&with(SHOP, "disk: 20", "disk: 40"), &()).await.unwrap();
    assert_eq!(refused.result(), Outcome::Failed, "{:?}", refused.error());
    rehearsal
}

/// Deployments that fail: AWS is asked why, and who holds what can't go.
async fn fails_and_is_undone() -> Vec<Rehearsal> {
    let spec = Spec::read(SHOP.as_bytes()).unwrap();
    let image = spec.services["web"].image.clone();
    let mut rehearsals = Vec::new();
    let seeds = vec![Seed::CrashingImage { image, exit_code: 3 }];
    let crashing = opened(&Setting { seeds, ..Setting::default() }, &[&spec]);
    crashing.deploy(SHOP, &()).await.unwrap();
    rehearsals.push(crashing);
    let database = rehearsal(SHOP);
    database.account().arm(Fault::at("rds", "CreateDBInstance", When::From(1), FaultKind::ResourceFails));
    database.deploy(SHOP, &()).await.unwrap();
    rehearsals.push(database);
    rehearsals.push(stopped::by_hand().await);
    rehearsals
}
