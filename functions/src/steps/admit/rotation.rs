//! Executions that only change the database's password, or only restart the services after it has changed.
//!
//! They neither plan nor need approval: the spec stays the same, and tasks with the previous password cannot open connections.

use aws_sdk_secretsmanager::operation::describe_secret::DescribeSecretOutput;
use serde_json::Value;
use stackdrop_specs::StackName;

use super::input::PasswordChange;
use super::lock::{Purpose, Waiting};
use super::not_deployed::not_deployed;
use super::{Admitted, Execution, Locked, admit, baseline, lock_deployed};
use crate::aws::Aws;
use crate::aws::error::{AwsResult, StepError};
use crate::deployment::record;
use crate::deployment::state::Verdict;

/// Changes the password, and restarts the services that use it. A deployment that awaits approval keeps the lock: then the
/// password changes at the next scheduled time.
pub(super) async fn rotate(aws: &Aws, execution: &Execution, stack: &StackName) -> Result<Value, StepError> {
    let Some(expected) = baseline(aws, stack).await? else {
        let reason = format!("no deployment of stack {stack} has succeeded");
        return not_deployed(execution, stack.as_str(), &reason);
    };
    let source = expected.source();
    let purpose = Purpose { waiting: Waiting::Yield, ..Purpose::deploy(&source) };
    let locked = match lock_deployed(aws, execution, stack, &purpose).await? {
        Ok(locked) => locked,
        Err(ended) => return Ok(ended),
    };
    if locked.baseline.spec.database.is_none() {
        record::unlock(aws, stack.as_str(), &locked.etag).await?;
        let reason = format!("stack {stack} has no database");
        return not_deployed(execution, stack.as_str(), &reason);
    }
    start(aws, execution, locked, Verdict::Rotating, None).await
}

/// The stack whose database has this secret.
pub(super) async fn stack_with(aws: &Aws, secret: &str) -> Result<Option<StackName>, StepError> {
    Ok(describe(aws, secret).await?.as_ref().and_then(stack_of))
}

/// Restarts the services of the stack to which a secret belongs.
pub(super) async fn password_changed(
    aws: &Aws,
    execution: &Execution,
    change: &PasswordChange,
) -> Result<Value, StepError> {
    let secret = &change.secret;
    let description = describe(aws, secret).await?;
    let Some(stack) = description.as_ref().and_then(stack_of) else {
        let reason = format!("secret {secret} is not that of a stack's database");
        return not_deployed(execution, "", &reason);
    };
    let rotated = description.and_then(|secret| secret.last_rotated_date).map_or(0, |date| date.secs());
    if rotated < change.at && aws.now_seconds() < change.at + ENDS_SECONDS {
        // A restart before the end would look to the next plan like one with the previous password.
        return Err(StepError::pending("Secrets Manager to complete the rotation of the password"));
    }
    let expected = baseline(aws, &stack).await?.filter(|baseline| {
        baseline.outputs.database.as_ref().is_some_and(|database| database.secret.as_ref() == Some(secret))
    });
    let Some(expected) = expected else {
        let reason = format!("secret {secret} is not that of the database of a deployed stack {stack}");
        return not_deployed(execution, stack.as_str(), &reason);
    };
    let source = expected.source();
    let purpose = Purpose { waiting: Waiting::Notify, ..Purpose::deploy(&source) };
    match lock_deployed(aws, execution, &stack, &purpose).await? {
        Ok(locked) => start(aws, execution, locked, Verdict::Restarting, Some(change.at)).await,
        Err(ended) => Ok(ended),
    }
}

/// Restarts the services after an execution that changed the password was stopped. If the password changes only after that, its
/// event starts another restart.
pub(super) async fn finish(
    aws: &Aws,
    execution: &Execution,
    stack: &StackName,
    etag: String,
) -> Result<Value, StepError> {
    let Some(baseline) = baseline(aws, stack).await? else {
        record::unlock(aws, stack.as_str(), &etag).await?;
        let reason = format!("no deployment of stack {stack} has succeeded");
        return not_deployed(execution, stack.as_str(), &reason);
    };
    start(aws, execution, Locked { etag, baseline }, Verdict::Restarting, None).await
}

async fn start(
    aws: &Aws,
    execution: &Execution,
    Locked { etag, baseline }: Locked,
    verdict: Verdict,
    password_changed: Option<i64>,
) -> Result<Value, StepError> {
    let (spec, source) = (baseline.spec.clone(), baseline.source());
    let rotation = Some(verdict);
    let admitted =
        Admitted { rotation, password_changed, ..Admitted::new(spec, source, etag, Some(baseline)) };
    admit(aws, execution, admitted).await
}

/// How long a rotation that has moved the labels may take to end. Labels that a person moves belong to no rotation.
const ENDS_SECONDS: i64 = 60;

/// A secret's tags and dates; `None` if it does not exist, or is not one that RDS manages.
async fn describe(aws: &Aws, secret: &str) -> Result<Option<DescribeSecretOutput>, StepError> {
    let call = aws.secrets().describe_secret().secret_id(secret).send().await;
    // `AccessDeniedException`: the secret has not the tags of one that RDS manages, or no longer exists.
    let response = call.unless(&["ResourceNotFoundException", "AccessDeniedException"]);
    response.doing(format!("reading the tags of secret {secret}"))
}

/// The stack whose database has this secret, by the name of the RDS instance. An instance of others can have such a name too:
/// the caller compares the secret with that of the stack.
fn stack_of(secret: &DescribeSecretOutput) -> Option<StackName> {
    /// RDS's tag with the ARN of the instance.
    const INSTANCE: &str = "aws:rds:primaryDBInstanceArn";
    let instance = secret.tags().iter().find(|tag| tag.key() == Some(INSTANCE)).and_then(|tag| tag.value());
    let name = instance.and_then(|arn| arn.rsplit(':').next()?.strip_suffix("-database"));
    name.and_then(|name| StackName::try_from(name.to_owned()).ok())
}
