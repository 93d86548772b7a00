//! Installs Stackdrop in the account, and refuses what AWS would refuse while it does.

use anyhow::{Context, Result, anyhow, bail};
use stackdrop_simulator::{AccessRequest, Account, PolicySeed, Principal, Seed};

use super::{Setting, WORKFLOW};
use crate::installation::{Installation, Place, Template, Workflow};

/// The stack's name: the one that the command looks for.
const STACK: &str = "stackdrop";

/// What a workflow's role needs so that executions are logged (Step Functions developer guide, "Logging to CloudWatch
/// Logs").
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

/// What it needs so that X-Ray follows executions (the same guide, "IAM policies for X-Ray").
const TRACING: [&str; 4] =
    ["xray:PutTraceSegments", "xray:PutTelemetryRecords", "xray:GetSamplingRules", "xray:GetSamplingTargets"];

/// What the setting's template comes to in an account.
pub(super) fn installation(setting: &Setting, account: &str, region: &str) -> Result<Installation> {
    let place = Place { stack: STACK, account, region, partition: "aws", parameters: &setting.parameters };
    match &setting.template {
        None => Installation::of(Template::built_in()?, place),
        Some(text) => Installation::of(&Template::read(text)?, place),
    }
}

/// Puts everything into the account that an installation brings.
///
/// # Errors
/// When AWS would refuse to create a part of it.
pub(super) fn install(account: &Account, installation: &Installation) -> Result<()> {
    let Installation { bucket, settings, .. } = installation;
    account.seed(&Seed::Bucket { name: bucket.name.clone() });
    for (topic, key) in &installation.topic_keys {
        account.seed(&Seed::Topic { arn: topic.clone(), key: key.clone() });
    }
    account.seed(&Seed::ScheduleGroup { name: settings.schedule_group.clone() });
    for policy in installation.policies() {
        account.seed_policy(&policy).with_context(|| format!("creating {}", arn_of(&policy)))?;
    }
    create_workflow(account, &installation.workflow, &settings.account)?;
    for function in installation.functions.values() {
        // "The role defined for the function cannot be assumed by Lambda."
        assume(account, &function.role, "lambda.amazonaws.com", &[])
            .map_err(|denial| anyhow!("creating the function {}: {denial}", function.name))?;
    }
    Ok(())
}

fn arn_of(policy: &PolicySeed) -> &str {
    let (PolicySeed::Role { arn, .. }
    | PolicySeed::ManagedPolicy { arn, .. }
    | PolicySeed::ResourcePolicy { arn, .. }) = policy;
    arn
}

/// Creates the workflow: Step Functions tries its role at once (API reference, `CreateStateMachine`: "The state machine
/// IAM Role is not authorized to access the Log Destination").
fn create_workflow(account: &Account, workflow: &Workflow, number: &str) -> Result<()> {
    let Workflow { arn, kind, role, log_level, traced, .. } = workflow;
    let refused = |why: String| anyhow!("creating the workflow: {why}");
    // "Express workflows don't support the callback integration pattern" (developer guide, "Choosing workflow type"); nor
    // do they run for longer than five minutes.
    if kind != "STANDARD" && WORKFLOW.contains(".waitForTaskToken") {
        bail!(refused(format!("a workflow of the type {kind} can't wait for a task's token")));
    }
    let source = [("aws:SourceArn", arn.as_str()), ("aws:SourceAccount", number)];
    assume(account, role, "states.amazonaws.com", &source).map_err(refused)?;
    let logs = if log_level == "OFF" { &[][..] } else { &LOG_DELIVERY };
    // That X-Ray's are tried at once too is not known; without them no trace would ever come.
    let traces = if *traced { &TRACING[..] } else { &[] };
    let principal = Principal::Role { arn: role.clone(), session: "states".into() };
    for action in logs.iter().chain(traces) {
        account.decide(arn, &principal, AccessRequest::new(action, "", "*")).map_err(refused)?;
    }
    if log_level != "OFF" && workflow.log_groups.is_empty() {
        bail!(refused(format!("{log_level} events are to be logged nowhere")));
    }
    Ok(())
}

/// Has a service assume a role, with what it says of where it comes from.
pub(super) fn assume(
    account: &Account,
    role: &str,
    service: &str,
    source: &[(&str, &str)],
) -> Result<(), String> {
    let mut request = AccessRequest::new("sts:AssumeRole", "role", role);
    for (key, value) in source {
        request.key(key, *value);
    }
    account.decide(service, &Principal::Service { name: service.into() }, request)
}
