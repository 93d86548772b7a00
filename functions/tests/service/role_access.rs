//! What the execution role may access: what the tasks of the last deployment need until they are replaced, and nothing that
//! somebody adds.

use serde_json::{Value, json};
use stackdrop_functions::Aws;
use stackdrop_simulator::{Account, Seed};

use crate::common::{act, apply, until_done};
use crate::manual_changes::use_copy;
use crate::preflight::put_key;
use crate::{
    MAIL, NAME, TOKEN, WORKER, account, assert_nothing_to_do, changed, changes, deployed, next, policy,
    prepared, wait_until_stable,
};

/// Another image in the account's own registry.
const POST: &str = "123456789012.dkr.ecr.eu-central-1.amazonaws.com/shop/post:1";
/// An image that the registry fetches from another one.
const CACHED: &str = "123456789012.dkr.ecr.eu-central-1.amazonaws.com/hub/nginx:1";
/// What the ARNs of repositories begin with.
const REPOSITORIES: &str = "arn:aws:ecr:eu-central-1:123456789012:repository";
/// The secret with the password of the stack's database.
const PASSWORD: &str = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:rds!db-1-AbCdEf";
/// A secret that a customer managed key encrypts.
const ENCRYPTED: &str = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:stackdrop/shop/one-AbCdEf";
const KEY: &str = "arn:aws:kms:eu-central-1:210987654321:key/1234abcd-12ab-34cd-56ef-1234567890ab";

/// An account with all of these.
fn seeded() -> Account {
    let account = account();
    account.seed(&Seed::Image { image: POST.into() });
    account.seed(&Seed::PullThroughCache { prefix: "hub".into() });
    put_key(&account, KEY);
    account.seed(&Seed::SecretOf { arn: ENCRYPTED.into(), tags: [].into(), kms_key: Some(KEY.into()) });
    let instance = "arn:aws:rds:eu-central-1:123456789012:db:shop-database".to_owned();
    let tags = [("aws:rds:primaryDBInstanceArn".to_owned(), instance)].into();
    account.seed(&Seed::SecretOf { arn: PASSWORD.into(), tags, kms_key: None });
    account
}

/// A worker with this image.
fn with_image(image: &str) -> String {
    WORKER.replace("image: mail", &format!("image: '{image}'"))
}

/// A worker with this secret.
fn with_secret(arn: &str) -> String {
    WORKER.replace("count: 1", &format!("count: 1, secrets: {{ TOKEN: '{arn}' }}"))
}

/// A worker with these variables of the database.
fn with_database(variables: &str) -> String {
    WORKER.replace("count: 1", &format!("count: 1, database: {{ {variables} }}"))
        + "database: { name: orders }\n"
}

/// The resources for which the execution role has an action.
async fn allowed(aws: &Aws, action: &str) -> Vec<String> {
    let policy = policy(aws, "execution").await.unwrap();
    let all = |value: &Value| match value {
        Value::Array(values) => values.clone(),
        one => vec![one.clone()],
    };
    let statements = policy["Statement"].as_array().unwrap().iter();
    let of_action = statements.filter(|statement| all(&statement["Action"]).contains(&json!(action)));
    let resources = of_action.flat_map(|statement| all(&statement["Resource"]));
    resources.map(|resource| resource.as_str().unwrap().to_owned()).collect()
}

#[tokio::test(start_paused = true)]
async fn previous_tasks_keep_their_access_until_the_new_ones_are_stable() {
    for (action, resource, before, after) in [
        ("ecr:BatchGetImage", format!("{REPOSITORIES}/shop/mail"), with_image(MAIL), with_image(POST)),
        (
            "ecr:BatchImportUpstreamImage",
            format!("{REPOSITORIES}/hub/nginx"),
            with_image(CACHED),
            with_image(MAIL),
        ),
        ("kms:Decrypt", KEY.to_owned(), with_secret(ENCRYPTED), with_secret(TOKEN)),
        (
            "secretsmanager:GetSecretValue",
            PASSWORD.to_owned(),
            with_database("PGHOST: host, PGPASSWORD: password"),
            with_database("PGHOST: host"),
        ),
    ] {
        let account = seeded();
        let (aws, mut deployment) = prepared(&account, &before).await;
        if before.contains("PGHOST") {
            deployment["outputs"]["database"] =
                json!({ "identifier": "shop", "host": "db.example", "secret": PASSWORD, "awaited": true });
        }
        apply(&aws, &[NAME], &mut deployment).await;
        wait_until_stable(&aws, &deployment).await.unwrap();
        assert!(allowed(&aws, action).await.contains(&resource), "{action} at first");
        let planned = changes(&aws, &changed(&deployment, "second", &after)).await;
        let removal = format!("delete role/execution (access to {resource})");
        assert!(planned.contains(&removal), "{removal} is not in {planned:?}");
        let second = next(&aws, &deployment, "second", &after).await;
        assert!(allowed(&aws, action).await.contains(&resource), "{action} while previous tasks run");
        wait_until_stable(&aws, &second).await.unwrap();
        until_done(&aws, NAME, "prune", &second).await.unwrap();
        assert!(!allowed(&aws, action).await.contains(&resource), "{action} in the end");
    }
}

#[tokio::test(start_paused = true)]
async fn access_that_somebody_adds_to_the_execution_role_is_removed_at_once() {
    let (account, aws, mut deployment) = deployed(&with_image(MAIL)).await;
    let written = policy(&aws, "execution").await.unwrap();
    let mut more = written.clone();
    let books =
        json!({ "Effect": "Allow", "Action": ["s3:GetObject"], "Resource": ["arn:aws:s3:::books/*"] });
    more["Statement"].as_array_mut().unwrap().push(books);
    let call = aws.iam().put_role_policy().role_name("stackdrop-shop-execution-eu-central-1");
    call.policy_name("stackdrop").policy_document(more.to_string()).send().await.unwrap();
    assert_eq!(changes(&aws, &deployment).await, ["update role/execution policy"]);
    apply(&aws, &[NAME], &mut deployment).await;
    assert_eq!(policy(&aws, "execution").await.unwrap(), written);
    assert_nothing_to_do(&account, &aws, &deployment).await;
}

#[tokio::test(start_paused = true)]
async fn the_execution_role_may_pull_the_image_of_the_spec_and_the_one_that_a_pipeline_has_set() {
    let managed = with_image(MAIL).replace("count: 1", "count: 1, managedElsewhere: [image]");
    let account = seeded();
    let (aws, mut deployment) = prepared(&account, &managed).await;
    apply(&aws, &[NAME], &mut deployment).await;
    wait_until_stable(&aws, &deployment).await.unwrap();
    use_copy(&aws, |containers| containers[0].image = Some(POST.into())).await;
    let second = next(&aws, &deployment, "second", &managed).await;
    act(&aws, NAME, "prune", &second).await.unwrap();
    let both = ["mail", "post"].map(|name| format!("{REPOSITORIES}/shop/{name}"));
    assert_eq!(allowed(&aws, "ecr:BatchGetImage").await, both);
}

#[tokio::test(start_paused = true)]
async fn a_cache_for_all_repositories_covers_the_images_of_this_registry_and_no_others() {
    let image = |account: &str, region: &str| format!("{account}.dkr.ecr.{region}.amazonaws.com/any/image:1");
    let spec = format!(
        "
stack: shop
services:
  here: {{ image: '{}', count: 1 }}
  region: {{ image: '{}', count: 1 }}
  account: {{ image: '{}', count: 1 }}
",
        image("123456789012", "eu-central-1"),
        image("123456789012", "eu-west-1"),
        image("210987654321", "eu-central-1"),
    );
    let account = account();
    account.seed(&Seed::PullThroughCache { prefix: "ROOT".into() });
    let (aws, mut deployment) = prepared(&account, &spec).await;
    // The image need not exist yet.
    changes(&aws, &deployment).await;
    apply(&aws, &[NAME], &mut deployment).await;
    assert_eq!(allowed(&aws, "ecr:BatchImportUpstreamImage").await, [format!("{REPOSITORIES}/any/image")]);
    assert_eq!(allowed(&aws, "ecr:BatchGetImage").await.len(), 3);
}
