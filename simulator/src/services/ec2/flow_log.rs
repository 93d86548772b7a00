//! Flow logs of VPCs that EC2 delivers to buckets. Those of other resources, and to other destinations, are not simulated.

use serde_json::{Value, json};

use super::query::{Filter, one};
use super::resource::{Entity, Kind, Resource, find, stored_in, tag_set};
use super::vpc::Vpc;
use super::{tagging, token};
use crate::clock::Clock;
use crate::params::{Params, Refusal};
use crate::protocol::Reply;
use crate::services::s3;
use crate::world::{Tags, World};

/// The fields of a record, unless the call names others. Source: "Flow log records" in the Amazon VPC User Guide.
const FORMAT: &str = "${version} ${account-id} ${interface-id} ${srcaddr} ${dstaddr} ${srcport} ${dstport} ${protocol} ${packets} ${bytes} ${start} ${end} ${action} ${log-status}";
/// How long flows are aggregated, in seconds, unless the call says otherwise (`CreateFlowLogs`, `MaxAggregationInterval`).
const INTERVAL_SECONDS: i64 = 600;

#[derive(Debug, Clone)]
pub(crate) struct FlowLog {
    entity: Entity,
    vpc: String,
    traffic: String,
    /// The ARN of the bucket, with the folder.
    destination: String,
    interval: i64,
}

impl FlowLog {
    /// The status of the delivery, and the reason of a failed one. Source: `FlowLog` in the EC2 API reference; the flow log
    /// stays `ACTIVE` (awslabs/landing-zone-accelerator-on-aws#1205).
    fn delivery(&self, world: &World) -> (&'static str, Option<&'static str>) {
        if s3::admits_logs(world, bucket_of(&self.destination)) {
            ("SUCCESS", None)
        } else {
            ("FAILED", Some("Access error"))
        }
    }
}

impl Resource for FlowLog {
    const KIND: Kind = Kind {
        prefix: "fl",
        tag_type: "vpc-flow-log",
        not_found: ("InvalidFlowLogId.NotFound", "The flow log '{id}' does not exist"),
        malformed: "InvalidFlowLogId.Malformed",
    };
    const IDS: &'static str = "FlowLogId";
    const SET: &'static str = "flowLogSet";
    const FILTERS: &'static [Filter<Self>] = &[
        ("flow-log-id", |log, _| one(log.id())),
        ("resource-id", |log, _| one(&log.vpc)),
        ("traffic-type", |log, _| one(&log.traffic)),
        ("log-destination-type", |_, _| one("s3")),
        ("deliver-log-status", |log, world| one(log.delivery(world).0)),
    ];

    stored_in!(flow_logs);

    fn document(&self, world: &World) -> Value {
        let (status, error) = self.delivery(world);
        json!({
            "flowLogId": self.entity.id,
            "flowLogStatus": "ACTIVE",
            "creationTime": Clock::date(self.entity.created),
            "resourceId": self.vpc,
            "trafficType": self.traffic,
            "logDestinationType": "s3",
            "logDestination": self.destination,
            "logFormat": FORMAT,
            "maxAggregationInterval": self.interval,
            "deliverLogsStatus": status,
            "deliverLogsErrorMessage": error,
            "tagSet": tag_set(&self.entity.tags),
        })
    }
}

/// The bucket's name in a destination.
fn bucket_of(destination: &str) -> &str {
    let name = destination.strip_prefix("arn:aws:s3:::").unwrap_or_default();
    name.split('/').next().unwrap_or_default()
}

/// The request of a creation, without its token.
#[derive(Debug)]
struct Request {
    vpcs: Vec<String>,
    traffic: String,
    destination: String,
    interval: i64,
    tags: Tags,
}

impl Request {
    fn read(params: &Params) -> Result<Self, Refusal> {
        let (vpcs, kind) = (params.list("ResourceId"), params.required("ResourceType")?);
        let traffic = params.required("TrafficType")?;
        let destination_type = params.text("LogDestinationType");
        let destination = params.required("LogDestination")?;
        let interval = params.int("MaxAggregationInterval")?.unwrap_or(INTERVAL_SECONDS);
        let tags = tagging::for_new(params, FlowLog::KIND)?;
        params.done()?;
        let invalid = |message: String| Err(Refusal::new("InvalidParameter", message));
        if kind != "VPC" || destination_type.as_deref() != Some("s3") {
            return invalid("the simulator knows flow logs of VPCs to S3 only".into());
        }
        if !["ACCEPT", "REJECT", "ALL"].contains(&traffic.as_str()) {
            return invalid(format!("Invalid traffic type {traffic}"));
        }
        if ![60, INTERVAL_SECONDS].contains(&interval) {
            return invalid("Invalid Flow Log Max Aggregation Interval".into());
        }
        if bucket_of(&destination).is_empty() {
            return invalid(format!("LogDestination {destination} is not the ARN of a bucket"));
        }
        // "You can't use AWSLogs as a subfolder name": "Create a flow log that publishes to Amazon S3".
        if destination.split('/').any(|folder| folder == "AWSLogs") {
            return invalid("LogDestination must not contain the reserved term AWSLogs".into());
        }
        if vpcs.is_empty() {
            return Err(Refusal::new(
                "MissingParameter",
                "The request must contain the parameter ResourceIds",
            ));
        }
        Ok(Self { vpcs, traffic, destination, interval, tags })
    }
}

pub(super) fn create(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let token = params.text("ClientToken");
    let token = token.as_deref();
    let request = Request::read(params)?;
    if let Some(ids) = token::used(world, "CreateFlowLogs", token, &request)? {
        return Ok(answer(&ids, &[], token));
    }
    for vpc in &request.vpcs {
        find::<Vpc>(world, vpc)?;
    }
    let (mut ids, mut refused) = (Vec::new(), Vec::new());
    for vpc in &request.vpcs {
        // The call succeeds even if it creates nothing.
        if let Some((code, message)) = refusal(world, &request, vpc) {
            refused.push(json!({ "resourceId": vpc, "error": { "code": code, "message": message } }));
            continue;
        }
        let id = world.id(FlowLog::KIND.prefix);
        let log = FlowLog {
            entity: Entity::new(id.clone(), request.tags.clone(), world.now),
            vpc: vpc.clone(),
            traffic: request.traffic.clone(),
            destination: request.destination.clone(),
            interval: request.interval,
        };
        world.states.ec2.flow_logs.insert(id.clone(), log);
        ids.push(id);
    }
    if refused.is_empty() {
        token::remember(world, "CreateFlowLogs", token, &request, ids.clone());
    }
    Ok(answer(&ids, &refused, token))
}

/// Why a VPC gets no flow log: code and message. Sources: moto's `create_flow_logs`; awsdocs/amazon-vpc-user-guide#28 for a
/// bucket that EC2 cannot write to; "Error codes" in the EC2 API reference for a second equal one.
fn refusal(world: &World, request: &Request, vpc: &str) -> Option<(&'static str, String)> {
    let bucket = bucket_of(&request.destination);
    if !s3::exists(world, bucket) {
        return Some(("400", format!("LogDestination: {bucket} does not exist.")));
    }
    if !s3::admits_logs(world, bucket) {
        let message =
            format!("Access Denied for LogDestination: {bucket}. Please check LogDestination permission");
        return Some(("400", message));
    }
    let is_same = |log: &FlowLog| {
        log.vpc == vpc && log.traffic == request.traffic && log.destination == request.destination
    };
    world.states.ec2.flow_logs.values().any(is_same).then(|| {
        let message = "Error. There is an existing Flow Log with the same configuration and log destination.";
        ("FlowLogAlreadyExists", message.to_owned())
    })
}

fn answer(ids: &[String], refused: &[Value], token: Option<&str>) -> Reply {
    json!({ "flowLogIdSet": ids, "unsuccessful": refused, "clientToken": token }).into()
}

pub(super) fn delete(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let ids = params.list("FlowLogId");
    params.done()?;
    if ids.is_empty() {
        return Err(Refusal::new("MissingParameter", "The request must contain the parameter FlowLogIds"));
    }
    let mut refused = Vec::new();
    for id in ids {
        if let Err(refusal) = find::<FlowLog>(world, &id) {
            let error = json!({ "code": refusal.code, "message": refusal.message });
            refused.push(json!({ "resourceId": id, "error": error }));
        }
        world.states.ec2.flow_logs.remove(&id);
    }
    Ok(json!({ "unsuccessful": refused }).into())
}
