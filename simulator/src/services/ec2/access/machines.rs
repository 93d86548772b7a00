//! Instances, volumes and instance profiles.

use super::Call;
use crate::services::ec2::catalogue;
use crate::services::ec2::group::Group;
use crate::services::ec2::instance::Instance;
use crate::services::ec2::interface::Interface;
use crate::services::ec2::profile::{self, Named};
use crate::services::ec2::resource::Resource;
use crate::services::ec2::subnet::Subnet;
use crate::services::ec2::volume::Volume;

/// Returns whether the operation belongs to this file.
pub(super) fn access(call: &mut Call<'_, '_>) -> bool {
    match call.operation {
        "RunInstances" => launch(call),
        "StartInstances" => {
            call.names(Instance::KIND, "InstanceId");
            uses_the_default_key(call);
        }
        "TerminateInstances"
        | "StopInstances"
        | "DescribeInstanceAttribute"
        | "ModifyInstanceMetadataOptions" => call.names(Instance::KIND, "InstanceId"),
        "ModifyInstanceAttribute" => {
            call.names(Instance::KIND, "InstanceId");
            call.may_name(Group::KIND, "GroupId");
        }
        "ModifyVolume" => call.names(Volume::KIND, "VolumeId"),
        "AssociateIamInstanceProfile" => {
            call.names(Instance::KIND, "InstanceId");
            pass_role(call);
        }
        "DisassociateIamInstanceProfile" => with_profile(call),
        "ReplaceIamInstanceProfileAssociation" => {
            with_profile(call);
            pass_role(call);
        }
        _ => return false,
    }
    true
}

fn launch(call: &mut Call<'_, '_>) {
    image(call);
    // The subnet and groups of the network interface, if the call describes one.
    let interfaces = call.params.structs("NetworkInterface");
    let place = interfaces.first().unwrap_or(call.params);
    let subnet = place.text("SubnetId").unwrap_or_else(|| "*".into());
    call.on(Subnet::KIND, &subnet);
    let vpc = call.requests.world.states.ec2.subnets.get(&subnet).map(|subnet| subnet.vpc.as_str());
    call.groups_or_default(place.list("SecurityGroupId"), vpc);
    for kind in [Instance::KIND, Interface::KIND, Volume::KIND] {
        call.creates(kind);
    }
    uses_the_default_key(call);
    pass_role(call);
}

/// An encrypted volume is created and attached with the account's default key. AWS's own key admits every principal
/// that can use EC2. Source: "Requirements for Amazon EBS encryption", permissions for users, in the EBS user guide.
fn uses_the_default_key(call: &mut Call<'_, '_>) {
    const ACTIONS: [&str; 6] = [
        "kms:CreateGrant",
        "kms:Decrypt",
        "kms:DescribeKey",
        "kms:GenerateDataKeyWithoutPlaintext",
        "kms:ReEncryptFrom",
        "kms:ReEncryptTo",
    ];
    if let Some(key) = &call.requests.world.states.ec2.default_key {
        for action in ACTIONS {
            call.requests.key_use(action, key, "ec2");
        }
    }
}

/// An image's ARN has no account. `ec2:Owner` is the alias of Amazon for Amazon's images.
fn image(call: &mut Call<'_, '_>) {
    let id = call.params.text("ImageId").unwrap_or_else(|| "*".into());
    let arn = format!("arn:aws:ec2:{}::image/{id}", call.requests.world.region);
    let request = call.requests.resource("image", arn, None);
    if catalogue::architecture_of(&id).is_ok() {
        request.key("ec2:Owner", "amazon");
    }
}

/// The role of the profile in the request. EC2 refuses a profile that it does not find or that has no role.
fn pass_role(call: &mut Call<'_, '_>) {
    let role = Named::read(call.params).and_then(|profile| profile.role(call.requests.world));
    if let Some(role) = role {
        call.requests.pass_role(&role, "ec2.amazonaws.com");
    }
}

/// The instance of the association in the request.
fn with_profile(call: &mut Call<'_, '_>) {
    let association = call.params.text("AssociationId").unwrap_or_default();
    let instance = profile::instance_of(call.requests.world, &association).unwrap_or("*");
    call.on(Instance::KIND, instance);
}
