//! Flow logs of the VPC: `network.flowLogs`.

use aws_sdk_ec2::Client;
use aws_sdk_ec2::types::{FlowLog, FlowLogsResourceType, LogDestinationType, Tag, TrafficType};
use serde_json::json;
use stackdrop::Rehearsal;
use stackdrop_functions::deployment::outcome::Outcome;
use stackdrop_simulator::{Fault, When};

use crate::updates_network::{assert_planned, planned};
use crate::{changes, deployed, object, redeploy, refused, rehearsal, resources, run, with};

/// Only a network, whose connections are recorded.
const LOGGED: &str = "
stack: shop
region: eu-central-1
network: { nat: none, flowLogs: { bucket: shop-flow-logs, prefix: shop } }
";

const DESTINATION: &str = "arn:aws:s3:::shop-flow-logs/shop/";

fn rejected() -> String {
    with(LOGGED, "prefix: shop", "prefix: shop, traffic: reject")
}

/// The flow logs in the account.
async fn flow_logs(rehearsal: &Rehearsal) -> Vec<FlowLog> {
    let found = rehearsal.aws().ec2().describe_flow_logs().send().await.unwrap();
    found.flow_logs.unwrap_or_default()
}

/// The only flow log's ID and traffic.
async fn only(rehearsal: &Rehearsal) -> (String, TrafficType) {
    let logs = flow_logs(rehearsal).await;
    let [log] = &logs[..] else { panic!("there is not exactly one flow log") };
    assert_eq!(log.log_destination(), Some(DESTINATION));
    (log.flow_log_id().unwrap().to_owned(), log.traffic_type().unwrap().clone())
}

#[tokio::test(start_paused = true)]
async fn a_flow_log_is_created_replaced_and_deleted() {
    let rehearsal = rehearsal(LOGGED);
    deployed(&rehearsal, LOGGED).await;
    let (first, traffic) = only(&rehearsal).await;
    assert_eq!(traffic, TrafficType::All);
    let update = deployed(&rehearsal, &rejected()).await;
    let plan = planned(&rehearsal, &update).await;
    assert_planned(&plan, &["flow-log traffic ALL -> REJECT", &format!("flow-log ({first}) delete")]);
    assert_eq!(changes(&update), ["ec2:CreateFlowLogs", "ec2:DeleteFlowLogs"]);
    let (second, traffic) = only(&rehearsal).await;
    assert_ne!((&first, traffic), (&second, TrafficType::All));
    assert_eq!(changes(&redeploy(&rehearsal).await), Vec::<String>::new());
    let without = with(LOGGED, ", flowLogs: { bucket: shop-flow-logs, prefix: shop }", "");
    let update = deployed(&rehearsal, &without).await;
    assert_planned(&planned(&rehearsal, &update).await, &[&format!("flow-log ({second}) delete")]);
    assert_eq!(flow_logs(&rehearsal).await, []);
}

#[tokio::test(start_paused = true)]
async fn another_folder_or_none_replaces_the_flow_log() {
    let rehearsal = rehearsal(LOGGED);
    deployed(&rehearsal, LOGGED).await;
    let mut before = "shop-flow-logs/shop";
    for (folder, after) in [
        (", prefix: other", "shop-flow-logs/other"),
        ("", "shop-flow-logs"),
        (", prefix: last", "shop-flow-logs/last"),
    ] {
        let update = deployed(&rehearsal, &with(LOGGED, ", prefix: shop", folder)).await;
        let plan = planned(&rehearsal, &update).await;
        let moves = format!("flow-log destination arn:aws:s3:::{before} -> arn:aws:s3:::{after}");
        assert_eq!(plan.first(), Some(&moves), "{plan:?}");
        assert_eq!(plan.len(), 2, "the previous one is deleted: {plan:?}");
        let destinations: Vec<String> = flow_logs(&rehearsal)
            .await
            .into_iter()
            .filter_map(|log| Some(log.log_destination?.trim_end_matches('/').to_owned()))
            .collect();
        assert_eq!(destinations, [format!("arn:aws:s3:::{after}")]);
        before = after;
    }
}

#[tokio::test(start_paused = true)]
async fn a_flow_log_that_somebody_deletes_is_created_again() {
    let rehearsal = rehearsal(LOGGED);
    deployed(&rehearsal, LOGGED).await;
    let (first, _) = only(&rehearsal).await;
    rehearsal.aws().ec2().delete_flow_logs().flow_log_ids(&first).send().await.unwrap();
    let repair = redeploy(&rehearsal).await;
    assert_eq!(changes(&repair), ["ec2:CreateFlowLogs"]);
    assert_planned(&planned(&rehearsal, &repair).await, &["flow-log create"]);
    assert_ne!(only(&rehearsal).await.0, first);
}

#[tokio::test(start_paused = true)]
async fn a_destroy_deletes_the_flow_log() {
    let rehearsal = rehearsal(LOGGED);
    deployed(&rehearsal, LOGGED).await;
    let destroyed = run(&rehearsal, json!({ "stack": "shop", "action": "destroy" })).await;
    assert_eq!(destroyed.result(), Outcome::Destroyed, "{:?}", destroyed.error());
    assert_eq!(resources(&rehearsal), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_bucket_that_refuses_the_flow_log_is_named_with_what_it_needs() {
    let rehearsal = rehearsal(LOGGED);
    let missing = with(LOGGED, "shop-flow-logs", "no-such-bucket");
    let failed = rehearsal.deploy(&missing, &()).await.unwrap();
    assert_eq!(failed.result(), Outcome::Failed, "{:?}", failed.error());
    let error = failed.error().unwrap();
    assert!(error.contains("LogDestination: no-such-bucket does not exist"), "{error}");
    assert!(error.contains("a policy that allows delivery.logs.amazonaws.com"), "{error}");
    assert_eq!(resources(&rehearsal), Vec::<String>::new(), "the deployment is rolled back");
}

#[tokio::test(start_paused = true)]
async fn a_failed_update_leaves_the_flow_log_as_it_was() {
    let rehearsal = rehearsal(LOGGED);
    deployed(&rehearsal, LOGGED).await;
    let before = only(&rehearsal).await;
    rehearsal.account().arm(Fault::at("ec2", "AllocateAddress", When::From(1), refused()));
    let with_nat = with(&rejected(), "nat: none", "nat: single");
    let failed = rehearsal.deploy(&with_nat, &()).await.unwrap();
    assert_eq!(failed.result(), Outcome::Failed, "{:?}", failed.error());
    assert_eq!(only(&rehearsal).await, before);
}

#[tokio::test(start_paused = true)]
async fn a_failed_update_leaves_no_flow_log_that_the_baseline_does_not_have() {
    let without = with(LOGGED, ", flowLogs: { bucket: shop-flow-logs, prefix: shop }", "");
    let rehearsal = rehearsal(LOGGED);
    deployed(&rehearsal, &without).await;
    rehearsal.account().arm(Fault::at("ec2", "AllocateAddress", When::From(1), refused()));
    let failed = rehearsal.deploy(&with(LOGGED, "nat: none", "nat: single"), &()).await.unwrap();
    assert_eq!(failed.result(), Outcome::Failed, "{:?}", failed.error());
    assert!(changes(&failed).contains(&"ec2:CreateFlowLogs".to_owned()), "{:?}", changes(&failed));
    assert_eq!(flow_logs(&rehearsal).await, []);
}

#[tokio::test(start_paused = true)]
async fn a_flow_log_that_could_not_be_deleted_is_deleted_by_the_next_deployment() {
    let without = with(LOGGED, ", flowLogs: { bucket: shop-flow-logs, prefix: shop }", "");
    let rehearsal = rehearsal(LOGGED);
    deployed(&rehearsal, LOGGED).await;
    rehearsal.account().arm(Fault::at("ec2", "DeleteFlowLogs", When::From(1), refused()));
    deployed(&rehearsal, &without).await;
    rehearsal.account().disarm();
    let (left, _) = only(&rehearsal).await;
    let next = redeploy(&rehearsal).await;
    assert_eq!(planned(&rehearsal, &next).await, [format!("flow-log ({left}) delete")]);
    assert_eq!(flow_logs(&rehearsal).await, []);
}

/// The stack's VPC.
async fn vpc_of(rehearsal: &Rehearsal) -> String {
    let baseline = object(rehearsal, "stacks/shop/baseline.json").await.unwrap();
    baseline["outputs"]["network"]["vpc"].as_str().unwrap().to_owned()
}

/// Creates a flow log of the stack's VPC as another owner does.
async fn create_by_hand(ec2: &Client, vpc: &str, traffic: TrafficType) -> String {
    let call = ec2.create_flow_logs().resource_type(FlowLogsResourceType::Vpc).resource_ids(vpc);
    let call = call.traffic_type(traffic).log_destination_type(LogDestinationType::S3);
    let created = call.log_destination(DESTINATION).send().await.unwrap();
    created.flow_log_ids()[0].clone()
}

#[tokio::test(start_paused = true)]
async fn an_equal_flow_log_of_another_owner_is_named_and_nothing_is_changed() {
    let without = with(LOGGED, ", flowLogs: { bucket: shop-flow-logs, prefix: shop }", "");
    let rehearsal = rehearsal(LOGGED);
    deployed(&rehearsal, &without).await;
    let (ec2, vpc) = (rehearsal.aws().ec2(), vpc_of(&rehearsal).await);
    let other = create_by_hand(ec2, &vpc, TrafficType::All).await;
    let blocked = rehearsal.deploy(LOGGED, &()).await.unwrap();
    assert_eq!((blocked.result(), changes(&blocked)), (Outcome::Failed, Vec::new()));
    let error = blocked.error().unwrap();
    assert!(error.contains(&format!("delete {other}")), "{error}");
    // The advice for a flow log that only lost its tags.
    let tag = Tag::builder().key("stackdrop:stack").value("shop").build();
    let component = Tag::builder().key("stackdrop:component").value("network").build();
    ec2.create_tags().resources(&other).tags(tag).tags(component).send().await.unwrap();
    let repaired = deployed(&rehearsal, LOGGED).await;
    let lacks = "flow-log tags.stackdrop:logical-id (none) -> flow-log";
    assert_planned(&planned(&rehearsal, &repaired).await, &[lacks]);
    assert_eq!(only(&rehearsal).await.0, other);
    let next = redeploy(&rehearsal).await;
    assert_eq!(planned(&rehearsal, &next).await, Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn another_flow_log_of_another_owner_stays_beside_the_stacks_own() {
    let without = with(LOGGED, ", flowLogs: { bucket: shop-flow-logs, prefix: shop }", "");
    let rehearsal = rehearsal(LOGGED);
    deployed(&rehearsal, &without).await;
    let theirs = create_by_hand(rehearsal.aws().ec2(), &vpc_of(&rehearsal).await, TrafficType::Reject).await;
    let added = deployed(&rehearsal, LOGGED).await;
    assert_eq!(changes(&added), ["ec2:CreateFlowLogs"]);
    deployed(&rehearsal, &without).await;
    let left: Vec<_> = flow_logs(&rehearsal).await.into_iter().filter_map(|log| log.flow_log_id).collect();
    assert_eq!(left, [theirs]);
}

#[tokio::test(start_paused = true)]
async fn a_flow_log_that_cannot_be_delivered_is_a_warning() {
    let rehearsal = rehearsal(LOGGED);
    deployed(&rehearsal, LOGGED).await;
    rehearsal.aws().s3().delete_bucket().bucket("shop-flow-logs").send().await.unwrap();
    let next = redeploy(&rehearsal).await;
    assert_eq!((next.result(), changes(&next)), (Outcome::Succeeded, Vec::new()), "{:?}", next.error());
    let record = object(&rehearsal, "stacks/shop/status.json").await.unwrap().to_string();
    assert!(record.contains("cannot deliver flow log") && record.contains("Access error"), "{record}");
}
