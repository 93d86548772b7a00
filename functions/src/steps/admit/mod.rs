//! The first step: understands what started the execution, reads and checks the spec, takes the stack's lock. Also what
//! comes between plan and deployment when somebody is to agree.

mod approval;
mod interrupted;
mod lock;
mod sources;
mod start;

use std::collections::BTreeMap;
use std::sync::OnceLock;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use stackdrop_specs::{Drift, OnDelete, Spec, StackName};

use crate::aws::Aws;
use crate::aws::error::StepError;
use crate::contract::handler::Function;
use crate::contract::handler::{answer, request};
use crate::deployment::announce::{Announcement, Event, announce};
use crate::deployment::bucket;
use crate::deployment::bucket::When;
use crate::deployment::event::parts_of;
use crate::deployment::failure::Failures;
use crate::deployment::outcome::Outcome;
use crate::deployment::outputs::Outputs;
use crate::deployment::plan::PlanReview;
use crate::deployment::record;
use crate::deployment::record::{Lock, Record};
use crate::deployment::state::Trigger;
use crate::deployment::state::{Baseline, Source};
use crate::deployment::state::{Deployment, Verdict};
use lock::Purpose;
use sources::{newest, read_newest, read_version, understand_or_reject};
use start::{Asked, Start, Wish};

/// The function's name.
pub const NAME: &str = "admit";

/// The function.
pub const FUNCTION: Function = Function::new(NAME, |payload, aws| Box::pin(run(payload, aws)));

/// What the workflow sends.
#[derive(Debug, Deserialize)]
struct Request {
    event: Value,
    execution: Execution,
}

/// `$$.Execution` of the context object, as far as it is needed.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Execution {
    id: String,
    name: String,
    /// The lock that it has taken.
    #[serde(skip)]
    holds: OnceLock<Held>,
}

/// A stack's lock in hand.
#[derive(Debug)]
struct Held {
    stack: String,
    etag: String,
}

/// The actions of the function besides admitting, which the workflow sends without an action.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// Reviews the plans of all components.
    Review,
    /// Asks for approval of the plan.
    AskForApproval,
    /// Reads the reply.
    ReadReply,
    /// Turns a failed update into its rollback.
    RollBack,
}

/// What the workflow sends after admitting.
#[derive(Debug, Deserialize)]
struct Later {
    action: Action,
    deployment: Deployment,
    /// The token of the task that waits for the reply.
    token: Option<String>,
}

/// Admits a deployment or says why not; later reviews its plan, asks for approval, or begins its rollback.
///
/// Everything is read again whenever the workflow retries, so that a deployment sees what it waited for.
///
/// # Errors
/// `InvalidEvent`; `InvalidSpec` (recorded); `Pending` while another deployment of the stack is running;
/// `ApprovalRejected` and `Superseded` after a reply.
pub(crate) async fn run(payload: Value, aws: &Aws) -> Result<Value, StepError> {
    if payload.get("action").is_none() {
        return start(payload, aws).await;
    }
    let Later { action, deployment, token } = request(NAME, payload)?;
    match action {
        Action::Review => {
            let review = Some(PlanReview::of(&deployment.plan)?);
            answer(&Deployment { review, ..deployment })
        }
        Action::AskForApproval => approval::ask(&deployment, token, aws).await,
        Action::ReadReply => {
            let approved = Some(approval::read_reply(&deployment, aws).await?);
            answer(&Deployment { approved, ..deployment })
        }
        Action::RollBack => {
            let rollback = deployment.rollback();
            answer(&rollback.ok_or_else(|| StepError::Defect("a rollback without a baseline".into()))?)
        }
    }
}

async fn start(payload: Value, aws: &Aws) -> Result<Value, StepError> {
    let Request { event, execution } = request(NAME, payload)?;
    let admitted = begin(start::understand(&event, &aws.settings)?, aws, &execution).await;
    if let (Err(error), Some(Held { stack, etag })) = (&admitted, execution.holds.get())
        && !matches!(error, StepError::Pending(_) | StepError::Transient { .. })
        && let Err(stuck) = record::unlock(aws, stack, etag).await
    {
        // No step follows a failed Admit. The next deployment takes a stale lock over.
        tracing::error!(stack, error = stuck.chain(), "The lock could not be released.");
    }
    admitted
}

async fn begin(start: Start, aws: &Aws, execution: &Execution) -> Result<Value, StepError> {
    match start {
        Start::Uploaded { key, version } => uploaded(aws, execution, &key, version).await,
        Start::Deleted { key } => deleted(aws, execution, &key).await,
        Start::Interrupted(it) => interrupted::interrupted(aws, execution, &it).await,
        Start::Asked(asked) => match asked.action {
            Wish::Deploy | Wish::Plan => asked_for(aws, execution, &asked).await,
            Wish::Redeploy => redeploy(aws, execution, &asked).await,
            Wish::Destroy => destroy(aws, execution, &asked.stack).await,
        },
    }
}

/// A version was uploaded: it is deployed if it is the newest, and was not before.
async fn uploaded(aws: &Aws, execution: &Execution, key: &str, version: String) -> Result<Value, StepError> {
    let (stack, plan_only) = parts_of(key)?;
    let (source, text) = read_newest(aws, key, plan_only).await?.ok_or_else(|| {
        StepError::InvalidEvent(format!("{key} at version {version} was deleted before it could be read"))
    })?;
    if version != source.version {
        let reason = format!("a newer version of {key} exists: {}", source.version);
        return supersede(aws, Source { version, ..source }, execution, Outcome::Superseded, reason).await;
    }
    let (spec, source) = understand_or_reject(aws, execution, (source, text)).await?;
    if let Some(earlier) = claimed(aws, stack.as_str(), &source, execution).await? {
        let reason = format!("the deployment {earlier} goes by the same version");
        return supersede(aws, source, execution, Outcome::Superseded, reason).await;
    }
    let lock = lock::take(aws, stack.as_str(), execution, &Purpose::deploy(&source)).await?;
    let baseline = baseline(aws, &stack).await?;
    let admitted = Admitted { trigger: Trigger::Upload, ..Admitted::new(spec, source, lock, baseline) };
    admit(aws, execution, admitted).await
}

/// Which deployment goes by a version: the first that claims it.
#[derive(Debug, Serialize, Deserialize)]
struct Claim {
    deployment: String,
    version: String,
}

/// Claims a version for this deployment; the other one that has, if any. S3 and EventBridge may deliver an event twice,
/// at any distance of time.
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
    let there = bucket::read::<Claim>(aws, &key).await?;
    let (there, _) = there.ok_or_else(|| StepError::pending("the claim on the spec's version"))?;
    Ok((there.deployment != execution.name).then_some(there.deployment))
}

/// Somebody asks for the spec by hand: its newest version, or an earlier one.
async fn asked_for(aws: &Aws, execution: &Execution, asked: &Asked) -> Result<Value, StepError> {
    let stack = &asked.stack;
    let plan_only = asked.action == Wish::Plan;
    let observed = match &asked.version {
        None => newest(aws, stack, plan_only).await?,
        Some(version) => sources::given(aws, stack, version).await?,
    };
    let observed = observed.ok_or_else(|| match &asked.version {
        None => StepError::InvalidEvent(format!(
            "there is no spec of the stack {stack}: upload it to s3://{}/specs/{stack}.yaml",
            aws.settings.bucket
        )),
        Some(version) => StepError::InvalidEvent(format!(
            "the spec of the stack {stack} has no version {version}: `stackdrop history {stack}` lists those \
             that were deployed"
        )),
    })?;
    let (spec, source) = understand_or_reject(aws, execution, observed).await?;
    let lock = lock::take(aws, stack.as_str(), execution, &Purpose::deploy(&source)).await?;
    let baseline = baseline(aws, stack).await?;
    let refresh_image = asked.refresh_image;
    let report_only = asked.drift == Drift::Report;
    let admitted = Admitted { refresh_image, report_only, ..Admitted::new(spec, source, lock, baseline) };
    admit(aws, execution, admitted).await
}

/// The schedule asks for the stack as the last good deployment left it: a newer version that failed is not tried again
/// each night, and an older one that was gone back to stays.
async fn redeploy(aws: &Aws, execution: &Execution, asked: &Asked) -> Result<Value, StepError> {
    let stack = asked.stack.as_str();
    let Some(before) = baseline(aws, &asked.stack).await? else {
        let reason = format!("no deployment of the stack {stack} stands");
        return not_deployed(execution, stack, Verdict::Superseded, &reason);
    };
    let source = before.source();
    let purpose = Purpose { insists: false, ..Purpose::deploy(&source) };
    let lock = match lock::take(aws, stack, execution, &purpose).await {
        Err(StepError::Superseded(reason)) => {
            return supersede(aws, source, execution, Outcome::Superseded, reason).await;
        }
        taken => taken?,
    };
    // Whoever held the lock may have made another baseline.
    let Some(baseline) = baseline(aws, &asked.stack).await? else {
        record::unlock(aws, stack, &lock).await?;
        return not_deployed(execution, stack, Verdict::Superseded, "the stack was removed meanwhile");
    };
    let (spec, source) = (baseline.spec.clone(), baseline.source());
    let admitted = Admitted {
        trigger: Trigger::Schedule,
        refresh_image: asked.refresh_image,
        report_only: asked.drift == Drift::Report,
        ..Admitted::new(spec, source, lock, Some(baseline))
    };
    admit(aws, execution, admitted).await
}

/// A spec was deleted: what follows is what the last good version of it says.
async fn deleted(aws: &Aws, execution: &Execution, key: &str) -> Result<Value, StepError> {
    let (stack, plan_only) = parts_of(key)?;
    let source = Source { key: key.to_owned(), version: String::new(), plan_only };
    if plan_only {
        return supersede(aws, source, execution, Outcome::Retained, format!("{key} was only a plan")).await;
    }
    // Only once nobody else is at work does the baseline say what stands.
    let purpose = Purpose { destroying: true, ..Purpose::deploy(&source) };
    let lock = lock::take(aws, stack.as_str(), execution, &purpose).await?;
    let baseline = baseline(aws, &stack).await?;
    let (outcome, reason) = match (newest(aws, &stack, false).await?, &baseline) {
        (Some((there, _)), _) => {
            (Outcome::Superseded, format!("there is a spec of the stack: {}", there.key))
        }
        (None, None) => (Outcome::Retained, format!("no deployment of the stack {stack} has succeeded")),
        (None, Some(baseline)) if baseline.spec.on_delete == OnDelete::Destroy => {
            let (spec, baseline) = (baseline.spec.clone(), Some(baseline.clone()));
            let admitted = Admitted {
                trigger: Trigger::Deletion,
                destroying: true,
                ..Admitted::new(spec, source, lock, baseline)
            };
            return admit(aws, execution, admitted).await;
        }
        (None, Some(_)) => (Outcome::Retained, format!("the stack {stack} stays (onDelete: retain)")),
    };
    let ended = supersede(aws, source, execution, outcome, reason).await?;
    record::unlock(aws, stack.as_str(), &lock).await?;
    Ok(ended)
}

/// Somebody wants the stack removed.
async fn destroy(aws: &Aws, execution: &Execution, stack: &StackName) -> Result<Value, StepError> {
    let before = baseline(aws, stack).await?;
    let (spec, source) = match (&before, newest(aws, stack, false).await?) {
        (Some(before), newest) => {
            let key = newest.map_or_else(|| format!("specs/{stack}.yaml"), |(source, _)| source.key);
            (before.spec.clone(), Source { key, version: before.version.clone(), plan_only: false })
        }
        (None, Some(observed)) => understand_or_reject(aws, execution, observed).await?,
        (None, None) => {
            return Err(StepError::InvalidEvent(format!(
                "nothing is known of a stack {stack}: it has neither a spec nor a deployment that succeeded"
            )));
        }
    };
    let purpose = Purpose { destroying: true, ..Purpose::deploy(&source) };
    let lock = lock::take(aws, stack.as_str(), execution, &purpose).await?;
    // Whoever held the lock may have made another baseline.
    let baseline = baseline(aws, stack).await?;
    let spec = baseline.as_ref().map_or(spec, |baseline| baseline.spec.clone());
    admit(aws, execution, Admitted { destroying: true, ..Admitted::new(spec, source, lock, baseline) }).await
}

async fn baseline(aws: &Aws, stack: &StackName) -> Result<Option<Baseline>, StepError> {
    let observed = bucket::read::<Baseline>(aws, &bucket::baseline_key(stack.as_str())).await?;
    Ok(observed.map(|(baseline, _)| baseline))
}

/// The record of this deployment, which begins now.
fn begun(aws: &Aws, stack: &str, execution: &Execution, result: Outcome) -> Record {
    Record::begin(stack, &execution.name, &execution.id, aws.now(), result)
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
    let mut record = begun(aws, stack.as_str(), execution, result);
    record.source = Some(source);
    record.ended = Some(aws.now());
    record.message = Some(reason.clone());
    let key = bucket::history_key(stack.as_str(), &execution.name);
    bucket::write(aws, &key, &record, When::Always).await?;
    let verdict = if result == Outcome::Retained { Verdict::Retained } else { Verdict::Superseded };
    not_deployed(execution, stack.as_str(), verdict, &reason)
}

/// The answer that ends the workflow without a deployment.
#[derive(Debug, Serialize)]
struct NotDeployed<'a> {
    verdict: Verdict,
    stack: &'a str,
    reason: &'a str,
}

fn not_deployed(
    execution: &Execution,
    stack: &str,
    verdict: Verdict,
    reason: &str,
) -> Result<Value, StepError> {
    tracing::info!(deployment = execution.name, stack, ?verdict, reason, "Nothing is deployed.");
    answer(&NotDeployed { verdict, stack, reason })
}

/// Records a spec that was refused, and tells.
async fn reject(
    aws: &Aws,
    execution: &Execution,
    source: &Source,
    error: &StepError,
) -> Result<(), StepError> {
    let (stack, _) = parts_of(&source.key)?;
    let mut record = begun(aws, stack.as_str(), execution, Outcome::InvalidSpec);
    record.source = Some(source.clone());
    record.ended = Some(aws.now());
    record.step = Some("Admit".into());
    record.error = Some(error.name().into());
    record.message = Some(error.chain());
    record.next = Some("Correct the spec and upload it again. Nothing was changed.".into());
    let key = bucket::history_key(stack.as_str(), &execution.name);
    bucket::write(aws, &key, &record, When::Always).await?;
    if bucket::read::<Lock>(aws, &bucket::lock_key(stack.as_str())).await?.is_none() {
        bucket::write(aws, &bucket::status_key(stack.as_str()), &record, When::Always).await?;
    }
    announce(aws, &Announcement::of(Event::Failed, &record)).await;
    Ok(())
}

/// What a deployment starts from.
#[derive(Debug)]
struct Admitted {
    spec: Spec,
    source: Source,
    lock: String,
    baseline: Option<Baseline>,
    trigger: Trigger,
    refresh_image: bool,
    report_only: bool,
    destroying: bool,
    /// The failure that an interrupted execution amounts to.
    interruption: Option<Failures>,
}

impl Admitted {
    /// A plain deployment, asked for by hand.
    fn new(spec: Spec, source: Source, lock: String, baseline: Option<Baseline>) -> Self {
        let (trigger, interruption) = (Trigger::Manual, None);
        let (refresh_image, report_only, destroying) = (false, false, false);
        Self { spec, source, lock, baseline, trigger, refresh_image, report_only, destroying, interruption }
    }
}

async fn admit(aws: &Aws, execution: &Execution, admitted: Admitted) -> Result<Value, StepError> {
    let stack = admitted.spec.stack.as_str();
    let mut record = begun(aws, stack, execution, Outcome::Running);
    record.trigger = admitted.trigger;
    record.source = Some(admitted.source.clone());
    if !admitted.source.plan_only {
        bucket::write(aws, &bucket::status_key(stack), &record, When::Always).await?;
        announce(aws, &Announcement::of(Event::Started, &record)).await;
    }
    let (verdict, failed) = match admitted.interruption {
        Some(interruption) => (Verdict::Interrupted, interruption),
        None => (Verdict::Admitted, Failures::new()),
    };
    answer(&Deployment {
        verdict,
        stack: admitted.spec.stack.clone(),
        id: execution.name.clone(),
        execution: execution.id.clone(),
        source: admitted.source,
        lock: admitted.lock,
        started: record.started,
        trigger: admitted.trigger,
        spec: admitted.spec,
        baseline: admitted.baseline,
        refresh_image: admitted.refresh_image,
        report_only: admitted.report_only,
        destroying: admitted.destroying,
        rolling_back: false,
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
        deletions: BTreeMap::new(),
        delete_failed: Failures::new(),
        deletion_ends: Vec::new(),
        deletions_given_up: Failures::new(),
    })
}
