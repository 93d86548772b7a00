//! Checks of single values. `garde` calls them for the fields that name them.
//!
//! Rules about more than one value are in `rules`.

mod image;
mod schedule;

use crate::forms;
use ipnet::Ipv4Net;

pub(crate) use self::image::{ecr_region, image};
pub(crate) use self::schedule::{rotation, schedule, timezone};
use crate::subnets::{LARGEST_VPC, SMALLEST_VPC};

/// An error for `garde`, whose errors are a single text: the message, a line break, and what is expected.
pub(crate) fn refuse(message: impl AsRef<str>, expected: impl AsRef<str>) -> garde::Result {
    Err(garde::Error::new(format!("{}\n{}", message.as_ref(), expected.as_ref())))
}

fn require(is_valid: bool, message: impl FnOnce() -> String, expected: &str) -> garde::Result {
    if is_valid { Ok(()) } else { refuse(message(), expected) }
}

fn is_lower_or_digit(c: char) -> bool {
    c.is_ascii_lowercase() || c.is_ascii_digit()
}

/// A label of a DNS name (RFC 1123).
pub(crate) fn is_label(text: &str) -> bool {
    (1..=63).contains(&text.len())
        && text.chars().all(|c| is_lower_or_digit(c) || c == '-')
        && !text.starts_with('-')
        && !text.ends_with('-')
}

pub(crate) fn region(region: &str, _: &()) -> garde::Result {
    let parts: Vec<&str> = region.split('-').collect();
    let is_valid = match parts[..] {
        [area, ref middle @ .., number] => {
            area.len() == 2
                && !middle.is_empty()
                && std::iter::once(&area)
                    .chain(middle)
                    .all(|part| !part.is_empty() && part.chars().all(|c| c.is_ascii_lowercase()))
                && number.len() == 1
                && number.chars().all(|c| c.is_ascii_digit())
        }
        _ => false,
    };
    require(is_valid, || format!("invalid AWS region `{region}`"), "a region code, such as eu-central-1")
}

pub(crate) fn zone(zone: &str, _: &()) -> garde::Result {
    let split = zone.char_indices().next_back().filter(|(_, letter)| letter.is_ascii_lowercase());
    let is_valid = split.is_some_and(|(end, _)| region(&zone[..end], &()).is_ok());
    require(
        is_valid,
        || format!("invalid availability zone `{zone}`"),
        "the name of a zone, such as us-east-1e",
    )
}

/// The largest range of a route that is kept: a larger one could replace the stack's own way to the internet.
const LARGEST_KEPT_ROUTE: u8 = 8;

pub(crate) fn kept_route(cidr: &Ipv4Net, _: &()) -> garde::Result {
    if cidr.addr() != cidr.network() {
        return refuse(format!("`{cidr}` has host bits set"), format!("{}", cidr.trunc()));
    }
    require(
        cidr.prefix_len() >= LARGEST_KEPT_ROUTE,
        || format!("`{cidr}` is too large for a route to another network"),
        "a range from /8 to /32",
    )
}

pub(crate) fn vpc(cidr: &Ipv4Net, _: &()) -> garde::Result {
    // RFC 1918.
    let private = [([10, 0, 0, 0], 8), ([172, 16, 0, 0], 12), ([192, 168, 0, 0], 16)]
        .map(|(address, length)| Ipv4Net::new_assert(address.into(), length));
    if cidr.addr() != cidr.network() {
        return refuse(format!("`{cidr}` has host bits set"), format!("{}", cidr.trunc()));
    }
    if cidr.prefix_len() < LARGEST_VPC {
        return refuse(
            format!("`{cidr}` is too large for a VPC"),
            format!("a range from /{LARGEST_VPC} to /{SMALLEST_VPC}"),
        );
    }
    if cidr.prefix_len() > SMALLEST_VPC {
        return refuse(
            format!("`{cidr}` is too small for public, private and database subnets in three zones"),
            format!("a range from /{LARGEST_VPC} to /{SMALLEST_VPC}"),
        );
    }
    require(
        private.iter().any(|range| range.contains(cidr)),
        || format!("`{cidr}` is not a private range"),
        "a range inside 10.0.0.0/8, 172.16.0.0/12 or 192.168.0.0/16",
    )
}

/// An ARN's partition, service, region, account and the rest.
pub(crate) fn arn(text: &str) -> Option<[&str; 5]> {
    let mut parts = text.splitn(6, ':');
    if parts.next() != Some("arn") {
        return None;
    }
    let parts = [parts.next()?, parts.next()?, parts.next()?, parts.next()?, parts.next()?];
    let [partition, _, region, account, _] = parts;
    let known = partition.starts_with("aws")
        && partition.chars().all(|c| c.is_ascii_lowercase() || c == '-')
        && self::region(region, &()).is_ok()
        && account.len() == 12
        && account.chars().all(|c| c.is_ascii_digit());
    known.then_some(parts)
}

pub(crate) fn certificate(text: &str, _: &()) -> garde::Result {
    let is_valid = arn(text).is_some_and(|[_, service, _, _, resource]| {
        service == "acm"
            && resource
                .strip_prefix("certificate/")
                .is_some_and(|id| !id.is_empty() && id.chars().all(|c| c.is_ascii_alphanumeric() || c == '-'))
    });
    require(
        is_valid,
        || format!("invalid ACM certificate ARN `{text}`"),
        "arn:aws:acm:REGION:ACCOUNT:certificate/ID",
    )
}

/// Source of the forms: `WebACL`, `Name` and `Id`, in the API reference of AWS WAF V2.
pub(crate) fn web_acl(text: &str, _: &()) -> garde::Result {
    let form = "arn:aws:wafv2:REGION:ACCOUNT:regional/webacl/NAME/ID";
    let parts = arn(text).filter(|[_, service, ..]| *service == "wafv2");
    if parts.is_some_and(|[.., resource]| resource.starts_with("global/")) {
        return refuse(format!("the web ACL `{text}` can protect no load balancer, only CloudFront"), form);
    }
    let is_name = |name: &str| {
        (1..=128).contains(&name.len()) && name.chars().all(|c| c.is_ascii_alphanumeric() || "_-".contains(c))
    };
    let is_hex = |part: &str| part.chars().all(|c| c.is_ascii_digit() || ('a'..='f').contains(&c));
    let is_id = |id: &str| id.split('-').all(is_hex) && id.split('-').map(str::len).eq([8, 4, 4, 4, 12]);
    let is_valid = parts.is_some_and(|[.., resource]| {
        let path = resource.strip_prefix("regional/webacl/").and_then(|path| path.split_once('/'));
        path.is_some_and(|(name, id)| is_name(name) && is_id(id))
    });
    require(is_valid, || format!("invalid ARN of a web ACL `{text}`"), form)
}

/// The `valueFrom` of ECS for a secret of Secrets Manager or a parameter of Systems Manager: the full ARN.
pub(crate) fn secret(text: &str) -> garde::Result {
    let is_valid = arn(text).is_some_and(|[_, service, _, _, resource]| match service {
        "secretsmanager" => is_secret(resource),
        "ssm" => resource.strip_prefix("parameter/").is_some_and(is_parameter_path),
        _ => false,
    });
    require(
        is_valid,
        || format!("invalid ARN of a secret or parameter `{text}`"),
        "the full ARN arn:aws:secretsmanager:REGION:ACCOUNT:secret:NAME-xxxxxx, followed by `:KEY::` for one key of a JSON \
         secret; or arn:aws:ssm:REGION:ACCOUNT:parameter/NAME",
    )
}

/// The end of a secret's ARN, followed for one key of a JSON secret by `:KEY:STAGE:VERSION`, of which the last two can be
/// empty.
fn is_secret(resource: &str) -> bool {
    let parts: Vec<&str> = resource.split(':').collect();
    let (["secret", name] | ["secret", name, _, _, _]) = parts[..] else { return false };
    let Some((start, suffix)) = name.rsplit_once('-') else { return false };
    !start.is_empty()
        && start.chars().all(|c| c.is_ascii_alphanumeric() || "/_+=.@-".contains(c))
        && suffix.len() == 6
        && suffix.chars().all(|c| c.is_ascii_alphanumeric())
}

/// A parameter's name without its leading slash. Source: `Name` of `PutParameter` in the API reference of Systems Manager.
fn is_parameter_path(path: &str) -> bool {
    path.split('/')
        .all(|part| !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c)))
}

pub(crate) fn domain(name: &str, _: &()) -> garde::Result {
    let labels: Vec<&str> = name.split('.').collect();
    // A certificate's first name has at most 64 characters (`RequestCertificate`).
    let is_valid = name.len() <= 64
        && labels.len() >= 2
        && labels.iter().all(|label| is_label(label))
        && labels.last().is_some_and(|last| last.chars().any(|c| c.is_ascii_lowercase()));
    require(
        is_valid,
        || format!("invalid domain name `{name}`"),
        "lowercase labels separated by dots, at most 64 characters, such as shop.example.com",
    )
}

pub(crate) fn hosted_zone(id: &str, _: &()) -> garde::Result {
    let is_valid = (2..=32).contains(&id.len())
        && id.starts_with('Z')
        && id.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit());
    require(
        is_valid,
        || format!("invalid hosted zone ID `{id}`"),
        "the ID alone, such as Z0123456789ABCDEFGHIJ",
    )
}

pub(crate) fn tls_policy(name: &str, _: &()) -> garde::Result {
    require(
        forms::TLS_POLICIES.contains(&name),
        || format!("unknown or unsafe TLS policy `{name}`"),
        &forms::TLS_POLICIES.join(", "),
    )
}

pub(crate) fn bucket(name: &str, _: &()) -> garde::Result {
    let is_valid = (3..=63).contains(&name.len())
        && name.chars().all(|c| is_lower_or_digit(c) || c == '-' || c == '.')
        && name.starts_with(is_lower_or_digit)
        && name.ends_with(is_lower_or_digit)
        && !name.contains("..")
        && name.parse::<std::net::Ipv4Addr>().is_err()
        && !name.starts_with("xn--")
        && !name.ends_with("-s3alias");
    require(
        is_valid,
        || format!("invalid bucket name `{name}`"),
        "3 to 63 lowercase letters, digits, hyphens and dots",
    )
}

pub(crate) fn prefix(prefix: &str, _: &()) -> garde::Result {
    // Elastic Load Balancing and EC2 append `AWSLogs` to the prefix, and refuse a prefix that contains it.
    let is_valid = (1..=200).contains(&prefix.len())
        && !prefix.starts_with('/')
        && !prefix.ends_with('/')
        && !prefix.contains("AWSLogs")
        && prefix.chars().all(|c| c.is_ascii_alphanumeric() || "/!-_.*'()".contains(c));
    require(
        is_valid,
        || format!("invalid prefix for logs `{prefix}`"),
        "at most 200 letters, digits and `/!-_.*'()`, without a slash at either end and without `AWSLogs`",
    )
}

/// A folder in a container that is writable although the container's root file system is not.
pub(crate) fn writable_path(path: &str, _: &()) -> garde::Result {
    let is_part = |part: &str| {
        !part.is_empty()
            && ![".", ".."].contains(&part)
            && part.chars().all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c))
    };
    let mut parts = path.strip_prefix('/').unwrap_or_default().split('/');
    if path.len() > 255 || !parts.clone().all(is_part) {
        return refuse(
            format!("invalid path `{path}`"),
            "the absolute path of a folder, such as /tmp: at most 255 letters, digits and `/_.-`, without a slash at the end",
        );
    }
    // The container runtime mounts its own file systems there.
    require(
        parts.next().is_none_or(|first| !["dev", "proc", "sys"].contains(&first)),
        || format!("`{path}` belongs to the system"),
        "a folder outside /dev, /proc and /sys",
    )
}

pub(crate) fn health_path(path: &str, _: &()) -> garde::Result {
    let is_valid = path.starts_with('/') && path.len() <= 1024 && path.chars().all(|c| c.is_ascii_graphic());
    require(
        is_valid,
        || format!("invalid health check path `{path}`"),
        "a path that starts with `/`, at most 1024 visible ASCII characters",
    )
}

/// `CreateTargetGroup`, `Matcher`: from 200 to 499 for an application load balancer.
pub(crate) fn codes(codes: &str, _: &()) -> garde::Result {
    let code =
        |text: &str| text.parse::<u16>().ok().filter(|code| text.len() == 3 && (200..=499).contains(code));
    let is_valid = codes.split(',').all(|part| match part.split_once('-') {
        None => code(part).is_some(),
        Some((first, last)) => matches!((code(first), code(last)), (Some(first), Some(last)) if first < last),
    });
    require(
        is_valid,
        || format!("invalid status codes `{codes}`"),
        "codes from 200 to 499, such as `200`, `200,302` or `200-399`",
    )
}

/// The largest number of wildcards in a rule's conditions (Application Load Balancers, "Quotas").
pub(crate) const WILDCARDS_MAX: usize = 5;

pub(crate) fn wildcards(pattern: &str) -> usize {
    pattern.chars().filter(|c| "*?".contains(*c)).count()
}

pub(crate) fn path_pattern(pattern: &str, _: &()) -> garde::Result {
    let is_valid = (1..=128).contains(&pattern.len())
        && pattern.starts_with(['/', '*', '?'])
        && pattern.chars().all(|c| c.is_ascii_alphanumeric() || "_-.$/~\"'@:+&*?".contains(c));
    if is_valid && pattern.contains("**") {
        return refuse(
            format!("consecutive `*` in `{pattern}`"),
            "one `*`, which matches any number of characters",
        );
    }
    require(
        is_valid,
        || format!("invalid path pattern `{pattern}`"),
        "`/`, then letters, digits, `_-.$/~\"'@:+&`, `*` for any characters and `?` for one character; at most 128 characters",
    )
}

pub(crate) fn host_pattern(pattern: &str, _: &()) -> garde::Result {
    let end = pattern.rsplit_once('.').map_or("", |(_, end)| end);
    let is_valid = (1..=128).contains(&pattern.len())
        && pattern.chars().all(|c| is_lower_or_digit(c) || "-.*?".contains(c))
        && !pattern.contains("..")
        && !pattern.starts_with('.')
        && !end.is_empty()
        && end.chars().all(|c| c.is_ascii_lowercase() || "*?".contains(c));
    if is_valid && pattern.contains("**") {
        return refuse(
            format!("consecutive `*` in `{pattern}`"),
            "one `*`, which matches any number of characters",
        );
    }
    require(
        is_valid,
        || format!("invalid host pattern `{pattern}`"),
        "lowercase letters, digits, hyphens, `*` and `?`, with at least one dot and only letters after the last dot; at most 128 characters",
    )
}

/// The sizes of EC2 instances and of database instances: `micro`, `2xlarge`, `metal-24xl`, …
fn is_size(size: &str) -> bool {
    let multiple = |text: &str| text.chars().all(|c| c.is_ascii_digit()) && !text.starts_with('0');
    ["nano", "micro", "small", "medium", "large", "metal"].contains(&size)
        || size.strip_suffix("xlarge").is_some_and(multiple)
        || size.strip_prefix("metal-").and_then(|rest| rest.strip_suffix("xl")).is_some_and(multiple)
}

fn is_family(family: &str) -> bool {
    family.starts_with(|c: char| c.is_ascii_lowercase())
        && family.chars().any(|c| c.is_ascii_digit())
        && family.chars().all(|c| is_lower_or_digit(c) || c == '-')
}

pub(crate) fn instance_type(name: &str, _: &()) -> garde::Result {
    let is_valid = name.split_once('.').is_some_and(|(family, size)| is_family(family) && is_size(size));
    require(
        is_valid,
        || format!("invalid instance type `{name}`"),
        "a family and a size, such as t3.micro or m7i.2xlarge",
    )
}

pub(crate) fn database_class(name: &str, _: &()) -> garde::Result {
    let is_valid = name
        .strip_prefix("db.")
        .and_then(|class| class.split_once('.'))
        .is_some_and(|(family, size)| is_family(family) && is_size(size) && size != "nano");
    require(
        is_valid,
        || format!("invalid database instance class `{name}`"),
        "`db.`, a family and a size, such as db.t4g.micro or db.m7g.large",
    )
}

pub(crate) fn database_version(version: &str, _: &()) -> garde::Result {
    let (major, minor) =
        version.split_once('.').map_or((version, None), |(major, minor)| (major, Some(minor)));
    let is_valid = ["14", "15", "16", "17", "18"].contains(&major)
        && minor.is_none_or(|minor| {
            (1..=2).contains(&minor.len()) && minor.chars().all(|c| c.is_ascii_digit()) && minor != "00"
        });
    require(
        is_valid,
        || format!("unsupported PostgreSQL version `{version}`"),
        "14 to 18, with or without a minor version, such as 17.9",
    )
}

/// Names that PostgreSQL or RDS reserves: the databases that always exist, and PostgreSQL's reserved words
/// (PostgreSQL documentation, appendix C).
const RESERVED_NAMES: &str = "postgres rdsadmin template0 template1 all analyse analyze and any array as asc asymmetric \
    authorization binary both case cast check collate collation column concurrently constraint create cross \
    current_catalog current_date current_role current_schema current_time current_timestamp current_user default \
    deferrable desc distinct do else end except false fetch for foreign freeze from full grant group having ilike in \
    initially inner intersect into is isnull join lateral leading left like limit localtime localtimestamp natural not \
    notnull null offset on only or order outer overlaps placing primary references returning right select session_user \
    similar some symmetric system_user table tablesample then to trailing true union unique user using variadic verbose \
    when where window with";

pub(crate) fn database_name(name: &str, _: &()) -> garde::Result {
    // RDS is stricter than PostgreSQL (API reference, `CreateDBInstance`, `DBName`).
    let form = "at most 63 lowercase letters, digits and underscores, starting with a letter";
    if RESERVED_NAMES.split_whitespace().any(|reserved| reserved == name) {
        return refuse(format!("`{name}` is reserved by PostgreSQL or RDS"), "another name, such as app");
    }
    let is_valid = (1..=63).contains(&name.len())
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.chars().all(|c| is_lower_or_digit(c) || c == '_');
    require(is_valid, || format!("invalid database name `{name}`"), form)
}

/// The name of a snapshot, manual or automated. Source of the form: `CreateDBSnapshot`, `DBSnapshotIdentifier`.
pub(crate) fn snapshot(name: &str, _: &()) -> garde::Result {
    let own = name.strip_prefix("rds:").unwrap_or(name);
    let is_valid = (1..=255).contains(&name.len())
        && own.starts_with(|c: char| c.is_ascii_alphabetic())
        && own.split('-').all(|part| !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric()));
    if name.starts_with("arn:") {
        return refuse(
            format!("`{name}` is an ARN"),
            "the name of a snapshot in this account and region; copy a snapshot of another one first",
        );
    }
    require(
        is_valid,
        || format!("invalid snapshot name `{name}`"),
        "letters, digits and single hyphens, starting with a letter; before the name of an automated snapshot `rds:`",
    )
}
