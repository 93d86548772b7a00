//! An installation: `template.yaml`, resolved as CloudFormation does, for one account, region and stack.
//!
//! Rehearsals run in it. It decides which roles may start executions, which events start a deployment, and where events
//! go that cannot. A part of the template that cannot be resolved, or is not supported, is an error.

mod alarm;
mod names;
mod order;
mod parts;
mod pattern;
mod scope;
mod template;

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use serde_json::Value;
use stackdrop_functions::Settings;
use stackdrop_simulator::PolicySeed;

pub use alarm::{Alarm, Comparison, Dimension, Metric, Missing, Statistic};
pub use parts::{Bucket, DeadLetters, Expiry, Function, Role, Rule, Target, Workflow};
pub use pattern::Pattern;
pub use scope::Place;
use scope::Scope;
pub use template::{TEMPLATE, Template};

/// A resolved template.
#[derive(Debug, Clone)]
pub struct Installation {
    /// The settings of the functions.
    pub settings: Settings,
    /// The bucket of specs and records.
    pub bucket: Bucket,
    /// The workflow.
    pub workflow: Workflow,
    /// The functions, by their names in the workflow file, such as `SecurityGroups`.
    pub functions: BTreeMap<String, Function>,
    /// The roles, by logical ID.
    pub roles: BTreeMap<String, Role>,
    /// The rules that start executions.
    pub rules: Vec<Rule>,
    /// The alarms.
    pub alarms: Vec<Alarm>,
    /// The resource policies, by the ARNs of their resources.
    pub resource_policies: BTreeMap<String, Value>,
    /// The ARN of each topic's encryption key, by the topic's ARN.
    pub topic_keys: BTreeMap<String, Option<String>>,
    /// How many days each queue keeps messages, by its ARN.
    pub queues: BTreeMap<String, u64>,
    /// The names of the schedule groups.
    pub schedule_groups: Vec<String>,
}

impl Installation {
    /// Resolves a template.
    ///
    /// # Errors
    /// If a part of the template cannot be resolved or is not supported.
    pub fn of(template: &Template, place: Place<'_>) -> Result<Self> {
        let scope = Scope::new(template, place)?;
        let workflow = Workflow::read(&scope, only(&scope, "AWS::Serverless::StateMachine")?)?;
        let functions = functions(&scope, &workflow)?;
        let settings = settings(&place, &functions)?;
        let roles = scope.resources("AWS::IAM::Role")?.into_iter();
        Ok(Self {
            settings,
            bucket: Bucket::read(&scope, only(&scope, "AWS::S3::Bucket")?)?,
            workflow,
            functions,
            roles: roles.map(|id| Ok((id.to_owned(), Role::read(&scope, id)?))).collect::<Result<_>>()?,
            rules: rules(&scope)?,
            alarms: alarms(&scope)?,
            resource_policies: parts::resource_policies(&scope)?,
            topic_keys: topic_keys(&scope)?,
            queues: queues(&scope)?,
            schedule_groups: schedule_groups(&scope)?,
        })
    }

    /// The roles and policies, to create in an account.
    pub fn policies(&self) -> impl Iterator<Item = PolicySeed> {
        let of_resources = self.resource_policies.iter().map(|(arn, document)| PolicySeed::ResourcePolicy {
            arn: arn.clone(),
            document: document.clone(),
        });
        self.roles.values().map(Role::seed).chain(of_resources)
    }
}

/// The only resource of a type.
fn only<'t>(scope: &Scope<'t>, kind: &str) -> Result<&'t str> {
    match scope.resources(kind)?.as_slice() {
        [id] => Ok(id),
        found => bail!("expected one {kind}, found {}", found.len()),
    }
}

/// The functions that the workflow invokes.
fn functions(scope: &Scope<'_>, workflow: &Workflow) -> Result<BTreeMap<String, Function>> {
    let ids = scope.resources("AWS::Serverless::Function")?.into_iter();
    let all = ids.map(|id| Function::read(scope, id)).collect::<Result<Vec<_>>>()?;
    let substitutions = workflow.substitutions.iter();
    let invoked = substitutions.map(|(name, version)| {
        let function = all.iter().find(|function| function.version == *version);
        let function =
            function.with_context(|| format!("the workflow's {name} is not a function: {version}"))?;
        Ok((name.clone(), function.clone()))
    });
    invoked.collect()
}

/// The settings in the functions' environment, which is the same for all.
fn settings(place: &Place<'_>, functions: &BTreeMap<String, Function>) -> Result<Settings> {
    let mut environments = functions.values().map(|function| &function.environment);
    let environment = environments.next().context("the template has no functions")?;
    if environments.any(|other| other != environment) {
        bail!("the functions have different environments");
    }
    let value = |name: &str| match name {
        "AWS_REGION" => Some(place.region.to_owned()),
        _ => environment.get(name).cloned(),
    };
    Ok(Settings::from_variables(value)?)
}

fn rules(scope: &Scope<'_>) -> Result<Vec<Rule>> {
    let ids = scope.resources("AWS::Events::Rule")?.into_iter();
    ids.map(|id| Ok(Rule { id: id.into(), arn: scope.arn(id)?, ..parts::read(scope, id)? })).collect()
}

fn alarms(scope: &Scope<'_>) -> Result<Vec<Alarm>> {
    let ids = scope.resources("AWS::CloudWatch::Alarm")?.into_iter();
    ids.map(|id| Ok(Alarm { id: id.into(), arn: scope.arn(id)?, ..parts::read(scope, id)? })).collect()
}

fn topic_keys(scope: &Scope<'_>) -> Result<BTreeMap<String, Option<String>>> {
    let ids = scope.resources("AWS::SNS::Topic")?.into_iter();
    ids.map(|id| {
        let key = scope.properties(id)?.get("KmsMasterKeyId").and_then(Value::as_str).map(str::to_owned);
        Ok((scope.arn(id)?, key))
    })
    .collect()
}

fn schedule_groups(scope: &Scope<'_>) -> Result<Vec<String>> {
    let ids = scope.resources("AWS::Scheduler::ScheduleGroup")?.into_iter();
    ids.map(|id| scope.name(id)).collect()
}

fn queues(scope: &Scope<'_>) -> Result<BTreeMap<String, u64>> {
    /// How long a queue keeps a message by default: four days.
    const DEFAULT_SECONDS: u64 = 345_600;
    let ids = scope.resources("AWS::SQS::Queue")?.into_iter();
    ids.map(|id| {
        let kept = scope.properties(id)?["MessageRetentionPeriod"].as_u64().unwrap_or(DEFAULT_SECONDS);
        Ok((scope.arn(id)?, kept / 86_400))
    })
    .collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed setup fails the test")]
mod tests {
    use stackdrop_functions::aws::rules::{AfterUpdate, Rules};

    use super::*;

    fn installed(text: &str, parameters: &[(&str, &str)]) -> Result<Installation> {
        let parameters =
            parameters.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let place = Place {
            stack: "stackdrop",
            account: "123456789012",
            region: "eu-central-1",
            partition: "aws",
            parameters: &parameters,
        };
        Installation::of(&Template::read(text)?, place)
    }

    #[test]
    fn resources_have_cloudformations_names_and_arns() {
        let Installation { settings, workflow, functions, roles, bucket, queues, topic_keys, rules, .. } =
            installed(TEMPLATE, &[]).unwrap();
        let machine = "arn:aws:states:eu-central-1:123456789012:stateMachine:stackdrop-deploy";
        assert_eq!((settings.state_machine.as_str(), workflow.arn.as_str()), (machine, machine));
        assert_eq!(bucket.name, "stackdrop-123456789012-eu-central-1");
        assert_eq!(settings.bucket, bucket.name);
        assert_eq!(settings.topic, "arn:aws:sns:eu-central-1:123456789012:stackdrop-Topic");
        assert_eq!(settings.schedule_group, "stackdrop");
        let role = "arn:aws:iam::123456789012:role/stackdrop/functions/stackdrop-ScheduleRole";
        assert_eq!((settings.schedule_role.as_str(), roles["ScheduleRole"].arn.as_str()), (role, role));
        let groups = &functions["SecurityGroups"];
        assert_eq!(
            groups.version,
            "arn:aws:lambda:eu-central-1:123456789012:function:stackdrop-security-groups:1"
        );
        assert_eq!(groups.program, "security-groups");
        assert_eq!(groups.log_group, "/aws/lambda/stackdrop-security-groups");
        assert_eq!(groups.role, roles["SecurityGroupsRole"].arn);
        let queue = "arn:aws:sqs:eu-central-1:123456789012:stackdrop-LostEvents";
        assert_eq!(queues.into_iter().collect::<Vec<_>>(), [(queue.to_owned(), 14)]);
        let key = "arn:aws:kms:eu-central-1:123456789012:key/stackdrop-TopicKey";
        assert_eq!(topic_keys.into_values().collect::<Vec<_>>(), [Some(key.to_owned())]);
        assert_eq!(rules[0].arn, "arn:aws:events:eu-central-1:123456789012:rule/stackdrop-SpecRule");
        assert_eq!(rules[0].targets[0].dead_letter_config.as_ref().unwrap().arn, queue);
    }

    #[test]
    fn parameters_and_conditions_select_resources_and_properties() {
        let plain = installed(TEMPLATE, &[]).unwrap();
        assert!(plain.roles.values().all(|role| role.boundary.is_none()));
        let boundary = "arn:aws:iam::123456789012:policy/boundary";
        let parameters =
            [("PermissionsBoundary", boundary), ("BucketName", "specs-of-ours"), ("WorkflowLogLevel", "OFF")];
        let other = installed(TEMPLATE, &parameters).unwrap();
        assert!(other.roles.values().all(|role| role.boundary.as_deref() == Some(boundary)));
        assert_eq!((other.bucket.name.as_str(), other.workflow.log_level.as_str()), ("specs-of-ours", "OFF"));
        assert!(other.resource_policies.contains_key("arn:aws:s3:::specs-of-ours"));
        assert!(installed(TEMPLATE, &[("WorkflowLogLevel", "SOME")]).is_err());
        assert!(installed(TEMPLATE, &[("Colour", "red")]).is_err());
    }

    #[test]
    fn rules_for_stacks_are_parameters_with_the_documented_defaults() {
        let rules = |parameters: &[(&str, &str)]| installed(TEMPLATE, parameters).unwrap().settings.rules;
        let defaults = rules(&[]);
        assert_eq!(Rules { boundary: String::new(), ..defaults }, Rules::default());
        let changed = rules(&[
            ("HostedZones", "Z1, Z2"),
            ("DomainSuffixes", "shop=shop.example.com,team-a-*=a.example.com"),
            ("ApprovalFor", "prod-*"),
            ("MaxMonthlyUsd", "1"),
            ("MaxTasks", "2"),
            ("MaxStorageGib", "3"),
            ("MaxVcpus", "4"),
            ("ChangesAfterUpdate", "repair"),
        ]);
        assert_eq!(changed.zones, ["Z1".to_owned(), "Z2".to_owned()].into());
        assert_eq!(
            changed.domains.iter().map(|rule| rule.suffix.as_str()).collect::<Vec<_>>(),
            ["shop.example.com", "a.example.com"]
        );
        assert!(changed.approval_for[0].matches(&"prod-shop".to_owned().try_into().unwrap()));
        let Rules { max_monthly_usd, max_tasks, max_storage_gib, max_vcpus, .. } = changed;
        assert_eq!([max_monthly_usd, max_tasks, max_storage_gib, max_vcpus], [1, 2, 3, 4]);
        assert_eq!(changed.changes_after_update, AfterUpdate::Repair);
    }

    #[test]
    fn an_unresolved_part_is_an_error_that_names_its_resource() {
        for (from, to, named) in [
            ("AutoPublishAlias: live", "", "AdmitFunction.Version does not exist"),
            ("!GetAtt LostEvents.Arn", "!GetAtt LostEvent.Arn", "in SpecRule"),
            ("- wildcard: specs/*.yaml", "- prefix: specs/", "in SpecRule"),
            ("RetryPolicy: {Max", "InputPath: $.detail\n          RetryPolicy: {Max", "in SpecRule"),
            (
                "FunctionName: !Sub ${AWS::StackName}-admit",
                "FunctionName: !Ref AdmitFunction",
                "circular dependency between resources: AdmitFunction",
            ),
            ("!Sub ${AWS::StackName}-deploy", "!Sub ${AWS::Stack}-deploy", "AWS::Stack"),
            ("IncludeExecutionData: false", "IncludeData: false", "in Workflow"),
            (
                "STACKDROP_STATE_MACHINE: !Sub arn",
                "STACKDROP_WORKFLOW: !Ref Workflow\n        STACKDROP_STATE_MACHINE: !Sub arn",
                "circular dependency between resources: AdmitFunction",
            ),
            (
                "UpdateReplacePolicy: Retain",
                "DependsOn: [SpecRule]\n    UpdateReplacePolicy: Retain",
                "circular",
            ),
        ] {
            let text = TEMPLATE.replacen(from, to, 1);
            assert_ne!(text, TEMPLATE, "the template has no {from}");
            let error = format!("{:#}", installed(&text, &[]).unwrap_err());
            assert!(error.contains(named), "{from}: {error}");
        }
    }
}
