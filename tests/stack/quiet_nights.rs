//! Nights in which only AWS works on a stack: the scheduled redeploy finds no drift, and makes few calls.

use std::collections::BTreeMap;
use std::time::Duration;

use stackdrop::Rehearsal;
use stackdrop_simulator::Incident;
use stackdrop_specs::Spec;

use crate::{MINIMAL, PRIVATE, SHOP, deployed, pause, rehearsal};

/// How many nights.
const NIGHTS: usize = 30;
/// The specs, and for each the most calls of a night in which nothing changes.
const SPECS: [(&str, usize); 3] = [(SHOP, 70), (PRIVATE, 70), (MINIMAL, 70)];

/// What AWS does to a stack at night without any harm: none of it is drift.
const HARMLESS: [&str; 4] = [
    "database-in-maintenance",
    "database-minor-upgraded",
    "database-storage-grew",
    "guardduty-monitors-tasks",
];

/// The spec with a nightly redeploy.
fn nightly(spec: &str) -> String {
    let has_one = spec.lines().any(|line| line.starts_with("redeploy:"));
    if has_one { spec.to_owned() } else { format!("{spec}\nredeploy:\n  schedule: cron(0 3 * * ? *)\n") }
}

/// The calls of each night's deployment.
fn calls_by_execution(rehearsal: &Rehearsal) -> BTreeMap<String, Vec<String>> {
    let mut calls: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for call in rehearsal.account().call_log() {
        if let Some((execution, _)) = call.caller.split_once('/') {
            calls.entry(execution.to_owned()).or_default().push(call.name());
        }
    }
    calls
}

#[tokio::test(start_paused = true)]
async fn thirty_nights_find_no_drift_that_nobody_made() {
    for (spec, calls_max) in SPECS {
        let spec = nightly(spec);
        let stack = Spec::read(spec.as_bytes()).unwrap().stack.to_string();
        let rehearsal = rehearsal(&spec);
        deployed(&rehearsal, &spec).await;
        let nights = async {
            for night in 0..NIGHTS {
                // Some hours before the schedule fires: AWS has finished by then.
                pause(Duration::from_hours(24)).await;
                let incident = Incident::named(HARMLESS[night % HARMLESS.len()]).unwrap();
                let changed = rehearsal.account().cause(incident, &stack);
                if !changed.is_empty() {
                    println!("{stack}, night {night}: {}: {}", incident.what, changed.join(", "));
                }
            }
        };
        tokio::select! {
            never = rehearsal.live() => match never {},
            () = nights => {}
        }
        let executions = rehearsal.account().executions();
        assert!(executions.len() >= NIGHTS, "{stack}: only {} executions", executions.len());
        let bad: Vec<_> = executions.iter().filter(|it| it.status != "SUCCEEDED").collect();
        assert!(bad.is_empty(), "{stack}: {bad:?}");
        let told = rehearsal.account().events();
        let drift: Vec<_> = told.iter().filter(|event| event.detail["event"] == "drift-found").collect();
        assert!(drift.is_empty(), "{stack}: drift that nobody made: {:?}", drift[0].detail["changes"]);
        let calls = calls_by_execution(&rehearsal);
        // The rotation of the password, and the restart after it, have executions of their own, without a plan.
        let plans = |calls: &&Vec<String>| calls.iter().any(|call| call == "ec2:DescribeVpcs");
        let nightly = calls.iter().filter(|(id, _)| *id != "deployment-1").map(|(_, calls)| calls);
        let nightly = nightly.filter(plans);
        let most = nightly.max_by_key(|calls| calls.len()).unwrap();
        println!("{stack}: {NIGHTS} nights, at most {} calls a night, 0 drifts", most.len());
        assert!(most.len() <= calls_max, "{stack}: {} calls in one night: {most:?}", most.len());
    }
}
