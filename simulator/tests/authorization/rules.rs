//! How policies are combined. Source: "Policy evaluation logic" in the IAM user guide.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use stackdrop_simulator::{AccessRequest, Account, Grants, Policy, PolicySeed, Principal, Reason, Seed};

use crate::common::{account, sdk};
use crate::stage::{ROLE, acting, allow, assert_denied, everything, give_role};

const BUCKET: &str = "arn:aws:s3:::shop";

fn policy(statement: &Value) -> Arc<Policy> {
    Arc::new(Policy::read(&json!({ "Statement": [statement] })).unwrap())
}

fn role(account: &str) -> Principal {
    Principal::Role { arn: format!("arn:aws:iam::{account}:role/shop"), session: "test".into() }
}

/// The result of reading the bucket's objects.
fn decided(grants: &Grants, principal: &Principal) -> Option<Reason> {
    let mut request = AccessRequest::new("s3:GetObject", "object", "arn:aws:s3:::shop/key");
    request.key("aws:SecureTransport", "true");
    grants.decide(principal, &request).err().map(|denial| denial.reason)
}

fn of_bucket(effect: &str, principal: &Value) -> Arc<Policy> {
    policy(&json!({
        "Effect": effect, "Principal": principal, "Action": "s3:*", "Resource": format!("{BUCKET}/*"),
    }))
}

#[test]
fn a_deny_overrides_every_allow_and_the_default_is_deny() {
    let identity = vec![policy(&everything())];
    let named = json!({ "AWS": "arn:aws:iam::123456789012:role/shop" });
    for (grants, expected) in [
        (Grants::default(), Some(Reason::NoIdentityPolicy)),
        (Grants { identity: identity.clone(), ..Grants::default() }, None),
        (Grants { resource: Some(of_bucket("Allow", &named)), ..Grants::default() }, None),
        (
            Grants { identity, resource: Some(of_bucket("Deny", &json!("*"))), boundary: None },
            Some(Reason::Denied),
        ),
    ] {
        assert_eq!(decided(&grants, &role("123456789012")), expected, "{grants:?}");
    }
}

#[test]
fn a_boundary_limits_what_every_policy_allows() {
    let named = json!({ "AWS": "arn:aws:iam::123456789012:role/shop" });
    for (boundary, expected) in
        [(allow(&["ec2:*"], &["*"]), Some(Reason::NoBoundary)), (allow(&["s3:*"], &["*"]), None)]
    {
        let boundary = Some(policy(&boundary));
        let by_identity =
            Grants { identity: vec![policy(&everything())], boundary: boundary.clone(), resource: None };
        let by_bucket = Grants { identity: Vec::new(), boundary, resource: Some(of_bucket("Allow", &named)) };
        for grants in [by_identity, by_bucket] {
            assert_eq!(decided(&grants, &role("123456789012")), expected, "{grants:?}");
        }
    }
}

#[test]
fn cross_account_access_needs_a_resource_policy_too() {
    let secret = "arn:aws:secretsmanager:eu-central-1:999999999999:secret:shop-AbCdEf";
    let request = AccessRequest::new("secretsmanager:GetSecretValue", "Secret", secret);
    let theirs = json!({
        "Effect": "Allow", "Principal": { "AWS": "123456789012" },
        "Action": "secretsmanager:GetSecretValue", "Resource": "*",
    });
    for (identity, resource, expected) in [
        (true, false, Some(Reason::NoResourcePolicy)),
        (false, true, Some(Reason::NoIdentityPolicy)),
        (true, true, None),
    ] {
        let grants = Grants {
            identity: identity.then(|| policy(&everything())).into_iter().collect(),
            boundary: None,
            resource: resource.then(|| policy(&theirs)),
        };
        let verdict = grants.decide(&role("123456789012"), &request).err();
        assert_eq!(verdict.map(|denial| denial.reason), expected);
    }
}

#[test]
fn a_key_a_role_and_a_service_need_a_policy_of_the_resource() {
    let all = || vec![policy(&everything())];
    let to = |principal: Value| {
        policy(&json!({ "Effect": "Allow", "Principal": principal, "Action": "*", "Resource": "*" }))
    };
    let role = role("123456789012");
    let service = Principal::Service { name: "events.amazonaws.com".into() };
    let account = json!({ "AWS": "arn:aws:iam::123456789012:root" });
    let itself = json!({ "AWS": "arn:aws:iam::123456789012:role/shop" });
    let events = json!({ "Service": "events.amazonaws.com" });
    let other = json!({ "Service": "s3.amazonaws.com" });
    let key = ("kms:Decrypt", "key", "arn:aws:kms:eu-central-1:123456789012:key/1");
    let assumed = ("sts:AssumeRole", "role", "arn:aws:iam::123456789012:role/other");
    let queue = ("sqs:SendMessage", "queue", "arn:aws:sqs:eu-central-1:123456789012:letters");
    let none = Some(Reason::NoResourcePolicy);
    for (principal, (action, kind, resource), identity, named, expected) in [
        (&role, key, all(), None, none),
        (&role, key, all(), Some(&account), None),
        (&role, key, Vec::new(), Some(&account), Some(Reason::NoIdentityPolicy)),
        (&role, key, Vec::new(), Some(&itself), None),
        (&role, assumed, all(), None, none),
        (&role, assumed, Vec::new(), Some(&itself), None),
        (&service, queue, all(), None, none),
        (&service, queue, all(), Some(&other), none),
        (&service, queue, Vec::new(), Some(&events), None),
    ] {
        let grants = Grants { identity, boundary: None, resource: named.map(|named| to(named.clone())) };
        let verdict = grants.decide(principal, &AccessRequest::new(action, kind, resource)).err();
        assert_eq!(verdict.map(|denial| denial.reason), expected, "{principal:?} {action} {named:?}");
    }
}

#[test]
fn a_policy_that_cannot_be_evaluated_is_refused() {
    for (statement, named) in [
        (json!({ "Effect": "Allow", "Action": "*", "Resource": "*", "NotPrincipal": "*" }), "NotPrincipal"),
        (json!({ "Effect": "Allow", "Action": "*", "Resource": "bucket/*" }), "bucket/*"),
        (
            json!({ "Effect": "Allow", "Action": "s3:*", "Resource": "arn:aws:s3:::${aws:username}" }),
            "${aws:username}",
        ),
        (
            json!({ "Effect": "Allow", "Action": "s3:*", "Resource": "arn:aws:s3:::${aws:PrincipalTag/team}" }),
            "version 2012-10-17",
        ),
        (
            json!({ "Effect": "Allow", "Action": "iam:*", "Resource": "arn:aws:iam::${aws:PrincipalAccount}:role/*" }),
            "${aws:PrincipalAccount}",
        ),
        (
            json!({
                "Effect": "Deny", "Action": "*", "Resource": "*",
                "Condition": { "DateLessThan": { "aws:CurrentTime": "2030-01-01" } },
            }),
            "DateLessThan",
        ),
    ] {
        let error = Policy::read(&json!({ "Statement": statement })).unwrap_err().to_string();
        assert!(error.contains(named), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_condition_that_the_simulator_cannot_decide_refuses_the_call() {
    for (condition, named) in [
        (json!({ "StringEquals": { "aws:PrincipalType": "User" } }), "aws:PrincipalType"),
        (json!({ "StringNotEquals": { "aws:PrincipalOrgID": "o-1" } }), "aws:PrincipalOrgID"),
        (json!({ "StringEquals": { "aws:TagKeys": "team" } }), "ForAllValues"),
    ] {
        let account = account();
        let mut statement = allow(&["ec2:CreateVpc"], &["*"]);
        statement["Condition"] = condition;
        give_role(&account, ROLE, &json!([statement]));
        let ec2 = aws_sdk_ec2::Client::new(&sdk(&account));
        let call = acting(ec2.create_vpc().cidr_block("10.0.0.0/16").send()).await;
        assert_denied(call, "InternalFailure", named);
    }
}

#[tokio::test(start_paused = true)]
async fn only_roles_that_the_bucket_policy_exempts_can_write() {
    for (spared, allowed) in [("role/stackdrop/functions/*", true), ("role/shop-*", false)] {
        let account = account();
        account.seed(&Seed::Bucket { name: "shop".into() });
        give_role(&account, ROLE, &json!([everything()]));
        let document = json!({ "Statement": [{
            "Effect": "Deny", "Principal": "*", "Action": "s3:PutObject", "Resource": format!("{BUCKET}/*"),
            "Condition": { "ArnNotLike": { "aws:PrincipalArn": format!("arn:aws:iam::123456789012:{spared}") } },
        }] });
        account.seed_policy(&PolicySeed::ResourcePolicy { arn: BUCKET.into(), document }).unwrap();
        let s3 = aws_sdk_s3::Client::new(&sdk(&account));
        let put = acting(s3.put_object().bucket("shop").key("key").send()).await;
        if allowed {
            put.unwrap();
        } else {
            assert_denied(put, "AccessDenied", "explicit deny");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn iam_is_evaluated_in_its_own_region() {
    for (region, allowed) in [("us-east-1", true), ("eu-central-1", false)] {
        let account = account();
        let mut statement = allow(&["iam:ListRoles"], &["*"]);
        statement["Condition"] = json!({ "StringEquals": { "aws:RequestedRegion": region } });
        give_role(&account, ROLE, &json!([statement]));
        let iam = aws_sdk_iam::Client::new(&sdk(&account));
        assert_eq!(acting(iam.list_roles().send()).await.is_ok(), allowed, "{region}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_change_of_a_roles_policy_reaches_the_other_services_late() {
    let account = account();
    give_role(&account, ROLE, &json!([allow(&["ec2:DescribeVpcs"], &["*"])]));
    let (ec2, iam) = (aws_sdk_ec2::Client::new(&sdk(&account)), aws_sdk_iam::Client::new(&sdk(&account)));
    let put = async |action: &str| {
        let document =
            json!({ "Version": "2012-10-17", "Statement": [allow(&[action], &["*"])] }).to_string();
        let call = iam.put_role_policy().role_name("caller").policy_name("more").policy_document(document);
        call.send().await.unwrap();
    };
    let (subnets, volumes) =
        (|| acting(ec2.describe_subnets().send()), || acting(ec2.describe_volumes().send()));
    let denied = "UnauthorizedOperation";
    put("ec2:DescribeSubnets").await;
    assert_denied(subnets().await, denied, "ec2:DescribeSubnets");
    tokio::time::advance(Duration::from_secs(10)).await;
    subnets().await.unwrap();
    // Until a change is seen, the policy is as it was.
    put("ec2:DescribeVolumes").await;
    subnets().await.unwrap();
    assert_denied(volumes().await, denied, "ec2:DescribeVolumes");
    tokio::time::advance(Duration::from_secs(10)).await;
    assert_denied(subnets().await, denied, "ec2:DescribeSubnets");
    volumes().await.unwrap();
}

/// Tags the calling role.
async fn tag_the_caller(account: &Account, value: &str) {
    let iam = aws_sdk_iam::Client::new(&sdk(account));
    let tag = aws_sdk_iam::types::Tag::builder().key("stack").value(value).build().unwrap();
    iam.tag_role().role_name("caller").tags(tag).send().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_variable_takes_the_principals_tag_and_an_unset_one_matches_nothing() {
    for (tag, allowed) in [(Some("shop"), true), (Some("shop-two"), false), (Some("*"), false), (None, false)]
    {
        let account = account();
        account.seed(&Seed::Bucket { name: "shop".into() });
        let mut statement = allow(&["s3:PutObject"], &["arn:aws:s3:::shop/${aws:PrincipalTag/stack}/*"]);
        give_role(&account, ROLE, &json!([statement]));
        let s3 = aws_sdk_s3::Client::new(&sdk(&account));
        if let Some(tag) = tag {
            tag_the_caller(&account, tag).await;
        }
        let put = acting(s3.put_object().bucket("shop").key("shop/key").send()).await;
        assert_eq!(put.is_ok(), allowed, "{tag:?} in a resource");
        statement["Resource"] = json!("*");
        statement["Condition"] =
            json!({ "StringNotEquals": { "aws:RequestedRegion": "${aws:PrincipalTag/stack}" } });
        // This replaces the role, with its tags.
        give_role(&account, ROLE, &json!([statement]));
        if let Some(tag) = tag {
            tag_the_caller(&account, tag).await;
        }
        // The region differs from every tag, but a variable without a value makes the whole statement void.
        let put = acting(s3.put_object().bucket("shop").key("shop/key").send()).await;
        assert_eq!(put.is_ok(), matches!(tag, Some("shop" | "shop-two")), "{tag:?} in a condition");
    }
}

#[test]
fn a_boundary_does_not_limit_what_a_resource_allows_to_a_session_by_name() {
    let session = json!({ "AWS": "arn:aws:sts::123456789012:assumed-role/shop/test" });
    let other = json!({ "AWS": "arn:aws:sts::123456789012:assumed-role/shop/other" });
    let boundary = |effect: &str| {
        let mut statement = allow(&["ec2:*"], &["*"]);
        if effect == "Deny" {
            statement = json!({ "Effect": "Deny", "Action": "s3:*", "Resource": "*" });
        }
        Some(policy(&statement))
    };
    for (named, boundary, expected) in [
        (&session, boundary("Allow"), None),
        (&session, boundary("Deny"), Some(Reason::Denied)),
        (&other, boundary("Allow"), Some(Reason::NoIdentityPolicy)),
    ] {
        let grants = Grants { identity: Vec::new(), boundary, resource: Some(of_bucket("Allow", named)) };
        assert_eq!(decided(&grants, &role("123456789012")), expected, "{grants:?}");
    }
}
