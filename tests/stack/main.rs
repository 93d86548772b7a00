//! Rehearsals of whole stacks: the real workflow file, functions and SDK clients, against a simulated account.

#![allow(clippy::unwrap_used, reason = "a test that cannot continue must fail")]

mod account_commands; // the commands for an account: plan, deploy, status, history, approve, destroy
mod agrees; // the workflow file, the components, the error names and the template agree
mod announcements; // notifications, drift reports, deploying an earlier version again
mod any_spec; // whatever `validate` accepts can be deployed
mod approval; // deployments that wait for approval
mod approval_rules; // which deployments need approval
mod bad_input; // invalid uploads, events and manual requests
mod chaos; // random faults, duplicate events and stopped executions
mod command; // the commands without an account: rehearse, validate
mod components; // what a component needs outside its own folder
mod conclusions; // how a deployment ends, by what its steps left in the state
mod concurrency; // several deployments of one stack: duplicate, late and unordered events, stopped executions
mod database_changes; // queued changes, storage, upgrades and parameters of a database, as RDS has them
mod database_gone; // a database that somebody deleted is not replaced by an empty one
mod database_incidents; // what AWS and people do to a database between deployments
mod database_rollbacks; // rollbacks while something happens to the database
mod deployment_costs; // what AWS charges for a deployment itself
mod deploys; // the resources of a deployed stack, and the connections that they allow
mod domains; // the zones and names of Route 53 that an installation opens to stacks
mod drift_network; // manual changes of network, egress, security groups and instance are repaired
mod drift_service; // manual changes of databases, load balancers and services are repaired
mod effects; // what a plan deletes, interrupts, opens or cannot undo, and what people must agree to
mod egress_changes; // the previous egress is kept until the new one works
mod ended_by_aws; // executions that Step Functions itself ends as FAILED are rolled back
mod estimates; // the estimated cost and duration, compared with the rehearsal
mod floors; // imports of the functions go one way
mod flow_logs; // flow logs of the VPC
mod follow_ups; // what follows in one component from a change in another is in the plan
mod idempotency; // a component applied or deleted twice
mod installation; // an installation that runs by itself: uploads, the schedule, the Step Functions API
mod instances; // what people and AWS do to the EC2 instance: its data, its profile, and its agent
mod interrupted; // stopped executions are rolled back
mod large_specs; // the workflow's state stays below Step Functions' limit, also in a rollback
mod late_events; // events of the bucket that come late, or not at all
mod leaks; // what a refused spec contains is written nowhere
mod leftovers; // what a deployment leaves behind is deleted later, and the locks of others stay
mod life_cycle; // after the first deployment: redeploys, updates, destroys
mod load_balancer_incidents; // what AWS and people do to load balancers, certificates and DNS records between deployments
mod load_balancer_protection; // the deletion protection of a load balancer
mod money; // what a stack may cost without approval, and how large it may be
mod moto; // whole stacks in moto, another simulation of AWS
mod names; // the names of two stacks never collide
mod network_events; // what AWS and people do to the network, egress and instance
mod network_security; // security properties of the network, egress and instance
mod network_tags; // removed and changed tags of the network, egress and instance
mod not_owned; // resources of other owners are named, and never changed
mod omissions; // every entry of the workflow table is needed
mod pages; // the pages for contributors and reviewers name what exists
mod password; // rotations of the database's password, and the restarts after them
mod permissions; // what each role allows
mod plan_only; // executions that only plan change nothing
mod preflight_network; // problems of network, egress, security groups and instance, reported before any change
mod preflight_service; // problems of databases, load balancers and services, reported before any change
#[path = "../python/mod.rs"]
mod python; // the Python environment of the judges
mod quiet_nights; // nights in which nothing changes find no drift
mod records; // the records in the bucket, and what starts a deployment
mod restore; // databases that are created from a snapshot
mod retries; // every action run twice, and killed at each of its calls
mod roles; // the IAM roles of a stack: permissions, trust, policies of others
mod rollback_attempts; // what happens during a rollback does not make it fail
mod rolls_back; // a failure at any step leaves no resources
mod service_events; // what AWS and people do to services is repaired, rolled back or explained
mod service_failures; // failures of databases, load balancers and services are explained
mod service_models; // requests and answers agree with AWS's models of its services
mod shared_secrets; // which secrets and parameters of the account a stack may use
mod tags; // tags of the spec reach every resource, and are restored
mod template; // properties of template.yaml
mod traffic; // requests are answered in each second of an update
mod updates_network; // updates of network, egress, security groups and instance
mod updates_of_stackdrop; // what an update of Stackdrop itself does to stacks
mod updates_service; // updates of databases, load balancers and services
mod waits; // how soon is told what a person must do
mod web_acl; // web ACLs of AWS WAF that filter a load balancer's requests
mod wiring; // the template's wiring: what starts what, which events are kept, who is notified
mod words; // texts for people use the agreed terms
mod workflow; // the workflow file is the one generated from the table

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};
use stackdrop::rehearsal::announces;
use stackdrop::{Deployed, Rehearsal, Setting};
use stackdrop_simulator::{Call, FaultKind, Incident};
use stackdrop_specs::Spec;
use stackdrop_statemachine::{Abort, StepEvent, Watch};

/// The example spec.
const SHOP: &str = include_str!("../../specs/shop.yaml");
/// The example without NAT gateways: two services, one of them a worker; a domain instead of a certificate.
const PRIVATE: &str = include_str!("../../specs/private.yaml");
/// The minimal spec.
const MINIMAL: &str = include_str!("../../specs/minimal.yaml");

/// A spec that is valid.
fn read(spec: &str) -> Spec {
    Spec::read(spec.as_bytes()).unwrap()
}

/// An account without deployments.
fn rehearsal(spec: &str) -> Rehearsal {
    Rehearsal::open(&Setting::default(), &[&read(spec)]).unwrap()
}

/// Deploys a spec, and fails unless the deployment succeeds.
async fn deployed(rehearsal: &Rehearsal, spec: &str) -> Deployed {
    let deployed = rehearsal.deploy(spec, &()).await.unwrap();
    assert!(deployed.succeeded(), "{}: {:?}", deployed.result(), deployed.error());
    assert_eq!(rehearsal.without_log().into_iter().collect::<Vec<_>>(), Vec::<String>::new());
    deployed
}

/// The resources in the account, as `type name` lines.
fn resources(rehearsal: &Rehearsal) -> Vec<String> {
    let mut names: Vec<String> = rehearsal
        .account()
        .inventory()
        .into_iter()
        .map(|item| format!("{} {}", item.kind, item.name))
        .collect();
    names.sort();
    names
}

/// The resources in the account without log groups: a rollback keeps the log groups to which tasks have written.
fn resources_but_logs(rehearsal: &Rehearsal) -> Vec<String> {
    resources(rehearsal).into_iter().filter(|name| !name.starts_with("AWS::Logs::LogGroup")).collect()
}

/// Runs an execution with this input: an event or a manual request.
async fn run(rehearsal: &Rehearsal, input: Value) -> Deployed {
    rehearsal.run(input, &(), &Abort::default()).await
}

/// Stops the execution when it enters a step.
struct StopAt(&'static str, Abort);

impl Watch for StopAt {
    fn entered(&self, step: &StepEvent<'_>) {
        if step.name == self.0 {
            self.1.stop("Stopped", "by the test");
        }
    }
}

/// Ends the execution as failed when it enters a step, as Step Functions does after an error of the workflow itself.
struct FailAt(&'static str, Abort);

impl Watch for FailAt {
    fn entered(&self, step: &StepEvent<'_>) {
        if step.name == self.0 {
            self.1.fail("States.Runtime", "An error occurred while executing the state: ended by the test.");
        }
    }
}

/// The workflow's state after Admit has accepted a deployment of the spec: the input of the steps.
fn admitted_state(spec: &Spec) -> Value {
    serde_json::json!({
        "verdict": "admitted", "stack": spec.stack, "id": "first", "execution": "arn",
        "source": { "key": format!("specs/{}.yaml", spec.stack), "version": "1" },
        "lock": "", "started": "2026-01-01T00:00:00Z", "trigger": "manual", "spec": spec, "baseline": null,
        "refreshImage": false, "reportOnly": false, "destroying": false, "rollingBack": false,
        "plan": [], "outputs": {}, "failed": {},
        "consent": { "deleteData": ["shop-database", "shop-instance"] },
    })
}

/// A record in the bucket, if it exists.
async fn object(rehearsal: &Rehearsal, key: &str) -> Option<Value> {
    rehearsal.object(key).await.unwrap()
}

/// The example without deletion protection.
fn unprotected() -> String {
    with(SHOP, "deletionProtection: true", "deletionProtection: false")
}

/// The example without deletion protection, and without the instance: nobody has to agree to its destruction.
fn without_instance() -> String {
    let spec = with(&unprotected(), "allow: [services, instance]", "allow: [services]");
    let (before, rest) = spec.split_once("# A small Linux machine").unwrap();
    let (_, after) = rest.split_once("# PostgreSQL").unwrap();
    format!("{before}# PostgreSQL{after}")
}

/// Parameters of an installation that allows every size and every cost.
fn no_limits() -> BTreeMap<String, String> {
    let names = ["MaxMonthlyUsd", "MaxTasks", "MaxStorageGib", "MaxVcpus"];
    names.into_iter().map(|name| (name.to_owned(), "100000000".to_owned())).collect()
}

/// Makes a dangerous manual change: opens the database of the example to every address.
async fn open_the_database(rehearsal: &Rehearsal) {
    let baseline = object(rehearsal, "stacks/shop/baseline.json").await.unwrap();
    let group = baseline["outputs"]["securityGroups"]["database"].as_str().unwrap();
    let ec2 = aws_sdk_ec2::Client::new(rehearsal.sdk());
    let anyone = aws_sdk_ec2::types::IpRange::builder().cidr_ip("0.0.0.0/0").build();
    let rule = aws_sdk_ec2::types::IpPermission::builder()
        .ip_protocol("tcp")
        .from_port(5432)
        .to_port(5432)
        .ip_ranges(anyone)
        .build();
    ec2.authorize_security_group_ingress().group_id(group).ip_permissions(rule).send().await.unwrap();
}

/// Whether a call can change something in AWS, except records in the bucket and announcements.
fn changes_something(call: &Call) -> bool {
    call.writes && call.service != "s3" && !announces(call)
}

/// The calls of a deployment that can change something in AWS, except records in the bucket and announcements.
fn changes(deployed: &Deployed) -> Vec<String> {
    deployed.calls.iter().filter(|call| changes_something(call)).map(Call::name).collect()
}

/// Deploys the newest version of `shop` again.
async fn redeploy(rehearsal: &Rehearsal) -> Deployed {
    run(rehearsal, json!({ "stack": "shop" })).await
}

/// Causes an incident of `shop`, which must change something. Returns the IDs of what it changed.
fn cause(rehearsal: &Rehearsal, name: &str) -> Vec<String> {
    let changed = rehearsal.account().cause(Incident::named(name).unwrap(), "shop");
    assert_ne!(changed, Vec::<String>::new(), "{name} changed nothing");
    changed
}

/// The error of a call that a test lets AWS refuse.
fn refused() -> FaultKind {
    FaultKind::Refused { code: "RefusedByTest".into(), message: "the test says no".into() }
}

/// Lets simulated time pass.
#[expect(clippy::disallowed_methods, reason = "the test waits in simulated time; no function does")]
async fn pause(duration: Duration) {
    tokio::time::sleep(duration).await;
}

/// A spec with one text replaced.
fn with(spec: &str, from: &str, to: &str) -> String {
    let changed = spec.replacen(from, to, 1);
    assert_ne!(changed, spec, "the spec has no {from:?}");
    changed
}

/// The first step that failed.
fn failed_step(deployed: &Deployed) -> Option<String> {
    use stackdrop_statemachine::Ending;
    let failed = |ending: &Ending| matches!(ending, Ending::Caught { .. } | Ending::Failed(_));
    let steps = &deployed.outcome.steps;
    steps
        .iter()
        .filter(|step| step.parent.is_none())
        .find(|step| failed(&step.ending))
        .map(|step| step.name.clone())
}
