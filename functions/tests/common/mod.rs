//! Helpers for the tests of all components: an account, the clients, and a driver that retries on `Pending`.
#![allow(dead_code, reason = "each test file uses its own part of this")]

use std::time::Duration;

use aws_config::SdkConfig;
use aws_config::retry::RetryConfig;
use serde_json::{Value, json};
use stackdrop_functions::aws::error::StepError;
use stackdrop_functions::aws::rules::Rules;
use stackdrop_functions::{Aws, Settings, handle};
use stackdrop_simulator::{Account, Options, PolicySeed, Seed};
use stackdrop_specs::Spec;

/// The example spec.
pub(crate) const SHOP: &str = include_str!("../../../specs/shop.yaml");

/// An account with an installation of Stackdrop.
pub(crate) fn account() -> Account {
    let account = Account::open(&Options::default()).unwrap();
    account.seed(&Seed::Bucket { name: settings().bucket });
    account.seed(&Seed::Topic { arn: settings().topic, key: None });
    account.seed(&Seed::ScheduleGroup { name: settings().schedule_group });
    let scheduler = json!({ "Service": "scheduler.amazonaws.com" });
    let trust = json!({ "Effect": "Allow", "Principal": scheduler, "Action": "sts:AssumeRole" });
    let role = PolicySeed::Role {
        arn: settings().schedule_role,
        trust: json!({ "Statement": trust }),
        policies: vec![],
        attached: vec![],
        boundary: None,
    };
    account.seed_policy(&role).unwrap();
    let everything = json!({ "Effect": "Allow", "Action": "*", "Resource": "*" });
    let boundary = PolicySeed::ManagedPolicy {
        arn: settings().rules.boundary,
        document: json!({ "Statement": everything }),
    };
    account.seed_policy(&boundary).unwrap();
    account
}

/// The settings of the installation.
pub(crate) fn settings() -> Settings {
    Settings {
        bucket: "stackdrop-123456789012".into(),
        state_machine: "arn:aws:states:eu-central-1:123456789012:stateMachine:stackdrop-deploy".into(),
        topic: "arn:aws:sns:eu-central-1:123456789012:stackdrop".into(),
        schedule_group: "stackdrop".into(),
        schedule_role: "arn:aws:iam::123456789012:role/stackdrop/schedule".into(),
        region: "eu-central-1".into(),
        account: "123456789012".into(),
        partition: "aws".into(),
        rules: Rules {
            boundary: "arn:aws:iam::123456789012:policy/stackdrop/functions/boundary".into(),
            zones: ["Z0123456789ABCDEFGHIJ", "Z9"].map(str::to_owned).into(),
            ..Rules::default()
        },
        version: "1.0.0".into(),
    }
}

/// The configuration of an SDK that talks to the account, with the SDK's own retries.
pub(crate) fn sdk(account: &Account) -> SdkConfig {
    account.sdk_config("eu-central-1", RetryConfig::standard())
}

/// The functions' clients for the account.
pub(crate) fn aws(account: &Account) -> Aws {
    Aws::new(sdk(account), settings())
}

/// The workflow's state at the start of a deployment of a spec.
pub(crate) fn deployment(spec: &str) -> Value {
    let mut spec = Spec::read(spec.as_bytes()).unwrap();
    spec.region = Some("eu-central-1".into());
    json!({
        "verdict": "admitted",
        "stack": spec.stack,
        "id": "first",
        "execution": "arn:aws:states:eu-central-1:123456789012:execution:stackdrop-deploy:first",
        "source": { "key": "specs/shop.yaml", "version": "1" },
        "lock": "",
        "started": "2026-01-01T00:00:00Z",
        "trigger": "manual",
        "spec": spec,
        "baseline": null,
        "refreshImage": false,
        "reportOnly": false,
        "destroying": false,
        "rollingBack": false,
        "plan": [],
        "outputs": {},
        "failed": {},
        "consent": { "deleteData": ["shop-database", "shop-instance"] },
    })
}

/// Runs one action once.
pub(crate) async fn act(
    aws: &Aws,
    component: &str,
    action: &str,
    deployment: &Value,
) -> Result<Value, StepError> {
    handle(component, json!({ "action": action, "deployment": deployment }), aws).await
}

/// Runs one action until it is no longer `Pending` or `Transient`, as the workflow does, for at most an hour.
pub(crate) async fn until_done(
    aws: &Aws,
    component: &str,
    action: &str,
    deployment: &Value,
) -> Result<Value, StepError> {
    for _ in 0..720 {
        match act(aws, component, action, deployment).await {
            Err(error) if error.is_retried() => {
                tokio::time::advance(Duration::from_secs(5)).await;
            }
            done => return done,
        }
    }
    act(aws, component, action, deployment).await
}

/// Applies components in order, and stores their outputs where the workflow would.
pub(crate) async fn apply(aws: &Aws, components: &[&str], deployment: &mut Value) {
    for component in components {
        let outputs = until_done(aws, component, "apply", deployment).await.unwrap();
        let key = match *component {
            "security-groups" => "securityGroups",
            "load-balancer" => "loadBalancer",
            other => other,
        };
        deployment["outputs"][key] = outputs;
    }
}

/// The names of the write calls so far.
pub(crate) fn writes(account: &Account) -> Vec<String> {
    account.call_log().iter().filter(|call| call.writes).map(stackdrop_simulator::Call::name).collect()
}
