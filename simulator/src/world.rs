//! Everything that stands in the account, and what every service's file needs of it.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::authorization;
use crate::clock::Clock;
use crate::happenings::Happening;
use crate::inventory::Item;
use crate::latency::Latency;
use crate::params::{Params, Refusal};
use crate::services::{
    acm, autoscaling, ec2, ecr, ecs, elb, events, iam, logs, quotas, rds, route53, s3, scheduler, secrets,
    sfn, sns, ssm,
};

/// Tags by key.
pub(crate) type Tags = BTreeMap<String, String>;

/// The account's state: one part a service, each owned by that service's file.
#[derive(Debug, Clone)]
pub(crate) struct World {
    /// Now, since the account was opened.
    pub(crate) now: Duration,
    pub(crate) account: String,
    pub(crate) region: String,
    pub(crate) latency: Latency,
    /// Whether what the current call makes shall end in its `failed` state (a fault).
    pub(crate) doomed: bool,
    /// What others react to, in order.
    pub(crate) happenings: Vec<Happening>,
    /// The policies of resources.
    pub(crate) authorization: authorization::State,
    ids: u64,
    pub(crate) ec2: ec2::State,
    pub(crate) elb: elb::State,
    pub(crate) ecs: ecs::State,
    pub(crate) autoscaling: autoscaling::State,
    pub(crate) rds: rds::State,
    pub(crate) iam: iam::State,
    pub(crate) ssm: ssm::State,
    pub(crate) acm: acm::State,
    pub(crate) route53: route53::State,
    pub(crate) ecr: ecr::State,
    pub(crate) secrets: secrets::State,
    pub(crate) logs: logs::State,
    pub(crate) quotas: quotas::State,
    pub(crate) events: events::State,
    pub(crate) s3: s3::State,
    pub(crate) scheduler: scheduler::State,
    pub(crate) sns: sns::State,
    pub(crate) sfn: sfn::State,
}

impl World {
    pub(crate) fn new(account: &str, region: &str, latency: Latency) -> Self {
        Self {
            now: Duration::ZERO,
            account: account.into(),
            region: region.into(),
            latency,
            doomed: false,
            happenings: Vec::new(),
            authorization: authorization::State::default(),
            ids: 0,
            ec2: ec2::State::default(),
            elb: elb::State::default(),
            ecs: ecs::State::default(),
            autoscaling: autoscaling::State::default(),
            rds: rds::State::default(),
            iam: iam::State::default(),
            ssm: ssm::State::default(),
            acm: acm::State::default(),
            route53: route53::State::default(),
            ecr: ecr::State::default(),
            secrets: secrets::State::default(),
            logs: logs::State::default(),
            quotas: quotas::State::default(),
            events: events::State::default(),
            s3: s3::State::default(),
            scheduler: scheduler::State::default(),
            sns: sns::State::default(),
            sfn: sfn::State::default(),
        }
    }

    /// A number that was not given before, for ids.
    pub(crate) fn number(&mut self) -> u64 {
        self.ids += 1;
        self.ids
    }

    /// A new id of EC2's form, such as `vpc-0000000000000002a`.
    pub(crate) fn id(&mut self, prefix: &str) -> String {
        format!("{prefix}-{:017x}", self.number())
    }

    /// An ARN in this account and region.
    pub(crate) fn arn(&self, service: &str, resource: &str) -> String {
        format!("arn:aws:{service}:{}:{}:{resource}", self.region, self.account)
    }

    /// Now as seconds since 1970 (the JSON protocols' form).
    pub(crate) fn epoch(&self) -> f64 {
        Clock::epoch_seconds(self.now)
    }

    /// When something that takes as long as creating `thing` (a key of the latency model) will be ready.
    pub(crate) fn ready(&mut self, thing: &str) -> Duration {
        self.now + self.latency.create(thing)
    }

    /// When something that takes as long as deleting `thing` (a key of the latency model) will be gone.
    pub(crate) fn gone(&mut self, thing: &str) -> Duration {
        self.now + self.latency.delete(thing)
    }

    /// Lets happen whatever AWS has done by itself up to now. Asked before each call.
    pub(crate) fn advance(&mut self, now: Duration) {
        self.now = now;
        acm::advance(self);
        route53::advance(self);
        rds::advance(self);
        ecs::advance(self);
        elb::advance(self);
        ssm::advance(self);
        ec2::advance(self);
        iam::advance(self);
        scheduler::advance(self);
        sfn::advance(self);
    }

    /// What exists now: nothing that is deleted, terminated or inactive.
    pub(crate) fn inventory(&self) -> Vec<Item> {
        let mut items = Vec::new();
        ec2::inventory(self, &mut items);
        elb::inventory(self, &mut items);
        ecs::inventory(self, &mut items);
        autoscaling::inventory(self, &mut items);
        rds::inventory(self, &mut items);
        iam::inventory(self, &mut items);
        acm::inventory(self, &mut items);
        route53::inventory(self, &mut items);
        secrets::inventory(self, &mut items);
        logs::inventory(self, &mut items);
        scheduler::inventory(self, &mut items);
        items
    }
}

/// Reads a list of `{ key_name, value_name }` structures as tags. The code of a refusal is EC2's: services that have
/// one of their own for it put that in its place.
///
/// # Errors
/// When a key is missing, starts with `aws:` (which AWS keeps for itself) or is given twice, or when a key has more than
/// 128 characters or a value more than 256.
pub(crate) fn tags(params: &Params, list: &str, key: &str, value: &str) -> Result<Tags, Refusal> {
    let refused = |message: String| Refusal::new("InvalidParameterValue", message);
    let mut tags = Tags::new();
    for tag in params.structs(list) {
        let name = tag.required(key)?;
        let text = tag.text(value).unwrap_or_default();
        if name.to_ascii_lowercase().starts_with("aws:") {
            return Err(refused(format!(
                "Tag keys starting with 'aws:' are reserved for internal use: {name}"
            )));
        }
        if name.chars().count() > 128 || text.chars().count() > 256 {
            return Err(refused(format!(
                "Tag key or value is too long: {name}. Keys take 128, values 256 characters."
            )));
        }
        if tags.contains_key(&name) {
            return Err(refused(format!("Duplicate tag key '{name}' specified.")));
        }
        tags.insert(name, text);
    }
    Ok(tags)
}
