//! The rotation of the master password. RDS creates the password, stores it in a secret of Secrets Manager that it manages, and
//! by default changes it every seven days. Tasks read it only when they start, so Stackdrop decides when it changes: right
//! before it restarts them.

use aws_sdk_rds::types::DbInstance;
use aws_sdk_secretsmanager::operation::describe_secret::DescribeSecretOutput;
use aws_sdk_secretsmanager::types::RotationRulesType;

use super::instance;
use super::observed::{self, Observed};
use super::status::{self, State};
use super::values;
use crate::aws::error::{AwsResult, StepError};
use crate::contract::component::Work;
use crate::deployment::outputs::DatabaseOutputs;
use crate::deployment::plan::Plan;

/// The secret's logical ID.
const LOGICAL_ID: &str = "secret";
/// The longest interval that Secrets Manager allows (API reference, `RotationRulesType`). Secrets Manager counts it from the last
/// rotation, so it never rotates by itself while Stackdrop does.
const INTERVAL_DAYS_MAX: i64 = 1000;
/// How to repair a secret that RDS cannot rotate.
/// Source: `MasterUserSecret` in the RDS API reference.
const IMPAIRED: &str = "let RDS use the secret and its KMS key again; if that does not help, turn the management of the master \
    password off and on again in RDS, and deploy";
/// Secrets Manager's code while a rotation has not ended: "A previous rotation isn't complete. That rotation will be
/// reattempted" (API reference, `RotateSecret`).
const BUSY: &str = "InvalidRequestException";

/// The secret of an instance, if RDS manages its password.
fn arn(db: &DbInstance) -> Option<&str> {
    db.master_user_secret()?.secret_arn()
}

fn secret_status(db: &DbInstance) -> &str {
    db.master_user_secret().and_then(|secret| secret.secret_status()).unwrap_or_default()
}

async fn describe(work: &Work<'_>, arn: &str) -> Result<Option<DescribeSecretOutput>, StepError> {
    let call = work.aws.secrets().describe_secret().secret_id(arn).send().await;
    call.unless(&["ResourceNotFoundException"]).doing(format!("reading the rotation of secret {arn}"))
}

/// When AWS rotates the secret by itself.
fn rules(secret: &DescribeSecretOutput) -> String {
    let rules = secret.rotation_rules().filter(|_| secret.rotation_enabled() == Some(true));
    let days = rules.and_then(RotationRulesType::automatically_after_days);
    match (rules.and_then(RotationRulesType::schedule_expression), days) {
        (Some(expression), _) => expression.to_owned(),
        (None, Some(days)) => after_days(days),
        (None, None) => "(none)".into(),
    }
}

fn after_days(days: i64) -> String {
    format!("every {days} days")
}

/// Plans the rotation rules, and warns if RDS cannot rotate the secret. The rules of a new instance belong to its creation.
pub(super) async fn plan(work: &Work<'_>, observed: &Observed, plan: &mut Plan) -> Result<(), StepError> {
    let db = observed.instance.as_ref().filter(|db| !status::is_deleting(db));
    let Some((db, arn)) = db.and_then(|db| Some((db, arn(db)?))) else { return Ok(()) };
    if secret_status(db) == "impaired" {
        let why = "RDS can no longer rotate the secret of the database's password; the current password still works";
        plan.warn(LOGICAL_ID, why, IMPAIRED);
    }
    if let Some(secret) = describe(work, arn).await? {
        let (actual, desired) = (rules(&secret), after_days(INTERVAL_DAYS_MAX));
        if actual != desired {
            plan.update(LOGICAL_ID, "rotationByAws", actual, desired);
        }
    }
    Ok(())
}

/// Sets the rotation rules of the stack's instance, without a rotation. Runs after the deployment has succeeded: RDS creates the
/// secret with the instance.
pub(super) async fn set_rules(work: &Work<'_>) -> Result<(), StepError> {
    let Some(db) = find(work).await? else { return Ok(()) };
    let Some(arn) = arn(&db).filter(|_| !status::is_deleting(&db)) else { return Ok(()) };
    let Some(secret) = describe(work, arn).await? else { return Ok(()) };
    if rules(&secret) == after_days(INTERVAL_DAYS_MAX) {
        return Ok(());
    }
    // A rotation that was already planned under the previous rules may still take place (CloudFormation reference,
    // `AWS::SecretsManager::RotationSchedule RotationRules`): its event restarts the services.
    let rules = RotationRulesType::builder().automatically_after_days(INTERVAL_DAYS_MAX).build();
    let call = work.aws.secrets().rotate_secret().secret_id(arn).rotation_rules(rules);
    let call =
        call.rotate_immediately(false).client_request_token(work.stack.token("rotation-rules", &[arn]));
    // Refused during a rotation. The stack is deployed, and the next plan finds the difference.
    call.send()
        .await
        .doing(format!("setting the rotation rules of secret {arn} (the next deployment tries again)"))?;
    tracing::info!(arn, "Rotation rules set.");
    Ok(())
}

/// The stack's instance.
async fn find(work: &Work<'_>) -> Result<Option<DbInstance>, StepError> {
    let observed = observed::find_instance(work).await?;
    Ok(observed.filter(|db| work.stack.owns(&observed::tags_of(db))))
}

/// Changes the password, unless it has changed since this deployment was admitted.
pub(super) async fn rotate(work: &Work<'_>) -> Result<DatabaseOutputs, StepError> {
    let id = instance::identifier(work);
    let db = find(work).await?;
    let Some(db) = db else {
        let why = format!("RDS instance {id} does not exist: deploy the stack, and read how to continue.");
        return Err(StepError::stalled_because(CHANGE, why));
    };
    let arn = arn(&db).ok_or_else(|| {
        let why =
            format!("RDS does not manage the master password of RDS instance {id}: somebody set it by hand.");
        StepError::stalled_because(CHANGE, why)
    })?;
    let secret = describe(work, arn).await?;
    let secret = secret.ok_or_else(|| StepError::stalled(format!("secret {arn} to become visible")))?;
    let token = work.stack.token("rotation", &[arn]);
    if has_changed(work, &secret, &token) {
        return Ok(values::outputs(work, Some(&db)));
    }
    let is_requested = secret.version_ids_to_stages().is_some_and(|versions| versions.contains_key(&token));
    match (secret_status(&db), status::of(&db)) {
        ("impaired", _) => {
            let why = format!("RDS reports that secret {arn} is impaired: {IMPAIRED}.");
            Err(StepError::stalled_because(CHANGE, why))
        }
        ("rotating" | "creating", _) => Err(StepError::pending(CHANGE)),
        _ if is_requested => {
            let why = format!("The rotation of secret {arn} has started, but RDS does not work on it.");
            Err(StepError::stalled_because(CHANGE, why))
        }
        (_, State::Stopped | State::Stuck | State::Deleting) => Err(status::unhealthy(work, &id, &db).await),
        (_, State::Working | State::Stopping) => {
            let state = status::status(&db);
            Err(StepError::pending(format!("RDS instance {id} to become available: it is {state}")))
        }
        (_, State::Available) => {
            start(work, arn, token).await?;
            // RDS may report the rotation some seconds later.
            Err(StepError::stalled(CHANGE))
        }
    }
}

/// What a rotation waits for.
const CHANGE: &str = "RDS to change the database's password";

/// Whether the rotation is complete: this deployment's, or that of somebody since the deployment was admitted.
fn has_changed(work: &Work<'_>, secret: &DescribeSecretOutput, token: &str) -> bool {
    let rotated = secret.last_rotated_date().map(aws_smithy_types::DateTime::secs);
    let versions = secret.version_ids_to_stages();
    let stages = versions.and_then(|versions| versions.get(token)).map(Vec::as_slice).unwrap_or_default();
    let is = |label: &str| stages.iter().any(|stage| stage == label);
    rotated.is_some_and(|rotated| rotated >= work.deployment.admitted_at())
        || is("AWSCURRENT") && !is("AWSPENDING")
}

async fn start(work: &Work<'_>, arn: &str, token: String) -> Result<(), StepError> {
    let response = work.aws.secrets().rotate_secret().secret_id(arn).client_request_token(token).send().await;
    if let Err(refusal) = response.as_ref().map_err(crate::aws::error::Refusal::aws)
        && refusal.code == BUSY
    {
        let why = format!("Secrets Manager reports: {}", refusal.message);
        return Err(StepError::stalled_because(CHANGE, why));
    }
    response.doing(format!("rotating secret {arn}"))?;
    tracing::info!(arn, "Rotation of the database's password started.");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rotation_that_somebody_turned_off_has_no_rules() {
        let days = || RotationRulesType::builder().automatically_after_days(7);
        for (enabled, given, expected) in [
            (true, days(), "every 7 days"),
            (false, days(), "(none)"),
            // Secrets Manager also reports the days of an expression.
            (true, days().schedule_expression("rate(7 days)"), "rate(7 days)"),
            (true, RotationRulesType::builder(), "(none)"),
        ] {
            let secret = DescribeSecretOutput::builder().rotation_enabled(enabled);
            assert_eq!(rules(&secret.rotation_rules(given.build()).build()), expected, "{enabled}");
        }
    }
}
