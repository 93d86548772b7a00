//! One file a service: its state, its rules, its refusals.

use crate::authorization::Access;
use crate::params::{Params, Refusal};
use crate::protocol::{Protocol, Reply, Request};
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
pub(crate) mod sfn;
pub(crate) mod sns;
pub(crate) mod ssm;
pub(crate) mod sts;

/// How one service is reached.
#[derive(Debug, Clone)]
pub(crate) struct Service {
    /// The name in the signature's credential scope.
    pub(crate) name: &'static str,
    pub(crate) protocol: Protocol,
    /// For the REST protocols: finds the operation of a request.
    pub(crate) route: Option<Route>,
    /// Does what the operation asks for. Reads all parameters, calls `Params::done`, and only then changes anything.
    pub(crate) act: Act,
    /// Says what a call asks IAM for.
    pub(crate) access: Access,
}

static SERVICES: [Service; 19] = [
    rpc("acm", Protocol::Json("1.1", "CertificateManager"), acm::act, acm::access),
    rpc(
        "application-autoscaling",
        Protocol::Json("1.1", "AnyScaleFrontendService"),
        autoscaling::act,
        autoscaling::access,
    ),
    rpc("ec2", Protocol::Ec2("http://ec2.amazonaws.com/doc/2016-11-15/"), ec2::act, ec2::access),
    rpc("ecr", Protocol::Json("1.1", "AmazonEC2ContainerRegistry_V20150921"), ecr::act, ecr::access),
    rpc("ecs", Protocol::Json("1.1", "AmazonEC2ContainerServiceV20141113"), ecs::act, ecs::access),
    rpc(
        "elasticloadbalancing",
        Protocol::Query("http://elasticloadbalancing.amazonaws.com/doc/2015-12-01/"),
        elb::act,
        elb::access,
    ),
    rpc("events", Protocol::Json("1.1", "AWSEvents"), events::act, events::access),
    rpc("iam", Protocol::Query("https://iam.amazonaws.com/doc/2010-05-08/"), iam::act, iam::access),
    rpc("logs", Protocol::Json("1.1", "Logs_20140328"), logs::act, logs::access),
    rpc("rds", Protocol::Query("http://rds.amazonaws.com/doc/2014-10-31/"), rds::act, rds::access),
    rest(
        "route53",
        Protocol::RestXml("https://route53.amazonaws.com/doc/2013-04-01/"),
        route53::route,
        route53::act,
        route53::access,
    ),
    rest("s3", Protocol::RestXml("http://s3.amazonaws.com/doc/2006-03-01/"), s3::route, s3::act, s3::access),
    rest("scheduler", Protocol::RestJson, scheduler::route, scheduler::act, scheduler::access),
    rpc("secretsmanager", Protocol::Json("1.1", "secretsmanager"), secrets::act, secrets::access),
    rpc("servicequotas", Protocol::Json("1.1", "ServiceQuotasV20190624"), quotas::act, quotas::access),
    rpc("states", Protocol::Json("1.0", "AWSStepFunctions"), sfn::act, sfn::access),
    rpc("sns", Protocol::Query("http://sns.amazonaws.com/doc/2010-03-31/"), sns::act, sns::access),
    rpc("ssm", Protocol::Json("1.1", "AmazonSSM"), ssm::act, ssm::access),
    rpc("sts", Protocol::Query("https://sts.amazonaws.com/doc/2011-06-15/"), sts::act, sts::access),
];

type Act = fn(&mut World, &str, &Params) -> Result<Reply, Refusal>;
type Route = fn(&Request) -> Result<(String, Params), Refusal>;

const fn rpc(name: &'static str, protocol: Protocol, act: Act, access: Access) -> Service {
    Service { name, protocol, route: None, act, access }
}

const fn rest(name: &'static str, protocol: Protocol, route: Route, act: Act, access: Access) -> Service {
    Service { name, protocol, route: Some(route), act, access }
}

/// Finds the service that a request is signed for.
///
/// # Errors
/// When it carries no signature of a service that is known here.
pub(crate) fn find(request: &Request) -> Result<&'static Service, Refusal> {
    let scope = request.header("authorization").and_then(|text| text.split("Credential=").nth(1));
    let name = scope.and_then(|scope| scope.split(',').next()?.split('/').nth(3)).unwrap_or_default();
    SERVICES.iter().find(|service| service.name == name).ok_or_else(|| {
        Refusal::new(
            "MissingAuthenticationToken",
            format!("the request is signed for the service \"{name}\", which is not simulated"),
        )
        .status(403)
    })
}

/// The refusal of an operation that the simulator does not know.
pub(crate) fn unknown(service: &str, operation: &str) -> Refusal {
    Refusal::new("InvalidAction", format!("the simulator does not know the operation {service}:{operation}"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use bytes::Bytes;
    use stackdrop_figures::LatencyModel;

    use super::*;
    use crate::authorization::{Asks, Principal};
    use crate::latency::Latency;

    /// A call without parameters is the hardest to tell the resources of.
    #[test]
    fn every_call_asks_for_all_resource_types_that_the_reference_requires() {
        // Without an event there is nothing to ask for; S3's actions are not called as its operations are.
        let others = ["events", "s3"];
        let actions =
            include_str!("../../reference/used.txt").lines().filter_map(|line| line.split_once(':'));
        for (name, operation) in actions.filter(|(name, _)| !others.contains(name)) {
            let Some(service) = SERVICES.iter().find(|service| service.name == name) else { continue };
            let mut world =
                World::new("123456789012", "eu-central-1", Latency::new(LatencyModel::built_in(), None, 1.0));
            let params = Params::new(BTreeMap::new(), Bytes::new());
            let answer = (service.act)(&mut world, operation, &params);
            if answer.is_err_and(|refusal| refusal.code == "InvalidAction") {
                continue;
            }
            let mut asks = Asks::new(&world, name, operation);
            (service.access)(&world, operation, &params, &mut asks);
            let asked = asks.finish(&Principal::Owner);
            assert!(asked.is_ok(), "{name}:{operation}: {asked:?}");
        }
    }
}
