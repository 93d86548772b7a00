//! Policy variables: `${aws:PrincipalTag/team}` in a policy stands for the value of that condition key in the request.
//!
//! Source: "IAM policy elements: Variables and tags" in the IAM user guide.

use std::borrow::Cow;

use super::policy::InvalidPolicy;
use super::reference;
use super::request::Keys;

/// A text of a policy that can have variables.
#[derive(Debug, Clone)]
pub(super) struct Text {
    text: String,
    has_variables: bool,
}

impl Text {
    /// Reads a text.
    ///
    /// # Errors
    /// If it has a variable that the simulator does not set: an unsupported variable is never taken literally. Defaults
    /// such as `${aws:PrincipalTag/team, 'none'}` and escapes such as `${*}` are not supported.
    pub(super) fn read(text: &str) -> Result<Self, InvalidPolicy> {
        let unsupported = || InvalidPolicy::new(format!("the variable in {text} is not supported"));
        let mut rest = text;
        while let Some((_, after)) = rest.split_once("${") {
            let (key, after) = after.split_once('}').ok_or_else(unsupported)?;
            let has_default = key.contains(',');
            if has_default
                || !reference::models(key)
                || LISTS.iter().any(|list| list.eq_ignore_ascii_case(key))
            {
                return Err(unsupported());
            }
            rest = after;
        }
        Ok(Self { text: text.into(), has_variables: text.contains("${") })
    }

    /// The text as the policy has it.
    pub(super) fn as_written(&self) -> &str {
        &self.text
    }

    /// Whether it has variables.
    pub(super) fn has_variables(&self) -> bool {
        self.has_variables
    }

    /// The text with the request's values; `None` if a key has no value. A value with a wildcard counts as none, because
    /// it must not widen a pattern: IAM's tags cannot have one (API reference, `Tag`).
    pub(super) fn value(&self, keys: &Keys) -> Option<Cow<'_, str>> {
        if !self.has_variables {
            return Some(Cow::Borrowed(&self.text));
        }
        let mut value = String::new();
        let mut rest = self.text.as_str();
        while let Some((before, after)) = rest.split_once("${") {
            let (key, after) = after.split_once('}')?;
            let found = keys.get(key)?.first().filter(|found| !found.contains(['*', '?']))?;
            value.push_str(before);
            value.push_str(found);
            rest = after;
        }
        value.push_str(rest);
        Some(Cow::Owned(value))
    }
}

/// The keys that the simulator sets and that can have several values: IAM does not allow them in variables.
const LISTS: [&str; 2] = ["aws:TagKeys", "kms:ResourceAliases"];

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: &str, tag: Option<&str>) -> Option<String> {
        let mut keys = Keys::default();
        keys.set_all("aws:PrincipalTag/team", tag.map(str::to_owned));
        Text::read(text).unwrap().value(&keys).map(Cow::into_owned)
    }

    #[test]
    fn a_variable_has_the_value_of_the_request_or_none() {
        for (text, tag, expected) in [
            ("shop", None, Some("shop")),
            ("${aws:PrincipalTag/team}", Some("shop"), Some("shop")),
            ("a/${AWS:PrincipalTag/team}/${aws:principaltag/team}/*", Some("shop"), Some("a/shop/shop/*")),
            ("a/${aws:PrincipalTag/team}", None, None),
            ("a/${aws:PrincipalTag/team}", Some("s*"), None),
            ("a/${aws:PrincipalTag/other}", Some("shop"), None),
        ] {
            assert_eq!(value(text, tag).as_deref(), expected, "{text} with {tag:?}");
        }
    }

    #[test]
    fn an_unsupported_variable_is_refused() {
        for text in ["${aws:username}", "${*}", "${aws:TagKeys}", "${aws:PrincipalTag/team, 'none'}", "a${b"]
        {
            assert!(Text::read(text).is_err(), "{text}");
        }
    }
}
