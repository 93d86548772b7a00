//! Components applied, planned or deleted a second time.

use serde_json::{Value, json};
use stackdrop_functions::{COMPONENTS, handle};

use crate::{PRIVATE, SHOP, admitted_state, deployed, rehearsal, resources};

/// The input of the state `WaitUntilStable`.
fn state_before_wait(deployed: &stackdrop::Deployed) -> Value {
    deployed.outcome.input_of("WaitUntilStable").unwrap().clone()
}

#[tokio::test(start_paused = true)]
async fn a_second_apply_of_every_component_makes_no_writing_call() {
    for spec in [SHOP, PRIVATE] {
        let rehearsal = rehearsal(spec);
        let deployed = deployed(&rehearsal, spec).await;
        let mut state = state_before_wait(&deployed);
        // Conclude turned on deletion protection; a deployment with a baseline expects that.
        state["baseline"] = json!({
            "deployment": deployed.id, "version": "1", "spec": state["spec"], "outputs": deployed.outputs(),
        });
        let before = rehearsal.account().calls();
        for part in &COMPONENTS {
            let payload = json!({ "action": "apply", "deployment": state });
            handle(part.name, payload, rehearsal.aws()).await.unwrap();
        }
        let writes: Vec<String> = rehearsal
            .account()
            .call_log_from(before)
            .iter()
            .filter(|call| call.writes)
            .map(stackdrop_simulator::Call::name)
            .collect();
        assert_eq!(writes, Vec::<String>::new());
    }
}

#[tokio::test(start_paused = true)]
async fn every_plan_after_a_deployment_is_empty() {
    let rehearsal = rehearsal(SHOP);
    let deployed = deployed(&rehearsal, SHOP).await;
    let mut state = state_before_wait(&deployed);
    state["outputs"] = json!({});
    state["baseline"] = json!({
        "deployment": deployed.id, "version": "1", "spec": state["spec"], "outputs": deployed.outputs(),
    });
    for part in &COMPONENTS {
        let payload = json!({ "action": "plan", "deployment": state });
        let plan = handle(part.name, payload, rehearsal.aws()).await.unwrap();
        assert_eq!(plan["changes"], json!([]), "{}", part.name);
        assert_eq!(plan["problems"], json!([]), "{}", part.name);
    }
}

#[tokio::test(start_paused = true)]
async fn deleting_missing_resources_succeeds() {
    let rehearsal = rehearsal(SHOP);
    let state = admitted_state(&stackdrop_specs::Spec::read(SHOP.as_bytes()).unwrap());
    for part in &COMPONENTS {
        for action in ["delete", "await-deletion"] {
            let payload = json!({ "action": action, "deployment": state });
            let removal = handle(part.name, payload, rehearsal.aws()).await.unwrap();
            assert_eq!(removal, json!({ "found": 0, "remaining": [] }), "{}", part.name);
        }
    }
    assert_eq!(resources(&rehearsal), Vec::<String>::new());
}
