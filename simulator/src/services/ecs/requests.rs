//! The parameters of `CreateService` and `UpdateService`, with their checks.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::definitions::Definition;
use super::{invalid, part};
use crate::params::{Params, Refusal};
use crate::services::{ec2, elb};
use crate::world::World;

/// A target group to which a container's port is registered.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct LoadBalancer {
    pub(super) target_group_arn: String,
    pub(super) container_name: String,
    pub(super) container_port: u16,
}

/// The network of a service's tasks.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Network {
    pub(super) subnets: Vec<String>,
    #[serde(default)]
    pub(super) security_groups: Vec<String>,
    #[serde(default = "disabled")]
    pub(super) assign_public_ip: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct NetworkConfiguration {
    awsvpc_configuration: Network,
}

fn disabled() -> String {
    "DISABLED".into()
}

impl Network {
    pub(super) fn is_public(&self) -> bool {
        self.assign_public_ip == "ENABLED"
    }
}

/// The settings of a rolling update.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Rolling {
    pub(super) deployment_circuit_breaker: Breaker,
    pub(super) maximum_percent: usize,
    pub(super) minimum_healthy_percent: usize,
    strategy: &'static str,
    bake_time_in_minutes: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct Breaker {
    pub(super) enable: bool,
    pub(super) rollback: bool,
    /// Whether a healthy task resets the number of failed tasks.
    pub(super) reset_on_healthy_task: bool,
}

/// Source: `DeploymentCircuitBreaker` in the ECS API reference.
impl Default for Breaker {
    fn default() -> Self {
        Self { enable: false, rollback: false, reset_on_healthy_task: true }
    }
}

/// ECS's defaults for a replica service. Source: `DeploymentConfiguration` in the ECS API reference.
impl Default for Rolling {
    fn default() -> Self {
        Self {
            deployment_circuit_breaker: Breaker::default(),
            maximum_percent: 200,
            minimum_healthy_percent: 100,
            strategy: "ROLLING",
            bake_time_in_minutes: 0,
        }
    }
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RollingRequest {
    deployment_circuit_breaker: Option<Breaker>,
    maximum_percent: Option<usize>,
    minimum_healthy_percent: Option<usize>,
    strategy: Option<String>,
    bake_time_in_minutes: Option<u32>,
    alarms: Option<Value>,
}

impl Rolling {
    /// These settings, changed by a request.
    ///
    /// # Errors
    /// `InvalidParameterException` for settings that would block every deployment or are not supported.
    pub(super) fn changed_by(mut self, params: &Params) -> Result<Self, Refusal> {
        let Some(request) = part::<RollingRequest>(params, "deploymentConfiguration")? else {
            return Ok(self);
        };
        if let Some(breaker) = request.deployment_circuit_breaker {
            self.deployment_circuit_breaker = breaker;
        }
        self.maximum_percent = request.maximum_percent.unwrap_or(self.maximum_percent);
        self.minimum_healthy_percent =
            request.minimum_healthy_percent.unwrap_or(self.minimum_healthy_percent);
        if request.strategy.is_some_and(|strategy| strategy != "ROLLING") {
            return Err(invalid("the simulator knows the deployment strategy ROLLING only"));
        }
        if request.bake_time_in_minutes.is_some_and(|minutes| minutes != 0) {
            return Err(invalid(
                "The bake time is only supported with alarms or another deployment strategy.",
            ));
        }
        if request.alarms.is_some_and(|alarms| alarms["enable"] == true) {
            return Err(invalid("the simulator knows no deployment alarms"));
        }
        if self.maximum_percent == 100 && self.minimum_healthy_percent == 100 {
            return Err(invalid(
                "Both maximumPercent and minimumHealthyPercent cannot be 100 as this will block deployments.",
            ));
        }
        if !(100..=200).contains(&self.maximum_percent) || self.minimum_healthy_percent > 100 {
            return Err(invalid(
                "maximumPercent must be between 100 and 200, and minimumHealthyPercent between 0 and 100.",
            ));
        }
        Ok(self)
    }
}

/// The network of a request, if it has one, checked against EC2.
pub(super) fn network(world: &World, params: &Params) -> Result<Option<Network>, Refusal> {
    let Some(configuration) = part::<NetworkConfiguration>(params, "networkConfiguration")? else {
        return Ok(None);
    };
    let network = configuration.awsvpc_configuration;
    if !["ENABLED", "DISABLED"].contains(&network.assign_public_ip.as_str()) {
        return Err(invalid("assignPublicIp must be ENABLED or DISABLED."));
    }
    if network.subnets.is_empty() {
        return Err(invalid("subnets can not be empty."));
    }
    if network.subnets.len() > 16 {
        return Err(invalid("subnets can have at most 16 items."));
    }
    if network.security_groups.len() > 5 {
        return Err(invalid("securityGroups can have at most 5 items."));
    }
    let vpc = vpc_of(world, &network)?;
    for group in &network.security_groups {
        match ec2::group_vpc(world, group) {
            None => {
                return Err(invalid(format!(
                    "Error retrieving security group information for [{group}]: The security group '{group}' does not exist (ErrorCode: InvalidGroup.NotFound)"
                )));
            }
            Some(other) if other != vpc => {
                return Err(invalid(format!(
                    "The security group {group} belongs to {other} and the subnets to {vpc}: security groups and subnets must be in the same VPC."
                )));
            }
            Some(_) => {}
        }
    }
    Ok(Some(network))
}

/// The VPC of a network's subnets, which must be the same for all.
fn vpc_of(world: &World, network: &Network) -> Result<String, Refusal> {
    let mut vpc: Option<String> = None;
    for id in &network.subnets {
        let subnet = ec2::subnet(world, id).filter(|subnet| subnet.available).ok_or_else(|| {
            invalid(format!(
                "Error retrieving subnet information for [{id}]: The subnet ID '{id}' does not exist (ErrorCode: InvalidSubnetID.NotFound)"
            ))
        })?;
        if vpc.as_ref().is_some_and(|vpc| *vpc != subnet.vpc) {
            return Err(invalid("All subnets must belong to the same VPC."));
        }
        vpc = Some(subnet.vpc);
    }
    vpc.ok_or_else(|| invalid("subnets can not be empty."))
}

/// Checks the load balancers of a service against its task definition and against Elastic Load Balancing.
pub(super) fn check_load_balancers(
    world: &World,
    load_balancers: &[LoadBalancer],
    definition: &Definition,
    network: &Network,
) -> Result<(), Refusal> {
    if load_balancers.len() > 5 {
        return Err(invalid("load balancers can have at most 5 items."));
    }
    let vpc = vpc_of(world, network)?;
    for load_balancer in load_balancers {
        let LoadBalancer { target_group_arn: arn, container_name, container_port } = load_balancer;
        let container = definition.containers.iter().find(|container| container.name == *container_name);
        let container = container.ok_or_else(|| {
            invalid(format!("The container {container_name} does not exist in the task definition."))
        })?;
        if !container.port_mappings.iter().any(|mapping| mapping.container_port == *container_port) {
            return Err(invalid(format!(
                "The container {container_name} did not have a container port {container_port} defined."
            )));
        }
        let group = elb::target_group(world, arn)
            .ok_or_else(|| invalid(format!("Unable to find target group with targetGroupArn {arn}.")))?;
        if group.target_type != "ip" {
            return Err(invalid(format!(
                "The provided target group {arn} has target type {}, which is incompatible with the awsvpc network mode specified in the task definition.",
                group.target_type
            )));
        }
        if group.vpc != vpc {
            return Err(invalid(format!(
                "The target group {arn} is in {}, the tasks would be in {vpc}.",
                group.vpc
            )));
        }
        if !group.attached {
            return Err(invalid(format!(
                "The target group with targetGroupArn {arn} does not have an associated load balancer."
            )));
        }
    }
    Ok(())
}

/// The platform version of a request, if it has one.
pub(super) fn platform(params: &Params) -> Result<Option<String>, Refusal> {
    match params.text("platformVersion") {
        Some(version) if !["LATEST", "1.4.0"].contains(&version.as_str()) => {
            Err(Refusal::new("PlatformUnknownException", "The specified platform version does not exist."))
        }
        version => Ok(version),
    }
}

/// For how many seconds failing health checks of a new task are ignored, if the request says so.
pub(super) fn grace(params: &Params, has_load_balancers: bool) -> Result<Option<u32>, Refusal> {
    let Some(seconds) = params.int("healthCheckGracePeriodSeconds")? else { return Ok(None) };
    if !has_load_balancers {
        return Err(invalid(
            "Health check grace period is only valid for services configured to use load balancers",
        ));
    }
    u32::try_from(seconds)
        .map(Some)
        .map_err(|_| invalid("healthCheckGracePeriodSeconds must not be negative."))
}

/// The desired count of a request, if it has one.
pub(super) fn desired(params: &Params) -> Result<Option<usize>, Refusal> {
    params
        .int("desiredCount")?
        .map(|count| {
            usize::try_from(count)
                .ok()
                .filter(|count| *count <= 5000)
                .ok_or_else(|| invalid("desiredCount must be between 0 and 5000."))
        })
        .transpose()
}

/// ECS Exec needs the task role.
pub(super) fn check_exec(exec: bool, definition: &Definition) -> Result<(), Refusal> {
    if exec && definition.task_role.is_none() {
        return Err(invalid(
            "The service couldn't be created because a valid taskRoleArn is not being used. Specify a valid task role in your task definition and try again.",
        ));
    }
    Ok(())
}
