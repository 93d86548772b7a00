//! ECR: the images of the account's private registry, and the pull-through cache rules. Pushing is not supported.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::{Service, unknown};
use crate::authorization::{AccessRequests, denied_to_role};
use crate::params::{Params, Refusal};
use crate::protocol::Reply;
use crate::world::World;

pub(crate) static SERVICE: Service =
    Service::json("ecr", "1.1", "AmazonEC2ContainerRegistry_V20150921", act, access);

/// The state of this service.
#[derive(Debug, Clone, Default)]
pub(crate) struct State {
    /// The tags of each image, by repository and digest.
    repositories: BTreeMap<String, BTreeMap<String, BTreeSet<String>>>,
    /// The registry from which repositories are pulled through, by prefix.
    caches: BTreeMap<String, String>,
}

/// An image in a private registry, as a task definition names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reference {
    pub(crate) account: String,
    pub(crate) region: String,
    pub(crate) repository: String,
    selector: Selector,
}

/// The selector of an image within a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Selector {
    Tag(String),
    Digest(String),
}

impl Reference {
    /// Reads an image's name; `None` if it is not in a private ECR registry.
    pub(crate) fn read(image: &str) -> Option<Self> {
        let (host, rest) = image.split_once('/')?;
        let [account, "dkr", "ecr", region, "amazonaws", "com"] = host.split('.').collect::<Vec<_>>()[..]
        else {
            return None;
        };
        let (repository, selector) = match (rest.split_once('@'), rest.split_once(':')) {
            // A digest takes precedence over a tag.
            (Some((name, digest)), _) => {
                (name.split(':').next().unwrap_or(name), Selector::Digest(digest.to_owned()))
            }
            (None, Some((name, tag))) => (name, Selector::Tag(tag.to_owned())),
            (None, None) => (rest, Selector::Tag("latest".into())),
        };
        Some(Self {
            account: account.to_owned(),
            region: region.to_owned(),
            repository: repository.to_owned(),
            selector,
        })
    }

    /// The repository's ARN.
    pub(crate) fn repository_arn(&self) -> String {
        format!("arn:aws:ecr:{}:{}:repository/{}", self.region, self.account, self.repository)
    }

    /// Whether the image is in the simulated registry.
    fn is_here(&self, world: &World) -> bool {
        self.account == world.account && self.region == world.region
    }
}

/// Adds an image to the account's registry. Images of other registries are not kept.
pub(crate) fn seed(world: &mut World, image: &str) {
    let Some(reference) = Reference::read(image).filter(|reference| reference.is_here(world)) else { return };
    let images = world.states.ecr.repositories.entry(reference.repository).or_default();
    match reference.selector {
        Selector::Digest(digest) => {
            images.entry(digest).or_default();
        }
        Selector::Tag(tag) => {
            let digest = format!("sha256:{}", hex::encode(Sha256::digest(image)));
            // A tag belongs to one image: it moves.
            for tags in images.values_mut() {
                tags.remove(&tag);
            }
            images.entry(digest).or_default().insert(tag);
        }
    }
}

/// Whether a task can pull an image. Images of other registries are assumed to exist.
pub(crate) fn has(world: &World, reference: &Reference) -> bool {
    !reference.is_here(world) || holds(world, reference) || pulls_through(world, reference)
}

fn holds(world: &World, reference: &Reference) -> bool {
    let images = world.states.ecr.repositories.get(&reference.repository);
    images.is_some_and(|images| match &reference.selector {
        Selector::Digest(digest) => images.contains_key(digest),
        Selector::Tag(tag) => images.values().any(|tags| tags.contains(tag)),
    })
}

/// Whether a repository is filled from another registry on a pull. The other registry is assumed to have the image.
fn pulls_through(world: &World, reference: &Reference) -> bool {
    let under = |prefix: &String| {
        let rest = reference.repository.strip_prefix(prefix.as_str());
        prefix == "ROOT" || rest.is_some_and(|rest| rest.starts_with('/'))
    };
    reference.is_here(world) && world.states.ecr.caches.keys().any(under)
}

/// Adds a rule that pulls images under a prefix from Docker Hub.
pub(crate) fn seed_cache(world: &mut World, prefix: &str) {
    world.states.ecr.caches.insert(prefix.into(), "registry-1.docker.io".into());
}

/// AWS's message if a role cannot get a token for the account's registry.
pub(crate) fn denied_token(world: &World, role: &str, session: &str) -> Option<String> {
    let mut requests = AccessRequests::new(world, "ecr", "GetAuthorizationToken");
    requests.no_resource();
    denied_to_role(role, session, requests)
}

/// AWS's message if a role cannot pull an image. Source: "Task execution IAM role permissions" in the ECS developer
/// guide, and for images of another registry "IAM permissions required to sync an upstream registry" in the ECR user
/// guide.
pub(crate) fn denied_pull(world: &World, role: &str, session: &str, reference: &Reference) -> Option<String> {
    let mut needs = vec!["BatchCheckLayerAvailability", "GetDownloadUrlForLayer", "BatchGetImage"];
    if !holds(world, reference) && pulls_through(world, reference) {
        needs.push("BatchImportUpstreamImage");
        if !world.states.ecr.repositories.contains_key(&reference.repository) {
            needs.push("CreateRepository");
        }
    }
    needs.into_iter().find_map(|operation| {
        let mut requests = AccessRequests::new(world, "ecr", operation);
        requests.resource("repository", reference.repository_arn(), None);
        denied_to_role(role, session, requests)
    })
}

/// The permissions that a call needs.
fn access(world: &World, operation: &str, params: &Params, requests: &mut AccessRequests<'_>) {
    if operation.ends_with("PullThroughCacheRule") || operation.ends_with("PullThroughCacheRules") {
        requests.no_resource();
        return;
    }
    let registry = params.text("registryId").unwrap_or_else(|| world.account.clone());
    let name = params.text("repositoryName").unwrap_or_default();
    requests.resource(
        "repository",
        format!("arn:aws:ecr:{}:{registry}:repository/{name}", world.region),
        None,
    );
}

fn act(world: &mut World, operation: &str, params: &Params) -> Result<Reply, Refusal> {
    match operation {
        "DescribeImages" => describe_images(world, params),
        "CreatePullThroughCacheRule" => create_cache(world, params),
        "DescribePullThroughCacheRules" => describe_caches(world, params),
        _ => Err(unknown("ecr", operation)),
    }
}

fn create_cache(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let prefix = params.required("ecrRepositoryPrefix")?;
    let upstream = params.required("upstreamRegistryUrl")?;
    params.done()?;
    if world.states.ecr.caches.contains_key(&prefix) {
        return Err(Refusal::new(
            "PullThroughCacheRuleAlreadyExistsException",
            format!("A pull through cache rule with the repository prefix '{prefix}' already exists"),
        ));
    }
    let rule = cache(world, &prefix, &upstream);
    world.states.ecr.caches.insert(prefix, upstream);
    Ok(rule.into())
}

/// Returns one page: a registry has at most 50 rules (quota), a page 100.
fn describe_caches(world: &World, params: &Params) -> Result<Reply, Refusal> {
    params.done()?;
    let rules: Vec<Value> =
        world.states.ecr.caches.iter().map(|(prefix, upstream)| cache(world, prefix, upstream)).collect();
    Ok(json!({ "pullThroughCacheRules": rules }).into())
}

fn cache(world: &World, prefix: &str, upstream: &str) -> Value {
    json!({ "registryId": world.account, "ecrRepositoryPrefix": prefix, "upstreamRegistryUrl": upstream })
}

fn describe_images(world: &World, params: &Params) -> Result<Reply, Refusal> {
    let name = params.required("repositoryName")?;
    let registry = params.text("registryId").unwrap_or_else(|| world.account.clone());
    let asked: Vec<(Option<String>, Option<String>)> = params
        .structs("imageIds")
        .iter()
        .map(|asked| (asked.text("imageDigest"), asked.text("imageTag")))
        .collect();
    params.done()?;
    if registry != world.account {
        // Another account answers only if its repository's policy allows it.
        let arn = format!("arn:aws:ecr:{}:{registry}:repository/{name}", world.region);
        return Err(Refusal::new(
            "AccessDeniedException",
            format!(
                "User: arn:aws:sts::{}:assumed-role/stackdrop/simulated is not authorized to perform: ecr:DescribeImages on resource: {arn} because no resource-based policy allows the ecr:DescribeImages action",
                world.account
            ),
        ));
    }
    let Some(images) = world.states.ecr.repositories.get(&name) else {
        return Err(Refusal::new(
            "RepositoryNotFoundException",
            format!("The repository with name '{name}' does not exist in the registry with id '{registry}'"),
        ));
    };
    let mut found = BTreeMap::new();
    for (digest, tag) in &asked {
        let fits = |(known, tags): &(&String, &BTreeSet<String>)| {
            digest.as_ref().is_none_or(|digest| digest == *known)
                && tag.as_ref().is_none_or(|tag| tags.contains(tag))
        };
        let Some((digest, tags)) = images.iter().find(fits) else {
            let shown = |value: &Option<String>| value.clone().unwrap_or_else(|| "null".into());
            return Err(Refusal::new(
                "ImageNotFoundException",
                format!(
                    "The image with imageId {{imageDigest:'{}', imageTag:'{}'}} does not exist within the repository with name '{name}' in the registry with id '{registry}'",
                    shown(digest),
                    shown(tag)
                ),
            ));
        };
        found.insert(digest, tags);
    }
    if asked.is_empty() {
        found.extend(images);
    }
    let details: Vec<Value> =
        found.into_iter().map(|(digest, tags)| image_detail(&registry, &name, digest, tags)).collect();
    Ok(json!({ "imageDetails": details }).into())
}

fn image_detail(registry: &str, repository: &str, digest: &str, tags: &BTreeSet<String>) -> Value {
    let mut detail = json!({
        "registryId": registry,
        "repositoryName": repository,
        "imageDigest": digest,
        "imageSizeInBytes": 48_000_000,
        "imageManifestMediaType": "application/vnd.docker.distribution.manifest.v2+json",
    });
    // An image without tags has no such field instead of an empty list.
    if !tags.is_empty() {
        detail["imageTags"] = json!(tags);
    }
    detail
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_has_a_tag_or_a_digest_and_latest_is_the_default() {
        let registry = "123456789012.dkr.ecr.eu-central-1.amazonaws.com";
        for (rest, repository, selector) in [
            ("web", "web", Selector::Tag("latest".into())),
            ("shop/web:v1", "shop/web", Selector::Tag("v1".into())),
            ("web@sha256:abc", "web", Selector::Digest("sha256:abc".into())),
            ("web:v1@sha256:abc", "web", Selector::Digest("sha256:abc".into())),
        ] {
            let read = Reference::read(&format!("{registry}/{rest}")).unwrap();
            assert_eq!((read.repository.as_str(), &read.selector), (repository, &selector), "{rest}");
        }
        assert_eq!(Reference::read("public.ecr.aws/nginx/nginx:1.27"), None);
    }
}
