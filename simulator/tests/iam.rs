//! IAM and Secrets Manager: stored data, refusals, and when other services see changes.

#![expect(clippy::unwrap_used, reason = "what a test's helper does not expect fails the test")]

mod common;

use std::fmt::Debug;
use std::time::Duration;

use aws_sdk_iam::Client;
use aws_sdk_iam::error::ProvideErrorMetadata;
use aws_sdk_iam::types::Tag;
use common::{account, sdk};
use stackdrop_simulator::{Account, Fault, FaultKind, PolicySeed, Seed, When};

const CORE: &str = "arn:aws:iam::aws:policy/AmazonSSMManagedInstanceCore";

fn trust(service: &str) -> String {
    format!(
        r#"{{"Version":"2012-10-17","Statement":[{{"Effect":"Allow","Principal":{{"Service":"{service}"}},"Action":"sts:AssumeRole"}}]}}"#
    )
}

fn policy(action: &str) -> String {
    format!(
        r#"{{"Version":"2012-10-17","Statement":[{{"Effect":"Allow","Action":"{action}","Resource":"*"}}]}}"#
    )
}

/// The code and the message of a refusal.
fn refused<T: Debug, E: ProvideErrorMetadata>(answer: Result<T, E>) -> (String, String) {
    let error = match answer {
        Ok(answer) => panic!("it was not refused: {answer:?}"),
        Err(error) => error,
    };
    (error.code().unwrap_or_default().into(), error.message().unwrap_or_default().into())
}

fn assert_refused<T: Debug, E: ProvideErrorMetadata>(answer: Result<T, E>, code: &str, message: &str) {
    let (got, text) = refused(answer);
    assert_eq!(got, code, "{text}");
    assert!(text.contains(message), "{text:?} does not contain {message:?}");
}

#[expect(clippy::unwrap_used, reason = "a test that cannot continue fails here")]
async fn role(iam: &Client, name: &str) {
    iam.create_role()
        .role_name(name)
        .assume_role_policy_document(trust("ec2.amazonaws.com"))
        .send()
        .await
        .unwrap();
}

#[expect(clippy::unwrap_used, reason = "a test that cannot continue fails here")]
async fn profile(iam: &Client, name: &str, with: Option<&str>) {
    iam.create_instance_profile().instance_profile_name(name).send().await.unwrap();
    if let Some(role) = with {
        iam.add_role_to_instance_profile().instance_profile_name(name).role_name(role).send().await.unwrap();
    }
}

fn iam(account: &Account) -> Client {
    Client::new(&sdk(account))
}

#[tokio::test(start_paused = true)]
async fn a_role_is_read_as_it_was_created() {
    let account = account();
    let iam = iam(&account);
    let tag = Tag::builder().key("stackdrop:component").value("service").build().unwrap();
    let made = iam
        .create_role()
        .role_name("shop-task")
        .path("/stackdrop/")
        .description("what the tasks may do")
        .assume_role_policy_document(trust("ecs-tasks.amazonaws.com"))
        .tags(tag.clone())
        .send()
        .await
        .unwrap();
    assert_eq!(made.role().unwrap().arn(), "arn:aws:iam::123456789012:role/stackdrop/shop-task");
    let role = iam.get_role().role_name("shop-task").send().await.unwrap().role.unwrap();
    assert_eq!(role.tags(), [tag]);
    assert_eq!(role.description(), Some("what the tasks may do"));
    let document = role.assume_role_policy_document().unwrap();
    assert!(document.starts_with("%7B%22Version%22%3A%222012-10-17%22"), "{document}");
    let found = iam.list_roles().path_prefix("/stackdrop/").send().await.unwrap();
    assert_eq!(found.roles()[0].role_name(), "shop-task");
    assert!(found.roles()[0].tags().is_empty(), "ListRoles leaves tags out");
    assert!(iam.list_roles().path_prefix("/other/").send().await.unwrap().roles().is_empty());
    let item = &account.inventory()[0];
    assert_eq!((item.kind.as_str(), item.component.as_str()), ("AWS::IAM::Role", "service"));
}

#[tokio::test(start_paused = true)]
async fn a_role_cannot_be_deleted_while_policies_or_profiles_use_it() {
    let account = account();
    let iam = iam(&account);
    role(&iam, "r").await;
    profile(&iam, "p", Some("r")).await;
    iam.attach_role_policy().role_name("r").policy_arn(CORE).send().await.unwrap();
    iam.put_role_policy()
        .role_name("r")
        .policy_name("own")
        .policy_document(policy("s3:GetObject"))
        .send()
        .await
        .unwrap();
    let delete = || iam.delete_role().role_name("r").send();
    assert_refused(delete().await, "DeleteConflict", "must remove roles from instance profile first");
    assert_refused(
        iam.delete_instance_profile().instance_profile_name("p").send().await,
        "DeleteConflict",
        "must remove roles from instance profile first",
    );
    iam.remove_role_from_instance_profile().instance_profile_name("p").role_name("r").send().await.unwrap();
    iam.delete_instance_profile().instance_profile_name("p").send().await.unwrap();
    assert_refused(delete().await, "DeleteConflict", "must detach all policies first");
    iam.detach_role_policy().role_name("r").policy_arn(CORE).send().await.unwrap();
    assert_refused(delete().await, "DeleteConflict", "must delete policies first");
    iam.delete_role_policy().role_name("r").policy_name("own").send().await.unwrap();
    delete().await.unwrap();
    assert!(account.inventory().is_empty());
    assert_refused(delete().await, "NoSuchEntity", "The role with name r cannot be found.");
}

#[tokio::test(start_paused = true)]
async fn a_refusal_names_what_does_not_exist() {
    let account = account();
    let iam = iam(&account);
    role(&iam, "r").await;
    profile(&iam, "p", None).await;
    let none = "NoSuchEntity";
    let message = "The role with name nobody cannot be found.";
    assert_refused(iam.get_role().role_name("nobody").send().await, none, message);
    assert_refused(iam.list_role_tags().role_name("nobody").send().await, none, message);
    assert_refused(iam.list_role_policies().role_name("nobody").send().await, none, message);
    assert_refused(iam.list_attached_role_policies().role_name("nobody").send().await, none, message);
    assert_refused(iam.list_instance_profiles_for_role().role_name("nobody").send().await, none, message);
    assert_refused(
        iam.add_role_to_instance_profile().instance_profile_name("p").role_name("nobody").send().await,
        none,
        message,
    );
    assert_refused(
        iam.remove_role_from_instance_profile().instance_profile_name("p").role_name("r").send().await,
        none,
        "The role with name r cannot be found.",
    );
    assert_refused(
        iam.get_instance_profile().instance_profile_name("nothing").send().await,
        none,
        "Instance Profile nothing cannot be found.",
    );
    assert_refused(
        iam.attach_role_policy().role_name("r").policy_arn("arn:aws:iam::aws:policy/Nothing").send().await,
        none,
        "does not exist or is not attachable",
    );
    assert_refused(
        iam.detach_role_policy().role_name("r").policy_arn(CORE).send().await,
        none,
        "was not found",
    );
    for answer in [
        refused(iam.get_role_policy().role_name("r").policy_name("own").send().await),
        refused(iam.delete_role_policy().role_name("r").policy_name("own").send().await),
    ] {
        assert_eq!(answer, (none.into(), "The role policy with name own cannot be found.".into()));
    }
}

#[tokio::test(start_paused = true)]
async fn names_are_taken_once_and_a_profile_takes_one_role() {
    let account = account();
    let iam = iam(&account);
    role(&iam, "r").await;
    role(&iam, "second").await;
    profile(&iam, "p", Some("r")).await;
    let again = iam.create_role().role_name("R").assume_role_policy_document(trust("ec2.amazonaws.com"));
    assert_refused(again.send().await, "EntityAlreadyExists", "Role with name R already exists.");
    assert_refused(
        iam.create_instance_profile().instance_profile_name("p").send().await,
        "EntityAlreadyExists",
        "Instance Profile p already exists.",
    );
    assert_refused(
        iam.add_role_to_instance_profile().instance_profile_name("p").role_name("second").send().await,
        "LimitExceeded",
        "Cannot exceed quota for InstanceSessionsPerInstanceProfile: 1",
    );
    let found = iam.list_instance_profiles_for_role().role_name("r").send().await.unwrap();
    assert_eq!(found.instance_profiles()[0].roles()[0].role_name(), "r");
}

#[tokio::test(start_paused = true)]
async fn malformed_policies_are_refused() {
    let account = account();
    let iam = iam(&account);
    role(&iam, "r").await;
    let statement = |inside: &str| format!(r#"{{"Version":"2012-10-17","Statement":[{{{inside}}}]}}"#);
    for (document, reason) in [
        ("{".to_owned(), "invalid Json"),
        ("{}".to_owned(), "Syntax errors"),
        (r#"{"Version":"2026-01-01","Statement":[]}"#.to_owned(), "Syntax errors"),
        (r#"{"Version":"2012-10-17"}"#.to_owned(), "Syntax errors"),
        (policy("s3:GetObject").replace(r#""Version""#, r#""Extra":1,"Version""#), "Syntax errors"),
        (policy("s3:GetObject").replace(r#""Effect""#, r#""Extra":1,"Effect""#), "Syntax errors"),
        (policy("s3:GetObject").replace("Allow", "allow"), "Effect"),
        (statement(r#""Effect":"Allow","Action":[],"Resource":"*""#), "must contain actions"),
        (statement(r#""Action":"s3:GetObject","Resource":"*""#), "Effect"),
        (statement(r#""Effect":"Allow","Resource":"*""#), "must contain actions"),
        (statement(r#""Effect":"Allow","Action":"GetObject","Resource":"*""#), "prefaced by a vendor"),
        (statement(r#""Effect":"Allow","Action":"s3:GetObject""#), "must contain resources"),
        (statement(r#""Effect":"Allow","Action":"s3:GetObject","Resource":"shop""#), "ARN format"),
        (trust("ec2.amazonaws.com"), "should not specify a principal"),
    ] {
        let put = iam.put_role_policy().role_name("r").policy_name("p").policy_document(&document);
        assert_refused(put.send().await, "MalformedPolicyDocument", reason);
    }
    for (document, reason) in [
        (policy("sts:AssumeRole"), "Resource"),
        (
            trust("ecs-task.amazonaws.com"),
            r#"Invalid principal in policy: "SERVICE":"ecs-task.amazonaws.com""#,
        ),
        (statement(r#""Effect":"Allow","Action":"sts:AssumeRole""#), "Principal"),
    ] {
        let update = iam.update_assume_role_policy().role_name("r").policy_document(&document);
        assert_refused(update.send().await, "MalformedPolicyDocument", reason);
    }
}

#[tokio::test(start_paused = true)]
async fn an_inline_policy_is_returned_encoded_and_listed() {
    let account = account();
    let iam = iam(&account);
    role(&iam, "r").await;
    let document = policy("logs:PutLogEvents");
    let put = iam.put_role_policy().role_name("r").policy_name("own").policy_document(&document);
    put.send().await.unwrap();
    iam.attach_role_policy().role_name("r").policy_arn(CORE).send().await.unwrap();
    let got = iam.get_role_policy().role_name("r").policy_name("own").send().await.unwrap();
    assert_eq!(
        got.policy_document(),
        document
            .replace('{', "%7B")
            .replace('}', "%7D")
            .replace('"', "%22")
            .replace(':', "%3A")
            .replace(',', "%2C")
            .replace('[', "%5B")
            .replace(']', "%5D")
            .replace('*', "%2A")
    );
    let names = iam.list_role_policies().role_name("r").send().await.unwrap();
    assert_eq!(names.policy_names(), ["own"]);
    let attached = iam.list_attached_role_policies().role_name("r").send().await.unwrap();
    assert_eq!(attached.attached_policies()[0].policy_arn(), Some(CORE));
}

#[tokio::test(start_paused = true)]
async fn a_service_linked_role_is_created_once_and_belongs_to_the_account() {
    let account = account();
    let iam = iam(&account);
    let create = || iam.create_service_linked_role().aws_service_name("ecs.amazonaws.com").send();
    let role = create().await.unwrap().role.unwrap();
    assert_eq!(
        role.arn(),
        "arn:aws:iam::123456789012:role/aws-service-role/ecs.amazonaws.com/AWSServiceRoleForECS"
    );
    assert_refused(create().await, "InvalidInput", "has been taken in this account");
    assert_refused(
        iam.delete_role().role_name("AWSServiceRoleForECS").send().await,
        "UnmodifiableEntity",
        "only modifiable by AWS",
    );
    assert!(account.inventory().is_empty());
}

#[tokio::test(start_paused = true)]
async fn tags_are_added_and_removed() {
    let account = account();
    let iam = iam(&account);
    role(&iam, "r").await;
    profile(&iam, "p", None).await;
    let tag = |key: &str| Tag::builder().key(key).value("1").build().unwrap();
    iam.tag_role().role_name("r").tags(tag("a")).tags(tag("b")).send().await.unwrap();
    iam.untag_role().role_name("r").tag_keys("a").send().await.unwrap();
    assert_eq!(iam.list_role_tags().role_name("r").send().await.unwrap().tags(), [tag("b")]);
    iam.tag_instance_profile().instance_profile_name("p").tags(tag("c")).send().await.unwrap();
    let profile = iam.get_instance_profile().instance_profile_name("p").send().await.unwrap();
    assert_eq!(profile.instance_profile().unwrap().tags(), [tag("c")]);
    let reserved = iam.tag_role().role_name("r").tags(tag("aws:mine")).send().await;
    assert_refused(reserved, "InvalidInput", "reserved");
    let twice = iam.tag_role().role_name("r").tags(tag("a")).tags(tag("a")).send().await;
    assert_refused(twice, "InvalidInput", "Duplicate tag key");
    let long = iam.tag_role().role_name("r").tags(tag(&"k".repeat(129))).send().await;
    assert_refused(long, "InvalidInput", "too long");
    let many = (0..51).map(|number| tag(&format!("t{number}")));
    let many = iam.tag_role().role_name("r").set_tags(Some(many.collect())).send().await;
    assert_refused(many, "ValidationError", "50");
}

#[tokio::test(start_paused = true)]
async fn profiles_are_listed_below_a_path_without_their_tags() {
    let account = account();
    let iam = iam(&account);
    role(&iam, "r").await;
    profile(&iam, "p", Some("r")).await;
    let create = iam.create_instance_profile().instance_profile_name("q").path("/stackdrop/");
    create.tags(Tag::builder().key("a").value("1").build().unwrap()).send().await.unwrap();
    let all = iam.list_instance_profiles().send().await.unwrap();
    let names: Vec<_> = all
        .instance_profiles()
        .iter()
        .map(aws_sdk_iam::types::InstanceProfile::instance_profile_name)
        .collect();
    assert_eq!(names, ["p", "q"]);
    assert_eq!(all.instance_profiles()[0].roles()[0].role_name(), "r");
    let below = iam.list_instance_profiles().path_prefix("/stackdrop/").send().await.unwrap();
    assert_eq!(below.instance_profiles().len(), 1);
    assert!(below.instance_profiles()[0].tags().is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_unknown_parameter_is_refused() {
    let account = account();
    let role = iam(&account).create_service_linked_role().aws_service_name("ecs.amazonaws.com");
    assert_refused(role.custom_suffix("shop").send().await, "UnknownParameter", "CustomSuffix");
    assert!(account.inventory().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_role_has_the_boundary_that_it_was_created_with() {
    let account = account();
    let iam = iam(&account);
    let bounded = |boundary: &str| {
        iam.create_role()
            .role_name("r")
            .assume_role_policy_document(trust("ec2.amazonaws.com"))
            .permissions_boundary(boundary)
            .send()
    };
    assert_refused(bounded("arn:aws:iam::123456789012:policy/absent").await, "NoSuchEntity", "boundary");
    let boundary = "arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess";
    bounded(boundary).await.unwrap();
    let role = iam.get_role().role_name("r").send().await.unwrap();
    let shown = role.role().unwrap().permissions_boundary().unwrap();
    assert_eq!(shown.permissions_boundary_arn(), Some(boundary));
}

#[tokio::test(start_paused = true)]
async fn a_lost_response_leaves_the_role_created() {
    let account = account();
    let iam = iam(&account);
    account.arm(Fault::at("iam", "CreateRole", When::Only(1), FaultKind::LostAfter));
    let create =
        || iam.create_role().role_name("r").assume_role_policy_document(trust("ec2.amazonaws.com")).send();
    create().await.unwrap_err();
    assert_refused(create().await, "EntityAlreadyExists", "already exists");
    assert_eq!(account.inventory().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn names_paths_and_lists_that_iam_does_not_take_are_refused() {
    let account = account();
    let iam = iam(&account);
    let create = |name: &str| {
        iam.create_role().role_name(name).assume_role_policy_document(trust("ec2.amazonaws.com"))
    };
    let invalid = "ValidationError";
    for (request, message) in [
        (create("a b"), "invalid"),
        (create(&"r".repeat(65)), "less than or equal to 64"),
        (create("r").path("stackdrop"), "path"),
        (create("r").max_session_duration(3599), "between 3600 and 43200"),
        (create("r").max_session_duration(43_201), "between 3600 and 43200"),
    ] {
        assert_refused(request.send().await, invalid, message);
    }
    for name in ["r".repeat(64), "second".into()] {
        create(&name).max_session_duration(43_200).send().await.unwrap();
    }
    let list = || iam.list_roles();
    for (request, message) in [
        (list().max_items(0), "between 1 and 1000"),
        (list().max_items(1001), "between 1 and 1000"),
        (list().marker("x"), "Marker"),
    ] {
        assert_refused(request.send().await, invalid, message);
    }
    let page = list().max_items(1).send().await.unwrap();
    let rest = list().marker(page.marker().unwrap()).send().await.unwrap();
    assert_eq!((page.is_truncated(), rest.roles().len(), rest.is_truncated()), (true, 1, false));
    let service = iam.create_service_linked_role().aws_service_name("shop.amazonaws.com").send().await;
    assert_refused(service, "InvalidInput", "not valid");
    let status =
        |refused: Option<&aws_sdk_iam::config::http::HttpResponse>| refused.unwrap().status().as_u16();
    let taken = create("second").send().await.unwrap_err();
    assert_eq!(status(taken.raw_response()), 409);
    let absent = iam.get_role().role_name("nobody").send().await.unwrap_err();
    assert_eq!(status(absent.raw_response()), 404);
}

#[tokio::test(start_paused = true)]
async fn a_role_has_limits_for_its_policies_and_tags() {
    let account = account();
    let iam = iam(&account);
    role(&iam, "r").await;
    // An inline policy with this many characters.
    let of_size = |size: usize| policy(&format!("s3:{}", "a".repeat(size - policy("s3:").len())));
    let put = |name: &str, size: usize| {
        iam.put_role_policy().role_name("r").policy_name(name).policy_document(of_size(size)).send()
    };
    put("large", 10_000).await.unwrap();
    assert_refused(put("small", 241).await, "LimitExceeded", "10240");
    put("small", 240).await.unwrap();
    put("large", 9000).await.unwrap();
    let long = trust("ec2.amazonaws.com").replace("sts:AssumeRole", &format!("sts:{}", "A".repeat(2048)));
    let update = iam.update_assume_role_policy().role_name("r").policy_document(long).send().await;
    assert_refused(update, "LimitExceeded", "2048");
    for number in 0..11 {
        let document = serde_json::from_str(&policy("s3:GetObject")).unwrap();
        let arn = format!("arn:aws:iam::123456789012:policy/p{number}");
        account.seed_policy(&PolicySeed::ManagedPolicy { arn: arn.clone(), document }).unwrap();
        let attached = iam.attach_role_policy().role_name("r").policy_arn(arn).send().await;
        if number < 10 {
            attached.unwrap();
        } else {
            assert_refused(attached, "LimitExceeded", "PoliciesPerRole: 10");
        }
    }
    let first = "arn:aws:iam::123456789012:policy/p0";
    iam.attach_role_policy().role_name("r").policy_arn(first).send().await.unwrap();
    let tags = |numbers: std::ops::Range<u32>| {
        let tag = |number: u32| Tag::builder().key(number.to_string()).value("").build().unwrap();
        iam.tag_role().role_name("r").set_tags(Some(numbers.map(tag).collect())).send()
    };
    tags(0..49).await.unwrap();
    assert_refused(tags(49..51).await, "LimitExceeded", "TagsPerResource: 50");
    tags(49..50).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_service_linked_role_changes_only_through_its_service() {
    let account = account();
    let iam = iam(&account);
    iam.create_service_linked_role().aws_service_name("ecs.amazonaws.com").send().await.unwrap();
    let name = "AWSServiceRoleForECS";
    let (code, message) = ("UnmodifiableEntity", "only modifiable by AWS");
    let put = iam.put_role_policy().role_name(name).policy_name("p").policy_document(policy("s3:*"));
    assert_refused(put.send().await, code, message);
    assert_refused(iam.attach_role_policy().role_name(name).policy_arn(CORE).send().await, code, message);
    assert_refused(iam.detach_role_policy().role_name(name).policy_arn(CORE).send().await, code, message);
    let update = iam.update_assume_role_policy().role_name(name).policy_document(trust("ec2.amazonaws.com"));
    assert_refused(update.send().await, code, message);
    assert_refused(iam.delete_role_policy().role_name(name).policy_name("p").send().await, code, message);
}

#[tokio::test(start_paused = true)]
async fn requests_for_secrets_that_aws_does_not_take_are_refused() {
    use aws_sdk_secretsmanager::primitives::Blob;
    use aws_sdk_secretsmanager::types::{Filter, FilterNameStringType, Tag};
    let account = account();
    let secrets = aws_sdk_secretsmanager::Client::new(&sdk(&account));
    let create = |name: &str| secrets.create_secret().name(name);
    let tag = |number: u32| Tag::builder().key(number.to_string()).value("").build();
    let invalid = "InvalidParameterException";
    for (request, message) in [
        (create("own").secret_string("x").client_request_token("short"), "between 32 and 64"),
        (create("own").secret_string("x").secret_binary(Blob::new("x")), "both a binary"),
        (create("own").set_tags(Some((0..51).map(tag).collect())), "no more than 50 tags"),
        (create(""), "Name"),
    ] {
        assert_refused(request.send().await, invalid, message);
    }
    let odd = create(&"n".repeat(513)).secret_string("x").send().await;
    assert_refused(odd, "ValidationException", "Invalid name");
    create("own")
        .secret_string("x".repeat(65_536))
        .set_tags(Some((0..50).map(tag).collect()))
        .send()
        .await
        .unwrap();
    let more = secrets.tag_resource().secret_id("own").tags(tag(50)).send().await;
    assert_refused(more, invalid, "no more than 50 tags");
    let delete = || secrets.delete_secret().secret_id("own");
    for days in [6, 31] {
        assert_refused(delete().recovery_window_in_days(days).send().await, invalid, "between 7 and 30 days");
    }
    let all = Filter::builder().key(FilterNameStringType::All).values("own").build();
    assert_refused(secrets.list_secrets().filters(all).send().await, invalid, "Invalid filter key");
    assert_refused(secrets.list_secrets().max_results(0).send().await, invalid, "MaxResults");
    delete().recovery_window_in_days(7).send().await.unwrap();
    assert_refused(delete().send().await, "InvalidRequestException", "marked for deletion");
    let untag = secrets.untag_resource().secret_id("own").tag_keys("0").send().await;
    assert_refused(untag, "InvalidRequestException", "marked for deletion");
    // A deletion without recovery frees the name at once.
    create("other").send().await.unwrap();
    secrets.delete_secret().secret_id("other").force_delete_without_recovery(true).send().await.unwrap();
    create("other").send().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn secrets_are_described_and_never_read() {
    let account = account();
    let secrets = aws_sdk_secretsmanager::Client::new(&sdk(&account));
    let arn = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:shop/key-AbCdEf";
    account.seed(&Seed::Secret { arn: arn.into() });
    let described = secrets.describe_secret().secret_id("shop/key").send().await.unwrap();
    assert_eq!(described.arn(), Some(arn));
    assert_refused(
        secrets.get_secret_value().secret_id(arn).send().await,
        "AccessDeniedException",
        "secretsmanager:GetSecretValue",
    );
    assert_refused(
        secrets.describe_secret().secret_id("nothing").send().await,
        "ResourceNotFoundException",
        "can't find the specified secret",
    );
    assert!(account.inventory().is_empty(), "a seeded secret is not ours");
}

#[tokio::test(start_paused = true)]
async fn secrets_are_listed_the_newest_first_and_by_filters() {
    use aws_sdk_secretsmanager::types::{Filter, FilterNameStringType, SortOrderType};
    let account = account();
    let secrets = aws_sdk_secretsmanager::Client::new(&sdk(&account));
    for name in ["shop/a", "shop/b", "other"] {
        secrets.create_secret().name(name).description(name).send().await.unwrap();
        tokio::time::advance(Duration::from_secs(1)).await;
    }
    let names = |list: &[aws_sdk_secretsmanager::types::SecretListEntry]| -> Vec<String> {
        list.iter().filter_map(|entry| entry.name().map(str::to_owned)).collect()
    };
    let list = || secrets.list_secrets();
    assert_eq!(names(list().send().await.unwrap().secret_list()), ["other", "shop/b", "shop/a"]);
    let filter = |value: &str| Filter::builder().key(FilterNameStringType::Name).values(value).build();
    let of_shop = list().filters(filter("shop/")).sort_order(SortOrderType::Asc).send().await.unwrap();
    assert_eq!(names(of_shop.secret_list()), ["shop/a", "shop/b"]);
    let others = list().filters(filter("!shop/")).send().await.unwrap();
    assert_eq!(names(others.secret_list()), ["other"]);
    let first = list().max_results(2).send().await.unwrap();
    let rest = list().max_results(2).next_token(first.next_token().unwrap()).send().await.unwrap();
    assert_eq!((names(rest.secret_list()), rest.next_token()), (vec!["shop/a".to_owned()], None));
    secrets.delete_secret().secret_id("other").send().await.unwrap();
    assert_eq!(list().send().await.unwrap().secret_list().len(), 2, "what is to be deleted is not listed");
    let all = list().include_planned_deletion(true).send().await.unwrap();
    assert_eq!(all.secret_list().len(), 3);
    assert_refused(list().max_results(101).send().await, "InvalidParameterException", "MaxResults");
    assert_refused(list().next_token("x").send().await, "InvalidNextTokenException", "NextToken");
}

#[tokio::test(start_paused = true)]
async fn a_repeated_creation_of_a_secret_is_the_same_only_with_its_token_and_value() {
    let account = account();
    let secrets = aws_sdk_secretsmanager::Client::new(&sdk(&account));
    let token = "0".repeat(32);
    let create = |value: &str| {
        secrets.create_secret().name("own").secret_string(value).client_request_token(&token).send()
    };
    let first = create("x").await.unwrap();
    assert_eq!(first.version_id(), Some(token.as_str()));
    assert_eq!(create("x").await.unwrap().arn(), first.arn());
    assert_refused(create("y").await, "ResourceExistsException", "already exists");
    let long = secrets.create_secret().name("long").secret_string("x".repeat(65_537)).send().await;
    assert_refused(long, "InvalidParameterException", "longer than");
    let odd = secrets.create_secret().name("a b").secret_string("x").send().await;
    assert_refused(odd, "ValidationException", "Invalid name");
    assert_eq!(account.inventory().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_deleted_secret_keeps_its_name_until_its_recovery_window_ends() {
    let account = account();
    let secrets = aws_sdk_secretsmanager::Client::new(&sdk(&account));
    let create = || secrets.create_secret().name("own").secret_string("x").send();
    create().await.unwrap();
    assert_refused(create().await, "ResourceExistsException", "already exists");
    assert_eq!(account.inventory().len(), 1);
    let both = secrets.delete_secret().secret_id("own").recovery_window_in_days(7);
    assert_refused(
        both.clone().force_delete_without_recovery(true).send().await,
        "InvalidParameterException",
        "in conjunction with",
    );
    both.send().await.unwrap();
    assert!(account.inventory().is_empty());
    assert_refused(create().await, "InvalidRequestException", "already scheduled for deletion");
    tokio::time::advance(Duration::from_hours(8 * 24)).await;
    create().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_roles_boundary_is_set_replaced_and_removed() {
    let account = account();
    let iam = iam(&account);
    role(&iam, "r").await;
    let boundary = "arn:aws:iam::123456789012:policy/boundary";
    let put = |name: &str, arn: &str| {
        iam.put_role_permissions_boundary().role_name(name).permissions_boundary(arn).send()
    };
    assert_refused(put("r", boundary).await, "NoSuchEntity", "does not exist or is not attachable");
    let document = serde_json::from_str(&policy("s3:GetObject")).unwrap();
    account.seed_policy(&PolicySeed::ManagedPolicy { arn: boundary.into(), document }).unwrap();
    let shown = async || {
        let role = iam.get_role().role_name("r").send().await.unwrap().role.unwrap();
        role.permissions_boundary.and_then(|boundary| boundary.permissions_boundary_arn)
    };
    for arn in [boundary, CORE] {
        put("r", arn).await.unwrap();
        assert_eq!(shown().await.as_deref(), Some(arn));
    }
    let delete = || iam.delete_role_permissions_boundary().role_name("r").send();
    delete().await.unwrap();
    assert_eq!(shown().await, None);
    assert_refused(delete().await, "NoSuchEntity", "permissions boundary");
    iam.create_service_linked_role().aws_service_name("ecs.amazonaws.com").send().await.unwrap();
    assert_refused(put("AWSServiceRoleForECS", CORE).await, "UnmodifiableEntity", "only modifiable by AWS");
}

#[test]
fn a_managed_policy_has_at_most_6144_characters() {
    for (size, accepted) in [(6144, true), (6145, false)] {
        let text = policy(&format!("s3:{}", "a".repeat(size - policy("s3:").len())));
        let document = serde_json::from_str(&text).unwrap();
        let arn = "arn:aws:iam::123456789012:policy/large".into();
        let seeded = account().seed_policy(&PolicySeed::ManagedPolicy { arn, document });
        assert_eq!(seeded.is_ok(), accepted, "{size}");
    }
}
