//! The VPC's flow log, which EC2 delivers to a bucket of the user. A delivery to S3 needs no role.
//!
//! AWS cannot change a flow log: another one is created, and the previous one deleted when the deployment prunes.

use aws_sdk_ec2::operation::delete_flow_logs::DeleteFlowLogsOutput;
use aws_sdk_ec2::types::{FlowLog, FlowLogsResourceType, LogDestinationType, ResourceType, TrafficType};
use stackdrop_specs::{FlowLogs, Traffic};

use super::observed::Observed;
use super::{NAME, plan_missing};
use crate::aws::aws_error::AwsError;
use crate::aws::error::{AwsResult, StepError};
use crate::contract::component::Work;
use crate::contract::identity::{self, is_ours, of_stack};
use crate::contract::tagging::{self, filter};
use crate::deployment::deletion::Deletion;
use crate::deployment::plan::{Plan, Verb};

/// The flow log's logical ID.
const LOGICAL_ID: &str = "flow-log";

/// EC2's code for a second flow log with the same destination (EC2 API reference, "Error codes").
const EXISTS: &str = "FlowLogAlreadyExists";
/// EC2's code for a flow log that does not exist.
const ABSENT: &str = "InvalidFlowLogId.NotFound";

/// Finds this stack's flow logs, if it may have some.
pub(super) async fn find_all(work: &Work<'_>) -> Result<Vec<FlowLog>, StepError> {
    if !work.deployment.may_have(|spec| spec.network.flow_logs.is_some()) {
        return Ok(Vec::new());
    }
    let call = work.aws.ec2().describe_flow_logs().set_filter(Some(of_stack(work)));
    let mut all: Vec<FlowLog> =
        call.into_paginator().items().send().try_collect().await.doing("looking for the flow log")?;
    all.retain(|log| is_ours(work, NAME, log.tags(), log.flow_log_id()));
    Ok(all)
}

/// The flow log that the spec has.
struct Desired<'a> {
    bucket: &'a str,
    /// The bucket's ARN, with the folder.
    destination: String,
    traffic: TrafficType,
}

impl<'a> Desired<'a> {
    fn of(work: &Work<'a>) -> Option<Self> {
        let FlowLogs { bucket, prefix, traffic } = work.spec.network.flow_logs.as_ref()?;
        let folder = prefix.as_ref().map_or(String::new(), |prefix| format!("/{prefix}/"));
        let traffic = match traffic {
            Traffic::All => TrafficType::All,
            Traffic::Reject => TrafficType::Reject,
        };
        let partition = &work.aws.settings.partition;
        Some(Self { bucket, destination: format!("arn:{partition}:s3:::{bucket}{folder}"), traffic })
    }

    fn is(&self, log: &FlowLog, vpc: Option<&str>) -> bool {
        vpc.is_some()
            && log.resource_id() == vpc
            && log.traffic_type() == Some(&self.traffic)
            && destination_of(log) == self.destination.trim_end_matches('/')
    }

    /// The observed flow log that the spec has.
    fn kept<'o>(&self, observed: &'o Observed) -> Option<&'o FlowLog> {
        observed.flow_logs.iter().find(|log| self.is(log, vpc_of(observed)))
    }
}

fn vpc_of(observed: &Observed) -> Option<&str> {
    observed.vpc().and_then(|vpc| vpc.vpc_id())
}

fn id_of(log: &FlowLog) -> &str {
    log.flow_log_id().unwrap_or_default()
}

fn destination_of(log: &FlowLog) -> &str {
    log.log_destination().unwrap_or_default().trim_end_matches('/')
}

/// The flow logs that the spec does not have.
fn undesired<'o>(work: &Work<'_>, observed: &'o Observed) -> Vec<&'o FlowLog> {
    let kept = Desired::of(work).and_then(|desired| desired.kept(observed)).map(id_of);
    observed.flow_logs.iter().filter(|log| Some(id_of(log)) != kept).collect()
}

pub(super) async fn plan(work: &Work<'_>, observed: &Observed, plan: &mut Plan) -> Result<(), StepError> {
    if let Some(desired) = Desired::of(work) {
        match desired.kept(observed) {
            Some(log) => plan_kept(work, log, plan),
            None => plan_new(work, observed, &desired, plan).await?,
        }
    }
    for log in undesired(work, observed) {
        plan.change(Verb::Delete, format!("{LOGICAL_ID} ({})", id_of(log)));
    }
    Ok(())
}

fn plan_kept(work: &Work<'_>, log: &FlowLog, plan: &mut Plan) {
    plan.tags(&work.stack, NAME, LOGICAL_ID, &tagging::read(log.tags()));
    if log.deliver_logs_status() == Some("FAILED") {
        let reason = log.deliver_logs_error_message().unwrap_or("AWS gives no reason");
        let why = format!("EC2 cannot deliver flow log {} to {}: {reason}", id_of(log), destination_of(log));
        plan.warn(LOGICAL_ID, why, POLICY);
    }
}

/// Plans another flow log, with what differs from the previous one.
async fn plan_new(
    work: &Work<'_>,
    observed: &Observed,
    desired: &Desired<'_>,
    plan: &mut Plan,
) -> Result<(), StepError> {
    if let Some(other) = find_other(work, observed, desired).await? {
        plan.problem(
            LOGICAL_ID,
            format!("{}, but is not managed by this stack", delivers(&other)),
            fix(work, &other),
        );
        return Ok(());
    }
    let previous = observed.flow_logs.iter().find(|log| log.resource_id() == vpc_of(observed));
    let Some(previous) = previous else {
        plan_missing(LOGICAL_ID, plan);
        return Ok(());
    };
    let traffic = previous.traffic_type().map_or("", TrafficType::as_str);
    for (field, from, to) in [
        ("destination", destination_of(previous), desired.destination.trim_end_matches('/')),
        ("traffic", traffic, desired.traffic.as_str()),
    ] {
        if from != to {
            plan.update(LOGICAL_ID, field, from, to);
        }
    }
    Ok(())
}

/// What the bucket of a flow log needs ("Amazon S3 bucket permissions for flow logs" in the Amazon VPC User Guide).
const POLICY: &str =
    "give the bucket a policy that allows delivery.logs.amazonaws.com to put objects and to read its ACL";

fn delivers(id: &str) -> String {
    format!("flow log {id} has the same VPC and destination")
}

fn fix(work: &Work<'_>, id: &str) -> String {
    format!("delete {id}; if it is the stack's own, {} instead", identity::fix(work, id))
}

/// Finds an equal flow log of the VPC that is not the stack's, or has lost its tag: EC2 refuses a second one.
async fn find_other(
    work: &Work<'_>,
    observed: &Observed,
    desired: &Desired<'_>,
) -> Result<Option<String>, StepError> {
    let Some(vpc) = vpc_of(observed) else { return Ok(None) };
    let call = work.aws.ec2().describe_flow_logs().filter(filter("resource-id", vpc));
    let pages = call.into_paginator().items().send();
    let all: Vec<FlowLog> =
        pages.try_collect().await.doing(format!("looking for the flow logs of VPC {vpc}"))?;
    // An earlier attempt may have created the stack's own a moment ago: EC2 did not show it to the reader yet.
    let is_other = |log: &&FlowLog| !is_ours(work, NAME, log.tags(), log.flow_log_id());
    let other = all.iter().filter(is_other).find(|log| desired.is(log, Some(vpc)));
    Ok(other.map(|log| id_of(log).to_owned()))
}

/// Creates the flow log, or repairs its tags.
pub(super) async fn apply(work: &Work<'_>, observed: &Observed, vpc: &str) -> Result<(), StepError> {
    let Some(desired) = Desired::of(work) else { return Ok(()) };
    if let Some(log) = desired.kept(observed) {
        return tagging::repair(work, NAME, LOGICAL_ID, id_of(log), &tagging::read(log.tags())).await;
    }
    if let Some(other) = find_other(work, observed, &desired).await? {
        let (what, fix) = (format!("{},", delivers(&other)), fix(work, &other));
        return Err(StepError::NotOwned { what, fix });
    }
    create(work, observed, &desired, vpc).await
}

async fn create(
    work: &Work<'_>,
    observed: &Observed,
    desired: &Desired<'_>,
    vpc: &str,
) -> Result<(), StepError> {
    // Within one deployment, a rollback can create what the update replaced: the token must differ.
    let mut parts: Vec<&str> = observed.flow_logs.iter().map(id_of).collect();
    parts.extend([desired.destination.as_str(), desired.traffic.as_str()]);
    let call = work
        .aws
        .ec2()
        .create_flow_logs()
        .resource_type(FlowLogsResourceType::Vpc)
        .resource_ids(vpc)
        .traffic_type(desired.traffic.clone())
        .log_destination_type(LogDestinationType::S3)
        .log_destination(&desired.destination)
        .client_token(work.stack.token(LOGICAL_ID, &parts))
        .tag_specifications(tagging::specification(
            ResourceType::VpcFlowLog,
            work.stack.tags(NAME, LOGICAL_ID),
        ));
    let doing = format!("creating the flow log of VPC {vpc}");
    let visible = || StepError::stalled(format!("the flow log of VPC {vpc} to become visible"));
    let response = call.send().await.unless(&[EXISTS]).doing(&doing)?.ok_or_else(visible)?;
    // EC2 reports refusals in a successful response.
    let Some(refused) = response.unsuccessful().first() else {
        tracing::info!(id = response.flow_log_ids().first(), "Flow log created.");
        return Ok(());
    };
    let (code, message) = reason(refused);
    if code == EXISTS {
        return Err(visible());
    }
    let doing = format!("{doing} (S3 bucket {}: {POLICY})", desired.bucket);
    Err(StepError::Refused { doing, source: AwsError { code, message } })
}

fn reason(refused: &aws_sdk_ec2::types::UnsuccessfulItem) -> (String, String) {
    let text = |value: Option<&str>| value.unwrap_or_default().to_owned();
    let error = refused.error();
    (text(error.and_then(|error| error.code())), text(error.and_then(|error| error.message())))
}

/// Deletes the flow logs that the spec does not have.
pub(super) async fn delete_undesired(
    work: &Work<'_>,
    observed: &Observed,
    deletion: &mut Deletion,
) -> Result<(), StepError> {
    delete_all(work, undesired(work, observed), deletion).await
}

/// Deletes every flow log of the stack.
pub(super) async fn delete(
    work: &Work<'_>,
    observed: &Observed,
    deletion: &mut Deletion,
) -> Result<(), StepError> {
    delete_all(work, observed.flow_logs.iter().collect(), deletion).await
}

async fn delete_all(work: &Work<'_>, logs: Vec<&FlowLog>, deletion: &mut Deletion) -> Result<(), StepError> {
    for id in logs.into_iter().map(id_of) {
        let call = work.aws.ec2().delete_flow_logs().flow_log_ids(id).send().await;
        let response = call.unless(&[ABSENT]).doing(format!("deleting flow log {id}"))?;
        let mut refused = response.iter().flat_map(DeleteFlowLogsOutput::unsuccessful).map(reason);
        if let Some((code, message)) = refused.find(|(code, _)| code != ABSENT) {
            deletion.held(LOGICAL_ID, id, format!("{code}: {message}"));
        } else {
            tracing::info!(id, "Flow log deleted.");
        }
    }
    Ok(())
}
