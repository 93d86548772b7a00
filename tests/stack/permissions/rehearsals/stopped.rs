//! Rehearsals in which executions are stopped.

use serde_json::{Value, json};
use stackdrop::Rehearsal;
use stackdrop_functions::deployment::outcome::Outcome;
use stackdrop_statemachine::Abort;

use super::{rehearsal, succeeds, unprotected, wait};
use crate::{SHOP, StopAt, deployed};

/// A deployment that was stopped, the one that looks after it, which is stopped too, and so on; then a removal.
pub(super) async fn an_undo_is_stopped() -> Rehearsal {
    let spec = unprotected(SHOP);
    let rehearsal = rehearsal(&spec);
    let upload = rehearsal.upload("specs/shop.yaml", spec.as_bytes()).await.unwrap();
    let looks_after = stopped_at(&rehearsal, upload, "Database").await;
    let looks_after = stopped_at(&rehearsal, looks_after, "AwaitDeletion").await;
    rehearsal.run(looks_after, &(), &Abort::default()).await;
    assert_eq!(crate::standing(&rehearsal), Vec::<String>::new());
    deployed(&rehearsal, &spec).await;
    let destroy = json!({ "stack": "shop", "action": "destroy" });
    let looks_after = stopped_at(&rehearsal, destroy.clone(), "DeleteDatabase").await;
    rehearsal.run(looks_after, &(), &Abort::default()).await;
    succeeds(&rehearsal, destroy).await;
    rehearsal
}

/// Stops an execution at a step, and gives the event of that.
async fn stopped_at(rehearsal: &Rehearsal, input: Value, step: &'static str) -> Value {
    let abort = Abort::default();
    let stopped = rehearsal.run(input.clone(), &StopAt(step, abort.clone()), &abort).await;
    assert_eq!(stopped.result(), Outcome::Interrupted, "it came to {step}: {:?}", stopped.error());
    rehearsal.interruption(&stopped.id, &input).unwrap()
}

/// A deployment that was stopped, and the one that looks after it.
pub(super) async fn by_hand() -> Rehearsal {
    let rehearsal = rehearsal(SHOP);
    let event = rehearsal.upload("specs/shop.yaml", SHOP.as_bytes()).await.unwrap();
    let (nothing, abort) = ((), Abort::default());
    let stop = async {
        wait(60).await;
        abort.stop("Stopped", "by hand");
    };
    let (deployment, ()) = tokio::join!(rehearsal.run(event.clone(), &nothing, &abort), stop);
    let interruption = rehearsal.interruption(&deployment.id, &event).unwrap();
    rehearsal.run(interruption, &(), &Abort::default()).await;
    rehearsal
}
