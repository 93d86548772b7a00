//! What the functions' roles allow on resources that are not Stackdrop's, because IAM cannot tell them apart.

/// A role, its actions on types of resources, and what limits them instead. `docs/permissions.md` has the same table.
pub(super) type Unavoidable = (&'static str, &'static [&'static str], &'static str);

/// All of them. `attacks` fails if one is missing, or not needed.
pub(super) const UNAVOIDABLE: [Unavoidable; 25] = [
    (
        "AdmitRole",
        &["states:SendTaskFailure on *", "states:SendTaskSuccess on *"],
        "The caller must know the token of a waiting task. The actions take no resource.",
    ),
    (
        "ConcludeRole",
        &["secretsmanager:RotateSecret on Secret"],
        "Only secrets of RDS instances that are named `…-database`, and only their rotation's schedule.",
    ),
    (
        "DatabaseRole",
        &["rds:AddTagsToResource on db", "rds:AddTagsToResource on pg", "rds:AddTagsToResource on subgrp"],
        "Only names `…-database` and `…-postgres…`. RDS has no condition key that distinguishes a new resource from an existing \
         one: `rds:TagsFromRequest` is true for both.",
    ),
    (
        "DatabaseRole",
        &["rds:AddTagsToResource on snapshot"],
        "Only names `…-database-final-…`. RDS copies the database's tags; the call has none.",
    ),
    (
        "DatabaseRole",
        &[
            "rds:CreateDBInstance on og",
            "rds:ModifyDBInstance on og",
            "rds:RestoreDBInstanceFromDBSnapshot on og",
        ],
        "Only the default option groups, which belong to RDS, and only for a database with a stack's tag.",
    ),
    (
        "DatabaseRole",
        &["kms:CreateGrant on key", "rds:RestoreDBInstanceFromDBSnapshot on snapshot"],
        "Only snapshots that their owner shares by the tag `stackdrop-access`, and keys only through RDS.",
    ),
    (
        "DatabaseRole",
        &["secretsmanager:RotateSecret on Secret", "secretsmanager:TagResource on Secret"],
        "Only secrets of RDS. `RotateSecret` only for instances that are named `…-database`; RDS itself needs `TagResource` of \
         the caller, for a secret whose name is not known in advance.",
    ),
    (
        "DatabaseRole",
        &["iam:CreateServiceLinkedRole on role"],
        "Only RDS's own role, which an account has once.",
    ),
    (
        "EgressRole",
        &["ec2:ModifyVpcEndpoint on security-group", "ec2:ModifyVpcEndpoint on subnet"],
        "The call also needs the endpoint, which must have a stack's tag: it detaches others' groups and subnets from it.",
    ),
    (
        "EgressRole",
        &["route53:AssociateVPCWithHostedZone on hostedzone"],
        "EC2 needs it of the caller, for the private name of an endpoint. The ID of EC2's zone is not known in advance.",
    ),
    (
        "InstanceRole",
        &["ec2:DisassociateAddress on elastic-ip"],
        "The call also needs the network interface, which must have a stack's tag. The Service Authorization Reference marks the \
         interface as optional.",
    ),
    (
        "InstanceRole",
        &["ec2:RunInstances on image", "ssm:GetParameter on parameter"],
        "Only Amazon's images, and the public parameters that name them.",
    ),
    (
        "InstanceRole",
        &["iam:PassRole on role", "iam:TagInstanceProfile on instance-profile", "iam:TagRole on role"],
        "Only names `stackdrop-…-instance-REGION` under `/stackdrop/`. A new role has no tag, and IAM does not support tags for \
         `PassRole`. Only roles with the boundary can be changed further.",
    ),
    (
        "InstanceRole",
        &[
            "kms:CreateGrant on key",
            "kms:Decrypt on key",
            "kms:GenerateDataKeyWithoutPlaintext on key",
            "kms:ReEncryptFrom on key",
            "kms:ReEncryptTo on key",
        ],
        "Only through EC2, for disks. The account's default key is not known in advance.",
    ),
    (
        "LoadBalancerRole",
        &["acm:AddTagsToCertificate on certificate"],
        "ACM has no condition key that distinguishes a new certificate from an existing one.",
    ),
    (
        "LoadBalancerRole",
        &["elasticloadbalancing:SetRulePriorities on listener-rule/app"],
        "The action supports no tags. It changes the order of rules, not their targets.",
    ),
    (
        "LoadBalancerRole",
        &["iam:CreateServiceLinkedRole on role"],
        "Only Elastic Load Balancing's own role, which an account has once.",
    ),
    (
        "LoadBalancerRole",
        &[
            "wafv2:AssociateWebACL on webacl",
            "wafv2:DisassociateWebACL on amplify-app",
            "wafv2:DisassociateWebACL on apigateway",
            "wafv2:DisassociateWebACL on apprunner",
            "wafv2:DisassociateWebACL on appsync",
            "wafv2:DisassociateWebACL on loadbalancer/app",
            "wafv2:DisassociateWebACL on userpool",
            "wafv2:DisassociateWebACL on verified-access-instance",
        ],
        "AWS WAF also needs the permission of the service whose resource it protects. The role has that only for load balancers with \
         a stack's tag.",
    ),
    (
        "NetworkRole",
        &[
            "ec2:DisassociateRouteTable on subnet",
            "ec2:ModifyVpcEndpoint on route-table",
            "ec2:ReplaceRouteTableAssociation on route-table",
        ],
        "The call also needs a subnet, route table or endpoint with a stack's tag. The Service Authorization Reference marks the \
         subnet as optional.",
    ),
    (
        "NetworkRole",
        &[
            "ec2:DeleteSecurityGroup on security-group",
            "ec2:DeleteVpcEndpoints on vpc-endpoint",
            "ec2:ModifyVpcEndpoint on security-group",
            "ec2:ModifyVpcEndpoint on vpc-endpoint",
        ],
        "Only with GuardDuty's tag: GuardDuty adds an endpoint and a group to each VPC, and they block its deletion.",
    ),
    (
        "NetworkRole",
        &["logs:CreateLogDelivery on *", "logs:DeleteLogDelivery on *"],
        "EC2 needs them of the caller, for flow logs to a bucket. The actions take no resource and no condition.",
    ),
    (
        "NetworkRole",
        &[
            "ec2:RevokeSecurityGroupEgress on security-group",
            "ec2:RevokeSecurityGroupIngress on security-group",
        ],
        "AWS creates a VPC's default group without tags, and no condition key names the tags of the VPC.",
    ),
    (
        "ServiceRole",
        &[
            "application-autoscaling:DeregisterScalableTarget on ScalableTarget",
            "application-autoscaling:PutScalingPolicy on ScalableTarget",
            "application-autoscaling:TagResource on ScalableTarget",
            "cloudwatch:DeleteAlarms on alarm",
            "cloudwatch:PutMetricAlarm on alarm",
        ],
        "Only targets of ECS services; their ARNs have IDs that are not known in advance. Application Auto Scaling checks the \
         caller's permission for alarms without a name. Its alarms are named `TargetTracking-…`.",
    ),
    (
        "ServiceRole",
        &[
            "ecs:DeregisterTaskDefinition on *",
            "ecs:StopServiceDeployment on service-deployment",
            "ecs:TagResource on task-definition",
        ],
        "`DeregisterTaskDefinition` takes no resource, and deletes nothing. A service deployment has no tags; the call also needs \
         its service, which must have a stack's tag. Only task definitions that are named `stackdrop-…` can be tagged: a pipeline \
         registers some of them.",
    ),
    (
        "ServiceRole",
        &[
            "iam:CreateServiceLinkedRole on role",
            "iam:PassRole on role",
            "iam:TagRole on role",
            "logs:DeleteLogGroup on log-group",
            "logs:GetLogEvents on log-stream",
            "logs:PutRetentionPolicy on log-group",
            "logs:TagResource on log-group",
            "logs:UntagResource on log-group",
        ],
        "Only the own roles of ECS and its scaling, roles under `/stackdrop/` that are named `stackdrop-…-execution-REGION` or \
         `…-task-REGION`, and log groups that are named `/stackdrop/…`. Only roles with the boundary can be changed further.",
    ),
];
