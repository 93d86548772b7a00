//! Rehearsals with stopped executions.

use serde_json::{Value, json};
use stackdrop::Rehearsal;
use stackdrop_functions::deployment::outcome::Outcome;
use stackdrop_statemachine::Abort;

use super::{rehearsal, succeeds, unprotected, wait};
use crate::{SHOP, StopAt, deployed};

/// A deployment and its rollback are both stopped, then completed. Later, a destroy is stopped and repeated.
pub(super) async fn a_rollback_is_stopped() -> Rehearsal {
    let spec = unprotected(SHOP);
    let rehearsal = rehearsal(&spec);
    let upload = rehearsal.upload("specs/shop.yaml", spec.as_bytes()).await.unwrap();
    let recovery = stopped_at(&rehearsal, upload, "Database").await;
    let recovery = stopped_at(&rehearsal, recovery, "AwaitDeletion").await;
    rehearsal.run(recovery, &(), &Abort::default()).await;
    assert_eq!(crate::resources(&rehearsal), Vec::<String>::new());
    deployed(&rehearsal, &spec).await;
    let destroy = json!({ "stack": "shop", "action": "destroy", "deleteData": ["shop-instance"] });
    let recovery = stopped_at(&rehearsal, destroy.clone(), "DeleteDatabase").await;
    rehearsal.run(recovery, &(), &Abort::default()).await;
    succeeds(&rehearsal, destroy).await;
    rehearsal
}

/// Stops an execution at a step, and returns the event of the interruption.
async fn stopped_at(rehearsal: &Rehearsal, input: Value, step: &'static str) -> Value {
    let abort = Abort::default();
    let stopped = rehearsal.run(input.clone(), &StopAt(step, abort.clone()), &abort).await;
    assert_eq!(
        stopped.result(),
        Outcome::Interrupted,
        "the execution ended before {step}: {:?}",
        stopped.error()
    );
    rehearsal.interruption(&stopped.id, &input).unwrap()
}

/// A deployment is stopped, and the next execution rolls it back.
pub(super) async fn a_deployment_is_stopped() -> Rehearsal {
    let rehearsal = rehearsal(SHOP);
    let event = rehearsal.upload("specs/shop.yaml", SHOP.as_bytes()).await.unwrap();
    let (nothing, abort) = ((), Abort::default());
    let stop = async {
        wait(60).await;
        abort.stop("Stopped", "by the test");
    };
    let (deployment, ()) = tokio::join!(rehearsal.run(event.clone(), &nothing, &abort), stop);
    let interruption = rehearsal.interruption(&deployment.id, &event).unwrap();
    rehearsal.run(interruption, &(), &Abort::default()).await;
    rehearsal
}
