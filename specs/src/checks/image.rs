//! The names of container images.

use super::{is_lower_or_digit, require};

/// `[REGISTRY/]PATH[:TAG][@DIGEST]`, in the reference grammar of the distribution project.
pub(crate) fn image(text: &str, _: &()) -> garde::Result {
    let is_valid = text.len() <= 255 && is_reference(text);
    require(
        is_valid,
        || format!("invalid image name `{text}`"),
        "REGISTRY/PATH:TAG or REGISTRY/PATH@sha256:DIGEST in lowercase, such as nginx:1.29",
    )
}

fn is_reference(text: &str) -> bool {
    let (named, digest) = text.split_once('@').map_or((text, None), |(named, digest)| (named, Some(digest)));
    // A colon after the last slash belongs to a tag, one before it to a port.
    let (name, tag) = match named.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
        _ => (named, None),
    };
    let path = match name.split_once('/') {
        Some((registry, path)) if registry.contains(['.', ':']) || registry == "localhost" => {
            if !is_registry(registry) {
                return false;
            }
            path
        }
        _ => name,
    };
    path.split('/').all(is_path_component) && tag.is_none_or(is_tag) && digest.is_none_or(is_digest)
}

fn is_registry(text: &str) -> bool {
    let (host, port) = text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port)));
    host.split('.').all(|label| super::is_label(&label.to_ascii_lowercase()))
        && port.is_none_or(|port| port.parse::<u16>().is_ok())
}

/// Letters and digits with `.`, `_`, `__` or hyphens between them.
fn is_path_component(text: &str) -> bool {
    text.starts_with(is_lower_or_digit)
        && text.ends_with(is_lower_or_digit)
        && text
            .split(is_lower_or_digit)
            .all(|between| ["", ".", "_", "__"].contains(&between) || between.chars().all(|c| c == '-'))
}

fn is_tag(text: &str) -> bool {
    (1..=128).contains(&text.len())
        && !text.starts_with(['.', '-'])
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c))
}

fn is_digest(text: &str) -> bool {
    text.strip_prefix("sha256:").is_some_and(|hex| {
        hex.len() == 64 && hex.chars().all(|c| c.is_ascii_digit() || ('a'..='f').contains(&c))
    })
}

/// The region of an image in a private ECR registry; `None` for any other image.
pub(crate) fn ecr_region(image: &str) -> Option<&str> {
    let (registry, _) = image.split_once('/')?;
    let (account, rest) = registry.split_once(".dkr.ecr.")?;
    let (region, domain) = rest.split_once('.')?;
    let known = account.len() == 12
        && account.chars().all(|c| c.is_ascii_digit())
        && ["amazonaws.com", "amazonaws.com.cn"].contains(&domain);
    known.then_some(region)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn valid_image_names_are_accepted() {
        let digest = format!("nginx@sha256:{}", "0123456789abcdef".repeat(4));
        for text in [
            "nginx",
            "nginx:1.29-alpine",
            "library/nginx",
            "ghcr.io/owner/some_app__x.y---z:v1",
            "localhost:5000/app",
            "registry:5000/app:1",
            "123456789012.dkr.ecr.eu-central-1.amazonaws.com/shop/web:1.4.2",
            &digest,
        ] {
            assert!(image(text, &()).is_ok(), "{text}");
        }
    }

    #[test]
    fn invalid_image_names_are_refused() {
        for text in [
            "",
            ":",
            "Nginx",
            "nginx:",
            "nginx:.1",
            "a//b",
            "-a",
            "a-",
            "a/b c",
            "nginx@sha256:12",
            "a..b",
            "a___b",
            "https://ghcr.io/a",
            "ghcr.io/",
            "x:99999/app",
        ] {
            assert!(image(text, &()).is_err(), "{text}");
        }
    }

    #[test]
    fn only_private_ecr_images_have_a_region() {
        assert_eq!(ecr_region("123456789012.dkr.ecr.eu-central-1.amazonaws.com/web"), Some("eu-central-1"));
        assert_eq!(ecr_region("public.ecr.aws/nginx/nginx"), None);
        assert_eq!(ecr_region("nginx"), None);
        assert_eq!(ecr_region("123456789012.dkr.ecr.eu-central-1.example.com/web"), None);
    }
}
