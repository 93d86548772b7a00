//! Refusals that pass: AWS shows a resource late, or an answer was lost. The step reads again, and completes.

use std::time::Duration;

use serde_json::{Value, json};
use stackdrop_functions::Aws;
use stackdrop_simulator::{Account, Fault, FaultKind, When};

use crate::common::{act, until_done};
use crate::{COMPONENTS, ENDPOINTS, LOGGED, NAT, applied, deployed};

/// A call of a component, and the codes with which AWS refuses it for a while.
struct Refused {
    spec: &'static str,
    component: &'static str,
    service: &'static str,
    operation: &'static str,
    codes: &'static [&'static str],
}

const fn refused(
    spec: &'static str,
    component: &'static str,
    service: &'static str,
    operation: &'static str,
    codes: &'static [&'static str],
) -> Refused {
    Refused { spec, component, service, operation, codes }
}

const OF_APPLY: [Refused; 22] = [
    refused(NAT, "network", "ec2", "DescribeVpcAttribute", &["InvalidVpcID.NotFound"]),
    refused(NAT, "network", "ec2", "ModifyVpcAttribute", &["InvalidVpcID.NotFound"]),
    refused(NAT, "network", "ec2", "RevokeSecurityGroupIngress", &["InvalidPermission.NotFound"]),
    refused(NAT, "network", "ec2", "RevokeSecurityGroupEgress", &["InvalidPermission.NotFound"]),
    refused(NAT, "network", "ec2", "CreateSubnet", &["InvalidVpcID.NotFound", "InvalidSubnet.Conflict"]),
    refused(NAT, "network", "ec2", "CreateRouteTable", &["InvalidVpcID.NotFound"]),
    refused(
        NAT,
        "network",
        "ec2",
        "AttachInternetGateway",
        &["Resource.AlreadyAssociated", "InvalidInternetGatewayID.NotFound", "InvalidVpcID.NotFound"],
    ),
    refused(
        NAT,
        "network",
        "ec2",
        "AssociateRouteTable",
        &["Resource.AlreadyAssociated", "InvalidSubnetID.NotFound", "InvalidRouteTableID.NotFound"],
    ),
    refused(
        NAT,
        "network",
        "ec2",
        "CreateRoute",
        &[
            "RouteAlreadyExists",
            "InvalidGatewayID.NotFound",
            "InvalidInternetGatewayID.NotFound",
            "InvalidRouteTableID.NotFound",
        ],
    ),
    refused(
        NAT,
        "network",
        "ec2",
        "CreateVpcEndpoint",
        &[
            "RouteAlreadyExists",
            "InvalidRouteTableId.NotFound",
            "InvalidRouteTableID.NotFound",
            "InvalidVpcId.NotFound",
            "InvalidVpcID.NotFound",
        ],
    ),
    refused(LOGGED, "network", "ec2", "CreateFlowLogs", &["FlowLogAlreadyExists"]),
    refused(
        NAT,
        "security-groups",
        "ec2",
        "CreateSecurityGroup",
        &["InvalidGroup.Duplicate", "InvalidVpcID.NotFound"],
    ),
    refused(
        NAT,
        "security-groups",
        "ec2",
        "AuthorizeSecurityGroupIngress",
        &["InvalidPermission.Duplicate", "InvalidGroup.NotFound"],
    ),
    // The group of the endpoints has no outbound rules: the one that EC2 adds to every new group is revoked.
    refused(
        ENDPOINTS,
        "security-groups",
        "ec2",
        "RevokeSecurityGroupEgress",
        &["InvalidPermission.NotFound", "InvalidSecurityGroupRuleId.NotFound", "InvalidGroup.NotFound"],
    ),
    refused(
        NAT,
        "egress",
        "ec2",
        "CreateNatGateway",
        &[
            "Resource.AlreadyAssociated",
            "InvalidSubnetID.NotFound",
            "InvalidAllocationID.NotFound",
            "InvalidElasticIpID.NotFound",
        ],
    ),
    refused(
        NAT,
        "egress",
        "ec2",
        "CreateRoute",
        &[
            "RouteAlreadyExists",
            "InvalidGatewayID.NotFound",
            "InvalidNatGatewayID.NotFound",
            "NatGatewayNotFound",
        ],
    ),
    refused(
        ENDPOINTS,
        "egress",
        "ec2",
        "CreateVpcEndpoint",
        &[
            "InvalidSubnetId.NotFound",
            "InvalidSubnetID.NotFound",
            "InvalidGroup.NotFound",
            "InvalidSecurityGroupId.NotFound",
        ],
    ),
    refused(NAT, "instance", "iam", "CreateInstanceProfile", &["EntityAlreadyExists"]),
    // IAM allows changes of a new role by its boundary, and of a new profile by its tag.
    refused(NAT, "instance", "iam", "PutRolePolicy", &["NoSuchEntity", "AccessDenied"]),
    refused(
        NAT,
        "instance",
        "iam",
        "AddRoleToInstanceProfile",
        &["NoSuchEntity", "LimitExceeded", "AccessDenied"],
    ),
    refused(NAT, "instance", "ec2", "DescribeSubnets", &["InvalidSubnetID.NotFound"]),
    refused(NAT, "instance", "ec2", "RunInstances", &["InvalidParameterValue"]),
];

const OF_DELETION: [Refused; 11] = [
    refused(
        NAT,
        "network",
        "ec2",
        "DetachInternetGateway",
        &["Gateway.NotAttached", "InvalidInternetGatewayID.NotFound", "DependencyViolation"],
    ),
    refused(
        NAT,
        "network",
        "ec2",
        "DeleteInternetGateway",
        &["InvalidInternetGatewayID.NotFound", "DependencyViolation"],
    ),
    refused(NAT, "network", "ec2", "DeleteSubnet", &["InvalidSubnetID.NotFound", "DependencyViolation"]),
    refused(
        NAT,
        "network",
        "ec2",
        "DeleteRouteTable",
        &["InvalidRouteTableID.NotFound", "DependencyViolation"],
    ),
    refused(LOGGED, "network", "ec2", "DeleteFlowLogs", &["InvalidFlowLogId.NotFound"]),
    refused(NAT, "network", "ec2", "DeleteVpc", &["InvalidVpcID.NotFound", "DependencyViolation"]),
    refused(
        NAT,
        "security-groups",
        "ec2",
        "DeleteSecurityGroup",
        &[
            "InvalidGroup.NotFound",
            "InvalidSecurityGroupID.NotFound",
            "DependencyViolation",
            "InvalidGroup.InUse",
        ],
    ),
    refused(NAT, "egress", "ec2", "DeleteNatGateway", &["NatGatewayNotFound"]),
    // The gateway is deleted, and EC2 has not freed its address yet.
    refused(
        NAT,
        "egress",
        "ec2",
        "ReleaseAddress",
        &[
            "InvalidAllocationID.NotFound",
            "InvalidIPAddress.InUse",
            "AuthFailure",
            "InvalidNetworkInterfaceID.NotFound",
        ],
    ),
    refused(
        NAT,
        "instance",
        "ec2",
        "TerminateInstances",
        &["InvalidInstanceID.NotFound", "OperationNotPermitted"],
    ),
    refused(NAT, "instance", "iam", "DeleteInstanceProfile", &["NoSuchEntity", "DeleteConflict"]),
];

/// AWS's message with a code: of a general code, the message decides.
fn messages(code: &str) -> &'static [&'static str] {
    match code {
        "InvalidParameterValue" => &[
            "Value (stackdrop-shop) for parameter iamInstanceProfile.name is invalid. Invalid IAM Instance Profile name",
            "IAM Instance Profile \"stackdrop-shop\" has no associated IAM Roles",
        ],
        _ => &["the test says no"],
    }
}

/// An account with the components before this one.
async fn before(refused: &Refused) -> (Account, Aws, Value) {
    let at = COMPONENTS.iter().position(|component| *component == refused.component).unwrap();
    deployed(refused.spec, &COMPONENTS[..at]).await
}

fn arm(account: &Account, refused: &Refused, code: &str, message: &str) {
    let kind = FaultKind::Refused { code: code.into(), message: message.into() };
    account.arm(Fault::at(refused.service, refused.operation, When::Only(1), kind));
}

#[tokio::test(start_paused = true)]
async fn a_call_that_aws_refuses_for_a_moment_delays_a_deployment_and_does_not_fail_it() {
    for refused in &OF_APPLY {
        for code in refused.codes {
            for message in messages(code) {
                let about = format!("{} {}: {code}: {message}", refused.component, refused.operation);
                let (account, aws, mut deployment) = before(refused).await;
                arm(&account, refused, code, message);
                let outputs = until_done(&aws, refused.component, "apply", &deployment).await;
                assert!(outputs.is_ok(), "{about}: {outputs:?}");
                assert_eq!(account.strikes().len(), 1, "{about}");
                // What the refused call had to do, if AWS told that it was done, is done by the next deployment.
                tokio::time::advance(Duration::from_secs(30)).await;
                applied(&aws, refused.component, &mut deployment).await;
                tokio::time::advance(Duration::from_secs(30)).await;
                let plan = act(&aws, refused.component, "plan", &deployment).await.unwrap();
                assert_eq!((&plan["changes"], &plan["problems"]), (&json!([]), &json!([])), "{about}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_that_aws_refuses_for_a_moment_delays_a_deletion_and_does_not_fail_it() {
    for refused in &OF_DELETION {
        for code in refused.codes {
            let about = format!("{} {}: {code}", refused.component, refused.operation);
            let (account, aws, mut deployment) = before(refused).await;
            applied(&aws, refused.component, &mut deployment).await;
            arm(&account, refused, code, "the test says no");
            let deleted = until_done(&aws, refused.component, "await-deletion", &deployment).await;
            assert!(deleted.is_ok(), "{about}: {deleted:?}");
            assert_eq!(account.strikes().len(), 1, "{about}");
            // AWS told of one resource that it is gone, but it was not.
            tokio::time::advance(Duration::from_mins(1)).await;
            until_done(&aws, refused.component, "await-deletion", &deployment).await.unwrap();
            let ours = account.inventory().into_iter().filter(|item| item.component == refused.component);
            assert_eq!(ours.map(|item| item.id).collect::<Vec<_>>(), Vec::<String>::new(), "{about}");
        }
    }
}
