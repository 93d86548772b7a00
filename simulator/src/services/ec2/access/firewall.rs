//! Security groups, interfaces and tags.

use super::{Call, tags};
use crate::services::ec2::group::Group;
use crate::services::ec2::interface::Interface;
use crate::services::ec2::resource::Resource;
use crate::services::ec2::rule::Rule;
use crate::services::ec2::subnet::Subnet;
use crate::services::ec2::vpc::Vpc;
use crate::services::ec2::{interface, tagging};

/// Returns whether the operation belongs to this file.
pub(super) fn access(call: &mut Call<'_, '_>) -> bool {
    match call.operation {
        "CreateSecurityGroup" => {
            call.names(Vpc::KIND, "VpcId");
            call.creates(Group::KIND);
        }
        "DeleteSecurityGroup" | "RevokeSecurityGroupIngress" | "RevokeSecurityGroupEgress" => {
            call.names(Group::KIND, "GroupId");
        }
        "AuthorizeSecurityGroupIngress" | "AuthorizeSecurityGroupEgress" => authorize(call),
        "ModifySecurityGroupRules" => modify_rules(call),
        "CreateNetworkInterface" => {
            call.names(Subnet::KIND, "SubnetId");
            let subnet = call.params.text("SubnetId").unwrap_or_default();
            let vpc = call.requests.world.states.ec2.subnets.get(&subnet).map(|subnet| subnet.vpc.as_str());
            call.groups_or_default(call.params.list("SecurityGroupId"), vpc);
            call.creates(Interface::KIND);
        }
        "DeleteNetworkInterface" => call.names(Interface::KIND, "NetworkInterfaceId"),
        "ModifyNetworkInterfaceAttribute" => {
            call.names(Interface::KIND, "NetworkInterfaceId");
            // The reference also lists the subnet, without a condition: it is always requested here.
            let id = call.params.text("NetworkInterfaceId").unwrap_or_default();
            if let Some(subnet) = interface::subnet_of(call.requests.world, &id) {
                call.on(Subnet::KIND, &subnet);
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
    call.names(Group::KIND, "GroupId");
    if !call.new_tags(Rule::KIND).is_empty() {
        call.creates(Rule::KIND);
    }
}

fn modify_rules(call: &mut Call<'_, '_>) {
    call.names(Group::KIND, "GroupId");
    let updates = call.params.structs("SecurityGroupRule");
    if updates.is_empty() {
        call.on(Rule::KIND, "*");
    }
    for update in updates {
        call.on(Rule::KIND, &update.text("SecurityGroupRuleId").unwrap_or_else(|| "*".into()));
        let list = update.section("SecurityGroupRule").and_then(|rule| rule.text("PrefixListId"));
        if let Some(list) = list {
            // The simulated prefix lists are AWS's own and belong to the account `aws`.
            let region = &call.requests.world.region;
            let arn = format!("arn:aws:ec2:{region}:aws:prefix-list/{list}");
            call.requests.resource("prefix-list", arn, None);
        }
    }
}

fn tag(call: &mut Call<'_, '_>) {
    let ids = call.params.list("ResourceId");
    if ids.is_empty() {
        call.requests.no_resource();
    }
    let tags = tags(call.params);
    let creates = call.operation == "CreateTags";
    for id in ids {
        let request = match tagging::kind_of(&id) {
            Some(kind) => call.on(kind, &id),
            None => call.requests.no_resource(),
        };
        if creates {
            request.request_tags(&tags);
        } else {
            request.tag_keys(tags.keys().cloned());
        }
    }
}
