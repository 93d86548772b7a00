//! The best that AWS allows: how long a first deployment of a spec takes at least, by the latency model alone.
//!
//! It is the longest path through what AWS itself makes wait, each of AWS's durations once, plus one control call for
//! each resource on that path. Nothing of a run goes into it.

use stackdrop_figures::{LatencyModel, MULTI_AZ_FACTOR};
use stackdrop_specs::{Nat, Spec};

/// The bound in seconds, at the model's medians.
#[must_use]
pub fn seconds(spec: &Spec, model: &LatencyModel) -> f64 {
    let call = model.create_seconds("api_control_call");
    let made = |thing: &str| model.create_seconds(thing) + call;
    let vpc = made("vpc");
    let subnets = vpc + made("subnet");
    let gateway = vpc + made("internet_gateway");
    let egress = match spec.network.nat {
        Nat::Single | Nat::PerZone => subnets.max(gateway) + made("nat_gateway"),
        Nat::None => subnets + made("vpc_endpoint_interface"),
    };
    let instance = spec.instance.as_ref().map(|_| {
        egress + made("ec2_instance_running") + model.create_seconds("ssm_agent_online_after_running")
    });
    let database = spec.database.as_ref().map(|database| {
        // The model has single instances only; a standby in another zone is made from a snapshot of the first.
        let standby = if database.multi_az { MULTI_AZ_FACTOR } else { 1.0 };
        subnets + made("db_subnet_group") + model.create_seconds("rds_postgres_single_az") * standby + call
    });
    let load_balancer = spec.load_balancer.as_ref().map(|load_balancer| {
        let certificate = if load_balancer.certificate_arn.is_none() {
            call + made("route53_record_insync") + model.create_seconds("acm_certificate_dns_validated")
        } else {
            0.0
        };
        certificate.max(subnets.max(gateway) + made("alb"))
    });
    let awaited = database.filter(|_| spec.services.values().any(stackdrop_specs::Service::uses_database));
    let services = spec.services.values().map(|service| {
        let routed = load_balancer.filter(|_| !service.is_worker());
        let ready = [Some(egress), awaited, routed].into_iter().flatten().fold(0.0, f64::max);
        ready + made("ecs_service_create_call") + model.create_seconds("ecs_service_steady_after_alb_active")
    });
    services.chain(instance).chain(database).chain(load_balancer).fold(egress, f64::max)
}
