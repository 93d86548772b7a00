//! The clients of every service, and where Stackdrop is installed.

use aws_config::SdkConfig;
use aws_config::retry::RetryConfig;
use aws_smithy_async::time::SharedTimeSource;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::error::StepError;

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
        let account = state_machine.split(':').nth(4).unwrap_or_default().to_owned();
        Ok(Self {
            bucket: read("STACKDROP_BUCKET")?,
            state_machine,
            topic: read("STACKDROP_TOPIC")?,
            schedule_group: read("STACKDROP_SCHEDULE_GROUP")?,
            schedule_role: read("STACKDROP_SCHEDULE_ROLE")?,
            region: read("AWS_REGION")?,
            account,
        })
    }
}

/// The clients of every service. Cheap to make and to clone: they share one HTTP client.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "each is the client of the service that it is named after")]
pub struct Aws {
    pub acm: aws_sdk_acm::Client,
    pub autoscaling: aws_sdk_applicationautoscaling::Client,
    pub ec2: aws_sdk_ec2::Client,
    pub ecr: aws_sdk_ecr::Client,
    pub ecs: aws_sdk_ecs::Client,
    pub elb: aws_sdk_elasticloadbalancingv2::Client,
    pub events: aws_sdk_eventbridge::Client,
    pub iam: aws_sdk_iam::Client,
    pub logs: aws_sdk_cloudwatchlogs::Client,
    pub quotas: aws_sdk_servicequotas::Client,
    pub rds: aws_sdk_rds::Client,
    pub route53: aws_sdk_route53::Client,
    pub s3: aws_sdk_s3::Client,
    pub scheduler: aws_sdk_scheduler::Client,
    pub secrets: aws_sdk_secretsmanager::Client,
    pub sfn: aws_sdk_sfn::Client,
    pub sns: aws_sdk_sns::Client,
    pub ssm: aws_sdk_ssm::Client,
    /// Where Stackdrop is installed.
    pub settings: Settings,
    time: SharedTimeSource,
}

impl Aws {
    /// Clients of one configuration.
    #[must_use]
    pub fn new(config: &SdkConfig, settings: Settings) -> Self {
        Self {
            acm: aws_sdk_acm::Client::new(config),
            autoscaling: aws_sdk_applicationautoscaling::Client::new(config),
            ec2: aws_sdk_ec2::Client::new(config),
            ecr: aws_sdk_ecr::Client::new(config),
            ecs: aws_sdk_ecs::Client::new(config),
            elb: aws_sdk_elasticloadbalancingv2::Client::new(config),
            events: aws_sdk_eventbridge::Client::new(config),
            iam: aws_sdk_iam::Client::new(config),
            logs: aws_sdk_cloudwatchlogs::Client::new(config),
            quotas: aws_sdk_servicequotas::Client::new(config),
            rds: aws_sdk_rds::Client::new(config),
            route53: aws_sdk_route53::Client::new(config),
            s3: aws_sdk_s3::Client::new(config),
            scheduler: aws_sdk_scheduler::Client::new(config),
            secrets: aws_sdk_secretsmanager::Client::new(config),
            sfn: aws_sdk_sfn::Client::new(config),
            sns: aws_sdk_sns::Client::new(config),
            ssm: aws_sdk_ssm::Client::new(config),
            settings,
            time: config.time_source().unwrap_or_default(),
        }
    }

    /// Now, by the clock that the clients use.
    pub(crate) fn clock(&self) -> std::time::SystemTime {
        self.time.now()
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

/// For a create call that has no client token: the SDK must not repeat it by itself, since a lost answer may have
/// taken effect. It becomes `Transient`, and the next attempt looks first.
pub(crate) fn once() -> RetryConfig {
    RetryConfig::disabled()
}
