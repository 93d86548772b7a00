//! Security groups, interfaces and tags.

use super::{Call, tags};
use crate::services::ec2::interface;
use crate::services::ec2::thing::Kind;

/// Whether it is a call of these.
pub(super) fn access(call: &mut Call<'_, '_>) -> bool {
    match call.operation {
        "CreateSecurityGroup" => {
            call.names(Kind::Vpc, "VpcId");
            call.creates(Kind::Group);
        }
        "DeleteSecurityGroup" | "RevokeSecurityGroupIngress" | "RevokeSecurityGroupEgress" => {
            call.names(Kind::Group, "GroupId");
        }
        "AuthorizeSecurityGroupIngress" | "AuthorizeSecurityGroupEgress" => authorize(call),
        "ModifySecurityGroupRules" => modify_rules(call),
        "CreateNetworkInterface" => {
            call.names(Kind::Subnet, "SubnetId");
            let subnet = call.params.text("SubnetId").unwrap_or_default();
            let vpc = call.asks.world.ec2.subnets.get(&subnet).map(|subnet| subnet.vpc.as_str());
            call.groups_or_default(call.params.list("SecurityGroupId"), vpc);
            call.creates(Kind::Interface);
        }
        "DeleteNetworkInterface" => call.names(Kind::Interface, "NetworkInterfaceId"),
        "ModifyNetworkInterfaceAttribute" => {
            call.names(Kind::Interface, "NetworkInterfaceId");
            // The reference has the subnet too, and does not say when: it is always asked for here.
            let id = call.params.text("NetworkInterfaceId").unwrap_or_default();
            if let Some(subnet) = interface::subnet_of(call.asks.world, &id) {
                call.on(Kind::Subnet, &subnet);
            }
        }
        "CreateTags" | "DeleteTags" => tag(call),
        _ => return false,
    }
    true
}

/// Rules without tags need a permission on their group only: "Amazon EC2: Allows managing EC2 security groups with a
/// specific tag key-value pair" in the IAM user guide.
fn authorize(call: &mut Call<'_, '_>) {
    call.names(Kind::Group, "GroupId");
    if !call.new_tags(Kind::Rule).is_empty() {
        call.creates(Kind::Rule);
    }
}

fn modify_rules(call: &mut Call<'_, '_>) {
    call.names(Kind::Group, "GroupId");
    let updates = call.params.structs("SecurityGroupRule");
    if updates.is_empty() {
        call.on(Kind::Rule, "*");
    }
    for update in updates {
        call.on(Kind::Rule, &update.text("SecurityGroupRuleId").unwrap_or_else(|| "*".into()));
        let list = update.section("SecurityGroupRule").and_then(|rule| rule.text("PrefixListId"));
        if let Some(list) = list {
            // The simulated lists are those of AWS, which belong to the account `aws`.
            let region = &call.asks.world.region;
            let arn = format!("arn:aws:ec2:{region}:aws:prefix-list/{list}");
            call.asks.on("prefix-list", arn, None);
        }
    }
}

fn tag(call: &mut Call<'_, '_>) {
    let ids = call.params.list("ResourceId");
    if ids.is_empty() {
        call.asks.whole();
    }
    let tags = tags(call.params);
    let creates = call.operation == "CreateTags";
    for id in ids {
        let request = match Kind::of(&id) {
            Some(kind) => call.on(kind, &id),
            None => call.asks.whole(),
        };
        if creates {
            request.request_tags(&tags);
        } else {
            request.tag_keys(tags.keys().cloned());
        }
    }
}
