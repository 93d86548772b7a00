//! Service Quotas with an unmodified SDK, and the services that enforce the quotas.

#![expect(clippy::unwrap_used, reason = "what a test's helper does not expect fails the test")]

mod common;

use aws_sdk_ec2::error::ProvideErrorMetadata;
use common::{account, sdk};
use stackdrop_simulator::Seed;

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
