//! Names of images that a private registry of ECR has.

use crate::component::Work;

/// An image in a private registry.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Private<'a> {
    account: &'a str,
    region: &'a str,
    pub(super) repository: &'a str,
    /// The digest, or else the tag.
    pub(super) id: Result<&'a str, &'a str>,
}

impl<'a> Private<'a> {
    /// Reads an image's name; `None` if no private registry of ECR has it.
    pub(super) fn read(image: &'a str) -> Option<Self> {
        let (host, path) = image.split_once('/')?;
        let [account, "dkr", "ecr", region, "amazonaws", "com"] = host.split('.').collect::<Vec<_>>()[..]
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
    pub(super) fn repository_arn(&self) -> String {
        format!("arn:aws:ecr:{}:{}:repository/{}", self.region, self.account, self.repository)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_decides_over_a_tag_and_latest_is_meant_by_neither() {
        let registry = "123456789012.dkr.ecr.eu-central-1.amazonaws.com";
        for (path, repository, id) in [
            ("web", "web", Err("latest")),
            ("shop/web:v1", "shop/web", Err("v1")),
            ("web@sha256:abc", "web", Ok("sha256:abc")),
            ("web:v1@sha256:abc", "web", Ok("sha256:abc")),
        ] {
            let image = format!("{registry}/{path}");
            let read = Private::read(&image).unwrap();
            assert_eq!((read.repository, read.id), (repository, id), "{path}");
            let arn = format!("arn:aws:ecr:eu-central-1:123456789012:repository/{repository}");
            assert_eq!(read.repository_arn(), arn);
        }
        assert_eq!(Private::read("nginx"), None);
        assert_eq!(Private::read("public.ecr.aws/nginx/nginx:1.27"), None);
    }
}
