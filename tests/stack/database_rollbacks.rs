//! Whatever happens to the database during an update that fails, the rollback succeeds.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use stackdrop::Rehearsal;
use stackdrop_functions::deployment::outcome::Outcome;
use stackdrop_simulator::{Fault, Incident, When};
use stackdrop_statemachine::{StepEvent, Watch};

use crate::database_incidents::{DATABASE, database};
use crate::redeploy;
use crate::{deployed, object, pause, refused, rehearsal, with};

/// Causes an incident whenever the execution enters a step, until it applied once.
struct CauseAt<'a> {
    step: &'static str,
    incident: &'static Incident,
    rehearsal: &'a Rehearsal,
    caused: AtomicUsize,
}

impl Watch for CauseAt<'_> {
    fn entered(&self, step: &StepEvent<'_>) {
        if step.name == self.step && self.caused.load(Ordering::Relaxed) == 0 {
            let changed = self.rehearsal.account().cause(self.incident, "shop");
            self.caused.fetch_add(changed.len(), Ordering::Relaxed);
        }
    }
}

/// The incidents of a database.
fn incidents() -> Vec<&'static Incident> {
    let of_database = |name: &str| name.starts_with("database-") || name == "secret-rotated";
    let all = Incident::all().chain(Incident::severe());
    let all: Vec<_> = all.filter(|incident| of_database(incident.name)).collect();
    assert!(all.len() >= 20, "{}", all.len());
    all
}

#[tokio::test(start_paused = true)]
async fn an_update_that_fails_while_something_happens_to_the_database_is_rolled_back() {
    for incident in incidents() {
        let update = with(DATABASE, "LOG: info", "LOG: debug");
        // The second one changes the database: its rollback changes it back.
        for update in [with(&update, "db.t4g.micro", "db.t4g.small"), update] {
            let rehearsal = rehearsal(DATABASE);
            deployed(&rehearsal, DATABASE).await;
            rehearsal.account().arm(Fault::at("ecs", "RegisterTaskDefinition", When::Only(1), refused()));
            let watch =
                CauseAt { step: "Service", incident, rehearsal: &rehearsal, caused: AtomicUsize::new(0) };
            let failed = rehearsal.deploy(&update, &watch).await.unwrap();
            assert_eq!(failed.result(), Outcome::Failed, "{}: {:?}", incident.name, failed.error());
            assert_eq!(watch.caused.load(Ordering::Relaxed), 1, "{} did not apply", incident.name);
            let record = object(&rehearsal, "stacks/shop/status.json").await.unwrap();
            assert!(record["error"].is_null() || !record["error"].to_string().contains("RollbackFailed"));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_update_goes_through_or_is_rolled_back_whatever_happens_before_its_database_step() {
    for incident in incidents() {
        let rehearsal = rehearsal(DATABASE);
        deployed(&rehearsal, DATABASE).await;
        let update = with(&with(DATABASE, "LOG: info", "LOG: debug"), "db.t4g.micro", "db.t4g.small");
        let watch =
            CauseAt { step: "Database", incident, rehearsal: &rehearsal, caused: AtomicUsize::new(0) };
        let ended = rehearsal.deploy(&update, &watch).await.unwrap();
        assert!(
            [Outcome::Succeeded, Outcome::Failed].contains(&ended.result()),
            "{}: {:?}",
            incident.name,
            ended.error()
        );
        println!(
            "{}: {} after {:.0} s: {:?}",
            incident.name,
            ended.result(),
            ended.outcome.seconds,
            ended.error()
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_database_deleted_during_a_deployment_is_not_replaced_by_the_rollback() {
    for step in ["Database", "Service"] {
        let rehearsal = rehearsal(DATABASE);
        deployed(&rehearsal, DATABASE).await;
        let incident = Incident::named("database-deleted").unwrap();
        let watch = CauseAt { step, incident, rehearsal: &rehearsal, caused: AtomicUsize::new(0) };
        if step == "Service" {
            rehearsal.account().arm(Fault::at("ecs", "RegisterTaskDefinition", When::Only(1), refused()));
        }
        let failed = rehearsal.deploy(&with(DATABASE, "LOG: info", "LOG: debug"), &watch).await.unwrap();
        let error = failed.error().unwrap();
        assert_eq!(failed.result(), Outcome::Failed, "{step}: {error}");
        assert!(!failed.calls.iter().any(|call| call.operation == "CreateDBInstance"), "{step}");
        for text in ["was left as it is", "the database shop-database is", "--empty-database shop-database"] {
            assert!(error.contains(text), "{step}: {text} is not in {error}");
        }
        pause(Duration::from_mins(30)).await;
        let next = redeploy(&rehearsal).await;
        assert!(next.error().unwrap().contains("shop-database is gone"), "{:?}", next.error());
    }
}

#[tokio::test(start_paused = true)]
async fn a_database_that_stops_during_an_update_is_started_by_the_rollback() {
    let rehearsal = rehearsal(DATABASE);
    deployed(&rehearsal, DATABASE).await;
    let incident = Incident::named("database-stopped").unwrap();
    let watch = CauseAt { step: "Service", incident, rehearsal: &rehearsal, caused: AtomicUsize::new(0) };
    let failed = rehearsal.deploy(&with(DATABASE, "LOG: info", "LOG: debug"), &watch).await.unwrap();
    let error = failed.error().unwrap();
    assert!(error.contains("it is stopped") && error.contains("DB instance stopped"), "{error}");
    assert_eq!(failed.result(), Outcome::Failed, "{error}");
    assert_eq!(database(&rehearsal).await.db_instance_status(), Some("available"));
    pause(Duration::from_mins(1)).await;
    assert_eq!(redeploy(&rehearsal).await.result(), Outcome::Succeeded);
}
