//! Failed rollouts and their diagnosis.

use stackdrop_functions::aws::error::StepError;
use stackdrop_simulator::{Account, Fault, FaultKind, When};

use crate::common::{act, apply, until_done, writes};
use crate::{
    NAME, WEB, WORKER, account, assert_nothing_to_do, changed, changes, deployed, described, next, prepared,
    wait_until_stable,
};

#[tokio::test(start_paused = true)]
async fn a_failed_first_rollout_is_reported_with_all_of_awss_reasons() {
    for (image, expected) in [
        ("crashing", vec!["Essential container in task exited", "exit code 3", "exiting with code 3"]),
        ("missing", vec!["CannotPullContainerError", "missing: not found"]),
    ] {
        let account = account();
        let (aws, mut deployment) =
            prepared(&account, &WORKER.replace("image: mail", &format!("image: {image}"))).await;
        apply(&aws, &[NAME], &mut deployment).await;
        let failed = wait_until_stable(&aws, &deployment).await.unwrap_err();
        let StepError::Unhealthy { what, why } = &failed else { panic!("{failed:?}") };
        assert_eq!(what, "ECS service mail");
        for text in expected {
            assert!(why.contains(text), "{text} is not in {why}");
        }
        // Within the deployment, nothing restarts the rollout; the next deployment does.
        let before = writes(&account).len();
        until_done(&aws, NAME, "apply", &deployment).await.unwrap();
        assert_eq!(writes(&account)[before..], [] as [String; 0]);
        assert_eq!(
            changes(
                &aws,
                &changed(&deployment, "second", &WORKER.replace("image: mail", &format!("image: {image}")))
            )
            .await,
            ["update service/mail rollout"]
        );
        let deployment = next(&aws, &deployment, "third", WORKER).await;
        wait_until_stable(&aws, &deployment).await.unwrap();
        assert_nothing_to_do(&account, &aws, &deployment).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_service_that_never_passes_its_health_checks_fails_with_the_targets_reason() {
    let account = account();
    let (aws, mut deployment) = prepared(&account, &WEB.replace("image: web", "image: sick")).await;
    apply(&aws, &[NAME], &mut deployment).await;
    let failed = wait_until_stable(&aws, &deployment).await.unwrap_err();
    let StepError::Unhealthy { why, .. } = &failed else { panic!("{failed:?}") };
    assert!(why.contains("health checks"), "{why}");
}

#[tokio::test(start_paused = true)]
async fn a_rollout_that_ecs_rolls_back_fails_and_the_rollback_needs_no_write() {
    let (account, aws, first) = deployed(WORKER).await;
    let second = next(&aws, &first, "second", &WORKER.replace("image: mail", "image: crashing")).await;
    let failed = wait_until_stable(&aws, &second).await.unwrap_err();
    let StepError::Unhealthy { why, .. } = &failed else { panic!("{failed:?}") };
    assert!(why.contains("ROLLBACK") && why.contains("exit code 3"), "{why}");
    // The workflow rolls back to the baseline while ECS does the same.
    let mut back = changed(&first, "second", WORKER);
    let before = writes(&account).len();
    apply(&aws, &[NAME], &mut back).await;
    assert_eq!(writes(&account)[before..], [] as [String; 0]);
    wait_until_stable(&aws, &back).await.unwrap();
    assert_nothing_to_do(&account, &aws, &back).await;
    // Long after the rollback, the requested revision still does not run.
    let failed = wait_until_stable(&aws, &second).await.unwrap_err();
    assert!(matches!(failed, StepError::Unhealthy { .. }), "{failed:?}");
}

#[tokio::test(start_paused = true)]
async fn a_rollout_that_somebody_starts_to_another_revision_is_named() {
    let (_account, aws, first) = deployed(WORKER).await;
    let second = next(&aws, &first, "second", &WORKER.replace("image: mail", "image: 'mail:2'")).await;
    wait_until_stable(&aws, &second).await.unwrap();
    let by_hand = aws.ecs().update_service().cluster("shop").service("mail");
    by_hand.task_definition("stackdrop-shop_mail:1").send().await.unwrap();
    let failed = wait_until_stable(&aws, &second).await.unwrap_err();
    let StepError::Unhealthy { why, .. } = &failed else { panic!("{failed:?}") };
    assert_eq!(
        why,
        "somebody started another rollout, to stackdrop-shop_mail:1; deploy again to start this one again"
    );
}

/// Revokes the rules that let the load balancer reach the tasks.
async fn block_health_checks(aws: &stackdrop_functions::Aws, deployment: &serde_json::Value) {
    let group = deployment["outputs"]["security-groups"]["service"].as_str();
    let group = group.or(deployment["outputs"]["securityGroups"]["service"].as_str()).unwrap();
    let filter = aws_sdk_ec2::types::Filter::builder().name("group-id").values(group).build();
    let found = aws.ec2().describe_security_group_rules().filters(filter).send().await.unwrap();
    let ingress = found.security_group_rules().iter().filter(|rule| rule.is_egress() == Some(false));
    let ids = ingress.map(|rule| rule.security_group_rule_id().unwrap().to_owned()).collect();
    let call = aws.ec2().revoke_security_group_ingress().group_id(group);
    call.set_security_group_rule_ids(Some(ids)).send().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_completed_rollout_without_healthy_targets_is_not_stable() {
    // Within the grace period, ECS ignores the targets: it says that the rollout is complete, as it was.
    let spec = WEB.replace("    routes:", "    healthCheck: { grace: 600 }\n    routes:");
    let (_account, aws, deployment) = deployed(&spec).await;
    block_health_checks(&aws, &deployment).await;
    tokio::time::advance(std::time::Duration::from_secs(35)).await;
    let payload = serde_json::json!({ "action": "wait-until-stable", "deployment": deployment });
    let answer = stackdrop_functions::handle(NAME, payload, &aws).await;
    let targets = |error: &StepError| error.to_string().contains("the targets of ECS service web");
    assert!(matches!(&answer, Err(error) if error.is_retried() && targets(error)), "{answer:?}");
}

/// Makes AWS refuse the next call of `service:operation`, once.
fn refuse_once(account: &Account, call: &str, code: &str, message: &str) {
    let (service, operation) = call.split_once(':').unwrap();
    let kind = FaultKind::Refused { code: code.into(), message: message.into() };
    account.arm(Fault::at(service, operation, When::Only(1), kind));
}

#[tokio::test(start_paused = true)]
async fn a_creation_that_aws_refuses_for_a_while_is_tried_again() {
    const INVALID: &str = "InvalidParameterException";
    const ROLE: &str =
        "Unable to assume the service linked role. Please verify that the ECS service linked role exists.";
    const REGISTER: &str = "application-autoscaling:RegisterScalableTarget";
    for (call, code, message, is_retried) in [
        ("ecs:CreateCluster", INVALID, ROLE, true),
        ("ecs:CreateCluster", INVALID, "Invalid setting", false),
        ("ecs:CreateService", INVALID, ROLE, true),
        ("ecs:CreateService", INVALID, "The target group does not have an associated load balancer.", true),
        ("ecs:CreateService", INVALID, "Unable to Start a service that is still Draining.", true),
        ("ecs:CreateService", INVALID, "Creation of service was not idempotent.", true),
        (
            "ecs:CreateService",
            INVALID,
            "Please verify that the ECS service role being passed has the proper permissions.",
            true,
        ),
        ("ecs:CreateService", INVALID, "Unable to assume role and validate the target group.", true),
        ("ecs:CreateService", INVALID, "Container web does not exist in the task definition.", false),
        ("ecs:CreateService", "ClusterNotFoundException", "Cluster not found.", true),
        ("iam:CreateRole", "EntityAlreadyExists", "The role exists.", true),
        ("iam:CreateRole", "MalformedPolicyDocument", "The trust policy is wrong.", false),
        ("iam:PutRolePolicy", "NoSuchEntity", "The role does not exist.", true),
        ("iam:PutRolePolicy", "MalformedPolicyDocument", "The policy is wrong.", false),
        ("logs:CreateLogGroup", "ResourceAlreadyExistsException", "The log group exists.", true),
        ("logs:PutRetentionPolicy", "ResourceNotFoundException", "The log group does not exist.", true),
        (REGISTER, "ValidationException", "ECS service doesn't exist: service/shop/web", true),
        (REGISTER, "ValidationException", "Tags can only be specified for a new target.", true),
        (REGISTER, "ValidationException", "Maximum capacity cannot be less than minimum capacity", false),
        ("application-autoscaling:PutScalingPolicy", "ObjectNotFoundException", "No target.", true),
    ] {
        let account = account();
        let (aws, mut deployment) = prepared(&account, WEB).await;
        refuse_once(&account, call, code, message);
        let applied = until_done(&aws, NAME, "apply", &deployment).await;
        assert_eq!(account.strikes().len(), 1, "{call}");
        match applied {
            Ok(outputs) => {
                assert!(is_retried, "{call}: {message}");
                deployment["outputs"][NAME] = outputs;
                wait_until_stable(&aws, &deployment).await.unwrap();
                assert_nothing_to_do(&account, &aws, &deployment).await;
            }
            Err(error) => {
                assert!(!is_retried, "{call}: {message}: {error}");
                assert!(matches!(error, StepError::Refused { .. }), "{call}: {error}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn ecs_works_on_the_deletion_of_a_previous_service_and_on_nothing_else_that_it_refuses() {
    const INVALID: &str = "InvalidParameterException";
    let (account, aws, deployment) = deployed(WORKER).await;
    aws.ecs().delete_service().cluster("shop").service("mail").force(true).send().await.unwrap();
    tokio::time::advance(std::time::Duration::from_mins(10)).await;
    for (code, message, expected) in [
        (INVALID, "Unable to Start a service that is still Draining.", "Pending"),
        ("ServiceNotActiveException", "Service was not ACTIVE.", "Pending"),
        (INVALID, "Creation of service was not idempotent.", "Stalled"),
        ("ClusterNotFoundException", "Cluster not found.", "Stalled"),
    ] {
        refuse_once(&account, "ecs:CreateService", code, message);
        let error = act(&aws, NAME, "apply", &deployment).await.unwrap_err();
        assert_eq!(error.name(), expected, "{message}: {error}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_denied_change_of_a_role_is_repeated_only_while_iam_may_not_show_the_roles_boundary() {
    const ROLE: &str = "stackdrop-shop-task-eu-central-1";
    let (account, aws, deployment) = deployed(WORKER).await;
    tokio::time::advance(std::time::Duration::from_mins(10)).await;
    let exec = changed(&deployment, "second", &WORKER.replace("count: 1", "count: 1, exec: true"));
    let denied = async || {
        refuse_once(&account, "iam:PutRolePolicy", "AccessDenied", "no policy allows it");
        act(&aws, NAME, "apply", &exec).await.unwrap_err()
    };
    let failed = denied().await;
    assert!(matches!(failed, StepError::Refused { .. }), "{failed:?}");
    aws.iam().delete_role_permissions_boundary().role_name(ROLE).send().await.unwrap();
    tokio::time::advance(std::time::Duration::from_mins(1)).await;
    let waits = denied().await;
    assert!(
        matches!(&waits, StepError::Stalled { waiting_for, .. } if waiting_for.contains(ROLE)),
        "{waits:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn an_update_that_ecs_refuses_for_a_while_is_tried_again() {
    let (account, aws, deployment) = deployed(WORKER).await;
    refuse_once(&account, "ecs:UpdateService", "ServiceNotFoundException", "Service not found.");
    let second = next(&aws, &deployment, "second", &WORKER.replace("count: 1", "count: 2")).await;
    wait_until_stable(&aws, &second).await.unwrap();
    assert_eq!(account.strikes().len(), 1);
    assert_eq!(described(&aws, "mail").await.desired_count(), 2);
}
