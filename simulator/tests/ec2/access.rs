//! The access requests of EC2's calls, and the refusal of denied ones.

use std::collections::BTreeSet;

use aws_sdk_ec2::types::{ResourceType, Tag, TagSpecification, VpcEndpointType};
use serde_json::json;

use crate::common::{acting, allow, asked};
use crate::endpoints::{S3, SSM};
use crate::instances::{named, profile};
use crate::site::{Site, address, code, group, refusal, table, tags, tcp, wait};

fn owned(kind: ResourceType) -> TagSpecification {
    tags(kind, &[("team", "shop")])
}

impl Site {
    /// A site with a role that can do everything.
    async fn open_to_all() -> Self {
        let site = Self::open().await;
        allow(&site.account, &json!([{ "Effect": "Allow", "Action": "*", "Resource": "*" }]));
        site
    }

    async fn tag(&self, id: &str) {
        let team = Tag::builder().key("team").value("shop").build();
        self.ec2.create_tags().resources(id).tags(team).send().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_creation_needs_permission_on_the_new_resource_its_tags_and_its_parent() {
    let site = Site::open_to_all().await;
    let (account, ec2, vpc) = (&site.account, &site.ec2, site.vpc.as_str());
    let call = ec2.create_vpc().cidr_block("10.1.0.0/16").tag_specifications(owned(ResourceType::Vpc));
    assert_eq!(asked(account, call.send()).await, ["ec2:CreateTags vpc", "ec2:CreateVpc vpc"]);
    let call = ec2.create_subnet().vpc_id(vpc).cidr_block("10.0.9.0/24");
    let call = call.tag_specifications(owned(ResourceType::Subnet));
    assert_eq!(
        asked(account, call.send()).await,
        ["ec2:CreateSubnet subnet", "ec2:CreateSubnet vpc", "ec2:CreateTags subnet"]
    );
    let resources: BTreeSet<String> =
        account.decisions().into_iter().map(|decision| decision.request.resource).collect();
    let new = ["subnet/*", "vpc/*", &format!("vpc/{vpc}")];
    let new = new.map(|path| format!("arn:aws:ec2:eu-central-1:123456789012:{path}"));
    assert_eq!(resources, BTreeSet::from(new));
    let call = ec2.create_route_table().vpc_id(vpc);
    assert_eq!(
        asked(account, call.send()).await,
        ["ec2:CreateRouteTable route-table", "ec2:CreateRouteTable vpc"]
    );
    let call = ec2.create_security_group().vpc_id(vpc).group_name("web").description("web");
    assert_eq!(
        asked(account, call.send()).await,
        ["ec2:CreateSecurityGroup security-group", "ec2:CreateSecurityGroup vpc"]
    );
    let eip = address(ec2).await;
    let call = ec2.create_nat_gateway().subnet_id(&site.public[0]).allocation_id(eip);
    assert_eq!(
        asked(account, call.send()).await,
        ["ec2:CreateNatGateway elastic-ip", "ec2:CreateNatGateway natgateway", "ec2:CreateNatGateway subnet"]
    );
    let call = ec2.create_network_interface().subnet_id(&site.private[0]);
    assert_eq!(
        asked(account, call.send()).await,
        [
            "ec2:CreateNetworkInterface network-interface",
            "ec2:CreateNetworkInterface security-group",
            "ec2:CreateNetworkInterface subnet"
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_needs_permission_on_what_it_adds_and_removes() {
    let site = Site::open_to_all().await;
    site.with_dns().await;
    let (account, ec2) = (&site.account, &site.ec2);
    let looks = ["ec2:DescribeSecurityGroups", "ec2:DescribeSubnets", "ec2:DescribeVpcs"];
    let gateway = site.endpoint(S3).vpc_endpoint_type(VpcEndpointType::Gateway);
    let expected = ["route-table", "vpc", "vpc-endpoint"].map(|kind| format!("ec2:CreateVpcEndpoint {kind}"));
    let expected = expected.iter().map(String::as_str).chain(looks).collect::<Vec<_>>();
    assert_eq!(asked(account, gateway.route_table_ids(&site.private_table).send()).await, expected);

    let [first, second] = [group(ec2, &site.vpc, "first").await, group(ec2, &site.vpc, "second").await];
    let call = site.endpoint(SSM).subnet_ids(&site.private[0]).security_group_ids(&first);
    let kinds = ["security-group", "subnet", "vpc", "vpc-endpoint"];
    let expected = kinds.map(|kind| format!("ec2:CreateVpcEndpoint {kind}"));
    let zone = "route53:AssociateVPCWithHostedZone hostedzone";
    let expected = expected.iter().map(String::as_str).chain(looks).chain([zone]).collect::<Vec<_>>();
    assert_eq!(asked(account, call.send()).await, expected);
    wait(100.0).await;
    let found = ec2.describe_vpc_endpoints().send().await.unwrap();
    let mut found = found.vpc_endpoints().iter();
    let id = found.find(|endpoint| endpoint.service_name() == Some(SSM)).unwrap().vpc_endpoint_id().unwrap();
    let call = ec2.modify_vpc_endpoint().vpc_endpoint_id(id);
    let call = call.add_subnet_ids(&site.private[1]).remove_subnet_ids(&site.private[0]);
    let call = call.add_security_group_ids(second).remove_security_group_ids(first);
    let kinds = ["security-group", "security-group", "subnet", "subnet", "vpc-endpoint"];
    assert_eq!(asked(account, call.send()).await, kinds.map(|kind| format!("ec2:ModifyVpcEndpoint {kind}")));
}

#[tokio::test(start_paused = true)]
async fn a_change_needs_permission_on_the_resources_of_an_association() {
    let site = Site::open_to_all().await;
    let (account, ec2) = (&site.account, &site.ec2);
    let found = ec2.describe_route_tables().route_table_ids(&site.private_table).send().await.unwrap();
    let association = found.route_tables()[0].associations()[0].route_table_association_id().unwrap();
    let other = table(ec2, &site.vpc, &[]).await;
    let call = ec2.replace_route_table_association().association_id(association).route_table_id(&other);
    let kinds = ["route-table", "route-table", "subnet"];
    assert_eq!(
        asked(account, call.send()).await,
        kinds.map(|kind| format!("ec2:ReplaceRouteTableAssociation {kind}"))
    );
    let found = ec2.describe_route_tables().route_table_ids(&other).send().await.unwrap();
    let association = found.route_tables()[0].associations()[0].route_table_association_id().unwrap();
    let call = ec2.disassociate_route_table().association_id(association);
    assert_eq!(
        asked(account, call.send()).await,
        ["ec2:DisassociateRouteTable route-table", "ec2:DisassociateRouteTable subnet"]
    );
    let eip = address(ec2).await;
    let instance = site.running().await;
    let call = ec2.associate_address().allocation_id(&eip).instance_id(&instance);
    let kinds = ["elastic-ip", "instance", "network-interface"];
    assert_eq!(asked(account, call.send()).await, kinds.map(|kind| format!("ec2:AssociateAddress {kind}")));
    let found = ec2.describe_addresses().send().await.unwrap();
    let call = ec2.disassociate_address().association_id(found.addresses()[0].association_id().unwrap());
    let kinds = ["elastic-ip", "network-interface"];
    assert_eq!(
        asked(account, call.send()).await,
        kinds.map(|kind| format!("ec2:DisassociateAddress {kind}"))
    );
}

#[tokio::test(start_paused = true)]
async fn an_instance_needs_permission_on_its_parts_and_its_role() {
    let site = Site::open_to_all().await;
    let (account, ec2) = (&site.account, &site.ec2);
    profile(account, "shop").await;
    wait(30.0).await;
    let call = site.launch().iam_instance_profile(named("shop"));
    let call = call.tag_specifications(owned(ResourceType::Instance));
    let call = call.tag_specifications(owned(ResourceType::Volume));
    let kinds = ["image", "instance", "network-interface", "security-group", "subnet", "volume"];
    let own = kinds.map(|kind| format!("ec2:RunInstances {kind}"));
    let tagging = ["ec2:CreateTags instance", "ec2:CreateTags volume"].map(str::to_owned);
    let pass = ["iam:PassRole role".to_owned()];
    assert_eq!(asked(account, call.send()).await, [&tagging[..], &own, &pass].concat());
    wait(40.0).await;

    let found = ec2.describe_iam_instance_profile_associations().send().await.unwrap();
    let found = &found.iam_instance_profile_associations()[0];
    let (id, instance) = (found.association_id().unwrap(), found.instance_id().unwrap());
    let call = ec2.replace_iam_instance_profile_association().association_id(id);
    assert_eq!(
        asked(account, call.iam_instance_profile(named("shop")).send()).await,
        ["ec2:ReplaceIamInstanceProfileAssociation instance", "iam:PassRole role"]
    );
    let own = group(ec2, &site.vpc, "own").await;
    let call = ec2.modify_instance_attribute().instance_id(instance).groups(&own);
    assert_eq!(
        asked(account, call.send()).await,
        ["ec2:ModifyInstanceAttribute instance", "ec2:ModifyInstanceAttribute security-group"]
    );
}

#[tokio::test(start_paused = true)]
async fn rules_need_permission_on_their_group_and_with_tags_on_themselves() {
    let site = Site::open_to_all().await;
    let web = group(&site.ec2, &site.vpc, "web").await;
    let authorize = |port: i32| {
        let call = site.ec2.authorize_security_group_ingress().group_id(&web);
        call.ip_permissions(tcp(port, "10.0.0.0/16"))
    };
    let plain = asked(&site.account, authorize(80).send()).await;
    assert_eq!(plain, ["ec2:AuthorizeSecurityGroupIngress security-group"]);
    let call = authorize(443).tag_specifications(owned(ResourceType::SecurityGroupRule));
    assert_eq!(
        asked(&site.account, call.send()).await,
        [
            "ec2:AuthorizeSecurityGroupIngress security-group",
            "ec2:AuthorizeSecurityGroupIngress security-group-rule",
            "ec2:CreateTags security-group-rule"
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_role_limited_by_a_tag_is_denied_on_other_resources() {
    let site = Site::open().await;
    let tagged = json!({ "StringEquals": { "aws:ResourceTag/team": "shop" } });
    allow(
        &site.account,
        &json!([{ "Effect": "Allow", "Action": "ec2:*", "Resource": "*", "Condition": tagged }]),
    );
    let attach =
        || site.ec2.associate_route_table().route_table_id(&site.public_table).subnet_id(&site.private[0]);
    site.tag(&site.public_table).await;
    let (code_of, message) = refusal(acting(attach().send()).await);
    assert_eq!(code_of, "UnauthorizedOperation");
    assert!(
        message.contains(&format!(
            "ec2:AssociateRouteTable on resource: arn:aws:ec2:eu-central-1:123456789012:subnet/{}",
            site.private[0]
        )),
        "{message}"
    );
    site.tag(&site.private[0]).await;
    // Now IAM allows the call, and EC2 refuses it.
    assert_eq!(code(acting(attach().send()).await), "Resource.AlreadyAssociated");
    let absent = site.ec2.delete_subnet().subnet_id("subnet-00000000000000000");
    assert_eq!(code(acting(absent.send()).await), "UnauthorizedOperation");
    let untag = site.ec2.delete_tags().resources(&site.vpc).send();
    assert_eq!(code(acting(untag).await), "UnauthorizedOperation");
}

#[tokio::test(start_paused = true)]
async fn tags_in_a_create_need_a_permission_of_their_own() {
    let site = Site::open().await;
    let create =
        || site.ec2.create_vpc().cidr_block("10.1.0.0/16").tag_specifications(owned(ResourceType::Vpc));
    let requested = json!({ "StringEquals": { "aws:RequestTag/team": "shop" } });
    let creates =
        json!({ "Effect": "Allow", "Action": "ec2:CreateVpc", "Resource": "*", "Condition": requested });
    allow(&site.account, &json!([creates]));
    let (code_of, message) = refusal(acting(create().send()).await);
    assert_eq!(code_of, "UnauthorizedOperation");
    assert!(
        message.contains("ec2:CreateTags on resource: arn:aws:ec2:eu-central-1:123456789012:vpc/*"),
        "{message}"
    );
    let by = |action: &str| {
        json!({ "Effect": "Allow", "Action": "ec2:CreateTags", "Resource": "*",
            "Condition": { "StringEquals": { "ec2:CreateAction": action } } })
    };
    allow(&site.account, &json!([creates, by("CreateSubnet")]));
    assert_eq!(code(acting(create().send()).await), "UnauthorizedOperation");
    allow(&site.account, &json!([creates, by("CreateVpc")]));
    acting(create().send()).await.unwrap();
    let untagged = site.ec2.create_vpc().cidr_block("10.2.0.0/16");
    assert_eq!(code(acting(untagged.send()).await), "UnauthorizedOperation");
}

#[tokio::test(start_paused = true)]
async fn a_launch_needs_the_images_owner_and_the_instances_own_role() {
    let site = Site::open().await;
    profile(&site.account, "shop").await;
    wait(30.0).await;
    let launch = |owner: &str, role: &str| {
        let owner = json!({ "StringEquals": { "ec2:Owner": owner } });
        allow(
            &site.account,
            &json!([
                { "Effect": "Allow", "Action": "ec2:RunInstances", "Resource": "arn:aws:ec2:*:123456789012:*" },
                { "Effect": "Allow", "Action": "ec2:RunInstances", "Resource": "arn:aws:ec2:*::image/*", "Condition": owner },
                { "Effect": "Allow", "Action": "iam:PassRole", "Resource": format!("arn:aws:iam::123456789012:role/{role}"),
                    "Condition": { "StringEquals": { "iam:PassedToService": "ec2.amazonaws.com" } } },
            ]),
        );
        acting(site.launch().iam_instance_profile(named("shop")).send())
    };
    assert_eq!(code(launch("123456789012", "shop").await), "UnauthorizedOperation");
    assert_eq!(code(launch("amazon", "other").await), "UnauthorizedOperation");
    launch("amazon", "shop").await.unwrap();
}
