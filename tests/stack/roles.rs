//! The IAM roles of a stack: their permissions and trust, policies that others attach, and their deletion.

use stackdrop_functions::deployment::outcome::Outcome;
use std::path::Path;

use serde_json::{Value, json};
use stackdrop::{Rehearsal, Setting};
use stackdrop_simulator::{AccessRequest, PolicySeed, Principal};
use stackdrop_specs::Spec;

use crate::redeploy;
use crate::updates_network::{INSTANCE_ONLY, assert_planned, planned};
use crate::{SHOP, changes, deployed, object, rehearsal, resources, run, unprotected};

pub(crate) const INSTANCE: &str = "stackdrop-shop-instance-eu-central-1";
pub(crate) const ROLES: [&str; 3] =
    [INSTANCE, "stackdrop-shop-execution-eu-central-1", "stackdrop-shop-task-eu-central-1"];
const ADMINISTRATOR: &str = "arn:aws:iam::aws:policy/AdministratorAccess";
const EVERYTHING: &str =
    r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}"#;

/// Attaches a managed and an inline policy to a role, as security tools do.
pub(crate) async fn attach_policies(rehearsal: &Rehearsal, role: &str) {
    let iam = &rehearsal.aws().iam();
    iam.attach_role_policy().role_name(role).policy_arn(ADMINISTRATOR).send().await.unwrap();
    let call = iam.put_role_policy().role_name(role).policy_name("manual").policy_document(EVERYTHING);
    call.send().await.unwrap();
}

/// Lets another service assume a role.
pub(crate) async fn trust_another_service(rehearsal: &Rehearsal, role: &str) {
    let trust = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"lambda.amazonaws.com"},"Action":"sts:AssumeRole"}]}"#;
    let call = rehearsal.aws().iam().update_assume_role_policy().role_name(role);
    call.policy_document(trust).send().await.unwrap();
}

/// Gives an instance profile another role than the one with its name.
pub(crate) async fn replace_role_of_profile(rehearsal: &Rehearsal, profile: &str) {
    let trust = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"ec2.amazonaws.com"},"Action":"sts:AssumeRole"}]}"#;
    let iam = &rehearsal.aws().iam();
    iam.create_role().role_name("theirs").assume_role_policy_document(trust).send().await.unwrap();
    let call = iam.remove_role_from_instance_profile().instance_profile_name(profile);
    call.role_name(profile).send().await.unwrap();
    let call = iam.add_role_to_instance_profile().instance_profile_name(profile);
    call.role_name("theirs").send().await.unwrap();
}

async fn policies(rehearsal: &Rehearsal, role: &str) -> Vec<String> {
    let iam = &rehearsal.aws().iam();
    let attached = iam.list_attached_role_policies().role_name(role).send().await.unwrap();
    let inline = iam.list_role_policies().role_name(role).send().await.unwrap();
    let attached = attached.attached_policies().iter().filter_map(|policy| policy.policy_arn());
    attached.chain(inline.policy_names().iter().map(String::as_str)).map(str::to_owned).collect()
}

async fn policy(rehearsal: &Rehearsal, role: &str) -> Value {
    let call = rehearsal.aws().iam().get_role_policy().role_name(role).policy_name("stackdrop");
    let encoded = call.send().await.unwrap().policy_document;
    serde_json::from_str(&decoded(&encoded)).unwrap()
}

/// Decodes a policy document, which IAM returns URL-encoded.
fn decoded(encoded: &str) -> String {
    let mut parts = encoded.split('%');
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (code, rest) = part.split_at(2);
        text.push(char::from(u8::from_str_radix(code, 16).unwrap()));
        text.push_str(rest);
    }
    text
}

#[tokio::test(start_paused = true)]
async fn the_instance_role_allows_sessions_and_nothing_else() {
    let rehearsal = rehearsal(INSTANCE_ONLY);
    deployed(&rehearsal, INSTANCE_ONLY).await;
    assert_eq!(policies(&rehearsal, INSTANCE).await, ["stackdrop"]);
    assert_eq!(
        policy(&rehearsal, INSTANCE).await["Statement"][0]["Action"],
        json!([
            "ssm:UpdateInstanceInformation",
            "ssmmessages:CreateControlChannel",
            "ssmmessages:CreateDataChannel",
            "ssmmessages:OpenControlChannel",
            "ssmmessages:OpenDataChannel",
        ])
    );
}

#[tokio::test(start_paused = true)]
async fn a_role_says_what_it_is_for() {
    let rehearsal = rehearsal(SHOP);
    deployed(&rehearsal, SHOP).await;
    for (role, component) in ROLES.into_iter().zip(["instance", "service", "service"]) {
        let found = rehearsal.aws().iam().get_role().role_name(role).send().await.unwrap().role.unwrap();
        let expected = format!("Assumed by the {component} of the stack shop");
        assert_eq!(found.description(), Some(expected.as_str()), "{role}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_role_in_an_instance_profile_of_others_is_named_and_deleted_once_they_have_removed_it() {
    let rehearsal = rehearsal(INSTANCE_ONLY);
    deployed(&rehearsal, INSTANCE_ONLY).await;
    let iam = rehearsal.aws().iam();
    iam.create_instance_profile().instance_profile_name("theirs").send().await.unwrap();
    let add = iam.add_role_to_instance_profile().instance_profile_name("theirs").role_name(INSTANCE);
    add.send().await.unwrap();
    let destroy =
        || run(&rehearsal, json!({ "stack": "shop", "action": "destroy", "deleteData": ["shop-instance"] }));
    let kept = destroy().await;
    assert_eq!(kept.result(), Outcome::DestroyFailed, "{:?}", kept.error());
    let error = kept.error().unwrap();
    for text in ["role/instance", INSTANCE, "remove the role from the profile"] {
        assert!(error.contains(text), "{text} is not in {error}");
    }
    let remove = iam.remove_role_from_instance_profile().instance_profile_name("theirs").role_name(INSTANCE);
    remove.send().await.unwrap();
    let destroyed = destroy().await;
    assert_eq!(destroyed.result(), Outcome::Destroyed, "{:?}", destroyed.error());
}

#[tokio::test(start_paused = true)]
async fn policies_attached_by_others_are_reported_and_kept() {
    let rehearsal = rehearsal(SHOP);
    deployed(&rehearsal, &unprotected()).await;
    for role in ROLES {
        attach_policies(&rehearsal, role).await;
    }
    let plan = run(&rehearsal, json!({ "stack": "shop", "action": "plan" })).await;
    let record = object(&rehearsal, "stacks/shop/plan.json").await.unwrap();
    let recorded = record["message"].as_str().unwrap();
    assert!(recorded.starts_with("No changes"), "{}: {recorded}", plan.result());

    let night = run(&rehearsal, json!({ "stack": "shop", "action": "redeploy" })).await;
    assert_eq!(night.result(), Outcome::Succeeded, "{:?}", night.error());
    assert_eq!(changes(&night), Vec::<String>::new());
    let status = object(&rehearsal, "stacks/shop/status.json").await.unwrap();
    let events = rehearsal.account().events();
    assert!(
        !events.iter().any(|event| event.detail["event"] == "drift-found"),
        "policies of others are not drift"
    );
    let announced = events.last().unwrap().detail["warnings"].to_string();
    for role in ROLES {
        for policy in [ADMINISTRATOR, "manual"] {
            let line = format!("IAM role {role} also has the policy {policy}");
            for shown in [recorded, status["message"].as_str().unwrap(), &announced] {
                assert!(shown.contains(&line), "{line} is not in {shown}");
            }
        }
        let held = policies(&rehearsal, role).await;
        assert!(held.iter().any(|policy| policy == ADMINISTRATOR), "{role}: {held:?}");
        assert!(held.iter().any(|policy| policy == "manual"), "{role}: {held:?}");
    }

    let updated = deployed(&rehearsal, &unprotected().replace("team: shop", "team: books")).await;
    assert!(changes(&updated).contains(&"iam:TagRole".to_owned()));
    let gone =
        run(&rehearsal, json!({ "stack": "shop", "action": "destroy", "deleteData": ["shop-instance"] }))
            .await;
    assert_eq!(gone.result(), Outcome::Destroyed, "{:?}", gone.error());
    let left: Vec<String> = resources(&rehearsal).into_iter().filter(|line| line.contains("IAM")).collect();
    assert_eq!(left, Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn changed_permissions_and_trust_of_stack_roles_are_repaired() {
    let rehearsal = rehearsal(INSTANCE_ONLY);
    deployed(&rehearsal, INSTANCE_ONLY).await;
    let iam = &rehearsal.aws().iam();
    let was = policy(&rehearsal, INSTANCE).await;
    let call = iam.put_role_policy().role_name(INSTANCE).policy_name("stackdrop");
    call.policy_document(EVERYTHING).send().await.unwrap();
    trust_another_service(&rehearsal, INSTANCE).await;
    let repaired = redeploy(&rehearsal).await;
    assert!(repaired.succeeded(), "{:?}", repaired.error());
    assert_planned(
        &planned(&rehearsal, &repaired).await,
        &["role/instance policy {", "role/instance trust {"],
    );
    assert_eq!(changes(&repaired), ["iam:UpdateAssumeRolePolicy", "iam:PutRolePolicy"]);
    assert_eq!(policy(&rehearsal, INSTANCE).await, was);
    assert_eq!(changes(&redeploy(&rehearsal).await), Vec::<String>::new());
}

#[test]
fn no_function_or_command_hardcodes_a_partition() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut folders = vec![root.join("functions/src"), root.join("src/commands")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap();
            let code = text.split("#[cfg(test)]").next().unwrap().lines();
            let named = code.filter(|line| {
                !line.trim_start().starts_with("//") && line.contains("arn:aws")
                    // This ARN names a service integration, not a resource.
                    && !line.contains("arn:aws:states:::lambda:invoke")
            });
            assert_eq!(named.collect::<Vec<_>>(), Vec::<&str>::new(), "{}", path.display());
        }
    }
}

/// Why the tasks of the example's services have stopped.
async fn endings(rehearsal: &Rehearsal) -> Vec<String> {
    let ecs = aws_sdk_ecs::Client::new(rehearsal.sdk());
    let stopped = ecs.list_tasks().cluster("shop").desired_status(aws_sdk_ecs::types::DesiredStatus::Stopped);
    let arns = stopped.send().await.unwrap().task_arns.unwrap();
    if arns.is_empty() {
        return Vec::new();
    }
    let tasks = ecs.describe_tasks().cluster("shop").set_tasks(Some(arns)).send().await.unwrap();
    tasks.tasks().iter().map(|task| task.stopped_reason().unwrap_or_default().to_owned()).collect()
}

#[tokio::test(start_paused = true)]
async fn no_task_starts_before_its_role_may_read_what_the_task_needs() {
    let more = crate::with(
        SHOP,
        "    secrets:\n",
        "    secrets:\n      API_KEY: 'arn:aws:secretsmanager:eu-central-1:123456789012:secret:shop/api-Ab3dEf'\n",
    );
    let [first, second] = [SHOP, &more].map(|spec| Spec::read(spec.as_bytes()).unwrap());
    // With each seed, IAM takes another time to show ECS the access: up to half a minute.
    for seed in 1..=8 {
        let setting = Setting { seed: Some(seed), ..Setting::default() };
        let rehearsal = Rehearsal::open(&setting, &[&first, &second]).unwrap();
        deployed(&rehearsal, SHOP).await;
        assert_eq!(endings(&rehearsal).await, Vec::<String>::new(), "in the first deployment, seed {seed}");
        deployed(&rehearsal, &more).await;
        let endings = endings(&rehearsal).await;
        assert!(!endings.iter().any(|why| why.contains("AccessDenied")), "seed {seed}: {endings:?}");
        assert_eq!(endings.len(), 2, "only the previous tasks were stopped: {endings:?}");
    }
}

/// Removes the permissions boundary of a role.
pub(crate) async fn remove_boundary(rehearsal: &Rehearsal, role: &str) {
    let iam = rehearsal.aws().iam();
    iam.delete_role_permissions_boundary().role_name(role).send().await.unwrap();
}

/// The ARN of a role's permissions boundary.
async fn boundary(rehearsal: &Rehearsal, role: &str) -> Option<String> {
    let role = rehearsal.aws().iam().get_role().role_name(role).send().await.unwrap().role.unwrap();
    role.permissions_boundary?.permissions_boundary_arn
}

#[tokio::test(start_paused = true)]
async fn every_role_of_a_stack_has_the_boundary_and_gets_it_back() {
    let rehearsal = rehearsal(SHOP);
    deployed(&rehearsal, &unprotected()).await;
    let expected = rehearsal.installation().settings.rules.boundary.clone();
    for role in ROLES {
        assert_eq!(boundary(&rehearsal, role).await.as_ref(), Some(&expected), "{role}");
        remove_boundary(&rehearsal, role).await;
    }
    let repaired = redeploy(&rehearsal).await;
    assert!(repaired.succeeded(), "{:?}", repaired.error());
    let lines =
        ["instance", "execution", "task"].map(|role| format!("role/{role} boundary (none) -> {expected}"));
    assert_planned(&planned(&rehearsal, &repaired).await, &lines.each_ref().map(String::as_str));
    assert_eq!(changes(&repaired), ["iam:PutRolePermissionsBoundary"; 3]);
    for role in ROLES {
        assert_eq!(boundary(&rehearsal, role).await.as_ref(), Some(&expected), "{role}");
    }
    // IAM would let no function delete a role without the boundary.
    for role in ROLES {
        remove_boundary(&rehearsal, role).await;
    }
    let destroy = json!({ "stack": "shop", "action": "destroy", "deleteData": ["shop-instance"] });
    let gone = run(&rehearsal, destroy).await;
    assert_eq!(gone.result(), Outcome::Destroyed, "{:?}", gone.error());
    let left: Vec<String> = resources(&rehearsal).into_iter().filter(|line| line.contains("IAM")).collect();
    assert_eq!(left, Vec::<String>::new());
}

/// The boundary of an organization, which allows what Stackdrop grants to roles.
const OF_THE_ORGANIZATION: &str = "arn:aws:iam::123456789012:policy/organization";

#[tokio::test(start_paused = true)]
async fn the_organizations_boundary_replaces_the_templates() {
    let parameters = [("StackBoundary".to_owned(), OF_THE_ORGANIZATION.to_owned())].into();
    let setting = Setting { parameters, ..Setting::default() };
    let rehearsal = Rehearsal::open(&setting, &[&Spec::read(SHOP.as_bytes()).unwrap()]).unwrap();
    // Without the policy, IAM creates no role.
    let failed = rehearsal.deploy(SHOP, &()).await.unwrap();
    assert_eq!(failed.result(), Outcome::Failed, "{:?}", failed.error());
    assert!(failed.error().unwrap().contains("permissions boundary does not exist"), "{:?}", failed.error());
    let document = serde_json::from_str(EVERYTHING).unwrap();
    let policy = PolicySeed::ManagedPolicy { arn: OF_THE_ORGANIZATION.into(), document };
    rehearsal.account().seed_policy(&policy).unwrap();
    deployed(&rehearsal, SHOP).await;
    for role in ROLES {
        assert_eq!(boundary(&rehearsal, role).await.as_deref(), Some(OF_THE_ORGANIZATION), "{role}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_administrator_policy_on_a_task_role_reads_no_secret_of_another_stack() {
    let rehearsal = rehearsal(SHOP);
    deployed(&rehearsal, SHOP).await;
    let arn = "arn:aws:iam::123456789012:role/stackdrop/stackdrop-shop-task-eu-central-1";
    attach_policies(&rehearsal, ROLES[2]).await;
    let task = Principal::Role { arn: arn.into(), session: "task".into() };
    for (secret, tag, allowed) in [
        ("stackdrop/shop/payment", None, true),
        ("platform/mail", Some("shop"), true),
        ("stackdrop/books/payment", None, false),
        ("platform/root", None, false),
        ("platform/root", Some("books"), false),
    ] {
        let secret = format!("arn:aws:secretsmanager:eu-central-1:123456789012:secret:{secret}-AbCdEf");
        let mut request = AccessRequest::new("secretsmanager:GetSecretValue", "Secret", &secret);
        if let Some(tag) = tag {
            request.key("aws:ResourceTag/stackdrop-access", tag);
        }
        let decision = rehearsal.account().decide("test", &task, request);
        assert_eq!(decision.is_ok(), allowed, "{secret} {tag:?}: {decision:?}");
    }
}

/// The roles whose services name no source when they assume them.
const WITHOUT_SOURCE: [&str; 1] = [INSTANCE];

#[tokio::test(start_paused = true)]
async fn every_trust_policy_names_its_source_or_is_listed() {
    let rehearsal = rehearsal(SHOP);
    deployed(&rehearsal, SHOP).await;
    let of_installation = rehearsal.installation().roles.iter();
    let mut trusts: Vec<(String, Value)> =
        of_installation.map(|(id, role)| (id.clone(), role.trust.clone())).collect();
    for name in ROLES {
        let role = rehearsal.aws().iam().get_role().role_name(name).send().await.unwrap().role.unwrap();
        let trust = decoded(role.assume_role_policy_document().unwrap());
        trusts.push((name.to_owned(), serde_json::from_str(&trust).unwrap()));
    }
    let names_source = |statement: &Value| {
        let conditions = statement["Condition"].as_object().into_iter().flatten();
        let mut keys = conditions.flat_map(|(_, keys)| keys.as_object().unwrap().keys());
        keys.any(|key| key == "aws:SourceAccount" || key == "aws:SourceArn")
    };
    let without =
        trusts.iter().filter(|(_, trust)| !trust["Statement"].as_array().unwrap().iter().all(names_source));
    let without: Vec<&str> = without.map(|(name, _)| name.as_str()).collect();
    println!("{} trust policies; without a source: {without:?}", trusts.len());
    assert_eq!(without, WITHOUT_SOURCE);
}
