//! The parts of an ARN by which a policy distinguishes the stack's resources from those of others.

use std::ops::Range;

/// The positions of the parts in an ARN or in a pattern of ARNs.
#[derive(Debug, Default)]
pub(super) struct Parts {
    /// The region and the account, if the ARN has them.
    pub(super) region: Option<Range<usize>>,
    pub(super) account: Option<Range<usize>>,
    /// What follows the resource type: names, paths and IDs, between slashes and colons.
    pub(super) names: Vec<Range<usize>>,
}

/// Services whose ARNs have no resource type before the name.
const WITHOUT_TYPE: [&str; 3] = ["s3", "sns", "sqs"];

/// Words between names that belong to the resource type, in ARNs of load balancers, log streams and web ACLs.
const TYPES: [&str; 3] = ["app", "log-stream", "webacl"];

impl Parts {
    /// Finds the parts. The pattern `*` has none.
    pub(super) fn of(arn: &str) -> Self {
        let mut found = Self::default();
        let (mut at, mut service) = (0, "");
        for (index, part) in arn.splitn(6, ':').enumerate() {
            let range = at..at + part.len();
            at = range.end + 1;
            match index {
                2 => service = part,
                3 => found.region = Some(range).filter(|range| !range.is_empty()),
                4 => found.account = Some(range).filter(|range| !range.is_empty()),
                5 => found.names = names(part, range.start, WITHOUT_TYPE.contains(&service)),
                _ => {}
            }
        }
        found
    }
}

fn names(resource: &str, start: usize, without_type: bool) -> Vec<Range<usize>> {
    let mut at = start;
    let ranges = resource.split(['/', ':']).map(|name| {
        let range = at..at + name.len();
        at = range.end + 1;
        range
    });
    let is_name = |range: &Range<usize>| {
        let name = &resource[range.start - start..range.end - start];
        !name.is_empty() && !TYPES.contains(&name)
    };
    ranges.skip(usize::from(!without_type)).filter(is_name).collect()
}

/// The ARN with one part replaced.
pub(super) fn with(arn: &str, range: &Range<usize>, text: &str) -> String {
    let mut changed = arn.to_owned();
    changed.replace_range(range.clone(), text);
    changed
}

/// The patterns with one limit replaced by `*`: the region, the account, or one text between wildcards.
pub(super) fn widened(pattern: &str) -> Vec<String> {
    let parts = Parts::of(pattern);
    let texts = parts.names.into_iter().flat_map(|name| texts(pattern, name));
    let places = parts.region.into_iter().chain(parts.account).filter(|range| &pattern[range.clone()] != "*");
    places.chain(texts).map(|range| with(pattern, &range, "*")).collect()
}

/// The texts between the wildcards of a name.
fn texts(pattern: &str, name: Range<usize>) -> Vec<Range<usize>> {
    let mut at = name.start;
    let ranges = pattern[name].split('*').map(|text| {
        let range = at..at + text.len();
        at = range.end + 1;
        range
    });
    ranges.filter(|range| !range.is_empty()).collect()
}

#[test]
fn every_limit_of_a_pattern_is_widened() {
    for (pattern, expected) in [
        ("*", vec![]),
        ("arn:aws:s3:::shop/specs/*", vec!["arn:aws:s3:::*/specs/*", "arn:aws:s3:::shop/*/*"]),
        ("arn:aws:ecr:*:*:repository/*", vec![]),
        (
            "arn:aws:iam::1:role/stackdrop-*-task",
            vec![
                "arn:aws:iam::*:role/stackdrop-*-task",
                "arn:aws:iam::1:role/**-task",
                "arn:aws:iam::1:role/stackdrop-**",
            ],
        ),
    ] {
        assert_eq!(widened(pattern), expected, "{pattern}");
    }
}
