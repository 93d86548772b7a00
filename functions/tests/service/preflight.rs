//! Preflight checks of a plan.

use serde_json::{Value, json};
use stackdrop_functions::Aws;
use stackdrop_simulator::{Account, Fault, FaultKind, PolicySeed, Seed, When};

use crate::common::{act, apply, aws, deployment, writes};
use crate::{
    MAIL, NAME, TOKEN, WORKER, account, assert_nothing_to_do, changed, deployed, next, prepared, problems,
    wait_until_stable,
};

/// Makes AWS deny a call from now on.
fn deny(account: &Account, service: &str, operation: &str) {
    account.arm(Fault::at(service, operation, When::From(1), FaultKind::AccessDenied));
}

/// The statements of the execution role's policy, by their first action.
async fn statement(aws: &Aws, action: &str) -> Value {
    let call = aws.iam().get_role_policy().role_name("stackdrop-shop-execution-eu-central-1");
    let encoded = call.policy_name("stackdrop").send().await.unwrap().policy_document;
    let text = percent_encoding::percent_decode_str(&encoded).decode_utf8().unwrap();
    let policy: Value = serde_json::from_str(&text).unwrap();
    let statements = policy["Statement"].as_array().unwrap().iter();
    let of = |statement: &&Value| {
        let first = &statement["Action"];
        first == action || first[0] == action
    };
    statements.filter(of).cloned().collect()
}

/// A spec whose services have two secrets.
fn with_secrets(first: &str, second: &str) -> String {
    format!(
        "
stack: shop
services:
  mail: {{ image: mail, count: 1, secrets: {{ ONE: '{first}', TWO: '{second}' }} }}
"
    )
}

async fn secret(aws: &Aws, name: &str, key: &str) -> String {
    let call = aws.secrets().create_secret().name(name).kms_key_id(key).secret_string("x");
    call.send().await.unwrap().arn.unwrap()
}

/// Creates a KMS key whose use this account's policies decide.
pub(crate) fn put_key(account: &Account, arn: &str) {
    let document = json!({
        "Version": "2012-10-17",
        "Statement": [{
            "Effect": "Allow",
            "Principal": { "AWS": "arn:aws:iam::123456789012:root" },
            "Action": "kms:*",
            "Resource": "*",
        }],
    });
    account.seed_policy(&PolicySeed::ResourcePolicy { arn: arn.into(), document }).unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_execution_role_may_use_only_the_keys_of_its_secrets() {
    let account = account();
    let key = "arn:aws:kms:eu-central-1:210987654321:key/1234abcd-12ab-34cd-56ef-1234567890ab";
    put_key(&account, key);
    // The simulator returns the alias in place of the key.
    put_key(&account, "arn:aws:kms:eu-central-1:123456789012:key/shop");
    let own = aws(&account);
    let (one, two) = (
        secret(&own, "stackdrop/shop/one", key).await,
        secret(&own, "stackdrop/shop/two", "alias/shop").await,
    );
    let spec = with_secrets(&one, &two);
    let (aws, mut deployment) = prepared(&account, &spec).await;
    apply(&aws, &[NAME], &mut deployment).await;
    wait_until_stable(&aws, &deployment).await.unwrap();
    let through = "secretsmanager.eu-central-1.amazonaws.com";
    assert_eq!(
        statement(&aws, "kms:Decrypt").await,
        json!([
            {
                "Effect": "Allow", "Action": "kms:Decrypt",
                "Resource": "arn:aws:kms:eu-central-1:123456789012:key/*",
                "Condition": {
                    "StringEquals": { "kms:ViaService": through },
                    "ForAnyValue:StringEquals": { "kms:ResourceAliases": "alias/shop" },
                },
            },
            {
                "Effect": "Allow", "Action": "kms:Decrypt", "Resource": key,
                "Condition": { "StringEquals": { "kms:ViaService": through } },
            },
        ])
    );
    assert_nothing_to_do(&account, &aws, &deployment).await;
    // Without the secrets, access to the keys is removed.
    let deployment = next(&aws, &deployment, "second", &with_secrets(TOKEN, TOKEN)).await;
    wait_until_stable(&aws, &deployment).await.unwrap();
    act(&aws, NAME, "prune", &deployment).await.unwrap();
    assert_eq!(statement(&aws, "kms:Decrypt").await, json!([]));
}

#[tokio::test(start_paused = true)]
async fn a_secret_that_cannot_be_described_is_a_problem_unless_tasks_use_it_already() {
    const FOREIGN: &str =
        "arn:aws:secretsmanager:eu-central-1:210987654321:secret:stackdrop/shop/token-AbCdEf";
    let (account, aws, before) = deployed(&with_secrets(TOKEN, TOKEN)).await;
    deny(&account, "secretsmanager", "DescribeSecret");
    let changed = changed(&before, "second", &with_secrets(TOKEN, FOREIGN));
    let problems = problems(&aws, &changed).await;
    assert_eq!(problems.len(), 1, "{problems:#?}");
    for expected in [
        "service/mail: the KMS key of secret arn:aws:secretsmanager:eu-central-1:210987654321:secret:stackdrop/shop/token-AbCdEf",
        "(services.mail.secrets.TWO) is unknown",
        "allow secretsmanager:DescribeSecret for the role of Stackdrop's service function",
    ] {
        assert!(problems[0].contains(expected), "{expected}: {problems:#?}");
    }
    assert_nothing_to_do(&account, &aws, &before).await;
}

#[tokio::test(start_paused = true)]
async fn an_image_of_a_pull_through_cache_need_not_exist_yet() {
    let account = account();
    account.seed(&Seed::PullThroughCache { prefix: "hub".into() });
    let registry = "123456789012.dkr.ecr.eu-central-1.amazonaws.com";
    let spec = WORKER.replace("image: mail", &format!("image: '{registry}/hub/library/nginx:1.29'"));
    let (aws, mut deployment) = prepared(&account, &spec).await;
    apply(&aws, &[NAME], &mut deployment).await;
    wait_until_stable(&aws, &deployment).await.unwrap();
    let statement = statement(&aws, "ecr:BatchImportUpstreamImage").await;
    assert_eq!(statement[0]["Action"], json!(["ecr:BatchImportUpstreamImage", "ecr:CreateRepository"]));
    let repository = "arn:aws:ecr:eu-central-1:123456789012:repository/hub/library/nginx";
    assert_eq!(statement[0]["Resource"], json!([repository]));
    assert_nothing_to_do(&account, &aws, &deployment).await;
    let other = WORKER.replace("image: mail", &format!("image: '{registry}/hubble/nginx:1.29'"));
    let problems = problems(&aws, &changed(&deployment, "second", &other)).await;
    assert!(problems[0].contains("has no repository hubble/nginx"), "{problems:#?}");
}

#[tokio::test(start_paused = true)]
async fn a_plan_warns_when_optional_reads_are_denied() {
    let account = account();
    for (service, operation) in
        [("iam", "GetRole"), ("servicequotas", "GetServiceQuota"), ("ecr", "DescribePullThroughCacheRules")]
    {
        // The stack's own roles, which must be readable, are read by the same operation.
        let nth = if operation == "GetRole" { 3 } else { 1 };
        account.arm(Fault::at(service, operation, When::From(nth), FaultKind::AccessDenied));
    }
    let registry = "123456789012.dkr.ecr.eu-central-1.amazonaws.com";
    let spec = WORKER.replace("image: mail", &format!("image: '{registry}/hub/nginx:1.29'"));
    let plan = act(&aws(&account), NAME, "plan", &deployment(&spec)).await.unwrap();
    assert_eq!(plan["problems"], json!([]), "{plan}");
    let warnings = plan["warnings"].to_string();
    for expected in ["L-3032A538", "has no repository hub/nginx, unless a pull-through cache provides it"] {
        assert!(warnings.contains(expected), "{expected}: {warnings}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_plan_names_every_missing_image_and_secret_and_the_missing_vcpus() {
    const NONE: &str = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:stackdrop/shop/none-AbCdEf";
    let account = account();
    let aws = aws(&account);
    let registry = "123456789012.dkr.ecr.eu-central-1.amazonaws.com";
    let spec = format!(
        "
stack: shop
services:
  tag: {{ image: '{registry}/shop/mail:2' }}
  repository: {{ image: '{registry}/shop/male:1' }}
  digest: {{ image: '{registry}/shop/mail@sha256:{}' }}
  secret: {{ image: '{MAIL}', secrets: {{ GOOD: '{TOKEN}', BAD: '{NONE}:key::' }} }}
  elsewhere: {{ image: '{}/shop/mail:2' }}
  large: {{ image: mail, cpu: 4096, memory: 8192, count: 10 }}
",
        "0".repeat(64),
        registry.replace("123456789012", "210987654321"),
    );
    let problems = problems(&aws, &deployment(&spec)).await;
    for (at, expected) in [
        (0, "service/digest: image "),
        (1, "this account's registry has no repository shop/male"),
        (2, "repository shop/mail has none with the tag 2; push the image first"),
        (
            3,
            "secret arn:aws:secretsmanager:eu-central-1:123456789012:secret:stackdrop/shop/none-AbCdEf (services.secret.secrets.BAD) does not exist",
        ),
        (4, "service/large: 0 of the"),
    ] {
        assert!(problems[at].contains(expected), "{expected}: {problems:#?}");
    }
    assert_eq!(problems.len(), 5, "{problems:#?}");
    assert_eq!(writes(&account), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_plan_names_secrets_that_exist_and_that_no_task_can_read() {
    const THEIRS: &str =
        "arn:aws:secretsmanager:eu-central-1:210987654321:secret:stackdrop/shop/token-AbCdEf";
    let account = account();
    account.seed(&Seed::Secret { arn: THEIRS.into() });
    let aws = aws(&account);
    aws.secrets().delete_secret().secret_id(TOKEN).send().await.unwrap();
    let problems = problems(&aws, &deployment(&with_secrets(TOKEN, THEIRS))).await;
    for (at, expected) in [
        (0, "(services.mail.secrets.ONE) is scheduled for deletion; restore the secret"),
        (
            1,
            "(services.mail.secrets.TWO) of another account is encrypted with a KMS key that only that account can use",
        ),
    ] {
        assert!(problems[at].contains(expected), "{expected}: {problems:#?}");
    }
    assert_eq!(problems.len(), 2, "{problems:#?}");
}

#[tokio::test(start_paused = true)]
async fn access_to_keys_and_caches_that_cannot_be_read_at_the_moment_is_kept() {
    let account = account();
    account.seed(&Seed::PullThroughCache { prefix: "hub".into() });
    let key = "arn:aws:kms:eu-central-1:210987654321:key/1234abcd-12ab-34cd-56ef-1234567890ab";
    put_key(&account, key);
    let own = secret(&aws(&account), "stackdrop/shop/one", key).await;
    let image = "123456789012.dkr.ecr.eu-central-1.amazonaws.com/hub/library/nginx:1.29";
    let spec = with_secrets(&own, &own).replace("image: mail", &format!("image: '{image}'"));
    let (aws, mut deployment) = prepared(&account, &spec).await;
    apply(&aws, &[NAME], &mut deployment).await;
    wait_until_stable(&aws, &deployment).await.unwrap();
    deny(&account, "secretsmanager", "DescribeSecret");
    deny(&account, "ecr", "DescribePullThroughCacheRules");
    assert_nothing_to_do(&account, &aws, &deployment).await;
    act(&aws, NAME, "prune", &deployment).await.unwrap();
    assert_eq!(statement(&aws, "kms:Decrypt").await[0]["Resource"], json!(key));
    let repository = "arn:aws:ecr:eu-central-1:123456789012:repository/hub/library/nginx";
    assert_eq!(statement(&aws, "ecr:BatchImportUpstreamImage").await[0]["Resource"], json!([repository]));
}

#[tokio::test(start_paused = true)]
async fn an_image_that_tasks_run_is_not_looked_for_again() {
    let with_image = |image: &str| WORKER.replace("image: mail", &format!("image: '{image}'"));
    let (account, aws, deployment) = deployed(&with_image(MAIL)).await;
    // A lifecycle policy of the repository has deleted it.
    let gone = FaultKind::Refused { code: "ImageNotFoundException".into(), message: "it is gone".into() };
    account.arm(Fault::at("ecr", "DescribeImages", When::From(1), gone));
    assert_nothing_to_do(&account, &aws, &deployment).await;
    let newer = changed(&deployment, "second", &with_image(&MAIL.replace(":1", ":2")));
    let problems = problems(&aws, &newer).await;
    assert_eq!(problems.len(), 1, "{problems:#?}");
    assert!(problems[0].contains("repository shop/mail has none with the tag 2"), "{problems:#?}");
}

#[tokio::test(start_paused = true)]
async fn tasks_that_run_count_for_the_quota_of_vcpus_which_may_be_used_up() {
    let spec = |large: &str| {
        format!(
            "
stack: shop
services:
  small: {{ image: mail, cpu: 1024, memory: 2048, count: 2 }}
  large: {{ image: mail, {large} }}
"
        )
    };
    let (_account, aws, deployment) = deployed(&spec("cpu: 1024, memory: 2048, count: 1")).await;
    for (large, more) in [
        ("cpu: 1024, memory: 2048, count: 4", None),
        ("cpu: 1024, memory: 2048, count: 5", Some(4)),
        ("cpu: 2048, memory: 4096, count: 3", Some(5)),
        ("cpu: 1024, memory: 2048, count: 5, scaling: { min: 5, max: 8 }", Some(4)),
        // Another tool keeps it at one task.
        ("cpu: 1024, memory: 2048, count: 9, managedElsewhere: [count]", None),
    ] {
        let found = problems(&aws, &changed(&deployment, "second", &spec(large))).await;
        let told = more.map(|more| {
            format!(
                "service/large: 3 of the 6 vCPUs of Fargate tasks that the account may have here are in use, and the stack \
                 needs {more} more;"
            )
        });
        match told {
            None => assert_eq!(found, [] as [&str; 0], "{large}"),
            Some(told) => {
                assert_eq!(found.len(), 1, "{large}: {found:#?}");
                assert!(found[0].starts_with(&told), "{large}: {found:#?}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_parameter_that_somebody_deletes_while_a_plan_reads_it_is_a_problem_and_no_failure() {
    let parameter = "arn:aws:ssm:eu-central-1:123456789012:parameter/platform/root";
    let account = account();
    account.seed(&Seed::Parameter { arn: parameter.into(), tags: [].into(), kms_key: None });
    let gone = FaultKind::Refused { code: "InvalidResourceId".into(), message: "it is gone".into() };
    account.arm(Fault::at("ssm", "ListTagsForResource", When::Only(1), gone));
    let problems = problems(&aws(&account), &deployment(&with_secrets(TOKEN, parameter))).await;
    assert_eq!(account.strikes().len(), 1);
    assert_eq!(problems.len(), 1, "{problems:#?}");
    assert!(problems[0].contains("stack shop may not use parameter /platform/root"), "{problems:#?}");
}
