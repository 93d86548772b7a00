//! Listeners: certificates, policies, default actions.

use crate::common::sdk;
use crate::site::{CERTIFICATE, Network, POLICY, answer, code, forward, redirect, seconds, to_https};
use aws_sdk_elasticloadbalancingv2::types::{
    Action, ActionTypeEnum, Certificate, ProtocolEnum, RedirectActionConfig, RedirectActionStatusCodeEnum,
};
use stackdrop_simulator::Seed;

#[tokio::test(start_paused = true)]
async fn an_https_listener_needs_an_issued_certificate_and_a_policy() {
    let network = Network::new().await;
    let load_balancer = network.load_balancer("shop").await;
    let group = network.target_group("shop").await;
    let acm = aws_sdk_acm::Client::new(&sdk(&network.account));
    let pending = acm.request_certificate().domain_name("new.example.com").validation_method("DNS".into());
    let pending = pending.send().await.unwrap().certificate_arn.unwrap();
    seconds(1.0).await;
    let certificate = |arn: &str| Certificate::builder().certificate_arn(arn).build();
    let https = || {
        let create = network.elb.create_listener().load_balancer_arn(&load_balancer).port(443);
        create.protocol(ProtocolEnum::Https).default_actions(forward(&group))
    };
    let unknown = format!("{CERTIFICATE}6");
    let elsewhere = CERTIFICATE.replace("eu-central-1", "us-east-1");
    let cases = [
        (https().ssl_policy(POLICY), "ValidationError"),
        (https().certificates(certificate(CERTIFICATE)), "ValidationError"),
        (https().certificates(certificate(&unknown)).ssl_policy(POLICY), "CertificateNotFound"),
        (https().certificates(certificate(&elsewhere)).ssl_policy(POLICY), "CertificateNotFound"),
        (https().certificates(certificate(&pending)).ssl_policy(POLICY), "UnsupportedCertificate"),
        (https().certificates(certificate(CERTIFICATE)).ssl_policy("TLS-of-mine"), "SSLPolicyNotFound"),
        (
            https()
                .certificates(certificate(CERTIFICATE))
                .certificates(certificate(&pending))
                .ssl_policy(POLICY),
            "TooManyCertificates",
        ),
    ];
    for (request, expected) in cases {
        let shown = format!("{request:?}");
        assert_eq!(code(request.send().await), expected, "{shown}");
    }
    let good = https().certificates(certificate(CERTIFICATE)).ssl_policy(POLICY);
    let made = good.clone().send().await.unwrap();
    let again = good.send().await.unwrap();
    let arn = made.listeners()[0].listener_arn().unwrap();
    assert_eq!(again.listeners()[0].listener_arn(), Some(arn), "the same again is the same");
    seconds(1.0).await;
    let used = network.elb.describe_listener_certificates().listener_arn(arn).send().await.unwrap();
    assert_eq!(used.certificates()[0].certificate_arn(), Some(CERTIFICATE));

    // A certificate in use cannot be deleted until a moment after its listener is deleted.
    let delete = || acm.delete_certificate().certificate_arn(CERTIFICATE).send();
    assert!(delete().await.unwrap_err().into_service_error().is_resource_in_use_exception());
    network.elb.delete_listener().listener_arn(arn).send().await.unwrap();
    assert!(delete().await.is_err());
    seconds(2.0).await;
    delete().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn invalid_listeners_are_refused() {
    let network = Network::new().await;
    let load_balancer = network.load_balancer("shop").await;
    let other = network.load_balancer("other").await;
    let group = network.target_group("shop").await;
    let taken = network.target_group("taken").await;
    network.http(&other, 80, &taken).await;
    network.http(&load_balancer, 80, &group).await;
    let http = |port: i32| {
        let create = network.elb.create_listener().load_balancer_arn(&load_balancer).port(port);
        create.protocol(ProtocolEnum::Http)
    };
    let config = RedirectActionConfig::builder().status_code(RedirectActionStatusCodeEnum::Http301);
    let loops = config.clone().build();
    let to_itself = config.protocol("HTTP").port("81").build();
    let missing = group.replace("shop", "shoq");
    let cases = [
        (http(80).default_actions(answer("503")), "DuplicateListener"),
        (http(0).default_actions(forward(&group)), "ValidationError"),
        (http(81), "ValidationError"),
        (http(81).default_actions(forward(&missing)), "TargetGroupNotFound"),
        (http(81).default_actions(forward(&taken)), "TargetGroupAssociationLimit"),
        (http(81).default_actions(forward(&group)).default_actions(answer("404")), "TooManyActions"),
        (http(81).default_actions(redirect(loops)), "InvalidLoadBalancerAction"),
        (http(81).default_actions(redirect(to_itself)), "InvalidLoadBalancerAction"),
        (http(81).default_actions(answer("302")), "ValidationError"),
        (http(81).default_actions(forward(&group)).ssl_policy(POLICY), "ValidationError"),
        (http(81).protocol(ProtocolEnum::Tcp).default_actions(forward(&group)), "ValidationError"),
        (
            http(81).load_balancer_arn("arn:aws:nothing").default_actions(forward(&group)),
            "LoadBalancerNotFound",
        ),
        (
            http(81).default_actions(Action::builder().r#type(ActionTypeEnum::AuthenticateOidc).build()),
            "ValidationError",
        ),
    ];
    for (request, expected) in cases {
        let shown = format!("{request:?}");
        assert_eq!(code(request.send().await), expected, "{shown}");
    }
    let neither = network.elb.describe_listeners().send().await;
    assert_eq!(code(neither), "ValidationError");
    let unknown = network.elb.describe_listeners().listener_arns("arn:aws:nothing").send().await;
    assert!(unknown.unwrap_err().into_service_error().is_listener_not_found_exception());
}

#[tokio::test(start_paused = true)]
async fn a_listener_redirects_can_change_and_is_deleted_with_its_load_balancer() {
    let network = Network::new().await;
    let load_balancer = network.load_balancer("shop").await;
    let group = network.target_group("shop").await;
    let listener = network.http(&load_balancer, 80, &group).await;
    let arn = listener.listener_arn().unwrap();
    let action = &listener.default_actions()[0];
    assert_eq!(action.target_group_arn(), Some(group.as_str()));
    let changed = network.elb.modify_listener().listener_arn(arn).default_actions(redirect(to_https()));
    let changed = changed.send().await.unwrap();
    let config = changed.listeners()[0].default_actions()[0].redirect_config().unwrap();
    assert_eq!(
        (config.port(), config.path(), config.query()),
        (Some("443"), Some("/#{path}"), Some("#{query}"))
    );
    // A redirect to its own port and protocol would loop.
    let certificate = Certificate::builder().certificate_arn(CERTIFICATE).build();
    let circle = network.elb.modify_listener().listener_arn(arn).port(443).protocol(ProtocolEnum::Https);
    let circle = circle.certificates(certificate).ssl_policy(POLICY).send().await;
    assert!(circle.unwrap_err().into_service_error().is_invalid_load_balancer_action_exception());
    network.http(&load_balancer, 8080, &group).await;
    let taken = network.elb.modify_listener().listener_arn(arn).port(8080).send().await;
    assert!(taken.unwrap_err().into_service_error().is_duplicate_listener_exception());
    let found = network.elb.describe_listeners().load_balancer_arn(&load_balancer).send().await.unwrap();
    assert_eq!(found.listeners().len(), 2);
    network.elb.delete_load_balancer().load_balancer_arn(&load_balancer).send().await.unwrap();
    let gone = network.elb.describe_listeners().listener_arns(arn).send().await;
    assert_eq!(code(gone), "ListenerNotFound");
    let gone = network.elb.delete_listener().listener_arn(arn).send().await;
    assert_eq!(code(gone), "ListenerNotFound");
}

#[tokio::test(start_paused = true)]
async fn a_forward_to_several_groups_is_checked() {
    use aws_sdk_elasticloadbalancingv2::types::{
        ForwardActionConfig, TargetGroupStickinessConfig, TargetGroupTuple,
    };
    let network = Network::new().await;
    let load_balancer = network.load_balancer("shop").await;
    let mut groups = Vec::new();
    for number in 1..=6 {
        groups.push(network.target_group(&format!("shop-{number}")).await);
    }
    let tuple =
        |arn: &str, weight: i32| TargetGroupTuple::builder().target_group_arn(arn).weight(weight).build();
    let config =
        |tuples: Vec<TargetGroupTuple>| ForwardActionConfig::builder().set_target_groups(Some(tuples));
    let action = |config: ForwardActionConfig| {
        Action::builder().r#type(ActionTypeEnum::Forward).forward_config(config)
    };
    let create = |action: Action| {
        let create = network.elb.create_listener().load_balancer_arn(&load_balancer).port(80);
        create.protocol(ProtocolEnum::Http).default_actions(action).send()
    };
    let two = || vec![tuple(&groups[0], 90), tuple(&groups[1], 10)];
    let sticky = TargetGroupStickinessConfig::builder().enabled(true).build();
    let cases = [
        (action(config(vec![tuple(&groups[0], 1000)]).build()).build(), "ValidationError"),
        (
            action(config(vec![tuple(&groups[0], 1), tuple(&groups[0], 2)]).build()).build(),
            "InvalidConfigurationRequest",
        ),
        (action(config(groups.iter().map(|arn| tuple(arn, 1)).collect()).build()).build(), "ValidationError"),
        (action(config(two()).build()).target_group_arn(&groups[0]).build(), "InvalidConfigurationRequest"),
        (action(config(two()).target_group_stickiness_config(sticky).build()).build(), "ValidationError"),
        (action(config(Vec::new()).build()).build(), "ValidationError"),
    ];
    for (action, expected) in cases {
        let shown = format!("{action:?}");
        assert_eq!(code(create(action).await), expected, "{shown}");
    }
    let sticky = TargetGroupStickinessConfig::builder().enabled(true).duration_seconds(60).build();
    let made =
        create(action(config(two()).target_group_stickiness_config(sticky).build()).build()).await.unwrap();
    let shown = &made.listeners()[0].default_actions()[0];
    assert_eq!(shown.target_group_arn(), None, "only a single group is shown this way");
    let shown = shown.forward_config().unwrap();
    assert_eq!(shown.target_groups()[0].weight(), Some(90));
    assert_eq!(shown.target_group_stickiness_config().unwrap().duration_seconds(), Some(60));
}

#[tokio::test(start_paused = true)]
async fn security_policies_are_known_by_name() {
    let network = Network::new().await;
    let found = network.elb.describe_ssl_policies().names(POLICY).send().await.unwrap();
    assert_eq!(found.ssl_policies()[0].ssl_protocols(), ["TLSv1.2", "TLSv1.3"]);
    assert!(found.ssl_policies()[0].ciphers().len() > 5);
    let unknown = network.elb.describe_ssl_policies().names("TLS-of-mine").send().await;
    assert!(unknown.unwrap_err().into_service_error().is_ssl_policy_not_found_exception());
}

#[tokio::test(start_paused = true)]
async fn a_certificate_is_known_to_elb_a_moment_after_it_was_issued() {
    use aws_sdk_route53::types::{
        Change, ChangeAction, ChangeBatch, ResourceRecord, ResourceRecordSet, RrType,
    };
    let network = Network::new().await;
    network.account.seed(&Seed::HostedZone { id: "ZSHOP".into(), name: "example.com".into() });
    let load_balancer = network.load_balancer("shop").await;
    let acm = aws_sdk_acm::Client::new(&sdk(&network.account));
    let request = acm.request_certificate().domain_name("new.example.com").validation_method("DNS".into());
    let arn = request.send().await.unwrap().certificate_arn.unwrap();
    seconds(5.0).await;
    let describe = async || {
        let answer = acm.describe_certificate().certificate_arn(&arn).send().await.unwrap();
        answer.certificate.unwrap()
    };
    let wanted = describe().await.domain_validation_options.unwrap().remove(0).resource_record.unwrap();
    let value = ResourceRecord::builder().value(wanted.value()).build().unwrap();
    let record = ResourceRecordSet::builder().name(wanted.name()).r#type(RrType::Cname).ttl(60);
    let record = record.resource_records(value).build().unwrap();
    let change = Change::builder().action(ChangeAction::Create).resource_record_set(record).build().unwrap();
    let batch = ChangeBatch::builder().changes(change).build().unwrap();
    let dns = aws_sdk_route53::Client::new(&sdk(&network.account));
    dns.change_resource_record_sets().hosted_zone_id("ZSHOP").change_batch(batch).send().await.unwrap();
    for _ in 0..3000 {
        if describe().await.status.unwrap().as_str() == "ISSUED" {
            break;
        }
        seconds(0.1).await;
    }
    let listen = || {
        let create = network.elb.create_listener().load_balancer_arn(&load_balancer).port(443);
        let certificate = Certificate::builder().certificate_arn(&arn).build();
        let create = create.protocol(ProtocolEnum::Https).certificates(certificate).ssl_policy(POLICY);
        create.default_actions(answer("404")).send()
    };
    assert_eq!(code(listen().await), "CertificateNotFound");
    seconds(1.0).await;
    listen().await.unwrap();
}
