//! The outputs of the components: for the components that run after them, and for people.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::deployment::component_names::{
    DATABASE, EGRESS, INSTANCE, LOAD_BALANCER, NETWORK, SECURITY_GROUPS, SERVICE, field,
};

/// The outputs of the components that have run so far.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", try_from = "Stored")]
pub struct Outputs {
    /// Of `network`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network: Option<NetworkOutputs>,
    /// Of `security-groups`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub security_groups: Option<SecurityGroupOutputs>,
    /// Of `database`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub database: Option<DatabaseOutputs>,
    /// Of `load-balancer`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub load_balancer: Option<LoadBalancerOutputs>,
    /// Of `egress`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub egress: Option<EgressOutputs>,
    /// Of `instance`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instance: Option<InstanceOutputs>,
    /// Of `service`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<ServiceOutputs>,
    /// What a rollback left alone, and why, by the component's field: its outputs are those of the baseline.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub left_alone: BTreeMap<String, String>,
}

/// Outputs as they are stored, by field. Step Functions cannot assign a function's bare response to a field of its state, so
/// the workflow stores `{ "payload": … }`; records have the outputs themselves.
type Stored = BTreeMap<String, Value>;

/// The field that says why a rollback left something alone: of all outputs, and of a component's.
const LEFT_ALONE: &str = "leftAlone";

impl TryFrom<Stored> for Outputs {
    type Error = serde_json::Error;

    fn try_from(mut stored: Stored) -> Result<Self, Self::Error> {
        let left_alone = stored.remove(LEFT_ALONE).map(serde_json::from_value).transpose()?;
        let mut outputs = Self { left_alone: left_alone.unwrap_or_default(), ..Self::default() };
        for (field, value) in &mut stored {
            if let Some(payload) = value.get_mut("payload").map(Value::take) {
                *value = payload;
            }
            let why = value.get(LEFT_ALONE).and_then(Value::as_str);
            outputs.left_alone.extend(why.map(|why| (field.clone(), why.to_owned())));
        }
        outputs.network = take(&mut stored, NETWORK)?;
        outputs.security_groups = take(&mut stored, SECURITY_GROUPS)?;
        outputs.database = take(&mut stored, DATABASE)?;
        outputs.load_balancer = take(&mut stored, LOAD_BALANCER)?;
        outputs.egress = take(&mut stored, EGRESS)?;
        outputs.instance = take(&mut stored, INSTANCE)?;
        outputs.service = take(&mut stored, SERVICE)?;
        Ok(outputs)
    }
}

/// The outputs of one component.
fn take<T: DeserializeOwned>(stored: &mut Stored, component: &str) -> serde_json::Result<Option<T>> {
    stored.remove(&field(component)).map_or(Ok(None), serde_json::from_value)
}

impl Outputs {
    /// What a rollback returns for a component that it leaves alone: these outputs, the baseline's, and why. `None` if the
    /// baseline has none.
    ///
    /// # Errors
    /// When the outputs cannot be written as JSON.
    pub fn leaving_alone(&self, component: &str, why: String) -> serde_json::Result<Option<Value>> {
        let mut outputs = serde_json::to_value(self)?;
        let mut of_component = outputs.get_mut(field(component)).map(Value::take);
        if let Some(of_component) = &mut of_component {
            of_component[LEFT_ALONE] = why.into();
        }
        Ok(of_component)
    }

    /// Why the rollback leaves a component alone, if it does.
    #[must_use]
    pub fn why_left_alone(&self, component: &str) -> Option<&str> {
        self.left_alone.get(&field(component)).map(String::as_str)
    }

    /// These outputs; for a component without outputs, the other ones.
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
            left_alone: other.left_alone.into_iter().chain(self.left_alone).collect(),
        }
    }
}

/// The outputs of `network`. Zones are letters: `a`, `b`, `c`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NetworkOutputs {
    /// The VPC's ID.
    pub vpc: String,
    /// The IDs of the public subnets by zone.
    pub public_subnets: BTreeMap<String, String>,
    /// The IDs of the private subnets by zone.
    pub private_subnets: BTreeMap<String, String>,
    /// The IDs of the database subnets by zone.
    pub database_subnets: BTreeMap<String, String>,
    /// The IDs of the private subnets' route tables by zone.
    pub private_tables: BTreeMap<String, String>,
}

impl NetworkOutputs {
    /// The IDs of the private subnets.
    #[must_use]
    pub fn private(&self) -> Vec<String> {
        self.private_subnets.values().cloned().collect()
    }

    /// The IDs of the public subnets.
    #[must_use]
    pub fn public(&self) -> Vec<String> {
        self.public_subnets.values().cloned().collect()
    }
}

/// The outputs of `security-groups`: the IDs of the groups whose users the spec has.
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

/// The outputs of `database`. Empty if the spec has none.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DatabaseOutputs {
    /// The instance's identifier.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub identifier: Option<String>,
    /// The endpoint's host name. RDS reports it some minutes after the creation: `wait_until_stable` returns it, `apply`
    /// may not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// The ARN of the secret that RDS manages, with the keys `username` and `password`. RDS creates the secret some time after it
    /// reports the ARN: it exists once the instance is stable.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
    /// Whether a service uses the database, so that it must wait for it.
    pub awaited: bool,
    /// Whether a restore has begun, after which the step runs again: RDS does not manage the password yet.
    pub restoring: bool,
}

/// The outputs of `load-balancer`. Empty if the spec has none.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LoadBalancerOutputs {
    /// The load balancer's ARN.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub arn: Option<String>,
    /// The load balancer's DNS name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dns_name: Option<String>,
    /// The stack's URL: `https://` with the domain, or without one the DNS name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// The ARNs of the target groups by service.
    pub target_groups: BTreeMap<String, String>,
    /// Whether some requests are still sent to previous target groups, until the services that will get them are stable.
    pub staged: bool,
}

/// The outputs of `egress`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EgressOutputs {
    /// The IDs of the NAT gateways by zone.
    pub nat_gateways: BTreeMap<String, String>,
    /// The public IP addresses from which the stack's requests come.
    pub addresses: Vec<String>,
    /// The IDs of the interface endpoints by service, such as `ecr.api`.
    pub endpoints: BTreeMap<String, String>,
}

/// The outputs of `instance`. Empty if the spec has none.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct InstanceOutputs {
    /// The EC2 instance's ID.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The command that opens a shell on it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connect: Option<String>,
}

/// The outputs of `service`. Empty if the spec has none.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ServiceOutputs {
    /// The cluster's ARN.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster: Option<String>,
    /// The services by their names in the spec.
    pub services: BTreeMap<String, Running>,
}

/// A service, as `apply` left it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Running {
    /// The service's ARN.
    pub arn: String,
    /// The ARN of its task definition revision.
    pub task_definition: String,
    /// The ID of the ECS deployment (`ecs-svc/…`) that `wait_until_stable` follows.
    pub rollout: String,
    /// Whether the deployment restarted it before everything else, because a secret had changed.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub restarted: bool,
}
