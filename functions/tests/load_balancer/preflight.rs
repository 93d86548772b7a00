//! Preflight checks of the load balancer.

use std::time::Duration;

use stackdrop_functions::aws::error::StepError;
use stackdrop_simulator::{Fault, FaultKind, Seed, When};

use crate::common::{act, apply, aws, deployment, writes};
use crate::{DOMAIN, GIVEN, NAME, account, assert_nothing_to_do, deployed, next, problems};

#[tokio::test(start_paused = true)]
async fn a_plan_rejects_an_unusable_certificate_or_zone() {
    let account = account();
    let aws = aws(&account);
    let cases = [
        (GIVEN.replace(":eu-central-1:", ":us-east-1:"), "is not in the region eu-central-1"),
        (GIVEN.replace(":123456789012:", ":210987654321:"), "is not in the account 123456789012"),
        (
            GIVEN.replace("certificate/1", "certificate/2"),
            "/21111111-2222-3333-4444-555555555555 does not exist",
        ),
        (
            GIVEN.replace("loadBalancer:", "loadBalancer:\n  domain: shop.example.org"),
            "is not for loadBalancer.domain",
        ),
        (DOMAIN.replace("Z0123456789ABCDEFGHIJ", "Z9"), "Route 53 zone Z9 does not exist"),
        (DOMAIN.replace("shop.example.com", "shop.example.org"), "is not in Route 53 zone"),
        (
            DOMAIN.replace("{ path: /* }", "{ path: /* }, { host: api.example.org }"),
            "the host api.example.org of a route is not in Route 53 zone",
        ),
        (
            GIVEN.replace("host: api.example.com", "host: api.eu.example.com"),
            "is not for the host api.eu.example.com of a route",
        ),
    ];
    for (spec, why) in cases {
        let deployment = deployment(&spec);
        let found = problems(&aws, &deployment).await;
        assert!(found.contains(why), "{why}: {found}");
        let refused = act(&aws, NAME, "apply", &deployment).await.unwrap_err();
        assert!(matches!(&refused, StepError::InvalidSpec(text) if text.contains(why)), "{refused:?}");
    }
    assert!(writes(&account).is_empty());
    // A wildcard covers one label below it.
    let covered = GIVEN.replace("loadBalancer:", "loadBalancer:\n  domain: shop.example.com");
    assert_eq!(problems(&aws, &deployment(&covered)).await, "[]");
}

#[tokio::test(start_paused = true)]
async fn a_certificate_that_is_not_issued_is_a_problem_with_what_to_do() {
    let account = account();
    let aws = aws(&account);
    let failed = "arn:aws:acm:eu-central-1:123456789012:certificate/77777777-2222-3333-4444-555555555555";
    let names = vec!["*.example.com".to_owned()];
    account.seed(&Seed::CertificateOf { arn: failed.into(), names, is_issued: false });
    let call = aws.acm().request_certificate().domain_name("*.example.com");
    let call = call.validation_method(aws_sdk_acm::types::ValidationMethod::Dns);
    let pending = call.send().await.unwrap().certificate_arn.unwrap();
    tokio::time::advance(Duration::from_mins(1)).await;
    for (arn, status, fix) in [
        (failed, "VALIDATION_TIMED_OUT", "set loadBalancer.certificateArn to a certificate that is ISSUED"),
        (pending.as_str(), "PENDING_VALIDATION", "create the DNS record that ACM requires (_"),
    ] {
        let deployment = deployment(&GIVEN.replace(crate::CERTIFICATE, arn));
        let found = problems(&aws, &deployment).await;
        assert!(found.contains(&format!("certificate {arn} is {status}")), "{found}");
        assert!(found.contains(fix), "{found}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_plan_checks_the_access_logs_bucket_only_when_it_changes() {
    let with = |bucket: &str| {
        let logs = format!("loadBalancer:\n  accessLogs: {{ bucket: {bucket} }}");
        GIVEN.replacen("loadBalancer:", &logs, 1)
    };
    let (account, aws, deployment) = deployed(GIVEN).await;
    let before = writes(&account).len();
    let expected = problems(&aws, &next(&deployment, &with("no-such-bucket"))).await;
    assert!(
        expected.contains("S3 bucket no-such-bucket (loadBalancer.accessLogs.bucket) does not exist"),
        "{expected}"
    );
    account.arm(Fault::at("s3", "GetBucketLocation", When::Only(1), FaultKind::AccessDenied));
    let of_another_account = problems(&aws, &next(&deployment, &with("their-logs"))).await;
    assert_eq!(of_another_account, "[]", "it may accept the logs although Stackdrop must not read it");
    account.seed(&Seed::Bucket { name: "shop-logs".into() });
    let mut deployment = next(&deployment, &with("shop-logs"));
    assert_eq!(problems(&aws, &deployment).await, "[]");
    assert_eq!(writes(&account).len(), before);
    apply(&aws, &[NAME], &mut deployment).await;
    assert_nothing_to_do(&account, &aws, &deployment).await;
}

#[tokio::test(start_paused = true)]
async fn an_access_logs_bucket_without_a_policy_is_told_with_what_it_needs() {
    let (_, aws, deployment) = deployed(GIVEN).await;
    let region = aws_sdk_s3::types::BucketLocationConstraint::EuCentral1;
    let place = aws_sdk_s3::types::CreateBucketConfiguration::builder().location_constraint(region).build();
    let call = aws.s3().create_bucket().bucket("new-logs").create_bucket_configuration(place);
    call.send().await.unwrap();
    let logs = "loadBalancer:\n  accessLogs: { bucket: new-logs }";
    let deployment = next(&deployment, &GIVEN.replacen("loadBalancer:", logs, 1));
    let refused = act(&aws, NAME, "apply", &deployment).await.unwrap_err();
    assert_eq!(refused.name(), "Refused");
    assert!(
        refused.chain().contains("S3 bucket new-logs needs a policy that allows logdelivery"),
        "{refused:?}"
    );
    assert!(refused.chain().contains("Access Denied for bucket: new-logs"), "{refused:?}");
}
