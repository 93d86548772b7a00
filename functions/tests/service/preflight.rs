//! What a plan finds missing before anything is touched.

use serde_json::{Value, json};
use stackdrop_functions::Aws;
use stackdrop_simulator::{Account, Fault, FaultKind, PolicySeed, Seed, When};

use crate::common::{act, aws, deployment, ensure, writes};
use crate::{
    MAIL, NAME, TOKEN, WORKER, account, assert_at_rest, built, changed, ground, next, problems, settle,
};

/// Has AWS deny a call from now on.
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

/// Services with two secrets.
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

/// A key that leaves it to this account's policies who may use it.
fn put_key(account: &Account, arn: &str) {
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
async fn tasks_may_decrypt_their_secrets_with_just_the_keys_of_those() {
    let account = account();
    let key = "arn:aws:kms:eu-central-1:210987654321:key/1234abcd-12ab-34cd-56ef-1234567890ab";
    put_key(&account, key);
    // The simulator names the key behind an alias by it.
    put_key(&account, "arn:aws:kms:eu-central-1:123456789012:key/shop");
    let own = aws(&account);
    let (one, two) = (secret(&own, "shop/one", key).await, secret(&own, "shop/two", "alias/shop").await);
    let spec = with_secrets(&one, &two);
    let (aws, mut deployment) = ground(&account, &spec).await;
    ensure(&aws, &[NAME], &mut deployment).await;
    settle(&aws, &deployment).await.unwrap();
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
    assert_at_rest(&account, &aws, &deployment).await;
    // Without the secrets the keys go too.
    let deployment = next(&aws, &deployment, "second", &with_secrets(TOKEN, TOKEN)).await;
    settle(&aws, &deployment).await.unwrap();
    act(&aws, NAME, "prune", &deployment).await.unwrap();
    assert_eq!(statement(&aws, "kms:Decrypt").await, json!([]));
}

#[tokio::test(start_paused = true)]
async fn a_secret_that_can_not_be_described_is_refused_only_while_no_task_has_it() {
    const FOREIGN: &str = "arn:aws:secretsmanager:eu-central-1:210987654321:secret:shop/token-AbCdEf";
    let (account, aws, before) = built(&with_secrets(TOKEN, TOKEN)).await;
    deny(&account, "secretsmanager", "DescribeSecret");
    let changed = changed(&before, "second", &with_secrets(TOKEN, FOREIGN));
    let problems = problems(&aws, &changed).await;
    assert_eq!(problems.len(), 1, "{problems:#?}");
    for said in [
        "service/mail: the key of the secret arn:aws:secretsmanager:eu-central-1:210987654321:secret:shop/token-AbCdEf",
        "(services.mail.secrets.TWO) is not known",
        "allow secretsmanager:DescribeSecret in the secret's own policy",
    ] {
        assert!(problems[0].contains(said), "{said}: {problems:#?}");
    }
    assert_at_rest(&account, &aws, &before).await;
}

#[tokio::test(start_paused = true)]
async fn an_image_that_a_pull_through_cache_gets_need_not_be_there_yet() {
    let account = account();
    account.seed(&Seed::PullThroughCache { prefix: "hub".into() });
    let registry = "123456789012.dkr.ecr.eu-central-1.amazonaws.com";
    let spec = WORKER.replace("image: mail", &format!("image: '{registry}/hub/library/nginx:1.29'"));
    let (aws, mut deployment) = ground(&account, &spec).await;
    ensure(&aws, &[NAME], &mut deployment).await;
    settle(&aws, &deployment).await.unwrap();
    let statement = statement(&aws, "ecr:BatchImportUpstreamImage").await;
    assert_eq!(statement[0]["Action"], json!(["ecr:BatchImportUpstreamImage", "ecr:CreateRepository"]));
    let repository = "arn:aws:ecr:eu-central-1:123456789012:repository/hub/library/nginx";
    assert_eq!(statement[0]["Resource"], json!([repository]));
    assert_at_rest(&account, &aws, &deployment).await;
    let other = WORKER.replace("image: mail", &format!("image: '{registry}/hubble/nginx:1.29'"));
    let problems = problems(&aws, &changed(&deployment, "second", &other)).await;
    assert!(problems[0].contains("has no repository hubble/nginx"), "{problems:#?}");
}

#[tokio::test(start_paused = true)]
async fn what_a_plan_may_not_ask_is_no_reason_to_fail() {
    let account = account();
    for (service, operation) in
        [("iam", "GetRole"), ("servicequotas", "GetServiceQuota"), ("ecr", "DescribePullThroughCacheRules")]
    {
        // The roles of the stack itself are read by the same operation, and must be.
        let nth = if operation == "GetRole" { 3 } else { 1 };
        account.arm(Fault::at(service, operation, When::From(nth), FaultKind::AccessDenied));
    }
    let registry = "123456789012.dkr.ecr.eu-central-1.amazonaws.com";
    let spec = WORKER.replace("image: mail", &format!("image: '{registry}/hub/nginx:1.29'"));
    let plan = act(&aws(&account), NAME, "plan", &deployment(&spec)).await.unwrap();
    assert_eq!((&plan["blocked"], &plan["problems"]), (&json!(false), &json!([])), "{plan}");
    let warnings = plan["warnings"].to_string();
    for said in ["L-3032A538", "has no repository hub/nginx, unless it comes through a pull-through cache"] {
        assert!(warnings.contains(said), "{said}: {warnings}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_plan_names_every_image_and_secret_that_does_not_exist_and_the_vcpus_that_are_lacking() {
    const NONE: &str = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:shop/none-AbCdEf";
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
    for (at, said) in [
        (0, "service/digest: there is no image"),
        (1, "this account's registry has no repository shop/male"),
        (2, "the repository shop/mail has none with the tag 2; push it first"),
        (
            3,
            "there is no secret arn:aws:secretsmanager:eu-central-1:123456789012:secret:shop/none-AbCdEf (services.secret.secrets.BAD)",
        ),
        (4, "service/large: 0 of the"),
    ] {
        assert!(problems[at].contains(said), "{said}: {problems:#?}");
    }
    assert_eq!(problems.len(), 5, "{problems:#?}");
    assert_eq!(writes(&account), Vec::<String>::new());
}
