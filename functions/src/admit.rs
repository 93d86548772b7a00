//! The first step: understands what started the execution, reads and checks the spec, takes the stack's lock.

use aws_lambda_events::eventbridge::EventBridgeEvent;
use serde::Deserialize;
use serde_json::{Value, json};
use stackdrop_specs::{Spec, StackName};

use crate::aws::Aws;
use crate::component::Outputs;
use crate::error::{Answer, StepError};
use crate::records::{self, Lock, Outcome, Record, When};
use crate::stack::{Baseline, Source};

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

/// What started the execution.
#[derive(Debug)]
enum Start {
    /// An object was uploaded.
    Uploaded { key: String, version: String },
    /// A schedule, or somebody by hand: whatever version of the spec there is.
    Asked { stack: StackName, plan_only: bool },
}

/// The detail of S3's EventBridge events (Amazon S3 User Guide, "EventBridge event message structure"). The key is
/// not URL-encoded there.
#[derive(Debug, Deserialize)]
struct Detail {
    bucket: Bucket,
    object: Object,
}

#[derive(Debug, Deserialize)]
struct Bucket {
    name: String,
}

#[derive(Debug, Deserialize)]
struct Object {
    key: String,
    #[serde(rename = "version-id")]
    version: Option<String>,
}

/// The input of a schedule, or of an execution started by hand.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Asked {
    stack: String,
    #[serde(default)]
    action: AskedAction,
}

#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum AskedAction {
    #[default]
    Deploy,
    Plan,
}

/// Admits a deployment, or says why not.
///
/// Everything is read anew each time that the workflow asks, so that what was waited for is seen.
///
/// # Errors
/// `InvalidEvent`, `InvalidSpec` (both recorded), `Pending` while another deployment of the stack is at work.
pub(crate) async fn run(payload: Value, aws: &Aws) -> Result<Value, StepError> {
    let Request { event, execution } = serde_json::from_value(payload)
        .map_err(|error| StepError::Defect(format!("the workflow's input for `admit`: {error}")))?;
    let start = understand(&event, &aws.settings.bucket)?;
    let (source, text) = newest(aws, &start).await?;
    if let Start::Uploaded { version, .. } = &start
        && *version != source.version
    {
        let reason = format!("a newer version of {} exists: {}", source.key, source.version);
        let source = Source { version: version.clone(), ..source };
        return supersede(aws, source, &execution, reason).await;
    }
    let spec = match text.and_then(|text| understand_spec(aws, &source.key, &text)) {
        Ok(spec) => spec,
        Err(error) => {
            reject(aws, &execution, &source, &error).await?;
            return Err(error);
        }
    };
    let lock = lock(aws, spec.stack.as_str(), &execution).await?;
    if matches!(start, Start::Uploaded { .. })
        && let Some(earlier) = earlier(aws, &spec, &source, &execution).await?
    {
        let reason = format!("the deployment {earlier} went by the same version");
        let superseded = supersede(aws, source, &execution, reason).await?;
        records::unlock(aws, spec.stack.as_str(), &lock).await?;
        return Ok(superseded);
    }
    admit(aws, spec, source, lock, &execution).await
}

fn understand(event: &Value, bucket: &str) -> Result<Start, StepError> {
    if event.get("detail-type").is_none() {
        let asked: Asked = serde_json::from_value(event.clone()).map_err(|error| {
            StepError::InvalidEvent(format!(
                "the execution's input is neither an S3 event nor {{ \"stack\": \"NAME\" }}: {error}"
            ))
        })?;
        let stack = StackName::try_from(asked.stack).map_err(StepError::InvalidEvent)?;
        return Ok(Start::Asked { stack, plan_only: asked.action == AskedAction::Plan });
    }
    let no_event =
        |error: serde_json::Error| StepError::InvalidEvent(format!("this is no S3 event: {error}"));
    let event: EventBridgeEvent = serde_json::from_value(event.clone()).map_err(no_event)?;
    if event.source != "aws.s3" || event.detail_type != "Object Created" {
        return Err(StepError::InvalidEvent(format!(
            "a \"{}\" event of {} starts no deployment; only \"Object Created\" of aws.s3 does",
            event.detail_type, event.source
        )));
    }
    let detail: Detail = serde_json::from_value(event.detail).map_err(no_event)?;
    let Detail { bucket: Bucket { name }, object: Object { key, version } } = detail;
    if name != bucket {
        return Err(StepError::InvalidEvent(format!(
            "the event is of the bucket {name}, but specs are read from {bucket}"
        )));
    }
    let version = version.ok_or_else(|| {
        StepError::InvalidEvent(format!(
            "the event names no version: turn on versioning of the bucket {bucket}"
        ))
    })?;
    Ok(Start::Uploaded { key, version })
}

/// The stack's name and whether it is for planning only, from an object's key.
fn parts_of(key: &str) -> Result<(StackName, bool), StepError> {
    let (plan_only, file) = match key.split_once('/') {
        Some(("specs", file)) => (false, file),
        Some(("plans", file)) => (true, file),
        _ => return Err(bad_key(key)),
    };
    let (name, extension) = file.rsplit_once('.').ok_or_else(|| bad_key(key))?;
    if !["yaml", "yml", "json"].contains(&extension) {
        return Err(bad_key(key));
    }
    let stack = StackName::try_from(name.to_owned()).map_err(StepError::InvalidEvent)?;
    Ok((stack, plan_only))
}

fn bad_key(key: &str) -> StepError {
    StepError::InvalidEvent(format!(
        "the object {key:?} is no spec: its key must be specs/NAME.yaml or plans/NAME.yaml (or .yml, .json)"
    ))
}

/// The newest version of the spec with its text. A text that can't be read at all is an error of its own, since the
/// refusal is recorded under the version.
async fn newest(aws: &Aws, start: &Start) -> Result<(Source, Result<Vec<u8>, StepError>), StepError> {
    match start {
        Start::Uploaded { key, version } => {
            let (_, plan_only) = parts_of(key)?;
            let found = read_newest(aws, key, plan_only).await?;
            found.ok_or_else(|| {
                StepError::InvalidEvent(format!(
                    "{key} at version {version} was deleted before it could be read"
                ))
            })
        }
        Start::Asked { stack, plan_only } => {
            for extension in ["yaml", "yml", "json"] {
                let key = format!("specs/{stack}.{extension}");
                if let Some(found) = read_newest(aws, &key, *plan_only).await? {
                    return Ok(found);
                }
            }
            Err(StepError::InvalidEvent(format!(
                "there is no spec of the stack {stack}: upload it to s3://{}/specs/{stack}.yaml",
                aws.settings.bucket
            )))
        }
    }
}

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

/// Takes the lock, and returns its `ETag`. One whose execution is no longer running is taken over.
async fn lock(aws: &Aws, stack: &str, execution: &Execution) -> Result<String, StepError> {
    let key = records::lock_key(stack);
    let held = records::read::<Lock>(aws, &key).await?;
    let mine = Lock { execution: execution.id.clone(), deployment: execution.name.clone(), since: aws.now() };
    let taken = match held {
        None => records::write(aws, &key, &mine, When::Absent).await?,
        Some((lock, etag)) if lock.execution == execution.id => Some(etag),
        Some((lock, _)) if is_running(aws, &lock.execution).await? => {
            return Err(StepError::pending(format!(
                "the deployment {} of the stack {stack}, at work since {}",
                lock.deployment, lock.since
            )));
        }
        Some((lock, etag)) => {
            tracing::warn!(deployment = lock.deployment, "Lock of an execution that has ended taken over.");
            records::write(aws, &key, &mine, When::Unchanged(&etag)).await?
        }
    };
    taken.ok_or_else(|| StepError::pending(format!("another deployment of the stack {stack}")))
}

async fn is_running(aws: &Aws, execution: &str) -> Result<bool, StepError> {
    let call = aws.sfn.describe_execution().execution_arn(execution).send().await;
    let answer = call.unless(&["ExecutionDoesNotExist"]).doing(format!("asking whether {execution} runs"))?;
    let status = answer.map(|answer| answer.status);
    Ok(status.is_some_and(|status| {
        use aws_sdk_sfn::types::ExecutionStatus::{PendingRedrive, Running};
        matches!(status, Running | PendingRedrive)
    }))
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
    reason: String,
) -> Result<Value, StepError> {
    let (stack, _) = parts_of(&source.key)?;
    let mut record = record(aws, stack.as_str(), execution, source, Outcome::Superseded);
    record.ended = Some(aws.now());
    record.message = Some(reason.clone());
    let key = records::history_key(stack.as_str(), &execution.name);
    records::write(aws, &key, &record, When::Always).await?;
    Ok(json!({ "verdict": "superseded", "stack": stack, "reason": reason }))
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

async fn admit(
    aws: &Aws,
    spec: Spec,
    source: Source,
    lock: String,
    execution: &Execution,
) -> Result<Value, StepError> {
    let stack = spec.stack.as_str();
    let baseline = records::read::<Baseline>(aws, &records::baseline_key(stack)).await?;
    let record = record(aws, stack, execution, source, Outcome::Running);
    records::write(aws, &records::status_key(stack), &record, When::Always).await?;
    Ok(json!({
        "verdict": "admitted",
        "stack": stack,
        "id": execution.name,
        "execution": execution.id,
        "source": record.source,
        "lock": lock,
        "started": record.started,
        "spec": spec,
        "baseline": baseline.map(|(baseline, _)| baseline),
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
