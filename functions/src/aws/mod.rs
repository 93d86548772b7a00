//! The clients of every service, and where Stackdrop is installed.

pub(crate) mod denied;
pub mod error;
pub(crate) mod join;

use std::sync::OnceLock;

use aws_config::SdkConfig;
use aws_config::retry::RetryConfig;
use aws_smithy_runtime_api::client::interceptors::context::InterceptorContext;
use aws_smithy_runtime_api::client::retries::classifiers::{ClassifyRetry, RetryAction};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::aws::error::StepError;

/// Where this installation keeps things, and who it acts as.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// The bucket of specs and records.
    pub bucket: String,
    /// The ARN of the state machine `deploy`.
    pub state_machine: String,
    /// The ARN of the topic that announcements go to.
    pub topic: String,
    /// The EventBridge Scheduler group of the stacks' schedules.
    pub schedule_group: String,
    /// The ARN of the role that the scheduler starts executions with.
    pub schedule_role: String,
    /// The region.
    pub region: String,
    /// The account's number.
    pub account: String,
    /// The partition that the account is in, the second field of every ARN: `aws`, or such as `aws-us-gov`.
    pub partition: String,
}

impl Settings {
    /// The settings that the template hands to every function.
    ///
    /// # Errors
    /// `Defect` naming the environment variable that is missing.
    pub fn from_env() -> Result<Self, StepError> {
        let read = |name: &str| {
            std::env::var(name)
                .map_err(|_| StepError::Defect(format!("the environment variable {name} is not set")))
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
        })
    }

    /// The ARN of something of a service in this account and region.
    pub(crate) fn arn(&self, service: &str, resource: &str) -> String {
        let Self { partition, region, account, .. } = self;
        format!("arn:{partition}:{service}:{region}:{account}:{resource}")
    }
}

/// Defines [`Aws`]: a client for each service, made when it is first asked for.
macro_rules! clients {
    ($($name:ident: $sdk:ident,)+) => {
        /// The clients of every service. They share one HTTP client.
        ///
        /// A client is made when it is first asked for: making one takes time, and a program that never asks for it is
        /// not linked with it.
        #[derive(Debug, Clone)]
        pub struct Aws {
            config: SdkConfig,
            /// Where Stackdrop is installed.
            pub settings: Settings,
            $($name: OnceLock<$sdk::Client>,)+
        }

        impl Aws {
            /// Clients of one configuration.
            #[must_use]
            pub fn new(config: SdkConfig, settings: Settings) -> Self {
                Self { config, settings, $($name: OnceLock::new(),)+ }
            }

            $(
                #[doc = concat!("The client of [`", stringify!($sdk), "`].")]
                pub fn $name(&self) -> &$sdk::Client {
                    self.$name.get_or_init(|| {
                        let config = $sdk::config::Builder::from(&self.config).retry_classifier(LostAnswers);
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
}

impl Aws {
    /// Now, by the clock that the clients use.
    pub(crate) fn clock(&self) -> std::time::SystemTime {
        self.config.time_source().unwrap_or_default().now()
    }

    /// Now, as RFC 3339 text in UTC with whole seconds, by the clock that the clients use.
    pub(crate) fn now(&self) -> String {
        shown(self.clock())
    }
}

/// A moment as RFC 3339 text in UTC with whole seconds.
pub(crate) fn shown(moment: std::time::SystemTime) -> String {
    let moment = OffsetDateTime::from(moment);
    moment.replace_nanosecond(0).unwrap_or(moment).format(&Rfc3339).unwrap_or_default()
}

/// A list for a call that takes none rather than an empty one.
pub(crate) fn unless_empty(ids: Vec<String>) -> Option<Vec<String>> {
    Some(ids).filter(|ids| !ids.is_empty())
}

/// Has the SDK repeat only what AWS has refused, such as a throttled call, never a call whose answer was lost: it may have
/// taken effect. Then a repeated deletion names what is gone, and IAM, which finds no tag there, may deny it. The call
/// ends as `Transient`, and the next attempt of the step looks first.
#[derive(Debug)]
struct LostAnswers;

impl ClassifyRetry for LostAnswers {
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
        "lost answers"
    }
}

/// For a create call that has no client token: the SDK must not repeat it by itself, not even after a server error, which
/// may have taken effect too ([`LostAnswers`] has the rule for all calls). The next attempt of the step looks first.
pub(crate) fn once() -> RetryConfig {
    RetryConfig::disabled()
}
