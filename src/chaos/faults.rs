//! Random faults.

use stackdrop_simulator::{Fault, FaultKind, When};

/// The calls to AWS at which faults are injected: those of a stack's life.
const CALLS: [(&str, &str); 40] = [
    ("ec2", "CreateVpc"),
    ("ec2", "CreateSubnet"),
    ("ec2", "CreateInternetGateway"),
    ("ec2", "AttachInternetGateway"),
    ("ec2", "CreateRouteTable"),
    ("ec2", "CreateRoute"),
    ("ec2", "AllocateAddress"),
    ("ec2", "CreateNatGateway"),
    ("ec2", "CreateVpcEndpoint"),
    ("ec2", "CreateSecurityGroup"),
    ("ec2", "AuthorizeSecurityGroupIngress"),
    ("ec2", "RunInstances"),
    ("ec2", "TerminateInstances"),
    ("ec2", "DeleteNatGateway"),
    ("ec2", "DeleteSecurityGroup"),
    ("ec2", "DeleteSubnet"),
    ("ec2", "DeleteVpc"),
    ("ec2", "DescribeInstances"),
    ("ec2", "DescribeVpcs"),
    ("ec2", "DescribeSubnets"),
    ("rds", "CreateDBSubnetGroup"),
    ("rds", "CreateDBInstance"),
    ("rds", "ModifyDBInstance"),
    ("rds", "DeleteDBInstance"),
    ("rds", "DescribeDBInstances"),
    ("elasticloadbalancing", "CreateLoadBalancer"),
    ("elasticloadbalancing", "CreateTargetGroup"),
    ("elasticloadbalancing", "CreateListener"),
    ("elasticloadbalancing", "DeleteLoadBalancer"),
    ("elasticloadbalancing", "DescribeLoadBalancers"),
    ("iam", "CreateRole"),
    ("iam", "PutRolePolicy"),
    ("iam", "DeleteRole"),
    ("ecs", "CreateCluster"),
    ("ecs", "RegisterTaskDefinition"),
    ("ecs", "CreateService"),
    ("ecs", "UpdateService"),
    ("ecs", "DeleteService"),
    ("ecs", "DescribeServices"),
    ("logs", "CreateLogGroup"),
];

/// The calls to the bucket at which faults are injected, with the functions that make them: the user's own calls have
/// no faults.
const RECORD_CALLS: [(&str, &str); 5] = [
    ("GetObject", "/admit/run"),
    ("PutObject", "/admit/run"),
    ("GetObject", "/conclude/conclude"),
    ("PutObject", "/conclude/conclude"),
    ("DeleteObject", "/conclude/conclude"),
];

/// Draws a fault: its kind, which of the calls it concerns, and the operation.
pub(super) fn draw(rng: &mut fastrand::Rng) -> Fault {
    let kind = match rng.u8(..10) {
        0 => FaultKind::Throttled,
        1 => FaultKind::ServerError,
        2 => FaultKind::LostBefore,
        3 | 4 => FaultKind::LostAfter,
        5 | 6 => FaultKind::Killed,
        7 => FaultKind::Hangs,
        8 => FaultKind::AccessDenied,
        _ => FaultKind::ResourceFails,
    };
    let first = rng.usize(1..4);
    let when = match rng.u8(..6) {
        0 => When::From(first),
        1 | 2 => When::Span(first, rng.usize(2..12)),
        _ => When::Only(first),
    };
    if rng.u8(..5) == 0 {
        let (operation, caller) = RECORD_CALLS[rng.usize(..RECORD_CALLS.len())];
        Fault::at("s3", operation, when, kind).during(caller)
    } else {
        let (service, operation) = CALLS[rng.usize(..CALLS.len())];
        Fault::at(service, operation, when, kind)
    }
}
