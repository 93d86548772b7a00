//! The parts of an installation, read from the template's resources.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use stackdrop_simulator::PolicySeed;

use super::pattern::Pattern;
use super::scope::{self, Scope};

/// The bucket of specs and records.
#[derive(Debug, Clone, PartialEq)]
pub struct Bucket {
    /// Its name.
    pub name: String,
    /// Whether it sends the events of its objects to EventBridge.
    pub sends_events: bool,
    /// Its enabled lifecycle rules.
    pub expiries: Vec<Expiry>,
}

/// A lifecycle rule that deletes noncurrent versions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expiry {
    /// The prefix of the keys.
    pub prefix: String,
    /// After how many days a noncurrent version is deleted.
    pub days: u64,
}

impl Bucket {
    pub(super) fn read(scope: &Scope<'_>, id: &str) -> Result<Self> {
        let properties = scope.properties(id)?;
        let rules = properties["LifecycleConfiguration"]["Rules"].as_array();
        let in_force = rules.into_iter().flatten().filter(|rule| rule["Status"] == "Enabled");
        let expiries = in_force.filter_map(|rule| {
            let days = rule["NoncurrentVersionExpiration"]["NoncurrentDays"].as_u64()?;
            Some(Expiry { prefix: rule["Prefix"].as_str().unwrap_or_default().into(), days })
        });
        let switch = &properties["NotificationConfiguration"]["EventBridgeConfiguration"];
        // An empty configuration turns events on (CloudFormation reference, `EventBridgeConfiguration`).
        let on = switch.get("EventBridgeEnabled").map_or(switch.is_object(), |on| on == true);
        Ok(Self { name: scope.name(id)?, sends_events: on, expiries: expiries.collect() })
    }
}

/// A Lambda function.
#[derive(Debug, Clone, PartialEq)]
pub struct Function {
    /// Its physical name.
    pub name: String,
    /// The ARN of the version that the workflow invokes.
    pub version: String,
    /// The program that it runs: one of `functions/src/bin`.
    pub program: String,
    /// The ARN of its role.
    pub role: String,
    /// The name of its log group.
    pub log_group: String,
    /// Its environment variables.
    pub environment: BTreeMap<String, String>,
}

impl Function {
    pub(super) fn read(scope: &Scope<'_>, id: &str) -> Result<Self> {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Properties {
            role: String,
            #[serde(default)]
            logging_config: LoggingConfig,
            environment: Environment,
        }
        #[derive(Deserialize, Default)]
        #[serde(rename_all = "PascalCase")]
        struct LoggingConfig {
            log_group: Option<String>,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Environment {
            variables: BTreeMap<String, Value>,
        }
        let Properties { role, logging_config, environment } = read(scope, id)?;
        // CloudFormation writes numbers as texts.
        let variables = environment.variables.into_iter().map(|(name, value)| {
            let value = scope::text(&value).with_context(|| format!("{id}: {name} is not a text"))?;
            Ok((name, value))
        });
        let name = scope.name(id)?;
        let program = &scope.resource(id)?["Metadata"]["BuildProperties"]["Binary"];
        Ok(Self {
            version: scope.reference(&format!("{id}.Version"))?,
            program: program
                .as_str()
                .with_context(|| format!("{id} has no Metadata.BuildProperties.Binary"))?
                .into(),
            role,
            // Lambda's default.
            log_group: logging_config.log_group.unwrap_or_else(|| format!("/aws/lambda/{name}")),
            environment: variables.collect::<Result<_>>()?,
            name,
        })
    }
}

/// The workflow.
#[derive(Debug, Clone, PartialEq)]
pub struct Workflow {
    /// Its ARN.
    pub arn: String,
    /// `STANDARD` or `EXPRESS`.
    pub kind: String,
    /// The ARN of its role.
    pub role: String,
    /// The level of its log: `OFF`, `ERROR`, `FATAL` or `ALL`.
    pub log_level: String,
    /// Whether the log has the inputs and outputs of states.
    pub logs_data: bool,
    /// The ARNs of its log groups.
    pub log_groups: Vec<String>,
    /// Whether X-Ray traces executions.
    pub traced: bool,
    /// The substitutions for `${…}` in the workflow file: the ARNs of function versions.
    pub substitutions: BTreeMap<String, String>,
}

impl Workflow {
    pub(super) fn read(scope: &Scope<'_>, id: &str) -> Result<Self> {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase", deny_unknown_fields)]
        #[expect(dead_code, reason = "known properties that are not used here")]
        struct Properties {
            name: Option<String>,
            r#type: Option<String>,
            definition_uri: String,
            definition_substitutions: BTreeMap<String, String>,
            role: String,
            #[serde(default)]
            tracing: Tracing,
            #[serde(default)]
            logging: Logging,
        }
        #[derive(Deserialize, Default)]
        #[serde(rename_all = "PascalCase")]
        struct Tracing {
            enabled: bool,
        }
        #[derive(Deserialize, Default)]
        #[serde(rename_all = "PascalCase", deny_unknown_fields)]
        struct Logging {
            level: Option<String>,
            #[serde(default)]
            include_execution_data: bool,
            #[serde(default)]
            destinations: Vec<Destination>,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase", deny_unknown_fields)]
        struct Destination {
            cloud_watch_logs_log_group: LogGroup,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase", deny_unknown_fields)]
        struct LogGroup {
            log_group_arn: String,
        }
        let Properties { r#type, definition_substitutions, role, tracing, logging, .. } = read(scope, id)?;
        let groups = logging.destinations.into_iter();
        Ok(Self {
            arn: scope.arn(id)?,
            kind: r#type.unwrap_or_else(|| "STANDARD".into()),
            role,
            log_level: logging.level.unwrap_or_else(|| "OFF".into()),
            logs_data: logging.include_execution_data,
            log_groups: groups.map(|it| it.cloud_watch_logs_log_group.log_group_arn).collect(),
            traced: tracing.enabled,
            substitutions: definition_substitutions,
        })
    }
}

/// A rule of EventBridge on the default bus.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct Rule {
    /// Its logical ID.
    #[serde(skip)]
    pub id: String,
    /// Its ARN.
    #[serde(skip)]
    pub arn: String,
    /// Its description.
    #[serde(default)]
    pub description: String,
    /// The events that it matches.
    pub event_pattern: Pattern,
    /// Where it sends them.
    pub targets: Vec<Target>,
    /// `ENABLED` or `DISABLED`.
    #[serde(default)]
    pub state: Option<String>,
}

/// The target of a rule.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct Target {
    /// Its ID in the rule.
    pub id: String,
    /// Its ARN.
    pub arn: String,
    /// The ARN of the role with which EventBridge starts it.
    pub role_arn: Option<String>,
    /// Where events go that cannot be delivered.
    pub dead_letter_config: Option<DeadLetters>,
    /// How often delivery is retried.
    pub retry_policy: Option<Value>,
}

/// Where events go that cannot be delivered.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct DeadLetters {
    /// The ARN of a queue.
    pub arn: String,
}

/// A role.
#[derive(Debug, Clone, PartialEq)]
pub struct Role {
    /// Its ARN, with its path.
    pub arn: String,
    /// Who may assume it.
    pub trust: Value,
    /// Its inline policies, by name.
    pub policies: Vec<(String, Value)>,
    /// The ARNs of its managed policies.
    pub attached: Vec<String>,
    /// The ARN of its permissions boundary.
    pub boundary: Option<String>,
}

impl Role {
    pub(super) fn read(scope: &Scope<'_>, id: &str) -> Result<Self> {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase", deny_unknown_fields)]
        #[expect(dead_code, reason = "known properties that are not used here")]
        struct Properties {
            role_name: Option<String>,
            description: Option<String>,
            path: Option<String>,
            assume_role_policy_document: Value,
            #[serde(default)]
            policies: Vec<Inline>,
            #[serde(default)]
            managed_policy_arns: Vec<String>,
            permissions_boundary: Option<String>,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase", deny_unknown_fields)]
        struct Inline {
            policy_name: String,
            policy_document: Value,
        }
        let Properties {
            assume_role_policy_document,
            policies,
            managed_policy_arns,
            permissions_boundary,
            ..
        } = read(scope, id)?;
        Ok(Self {
            arn: scope.arn(id)?,
            trust: assume_role_policy_document,
            policies: policies.into_iter().map(|it| (it.policy_name, it.policy_document)).collect(),
            attached: managed_policy_arns,
            boundary: permissions_boundary,
        })
    }

    /// The role, to create in an account.
    #[must_use]
    pub fn seed(&self) -> PolicySeed {
        PolicySeed::Role {
            arn: self.arn.clone(),
            trust: self.trust.clone(),
            policies: self.policies.clone(),
            attached: self.attached.clone(),
            boundary: self.boundary.clone(),
        }
    }
}

/// The properties of a resource, read into a type.
pub(super) fn read<T: DeserializeOwned>(scope: &Scope<'_>, id: &str) -> Result<T> {
    serde_json::from_value(scope.properties(id)?).with_context(|| format!("in {id}"))
}

/// The resource policies, by the ARNs of their resources.
pub(super) fn resource_policies(scope: &Scope<'_>) -> Result<BTreeMap<String, Value>> {
    let mut policies = BTreeMap::new();
    let mut add = |arn: String, document: &Value| match policies.insert(arn.clone(), document.clone()) {
        None => Ok(()),
        Some(_) => bail!("{arn} has two policies"),
    };
    for id in scope.resources("AWS::KMS::Key")? {
        add(scope.arn(id)?, &scope.properties(id)?["KeyPolicy"])?;
    }
    for (kind, of) in [
        ("AWS::S3::BucketPolicy", "Bucket"),
        ("AWS::SNS::TopicPolicy", "Topics"),
        ("AWS::SQS::QueuePolicy", "Queues"),
    ] {
        for id in scope.resources(kind)? {
            let properties = scope.properties(id)?;
            let named = &properties[of];
            let named = named.as_array().map_or(std::slice::from_ref(named), Vec::as_slice);
            for resource in named {
                add(policy_owner(resource)?, &properties["PolicyDocument"])?;
            }
        }
    }
    Ok(policies)
}

/// The ARN of a bucket, topic or queue, from its name, ARN or URL.
fn policy_owner(resource: &Value) -> Result<String> {
    let resource = resource.as_str().context("a policy does not name its resource")?;
    let queue = resource.strip_prefix("https://sqs.").and_then(|rest| {
        let (region, rest) = rest.split_once(".amazonaws.com/")?;
        let (account, name) = rest.split_once('/')?;
        Some(format!("arn:aws:sqs:{region}:{account}:{name}"))
    });
    Ok(match queue {
        Some(queue) => queue,
        None if resource.starts_with("arn:") => resource.into(),
        None => format!("arn:aws:s3:::{resource}"),
    })
}
