//! Whole stacks, rehearsed: the real workflow file, functions and SDK clients against the simulated account.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on shall end")]

mod account; // what a person sees who works with an account
mod agrees; // the workflow file, the list of components and the error names say the same
mod approval; // somebody agrees to a plan, or does not
mod bad_input; // uploads and events that are no good
mod chaos; // random faults, duplicate events and stopped executions
mod command; // what a person sees who runs the command
mod components; // what a component needs outside its own folder
mod crowds; // more than one deployment of a stack
mod deploys; // what stands after a deployment, and who may reach whom
mod drifts_network; // what was done by hand to network, way out, groups and instance
mod estimates; // what a plan says of cost and time, and what they come to
mod figures; // what a deployment costs by itself
mod floors; // imports go one way
mod foreign; // what is somebody else's is left alone, and named
mod installation; // Stackdrop at work in an account, left to itself
mod interrupted; // stopped executions are looked after
mod life; // what comes after the first deployment: redeploys, removal
mod omissions; // every entry of the workflow table is needed
mod pages; // the pages for contributors name what exists
mod permissions; // what each function's role allows
mod preflight_network; // what would make them fail, told before anything is touched
mod records; // what the bucket remembers, and what starts a deployment or does not
mod repeats; // everything twice
mod roles; // what a stack's roles may do, and what others have given them
mod tags; // what a spec says of tags, and what is done to them by hand
mod template; // what the template says
mod troubles_service; // what goes wrong with databases, load balancers and services
mod twice; // every action twice, and killed at each of its calls
mod undoes; // a failure anywhere leaves nothing behind
mod updates_network; // what the spec changes of them, changed in place
mod updates_service; // each field of databases, load balancers and services alone
mod watching; // what is announced; drift; going back
mod way_out; // the old way out is there until the new one has proved itself
mod wiring; // the template's wiring: what starts what, what becomes of events, who is notified
mod words; // texts for people use the agreed terms
mod workflow; // the workflow file is the one generated from the table

use std::time::Duration;

use serde_json::Value;
use stackdrop::rehearsal::announces;
use stackdrop::{Deployed, Rehearsal, Setting};
use stackdrop_simulator::{Call, FaultKind};
use stackdrop_specs::Spec;
use stackdrop_statemachine::{Abort, StepEvent, Watch};

/// The example spec.
const SHOP: &str = include_str!("../../specs/shop.yaml");
/// The example without a way to the internet: two services, one of them a worker; domain instead of certificate.
const PRIVATE: &str = include_str!("../../specs/private.yaml");
/// The shortest useful spec.
const MINIMAL: &str = include_str!("../../specs/minimal.yaml");

/// An account in which nothing is deployed yet.
fn rehearsal(spec: &str) -> Rehearsal {
    let spec = Spec::read(spec.as_bytes()).unwrap();
    Rehearsal::open(&Setting::default(), &[&spec]).unwrap()
}

/// Deploys a spec, and expects that it succeeds.
async fn deployed(rehearsal: &Rehearsal, spec: &str) -> Deployed {
    let deployed = rehearsal.deploy(spec, &()).await.unwrap();
    assert!(deployed.succeeded(), "{}: {:?}", deployed.result(), deployed.error());
    assert_eq!(rehearsal.without_log().into_iter().collect::<Vec<_>>(), Vec::<String>::new());
    deployed
}

/// What stands in the account, as `type name` lines.
fn standing(rehearsal: &Rehearsal) -> Vec<String> {
    let mut names: Vec<String> = rehearsal
        .account()
        .inventory()
        .into_iter()
        .map(|item| format!("{} {}", item.kind, item.name))
        .collect();
    names.sort();
    names
}

/// Runs an execution with this input: an event, or what somebody asks for by hand.
async fn asked(rehearsal: &Rehearsal, input: Value) -> Deployed {
    rehearsal.run(input, &(), &Abort::default()).await
}

/// Stops the execution when it comes to a step.
struct StopAt(&'static str, Abort);

impl Watch for StopAt {
    fn entered(&self, step: &StepEvent<'_>) {
        if step.name == self.0 {
            self.1.stop("Stopped", "by the test");
        }
    }
}

/// The workflow's state of an admitted deployment of a spec: what the steps are given.
fn admitted(spec: &Spec) -> Value {
    serde_json::json!({
        "verdict": "admitted", "stack": spec.stack, "id": "first", "execution": "arn",
        "source": { "key": format!("specs/{}.yaml", spec.stack), "version": "1" },
        "lock": "", "started": "2026-01-01T00:00:00Z", "trigger": "manual", "spec": spec, "baseline": null,
        "refreshImage": false, "reportOnly": false, "destroying": false, "rollingBack": false,
        "plan": [], "outputs": {}, "failed": {},
    })
}

/// One of the bucket's records, if it is there.
async fn object(rehearsal: &Rehearsal, key: &str) -> Option<Value> {
    rehearsal.object(key).await.unwrap()
}

/// The example with a database that may be removed.
fn unprotected() -> String {
    with(SHOP, "deletionProtection: true", "deletionProtection: false")
}

/// Opens the database of the example to everybody, by hand, as nobody should.
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

/// Whether a call may change something in AWS, apart from the bucket's records and announcements.
fn changes_something(call: &Call) -> bool {
    call.writes && call.service != "s3" && !announces(call)
}

/// The calls of a deployment that changed something in AWS, apart from the bucket's records and announcements.
fn changes(deployed: &Deployed) -> Vec<String> {
    deployed.calls.iter().filter(|call| changes_something(call)).map(Call::name).collect()
}

/// What AWS says to a call that a test has it refuse.
fn refused() -> FaultKind {
    FaultKind::Refused { code: "RefusedByTest".into(), message: "the test says no".into() }
}

/// Lets time pass in the account.
#[expect(clippy::disallowed_methods, reason = "the test's own pace; no function waits here")]
async fn pause(duration: Duration) {
    tokio::time::sleep(duration).await;
}

/// A spec with one thing changed in it.
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
