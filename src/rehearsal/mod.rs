//! A simulated account in which specs are deployed, one after the other.

mod checkpoint;
mod clock;
mod delivery;
mod deployed;
mod driver;
mod event;
mod install;
mod live;
mod seeds;
mod unplanned;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use aws_config::SdkConfig;
use aws_config::retry::RetryConfig;
use aws_config::stalled_stream_protection::StalledStreamProtectionConfig;
use aws_sdk_s3::operation::get_object::GetObjectError;
use aws_smithy_async::time::TimeSource;
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use serde_json::Value;
use stackdrop_figures::LatencyModel;
use stackdrop_functions::deployment::consent::DELETE_DATA;
use stackdrop_functions::deployment::estimate;
use stackdrop_functions::{Aws, Settings};
use stackdrop_simulator::{Account, AccountEvent, Call, Caller, ExecutionEnd, as_caller};
use stackdrop_specs::Spec;
use stackdrop_statemachine::{Abort, Execution, Machine, Options, Outcome, Status, Watch};

use crate::installation::Installation;

pub use checkpoint::Checkpoint;
pub use clock::{at_pace, in_simulated_time};
pub use delivery::LostEvent;
pub use deployed::{Deployed, outputs_of};
pub use driver::{FUNCTION_SECONDS_MAX, Invocation, substitutions};
use driver::{Functions, Invocations};
pub use stackdrop_functions::workflow::pascal_case;

/// The workflow file, the same as in AWS.
pub const WORKFLOW: &str = include_str!("../../statemachine/deploy.asl.json");

/// The account ID if no spec names one.
const DEFAULT_ACCOUNT: &str = "123456789012";
/// The region if no spec names one.
const DEFAULT_REGION: &str = "eu-central-1";

/// The options of a rehearsal.
#[derive(Debug, Clone, Default)]
pub struct Setting {
    /// Draws AWS's durations between p10 and p90 from this seed; `None` takes the medians.
    pub seed: Option<u64>,
    /// How many times as fast as AWS the account is; `None` is AWS's speed. Waits poll at the same intervals as ever,
    /// so they poll less often until a resource is ready.
    pub speed: Option<f64>,
    /// More resources in the account than those that the specs refer to: images that fail, resources of others.
    pub seeds: Vec<stackdrop_simulator::Seed>,
    /// The text of the template to install; `None` is `template.yaml`.
    pub template: Option<String>,
    /// The text of the workflow file to run; `None` is `statemachine/deploy.asl.json`.
    pub workflow: Option<String>,
    /// The values of the template's parameters; the others have their defaults.
    pub parameters: BTreeMap<String, String>,
    /// Whether the account keeps every decision of IAM, starting with the installation.
    pub keep_decisions: bool,
    /// Whether the account keeps the wire form of every call.
    pub keep_exchanges: bool,
    /// Whether calls that a plan hides are only reported, in [`Deployed::unplanned`]. Otherwise they fail a debug build:
    /// every test of a deployment is also a test of its plan.
    pub reports_unplanned: bool,
    /// How long after the installation the bucket's events begin; uploads before that start nothing. On AWS, "it takes around
    /// five minutes for the changes to take effect" (Amazon S3 User Guide, "Enabling Amazon EventBridge").
    pub events_begin: Duration,
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
    reports_unplanned: bool,
    events_begin: Duration,
}

/// Whether a call only sends a notification.
#[must_use]
pub fn announces(call: &Call) -> bool {
    ["sns", "events"].contains(&call.service.as_str())
}

impl Rehearsal {
    /// Opens an account that has what these specs refer to, and installs Stackdrop in it.
    ///
    /// # Errors
    /// If the workflow file does not load, the specs name different accounts or regions, or AWS would reject the
    /// template.
    pub fn open(setting: &Setting, specs: &[&Spec]) -> Result<Self> {
        let model = LatencyModel::built_in();
        let region = seeds::region(specs)?.unwrap_or_else(|| DEFAULT_REGION.into());
        let number = seeds::account(specs)?.unwrap_or_else(|| DEFAULT_ACCOUNT.into());
        let account = Account::open(&stackdrop_simulator::Options {
            account: number.clone(),
            region: region.clone(),
            seed: setting.seed,
            scale: setting.speed.map_or(1.0, f64::recip),
            ..stackdrop_simulator::Options::default()
        })
        .context("cannot open the simulated account")?;
        if setting.keep_decisions {
            account.keep_decisions();
        }
        if setting.keep_exchanges {
            account.keep_exchanges();
        }
        let installation = Arc::new(install::installation(setting, &number, &region, specs)?);
        install::install(&account, &installation).context("cannot install Stackdrop")?;
        for seed in seeds::of_specs(specs).iter().chain(&setting.seeds) {
            account.seed(seed);
        }
        let sdk = account.sdk_config(&region, RetryConfig::standard());
        let aws = Arc::new(Aws::new(sdk.clone(), installation.settings.clone()));
        let workflow = setting.workflow.as_deref().unwrap_or(WORKFLOW);
        let machine = Machine::load(workflow, &driver::substitutions()).map_err(|error| {
            let problems = error.problems.iter();
            let problems: Vec<String> =
                problems.map(|problem| format!("{}: {}", problem.pointer, problem.message)).collect();
            anyhow!("cannot load the workflow file: {}", problems.join("; "))
        })?;
        let seed = setting.seed.unwrap_or_default();
        // The SDK draws the jitter of its retries from this generator, which belongs to the thread.
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
            reports_unplanned: setting.reports_unplanned,
            events_begin: setting.events_begin,
        })
    }

    /// The simulated account.
    #[must_use]
    pub fn account(&self) -> &Account {
        &self.account
    }

    /// The clients of the functions.
    #[must_use]
    pub fn aws(&self) -> &Aws {
        &self.aws
    }

    /// The installation in the account.
    #[must_use]
    pub fn installation(&self) -> &Installation {
        &self.installation
    }

    /// Every run of a function so far. A run can outlive its execution.
    #[must_use]
    pub fn invocations(&self) -> Vec<Invocation> {
        self.invocations.all().clone()
    }

    /// The physical names of the functions whose logs Lambda was not allowed to write.
    #[must_use]
    pub fn without_log(&self) -> BTreeSet<String> {
        self.invocations.without_log()
    }

    /// The configuration of other SDK clients of the account.
    #[must_use]
    pub fn sdk(&self) -> &SdkConfig {
        &self.sdk
    }

    /// The workflow.
    #[must_use]
    pub fn machine(&self) -> &Machine {
        &self.machine
    }

    /// The same rehearsal, but its clients send their requests through another HTTP client, which is made of the account's.
    /// Its answers can come in real time, so the clients do not watch how fast a body arrives.
    #[must_use]
    pub fn through(self, client: impl FnOnce(SharedHttpClient) -> SharedHttpClient) -> Self {
        let sdk = self.sdk.to_builder().http_client(client(self.account.http_client()));
        let sdk = sdk.stalled_stream_protection(StalledStreamProtectionConfig::disabled()).build();
        Self { aws: Arc::new(Aws::new(sdk.clone(), self.installation.settings.clone())), sdk, ..self }
    }

    /// Uploads a spec, as a user would, and deploys that version of it.
    ///
    /// # Errors
    /// If the upload fails or starts no deployment.
    pub async fn deploy(&self, spec: &str, watch: &dyn Watch) -> Result<Deployed> {
        self.deploy_agreeing(spec, &[], watch).await
    }

    /// The same, for a person who agrees to the loss of these resources' data.
    ///
    /// # Errors
    /// If the upload fails or starts no deployment.
    pub async fn deploy_agreeing(&self, spec: &str, names: &[&str], watch: &dyn Watch) -> Result<Deployed> {
        let key = format!("specs/{}.yaml", stack_of(spec)?);
        let event = self.upload_agreeing(&key, spec.as_bytes(), names).await?;
        if self.starts(&event) == 0 {
            bail!("cannot deploy: the upload of {key} starts no execution");
        }
        Ok(self.run(event, watch, &Abort::default()).await)
    }

    /// Uploads an object and returns the event that EventBridge delivers.
    ///
    /// # Errors
    /// If the upload fails.
    pub async fn upload(&self, key: &str, bytes: &[u8]) -> Result<Value> {
        self.upload_with(key, bytes, Vec::new()).await
    }

    /// The same, for a person who agrees to the loss of these resources' data.
    ///
    /// # Errors
    /// If the upload fails.
    pub async fn upload_agreeing(&self, key: &str, bytes: &[u8], names: &[&str]) -> Result<Value> {
        let agreed = (!names.is_empty()).then(|| (DELETE_DATA.to_owned(), names.join(",")));
        self.upload_with(key, bytes, agreed.into_iter().collect()).await
    }

    /// Uploads an object with metadata, by which a person can agree to lose data.
    ///
    /// # Errors
    /// If the upload fails.
    pub async fn upload_with(
        &self,
        key: &str,
        bytes: &[u8],
        metadata: Vec<(String, String)>,
    ) -> Result<Value> {
        let bucket = &self.aws.settings.bucket;
        let put = aws_sdk_s3::Client::new(&self.sdk)
            .put_object()
            .bucket(bucket)
            .key(key)
            .set_metadata(Some(metadata.into_iter().collect()))
            .body(bytes.to_vec().into());
        let answer = as_caller(Caller::new("user"), put.send())
            .await
            .with_context(|| format!("cannot upload {key}"))?;
        let Some(version) = answer.version_id() else {
            bail!("cannot deploy: the bucket {bucket} is not versioned")
        };
        let now = self.account.clock().now();
        Ok(event::created(&self.aws.settings, key, version, bytes.len(), answer.e_tag(), now))
    }

    /// Installs another version of Stackdrop, whose functions run from now on.
    pub fn update_to(&mut self, version: &str) {
        let settings = Settings { version: version.into(), ..self.aws.settings.clone() };
        self.aws = Arc::new(Aws::new(self.sdk.clone(), settings));
    }

    /// A record in the bucket, if it exists.
    ///
    /// # Errors
    /// If the record cannot be read or parsed.
    pub async fn object(&self, key: &str) -> Result<Option<Value>> {
        let call = self.aws.s3().get_object().bucket(&self.aws.settings.bucket).key(key);
        let answer = match as_caller(Caller::new("user"), call.send()).await {
            Ok(answer) => answer,
            Err(error) if error.as_service_error().is_some_and(GetObjectError::is_no_such_key) => {
                return Ok(None);
            }
            Err(error) => return Err(error).with_context(|| format!("cannot read {key}")),
        };
        let bytes = answer.body.collect().await.with_context(|| format!("cannot read {key}"))?.into_bytes();
        serde_json::from_slice(&bytes).with_context(|| format!("cannot parse {key}"))
    }

    /// Deletes an object and returns the event that EventBridge delivers.
    ///
    /// # Errors
    /// If the deletion fails.
    pub async fn delete(&self, key: &str) -> Result<Value> {
        let s3 = aws_sdk_s3::Client::new(&self.sdk);
        let delete = s3.delete_object().bucket(&self.aws.settings.bucket).key(key);
        let answer = as_caller(Caller::new("user"), delete.send())
            .await
            .with_context(|| format!("cannot delete {key}"))?;
        let marker = answer.version_id().unwrap_or_default();
        Ok(event::deleted(&self.aws.settings, key, marker, self.account.clock().now()))
    }

    /// The event that EventBridge delivers after an execution failed, was stopped or timed out. `None` if the event starts
    /// no execution.
    #[must_use]
    pub fn interruption(&self, id: &str, input: &Value) -> Option<Value> {
        let executions = self.account.executions();
        let execution = executions.iter().rfind(|execution| execution.name == id)?;
        let end = self.account.execution_end(&execution.arn).unwrap_or_default();
        let event = event::ended(execution, &end, self.account.clock().now(), input);
        (self.starts(&event) > 0).then_some(event)
    }

    /// The events of changed secrets so far that start an execution, without the first `after` events of the account.
    #[must_use]
    pub fn secret_events(&self, after: usize) -> Vec<Value> {
        let events = self.account.account_events(after);
        let events = events.iter().filter_map(|event| event::of_secret(&self.aws.settings, event));
        events.filter(|event| self.starts(event) > 0).collect()
    }

    /// The event of a changed secret with this name. `None` if it starts no execution.
    #[must_use]
    pub fn secret_event(&self, name: &str) -> Option<Value> {
        let arn = format!("arn:aws:secretsmanager:{}:secret:{name}-AbCdEf", self.aws.settings.region);
        let (version, at) = ("1".to_owned(), self.account.clock().elapsed());
        let updated = AccountEvent::SecretLabelUpdated { arn, name: name.into(), version, at };
        event::of_secret(&self.aws.settings, &updated).filter(|event| self.starts(event) > 0)
    }

    /// Runs one execution of the workflow.
    pub async fn run(&self, input: Value, watch: &dyn Watch, abort: &Abort) -> Deployed {
        self.run_as(self.next_id(), input, watch, abort).await
    }

    /// The ARN of the execution with this name.
    fn execution_arn(&self, name: &str) -> String {
        let machine = self.installation.workflow.arn.replacen(":stateMachine:", ":execution:", 1);
        format!("{machine}:{name}")
    }

    /// Runs an execution with a name.
    async fn run_as(&self, id: String, input: Value, watch: &dyn Watch, abort: &Abort) -> Deployed {
        let running = self.begin(id, input);
        let functions = self.functions(&running.execution);
        let options = Options { seed: self.seed, abort: abort.clone() };
        let outcome = self.machine.run(&running.execution, &functions, watch, &options).await;
        self.end(&running, outcome)
    }

    fn begin(&self, id: String, input: Value) -> Running {
        let execution = Execution {
            arn: self.execution_arn(&id),
            name: id,
            start_time: self.account.clock().now(),
            input,
        };
        self.account.execution_started(&execution.arn);
        let started_at = self.account.clock().elapsed();
        Running {
            execution,
            calls_before: self.account.calls(),
            started_at,
            incidents_before: self.account.incidents(),
        }
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

    fn end(&self, running: &Running, outcome: Outcome) -> Deployed {
        let Running { execution, calls_before, started_at, incidents_before } = running;
        let (status, end) = end_of(&outcome.status);
        self.account.execution_ended_with(&execution.arn, status, end);
        // Other executions may run at the same time: a call names the execution that made it.
        let mine = format!("{}/", execution.name);
        let (calls, others): (Vec<_>, Vec<_>) = self
            .account
            .call_log_from(*calls_before)
            .into_iter()
            .partition(|call| call.caller.starts_with(&mine));
        // A change by others after the plan may need other calls than those planned.
        let is_disturbed =
            self.account.incidents() > *incidents_before || others.iter().any(unplanned::disturbs);
        let unplanned =
            if is_disturbed { Vec::new() } else { unplanned::calls(&outcome, &calls, *started_at) };
        debug_assert!(
            self.reports_unplanned || unplanned.is_empty(),
            "the plan of {} hides what it did (invariant 9):\n{}",
            execution.name,
            unplanned.join("\n")
        );
        let bound_seconds = admitted_spec(&outcome).map(|spec| estimate::seconds_of_first(&spec));
        Deployed { id: execution.name.clone(), outcome, calls, bound_seconds, unplanned }
    }

    fn next_id(&self) -> String {
        let mut started = self.started.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        *started += 1;
        format!("deployment-{started}")
    }
}

/// An execution that has started.
#[derive(Debug, Clone)]
struct Running {
    execution: Execution,
    /// The number of calls in the account before it.
    calls_before: usize,
    /// When it started, since the account was opened.
    started_at: Duration,
    /// The number of incidents in the account before it.
    incidents_before: usize,
}

/// How an execution ended, as `DescribeExecution` returns it.
fn end_of(status: &Status) -> (&'static str, ExecutionEnd) {
    let given = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    let failed = |failure: &stackdrop_statemachine::Failure| ExecutionEnd {
        output: None,
        error: given(&failure.error),
        cause: given(&failure.cause),
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

/// The spec that Admit read.
fn admitted_spec(outcome: &Outcome) -> Option<Spec> {
    serde_json::from_value(outcome.output_of("Admit")?.get("spec")?.clone()).ok()
}

fn stack_of(spec: &str) -> Result<String> {
    match Spec::read(spec.as_bytes()) {
        Ok(spec) => Ok(spec.stack.to_string()),
        Err(errors) => bail!("{errors}"),
    }
}
