//! Manual changes of network, egress, security groups and instance are reported and repaired.

mod manual_change; // the manual changes

use stackdrop::Rehearsal;
use stackdrop::rehearsal::outputs_of;

use crate::redeploy;
use crate::updates_network::{INSTANCE_ONLY, assert_planned, planned};
use crate::{changes, deployed, rehearsal};
pub(crate) use manual_change::ManualChange;

/// The manual changes, and the start of the line that the plan of the next deployment must have for each.
pub(crate) const DRIFTS: [(ManualChange, &str); 26] = [
    (ManualChange::OpenInstance, "instance in tcp 22 from 0.0.0.0/0 allowed -> (none)"),
    (ManualChange::AddDefaultGroupRules, "default-security-group rules 1 -> 0"),
    (ManualChange::DisableHostNames, "vpc enableDnsHostnames false -> true"),
    (ManualChange::DisableDnsSupport, "vpc enableDnsSupport false -> true"),
    (ManualChange::AddDatabaseRoute, "route-table/database routes.0.0.0.0/0 igw-"),
    (ManualChange::DeletePublicRoute, "route-table/public routes.0.0.0.0/0 (none) -> igw-"),
    (ManualChange::RoutePrivateSubnetToInternetGateway, "route/private/b natGateway igw-"),
    (ManualChange::MoveSubnetToPublicTable, "subnet/private/a routeTable rtb-"),
    (ManualChange::MoveSubnetToUnownedTable, "subnet/private/a routeTable rtb-"),
    (ManualChange::AddUnownedTableToEndpoint, "endpoint/s3 routeTables"),
    (
        ManualChange::DisassociateSubnetFromTable,
        "subnet/private/a routeTable (the main route table) -> route-table/private/a",
    ),
    (ManualChange::AssociateUnownedSubnetWithTable, "route-table/private/a associations subnet-"),
    (ManualChange::MapPublicAddressesInSubnet, "subnet/private/a mapPublicIpOnLaunch true -> false"),
    (ManualChange::DetachInternetGateway, "internet-gateway attachment (none) -> the VPC"),
    (ManualChange::DeleteNatGateway, "nat/a create"),
    (ManualChange::NarrowEndpointPolicy, "endpoint/s3 policy"),
    (ManualChange::StopInstance, "instance state stopped -> running"),
    (ManualChange::AllowMetadataVersion1, "instance metadata.httpTokens optional -> required"),
    (ManualChange::LetMetadataLeaveInstance, "instance metadata.hopLimit 2 -> 1"),
    (ManualChange::TurnOffMetadata, "instance metadata.httpEndpoint disabled -> enabled"),
    (ManualChange::ReplaceInstanceGroup, "instance securityGroups sg-"),
    (ManualChange::RemoveInstanceProfile, "instance profile (none) -> stackdrop-shop"),
    (ManualChange::ReplaceRoleOfProfile, "profile/instance role theirs -> stackdrop-shop"),
    (ManualChange::AssociateElasticAddress, "instance publicAddress 198.18."),
    (ManualChange::AssignPublicAddress, "instance publicAddress 198.18."),
    (ManualChange::TrustAnotherService, "role/instance trust {"),
];

/// The spec of these tests.
pub(crate) const SPEC: &str = INSTANCE_ONLY;

/// Groups of manual changes that one stack can have at the same time.
pub(crate) const BATCHES: [&[ManualChange]; 2] = [
    &[
        ManualChange::OpenInstance,
        ManualChange::AddDefaultGroupRules,
        ManualChange::DisableHostNames,
        ManualChange::AddDatabaseRoute,
        ManualChange::DeletePublicRoute,
        ManualChange::RoutePrivateSubnetToInternetGateway,
        ManualChange::AssociateUnownedSubnetWithTable,
        ManualChange::MoveSubnetToPublicTable,
        ManualChange::MapPublicAddressesInSubnet,
        ManualChange::NarrowEndpointPolicy,
        ManualChange::AllowMetadataVersion1,
        ManualChange::RemoveInstanceProfile,
        ManualChange::AssociateElasticAddress,
        ManualChange::TrustAnotherService,
    ],
    &[
        ManualChange::MoveSubnetToUnownedTable,
        ManualChange::AddUnownedTableToEndpoint,
        ManualChange::DeleteNatGateway,
        ManualChange::StopInstance,
        ManualChange::ReplaceInstanceGroup,
        ManualChange::AssignPublicAddress,
    ],
];

/// Deploys, applies these manual changes, and deploys again.
pub(crate) async fn apply_and_repair(rehearsal: &Rehearsal, batch: &[ManualChange]) {
    let first = deployed(rehearsal, INSTANCE_ONLY).await;
    for change in batch {
        change.apply(rehearsal, &outputs_of(&first).unwrap()).await;
    }
    let repaired = redeploy(rehearsal).await;
    assert!(repaired.succeeded(), "{batch:?}: {:?}", repaired.error());
}

#[tokio::test(start_paused = true)]
async fn manual_changes_are_reported_and_repaired() {
    for (change, difference) in DRIFTS {
        let rehearsal = rehearsal(INSTANCE_ONLY);
        let first = deployed(&rehearsal, INSTANCE_ONLY).await;
        change.apply(&rehearsal, &outputs_of(&first).unwrap()).await;
        let repaired = redeploy(&rehearsal).await;
        assert!(repaired.succeeded(), "{change:?}: {:?}", repaired.error());
        assert_planned(&planned(&rehearsal, &repaired).await, &[difference]);
        assert_ne!(changes(&repaired), Vec::<String>::new(), "{change:?}");
        let next = redeploy(&rehearsal).await;
        assert_eq!(planned(&rehearsal, &next).await, Vec::<String>::new(), "{change:?}");
        assert_eq!(changes(&next), Vec::<String>::new(), "{change:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_subnet_returns_to_its_route_table_in_one_call() {
    let rehearsal = rehearsal(INSTANCE_ONLY);
    let first = deployed(&rehearsal, INSTANCE_ONLY).await;
    ManualChange::MoveSubnetToPublicTable.apply(&rehearsal, &outputs_of(&first).unwrap()).await;
    let repaired = redeploy(&rehearsal).await;
    let done: Vec<String> = repaired
        .calls
        .iter()
        .filter(|call| call.writes && call.service == "ec2")
        .filter(|call| call.ending == stackdrop_simulator::Ending::Done)
        .map(stackdrop_simulator::Call::name)
        .collect();
    assert_eq!(done, ["ec2:ReplaceRouteTableAssociation"]);
}
