//! Plans in words: one line for each resource.

use crate::deployment::effect::Effect;
use crate::deployment::estimate::Estimate;
use crate::deployment::plan::{Change, ComponentPlan, Problem, Verb};
use crate::deployment::state::Deployment;

/// What people must know of the plans before they agree to them, the worst first.
#[must_use]
pub fn effects(plans: &[ComponentPlan]) -> Vec<Effect> {
    in_order(plans).into_iter().map(|(_, effect)| effect.clone()).collect()
}

/// The same, one line each: `!! deletes data: database: deletes RDS instance shop-database without a final snapshot`.
#[must_use]
pub fn effect_lines(plans: &[ComponentPlan]) -> Vec<String> {
    let line =
        |(component, Effect { kind, what, .. }): (&str, &Effect)| format!("{kind}: {component}: {what}");
    in_order(plans).into_iter().map(line).collect()
}

fn in_order(plans: &[ComponentPlan]) -> Vec<(&str, &Effect)> {
    let of_each = plans.iter().map(|of| (of.component.as_str(), &of.plan.effects));
    let mut all: Vec<(&str, &Effect)> = of_each
        .flat_map(|(component, effects)| effects.iter().map(move |effect| (component, effect)))
        .collect();
    all.sort_by_key(|(_, effect)| effect.kind);
    all
}

/// What the plans would change, one line for each resource.
#[must_use]
pub fn changes(plans: &[ComponentPlan]) -> Vec<String> {
    lines(plans, |_| true)
}

/// The drift in the plans: the changes except waits and restarts, which nobody caused by changing the account.
#[must_use]
pub fn drift(plans: &[ComponentPlan]) -> Vec<String> {
    lines(plans, |change| !matches!(change.verb, Verb::Wait | Verb::Restart))
}

/// A plan in a few words: how much it would change, its duration and cost, and what would make it fail.
pub(crate) fn of_plan(deployment: &Deployment) -> String {
    let changes = match changes(&deployment.plan).len() {
        0 => "No changes".to_owned(),
        1 => "1 change".to_owned(),
        number => format!("{number} changes"),
    };
    let estimate =
        Estimate::of_deployment(deployment).map(|estimate| format!(": {estimate}")).unwrap_or_default();
    let effects = effect_lines(&deployment.plan);
    let effects = if effects.is_empty() { String::new() } else { format!("\n{}", effects.join("\n")) };
    let problems = problems(&deployment.plan);
    let problems =
        if problems.is_empty() { String::new() } else { format!("\nIt would fail: {}", problems.join("\n")) };
    let warnings = in_words(&warnings(&deployment.plan)).map(|text| format!("\n{text}")).unwrap_or_default();
    let running = deployment.running.as_ref().map(|running| {
        format!("\nWarning: deployment {running} of the stack was running: what it changes after that is not in the plan.")
    });
    format!("{changes}{estimate}.{effects}{problems}{warnings}{}", running.unwrap_or_default())
}

/// What would make the plans fail.
#[must_use]
pub fn problems(plans: &[ComponentPlan]) -> Vec<String> {
    plans.iter().flat_map(|of| &of.plan.problems).map(problem).collect()
}

/// The warnings in the plans.
#[must_use]
pub fn warnings(plans: &[ComponentPlan]) -> Vec<String> {
    plans.iter().flat_map(|of| &of.plan.warnings).map(problem).collect()
}

/// Warnings as a message ends with them, if there are any.
pub(crate) fn in_words(warnings: &[String]) -> Option<String> {
    (!warnings.is_empty()).then(|| format!("Warning: {}", warnings.join("\nWarning: ")))
}

fn problem(problem: &Problem) -> String {
    format!("{}: {}; {}", problem.resource, problem.why, problem.fix)
}

fn lines(plans: &[ComponentPlan], which: impl Fn(&Change) -> bool) -> Vec<String> {
    let changes =
        plans.iter().flat_map(|of| of.plan.changes.iter().map(move |change| (&of.component, change)));
    changes.filter(|(_, change)| which(change)).map(|(component, change)| line(component, change)).collect()
}

fn line(component: &str, change: &Change) -> String {
    let verb = match change.verb {
        Verb::Create => "create",
        Verb::Update => "update",
        Verb::Delete => "delete",
        Verb::Restart => "restart",
        Verb::Wait => "wait for",
    };
    let fields: Vec<String> = change
        .fields
        .iter()
        .map(|field| format!("{}: {} -> {}", field.field, field.from, field.to))
        .collect();
    let fields = if fields.is_empty() { String::new() } else { format!(" ({})", fields.join(", ")) };
    format!("{component}: {verb} {}{fields}", change.resource)
}
