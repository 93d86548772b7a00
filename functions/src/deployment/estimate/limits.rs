//! What an installation allows a stack: its cost without approval, and the most of everything that costs money.
//!
//! A cost above the limit needs approval, because money is a matter of agreement. A number above a ceiling is refused, because it
//! is more likely a mistake.

use stackdrop_figures::prices::{Prices, vcpus};
use stackdrop_specs::Spec;

use super::Estimate;
use super::cost::{monthly_usd, most_tasks};
use crate::aws::rules::Rules;
use crate::deployment::approval::ApprovalReason;
use crate::deployment::component_names::{DATABASE, INSTANCE, SERVICE};
use crate::deployment::plan::{ComponentPlan, Plan, Problem};
use crate::deployment::state::Deployment;

/// Why a plan needs approval because of its cost. What the spec of the last good deployment costs already, or has with an unknown
/// price, was accepted then.
#[must_use]
pub fn cost_reasons(
    estimate: &Estimate,
    baseline: Option<&Spec>,
    spec: &Spec,
    rules: &Rules,
) -> Vec<ApprovalReason> {
    if baseline == Some(spec) {
        return Vec::new();
    }
    let accepted = baseline.map(|baseline| monthly_usd(baseline, &Prices::of(&estimate.region)));
    let accepted = accepted.unwrap_or_default();
    let mut reasons = Vec::new();
    let at_most = estimate.monthly_usd_at_most;
    // Both are compared in cents: the sums differ in their last digits.
    if at_most > f64::from(rules.max_monthly_usd) && at_most > accepted.at_most + 0.005 {
        reasons.push(ApprovalReason::Cost { usd: whole_usd(at_most), limit: rules.max_monthly_usd });
    }
    let unknown = estimate.unknown_prices.iter().filter(|part| !accepted.unknown.contains(part));
    let of: Vec<String> = unknown.cloned().collect();
    if !of.is_empty() {
        reasons.push(ApprovalReason::UnknownPrice { of });
    }
    reasons
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a cost is a small positive number"
)]
fn whole_usd(usd: f64) -> u32 {
    usd.ceil() as u32
}

/// What a spec has more of than the installation allows.
#[must_use]
pub fn ceilings(spec: &Spec, rules: &Rules) -> Vec<Problem> {
    let mut ceilings = Ceilings::default();
    for (name, service) in &spec.services {
        ceilings.check(format!("services.{name}.count"), service.count, rules.max_tasks, "MaxTasks");
        if let Some(scaling) = &service.scaling {
            ceilings.check(format!("services.{name}.scaling.max"), scaling.max, rules.max_tasks, "MaxTasks");
        }
    }
    let disk = spec.instance.iter().map(|instance| ("instance.disk", instance.disk));
    let storage = spec.database.iter().map(|database| ("database.storage", database.storage));
    let grown =
        spec.database.iter().filter_map(|database| Some(("database.maxStorage", database.max_storage?)));
    for (path, gib) in disk.chain(storage).chain(grown) {
        ceilings.check(path.into(), gib, rules.max_storage_gib, "MaxStorageGib");
    }
    ceilings.check_vcpus(most_vcpus(spec), rules.max_vcpus);
    ceilings.0
}

/// The problems that were found.
#[derive(Default)]
struct Ceilings(Vec<Problem>);

impl Ceilings {
    fn check(&mut self, path: String, value: u32, most: u32, parameter: &str) {
        if value > most {
            self.0.push(Problem {
                resource: path,
                why: format!("{value} is more than this installation allows ({most})"),
                fix: format!("lower it, or raise the parameter {parameter}"),
            });
        }
    }

    fn check_vcpus(&mut self, total: u32, most: u32) {
        if total > most {
            let what = format!("its services, instance and database can have {total} vCPUs");
            self.0.push(Problem {
                resource: "stack".into(),
                why: format!("{what}, more than this installation allows ({most})"),
                fix: "lower the tasks or sizes in the spec, or raise the parameter MaxVcpus".into(),
            });
        }
    }
}

/// The vCPUs of a stack with all tasks that its spec allows. A type or class without a number in its size counts as 0: its price
/// is not known either, so it needs approval.
fn most_vcpus(spec: &Spec) -> u32 {
    let units = spec.services.values().map(|service| service.cpu * most_tasks(service)).sum::<u32>();
    let instance = spec.instance.iter().filter_map(|instance| vcpus(&instance.instance_type));
    let copies = |multi_az: bool| if multi_az { 2 } else { 1 };
    let database = spec.database.iter();
    let database = database.filter_map(|database| Some(vcpus(&database.class)? * copies(database.multi_az)));
    units.div_ceil(1024) + instance.chain(database).sum::<u32>()
}

/// Adds what a deployment has too much of to the plans, as problems. What the last good spec has already is allowed, and so is a
/// destruction.
pub(crate) fn add_ceilings(plans: &mut Vec<ComponentPlan>, deployment: &Deployment, rules: &Rules) {
    if deployment.destroying {
        return;
    }
    let accepted = deployment.baseline.as_ref().map(|baseline| ceilings(&baseline.spec, rules));
    let accepted = accepted.unwrap_or_default();
    for problem in ceilings(&deployment.spec, rules) {
        if accepted.contains(&problem) {
            continue;
        }
        let component = match problem.resource.split('.').next() {
            Some("instance") => INSTANCE,
            Some("database") => DATABASE,
            _ => SERVICE,
        };
        match plans.iter_mut().find(|plan| plan.component == component) {
            Some(of) => of.plan.problems.push(problem),
            None => {
                let plan = Plan { problems: vec![problem], ..Plan::default() };
                plans.push(ComponentPlan { component: component.into(), plan });
            }
        }
    }
}
