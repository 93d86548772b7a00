//! IAM.

use aws_sdk_iam::types::Tag;
use serde_json::json;
use stackdrop_simulator::{Account, PolicySeed};

use crate::common::{account, sdk};
use crate::stage::{ROLE, acting, allow, asked, assert_denied, everything, give_role, key};

const TRUST: &str = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"ec2.amazonaws.com"},"Action":"sts:AssumeRole"}]}"#;
const WITH_PATH: &str = "arn:aws:iam::123456789012:role/stackdrop/stackdrop-*";

fn client(account: &Account) -> aws_sdk_iam::Client {
    aws_sdk_iam::Client::new(&sdk(account))
}

#[tokio::test(start_paused = true)]
async fn the_arn_of_an_unknown_role_has_no_path() {
    for (resources, code) in [
        (&[WITH_PATH][..], "AccessDenied"),
        (&[WITH_PATH, "arn:aws:iam::123456789012:role/stackdrop-*"], "NoSuchEntity"),
    ] {
        let account = account();
        give_role(&account, ROLE, &allow(&["iam:GetRole", "iam:DeleteRole", "iam:CreateRole"], resources));
        let iam = client(&account);
        let get = || acting(iam.get_role().role_name("stackdrop-shop").send());
        assert_denied(get().await, code, "stackdrop-shop");
        let delete = iam.delete_role().role_name("stackdrop-shop").send();
        assert_denied(acting(delete).await, code, "stackdrop-shop");
        let create = iam.create_role().role_name("stackdrop-shop").path("/stackdrop/");
        acting(create.assume_role_policy_document(TRUST).send()).await.unwrap();
        get().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_role_is_passed_only_to_the_service_that_the_policy_names() {
    for (service, allowed) in [("ecs-tasks.amazonaws.com", false), ("ec2.amazonaws.com", true)] {
        let account = account();
        let pass = json!({
            "Effect": "Allow", "Action": "iam:PassRole", "Resource": "*",
            "Condition": { "StringEquals": { "iam:PassedToService": service } },
        });
        give_role(&account, ROLE, &json!([pass, allow(&["iam:AddRoleToInstanceProfile"], &["*"])]));
        let iam = client(&account);
        iam.create_role().role_name("shop").assume_role_policy_document(TRUST).send().await.unwrap();
        iam.create_instance_profile().instance_profile_name("shop").send().await.unwrap();
        let add = iam.add_role_to_instance_profile().instance_profile_name("shop").role_name("shop");
        let answer = acting(add.send()).await;
        if allowed {
            answer.unwrap();
        } else {
            assert_denied(answer, "AccessDenied", "is not authorized to perform: iam:PassRole");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_creation_needs_permission_for_its_tags_and_a_change_sets_the_boundary_key() {
    let account = account();
    give_role(&account, ROLE, &everything());
    let boundary = "arn:aws:iam::123456789012:policy/boundary";
    let document = json!({ "Statement": everything() });
    account.seed_policy(&PolicySeed::ManagedPolicy { arn: boundary.into(), document }).unwrap();
    let iam = client(&account);
    let tag = Tag::builder().key("team").value("a").build().unwrap();
    let create = iam.create_role().role_name("shop").path("/stackdrop/").permissions_boundary(boundary);
    acting(create.assume_role_policy_document(TRUST).tags(tag).send()).await.unwrap();
    let policy = "arn:aws:iam::aws:policy/AmazonSSMManagedInstanceCore";
    acting(iam.attach_role_policy().role_name("shop").policy_arn(policy).send()).await.unwrap();
    let role = "role/stackdrop/shop";
    assert_eq!(
        asked(&account),
        [
            format!("iam:CreateRole {role}"),
            format!("iam:TagRole {role}"),
            format!("iam:AttachRolePolicy {role}")
        ]
    );
    assert_eq!(key(&account, "iam:CreateRole", "iam:PermissionsBoundary"), json!([boundary]));
    assert_eq!(key(&account, "iam:TagRole", "aws:RequestTag/team"), json!(["a"]));
    assert_eq!(key(&account, "iam:AttachRolePolicy", "iam:PermissionsBoundary"), json!([boundary]));
    assert_eq!(key(&account, "iam:AttachRolePolicy", "iam:PolicyARN"), json!([policy]));
    assert_eq!(key(&account, "iam:AttachRolePolicy", "aws:ResourceTag/team"), json!(["a"]));
}

#[tokio::test(start_paused = true)]
async fn a_boundary_that_does_not_exist_allows_nothing() {
    let account = account();
    let role = PolicySeed::Role {
        arn: ROLE.into(),
        trust: serde_json::from_str(TRUST).unwrap(),
        policies: vec![("calls".into(), json!({ "Statement": everything() }))],
        attached: Vec::new(),
        boundary: Some("arn:aws:iam::123456789012:policy/none".into()),
    };
    account.seed_policy(&role).unwrap();
    let list = client(&account).list_roles().send();
    assert_denied(acting(list).await, "AccessDenied", "because no permissions boundary allows");
}

#[tokio::test(start_paused = true)]
async fn a_call_that_sets_a_boundary_is_judged_by_the_new_one() {
    let account = account();
    let [ours, other] = ["ours", "other"].map(|name| format!("arn:aws:iam::123456789012:policy/{name}"));
    for arn in [&ours, &other] {
        let document = json!({ "Statement": everything() });
        account.seed_policy(&PolicySeed::ManagedPolicy { arn: arn.clone(), document }).unwrap();
    }
    let mut statement = allow(&["iam:PutRolePermissionsBoundary", "iam:PutRolePolicy"], &["*"]);
    statement["Condition"] = json!({ "StringEquals": { "iam:PermissionsBoundary": ours } });
    give_role(&account, ROLE, &json!([statement]));
    let iam = client(&account);
    let create = iam.create_role().role_name("shop").permissions_boundary(&other);
    create.assume_role_policy_document(TRUST).send().await.unwrap();
    let document =
        json!({ "Version": "2012-10-17", "Statement": allow(&["s3:GetObject"], &["*"]) }).to_string();
    let write = || {
        let call = iam.put_role_policy().role_name("shop").policy_name("calls");
        acting(call.policy_document(&document).send())
    };
    let set = |arn: &str| {
        acting(iam.put_role_permissions_boundary().role_name("shop").permissions_boundary(arn).send())
    };
    let denied = "is not authorized to perform";
    assert_denied(write().await, "AccessDenied", denied);
    assert_denied(set(&other).await, "AccessDenied", denied);
    set(&ours).await.unwrap();
    write().await.unwrap();
    assert_denied(set(&other).await, "AccessDenied", denied);
}
