//! Image names of private ECR registries, and the pull-through caches of this account's registry.

use crate::aws::error::unless_denied;
use crate::aws::error::{AwsResult, StepError};
use crate::contract::component::Work;

/// An image in a private ECR registry.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Private<'a> {
    account: &'a str,
    region: &'a str,
    pub(super) repository: &'a str,
    /// The digest, or else the tag.
    pub(super) id: Result<&'a str, &'a str>,
}

impl<'a> Private<'a> {
    /// Parses an image's name; `None` if it is not in a private ECR registry.
    pub(super) fn parse(image: &'a str) -> Option<Self> {
        let (host, path) = image.split_once('/')?;
        let host: Vec<&str> = host.split('.').collect();
        // In China the domain is amazonaws.com.cn (ECR user guide, "Amazon ECR private registry").
        let ([account, "dkr", "ecr", region, "amazonaws", "com"]
        | [account, "dkr", "ecr", region, "amazonaws", "com", "cn"]) = host[..]
        else {
            return None;
        };
        let (tagged, digest) = match path.split_once('@') {
            Some((tagged, digest)) => (tagged, Some(digest)),
            None => (path, None),
        };
        let (repository, tag) = tagged.split_once(':').unwrap_or((tagged, "latest"));
        Some(Self { account, region, repository, id: digest.ok_or(tag) })
    }

    pub(super) fn is_here(&self, work: &Work<'_>) -> bool {
        self.account == work.aws.settings.account && self.region == work.aws.settings.region
    }

    /// The repository's ARN.
    pub(super) fn repository_arn(&self, work: &Work<'_>) -> String {
        self.arn_in(&work.aws.settings.partition)
    }

    /// Credentials work only in their own partition, so the registry is in this partition too.
    fn arn_in(&self, partition: &str) -> String {
        format!("arn:{partition}:ecr:{}:{}:repository/{}", self.region, self.account, self.repository)
    }
}

/// The prefixes of repositories that this account's registry fills from other registries on a pull; `None` if unknown.
#[derive(Debug)]
pub(super) struct Caches(Option<Vec<String>>);

/// The prefix of a rule for all repositories. Source: `CreatePullThroughCacheRule` in the ECR API reference.
const ANY_REPOSITORY: &str = "ROOT";

impl Caches {
    /// Reads the cache rules, if the spec has an image in this registry.
    pub(super) async fn read(work: &Work<'_>) -> Result<Self, StepError> {
        let images = work.spec.services.values().filter_map(|service| Private::parse(&service.image));
        if !images.into_iter().any(|image| image.is_here(work)) {
            return Ok(Self(Some(Vec::new())));
        }
        let pages = work.aws.ecr().describe_pull_through_cache_rules().into_paginator().items();
        let rules: Result<Vec<_>, _> = pages.send().try_collect().await;
        let rules = unless_denied(rules.doing("listing the pull-through cache rules of the registry"))?;
        let prefixes = |rules: Vec<aws_sdk_ecr::types::PullThroughCacheRule>| {
            rules.into_iter().filter_map(|rule| rule.ecr_repository_prefix).collect()
        };
        Ok(Self(rules.map(prefixes)))
    }

    /// Whether the cache rules could be read.
    pub(super) fn are_known(&self) -> bool {
        self.0.is_some()
    }

    /// Whether a cache fills the image's repository.
    pub(super) fn cover(&self, work: &Work<'_>, image: &Private<'_>) -> bool {
        let under = |prefix: &String| {
            let rest = image.repository.strip_prefix(prefix.as_str());
            prefix == ANY_REPOSITORY || rest.is_some_and(|rest| rest.starts_with('/'))
        };
        image.is_here(work) && self.0.iter().flatten().any(under)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_takes_precedence_over_a_tag_and_the_default_tag_is_latest() {
        let registry = "123456789012.dkr.ecr.eu-central-1.amazonaws.com";
        for (path, repository, id) in [
            ("web", "web", Err("latest")),
            ("shop/web:v1", "shop/web", Err("v1")),
            ("web@sha256:abc", "web", Ok("sha256:abc")),
            ("web:v1@sha256:abc", "web", Ok("sha256:abc")),
        ] {
            let image = format!("{registry}/{path}");
            let parsed = Private::parse(&image).unwrap();
            assert_eq!((parsed.repository, parsed.id), (repository, id), "{path}");
            let arn = format!("arn:aws:ecr:eu-central-1:123456789012:repository/{repository}");
            assert_eq!(parsed.arn_in("aws"), arn);
        }
        let chinese = Private::parse("123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn/web").unwrap();
        assert_eq!(chinese.arn_in("aws-cn"), "arn:aws-cn:ecr:cn-north-1:123456789012:repository/web");
        assert_eq!(Private::parse("nginx"), None);
        assert_eq!(Private::parse("public.ecr.aws/nginx/nginx:1.27"), None);
    }
}
