//! Physical names, `Ref` and `Fn::GetAtt` of resources (CloudFormation reference, "Return values" of each type).
//!
//! CloudFormation generates names with a random suffix if the template does not set one; here they are STACK-LOGICALID.

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::scope::{Place, Scope};

/// The value of `Ref`.
enum Reference {
    Name,
    Arn,
    /// The URL of a queue.
    Url,
}

/// A resource type: the property that names a resource, the value of `Ref`, and the ARN after the partition.
struct Kind {
    name: &'static str,
    reference: Reference,
    arn: fn(&Place<'_>, &str) -> String,
}

fn kind(kind: &str) -> Option<Kind> {
    let of = |name, reference, arn| Some(Kind { name, reference, arn });
    match kind {
        "AWS::S3::Bucket" => of("BucketName", Reference::Name, |_, name| format!("s3:::{name}")),
        "AWS::Serverless::Function" => of("FunctionName", Reference::Name, |place, name| {
            regional(place, "lambda", &format!("function:{name}"))
        }),
        "AWS::Serverless::StateMachine" => of("Name", Reference::Arn, |place, name| {
            regional(place, "states", &format!("stateMachine:{name}"))
        }),
        "AWS::SNS::Topic" => of("TopicName", Reference::Arn, |place, name| regional(place, "sns", name)),
        "AWS::SQS::Queue" => of("QueueName", Reference::Url, |place, name| regional(place, "sqs", name)),
        "AWS::KMS::Key" => {
            of("KeyId", Reference::Name, |place, name| regional(place, "kms", &format!("key/{name}")))
        }
        "AWS::Events::Rule" => {
            of("Name", Reference::Name, |place, name| regional(place, "events", &format!("rule/{name}")))
        }
        "AWS::Logs::LogGroup" => of("LogGroupName", Reference::Name, |place, name| {
            regional(place, "logs", &format!("log-group:{name}:*"))
        }),
        "AWS::Scheduler::ScheduleGroup" => of("Name", Reference::Name, |place, name| {
            regional(place, "scheduler", &format!("schedule-group/{name}"))
        }),
        "AWS::CloudWatch::Alarm" => of("AlarmName", Reference::Name, |place, name| {
            regional(place, "cloudwatch", &format!("alarm:{name}"))
        }),
        _ => None,
    }
}

fn regional(place: &Place<'_>, service: &str, resource: &str) -> String {
    format!("{service}:{}:{}:{resource}", place.region, place.account)
}

impl Scope<'_> {
    /// The value of `Ref` for a resource. `Function.Version` is the version that SAM publishes.
    pub(super) fn reference(&self, id: &str) -> Result<String> {
        if let Some(function) = id.strip_suffix(".Version") {
            return self.version(function);
        }
        match self.kind_of(id)? {
            "AWS::IAM::Role" => return self.name(id),
            "AWS::IAM::ManagedPolicy" => return self.arn(id),
            _ => {}
        }
        match self.known(id)?.reference {
            Reference::Name => self.name(id),
            Reference::Arn => self.arn(id),
            Reference::Url => {
                let Place { region, account, .. } = self.place;
                Ok(format!("https://sqs.{region}.amazonaws.com/{account}/{}", self.name(id)?))
            }
        }
    }

    /// The value of `Fn::GetAtt`.
    pub(super) fn attribute(&self, id: &str, attribute: &str) -> Result<String> {
        match (self.kind_of(id)?, attribute) {
            (_, "Arn") | ("AWS::SNS::Topic", "TopicArn") => self.arn(id),
            ("AWS::SQS::Queue", "QueueName")
            | ("AWS::SNS::Topic", "TopicName")
            | ("AWS::Serverless::StateMachine", "Name") => self.name(id),
            ("AWS::Serverless::Function", "Version") => self.version(id),
            (kind, _) => bail!("{id}.{attribute} of {kind} is not supported"),
        }
    }

    /// A resource's physical name.
    pub(super) fn name(&self, id: &str) -> Result<String> {
        let property = match self.kind_of(id)? {
            "AWS::IAM::Role" => "RoleName",
            "AWS::IAM::ManagedPolicy" => "ManagedPolicyName",
            _ => self.known(id)?.name,
        };
        match self.property(id, property)? {
            None => Ok(format!("{}-{id}", self.place.stack)),
            Some(Value::String(name)) => Ok(name),
            Some(other) => bail!("{other} is not a name for {id}"),
        }
    }

    /// A resource's ARN.
    pub(super) fn arn(&self, id: &str) -> Result<String> {
        let (name, partition) = (self.name(id)?, self.place.partition);
        let of_iam = match self.kind_of(id)? {
            "AWS::IAM::Role" => Some("role"),
            "AWS::IAM::ManagedPolicy" => Some("policy"),
            _ => None,
        };
        if let Some(kind) = of_iam {
            let path = self.property(id, "Path")?;
            let path = path.as_ref().and_then(Value::as_str).unwrap_or("/");
            return Ok(format!("arn:{partition}:iam::{}:{kind}{path}{name}", self.place.account));
        }
        Ok(format!("arn:{partition}:{}", (self.known(id)?.arn)(&self.place, &name)))
    }

    /// The version of a function that SAM publishes with an alias (AWS SAM developer guide, `AutoPublishAlias`).
    fn version(&self, function: &str) -> Result<String> {
        if self.property(function, "AutoPublishAlias")?.is_none() {
            bail!("{function} has no AutoPublishAlias, so {function}.Version does not exist");
        }
        Ok(format!("{}:1", self.arn(function)?))
    }

    fn kind_of(&self, id: &str) -> Result<&str> {
        let kind = self.resource(id)?.get("Type").and_then(Value::as_str);
        kind.with_context(|| format!("{id} has no type"))
    }

    fn known(&self, id: &str) -> Result<Kind> {
        let of = self.kind_of(id)?;
        kind(of).with_context(|| format!("{id} has the type {of}, which is not supported"))
    }
}
