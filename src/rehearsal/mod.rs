//! One simulated account in which specs are deployed, one after the other.

mod checkpoint;
mod delivery;
mod driver;
mod event;
mod install;
mod live;
mod pace;
mod seeds;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use anyhow::{Context, Result, bail};
use aws_config::retry::RetryConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_sdk_s3::operation::get_object::GetObjectError;
use aws_smithy_async::rt::sleep::{SharedAsyncSleep, TokioSleep};
use aws_smithy_async::time::TimeSource;
use serde_json::{Value, json};
use stackdrop_figures::LatencyModel;
use stackdrop_functions::deployment::estimate;
use stackdrop_functions::{Aws, deployment};
use stackdrop_simulator::{Account, Call, Caller, ExecutionEnd, as_caller};
use stackdrop_specs::Spec;
use stackdrop_statemachine::{Abort, Execution, Machine, Options, Outcome, Status, Watch};

use crate::installation::Installation;

pub use checkpoint::Checkpoint;
pub use delivery::LostEvent;
pub use driver::{FUNCTION_SECONDS_MAX, Invocation, substitutions};
use driver::{Functions, Invocations};
pub use pace::at_pace;
pub use stackdrop_functions::workflow::pascal_case;

/// The workflow file that AWS runs too.
pub const WORKFLOW: &str = include_str!("../../statemachine/deploy.asl.json");

/// The account's number where a spec names none.
const ACCOUNT: &str = "123456789012";
/// The region where a spec names none.
const REGION: &str = "eu-central-1";

/// How a rehearsal is set.
#[derive(Debug, Clone, Default)]
pub struct Setting {
    /// Draws AWS's durations between p10 and p90 from this seed; `None` takes the medians.
    pub seed: Option<u64>,
    /// How many times as fast as AWS the account is; `None` is AWS's own pace. What waits asks as often as ever, so that
    /// it asks less often until something is there.
    pub speed: Option<f64>,
    /// Images that behave badly, foreign things: what the account holds besides what the specs refer to.
    pub seeds: Vec<stackdrop_simulator::Seed>,
    /// The text of the template that is installed; `None` is `template.yaml`.
    pub template: Option<String>,
    /// The text of the workflow file that is run; `None` is `statemachine/deploy.asl.json`.
    pub workflow: Option<String>,
    /// The template's parameters that are not at their defaults.
    pub parameters: BTreeMap<String, String>,
    /// Whether the account keeps every decision of IAM, from the installation on.
    pub keep_decisions: bool,
}

/// A simulated account with Stackdrop installed in it.
#[derive(Debug)]
pub struct Rehearsal {
    account: Account,
    sdk: SdkConfig,
    aws: Arc<Aws>,
    installation: Arc<Installation>,
    lost: Arc<Mutex<Vec<LostEvent>>>,
    invocations: Invocations,
    machine: Arc<Machine>,
    model: Arc<LatencyModel>,
    seed: u64,
    started: Mutex<usize>,
}

/// A deployment that has ended.
#[derive(Debug)]
pub struct Deployed {
    /// The deployment's id: the execution's name.
    pub id: String,
    /// What the execution came to.
    pub outcome: Outcome,
    /// The calls that it made, in order.
    pub calls: Vec<Call>,
    /// The best that AWS allows for this spec at the medians, in seconds; `None` for what is no spec.
    pub bound_seconds: Option<f64>,
}

impl Deployed {
    /// How it ended, in one word: that of its record, or else of the execution.
    #[must_use]
    pub fn result(&self) -> String {
        let said =
            self.conclusion().and_then(|conclusion| Some(conclusion.get("result")?.as_str()?.to_owned()));
        said.unwrap_or_else(|| match &self.outcome.status {
            Status::Succeeded(output) => match output.get("verdict").and_then(Value::as_str) {
                Some("superseded") => "Superseded".into(),
                Some("retained") => "Retained".into(),
                _ => "Succeeded".into(),
            },
            Status::Failed(failure) if failure.error == "InvalidSpec" || failure.error == "InvalidEvent" => {
                "InvalidSpec".into()
            }
            Status::Failed(_) => "Failed".into(),
            Status::TimedOut => "TimedOut".into(),
            Status::Aborted(_) => "Aborted".into(),
        })
    }

    /// Whether the stack is as the spec says.
    #[must_use]
    pub fn succeeded(&self) -> bool {
        matches!(self.outcome.status, Status::Succeeded(_))
    }

    /// The error that it ended with, in words.
    #[must_use]
    pub fn error(&self) -> Option<String> {
        match &self.outcome.status {
            Status::Succeeded(_) => None,
            Status::Failed(failure) | Status::Aborted(failure) => {
                Some(format!("{}: {}", failure.error, failure.message()))
            }
            Status::TimedOut => Some("the execution ran longer than the workflow allows".into()),
        }
    }

    /// What Conclude answered, if the deployment came that far.
    #[must_use]
    pub fn conclusion(&self) -> Option<Value> {
        self.outcome.output_of("Conclude").cloned()
    }

    /// What it made.
    #[must_use]
    pub fn outputs(&self) -> Value {
        self.conclusion()
            .and_then(|conclusion| conclusion.get("outputs").cloned())
            .unwrap_or_else(|| json!({}))
    }

    /// How often each call was made, by name.
    #[must_use]
    pub fn counts(&self) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for call in &self.calls {
            *counts.entry(call.name()).or_default() += 1;
        }
        counts
    }
}

/// Whether a call only tells people and programs how a deployment fares.
#[must_use]
pub fn announces(call: &Call) -> bool {
    ["sns", "events"].contains(&call.service.as_str())
}

impl Rehearsal {
    /// Opens an account that holds what these specs refer to, and installs Stackdrop in it.
    ///
    /// # Errors
    /// When the workflow file does not load, the specs do not agree on the account or region, or AWS would not install
    /// the template.
    pub fn open(setting: &Setting, specs: &[&Spec]) -> Result<Self> {
        let model = LatencyModel::built_in();
        let region = seeds::region(specs)?.unwrap_or_else(|| REGION.into());
        let number = seeds::account(specs)?.unwrap_or_else(|| ACCOUNT.into());
        let account = Account::open(&stackdrop_simulator::Options {
            account: number.clone(),
            region: region.clone(),
            seed: setting.seed,
            scale: setting.speed.map_or(1.0, f64::recip),
            ..stackdrop_simulator::Options::default()
        })
        .context("opening the simulated account")?;
        if setting.keep_decisions {
            account.keep_decisions();
        }
        let installation = Arc::new(install::installation(setting, &number, &region)?);
        install::install(&account, &installation).context("installing Stackdrop")?;
        for seed in seeds::of_specs(specs).iter().chain(&setting.seeds) {
            account.seed(seed);
        }
        let sdk = sdk(&account, &region);
        let aws = Arc::new(Aws::new(sdk.clone(), installation.settings.clone()));
        let machine =
            Machine::load(setting.workflow.as_deref().unwrap_or(WORKFLOW), &driver::substitutions())
                .map_err(|error| {
                    let problems: Vec<String> = error
                        .problems
                        .iter()
                        .map(|problem| format!("{}: {}", problem.pointer, problem.message))
                        .collect();
                    anyhow::anyhow!("the workflow file does not load: {}", problems.join("; "))
                })?;
        let seed = setting.seed.unwrap_or_default();
        // The SDK draws the jitter of its retries from this generator, a thread's own.
        fastrand::seed(seed);
        let invocations = Invocations::default();
        let (machine, model) = (Arc::new(machine), Arc::new(model));
        Ok(Self {
            account,
            sdk,
            aws,
            installation,
            lost: Arc::default(),
            invocations,
            machine,
            model,
            seed,
            started: Mutex::new(0),
        })
    }

    /// The simulated account.
    #[must_use]
    pub fn account(&self) -> &Account {
        &self.account
    }

    /// The functions' clients.
    #[must_use]
    pub fn aws(&self) -> &Aws {
        &self.aws
    }

    /// What is installed in the account.
    #[must_use]
    pub fn installation(&self) -> &Installation {
        &self.installation
    }

    /// Every run of a function so far. One may still be at work when its execution has ended.
    #[must_use]
    pub fn invocations(&self) -> Vec<Invocation> {
        self.invocations.all().clone()
    }

    /// The functions (their physical names) whose log Lambda was not allowed to write.
    #[must_use]
    pub fn without_log(&self) -> BTreeSet<String> {
        self.invocations.without_log()
    }

    /// The configuration for other SDK clients of the account.
    #[must_use]
    pub fn sdk(&self) -> &SdkConfig {
        &self.sdk
    }

    /// The workflow.
    #[must_use]
    pub fn machine(&self) -> &Machine {
        &self.machine
    }

    /// Uploads a spec, as a user would, and deploys that version of it.
    ///
    /// # Errors
    /// When the upload fails, or the installation starts nothing.
    pub async fn deploy(&self, spec: &str, watch: &dyn Watch) -> Result<Deployed> {
        let name = stack_of(spec)?;
        let event = self.upload(&format!("specs/{name}.yaml"), spec.as_bytes()).await?;
        if self.starts(&event) == 0 {
            bail!("the upload of specs/{name}.yaml starts no deployment");
        }
        Ok(self.run(event, watch, &Abort::default()).await)
    }

    /// Uploads an object, and returns the event that EventBridge delivers of it.
    ///
    /// # Errors
    /// When the upload fails.
    pub async fn upload(&self, key: &str, bytes: &[u8]) -> Result<Value> {
        let bucket = &self.aws.settings.bucket;
        let put = aws_sdk_s3::Client::new(&self.sdk)
            .put_object()
            .bucket(bucket)
            .key(key)
            .body(bytes.to_vec().into());
        let answer = as_caller(Caller::new("user"), put.send()).await.context("uploading the spec")?;
        let Some(version) = answer.version_id() else { bail!("the bucket {bucket} is not versioned") };
        let now = self.account.clock().now();
        Ok(event::created(&self.aws.settings, key, version, bytes.len(), answer.e_tag(), now))
    }

    /// One of the bucket's records, if it is there.
    ///
    /// # Errors
    /// When it can't be read, or is no JSON.
    pub async fn object(&self, key: &str) -> Result<Option<Value>> {
        let call = self.aws.s3().get_object().bucket(&self.aws.settings.bucket).key(key);
        let answer = match as_caller(Caller::new("user"), call.send()).await {
            Ok(answer) => answer,
            Err(error) if error.as_service_error().is_some_and(GetObjectError::is_no_such_key) => {
                return Ok(None);
            }
            Err(error) => return Err(error).with_context(|| format!("reading {key}")),
        };
        let bytes = answer.body.collect().await.with_context(|| format!("reading {key}"))?.into_bytes();
        serde_json::from_slice(&bytes).with_context(|| format!("{key} is no JSON"))
    }

    /// Deletes an object, and returns the event that EventBridge delivers of it.
    ///
    /// # Errors
    /// When the deletion fails.
    pub async fn delete(&self, key: &str) -> Result<Value> {
        let s3 = aws_sdk_s3::Client::new(&self.sdk);
        let delete = s3.delete_object().bucket(&self.aws.settings.bucket).key(key);
        let answer = as_caller(Caller::new("user"), delete.send()).await.context("deleting the spec")?;
        let marker = answer.version_id().unwrap_or_default();
        Ok(event::deleted(&self.aws.settings, key, marker, self.account.clock().now()))
    }

    /// The event that EventBridge delivers of an execution that was stopped or timed out: its id, and its input. `None`
    /// where the installation starts nothing by it.
    #[must_use]
    pub fn interruption(&self, id: &str, input: &Value) -> Option<Value> {
        let executions = self.account.executions();
        let execution = executions.iter().rfind(|execution| execution.name == id)?;
        let event = event::interrupted(execution, self.account.clock().now(), input);
        (self.starts(&event) > 0).then_some(event)
    }

    /// Runs one execution of the workflow with an input.
    pub async fn run(&self, input: Value, watch: &dyn Watch, abort: &Abort) -> Deployed {
        self.run_as(self.next_id(), input, watch, abort).await
    }

    /// The ARN of the execution with this name.
    fn execution_arn(&self, name: &str) -> String {
        let machine = self.installation.workflow.arn.replacen(":stateMachine:", ":execution:", 1);
        format!("{machine}:{name}")
    }

    /// Runs an execution under a name.
    async fn run_as(&self, id: String, input: Value, watch: &dyn Watch, abort: &Abort) -> Deployed {
        let underway = self.begin(id, input);
        let functions = self.functions(&underway.execution);
        let options = Options { seed: self.seed, abort: abort.clone() };
        let outcome = self.machine.run(&underway.execution, &functions, watch, &options).await;
        self.end(&underway, outcome)
    }

    fn begin(&self, id: String, input: Value) -> Underway {
        let execution = Execution {
            arn: self.execution_arn(&id),
            name: id,
            start_time: self.account.clock().now(),
            input,
        };
        self.account.execution_started(&execution.arn);
        Underway { execution, calls_before: self.account.calls() }
    }

    fn functions<'r>(&'r self, execution: &'r Execution) -> Functions<'r> {
        let lambda = driver::Lambda {
            account: self.account.clone(),
            aws: Arc::clone(&self.aws),
            installation: Arc::clone(&self.installation),
            cold_start: driver::cold_start(&self.model),
            warm: Arc::default(),
            invocations: self.invocations.clone(),
        };
        Functions::new(lambda, &execution.name)
    }

    fn end(&self, underway: &Underway, outcome: Outcome) -> Deployed {
        let Underway { execution, calls_before } = underway;
        let (status, end) = end_of(&outcome.status);
        self.account.execution_ended_with(&execution.arn, status, end);
        // Others may have been at work meanwhile: a call names the execution that made it.
        let mine = format!("{}/", execution.name);
        let calls = self.account.call_log_from(*calls_before);
        let calls = calls.into_iter().filter(|call| call.caller.starts_with(&mine)).collect();
        let bound_seconds = admitted_spec(&outcome).map(|spec| estimate::seconds_of_first(&spec));
        Deployed { id: execution.name.clone(), outcome, calls, bound_seconds }
    }

    fn next_id(&self) -> String {
        let mut started = self.started.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        *started += 1;
        format!("deployment-{started}")
    }
}

/// An execution that has begun.
#[derive(Debug, Clone)]
struct Underway {
    execution: Execution,
    /// How many calls the ledger had before it.
    calls_before: usize,
}

/// How an execution ended, as `DescribeExecution` tells it.
fn end_of(status: &Status) -> (&'static str, ExecutionEnd) {
    let failed = |failure: &stackdrop_statemachine::Failure| ExecutionEnd {
        output: None,
        error: Some(failure.error.clone()),
        cause: Some(failure.cause.clone()),
    };
    match status {
        Status::Succeeded(output) => {
            ("SUCCEEDED", ExecutionEnd { output: Some(output.to_string()), ..ExecutionEnd::default() })
        }
        Status::Failed(failure) => ("FAILED", failed(failure)),
        Status::TimedOut => ("TIMED_OUT", ExecutionEnd::default()),
        Status::Aborted(failure) => ("ABORTED", failed(failure)),
    }
}

/// The spec that Admit read, from the workflow's state after it.
fn admitted_spec(outcome: &Outcome) -> Option<Spec> {
    serde_json::from_value(outcome.output_of("Admit")?.get("spec")?.clone()).ok()
}

fn stack_of(spec: &str) -> Result<String> {
    match Spec::read(spec.as_bytes()) {
        Ok(spec) => Ok(spec.stack.to_string()),
        Err(errors) => bail!("{errors}"),
    }
}

/// An unmodified SDK that talks to the account, on its clock.
fn sdk(account: &Account, region: &str) -> SdkConfig {
    let credentials = Credentials::new("AKIDSIMULATED", "simulated", None, None, "simulation");
    SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new(region.to_owned()))
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .http_client(account.http_client())
        .sleep_impl(SharedAsyncSleep::new(TokioSleep::new()))
        .time_source(account.clock())
        .retry_config(RetryConfig::standard())
        .build()
}

/// What the components reported, as the functions' own type.
///
/// # Errors
/// When it is not of that shape.
pub fn outputs_of(deployed: &Deployed) -> Result<deployment::outputs::Outputs> {
    serde_json::from_value(deployed.outputs()).context("reading the outputs")
}
