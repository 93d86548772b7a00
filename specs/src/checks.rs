//! Whether one value by itself is right. `garde` calls these for the field they stand at.
//!
//! What concerns more than one value is in `rules`.

mod image;
mod schedule;

use ipnet::Ipv4Net;

pub(crate) use self::image::{ecr_region, image};
pub(crate) use self::schedule::{schedule, timezone};
use crate::subnets::{LARGEST_VPC, SMALLEST_VPC};

/// An answer to `garde`, whose errors are one text: what is wrong, a line break, what would be right.
pub(crate) fn refuse(wrong: impl AsRef<str>, right: impl AsRef<str>) -> garde::Result {
    Err(garde::Error::new(format!("{}\n{}", wrong.as_ref(), right.as_ref())))
}

fn unless(right: bool, wrong: impl FnOnce() -> String, expected: &str) -> garde::Result {
    if right { Ok(()) } else { refuse(wrong(), expected) }
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
    let right = match parts[..] {
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
    unless(right, || format!("`{region}` is no AWS region"), "a region's code, such as eu-central-1")
}

pub(crate) fn vpc(cidr: &Ipv4Net, _: &()) -> garde::Result {
    // RFC 1918.
    let private = [([10, 0, 0, 0], 8), ([172, 16, 0, 0], 12), ([192, 168, 0, 0], 16)]
        .map(|(address, length)| Ipv4Net::new_assert(address.into(), length));
    if cidr.addr() != cidr.network() {
        return refuse(
            format!("`{cidr}` does not start where a range of that size does"),
            format!("{}", cidr.trunc()),
        );
    }
    if cidr.prefix_len() < LARGEST_VPC {
        return refuse(
            format!("`{cidr}` is larger than AWS lets a VPC be"),
            format!("a range from /{LARGEST_VPC} to /{SMALLEST_VPC}"),
        );
    }
    if cidr.prefix_len() > SMALLEST_VPC {
        return refuse(
            format!("`{cidr}` has no room for public, private and database subnets in three zones"),
            format!("a range from /{LARGEST_VPC} to /{SMALLEST_VPC}"),
        );
    }
    unless(
        private.iter().any(|range| range.contains(cidr)),
        || format!("`{cidr}` is not private"),
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
    let right = arn(text).is_some_and(|[_, service, _, _, resource]| {
        service == "acm"
            && resource
                .strip_prefix("certificate/")
                .is_some_and(|id| !id.is_empty() && id.chars().all(|c| c.is_ascii_alphanumeric() || c == '-'))
    });
    unless(
        right,
        || format!("`{text}` is no ARN of an ACM certificate"),
        "arn:aws:acm:REGION:ACCOUNT:certificate/ID",
    )
}

/// What ECS takes as `valueFrom` for a secret of Secrets Manager: the full ARN, and for one key of a JSON secret
/// `:KEY:STAGE:VERSION`, of which the last two may be empty.
pub(crate) fn secret(text: &str) -> garde::Result {
    let right = arn(text).is_some_and(|[_, service, _, _, resource]| {
        let parts: Vec<&str> = resource.split(':').collect();
        let (["secret", name] | ["secret", name, _, _, _]) = parts[..] else { return false };
        let Some((start, suffix)) = name.rsplit_once('-') else { return false };
        service == "secretsmanager"
            && !start.is_empty()
            && start.chars().all(|c| c.is_ascii_alphanumeric() || "/_+=.@-".contains(c))
            && suffix.len() == 6
            && suffix.chars().all(|c| c.is_ascii_alphanumeric())
    });
    unless(
        right,
        || format!("`{text}` is no full ARN of a secret"),
        "arn:aws:secretsmanager:REGION:ACCOUNT:secret:NAME-xxxxxx, with `:KEY::` behind it for one key of a JSON secret",
    )
}

pub(crate) fn domain(name: &str, _: &()) -> garde::Result {
    let labels: Vec<&str> = name.split('.').collect();
    // A certificate's first name has at most 64 characters (`RequestCertificate`).
    let right = name.len() <= 64
        && labels.len() >= 2
        && labels.iter().all(|label| is_label(label))
        && labels.last().is_some_and(|last| last.chars().any(|c| c.is_ascii_lowercase()));
    unless(
        right,
        || format!("`{name}` is no domain name that a certificate can be for"),
        "lower-case labels with dots between them, at most 64 characters, such as shop.example.com",
    )
}

pub(crate) fn hosted_zone(id: &str, _: &()) -> garde::Result {
    let right = (2..=32).contains(&id.len())
        && id.starts_with('Z')
        && id.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit());
    unless(right, || format!("`{id}` is no hosted zone's id"), "the id alone, such as Z0123456789ABCDEFGHIJ")
}

pub(crate) fn bucket(name: &str, _: &()) -> garde::Result {
    let right = (3..=63).contains(&name.len())
        && name.chars().all(|c| is_lower_or_digit(c) || c == '-' || c == '.')
        && name.starts_with(is_lower_or_digit)
        && name.ends_with(is_lower_or_digit)
        && !name.contains("..")
        && name.parse::<std::net::Ipv4Addr>().is_err()
        && !name.starts_with("xn--")
        && !name.ends_with("-s3alias");
    unless(
        right,
        || format!("`{name}` is no bucket's name"),
        "3 to 63 lower-case letters, digits, hyphens and dots",
    )
}

pub(crate) fn prefix(prefix: &str, _: &()) -> garde::Result {
    // `AWSLogs` is what the load balancer puts behind the prefix; it refuses a prefix that holds it.
    let right = (1..=200).contains(&prefix.len())
        && !prefix.starts_with('/')
        && !prefix.ends_with('/')
        && !prefix.contains("AWSLogs")
        && prefix.chars().all(|c| c.is_ascii_alphanumeric() || "/!-_.*'()".contains(c));
    unless(
        right,
        || format!("`{prefix}` can't be a prefix for access logs"),
        "at most 200 letters, digits and `/!-_.*'()`, no slash at either end, and not `AWSLogs`",
    )
}

pub(crate) fn health_path(path: &str, _: &()) -> garde::Result {
    let right = path.starts_with('/') && path.len() <= 1024 && path.chars().all(|c| c.is_ascii_graphic());
    unless(
        right,
        || format!("`{path}` is no path to ask for"),
        "a path that starts with `/`, at most 1024 visible ASCII characters",
    )
}

/// `CreateTargetGroup`, `Matcher`: from 200 to 499 for an application load balancer.
pub(crate) fn codes(codes: &str, _: &()) -> garde::Result {
    let code =
        |text: &str| text.parse::<u16>().ok().filter(|code| text.len() == 3 && (200..=499).contains(code));
    let right = codes.split(',').all(|part| match part.split_once('-') {
        None => code(part).is_some(),
        Some((first, last)) => matches!((code(first), code(last)), (Some(first), Some(last)) if first < last),
    });
    unless(
        right,
        || format!("`{codes}` are no status codes"),
        "codes from 200 to 499 such as `200`, `200,302` or `200-399`",
    )
}

/// What AWS lets a rule's conditions hold (Application Load Balancers, "Quotas": 5 wildcards).
pub(crate) const MOST_WILDCARDS: usize = 5;

pub(crate) fn wildcards(pattern: &str) -> usize {
    pattern.chars().filter(|c| "*?".contains(*c)).count()
}

pub(crate) fn path_pattern(pattern: &str, _: &()) -> garde::Result {
    let right = (1..=128).contains(&pattern.len())
        && pattern.starts_with(['/', '*', '?'])
        && pattern.chars().all(|c| c.is_ascii_alphanumeric() || "_-.$/~\"'@:+&*?".contains(c));
    if right && pattern.contains("**") {
        return refuse(
            format!("`{pattern}` has two stars in a row"),
            "one: `*` matches any number of characters",
        );
    }
    unless(
        right,
        || format!("`{pattern}` is no path pattern"),
        "`/`, then letters, digits, `_-.$/~\"'@:+&`, `*` for any characters and `?` for one; at most 128 in all",
    )
}

pub(crate) fn host_pattern(pattern: &str, _: &()) -> garde::Result {
    let end = pattern.rsplit_once('.').map_or("", |(_, end)| end);
    let right = (1..=128).contains(&pattern.len())
        && pattern.chars().all(|c| is_lower_or_digit(c) || "-.*?".contains(c))
        && !pattern.contains("..")
        && !pattern.starts_with('.')
        && !end.is_empty()
        && end.chars().all(|c| c.is_ascii_lowercase() || "*?".contains(c));
    if right && pattern.contains("**") {
        return refuse(
            format!("`{pattern}` has two stars in a row"),
            "one: `*` matches any number of characters",
        );
    }
    unless(
        right,
        || format!("`{pattern}` is no host pattern"),
        "lower-case letters, digits, hyphens, `*` and `?` with at least one dot, only letters after the last; at most 128 in all",
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
    let right = name.split_once('.').is_some_and(|(family, size)| is_family(family) && is_size(size));
    unless(
        right,
        || format!("`{name}` is no instance type"),
        "a family and a size, such as t3.micro or m7i.2xlarge",
    )
}

pub(crate) fn database_class(name: &str, _: &()) -> garde::Result {
    let right = name
        .strip_prefix("db.")
        .and_then(|class| class.split_once('.'))
        .is_some_and(|(family, size)| is_family(family) && is_size(size) && size != "nano");
    unless(
        right,
        || format!("`{name}` is no class of PostgreSQL instances"),
        "`db.`, a family and a size, such as db.t4g.micro or db.m7g.large",
    )
}

pub(crate) fn database_version(version: &str, _: &()) -> garde::Result {
    let (major, minor) =
        version.split_once('.').map_or((version, None), |(major, minor)| (major, Some(minor)));
    let right = ["13", "14", "15", "16", "17", "18"].contains(&major)
        && minor.is_none_or(|minor| {
            (1..=2).contains(&minor.len()) && minor.chars().all(|c| c.is_ascii_digit()) && minor != "00"
        });
    unless(
        right,
        || format!("`{version}` is no version of PostgreSQL that RDS offers"),
        "13 to 18, or one of them with its minor version, such as 17.4",
    )
}

/// Names that PostgreSQL or RDS keeps: the databases that are always there, and PostgreSQL's reserved words
/// (PostgreSQL documentation, appendix C).
const KEPT_NAMES: &str = "postgres rdsadmin template0 template1 all analyse analyze and any array as asc asymmetric \
    authorization binary both case cast check collate collation column concurrently constraint create cross \
    current_catalog current_date current_role current_schema current_time current_timestamp current_user default \
    deferrable desc distinct do else end except false fetch for foreign freeze from full grant group having ilike in \
    initially inner intersect into is isnull join lateral leading left like limit localtime localtimestamp natural not \
    notnull null offset on only or order outer overlaps placing primary references returning right select session_user \
    similar some symmetric system_user table tablesample then to trailing true union unique user using variadic verbose \
    when where window with";

pub(crate) fn database_name(name: &str, _: &()) -> garde::Result {
    let form = "at most 63 lower-case letters, digits and underscores, the first a letter or underscore";
    if KEPT_NAMES.split_whitespace().any(|kept| kept == name) {
        return refuse(format!("`{name}` is kept by PostgreSQL or RDS"), "another name, such as app");
    }
    let right = (1..=63).contains(&name.len())
        && name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
        && name.chars().all(|c| is_lower_or_digit(c) || c == '_');
    unless(right, || format!("`{name}` can't be a database's name"), form)
}
