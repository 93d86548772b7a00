//! Pruning and deletion of the load balancer, and resources that the stack does not manage.

use std::time::Duration;

use aws_sdk_elasticloadbalancingv2::types::{
    Action, ActionTypeEnum, FixedResponseActionConfig, PathPatternConditionConfig, ProtocolEnum,
    RuleCondition, Tag, TargetDescription, TargetTypeEnum,
};
use aws_sdk_route53::types::{ResourceRecord, ResourceRecordSet, RrType};
use serde_json::{Value, json};
use stackdrop_functions::Aws;
use stackdrop_functions::aws::error::StepError;
use stackdrop_simulator::Incident;

use crate::common::{act, apply, until_done, writes};
use crate::{
    CERTIFICATE, DOMAIN, GIVEN, NAME, assert_nothing_to_do, changes, deployed, groups, https, inventory,
    next, prepared, problems, put_record, stable,
};

#[tokio::test(start_paused = true)]
async fn a_target_registered_by_hand_does_not_keep_a_deleted_services_target_group() {
    let (account, aws, deployment) = deployed(GIVEN).await;
    let api = deployment["outputs"]["loadBalancer"]["targetGroups"]["api"].as_str().unwrap();
    let target = TargetDescription::builder().id("10.0.32.10").port(9090).build();
    let call = aws.elb().register_targets().target_group_arn(api).targets(target.clone());
    call.send().await.unwrap();
    let kept: Vec<&str> = GIVEN.lines().filter(|line| !line.contains("api:")).collect();
    let spec = kept.join(
        "
",
    );
    let deployment = stable(next(&deployment, &spec));
    assert_eq!(
        changes(&aws, &deployment).await,
        [
            "delete rule/any-host/api/_",
            "delete rule/api.example.com",
            "delete target-group/api",
            "update rule/any-host/_ priority"
        ]
    );
    until_done(&aws, NAME, "apply", &deployment).await.unwrap();
    // AWS deletes a group with targets that no action refers to. A target that is not a task is nobody's to wait for.
    until_done(&aws, NAME, "prune", &deployment).await.unwrap();
    assert_eq!(groups(&aws).await.len(), 1);
    assert_nothing_to_do(&account, &aws, &deployment).await;
}

#[tokio::test(start_paused = true)]
async fn the_target_group_of_a_deleted_service_stays_only_while_a_rule_of_others_uses_it() {
    for is_used in [true, false] {
        let (account, aws, deployment) = deployed(GIVEN).await;
        let api = deployment["outputs"]["loadBalancer"]["targetGroups"]["api"].as_str().unwrap();
        let forward = Action::builder().r#type(ActionTypeEnum::Forward).target_group_arn(api).build();
        let response = FixedResponseActionConfig::builder().status_code("200").build();
        let response =
            Action::builder().r#type(ActionTypeEnum::FixedResponse).fixed_response_config(response).build();
        let path = PathPatternConditionConfig::builder().values("/theirs").build();
        let condition = RuleCondition::builder().field("path-pattern").path_pattern_config(path).build();
        let call = aws.elb().create_rule().listener_arn(https(&aws, &deployment).await).priority(7);
        let call = call.conditions(condition).actions(if is_used { forward } else { response });
        call.send().await.unwrap();
        tokio::time::advance(Duration::from_secs(5)).await;
        let kept: Vec<&str> = GIVEN.lines().filter(|line| !line.contains("api:")).collect();
        let deployment = stable(next(&deployment, &kept.join("\n")));
        let planned = changes(&aws, &deployment).await;
        assert_eq!(planned.contains(&"delete target-group/api".to_owned()), !is_used, "{planned:?}");
        until_done(&aws, NAME, "apply", &deployment).await.unwrap();
        until_done(&aws, NAME, "prune", &deployment).await.unwrap();
        assert_eq!(groups(&aws).await.len(), if is_used { 2 } else { 1 });
        assert_nothing_to_do(&account, &aws, &deployment).await;
    }
}

#[tokio::test(start_paused = true)]
async fn resources_that_the_spec_drops_are_pruned() {
    let (account, aws, deployment) = deployed(DOMAIN).await;
    let deployment = next(&deployment, "stack: shop\nservices: { web: { image: web } }");
    let planned = changes(&aws, &deployment).await;
    assert_eq!(
        planned,
        [
            "delete alias-record (shop.example.com)",
            "delete certificate",
            "delete load-balancer",
            "delete target-group/web",
        ]
    );
    let before = inventory(&account);
    assert_eq!(
        until_done(&aws, NAME, "apply", &deployment).await.unwrap(),
        json!({ "targetGroups": {}, "staged": false })
    );
    assert_eq!(inventory(&account), before, "services may stand behind it until the end");
    until_done(&aws, NAME, "prune", &deployment).await.unwrap();
    assert_eq!(inventory(&account), Vec::<String>::new());
    assert_nothing_to_do(&account, &aws, &deployment).await;
}

#[tokio::test(start_paused = true)]
async fn delete_needs_no_outputs_and_is_idempotent() {
    let (account, aws, mut deployment) = deployed(GIVEN).await;
    deployment["outputs"] = json!({});
    let first = act(&aws, NAME, "delete", &deployment).await.unwrap();
    assert_eq!(first["found"], 3);
    assert_eq!(first["remaining"][0]["resource"], "load-balancer");
    until_done(&aws, NAME, "await-deletion", &deployment).await.unwrap();
    assert_eq!(inventory(&account), Vec::<String>::new());
    let again = act(&aws, NAME, "delete", &deployment).await.unwrap();
    assert_eq!(again, json!({ "found": 0, "remaining": [] }));
    let interfaces = aws.ec2().describe_network_interfaces().send().await.unwrap();
    assert_eq!(interfaces.network_interfaces().len(), 0, "its interfaces are waited for");
    let certificate = aws.acm().describe_certificate().certificate_arn(CERTIFICATE).send().await;
    assert!(certificate.is_ok(), "a given certificate stays");
}

#[tokio::test(start_paused = true)]
async fn a_target_registered_by_hand_does_not_keep_a_stack_from_being_deleted() {
    let (account, aws, deployment) = deployed(GIVEN).await;
    assert_eq!(account.cause(Incident::named("target-registered-by-hand").unwrap(), "shop").len(), 2);
    let plan = act(&aws, NAME, "plan", &deployment).await.unwrap();
    assert_eq!(plan["changes"], json!([]));
    assert!(plan["warnings"].to_string().contains("10.20.200.7:9090 are not tasks"), "{}", plan["warnings"]);
    until_done(&aws, NAME, "await-deletion", &deployment).await.unwrap();
    assert_eq!(inventory(&account), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_load_balancer_that_the_stack_does_not_manage_is_left_alone() {
    let (account, aws, deployment) = prepared(GIVEN).await;
    let subnets = deployment["outputs"]["network"]["publicSubnets"].as_object().unwrap().values();
    let subnets: Vec<String> = subnets.map(|subnet| subnet.as_str().unwrap().to_owned()).collect();
    let group = deployment["outputs"]["securityGroups"]["loadBalancer"].as_str().unwrap();
    let call =
        aws.elb().create_load_balancer().name("shop").set_subnets(Some(subnets)).security_groups(group);
    call.tags(Tag::builder().key("stackdrop:stack").value("another").build()).send().await.unwrap();
    tokio::time::advance(Duration::from_secs(5)).await;
    assert!(problems(&aws, &deployment).await.contains("is not managed by this stack"));
    let before = writes(&account).len();
    let refused = act(&aws, NAME, "apply", &deployment).await.unwrap_err();
    assert!(matches!(refused, StepError::NotOwned { .. }), "{refused:?}");
    let deletion = act(&aws, NAME, "delete", &deployment).await.unwrap();
    assert_eq!(deletion, json!({ "found": 0, "remaining": [] }));
    assert_eq!(writes(&account).len(), before);
}

#[tokio::test(start_paused = true)]
async fn a_target_group_of_another_stack_with_a_similar_name_has_lost_no_tag() {
    let (account, aws, deployment) = deployed(GIVEN).await;
    let vpc = deployment["outputs"]["network"]["vpc"].as_str().unwrap();
    let call = aws.elb().create_target_group().name("shop-two-web").target_type(TargetTypeEnum::Ip);
    let call = call.protocol(ProtocolEnum::Http).port(80).vpc_id(vpc);
    let tag = Tag::builder().key("stackdrop:stack").value("shop-two").build();
    call.tags(tag).send().await.unwrap();
    tokio::time::advance(Duration::from_secs(5)).await;
    let mut deployment = next(&deployment, GIVEN);
    assert_nothing_to_do(&account, &aws, &deployment).await;
    deployment["destroying"] = json!(true);
    assert_eq!(problems(&aws, &deployment).await, "[]");
    until_done(&aws, NAME, "await-deletion", &deployment).await.unwrap();
    let kept: Vec<_> = groups(&aws).await.into_iter().filter_map(|group| group.target_group_name).collect();
    assert_eq!(kept, ["shop-two-web"]);
}

/// Creates a load balancer without tags, with a security group of its own, in the stack's subnets.
async fn create_theirs(aws: &Aws, deployment: &Value, name: &str) -> String {
    let network = &deployment["outputs"]["network"];
    let call = aws.ec2().create_security_group().group_name("theirs").description("theirs");
    let group = call.vpc_id(network["vpc"].as_str().unwrap()).send().await.unwrap().group_id.unwrap();
    tokio::time::advance(Duration::from_secs(30)).await;
    let subnets = network["publicSubnets"].as_object().unwrap().values();
    let subnets = subnets.map(|subnet| subnet.as_str().unwrap().to_owned()).collect();
    let call = aws.elb().create_load_balancer().name(name).set_subnets(Some(subnets));
    let created = call.security_groups(group).send().await.unwrap();
    tokio::time::advance(Duration::from_secs(30)).await;
    created.load_balancers()[0].load_balancer_arn().unwrap().to_owned()
}

#[tokio::test(start_paused = true)]
async fn a_load_balancer_without_tags_is_the_stacks_own_if_it_has_the_stacks_security_group() {
    // No baseline names the load balancer of a first deployment.
    let (account, aws, deployment) = deployed(GIVEN).await;
    let untagged = account.cause(Incident::named("load-balancer-untagged").unwrap(), "shop");
    let deletion = act(&aws, NAME, "delete", &deployment).await.unwrap();
    let remaining = deletion["remaining"].to_string();
    assert!(remaining.contains(&format!("add-tags --resource-arns {}", untagged[0])), "{remaining}");

    let (account, aws, deployment) = prepared(GIVEN).await;
    create_theirs(&aws, &deployment, "shop").await;
    let before = writes(&account).len();
    let deletion = act(&aws, NAME, "delete", &deployment).await.unwrap();
    assert_eq!(deletion, json!({ "found": 0, "remaining": [] }));
    assert_eq!(writes(&account).len(), before);
}

/// Lets another load balancer use the stack's certificate. Returns that load balancer's ARN.
async fn share_certificate(aws: &Aws, deployment: &Value) -> String {
    let theirs = create_theirs(aws, deployment, "theirs").await;
    let ours = crate::listeners(aws, deployment).await[&443].certificates()[0].clone();
    let response = FixedResponseActionConfig::builder().status_code("200").build();
    let action =
        Action::builder().r#type(ActionTypeEnum::FixedResponse).fixed_response_config(response).build();
    let call = aws.elb().create_listener().load_balancer_arn(&theirs).port(443);
    let call = call.protocol(ProtocolEnum::Https).certificates(ours);
    let call = call.ssl_policy("ELBSecurityPolicy-TLS13-1-2-Res-PQ-2025-09").default_actions(action);
    call.send().await.unwrap();
    theirs
}

#[tokio::test(start_paused = true)]
async fn a_certificate_of_an_earlier_domain_stays_while_another_load_balancer_uses_it() {
    let (account, aws, deployment) = deployed(DOMAIN).await;
    share_certificate(&aws, &deployment).await;
    let mut deployment = next(&deployment, &DOMAIN.replace("shop.example.com", "store.example.com"));
    apply(&aws, &[NAME], &mut deployment).await;
    // By then, ACM no longer reports that the stack's own load balancer uses it.
    tokio::time::advance(Duration::from_hours(1)).await;
    let pruned = until_done(&aws, NAME, "prune", &deployment).await.unwrap();
    assert_eq!(pruned["remaining"], json!([]));
    let certificates = inventory(&account).into_iter().filter(|item| item.contains("Certificate"));
    assert_eq!(certificates.count(), 2);
    assert_nothing_to_do(&account, &aws, &deployment).await;
}

#[tokio::test(start_paused = true)]
async fn a_certificate_that_another_load_balancer_uses_is_told() {
    let (_account, aws, deployment) = deployed(DOMAIN).await;
    let theirs = share_certificate(&aws, &deployment).await;
    let deletion = act(&aws, NAME, "delete", &deployment).await.unwrap();
    assert!(deletion["remaining"].to_string().contains("certificate"), "{deletion}");
    // By then, AWS has released everything else.
    tokio::time::advance(Duration::from_hours(1)).await;
    let stalled = act(&aws, NAME, "await-deletion", &deployment).await.unwrap_err();
    assert_eq!(stalled.name(), "Stalled", "{stalled}");
    let told = stalled.to_string();
    assert!(told.contains(&theirs) && told.contains("remove the certificate there"), "{told}");
}

#[tokio::test(start_paused = true)]
async fn records_rules_and_listeners_of_others_are_left_alone() {
    let (account, aws, deployment) = deployed(DOMAIN).await;
    // A rule of others without a conflict is kept; one with a conflicting priority is reported.
    let group = deployment["outputs"]["loadBalancer"]["targetGroups"]["web"].as_str().unwrap();
    let listener = https(&aws, &deployment).await;
    let path = PathPatternConditionConfig::builder().values("/theirs").build();
    let condition = RuleCondition::builder().field("path-pattern").path_pattern_config(path).build();
    let forward = Action::builder().r#type(ActionTypeEnum::Forward).target_group_arn(group).build();
    let call = aws.elb().create_rule().listener_arn(&listener).priority(7);
    let call = call.conditions(condition).actions(forward).send().await.unwrap();
    let theirs = call.rules()[0].rule_arn().unwrap().to_owned();
    tokio::time::advance(Duration::from_secs(5)).await;
    assert_nothing_to_do(&account, &aws, &deployment).await;
    let spec = DOMAIN.replace("{ path: /* }", "{ path: /*, priority: 7 }");
    let later = next(&deployment, &spec);
    assert!(problems(&aws, &later).await.contains(&theirs));
    assert!(matches!(act(&aws, NAME, "apply", &later).await, Err(StepError::NotOwned { .. })));

    // Somebody points the domain to another target: the record is theirs now.
    let value = ResourceRecord::builder().value("198.51.100.7").build().unwrap();
    let record = ResourceRecordSet::builder().name("shop.example.com").r#type(RrType::A).ttl(60);
    put_record(&aws, record.resource_records(value).build().unwrap()).await;
    assert!(problems(&aws, &deployment).await.contains("shop.example.com"));
    assert!(matches!(act(&aws, NAME, "apply", &deployment).await, Err(StepError::NotOwned { .. })));
    until_done(&aws, NAME, "await-deletion", &deployment).await.unwrap();
    let remaining = crate::record(&aws, "shop.example.com", RrType::A).await.unwrap();
    assert_eq!(remaining.resource_records()[0].value(), "198.51.100.7");
}

#[tokio::test(start_paused = true)]
async fn a_security_group_waits_for_the_load_balancer_unless_its_deletion_was_given_up() {
    let (_account, aws, mut deployment) = deployed(GIVEN).await;
    let given_up = json!({ "failure": { "Error": "Stalled", "Cause": "deletion protection is on" } });
    for (ends, waits) in [
        (json!([]), true),
        (json!([{ "found": 3, "remaining": [] }]), true),
        (json!([{ "found": 3, "remaining": [] }, given_up]), false),
    ] {
        deployment["deletionEnds"] = ends.clone();
        let error = act(&aws, "security-groups", "await-deletion", &deployment).await.unwrap_err();
        assert!(error.to_string().contains("in use by network interface"), "{ends}: {error}");
        assert_eq!(matches!(error, StepError::Pending(_)), waits, "{ends}: {error:?}");
        assert_eq!(matches!(error, StepError::Stalled { .. }), !waits, "{ends}: {error:?}");
    }
}
