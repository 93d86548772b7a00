//! Exceptions from the permission tests, with reasons. A test fails if any part of an entry is not needed.

use super::variants::Change::{
    self, NoCreateAction, NoRequestTag, NoResource, NoResourceTag, OthersKeyValue, OthersName,
};

/// Actions that are allowed although no rehearsal needs them: the policy, the action, the reason.
pub(super) const UNREHEARSED: &[(&str, &str, &str)] = &[(
    "ServiceRole",
    "ecs:ListServices",
    "only where a cluster has more services than the deployments know of",
)];

/// An exception for a policy.
pub(super) struct Exception {
    /// The policy's label.
    pub(super) policy: &'static str,
    /// How an allowed request was changed.
    pub(super) changes: &'static [Change],
    /// The requests, with their resource types.
    pub(super) requests: &'static [&'static str],
    /// Why the policy allows them, or what limits them instead.
    #[expect(dead_code, reason = "only for readers of the code")]
    reason: &'static str,
}

const fn exception(
    policy: &'static str,
    changes: &'static [Change],
    requests: &'static [&'static str],
    reason: &'static str,
) -> Exception {
    Exception { policy, changes, requests, reason }
}

/// Allowed on resources of others, or without a stack's tag.
pub(super) const WITHOUT_TAG_CONDITION: &[Exception] = &[
    exception(
        "AdmitRole",
        &[NoResource],
        &["states:SendTaskFailure on *", "states:SendTaskSuccess on *"],
        "takes no narrower resource; the caller must know the token of a waiting task",
    ),
    exception(
        "DatabaseRole",
        &[NoResourceTag],
        &["rds:AddTagsToResource on db", "rds:AddTagsToResource on pg", "rds:AddTagsToResource on subgrp"],
        "by name (`…-database`, `…-postgres…`): RDS has no condition key that distinguishes a new resource from an existing \
         one. rds:TagsFromRequest is true for both",
    ),
    exception(
        "DatabaseRole",
        &[OthersName],
        &["kms:CreateGrant on key"],
        "only through RDS, for the restore of a snapshot whose key is not known in advance",
    ),
    exception(
        "EgressRole",
        &[NoResourceTag],
        &["ec2:ModifyVpcEndpoint on subnet"],
        "another owner's subnet of a stack's endpoint; the call also needs the endpoint, which must carry the tag",
    ),
    exception(
        "EgressRole",
        &[OthersName],
        &["ec2:ModifyVpcEndpoint on security-group", "ec2:ModifyVpcEndpoint on subnet"],
        "another owner's group or subnet of a stack's endpoint; the call also needs the endpoint, as above",
    ),
    exception(
        "EgressRole",
        &[OthersName],
        &["route53:AssociateVPCWithHostedZone on hostedzone"],
        "EC2 creates the zone of an endpoint, so its ID is not known in advance",
    ),
    exception(
        "InstanceRole",
        &[NoResourceTag],
        &["iam:TagInstanceProfile on instance-profile", "iam:TagRole on role"],
        "by name (`stackdrop-…-instance-REGION`): a new role has no tag either. Its boundary cannot be removed",
    ),
    exception(
        "InstanceRole",
        &[OthersName],
        &["ec2:DisassociateAddress on elastic-ip"],
        "another owner's address on a stack's interface, which must carry the tag. The Service Authorization Reference \
         marks the interface as optional: if EC2 does not check it, this disassociates any address",
    ),
    exception(
        "InstanceRole",
        &[OthersName],
        &[
            "kms:CreateGrant on key",
            "kms:Decrypt on key",
            "kms:DescribeKey on key",
            "kms:GenerateDataKeyWithoutPlaintext on key",
            "kms:ReEncryptFrom on key",
            "kms:ReEncryptTo on key",
        ],
        "only through EC2, for disks of instances. The account's default key is not known in advance",
    ),
    exception(
        "LoadBalancerRole",
        &[NoResourceTag, OthersName],
        &["acm:AddTagsToCertificate on certificate"],
        "ACM has no condition key that distinguishes a new certificate from an existing one",
    ),
    exception(
        "LoadBalancerRole",
        &[OthersName],
        &["elasticloadbalancing:SetRulePriorities on listener-rule/app"],
        "the action does not support tags (Service Authorization Reference): it can move the rules of any load balancer",
    ),
    exception(
        "LoadBalancerRole",
        &[OthersName],
        &["wafv2:AssociateWebACL on webacl"],
        "the spec names the web ACL; the call also needs the load balancer, which must carry the tag",
    ),
    exception(
        "LoadBalancerRole",
        &[NoResource],
        &["wafv2:DisassociateWebACL on *"],
        "takes no narrower resource (AWS WAF developer guide); the call also needs the load balancer, as above",
    ),
    exception(
        "NetworkRole",
        &[NoResourceTag, OthersName],
        &[
            "ec2:DisassociateRouteTable on subnet",
            "ec2:ModifyVpcEndpoint on route-table",
            "ec2:ReplaceRouteTableAssociation on route-table",
        ],
        "another owner's table or subnet of a stack's subnet, table or endpoint, which must carry the tag. The Service \
         Authorization Reference marks the subnet as optional: if EC2 does not check it, ReplaceRouteTableAssociation \
         moves any subnet",
    ),
    exception(
        "NetworkRole",
        &[OthersName],
        &[
            "ec2:RevokeSecurityGroupEgress on security-group",
            "ec2:RevokeSecurityGroupIngress on security-group",
        ],
        "AWS creates a VPC's default group without tags",
    ),
    exception(
        "NetworkRole",
        &[NoResource],
        &["logs:CreateLogDelivery on *", "logs:DeleteLogDelivery on *"],
        "take no narrower resource (Amazon VPC user guide, Create a flow log that publishes to Amazon S3)",
    ),
    exception(
        "ServiceRole",
        &[OthersName],
        &["ecs:StopServiceDeployment on service-deployment"],
        "a service deployment has no tags; the call also needs its service, which must carry the tag",
    ),
    exception(
        "ServiceRole",
        &[NoRequestTag],
        &["application-autoscaling:RegisterScalableTarget on ScalableTarget"],
        "only for ECS services; an update of a target sends no tag",
    ),
    exception(
        "ServiceRole",
        &[NoResourceTag, OthersName],
        &[
            "application-autoscaling:DeregisterScalableTarget on ScalableTarget",
            "application-autoscaling:PutScalingPolicy on ScalableTarget",
            "application-autoscaling:TagResource on ScalableTarget",
        ],
        "only for ECS services. A condition on the target's tag could limit Deregister, but TagResource can set that tag",
    ),
    exception(
        "ServiceRole",
        &[OthersName],
        &["cloudwatch:DeleteAlarms on alarm", "cloudwatch:PutMetricAlarm on alarm"],
        "Application Auto Scaling requests them without a name",
    ),
    exception(
        "ServiceRole",
        &[NoResource],
        &["ecs:DeregisterTaskDefinition on *"],
        "takes no narrower resource",
    ),
    exception(
        "ServiceRole",
        &[NoCreateAction, NoResourceTag, OthersKeyValue],
        &["ecs:TagResource on task-definition"],
        "by name (`stackdrop-…`): Stackdrop adopts a revision that a pipeline has registered, by tagging it",
    ),
    exception(
        "ServiceRole",
        &[NoResourceTag],
        &["iam:TagRole on role"],
        "by name (`stackdrop-…-execution-REGION`, `…-task-REGION`): a new role has no tag either. Its boundary cannot be removed",
    ),
    exception(
        "ServiceRole",
        &[NoRequestTag],
        &["logs:CreateLogGroup on log-group", "logs:TagResource on log-group"],
        "by name (`/stackdrop/…`)",
    ),
    exception(
        "ServiceRole",
        &[NoResourceTag],
        &[
            "logs:DeleteLogGroup on log-group",
            "logs:PutRetentionPolicy on log-group",
            "logs:TagResource on log-group",
            "logs:UntagResource on log-group",
        ],
        "by name (`/stackdrop/…`)",
    ),
    exception(
        "WorkflowRole",
        &[NoResource],
        &[
            "logs:CreateLogDelivery on *",
            "logs:DeleteLogDelivery on *",
            "logs:PutResourcePolicy on *",
            "logs:UpdateLogDelivery on *",
            "xray:PutTelemetryRecords on *",
            "xray:PutTraceSegments on *",
        ],
        "take no narrower resource (Step Functions developer guide, Logging and Tracing)",
    ),
    exception(
        "the policy of arn:aws:kms:eu-central-1:123456789012:key/stackdrop-TopicKey",
        &[OthersKeyValue],
        &["kms:Decrypt on key", "kms:GenerateDataKey on key"],
        "the key's policy delegates the decision to the account's policies, which name SNS",
    ),
];

/// Reads of others' resources that are allowed: the roles, the requests, the reason.
pub(super) const READS: &[Exception] = &[
    exception(
        "DatabaseRole",
        &[OthersName],
        &[
            "ec2:DescribeVpcAttribute on vpc",
            "kms:DescribeKey on key",
            "rds:DescribeDBInstanceAutomatedBackups on auto-backup",
            "rds:DescribeDBInstanceAutomatedBackups on db",
            "rds:DescribeDBInstances on db",
            "rds:DescribeDBParameterGroups on pg",
            "rds:DescribeDBParameters on pg",
            "rds:DescribeDBSnapshots on snapshot",
            "rds:DescribeDBSubnetGroups on subgrp",
            "rds:ListTagsForResource on pg",
            "rds:ListTagsForResource on subgrp",
        ],
        "settings only. Reads must see name collisions with others; the key in use is not known in advance",
    ),
    exception(
        "LoadBalancerRole",
        &[OthersName],
        &["acm:DescribeCertificate on certificate", "acm:ListTagsForCertificate on certificate"],
        "settings only, of the certificates that belong to the spec or its domain",
    ),
    exception(
        "LoadBalancerRole",
        &[OthersName],
        &["s3:GetBucketLocation on bucket"],
        "the spec names the bucket for access logs; the region only, not the content",
    ),
    exception(
        "LoadBalancerRole",
        &[OthersName],
        &["wafv2:GetWebACL on webacl", "wafv2:GetWebACLForResource on webacl"],
        "settings only; the spec names the web ACL, and others attach theirs",
    ),
    exception(
        "NetworkRole",
        &[OthersName],
        &["ec2:DescribeVpcAttribute on vpc", QUOTAS],
        "settings only; EC2 takes no narrower resource",
    ),
    exception("EgressRole", &[OthersName], &[QUOTAS], QUOTAS_ARE_LIMITS),
    exception("SecurityGroupsRole", &[OthersName], &[QUOTAS], QUOTAS_ARE_LIMITS),
    exception("ServiceRole", &[OthersName], &[QUOTAS], QUOTAS_ARE_LIMITS),
    exception(
        "ServiceRole",
        &[OthersName],
        &[
            "cloudwatch:DescribeAlarms on alarm",
            "ecr:DescribeImages on repository",
            "ecs:DescribeClusters on cluster",
            "ecs:DescribeServices on service",
            "ecs:DescribeTasks on task",
            "ecs:ListServiceDeployments on service",
            "secretsmanager:DescribeSecret on Secret",
            "ssm:ListTagsForResource on parameter",
        ],
        "settings only, never the value of a secret or parameter. Images, secrets and parameters are those that the spec names; \
         ECS is read before its tags are known",
    ),
];

const QUOTAS: &str = "servicequotas:GetServiceQuota on quota";
const QUOTAS_ARE_LIMITS: &str = "the limits of the account";
