//! What a rehearsal says to people.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use serde_json::Value;
use stackdrop::{Deployed, Rehearsal};
use stackdrop_specs::Spec;
use stackdrop_statemachine::{Ending, Failure, StateKind, Step, StepEvent, Watch};

use super::say;

/// How much of a message stands beside its step; the whole of an error follows below.
const NOTE_CHARACTERS_MAX: usize = 100;

/// Prints each step as it ends, with its simulated time.
#[derive(Debug, Default)]
pub(super) struct Live {
    /// What each step under way is waiting for.
    waits: Mutex<BTreeMap<String, String>>,
}

impl Watch for Live {
    fn retrying(&self, step: &StepEvent<'_>, failure: &Failure, _after_seconds: f64) {
        let mut waits = self.waits.lock().unwrap_or_else(PoisonError::into_inner);
        waits.insert(step.name.to_owned(), failure.message());
    }

    fn left(&self, step: &Step) {
        let waited = self.waits.lock().unwrap_or_else(PoisonError::into_inner).remove(&step.name);
        // Choices and the ends say nothing that the steps do not.
        if matches!(step.kind, StateKind::Task | StateKind::Parallel) {
            say(&line(step, waited.as_deref()));
        }
    }
}

fn line(step: &Step, waited: Option<&str>) -> String {
    let name = if step.parent.is_some() { format!("  {}", step.name) } else { step.name.clone() };
    let note = match &step.ending {
        Ending::Done => waited.map(first_line).unwrap_or_default(),
        Ending::Caught { failure, .. } | Ending::Failed(failure) => {
            format!("FAILED: {}", first_line(&failure.message()))
        }
        Ending::Aborted => "stopped".to_owned(),
    };
    let text = format!("{:>8.1} s {:>7.1} s  {name:<22} {note}", step.start, step.end - step.start);
    text.trim_end().to_owned()
}

/// The first line of a text, cut where a terminal would wrap it.
fn first_line(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    match line.char_indices().nth(NOTE_CHARACTERS_MAX) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line.to_owned(),
    }
}

/// What is about to happen.
pub(super) fn opening(file: &Path, spec: &Spec, seed: Option<u64>) -> String {
    let pace = seed.map_or("at the medians of AWS's durations".into(), |seed| format!("with seed {seed}"));
    format!(
        "Rehearsing {}: the stack {}, {pace}.\n\n{:>10} {:>9}  step                   waited for, last",
        file.display(),
        spec.stack,
        "start",
        "took"
    )
}

/// What came of it.
pub(super) fn closing(rehearsal: &Rehearsal, deployed: &Deployed) -> String {
    let mut lines = vec![String::new()];
    match deployed.error() {
        None => lines.push(format!(
            "{} after {:.1} simulated seconds.",
            deployed.result(),
            deployed.outcome.seconds
        )),
        Some(error) => {
            lines.push(format!(
                "{} after {:.1} simulated seconds.",
                deployed.result(),
                deployed.outcome.seconds
            ));
            lines.push(error);
        }
    }
    let (writes, reads): (Vec<_>, Vec<_>) = deployed.calls.iter().partition(|call| call.writes);
    let records = writes.iter().filter(|call| call.service == "s3" || call.service == "sns").count();
    lines.push(format!(
        "{} reading calls, {} writing calls, {records} writes of records and announcements.",
        reads.len(),
        writes.len() - records
    ));
    if deployed.succeeded()
        && let Some(bound) = deployed.bound_seconds
    {
        lines.push(format!("AWS alone would take {bound:.1} s for a first deployment of this spec."));
    }
    lines.extend(outputs(&deployed.outputs()));
    lines.extend(inventory(rehearsal));
    lines.push(String::new());
    lines.join("\n")
}

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

/// What stands in the account now, and what of it costs money by standing there.
fn inventory(rehearsal: &Rehearsal) -> Vec<String> {
    let items = rehearsal.account().inventory();
    if items.is_empty() {
        return vec![String::new(), "Nothing is left in the account.".into()];
    }
    let mut lines =
        vec![String::new(), format!("{} resources stand in the account. Each month they cost:", items.len())];
    let mut total = 0.0;
    for item in items.iter().filter(|item| item.monthly_usd > 0.0) {
        total += item.monthly_usd;
        let kind = item.kind.trim_start_matches("AWS::").replace("::", " ");
        lines.push(format!("  {:>8.2} USD  {kind:<36} {}", item.monthly_usd, item.name));
    }
    lines.push(format!("  {total:>8.2} USD  in all, at us-east-1 list prices, without traffic and usage"));
    lines
}
