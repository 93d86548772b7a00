//! Plans in words: one line a resource.

use serde_json::Value;

use crate::deployment::plan::{Change, Problem, Verb};
use crate::deployment::state::Deployment;

/// What the plans of the components (as the workflow's state has them) would change, one line a resource.
#[must_use]
pub fn lines(plans: &[Value]) -> Vec<String> {
    changes(plans).map(|(component, change)| line(component, &change)).collect()
}

/// The same without what only has to become healthy, or is started anew on request: what has drifted.
#[must_use]
pub fn drift(plans: &[Value]) -> Vec<String> {
    changes(plans)
        .filter(|(_, change)| change.verb != Verb::Settle && !is_refresh(change))
        .map(|(component, change)| line(component, &change))
        .collect()
}

/// A plan in a few words: how much it would change, what that takes and costs, and what would make it fail.
pub(crate) fn of_plan(deployment: &Deployment) -> String {
    let changes = match lines(&deployment.plan).len() {
        0 => "Nothing would be changed".to_owned(),
        1 => "1 change".to_owned(),
        number => format!("{number} changes"),
    };
    let comes_to = deployment.estimate().map(|estimate| format!(": {estimate}")).unwrap_or_default();
    let problems = problems(&deployment.plan);
    let problems =
        if problems.is_empty() { String::new() } else { format!("\nIt would fail: {}", problems.join("\n")) };
    let warnings = in_words(&warnings(&deployment.plan)).map(|said| format!("\n{said}")).unwrap_or_default();
    format!("{changes}{comes_to}.{problems}{warnings}")
}

/// What would make the plans fail.
#[must_use]
pub fn problems(plans: &[Value]) -> Vec<String> {
    under("problems", plans)
}

/// What somebody should know of, and what Stackdrop leaves alone.
#[must_use]
pub fn warnings(plans: &[Value]) -> Vec<String> {
    under("warnings", plans)
}

/// Warnings as a message ends with them, if there are any.
pub(crate) fn in_words(warnings: &[String]) -> Option<String> {
    (!warnings.is_empty()).then(|| format!("Warning: {}", warnings.join("\nWarning: ")))
}

fn under(key: &str, plans: &[Value]) -> Vec<String> {
    let problems = plans.iter().filter_map(|plan| plan.get(key)?.as_array()).flatten();
    problems
        .filter_map(|problem| serde_json::from_value::<Problem>(problem.clone()).ok())
        .map(|problem| format!("{}: {}; {}", problem.resource, problem.why, problem.fix))
        .collect()
}

fn changes(plans: &[Value]) -> impl Iterator<Item = (&str, Change)> {
    plans.iter().flat_map(|plan| {
        let component = plan.get("component").and_then(Value::as_str).unwrap_or_default();
        let changes = plan.get("changes").and_then(Value::as_array).into_iter().flatten();
        changes.filter_map(move |change| Some((component, serde_json::from_value(change.clone()).ok()?)))
    })
}

/// Tasks that are started anew to follow an image's tag.
fn is_refresh(change: &Change) -> bool {
    !change.fields.is_empty() && change.fields.iter().all(|field| field.from == PULLED_BEFORE)
}

/// What a plan shows of an image whose tag is to be followed.
pub(crate) const PULLED_BEFORE: &str = "as it was pulled before";

fn line(component: &str, change: &Change) -> String {
    let verb = match change.verb {
        Verb::Create => "create",
        Verb::Update => "update",
        Verb::Remove => "remove",
        Verb::Settle => "wait for",
    };
    let fields: Vec<String> = change
        .fields
        .iter()
        .map(|field| format!("{}: {} -> {}", field.field, field.from, field.to))
        .collect();
    let fields = if fields.is_empty() { String::new() } else { format!(" ({})", fields.join(", ")) };
    format!("{component}: {verb} {}{fields}", change.resource)
}
