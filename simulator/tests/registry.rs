//! ECR with an unmodified SDK.

#![expect(clippy::unwrap_used, reason = "what a test's helper does not expect fails the test")]

mod common;

use aws_sdk_ecr::error::ProvideErrorMetadata;
use aws_sdk_ecr::types::ImageIdentifier;
use common::{account, sdk};
use stackdrop_simulator::Seed;

const REGISTRY: &str = "123456789012.dkr.ecr.eu-central-1.amazonaws.com";

#[tokio::test(start_paused = true)]
async fn an_image_is_found_by_its_tag_until_the_tag_moves_and_by_its_digest() {
    let account = account();
    let ecr = aws_sdk_ecr::Client::new(&sdk(&account));
    account.seed(&Seed::Image { image: format!("{REGISTRY}/shop/web:v1") });
    let find = |id: ImageIdentifier| ecr.describe_images().repository_name("shop/web").image_ids(id).send();
    let by_tag = |tag: &str| find(ImageIdentifier::builder().image_tag(tag).build());
    let details = by_tag("v1").await.unwrap().image_details.unwrap();
    let digest = details[0].image_digest().unwrap();
    assert_eq!(details[0].image_tags(), ["v1"]);
    let by_digest = find(ImageIdentifier::builder().image_digest(digest).build()).await.unwrap();
    assert_eq!(by_digest.image_details(), details);
    account.seed(&Seed::Image { image: format!("{REGISTRY}/shop/web:v2") });
    assert_ne!(by_tag("v2").await.unwrap().image_details()[0].image_digest(), Some(digest));
    assert_eq!(
        ecr.describe_images().repository_name("shop/web").send().await.unwrap().image_details().len(),
        2
    );
}

#[tokio::test(start_paused = true)]
async fn images_that_a_registry_lacks_are_refused() {
    let account = account();
    account.seed(&Seed::Image { image: format!("{REGISTRY}/web:v1") });
    let ecr = aws_sdk_ecr::Client::new(&sdk(&account));
    let v2 = || ImageIdentifier::builder().image_tag("v2").build();
    for (repository, registry, code) in [
        ("web", None, "ImageNotFoundException"),
        ("wbe", None, "RepositoryNotFoundException"),
        ("web", Some("210987654321"), "AccessDeniedException"),
    ] {
        let call =
            ecr.describe_images().repository_name(repository).set_registry_id(registry.map(str::to_owned));
        let refused = call.image_ids(v2()).send().await.unwrap_err().into_service_error();
        assert_eq!(refused.code(), Some(code));
    }
}

#[tokio::test(start_paused = true)]
async fn a_prefix_has_one_pull_through_rule() {
    let account = account();
    let ecr = aws_sdk_ecr::Client::new(&sdk(&account));
    let rule = || {
        let call = ecr.create_pull_through_cache_rule().ecr_repository_prefix("docker-hub");
        call.upstream_registry_url("registry-1.docker.io").send()
    };
    rule().await.unwrap();
    let again = rule().await.unwrap_err().into_service_error();
    assert_eq!(again.code(), Some("PullThroughCacheRuleAlreadyExistsException"));
    let rules = ecr.describe_pull_through_cache_rules().send().await.unwrap();
    assert_eq!(rules.pull_through_cache_rules()[0].ecr_repository_prefix(), Some("docker-hub"));
}
