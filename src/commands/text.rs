//! The texts that rehearsals and real deployments have in common.

use std::time::Duration;

use serde_json::Value;
use stackdrop_functions::deployment::outcome::Outcome;

/// The first line of a deployment's report, without its end. `problems` is the number of problems that the plan found.
pub(super) fn headline(outcome: Outcome, problems: usize) -> String {
    match (outcome, problems) {
        (Outcome::Failed, 1) => "Not deployed: 1 problem found, nothing was changed".into(),
        (Outcome::Failed, 2..) => format!("Not deployed: {problems} problems found, nothing was changed"),
        _ => outcome.headline().into(),
    }
}

/// A duration for people.
pub(super) fn duration(seconds: f64) -> String {
    let whole = Duration::from_secs_f64(seconds.max(0.0)).as_secs();
    match whole {
        0..60 => format!("{seconds:.1} s"),
        60..3600 => format!("{} min {} s", whole / 60, whole % 60),
        _ => format!("{} h {} min", whole / 3600, whole / 60 % 60),
    }
}

/// A stack's outputs, one line each, under a heading.
pub(super) fn outputs(outputs: &Value) -> Vec<String> {
    let mut flat = Vec::new();
    flatten("", outputs, &mut flat);
    if flat.is_empty() {
        return Vec::new();
    }
    let heading = [String::new(), "Outputs".into()].into_iter();
    heading.chain(flat.into_iter().map(|(name, value)| format!("  {name:<44} {value}"))).collect()
}

fn flatten(path: &str, value: &Value, flat: &mut Vec<(String, String)>) {
    let below = |key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
    match value {
        Value::Object(fields) => fields.iter().for_each(|(key, value)| flatten(&below(key), value, flat)),
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(plain).collect();
            flat.push((path.to_owned(), items.join(", ")));
        }
        other => flat.push((path.to_owned(), plain(other))),
    }
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
