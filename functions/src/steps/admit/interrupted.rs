//! Executions that were stopped by hand or timed out: no `Catch` of theirs has run, so another deployment looks after
//! what they left, and frees their lock.

use serde_json::Value;
use stackdrop_specs::Spec;

use super::lock::{self, Purpose};
use super::start::Interruption;
use super::{Admitted, Execution, admit, baseline, not_deployed, read_version};
use crate::aws::Aws;
use crate::aws::error::{StepError, names};
use crate::deployment::bucket;
use crate::deployment::bucket::When;
use crate::deployment::failure::{Failure, Failures};
use crate::deployment::outcome::Outcome;
use crate::deployment::record;
use crate::deployment::record::{Lock, Record};
use crate::deployment::state::Trigger;
use crate::deployment::state::Verdict;
use crate::deployment::state::{Baseline, Source};

/// Records an interrupted deployment and, if the stack's lock is still its own, takes it over to undo or restore.
pub(super) async fn interrupted(
    aws: &Aws,
    execution: &Execution,
    it: &Interruption,
) -> Result<Value, StepError> {
    let stack = it.stack.as_str();
    let held = bucket::read::<Lock>(aws, &bucket::lock_key(stack)).await?.map(|(lock, _)| lock);
    // Ours: an earlier attempt of this step took it over.
    let held = held.filter(|lock| lock.execution == it.execution || lock.execution == execution.id);
    let Some(lock) = held else {
        let reason = format!("the deployment {}, which {}, holds no lock any more", it.name, it.said());
        record(aws, it, None, When::Absent).await?;
        return not_deployed(execution, stack, Verdict::Superseded, &reason);
    };
    let (source, destroying) = (lock.source, lock.destroying);
    let purpose = Purpose { source: &source, destroying, insists: true };
    let etag = lock::take(aws, stack, execution, &purpose).await?;
    record(aws, it, Some(&source), When::Always).await?;
    if source.plan_only {
        record::unlock(aws, stack, &etag).await?;
        return not_deployed(
            execution,
            stack,
            Verdict::Superseded,
            &format!("{} {}, and was only a plan", it.name, it.said()),
        );
    }
    bucket::delete(aws, &bucket::approval_key(stack)).await?;
    let baseline = baseline(aws, &it.stack).await?;
    let spec = spec(aws, it, &source, baseline.as_ref()).await?;
    let admitted = Admitted {
        trigger: Trigger::Interruption,
        destroying,
        interruption: Some(Failures::from([(
            names::INTERRUPTED.to_owned(),
            Failure {
                error: names::INTERRUPTED.into(),
                cause: format!("the deployment {} {}", it.name, it.said()),
            },
        )])),
        ..Admitted::new(spec, source, etag, baseline)
    };
    admit(aws, execution, admitted).await
}

/// The spec that the interrupted deployment went by: it says whether to keep what was made. One that is no longer to be
/// had says nothing, so that the baseline's, or the default, holds.
async fn spec(
    aws: &Aws,
    it: &Interruption,
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
    Spec::read(format!("stack: {}\n", it.stack).as_bytes())
        .map_err(|errors| StepError::Defect(format!("the shortest spec is refused: {errors}")))
}

/// The interrupted deployment's own record.
async fn record(
    aws: &Aws,
    it: &Interruption,
    source: Option<&Source>,
    when: When<'_>,
) -> Result<(), StepError> {
    let (started, result) = (it.started.clone(), Outcome::Interrupted);
    let mut record = Record::begin(it.stack.as_str(), &it.name, &it.execution, started, result);
    record.source = source.cloned();
    record.ended = Some(it.stopped.clone());
    record.error = Some(names::INTERRUPTED.into());
    record.message = Some(format!("It {}.", it.said()));
    let key = bucket::history_key(it.stack.as_str(), &it.name);
    bucket::write(aws, &key, &record, when).await.map(drop)
}
