//! The services: one file or folder each, with its state, rules and refusals.

use crate::inventory::Item;
use crate::params::Refusal;
use crate::protocol::Request;
use crate::world::World;

pub(crate) mod acm;
pub(crate) mod autoscaling;
pub(crate) mod ec2;
pub(crate) mod ecr;
pub(crate) mod ecs;
pub(crate) mod elb;
pub(crate) mod events;
pub(crate) mod iam;
pub(crate) mod logs;
pub(crate) mod quotas;
pub(crate) mod rds;
pub(crate) mod route53;
pub(crate) mod s3;
pub(crate) mod scheduler;
pub(crate) mod secrets;
mod service;
pub(crate) mod sfn;
pub(crate) mod sns;
pub(crate) mod ssm;
pub(crate) mod sts;
pub(crate) mod wafv2;

pub(crate) use s3::LARGEST_OBJECT;
pub(crate) use service::{ErrorForm, Service};

/// Each service comes after those it depends on. The inventory lists them in this order; [`advance`] uses the reverse
/// order, so that ECS starts tasks before Elastic Load Balancing checks their targets.
pub(crate) static SERVICES: [&Service; 20] = [
    &ec2::SERVICE,
    &ssm::SERVICE,
    &elb::SERVICE,
    &wafv2::SERVICE,
    &ecs::SERVICE,
    &autoscaling::SERVICE,
    &rds::SERVICE,
    &iam::SERVICE,
    &acm::SERVICE,
    &route53::SERVICE,
    &secrets::SERVICE,
    &logs::SERVICE,
    &scheduler::SERVICE,
    &ecr::SERVICE,
    &events::SERVICE,
    &quotas::SERVICE,
    &s3::SERVICE,
    &sfn::SERVICE,
    &sns::SERVICE,
    &sts::SERVICE,
];

/// The state of every service that has one.
#[derive(Debug, Clone, Default)]
pub(crate) struct States {
    pub(crate) acm: acm::State,
    pub(crate) autoscaling: autoscaling::State,
    pub(crate) ec2: ec2::State,
    pub(crate) ecr: ecr::State,
    pub(crate) ecs: ecs::State,
    pub(crate) elb: elb::State,
    pub(crate) events: events::State,
    pub(crate) iam: iam::State,
    pub(crate) logs: logs::State,
    pub(crate) quotas: quotas::State,
    pub(crate) rds: rds::State,
    pub(crate) route53: route53::State,
    pub(crate) s3: s3::State,
    pub(crate) scheduler: scheduler::State,
    pub(crate) secrets: secrets::State,
    pub(crate) sfn: sfn::State,
    pub(crate) sns: sns::State,
    pub(crate) ssm: ssm::State,
    pub(crate) wafv2: wafv2::State,
}

/// Brings every service's state up to `world.now`.
pub(crate) fn advance(world: &mut World) {
    for service in SERVICES.iter().rev() {
        (service.advance)(world);
    }
}

/// The resources of every service.
pub(crate) fn inventory(world: &World) -> Vec<Item> {
    let mut items = Vec::new();
    for service in SERVICES {
        (service.inventory)(world, &mut items);
    }
    items
}

/// Whether the resource that an operation creates has a `failed` state, so that [`FaultKind::ResourceFails`] lets the
/// call succeed and the resource fail. `service` is the signing name, such as `elasticloadbalancing`.
///
/// [`FaultKind::ResourceFails`]: crate::FaultKind::ResourceFails
#[must_use]
pub fn can_fail(service: &str, operation: &str) -> bool {
    by_name(service).is_some_and(|service| service.can_fail.contains(&operation))
}

/// Whether IAM evaluates an action such as `iam:CreateRole` in `us-east-1`, whatever the caller's region.
pub(crate) fn is_global(action: &str) -> bool {
    action.split_once(':').and_then(|(service, _)| by_name(service)).is_some_and(|service| service.is_global)
}

/// Finds the service that a request is signed for.
///
/// # Errors
/// If the signature is missing or names a service that is not simulated.
pub(crate) fn find(request: &Request) -> Result<&'static Service, Refusal> {
    let scope = request.header("authorization").and_then(|text| text.split("Credential=").nth(1));
    let name = scope.and_then(|scope| scope.split(',').next()?.split('/').nth(3)).unwrap_or_default();
    by_name(name).ok_or_else(|| {
        Refusal::new(
            "MissingAuthenticationToken",
            format!("the request is signed for the service \"{name}\", which is not simulated"),
        )
        .status(403)
    })
}

fn by_name(name: &str) -> Option<&'static Service> {
    SERVICES.into_iter().find(|service| service.name == name)
}

/// The refusal of an operation that is not supported.
pub(crate) fn unknown(service: &str, operation: &str) -> Refusal {
    Refusal::new(
        "InvalidAction",
        format!("the simulator does not support the operation {service}:{operation}"),
    )
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use bytes::Bytes;
    use stackdrop_figures::LatencyModel;

    use super::*;
    use crate::authorization::{AccessRequests, Principal};
    use crate::latency::Latency;
    use crate::params::Params;

    /// A call without parameters is the hardest case: it names no resources.
    #[test]
    fn every_call_requests_access_to_all_resource_types_that_the_reference_requires() {
        // Without an event there is nothing to authorize; the names of S3's actions differ from those of its
        // operations.
        let others = ["events", "s3"];
        let actions =
            include_str!("../../reference/used.txt").lines().filter_map(|line| line.split_once(':'));
        for (name, operation) in actions.filter(|(name, _)| !others.contains(name)) {
            let Some(service) = by_name(name) else { continue };
            let mut world =
                World::new("123456789012", "eu-central-1", Latency::new(LatencyModel::built_in(), None, 1.0));
            let params = Params::new(BTreeMap::new(), Bytes::new());
            let answer = (service.act)(&mut world, operation, &params);
            if answer.is_err_and(|refusal| refusal.code == "InvalidAction") {
                continue;
            }
            let mut requests = AccessRequests::new(&world, name, operation);
            (service.access)(&world, operation, &params, &mut requests);
            let asked = requests.finish(&Principal::Owner);
            assert!(asked.is_ok(), "{name}:{operation}: {asked:?}");
        }
    }
}
