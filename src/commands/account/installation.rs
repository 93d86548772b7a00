//! Where Stackdrop is installed: its bucket and its state machine, found by their names.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use aws_config::{BehaviorVersion, Region};
use aws_sdk_s3::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{At, pause};

/// The state machine's name.
const MACHINE: &str = "stackdrop-deploy";
/// How long EventBridge is given to start an execution.
const STARTED_WITHIN: Duration = Duration::from_mins(1);
/// How often, meanwhile, it is looked for.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// How many executions back it is looked for: so many may have been started since.
const RECENT: i32 = 30;

/// The installation of an account in a region.
#[derive(Debug)]
pub(super) struct Installation {
    pub(super) s3: aws_sdk_s3::Client,
    pub(super) sfn: aws_sdk_sfn::Client,
    pub(super) logs: aws_sdk_cloudwatchlogs::Client,
    pub(super) bucket: String,
    machine: String,
}

/// The result of a call, with AWS's own words when it failed.
pub(super) trait Said<T> {
    fn saying(self, what: impl std::fmt::Display) -> Result<T>;
    /// `None` when AWS refused with one of these codes.
    fn unless(self, codes: &[&str], what: impl std::fmt::Display) -> Result<Option<T>>;
}

impl<T, E, R> Said<T> for Result<T, SdkError<E, R>>
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
    R: std::fmt::Debug,
{
    fn saying(self, what: impl std::fmt::Display) -> Result<T> {
        self.map_err(|error| match (error.code(), error.message()) {
            (Some(code), message) => anyhow!("{what}: {code}: {}", message.unwrap_or_default()),
            (None, _) => anyhow!("{what}: {}", DisplayErrorContext(&error)),
        })
    }

    fn unless(self, codes: &[&str], what: impl std::fmt::Display) -> Result<Option<T>> {
        match self {
            Err(error) if error.code().is_some_and(|code| codes.contains(&code)) => Ok(None),
            other => other.saying(what).map(Some),
        }
    }
}

impl Installation {
    pub(super) async fn find(at: &At) -> Result<Self> {
        let mut loader = aws_config::defaults(BehaviorVersion::latest());
        if let Some(profile) = &at.profile {
            loader = loader.profile_name(profile);
        }
        if let Some(region) = &at.region {
            loader = loader.region(Region::new(region.clone()));
        }
        if let Some(url) = &at.endpoint_url {
            loader = loader.endpoint_url(url);
        }
        let config = loader.load().await;
        let region = config.region().context("no region: give --region, or set AWS_REGION")?.to_string();
        let identity = aws_sdk_sts::Client::new(&config).get_caller_identity().send().await;
        let identity = identity.saying("asking which account this is")?;
        let account = identity.account().context("AWS did not say which account this is")?;
        // `arn:PARTITION:sts::ACCOUNT:…`
        let partition = identity.arn().and_then(|arn| arn.split(':').nth(1));
        let partition = partition.context("AWS did not say which partition this is")?;
        let named = at.bucket.clone().or_else(|| std::env::var("STACKDROP_BUCKET").ok());
        // A simulated account has no host of its own for each bucket.
        let by_path = config.endpoint_url().is_some();
        let s3 = aws_sdk_s3::config::Builder::from(&config).force_path_style(by_path).build();
        Ok(Self {
            s3: aws_sdk_s3::Client::from_conf(s3),
            sfn: aws_sdk_sfn::Client::new(&config),
            logs: aws_sdk_cloudwatchlogs::Client::new(&config),
            bucket: named.unwrap_or_else(|| format!("stackdrop-{account}-{region}")),
            machine: format!("arn:{partition}:states:{region}:{account}:stateMachine:{MACHINE}"),
        })
    }

    /// What is said when the bucket is not there.
    fn not_installed(&self) -> anyhow::Error {
        anyhow!(
            "there is no bucket {}: is Stackdrop installed in this account and region? If its bucket has another name, \
             give it with --bucket or STACKDROP_BUCKET",
            self.bucket
        )
    }

    /// A record, if it is there.
    pub(super) async fn read<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>> {
        let answer = self.s3.get_object().bucket(&self.bucket).key(key).send().await;
        if answer.as_ref().is_err_and(|error| error.code() == Some("NoSuchBucket")) {
            return Err(self.not_installed());
        }
        let Some(answer) = answer.unless(&["NoSuchKey"], format!("reading {key}"))? else { return Ok(None) };
        let bytes = answer.body.collect().await.with_context(|| format!("reading {key}"))?;
        let record = serde_json::from_slice(&bytes.into_bytes());
        record.map(Some).with_context(|| {
            format!(
                "s3://{}/{key} is not as this version of the command knows it: use the one that the installation came \
                 with",
                self.bucket
            )
        })
    }

    /// Uploads an object, and gives its version.
    pub(super) async fn upload(&self, key: &str, text: &str) -> Result<String> {
        let put = self.s3.put_object().bucket(&self.bucket).key(key).body(text.as_bytes().to_vec().into());
        let answer = put.send().await;
        if answer.as_ref().is_err_and(|error| error.code() == Some("NoSuchBucket")) {
            return Err(self.not_installed());
        }
        let answer = answer.saying(format!("uploading s3://{}/{key}", self.bucket))?;
        let version = answer.version_id().filter(|version| *version != "null");
        version.map(str::to_owned).with_context(|| format!("the bucket {} is not versioned", self.bucket))
    }

    /// Starts an execution by hand.
    pub(super) async fn start(&self, input: &Value) -> Result<String> {
        let start = self.sfn.start_execution().state_machine_arn(&self.machine).input(input.to_string());
        Ok(start.send().await.saying("starting the deployment")?.execution_arn)
    }

    /// The execution that EventBridge has started for this version of an object: the one whose input names it.
    pub(super) async fn started_by(&self, key: &str, version: &str) -> Result<String> {
        let mut others = BTreeSet::new();
        let looking = async {
            loop {
                let list = self.sfn.list_executions().state_machine_arn(&self.machine).max_results(RECENT);
                let list = list.send().await.saying("listing the deployments")?;
                for execution in list.executions {
                    let arn = execution.execution_arn;
                    if !others.contains(&arn) {
                        let described = self.sfn.describe_execution().execution_arn(&arn).send().await;
                        let input = described.saying("looking for the deployment")?.input.unwrap_or_default();
                        if names(&input, key, version) {
                            return Ok(arn);
                        }
                        others.insert(arn);
                    }
                }
                pause(LOOK_EVERY).await;
            }
        };
        match tokio::time::timeout(STARTED_WITHIN, looking).await {
            Ok(found) => found,
            Err(_) => bail!(
                "{key} is uploaded (version {version}), but nothing has started its deployment: is the EventBridge rule of the \
                 installation enabled, and does the bucket {} send its events to EventBridge?",
                self.bucket
            ),
        }
    }
}

/// Whether an execution's input is the event of this version's upload.
fn names(input: &str, key: &str, version: &str) -> bool {
    let event: Value = serde_json::from_str(input).unwrap_or_default();
    let object = &event["detail"]["object"];
    object["key"] == key && object["version-id"] == version
}
