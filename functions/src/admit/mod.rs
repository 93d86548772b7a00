//! The first step: understands what started the execution, reads and checks the spec, takes the stack's lock.

mod lock;
mod start;

use serde::Deserialize;
use serde_json::{Value, json};
use stackdrop_specs::{OnDelete, Spec, StackName};

use crate::aws::Aws;
use crate::component::Outputs;
use crate::error::{Answer, StepError};
use crate::records::{self, Lock, Outcome, Record, When};
use crate::stack::{Baseline, Source};
use start::{Asked, Start, Wish, parts_of};

/// The function's name.
pub const NAME: &str = "admit";

/// What the workflow sends.
#[derive(Debug, Deserialize)]
struct Request {
    event: Value,
    execution: Execution,
}

/// `$$.Execution` of the context object, as far as it is needed.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Execution {
    id: String,
    name: String,
}

/// Admits a deployment, or says why not.
///
/// Everything is read anew each time that the workflow asks, so that what was waited for is seen.
///
/// # Errors
/// `InvalidEvent`, `InvalidSpec` (recorded), `Pending` while another deployment of the stack is at work.
pub(crate) async fn run(payload: Value, aws: &Aws) -> Result<Value, StepError> {
    let Request { event, execution } = serde_json::from_value(payload)
        .map_err(|error| StepError::Defect(format!("the workflow's input for `admit`: {error}")))?;
    match start::understand(&event, &aws.settings.bucket)? {
        Start::Uploaded { key, version } => uploaded(aws, &execution, &key, version).await,
        Start::Deleted { key } => deleted(aws, &execution, &key).await,
        Start::Asked(Asked { stack, action: Wish::Destroy, .. }) => destroy(aws, &execution, &stack).await,
        Start::Asked(asked) => asked_for(aws, &execution, &asked).await,
    }
}

/// A version was uploaded: it is deployed if it is the newest, and was not before.
async fn uploaded(aws: &Aws, execution: &Execution, key: &str, version: String) -> Result<Value, StepError> {
    let (_, plan_only) = parts_of(key)?;
    let (source, text) = read_newest(aws, key, plan_only).await?.ok_or_else(|| {
        StepError::InvalidEvent(format!("{key} at version {version} was deleted before it could be read"))
    })?;
    if version != source.version {
        let reason = format!("a newer version of {key} exists: {}", source.version);
        return supersede(aws, Source { version, ..source }, execution, Outcome::Superseded, reason).await;
    }
    let spec = understand_or_reject(aws, execution, &source, text).await?;
    let lock = lock::take(aws, spec.stack.as_str(), execution).await?;
    if let Some(earlier) = earlier(aws, &spec, &source, execution).await? {
        let stack = spec.stack.as_str();
        let reason = format!("the deployment {earlier} went by the same version");
        let superseded = supersede(aws, source, execution, Outcome::Superseded, reason).await?;
        records::unlock(aws, stack, &lock).await?;
        return Ok(superseded);
    }
    let baseline = baseline(aws, &spec.stack).await?;
    admit(aws, execution, Admitted { spec, source, lock, baseline, refresh_image: false, destroying: false })
        .await
}

/// A schedule, or somebody by hand, asks for the spec as it is now.
async fn asked_for(aws: &Aws, execution: &Execution, asked: &Asked) -> Result<Value, StepError> {
    let stack = &asked.stack;
    let (source, text) = newest(aws, stack, asked.action == Wish::Plan).await?.ok_or_else(|| {
        StepError::InvalidEvent(format!(
            "there is no spec of the stack {stack}: upload it to s3://{}/specs/{stack}.yaml",
            aws.settings.bucket
        ))
    })?;
    let spec = understand_or_reject(aws, execution, &source, text).await?;
    let lock = lock::take(aws, stack.as_str(), execution).await?;
    let baseline = baseline(aws, stack).await?;
    let refresh_image = asked.refresh_image;
    admit(aws, execution, Admitted { spec, source, lock, baseline, refresh_image, destroying: false }).await
}

/// A spec was deleted: what follows is what the last good version of it says.
async fn deleted(aws: &Aws, execution: &Execution, key: &str) -> Result<Value, StepError> {
    let (stack, plan_only) = parts_of(key)?;
    let source = Source { key: key.to_owned(), version: String::new(), plan_only };
    if plan_only {
        return supersede(aws, source, execution, Outcome::Retained, format!("{key} was only a plan")).await;
    }
    // Only once nobody else is at work does the baseline say what stands.
    let lock = lock::take(aws, stack.as_str(), execution).await?;
    let baseline = baseline(aws, &stack).await?;
    let (outcome, reason) = match (newest(aws, &stack, false).await?, &baseline) {
        (Some((there, _)), _) => {
            (Outcome::Superseded, format!("there is a spec of the stack: {}", there.key))
        }
        (None, None) => (Outcome::Retained, format!("no deployment of the stack {stack} has succeeded")),
        (None, Some(baseline)) if baseline.spec.on_delete == OnDelete::Destroy => {
            let (spec, baseline) = (baseline.spec.clone(), Some(baseline.clone()));
            let destroying = true;
            let admitted = Admitted { spec, source, lock, baseline, refresh_image: false, destroying };
            return admit(aws, execution, admitted).await;
        }
        (None, Some(_)) => (Outcome::Retained, format!("the stack {stack} stays (onDelete: retain)")),
    };
    let ended = supersede(aws, source, execution, outcome, reason).await?;
    records::unlock(aws, stack.as_str(), &lock).await?;
    Ok(ended)
}

/// Somebody wants the stack removed.
async fn destroy(aws: &Aws, execution: &Execution, stack: &StackName) -> Result<Value, StepError> {
    let baseline = baseline(aws, stack).await?;
    let newest = newest(aws, stack, false).await?;
    let (spec, source) = match (&baseline, newest) {
        (Some(baseline), newest) => {
            let key = newest.map_or_else(|| format!("specs/{stack}.yaml"), |(source, _)| source.key);
            (baseline.spec.clone(), Source { key, version: baseline.version.clone(), plan_only: false })
        }
        (None, Some((source, text))) => (understand_or_reject(aws, execution, &source, text).await?, source),
        (None, None) => {
            return Err(StepError::InvalidEvent(format!(
                "nothing is known of a stack {stack}: it has neither a spec nor a deployment that succeeded"
            )));
        }
    };
    let lock = lock::take(aws, stack.as_str(), execution).await?;
    admit(aws, execution, Admitted { spec, source, lock, baseline, refresh_image: false, destroying: true })
        .await
}

/// The newest version of a stack's spec with its text.
async fn newest(
    aws: &Aws,
    stack: &StackName,
    plan_only: bool,
) -> Result<Option<(Source, Result<Vec<u8>, StepError>)>, StepError> {
    for extension in start::EXTENSIONS {
        let found = read_newest(aws, &format!("specs/{stack}.{extension}"), plan_only).await?;
        if found.is_some() {
            return Ok(found);
        }
    }
    Ok(None)
}

/// The newest version of an object with its text; one that is too long to be read is an error of its own, since its
/// refusal is recorded under the version.
async fn read_newest(
    aws: &Aws,
    key: &str,
    plan_only: bool,
) -> Result<Option<(Source, Result<Vec<u8>, StepError>)>, StepError> {
    let call = aws.s3.get_object().bucket(&aws.settings.bucket).key(key).send().await;
    let Some(answer) = call.unless(&["NoSuchKey"]).doing(format!("reading {key}"))? else { return Ok(None) };
    let version = answer.version_id().unwrap_or_default().to_owned();
    let source = Source { key: key.to_owned(), version, plan_only };
    let longest = i64::try_from(stackdrop_specs::LONGEST_SPEC).unwrap_or(i64::MAX);
    if let Some(length) = answer.content_length().filter(|length| *length > longest) {
        let error = StepError::InvalidSpec(format!("{key} has {length} bytes; a spec has at most {longest}"));
        return Ok(Some((source, Err(error))));
    }
    let text = records::body(answer.body, key).await?;
    Ok(Some((source, Ok(text))))
}

/// The spec in a text. A refusal is recorded.
async fn understand_or_reject(
    aws: &Aws,
    execution: &Execution,
    source: &Source,
    text: Result<Vec<u8>, StepError>,
) -> Result<Spec, StepError> {
    match text.and_then(|text| understand_spec(aws, &source.key, &text)) {
        Ok(spec) => Ok(spec),
        Err(error) => {
            reject(aws, execution, source, &error).await?;
            Err(error)
        }
    }
}

async fn baseline(aws: &Aws, stack: &StackName) -> Result<Option<Baseline>, StepError> {
    let found = records::read::<Baseline>(aws, &records::baseline_key(stack.as_str())).await?;
    Ok(found.map(|(baseline, _)| baseline))
}

fn understand_spec(aws: &Aws, key: &str, text: &[u8]) -> Result<Spec, StepError> {
    let mut spec = Spec::read(text).map_err(|errors| StepError::InvalidSpec(errors.render(key)))?;
    let (name, _) = parts_of(key)?;
    if spec.stack != name {
        return Err(StepError::InvalidSpec(format!(
            "{key} describes the stack {}: upload it under that name, or set `stack: {name}`",
            spec.stack
        )));
    }
    let here = &aws.settings.region;
    match &spec.region {
        Some(region) if region != here => Err(StepError::InvalidSpec(format!(
            "{key} is for the region {region}, but this Stackdrop is installed in {here}: set `region: {here}`, or \
             upload the spec to the bucket of the one in {region}"
        ))),
        _ => {
            spec.region = Some(here.clone());
            Ok(spec)
        }
    }
}

/// The deployment that went by the same version before, if any: S3 and EventBridge may deliver an event twice.
async fn earlier(
    aws: &Aws,
    spec: &Spec,
    source: &Source,
    execution: &Execution,
) -> Result<Option<String>, StepError> {
    let status = records::read::<Record>(aws, &records::status_key(spec.stack.as_str())).await?;
    let earlier = status.map(|(status, _)| status).filter(|status| {
        status.result != Outcome::Running
            && status.deployment != execution.name
            && status.source.as_ref() == Some(source)
    });
    Ok(earlier.map(|earlier| earlier.deployment))
}

/// Ends a deployment that another one makes superfluous. It is recorded as history, not as status: that is the other's.
async fn supersede(
    aws: &Aws,
    source: Source,
    execution: &Execution,
    result: Outcome,
    reason: String,
) -> Result<Value, StepError> {
    let (stack, _) = parts_of(&source.key)?;
    let mut record = record(aws, stack.as_str(), execution, source, result);
    record.ended = Some(aws.now());
    record.message = Some(reason.clone());
    let key = records::history_key(stack.as_str(), &execution.name);
    records::write(aws, &key, &record, When::Always).await?;
    let verdict = if result == Outcome::Retained { "retained" } else { "superseded" };
    Ok(json!({ "verdict": verdict, "stack": stack, "reason": reason }))
}

/// Records a spec that was refused.
async fn reject(
    aws: &Aws,
    execution: &Execution,
    source: &Source,
    error: &StepError,
) -> Result<(), StepError> {
    let (stack, _) = parts_of(&source.key)?;
    let mut record = record(aws, stack.as_str(), execution, source.clone(), Outcome::Rejected);
    record.ended = Some(aws.now());
    record.step = Some("Admit".into());
    record.error = Some(error.name().into());
    record.message = Some(error.chain());
    let key = records::history_key(stack.as_str(), &execution.name);
    records::write(aws, &key, &record, When::Always).await?;
    if records::read::<Lock>(aws, &records::lock_key(stack.as_str())).await?.is_none() {
        records::write(aws, &records::status_key(stack.as_str()), &record, When::Always).await?;
    }
    Ok(())
}

/// What a deployment starts from.
#[derive(Debug)]
struct Admitted {
    spec: Spec,
    source: Source,
    lock: String,
    baseline: Option<Baseline>,
    refresh_image: bool,
    destroying: bool,
}

async fn admit(aws: &Aws, execution: &Execution, admitted: Admitted) -> Result<Value, StepError> {
    let stack = admitted.spec.stack.as_str();
    let record = record(aws, stack, execution, admitted.source, Outcome::Running);
    if !record.source.as_ref().is_some_and(|source| source.plan_only) {
        records::write(aws, &records::status_key(stack), &record, When::Always).await?;
    }
    Ok(json!({
        "verdict": "admitted",
        "stack": stack,
        "id": execution.name,
        "execution": execution.id,
        "source": record.source,
        "lock": admitted.lock,
        "started": record.started,
        "spec": admitted.spec,
        "baseline": admitted.baseline,
        "refreshImage": admitted.refresh_image,
        "destroying": admitted.destroying,
        "restoring": false,
        "outputs": Outputs::default(),
    }))
}

fn record(aws: &Aws, stack: &str, execution: &Execution, source: Source, result: Outcome) -> Record {
    Record {
        stack: stack.into(),
        deployment: execution.name.clone(),
        execution: execution.id.clone(),
        result,
        source: Some(source),
        started: aws.now(),
        ended: None,
        step: None,
        error: None,
        message: None,
        plan: Vec::new(),
        outputs: Outputs::default(),
        removed: 0,
        left: Vec::new(),
    }
}
