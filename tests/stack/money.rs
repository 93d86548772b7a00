//! What a stack may cost without approval, and how large it may be.

use serde_json::{Value, json};
use stackdrop::{Rehearsal, Setting};
use stackdrop_figures::prices::Prices;
use stackdrop_functions::aws::rules::Rules;
use stackdrop_functions::deployment::approval::ApprovalReason;
use stackdrop_functions::deployment::estimate::{Estimate, ceilings, cost_reasons, monthly_usd};
use stackdrop_functions::deployment::outcome::Outcome;

use crate::approval_rules::{answer, approved};
use crate::{SHOP, changes, deployed, object, open_the_database, read, run, unprotected, with};

/// An account whose installation has these parameters.
fn installed(parameters: &[(&str, &str)]) -> Rehearsal {
    let parameters = parameters.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let setting = Setting { parameters: parameters.collect(), ..Setting::default() };
    Rehearsal::open(&setting, &[&read(SHOP)]).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_stack_above_the_limit_needs_approval_until_it_is_deployed() {
    let rehearsal = installed(&[("MaxMonthlyUsd", "150")]);
    let reasons = approved(&rehearsal, SHOP).await;
    let usd = reasons[0]["usd"].as_u64().unwrap();
    assert_eq!(reasons, json!([{ "because": "cost", "usd": usd, "limit": 150 }]));
    assert!(usd > 150, "it starts below the limit, but can grow above it: {usd}");
    deployed(&rehearsal, &with(SHOP, "LOG_LEVEL: info", "LOG_LEVEL: debug")).await;
    let larger = approved(&rehearsal, &with(SHOP, "max: 6", "max: 7")).await;
    assert_eq!(larger[0]["because"], "cost", "{larger}");
}

#[tokio::test(start_paused = true)]
async fn a_stack_below_the_limit_needs_no_approval() {
    deployed(&installed(&[("MaxMonthlyUsd", "250")]), SHOP).await;
}

#[tokio::test(start_paused = true)]
async fn a_repair_above_the_limit_needs_no_approval() {
    let rehearsal = installed(&[("MaxMonthlyUsd", "0")]);
    approved(&rehearsal, SHOP).await;
    open_the_database(&rehearsal).await;
    let repaired = run(&rehearsal, json!({ "stack": "shop", "action": "redeploy", "scheduled": true })).await;
    assert_eq!(repaired.result(), Outcome::Succeeded, "{:?}", repaired.error());
    assert_eq!(changes(&repaired), ["ec2:RevokeSecurityGroupIngress"]);
}

#[tokio::test(start_paused = true)]
async fn an_unknown_price_is_named_and_needs_approval() {
    let rehearsal = installed(&[]);
    let spec = with(&with(SHOP, "type: t3.micro", "type: x9.large"), "db.t4g.micro", "db.x9.large");
    let event = rehearsal.upload("plans/shop.yaml", spec.as_bytes()).await.unwrap();
    assert_eq!(run(&rehearsal, event).await.result(), Outcome::Planned);
    let record = object(&rehearsal, "stacks/shop/plan.json").await.unwrap();
    let unknown = ["instance.type x9.large", "database.class db.x9.large"];
    assert_eq!(record["estimate"]["unknownPrices"], json!(unknown));
    assert_eq!(record["approvalReasons"], json!([{ "because": "unknown-price", "of": unknown }]));
    let message = record["message"].as_str().unwrap();
    let named = "the price of instance.type x9.large and of database.class db.x9.large is not known";
    assert!(message.contains("at least ") && message.contains(named), "{message}");
}

#[test]
fn an_unknown_price_that_was_approved_needs_no_further_approval() {
    let spec = with(SHOP, "type: t3.micro", "type: x9.large");
    let (before, after) = (read(&spec), read(&with(&spec, "LOG_LEVEL: info", "LOG_LEVEL: debug")));
    let estimate = Estimate::of(&[], &after, Some(&before), "us-east-1");
    let rules = Rules::default();
    assert_eq!(cost_reasons(&estimate, Some(&before), &after, &rules), []);
    let of = vec!["instance.type x9.large".to_owned()];
    assert_eq!(cost_reasons(&estimate, None, &after, &rules), [ApprovalReason::UnknownPrice { of }]);
}

#[test]
fn tasks_and_storage_count_at_their_upper_end() {
    let prices = Prices::of("us-east-1");
    let cost = monthly_usd(&read(SHOP), &prices);
    let task = prices.fargate_hourly(512, 1024) * 730.0;
    let storage = prices.database_storage_monthly("gp3");
    let difference = cost.at_most - cost.at_start;
    assert!((difference - (4.0 * task + 80.0 * storage)).abs() < 0.001, "{difference}");
    assert!(!cost.is_estimated && cost.unknown.is_empty());
    // The storage of a standby counts too; without a maximum, nothing grows.
    let standby = monthly_usd(&read(&with(SHOP, "multiAz: false", "multiAz: true")), &prices);
    let difference = standby.at_most - standby.at_start;
    assert!((difference - (4.0 * task + 160.0 * storage)).abs() < 0.001, "{difference}");
    let fixed = monthly_usd(&read("stack: shop\ndatabase: {}\ninstance: {}\n"), &prices);
    assert!((fixed.at_most - fixed.at_start).abs() < 0.001, "{fixed:?}");
}

#[test]
fn the_same_stack_costs_more_in_another_region_and_an_unknown_region_is_an_estimate() {
    let cost = |region: &str| monthly_usd(&read(SHOP), &Prices::of(region));
    let (first, frankfurt, nowhere) = (cost("us-east-1"), cost("eu-central-1"), cost("xx-north-9"));
    assert!(frankfurt.at_start > 1.1 * first.at_start, "{frankfurt:?} {first:?}");
    // A public cost report of the example has 137 USD.
    assert!((frankfurt.at_start - 137.0).abs() < 3.0, "{frankfurt:?}");
    assert!(nowhere.is_estimated && nowhere.at_start > first.at_start);
}

#[tokio::test(start_paused = true)]
async fn a_count_above_the_ceiling_is_refused_before_any_change() {
    let rehearsal = installed(&[("MaxTasks", "5")]);
    let refused = rehearsal.deploy(SHOP, &()).await.unwrap();
    assert_eq!((refused.result(), changes(&refused)), (Outcome::Failed, Vec::new()));
    let problem = "services.web.scaling.max: 6 is more than this installation allows (5); lower it, or raise the parameter \
                   MaxTasks";
    assert_eq!(refused.problems().unwrap(), [problem]);
    deployed(&rehearsal, &with(SHOP, "max: 6", "max: 5")).await;
}

#[test]
fn every_ceiling_names_the_key_the_limit_and_the_parameter() {
    let spec = with(&with(SHOP, "count: 2", "count: 3"), "storage: 20", "storage: 30");
    let rules = Rules { max_tasks: 2, max_storage_gib: 19, max_vcpus: 6, ..Rules::default() };
    let problems = ceilings(&read(&spec), &rules);
    let found: Vec<String> = problems
        .iter()
        .map(|problem| format!("{}: {}; {}", problem.resource, problem.why, problem.fix))
        .collect();
    let refused = |path: &str, value: u32, most: u32, parameter: &str| {
        format!(
            "{path}: {value} is more than this installation allows ({most}); lower it, or raise the parameter {parameter}"
        )
    };
    let expected = [
        refused("services.web.count", 3, 2, "MaxTasks"),
        refused("services.web.scaling.max", 6, 2, "MaxTasks"),
        refused("instance.disk", 20, 19, "MaxStorageGib"),
        refused("database.storage", 30, 19, "MaxStorageGib"),
        refused("database.maxStorage", 100, 19, "MaxStorageGib"),
        // Six tasks of half a vCPU, and two each for the instance and the database.
        "stack: its services, instance and database can have 7 vCPUs, more than this installation allows (6); lower the tasks \
         or sizes in the spec, or raise the parameter MaxVcpus"
            .to_owned(),
    ];
    assert_eq!(found, expected);
    assert_eq!(ceilings(&read(SHOP), &Rules::default()), []);
}

#[test]
fn a_standby_counts_as_a_second_database_and_half_a_vcpu_as_a_whole_one() {
    // Three vCPUs for the tasks, two for the instance, and two for each copy of the database.
    let standby = with(SHOP, "multiAz: false", "multiAz: true");
    let fewer = with(SHOP, "max: 6", "max: 5");
    for (spec, vcpus) in [(SHOP, 7), (&*standby, 9), (&*fewer, 7)] {
        let rules = |max_vcpus| Rules { max_vcpus, ..Rules::default() };
        assert_eq!(ceilings(&read(spec), &rules(vcpus)), []);
        let refused = ceilings(&read(spec), &rules(vcpus - 1));
        let [problem] = &refused[..] else { panic!("{refused:?}") };
        assert!(problem.why.contains(&format!("can have {vcpus} vCPUs")), "{problem:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_destroy_of_a_stack_above_the_limit_needs_no_approval() {
    let rehearsal = installed(&[("MaxMonthlyUsd", "0")]);
    approved(&rehearsal, &unprotected()).await;
    let destroy = json!({ "stack": "shop", "action": "destroy", "deleteData": ["shop-instance"] });
    let destroyed = run(&rehearsal, destroy).await;
    assert_eq!(destroyed.result(), Outcome::Destroyed, "{:?}", destroyed.error());
}

#[tokio::test(start_paused = true)]
async fn a_plan_shows_the_cost_of_its_region_with_its_upper_end() {
    let rehearsal = installed(&[]);
    let event = rehearsal.upload("plans/shop.yaml", SHOP.as_bytes()).await.unwrap();
    run(&rehearsal, event).await;
    let record = object(&rehearsal, "stacks/shop/plan.json").await.unwrap();
    let estimate: Estimate = serde_json::from_value(record["estimate"].clone()).unwrap();
    let Estimate { monthly_usd_after: after, monthly_usd_at_most: most, .. } = estimate;
    assert!(after > 100.0 && most > after, "{record}");
    let shown = format!(
        "{after:.2} to {most:.2} USD a month in eu-central-1 (now 0.00; estimates from list prices of "
    );
    let message = record["message"].as_str().unwrap();
    assert!(message.contains(&shown), "{message}");
}

#[tokio::test(start_paused = true)]
async fn a_rejected_cost_changes_nothing() {
    let rehearsal = installed(&[("MaxMonthlyUsd", "1")]);
    let (rejected, request): (_, Value) =
        tokio::join!(async { rehearsal.deploy(SHOP, &()).await.unwrap() }, answer(&rehearsal, false));
    assert_eq!((rejected.result(), changes(&rejected)), (Outcome::ApprovalRejected, Vec::new()));
    assert_eq!(request["reasons"][0]["because"], "cost");
}
