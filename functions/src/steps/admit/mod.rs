//! The first step: parses the execution's input, reads and checks the spec, and takes the stack's lock. Also the later
//! steps between plan and deployment: review, approval and rollback.

mod approval;
mod input;
mod interrupted;
mod lock;
mod not_deployed;
mod planning;
mod review;
mod rotation;
mod sources;

use std::collections::BTreeMap;
use std::sync::OnceLock;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use stackdrop_specs::{Drift, OnDelete, Spec, StackName};

use crate::aws::error::StepError;
use crate::aws::rules::AfterUpdate;
use crate::aws::{Aws, Settings};
use crate::contract::handler::{Function, request, respond};
use crate::deployment::announce::{Announcement, Event, announce};
use crate::deployment::bucket::{self, When};
use crate::deployment::consent::Consent;
use crate::deployment::event::{is_plan_key, parts_of};
use crate::deployment::failure::Failures;
use crate::deployment::outcome::Outcome;
use crate::deployment::outputs::Outputs;
use crate::deployment::record;
use crate::deployment::state::{Baseline, Deployment, Source, Trigger, Uploader, Verdict};
use input::{Input, ManualRequest, RequestedAction};
use lock::{Purpose, Waiting};
use not_deployed::{new_record, not_deployed, supersede};
use sources::{newest, no_spec, parse_or_reject, read_newest, read_version};

/// The function's name.
pub const NAME: &str = "admit";

/// The function.
pub const FUNCTION: Function = Function::new(NAME, |payload, aws| Box::pin(run(payload, aws)));

/// The payload of the first step.
#[derive(Debug, Deserialize)]
struct Request {
    event: Value,
    execution: Execution,
}

/// The needed fields of `$$.Execution` in the context object.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Execution {
    id: String,
    name: String,
    /// What started it.
    #[serde(skip)]
    trigger: Trigger,
    /// Who uploaded or deleted the spec.
    #[serde(skip)]
    uploader: Option<Uploader>,
    /// The lock, once the execution has taken it.
    #[serde(skip)]
    lock: OnceLock<HeldLock>,
}

/// A stack's lock that this execution holds.
#[derive(Debug)]
struct HeldLock {
    stack: String,
    etag: String,
}

/// The function's later actions. For admitting, the workflow sends no action.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// Reviews the plans of all components.
    Review,
    /// Requests approval of the plan.
    AskForApproval,
    /// Reads the reply.
    ReadReply,
    /// Turns a failed update into its rollback.
    RollBack,
}

/// The payload of the later actions.
#[derive(Debug, Deserialize)]
struct ActionRequest {
    action: Action,
    deployment: Deployment,
    /// The token of the task that awaits the reply.
    token: Option<String>,
}

/// Admits a deployment or rejects it; later reviews its plan, requests approval, or starts its rollback.
///
/// Every retry reads everything again, so that a deployment sees what others changed while it waited.
///
/// # Errors
/// `InvalidEvent`; `InvalidSpec` (recorded); `Pending` while another deployment of the stack is running;
/// `ApprovalRejected` and `Superseded` after a reply.
pub(crate) async fn run(payload: Value, aws: &Aws) -> Result<Value, StepError> {
    if payload.get("action").is_none() {
        return start(payload, aws).await;
    }
    let ActionRequest { action, deployment, token } = request(NAME, payload)?;
    match action {
        Action::Review => respond(&review::review(deployment, &aws.settings.rules)?),
        Action::AskForApproval => approval::ask(&deployment, token, aws).await,
        Action::ReadReply => respond(&approval::read_reply(deployment, aws).await?),
        Action::RollBack => {
            let rollback = deployment.rollback();
            respond(&rollback.ok_or_else(|| StepError::Defect("a rollback without a baseline".into()))?)
        }
    }
}

async fn start(payload: Value, aws: &Aws) -> Result<Value, StepError> {
    let Request { event, mut execution } = request(NAME, payload)?;
    let input = input::parse(&event, &aws.settings)?;
    execution.trigger = input.trigger();
    execution.uploader = input.uploader().cloned();
    let admitted = begin(input, aws, &execution).await;
    if let (Err(error), Some(HeldLock { stack, etag })) = (&admitted, execution.lock.get())
        && !error.is_retried()
        && let Err(stuck) = record::unlock(aws, stack, etag).await
    {
        // No step follows a failed Admit. The next deployment takes over a stale lock.
        tracing::error!(stack, error = stuck.chain(), "The lock could not be released.");
    }
    admitted
}

async fn begin(start: Input, aws: &Aws, execution: &Execution) -> Result<Value, StepError> {
    match start {
        Input::Uploaded { key, version, .. } if is_plan_key(&key) => {
            planning::uploaded(aws, execution, &key, version).await
        }
        Input::Uploaded { key, version, .. } => uploaded(aws, execution, &key, version).await,
        Input::Deleted { key, .. } if is_plan_key(&key) => {
            not_deployed(execution, "", &format!("{key} was only a plan"))
        }
        Input::Deleted { key, .. } => deleted(aws, execution, &key).await,
        Input::Interrupted(interruption) => interrupted::interrupted(aws, execution, &interruption).await,
        Input::RestartEnded { password, ended, cleaned_up } => {
            interrupted::restart_ended(aws, execution, &password, ended, cleaned_up).await
        }
        Input::PasswordChanged(change) => rotation::password_changed(aws, execution, &change).await,
        Input::Harmless(reason) => not_deployed(execution, "", &reason),
        Input::Manual(request) => match request.action {
            RequestedAction::Deploy => manual(aws, execution, &request).await,
            RequestedAction::Plan => planning::requested(aws, execution, &request).await,
            RequestedAction::Redeploy => redeploy(aws, execution, &request).await,
            RequestedAction::Rotate => rotation::rotate(aws, execution, &request.stack).await,
            RequestedAction::Destroy => destroy(aws, execution, &request).await,
        },
    }
}

/// Deploys an uploaded version, if it is the newest and was not deployed before.
async fn uploaded(aws: &Aws, execution: &Execution, key: &str, version: String) -> Result<Value, StepError> {
    let (stack, _) = parts_of(key)?;
    let upload = read_newest(aws, key, false).await?.ok_or_else(|| {
        StepError::InvalidEvent(format!("{key} at version {version} was deleted before it could be read"))
    })?;
    if version != upload.source.version {
        let reason = format!("a newer version of {key} exists: {}", upload.source.version);
        let source = Source { version, ..upload.source };
        return supersede(aws, source, execution, Outcome::Superseded, reason).await;
    }
    let consent = upload.consent.clone();
    let (spec, source) = parse_or_reject(aws, execution, upload).await?;
    if let Some(earlier) = claimed(aws, stack.as_str(), &source, execution).await? {
        let reason = format!("deployment {earlier} has the same version");
        return supersede(aws, source, execution, Outcome::Superseded, reason).await;
    }
    let lock = lock::take(aws, stack.as_str(), execution, &Purpose::deploy(&source)).await?;
    let baseline = baseline(aws, &stack).await?;
    admit(aws, execution, Admitted { consent, ..Admitted::new(spec, source, lock, baseline) }).await
}

/// A claim on a spec's version: only the first deployment that claims a version deploys it.
#[derive(Debug, Serialize, Deserialize)]
struct Claim {
    deployment: String,
    version: String,
}

/// Claims a version for this deployment. Returns the other deployment that has claimed it, if any: S3 and EventBridge may
/// deliver an event twice, even days apart.
async fn claimed(
    aws: &Aws,
    stack: &str,
    source: &Source,
    execution: &Execution,
) -> Result<Option<String>, StepError> {
    let key = bucket::claim_key(stack, &source.version);
    let mine = Claim { deployment: execution.name.clone(), version: source.version.clone() };
    if bucket::write(aws, &key, &mine, When::Absent).await?.is_some() {
        return Ok(None);
    }
    let existing = bucket::read::<Claim>(aws, &key).await?;
    let (existing, _) =
        existing.ok_or_else(|| StepError::pending("the claim on the spec's version to become visible"))?;
    Ok((existing.deployment != execution.name).then_some(existing.deployment))
}

/// Deploys the spec's newest version, or a given one, on a manual request.
async fn manual(aws: &Aws, execution: &Execution, request: &ManualRequest) -> Result<Value, StepError> {
    let stack = &request.stack;
    let observed = match &request.version {
        None => newest(aws, stack, false).await?,
        Some(version) => sources::version_of(aws, stack, version).await?,
    };
    let observed = observed.ok_or_else(|| match &request.version {
        None => no_spec(aws, stack),
        Some(version) => StepError::InvalidEvent(format!(
            "the spec of stack {stack} has no version {version}: `stackdrop history {stack}` lists the deployed \
             versions"
        )),
    })?;
    let (spec, source) = parse_or_reject(aws, execution, observed).await?;
    let report_only = request.drift == Drift::Report;
    let purpose = Purpose { changes_nothing: report_only, ..Purpose::deploy(&source) };
    let lock = lock::take(aws, stack.as_str(), execution, &purpose).await?;
    let baseline = baseline(aws, stack).await?;
    let refresh_image = request.refresh_image;
    let consent = request.consent();
    let admitted =
        Admitted { refresh_image, report_only, consent, ..Admitted::new(spec, source, lock, baseline) };
    admit(aws, execution, admitted).await
}

/// Deploys the baseline's spec again: a newer version that failed is not retried every night, and an older version that was
/// redeployed stays.
async fn redeploy(aws: &Aws, execution: &Execution, request: &ManualRequest) -> Result<Value, StepError> {
    let stack = request.stack.as_str();
    let Some(expected) = baseline(aws, &request.stack).await? else {
        let reason = format!("no deployment of stack {stack} has succeeded");
        return not_deployed(execution, stack, &reason);
    };
    let source = expected.source();
    let report_only =
        request.drift == Drift::Report || made_by_another_version(aws, execution, &expected).is_some();
    let purpose =
        Purpose { waiting: Waiting::Yield, changes_nothing: report_only, ..Purpose::deploy(&source) };
    let lock = match lock_deployed(aws, execution, &request.stack, &purpose).await? {
        Ok(lock) => lock,
        Err(ended) => return Ok(ended),
    };
    let (spec, source) = (lock.baseline.spec.clone(), lock.baseline.source());
    let made_by = made_by_another_version(aws, execution, &lock.baseline);
    let admitted = Admitted {
        // What is only reported is not restarted either.
        refresh_image: request.refresh_image && made_by.is_none(),
        report_only: request.drift == Drift::Report || made_by.is_some(),
        made_by,
        ..Admitted::new(spec, source, lock.etag, Some(lock.baseline))
    };
    admit(aws, execution, admitted).await
}

/// The version that made a stack, if it is another one and the schedule must not apply what this version does differently: a
/// person who updates Stackdrop at noon does not expect changes at night.
fn made_by_another_version(aws: &Aws, execution: &Execution, baseline: &Baseline) -> Option<String> {
    let Settings { version, rules, .. } = &aws.settings;
    let reports = execution.trigger == Trigger::Schedule && rules.changes_after_update == AfterUpdate::Report;
    (reports && baseline.made_by != *version).then(|| baseline.made_by.clone())
}

/// The lock of a stack that is deployed.
struct Locked {
    etag: String,
    baseline: Baseline,
}

/// Takes the lock to work on the baseline. `Err` with the response if there is nothing to do.
async fn lock_deployed(
    aws: &Aws,
    execution: &Execution,
    stack: &StackName,
    purpose: &Purpose<'_>,
) -> Result<Result<Locked, Value>, StepError> {
    let etag = match lock::take(aws, stack.as_str(), execution, purpose).await {
        Err(StepError::Superseded(reason)) => {
            let source = purpose.source.clone();
            return supersede(aws, source, execution, Outcome::Superseded, reason).await.map(Err);
        }
        taken => taken?,
    };
    // The previous holder of the lock may have changed the baseline.
    if let Some(baseline) = baseline(aws, stack).await? {
        // After a changed password, tasks are only restarted as they are.
        if purpose.waiting != Waiting::Notify {
            check(aws, &baseline)?;
        }
        return Ok(Ok(Locked { etag, baseline }));
    }
    record::unlock(aws, stack.as_str(), &etag).await?;
    let reason = "the stack was destroyed in the meantime";
    not_deployed(execution, stack.as_str(), reason).map(Err)
}

/// Destroys or retains the stack whose spec was deleted, as the baseline's spec says.
async fn deleted(aws: &Aws, execution: &Execution, key: &str) -> Result<Value, StepError> {
    let (stack, _) = parts_of(key)?;
    let source = Source { key: key.to_owned(), version: String::new(), plan_only: false };
    // The baseline is reliable only once this execution holds the lock.
    let purpose = Purpose { destroying: true, ..Purpose::deploy(&source) };
    let lock = lock::take(aws, stack.as_str(), execution, &purpose).await?;
    let baseline = baseline(aws, &stack).await?;
    let (outcome, reason) = match (newest(aws, &stack, false).await?, &baseline) {
        (Some(existing), _) => {
            (Outcome::Superseded, format!("the stack has another spec: {}", existing.source.key))
        }
        (None, None) => (Outcome::Retained, format!("no deployment of stack {stack} has succeeded")),
        (None, Some(baseline)) if baseline.spec.on_delete == OnDelete::Destroy => {
            let (spec, baseline) = (baseline.spec.clone(), Some(baseline.clone()));
            let admitted = Admitted { destroying: true, ..Admitted::new(spec, source, lock, baseline) };
            return admit(aws, execution, admitted).await;
        }
        (None, Some(_)) => (Outcome::Retained, format!("stack {stack} is retained (onDelete: retain)")),
    };
    let ended = supersede(aws, source, execution, outcome, reason).await?;
    record::unlock(aws, stack.as_str(), &lock).await?;
    Ok(ended)
}

/// Destroys the stack on a manual request.
async fn destroy(aws: &Aws, execution: &Execution, request: &ManualRequest) -> Result<Value, StepError> {
    let stack = &request.stack;
    let before = baseline(aws, stack).await?;
    let (spec, source) = match (&before, newest(aws, stack, false).await?) {
        (Some(before), newest) => {
            let key = newest.map_or_else(|| format!("specs/{stack}.yaml"), |upload| upload.source.key);
            (before.spec.clone(), Source { key, version: before.version.clone(), plan_only: false })
        }
        (None, Some(observed)) => parse_or_reject(aws, execution, observed).await?,
        (None, None) => {
            return Err(StepError::InvalidEvent(format!(
                "stack {stack} is unknown: it has neither a spec nor a successful deployment"
            )));
        }
    };
    let purpose = Purpose { destroying: true, ..Purpose::deploy(&source) };
    let lock = lock::take(aws, stack.as_str(), execution, &purpose).await?;
    // The previous holder of the lock may have changed the baseline.
    let baseline = baseline(aws, stack).await?;
    let spec = baseline.as_ref().map_or(spec, |baseline| baseline.spec.clone());
    let consent = request.consent();
    let admitted = Admitted { destroying: true, consent, ..Admitted::new(spec, source, lock, baseline) };
    admit(aws, execution, admitted).await
}

/// The stack's baseline.
///
/// # Errors
/// `InvalidEvent` if it belongs to another stack or region.
async fn baseline(aws: &Aws, stack: &StackName) -> Result<Option<Baseline>, StepError> {
    let key = bucket::baseline_key(stack.as_str());
    let Some((baseline, _)) = bucket::read::<Baseline>(aws, &key).await? else { return Ok(None) };
    let belongs =
        parts_of(&baseline.source().key).is_ok_and(|(named, plan_only)| named == *stack && !plan_only);
    let is_here = baseline.spec.region.as_ref().is_none_or(|region| *region == aws.settings.region);
    if baseline.spec.stack != *stack || !belongs || !is_here {
        return Err(wrong_baseline(aws, &key, "it belongs to another stack or region"));
    }
    Ok(Some(baseline))
}

/// Checks the spec in a baseline as an upload's: a schedule deploys it without a person, and somebody may have written it.
///
/// # Errors
/// `InvalidEvent` if it is not valid.
fn check(aws: &Aws, baseline: &Baseline) -> Result<(), StepError> {
    let key = bucket::baseline_key(baseline.spec.stack.as_str());
    baseline.spec.check().map_err(|_| wrong_baseline(aws, &key, "its spec is not valid"))
}

fn wrong_baseline(aws: &Aws, key: &str, what: &str) -> StepError {
    StepError::InvalidEvent(format!(
        "the record {key} in the bucket {} is wrong: {what}. Restore its previous version",
        aws.settings.bucket
    ))
}

/// The start of an admitted deployment.
#[derive(Debug)]
struct Admitted {
    spec: Spec,
    source: Source,
    lock: String,
    baseline: Option<Baseline>,
    refresh_image: bool,
    report_only: bool,
    destroying: bool,
    /// The deployment that was running when this plan began.
    running: Option<String>,
    /// The failure of the interrupted execution, if this deployment cleans up after one.
    interruption: Option<Failures>,
    /// What it does with the database's password, if it does nothing else.
    rotation: Option<Verdict>,
    /// When the password changed, according to an event.
    password_changed: Option<i64>,
    /// What a person agreed to lose.
    consent: Consent,
    /// The other version of Stackdrop that made the stack, whose differences are only reported.
    made_by: Option<String>,
}

impl Admitted {
    /// A plain deployment on a manual request.
    fn new(spec: Spec, source: Source, lock: String, baseline: Option<Baseline>) -> Self {
        Self {
            spec,
            source,
            lock,
            baseline,
            refresh_image: false,
            report_only: false,
            destroying: false,
            running: None,
            interruption: None,
            rotation: None,
            password_changed: None,
            consent: Consent::default(),
            made_by: None,
        }
    }
}

async fn admit(aws: &Aws, execution: &Execution, admitted: Admitted) -> Result<Value, StepError> {
    let stack = admitted.spec.stack.as_str();
    let mut record = new_record(aws, stack, execution, Outcome::Running);
    record.source = Some(admitted.source.clone());
    if !admitted.source.plan_only {
        bucket::write(aws, &bucket::status_key(stack), &record, When::Always).await?;
        announce(aws, &Announcement::of(Event::Started, &record)).await;
    }
    let (verdict, failed) = match admitted.interruption {
        Some(interruption) => (Verdict::Interrupted, interruption),
        None => (admitted.rotation.unwrap_or(Verdict::Admitted), Failures::new()),
    };
    respond(&Deployment {
        verdict,
        stack: admitted.spec.stack.clone(),
        id: execution.name.clone(),
        execution: execution.id.clone(),
        source: admitted.source,
        lock: admitted.lock,
        started: record.started,
        trigger: execution.trigger,
        spec: admitted.spec,
        baseline: admitted.baseline,
        refresh_image: admitted.refresh_image,
        report_only: admitted.report_only,
        running: admitted.running,
        consent: admitted.consent,
        made_by: admitted.made_by,
        uploader: execution.uploader.clone(),
        replies: 0,
        refused: None,
        destroying: admitted.destroying,
        rolling_back: false,
        rolling_back_again: false,
        password_changed: admitted.password_changed,
        attempted: None,
        plan: Vec::new(),
        review: None,
        reply: None,
        approved: None,
        outputs: Outputs::default(),
        stable: Outputs::default(),
        failed,
        plan_failed: Failures::new(),
        not_approved: Failures::new(),
        first_failure: Failures::new(),
        rollback_failed: Failures::new(),
        prune_failed: Failures::new(),
        rotation_failed: Failures::new(),
        deletions: BTreeMap::new(),
        delete_failed: Failures::new(),
        deletion_ends: Vec::new(),
        deletions_given_up: Failures::new(),
    })
}
