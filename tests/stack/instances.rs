//! What people and AWS do to the EC2 instance: its data, its profile, and its agent.

use std::time::Duration;

use aws_sdk_ec2::Client;
use serde_json::{Value, json};
use stackdrop_functions::aws::error::StepError;
use stackdrop_functions::deployment::outcome::Outcome;
use stackdrop_functions::handle;
use stackdrop_simulator::{Call, Fault, FaultKind, When};

use crate::updates_network::{INSTANCE_ONLY, assert_planned, planned};
use crate::{
    admitted_state, cause, changes, deployed, pause, read, redeploy, rehearsal, resources, run, with,
};

/// A call that AWS refuses with this code and message.
fn refusal(code: &str, message: &str) -> FaultKind {
    FaultKind::Refused { code: code.into(), message: message.into() }
}

#[tokio::test(start_paused = true)]
async fn a_stack_whose_instance_somebody_terminates_is_destroyed_without_consent() {
    let rehearsal = rehearsal(INSTANCE_ONLY);
    deployed(&rehearsal, INSTANCE_ONLY).await;
    let request = json!({ "stack": "shop", "action": "destroy" });
    let refused = run(&rehearsal, request.clone()).await;
    assert_eq!((refused.result(), changes(&refused)), (Outcome::Failed, Vec::new()), "its disk has data");
    cause(&rehearsal, "instance-terminated");
    let destroyed = run(&rehearsal, request).await;
    assert_eq!(destroyed.result(), Outcome::Destroyed, "{:?}", destroyed.error());
    assert_eq!(resources(&rehearsal), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn the_instance_of_another_stack_is_never_taken_for_the_stacks_own() {
    let rehearsal = rehearsal(INSTANCE_ONLY);
    deployed(&rehearsal, &with(INSTANCE_ONLY, "stack: shop", "stack: other")).await;
    deployed(&rehearsal, INSTANCE_ONLY).await;
    cause(&rehearsal, "instance-profile-detached");
    let repaired = redeploy(&rehearsal).await;
    assert!(repaired.succeeded(), "{:?}", repaired.error());
    let ec2 = Client::new(rehearsal.sdk());
    let found = ec2.describe_iam_instance_profile_associations().send().await.unwrap();
    let associations = found.iam_instance_profile_associations().iter();
    let live = associations.filter(|it| it.state().is_some_and(|state| state.as_str() == "associated"));
    let mut profiles: Vec<&str> =
        live.filter_map(|it| it.iam_instance_profile()?.arn()?.rsplit('/').next()).collect();
    profiles.sort_unstable();
    let expected = ["other", "shop"].map(|stack| format!("stackdrop-{stack}-instance-eu-central-1"));
    assert_eq!(profiles, expected);
    // EC2 forgets a terminated instance after about an hour.
    cause(&rehearsal, "instance-terminated");
    pause(Duration::from_hours(3)).await;
    let replaced = redeploy(&rehearsal).await;
    assert!(replaced.succeeded(), "{:?}", replaced.error());
    assert_planned(&planned(&rehearsal, &replaced).await, &["instance create"]);
}

#[tokio::test(start_paused = true)]
async fn an_instance_that_is_offline_is_restarted_once_by_the_second_attempt_of_a_rollback() {
    let rehearsal = rehearsal(INSTANCE_ONLY);
    let outputs = deployed(&rehearsal, INSTANCE_ONLY).await.outputs();
    let spec = read(INSTANCE_ONLY);
    // Runs the step of the instance once. Returns how it ended, and its writing calls.
    let apply = async |again: bool, is_applied: bool| {
        let mut state = admitted_state(&spec);
        state["baseline"] =
            json!({ "deployment": "first", "version": "1", "spec": spec, "outputs": outputs });
        state["outputs"] = outputs.clone();
        if !is_applied {
            state["outputs"]["instance"] = Value::Null;
        }
        state["rollingBack"] = json!(true);
        state["rollingBackAgain"] = json!(again);
        let before = rehearsal.account().calls();
        let payload = json!({ "action": "apply", "deployment": state });
        let ended = handle("instance", payload, rehearsal.aws()).await;
        let calls = rehearsal.account().call_log_from(before);
        (ended, calls.iter().filter(|call| call.writes).map(Call::name).collect::<Vec<_>>())
    };
    pause(Duration::from_mins(10)).await;
    let (ended, made) = apply(true, false).await;
    assert!(ended.is_ok() && made.is_empty(), "its agent is online: {ended:?} {made:?}");
    let kind = refusal("InvalidInstanceId", "the test says no");
    rehearsal.account().arm(Fault::at("ssm", "DescribeInstanceInformation", When::From(1), kind));
    // The first attempt leaves it alone, and so does the second one after it has restarted the instance.
    for (again, is_applied) in [(false, false), (true, true)] {
        let (ended, made) = apply(again, is_applied).await;
        assert!(ended.is_ok() && made.is_empty(), "{again} {is_applied}: {ended:?} {made:?}");
    }
    let (ended, made) = apply(true, false).await;
    assert!(matches!(&ended, Err(StepError::Pending(what)) if what.contains("to stop")), "{ended:?}");
    assert_eq!(made, ["ec2:StopInstances"]);
    pause(Duration::from_mins(5)).await;
    let (ended, made) = apply(true, false).await;
    assert!(ended.is_ok(), "{ended:?}");
    assert_eq!(made, ["ec2:StartInstances"]);
}

#[tokio::test(start_paused = true)]
async fn what_aws_refuses_for_a_moment_delays_an_instance_or_its_deletion() {
    for (service, operation, code, message) in [
        ("iam", "CreateInstanceProfile", "EntityAlreadyExists", "the test says no"),
        ("iam", "AddRoleToInstanceProfile", "NoSuchEntity", "the test says no"),
        ("iam", "AddRoleToInstanceProfile", "LimitExceeded", "the test says no"),
        ("iam", "AddRoleToInstanceProfile", "AccessDenied", "the test says no"),
        ("ec2", "RunInstances", "InvalidParameterValue", "Invalid IAM Instance Profile name"),
        ("ec2", "RunInstances", "InvalidParameterValue", "The profile has no associated IAM Roles"),
        ("ec2", "TerminateInstances", "InvalidInstanceID.NotFound", "the test says no"),
        ("iam", "DeleteInstanceProfile", "DeleteConflict", "the test says no"),
    ] {
        let rehearsal = rehearsal(INSTANCE_ONLY);
        let kind = refusal(code, message);
        rehearsal.account().arm(Fault::at(service, operation, When::Only(1), kind));
        deployed(&rehearsal, INSTANCE_ONLY).await;
        let request = json!({ "stack": "shop", "action": "destroy", "deleteData": ["shop-instance"] });
        let destroyed = run(&rehearsal, request).await;
        assert_eq!(destroyed.result(), Outcome::Destroyed, "{operation} {code}: {:?}", destroyed.error());
        assert_eq!(rehearsal.account().strikes().len(), 1, "{operation} {code}");
        assert_eq!(resources(&rehearsal), Vec::<String>::new(), "{operation} {code}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_instance_that_somebody_protects_from_its_termination_stays_and_the_destroy_says_why() {
    let rehearsal = rehearsal(INSTANCE_ONLY);
    deployed(&rehearsal, INSTANCE_ONLY).await;
    let kind = refusal("OperationNotPermitted", "Modify its 'disableApiTermination' instance attribute");
    rehearsal.account().arm(Fault::at("ec2", "TerminateInstances", When::From(1), kind));
    let request = json!({ "stack": "shop", "action": "destroy", "deleteData": ["shop-instance"] });
    let stays = run(&rehearsal, request.clone()).await;
    assert_eq!(stays.result(), Outcome::DestroyFailed, "{:?}", stays.error());
    let error = stays.error().unwrap();
    assert!(error.contains("termination protection was turned on by hand: turn it off"), "{error}");
    assert!(resources(&rehearsal).iter().any(|name| name.starts_with("AWS::IAM::InstanceProfile")));
    rehearsal.account().disarm();
    let destroyed = run(&rehearsal, request).await;
    assert_eq!(destroyed.result(), Outcome::Destroyed, "{:?}", destroyed.error());
}
