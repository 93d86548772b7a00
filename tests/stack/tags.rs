//! Tags of the spec reach every resource, and manual changes of tags are repaired.

use std::collections::BTreeSet;

use stackdrop::Rehearsal;
use stackdrop_simulator::Item;

use crate::redeploy;
use crate::{PRIVATE, SHOP, deployed, rehearsal, with};

/// The stack's resources that carry the tags of the spec.
fn tagged(rehearsal: &Rehearsal) -> Vec<Item> {
    let items = rehearsal.account().inventory().into_iter();
    // The inventory shows a scaling policy with the tags of its target; it has no tags of its own.
    let has_own = |item: &Item| item.kind != "AWS::ApplicationAutoScaling::ScalingPolicy";
    items.filter(|item| !item.component.is_empty() && has_own(item)).collect()
}

/// The resources that do not carry this tag.
fn without(rehearsal: &Rehearsal, key: &str, value: Option<&str>) -> BTreeSet<String> {
    let items = tagged(rehearsal).into_iter();
    let lacks = |item: &Item| item.tags.get(key).map(String::as_str) != value;
    items.filter(lacks).map(|item| format!("{} {}", item.kind, item.name)).collect()
}

/// The example and the example without NAT gateways, with the same tag.
fn specs() -> [String; 2] {
    let private = with(PRIVATE, "region: eu-central-1\n", "region: eu-central-1\ntags: { team: shop }\n");
    [SHOP.to_owned(), private]
}

#[tokio::test(start_paused = true)]
async fn tag_changes_of_the_spec_reach_every_resource() {
    for spec in specs() {
        let rehearsal = rehearsal(&spec);
        deployed(&rehearsal, &spec).await;
        assert_eq!(without(&rehearsal, "team", Some("shop")), BTreeSet::new());
        for (tags, team, owner) in [
            (&["team: books", "owner: anna"][..], Some("books"), Some("anna")),
            (&["owner: anna"], None, Some("anna")),
            (&[], None, None),
        ] {
            deployed(&rehearsal, &retagged(&spec, tags)).await;
            assert_eq!(without(&rehearsal, "team", team), BTreeSet::new(), "{tags:?}");
            assert_eq!(without(&rehearsal, "owner", owner), BTreeSet::new(), "{tags:?}");
        }
    }
}

/// The spec with its tags replaced by these.
fn retagged(spec: &str, tags: &[&str]) -> String {
    let in_one_line = "tags: { team: shop }";
    if spec.contains(in_one_line) {
        with(spec, in_one_line, &format!("tags: {{ {} }}", tags.join(", ")))
    } else {
        let lines: Vec<String> = tags.iter().map(|tag| format!("  {tag}\n")).collect();
        with(spec, "  team: shop\n", &lines.concat())
    }
}

#[tokio::test(start_paused = true)]
async fn a_manually_removed_tag_is_restored_on_every_resource() {
    for spec in specs() {
        let rehearsal = rehearsal(&spec);
        deployed(&rehearsal, &spec).await;
        // The test above covers the tags of certificates.
        let is_certificate = |item: &Item| item.kind == "AWS::CertificateManager::Certificate";
        let all: Vec<Item> = tagged(&rehearsal).into_iter().filter(|item| !is_certificate(item)).collect();
        for item in &all {
            untag(&rehearsal, item).await;
        }
        assert_eq!(without(&rehearsal, "team", Some("shop")).len(), all.len(), "some tags are still there");
        deployed(&rehearsal, &spec).await;
        assert_eq!(without(&rehearsal, "team", Some("shop")), BTreeSet::new());
        assert_eq!(crate::changes(&redeploy(&rehearsal).await), Vec::<String>::new());
    }
}

/// Removes the spec's tag from a resource.
async fn untag(rehearsal: &Rehearsal, item: &Item) {
    let (aws, id) = (rehearsal.aws(), item.id.as_str());
    let arn = |service: &str, resource: &str| {
        format!("arn:aws:{service}:eu-central-1:{}:{resource}", aws.settings.account)
    };
    let service = item.kind.split("::").nth(1).unwrap();
    let key = "team";
    match service {
        "EC2" => {
            let tag = aws_sdk_ec2::types::Tag::builder().key(key).build();
            _ = aws_sdk_ec2::Client::new(rehearsal.sdk())
                .delete_tags()
                .resources(id)
                .tags(tag)
                .send()
                .await
                .unwrap();
        }
        "ElasticLoadBalancingV2" => {
            _ = aws.elb().remove_tags().resource_arns(id).tag_keys(key).send().await.unwrap();
        }
        "ECS" => _ = aws.ecs().untag_resource().resource_arn(id).tag_keys(key).send().await.unwrap(),
        "RDS" => {
            let kind = match item.kind.as_str() {
                "AWS::RDS::DBInstance" => "db",
                "AWS::RDS::DBParameterGroup" => "pg",
                _ => "subgrp",
            };
            let name = arn("rds", &format!("{kind}:{id}"));
            _ = aws.rds().remove_tags_from_resource().resource_name(name).tag_keys(key).send().await.unwrap();
        }
        "IAM" if item.kind.ends_with("Role") => {
            _ = aws.iam().untag_role().role_name(id).tag_keys(key).send().await.unwrap();
        }
        "IAM" => {
            _ = aws
                .iam()
                .untag_instance_profile()
                .instance_profile_name(id)
                .tag_keys(key)
                .send()
                .await
                .unwrap();
        }
        "Logs" => {
            let group = arn("logs", &format!("log-group:{id}"));
            _ = aws.logs().untag_resource().resource_arn(group).tag_keys(key).send().await.unwrap();
        }
        "ApplicationAutoScaling" => {
            _ = aws.autoscaling().untag_resource().resource_arn(id).tag_keys(key).send().await.unwrap();
        }
        _ => panic!("the test cannot untag {} {id}", item.kind),
    }
}
