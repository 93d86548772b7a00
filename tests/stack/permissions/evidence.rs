//! The decisions of IAM in the rehearsals: each request once for each principal.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use stackdrop::installation::Installation;
use stackdrop::rehearsal::in_simulated_time;
use stackdrop_simulator::{AccessRequest, Decision, Exchange, Principal};

use super::rehearsals;
use crate::wiring;

/// What the rehearsals prove.
pub(crate) struct Evidence {
    /// The installation that the rehearsals ran in.
    pub(super) installation: Installation,
    /// The number of decisions.
    pub(super) decided: usize,
    /// Each distinct request that was allowed.
    pub(super) allowed: BTreeSet<(Principal, AccessRequest)>,
    /// Each denied request, with its caller.
    pub(super) denied: Vec<Decision>,
    /// The operations that each function called, such as `ec2:CreateVpc`.
    pub(crate) called: BTreeMap<String, BTreeSet<String>>,
    /// Every call on the wire, each form once in a rehearsal.
    pub(crate) exchanges: Vec<Exchange>,
}

/// The rehearsals run once for all tests.
pub(crate) static EVIDENCE: LazyLock<Evidence> =
    LazyLock::new(|| std::thread::spawn(|| in_simulated_time(gather()).unwrap()).join().unwrap());

async fn gather() -> Evidence {
    let mut evidence = Evidence {
        // With the zone of the example that has one: the rehearsals use no other.
        installation: crate::rehearsal(crate::PRIVATE).installation().clone(),
        decided: 0,
        allowed: BTreeSet::new(),
        denied: Vec::new(),
        called: BTreeMap::new(),
        exchanges: Vec::new(),
    };
    // This rehearsal shows what happens to events that cannot start an execution. Its denials are intended.
    let lost = wiring::where_events_start_nothing().await.account().decisions();
    evidence.add(lost.into_iter().filter(|decision| decision.allowed));
    evidence.add(Box::pin(wiring::in_operation()).await.account().decisions());
    for rehearsal in Box::pin(rehearsals::all()).await {
        evidence.add(rehearsal.account().decisions());
        evidence.exchanges.extend(rehearsal.account().exchanges());
        for call in rehearsal.account().call_log() {
            // Callers outside the functions do not have this form: `deployment-1/network/apply`.
            if let [_, function, _] = call.caller.split('/').collect::<Vec<_>>()[..] {
                evidence.called.entry(function.to_owned()).or_default().insert(call.name());
            }
        }
    }
    evidence
}

/// The principal without the name of its session.
fn unnamed(principal: Principal) -> Principal {
    match principal {
        Principal::Role { arn, .. } => Principal::Role { arn, session: String::new() },
        other => other,
    }
}

impl Evidence {
    fn add(&mut self, decisions: impl IntoIterator<Item = Decision>) {
        for decision in decisions {
            self.decided += 1;
            if decision.allowed {
                self.allowed.insert((unnamed(decision.principal), decision.request));
            } else {
                self.denied.push(decision);
            }
        }
    }
}
