//! What a plan finds missing before anything is touched.

use crate::common::{aws, deployment, writes};
use crate::{MAIL, TOKEN, account, problems};

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
