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
/// # Errors
/// `InvalidEvent`, `InvalidSpec` (both recorded), `Pending` while another deployment of the stack is at work.
pub(crate) async fn run(payload: Value, aws: &Aws) -> Result<Value, StepError> {
    let Request { event, execution } = serde_json::from_value(payload)
        .map_err(|error| StepError::Defect(format!("the workflow's input for `admit`: {error}")))?;
    let start = understand(&event, &aws.settings.bucket)?;
    let source = locate(aws, &start).await?;
    let spec = match read_spec(aws, &source).await {
        Ok(spec) => spec,
        Err(error @ (StepError::InvalidSpec(_) | StepError::InvalidEvent(_))) => {
            reject(aws, &execution, &source, &error).await?;
            return Err(error);
        }
        Err(error) => return Err(error),
    };
    lock(aws, spec.stack.as_str(), &execution).await?;
    let uploaded = matches!(start, Start::Uploaded { .. });
    if let Some(reason) = superseded(aws, &spec, &source, &execution, uploaded).await? {
        return supersede(aws, &spec, source, &execution, reason).await;
    }
    admit(aws, spec, source, &execution).await
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
fn parts_of(key: &str) -> Result<(&str, bool), StepError> {
    let (plan_only, file) = match key.split_once('/') {
        Some(("specs", file)) => (false, file),
        Some(("plans", file)) => (true, file),
        _ => return Err(bad_key(key)),
    };
    let (name, extension) = file.rsplit_once('.').ok_or_else(|| bad_key(key))?;
    if ["yaml", "yml", "json"].contains(&extension) { Ok((name, plan_only)) } else { Err(bad_key(key)) }
}

fn bad_key(key: &str) -> StepError {
    StepError::InvalidEvent(format!(
        "the object {key:?} is no spec: its key must be specs/NAME.yaml or plans/NAME.yaml (or .yml, .json)"
    ))
}

/// The object and version to go by.
async fn locate(aws: &Aws, start: &Start) -> Result<Source, StepError> {
    let (stack, plan_only) = match start {
        Start::Uploaded { key, version } => {
            let (_, plan_only) = parts_of(key)?;
            return Ok(Source { key: key.clone(), version: version.clone(), plan_only });
        }
        Start::Asked { stack, plan_only } => (stack, *plan_only),
    };
    for extension in ["yaml", "yml", "json"] {
        let key = format!("specs/{stack}.{extension}");
        if let Some(version) = newest(aws, &key).await? {
            return Ok(Source { key, version, plan_only });
        }
    }
    Err(StepError::InvalidEvent(format!(
        "there is no spec of the stack {stack}: upload it to s3://{}/specs/{stack}.yaml",
        aws.settings.bucket
    )))
}

/// The newest version of an object, if the object is there.
async fn newest(aws: &Aws, key: &str) -> Result<Option<String>, StepError> {
    let call = aws.s3.head_object().bucket(&aws.settings.bucket).key(key).send().await;
    // HEAD has no body, so S3 names the error by its status alone.
    let answer = call.unless(&["NotFound", "NoSuchKey"]).doing(format!("looking for {key}"))?;
    Ok(answer.and_then(|answer| answer.version_id))
}

async fn read_spec(aws: &Aws, source: &Source) -> Result<Spec, StepError> {
    let Source { key, version, .. } = source;
    let call = aws.s3.get_object().bucket(&aws.settings.bucket).key(key).version_id(version).send().await;
    let gone = ["NoSuchKey", "NoSuchVersion", "MethodNotAllowed"];
    let answer =
        call.unless(&gone).doing(format!("reading {key} at version {version}"))?.ok_or_else(|| {
            StepError::InvalidEvent(format!("{key} at version {version} was deleted before it could be read"))
        })?;
    let longest = i64::try_from(stackdrop_specs::LONGEST_SPEC).unwrap_or(i64::MAX);
    if let Some(length) = answer.content_length().filter(|length| *length > longest) {
        return Err(StepError::InvalidSpec(format!(
            "{key} has {length} bytes; a spec has at most {longest}"
        )));
    }
    let bytes = records::body(answer.body, key).await?;
    let mut spec = Spec::read(&bytes).map_err(|errors| StepError::InvalidSpec(errors.render(key)))?;
    let (name, _) = parts_of(key)?;
    if spec.stack.as_str() != name {
        return Err(StepError::InvalidSpec(format!(
            "{key} describes the stack {}: upload it as {}, or set `stack: {name}`",
            spec.stack,
            key.replace(name, spec.stack.as_str())
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

/// Takes the lock. One whose execution is no longer running is taken over.
async fn lock(aws: &Aws, stack: &str, execution: &Execution) -> Result<(), StepError> {
    let key = records::lock_key(stack);
    let held = records::read::<Lock>(aws, &key).await?;
    let mine = Lock { execution: execution.id.clone(), deployment: execution.name.clone(), since: aws.now() };
    let taken = match &held {
        None => records::write(aws, &key, &mine, When::Absent).await?,
        Some((lock, _)) if lock.execution == execution.id => true,
        Some((lock, _)) if is_running(aws, &lock.execution).await? => {
            return Err(StepError::pending(format!(
                "the deployment {} of the stack {stack}, at work since {}",
                lock.deployment, lock.since
            )));
        }
        Some((lock, etag)) => {
            tracing::warn!(deployment = lock.deployment, "Lock of an execution that has ended taken over.");
            records::write(aws, &key, &mine, When::Unchanged(etag)).await?
        }
    };
    if taken { Ok(()) } else { Err(StepError::pending(format!("another deployment of the stack {stack}"))) }
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

/// Why there is nothing to deploy, if so: asked once the lock is held, since it may have been waited for.
async fn superseded(
    aws: &Aws,
    spec: &Spec,
    source: &Source,
    execution: &Execution,
    uploaded: bool,
) -> Result<Option<String>, StepError> {
    let Source { key, version, .. } = source;
    match newest(aws, key).await? {
        None => return Ok(Some(format!("{key} has been deleted since"))),
        Some(newest) if newest != *version => {
            return Ok(Some(format!("a newer version of {key} exists: {newest}")));
        }
        Some(_) => {}
    }
    if !uploaded {
        return Ok(None);
    }
    // The same version delivered twice: what it led to stands in the status.
    let status = records::read::<Record>(aws, &records::status_key(spec.stack.as_str())).await?;
    let earlier = status.map(|(status, _)| status).filter(|status| {
        status.result != Outcome::Running
            && status.deployment != execution.name
            && status.source.as_ref() == Some(source)
    });
    Ok(earlier.map(|earlier| format!("the deployment {} went by the same version", earlier.deployment)))
}

async fn supersede(
    aws: &Aws,
    spec: &Spec,
    source: Source,
    execution: &Execution,
    reason: String,
) -> Result<Value, StepError> {
    let stack = spec.stack.as_str();
    let mut record = record(aws, stack, execution, source, Outcome::Superseded);
    record.ended = Some(aws.now());
    record.message = Some(reason.clone());
    // Not as status: that is the other deployment's.
    let key = records::history_key(stack, &execution.name);
    records::write(aws, &key, &record, When::Always).await?;
    records::unlock(aws, stack, &execution.id).await?;
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
    let Ok(stack) = StackName::try_from(stack.to_owned()) else { return Ok(()) };
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

async fn admit(aws: &Aws, spec: Spec, source: Source, execution: &Execution) -> Result<Value, StepError> {
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
