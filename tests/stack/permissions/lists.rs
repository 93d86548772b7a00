//! What the policies have for a reason that no rehearsal shows. Each entry: whose policy, which actions, why.

/// An entry: a policy's label (`*` for every one), actions, and the reason.
pub(super) type Entry = (&'static str, &'static [&'static str], &'static str);

/// Allowed, though no rehearsal needs it.
pub(super) const UNREHEARSED: &[Entry] = &[
    (
        "ServiceRole",
        &["ecs:ListServices"],
        "only where a cluster has more services than the deployments know of",
    ),
    (
        "WorkflowRole",
        &[
            "xray:GetSamplingRules",
            "xray:GetSamplingTargets",
            "xray:PutTelemetryRecords",
            "xray:PutTraceSegments",
        ],
        "Step Functions traces executions by itself; X-Ray takes no narrower resource",
    ),
];

/// What changes something without a look at a stack's tag, and what keeps it in bounds instead.
pub(super) const BY_NAME: &[Entry] = &[
    ("*", &["logs:CreateLogStream", "logs:PutLogEvents"], "the function's own log group"),
    (
        "*",
        &["s3:PutObject", "s3:DeleteObject", "sns:Publish", "states:SendTaskFailure"],
        "the installation's own",
    ),
    (
        "*",
        &["scheduler:CreateSchedule", "scheduler:UpdateSchedule", "scheduler:DeleteSchedule"],
        "the installation's own group",
    ),
    (
        "NetworkRole",
        &["ec2:RevokeSecurityGroupEgress", "ec2:RevokeSecurityGroupIngress"],
        "a VPC's default group can't be tagged in time",
    ),
];
