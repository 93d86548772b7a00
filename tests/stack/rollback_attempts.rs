//! What happens during a rollback: a failed rollback is attempted once more, and what it cannot change does not stop it.

use serde_json::json;
use stackdrop::rehearsal::Checkpoint;
use stackdrop::{Deployed, Rehearsal, Setting};
use stackdrop_functions::deployment::outcome::Outcome;
use stackdrop_simulator::{Fault, Seed, When};
use stackdrop_specs::Spec;

use crate::{cause, changes, deployed, object, refused, resources, run, with};

/// A stack with a load balancer and an instance.
const STACK: &str = "
stack: shop
region: eu-central-1
network: { zones: 2 }
loadBalancer:
  certificateArn: arn:aws:acm:eu-central-1:123456789012:certificate/6d4b1c2e-8f3a-4f0e-9a51-2b7c9d0e1f23
services:
  web: { image: good, port: 80, count: 2, routes: [{ path: /* }] }
instance: { type: t3.micro }
";

/// An update of it that fails: its tasks crash.
fn bad_update() -> String {
    with(
        &with(&with(STACK, "image: good", "image: crashing"), "count: 2", "count: 4"),
        "zones: 2",
        "zones: 3",
    )
}

fn rehearsal() -> Rehearsal {
    let specs = [STACK.to_owned(), bad_update()].map(|spec| Spec::read(spec.as_bytes()).unwrap());
    let seeds = vec![Seed::ImageCrashingAfter { image: "crashing".into(), exit_code: 1, seconds: 5 }];
    Rehearsal::open(&Setting { seeds, ..Setting::default() }, &specs.each_ref()).unwrap()
}

/// Uploads the bad update of a deployed stack, and runs it. Returns its end, and a checkpoint for each of its steps.
async fn updated(rehearsal: &Rehearsal) -> (Deployed, Vec<Checkpoint>) {
    deployed(rehearsal, STACK).await;
    let event = rehearsal.upload("specs/shop.yaml", bad_update().as_bytes()).await.unwrap();
    rehearsal.run_with_checkpoints(event).await
}

/// The moment before a step of the rollback of the bad update.
async fn before(step: &str) -> Checkpoint {
    let (failed, checkpoints) = updated(&rehearsal()).await;
    assert_eq!(failed.result(), Outcome::Failed, "{:?}", failed.error());
    let mut rollback = checkpoints.into_iter().skip_while(|it| it.step() != Some("RollBackToBaseline"));
    rollback.find(|it| it.step() == Some(step)).unwrap()
}

/// Goes on with the rollback from a moment, after an incident.
async fn rolled_back(from: &Checkpoint, incident: &str) -> (Rehearsal, Deployed) {
    let rehearsal = Rehearsal::resume(from);
    cause(&rehearsal, incident);
    let deployed = rehearsal.go_on(from).await.unwrap();
    (rehearsal, deployed)
}

/// How often a deployment entered a step.
fn entered(deployed: &Deployed, step: &str) -> usize {
    let entered = |event: &&stackdrop_statemachine::Event| {
        event.state.as_deref() == Some(step) && event.detail.input().is_some()
    };
    deployed.outcome.history.iter().filter(entered).count()
}

#[tokio::test(start_paused = true)]
async fn a_rollback_that_fails_is_attempted_once_more() {
    for (refusals, result) in [(When::Only(1), Outcome::Failed), (When::From(1), Outcome::RollbackFailed)] {
        let from = before("SecurityGroups").await;
        let rehearsal = Rehearsal::resume(&from);
        rehearsal.account().arm(
            Fault::at("ec2", "DescribeSecurityGroups", refusals, refused()).during("/security-groups/apply"),
        );
        let failed = rehearsal.go_on(&from).await.unwrap();
        assert_eq!(failed.result(), result, "{:?}", failed.error());
        assert_eq!(entered(&failed, "RollBackToBaseline"), 1, "in the second attempt");
        let error = failed.error().unwrap();
        assert!(
            error.contains("crashing") || error.contains("exit code 1"),
            "the update's own failure: {error}"
        );
        if result == Outcome::RollbackFailed {
            assert!(error.contains("The rollback to the baseline failed: SecurityGroups failed"), "{error}");
            assert!(error.contains("the test says no"), "{error}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_deleted_after_its_step_of_a_rollback_is_created_again() {
    let from = before("WaitUntilStable").await;
    for incident in ["load-balancer-deleted", "listener-deleted", "target-groups-deleted"] {
        let (rehearsal, failed) = rolled_back(&from, incident).await;
        assert_eq!(failed.result(), Outcome::Failed, "{incident}: {:?}", failed.error());
        assert!(failed.error().unwrap().contains("rolled back to deployment"), "{:?}", failed.error());
        let next = rehearsal.deploy(STACK, &()).await.unwrap();
        assert!(next.succeeded(), "{incident}: {:?}", next.error());
        assert_eq!(changes(&next), [""; 0], "{incident}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_has_lost_its_tag_is_left_as_it_is_by_a_rollback_and_named() {
    let from = before("LoadBalancer").await;
    for incident in ["load-balancer-untagged", "listeners-untagged", "target-groups-untagged"] {
        let (rehearsal, failed) = rolled_back(&from, incident).await;
        assert_eq!(failed.result(), Outcome::Failed, "{incident}: {:?}", failed.error());
        let error = failed.error().unwrap();
        for text in ["except what was left as it is", "restore its tag stackdrop:stack = shop"] {
            assert!(error.contains(text), "{incident}: {text:?} is not in {error}");
        }
        let touched = failed.calls.iter().filter(|call| {
            call.writes && call.service == "elasticloadbalancing" && call.number >= from.calls()
        });
        assert_eq!(touched.map(stackdrop_simulator::Call::name).collect::<Vec<_>>(), [""; 0], "{incident}");
        let baseline = object(&rehearsal, "stacks/shop/baseline.json").await.unwrap();
        assert_eq!(baseline["unpruned"], true, "the next deployment prunes what the update left");
        let services = aws_sdk_ecs::Client::new(rehearsal.sdk());
        let web = services.describe_services().cluster("shop").services("web").send().await.unwrap();
        let web = &web.services()[0];
        assert_eq!(
            (web.desired_count(), web.running_count()),
            (2, 2),
            "{incident}: the services are rolled back"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn guard_dutys_endpoint_leaves_the_subnets_of_an_update_that_is_rolled_back() {
    let before_update = {
        let rehearsal = rehearsal();
        deployed(&rehearsal, STACK).await;
        resources(&rehearsal)
    };
    let from = before("Egress").await;
    let (rehearsal, failed) = rolled_back(&from, "guard-duty-added").await;
    assert_eq!(failed.result(), Outcome::Failed, "{:?}", failed.error());
    let own = |name: &String| name.contains("Subnet") || name.contains("VPC shop");
    let of = |all: Vec<String>| all.into_iter().filter(own).collect::<Vec<_>>();
    assert_eq!(of(resources(&rehearsal)), of(before_update));
    let destroyed =
        run(&rehearsal, json!({ "stack": "shop", "action": "destroy", "deleteData": ["shop-instance"] }))
            .await;
    assert_eq!(destroyed.result(), Outcome::Destroyed, "{:?}", destroyed.error());
}

#[tokio::test(start_paused = true)]
async fn a_rollback_without_fargate_capacity_keeps_the_tasks_that_run() {
    let rehearsal = rehearsal();
    deployed(&rehearsal, STACK).await;
    let ecs = aws_sdk_ecs::Client::new(rehearsal.sdk());
    let tasks = || async { ecs.list_tasks().cluster("shop").send().await.unwrap().task_arns.unwrap() };
    let before = tasks().await;
    cause(&rehearsal, "no-fargate-capacity");
    let failed = rehearsal.deploy(&bad_update(), &()).await.unwrap();
    assert_eq!(failed.result(), Outcome::Failed, "{:?}", failed.error());
    assert!(failed.error().unwrap().contains("Capacity is unavailable"), "{:?}", failed.error());
    assert_eq!(tasks().await, before, "{:?}", changes(&failed));
}

#[tokio::test(start_paused = true)]
async fn a_rollback_takes_back_the_number_to_which_auto_scaling_was_raised() {
    let scaling = |range: &str| format!("port: 80, scaling: {{ {range} }},");
    let before = with(STACK, "port: 80,", &scaling("min: 2, max: 6"));
    let after = with(&bad_update(), "port: 80,", &scaling("min: 4, max: 8"));
    let rehearsal = rehearsal();
    deployed(&rehearsal, &before).await;
    let ecs = aws_sdk_ecs::Client::new(rehearsal.sdk());
    let tasks = || async { ecs.list_tasks().cluster("shop").send().await.unwrap().task_arns.unwrap() };
    let running = tasks().await;
    cause(&rehearsal, "no-fargate-capacity");
    let failed = rehearsal.deploy(&after, &()).await.unwrap();
    assert_eq!(failed.result(), Outcome::Failed, "{:?}", failed.error());
    assert_eq!(tasks().await, running, "{:?}", changes(&failed));
    let service = ecs.describe_services().cluster("shop").services("web").send().await.unwrap();
    assert_eq!(service.services()[0].desired_count(), 2);
    let targets = rehearsal.aws().autoscaling().describe_scalable_targets().service_namespace("ecs".into());
    let targets = targets.send().await.unwrap().scalable_targets.unwrap();
    assert_eq!((targets[0].min_capacity(), targets[0].max_capacity()), (2, 6));
}

#[tokio::test(start_paused = true)]
async fn an_instance_that_loses_its_tag_late_in_a_rollback_is_named_too() {
    let from = before("WaitUntilStable").await;
    let rehearsal = Rehearsal::resume(&from);
    let ec2 = aws_sdk_ec2::Client::new(rehearsal.sdk());
    let running = ec2.describe_instances().send().await.unwrap();
    let id = running.reservations()[0].instances()[0].instance_id().unwrap();
    let tag = aws_sdk_ec2::types::Tag::builder().key("stackdrop:stack").build();
    ec2.delete_tags().resources(id).tags(tag).send().await.unwrap();
    let failed = rehearsal.go_on(&from).await.unwrap();
    assert_eq!(failed.result(), Outcome::Failed, "{:?}", failed.error());
    assert_eq!(entered(&failed, "RollBackToBaseline"), 0, "one attempt is enough");
    let error = failed.error().unwrap();
    let fix = format!("aws ec2 create-tags --resources {id} --tags Key=stackdrop:stack,Value=shop");
    for text in ["except what was left as it is", &fix] {
        assert!(error.contains(text), "{text:?} is not in {error}");
    }
    let baseline = object(&rehearsal, "stacks/shop/baseline.json").await.unwrap();
    assert_eq!(baseline["unpruned"], true, "the next deployment prunes what the update left");
}

#[tokio::test(start_paused = true)]
async fn a_rollback_that_fails_because_something_lost_its_tag_says_so() {
    // The rule is not created again, because the load balancer is left as it is: so the tasks get no requests.
    let from = before("LoadBalancer").await;
    let rehearsal = Rehearsal::resume(&from);
    cause(&rehearsal, "listener-rules-deleted");
    cause(&rehearsal, "target-groups-untagged");
    let failed = rehearsal.go_on(&from).await.unwrap();
    assert_eq!(failed.result(), Outcome::RollbackFailed, "{:?}", failed.error());
    let error = failed.error().unwrap();
    for text in ["The rollback left this as it is:", "restore its tag stackdrop:stack = shop"] {
        assert!(error.contains(text), "{text:?} is not in {error}");
    }
}
