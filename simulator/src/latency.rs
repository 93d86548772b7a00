//! How long AWS takes: the latency model, drawn from or taken at its median.

use std::time::Duration;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use stackdrop_figures::{LatencyModel, Spread};

/// Durations for one simulation: the medians, or draws between p10 and p90 from a seed.
#[derive(Debug, Clone)]
pub struct Latency {
    model: LatencyModel,
    dice: Option<ChaCha8Rng>,
    scale: f64,
}

impl Latency {
    pub(crate) fn new(model: LatencyModel, seed: Option<u64>, scale: f64) -> Self {
        Self { model, dice: seed.map(ChaCha8Rng::seed_from_u64), scale }
    }

    /// How long creating a thing takes this time. `thing` is a key of the latency model.
    pub(crate) fn create(&mut self, thing: &str) -> Duration {
        let spread = self.model.create(thing);
        self.draw(thing, spread)
    }

    /// How long deleting a thing takes this time. `thing` is a key of the latency model.
    pub(crate) fn delete(&mut self, thing: &str) -> Duration {
        let spread = self.model.delete(thing);
        self.draw(thing, spread)
    }

    /// A duration that is no figure of the model (a propagation delay, say), scaled as the others are.
    pub(crate) fn seconds(&self, seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds * self.scale)
    }

    fn draw(&mut self, thing: &str, spread: Option<Spread>) -> Duration {
        debug_assert!(spread.is_some(), "the latency model has no `{thing}`");
        let Some(Spread { p10, p50, p90 }) = spread else { return Duration::ZERO };
        let seconds = match &mut self.dice {
            // Two halves, so that the median of the draws is the model's median.
            Some(dice) => {
                let half = dice.random::<f64>();
                if dice.random_bool(0.5) { p10 + (p50 - p10) * half } else { p50 + (p90 - p50) * half }
            }
            None => p50,
        };
        // Whole milliseconds, rounded: tokio's timer has no finer ones.
        let duration = Duration::from_secs_f64(seconds * self.scale + 0.0005);
        Duration::new(duration.as_secs(), duration.subsec_millis() * 1_000_000)
    }

    /// How long the call itself takes to answer, apart from what AWS does behind it.
    pub(crate) fn call(&mut self, service: &str, operation: &str) -> Duration {
        let (thing, creates) = match (service, operation) {
            ("ec2", "AttachInternetGateway") => ("internet_gateway", true),
            ("ec2", "AllocateAddress") => ("elastic_ip", true),
            ("ec2", "ReleaseAddress") => ("elastic_ip", false),
            ("ec2", "CreateRouteTable") => ("route_table", true),
            ("ec2", "DeleteRouteTable") => ("route_table", false),
            ("ec2", "CreateRoute" | "ReplaceRoute") => ("route", true),
            ("ec2", "DeleteRoute") => ("route", false),
            ("ec2", "AssociateRouteTable" | "ReplaceRouteTableAssociation") => {
                ("route_table_association", true)
            }
            ("ec2", "DisassociateRouteTable") => ("route_table_association", false),
            ("ec2", "CreateSecurityGroup") => ("security_group", true),
            ("ec2", "DeleteSecurityGroup") => ("security_group", false),
            ("ec2", "DeleteSubnet") => ("subnet", false),
            ("ec2", "DeleteVpc") => ("vpc", false),
            ("elasticloadbalancing", "CreateTargetGroup") => ("target_group", true),
            ("elasticloadbalancing", "DeleteTargetGroup") => ("target_group", false),
            ("rds", "CreateDBSubnetGroup") => ("db_subnet_group", true),
            ("rds", "DeleteDBSubnetGroup") => ("db_subnet_group", false),
            ("logs", "CreateLogGroup") => ("cloudwatch_log_group", true),
            ("logs", "DeleteLogGroup") => ("cloudwatch_log_group", false),
            ("iam", "CreateRole") => ("iam_role", true),
            ("iam", "DeleteRole") => ("iam_role", false),
            ("ecs", "RegisterTaskDefinition") => ("ecs_task_definition_register", true),
            ("ecs", "DeregisterTaskDefinition") => ("ecs_task_definition_register", false),
            ("ecs", "CreateService") => ("ecs_service_create_call", true),
            _ => ("api_control_call", true),
        };
        if creates { self.create(thing) } else { self.delete(thing) }
    }
}
