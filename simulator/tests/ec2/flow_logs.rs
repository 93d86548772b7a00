//! Flow logs of VPCs.

use aws_sdk_ec2::operation::create_flow_logs::CreateFlowLogsOutput;
use aws_sdk_ec2::operation::create_flow_logs::builders::CreateFlowLogsFluentBuilder;
use aws_sdk_ec2::types::{FlowLogsResourceType, LogDestinationType, TrafficType};
use stackdrop_simulator::Seed;

use crate::common;
use crate::site::{code, empty, filter, refusal, vpc, wait};

fn to_bucket(ec2: &aws_sdk_ec2::Client, vpc: &str, bucket: &str) -> CreateFlowLogsFluentBuilder {
    let call = ec2.create_flow_logs().resource_type(FlowLogsResourceType::Vpc).resource_ids(vpc);
    let call = call.log_destination_type(LogDestinationType::S3).traffic_type(TrafficType::All);
    call.log_destination(format!("arn:aws:s3:::{bucket}"))
}

/// The code and the message of the only refusal in a successful response.
fn refused(output: &CreateFlowLogsOutput) -> (String, String) {
    assert_eq!((output.flow_log_ids().len(), output.unsuccessful().len()), (0, 1), "{output:?}");
    let error = output.unsuccessful()[0].error().unwrap();
    (error.code().unwrap().to_owned(), error.message().unwrap().to_owned())
}

#[tokio::test(start_paused = true)]
async fn a_flow_log_needs_a_bucket_that_accepts_it_and_an_equal_one_is_refused() {
    let (account, ec2) = empty();
    let vpc = vpc(&ec2, "10.0.0.0/16").await;
    let missing = to_bucket(&ec2, &vpc, "no-such-bucket").send().await.unwrap();
    assert_eq!(refused(&missing), ("400".into(), "LogDestination: no-such-bucket does not exist.".into()));
    let s3 = aws_sdk_s3::Client::new(&common::sdk(&account));
    let region = aws_sdk_s3::types::BucketLocationConstraint::EuCentral1;
    let place = aws_sdk_s3::types::CreateBucketConfiguration::builder().location_constraint(region).build();
    s3.create_bucket().bucket("closed").create_bucket_configuration(place).send().await.unwrap();
    let closed = to_bucket(&ec2, &vpc, "closed").send().await.unwrap();
    assert!(refused(&closed).1.starts_with("Access Denied for LogDestination: closed."), "{closed:?}");

    account.seed(&Seed::Bucket { name: "open".into() });
    let create = |token: &str| to_bucket(&ec2, &vpc, "open/shop/").client_token(token).send();
    let first = create("a").await.unwrap();
    assert_eq!(create("a").await.unwrap().flow_log_ids(), first.flow_log_ids());
    assert_eq!(refused(&create("b").await.unwrap()).0, "FlowLogAlreadyExists");
    wait(1.0).await;
    let found = ec2.describe_flow_logs().filter(filter("resource-id", &vpc)).send().await.unwrap();
    let log = &found.flow_logs()[0];
    assert_eq!(log.log_destination(), Some("arn:aws:s3:::open/shop/"));
    assert_eq!((log.flow_log_status(), log.deliver_logs_status()), (Some("ACTIVE"), Some("SUCCESS")));
    assert_eq!(log.max_aggregation_interval(), Some(600));
    s3.delete_bucket().bucket("open").send().await.unwrap();
    let found = ec2.describe_flow_logs().filter(filter("deliver-log-status", "FAILED")).send().await.unwrap();
    assert_eq!(found.flow_logs()[0].deliver_logs_error_message(), Some("Access error"));
}

#[tokio::test(start_paused = true)]
async fn requests_for_flow_logs_that_ec2_does_not_take_are_refused() {
    let (_, ec2) = empty();
    let vpc = vpc(&ec2, "10.0.0.0/16").await;
    let base = || to_bucket(&ec2, &vpc, "logs");
    for (call, message) in [
        (base().resource_type(FlowLogsResourceType::Subnet), "VPCs to S3 only"),
        (base().log_destination_type(LogDestinationType::CloudWatchLogs), "VPCs to S3 only"),
        (base().traffic_type("SOME".into()), "Invalid traffic type"),
        (base().max_aggregation_interval(300), "Invalid Flow Log Max Aggregation Interval"),
        (base().log_destination("logs"), "is not the ARN of a bucket"),
        (base().log_destination("arn:aws:s3:::logs/AWSLogs/"), "reserved term"),
        (base().set_resource_ids(Some(Vec::new())), "ResourceIds"),
    ] {
        let (code, found) = refusal(call.send().await);
        assert!(found.contains(message) && code.contains("Parameter"), "{code}: {found}");
    }
    let unknown = base().set_resource_ids(Some(vec!["vpc-00000000000000000".into()]));
    assert_eq!(code(unknown.send().await), "InvalidVpcID.NotFound");
}

#[tokio::test(start_paused = true)]
async fn a_deletion_reports_what_does_not_exist() {
    let (account, ec2) = empty();
    let vpc = vpc(&ec2, "10.0.0.0/16").await;
    account.seed(&Seed::Bucket { name: "open".into() });
    let created = to_bucket(&ec2, &vpc, "open").send().await.unwrap();
    wait(1.0).await;
    let delete = |id: &str| ec2.delete_flow_logs().flow_log_ids(id).send();
    let id = &created.flow_log_ids()[0];
    assert_eq!(delete(id).await.unwrap().unsuccessful(), []);
    let again = delete(id).await.unwrap();
    assert_eq!(again.unsuccessful()[0].error().unwrap().code(), Some("InvalidFlowLogId.NotFound"));
    assert_eq!(ec2.describe_flow_logs().send().await.unwrap().flow_logs(), []);
    assert_eq!(code(ec2.delete_flow_logs().send().await), "MissingParameter");
}
