//! The report of a rehearsal.

use std::path::Path;

use anyhow::Result;

use stackdrop::rehearsal::announces;
use stackdrop::{Deployed, Rehearsal};
use stackdrop_specs::Spec;

use crate::commands::text;

/// What is rehearsed, and the headings of the steps.
pub(super) fn opening(file: &Path, spec: &Spec, seed: Option<u64>) -> String {
    let durations =
        seed.map_or("AWS's median durations".into(), |seed| format!("durations drawn with seed {seed}"));
    format!(
        "Rehearsing {}: stack {}, {durations}.\n\n{:>10} {:>9}  step                   last wait",
        file.display(),
        spec.stack,
        "start",
        "took"
    )
}

/// The outcome, the calls, the outputs and the resources.
pub(super) fn closing(rehearsal: &Rehearsal, deployed: &Deployed) -> Result<String> {
    let headline = text::headline(deployed.result(), deployed.problems()?.len());
    let took = text::duration(deployed.outcome.seconds);
    let mut lines = vec![String::new(), format!("{headline} ({took} of simulated time).")];
    lines.extend(deployed.error());
    let (writes, reads): (Vec<_>, Vec<_>) = deployed.calls.iter().partition(|call| call.writes);
    let records = writes.iter().filter(|call| call.service == "s3" || announces(call)).count();
    lines.push(format!(
        "AWS calls: {} read, {} write; plus {records} writes for records and announcements.",
        reads.len(),
        writes.len() - records
    ));
    if deployed.succeeded()
        && let Some(bound) = deployed.bound_seconds
    {
        lines.push(format!(
            "AWS alone needs at least {} for a first deployment of this spec.",
            text::duration(bound)
        ));
    }
    lines.extend(text::outputs(&deployed.outputs()));
    lines.extend(inventory(rehearsal));
    lines.push(String::new());
    Ok(lines.join("\n"))
}

/// The resources in the account, and the monthly cost of those that cost money while they exist.
fn inventory(rehearsal: &Rehearsal) -> Vec<String> {
    let items = rehearsal.account().inventory();
    let region = &rehearsal.aws().settings.region;
    if items.is_empty() {
        return vec![String::new(), "No resources remain in the account.".into()];
    }
    let mut lines = vec![String::new(), format!("{} resources in the account. Monthly cost:", items.len())];
    let mut total = 0.0;
    for item in items.iter().filter(|item| item.monthly_usd > 0.0) {
        total += item.monthly_usd;
        let kind = item.kind.trim_start_matches("AWS::").replace("::", " ");
        lines.push(format!("  {:>8.2} USD  {kind:<36} {}", item.monthly_usd, item.name));
    }
    lines.push(format!("  {total:>8.2} USD  total, at list prices of {region}, without traffic and usage"));
    lines
}
