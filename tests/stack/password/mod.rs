//! The database's password over time: it changes on schedule, by hand or by AWS, and the services that use it are restarted.

mod approvals; // deployments that wait for approval
mod changes; // rotations by hand, by AWS and by schedule
mod own_secrets; // secrets of the spec
mod sixty_days; // an installation that runs by itself
mod trouble; // rotations and restarts that fail

use std::time::Duration;

use aws_sdk_secretsmanager::operation::describe_secret::DescribeSecretOutput;
use serde_json::Value;
use stackdrop::Rehearsal;
use stackdrop_simulator::{Incident, OutdatedTask};

use crate::{object, pause};

/// The longest time from a change of the password until the last task with the previous one gets the signal to stop: the delivery of
/// the event, the rotation's end and one rollout.
const ONE_ROLLOUT: Duration = Duration::from_mins(4);

/// The secret of the example's database.
async fn secret(rehearsal: &Rehearsal) -> DescribeSecretOutput {
    let found = rehearsal.aws().rds().describe_db_instances().db_instance_identifier("shop-database");
    let found = found.send().await.unwrap().db_instances.unwrap().remove(0);
    let arn = found.master_user_secret().unwrap().secret_arn().unwrap();
    rehearsal.aws().secrets().describe_secret().secret_id(arn).send().await.unwrap()
}

/// Somebody rotates the password, and the rotation ends.
async fn rotate_by_hand(rehearsal: &Rehearsal) {
    let changed = rehearsal.account().cause(Incident::named("secret-rotated").unwrap(), "shop");
    assert_eq!(changed.len(), 1);
    pause(Duration::from_mins(1)).await;
}

/// The tasks that run with the previous password now.
fn without_password(rehearsal: &Rehearsal) -> Vec<OutdatedTask> {
    let tasks = rehearsal.account().outdated_tasks();
    tasks.into_iter().filter(|task| task.until.is_none()).collect()
}

/// The changes of the newest plan, one line each.
async fn planned(rehearsal: &Rehearsal) -> Vec<String> {
    let record = object(rehearsal, "stacks/shop/plan.json").await.unwrap();
    let plan: Vec<stackdrop_functions::deployment::plan::ComponentPlan> =
        serde_json::from_value(record["plan"].clone()).unwrap();
    stackdrop_functions::deployment::summary::changes(&plan)
}

/// The message of the stack's last deployment.
async fn message(rehearsal: &Rehearsal) -> String {
    let status: Value = object(rehearsal, "stacks/shop/status.json").await.unwrap();
    status["message"].as_str().unwrap_or_default().to_owned()
}
