//! What AWS charges for a deployment itself, by its history and its calls. The limits are those in docs/operating.md.
//! `cargo test deployment_costs -- --nocapture` prints the costs.

use std::collections::BTreeMap;

use serde_json::json;
use stackdrop::Deployed;
use stackdrop_statemachine::Abort;

use crate::template::template;
use crate::{SHOP, deployed, rehearsal};

/// List prices of us-east-1 in US dollars: a state transition, a GB-second on x86-64, an invocation of a function, a write
/// and a read request to S3, an event, a message to one mailbox.
const TRANSITION: f64 = 0.025 / 1e3;
const GB_SECOND: f64 = 0.000_016_666_7;
const RUN: f64 = 0.20 / 1e6;
const PUT: f64 = 0.005 / 1e3;
const GET: f64 = 0.0004 / 1e3;
const EVENT: f64 = 1.0 / 1e6;
const MAIL: f64 = 2.0 / 1e5;

/// The billed usage of a deployment.
#[derive(Debug, Default)]
struct Used {
    transitions: f64,
    runs: f64,
    seconds: f64,
    puts: f64,
    gets: f64,
    events: f64,
}

impl Used {
    fn of(deployed: &Deployed) -> Self {
        let mut used = Self::default();
        let mut began: BTreeMap<&str, f64> = BTreeMap::new();
        for event in &deployed.outcome.history {
            let state = event.state.as_deref().unwrap_or_default();
            match event.kind.to_string().as_str() {
                kind if kind.ends_with("StateEntered") => used.transitions += 1.0,
                "TaskStarted" => {
                    began.insert(state, event.at_seconds);
                    used.runs += 1.0;
                }
                "TaskSucceeded" | "TaskFailed" | "TaskTimedOut" => {
                    used.seconds += event.at_seconds - began.remove(state).unwrap_or(event.at_seconds);
                }
                _ => {}
            }
        }
        // AWS also bills each retry, and the start and the end of an execution, as a transition.
        let tasks = deployed.outcome.steps.iter().filter(|step| step.attempts > 0);
        used.transitions += tasks.map(|step| f64::from(step.attempts - 1)).sum::<f64>() + 2.0;
        let count = |wanted: fn(&stackdrop_simulator::Call) -> bool| {
            f64::from(u32::try_from(deployed.calls.iter().filter(|call| wanted(call)).count()).unwrap())
        };
        used.puts = count(|call| call.service == "s3" && call.writes);
        used.gets = count(|call| call.service == "s3" && !call.writes);
        used.events = count(|call| call.service == "events");
        used
    }

    fn dollars(&self, gigabytes: f64) -> f64 {
        self.transitions * TRANSITION
            + self.seconds * gigabytes * GB_SECOND
            + self.runs * RUN
            + self.puts * PUT
            + self.gets * GET
            + self.events * (EVENT + MAIL)
    }
}

#[tokio::test(start_paused = true)]
async fn a_deployment_costs_less_than_one_cent_and_an_empty_redeploy_a_tenth_of_that() {
    let megabytes = template()["Parameters"]["MemorySize"]["Default"].as_f64().unwrap();
    let rehearsal = rehearsal(SHOP);
    let first = deployed(&rehearsal, SHOP).await;
    let nothing = json!({ "stack": "shop", "action": "redeploy" });
    let second = rehearsal.run(nothing, &(), &Abort::default()).await;
    for (what, deployed, limit) in [("first", first, 0.01), ("redeploy", second, 0.001)] {
        let used = Used::of(&deployed);
        let dollars = used.dollars(megabytes / 1024.0);
        println!(
            "{what}: {} state transitions, {} invocations, {:.1} GB-seconds, {} requests to S3, {} announcements, \
             {} calls in all: {dollars:.4} USD",
            used.transitions,
            used.runs,
            used.seconds * megabytes / 1024.0,
            used.puts + used.gets,
            used.events,
            deployed.calls.len(),
        );
        assert!(used.runs > 5.0 && used.seconds > 0.0, "{used:?}");
        assert!(dollars < limit, "{what}: {dollars} USD");
    }
}
