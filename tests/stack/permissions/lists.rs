//! What the policies have for a reason that no rehearsal shows. Each entry: whose policy, which actions, why.

/// An entry: a policy's label (`*` for every one), actions, and the reason.
pub(super) type Entry = (&'static str, &'static [&'static str], &'static str);

/// Whether an entry is about an action in a policy.
pub(super) fn is_about((of, actions, _): &Entry, label: &str, action: &str) -> bool {
    (*of == "*" || *of == label) && actions.contains(&action)
}

/// Allowed, though no rehearsal needs it.
pub(super) const UNREHEARSED: &[Entry] = &[(
    "ServiceRole",
    &["ecs:ListServices"],
    "only where a cluster has more services than the deployments know of",
)];

/// What changes something without a look at a stack's tag, and what keeps it in bounds instead.
pub(super) const BY_NAME: &[Entry] = &[
    (
        "DatabaseRole",
        &["rds:AddTagsToResource", "rds:CreateDBInstance"],
        "by name (`…-database`, `…-postgres…`): RDS has no key that tells a creation apart",
    ),
    (
        "EgressRole",
        &["ec2:ModifyVpcEndpoint"],
        "somebody else's group or subnet, which hangs on an endpoint of a stack's",
    ),
    (
        "NetworkRole",
        &["ec2:DisassociateRouteTable", "ec2:ModifyVpcEndpoint", "ec2:ReplaceRouteTableAssociation"],
        "somebody else's table or subnet, which hangs on an endpoint, a subnet or a table of a stack's",
    ),
    (
        "InstanceRole",
        &[
            "iam:AddRoleToInstanceProfile",
            "iam:DeleteInstanceProfile",
            "iam:DeleteRole",
            "iam:DeleteRolePolicy",
            "iam:DetachRolePolicy",
            "iam:PutRolePolicy",
            "iam:RemoveRoleFromInstanceProfile",
            "iam:TagInstanceProfile",
            "iam:TagRole",
            "iam:UpdateAssumeRolePolicy",
        ],
        "by name (`stackdrop-…-instance-REGION`): IAM decides on absent ones too, which carry no tag",
    ),
    (
        "ServiceRole",
        &[
            "iam:DeleteRole",
            "iam:DeleteRolePolicy",
            "iam:DetachRolePolicy",
            "iam:PutRolePolicy",
            "iam:TagRole",
            "iam:UpdateAssumeRolePolicy",
        ],
        "by name (`stackdrop-…-execution-REGION`, `…-task-REGION`)",
    ),
    (
        "ServiceRole",
        &[
            "application-autoscaling:DeregisterScalableTarget",
            "application-autoscaling:PutScalingPolicy",
            "application-autoscaling:RegisterScalableTarget",
            "application-autoscaling:TagResource",
        ],
        "only of ECS services, which the caller must be allowed to update",
    ),
    (
        "ServiceRole",
        &["ecs:TagResource"],
        "a revision of a task definition that a pipeline has registered is adopted by its tag",
    ),
    (
        "ServiceRole",
        &[
            "logs:CreateLogGroup",
            "logs:DeleteLogGroup",
            "logs:PutRetentionPolicy",
            "logs:TagResource",
            "logs:UntagResource",
        ],
        "by name (`/stackdrop/…`)",
    ),
    ("LoadBalancerRole", &["acm:AddTagsToCertificate"], "ACM has no key that tells a creation apart"),
    (
        "the policy of arn:aws:kms:eu-central-1:123456789012:key/stackdrop-TopicKey",
        &["kms:Decrypt", "kms:GenerateDataKey"],
        "a key's policy lets the account's own policies decide, and those name SNS",
    ),
];
