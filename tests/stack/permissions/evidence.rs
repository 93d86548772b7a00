//! What IAM decided in the rehearsals: each request once for each principal.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use stackdrop::installation::Installation;
use stackdrop::rehearsal::in_simulated_time;
use stackdrop_simulator::{AccessRequest, Decision, Principal};

use super::rehearsals;
use crate::wiring;

/// What the rehearsals show.
pub(super) struct Evidence {
    /// The installation that they ran in.
    pub(super) installation: Installation,
    /// How many decisions there were.
    pub(super) decided: usize,
    /// Each different request that was allowed.
    pub(super) allowed: BTreeSet<(Principal, AccessRequest)>,
    /// Each that was denied, with who made it.
    pub(super) denied: Vec<Decision>,
    /// The operations that each function called, such as `ec2:CreateVpc`.
    pub(super) called: BTreeMap<String, BTreeSet<String>>,
}

/// The rehearsals run once for all tests.
pub(super) static EVIDENCE: LazyLock<Evidence> =
    LazyLock::new(|| std::thread::spawn(|| in_simulated_time(gather()).unwrap()).join().unwrap());

async fn gather() -> Evidence {
    let mut evidence = Evidence {
        installation: crate::rehearsal(crate::SHOP).installation().clone(),
        decided: 0,
        allowed: BTreeSet::new(),
        denied: Vec::new(),
        called: BTreeMap::new(),
    };
    // Where nothing may start, what becomes of events is shown, and what is denied is denied on purpose.
    let lost = wiring::where_nothing_starts().await.account().decisions();
    evidence.add(lost.into_iter().filter(|decision| decision.allowed));
    evidence.add(Box::pin(wiring::at_work()).await.account().decisions());
    for rehearsal in Box::pin(rehearsals::all()).await {
        evidence.add(rehearsal.account().decisions());
        for call in rehearsal.account().call_log() {
            // `deployment-1/network/ensure`; what comes from outside is of no function.
            if let [_, function, _] = call.caller.split('/').collect::<Vec<_>>()[..] {
                evidence.called.entry(function.to_owned()).or_default().insert(call.name());
            }
        }
    }
    evidence
}

/// The same principal whatever its session.
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
