//! The estimates of a plan, compared with the rehearsal: the same cost to the cent, and about the same duration.

use stackdrop::{Deployed, Rehearsal};
use stackdrop_figures::prices::Prices;
use stackdrop_functions::deployment::estimate::{Estimate, monthly_usd, seconds_of, seconds_of_first};
use stackdrop_functions::deployment::plan::ComponentPlan;

use crate::web_acl::FILTERED;
use crate::{MINIMAL, PRIVATE, SHOP, deployed, read, rehearsal};

fn bill(rehearsal: &Rehearsal) -> f64 {
    rehearsal.account().inventory().iter().map(|item| item.monthly_usd).sum()
}

/// The plan of a deployment.
fn plan_of(deployed: &Deployed) -> Vec<ComponentPlan> {
    let output = deployed.outcome.output_of("Plan").unwrap();
    serde_json::from_value(output["plan"].clone()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn the_estimated_cost_equals_the_cost_of_the_stack() {
    let larger =
        SHOP.replacen("nat: single", "nat: per-zone", 1).replacen("multiAz: false", "multiAz: true", 1);
    let larger = larger.replacen("zones: 2", "zones: 3", 1).replacen("t3.micro", "m7i.xlarge", 1);
    for spec in [SHOP, PRIVATE, MINIMAL, &larger] {
        let rehearsal = rehearsal(spec);
        deployed(&rehearsal, spec).await;
        let prices = Prices::of(&rehearsal.aws().settings.region);
        let (estimated, is) = (monthly_usd(&read(spec), &prices).at_start, bill(&rehearsal));
        assert!((estimated - is).abs() < 0.005, "{}: estimated {estimated}, actual {is}", read(spec).stack);
    }
}

/// Fails unless the estimated duration is within 15 % or two seconds of the actual one.
fn assert_near(name: &str, estimated: f64, took: f64) {
    assert!(
        (estimated - took).abs() <= (0.15 * took).max(2.0),
        "{name}: estimated {estimated:.1} s, actual {took:.1} s"
    );
}

#[tokio::test(start_paused = true)]
async fn a_first_deployment_takes_about_as_long_as_estimated() {
    for spec in [SHOP, PRIVATE, MINIMAL, FILTERED] {
        let rehearsal = rehearsal(spec);
        let first = deployed(&rehearsal, spec).await;
        let spec = read(spec);
        let estimated = seconds_of(&plan_of(&first), &spec, None);
        assert_near(spec.stack.as_str(), estimated, first.outcome.seconds);
        assert!(estimated > seconds_of_first(&spec), "no estimate is below AWS's minimum");
    }
}

/// The name of a change of the example, and the texts before and after it.
const UPDATES: [(&str, &str, &str); 15] = [
    ("nothing", "", ""),
    ("the image", "nginx:1.29", "nginx:1.30"),
    ("the environment", "LOG_LEVEL: info", "LOG_LEVEL: debug"),
    ("the database's class", "db.t4g.micro", "db.t4g.small"),
    ("the database's storage", "storage: 20", "storage: 40"),
    ("a standby", "multiAz: false", "multiAz: true"),
    ("backups", "backupDays: 7", "backupDays: 8"),
    ("a NAT gateway in each zone", "nat: single", "nat: per-zone"),
    ("a third zone", "zones: 2", "zones: 3"),
    ("who may connect", "- 0.0.0.0/0", "- 198.51.100.0/24"),
    ("the idle timeout", "idleTimeout: 60", "idleTimeout: 61"),
    ("the instance's type", "t3.micro", "t3.small"),
    ("the health check", "codes: 200-399", "codes: 200-299"),
    ("the most tasks", "max: 6", "max: 8"),
    ("the fewest tasks", "count: 2\n    scaling:\n      min: 2", "count: 4\n    scaling:\n      min: 4"),
];

#[tokio::test(start_paused = true)]
async fn an_update_takes_about_as_long_as_estimated() {
    for (name, from, to) in UPDATES {
        let rehearsal = rehearsal(SHOP);
        deployed(&rehearsal, SHOP).await;
        let changed = SHOP.replacen(from, to, 1);
        assert!(from.is_empty() || changed != SHOP, "{name}");
        let update = deployed(&rehearsal, &changed).await;
        let estimated = seconds_of(&plan_of(&update), &read(&changed), Some(&read(SHOP)));
        assert_near(name, estimated, update.outcome.seconds);
    }
}

#[tokio::test(start_paused = true)]
async fn the_estimate_includes_the_deletion_of_removed_resources() {
    let unprotected = SHOP.replacen("deletionProtection: true", "deletionProtection: false", 1);
    let without =
        unprotected.split("\n# PostgreSQL").next().unwrap().replace("    database:\n", "    environment2:\n");
    let kept = without.lines().filter(|line| !line.contains("DB_") && !line.contains("environment2"));
    let without = kept.collect::<Vec<_>>().join("\n");
    assert!(read(&without).database.is_none() && read(&without).instance.is_some());
    let rehearsal = rehearsal(SHOP);
    deployed(&rehearsal, &unprotected).await;
    let update = deployed(&rehearsal, &without).await;
    let estimated = seconds_of(&plan_of(&update), &read(&without), Some(&read(&unprotected)));
    assert_near("dropping the database", estimated, update.outcome.seconds);
}

#[test]
fn an_estimate_shows_the_monthly_cost_before_and_after() {
    let larger = SHOP.replacen("nat: single", "nat: per-zone", 1);
    let update = Estimate::of(&[], &read(&larger), Some(&read(SHOP)), "us-east-1");
    let difference = update.monthly_usd_after - update.monthly_usd_before;
    assert!((difference - 730.0 * 0.05).abs() < 0.011, "one more NAT gateway with its address: {difference}");
    assert!(
        Estimate::of(&[], &read(SHOP), None, "us-east-1").monthly_usd_before.abs() < f64::EPSILON,
        "an undeployed stack costs nothing"
    );
    let shown = serde_json::to_value(update).unwrap();
    assert!(
        shown["monthlyUsdBefore"].is_number()
            && shown["monthlyUsdAfter"].is_number()
            && shown["monthlyUsdAtMost"].is_number()
            && shown["region"] == "us-east-1"
            && shown["seconds"].is_number()
    );
}
