//! Service Quotas with an unmodified SDK, the services that enforce the quotas, and throttled calls.

#![expect(clippy::unwrap_used, reason = "what a test's helper does not expect fails the test")]

mod common;

use aws_sdk_ec2::error::ProvideErrorMetadata;
use common::{account, sdk};
use stackdrop_simulator::{Fault, FaultKind, Seed, When};

#[tokio::test(start_paused = true)]
async fn a_quota_that_was_not_set_has_its_default() {
    let account = account();
    let quotas = aws_sdk_servicequotas::Client::new(&sdk(&account));
    let get = || quotas.get_service_quota().service_code("vpc").quota_code("L-F678F1CE").send();
    let refused = get().await.unwrap_err().into_service_error();
    assert_eq!(refused.code(), Some("NoSuchResourceException"));
    let default = quotas.get_aws_default_service_quota().service_code("vpc").quota_code("L-F678F1CE");
    assert_eq!(default.send().await.unwrap().quota().unwrap().value(), Some(5.0));
    account.seed(&Seed::Quota { service: "vpc".into(), code: "L-F678F1CE".into(), value: 8 });
    let quota = get().await.unwrap().quota.unwrap();
    assert_eq!((quota.value(), quota.quota_name()), (Some(8.0), Some("VPCs per Region")));
}

#[tokio::test(start_paused = true)]
async fn a_quota_that_does_not_exist_is_refused() {
    let quotas = aws_sdk_servicequotas::Client::new(&sdk(&account()));
    let default = quotas.get_aws_default_service_quota().service_code("vpc").quota_code("L-00000000");
    let refused = default.send().await.unwrap_err().into_service_error();
    assert_eq!(refused.code(), Some("NoSuchResourceException"));
}

#[tokio::test(start_paused = true)]
async fn ec2_enforces_quotas() {
    let account = account();
    for (service, code) in [("vpc", "L-F678F1CE"), ("vpc", "L-A4707A72"), ("ec2", "L-0263D0A3")] {
        account.seed(&Seed::Quota { service: service.into(), code: code.into(), value: 1 });
    }
    let ec2 = aws_sdk_ec2::Client::new(&sdk(&account));
    ec2.create_vpc().cidr_block("10.0.0.0/16").send().await.unwrap();
    let vpc = ec2.create_vpc().cidr_block("10.1.0.0/16").send().await.unwrap_err().into_service_error();
    assert_eq!(vpc.code(), Some("VpcLimitExceeded"));
    ec2.create_internet_gateway().send().await.unwrap();
    let gateway = ec2.create_internet_gateway().send().await.unwrap_err().into_service_error();
    assert_eq!(gateway.code(), Some("InternetGatewayLimitExceeded"));
    ec2.allocate_address().send().await.unwrap();
    let address = ec2.allocate_address().send().await.unwrap_err().into_service_error();
    assert_eq!(address.code(), Some("AddressLimitExceeded"));
}

/// The code and the HTTP status of a refusal. S3 and EC2 throttle with 503, the other services with 400.
macro_rules! refusal {
    ($call:expr) => {{
        let error = $call.send().await.unwrap_err();
        let status = error.raw_response().unwrap().status().as_u16();
        (error.code().unwrap_or_default().to_owned(), status)
    }};
}

#[tokio::test(start_paused = true)]
async fn each_service_throttles_and_denies_with_its_own_code_and_status() {
    let (throttled, denied) = (FaultKind::Throttled, FaultKind::AccessDenied);
    for (kind, expected) in [
        (
            throttled,
            [
                ("RequestLimitExceeded", 503_u16),
                ("SlowDown", 503),
                ("ThrottlingException", 400),
                ("ThrottlingException", 400),
                ("Throttling", 400),
                ("TooManyRequestsException", 400),
                ("Throttling", 400),
            ],
        ),
        (
            denied,
            [
                ("UnauthorizedOperation", 403),
                ("AccessDenied", 403),
                ("AccessDeniedException", 400),
                ("AccessDeniedException", 403),
                ("AccessDenied", 403),
                ("AccessDeniedException", 400),
                ("AuthorizationError", 403),
            ],
        ),
    ] {
        let account = account();
        let config = sdk(&account);
        for (service, operation) in [
            ("ec2", "DescribeVpcs"),
            ("s3", "ListBuckets"),
            ("ecs", "ListClusters"),
            ("scheduler", "ListSchedules"),
            ("iam", "ListRoles"),
            ("servicequotas", "GetServiceQuota"),
            ("sns", "ListTopics"),
        ] {
            account.arm(Fault::at(service, operation, When::From(1), kind.clone()));
        }
        let quota = aws_sdk_servicequotas::Client::new(&config).get_service_quota().service_code("vpc");
        let found = [
            refusal!(aws_sdk_ec2::Client::new(&config).describe_vpcs()),
            refusal!(aws_sdk_s3::Client::new(&config).list_buckets()),
            refusal!(aws_sdk_ecs::Client::new(&config).list_clusters()),
            refusal!(aws_sdk_scheduler::Client::new(&config).list_schedules()),
            refusal!(aws_sdk_iam::Client::new(&config).list_roles()),
            refusal!(quota.quota_code("L-F678F1CE")),
            refusal!(aws_sdk_sns::Client::new(&config).list_topics()),
        ];
        let expected = expected.map(|(code, status)| (code.to_owned(), status));
        assert_eq!(found, expected, "{kind:?}");
    }
}
