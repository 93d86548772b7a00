//! The AWS managed policies that are supported, with what they allow (on every resource, as in AWS's documents).

use std::sync::Arc;

use serde_json::json;

use crate::authorization::Policy;

/// An AWS managed policy; `None` if the simulator does not have it.
pub(super) fn policy(arn: &str) -> Option<Arc<Policy>> {
    let document = json!({
        "Version": "2012-10-17",
        "Statement": { "Effect": "Allow", "Action": actions(arn)?, "Resource": "*" },
    });
    Policy::read(&document).ok().map(Arc::new)
}

fn actions(arn: &str) -> Option<&'static [&'static str]> {
    Some(match arn.strip_prefix("arn:aws:iam::aws:policy/")? {
        "AmazonSSMManagedInstanceCore" => &SSM_CORE,
        "service-role/AmazonECSTaskExecutionRolePolicy" => &ECS_EXECUTION,
        "service-role/AmazonRDSEnhancedMonitoringRole" => {
            &["logs:CreateLogGroup", "logs:PutRetentionPolicy", "logs:CreateLogStream", "logs:PutLogEvents"]
        }
        "service-role/AWSLambdaBasicExecutionRole" => {
            &["logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents"]
        }
        "CloudWatchAgentServerPolicy" => {
            &["cloudwatch:PutMetricData", "logs:PutLogEvents", "logs:CreateLogStream", "logs:CreateLogGroup"]
        }
        "AmazonEC2ContainerRegistryReadOnly" => &[
            "ecr:GetAuthorizationToken",
            "ecr:BatchCheckLayerAvailability",
            "ecr:GetDownloadUrlForLayer",
            "ecr:BatchGetImage",
            "ecr:Describe*",
            "ecr:List*",
        ],
        "AmazonS3ReadOnlyAccess" => &["s3:Get*", "s3:List*", "s3:Describe*"],
        "SecretsManagerReadWrite" => &["secretsmanager:*"],
        "CloudWatchLogsFullAccess" => &["logs:*"],
        "AdministratorAccess" => &["*"],
        _ => return None,
    })
}

/// Source: the policy's document in the IAM console, version 2.
static SSM_CORE: [&str; 17] = [
    "ssm:DescribeAssociation",
    "ssm:GetDeployablePatchSnapshotForInstance",
    "ssm:GetDocument",
    "ssm:DescribeDocument",
    "ssm:GetManifest",
    "ssm:GetParameter",
    "ssm:GetParameters",
    "ssm:ListAssociations",
    "ssm:ListInstanceAssociations",
    "ssm:PutInventory",
    "ssm:PutComplianceItems",
    "ssm:PutConfigurePackageResult",
    "ssm:UpdateAssociationStatus",
    "ssm:UpdateInstanceAssociationStatus",
    "ssm:UpdateInstanceInformation",
    "ssmmessages:*",
    "ec2messages:*",
];

/// Source: "Amazon ECS task execution IAM role" in the ECS developer guide.
static ECS_EXECUTION: [&str; 6] = [
    "ecr:GetAuthorizationToken",
    "ecr:BatchCheckLayerAvailability",
    "ecr:GetDownloadUrlForLayer",
    "ecr:BatchGetImage",
    "logs:CreateLogStream",
    "logs:PutLogEvents",
];
