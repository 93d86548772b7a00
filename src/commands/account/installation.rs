//! An installation of Stackdrop in an account: its bucket and its state machine, found by their names.

use std::collections::{BTreeSet, HashMap};
use std::fmt::Display;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use aws_config::profile::ProfileFileCredentialsProvider;
use aws_config::{BehaviorVersion, Region};
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{Target, pause};

/// The state machine's name.
const MACHINE: &str = "stackdrop-deploy";
/// How long EventBridge has to start an execution. Events usually take about a second, "but might sometimes take a minute or
/// longer" (Amazon S3 User Guide, "Amazon S3 Event Notifications").
const START_TIMEOUT: Duration = Duration::from_mins(2);
/// How often the executions are listed meanwhile.
const START_POLL_INTERVAL: Duration = Duration::from_millis(500);
/// How many of the newest executions are searched: others may have started since the upload.
const RECENT_EXECUTIONS: i32 = 30;

/// The installation in an account and region.
#[derive(Debug)]
pub(super) struct Installation {
    pub(super) s3: aws_sdk_s3::Client,
    pub(super) sfn: aws_sdk_sfn::Client,
    pub(super) logs: aws_sdk_cloudwatchlogs::Client,
    pub(super) bucket: String,
    /// The ARN of the person who runs the command.
    pub(super) caller: String,
    /// The account and the region, for people.
    pub(super) place: String,
    machine: String,
}

/// The result of a call to AWS, with AWS's message in the error.
pub(super) trait Refusal<T> {
    /// `action` is an infinitive: `cannot {action}: …`.
    fn or_cannot(self, action: impl Display) -> Result<T>;
    /// `None` if AWS refused the call with one of these codes.
    fn unless(self, codes: &[&str], action: impl Display) -> Result<Option<T>>;
}

impl<T, E, R> Refusal<T> for Result<T, SdkError<E, R>>
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
    R: std::fmt::Debug,
{
    fn or_cannot(self, action: impl Display) -> Result<T> {
        self.map_err(|error| match (error.code(), error.message()) {
            (Some(code), message) => anyhow!("cannot {action}: {code}: {}", message.unwrap_or_default()),
            (None, _) => anyhow!(
                "cannot {action}: {}\nhelp: check the credentials, the region and the connection",
                with_causes(&error)
            ),
        })
    }

    fn unless(self, codes: &[&str], action: impl Display) -> Result<Option<T>> {
        match self {
            Err(error) if error.code().is_some_and(|code| codes.contains(&code)) => Ok(None),
            other => other.or_cannot(action).map(Some),
        }
    }
}

/// An error with its causes.
fn with_causes(error: &dyn std::error::Error) -> String {
    let chain = std::iter::successors(Some(error), |error| error.source());
    chain.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

impl Installation {
    pub(super) async fn find(target: &Target) -> Result<Self> {
        let mut loader = aws_config::defaults(BehaviorVersion::latest());
        if let Some(profile) = &target.profile {
            // As with the AWS CLI, a profile that is named counts more than credentials in the environment.
            let credentials = ProfileFileCredentialsProvider::builder().profile_name(profile).build();
            loader = loader.profile_name(profile).credentials_provider(credentials);
        }
        if let Some(region) = &target.region {
            loader = loader.region(Region::new(region.clone()));
        }
        if let Some(url) = &target.endpoint_url {
            loader = loader.endpoint_url(url);
        }
        let config = loader.load().await;
        let region =
            config.region().context("no region is configured\nhelp: pass --region or set AWS_REGION")?;
        let identity = aws_sdk_sts::Client::new(&config).get_caller_identity().send().await;
        let identity = identity.or_cannot("identify the account")?;
        let account = identity.account().context("cannot identify the account: the answer has no account")?;
        let caller = identity.arn().context("cannot identify the caller: the answer has no ARN")?;
        // `arn:PARTITION:sts::ACCOUNT:…`
        let partition = caller.split(':').nth(1);
        let partition = partition.context("cannot identify the partition: the ARN has none")?;
        let bucket = target.bucket.clone().or_else(|| std::env::var("STACKDROP_BUCKET").ok());
        // A simulated account has no host name for each bucket.
        let by_path = config.endpoint_url().is_some();
        let s3 = aws_sdk_s3::config::Builder::from(&config).force_path_style(by_path).build();
        Ok(Self {
            s3: aws_sdk_s3::Client::from_conf(s3),
            sfn: aws_sdk_sfn::Client::new(&config),
            logs: aws_sdk_cloudwatchlogs::Client::new(&config),
            bucket: bucket.unwrap_or_else(|| format!("stackdrop-{account}-{region}")),
            caller: caller.to_owned(),
            place: format!("account {account}, region {region}"),
            machine: format!("arn:{partition}:states:{region}:{account}:stateMachine:{MACHINE}"),
        })
    }

    /// The error if the bucket does not exist.
    fn not_installed(&self) -> anyhow::Error {
        anyhow!(
            "cannot find Stackdrop: the bucket {} does not exist\n\
             help: install Stackdrop in this account and region, or name its bucket with --bucket or STACKDROP_BUCKET",
            self.bucket
        )
    }

    /// A record, if it exists.
    pub(super) async fn read<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>> {
        let answer = self.s3.get_object().bucket(&self.bucket).key(key).send().await;
        if answer.as_ref().is_err_and(|error| error.code() == Some("NoSuchBucket")) {
            return Err(self.not_installed());
        }
        let Some(answer) = answer.unless(&["NoSuchKey"], format!("read {key}"))? else { return Ok(None) };
        let bytes = answer.body.collect().await.with_context(|| format!("cannot read {key}"))?;
        let record = serde_json::from_slice(&bytes.into_bytes());
        record.map(Some).map_err(|error| {
            anyhow!(
                "cannot parse s3://{}/{key}: {error}\n\
                 help: use the version of this command that matches the installation",
                self.bucket
            )
        })
    }

    /// A version of a spec, if it exists, the person may read it, and it is not too long for a spec.
    pub(super) async fn read_spec(&self, key: &str, version: &str) -> Result<Option<Vec<u8>>> {
        let call = self.s3.get_object().bucket(&self.bucket).key(key).version_id(version);
        let absent = ["NoSuchKey", "NoSuchVersion", "AccessDenied"];
        let answer = call.send().await.unless(&absent, format!("read {key}"))?;
        let longest = i64::try_from(stackdrop_specs::LONGEST_SPEC).unwrap_or(i64::MAX);
        let answer = answer.filter(|answer| answer.content_length().is_none_or(|length| length <= longest));
        let Some(answer) = answer else { return Ok(None) };
        let bytes = answer.body.collect().await.with_context(|| format!("cannot read {key}"))?;
        Ok(Some(bytes.to_vec()))
    }

    /// Uploads an object and returns its version.
    pub(super) async fn upload(
        &self,
        key: &str,
        text: &str,
        metadata: HashMap<String, String>,
    ) -> Result<String> {
        let put = self.s3.put_object().bucket(&self.bucket).key(key).body(text.as_bytes().to_vec().into());
        let put = put.set_metadata(Some(metadata).filter(|metadata| !metadata.is_empty()));
        let answer = put.send().await;
        if answer.as_ref().is_err_and(|error| error.code() == Some("NoSuchBucket")) {
            return Err(self.not_installed());
        }
        let answer = answer.or_cannot(format!("upload s3://{}/{key}", self.bucket))?;
        let version = answer.version_id().filter(|version| *version != "null");
        version.map(str::to_owned).with_context(|| {
            format!(
                "cannot deploy {key}: the bucket {} is not versioned\n\
                 help: enable versioning, as template.yaml does",
                self.bucket
            )
        })
    }

    /// Starts an execution with a manual request.
    pub(super) async fn start(&self, request: &Value) -> Result<String> {
        let start = self.sfn.start_execution().state_machine_arn(&self.machine).input(request.to_string());
        Ok(start.send().await.or_cannot("start the execution")?.execution_arn)
    }

    /// The execution that EventBridge started for this version of an object: its input names the version. `None` if none has
    /// started in time.
    pub(super) async fn execution_of(&self, key: &str, version: &str) -> Result<Option<String>> {
        let mut others = BTreeSet::new();
        let search = async {
            loop {
                let list = self.sfn.list_executions().state_machine_arn(&self.machine);
                let list =
                    list.max_results(RECENT_EXECUTIONS).send().await.or_cannot("list the executions")?;
                for execution in list.executions {
                    let arn = execution.execution_arn;
                    if !others.contains(&arn) {
                        let described = self.sfn.describe_execution().execution_arn(&arn).send().await;
                        let input = described.or_cannot("describe an execution")?.input.unwrap_or_default();
                        if is_upload_of(&input, key, version) {
                            return Ok(arn);
                        }
                        others.insert(arn);
                    }
                }
                pause(START_POLL_INTERVAL).await;
            }
        };
        // No answer in time means that no execution has started.
        tokio::time::timeout(START_TIMEOUT, search).await.map_or(Ok(None), |found| found.map(Some))
    }
}

/// Whether an execution's input is the event of this version's upload.
fn is_upload_of(input: &str, key: &str, version: &str) -> bool {
    let event: Value = serde_json::from_str(input).unwrap_or_default();
    let object = &event["detail"]["object"];
    object["key"] == key && object["version-id"] == version
}
