//! Whole stacks in moto, another simulation of AWS: the functions must not depend on a belief of Stackdrop's own simulator.
//!
//! moto answers for the services that stacks consist of; the simulated account answers for those that Stackdrop runs on.
//! `server.py` starts moto with the changes that it needs, each with its reason. Simulated time stands still
//! until moto has answered.

mod connector; // sends each call to moto or to the account
mod server; // starts and ends moto

use aws_sdk_elasticloadbalancingv2::types::LoadBalancerAttribute;
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use serde_json::{Value, json};
use stackdrop::rehearsal::{in_simulated_time, outputs_of};
use stackdrop::{Deployed, Rehearsal};
use stackdrop_functions::Aws;
use stackdrop_functions::deployment::outcome::Outcome;
use stackdrop_functions::deployment::outputs::Outputs;

use crate::drift_network::{self, ManualChange};
use crate::drift_service;
use crate::updates_network::planned;
use crate::{SHOP, run, unprotected, with};
use connector::{Calls, Split};
use server::Server;

/// moto ignores `AssociatePublicIpAddress` of `ModifyNetworkInterfaceAttribute`.
const NOT_IN_MOTO: ManualChange = ManualChange::AssignPublicAddress;

/// The manual changes of databases, load balancers and services, and the start of the line that the next plan has for each.
/// Those of schedules are left out: schedules are in the simulated account. So is `ChangeTaskCount`: the service scales, so its
/// count is left alone.
const IN_SERVICES: [(drift_service::ManualChange, &str); 7] = [
    (
        drift_service::ManualChange::ChangeTargetGroupAttribute,
        "target-group/web deregistration_delay.timeout_seconds 300 -> 30",
    ),
    (drift_service::ManualChange::ChangeLogRetention, "log-group/web logDays 1 -> 30"),
    (drift_service::ManualChange::ChangeRolePolicy, "role/execution policy {"),
    (drift_service::ManualChange::DeleteScalingPolicy, "scaling-policy/web create"),
    (drift_service::ManualChange::TurnOffBackups, "instance backupDays 0 -> 7"),
    (drift_service::ManualChange::ChangeInstanceClass, "instance class db.t4g.small -> db.t4g.micro"),
    (drift_service::ManualChange::DeleteListenerRule, "rule/any-host/_ create"),
];

/// More manual changes of the load balancer and the logs, with their lines.
const IN_BALANCERS: [(Balancer, &str); 3] = [
    (Balancer::Open, "load-balancer securityGroups sg-"),
    (Balancer::IdleTimeout, "load-balancer idle_timeout.timeout_seconds 90 -> 60"),
    (Balancer::LogsForever, "log-group/web logDays forever -> 30"),
];

/// A simulated account whose stacks are in moto.
struct InMoto {
    rehearsal: Rehearsal,
    server: Server,
    calls: Calls,
}

impl InMoto {
    fn start(spec: &str) -> Result<Self, String> {
        let (server, calls) = (Server::start()?, Calls::default());
        let client = |account: SharedHttpClient| {
            SharedHttpClient::new(Split { account, moto: server.port, calls: calls.clone() })
        };
        let rehearsal = crate::rehearsal(spec).through(client);
        Ok(Self { rehearsal, server, calls })
    }

    /// Deploys a spec: the lines of the plan, and the calls that can change something.
    async fn deploy(&self, spec: &str) -> (Deployed, Vec<String>) {
        self.calls.take_writes();
        let deployed = self.rehearsal.deploy(spec, &()).await.unwrap();
        (deployed, self.calls.take_writes())
    }

    async fn run(&self, input: Value) -> (Deployed, Vec<String>) {
        self.calls.take_writes();
        let deployed = run(&self.rehearsal, input).await;
        (deployed, self.calls.take_writes())
    }

    /// The newest version of the spec again, which must change nothing.
    async fn changes_nothing(&self, after: &str) {
        let (again, writes) = self.run(json!({ "stack": "shop" })).await;
        assert!(again.succeeded(), "after {after}: {:?}", again.error());
        assert_eq!(planned(&self.rehearsal, &again).await, Vec::<String>::new(), "after {after}");
        assert_eq!(writes, Vec::<String>::new(), "after {after}");
    }

    /// A deployment that must succeed.
    async fn succeeds(&self, spec: &str) -> (Deployed, Vec<String>) {
        let (deployed, writes) = self.deploy(spec).await;
        assert!(deployed.succeeded(), "{:?}", deployed.error());
        (deployed, writes)
    }
}

/// Runs a scenario. Skips it if there is no moto.
#[expect(clippy::print_stdout, reason = "a test that is skipped says so")]
fn in_moto<F: Future<Output = ()>>(spec: &str, scenario: impl FnOnce(InMoto) -> F) {
    let moto = match InMoto::start(spec) {
        Ok(moto) => moto,
        Err(why) => {
            println!("skipped: {why}, so moto cannot answer for the stack's services");
            return;
        }
    };
    in_simulated_time(scenario(moto)).unwrap();
}

#[test]
fn a_stack_in_moto_is_deployed_updated_and_destroyed() {
    in_moto(SHOP, async |moto| {
        let before = moto.server.resources();
        let first = unprotected();
        moto.succeeds(&first).await;
        moto.changes_nothing("the first deployment").await;
        let mut update = with(&first, "LOG_LEVEL: info", "LOG_LEVEL: debug");
        for (from, to) in
            [("zones: 2", "zones: 3"), ("interval: 10", "interval: 15"), ("team: shop", "team: books")]
        {
            update = with(&update, from, to);
        }
        moto.succeeds(&update).await;
        moto.changes_nothing("the update").await;
        moto.succeeds(&with(&update, "nginx:1.29", "nginx:1.30")).await;
        moto.changes_nothing("the update of the image").await;
        let (destroyed, _) =
            moto.run(json!({ "stack": "shop", "action": "destroy", "deleteData": ["shop-instance"] })).await;
        assert!(destroyed.succeeded(), "{:?}", destroyed.error());
        assert_eq!(moto.server.resources(), before);
    });
}

/// Manual changes that one stack can have at the same time.
fn batches() -> [Vec<(Change, &'static str)>; 3] {
    let network = |batch: &[ManualChange]| -> Vec<(Change, &'static str)> {
        let all = drift_network::DRIFTS.iter().filter(|(change, _)| batch.contains(change));
        let tried = all.filter(|(change, _)| *change != NOT_IN_MOTO);
        tried.map(|(change, line)| (Change::Network(*change), *line)).collect()
    };
    let [first, second] = drift_network::BATCHES;
    let services = IN_SERVICES.map(|(change, line)| (Change::Service(change), line));
    let balancers = IN_BALANCERS.map(|(change, line)| (Change::Balancer(change), line));
    [
        [network(first), services.to_vec()].concat(),
        [network(second), balancers.to_vec()].concat(),
        // Each of these conflicts with one of the others.
        network(&[ManualChange::DisassociateSubnetFromTable, ManualChange::DetachInternetGateway]),
    ]
}

#[test]
fn manual_changes_of_a_stack_in_moto_are_reported_and_repaired() {
    in_moto(SHOP, async |moto| {
        let (first, _) = moto.succeeds(&unprotected()).await;
        let mut outputs = outputs_of(&first).unwrap();
        let (mut tried, mut unreported) = (0, Vec::new());
        for batch in batches() {
            tried += batch.len();
            for (change, _) in &batch {
                change.apply(&moto.rehearsal, &outputs).await;
            }
            let (repaired, writes) = moto.run(json!({ "stack": "shop" })).await;
            assert!(repaired.succeeded(), "{batch:?}: {:?}, wrote {writes:?}", repaired.error());
            outputs = outputs_of(&repaired).unwrap();
            let plan = planned(&moto.rehearsal, &repaired).await;
            for (change, line) in &batch {
                // The addresses of the simulated account are not moto's.
                let line = line.trim_end_matches("198.18.");
                if !plan.iter().any(|planned| planned.starts_with(line)) {
                    unreported.push(format!("{change:?}: no line {line:?} in {plan:#?}"));
                }
            }
            moto.changes_nothing(&format!("{batch:?}")).await;
        }
        println!("{tried} manual changes were reported and repaired in moto");
        assert!(unreported.is_empty(), "{} of {tried}:\n{}", unreported.len(), unreported.join("\n"));
        assert!(tried >= 30, "{tried}");
    });
}

/// A manual change of any part of a stack.
#[derive(Debug, Clone, Copy)]
enum Change {
    Network(ManualChange),
    Service(drift_service::ManualChange),
    Balancer(Balancer),
}

/// A manual change of the load balancer, or of the logs.
#[derive(Debug, Clone, Copy)]
enum Balancer {
    /// It gets the security group of the services.
    Open,
    IdleTimeout,
    LogsForever,
}

impl Balancer {
    async fn apply(self, aws: &Aws, outputs: &Outputs) {
        let arn = outputs.load_balancer.as_ref().unwrap().arn.as_ref().unwrap();
        let (elb, logs) = (aws.elb(), aws.logs());
        match self {
            Self::Open => {
                let group = outputs.security_groups.as_ref().unwrap().service.as_ref().unwrap();
                let call = elb.set_security_groups().load_balancer_arn(arn).security_groups(group);
                call.send().await.map(drop).unwrap();
            }
            Self::IdleTimeout => {
                let longer = LoadBalancerAttribute::builder().key("idle_timeout.timeout_seconds").value("90");
                let call = elb.modify_load_balancer_attributes().load_balancer_arn(arn);
                call.attributes(longer.build()).send().await.map(drop).unwrap();
            }
            Self::LogsForever => {
                let call = logs.delete_retention_policy().log_group_name("/stackdrop/shop/web");
                call.send().await.map(drop).unwrap();
            }
        }
    }
}

impl Change {
    async fn apply(self, rehearsal: &Rehearsal, outputs: &Outputs) {
        match self {
            Self::Network(change) => change.apply(rehearsal, outputs).await,
            Self::Service(change) => change.apply(rehearsal.aws()).await,
            Self::Balancer(change) => change.apply(rehearsal.aws(), outputs).await,
        }
    }
}

/// The calls after the success of a deployment, whose refusal is only a warning.
const WARNED: [&str; 1] = ["secretsmanager:RotateSecret"];

#[test]
fn a_refusal_at_any_writing_call_leaves_nothing_in_moto() {
    in_moto(SHOP, async |moto| {
        let spec = unprotected();
        let before = moto.server.resources();
        let (_, writes) = moto.succeeds(&spec).await;
        let (destroyed, _) =
            moto.run(json!({ "stack": "shop", "action": "destroy", "deleteData": ["shop-instance"] })).await;
        assert!(destroyed.succeeded(), "{:?}", destroyed.error());
        let mut operations = writes;
        operations.sort();
        operations.dedup();
        let mut wrong = Vec::new();
        for operation in &operations {
            moto.calls.refuse(Some(operation));
            let (failed, _) = moto.deploy(&spec).await;
            moto.calls.refuse(None);
            let left = moto.server.resources();
            if WARNED.contains(&operation.as_str()) && failed.succeeded() {
                let (destroyed, _) = moto
                    .run(json!({ "stack": "shop", "action": "destroy", "deleteData": ["shop-instance"] }))
                    .await;
                assert!(destroyed.succeeded(), "{:?}", destroyed.error());
                continue;
            }
            if failed.result() != Outcome::Failed || left != before {
                let left: Vec<&String> = left.iter().filter(|each| !before.contains(each)).collect();
                wrong.push(format!(
                    "{operation}: {}: {:?}; remaining: {left:?}",
                    failed.result(),
                    failed.error()
                ));
                break;
            }
        }
        println!("{} refusals", operations.len());
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    });
}
