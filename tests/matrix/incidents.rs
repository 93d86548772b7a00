//! Incidents at every step of a deployment, an update, its rollback and a destroy: what AWS or a person does to the stack
//! meanwhile. No rollback may fail, nothing may be left behind or exist twice, and once AWS has finished what the incident
//! began, the next deployment reaches its spec.
//!
//! By default, each incident happens at every fourth step, a different quarter for each incident; with `MATRIX`, at every one.

use std::fmt;
use std::time::Duration;

use serde_json::{Value, json};
use stackdrop::chaos::resources_of;
use stackdrop::rehearsal::Checkpoint;
use stackdrop::{Deployed, Rehearsal};
use stackdrop_functions::deployment::outcome::Outcome;
use stackdrop_simulator::Incident;

use crate::runner::{Ended, Grouped, Verdict, run_all};
use crate::undisturbed_run::{UndisturbedRun, changes, deploy, lock_is_free, run};
use crate::{SHOP, deployment, destroy, same, simulated, update};

/// One in this many steps has a case.
const INTERVAL: usize = 4;
/// How long AWS needs at most to finish what an incident began.
const AWS_FINISHES: Duration = Duration::from_mins(30);

/// What a person must do with a resource that lost its tag.
const UNTAGGED: &str = "restore its tag stackdrop:stack";
/// The same, before a destroy.
const ADD_TAGS: &str = "run `aws elbv2 add-tags";

/// The incidents after which a person must act, and what the next deployment tells that person.
const FOR_A_PERSON: [(&str, &str); 13] = [
    ("load-balancer-untagged", ADD_TAGS),
    ("target-groups-untagged", ADD_TAGS),
    ("database-deleted", "--empty-database shop-database"),
    ("database-storage-full", "Set a larger database.storage"),
    ("load-balancer-protected", "turn it off in the attributes of the load balancer"),
    ("load-balancer-untagged", UNTAGGED),
    ("load-balancer-untagged", "a listener or a listener rule still refers to it: delete the rule"),
    ("listeners-untagged", UNTAGGED),
    ("listener-rules-untagged", UNTAGGED),
    ("target-groups-untagged", UNTAGGED),
    (
        "database-parameters-incompatible",
        "reset the parameter in the parameter group, and reboot the instance",
    ),
    ("database-storage-grew", "deploy again after that"),
    ("database-upgrade-queued", "set database.version to 18"),
];

/// An incident that happens before a step.
struct Moment<'r> {
    incident: &'static Incident,
    before: &'r Checkpoint,
}

impl fmt::Display for Moment<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} before {}", self.incident.name, self.before.step().unwrap_or_default())
    }
}

impl Grouped for Moment<'_> {
    fn group(&self) -> &str {
        self.incident.name
    }
}

/// The moments of a run.
fn moments(undisturbed: &UndisturbedRun) -> Vec<Moment<'_>> {
    let all = std::env::var_os("MATRIX").is_some();
    let incidents = Incident::all().chain(Incident::severe()).enumerate();
    let moments = incidents.flat_map(|(place, incident)| {
        let last = undisturbed.checkpoints.iter().position(|it| it.step() == Some("Conclude")).unwrap();
        let checkpoints = undisturbed.checkpoints[..=last].iter().enumerate();
        let wanted = checkpoints.filter(move |(step, _)| all || (step + place).is_multiple_of(INTERVAL));
        wanted.map(move |(_, before)| Moment { incident, before })
    });
    moments.collect()
}

/// Goes on from a moment, after its incident. `None` if the stack has nothing that the incident could change.
async fn go_on(moment: &Moment<'_>) -> Option<(Rehearsal, Deployed)> {
    let rehearsal = Rehearsal::resume(moment.before);
    if rehearsal.account().cause(moment.incident, "shop").is_empty() {
        return None;
    }
    let deployed = rehearsal.go_on(moment.before).await.unwrap();
    Some((rehearsal, deployed))
}

/// Lets the time pass that AWS needs.
#[expect(clippy::disallowed_methods, reason = "the test waits in simulated time; no function does")]
async fn aws_finishes() {
    tokio::time::sleep(AWS_FINISHES).await;
}

/// The stack's resources.
fn own(rehearsal: &Rehearsal) -> Vec<String> {
    resources_of(&rehearsal.account().inventory(), "shop")
}

fn own_after(undisturbed: &UndisturbedRun) -> Vec<String> {
    own(&Rehearsal::resume(undisturbed.checkpoints.last().unwrap()))
}

/// `Ok` if the result is one of these, and IAM has denied no call.
fn ended_as(rehearsal: &Rehearsal, deployed: &Deployed, allowed: &[Outcome]) -> Result<(), String> {
    let error = deployed.error().unwrap_or_default();
    if !allowed.contains(&deployed.result()) {
        return Err(format!("{}: {error}", deployed.result()));
    }
    rehearsal.account().denials().first().map_or(Ok(()), |denial| Err(denial.to_string()))
}

/// Whether a deployment failed with what a person must do after the incident.
fn tells_a_person(incident: &Incident, deployed: &Deployed) -> bool {
    let mut told = FOR_A_PERSON.iter().filter(|(name, _)| *name == incident.name);
    let error = deployed.error().unwrap_or_default();
    [Outcome::Failed, Outcome::DestroyFailed].contains(&deployed.result())
        && told.any(|(_, words)| error.contains(words))
}

/// `Ok` if, once AWS has finished, a deployment of the spec succeeds, leaves what is expected, and the next changes nothing.
async fn reaches(
    rehearsal: &Rehearsal,
    incident: &Incident,
    spec: &str,
    expected: &[String],
) -> Result<(), String> {
    aws_finishes().await;
    let next = deploy(rehearsal, spec).await;
    if tells_a_person(incident, &next) {
        return lock_is_free(rehearsal).await;
    }
    same("the end of the next", (next.result(), next.error()), (Outcome::Succeeded, None))?;
    same("the resources", own(rehearsal), expected.to_vec())?;
    // An upload that changes nothing does not read the schedule; a redeploy does.
    run(rehearsal, json!({ "stack": "shop" })).await;
    let idle = run(rehearsal, json!({ "stack": "shop" })).await;
    same("the end of the one after", (idle.result(), idle.error()), (Outcome::Succeeded, None))?;
    same("what the one after changes", changes(&idle), Vec::new())?;
    lock_is_free(rehearsal).await
}

async fn after_the_incident(
    moment: &Moment<'_>,
    spec: &str,
    expected: &[String],
    allowed: &[Outcome],
) -> Verdict {
    let Some((rehearsal, deployed)) = go_on(moment).await else { return Ok(Ended::NothingToChange) };
    ended_as(&rehearsal, &deployed, allowed)?;
    reaches(&rehearsal, moment.incident, spec, expected).await?;
    Ok(if deployed.succeeded() { Ended::Succeeded } else { Ended::FailedClean })
}

#[test]
fn no_incident_in_a_first_deployment_leaves_anything_behind() {
    let undisturbed = deployment::undisturbed();
    let expected = own_after(&undisturbed);
    run_all("Incidents in a deployment", &moments(&undisturbed), |moment| {
        simulated(async {
            after_the_incident(moment, SHOP, &expected, &[Outcome::Succeeded, Outcome::Failed]).await
        })
    });
}

#[test]
fn no_incident_in_an_update_makes_its_rollback_fail() {
    let (undisturbed, spec) = (update::undisturbed(), update::updated_spec());
    let expected = own_after(&undisturbed);
    run_all("Incidents in an update", &moments(&undisturbed), |moment| {
        simulated(async {
            after_the_incident(moment, &spec, &expected, &[Outcome::Succeeded, Outcome::Failed]).await
        })
    });
}

#[test]
fn no_incident_in_a_rollback_makes_it_fail() {
    let undisturbed = update::undisturbed_rollback();
    let expected = own(&Rehearsal::resume(&undisturbed.checkpoints[0]));
    let (updated, spec) = (update::undisturbed(), update::updated_spec());
    let expected_of_update = own_after(&updated);
    run_all("Incidents in the rollback of an update", &moments(&undisturbed), |moment| {
        simulated(async {
            if ["service-deleted", "own-secrets-rotated"].contains(&moment.incident.name) {
                // The service is created again without the call that has the update's fault, or restarted before by such a call:
                // the update may succeed.
                let allowed = [Outcome::Failed, Outcome::Succeeded];
                return after_the_incident(moment, &spec, &expected_of_update, &allowed).await;
            }
            after_the_incident(moment, SHOP, &expected, &[Outcome::Failed]).await
        })
    });
}

#[test]
fn no_incident_in_a_destroy_leaves_anything_behind() {
    let undisturbed = destroy::undisturbed();
    run_all("Incidents in a destroy", &moments(&undisturbed), |moment| {
        simulated(async {
            let Some((rehearsal, deployed)) = go_on(moment).await else { return Ok(Ended::NothingToChange) };
            ended_as(&rehearsal, &deployed, &[Outcome::Destroyed, Outcome::DestroyFailed, Outcome::Failed])?;
            if deployed.result() == Outcome::Destroyed {
                same("the resources", own(&rehearsal), Vec::new())?;
                return Ok(Ended::Succeeded);
            }
            aws_finishes().await;
            let again: Value =
                json!({ "stack": "shop", "action": "destroy", "deleteData": ["shop-instance"] });
            let again = run(&rehearsal, again).await;
            if tells_a_person(moment.incident, &again) {
                return Ok(Ended::FailedClean);
            }
            same("the end of the next", (again.result(), again.error()), (Outcome::Destroyed, None))?;
            same("the resources", own(&rehearsal), Vec::new())?;
            Ok(Ended::FailedClean)
        })
    });
}
