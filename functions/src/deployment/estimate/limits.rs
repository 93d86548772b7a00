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
    excesses(spec, rules).into_iter().map(|excess| excess.problem).collect()
}

/// A number above its ceiling.
struct Excess {
    number: u32,
    problem: Problem,
}

fn excesses(spec: &Spec, rules: &Rules) -> Vec<Excess> {
    let mut all = Vec::new();
    for (name, service) in &spec.services {
        all.extend(excess(format!("services.{name}.count"), service.count, rules.max_tasks, "MaxTasks"));
        if let Some(scaling) = &service.scaling {
            let path = format!("services.{name}.scaling.max");
            all.extend(excess(path, scaling.max, rules.max_tasks, "MaxTasks"));
        }
    }
    let disk = spec.instance.iter().map(|instance| ("instance.disk", instance.disk));
    let storage = spec.database.iter().map(|database| ("database.storage", database.storage));
    let grown =
        spec.database.iter().filter_map(|database| Some(("database.maxStorage", database.max_storage?)));
    for (path, gib) in disk.chain(storage).chain(grown) {
        all.extend(excess(path.into(), gib, rules.max_storage_gib, "MaxStorageGib"));
    }
    all.extend(excess_of_vcpus(most_vcpus(spec), rules.max_vcpus));
    all
}

fn excess(path: String, number: u32, most: u32, parameter: &str) -> Option<Excess> {
    let problem = Problem {
        resource: path,
        why: format!("{number} is more than this installation allows ({most})"),
        fix: format!("lower it, or raise the parameter {parameter}"),
    };
    (number > most).then_some(Excess { number, problem })
}

fn excess_of_vcpus(number: u32, most: u32) -> Option<Excess> {
    let what = format!("its services, instance and database can have {number} vCPUs");
    let problem = Problem {
        resource: "stack".into(),
        why: format!("{what}, more than this installation allows ({most})"),
        fix: "lower the tasks or sizes in the spec, or raise the parameter MaxVcpus".into(),
    };
    (number > most).then_some(Excess { number, problem })
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

/// Adds what a deployment has too much of to the plans, as problems. As much as the last good spec has is allowed, and so is a
/// destruction.
pub(crate) fn add_ceilings(plans: &mut Vec<ComponentPlan>, deployment: &Deployment, rules: &Rules) {
    if deployment.destroying {
        return;
    }
    let accepted = deployment.baseline.as_ref().map(|baseline| excesses(&baseline.spec, rules));
    let accepted = accepted.unwrap_or_default();
    for Excess { number, problem } in excesses(&deployment.spec, rules) {
        let same = accepted.iter().find(|accepted| accepted.problem.resource == problem.resource);
        if same.is_some_and(|accepted| accepted.number >= number) {
            continue;
        }
        let component = match problem.resource.split('.').next() {
            Some("instance") => INSTANCE,
            Some("database") => DATABASE,
            _ => SERVICE,
        };
        if let Some(of) = plans.iter_mut().find(|plan| plan.component == component) {
            of.plan.problems.push(problem);
        } else {
            let plan = Plan { problems: vec![problem], ..Plan::default() };
            plans.push(ComponentPlan { component: component.into(), plan });
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn spec(tasks: u32, disk: u32) -> Value {
        let text = format!(
            "stack: shop\nservices: {{ web: {{ image: 'nginx:1.29', count: {tasks} }} }}\ninstance: {{ disk: {disk} }}\n"
        );
        json!(Spec::read(text.as_bytes()).unwrap())
    }

    /// The components with a problem in a deployment of these tasks and this disk.
    fn refused(spec: &Value, baseline: Option<Value>, destroying: bool) -> Vec<String> {
        let baseline = baseline
            .map(|spec| json!({ "deployment": "first", "version": "1", "spec": spec, "outputs": {} }));
        let deployment = json!({
            "verdict": "admitted", "stack": "shop", "id": "next", "execution": "arn:aws:states:eu-central-1:1:execution:x:next",
            "source": { "key": "specs/shop.yaml", "version": "2" }, "lock": "", "started": "2026-01-01T00:00:00Z",
            "trigger": "manual", "spec": spec, "baseline": baseline, "refreshImage": false, "reportOnly": false,
            "destroying": destroying, "rollingBack": false, "plan": [], "outputs": {}, "failed": {},
        });
        let deployment: Deployment = serde_json::from_value(deployment).unwrap();
        let rules = Rules { max_tasks: 5, max_storage_gib: 50, ..Rules::default() };
        let mut plans = vec![ComponentPlan { component: SERVICE.into(), plan: Plan::default() }];
        add_ceilings(&mut plans, &deployment, &rules);
        let with_problems = plans.into_iter().filter(|of| !of.plan.problems.is_empty());
        with_problems.map(|of| format!("{}: {}", of.component, of.plan.problems.len())).collect()
    }

    #[test]
    fn a_number_above_its_ceiling_is_a_problem_of_its_component_unless_the_last_good_spec_has_as_much() {
        assert_eq!(refused(&spec(6, 60), None, false), ["service: 1", "instance: 1"]);
        assert_eq!(refused(&spec(5, 50), None, false), Vec::<String>::new());
        assert_eq!(refused(&spec(6, 60), Some(spec(6, 60)), false), Vec::<String>::new());
        assert_eq!(refused(&spec(6, 60), Some(spec(9, 50)), false), ["instance: 1"], "fewer tasks than now");
        assert_eq!(refused(&spec(7, 60), Some(spec(6, 60)), false), ["service: 1"], "more tasks than now");
        assert_eq!(refused(&spec(6, 60), None, true), Vec::<String>::new(), "it is destroyed");
        let text = "stack: shop\ndatabase: { storage: 51 }\n";
        assert_eq!(refused(&json!(Spec::read(text.as_bytes()).unwrap()), None, false), ["database: 1"]);
    }
}
