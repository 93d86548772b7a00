//! The network, its security groups, the egress and the instance, one step at a time.
#![expect(clippy::unwrap_used, reason = "what a helper cannot do is a failure of the test that asked for it")]
#![allow(
    clippy::large_futures,
    reason = "the driver's futures hold a whole function, and tests have room for it"
)]

#[path = "../common/mod.rs"]
mod common;

mod copies; // second resources for one logical ID, and resources that have failed
mod others; // what people do to the stack's resources, and resources of others in its place
mod refusals; // calls that AWS refuses for a moment
mod repairs; // repairs of manual changes that AWS refuses for a moment
mod routes; // routes whose NAT gateway is replaced

use common::{account, apply, aws, deployment, until_done};
use serde_json::Value;
use stackdrop_functions::Aws;
use stackdrop_simulator::Account;

/// An instance behind a NAT gateway, and one behind interface endpoints.
const NAT: &str = "stack: shop\nnetwork: { nat: single }\ninstance: { type: t3.micro, disk: 20 }\n";
const ENDPOINTS: &str = "stack: shop\nnetwork: { nat: none }\ninstance: { type: t3.micro, disk: 20 }\n";
/// A network whose connections are recorded, in the installation's bucket.
const LOGGED: &str = "stack: shop\nnetwork: { nat: none, flowLogs: { bucket: stackdrop-123456789012 } }\n";

/// The components, in their order.
const COMPONENTS: [&str; 4] = ["network", "security-groups", "egress", "instance"];

/// Applies a component, and waits until it is stable.
async fn applied(aws: &Aws, component: &str, deployment: &mut Value) {
    apply(aws, &[component], deployment).await;
    if ["egress", "instance"].contains(&component) {
        until_done(aws, component, "wait-until-stable", deployment).await.unwrap();
    }
}

/// An account in which these components are stable.
async fn deployed(spec: &str, components: &[&str]) -> (Account, Aws, Value) {
    let account = account();
    let (aws, mut deployment) = (aws(&account), deployment(spec));
    for component in components {
        applied(&aws, component, &mut deployment).await;
    }
    (account, aws, deployment)
}

/// A later deployment with this spec, after one that succeeded.
fn next(deployment: &Value, spec: &str) -> Value {
    let mut next = deployment.clone();
    next["baseline"] = serde_json::json!({
        "deployment": "first", "version": "1", "spec": deployment["spec"], "outputs": deployment["outputs"],
    });
    next["spec"] = common::deployment(spec)["spec"].clone();
    next["id"] = "second".into();
    next
}
