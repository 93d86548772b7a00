//! What the components have created so far, for the components after them and for people.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize, de::DeserializeOwned};

/// What the components have made so far.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Outputs {
    /// Of `network`.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "reported")]
    pub network: Option<NetworkOutputs>,
    /// Of `security-groups`.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "reported")]
    pub security_groups: Option<SecurityGroupOutputs>,
    /// Of `database`.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "reported")]
    pub database: Option<DatabaseOutputs>,
    /// Of `load-balancer`.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "reported")]
    pub load_balancer: Option<LoadBalancerOutputs>,
    /// Of `egress`.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "reported")]
    pub egress: Option<EgressOutputs>,
    /// Of `instance`.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "reported")]
    pub instance: Option<InstanceOutputs>,
    /// Of `service`.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "reported")]
    pub service: Option<ServiceOutputs>,
}

impl Outputs {
    /// These outputs; where a component has none, those of another state.
    #[must_use]
    pub fn or(self, other: &Self) -> Self {
        let other = other.clone();
        Self {
            network: self.network.or(other.network),
            security_groups: self.security_groups.or(other.security_groups),
            database: self.database.or(other.database),
            load_balancer: self.load_balancer.or(other.load_balancer),
            egress: self.egress.or(other.egress),
            instance: self.instance.or(other.instance),
            service: self.service.or(other.service),
        }
    }
}

/// Reads outputs as they are, or as the workflow keeps them: Step Functions can't make a function's bare answer the
/// value of a field of its state, so they stand there as `{ "payload": … }`.
fn reported<'de, D: Deserializer<'de>, T: DeserializeOwned>(deserializer: D) -> Result<Option<T>, D::Error> {
    let value = Option::<serde_json::Value>::deserialize(deserializer)?;
    let value = value.map(|mut value| value.get_mut("payload").map(serde_json::Value::take).unwrap_or(value));
    value.map(serde_json::from_value).transpose().map_err(serde::de::Error::custom)
}

/// What other components need of the network. Zones are the letters of the plan: `a`, `b`, `c`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NetworkOutputs {
    /// The VPC.
    pub vpc: String,
    /// Public subnets by zone.
    pub public_subnets: BTreeMap<String, String>,
    /// Private subnets by zone.
    pub private_subnets: BTreeMap<String, String>,
    /// Database subnets by zone.
    pub database_subnets: BTreeMap<String, String>,
    /// The route tables of the private subnets by zone.
    pub private_tables: BTreeMap<String, String>,
}

impl NetworkOutputs {
    /// The ids of the private subnets.
    #[must_use]
    pub fn private(&self) -> Vec<String> {
        self.private_subnets.values().cloned().collect()
    }

    /// The ids of the public subnets.
    #[must_use]
    pub fn public(&self) -> Vec<String> {
        self.public_subnets.values().cloned().collect()
    }
}

/// The ids of the security groups. A group whose user the spec does not have is not there.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SecurityGroupOutputs {
    /// Of the load balancer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub load_balancer: Option<String>,
    /// Of the ECS tasks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// Of the EC2 instance.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
    /// Of the interface endpoints.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoints: Option<String>,
    /// Of the database.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub database: Option<String>,
}

/// What others need of the database. All empty when the spec has none.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DatabaseOutputs {
    /// The instance's identifier.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub identifier: Option<String>,
    /// The endpoint's host name. RDS tells it some minutes after the creation: `wait_until_stable` has it, `apply` may not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// The ARN of the secret that RDS manages, with the keys `username` and `password`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
    /// Whether a service is given values of the database, so that it has to wait for it.
    pub awaited: bool,
}

/// What others need of the load balancer. All empty when the spec has none.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LoadBalancerOutputs {
    /// Its ARN.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub arn: Option<String>,
    /// Its DNS name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dns_name: Option<String>,
    /// Where people find the stack: `https://` and the domain, or else the DNS name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// The ARNs of the target groups by service.
    pub target_groups: BTreeMap<String, String>,
}

/// What others need of the way out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EgressOutputs {
    /// The NAT gateways by zone.
    pub nat_gateways: BTreeMap<String, String>,
    /// The public addresses that requests come from, as others see them.
    pub addresses: Vec<String>,
    /// The interface endpoints by service, such as `ecr.api`.
    pub endpoints: BTreeMap<String, String>,
}

/// What others need of the instance. Empty when the spec has none.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct InstanceOutputs {
    /// Its id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// How to open a shell on it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connect: Option<String>,
}

/// What others need of the services. Empty when the spec has none.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ServiceOutputs {
    /// The cluster's ARN.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster: Option<String>,
    /// Each service by the spec's name.
    pub services: BTreeMap<String, Running>,
}

/// One service as it was asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Running {
    /// Its ARN.
    pub arn: String,
    /// The ARN of the task definition's revision.
    pub task_definition: String,
    /// The id of the ECS deployment that brings it about (`ecs-svc/…`), which `wait_until_stable` follows.
    pub rollout: String,
}
