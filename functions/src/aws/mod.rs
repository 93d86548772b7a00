//! The clients of every AWS service, and the settings of this installation.

pub mod aws_error;
pub(crate) mod denied;
pub mod error;
pub(crate) mod join;
pub mod rules;

use std::sync::OnceLock;

use aws_config::SdkConfig;
use aws_config::retry::RetryConfig;
use aws_smithy_runtime_api::client::interceptors::context::InterceptorContext;
use aws_smithy_runtime_api::client::retries::classifiers::{ClassifyRetry, RetryAction};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::aws::error::StepError;
use crate::aws::rules::Rules;

/// The settings of this installation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// The bucket of specs and records.
    pub bucket: String,
    /// The ARN of the state machine `deploy`.
    pub state_machine: String,
    /// The ARN of the SNS topic for announcements.
    pub topic: String,
    /// The EventBridge Scheduler group that contains the stacks' schedules.
    pub schedule_group: String,
    /// The ARN of the role with which EventBridge Scheduler starts executions.
    pub schedule_role: String,
    /// The region.
    pub region: String,
    /// The account's ID.
    pub account: String,
    /// The account's partition, the second field of every ARN: for example `aws` or `aws-us-gov`.
    pub partition: String,
    /// What the installation's administrator allows stacks.
    pub rules: Rules,
    /// The version of the functions.
    pub version: String,
}

impl Settings {
    /// Reads the settings from the environment variables that the template sets for every function.
    ///
    /// # Errors
    /// `Defect` with the name of the missing environment variable.
    pub fn from_env() -> Result<Self, StepError> {
        Self::from_variables(|name| std::env::var(name).ok())
    }

    /// Reads the settings from the values of these variables.
    ///
    /// # Errors
    /// `Defect` with the name of a variable that is missing or wrong.
    pub fn from_variables(value: impl Fn(&str) -> Option<String>) -> Result<Self, StepError> {
        let read = |name: &str| {
            let value = value(name);
            value.ok_or_else(|| StepError::Defect(format!("the environment variable {name} is not set")))
        };
        let state_machine = read("STACKDROP_STATE_MACHINE")?;
        let field = |number| state_machine.split(':').nth(number).unwrap_or_default().to_owned();
        let (partition, account) = (field(1), field(4));
        Ok(Self {
            bucket: read("STACKDROP_BUCKET")?,
            state_machine,
            topic: read("STACKDROP_TOPIC")?,
            schedule_group: read("STACKDROP_SCHEDULE_GROUP")?,
            schedule_role: read("STACKDROP_SCHEDULE_ROLE")?,
            region: read("AWS_REGION")?,
            account,
            partition,
            rules: Rules::read(read)?,
            version: crate::VERSION.into(),
        })
    }

    /// The ARN of a service's resource in this account and region.
    pub(crate) fn arn(&self, service: &str, resource: &str) -> String {
        let Self { partition, region, account, .. } = self;
        format!("arn:{partition}:{service}:{region}:{account}:{resource}")
    }
}

/// Defines [`Aws`]: one client for each service, created on first use.
macro_rules! clients {
    ($($name:ident: $sdk:ident,)+) => {
        /// The clients of every service. They share one HTTP client.
        ///
        /// A client is created on first use: creating one takes time, and a program that never uses a client does not
        /// link it.
        #[derive(Debug, Clone)]
        pub struct Aws {
            config: SdkConfig,
            /// The settings of this installation.
            pub settings: Settings,
            $($name: OnceLock<$sdk::Client>,)+
        }

        impl Aws {
            /// Clients that share one configuration.
            #[must_use]
            pub fn new(config: SdkConfig, settings: Settings) -> Self {
                Self { config, settings, $($name: OnceLock::new(),)+ }
            }

            $(
                #[doc = concat!("The client of [`", stringify!($sdk), "`].")]
                pub fn $name(&self) -> &$sdk::Client {
                    self.$name.get_or_init(|| {
                        let config = $sdk::config::Builder::from(&self.config).retry_classifier(LostResponses);
                        $sdk::Client::from_conf(config.build())
                    })
                }
            )+
        }
    };
}

clients! {
    acm: aws_sdk_acm,
    autoscaling: aws_sdk_applicationautoscaling,
    ec2: aws_sdk_ec2,
    ecr: aws_sdk_ecr,
    ecs: aws_sdk_ecs,
    elb: aws_sdk_elasticloadbalancingv2,
    events: aws_sdk_eventbridge,
    iam: aws_sdk_iam,
    logs: aws_sdk_cloudwatchlogs,
    quotas: aws_sdk_servicequotas,
    rds: aws_sdk_rds,
    route53: aws_sdk_route53,
    s3: aws_sdk_s3,
    scheduler: aws_sdk_scheduler,
    secrets: aws_sdk_secretsmanager,
    sfn: aws_sdk_sfn,
    sns: aws_sdk_sns,
    ssm: aws_sdk_ssm,
    waf: aws_sdk_wafv2,
}

impl Aws {
    /// The current time, by the clock of the clients.
    pub(crate) fn clock(&self) -> std::time::SystemTime {
        self.config.time_source().unwrap_or_default().now()
    }

    /// The current time in seconds since 1970, by the clock of the clients.
    pub(crate) fn now_seconds(&self) -> i64 {
        let since = self.clock().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
    }

    /// The current time as RFC 3339 text in UTC with whole seconds, by the clock of the clients.
    pub(crate) fn now(&self) -> String {
        rfc3339(self.clock())
    }
}

/// A time as RFC 3339 text in UTC with whole seconds.
pub(crate) fn rfc3339(moment: std::time::SystemTime) -> String {
    let moment = OffsetDateTime::from(moment);
    moment.replace_nanosecond(0).unwrap_or(moment).format(&Rfc3339).unwrap_or_default()
}

/// `None` for an empty list, which some calls reject.
pub(crate) fn unless_empty(ids: Vec<String>) -> Option<Vec<String>> {
    Some(ids).filter(|ids| !ids.is_empty())
}

/// Lets the SDK retry only calls that AWS rejected, such as throttled ones, and never a call whose response was lost: it
/// may have taken effect. A repeated delete call would name a resource that no longer exists, and IAM, which finds no
/// tag on it, may deny the call. The call ends as `Transient`, and the next attempt of the step reads the state first.
#[derive(Debug)]
struct LostResponses;

impl ClassifyRetry for LostResponses {
    fn classify_retry(&self, context: &InterceptorContext) -> RetryAction {
        let is_lost = match context.output_or_error() {
            Some(Err(error)) => {
                error.is_connector_error() || error.is_timeout_error() || error.is_response_error()
            }
            Some(Ok(_)) | None => false,
        };
        if is_lost { RetryAction::RetryForbidden } else { RetryAction::NoActionIndicated }
    }

    fn name(&self) -> &'static str {
        "lost responses"
    }
}

/// For create calls without a client token: the SDK must not retry them, not even after a server error, because the call
/// may have taken effect ([`LostResponses`] has the rule for all calls). The next attempt of the step reads the state first.
pub(crate) fn no_retries() -> RetryConfig {
    RetryConfig::disabled()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_read_from_the_variables_and_account_and_partition_from_the_workflows_arn() {
        let machine = "arn:aws-us-gov:states:us-gov-west-1:123456789012:stateMachine:stackdrop-deploy";
        let value = |name: &str| match name {
            "STACKDROP_BUCKET" => Some("specs".to_owned()),
            "STACKDROP_STATE_MACHINE" => Some(machine.to_owned()),
            "STACKDROP_TOPIC" => Some("arn:topic".to_owned()),
            "STACKDROP_SCHEDULE_GROUP" => Some("stackdrop".to_owned()),
            "STACKDROP_SCHEDULE_ROLE" => Some("arn:role".to_owned()),
            "AWS_REGION" => Some("us-gov-west-1".to_owned()),
            "STACKDROP_MAX_MONTHLY_USD" => Some("7".to_owned()),
            "STACKDROP_MAX_TASKS" | "STACKDROP_MAX_STORAGE_GIB" | "STACKDROP_MAX_VCPUS" => {
                Some("9".to_owned())
            }
            "STACKDROP_CHANGES_AFTER_UPDATE" => Some("report".to_owned()),
            name => name.starts_with("STACKDROP_").then(String::new),
        };
        let settings = Settings::from_variables(value).unwrap();
        let expected = Settings {
            bucket: "specs".into(),
            state_machine: machine.into(),
            topic: "arn:topic".into(),
            schedule_group: "stackdrop".into(),
            schedule_role: "arn:role".into(),
            region: "us-gov-west-1".into(),
            account: "123456789012".into(),
            partition: "aws-us-gov".into(),
            rules: Rules {
                max_monthly_usd: 7,
                max_tasks: 9,
                max_storage_gib: 9,
                max_vcpus: 9,
                ..Rules::default()
            },
            version: crate::VERSION.into(),
        };
        assert_eq!(settings, expected);
        assert_eq!(settings.arn("rds", "db:shop"), "arn:aws-us-gov:rds:us-gov-west-1:123456789012:db:shop");
        for missing in ["AWS_REGION", "STACKDROP_HOSTED_ZONES"] {
            let without = |name: &str| if name == missing { None } else { value(name) };
            let error = Settings::from_variables(without).unwrap_err().to_string();
            assert!(error.starts_with(&format!("the environment variable {missing} is not set")), "{error}");
        }
    }
}
