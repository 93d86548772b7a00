//! Cleaning up after executions that were stopped by hand, timed out or were ended by Step Functions: their `Catch` did not
//! run, so another deployment rolls back for them, and releases their lock.

use serde_json::Value;
use stackdrop_specs::Spec;

use super::input::{Interruption, PasswordChange, StatusChange};
use super::lock::{self, Purpose, Waiting};
use super::not_deployed::not_deployed;
use super::rotation;
use super::{Admitted, Execution, admit, baseline, read_version};
use crate::aws::Aws;
use crate::aws::error::{StepError, names};
use crate::deployment::announce::{Announcement, Event, announce};
use crate::deployment::bucket::{self, When};
use crate::deployment::failure::{Failure, Failures};
use crate::deployment::outcome::Outcome;
use crate::deployment::record::{self, Approval, Lock, Record};
use crate::deployment::state::{Baseline, Source, Trigger};

/// Records an interrupted deployment and, if it still holds the stack's lock, takes the lock over for the rollback.
pub(super) async fn interrupted(
    aws: &Aws,
    execution: &Execution,
    interruption: &Interruption,
) -> Result<Value, StepError> {
    let stack = interruption.stack.as_str();
    let held = bucket::read::<Lock>(aws, &bucket::lock_key(stack)).await?.map(|(lock, _)| lock);
    // This execution holds the lock if an earlier attempt of this step took it over.
    let held = held.filter(|lock| lock.execution == interruption.execution || lock.execution == execution.id);
    let Some(lock) = held else {
        let reason = format!(
            "deployment {}, which {}, no longer holds the lock",
            interruption.name,
            interruption.description()
        );
        // A deployment that failed by itself has its own record, unless its input was invalid.
        if !interruption.has_failed() {
            record(aws, interruption, None, When::Absent).await?;
        }
        return not_deployed(execution, stack, &reason);
    };
    if interruption.is_failed_cleanup() && lock.execution == interruption.execution {
        return give_up(aws, execution, interruption, &lock.source).await;
    }
    let Lock { source, destroying, .. } = lock;
    let changes_nothing = lock.changes_nothing || awaited_approval(aws, interruption).await?;
    let purpose = Purpose { source: &source, destroying, changes_nothing, waiting: Waiting::Replace };
    let etag = lock::take(aws, stack, execution, &purpose).await?;
    if changes_nothing && !interruption.rotates {
        return nothing_to_roll_back(aws, execution, interruption, &source, &etag).await;
    }
    record(aws, interruption, Some(&source), When::Always).await?;
    if interruption.rotates {
        return rotation::finish(aws, execution, &interruption.stack, etag).await;
    }
    let baseline = baseline(aws, &interruption.stack).await?;
    let spec = spec(aws, interruption, &source, baseline.as_ref()).await?;
    let admitted = Admitted {
        destroying,
        interruption: Some(Failures::from([(
            names::INTERRUPTED.to_owned(),
            Failure {
                error: names::INTERRUPTED.into(),
                cause: format!("deployment {} {}", interruption.name, interruption.description()),
            },
        )])),
        ..Admitted::new(spec, source, etag, baseline)
    };
    admit(aws, execution, admitted).await
}

/// Whether the interrupted deployment still awaited approval. Then nobody has agreed to change anything, not even by a rollback.
async fn awaited_approval(aws: &Aws, interruption: &Interruption) -> Result<bool, StepError> {
    let request = bucket::read::<Approval>(aws, &bucket::approval_key(interruption.stack.as_str())).await?;
    Ok(request.is_some_and(|(request, _)| request.deployment == interruption.name))
}

/// Records and announces an interrupted deployment that has changed nothing, and releases its lock.
async fn nothing_to_roll_back(
    aws: &Aws,
    execution: &Execution,
    interruption: &Interruption,
    source: &Source,
    etag: &str,
) -> Result<Value, StepError> {
    let stack = interruption.stack.as_str();
    let mut ended = interrupted_record(aws, interruption, Some(source)).await?;
    ended.message = Some(format!("It {}. Nothing was changed.", interruption.description()));
    bucket::write(aws, &bucket::history_key(stack, &interruption.name), &ended, When::Always).await?;
    bucket::write(aws, &bucket::status_key(stack), &ended, When::Always).await?;
    bucket::delete(aws, &bucket::approval_key(stack)).await?;
    announce(aws, &Announcement::of(Event::Failed, &ended)).await;
    record::unlock(aws, stack, etag).await?;
    let reason =
        format!("deployment {} {}; it had changed nothing", interruption.name, interruption.description());
    not_deployed(execution, stack, &reason)
}

/// Concludes an execution that restarted services, if it has not concluded itself. Its input names only the secret.
pub(super) async fn restart_ended(
    aws: &Aws,
    execution: &Execution,
    password: &PasswordChange,
    ended: StatusChange,
    cleaned_up: bool,
) -> Result<Value, StepError> {
    let Some(stack) = rotation::stack_with(aws, &password.secret).await? else {
        let reason = format!("secret {} is not that of a stack's database", password.secret);
        return not_deployed(execution, "", &reason);
    };
    interrupted(aws, execution, &ended.interruption(stack, cleaned_up, true)).await
}

/// Ends the cleanup that failed: its stack stays as it is, and somebody must deploy it again.
async fn give_up(
    aws: &Aws,
    execution: &Execution,
    interruption: &Interruption,
    source: &Source,
) -> Result<Value, StepError> {
    let stack = interruption.stack.as_str();
    // Not before the last function of the failed cleanup must have ended.
    let etag = lock::take(aws, stack, execution, &Purpose::deploy(source)).await?;
    let (name, why) = (&interruption.name, interruption.description());
    let mut failed = Record::begin(
        stack,
        name,
        &interruption.execution,
        interruption.started.clone(),
        Outcome::RollbackFailed,
    );
    failed.trigger = Trigger::Interruption;
    failed.source = Some(source.clone());
    failed.ended = Some(interruption.stopped.clone());
    failed.error = Some(names::ROLLBACK_FAILED.into());
    failed.message = Some(format!(
        "Deployment {name}, which cleaned up after an interrupted deployment, {why}. The stack may be incomplete."
    ));
    failed.next = Some(format!(
        "Check the execution's history, then start {{ \"stack\": \"{stack}\" }}: the next deployment continues from there."
    ));
    bucket::write(aws, &bucket::history_key(stack, name), &failed, When::Always).await?;
    bucket::write(aws, &bucket::status_key(stack), &failed, When::Always).await?;
    announce(aws, &Announcement::of(Event::Failed, &failed)).await;
    record::unlock(aws, stack, &etag).await?;
    not_deployed(execution, stack, &format!("deployment {name} {why}; it is not repeated"))
}

/// The interrupted deployment's spec, which says whether to keep its resources. If it can no longer be read, the baseline's
/// spec or the default applies.
async fn spec(
    aws: &Aws,
    interruption: &Interruption,
    source: &Source,
    baseline: Option<&Baseline>,
) -> Result<Spec, StepError> {
    let text = read_version(aws, &source.key, &source.version).await?;
    if let Some(spec) = text.and_then(|text| Spec::read(&text).ok()) {
        return Ok(spec);
    }
    if let Some(baseline) = baseline {
        return Ok(baseline.spec.clone());
    }
    Spec::read(format!("stack: {}\n", interruption.stack).as_bytes())
        .map_err(|errors| StepError::Defect(format!("the minimal spec is invalid: {errors}")))
}

/// Writes the interrupted deployment's record.
async fn record(
    aws: &Aws,
    interruption: &Interruption,
    source: Option<&Source>,
    when: When<'_>,
) -> Result<(), StepError> {
    let record = interrupted_record(aws, interruption, source).await?;
    let key = bucket::history_key(interruption.stack.as_str(), &interruption.name);
    bucket::write(aws, &key, &record, when).await.map(drop)
}

/// The interrupted deployment's record. While it ran, the stack's status said who had started and who had approved it.
async fn interrupted_record(
    aws: &Aws,
    interruption: &Interruption,
    source: Option<&Source>,
) -> Result<Record, StepError> {
    let Interruption { stack, name, execution, started, .. } = interruption;
    let status = match bucket::read::<Record>(aws, &bucket::status_key(stack.as_str())).await {
        Err(StepError::InvalidEvent(why)) => {
            tracing::warn!(why, "The interrupted deployment's status could not be read.");
            None
        }
        read => read?.map(|(record, _)| record).filter(|record| record.deployment == *name),
    };
    let record = status.unwrap_or_else(|| {
        Record::begin(stack.as_str(), name, execution, started.clone(), Outcome::Interrupted)
    });
    Ok(Record {
        result: Outcome::Interrupted,
        source: source.cloned().or(record.source),
        ended: Some(interruption.stopped.clone()),
        error: Some(names::INTERRUPTED.into()),
        message: Some(format!("It {}.", interruption.description())),
        next: None,
        ..record
    })
}
