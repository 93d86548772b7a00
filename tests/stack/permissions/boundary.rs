//! The boundary of the roles of stacks: the most that a role can do, whatever somebody attaches to it.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use serde_json::{Value, json};
use stackdrop::installation::{Installation, Place, Template};
use stackdrop_simulator::{AccessRequest, Grants, Policy, Principal, Reason};

use super::policies::{anything, delegate_to_account, read_document};

/// The installation, without a rehearsal.
pub(super) static INSTALLATION: LazyLock<Installation> = LazyLock::new(|| {
    let parameters = BTreeMap::new();
    let place = Place {
        stack: "stackdrop",
        account: "123456789012",
        region: "eu-central-1",
        partition: "aws",
        parameters: &parameters,
    };
    Installation::of(Template::built_in().unwrap(), place).unwrap()
});

pub(super) const TASK: &str = "arn:aws:iam::123456789012:role/stackdrop/stackdrop-shop-task-eu-central-1";
const SESSION: &str = "arn:aws:sts::123456789012:assumed-role/stackdrop-shop-task-eu-central-1/task";
const ACCESS: &str = "aws:ResourceTag/stackdrop-access";
const INSTANCE: &str = "aws:ResourceTag/aws:rds:primaryDBInstanceArn";
const VIA: &str = "kms:ViaService";

/// An action, its resource without the ARN's beginning, and the condition keys.
type Call = (&'static str, &'static str, &'static [(&'static str, &'static str)]);

/// What the role of the stack `shop` can do, if its own policies allow everything.
const ALLOWED: [Call; 20] = [
    ("ecr:BatchGetImage", "ecr:eu-central-1:123456789012:repository/web", &[]),
    ("logs:PutLogEvents", "logs:eu-central-1:123456789012:log-group:/stackdrop/shop/web:log-stream:1", &[]),
    ("s3:GetObject", "s3:::of-the-application/key", &[]),
    ("ssm:UpdateInstanceInformation", "ec2:eu-central-1:123456789012:instance/i-1", &[]),
    ("sts:GetCallerIdentity", "*", &[]),
    (
        "secretsmanager:GetSecretValue",
        "secretsmanager:eu-central-1:123456789012:secret:stackdrop/shop/payment-AbCdEf",
        &[],
    ),
    (
        "secretsmanager:DescribeSecret",
        "secretsmanager:eu-central-1:123456789012:secret:stackdrop/shop/payment-AbCdEf",
        &[],
    ),
    (
        "secretsmanager:GetSecretValue",
        "secretsmanager:eu-central-1:123456789012:secret:platform/mail-AbCdEf",
        &[(ACCESS, "shop")],
    ),
    (
        "secretsmanager:DescribeSecret",
        "secretsmanager:eu-central-1:123456789012:secret:platform/mail-AbCdEf",
        &[(ACCESS, "*")],
    ),
    (
        "secretsmanager:GetSecretValue",
        "secretsmanager:eu-central-1:123456789012:secret:rds!db-1-AbCdEf",
        &[(INSTANCE, "arn:aws:rds:eu-central-1:123456789012:db:shop-database")],
    ),
    (
        "secretsmanager:DescribeSecret",
        "secretsmanager:eu-central-1:123456789012:secret:rds!db-1-AbCdEf",
        &[(INSTANCE, "arn:aws:rds:eu-central-1:123456789012:db:shop-database")],
    ),
    ("ssm:GetParameter", "ssm:eu-central-1:123456789012:parameter/stackdrop/shop/key", &[]),
    ("ssm:GetParameters", "ssm:eu-central-1:123456789012:parameter/stackdrop/shop/key", &[]),
    ("ssm:GetParameter", "ssm:eu-central-1:123456789012:parameter/platform/key", &[(ACCESS, "shop")]),
    ("ssm:GetParameters", "ssm:eu-central-1:123456789012:parameter/platform/key", &[(ACCESS, "*")]),
    ("kms:Decrypt", "kms:eu-central-1:123456789012:key/1", &[(ACCESS, "shop")]),
    ("kms:DescribeKey", "kms:eu-central-1:123456789012:key/1", &[(ACCESS, "shop")]),
    ("kms:GenerateDataKey", "kms:eu-central-1:123456789012:key/1", &[(ACCESS, "shop")]),
    (
        "kms:Decrypt",
        "kms:eu-central-1:123456789012:key/1",
        &[(VIA, "secretsmanager.eu-central-1.amazonaws.com")],
    ),
    ("kms:Decrypt", "kms:eu-central-1:123456789012:key/1", &[(VIA, "ssm.eu-central-1.amazonaws.com")]),
];

/// What it can never do without its owner's consent: the resource's policy may still allow it to the role's session.
const NOT_ALLOWED: [Call; 20] = [
    (
        "secretsmanager:GetSecretValue",
        "secretsmanager:eu-central-1:123456789012:secret:stackdrop/shop-two/payment-AbCdEf",
        &[],
    ),
    (
        "secretsmanager:GetSecretValue",
        "secretsmanager:eu-central-1:123456789012:secret:stackdrop/shop-AbCdEf",
        &[],
    ),
    (
        "secretsmanager:GetSecretValue",
        "secretsmanager:eu-central-1:123456789012:secret:platform/root-AbCdEf",
        &[],
    ),
    (
        "secretsmanager:GetSecretValue",
        "secretsmanager:eu-central-1:123456789012:secret:platform/root-AbCdEf",
        &[(ACCESS, "books")],
    ),
    (
        "secretsmanager:GetSecretValue",
        "secretsmanager:eu-central-1:123456789012:secret:rds!db-1-AbCdEf",
        &[(INSTANCE, "arn:aws:rds:eu-central-1:123456789012:db:books-database")],
    ),
    (
        "secretsmanager:GetSecretValue",
        "secretsmanager:eu-central-1:123456789012:secret:platform/root-AbCdEf",
        &[(INSTANCE, "arn:aws:rds:eu-central-1:123456789012:db:shop-database")],
    ),
    ("secretsmanager:BatchGetSecretValue", "*", &[]),
    (
        "secretsmanager:PutSecretValue",
        "secretsmanager:eu-central-1:123456789012:secret:stackdrop/shop/payment-AbCdEf",
        &[],
    ),
    (
        "secretsmanager:TagResource",
        "secretsmanager:eu-central-1:123456789012:secret:platform/root-AbCdEf",
        &[],
    ),
    ("ssm:GetParameter", "ssm:eu-central-1:123456789012:parameter/stackdrop/shop-two/key", &[]),
    ("ssm:GetParameters", "ssm:eu-central-1:123456789012:parameter/platform/key", &[(ACCESS, "books")]),
    ("ssm:GetParametersByPath", "ssm:eu-central-1:123456789012:parameter/stackdrop/shop/", &[]),
    ("ssm:GetParameterHistory", "ssm:eu-central-1:123456789012:parameter/platform/key", &[]),
    ("ssm:PutParameter", "ssm:eu-central-1:123456789012:parameter/platform/key", &[]),
    ("ssm:AddTagsToResource", "ssm:eu-central-1:123456789012:parameter/platform/key", &[]),
    ("kms:Decrypt", "kms:eu-central-1:123456789012:key/1", &[]),
    ("kms:Decrypt", "kms:eu-central-1:123456789012:key/1", &[(ACCESS, "books")]),
    ("kms:Decrypt", "kms:eu-central-1:123456789012:key/1", &[(VIA, "s3.eu-central-1.amazonaws.com")]),
    ("kms:Encrypt", "kms:eu-central-1:123456789012:key/1", &[(VIA, "ssm.eu-central-1.amazonaws.com")]),
    ("kms:CreateGrant", "kms:eu-central-1:123456789012:key/1", &[(ACCESS, "shop")]),
];

/// What is denied to it whatever any policy says.
const DENIED: [Call; 25] = [
    ("account:PutAlternateContact", "*", &[]),
    ("iam:CreateRole", "iam::123456789012:role/other", &[]),
    ("iam:PassRole", "iam::123456789012:role/other", &[]),
    ("iam:TagRole", "iam::123456789012:role/stackdrop/stackdrop-shop-task-eu-central-1", &[]),
    ("organizations:LeaveOrganization", "*", &[]),
    ("sts:AssumeRole", "iam::123456789012:role/other", &[]),
    ("sts:AssumeRoleWithWebIdentity", "iam::123456789012:role/other", &[]),
    ("ecs:ExecuteCommand", "ecs:eu-central-1:123456789012:task/books/1", &[]),
    ("ssm:CreateAssociation", "ssm:eu-central-1:123456789012:document/AWS-RunShellScript", &[]),
    ("ssm:ResumeSession", "ssm:eu-central-1:123456789012:session/1", &[]),
    ("ssm:SendCommand", "ec2:eu-central-1:123456789012:instance/i-1", &[]),
    ("ssm:StartAutomationExecution", "ssm:eu-central-1:123456789012:automation-definition/a", &[]),
    ("ssm:StartSession", "ec2:eu-central-1:123456789012:instance/i-1", &[]),
    ("s3:GetObject", "s3:::stackdrop-123456789012-eu-central-1/stacks/books/approval.json", &[]),
    ("s3:ListBucket", "s3:::stackdrop-123456789012-eu-central-1", &[]),
    ("cloudformation:UpdateStack", "cloudformation:eu-central-1:123456789012:stack/stackdrop/1", &[]),
    ("events:DisableRule", "events:eu-central-1:123456789012:rule/stackdrop-SpecRule", &[]),
    ("lambda:InvokeFunction", "lambda:eu-central-1:123456789012:function:stackdrop-service:1", &[]),
    ("logs:DeleteLogGroup", "logs:eu-central-1:123456789012:log-group:/aws/lambda/stackdrop-admit", &[]),
    ("scheduler:UpdateSchedule", "scheduler:eu-central-1:123456789012:schedule/stackdrop/books", &[]),
    ("states:GetExecutionHistory", "states:eu-central-1:123456789012:execution:stackdrop-deploy:1", &[]),
    ("states:StartExecution", "states:eu-central-1:123456789012:stateMachine:stackdrop-deploy", &[]),
    ("sns:Publish", "sns:eu-central-1:123456789012:stackdrop-Topic", &[]),
    ("kms:Decrypt", "kms:eu-central-1:123456789012:key/stackdrop-TopicKey", &[(ACCESS, "shop")]),
    ("sqs:ReceiveMessage", "sqs:eu-central-1:123456789012:stackdrop-LostEvents", &[]),
];

pub(super) fn own() -> &'static Value {
    &INSTALLATION.managed_policies[&INSTALLATION.settings.rules.boundary]
}

/// The reads of secrets, parameters and keys above, and whether they are allowed.
pub(super) fn reads() -> Vec<(AccessRequest, bool)> {
    const READS: [&str; 4] =
        ["kms:Decrypt", "secretsmanager:GetSecretValue", "ssm:GetParameter", "ssm:GetParameters"];
    let calls = ALLOWED.iter().map(|call| (call, true)).chain(NOT_ALLOWED.iter().map(|call| (call, false)));
    let reads = calls.filter(|(call, _)| READS.contains(&call.0));
    reads.map(|(call, is_allowed)| (request(call, Some("shop")), is_allowed)).collect()
}

fn request((action, resource, keys): &Call, tag: Option<&str>) -> AccessRequest {
    let resource = if *resource == "*" { "*".to_owned() } else { format!("arn:aws:{resource}") };
    let mut request = AccessRequest::new(action, "", &resource);
    for (key, value) in *keys {
        request.key(key, *value);
    }
    if let Some(tag) = tag {
        request.key("aws:PrincipalTag/stackdrop:stack", tag);
    }
    request
}

/// Why a role with all permissions within a boundary cannot make a call; `None` if it can. The resource's policy may allow the
/// call to the role's session.
fn refusal(boundary: &Arc<Policy>, request: &AccessRequest, consents: bool) -> Option<Reason> {
    let session = Principal::Role { arn: TASK.into(), session: "task".into() };
    let statement = json!({
        "Effect": "Allow", "Principal": { "AWS": SESSION }, "Action": "*", "Resource": "*",
    });
    let consent = consents.then(|| read_document(&json!({ "Statement": statement })));
    let delegates = request.action.starts_with("kms:").then(|| read_document(&delegate_to_account()));
    let grants = Grants {
        identity: vec![anything()],
        boundary: Some(Arc::clone(boundary)),
        resource: consent.or(delegates),
    };
    grants.decide(&session, request).err().map(|denial| denial.reason)
}

/// The calls that a boundary decides differently from what it must, for the stack `shop`.
fn mistakes(document: &Value) -> Vec<String> {
    let boundary = read_document(document);
    let of = |calls: &'static [Call], consents: bool, expected: Option<Reason>| {
        let boundary = Arc::clone(&boundary);
        calls.iter().filter_map(move |call| {
            let found = refusal(&boundary, &request(call, Some("shop")), consents);
            (found != expected).then(|| format!("{} on {} {:?}: {found:?}", call.0, call.1, call.2))
        })
    };
    let all = of(&ALLOWED, false, None).chain(of(&NOT_ALLOWED, false, Some(Reason::NoBoundary))).chain(of(
        &DENIED,
        true,
        Some(Reason::Denied),
    ));
    all.collect()
}

#[test]
fn the_role_of_a_stack_can_do_at_most_what_its_boundary_allows() {
    assert_eq!(mistakes(own()), Vec::<String>::new());
    println!(
        "the boundary: {} calls allowed, {} left to the owners of resources, {} denied",
        ALLOWED.len(),
        NOT_ALLOWED.len(),
        DENIED.len()
    );
}

#[test]
fn a_role_without_its_tag_reads_no_secret() {
    let boundary = read_document(own());
    for call in
        ALLOWED.iter().filter(|call| call.0.starts_with("secretsmanager:") || call.0.starts_with("ssm:Get"))
    {
        assert_eq!(refusal(&boundary, &request(call, None), false), Some(Reason::NoBoundary), "{call:?}");
    }
}

#[test]
fn every_entry_of_the_boundary_is_needed() {
    let (mut tried, mut unneeded) = (0, Vec::new());
    for (at, statement) in own()["Statement"].as_array().unwrap().iter().enumerate() {
        let mut all: Vec<String> = vec![format!("/Statement/{at}")];
        for list in lists(statement, &format!("/Statement/{at}")) {
            let entries = own().pointer(&list).unwrap().as_array().unwrap().len();
            all.extend((0..entries).map(|entry| format!("{list}/{entry}")));
        }
        for path in all {
            tried += 1;
            let mut shorter = own().clone();
            let (list, entry) = path.rsplit_once('/').unwrap();
            shorter.pointer_mut(list).unwrap().as_array_mut().unwrap().remove(entry.parse().unwrap());
            if mistakes(&shorter).is_empty() {
                unneeded.push(format!("{path}: {}", own().pointer(&path).unwrap()));
            }
        }
    }
    println!("{tried} entries of the boundary");
    assert_eq!(unneeded, Vec::<String>::new(), "no case needs these");
}

/// The paths of the lists with several entries below a value.
fn lists(value: &Value, path: &str) -> Vec<String> {
    match value {
        Value::Array(entries) if entries.len() > 1 => vec![path.to_owned()],
        Value::Object(fields) => {
            let below = |(key, value): (&String, &Value)| {
                lists(value, &format!("{path}/{}", key.replace('~', "~0").replace('/', "~1")))
            };
            fields.iter().flat_map(below).collect()
        }
        _ => Vec::new(),
    }
}

#[test]
fn the_boundary_has_at_most_6144_characters() {
    // "IAM and AWS STS quotas": white space does not count. The name of a stack of CloudFormation has 128 characters at most;
    // here the name of a bucket has 63.
    let text = own().to_string();
    println!("the boundary has {} characters", text.len());
    assert!(text.len() < 5000, "too little is left for longer names: {text}");
}
