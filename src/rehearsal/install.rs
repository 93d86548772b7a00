//! Installs Stackdrop in the account. If AWS would reject a part of the installation, opening the rehearsal fails.

use anyhow::{Context, Result, anyhow, bail};
use stackdrop_simulator::{AccessRequest, Account, PolicySeed, Principal, Seed};
use stackdrop_specs::Spec;

use super::{Setting, WORKFLOW, seeds};
use crate::installation::{Installation, Place, Template, Workflow};

/// The name of the CloudFormation stack: the command finds the state machine by it.
const STACK: &str = "stackdrop";

/// The actions that a workflow's role needs for logging (Step Functions developer guide, "Logging to CloudWatch Logs").
const LOG_DELIVERY: [&str; 8] = [
    "logs:CreateLogDelivery",
    "logs:GetLogDelivery",
    "logs:UpdateLogDelivery",
    "logs:DeleteLogDelivery",
    "logs:ListLogDeliveries",
    "logs:PutResourcePolicy",
    "logs:DescribeResourcePolicies",
    "logs:DescribeLogGroups",
];

/// The actions that a workflow's role needs for tracing (the same guide, "IAM policies for X-Ray").
const TRACING: [&str; 4] =
    ["xray:PutTraceSegments", "xray:PutTelemetryRecords", "xray:GetSamplingRules", "xray:GetSamplingTargets"];

/// The template of the setting, resolved for an account. Unless the setting has the parameter, the zones of the specs are open.
pub(super) fn installation(
    setting: &Setting,
    account: &str,
    region: &str,
    specs: &[&Spec],
) -> Result<Installation> {
    let mut parameters = setting.parameters.clone();
    let zones = seeds::zones(specs);
    if !zones.is_empty() {
        parameters.entry("HostedZones".into()).or_insert(zones);
    }
    let place = Place { stack: STACK, account, region, partition: "aws", parameters: &parameters };
    match &setting.template {
        None => Installation::of(Template::built_in()?, place),
        Some(text) => Installation::of(&Template::read(text)?, place),
    }
}

/// Creates everything that an installation has.
///
/// # Errors
/// If AWS would refuse to create a part of it.
pub(super) fn install(account: &Account, installation: &Installation) -> Result<()> {
    let Installation { bucket, settings, .. } = installation;
    account.seed(&Seed::Bucket { name: bucket.name.clone() });
    for (topic, key) in &installation.topic_keys {
        account.seed(&Seed::Topic { arn: topic.clone(), key: key.clone() });
    }
    for name in &installation.schedule_groups {
        account.seed(&Seed::ScheduleGroup { name: name.clone() });
    }
    for policy in installation.policies() {
        account.seed_policy(&policy).with_context(|| format!("cannot create {}", arn_of(&policy)))?;
    }
    create_workflow(account, &installation.workflow, &settings.account)?;
    for function in installation.functions.values() {
        // "The role defined for the function cannot be assumed by Lambda."
        let source = [("aws:SourceAccount", settings.account.as_str())];
        assume(account, &function.role, "lambda.amazonaws.com", &source)
            .map_err(|denial| anyhow!("cannot create function {}: {denial}", function.name))?;
    }
    Ok(())
}

fn arn_of(policy: &PolicySeed) -> &str {
    let (PolicySeed::Role { arn, .. }
    | PolicySeed::ManagedPolicy { arn, .. }
    | PolicySeed::ResourcePolicy { arn, .. }) = policy;
    arn
}

/// Creates the workflow. Step Functions checks its role at once (API reference, `CreateStateMachine`: "The state
/// machine IAM Role is not authorized to access the Log Destination").
fn create_workflow(account: &Account, workflow: &Workflow, number: &str) -> Result<()> {
    let Workflow { arn, kind, role, log_level, traced, .. } = workflow;
    let refused = |why: String| anyhow!("cannot create the workflow: {why}");
    // "Express workflows don't support the callback integration pattern" (developer guide, "Choosing workflow type");
    // and they run for five minutes at most.
    if kind != "STANDARD" && WORKFLOW.contains(".waitForTaskToken") {
        bail!(refused(format!("a workflow of type {kind} cannot wait for a task's token")));
    }
    let source = [("aws:SourceArn", arn.as_str()), ("aws:SourceAccount", number)];
    assume(account, role, "states.amazonaws.com", &source).map_err(refused)?;
    let logs = if log_level == "OFF" { &[][..] } else { &LOG_DELIVERY };
    // It is not documented whether the X-Ray actions are checked at once too; without them there would be no traces.
    let traces = if *traced { &TRACING[..] } else { &[] };
    let principal = Principal::Role { arn: role.clone(), session: "states".into() };
    for action in logs.iter().chain(traces) {
        account.decide(arn, &principal, AccessRequest::new(action, "", "*")).map_err(refused)?;
    }
    if log_level != "OFF" && workflow.log_groups.is_empty() {
        bail!(refused(format!("the log level is {log_level}, but there is no log group")));
    }
    Ok(())
}

/// Checks whether a service may assume a role, with the condition keys of the source.
pub(super) fn assume(
    account: &Account,
    role: &str,
    service: &str,
    source: &[(&str, &str)],
) -> Result<(), String> {
    if !role.starts_with("arn:") {
        return Err(format!("{role:?} is not the ARN of a role"));
    }
    let mut request = AccessRequest::new("sts:AssumeRole", "role", role);
    for (key, value) in source {
        request.key(key, *value);
    }
    account.decide(service, &Principal::Service { name: service.into() }, request)
}
