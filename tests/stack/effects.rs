//! What a plan deletes, interrupts, opens to the internet or cannot undo: marked in every plan, and deleted only if a person has
//! agreed to the loss of exactly that resource's data, for that version of the spec or that request.

use serde_json::{Value, json};
use stackdrop::{Deployed, Rehearsal};
use stackdrop_functions::deployment::outcome::Outcome;

use crate::{
    SHOP, changes, deployed, object, rehearsal, resources, run, unprotected, with, without_instance,
};

/// The example with two services, a NAT gateway in each zone, an office's range, and a database that leaves no snapshot.
fn base() -> Value {
    let mut spec: Value = serde_json::to_value(crate::read(&unprotected())).unwrap();
    spec["network"]["nat"] = json!("per-zone");
    spec["loadBalancer"]["allowedCidrs"] = json!(["198.51.100.0/24"]);
    spec["database"]["finalSnapshot"] = json!(false);
    spec["services"]["jobs"] = json!({ "image": spec["services"]["web"]["image"] });
    spec
}

/// A spec in which some keys are replaced.
fn changed(spec: &Value, change: impl FnOnce(&mut Value)) -> String {
    let mut spec = spec.clone();
    change(&mut spec);
    spec.to_string()
}

fn remove(spec: &mut Value, key: &str) {
    spec.as_object_mut().unwrap().remove(key).unwrap();
}

/// The spec without its database, and without what uses it.
fn without_database(spec: &mut Value) {
    remove(spec, "database");
    spec["services"]["web"].as_object_mut().unwrap().remove("database").unwrap();
}

/// The spec without its instance.
fn drop_instance(spec: &mut Value) {
    remove(spec, "instance");
    if spec["database"].is_object() {
        spec["database"]["allow"] = json!(["services"]);
    }
}

/// The record of a plan of this spec.
async fn plan(rehearsal: &Rehearsal, spec: &str) -> Value {
    let event = rehearsal.upload("plans/shop.yaml", spec.as_bytes()).await.unwrap();
    let planned = run(rehearsal, event).await;
    assert_eq!(
        (planned.result(), changes(&planned)),
        (Outcome::Planned, Vec::new()),
        "{:?}",
        planned.error()
    );
    object(rehearsal, "stacks/shop/plan.json").await.unwrap()
}

/// The effects of a recorded plan, as `kind: what`.
fn effects_of(record: &Value) -> Vec<String> {
    let plans = record["plan"].as_array().unwrap().iter();
    let effects = plans.filter_map(|plan| plan["effects"].as_array()).flatten();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    effects.map(|effect| format!("{}: {}", text(&effect["kind"]), text(&effect["what"]))).collect()
}

/// A change of a spec, and the effects that its plan must have.
type Case = (&'static str, fn(&mut Value), &'static [&'static str]);

const CASES: [Case; 13] = [
    (
        "without the database",
        without_database,
        &[
            "deletes-data: deletes RDS instance shop-database without a final snapshot, and its automated backups",
        ],
    ),
    ("with a final snapshot", |spec| spec["database"]["finalSnapshot"] = json!(true), &[]),
    (
        "another class",
        |spec| spec["database"]["class"] = json!("db.t4g.small"),
        &["interrupts: the change of class interrupts the database, for some minutes without a standby"],
    ),
    (
        "another major version",
        |spec| spec["database"]["version"] = json!("18"),
        &[
            "cannot-be-undone: upgrades PostgreSQL from 17.7 to 18",
            "interrupts: the change of version, parameterGroup interrupts the database",
        ],
    ),
    (
        "more storage",
        |spec| spec["database"]["storage"] = json!(40),
        &["cannot-be-undone: grows the storage from 20 to 40 GiB: RDS cannot reduce it"],
    ),
    (
        "without the instance",
        drop_instance,
        &["deletes-data: deletes EC2 instance shop-instance with its disk"],
    ),
    (
        "another type of the instance",
        |spec| spec["instance"]["type"] = json!("t3.small"),
        &["interrupts: the change of type interrupts the EC2 instance"],
    ),
    (
        "a larger disk",
        |spec| spec["instance"]["disk"] = json!(30),
        &["cannot-be-undone: grows the disk from 20 to 30 GiB: EC2 cannot reduce it"],
    ),
    (
        "everybody may connect",
        |spec| spec["loadBalancer"]["allowedCidrs"] = json!(["0.0.0.0/0"]),
        &["opens-to-internet: opens load-balancer to 0.0.0.0/0"],
    ),
    (
        "one NAT gateway less",
        |spec| spec["network"]["nat"] = json!("single"),
        &["cannot-be-undone: deletes address/b (", "interrupts: deletes nat/b: its open connections end"],
    ),
    (
        "without a service",
        |spec| {
            spec["services"].as_object_mut().unwrap().remove("jobs").unwrap();
        },
        &["interrupts: deletes service/jobs: its tasks end"],
    ),
    (
        "without the load balancer",
        |spec| {
            remove(spec, "loadBalancer");
            let web = spec["services"]["web"].as_object_mut().unwrap();
            for key in ["routes", "port", "healthCheck"] {
                web.remove(key);
            }
        },
        &["interrupts: deletes load-balancer: its clients lose the services"],
    ),
    (
        "without the redirect",
        |spec| spec["loadBalancer"]["redirectHttp"] = json!(false),
        &["interrupts: deletes listener/http: its port no longer answers"],
    ),
];

#[tokio::test(start_paused = true)]
async fn each_change_that_a_person_must_know_of_is_marked() {
    let base = base();
    let rehearsal = rehearsal(&base.to_string());
    deployed(&rehearsal, &base.to_string()).await;
    for (name, change, expected) in CASES {
        let record = plan(&rehearsal, &changed(&base, change)).await;
        let effects = effects_of(&record);
        for expected in expected {
            assert!(
                effects.iter().any(|effect| effect.starts_with(expected)),
                "{name}: {expected}: {effects:?}"
            );
        }
        assert!(!expected.is_empty() || effects.is_empty(), "{name}: {effects:?}");
        let message = record["message"].as_str().unwrap();
        let lines: Vec<&str> = message.lines().skip_while(|line| !line.contains("change")).skip(1).collect();
        let marked =
            lines.iter().take_while(|line| line.starts_with("!! ") || line.starts_with(" ! ")).count();
        assert_eq!(marked, effects.len(), "{name}: right after the first line: {message}");
    }
    let repeated = plan(&rehearsal, &base.to_string()).await;
    assert_eq!(effects_of(&repeated), Vec::<String>::new(), "an empty plan has no effects");
}

#[tokio::test(start_paused = true)]
async fn a_first_plan_says_what_it_opens_to_the_internet() {
    let rehearsal = rehearsal(SHOP);
    let effects = effects_of(&plan(&rehearsal, SHOP).await);
    assert_eq!(effects, ["opens-to-internet: opens load-balancer to 0.0.0.0/0"]);
}

#[tokio::test(start_paused = true)]
async fn a_rule_that_somebody_deleted_is_said_to_be_opened_again() {
    let rehearsal = rehearsal(SHOP);
    deployed(&rehearsal, SHOP).await;
    let baseline = object(&rehearsal, "stacks/shop/baseline.json").await.unwrap();
    let group = baseline["outputs"]["securityGroups"]["loadBalancer"].as_str().unwrap();
    let ec2 = aws_sdk_ec2::Client::new(rehearsal.sdk());
    let of_group = aws_sdk_ec2::types::Filter::builder().name("group-id").values(group).build();
    let rules = ec2.describe_security_group_rules().filters(of_group).send().await.unwrap();
    let inbound = rules.security_group_rules().iter().filter(|rule| rule.is_egress() == Some(false));
    let ids = inbound.map(|rule| rule.security_group_rule_id().unwrap().to_owned()).collect();
    ec2.revoke_security_group_ingress()
        .group_id(group)
        .set_security_group_rule_ids(Some(ids))
        .send()
        .await
        .unwrap();
    let effects = effects_of(&plan(&rehearsal, SHOP).await);
    assert_eq!(effects, ["opens-to-internet: opens load-balancer to 0.0.0.0/0"]);
}

#[tokio::test(start_paused = true)]
async fn a_database_that_leaves_a_snapshot_needs_no_word_but_cannot_be_undone() {
    let base = changed(&base(), |spec| spec["database"]["finalSnapshot"] = json!(true));
    let rehearsal = rehearsal(&base);
    deployed(&rehearsal, &base).await;
    let without = changed(&serde_json::from_str(&base).unwrap(), without_database);
    let record = plan(&rehearsal, &without).await;
    let effects = effects_of(&record);
    let kept = "cannot-be-undone: deletes RDS instance shop-database; its data stays in a final snapshot";
    assert!(effects.contains(&kept.to_owned()), "{effects:?}");
    let dropped = deployed(&rehearsal, &without).await;
    assert!(changes(&dropped).contains(&"rds:DeleteDBInstance".to_owned()));
}

/// Fails unless a deployment changed nothing and said with which word a person can agree.
fn assert_refused(refused: &Deployed, word: &str) {
    assert_eq!((refused.result(), changes(refused)), (Outcome::Failed, Vec::new()), "{:?}", refused.error());
    let error = refused.error().unwrap();
    assert!(error.contains(&format!("--delete-data {word}")), "{error}");
    assert!(error.contains("its data would be lost"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn data_is_deleted_only_with_the_names_of_its_resources() {
    let base = base();
    let rehearsal = rehearsal(&base.to_string());
    deployed(&rehearsal, &base.to_string()).await;
    let before = resources(&rehearsal);
    let without = changed(&base, |spec| {
        without_database(spec);
        drop_instance(spec);
    });
    let agreeing = async |names: &[&str]| rehearsal.deploy_agreeing(&without, names, &()).await.unwrap();
    assert_refused(&agreeing(&[]).await, "shop-database");
    assert_refused(&agreeing(&["shop-database", "instance"]).await, "shop-instance");
    assert_refused(&agreeing(&["shop-instance", "other-database"]).await, "shop-database");
    assert_eq!(resources(&rehearsal), before);
    let done = agreeing(&["shop-instance", "shop-database"]).await;
    assert_eq!(done.result(), Outcome::Succeeded, "{:?}", done.error());
    for call in ["rds:DeleteDBInstance", "ec2:TerminateInstances"] {
        assert!(changes(&done).contains(&call.to_owned()), "{call}");
    }
    assert!(!resources(&rehearsal).iter().any(|item| item.contains("RDS::")), "{:?}", resources(&rehearsal));
}

#[tokio::test(start_paused = true)]
async fn a_word_of_one_version_does_not_serve_the_next_one() {
    let rehearsal = rehearsal(SHOP);
    let first = rehearsal.deploy_agreeing(SHOP, &["shop-instance"], &()).await.unwrap();
    assert_eq!(first.result(), Outcome::Succeeded, "{:?}", first.error());
    let next = rehearsal.deploy(&without_instance(), &()).await.unwrap();
    assert_refused(&next, "shop-instance");
}

#[tokio::test(start_paused = true)]
async fn a_request_can_carry_the_words_for_the_newest_version() {
    let rehearsal = rehearsal(SHOP);
    deployed(&rehearsal, SHOP).await;
    assert_refused(&rehearsal.deploy(&without_instance(), &()).await.unwrap(), "shop-instance");
    let request = json!({ "stack": "shop", "action": "deploy", "deleteData": ["shop-instance"] });
    let done = run(&rehearsal, request).await;
    assert_eq!(done.result(), Outcome::Succeeded, "{:?}", done.error());
}

#[tokio::test(start_paused = true)]
async fn a_stack_is_destroyed_only_with_the_words_for_its_data() {
    let spec = unprotected();
    let rehearsal = rehearsal(&spec);
    deployed(&rehearsal, &spec).await;
    let before = resources(&rehearsal);
    let destroy = async |names: &[&str]| {
        run(&rehearsal, json!({ "stack": "shop", "action": "destroy", "deleteData": names })).await
    };
    let refused = destroy(&[]).await;
    assert_refused(&refused, "shop-instance");
    assert!(refused.error().unwrap().contains("`stackdrop destroy shop --delete-data shop-instance`"));
    let record = object(&rehearsal, "stacks/shop/status.json").await.unwrap();
    let effects = effects_of(&record);
    for expected in [
        "deletes-data: deletes EC2 instance shop-instance with its disk",
        "cannot-be-undone: deletes RDS instance shop-database; its data stays in a final snapshot",
        "cannot-be-undone: releases the addresses of the NAT gateways",
        "cannot-be-undone: deletes the logs of all services",
        "interrupts: deletes the load balancer",
    ] {
        assert!(effects.iter().any(|effect| effect.starts_with(expected)), "{expected}: {effects:?}");
    }
    assert_refused(&destroy(&["shop-database"]).await, "shop-instance");
    assert_eq!(resources(&rehearsal), before);
    let destroyed = destroy(&["shop-instance"]).await;
    assert_eq!(destroyed.result(), Outcome::Destroyed, "{:?}", destroyed.error());
}

#[tokio::test(start_paused = true)]
async fn deleting_the_spec_never_deletes_data_and_says_how_to_request_it() {
    let spec = with(&unprotected(), "onDelete: retain", "onDelete: destroy");
    let rehearsal = rehearsal(&spec);
    deployed(&rehearsal, &spec).await;
    let event = rehearsal.delete("specs/shop.yaml").await.unwrap();
    let refused = run(&rehearsal, event).await;
    assert_refused(&refused, "shop-instance");
    let request = json!({ "stack": "shop", "action": "destroy", "deleteData": ["shop-instance"] });
    assert_eq!(run(&rehearsal, request).await.result(), Outcome::Destroyed);
}

#[tokio::test(start_paused = true)]
async fn an_announcement_of_a_plan_lists_its_effects() {
    let rehearsal = rehearsal(SHOP);
    plan(&rehearsal, SHOP).await;
    let messages = rehearsal.account().messages();
    let planned: Value = serde_json::from_str(&messages.last().unwrap().message).unwrap();
    assert_eq!(planned["event"], "planned");
    assert_eq!(
        planned["effects"],
        json!([{ "kind": "opens-to-internet", "resource": "load-balancer", "what": "opens load-balancer to 0.0.0.0/0" }])
    );
}

#[tokio::test(start_paused = true)]
async fn a_name_that_nobody_needs_to_agree_to_is_a_warning() {
    let rehearsal = rehearsal(SHOP);
    deployed(&rehearsal, SHOP).await;
    let request = json!({ "stack": "shop", "action": "plan", "deleteData": ["shop-databse"] });
    run(&rehearsal, request).await;
    let record = object(&rehearsal, "stacks/shop/plan.json").await.unwrap();
    let message = record["message"].as_str().unwrap();
    assert!(
        message.contains("the plan deletes no data of what `--delete-data` names: shop-databse"),
        "{message}"
    );
}
