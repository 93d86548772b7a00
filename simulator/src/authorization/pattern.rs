//! Wildcards in policies.

/// Whether a text matches a pattern with `*` and `?`.
pub(crate) fn like(pattern: &str, text: &str) -> bool {
    glob(pattern.as_bytes(), text.as_bytes(), |left, right| left == right)
}

/// The same as [`like`], ignoring case: for the names of actions.
pub(super) fn like_ignoring_case(pattern: &str, text: &str) -> bool {
    glob(pattern.as_bytes(), text.as_bytes(), |left, right| left.eq_ignore_ascii_case(&right))
}

/// Whether an ARN matches a pattern. A wildcard matches within one of the six parts; the last part can contain
/// colons.
pub(super) fn arn_like(pattern: &str, arn: &str) -> bool {
    if pattern == "*" {
        return true;
    }
    let (mut patterns, mut parts) = (pattern.splitn(6, ':'), arn.splitn(6, ':'));
    loop {
        match (patterns.next(), parts.next()) {
            (None, None) => return true,
            (Some(pattern), Some(part)) if like(pattern, part) => {}
            _ => return false,
        }
    }
}

fn glob(pattern: &[u8], text: &[u8], same: fn(u8, u8) -> bool) -> bool {
    let (mut at, mut read) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while read < text.len() {
        if at < pattern.len() && pattern[at] == b'*' {
            star = Some((at, read));
            at += 1;
        } else if at < pattern.len() && (pattern[at] == b'?' || same(pattern[at], text[read])) {
            at += 1;
            read += 1;
        } else if let Some((star_at, star_read)) = star {
            // The star matches one more character.
            star = Some((star_at, star_read + 1));
            at = star_at + 1;
            read = star_read + 1;
        } else {
            return false;
        }
    }
    pattern[at..].iter().all(|rest| *rest == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_and_question_marks_match_as_in_iam() {
        for (pattern, text, expected) in [
            ("*", "", true),
            ("logs:*", "logs:PutLogEvents", true),
            ("logs:Put*", "logs:CreateLogStream", false),
            ("a*b*c", "a-b-b-c", true),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
        ] {
            assert_eq!(like(pattern, text), expected, "{pattern} on {text}");
        }
    }

    #[test]
    fn a_wildcard_in_an_arn_stays_within_its_part() {
        let group = "arn:aws:logs:eu-central-1:123456789012:log-group:/stackdrop/shop:log-stream:a";
        for (pattern, expected) in [
            ("*", true),
            ("arn:aws:logs:eu-central-1:123456789012:log-group:/stackdrop/*", true),
            ("arn:*:logs:*:*:log-group:*", true),
            ("arn:aws:logs:*", false),
            ("arn:aws:*:log-group:/stackdrop/*", false),
        ] {
            assert_eq!(arn_like(pattern, group), expected, "{pattern}");
        }
    }
}
