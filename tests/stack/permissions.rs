//! Each function's role allows the calls that the function makes, and no others.

mod rehearsals; // what shows the calls that functions make

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::LazyLock;

use stackdrop::rehearsal::camel;
use stackdrop_simulator::Call;

use crate::template::{functions, many, properties, statements, template};

/// IAM actions by function.
type Actions = BTreeMap<String, BTreeSet<String>>;

/// What no rehearsal shows: AWS asks for it by itself, in the caller's name or before the function runs.
const ONLY_AWS_ASKS: [(&str, &[&str], &str); 16] = [
    ("*", &["logs:CreateLogStream", "logs:PutLogEvents"], "Lambda writes the function's log as its role"),
    (
        "*",
        &["s3:ListBucket"],
        "without it S3 answers AccessDenied, not NoSuchKey, for an object that is not there",
    ),
    ("*", &["kms:Decrypt", "kms:GenerateDataKey"], "SNS encrypts for the publisher"),
    ("admit", &["s3:GetObjectVersion"], "asked instead of s3:GetObject when a call names a version"),
    ("conclude", &["s3:GetObject"], "asked when a write or a deletion carries If-Match"),
    ("*", &["iam:PassRole"], "asked when a call hands a role to a service"),
    ("*", &["ec2:CreateTags"], "asked when a call creates with tags"),
    (
        "database",
        &["rds:AddTagsToResource", "rds:CreateDBSnapshot"],
        "asked when a call creates with tags, or deletes with a final snapshot",
    ),
    (
        "database",
        &["secretsmanager:CreateSecret", "secretsmanager:TagResource", "kms:DescribeKey"],
        "RDS makes the master password's secret",
    ),
    (
        "database",
        &[
            "ec2:DescribeAccountAttributes",
            "ec2:DescribeAvailabilityZones",
            "ec2:DescribeInternetGateways",
            "ec2:DescribeSecurityGroups",
            "ec2:DescribeSubnets",
            "ec2:DescribeVpcAttribute",
            "ec2:DescribeVpcs",
            "iam:CreateServiceLinkedRole",
        ],
        "RDS looks at the network; the account's first database makes RDS's role",
    ),
    (
        "load-balancer",
        &[
            "ec2:DescribeAccountAttributes",
            "ec2:DescribeAddresses",
            "ec2:DescribeInternetGateways",
            "ec2:DescribeSecurityGroups",
            "ec2:DescribeSubnets",
            "ec2:DescribeVpcs",
            "elasticloadbalancing:AddTags",
            "iam:CreateServiceLinkedRole",
        ],
        "Elastic Load Balancing looks at the network, tags, and makes its role with the account's first",
    ),
    (
        "egress",
        &[
            "ec2:DescribeSecurityGroups",
            "ec2:DescribeSubnets",
            "ec2:DescribeVpcs",
            "route53:AssociateVPCWithHostedZone",
        ],
        "asked when an interface endpoint is created with its private name",
    ),
    (
        "service",
        &[
            "cloudwatch:DeleteAlarms",
            "cloudwatch:DescribeAlarms",
            "cloudwatch:PutMetricAlarm",
            "iam:CreateServiceLinkedRole",
        ],
        "Application Auto Scaling tries the caller's permission; the account's first service makes ECS's role",
    ),
    ("instance", &["iam:TagInstanceProfile", "iam:TagRole"], "asked when a call creates with tags"),
    (
        "instance",
        &[
            "ec2:DescribeAddresses",
            "ec2:DisassociateAddress",
            "ec2:ModifyNetworkInterfaceAttribute",
            "iam:DetachRolePolicy",
            "iam:UpdateAssumeRolePolicy",
        ],
        "what was done by hand: the tests of drift show it",
    ),
    (
        "service",
        &["iam:DetachRolePolicy", "iam:UpdateAssumeRolePolicy"],
        "what was done by hand: the tests of roles show it",
    ),
];

/// What the code calls, but no rehearsal here brings about. A test looks that the code still does.
const RARE: [(&str, &[&str], &str); 1] = [(
    "service",
    &["ecs:ListServices"],
    "only where a cluster has more services than the deployments know of",
)];

/// The IAM actions that a call needs. They have the operation's name, except in S3.
fn actions(call: &Call) -> Vec<String> {
    let name = match (call.service.as_str(), call.operation.as_str()) {
        ("s3", "HeadObject") => "GetObject",
        ("s3", "ListObjectsV2" | "ListObjects" | "HeadBucket") => "ListBucket",
        ("s3", "ListObjectVersions") => "ListBucketVersions",
        (_, operation) => operation,
    };
    vec![format!("{}:{name}", call.service)]
}

/// Adds what these calls of functions need.
fn note(made: &mut Actions, calls: &[Call]) {
    for call in calls {
        // `deployment-1/network/ensure`; what comes from outside is of no function.
        if let [_, function, _] = call.caller.split('/').collect::<Vec<_>>()[..] {
            made.entry(function.to_owned()).or_default().extend(actions(call));
        }
    }
}

/// What of these calls the roles do not allow.
pub(crate) fn not_allowed(calls: &[Call]) -> Vec<String> {
    static ALLOWED: LazyLock<Actions> = LazyLock::new(allowed);
    let mut made = Actions::new();
    note(&mut made, calls);
    let mut missing = Vec::new();
    for (function, made) in &made {
        missing.extend(made.difference(&ALLOWED[function]).map(|action| format!("{function}: {action}")));
    }
    missing
}

/// What each role allows.
fn allowed() -> Actions {
    let template = template();
    let allowed = |function: &String| {
        let statements = statements(&template, function).iter();
        statements.flat_map(|statement| many(&statement["Action"])).map(str::to_owned).collect()
    };
    functions().into_keys().map(|function| (function.clone(), allowed(&function))).collect()
}

/// Whether one of the lists above has it.
fn listed(list: &[(&str, &[&str], &str)], function: &str, action: &str) -> bool {
    list.iter().any(|(of, actions, _)| (*of == "*" || *of == function) && actions.contains(&action))
}

#[tokio::test(start_paused = true)]
async fn roles_allow_what_functions_call_and_no_more() {
    let (made, allowed) = (rehearsals::calls().await, allowed());
    let mut wrong = Vec::new();
    for (function, allowed) in &allowed {
        let made = &made[function];
        for action in made.difference(allowed) {
            wrong.push(format!(
                "{function} calls {action}: allow it in {}Role of template.yaml, for as few resources as it can be",
                camel(function)
            ));
        }
        for action in allowed.difference(made) {
            if !listed(&ONLY_AWS_ASKS, function, action) && !listed(&RARE, function, action) {
                wrong.push(format!(
                    "{function} never calls {action}: take it out of {}Role of template.yaml, or rehearse here \
                     what makes it call that",
                    camel(function)
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn what_no_rehearsal_shows_is_still_in_the_code() {
    for (function, rare, why) in &RARE {
        let code = code_of(&Path::new(env!("CARGO_MANIFEST_DIR")).join("functions/src"), function);
        for action in *rare {
            let (_, operation) = action.split_once(':').unwrap();
            let call = format!(".{}()", snake(operation));
            assert!(code.contains(&call), "{function} does not call {action} any more ({why})");
        }
    }
}

/// The text of a component's folder.
fn code_of(functions: &Path, component: &str) -> String {
    let files = std::fs::read_dir(functions.join(component.replace('-', "_"))).unwrap();
    files.map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap()).collect()
}

/// An operation as the SDK names its method.
fn snake(operation: &str) -> String {
    let mut name = String::new();
    for letter in operation.chars() {
        if letter.is_ascii_uppercase() && !name.is_empty() {
            name.push('_');
        }
        name.push(letter.to_ascii_lowercase());
    }
    name
}

/// The conditions that keep a statement to what carries a stack's tag.
const BY_TAG: [&str; 2] = ["aws:RequestTag/stackdrop:stack", "aws:ResourceTag/stackdrop:stack"];

/// What may be created, changed or deleted without a look at tags, and why.
const WITHOUT_TAG: [(&str, &[&str], &str); 13] = [
    ("*", &["logs:CreateLogStream", "logs:PutLogEvents"], "the function's own log group"),
    (
        "*",
        &[
            "s3:PutObject",
            "s3:DeleteObject",
            "kms:Decrypt",
            "kms:GenerateDataKey",
            "sns:Publish",
            "events:PutEvents",
        ],
        "the installation's own",
    ),
    (
        "*",
        &[
            "scheduler:CreateSchedule",
            "scheduler:UpdateSchedule",
            "scheduler:DeleteSchedule",
            "states:SendTaskFailure",
        ],
        "the installation's own",
    ),
    ("*", &["iam:PassRole", "iam:CreateServiceLinkedRole"], "by service"),
    (
        "network",
        &["ec2:RevokeSecurityGroupEgress", "ec2:RevokeSecurityGroupIngress"],
        "a VPC's default group can't be tagged in time",
    ),
    (
        "network",
        &["ec2:DisassociateRouteTable", "ec2:ModifyVpcEndpoint", "ec2:ReplaceRouteTableAssociation"],
        "somebody else's subnets and tables; what is ours is asked for its tag by another statement",
    ),
    ("egress", &["ec2:ModifyVpcEndpoint"], "the same, of somebody else's subnets and groups"),
    ("load-balancer", &["elasticloadbalancing:SetRulePriorities"], "knows no tags"),
    ("load-balancer", &["route53:ChangeResourceRecordSets"], "records have no tags; by type of record"),
    ("egress", &["route53:AssociateVPCWithHostedZone"], "EC2 does it for an endpoint"),
    (
        "instance",
        &[
            "iam:AddRoleToInstanceProfile",
            "iam:DeleteInstanceProfile",
            "iam:DeleteRole",
            "iam:DeleteRolePolicy",
            "iam:RemoveRoleFromInstanceProfile",
            "iam:DetachRolePolicy",
            "iam:PutRolePolicy",
            "iam:UpdateAssumeRolePolicy",
            "ec2:DisassociateAddress",
            "ec2:RunInstances",
        ],
        "by name; from Amazon's images",
    ),
    (
        "service",
        &[
            "iam:DeleteRole",
            "iam:DeleteRolePolicy",
            "iam:DetachRolePolicy",
            "iam:PutRolePolicy",
            "iam:UpdateAssumeRolePolicy",
            "ecs:DeregisterTaskDefinition",
            "application-autoscaling:DeregisterScalableTarget",
            "application-autoscaling:PutScalingPolicy",
            "application-autoscaling:RegisterScalableTarget",
            "cloudwatch:DeleteAlarms",
            "cloudwatch:PutMetricAlarm",
            "logs:CreateLogGroup",
            "logs:DeleteLogGroup",
            "logs:PutRetentionPolicy",
            "logs:TagResource",
            "logs:UntagResource",
        ],
        "by name, or AWS takes no narrower condition",
    ),
    (
        "database",
        &[
            "rds:AddTagsToResource",
            "rds:DeleteDBInstance",
            "rds:CreateDBSnapshot",
            "rds:ModifyDBInstance",
            "secretsmanager:CreateSecret",
            "secretsmanager:TagResource",
        ],
        "by name",
    ),
];

#[test]
fn what_changes_something_is_limited_to_what_carries_a_stacks_tag() {
    let template = template();
    for function in functions().into_keys() {
        for statement in statements(&template, &function) {
            let tests = statement["Condition"].as_object().into_iter().flat_map(serde_json::Map::values);
            let mut keys = tests.flat_map(|test| test.as_object().unwrap().keys());
            let by_tag = keys.any(|key| BY_TAG.contains(&key.as_str()));
            for action in many(&statement["Action"]) {
                assert!(!action.contains('*'), "{function}: {action}");
                let (_, operation) = action.split_once(':').unwrap();
                let reads = ["Describe", "List", "Get"].iter().any(|verb| operation.starts_with(verb));
                assert!(
                    by_tag || reads || listed(&WITHOUT_TAG, &function, action),
                    "{function} may {action} whatever its tags: give the statement a condition on {}, or say here \
                     why it has none",
                    BY_TAG.join(" or ")
                );
            }
        }
    }
}

#[test]
fn no_function_can_change_the_installations_own_roles() {
    let template = template();
    for function in functions().into_keys() {
        assert_eq!(
            properties(&template, &format!("{}Role", camel(&function)))["Path"],
            "/stackdrop/functions/"
        );
        for statement in statements(&template, &function) {
            for resource in many(&statement["Resource"]).iter().filter(|resource| resource.contains(":iam::"))
            {
                // The names of the stacks' roles all begin like this, so their pattern matches no deeper path.
                let own = ["/stackdrop/stackdrop-*-", ":role/stackdrop-*-", ":instance-profile/stackdrop-*-"];
                let linked = ["/aws-service-role/", ":role/AWSServiceRoleForECS"];
                let own = own.iter().chain(&linked).any(|known| resource.contains(known));
                assert!(own, "{function}: {resource}");
            }
        }
    }
}
