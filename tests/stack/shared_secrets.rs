//! Which secrets and parameters of the account a stack may use: those that are named for it, and those that their owners share with
//! it by a tag.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::{Value, json};
use stackdrop::{Rehearsal, Setting};
use stackdrop_functions::deployment::outcome::Outcome;
use stackdrop_simulator::Seed;
use stackdrop_specs::Spec;

use crate::{PRIVATE, SHOP, cause, changes, deployed, object, pause, run, with};

const SECRET: &str = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:";
const PARAMETER: &str = "arn:aws:ssm:eu-central-1:123456789012:parameter";

/// A secret or parameter with the tag that shares it, if there is a value.
fn shared(arn: &str, with: Option<&str>) -> Seed {
    let tags: BTreeMap<String, String> =
        with.map(|with| ("stackdrop-access".to_owned(), with.to_owned())).into_iter().collect();
    let arn = arn.to_owned();
    if arn.starts_with(PARAMETER) {
        Seed::Parameter { arn, tags, kms_key: None }
    } else {
        Seed::SecretOf { arn, tags, kms_key: None }
    }
}

/// A stack of one service without routes, whose tasks read these.
fn worker(stack: &str, secrets: &[&str]) -> String {
    let variables: Vec<String> =
        secrets.iter().enumerate().map(|(number, arn)| format!("      V{number}: '{arn}'\n")).collect();
    format!(
        "stack: {stack}\nregion: eu-central-1\nservices:\n  mail:\n    image: public.ecr.aws/docker/library/nginx:1.29\n    \
         count: 1\n    secrets:\n{}",
        variables.concat()
    )
}

fn opened(seeds: Vec<Seed>, specs: &[&str]) -> Rehearsal {
    let specs: Vec<Spec> = specs.iter().map(|spec| Spec::read(spec.as_bytes()).unwrap()).collect();
    let specs: Vec<&Spec> = specs.iter().collect();
    Rehearsal::open(&Setting { seeds, ..Setting::default() }, &specs).unwrap()
}

/// The ARN of a role of a stack.
fn role(stack: &str, logical_id: &str) -> String {
    format!("arn:aws:iam::123456789012:role/stackdrop/stackdrop-{stack}-{logical_id}-eu-central-1")
}

#[tokio::test(start_paused = true)]
async fn a_spec_cannot_use_the_secret_of_another_stack() {
    let cases = [
        (format!("{SECRET}platform/root-AbCdEf"), None, "secret platform/root"),
        (format!("{SECRET}platform/mail-AbCdEf"), Some("shop-two"), "secret platform/mail"),
        // The names of stacks can begin alike.
        (format!("{SECRET}stackdrop/shop-two/key-AbCdEf"), None, "secret stackdrop/shop-two/key"),
        (format!("{SECRET}stackdrop/shop-AbCdEf"), None, "secret stackdrop/shop"),
        (format!("{PARAMETER}/platform/root"), None, "parameter /platform/root"),
        (format!("{PARAMETER}/root"), Some("shop-two"), "parameter root"),
        (format!("{PARAMETER}/stackdrop/shop-two/key"), None, "parameter /stackdrop/shop-two/key"),
    ];
    let seeds = cases.iter().map(|(arn, tag, _)| shared(arn, *tag)).collect();
    let rehearsal = opened(seeds, &[SHOP]);
    for (arn, _, name) in &cases {
        let spec = with(SHOP, &format!("{SECRET}stackdrop/shop/payment-Ab3dEf:key::"), arn);
        let refused = rehearsal.deploy(&spec, &()).await.unwrap();
        let error = refused.error().unwrap();
        let problem = format!("stack shop may not use {name} (services.web.secrets.PAYMENT_KEY)");
        assert!(error.contains(&problem), "{problem}: {error}");
        assert_eq!(changes(&refused), Vec::<String>::new(), "{arn}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_plan_says_how_the_owner_of_a_secret_can_share_it() {
    let (secret, parameter) = (format!("{SECRET}platform/root-AbCdEf"), format!("{PARAMETER}/platform/root"));
    let spec = worker("shop", &[&secret, &parameter]);
    let rehearsal = opened(vec![shared(&secret, None), shared(&parameter, None)], &[&spec]);
    let error = rehearsal.deploy(&spec, &()).await.unwrap().error().unwrap();
    for expected in [
        format!(
            "`aws secretsmanager tag-resource --secret-id {secret} --tags Key=stackdrop-access,Value=shop`"
        ),
        "whose name begins with stackdrop/shop/".into(),
        "`aws ssm add-tags-to-resource --resource-type Parameter --resource-id /platform/root --tags \
         Key=stackdrop-access,Value=shop`"
            .into(),
        "whose name begins with /stackdrop/shop/".into(),
    ] {
        assert!(error.contains(&expected), "{expected}: {error}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_parameter_of_another_account_is_refused() {
    let parameter = format!("{PARAMETER}/stackdrop/shop/key").replace("123456789012", "210987654321");
    let spec = worker("shop", &[&parameter]);
    let rehearsal = opened(Vec::new(), &[SHOP]);
    let refused = rehearsal.deploy(&spec, &()).await.unwrap();
    let error = refused.error().unwrap();
    assert!(error.contains("(services.mail.secrets.V0) is not in this account and region"), "{error}");
    assert_eq!(changes(&refused), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_tagged_secret_works_until_the_tag_is_removed() {
    let arn = format!("{SECRET}platform/mail-AbCdEf");
    let spec = worker("shop", &[&arn]);
    let rehearsal = opened(Vec::new(), &[&spec]);
    deployed(&rehearsal, &spec).await;
    let secrets = rehearsal.aws().secrets();
    secrets.untag_resource().secret_id(&arn).tag_keys("stackdrop-access").send().await.unwrap();
    assert!(!rehearsal.account().can_read(&role("shop", "execution"), &arn));
    // The running task has the value. A new one cannot start, although nothing has changed the stack's role.
    let quiet = run(&rehearsal, json!({ "stack": "shop" })).await;
    assert_eq!(quiet.result(), Outcome::Succeeded, "{:?}", quiet.error());
    let status = object(&rehearsal, "stacks/shop/status.json").await.unwrap();
    let warning =
        "no new task can start: stack shop may not use secret platform/mail (services.mail.secrets.V0)";
    assert!(status.to_string().contains(warning), "{status:#}");
    let refresh = json!({ "stack": "shop", "refreshImage": true });
    let failed = run(&rehearsal, refresh.clone()).await;
    assert_eq!(failed.result(), Outcome::Failed);
    let error = failed.error().unwrap();
    assert!(error.contains("its name or its tag stackdrop-access lets the stack use it"), "{error}");
    // Its owner shares it with all stacks.
    let tag = aws_sdk_secretsmanager::types::Tag::builder().key("stackdrop-access").value("*").build();
    secrets.tag_resource().secret_id(&arn).tags(tag).send().await.unwrap();
    let again = run(&rehearsal, refresh).await;
    assert_eq!(again.result(), Outcome::Succeeded, "{:?}", again.error());
}

#[tokio::test(start_paused = true)]
async fn a_task_reads_a_parameter_and_restarts_after_the_parameter_has_changed() {
    let parameter = format!("{PARAMETER}/stackdrop/shop/key");
    let spec = worker("shop", &[&parameter]);
    let rehearsal = opened(Vec::new(), &[&spec]);
    deployed(&rehearsal, &spec).await;
    let outdated = || {
        let tasks = rehearsal.account().outdated_tasks();
        tasks.into_iter().filter(|task| task.until.is_none()).count()
    };
    assert_eq!(cause(&rehearsal, "own-secrets-rotated"), [parameter]);
    pause(Duration::from_mins(1)).await;
    assert_eq!(outdated(), 1);
    let night = json!({ "stack": "shop", "action": "redeploy", "scheduled": true });
    let restarted = run(&rehearsal, night.clone()).await;
    assert_eq!(restarted.result(), Outcome::Succeeded, "{:?}", restarted.error());
    assert_eq!(changes(&restarted), ["ecs:UpdateService"]);
    pause(Duration::from_mins(1)).await;
    assert_eq!(outdated(), 0);
    assert_eq!(changes(&run(&rehearsal, night).await), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_task_without_internet_access_reads_an_encrypted_parameter() {
    let parameter = format!("{PARAMETER}/stackdrop/intranet/smtp");
    let spec = with(PRIVATE, &format!("{SECRET}intranet/smtp-Zz9yXx"), &parameter);
    let key = "arn:aws:kms:eu-central-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab";
    let seed =
        Seed::Parameter { arn: parameter.clone(), tags: BTreeMap::new(), kms_key: Some(key.to_owned()) };
    let rehearsal = opened(vec![seed], &[&spec]);
    deployed(&rehearsal, &spec).await;
    assert!(rehearsal.account().can_read(&role("intranet", "execution"), &parameter));
    assert!(!rehearsal.account().can_read(&role("intranet", "task"), &parameter));
}

/// The ARN of the secret of the stack's database.
async fn password(rehearsal: &Rehearsal, stack: &str) -> String {
    let baseline: Value = object(rehearsal, &format!("stacks/{stack}/baseline.json")).await.unwrap();
    baseline["outputs"]["database"]["secret"].as_str().unwrap().to_owned()
}

#[tokio::test(start_paused = true)]
async fn no_role_of_a_stack_reads_a_secret_of_another_stack() {
    let stacks = ["shop", "shop-two"];
    let own = |stack: &str| {
        [
            format!("{SECRET}stackdrop/{stack}/key-AbCdEf"),
            format!("{SECRET}platform/for-{stack}-AbCdEf"),
            format!("{PARAMETER}/stackdrop/{stack}/key"),
            format!("{PARAMETER}/platform/for-{stack}"),
        ]
    };
    let specs = stacks.map(|stack| {
        let secrets = own(stack);
        let secrets: Vec<&str> = secrets.iter().map(String::as_str).collect();
        worker(stack, &secrets) + "    database: { PASSWORD: password }\ndatabase: {}\n"
    });
    let closed = [format!("{SECRET}platform/root-AbCdEf"), format!("{PARAMETER}/platform/root")];
    let seeds = closed.iter().map(|arn| shared(arn, None)).collect();
    let rehearsal = opened(seeds, &[&specs[0], &specs[1]]);
    let mut owned: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for (stack, spec) in stacks.into_iter().zip(&specs) {
        deployed(&rehearsal, spec).await;
        owned.insert(stack, own(stack).into_iter().chain([password(&rehearsal, stack).await]).collect());
    }
    let all: BTreeSet<&String> = owned.values().flatten().chain(&closed).collect();
    let mut tried = 0;
    let mut foreign = Vec::new();
    for stack in stacks {
        for logical_id in ["execution", "task"] {
            let role = role(stack, logical_id);
            for arn in &all {
                tried += 1;
                let reads = rehearsal.account().can_read(&role, arn);
                if owned[stack].contains(*arn) {
                    assert_eq!(reads, logical_id == "execution", "{role} reads {arn}");
                } else if reads {
                    foreign.push(format!("{role} reads {arn}"));
                }
            }
        }
    }
    println!("secrets and parameters: {tried} reads tried, {} of other stacks allowed", foreign.len());
    assert_eq!(foreign, Vec::<String>::new());
}
