//! Tags of the network, egress, security groups and instance that somebody removed or changed: never a second resource.

use aws_sdk_ec2::Client;
use aws_sdk_ec2::types::{Filter, Tag};
use serde_json::json;
use stackdrop::{Deployed, Rehearsal};
use stackdrop_functions::deployment::outcome::Outcome;
use stackdrop_simulator::Incident;

use crate::redeploy;
use crate::updates_network::{INSTANCE_ONLY, planned};
use crate::{changes, deployed, rehearsal, resources, run};

const STACK_TAG: &str = "stackdrop:stack";

/// The calls of a deployment that create something.
fn creations(deployed: &Deployed) -> Vec<String> {
    let creates = ["ec2:Create", "ec2:Allocate", "ec2:Run"];
    let is_creation =
        |call: &String| creates.iter().any(|start| call.starts_with(start)) && call != "ec2:CreateTags";
    changes(deployed).into_iter().filter(is_creation).collect()
}

#[tokio::test(start_paused = true)]
async fn other_tags_than_the_stacks_are_put_back_and_nothing_is_created_twice() {
    for nat in ["nat: single", "nat: none"] {
        let spec = INSTANCE_ONLY.replace("nat: single", nat);
        let cases: [&[&str]; 5] = [
            &["component-tags-removed"],
            &["logical-id-tags-removed"],
            &["logical-id-tags-changed"],
            &["names-changed"],
            &["logical-id-tags-removed", "names-changed"],
        ];
        for names in cases {
            let about = format!("{names:?}, {nat}");
            let rehearsal = rehearsal(&spec);
            deployed(&rehearsal, &spec).await;
            let before = resources(&rehearsal);
            for name in names {
                let changed = rehearsal.account().cause(Incident::named(name).unwrap(), "shop");
                assert!(changed.len() > 15, "{about}: {changed:?}");
            }
            let repaired = redeploy(&rehearsal).await;
            assert!(repaired.succeeded(), "{about}: {:?}", repaired.error());
            let plan = planned(&rehearsal, &repaired).await;
            assert!(plan.iter().all(|line| line.contains("tags.")), "{about}: {plan:#?}");
            assert!(plan.len() > 10, "{about}: the resources are planned: {plan:#?}");
            assert_eq!(creations(&repaired), Vec::<String>::new(), "{about}");
            assert_eq!(resources(&rehearsal).len(), before.len(), "{about}");
            let next = redeploy(&rehearsal).await;
            assert_eq!(planned(&rehearsal, &next).await, Vec::<String>::new(), "{about}");
        }
    }
}

/// The ID of one of the stack's resources, by its type and its logical ID.
async fn find(ec2: &Client, kind: &str, logical_id: &str) -> String {
    let by = |name: &str, value: &str| Filter::builder().name(name).values(value).build();
    let call = ec2.describe_tags().filters(by("resource-type", kind));
    let call = call.filters(by("key", "stackdrop:logical-id")).filters(by("value", logical_id));
    let found = call.send().await.unwrap();
    found.tags()[0].resource_id().unwrap().to_owned()
}

const RESOURCES: [(&str, &str); 11] = [
    ("vpc", "vpc"),
    ("subnet", "subnet/private/b"),
    ("route-table", "route-table/private/a"),
    ("route-table", "route-table/public"),
    ("route-table", "route-table/database"),
    ("internet-gateway", "internet-gateway"),
    ("vpc-endpoint", "endpoint/s3"),
    ("natgateway", "nat/a"),
    ("elastic-ip", "address/a"),
    ("security-group", "instance"),
    ("instance", "instance"),
];

#[tokio::test(start_paused = true)]
async fn a_tag_that_one_resource_lacks_is_planned_for_that_resource_and_put_back() {
    let rehearsal = rehearsal(INSTANCE_ONLY);
    deployed(&rehearsal, INSTANCE_ONLY).await;
    let ec2 = Client::new(rehearsal.sdk());
    for (kind, logical_id) in RESOURCES {
        let about = format!("{kind} {logical_id}");
        let id = find(&ec2, kind, logical_id).await;
        let tag = Tag::builder().key("stackdrop:component").build();
        ec2.delete_tags().resources(&id).tags(tag).send().await.unwrap();
        let repaired = redeploy(&rehearsal).await;
        assert!(repaired.succeeded(), "{about}: {:?}", repaired.error());
        let plan = planned(&rehearsal, &repaired).await;
        let lacks = format!("{logical_id} tags.stackdrop:component (none) -> ");
        assert!(plan.len() == 1 && plan[0].starts_with(&lacks), "{about}: {plan:#?}");
    }
    let next = redeploy(&rehearsal).await;
    assert_eq!(planned(&rehearsal, &next).await, Vec::<String>::new());
}

async fn without_stack_tag(kind: &str, logical_id: &str) -> (Rehearsal, String) {
    let rehearsal = rehearsal(INSTANCE_ONLY);
    deployed(&rehearsal, INSTANCE_ONLY).await;
    let ec2 = Client::new(rehearsal.sdk());
    let id = find(&ec2, kind, logical_id).await;
    ec2.delete_tags().resources(&id).tags(Tag::builder().key(STACK_TAG).build()).send().await.unwrap();
    (rehearsal, id)
}

#[tokio::test(start_paused = true)]
async fn a_resource_without_the_stacks_tag_is_named_and_never_created_again() {
    for (kind, logical_id) in RESOURCES {
        let about = format!("{kind} {logical_id}");
        let (rehearsal, id) = without_stack_tag(kind, logical_id).await;
        let before = resources(&rehearsal).len();
        let refused = redeploy(&rehearsal).await;
        let error = refused.error().unwrap_or_default();
        assert!(error.starts_with("PreflightFailed"), "{about}: {error}");
        let fix = format!("aws ec2 create-tags --resources {id} --tags Key=stackdrop:stack,Value=shop");
        assert!(error.contains(&fix), "{about}: {fix} is not in {error}");
        assert_eq!(changes(&refused), Vec::<String>::new(), "{about}");
        // Somebody follows the advice.
        let ec2 = Client::new(rehearsal.sdk());
        let tag = Tag::builder().key(STACK_TAG).value("shop").build();
        ec2.create_tags().resources(&id).tags(tag).send().await.unwrap();
        let next = redeploy(&rehearsal).await;
        assert!(next.succeeded(), "{about}: {:?}", next.error());
        assert_eq!(planned(&rehearsal, &next).await, Vec::<String>::new(), "{about}");
        assert_eq!(resources(&rehearsal).len(), before, "{about}");
    }
}

/// The resources whose IDs the outputs of a deployment have: with a NAT gateway, and with interface endpoints.
const IN_OUTPUTS: [(&str, &[(&str, &str)]); 2] = [
    (
        "nat: single",
        &[
            ("vpc", "vpc"),
            ("subnet", "subnet/public/a"),
            ("subnet", "subnet/private/b"),
            ("subnet", "subnet/database/a"),
            ("route-table", "route-table/private/a"),
            ("natgateway", "nat/a"),
            ("elastic-ip", "address/a"),
            ("instance", "instance"),
        ],
    ),
    ("nat: none", &[("vpc-endpoint", "endpoint/ssm")]),
];

#[tokio::test(start_paused = true)]
async fn a_resource_with_none_of_its_other_tags_is_recognized_by_the_last_good_version() {
    for (nat, of_outputs) in IN_OUTPUTS {
        let spec = INSTANCE_ONLY.replace("nat: single", nat);
        let rehearsal = rehearsal(&spec);
        deployed(&rehearsal, &spec).await;
        let before = resources(&rehearsal).len();
        let ec2 = Client::new(rehearsal.sdk());
        for (kind, logical_id) in of_outputs {
            let id = find(&ec2, kind, logical_id).await;
            let tags = ["stackdrop:component", "stackdrop:logical-id", "stackdrop:deployment"];
            let tags = tags.map(|key| Tag::builder().key(key).build()).to_vec();
            ec2.delete_tags().resources(id).set_tags(Some(tags)).send().await.unwrap();
        }
        let repaired = redeploy(&rehearsal).await;
        assert!(repaired.succeeded(), "{nat}: {:?}", repaired.error());
        let plan = planned(&rehearsal, &repaired).await;
        assert!(plan.len() >= of_outputs.len(), "{nat}: {plan:#?}");
        assert!(plan.iter().all(|line| line.contains("tags.")), "{nat}: {plan:#?}");
        assert_eq!(creations(&repaired), Vec::<String>::new(), "{nat}");
        assert_eq!(resources(&rehearsal).len(), before, "{nat}");
        let next = redeploy(&rehearsal).await;
        assert_eq!(planned(&rehearsal, &next).await, Vec::<String>::new(), "{nat}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_destroy_does_not_leave_a_resource_without_the_stacks_tag_behind_unseen() {
    for (kind, logical_id) in [
        ("vpc", "vpc"),
        ("subnet", "subnet/private/b"),
        ("natgateway", "nat/a"),
        ("elastic-ip", "address/a"),
        ("instance", "instance"),
    ] {
        let (rehearsal, id) = without_stack_tag(kind, logical_id).await;
        let refused =
            run(&rehearsal, json!({ "stack": "shop", "action": "destroy", "deleteData": ["shop-instance"] }))
                .await;
        let error = refused.error().unwrap_or_default();
        assert_ne!(refused.result(), Outcome::Destroyed, "{kind}");
        assert!(error.contains(&id) && error.contains("create-tags"), "{kind}: {error}");
        assert_eq!(changes(&refused), Vec::<String>::new(), "{kind}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_persons_resource_with_only_the_stacks_tag_is_left_alone() {
    let rehearsal = rehearsal(INSTANCE_ONLY);
    let ec2 = Client::new(rehearsal.sdk());
    let vpc = ec2.create_vpc().cidr_block("10.77.0.0/16").send().await.unwrap();
    let vpc = vpc.vpc.unwrap().vpc_id.unwrap();
    tokio::time::advance(std::time::Duration::from_secs(30)).await;
    let tag = Tag::builder().key(STACK_TAG).value("shop").build();
    ec2.create_tags().resources(&vpc).tags(tag).send().await.unwrap();
    deployed(&rehearsal, INSTANCE_ONLY).await;
    let destroyed =
        run(&rehearsal, json!({ "stack": "shop", "action": "destroy", "deleteData": ["shop-instance"] }))
            .await;
    assert_eq!(destroyed.result(), Outcome::Destroyed, "{:?}", destroyed.error());
    assert_eq!(ec2.describe_vpcs().vpc_ids(&vpc).send().await.unwrap().vpcs().len(), 1);
}
